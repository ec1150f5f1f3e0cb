//! A server before the API server that passes everything on, watches included, and keeps a list of it.

use std::sync::{Arc, Mutex};

use futures::{StreamExt, TryStreamExt};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;

use super::front::{Cut, Front};
use super::tls::Authority;

/// In front of the API server on this port; the list holds `PATCH /apis/…`.
pub async fn counting_api(port: u16) -> (Front, Arc<Mutex<Vec<String>>>) {
    let authority = reqwest::Certificate::from_pem(Authority::shared().pem().as_bytes()).expect("a certificate");
    let client = reqwest::Client::builder().no_proxy().add_root_certificate(authority).build().expect("a client");
    let calls = Arc::new(Mutex::new(Vec::new()));
    let list = calls.clone();
    let front = Front::start(Some(Authority::shared().server_config()), move |request| {
        let (client, list) = (client.clone(), list.clone());
        async move {
            let target = request.uri().path_and_query().map(|p| p.as_str().to_owned()).unwrap_or_default();
            list.lock().unwrap().push(format!("{} {target}", request.method()));
            let (head, body) = request.into_parts();
            let mut sent = client.request(head.method, format!("https://127.0.0.1:{port}{target}")).body(body);
            for (name, value) in head.headers.iter().filter(|(name, _)| *name != "host" && *name != "content-length") {
                sent = sent.header(name, value);
            }
            let answer = sent.send().await.map_err(|_| Cut)?;
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
    (front, calls)
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
