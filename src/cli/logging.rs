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

/// A level as it is written: trace, debug, info, warn, error, and the further ones of Argo CD's programs.
///
/// # Errors
/// For any other word.
pub fn level(text: &str) -> Result<String, String> {
    match text.to_ascii_lowercase().as_str() {
        "warning" => Ok("warn".to_owned()),
        "fatal" | "panic" => Ok("error".to_owned()),
        known @ ("trace" | "debug" | "info" | "warn" | "error") => Ok(known.to_owned()),
        other => Err(format!("`{other}` is no log level; write trace, debug, info, warn or error")),
    }
}

/// Starts logging to standard error.
///
/// # Errors
/// If `level` is none, or logging has started.
pub fn start(level: &str, format: Option<Format>) -> Result<(), String> {
    let level = self::level(level)?;
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
