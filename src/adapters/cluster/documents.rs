//! What people wrote in other objects than Applications: ConfigMaps, Secrets, AppProjects, ImageUpdaters, as plain
//! values for `config` and `core`.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use kube::core::ApiResource;
use serde::Deserialize;
use serde_json::Value as Json;

use super::follow::{Change, Which, follow, merged};
use super::object::{Object, resource};
use super::{Call, Cluster, Error, Namespaces, within};
use crate::config::secret::Secret;
use crate::core::problem::Problem;

/// The label by which Argo CD marks its own Secrets (`repository`, `repo-creds`, `cluster`).
const SECRET_TYPE: &str = "argocd.argoproj.io/secret-type";

/// How often a cluster without the ImageUpdater kind is asked whether it has it now: one small answer each time.
const LOOK_FOR_KIND: Duration = Duration::from_secs(30);

/// The same until the first answer.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// What a watch of documents tells. A document watched by name is absent if `Ready` comes without it.
#[derive(Debug)]
pub enum DocumentEvent<T> {
    /// A new or changed document.
    Applied(T),
    /// It is gone: namespace and name.
    Deleted(String, String),
    /// Everything that exists has been told.
    Ready,
    /// One document cannot be read.
    Undecodable(Problem),
    /// The documents cannot be listed or watched at present, and why. It is tried again.
    Down(String),
    /// They can again.
    Up,
}

/// What a watch of ImageUpdater objects tells.
#[derive(Debug)]
pub enum UpdaterEvent {
    /// As of any document.
    Document(DocumentEvent<ImageUpdater>),
    /// The cluster does not know the kind, or no longer: there is no object.
    NoKind,
    /// The Role does not grant reading them, and what it would have to. It is tried again.
    Forbidden(String),
}

/// A ConfigMap or Secret: who it is, and its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document<V> {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// The entries.
    pub data: BTreeMap<String, V>,
}

/// A ConfigMap's text entries; binary ones are left out.
pub type ConfigMap = Document<String>;
/// A Secret's entries.
pub type SecretObject = Document<Secret>;

/// An AppProject.
#[derive(Clone, Debug)]
pub struct Project {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Annotations: subscriptions live there (notifications.md SUB-10…12).
    pub annotations: BTreeMap<String, String>,
    /// The whole object, without `metadata.managedFields`.
    pub object: Json,
}

/// An ImageUpdater object (image-updates.md §5), not yet understood.
#[derive(Clone, Debug)]
pub struct ImageUpdater {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
    /// The whole object, without `metadata.managedFields`.
    pub object: Json,
}

impl Cluster {
    /// Watches one ConfigMap by name.
    pub fn config_map(
        &self,
        namespace: &str,
        name: &str,
    ) -> impl Stream<Item = DocumentEvent<ConfigMap>> + Send + use<> {
        let changes = follow(self, config_maps(), Some(namespace.to_owned()), named(name));
        changes.filter_map(async |change| told(change, config_map))
    }

    /// Reads one AppProject as it is now; `None` if there is none.
    pub async fn one_project(&self, namespace: &str, name: &str) -> Result<Option<Project>, Error> {
        let Some(object) = self.read(&projects(), namespace, name).await? else { return Ok(None) };
        project(&object).map(Some).map_err(|problem| Error::Undecodable(Box::new(problem)))
    }

    /// Reads one ConfigMap as it is now; `None` if there is none.
    pub async fn one_config_map(&self, namespace: &str, name: &str) -> Result<Option<ConfigMap>, Error> {
        let Some(object) = self.read(&config_maps(), namespace, name).await? else { return Ok(None) };
        config_map(&object).map(Some).map_err(|problem| Error::Undecodable(Box::new(problem)))
    }

    /// Watches one Secret by name.
    pub fn named_secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> impl Stream<Item = DocumentEvent<SecretObject>> + Send + use<> {
        let changes = follow(self, secrets(), Some(namespace.to_owned()), named(name));
        changes.filter_map(async |change| told(change, secret))
    }

    /// Watches the Secrets of a namespace in which Argo CD keeps access to repositories (RBAC-2).
    pub fn repository_secrets(
        &self,
        namespace: &str,
    ) -> impl Stream<Item = DocumentEvent<SecretObject>> + Send + use<> {
        let labels = Some(format!("{SECRET_TYPE} in (repository,repo-creds)"));
        let changes = follow(self, secrets(), Some(namespace.to_owned()), Which { labels, fields: None });
        changes.filter_map(async |change| told(change, secret))
    }

    /// Watches AppProjects (SUB-12).
    pub fn projects(&self, namespaces: &Namespaces) -> impl Stream<Item = DocumentEvent<Project>> + Send + use<> {
        merged(self, &projects(), namespaces.places(), &Which::default())
            .filter_map(async |change| told(change, project))
    }

    /// Reads one Secret as it is now; `None` if there is none.
    pub async fn secret(&self, namespace: &str, name: &str) -> Result<Option<SecretObject>, Error> {
        let Some(object) = self.read(&secrets(), namespace, name).await? else { return Ok(None) };
        secret(&object).map(Some).map_err(undecodable)
    }

    /// Reads one ConfigMap as it is now; `None` if there is none.
    pub async fn config_map_now(&self, namespace: &str, name: &str) -> Result<Option<ConfigMap>, Error> {
        let Some(object) = self.read(&config_maps(), namespace, name).await? else { return Ok(None) };
        config_map(&object).map(Some).map_err(undecodable)
    }

    /// Whether the cluster knows ImageUpdater objects at all.
    pub async fn knows_image_updaters(&self) -> Result<bool, Error> {
        let kind = image_updaters();
        let call = Call::one("get", &kind, None, "");
        let known = within(call, self.client.list_api_group_resources(&kind.api_version)).await;
        match known {
            Ok(list) => Ok(list.resources.iter().any(|r| r.name == kind.plural)),
            Err(Error::Missing { .. }) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Watches ImageUpdater objects (OWN-2, OWN-3). Where the kind does not exist, it is looked for now and then.
    pub fn image_updaters(&self, namespaces: &Namespaces) -> impl Stream<Item = UpdaterEvent> + Send + use<> {
        enum State {
            Ask { told: bool, pause: Duration },
            Follow(BoxStream<'static, Change>),
        }
        let (cluster, places) = (self.clone(), namespaces.places());
        stream::unfold(State::Ask { told: false, pause: Duration::ZERO }, move |mut state| {
            let (cluster, places) = (cluster.clone(), places.clone());
            async move {
                let gone = State::Ask { told: true, pause: LOOK_FOR_KIND };
                loop {
                    match state {
                        State::Follow(mut changes) => {
                            let event = match changes.next().await? {
                                // The custom resource was taken away.
                                Change::Down(Error::Missing { .. }) => return Some((UpdaterEvent::NoKind, gone)),
                                Change::Down(Error::Forbidden { call, .. })
                                | Change::Polled(Error::Forbidden { call, .. }) => {
                                    Some(UpdaterEvent::Forbidden(call.to_string()))
                                }
                                change => told(change, image_updater).map(UpdaterEvent::Document),
                            };
                            state = State::Follow(changes);
                            if let Some(event) = event {
                                return Some((event, state));
                            }
                        }
                        State::Ask { told, pause } => {
                            tokio::time::sleep(pause).await;
                            match cluster.knows_image_updaters().await {
                                Ok(true) => {
                                    let which = Which::default();
                                    let changes = merged(&cluster, &image_updaters(), places.clone(), &which);
                                    state = State::Follow(changes.boxed());
                                }
                                Ok(false) if told => state = State::Ask { told, pause: LOOK_FOR_KIND },
                                Ok(false) => return Some((UpdaterEvent::NoKind, gone)),
                                Err(Error::Forbidden { call, .. }) => {
                                    let state = State::Ask { told: false, pause: LOOK_FOR_KIND };
                                    return Some((UpdaterEvent::Forbidden(call.to_string()), state));
                                }
                                Err(e) => {
                                    let pause = if told { LOOK_FOR_KIND } else { ASK_AGAIN };
                                    let event = UpdaterEvent::Document(DocumentEvent::Down(e.to_string()));
                                    return Some((event, State::Ask { told: false, pause }));
                                }
                            }
                        }
                    }
                }
            }
        })
    }
}

fn config_maps() -> ApiResource {
    resource("", "ConfigMap", "configmaps")
}

fn projects() -> ApiResource {
    resource("argoproj.io", "AppProject", "appprojects")
}

fn secrets() -> ApiResource {
    resource("", "Secret", "secrets")
}

fn image_updaters() -> ApiResource {
    resource("argocd-image-updater.argoproj.io", "ImageUpdater", "imageupdaters")
}

/// A Role that names an object allows its list and watch only with exactly this selector.
fn named(name: &str) -> Which {
    Which { labels: None, fields: Some(format!("metadata.name={name}")) }
}

fn told<T>(change: Change, read: impl Fn(&Object) -> Result<T, Problem>) -> Option<DocumentEvent<T>> {
    Some(match change {
        Change::Restarted => return None,
        Change::Applied(object) => match read(&object) {
            Ok(document) => DocumentEvent::Applied(document),
            Err(problem) => DocumentEvent::Undecodable(problem),
        },
        Change::Deleted { namespace, name, .. } => DocumentEvent::Deleted(namespace, name),
        Change::Ready => DocumentEvent::Ready,
        Change::Down(error) | Change::Polled(error) => DocumentEvent::Down(error.to_string()),
        Change::Up => DocumentEvent::Up,
    })
}

#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    metadata: WireMeta,
    #[serde(default)]
    data: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
struct WireMeta {
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

fn config_map(object: &Object) -> Result<ConfigMap, Problem> {
    document("ConfigMap", object, |_, text| Ok(text))
}

fn secret(object: &Object) -> Result<SecretObject, Problem> {
    document("Secret", object, |key, text| {
        let bytes = base64::engine::general_purpose::STANDARD.decode(text.as_bytes());
        bytes.map(Secret::new).map_err(|_| Problem::error("credentials-invalid", "not base64").at_key(key))
    })
}

fn document<V>(
    kind: &str,
    object: &Object,
    value: impl Fn(&str, String) -> Result<V, Problem>,
) -> Result<Document<V>, Problem> {
    let (namespace, name) = object.key();
    let label = format!("{kind} {namespace}/{name}");
    // serde_json's errors quote what they found, which may be a Secret's: only the position is passed on.
    let wire: Wire = serde_json::from_str(object.text()).map_err(|e| {
        Problem::error("config-invalid", format!("not readable as a {kind}, byte {}", e.column())).in_object(&label)
    })?;
    let mut data = BTreeMap::new();
    for (key, text) in wire.data.unwrap_or_default() {
        let value = value(&key, text).map_err(|problem| problem.in_object(&label))?;
        data.insert(key, value);
    }
    let labels = wire.metadata.labels.unwrap_or_default();
    let annotations = wire.metadata.annotations.unwrap_or_default();
    Ok(Document { namespace, name, labels, annotations, data })
}

fn undecodable(problem: Problem) -> Error {
    Error::Undecodable(Box::new(problem))
}

fn project(object: &Object) -> Result<Project, Problem> {
    let (namespace, name) = object.key();
    let json = json(object, "AppProject")?;
    let annotations = json["metadata"]["annotations"].as_object();
    let annotations = annotations.into_iter().flatten().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())));
    Ok(Project { namespace, name, annotations: annotations.collect(), object: json.clone() })
}

fn image_updater(object: &Object) -> Result<ImageUpdater, Problem> {
    let (namespace, name) = object.key();
    let json = json(object, "ImageUpdater")?;
    Ok(ImageUpdater { namespace, name, uid: object.uid().to_owned(), object: json })
}

fn json(object: &Object, kind: &str) -> Result<Json, Problem> {
    let (namespace, name) = object.key();
    let mut json: Json = serde_json::from_str(object.text()).map_err(|e| {
        Problem::error("config-invalid", format!("not readable: {e}")).in_object(format!("{kind} {namespace}/{name}"))
    })?;
    if let Some(metadata) = json.get_mut("metadata").and_then(Json::as_object_mut) {
        metadata.remove("managedFields");
    }
    Ok(json)
}
