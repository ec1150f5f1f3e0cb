//! One attempt at one row, from its payload to its settled outcome. Nothing that happens here reaches another row: a
//! panic counts as an unknown outcome.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use jiff::Timestamp;
use tracing::{debug, error, info};

use super::fate::{Fate, decide, expired};
use super::lanes::Verdict;
use super::{Outcome, Parts, Rendered, Told, Unrendered};
use crate::adapters::services::{Class, SendContext, SendError, Sent, Service, ThreadNews};
use crate::adapters::store::{Error, ThreadChange, ThreadKey};
use crate::core::notify::message::{Message, Part};
use crate::core::notify::row::{Payload, Row};
use crate::core::retry::Retry;

/// LAN-07: when a message says that it is late.
const LATE: Duration = Duration::from_secs(15 * 60);
/// The pause of a lane whose receiver asked for one without saying how long.
const UNNAMED_PAUSE: Duration = Duration::from_secs(5);
/// Between two tries to record an outcome.
const RECORD_PAUSE: Duration = Duration::from_secs(1);
/// A delivery of more calls than this is a fault of ours.
const MOST_CALLS: usize = 16;

pub(super) async fn attempt(parts: &Parts, row: &Row, service: Option<&Service>) -> Outcome {
    match AssertUnwindSafe(guarded(parts, row, service)).catch_unwind().await {
        Ok(outcome) => outcome,
        Err(_) => {
            error!(app = %row.app, trigger = %row.trigger, event = %row.id, "a delivery broke down; this is a bug");
            let broken = local(Class::Unknown, "the delivery broke down; this is a bug");
            settle(parts, row, service, row.attempts + 1, None, Err(broken)).await
        }
    }
}

/// A failure on our side: says nothing about the receiver.
fn local(class: Class, text: &str) -> SendError {
    SendError {
        class,
        retry_after: None,
        throttled: None,
        ill: false,
        gone: false,
        quick: false,
        thread: None,
        text: text.to_owned(),
    }
}

async fn guarded(parts: &Parts, row: &Row, service: Option<&Service>) -> Outcome {
    let heals = parts.store.heals();
    let outcome = tried(parts, row, service).await;
    if parts.store.heals() != heals && outcome.is_ok() {
        // What was changed meanwhile may be what this attempt lacked; rows that wait were brought forward then, and
        // this one was not among them (§12.2). It comes up within a quarter of an hour if this fails.
        let _ = parts.store.heal_row(&row.id, parts.clock.now()).await;
    }
    outcome
}

async fn tried(parts: &Parts, row: &Row, service: Option<&Service>) -> Outcome {
    let now = parts.clock.now();
    if let Some(reason) = expired(row, service, now) {
        let fate = Fate::Dead { reason, error: String::new() };
        return record(parts, row, fate).await.map(|()| Verdict::default());
    }
    // No attempt was begun, so the number of attempts does not tell how long to wait; the event's age does.
    let doublings = (age(row, now).as_secs() / 5).max(1).ilog2() + 1;
    let not_called = |error: SendError| settle(parts, row, service, doublings, None, Err(error));
    let Some(sender) = service else {
        let text = format!("there is no service `{}`", row.service);
        return not_called(local(Class::RejectedHealable, &text)).await;
    };
    let (message, keep) = match payload(parts, row).await {
        Ok(payload) => payload,
        Err(error) => return not_called(error).await,
    };
    let stored = keep.then(|| message.clone());
    if let Err(error) = parts.store.start(&row.id, parts.epoch, now, stored).await {
        // Not durable, so not sent (OUT-02, OUT-11). The row stays as it was.
        debug!(event = %row.id, %error, "the attempt was not begun");
        if matches!(error, Error::StaleEpoch { .. }) {
            return Err(error);
        }
        tokio::time::sleep(RECORD_PAUSE).await;
        return Ok(Verdict::default());
    }
    let key = thread_key(row, &message);
    let outcome = AssertUnwindSafe(call(parts, row, sender, &message, key.as_ref())).catch_unwind().await;
    let outcome = outcome.unwrap_or_else(|_| {
        error!(app = %row.app, trigger = %row.trigger, event = %row.id, "a service broke down; this is a bug");
        Err(local(Class::Unknown, "the service broke down; this is a bug"))
    });
    let number = row.attempts + 1;
    // WH-06: the text names the attempt.
    let outcome = outcome.map_err(|error| SendError { text: format!("attempt {number}: {}", error.text), ..error });
    let verdict = settle(parts, row, service, number, key, outcome).await?;
    Ok(Verdict { called: true, ..verdict })
}

/// The message, and whether it is to be stored.
async fn payload(parts: &Parts, row: &Row) -> Result<(Message, bool), SendError> {
    match &row.payload {
        Payload::Rendered(message) => Ok((message.clone(), false)),
        Payload::Failed(reason) => Err(local(Class::RejectedHealable, &format!("not rendered: {reason}"))),
        Payload::Deferred => {
            let object = parts.store.object(&row.id).await;
            let object = object.map_err(|error| local(Class::Transient, &error.to_string()))?;
            match (parts.render)(row.clone(), object).await {
                Ok(Rendered { message, keep }) => Ok((message, keep)),
                Err(Unrendered::Later(text)) => Err(local(Class::NotSent, &format!("not rendered: {text}"))),
                Err(Unrendered::Parked(text)) => Err(local(Class::RejectedHealable, &format!("not rendered: {text}"))),
            }
        }
    }
}

fn thread_key(row: &Row, message: &Message) -> Option<ThreadKey> {
    match &message.part {
        Part::Slack(part) if !part.grouping_key.is_empty() => Some(ThreadKey {
            service: row.service.clone(),
            recipient: row.recipient.clone(),
            key: part.grouping_key.clone(),
        }),
        _ => None,
    }
}

/// Makes the calls of a delivery, recording each before the next (OUT-05).
async fn call(
    parts: &Parts,
    row: &Row,
    service: &Service,
    message: &Message,
    key: Option<&ThreadKey>,
) -> Result<Option<ThreadNews>, SendError> {
    let broken = |error: Error| local(Class::Transient, &error.to_string());
    let now = parts.clock.now();
    let age = Duration::try_from(now.duration_since(row.event_at)).unwrap_or_default();
    let mut context = SendContext {
        event_id: row.id.clone(),
        attempt: row.attempts + 1,
        possible_repeat: row.possible_repeat,
        delayed: (age > LATE).then_some(row.event_at),
        default_text: format!("Trigger {} fired for {}", row.trigger, row.app),
        thread: None,
        steps: row.steps.clone(),
        now,
    };
    if let Some(key) = key {
        context.thread = parts.store.thread(key.clone()).await.map_err(broken)?;
    }
    for _ in 0..MOST_CALLS {
        let Sent { more_after, thread, note } = service.send(&row.recipient, message, &context).await?;
        if !note.is_empty() {
            debug!(app = %row.app, trigger = %row.trigger, event = %row.id, note, "sent with a remark");
        }
        let Some(step) = more_after else { return Ok(thread) };
        let change = change(key, thread.clone());
        parts.store.step(&row.id, parts.epoch, step, parts.clock.now(), change).await.map_err(broken)?;
        context.steps.push(step.to_owned());
        if let Some(ThreadNews::Is(thread)) = thread {
            context.thread = Some(thread);
        }
    }
    Err(local(Class::Unknown, "the delivery did not come to an end; this is a bug"))
}

fn change(key: Option<&ThreadKey>, news: Option<ThreadNews>) -> Option<ThreadChange> {
    let key = key?.clone();
    Some(match news? {
        ThreadNews::Is(thread) => ThreadChange::Remember(key, thread),
        ThreadNews::Gone => ThreadChange::Forget(key),
    })
}

/// Records what became of the attempt. Once something may have left, this is tried until it succeeds: an outcome that
/// is known must not become an unknown one because the disk was full for a minute.
async fn settle(
    parts: &Parts,
    row: &Row,
    service: Option<&Service>,
    failures: u32,
    key: Option<ThreadKey>,
    outcome: Result<Option<ThreadNews>, SendError>,
) -> Outcome {
    let error = match outcome {
        Ok(news) => {
            parts.tally.attempted(&row.service, "accepted");
            return finish(parts, row, change(key.as_ref(), news)).await.map(|()| Verdict::default());
        }
        Err(error) => error,
    };
    parts.tally.attempted(&row.service, error.class.word());
    parts.tally.delivered(&row.trigger, &row.service, false);
    let pause = error.throttled.map(|scope| (error.retry_after.unwrap_or(UNNAMED_PAUSE), scope));
    let verdict = Verdict { called: false, ill: error.ill, pause, gone: error.gone };
    let mut fate = decide(row, service, &error, failures, parts.clock.now(), fastrand::f64());
    if let Fate::Again(again) = &mut fate {
        again.thread = change(key.as_ref(), error.thread);
    }
    record(parts, row, fate).await.map(|()| verdict)
}

async fn finish(parts: &Parts, row: &Row, change: Option<ThreadChange>) -> Result<(), Error> {
    let now = parts.clock.now();
    loop {
        match parts.store.finish(&row.id, parts.epoch, now, change.clone()).await {
            Ok(told) => {
                if told {
                    // Nobody listens while the process ends; the next start writes the annotation.
                    let _ = parts.told.send(Told { app: row.app.clone(), uid: row.app_uid.clone() });
                }
                parts.tally.delivered(&row.trigger, &row.service, true);
                parts.tally.done(&row.service, now, age(row, now));
                info!(app = %row.app, trigger = %row.trigger, event = %row.id, service = %row.service, "delivered");
                return Ok(());
            }
            Err(error) if error.retry() == Retry::Never => return unrecorded(row, error),
            Err(_) => tokio::time::sleep(RECORD_PAUSE).await,
        }
    }
}

async fn record(parts: &Parts, row: &Row, fate: Fate) -> Result<(), Error> {
    let now = parts.clock.now();
    loop {
        let result = match &fate {
            Fate::Again(again) => parts.store.retry(&row.id, parts.epoch, now, again.clone()).await,
            Fate::Dead { reason, error } => parts.store.dead(&row.id, parts.epoch, now, reason, error).await,
        };
        match result {
            Ok(()) => break,
            Err(error) if error.retry() == Retry::Never => return unrecorded(row, error),
            Err(_) => tokio::time::sleep(RECORD_PAUSE).await,
        }
    }
    match fate {
        Fate::Again(again) => {
            debug!(app = %row.app, trigger = %row.trigger, event = %row.id, at = %again.at, error = again.error, "again later");
        }
        Fate::Dead { reason, error } => {
            parts.tally.dead(&row.service, reason);
            info!(app = %row.app, trigger = %row.trigger, event = %row.id, service = %row.service, reason, error, "given up");
        }
    }
    Ok(())
}

/// Another process works now, which ends this one's work, or somebody moved the row by hand, which does not.
fn unrecorded(row: &Row, error: Error) -> Result<(), Error> {
    error!(app = %row.app, trigger = %row.trigger, event = %row.id, %error, "an outcome was not recorded");
    if matches!(error, Error::StaleEpoch { .. }) { Err(error) } else { Ok(()) }
}

fn age(row: &Row, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(row.event_at)).unwrap_or_default()
}
