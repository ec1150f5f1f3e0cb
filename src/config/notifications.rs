//! `argocd-notifications-cm` and `-secret`: each key compiles alone; a key that fails keeps its last good source and
//! harms no other (notifications.md §2.2, §2.5).

mod blocks;

use std::collections::BTreeMap;

use super::secret::Secret;
use super::services::{self, Body, ServiceConfig};
use super::yaml::{self, Node};
use crate::core::notify::Rules;
use crate::core::notify::catalog::{MessageTemplate, ServiceKind};
use crate::core::notify::selector::Selector;
use crate::core::notify::subscription::{Destination, GlobalSubscription};
use crate::core::notify::trigger::{Condition, Fault, Trigger};
use crate::core::notify::variables::VOCABULARY;
use crate::core::problem::{Problem, nearest};
use blocks::Blocks;

/// The built-in catalog: `(key, source)` in the users' own format, one file each (§19).
pub const CATALOG: &[(&str, &str)] = &[
    ("template.app-created", include_str!("../../templates/notifications/template.app-created.yaml")),
    ("template.app-deleted", include_str!("../../templates/notifications/template.app-deleted.yaml")),
    ("template.app-deployed", include_str!("../../templates/notifications/template.app-deployed.yaml")),
    ("template.app-health-degraded", include_str!("../../templates/notifications/template.app-health-degraded.yaml")),
    ("template.app-sync-failed", include_str!("../../templates/notifications/template.app-sync-failed.yaml")),
    ("template.app-sync-running", include_str!("../../templates/notifications/template.app-sync-running.yaml")),
    (
        "template.app-sync-status-unknown",
        include_str!("../../templates/notifications/template.app-sync-status-unknown.yaml"),
    ),
    ("template.app-sync-succeeded", include_str!("../../templates/notifications/template.app-sync-succeeded.yaml")),
    ("trigger.on-created", include_str!("../../templates/notifications/trigger.on-created.yaml")),
    ("trigger.on-deleted", include_str!("../../templates/notifications/trigger.on-deleted.yaml")),
    ("trigger.on-deployed", include_str!("../../templates/notifications/trigger.on-deployed.yaml")),
    ("trigger.on-health-degraded", include_str!("../../templates/notifications/trigger.on-health-degraded.yaml")),
    ("trigger.on-sync-failed", include_str!("../../templates/notifications/trigger.on-sync-failed.yaml")),
    ("trigger.on-sync-running", include_str!("../../templates/notifications/trigger.on-sync-running.yaml")),
    (
        "trigger.on-sync-status-unknown",
        include_str!("../../templates/notifications/trigger.on-sync-status-unknown.yaml"),
    ),
    ("trigger.on-sync-succeeded", include_str!("../../templates/notifications/trigger.on-sync-succeeded.yaml")),
];

/// `--builtin-catalog` (§19).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CatalogMode {
    /// The application triggers and templates only if the ConfigMap holds no `trigger.*` key.
    #[default]
    Auto,
    /// Always, keys of the ConfigMap winning.
    All,
    /// Never.
    None,
}

/// The compiled configuration.
#[derive(Clone, Debug, Default)]
pub struct Notifications {
    /// Triggers, templates, subscriptions, defaults, context.
    pub rules: Rules,
    /// Services by name.
    pub services: BTreeMap<String, ServiceConfig>,
    /// The key that defines each service.
    pub service_keys: BTreeMap<String, String>,
    /// Everything worth saying, each naming its key.
    pub problems: Vec<Problem>,
    /// The source of every key that is in force: what to fall back to when the key fails later (CFG-01).
    pub good: BTreeMap<String, String>,
}

/// Compiles the ConfigMap. `last_good` holds the sources of [`Notifications::good`] from before.
pub fn compile(
    config: &BTreeMap<String, String>,
    secrets: &BTreeMap<String, Secret>,
    last_good: &BTreeMap<String, String>,
    catalog: CatalogMode,
) -> Notifications {
    let own_triggers = config.keys().any(|key| key.starts_with("trigger."));
    let use_catalog = match catalog {
        CatalogMode::All => true,
        CatalogMode::None => false,
        CatalogMode::Auto => !own_triggers,
    };
    let mut compiled = Notifications::default();
    if use_catalog {
        for (key, source) in CATALOG.iter().filter(|(key, _)| !config.contains_key(*key)) {
            let mut problems = Vec::new();
            // The catalog's own tests show that it compiles.
            if compiled.key(key, source, secrets, &mut problems) {
                compiled.problems.extend(problems);
            }
        }
    }
    for (key, source) in config {
        let mut problems = Vec::new();
        let good = compiled.key(key, source, secrets, &mut problems);
        compiled.problems.append(&mut problems);
        if good {
            compiled.good.insert(key.clone(), source.clone());
        } else if let Some(before) = last_good.get(key)
            && compiled.key(key, before, secrets, &mut Vec::new())
        {
            compiled.good.insert(key.clone(), before.clone());
            let problem = Problem::info("LastGoodInForce", "the last good text of this key stays in force");
            compiled.problems.push(problem.at_key(key.as_str()));
        }
    }
    compiled.undefined_names();
    compiled
}

impl Notifications {
    /// Compiles one key into place; false if it must not replace what was good.
    fn key(
        &mut self,
        key: &str,
        source: &str,
        secrets: &BTreeMap<String, Secret>,
        problems: &mut Vec<Problem>,
    ) -> bool {
        let (prefix, name) = key.split_once('.').unwrap_or((key, ""));
        let before = problems.len();
        let good = match (prefix, name) {
            ("service", name) if !name.is_empty() => self.service(key, source, secrets, problems),
            ("template", name) if !name.is_empty() => self.template(name, source, problems),
            ("trigger", name) if !name.is_empty() => self.trigger(name, source, problems),
            ("defaultTriggers", service) => self.default_triggers(service, source, problems),
            ("subscriptions", "") => self.subscriptions(source, problems),
            ("context", "") => self.context(source, problems),
            _ => true,
        };
        for problem in &mut problems[before..] {
            problem.key = match problem.key.as_str() {
                "" => key.to_owned(),
                inner if inner == key => continue,
                inner => format!("{key}: {inner}"),
            };
        }
        good
    }

    fn service(
        &mut self,
        key: &str,
        source: &str,
        secrets: &BTreeMap<String, Secret>,
        problems: &mut Vec<Problem>,
    ) -> bool {
        let (service, found) = services::service(key, source, secrets);
        problems.extend(found);
        let Some(service) = service else { return false };
        if let Some(first) = self.service_keys.get(&service.name).filter(|first| *first != key) {
            // Keys come in byte order, so the first one wins (CFG-06).
            problems.push(
                Problem::error(
                    "ServiceNameClash",
                    format!("`{first}` and `{key}` both define the service `{}`", service.name),
                )
                .hint(format!("`{first}` is used; rename the other")),
            );
            return true;
        }
        self.rules.services.insert(service.name.clone(), kind(&service));
        self.service_keys.insert(service.name.clone(), key.to_owned());
        self.services.insert(service.name.clone(), service);
        true
    }

    fn template(&mut self, name: &str, source: &str, problems: &mut Vec<Problem>) -> bool {
        let Some(node) = mapping(source, "a template", problems) else { return false };
        let mut reader = Blocks { problems };
        let template = reader.template(&node);
        self.rules.templates.insert(name.to_owned(), template);
        true
    }

    fn trigger(&mut self, name: &str, source: &str, problems: &mut Vec<Problem>) -> bool {
        let (node, warnings) = match yaml::parse(source) {
            Ok(parsed) => parsed,
            Err(problem) => {
                problems.push(problem.upstream_rejects());
                return false;
            }
        };
        problems.extend(warnings);
        let single;
        let items: &[Node] = if let Some(items) = node.items() {
            items
        } else if node.is_null() {
            &[]
        } else if node.entries().is_some() {
            problems.push(
                Problem::warning(
                    "TriggerIsMapping",
                    "a trigger is a list of conditions; this mapping is taken as its only one",
                )
                .hint("put `- ` in front")
                .upstream_rejects(),
            );
            single = [node];
            &single
        } else {
            let text = format!("a trigger is a list of conditions, not {}", node.kind());
            problems.push(node.at.mark(Problem::error("TriggerInvalid", text)).upstream_rejects());
            return false;
        };
        let mut trigger = Trigger::default();
        let mut good = true;
        for (index, item) in items.iter().enumerate() {
            match condition(index, item, problems) {
                Ok(condition) => trigger.conditions.push(condition),
                Err(faults) => {
                    good = false;
                    trigger.broken.extend(faults.into_iter().map(|fault| (index, fault)));
                }
            }
        }
        // A broken condition keeps the others working, unless the whole trigger was good before (TRG-03, CFG-01).
        self.rules.triggers.insert(name.to_owned(), trigger);
        good
    }

    fn default_triggers(&mut self, service: &str, source: &str, problems: &mut Vec<Problem>) -> bool {
        let Some(names) = text_list(source, problems) else { return false };
        if service.is_empty() {
            self.rules.defaults.triggers = names;
        } else {
            self.rules.defaults.per_service.insert(service.to_owned(), names);
        }
        true
    }

    fn context(&mut self, source: &str, problems: &mut Vec<Problem>) -> bool {
        let Some(node) = mapping(source, "context", problems) else { return false };
        let mut context = BTreeMap::new();
        for entry in node.entries().unwrap_or_default() {
            if entry.value.is_null() {
                context.insert(entry.key.clone(), String::new());
                continue;
            }
            let Some(text) = entry.value.as_text() else {
                let text = format!("`{}` is {}, context holds texts only", entry.key, entry.value.kind());
                problems.push(entry.at.mark(Problem::error("ContextInvalid", text)).upstream_rejects());
                return false;
            };
            context.insert(entry.key.clone(), text.into_owned());
        }
        self.rules.context = context;
        true
    }

    fn subscriptions(&mut self, source: &str, problems: &mut Vec<Problem>) -> bool {
        let (node, warnings) = match yaml::parse(source) {
            Ok(parsed) => parsed,
            Err(problem) => {
                problems.push(problem.upstream_rejects());
                return false;
            }
        };
        problems.extend(warnings);
        let Some(items) = node.items() else {
            if node.is_null() {
                return true;
            }
            let text = format!("expected a list of {{recipients, triggers, selector}}, not {}", node.kind());
            problems.push(node.at.mark(Problem::error("SubscriptionsInvalid", text)).upstream_rejects());
            return false;
        };
        let before = problems.len();
        let parsed: Vec<_> = items.iter().filter_map(|item| global_subscription(item, problems)).collect();
        self.rules.subscriptions = parsed;
        problems[before..].iter().all(|problem| problem.severity < crate::core::problem::Severity::Error)
    }

    /// Names that nothing defines (CFG-13, CFG-14's part that the ConfigMap alone shows).
    fn undefined_names(&mut self) {
        let mut found = Vec::new();
        let names = |map: &BTreeMap<String, MessageTemplate>| map.keys().cloned().collect::<Vec<_>>();
        let templates = names(&self.rules.templates);
        for (trigger, body) in &self.rules.triggers {
            for condition in &body.conditions {
                for name in condition.send.iter().filter(|name| !self.rules.templates.contains_key(*name)) {
                    let text =
                        format!("condition {} sends the template `{name}`, which does not exist", condition.index);
                    let problem = Problem::error("TemplateUndefined", text).at_key(format!("trigger.{trigger}"));
                    found.push(near(problem, name, templates.iter().map(String::as_str)));
                }
            }
        }
        let triggers: Vec<&str> = self.rules.triggers.keys().map(String::as_str).collect();
        for item in &self.rules.subscriptions {
            for destination in &item.destinations {
                if !self.rules.services.contains_key(&destination.service) {
                    found.push(self.undefined_service(&destination.service).at_key("subscriptions"));
                }
            }
            for name in item.triggers.iter().filter(|name| !self.rules.triggers.contains_key(*name)) {
                let problem = Problem::error("TriggerUndefined", format!("there is no trigger `{name}`"));
                found.push(near(problem.at_key("subscriptions"), name, triggers.iter().copied()));
            }
        }
        let defaults = &self.rules.defaults;
        let lists = std::iter::once(("defaultTriggers".to_owned(), &defaults.triggers))
            .chain(defaults.per_service.iter().map(|(s, list)| (format!("defaultTriggers.{s}"), list)));
        for (key, list) in lists {
            for name in list.iter().filter(|name| !self.rules.triggers.contains_key(*name)) {
                let problem = Problem::error("TriggerUndefined", format!("there is no trigger `{name}`"));
                found.push(near(problem.at_key(key.as_str()), name, triggers.iter().copied()));
            }
        }
        found.dedup();
        self.problems.extend(found);
    }

    /// The problem of a subscription to no defined trigger (CFG-14).
    pub fn undefined_trigger(&self, name: &str) -> Problem {
        let problem = Problem::error("TriggerUndefined", format!("there is no trigger `{name}`"));
        near(problem, name, self.rules.triggers.keys().map(String::as_str))
    }

    /// The problem of a subscription that names no defined service, with the likeliest cause (CFG-14).
    pub fn undefined_service(&self, name: &str) -> Problem {
        let problem = Problem::error("ServiceUndefined", format!("there is no service `{name}`"));
        if self.rules.triggers.contains_key(name) {
            return problem.hint("this is a trigger; add the service: subscribe.<trigger>.<service>");
        }
        if name == "webhook"
            && let Some((own, _)) = self.service_keys.iter().find(|(_, key)| key.starts_with("service.webhook."))
        {
            return problem.hint(format!("the service is called `{own}`"));
        }
        if name.contains('@') {
            return problem.hint(format!("write `email:{name}`"));
        }
        near(problem, name, self.rules.services.keys().map(String::as_str))
    }
}

/// What rendering has to know of a service.
fn kind(service: &ServiceConfig) -> ServiceKind {
    match &service.body {
        Body::Webhook(webhook) => ServiceKind::Webhook { json: webhook.json },
        Body::Slack(_) => ServiceKind::Slack,
        Body::Email(_) => ServiceKind::Email,
        Body::Undelivered(_) => ServiceKind::Other { human: !service.is_program() },
    }
}

fn near<'a>(problem: Problem, name: &str, known: impl Iterator<Item = &'a str>) -> Problem {
    match nearest(name, known) {
        Some(word) => problem.hint(format!("did you mean `{word}`?")),
        None => problem,
    }
}

fn mapping(source: &str, what: &str, problems: &mut Vec<Problem>) -> Option<Node> {
    match yaml::parse(source) {
        Ok((node, warnings)) => {
            problems.extend(warnings);
            if node.entries().is_none() && !node.is_null() {
                let text = format!("{what} is a mapping, not {}", node.kind());
                problems.push(node.at.mark(Problem::error("YamlInvalid", text)).upstream_rejects());
                return None;
            }
            Some(node)
        }
        Err(problem) => {
            problems.push(problem.upstream_rejects());
            None
        }
    }
}

fn text_list(source: &str, problems: &mut Vec<Problem>) -> Option<Vec<String>> {
    match yaml::parse(source) {
        Ok((node, warnings)) => {
            problems.extend(warnings);
            if node.is_null() {
                return Some(Vec::new());
            }
            let names = node.items().map(|items| items.iter().map(|i| i.as_text().map(|t| t.into_owned())).collect());
            match names {
                Some(Some(names)) => Some(names),
                _ => {
                    let text = format!("expected a list of trigger names, not {}", node.kind());
                    problems.push(node.at.mark(Problem::error("YamlInvalid", text)).upstream_rejects());
                    None
                }
            }
        }
        Err(problem) => {
            problems.push(problem.upstream_rejects());
            None
        }
    }
}

const CONDITION_FIELDS: &[&str] = &["when", "oncePer", "send", "description", "lynceus"];

fn condition(index: usize, node: &Node, problems: &mut Vec<Problem>) -> Result<Condition, Vec<Fault>> {
    let unusable =
        |text: &str| vec![Fault { field: "when", text: text.to_owned(), hint: String::new(), line: 1, column: 1 }];
    if node.entries().is_none() {
        let text = format!("condition {index} is {}, not a mapping", node.kind());
        let faults = unusable(&text);
        problems.push(node.at.mark(Problem::error("TriggerInvalid", text)).upstream_rejects());
        return Err(faults);
    }
    problems.extend(node.unknown_fields("a condition", CONDITION_FIELDS));
    let text = |name: &str| node.field(name).and_then(|n| n.as_text()).map(|t| t.into_owned()).unwrap_or_default();
    let (when, once_per) = (text("when"), text("oncePer"));
    let mut send = Vec::new();
    if let Some(list) = node.field("send") {
        match list.items() {
            Some(items) => send.extend(items.iter().filter_map(|i| i.as_text()).map(|t| t.into_owned())),
            None => {
                let text = format!("`send` is a list of template names, not {}", list.kind());
                let faults = unusable(&text);
                problems.push(list.at.mark(Problem::error("TriggerInvalid", text)).upstream_rejects());
                return Err(faults);
            }
        }
    }
    if when.is_empty() {
        let text = format!("condition {index} has no `when` and never fires");
        problems.push(node.at.mark(Problem::warning("ConditionNeverFires", text)));
    }
    match Condition::compile(index, &when, &once_per, send, text("description")) {
        Ok(condition) => {
            for (field, program) in [("when", &condition.when), ("oncePer", &condition.once_per)] {
                for warning in program.iter().flat_map(|p| p.warnings(&VOCABULARY)) {
                    let problem = Problem::warning("ExpressionSuspicious", warning.text.clone())
                        .at_key(format!("[{index}].{field}"))
                        .at(warning.line, warning.column)
                        .hint(warning.hint.clone());
                    problems.push(problem);
                }
            }
            once_per_identity(index, &condition, problems);
            Ok(condition)
        }
        Err(faults) => {
            for fault in &faults {
                let problem = Problem::error("ExpressionInvalid", fault.text.clone())
                    .at_key(format!("[{index}].{}", fault.field))
                    .hint(fault.hint.clone())
                    .upstream_rejects();
                // Positions count within the expression; a one-line one is found by where it begins in the document.
                let at = node.field(fault.field).map(|n| n.at).filter(|_| fault.line == 1);
                problems.push(match at {
                    Some(at) => {
                        let text = format!("{} (character {} of the expression)", problem.text, fault.column);
                        Problem { text, ..problem }.at(at.line, at.column + fault.column - 1)
                    }
                    None => problem.at(fault.line, fault.column),
                });
            }
            Err(faults)
        }
    }
}

/// `oncePer` values that change by themselves cause repeats (TRG-04).
fn once_per_identity(index: usize, condition: &Condition, problems: &mut Vec<Problem>) {
    const RESTLESS: &[&[&str]] = &[
        &["app", "status", "reconciledAt"],
        &["app", "status", "observedAt"],
        &["app", "metadata", "resourceVersion"],
        &["app", "metadata", "generation"],
        &["app", "status", "summary", "images"],
        &["app", "status", "health"],
        &["app", "status", "sync", "status"],
    ];
    let Some(program) = &condition.once_per else { return };
    for path in program.read_paths() {
        if RESTLESS
            .iter()
            .any(|restless| path.len() >= restless.len() && path.iter().zip(*restless).all(|(a, b)| a == b))
        {
            problems.push(
                Problem::warning(
                    "OncePerIsNotAnIdentity",
                    format!("`oncePer` reads {}, which changes by itself and causes repeats", path.join(".")),
                )
                .at_key(format!("[{index}].oncePer"))
                .hint("use app.status.operationState?.syncResult?.revision"),
            );
        }
    }
}

fn global_subscription(node: &Node, problems: &mut Vec<Problem>) -> Option<GlobalSubscription> {
    if node.entries().is_none() {
        problems.push(node.at.mark(Problem::error("SubscriptionsInvalid", format!("an item is {}", node.kind()))));
        return None;
    }
    if node.field("trigger").is_some() && node.field("triggers").is_none() {
        let problem = Problem::warning("SubscriptionsInvalid", "`trigger` is ignored here").hint("write `triggers`");
        problems.push(node.at.mark(problem));
    }
    let mut item = GlobalSubscription::default();
    for recipient in node.field("recipients").and_then(Node::items).unwrap_or_default() {
        // Coercion does not reach these items: upstream refuses a number here (§2.4).
        let Some(text) = recipient.as_strict_text() else {
            let problem = Problem::error("SubscriptionsInvalid", format!("a recipient is {}", recipient.kind()));
            problems.push(recipient.at.mark(problem).hint("quote it").upstream_rejects());
            continue;
        };
        let mut parts = text.split(':');
        let service = parts.next().unwrap_or_default().to_owned();
        let name = parts.next().unwrap_or_default().to_owned();
        if parts.next().is_some() {
            let problem = Problem::warning("SubscriptionsInvalid", format!("`{text}`: only the first two parts count"));
            problems.push(recipient.at.mark(problem));
        }
        item.destinations.push(Destination { service, recipient: name });
    }
    for trigger in node.field("triggers").and_then(Node::items).unwrap_or_default() {
        item.triggers.extend(trigger.as_text().map(|t| t.into_owned()));
    }
    if let Some(selector) = node.field("selector") {
        let text = selector.as_text().unwrap_or_default();
        match Selector::parse(&text) {
            Ok(parsed) => item.selector = parsed,
            Err((column, expected)) => {
                let text = format!("selector `{text}`: {expected} at character {column}");
                let problem = Problem::error("SubscriptionsInvalid", text).hint("a=b,c!=d,e in (x,y),!f");
                problems.push(selector.at.mark(problem).upstream_rejects());
                return None;
            }
        }
    }
    Some(item)
}

#[cfg(test)]
mod tests;
