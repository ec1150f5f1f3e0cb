//! The server's half of the smart protocol, version 0: refs, one pack out, one pack in.

use git2::{ErrorCode, Oid, Repository, Sort};
use std::io::{self, Write};

/// A request that makes no sense, or a repository that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("not a request of this protocol: {0}")]
    Protocol(&'static str),
    #[error(transparent)]
    Git(#[from] git2::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
}

const FLUSH: &[u8] = b"0000";
const ZERO: &str = "0000000000000000000000000000000000000000";

/// The most a packet of the side band may carry.
const MOST_BAND_BYTES: usize = 65_515;

fn put(out: &mut Vec<u8>, payload: impl AsRef<[u8]>) {
    let payload = payload.as_ref();
    out.extend_from_slice(format!("{:04x}", payload.len() + 4).as_bytes());
    out.extend_from_slice(payload);
}

fn put_band(out: &mut Vec<u8>, band: u8, bytes: &[u8]) {
    for piece in bytes.chunks(MOST_BAND_BYTES) {
        let mut payload = vec![band];
        payload.extend_from_slice(piece);
        put(out, payload);
    }
}

/// One packet line, `None` for a flush, and the rest.
fn next(bytes: &[u8]) -> Result<(Option<&[u8]>, &[u8]), Error> {
    let bad = Error::Protocol("a packet line is broken");
    let Some((length, rest)) = bytes.split_at_checked(4) else { return Err(bad) };
    let length = std::str::from_utf8(length).ok().and_then(|hex| usize::from_str_radix(hex, 16).ok());
    match length {
        Some(0) => Ok((None, rest)),
        Some(length) if length >= 4 => match rest.split_at_checked(length - 4) {
            Some((line, rest)) => Ok((Some(line), rest)),
            None => Err(bad),
        },
        _ => Err(bad),
    }
}

fn text(line: &[u8]) -> &str {
    std::str::from_utf8(line).unwrap_or("").trim_end_matches('\n')
}

/// `info/refs`.
pub(super) fn advertise(repository: &Repository, service: &str) -> Result<Vec<u8>, Error> {
    let head = repository
        .find_reference("HEAD")
        .ok()
        .and_then(|head| head.symbolic_target().ok().flatten().map(str::to_owned));
    let mut capabilities = match service {
        "git-upload-pack" => "side-band-64k ofs-delta no-progress".to_owned(),
        "git-receive-pack" => "report-status side-band-64k ofs-delta".to_owned(),
        _ => return Err(Error::Protocol("an unknown service")),
    };
    if let Some(head) = &head {
        capabilities.push_str(&format!(" symref=HEAD:{head}"));
    }
    capabilities.push_str(concat!(" agent=lynceus-demo/", env!("CARGO_PKG_VERSION")));
    let mut refs = Vec::new();
    for reference in repository.references()? {
        let reference = reference?;
        if let (Ok(name), Some(id)) = (reference.name(), reference.target()) {
            refs.push((name.to_owned(), id));
        }
    }
    refs.sort();
    if let Some((_, id)) = refs.iter().find(|(name, _)| Some(name) == head.as_ref()).cloned()
        && service == "git-upload-pack"
    {
        refs.insert(0, ("HEAD".into(), id));
    }
    let mut out = Vec::new();
    put(&mut out, format!("# service={service}\n"));
    out.extend_from_slice(FLUSH);
    if refs.is_empty() {
        put(&mut out, format!("{ZERO} capabilities^{{}}\0{capabilities}\n"));
    }
    for (n, (name, id)) in refs.iter().enumerate() {
        match n {
            0 => put(&mut out, format!("{id} {name}\0{capabilities}\n")),
            _ => put(&mut out, format!("{id} {name}\n")),
        }
    }
    out.extend_from_slice(FLUSH);
    Ok(out)
}

/// `git-upload-pack`: acknowledges the first common commit and, once the client is done, sends what it lacks.
pub(super) fn upload(repository: &Repository, mut body: &[u8]) -> Result<Vec<u8>, Error> {
    let (mut wants, mut haves) = (Vec::new(), Vec::new());
    let (mut banded, mut done) = (false, false);
    while !body.is_empty() {
        let (line, rest) = next(body)?;
        body = rest;
        let Some(line) = line.map(text) else { continue };
        if let Some(want) = line.strip_prefix("want ") {
            let (id, capabilities) = want.split_at_checked(40).ok_or(Error::Protocol("a want without an id"))?;
            wants.push(Oid::from_str(id)?);
            banded |= capabilities.split(' ').any(|c| c == "side-band-64k");
        } else if let Some(have) = line.strip_prefix("have ") {
            haves.extend(Oid::from_str(have).ok().filter(|id| repository.find_commit(*id).is_ok()));
        } else if line == "done" {
            done = true;
        }
    }
    let mut out = Vec::new();
    match haves.first() {
        Some(common) => put(&mut out, format!("ACK {common}\n")),
        None => put(&mut out, "NAK\n"),
    }
    if !done {
        return Ok(out);
    }
    let mut walk = repository.revwalk()?;
    walk.set_sorting(Sort::TIME)?;
    let mut builder = repository.packbuilder()?;
    for want in &wants {
        let object = repository.find_object(*want, None)?;
        if object.as_tag().is_some() {
            builder.insert_object(*want, None)?;
        }
        walk.push(object.peel_to_commit()?.id())?;
    }
    for have in &haves {
        walk.hide(*have)?;
    }
    builder.insert_walk(&mut walk)?;
    let mut pack = git2::Buf::new();
    builder.write_buf(&mut pack)?;
    if banded {
        put_band(&mut out, 1, &pack);
        out.extend_from_slice(FLUSH);
    } else {
        out.extend_from_slice(&pack);
    }
    Ok(out)
}

struct Command<'b> {
    old: Oid,
    new: Oid,
    name: &'b str,
}

/// The ref updates of a push, whether the answer goes through the side band, and the pack.
fn commands(mut body: &[u8]) -> Result<(Vec<Command<'_>>, bool, &[u8]), Error> {
    let mut commands = Vec::new();
    let mut banded = false;
    loop {
        let (line, rest) = next(body)?;
        body = rest;
        let Some(line) = line else { return Ok((commands, banded, body)) };
        let line = text(line);
        let (line, capabilities) = line.split_once('\0').unwrap_or((line, ""));
        banded |= capabilities.split(' ').any(|c| c == "side-band-64k");
        let mut words = line.splitn(3, ' ');
        let (Some(old), Some(new), Some(name)) = (words.next(), words.next(), words.next()) else {
            return Err(Error::Protocol("a ref update is incomplete"));
        };
        commands.push(Command { old: Oid::from_str(old)?, new: Oid::from_str(new)?, name });
    }
}

/// `git-receive-pack`: stores the pack, then moves each ref that is where the client says.
pub(super) fn receive(repository: &Repository, body: &[u8]) -> Result<Vec<u8>, Error> {
    let (commands, banded, pack) = commands(body)?;
    if !pack.is_empty() {
        let odb = repository.odb()?;
        let mut writer = odb.packwriter()?;
        writer.write_all(pack)?;
        writer.commit()?;
    }
    let mut report = Vec::new();
    put(&mut report, "unpack ok\n");
    for command in &commands {
        match update(repository, command) {
            Ok(()) => put(&mut report, format!("ok {}\n", command.name)),
            Err(reason) => put(&mut report, format!("ng {} {reason}\n", command.name)),
        }
    }
    report.extend_from_slice(FLUSH);
    Ok(answer(report, banded, ""))
}

fn update(repository: &Repository, command: &Command<'_>) -> Result<(), &'static str> {
    if command.new.is_zero() {
        return Err("deletion prohibited");
    }
    let moved = match command.old.is_zero() {
        true => repository.reference(command.name, command.new, false, "push"),
        false => repository.reference_matching(command.name, command.new, true, command.old, "push"),
    };
    moved.map(drop).map_err(|error| match error.code() {
        ErrorCode::Modified | ErrorCode::Exists | ErrorCode::Locked | ErrorCode::NotFound => "failed to update ref",
        _ => "invalid ref",
    })
}

/// The answer of a hook that says no.
pub(super) fn refuse(body: &[u8], words: &str) -> Result<Vec<u8>, Error> {
    let (commands, banded, _) = commands(body)?;
    let mut report = Vec::new();
    put(&mut report, "unpack ok\n");
    for command in &commands {
        put(&mut report, format!("ng {} pre-receive hook declined\n", command.name));
    }
    report.extend_from_slice(FLUSH);
    Ok(answer(report, banded, words))
}

fn answer(report: Vec<u8>, banded: bool, words: &str) -> Vec<u8> {
    if !banded {
        return report;
    }
    let mut out = Vec::new();
    if !words.is_empty() {
        put_band(&mut out, 2, format!("{words}\n").as_bytes());
    }
    put_band(&mut out, 1, &report);
    out.extend_from_slice(FLUSH);
    out
}
