//! The command line: composes everything, owns flags and exit codes (image-updates.md §23, notifications.md §20).

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::adapters::heap;
use crate::core::problem::Problem;

mod check;
mod commit_template;
mod demo;
mod explain;
mod files;
mod history;
mod image;
mod kubectl;
mod lint;
mod logging;
mod notify;
mod plan;
mod run;
mod run_args;
mod send;
mod status;
mod template;
mod trigger;
mod variables;
mod world;

/// Wrong usage (sysexits' `EX_USAGE`), in every command.
pub const USAGE: u8 = 64;

/// One daemon for people who run Argo CD: image updates and notifications.
#[derive(Debug, Parser)]
#[command(
    name = "lynceus",
    version,
    max_term_width = 110,
    disable_help_subcommand = false,
    args_conflicts_with_subcommands = false
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Flags of `run`; they may stand before the subcommand.
    #[command(flatten)]
    run: run::RunArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon (the default).
    Run(Box<run::RunArgs>),
    /// Show what the next round would commit, as a diff; writes nothing.
    ///
    /// Exit status: 0 no changes, 2 changes, 1 an error, 64 wrong usage.
    Plan(plan::PlanArgs),
    /// Say of each image of an Application, and of every tag, what was decided and why.
    Explain(explain::ExplainArgs),
    /// Look an image up in its registry and say which tag would be taken.
    Test(image::TestArgs),
    /// Notifications: triggers, templates, what was given up.
    #[command(subcommand)]
    Notify(notify::NotifyCommand),
    /// Print every problem of the configuration of both halves.
    ///
    /// Exit status: 0 none, 3 problems, 2 something is not readable.
    Lint(lint::LintArgs),
    /// What the daemon would need, looked at, and with --connect tried once.
    ///
    /// Exit status: 0 all is well, 1 something fails, 2 something is not readable, 64 wrong usage.
    Check(check::CheckArgs),
    /// What the image half did, newest first, from the state directory.
    History(history::HistoryArgs),
    /// What a running daemon says of itself: applications, images, problems, pushes, next rounds.
    ///
    /// Exit status: 0 it answers and is ready, 1 it does not or is not.
    Status(status::StatusArgs),
    /// Render a template of commit messages with two sample changes; without a path the built-in one.
    ///
    /// Exit status: 0 it works, 1 it does not.
    Template(commit_template::TemplateArgs),
    /// The whole story on this machine, with nothing to configure: a new tag, a commit, a sync, messages.
    Demo(demo::DemoArgs),
    /// Print a completion script for a shell.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the version.
    Version {
        /// Only the number.
        #[arg(long)]
        short: bool,
    },
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    heap::keep_small();
    // Every TLS client in the process uses this provider; without it they refuse to start.
    let _ = rustls::crypto::ring::default_provider().install_default();
    ExitCode::from(dispatch(std::env::args_os().collect()))
}

/// Runs one command line; the result is the exit status.
fn dispatch(arguments: Vec<OsString>) -> u8 {
    let (called, arguments) = called(arguments);
    let (cli, unusable) = match parsed(arguments) {
        Ok(both) => both,
        Err(status) => return status,
    };
    let run = matches!(cli.command, None | Some(Command::Run(_)));
    unusable.iter().filter(|_| !run).for_each(|problem| eprintln!("lynceus: {problem}"));
    match cli.command {
        None => run::run(cli.run, &called, &unusable),
        Some(Command::Run(args)) => run::run(*args, &called, &unusable),
        Some(Command::Plan(args)) => plan::run(args),
        Some(Command::Explain(args)) => explain::run(args),
        Some(Command::Test(args)) => image::run(args),
        Some(Command::Notify(command)) => notify::run(command),
        Some(Command::Lint(args)) => lint::run(args),
        Some(Command::Check(args)) => check::run(&args),
        Some(Command::History(args)) => history::run(args),
        Some(Command::Status(args)) => status::run(&args),
        Some(Command::Template(args)) => commit_template::run(&args),
        Some(Command::Demo(args)) => demo::run(args),
        Some(Command::Completion { shell }) => {
            clap_complete::generate(shell, &mut Cli::command(), "lynceus", &mut std::io::stdout());
            0
        }
        Some(Command::Version { short }) => {
            let name = if short { "" } else { "lynceus " };
            println!("{name}{}", env!("CARGO_PKG_VERSION"));
            0
        }
    }
}

/// The command line with what the environment adds to it; the exit status if it is wrong, or asks for help.
fn parsed(arguments: Vec<OsString>) -> Result<(Cli, Vec<Problem>), u8> {
    let mut command = Cli::command();
    let arguments = without_run(&mut command, arguments);
    let (arguments, unusable) = variables::applied(&mut command, arguments);
    let matches = match command.try_get_matches_from_mut(&arguments) {
        Ok(matches) => matches,
        Err(error) => {
            // Help names the variables; what is parsed knows none.
            let error = match error.kind() {
                ErrorKind::DisplayHelp => {
                    variables::shown(Cli::command()).try_get_matches_from(arguments).err().unwrap_or(error)
                }
                _ => error,
            };
            let _ = error.print();
            return Err(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    if let Some(name) = matches.subcommand_name()
        && let Some(flag) = command.get_arguments().find(|a| variables::is_given(&matches, a))
    {
        let flag = flag.get_long().unwrap_or_default();
        return Err(fail(USAGE, format!("--{flag} before `{name}` is a flag of `run`: put it behind `{name}`")));
    }
    match Cli::from_arg_matches(&matches) {
        Ok(cli) => Ok((cli, unusable)),
        Err(error) => {
            let _ = error.print();
            Err(USAGE)
        }
    }
}

/// The flags of `run` may stand before the word, as in the Deployment of Argo CD Image Updater 1.x: without it they are
/// the same command.
fn without_run(command: &mut clap::Command, arguments: Vec<OsString>) -> Vec<OsString> {
    let is_run = |matches: &clap::ArgMatches| matches.subcommand_name() == Some("run");
    if !command.try_get_matches_from_mut(&arguments).is_ok_and(|matches| is_run(&matches)) {
        return arguments;
    }
    let words = (1..arguments.len()).filter(|at| arguments[*at] == "run");
    for at in words {
        let mut without = arguments.clone();
        without.remove(at);
        if command.try_get_matches_from_mut(&without).is_ok_and(|matches| matches.subcommand_name().is_none()) {
            return without;
        }
    }
    arguments
}

/// The name the program was started by, and its arguments. The Deployments of Argo CD's programs name them as the first
/// argument of their image's entry point, by path; some put `controller` behind.
fn called(mut arguments: Vec<OsString>) -> (String, Vec<OsString>) {
    const PROGRAMS: [&str; 3] = ["manager", "argocd-image-updater", "argocd-notifications"];
    let name = |argument: Option<&OsString>| {
        let name = argument.and_then(|a| std::path::Path::new(a).file_name());
        name.and_then(|name| name.to_str()).unwrap_or_default().to_owned()
    };
    let path = arguments.get(1).and_then(|a| a.to_str()).is_some_and(|text| text.contains('/'));
    if path && PROGRAMS.contains(&name(arguments.get(1)).as_str()) {
        arguments.remove(0);
    }
    let called = name(arguments.first());
    if called == "argocd-notifications" && arguments.get(1).is_some_and(|word| word == "controller") {
        arguments.remove(1);
    }
    (called, arguments)
}

/// A runtime for commands that need the network.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// Prints an error as commands do and gives the exit status.
fn fail(status: u8, text: impl std::fmt::Display) -> u8 {
    eprintln!("lynceus: {}", crate::adapters::redact::clean(&text.to_string()));
    status
}

/// Colours, where a person looks and did not object (`NO_COLOR`).
#[derive(Clone, Copy, Debug)]
pub struct Paint(bool);

impl Paint {
    /// For standard output.
    pub fn stdout() -> Paint {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        Paint(wanted && std::io::stdout().is_terminal() && std::env::var("TERM").is_ok_and(|t| t != "dumb"))
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Strong.
    pub fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    /// Less important.
    pub fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    /// Good.
    pub fn green(self, text: &str) -> String {
        self.with("32", text)
    }

    /// Bad.
    pub fn red(self, text: &str) -> String {
        self.with("31", text)
    }

    /// Noteworthy.
    pub fn yellow(self, text: &str) -> String {
        self.with("33", text)
    }

    /// Names.
    pub fn cyan(self, text: &str) -> String {
        self.with("36", text)
    }

    /// A unified diff, line by line.
    pub fn diff(self, diff: &str) -> String {
        let mut out = String::new();
        for line in diff.lines() {
            let painted = match line.as_bytes().first() {
                _ if line.starts_with("+++") || line.starts_with("---") => self.bold(line),
                Some(b'+') => self.green(line),
                Some(b'-') => self.red(line),
                Some(b'@') => self.cyan(line),
                _ => line.to_owned(),
            };
            out.push_str(&painted);
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests;
