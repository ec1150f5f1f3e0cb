//! Subscription: who wants what. Annotations on Applications and AppProjects, the ConfigMap's `subscriptions`, default
//! triggers; merged into destinations per trigger (notifications.md §4).

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::selector::Selector;
use crate::core::problem::Problem;

/// Prefix of the annotations shared with Argo CD Notifications.
pub const PREFIX: &str = "notifications.argoproj.io/";
/// Our own alias, which upstream does not read (IMG-05).
pub const OWN_PREFIX: &str = "lynceus.dev/notify-";

/// A service and a recipient; the recipient may be empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
    /// Service name.
    pub service: String,
    /// Recipient, as written.
    pub recipient: String,
}

/// One item of the ConfigMap's `subscriptions` (§4.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GlobalSubscription {
    /// Destinations.
    pub destinations: Vec<Destination>,
    /// Triggers; empty means the default triggers.
    pub triggers: Vec<String>,
    /// Which Applications, by their labels.
    pub selector: Selector,
}

/// `defaultTriggers` and `defaultTriggers.<service>`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// Used where a subscription names no trigger.
    pub triggers: Vec<String>,
    /// Replaces them for annotation subscriptions of that service, even if empty.
    pub per_service: BTreeMap<String, Vec<String>>,
}

impl Defaults {
    fn of(&self, service: &str) -> &[String] {
        self.per_service.get(service).unwrap_or(&self.triggers)
    }

    /// Whether nothing says what an unnamed trigger means; an empty list of the service's own says it.
    fn are_missing(&self, service: &str) -> bool {
        self.triggers.is_empty() && !self.per_service.contains_key(service)
    }
}

/// Destinations per trigger, each list in merge order without repetitions (§4.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscriptions {
    /// By trigger, in byte order.
    pub by_trigger: BTreeMap<String, Vec<Destination>>,
    /// How many were beyond [`MOST`].
    left_out: usize,
}

/// At most this many destinations of one trigger are used per Application (§24); the first ones in order.
pub const MOST: usize = 500;

impl Subscriptions {
    fn add(&mut self, trigger: &str, destination: Destination) {
        let list = self.by_trigger.entry(trigger.to_owned()).or_default();
        if list.contains(&destination) {
            return;
        }
        if list.len() < MOST {
            list.push(destination);
        } else {
            self.left_out += 1;
        }
    }

    /// Whether nobody wants anything.
    pub fn is_empty(&self) -> bool {
        self.by_trigger.is_empty()
    }

    /// The destinations of a trigger.
    pub fn of(&self, trigger: &str) -> &[Destination] {
        self.by_trigger.get(trigger).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Merges everything that subscribes for one Application: ConfigMap items in order, then the Application's
/// annotations, then its project's; annotation keys in byte order (§4.4). Problems name the annotation.
pub fn merge(
    globals: &[GlobalSubscription],
    defaults: &Defaults,
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
    project: Option<&BTreeMap<String, String>>,
) -> (Subscriptions, Vec<Problem>) {
    let mut merged = Subscriptions::default();
    let mut problems = Vec::new();
    for item in globals.iter().filter(|item| item.selector.selects(labels)) {
        let triggers = if item.triggers.is_empty() { &defaults.triggers } else { &item.triggers };
        for trigger in triggers {
            for destination in &item.destinations {
                merged.add(trigger, destination.clone());
            }
        }
    }
    for annotations in [Some(annotations), project].into_iter().flatten() {
        for (key, value) in annotations {
            let rest = key
                .strip_prefix(PREFIX)
                .or_else(|| key.strip_prefix(OWN_PREFIX).filter(|rest| rest.starts_with("subscribe.")));
            if let Some(rest) = rest {
                let found = annotation(rest, value, defaults, &mut merged);
                problems.extend(found.into_iter().map(|p| p.at_key(key.as_str())));
            }
        }
    }
    if merged.left_out > 0 {
        let text = format!("{} destinations are beyond the first {MOST} of their trigger", merged.left_out);
        problems.push(Problem::error("TooManyDestinations", text).hint("let one recipient pass the message on"));
    }
    (merged, problems)
}

/// One annotation below the prefix. Anything but `subscribe.…` and `subscriptions…` is ignored and never creates a
/// destination (SUB-06).
fn annotation(rest: &str, value: &str, defaults: &Defaults, merged: &mut Subscriptions) -> Vec<Problem> {
    if let Some(path) = rest.strip_prefix("subscribe.") {
        return subscribe(path, value, defaults, merged);
    }
    if rest.starts_with("subscriptions") {
        return list(value, defaults, merged);
    }
    Vec::new()
}

/// `subscribe.<trigger>.<service>`, `subscribe.<service>`, `subscribe..<service>` (SUB-01 to SUB-04).
fn subscribe(path: &str, value: &str, defaults: &Defaults, merged: &mut Subscriptions) -> Vec<Problem> {
    let mut problems = Vec::new();
    let parts: Vec<&str> = path.split('.').collect();
    let (trigger, service) = match parts[..] {
        [service] => ("", service),
        [trigger, service] => (trigger, service),
        [trigger, service, ..] => {
            problems.push(
                Problem::warning("SubscriptionKey", format!("only `{trigger}` and `{service}` of this key count"))
                    .hint("names of triggers and services that are subscribed by annotation hold no dot"),
            );
            (trigger, service)
        }
        [] => return problems,
    };
    if service.is_empty() {
        problems
            .push(Problem::error("SubscriptionKey", "the key names no service").hint("subscribe.<trigger>.<service>"));
        return problems;
    }
    problems.extend(unexpanded(path));
    let triggers: Vec<String> =
        if trigger.is_empty() { defaults.of(service).to_vec() } else { vec![trigger.to_owned()] };
    if trigger.is_empty() && defaults.are_missing(service) {
        problems.push(without_trigger());
    }
    for recipient in recipients(value) {
        problems.extend(unexpanded(&recipient));
        for trigger in &triggers {
            merged.add(trigger, Destination { service: service.to_owned(), recipient: recipient.clone() });
        }
    }
    problems
}

/// Nobody is told anything by it, and that is seldom meant.
fn without_trigger() -> Problem {
    Problem::warning(
        "SubscriptionWithoutTrigger",
        "no trigger is named and there are no `defaultTriggers`; it does nothing",
    )
    .hint("subscribe.<trigger>.<service>")
}

/// A placeholder that was meant to be replaced before it came here (CFG-14): in a key below `subscribe.`, or a recipient.
pub fn unexpanded(text: &str) -> Option<Problem> {
    let placeholder = text.contains("{{") || text.contains("${") || text.split(['.', ':']).any(|p| p == "undefined");
    placeholder.then(|| {
        Problem::warning("SubscriptionNotExpanded", format!("`{text}` looks like a placeholder"))
            .hint("it was not expanded by whoever generated this object")
    })
}

/// `;`-separated and trimmed; the empty text is one empty recipient, `;` is nobody (SUB-01).
fn recipients(value: &str) -> Vec<String> {
    if value.is_empty() {
        return vec![String::new()];
    }
    value.split(';').map(str::trim).filter(|r| !r.is_empty()).map(str::to_owned).collect()
}

/// The YAML list of `subscriptions…` (SUB-05).
fn list(value: &str, defaults: &Defaults, merged: &mut Subscriptions) -> Vec<Problem> {
    let mut problems = Vec::new();
    let items = match serde_saphyr::from_str::<Json>(value) {
        Ok(Json::Array(items)) => items,
        Ok(_) => {
            let text = "expected a YAML list of {trigger: [..], destinations: [{service, recipients: [..]}]}";
            return vec![Problem::error("SubscriptionList", text)];
        }
        Err(error) => return vec![Problem::yaml("SubscriptionList", &error)],
    };
    for item in &items {
        let wrong = |text: &str| Problem::error("SubscriptionList", text).upstream_rejects();
        let triggers = match field(item, "trigger") {
            Some(Json::Array(names)) => {
                if names.iter().any(|name| !name.is_string()) {
                    problems.push(wrong("a name in `trigger` is no text").hint("quote it"));
                }
                names.iter().filter_map(Json::as_str).map(str::to_owned).collect()
            }
            Some(Json::String(one)) => {
                problems.push(
                    Problem::warning("SubscriptionList", "`trigger` is a single text")
                        .hint("write a list: trigger: [name]")
                        .upstream_rejects(),
                );
                vec![one.clone()]
            }
            Some(Json::Null) | None => Vec::new(),
            Some(_) => {
                problems.push(wrong("`trigger` is neither a list nor a text"));
                continue;
            }
        };
        let list = |object: &Json, name: &str| match field(object, name) {
            None | Some(Json::Null) => Ok(Vec::new()),
            Some(Json::Array(items)) => Ok(items.clone()),
            Some(_) => Err(wrong(&format!("`{name}` is no list"))),
        };
        let destinations = list(item, "destinations").unwrap_or_else(|problem| {
            problems.push(problem);
            Vec::new()
        });
        for destination in &destinations {
            let service = field(destination, "service").and_then(Json::as_str).unwrap_or_default();
            if service.is_empty() {
                problems.push(Problem::error("SubscriptionList", "a destination names no service"));
                continue;
            }
            let recipients = list(destination, "recipients").unwrap_or_else(|problem| {
                problems.push(problem);
                Vec::new()
            });
            if triggers.is_empty() && defaults.are_missing(service) && !recipients.is_empty() {
                problems.push(without_trigger().hint("name it: trigger: [name]"));
            }
            let triggers = if triggers.is_empty() { defaults.of(service).to_vec() } else { triggers.clone() };
            for recipient in &recipients {
                let Some(recipient) = recipient.as_str() else {
                    problems.push(wrong("a recipient is no text").hint("quote it"));
                    continue;
                };
                problems.extend(unexpanded(recipient));
                for trigger in &triggers {
                    let destination = Destination { service: service.to_owned(), recipient: recipient.to_owned() };
                    merged.add(trigger, destination);
                }
            }
        }
    }
    problems
}

/// A field by its name, exact match preferred, else case-insensitively, as Go decodes.
fn field<'a>(object: &'a Json, name: &str) -> Option<&'a Json> {
    let fields = object.as_object()?;
    fields.get(name).or_else(|| fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults() -> Defaults {
        Defaults {
            triggers: vec!["d".into()],
            per_service: [("mm".to_owned(), vec!["m1".to_owned(), "m2".to_owned()]), ("off".to_owned(), vec![])].into(),
        }
    }

    fn merged(annotations: &[(&str, &str)]) -> (String, usize) {
        let annotations = annotations.iter().map(|(k, v)| (format!("{PREFIX}{k}"), v.to_string())).collect();
        let (merged, problems) = merge(&[], &defaults(), &BTreeMap::new(), &annotations, None);
        let text: Vec<String> = merged
            .by_trigger
            .iter()
            .flat_map(|(t, list)| list.iter().map(move |d| format!("{t}→{}:{}", d.service, d.recipient)))
            .collect();
        (text.join(" "), problems.len())
    }

    #[test]
    fn sub_01_sub_02_sub_03_sub_04_sub_05_sub_06_annotation_vectors() {
        let yaml = "[{trigger: [t1, t2], destinations: [{service: slack, recipients: [a, b]}]}]";
        for (annotations, destinations, problems) in [
            (vec![("subscribe.on-x.slack", "a; b ;;c")], "on-x→slack:a on-x→slack:b on-x→slack:c", 0),
            (vec![("subscribe.on-x.hook", "")], "on-x→hook:", 0),
            (vec![("subscribe.on-x.hook", ";")], "", 0),
            (vec![("subscribe.on.x.slack", "a")], "on→x:a", 1),
            (vec![("subscribe.slack", "a")], "d→slack:a", 0),
            (vec![("subscribe..slack", "a")], "d→slack:a", 0),
            (vec![("subscribe.mm", "c")], "m1→mm:c m2→mm:c", 0),
            (vec![("subscribe.off", "c")], "", 0),
            (vec![("subscriptions", yaml)], "t1→slack:a t1→slack:b t2→slack:a t2→slack:b", 0),
            (vec![("subscriptions.more", yaml)], "t1→slack:a t1→slack:b t2→slack:a t2→slack:b", 0),
            (
                vec![("subscriptions", "[{trigger: [], destinations: [{service: slack, recipients: [a]}]}]")],
                "d→slack:a",
                0,
            ),
            (vec![("subscriptions", "[{Trigger: [t], DESTINATIONS: [{Service: s, Recipients: [a]}]}]")], "t→s:a", 0),
            (vec![("subscriptions", "[{trigger: t, destinations: [{service: s, recipients: [a]}]}]")], "t→s:a", 1),
            (vec![("subscriptions", "[{trigger: [t], destinations: [{service: s, recipients: [5, b]}]}]")], "t→s:b", 1),
            (vec![("subscriptions", "[{trigger: [t], destinations: []}]")], "", 0),
            (vec![("subscriptions", "{")], "", 1),
            (vec![("subscriptions", "")], "", 1),
            (vec![("random", "z"), ("subscribe.slack", "a"), ("zzz.slack", "y")], "d→slack:a", 0),
            (vec![("subscriptions", "[{trigger: [t, 5], destinations: [{service: s, recipients: [a]}]}]")], "t→s:a", 1),
            (vec![("subscriptions", "[{trigger: [t], destinations: {service: s}}]")], "", 1),
            (vec![("subscriptions", "[{trigger: [t], destinations: [{service: s, recipients: a}]}]")], "", 1),
            (vec![("subscriptions", "[{destinations: [{service: mm, recipients: [c]}]}]")], "m1→mm:c m2→mm:c", 0),
            (vec![("subscribe.on-x.slack", "{{channel}}")], "on-x→slack:{{channel}}", 1),
            (
                vec![("subscribe.on-x.slack", "a;${TEAM};undefined")],
                "on-x→slack:a on-x→slack:${TEAM} on-x→slack:undefined",
                2,
            ),
            (vec![("subscribe.on-x.undefined", "a")], "on-x→undefined:a", 1),
            (
                vec![
                    ("subscribe.on-x.slack", "a"),
                    ("subscriptions", "[{trigger: [on-x], destinations: [{service: slack, recipients: [a, b]}]}]"),
                ],
                "on-x→slack:a on-x→slack:b",
                0,
            ),
        ] {
            let (text, count) = merged(&annotations);
            assert_eq!((text.as_str(), count), (destinations, problems), "{annotations:?}");
        }
    }

    #[test]
    fn sub_11_projects_take_the_same_forms() {
        let forms = [
            ("subscribe.on-x.slack", "a;b"),
            ("subscribe.mm", "c"),
            ("subscribe..slack", "d"),
            ("subscriptions", "[{trigger: [t], destinations: [{service: slack, recipients: [e]}]}]"),
            ("subscriptions.more", "["),
            ("random", "z"),
        ];
        let annotations = forms.iter().map(|(k, v)| (format!("{PREFIX}{k}"), v.to_string())).collect();
        let none = BTreeMap::new();
        let of_app = merge(&[], &defaults(), &none, &annotations, None);
        let of_project = merge(&[], &defaults(), &none, &none, Some(&annotations));
        assert_eq!(of_project, of_app);
        assert_eq!(of_project.0.by_trigger.keys().collect::<Vec<_>>(), ["d", "m1", "m2", "on-x", "t"]);
    }

    #[test]
    fn section_24_beyond_500_destinations_the_first_are_used_and_it_is_said() {
        let many: Vec<String> = (0..501).map(|n| n.to_string()).collect();
        let annotations = [(format!("{PREFIX}subscribe.t.slack"), many.join(";"))].into();
        let (merged, problems) = merge(&[], &defaults(), &BTreeMap::new(), &annotations, None);
        assert_eq!((merged.of("t").len(), problems.len()), (MOST, 1));
        assert_eq!((merged.of("t")[499].recipient.as_str(), problems[0].code), ("499", "TooManyDestinations"));
    }

    #[test]
    fn section_4_4_merge_order_and_repetitions() {
        let dest = |s: &str, r: &str| Destination { service: s.into(), recipient: r.into() };
        let globals = [
            GlobalSubscription {
                destinations: vec![dest("slack", "g"), dest("hook", "")],
                triggers: vec!["t".into()],
                selector: Selector::parse("team=a").unwrap(),
            },
            GlobalSubscription {
                destinations: vec![dest("mail", "x")],
                triggers: vec![],
                selector: Selector::default(),
            },
        ];
        let app = [(format!("{PREFIX}subscribe.t.slack"), "a;g".to_owned())].into();
        let project = [(format!("{PREFIX}subscribe.t.slack"), "p;a".to_owned())].into();
        let labels = [("team".to_owned(), "a".to_owned())].into();
        let (merged, problems) = merge(&globals, &defaults(), &labels, &app, Some(&project));
        assert!(problems.is_empty());
        assert_eq!(merged.of("t"), [dest("slack", "g"), dest("hook", ""), dest("slack", "a"), dest("slack", "p")]);
        // A global item without triggers takes the default triggers, never the per-service list.
        assert_eq!(merged.of("d"), [dest("mail", "x")]);
        let (other, _) = merge(&globals, &defaults(), &BTreeMap::new(), &BTreeMap::new(), None);
        assert_eq!(other.by_trigger.keys().collect::<Vec<_>>(), ["d"]);
    }

    proptest::proptest! {
        #[test]
        fn sub_06_no_annotation_map_yields_an_empty_service(
            map in proptest::collection::btree_map("[a-z.]{0,12}|subscribe[a-z.]{0,9}", "[a-z;: ]{0,9}", 0..6)
        ) {
            let annotations = map.into_iter().map(|(k, v)| (format!("{PREFIX}{k}"), v)).collect();
            let (merged, _) = merge(&[], &defaults(), &BTreeMap::new(), &annotations, None);
            for destination in merged.by_trigger.values().flatten() {
                proptest::prop_assert!(!destination.service.is_empty());
            }
        }
    }
}
