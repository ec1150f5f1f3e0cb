//! Tests of the image room: the tables of image-updates.md §7 and §11, and thousands of rows from the Go libraries
//! whose meaning is kept (tests/oracle/image).

use super::*;

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/", $name))
    };
}

mod properties;
mod references;

/// Lines that are neither empty nor remarks.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn columns(line: &str) -> Vec<&str> {
    line.split(" | ").map(|cell| cell.trim_end_matches(" |").trim_end()).collect()
}

// -- versions and constraints

#[test]
fn compat_q18_version_parse_vectors() {
    for line in lines(fixture!("version/versions.txt")) {
        let (text, expected) = line.split_once(" | ").unwrap_or((line, ""));
        let parsed = Version::parse(text).map(|v| v.pre);
        let expected = match expected {
            "no" => None,
            "yes" => Some(""),
            pre => Some(pre),
        };
        assert_eq!(parsed.as_deref(), expected, "§11 {text:?}");
    }
}

#[test]
fn version_parse_generated() {
    let mut rows = [0, 0];
    for line in lines(fixture!("version/generated_versions.tsv")) {
        let cells: Vec<&str> = line.split('\t').collect();
        let parsed = Version::parse(cells[0]).map(|v| (format!("{}.{}.{}", v.major, v.minor, v.patch), v.pre));
        let expected =
            (cells[1] != "invalid").then(|| (cells[1].to_owned(), cells.get(2).copied().unwrap_or("").to_owned()));
        rows[usize::from(parsed.is_some())] += 1;
        assert_eq!(parsed, expected, "{:?}", cells[0]);
    }
    assert!(rows.iter().all(|n| *n > 300), "{rows:?}");
}

#[test]
fn version_order_generated() {
    let mut rows = 0;
    for line in lines(fixture!("version/generated_order.tsv")) {
        let cells: Vec<&str> = line.split('\t').collect();
        let (Some(a), Some(b)) = (Version::parse(cells[0]), Version::parse(cells[1])) else { panic!("{line}") };
        assert_eq!((a.cmp(&b) as i8).to_string(), cells[2], "{line}");
        rows += 1;
    }
    assert!(rows > 1000, "{rows}");
}

const V: &str = "0.0.0 0.0.3 0.0.4 0.2.3 0.2.9 0.3.0 1.0.0 1.1.9 1.2.0 1.2.3-alpine 1.2.3 1.2.4-alpine 1.2.8 1.2.9 \
                 1.2.10-rc.1 1.3.0 1.20.0-alpine 1.20.5 1.20.7-alpine 2.0.0 2.3.5 2.4.0 3.1.0 11.0.5 11.1.1 11.2.0 12.0.0";

#[test]
fn compat_q17_semver_constraint_vectors() {
    let tags: Vec<Candidate> = V.split_whitespace().map(Candidate::named).collect();
    let mut rows = 0;
    for line in lines(fixture!("version/constraints.txt")) {
        let cells = columns(line);
        for constraint in cells[0].split(" / ") {
            let constraint = constraint.replace("<blank>", " ").replace("<empty>", "");
            let (selection, problem) = Selection::new(Strategy::SemVer, Some(&constraint), "app");
            rows += 1;
            if cells[1] == "invalid" {
                assert_eq!(problem.map(|p| p.code), Some("constraint-invalid"), "§11 {constraint:?}");
                assert_eq!(selection.choose(&tags).chosen, None, "§11 {constraint:?}");
                continue;
            }
            assert_eq!(problem, None, "§11 {constraint:?}");
            if cells[1] == "any" {
                continue;
            }
            let accepted: Vec<&str> = V.split_whitespace().filter(|tag| selection.accepts(tag)).collect();
            assert_eq!(accepted.join(" "), cells.get(2).copied().unwrap_or_default(), "§11 {constraint:?}");
            let chosen = selection.choose(&tags).chosen.map_or("none".to_owned(), |c| c.tag);
            assert_eq!(chosen, cells[1], "§11 {constraint:?}");
        }
    }
    assert!(rows > 70, "{rows}");
}

#[test]
fn semver_pairs_stored_oracle() {
    let mut rows = lines(fixture!("version/generated_constraints.tsv"));
    let versions: Vec<Version> = rows.next().unwrap_or_default().split('\t').filter_map(Version::parse).collect();
    let mut pairs = 0;
    for line in rows {
        let Some((text, expected)) = line.rsplit_once('\t') else { panic!("{line}") };
        let got = match Constraint::parse(text) {
            Err(_) => "invalid".to_owned(),
            Ok(c) => versions.iter().map(|v| if c.matches(v) { '1' } else { '0' }).collect(),
        };
        assert_eq!(got, expected, "{text:?}");
        pairs += versions.len();
    }
    assert!(pairs > 40_000, "{pairs}");
}

#[test]
fn a_word_on_a_wildcard_is_noticed() {
    for (constraint, word) in
        [("*-dev", Some("dev")), ("1.x || x-prod", Some("prod")), ("*-0", None), ("1.x-dev", None), ("*", None)]
    {
        let parsed = Constraint::parse(constraint);
        assert_eq!(parsed.as_ref().map(|c| c.word_on_wildcard()), Ok(word), "{constraint}");
    }
}

// -- selection

fn choose(strategy: Strategy, constraint: &str, tags: &[Candidate]) -> (Selection, Choice) {
    let (selection, _) = Selection::new(strategy, Some(constraint), "app");
    let choice = selection.choose(tags);
    (selection, choice)
}

fn named(tags: &str) -> Vec<Candidate> {
    tags.split_whitespace().map(Candidate::named).collect()
}

fn tag(choice: &Choice) -> Option<&str> {
    choice.chosen.as_ref().map(|c| c.tag.as_str())
}

fn built(tag: &str, created: &str) -> Candidate {
    Candidate { created: created.parse().ok(), ..Candidate::named(tag) }
}

#[test]
fn selection_vectors() {
    assert_eq!(tag(&choose(Strategy::Alphabetical, "", &named("a b10 b9 Z")).1), Some("b9"));
    assert_eq!(tag(&choose(Strategy::Alphabetical, "~1", &named("a")).1), Some("a"), "the constraint is ignored");
    assert_eq!(tag(&choose(Strategy::SemVer, "", &named("1.0 1.0.0 v1.0.0")).1), Some("v1.0.0"));
    let (x, y) = (built("x", "2026-01-02T03:04:05Z"), built("y", "2026-01-02T03:04:05Z"));
    assert_eq!(tag(&choose(Strategy::NewestBuild, "", &[y.clone(), x.clone()]).1), Some("y"));
    let late = built("a", "2026-01-02T03:04:05.000000001Z");
    assert_eq!(tag(&choose(Strategy::NewestBuild, "", &[y, late, x]).1), Some("a"));
    assert_eq!(tag(&choose(Strategy::SemVer, "5.x", &named("1.0.0")).1), None);
    // All digits are a version, and beat real ones.
    assert_eq!(tag(&choose(Strategy::SemVer, "", &named("1.2.3 1234567")).1), Some("1234567"));
}

#[test]
fn tag_2_tag_5_digest_follows_one_tag() {
    let stable = Candidate { digest: Some("sha256:B".into()), ..Candidate::named("stable") };
    let (selection, choice) = choose(Strategy::Digest, "stable", &[Candidate::named("1.0"), stable.clone()]);
    assert_eq!(choice.chosen, Some(stable));
    assert_eq!(selection.wanted(["1.0", "stable", "stable-1"]), ["stable"]);
    // The filters count under this strategy too (TAG-2).
    for (allow, ignore, kept) in [("regexp:^st", "x", true), ("regexp:^1", "x", false), ("any", "sta*", false)] {
        let (mut filtered, _) = Selection::new(Strategy::Digest, Some("stable"), "app");
        filtered.allow = TagFilter::parse(allow).0;
        filtered.ignore = Glob::parse(ignore).into_iter().collect();
        assert_eq!(filtered.accepts("stable"), kept, "{allow} {ignore}");
    }
    let (_, problem) = Selection::new(Strategy::Digest, None, "ghcr.io/a/b");
    let text = problem.map(|p| p.text).unwrap_or_default();
    assert_eq!(text, "cannot use update strategy 'digest' for image 'ghcr.io/a/b' without a version constraint");
}

#[test]
fn tag_1_tags_outside_the_grammar_are_dropped_and_counted() {
    let long = "a".repeat(129);
    let tags = [Candidate::named("ok"), Candidate::named("-x"), Candidate::named(&long), Candidate::named("a/b")];
    let (_, choice) = choose(Strategy::Alphabetical, "", &tags);
    assert_eq!(tag(&choice), Some("ok"));
    assert_eq!(choice.counts().into_iter().collect::<Vec<_>>(), [("grammar", 3)]);
    assert!(is_tag(&"a".repeat(128)) && is_tag("_x") && !is_tag("") && !is_tag(".x") && !is_tag("1+b"));
}

#[test]
fn compat_q15_tag_3_allow_tags() {
    for (filter, tag, allowed, valid) in [
        ("regexp:^v[0-9]", "v1", true, true),
        ("regexp:^v[0-9]", "1", false, true),
        ("regexp:1", "v21", true, true),
        ("REGEXP:^a$", "a", true, true),
        ("REGEXP:^a$", "ab", false, true),
        ("ANY", "x", true, true),
        ("any", "x", true, true),
        ("", "x", true, true),
        ("v*", "v1", false, false),
        ("regexp:(", "(", false, false),
        ("regexp:a{2", "a{2", true, true),
        ("regexp:^\\d+$", "123", true, true),
        ("regexp:[[:digit:]]+-\\Q1.2\\E$", "7-1.2", true, true),
        ("regexp:[[:digit:]]+-\\Q1.2\\E$", "7-1x2", false, true),
        ("regexp:a**", "a", false, false),
        ("regexp:(?i)RC", "1.0-rc1", true, true),
    ] {
        let (parsed, problem) = TagFilter::parse(filter);
        assert_eq!(parsed.allows(tag), allowed, "{filter} {tag}");
        assert_eq!(problem.map(|p| p.code), (!valid).then_some("allow-tags-invalid"), "{filter}");
    }
}

#[test]
fn tag_4_ignore_tags() {
    let tags = named("1.0.0 1.1.0-rc1 latest");
    for (globs, left) in
        [(vec!["*-rc*", "latest"], vec!["1.0.0"]), (vec!["*"], vec![]), (vec!["1.?.?"], vec!["1.1.0-rc1", "latest"])]
    {
        let (mut selection, _) = Selection::new(Strategy::Alphabetical, None, "app");
        selection.ignore = globs.iter().filter_map(|g| Glob::parse(g)).collect();
        assert_eq!(selection.wanted(tags.iter().map(|c| c.tag.as_str())), left, "{globs:?}");
    }
    assert_eq!(Glob::parse("["), None);
}

#[test]
fn compat_q16_glob_vectors_generated() {
    let mut rows = 0;
    for line in lines(fixture!("selection/generated_globs.tsv")) {
        let cells: Vec<&str> = line.split('\t').collect();
        let glob = Glob::parse(cells[0]);
        let matches = glob.as_ref().is_some_and(|glob| glob.matches(cells[1]));
        assert_eq!(matches, cells[2] == "match", "{line}");
        if cells[2] == "malformed" {
            assert_eq!(glob, None, "{line}");
        }
        rows += 1;
    }
    assert!(rows > 2000, "{rows}");
}

#[test]
fn tag_8_platform_variant_vectors() {
    for (asked, os, arch, variant, fits) in [
        ("linux/amd64", "linux", "amd64", None, true),
        ("linux/arm64", "linux", "arm64", Some("v8"), true),
        ("linux/arm", "linux", "arm", Some("v6"), true),
        ("linux/arm/v7", "linux", "arm", Some("v7"), true),
        ("linux/arm/v7", "linux", "arm", Some("v6"), false),
        ("linux/arm/v7", "linux", "arm", None, false),
        ("linux/amd64", "windows", "amd64", None, false),
        ("unknown/unknown", "unknown", "unknown", None, false),
    ] {
        let platform = Platform::parse(asked);
        let got = platform.map(|p| p.matches(os, arch, variant));
        assert_eq!(got, Some(fits), "{asked} {os}/{arch} {variant:?}");
    }
    for text in ["linux", "linux/", "/amd64", "a/b/c/d", "linux/ amd64", ""] {
        assert_eq!(Platform::parse(text), None, "{text:?}");
    }
    assert_eq!(Platform::parse(&Platform::daemon_default().to_string()), Some(Platform::daemon_default()));
}

#[test]
fn tag_8_platforms_count_for_dates_and_digests_only() {
    let wrong = |c: Candidate| Candidate { platform_ok: Some(false), ..c };
    let tags = [built("1.0.0", "2026-01-01T00:00:00Z"), wrong(built("1.1.0", "2026-02-01T00:00:00Z"))];
    let (_, choice) = choose(Strategy::NewestBuild, "", &tags);
    assert_eq!(tag(&choice), Some("1.0.0"));
    assert_eq!((choice.verdicts[0].tag.as_str(), choice.verdicts[0].rule), ("1.1.0", "platforms"));
    assert_eq!(tag(&choose(Strategy::SemVer, "", &tags).1), Some("1.1.0"));
    let stable = Candidate { digest: Some("sha256:B".into()), ..Candidate::named("stable") };
    assert_eq!(tag(&choose(Strategy::Digest, "stable", &[wrong(stable)]).1), None);
}

#[test]
fn reg_9_a_tag_without_metadata_is_dropped_with_its_reason() {
    let lost = Candidate { note: Some("manifest schema 1".into()), ..Candidate::named("old") };
    let (_, choice) = choose(Strategy::NewestBuild, "", &[lost, built("new", "2026-01-01T00:00:00Z")]);
    assert_eq!(tag(&choice), Some("new"));
    let verdict = choice.verdicts.iter().find(|v| v.tag == "old").map(|v| (v.rule, v.reason.as_str()));
    assert_eq!(verdict, Some(("metadata", "manifest schema 1")));
}

#[test]
fn tag_6_detail() {
    for (strategy, plain, sorted) in [
        (Strategy::SemVer, Detail::Names, Detail::Names),
        (Strategy::Alphabetical, Detail::Names, Detail::Names),
        (Strategy::NewestBuild, Detail::Created, Detail::Names),
        (Strategy::Digest, Detail::Digest, Detail::Digest),
    ] {
        let (selection, _) = Selection::new(strategy, Some("1"), "app");
        assert_eq!((selection.detail(false), selection.detail(true)), (plain, sorted), "{strategy:?}");
    }
}

#[test]
fn inv_8_dec_1_every_tag_has_a_verdict_and_the_first_rule_that_rejects_it() {
    let (mut selection, _) = Selection::new(Strategy::SemVer, Some("~1.2"), "app");
    selection.allow = TagFilter::parse("regexp:^[0-9l-]").0;
    selection.ignore = Glob::parse("1.2.4").into_iter().collect();
    let tags = named("1.2.3 1.2.4 1.2.5 1.3.0 1.2.6-rc.1 latest v1.2.9 -x 1.2.3.4");
    let choice = selection.choose(&tags);
    let mut got: Vec<(&str, &str, &str)> =
        choice.verdicts.iter().map(|v| (v.tag.as_str(), v.standing.word(), v.rule)).collect();
    assert_eq!(got[..2], [("1.3.0", "rejected", "constraint"), ("v1.2.9", "rejected", "allow-tags")], "by rank");
    got.sort_unstable();
    assert_eq!(
        got,
        [
            ("-x", "rejected", "grammar"),
            ("1.2.3", "accepted", "semver"),
            ("1.2.3.4", "rejected", "version"),
            ("1.2.4", "rejected", "ignore-tags"),
            ("1.2.5", "chosen", "semver"),
            ("1.2.6-rc.1", "rejected", "constraint"),
            ("1.3.0", "rejected", "constraint"),
            ("latest", "rejected", "version"),
            ("v1.2.9", "rejected", "allow-tags"),
        ]
    );
    assert!(choice.verdicts.iter().all(|v| !v.reason.is_empty()));
}

#[test]
fn strategies_by_name() {
    for (name, expected) in [
        ("semver", Some((Strategy::SemVer, false))),
        ("SemVer", Some((Strategy::SemVer, false))),
        ("latest", Some((Strategy::NewestBuild, true))),
        ("newest-build", Some((Strategy::NewestBuild, false))),
        ("name", Some((Strategy::Alphabetical, true))),
        ("alphabetical", Some((Strategy::Alphabetical, false))),
        ("Digest", Some((Strategy::Digest, false))),
        ("natural", None),
        ("", None),
    ] {
        assert_eq!(Strategy::parse(name), expected, "{name}");
    }
}

#[test]
fn compat_q35_semver_without_constraint_takes_releases_only() {
    let tags = named("1.0.0 1.1.0-rc.1");
    assert_eq!(tag(&choose(Strategy::SemVer, "", &tags).1), Some("1.0.0"));
    assert_eq!(tag(&choose(Strategy::SemVer, "*-0", &tags).1), Some("1.1.0-rc.1"));
}
