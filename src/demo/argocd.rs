//! Argo CD's part of the story: it compares Applications with the Git host's branch, creates the children of an App of
//! Apps, and moves statuses through the states a real sync has. What runs "in the cluster" is only what the status
//! says; images come from the values, kustomizations and override files that are in Git. Not here: manifests of
//! workloads, hooks, pruning, self-healing, retries.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::cluster::ApiServer;
use super::remote::Repository;
use crate::config::documents;

const BRANCH: &str = "main";
const REFRESH: &str = "argocd.argoproj.io/refresh";

/// How often Argo CD looks at Git unasked; three minutes in earnest.
const LOOK: Duration = Duration::from_secs(5);

/// How often it looks whether it was asked.
const BEAT: Duration = Duration::from_millis(50);

/// The running stand-in; it ends when dropped.
pub struct ArgoCd {
    shared: Arc<Shared>,
    task: AbortHandle,
}

struct Shared {
    cluster: ApiServer,
    repository: Repository,
    url: String,
    namespace: String,
    /// Time between two states of a sync.
    pace: Duration,
    /// Applications whose next sync fails, and the words it fails with.
    failing: Mutex<BTreeMap<String, String>>,
    /// The commit each Application was last compared with.
    compared: Mutex<BTreeMap<String, String>>,
}

impl ArgoCd {
    /// Starts to look after the Applications of a namespace whose source is this repository.
    ///
    /// # Errors
    /// If the Applications cannot be read from the branch.
    pub async fn start(
        cluster: ApiServer,
        repository: Repository,
        url: &str,
        namespace: &str,
        pace: Duration,
    ) -> io::Result<ArgoCd> {
        let shared = Arc::new(Shared {
            cluster,
            repository,
            url: url.to_owned(),
            namespace: namespace.to_owned(),
            pace,
            failing: Mutex::default(),
            compared: Mutex::default(),
        });
        // Twice: the root brings the children, the children their status.
        shared.look(true).await;
        shared.look(true).await;
        let running = shared.clone();
        let task = tokio::spawn(async move {
            let mut last = Instant::now();
            loop {
                tokio::time::sleep(BEAT).await;
                let unasked = last.elapsed() >= LOOK;
                if unasked {
                    last = Instant::now();
                }
                running.look(unasked).await;
            }
        });
        Ok(ArgoCd { shared, task: task.abort_handle() })
    }

    /// Lets the next sync of an Application fail with this message.
    pub fn fail_next_sync(&self, application: &str, message: &str) {
        lock(&self.shared.failing).insert(application.to_owned(), message.to_owned());
    }
}

impl Drop for ArgoCd {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Compares those that ask for it, or all; ends when their syncs have ended.
    async fn look(&self, all: bool) {
        let applications = self.cluster.objects("applications");
        let own = applications.iter().filter(|app| {
            app["spec"]["source"]["repoURL"] == self.url.as_str()
                && app["metadata"]["namespace"] == self.namespace.as_str()
        });
        let mut due = Vec::new();
        for app in own {
            let asked = app["metadata"]["annotations"].get(REFRESH).is_some();
            let Some(name) = app["metadata"]["name"].as_str() else { continue };
            if asked {
                self.change(name, |app| {
                    if let Some(annotations) = app["metadata"]["annotations"].as_object_mut() {
                        annotations.remove(REFRESH);
                    }
                });
            }
            if all || asked {
                due.push(self.compare(name.to_owned(), app.clone()));
            }
        }
        futures::future::join_all(due).await;
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Value)) {
        self.cluster.change("applications", &self.namespace, name, change);
    }

    async fn compare(&self, name: String, app: Value) {
        let Some(tip) = self.repository.tip(BRANCH) else { return };
        if lock(&self.compared).insert(name.clone(), tip.clone()).as_ref() == Some(&tip) {
            return;
        }
        let rendered = render(&name, &app["spec"]["source"], |path| self.repository.read(BRANCH, path));
        let (kind, images) = match rendered {
            Rendered::Images(kind, images) => (kind, images),
            Rendered::Folder(path) => {
                self.children(&path);
                self.change(&name, |app| settled(app, "Directory", &tip, &[]));
                return;
            }
        };
        let live: Vec<&str> =
            app["status"]["summary"]["images"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if app.get("status").is_none() || live == images {
            self.change(&name, |app| settled(app, kind, &tip, &images));
            return;
        }
        self.sync(&name, &tip, &images).await;
    }

    /// Creates or updates what the folder of an App of Apps holds.
    fn children(&self, path: &str) {
        for file in self.repository.files(BRANCH, path) {
            let Some(text) = self.repository.read(BRANCH, &file) else { continue };
            let documents = documents::all(&text).unwrap_or_default();
            for mut child in documents.into_iter().filter(|d| d["kind"] == "Application") {
                let name = child["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                if let Some(known) = self.cluster.object("applications", &self.namespace, &name) {
                    child["status"] = known["status"].clone();
                    for (key, value) in known["metadata"]["annotations"].as_object().into_iter().flatten() {
                        if child["metadata"]["annotations"].get(key).is_none() {
                            child["metadata"]["annotations"][key] = value.clone();
                        }
                    }
                }
                // What Git holds of other kinds is no concern of this stage.
                let _ = self.cluster.apply(child);
            }
        }
    }

    /// OutOfSync, Running, then Failed, or Succeeded, Progressing and Healthy.
    async fn sync(&self, name: &str, tip: &str, images: &[String]) {
        self.change(name, |app| {
            app["status"]["sync"]["status"] = "OutOfSync".into();
            app["status"]["sync"]["revision"] = tip.into();
            app["status"]["reconciledAt"] = now().into();
        });
        tokio::time::sleep(self.pace).await;
        let started = now();
        let operation = json!({"initiatedBy": {"automated": true}, "sync": {"revision": tip}});
        let begun = json!({"phase": "Running", "startedAt": started, "operation": operation, "message": "waiting for completion of the sync"});
        self.change(name, |app| app["status"]["operationState"] = begun);
        tokio::time::sleep(self.pace).await;
        let failed = lock(&self.failing).remove(name);
        let (phase, message) = match &failed {
            Some(words) => ("Failed", words.as_str()),
            None => ("Succeeded", "successfully synced (all tasks run)"),
        };
        let ended = json!({
            "phase": phase, "message": message, "startedAt": started, "finishedAt": now(), "operation": operation,
            "syncResult": {"revision": tip},
        });
        self.change(name, |app| {
            app["status"]["operationState"] = ended;
            if failed.is_none() {
                app["status"]["sync"]["status"] = "Synced".into();
                app["status"]["health"] = json!({"status": "Progressing", "lastTransitionTime": now()});
                app["status"]["summary"]["images"] = json!(images);
            }
        });
        if failed.is_some() {
            // Argo CD compares once more after an operation, whatever came of it.
            self.change(name, |app| app["status"]["reconciledAt"] = now().into());
            return;
        }
        tokio::time::sleep(self.pace).await;
        self.change(name, |app| {
            app["status"]["health"] = json!({"status": "Healthy", "lastTransitionTime": now()});
            app["status"]["reconciledAt"] = now().into();
        });
    }
}

/// Nothing to do: what runs is what Git says.
fn settled(app: &mut Value, kind: &str, tip: &str, images: &[String]) {
    if app.get("status").is_none() {
        app["status"] = json!({"health": {"status": "Healthy", "lastTransitionTime": now()}, "resources": []});
    }
    app["status"]["sourceType"] = kind.into();
    app["status"]["sync"] = json!({"status": "Synced", "revision": tip});
    app["status"]["reconciledAt"] = now().into();
    app["status"]["summary"]["images"] = json!(images);
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// What a source comes to.
enum Rendered {
    /// Source type and images of a chart or an overlay.
    Images(&'static str, Vec<String>),
    /// A folder of plain manifests.
    Folder(String),
}

/// Reads a source as Argo CD does, as far as images go: values files in order, then the Application's parameters, then
/// those of the override file.
fn render(name: &str, source: &Value, read: impl Fn(&str) -> Option<String>) -> Rendered {
    let path = source["path"].as_str().unwrap_or_default();
    let document = |file: &str| {
        let text = read(&format!("{path}/{file}"))?;
        documents::all(&text).ok()?.into_iter().next()
    };
    let overrides = document(&format!(".argocd-source-{name}.yaml")).unwrap_or_default();
    if document("Chart.yaml").is_some() {
        let files = source["helm"]["valueFiles"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let mut image = (String::new(), String::new());
        for values in std::iter::once("values.yaml").chain(files).filter_map(document) {
            let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let values = values.as_object().cloned().unwrap_or_else(Map::new);
            for (field, place) in [("repository", &mut image.0), ("tag", &mut image.1)] {
                if let Some(value) = values.get("image").and_then(|image| image.get(field)) {
                    *place = plain(value);
                }
            }
        }
        for parameters in [&source["helm"]["parameters"], &overrides["helm"]["parameters"]] {
            for parameter in parameters.as_array().into_iter().flatten() {
                let value = parameter["value"].as_str().unwrap_or_default().to_owned();
                match parameter["name"].as_str() {
                    Some("image.repository") => image.0 = value,
                    Some("image.tag") => image.1 = value,
                    _ => {}
                }
            }
        }
        return Rendered::Images("Helm", vec![format!("{}:{}", image.0, image.1)]);
    }
    match document("kustomization.yaml") {
        Some(kustomization) => {
            let images = kustomization["images"].as_array().into_iter().flatten().map(|entry| {
                let name = entry["newName"].as_str().or_else(|| entry["name"].as_str()).unwrap_or_default();
                format!("{name}:{}", entry["newTag"].as_str().unwrap_or_default())
            });
            Rendered::Images("Kustomize", images.collect())
        }
        None => Rendered::Folder(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_come_from_where_argo_cd_takes_them() {
        let files = BTreeMap::from([
            ("c/Chart.yaml", "name: c\n"),
            ("c/values.yaml", "image: {repository: r/web, tag: '1'}\n"),
            ("c/prod.yaml", "image:\n  tag: \"2\"\n"),
            ("o/Chart.yaml", "name: o\n"),
            ("o/values.yaml", "image: {repository: r/o, tag: '1'}\n"),
            ("o/.argocd-source-app.yaml", "helm:\n  parameters:\n  - {name: image.tag, value: '3'}\n"),
            ("k/kustomization.yaml", "images:\n- {name: api, newName: r/api, newTag: '4'}\n"),
        ]);
        for (source, expected) in [
            (json!({"path": "c"}), "Helm r/web:1"),
            (json!({"path": "c", "helm": {"valueFiles": ["prod.yaml"]}}), "Helm r/web:2"),
            (json!({"path": "c", "helm": {"parameters": [{"name": "image.tag", "value": "5"}]}}), "Helm r/web:5"),
            (json!({"path": "o"}), "Helm r/o:3"),
            (json!({"path": "k"}), "Kustomize r/api:4"),
            (json!({"path": "apps"}), "folder apps"),
        ] {
            let found = match render("app", &source, |path| files.get(path).map(|text| (*text).to_owned())) {
                Rendered::Images(kind, images) => format!("{kind} {}", images.join(",")),
                Rendered::Folder(path) => format!("folder {path}"),
            };
            assert_eq!(found, expected, "{source}");
        }
    }
}
