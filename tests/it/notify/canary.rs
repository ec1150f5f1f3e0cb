//! SEC-01: forty secrets of every kind are planted, everything that repeats what it is sent does so, everything is logged;
//! then every output is searched for every form of each of them.

use std::collections::BTreeMap;
use std::path::Path;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::stage::*;
use crate::support::house::House;

/// A server for everything that refuses and repeats all it was sent: path, headers, body, and the password of a Basic
/// login in clear.
async fn echo() -> u16 {
    async fn answer(uri: Uri, headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
        let headers: BTreeMap<String, String> = headers
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let basic = headers.get("authorization").and_then(|value| value.strip_prefix("Basic "));
        let decoded = basic.and_then(|coded| STANDARD.decode(coded).ok()).unwrap_or_default();
        let decoded = String::from_utf8_lossy(&decoded).into_owned();
        let body = String::from_utf8_lossy(&body).into_owned();
        // Secrets first: error texts hold the beginning of an answer.
        (StatusCode::FORBIDDEN, format!("{body} {decoded} {uri} {}", json!(headers)))
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("its address").port();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    port
}

/// Keys of the notifications Secret.
fn notification_secrets() -> Vec<(&'static str, String)> {
    let plain = |name: &'static str| (name, format!("canary-{name}-{}", 7919 + name.len() * 104_729));
    let mut all: Vec<(&str, String)> = [
        "slack-token",
        "slack-token-two",
        "hook-header",
        "hook-cookie",
        "hook-basic",
        "hook-user",
        "hook-path",
        "hook-query",
        "hook-url-password",
        "hook-bearer",
        "mail-password",
        "mail-user",
        "in-message",
        "in-body",
        "in-attachment",
        "in-subject",
        "in-path",
        "in-grouping-key",
        "in-condition",
        "unused-one",
        "unused-two",
    ]
    .map(plain)
    .to_vec();
    all.push(("quoted", "canary-\"quo\\ted\"-551".into()));
    all.push(("percent", "canary-100%/a+b c&d=e-662".into()));
    all.push(("wide", "canary-pässwörd-→-773".into()));
    all.push(("newline", "canary-newline-884\n".into()));
    let key = "-----BEGIN PRIVATE KEY-----\nQ0FOQVJZUFJJVkFURUtFWUxJTkVPTkUx\nQ0FOQVJZUFJJVkFURUtFWUxJTkVUV08y\n-----END PRIVATE KEY-----\n";
    all.push(("pem", key.into()));
    all
}

/// Every form a value may show itself in.
fn forms(secret: &str) -> Vec<String> {
    let secret = secret.trim_end();
    let json = serde_json::to_string(secret).expect("text");
    let mut all = vec![
        secret.to_owned(),
        json[1..json.len() - 1].to_owned(),
        STANDARD.encode(secret),
        STANDARD_NO_PAD.encode(secret),
        URL_SAFE.encode(secret),
        utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
        url::form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
    ];
    // Behind a user of one to three bytes, as a Basic login has it; without what depends on the neighbours.
    for user in ["a:", "ab:", "abc:"] {
        let coded = STANDARD_NO_PAD.encode(format!("{user}{secret}"));
        all.push(coded[4 * user.len().div_ceil(3)..coded.len() - 3].to_owned());
    }
    all.extend(secret.lines().filter(|line| line.len() > 20 && !line.starts_with("---")).map(str::to_owned));
    all
}

fn configuration(port: u16, mail: u16) -> BTreeMap<String, String> {
    let url = format!("127.0.0.1:{port}");
    let mut config = BTreeMap::new();
    let mut set = |key: &str, text: String| drop(config.insert(key.to_owned(), text));
    set("service.slack", format!("token: $slack-token\napiURL: http://{url}/api/"));
    set("service.slack.two", format!("token: $slack-token-two\napiURL: http://{url}/api/"));
    set(
        "service.webhook.hook",
        format!(
            "url: http://$hook-user:$hook-url-password@{url}/$hook-path?q=$hook-query\nheaders:\n\
             - {{name: X-Header, value: $hook-header}}\n- {{name: Cookie, value: session=$hook-cookie}}\n\
             - {{name: X-Quoted, value: $quoted}}\n- {{name: X-Percent, value: $percent}}\n- {{name: X-Wide, value: $wide}}"
        ),
    );
    set("service.webhook.basic", format!("url: http://{url}/\nbasicAuth: {{username: bot, password: $hook-basic}}"));
    set(
        "service.webhook.bearer",
        format!("url: http://{url}/\nheaders: [{{name: Authorization, value: Bearer $hook-bearer}}]"),
    );
    set(
        "service.webhook.inline",
        format!("url: http://{url}/\nbasicAuth: {{username: bot, password: canary-inline-password-995}}"),
    );
    set("service.webhook.broken", "url: $hook-path\nretryMax: $hook-query\nheaders: $hook-header".into());
    set(
        "service.email",
        format!("host: 127.0.0.1\nport: {mail}\nusername: $mail-user\npassword: $mail-password\nfrom: a@b.test"),
    );
    set(
        "service.webhook.odd",
        format!("url: http://{url}/\nheaders: [{{name: X, value: $newline}}, {{name: Y, value: $pem}}]"),
    );
    set(
        "template.x",
        "message: 'm {{index .secrets \"in-message\" | toString}}'\nslack:\n  attachments: '[{\"t\":\"{{index .secrets \"in-attachment\" | toString}}\"}]'\n  \
         groupingKey: '{{index .secrets \"in-grouping-key\" | toString}}'\nemail:\n  subject: '{{index .secrets \"in-subject\" | toString}}'\n\
         webhook:\n  hook:\n    method: POST\n    path: '{{index .secrets \"in-path\" | toString}}'\n    body: '{{index .secrets \"in-body\" | toString}}'\n"
            .into(),
    );
    set("template.fails", "message: '{{fail (index .secrets \"in-message\" | toString)}}'".into());
    set(
        "trigger.on-x",
        "- when: string(secrets) != 'x' && app.metadata.name == 'web'\n  send: [x]\n- when: 'true'\n  send: [x]".into(),
    );
    set("trigger.on-fail", "- when: 'true'\n  send: [fails]".into());
    set("trigger.on-once", "- when: 'true'\n  oncePer: string(secrets[\"in-condition\"])\n  send: [x]".into());
    set("trigger.on-odd", "- when: app.metadata.name + int(secrets[\"in-condition\"]) > 0\n  send: [x]".into());
    config
}

fn search(place: &str, text: &str, secrets: &[(String, String)], hits: &mut Vec<String>) {
    for (name, value) in secrets {
        for form in forms(value).iter().filter(|form| text.contains(form.as_str())) {
            let at = text.find(form.as_str()).unwrap_or_default();
            let mut from = at.saturating_sub(200);
            while !text.is_char_boundary(from) {
                from -= 1;
            }
            hits.push(format!("{name} as {form:?} in {place}: {}", &text[from..at]));
        }
    }
}

fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_01_sec_02_canary_scan() {
    let port = echo().await;
    let mut stage = Stage::whole("canary").await;
    let registries = format!(
        "registries:\n- name: test\n  prefix: 127.0.0.1:{port}\n  api_url: http://127.0.0.1:{port}\n  limit: 1000\n"
    );
    let conf = stage.house.file("registries.conf", &registries);
    let mail = Inbox::start(Manners { auth: "PLAIN LOGIN".into(), ..Manners::default() }).await.expect("a receiver");
    let canary = |name: &str| format!("canary-{name}-31337");
    let env = canary("environment");
    stage.house = stage.house.variable("CANARY_CREDENTIAL", &format!("bot:{env}")).with([
        "--loglevel=trace".to_owned(),
        "--interval=1s".to_owned(),
        "--tenant-credential-env=CANARY_CREDENTIAL".to_owned(),
        "--allow-any-git-repository".to_owned(),
        format!("--registries-conf-path={}", conf.display()),
    ]);
    let mut planted: Vec<(String, String)> =
        notification_secrets().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let plant = |planted: &mut Vec<(String, String)>, name: &str| {
        planted.push((name.to_owned(), canary(name)));
        canary(name)
    };
    planted.push(("inline".into(), "canary-inline-password-995".into()));
    planted.push(("environment".into(), env));

    // Git and registry credentials in every form there is.
    let secret = |name: &str, labels: Value, data: Value| json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name, "labels": labels }, "stringData": data });
    let git = format!("http://127.0.0.1:{port}/config.git");
    let repository = json!({ "argocd.argoproj.io/secret-type": "repository" });
    let template = json!({ "argocd.argoproj.io/secret-type": "repo-creds" });
    let p = &mut planted;
    for object in [
        secret(
            "repo-web",
            repository.clone(),
            json!({ "type": "git", "url": git, "username": "robot",
            "password": plant(p, "git-password"), "insecure": "true",
            "proxy": "", "tlsClientCertKey": "", "forceHttpBasicAuth": "true" }),
        ),
        secret(
            "repo-ssh",
            repository.clone(),
            json!({ "type": "git", "url": "ssh://git@127.0.0.1:1/x.git",
            "sshPrivateKey": plant(p, "ssh-key") }),
        ),
        secret(
            "repo-bearer",
            repository.clone(),
            json!({ "type": "git", "url": format!("http://127.0.0.1:{port}/bearer.git"),
            "bearerToken": plant(p, "git-bearer"), "insecure": "true" }),
        ),
        secret(
            "repo-app",
            repository,
            json!({ "type": "git", "url": format!("http://127.0.0.1:{port}/app.git"),
            "githubAppID": "1", "githubAppInstallationID": "2", "githubAppPrivateKey": plant(p, "github-app-key") }),
        ),
        secret(
            "creds",
            template,
            json!({ "type": "git", "url": format!("http://127.0.0.1:{port}/"), "username": "robot",
            "password": plant(p, "git-creds-password"), "insecure": "true" }),
        ),
        secret(
            "write",
            json!({}),
            json!({ "username": "robot", "password": plant(p, "git-write-password"), "insecure": "true" }),
        ),
        secret("write-broken", json!({}), json!({ "password": plant(p, "git-lonely-password") })),
        secret("registry-user", json!({}), json!({ "cred": format!("bot:{}", plant(p, "registry-secret")) })),
        secret("registry-odd", json!({}), json!({ "cred": plant(p, "registry-no-colon") })),
    ] {
        stage.ns.apply_json(object).await;
    }
    let docker = json!({ "auths": {
        format!("127.0.0.1:{port}"): { "auth": STANDARD.encode(format!("bot:{}", plant(p, "registry-auth"))) },
        "other.test": { "username": "bot", "password": plant(p, "registry-other") },
        "broken.test": { "auth": format!("!{}", plant(p, "registry-broken")) },
    }});
    stage
        .ns
        .apply_json(json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "pull" },
            "type": "kubernetes.io/dockerconfigjson", "stringData": { ".dockerconfigjson": docker.to_string() } }))
        .await;
    let url_password = plant(p, "repo-url-password");
    let token = std::fs::read_to_string(stage.house.folder().join("kubeconfig")).expect("the kubeconfig");
    let token = serde_json::from_str::<Value>(&token).expect("JSON")["users"][0]["user"]["token"].clone();
    p.push(("service-account-token".into(), token.as_str().expect("a token").to_owned()));
    assert!(p.len() >= 40, "{}", p.len());

    stage.configure(&configuration(port, mail.mail().port())).await;
    let values: Vec<(&str, String)> = notification_secrets();
    let values: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
    stage.secret(&values).await;
    let to = ["slack", "two", "hook", "basic", "bearer", "inline", "odd", "broken"].map(|name| format!("on-x.{name}"));
    let mut subscribed: Vec<(&str, &str)> = to.iter().map(|key| (key.as_str(), "x")).collect();
    subscribed.extend([
        ("on-x.email", "a@example.com"),
        ("on-fail.slack", "x"),
        ("on-fail.hook", ""),
        ("on-odd.hook", ""),
    ]);
    let images = [
        ("web", "pullsecret:NS/pull".to_owned(), "git:secret:NS/write", git.clone()),
        ("shop", "secret:NS/registry-user#cred".to_owned(), "git:secret:NS/write-broken", git.clone()),
        ("odd", "secret:NS/registry-odd#cred".to_owned(), "git", format!("http://127.0.0.1:{port}/bearer.git")),
        ("env", "env:CANARY_CREDENTIAL".to_owned(), "git", format!("http://127.0.0.1:{port}/app.git")),
        (
            "user",
            "pullsecret:NS/pull".to_owned(),
            "git",
            format!("http://robot:{url_password}@127.0.0.1:{port}/user.git"),
        ),
        ("ssh", "pullsecret:NS/pull".to_owned(), "git", "ssh://git@127.0.0.1:1/x.git".to_owned()),
    ];
    for (name, credential, method, repository) in images {
        let mut app = application(name, &subscribed);
        let annotations = app["metadata"]["annotations"].as_object_mut().expect("a map");
        let prefix = "argocd-image-updater.argoproj.io/";
        for (key, value) in [
            ("image-list", format!("app=127.0.0.1:{port}/team/{name}:1.x")),
            ("app.pull-secret", credential),
            ("write-back-method", method.to_owned()),
            ("write-back-target", "helmvalues:values.yaml".to_owned()),
            ("app.helm.image-tag", "image.tag".to_owned()),
        ] {
            annotations.insert(format!("{prefix}{key}"), json!(value.replace("NS", &stage.ns.name)));
        }
        app["spec"]["source"]["repoURL"] = json!(repository);
        app["status"] =
            json!({ "sourceType": "Helm", "summary": { "images": [format!("127.0.0.1:{port}/team/{name}:1.0.0")] } });
        stage.ns.apply_json(app).await;
    }
    stage.house.start().await;
    mail.always(Some(Fault::Mail {
        stage: "AUTH".into(),
        reply: format!(
            "535 wrong: {}",
            notification_secrets().iter().find(|s| s.0 == "mail-password").expect("planted").1
        ),
    }));
    stage.house.until("it was refused by everybody", |s| House::problems(s, "DeliveryRejected").len() >= 6).await;
    stage.house.rounds(3).await;
    let status = stage.house.until("problems", |s| s["rounds"].as_u64() >= Some(4)).await;
    // Once more as a start after a kill has it.
    stage.house.kill();
    stage.house.start().await;
    stage.house.rounds(1).await;

    let mut hits = Vec::new();
    let secrets = planted;
    search("/status", &status.to_string(), &secrets, &mut hits);
    search("/status", &stage.house.answer("status").await.expect("served"), &secrets, &mut hits);
    search("/metrics", &stage.house.metrics().await, &secrets, &mut hits);
    let printed = commands(&stage).await;
    search("commands", &printed, &secrets, &mut hits);
    let asked = stage.house.metric("argocd_image_updater_registry_requests_total").await;
    assert_eq!(stage.house.stop().await, 0);
    let log = stage.house.whole_log();
    search("the log", &log, &secrets, &mut hits);
    // The store: as it is on the disk, and what its rows say. A text that people wrote into the ConfigMap is kept as it
    // was written there, which is no secret of the Secret's.
    let mut stored = Vec::new();
    files(&stage.house.state(), &mut stored);
    let secret: Vec<(String, String)> = secrets.iter().filter(|(name, _)| name != "inline").cloned().collect();
    for file in stored {
        let bytes = std::fs::read(&file).expect("a file");
        search(&file.display().to_string(), &String::from_utf8_lossy(&bytes), &secret, &mut hits);
    }
    for (version, kind) in [("v1", "Event"), (ARGO, "Application")] {
        for name in ["web", "shop", "odd", "env", "ssh"] {
            let Some(object) = stage.ns.object(version, kind, name).await else { continue };
            search(kind, &object.to_string(), &secrets, &mut hits);
        }
    }
    assert!(hits.is_empty(), "{} hits:\n{}", hits.len(), hits.join("\n"));
    assert!(log.contains("***") && printed.contains("***"), "something was masked at all");
    assert!(printed.contains("git-auth") && asked > 0.0, "Git and the registry were asked: {asked} {printed}");
    assert!(
        log.len() > 10_000 && log.contains("\"TRACE\"") | log.contains("DEBUG"),
        "everything was logged: {}",
        log.len()
    );
}

/// What the commands print that see the same secrets.
async fn commands(stage: &Stage) -> String {
    let (house, namespace) = (&stage.house, &stage.ns.name);
    let state = house.state().display().to_string();
    let object = async |version: &str, kind: &str, name: &str, file: &str| {
        let object = stage.ns.object(version, kind, name).await.expect("it is there");
        house.file(file, &object.to_string()).display().to_string()
    };
    let map = object("v1", "ConfigMap", "argocd-notifications-cm", "given/cm.json").await;
    let secret = object("v1", "Secret", "argocd-notifications-secret", "given/secret.json").await;
    let app = object(ARGO, "Application", "web", "given/app.json").await;
    let kubeconfig = format!("--kubeconfig={}", house.folder().join("kubeconfig").display());
    let conf = format!("--registries-conf-path={}", house.folder().join("registries.conf").display());
    let namespace = format!("--argocd-namespace={namespace}");
    let mut all = String::new();
    let mut run = async |arguments: &[&str]| {
        let ran = house.command(arguments).await;
        all.push_str(&format!("$ {}\n{}\n{}\n", arguments.join(" "), ran.out, ran.err));
    };
    for output in ["text", "json"] {
        run(&["history", "--state-dir", &state, "-o", output]).await;
        run(&["history", "--dead", "--state-dir", &state, "-o", output]).await;
        run(&["lint", &map, &secret, &app, "-o", output]).await;
        run(&["explain", "web", &kubeconfig, &conf, &namespace, "-o", output]).await;
    }
    run(&["plan", &kubeconfig, &conf, &namespace]).await;
    let given = ["--config-map", map.as_str(), "--secret", secret.as_str()];
    for service in ["slack:x", "hook:x", "email:a@b.test"] {
        for name in ["x", "fails"] {
            let command = ["notify", "template", "render", name, &app, "--recipient", service];
            run(&[&command[..], &given].concat()).await;
            run(&[&command[..], &given, &["-o", "json"]].concat()).await;
        }
    }
    for name in ["on-x", "on-odd", "on-fail", "on-once"] {
        run(&[&["notify", "trigger", "run", name, &app], &given[..]].concat()).await;
        run(&[&["notify", "trigger", "run", name, &app, "-o", "json"], &given[..]].concat()).await;
    }
    all
}

use lynceus::demo::inbox::{Fault, Inbox, Manners};
