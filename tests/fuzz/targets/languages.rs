//! The two languages and JSON-aware interpolation.

use lynceus::core::expr::{Program, text};
use lynceus::core::notify::variables::VOCABULARY;
use lynceus::core::template::{Functions, JsonOutcome, MAX_OUTPUT, Template, interpolate_json};
use lynceus::core::value::{Value, display};

use super::{Parts, inside, noon, variables};

/// Compiles or tells a place; what compiles, compiles again to the same.
pub fn expr_parse(input: &[u8]) {
    let source = String::from_utf8_lossy(input);
    match Program::compile(&source) {
        Ok(program) => {
            assert!(source.len() <= 8 * 1024);
            let again = Program::compile(&source).expect("compiled before");
            assert_eq!(program.read_paths(), again.read_paths());
            for warning in program.warnings(&VOCABULARY) {
                inside(&source, warning.line, warning.column);
            }
        }
        Err(error) => {
            inside(&source, error.line, error.column);
            assert!(!error.text.is_empty());
        }
    }
}

/// Gives the same twice, within the limits, and leaves its data alone.
pub fn expr_eval(input: &[u8]) {
    let mut parts = Parts::of(input);
    let source = parts.text();
    let Ok(program) = Program::compile(&source) else { return };
    let env = variables(&parts.text(), &parts.text());
    let before = display(&Value::Map(env.clone()));
    let run = || match program.eval(&env, &noon()) {
        Ok(value) => Ok(text(&value)),
        Err(error) => {
            inside(&source, error.line, error.column);
            Err(error)
        }
    };
    let first = run();
    assert_eq!(first, run());
    assert!(first.is_err() || first.is_ok_and(|text| text.len() <= 8 << 20));
    assert_eq!(display(&Value::Map(env.clone())), before);
}

/// Parses or tells a place; what text/template alone knows, sprig knows too.
pub fn tpl_parse(input: &[u8]) {
    let source = String::from_utf8_lossy(input);
    let full = Template::parse(&source, Functions::Full);
    if let Err(error) = &full {
        inside(&source, error.line, error.column);
        assert!(!error.text.is_empty());
    }
    if Template::parse(&source, Functions::Plain).is_ok() {
        assert!(full.is_ok(), "{source:?}");
    }
}

/// Gives the same twice, within the limits, and leaves its data alone (TLP-02, TLP-03).
pub fn tpl_exec(input: &[u8]) {
    let mut parts = Parts::of(input);
    let source = parts.text();
    let Ok(template) = Template::parse(&source, Functions::Full) else { return };
    let data = Value::Map(variables(&parts.text(), &parts.text()));
    let before = display(&data);
    let first = template.render(&data, &noon());
    match &first {
        Ok(text) => assert!(text.len() <= MAX_OUTPUT),
        Err(error) => inside(&source, error.line, error.column),
    }
    assert_eq!(first, template.render(&data, &noon()), "{source:?}");
    assert_eq!(display(&data), before, "{source:?}");
}

/// Functions that undo each other, others that keep what they promise, for any two texts.
pub fn sprig(input: &[u8]) {
    const LAWS: &[&str] = &[
        "{{if ne (.a | b64enc | b64dec) .a}}broken{{end}}",
        "{{if ne (.a | b32enc | b32dec) .a}}broken{{end}}",
        "{{if ne (.a | toJson | fromJson) .a}}broken{{end}}",
        "{{if ne (dict .b .a | toPrettyJson | fromJson | toJson) (dict .b .a | toJson)}}broken{{end}}",
        "{{if ne (.a | upper | upper) (.a | upper)}}broken{{end}}",
        "{{if ne (.a | trim | trim) (.a | trim)}}broken{{end}}",
        "{{if ne (splitList \",\" .a | join \",\") .a}}broken{{end}}",
        // Of ASCII: half a character is written as U+FFFD, which is longer (core/template, "Differences").
        "{{if gt (trunc 5 (urlquery .a) | len) 5}}broken{{end}}",
        "{{if gt (trunc -5 (urlquery .a) | len) 5}}broken{{end}}",
        "{{if not (hasPrefix .a (print .a .b))}}broken{{end}}",
        "{{if not (hasSuffix .b (print .a .b))}}broken{{end}}",
        "{{if not (contains .a (cat .b .a))}}broken{{end}}",
        "{{if ne (trimPrefix .a (print .a .b)) .b}}broken{{end}}",
        "{{if ne (list .a .b | reverse | reverse | toJson) (list .a .b | toJson)}}broken{{end}}",
        "{{if ne (list .a .b .a | uniq | uniq | len) (list .a .b .a | uniq | len)}}broken{{end}}",
        "{{if ne (list .b .a | sortAlpha | toJson) (list .a .b | sortAlpha | toJson)}}broken{{end}}",
        "{{if not (regexMatch (print \"^\" (regexQuoteMeta .a) \"$\") .a)}}broken{{end}}",
        "{{if ne (sha256sum .a | len) 64}}broken{{end}}",
        "{{if ne (replace .a .b .a | len) (ternary (len .b) (len (replace .a .b .a)) (ne .a \"\"))}}broken{{end}}",
        "{{if ne (get (set (dict) .a .b) .a) .b}}broken{{end}}",
        "{{if hasKey (unset (dict .a .b) .a) .a}}broken{{end}}",
        "{{if ne (merge (dict .a 1) (dict .a 2) | toJson) (dict .a 1 | toJson)}}broken{{end}}",
        "{{if not (deepEqual (deepCopy (list .a (dict .b .a))) (list .a (dict .b .a)))}}broken{{end}}",
        "{{if ne (list .a .b | first) .a}}broken{{end}}",
        "{{if ne (.a | int64 | toString | int64) (.a | int64)}}broken{{end}}",
    ];
    let mut parts = Parts::of(input);
    let (a, b) = (parts.text(), parts.text());
    let data = Value::Map(variables(&a, &b));
    for law in LAWS {
        // A law may fail where a limit is met, but never quietly.
        if let Ok(text) = Template::parse(law, Functions::Full).expect("a law").render(&data, &noon()) {
            assert_eq!(text, "", "{law} for {a:?} and {b:?}");
        }
    }
    // Every function may be given these and fail, but no more.
    for name in parts.text().split_whitespace().take(8) {
        for call in ["{{%s .a .b}}", "{{%s .b .a 1}}", "{{.a | %s}}", "{{%s (list .a .b) 2}}", "{{%s -1 .a}}"] {
            if let Ok(template) = Template::parse(&call.replace("%s", name), Functions::Full) {
                let _ = template.render(&data, &noon());
            }
        }
    }
}

/// A template of JSON stays JSON whatever its values are; any template gives JSON or says that it does not (§8.3).
pub fn json_interpolation(input: &[u8]) {
    const SOUND: &str = r#"{"a": "{{.a}}", "{{.b}}": ["x{{.a}}y", "{{.a}}{{.b}}", {{toJson .a}}], "l": "{{.a | toJson | trimAll "\""}}"}"#;
    let mut parts = Parts::of(input);
    let source = parts.text();
    let data = Value::Map(variables(&parts.text(), &parts.text()));
    let sound = Template::parse(SOUND, Functions::Full).expect("a template");
    let rendering = interpolate_json(&sound, &data, &noon()).expect("no function of it fails");
    // `trimAll` may cut an escape in two, which nothing can mend.
    if !matches!(rendering.outcome, JsonOutcome::Invalid(_)) {
        json(&rendering.text);
    }
    let Ok(template) = Template::parse(&source, Functions::Full) else { return };
    let Ok(plain) = template.render(&data, &noon()) else { return };
    let rendering = interpolate_json(&template, &data, &noon()).expect("rendered plainly");
    match rendering.outcome {
        JsonOutcome::Absent => assert!(plain.trim().is_empty()),
        JsonOutcome::Valid => {
            assert_eq!(rendering.text, plain);
            json(&plain);
        }
        JsonOutcome::Escaped | JsonOutcome::WithoutCommas { .. } => json(&rendering.text),
        JsonOutcome::Invalid(fault) => {
            assert_eq!(rendering.text, plain);
            inside(&plain, fault.line, fault.column);
        }
    }
}

fn json(text: &str) {
    let read = serde_json::from_str::<serde::de::IgnoredAny>(text);
    assert!(read.is_ok(), "{read:?}: {text}");
}
