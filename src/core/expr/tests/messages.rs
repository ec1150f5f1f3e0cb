//! What is said about mistakes, what is warned of, what is read (EXP-02, EXP-03, EXP-04).

use super::*;

#[test]
fn exp_02_rejections_say_where_and_what_instead() {
    for (source, at, hint) in [
        ("not x in ['a']", (1, 7), "`x not in ['a']`"),
        ("not app.a == 'x'", (1, 11), "`app.a != 'x'`"),
        ("not app.a != 'x'", (1, 11), "`app.a == 'x'`"),
        ("not app.n > 5", (1, 11), "`not (app.n > 5)`"),
        ("not app.a contains 'x'", (1, 11), "`app.a not contains 'x'`"),
        ("app.a AND app.b", (1, 7), "`and`"),
        ("NOT app.a", (1, 5), "`not`"),
        ("app.a Or app.b", (1, 7), "`or`"),
        ("app.a = 'x'", (1, 7), "`==`"),
        ("app.a === 'x'", (1, 9), "`==`"),
        ("app.a == 'it''s'", (1, 14), r"'it\'s'"),
        ("app.a == 1 # one", (1, 12), "`//`"),
        ("app.a &\n app.b", (1, 7), "`&&`"),
        ("app.a == 1 and\n\n  =", (3, 3), "`==`"),
        ("['a'].join(',')", (1, 7), "`join(['a'], …)`"),
        ("'5' == 5", (1, 5), "int("),
        ("5 > '5'", (1, 3), "string("),
        ("'a' in 'abc'", (1, 5), "`'abc' contains 'a'`"),
        ("['a'] contains 'a'", (1, 7), "`'a' in ['a']`"),
        ("true and 'x'", (1, 6), "compare"),
        ("app.x ?? false or true", (1, 16), "parentheses"),
        ("'a", (1, 3), "close"),
        ("( ) ) '", (1, 3), ""),
        (r"'\d'", (1, 3), "backticks"),
        ("if app.a { 1 }", (1, 14), "`else`"),
        ("any(app.x)", (1, 10), "any(list"),
        ("'x' matches '('", (1, 5), "RE2"),
        ("é == 'ü' AND", (1, 10), "`and`"),
        ("", (1, 1), ""),
        (" ", (1, 1), ""),
        ("1 +", (1, 3), ""),
        ("app.\n (1)", (2, 3), "a name"),
        ("len(true)", (1, 1), ""),
        ("trimPrefix('a', 5)", (1, 1), ""),
    ] {
        let error = Program::compile(source).expect_err(source);
        assert_eq!((error.line, error.column), at, "{source}: {error}");
        assert!(error.hint.contains(hint) && (!error.hint.is_empty() || hint.is_empty()), "{source}: {error}");
        assert!(!error.text.is_empty(), "{source}");
    }
}

#[test]
fn exp_02_failures_when_run_say_where_and_what_instead() {
    let env = environment("full");
    for (source, at, text) in [
        ("app.status.summary.images.join(',')", (1, 27), "join("),
        ("app.metadata.name ==\n app.a.b", (2, 8), "missing"),
        ("lenn('a')", (1, 1), "`len`"),
        ("app.status.summary.images contains 'x'", (1, 27), "in list"),
        ("fn.Fail()", (1, 4), "failed on purpose"),
    ] {
        let error = Program::compile(source).unwrap().eval(&env, &now()).expect_err(source);
        assert_eq!((error.line, error.column), at, "{source}: {error}");
        assert!(error.text.contains(text) && !error.undetermined, "{source}: {error}");
    }
}

const KNOWN: Vocabulary = Vocabulary {
    writer: "Argo CD",
    variables: &["app", "context", "time"],
    words: &[
        (["operationState", "phase"], &["Running", "Succeeded", "Failed", "Error"]),
        (["health", "status"], &["Healthy", "Progressing", "Degraded", "Missing"]),
        (["sync", "status"], &["Synced", "OutOfSync", "Unknown"]),
    ],
    lists: &["images"],
};

#[test]
fn exp_03_warnings() {
    for (source, expected) in [
        ("app.status.operationState.phase in ['Succeeded', 'Progressing']", Some((1, 50, "Succeeded"))),
        ("app.status.health.status == 'Failed'", Some((1, 29, "Degraded"))),
        ("'Sync' != app.status.sync.status", Some((1, 1, "OutOfSync"))),
        ("app.status?.sync?.status == 'Unknown'", None),
        ("any(app.status.resources, {.health.status == 'Bad'})", Some((1, 46, "Degraded"))),
        ("app.status.health.status == Healthy", Some((1, 29, "'Healthy'"))),
        ("app.status.health.status in [Healthy]", Some((1, 30, "'Healthy'"))),
        ("app.spec.x == null", Some((1, 15, "`nil`"))),
        ("app.spec.x == True", Some((1, 15, "`true`"))),
        ("let x = 1; app.spec.x == x", None),
        ("app.spec.x == context.y", None),
        ("app.status?.operationState.phase == 'Running'", Some((1, 28, "operationState?.phase"))),
        ("app.status?.operationState?.phase == 'Running'", None),
        ("app.status?.operationState == nil", None),
        ("app.status.summary.images contains 'x'", Some((1, 27, "`'x' in app.status.summary.images`"))),
        ("app.status.summary.images matches 'x'", Some((1, 27, "any("))),
        ("app.metadata.name contains 'x'", None),
        ("app.spec.x and app.status.health.status", Some((1, 34, "compare"))),
        ("app.status.health.status", Some((1, 19, "compare"))),
    ] {
        let program = Program::compile(source).unwrap();
        let warnings = program.warnings(&KNOWN);
        match expected {
            None => assert!(warnings.is_empty(), "{source}: {warnings:?}"),
            Some((line, column, hint)) => assert!(
                matches!(warnings.as_slice(), [w] if (w.line, w.column) == (line, column) && w.hint.contains(hint)),
                "{source}: {warnings:?}"
            ),
        }
    }
    for (source, never) in [
        ("'text'", true),
        ("1 + 2", true),
        ("nil", true),
        ("[1]", true),
        ("app.x", false),
        ("app.x == 1", false),
        ("app.x ? true : false", false),
        ("len(app.x)", true),
        ("time.Now()", false),
        ("now()", true),
    ] {
        assert_eq!(Program::compile(source).unwrap().never_boolean(), never, "{source}");
    }
}

#[test]
fn exp_04_what_is_read() {
    for (source, paths, clock) in [
        ("app.status.health.status == 'x'", "app.status.health.status", false),
        ("app.status?.health?.status ?? app.metadata['name']", "app.metadata.name app.status.health.status", false),
        ("any(app.status.conditions, {.type == context.x})", "app.status.conditions context.x", false),
        ("app.a[app.b].c", "app.a app.b", false),
        ("let s = app.status; s.x == 1", "app.status", false),
        ("time.Now().Sub(time.Parse(app.t)) > time.Hour", "app.t time.Hour time.Now time.Parse", true),
        ("now() > date('2026-01-01')", "", true),
        ("let t = time; t.Now()", "time", true),
        ("get(time, 'Now') == nil", "time", true),
        ("$env.app.x", "app.x", false),
        ("true and image.new == 'x'", "image.new", false),
        ("app.x and false", "app.x", false),
        ("1 + 2", "", false),
    ] {
        let program = Program::compile(source).unwrap();
        let read: Vec<String> = program.read_paths().iter().map(|path| path.join(".")).collect();
        assert_eq!(read.join(" "), paths, "{source}");
        assert_eq!(program.reads_clock(), clock, "{source}");
        assert_eq!(program.reads("app"), paths.contains("app."), "{source}");
    }
    assert!(Program::compile("len($env)").unwrap().reads("image"));
}

#[test]
fn hlp_6_a_transient_failure_is_undetermined() {
    let env = Map::new(MapKind::Any);
    let later = Func::new("Later", &[], |_| Err(CallError::Undetermined("no answer yet".into())));
    env.insert("fn", Value::map([("Later", Value::Func(later))]));
    let program = Program::compile("1 == 2 or fn.Later() == 1").unwrap();
    assert!(program.eval(&env, &now()).unwrap_err().undetermined);
}

#[test]
fn a_program_can_be_shared() {
    fn shared<T: Send + Sync + Clone>() {}
    shared::<Program>();
}
