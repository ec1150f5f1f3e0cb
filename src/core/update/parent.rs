//! Who manages an Application: with method `argocd` a parent may put the old value back (image-updates.md ARG-8).

use sha2::{Digest, Sha256};

use super::report;
use crate::core::application::source::Route;
use crate::core::application::{AppKey, Application, SourceType};
use crate::core::problem::Problem;

const TRACKING_ID: &str = "argocd.argoproj.io/tracking-id";

/// The label by which Argo CD marks what an Application manages, unless its configuration names another one.
pub const INSTANCE_LABEL: &str = "app.kubernetes.io/instance";

/// Under which name our patches appear among the managers of a field.
const FIELD_MANAGER: &str = "lynceus";

/// An object that an Application says it is managed by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Named {
    /// By an Application; whether there is one has to be looked up.
    Application(AppKey),
    /// By an ApplicationSet of this name.
    ApplicationSet(String),
}

/// A parent that exists.
#[derive(Clone, Debug)]
pub struct Parent {
    /// As people name it: `Application argocd/apps`.
    pub name: String,
    /// What it is, where it is an Application that could be read.
    pub app: Option<std::sync::Arc<Application>>,
    /// It could not be read now: what it is like, and whether it has changed, is not known.
    pub unread: bool,
}

/// Who manages an Application, the surest sign first: its owner, the tracking annotation, the instance label.
pub fn named(app: &Application, instance_label: &str, argocd_namespace: &str) -> Vec<Named> {
    let mut found = Vec::new();
    let owner = app.owners.iter().find(|(kind, _)| kind == "ApplicationSet");
    found.extend(owner.map(|(_, name)| Named::ApplicationSet(name.clone())));
    let tracked = app.annotation(TRACKING_ID).and_then(|text| tracking(text, app));
    let label = app.labels.get(instance_label).map(String::as_str);
    for instance in [tracked, label].into_iter().flatten().filter(|name| !name.is_empty()) {
        let key = instance_key(instance, argocd_namespace);
        let named = Named::Application(key.clone());
        if key != app.key && !found.contains(&named) {
            found.push(named);
        }
    }
    found
}

/// The instance of `<instance>:<group>/<kind>:<namespace>/<name>`. One that speaks of another object was copied, and
/// Argo CD does not heed it either.
fn tracking<'a>(text: &'a str, app: &Application) -> Option<&'a str> {
    let (instance, object) = text.split_once(':')?;
    let (kind, key) = object.split_once(':')?;
    let own = [app.key.to_string(), format!("/{}", app.key.name)];
    (kind == "argoproj.io/Application" && own.iter().any(|own| own == key)).then_some(instance)
}

/// Argo CD writes an Application outside its own namespace as `<namespace>_<name>`; no name of an object has a `_`.
fn instance_key(instance: &str, argocd_namespace: &str) -> AppKey {
    let (namespace, name) = instance.split_once('_').unwrap_or((argocd_namespace, instance));
    AppKey { namespace: namespace.to_owned(), name: name.to_owned() }
}

/// Where method `argocd` writes an image of this route, as a JSON pointer.
pub fn edited_field(app: &Application, route: &Route) -> String {
    let source = if app.hydrated {
        "/spec/sourceHydrator/drySource".to_owned()
    } else if app.multi_source {
        format!("/spec/sources/{}", route.source_index)
    } else {
        "/spec/source".to_owned()
    };
    match route.kind {
        SourceType::Kustomize => format!("{source}/kustomize/images"),
        _ => format!("{source}/helm/parameters"),
    }
}

/// The warning `parent-reverts`: strong where the parent heals itself and ignores no difference in an edited field.
pub fn warning(app: &Application, parent: &Parent, fields: &[String]) -> Problem {
    let (text, hint) = match &parent.app {
        None => (
            match parent.unread {
                true => format!("{} manages this Application and may put the old value back", parent.name),
                false => format!("{} generates this Application and may put the old value back", parent.name),
            },
            "write to Git instead (write-back-method: git), or let its ignoreApplicationDifferences name the field"
                .to_owned(),
        ),
        Some(of) => {
            let open: Vec<&str> = fields.iter().filter(|f| !ignores(of, app, f)).map(String::as_str).collect();
            if of.automated == Some(true) && !open.is_empty() {
                let text = format!(
                    "{} manages this Application and heals itself: it will put back what is written to {}",
                    parent.name,
                    open.join(", ")
                );
                let hint = format!(
                    "write to Git instead (write-back-method: git), or add ignoreDifferences for {} to it",
                    open.join(", ")
                );
                (text, hint)
            } else {
                let text = format!("{} manages this Application: a sync of it may put the old value back", parent.name);
                (text, "write to Git instead (write-back-method: git)".to_owned())
            }
        }
    };
    Problem::warning("parent-reverts", text).in_object(app.label()).at_key("write-back-method").hint(hint)
}

/// Whether the parent ignores differences in this field of the child.
fn ignores(parent: &Application, child: &Application, field: &str) -> bool {
    let object = parent.json();
    let rules = object["spec"]["ignoreDifferences"].as_array().cloned().unwrap_or_default();
    rules.iter().any(|rule| {
        let text = |key: &str| rule[key].as_str().unwrap_or_default();
        let is = |key: &str, own: &str| matches!(text(key), "" | "*") || text(key) == own;
        let any = |key: &str, test: &dyn Fn(&str) -> bool| {
            rule[key].as_array().into_iter().flatten().filter_map(|entry| entry.as_str()).any(test)
        };
        let concerns = is("group", "argoproj.io")
            && is("kind", "Application")
            && is("name", &child.key.name)
            && is("namespace", &child.key.namespace);
        concerns
            && (any("jsonPointers", &|pointer| covers(&steps_of_pointer(pointer), field))
                || any("jqPathExpressions", &|path| covers(&steps_of_jq(path), field))
                || any("managedFieldsManagers", &|manager| manager == FIELD_MANAGER))
    })
}

/// Whether a path leads to the field or to what holds it. `*` stands for any step.
fn covers(path: &[String], field: &str) -> bool {
    let field: Vec<&str> = field.split('/').skip(1).collect();
    let (same, rest) = path.split_at(path.len().min(field.len()));
    same.iter().zip(&field).all(|(a, b)| a == b || a == "*") && rest.iter().all(|step| step == "*")
}

fn steps_of_pointer(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")).collect()
}

/// The steps of a jq path up to its first pipe: `.spec.sources[].helm.parameters[] | select(…)`.
fn steps_of_jq(path: &str) -> Vec<String> {
    let mut steps = Vec::new();
    let path = path.split('|').next().unwrap_or_default().trim();
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let (key, brackets) = part.split_at(part.find('[').unwrap_or(part.len()));
        steps.extend(Some(key.trim_matches(['"', '?', ' ']).to_owned()).filter(|key| !key.is_empty()));
        for inner in brackets.split('[').skip(1) {
            let inner = inner.split(']').next().unwrap_or_default().trim();
            let quoted = inner.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            steps.push(quoted.unwrap_or("*").to_owned());
        }
    }
    steps
}

/// What ends a hold `reverted-by-parent` when it changes: the Application's image settings, and the parent with what it
/// was synced to.
pub fn fingerprint(app: &Application, parent: &Parent) -> String {
    let mut sum = Sha256::new();
    let mut add = |text: &str| {
        sum.update(format!("{}:", text.len()));
        sum.update(text);
    };
    add(&report::uid(app));
    for (key, value) in &app.annotations {
        if key.starts_with("argocd-image-updater.argoproj.io/") || key.starts_with("lynceus.dev/") {
            add(key);
            add(value);
        }
    }
    add(&parent.name);
    if let Some(of) = &parent.app {
        add(&of.json()["spec"].to_string());
        of.status.revisions.iter().for_each(|revision| add(revision));
    }
    sum.finalize()[..12].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value as Json, json};

    use super::*;

    fn app(metadata: Json, spec: Json) -> Application {
        let mut object = json!({"metadata": {"name": "web", "namespace": "argocd"}, "spec": spec});
        for (key, value) in metadata.as_object().unwrap() {
            object["metadata"][key.as_str()] = value.clone();
        }
        Application::decode(&object.to_string()).unwrap()
    }

    #[test]
    fn arg_8_who_manages_an_application() {
        let tracked = |id: &str| json!({"annotations": {TRACKING_ID: id}});
        let labelled = |key: &str, value: &str| json!({"labels": {key: value}});
        let set = json!({"ownerReferences": [{"kind": "ApplicationSet", "name": "all"}]});
        for (metadata, label, expected) in [
            (json!({}), INSTANCE_LABEL, vec![]),
            (tracked("apps:argoproj.io/Application:argocd/web"), INSTANCE_LABEL, vec!["argocd/apps"]),
            (tracked("team_apps:argoproj.io/Application:argocd/web"), INSTANCE_LABEL, vec!["team/apps"]),
            // Of another object, of itself, of another kind, unreadable.
            (tracked("apps:argoproj.io/Application:argocd/api"), INSTANCE_LABEL, vec![]),
            (tracked("web:argoproj.io/Application:argocd/web"), INSTANCE_LABEL, vec![]),
            (tracked("apps:apps/Deployment:argocd/web"), INSTANCE_LABEL, vec![]),
            (tracked("apps"), INSTANCE_LABEL, vec![]),
            (labelled(INSTANCE_LABEL, "apps"), INSTANCE_LABEL, vec!["argocd/apps"]),
            (labelled(INSTANCE_LABEL, "web"), INSTANCE_LABEL, vec![]),
            (labelled("acme.io/instance", "apps"), INSTANCE_LABEL, vec![]),
            (labelled("acme.io/instance", "apps"), "acme.io/instance", vec!["argocd/apps"]),
            (labelled(INSTANCE_LABEL, "apps"), "acme.io/instance", vec![]),
            (set, INSTANCE_LABEL, vec!["set all"]),
        ] {
            let found: Vec<String> = named(&app(metadata.clone(), json!({})), label, "argocd")
                .into_iter()
                .map(|named| match named {
                    Named::Application(key) => key.to_string(),
                    Named::ApplicationSet(name) => format!("set {name}"),
                })
                .collect();
            assert_eq!(found, expected, "{metadata} {label}");
        }
    }

    fn parent(automated: Json, ignored: Json) -> Parent {
        let object = json!({"metadata": {"name": "apps", "namespace": "argocd"},
            "spec": {"syncPolicy": {"automated": automated}, "ignoreDifferences": ignored}});
        let app = Application::decode(&object.to_string()).unwrap();
        Parent { name: app.label(), app: Some(Arc::new(app)), unread: false }
    }

    #[test]
    fn arg_8_parent_reverts_warning_matrix() {
        let child = app(json!({}), json!({}));
        let field = "/spec/source/helm/parameters".to_owned();
        let heals = || json!({"selfHeal": true});
        let rule = |key: &str, entry: &str| json!([{"group": "argoproj.io", "kind": "Application", key: [entry]}]);
        let pointer = |text: &str| rule("jsonPointers", text);
        let jq = |text: &str| rule("jqPathExpressions", text);
        for (automated, ignored, strong) in [
            (heals(), json!([]), true),
            (json!({}), json!([]), false),
            (json!({"selfHeal": false}), json!([]), false),
            (Json::Null, json!([]), false),
            (heals(), pointer("/spec/source/helm/parameters"), false),
            (heals(), pointer("/spec/source/helm"), false),
            (heals(), pointer("/spec"), false),
            (heals(), pointer("/spec/source/helm/parameters/0/value"), true),
            (heals(), pointer("/spec/source/helm/values"), true),
            (heals(), pointer("/spec/sources"), true),
            (heals(), jq(".spec.source.helm.parameters[] | select(.name == \"image.tag\")"), false),
            (heals(), jq(".spec.source.helm.parameters"), false),
            (heals(), jq(".spec[\"source\"].helm"), false),
            (heals(), jq(".spec.source.kustomize.images"), true),
            (heals(), rule("managedFieldsManagers", "lynceus"), false),
            (heals(), rule("managedFieldsManagers", "kubectl"), true),
            (heals(), json!([{"kind": "Deployment", "jsonPointers": ["/spec"]}]), true),
            (heals(), json!([{"kind": "Application", "name": "api", "jsonPointers": ["/spec"]}]), true),
            (heals(), json!([{"group": "*", "kind": "*", "namespace": "argocd", "jsonPointers": ["/spec"]}]), false),
        ] {
            let problem = warning(&child, &parent(automated.clone(), ignored.clone()), std::slice::from_ref(&field));
            assert_eq!((problem.code, problem.severity.word()), ("parent-reverts", "warning"));
            assert!(problem.text.contains("Application argocd/apps"), "{problem}");
            assert_eq!(problem.text.contains("will put back"), strong, "{automated} {ignored}: {problem}");
            assert_eq!(problem.hint.contains("ignoreDifferences"), strong, "{problem}");
        }
        let set = Parent { name: "ApplicationSet all".to_owned(), app: None, unread: false };
        assert!(warning(&child, &set, &[field]).text.contains("ApplicationSet all generates"));
        assert!(covers(&steps_of_jq(".spec.sources[].helm.parameters"), "/spec/sources/1/helm/parameters"));
    }

    #[test]
    fn arg_8_a_hold_ends_with_the_settings_and_with_the_parent() {
        let key = "argocd-image-updater.argoproj.io/image-list";
        let with = |list: &str| app(json!({"annotations": {key: list}, "uid": "u"}), json!({}));
        let before = fingerprint(&with("nginx:1.x"), &parent(json!({}), json!([])));
        let moved = app(
            json!({"annotations": {key: "nginx:1.x"}, "uid": "u", "resourceVersion": "9"}),
            json!({"source": {"repoURL": "x", "helm": {"parameters": [{"name": "a", "value": "b"}]}}}),
        );
        assert_eq!(fingerprint(&moved, &parent(json!({}), json!([]))), before, "the value itself is no setting");
        assert_ne!(fingerprint(&with("nginx:2.x"), &parent(json!({}), json!([]))), before);
        assert_ne!(fingerprint(&with("nginx:1.x"), &parent(json!({"selfHeal": true}), json!([]))), before);
    }
}
