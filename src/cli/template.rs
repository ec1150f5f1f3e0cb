//! `notify template get|render`: templates, and what they render to.

use clap::{Args, Subcommand};
use serde_json::json;

use super::notify::{self, Output, Source};
use super::trigger::print_structured;
use super::{Paint, fail, files, send};
use crate::adapters::redact;
use crate::core::notify::catalog::{self, Field, MessageTemplate, Rendering, ServiceKind, Topic};
use crate::core::notify::message::Part;
use crate::daemon::rules::Compiled;

/// Subcommands of `notify template`.
#[derive(Debug, Subcommand)]
pub enum TemplateCommand {
    /// List templates with the first line of their message.
    Get(GetArgs),
    /// Render templates for an Application and print the message and the final payload.
    ///
    /// Exit status: 0 rendered, 1 an error in a template, 2 a file is not readable, 3 --golden differs, 4 no such
    /// template.
    Render(RenderArgs),
    /// Render templates for an Application and send the message at once, outside the outbox.
    ///
    /// Exit status: 0 sent, 1 not rendered or not sent, 2 a file is not readable, 4 no such template or service.
    #[command(alias = "notify")]
    Send(send::SendArgs),
}

/// Arguments of `template get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// Only this template.
    pub name: Option<String>,
    #[command(flatten)]
    source: Source,
}

/// Arguments of `template render`.
#[derive(Debug, Args)]
pub struct RenderArgs {
    /// The templates, in order, then the Application (a file, or its name in the cluster).
    #[arg(required = true, num_args = 2.., value_names = ["TEMPLATE", "APPLICATION"])]
    pub names: Vec<String>,
    /// Render for this destination: service:recipient.
    #[arg(long, default_value = "console:stdout")]
    pub recipient: String,
    /// Compare with this file; exit with 3 if it differs.
    #[arg(long, value_name = "FILE")]
    pub golden: Option<String>,
    /// Write the result to the --golden file instead.
    #[arg(long, requires = "golden")]
    pub update: bool,
    /// Render for this image event: a file with the fields of `image`, JSON or YAML.
    #[arg(long, value_name = "FILE")]
    pub image_event: Option<String>,
    #[command(flatten)]
    source: Source,
}

/// Runs a `notify template` command.
pub fn run(command: TemplateCommand) -> u8 {
    match command {
        TemplateCommand::Get(args) => get(&args),
        TemplateCommand::Render(args) => render(&args),
        TemplateCommand::Send(args) => send::run(&args),
    }
}

fn get(args: &GetArgs) -> u8 {
    let compiled = match args.source.compiled() {
        Ok(compiled) => compiled,
        Err(error) => return fail(error.status, error.text),
    };
    let templates = &compiled.notifications.rules.templates;
    if let Some(name) = args.name.as_ref().filter(|name| !templates.contains_key(*name)) {
        return unknown(name, &compiled);
    }
    let wanted = templates.iter().filter(|(name, _)| args.name.as_ref().is_none_or(|only| only == *name));
    match args.source.output {
        Output::Name => wanted.for_each(|(name, _)| println!("{name}")),
        Output::Wide => wanted.for_each(|(name, template)| println!("{name:<36} {}", preview(template))),
        structured => {
            let list: Vec<_> = wanted.map(|(name, t)| json!({"name": name, "preview": preview(t)})).collect();
            print_structured(structured, &json!(list));
        }
    }
    0
}

/// First line of the message, at most 100 characters.
fn preview(template: &MessageTemplate) -> String {
    match &template.message {
        Some(Field::Good(message)) => message.source().lines().next().unwrap_or_default().chars().take(100).collect(),
        Some(Field::Broken { text, .. }) => format!("(broken: {text})"),
        None => String::new(),
    }
}

/// Exit status 4 with what is known instead.
pub fn unknown(name: &str, compiled: &Compiled) -> u8 {
    let known: Vec<&str> = compiled.notifications.rules.templates.keys().map(String::as_str).collect();
    let near = crate::core::problem::nearest(name, known.iter().copied());
    let hint = near.map_or_else(|| format!("known are: {}", known.join(", ")), |n| format!("did you mean {n}?"));
    fail(4, format!("there is no template {name} ({hint})"))
}

fn render(args: &RenderArgs) -> u8 {
    let Some((application, names)) = args.names.split_last() else { return super::USAGE };
    let read = || {
        let image = notify::image_event(&args.image_event)?;
        Ok::<_, files::Unreadable>((args.source.compiled()?, args.source.application(application)?, image))
    };
    let (compiled, app, image) = match read() {
        Ok(read) => read,
        Err(error) => return fail(error.status, error.text),
    };
    let rules = &compiled.notifications.rules;
    if let Some(name) = names.iter().find(|name| !rules.templates.contains_key(*name)) {
        return unknown(name, &compiled);
    }
    let (service, recipient) = args.recipient.split_once(':').unwrap_or((&args.recipient, ""));
    let kind = match rules.services.get(service) {
        Some(kind) => *kind,
        None => match service {
            "slack" => ServiceKind::Slack,
            "email" => ServiceKind::Email,
            _ if names.iter().any(|n| rules.templates[n].webhook.contains_key(service)) => {
                ServiceKind::Webhook { json: false }
            }
            _ => ServiceKind::Other { human: true },
        },
    };
    let mut facts = notify::facts(&app, &compiled);
    facts.image = image;
    let name = app.key.to_string();
    let topic = Topic { trigger: "manual", app: &name };
    let rendering = catalog::render(&rules.templates, names, service, kind, recipient, &facts, topic);
    let result = structured(&rendering);
    let text = match args.source.output {
        Output::Json => serde_json::to_string_pretty(&result).unwrap_or_default(),
        Output::Yaml => serde_saphyr::to_string(&result).unwrap_or_default(),
        _ => plain(&rendering),
    };
    let status = u8::from(!rendering.errors.is_empty() || rendering.failed.is_some());
    match &args.golden {
        Some(path) if args.update => match std::fs::write(path, format!("{}\n", text.trim_end())) {
            Ok(()) => status,
            Err(error) => fail(1, format!("{path}: {error}")),
        },
        Some(path) => match files::text(path) {
            Ok(golden) if golden.trim_end() == text.trim_end() => status,
            Ok(golden) => {
                let diff =
                    similar::TextDiff::from_lines(&golden, &text).unified_diff().header("golden", "now").to_string();
                print!("{}", Paint::stdout().diff(&diff));
                3
            }
            Err(error) => fail(error.status, error.text),
        },
        None => {
            println!("{}", text.trim_end_matches('\n'));
            if !matches!(args.source.output, Output::Json | Output::Yaml) {
                for error in &rendering.errors {
                    let (line, column) = (error.line, error.column);
                    let (field, phase, text) = (&error.field, &error.phase, mask(&error.text));
                    eprintln!("lynceus: {field} ({phase}, line {line}, column {column}): {text}");
                }
            }
            status
        }
    }
}

fn structured(rendering: &Rendering) -> serde_json::Value {
    let fields: serde_json::Map<String, serde_json::Value> =
        rendering.fields.iter().map(|(name, text)| (name.clone(), json!(mask(text)))).collect();
    let errors: Vec<_> = rendering
        .errors
        .iter()
        .map(|e| {
            json!({
                "field": e.field, "phase": e.phase, "text": mask(&e.text),
                "line": (e.line > 0).then_some(e.line), "column": (e.column > 0).then_some(e.column),
            })
        })
        .collect();
    json!({
        "message": mask(&rendering.message.text),
        "payload": payload(rendering),
        "fields": fields,
        "errors": errors,
        "fallback": rendering.fallback,
    })
}

/// What the service would be given, secrets masked.
fn payload(rendering: &Rendering) -> serde_json::Value {
    match &rendering.message.part {
        Part::None => json!({"text": mask(&rendering.message.text)}),
        Part::Webhook(part) => json!({"method": part.method, "path": mask(&part.path), "body": mask(&part.body)}),
        Part::Slack(part) => json!({
            "text": mask(&rendering.message.text), "attachments": mask(&part.attachments), "blocks": mask(&part.blocks),
            "username": mask(&part.username), "icon": mask(&part.icon), "groupingKey": mask(&part.grouping_key),
            "notifyBroadcast": part.notify_broadcast, "deliveryPolicy": part.delivery_policy.word(),
        }),
        Part::Email(part) => {
            let body = if part.body.is_empty() { &rendering.message.text } else { &part.body };
            json!({"subject": mask(&part.subject), "body": mask(body)})
        }
    }
}

fn plain(rendering: &Rendering) -> String {
    let mut out = mask(&rendering.message.text);
    if rendering.message.part != Part::None {
        if !out.ends_with('\n') {
            out.push('\n');
        }
        let payload = payload(rendering);
        for (name, value) in payload.as_object().into_iter().flatten().filter(|(name, _)| *name != "text") {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            if !value.is_empty() {
                out.push_str(&format!("--- {name}\n{}\n", value.trim_end()));
            }
        }
    }
    out
}

/// Values of the Secret never reach a terminal (SEC-01).
pub fn mask(text: &str) -> String {
    redact::clean(text).into_owned()
}
