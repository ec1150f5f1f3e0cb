//! Which ssh host keys are believed: OpenSSH's `known_hosts` format with hashed names, `[host]:port`, wildcards,
//! negation and markers, several keys and key types per host (GIT-2).

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The lines of a `known_hosts` file that can be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownHosts {
    lines: Vec<Line>,
    /// 1-based numbers of lines that are neither comments nor keys.
    pub unreadable: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    hosts: Hosts,
    revoked: bool,
    key: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    Patterns(Vec<String>),
    Hashed { salt: Vec<u8>, hash: Vec<u8> },
}

/// What the file says of a key a host showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is one of the host's keys.
    Known,
    /// The file has no key for the host.
    Unknown,
    /// The file has other keys for the host, of these types.
    Other(Vec<String>),
    /// The file revokes this key.
    Revoked,
}

impl KnownHosts {
    /// Reads the file's text. Lines marked `@cert-authority` are skipped: libssh2 knows no host certificates.
    pub fn parse(text: &str) -> KnownHosts {
        let mut known = KnownHosts::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') || line.starts_with("@cert-authority") {
                continue;
            }
            match parse_line(line) {
                Some(line) => known.lines.push(line),
                None => known.unreadable.push(number + 1),
            }
        }
        known
    }

    /// What the file says of `key` (the wire form of a public key) shown by `host` on `port`.
    pub fn check(&self, host: &str, port: u16, key: &[u8]) -> Verdict {
        let name = lookup_name(host, port);
        let mut others = Vec::new();
        let mut known = false;
        for line in self.lines.iter().filter(|line| line.hosts.matches(&name)) {
            match (line.key == key, line.revoked) {
                (true, true) => return Verdict::Revoked,
                (true, false) => known = true,
                (false, false) => others.push(key_type(&line.key).to_owned()),
                (false, true) => {}
            }
        }
        match (known, others.is_empty()) {
            (true, _) => Verdict::Known,
            (false, true) => Verdict::Unknown,
            (false, false) => Verdict::Other(others),
        }
    }

    /// The key types the file has for a host, best first: what the handshake shall ask for, because a server may have
    /// keys of several types and shows one.
    pub fn types(&self, host: &str, port: u16) -> Vec<&'static str> {
        let name = lookup_name(host, port);
        let has = |kind: &str| {
            self.lines.iter().any(|line| !line.revoked && line.hosts.matches(&name) && key_type(&line.key) == kind)
        };
        TYPES.iter().copied().filter(|kind| has(kind)).collect()
    }
}

/// Host key types in the order they are preferred.
const TYPES: [&str; 5] =
    ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"];

fn parse_line(line: &str) -> Option<Line> {
    let mut words = line.split_ascii_whitespace();
    let mut first = words.next()?;
    let revoked = first == "@revoked";
    if first.starts_with('@') {
        if !revoked {
            return None;
        }
        first = words.next()?;
    }
    let (kind, key) = (words.next()?, decode(words.next()?)?);
    if key_type(&key) != kind {
        return None;
    }
    let hosts = match first.strip_prefix("|1|") {
        Some(rest) => {
            let (salt, hash) = rest.split_once('|')?;
            Hosts::Hashed { salt: decode(salt)?, hash: decode(hash)? }
        }
        None if first.starts_with('|') => return None,
        None => Hosts::Patterns(first.split(',').map(str::to_ascii_lowercase).collect()),
    };
    Some(Line { hosts, revoked, key })
}

fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// The name a host is looked up by: only another port than ssh's own is part of it.
fn lookup_name(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

impl Hosts {
    fn matches(&self, name: &str) -> bool {
        match self {
            Hosts::Hashed { salt, hash } => hmac_sha1(salt, name.as_bytes()) == hash.as_slice(),
            Hosts::Patterns(patterns) => matches_any(patterns, name),
        }
    }
}

/// Whether `name` matches a pattern of the list and none of its negated ones.
pub(super) fn matches_any<S: AsRef<str>>(patterns: &[S], name: &str) -> bool {
    let mut matched = false;
    for pattern in patterns {
        match pattern.as_ref().strip_prefix('!') {
            Some(pattern) if glob(pattern.as_bytes(), name.as_bytes()) => return false,
            Some(_) => {}
            None => matched |= glob(pattern.as_ref().as_bytes(), name.as_bytes()),
        }
    }
    matched
}

/// `*` and `?` as OpenSSH matches them; linear in the product of the lengths.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

fn hmac_sha1(key: &[u8], message: &[u8]) -> [u8; 20] {
    let mut block = [0u8; 64];
    if key.len() > block.len() {
        block[..20].copy_from_slice(&Sha1::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = Sha1::new().chain_update(block.map(|b| b ^ 0x36)).chain_update(message).finalize();
    Sha1::new().chain_update(block.map(|b| b ^ 0x5c)).chain_update(inner).finalize().into()
}

/// The type inside a public key's wire form; empty if it has none.
pub fn key_type(key: &[u8]) -> &str {
    let read = || {
        let (length, rest) = key.split_first_chunk::<4>()?;
        let name = rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        std::str::from_utf8(name).ok()
    };
    read().unwrap_or("")
}

/// `SHA256:…` as ssh shows it.
pub fn fingerprint(key: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(key)))
}

/// The line that would make `key` known for `host`.
pub fn line_for(host: &str, port: u16, key: &[u8]) -> String {
    format!("{} {} {}", lookup_name(host, port), key_type(key), STANDARD.encode(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: &str, body: u8) -> Vec<u8> {
        let mut key = (kind.len() as u32).to_be_bytes().to_vec();
        key.extend_from_slice(kind.as_bytes());
        key.extend_from_slice(&[0, 0, 0, 4, body, body, body, body]);
        key
    }

    /// The file is read with placeholders `ED1`, `ED2`, `RSA1` in place of keys, so that a row can be read by people.
    fn known() -> KnownHosts {
        let text = include_str!("../../../tests/fixtures/git/known_hosts");
        let word = |kind: &str, body: u8| format!("{kind} {}", STANDARD.encode(key(kind, body)));
        let text = text
            .replace("ED1", &word("ssh-ed25519", 1))
            .replace("ED2", &word("ssh-ed25519", 2))
            .replace("RSA1", &word("ssh-rsa", 1));
        KnownHosts::parse(&text)
    }

    #[test]
    fn git_2_known_hosts_vectors() {
        let (ed1, ed2, rsa1) = (key("ssh-ed25519", 1), key("ssh-ed25519", 2), key("ssh-rsa", 1));
        let known = known();
        let other = |types: &[&str]| Verdict::Other(types.iter().map(|t| (*t).to_owned()).collect());
        for (host, port, key, verdict) in [
            ("plain.example", 22, &ed1, Verdict::Known),
            ("PLAIN.example", 22, &ed1, Verdict::Known),
            ("plain.example", 22, &ed2, other(&["ssh-ed25519"])),
            ("plain.example", 2222, &ed1, Verdict::Unknown),
            ("alias.example", 22, &ed1, Verdict::Known),
            ("port.example", 2222, &ed1, Verdict::Known),
            ("port.example", 22, &ed1, Verdict::Unknown),
            ("two.example", 22, &ed1, Verdict::Known),
            ("two.example", 22, &rsa1, Verdict::Known),
            ("rsa.example", 22, &ed1, other(&["ssh-rsa"])),
            ("a.wild.example", 22, &ed1, Verdict::Known),
            ("not.wild.example", 22, &ed1, Verdict::Unknown),
            ("hashed.example", 22, &ed1, Verdict::Known),
            ("hashed.example", 2222, &ed1, Verdict::Unknown),
            ("hashedport.example", 2222, &ed1, Verdict::Known),
            ("revoked.example", 22, &ed1, Verdict::Revoked),
            ("ca.example", 22, &ed1, Verdict::Unknown),
            ("mismatch.example", 22, &ed1, Verdict::Unknown),
            ("elsewhere.example", 22, &ed1, Verdict::Unknown),
        ] {
            assert_eq!(known.check(host, port, key), verdict, "{host}:{port}");
        }
        assert_eq!(known.types("two.example", 22), ["ssh-ed25519", "ssh-rsa"]);
        assert_eq!(known.types("rsa.example", 22), ["ssh-rsa"]);
        assert_eq!(known.unreadable.len(), 4);
    }

    #[test]
    fn git_2_the_line_offered_makes_the_key_known() {
        let shown = key("ssh-ed25519", 9);
        for (host, port) in [("new.example", 22), ("new.example", 7999)] {
            let known = KnownHosts::parse(&line_for(host, port, &shown));
            assert_eq!(known.check(host, port, &shown), Verdict::Known);
        }
    }

    #[test]
    fn hmac_sha1_of_rfc_2202() {
        let hex = |bytes: [u8; 20]| data_encoding::HEXLOWER.encode(&bytes);
        assert_eq!(hex(hmac_sha1(&[0x0b; 20], b"Hi There")), "b617318655057264e28bc0b6fb378c8ef146be00");
        assert_eq!(
            hex(hmac_sha1(b"Jefe", b"what do ya want for nothing?")),
            "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"
        );
        let long = hmac_sha1(&[0xaa; 80], b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(hex(long), "aa4ae5e15272d00e95705637ce8a3b55ed402112");
    }
}
