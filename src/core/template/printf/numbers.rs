//! Numbers under `printf`'s verbs.

use crate::core::value::Value;
use crate::core::value::number::format_float;

use super::super::text::{is_print, quote_char};
use super::Printer;

impl Printer {
    pub(super) fn integer(&mut self, value: &Value, n: i64, signed: bool, verb: char) {
        let negative = signed && n < 0;
        let size = if negative { n.unsigned_abs() } else { n as u64 };
        let code = if n as u64 > 0x10ffff { None } else { char::from_u32(n as u32) };
        match verb {
            'v' if self.flags.sharp_v && !signed => {
                self.flags.sharp = true;
                self.digits(size, negative, verb, format!("{size:x}"), "0x");
                self.flags.sharp = false;
            }
            'v' | 'd' => self.digits(size, negative, verb, size.to_string(), ""),
            'b' => self.digits(size, negative, verb, format!("{size:b}"), "0b"),
            'o' => self.digits(size, negative, verb, format!("{size:o}"), "0"),
            'O' => self.digits(size, negative, verb, format!("{size:o}"), "0"),
            'x' => self.digits(size, negative, verb, format!("{size:x}"), "0x"),
            'X' => self.digits(size, negative, verb, format!("{size:X}"), "0X"),
            'c' => self.pad(&code.unwrap_or('\u{fffd}').to_string()),
            'q' => {
                let text = quote_char(code.unwrap_or('\u{fffd}'), self.flags.plus);
                self.pad(&text);
            }
            'U' => {
                let width = self.flags.precision.unwrap_or(0).max(4);
                let digits = format!("{:X}", n as u64);
                let mut text = format!("U+{}{digits}", "0".repeat(width.saturating_sub(digits.len())));
                if let Some(c) = code.filter(|c| self.flags.sharp && is_print(*c)) {
                    text.push_str(&format!(" '{c}'"));
                }
                self.pad_with_blanks(&text);
            }
            _ => self.complain(value, verb),
        }
    }

    fn digits(&mut self, size: u64, negative: bool, verb: char, digits: String, prefix: &str) {
        let flags = self.flags;
        if flags.precision == Some(0) && size == 0 {
            self.pad_with_blanks("");
            return;
        }
        let wanted = match (flags.precision, flags.width) {
            (Some(precision), _) => precision,
            (None, Some(width)) if flags.zero && !flags.minus => {
                width.saturating_sub(usize::from(negative || flags.plus || flags.space))
            }
            _ => 0,
        };
        let mut text = format!("{}{digits}", "0".repeat(wanted.saturating_sub(digits.len())));
        if flags.sharp && !(prefix == "0" && text.starts_with('0')) {
            text.insert_str(0, prefix);
        }
        if verb == 'O' {
            text.insert_str(0, "0o");
        }
        if negative {
            text.insert(0, '-');
        } else if flags.plus {
            text.insert(0, '+');
        } else if flags.space {
            text.insert(0, ' ');
        }
        self.pad_with_blanks(&text);
    }

    pub(super) fn float(&mut self, value: &Value, f: f64, verb: char) {
        let (style, default) = match verb {
            'v' => ('g', None),
            'g' | 'G' => (verb, None),
            'e' | 'E' => (verb, Some(6)),
            'f' | 'F' => ('f', Some(6)),
            'b' | 'x' | 'X' => (verb, None),
            _ => return self.complain(value, verb),
        };
        let precision = self.flags.precision.or(default);
        let mut text = match style {
            'b' => binary_float(f),
            'x' | 'X' => hex_float(f, precision, style == 'X'),
            _ => format_float(f, style, precision),
        };
        if !text.starts_with(['+', '-']) {
            text.insert(0, '+');
        }
        if self.flags.space && text.starts_with('+') && !self.flags.plus {
            text.replace_range(..1, " ");
        }
        if !f.is_finite() {
            if f.is_nan() && !self.flags.space && !self.flags.plus {
                text.remove(0);
            }
            self.pad_with_blanks(&text);
            return;
        }
        if self.flags.sharp && style != 'b' {
            text = with_point(&text, style, precision);
        }
        if self.flags.plus || !text.starts_with('+') {
            if let Some(width) = self.flags.width
                && self.flags.zero
                && !self.flags.minus
                && width > text.len()
            {
                self.out.push_str(&text[..1]);
                self.out.push_str(&"0".repeat(width - text.len()));
                self.out.push_str(&text[1..]);
                return;
            }
            self.pad(&text);
            return;
        }
        self.pad(&text[1..]);
    }

    pub(super) fn complex(&mut self, value: &Value, re: f64, im: f64, verb: char) {
        if !matches!(verb, 'v' | 'b' | 'g' | 'G' | 'x' | 'X' | 'f' | 'F' | 'e' | 'E') {
            return self.complain(value, verb);
        }
        let plus = self.flags.plus;
        self.out.push('(');
        self.float(value, re, verb);
        self.flags.plus = true;
        self.float(value, im, verb);
        self.out.push_str("i)");
        self.flags.plus = plus;
    }
}

/// The `#` flag keeps the point and the trailing zeros.
fn with_point(text: &str, style: char, precision: Option<usize>) -> String {
    let mut digits: i64 = match style {
        'g' | 'G' | 'x' => precision.map_or(6, |p| p as i64),
        _ => 0,
    };
    let (body, tail) = match text.find(['e', 'E', 'p', 'P']) {
        Some(at) if !matches!(style, 'x' | 'X') || text[at..].starts_with(['p', 'P']) => text.split_at(at),
        _ => (text, ""),
    };
    let mut body = body.to_owned();
    let mut nonzero = false;
    let mut point = false;
    for c in body[1..].chars() {
        match c {
            '.' => point = true,
            c => {
                nonzero |= c != '0';
                digits -= i64::from(nonzero);
            }
        }
    }
    if !point {
        if body.len() == 2 && body.ends_with('0') {
            digits -= 1;
        }
        body.push('.');
    }
    body.push_str(&"0".repeat(digits.max(0) as usize));
    body + tail
}

/// `%b`: the mantissa as an integer and a power of two.
fn binary_float(f: f64) -> String {
    let bits = f.to_bits();
    let exponent = (bits >> 52 & 0x7ff) as i64;
    let fraction = bits & ((1 << 52) - 1);
    let (mantissa, exponent) = if exponent == 0 { (fraction, 1) } else { (fraction | 1 << 52, exponent) };
    format!("{}{mantissa}p{:+}", if f.is_sign_negative() { "-" } else { "" }, exponent - 1075)
}

/// `%x`: hexadecimal mantissa and a power of two.
fn hex_float(f: f64, precision: Option<usize>, upper: bool) -> String {
    let bits = f.to_bits();
    let mut exponent = (bits >> 52 & 0x7ff) as i64 - 1023;
    let mut mantissa = bits & ((1 << 52) - 1) | 1 << 52;
    if f == 0.0 {
        (mantissa, exponent) = (0, 0);
    } else if exponent == -1023 {
        mantissa = bits & ((1 << 52) - 1);
        exponent = -1022;
        while mantissa & 1 << 52 == 0 {
            mantissa <<= 1;
            exponent -= 1;
        }
    }
    if let Some(digits) = precision.filter(|p| *p < 13) {
        let shift = 52 - 4 * digits as u32;
        let (half, rest) = (1u64 << (shift - 1), mantissa & ((1 << shift) - 1));
        mantissa >>= shift;
        if rest > half || (rest == half && mantissa & 1 == 1) {
            mantissa += 1;
        }
        mantissa <<= shift;
        if mantissa & 1 << 53 != 0 {
            mantissa >>= 1;
            exponent += 1;
        }
    }
    let mut digits = format!("{:013x}", mantissa & ((1 << 52) - 1));
    match precision {
        None => digits.truncate(digits.trim_end_matches('0').len()),
        Some(p) if p < 13 => digits.truncate(p),
        Some(p) => digits.push_str(&"0".repeat(p - 13)),
    }
    let point = if digits.is_empty() { "" } else { "." };
    let sign = if f.is_sign_negative() { "-" } else { "" };
    let exponent_sign = if exponent < 0 { '-' } else { '+' };
    let text = format!("{sign}0x{}{point}{digits}p{exponent_sign}{:02}", mantissa >> 52, exponent.abs());
    if upper { text.to_uppercase() } else { text }
}
