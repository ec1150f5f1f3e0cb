//! Go's reference-time layouts ("Mon Jan _2 15:04:05 2006"): cutting a layout into elements and writing a moment by it.
//! Reading by a layout is in `time.rs`.

use super::time::{Fields, MONTHS, WEEKDAYS};

/// One element of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    LongMonth,
    Month,
    NumMonth,
    ZeroMonth,
    LongWeekday,
    Weekday,
    Day,
    UnderDay,
    ZeroDay,
    UnderYearDay,
    ZeroYearDay,
    Hour,
    Hour12,
    ZeroHour12,
    Minute,
    ZeroMinute,
    Second,
    ZeroSecond,
    LongYear,
    Year,
    UpperPm,
    LowerPm,
    ZoneName,
    /// `-0700` and its kin.
    Offset {
        /// `Z` stands for zero.
        iso: bool,
        colon: bool,
        precision: Precision,
    },
    /// `.000` (zeros kept) or `.999` (zeros dropped).
    Fraction {
        digits: usize,
        comma: bool,
        keep_zeros: bool,
    },
}

/// How much of an offset is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Precision {
    Hours,
    Minutes,
    Seconds,
}

/// The first element of a layout: the text before it, the element, the text after it. `None`: literal text only.
pub(super) fn next_element(layout: &str) -> Option<(&str, Element, &str)> {
    let bytes = layout.as_bytes();
    for at in 0..bytes.len() {
        if let Some((skip, element, length)) = element_at(&bytes[at..]) {
            let start = at + skip;
            return Some((&layout[..start], element, &layout[start + length..]));
        }
    }
    None
}

/// The element that starts here: literal bytes before it, the element, its length.
fn element_at(rest: &[u8]) -> Option<(usize, Element, usize)> {
    let starts = |text: &str| rest.starts_with(text.as_bytes());
    let lower_after = |length: usize| rest.get(length).is_some_and(u8::is_ascii_lowercase);
    let found = |element, length| Some((0, element, length));
    match rest[0] {
        b'J' if starts("January") => found(Element::LongMonth, 7),
        b'J' if starts("Jan") && !lower_after(3) => found(Element::Month, 3),
        b'M' if starts("Monday") => found(Element::LongWeekday, 6),
        b'M' if starts("Mon") && !lower_after(3) => found(Element::Weekday, 3),
        b'M' if starts("MST") => found(Element::ZoneName, 3),
        b'0' => match rest.get(1) {
            Some(b'1') => found(Element::ZeroMonth, 2),
            Some(b'2') => found(Element::ZeroDay, 2),
            Some(b'3') => found(Element::ZeroHour12, 2),
            Some(b'4') => found(Element::ZeroMinute, 2),
            Some(b'5') => found(Element::ZeroSecond, 2),
            Some(b'6') => found(Element::Year, 2),
            _ if starts("002") => found(Element::ZeroYearDay, 3),
            _ => None,
        },
        b'1' if starts("15") => found(Element::Hour, 2),
        b'1' => found(Element::NumMonth, 1),
        b'2' if starts("2006") => found(Element::LongYear, 4),
        b'2' => found(Element::Day, 1),
        // `_2006` is a literal underscore and a year.
        b'_' if starts("_2006") => Some((1, Element::LongYear, 4)),
        b'_' if starts("_2") => found(Element::UnderDay, 2),
        b'_' if starts("__2") => found(Element::UnderYearDay, 3),
        b'3' => found(Element::Hour12, 1),
        b'4' => found(Element::Minute, 1),
        b'5' => found(Element::Second, 1),
        b'P' if starts("PM") => found(Element::UpperPm, 2),
        b'p' if starts("pm") => found(Element::LowerPm, 2),
        b'-' | b'Z' => {
            let iso = rest[0] == b'Z';
            let offset = |colon, precision, length| found(Element::Offset { iso, colon, precision }, length);
            let digits = &rest[1..];
            if digits.starts_with(b"070000") {
                offset(false, Precision::Seconds, 7)
            } else if digits.starts_with(b"07:00:00") {
                offset(true, Precision::Seconds, 9)
            } else if digits.starts_with(b"0700") {
                offset(false, Precision::Minutes, 5)
            } else if digits.starts_with(b"07:00") {
                offset(true, Precision::Minutes, 6)
            } else if digits.starts_with(b"07") {
                offset(false, Precision::Hours, 3)
            } else {
                None
            }
        }
        separator @ (b'.' | b',') => {
            let digit = *rest.get(1).filter(|d| matches!(d, b'0' | b'9'))?;
            let digits = rest[1..].iter().take_while(|d| **d == digit).count();
            if rest.get(1 + digits).is_some_and(u8::is_ascii_digit) {
                return None;
            }
            found(Element::Fraction { digits, comma: separator == b',', keep_zeros: digit == b'0' }, 1 + digits)
        }
        _ => None,
    }
}

/// Writes the fields of a moment by a layout.
pub(super) fn format(fields: &Fields, mut layout: &str) -> String {
    let mut out = String::with_capacity(layout.len() + 10);
    while let Some((before, element, after)) = next_element(layout) {
        out.push_str(before);
        write_element(&mut out, fields, element);
        layout = after;
    }
    out.push_str(layout);
    out
}

fn write_element(out: &mut String, f: &Fields, element: Element) {
    let month = MONTHS[(f.month as usize + 11) % 12];
    let weekday = WEEKDAYS[f.weekday as usize % 7];
    let hour12 = if f.hour % 12 == 0 { 12 } else { f.hour % 12 };
    let text = match element {
        Element::LongMonth => month.to_owned(),
        Element::Month => month[..3].to_owned(),
        Element::NumMonth => f.month.to_string(),
        Element::ZeroMonth => format!("{:02}", f.month),
        Element::LongWeekday => weekday.to_owned(),
        Element::Weekday => weekday[..3].to_owned(),
        Element::Day => f.day.to_string(),
        Element::UnderDay => format!("{:2}", f.day),
        Element::ZeroDay => format!("{:02}", f.day),
        Element::UnderYearDay => format!("{:3}", f.year_day),
        Element::ZeroYearDay => format!("{:03}", f.year_day),
        Element::Hour => format!("{:02}", f.hour),
        Element::Hour12 => hour12.to_string(),
        Element::ZeroHour12 => format!("{hour12:02}"),
        Element::Minute => f.minute.to_string(),
        Element::ZeroMinute => format!("{:02}", f.minute),
        Element::Second => f.second.to_string(),
        Element::ZeroSecond => format!("{:02}", f.second),
        Element::LongYear if f.year < 0 => format!("-{:04}", -f.year),
        Element::LongYear => format!("{:04}", f.year),
        Element::Year => format!("{:02}", f.year.abs() % 100),
        Element::UpperPm => if f.hour >= 12 { "PM" } else { "AM" }.to_owned(),
        Element::LowerPm => if f.hour >= 12 { "pm" } else { "am" }.to_owned(),
        Element::ZoneName => f.zone_name.clone(),
        Element::Offset { iso, colon, precision } => offset_text(f.offset, iso, colon, precision),
        Element::Fraction { digits, comma, keep_zeros } => fraction_text(f.nanosecond, digits, comma, keep_zeros),
    };
    out.push_str(&text);
}

/// An offset in seconds east of UTC.
pub(super) fn offset_text(offset: i32, iso: bool, colon: bool, precision: Precision) -> String {
    if iso && offset == 0 {
        return "Z".to_owned();
    }
    let minutes = offset / 60;
    // Go looks at the minutes for the sign: less than a minute west prints as plus.
    let sign = if minutes < 0 { '-' } else { '+' };
    let minutes = minutes.abs();
    let between = if colon { ":" } else { "" };
    let hours = format!("{sign}{:02}", minutes / 60);
    match precision {
        // The colon stands even where nothing follows in Go, but no such layout exists.
        Precision::Hours => hours,
        Precision::Minutes => format!("{hours}{between}{:02}", minutes % 60),
        Precision::Seconds => format!("{hours}{between}{:02}{between}{:02}", minutes % 60, offset.abs() % 60),
    }
}

fn fraction_text(nanosecond: u32, digits: usize, comma: bool, keep_zeros: bool) -> String {
    let all = format!("{nanosecond:09}");
    let mut shown = if digits <= 9 { all[..digits].to_owned() } else { all };
    if !keep_zeros {
        shown.truncate(shown.trim_end_matches('0').len());
        if shown.is_empty() {
            return shown;
        }
    }
    format!("{}{shown}", if comma { ',' } else { '.' })
}
