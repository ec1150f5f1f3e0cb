//! registries.conf and the commit template while the daemon runs: taken over when they change, kept as they were when a
//! new version is unusable, their problems shown (image-updates.md REG-3, §17).

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::command::Command;
use super::world::World;
use crate::config::registries::Registries;
use crate::config::settings::Settings;
use crate::core::problem::Problem;

/// How often the file is read.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Reads the file: an absent default file means the built-in endpoints, an absent named one is a problem.
///
/// # Errors
/// Whatever makes the file as a whole unusable; at start that is fatal.
pub fn load(settings: &Settings) -> Result<Registries, Problem> {
    let path = &settings.registries_conf;
    let place = || path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !settings.registries_conf_given => {
            return Ok(Registries::builtin());
        }
        Err(error) => return Err(Problem::error("config-invalid", error.to_string()).in_object(place())),
    };
    let mut read = Registries::parse(&text).map_err(|problems| {
        let first = problems.into_iter().next();
        let first = first.unwrap_or_else(|| Problem::error("config-invalid", "the file is not usable"));
        first.in_object(place())
    })?;
    read.problems = read.problems.into_iter().map(|problem| problem.in_object(place())).collect();
    Ok(read)
}

/// Follows the commit template's file until the token is cancelled. The next commit is worded by what it says then.
pub async fn follow_template(world: World, stop: CancellationToken) {
    loop {
        let problems = match world.load_template() {
            Ok(changed) => {
                if changed {
                    tracing::info!("commit template applied");
                }
                Vec::new()
            }
            Err(problem) => vec![problem.and_hint("the last good version stays in use")],
        };
        world.board.problems("commit template", problems);
        tokio::select! {
            _ = stop.cancelled() => return,
            _ = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Follows the file until the token is cancelled. After a change everything is looked at again.
pub async fn follow(world: World, commands: mpsc::UnboundedSender<Command>, stop: CancellationToken) {
    loop {
        let mut problems = Vec::new();
        match load(&world.settings) {
            Ok(new) if new == *world.registries.conf() => {}
            Ok(new) => {
                tracing::info!(entries = new.entries().len(), "registries.conf applied");
                world.registries.reload(new);
                world.polls.forget_notices();
                // Nobody listens where the image half is off.
                let _ = commands.send(Command::RefreshAll);
            }
            Err(problem) => problems.push(problem.and_hint("the last good version stays in use")),
        }
        show(&world, problems);
        tokio::select! {
            _ = stop.cancelled() => return,
            _ = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Shows what is wrong or notable: of the file, of its entries, of what rounds met; and these problems.
pub fn show(world: &World, mut problems: Vec<Problem>) {
    problems.extend(world.registries.conf().problems.iter().cloned());
    let endpoints = world.registries.endpoints();
    // An entry's fault is among the file's problems already.
    problems.extend(endpoints.iter().flat_map(|endpoint| endpoint.notices()));
    problems.extend(world.polls.notices());
    world.board.problems("registries", problems);
}
