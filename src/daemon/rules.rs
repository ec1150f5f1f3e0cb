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
use crate::config::documents::{self, Entries};
use crate::config::notifications::{self, CatalogMode, Notifications};
use crate::config::secret::Secret;
use crate::core::notify::Rules;
use crate::core::notify::known::Known;
use crate::core::problem::Problem;
use crate::core::value::{Map, MapKind};

/// Keys of last good sources in the store begin so.
const GOOD: &str = "notifications/good/";

/// Definitions of triggers in the store begin so.
const KNOWN: &str = "notifications/known/";

/// The compiled configuration with what the languages see of the Secret.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// Rules, services, problems.
    pub notifications: Notifications,
    /// `secrets`, as conditions and templates see it.
    pub secrets: Map,
    /// The documents were read; before that nothing is known of what people want.
    pub loaded: bool,
}

impl Default for Compiled {
    fn default() -> Self {
        let (notifications, secrets) = (Notifications::default(), Map::new(MapKind::Bytes));
        Compiled { notifications, secrets, loaded: false }
    }
}

/// The two documents, as far as they exist (CFG-02: a missing one is empty).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Documents {
    /// The ConfigMap's entries.
    pub config: Option<BTreeMap<String, String>>,
    /// The Secret's entries.
    pub secret: Option<BTreeMap<String, Secret>>,
    /// What is not readable where they come from.
    pub problems: Vec<Problem>,
}

impl Documents {
    /// Everything to be said of the documents as such; an absent one is no mistake (CFG-02).
    fn remarks(&self) -> Vec<Problem> {
        let absent = |there: bool, what: &str, then: &str| {
            (!there).then(|| Problem::info("DocumentMissing", format!("there is no {what}: {then}")))
        };
        let config = absent(self.config.is_some(), "ConfigMap", "only built-in triggers and templates are known");
        let secret = absent(self.secret.is_some(), "Secret", "no `$key` has a value");
        self.problems.iter().cloned().chain(config).chain(secret).collect()
    }
}

/// Compiles documents; `last_good` are the sources to fall back to.
pub fn compile(documents: &Documents, last_good: &BTreeMap<String, String>, catalog: CatalogMode) -> Compiled {
    let (empty_config, empty_secret) = (BTreeMap::new(), BTreeMap::new());
    let config = documents.config.as_ref().unwrap_or(&empty_config);
    let secret = documents.secret.as_ref().unwrap_or(&empty_secret);
    let notifications = notifications::compile(config, secret, last_good, catalog);
    let secrets = crate::adapters::services::template_secrets(secret);
    Compiled { notifications, secrets, loaded: true }
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
        let mut last_good = self.kept(GOOD).await;
        let mut known = Known::from_texts(&self.kept(KNOWN).await);
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
            self.keep_known(&mut known, &mut compiled.notifications.rules).await;
            self.board.problems("notifications documents", next.remarks());
            // Undefined names are told with the Applications concerned (CFG-14).
            let mut problems = compiled.notifications.problems.clone();
            problems.retain(|problem| !problem.names_undefined());
            self.board.problems("notifications configuration", problems);
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

    /// What the store holds under a prefix.
    async fn kept(&self, prefix: &str) -> BTreeMap<String, String> {
        match self.store.texts(prefix).await {
            Ok(texts) => texts.into_iter().map(|(key, text)| (key[prefix.len()..].to_owned(), text)).collect(),
            Err(error) => {
                tracing::warn!("the configuration as it was is not readable: {error}");
                BTreeMap::new()
            }
        }
    }

    /// Notes how the triggers are defined now, before anything is evaluated by it (ST-13).
    async fn keep_known(&self, known: &mut Known, rules: &mut Rules) {
        let now = known.observe(&rules.triggers, self.clock.now().as_second());
        let (before, texts) = (known.texts(), now.texts());
        for (name, text) in texts.iter().filter(|(name, text)| before.get(*name) != Some(text)) {
            if let Err(error) = self.store.set_text(&format!("{KNOWN}{name}"), text).await {
                tracing::warn!(trigger = name, "its definition is not kept: {error}");
            }
        }
        for name in before.keys().filter(|name| !texts.contains_key(*name)) {
            if let Err(error) = self.store.remove_text(&format!("{KNOWN}{name}")).await {
                tracing::warn!(trigger = name, "its old definition stays in the store: {error}");
            }
        }
        now.equip(&mut rules.triggers);
        rules.known = now.clone();
        *known = now;
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

/// Documents read from files, again whenever one changes (PRB-04). While a file cannot be read, what it held stays in
/// force; one that is not there is empty (CFG-02).
pub fn from_files(
    config: Option<PathBuf>,
    secret: Option<PathBuf>,
    names: (String, String),
) -> impl Stream<Item = Documents> {
    let files = Files { config, secret, names, before: None, told: Documents::default() };
    futures::stream::unfold(files, |mut files| async move {
        loop {
            if let Some(documents) = files.look() {
                return Some((documents, files));
            }
            tokio::time::sleep(LOOK).await;
        }
    })
}

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(1);

struct Files {
    config: Option<PathBuf>,
    secret: Option<PathBuf>,
    names: (String, String),
    before: Option<(Text, Text)>,
    told: Documents,
}

/// A file's text; `None` if there is none, an error if it cannot be read.
type Text = Result<Option<String>, String>;

fn text(path: Option<&PathBuf>) -> Text {
    match path.map(std::fs::read_to_string) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text)),
        Some(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Some(Err(error)) => Err(error.to_string()),
    }
}

impl Files {
    fn look(&mut self) -> Option<Documents> {
        let now = (text(self.config.as_ref()), text(self.secret.as_ref()));
        if self.before.as_ref() == Some(&now) {
            return None;
        }
        let mut problems = Vec::new();
        let config = entries(&now.0, |text| documents::config_map(text, &self.names.0), &self.config, &mut problems);
        let secret = entries(&now.1, |text| documents::secret(text, &self.names.1), &self.secret, &mut problems);
        self.told = Documents {
            config: config.unwrap_or_else(|| self.told.config.clone()),
            secret: secret.unwrap_or_else(|| self.told.secret.clone()),
            problems,
        };
        self.before = Some(now);
        Some(self.told.clone())
    }
}

/// What a file's text holds; `None` if it says nothing readable.
fn entries<V>(
    text: &Text,
    read: impl Fn(&str) -> Result<Entries<V>, Problem>,
    path: &Option<PathBuf>,
    problems: &mut Vec<Problem>,
) -> Option<Option<BTreeMap<String, V>>> {
    let named = |problem: Problem| match path {
        Some(path) => problem.in_object(path.display().to_string()),
        None => problem,
    };
    let unreadable = |error: &String| Problem::error("FileUnreadable", error.clone());
    match text.as_ref().map_err(unreadable).and_then(|text| text.as_deref().map(read).transpose()) {
        Ok(None) => Some(None),
        Ok(Some(found)) => {
            problems.extend(found.problems.into_iter().map(named));
            Some(Some(found.entries))
        }
        Err(problem) => {
            problems.push(named(problem).hint("what the file held before stays in force"));
            None
        }
    }
}

#[cfg(test)]
mod tests;
