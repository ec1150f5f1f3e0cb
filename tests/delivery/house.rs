//! What these tests share: services from their YAML, contexts, certificates.

use std::collections::BTreeMap;
use std::sync::{Arc, Once};
use std::time::Duration;

use jiff::Timestamp;
use lynceus::adapters::http::{Gate, Http};
use lynceus::adapters::services::{SendContext, Service};
use lynceus::config::secret::Secret;
use lynceus::config::services::service;
use lynceus::demo::inbox::{Inbox, Item, Manners};

/// Longer than anything here takes, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn set_up() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        rustls::crypto::ring::default_provider().install_default().ok();
    });
}

pub fn http() -> Http {
    set_up();
    Http::new(Gate::Central)
}

/// The service of this key and body; `$secret` is `s3cret-value`.
pub fn configured(key: &str, body: &str) -> Service {
    with_http(key, body, http())
}

pub fn with_http(key: &str, body: &str, http: Http) -> Service {
    let secrets = BTreeMap::from([("secret".to_owned(), Secret::new("s3cret-value".to_owned()))]);
    let (config, problems) = service(key, body, &secrets);
    Service::new(config.unwrap_or_else(|| panic!("{body}: {problems:?}")), http)
}

pub fn context() -> SendContext {
    SendContext {
        event_id: "evt_f45be676a6850e29cb8a6631117a43ee".into(),
        attempt: 1,
        possible_repeat: false,
        delayed: None,
        default_text: "Trigger on-deployed fired for argocd/web".into(),
        thread: None,
        steps: Vec::new(),
        now: Timestamp::from_second(1_767_225_600).unwrap(),
    }
}

pub async fn inbox() -> Inbox {
    set_up();
    Inbox::start(Manners::default()).await.unwrap()
}

pub fn items(inbox: &Inbox) -> Vec<Item> {
    inbox.accepted().into_iter().map(|accepted| accepted.what).collect()
}

/// A certificate for `localhost` and 127.0.0.1 as a server's configuration and as PEM.
pub fn certificate() -> (Arc<rustls::ServerConfig>, String) {
    set_up();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config =
        rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key);
    (Arc::new(config.unwrap()), made.cert.pem())
}
