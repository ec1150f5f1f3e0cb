//! sprig's `urlParse` and `urlJoin`, by the rules of Go's net/url.

use crate::core::value::{Map, Value};

use super::super::cast::kind_name;
use super::super::text::lossy;
use super::dict::map_of;
use super::{Failure, Function, MAP, Outcome, TEXT, check_length, function, text, text_of};

pub(super) static TABLE: &[Function] = &[
    function("urlParse", &[TEXT], |_, v| parsed(text_of(v, 0))),
    function("urlJoin", &[MAP], |_, v| join(&map_of(&v[0]))),
];

/// Which part of a URL is (un)escaped.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Path,
    User,
    Host,
    Zone,
    Fragment,
}

#[derive(Default)]
struct Url {
    scheme: String,
    opaque: String,
    user: Option<(String, Option<String>)>,
    host: String,
    path: String,
    query: String,
    fragment: String,
}

fn parsed(source: &str) -> Outcome {
    let url = parse(source).map_err(|e| Failure::from(format!("unable to parse url: parse {source:?}: {e}")))?;
    let host_name = host_name(&url.host);
    let user = url.user.as_ref().map(user_text).unwrap_or_default();
    Ok(Value::map([
        ("scheme", Value::text(&url.scheme)),
        ("host", Value::text(&url.host)),
        ("hostname", Value::text(host_name)),
        ("path", Value::text(&url.path)),
        ("query", Value::text(&url.query)),
        ("opaque", Value::text(&url.opaque)),
        ("fragment", Value::text(&url.fragment)),
        ("userinfo", Value::text(user)),
    ]))
}

fn parse(source: &str) -> Result<Url, String> {
    let (rest, fragment) = source.split_once('#').unwrap_or((source, ""));
    if rest.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return Err("net/url: invalid control character in URL".to_owned());
    }
    let mut url = Url::default();
    if rest == "*" {
        url.path = "*".to_owned();
    } else {
        parse_body(rest, &mut url)?;
    }
    url.fragment = unescape(fragment, Part::Fragment)?;
    Ok(url)
}

fn parse_body(source: &str, url: &mut Url) -> Result<(), String> {
    let (scheme, rest) = scheme(source)?;
    url.scheme = scheme.to_ascii_lowercase();
    let (mut rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    url.query = query.to_owned();
    if !rest.starts_with('/') {
        if !url.scheme.is_empty() {
            url.opaque = rest.to_owned();
            return Ok(());
        }
        if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
            return Err("first path segment in URL cannot contain colon".to_owned());
        }
    }
    if (!url.scheme.is_empty() || !rest.starts_with("///"))
        && let Some(authority) = rest.strip_prefix("//")
    {
        let end = authority.find('/').unwrap_or(authority.len());
        rest = &authority[end..];
        parse_authority(&authority[..end], url)?;
    }
    url.path = unescape(rest, Part::Path)?;
    Ok(())
}

fn scheme(source: &str) -> Result<(&str, &str), String> {
    for (i, c) in source.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if i > 0 => {}
            ':' if i == 0 => return Err("missing protocol scheme".to_owned()),
            ':' => return Ok((&source[..i], &source[i + 1..])),
            _ => break,
        }
    }
    Ok(("", source))
}

fn parse_authority(authority: &str, url: &mut Url) -> Result<(), String> {
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    url.host = parse_host(&url.scheme, host)?;
    let Some(user) = user else { return Ok(()) };
    if !user.chars().all(|c| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c)) {
        return Err("net/url: invalid userinfo".to_owned());
    }
    url.user = Some(match user.split_once(':') {
        Some((name, password)) => (unescape(name, Part::User)?, Some(unescape(password, Part::User)?)),
        None => (unescape(user, Part::User)?, None),
    });
    Ok(())
}

fn parse_host(scheme: &str, host: &str) -> Result<String, String> {
    if let Some(inside) = host.strip_prefix('[').filter(|_| host.rfind('[') == Some(0)) {
        let (name, port) = inside.rsplit_once(']').ok_or("missing ']' in host")?;
        if !valid_port(port) {
            return Err(format!("invalid port {port:?} after host"));
        }
        let (address, zone) = match name.find("%25") {
            Some(at) => (unescape(&name[..at], Part::Host)?, unescape(&name[at..], Part::Zone)?),
            None => (unescape(name, Part::Host)?, String::new()),
        };
        if address.parse::<std::net::Ipv6Addr>().is_err() {
            return Err("invalid host: ParseAddr: unable to parse IP".to_owned());
        }
        return Ok(format!("[{address}{zone}]{port}"));
    }
    if host.contains('[') {
        return Err("invalid IP-literal".to_owned());
    }
    // Several colons are tolerated outside http: some databases list hosts that way.
    let strict = matches!(scheme, "http" | "https");
    if let Some(at) = if strict { host.find(':') } else { host.rfind(':') }
        && !valid_port(&host[at..])
    {
        return Err(format!("invalid port {:?} after host", &host[at..]));
    }
    unescape(host, Part::Host)
}

/// Empty, or a colon and digits.
fn valid_port(port: &str) -> bool {
    port.is_empty() || port.strip_prefix(':').is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
}

fn host_name(host: &str) -> &str {
    let name = match host.rfind(':') {
        Some(at) if valid_port(&host[at..]) => &host[..at],
        _ => host,
    };
    name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name)
}

fn user_text((name, password): &(String, Option<String>)) -> String {
    let name = escape(name, Part::User);
    match password {
        Some(password) => format!("{name}:{}", escape(password, Part::User)),
        None => name,
    }
}

/// Whether a byte must be escaped in this part.
fn must_escape(byte: u8, part: Part) -> bool {
    if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
        return false;
    }
    let allowed: &[u8] = match part {
        Part::Host | Part::Zone => b"!$&'()*+,;=:[]<>\"",
        Part::Path => b"$&+,/:;=@",
        Part::User => b"$&+,;=",
        Part::Fragment => b"$&+,/:;=?@!()*",
    };
    !allowed.contains(&byte)
}

fn escape(source: &str, part: Part) -> String {
    let mut out = String::with_capacity(source.len());
    for byte in source.bytes() {
        if must_escape(byte, part) {
            out.push_str(&format!("%{byte:02X}"));
        } else {
            out.push(char::from(byte));
        }
    }
    out
}

fn unescape(source: &str, part: Part) -> Result<String, String> {
    let bytes = source.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        if byte == b'%' {
            let shown = || format!("invalid URL escape {:?}", lossy(&bytes[at..bytes.len().min(at + 3)]));
            let digits = bytes.get(at + 1..at + 3).filter(|d| d.iter().all(u8::is_ascii_hexdigit)).ok_or_else(shown)?;
            let value = digits.iter().fold(0u8, |v, d| v << 4 | (char::from(*d).to_digit(16).unwrap_or(0) as u8));
            let percent = digits == b"25";
            // In a host only bytes beyond ASCII may be escaped.
            let refused = match part {
                Part::Host => value < 0x80 && !percent,
                Part::Zone => !percent && value != b' ' && must_escape(value, Part::Host),
                _ => false,
            };
            if refused {
                return Err(shown());
            }
            out.push(value);
            at += 3;
            continue;
        }
        if matches!(part, Part::Host | Part::Zone) && byte.is_ascii() && must_escape(byte, part) {
            return Err(format!("invalid character {:?} in host name", char::from(byte).to_string()));
        }
        out.push(byte);
        at += 1;
    }
    Ok(lossy(&out))
}

fn join(map: &Map) -> Outcome {
    let part = |key: &str| match map.get(key) {
        None => Ok(String::new()),
        Some(Value::Str(text)) => Ok(text.to_string()),
        Some(Value::Nil) => Err(Failure::from("runtime error: invalid memory address or nil pointer dereference")),
        Some(other) => Err(Failure::from(format!(
            "unable to parse {key} key, must be of type string, but {} found",
            kind_name(&other)
        ))),
    };
    let url = Url {
        scheme: part("scheme")?,
        host: part("host")?,
        path: part("path")?,
        query: part("query")?,
        opaque: part("opaque")?,
        fragment: part("fragment")?,
        user: match part("userinfo")? {
            info if info.is_empty() => None,
            info => {
                let parsed = parse(&format!("proto://{info}@host"));
                parsed.map_err(|e| Failure::from(format!("unable to parse userinfo in dict: {e}")))?.user
            }
        },
    };
    let written = url.text();
    check_length(written.len())?;
    text(written)
}

impl Url {
    fn text(&self) -> String {
        let mut out = String::new();
        if !self.scheme.is_empty() {
            out.push_str(&self.scheme);
            out.push(':');
        }
        if self.opaque.is_empty() {
            if !self.scheme.is_empty() || !self.host.is_empty() || self.user.is_some() {
                if !self.host.is_empty() || !self.path.is_empty() || self.user.is_some() {
                    out.push_str("//");
                }
                if let Some(user) = &self.user {
                    out.push_str(&user_text(user));
                    out.push('@');
                }
                out.push_str(&escape(&self.host, Part::Host));
            }
            let path = if self.path == "*" { "*".to_owned() } else { escape(&self.path, Part::Path) };
            if !path.is_empty() && !path.starts_with('/') && !self.host.is_empty() {
                out.push('/');
            }
            if out.is_empty() && path.split('/').next().is_some_and(|segment| segment.contains(':')) {
                out.push_str("./");
            }
            out.push_str(&path);
        } else {
            out.push_str(&self.opaque);
        }
        if !self.query.is_empty() {
            out.push('?');
            out.push_str(&self.query);
        }
        if !self.fragment.is_empty() {
            out.push('#');
            out.push_str(&escape(&self.fragment, Part::Fragment));
        }
        out
    }
}
