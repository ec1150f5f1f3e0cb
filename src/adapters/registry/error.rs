//! What can go wrong at a registry, by the kinds of image-updates.md §22.

use crate::adapters::http;
use crate::core::problem::Problem;
use crate::core::retry::{Retry, retry_after};
use std::time::Duration;

/// A question a registry did not answer. Texts hold no credential and no URL beyond host and repository.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    /// The endpoint's entry in registries.conf is unusable (REG-3).
    #[error("{0}")]
    Config(Problem),
    /// No usable answer after the retries of one poll (REG-12).
    #[error("registry {registry} cannot be reached: {why}")]
    Unreachable { registry: String, why: http::Error },
    /// Credentials are missing, wrong or not allowed to go where the registry wants them (REG-13, REG-14).
    #[error("registry {registry}: {why}")]
    Auth { registry: String, why: String },
    /// The registry asked for silence (REG-11); nothing is sent before `after` is over.
    #[error("registry {registry} is throttling; next request in {} s", after.as_secs().max(1))]
    RateLimited { registry: String, after: Duration },
    /// The listing ended by error or limit and must not be used (REG-6).
    #[error("{registry}/{repository}: the listing is incomplete: {why}")]
    Incomplete { registry: String, repository: String, why: String },
    /// The registry knows no such repository or tag.
    #[error("{registry}/{what}: not found")]
    NotFound { registry: String, what: String },
    /// The registry refused for another reason.
    #[error("registry {registry} refused: {why}")]
    Refused { registry: String, why: http::Error },
    /// A manifest or image configuration that cannot be used; concerns one tag only.
    #[error("{0}")]
    Unusable(String),
}

impl Error {
    /// The kind in events, metrics and problems (§22).
    pub fn kind(&self) -> &'static str {
        match self {
            Error::Config(problem) => problem.code,
            Error::Unreachable { .. } | Error::Refused { .. } | Error::Unusable(_) => "registry-unreachable",
            Error::Auth { .. } => "registry-auth",
            Error::RateLimited { .. } => "registry-rate-limited",
            Error::Incomplete { .. } => "listing-incomplete",
            Error::NotFound { .. } => "reference-invalid",
        }
    }

    /// When asking again may help.
    pub fn retry(&self) -> Retry {
        match self {
            Error::RateLimited { after, .. } => Retry::After(retry_after(*after)),
            Error::Unreachable { why, .. } => match why.retry() {
                Retry::Never => Retry::Never,
                _ => Retry::Backoff,
            },
            Error::Incomplete { .. } => Retry::Backoff,
            _ => Retry::Never,
        }
    }

    /// The same for a person.
    pub fn problem(&self) -> Problem {
        match self {
            Error::Config(problem) => problem.clone(),
            other => Problem::error(other.kind(), other.to_string()),
        }
    }

    /// Whether it says something about one tag only, so that the others may still be judged (REG-9).
    pub(super) fn concerns_one_tag(&self) -> bool {
        match self {
            Error::NotFound { .. } | Error::Unusable(_) | Error::Refused { .. } => true,
            // A blob that always answers 500 must not hold up the repository; a dead network must.
            Error::Unreachable { why, .. } => {
                matches!(why, http::Error::Status { .. } | http::Error::TooLarge { .. } | http::Error::BadReply { .. })
            }
            _ => false,
        }
    }
}
