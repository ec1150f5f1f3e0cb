//! Literals of templates: numbers under every Go type that can hold them, quoted texts, characters.

use std::sync::Arc;

use super::cast::TWO_63;
use super::text::lossy;

/// A number literal: Go's untyped constant. The first of the types that its spelling asks for wins, unless a parameter
/// asks for another that can hold it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Number {
    pub text: Arc<str>,
    pub int: Option<i64>,
    pub uint: Option<u64>,
    pub float: Option<f64>,
    pub complex: Option<(f64, f64)>,
}

/// What kind of token the literal came from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Number,
    Complex,
    Char,
}

impl Number {
    pub(super) fn read(text: &str, form: Form) -> Result<Number, String> {
        let mut number = Number { text: text.into(), ..Number::default() };
        match form {
            Form::Char => {
                let malformed = || format!("malformed character constant: {text}");
                let inside = text.get(1..).ok_or_else(malformed)?;
                let (unit, rest) = unquote_unit(inside, '\'').ok_or("invalid syntax")?;
                if rest != "'" {
                    return Err(malformed());
                }
                let code = match unit {
                    Unit::Char(c) => i64::from(u32::from(c)),
                    Unit::Byte(b) => i64::from(b),
                };
                number.int = Some(code);
                number.uint = Some(code as u64);
                number.float = Some(code as f64);
                return Ok(number);
            }
            Form::Complex => {
                // The sign between the parts is the last one that does not belong to an exponent.
                let bytes = text.as_bytes();
                let split = (1..bytes.len())
                    .rev()
                    .find(|i| matches!(bytes[*i], b'+' | b'-') && !matches!(bytes[i - 1], b'e' | b'E' | b'p' | b'P'));
                let split = split.ok_or("syntax error scanning complex number")?;
                let imaginary = &text[split..text.len() - 1];
                match (float(&text[..split]), float(imaginary)) {
                    (Some(re), Some(im)) => number.set_complex(re, im),
                    _ => return Err("syntax error scanning complex number".to_owned()),
                }
                return Ok(number);
            }
            Form::Number => {}
        }
        if let Some(im) = text.strip_suffix('i').and_then(float) {
            number.set_complex(0.0, im);
            return Ok(number);
        }
        number.uint = if text.starts_with(['+', '-']) { None } else { unsigned(text) };
        number.int = signed(text);
        if number.int == Some(0) {
            number.uint = Some(0);
        }
        if let Some(int) = number.int {
            number.float = Some(int as f64);
        } else if let Some(uint) = number.uint {
            number.float = Some(uint as f64);
        } else if let Some(f) = float(text) {
            if !text.contains(['.', 'e', 'E', 'p', 'P']) {
                return Err(format!("integer overflow: {text:?}"));
            }
            number.set_float(f);
        }
        if number.int.is_none() && number.uint.is_none() && number.float.is_none() {
            return Err(format!("illegal number syntax: {text:?}"));
        }
        Ok(number)
    }

    fn set_float(&mut self, f: f64) {
        self.float = Some(f);
        // Exact conversions only; the upper bounds are the first floats out of range.
        if f == f.trunc() && (-TWO_63..TWO_63).contains(&f) {
            self.int = Some(f as i64);
        }
        if f == f.trunc() && (0.0..2.0 * TWO_63).contains(&f) {
            self.uint = Some(f as u64);
        }
    }

    fn set_complex(&mut self, re: f64, im: f64) {
        self.complex = Some((re, im));
        if im == 0.0 {
            self.set_float(re);
        }
    }

    /// Whether the spelling asks for a float: Go looks for a point or an exponent that is no hexadecimal digit.
    pub(super) fn looks_float(&self) -> bool {
        let text = &*self.text;
        let hex = text.len() > 2 && (text.starts_with("0x") || text.starts_with("0X")) && !text.contains(['p', 'P']);
        self.float.is_some() && !hex && !text.starts_with('\'') && text.contains(['.', 'e', 'E', 'p', 'P'])
    }
}

/// Like `strconv.ParseInt(text, 0, 64)`.
fn signed(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let size = i128::from(unsigned(digits)?);
    i64::try_from(if negative { -size } else { size }).ok()
}

/// Like `strconv.ParseUint(text, 0, 64)`: base by prefix, underscores between digits.
fn unsigned(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let (base, digits) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else {
        (10, &lower[..])
    };
    let prefixed = base != 10;
    if !underscores_separate(digits, prefixed) {
        return None;
    }
    let plain = digits.replace('_', "");
    if plain.is_empty() || plain.starts_with(['+', '-']) {
        return None;
    }
    u64::from_str_radix(&plain, base).ok()
}

/// Underscores may stand between digits and behind a base prefix only.
fn underscores_separate(digits: &str, prefixed: bool) -> bool {
    if !digits.contains('_') {
        return true;
    }
    let bytes = digits.as_bytes();
    bytes.iter().enumerate().filter(|(_, b)| **b == b'_').all(|(i, _)| {
        let before = if i == 0 { prefixed } else { bytes[i - 1].is_ascii_hexdigit() };
        before && bytes.get(i + 1).is_some_and(u8::is_ascii_hexdigit)
    })
}

/// Like `strconv.ParseFloat(text, 64)`; overflow counts as no number.
pub(super) fn float(text: &str) -> Option<f64> {
    let (sign, body) = match text.strip_prefix('-') {
        Some(body) => (-1.0, body),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = body.to_ascii_lowercase();
    if let Some(hex) = lower.strip_prefix("0x") {
        return hex_float(hex).map(|f| sign * f);
    }
    if matches!(lower.as_str(), "inf" | "infinity") {
        return Some(sign * f64::INFINITY);
    }
    if lower == "nan" {
        return Some(f64::NAN);
    }
    if !lower.bytes().all(|b| b.is_ascii_digit() || b"._e+-".contains(&b)) || !underscores_separate(&lower, false) {
        return None;
    }
    lower.replace('_', "").parse::<f64>().ok().filter(|f| f.is_finite()).map(|f| sign * f)
}

fn hex_float(body: &str) -> Option<f64> {
    let (mantissa, exponent) = body.split_once('p')?;
    let exponent: i32 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}").replace('_', "");
    if digits.is_empty() || digits.len() > 30 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let value = u128::from_str_radix(&digits, 16).ok()? as f64;
    let result = value * 2f64.powi(exponent.checked_sub(4 * fraction.len() as i32)?);
    Some(result).filter(|f| f.is_finite())
}

/// The text of a quoted or raw literal, by Go's `strconv.Unquote`. `None`: a bad escape.
pub(super) fn unquote(literal: &str) -> Option<String> {
    let inside = literal.get(1..literal.len().checked_sub(1)?)?;
    if literal.starts_with('`') {
        return Some(inside.replace('\r', ""));
    }
    let mut bytes = Vec::with_capacity(inside.len());
    let mut rest = inside;
    while !rest.is_empty() {
        let (unit, tail) = unquote_unit(rest, '"')?;
        match unit {
            Unit::Char(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Unit::Byte(b) => bytes.push(b),
        }
        rest = tail;
    }
    Some(lossy(&bytes))
}

/// One unit of a quoted literal: escapes can name single bytes.
enum Unit {
    Char(char),
    Byte(u8),
}

fn unquote_unit(text: &str, quote: char) -> Option<(Unit, &str)> {
    let c = text.chars().next()?;
    let rest = &text[c.len_utf8()..];
    if c != '\\' {
        return if c == quote { None } else { Some((Unit::Char(c), rest)) };
    }
    let letter = rest.chars().next()?;
    let rest = &rest[letter.len_utf8()..];
    let hex = |length: usize| {
        let digits = rest.get(..length).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        Some((u32::from_str_radix(digits, 16).ok()?, &rest[length..]))
    };
    let simple = match letter {
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        '\\' => '\\',
        '\'' | '"' if letter == quote => letter,
        'x' => return hex(2).map(|(code, rest)| (Unit::Byte(code as u8), rest)),
        'u' => return hex(4).and_then(|(code, rest)| Some((Unit::Char(char::from_u32(code)?), rest))),
        'U' => return hex(8).and_then(|(code, rest)| Some((Unit::Char(char::from_u32(code)?), rest))),
        '0'..='7' => {
            let more = rest.get(..2)?;
            let code = u32::from_str_radix(&format!("{letter}{more}"), 8).ok().filter(|c| *c < 256)?;
            return more.bytes().all(|b| (b'0'..=b'7').contains(&b)).then(|| (Unit::Byte(code as u8), &rest[2..]));
        }
        _ => return None,
    };
    Some((Unit::Char(simple), rest))
}
