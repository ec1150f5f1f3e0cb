//! ImageUpdater objects as people write them (image-updates.md §5, CR-5, CR-7).

use serde_json::{Value as Json, json};

use super::*;

fn read(spec: Json) -> (Owner, Vec<Problem>) {
    owner("argocd", "web", &json!({ "spec": spec }))
}

fn kinds(owner: &Owner) -> Vec<(&str, Images)> {
    owner.refs.iter().map(|own| (own.pattern.text(), own.images)).collect()
}

#[test]
fn own_3_refs_selectors_and_verification() {
    let (owner, problems) = read(json!({
        "namespace": "argocd",
        "applicationRefs": [
            { "namePattern": "web-*", "useAnnotations": true, "labelSelectors": {
                "matchLabels": { "env": "prod" },
                "matchExpressions": [
                    { "key": "acme.io/tier", "operator": "In", "values": ["web", ""] },
                    { "key": "old", "operator": "DoesNotExist" },
                ],
            } },
            { "namePattern": "api", "images": [{ "alias": "a", "imageName": "nginx:1.x" }] },
        ],
    }));
    assert_eq!(problems, []);
    assert_eq!(kinds(&owner), [("web-*", Images::Annotations), ("api", Images::Object)]);
    assert_eq!((owner.target.as_deref(), owner.verifies), (None, false));
    let selector = owner.refs[0].selector.clone().unwrap_or_default();
    assert_eq!(selector.labels["env"], "prod");
    let operators: Vec<_> = selector.expressions.iter().map(|e| (e.key.as_str(), e.operator.clone())).collect();
    let one_of = Operator::In(vec!["web".into(), String::new()]);
    assert_eq!(operators, [("acme.io/tier", one_of), ("old", Operator::DoesNotExist)]);
    let own = || json!({ "namePattern": "*", "useAnnotations": true });
    for (verification, asks) in [
        (json!({ "cosignKey": { "secretName": "s", "key": "k" } }), true),
        (json!({ "enabled": true }), true),
        (json!({}), true),
        (json!({ "enabled": false }), false),
        (json!(null), false),
    ] {
        let on_spec = read(json!({ "applicationRefs": [own()], "imagesVerification": verification }));
        let mut written = own();
        written["imagesVerification"] = verification.clone();
        let on_ref = read(json!({ "applicationRefs": [written] }));
        let mut written = own();
        written["images"] = json!([{ "alias": "a", "imageName": "n", "imagesVerification": verification }]);
        let on_image = read(json!({ "applicationRefs": [written] }));
        for (read, problems) in [on_spec, on_ref, on_image] {
            assert_eq!((read.verifies, problems), (asks, vec![]), "{verification}");
        }
    }
}

#[test]
fn cr_7_the_own_namespace_is_ignored_and_another_one_kept() {
    let refs = json!([{ "namePattern": "*", "useAnnotations": true }]);
    for (written, target) in
        [(json!("argocd"), None), (json!(""), None), (json!(null), None), (json!("team"), Some("team"))]
    {
        let (owner, problems) = read(json!({ "namespace": written, "applicationRefs": refs }));
        assert_eq!((owner.target.as_deref(), problems), (target, vec![]), "{written}");
    }
}

/// Each mistake: its place, what it says, and what it leaves of the ref between two good ones.
#[test]
fn cr_5_a_mistake_disables_its_ref_only() {
    let expression = |expression: Json| json!({ "labelSelectors": { "matchExpressions": [expression] } });
    for (written, key, text, left) in [
        (json!({ "namePattern": "[" }), ".namePattern", "malformed", None),
        (json!({ "namePattern": "[z-" }), ".namePattern", "malformed", None),
        (json!({ "namePattern": 5 }), ".namePattern", "missing", None),
        (json!({ "namePattern": null }), ".namePattern", "missing", None),
        (json!("web"), "", "no ref", None),
        (json!({ "labelSelectors": "env=prod" }), ".labelSelectors", "no selector", None),
        (json!({ "labelSelectors": { "matchLabels": ["env"] } }), ".labelSelectors.matchLabels", "no map", None),
        (json!({ "labelSelectors": { "matchLabels": { "n": 5 } } }), ".labelSelectors.matchLabels.n", "no label", None),
        (
            json!({ "labelSelectors": { "matchLabels": { "a b": "x" } } }),
            ".labelSelectors.matchLabels.a b",
            "no label",
            None,
        ),
        (json!({ "labelSelectors": { "matchExpressions": {} } }), ".labelSelectors.matchExpressions", "no list", None),
        (expression(json!({ "key": "a", "operator": "in", "values": ["x"] })), "[0]", "operator \"in\"", None),
        (expression(json!({ "key": "a", "operator": "In" })), "[0]", "need values", None),
        (expression(json!({ "key": "a", "operator": "In", "values": "x" })), "[0]", "no list of label values", None),
        (expression(json!({ "key": "a", "operator": "Exists", "values": ["x"] })), "[0]", "take no values", None),
        (expression(json!({ "key": "-a", "operator": "Exists" })), "[0]", "key is no label", None),
        (expression(json!("a")), "[0]", "key is no label", None),
        (json!({ "useAnnotations": "yes" }), ".useAnnotations", "no boolean", Some(Images::Unreadable)),
        (json!({ "useAnnotations": false }), "", "neither images nor useAnnotations", Some(Images::Unreadable)),
        (json!({ "useAnnotations": false, "images": "nginx" }), ".images", "no list", Some(Images::Unreadable)),
        (json!({ "writeBackConfig": "git" }), ".writeBackConfig", "no map", Some(Images::Unreadable)),
        (json!({ "imagesVerification": 1 }), ".imagesVerification", "no map", Some(Images::Unreadable)),
    ] {
        let mut middle = json!({ "namePattern": "middle", "useAnnotations": true });
        match (middle.as_object_mut(), written.as_object()) {
            (Some(fields), Some(own)) => fields.extend(own.clone()),
            _ => middle = written.clone(),
        }
        let good = |name: &str| json!({ "namePattern": name, "useAnnotations": true });
        let (owner, problems) = read(json!({ "applicationRefs": [good("first"), middle, good("last")] }));
        let mut wanted = vec![("first", Images::Annotations)];
        wanted.extend(left.map(|left| ("middle", left)));
        wanted.push(("last", Images::Annotations));
        assert_eq!(kinds(&owner), wanted, "{written}");
        let [problem] = &problems[..] else { panic!("{written}: {problems:#?}") };
        assert!(problem.text.contains(text) && problem.key.starts_with("spec.applicationRefs[1]"), "{problem}");
        assert!(problem.key.ends_with(key), "{problem}");
        assert_eq!((problem.code, problem.object.as_str()), ("config-invalid", "ImageUpdater argocd/web"));
    }
}

#[test]
fn cr_5_a_whole_object_that_cannot_be_read_selects_nothing() {
    for (spec, key) in [
        (json!(null), "spec"),
        (json!("x"), "spec"),
        (json!({}), "spec.applicationRefs"),
        (json!({ "applicationRefs": [] }), "spec.applicationRefs"),
        (json!({ "applicationRefs": { "namePattern": "*" } }), "spec.applicationRefs"),
        (
            json!({ "namespace": 5, "applicationRefs": [{ "namePattern": "*", "useAnnotations": true }] }),
            "spec.namespace",
        ),
    ] {
        let (owner, problems) = read(spec.clone());
        assert_eq!(owner.refs, [], "{spec}");
        assert_eq!(problems.iter().map(|p| p.key.as_str()).collect::<Vec<_>>(), [key], "{spec}");
    }
    // What nobody knows is remarked and harms nothing.
    let (owner, problems) = read(json!({
        "applicationRef": [], "applicationRefs": [{ "namePattern": "*", "useAnnotations": true, "useAnotations": true }],
    }));
    assert_eq!(kinds(&owner), [("*", Images::Annotations)]);
    let told: Vec<_> = problems.iter().map(|p| (p.severity, p.key.as_str(), p.hint.as_str())).collect();
    assert_eq!(
        told,
        [
            (Severity::Warning, "spec.applicationRef", "did you mean applicationRefs?"),
            (Severity::Warning, "spec.applicationRefs[0].useAnotations", "did you mean useAnnotations?"),
        ]
    );
}
