//! sprig's dates. The clock and the local zone are those of the rendering.

use jiff::tz::TimeZone;

use crate::core::value::duration;
use crate::core::value::time::{Moment, parse_in};
use crate::core::value::{IntKind, Value};

use super::{ANY, Ctx, Failure, Function, Outcome, TEXT, TIME, function, text, text_of};

pub(super) static TABLE: &[Function] = &[
    function("now", &[], |ctx, _| Ok(Value::Time(ctx.now.clone()))),
    function("date", &[TEXT, ANY], |ctx, v| in_zone(ctx, text_of(v, 0), &v[1], "Local")),
    function("dateInZone", &[TEXT, ANY, TEXT], |ctx, v| in_zone(ctx, text_of(v, 0), &v[1], text_of(v, 2))),
    function("date_in_zone", &[TEXT, ANY, TEXT], |ctx, v| in_zone(ctx, text_of(v, 0), &v[1], text_of(v, 2))),
    function("htmlDate", &[ANY], |ctx, v| in_zone(ctx, "2006-01-02", &v[0], "Local")),
    function("htmlDateInZone", &[ANY, TEXT], |ctx, v| in_zone(ctx, "2006-01-02", &v[0], text_of(v, 1))),
    function("dateModify", &[TEXT, TIME], |_, v| Ok(modified(v).unwrap_or_else(|_| v[1].clone()))),
    function("date_modify", &[TEXT, TIME], |_, v| Ok(modified(v).unwrap_or_else(|_| v[1].clone()))),
    function("mustDateModify", &[TEXT, TIME], |_, v| modified(v)),
    function("must_date_modify", &[TEXT, TIME], |_, v| modified(v)),
    function("ago", &[ANY], |ctx, v| ago(ctx, &v[0])),
    function("duration", &[ANY], |_, v| text(duration::text(seconds(&v[0]).wrapping_mul(duration::SECOND)))),
    function("durationRound", &[ANY], |ctx, v| text(rounded(span(ctx, &v[0])))),
    function("toDate", &[TEXT, TEXT], |ctx, v| Ok(to_date(ctx, v).unwrap_or_else(|_| Value::Time(Moment::zero())))),
    function("mustToDate", &[TEXT, TEXT], to_date),
    function("unixEpoch", &[TIME], |_, v| match &v[0] {
        Value::Time(moment) => text(moment.unix().to_string()),
        _ => text(""),
    }),
];

/// Times and whole seconds since 1970; anything else, texts too, is *now*.
fn moment_of(ctx: &Ctx<'_>, value: &Value) -> Moment {
    match value {
        Value::Time(moment) => moment.clone(),
        Value::Int(IntKind::Int | IntKind::Int64 | IntKind::Int32, seconds) => {
            Moment::from_unix(*seconds, 0, ctx.now.zone.clone())
        }
        _ => ctx.now.clone(),
    }
}

/// Unknown zones count as UTC.
fn in_zone(ctx: &Ctx<'_>, layout: &str, value: &Value, zone: &str) -> Outcome {
    let zone = match zone {
        "Local" => ctx.now.zone.clone(),
        "" | "UTC" => TimeZone::UTC,
        // Names are looked up as files in Go, hence exactly.
        name => match TimeZone::get(name) {
            Ok(zone) if zone.iana_name() == Some(name) => zone,
            _ => TimeZone::UTC,
        },
    };
    text(moment_of(ctx, value).in_zone(&zone).format(layout))
}

fn modified(values: &[Value]) -> Outcome {
    let span = duration::parse(text_of(values, 0)).map_err(Failure::from)?;
    match &values[1] {
        Value::Time(moment) => Ok(Value::Time(moment.add(span))),
        other => Ok(other.clone()),
    }
}

fn ago(ctx: &Ctx<'_>, value: &Value) -> Outcome {
    let moment = match value {
        Value::Int(IntKind::Int32, _) => ctx.now.clone(),
        other => moment_of(ctx, other),
    };
    text(duration::text(duration::round(ctx.now.sub(&moment), duration::SECOND)))
}

/// A text of digits or an `int64`; everything else is 0, an `int` too.
fn seconds(value: &Value) -> i64 {
    match value {
        Value::Str(text) => decimal(text),
        Value::Int(IntKind::Int64, n) => *n,
        _ => 0,
    }
}

fn decimal(text: &str) -> i64 {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return 0;
    }
    text.parse().unwrap_or(if text.starts_with('-') { i64::MIN } else { i64::MAX })
}

fn span(ctx: &Ctx<'_>, value: &Value) -> i64 {
    match value {
        Value::Str(text) => duration::parse(text).unwrap_or(0),
        Value::Int(IntKind::Int64, n) => *n,
        Value::Time(moment) => ctx.now.sub(moment),
        _ => 0,
    }
}

/// The largest unit of which there is more than one, `2h`, `3mo`.
fn rounded(nanos: i64) -> String {
    let size = nanos.unsigned_abs();
    let hour = duration::HOUR as u64;
    for (unit, name) in [
        (hour * 24 * 365, "y"),
        (hour * 24 * 30, "mo"),
        (hour * 24, "d"),
        (hour, "h"),
        (duration::MINUTE as u64, "m"),
        (duration::SECOND as u64, "s"),
    ] {
        if size > unit {
            return format!("{}{name}", size / unit);
        }
    }
    "0s".to_owned()
}

fn to_date(ctx: &Ctx<'_>, values: &[Value]) -> Outcome {
    let local = &ctx.now.zone;
    parse_in(text_of(values, 0), text_of(values, 1), local, local).map(Value::Time).map_err(Failure::from)
}
