//! One conversation with one service of a remote, whatever carries it: first the refs, then one request and its
//! answer.

use super::Context;
use super::address::Address;
use super::error::{Error, clean};
use super::https::{HttpBody, HttpWire};
use super::packet::{Advertised, advertisement};
use super::remote::Remote;
use super::ssh::SshWire;
use std::io::{self, Read};

/// What is asked of a remote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// Reading.
    Upload,
    /// Writing.
    Receive,
}

impl Service {
    pub(super) fn name(self) -> &'static str {
        match self {
            Service::Upload => "git-upload-pack",
            Service::Receive => "git-receive-pack",
        }
    }
}

/// A request that got no usable answer.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    /// Whether the remote may have carried it out all the same.
    pub(super) perhaps_done: bool,
    /// The remote's own words, if it refused a write.
    pub(super) refused: Option<String>,
}

impl Failure {
    pub(super) fn before(error: Error) -> Failure {
        Failure { error, perhaps_done: false, refused: None }
    }

    pub(super) fn after(error: Error) -> Failure {
        Failure { error, perhaps_done: true, refused: None }
    }

    pub(super) fn refused(error: Error, words: &str) -> Failure {
        Failure { error, perhaps_done: false, refused: Some(clean(words.as_bytes(), 1 << 10)) }
    }
}

/// A conversation after the advertisement.
pub(super) enum Wire {
    Http(Box<HttpWire>),
    Ssh(Box<SshWire>),
}

/// The answer to the one request.
pub(super) enum Answer<'w> {
    Http(Box<HttpBody>),
    Ssh(&'w mut SshWire),
}

impl Read for Answer<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Answer::Http(body) => body.read(buffer),
            Answer::Ssh(wire) => wire.read(buffer),
        }
    }
}

impl Wire {
    /// Connects and reads the refs. Local repositories have no wire; see `local.rs`.
    pub(super) fn open(remote: &Remote, service: Service, context: &Context) -> Result<(Wire, Advertised), Error> {
        match remote.address() {
            Address::Http(_) => {
                let (wire, mut body) = HttpWire::open(remote, service, context)?;
                let mut buffered = io::BufReader::with_capacity(32 << 10, &mut body);
                let found = advertisement(remote.shown(), &mut buffered, Some(service.name()))?;
                // To the end, so that the connection can be used again.
                io::copy(&mut buffered.take(1 << 10), &mut io::sink())
                    .map_err(|e| super::error::from_io(remote.shown(), e))?;
                Ok((Wire::Http(Box::new(wire)), found))
            }
            Address::Ssh(_) => {
                let mut wire = SshWire::open(remote, service, context)?;
                let found = advertisement(remote.shown(), &mut wire, None)?;
                Ok((Wire::Ssh(Box::new(wire)), found))
            }
            Address::Local(_) => Err(Error::nonsense(remote.shown(), "a local repository has no wire")),
        }
    }

    /// Sends the one request: `head`, then `pack`.
    pub(super) fn ask(&mut self, mut head: Vec<u8>, pack: &[u8]) -> Result<Answer<'_>, Failure> {
        match self {
            Wire::Http(wire) => {
                head.extend_from_slice(pack);
                wire.ask(head).map(|body| Answer::Http(Box::new(body)))
            }
            Wire::Ssh(wire) => {
                wire.send(&[&head, pack]).map_err(Failure::after)?;
                Ok(Answer::Ssh(wire))
            }
        }
    }

    /// Ends a conversation that needs no request.
    pub(super) fn farewell(self) {
        if let Wire::Ssh(wire) = self {
            wire.farewell();
        }
    }
}
