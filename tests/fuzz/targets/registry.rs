//! What registries answer, and where the credentials for them come from.

use lynceus::adapters::registry::{self, Challenge, Credential, Manifest};
use lynceus::config::credential_form::CredentialForm;
use lynceus::config::secret::Secret;

use super::Parts;

/// The headers of one answer, in any number: a good one is found behind any other, and says what it says.
pub fn challenge(input: &[u8]) {
    let mut parts = Parts::of(input);
    let mut headers = Vec::new();
    while parts.more() && headers.len() < 8 {
        headers.push(parts.text());
    }
    let all = || headers.iter().map(String::as_str);
    let found = registry::challenge(all());
    assert_eq!(registry::challenge(all()), found);
    if let Some(Challenge::Bearer { realm, service }) = &found {
        assert!(!realm.scheme().is_empty());
        assert!(service.as_ref().is_none_or(|service| service.len() <= input.len() * 3));
    }
    const GOOD: &str = "Bearer realm=\"https://auth.example/token\",service=\"s\"";
    let behind = registry::challenge(all().chain([GOOD]));
    match found {
        Some(bearer @ Challenge::Bearer { .. }) => assert_eq!(behind, Some(bearer), "{headers:?}"),
        // A token is preferred to a password (REG-5).
        _ => assert_eq!(behind, registry::challenge([GOOD].into_iter()), "{headers:?}"),
    }
}

/// Manifests, indexes and configurations: what is read is within the limits, and a reason is one line for a person.
pub fn manifest(input: &[u8]) {
    let mut parts = Parts::of(input);
    let content_type = parts.text();
    let body = parts.text();
    let is_digest = |text: &str| {
        let (algorithm, hex) = text.split_once(':').unwrap_or_default();
        matches!((algorithm, hex.len()), ("sha256", 64) | ("sha512", 128))
            && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let reason = |text: &str| {
        assert!(text.len() < 400 && !text.chars().any(char::is_control), "{text:?}");
    };
    for content_type in [None, Some(content_type.as_str())] {
        match registry::manifest(content_type, body.as_bytes()) {
            Ok(Manifest::Index(children)) => {
                assert!((1..=256).contains(&children.len()));
                assert!(children.iter().all(|child| is_digest(&child.digest)), "{children:?}");
            }
            Ok(Manifest::Image(digest)) => assert!(is_digest(&digest), "{digest}"),
            Err(text) => reason(&text),
        }
    }
    match registry::configuration(body.as_bytes()) {
        Ok(configuration) => {
            let size: usize = configuration.labels.iter().map(|(key, value)| key.len() + value.len()).sum();
            assert!(size <= 4 << 10, "{size}");
        }
        Err(text) => reason(&text),
    }
}

const PASSWORD: &str = "s3cr3t-value";

/// Any docker configuration: the entry that fits best is the one that is taken, for its host and path and no others,
/// and no reason repeats a password (CRED-4).
pub fn docker_config(input: &[u8]) {
    let mut parts = Parts::of(input);
    let (config, host, path) = (parts.text(), parts.text(), parts.text());
    if let Err(problem) = Credential::from_docker_config(&Secret::new(config.clone()), &host, &path) {
        assert_eq!(problem.code, "credentials-invalid");
    }
    let Ok(mut json) = serde_json::from_str::<serde_json::Value>(&config) else { return };
    let Some(auths) = json.get_mut("auths").and_then(serde_json::Value::as_object_mut) else { return };
    auths.retain(|key, _| !key.to_lowercase().contains("neighbour"));
    auths.insert("neighbour.example/team".to_owned(), serde_json::json!({"username": "robot", "password": PASSWORD}));
    let config = Secret::new(json.to_string());
    match Credential::from_docker_config(&config, "neighbour.example", "team") {
        Ok(found) => assert!(found.user == "robot" && found.password == Secret::new(PASSWORD), "{json}"),
        Err(problem) => assert!(!problem.to_string().contains(PASSWORD), "{problem}"),
    }
    for (host, path) in
        [(host.as_str(), path.as_str()), ("neighbour.example", "teamwork"), ("neighbour.example:5", "team")]
    {
        if let Ok(found) = Credential::from_docker_config(&config, host, path) {
            let theirs =
                host.eq_ignore_ascii_case("neighbour.example") && (path == "team" || path.starts_with("team/"));
            assert!(theirs || found.password != Secret::new(PASSWORD), "{host}/{path}: {json}");
        }
    }
}

/// Credential forms print what they were read from, and values are split without loss; no reason repeats a value.
pub fn credentials(input: &[u8]) {
    let mut parts = Parts::of(input);
    let (form, value) = (parts.text(), parts.text());
    match CredentialForm::parse(&form) {
        Ok(read) => assert_eq!(CredentialForm::parse(&read.to_string()).as_ref(), Ok(&read), "{form:?}"),
        Err(problem) => assert_eq!(problem.code, "credentials-invalid"),
    }
    // Somebody pastes the password where its place is meant.
    for pasted in [PASSWORD.to_owned(), format!("{form}{PASSWORD}"), format!("robot:{PASSWORD}")] {
        let known = ["pullsecret:", "secret:", "env:", "ext:"];
        if known.iter().any(|kind| pasted.to_lowercase().contains(kind)) {
            continue;
        }
        if let Err(problem) = CredentialForm::parse(&pasted) {
            assert!(!problem.to_string().contains(PASSWORD), "{problem}");
        }
    }
    for both in [false, true] {
        match Credential::split(&Secret::new(value.clone()), both) {
            Ok(found) => {
                let password = found.password.expose_text().expect("text");
                let whole = format!("{}:{password}", found.user);
                assert!(
                    value == whole || value == format!("{whole}\n") || value == format!("{whole}\r\n"),
                    "{value:?}"
                );
                assert!(!both || !(found.user.is_empty() || password.is_empty()));
            }
            Err(problem) => {
                assert!(value.len() < 8 || !problem.to_string().contains(&value), "{problem}");
            }
        }
    }
}
