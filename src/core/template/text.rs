//! Text as Go sees it: bytes that happen to be UTF-8, quoting, what counts as printable.

use std::sync::LazyLock;

use regex::Regex;

/// Text of bytes. Every byte that belongs to no character becomes one U+FFFD, as when Go writes such text as JSON:
/// our texts are always whole characters, Go's can be cut inside one.
pub(super) fn lossy(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(std::iter::repeat_n('\u{fffd}', chunk.invalid().len()));
    }
    out
}

/// Bytes `start..end` of a text, see [`lossy`].
pub(super) fn byte_slice(text: &str, start: usize, end: usize) -> String {
    lossy(text.as_bytes().get(start..end).unwrap_or_default())
}

/// Go's `unicode.IsPrint`: letters, marks, numbers, punctuation, symbols and the ASCII space.
pub(super) fn is_print(c: char) -> bool {
    static PRINTABLE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^[\p{L}\p{M}\p{N}\p{P}\p{S}]$").ok());
    if c.is_ascii() {
        return matches!(c, ' '..='~');
    }
    PRINTABLE.as_ref().is_some_and(|re| re.is_match(c.encode_utf8(&mut [0; 4])))
}

/// Go's `strconv.Quote`; with `ascii_only`, `strconv.QuoteToASCII`.
pub(super) fn quote(text: &str, ascii_only: bool) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        push_quoted(&mut out, c, '"', ascii_only);
    }
    out.push('"');
    out
}

/// Go's `strconv.QuoteRune`.
pub(super) fn quote_char(c: char, ascii_only: bool) -> String {
    let mut out = String::from("'");
    push_quoted(&mut out, c, '\'', ascii_only);
    out.push('\'');
    out
}

fn push_quoted(out: &mut String, c: char, quote: char, ascii_only: bool) {
    match c {
        '\\' => out.push_str("\\\\"),
        c if c == quote => {
            out.push('\\');
            out.push(c);
        }
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0b' => out.push_str("\\v"),
        c if (c.is_ascii() || !ascii_only) && is_print(c) => out.push(c),
        c if (c as u32) < 0x20 || c == '\x7f' => out.push_str(&format!("\\x{:02x}", c as u32)),
        c if (c as u32) < 0x10000 => out.push_str(&format!("\\u{:04x}", c as u32)),
        c => out.push_str(&format!("\\U{:08x}", c as u32)),
    }
}
