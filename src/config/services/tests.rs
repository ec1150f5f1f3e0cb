//! §2.2-§2.4 and the fields of §13.1-§13.4.

use super::fields::span;
use super::*;
use crate::core::problem::Severity;

fn secrets() -> BTreeMap<String, Secret> {
    let pairs = [
        ("tok", "t0k3n"),
        ("user", "bob"),
        ("pw", "hunter2"),
        ("word1", "XX"),
        ("newline", "abc\r\n"),
        ("yes", "yes"),
        ("evil", "a: [b]"),
        ("smtp-port", "587"),
        ("field", "url"),
        ("key", "-----BEGIN\nabc\n-----END\n"),
    ];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), Secret::new(value.to_owned()))).collect()
}

fn read(key: &str, text: &str) -> (Option<ServiceConfig>, Vec<Problem>) {
    service(key, text, &secrets())
}

fn good(key: &str, text: &str) -> ServiceConfig {
    let (config, problems) = read(key, text);
    config.unwrap_or_else(|| panic!("{text}: {problems:?}"))
}

fn codes(problems: &[Problem]) -> Vec<&str> {
    problems.iter().map(|problem| problem.code).collect()
}

fn text(secret: &Secret) -> String {
    secret.expose_text().unwrap().to_owned()
}

#[derive(serde::Deserialize)]
struct Vector {
    rule: String,
    header: String,
    value: String,
    problems: Vec<String>,
}

#[test]
fn section_2_3_cfg_09_cfg_10_cfg_11_secret_substitution_table() {
    let vectors: Vec<Vector> =
        serde_json::from_str(include_str!("../../../tests/fixtures/config/secret_substitution.json")).unwrap();
    for Vector { rule, header, value, problems } in vectors {
        let body = format!("url: https://h/\nheaders:\n- name: X\n  value: '{header}'\n");
        let (config, found) = read("service.webhook.x", &body);
        let Some(ServiceConfig { body: Body::Webhook(hook), .. }) = config else { panic!("{rule}: {found:?}") };
        assert_eq!(text(&hook.headers[0].1), value, "{rule}");
        assert_eq!(codes(&found), problems, "{rule}");
        assert!(found.iter().all(|problem| problem.key == "service.webhook.x" && problem.line == Some(4)), "{rule}");
    }
    let (_, found) = read("service.slack", "token: $other-secret:key");
    assert!(found[0].hint.contains("$<key>"), "{:?}", found[0]);
}

#[test]
fn section_2_3_keys_are_filled_too_and_what_was_used_is_known() {
    let config = good("service.webhook.x", "$field: https://h/$tok\nbasicAuth: {username: $user, password: $pw}\n");
    let Body::Webhook(hook) = &config.body else { panic!() };
    assert_eq!(text(&hook.url), "https://h/t0k3n");
    assert_eq!(hook.basic_auth.as_ref().map(|(user, pw)| (user.as_str(), text(pw))), Some(("bob", "hunter2".into())));
    assert_eq!(config.secrets.len(), 4);
    let shown = format!("{config:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("t0k3n"), "SEC-01: {shown}");
}

#[test]
fn cfg_05_keys() {
    for (key, kind, name) in [
        ("service.slack", "slack", "slack"),
        ("service.webhook.my-hook", "webhook", "my-hook"),
        ("service.teams-workflows.a_b", "teams-workflows", "a_b"),
    ] {
        let found = service_key(key).unwrap();
        assert_eq!((found.kind.as_str(), found.name.as_str()), (kind, name));
    }
    for key in ["service.a.b.c", "service.", "service..x", "service.webhook."] {
        let problem = service_key(key).unwrap_err();
        assert_eq!((problem.code, problem.key.as_str()), ("ServiceKeyInvalid", key));
        assert_eq!(read(key, "url: https://h/").0, None);
    }
}

#[test]
fn cfg_06_of_two_keys_for_one_name_the_first_in_byte_order_counts() {
    let keys = ["service.webhook.slack", "template.slack", "service.slack", "service.email", "service.a.b.c"];
    let (names, problems) = names(keys);
    assert_eq!(names["slack"], "service.slack");
    assert_eq!(names.keys().collect::<Vec<_>>(), ["email", "slack"]);
    assert_eq!(codes(&problems), ["ServiceNameClash"]);
    assert!(problems[0].text.contains("service.slack") && problems[0].text.contains("service.webhook.slack"));
}

#[test]
fn cfg_15_types_that_are_not_delivered_to() {
    for (kind, code, rejected) in [
        ("telegram", "ServiceTypePending", false),
        ("awssqs", "ServiceTypePending", false),
        ("discord", "ServiceTypeUnknown", true),
        ("slak", "ServiceTypeUnknown", true),
    ] {
        let (config, problems) = read(&format!("service.{kind}.x"), "anything: [at, all]");
        let config = config.unwrap();
        assert_eq!((config.body.clone(), config.name.as_str()), (Body::Undelivered(kind.into()), "x"));
        assert_eq!(codes(&problems), [code]);
        assert_eq!(problems[0].upstream_rejects, rejected, "{kind}");
    }
    assert!(read("service.slak", "").1[0].hint.contains("`slack`"));
    assert!(good("service.awssqs", "").is_program() && !good("service.teams", "").is_program());
}

#[test]
fn section_13_2_webhook_fields_and_defaults() {
    let Body::Webhook(plain) = good("service.webhook.x", "url: https://h/a").body else { panic!() };
    assert_eq!((plain.retry_wait_min.as_secs(), plain.retry_wait_max.as_secs(), plain.retry_max), (1, 5, 3));
    assert!(plain.follow_redirects && !plain.attempt_headers && !plain.json && plain.basic_auth.is_none());
    let (config, problems) = read(
        "service.webhook.x",
        "URL: https://h/a\nretrywaitmin: 2s\nretryWaitMax: 3000000000\nretryMax: -1\nmaxIdleConns: 5\nidleConnTimeout: soon\n\
         headers:\n- {name: Content-Type, value: text/plain}\n- {NAME: content-type, value: application/vnd.x+json; a=b}\n\
         - {name: Host, value: h}\nlynceus: {followRedirects: false, headers: true, maxAge: 2h30m, concurrency: 9, marks: false}\n",
    );
    let Body::Webhook(full) = config.clone().unwrap().body else { panic!() };
    assert_eq!((full.retry_wait_min.as_secs(), full.retry_wait_max.as_secs(), full.retry_max), (2, 3, 0));
    assert!(!full.follow_redirects && full.attempt_headers && full.json);
    assert_eq!(full.headers.len(), 2, "WH-04: Host has no effect");
    let delivery = config.unwrap().delivery;
    assert_eq!((delivery.max_age.as_secs(), delivery.concurrency, delivery.marks), (9000, Some(9), false));
    assert_eq!(codes(&problems), ["HeaderIgnored", "ServiceTolerated", "ServiceInvalid"]);
    assert!(problems[1].upstream_rejects, "CFG-08");
    assert!(problems.iter().all(|problem| problem.severity < Severity::Error));
}

#[test]
fn section_13_3_slack_fields_and_defaults() {
    let Body::Slack(slack) =
        good("service.slack", "token: $tok\napiurl: https://s/api\nsigningSecret: x\nchannels: [a]").body
    else {
        panic!()
    };
    assert_eq!((text(&slack.token).as_str(), slack.api_url.as_str()), ("t0k3n", "https://s/api/"));
    let Body::Slack(slack) = good("service.slack", "token: 12345\nusername: yes\ndisableUnfurl: on").body else {
        panic!()
    };
    assert_eq!((text(&slack.token).as_str(), slack.username.as_str()), ("12345", "true"));
    assert_eq!((slack.api_url.as_str(), slack.disable_unfurl), ("https://slack.com/api/", true));
}

#[test]
fn section_13_4_email_fields_and_defaults() {
    let (config, problems) = read(
        "service.email",
        "host: h\nport: $smtp-port\nfrom: a@b\nlynceus: {tls: opportunistic, heloName: me.example}",
    );
    let Body::Email(mail) = config.unwrap().body else { panic!() };
    assert_eq!((mail.port, mail.tls, mail.helo_name.as_str()), (587, MailTls::Opportunistic, "me.example"));
    assert_eq!(codes(&problems), ["ServiceTolerated"], "CFG-09");
    let mail = good("service.email", "host: h\nport: 25\nfrom: a@b\ninsecure_skip_verify: true\nhtml: true");
    assert!(mail.insecure);
    let Body::Email(mail) = mail.body else { panic!() };
    assert_eq!((mail.tls, mail.helo_name.as_str(), mail.html), (MailTls::Required, "localhost", true));
}

#[test]
fn cfg_01_what_cannot_work_is_an_error_of_its_key() {
    for (key, body) in [
        ("service.webhook.x", ""),
        ("service.webhook.x", "url: $nope"),
        ("service.webhook.x", "url: ftp://h/secret-path"),
        ("service.webhook.x", "url: https://h\nheaders: [{name: 'a b', value: c}]"),
        ("service.webhook.x", "url: https://h\nheaders: [{name: a, value: \"x\\ny\"}]"),
        ("service.webhook.x", "url: https://h\nheaders: [{name: a, value: $key}]"),
        ("service.webhook.x", "url: https://h\nheaders: {a: b}"),
        ("service.webhook.x", "url: https://h\nretryWaitMin: soon"),
        ("service.webhook.x", "url: [https://h]"),
        ("service.webhook.x", "- url"),
        ("service.webhook.x", "url: https://h\nlynceus: {unknownOutcome: shrug}"),
        ("service.webhook.x", "url: https://h\nlynceus: 5"),
        ("service.slack", "username: x"),
        ("service.slack", "token: {a: b}"),
        ("service.slack", "token: a\ndisableUnfurl: maybe"),
        ("service.email", "host: h\nfrom: a@b"),
        ("service.email", "host: h\nfrom: a@b\nport: many"),
        ("service.email", "host: h\nfrom: a@b\nport: 70000"),
        ("service.email", "host: \"h\\r\\nRCPT\"\nfrom: a@b\nport: 25"),
        ("service.email", "host: h\nfrom: a@b\nport: 25\nlynceus: {tls: maybe}"),
        ("service.email", "host: h\nfrom: a@b\nport: 25\nlynceus: {heloName: 'a b'}"),
        ("service.email", "a: b: c"),
    ] {
        let (config, problems) = read(key, body);
        assert_eq!(config, None, "{body}");
        assert!(problems.iter().any(|problem| problem.severity == Severity::Error && problem.key == key), "{body}");
        assert!(problems.iter().all(|problem| !problem.text.contains("secret-path")), "{body}");
    }
}

#[test]
fn http_06_section_2_4_unknown_fields_templates_and_open_doors_are_remarked() {
    let (_, problems) = read(
        "service.webhook.x",
        "url: https://h/{{.x}}\nretrymx: 2\ninsecureSkipVerify: true\nheaders: [{name: a, value: b, vaule: c}]\nlynceus: {maxAeg: 1h}",
    );
    let mut found = codes(&problems);
    found.sort_unstable();
    let unknown = ["UnknownField"; 3];
    assert_eq!(found[2..], unknown);
    assert_eq!(found[..2], ["ServiceNotTemplated", "TlsVerificationOff"]);
    let hints: Vec<&str> = problems.iter().map(|problem| problem.hint.as_str()).collect();
    for word in ["retryMax", "value", "maxAge"] {
        assert!(hints.iter().any(|hint| hint.contains(&format!("`{word}`"))), "{word}: {hints:?}");
    }
}

#[test]
fn sec_01_a_wrong_field_does_not_tell_the_secret_in_it() {
    let secrets = BTreeMap::from([("tok".to_owned(), Secret::new("s3cr3t-value\n"))]);
    for text in ["url: https://h/\nheaders: [{name: A, v $tok: x}]", "url: https://h/\n$tok: 1", "url: $tok"] {
        let (_, problems) = service("service.webhook.x", text, &secrets);
        assert!(!problems.is_empty(), "{text}");
        for problem in &problems {
            assert!(!problem.to_string().contains("s3cr3t"), "{text}: {problem}");
        }
    }
}

#[test]
fn cfg_08_durations() {
    for (text, millis) in [
        ("1s", Some(1_000)),
        ("1.5h", Some(5_400_000)),
        ("2m30s", Some(150_000)),
        ("250ms", Some(250)),
        ("0", Some(0)),
        ("", None),
        ("5", None),
        ("-5s", None),
        ("s", None),
        ("5 s", None),
        ("1d", None),
        ("1..5s", None),
        ("99999999999999999999h", None),
    ] {
        assert_eq!(span(text).map(|span| span.as_millis()), millis, "{text}");
    }
}
