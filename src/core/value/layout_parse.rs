//! Reading a text by one of Go's reference layouts (`time.Parse`), with Go's zone rules and error texts.

use jiff::tz::TimeZone;

use super::layout::{Element, Precision, next_element};
use super::time::{MONTHS, Moment, RFC3339, WEEKDAYS, date, days_in, fixed_zone, zone_at};

/// Reads RFC 3339 text. An offset that is the local one at that time gives a moment in the local zone, any other a
/// zone without name. The error is Go's text.
pub fn parse_rfc3339(text: &str, local: &TimeZone) -> Result<Moment, String> {
    parse(RFC3339, text, local)
}

/// Reads a text by a layout like `time.Parse`; without a zone in the layout the moment is in UTC.
pub fn parse(layout: &str, text: &str, local: &TimeZone) -> Result<Moment, String> {
    parse_in(layout, text, &TimeZone::UTC, local)
}

/// Reads a text by a layout like `time.ParseInLocation`: without a zone in the layout the moment is in `zone`.
pub fn parse_in(layout: &str, text: &str, zone: &TimeZone, local: &TimeZone) -> Result<Moment, String> {
    let mut reading = Reading::new(text.as_bytes());
    let mut rest_of_layout = layout;
    loop {
        let Some((before, element, after)) = next_element(rest_of_layout) else {
            reading.skip(rest_of_layout.as_bytes()).map_err(|left| mismatch(layout, text, rest_of_layout, left))?;
            if !reading.rest.is_empty() {
                return Err(remark(text, &format!(": extra text: {}", quote(reading.rest))));
            }
            break;
        };
        reading.skip(before.as_bytes()).map_err(|left| mismatch(layout, text, before, left))?;
        let hold = reading.rest;
        let name = &rest_of_layout[before.len()..rest_of_layout.len() - after.len()];
        match reading.element(element, after) {
            Ok(()) => {}
            Err(Bad::Value) => return Err(mismatch(layout, text, name, hold)),
            Err(Bad::Range(what)) => return Err(remark(text, &format!(": {what} out of range"))),
        }
        rest_of_layout = after;
    }
    reading.finish(zone, local).map_err(|what| remark(text, &format!(": {what}")))
}

fn mismatch(layout: &str, text: &str, element: &str, rest: &[u8]) -> String {
    format!(
        "parsing time {} as {}: cannot parse {} as {}",
        quote(text.as_bytes()),
        quote(layout.as_bytes()),
        quote(rest),
        quote(element.as_bytes())
    )
}

fn remark(text: &str, message: &str) -> String {
    format!("parsing time {}{message}", quote(text.as_bytes()))
}

fn quote(text: &[u8]) -> String {
    let mut out = String::from("\"");
    for &byte in text {
        match byte {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b' '..0x80 => out.push(char::from(byte)),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out.push('"');
    out
}

enum Bad {
    /// The text does not fit the element.
    Value,
    /// It fits, but the number is out of its range.
    Range(&'static str),
}

#[derive(Default)]
struct Reading<'a> {
    rest: &'a [u8],
    year: i64,
    month: Option<i64>,
    day: Option<i64>,
    year_day: Option<i64>,
    hour: i64,
    minute: i64,
    second: i64,
    nanosecond: u32,
    morning: bool,
    afternoon: bool,
    utc: bool,
    offset: Option<i32>,
    zone_name: Option<&'a [u8]>,
}

impl<'a> Reading<'a> {
    fn new(rest: &'a [u8]) -> Self {
        Reading { rest, ..Reading::default() }
    }

    /// Skips literal text; a run of blanks stands for any run of blanks.
    fn skip(&mut self, mut literal: &[u8]) -> Result<(), &'a [u8]> {
        while let Some(&byte) = literal.first() {
            if byte == b' ' {
                if self.rest.first().is_some_and(|b| *b != b' ') {
                    return Err(self.rest);
                }
                literal = without_blanks(literal);
                self.rest = without_blanks(self.rest);
                continue;
            }
            if self.rest.first() != Some(&byte) {
                return Err(self.rest);
            }
            literal = &literal[1..];
            self.rest = &self.rest[1..];
        }
        Ok(())
    }

    fn element(&mut self, element: Element, after: &str) -> Result<(), Bad> {
        match element {
            Element::Year => {
                let year = signed_number(self.take(2)?).ok_or(Bad::Value)?;
                self.year = if year >= 69 { year + 1900 } else { year + 2000 };
            }
            Element::LongYear => {
                if !digit_at(self.rest, 0) {
                    return Err(Bad::Value);
                }
                self.year = signed_number(self.take(4)?).ok_or(Bad::Value)?;
            }
            Element::Month => self.month = Some(self.name(&MONTHS, Some(3))? + 1),
            Element::LongMonth => self.month = Some(self.name(&MONTHS, None)? + 1),
            Element::NumMonth | Element::ZeroMonth => {
                let month = self.two_digits(element == Element::ZeroMonth)?;
                in_range(month, 1, 12, "month")?;
                self.month = Some(month);
            }
            Element::Weekday => {
                self.name(&WEEKDAYS, Some(3))?;
            }
            Element::LongWeekday => {
                self.name(&WEEKDAYS, None)?;
            }
            Element::Day | Element::UnderDay | Element::ZeroDay => {
                if element == Element::UnderDay {
                    self.one_blank();
                }
                self.day = Some(self.two_digits(element == Element::ZeroDay)?);
            }
            Element::UnderYearDay | Element::ZeroYearDay => {
                if element == Element::UnderYearDay {
                    self.one_blank();
                    self.one_blank();
                }
                self.year_day = Some(self.three_digits(element == Element::ZeroYearDay)?);
            }
            Element::Hour => {
                self.hour = self.two_digits(false)?;
                in_range(self.hour, 0, 23, "hour")?;
            }
            Element::Hour12 | Element::ZeroHour12 => {
                self.hour = self.two_digits(element == Element::ZeroHour12)?;
                in_range(self.hour, 0, 12, "hour")?;
            }
            Element::Minute | Element::ZeroMinute => {
                self.minute = self.two_digits(element == Element::ZeroMinute)?;
                in_range(self.minute, 0, 59, "minute")?;
            }
            Element::Second | Element::ZeroSecond => self.seconds(element == Element::ZeroSecond, after)?,
            Element::UpperPm | Element::LowerPm => {
                let (am, pm): (&[u8], &[u8]) =
                    if element == Element::UpperPm { (b"AM", b"PM") } else { (b"am", b"pm") };
                let word = self.take(2)?;
                self.morning |= word == am;
                self.afternoon |= word == pm;
                if word != am && word != pm {
                    return Err(Bad::Value);
                }
            }
            Element::Offset { iso, colon, precision } => self.zone_offset(iso, colon, precision)?,
            Element::ZoneName => self.zone_abbreviation()?,
            Element::Fraction { digits, keep_zeros, .. } => self.fraction(digits, keep_zeros)?,
        }
        Ok(())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Bad> {
        let (head, tail) = self.rest.split_at_checked(length).ok_or(Bad::Value)?;
        self.rest = tail;
        Ok(head)
    }

    fn one_blank(&mut self) {
        self.rest = self.rest.strip_prefix(b" ").unwrap_or(self.rest);
    }

    /// Position of the name that starts here, case ignored.
    fn name(&mut self, names: &[&str], length: Option<usize>) -> Result<i64, Bad> {
        for (index, name) in names.iter().enumerate() {
            let name = &name.as_bytes()[..length.unwrap_or(name.len())];
            if self.rest.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name)) {
                self.rest = &self.rest[name.len()..];
                return Ok(index as i64);
            }
        }
        Err(Bad::Value)
    }

    fn two_digits(&mut self, fixed: bool) -> Result<i64, Bad> {
        match (digit_at(self.rest, 0), digit_at(self.rest, 1)) {
            (true, true) => signed_number(self.take(2)?).ok_or(Bad::Value),
            (true, false) if !fixed => signed_number(self.take(1)?).ok_or(Bad::Value),
            _ => Err(Bad::Value),
        }
    }

    fn three_digits(&mut self, fixed: bool) -> Result<i64, Bad> {
        let count = (0..3).take_while(|i| digit_at(self.rest, *i)).count();
        if count == 0 || (fixed && count != 3) {
            return Err(Bad::Value);
        }
        signed_number(self.take(count)?).ok_or(Bad::Value)
    }

    fn seconds(&mut self, fixed: bool, after: &str) -> Result<(), Bad> {
        self.second = self.two_digits(fixed)?;
        in_range(self.second, 0, 59, "second")?;
        // A fraction in the text that the layout does not ask for is taken along.
        if fraction_starts(self.rest) && !matches!(next_element(after), Some((_, Element::Fraction { .. }, _))) {
            let length = 1 + self.rest[1..].iter().take_while(|b| b.is_ascii_digit()).count();
            self.nanosecond = nanoseconds(self.take(length)?)?;
        }
        Ok(())
    }

    fn fraction(&mut self, digits: usize, exact: bool) -> Result<(), Bad> {
        if exact {
            self.nanosecond = nanoseconds(self.take(1 + digits)?)?;
        } else if fraction_starts(self.rest) {
            let length = 1 + self.rest[1..].iter().take_while(|b| b.is_ascii_digit()).count();
            self.nanosecond = nanoseconds(self.take(length)?)?;
        }
        Ok(())
    }

    fn zone_offset(&mut self, iso: bool, colon: bool, precision: Precision) -> Result<(), Bad> {
        if iso && self.rest.first() == Some(&b'Z') {
            self.rest = &self.rest[1..];
            self.utc = true;
            return Ok(());
        }
        let parts = match precision {
            Precision::Hours => 1,
            Precision::Minutes => 2,
            Precision::Seconds => 3,
        };
        let gap = usize::from(colon);
        let text = self.take(1 + 2 * parts + gap * (parts - 1))?;
        let mut numbers = [0i64; 3];
        for (part, number) in numbers.iter_mut().enumerate().take(parts) {
            let start = 1 + part * (2 + gap);
            if part > 0 && colon && text[start - 1] != b':' {
                return Err(Bad::Value);
            }
            let pair = &text[start..start + 2];
            if !pair.iter().all(u8::is_ascii_digit) {
                return Err(Bad::Value);
            }
            *number = signed_number(pair).ok_or(Bad::Value)?;
        }
        // Some people write offsets of 24 hours or 60 minutes; Go lets them.
        in_range(numbers[0], 0, 24, "time zone offset hour")?;
        in_range(numbers[1], 0, 60, "time zone offset minute")?;
        in_range(numbers[2], 0, 60, "time zone offset second")?;
        let size = ((numbers[0] * 60 + numbers[1]) * 60 + numbers[2]) as i32;
        self.offset = Some(match text[0] {
            b'+' => size,
            b'-' => -size,
            _ => return Err(Bad::Value),
        });
        Ok(())
    }

    fn zone_abbreviation(&mut self) -> Result<(), Bad> {
        if let Some(rest) = self.rest.strip_prefix(b"UTC") {
            self.rest = rest;
            self.utc = true;
            return Ok(());
        }
        let length = abbreviation_length(self.rest).ok_or(Bad::Value)?;
        self.zone_name = Some(self.take(length)?);
        Ok(())
    }

    fn finish(mut self, default_zone: &TimeZone, local: &TimeZone) -> Result<Moment, String> {
        if self.afternoon && self.hour < 12 {
            self.hour += 12;
        } else if self.morning && self.hour == 12 {
            self.hour = 0;
        }
        let (month, day) = self.month_and_day()?;
        if day < 1 || day > days_in(self.year, month) {
            return Err("day out of range".to_owned());
        }
        let clock = self.hour * 3600 + self.minute * 60 + self.second;
        let at = |zone: &TimeZone| date(self.year, month, day, clock, self.nanosecond, zone);
        let utc = at(&TimeZone::UTC);
        if self.utc {
            return Ok(utc);
        }
        let name = self.zone_name.map(|n| String::from_utf8_lossy(n).into_owned());
        if let Some(offset) = self.offset {
            let moment = utc.add(-i64::from(offset) * 1_000_000_000);
            let (local_name, local_offset) = zone_at(local, moment.at);
            if local_offset == offset && name.as_ref().is_none_or(|n| *n == local_name) {
                return Ok(moment.in_zone(local));
            }
            return Ok(moment.in_zone(&fixed_zone(name.as_deref().unwrap_or(""), offset)));
        }
        let Some(name) = name else { return Ok(at(default_zone)) };
        // The abbreviation counts where the local zone uses it at that time.
        let (local_name, local_offset) = zone_at(local, utc.at);
        let shifted = utc.add(-i64::from(local_offset) * 1_000_000_000);
        if local_name == name || zone_at(local, shifted.at).0 == name {
            let offset = zone_at(local, shifted.at).1;
            return Ok(utc.add(-i64::from(offset) * 1_000_000_000).in_zone(local));
        }
        let hours = name.strip_prefix("GMT").and_then(|n| signed_number(n.as_bytes())).unwrap_or(0);
        Ok(utc.in_zone(&fixed_zone(&name, hours as i32 * 3600)))
    }

    fn month_and_day(&self) -> Result<(i64, i64), String> {
        let Some(year_day) = self.year_day else {
            return Ok((self.month.unwrap_or(1), self.day.unwrap_or(1)));
        };
        let mut left = year_day;
        let mut month = 1;
        while month <= 12 && left > days_in(self.year, month) {
            left -= days_in(self.year, month);
            month += 1;
        }
        if year_day < 1 || month > 12 {
            return Err("day-of-year out of range".to_owned());
        }
        if self.month.is_some_and(|m| m != month) {
            return Err("day-of-year does not match month".to_owned());
        }
        if self.day.is_some_and(|d| d != left) {
            return Err("day-of-year does not match day".to_owned());
        }
        Ok((month, left))
    }
}

fn in_range(number: i64, low: i64, high: i64, what: &'static str) -> Result<(), Bad> {
    if (low..=high).contains(&number) { Ok(()) } else { Err(Bad::Range(what)) }
}

fn digit_at(text: &[u8], index: usize) -> bool {
    text.get(index).is_some_and(u8::is_ascii_digit)
}

fn fraction_starts(text: &[u8]) -> bool {
    matches!(text.first(), Some(b'.' | b',')) && digit_at(text, 1)
}

fn without_blanks(text: &[u8]) -> &[u8] {
    &text[text.iter().take_while(|b| **b == b' ').count()..]
}

fn signed_number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `.5` → 500,000,000. Digits beyond the ninth are dropped.
fn nanoseconds(text: &[u8]) -> Result<u32, Bad> {
    if !matches!(text.first(), Some(b'.' | b',')) {
        return Err(Bad::Value);
    }
    let digits = &text[1..text.len().min(10)];
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Bad::Value);
    }
    let number = signed_number(digits).ok_or(Bad::Value)?;
    Ok((number * 10i64.pow(9 - digits.len() as u32)) as u32)
}

/// How long the zone abbreviation at the start of the text is, by Go's guess at what can be one.
fn abbreviation_length(text: &[u8]) -> Option<usize> {
    if text.len() < 3 {
        return None;
    }
    if text.starts_with(b"ChST") || text.starts_with(b"MeST") {
        return Some(4);
    }
    if let Some(rest) = text.strip_prefix(b"GMT") {
        return Some(3 + signed_offset_length(rest));
    }
    if matches!(text[0], b'+' | b'-') {
        return Some(signed_offset_length(text)).filter(|n| *n > 0);
    }
    match text.iter().take(6).take_while(|b| b.is_ascii_uppercase()).count() {
        3 => Some(3),
        4 if text[3] == b'T' || text.starts_with(b"WITA") => Some(4),
        5 if text[4] == b'T' => Some(5),
        _ => None,
    }
}

fn signed_offset_length(text: &[u8]) -> usize {
    if !matches!(text.first(), Some(b'+' | b'-')) {
        return 0;
    }
    let digits = text[1..].iter().take_while(|b| b.is_ascii_digit()).count();
    match signed_number(&text[1..1 + digits]) {
        Some(hours) if hours <= 23 => 1 + digits,
        _ => 0,
    }
}
