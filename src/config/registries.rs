//! registries.conf (image-updates.md §9): which endpoint serves an image and how it is spoken to. The file is
//! strict as a whole (REG-3: a key nobody knows is fatal); what is wrong inside one entry is that entry's problem.

use super::credential_form::CredentialForm;
use super::yaml::{self, Node};
use crate::core::problem::{Problem, Severity, nearest};
use std::sync::Arc;
use std::time::Duration;

/// The endpoints an operator configured, plus Docker Hub.
#[derive(Clone, Debug, PartialEq)]
pub struct Registries {
    entries: Vec<Arc<Entry>>,
    /// What is wrong or worth knowing; errors belong to the entry they name.
    pub problems: Vec<Problem>,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Display name.
    pub name: String,
    /// `host`, `host:port` or `host/path` of the images it serves; "" serves whatever nobody else does.
    pub prefix: String,
    /// Base URL without trailing `/`; `/v2/…` is appended.
    pub api_url: String,
    /// Credential form as written (§10), unparsed.
    pub credentials: Option<String>,
    /// After how long fetched credentials are fetched again; `None`: only when their source changes.
    pub credentials_expire: Option<Duration>,
    /// What the order of a listing means.
    pub tag_sort: TagSort,
    /// Do not verify the certificate. A standing problem says so.
    pub insecure: bool,
    /// PEM file with further roots.
    pub ca_file: Option<String>,
    /// PEM text with further roots.
    pub ca_data: Option<String>,
    /// Prefixed to repository names of one segment.
    pub default_namespace: String,
    /// Serves references without registry.
    pub default: bool,
    /// Requests per second.
    pub limit: Limit,
    /// Built in or inferred, not written by anybody.
    pub implied: bool,
    /// Why it cannot be used; the images it serves fail with it, all others work (REG-3).
    pub fault: Option<Problem>,
}

/// What the order of a listing means (`tagsortmode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TagSort {
    /// Nothing.
    #[default]
    None,
    /// The newest tag comes first.
    LatestFirst,
    /// The newest tag comes last.
    LatestLast,
}

/// Requests per second to one endpoint; every request counts: listing, token, metadata.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Limit {
    /// Up to 100 a second, halved when the registry throttles, recovering by a tenth a minute.
    #[default]
    Adaptive,
    /// So many.
    Fixed(f64),
    /// No limit.
    Unlimited,
}

const KEYS: [&str; 13] = [
    "name",
    "api_url",
    "prefix",
    "ping",
    "credentials",
    "credsexpire",
    "tagsortmode",
    "insecure",
    "ca_file",
    "ca_data",
    "defaultns",
    "default",
    "limit",
];

impl Default for Registries {
    fn default() -> Self {
        Registries::builtin()
    }
}

impl Registries {
    /// What holds without a file: Docker Hub (REG-1).
    pub fn builtin() -> Self {
        Registries { entries: vec![Arc::new(docker_hub(true))], problems: Vec::new() }
    }

    /// Reads the file's text.
    ///
    /// # Errors
    /// Everything that makes the file as a whole unusable: no YAML, a key nobody knows, a required key missing, two
    /// defaults, two catch-alls. At start that is fatal; later the last good file stays in use (REG-3).
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        let (document, warnings) = yaml::parse(text).map_err(|p| vec![Problem { code: CODE, ..p }])?;
        let mut fatal: Vec<Problem> =
            warnings.into_iter().map(|p| Problem { code: CODE, severity: Severity::Error, ..p }).collect();
        let mut entries = Vec::new();
        let mut problems = Vec::new();
        for item in top(&document, &mut fatal) {
            if let Some(entry) = entry(item, &mut fatal, &mut problems) {
                entries.push((item, entry));
            }
        }
        check_unique(&mut entries, &mut fatal, &mut problems);
        if !fatal.is_empty() {
            return Err(fatal);
        }
        let mut entries: Vec<Arc<Entry>> = entries.into_iter().map(|(_, entry)| Arc::new(entry)).collect();
        let has_default = entries.iter().any(|entry| entry.default);
        if !entries.iter().any(|entry| entry.prefix == "docker.io") {
            entries.push(Arc::new(docker_hub(!has_default)));
        } else if !has_default {
            entries = entries
                .into_iter()
                .map(|e| if e.prefix == "docker.io" { Arc::new(Entry { default: true, ..(*e).clone() }) } else { e })
                .collect();
        }
        Ok(Registries { entries, problems })
    }

    /// All configured endpoints; inferred ones are never among them (REG-2).
    pub fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    /// The endpoint of an image: by its written registry (absent: the default endpoint) and repository path. Longest
    /// prefix at a `/` boundary, then the catch-all, then `https://<host>` inferred (REG-1, REG-2).
    pub fn endpoint(&self, registry: Option<&str>, path: &str) -> Arc<Entry> {
        let Some(host) = registry.filter(|host| !host.is_empty()) else {
            let default = self.entries.iter().find(|entry| entry.default);
            return default.cloned().unwrap_or_else(|| Arc::new(docker_hub(true)));
        };
        let name = full_name(host, path);
        let best = self.entries.iter().filter(|entry| covers(&entry.prefix, &name)).max_by_key(|e| e.prefix.len());
        best.cloned().unwrap_or_else(|| Arc::new(inferred(host)))
    }

    /// Says so if Argo CD Image Updater would have asked another endpoint: there a host entry beats a path entry, and
    /// a prefix ends anywhere (REG-2). `None` if it would have asked the same.
    pub fn upstream_differs(&self, registry: Option<&str>, path: &str) -> Option<Problem> {
        let host = registry.filter(|host| !host.is_empty())?;
        let ours = self.endpoint(registry, path);
        let name = format!("{host}/{path}");
        let named = |entry: &&Arc<Entry>| !entry.prefix.is_empty();
        let exact = self.entries.iter().find(|entry| entry.prefix == host);
        let loose =
            || self.entries.iter().filter(named).filter(|e| name.starts_with(&e.prefix)).max_by_key(|e| e.prefix.len());
        let theirs = exact.or_else(loose)?;
        (theirs.prefix != ours.prefix).then(|| {
            Problem::warning(
                "registry-choice-differs",
                format!(
                    "{name} is served by entry {:?}; Argo CD Image Updater would ask entry {:?}",
                    ours.name, theirs.name
                ),
            )
            .hint("the longest prefix that ends at a `/` is used")
        })
    }
}

impl Entry {
    /// The repository's name at this endpoint: `defaultns` before one-segment names.
    pub fn repository(&self, path: &str) -> String {
        if self.default_namespace.is_empty() || path.contains('/') {
            path.to_owned()
        } else {
            format!("{}/{path}", self.default_namespace)
        }
    }
}

const CODE: &str = "config-invalid";

fn docker_hub(default: bool) -> Entry {
    Entry {
        name: "Docker Hub".into(),
        prefix: "docker.io".into(),
        api_url: "https://registry-1.docker.io".into(),
        default_namespace: "library".into(),
        default,
        limit: Limit::Fixed(10.0),
        ..inferred("docker.io")
    }
}

fn inferred(host: &str) -> Entry {
    Entry {
        name: host.to_owned(),
        prefix: host.to_owned(),
        api_url: format!("https://{}", host.to_ascii_lowercase()),
        credentials: None,
        credentials_expire: None,
        tag_sort: TagSort::None,
        insecure: false,
        ca_file: None,
        ca_data: None,
        default_namespace: String::new(),
        default: false,
        limit: Limit::Adaptive,
        implied: true,
        fault: None,
    }
}

/// Registry and path as prefixes see them: the host in lower case, Docker Hub's other names as `docker.io`.
fn full_name(host: &str, path: &str) -> String {
    let host = host.to_ascii_lowercase();
    let host = if host == "index.docker.io" { "docker.io" } else { &host };
    format!("{host}/{path}")
}

fn covers(prefix: &str, name: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    if prefix.is_empty() {
        return true;
    }
    // The host part of a prefix is compared without case, the path as it is.
    let (host, path) = prefix.split_once('/').map_or((prefix, ""), |(h, p)| (h, p));
    let prefix =
        if path.is_empty() { host.to_ascii_lowercase() } else { format!("{}/{path}", host.to_ascii_lowercase()) };
    name.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn top<'a>(document: &'a Node, fatal: &mut Vec<Problem>) -> &'a [Node] {
    if document.is_null() {
        return &[];
    }
    let Some(entries) = document.entries() else {
        fatal.push(
            document.at.mark(invalid(format!("expected a mapping with `registries`, found {}", document.kind()))),
        );
        return &[];
    };
    for entry in entries.iter().filter(|entry| entry.key != "registries") {
        fatal.push(entry.at.mark(unknown(&entry.key, &["registries"])));
    }
    match document.value("registries") {
        None => &[],
        Some(list) => list.items().unwrap_or_else(|| {
            fatal.push(list.at.mark(invalid(format!("`registries` must be a list, found {}", list.kind()))));
            &[]
        }),
    }
}

fn invalid(text: impl Into<String>) -> Problem {
    Problem::error(CODE, text)
}

fn unknown(key: &str, known: &[&str]) -> Problem {
    let problem = invalid(format!("unknown key `{key}`")).at_key(key);
    match nearest(key, known.iter().copied()) {
        Some(word) => problem.hint(format!("did you mean `{word}`?")),
        None => problem,
    }
}

/// One list item; `None` if it cannot even be named. Keys are matched exactly, as upstream's strict decoder does.
fn entry(item: &Node, fatal: &mut Vec<Problem>, problems: &mut Vec<Problem>) -> Option<Entry> {
    let Some(fields) = item.entries() else {
        fatal.push(item.at.mark(invalid(format!("an entry must be a mapping, found {}", item.kind()))));
        return None;
    };
    for field in fields.iter().filter(|field| !KEYS.contains(&field.key.as_str())) {
        fatal.push(field.at.mark(unknown(&field.key, &KEYS)));
    }
    let mut reader = Reader { item, name: String::new(), problems: Vec::new() };
    let required = |key: &str, fatal: &mut Vec<Problem>| {
        let text = item.value(key).and_then(Node::as_text).map(|t| t.trim().to_owned()).filter(|t| !t.is_empty());
        if text.is_none() {
            fatal.push(item.at.mark(invalid(format!("an entry without `{key}`")).at_key(key)));
        }
        text
    };
    let (name, api_url) = (required("name", fatal), required("api_url", fatal));
    let (name, api_url) = (name?, api_url?);
    reader.name.clone_from(&name);
    let entry = Entry {
        prefix: reader.text("prefix").unwrap_or_default(),
        api_url: reader.api_url(&api_url),
        credentials: reader.text("credentials").filter(|form| !form.is_empty()),
        credentials_expire: reader.expiry(),
        tag_sort: reader.tag_sort(),
        insecure: reader.boolean("insecure"),
        ca_file: reader.text("ca_file").filter(|file| !file.is_empty()),
        ca_data: reader.ca_data(),
        default_namespace: reader.text("defaultns").unwrap_or_default(),
        default: reader.boolean("default"),
        limit: reader.limit(),
        implied: false,
        fault: None,
        name,
    };
    // Accepted without effect: the challenge of the first request serves.
    reader.boolean("ping");
    reader.notices(&entry);
    let fault = reader.problems.iter().find(|p| p.severity == Severity::Error).cloned();
    // Not the whole entry's fault: images that bring their own credential do not need this one.
    if let Some(Err(problem)) = entry.credentials.as_deref().map(CredentialForm::parse) {
        reader.report("credentials", problem);
    }
    problems.append(&mut reader.problems);
    Some(Entry { fault, ..entry })
}

/// Reads the fields of one entry; what is wrong goes into `problems`, named after the entry.
struct Reader<'a> {
    item: &'a Node,
    name: String,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn report(&mut self, key: &str, problem: Problem) {
        let at = self.item.value(key).map_or(self.item.at, |node| node.at);
        let text = format!("registry {:?}: {}", self.name, problem.text);
        self.problems.push(at.mark(Problem { text, ..problem }).at_key(key));
    }

    fn text(&mut self, key: &str) -> Option<String> {
        let node = self.item.value(key)?;
        let text = node.as_text().map(|t| t.trim().to_owned());
        if text.is_none() {
            self.report(key, invalid(format!("`{key}` must be a text, found {}", node.kind())));
        }
        text
    }

    fn boolean(&mut self, key: &str) -> bool {
        let Some(node) = self.item.value(key) else { return false };
        match (node.as_bool(), node.as_strict_text().map(str::trim)) {
            (Some(value), _) => value,
            (None, Some("")) => false,
            _ => {
                self.report(key, invalid(format!("`{key}` must be true or false")).hint("write it without quotes"));
                false
            }
        }
    }

    fn api_url(&mut self, written: &str) -> String {
        let host = written.strip_prefix("https://").or_else(|| written.strip_prefix("http://"));
        let url = written.strip_suffix('/').unwrap_or(written);
        match host {
            None => self.report(
                "api_url",
                invalid(format!("`api_url` {written:?} has no scheme")).hint(format!("write https://{written}")),
            ),
            Some(host) if host.is_empty() || host.starts_with('/') || host.contains(char::is_whitespace) => {
                self.report("api_url", invalid(format!("`api_url` {written:?} names no host")));
            }
            Some(host) if host.split('/').next().is_some_and(|authority| authority.contains('@')) => {
                // The text is not repeated: it holds a password.
                self.report(
                    "api_url",
                    invalid("`api_url` holds a user or password").hint("use `credentials: env:NAME` or a Secret"),
                );
                return String::new();
            }
            Some(_) => {}
        }
        url.to_owned()
    }

    fn expiry(&mut self) -> Option<Duration> {
        let text = self.text("credsexpire").filter(|text| !text.is_empty())?;
        let parsed = duration(&text);
        if parsed.is_none() {
            let hint = "write a duration such as 10h, 30m or 1h30m";
            self.report("credsexpire", invalid(format!("`credsexpire` {text:?} is no duration")).hint(hint));
        }
        parsed.filter(|expiry| !expiry.is_zero())
    }

    fn tag_sort(&mut self) -> TagSort {
        let Some(text) = self.text("tagsortmode") else { return TagSort::None };
        match text.to_ascii_lowercase().as_str() {
            "" | "none" => TagSort::None,
            "latest-first" => TagSort::LatestFirst,
            "latest-last" => TagSort::LatestLast,
            other => {
                let known = ["none", "latest-first", "latest-last"];
                let hint = match nearest(&other.replace('_', "-"), known) {
                    Some(word) => format!("did you mean `{word}`?"),
                    None => "one of none, latest-first, latest-last".into(),
                };
                self.report("tagsortmode", invalid(format!("`tagsortmode` {text:?} is not known")).hint(hint));
                TagSort::None
            }
        }
    }

    fn ca_data(&mut self) -> Option<String> {
        let text = self.text("ca_data").filter(|text| !text.is_empty())?;
        if !text.contains("-----BEGIN CERTIFICATE-----") {
            let hint = "paste the PEM text, from -----BEGIN CERTIFICATE----- on";
            self.report("ca_data", invalid("`ca_data` holds no PEM certificate").hint(hint));
        }
        Some(text)
    }

    fn limit(&mut self) -> Limit {
        let Some(node) = self.item.value("limit") else { return Limit::Adaptive };
        match node.as_f64() {
            Some(number) if number > 0.0 && number.is_finite() => Limit::Fixed(number),
            Some(0.0) => Limit::Adaptive,
            Some(number) if number < 0.0 => Limit::Unlimited,
            _ => {
                let hint = "a number of requests per second; 0 adapts, a negative one means no limit";
                self.report("limit", invalid("`limit` is no number").hint(hint));
                Limit::Adaptive
            }
        }
    }

    fn notices(&mut self, entry: &Entry) {
        if entry.insecure {
            let text = "certificates of this registry are not verified (`insecure: true`)";
            self.report("insecure", Problem::warning("TlsVerificationOff", text));
        }
        if entry.limit == Limit::Unlimited {
            let text = "requests to this registry are not limited (`limit` is negative)";
            self.report("limit", Problem::info("registry-unlimited", text));
        }
    }
}

fn check_unique(entries: &mut Vec<(&Node, Entry)>, fatal: &mut Vec<Problem>, problems: &mut Vec<Problem>) {
    for (what, is) in [
        ("more than one entry is `default: true`", (|e| e.default) as fn(&Entry) -> bool),
        ("more than one entry has an empty `prefix`", |e| e.prefix.is_empty()),
    ] {
        if let Some((node, entry)) = entries.iter().filter(|(_, e)| is(e)).nth(1) {
            fatal.push(node.at.mark(invalid(format!("registry {:?}: {what}", entry.name))));
        }
    }
    // Upstream's table keeps the later of two entries with one prefix.
    let mut last: Vec<(&Node, Entry)> = Vec::new();
    for (node, entry) in entries.drain(..) {
        if let Some(place) = last.iter().position(|(_, e)| e.prefix == entry.prefix && !entry.prefix.is_empty()) {
            let (_, earlier) = last.remove(place);
            let text = format!(
                "entry {:?} replaces entry {:?}: both have prefix {:?}",
                entry.name, earlier.name, entry.prefix
            );
            problems.push(node.at.mark(Problem::warning(CODE, text).at_key("prefix")));
        }
        last.push((node, entry));
    }
    *entries = last;
}

/// A duration as Go writes it: `1h30m`, `1.5h`, `250ms`.
fn duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 7] =
        [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("h", 3600.0), ("m", 60.0), ("s", 1.0)];
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut seconds) = (text, 0.0);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (unit, factor) = UNITS.into_iter().find(|(unit, _)| rest.starts_with(unit))?;
        rest = &rest[unit.len()..];
        seconds += number * factor;
    }
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests;
