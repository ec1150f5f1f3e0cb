//! CRED-2, CRED-4: what becomes of fetched values.

use super::*;
use serde::Deserialize;

#[test]
fn cred_2_the_first_colon_splits() {
    for (value, both, wanted) in [
        ("user:pass", true, Some(("user", "pass"))),
        ("user:pa:ss", true, Some(("user", "pa:ss"))),
        ("user:pass\n", true, Some(("user", "pass"))),
        ("user:pass\r\n", true, Some(("user", "pass"))),
        ("user:pass\n\n", true, Some(("user", "pass\n"))),
        (":token", false, Some(("", "token"))),
        (":token", true, None),
        ("user:", false, Some(("user", ""))),
        ("user:", true, None),
        ("robot$ci:x", true, Some(("robot$ci", "x"))),
        ("nocolon", false, None),
        ("", false, None),
        ("us\ner:x", false, None),
    ] {
        let split = Credential::split(&Secret::new(value), both);
        let wanted = wanted.map(|(user, password)| credential(user, password));
        assert_eq!(split.as_ref().ok(), wanted.as_ref(), "{value:?} {both}");
        if let Err(problem) = split {
            assert_eq!(problem.code, "credentials-invalid");
            let repeated = !value.is_empty() && problem.text.contains(value);
            assert!(!repeated, "{problem:?}");
        }
    }
    assert!(Credential::split(&Secret::new(vec![0xff, b':', b'x']), false).is_err());
}

#[derive(Deserialize)]
struct Row {
    label: String,
    config: serde_json::Value,
    registry: String,
    path: String,
    user: Option<String>,
    password: Option<String>,
    problem: Option<String>,
}

#[test]
fn docker_config_matching_vectors_cred_4() {
    let text = include_str!("../../../../tests/fixtures/registry/docker_config.json");
    let rows: Vec<Row> = serde_json::from_str(text).expect("the vectors");
    assert!(rows.len() >= 30, "{}", rows.len());
    for row in rows {
        let config = Secret::new(row.config.to_string());
        let found = Credential::from_docker_config(&config, &row.registry, &row.path);
        match (row.user, row.problem) {
            (Some(user), None) => {
                let password = row.password.unwrap_or_default();
                assert_eq!(found, Ok(credential(&user, &password)), "{}", row.label);
            }
            (None, Some(text)) => {
                let problem = found.expect_err(&row.label);
                assert_eq!(problem.code, "credentials-invalid", "{}", row.label);
                assert!(problem.to_string().contains(&text), "{}: {problem}", row.label);
            }
            _ => panic!("{}: a user or a problem", row.label),
        }
    }
}

#[test]
fn docker_hub_alias_keys_cred_4() {
    for key in [
        "docker.io",
        "index.docker.io",
        "registry-1.docker.io",
        "https://index.docker.io/v1/",
        "https://registry-1.docker.io/v2/",
    ] {
        for registry in ["docker.io", "index.docker.io", "registry-1.docker.io"] {
            let config = serde_json::json!({"auths": {key: {"username": "u", "password": "p"}}});
            let found = Credential::from_docker_config(&Secret::new(config.to_string()), registry, "library/nginx");
            assert_eq!(found, Ok(credential("u", "p")), "{key} {registry}");
        }
    }
}

#[test]
fn sec_01_credentials_do_not_print() {
    let bot = credential("bot", "hunter2");
    assert!(!format!("{bot:?} {:?}", bot.identity()).contains("hunter2"));
    assert_ne!(bot.identity(), credential("bot", "hunter3").identity());
    assert_ne!(credential("a", "bc").identity(), credential("ab", "c").identity());
    let broken = Secret::new(r#"{"auths":{"ghcr.io":{"auth":"aHVudGVyMg=="}}, hunter2"#);
    let problem = Credential::from_docker_config(&broken, "ghcr.io", "a/b").expect_err("broken JSON");
    assert!(!format!("{problem:?}").contains("hunter2"), "{problem:?}");
}
