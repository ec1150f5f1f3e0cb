//! The two requests: fetch a pack, push a pack. What a push's answer means is decided here (GIT-9 to GIT-11).

use super::error::{Error, PushError, clean, from_io};
use super::packet::{Advertised, Capabilities, FLUSH, Packet, Report, SideBand, next, put, report};
use super::remote::Remote;
use super::wire::{Failure, Service, Wire};
use super::{CommitId, Context};
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

/// Fetches what is missing for `wants`, given that `haves` are there; the pack goes to `sink`.
pub(super) fn fetch(
    remote: &Remote,
    mut wire: Wire,
    capabilities: &Capabilities,
    wants: &[CommitId],
    haves: &[CommitId],
    sink: &mut dyn Write,
) -> Result<(), Error> {
    let shown = remote.shown();
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
    for (n, want) in wants.iter().enumerate() {
        put(&mut request, &format!("want {want}{}\n", if n == 0 { &chosen } else { "" }));
    }
    request.extend_from_slice(FLUSH);
    for have in haves {
        put(&mut request, &format!("have {have}\n"));
    }
    put(&mut request, "done\n");
    let answer = wire.ask(request, &[]).map_err(|failure| failure.error)?;
    let mut answer = io::BufReader::with_capacity(64 << 10, answer);
    skip_acknowledgements(shown, &mut answer)?;
    if capabilities.has("side-band-64k") {
        let mut band = SideBand::new(shown, answer);
        copy_pack(shown, &mut band, sink)
    } else {
        copy_pack(shown, &mut answer, sink)
    }
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
    let (mut wire, found) = match Wire::open(remote, Service::Receive, context) {
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
    if now != update.expected {
        wire.farewell();
        return Err(PushError::Moved);
    }
    if !found.capabilities.has("report-status") {
        wire.farewell();
        let text = "the server does not report what became of a push".to_owned();
        return Err(PushError::Failed(Error::Config { remote: remote.shown().to_owned(), text }));
    }
    let mut command = Vec::new();
    let banded = found.capabilities.has("side-band-64k");
    let band = if banded { " side-band-64k" } else { "" };
    let agent = if found.capabilities.value("agent").is_some() { format!(" {AGENT}") } else { String::new() };
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

fn read_report(shown: &str, mut answer: impl Read, banded: bool, branch: &str) -> Result<(Report, String), Failure> {
    let name = format!("refs/heads/{branch}");
    if !banded {
        return report(shown, &mut answer, &name).map(|report| (report, String::new())).map_err(Failure::after);
    }
    let mut band = SideBand::new(shown, answer);
    let found = report(shown, &mut band, &name).map_err(Failure::after)?;
    // Hooks that run after the update may still talk; the connection is used again if it ends well.
    let _ = io::copy(&mut (&mut band).take(64 << 10), &mut io::sink());
    Ok((found, clean(band.words(), 1 << 10)))
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
