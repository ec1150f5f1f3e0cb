//! The two requests: fetch a pack, push a pack. What a push's answer means is decided here (GIT-9 to GIT-11).

use super::error::{Error, PushError, clean, from_io};
use super::https::HttpWire;
use super::packet::{Advertised, Capabilities, FLUSH, Packet, Report, SideBand, next, put, report};
use super::remote::Remote;
use super::wire::{Answer, Failure, Service, Wire};
use super::{CommitId, Context};
use std::collections::BTreeSet;
use std::io::{self, Read, Write};

/// Bytes of one pack (§25).
const MOST_PACK_BYTES: u64 = 1 << 30;

const AGENT: &str = concat!("agent=lynceus/", env!("CARGO_PKG_VERSION"));

/// Asks for the refs and nothing else.
pub(super) fn advertise(remote: &Remote, context: &Context) -> Result<Advertised, Error> {
    let (wire, found) = Wire::open(remote, Service::Upload, context)?;
    wire.farewell();
    Ok(found)
}

/// Asks for the refs as somebody who is about to push, and sends nothing.
pub(super) fn knock(remote: &Remote, context: &Context) -> Result<Advertised, Error> {
    let (wire, found) = Wire::open(remote, Service::Receive, context)?;
    wire.farewell();
    Ok(found)
}

/// What a fetch is about.
pub(super) struct Wanted {
    /// The commit.
    pub(super) id: CommitId,
    /// Commits that are there already.
    pub(super) haves: Vec<CommitId>,
    /// Commits whose parents are not there.
    pub(super) shallow: BTreeSet<CommitId>,
    /// How much of the history to get; `None`: all that is missing.
    pub(super) depth: Option<u32>,
}

/// Fetches what is missing; the pack goes to `sink`. Gives the commits whose parents are not there afterwards.
pub(super) fn fetch(
    remote: &Remote,
    mut wire: Wire,
    capabilities: &Capabilities,
    wanted: Wanted,
    sink: &mut dyn Write,
) -> Result<BTreeSet<CommitId>, Error> {
    let shown = remote.shown();
    let deepening = wanted.depth.filter(|_| capabilities.has("shallow"));
    let answer = wire.ask(request(capabilities, &wanted, deepening), &[]).map_err(|failure| failure.error)?;
    let mut answer = io::BufReader::with_capacity(64 << 10, answer);
    let mut shallow = wanted.shallow;
    if deepening.is_some() {
        read_boundary(shown, &mut answer, &mut shallow)?;
    }
    skip_acknowledgements(shown, &mut answer)?;
    if capabilities.has("side-band-64k") {
        copy_pack(shown, &mut SideBand::new(shown, &mut answer), sink)?;
    } else {
        copy_pack(shown, &mut answer, sink)?;
    }
    read_to_end(answer);
    Ok(shallow)
}

fn request(capabilities: &Capabilities, wanted: &Wanted, deepening: Option<u32>) -> Vec<u8> {
    let mut chosen = String::new();
    for name in ["multi_ack_detailed", "side-band-64k", "thin-pack", "ofs-delta", "no-progress"] {
        if capabilities.has(name) {
            chosen.push(' ');
            chosen.push_str(name);
        }
    }
    if capabilities.value("agent").is_some() {
        chosen.push(' ');
        chosen.push_str(AGENT);
    }
    let mut request = Vec::new();
    put(&mut request, &format!("want {}{chosen}\n", wanted.id));
    for id in wanted.shallow.iter().filter(|_| capabilities.has("shallow")) {
        put(&mut request, &format!("shallow {id}\n"));
    }
    if let Some(depth) = deepening {
        put(&mut request, &format!("deepen {depth}\n"));
    }
    request.extend_from_slice(FLUSH);
    for have in &wanted.haves {
        put(&mut request, &format!("have {have}\n"));
    }
    put(&mut request, "done\n");
    request
}

/// The answer to `deepen`: where history ends now, and where it no longer does.
fn read_boundary(shown: &str, answer: &mut impl Read, shallow: &mut BTreeSet<CommitId>) -> Result<(), Error> {
    while let Packet::Line(line) = next(shown, answer)? {
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        let (word, id) = line.split_once(' ').unwrap_or((&line, ""));
        let id = id.parse::<CommitId>();
        match (word, id) {
            ("shallow", Ok(id)) if shallow.len() < 100_000 => drop(shallow.insert(id)),
            ("unshallow", Ok(id)) => drop(shallow.remove(&id)),
            ("ERR", _) => return Err(super::packet::denied(shown, line.as_bytes())),
            _ => return Err(Error::nonsense(shown, "no boundary where one must be")),
        }
    }
    Ok(())
}

/// Up to the last `ACK` or `NAK`; those before it carry a word at the end.
fn skip_acknowledgements(shown: &str, answer: &mut impl Read) -> Result<(), Error> {
    // One per `have` and then some; an endless stream of them is no answer.
    for _ in 0..10_000 {
        match next(shown, answer)? {
            Packet::Flush => return Err(Error::nonsense(shown, "no acknowledgement before the pack")),
            Packet::Line(line) => {
                let line = line.trim_ascii_end();
                if line == b"NAK" || (line.starts_with(b"ACK ") && line.len() == 44) {
                    return Ok(());
                }
                if let Some(words) = line.strip_prefix(b"ERR ") {
                    return Err(Error::Missing { remote: shown.to_owned(), text: clean(words, 300) });
                }
                if !line.starts_with(b"ACK ") {
                    return Err(Error::nonsense(shown, "neither acknowledgement nor pack"));
                }
            }
        }
    }
    Err(Error::nonsense(shown, "acknowledgements without end"))
}

fn copy_pack(shown: &str, from: &mut impl Read, sink: &mut dyn Write) -> Result<(), Error> {
    let mut buffer = vec![0u8; 64 << 10];
    let mut total = 0u64;
    loop {
        let got = from.read(&mut buffer).map_err(|e| from_io(shown, e))?;
        if got == 0 {
            return Ok(());
        }
        total += got as u64;
        if total > MOST_PACK_BYTES {
            let text = format!("the pack is larger than {} MiB", MOST_PACK_BYTES >> 20);
            return Err(Error::TooLarge { remote: shown.to_owned(), text });
        }
        sink.write_all(&buffer[..got]).map_err(|e| from_io(shown, e))?;
    }
}

/// One ref update and the pack for it.
pub(super) struct Update<'p> {
    pub(super) branch: &'p str,
    /// Where the branch must be; `None` if it must not exist.
    pub(super) expected: Option<CommitId>,
    pub(super) new: CommitId,
    pub(super) pack: &'p [u8],
}

/// Pushes. The old id is compared with what the remote advertises before anything is sent, and by the remote when it
/// updates the ref; a push that does not compare does not exist (GIT-9, GIT-12).
pub(super) fn push(remote: &Remote, context: &Context, update: &Update<'_>) -> Result<(), PushError> {
    if let Some((base, capabilities)) = context.contested(remote, update.branch) {
        let wire = HttpWire::again(remote, Service::Receive, context, base.clone()).map_err(PushError::Failed)?;
        let outcome = send(remote, context, update, Wire::Http(Box::new(wire)), &capabilities);
        if matches!(outcome, Err(PushError::Moved)) {
            context.contest(remote, update.branch, (base, capabilities));
        }
        return outcome;
    }
    let (wire, found) = match Wire::open(remote, Service::Receive, context) {
        Ok(opened) => opened,
        Err(Error::Auth { text, .. }) if text.starts_with("may not be written to") => {
            return Err(PushError::Refused(text));
        }
        Err(error) => return Err(PushError::Failed(error)),
    };
    let now = found.branches.get(update.branch).copied();
    if now == Some(update.new) {
        wire.farewell();
        return Ok(());
    }
    if !found.capabilities.has("report-status") {
        wire.farewell();
        let text = "the server does not report what became of a push".to_owned();
        return Err(PushError::Failed(Error::Config { remote: remote.shown().to_owned(), text }));
    }
    if now != update.expected {
        if let Wire::Http(wire) = &wire {
            context.contest(remote, update.branch, (wire.base().clone(), found.capabilities));
        }
        wire.farewell();
        return Err(PushError::Moved);
    }
    send(remote, context, update, wire, &found.capabilities)
}

/// Sends the update and hears what became of it.
fn send(
    remote: &Remote,
    context: &Context,
    update: &Update<'_>,
    mut wire: Wire,
    capabilities: &Capabilities,
) -> Result<(), PushError> {
    let mut command = Vec::new();
    let banded = capabilities.has("side-band-64k");
    let band = if banded { " side-band-64k" } else { "" };
    let agent = if capabilities.value("agent").is_some() { format!(" {AGENT}") } else { String::new() };
    let old = update.expected.unwrap_or(CommitId::ZERO);
    put(&mut command, &format!("{old} {} refs/heads/{}\0 report-status{band}{agent}", update.new, update.branch));
    command.extend_from_slice(FLUSH);
    let answered = wire.ask(command, update.pack).and_then(|answer| {
        let answer = io::BufReader::with_capacity(8 << 10, answer);
        read_report(remote.shown(), answer, banded, update.branch)
    });
    drop(wire);
    match answered {
        Ok((Report::Done, _)) => Ok(()),
        Ok((Report::No(reason), words)) => Err(refusal(remote, context, update, &reason, &words)),
        Err(Failure { perhaps_done: false, refused: Some(words), .. }) => Err(PushError::Refused(words)),
        Err(Failure { perhaps_done: false, error, .. }) => Err(PushError::Failed(error)),
        Err(Failure { error, .. }) => unknown(remote, context, update, &error),
    }
}

fn read_report(
    shown: &str,
    mut answer: io::BufReader<Answer<'_>>,
    banded: bool,
    branch: &str,
) -> Result<(Report, String), Failure> {
    let name = format!("refs/heads/{branch}");
    if !banded {
        let found = report(shown, &mut answer, &name).map_err(Failure::after)?;
        read_to_end(answer);
        return Ok((found, String::new()));
    }
    let mut band = SideBand::new(shown, &mut answer);
    let found = report(shown, &mut band, &name).map_err(Failure::after)?;
    // Hooks that run after the update may still talk.
    let _ = io::copy(&mut (&mut band).take(64 << 10), &mut io::sink());
    let words = clean(band.words(), 1 << 10);
    read_to_end(answer);
    Ok((found, words))
}

/// An http answer read to its very end leaves the connection to the next request. What fails here has no say.
fn read_to_end(answer: io::BufReader<Answer<'_>>) {
    if matches!(answer.get_ref(), Answer::Http(_)) {
        let _ = io::copy(&mut answer.take(1 << 10), &mut io::sink());
    }
}

/// The remote said no. Whether that was a lost race is told by where the branch is now, not by the words; only a lock
/// that somebody held at that moment leaves nothing to see.
fn refusal(remote: &Remote, context: &Context, update: &Update<'_>, reason: &str, words: &str) -> PushError {
    let locked = ["failed to update ref", "cannot lock ref", "unable to lock", "incorrect old value", "fetch first"];
    match advertise(remote, &context.afterwards()) {
        Ok(found) if found.branches.get(update.branch).copied() != update.expected => PushError::Moved,
        Ok(_) if locked.iter().any(|phrase| reason.contains(phrase)) => PushError::Moved,
        Ok(_) => {
            let text = if words.is_empty() { reason.to_owned() } else { format!("{reason}: {words}") };
            PushError::Refused(clean(text.as_bytes(), 1 << 10))
        }
        Err(error) => PushError::Failed(error),
    }
}

/// The answer was lost. If the branch is at our commit the push is done; anything else proves nothing, because the
/// remote may still be at work, or somebody may have built on ours (GIT-15 settles it).
fn unknown(remote: &Remote, context: &Context, update: &Update<'_>, error: &Error) -> Result<(), PushError> {
    match advertise(remote, &context.afterwards()) {
        Ok(found) if found.branches.get(update.branch).copied() == Some(update.new) => Ok(()),
        _ => Err(PushError::Unknown(error.to_string())),
    }
}
