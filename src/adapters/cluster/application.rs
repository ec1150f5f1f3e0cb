//! Applications: the watch, and one by its key.

use std::sync::Arc;

use futures::{Stream, StreamExt};
use kube::core::ApiResource;

use super::follow::{Change, Which, merged};
use super::object::{Object, resource};
use super::{Cluster, Error, Namespaces};
use crate::core::application::{AppKey, Application};
use crate::core::problem::Problem;

/// What the watch of Applications tells, in the order it happened (notifications.md CT-01, CT-12, CT-13).
#[derive(Debug)]
pub enum AppEvent {
    /// A list begins in at least one namespace: what happens now is a comparison with what was known. Keep what you
    /// hold; what has gone meanwhile follows as `Deleted`, and unchanged Applications are not repeated.
    Restarted,
    /// A new or changed version.
    Applied(Arc<Application>),
    /// Gone from what is watched: deleted, or no longer selected. The uid is that of the object that went.
    Deleted(AppKey, String),
    /// Every namespace's list is complete.
    Ready,
    /// A version that cannot be read. Its earlier version, if any, no longer is the truth.
    Undecodable(AppKey, Problem),
    /// A namespace's Applications cannot be listed or watched at present, and why. It is tried again.
    Down(String),
    /// They can be listed but not watched: changes are seen by a list now and then.
    Polled(String),
    /// They can again.
    Up,
}

pub(super) fn applications() -> ApiResource {
    resource("argoproj.io", "Application", "applications")
}

impl Cluster {
    /// Watches Applications, optionally only those a label selector takes (SRC-1, SRC-2). Memory in use is one list
    /// page and a name, uid and version for each Application.
    pub fn applications(
        &self,
        namespaces: &Namespaces,
        selector: Option<&str>,
    ) -> impl Stream<Item = AppEvent> + Send + use<> {
        let which = Which { labels: selector.filter(|s| !s.is_empty()).map(str::to_owned), fields: None };
        merged(self, &applications(), namespaces.places(), &which).filter_map(async |change| match change {
            Change::Restarted => Some(AppEvent::Restarted),
            Change::Applied(object) => Some(decoded(&object)),
            Change::Deleted { namespace, name, uid } => Some(AppEvent::Deleted(AppKey { namespace, name }, uid)),
            Change::Ready => Some(AppEvent::Ready),
            Change::Down(error) => Some(AppEvent::Down(error.to_string())),
            Change::Polled(error) => Some(AppEvent::Polled(error.to_string())),
            Change::Up => Some(AppEvent::Up),
        })
    }

    /// Reads one Application as it is now; `None` if there is none.
    pub async fn application(&self, key: &AppKey) -> Result<Option<Application>, Error> {
        let Some(object) = self.read(&applications(), &key.namespace, &key.name).await? else { return Ok(None) };
        let decoded = Application::decode(object.text());
        let named = |problem: Problem| problem.in_object(format!("Application {key}"));
        decoded.map(Some).map_err(|problem| Error::Undecodable(Box::new(named(problem))))
    }
}

fn decoded(object: &Object) -> AppEvent {
    let (namespace, name) = object.key();
    let key = AppKey { namespace, name };
    match Application::decode(object.text()) {
        Ok(application) => AppEvent::Applied(Arc::new(application)),
        Err(problem) => {
            let problem = problem.in_object(format!("Application {key}"));
            AppEvent::Undecodable(key, problem)
        }
    }
}
