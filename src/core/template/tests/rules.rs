//! The rules around the language: names, suggestions, what a template reads, copies, undetermined calls.

use super::*;

/// The names of notifications.md §7.1, first and second tier.
const RUN: &str = "and or not len index slice print printf println html js urlquery call eq ne lt le gt ge \
    abbrev abbrevboth camelcase cat contains hasPrefix hasSuffix hello indent initials kebabcase lower nindent nospace \
    plural quote repeat replace shuffle snakecase squote substr swapcase title toString toStrings trim trimAll \
    trimPrefix trimSuffix trimall trunc untitle upper wrap wrapWith \
    all any coalesce compact mustCompact default empty fail fromJson mustFromJson toJson mustToJson toPrettyJson \
    mustToPrettyJson toRawJson mustToRawJson ternary deepCopy mustDeepCopy deepEqual \
    append mustAppend push mustPush chunk mustChunk concat first mustFirst has mustHas initial mustInitial join last \
    mustLast list tuple prepend mustPrepend rest mustRest reverse mustReverse seq slice mustSlice sortAlpha split \
    splitList splitn uniq mustUniq until untilStep without mustWithout \
    dict dig get hasKey keys merge mustMerge mergeOverwrite mustMergeOverwrite omit pick pluck set unset values \
    add add1 add1f addf atoi biggest ceil div divf float64 floor int int64 max maxf min minf mod mul mulf round sub \
    subf toDecimal \
    ago date dateInZone date_in_zone dateModify date_modify mustDateModify must_date_modify duration durationRound \
    htmlDate htmlDateInZone now toDate mustToDate unixEpoch \
    kindIs kindOf typeIs typeIsLike typeOf base clean dir ext isAbs osBase osClean osDir osExt osIsAbs \
    b32dec b32enc b64dec b64enc urlJoin urlParse semver semverCompare adler32sum sha1sum sha256sum sha512sum \
    regexFind mustRegexFind regexFindAll mustRegexFindAll regexMatch mustRegexMatch regexQuoteMeta regexReplaceAll \
    mustRegexReplaceAll regexReplaceAllLiteral mustRegexReplaceAllLiteral regexSplit mustRegexSplit";

/// Those that only parse.
const REFUSED: &str = "bcrypt derivePassword decryptAES encryptAES htpasswd randAlpha randAlphaNum randAscii randBytes \
    randInt randNumeric uuidv4 buildCustomCert genCA genCAWithKey genPrivateKey genSelfSignedCert \
    genSelfSignedCertWithKey genSignedCert genSignedCertWithKey getHostByName";

#[test]
fn s_7_1_the_names_are_exactly_these() {
    let mut wanted: Vec<&str> = RUN.split_whitespace().chain(REFUSED.split_whitespace()).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let known: Vec<&str> = super::functions::names(Functions::Full).collect();
    assert_eq!(known, wanted);
    // sprig's names without `env` and `expandenv`, and the 19 of text/template, `slice` being both.
    assert_eq!(known.len(), 209 + 19 - 1);
}

#[test]
fn tpl_p2_names_parse() {
    for name in REFUSED.split_whitespace() {
        let error = render(&format!("{{{{{name} \"x\"}}}}")).expect_err(name);
        assert!(error.text.contains("not available"), "{name}: {error}");
        assert!(render(&format!("{{{{if false}}}}{{{{{name}}}}}{{{{end}}}}ok")).is_ok(), "{name}");
    }
}

#[test]
fn tlp_01_unknown_functions_are_found_at_parsing_with_a_suggestion() {
    for (source, line, column, text, hint) in [
        ("{{truncate 3 .app.s}}", 1, 3, "function \"truncate\" not defined", "did you mean trunc?"),
        ("a\nbé{{ toJSON . }}", 2, 6, "function \"toJSON\" not defined", "did you mean toJson?"),
        ("{{.x | defualt 1}}", 1, 8, "function \"defualt\" not defined", "did you mean default?"),
        ("{{env \"HOME\"}}", 1, 3, "function \"env\" not defined", ""),
        ("{{if .x}}", 1, 10, "unexpected EOF", ""),
        ("x{{end}}", 1, 2, "unexpected {{end}}", ""),
        ("{{.a/b}}", 1, 3, "bad character U+002F '/'", ""),
        ("{{.a.b", 1, 7, "unclosed action", ""),
        ("{{range .x}}\n{{break}}{{end}}{{break}}", 2, 19, "{{break}} outside {{range}}", ""),
        ("{{$x}}", 1, 3, "undefined variable \"$x\"", ""),
        ("{{1 | 2}}", 1, 7, "non executable command in pipeline stage 2", ""),
        ("{{ .x | toUpper }}", 1, 9, "function \"toUpper\" not defined", "did you mean upper?"),
        ("{{ .x | regexFnd \"a\" }}", 1, 9, "function \"regexFnd\" not defined", "did you mean regexFind?"),
        ("{{ substring 0 3 .x }}", 1, 4, "function \"substring\" not defined", "did you mean substr?"),
        ("é{{ length .x }}", 1, 5, "function \"length\" not defined", "did you mean len?"),
        ("{{ $x := 1 }}\n  {{ $y }}", 2, 6, "undefined variable \"$y\"", ""),
        ("{{continue}}", 1, 3, "{{continue}} outside {{range}}", ""),
    ] {
        let error = Template::parse(source, Functions::Full).expect_err(source);
        let found = (error.line, error.column, error.text.as_str());
        assert_eq!(found, (line, column, text), "{source}");
        // Where nothing is near, nothing is suggested; `env` is near `ne`, which is no help but no harm.
        if !hint.is_empty() {
            assert_eq!(error.hint, hint, "{source}");
        }
    }
    let error = Template::parse("{{trunc 3 .x}}", Functions::Plain).expect_err("sprig in a plain template");
    assert_eq!(error.text, "function \"trunc\" not defined");
}

#[test]
fn s_7_2_errors_say_where_and_why() {
    for (source, line, column, part) in [
        ("x\n{{.app.s.x}}", 2, 7, "at <.app.s.x>: can't evaluate field x in type interface {}"),
        ("{{upper .nope}}", 1, 9, "at <.nope>: invalid value; expected string"),
        ("{{3 | trunc 3}}", 1, 13, "at <trunc>: wrong type for value; expected string; got int"),
        ("{{fail \"boom\"}}", 1, 3, "error calling fail: boom"),
        ("{{.app.n.x}}", 1, 7, "nil pointer evaluating interface {}.x"),
        ("{{eq 1 \"a\"}}", 1, 3, "error calling eq: incompatible types for comparison: int and string"),
        ("{{.fn.Up}}", 1, 3, "can't print .fn.Up of type func(string)"),
    ] {
        let error = render(source).expect_err(source);
        assert!(error.text.contains(part), "{source}: {error}");
        assert_eq!((error.line, error.column, error.undetermined), (line, column, false), "{source}: {error}");
    }
}

#[test]
fn hlp_06_an_undetermined_call_makes_the_rendering_undetermined() {
    let later = Func::new("Later", &[], |_| Err(CallError::Undetermined("timeout".into())));
    let data = Value::map([("repo", Value::map([("Later", Value::Func(later))]))]);
    let error = template("{{call .repo.Later}}").render(&data, &noon("UTC")).expect_err("must fail");
    assert!(error.undetermined && error.text.ends_with("timeout"), "{error}");
}

#[test]
fn tlp_03_changes_stay_within_one_rendering() {
    let now = noon("UTC");
    let shared = data(&now);
    for (source, text) in [
        (r#"{{$_ := set .app "s" "new"}}{{.app.s}}"#, "new"),
        (r#"{{$_ := unset .app.m "a"}}{{.app.m}}"#, "map[b:2]"),
        (r#"{{$_ := merge .app.m (dict "q" 1)}}{{.app.m}}"#, "map[a:y b:2 q:1]"),
        (r#"{{$_ := mergeOverwrite .app.m (dict "a" 1)}}{{.app.m}}"#, "map[a:1 b:2]"),
        ("{{.app.s}} {{.app.m}}", "x map[a:y b:2]"),
    ] {
        assert_eq!(template(source).render(&shared, &now).as_deref(), Ok(text), "{source}");
    }
}

#[test]
fn tpl_09_what_a_template_reads_and_calls() {
    for (source, root, reads) in [
        ("{{.secrets.token}}", "secrets", true),
        ("{{range .app.l}}{{$.secrets.token}}{{end}}", "secrets", true),
        ("{{$x := .secrets}}", "secrets", true),
        ("{{(.).secrets}}", "secrets", true),
        ("{{define \"a\"}}{{.secrets}}{{end}}{{template \"a\" .}}", "secrets", true),
        ("{{toJson .}}", "secrets", true),
        ("{{index $ \"secrets\"}}", "secrets", true),
        ("{{range .}}{{end}}", "secrets", true),
        ("{{range .app.l}}{{.}}{{end}}{{with .app}}{{toJson .}}{{end}}", "secrets", false),
        ("{{define \"a\"}}{{.app}}{{end}}{{template \"a\" .}}", "secrets", false),
        ("secrets {{.app.s}} {{\"secrets\"}}", "secrets", false),
        ("{{if .image}}x{{end}}", "image", true),
    ] {
        assert_eq!(template(source).reads(root), reads, "{source}");
    }
    for (source, calls) in [
        ("{{(call .repo.GetCommitMetadata .x).Message}}", true),
        ("{{.x | call $.repo.GetCommitMetadata}}", true),
        ("{{call (index .repo \"GetCommitMetadata\") .x}}", true),
        ("{{$r := .repo}}{{call $r.GetCommitMetadata .x}}", true),
        ("{{call .repo.QueryEscape .x}}", false),
        ("{{.app.spec.source.repoURL}} {{toJson .}}", false),
    ] {
        assert_eq!(template(source).calls(&["repo", "GetCommitMetadata"]), calls, "{source}");
    }
}

#[test]
fn s_7_2_now_and_ago_use_the_given_clock() {
    assert_eq!(
        render("{{now}} {{ago .tm}} {{ago 0}} {{durationRound .tm}}").as_deref(),
        Ok("2026-05-01 12:00:00 +0000 UTC 2m0s 493788h0m0s 2m")
    );
    // A text is no date: it counts as now, as in sprig.
    assert_eq!(render("{{date \"15:04\" \"2001-01-01T00:00:00Z\"}}").as_deref(), Ok("12:00"));
}

#[test]
fn s_7_1_shuffle_keeps_the_letters_and_gives_the_same_order_again() {
    let first = render("{{shuffle \"hello world\"}}").expect("renders");
    let mut letters: Vec<char> = first.chars().collect();
    letters.sort_unstable();
    assert_eq!(letters.into_iter().collect::<String>(), " dehllloorw");
    assert_eq!(render("{{shuffle \"hello world\"}}"), Ok(first));
}

#[test]
fn s_8_3_pieces_tell_static_text_from_printed() {
    let now = noon("UTC");
    let mut pieces = Vec::new();
    template("a{{.app.s}}{{if true}}b{{end}}{{.app.e}}")
        .render_pieces(&data(&now), &now, |piece| {
            pieces.push(match piece {
                Piece::Static(text) => format!("s:{text}"),
                Piece::Printed(text) => format!("p:{text}"),
            });
        })
        .expect("renders");
    assert_eq!(pieces, ["s:a", "p:x", "s:b"]);
    assert_eq!(template("{{1}}").source(), "{{1}}");
}

/// A pattern that makes other engines try for ever gives its answer here; what only they can do is refused.
#[test]
fn sec_04_patterns_run_in_linear_time() {
    for (pattern, text) in [
        ("(a*)*b", "a"),
        ("(a|aa)+$", "aaaaaaaa!"),
        ("^(([a-z])+.)+[A-Z]([a-z])+$", "aaaa"),
        ("(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)x", "y"),
        ("(a?){60}a{60}b", "a"),
    ] {
        let source = format!("{{{{regexMatch \"{pattern}\" (repeat 5000 \"{text}\")}}}}");
        assert_eq!(render(&source).as_deref(), Ok("false"), "{pattern}");
    }
    for pattern in [r"(a)\\1", "(?=a)", "(?!a)", "(?<=a)b", "(?>a)", "a++", "(?(1)a)"] {
        let source = format!("{{{{mustRegexMatch \"{pattern}\" \"aab\"}}}}");
        assert!(render(&source).is_err_and(|error| error.text.contains("error parsing regexp")), "{pattern}");
    }
}
