//! The items of `subscriptions`, each by itself (notifications.md §4.2).

use crate::config::yaml::Node;
use crate::core::notify::selector::Selector;
use crate::core::notify::subscription::{self, Destination, GlobalSubscription};
use crate::core::problem::Problem;

/// The items in force: where one of them is not usable, the last good one of its place, if the list is as long as before.
pub(super) fn in_place(
    parsed: Vec<Option<GlobalSubscription>>,
    before: Vec<Option<GlobalSubscription>>,
) -> Vec<Option<GlobalSubscription>> {
    let same_length = parsed.len() == before.len();
    let mut before = before.into_iter();
    parsed
        .into_iter()
        .map(|item| {
            let last_good = before.next().flatten().filter(|_| same_length);
            item.or(last_good)
        })
        .collect()
}

/// One item; `None` if it is not usable.
pub(super) fn global_subscription(node: &Node, problems: &mut Vec<Problem>) -> Option<GlobalSubscription> {
    if node.entries().is_none() {
        let problem = Problem::error("SubscriptionsInvalid", format!("an item is {}", node.kind()));
        problems.push(node.at.mark(problem).upstream_rejects());
        return None;
    }
    if node.field("trigger").is_some() && node.field("triggers").is_none() {
        let problem = Problem::warning("SubscriptionsInvalid", "`trigger` is ignored here").hint("write `triggers`");
        problems.push(node.at.mark(problem));
    }
    let mut item = GlobalSubscription::default();
    for (recipient, text) in texts(node, "recipients", problems)? {
        problems.extend(subscription::unexpanded(text).map(|problem| recipient.at.mark(problem)));
        let mut parts = text.split(':');
        let service = parts.next().unwrap_or_default().to_owned();
        let name = parts.next().unwrap_or_default().to_owned();
        if parts.next().is_some() {
            let problem = Problem::warning("SubscriptionsInvalid", format!("`{text}`: only the first two parts count"));
            problems.push(recipient.at.mark(problem));
        }
        item.destinations.push(Destination { service, recipient: name });
    }
    item.triggers.extend(texts(node, "triggers", problems)?.into_iter().map(|(_, text)| text.to_owned()));
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

/// The texts of a list; none if it is absent, `None` if it is no list. Numbers are refused: coercion does not reach these
/// items, and upstream refuses them (§2.4).
fn texts<'a>(node: &'a Node, field: &str, problems: &mut Vec<Problem>) -> Option<Vec<(&'a Node, &'a str)>> {
    let Some(list) = node.field(field) else { return Some(Vec::new()) };
    let mut wrong = |node: &Node, text: String, hint: &str| {
        problems.push(node.at.mark(Problem::error("SubscriptionsInvalid", text)).hint(hint).upstream_rejects());
    };
    let Some(items) = list.items() else {
        wrong(list, format!("`{field}` is {}, not a list", list.kind()), "put it in brackets");
        return None;
    };
    let mut found = Vec::new();
    for item in items {
        match item.as_strict_text() {
            Some(text) => found.push((item, text)),
            None => wrong(item, format!("an item of `{field}` is {}", item.kind()), "quote it"),
        }
    }
    Some(found)
}
