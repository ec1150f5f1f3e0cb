//! registries.conf: strictness, defaults, prefixes.

use super::*;

fn parse(text: &str) -> Registries {
    Registries::parse(text).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn prefix_of(conf: &Registries, registry: Option<&str>, path: &str) -> String {
    let entry = conf.endpoint(registry, path);
    if entry.implied && !conf.entries().contains(&entry) {
        format!("inferred {}", entry.api_url)
    } else {
        entry.prefix.clone()
    }
}

#[test]
fn reg_1_docker_hub_is_built_in_and_everything_else_is_inferred() {
    let conf = Registries::builtin();
    let hub = conf.endpoint(None, "nginx");
    assert_eq!(hub.api_url, "https://registry-1.docker.io");
    assert_eq!(hub.limit, Limit::Fixed(10.0));
    assert_eq!(hub.repository("nginx"), "library/nginx");
    assert_eq!(hub.repository("grafana/grafana"), "grafana/grafana");
    assert_eq!(conf.endpoint(Some("docker.io"), "nginx"), hub);
    let other = conf.endpoint(Some("GHCR.io"), "a/b");
    assert_eq!((other.api_url.as_str(), other.limit), ("https://ghcr.io", Limit::Adaptive));
    assert_eq!(other.repository("one"), "one");
}

#[test]
fn reg_1_an_entry_for_docker_io_replaces_the_built_in_one() {
    let conf = parse("registries:\n- {name: Hub, prefix: docker.io, api_url: https://mirror.example.com/, limit: 3}\n");
    assert_eq!(conf.entries().len(), 1);
    let hub = conf.endpoint(None, "nginx");
    assert_eq!((hub.api_url.as_str(), hub.limit), ("https://mirror.example.com", Limit::Fixed(3.0)));
    assert!(hub.default && hub.default_namespace.is_empty());
}

#[test]
fn longest_prefix_with_boundary_reg_2() {
    let conf = parse(include_str!("../../../tests/fixtures/registry/prefixes.yaml"));
    for (registry, path, prefix) in [
        (Some("ghcr.io"), "acme/app", "ghcr.io/acme"),
        (Some("ghcr.io"), "acme", "ghcr.io/acme"),
        (Some("ghcr.io"), "acmebar/app", "ghcr.io"),
        (Some("ghcr.io"), "other/app", "ghcr.io"),
        (Some("GHCR.IO"), "acme/app", "ghcr.io/acme"),
        (Some("ghcr.io"), "ACME/app", "ghcr.io"),
        (Some("ghcr.io:443"), "acme/app", "inferred https://ghcr.io:443"),
        (Some("registry.example.com:5000"), "x", "registry.example.com:5000"),
        (Some("registry.example.com"), "x", "inferred https://registry.example.com"),
        (Some("sub.ghcr.io"), "x", "inferred https://sub.ghcr.io"),
        (None, "acme/app", "registry.example.com:5000"),
        (Some("docker.io"), "library/nginx", "docker.io"),
        (Some("index.docker.io"), "library/nginx", "docker.io"),
        (Some("quay.io"), "deep/one/two/three", "quay.io/deep/one"),
        (Some("quay.io"), "deep/onetwo", "inferred https://quay.io"),
    ] {
        assert_eq!(prefix_of(&conf, registry, path), prefix, "{registry:?} {path}");
    }
}

#[test]
fn inferred_never_shadows_reg_2() {
    let conf = parse("registries:\n- {name: a, prefix: ghcr.io/acme, api_url: https://mirror}\n");
    let before = conf.entries().to_vec();
    assert!(conf.endpoint(Some("ghcr.io"), "other/x").implied);
    assert_eq!(conf.entries(), before);
    assert_eq!(conf.endpoint(Some("ghcr.io"), "acme/x").name, "a");
}

#[test]
fn reg_2_a_catch_all_comes_after_every_named_prefix_and_before_inference() {
    let conf = parse(
        "registries:\n- {name: all, api_url: https://mirror}\n- {name: g, prefix: ghcr.io, api_url: https://g}\n",
    );
    for (registry, name) in [("ghcr.io", "g"), ("quay.io", "all"), ("docker.io", "Docker Hub")] {
        assert_eq!(conf.endpoint(Some(registry), "a/b").name, name, "{registry}");
    }
}

#[test]
fn compat_q5_reg_2_a_choice_upstream_would_make_otherwise_is_said() {
    let conf = parse(include_str!("../../../tests/fixtures/registry/prefixes.yaml"));
    for (registry, path, theirs) in [
        (Some("ghcr.io"), "acme/app", Some("GHCR")),
        (Some("ghcr.io"), "other/app", None),
        (Some("quay.io"), "deep/onetwo", Some("Deep")),
        (Some("quay.io"), "deep/one/x", None),
        (None, "acme/app", None),
    ] {
        let said = conf.upstream_differs(registry, path);
        assert_eq!(said.is_some(), theirs.is_some(), "{registry:?} {path}");
        if let (Some(problem), Some(theirs)) = (said, theirs) {
            assert!(problem.text.contains(&format!("would ask entry {theirs:?}")), "{}", problem.text);
        }
    }
}

#[test]
fn registries_conf_strict_reg_3_what_spoils_the_file() {
    for (label, text, line, wanted) in [
        ("unknown key", "registries:\n- name: a\n  api_url: https://a\n  prefx: a\n", 4, "unknown key `prefx`"),
        ("unknown top key", "registry: []\n", 1, "unknown key `registry`"),
        ("case of keys", "registries:\n- Name: a\n  api_url: https://a\n", 2, "unknown key `Name`"),
        ("no api_url", "registries:\n- name: a\n", 2, "without `api_url`"),
        ("no name", "registries:\n- api_url: https://a\n", 2, "without `name`"),
        ("no list", "registries: 5\n", 1, "must be a list"),
        ("no mapping", "- a\n", 1, "expected a mapping"),
        ("no entry", "registries:\n- a\n", 2, "must be a mapping"),
        ("no YAML", "registries: [\n", 1, "not valid YAML"),
        ("key twice", "registries:\n- name: a\n  api_url: https://a\n  name: b\n", 4, "name"),
        (
            "two defaults",
            "registries:\n- {name: a, prefix: a, api_url: https://a, default: true}\n- {name: b, prefix: b, api_url: https://b, default: yes}\n",
            3,
            "more than one entry is `default: true`",
        ),
        (
            "two catch-alls",
            "registries:\n- {name: a, api_url: https://a}\n- {name: b, api_url: https://b}\n",
            3,
            "empty `prefix`",
        ),
    ] {
        let problems = Registries::parse(text).expect_err(label);
        let found = problems.iter().find(|p| p.text.contains(wanted));
        let found = found.unwrap_or_else(|| panic!("{label}: {problems:?}"));
        assert_eq!(found.line, Some(line), "{label}: {found:?}");
        assert_eq!(found.code, "config-invalid", "{label}");
    }
    let problems =
        Registries::parse("registries:\n- {name: a, api_url: https://a, credential: x}\n").expect_err("typo");
    assert_eq!(problems[0].hint, "did you mean `credentials`?");
}

#[test]
fn reg_3_what_spoils_one_entry_only() {
    for (field, wanted) in [
        ("api_url: registry.example.com", "no scheme"),
        ("api_url: 'https://'", "names no host"),
        ("api_url: https://bot:hunter2@host", "holds a user or password"),
        ("tagsortmode: latest_first", "did you mean `latest-first`?"),
        ("tagsortmode: newest", "one of none"),
        ("credsexpire: 10", "no duration"),
        ("credsexpire: 10x", "no duration"),
        ("limit: many", "no number"),
        ("insecure: maybe", "true or false"),
        ("ca_data: abc", "no PEM"),
    ] {
        let url = if field.starts_with("api_url") { "" } else { "  api_url: https://bad\n" };
        let text = format!(
            "registries:\n- name: good\n  prefix: good.example.com\n  api_url: https://good\n- name: bad\n  prefix: bad.example.com\n{url}  {field}\n"
        );
        let conf = parse(&text);
        let bad = conf.endpoint(Some("bad.example.com"), "x");
        let fault = bad.fault.as_ref().unwrap_or_else(|| panic!("{field}"));
        assert!(fault.to_string().contains(wanted), "{field}: {fault}");
        assert!(fault.text.contains("\"bad\"") && fault.line.is_some() && fault.code == "config-invalid", "{fault:?}");
        assert!(conf.endpoint(Some("good.example.com"), "x").fault.is_none(), "{field}");
        assert!(conf.problems.contains(fault), "{field}");
        assert!(!format!("{:?}", conf).contains("hunter2"), "{field}");
    }
}

#[test]
fn reg_3_a_malformed_credential_is_said_with_what_is_missing_and_spoils_nothing_else() {
    for (form, wanted) in [
        ("secret:argocd/login", "the `#<field>` is missing"),
        ("secret:login#f", "the `<namespace>/` is missing"),
        ("pull-secret:argocd/login", "did you mean \"pullsecret\"?"),
        ("pullsecret:login", "the `<namespace>/` is missing"),
        ("login", "no `<kind>:` in front"),
        ("ext:scripts/login.sh", "not absolute"),
    ] {
        let conf = parse(&format!(
            "registries:\n- name: bad\n  prefix: bad.example.com\n  api_url: https://bad\n  credentials: {form}\n"
        ));
        assert_eq!(conf.problems.len(), 1, "{form}");
        let problem = &conf.problems[0];
        assert!(problem.to_string().contains(wanted), "{form}: {problem}");
        assert!(problem.text.contains("\"bad\"") && problem.line == Some(5), "{problem:?}");
        assert_eq!((problem.code, problem.key.as_str()), ("credentials-invalid", "credentials"), "{form}");
        // An image with a credential of its own does not need the entry's.
        assert_eq!(conf.endpoint(Some("bad.example.com"), "x").fault, None, "{form}");
    }
}

#[test]
fn reg_3_fields_and_their_defaults() {
    let conf = parse(include_str!("../../../tests/fixtures/registry/full.yaml"));
    let entry = conf.endpoint(Some("harbor.example.com"), "team/app");
    assert_eq!(entry.name, "Harbor");
    assert_eq!(entry.api_url, "https://harbor.example.com/registry");
    assert_eq!(entry.credentials.as_deref(), Some("secret:argocd/harbor#creds"));
    assert_eq!(entry.credentials_expire, Some(Duration::from_secs(5400)));
    assert_eq!(entry.tag_sort, TagSort::LatestFirst);
    assert_eq!(entry.limit, Limit::Unlimited);
    assert!(entry.insecure && entry.default && entry.fault.is_none());
    assert_eq!(entry.ca_file.as_deref(), Some("/app/config/tls/harbor"));
    assert_eq!(entry.repository("app"), "team/app");
    assert_eq!(conf.endpoint(None, "app").name, "Harbor");
    let codes: Vec<&str> = conf.problems.iter().map(|p| p.code).collect();
    assert_eq!(codes, ["TlsVerificationOff", "registry-unlimited"]);

    let plain = parse("registries:\n- {name: a, api_url: http://a:5000}\n").entries()[0].clone();
    assert_eq!((plain.limit, plain.tag_sort, plain.credentials_expire), (Limit::Adaptive, TagSort::None, None));
    assert!(!plain.insecure && !plain.default && plain.prefix.is_empty() && plain.credentials.is_none());
    assert_eq!(parse("registries:\n- {name: a, api_url: http://a, limit: 0}").entries()[0].limit, Limit::Adaptive);
}

#[test]
fn reg_3_an_empty_file_means_the_built_in_endpoints() {
    for text in ["", "registries:\n", "registries: []\n", "# nothing yet\n"] {
        assert_eq!(parse(text), Registries::builtin(), "{text:?}");
    }
}

#[test]
fn reg_3_of_two_entries_with_one_prefix_the_later_holds() {
    let conf = parse(
        "registries:\n- {name: a, prefix: x.io, api_url: https://a}\n- {name: b, prefix: x.io, api_url: https://b}\n",
    );
    assert_eq!(conf.endpoint(Some("x.io"), "r").name, "b");
    assert!(conf.problems[0].text.contains("replaces"), "{:?}", conf.problems);
}

#[test]
fn durations_as_go_writes_them() {
    for (text, millis) in [
        ("10h", Some(36_000_000)),
        ("1h30m", Some(5_400_000)),
        ("1.5h", Some(5_400_000)),
        ("250ms", Some(250)),
        ("0", Some(0)),
        ("", None),
        ("10", None),
        ("h", None),
        ("-1h", None),
        ("1h 30m", None),
    ] {
        assert_eq!(duration(text), millis.map(Duration::from_millis), "{text:?}");
    }
}
