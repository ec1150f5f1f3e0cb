//! The wire's smallest parts: packet lines, the side band, the advertisement of refs, the report of a push.
//! Protocol version 0, which every server speaks; `Git-Protocol` is never sent.

use super::CommitId;
use super::error::{Error, clean, from_io};
use std::collections::BTreeMap;
use std::io::{self, Read};

/// Advertised refs at most (§25), and the bytes they may take.
const MOST_REFS: usize = 200_000;
const MOST_ADVERTISED_BYTES: u64 = 64 << 20;

/// One packet line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet {
    /// `0000`
    Flush,
    /// Anything with content.
    Line(Vec<u8>),
}

/// Appends `payload` as one packet line. Payloads are ours and short.
pub(super) fn put(out: &mut Vec<u8>, payload: &str) {
    out.extend_from_slice(format!("{:04x}", payload.len() + 4).as_bytes());
    out.extend_from_slice(payload.as_bytes());
}

/// Ends a section.
pub(super) const FLUSH: &[u8] = b"0000";

/// Reads one packet line.
pub(super) fn next(remote: &str, from: &mut impl Read) -> Result<Packet, Error> {
    let mut length = [0u8; 4];
    from.read_exact(&mut length).map_err(|e| early(remote, e))?;
    let length = std::str::from_utf8(&length).ok().and_then(|hex| usize::from_str_radix(hex, 16).ok());
    match length {
        Some(0) => Ok(Packet::Flush),
        Some(length) if length >= 4 => {
            let mut line = vec![0u8; length - 4];
            from.read_exact(&mut line).map_err(|e| early(remote, e))?;
            Ok(Packet::Line(line))
        }
        _ => Err(Error::nonsense(remote, "no packet line where one must be")),
    }
}

fn early(remote: &str, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::unreachable(remote, "the answer ended early"),
        _ => from_io(remote, error),
    }
}

/// What a server says it can do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Capabilities(Vec<String>);

impl Capabilities {
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|c| c == name)
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find_map(|c| c.strip_prefix(name)?.strip_prefix('='))
    }
}

/// One ref advertisement: what the remote has right now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advertised {
    /// Branch name (without `refs/heads/`) to its tip.
    pub branches: BTreeMap<String, CommitId>,
    /// The default branch; `None` for an empty repository or a detached `HEAD`.
    pub default: Option<String>,
    /// Tag name (without `refs/tags/`) to the commit it points at, annotated tags peeled.
    pub tags: BTreeMap<String, CommitId>,
    pub(super) head: Option<CommitId>,
    pub(super) capabilities: Capabilities,
}

/// Reads the refs up to the flush. Over http (`service` given) they come after a line that names the service. At most
/// 200,000 refs in 64 MiB; what is no advertisement is an error that names the remote.
pub fn advertisement(remote: &str, from: &mut impl Read, service: Option<&str>) -> Result<Advertised, Error> {
    let mut from = from.take(MOST_ADVERTISED_BYTES);
    if let Some(service) = service {
        match next(remote, &mut from)? {
            Packet::Line(line) if line.trim_ascii_end() == format!("# service={service}").as_bytes() => {}
            _ => return Err(Error::nonsense(remote, "the service is not named")),
        }
        if next(remote, &mut from)? != Packet::Flush {
            return Err(Error::nonsense(remote, "no flush after the service"));
        }
    }
    let mut found = Advertised::default();
    let mut count = 0usize;
    while let Packet::Line(line) = next(remote, &mut from)? {
        count += 1;
        if count > MOST_REFS || from.limit() == 0 {
            let text = format!("more than {MOST_REFS} refs are advertised");
            return Err(Error::TooLarge { remote: remote.to_owned(), text });
        }
        advertised_line(remote, &line, count == 1, &mut found)?;
    }
    if found.capabilities.value("object-format").is_some_and(|f| f != "sha1") {
        let text = "the repository uses SHA-256 object names, which are not supported".to_owned();
        return Err(Error::Config { remote: remote.to_owned(), text });
    }
    found.default = default_branch(&found);
    Ok(found)
}

fn advertised_line(remote: &str, line: &[u8], first: bool, found: &mut Advertised) -> Result<(), Error> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    if let Some(words) = line.strip_prefix(b"ERR ") {
        return Err(denied(remote, words));
    }
    let (line, capabilities) = match line.iter().position(|b| *b == 0) {
        Some(at) => (&line[..at], &line[at + 1..]),
        None => (line, &b""[..]),
    };
    if first {
        let listed = String::from_utf8_lossy(capabilities);
        found.capabilities = Capabilities(listed.split_ascii_whitespace().map(str::to_owned).collect());
    }
    if line.starts_with(b"shallow ") {
        return Ok(());
    }
    let parts = line.split_at_checked(40).and_then(|(id, rest)| Some((id, rest.strip_prefix(b" ")?)));
    let Some((id, name)) = parts else {
        return Err(Error::nonsense(remote, "a line of the advertisement is no ref"));
    };
    let id = std::str::from_utf8(id).ok().and_then(|hex| hex.parse::<CommitId>().ok());
    let Some(id) = id else {
        return Err(Error::nonsense(remote, "a ref of the advertisement has no id"));
    };
    // Names that are not text cannot be configured anywhere, so nobody asks for them.
    let Ok(name) = std::str::from_utf8(name) else { return Ok(()) };
    if name == "HEAD" {
        found.head = Some(id);
    } else if let Some(branch) = name.strip_prefix("refs/heads/") {
        found.branches.insert(branch.to_owned(), id);
    } else if let Some(tag) = name.strip_prefix("refs/tags/") {
        // The peeled line of an annotated tag follows its own and replaces it.
        found.tags.insert(tag.strip_suffix("^{}").unwrap_or(tag).to_owned(), id);
    }
    Ok(())
}

/// `HEAD` as the server names it; from servers too old for that, the branch at the same commit.
fn default_branch(found: &Advertised) -> Option<String> {
    let named = found.capabilities.0.iter().find_map(|c| c.strip_prefix("symref=HEAD:refs/heads/"));
    if let Some(branch) = named {
        return Some(branch.to_owned());
    }
    if found.capabilities.0.iter().any(|c| c.starts_with("symref=")) {
        return None;
    }
    let head = found.head?;
    let mut same: Vec<&String> = found.branches.iter().filter(|(_, id)| **id == head).map(|(name, _)| name).collect();
    same.sort_by_key(|name| match name.as_str() {
        "master" => 0,
        "main" => 1,
        _ => 2,
    });
    same.first().map(|name| (*name).clone())
}

/// Words instead of refs: hosts answer so when the repository does not exist or is hidden from the credentials.
pub(super) fn denied(remote: &str, words: &[u8]) -> Error {
    let words = clean(words, 300);
    let text = if words.is_empty() { "the remote refused without a word".to_owned() } else { words };
    Error::Auth { remote: remote.to_owned(), text }
}

/// The data inside the side band; progress and hook output are kept as far as `words` reaches.
pub(super) struct SideBand<R> {
    remote: String,
    from: R,
    left: io::Cursor<Vec<u8>>,
    ended: bool,
    words: Vec<u8>,
    pub(super) fatal: bool,
}

/// Hook output kept: enough for [`super::PushError::Refused`]'s 1 KiB after cleaning.
const MOST_WORDS: usize = 4 << 10;

impl<R: Read> SideBand<R> {
    pub(super) fn new(remote: &str, from: R) -> Self {
        let left = io::Cursor::new(Vec::new());
        SideBand { remote: remote.to_owned(), from, left, ended: false, words: Vec::new(), fatal: false }
    }

    /// What the server said to people, uncleaned.
    pub(super) fn words(&self) -> &[u8] {
        &self.words
    }

    fn fill(&mut self) -> Result<(), Error> {
        let line = match next(&self.remote, &mut self.from)? {
            Packet::Flush => {
                self.ended = true;
                return Ok(());
            }
            Packet::Line(line) => line,
        };
        match line.split_first() {
            Some((1, data)) => self.left = io::Cursor::new(data.to_vec()),
            Some((band @ (2 | 3), words)) => {
                let room = MOST_WORDS.saturating_sub(self.words.len());
                self.words.extend_from_slice(&words[..words.len().min(room)]);
                if *band == 3 {
                    self.fatal = true;
                    let text = format!("the remote broke off: {}", clean(words, 300));
                    return Err(Error::unreachable(&self.remote, text));
                }
            }
            None => {}
            Some(_) => return Err(Error::nonsense(&self.remote, "an unknown side band")),
        }
        Ok(())
    }
}

impl<R: Read> Read for SideBand<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let got = self.left.read(buffer)?;
            if got > 0 || self.ended || buffer.is_empty() {
                return Ok(got);
            }
            self.fill()?;
        }
    }
}

/// What the server reports of our one ref update.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// The ref has the new id.
    Done,
    /// `ng`, or the pack was not accepted; the server's reason.
    No(String),
}

/// Reads `unpack …` and the line of `name`.
pub(super) fn report(remote: &str, from: &mut impl Read, name: &str) -> Result<Report, Error> {
    let mut unpacked = None;
    let mut update = None;
    while let Packet::Line(line) = next(remote, from)? {
        let line = line.trim_ascii_end();
        if let Some(state) = line.strip_prefix(b"unpack ") {
            unpacked = Some(state.to_vec());
        } else if let Some(done) = line.strip_prefix(b"ok ") {
            if done == name.as_bytes() {
                update = Some(Report::Done);
            }
        } else if let Some(failed) = line.strip_prefix(b"ng ")
            && let Some(reason) = failed.strip_prefix(name.as_bytes())
        {
            update = Some(Report::No(clean(reason, 1 << 10)));
        }
    }
    match (unpacked.as_deref(), update) {
        (Some(b"ok"), Some(update)) => Ok(update),
        (Some(b"ok") | None, None) => Err(Error::nonsense(remote, "the report does not name the branch")),
        (None, Some(_)) => Err(Error::nonsense(remote, "the report does not say whether the pack was stored")),
        (Some(state), _) => Ok(Report::No(format!("the pack was not stored: {}", clean(state, 900)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "1111111111111111111111111111111111111111";
    const B: &str = "2222222222222222222222222222222222222222";

    fn lines(lines: &[&str]) -> Vec<u8> {
        let mut out = Vec::new();
        for line in lines {
            match *line {
                "" => out.extend_from_slice(FLUSH),
                line => put(&mut out, line),
            }
        }
        out
    }

    #[test]
    fn git_5_an_advertisement_gives_branches_default_and_peeled_tags() {
        let head = format!("{A} HEAD\0side-band-64k symref=HEAD:refs/heads/trunk agent=git/2\n");
        let wire = lines(&[
            "# service=git-upload-pack\n",
            "",
            &head,
            &format!("{B} refs/heads/feature/x\n"),
            &format!("{A} refs/heads/trunk\n"),
            &format!("{B} refs/pull/1/head\n"),
            &format!("{B} refs/tags/v1\n"),
            &format!("{A} refs/tags/v1^{{}}\n"),
            "",
        ]);
        let found = advertisement("r", &mut wire.as_slice(), Some("git-upload-pack")).unwrap();
        assert_eq!(found.branches.keys().collect::<Vec<_>>(), ["feature/x", "trunk"]);
        assert_eq!(found.default.as_deref(), Some("trunk"));
        assert_eq!(found.tags["v1"].to_string(), A);
        assert!(found.capabilities.has("side-band-64k") && !found.capabilities.has("side-band"));
    }

    #[test]
    fn git_5_an_empty_repository_has_no_branches() {
        let zero = "0".repeat(40);
        let wire = lines(&[&format!("{zero} capabilities^{{}}\0report-status\n"), ""]);
        let found = advertisement("r", &mut wire.as_slice(), None).unwrap();
        assert!(found.branches.is_empty() && found.default.is_none() && found.capabilities.has("report-status"));
    }

    #[test]
    fn git_5_without_symref_the_default_is_the_branch_at_head() {
        let wire = lines(&[
            &format!("{A} HEAD\0report-status\n"),
            &format!("{A} refs/heads/aaa\n"),
            &format!("{A} refs/heads/main\n"),
            "",
        ]);
        assert_eq!(advertisement("r", &mut wire.as_slice(), None).unwrap().default.as_deref(), Some("main"));
    }

    #[test]
    fn hostile_advertisements_are_clean_errors() {
        for (label, wire) in [
            ("html", b"<html><body>login".to_vec()),
            ("short", b"00".to_vec()),
            ("negative length", b"0003".to_vec()),
            ("cut line", b"00ffabc".to_vec()),
            ("no flush", lines(&[&format!("{A} HEAD\0x\n")])),
            ("version 1", lines(&["version 1\n", ""])),
            ("no id", lines(&[&format!("{} HEAD\0x\n", "z".repeat(40)), ""])),
            ("not ascii id", lines(&[&format!("{}ä HEAD\0x\n", "1".repeat(39)), ""])),
            ("sha256", lines(&[&format!("{A} HEAD\0object-format=sha256\n"), ""])),
            ("ERR", lines(&["ERR no such repository\n"])),
        ] {
            assert!(advertisement("r", &mut wire.as_slice(), None).is_err(), "{label}");
        }
        let wire = lines(&["ERR \u{1b}[31mnot\nfound\n"]);
        let error = advertisement("r", &mut wire.as_slice(), None).unwrap_err();
        assert_eq!(error, Error::Auth { remote: "r".into(), text: "[31mnot found".into() });
    }

    #[test]
    fn limits_an_endless_advertisement_stops_at_200_000_refs() {
        let mut wire = Vec::new();
        for n in 0..=MOST_REFS {
            put(&mut wire, &format!("{A} refs/pull/{n}/head\n"));
        }
        let error = advertisement("r", &mut wire.as_slice(), None).unwrap_err();
        assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
    }

    #[test]
    fn git_10_reports_are_read_whatever_their_phrasing() {
        let no = |text: &str| Ok(Report::No(text.to_owned()));
        for (wire, expected) in [
            (lines(&["unpack ok\n", "ok refs/heads/m\n", ""]), Ok(Report::Done)),
            (
                lines(&["unpack ok\n", "ng refs/heads/m pre-receive hook declined\n", ""]),
                no("pre-receive hook declined"),
            ),
            (
                lines(&["unpack index-pack abnormal exit\n", "ng refs/heads/m unpacker error\n", ""]),
                no("the pack was not stored: index-pack abnormal exit"),
            ),
        ] {
            assert_eq!(report("r", &mut wire.as_slice(), "refs/heads/m"), expected);
        }
        for wire in [
            lines(&["unpack ok\n", ""]),
            lines(&["ok refs/heads/m\n", ""]),
            lines(&["unpack ok\n", "ok refs/heads/other\n", ""]),
            lines(&["unpack ok\n"]),
        ] {
            assert!(report("r", &mut wire.as_slice(), "refs/heads/m").is_err());
        }
    }

    #[test]
    fn the_side_band_gives_data_and_keeps_words() {
        let mut wire = Vec::new();
        for line in ["\u{2}remote: hello\n", "\u{1}PA", "\u{1}CK", "\u{2}bye"] {
            put(&mut wire, line);
        }
        wire.extend_from_slice(FLUSH);
        let mut band = SideBand::new("r", wire.as_slice());
        let mut data = Vec::new();
        band.read_to_end(&mut data).unwrap();
        assert_eq!((data.as_slice(), band.words()), (&b"PACK"[..], &b"remote: hello\nbye"[..]));

        let mut wire = Vec::new();
        put(&mut wire, "\u{3}out of memory\n");
        let mut band = SideBand::new("r", wire.as_slice());
        assert!(band.read_to_end(&mut Vec::new()).is_err() && band.fatal);
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_server_sends_is_an_answer_or_an_error(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            // As raw bytes, and as the payload of packet lines, which gets further.
            let mut framed = Vec::new();
            for piece in bytes.chunks(40) {
                framed.extend_from_slice(format!("{:04x}", piece.len() + 4).as_bytes());
                framed.extend_from_slice(piece);
            }
            framed.extend_from_slice(FLUSH);
            for wire in [bytes, framed] {
                let _ = advertisement("r", &mut wire.as_slice(), None);
                let _ = advertisement("r", &mut wire.as_slice(), Some("git-upload-pack"));
                let _ = report("r", &mut wire.as_slice(), "refs/heads/m");
                let _ = SideBand::new("r", wire.as_slice()).read_to_end(&mut Vec::new());
                let shown = clean(&wire, 100);
                proptest::prop_assert!(shown.len() <= 100 && !shown.chars().any(char::is_control));
            }
        }
    }
}
