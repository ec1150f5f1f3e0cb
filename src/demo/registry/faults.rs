//! What a registry may do wrong, as a script.

use super::images::digest_of;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use futures::{StreamExt, stream};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Barrier;

/// Which requests an answer is scripted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The next one, whatever it is.
    Any,
    /// A page of the listing.
    Tags,
    /// HEAD of a manifest.
    Head,
    /// GET of a manifest.
    Manifest,
    /// A blob.
    Blob,
    /// A token.
    Token,
}

/// What happens instead of the right answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This status, with these headers and an error body.
    Status(u16, Vec<(&'static str, String)>),
    /// 200 with these headers and this body.
    Body(Vec<(&'static str, String)>, Vec<u8>),
    /// The right answer with these headers set; an empty value removes the header.
    Headers(Vec<(&'static str, String)>),
    /// The right answer's headers, then so many bytes of it, then the connection is cut.
    Truncate(usize),
    /// One byte each so often.
    Drip(Duration),
    /// The right answer after this time.
    Late(Duration),
    /// The right answer once so many requests wait at the same barrier.
    Together(Arc<Barrier>),
    /// So many bytes of JSON blanks, then the right answer.
    Huge(usize),
    /// So many bytes of blanks, compressed.
    Bomb(usize),
    /// Content whose digest is not what was asked for.
    Swapped,
    /// A redirect.
    Redirect(String),
}

impl Fault {
    /// A status without headers.
    pub fn status(status: u16) -> Fault {
        Fault::Status(status, Vec::new())
    }

    /// 429 with `Retry-After`.
    pub fn throttle(retry_after: &str) -> Fault {
        Fault::Status(429, vec![("retry-after", retry_after.to_owned())])
    }

    /// Turns the right answer into this one. `poured` counts the bytes of bodies that are made piece by piece.
    pub(super) async fn apply(self, right: (StatusCode, HeaderMap, Vec<u8>), poured: Arc<AtomicU64>) -> Response {
        let count = move |piece: Bytes| {
            poured.fetch_add(piece.len() as u64, Ordering::Relaxed);
            Ok::<_, io::Error>(piece)
        };
        let (status, mut headers, body) = right;
        match self {
            Fault::Status(code, more) => {
                let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let text = r#"{"errors":[{"code":"SCRIPTED","message":"as the script says"}]}"#;
                answer(code, set(HeaderMap::new(), more), Body::from(text))
            }
            Fault::Body(more, body) => answer(StatusCode::OK, set(HeaderMap::new(), more), Body::from(body)),
            Fault::Headers(more) => {
                headers = set(headers, more);
                answer(status, headers, Body::from(body))
            }
            Fault::Truncate(bytes) => {
                let whole = body.len().max(bytes + 1);
                let part = Bytes::from(body).slice(..bytes.min(whole - 1));
                // What is there must leave before the cut, or nothing at all is sent.
                let cut = async {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    Err(io::Error::other("cut"))
                };
                let chunks = stream::iter([Ok(part)]).chain(stream::once(cut));
                headers.insert("content-length", HeaderValue::from(whole));
                answer(status, headers, Body::from_stream(chunks))
            }
            Fault::Drip(each) => {
                let drops = stream::unfold(Bytes::from(body), move |left| async move {
                    if left.is_empty() {
                        return None;
                    }
                    tokio::time::sleep(each).await;
                    Some((left.slice(..1), left.slice(1..)))
                });
                answer(status, headers, Body::from_stream(drops.map(count)))
            }
            Fault::Late(wait) => {
                tokio::time::sleep(wait).await;
                answer(status, headers, Body::from(body))
            }
            Fault::Together(barrier) => {
                barrier.wait().await;
                answer(status, headers, Body::from(body))
            }
            Fault::Huge(bytes) => {
                let blanks = Bytes::from(vec![b' '; 64 << 10]);
                let pieces = bytes.div_ceil(blanks.len());
                let all = (0..pieces).map(move |_| blanks.clone()).chain([Bytes::from(body)]);
                answer(status, headers, Body::from_stream(stream::iter(all.map(count))))
            }
            Fault::Bomb(bytes) => {
                headers.insert("content-encoding", HeaderValue::from_static("gzip"));
                answer(status, headers, Body::from(bomb(bytes)))
            }
            Fault::Swapped => {
                let other = br#"{"schemaVersion":2,"config":{"digest":"sha256:0"}}"#.to_vec();
                debug_assert_ne!(digest_of(&other), digest_of(&body));
                answer(status, headers, Body::from(other))
            }
            Fault::Redirect(to) => {
                answer(StatusCode::TEMPORARY_REDIRECT, set(HeaderMap::new(), vec![("location", to)]), Body::empty())
            }
        }
    }
}

fn bomb(bytes: usize) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let blanks = vec![b' '; 64 << 10];
    for _ in 0..bytes.div_ceil(blanks.len()) {
        // Writing into memory does not fail.
        let _ = encoder.write_all(&blanks);
    }
    encoder.finish().unwrap_or_default()
}

fn set(mut headers: HeaderMap, more: Vec<(&'static str, String)>) -> HeaderMap {
    for (name, value) in more {
        let name = HeaderName::from_static(name);
        match HeaderValue::from_str(&value) {
            Ok(_) if value.is_empty() => drop(headers.remove(&name)),
            Ok(value) => drop(headers.insert(name, value)),
            Err(_) => {}
        }
    }
    headers
}

pub(super) fn answer(status: StatusCode, headers: HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
