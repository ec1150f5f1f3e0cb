//! The typing table of §2.4 and the shape of trees.

use super::*;

fn tree(text: &str) -> Node {
    parse(text).unwrap_or_else(|problem| panic!("{text}: {problem}")).0
}

#[derive(serde::Deserialize)]
struct Vector {
    rule: String,
    yaml: String,
    text: Option<String>,
    #[serde(default)]
    invalid: bool,
}

#[test]
fn section_2_4_typing_table() {
    let vectors: Vec<Vector> =
        serde_json::from_str(include_str!("../../../tests/fixtures/config/yaml_typing.json")).unwrap();
    assert!(vectors.len() > 50);
    for Vector { rule, yaml, text, invalid } in vectors {
        match parse(&yaml) {
            Ok((node, _)) => {
                assert!(!invalid, "{rule}: {yaml}");
                let value = &node.entries().unwrap()[0].value;
                assert_eq!(value.as_text().as_deref(), text.as_deref(), "{rule}: {yaml}");
            }
            Err(problem) => assert!(invalid, "{rule}: {yaml}: {problem}"),
        }
    }
}

#[test]
fn section_2_4_field_names_in_any_case_exact_first() {
    let node = tree("apiurl: lower\napiURL: exact\nToken: t\nusername: null\nUserName: u\n");
    for (name, text) in [("apiURL", Some("exact")), ("APIURL", Some("lower")), ("token", Some("t")), ("icon", None)] {
        assert_eq!(node.field(name).and_then(Node::as_text).as_deref(), text, "{name}");
    }
    assert_eq!(node.field("username").and_then(Node::as_text).as_deref(), Some("u"), "null is absent");
    assert_eq!(node.value("token"), None, "keys of the user's own are exact");
}

#[test]
fn section_2_4_the_last_of_two_equal_keys_wins_with_a_warning() {
    let (node, problems) = parse("a: 1\nb: 2\na: 3\n").unwrap();
    assert_eq!(node.value("a").and_then(Node::as_i64), Some(3));
    assert_eq!(problems.len(), 1);
    assert_eq!((problems[0].code, problems[0].line, problems[0].column), ("YamlDuplicateKey", Some(3), Some(1)));
}

#[test]
fn section_2_4_anchors_aliases_and_merges() {
    let node =
        tree("base: &b {x: 1, y: 2}\none:\n  <<: *b\n  y: 3\ntwo: *b\nlist: [*b]\nfirst:\n  <<: [{z: 1}, {z: 2}]\n");
    let one = node.value("one").unwrap();
    assert_eq!(one.value("x").and_then(Node::as_i64), Some(1));
    assert_eq!(one.value("y").and_then(Node::as_i64), Some(3));
    assert_eq!(node.value("two").unwrap().content, node.value("base").unwrap().content);
    assert_eq!(node.value("list").unwrap().items().unwrap().len(), 1);
    assert_eq!(node.value("first").unwrap().value("z").and_then(Node::as_i64), Some(1));
}

#[test]
fn section_2_4_keys_become_text() {
    let node = tree("0x5: a\nyes: b\n1.50: c\n? key\n: d\n");
    let keys: Vec<&str> = node.entries().unwrap().iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys, ["5", "yes", "1.5", "key"]);
}

#[test]
fn section_2_4_what_is_no_document_is_a_problem_with_its_place() {
    for (text, line) in [
        ("a: [1, 2", 1),
        ("a: 1\n b: 2\n", 2),
        ("a: *nowhere", 1),
        ("ok: 1\n[a]: 2\n", 2),
        ("~: 2", 1),
        ("<<: 5", 1),
        ("a: &x [*x]", 1),
        ("a:\n\t- b\n", 2),
    ] {
        let problem = parse(text).expect_err(text);
        assert_eq!(problem.code, "YamlInvalid", "{text}");
        assert!(problem.line.is_some_and(|found| found >= line && found <= line + 1), "{text}: {problem}");
        assert!(problem.upstream_rejects);
    }
    for empty in ["", "\n", "# only a comment\n", "---\n"] {
        assert!(tree(empty).is_null(), "{empty:?}");
    }
}

#[test]
fn section_2_4_aliases_that_multiply_are_refused() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..12 {
        let uses = vec![format!("*a{}", n - 1); 10].join(", ");
        text.push_str(&format!("a{n}: &a{n} [{uses}]\n"));
    }
    let problem = parse(&text).unwrap_err();
    assert!(problem.text.contains("200000"), "{problem}");
}

#[test]
fn section_2_4_unknown_fields_are_remarked_with_the_nearest_known_one() {
    let node = tree("when: a\nonceper: b\nsned: [x]\nlynceus: {}\nzzzzzz: 1\n");
    let problems = node.unknown_fields("a condition", &["when", "oncePer", "send", "lynceus"]);
    let found: Vec<(&str, Option<u32>, &str)> = problems.iter().map(|p| (p.code, p.line, p.hint.as_str())).collect();
    assert_eq!(found, [("UnknownField", Some(3), "did you mean `send`?"), ("UnknownField", Some(5), "")]);
}

#[test]
fn section_2_4_positions_are_of_the_node_itself() {
    let node = tree("a:\n  - b: ä\n    c: 5\n");
    let item = &node.value("a").unwrap().items().unwrap()[0];
    assert_eq!(item.value("c").unwrap().at, Position { line: 3, column: 8 });
    assert_eq!(item.entries().unwrap()[0].at, Position { line: 2, column: 5 });
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]
    #[test]
    fn section_2_4_no_text_breaks_the_reader(text in "[-a-z0-9:{}\\[\\],&*!|>'\"#%\\n ~.<?]{0,60}") {
        let _ = parse(&text);
    }

    #[test]
    fn section_2_4_a_float_s_text_reads_back_as_the_same_32_bit_number(bits in proptest::num::f32::NORMAL) {
        let text = float_text(f64::from(bits));
        proptest::prop_assert_eq!(text.parse::<f32>().unwrap(), bits);
    }
}
