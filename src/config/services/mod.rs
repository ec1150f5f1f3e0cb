//! A service's body: one arm per type (notifications.md §2.2, §2.3, §13.1-§13.4). Each key compiles alone; secrets are
//! put in after the YAML was read, so that no value of theirs changes its structure.

mod fields;

use std::collections::BTreeMap;
use std::time::Duration;

use super::secret::Secret;
use super::yaml;
use crate::core::problem::{Problem, nearest};
use fields::Fields;

/// Types delivered to.
const DELIVERED: [&str; 3] = ["webhook", "slack", "email"];

/// Types that Argo CD Notifications knows and that are not delivered to yet (§13.5).
const PENDING: [&str; 18] = [
    "telegram",
    "github",
    "teams-workflows",
    "googlechat",
    "pagerdutyv2",
    "opsgenie",
    "alertmanager",
    "mattermost",
    "grafana",
    "webex",
    "newrelic",
    "rocketchat",
    "pushover",
    "nats",
    "awssqs",
    "gcppubsub",
    "pagerduty",
    "teams",
];

/// `idleConnTimeout` where none is given (§13.1).
const IDLE: Duration = Duration::from_secs(90);

/// Targets that are programs: no mark is added to their text, and a message that cannot be rendered is not replaced by
/// a simpler one (§1, LAN-07, TPL-08).
const PROGRAMS: [&str; 7] = ["webhook", "awssqs", "gcppubsub", "nats", "github", "newrelic", "alertmanager"];

/// One configured service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceConfig {
    /// Its name: what subscriptions say.
    pub name: String,
    /// What it is.
    pub body: Body,
    /// How it is treated.
    pub delivery: Delivery,
    /// `insecureSkipVerify`: any certificate is believed.
    pub insecure: bool,
    /// `idleConnTimeout`: how long a connection is kept for the next delivery.
    pub idle: Duration,
    /// The values that were put into this body, to be kept out of every text.
    pub secrets: Vec<Secret>,
}

/// What a service is.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// §13.2.
    Webhook(Webhook),
    /// §13.3.
    Slack(Slack),
    /// §13.4.
    Email(Email),
    /// A type that is not delivered to (yet), by its name; deliveries wait as healable rejections (CFG-15).
    Undelivered(String),
}

/// How deliveries to a service are treated: its `lynceus:` block (§13.1).
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// Bound of one attempt.
    pub timeout: Duration,
    /// Bound of its connection.
    pub connect_timeout: Duration,
    /// Age at which an event is given up (OUT-06).
    pub max_age: Duration,
    /// Calls at once in one lane; `None` for the type's own (LAN-01).
    pub concurrency: Option<u32>,
    /// Messages per second and lane; `None` for the type's own (LAN-04).
    pub rate_per_second: Option<f64>,
    /// After an unknown outcome: `false` sends again (default), `true` gives up visibly (`unknownOutcome: hold`).
    pub hold_unknown: bool,
    /// Whether texts for people say when they are late or perhaps a repeat (LAN-07).
    pub marks: bool,
}

impl Default for Delivery {
    fn default() -> Self {
        Delivery {
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            max_age: Duration::from_secs(24 * 3600),
            concurrency: None,
            rate_per_second: None,
            hold_unknown: false,
            marks: true,
        }
    }
}

/// A webhook (§13.2).
#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    /// http or https; may hold a token, hence secret.
    pub url: Secret,
    /// Name and value, in order; a later same name replaces an earlier one.
    pub headers: Vec<(String, Secret)>,
    /// User and password.
    pub basic_auth: Option<(String, Secret)>,
    /// First wait of a fast retry (WH-05).
    pub retry_wait_min: Duration,
    /// Longest wait of a fast retry.
    pub retry_wait_max: Duration,
    /// Fast retries after the first attempt.
    pub retry_max: u32,
    /// Whether up to ten redirects are followed (WH-07).
    pub follow_redirects: bool,
    /// Whether `lynceus-attempt` and `lynceus-possible-repeat` are sent (WH-09).
    pub attempt_headers: bool,
    /// Whether a header says that the body is JSON (TPL-05).
    pub json: bool,
}

/// Slack (§13.3).
#[derive(Clone, Debug, PartialEq)]
pub struct Slack {
    /// Bearer token.
    pub token: Secret,
    /// Shown name; empty means the app's own.
    pub username: String,
    /// `:emoji:` or URL; empty means the app's own.
    pub icon: String,
    /// Base of the methods' URLs, with its final slash.
    pub api_url: String,
    /// No previews of links.
    pub disable_unfurl: bool,
}

/// E-mail (§13.4).
#[derive(Clone, Debug, PartialEq)]
pub struct Email {
    /// Server.
    pub host: String,
    /// 465 means TLS from the first byte.
    pub port: u16,
    /// Empty means none.
    pub username: String,
    /// Empty means none.
    pub password: Secret,
    /// Sender, as written.
    pub from: String,
    /// `text/html` instead of `text/plain`.
    pub html: bool,
    /// What is asked of the connection.
    pub tls: MailTls,
    /// What the client calls itself.
    pub helo_name: String,
}

/// `lynceus.tls` of a mail service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailTls {
    /// 465: from the first byte; else STARTTLS, which must be offered (EM-01, EM-02).
    Required,
    /// From the first byte on any port.
    Implicit,
    /// STARTTLS if offered.
    Opportunistic,
    /// Never.
    None,
}

impl ServiceConfig {
    /// The type's name: `webhook`, `slack`, …
    pub fn kind(&self) -> &str {
        match &self.body {
            Body::Webhook(_) => "webhook",
            Body::Slack(_) => "slack",
            Body::Email(_) => "email",
            Body::Undelivered(kind) => kind,
        }
    }

    /// Whether its messages are read by programs rather than people.
    pub fn is_program(&self) -> bool {
        PROGRAMS.contains(&self.kind())
    }
}

/// The two names in a key `service.<type>` or `service.<type>.<name>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceKey {
    /// The type.
    pub kind: String,
    /// The service's name; the type where none is given.
    pub name: String,
}

/// Reads a key of the ConfigMap that begins with `service.`.
///
/// # Errors
/// `ServiceKeyInvalid` for more than two parts, or an empty one (CFG-05).
pub fn service_key(key: &str) -> Result<ServiceKey, Problem> {
    let parts: Vec<&str> = key.split('.').skip(1).collect();
    match parts.as_slice() {
        [kind] if !kind.is_empty() => Ok(ServiceKey { kind: (*kind).into(), name: (*kind).into() }),
        [kind, name] if !kind.is_empty() && !name.is_empty() => {
            Ok(ServiceKey { kind: (*kind).into(), name: (*name).into() })
        }
        _ => Err(Problem::error("ServiceKeyInvalid", "not a service's key; ignored")
            .at_key(key)
            .hint("`service.<type>` or `service.<type>.<name>`; names hold no dot")
            .upstream_rejects()),
    }
}

/// Which key defines each service name: the one that sorts first, with a problem `ServiceNameClash` for every other
/// one (CFG-06). Keys that are no service's are left out.
pub fn names<'a>(keys: impl IntoIterator<Item = &'a str>) -> (BTreeMap<String, &'a str>, Vec<Problem>) {
    let mut keys: Vec<&str> = keys.into_iter().filter(|key| key.starts_with("service.")).collect();
    keys.sort_unstable();
    let (mut names, mut problems) = (BTreeMap::new(), Vec::new());
    for key in keys {
        let Ok(ServiceKey { name, .. }) = service_key(key) else { continue };
        match names.get(&name) {
            None => drop(names.insert(name, key)),
            Some(first) => problems.push(
                Problem::error(
                    "ServiceNameClash",
                    format!("`{first}` and `{key}` both define `{name}`; `{first}` counts"),
                )
                .at_key(key)
                .hint("give one of them another name"),
            ),
        }
    }
    (names, problems)
}

/// Compiles one service. `None` if it cannot work at all; then one of the problems is an error. The problems carry
/// `key` and positions inside `text`.
pub fn service(key: &str, text: &str, secrets: &BTreeMap<String, Secret>) -> (Option<ServiceConfig>, Vec<Problem>) {
    let mut problems = Vec::new();
    let config = compile(key, text, secrets, &mut problems);
    for problem in &mut problems {
        problem.key = key.to_owned();
    }
    (config, problems)
}

fn compile(
    key: &str,
    text: &str,
    secrets: &BTreeMap<String, Secret>,
    problems: &mut Vec<Problem>,
) -> Option<ServiceConfig> {
    let ServiceKey { kind, name } = service_key(key).map_err(|problem| problems.push(problem)).ok()?;
    let (root, warnings) = yaml::parse(text).map_err(|problem| problems.push(problem)).ok()?;
    problems.extend(warnings);
    if !DELIVERED.contains(&kind.as_str()) {
        problems.push(undelivered(&kind));
        let (delivery, body) = (Delivery::default(), Body::Undelivered(kind));
        return Some(ServiceConfig { name, body, delivery, insecure: false, idle: IDLE, secrets: Vec::new() });
    }
    if text.contains("{{") {
        problems.push(
            Problem::info("ServiceNotTemplated", "`{{` is sent as it is: services are not templates")
                .hint("`$key` puts in a value of the Secret; everything else belongs into a template"),
        );
    }
    let mut fields = Fields::new(root, secrets, problems)?;
    let body = match kind.as_str() {
        "webhook" => webhook(&mut fields).map(Body::Webhook),
        "slack" => slack(&mut fields).map(Body::Slack),
        _ => email(&mut fields).map(Body::Email),
    };
    let insecure = fields.bool(if kind == "email" { "insecure_skip_verify" } else { "insecureSkipVerify" });
    let mut idle = IDLE;
    if kind != "email" {
        for ignored in ["maxIdleConns", "maxIdleConnsPerHost", "maxConnsPerHost"] {
            fields.int(ignored);
        }
        idle = fields.lenient_duration("idleConnTimeout").filter(|idle| !idle.is_zero()).unwrap_or(IDLE);
    }
    if insecure {
        fields
            .warn("TlsVerificationOff", "certificates are not verified: whoever is in between can read and change all");
    }
    let delivery = delivery(&mut fields);
    let used = fields.finish(&kind);
    let config = ServiceConfig { name, body: body?, delivery, insecure, idle, secrets: used? };
    Some(config)
}

fn undelivered(kind: &str) -> Problem {
    if PENDING.contains(&kind) {
        return Problem::warning("ServiceTypePending", format!("`{kind}` is not delivered to yet; its messages wait"))
            .hint("they expire after a day; many receivers can be reached through a `webhook` service meanwhile");
    }
    let problem = Problem::error("ServiceTypeUnknown", format!("there is no service type `{kind}`")).upstream_rejects();
    match nearest(kind, DELIVERED.into_iter().chain(PENDING)) {
        Some(word) => problem.hint(format!("did you mean `{word}`?")),
        None => problem.hint("receivers without a type of their own are reached through `service.webhook.<name>`"),
    }
}

fn webhook(fields: &mut Fields) -> Option<Webhook> {
    let url = fields.text("url").unwrap_or_default();
    check_url(fields, "url", &url);
    let mut headers = Vec::new();
    for mut header in fields.list("headers") {
        let name = header.text("name").unwrap_or_default();
        let value = header.text("value").unwrap_or_default();
        let named =
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
        if !named || value.chars().any(|c| c.is_control() && c != '\t') {
            header.error("ServiceInvalid", "a header's name or value holds characters that no header may hold");
        } else if name.eq_ignore_ascii_case("host") {
            header.warn("HeaderIgnored", "`Host` has no effect: it follows from the URL");
        } else {
            headers.push((name, value));
        }
        header.close("a header");
    }
    let json = headers.iter().rev().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let json = json.is_some_and(|(_, value)| is_json(value));
    let basic_auth = fields.block("basicAuth", |block| {
        let pair = (block.text("username").unwrap_or_default(), block.text("password").unwrap_or_default());
        block.close("basicAuth");
        pair
    });
    let positive = |found: Option<Duration>, default| found.filter(|wait| !wait.is_zero()).unwrap_or(default);
    let retry_max = match fields.int("retryMax") {
        None | Some(0) => 3,
        Some(number) => number.clamp(0, 100) as u32,
    };
    let retry_wait_min = positive(fields.duration("retryWaitMin"), Duration::from_secs(1));
    let retry_wait_max = positive(fields.duration("retryWaitMax"), Duration::from_secs(5));
    let (follow, attempts) = fields.own(|own| (own.optional_bool("followRedirects"), own.bool("headers")));
    Some(Webhook {
        url: url.into(),
        headers: headers.into_iter().map(|(name, value)| (name, value.into())).collect(),
        basic_auth: basic_auth.map(|(user, password)| (user, password.into())),
        retry_wait_min,
        retry_wait_max,
        retry_max,
        follow_redirects: follow.unwrap_or(true),
        attempt_headers: attempts,
        json,
    })
}

fn is_json(content_type: &str) -> bool {
    let media = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media == "application/json" || media.ends_with("+json")
}

/// The text of a problem never holds the URL: tokens live there.
fn check_url(fields: &mut Fields, field: &str, url: &str) {
    let wrong = match url::Url::parse(url) {
        _ if url.is_empty() => Some(format!("`{field}` is missing")),
        Ok(parsed) if matches!(parsed.scheme(), "http" | "https") && parsed.has_host() => None,
        Ok(_) => Some(format!("`{field}` is neither http nor https")),
        Err(error) => Some(format!("`{field}` is no URL: {error}")),
    };
    if let Some(wrong) = wrong {
        fields.error("ServiceInvalid", &wrong);
    }
}

fn slack(fields: &mut Fields) -> Option<Slack> {
    let token = fields.text("token").unwrap_or_default();
    if token.is_empty() {
        fields.error("ServiceInvalid", "`token` is missing");
    }
    let mut api_url = fields.text("apiURL").unwrap_or_default();
    if api_url.is_empty() {
        api_url = "https://slack.com/api/".into();
    }
    check_url(fields, "apiURL", &api_url);
    if !api_url.ends_with('/') {
        api_url.push('/');
    }
    fields.unused("signingSecret");
    fields.unused("channels");
    Some(Slack {
        token: token.into(),
        username: fields.text("username").unwrap_or_default(),
        icon: fields.text("icon").unwrap_or_default(),
        api_url,
        disable_unfurl: fields.bool("disableUnfurl"),
    })
}

fn email(fields: &mut Fields) -> Option<Email> {
    let [host, from, username, password] =
        ["host", "from", "username", "password"].map(|name| fields.text(name).unwrap_or_default());
    for (name, value) in [("host", &host), ("from", &from)] {
        if value.is_empty() {
            fields.error("ServiceInvalid", &format!("`{name}` is missing"));
        } else if value.chars().any(char::is_control) {
            fields.error("ServiceInvalid", &format!("`{name}` holds control characters"));
        }
    }
    let port = match fields.int("port").map(u16::try_from) {
        Some(Ok(port)) if port > 0 => port,
        _ => {
            fields.error("ServiceInvalid", "`port` is missing or no port (usual ones: 587, 465, 25)");
            return None;
        }
    };
    let (tls, helo_name) = fields.own(|own| {
        let tls = match own.text("tls").as_deref() {
            None | Some("required") => MailTls::Required,
            Some("implicit") => MailTls::Implicit,
            Some("opportunistic") => MailTls::Opportunistic,
            Some("none") => MailTls::None,
            Some(_) => {
                own.error("ServiceInvalid", "`tls` is one of required, implicit, opportunistic, none");
                MailTls::Required
            }
        };
        (tls, own.text("heloName").filter(|name| !name.is_empty()))
    });
    let helo_name = helo_name.unwrap_or_else(|| "localhost".into());
    if !helo_name.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_[]:".contains(&b)) {
        fields.error("ServiceInvalid", "`heloName` is no host name");
    }
    let html = fields.bool("html");
    Some(Email { host, port, username, password: password.into(), from, html, tls, helo_name })
}

fn delivery(fields: &mut Fields) -> Delivery {
    let default = Delivery::default();
    fields.own(|own| {
        let hold_unknown = match own.text("unknownOutcome").as_deref() {
            None | Some("resend") => false,
            Some("hold") => true,
            Some(_) => {
                own.error("ServiceInvalid", "`unknownOutcome` is resend or hold");
                false
            }
        };
        let mut span = |name: &str, default: Duration| match own.duration(name) {
            Some(found) if !found.is_zero() => found,
            _ => default,
        };
        let timeout = span("timeout", default.timeout);
        let connect_timeout = span("connectTimeout", default.connect_timeout);
        let max_age = span("maxAge", default.max_age);
        Delivery {
            timeout,
            connect_timeout,
            max_age,
            concurrency: own.int("concurrency").map(|number| number.clamp(1, 64) as u32),
            rate_per_second: own.number("ratePerSecond").filter(|rate| *rate > 0.0),
            hold_unknown,
            marks: own.optional_bool("marks").unwrap_or(true),
        }
    })
}

#[cfg(test)]
mod tests;
