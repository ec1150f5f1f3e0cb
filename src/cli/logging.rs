//! Logs: text on a terminal, else JSON; nothing at info while nothing changes.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use crate::adapters::redact;

/// `--logformat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Format {
    /// What the variables of the two programs that came before ask for. Argo CD Notifications writes JSON unless told
    /// otherwise.
    pub fn of_variables(called: &str) -> Option<Format> {
        let asked = ["IMAGE_UPDATER_LOGFORMAT", "ARGOCD_NOTIFICATIONS_CONTROLLER_LOGFORMAT"];
        let asked = asked.iter().find_map(|name| super::world::Variables::text(name));
        match asked.as_deref().map(str::to_ascii_lowercase).as_deref() {
            Some("json") => Some(Format::Json),
            Some("text") => Some(Format::Text),
            _ => (called == "argocd-notifications").then_some(Format::Json),
        }
    }
}

/// Starts logging to standard error. `level` is one of trace, debug, info, warn, error (upstream's `warning` as well).
pub fn start(level: &str, format: Option<Format>) -> Result<(), String> {
    let level = match level.to_ascii_lowercase().as_str() {
        "warning" => "warn".to_owned(),
        "fatal" | "panic" => "error".to_owned(),
        known @ ("trace" | "debug" | "info" | "warn" | "error") => known.to_owned(),
        other => return Err(format!("`{other}` is no log level; write trace, debug, info, warn or error")),
    };
    // Libraries log connection details that nobody asked for, and at trace level what they send.
    let filter = EnvFilter::new(format!("off,lynceus={level}"));
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Cleaned(std::io::stderr())).with_target(false);
    let terminal = std::io::stderr().is_terminal();
    let json = format.unwrap_or(if terminal { Format::Text } else { Format::Json }) == Format::Json;
    let started = if json {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.with_ansi(terminal && std::env::var_os("NO_COLOR").is_none()).try_init()
    };
    started.map_err(|e| e.to_string())
}

/// Masks the secrets in use (SEC-01). A line comes in one piece.
struct Cleaned<W>(W);

impl<W: Write> Write for Cleaned<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(redact::clean(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
