//! World: the adapters and settings that rounds, the committer and the commands share.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Instant;

use futures::StreamExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::delivery::Tally;
use super::leader::Gate;
use super::metrics::Metrics;
use super::notifier::Projects;
use super::poller::memory::Polls;
use super::status::Board;
use super::watcher::Applications;
use crate::adapters::cluster::{Cluster, DocumentEvent, SecretObject};
use crate::adapters::git::Git;
use crate::adapters::http::Http;
use crate::adapters::registry::Registries;
use crate::adapters::store::Store;
use crate::config::settings::{Settings, Source};
use crate::core::application::AppKey;
use crate::core::problem::Problem;
use crate::core::template::{Functions, Template};
use crate::core::update::claims::Claim;
use crate::core::update::ownership::Ownership;

/// The Secrets with access to repositories were read, or cannot be.
const SECRETS_KNOWN: &str = "repository secrets";

/// Everything a round works with. Cloning is cheap.
#[derive(Clone)]
pub struct World {
    /// What the process was told.
    pub settings: Arc<Settings>,
    /// Registries.
    pub registries: Registries,
    /// Git.
    pub git: Git,
    /// The API, where there is a cluster.
    pub cluster: Option<Cluster>,
    /// Secrets.
    pub secrets: Secrets,
    /// AppProjects.
    pub projects: Projects,
    /// The store; commands that write nothing have none.
    pub store: Option<Store>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// For faces.
    pub board: Board,
    /// The ImageUpdater objects there are; `None` until that is known (OWN-2, OWN-3).
    pub owners: Arc<watch::Sender<Option<Arc<Ownership>>>>,
    /// The one HTTP client.
    pub http: Http,
    /// Delivery's figures.
    pub tally: Arc<Tally>,
    /// The commit message's template, if one is configured and good.
    pub template: Arc<RwLock<Option<Arc<Template>>>>,
    /// What every Application that was looked at wants where (OWN-6).
    pub claims: Arc<Mutex<BTreeMap<AppKey, Vec<Claim>>>>,
    /// The label by which Argo CD marks what an Application manages, and when it was asked for.
    pub instance_label: Arc<Mutex<Option<(Instant, String)>>>,
    /// Every Application that is watched; empty for commands that look once.
    pub applications: Applications,
    /// What is remembered of polls between rounds.
    pub polls: Arc<Polls>,
    /// What an earlier run left, for commands that only explain; nothing is written from it (REG-12).
    pub past: Option<Store>,
    /// Whether images may be written now.
    pub gate: Gate,
}

impl World {
    /// A world without cluster, Secrets and store, where nothing has happened yet.
    pub fn new(settings: Settings, registries: Registries, git: Git, http: Http) -> World {
        World {
            settings: Arc::new(settings),
            registries,
            git,
            cluster: None,
            secrets: Secrets::None,
            projects: Arc::default(),
            store: None,
            metrics: Arc::default(),
            board: Board::default(),
            owners: Arc::new(watch::channel(None).0),
            http,
            tally: Arc::default(),
            template: Arc::default(),
            polls: Arc::default(),
            past: None,
            gate: Gate::default(),
            claims: Arc::default(),
            instance_label: Arc::default(),
            applications: Applications::default(),
        }
    }

    /// No cluster is the source of Applications: manifests are.
    pub fn offline(&self) -> bool {
        self.settings.source != Source::Cluster
    }

    /// The commit message's template; `None` is the built-in text.
    pub fn commit_template(&self) -> Option<Arc<Template>> {
        self.template.read().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// Reads the commit template again; a bad one is a problem and the last good one stays. An absent file means the
    /// built-in text. Gives whether another one is in use now.
    ///
    /// # Errors
    /// Why the file cannot be used, and where in it.
    pub fn load_template(&self) -> Result<bool, Problem> {
        let path = &self.settings.git.message_path;
        let problem = |text: String| Problem::error("config-invalid", text).in_object(path.display().to_string());
        let text = match std::fs::read_to_string(path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(problem(error.to_string())),
        };
        if self.commit_template().as_ref().map(|template| template.source()) == text.as_deref() {
            return Ok(false);
        }
        let parsed = text.map(|text| Template::parse(&text, Functions::Plain)).transpose();
        let parsed = parsed.map_err(|e| problem(e.text).at(e.line, e.column).hint(e.hint))?;
        *self.template.write().unwrap_or_else(|e| e.into_inner()) = parsed.map(Arc::new);
        Ok(true)
    }
}

/// Where Secrets are read from.
#[derive(Clone)]
pub enum Secrets {
    /// The cluster, by name when needed; those that hold repositories are followed.
    Cluster(Cluster, Arc<RwLock<BTreeMap<(String, String), SecretObject>>>),
    /// Manifests in a directory.
    Files(Arc<BTreeMap<(String, String), SecretObject>>),
    /// Nowhere.
    None,
    /// Another place, whose answers are kept: for one round.
    Remembering(Box<Secrets>, Arc<Mutex<BTreeMap<(String, String), Kept>>>),
}

/// An answer of [`Secrets::one`].
type Kept = Result<Option<SecretObject>, Problem>;

impl Secrets {
    /// The same, asking for each Secret once.
    pub fn remembering(&self) -> Secrets {
        Secrets::Remembering(Box::new(self.clone()), Arc::default())
    }

    /// The same without what was remembered.
    pub fn afresh(&self) -> Secrets {
        match self {
            Secrets::Remembering(inner, _) => inner.afresh(),
            other => other.clone(),
        }
    }

    /// One Secret; `None` if it does not exist.
    pub async fn one(&self, namespace: &str, name: &str) -> Result<Option<SecretObject>, Problem> {
        match self {
            Secrets::Remembering(inner, kept) => {
                let key = (namespace.to_owned(), name.to_owned());
                let known = kept.lock().unwrap_or_else(|e| e.into_inner()).get(&key).cloned();
                if let Some(known) = known {
                    return known;
                }
                let found = Box::pin(inner.one(namespace, name)).await;
                kept.lock().unwrap_or_else(|e| e.into_inner()).insert(key, found.clone());
                found
            }
            Secrets::Cluster(cluster, _) => cluster.secret(namespace, name).await.map_err(|e| e.problem()),
            Secrets::Files(files) => Ok(files.get(&(namespace.to_owned(), name.to_owned())).cloned()),
            Secrets::None => Ok(None),
        }
    }

    /// Argo CD's Secrets with access to repositories.
    pub fn repositories(&self) -> Vec<SecretObject> {
        match self {
            Secrets::Remembering(inner, _) => inner.repositories(),
            Secrets::Cluster(_, known) => known.read().unwrap_or_else(|e| e.into_inner()).values().cloned().collect(),
            Secrets::Files(files) => {
                files.values().filter(|s| s.labels.contains_key("argocd.argoproj.io/secret-type")).cloned().collect()
            }
            Secrets::None => Vec::new(),
        }
    }

    /// Whether there is any place to look at.
    pub fn is_none(&self) -> bool {
        match self {
            Secrets::Remembering(inner, _) => inner.is_none(),
            other => matches!(other, Secrets::None),
        }
    }

    /// The Secrets among the manifests below a directory.
    pub fn from_directory(folder: &Path, namespace: &str) -> Result<Secrets, Problem> {
        let mut found = BTreeMap::new();
        for (_, document) in crate::adapters::manifests::documents(folder)? {
            if document["kind"].as_str() != Some("Secret") {
                continue;
            }
            let texts = |value: &serde_json::Value| -> BTreeMap<String, String> {
                let entries = value.as_object().into_iter().flatten();
                entries.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect()
            };
            let meta = &document["metadata"];
            let name = meta["name"].as_str().unwrap_or_default().to_owned();
            let own = meta["namespace"].as_str().unwrap_or(namespace).to_owned();
            let data = crate::config::documents::secret_entries(&document)
                .into_iter()
                .map(|(key, value)| (key, crate::config::secret::Secret::new(value)))
                .collect();
            let object = SecretObject {
                namespace: own.clone(),
                name: name.clone(),
                labels: texts(&meta["labels"]),
                annotations: texts(&meta["annotations"]),
                data,
            };
            found.insert((own, name), object);
        }
        Ok(Secrets::Files(Arc::new(found)))
    }

    /// Waits until it is known what there is: a round before that would find no credentials and say so.
    pub async fn known(&self, board: &Board) {
        if let Secrets::Cluster(..) = self {
            let mut status = board.subscribe();
            // An error means that nobody writes the Board any more: the process ends.
            let _ = status.wait_for(|status| status.ready.contains(SECRETS_KNOWN)).await;
        }
    }

    /// Follows the cluster's repository Secrets until the token is cancelled; `ready` is told when the first list is
    /// complete. Commands that look once stop at that moment.
    pub async fn follow(&self, namespace: &str, board: &Board, once: bool, stop: CancellationToken) {
        let Secrets::Cluster(cluster, known) = self else { return };
        let mut events = std::pin::pin!(cluster.repository_secrets(namespace));
        loop {
            let event = tokio::select! {
                _ = stop.cancelled() => return,
                event = events.next() => event,
            };
            let mut known = known.write().unwrap_or_else(|e| e.into_inner());
            match event {
                None => return,
                Some(DocumentEvent::Applied(secret)) => {
                    known.insert((secret.namespace.clone(), secret.name.clone()), secret);
                }
                Some(DocumentEvent::Deleted(namespace, name)) => {
                    known.remove(&(namespace, name));
                }
                Some(DocumentEvent::Ready) => {
                    board.problems("repository secrets", Vec::new());
                    board.ready(SECRETS_KNOWN);
                    if once {
                        return;
                    }
                }
                Some(DocumentEvent::Undecodable(problem)) => board.problems("repository secret", vec![problem]),
                Some(DocumentEvent::Down(text)) => {
                    let problem = Problem::warning("kubernetes-unavailable", text)
                        .hint("without these Secrets only git:secret:… and public repositories can be used");
                    board.problems("repository secrets", vec![problem]);
                    board.ready(SECRETS_KNOWN);
                    if once {
                        return;
                    }
                }
                Some(DocumentEvent::Up) => board.problems("repository secrets", Vec::new()),
            }
        }
    }
}
