//! The executor of the outbox as these tests run it: over a store, with services, waiting for observed conditions only.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lynceus::adapters::services::Service;
use lynceus::adapters::store::{Error, Plan, Store};
use lynceus::core::application::AppKey;
use lynceus::core::notify::ledger::{LedgerChange, Mark, Origin};
use lynceus::core::notify::message::{Message, Part};
use lynceus::core::notify::row::{Payload, Row, RowState};
use lynceus::daemon::delivery::{Caps, Clock, Parts, Render, Rendered, Services, Tally, Told, Unrendered, run};
use lynceus::demo::inbox::{Inbox, Item};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::house::{PATIENCE, configured, items};

/// Retries within milliseconds, so that a test needs no patience.
pub const QUICK: &str = "retryWaitMin: 5ms\nretryWaitMax: 20ms\nretryMax: 50\n";

pub struct House {
    pub store: Store,
    pub services: watch::Sender<Arc<Services>>,
    pub told: mpsc::UnboundedReceiver<Told>,
    pub tally: Arc<Tally>,
    pub stop: CancellationToken,
    pub task: JoinHandle<Result<(), Error>>,
}

pub fn plainly() -> Render {
    Arc::new(|row, object| {
        Box::pin(async move {
            match row.trigger.as_str() {
                "breaks" => panic!("on purpose"),
                "parked" => Err(Unrendered::Parked("no such field".into())),
                _ => {
                    let text = format!("{} {:?}", row.id, object.map(|bytes| bytes.len()));
                    Ok(Rendered { message: Message { text, part: Part::None }, keep: row.trigger != "secret" })
                }
            }
        })
    })
}

pub async fn open(store: Store, services: &[Service]) -> House {
    let epoch = store.claim().await.unwrap();
    let (services, watched) = watch::channel(Arc::new(by_name(services)));
    let (tell, told) = mpsc::unbounded_channel();
    let (tally, stop) = (Arc::new(Tally::default()), CancellationToken::new());
    let parts = Parts {
        store: store.clone(),
        epoch,
        services: watched,
        render: plainly(),
        clock: Clock::start(Timestamp::now()),
        caps: Caps::default(),
        told: tell,
        tally: tally.clone(),
    };
    let task = tokio::spawn(run(parts, stop.clone()));
    House { store, services, told, tally, stop, task }
}

pub fn by_name(services: &[Service]) -> Services {
    services.iter().map(|service| (service.config().name.clone(), service.clone())).collect()
}

impl House {
    pub async fn plan(&self, rows: impl IntoIterator<Item = Row>) {
        let rows: Vec<Row> = rows.into_iter().collect();
        let changes = rows.iter().map(|row| {
            let mark = Mark { origin: Origin::Planned, at: 0, told: false };
            LedgerChange::Put(row.state_key.clone(), mark)
        });
        let plan = Plan {
            uid: "u".into(),
            changes: changes.collect(),
            rows: rows.clone(),
            object: Some(b"12345".to_vec()),
            ..Plan::default()
        };
        self.store.plan(plan).await.unwrap();
    }

    pub async fn row(&self, id: &str) -> Row {
        self.store.row(id).await.unwrap().unwrap()
    }

    /// Waits until the row is as asked.
    pub async fn until(&self, id: &str, what: &str, condition: impl Fn(&Row) -> bool) -> Row {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let row = self.row(id).await;
            if condition(&row) {
                return row;
            }
            assert!(Instant::now() < deadline, "{id} never was {what}: {row:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn done(&self, id: &str) -> Row {
        self.until(id, "done", |row| matches!(row.state, RowState::Done { .. })).await
    }

    pub async fn close(self) -> Result<(), Error> {
        self.stop.cancel();
        self.task.await.unwrap()
    }
}

pub fn event(id: &str, app: &str, service: &str, recipient: &str) -> Row {
    Row {
        id: id.into(),
        occurrence: format!("occ_{id}"),
        app: AppKey { namespace: "argocd".into(), name: app.into() },
        app_uid: format!("uid-{app}"),
        trigger: "on-deployed".into(),
        condition: "[0].h".into(),
        state_key: format!("key-{id}"),
        service: service.into(),
        recipient: recipient.into(),
        templates: vec!["t".into()],
        payload: Payload::Rendered(Message { text: id.into(), part: Part::None }),
        state: RowState::Planned,
        attempts: 0,
        event_at: Timestamp::now(),
        last_error: String::new(),
        possible_repeat: false,
        steps: vec![],
    }
}

pub fn hook(name: &str, inbox: &Inbox, more: &str) -> Service {
    configured(&format!("service.webhook.{name}"), &format!("url: {}/{name}\n{more}", inbox.url()))
}

pub fn bodies(inbox: &Inbox) -> Vec<String> {
    let bodies = items(inbox).into_iter().map(|item| match item {
        Item::Webhook { body, .. } => body,
        Item::Slack { fields, .. } => fields["text"].clone(),
        Item::Mail { content, .. } => content,
    });
    bodies.collect()
}

impl House {
    pub fn plan_later(&self, id: &str) -> JoinHandle<Result<Vec<String>, Error>> {
        let (store, rows) = (self.store.clone(), vec![event(id, id, "x", "")]);
        tokio::spawn(async move { store.plan(Plan { rows, ..Plan::default() }).await })
    }
}

pub fn copy_folder(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
    }
    to
}
