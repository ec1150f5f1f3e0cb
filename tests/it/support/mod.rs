//! What the suites stand on: the real control plane, registry, Git, SSH and SMTP servers, started by the test
//! process and gone with it.
#![allow(dead_code, unused_imports)] // each suite uses its own part of this

pub mod api_front;
pub mod control_plane;
pub mod counting;
pub mod front;
pub mod house;
pub mod process;
pub mod real;
pub mod relay;
pub mod tls;

use std::future::Future;
use std::time::{Duration, Instant};

/// Makes ring the process's TLS provider; every test that speaks TLS calls it first.
pub fn tls_provider() {
    rustls::crypto::ring::default_provider().install_default().ok();
}

/// Asks `look` until it answers, and panics after `limit` with what was waited for.
pub async fn wait_for<T, F>(what: &str, limit: Duration, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let start = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The repository's root folder.
pub fn root() -> std::path::PathBuf {
    std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
