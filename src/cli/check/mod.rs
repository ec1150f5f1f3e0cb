//! `check`: what the daemon needs, looked at offline, and with `--connect` tried once, line by line. Nothing is sent,
//! nothing is pushed, and nothing is written but a test file in the state directory.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::notify::{Output, Source};
use super::trigger::print_structured;
use super::{Paint, fail, world};
use crate::adapters::cluster::{Access, Cluster};
use crate::adapters::services::Service;
use crate::core::problem::Severity;
use crate::daemon::leader::LEASE;
use crate::daemon::rules::Compiled;

mod images;

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Also try: log in at mail servers, ask Slack whose token it is, connect to webhooks' hosts, ask the API server
    /// what is allowed, log in at the registries and at the Git remotes that Applications name. Sends nothing.
    #[arg(long)]
    pub connect: bool,
    /// The daemon's state directory: is it there, can it be written?
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    #[command(flatten)]
    images: images::ImageArgs,
    #[command(flatten)]
    source: Source,
}

/// How one thing turned out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    Fails,
    NotTried,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Fails => "fails",
            Verdict::NotTried => "not tried",
        }
    }
}

struct Line {
    what: String,
    verdict: Verdict,
    text: String,
}

impl Line {
    fn of(what: impl Into<String>, result: Result<String, String>) -> Line {
        let (verdict, text) = match result {
            Ok(text) => (Verdict::Ok, text),
            Err(text) => (Verdict::Fails, text),
        };
        Line { what: what.into(), verdict, text }
    }

    fn not_tried(what: impl Into<String>) -> Line {
        Line { what: what.into(), verdict: Verdict::NotTried, text: "--connect tries it".to_owned() }
    }
}

/// Runs `check`.
pub fn run(args: &CheckArgs) -> u8 {
    // Images from files alone: nothing is asked of notifications.
    let images_only = args.images.reads_files() && args.source.config_map.is_none() && args.source.kubeconfig.is_none();
    let compiled = match images_only.then(Compiled::default).map_or_else(|| args.source.compiled(), Ok) {
        Ok(compiled) => compiled,
        Err(error) => return fail(error.status, error.text),
    };
    let mut lines = Vec::new();
    if !images_only {
        lines.push(configuration(&compiled));
    }
    if let Some(folder) = &args.state_dir {
        lines.push(Line::of("state directory", writable(folder)));
    }
    let names = compiled.notifications.services.keys().map(|name| format!("service {name}"));
    if args.connect {
        let runtime = match super::runtime() {
            Ok(runtime) => runtime,
            Err(error) => return fail(1, error),
        };
        lines.extend(match images_only {
            true => runtime.block_on(images::tried(&args.images, &args.source, false)),
            false => runtime.block_on(tried(args, &compiled)),
        });
    } else {
        lines.extend(names.map(Line::not_tried));
        lines.push(Line::not_tried("Kubernetes API"));
        lines.push(Line::not_tried("registries and Git remotes"));
    }
    print(&lines, args.source.output);
    u8::from(lines.iter().any(|line| line.verdict == Verdict::Fails))
}

/// The ConfigMap and the Secret, as `lint` sees them.
fn configuration(compiled: &Compiled) -> Line {
    let notifications = &compiled.notifications;
    let errors: Vec<String> = notifications
        .problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .map(|problem| problem.to_string())
        .collect();
    let rules = &notifications.rules;
    let (triggers, templates, services) = (rules.triggers.len(), rules.templates.len(), notifications.services.len());
    let counts = format!("{triggers} triggers, {templates} templates, {services} services");
    let others = notifications.problems.len() - errors.len();
    let remarks = if others == 0 { String::new() } else { format!("; lint has {others} more to say") };
    match errors.is_empty() {
        true => Line::of("configuration", Ok(format!("{counts}{remarks}"))),
        false => Line::of("configuration", Err(format!("{counts}: {}", errors.join("; ")))),
    }
}

fn writable(folder: &std::path::Path) -> Result<String, String> {
    let path = folder.join(format!(".check-{}", std::process::id()));
    let why = |error: std::io::Error| format!("{}: {error}", folder.display());
    std::fs::write(&path, b"").map_err(why)?;
    std::fs::remove_file(&path).map_err(why)?;
    Ok(format!("{} can be written", folder.display()))
}

async fn tried(args: &CheckArgs, compiled: &Compiled) -> Vec<Line> {
    let http = world::http();
    let mut lines = Vec::new();
    for (name, config) in &compiled.notifications.services {
        let service = Service::new(config.clone(), http.clone());
        let limit = config.delivery.timeout;
        let result = match tokio::time::timeout(limit, service.probe()).await {
            Ok(result) => result.map_err(|error| error.text),
            Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
        };
        lines.push(Line::of(format!("service {name}"), result));
    }
    match args.source.cluster().await {
        Ok(cluster) => {
            lines.extend(allowed(&cluster, &args.source).await);
            lines.extend(images::tried(&args.images, &args.source, true).await);
            return lines;
        }
        // Configuration from files: the daemon may be meant to run without a cluster.
        Err(error) if args.source.config_map.is_some() && args.source.kubeconfig.is_none() => {
            lines.push(Line { what: "Kubernetes API".to_owned(), verdict: Verdict::NotTried, text: error.text })
        }
        Err(error) => lines.push(Line::of("Kubernetes API", Err(error.text))),
    }
    lines.extend(images::tried(&args.images, &args.source, false).await);
    lines
}

/// Every verb that is used (SEC-08, RBAC-2), each asked for.
async fn allowed(cluster: &Cluster, source: &Source) -> Vec<Line> {
    let mut wanted = Vec::new();
    let mut want = |group: &'static str, resource: &'static str, verbs: &[&'static str], name: Option<&str>| {
        wanted.extend(verbs.iter().map(|verb| Access {
            verb,
            group,
            resource,
            namespace: Some(source.namespace.clone()),
            name: name.map(str::to_owned),
        }));
    };
    want("argoproj.io", "applications", &["get", "list", "watch", "patch"], None);
    want("argoproj.io", "appprojects", &["get", "list", "watch"], None);
    want("", "configmaps", &["get", "list", "watch"], Some(&source.config_map_name));
    want("", "secrets", &["get", "list", "watch"], Some(&source.secret_name));
    want("coordination.k8s.io", "leases", &["get", "update"], Some(LEASE));
    want("coordination.k8s.io", "leases", &["create"], None);
    want("", "events", &["create"], None);
    let what = |access: &Access| format!("may {access}");
    let mut lines = Vec::new();
    for access in &wanted {
        let line = match cluster.can(access).await {
            Ok(true) => Line::of(what(access), Ok(String::new())),
            Ok(false) => Line::of(what(access), Err("not permitted; the shipped Role grants it".to_owned())),
            Err(error) => {
                lines.push(Line::of("Kubernetes API", Err(error.to_string())));
                break;
            }
        };
        lines.push(line);
    }
    lines
}

fn print(lines: &[Line], output: Output) {
    if matches!(output, Output::Json | Output::Yaml) {
        let row = |line: &Line| json!({"what": line.what, "result": line.verdict.word(), "text": line.text});
        print_structured(output, &json!(lines.iter().map(row).collect::<Vec<_>>()));
        return;
    }
    let paint = Paint::stdout();
    for line in lines {
        let word = format!("{:<9}", line.verdict.word());
        let word = match line.verdict {
            Verdict::Ok => paint.green(&word),
            Verdict::Fails => paint.red(&word),
            Verdict::NotTried => paint.dim(&word),
        };
        let text = if line.text.is_empty() { String::new() } else { format!(": {}", line.text) };
        println!("{word}  {}{text}", line.what);
    }
}
