//! A small HTTP server on a thread of its own, plain or TLS, which can also cut the connection, without an answer or
//! in the middle of one. It has its own runtime, so a test may block its thread while it talks to it.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

/// A request whose body has been read.
pub type Request = hyper::Request<Bytes>;
/// An answer.
pub type Response = hyper::Response<BoxBody<Bytes, Cut>>;

/// The connection is closed without an answer.
#[derive(Debug)]
pub struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut")
    }
}

impl std::error::Error for Cut {}

/// A running server; stops when dropped.
pub struct Front {
    address: SocketAddr,
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Front {
    /// Serves `answer` on a free loopback port; with a configuration, behind TLS.
    pub fn start<A, F>(tls: Option<Arc<rustls::ServerConfig>>, answer: A) -> Front
    where
        A: Fn(Request) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<Response, Cut>> + Send + 'static,
    {
        let (bound, address) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel::<Infallible>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
                bound.send(listener.local_addr().expect("its address")).ok();
                tokio::select! { _ = stopped => {}, () = accept(listener, tls, answer) => {} }
            });
        });
        Front { address: address.recv().expect("the server binds"), stop: Some(stop), thread: Some(thread) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

async fn accept<A, F>(listener: tokio::net::TcpListener, tls: Option<Arc<rustls::ServerConfig>>, answer: A)
where
    A: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response, Cut>> + Send + 'static,
{
    let acceptor = tls.map(tokio_rustls::TlsAcceptor::from);
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let (acceptor, answer) = (acceptor.clone(), answer.clone());
        tokio::spawn(async move {
            match acceptor {
                None => connection(socket, answer).await,
                Some(acceptor) => {
                    // A client that refuses our certificate ends the handshake: nothing to serve.
                    if let Ok(stream) = acceptor.accept(socket).await {
                        connection(stream, answer).await;
                    }
                }
            }
        });
    }
}

async fn connection<A, F>(stream: impl AsyncRead + AsyncWrite + Unpin, answer: A)
where
    A: Fn(Request) -> F,
    F: Future<Output = Result<Response, Cut>>,
{
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let answer = &answer;
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
            answer(hyper::Request::from_parts(head, body)).await
        }
    });
    // Ends with an error when the answer was to cut, or the client left: both are meant.
    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
}

/// An answer with a status and text.
pub fn text(status: u16, text: impl Into<Bytes>) -> Response {
    let body = Full::new(text.into()).map_err(|never| match never {}).boxed();
    hyper::Response::builder().status(status).body(body).expect("a status and a body")
}

/// An answer that breaks off after a few bytes. A connection cut before any byte makes some clients send the
/// request once more by themselves; after this they don't.
pub fn torn(kind: &str) -> Response {
    let frames = stream::unfold(0, |step| async move {
        match step {
            0 => Some((Ok(Frame::data(Bytes::from_static(b"00"))), 1)),
            // Waiting once lets what was written leave before the connection ends.
            1 => {
                tokio::task::yield_now().await;
                Some((Err(Cut), 2))
            }
            _ => None,
        }
    });
    let body = BodyExt::boxed(StreamBody::new(frames));
    hyper::Response::builder().header("content-type", kind).body(body).expect("a body")
}

/// User and password of a Basic `Authorization` header.
pub fn basic(request: &Request) -> Option<(String, String)> {
    use base64::Engine;
    let header = request.headers().get("authorization")?.to_str().ok()?;
    let (scheme, value) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let plain = base64::engine::general_purpose::STANDARD.decode(value.trim()).ok()?;
    let (user, password) = std::str::from_utf8(&plain).ok()?.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}
