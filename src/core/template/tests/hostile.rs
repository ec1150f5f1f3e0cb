//! Input that wants to hang, to eat memory or to overflow the stack, and input that means nothing at all.

use std::time::{Duration, Instant};

use super::*;

/// Templates that must be stopped by a limit (TLP-02), or fail as they should.
const ENDLESS: &[&str] = &[
    "{{range 1000000000}}{{end}}",
    "{{range 1000000000}}x{{end}}",
    "{{range 9223372036854775807}}{{range 9223372036854775807}}{{end}}{{end}}",
    "{{range .du}}{{end}}",
    "{{range until 2000000}}{{end}}",
    "{{until 2000000}}",
    "{{untilStep 0 9223372036854775807 1 | len}}",
    "{{untilStep 0 9223372036854775807 4611686018427387904}}",
    "{{seq 100000000}}",
    "{{seq 1 100000000}}",
    "{{seq 0 1 100000000}}",
    "{{repeat 1000000000 \"abc\"}}",
    "{{repeat 9223372036854775807 \"abc\"}}",
    "{{repeat 1000000 \"abc\"}}",
    "{{indent 100000000 \"a\"}}",
    "{{nindent 1000000000 \"a\"}}",
    "{{printf \"%999999d %999999d %999999d\" 1 2 3}}",
    "{{printf \"%.999999f %.999999f\" 1.0 2.0}}",
    "{{printf \"%*d\" 1000000 1 | repeat 2}}",
    "{{$x := \"abcdefgh\"}}{{range 64}}{{$x = print $x $x}}{{end}}",
    "{{$x := \"abcdefgh\"}}{{range 64}}{{$x = cat $x $x}}{{end}}",
    "{{$x := \"abcdefgh\"}}{{range 64}}{{$x = printf \"%s%s\" $x $x}}{{end}}",
    "{{$x := \"abcdefgh\"}}{{range 64}}{{$x = join $x (list $x $x)}}{{end}}",
    "{{$x := \"abcdefgh\"}}{{range 64}}{{$x = replace \"a\" $x $x}}{{end}}",
    "{{$x := \"abcdefgh\"}}{{range 64}}{{$x = regexReplaceAll \"a\" $x $x}}{{end}}",
    "{{$x := \"abcdefgh\"}}{{range 64}}{{$x = quote $x $x}}{{end}}",
    "{{$x := \"<<<<<<<<\"}}{{range 64}}{{$x = html $x $x}}{{end}}",
    "{{$x := \"<<<<<<<<\"}}{{range 64}}{{$x = toJson $x}}{{end}}",
    "{{$x := \"abcdefgh\"}}{{range 64}}{{$x = b64enc $x}}{{end}}",
    "{{$x := \"a b c d e\"}}{{range 64}}{{$x = wrapWith 1 $x $x}}{{end}}",
    "{{$x := list 1 2}}{{range 64}}{{$x = concat $x $x}}{{end}}",
    "{{$x := list 1 2}}{{range 64}}{{$x = list $x $x}}{{end}}{{$x}}",
    "{{$x := list 1 2}}{{range 64}}{{$x = list $x $x}}{{end}}{{toJson $x | len}}{{deepCopy $x | len}}{{$x}}",
    "{{$x := dict \"a\" 1}}{{range 64}}{{$x = dict \"a\" $x \"b\" $x}}{{end}}{{$x}}",
    "{{$x := dict \"a\" 1}}{{range 64}}{{$x = dict \"a\" $x \"b\" $x}}{{end}}{{deepCopy $x}}",
    "{{$x := dict \"a\" 1}}{{range 14}}{{$x = dict \"a\" $x \"b\" $x}}{{end}}{{range 1000}}{{$_ := deepCopy $x}}{{end}}",
    "{{$x := dict \"a\" 1}}{{range 15}}{{$x = dict \"a\" $x \"b\" $x}}{{end}}{{range 1000}}{{$_ := print $x}}{{end}}",
    "{{$x := dict \"a\" 1}}{{range 15}}{{$x = dict \"a\" $x \"b\" $x}}{{end}}{{range 1000}}{{$_ := toJson $x}}{{end}}",
    "{{$x := dict}}{{$_ := set $x \"a\" $x}}{{$_ := set $x \"b\" $x}}{{$x}}",
    "{{$x := dict}}{{$_ := set $x \"a\" $x}}{{$_ := set $x \"b\" $x}}{{printf \"%v\" $x}}",
    "{{$x := dict}}{{$_ := set $x \"a\" $x}}{{$_ := set $x \"b\" $x}}{{printf \"%d\" $x}}",
    "{{$x := dict}}{{$_ := set $x \"a\" $x}}{{$_ := set $x \"b\" $x}}{{mustToJson $x}}",
    "{{$x := dict}}{{$_ := set $x \"a\" $x}}{{deepCopy $x}}",
    "{{$x := dict}}{{$_ := set $x \"a\" $x}}{{$_ := set $x \"b\" $x}}{{quote $x}}",
    "{{define \"r\"}}{{template \"r\"}}{{end}}{{template \"r\"}}",
    "{{define \"r\"}}{{template \"r\" .}}{{template \"r\" .}}{{end}}{{template \"r\" 1}}",
    "{{define \"a\"}}{{template \"b\" .}}{{end}}{{define \"b\"}}{{template \"a\" .}}{{end}}{{template \"a\" 1}}",
    "{{$l := until 900}}{{range $l}}{{range $l}}{{range $l}}{{end}}{{end}}{{end}}",
    "{{$l := until 90000}}{{range $l}}{{if has -1 $l}}{{end}}{{end}}",
    "{{$l := until 90000}}{{range $l}}{{$_ := uniq $l}}{{end}}",
    "{{$l := until 90000}}{{range $l}}{{$_ := reverse $l}}{{end}}",
    "{{$l := until 90000}}{{range $l}}{{$_ := sortAlpha $l}}{{end}}",
    "{{$l := until 90000}}{{range $l}}{{$_ := deepEqual $l (until 90000)}}{{end}}",
    "{{range until 100000}}{{regexMatch (print \"a\" .) \"b\"}}{{end}}",
    "{{$t := repeat 1000 \"aaaaaaaaaa\"}}{{range until 100000}}{{$_ := regexMatch \"(a?){30}a{30}b\" $t}}{{end}}",
    "{{$t := repeat 100000 \"aaaaaaaaaa\"}}{{range 5}}{{$_ := regexMatch \"(a*)*a{1,1000}b\" $t}}{{end}}",
    "{{$t := repeat 100000 \"aaaaaaaaaa\"}}{{range 100000}}{{$_ := upper $t}}{{end}}",
    "{{$t := repeat 100000 \"aaaaaaaaaa\"}}{{range 100000}}{{if contains \"b\" $t}}{{end}}{{end}}",
    "{{$t := repeat 100000 \"aaaaaaaaaa\"}}{{$t}}",
    "{{$t := repeat 100000 \"a\"}}{{$t}}{{$t}}{{$t}}",
    "{{range 1000}}{{toJson $.app}}{{end}}",
    "{{range 1000}}{{$.app}}{{end}}",
    "{{splitList \"\" (repeat 1000000 \"a\") | join (repeat 1000 \"b\")}}",
    "{{range 200000}}{{range $k, $v := $.app}}{{break}}{{end}}{{end}}",
    "{{fromJson (print (repeat 100000 \"[\") (repeat 100000 \"]\")) | fail}}",
    "{{mustFromJson (repeat 100000 \"[\")}}",
    "{{mustFromJson (repeat 100000 \"{\\\"a\\\":\")}}",
    "{{mustRegexFind (repeat 20000 \"a\") \"b\"}}",
    "{{mustRegexFind (repeat 400 \"(\") \"b\"}}",
    "{{mustRegexFind \"((a{100}){100}){100}\" \"b\"}}",
    "{{mustRegexFind \"[\" \"b\"}}",
    "{{mustRegexFind \"a{1001}\" \"b\"}}",
    "{{chunk 0 (list 1)}}",
    "{{chunk -5 (list 1 2 3 4 5 6 7)}}",
    "{{substr 5 1 \"abc\"}}",
    "{{slice (list 1 2 3) 3 1}}",
    "{{index (list) 0}}",
    "{{div 1 0}}",
    "{{divf 1 0}}",
    "{{addf \"inf\" 1}}",
    "{{addf \"nan\" 1}}",
    "{{mergeOverwrite 1 2}}",
    "{{set nil \"a\" 1}}",
    "{{call nil}}",
    "{{mod 5 \"x\"}}",
    "{{first nil}}",
    "{{dig 1 2 3}}",
    "{{.tm.AddDate}}",
    "{{template \"none\"}}",
    "{{semver \"99999999999999999999999.1.1\"}}",
    "{{urlParse \"http://[::1\"}}",
    "{{mustDateModify \"9999999999999999h\" .tm}}",
    "{{mustToDate \"2006\" \"99999\"}}",
];

/// The same with functions that read a long text again and again.
fn endless() -> Vec<String> {
    let mut all: Vec<String> = ENDLESS.iter().map(|source| (*source).to_owned()).collect();
    for function in [
        "upper",
        "lower",
        "title",
        "trim",
        "b64enc",
        "urlquery",
        "html",
        "js",
        "sha256sum",
        "snakecase",
        "swapcase",
        "initials",
        "nospace",
        "quote",
    ] {
        all.push(format!(
            "{{{{$t := repeat 100000 \"aB<_ \"}}}}{{{{range 1000000}}}}{{{{$_ := {function} $t}}}}{{{{end}}}}"
        ));
    }
    all
}

#[test]
fn tpl_limits() {
    let corpus = endless();
    assert!(corpus.len() >= 100, "{}", corpus.len());
    for source in corpus {
        let started = Instant::now();
        let result = render(&source);
        assert!(result.is_err(), "{source} gave {:?}", result.map(|text| text.len()));
        println!("{:6} ms  {source}", started.elapsed().as_millis());
        // Generous: an unoptimized build on a busy machine. Without its limit each of these takes minutes or for ever.
        assert!(started.elapsed() < Duration::from_secs(20), "{source} took {:?}", started.elapsed());
    }
}

#[test]
fn tlp_02_limits_are_where_they_are_said_to_be() {
    let too_long = format!("{}{{{{1}}}}", "x".repeat(MAX_SOURCE));
    assert!(Template::parse(&too_long, Functions::Full).is_err());
    assert!(Template::parse(&"x".repeat(MAX_SOURCE), Functions::Full).is_ok());
    let nested = |levels: usize| format!("{}x{}", "{{if true}}".repeat(levels), "{{end}}".repeat(levels));
    assert_eq!(render(&nested(MAX_DEPTH)).as_deref(), Ok("x"));
    assert!(Template::parse(&nested(MAX_DEPTH + 1), Functions::Full).is_err());
    assert!(Template::parse(&nested(5_000), Functions::Full).is_err());
    let parens = |levels: usize| format!("{{{{{}1{}}}}}", "(".repeat(levels), ")".repeat(levels));
    assert_eq!(render(&parens(MAX_DEPTH)).as_deref(), Ok("1"));
    assert!(Template::parse(&parens(20_000), Functions::Full).is_err());
    let countdown = r#"{{define "r"}}{{if .}}{{.}},{{template "r" (rest .)}}{{end}}{{end}}{{template "r" (until 60)}}"#;
    assert!(render(countdown).is_ok());
    let chain = format!("{{{{if 0}}}}{}{{{{end}}}}", "{{else if 0}}x".repeat(4_000));
    assert_eq!(render(&chain).as_deref(), Ok(""));
    assert_eq!(render("{{range 900}}{{range 250}}x{{end}}{{end}}").map(|t| t.len()), Ok(225_000));
    assert!(render("{{range 1000}}{{range 300}}x{{end}}{{end}}").is_err());
}

/// The largest n for which a template renders.
fn most(shape: impl Fn(usize) -> String) -> usize {
    let works = |n: usize| Template::parse(&shape(n), Functions::Full).is_ok() && render(&shape(n)).is_ok();
    let (mut low, mut high) = (0, 2_000_000);
    assert!(works(low) && !works(high));
    while high - low > 1 {
        let middle = (low + high) / 2;
        if works(middle) { low = middle } else { high = middle }
    }
    low
}

#[test]
fn tlp_02_limits_are_exact() {
    assert_eq!(most(|n| "x".repeat(n)), MAX_SOURCE);
    // Output: what is printed and what stands in the template count alike.
    assert_eq!(most(|n| format!("{{{{repeat {n} \"a\"}}}}")), MAX_OUTPUT);
    assert_eq!(
        most(|n| format!("{}{{{{repeat {} \"a\"}}}}", "x".repeat(n.min(40_000)), n.saturating_sub(40_000))),
        MAX_OUTPUT
    );
    // Steps: the action, its pipeline, and one for each turn.
    assert_eq!(most(|n| format!("{{{{range {n}}}}}{{{{end}}}}")) as u64, MAX_STEPS - 2);
    // A text costs a step for 8 bytes where it is read, and again where it is made: 20,000 of them a turn.
    let reads =
        |n: usize| format!("{{{{$t := repeat 80000 \"a\"}}}}{{{{range {n}}}}}{{{{$_ := upper $t}}}}{{{{end}}}}");
    assert_eq!(most(reads), 49);
    // Depth of the source, and of templates that call templates.
    let nested = |open: &'static str, close: &'static str| {
        move |n: usize| open.repeat(n.min(9_000)) + &close.repeat(n.min(9_000))
    };
    assert_eq!(most(nested("{{if 1}}", "{{end}}")), MAX_DEPTH);
    assert_eq!(most(|n| format!("{{{{{}1{}}}}}", "(".repeat(n.min(9_000)), ")".repeat(n.min(9_000)))), MAX_DEPTH);
    let calls = |n: usize| {
        format!(
            "{{{{define \"r\"}}}}{{{{if .}}}}{{{{template \"r\" (sub . 1)}}}}{{{{end}}}}{{{{end}}}}{{{{template \"r\" {n}}}}}"
        )
    };
    assert_eq!(most(calls), MAX_DEPTH - 1);
}

#[test]
fn sec_03_deep_data_of_the_object_overflows_nothing() {
    let now = noon("UTC");
    let mut deep = Value::text("bottom");
    for level in 0..1_000 {
        deep = if level % 2 == 0 { Value::list(vec![deep]) } else { Value::map([("a", deep)]) };
    }
    let data = Value::map([("app", Value::map([("x", deep.clone()), ("y", deep)]))]);
    for source in [
        "{{.app.x}}",
        "{{.}}",
        "{{print .app.x .app.y}}",
        "{{printf \"%v %q %d %x %#v %+v %T\" .app.x .app.x .app.x .app.x .app.x .app.x .app.x}}",
        "{{toJson .app.x}}",
        "{{toPrettyJson .}}",
        "{{mustToRawJson .app.x}}",
        "{{.app.x | toJson | fromJson}}",
        "{{html .app.x}}{{js .app.x}}{{urlquery .app.x}}",
        "{{deepCopy .app.x}}",
        "{{mustDeepCopy .}}",
        "{{deepEqual .app.x .app.y}}",
        "{{eq .app.x .app.y}}",
        "{{has .app.x (list .app.y)}}",
        "{{uniq (list .app.x .app.y)}}",
        "{{without (list .app.x) .app.y}}",
        "{{compact (list .app.x)}}",
        "{{merge .app (dict \"z\" 1)}}",
        "{{mergeOverwrite (dict) .app .app}}",
        "{{$_ := set .app \"z\" .app.x}}{{.app}}",
        "{{quote .app.x}}{{squote .app.x}}{{cat .app.x}}{{toString .app.x}}",
        "{{toStrings .app.x}}{{sortAlpha .app.x}}{{join \",\" .app.x}}",
        "{{kindOf .app.x}}{{typeOf .app.x}}{{len .app.x}}{{empty .app.x}}{{default 1 .app.x}}",
        "{{dig \"x\" 1 .app}}{{pick .app \"x\"}}{{omit .app \"x\"}}{{values .app}}{{pluck \"x\" .app}}",
        "{{first .app.x}}{{rest .app.x}}{{reverse .app.x}}{{concat .app.x .app.y}}{{chunk 1 .app.x}}",
        "{{range .app.x}}{{.}}{{end}}{{with .app.x}}{{.}}{{end}}",
        "{{$x := .app.x}}{{range 900}}{{$x = list $x}}{{end}}{{$x}}",
        "{{$x := .app.x}}{{range 900}}{{$x = dict \"a\" $x}}{{end}}{{toJson $x}}{{deepCopy $x}}",
    ] {
        let text = template(source).render(&data, &now);
        assert!(text.as_ref().is_err() || text.is_ok_and(|text| text.len() <= MAX_OUTPUT), "{source}");
    }
}

/// Pieces of templates and noise, put together at random; the seed is fixed, so a failure comes again.
fn noise(random: &mut fastrand::Rng, pool: &[&str]) -> String {
    (0..random.usize(1..12)).map(|_| pool[random.usize(..pool.len())]).collect::<Vec<_>>().join(if random.bool() {
        " "
    } else {
        ""
    })
}

const PIECES: &[&str] = &[
    "{{",
    "}}",
    "{{-",
    "-}}",
    "(",
    ")",
    "|",
    "$",
    "$x",
    ":=",
    "=",
    ",",
    ".",
    "..",
    ".app",
    ".app.l",
    ".tm",
    ".du",
    "\"",
    "'",
    "`",
    "'a'",
    "\"s\"",
    "1",
    "-",
    "1i",
    "0x",
    "1e9",
    "/*",
    "*/",
    "if",
    "else",
    "end",
    "range",
    "with",
    "define",
    "template",
    "block",
    "break",
    "continue",
    "nil",
    "true",
    "print",
    "printf",
    "\"%*[1]d%\"",
    "index",
    "dict",
    "list",
    "set",
    "merge",
    "slice",
    "call",
    "\\",
    "\n",
    "é",
    "\u{0}",
    "😀",
    "trunc",
    "substr",
    "regexFind",
    "\"(\"",
    "toDate",
    "-9223372036854775808",
    "round",
    "chunk",
    "abbrevboth",
    "wrap",
    "{{end}}",
    "{{.app}}",
];

#[test]
fn fuzz_tpl_parse() {
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..5_000 {
        let source = noise(&mut random, PIECES);
        if let Err(error) = Template::parse(&source, Functions::Full) {
            assert!(error.line >= 1 && error.column >= 1, "{source}");
        }
    }
}

#[test]
fn fuzz_tpl_exec() {
    let mut random = fastrand::Rng::with_seed(2);
    let now = noon("UTC");
    let shared = data(&now);
    let names: Vec<&str> = super::functions::names(Functions::Full).collect();
    let values = [
        "nil",
        "-1",
        "0",
        "9223372036854775807",
        "-9223372036854775808",
        "1.5",
        "\"\"",
        "\"é€😀\"",
        "\"a b\"",
        "true",
        ".app",
        ".app.l",
        ".app.n",
        ".nope",
        ".tm",
        ".du",
        "(list)",
        "(dict)",
        "1i",
        ".secrets.token",
        ".fn.Up",
        "(until 3)",
        "\"2006-01-02\"",
        "\"%d%[3]*.[2]*[1]f\"",
        "\"[a-\"",
        "(semver \"1.2.3\")",
        "'x'",
        "$",
    ];
    for _ in 0..8_000 {
        let arguments: Vec<&str> = (0..random.usize(0..4)).map(|_| values[random.usize(..values.len())]).collect();
        let source = format!("{{{{{} {}}}}}", names[random.usize(..names.len())], arguments.join(" "));
        if let Ok(template) = Template::parse(&source, Functions::Full) {
            let _ = template.render(&shared, &now);
        }
    }
}
