//! sprig's encodings and hashes. Decoding gives Go's error text as its result.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use data_encoding::BASE32;
use sha1::{Digest, Sha1};
use sha2::{Sha256, Sha512};

use super::super::text::lossy;
use super::{Function, TEXT, function, text, text_of};

pub(super) static TABLE: &[Function] = &[
    function("b64enc", &[TEXT], |_, v| text(BASE64_STANDARD.encode(text_of(v, 0)))),
    function("b64dec", &[TEXT], |_, v| text(decoded(text_of(v, 0), &BASE64))),
    function("b32enc", &[TEXT], |_, v| text(BASE32.encode(text_of(v, 0).as_bytes()))),
    function("b32dec", &[TEXT], |_, v| text(decoded(text_of(v, 0), &BASE32_GROUPS))),
    function("sha1sum", &[TEXT], |_, v| text(hex(&Sha1::digest(text_of(v, 0).as_bytes())))),
    function("sha256sum", &[TEXT], |_, v| text(hex(&Sha256::digest(text_of(v, 0).as_bytes())))),
    function("sha512sum", &[TEXT], |_, v| text(hex(&Sha512::digest(text_of(v, 0).as_bytes())))),
    function("adler32sum", &[TEXT], |_, v| text(adler2::adler32_slice(text_of(v, 0).as_bytes()).to_string())),
];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A padded encoding in groups of characters.
struct Groups {
    name: &'static str,
    group: usize,
    bits: u32,
    digit: fn(u8) -> Option<u8>,
    /// How many characters of an incomplete group are possible.
    lengths: &'static [usize],
}

static BASE64: Groups = Groups {
    name: "base64",
    group: 4,
    bits: 6,
    digit: |c| {
        Some(match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        })
    },
    lengths: &[2, 3],
};

static BASE32_GROUPS: Groups = Groups {
    name: "base32",
    group: 8,
    bits: 5,
    digit: |c| {
        Some(match c {
            b'A'..=b'Z' => c - b'A',
            b'2'..=b'7' => c - b'2' + 26,
            _ => return None,
        })
    },
    lengths: &[2, 4, 5, 7],
};

fn decoded(source: &str, groups: &Groups) -> String {
    match decode(source.as_bytes(), groups) {
        Ok(bytes) => lossy(&bytes),
        Err(at) => format!("illegal {} data at input byte {at}", groups.name),
    }
}

/// Go's decoders: line breaks are skipped, padding is required, the error is the position of the first bad byte.
fn decode(source: &[u8], groups: &Groups) -> Result<Vec<u8>, usize> {
    // base32 strips line breaks first and counts positions in what is left.
    let stripped: Vec<u8>;
    let source = if groups.group == 8 {
        stripped = source.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
        &stripped
    } else {
        source
    };
    let mut out = Vec::with_capacity(source.len());
    let mut at = 0;
    loop {
        let mut digits: Vec<u8> = Vec::with_capacity(groups.group);
        let mut finished = false;
        while digits.len() < groups.group {
            let Some(&byte) = source.get(at) else {
                if digits.is_empty() {
                    return Ok(out);
                }
                return Err(if groups.group == 8 { source.len() } else { at - digits.len() });
            };
            at += 1;
            if matches!(byte, b'\r' | b'\n') {
                continue;
            }
            if byte == b'=' {
                padding(source, &mut at, digits.len(), groups)?;
                finished = true;
                break;
            }
            digits.push((groups.digit)(byte).ok_or(at - 1)?);
        }
        let mut buffer: u64 = 0;
        for digit in &digits {
            buffer = buffer << groups.bits | u64::from(*digit);
        }
        let bits = digits.len() as u32 * groups.bits;
        for i in 0..bits / 8 {
            out.push((buffer >> (bits - 8 * (i + 1))) as u8);
        }
        if finished {
            return match source.get(at) {
                Some(_) => Err(at),
                None => Ok(out),
            };
        }
    }
}

/// Checks the padding, whose first character has just been read.
fn padding(source: &[u8], at: &mut usize, digits: usize, groups: &Groups) -> Result<(), usize> {
    let skip_breaks = |at: &mut usize| {
        while matches!(source.get(*at), Some(b'\r' | b'\n')) {
            *at += 1;
        }
    };
    if !groups.lengths.contains(&digits) {
        return Err(*at - 1);
    }
    for _ in digits + 1..groups.group {
        skip_breaks(at);
        match source.get(*at) {
            Some(b'=') => *at += 1,
            Some(_) => return Err(if groups.group == 8 { *at } else { *at - 1 + 1 }),
            None => return Err(source.len()),
        }
    }
    skip_breaks(at);
    Ok(())
}
