//! Nothing a person can write runs long, grows large or brings the process down (EXP-05).

use super::*;

/// Each of these is hostile in another way: too long, too deep, too many, or quadratic.
fn long_or_deep() -> Vec<String> {
    let n = |text: &str, times: usize| text.repeat(times);
    vec![
        n("(", 4000),
        n("[", 4000),
        n("{a:", 2000),
        n("!", 8000),
        n("-", 8000),
        n("not ", 2000),
        n("(", 60) + "1" + &n(")", 60),
        n("1+", 4000) + "1",
        n("1+", 900) + "1",
        n("a or ", 900) + "b",
        n("a??", 900) + "b",
        n("2**", 900) + "2",
        n("1<", 900) + "2",
        n("(1<", 50) + "2" + &n(")", 50),
        n("(1<(2)<", 30) + "2" + &n(")", 30),
        n("(a ?: ", 40) + "b" + &n(")", 40),
        n("a?b:", 900) + "c",
        n("a.", 2000) + "b",
        n("a?.", 2000) + "b",
        "a".to_owned() + &n("[0]", 900),
        "a".to_owned() + &n("[:]", 900),
        "a".to_owned() + &n(" | len()", 900),
        n("let a=1;", 900) + "a",
        n("len(", 900) + &n(")", 900),
        n("map(a,", 900) + &n(")", 900),
        n("if true {", 400) + &n("} else {}", 400),
        n("1;", 3000),
        "[".to_owned() + &n("1,", 3000) + "]",
        "f(".to_owned() + &n("1,", 3000) + ")",
        "'".to_owned() + &n("\\", 4001),
        "'x' matches '".to_owned() + &n("(", 3000) + "'",
        "'x' matches '(((a{1000}){1000}){1000}'".to_owned(),
        "'x' matches '((((a{30}){30}){30}){30}'".to_owned(),
        format!("repeat('a', 90000) matches '{}$'", n("(a|a)*", 200)),
        format!("repeat('a', 90000) matches '{}'", n("a?", 900) + &n("a", 900)),
        "repeat('a', 90000) matches '(a?){1000}b'".to_owned(),
        "repeat('a', 90000) matches '((a{1,20}){1,20}){1,20}b'".to_owned(),
        "repeat('ab', 40000) matches '(.*a.*b.*){30}c'".to_owned(),
        "let s = repeat('a', 90000); any(1..1000, {s matches ('a{' + string(#) + '}$')})".to_owned(),
        "let s = repeat('a', 90000); all(1..90000, {s contains 'a'})".to_owned(),
        "let s = repeat('a', 90000); map(1..10000, {s + s})".to_owned(),
        "let s = repeat('aaaaaaaaaa', 90000); map(1..10000, {upper(s)})".to_owned(),
        "let s = repeat('a', 90000); map(1..10000, {split(s, 'a')})".to_owned(),
        "let s = repeat('a', 90000); map(1..10000, {replace(s, 'a', 'aaaaaaaaaaaaaaaaaaaa')})".to_owned(),
        "let s = repeat('a', 900); replace(s, '', s)".to_owned(),
        "let s = repeat('a', 90000); join([s, s, s, s, s, s, s, s, s, s, s, s, s], s)".to_owned(),
        format!("fromJSON('{}')", n("[", 4000)),
        format!("fromJSON('{}{}')", n("[", 3000), n("]", 3000)),
        n("é", 4000),
        n("😀", 2000),
    ]
}

/// Small to write, large or slow to evaluate without limits; or at the edge of what numbers hold.
const LARGE: &[&str] = &[
    "1..100000000",
    "1..9223372036854775807",
    "-9223372036854775807..9223372036854775807",
    "len(1..100000000)",
    "any(1..1000, any(1..1000, any(1..1000, false)))",
    "map(1..1000, map(1..1000, map(1..1000, #)))",
    "filter(1..90000, true) == filter(1..90000, true)",
    "uniq(1..90000)",
    "sort(1..90000)",
    "sortBy(1..90000, -#)",
    "groupBy(1..90000, #)",
    "map(1..90000, {[#]})",
    "fromPairs(map(1..40000, {[#, #]}))",
    "concat(1..90000, 1..90000, 1..90000)",
    "reduce(1..90000, [#acc], 1)",
    "reduce(1..90000, {[#acc]}, 1)",
    "reduce(1..90000, {{a: #acc}}, 1)",
    "reduce(1..90000, {[#acc, #acc]}, 1)",
    "reduce(1..90000, {#acc + #acc}, 'a')",
    "reduce(1..60, {[#acc, #acc]}, 1)",
    "reduce(1..60, {[#acc, #acc]}, 1) == reduce(1..60, {[#acc, #acc]}, 1)",
    "toJSON(reduce(1..60, {[#acc, #acc]}, 1))",
    "string(reduce(1..60, {[#acc, #acc]}, 1))",
    "flatten(reduce(1..60, {[#acc, #acc]}, 1))",
    "max(reduce(1..60, {[#acc, #acc]}, 1))",
    "mean(reduce(1..60, {[#acc, #acc]}, 1))",
    "median(reduce(1..60, {[#acc, #acc]}, 1))",
    "uniq(reduce(1..60, {[#acc, #acc]}, 1))",
    "1 in reduce(1..60, {[#acc, #acc]}, 1)",
    "reduce(1..90000, {filter([#acc], true)}, 1)",
    "reduce(1..90000, {map([#acc], #)}, 1)",
    "reduce(1..90000, {concat([[#acc]])}, 1)",
    "reduce(1..90000, {[#acc][0:1]}, 1)",
    "reduce(1..90000, {take([#acc], 1)}, 1)",
    "reduce(1..90000, {reverse([#acc])}, 1)",
    "reduce(1..90000, {uniq([#acc])}, 1)",
    "reduce(1..90000, {groupBy([#acc], 1)}, 1)",
    "reduce(1..90000, {fromPairs([[1, #acc]])}, 1)",
    "reduce(1..90000, {values({a: #acc})}, 1)",
    "reduce(1..90000, {toPairs({a: #acc})}, 1)",
    "reduce(1..90000, {sortBy([#acc], 1)}, 1)",
    "repeat('a', 1000000000)",
    "repeat('a', 9223372036854775807)",
    "repeat(repeat('a', 50000), 50000)",
    "repeat('', 9000000000)",
    "fromJSON(repeat('[', 90000))",
    "fromJSON('[' + repeat('1,', 90000) + '1]')",
    "fromBase64(repeat('A', 90000))",
    "date('2026-01-01', repeat('2006', 20000))",
    "date(repeat('1', 90000))",
    "duration(repeat('1h', 40000))",
    "int(repeat('1', 90000))",
    "float(repeat('1', 90000))",
    "float('0x' + repeat('1', 90000) + 'p1')",
    "timezone(repeat('../', 30000))",
    "time.Now().Format(repeat('Monday', 15000))",
    "time.Now().Add(9223372036854775807 * time.Nanosecond).Add(9223372036854775807 * time.Nanosecond)",
    "time.Now().AddDate(9000000000000000, 9000000000000000, 9000000000000000)",
    "-9223372036854775807 - 1 == abs(-9223372036854775807 - 1)",
    "(-9223372036854775807 - 1) % -1",
    "int(1e300) + int(0.0 / 0)",
    "2 ** 100000000000",
    "1e308 ** 1e308",
    "2 ** -1e18 + 0.1 ** 1e18",
    "[1, 2][-9223372036854775807 - 1]",
    "'abc'[-9223372036854775807 - 1:9223372036854775807]",
    "take([1], 9223372036854775807)",
    "split('a', 'b', 9223372036854775807)",
    "bitshl(1, 9223372036854775807)",
    "\u{0}",
    "\u{202e}",
    "'\u{0}\u{1}'",
    "\u{feff}1",
];

fn hostile() -> Vec<String> {
    let mut all = long_or_deep();
    all.extend(LARGE.iter().map(|source| (*source).to_owned()));
    all.push((0..11).fold("1".to_owned(), |inner, _| format!("[{inner}, {inner}]")).chars().take(8000).collect());
    all.push(
        (0..40)
            .map(|i| format!("let v{i} = [{0}, {0}];", if i == 0 { "1".into() } else { format!("v{}", i - 1) }))
            .collect::<String>()
            + "v39",
    );
    all.push(
        (0..40)
            .map(|i| format!("let v{i} = {0} + {0};", if i == 0 { "'aaaa'".into() } else { format!("v{}", i - 1) }))
            .collect::<String>()
            + "v39",
    );
    all
}

#[test]
fn exp_05_hostile_expressions_end_soon() {
    let env = environment("full");
    let corpus = hostile();
    assert!(corpus.len() >= 100, "{}", corpus.len());
    for source in corpus {
        let shown: String = source.chars().take(60).collect();
        let start = std::time::Instant::now();
        if let Ok(program) = Program::compile(&source)
            && let Ok(value) = program.eval(&env, &now())
        {
            assert!(text(&value).len() <= 4 << 20, "{shown}");
        }
        // 100 ms are meant for an optimized build on an idle machine; this must hold for any.
        let took = start.elapsed();
        println!("{:6} ms  {shown}", took.as_millis());
        assert!(took.as_millis() < 3000, "{shown} took {took:?}");
    }
}

#[test]
fn exp_05_each_limit_is_an_error_that_names_it() {
    let compile = |source: String| Program::compile(&source).unwrap_err().text;
    assert!(compile("a".repeat(8193)).contains("8192"));
    assert!(Program::compile(&"a".repeat(8192)).is_ok());
    assert!(compile("1+".repeat(1200) + "1").contains("2000 parts"));
    assert!(Program::compile(&("1+".repeat(900) + "1")).is_ok());
    assert!(compile("(".repeat(70) + "1" + &")".repeat(70)).contains("64 levels"));
    assert!(Program::compile(&("(".repeat(60) + "1" + &")".repeat(60))).is_ok());
    let env = environment("full");
    let run = |source: &str| Program::compile(source).unwrap().eval(&env, &now()).map(|value| text(&value));
    assert!(run("any(1..60000, # < 0)").unwrap_err().text.contains("100000 steps"));
    assert_eq!(run("any(1..15000, # < 0)").unwrap(), "false");
    assert!(run("len(1..200000)").unwrap_err().text.contains("100000 steps"));
    assert!(run("repeat('a', 200000)").unwrap_err().text.contains("100000 steps"));
    assert!(run("let s = repeat(repeat('a', 100), 9000); s + s").unwrap_err().text.contains("1 MiB"));
    assert!(run("reduce(1..100, {[#acc]}, 1)").unwrap_err().text.contains("64 levels"));
    assert!(run("reduce(1..60, {[#acc]}, 1)").is_ok());
    assert!(run("let l = [repeat('a', 60000)]; map(1..20, l)").unwrap_err().text.contains("1 MiB"));
    assert!(run("'x' matches repeat('a', 11000)").unwrap_err().text.contains("too large"));
}

/// The largest n for which an expression gives a value.
fn most(shape: impl Fn(usize) -> String) -> usize {
    let env = environment("full");
    let works = |n: usize| Program::compile(&shape(n)).is_ok_and(|program| program.eval(&env, &now()).is_ok());
    let (mut low, mut high) = (0, 2_000_000);
    assert!(works(low) && !works(high));
    while high - low > 1 {
        let middle = (low + high) / 2;
        if works(middle) { low = middle } else { high = middle }
    }
    low
}

#[test]
fn exp_05_limits_are_exact() {
    let repeated = |text: &'static str, rest: &'static str| move |n: usize| text.repeat(n) + rest;
    // 8 KiB of source.
    assert_eq!(most(|n| format!("'{}'", "a".repeat(n))), 8 * 1024 - 2);
    // 2,000 parts: each `1+` is two, the last one is one.
    assert_eq!(most(repeated("1+", "1")), 999);
    // 64 levels: the expression itself is the first.
    assert_eq!(most(|n| "(".repeat(n) + "1" + &")".repeat(n)), 63);
    // 100,000 steps: the call, the range and its two bounds, the operator once more, and each element.
    assert_eq!(most(|n| format!("len(1..{n})")), 99_995);
    assert_eq!(most(|n| format!("len(repeat('', {n}))")), 99_996);
    // 1 MiB of text: 2 * n bytes.
    assert_eq!(
        most(|n| format!("let s = repeat(repeat('a', 1024), {}) + repeat('a', {}); s + s", n / 1024, n % 1024)),
        1 << 19
    );
    // 64 levels of a value that is built.
    assert_eq!(most(|n| format!("reduce(1..{}, {{[#acc]}}, 1)", n + 1)), 64);
}

/// A pattern that makes other engines try for ever gives its answer here; what only they can do is refused.
#[test]
fn sec_04_patterns_run_in_linear_time() {
    let env = environment("full");
    for (pattern, text) in
        [("(a*)*b", "a"), ("(a|aa)+$", "aa!"), ("^(([a-z])+.)+[A-Z]([a-z])+$", "aaaa"), ("(.*)(.*)(.*)(.*)(.*)x", "y")]
    {
        for source in [
            format!("repeat('{text}', 5000) matches '{pattern}'"),
            format!("repeat('{text}', 5000) matches ('' + '{pattern}')"),
        ] {
            let value = Program::compile(&source).unwrap().eval(&env, &now()).map(|value| super::text(&value));
            assert_eq!(value.as_deref(), Ok("false"), "{source}");
        }
    }
    for pattern in [r"(a)\\1", "(?=a)", "(?!a)", "(?<=a)b", "(?>a)", "a++"] {
        assert!(Program::compile(&format!("'aab' matches '{pattern}'")).is_err(), "{pattern}");
        let late = Program::compile(&format!("'aab' matches (v.e + '{pattern}')")).unwrap();
        assert!(late.eval(&env, &now()).is_err(), "{pattern}");
    }
}

#[test]
fn sec_03_deep_data_of_the_object_overflows_nothing() {
    let mut deep = Value::text("bottom");
    for level in 0..1_000 {
        deep = if level % 2 == 0 { Value::list(vec![deep]) } else { Value::map([("a", deep)]) };
    }
    let env = Map::new(MapKind::Any);
    env.insert("app", Value::map([("x", deep.clone()), ("y", deep)]));
    for source in [
        "app",
        "string(app.x)",
        "toJSON(app.x)",
        "fromJSON(toJSON(app.x))",
        "app.x == app.y",
        "app.x != app.y",
        "app.x in [app.y]",
        "[app.x, app.y]",
        "uniq([app.x, app.y])",
        "flatten([app.x])",
        "flatten([[app.x], [app.y]])",
        "sort([app.x, app.y])",
        "sortBy([app.x, app.y], #)",
        "groupBy([app.x, app.y], #)",
        "concat([app.x], [app.y])",
        "reverse([app.x])",
        "max(app.x)",
        "mean([app.x])",
        "sum([app.x])",
        "join([app.x])",
        "keys(app)",
        "values(app)",
        "toPairs(app)",
        "fromPairs(toPairs(app))",
        "len(app.x)",
        "type(app.x)",
        "map([app.x], [#])",
        "reduce(1..60, [#acc, app.x], app.y)",
        "reduce(1..90, [#acc], app.y)",
        "{a: app.x, b: {c: app.y}}",
        "find([app.x], # == app.y)",
        "app.x ?? app.y",
        "$env",
    ] {
        let outcome = Program::compile(source).unwrap().eval(&env, &now()).map(|value| text(&value).len());
        assert!(outcome.as_ref().is_err() || outcome.is_ok_and(|length| length <= 4 << 20), "{source}");
    }
}

/// Parts that a random expression is made of.
const PARTS: [&str; 96] = [
    "1",
    "2.5",
    "'a'",
    "\"b\"",
    "true",
    "false",
    "nil",
    "app",
    ".metadata",
    ".name",
    "?.status",
    "?.",
    "[",
    "]",
    "(",
    ")",
    "{",
    "}",
    "{a: 1}",
    "[1, 2]",
    ",",
    ":",
    ";",
    "+",
    "-",
    "*",
    "/",
    "%",
    "**",
    "==",
    "!=",
    "<",
    ">",
    "<=",
    ">=",
    " and ",
    " or ",
    " not ",
    "!",
    " in ",
    " not in ",
    " contains ",
    " matches ",
    "??",
    "?",
    "..",
    "|",
    "let x = ",
    "x",
    "if ",
    " else ",
    "any(",
    "all(",
    "filter(",
    "map(",
    "reduce(",
    "sortBy(",
    "groupBy(",
    "sum(",
    "count(",
    "find(",
    "#",
    "#acc",
    "#index",
    ".x",
    "len(",
    "split(",
    "join(",
    "toJSON(",
    "fromJSON(",
    "max(",
    "first(",
    "sort(",
    "flatten(",
    "string(",
    "int(",
    "date(",
    "now()",
    "v.list",
    "v.objs",
    "v.m",
    "v.time",
    "v.dur",
    "v.bytes",
    "time.Now()",
    "time.Parse(",
    "fn.Any(",
    "$env",
    "::",
    "//",
    "/*",
    "`r`",
    "b'x'",
    "0x1f",
    "é",
    " ",
];

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2000))]

    #[test]
    fn exp_05_any_text_is_compiled_or_refused(source in "\\PC{0,200}") {
        let _ = Program::compile(&source);
    }

    #[test]
    fn exp_05_any_arrangement_of_parts_is_safe(picks in proptest::collection::vec(0..PARTS.len(), 0..30)) {
        let source: String = picks.into_iter().map(|i| PARTS[i]).collect();
        if let Ok(program) = Program::compile(&source) {
            let env = Map::new(MapKind::Any);
            env.insert("v", values());
            env.insert("fn", functions());
            env.insert("app", Value::map([("metadata", Value::map([("name", Value::text("n"))]))]));
            let first = program.eval(&env, &now()).map(|value| text(&value));
            let second = program.eval(&env, &now()).map(|value| text(&value));
            proptest::prop_assert_eq!(first, second);
        }
    }

    #[test]
    fn exp_02_what_a_suggestion_prints_compiles_again(picks in proptest::collection::vec(0..PARTS.len(), 0..12)) {
        let source: String = picks.into_iter().map(|i| PARTS[i]).collect();
        if let Ok((root, _)) = parser::parse(&source) {
            let printed = ast::print(&root);
            if printed.len() < MAX_SOURCE && !printed.contains(['…', ';']) {
                let again = parser::parse(&printed).map(|(root, _)| ast::print(&root));
                proptest::prop_assert_eq!(again.ok(), Some(printed));
            }
        }
    }
}
