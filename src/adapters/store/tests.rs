//! One suite for every form of the store, by subject: the outbox, the journal, what is known of images, the writer,
//! the file.

mod file;
mod journal;
mod metadata;
mod outbox;
mod writer;

use std::fs;
use std::path::Path;

use super::*;
use crate::core::notify::ledger::{Mark, Origin};
use crate::core::notify::message::{Part, WebhookPart};
use crate::core::notify::row::{Payload, RowState};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + seconds).unwrap()
}

fn row(id: &str, service: &str, recipient: &str) -> Row {
    Row {
        id: id.into(),
        occurrence: format!("occ_{id}"),
        app: AppKey { namespace: "argocd".into(), name: "web".into() },
        app_uid: "u1".into(),
        trigger: "on-deployed".into(),
        condition: "[0].hash".into(),
        state_key: format!("key-{id}"),
        service: service.into(),
        recipient: recipient.into(),
        templates: vec!["app-deployed".into()],
        payload: Payload::Rendered(Message {
            text: "hello \"you\"".into(),
            part: Part::Webhook(WebhookPart { method: "POST".into(), path: "/x".into(), body: "{}".into() }),
        }),
        state: RowState::Planned,
        attempts: 0,
        event_at: at(0),
        last_error: String::new(),
        possible_repeat: false,
        steps: Vec::new(),
    }
}

fn planned(id: &str) -> LedgerChange {
    LedgerChange::Put(format!("key-{id}"), Mark { origin: Origin::Planned, at: 1, told: false })
}

fn plan(ids: &[&str]) -> Plan {
    Plan {
        uid: "u1".into(),
        changes: ids.iter().map(|id| planned(id)).collect(),
        rows: ids.iter().map(|id| row(id, "hook", "")).collect(),
        object: Some(b"packed".to_vec()),
        ..Plan::default()
    }
}

fn again(seconds: i64, healable: bool) -> Again {
    Again { at: at(seconds), healable, error: "refused".into(), unknown: false, thread: None }
}

async fn due(store: &Store, seconds: i64) -> Vec<String> {
    let rows = store.due(at(seconds), 100, Skip::default()).await.unwrap();
    rows.into_iter().map(|row| row.id).collect()
}

/// Runs a scenario against a store in memory and one in a folder.
fn each_store<F: Future<Output = ()>>(scenario: impl Fn(Store) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(scenario(Store::memory().unwrap()));
    let folder = tempfile::tempdir().unwrap();
    runtime.block_on(scenario(Store::open(folder.path()).unwrap()));
}

fn copy_folder(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
    }
    to
}
