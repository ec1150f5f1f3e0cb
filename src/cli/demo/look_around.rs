//! After the story, with `--keep`: addresses to look at, tags to push by hand, and what comes of them, line by line.

use std::path::Path;

use tokio::sync::mpsc;

use super::show::Show;
use crate::adapters::store::Store;
use crate::cli::history::event_line;
use crate::daemon::Handle;
use crate::demo::Stage;
use crate::demo::inbox::Item;

const COMMANDS: &str = "push <web|api|jobs> <tag>, fail <web|api|jobs>, status, quit";

/// Stays until interrupted, or told to quit.
pub(super) async fn stay(stage: &Stage, handle: &Handle, store: &Store, show: &Show, state: &Path) {
    let folder = stage.kubeconfig();
    show.scene(6, "Still running: look around").await;
    show.line(&format!("history   lynceus history --state-dir {}", state.display()));
    show.line(&format!("Git       git clone {}", stage.clone_url()));
    show.line(&format!("cluster   curl {}/apis/argoproj.io/v1alpha1/applications", stage.cluster.url()));
    show.line(&format!(
        "plan      lynceus explain web --kubeconfig {} --registries-conf-path {}",
        folder.display(),
        stage.registries_conf().display()
    ));
    show.line(&format!("here      {COMMANDS}"));
    show.line("end       Ctrl-C\n");
    let mut journal = store.journal_changes();
    let mut told = store.history(None, 500).await.map_or(0, |events| events.len());
    let mut received = stage.inbox.accepted().len();
    let mut lines = typed();
    let mut listening = true;
    let mut interrupted = std::pin::pin!(super::interrupted());
    loop {
        tokio::select! {
            () = &mut interrupted => return,
            line = lines.recv(), if listening => match line {
                Some(line) if line.trim() == "quit" => return,
                Some(line) => obey(stage, handle, show, &line),
                // Nobody is typing: stay until interrupted.
                None => listening = false,
            },
            changed = journal.changed() => {
                if changed.is_err() {
                    return;
                }
                let events = store.history(None, 500).await.unwrap_or_default();
                let new = events.len().saturating_sub(told);
                events[..new].iter().rev().for_each(|event| show.line(&event_line(event, show.paint())));
                told = events.len();
            }
            _ = stage.inbox.wait(std::time::Duration::from_secs(3600), |accepted, _| accepted.len() > received) => {
                let accepted = stage.inbox.accepted();
                accepted[received..].iter().for_each(|message| show.message(&message.what));
                received = accepted.len();
            }
        }
    }
}

/// Lines from standard input. Waiting for one cannot be broken off, hence a thread of its own, which ends with the
/// process.
fn typed() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

fn obey(stage: &Stage, handle: &Handle, show: &Show, line: &str) {
    let known = |name: &str| ["web", "api", "jobs"].contains(&name);
    let valid = |tag: &str| tag.len() <= 128 && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    match line.split_whitespace().collect::<Vec<_>>().as_slice() {
        [] => {}
        ["push", name, tag] if known(name) && valid(tag) => {
            stage.push_tag(name, tag);
            show.step(&format!("pushed shop/{name}:{tag}"));
        }
        ["fail", name] if known(name) => {
            stage.fail_next_sync(name, "it was asked to fail");
            show.step(&format!("the next sync of {name} will fail; push a tag"));
        }
        ["status"] => {
            let status = handle.status();
            let messages = stage.inbox.accepted();
            let mails = messages.iter().filter(|m| matches!(m.what, Item::Mail { .. })).count();
            show.step(&format!(
                "{} images governed, {} rounds, {} problems; {} messages received, {mails} of them mails",
                status.images,
                status.rounds,
                status.problem_count(),
                messages.len()
            ));
            for problem in status.problems.values().flatten() {
                show.detail(&problem.to_string());
            }
        }
        _ => show.line(COMMANDS),
    }
}
