//! `argocd-notifications-cm` and `-secret`: each key compiles alone; a key that fails keeps its last good source and
//! harms no other (notifications.md §2.2, §2.5).

mod blocks;
mod catalog;
mod conditions;
pub mod differences;
mod subscriptions;

use std::collections::BTreeMap;

use super::secret::Secret;
use super::services::{self, Body, ServiceConfig};
use super::yaml::{self, Node};
use crate::core::notify::Rules;
use crate::core::notify::catalog::{MessageTemplate, ServiceKind};
use crate::core::notify::subscription::GlobalSubscription;
use crate::core::notify::trigger::Trigger;
use crate::core::problem::{Problem, Severity, nearest};
use blocks::Blocks;
pub use catalog::{CATALOG, CatalogMode, IMAGE_CATALOG};

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
    /// The items of `subscriptions` in their places; one that never was good is absent.
    items: Vec<Option<GlobalSubscription>>,
}

/// Compiles the ConfigMap. `last_good` holds the sources of [`Notifications::good`] from before.
pub fn compile(
    config: &BTreeMap<String, String>,
    secrets: &BTreeMap<String, Secret>,
    last_good: &BTreeMap<String, String>,
    catalog: CatalogMode,
) -> Notifications {
    let own_triggers = config.keys().any(|key| key.starts_with("trigger."));
    let mut compiled = Notifications::default();
    for (key, source) in catalog.entries(own_triggers).filter(|(key, _)| !config.contains_key(*key)) {
        let mut problems = Vec::new();
        // The catalog's own tests show that it compiles.
        if compiled.key(key, source, secrets, &mut problems) {
            compiled.problems.extend(problems);
        }
    }
    for (key, source) in config {
        let mut problems = Vec::new();
        if key == "subscriptions"
            && let Some(before) = last_good.get(key)
        {
            // Its items compile one by one; a broken one keeps its own last good text (CFG-01).
            compiled.key(key, before, secrets, &mut Vec::new());
        }
        let good = compiled.key(key, source, secrets, &mut problems);
        compiled.problems.append(&mut problems);
        if good {
            compiled.good.insert(key.clone(), source.clone());
        } else if let Some(before) = last_good.get(key)
            && (key == "subscriptions" || compiled.key(key, before, secrets, &mut Vec::new()))
        {
            compiled.good.insert(key.clone(), before.clone());
            let text = "the last good text of this key stays in force";
            let text = if key == "subscriptions" { "broken items keep their last good text" } else { text };
            let problem = Problem::info("LastGoodInForce", text);
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
            _ => {
                problems.extend(ignored(key, prefix));
                true
            }
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
        let before = problems.len();
        let template = Blocks { problems }.template(&node);
        // What is good of a template that never was good as a whole is used all the same (TPL-01).
        self.rules.templates.insert(name.to_owned(), template);
        !failed(&problems[before..])
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
            match conditions::condition(index, item, problems) {
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
                self.items.clear();
                self.rules.subscriptions.clear();
                return true;
            }
            let text = format!("expected a list of {{recipients, triggers, selector}}, not {}", node.kind());
            problems.push(node.at.mark(Problem::error("SubscriptionsInvalid", text)).upstream_rejects());
            return false;
        };
        let before = problems.len();
        let parsed = items.iter().map(|item| subscriptions::global_subscription(item, problems)).collect();
        self.items = subscriptions::in_place(parsed, std::mem::take(&mut self.items));
        self.rules.subscriptions = self.items.iter().flatten().cloned().collect();
        !failed(&problems[before..])
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
        for item in &self.rules.subscriptions {
            for destination in &item.destinations {
                if !self.rules.services.contains_key(&destination.service) {
                    let problem = self.undefined_service(&destination.service, &destination.recipient);
                    found.push(problem.at_key("subscriptions"));
                }
            }
            for name in item.triggers.iter().filter(|name| !self.rules.triggers.contains_key(*name)) {
                found.push(self.undefined_trigger(name).at_key("subscriptions"));
            }
        }
        let defaults = &self.rules.defaults;
        let lists = std::iter::once(("defaultTriggers".to_owned(), &defaults.triggers))
            .chain(defaults.per_service.iter().map(|(s, list)| (format!("defaultTriggers.{s}"), list)));
        for (key, list) in lists {
            for name in list.iter().filter(|name| !self.rules.triggers.contains_key(*name)) {
                found.push(self.undefined_trigger(name).at_key(key.as_str()));
            }
        }
        let mut said = std::collections::BTreeSet::new();
        found.retain(|problem| said.insert(problem.clone()));
        self.problems.extend(found);
    }

    /// The problem of a subscription to no defined trigger (CFG-14).
    pub fn undefined_trigger(&self, name: &str) -> Problem {
        let problem = Problem::error("TriggerUndefined", format!("there is no trigger `{name}`"));
        near(problem, name, self.rules.triggers.keys().map(String::as_str))
    }

    /// The problem of a subscription that names no defined service, with the likeliest cause (CFG-14). The recipient is
    /// empty where it is not known.
    pub fn undefined_service(&self, name: &str, recipient: &str) -> Problem {
        let problem = Problem::error("ServiceUndefined", format!("there is no service `{name}`"));
        if self.rules.triggers.contains_key(name) {
            return problem.hint("this is a trigger; add the service: subscribe.<trigger>.<service>");
        }
        let own =
            |(service, key): (&String, &String)| (key == &format!("service.{name}.{service}")).then(|| service.clone());
        let of_type: Vec<String> = self.service_keys.iter().filter_map(own).collect();
        if let Some(service) = of_type.iter().find(|service| *service == recipient) {
            return problem.hint(format!("the service is called `{service}`"));
        }
        match &of_type[..] {
            [] => {}
            [one] => return problem.hint(format!("the service is called `{one}`")),
            several => return problem.hint(format!("services are called by their names: `{}`", several.join("`, `"))),
        }
        if name.contains('@') {
            return problem.hint(format!("write `email:{name}`"));
        }
        near(problem, name, self.rules.services.keys().map(String::as_str))
    }
}

/// A key that means nothing but looks as if it should.
fn ignored(key: &str, prefix: &str) -> Option<Problem> {
    const KNOWN: [&str; 6] = ["service", "template", "trigger", "defaultTriggers", "subscriptions", "context"];
    let near = nearest(prefix, KNOWN)?;
    let text = if KNOWN.contains(&prefix) { "no name follows; ignored" } else { "no key of this ConfigMap; ignored" };
    let after = key.strip_prefix(prefix).filter(|rest| rest.len() > 1 && !KNOWN.contains(&prefix));
    let meant = after.map_or_else(|| format!("{near}.<name>"), |rest| format!("{near}{rest}"));
    let meant = if near == "subscriptions" || near == "context" { near.to_owned() } else { meant };
    Some(Problem::info("KeyIgnored", text).hint(format!("did you mean `{meant}`?")))
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
    if matches!(name, "true" | "false") {
        return problem.hint("YAML reads y, n, on and off as true and false: quote the name");
    }
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

fn failed(problems: &[Problem]) -> bool {
    problems.iter().any(|problem| problem.severity == Severity::Error)
}

#[cfg(test)]
mod tests;
