//! ConfigMaps as people write them, and the built-in catalog: whatever Argo CD Notifications makes of them with Go's
//! expr, text/template and sprig (tests/oracle/corpus wrote it down) is made of them here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value as Json;

use super::super::{CATALOG, CatalogMode, IMAGE_CATALOG, Notifications, compile};
use crate::config::documents;
use crate::core::application::Application;
use crate::core::notify::catalog::{Field, MessageTemplate, Topic, render};
use crate::core::notify::variables::{Commit, Commits, Facts};
use crate::core::template::{Functions, Template};
use crate::core::value::time::Moment;
use crate::core::value::{Map, MapKind, Value};

/// Where Go's answer and ours are different on purpose: fixture, what, the rule.
const ON_PURPOSE: &[(&str, &str, &str)] = &[];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn clock() -> Moment {
    Moment::utc("2026-05-01T12:00:00Z".parse().unwrap())
}

fn facts(app: &Json, context: &BTreeMap<String, String>, commits: Commits) -> Facts {
    let secrets = [(Arc::from("word"), Value::Bytes(b"s3".as_slice().into()))];
    Facts {
        app: Value::from_json(app),
        project: Value::map::<&str>([]),
        context: context.clone(),
        secrets: Map::from_entries(MapKind::Bytes, secrets.into_iter().collect()),
        commits: Arc::new(commits),
        wanted: Default::default(),
        placeholders: false,
        image: Value::Nil,
        now: clock(),
    }
}

/// Every commit is the same one.
fn commit() -> Commit {
    let author = "Ann <ann@corp.test>".to_owned();
    Commit { message: "Raise the limit".into(), author, date: clock(), tags: vec!["v1".into()] }
}

/// Runs `look` until it knows every commit it asks for.
fn knowing<T>(app: &Json, context: &BTreeMap<String, String>, look: impl Fn(&Facts) -> T) -> T {
    let mut commits = Commits::new();
    loop {
        let facts = facts(app, context, commits.clone());
        let result = look(&facts);
        let wanted = facts.take_wanted();
        if wanted.is_empty() {
            return result;
        }
        commits.extend(wanted.into_iter().map(|id| (id.clone(), (id.len() >= 7).then(commit))));
    }
}

/// The text field of a template by the name that the oracle gives it, and for which service it is rendered.
fn field<'a>(template: &'a MessageTemplate, name: &str) -> Option<(&'a Field, String)> {
    let parts: Vec<&str> = name.split('.').collect();
    let (slack, email) = (template.slack.as_ref(), template.email.as_ref());
    let found = match parts[..] {
        ["message"] => (template.message.as_ref(), "slack"),
        ["email", "subject"] => (email.and_then(|e| e.subject.as_ref()), "email"),
        ["email", "body"] => (email.and_then(|e| e.body.as_ref()), "email"),
        ["slack", "username"] => (slack.and_then(|s| s.username.as_ref()), "slack"),
        ["slack", "icon"] => (slack.and_then(|s| s.icon.as_ref()), "slack"),
        ["slack", "attachments"] => (slack.and_then(|s| s.attachments.as_ref()), "slack"),
        ["slack", "blocks"] => (slack.and_then(|s| s.blocks.as_ref()), "slack"),
        ["slack", "groupingKey"] => (slack.and_then(|s| s.grouping_key.as_ref()), "slack"),
        ["webhook", service, "path"] => (template.webhook.get(service).and_then(|w| w.path.as_ref()), service),
        ["webhook", service, "body"] => (template.webhook.get(service).and_then(|w| w.body.as_ref()), service),
        _ => (None, ""),
    };
    Some((found.0?, found.1.to_owned()))
}

struct Corpus {
    name: String,
    config: BTreeMap<String, String>,
    apps: BTreeMap<String, Json>,
    compiled: Notifications,
    expected: Json,
    differences: Vec<String>,
    compared: usize,
}

impl Corpus {
    fn differs(&mut self, what: String) {
        let known = ON_PURPOSE.iter().any(|(file, part, _)| *file == self.name && what.contains(part));
        if !known {
            self.differences.push(format!("{}: {what}", self.name));
        }
    }

    /// What makes upstream refuse the whole ConfigMap is said to do so (CFG-16), and nothing else of these kinds.
    fn rejections(&mut self) {
        let wanted: BTreeSet<String> =
            self.expected["rejected"].as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect();
        let of_kind = |key: &str| key == "context" || key.starts_with("trigger.") || key.starts_with("template.");
        let rejects = self.compiled.problems.iter().filter(|problem| problem.upstream_rejects);
        let keys = rejects.map(|problem| problem.key.split(": ").next().unwrap_or_default().to_owned());
        let found: BTreeSet<String> = keys.filter(|key| of_kind(key)).collect();
        if wanted != found {
            self.differs(format!("upstream rejects {wanted:?}, said is {found:?}"));
        }
    }

    fn triggers(&mut self) {
        let expected = self.expected["triggers"].as_object().cloned().unwrap_or_default();
        for (id, answers) in &expected {
            let (name, index) = id.trim_end_matches(']').rsplit_once('[').unwrap();
            let trigger = self.compiled.rules.triggers.get(name);
            let condition = trigger.and_then(|t| t.conditions.iter().find(|c| c.index.to_string() == index)).cloned();
            let Some(condition) = condition else {
                self.differs(format!("{id} is not there"));
                continue;
            };
            for answer in answers.as_array().unwrap() {
                let app = answer["app"].as_str().unwrap();
                let outcome = knowing(&self.apps[app], &self.compiled.rules.context, |facts| {
                    condition.evaluate(&facts.for_conditions(), &facts.now)
                });
                let result = match (outcome.result, &outcome.error) {
                    (Some(true), _) => "true",
                    (Some(false), _) => "false",
                    (None, _) => "error",
                };
                self.compared += 1;
                let once = answer["once"].as_str().unwrap_or_default();
                let failed = outcome.result == Some(true) && outcome.error.is_some();
                let wanted_failed = answer["result"] == "true" && answer["error"].is_string();
                if (Some(result), once, wanted_failed) != (answer["result"].as_str(), &outcome.once_per, failed) {
                    let error = outcome.error.map(|fault| fault.text);
                    self.differs(format!("{id} of {app}: {answer}, here {result} {:?} {error:?}", outcome.once_per));
                }
            }
        }
    }

    fn texts(&mut self) {
        let expected = self.expected["texts"].as_object().cloned().unwrap_or_default();
        for (id, answers) in &expected {
            let (name, path) = id.split_once(": ").unwrap();
            let found = self.compiled.rules.templates.get(name).cloned().unwrap_or_default();
            let found = match field(&found, path) {
                Some((Field::Good(template), service)) => Some((template.clone(), service)),
                Some(_) => None,
                None => self.later(name, path),
            };
            let Some((template, service)) = found else {
                self.differs(format!("{id} is not there"));
                continue;
            };
            let mut known = BTreeMap::new();
            for answer in answers.as_array().unwrap() {
                let app = answer["app"].as_str().unwrap();
                let result = knowing(&self.apps[app], &self.compiled.rules.context, |facts| {
                    template.render(&Value::Map(facts.for_templates(&service, "somebody")), &facts.now)
                });
                let text = match (&answer["text"], &answer["same"]) {
                    (Json::String(text), _) => Some(text.clone()),
                    (_, Json::String(same)) => known.get(same).cloned(),
                    _ => None,
                };
                if let Some(text) = &text {
                    known.insert(app.to_owned(), text.clone());
                }
                self.compared += 1;
                let found = result.as_ref().ok();
                if text.as_ref() != found {
                    let why = result.as_ref().err().map(|error| &error.text);
                    self.differs(format!(
                        "{id} of {app}:\n  Go   {text:?} {}\n  here {found:?} {why:?}",
                        answer["error"]
                    ));
                }
            }
        }
    }

    /// A text of a block whose service is delivered to later.
    fn later(&self, name: &str, path: &str) -> Option<(Arc<Template>, String)> {
        let (service, field) = path.split_once('.')?;
        let (node, _) = crate::config::yaml::parse(&self.config[&format!("template.{name}")]).ok()?;
        let text = node.field(service)?.field(field)?.as_text()?.into_owned();
        Some((Arc::new(Template::parse(&text, Functions::Full).ok()?), service.to_owned()))
    }

    /// Whatever happens, everybody is told something: a message of every template for every service and Application.
    fn messages(&mut self) {
        let services = self.compiled.rules.services.clone();
        for (service, kind) in &services {
            for template in self.compiled.rules.templates.keys().cloned().collect::<Vec<_>>() {
                for (app, object) in &self.apps {
                    let topic = Topic { trigger: "t", app };
                    let names = [template.clone()];
                    let rendering = knowing(object, &self.compiled.rules.context, |facts| {
                        render(&self.compiled.rules.templates, &names, service, *kind, "r", facts, topic)
                    });
                    // A field that fails is never silent, and a program's message then waits (TPL-07, TPL-08).
                    let failed = !rendering.errors.is_empty();
                    assert!(
                        !failed || rendering.fallback || rendering.failed.is_some(),
                        "{} {template} {app}",
                        self.name
                    );
                    assert!(!rendering.undetermined, "{} {template} {app}", self.name);
                }
            }
        }
    }
}

fn corpora(folder: &str, mode: CatalogMode) -> Vec<Corpus> {
    let folder = root().join("tests/fixtures").join(folder);
    let files = |folder: &std::path::Path| {
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        files
    };
    let stem = |path: &std::path::Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let mut apps = BTreeMap::new();
    for file in files(&folder.join("apps")) {
        let text = std::fs::read_to_string(&file).unwrap();
        // As the daemon sees it.
        apps.insert(stem(&file), Application::decode(&text).unwrap().json());
    }
    let mut found = Vec::new();
    for file in files(&folder).iter().filter(|file| file.extension().is_some_and(|end| end == "yaml")) {
        let name = stem(file);
        let config =
            documents::config_map(&std::fs::read_to_string(file).unwrap(), "argocd-notifications-cm").unwrap().entries;
        let compiled = compile(&config, &BTreeMap::new(), &BTreeMap::new(), mode);
        let text = std::fs::read_to_string(folder.join(format!("expected/{name}.json"))).unwrap();
        let expected = serde_json::from_str(&text).unwrap();
        let apps = apps.clone();
        found.push(Corpus { name, config, apps, compiled, expected, differences: Vec::new(), compared: 0 });
    }
    found
}

fn compared(corpora: &mut [Corpus]) -> usize {
    let mut differences = Vec::new();
    for corpus in corpora.iter_mut() {
        corpus.rejections();
        corpus.triggers();
        corpus.texts();
        corpus.messages();
        differences.append(&mut corpus.differences);
    }
    assert!(differences.is_empty(), "{}\n{}", differences.len(), differences.join("\n"));
    corpora.iter().map(|corpus| corpus.compared).sum()
}

#[test]
fn cfg_16_section_25_corpus_of_config_maps_gives_what_go_gives() {
    let mut corpora = corpora("corpus", CatalogMode::None);
    assert!(corpora.len() >= 60, "{}", corpora.len());
    assert!(corpora.iter().all(|corpus| corpus.apps.len() == 6));
    // One bad key costs upstream all the others; here they work (CFG-01).
    let dead = corpora.iter().filter(|c| c.expected["rejected"].as_object().is_some_and(|keys| !keys.is_empty()));
    assert!(dead.count() >= 5);
    let compared = compared(&mut corpora);
    assert!(compared > 900, "{compared}");
    println!("{compared} answers are Go's");
}

/// 8 triggers and 32 states: true, false, failing and `oncePer` as upstream; every template's text byte by byte, so it
/// parses and renders there too (CAT-03). Image triggers never fire there (IMG-01).
#[test]
fn cat_03_section_19_catalog_fires_as_upstream_and_renders_there() {
    let mut corpora = corpora("catalog", CatalogMode::None);
    let [corpus] = &mut corpora[..] else { panic!("one ConfigMap") };
    assert!(corpus.apps.len() >= 30);
    assert_eq!(corpus.expected["rejected"].as_object().map_or(0, |keys| keys.len()), 0);
    let triggers = corpus.expected["triggers"].as_object().unwrap();
    assert_eq!(triggers.len(), 8 + 5);
    let results = |name: &str| -> BTreeSet<String> {
        let answers = triggers[name].as_array().unwrap().iter();
        answers.map(|answer| answer["result"].as_str().unwrap().to_owned()).collect()
    };
    for (name, _) in triggers {
        let fires = results(name).contains("true");
        assert_eq!(fires, !name.starts_with("on-image-"), "{name}: {:?}", results(name));
    }
    let compared = compared(&mut corpora);
    assert!(compared > 32 * (13 + 8 * 4), "{compared}");
    println!("{compared} answers are Go's");
}

/// The ConfigMap that the oracle reads is the catalog.
#[test]
fn cat_03_the_config_map_for_upstream_is_the_catalog() {
    let path = root().join("tests/fixtures/catalog/catalog.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let (head, _) = text.split_once("\ndata:\n").unwrap();
    let mut wanted = format!("{head}\ndata:\n");
    let image_triggers = IMAGE_CATALOG.iter().filter(|(key, _)| key.starts_with("trigger."));
    for (key, source) in CATALOG.iter().chain(image_triggers) {
        wanted.push_str(&format!("  {key}: |\n"));
        source.lines().for_each(|line| wanted.push_str(&format!("    {line}\n")));
    }
    if std::env::var_os("LYNCEUS_BLESS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    assert_eq!(text, wanted, "written anew: run tests/oracle/corpus");
}
