//! Writes to Applications: narrow patches, each with the precondition that makes it safe.

use std::fmt;
use std::str::FromStr;

use kube::Resource;
use kube::api::{Patch, PatchParams};
use kube::core::Request;
use serde_json::{Value as Json, json};

use super::application::applications;
use super::object::Object;
use super::{Call, Cluster, Error, within};
use crate::core::application::AppKey;

const REFRESH: &str = "argocd.argoproj.io/refresh";
const HYDRATE: &str = "argocd.argoproj.io/hydrate";
const NOTIFIED: &str = "notified.notifications.argoproj.io";

/// What Argo CD is asked to do with an Application after a push (image-updates.md GIT-14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// Compare with Git again.
    Normal,
    /// The same, without caches.
    Hard,
    /// Hydrate the dry source again.
    Hydrate,
}

impl FromStr for Refresh {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "normal" => Ok(Refresh::Normal),
            "hard" => Ok(Refresh::Hard),
            other => Err(format!("\"{other}\" is neither normal nor hard")),
        }
    }
}

impl fmt::Display for Refresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refresh::Normal => "normal",
            Refresh::Hard => "hard",
            Refresh::Hydrate => "hydrate",
        })
    }
}

/// A change of an object.
#[derive(Clone, Copy, Debug)]
pub enum Edit<'a> {
    /// RFC 7386: the object to merge in. Lists are replaced whole.
    Merge(&'a Json),
    /// RFC 6902: operations one after the other; the way to change one entry of a list.
    Steps(&'a [Json]),
}

impl Cluster {
    /// Changes an Application, if it still is at `version` (ARG-1); gives its new version.
    ///
    /// # Errors
    /// [`Error::Conflict`] if it is not: read it again and decide anew.
    pub async fn patch_application(&self, key: &AppKey, version: &str, edit: Edit<'_>) -> Result<String, Error> {
        match edit {
            Edit::Merge(patch) => {
                let mut fields = patch.as_object().cloned().unwrap_or_default();
                let mut metadata = fields.get("metadata").and_then(Json::as_object).cloned().unwrap_or_default();
                metadata.insert("resourceVersion".to_owned(), json!(version));
                fields.insert("metadata".to_owned(), Json::Object(metadata));
                self.merge(key, &Json::Object(fields)).await
            }
            Edit::Steps(steps) => {
                // Setting the version to a stale one is a conflict; a failed `test` would be 422 without a reason.
                let pin = json!({ "op": "replace", "path": "/metadata/resourceVersion", "value": version });
                let steps: Vec<Json> = std::iter::once(pin).chain(steps.iter().cloned()).collect();
                self.patch(key, "application/json-patch+json", &Json::Array(steps)).await
            }
        }
    }

    /// Asks Argo CD to look at an Application again.
    pub async fn refresh(&self, key: &AppKey, refresh: Refresh) -> Result<(), Error> {
        let (annotation, value) = match refresh {
            Refresh::Normal => (REFRESH, "normal"),
            Refresh::Hard => (REFRESH, "hard"),
            Refresh::Hydrate => (HYDRATE, "normal"),
        };
        self.merge(key, &json!({ "metadata": { "annotations": { annotation: value } } })).await.map(drop)
    }

    /// Writes, or with `None` removes, the annotation that holds what was sent for an Application, if it still is
    /// the object with this uid (notifications.md WRB-02).
    ///
    /// # Errors
    /// [`Error::Conflict`] if another object has its name by now.
    pub async fn write_notified(&self, key: &AppKey, uid: &str, state: Option<&str>) -> Result<(), Error> {
        let patch = json!({ "metadata": { "uid": uid, "annotations": { NOTIFIED: state } } });
        self.merge(key, &patch).await.map(drop)
    }

    async fn merge(&self, key: &AppKey, patch: &Json) -> Result<String, Error> {
        self.patch(key, "application/merge-patch+json", patch).await
    }

    async fn patch(&self, key: &AppKey, kind: &'static str, patch: &Json) -> Result<String, Error> {
        let resource = applications();
        let call = Call::one("patch", &resource, Some(&key.namespace), &key.name);
        let parameters = PatchParams { field_manager: Some("lynceus".to_owned()), ..PatchParams::default() };
        // Only the metadata comes back: the object itself arrives by the watch.
        let request = Request::new(Object::url_path(&resource, Some(&key.namespace)));
        let mut request = request
            .patch_metadata(&key.name, &parameters, &Patch::Merge(patch))
            .map_err(|e| Error::Invalid { call: Box::new(call.clone()), text: e.to_string() })?;
        // The text is the same for both kinds of patch; only its name differs.
        request.headers_mut().insert("content-type", axum::http::HeaderValue::from_static(kind));
        match within(call, self.client.request::<Object>(request)).await {
            Ok(object) => Ok(object.version().to_owned()),
            // A foreign uid is 409 or, where the object is validated first, 422.
            Err(Error::Invalid { call, text }) if text.contains("metadata.uid: Invalid value") => {
                Err(Error::Conflict { call, text })
            }
            Err(e) => Err(e),
        }
    }
}
