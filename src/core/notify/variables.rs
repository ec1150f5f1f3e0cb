//! Variables and functions that conditions and templates see (notifications.md §5).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::core::expr::Vocabulary;
use crate::core::value::time::{self, Moment};
use crate::core::value::{CallError, Func, Map, MapKind, Object, Param, Value};

/// What is known of commits: by id, a failed look-up being `None`. A commit that is not in here makes an evaluation
/// undetermined and is noted in [`Facts::wanted`].
pub type Commits = BTreeMap<String, Option<Commit>>;

/// Commit metadata (HLP-02).
#[derive(Clone, Debug)]
pub struct Commit {
    /// The whole message, outer white space trimmed.
    pub message: String,
    /// `Name <mail>`.
    pub author: String,
    /// Author time.
    pub date: Moment,
    /// Names of tags pointing at it.
    pub tags: Vec<String>,
}

impl Object for Commit {
    fn type_name(&self) -> &str {
        "*v1alpha1.CommitMetadata"
    }

    fn field(&self, name: &str) -> Option<Value> {
        match name {
            "Message" => Some(Value::text(&self.message)),
            "Author" => Some(Value::text(&self.author)),
            "Date" => Some(Value::Time(self.date.clone())),
            "Tags" => Some(Value::text_list(&self.tags)),
            _ => None,
        }
    }

    fn method(&self, _name: &str) -> Option<Func> {
        None
    }
}

/// What is known of the variables (§5.1) and of what Argo CD writes, for remarks on conditions (EXP-03).
pub const VOCABULARY: Vocabulary = Vocabulary {
    writer: "Argo CD",
    variables: &[
        "app",
        "appProject",
        "context",
        "secrets",
        "serviceType",
        "recipient",
        "time",
        "strings",
        "repo",
        "sync",
        "image",
    ],
    words: &[
        (["operationState", "phase"], &["Running", "Succeeded", "Failed", "Error", "Terminating"]),
        (["health", "status"], &["Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown"]),
        (["sync", "status"], &["Synced", "OutOfSync", "Unknown"]),
    ],
    lists: &[
        "images",
        "externalURLs",
        "conditions",
        "resources",
        "history",
        "sources",
        "finalizers",
        "parameters",
        "info",
    ],
};

/// Everything an evaluation or rendering may read.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The Application.
    pub app: Value,
    /// Its project; an empty map if not found.
    pub project: Value,
    /// The ConfigMap's `context`.
    pub context: BTreeMap<String, String>,
    /// The Secret's values.
    pub secrets: Map,
    /// Known commits.
    pub commits: Arc<Commits>,
    /// Commits that were asked for and are not known.
    pub wanted: Arc<Mutex<Vec<String>>>,
    /// Whether an unknown commit is replaced by a placeholder (templates whose look-up failed, HLP-05) instead of being
    /// an error (conditions, HLP-06).
    pub placeholders: bool,
    /// The image event, where there is one.
    pub image: Value,
    /// The clock of this run.
    pub now: Moment,
}

impl Facts {
    /// Variables of `when` and `oncePer`.
    pub fn for_conditions(&self) -> Map {
        self.map("", None)
    }

    /// Variables of a template's fields.
    pub fn for_templates(&self, service: &str, recipient: &str) -> Map {
        self.map(service, Some(recipient))
    }

    /// Commits that were asked for and are not known, each once.
    pub fn take_wanted(&self) -> Vec<String> {
        let mut wanted = std::mem::take(&mut *self.wanted.lock().unwrap_or_else(|e| e.into_inner()));
        wanted.sort();
        wanted.dedup();
        wanted
    }

    fn map(&self, service: &str, recipient: Option<&str>) -> Map {
        let map = Map::new(MapKind::Any);
        map.insert("app", self.app.clone());
        map.insert("appProject", self.project.clone());
        let mut context: BTreeMap<Arc<str>, Value> = BTreeMap::new();
        context.insert("notificationType".into(), Value::text(service));
        for (key, value) in &self.context {
            context.insert(key.as_str().into(), Value::text(value));
        }
        map.insert("context", Value::Map(Map::from_entries(MapKind::Text, context)));
        map.insert("secrets", Value::Map(self.secrets.clone()));
        if let Some(recipient) = recipient {
            map.insert("serviceType", Value::text(service));
            map.insert("recipient", Value::text(recipient));
        }
        map.insert("image", self.image.clone());
        map.insert("time", time_functions(&self.now));
        map.insert("strings", string_functions());
        map.insert("repo", self.repository_functions());
        map.insert("sync", sync_functions());
        map
    }

    fn repository_functions(&self) -> Value {
        let (commits, wanted, placeholders) = (self.commits.clone(), self.wanted.clone(), self.placeholders);
        let metadata = move |arguments: &[Value]| {
            let id = argument(arguments, 0);
            match commits.get(&id) {
                Some(Some(commit)) => Ok(Value::Object(Arc::new(commit.clone()))),
                Some(None) if placeholders => Ok(Value::Object(Arc::new(Commit {
                    message: "(commit information unavailable)".into(),
                    author: "unknown".into(),
                    date: Moment::zero(),
                    tags: Vec::new(),
                }))),
                Some(None) => Err(CallError::Failed(format!("commit {id} is not known"))),
                None => {
                    wanted.lock().unwrap_or_else(|e| e.into_inner()).push(id.clone());
                    Err(CallError::Undetermined(format!("commit {id} is being looked up")))
                }
            }
        };
        Value::map([
            ("RepoURLToHTTPS", text_function("RepoURLToHTTPS", |url| url_to_https(&url))),
            ("FullNameByRepoURL", text_function("FullNameByRepoURL", |url| Ok(full_name(&url)))),
            ("QueryEscape", text_function("QueryEscape", |text| Ok(query_escape(&text)))),
            ("GetCommitMetadata", Value::Func(Func::new("GetCommitMetadata", &[Param::Text], metadata))),
        ])
    }
}

fn argument(arguments: &[Value], at: usize) -> String {
    arguments.get(at).and_then(Value::as_text).unwrap_or_default().to_owned()
}

fn text_function(
    name: &'static str,
    body: impl Fn(String) -> Result<String, CallError> + Send + Sync + 'static,
) -> Value {
    Value::Func(Func::new(name, &[Param::Text], move |a| body(argument(a, 0)).map(Value::text)))
}

fn time_functions(now: &Moment) -> Value {
    let (for_now, zone) = (now.clone(), now.zone.clone());
    let mut entries: Vec<(&str, Value)> = vec![
        ("Now", Value::Func(Func::new("Now", &[], move |_| Ok(Value::Time(for_now.clone()))))),
        (
            "Parse",
            Value::Func(Func::new("Parse", &[Param::Text], move |a| {
                let text = argument(a, 0);
                time::parse_rfc3339(&text, &zone).map(Value::Time).map_err(CallError::Failed)
            })),
        ),
    ];
    for (name, nanoseconds) in [
        ("Nanosecond", 1),
        ("Microsecond", 1_000),
        ("Millisecond", 1_000_000),
        ("Second", 1_000_000_000),
        ("Minute", 60_000_000_000),
        ("Hour", 3_600_000_000_000),
    ] {
        entries.push((name, Value::Duration(nanoseconds)));
    }
    for (name, layout) in time::LAYOUTS {
        entries.push((name, Value::text(layout)));
    }
    Value::map(entries)
}

fn string_functions() -> Value {
    let replace = |a: &[Value]| Ok(Value::text(argument(a, 0).replace(&argument(a, 1), &argument(a, 2))));
    Value::map([
        ("ReplaceAll", Value::Func(Func::new("ReplaceAll", &[Param::Text, Param::Text, Param::Text], replace))),
        ("ToUpper", text_function("ToUpper", |t| Ok(t.to_uppercase()))),
        ("ToLower", text_function("ToLower", |t| Ok(t.to_lowercase()))),
    ])
}

/// `sync.GetInfoItem(app, name)`: documented upstream, never registered there (#14343).
fn sync_functions() -> Value {
    let item = |arguments: &[Value]| {
        let app = arguments.first().cloned().unwrap_or(Value::Nil);
        let name = argument(arguments, 1);
        let lists = [&["operation", "info"][..], &["status", "operationState", "operation", "info"][..]];
        let found = lists.iter().find_map(|path| {
            let list = path.iter().try_fold(app.clone(), |value, key| match value {
                Value::Map(map) => map.get(key),
                _ => None,
            })?;
            let Value::List(list) = list else { return None };
            list.items.iter().find_map(|item| {
                let Value::Map(item) = item else { return None };
                (item.get("name")?.as_text()? == name).then(|| item.get("value")).flatten()
            })
        });
        Ok(found.unwrap_or_else(|| Value::text("")))
    };
    Value::map([("GetInfoItem", Value::Func(Func::new("GetInfoItem", &[Param::Any, Param::Text], item)))])
}

/// Scheme forced to https, user information removed, port and query kept; `user@host:path` becomes a URL.
pub(super) fn url_to_https(url: &str) -> Result<String, CallError> {
    let (authority, rest) = match url.split_once("://") {
        Some((_, rest)) => match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        },
        None => match url.split_once(':') {
            Some((host, path)) if !host.contains('/') && !path.is_empty() => {
                let host = host.rsplit('@').next().unwrap_or(host);
                return Ok(format!("https://{host}/{}", path.trim_start_matches('/')));
            }
            _ => return Err(CallError::Failed(format!("{url} is no repository URL"))),
        },
    };
    let host = authority.rsplit('@').next().unwrap_or(authority);
    Ok(format!("https://{host}{rest}"))
}

/// The path without `.git`; its first two parts, or the whole path if it has fewer.
fn full_name(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = match rest.split_once('/') {
        Some((host, path)) if !host.contains(':') || url.contains("://") => path,
        _ => rest.split_once(':').map_or(rest, |(_, path)| path),
    };
    let path = path.split(['?', '#']).next().unwrap_or(path);
    let path = path.trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    path.split('/').take(2).collect::<Vec<_>>().join("/")
}

/// Form-style escaping, as Go's `url.QueryEscape`.
pub fn query_escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(byte as char),
            b' ' => escaped.push('+'),
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_5_2_repository_helpers() {
        for (url, https) in [
            ("git@github.com:argoproj/argo-cd.git", "https://github.com/argoproj/argo-cd.git"),
            ("ssh://git@host.example:2222/org/sub/repo.git", "https://host.example:2222/org/sub/repo.git"),
            ("https://user:pw@github.com/a/b?x=1", "https://github.com/a/b?x=1"),
            ("http://github.com/a/b", "https://github.com/a/b"),
        ] {
            assert_eq!(url_to_https(url).unwrap(), https);
        }
        for (url, name) in [
            ("https://gitlab.com/a/b/c.git", "a/b"),
            ("git@github.com:argoproj/argo-cd.git", "argoproj/argo-cd"),
            ("ssh://git@host.example:2222/org/sub/repo.git", "org/sub"),
            ("https://github.com/one", "one"),
        ] {
            assert_eq!(full_name(url), name);
        }
        for (text, escaped) in [("a b&c/d", "a+b%26c%2Fd"), ("é+%", "%C3%A9%2B%25"), ("~*'()!", "~%2A%27%28%29%21")] {
            assert_eq!(query_escape(text), escaped);
        }
    }

    #[test]
    fn section_5_1_vars_table() {
        use crate::core::expr::Program;
        use crate::core::template::{Functions, Template};
        use crate::core::value::display;
        let secrets = Map::new(MapKind::Bytes);
        secrets.insert("k", Value::Bytes(std::sync::Arc::from(&b"s3"[..])));
        let app = serde_json::json!({"metadata": {"name": "web", "generation": 3}, "spec": {"ratio": 1.5}});
        let facts = |context: &[(&str, &str)]| Facts {
            app: Value::from_json(&app),
            project: Value::map::<&str>([]),
            context: context.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
            secrets: secrets.clone(),
            commits: Default::default(),
            wanted: Default::default(),
            placeholders: false,
            image: Value::Nil,
            now: Moment::utc("2026-05-01T12:00:00Z".parse().unwrap()),
        };
        let plain = facts(&[("argocdUrl", "https://a")]);
        let overridden = facts(&[("notificationType", "mine")]);
        for (facts, expression, text) in [
            (&plain, "app.metadata.name", "web"),
            (&plain, "type(app.metadata.generation)", "int"),
            (&plain, "type(app.spec.ratio)", "float"),
            (&plain, "len(appProject)", "0"),
            (&plain, "context.argocdUrl", "https://a"),
            (&plain, "context.notificationType == ''", "true"),
            (&overridden, "context.notificationType", "mine"),
            (&plain, "secrets.k", "[115 51]"),
            (&plain, "serviceType", "<nil>"),
            (&plain, "recipient", "<nil>"),
            (&plain, "image", "<nil>"),
            (&plain, "time.Now().Year()", "2026"),
            (&plain, "strings.ToUpper('a') + repo.QueryEscape(' ')", "A+"),
            (&plain, "sync.GetInfoItem(app, 'x') == ''", "true"),
        ] {
            let program = Program::compile(expression).unwrap();
            let value = program.eval(&facts.for_conditions(), &facts.now);
            assert_eq!(display(&value.unwrap()), text, "{expression}");
        }
        for (facts, template, text) in [
            (&plain, "{{.app.metadata.name}} {{.serviceType}} {{.recipient}}", "web hook r"),
            (&plain, "{{.context.notificationType}}", "hook"),
            (&overridden, "{{.context.notificationType}}", "mine"),
            (&plain, "{{.secrets.k}} {{.secrets.k | toString}} {{printf \"%s\" .secrets.k}}", "[115 51] s3 s3"),
            (&plain, "{{(call .time.Now).Year}} {{call .strings.ToUpper \"a\"}}", "2026 A"),
        ] {
            let parsed = Template::parse(template, Functions::Full).unwrap();
            let data = Value::Map(facts.for_templates("hook", "r"));
            assert_eq!(parsed.render(&data, &facts.now).unwrap(), text, "{template}");
        }
    }

    #[test]
    fn section_5_2_sync_get_info_item() {
        let app = Value::from_json(&serde_json::json!({
            "operation": {"info": [{"name": "who", "value": "me"}]},
            "status": {"operationState": {"operation": {"info": [{"name": "why", "value": "x"}]}}},
        }));
        let Value::Map(sync) = sync_functions() else { panic!() };
        let Some(Value::Func(item)) = sync.get("GetInfoItem") else { panic!() };
        for (name, value) in [("who", "me"), ("why", "x"), ("nope", "")] {
            let got = item.call(&[app.clone(), Value::text(name)]).unwrap();
            assert_eq!(got.as_text(), Some(value), "{name}");
        }
    }
}
