//! `notify trigger get|run`: one Application's conditions, what they evaluate to, what would be sent.

use clap::{Args, Subcommand};
use serde_json::json;

use super::notify::{self, Output, Source};
use super::{Paint, fail, files};
use crate::adapters::redact;
use crate::core::application::Application;
use crate::core::notify::trigger::{Condition, Fault, Outcome};
use crate::core::notify::{identity, multi_source_value, skip, subscriptions};
use crate::daemon::rules::Compiled;

/// Subcommands of `notify trigger`.
#[derive(Debug, Subcommand)]
pub enum TriggerCommand {
    /// List triggers with their conditions.
    Get(GetArgs),
    /// Evaluate a trigger's conditions for an Application, whatever its state.
    ///
    /// Exit status: 0 evaluated without error, 1 an error, 2 a file is not readable, 3 --expect differs, 4 no such
    /// trigger.
    Run(RunArgs),
}

/// Arguments of `trigger get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// Only this trigger.
    pub name: Option<String>,
    #[command(flatten)]
    source: Source,
}

/// Arguments of `trigger run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The trigger.
    pub trigger: String,
    /// The Application: a file, or its name in the cluster.
    pub application: String,
    /// Exit with 3 unless the trigger fires (true) or does not (false).
    #[arg(long, value_name = "BOOL")]
    pub expect: Option<bool>,
    /// Evaluate on this image event: a file with the fields of `image`, JSON or YAML.
    #[arg(long, value_name = "FILE")]
    pub image_event: Option<String>,
    #[command(flatten)]
    source: Source,
}

/// Runs a `notify trigger` command.
pub fn run(command: TriggerCommand) -> u8 {
    match command {
        TriggerCommand::Get(args) => get(&args),
        TriggerCommand::Run(args) => evaluate(&args),
    }
}

fn get(args: &GetArgs) -> u8 {
    let compiled = match args.source.compiled() {
        Ok(compiled) => compiled,
        Err(error) => return fail(error.status, error.text),
    };
    let triggers = &compiled.notifications.rules.triggers;
    if let Some(name) = &args.name
        && !triggers.contains_key(name)
    {
        return unknown(name, &compiled);
    }
    let wanted = triggers.iter().filter(|(name, _)| args.name.as_ref().is_none_or(|only| only == *name));
    match args.source.output {
        Output::Name => wanted.for_each(|(name, _)| println!("{name}")),
        Output::Json | Output::Yaml => {
            let list: Vec<_> = wanted
                .map(|(name, trigger)| {
                    let conditions: Vec<_> = trigger.conditions.iter().map(condition_json).collect();
                    json!({"name": name, "conditions": conditions})
                })
                .collect();
            print_structured(args.source.output, &json!(list));
        }
        Output::Wide => {
            let paint = Paint::stdout();
            for (name, trigger) in wanted {
                println!("{}", paint.bold(name));
                for condition in &trigger.conditions {
                    let when = condition.when.as_ref().map_or("", |p| p.source());
                    println!("  [{}] {}", condition.index, when);
                    if !condition.description.is_empty() {
                        println!("      {}", paint.dim(&condition.description));
                    }
                    println!("      sends {}", condition.send.join(", "));
                }
            }
        }
    }
    0
}

fn condition_json(condition: &Condition) -> serde_json::Value {
    json!({
        "index": condition.index,
        "when": condition.when.as_ref().map_or("", |p| p.source()),
        "oncePer": condition.once_per.as_ref().map(|p| p.source()),
        "send": condition.send,
        "description": condition.description,
    })
}

/// Prints JSON, or the same as YAML (JSON is YAML; block style would need a writer that nothing else needs).
pub fn print_structured(output: Output, value: &serde_json::Value) {
    let text = match output {
        Output::Yaml => serde_saphyr::to_string(value).unwrap_or_else(|_| value.to_string()),
        _ => serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string()),
    };
    println!("{}", text.trim_end());
}

fn unknown(name: &str, compiled: &Compiled) -> u8 {
    // A trigger that exists but whose every condition is broken is not "unknown": say what is wrong with it.
    let key = format!("trigger.{name}");
    let problems: Vec<String> = compiled
        .notifications
        .problems
        .iter()
        .filter(|p| p.key == key || p.key.starts_with(&format!("{key}:")))
        .map(ToString::to_string)
        .collect();
    if !problems.is_empty() {
        return fail(1, problems.join("\n"));
    }
    let known: Vec<&str> = compiled.notifications.rules.triggers.keys().map(String::as_str).collect();
    let near = crate::core::problem::nearest(name, known.iter().copied());
    let hint = near.map_or_else(|| format!("known are: {}", known.join(", ")), |n| format!("did you mean {n}?"));
    fail(4, format!("there is no trigger {name} ({hint})"))
}

fn evaluate(args: &RunArgs) -> u8 {
    let read = || {
        let image = notify::image_event(&args.image_event)?;
        Ok::<_, files::Unreadable>((args.source.compiled()?, args.source.application(&args.application)?, image))
    };
    let (compiled, app, image) = match read() {
        Ok(read) => read,
        Err(error) => return fail(error.status, error.text),
    };
    let Some(trigger) = compiled.notifications.rules.triggers.get(&args.trigger) else {
        return unknown(&args.trigger, &compiled);
    };
    let broken: Vec<(usize, serde_json::Value)> = trigger.broken.iter().map(broken_json).collect();
    let mut facts = notify::facts(&app, &compiled);
    facts.image = image;
    let variables = facts.for_conditions();
    let results: Vec<(&Condition, Outcome)> =
        trigger.conditions.iter().map(|condition| (condition, condition.evaluate(&variables, &facts.now))).collect();
    let rows = rows(&app, &results, &broken);
    match args.source.output {
        Output::Json | Output::Yaml => print_structured(args.source.output, &json!(rows)),
        Output::Name => results.iter().for_each(|(c, o)| println!("[{}] {:?}", c.index, o.result)),
        Output::Wide => wide(args, &app, &compiled, &rows),
    }
    let failed = !broken.is_empty() || results.iter().any(|(_, o)| o.error.is_some());
    let fired = results.iter().any(|(_, outcome)| outcome.result == Some(true));
    match args.expect {
        Some(expected) if expected != fired => 3,
        Some(_) => 0,
        None => u8::from(failed),
    }
}

/// A condition that does not compile: its index and the error.
fn broken_json((index, fault): &(usize, Fault)) -> (usize, serde_json::Value) {
    let error = json!({
        "phase": "compile", "text": fault.text, "line": fault.line, "column": fault.column, "hint": fault.hint,
        "field": fault.field,
    });
    (*index, error)
}

fn rows(
    app: &Application,
    results: &[(&Condition, Outcome)],
    broken: &[(usize, serde_json::Value)],
) -> Vec<serde_json::Value> {
    let mut rows: Vec<(usize, serde_json::Value)> = broken
        .iter()
        .map(|(index, error)| {
            let row = json!({
                "condition": index, "result": null, "error": error, "oncePer": "", "key": null, "templates": [],
            });
            (*index, row)
        })
        .collect();
    for (condition, outcome) in results {
        let error = outcome
            .error
            .as_ref()
            .map(|fault| json!({"phase": "run", "text": redact::clean(&fault.text), "line": fault.line, "column": fault.column}));
        let mut row = json!({
            "condition": condition.index,
            "result": outcome.result,
            "error": error,
            "oncePer": redact::clean(&outcome.once_per),
            "key": condition.key,
            "templates": condition.send,
        });
        if let Some(note) = &outcome.note {
            row["note"] = json!(redact::clean(note));
        }
        if outcome.result == Some(true)
            && outcome.once_per.is_empty()
            && condition.once_per.is_some()
            && let Some(value) = multi_source_value(app)
        {
            row["ledgerValue"] = json!(value);
        }
        rows.push((condition.index, row));
    }
    rows.sort_by_key(|(index, _)| *index);
    rows.into_iter().map(|(_, row)| row).collect()
}

fn wide(args: &RunArgs, app: &Application, compiled: &Compiled, rows: &[serde_json::Value]) {
    let paint = Paint::stdout();
    println!("{:<10} {:<12} {:<42} {:<36} TEMPLATES", "CONDITION", "RESULT", "ONCEPER", "KEY");
    for row in rows {
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let result = match (&row["result"], &row["error"]) {
            (serde_json::Value::Bool(b), _) => b.to_string(),
            _ => "error".to_owned(),
        };
        let templates: Vec<&str> =
            row["templates"].as_array().into_iter().flatten().filter_map(|t| t.as_str()).collect();
        let painted = if result == "true" { paint.green(&format!("{result:<12}")) } else { format!("{result:<12}") };
        println!(
            "{:<10} {painted} {:<42} {:<36} {}",
            row["condition"].to_string(),
            text("oncePer"),
            text("key"),
            templates.join(", ")
        );
        let error = &row["error"];
        let place = |text| format!("line {}, column {}: {text}", error["line"], error["column"]);
        let error = error["text"].as_str().map(place);
        for (label, value) in [("error", error.as_deref()), ("note", row["note"].as_str())] {
            if let Some(value) = value {
                println!("           {} {value}", paint.red(label));
            }
        }
    }
    println!();
    if let Some(reason) = skip(app).filter(|_| args.image_event.is_none()) {
        println!("{} the daemon would leave this version alone: {reason}", paint.yellow("note:"));
    }
    let (wanted, _) = subscriptions(app, None, &compiled.notifications.rules);
    let destinations = wanted.of(&args.trigger);
    if destinations.is_empty() {
        println!("{} nobody subscribes to {} here", paint.yellow("note:"), args.trigger);
    }
    for destination in destinations {
        println!("subscribed: {}:{}", destination.service, destination.recipient);
        for row in rows.iter().filter(|row| row["result"] == true) {
            let key = row["key"].as_str().unwrap_or_default();
            let once = row["oncePer"].as_str().unwrap_or_default();
            let state = identity::state_key(once, "", &args.trigger, key, &destination.service, &destination.recipient);
            println!("  {}", paint.dim(&state));
        }
    }
}
