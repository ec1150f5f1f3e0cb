//! What is kept of an Application, and what odd objects do.

use serde_json::json;

use super::*;

#[test]
fn src_1_the_facts_of_a_full_object() {
    let object = json!({
        "metadata": {
            "name": "web", "namespace": "argocd", "uid": "u1", "resourceVersion": "7",
            "managedFields": [{"manager": "x"}],
            "annotations": {"a/b": "c", "kubectl.kubernetes.io/last-applied-configuration": "{}"},
            "ownerReferences": [{"kind": "ApplicationSet", "name": "all"}],
        },
        "spec": {
            "project": "p",
            "sources": [
                {"repoURL": "https://charts", "chart": "web", "targetRevision": "1.x",
                 "helm": {"valueFiles": ["$values/web.yaml"], "parameters": [{"name": "image.tag", "value": "1", "forceString": true}]}},
                {"repoURL": "https://git/v.git", "ref": "values"},
            ],
            "syncPolicy": {"automated": {"selfHeal": true}},
        },
        "status": {
            "sourceTypes": ["Helm", "Directory"],
            "summary": {"images": ["nginx:1"]},
            "sync": {"status": "Synced", "revisions": ["1.2", "abc"]},
            "health": {"status": "Healthy"},
            "operationState": {"phase": "Succeeded", "finishedAt": "2026-05-01T12:00:05Z",
                "syncResult": {"revisions": ["1.2", "abc"]}, "operation": {"sync": {"revision": "abc"}}},
        },
    });
    let app = Application::decode(&object.to_string()).unwrap();
    assert_eq!(app.key.to_string(), "argocd/web");
    assert_eq!(app.annotations.len(), 1);
    assert!(app.multi_source && !app.hydrated && app.has_status);
    assert_eq!(app.sources[0].explicit_type(), Some(SourceType::Helm));
    assert!(app.sources[0].helm.as_ref().unwrap().parameters[0].force_string);
    assert_eq!(app.sources[1].ref_name.as_deref(), Some("values"));
    assert_eq!(app.status.source_types, [SourceType::Helm, SourceType::Directory]);
    assert_eq!(app.status.operation.as_ref().unwrap().asked_revisions, ["abc"]);
    assert_eq!(app.automated, Some(true));
    let whole = app.json();
    assert!(whole["metadata"].get("managedFields").is_none());
    assert_eq!(whole["status"]["health"]["status"], "Healthy");
    let again = Application::unpack(app.packed()).unwrap();
    assert_eq!(again.json(), whole);
}

#[test]
fn ct_13_odd_objects_are_problems_or_lenient_never_a_crash() {
    for (text, ok) in [
        ("", false),
        ("[]", false),
        ("{}", false),
        (r#"{"metadata": {}}"#, false),
        (r#"{"metadata": {"name": 5}}"#, false),
        (r#"{"metadata": {"name": "a"}}"#, true),
        (r#"{"metadata": {"name": "a", "labels": "x", "annotations": {"k": 5}}, "spec": 7, "status": []}"#, true),
        (r#"{"metadata": {"name": "a"}, "spec": {"sources": {}, "source": {"repoURL": 5}}}"#, true),
    ] {
        assert_eq!(Application::decode(text).is_ok(), ok, "{text}");
    }
    let deep = format!("{{\"metadata\":{{\"name\":\"a\"}},\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(Application::decode(&deep).is_err());
}
