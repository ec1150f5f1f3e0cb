//! `lint`: load every document, print every problem, both halves (image-updates.md §23, notifications.md §20).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value as Json;

use super::{Output, Paint, commit_template, fail};
use crate::adapters::redact;
use crate::config::notifications::differences;
use crate::config::secret::{Secret, fill};
use crate::config::{annotations, documents, image_updaters, registries};
use crate::core::application::Application;
use crate::core::notify::subscription;
use crate::core::problem::{Problem, Severity};
use crate::daemon::rules::{self, Documents};
use crate::daemon::status::problem_json;

/// Arguments of `lint`.
#[derive(Debug, Args)]
pub struct LintArgs {
    /// Files and folders: ConfigMaps, Secrets, Applications, AppProjects, registries.conf, commit.template. Default: this folder.
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
    /// Files with image annotations on other objects.
    misplaced: Vec<(String, Problem)>,
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
                // What Helm renders is not YAML before.
                let templates =
                    entry.file_name().is_some_and(|n| n == "templates") && path.join("Chart.yaml").is_file();
                if !hidden && !templates {
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
        } else if name == "commit.template" || (named && name.ends_with(".template")) {
            let text = std::fs::read_to_string(path)?;
            self.read += 1;
            let found = commit_template::problems(&text);
            self.problems.extend(found.into_iter().map(|p| p.in_object(path.display().to_string())));
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
                    if let Some(text) = data.get("git.commit-message-template").and_then(Json::as_str) {
                        let found = commit_template::problems(text);
                        let key = "git.commit-message-template";
                        self.problems.extend(found.into_iter().map(|p| p.in_object(file).at_key(key)));
                    }
                    self.config_maps.push((file.to_owned(), document));
                }
                "Secret" => self.secrets.push(document),
                "AppProject" => self.projects.push((file.to_owned(), document)),
                "Application" => match Application::decode(&document.to_string()) {
                    Ok(app) => self.applications.push((file.to_owned(), app)),
                    Err(problem) => self.problems.push(problem.in_object(file)),
                },
                "ImageUpdater" => self.image_updater(file, &document),
                _ => self.misplaced.extend(annotations::misplaced(&document).map(|problem| (file.to_owned(), problem))),
            }
        }
    }

    fn image_updater(&mut self, file: &str, document: &Json) {
        let text = |key: &str| document["metadata"][key].as_str().unwrap_or_default();
        let (_, problems) = image_updaters::owner(text("namespace"), text("name"), document);
        let object = format!("{file} ({})", text("name"));
        self.problems.extend(problems.into_iter().map(|problem| problem.in_object(object.as_str())));
    }

    /// Image annotations on anything but an Application do nothing (SRC-11). The Application that should have them is the
    /// one whose source path is the longest part of the file's.
    fn wrong_objects(&mut self) -> Vec<Problem> {
        let holder = |file: &str| {
            let folders: Vec<&str> = file.split('/').rev().skip(1).collect();
            let paths = self.applications.iter().flat_map(|(_, app)| {
                let paths = app.sources.iter().filter_map(|source| source.path.as_deref());
                paths.map(move |path| (app, path.trim_matches('/').split('/').rev().collect::<Vec<_>>()))
            });
            let within = |path: &[&str]| folders.windows(path.len().max(1)).any(|window| window == path);
            let holds = paths.filter(|(_, path)| within(path));
            holds
                .max_by_key(|(_, path)| path.len())
                .map(|(app, _)| app.key.to_string().trim_start_matches('/').to_owned())
        };
        let told = self.misplaced.iter().map(|(file, problem)| {
            let problem = problem.clone().in_object(file.as_str());
            match holder(file) {
                Some(app) if problem.hint.contains("whose source") => {
                    problem.hint(format!("put them on Application {app}"))
                }
                _ => problem,
            }
        });
        told.collect()
    }

    fn check(&mut self) -> Vec<Problem> {
        let mut problems = std::mem::take(&mut self.problems);
        problems.extend(self.wrong_objects());
        let secret = self.notifications_secret();
        let mut compiled = None;
        for (file, document) in &self.config_maps {
            let name = document["metadata"]["name"].as_str().unwrap_or_default();
            let entries = documents::texts(&document["data"]);
            let looks =
                entries.keys().any(|key| ["service.", "template.", "trigger."].iter().any(|p| key.starts_with(p)));
            if name != "argocd-notifications-cm" && !looks {
                continue;
            }
            let used = secret.clone().unwrap_or_else(|| stand_ins(&entries));
            let unknown = secret.is_none().then(|| used.keys().cloned().collect::<Vec<_>>());
            let documents = Documents { config: Some(entries), secret: Some(used), ..Documents::default() };
            let result = rules::compile(&documents, &BTreeMap::new(), Default::default());
            let found = result.notifications.problems.iter().cloned();
            let found = found.chain(unknown.and_then(|keys| without_secret(&keys)));
            problems.extend(found.map(|p| p.in_object(file.as_str())));
            let differs = differences::of_configuration(&result.notifications);
            problems.extend(differs.into_iter().map(|p| p.in_object(file.as_str())));
            compiled = Some(result);
        }
        for (file, app) in &self.applications {
            let object = format!("{file} ({})", app.key);
            let (_, found) = annotations::settings(app);
            problems.extend(found.into_iter().map(|p| p.in_object(object.as_str())));
            problems.extend(
                subscriptions(&app.annotations, compiled.as_ref()).into_iter().map(|p| p.in_object(object.as_str())),
            );
        }
        let mut projects = BTreeMap::new();
        for (file, project) in &self.projects {
            let name = project["metadata"]["name"].as_str().unwrap_or_default();
            let namespace = project["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
            let texts = documents::texts(&project["metadata"]["annotations"]);
            let found = subscriptions(&texts, compiled.as_ref());
            problems.extend(found.into_iter().map(|p| p.in_object(format!("{file} ({name})"))));
            projects.insert(name.to_owned(), (namespace, texts));
        }
        if let Some(compiled) = &compiled {
            let apps: Vec<&Application> = self.applications.iter().map(|(_, app)| app).collect();
            problems.extend(differences::of_applications(&compiled.notifications, &apps, &projects));
        }
        problems.sort_by(|a, b| {
            let place = |p: &Problem| (p.code == differences::CODE, p.object.clone(), p.key.clone(), p.line, p.column);
            (place(a), &a.text).cmp(&(place(b), &b.text))
        });
        problems.dedup();
        problems
    }

    /// The notifications' Secret, if one was given.
    fn notifications_secret(&self) -> Option<BTreeMap<String, Secret>> {
        let named = |d: &&Json| d["metadata"]["name"].as_str() == Some("argocd-notifications-secret");
        let secret = self.secrets.iter().find(named)?;
        let entries = documents::secret_entries(secret).into_iter();
        let entries: BTreeMap<_, _> = entries.map(|(k, v)| (k, Secret::new(v))).collect();
        entries.values().for_each(redact::know);
        Some(entries)
    }
}

/// Secrets seldom lie where ConfigMaps do. Without one, what services name gets a value that fits, so that everything
/// else can be looked at.
fn stand_ins(entries: &BTreeMap<String, String>) -> BTreeMap<String, Secret> {
    let mut values = BTreeMap::new();
    for (_, text) in entries.iter().filter(|(key, _)| key.starts_with("service.")) {
        for (key, _) in fill(text, &BTreeMap::new()).1 {
            let number = text.contains(&format!("port: ${key}"));
            let value = if number { "465" } else { "https://secret.invalid" };
            values.insert(key, Secret::from(value.to_owned()));
        }
    }
    values
}

fn without_secret(keys: &[String]) -> Option<Problem> {
    let text = format!("no Secret argocd-notifications-secret was given; not looked at: {}", keys.join(", "));
    (!keys.is_empty()).then(|| Problem::info("SecretMissing", text).hint("give its file as well"))
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

/// What is wrong with subscriptions of an Application or a project, among it names that nothing defines (CFG-14). Where
/// no ConfigMap was given such a name is only worth a remark.
fn subscriptions(annotations: &BTreeMap<String, String>, compiled: Option<&rules::Compiled>) -> Vec<Problem> {
    let builtin;
    let (notifications, given) = match compiled {
        Some(compiled) => (&compiled.notifications, true),
        None => {
            builtin = rules::compile(&Documents::default(), &BTreeMap::new(), Default::default());
            (&builtin.notifications, false)
        }
    };
    let rules = &notifications.rules;
    let mut problems = Vec::new();
    // One by one, so that each problem can name its annotation.
    for (key, value) in annotations {
        let one = BTreeMap::from([(key.clone(), value.clone())]);
        let (wanted, found) = subscription::merge(&[], &rules.defaults, &BTreeMap::new(), &one, None);
        // What an unnamed trigger means, the ConfigMap says.
        problems.extend(found.into_iter().filter(|problem| given || problem.code != "SubscriptionWithoutTrigger"));
        let mut names = Vec::new();
        for (trigger, destinations) in &wanted.by_trigger {
            if !rules.triggers.contains_key(trigger) {
                let problem = notifications.undefined_trigger(trigger);
                names.push(if given { problem } else { without_config_map(problem) });
            }
            let undefined = destinations.iter().filter(|to| given && !notifications.services.contains_key(&to.service));
            names.extend(undefined.map(|to| notifications.undefined_service(&to.service, &to.recipient)));
        }
        problems.extend(names.into_iter().map(|problem| problem.at_key(key.as_str())));
    }
    problems
}

fn without_config_map(problem: Problem) -> Problem {
    let text = format!("{} among the built-in ones, and no ConfigMap was given", problem.text);
    Problem { severity: Severity::Info, text, ..problem }
}

fn print(problems: &[Problem], read: usize, output: Output) {
    if output == Output::Json {
        let list: Vec<_> = problems.iter().map(problem_json).collect();
        println!("{}", serde_json::to_string_pretty(&list).unwrap_or_default());
        return;
    }
    let paint = Paint::stdout();
    let (differs, faults): (Vec<&Problem>, Vec<&Problem>) =
        problems.iter().partition(|problem| problem.code == differences::CODE);
    for problem in &faults {
        let word = match problem.severity {
            Severity::Error => paint.red("error"),
            Severity::Warning => paint.yellow("warning"),
            Severity::Info => paint.dim("info"),
        };
        let upstream =
            if problem.upstream_rejects { paint.dim(" [Argo CD Notifications rejects this]") } else { String::new() };
        println!("{word} {} {}{upstream}", paint.dim(problem.code), redact::clean(&problem.to_string()));
    }
    if !differs.is_empty() {
        println!("Coming from Argo CD Notifications, this is different here:");
    }
    for problem in &differs {
        println!("  {problem}");
    }
    let count = |severity, one: &str| {
        let count = faults.iter().filter(|p| p.severity == severity).count();
        counted(count, one)
    };
    println!(
        "{} read, {}, {}, {}",
        counted(read, "file"),
        count(Severity::Error, "error"),
        count(Severity::Warning, "warning"),
        count(Severity::Info, "remark")
    );
}

/// `1 error`, `2 errors`.
fn counted(count: usize, one: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {one}{plural}")
}
