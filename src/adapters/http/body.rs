//! Reading an answer within its limits: bytes after inflation, ratio of inflation, throughput, deadline.

use super::error::Error;
use flate2::write::MultiGzDecoder;
use reqwest::header::CONTENT_ENCODING;
use std::io::{self, Write};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use url::Url;

/// Bounds of one exchange, redirects included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Name resolution, connection and handshake together.
    pub connect: Duration,
    /// Everything, to the last byte of the answer.
    pub total: Duration,
    /// How long the connection is kept for the next exchange.
    pub idle: Duration,
    /// Bytes of the answer, after decompression.
    pub bytes: usize,
    /// What happens at the limit.
    pub overflow: Overflow,
    /// Bytes out per byte in, looked at once 64 KiB came out.
    pub ratio: usize,
    /// Bytes per second that must have come on average, looked at from `grace` on; 0 switches it off.
    pub least_rate: usize,
    /// How long an answer may be slower than that.
    pub grace: Duration,
}

/// What happens to an answer longer than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// The exchange fails.
    Refuse,
    /// What fits is returned, the connection is closed. Also an answer that breaks off is returned as far as it came:
    /// the status counts (HTTP-04).
    Cut,
}

impl Limits {
    /// For messages: 64 KiB of the answer matter, the rest is dropped (HTTP-04; 30 s and 5 s are §13.1's defaults).
    pub const MESSAGE: Limits = Limits {
        connect: Duration::from_secs(5),
        total: Duration::from_secs(30),
        idle: Duration::from_secs(90),
        bytes: 64 << 10,
        overflow: Overflow::Cut,
        ratio: 100,
        least_rate: 1024,
        grace: Duration::from_secs(5),
    };

    /// For programs' interfaces: an answer beyond `bytes` is an error.
    pub const fn answer(bytes: usize) -> Limits {
        Limits { bytes, overflow: Overflow::Refuse, ..Limits::MESSAGE }
    }
}

/// The body and whether it is whole.
pub(super) async fn read(
    url: &Url,
    response: &mut reqwest::Response,
    limits: &Limits,
    deadline: Instant,
) -> Result<(Vec<u8>, bool), Error> {
    let place = super::error::place(url);
    let mut sink = sink(response, limits).map_err(|why| Error::BadReply { place: place.clone(), why })?;
    let started = Instant::now();
    let mut received = 0usize;
    let outcome = loop {
        let tick = (started + limits.grace).max(Instant::now() + Duration::from_secs(1)).min(deadline);
        let chunk = match timeout_at(tick, response.chunk()).await {
            Ok(Ok(chunk)) => chunk,
            Ok(Err(e)) => break Err(Error::Cut { place, detail: cut_detail(Error::from_reqwest(url, &e)) }),
            Err(_) if Instant::now() >= deadline => break Err(Error::TooSlow { place }),
            Err(_) => {
                if too_slow(limits, started, received) {
                    break Err(Error::TooSlow { place });
                }
                continue;
            }
        };
        let Some(chunk) = chunk else {
            break sink.finish().map_err(|e| Error::BadReply { place, why: e.to_string() });
        };
        received += chunk.len();
        if let Err(e) = sink.write(&chunk) {
            break Err(match e.kind() {
                io::ErrorKind::FileTooLarge => Error::TooLarge { place, limit: limits.bytes },
                _ => Error::BadReply { place, why: e.to_string() },
            });
        }
        if sink.len() > 64 << 10 && sink.len() / limits.ratio.max(1) > received {
            break Err(Error::TooLarge { place, limit: limits.bytes });
        }
        if too_slow(limits, started, received) {
            break Err(Error::TooSlow { place });
        }
    };
    match (outcome, limits.overflow) {
        (Ok(()), _) => Ok((sink.into_bytes(), true)),
        (Err(_), Overflow::Cut) => Ok((sink.into_bytes(), false)),
        (Err(e), Overflow::Refuse) => Err(e),
    }
}

fn too_slow(limits: &Limits, started: Instant, received: usize) -> bool {
    let taken = started.elapsed();
    taken >= limits.grace && (received as f64) < limits.least_rate as f64 * taken.as_secs_f64()
}

fn cut_detail(error: Error) -> String {
    match error {
        Error::Cut { detail, .. } | Error::Unknown { detail, .. } | Error::NotSent { detail, .. } => detail,
        other => other.to_string(),
    }
}

fn sink(response: &reqwest::Response, limits: &Limits) -> Result<Sink, String> {
    let bounded = Bounded { bytes: Vec::new(), limit: limits.bytes };
    match response.headers().get(CONTENT_ENCODING).map(|v| v.to_str().unwrap_or("?").trim().to_ascii_lowercase()) {
        None => Ok(Sink::Plain(bounded)),
        Some(coding) if coding.is_empty() || coding == "identity" => Ok(Sink::Plain(bounded)),
        Some(coding) if coding == "gzip" || coding == "x-gzip" => {
            Ok(Sink::Gzip(Box::new(MultiGzDecoder::new(bounded))))
        }
        Some(_) => Err("it is compressed in a way that was not asked for".into()),
    }
}

enum Sink {
    Plain(Bounded),
    Gzip(Box<MultiGzDecoder<Bounded>>),
}

impl Sink {
    fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        match self {
            Sink::Plain(bounded) => bounded.write_all(chunk),
            Sink::Gzip(decoder) => decoder.write_all(chunk),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        match self {
            Sink::Plain(_) => Ok(()),
            Sink::Gzip(decoder) => decoder.try_finish(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Sink::Plain(bounded) => bounded.bytes.len(),
            Sink::Gzip(decoder) => decoder.get_ref().bytes.len(),
        }
    }

    fn into_bytes(self) -> Vec<u8> {
        match self {
            Sink::Plain(bounded) => bounded.bytes,
            Sink::Gzip(mut decoder) => std::mem::take(&mut decoder.get_mut().bytes),
        }
    }
}

/// Takes what fits, then refuses.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
}

impl Write for Bounded {
    fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
        let room = self.limit - self.bytes.len();
        if room == 0 && !chunk.is_empty() {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        let taken = chunk.len().min(room);
        self.bytes.extend_from_slice(&chunk[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
