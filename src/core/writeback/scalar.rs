//! How a string is written as a YAML scalar: plain only where every reader, of YAML 1.1 and of 1.2, takes it for a
//! string (YML-2).

use super::document::Style;

/// A string as a scalar. `style` is the form it replaces (anything but quotes counts as plain); `flow` whether it stands
/// inside `[…]` or `{…}`.
pub(super) fn write(text: &str, style: Style, flow: bool) -> String {
    let printable = !text.chars().any(needs_escape);
    match style {
        Style::Single if printable => format!("'{}'", text.replace('\'', "''")),
        Style::Single | Style::Double => double(text),
        Style::Plain | Style::Block | Style::AnyString if plain_safe(text, flow) => text.to_owned(),
        Style::Plain | Style::Block | Style::AnyString => double(text),
    }
}

fn double(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if needs_escape(c) => out.push_str(&match c as u32 {
                n @ 0..=0xFF => format!("\\x{n:02X}"),
                n @ 0x100..=0xFFFF => format!("\\u{n:04X}"),
                n => format!("\\U{n:08X}"),
            }),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Characters that break a line in some YAML, cannot be printed, or are invisible.
fn needs_escape(c: char) -> bool {
    c.is_control() || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{FEFF}' | '\u{FFFE}' | '\u{FFFF}')
}

/// Whether a text may stand without quotes (YML-2).
pub(super) fn plain_safe(text: &str, flow: bool) -> bool {
    let Some(first) = text.chars().next() else { return false };
    let blank = |c: char| c == ' ' || c == '\t' || c == '\u{A0}';
    if "!&*?|>%@`\"'#,[]{}-:".contains(first) || text.starts_with(blank) || text.ends_with(blank) {
        return false;
    }
    if text.chars().any(needs_escape) || text.contains(": ") || text.contains(" #") || text.ends_with(':') {
        return false;
    }
    if flow && text.contains([',', '[', ']', '{', '}']) {
        return false;
    }
    // Inside a flow collection `a:"b"` and `a:?b` read differently from parser to parser, or not at all.
    if flow && [":\"", ":'", ":?"].iter().any(|pair| text.contains(pair)) {
        return false;
    }
    !matches!(text, "..." | "---") && is_string(text)
}

/// Whether a plain scalar of this text is a string in YAML 1.1 and in 1.2.
pub(super) fn is_string(text: &str) -> bool {
    !is_word(text) && !is_number(text) && !is_timestamp(text)
}

/// Null, booleans of both versions, merge and value key, infinities.
fn is_word(text: &str) -> bool {
    const LOWER: [&str; 12] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n", ".inf", ".nan", "+.inf"];
    if matches!(text, "" | "~" | "<<" | "=" | "-.inf" | "-.Inf" | "-.INF") {
        return true;
    }
    let lower = text.to_ascii_lowercase();
    // `True`, `TRUE`, `true` are words of YAML; `tRUE` is not, and quoting it harms nobody.
    LOWER.contains(&lower.as_str())
}

/// Integers and floats of both versions: decimal, octal (`017`, `0o17`), hexadecimal, binary, sexagesimal (`1:30`),
/// exponents, and underscores wherever YAML 1.1 or a lenient reader allows them.
fn is_number(text: &str) -> bool {
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !body.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return false;
    }
    let body: String = body.chars().filter(|c| *c != '_').collect();
    let all = |rest: &str, ok: fn(&char) -> bool| !rest.is_empty() && rest.chars().all(|c| ok(&c));
    for (prefix, ok) in [
        ("0x", char::is_ascii_hexdigit as fn(&char) -> bool),
        ("0X", char::is_ascii_hexdigit),
        ("0b", |c| matches!(c, '0' | '1')),
        ("0B", |c| matches!(c, '0' | '1')),
        ("0o", |c| c.is_ascii_digit()),
        ("0O", |c| c.is_ascii_digit()),
    ] {
        if body.strip_prefix(prefix).is_some_and(|rest| all(rest, ok)) {
            return true;
        }
    }
    is_decimal(&body) || is_sexagesimal(&body)
}

fn is_decimal(body: &str) -> bool {
    let (mantissa, exponent) = match body.find(['e', 'E']) {
        Some(at) => (&body[..at], Some(&body[at + 1..])),
        None => (body, None),
    };
    if let Some(exponent) = exponent {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_digit()) {
            return false;
        }
    }
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |part: &str| part.chars().all(|c| c.is_ascii_digit());
    !(whole.is_empty() && fraction.is_empty()) && digits(whole) && digits(fraction)
}

fn is_sexagesimal(body: &str) -> bool {
    let mut parts = body.split(':');
    let digits = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    let first = parts.next().is_some_and(digits);
    let rest: Vec<&str> = parts.collect();
    let Some((last, middle)) = rest.split_last() else { return false };
    let last = last.split_once('.').map_or(*last, |(whole, _)| whole);
    first && digits(last) && last.len() <= 2 && middle.iter().all(|p| digits(p) && p.len() <= 2)
}

/// `2024-01-31`, alone or with a time after `T`, `t` or blanks; months and days of one digit count too.
fn is_timestamp(text: &str) -> bool {
    let digits = |part: &str, n: std::ops::RangeInclusive<usize>| {
        n.contains(&part.len()) && part.chars().all(|c| c.is_ascii_digit())
    };
    let mut parts = text.splitn(3, '-');
    let (Some(year), Some(month), Some(rest)) = (parts.next(), parts.next(), parts.next()) else { return false };
    let day = rest.split(['T', 't', ' ', '\t']).next().unwrap_or_default();
    let time = &rest[day.len()..];
    digits(year, 4..=4)
        && digits(month, 1..=2)
        && digits(day, 1..=2)
        && (time.is_empty() || time.trim_start_matches(['T', 't', ' ', '\t']).starts_with(|c: char| c.is_ascii_digit()))
}
