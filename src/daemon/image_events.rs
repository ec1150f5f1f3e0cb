//! Image events become messages: the journal is the queue between the halves, read after a mark that moves in the very
//! write that plans (notifications.md §14).

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::delivery::Clock;
use super::notifier::{AGAIN, Evaluator};
use super::watcher::Applications;
use crate::adapters::store::{Entry, Error, Plan, Store};
use crate::core::application::{AppKey, Application};
use crate::core::event::Event;
use crate::core::notify::image;
use crate::core::notify::variables::Commits;

/// Whether the notification half has ever run on this store.
const BEGUN: &str = "notifications/image-events/begun";

/// How often a journal that nobody reads is shortened.
const SHORTEN_EVERY: Duration = Duration::from_secs(3600);

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
    let mark = Some(end(store).await?);
    let texts = vec![(BEGUN.to_owned(), Timestamp::now().to_string())];
    store.plan(Plan { journal_mark: mark, texts, ..Plan::default() }).await.map(drop)
}

/// The mark behind the last entry.
async fn end(store: &Store) -> Result<i64, Error> {
    let mut mark = store.journal_mark().await?;
    while let Some(last) = store.journal_since(mark, 1_000).await?.last() {
        mark = last.mark;
    }
    Ok(mark)
}

/// Where no notification half runs, nobody reads the journal: the mark follows its end, so that what is past its time
/// can be forgotten (EVT-5) and is no news to a half that is switched on later.
pub async fn nobody_reads(store: Store, clock: Clock, stop: CancellationToken) {
    loop {
        if let Err(error) = pass_over(&store, clock.now()).await {
            tracing::warn!("the journal is not shortened: {error}");
        }
        tokio::select! {
            _ = stop.cancelled() => return,
            _ = tokio::time::sleep(SHORTEN_EVERY) => {}
        }
    }
}

async fn pass_over(store: &Store, now: Timestamp) -> Result<(), Error> {
    let mark = Some(end(store).await?);
    store.plan(Plan { journal_mark: mark, ..Plan::default() }).await?;
    store.clean(now).await.map(drop)
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
        let project = evaluator.project(app, &app.project);
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
            commits.insert(id, found.ok());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::event::Kind;

    fn event(n: usize) -> Event {
        Event {
            id: format!("img_{n}"),
            kind: Kind::Found,
            at: Timestamp::now(),
            app: AppKey { namespace: "argocd".into(), name: "web".into() },
            app_uid: "u".into(),
            project: String::new(),
            change: String::new(),
            alias: String::new(),
            image: "nginx".into(),
            old: "1".into(),
            new: n.to_string(),
            reason: String::new(),
            message: String::new(),
            place: None,
            count: 1,
            earlier: None,
            apps: Vec::new(),
            strategy: String::new(),
            first_seen: None,
            revision: String::new(),
            owner: String::new(),
            beside: Vec::new(),
        }
    }

    #[tokio::test]
    async fn img_01_what_was_before_the_first_start_is_no_news() {
        let store = Store::memory().unwrap();
        store.append((0..2_500).map(event).collect()).await.unwrap();
        begin(&store).await.unwrap();
        let mark = store.journal_mark().await.unwrap();
        assert_eq!(store.journal_since(mark, 10).await.unwrap(), []);
        // From then on everything is, also after a restart before it was read.
        store.append(vec![event(9_999)]).await.unwrap();
        begin(&store).await.unwrap();
        let left = store.journal_since(store.journal_mark().await.unwrap(), 10).await.unwrap();
        assert_eq!(left.iter().map(|entry| entry.event.id.as_str()).collect::<Vec<_>>(), ["img_9999"]);
    }

    #[tokio::test]
    async fn evt_5_a_journal_that_nobody_reads_is_shortened_all_the_same() {
        let store = Store::memory().unwrap();
        store.append((0..10_300).map(event).collect()).await.unwrap();
        pass_over(&store, Timestamp::now()).await.unwrap();
        assert_eq!(store.history(None, 20_000).await.unwrap().len(), 10_000);
    }
}
