//! Moments with Go's semantics: an instant and the zone it is shown in, civil arithmetic, printing.

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

use super::layout;
pub use super::layout_parse::{parse, parse_in, parse_rfc3339};

/// The layouts that Go's package `time` names, and that the helper `time` offers (notifications.md §5.2).
pub const LAYOUTS: [(&str, &str); 19] = [
    ("Layout", "01/02 03:04:05PM '06 -0700"),
    ("ANSIC", "Mon Jan _2 15:04:05 2006"),
    ("UnixDate", "Mon Jan _2 15:04:05 MST 2006"),
    ("RubyDate", "Mon Jan 02 15:04:05 -0700 2006"),
    ("RFC822", "02 Jan 06 15:04 MST"),
    ("RFC822Z", "02 Jan 06 15:04 -0700"),
    ("RFC850", "Monday, 02-Jan-06 15:04:05 MST"),
    ("RFC1123", "Mon, 02 Jan 2006 15:04:05 MST"),
    ("RFC1123Z", "Mon, 02 Jan 2006 15:04:05 -0700"),
    ("RFC3339", RFC3339),
    ("RFC3339Nano", "2006-01-02T15:04:05.999999999Z07:00"),
    ("Kitchen", "3:04PM"),
    ("Stamp", "Jan _2 15:04:05"),
    ("StampMilli", "Jan _2 15:04:05.000"),
    ("StampMicro", "Jan _2 15:04:05.000000"),
    ("StampNano", "Jan _2 15:04:05.000000000"),
    ("DateTime", "2006-01-02 15:04:05"),
    ("DateOnly", "2006-01-02"),
    ("TimeOnly", "15:04:05"),
];

/// The layout of RFC 3339.
pub const RFC3339: &str = "2006-01-02T15:04:05Z07:00";
/// The layout of Go's `time.Time.String`, which is what `%v` prints.
const STRING: &str = "2006-01-02 15:04:05.999999999 -0700 MST";

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(super) const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// The name of a month (1 = January), as Go's `time.Month` prints it.
pub fn month_name(month: i64) -> String {
    match usize::try_from(month).ok().and_then(|m| MONTHS.get(m.wrapping_sub(1))) {
        Some(name) => (*name).to_owned(),
        None => format!("%!Month({month})"),
    }
}

/// The name of a day of the week (0 = Sunday), as Go's `time.Weekday` prints it.
pub fn weekday_name(weekday: i64) -> String {
    match usize::try_from(weekday).ok().and_then(|d| WEEKDAYS.get(d)) {
        Some(name) => (*name).to_owned(),
        None => format!("%!Weekday({weekday})"),
    }
}

/// Go's `time.Time`: an instant with the zone it is shown in.
#[derive(Clone, Debug)]
pub struct Moment {
    /// The instant.
    pub at: Timestamp,
    /// The zone it is shown in.
    pub zone: TimeZone,
}

/// What a clock and calendar on the wall show at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Fields {
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    pub day: i64,
    /// 1 to 366.
    pub year_day: i64,
    /// 0 = Sunday.
    pub weekday: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
    pub nanosecond: u32,
    /// Seconds east of UTC.
    pub offset: i32,
    /// The zone's abbreviation; its numeric offset where it has none.
    pub zone_name: String,
}

impl Moment {
    /// The instant, shown in UTC.
    pub fn utc(at: Timestamp) -> Self {
        Moment { at, zone: TimeZone::UTC }
    }

    /// Go's zero time: the first instant of year 1, UTC.
    pub fn zero() -> Self {
        Moment::utc(Timestamp::from_second(ZERO_SECOND).unwrap_or(Timestamp::UNIX_EPOCH))
    }

    /// Whether it is the first instant of year 1.
    pub fn is_zero(&self) -> bool {
        self.at.as_second() == ZERO_SECOND && self.at.subsec_nanosecond() == 0
    }

    /// The moment of these seconds and nanoseconds since 1970; what lies beyond year 9999 is kept at the border.
    pub fn from_unix(seconds: i64, nanoseconds: i64, zone: TimeZone) -> Self {
        let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
        Moment { at: timestamp(total), zone }
    }

    /// The same instant shown in another zone.
    pub fn in_zone(&self, zone: &TimeZone) -> Self {
        Moment { at: self.at, zone: zone.clone() }
    }

    /// Whole seconds since 1970, rounded down.
    pub fn unix(&self) -> i64 {
        self.at.as_nanosecond().div_euclid(1_000_000_000) as i64
    }

    /// Nanoseconds since 1970; wraps beyond the years 1678 to 2262, as in Go.
    pub fn unix_nano(&self) -> i64 {
        self.at.as_nanosecond() as i64
    }

    /// Milliseconds since 1970.
    pub fn unix_milli(&self) -> i64 {
        self.at.as_nanosecond().div_euclid(1_000_000) as i64
    }

    /// Microseconds since 1970.
    pub fn unix_micro(&self) -> i64 {
        self.at.as_nanosecond().div_euclid(1_000) as i64
    }

    /// Nanoseconds later.
    pub fn add(&self, nanos: i64) -> Self {
        Moment { at: timestamp(self.at.as_nanosecond() + i128::from(nanos)), zone: self.zone.clone() }
    }

    /// Years, months and days later on the calendar; what overflows a month runs into the next (October 31 plus one
    /// month is December 1).
    pub fn add_date(&self, years: i64, months: i64, days: i64) -> Self {
        let f = self.fields();
        let clock = f.hour * 3600 + f.minute * 60 + f.second;
        date(
            f.year.saturating_add(years),
            f.month.saturating_add(months),
            f.day.saturating_add(days),
            clock,
            f.nanosecond,
            &self.zone,
        )
    }

    /// The nanoseconds from `other` to this moment, saturating at about 292 years.
    pub fn sub(&self, other: &Moment) -> i64 {
        let nanos = self.at.as_nanosecond() - other.at.as_nanosecond();
        nanos.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }

    /// Rounds down to a multiple of `unit` nanoseconds since the zero time.
    pub fn truncate(&self, unit: i64) -> Self {
        if unit <= 0 {
            return self.clone();
        }
        self.add(-self.rest(unit))
    }

    /// Rounds to the nearest multiple of `unit` nanoseconds since the zero time, halves up.
    pub fn round(&self, unit: i64) -> Self {
        if unit <= 0 {
            return self.clone();
        }
        let rest = self.rest(unit);
        if rest as u64 * 2 < unit as u64 { self.add(-rest) } else { self.add(unit - rest) }
    }

    fn rest(&self, unit: i64) -> i64 {
        let since_zero = self.at.as_nanosecond() - i128::from(ZERO_SECOND) * 1_000_000_000;
        since_zero.rem_euclid(i128::from(unit)) as i64
    }

    /// What the wall clock of its zone shows.
    pub fn fields(&self) -> Fields {
        let shown = self.zone.to_datetime(self.at);
        let (name, offset) = zone_at(&self.zone, self.at);
        // jiff rounds towards zero only in the second; below 1970 the civil fields are already floored.
        Fields {
            year: i64::from(shown.year()),
            month: i64::from(shown.month()),
            day: i64::from(shown.day()),
            year_day: i64::from(shown.day_of_year()),
            weekday: i64::from(shown.weekday().to_sunday_zero_offset()),
            hour: i64::from(shown.hour()),
            minute: i64::from(shown.minute()),
            second: i64::from(shown.second()),
            nanosecond: shown.subsec_nanosecond().unsigned_abs(),
            offset,
            zone_name: name,
        }
    }

    /// Writes it by one of Go's reference layouts.
    pub fn format(&self, layout: &str) -> String {
        layout::format(&self.fields(), layout)
    }

    /// What `%v` prints: `2026-05-01 11:58:00 +0000 UTC`.
    pub fn text(&self) -> String {
        self.format(STRING)
    }

    /// Whether summer time is in effect.
    pub fn is_dst(&self) -> bool {
        self.zone.to_offset_info(self.at).dst().is_dst()
    }
}

/// Seconds from the zero time (year 1) to 1970, negative.
const ZERO_SECOND: i64 = -62_135_596_800;

fn timestamp(nanos: i128) -> Timestamp {
    let limited = nanos.clamp(Timestamp::MIN.as_nanosecond(), Timestamp::MAX.as_nanosecond());
    Timestamp::from_nanosecond(limited).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The abbreviation and the offset in seconds of a zone at an instant.
pub(super) fn zone_at(zone: &TimeZone, at: Timestamp) -> (String, i32) {
    let info = zone.to_offset_info(at);
    let offset = info.offset().seconds();
    // A zone that is nothing but an offset has no name in Go and prints as `-0700` does.
    let name = match zone.to_fixed_offset() {
        Ok(_) if zone.iana_name().is_none() && *zone != TimeZone::UTC && is_numeric(info.abbreviation()) => {
            layout::offset_text(offset, false, false, layout::Precision::Minutes)
        }
        _ => info.abbreviation().to_owned(),
    };
    (name, offset)
}

fn is_numeric(abbreviation: &str) -> bool {
    abbreviation.starts_with(['+', '-'])
}

/// Go's `time.FixedZone`: an offset in seconds and an abbreviation, which may be empty.
pub fn fixed_zone(name: &str, offset: i32) -> TimeZone {
    let plain = || Offset::from_seconds(offset).map(TimeZone::fixed).unwrap_or(TimeZone::UTC);
    if name.is_empty() && offset != 0 {
        return plain();
    }
    // POSIX notation counts westwards and is the one way to give a fixed offset a name.
    let name = if name.is_empty() { "+0000" } else { name };
    let (sign, size) = if offset > 0 { ("-", offset) } else { ("", -offset) };
    let (hours, minutes, seconds) = (size / 3600, size / 60 % 60, size % 60);
    TimeZone::posix(&format!("<{name}>{sign}{hours}:{minutes:02}:{seconds:02}")).unwrap_or_else(|_| plain())
}

/// Go's `time.Date`: out-of-range months, days and clock seconds carry over; a wall time that a zone skips or repeats
/// is read with the offset before or after the change, as Go picks it.
pub(super) fn date(year: i64, month: i64, day: i64, clock: i64, nanosecond: u32, zone: &TimeZone) -> Moment {
    let months = year.saturating_mul(12).saturating_add(month - 1);
    let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
    // Beyond what the calendar holds everything ends up at its border; stay clear of overflow on the way.
    let year = year.clamp(-20_000, 20_000);
    let day = day.clamp(-20_000_000, 20_000_000);
    let wall = (days_from_civil(year, month) + day - 1) * 86_400 + clock;
    let offset_at = |unix: i64| i64::from(zone_at(zone, timestamp(i128::from(unix) * 1_000_000_000)).1);
    let mut unix = wall;
    let first = offset_at(wall);
    if first != 0 {
        unix = wall - offset_at(wall - first);
    }
    Moment::from_unix(unix, i64::from(nanosecond), zone.clone())
}

/// Days from 1970-01-01 to the first of a month of the proleptic Gregorian calendar.
fn days_from_civil(year: i64, month: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted = (month + 9) % 12;
    let day_of_year = (153 * shifted + 2) / 5;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Days of a month; 29 for February of a leap year.
pub(super) fn days_in(year: i64, month: i64) -> i64 {
    days_from_civil(if month == 12 { year + 1 } else { year }, month % 12 + 1) - days_from_civil(year, month)
}
