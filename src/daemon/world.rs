//! World: the adapters and settings that rounds, the committer and the commands share.

use std::collections::{BTreeMap, BTreeSet};
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
use crate::adapters::cluster::{Cluster, DocumentEvent, Namespaces, SecretObject};
use crate::adapters::git::Git;
use crate::adapters::http::Http;
use crate::adapters::registry::Registries;
use crate::adapters::store::Store;
use crate::config::settings::{NativeAnnotations, Settings, Source};
use crate::core::application::AppKey;
use crate::core::problem::Problem;
use crate::core::template::{Functions, Template};
use crate::core::update::claims::Claim;

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
    /// Namespaces that hold an ImageUpdater object; `None` until that is known (OWN-2).
    pub updaters: Arc<watch::Sender<Option<BTreeSet<String>>>>,
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
            updaters: Arc::new(watch::channel(None).0),
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

    /// Whether it is known which namespaces hold ImageUpdater objects, as far as that matters.
    pub fn knows_updaters(&self) -> bool {
        let matters = self.settings.native_annotations == NativeAnnotations::Auto && !self.offline();
        !matters || self.cluster.is_none() || self.updaters.borrow().is_some()
    }

    /// Whether the image half may manage an Application by its annotations: its namespace is among the watched ones
    /// (SRC-2, TEN-1), and annotations count there without an ImageUpdater object (OWN-2, OWN-3).
    pub fn governs(&self, key: &AppKey) -> bool {
        let settings = &self.settings;
        if !settings.match_names.is_empty() && !settings.match_names.iter().any(|glob| glob.matches(&key.name)) {
            return false;
        }
        if self.offline() {
            return settings.native_annotations != NativeAnnotations::False;
        }
        self.watches(&key.namespace)
            && match settings.native_annotations {
                NativeAnnotations::True => true,
                NativeAnnotations::False => false,
                NativeAnnotations::Auto => {
                    self.updaters.borrow().as_ref().is_none_or(|held| !held.contains(&key.namespace))
                }
            }
    }

    /// Whether the Applications of a namespace are watched (SRC-2).
    pub fn watches(&self, namespace: &str) -> bool {
        let settings = &self.settings;
        match Namespaces::parse(&settings.watch_namespaces, &settings.argocd_namespace) {
            Ok(Namespaces::All) => true,
            Ok(Namespaces::Own(own)) => namespace == own,
            Ok(Namespaces::List(names)) => names.iter().any(|name| name == namespace),
            Err(_) => false,
        }
    }

    /// Follows ImageUpdater objects until the token is cancelled; with `once` only until all are known.
    pub async fn follow_updaters(&self, once: bool, stop: CancellationToken) {
        let Some(cluster) = self.cluster.as_ref().filter(|_| !self.offline()) else { return };
        let settings = &self.settings;
        let Ok(watched) = Namespaces::parse(&settings.watch_namespaces, &settings.argocd_namespace) else { return };
        let mut events = std::pin::pin!(cluster.image_updaters(&watched));
        let mut objects: BTreeSet<(String, String)> = BTreeSet::new();
        let mut known = false;
        loop {
            let event = tokio::select! {
                _ = stop.cancelled() => return,
                event = events.next() => event,
            };
            match event {
                None => return,
                Some(DocumentEvent::Applied(object)) => {
                    objects.insert((object.namespace, object.name));
                }
                Some(DocumentEvent::Deleted(namespace, name)) => {
                    objects.remove(&(namespace, name));
                }
                Some(DocumentEvent::Ready | DocumentEvent::Up) => {
                    known = true;
                    self.board.problems("image updaters", Vec::new());
                }
                Some(DocumentEvent::Undecodable(problem)) => self.board.problems("image updaters", vec![problem]),
                Some(DocumentEvent::Down(text)) => {
                    // Whether somebody else governs an Application must be known before it is written.
                    let hint = "grant get, list, watch on imageupdaters, or start with --native-annotations=true";
                    let problem = Problem::error("kubernetes-unavailable", text).hint(hint);
                    self.board.problems("image updaters", vec![problem]);
                    if once {
                        return;
                    }
                }
            }
            if known {
                self.tell_updaters(&objects);
                if once {
                    return;
                }
            }
        }
    }

    fn tell_updaters(&self, objects: &BTreeSet<(String, String)>) {
        let held: BTreeSet<String> = objects.iter().map(|(namespace, _)| namespace.clone()).collect();
        let problems = objects.iter().map(|(namespace, name)| {
            let text = format!(
                "annotated Applications of namespace {namespace} are left to this object, which is not followed yet"
            );
            Problem::warning("image-updater-pending", text)
                .in_object(format!("ImageUpdater {namespace}/{name}"))
                .hint("start with --native-annotations=true to manage them by their annotations")
        });
        self.board.problems("pending image updaters", problems.collect());
        self.updaters.send_if_modified(|known| {
            let news = known.as_ref() != Some(&held);
            *known = Some(held);
            news
        });
    }

    /// The commit message's template; `None` is the built-in text.
    pub fn commit_template(&self) -> Option<Arc<Template>> {
        self.template.read().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// Reads the commit template again; a bad one is a problem and the last good one stays. An absent file means the
    /// built-in text.
    pub fn load_template(&self) -> Result<(), Problem> {
        let path = &self.settings.git.message_path;
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(_) => {
                *self.template.write().unwrap_or_else(|e| e.into_inner()) = None;
                return Ok(());
            }
        };
        let template = Template::parse(&text, Functions::Plain).map_err(|e| {
            Problem::error("config-invalid", e.text)
                .in_object(path.display().to_string())
                .at(e.line, e.column)
                .hint(e.hint)
        })?;
        *self.template.write().unwrap_or_else(|e| e.into_inner()) = Some(Arc::new(template));
        Ok(())
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
