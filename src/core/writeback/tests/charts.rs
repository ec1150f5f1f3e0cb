//! Every scalar, map and list of files as charts have them is edited once; a second parser judges the outcome.

use yaml_serde::Value;

use super::*;
use crate::core::writeback::document::{Kind, Way, walk};
use crate::core::writeback::fresh::Fresh;

const CHARTS: [(&str, &str); 4] = [
    ("cache", include_str!("../../../../tests/fixtures/writeback/charts/cache.yaml")),
    ("anchors", include_str!("../../../../tests/fixtures/writeback/charts/anchors.yaml")),
    ("crlf", include_str!("../../../../tests/fixtures/writeback/charts/crlf.yaml")),
    ("kustomization", include_str!("../../../../tests/fixtures/writeback/charts/kustomization.yaml")),
];

/// What an edit does to the tree, told to the second parser.
enum Meant {
    String(&'static str),
    OneMore,
    OneLess,
}

fn documents(text: &str) -> Vec<Value> {
    use serde::Deserialize;
    let mut found = Vec::new();
    for document in yaml_serde::Deserializer::from_str(text) {
        found.push(Value::deserialize(document).unwrap_or_else(|e| panic!("{e}:\n{text}")));
    }
    found
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Mapping(map) => map.iter().map(|(_, v)| v).collect(),
        Value::Sequence(list) => list.iter().collect(),
        Value::Tagged(tagged) => children(&tagged.value),
        _ => Vec::new(),
    }
}

/// Every node of a kind: its way and how many children it has.
fn nodes(text: &str, wanted: fn(&Kind) -> Option<usize>) -> Vec<(Way, usize)> {
    let editor = Editor::open(text.as_bytes()).unwrap();
    let mut found = Vec::new();
    walk(editor.root().unwrap(), &mut Vec::new(), &mut |way, node| {
        found.extend(wanted(&node.kind).map(|count| (way.to_vec(), count)));
    });
    found
}

/// Whether the one difference is the one meant. Anchored parts change elsewhere too, so those files are only read.
fn check(name: &str, before: &str, after: &str, way: &[usize], meant: &Meant) {
    let (old, new) = (documents(before), documents(after));
    assert_eq!(old[1..], new[1..], "{name} {way:?}");
    if before.contains('&') {
        return;
    }
    let (mut a, mut b) = (&old[0], &new[0]);
    for step in way {
        let (x, y) = (children(a), children(b));
        assert_eq!(x.len(), y.len(), "{name} {way:?}");
        for n in (0..x.len()).filter(|n| n != step) {
            assert_eq!(x[n], y[n], "{name} {way:?}");
        }
        (a, b) = (x[*step], y[*step]);
    }
    match meant {
        Meant::String(text) => assert_eq!(*b, Value::String((*text).to_owned()), "{name} {way:?}"),
        Meant::OneMore => assert_eq!(children(b).len(), children(a).len() + 1, "{name} {way:?}"),
        Meant::OneLess => assert_eq!(children(b).len() + 1, children(a).len(), "{name} {way:?}"),
    }
}

fn edited(text: &str, edit: impl FnOnce(&mut Editor) -> Result<(), Refusal>) -> Result<String, Refusal> {
    let mut editor = Editor::open(text.as_bytes()).unwrap();
    edit(&mut editor)?;
    Ok(String::from_utf8(editor.bytes()).unwrap())
}

#[test]
fn inv_2_yml_1_corpus_of_charts_untouched_outside_span() {
    let texts = ["1.20", "v2.0.0", "it's \"x\"", "a: b, c"];
    let (mut done, mut refused) = (0, 0);
    for (name, before) in CHARTS {
        let scalar = |kind: &Kind| matches!(kind, Kind::Scalar { .. }).then_some(0);
        for (number, (way, _)) in nodes(before, scalar).into_iter().enumerate() {
            let text = texts[number % texts.len()];
            match edited(before, |e| e.set(&way, text).map(|_| ())) {
                Ok(after) => {
                    let lines = before.split('\n').zip(after.split('\n')).filter(|(a, b)| a != b).count();
                    assert!(lines == 1 && before.split('\n').count() == after.split('\n').count(), "{name} {way:?}");
                    check(name, before, &after, &way, &Meant::String(text));
                    done += 1;
                }
                Err(refusal) => {
                    // Block scalars, text over lines, other tags: all of them by name.
                    assert!(!refusal.text.contains("the change would"), "{name} {way:?} {refusal:?}");
                    refused += 1;
                }
            }
        }
    }
    assert!(done > 80 && refused < 10, "{done} {refused}");
}

#[test]
fn yml_5_insertions_everywhere() {
    let map = |kind: &Kind| if let Kind::Map { entries, .. } = kind { Some(entries.len()) } else { None };
    let list = |kind: &Kind| if let Kind::Seq { items, .. } = kind { Some(items.len()) } else { None };
    let value = || Fresh::Map(vec![("tag".to_owned(), Fresh::Text("1.20".to_owned()))]);
    let mut done = 0;
    for (name, before) in CHARTS {
        for (way, count) in nodes(before, map) {
            for after in (1..=count).chain([usize::MAX]) {
                let text = edited(before, |e| e.add_entry(&way, after, "fresh", value())).unwrap();
                assert!(added(before, &text), "{name} {way:?} {after}");
                check(name, before, &text, &way, &Meant::OneMore);
                done += 1;
            }
        }
        for (way, count) in nodes(before, list) {
            for index in 0..=count {
                let text = match edited(before, |e| e.add_item(&way, index, value())) {
                    // `- - a`: nothing goes before the inner item.
                    Err(refusal) if refusal.text.contains("inside another line") => continue,
                    result => result.unwrap_or_else(|r| panic!("{name} {way:?} {index} {r:?}")),
                };
                assert!(added(before, &text), "{name} {way:?} {index}");
                check(name, before, &text, &way, &Meant::OneMore);
                done += 1;
            }
        }
    }
    assert!(done > 150, "{done}");
}

/// Whether `after` is `before` with one stretch put in.
fn added(before: &str, after: &str) -> bool {
    let (a, b) = (before.as_bytes(), after.as_bytes());
    let head = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    b.len() > a.len() && b.ends_with(&a[head..])
}

#[test]
fn yml_1_removals_everywhere() {
    let map = |kind: &Kind| if let Kind::Map { entries, .. } = kind { Some(entries.len()) } else { None };
    let mut done = 0;
    for (name, before) in CHARTS {
        for (way, count) in nodes(before, map) {
            for index in 0..count {
                if let Ok(text) = edited(before, |e| e.remove_entry(&way, index)) {
                    assert!(added(&text, before), "{name} {way:?} {index}");
                    check(name, before, &text, &way, &Meant::OneLess);
                    done += 1;
                }
            }
        }
    }
    assert!(done > 70, "{done}");
}
