//! The notification half's decisions: subscriptions, triggers, identity, messages (notifications.md §3-§11).
//!
//! [`evaluate`] is the one pass over one version of one Application. Nothing is sent here and nothing is stored: it
//! returns what to write in one step.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::core::application::{Application, status_time};
use crate::core::problem::Problem;

pub mod catalog;
pub mod identity;
pub mod image;
pub mod known;
pub mod ledger;
pub mod message;
pub mod row;
pub mod selector;
pub mod subscription;
pub mod trigger;
pub mod variables;
pub mod versions;

use catalog::{MessageTemplate, ServiceKind, Topic};
use known::Known;
use ledger::{Ledger, LedgerChange, Mark, Origin};
use row::{Payload, Row, RowState};
use subscription::{Defaults, Destination, GlobalSubscription, Subscriptions};
use trigger::{Condition, Outcome, Trigger};
use variables::Facts;

/// The annotation that Argo CD Notifications keeps its state in.
pub const STATE_ANNOTATION: &str = "notified.notifications.argoproj.io";

/// Keys that upstream must never see stand behind this character in the ledger (ST-08).
const LEDGER_ONLY: char = '\u{1}';

/// Keys of one Application that are remembered beside those currently true (ST-07).
const ONCE_MEMORY: usize = 100;

/// Everything compiled from the ConfigMap and the Secret.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Triggers by name.
    pub triggers: BTreeMap<String, Trigger>,
    /// Templates by name.
    pub templates: BTreeMap<String, MessageTemplate>,
    /// Services by name.
    pub services: BTreeMap<String, ServiceKind>,
    /// `subscriptions`.
    pub subscriptions: Vec<GlobalSubscription>,
    /// `defaultTriggers…`.
    pub defaults: Defaults,
    /// `context`.
    pub context: BTreeMap<String, String>,
    /// How the triggers were defined before (ST-12, ST-13).
    pub known: Known,
}

/// What an Application's project subscribes it to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inherited<'a> {
    /// Annotations of its project (SUB-10).
    pub project: Option<&'a BTreeMap<String, String>>,
    /// Annotations of the project that upstream finds, which looks beside the Application only.
    pub upstream: Option<&'a BTreeMap<String, String>>,
    /// The Application was there before this installation's very first start: what only `project` gives and is true
    /// already when it is first seen is taken as told (SUB-10).
    pub adopt: bool,
}

/// What one pass found.
#[derive(Clone, Debug, Default)]
pub struct Evaluation {
    /// Ledger changes, in order.
    pub changes: Vec<LedgerChange>,
    /// New rows, in order (TRG-02).
    pub rows: Vec<Row>,
    /// Broken conditions, unreadable annotations, failing fields.
    pub problems: Vec<Problem>,
    /// Triggers that are subscribed to and not defined (CFG-14).
    pub undefined_triggers: BTreeSet<String>,
    /// Services that are subscribed with and not defined (CFG-14).
    pub undefined_services: BTreeSet<String>,
    /// State keys of conditions that are true now.
    pub true_keys: BTreeSet<String>,
    /// (trigger, fired) for each condition evaluated.
    pub evaluated: Vec<(String, bool)>,
    /// Commits to look up before the version is evaluated again (HLP-06).
    pub wanted: Vec<String>,
    /// Services of new rows in whose message a simpler text stands in (TPL-07).
    pub fallbacks: Vec<String>,
    /// Why nothing was evaluated, if so.
    pub skipped: Option<&'static str>,
    /// An evaluated condition may change its outcome with time alone (EXP-04).
    pub reads_clock: bool,
}

/// Whether this version is left alone because its operation is not settled yet (CT-03 to CT-05).
pub fn skip(app: &Application) -> Option<&'static str> {
    let operation = app.status.operation.as_ref()?;
    if !matches!(operation.phase.as_str(), "Failed" | "Error" | "Succeeded") {
        return None;
    }
    let Some(finished) = status_time(&operation.finished_at) else {
        return Some("the operation has ended but says not when");
    };
    let seen = |text: &str| status_time(text).is_some_and(|at| finished <= at);
    if seen(&app.status.reconciled_at) || seen(&app.status.observed_at) {
        None
    } else {
        Some("the status is older than the end of the operation")
    }
}

/// Who wants what for this Application.
pub fn subscriptions(
    app: &Application,
    project: Option<&BTreeMap<String, String>>,
    rules: &Rules,
) -> (Subscriptions, Vec<Problem>) {
    let (merged, problems) =
        subscription::merge(&rules.subscriptions, &rules.defaults, &app.labels, &app.annotations, project);
    (merged, problems.into_iter().map(|p| p.in_object(app.label())).collect())
}

/// One pass over one version: subscriptions, triggers, conditions, identity; what is not yet known becomes a row and a
/// ledger key, what turned false loses its key (§9.2, §9.3). `now` is the outbox's clock, by which rows age.
pub fn evaluate(
    app: &Application,
    inherited: Inherited<'_>,
    rules: &Rules,
    ledger: &Ledger,
    facts: impl FnOnce() -> Facts,
    now: Timestamp,
) -> Evaluation {
    let evaluation = Evaluation::default();
    let mut pass = Pass { app, rules, ledger: ledger.clone(), upstream: None, now, evaluation };
    pass.import();
    pass.carry();
    if let Some(reason) = skip(app) {
        pass.evaluation.skipped = Some(reason);
        return pass.evaluation;
    }
    let (wanted, problems) = subscriptions(app, inherited.project, rules);
    pass.evaluation.problems.extend(problems);
    pass.note_undefined(&wanted);
    if inherited.adopt && !ledger.known && inherited.project != inherited.upstream {
        pass.upstream = Some(subscriptions(app, inherited.upstream, rules).0);
    }
    let held = pass.held_conditions();
    if wanted.is_empty() && held.is_empty() {
        pass.evaluation.skipped = Some("nobody subscribed");
        return pass.evaluation;
    }
    let facts = facts();
    let variables = facts.for_conditions();
    let names: BTreeSet<&str> =
        wanted.by_trigger.keys().map(String::as_str).chain(held.iter().map(|(t, _)| t.as_str())).collect();
    for name in names {
        let Some(trigger) = rules.triggers.get(name) else { continue };
        for condition in &trigger.conditions {
            let destinations = wanted.of(name);
            if condition.reads_image()
                || (destinations.is_empty() && !held.contains(&(name.to_owned(), condition.key.clone())))
            {
                continue;
            }
            let outcome = condition.evaluate(&variables, &facts.now);
            pass.evaluation.reads_clock |= condition.reads_clock();
            pass.evaluation.evaluated.push((name.to_owned(), outcome.result == Some(true)));
            pass.evaluation.wanted.extend(facts.take_wanted());
            let mut firing = Firing { trigger: name, condition, once_per: &outcome.once_per, former: Vec::new() };
            if outcome.result == Some(true) {
                firing.former = condition.former_texts(&variables, &facts.now);
            }
            pass.condition(&firing, &outcome, destinations, &facts);
            // What a template asks for is looked up when the row is sent; planning does not wait for it (HLP-05).
            facts.take_wanted();
        }
    }
    pass.forget_surplus();
    pass.evaluation
}

/// A condition in one pass.
struct Firing<'a> {
    trigger: &'a str,
    condition: &'a Condition,
    once_per: &'a str,
    /// `oncePer` texts as they were before edits (ST-13).
    former: Vec<String>,
}

struct Pass<'a> {
    app: &'a Application,
    rules: &'a Rules,
    /// The ledger as it will be.
    ledger: Ledger,
    /// Where destinations beyond these are adopted: what upstream would have told (SUB-10).
    upstream: Option<Subscriptions>,
    now: Timestamp,
    evaluation: Evaluation,
}

impl Pass<'_> {
    fn change(&mut self, change: LedgerChange) {
        self.ledger.apply(std::slice::from_ref(&change));
        self.evaluation.changes.push(change);
    }

    /// First sight of a UID: what upstream had already told counts as told (IMP-01, IMP-02).
    fn import(&mut self) {
        if self.ledger.known {
            return;
        }
        let Some(text) = self.app.annotation(STATE_ANNOTATION) else { return };
        let (marks, wrong) = ledger::import(text);
        self.evaluation.problems.extend(wrong.map(|text| {
            let problem = Problem::warning("StateAnnotationUnreadable", text).in_object(self.app.label());
            problem.at_key(STATE_ANNOTATION)
        }));
        for (key, mark) in marks {
            self.change(LedgerChange::Put(key, mark));
        }
    }

    /// Keys of edited conditions get their new names (ST-13), those of removed ones go after a day (ST-12).
    fn carry(&mut self) {
        let rules = self.rules;
        let known = &rules.known;
        for (before, now) in known.renamed() {
            let keys = self.ledger.marks.keys();
            let found: Vec<(String, usize)> =
                keys.filter_map(|key| Some((key.clone(), known::place(key, &before)?))).collect();
            for (key, at) in found {
                let renamed = format!("{}{now}{}", &key[..at], &key[at + before.len()..]);
                let taken = self.ledger.marks.contains_key(&renamed);
                self.change(if taken { LedgerChange::Remove(key) } else { LedgerChange::Move(key, renamed) });
            }
        }
        for gone in known.expired(self.now.as_second()) {
            let keys = self.ledger.marks.keys().filter(|key| known::place(key, &gone).is_some());
            for key in keys.cloned().collect::<Vec<_>>() {
                self.change(LedgerChange::Remove(key));
            }
        }
    }

    /// Conditions that hold a plain key: they are evaluated even without subscribers, so that a later one sees new
    /// occurrences (ST-12).
    fn held_conditions(&self) -> BTreeSet<(String, String)> {
        let mut held = BTreeSet::new();
        for (name, trigger) in &self.rules.triggers {
            for condition in &trigger.conditions {
                let prefix = format!("{name}:{}:", condition.key);
                if self.ledger.marks.keys().any(|key| key.starts_with(&prefix)) {
                    held.insert((name.clone(), condition.key.clone()));
                }
            }
        }
        held
    }

    fn note_undefined(&mut self, wanted: &Subscriptions) {
        let rules = self.rules;
        for (trigger, destinations) in &wanted.by_trigger {
            if !rules.triggers.contains_key(trigger) {
                self.evaluation.undefined_triggers.insert(trigger.clone());
            }
            let services = destinations.iter().map(|to| &to.service).filter(|s| !rules.services.contains_key(*s));
            self.evaluation.undefined_services.extend(services.cloned());
        }
    }

    fn planned(&self) -> Mark {
        Mark { origin: Origin::Planned, at: self.now.as_second(), told: false }
    }

    /// An evaluation that failed is said.
    fn say(&mut self, trigger: &str, condition: &Condition, outcome: &Outcome) {
        // An Application that Argo CD has not looked at yet has no status, and most conditions read it.
        if let Some(fault) = outcome.error.as_ref().filter(|_| !outcome.undetermined && self.app.has_status) {
            let problem = Problem::warning("ConditionFailed", fault.text.clone())
                .in_object(self.app.label())
                .at_key(format!("trigger.{trigger}.[{}].{}", condition.index, fault.field))
                .at(fault.line, fault.column);
            self.evaluation.problems.push(problem);
        }
    }

    fn condition(&mut self, firing: &Firing<'_>, outcome: &Outcome, destinations: &[Destination], facts: &Facts) {
        let Firing { trigger, condition, once_per, .. } = *firing;
        self.say(trigger, condition, outcome);
        if outcome.undetermined {
            // What may be true is not forgotten either (ST-15).
            let part = format!("{trigger}:{}:", condition.key);
            let keys = self.ledger.marks.keys().filter(|key| known::place(key, &part).is_some());
            self.evaluation.true_keys.extend(keys.cloned());
            return;
        }
        if outcome.result != Some(true) {
            self.turned_false(trigger, condition);
            return;
        }
        // True for those as well who are told already and no longer subscribe (ST-15).
        let prefix = identity::state_key(once_per, "", trigger, &condition.key, "", "");
        let prefix = prefix.strip_suffix(':').unwrap_or(&prefix);
        let standing = self.ledger.marks.keys().filter(|key| key.starts_with(prefix)).cloned();
        self.evaluation.true_keys.extend(standing);
        for destination in destinations {
            self.fired(firing, destination, facts);
        }
    }

    /// The plain keys go (ST-03, ST-04), those with a value stay (ST-06).
    fn turned_false(&mut self, trigger: &str, condition: &Condition) {
        let prefix = format!("{trigger}:{}:", condition.key);
        let gone: Vec<(String, Mark)> = self
            .ledger
            .marks
            .iter()
            .filter(|(key, _)| key.starts_with(&prefix))
            .map(|(key, mark)| (key.clone(), mark.clone()))
            .collect();
        for (key, mark) in gone {
            // A multi-source value that was told is shown again when it comes back (ST-08).
            if mark.told
                && let Some((of_value, latest)) = self.latest_value(&key)
            {
                self.change(LedgerChange::Put(of_value, Mark { told: true, ..latest }));
            }
            self.change(LedgerChange::Remove(key));
        }
    }

    /// The newest ledger key that stands for a multi-source value of this plain key.
    fn latest_value(&self, plain: &str) -> Option<(String, Mark)> {
        let suffix = format!(":{plain}");
        let of_value = self.ledger.marks.iter().filter(|(k, _)| k.starts_with(LEDGER_ONLY) && k.ends_with(&suffix));
        of_value.max_by_key(|(_, mark)| mark.at).map(|(key, mark)| (key.clone(), mark.clone()))
    }

    /// A true condition for one destination (ST-01, ST-02, ST-05, ST-08).
    fn fired(&mut self, firing: &Firing<'_>, destination: &Destination, facts: &Facts) {
        let Firing { trigger, condition, once_per, .. } = *firing;
        let Destination { service, recipient } = destination;
        let shown = identity::state_key(once_per, "", trigger, &condition.key, service, recipient);
        // Without `oncePer` there is no value that could be missing: each edge is told (ST-03).
        let valueless = once_per.is_empty() && condition.once_per.is_some();
        let substitute = if valueless { multi_source_value(self.app) } else { None };
        let ledger_key = match &substitute {
            Some(value) => format!("{LEDGER_ONLY}{value}:{shown}"),
            None => shown.clone(),
        };
        self.evaluation.true_keys.insert(shown.clone());
        self.evaluation.true_keys.insert(ledger_key.clone());
        self.take_up_former(firing, destination, &ledger_key);
        if let Some(mark) = self.ledger.marks.get(&ledger_key).cloned() {
            if mark.told && !self.ledger.marks.contains_key(&shown) {
                self.change(LedgerChange::Put(shown, mark));
            }
            return;
        }
        if self.upstream.as_ref().is_some_and(|upstream| !upstream.of(trigger).contains(destination)) {
            for key in BTreeSet::from([ledger_key, shown]) {
                let mark = Mark { origin: Origin::Adopted, told: true, ..self.planned() };
                self.change(LedgerChange::Put(key, mark));
            }
            return;
        }
        if substitute.is_some() {
            // IMP-03: an imported plain key stands for the state as it is now.
            let imported = self.ledger.marks.get(&shown).is_some_and(|mark| mark.origin == Origin::Import);
            if imported && self.latest_value(&shown).is_none() {
                let mark = Mark { origin: Origin::Import, ..self.planned() };
                self.change(LedgerChange::Put(ledger_key, mark));
                return;
            }
            self.change(LedgerChange::Put(ledger_key, self.planned()));
        }
        // A plain key that was told for an earlier value of a multi-source Application stays so.
        if !self.ledger.marks.contains_key(&shown) {
            self.change(LedgerChange::Put(shown.clone(), self.planned()));
        }
        let occurrence = match (once_per, &substitute) {
            ("", None) => edge(self.app),
            ("", Some(value)) => format!("once:{value}"),
            (text, _) => format!("once:{text}"),
        };
        let row = self.row(trigger, condition, &occurrence, shown, destination, facts);
        self.evaluation.rows.push(row);
    }

    /// A destination that was told under an earlier `oncePer` of the condition is told under the present one (ST-13).
    fn take_up_former(&mut self, firing: &Firing<'_>, to: &Destination, ledger_key: &str) {
        for text in &firing.former {
            let (trigger, condition) = (firing.trigger, &firing.condition.key);
            let before = identity::state_key(text, "", trigger, condition, &to.service, &to.recipient);
            if self.ledger.marks.contains_key(&before) && !self.ledger.marks.contains_key(ledger_key) {
                self.change(LedgerChange::Move(before, ledger_key.to_owned()));
            }
        }
    }

    fn row(
        &mut self,
        trigger: &str,
        condition: &Condition,
        occurrence: &str,
        state_key: String,
        destination: &Destination,
        facts: &Facts,
    ) -> Row {
        let uid = if self.app.uid.is_empty() { self.app.key.to_string() } else { self.app.uid.clone() };
        let occurrence = identity::occurrence_id(&uid, "", trigger, &condition.key, occurrence);
        let payload = self.payload(trigger, condition, destination, facts);
        Row {
            id: identity::event_id(&occurrence, &destination.service, &destination.recipient),
            occurrence,
            app: self.app.key.clone(),
            app_uid: uid,
            trigger: trigger.to_owned(),
            condition: condition.key.clone(),
            state_key,
            service: destination.service.clone(),
            recipient: destination.recipient.clone(),
            templates: condition.send.clone(),
            payload,
            state: RowState::Planned,
            attempts: 0,
            event_at: self.now,
            last_error: String::new(),
            possible_repeat: false,
            steps: Vec::new(),
        }
    }

    fn payload(&mut self, trigger: &str, condition: &Condition, to: &Destination, facts: &Facts) -> Payload {
        let Some(kind) = self.rules.services.get(&to.service).copied() else {
            // Undefined services are parked by delivery as healable rejections (CFG-14, CFG-15); what they need is not
            // known yet.
            return Payload::Deferred;
        };
        let app = self.app.key.to_string();
        let topic = Topic { trigger, app: &app };
        let rendering =
            catalog::render(&self.rules.templates, &condition.send, &to.service, kind, &to.recipient, facts, topic);
        if rendering.undetermined || rendering.secret {
            return Payload::Deferred;
        }
        let label = self.app.label();
        self.evaluation.problems.extend(rendering.problems.into_iter().map(|p| p.in_object(label.clone())));
        if rendering.fallback {
            self.evaluation.fallbacks.push(to.service.clone());
        }
        match rendering.failed {
            Some(reason) => Payload::Failed(reason),
            None => Payload::Rendered(rendering.message),
        }
    }

    /// Keeps every key that is true now and the newest others up to the memory (ST-07, ST-15).
    fn forget_surplus(&mut self) {
        let surplus = self.ledger.marks.len().saturating_sub(ONCE_MEMORY);
        if surplus == 0 {
            return;
        }
        let mut others: Vec<(i64, String)> = self
            .ledger
            .marks
            .iter()
            .filter(|(key, _)| !self.evaluation.true_keys.contains(*key))
            .map(|(key, mark)| (mark.at, key.clone()))
            .collect();
        others.sort();
        for (_, key) in others.into_iter().take(surplus) {
            self.change(LedgerChange::Remove(key));
        }
    }
}

/// Whether upstream's annotation may show the key.
pub fn shown_upstream(key: &str) -> bool {
    !key.starts_with(LEDGER_ONLY)
}

/// The value that stands for an empty `oncePer` of a multi-source Application (ST-08, #19847): the synced revisions,
/// else those compared with, else the end of the operation.
pub fn multi_source_value(app: &Application) -> Option<String> {
    if !app.multi_source {
        return None;
    }
    let synced = app.status.operation.as_ref().map(|o| o.synced_revisions.join(",")).unwrap_or_default();
    let compared = app.status.revisions.join(",");
    let finished = app.status.operation.as_ref().map(|o| o.finished_at.clone()).unwrap_or_default();
    [synced, compared, finished].into_iter().find(|text| !text.is_empty())
}

/// The occurrence of a condition without `oncePer`: the version that opened the edge (§11.1).
fn edge(app: &Application) -> String {
    let (started, revision) = match &app.status.operation {
        Some(operation) => (operation.started_at.as_str(), operation.asked_revisions.join(",")),
        None => ("", String::new()),
    };
    format!("edge:{started}|{revision}@{}", app.resource_version)
}

#[cfg(test)]
mod tests;
