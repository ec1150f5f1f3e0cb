//! The last good configuration of the notification half, key by key, swapped whole (notifications.md CFG-01, CFG-03).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::delivery::Clock;
use super::status::Board;
use crate::adapters::store::Store;
use crate::config::notifications::{self, CatalogMode, Notifications};
use crate::config::secret::Secret;
use crate::core::value::{Map, MapKind};

/// Keys of last good sources in the store begin so.
const GOOD: &str = "notifications/good/";

/// The compiled configuration with what the languages see of the Secret.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// Rules, services, problems.
    pub notifications: Notifications,
    /// `secrets`, as conditions and templates see it.
    pub secrets: Map,
    /// Some condition reads the clock (EXP-04).
    pub reads_clock: bool,
    /// The documents were read; before that nothing is known of what people want.
    pub loaded: bool,
}

impl Default for Compiled {
    fn default() -> Self {
        let (notifications, secrets) = (Notifications::default(), Map::new(MapKind::Bytes));
        Compiled { notifications, secrets, reads_clock: false, loaded: false }
    }
}

/// The two documents, as far as they exist (CFG-02: a missing one is empty).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Documents {
    /// The ConfigMap's entries.
    pub config: Option<BTreeMap<String, String>>,
    /// The Secret's entries.
    pub secret: Option<BTreeMap<String, Secret>>,
}

/// Compiles documents; `last_good` are the sources to fall back to.
pub fn compile(documents: &Documents, last_good: &BTreeMap<String, String>, catalog: CatalogMode) -> Compiled {
    let (empty_config, empty_secret) = (BTreeMap::new(), BTreeMap::new());
    let config = documents.config.as_ref().unwrap_or(&empty_config);
    let secret = documents.secret.as_ref().unwrap_or(&empty_secret);
    let notifications = notifications::compile(config, secret, last_good, catalog);
    let reads_clock = notifications
        .rules
        .triggers
        .values()
        .flat_map(|trigger| &trigger.conditions)
        .any(|c| c.when.as_ref().is_some_and(|p| p.reads_clock()));
    let secrets = crate::adapters::services::template_secrets(secret);
    Compiled { notifications, secrets, reads_clock, loaded: true }
}

/// Follows the documents and publishes what they compile to.
pub struct Follower {
    /// Where the compiled configuration is published.
    pub rules: Arc<watch::Sender<Arc<Compiled>>>,
    /// Last good sources survive a restart here.
    pub store: Store,
    /// For faces.
    pub board: Board,
    /// `--builtin-catalog`.
    pub catalog: CatalogMode,
    /// Names the ConfigMap or file in problems.
    pub object: String,
    /// The outbox's time.
    pub clock: Clock,
}

/// What the texts of messages depend on: templates, `context`, the Secret.
fn rendering(documents: &Documents) -> (BTreeMap<&str, &str>, Option<&BTreeMap<String, Secret>>) {
    let keys = documents.config.iter().flatten();
    let keys = keys.filter(|(key, _)| key.starts_with("template.") || *key == "context");
    (keys.map(|(key, source)| (key.as_str(), source.as_str())).collect(), documents.secret.as_ref())
}

impl Follower {
    /// Runs until the stream ends or the token is cancelled. Unchanged documents publish nothing.
    pub async fn run(self, mut documents: impl Stream<Item = Documents> + Unpin, stop: CancellationToken) {
        let mut last_good: BTreeMap<String, String> = match self.store.texts(GOOD).await {
            Ok(texts) => texts.into_iter().map(|(k, v)| (k[GOOD.len()..].to_owned(), v)).collect(),
            Err(error) => {
                tracing::warn!("the last good configuration is not readable: {error}");
                BTreeMap::new()
            }
        };
        let mut before: Option<Documents> = None;
        loop {
            let next = tokio::select! {
                _ = stop.cancelled() => return,
                next = documents.next() => next,
            };
            let Some(next) = next else { return };
            if before.as_ref() == Some(&next) {
                continue;
            }
            let mut compiled = compile(&next, &last_good, self.catalog);
            for problem in &mut compiled.notifications.problems {
                problem.object.clone_from(&self.object);
            }
            self.keep_good(&mut last_good, &compiled.notifications.good).await;
            self.board.problems("notifications configuration", compiled.notifications.problems.clone());
            tracing::info!(
                triggers = compiled.notifications.rules.triggers.len(),
                templates = compiled.notifications.rules.templates.len(),
                services = compiled.notifications.services.len(),
                "configuration applied"
            );
            self.rules.send_replace(Arc::new(compiled));
            // A changed service is brought forward where services are replaced; this is for what is rendered again.
            let changed = before.as_ref().is_none_or(|before| rendering(before) != rendering(&next));
            if changed && let Err(error) = self.store.heal(None, true, self.clock.now()).await {
                tracing::warn!("parked deliveries stay parked: {error}");
            }
            before = Some(next);
            self.board.ready("configuration");
        }
    }

    async fn keep_good(&self, known: &mut BTreeMap<String, String>, good: &BTreeMap<String, String>) {
        for (key, source) in good {
            if known.get(key) != Some(source)
                && let Err(error) = self.store.set_text(&format!("{GOOD}{key}"), source).await
            {
                tracing::warn!(key, "the last good text is not kept: {error}");
            }
        }
        for key in known.keys().filter(|key| !good.contains_key(*key)) {
            if let Err(error) = self.store.remove_text(&format!("{GOOD}{key}")).await {
                tracing::warn!(key, "the text of a key that is gone stays in the store: {error}");
            }
        }
        known.clone_from(good);
    }
}

/// Documents read from files, again whenever one changes (PRB-04).
pub fn from_files(
    config: Option<PathBuf>,
    secret: Option<PathBuf>,
    names: (String, String),
) -> impl Stream<Item = Documents> {
    let state = (config, secret, names, None::<(Option<String>, Option<String>)>);
    futures::stream::unfold(state, |(config, secret, names, before)| async move {
        loop {
            let read = |path: &Option<PathBuf>| path.as_ref().and_then(|p| std::fs::read_to_string(p).ok());
            let now = (read(&config), read(&secret));
            if before.as_ref() != Some(&now) {
                let documents = Documents {
                    config: now.0.as_deref().and_then(|text| crate::config::documents::config_map(text, &names.0).ok()),
                    secret: now.1.as_deref().and_then(|text| crate::config::documents::secret(text, &names.1).ok()),
                };
                return Some((documents, (config, secret, names, Some(now))));
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    })
}
