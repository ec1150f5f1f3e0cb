//! Numbers as Go's strconv writes them: shortest form or a given precision, in the styles `e`, `f` and `g`.

/// Formats like Go's `strconv.FormatFloat(value, style, precision, 64)`. `style` is one of `e E f F g G`; no precision
/// means the shortest text that reads back as the same number.
pub fn format_float(value: f64, style: char, precision: Option<usize>) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let body = match style {
        'e' | 'E' => exponent_style(value.abs(), precision, style),
        'f' | 'F' => match precision {
            Some(digits) => padded(format!("{:.*}", digits.min(DIGITS), value.abs()), digits),
            None => format!("{}", value.abs()),
        },
        _ => general_style(value.abs(), precision, if style == 'G' { 'E' } else { 'e' }),
    };
    if value.is_sign_negative() { format!("-{body}") } else { body }
}

/// No float64 has more digits behind its point; the standard library refuses to be asked for very many.
const DIGITS: usize = 1100;

/// Zeros for the digits beyond [`DIGITS`].
fn padded(mut text: String, digits: usize) -> String {
    text.push_str(&"0".repeat(digits.saturating_sub(DIGITS)));
    text
}

/// A `float64` as `%v` prints it.
pub fn float_text(value: f64) -> String {
    format_float(value, 'g', None)
}

/// A `float64` as Go's encoding/json writes it; `None` for what JSON cannot say (NaN, infinity).
pub fn json_float(value: f64) -> Option<String> {
    if !value.is_finite() {
        return None;
    }
    let size = value.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format_float(value, 'e', None);
        // e-09 becomes e-9; positive exponents have two digits here anyway.
        return Some(match text.strip_suffix(|c: char| c.is_ascii_digit()) {
            Some(head) if head.ends_with("e-0") => {
                format!("{}{}", &head[..head.len() - 1], &text[text.len() - 1..])
            }
            _ => text,
        });
    }
    Some(format_float(value, 'f', None))
}

/// Decimal digits (without trailing zeros) and the exponent of the first one.
fn digits_of(value: f64, precision: Option<usize>) -> (String, i32) {
    let text = match precision {
        Some(after_first) => format!("{value:.after_first$e}"),
        None => format!("{value:e}"),
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (mantissa.replace('.', ""), exponent.parse().unwrap_or(0))
}

fn exponent_style(value: f64, precision: Option<usize>, letter: char) -> String {
    let (mut digits, exponent) = digits_of(value, precision.map(|p| p.min(DIGITS)));
    digits.push_str(&"0".repeat(precision.unwrap_or(0).saturating_sub(DIGITS)));
    with_exponent(&digits, exponent, letter)
}

fn with_exponent(digits: &str, exponent: i32, letter: char) -> String {
    let (first, rest) = digits.split_at(1);
    let sign = if exponent < 0 { '-' } else { '+' };
    let point = if rest.is_empty() { "" } else { "." };
    format!("{first}{point}{rest}{letter}{sign}{:02}", exponent.abs())
}

fn general_style(value: f64, precision: Option<usize>, letter: char) -> String {
    let (digits, exponent) = digits_of(value, precision.map(|p| p.clamp(1, DIGITS) - 1));
    let significant = digits.trim_end_matches('0');
    let significant = if significant.is_empty() { "0" } else { significant };
    let count = significant.len() as i32;
    // strconv's rule: the shortest form decides with 6, a given precision with itself or the digits there are.
    let limit = match precision.map(|p| p.max(1) as i32) {
        None => 6,
        Some(wanted) if wanted > count && count > exponent => count,
        Some(wanted) => wanted,
    };
    if exponent < -4 || exponent >= limit {
        return with_exponent(significant, exponent, letter);
    }
    if exponent < 0 {
        return format!("0.{}{}", "0".repeat((-exponent - 1) as usize), significant);
    }
    let whole = (exponent + 1) as usize;
    if significant.len() <= whole {
        return format!("{significant}{}", "0".repeat(whole - significant.len()));
    }
    format!("{}.{}", &significant[..whole], &significant[whole..])
}
