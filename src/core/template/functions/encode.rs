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
    function("b64dec", &[TEXT], |_, v| text(decoded("base64", decode_base64(text_of(v, 0).as_bytes())))),
    function("b32enc", &[TEXT], |_, v| text(BASE32.encode(text_of(v, 0).as_bytes()))),
    function("b32dec", &[TEXT], |_, v| text(decoded("base32", decode_base32(text_of(v, 0).as_bytes())))),
    function("sha1sum", &[TEXT], |_, v| text(hex(&Sha1::digest(text_of(v, 0).as_bytes())))),
    function("sha256sum", &[TEXT], |_, v| text(hex(&Sha256::digest(text_of(v, 0).as_bytes())))),
    function("sha512sum", &[TEXT], |_, v| text(hex(&Sha512::digest(text_of(v, 0).as_bytes())))),
    function("adler32sum", &[TEXT], |_, v| text(adler2::adler32_slice(text_of(v, 0).as_bytes()).to_string())),
];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn decoded(name: &str, result: Result<Vec<u8>, usize>) -> String {
    match result {
        Ok(bytes) => lossy(&bytes),
        Err(at) => format!("illegal {name} data at input byte {at}"),
    }
}

fn base64_digit(c: u8) -> Option<u8> {
    Some(match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

fn base32_digit(c: u8) -> Option<u8> {
    Some(match c {
        b'A'..=b'Z' => c - b'A',
        b'2'..=b'7' => c - b'2' + 26,
        _ => return None,
    })
}

/// The whole bytes of a group of digits.
fn push_group(out: &mut Vec<u8>, digits: &[u8], bits_each: u32) {
    let buffer = digits.iter().fold(0u64, |b, d| b << bits_each | u64::from(*d));
    let bits = digits.len() as u32 * bits_each;
    out.extend((1..=bits / 8).map(|i| (buffer >> (bits - 8 * i)) as u8));
}

/// Go's decoder: line breaks are skipped, padding is required; the error is the position of the fault.
fn decode_base64(source: &[u8]) -> Result<Vec<u8>, usize> {
    let mut out = Vec::with_capacity(source.len());
    let mut at = 0;
    let skip_breaks = |at: &mut usize| {
        while matches!(source.get(*at), Some(b'\r' | b'\n')) {
            *at += 1;
        }
    };
    loop {
        let mut digits: Vec<u8> = Vec::with_capacity(4);
        while digits.len() < 4 {
            let Some(&byte) = source.get(at) else {
                return if digits.is_empty() { Ok(out) } else { Err(at - digits.len()) };
            };
            at += 1;
            match byte {
                b'\r' | b'\n' => {}
                b'=' => {
                    if digits.len() < 2 {
                        return Err(at - 1);
                    }
                    skip_breaks(&mut at);
                    if digits.len() == 2 {
                        match source.get(at) {
                            Some(b'=') => at += 1,
                            Some(_) => return Err(at - 1),
                            None => return Err(source.len()),
                        }
                        skip_breaks(&mut at);
                    }
                    push_group(&mut out, &digits, 6);
                    return if at < source.len() { Err(at) } else { Ok(out) };
                }
                _ => digits.push(base64_digit(byte).ok_or(at - 1)?),
            }
        }
        push_group(&mut out, &digits, 6);
    }
}

/// Go's decoder: line breaks do not count, and what follows the padding is not looked at.
fn decode_base32(source: &[u8]) -> Result<Vec<u8>, usize> {
    let source: Vec<u8> = source.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
    let mut out = Vec::with_capacity(source.len());
    let mut at = 0;
    loop {
        let mut digits: Vec<u8> = Vec::with_capacity(8);
        while digits.len() < 8 {
            let Some(&byte) = source.get(at) else {
                return if digits.is_empty() { Ok(out) } else { Err(at - digits.len()) };
            };
            at += 1;
            let rest = source.get(at..).unwrap_or_default();
            if byte == b'=' && digits.len() >= 2 && rest.len() < 8 {
                if rest.len() + digits.len() < 7 {
                    return Err(source.len());
                }
                if let Some(k) = rest.iter().take(7 - digits.len()).position(|b| *b != b'=') {
                    return Err(at + k - 1);
                }
                if matches!(digits.len(), 3 | 6) {
                    return Err(at - 1);
                }
                push_group(&mut out, &digits, 5);
                return Ok(out);
            }
            digits.push(base32_digit(byte).ok_or(at - 1)?);
        }
        push_group(&mut out, &digits, 5);
    }
}
