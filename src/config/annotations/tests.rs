//! Annotations against tests/fixtures/annotations/cases.txt; each case names its rule.

use std::collections::BTreeMap;

use super::*;

const CASES: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/annotations/cases.txt"));

fn application(annotations: &BTreeMap<String, String>) -> Application {
    let object = serde_json::json!({"metadata": {"namespace": "argocd", "name": "web", "annotations": annotations}});
    Application::decode(&object.to_string()).unwrap_or_else(|p| panic!("{p}"))
}

fn full_key(key: &str) -> String {
    match key.strip_prefix("own/") {
        Some(own) => format!("{OWN}{own}"),
        None if key.contains('/') => key.to_owned(),
        None => format!("{UPSTREAM}{key}"),
    }
}

fn words<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|i| i.to_string()).collect::<Vec<_>>().join(" ")
}

fn field(settings: &AppSettings, path: &str) -> String {
    let text = |t: &Option<String>| t.clone().unwrap_or_default();
    if let Some((alias, name)) = path.rsplit_once('.') {
        let alias = if alias == "-" { "" } else { alias };
        let Some(image) = settings.images.iter().find(|i| i.alias() == alias) else { panic!("no alias {alias}") };
        return match name {
            "reference" => image.image.full_reference(),
            "strategy" => image.selection.strategy.word().to_owned(),
            "force-update" => image.force_update.to_string(),
            "allow" => image.selection.allow.text().to_owned(),
            "ignore" => words(image.selection.ignore.iter().map(Glob::text)),
            "pull-secret" => text(&image.pull_secret),
            "platforms" if image.selection.platforms == [Platform::daemon_default()] => "default".to_owned(),
            "platforms" => words(&image.selection.platforms),
            "helm-name" => image.names.helm_name.clone(),
            "helm-name-explicit" => image.names.helm_name_explicit.to_string(),
            "helm-tag" => image.names.helm_tag.clone(),
            "helm-spec" => text(&image.names.helm_spec),
            "kustomize" => text(&image.names.kustomize_name),
            "discover" => image.discover.map_or(String::new(), |d| d.word().to_owned()),
            "source" => text(&image.source),
            "allow-downgrade" => image.allow_downgrade.to_string(),
            "unusable" => image.unusable.as_ref().map_or(String::new(), |p| p.code.to_owned()),
            other => panic!("no field {other}"),
        };
    }
    match path {
        "method" => match &settings.method {
            Method::Argocd => "argocd".to_owned(),
            Method::Git(GitCredentials::Repocreds) => "git".to_owned(),
            Method::Git(GitCredentials::Secret { namespace: Some(namespace), name }) => {
                format!("git:secret:{namespace}/{name}")
            }
            Method::Git(GitCredentials::Secret { namespace: None, name }) => format!("git:secret:{name}"),
        },
        "target" => settings.write_back_target.clone(),
        "branch" => settings.git_branch.as_ref().map_or(String::new(), |b| {
            format!("{} / {}", b.base.as_deref().unwrap_or("-"), b.push.as_deref().unwrap_or("-"))
        }),
        "repository" => text(&settings.git_repository),
        "refresh" => settings.refresh.word().to_owned(),
        "unreadable" => words(settings.unreadable.iter().map(|u| u.text.as_str())),
        other => panic!("no field {other}"),
    }
}

#[test]
fn ann_1_ann_2_ann_3_ann_4_ann_5_ann_6_ann_7_annotation_cases() {
    let mut cases = 0;
    for case in CASES.split("\n## ").skip(1) {
        cases += 1;
        let (name, body) = case.split_once('\n').unwrap_or((case, ""));
        let (annotations, expected) = body.split_once("=>\n").unwrap_or((body, ""));
        let annotations: BTreeMap<String, String> = annotations
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(key, value)| (full_key(key), value.replace("\\n", "\n")))
            .collect();
        let (settings, problems) = settings(&application(&annotations));
        let expected: Vec<&str> = expected.lines().filter(|l| !l.is_empty()).collect();
        assert_eq!(settings.is_none(), expected.contains(&"none"), "{name}: {problems:?}");
        let told: Vec<&str> = expected.iter().filter_map(|l| l.strip_prefix("! ")).collect();
        assert_eq!(problems.len(), told.len(), "{name}: {problems:#?}");
        for line in told {
            let (head, text) = line.split_once(": ").unwrap_or((line, ""));
            let [severity, code, key] = head.split(' ').collect::<Vec<_>>()[..] else { panic!("{name}: {line}") };
            assert!(
                problems.iter().any(|p| p.severity.word() == severity
                    && p.code == code
                    && p.key == full_key(key)
                    && p.object == "Application argocd/web"
                    && format!("{} {}", p.text, p.hint).contains(text)),
                "{name}: {line} is not among {problems:#?}"
            );
        }
        for (path, value) in expected.iter().filter_map(|l| l.split_once(" =")) {
            if path.starts_with('!') {
                continue;
            }
            let Some(settings) = &settings else { panic!("{name}: not managed") };
            assert_eq!(field(settings, path), value.trim().replace("\\n", "\n"), "{name}: {path}");
        }
    }
    assert!(cases > 40, "{cases}");
}

#[test]
fn extension_precedence_alias_application_daemon() {
    let annotations = BTreeMap::from([
        (full_key("image-list"), "a=nginx, b=redis".to_owned()),
        (full_key("own/discover"), "both".to_owned()),
        (full_key("own/a.discover"), "desired".to_owned()),
    ]);
    let defaults = Defaults::from([
        ("discover".to_owned(), "live".to_owned()),
        ("allow-downgrade".to_owned(), "true".to_owned()),
        ("refresh".to_owned(), "off".to_owned()),
    ]);
    let (settings, problems) = settings_with(&application(&annotations), &defaults);
    assert_eq!(problems, []);
    let settings = settings.unwrap_or_else(|| panic!("managed"));
    for (path, value) in
        [("a.discover", "desired"), ("b.discover", "both"), ("a.allow-downgrade", "true"), ("refresh", "off")]
    {
        assert_eq!(field(&settings, path), value, "{path}");
    }
}

#[test]
fn sec_25_limits_of_an_application() {
    let many: Vec<String> = (0..1001).map(|i| format!("a{i}=nginx")).collect();
    let list = |text: String| application(&BTreeMap::from([(full_key("image-list"), text)]));
    let (none, problems) = settings(&list(many.join(",")));
    assert!(none.is_none() && problems[0].text.contains("1001 images"), "{problems:?}");
    assert!(settings(&list(many[..1000].join(","))).0.is_some());
    let (none, problems) = settings(&list(format!("nginx{}", " ".repeat(256 * 1024))));
    assert!(none.is_none() && problems[0].text.contains("bytes"), "{problems:?}");
}

#[test]
fn a_pasted_secret_is_not_repeated_whole() {
    let secret = format!("user:{}", "x".repeat(200));
    let (_, problems) = settings(&application(&BTreeMap::from([
        (full_key("image-list"), "a=nginx".to_owned()),
        (full_key("a.pull-secret"), secret.clone()),
    ])));
    assert!(problems.iter().all(|p| !p.to_string().contains(&secret)));
}

#[test]
fn compat_q20_a_bad_annotation_stops_the_application() {
    let (none, problems) = settings(&application(&BTreeMap::from([
        (full_key("image-list"), "a=nginx".to_owned()),
        (full_key("force-update"), "yes".to_owned()),
    ])));
    assert!(none.is_none());
    assert_eq!(problems.iter().map(|p| p.code).collect::<Vec<_>>(), ["config-invalid"]);
}
