//! Image events become messages: the journal is the queue between the halves, read after a mark that moves in the very
//! write that plans (notifications.md §14).

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::notifier::{AGAIN, Evaluator};
use super::watcher::Applications;
use crate::adapters::store::{Entry, Error, Plan, Store};
use crate::core::application::{AppKey, Application};
use crate::core::event::Event;
use crate::core::notify::image;
use crate::core::notify::variables::Commits;

/// Whether the notification half has ever run on this store.
const BEGUN: &str = "notifications/image-events/begun";

/// So many entries are read at once.
const BATCH: usize = 100;

/// What was journalled before this half ran for the first time is no news: the mark is put behind it. Called before
/// anything is journalled by this process.
///
/// # Errors
/// If the store fails.
pub async fn begin(store: &Store) -> Result<(), Error> {
    if store.text(BEGUN).await?.is_some() {
        return Ok(());
    }
    let mut mark = store.journal_mark().await?;
    while let Some(last) = store.journal_since(mark, 1_000).await?.last() {
        mark = last.mark;
    }
    let texts = vec![(BEGUN.to_owned(), Timestamp::now().to_string())];
    store.plan(Plan { journal_mark: Some(mark), texts, ..Plan::default() }).await.map(drop)
}

/// Reads the journal from the mark on until the token is cancelled. Begins when the configuration and all Applications
/// are known: an event without its Application could not find its subscribers.
pub async fn run(
    evaluator: Evaluator,
    applications: Applications,
    admits: impl Fn(&AppKey) -> bool,
    stop: CancellationToken,
) {
    let mut rules = evaluator.rules.clone();
    let mut status = evaluator.board.subscribe();
    let known = async {
        let loaded = rules.wait_for(|compiled| compiled.loaded).await.is_ok();
        loaded && status.wait_for(|status| status.ready.contains("applications")).await.is_ok()
    };
    tokio::select! {
        _ = stop.cancelled() => return,
        known = known => if !known { return },
    }
    let mut changes = evaluator.store.journal_changes();
    let mut wait = AGAIN;
    loop {
        changes.mark_unchanged();
        match batch(&evaluator, &applications, &admits).await {
            Ok(BATCH) => continue,
            Ok(_) => {
                wait = AGAIN;
                tokio::select! {
                    _ = stop.cancelled() => return,
                    changed = changes.changed() => if changed.is_err() { return },
                }
            }
            Err(text) => {
                tracing::warn!("image events are looked at again: {text}");
                tokio::select! {
                    _ = stop.cancelled() => return,
                    _ = tokio::time::sleep(wait) => wait = (wait * 2).min(Duration::from_secs(60)),
                }
            }
        }
    }
}

/// Plans what the next entries give, one write each, in their order.
async fn batch(
    evaluator: &Evaluator,
    applications: &Applications,
    admits: &impl Fn(&AppKey) -> bool,
) -> Result<usize, String> {
    let text = |error: Error| error.to_string();
    let mark = evaluator.store.journal_mark().await.map_err(text)?;
    let entries = evaluator.store.journal_since(mark, BATCH).await.map_err(text)?;
    for Entry { mark, event } in &entries {
        let app = applications.by_key(&event.app).filter(|app| admits(&app.key));
        let plan = match &app {
            Some(app) if Timestamp::now().duration_since(event.at) < image::OLDEST => {
                plan(evaluator, event, app).await?
            }
            _ => Plan::default(),
        };
        let new = evaluator.store.plan(Plan { journal_mark: Some(*mark), ..plan }).await.map_err(text)?;
        for id in &new {
            tracing::info!(app = %event.app, event = %id, image_event = event.kind.word(), "planned");
        }
    }
    Ok(entries.len())
}

async fn plan(evaluator: &Evaluator, event: &Event, app: &Arc<Application>) -> Result<Plan, String> {
    let mut commits = Commits::new();
    loop {
        let compiled = evaluator.rules.borrow().clone();
        let project = evaluator.project(app);
        let started = std::time::Instant::now();
        let annotations = project.as_ref().map(|project| &project.annotations);
        let facts = || evaluator.facts(app, &compiled, commits.clone(), false);
        let evaluation = image::evaluate(event, app, annotations, &compiled.notifications.rules, facts);
        evaluator.metrics.evaluated(&evaluation.evaluated, started.elapsed());
        let wanted: Vec<_> = evaluation.wanted.into_iter().filter(|id| !commits.contains_key(id)).collect();
        if wanted.is_empty() {
            evaluator.board.problems(&format!("notify images {}", app.key), evaluation.problems);
            let rows = evaluation.rows;
            let object = (!rows.is_empty()).then(|| app.packed_with(image::STORED_AT, image::variable(event)));
            let object = object.transpose().map_err(|problem| problem.text)?;
            return Ok(Plan { rows, object, ..Plan::default() });
        }
        for id in wanted {
            let found = evaluator.commits.look_up(app, &id).await;
            commits.insert(id, found);
        }
    }
}
