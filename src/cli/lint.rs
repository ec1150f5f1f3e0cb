//! `lint`: load every document, print every problem, both halves (image-updates.md §23, notifications.md §20).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value as Json;

use super::{Output, Paint, fail};
use crate::config::{annotations, documents, registries};
use crate::core::application::Application;
use crate::core::notify::subscription;
use crate::core::problem::{Problem, Severity};
use crate::daemon::rules::{self, Documents};
use crate::daemon::status::problem_json;

/// Arguments of `lint`.
#[derive(Debug, Args)]
pub struct LintArgs {
    /// Files and folders: ConfigMaps, Secrets, Applications, AppProjects, registries.conf. Default: this folder.
    pub files: Vec<PathBuf>,
    /// Warnings count as well.
    #[arg(long)]
    pub strict: bool,
    /// How results are printed.
    #[arg(long, short = 'o', value_enum, default_value_t)]
    pub output: Output,
}

/// Everything that was read.
#[derive(Default)]
struct Found {
    config_maps: Vec<(String, Json)>,
    secrets: Vec<Json>,
    applications: Vec<(String, Application)>,
    projects: Vec<(String, Json)>,
    problems: Vec<Problem>,
    read: usize,
}

/// Runs `lint`.
pub fn run(args: LintArgs) -> u8 {
    let mut found = Found::default();
    let start = if args.files.is_empty() { vec![PathBuf::from(".")] } else { args.files.clone() };
    for path in &start {
        if let Err(error) = found.collect(path, true) {
            return fail(2, format!("{}: {error}", path.display()));
        }
    }
    let problems = found.check();
    print(&problems, found.read, args.output);
    let least = if args.strict { Severity::Warning } else { Severity::Error };
    if problems.iter().any(|p| p.severity >= least) { 3 } else { 0 }
}

impl Found {
    fn collect(&mut self, path: &Path, named: bool) -> std::io::Result<()> {
        if path.is_dir() {
            let mut entries: Vec<PathBuf> =
                std::fs::read_dir(path)?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
            entries.sort();
            for entry in entries {
                let hidden = entry.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
                if !hidden {
                    self.collect(&entry, false)?;
                }
            }
            return Ok(());
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let yaml = [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end));
        if name == "registries.conf" || (named && name.ends_with(".conf")) {
            let text = std::fs::read_to_string(path)?;
            self.read += 1;
            self.problems.extend(registry_problems(&text).into_iter().map(|p| p.in_object(path.display().to_string())));
        } else if yaml || named {
            let text = std::fs::read_to_string(path)?;
            self.read += 1;
            self.documents(&path.display().to_string(), &text);
        }
        Ok(())
    }

    fn documents(&mut self, file: &str, text: &str) {
        let (documents, problems) = documents::each(text);
        self.problems.extend(problems.into_iter().map(|problem| problem.in_object(file)));
        for document in documents {
            let kind = document["kind"].as_str().unwrap_or_default();
            match kind {
                "ConfigMap" => {
                    let data = &document["data"];
                    if let Some(text) = data.get("registries.conf").and_then(Json::as_str) {
                        self.problems.extend(registry_problems(text).into_iter().map(|p| p.in_object(file)));
                    }
                    self.config_maps.push((file.to_owned(), document));
                }
                "Secret" => self.secrets.push(document),
                "AppProject" => self.projects.push((file.to_owned(), document)),
                "Application" => match Application::decode(&document.to_string()) {
                    Ok(app) => self.applications.push((file.to_owned(), app)),
                    Err(problem) => self.problems.push(problem.in_object(file)),
                },
                _ => self.wrong_object(file, &document, kind),
            }
        }
    }

    /// Image annotations on anything but an Application do nothing (SRC-11).
    fn wrong_object(&mut self, file: &str, document: &Json, kind: &str) {
        if kind == "ApplicationSet" || kind.is_empty() {
            return;
        }
        let annotations =
            [&document["metadata"]["annotations"], &document["spec"]["template"]["metadata"]["annotations"]];
        let keys = annotations.iter().filter_map(|a| a.as_object()).flat_map(|a| a.keys());
        for key in keys.filter(|key| key.starts_with("argocd-image-updater.argoproj.io/")) {
            self.problems.push(
                Problem::warning(
                    "annotation-on-wrong-object",
                    format!("{kind}s are not looked at; this has no effect"),
                )
                .in_object(file)
                .at_key(key.as_str())
                .hint("put it on the Application whose source holds this file"),
            );
        }
    }

    fn check(&mut self) -> Vec<Problem> {
        let mut problems = std::mem::take(&mut self.problems);
        let secrets = self.notifications_secret();
        let mut compiled = None;
        for (file, document) in &self.config_maps {
            let name = document["metadata"]["name"].as_str().unwrap_or_default();
            let entries: BTreeMap<String, String> = document["data"]
                .as_object()
                .into_iter()
                .flatten()
                .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
                .collect();
            let looks =
                entries.keys().any(|key| ["service.", "template.", "trigger."].iter().any(|p| key.starts_with(p)));
            if name != "argocd-notifications-cm" && !looks {
                continue;
            }
            let documents = Documents { config: Some(entries), secret: Some(secrets.clone()), ..Documents::default() };
            let result = rules::compile(&documents, &BTreeMap::new(), Default::default());
            problems.extend(result.notifications.problems.iter().cloned().map(|p| p.in_object(file.as_str())));
            compiled = Some(result);
        }
        for (file, app) in &self.applications {
            let object = format!("{file} ({})", app.key);
            let (_, found) = annotations::settings(app);
            problems.extend(found.into_iter().map(|p| p.in_object(object.as_str())));
            problems.extend(subscriptions(app, compiled.as_ref()).into_iter().map(|p| p.in_object(object.as_str())));
        }
        for (file, project) in &self.projects {
            let name = project["metadata"]["name"].as_str().unwrap_or_default();
            let notes = project["metadata"]["annotations"].as_object().into_iter().flatten();
            let texts = notes.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect();
            let (_, found) = subscription::merge(&[], &Default::default(), &BTreeMap::new(), &texts, None);
            problems.extend(found.into_iter().map(|p| p.in_object(format!("{file} ({name})"))));
        }
        problems.sort_by(|a, b| {
            (&a.object, &a.key, a.line, a.column, &a.text).cmp(&(&b.object, &b.key, b.line, b.column, &b.text))
        });
        problems.dedup();
        problems
    }

    fn notifications_secret(&self) -> BTreeMap<String, crate::config::secret::Secret> {
        let named = |d: &&Json| d["metadata"]["name"].as_str() == Some("argocd-notifications-secret");
        let Some(secret) = self.secrets.iter().find(named) else { return BTreeMap::new() };
        documents::secret_entries(secret).into_iter().map(|(k, v)| (k, crate::config::secret::Secret::new(v))).collect()
    }
}

fn registry_problems(text: &str) -> Vec<Problem> {
    match registries::Registries::parse(text) {
        Ok(conf) => {
            let faults = conf.entries().iter().filter_map(|entry| entry.fault.clone());
            let mut problems: Vec<Problem> = conf.problems.iter().cloned().chain(faults).collect();
            problems.dedup();
            problems
        }
        Err(problems) => problems,
    }
}

/// Subscriptions of an Application that name something undefined (CFG-14); only where a ConfigMap was given.
fn subscriptions(app: &Application, compiled: Option<&rules::Compiled>) -> Vec<Problem> {
    let Some(compiled) = compiled else {
        return subscription::merge(&[], &Default::default(), &app.labels, &app.annotations, None).1;
    };
    let notifications = &compiled.notifications;
    let (wanted, mut problems) = crate::core::notify::subscriptions(app, None, &notifications.rules);
    for (trigger, destinations) in &wanted.by_trigger {
        if !notifications.rules.triggers.contains_key(trigger) {
            problems.push(notifications.undefined_trigger(trigger));
        }
        for destination in destinations {
            if !notifications.services.contains_key(&destination.service) {
                problems.push(notifications.undefined_service(&destination.service, &destination.recipient));
            }
        }
    }
    problems
}

fn print(problems: &[Problem], read: usize, output: Output) {
    if output == Output::Json {
        let list: Vec<_> = problems.iter().map(problem_json).collect();
        println!("{}", serde_json::to_string_pretty(&list).unwrap_or_default());
        return;
    }
    let paint = Paint::stdout();
    for problem in problems {
        let word = match problem.severity {
            Severity::Error => paint.red("error"),
            Severity::Warning => paint.yellow("warning"),
            Severity::Info => paint.dim("info"),
        };
        let upstream =
            if problem.upstream_rejects { paint.dim(" [Argo CD Notifications rejects this]") } else { String::new() };
        println!("{word} {} {problem}{upstream}", paint.dim(problem.code));
    }
    let count = |severity| problems.iter().filter(|p| p.severity == severity).count();
    println!(
        "{read} files read, {} errors, {} warnings, {} remarks",
        count(Severity::Error),
        count(Severity::Warning),
        count(Severity::Info)
    );
}
