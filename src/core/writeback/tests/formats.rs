//! File formats and patches (image-updates.md §13, §16), and desired values (§8).

use serde_json::{Value as Json, json};

use super::*;

const KUSTOMIZATION: &str = include_str!("../../../../tests/fixtures/writeback/kustomization.txt");
const VALUES: &str = include_str!("../../../../tests/fixtures/writeback/values.txt");
const OVERRIDES: &str = include_str!("../../../../tests/fixtures/writeback/overrides.txt");
const PARAMETERS: &str = include_str!("../../../../tests/fixtures/writeback/parameters.txt");

fn kind(case: &Case) -> SourceType {
    match case.rules("kind").first() {
        Some(&"Kustomize") => SourceType::Kustomize,
        _ => SourceType::Helm,
    }
}

fn images(case: &Case) -> Vec<ImageEdit> {
    case.rules("image").into_iter().map(image).collect()
}

/// An Application whose own lists hold these lines.
fn with_lists(kind: SourceType, lines: &[&str]) -> Application {
    let parameter = |line: &str| {
        let (name, value) = line.split_once('=').unwrap();
        match value.strip_suffix(" (forceString)") {
            Some(value) => json!({"name": name, "value": value, "forceString": true}),
            None => json!({"name": name, "value": value}),
        }
    };
    let block = match kind {
        SourceType::Kustomize => json!({"images": lines}),
        _ => json!({"parameters": lines.iter().map(|l| parameter(l)).collect::<Vec<Json>>()}),
    };
    let key = kind.word().to_lowercase();
    app(json!({"source": {"repoURL": "https://git/a.git", "path": "apps/web", key: block}}))
}

/// Runs the cases of a file whose title names a rule (all with the empty text) against one target, twice, and reports
/// every difference at once.
fn check_file(text: &str, rule: &str, target: &dyn Fn(&str) -> Target, path: &str) {
    let mut wrong = Vec::new();
    let chosen: Vec<Case> = cases(text).into_iter().filter(|case| named(case, rule)).collect();
    assert!(!chosen.is_empty(), "no case of {rule}");
    for case in &chosen {
        let lists: Vec<&str> = case.rules("parameter").into_iter().chain(case.rules("entry")).collect();
        let app = with_lists(kind(case), &lists);
        let run = |text: &str| {
            let files = if text.is_empty() { vec![] } else { vec![(path.to_owned(), text.as_bytes().to_vec())] };
            let edited = edit(&MapTree::of(files), &target(path), &app, &route(kind(case)), &images(case))?;
            let bytes = edited.changes.first().map_or(text.as_bytes().to_vec(), |c| c.after.clone());
            Ok((String::from_utf8(bytes).unwrap(), edited))
        };
        let found: Result<(String, Edited), Refusal> = run(&case.before);
        match (case.rules("refuse").first(), found) {
            (Some(rule), Err(refusal)) => assert_refusal(&refusal, rule, &case.title),
            (None, Ok((text, edited))) => {
                let warnings = edited.warnings.len().to_string();
                if text != case.after || warnings != *case.rules("warn").first().unwrap_or(&"0") {
                    wrong.push(format!("{}\n{text}{:?}", case.title, edited.warnings));
                }
                assert_eq!(edited.changes.is_empty(), case.before == case.after, "{}", case.title);
                let (again, second) = run(&text).unwrap();
                assert_eq!(again, text, "{}", case.title);
                assert!(second.changes.is_empty(), "{}", case.title);
            }
            (_, found) => wrong.push(format!("{}\n{found:?}", case.title)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn named(case: &Case, rule: &str) -> bool {
    rule.is_empty() || case.title.split_whitespace().any(|word| word == rule)
}

fn kustomization(rule: &str) {
    check_file(KUSTOMIZATION, rule, &|p| Target::Kustomization { path: p.to_owned() }, "apps/web/kustomization.yaml");
}

fn values(rule: &str) {
    check_file(VALUES, rule, &|p| Target::HelmValues { path: p.to_owned() }, "apps/web/values.yaml");
}

fn overrides(rule: &str) {
    check_file(OVERRIDES, rule, &|p| Target::Override { path: p.to_owned() }, "apps/web/.argocd-source-web.yaml");
}

#[test]
fn kustomization_vectors() {
    kustomization("");
}

#[test]
fn fmt_k1_compat_q9_only_owned_fields_of_an_element_change() {
    kustomization("fmt_k1");
}

#[test]
fn fmt_k2_an_element_is_appended_in_the_lists_own_style() {
    kustomization("fmt_k2");
}

#[test]
fn fmt_k3_only_due_images_and_one_document() {
    kustomization("fmt_k3");
}

#[test]
fn helmvalues_vectors() {
    values("");
}

#[test]
fn fmt_v1_only_due_images_are_written() {
    values("fmt_v1");
}

#[test]
fn compat_q28_fmt_v1_fmt_k3_values_of_other_images_are_left() {
    values("fmt_v1");
    kustomization("fmt_k3");
}

#[test]
fn fmt_v2_compat_q27_helmvalues_minimal_a_defaulted_name_is_not_added() {
    values("fmt_v2");
}

#[test]
fn fmt_v3_a_short_form_of_the_same_path_stays() {
    values("fmt_v3");
}

#[test]
fn compat_q4_a_digest_without_tag_is_latest_at_digest_in_a_tag_place() {
    values("ref_9");
}

#[test]
fn override_vectors() {
    overrides("");
    overrides("override_created_bytes");
    overrides("upstream_generated_override_updates_identically");
}

#[test]
fn fmt_o1_the_list_holds_every_governed_image_and_needs_a_due_one() {
    overrides("fmt_o1");
}

#[test]
fn fmt_o2_parameters_shadowed_warning() {
    overrides("fmt_o2");
}

#[test]
fn fmt_o3_entries_of_the_application_are_merged_in() {
    overrides("fmt_o3");
}

#[test]
fn fmt_o4_compat_q12_override_merge_keeps_foreign_content() {
    overrides("fmt_o4");
    overrides("override_merge_keeps_foreign_content");
}

#[test]
fn fmt_o5_unparsable_is_refused_unchanged_is_no_commit_numbers_are_quoted() {
    overrides("fmt_o5");
}

#[test]
fn arg_2_helm_param_merge_vectors() {
    merged("helm_param_merge_vectors");
}

#[test]
fn arg_3_kustomize_image_merge_vectors() {
    merged("kustomize_image_merge_vectors");
}

#[test]
fn arg_5_only_changed_images_are_patched() {
    merged("arg_5");
}

fn merged(rule: &str) {
    let chosen: Vec<Case> = cases(PARAMETERS).into_iter().filter(|case| named(case, rule)).collect();
    assert!(!chosen.is_empty(), "no case of {rule}");
    for case in &chosen {
        let title = &case.title;
        let before: Vec<&str> = case.before.lines().collect();
        let app = with_lists(kind(case), &before);
        let patch = parameters_patch(&app, &route(kind(case)), &images(case));
        match (case.rules("refuse").first(), patch) {
            (Some(rule), Err(refusal)) => assert_refusal(&refusal, rule, title),
            (None, Ok(None)) => assert_eq!(case.before, case.after, "{title}"),
            (None, Ok(Some(patch))) => {
                assert_eq!(patch.before, before, "{title}");
                assert_eq!(patch.after, case.after.lines().collect::<Vec<_>>(), "{title}");
                assert_ne!(case.before, case.after, "{title}");
            }
            (_, other) => panic!("{title}: {other:?}"),
        }
    }
}

#[test]
fn arg_1_arg_6_arg_7_patch_touches_only_owned_entries() {
    let helm = json!({"repoURL": "x", "chart": "c", "helm": {"parameters": [{"name": "image.tag", "value": "1"}]}});
    let images = [image("acme/web:2 tag=image.tag name=image.name")];
    let list = json!([
        {"name": "image.tag", "value": "2", "forceString": true},
        {"name": "image.name", "value": "acme/web", "forceString": true},
    ]);
    let version = json!({"op": "replace", "path": "/metadata/resourceVersion", "value": "7"});
    for (rules, spec, index, path, value) in [
        ("arg_1", json!({"source": helm}), 0, "/spec/source/helm/parameters", list.clone()),
        ("arg_7", json!({"sources": [{"repoURL": "y"}, helm]}), 1, "/spec/sources/1/helm/parameters", list.clone()),
        (
            "arg_6 hydrator_dry_source_patched",
            json!({"sourceHydrator": {"drySource": helm}}),
            0,
            "/spec/sourceHydrator/drySource/helm/parameters",
            list.clone(),
        ),
        (
            "arg_2 no block yet",
            json!({"source": {"repoURL": "x", "chart": "c"}}),
            0,
            "/spec/source/helm",
            json!({"parameters": [list[1], list[0]]}),
        ),
    ] {
        let mut route = route(SourceType::Helm);
        route.source_index = index;
        let patch = parameters_patch(&app(spec), &route, &images).unwrap().unwrap();
        let add = json!({"op": "add", "path": path, "value": value});
        assert_eq!(patch.operations, json!([version, add]), "{rules}");
    }
}

#[test]
fn src_9_sources_without_places_are_refused() {
    for kind in [SourceType::Directory, SourceType::Plugin] {
        let app = with_lists(SourceType::Helm, &[]);
        let images = [image("nginx:1")];
        let target = Target::Override { path: "apps/web/.argocd-source-web.yaml".to_owned() };
        let refusal = edit(&MapTree::default(), &target, &app, &route(kind), &images).unwrap_err();
        assert_eq!(refusal.kind, "unsupported-source");
        assert_eq!(parameters_patch(&app, &route(kind), &images).unwrap_err().kind, "unsupported-source");
    }
}

#[test]
fn route_7_override_that_argo_cd_does_not_read() {
    let images = [image("nginx:1")];
    let git = json!({"repoURL": "https://git/a.git", "path": "apps/web"});
    let chart = json!({"repoURL": "https://charts", "chart": "web"});
    for (spec, path, repository, warned) in [
        (git.clone(), "apps/web/.argocd-source-web.yaml", "HTTPS://git/a", false),
        (git.clone(), "apps/web/.argocd-source-web.yaml", "https://git/other", true),
        (git, ".argocd-source-web.yaml", "https://git/a", true),
        (chart, "apps/web/.argocd-source-web.yaml", "https://git/a", true),
    ] {
        let mut route = route(SourceType::Helm);
        route.repo_url = repository.to_owned();
        let target = Target::Override { path: path.to_owned() };
        let edited = edit(&MapTree::default(), &target, &app(json!({"source": spec})), &route, &images).unwrap();
        let codes: Vec<&str> = edited.warnings.iter().map(|w| w.code).collect();
        assert_eq!(codes, if warned { vec!["override-has-no-effect"] } else { vec![] }, "{path} {repository}");
    }
}

#[test]
fn des_1_desired_read_per_target() {
    let values = |text: &str| (Target::HelmValues { path: "v.yaml".to_owned() }, SourceType::Helm, text.to_owned());
    let overrides = |text: &str| (Target::Override { path: "o.yaml".to_owned() }, SourceType::Helm, text.to_owned());
    let kustomize_override =
        |text: &str| (Target::Override { path: "o.yaml".to_owned() }, SourceType::Kustomize, text.to_owned());
    let kustomization =
        |text: &str| (Target::Kustomization { path: "k.yaml".to_owned() }, SourceType::Kustomize, text.to_owned());
    let one_parameter =
        |name: &str, value: &str| format!("helm:\n  parameters:\n  - name: {name}\n    value: {value}\n");
    for (label, (target, kind, text), own, rule, expected) in [
        ("des_1 tag alone", values("image:\n  tag: 1.2\n"), vec![], "nginx", "- 1.2 -"),
        ("des_1 tag and name", values("image: {tag: '1.2', name: x/y}\n"), vec![], "nginx", "x/y 1.2 -"),
        ("des_1 tag with digest", values("image.tag: 1.2@sha256:ab\n"), vec![], "nginx", "- 1.2 sha256:ab"),
        ("des_1 empty tag is known", values("image:\n  tag: ''\n"), vec![], "nginx", "- - -"),
        ("des_1 no tag path", values("image:\n  name: nginx\n"), vec![], "nginx", "unknown"),
        ("des_1 through an alias", values("i: &i {tag: v1}\nimage: *i\n"), vec![], "nginx", "- v1 -"),
        ("des_1 merge counts as missing", values("i: &i {tag: v1}\nimage:\n  <<: *i\n"), vec![], "nginx", "unknown"),
        (
            "des_1 spec",
            values("image: ghcr.io/a/b:1@sha256:ab\n"),
            vec![],
            "nginx spec=image",
            "ghcr.io/a/b 1 sha256:ab",
        ),
        ("des_1 spec absent", values("a: 1\n"), vec![], "nginx spec=image", "unknown"),
        ("des_1 no file", values(""), vec![], "nginx", "unknown"),
        ("des_1 override", overrides(&one_parameter("image.tag", "'2'")), vec!["image.tag=1"], "nginx", "- 2 -"),
        ("des_1 override, from the spec", overrides("a: 1\n"), vec!["image.tag=1"], "nginx", "- 1 -"),
        ("des_1 override, no file", overrides(""), vec!["image.tag=1", "image.name=n"], "nginx", "n 1 -"),
        ("des_1 override, neither", overrides(""), vec!["replicas=1"], "nginx", "unknown"),
        ("des_1 entry", kustomize_override("kustomize:\n  images: [nginx:2]\n"), vec!["nginx:1"], "nginx", "nginx 2 -"),
        ("des_1 entry of the spec", kustomize_override(""), vec!["w=x/y:1"], "x/y", "x/y 1 -"),
        ("des_1 entry by name", kustomize_override(""), vec!["w=old/y:1"], "x/y kustomize=w", "old/y 1 -"),
        ("des_1 element", kustomization("images:\n- name: nginx\n  newTag: v2\n"), vec![], "nginx", "- v2 -"),
        (
            "des_1 element with new name",
            kustomization("images:\n- {name: w, newName: x/y, newTag: v2, digest: sha256:ab}\n"),
            vec![],
            "x/y kustomize=w",
            "x/y v2 sha256:ab",
        ),
        ("des_1 element without tag", kustomization("images:\n- name: nginx\n"), vec![], "nginx", "unknown"),
        ("des_1 no element", kustomization("images: []\n"), vec![], "nginx", "unknown"),
        ("des_1 broken file", values("image: [\n"), vec![], "nginx", "yaml-invalid"),
        ("des_1 path ends at a map", values("image: {tag: {}}\n"), vec![], "nginx", "yaml-unsafe"),
        ("des_1 lfs", values("version https://git-lfs.github.com/spec/v1\n"), vec![], "nginx", "lfs-pointer"),
    ] {
        let tree = if text.is_empty() { MapTree::default() } else { MapTree::of([(target.path(), text)]) };
        let found = desired(&tree, &target, &with_lists(kind, &own), &route(kind), &image(rule).slot);
        let shown = match found {
            Ok(None) => "unknown".to_owned(),
            Ok(Some(d)) => {
                let or = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
                format!("{} {} {}", or(d.name), or(d.tag), or(d.digest))
            }
            Err(refusal) => refusal.kind.to_owned(),
        };
        assert_eq!(shown, expected, "{label}");
    }
}

#[test]
fn des_3_comparison_by_meaning() {
    let digest = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    let pinned = format!("ghcr.io/acme/web:1.2@{digest}");
    for (name, tag, held, value, same) in [
        (None, "1.2", None, "nginx:1.2", true),
        (None, "1.2", None, "nginx:1.3", false),
        (Some("nginx"), "1.2", None, "docker.io/library/nginx:1.2", true),
        (Some("acme/web"), "1.2", None, "ghcr.io/acme/web:1.2", true),
        (Some("quay.io/acme/web"), "1.2", None, "ghcr.io/acme/web:1.2", false),
        (Some("acme/api"), "1.2", None, "ghcr.io/acme/web:1.2", false),
        (None, "1.2", Some(digest), pinned.as_str(), true),
        (None, "1.2", Some("sha256:aa"), pinned.as_str(), false),
        (None, "1.2", None, pinned.as_str(), true),
        (None, "1.2", Some(digest), "nginx:1.2", true),
    ] {
        let desired = Desired {
            name: name.map(str::to_owned),
            tag: Some(tag.to_owned()),
            digest: held.map(str::to_owned),
            place: String::new(),
        };
        assert_eq!(desired.means(&ImageRef::parse_reference(value).unwrap()), same, "{name:?} {tag} {held:?} {value}");
    }
}

#[test]
fn yml_8_applications_edit_one_file_one_after_another() {
    let base = MapTree::of([("v.yaml", "a: {tag: 1}\nb: {tag: 1}\n")]);
    let mut tree = Overlay::on(&base);
    let target = Target::HelmValues { path: "v.yaml".to_owned() };
    for tag in ["a.tag", "b.tag"] {
        let images = [image(&format!("nginx:v2 tag={tag}"))];
        let app = with_lists(SourceType::Helm, &[]);
        let edited = edit(&tree, &target, &app, &route(SourceType::Helm), &images).unwrap();
        for change in edited.changes {
            tree.write(change.path, change.executable, change.after);
        }
    }
    assert_eq!(tree.read("v.yaml").unwrap(), b"a: {tag: v2}\nb: {tag: v2}\n");
    assert_eq!(base.read("v.yaml").unwrap(), b"a: {tag: 1}\nb: {tag: 1}\n");
}
