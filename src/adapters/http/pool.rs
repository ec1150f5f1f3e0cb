//! Clients by trust settings: equal settings share connections, changed settings get new ones (HTTP-01).

use super::Inner;
use super::address::CheckedDns;
use super::error::Error;
use super::trust::{Proxy, Trust, tls_config};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// More trust settings than any configuration has at once; the longest unused go first.
const MOST_CLIENTS: usize = 128;

type Key = ([u8; 32], Duration, Duration);

#[derive(Default)]
pub(super) struct Pool {
    waiting: Mutex<HashMap<Key, (reqwest::Client, Instant)>>,
    blocking: Mutex<HashMap<Key, (reqwest::blocking::Client, Instant)>>,
}

impl Pool {
    pub(super) fn client(
        &self,
        http: &Inner,
        trust: &Trust,
        connect: Duration,
        idle: Duration,
    ) -> Result<reqwest::Client, Error> {
        keyed(&self.waiting, (trust.fingerprint(), connect, idle), || {
            let tls = tls_config(trust)?;
            let mut builder = reqwest::Client::builder()
                .tls_backend_preconfigured(tls)
                .dns_resolver(Arc::new(CheckedDns(http.gate)))
                .user_agent(&http.user_agent)
                .redirect(reqwest::redirect::Policy::none())
                .referer(false)
                .no_gzip()
                .connect_timeout(connect)
                .pool_idle_timeout(idle)
                .pool_max_idle_per_host(16);
            if let Some(proxy) = proxy(&trust.proxy)? {
                builder = builder.no_proxy();
                builder = proxy.into_iter().fold(builder, |b, p| b.proxy(p));
            }
            builder.build().map_err(unbuildable)
        })
    }

    pub(super) fn blocking(
        &self,
        http: &Inner,
        trust: &Trust,
        idle: Duration,
    ) -> Result<reqwest::blocking::Client, Error> {
        keyed(&self.blocking, (trust.fingerprint(), idle, idle), || {
            let tls = tls_config(trust)?;
            let mut builder = reqwest::blocking::Client::builder()
                .tls_backend_preconfigured(tls)
                .dns_resolver(Arc::new(CheckedDns(http.gate)))
                .user_agent(http.user_agent.as_str())
                .redirect(reqwest::redirect::Policy::none())
                .referer(false)
                .no_gzip()
                .connect_timeout(Duration::from_secs(10).min(idle))
                .timeout(idle)
                .pool_idle_timeout(Duration::from_secs(90));
            if let Some(proxy) = proxy(&trust.proxy)? {
                builder = builder.no_proxy();
                builder = proxy.into_iter().fold(builder, |b, p| b.proxy(p));
            }
            builder.build().map_err(unbuildable)
        })
    }

    pub(super) fn len(&self) -> usize {
        let waiting = self.waiting.lock().unwrap_or_else(|e| e.into_inner()).len();
        waiting + self.blocking.lock().unwrap_or_else(|e| e.into_inner()).len()
    }
}

fn keyed<K: Eq + Hash + Copy, C: Clone>(
    map: &Mutex<HashMap<K, (C, Instant)>>,
    key: K,
    build: impl FnOnce() -> Result<C, Error>,
) -> Result<C, Error> {
    let mut map = map.lock().unwrap_or_else(|e| e.into_inner());
    if let Some((client, used)) = map.get_mut(&key) {
        *used = Instant::now();
        return Ok(client.clone());
    }
    let client = build()?;
    if map.len() >= MOST_CLIENTS
        && let Some(oldest) = map.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| *key)
    {
        map.remove(&oldest);
    }
    map.insert(key, (client.clone(), Instant::now()));
    Ok(client)
}

/// `None`: leave it to the environment. `Some`: exactly these, possibly none.
fn proxy(setting: &Proxy) -> Result<Option<Option<reqwest::Proxy>>, Error> {
    match setting {
        Proxy::Environment => Ok(None),
        Proxy::Direct => Ok(Some(None)),
        Proxy::Through { url, no_proxy } => {
            let bad = |why: &str| Error::BadTrust { what: "proxy".into(), why: why.into() };
            let url = url.expose_text().map_err(|_| bad("not text"))?;
            // reqwest's own error would quote the URL.
            let proxy = reqwest::Proxy::all(url).map_err(|_| bad("not a proxy URL"))?;
            Ok(Some(Some(proxy.no_proxy(reqwest::NoProxy::from_string(no_proxy)))))
        }
    }
}

fn unbuildable(_: reqwest::Error) -> Error {
    Error::BadTrust { what: "HTTP settings".into(), why: "no client can be built from them".into() }
}
