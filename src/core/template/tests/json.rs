//! Rows of notifications.md §8.3.

use proptest::prelude::*;

use super::*;

fn interpolated(source: &str, values: &[(&str, &str)]) -> JsonRendering {
    let data = Value::map(values.iter().map(|(k, v)| (*k, Value::text(v))));
    interpolate_json(&template(source), &data, &noon("UTC")).unwrap_or_else(|e| panic!("{source}: {e}"))
}

#[test]
fn json_escape_vectors() {
    use JsonOutcome::*;
    let text = r#"[{"text":"{{.v}}"}]"#;
    for (source, values, sent, outcome) in [
        (text, vec![("v", "ok")], r#"[{"text":"ok"}]"#, Valid),
        (text, vec![("v", "say \"hi\"\nbye")], r#"[{"text":"say \"hi\"\nbye"}]"#, Escaped),
        (text, vec![("v", "C:\\temp\\x\"")], r#"[{"text":"C:\\temp\\x\""}]"#, Escaped),
        (text, vec![("v", "bell \u{7}")], r#"[{"text":"bell \u0007"}]"#, Escaped),
        (
            r#"{"a":{{.v | toJson}},"b":"{{.w}}"}"#,
            vec![("v", "q\""), ("w", "l1\nl2")],
            r#"{"a":"q\"","b":"l1\nl2"}"#,
            Escaped,
        ),
        (
            r#"{"a":"{{.v | toJson | trimAll "\""}}","b":"{{.w}}"}"#,
            vec![("v", "l1\nl2"), ("w", "\"")],
            r#"{"a":"l1\nl2","b":"\""}"#,
            Escaped,
        ),
        (r#"[{"text":"x",}]"#, vec![], r#"[{"text":"x"}]"#, WithoutCommas { escaped: false }),
        (r#"[{"text":"{{.v}}, ]",},]"#, vec![("v", "\"")], r#"[{"text":"\", ]"}]"#, WithoutCommas { escaped: true }),
        ("  \n {{.v}}", vec![("v", "")], "  \n ", Absent),
        (r#"{"{{.v}}":1}"#, vec![("v", "a\tb")], r#"{"a\tb":1}"#, Escaped),
        (r#"{"a":"{{printf "%s%s" .v .w}}"}"#, vec![("v", "\\"), ("w", "\"")], r#"{"a":"\""}"#, Valid),
    ] {
        let rendering = interpolated(source, &values);
        assert_eq!((rendering.text.as_str(), rendering.outcome), (sent, outcome), "{source}");
    }
}

#[test]
fn json_faults_carry_their_place() {
    for (source, line, column) in [
        ("[{\"text\":\"x\"} # c", 1, 15),
        ("{\"a\": }", 1, 7),
        ("{\n  \"é\": nope}", 2, 9),
        ("[1, 2", 1, 6),
        ("{\"a\": 1} x", 1, 10),
    ] {
        let rendering = interpolated(source, &[]);
        assert_eq!(rendering.text, source);
        let JsonOutcome::Invalid(fault) = rendering.outcome else { panic!("{source} passes as JSON") };
        assert_eq!((fault.line, fault.column), (line, column), "{source}: {}", fault.text);
    }
}

#[test]
fn json_render_errors_stay_errors() {
    let failing = template("[{{fail \"x\"}}]");
    assert!(interpolate_json(&failing, &Value::map::<&str>([]), &noon("UTC")).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Valid whenever the static text is valid with every action replaced by an empty string inside strings.
    #[test]
    fn json_escape_property(v in any::<String>(), w in "[\\x00-\\x7f\"\\\\]{0,8}") {
        let rendering = interpolated(r#"{"a": "{{.v}}", "b": ["x{{.w}}y", "{{.v}}{{.w}}"], "{{.w}}": 1}"#, &[("v", &v), ("w", &w)]);
        prop_assert!(serde_json::from_str::<serde_json::Value>(&rendering.text).is_ok(), "{}", rendering.text);
        prop_assert!(!matches!(rendering.outcome, JsonOutcome::Invalid(_)));
    }
}
