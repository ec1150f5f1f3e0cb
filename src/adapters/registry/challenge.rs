//! `WWW-Authenticate`: what a registry wants to see, and where credentials may be sent for it (REG-5, REG-14).

use crate::adapters::http::Url;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What a registry wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// User and password on every request.
    Basic,
    /// A token from `realm`.
    Bearer {
        /// The token service.
        realm: Url,
        /// Passed on as it is.
        service: Option<String>,
    },
}

/// Reads the header values of one answer; a token is preferred to a password. `None` if nothing usable is asked for.
pub fn parse<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let mut basic = false;
    for (scheme, parameters) in headers.flat_map(challenges) {
        match scheme.as_str() {
            "bearer" => {
                if let Some(realm) = parameters.get("realm").and_then(|realm| Url::parse(realm).ok()) {
                    return Some(Challenge::Bearer { realm, service: parameters.get("service").cloned() });
                }
            }
            "basic" => basic = true,
            _ => {}
        }
    }
    basic.then_some(Challenge::Basic)
}

/// Splits a header into schemes with their parameters. One header may hold several challenges.
fn challenges(header: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let mut found: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    let mut rest = header.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let is_parameter = after.starts_with('=');
        if is_parameter {
            let (value, left) = parameter_value(&after[1..]);
            if let Some((_, parameters)) = found.last_mut() {
                parameters.entry(word.to_ascii_lowercase()).or_insert(value);
            }
            rest = left;
        } else {
            found.push((word.to_ascii_lowercase(), BTreeMap::new()));
            rest = after;
        }
        let next = rest.trim_start_matches([' ', '\t', ',']);
        if next.len() == rest.len() && end == 0 {
            // A character that begins nothing; skip it rather than stand still.
            let mut chars = rest.chars();
            chars.next();
            rest = chars.as_str();
        } else {
            rest = next;
        }
    }
    found
}

fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            c => value.push(c),
        }
    }
    (value, "")
}

/// What may go to a realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RealmRule {
    /// The credential.
    Credential,
    /// Only the request for an anonymous token.
    AnonymousOnly,
    /// Nothing: `why`.
    Nothing(&'static str),
}

/// Decides about `realm` for the registry at `base` (REG-14). `allowed` are the operator's pairs of registry and realm
/// host.
pub(super) fn realm_rule(base: &Url, realm: &Url, allowed: &[(String, String)]) -> RealmRule {
    let scheme_ok = realm.scheme() == "https" || (realm.scheme() == "http" && base.scheme() == "http");
    if !scheme_ok {
        return RealmRule::Nothing("it must be https");
    }
    let (Some(registry), Some(host)) = (base.host_str(), realm.host_str()) else {
        return RealmRule::Nothing("it names no host");
    };
    let operator =
        |name: &str| allowed.iter().any(|(r, h)| r.eq_ignore_ascii_case(name) && h.eq_ignore_ascii_case(host));
    let with_port = match base.port() {
        Some(port) => format!("{registry}:{port}"),
        None => registry.to_owned(),
    };
    if host == registry || operator(registry) || operator(&with_port) {
        return RealmRule::Credential;
    }
    if is_loopback(host) && !is_loopback(registry) {
        return RealmRule::Nothing("it points back at this machine");
    }
    let hub = ["registry-1.docker.io", "index.docker.io", "registry.hub.docker.com"];
    if host == "auth.docker.io" && hub.contains(&registry) {
        return RealmRule::Credential;
    }
    match (registrable(registry), registrable(host)) {
        (Some(ours), Some(theirs)) if ours == theirs => RealmRule::Credential,
        _ => RealmRule::AnonymousOnly,
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.ends_with(".localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The domain somebody registered (`example.co.uk`); none for addresses and bare names. Suffixes under which anybody
/// can register (`github.io`) separate owners, which is what the public suffix list is for.
fn registrable(host: &str) -> Option<&str> {
    if host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok() {
        return None;
    }
    let domain = psl::domain_str(host.trim_end_matches('.'))?;
    (domain.contains('.') && !SHARED.contains(&domain)).then_some(domain)
}

/// Domains under which anybody can have a registry although the public suffix list does not say so. Registries there
/// are their own token services.
const SHARED: [&str; 6] = ["azurecr.io", "azurecr.cn", "azurecr.us", "jfrog.io", "amazonaws.com", "amazonaws.com.cn"];
