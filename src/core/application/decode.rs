//! From JSON text to [`Application`]: lenient where Argo CD is, so that one odd field never hides an object.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::{AppKey, Application, Directory, Helm, Operation, Packed, Parameter, Source, SourceType, Status};
use crate::core::problem::Problem;

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Larger than anything etcd stores (1.5 MiB), with room for its JSON form.
const LARGEST: usize = 8 * 1024 * 1024;

pub(super) fn application(json: &str) -> Result<Application, Problem> {
    if json.len() > LARGEST {
        return Err(Problem::error(
            "config-invalid",
            format!("the object has {} bytes, at most {LARGEST} are read", json.len()),
        ));
    }
    let mut object: Json = serde_json::from_str(json)
        .map_err(|e| Problem::error("config-invalid", format!("not readable as an Application: {e}")))?;
    let Some(metadata) = object.get_mut("metadata").and_then(Json::as_object_mut) else {
        return Err(Problem::error("config-invalid", "the object has no metadata"));
    };
    metadata.remove("managedFields");
    let packed = pack(&object)?;
    let meta = &object["metadata"];
    let name = text(&meta["name"]);
    if name.is_empty() {
        return Err(Problem::error("config-invalid", "metadata.name is missing or no text"));
    }
    let spec = &object["spec"];
    let (sources, multi_source, hydrated) = sources(spec);
    let status = &object["status"];
    let mut annotations = texts(&meta["annotations"]);
    annotations.remove(LAST_APPLIED);
    Ok(Application {
        key: AppKey { namespace: text(&meta["namespace"]), name },
        uid: text(&meta["uid"]),
        resource_version: text(&meta["resourceVersion"]),
        labels: texts(&meta["labels"]),
        annotations,
        owners: list(&meta["ownerReferences"]).iter().map(|o| (text(&o["kind"]), text(&o["name"]))).collect(),
        deletion: text(&meta["deletionTimestamp"]).parse().ok(),
        project: text(&spec["project"]),
        sources,
        multi_source,
        hydrated,
        destination_namespace: text(&spec["destination"]["namespace"]),
        automated: spec["syncPolicy"]["automated"].as_object().map(|a| a.get("selfHeal") == Some(&Json::Bool(true))),
        has_status: status.as_object().is_some_and(|s| !s.is_empty()),
        status: self::status(status),
        packed,
    })
}

fn sources(spec: &Json) -> (Vec<Source>, bool, bool) {
    // Argo CD prefers `sources` whenever it is not empty.
    let many = list(&spec["sources"]);
    if !many.is_empty() {
        return (many.iter().map(source).collect(), true, false);
    }
    if let Some(dry) = spec["sourceHydrator"].get("drySource").filter(|d| d.is_object()) {
        return (vec![source(dry)], false, true);
    }
    match spec.get("source").filter(|s| s.is_object()) {
        Some(one) => (vec![source(one)], false, false),
        None => (Vec::new(), false, false),
    }
}

fn source(json: &Json) -> Source {
    Source {
        repo_url: text(&json["repoURL"]),
        path: some_text(&json["path"]),
        chart: some_text(&json["chart"]),
        target_revision: text(&json["targetRevision"]),
        name: some_text(&json["name"]),
        ref_name: some_text(&json["ref"]),
        helm: json["helm"].as_object().map(|_| Helm {
            parameters: list(&json["helm"]["parameters"]).iter().map(parameter).collect(),
            value_files: list(&json["helm"]["valueFiles"]).iter().map(text).collect(),
        }),
        kustomize: json["kustomize"]
            .as_object()
            .map(|_| list(&json["kustomize"]["images"]).iter().map(text).filter(|i| !i.is_empty()).collect()),
        plugin: json["plugin"]
            .as_object()
            .map(|_| list(&json["plugin"]["env"]).iter().map(|e| (text(&e["name"]), text(&e["value"]))).collect()),
        directory: json["directory"].as_object().map(|_| Directory {
            recurse: json["directory"]["recurse"] == Json::Bool(true),
            include: text(&json["directory"]["include"]),
            exclude: text(&json["directory"]["exclude"]),
        }),
    }
}

fn parameter(json: &Json) -> Parameter {
    Parameter {
        name: text(&json["name"]),
        value: text(&json["value"]),
        force_string: json["forceString"] == Json::Bool(true),
    }
}

fn status(json: &Json) -> Status {
    let operation = &json["operationState"];
    Status {
        source_types: several(&json["sourceTypes"], &json["sourceType"])
            .iter()
            .filter_map(|t| source_type(t))
            .collect(),
        images: list(&json["summary"]["images"]).iter().map(text).filter(|i| !i.is_empty()).collect(),
        sync: text(&json["sync"]["status"]),
        revisions: several(&json["sync"]["revisions"], &json["sync"]["revision"]),
        health: text(&json["health"]["status"]),
        health_message: text(&json["health"]["message"]),
        health_since: text(&json["health"]["lastTransitionTime"]),
        operation: operation.as_object().map(|_| Operation {
            phase: text(&operation["phase"]),
            message: text(&operation["message"]),
            started_at: text(&operation["startedAt"]),
            finished_at: text(&operation["finishedAt"]),
            synced_revisions: several(&operation["syncResult"]["revisions"], &operation["syncResult"]["revision"]),
            asked_revisions: several(
                &operation["operation"]["sync"]["revisions"],
                &operation["operation"]["sync"]["revision"],
            ),
        }),
        reconciled_at: text(&json["reconciledAt"]),
        observed_at: text(&json["observedAt"]),
    }
}

fn source_type(word: &str) -> Option<SourceType> {
    match word {
        "Helm" => Some(SourceType::Helm),
        "Kustomize" => Some(SourceType::Kustomize),
        "Directory" => Some(SourceType::Directory),
        "Plugin" => Some(SourceType::Plugin),
        _ => None,
    }
}

fn text(json: &Json) -> String {
    json.as_str().unwrap_or_default().to_owned()
}

fn some_text(json: &Json) -> Option<String> {
    json.as_str().filter(|t| !t.is_empty()).map(str::to_owned)
}

fn list(json: &Json) -> &[Json] {
    json.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn several(many: &Json, one: &Json) -> Vec<String> {
    let many: Vec<String> = list(many).iter().map(text).collect();
    if many.is_empty() { some_text(one).into_iter().collect() } else { many }
}

fn texts(json: &Json) -> BTreeMap<String, String> {
    let Some(fields) = json.as_object() else { return BTreeMap::new() };
    fields.iter().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect()
}

pub(super) fn pack(object: &Json) -> Result<Packed, Problem> {
    zstd::bulk::compress(object.to_string().as_bytes(), 1)
        .map(|bytes| Packed(bytes.into_boxed_slice()))
        .map_err(|e| Problem::error("internal", format!("compressing the object: {e}")))
}

pub(super) fn inflate(bytes: &[u8]) -> Result<String, String> {
    let plain = zstd::stream::decode_all(bytes).map_err(|e| e.to_string())?;
    String::from_utf8(plain).map_err(|e| e.to_string())
}
