//! Leases of coordination.k8s.io: read, made if absent, replaced only in the version that was read. There is no write
//! without that precondition: a delayed one could give two holders (image-updates.md CYC-2).

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease as Object, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Api;
use kube::api::PostParams;
use kube::core::ApiResource;

use super::{Call, Cluster, Error, within};

/// A Lease in the version it was read or written in.
#[derive(Clone, Debug)]
pub struct Lease(Object);

/// What a Lease says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Who holds it; empty: nobody.
    pub holder: String,
    /// How long after the last renewal it holds.
    pub lasts: Duration,
    /// When the holder took it.
    pub acquired: Option<Timestamp>,
    /// When it was last renewed, by the holder's clock: to be compared with itself only.
    pub renewed: Option<Timestamp>,
    /// How often the holder changed.
    pub transitions: i32,
}

impl Lease {
    /// What it says.
    pub fn claim(&self) -> Claim {
        let spec = self.0.spec.clone().unwrap_or_default();
        Claim {
            holder: spec.holder_identity.unwrap_or_default(),
            lasts: Duration::from_secs(spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok()).unwrap_or(0)),
            acquired: spec.acquire_time.map(|MicroTime(at)| at),
            renewed: spec.renew_time.map(|MicroTime(at)| at),
            transitions: spec.lease_transitions.unwrap_or(0),
        }
    }

    /// The version, which every write changes.
    pub fn version(&self) -> &str {
        self.0.metadata.resource_version.as_deref().unwrap_or_default()
    }
}

impl Claim {
    fn spec(&self) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.holder.clone()),
            lease_duration_seconds: Some(i32::try_from(self.lasts.as_secs()).unwrap_or(i32::MAX)),
            acquire_time: self.acquired.map(MicroTime),
            renew_time: self.renewed.map(MicroTime),
            lease_transitions: Some(self.transitions),
            ..LeaseSpec::default()
        }
    }
}

impl Cluster {
    /// Reads a Lease; `None` if there is none.
    pub async fn lease(&self, namespace: &str, name: &str) -> Result<Option<Lease>, Error> {
        let answer = self.leases(namespace);
        Ok(within(call("get", namespace, name), answer.get_opt(name)).await?.map(Lease))
    }

    /// Makes a Lease.
    ///
    /// # Errors
    /// [`Error::Conflict`] if somebody else has.
    pub async fn make_lease(&self, namespace: &str, name: &str, claim: &Claim) -> Result<Lease, Error> {
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let object = Object { metadata, spec: Some(claim.spec()) };
        let api = self.leases(namespace);
        within(call("create", namespace, name), api.create(&PostParams::default(), &object)).await.map(Lease)
    }

    /// Writes a Lease, if it still is in this version.
    ///
    /// # Errors
    /// [`Error::Conflict`] if it is not.
    pub async fn replace_lease(&self, lease: &Lease, claim: &Claim) -> Result<Lease, Error> {
        let mut object = lease.0.clone();
        object.spec = Some(claim.spec());
        let name = object.metadata.name.clone().unwrap_or_default();
        let namespace = object.metadata.namespace.clone().unwrap_or_default();
        let api = self.leases(&namespace);
        let parameters = PostParams::default();
        within(call("update", &namespace, &name), api.replace(&name, &parameters, &object)).await.map(Lease)
    }

    fn leases(&self, namespace: &str) -> Api<Object> {
        Api::namespaced(self.client.clone(), namespace)
    }
}

fn call(verb: &'static str, namespace: &str, name: &str) -> Call {
    Call::one(verb, &ApiResource::erase::<Object>(&()), Some(namespace), name)
}
