//! Health, readiness and metrics over HTTP. The room sees [`crate::daemon::Status`] and the metrics text only; nothing that comes in
//! here reaches the world.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::daemon::Handle;

/// `GET /healthz`, `/readyz` and `/status` (PRB-01, PRB-02, OBS-2).
pub fn probes(handle: Handle) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/livez", get(healthz))
        .route("/readyz", get(readyz))
        .route("/status", get(status))
        .with_state(Arc::new(handle))
}

/// `GET /metrics` in OpenMetrics text.
pub fn metrics(handle: Handle) -> Router {
    Router::new().route("/metrics", get(metrics_text)).with_state(Arc::new(handle))
}

/// Serves a router until the token is cancelled.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) -> std::io::Result<()> {
    axum::serve(listener, router).with_graceful_shutdown(async move { stop.cancelled().await }).await
}

/// Binds an address like `:8081`, `127.0.0.1:8081`; `0` is off.
pub async fn bind(address: &str) -> std::io::Result<Option<TcpListener>> {
    if address == "0" || address.is_empty() {
        return Ok(None);
    }
    let address =
        if let Some(port) = address.strip_prefix(':') { format!("0.0.0.0:{port}") } else { address.to_owned() };
    let parsed: SocketAddr = address.parse().map_err(|_| {
        std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            format!("`{address}` is no address; write :8081 or host:port"),
        )
    })?;
    TcpListener::bind(parsed).await.map(Some)
}

async fn healthz(State(handle): State<Arc<Handle>>) -> Response {
    match handle.status().stuck {
        None => (StatusCode::OK, "ok\n").into_response(),
        Some(stage) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("{stage} has work and makes no progress\n")).into_response()
        }
    }
}

async fn readyz(State(handle): State<Arc<Handle>>) -> Response {
    let missing = handle.status().not_ready();
    if missing.is_empty() {
        return (StatusCode::OK, "ok\n").into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", missing.join(", "))).into_response()
}

async fn status(State(handle): State<Arc<Handle>>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], handle.status().to_json().to_string()).into_response()
}

async fn metrics_text(State(handle): State<Arc<Handle>>) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], handle.metrics_text()).into_response()
}
