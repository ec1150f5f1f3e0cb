//! Every command of the notification half with every exit status it can have, and those that talk to somebody: `template
//! send`, `check --connect`, the names and flags of Argo CD Notifications (notifications.md §20, §21).

use std::process::Output;

use lynceus::demo::inbox::{Fault, Inbox, Item, Manners};
use serde_json::{Value, json};

use crate::support::control_plane::ControlPlane;
use crate::support::house::House;
use crate::support::process::free_port;
use crate::support::real::{Smtp, SmtpMode};

const APP: &str = "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata:\n  name: web\n  namespace: argocd\n\
                   spec: {source: {repoURL: https://h/r, path: p}}\nstatus: {health: {status: Degraded}}\n";

const SECRET: &str = "kind: Secret\nmetadata: {name: argocd-notifications-secret}\nstringData: {tok: hunter2hunter2}\n";

/// A folder with a configuration whose receivers are these.
struct Desk {
    house: House,
    inbox: Inbox,
}

impl Desk {
    async fn new() -> Desk {
        let inbox = Inbox::start(Manners::default()).await.expect("a receiver");
        let (house, closed) = (House::new(), free_port());
        let data = json!({
            "service.slack": format!("token: $tok\napiURL: {}/api", inbox.url()),
            "service.webhook.hook": format!("url: {}/hook", inbox.url()),
            "service.webhook.closed": format!("url: http://127.0.0.1:{closed}/"),
            "service.email": format!("host: 127.0.0.1\nport: {}\nfrom: a@example.com", inbox.mail().port()),
            "template.good": "message: hello {{.app.metadata.name}}, {{.secrets.tok | toString}}",
            "template.bad": "message: '{{.app.metadata.name.x}}'",
            "template.picture": "message: image {{.image.new}}",
            "trigger.on-good": "- when: app.metadata.name == 'web'\n  send: [good]\n",
            "trigger.on-bad": "- when: app.metadata.name.deeper.still\n  send: [good]\n",
        });
        let config = json!({"kind": "ConfigMap", "metadata": {"name": "argocd-notifications-cm"}, "data": data});
        house.file("cm.yaml", &config.to_string());
        house.file("secret.yaml", SECRET);
        house.file("app.yaml", APP);
        house.file("event.yaml", "event: committed\nnew: 1.2.3\nchange: minor\n");
        house.file("noevent.yaml", "event: exploded\n");
        house.file(
            "broken.yaml",
            "kind: ConfigMap\nmetadata: {name: argocd-notifications-cm}\ndata: {trigger.x: '- when: ('}\n",
        );
        Desk { house, inbox }
    }

    async fn run(&self, line: &str) -> (i32, String, String) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ran = self.house.command(&words).await;
        assert!(!format!("{}{}", ran.out, ran.err).contains("hunter2"), "a secret is shown by {line}");
        (ran.code, ran.out, ran.err)
    }
}

const FILES: &str = "--config-map cm.yaml --secret secret.yaml";

#[tokio::test(flavor = "multi_thread")]
async fn section_20_cli_exit_codes() {
    let desk = Desk::new().await;
    let golden = desk.house.file("golden.txt", "hello web, ***\n");
    desk.house.file("other.txt", "something else\n");
    assert!(golden.exists());
    let empty = desk.house.folder().join("state").display().to_string();
    let render = "notify template render";
    for (line, status) in [
        // notify trigger run: 0 evaluated, 1 error, 2 unreadable, 3 --expect, 4 no such trigger, 64 usage.
        (format!("notify trigger run on-good app.yaml {FILES}"), 0),
        (format!("notify trigger run on-bad app.yaml {FILES}"), 1),
        (format!("notify trigger run on-good missing.yaml {FILES}"), 2),
        ("notify trigger run on-good app.yaml --config-map missing.yaml".into(), 2),
        (format!("notify trigger run on-good app.yaml --image-event missing.yaml {FILES}"), 2),
        (format!("notify trigger run on-good app.yaml --image-event noevent.yaml {FILES}"), 2),
        (format!("notify trigger run on-good app.yaml --expect false {FILES}"), 3),
        (format!("notify trigger run on-good app.yaml --expect true {FILES}"), 0),
        (format!("notify trigger run nope app.yaml {FILES}"), 4),
        (format!("notify trigger run on-good {FILES}"), 64),
        (format!("notify trigger run on-good app.yaml --expect maybe {FILES}"), 64),
        // An image trigger is false without an event and true on one.
        (format!("notify trigger run on-image-updated app.yaml --expect false {FILES}"), 0),
        (format!("notify trigger run on-image-updated app.yaml --image-event event.yaml --expect true {FILES}"), 0),
        // The others that list or show.
        (format!("notify trigger get {FILES}"), 0),
        ("notify trigger get --config-map missing.yaml".into(), 2),
        (format!("notify trigger get nope {FILES}"), 4),
        (format!("notify trigger get a b {FILES}"), 64),
        (format!("notify template get {FILES}"), 0),
        ("notify template get --config-map missing.yaml".into(), 2),
        (format!("notify template get nope {FILES}"), 4),
        (format!("notify template get --nope {FILES}"), 64),
        // notify template render.
        (format!("{render} good app.yaml {FILES}"), 0),
        (format!("{render} picture app.yaml --image-event event.yaml {FILES}"), 0),
        (format!("{render} bad app.yaml {FILES}"), 1),
        (format!("{render} good missing.yaml {FILES}"), 2),
        (format!("{render} good app.yaml --golden missing.txt {FILES}"), 2),
        (format!("{render} good app.yaml --golden golden.txt {FILES}"), 0),
        (format!("{render} good app.yaml --golden other.txt {FILES}"), 3),
        (format!("{render} nope app.yaml {FILES}"), 4),
        (format!("{render} good {FILES}"), 64),
        (format!("{render} good app.yaml --update {FILES}"), 64),
        // notify template send, and its other name.
        (format!("notify template send good app.yaml --recipient hook: --recipient slack:ops {FILES}"), 0),
        (format!("notify template notify good app.yaml --recipient email:a@example.com {FILES}"), 0),
        (format!("notify template send good app.yaml --recipient closed: {FILES}"), 1),
        (format!("notify template send bad app.yaml --recipient hook: {FILES}"), 1),
        (format!("notify template send good missing.yaml --recipient hook: {FILES}"), 2),
        (format!("notify template send nope app.yaml --recipient hook: {FILES}"), 4),
        (format!("notify template send good app.yaml --recipient pager:x {FILES}"), 4),
        (format!("notify template send good app.yaml {FILES}"), 64),
        // lint, by both names.
        ("lint cm.yaml secret.yaml app.yaml".into(), 0),
        ("notify lint cm.yaml secret.yaml app.yaml".into(), 0),
        ("lint missing.yaml".into(), 2),
        ("lint broken.yaml".into(), 3),
        ("lint --output sarif".into(), 64),
        // history of both halves.
        (format!("history --state-dir {empty}"), 2),
        (format!("notify history --state-dir {empty}"), 2),
        ("notify history --nope".into(), 64),
        // check.
        (format!("check {FILES} --state-dir {empty}"), 0),
        (format!("check {FILES} --state-dir {empty}/nowhere"), 1),
        ("check --config-map broken.yaml".into(), 1),
        (format!("check --connect {FILES}"), 1),
        ("check --config-map missing.yaml".into(), 2),
        (format!("check now {FILES}"), 64),
        ("notify".into(), 64),
        ("notify nope".into(), 64),
    ] {
        let (code, out, err) = desk.run(&line).await;
        assert_eq!(code, status, "{line}\n{out}{err}");
    }
    let (_, out, _) =
        desk.run(&format!("notify template render picture app.yaml --image-event event.yaml {FILES}")).await;
    assert_eq!(out.trim(), "image 1.2.3");
}

#[tokio::test(flavor = "multi_thread")]
async fn section_20_template_send_sends_once_and_says_what_became_of_it() {
    let desk = Desk::new().await;
    let send = |to: &str| format!("notify template send good app.yaml {to} {FILES}");
    let (code, out, _) =
        desk.run(&send("--recipient hook: --recipient slack:ops --recipient email:a@example.com")).await;
    assert_eq!((code, out.lines().count()), (0, 3), "{out}");
    let accepted: Vec<Item> = desk.inbox.accepted().into_iter().map(|accepted| accepted.what).collect();
    let (mut hook, mut slack, mut mail) = (0, 0, 0);
    for item in &accepted {
        match item {
            Item::Webhook { body, .. } => hook += usize::from(body == "hello web, hunter2hunter2"),
            Item::Slack { fields, token, .. } => {
                slack += usize::from(fields["channel"] == "ops" && token == "hunter2hunter2");
            }
            Item::Mail { to, content, .. } => {
                mail += usize::from(to == &["a@example.com"] && content.contains("hello"))
            }
        }
    }
    assert_eq!((hook, slack, mail, accepted.len()), (1, 1, 1, 3), "{accepted:?}");

    // One attempt, no second one, and the words of the receiver.
    desk.inbox.script([Fault::Slack("not_in_channel".into())]);
    let calls = desk.inbox.calls();
    let ran = desk.house.command(&send("--recipient slack:ops -o json").split_whitespace().collect::<Vec<_>>()).await;
    assert_eq!((ran.code, desk.inbox.calls() - calls), (1, 1));
    let said = ran.json();
    assert_eq!((said[0]["recipient"].as_str(), &said[0]["sent"]), (Some("slack:ops"), &json!(false)));
    assert!(said[0]["error"].as_str().is_some_and(|error| error.contains("not_in_channel")), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_01_section_20_cli_masks_secrets_also_encoded_and_escaped() {
    let house = House::new();
    let secret = "pa\"ss <word> & \\more/";
    let forms = ["", " | b64enc", " | urlquery", " | toJson", " | quote"];
    let texts: String = forms.iter().map(|form| format!("[{{{{.secrets.k | toString{form}}}}}]")).collect();
    let data = json!({
        "template.t": format!("message: |\n  {texts} ends with pa"),
        "service.webhook.hook": "url: http://127.0.0.1:1/$k",
        "trigger.t": "- when: app.metadata.name == string(secrets.k)\n  oncePer: app.metadata.name\n  send: [t]\n",
    });
    house.file("cm.yaml", &json!({"kind": "ConfigMap", "metadata": {"name": "x"}, "data": data}).to_string());
    house
        .file("s.yaml", &json!({"kind": "Secret", "metadata": {"name": "x"}, "stringData": {"k": secret}}).to_string());
    house.file("app.yaml", APP);
    let mut shown = String::new();
    for line in [
        "notify template render t app.yaml",
        "notify template render t app.yaml -o json",
        "notify template render t app.yaml -o yaml --recipient hook:",
        "notify template send t app.yaml --recipient hook:",
        "notify template get",
        "notify trigger run t app.yaml",
        "check --connect",
        "lint cm.yaml s.yaml",
    ] {
        let files = if line.starts_with("lint") { "" } else { " --config-map cm.yaml --secret s.yaml" };
        let words: Vec<String> = format!("{line}{files}").split_whitespace().map(str::to_owned).collect();
        let ran = house.command(&words).await;
        assert_ne!(ran.code, 64, "{line}: {}", ran.err);
        shown.push_str(&ran.out);
        shown.push_str(&ran.err);
    }
    use base64::Engine;
    let encoded = base64::engine::general_purpose::STANDARD.encode(secret);
    for part in ["ss <word>", &encoded, "pa%22ss", "pa\\\"ss", "u003cword"] {
        assert!(!shown.contains(part), "{part} is shown:\n{shown}");
    }
    assert!(shown.contains("[***]") && shown.contains("ends with pa"), "{shown}");
}

fn verdict<'a>(rows: &'a Value, what: &str) -> (&'a str, &'a str) {
    let row = rows.as_array().expect("rows").iter().find(|row| row["what"].as_str() == Some(what));
    let row = row.unwrap_or_else(|| panic!("{what} is not in {rows}"));
    (row["result"].as_str().expect("a word"), row["text"].as_str().expect("a text"))
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_08_check_connect_tries_everything_once_and_sends_nothing() {
    let plane = ControlPlane::get().await;
    let ns = plane.namespace("check").await;
    let kubeconfig = ns.apply_deploy("base").await;
    let (inbox, smtp) = (
        Inbox::start(Manners::default()).await.expect("a receiver"),
        Smtp::start(SmtpMode::StartTls, "robot", "secret").await,
    );
    let house = House::new().trusting(&smtp.ca());
    let closed = free_port();
    let mail = |password: &str| {
        format!("host: 127.0.0.1\nport: {}\nfrom: a@example.com\nusername: robot\npassword: {password}", smtp.port())
    };
    let data = json!({
        "service.slack": format!("token: xoxb-123456\napiURL: {}/api/", inbox.url()),
        "service.webhook.hook": format!("url: {}/hook", inbox.url()),
        "service.webhook.closed": format!("url: http://127.0.0.1:{closed}/"),
        "service.email": mail("secret"),
        "service.email.wrong": mail("wrong"),
        "service.telegram": "token: x",
    });
    ns.apply_json(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "argocd-notifications-cm" }, "data": data,
    }))
    .await;
    let kubeconfig = kubeconfig.display().to_string();
    let arguments = ["check", "--kubeconfig", &kubeconfig, "--namespace", &ns.name, "-o", "json"];
    let offline = house.command(&arguments).await;
    assert_eq!(verdict(&offline.json(), "service slack").0, "not tried");
    let all = [&arguments[..], &["--connect"]].concat();
    let ran = house.command(&all).await;
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    let rows = ran.json();
    assert_eq!(verdict(&rows, "service slack"), ("ok", "the token is lynceus's in Acme"));
    assert_eq!(verdict(&rows, "service hook").0, "ok");
    let (word, text) = verdict(&rows, "service email");
    assert!(word == "ok" && text.ends_with("answers, encrypted, logged in"), "{text}");
    assert_eq!(verdict(&rows, "service wrong").0, "fails");
    assert_eq!(verdict(&rows, "service closed").0, "fails");
    assert_eq!(verdict(&rows, "service telegram").0, "fails");
    let refused = |rows: &Value| {
        let all = rows.as_array().expect("rows").iter();
        all.filter(|row| row["what"].as_str().is_some_and(|what| what.starts_with("may ")) && row["result"] == "fails")
            .map(|row| row["what"].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(refused(&rows), [""; 0], "the shipped Role is enough");
    assert_eq!((inbox.accepted().len(), smtp.mails().len()), (0, 0), "nothing was sent");

    // A verb that is taken away is named.
    let group = "rbac.authorization.k8s.io/v1";
    let mut role = ns.object(group, "Role", "lynceus").await.expect("the Role");
    for rule in role["rules"].as_array_mut().expect("rules") {
        if rule["resources"] == json!(["applications"]) {
            rule["verbs"] = json!(["get", "list", "watch"]);
        }
    }
    ns.patch(group, "Role", "lynceus", &json!({ "rules": role["rules"] })).await;
    inbox.script([Fault::Slack("invalid_auth".into())]);
    let rows = house.command(&all).await.json();
    let missing = refused(&rows);
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert!(missing[0].contains("patch") && missing[0].contains("applications"), "{missing:?}");
    assert!(verdict(&rows, "service slack").1.contains("invalid_auth"));
}

/// Runs the program under another name.
fn called(name: &std::path::Path, arguments: &[String], environment: &[(&str, &str)]) -> Output {
    let mut command = std::process::Command::new(name);
    command.args(arguments).envs(environment.iter().copied()).env_remove("KUBECONFIG");
    command.output().expect("the program starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn section_21_upstream_flags_accepted() {
    let folder = tempfile::tempdir().expect("a folder");
    let name = folder.path().join("argocd-notifications");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_lynceus"), &name).expect("a link");
    // An address that nobody listens at: every flag was understood if that is what it ends with.
    let closed = free_port();
    let flags = [
        "--processors-count=4",
        "--app-label-selector=team=a",
        "--loglevel=debug",
        "--logformat=json",
        "--metrics-port=9001",
        "--argocd-repo-server=argocd-repo-server:8081",
        "--argocd-repo-server-plaintext",
        "--argocd-repo-server-strict-tls=true",
        "--repo-server-ca-cert-path=/ca",
        "--repo-server-client-cert-path=/cert",
        "--repo-server-client-cert-key-path=/key",
        "--config-map-name=argocd-notifications-cm",
        "--secret-name=argocd-notifications-secret",
        "--self-service-notification-enabled=false",
        "--application-namespaces=team-*,/^x/",
        "--context=none",
        "--cluster=c",
        "--user=u",
        "--namespace=argocd",
        "--request-timeout=0",
        "--insecure-skip-tls-verify",
        "--tls-server-name=kubernetes",
        "--as=somebody",
        "--as-group=g1",
        "--as-group=g2",
        "--as-uid=1",
        "--username=u",
        "--password=p",
        "--proxy-url=http://127.0.0.1:1",
        "--disable-compression=false",
        "--certificate-authority=/ca",
        "--client-certificate=/cert",
        "--client-key=/key",
        "--token=t",
    ];
    let server = format!("--server=https://127.0.0.1:{closed}");
    let kubeconfig = "--kubeconfig=/nowhere/config".to_owned();
    for prefix in [vec![], vec!["controller".to_owned()]] {
        let mut arguments = prefix;
        arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        arguments.extend([server.clone(), kubeconfig.clone()]);
        let output = called(&name, &arguments, &[]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("kubeconfig /nowhere/config"), "{text}");
        assert!(text.contains("the repository server is not asked"), "{text}");
    }
    // Named by its path behind the entry point, as in Argo CD's Deployment, which sets nothing but variables.
    let lynceus = std::path::Path::new(env!("CARGO_BIN_EXE_lynceus"));
    let arguments = ["/usr/local/bin/argocd-notifications".to_owned(), kubeconfig];
    let variables = [
        ("ARGOCD_NOTIFICATION_CONTROLLER_PROCESSORS_COUNT", "2"),
        ("ARGOCD_APPLICATION_NAMESPACES", "a,b"),
        ("ARGOCD_NOTIFICATION_CONTROLLER_SELF_SERVICE_NOTIFICATION_ENABLED", "true"),
        ("ARGOCD_NOTIFICATION_CONTROLLER_REPO_SERVER_PLAINTEXT", "true"),
        ("ARGOCD_NOTIFICATIONS_CONTROLLER_LOGLEVEL", "info"),
        ("ARGOCD_NOTIFICATIONS_CONTROLLER_LOGFORMAT", "text"),
    ];
    let output = called(lynceus, &arguments, &variables);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    for part in ["kubeconfig /nowhere/config", "not followed yet", "the repository server is not asked"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.starts_with('{'), "the format is the variable's: {text}");
    // And flags that nobody has are still refused.
    let output = called(&name, &["--nope".to_owned()], &[]);
    assert_eq!(output.status.code(), Some(64));
}

/// The flags that say how the API server is reached do what they say, against a real one.
#[tokio::test(flavor = "multi_thread")]
async fn section_21_kubectl_flags_reach_the_server_they_name() {
    let plane = ControlPlane::get().await;
    let ns = plane.namespace("kubectl").await;
    let kubeconfig = ns.apply_deploy("base").await;
    let text = std::fs::read_to_string(&kubeconfig).expect("a kubeconfig");
    let config: Value = serde_saphyr::from_str(&text).expect("YAML");
    let token = config["users"][0]["user"]["token"].as_str().expect("a token");
    let authority = config["clusters"][0]["cluster"]["certificate-authority-data"].as_str().expect("an authority");
    use base64::Engine;
    let pem = base64::engine::general_purpose::STANDARD.decode(authority).expect("base64");
    ns.apply_json(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "argocd-notifications-cm" },
        "data": { "template.x": "message: x" },
    }))
    .await;
    let house = House::new().variable("POD_NAMESPACE", "somewhere-else");
    let ca = house.file("ca.pem", std::str::from_utf8(&pem).expect("PEM"));
    let house = house.with([
        format!("--server=https://127.0.0.1:{}", plane.port()),
        format!("--token={token}"),
        format!("--certificate-authority={}", ca.display()),
        "-n".to_owned(),
        ns.name.clone(),
        "--images=off".to_owned(),
    ]);
    house.start().await;
    let status = house.status().await.expect("a status");
    // The ConfigMap was found where the flags say, and a Secret is not there.
    let codes: Vec<&str> =
        status["problems"].as_array().into_iter().flatten().filter_map(|p| p["code"].as_str()).collect();
    assert_eq!(codes, ["DocumentMissing"], "{status}");
    assert!(status["problems"][0]["text"].as_str().is_some_and(|text| text.contains("no Secret")), "{status}");
    assert!(house.log().contains("configuration applied"), "{}", house.log());
    assert_eq!(house.stop().await, 0);
}
