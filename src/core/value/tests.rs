//! What both languages rely on: Go's printing of values, Go's times, RE2's syntax.

use jiff::tz::TimeZone;

use super::time::{self, LAYOUTS, Moment};
use super::*;

fn moment(text: &str) -> Moment {
    time::parse_rfc3339(text, &TimeZone::UTC).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn s_6_5_text_of_values() {
    let rows: Vec<(Value, &str)> = vec![
        (Value::text("a b"), "a b"),
        (Value::int64(3), "3"),
        (Value::Int(IntKind::Uint64, -1), "18446744073709551615"),
        (Value::Float(1.5), "1.5"),
        (Value::Float(5.0), "5"),
        (Value::Float(1234567.0), "1.234567e+06"),
        (Value::Float(1000000.0), "1e+06"),
        (Value::Float(100000.0), "100000"),
        (Value::Float(0.0001), "0.0001"),
        (Value::Float(0.00001), "1e-05"),
        (Value::Float(1e20), "1e+20"),
        (Value::Float(1.5e-300), "1.5e-300"),
        (Value::Float(-0.0), "-0"),
        (Value::Float(f64::INFINITY), "+Inf"),
        (Value::Float(f64::NAN), "NaN"),
        (Value::Complex(0.0, 1.0), "(0+1i)"),
        (Value::Complex(1.5, -2.0), "(1.5-2i)"),
        (Value::Bool(true), "true"),
        (Value::Nil, "<nil>"),
        (Value::list(vec![Value::int(1), Value::Nil, Value::text("a")]), "[1 <nil> a]"),
        (Value::map([("z", Value::int(1)), ("a", Value::int(2))]), "map[a:2 z:1]"),
        (Value::list(vec![]), "[]"),
        (Value::Bytes(Arc::from(&b"s3"[..])), "[115 51]"),
        (Value::Duration(90 * duration::SECOND), "1m30s"),
        (Value::Time(moment("2026-05-01T11:58:00Z")), "2026-05-01 11:58:00 +0000 UTC"),
        (Value::Time(moment("2026-05-01T11:58:00.120Z")), "2026-05-01 11:58:00.12 +0000 UTC"),
        (Value::Time(moment("2026-05-01T11:58:00+02:00")), "2026-05-01 11:58:00 +0200 +0200"),
        (Value::Time(moment("2026-05-01T11:58:00-03:30")), "2026-05-01 11:58:00 -0330 -0330"),
        (Value::Time(Moment::zero()), "0001-01-01 00:00:00 +0000 UTC"),
        (Value::Int(IntKind::Weekday, 5), "Friday"),
        (Value::Int(IntKind::Month, 5), "May"),
        (Value::Int(IntKind::Month, 13), "%!Month(13)"),
    ];
    for (value, text) in rows {
        assert_eq!(display(&value), text);
    }
}

#[test]
fn s_6_5_types_of_values() {
    for (value, text) in [
        (Value::Nil, "<nil>"),
        (Value::text_list(["a"]), "[]string"),
        (Value::text_map([("a", "b")]), "map[string]string"),
        (Value::map([("a", Value::Nil)]), "map[string]interface {}"),
        (Value::int64(1), "int64"),
        (Value::Duration(1), "time.Duration"),
        (Value::Bytes(Arc::from(&b""[..])), "[]uint8"),
    ] {
        assert_eq!(type_name(&value), text);
    }
}

#[test]
fn s_5_2_durations_print_and_read_like_go() {
    for (nanos, text) in [
        (0, "0s"),
        (1, "1ns"),
        (1_500, "1.5µs"),
        (1_000_000, "1ms"),
        (1_001_000_000, "1.001s"),
        (600 * duration::SECOND, "10m0s"),
        (3_661_500_000_000, "1h1m1.5s"),
        (-90_000_000_000, "-1m30s"),
        (i64::MIN, "-2562047h47m16.854775808s"),
    ] {
        assert_eq!(duration::text(nanos), text);
        assert_eq!(duration::parse(text), Ok(nanos), "{text}");
    }
    for (text, nanos) in [("1.5h", 5_400_000_000_000), ("+5s", 5_000_000_000), ("0", 0), ("1h1ns", 3_600_000_000_001)] {
        assert_eq!(duration::parse(text), Ok(nanos), "{text}");
    }
    for text in ["", "3", "1x", "1.h.", ".s", "-", "9223372036854775808ns", "1d"] {
        assert!(duration::parse(text).is_err(), "{text}");
    }
    assert_eq!(duration::round(1_500_000_000, duration::SECOND), 2_000_000_000);
    assert_eq!(duration::round(-1_500_000_000, duration::SECOND), -2_000_000_000);
    assert_eq!(duration::truncate(1_999_999_999, duration::SECOND), 1_000_000_000);
}

#[test]
fn s_5_2_layouts_write_and_read_back() {
    let zurich = TimeZone::get("Europe/Zurich").unwrap();
    let m = moment("2006-01-02T15:04:05.000000006Z").in_zone(&zurich);
    for (layout, text) in [
        ("Mon Jan _2 15:04:05 MST 2006", "Mon Jan  2 16:04:05 CET 2006"),
        ("2006-01-02T15:04:05.999999999Z07:00", "2006-01-02T16:04:05.000000006+01:00"),
        ("3:04PM", "4:04PM"),
        ("02 Jan 06 15:04 -0700", "02 Jan 06 16:04 +0100"),
        ("Monday, January 2, __2 002 .000 ,999 pm Z07 Month", "Monday, January 2,   2 002 .000  pm +01 Month"),
        ("-07:00:00 _2006 1.0 May", "+01:00:00 _2006 1.0 May"),
    ] {
        assert_eq!(m.format(layout), text, "{layout}");
    }
    for (name, layout) in LAYOUTS {
        let text = m.format(layout);
        let read = time::parse(layout, &text, &zurich).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(read.format(layout), text, "{name}");
    }
    let read = time::parse("2006-01-02 15:04 MST", "2026-07-01 12:00 CEST", &zurich).unwrap();
    assert_eq!(read.text(), "2026-07-01 12:00:00 +0200 CEST");
    let read = time::parse("2006-01-02 15:04 MST", "2026-07-01 12:00 PDT", &zurich).unwrap();
    assert_eq!(read.text(), "2026-07-01 12:00:00 +0000 PDT");
    for (layout, text, error) in [
        (
            time::RFC3339,
            "yesterday",
            r#"parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006""#,
        ),
        (time::RFC3339, "", r#"parsing time "" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "2006""#),
        (time::RFC3339, "2026-02-30T00:00:00Z", r#"parsing time "2026-02-30T00:00:00Z": day out of range"#),
        ("2006", "20261", r#"parsing time "20261": extra text: "1""#),
        ("15:04", "25:00", r#"parsing time "25:00": hour out of range"#),
    ] {
        assert_eq!(time::parse(layout, text, &TimeZone::UTC).err().as_deref(), Some(error));
    }
}

#[test]
fn s_5_2_calendar_arithmetic() {
    let m = moment("2026-10-31T12:00:00.9Z");
    assert_eq!(m.add_date(0, 1, 0).text(), "2026-12-01 12:00:00.9 +0000 UTC");
    assert_eq!(m.add_date(-1, -10, 1).text(), "2025-01-01 12:00:00.9 +0000 UTC");
    assert_eq!(m.truncate(duration::HOUR * 24).text(), "2026-10-31 00:00:00 +0000 UTC");
    assert_eq!(m.round(duration::SECOND).text(), "2026-10-31 12:00:01 +0000 UTC");
    assert_eq!(Moment::zero().sub(&m), i64::MIN);
    assert!(Moment::zero().is_zero());
    // A wall time that summer time skips is read with the offset before the change.
    let zurich = TimeZone::get("Europe/Zurich").unwrap();
    let gap = moment("2026-03-28T01:30:00Z").in_zone(&zurich).add_date(0, 0, 1);
    assert_eq!(gap.text(), "2026-03-29 03:30:00 +0200 CEST");
    assert!(m.add_date(i64::MAX, i64::MAX, i64::MIN).fields().month > 0);
    assert_eq!(m.add(i64::MAX).fields().year, 2319);
}

#[test]
fn s_5_2_methods() {
    let utc = TimeZone::UTC;
    let call = |value: &Value, name: &str, arguments: &[Value]| {
        let func = method(value, name, &utc).unwrap_or_else(|| panic!("{name}"));
        display(&func.call(arguments).unwrap_or_else(|e| panic!("{name}: {e}")))
    };
    let m = Value::Time(moment("2026-05-01T11:58:00Z"));
    let later = Value::Time(moment("2026-05-01T12:00:00Z"));
    for (name, arguments, text) in [
        ("Unix", vec![], "1777636680"),
        ("Weekday", vec![], "Friday"),
        ("Month", vec![], "May"),
        ("YearDay", vec![], "121"),
        ("Format", vec![Value::text("Jan 2 15:04")], "May 1 11:58"),
        ("Sub", vec![later.clone()], "-2m0s"),
        ("Before", vec![later.clone()], "true"),
        ("After", vec![later.clone()], "false"),
        ("Equal", vec![m.clone()], "true"),
        ("Add", vec![Value::Duration(duration::HOUR)], "2026-05-01 12:58:00 +0000 UTC"),
        ("AddDate", vec![Value::int(0), Value::int(0), Value::int(1)], "2026-05-02 11:58:00 +0000 UTC"),
        ("In", vec![zone_value(TimeZone::get("Asia/Tokyo").unwrap())], "2026-05-01 20:58:00 +0900 JST"),
        ("Location", vec![], "UTC"),
        ("IsZero", vec![], "false"),
    ] {
        assert_eq!(call(&m, name, &arguments), text, "{name}");
    }
    let d = Value::Duration(90 * duration::SECOND);
    assert_eq!(call(&d, "Minutes", &[]), "1.5");
    assert_eq!(call(&d, "Hours", &[]), "0.025");
    assert_eq!(call(&d, "Round", &[Value::Duration(duration::MINUTE)]), "2m0s");
    assert!(method(&d, "Nope", &utc).is_none());
}

#[test]
fn s_3_8_patterns_are_read_as_re2() {
    for (pattern, text, found) in [
        (r"\d+", "٣ 42", Some("42")),
        (r"\w+", "é ab_1", Some("ab_1")),
        (r"\s", "\u{b}\u{a0} ", Some(" ")),
        (r"a\Q.*\Eb", "xa.*b", Some("a.*b")),
        (r"\Q[", "x[", Some("[")),
        (r"a{,3}", "a{,3}", Some("a{,3}")),
        (r"{", "{", Some("{")),
        (r"x{2}", "xxx", Some("xx")),
        (r"[a&&b]+", "&&", Some("&&")),
        (r"[[a]+", "[a", Some("[a")),
        (r"[]a]+", "]a", Some("]a")),
        (r"[^\d-]+", "1-ab", Some("ab")),
        (r"[[:alpha:]\d]+", "é-a1", Some("a1")),
        (r"\<a\>", "<a>", Some("<a>")),
        (r"(?P<n>a)(?i)B", "ab", Some("ab")),
        (r"\101\x42\x{43}", "ABC", Some("ABC")),
        (r"\pL+", "1é", Some("é")),
        (r"\p{^L}+", "é1", Some("1")),
        (r"\bfoo\b", "éfoo", Some("foo")),
        (r"# a", "# a", Some("# a")),
        (r"(?s).", "\n", Some("\n")),
        (r"a$", "a\n", None),
        (r"é\Bb", "éb", None),
    ] {
        let regex = pattern::compile(pattern).unwrap_or_else(|e| panic!("{pattern}: {e}"));
        assert_eq!(regex.find(text).map(|m| m.as_str()), found, "{pattern}");
    }
    for pattern in [
        "a**",
        "*a",
        "(",
        ")",
        "[",
        "[a",
        "a{1001}",
        "a{2,1}",
        r"\1",
        r"\8",
        r"\E",
        "(?=a)",
        "(?x)a",
        "(?<=a)",
        r"\",
        "[z-a]",
        r"\p{Nope}",
        "[[:nope:]]",
        "(?P<>a)",
        "(?P<n>a)(?P<n>b)",
        r"\Z",
        r"\h",
        r"\é",
        "a+*",
    ] {
        assert!(pattern::compile(pattern).is_err(), "{pattern}");
    }
    assert!(pattern::compile(&"(a{1000}){1000}".repeat(3)).is_err());
    assert_eq!(pattern::quote_meta("a.b{c}-"), r"a\.b\{c\}-");
}

#[test]
fn s_3_8_replacements_expand_like_go() {
    let regex = pattern::compile(r"(?P<first>\w)(\w)").unwrap();
    let groups = regex.captures("ab").unwrap();
    for (template, text) in [
        ("$1-$2", "a-b"),
        ("$1x", ""),
        ("${1}x", "ax"),
        ("$first", "a"),
        ("$$1", "$1"),
        ("$", "$"),
        ("$-", "$-"),
        ("${1", "${1"),
        ("$9", ""),
    ] {
        let mut out = String::new();
        pattern::expand(template, &groups, &mut out);
        assert_eq!(out, text, "{template}");
    }
}
