//! References against the tables of §7 and the grammar's oracle.

use super::lines;
use crate::core::image::{ImageRef, parse_list};

#[test]
fn ref_2_ref_3_ref_4_ref_6_vectors() {
    let mut rows = 0;
    for line in lines(fixture!("reference/vectors.txt")) {
        let line = line.replace(r"\|", "\u{1}");
        let cells: Vec<String> = line.split(" | ").map(|c| c.replace('\u{1}', "|")).collect();
        let (rule, input) = (&cells[0], &cells[1]);
        rows += 1;
        let parsed = ImageRef::parse(input);
        if let Some(code) = cells[2].strip_prefix('!') {
            assert_eq!(parsed.map_err(|p| p.code), Err(code), "{rule} {input}");
            continue;
        }
        let cell = |i: usize| match cells[i].as_str() {
            "-" => None,
            "\"\"" => Some(String::new()),
            text => Some(text.to_owned()),
        };
        let expected =
            ImageRef { alias: cell(2), registry: cell(3), name: cells[4].clone(), tag: cell(5), digest: cell(6) };
        assert_eq!(parsed, Ok(expected), "{rule} {input}");
    }
    assert!(rows > 40, "{rows}");
}

/// Stage 1 against distribution/reference, with the two rules that REF-3 adds to it.
#[test]
fn ref_3_generated_against_the_grammar() {
    let (mut valid, mut invalid) = (0, 0);
    for line in lines(fixture!("reference/generated.tsv")) {
        let cells: Vec<&str> = line.split('\t').collect();
        let text = cells[0];
        let parsed = ImageRef::parse_reference(text);
        if cells[1] == "invalid" {
            invalid += 1;
            // Stage 2 takes some of them, but never as the same grammar would: something in it is not of stage 1.
            if let Ok(image) = parsed {
                assert!(is_lenient_path(&image.name), "{text}: {image:?}");
            }
            continue;
        }
        valid += 1;
        // A host the grammar does not know as one (`my_host.io`) becomes part of the path there, with no domain at
        // all. Here it is a registry by REF-4's test, so that `my_host.io/a:1` and `my_host.io/a:~1` are one image.
        let (domain, path) = match cells[1] {
            "" => cells[2].split_once('/').unwrap_or_default(),
            domain => (domain, cells[2]),
        };
        let hub = domain == "docker.io";
        let registry = (!hub || text.starts_with("docker.io")).then(|| domain.to_owned());
        let implied = hub && !text.starts_with("library/");
        let name = path.strip_prefix("library/").filter(|rest| implied && !rest.contains('/')).unwrap_or(path);
        let cell = |i: usize| cells.get(i).filter(|c| !c.is_empty()).map(|c| (*c).to_owned());
        let expected = ImageRef { alias: None, registry, name: name.to_owned(), tag: cell(3), digest: cell(4) };
        assert_eq!(parsed, Ok(expected), "{text}");
        let canonical = ImageRef::parse_reference(text).map(|i| i.canonical().path);
        assert_eq!(canonical.as_deref(), Ok(path), "{text}");
    }
    assert!(valid > 300 && invalid > 300, "{valid} {invalid}");
}

/// A path of stage 2 is one of the grammar when its letters are made small (REF-6).
fn is_lenient_path(path: &str) -> bool {
    path.to_lowercase().split('/').all(|segment| {
        let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        edge(segment.bytes().next()) && edge(segment.bytes().last())
    })
}

#[test]
fn ref_5_canonical_equality_pairs() {
    let canonical = |text: &str| ImageRef::parse_reference(text).map(|i| i.canonical().to_string());
    for text in
        ["nginx", "docker.io/nginx", "docker.io/library/nginx", "index.docker.io/library/nginx:~1", "library/nginx"]
    {
        assert_eq!(canonical(text).as_deref(), Ok("docker.io/library/nginx"), "{text}");
    }
    for (text, expected) in [
        ("registry-1.docker.io/library/nginx", "registry-1.docker.io/library/nginx"),
        ("ghcr.io/a/b", "ghcr.io/a/b"),
        ("GHCR.io/a/b", "ghcr.io/a/b"),
        ("a/b", "docker.io/a/b"),
        ("localhost/foo", "localhost/foo"),
        ("ghcr.io/Org/app", "ghcr.io/Org/app"),
    ] {
        assert_eq!(canonical(text).as_deref(), Ok(expected), "{text}");
    }
}

fn parsed(text: &str) -> ImageRef {
    ImageRef::parse_reference(text).unwrap_or_else(|p| panic!("{p}"))
}

#[test]
fn compat_q1_docker_io_is_the_default() {
    assert_eq!(parsed("docker.io/x").canonical(), parsed("x").canonical());
}

#[test]
fn compat_q2_host_and_port_before_a_constraint() {
    assert_eq!(parsed("registry:5000/x:~1").registry.as_deref(), Some("registry:5000"));
}

#[test]
fn compat_q3_library_before_a_constraint() {
    assert_eq!(parsed("docker.io/library/nginx:~1").canonical(), parsed("nginx:1.0").canonical());
}

#[test]
fn compat_q4_a_digest_without_tag_is_said_as_latest_and_can_be_told() {
    let image = parsed("nginx@sha256:abcde");
    assert_eq!((image.tag_text().as_str(), image.is_digest_only()), ("latest@sha256:abcde", true));
}

#[test]
fn ref_1_lists() {
    let (images, problems) = parse_list(" a=nginx:1.x , , redis ,");
    assert_eq!(images.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a=nginx:1.x", "redis"]);
    assert!(problems.is_empty());
    for (list, code, words) in [
        (" , ,", "config-invalid", "no image"),
        ("a=nginx\nb=redis", "reference-invalid", "line break"),
        ("a=", "config-invalid", "no reference"),
    ] {
        let (images, problems) = parse_list(list);
        assert!(images.is_empty(), "{list:?}");
        assert_eq!(problems.iter().map(|p| p.code).collect::<Vec<_>>(), [code], "{list:?}");
        assert!(problems[0].text.contains(words), "{list:?}: {}", problems[0]);
    }
    let hint = parse_list("a=nginx\nb=redis").1.remove(0).hint;
    assert_eq!(hint, "items are separated by commas");
}

#[test]
fn ref_7_ref_8_ref_9_rendering() {
    let digest = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let image = ImageRef::parse("w=ghcr.io/acme/web:~1").unwrap_or_default();
    let with = |tag: Option<&str>, digest: Option<&str>| image.with_tag(tag.map(Into::into), digest.map(Into::into));
    assert_eq!(image.full_name(), "ghcr.io/acme/web");
    assert_eq!(with(Some("1.3.0"), None).full_reference(), "ghcr.io/acme/web:1.3.0");
    assert_eq!(with(Some("1.3.0"), Some(digest)).full_reference(), format!("ghcr.io/acme/web:1.3.0@{digest}"));
    assert_eq!(with(None, Some(digest)).full_reference(), format!("ghcr.io/acme/web@{digest}"));
    assert_eq!(with(None, None).full_reference(), "ghcr.io/acme/web");
    for (tag, sum, text) in [
        (Some("1.3.0"), None, "1.3.0".to_owned()),
        (Some("1.3.0"), Some(digest), format!("1.3.0@{digest}")),
        (None, Some(digest), format!("latest@{digest}")),
        (None, None, String::new()),
    ] {
        assert_eq!(with(tag, sum).tag_text(), text);
        assert_eq!(with(tag, sum).is_digest_only(), tag.is_none() && sum.is_some());
    }
    let repeated = ImageRef { registry: Some("ghcr.io".into()), name: "ghcr.io/a".into(), ..ImageRef::default() };
    assert_eq!(repeated.full_name(), "ghcr.io/a");
    for (text, short) in [
        ("nginx", true),
        ("acme/web", true),
        ("localhost:5000/x", false),
        ("registry:5000/x", false),
        ("localhost/x", false),
        ("ghcr.io/a/b", false),
    ] {
        assert_eq!(ImageRef::parse_reference(text).map(|i| i.is_short()), Ok(short), "{text}");
    }
}
