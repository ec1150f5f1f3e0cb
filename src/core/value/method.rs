//! The methods of times, spans, months, weekdays and zones that both languages can call (notifications.md §5.2).

use std::any::Any;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::duration::{self, HOUR, MINUTE, SECOND};
use super::time::{Moment, month_name, weekday_name};
use super::{CallError, Func, IntKind, Object, Param, Value};

/// The method `name` bound to `value`; `None` if it has none of that name. `local` is the zone of `Local`.
pub fn method(value: &Value, name: &str, local: &TimeZone) -> Option<Func> {
    match value {
        Value::Time(moment) => moment_method(moment.clone(), name, local),
        Value::Duration(nanos) => duration_method(*nanos, name),
        Value::Int(IntKind::Month, month) if name == "String" => Some(constant(name, Value::text(month_name(*month)))),
        Value::Int(IntKind::Weekday, day) if name == "String" => Some(constant(name, Value::text(weekday_name(*day)))),
        Value::Object(object) => object.method(name),
        _ => None,
    }
}

/// A method without parameters whose result is known already.
fn constant(name: &str, result: Value) -> Func {
    Func::new(name, &[], move |_| Ok(result.clone()))
}

fn moment_method(moment: Moment, name: &str, local: &TimeZone) -> Option<Func> {
    let number = |n: i64| constant(name, Value::int(n));
    let long = |n: i64| constant(name, Value::int64(n));
    Some(match name {
        "Unix" => long(moment.unix()),
        "UnixMilli" => long(moment.unix_milli()),
        "UnixMicro" => long(moment.unix_micro()),
        "UnixNano" => long(moment.unix_nano()),
        "IsZero" => constant(name, Value::Bool(moment.is_zero())),
        "IsDST" => constant(name, Value::Bool(moment.is_dst())),
        "Local" => constant(name, Value::Time(moment.in_zone(local))),
        "UTC" => constant(name, Value::Time(moment.in_zone(&TimeZone::UTC))),
        "Location" => constant(name, zone_value(moment.zone)),
        "String" => constant(name, Value::text(moment.text())),
        "Year" => number(moment.fields().year),
        "Month" => constant(name, Value::Int(IntKind::Month, moment.fields().month)),
        "Day" => number(moment.fields().day),
        "Hour" => number(moment.fields().hour),
        "Minute" => number(moment.fields().minute),
        "Second" => number(moment.fields().second),
        "Nanosecond" => number(i64::from(moment.fields().nanosecond)),
        "Weekday" => constant(name, Value::Int(IntKind::Weekday, moment.fields().weekday)),
        "YearDay" => number(moment.fields().year_day),
        "Format" => Func::new(name, &[Param::Text], move |arguments| {
            Ok(Value::text(moment.format(arguments.first().and_then(Value::as_text).unwrap_or_default())))
        }),
        "In" => {
            Func::new(name, &[Param::Object(ZONE_TYPE)], move |arguments| match arguments.first().and_then(zone_of) {
                Some(zone) => Ok(Value::Time(moment.in_zone(&zone))),
                None => Err(CallError::Failed("time: missing Location in call to Time.In".to_owned())),
            })
        }
        "AddDate" => Func::new(name, &[Param::Int, Param::Int, Param::Int], move |arguments| {
            let part = |i: usize| arguments.get(i).map_or(0, integer);
            Ok(Value::Time(moment.add_date(part(0), part(1), part(2))))
        }),
        "Add" => Func::new(name, &[Param::Duration], move |a| Ok(Value::Time(moment.add(first(a))))),
        "Truncate" => Func::new(name, &[Param::Duration], move |a| Ok(Value::Time(moment.truncate(first(a))))),
        "Round" => Func::new(name, &[Param::Duration], move |a| Ok(Value::Time(moment.round(first(a))))),
        "Sub" => Func::new(name, &[Param::Time], move |a| Ok(Value::Duration(moment.sub(&other(a)?)))),
        "Before" => Func::new(name, &[Param::Time], move |a| Ok(Value::Bool(moment.at < other(a)?.at))),
        "After" => Func::new(name, &[Param::Time], move |a| Ok(Value::Bool(moment.at > other(a)?.at))),
        "Equal" => Func::new(name, &[Param::Time], move |a| Ok(Value::Bool(moment.at == other(a)?.at))),
        "Compare" => Func::new(name, &[Param::Time], move |a| Ok(Value::int(moment.at.cmp(&other(a)?.at) as i64))),
        _ => return None,
    })
}

fn duration_method(nanos: i64, name: &str) -> Option<Func> {
    let float = |unit| constant(name, Value::Float(duration::in_units(nanos, unit)));
    Some(match name {
        "Hours" => float(HOUR),
        "Minutes" => float(MINUTE),
        "Seconds" => float(SECOND),
        "Milliseconds" => constant(name, Value::int64(nanos / 1_000_000)),
        "Microseconds" => constant(name, Value::int64(nanos / 1_000)),
        "Nanoseconds" => constant(name, Value::int64(nanos)),
        "String" => constant(name, Value::text(duration::text(nanos))),
        "Abs" => constant(name, Value::Duration(nanos.saturating_abs())),
        "Round" => Func::new(name, &[Param::Duration], move |a| Ok(Value::Duration(duration::round(nanos, first(a))))),
        "Truncate" => {
            Func::new(name, &[Param::Duration], move |a| Ok(Value::Duration(duration::truncate(nanos, first(a)))))
        }
        _ => return None,
    })
}

fn integer(value: &Value) -> i64 {
    match value {
        Value::Int(_, n) | Value::Duration(n) => *n,
        _ => 0,
    }
}

fn first(arguments: &[Value]) -> i64 {
    arguments.first().map_or(0, integer)
}

fn other(arguments: &[Value]) -> Result<Moment, CallError> {
    match arguments.first() {
        Some(Value::Time(moment)) => Ok(moment.clone()),
        _ => Err(CallError::Failed("expected a time".to_owned())),
    }
}

const ZONE_TYPE: &str = "*time.Location";

/// A zone as a value: what `Location` gives and `In` takes.
pub fn zone_value(zone: TimeZone) -> Value {
    Value::Object(Arc::new(Zone(zone)))
}

/// The zone in a value made by [`zone_value`].
pub fn zone_of(value: &Value) -> Option<TimeZone> {
    let Value::Object(object) = value else { return None };
    let any: &dyn Any = object.as_ref();
    any.downcast_ref::<Zone>().map(|zone| zone.0.clone())
}

#[derive(Debug)]
struct Zone(TimeZone);

impl Object for Zone {
    fn type_name(&self) -> &str {
        ZONE_TYPE
    }

    fn field(&self, _: &str) -> Option<Value> {
        None
    }

    fn method(&self, name: &str) -> Option<Func> {
        (name == "String").then(|| constant(name, Value::text(self.text().unwrap_or_default())))
    }

    fn text(&self) -> Option<String> {
        Some(self.0.iana_name().unwrap_or_default().to_owned())
    }
}
