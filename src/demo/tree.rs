//! What the stage begins with: the repository's files, the cluster's objects, the registry's images. An App of Apps
//! with three children, one for each kind of place a tag is written to.

use serde_json::{Value, json};

/// Namespace of the control plane.
pub const NAMESPACE: &str = "argocd";

/// Where images come from, as Applications write it.
pub const REGISTRY: &str = "registry.example.com";

/// User of the Git host and of the registry.
pub(super) const USER: &str = "lynceus";
pub(super) const PASSWORD: &str = "only-on-this-stage";

/// Repository, tag and time of creation.
pub(super) const IMAGES: [(&str, &str, &str); 12] = [
    ("shop/web", "1.4.1", "2026-02-03T09:00:00Z"),
    ("shop/web", "1.4.2", "2026-03-04T09:00:00Z"),
    ("shop/web", "1.5.0-rc.1", "2026-04-01T09:00:00Z"),
    ("shop/web", "2.0.0", "2026-04-20T09:00:00Z"),
    ("shop/web", "latest", "2026-04-20T09:00:00Z"),
    ("shop/api", "main-77ab90c", "2026-03-30T12:00:00Z"),
    ("shop/api", "main-4be21aa", "2026-04-02T12:00:00Z"),
    ("shop/api", "pr-118-debug", "2026-04-09T12:00:00Z"),
    ("shop/jobs", "2026.03", "2026-03-01T06:00:00Z"),
    ("shop/jobs", "2026.04", "2026-04-01T06:00:00Z"),
    ("shop/jobs", "nightly", "2026-04-21T06:00:00Z"),
    ("shop/jobs", "stable", "2026-04-01T06:00:00Z"),
];

/// The files of the repository at `url`.
pub(super) fn files(url: &str) -> Vec<(&'static str, String)> {
    let place = |text: &str| text.replace("REPO", url);
    vec![
        ("apps/web.yaml", place(WEB)),
        ("apps/api.yaml", place(API)),
        ("apps/jobs.yaml", place(JOBS)),
        ("web/Chart.yaml", CHART.replace("NAME", "web")),
        ("web/values.yaml", "image:\n  repository: registry.example.com/shop/web\n  tag: \"\"\n".into()),
        ("web/values-prod.yaml", WEB_VALUES.into()),
        ("web/templates/deployment.yaml", DEPLOYMENT.into()),
        ("api/kustomization.yaml", API_KUSTOMIZATION.into()),
        ("api/deployment.yaml", API_DEPLOYMENT.into()),
        ("jobs/Chart.yaml", CHART.replace("NAME", "jobs")),
        ("jobs/values.yaml", "image:\n  repository: registry.example.com/shop/jobs\n  tag: \"2026.03\"\n".into()),
        ("jobs/.argocd-source-jobs.yaml", JOBS_OVERRIDES.into()),
        ("jobs/templates/deployment.yaml", DEPLOYMENT.into()),
    ]
}

const WEB: &str = r#"apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: web
  namespace: argocd
  annotations:
    argocd-image-updater.argoproj.io/image-list: web=registry.example.com/shop/web:1.x
    argocd-image-updater.argoproj.io/web.update-strategy: semver
    argocd-image-updater.argoproj.io/web.helm.image-name: image.repository
    argocd-image-updater.argoproj.io/web.helm.image-tag: image.tag
    argocd-image-updater.argoproj.io/write-back-method: git
    argocd-image-updater.argoproj.io/write-back-target: helmvalues:values-prod.yaml
    lynceus.dev/notify-subscribe.on-image-updated.slack: deployments
    notifications.argoproj.io/subscribe.on-deployed.slack: deployments
    notifications.argoproj.io/subscribe.on-deployed.email: shop-team@example.com
    notifications.argoproj.io/subscribe.on-deployed.events: ""
spec:
  project: default
  source:
    repoURL: REPO
    path: web
    targetRevision: main
    helm:
      valueFiles: [values-prod.yaml]
  destination: {server: https://kubernetes.default.svc, namespace: shop}
  syncPolicy: {automated: {}}
"#;

const API: &str = r#"apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: api
  namespace: argocd
  annotations:
    argocd-image-updater.argoproj.io/image-list: api=registry.example.com/shop/api
    argocd-image-updater.argoproj.io/api.update-strategy: newest-build
    argocd-image-updater.argoproj.io/api.allow-tags: regexp:^main-[0-9a-f]{7}$
    argocd-image-updater.argoproj.io/api.kustomize.image-name: api
    argocd-image-updater.argoproj.io/write-back-method: git
    argocd-image-updater.argoproj.io/write-back-target: kustomization
    notifications.argoproj.io/subscribe.on-sync-failed.slack: alerts
    notifications.argoproj.io/subscribe.on-sync-failed.email: on-call@example.com
    notifications.argoproj.io/subscribe.on-sync-failed.events: ""
spec:
  project: default
  source: {repoURL: REPO, path: api, targetRevision: main}
  destination: {server: https://kubernetes.default.svc, namespace: shop}
  syncPolicy: {automated: {}}
"#;

const JOBS: &str = r#"apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: jobs
  namespace: argocd
  annotations:
    argocd-image-updater.argoproj.io/image-list: jobs=registry.example.com/shop/jobs
    argocd-image-updater.argoproj.io/jobs.update-strategy: alphabetical
    argocd-image-updater.argoproj.io/jobs.allow-tags: regexp:^\d{4}\.\d{2}$
    argocd-image-updater.argoproj.io/jobs.helm.image-name: image.repository
    argocd-image-updater.argoproj.io/jobs.helm.image-tag: image.tag
    argocd-image-updater.argoproj.io/write-back-method: git
    notifications.argoproj.io/subscribe.on-sync-failed.slack: alerts
spec:
  project: default
  source: {repoURL: REPO, path: jobs, targetRevision: main}
  destination: {server: https://kubernetes.default.svc, namespace: shop}
  syncPolicy: {automated: {}}
"#;

const CHART: &str = "apiVersion: v2\nname: NAME\nversion: 0.1.0\n";

const WEB_VALUES: &str = r#"# Production. Changes here go live within minutes.
replicaCount: 3          # two were too few on sale days

image:
  repository: 'registry.example.com/shop/web'
  # 1.x until the new checkout is ready
  tag: "1.4.2"           # kept up to date by Lynceus
  pullPolicy: IfNotPresent

resources: {limits: {memory: 256Mi}}
"#;

const API_KUSTOMIZATION: &str = r#"resources:
- deployment.yaml

# The name in deployment.yaml on the left, what runs on the right.
images:
- name: api
  newName: registry.example.com/shop/api
  newTag: main-4be21aa   # newest build of main
"#;

const JOBS_OVERRIDES: &str = r#"helm:
  parameters:
  - name: image.repository
    value: registry.example.com/shop/jobs
    forcestring: true
  - name: image.tag
    value: "2026.04"
    forcestring: true
"#;

const DEPLOYMENT: &str = r#"apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Chart.Name }}}
spec:
  template:
    spec:
      containers:
      - name: {{ .Chart.Name }}
        image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"
"#;

const API_DEPLOYMENT: &str = r#"apiVersion: apps/v1
kind: Deployment
metadata: {name: api}
spec:
  template:
    spec:
      containers:
      - {name: api, image: api}
"#;

/// What the cluster begins with, besides what the root Application brings: the root itself, its project, Argo CD's
/// access to the repository, the registry's login, and the notifications' configuration.
pub(super) fn objects(git_url: &str, inbox_url: &str, mail_port: u16) -> Vec<Value> {
    let meta = |name: &str| json!({"name": name, "namespace": NAMESPACE});
    let mut repository = meta("repo-shop");
    repository["labels"] = json!({"argocd.argoproj.io/secret-type": "repository"});
    vec![
        json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject", "metadata": meta("default"),
            "spec": {"sourceRepos": ["*"], "destinations": [{"server": "*", "namespace": "*"}]},
        }),
        json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": meta("root"),
            "spec": {
                "project": "default",
                "source": {"repoURL": git_url, "path": "apps", "targetRevision": "main"},
                "destination": {"server": "https://kubernetes.default.svc", "namespace": NAMESPACE},
                "syncPolicy": {"automated": {}},
            },
        }),
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": repository,
            "stringData": {
                "type": "git", "url": git_url, "username": USER, "password": PASSWORD,
                // Plain http must be allowed by name.
                "insecure": "true",
            },
        }),
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": meta("registry"),
            "stringData": {"login": format!("{USER}:{PASSWORD}")},
        }),
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": meta("argocd-notifications-secret"),
            "stringData": {"slack-token": "xoxb-only-on-this-stage", "hook-token": PASSWORD},
        }),
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("argocd-notifications-cm"),
            "data": notifications(inbox_url, mail_port),
        }),
    ]
}

/// The triggers use the built-in templates, and one of our own that says what the webhook gets.
fn notifications(inbox_url: &str, mail_port: u16) -> Value {
    json!({
        "context": "argocdUrl: https://argocd.example.com\n",
        "service.slack": format!("token: $slack-token\nusername: Argo CD\napiURL: {inbox_url}/api/\n"),
        "service.email": format!(
            "host: 127.0.0.1\nport: {mail_port}\nfrom: argocd@example.com\nlynceus: {{tls: none}}\n"
        ),
        "service.webhook.events": format!(
            "url: {inbox_url}/deployments\nheaders:\n- name: Authorization\n  value: Bearer $hook-token\n\
             - name: Content-Type\n  value: application/json\n"
        ),
        "trigger.on-deployed": concat!(
            "- when: app.status.operationState?.phase == 'Succeeded' and app.status.health.status == 'Healthy'\n",
            "  oncePer: app.status.operationState?.syncResult?.revision\n",
            "  send: [app-deployed, event]\n",
        ),
        "trigger.on-sync-failed": concat!(
            "- when: app.status.operationState?.phase in ['Error', 'Failed']\n",
            "  oncePer: app.status.operationState?.syncResult?.revision\n",
            "  send: [app-sync-failed, event]\n",
        ),
        "template.event": concat!(
            "webhook:\n  events:\n    method: POST\n    body: |\n      {\n",
            "        \"application\": {{.app.metadata.name | toJson}},\n",
            "        \"phase\": {{.app.status.operationState.phase | toJson}},\n",
            "        \"health\": {{.app.status.health.status | toJson}},\n",
            "        \"revision\": {{.app.status.operationState.syncResult.revision | toJson}},\n",
            "        \"images\": {{.app.status.summary.images | toJson}}\n",
            "      }\n",
        ),
    })
}

/// The registries.conf of the stage.
pub(super) fn registries(url: &str) -> String {
    format!(
        "registries:\n- name: the stage's registry\n  prefix: {REGISTRY}\n  api_url: {url}\n  \
         credentials: secret:{NAMESPACE}/registry#login\n"
    )
}
