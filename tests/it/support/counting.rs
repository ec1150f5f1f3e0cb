//! A server that passes requests on to another one and keeps a list of them: how often somebody was really asked. It
//! can also answer for an outage, or late.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::front::{self, Cut, Front, Request, Response};

/// A running front of a plain HTTP server.
pub struct Counting {
    front: Front,
    shared: Arc<Shared>,
}

struct Shared {
    base: String,
    client: reqwest::Client,
    requests: Mutex<Vec<String>>,
    down: AtomicBool,
    held: watch::Sender<Option<String>>,
}

impl Counting {
    /// Passes everything on to `base` (`http://127.0.0.1:port`).
    pub fn start(base: &str) -> Counting {
        super::tls_provider();
        let redirects = reqwest::redirect::Policy::none();
        let client = reqwest::Client::builder().no_proxy().redirect(redirects).build().expect("a client");
        let shared = Arc::new(Shared {
            base: base.to_owned(),
            client,
            requests: Mutex::default(),
            down: AtomicBool::new(false),
            held: watch::Sender::new(None),
        });
        let serving = shared.clone();
        Counting { front: Front::start(None, move |request| pass(serving.clone(), request)), shared }
    }

    /// `127.0.0.1:port`.
    pub fn host(&self) -> String {
        self.front.address().to_string()
    }

    /// Takes the requests seen since the last call: `GET /v2/a/tags/list?n=1000`.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.requests.lock().unwrap())
    }

    /// From now on every connection is cut without an answer, or no longer.
    pub fn set_down(&self, down: bool) {
        self.shared.down.store(down, Ordering::Relaxed);
    }

    /// From now on requests that contain this text wait for their answer; `None` lets all go on.
    pub fn hold(&self, part: Option<&str>) {
        self.shared.held.send_replace(part.map(str::to_owned));
    }
}

async fn pass(shared: Arc<Shared>, request: Request) -> Result<Response, Cut> {
    let target = request.uri().path_and_query().map(|p| p.as_str().to_owned()).unwrap_or_default();
    shared.requests.lock().unwrap().push(format!("{} {target}", request.method()));
    if shared.down.load(Ordering::Relaxed) {
        return Err(Cut);
    }
    let mut held = shared.held.subscribe();
    held.wait_for(|part| part.as_ref().is_none_or(|part| !target.contains(part))).await.map_err(|_| Cut)?;
    let (head, body) = request.into_parts();
    let mut sent = shared.client.request(head.method, format!("{}{target}", shared.base)).body(body);
    for (name, value) in &head.headers {
        if name != "host" && name != "content-length" {
            sent = sent.header(name, value);
        }
    }
    let answer = sent.send().await.map_err(|_| Cut)?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut passed = front::text(status.as_u16(), answer.bytes().await.map_err(|_| Cut)?);
    for (name, value) in &headers {
        if name != "transfer-encoding" && name != "content-length" && name != "connection" {
            passed.headers_mut().append(name, value.clone());
        }
    }
    Ok(passed)
}
