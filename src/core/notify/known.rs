//! Known: triggers as they were last seen, so that an edit renames state keys and sends nothing (ST-13), and the keys of
//! what was removed go after a day (ST-12).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use super::trigger::{Condition, Trigger};
use crate::core::expr::Program;

/// Keys of a removed condition are kept so long, in seconds (ST-12).
pub const REMOVED_KEPT: i64 = 24 * 3600;

/// A removed condition is remembered so long, in seconds: every Application is looked at meanwhile.
const REMEMBERED: i64 = 7 * 24 * 3600;

/// So many former forms of one condition are remembered.
const FORMS: usize = 8;

/// The definitions of all triggers as they were last seen, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known(BTreeMap<String, KnownTrigger>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct KnownTrigger {
    /// How many conditions its list held, broken ones included.
    length: usize,
    conditions: Vec<KnownCondition>,
    /// Keys of conditions that are gone, and since when (Unix seconds).
    removed: BTreeMap<String, i64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct KnownCondition {
    index: usize,
    /// `when` with its white space folded.
    when: String,
    form: Form,
    /// Newest first.
    former: Vec<Form>,
}

/// What the state keys of a condition are made from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Form {
    /// `[<index>].<hash of when>`.
    key: String,
    /// The source of `oncePer`; empty if none.
    once_per: String,
}

impl Form {
    fn of(condition: &Condition) -> Form {
        let once_per = condition.once_per.as_ref().map(|program| program.source().to_owned());
        Form { key: condition.key.clone(), once_per: once_per.unwrap_or_default() }
    }
}

fn folded(condition: &Condition) -> String {
    let source = condition.when.as_ref().map(Program::source).unwrap_or_default();
    source.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Known {
    /// What is known once these triggers were seen at `now` (Unix seconds). A condition goes on with the state of the
    /// former one of equal text, white space folded; else, where the list is as long as before, of the one in its place.
    pub fn observe(&self, triggers: &BTreeMap<String, Trigger>, now: i64) -> Known {
        let names: BTreeSet<&String> = self.0.keys().chain(triggers.keys()).collect();
        let seen = names.into_iter().map(|name| {
            let before = self.0.get(name).cloned().unwrap_or_default();
            (name.clone(), before.observe(triggers.get(name), now))
        });
        Known(seen.filter(|(_, trigger)| *trigger != KnownTrigger::default()).collect())
    }

    /// Gives each condition its former `oncePer` expressions.
    pub fn equip(&self, triggers: &mut BTreeMap<String, Trigger>) {
        for (name, trigger) in triggers {
            let Some(known) = self.0.get(name) else { continue };
            for condition in &mut trigger.conditions {
                let Some(own) = known.conditions.iter().find(|c| c.form.key == condition.key) else { continue };
                let sources: BTreeSet<&String> = own.former.iter().map(|form| &form.once_per).collect();
                let others = sources.into_iter().filter(|source| **source != own.form.once_per);
                // What was in force once has compiled then.
                condition.former_once_per = others.map(|source| Program::compile(source).ok()).collect();
            }
        }
    }

    /// Parts of state keys, `<trigger>:<condition>:`, that have another form now: before, now.
    pub fn renamed(&self) -> impl Iterator<Item = (String, String)> {
        self.0.iter().flat_map(|(name, trigger)| {
            trigger.conditions.iter().flat_map(move |condition| {
                let others = condition.former.iter().filter(|form| form.key != condition.form.key);
                others.map(move |form| (part(name, &form.key), part(name, &condition.form.key)))
            })
        })
    }

    /// The same parts of conditions that have been gone for a day at `now` (Unix seconds).
    pub fn expired(&self, now: i64) -> impl Iterator<Item = String> {
        self.0.iter().flat_map(move |(name, trigger)| {
            let over = trigger.removed.iter().filter(move |(_, since)| now.saturating_sub(**since) >= REMOVED_KEPT);
            over.map(move |(key, _)| part(name, key))
        })
    }

    /// When, after `now`, the next ones will have been gone for a day (Unix seconds).
    pub fn next_expiry(&self, now: i64) -> Option<i64> {
        let ends = self.0.values().flat_map(|trigger| trigger.removed.values()).map(|since| since + REMOVED_KEPT);
        ends.filter(|end| *end > now).min()
    }

    /// One text per trigger, for the store.
    pub fn texts(&self) -> BTreeMap<String, String> {
        let form = |form: &Form| json!({ "key": form.key, "oncePer": form.once_per });
        let condition = |c: &KnownCondition| {
            json!({
                "index": c.index, "when": c.when, "form": form(&c.form),
                "former": c.former.iter().map(form).collect::<Vec<_>>(),
            })
        };
        let trigger = |t: &KnownTrigger| {
            let conditions: Vec<Json> = t.conditions.iter().map(condition).collect();
            json!({ "length": t.length, "conditions": conditions, "removed": t.removed }).to_string()
        };
        self.0.iter().map(|(name, known)| (name.clone(), trigger(known))).collect()
    }

    /// Reads back what [`Known::texts`] gave; what is not readable is not known.
    pub fn from_texts(texts: &BTreeMap<String, String>) -> Known {
        let form = |json: &Json| {
            let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
            Form { key: text("key"), once_per: text("oncePer") }
        };
        let list = |json: &Json| json.as_array().cloned().unwrap_or_default();
        let number = |json: &Json| json.as_u64().unwrap_or_default() as usize;
        let condition = |json: &Json| KnownCondition {
            index: number(&json["index"]),
            when: json["when"].as_str().unwrap_or_default().to_owned(),
            form: form(&json["form"]),
            former: list(&json["former"]).iter().map(form).collect(),
        };
        let trigger = |text: &String| {
            let json: Json = serde_json::from_str(text).ok()?;
            let removed = json["removed"].as_object().into_iter().flatten();
            Some(KnownTrigger {
                length: number(&json["length"]),
                conditions: list(&json["conditions"]).iter().map(condition).collect(),
                removed: removed.filter_map(|(key, since)| Some((key.clone(), since.as_i64()?))).collect(),
            })
        };
        Known(texts.iter().filter_map(|(name, text)| Some((name.clone(), trigger(text)?))).collect())
    }
}

impl KnownTrigger {
    fn observe(self, trigger: Option<&Trigger>, now: i64) -> KnownTrigger {
        let conditions = trigger.map(|t| t.conditions.as_slice()).unwrap_or_default();
        let length = trigger.map_or(0, Trigger::length);
        let mut origins: Vec<Option<usize>> = vec![None; conditions.len()];
        let mut claim = |fits: &dyn Fn(&Condition, &KnownCondition) -> bool| {
            for new in 0..conditions.len() {
                let free =
                    |old: &usize| !origins.contains(&Some(*old)) && fits(&conditions[new], &self.conditions[*old]);
                if origins[new].is_none() {
                    origins[new] = (0..self.conditions.len()).find(free);
                }
            }
        };
        claim(&|new, old| new.key == old.form.key);
        claim(&|new, old| folded(new) == old.when);
        if length == self.length {
            claim(&|new, old| new.index == old.index);
        }
        let current: BTreeSet<&str> = conditions.iter().map(|c| c.key.as_str()).collect();
        let known = conditions.iter().zip(&origins).map(|(condition, origin)| {
            let form = Form::of(condition);
            let mut former: Vec<Form> = Vec::new();
            if let Some(old) = origin.map(|at| &self.conditions[at]) {
                former.extend(std::iter::once(&old.form).chain(&old.former).cloned());
            }
            // A form that another condition has now is that one's.
            former.retain(|old| *old != form && (old.key == form.key || !current.contains(old.key.as_str())));
            former.truncate(FORMS);
            KnownCondition { index: condition.index, when: folded(condition), form, former }
        });
        let known = known.collect();
        let mut removed = self.removed;
        removed.retain(|_, since| now.saturating_sub(*since) < REMEMBERED);
        let unclaimed = self.conditions.iter().enumerate().filter(|(at, _)| !origins.contains(&Some(*at)));
        for (_, old) in unclaimed {
            removed.entry(old.form.key.clone()).or_insert(now);
        }
        removed.retain(|key, _| !current.contains(key.as_str()));
        KnownTrigger { length, conditions: known, removed }
    }
}

fn part(trigger: &str, condition: &str) -> String {
    format!("{trigger}:{condition}:")
}

/// Where a part `<trigger>:<condition>:` stands in a state key, if it does.
pub fn place(key: &str, part: &str) -> Option<usize> {
    key.find(part).filter(|at| *at == 0 || key[..*at].ends_with(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn triggers(conditions: &[(&str, &str)]) -> BTreeMap<String, Trigger> {
        let compile = |(index, (when, once)): (usize, &(&str, &str))| {
            Condition::compile(index, when, once, Vec::new(), String::new()).unwrap()
        };
        let conditions = conditions.iter().enumerate().map(compile).collect();
        BTreeMap::from([("t".to_owned(), Trigger { conditions, ..Trigger::default() })])
    }

    fn key(index: usize, when: &str) -> String {
        part("t", &crate::core::notify::identity::condition_key(index, when))
    }

    /// A list of conditions before and after an edit, and which keys are renamed: (index, when) before and after.
    type Edit =
        (&'static [&'static str], &'static [&'static str], &'static [(usize, &'static str, usize, &'static str)]);

    #[test]
    fn st_13_identity_by_folded_text_then_by_place() {
        let edits: [Edit; 10] = [
            (&["a == 1"], &["a == 1"], &[]),
            (&["a == 1"], &["a  ==\n1"], &[(0, "a == 1", 0, "a  ==\n1")]),
            (&["a"], &["b"], &[(0, "a", 0, "b")]),
            (&["a", "b"], &["b", "a"], &[(1, "b", 0, "b"), (0, "a", 1, "a")]),
            (&["a", "b"], &["x", "a", "b"], &[(0, "a", 1, "a"), (1, "b", 2, "b")]),
            // The list is another length: what has no equal text is new.
            (&["a", "b"], &["x", "b", "c"], &[]),
            (&["a", "b"], &["a"], &[]),
            (&["a", "b"], &["b"], &[(1, "b", 0, "b")]),
            (&["a", "b"], &["x", "a"], &[(0, "a", 1, "a")]),
            (&["a", "a"], &["a", "b"], &[(1, "a", 1, "b")]),
        ];
        for (before, after, renamed) in edits {
            let list = |texts: &[&'static str]| triggers(&texts.iter().map(|when| (*when, "")).collect::<Vec<_>>());
            let known = Known::default().observe(&list(before), 1).observe(&list(after), 2);
            let found: Vec<(String, String)> = known.renamed().collect();
            let wanted: Vec<(String, String)> = renamed.iter().map(|(n, a, m, b)| (key(*n, a), key(*m, b))).collect();
            assert_eq!(found, wanted, "{before:?} to {after:?}");
            assert_eq!(Known::from_texts(&known.texts()), known, "{before:?} to {after:?}");
        }
    }

    #[test]
    fn st_13_an_edit_taken_back_goes_on_with_the_first_form() {
        let (first, second) = (triggers(&[("a", "x")]), triggers(&[("b", "y")]));
        let mut back = triggers(&[("a", "x")]);
        let known = Known::default().observe(&first, 1).observe(&second, 2).observe(&back, 3);
        assert_eq!(known.renamed().collect::<Vec<_>>(), [(key(0, "b"), key(0, "a"))]);
        known.equip(&mut back);
        let former = &back["t"].conditions[0].former_once_per;
        let sources: Vec<Option<&str>> = former.iter().map(|p| p.as_ref().map(Program::source)).collect();
        assert_eq!(sources, [Some("y")]);
        // Unchanged triggers change nothing.
        assert_eq!(known.observe(&back, 4), known);
    }

    #[test]
    fn st_12_what_is_removed_expires_after_a_day_and_is_forgotten_after_a_week() {
        let (both, one, none) = (triggers(&[("a", ""), ("b", "")]), triggers(&[("a", "")]), BTreeMap::new());
        let known = Known::default().observe(&both, 100).observe(&one, 200);
        let gone = |known: &Known, now: i64| known.expired(now).collect::<Vec<_>>();
        assert_eq!(gone(&known, 200 + REMOVED_KEPT - 1), [""; 0]);
        assert_eq!(known.next_expiry(200), Some(200 + REMOVED_KEPT));
        assert_eq!(gone(&known, 200 + REMOVED_KEPT), [key(1, "b")]);
        assert_eq!(known.next_expiry(200 + REMOVED_KEPT), None);
        // A condition that comes back is not removed any more.
        assert_eq!(gone(&known.observe(&both, 300), i64::MAX), [""; 0]);
        let known = known.observe(&none, 300);
        assert_eq!(gone(&known, 300 + REMOVED_KEPT), [key(0, "a"), key(1, "b")]);
        assert_eq!(known.observe(&none, 300 + REMEMBERED), Known::default());
    }

    #[test]
    fn a_part_stands_behind_a_colon_or_first() {
        for (text, at) in [("on-x:[0].h:s:r", Some(0)), ("v:on-x:[0].h:s:r", Some(2)), ("my-on-x:[0].h:s:r", None)] {
            assert_eq!(place(text, "on-x:[0].h:"), at, "{text}");
        }
    }
}
