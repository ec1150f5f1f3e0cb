//! `history`: what the image half did, from the state directory, beside a running daemon.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Output, Paint, fail};
use crate::adapters::store::{Filter, Store};
use crate::core::application::AppKey;
use crate::core::event::{Event, Kind};
use crate::core::notify::row::{Row, RowState};

/// Arguments of `history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Only this Application: name, or namespace/name.
    pub application: Option<String>,
    /// The daemon's state directory.
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// At most this many entries.
    #[arg(long, default_value_t = 50)]
    pub limit: usize,
    /// Deliveries that were given up, instead of the image half's events.
    #[arg(long)]
    pub dead: bool,
    /// How results are printed.
    #[arg(long, short = 'o', value_enum, default_value_t)]
    pub output: Output,
}

/// Arguments of `notify history`.
#[derive(Debug, Args)]
pub struct DeadArgs {
    /// Only of this Application: name, or namespace/name.
    #[arg(long, value_name = "NAME")]
    pub app: Option<String>,
    /// Only of this trigger.
    #[arg(long, value_name = "NAME")]
    pub trigger: Option<String>,
    /// Only of this service.
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// The daemon's state directory.
    #[arg(long, env = "LYNCEUS_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// At most this many entries.
    #[arg(long, default_value_t = 50)]
    pub limit: usize,
    /// How results are printed.
    #[arg(long, short = 'o', value_enum, default_value_t)]
    pub output: Output,
}

/// Runs `notify history`: the dead letters.
pub fn dead(args: DeadArgs) -> u8 {
    let filter = Filter { trigger: args.trigger, service: args.service, ..Filter::default() };
    let shared = HistoryArgs {
        application: args.app,
        state_dir: args.state_dir,
        limit: args.limit,
        dead: true,
        output: args.output,
    };
    show(shared, filter)
}

/// Runs `history`.
pub fn run(args: HistoryArgs) -> u8 {
    show(args, Filter::default())
}

fn show(args: HistoryArgs, filter: Filter) -> u8 {
    let Some(folder) = args.state_dir.clone().or_else(super::world::state_home) else {
        return fail(super::USAGE, "no state directory; give --state-dir");
    };
    if !folder.join("state.db").exists() {
        return fail(
            2,
            format!("{}: there is no state.db; was `lynceus run` started with this --state-dir?", folder.display()),
        );
    }
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, error),
    };
    let result = runtime.block_on(async {
        let store = Store::open_read_only(&folder)?;
        if args.dead {
            let filter = Filter { state: Some("dead".into()), ..filter };
            let limit = if args.application.is_some() { 10_000 } else { args.limit };
            let mut rows = store.rows(filter, limit).await?;
            rows.retain(|row| args.application.as_ref().is_none_or(|wanted| named(&row.app, wanted)));
            rows.truncate(args.limit);
            print_rows(&rows, args.output);
            return Ok::<(), crate::adapters::store::Error>(());
        }
        let key = args.application.as_ref().and_then(|name| {
            let (namespace, name) = name.split_once('/')?;
            Some(AppKey { namespace: namespace.to_owned(), name: name.to_owned() })
        });
        let mut events = store.history(key, if args.application.is_some() { 10_000 } else { args.limit }).await?;
        events.retain(|event| args.application.as_ref().is_none_or(|wanted| named(&event.app, wanted)));
        events.truncate(args.limit);
        print_events(&events, args.output);
        Ok(())
    });
    match result {
        Ok(()) => 0,
        Err(error) => fail(1, error),
    }
}

fn named(key: &AppKey, wanted: &str) -> bool {
    key.name == wanted || key.to_string() == wanted
}

/// An event as JSON.
pub fn event_json(event: &Event) -> serde_json::Value {
    let mut json = json!({
        "id": event.id, "event": event.kind.word(), "at": event.at.to_string(), "application": event.app.to_string(),
        "uid": event.app_uid, "severity": event.kind.severity(), "project": event.project, "changeId": event.change,
        "alias": event.alias, "image": event.image,
        "old": event.old, "new": event.new, "reason": event.reason, "message": event.message, "count": event.count,
    });
    for (key, text) in [("strategy", &event.strategy), ("revision", &event.revision), ("owner", &event.owner)] {
        if !text.is_empty() {
            json[key] = json!(text);
        }
    }
    if let Some(at) = event.first_seen {
        json["firstSeen"] = json!(at.to_string());
    }
    if !event.apps.is_empty() {
        json["apps"] = json!(event.apps);
    }
    if let Some(place) = &event.place {
        json["commit"] = json!({
            "method": place.method, "repository": place.repository, "branch": place.branch, "sha": place.commit,
            "file": place.file, "message": place.message, "diff": place.diff,
        });
    }
    json
}

fn print_events(events: &[Event], output: Output) {
    if output == Output::Json {
        let list: Vec<_> = events.iter().map(event_json).collect();
        println!("{}", serde_json::to_string_pretty(&list).unwrap_or_default());
        return;
    }
    let paint = Paint::stdout();
    if events.is_empty() {
        println!("nothing yet");
    }
    for event in events {
        println!("{}", event_line(event, paint));
    }
}

/// One line for people.
pub fn event_line(event: &Event, paint: Paint) -> String {
    let word = format!("{:<10}", event.kind.word());
    let word = match event.kind {
        Kind::Committed | Kind::Healthy | Kind::Recovered | Kind::Synced => paint.green(&word),
        Kind::Refused | Kind::Failed | Kind::Degraded => paint.red(&word),
        Kind::Found | Kind::Held => paint.yellow(&word),
    };
    let at = event.at.strftime("%Y-%m-%d %H:%M:%S");
    let old = if event.old.is_empty() { "-" } else { &event.old };
    let change = format!("{} {} -> {}", event.image, old, event.new);
    let tail = match &event.place {
        Some(place) if !place.commit.is_empty() => {
            format!("  {} {}", &place.commit[..place.commit.len().min(9)], place.file)
        }
        _ if !event.reason.is_empty() => format!("  {}: {}", event.reason, event.message),
        _ => String::new(),
    };
    format!("{}  {word} {:<24} {change}{}", paint.dim(&at.to_string()), event.app.to_string(), paint.dim(&tail))
}

fn print_rows(rows: &[Row], output: Output) {
    let reason = |row: &Row| match &row.state {
        RowState::Dead { reason, .. } => reason.clone(),
        other => other.word().to_owned(),
    };
    if output == Output::Json {
        let list: Vec<_> = rows
            .iter()
            .map(|row| {
                json!({
                    "id": row.id, "application": row.app.to_string(), "trigger": row.trigger, "service": row.service,
                    "recipient": row.recipient, "reason": reason(row), "attempts": row.attempts,
                    "error": row.last_error, "eventAt": row.event_at.to_string(),
                })
            })
            .collect();
        println!("{}", serde_json::to_string_pretty(&list).unwrap_or_default());
        return;
    }
    if rows.is_empty() {
        println!("no dead deliveries");
    }
    for row in rows {
        let to = format!("{}:{}", row.service, row.recipient);
        let plural = if row.attempts == 1 { "" } else { "s" };
        println!(
            "{}  {:<24} {:<20} {to:<28} {} ({} attempt{plural}): {}",
            row.event_at.strftime("%Y-%m-%d %H:%M:%S"),
            row.app.to_string(),
            row.trigger,
            reason(row),
            row.attempts,
            row.last_error
        );
    }
}
