//! What this ServiceAccount may do: asked at start, so that a missing verb is named before it is missed
//! (notifications.md SEC-08, WRB-04).

use std::fmt;

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::Api;
use kube::api::PostParams;

use super::{Call, Cluster, Error, within};

/// One thing to be allowed to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// `get`, `list`, `watch`, `patch`, `create`.
    pub verb: &'static str,
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Plural: `applications`.
    pub resource: &'static str,
    /// Namespace; `None` is the whole cluster.
    pub namespace: Option<String>,
    /// One object; `None` is every one.
    pub name: Option<String>,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.call().fmt(f)
    }
}

impl Access {
    fn call(&self) -> Call {
        let dot = if self.group.is_empty() { "" } else { "." };
        Call {
            verb: self.verb,
            resource: format!("{}{dot}{}", self.resource, self.group),
            namespace: self.namespace.clone(),
            name: self.name.clone().unwrap_or_default(),
        }
    }
}

impl Cluster {
    /// Whether this is permitted. Every ServiceAccount may ask.
    pub async fn can(&self, access: &Access) -> Result<bool, Error> {
        let attributes = ResourceAttributes {
            verb: Some(access.verb.to_owned()),
            group: Some(access.group.to_owned()),
            resource: Some(access.resource.to_owned()),
            namespace: access.namespace.clone(),
            name: access.name.clone(),
            ..ResourceAttributes::default()
        };
        let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
        let review = SelfSubjectAccessReview { spec, ..Default::default() };
        let api: Api<SelfSubjectAccessReview> = Api::all(self.client.clone());
        let answer = within(access.call(), api.create(&PostParams::default(), &review)).await?;
        Ok(answer.status.is_some_and(|s| s.allowed))
    }

    /// Those of the wanted that are not permitted.
    pub async fn missing<'a>(&self, wanted: &'a [Access]) -> Result<Vec<&'a Access>, Error> {
        let mut missing = Vec::new();
        for access in wanted {
            if !self.can(access).await? {
                missing.push(access);
            }
        }
        Ok(missing)
    }
}
