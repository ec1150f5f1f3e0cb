//! A server before the API server that passes everything on, watches included, and keeps a list of it. On request it
//! does something the moment a call comes by, before or after the API server has carried it out.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use futures::{StreamExt, TryStreamExt};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;

use super::front::{Cut, Front};
use super::tls::Authority;

/// What happens to the next request that is let in on.
type Trap = (fn(&str) -> bool, Moment, Box<dyn FnOnce() + Send>);

/// When a trap springs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The API server never hears of the request.
    Before,
    /// The API server has carried it out; nobody hears the answer.
    After,
}

/// The server in front.
pub struct ApiFront {
    front: Front,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    calls: Mutex<Vec<(Instant, String)>>,
    trap: Mutex<Option<Trap>>,
}

impl Shared {
    /// Springs a trap that is set for this moment.
    fn spring(&self, call: &str, now: Moment) -> Result<(), Cut> {
        let mut trap = self.trap.lock().unwrap();
        match trap.take() {
            Some((wanted, moment, action)) if moment == now && wanted(call) => {
                action();
                Err(Cut)
            }
            kept => {
                *trap = kept;
                Ok(())
            }
        }
    }
}

impl ApiFront {
    /// In front of the API server on this port.
    pub async fn start(port: u16) -> ApiFront {
        let authority = reqwest::Certificate::from_pem(Authority::shared().pem().as_bytes()).expect("a certificate");
        let client = reqwest::Client::builder().no_proxy().add_root_certificate(authority).build().expect("a client");
        let shared = Arc::new(Shared::default());
        let own = shared.clone();
        let front = Front::start(Some(Authority::shared().server_config()), move |request| {
            let (client, shared) = (client.clone(), own.clone());
            async move {
                let target = request.uri().path_and_query().map(|p| p.as_str().to_owned()).unwrap_or_default();
                let call = format!("{} {target}", request.method());
                shared.calls.lock().unwrap().push((Instant::now(), call.clone()));
                shared.spring(&call, Moment::Before)?;
                let (head, body) = request.into_parts();
                let mut sent = client.request(head.method, format!("https://127.0.0.1:{port}{target}")).body(body);
                for (name, value) in
                    head.headers.iter().filter(|(name, _)| *name != "host" && *name != "content-length")
                {
                    sent = sent.header(name, value);
                }
                let answer = sent.send().await.map_err(|_| Cut)?;
                shared.spring(&call, Moment::After)?;
                let mut passed = hyper::Response::builder().status(answer.status().as_u16());
                for name in ["content-type", "content-encoding"] {
                    if let Some(value) = answer.headers().get(name) {
                        passed = passed.header(name, value);
                    }
                }
                let body = answer.bytes_stream().map_ok(Frame::data).map_err(|_| Cut).boxed();
                Ok(passed.body(BodyExt::boxed(StreamBody::new(Unshared(Mutex::new(body))))).expect("an answer"))
            }
        });
        ApiFront { front, shared }
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.front.address().port()
    }

    /// Takes the calls since the last time: `PATCH /apis/…`.
    pub fn calls(&self) -> Vec<String> {
        self.timed_calls().into_iter().map(|(_, call)| call).collect()
    }

    /// The same, with the moment each came.
    pub fn timed_calls(&self) -> Vec<(Instant, String)> {
        std::mem::take(&mut *self.shared.calls.lock().unwrap())
    }

    /// Calls so far that are like this.
    pub fn count(&self, wanted: impl Fn(&str) -> bool) -> usize {
        self.shared.calls.lock().unwrap().iter().filter(|(_, call)| wanted(call)).count()
    }

    /// Does this at the next call like that, and cuts the connection.
    pub fn trap(&self, wanted: fn(&str) -> bool, moment: Moment, action: impl FnOnce() + Send + 'static) {
        *self.shared.trap.lock().unwrap() = Some((wanted, moment, Box::new(action)));
    }
}

/// A body must be `Sync`; a stream behind a lock is.
struct Unshared<S>(Mutex<S>);

impl<S: futures::Stream + Unpin> futures::Stream for Unshared<S> {
    type Item = S::Item;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<S::Item>> {
        self.get_mut().0.get_mut().unwrap().poll_next_unpin(context)
    }
}
