//! Ledger: what was already told about one Application: its state keys (notifications.md §9.3, §10).

use std::collections::BTreeMap;

/// How a key came into the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An event was planned here.
    Planned,
    /// Read from the annotation at first sight (IMP-01).
    Import,
    /// Taken as told without sending (SUB-10, ST-13).
    Adopted,
}

impl Origin {
    /// The word in the store.
    pub fn word(self) -> &'static str {
        match self {
            Origin::Planned => "planned",
            Origin::Import => "import",
            Origin::Adopted => "adopted",
        }
    }

    /// From the store's word.
    pub fn from_word(word: &str) -> Origin {
        match word {
            "import" => Origin::Import,
            "adopted" => Origin::Adopted,
            _ => Origin::Planned,
        }
    }
}

/// One key of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// How it came here.
    pub origin: Origin,
    /// Unix seconds: when planned, imported or, once delivered, sent.
    pub at: i64,
    /// Whether the annotation may show it: delivered, imported or adopted (WRB-01).
    pub told: bool,
}

/// The keys of one Application. `known` is false until the Application was first seen (then the annotation is
/// imported).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Whether this UID has a ledger at all.
    pub known: bool,
    /// The keys.
    pub marks: BTreeMap<String, Mark>,
}

/// One change of a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerChange {
    /// Adds or replaces a key.
    Put(String, Mark),
    /// Removes a key.
    Remove(String),
    /// Goes on with a key under another name (ST-13): from, to. Events that are not delivered yet follow.
    Move(String, String),
}

impl Ledger {
    /// Applies changes, in order.
    pub fn apply(&mut self, changes: &[LedgerChange]) {
        self.known = true;
        for change in changes {
            match change {
                LedgerChange::Put(key, mark) => {
                    self.marks.insert(key.clone(), mark.clone());
                }
                LedgerChange::Remove(key) => {
                    self.marks.remove(key);
                }
                LedgerChange::Move(from, to) => {
                    if let Some(mark) = self.marks.remove(from) {
                        self.marks.insert(to.clone(), Mark { origin: Origin::Adopted, ..mark });
                    }
                }
            }
        }
    }
}

/// Reads the state annotation; gives what is wrong with it as well: unparsable JSON is an empty ledger, a value that is
/// no integer drops that entry only (IMP-02).
pub fn import(annotation: &str) -> (BTreeMap<String, Mark>, Option<String>) {
    let Ok(serde_json::Value::Object(entries)) = serde_json::from_str(annotation) else {
        let wrong = (!annotation.is_empty()).then(|| "the state annotation is no JSON object".to_owned());
        return (BTreeMap::new(), wrong);
    };
    let all = entries.len();
    let marks: BTreeMap<String, Mark> = entries
        .into_iter()
        .filter_map(|(key, value)| Some((key, Mark { origin: Origin::Import, at: value.as_i64()?, told: true })))
        .collect();
    let dropped = all - marks.len();
    let wrong = (dropped > 0).then(|| format!("{dropped} entries of the state annotation hold no integer"));
    (marks, wrong)
}

/// The most entries the annotation holds (WRB-03).
pub const ANNOTATION_ENTRIES: usize = 100;

/// The annotation's text for these marks: told ones only, newest first among the currently true keys, then the newest
/// others, at most 100; keys sorted, `<`, `>`, `&` escaped as Go's encoder does (§10.1). `None` when nothing is told:
/// the annotation is then removed.
pub fn export(ledger: &Ledger, currently_true: impl Fn(&str) -> bool) -> Option<String> {
    let mut told: Vec<(&String, &Mark)> = ledger.marks.iter().filter(|(_, mark)| mark.told).collect();
    if told.is_empty() {
        return None;
    }
    if told.len() > ANNOTATION_ENTRIES {
        told.sort_by_key(|(key, mark)| (!currently_true(key), std::cmp::Reverse(mark.at), (*key).clone()));
        told.truncate(ANNOTATION_ENTRIES);
    }
    let entries: BTreeMap<&String, i64> = told.into_iter().map(|(key, mark)| (key, mark.at)).collect();
    let json = serde_json::to_string(&entries).ok()?;
    Some(json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(at: i64) -> Mark {
        Mark { origin: Origin::Planned, at, told: true }
    }

    #[test]
    fn section_10_1_the_stored_text() {
        for (keys, text) in [
            (
                vec![("abc123:on-deployed:[0].qyWrLKXYec9qR5FVB0ylUEJLjFg:slack:my-channel", true)],
                Some(r#"{"abc123:on-deployed:[0].qyWrLKXYec9qR5FVB0ylUEJLjFg:slack:my-channel":1767225600}"#),
            ),
            (
                vec![("<nil>:on-created:[0].X_5TO4MPCKAyY0ipFgr6_IraRNs:slack:c", true)],
                Some(r#"{"\u003cnil\u003e:on-created:[0].X_5TO4MPCKAyY0ipFgr6_IraRNs:slack:c":1767225600}"#),
            ),
            (vec![("b:x", true), ("a:x", true), ("c:x", false)], Some(r#"{"a:x":1767225600,"b:x":1767225600}"#)),
            (vec![("only planned", false)], None),
            (vec![], None),
        ] {
            let marks = keys.iter().map(|(k, t)| (k.to_string(), Mark { told: *t, ..told(1767225600) })).collect();
            assert_eq!(export(&Ledger { known: true, marks }, |_| true).as_deref(), text);
        }
    }

    #[test]
    fn imp_01_imp_02_import_keeps_what_is_good() {
        let (marks, wrong) = import(r#"{"a:b":5,"c":"x","d":1.5,"\u003cnil\u003e:e":7}"#);
        assert!(wrong.is_some_and(|text| text.starts_with("2 entries")));
        assert_eq!(marks.keys().collect::<Vec<_>>(), ["<nil>:e", "a:b"]);
        for (text, good) in [("", true), ("{}", true), ("[1]", false), ("{", false)] {
            let (marks, wrong) = import(text);
            assert_eq!((marks.len(), wrong.is_none()), (0, good), "{text}");
        }
    }

    #[test]
    fn wrb_03_at_most_100_true_ones_first_then_newest() {
        let marks: BTreeMap<String, Mark> = (0..150).map(|n| (format!("k{n:03}"), told(n))).collect();
        let text = export(&Ledger { known: true, marks }, |key| key < "k010").unwrap();
        let kept: BTreeMap<String, i64> = serde_json::from_str(&text).unwrap();
        assert_eq!(kept.len(), 100);
        assert!(kept.contains_key("k000") && kept.contains_key("k149") && kept.contains_key("k060"));
        assert!(!kept.contains_key("k010") && !kept.contains_key("k059"));
    }

    #[test]
    fn ledger_changes_apply_in_order() {
        let mut ledger = Ledger::default();
        ledger.apply(&[
            LedgerChange::Put("a".into(), told(1)),
            LedgerChange::Put("b".into(), told(2)),
            LedgerChange::Remove("a".into()),
            LedgerChange::Move("b".into(), "c".into()),
            LedgerChange::Move("nothing".into(), "d".into()),
        ]);
        assert!(ledger.known);
        assert_eq!(ledger.marks, [("c".to_owned(), Mark { origin: Origin::Adopted, ..told(2) })].into());
    }
}
