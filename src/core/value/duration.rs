//! Spans of time in nanoseconds, as Go's `time.Duration` prints, reads and rounds them.

/// One second in nanoseconds.
pub const SECOND: i64 = 1_000_000_000;
/// One minute in nanoseconds.
pub const MINUTE: i64 = 60 * SECOND;
/// One hour in nanoseconds.
pub const HOUR: i64 = 60 * MINUTE;

/// `1m30s`, `1.5ms`, `0s`.
pub fn text(nanos: i64) -> String {
    if nanos == 0 {
        return "0s".to_owned();
    }
    let sign = if nanos < 0 { "-" } else { "" };
    let size = nanos.unsigned_abs();
    if size < SECOND as u64 {
        let (unit, name) = match size {
            0..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "µs"),
            _ => (1_000_000, "ms"),
        };
        return format!("{sign}{}{}{name}", size / unit, fraction(size % unit, unit));
    }
    let second = SECOND as u64;
    let whole = size / second;
    let seconds = format!("{}{}s", whole % 60, fraction(size % second, second));
    let minutes = whole / 60;
    if minutes == 0 {
        return format!("{sign}{seconds}");
    }
    if minutes < 60 {
        return format!("{sign}{minutes}m{seconds}");
    }
    format!("{sign}{}h{}m{seconds}", minutes / 60, minutes % 60)
}

/// `.5` of `rest` parts in `unit`, without trailing zeros; empty for a whole number.
fn fraction(rest: u64, unit: u64) -> String {
    if rest == 0 {
        return String::new();
    }
    let width = unit.ilog10() as usize;
    let digits = format!("{rest:0width$}");
    format!(".{}", digits.trim_end_matches('0'))
}

/// Reads `1h30m`, `-1.5h`, `300ms`, `0` like `time.ParseDuration`; the error is Go's text.
pub fn parse(source: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {source:?}");
    let (negative, mut rest) = match source.as_bytes().first() {
        Some(b'-') => (true, &source[1..]),
        Some(b'+') => (false, &source[1..]),
        _ => (false, source),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let whole_end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let whole_digits = &rest[..whole_end];
        rest = &rest[whole_end..];
        let mut fraction_digits = "";
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
            fraction_digits = &after[..end];
            rest = &after[end..];
        }
        if whole_digits.is_empty() && fraction_digits.is_empty() {
            return Err(invalid());
        }
        let unit_end = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
        let unit_name = &rest[..unit_end];
        rest = &rest[unit_end..];
        if unit_name.is_empty() {
            return Err(format!("time: missing unit in duration {source:?}"));
        }
        let Some(unit) = unit_nanos(unit_name) else {
            return Err(format!("time: unknown unit {unit_name:?} in duration {source:?}"));
        };
        let whole: u64 = if whole_digits.is_empty() { 0 } else { whole_digits.parse().map_err(|_| invalid())? };
        let mut span = whole.checked_mul(unit).filter(|n| *n <= 1 << 63).ok_or_else(invalid)?;
        // Go stops reading digits where a 64-bit number would overflow, and multiplies as float64.
        let kept = &fraction_digits[..fraction_digits.len().min(18)];
        if !kept.is_empty() {
            let value: u64 = kept.parse().map_err(|_| invalid())?;
            span += (value as f64 * (unit as f64 / 10f64.powi(kept.len() as i32))) as u64;
        }
        total = total.checked_add(span).filter(|n| *n <= 1 << 63).ok_or_else(invalid)?;
    }
    if negative {
        return Ok((total as i64).wrapping_neg());
    }
    i64::try_from(total).map_err(|_| invalid())
}

fn unit_nanos(name: &str) -> Option<u64> {
    Some(match name {
        "ns" => 1,
        // The micro sign and the Greek letter.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => SECOND as u64,
        "m" => MINUTE as u64,
        "h" => HOUR as u64,
        _ => return None,
    })
}

/// Hours, minutes or seconds with their fraction, computed as Go does (whole units first, so that they stay exact).
pub fn in_units(nanos: i64, unit: i64) -> f64 {
    (nanos / unit) as f64 + (nanos % unit) as f64 / unit as f64
}

/// Rounds towards zero to a multiple of `unit`; a unit of zero or less changes nothing.
pub fn truncate(nanos: i64, unit: i64) -> i64 {
    if unit <= 0 { nanos } else { nanos - nanos % unit }
}

/// Rounds half away from zero to a multiple of `unit`; saturates; a unit of zero or less changes nothing.
pub fn round(nanos: i64, unit: i64) -> i64 {
    if unit <= 0 {
        return nanos;
    }
    let rest = nanos % unit;
    let (rest_size, unit_size) = (rest.unsigned_abs(), unit.unsigned_abs());
    let down = nanos - rest;
    if rest_size + rest_size < unit_size {
        return down;
    }
    if nanos < 0 { down.saturating_sub(unit) } else { down.saturating_add(unit) }
}
