//! Kubernetes Events on Applications (image-updates.md §22).

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Api;
use kube::api::PostParams;

use super::object::resource;
use super::{Call, Cluster, Error, within};
use crate::adapters::redact;
use crate::core::application::AppKey;

/// The component name of Argo CD Image Updater, kept so that what people filter by still works.
const COMPONENT: &str = "ArgocdImageUpdater";

/// Normal or Warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteKind {
    /// Something was done.
    Normal,
    /// Something was not.
    Warning,
}

/// One Kubernetes Event to record on an Application.
#[derive(Clone, Debug)]
pub struct Note<'a> {
    /// The Application.
    pub app: &'a AppKey,
    /// Its uid.
    pub uid: &'a str,
    /// Its version, where known.
    pub version: &'a str,
    /// Makes the Event's name: the same id twice is one Event.
    pub id: &'a str,
    /// Normal or Warning.
    pub kind: NoteKind,
    /// `ImagesUpdated`, `ImageUpdateFailed` …
    pub reason: &'a str,
    /// The sentence people read.
    pub message: &'a str,
    /// Further facts.
    pub annotations: BTreeMap<String, String>,
    /// When it happened.
    pub at: Timestamp,
}

impl Cluster {
    /// Records an Event. One with the same id that is there already counts as recorded.
    pub async fn note(&self, note: &Note<'_>) -> Result<(), Error> {
        let name = event_name(&note.app.name, note.id);
        let event = event(note, &name);
        let api: Api<Event> = Api::namespaced(self.client.clone(), &note.app.namespace);
        let call = Call::one("create", &resource("", "Event", "events"), Some(&note.app.namespace), "");
        match within(call, api.create(&PostParams::default(), &event)).await {
            Ok(_) | Err(Error::Conflict { .. }) => Ok(()),
            Err(e) => Err(e),
        }
    }
}

/// `<application>.<id>`, in the letters and length a name may have.
fn event_name(app: &str, id: &str) -> String {
    let id: String = id.chars().filter(char::is_ascii_alphanumeric).take(40).collect();
    let mut app = app.to_owned();
    app.truncate(200);
    format!("{}.{}", app.trim_end_matches(['.', '-']), id.to_ascii_lowercase())
}

fn event(note: &Note<'_>, name: &str) -> Event {
    let time = Some(Time(note.at));
    Event {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(note.app.namespace.clone()),
            annotations: (!note.annotations.is_empty()).then(|| note.annotations.clone()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some("argoproj.io/v1alpha1".to_owned()),
            kind: Some("Application".to_owned()),
            namespace: Some(note.app.namespace.clone()),
            name: Some(note.app.name.clone()),
            uid: Some(note.uid.to_owned()).filter(|u| !u.is_empty()),
            resource_version: Some(note.version.to_owned()).filter(|v| !v.is_empty()),
            ..ObjectReference::default()
        },
        type_: Some(if note.kind == NoteKind::Normal { "Normal" } else { "Warning" }.to_owned()),
        reason: Some(note.reason.to_owned()),
        // The API server refuses longer ones.
        message: Some(redact::clean(note.message).chars().take(1000).collect()),
        source: Some(EventSource { component: Some(COMPONENT.to_owned()), host: None }),
        first_timestamp: time.clone(),
        last_timestamp: time,
        count: Some(1),
        ..Event::default()
    }
}
