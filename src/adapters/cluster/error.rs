//! What can go wrong with the Kubernetes API, said with verb, resource and place.

use std::fmt;
use std::time::Duration;

use kube::core::ApiResource;

use crate::core::problem::Problem;
use crate::core::retry::{Retry, retry_after};

/// What was asked of the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// `get`, `list`, `watch`, `patch`, `create`.
    pub verb: &'static str,
    /// The resource with its group: `applications.argoproj.io`, `secrets`.
    pub resource: String,
    /// Namespace; `None` is the whole cluster.
    pub namespace: Option<String>,
    /// Name of the one object, empty if several.
    pub name: String,
}

impl Call {
    pub(super) fn one(verb: &'static str, resource: &ApiResource, namespace: Option<&str>, name: &str) -> Call {
        let resource = match resource.group.as_str() {
            "" => resource.plural.clone(),
            group => format!("{}.{group}", resource.plural),
        };
        Call { verb, resource, namespace: namespace.map(str::to_owned), name: name.to_owned() }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.name.is_empty() {
            write!(f, " {}", self.name)?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " in namespace {namespace}"),
            None => write!(f, " in all namespaces"),
        }
    }
}

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No usable kubeconfig or pod environment.
    #[error("{0}")]
    Config(String),
    /// 401 or 403: the ServiceAccount's Role does not grant this.
    #[error("{call}: not permitted ({text})")]
    Forbidden {
        /// What was asked.
        call: Box<Call>,
        /// The server's reason.
        text: String,
    },
    /// 409, or a failed precondition: the object is no longer the one that was read.
    #[error("{call}: the object has changed meanwhile ({text})")]
    Conflict {
        /// What was asked.
        call: Box<Call>,
        /// The server's reason.
        text: String,
    },
    /// 404: there is no such object, or the cluster does not know the kind.
    #[error("{call}: not found ({text})")]
    Missing {
        /// What was asked.
        call: Box<Call>,
        /// The server's reason.
        text: String,
    },
    /// The server refuses the request itself.
    #[error("{call}: refused ({text})")]
    Invalid {
        /// What was asked.
        call: Box<Call>,
        /// The server's reason.
        text: String,
    },
    /// 410: the version asked for is older than what the server remembers. Only a new list helps.
    #[error("{call}: too old ({text})")]
    Expired {
        /// What was asked.
        call: Box<Call>,
        /// The server's reason.
        text: String,
    },
    /// Not reached, overloaded, or no answer in time.
    #[error("{call}: {text}")]
    Unavailable {
        /// What was asked.
        call: Box<Call>,
        /// The reason.
        text: String,
        /// When the server says to come back.
        after: Option<Duration>,
    },
    /// The object was read but is not what it should be.
    #[error("{0}")]
    Undecodable(Box<Problem>),
}

impl Error {
    pub(super) fn of(call: Call, error: kube::Error) -> Error {
        match error {
            kube::Error::Api(status) => Error::status(call, &status),
            other => Error::unavailable(call, causes(&other)),
        }
    }

    pub(super) fn unavailable(call: Call, text: String) -> Error {
        Error::Unavailable { call: Box::new(call), text, after: None }
    }

    pub(super) fn status(call: Call, status: &kube::core::Status) -> Error {
        let call = Box::new(call);
        let text = status.message.clone();
        match status.code {
            401 | 403 => Error::Forbidden { call, text },
            404 => Error::Missing { call, text },
            409 => Error::Conflict { call, text },
            410 => Error::Expired { call, text },
            408 | 429 | 500.. | 0 => {
                let seconds = status.details.as_ref().map_or(0, |d| d.retry_after_seconds);
                let after = (seconds > 0).then(|| retry_after(Duration::from_secs(seconds.into())));
                Error::Unavailable { call, text, after }
            }
            _ => Error::Invalid { call, text },
        }
    }

    /// The kind of problem this is (image-updates.md §22).
    pub fn code(&self) -> &'static str {
        match self {
            Error::Forbidden { .. } => "kubernetes-forbidden",
            Error::Conflict { .. } => "kubernetes-conflict",
            Error::Config(_) | Error::Missing { .. } | Error::Expired { .. } | Error::Unavailable { .. } => {
                "kubernetes-unavailable"
            }
            Error::Invalid { .. } => "internal",
            Error::Undecodable(problem) => problem.code,
        }
    }

    /// Whether the same call may succeed later by itself. A conflict is not repeated but decided anew.
    pub fn retry(&self) -> Retry {
        match self {
            Error::Unavailable { after: Some(after), .. } => Retry::After(*after),
            Error::Unavailable { .. } | Error::Expired { .. } => Retry::Backoff,
            _ => Retry::Never,
        }
    }

    /// The same as a problem, with what would help.
    pub fn problem(&self) -> Problem {
        let problem = Problem::error(self.code(), self.to_string());
        match self {
            Error::Undecodable(problem) => problem.as_ref().clone(),
            Error::Forbidden { call, .. } => {
                problem.hint(format!("grant \"{}\" on {} by a Role", call.verb, call.resource))
            }
            _ => problem,
        }
    }
}

/// An error's whole chain: "error trying to connect" alone says nothing.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = cause.source();
    }
    text
}
