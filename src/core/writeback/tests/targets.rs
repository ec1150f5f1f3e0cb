//! Targets and routes (image-updates.md §14), and the tree.

use serde_json::{Value as Json, json};

use super::*;
use crate::core::application::source::{self, Base, Request, branch_base, clean_path, normalise_repo_url};

fn tree() -> MapTree {
    let mut tree = MapTree::of([
        ("apps/web/kustomization.yml", "resources: []\n"),
        ("apps/web/values.yaml", "image: {tag: 1}\n"),
        ("apps/web/sub/Kustomization", ""),
        ("base/kustomization.yaml", ""),
        ("kustomization.yaml", ""),
        ("env/values.production", ""),
        ("plain", ""),
        (".github/values.yaml", ""),
    ]);
    tree.put("link.yaml", Entry::Symlink, "values.yaml");
    tree.put("links/dir", Entry::Symlink, "../env");
    tree.put("vendor/chart", Entry::Submodule, "");
    tree
}

fn shown(target: Result<Target, Refusal>) -> String {
    match target {
        Ok(Target::Override { path }) => format!("override {path}"),
        Ok(Target::HelmValues { path }) => format!("values {path}"),
        Ok(Target::Kustomization { path }) => format!("kustomization {path}"),
        Err(refusal) => refusal.kind.to_owned(),
    }
}

fn resolve(text: &str, kind: SourceType) -> Result<Target, Refusal> {
    write_back_target(text, &app(json!({})), &route(kind), "argocd", &tree())
}

#[test]
fn compat_q30_target_path_vectors() {
    use SourceType::{Directory, Helm, Kustomize, Plugin};
    for (text, kind, expected) in [
        ("", Helm, "override apps/web/.argocd-source-web.yaml"),
        ("  ", Kustomize, "override apps/web/.argocd-source-web.yaml"),
        ("kustomization", Kustomize, "kustomization apps/web/kustomization.yml"),
        ("kustomization:", Kustomize, "kustomization apps/web/kustomization.yml"),
        ("kustomization:sub", Kustomize, "kustomization apps/web/sub/Kustomization"),
        ("kustomization:../../base", Kustomize, "kustomization base/kustomization.yaml"),
        ("kustomization:/base", Kustomize, "kustomization base/kustomization.yaml"),
        ("kustomization:/base/", Kustomize, "kustomization base/kustomization.yaml"),
        ("kustomization:/", Kustomize, "kustomization kustomization.yaml"),
        ("kustomization:nowhere", Kustomize, "target-missing"),
        ("kustomization:/base/kustomization.yaml", Kustomize, "config-invalid"),
        ("kustomization:../../../x", Kustomize, "path-escape"),
        ("kustomization:/links/dir", Kustomize, "path-not-regular"),
        ("kustomization:/plain", Kustomize, "path-not-regular"),
        ("helmvalues", Helm, "values apps/web/values.yaml"),
        ("helmvalues:", Helm, "values apps/web/values.yaml"),
        ("helmvalues:values-prod.yaml", Helm, "values apps/web/values-prod.yaml"),
        ("helmvalues:../baz/x.yaml", Helm, "values apps/baz/x.yaml"),
        ("helmvalues:./x.yml", Helm, "values apps/web/x.yml"),
        ("helmvalues:/env/prod.yaml", Helm, "values env/prod.yaml"),
        ("helmvalues:/env/values.production", Helm, "values env/values.production"),
        ("helmvalues:/env/values.staging", Helm, "config-invalid"),
        ("helmvalues:/kustomization.yaml", Helm, "config-invalid"),
        ("helmvalues:/link.yaml", Helm, "path-not-regular"),
        ("helmvalues:/links/dir/values.yaml", Helm, "path-not-regular"),
        ("helmvalues:/vendor/chart/values.yaml", Helm, "path-not-regular"),
        ("helmvalues:/plain/values.yaml", Helm, "path-not-regular"),
        ("helmvalues:/env", Helm, "path-not-regular"),
        ("kustomization.yaml", Kustomize, "config-invalid"),
        ("apps/web/kustomization.yml", Kustomize, "config-invalid"),
        ("base/Kustomization", Kustomize, "config-invalid"),
        ("kustomizationfoo", Kustomize, "config-invalid"),
        ("helmvaluesfoo", Helm, "config-invalid"),
        ("applicationfoo", Helm, "config-invalid"),
        ("manifestsfoo", Helm, "config-invalid"),
        ("application", Helm, "config-invalid"),
        ("manifests:x", Directory, "config-invalid"),
        ("manifests/web/values.yaml", Helm, "values manifests/web/values.yaml"),
        ("envs/prod.yaml", Helm, "values envs/prod.yaml"),
        ("/envs/prod.yml", Helm, "values envs/prod.yml"),
        ("envs/prod.yaml", Kustomize, "values envs/prod.yaml"),
        ("envs/.argocd-source-web.yaml", Helm, "override envs/.argocd-source-web.yaml"),
        (".argocd-source-other", Kustomize, "override .argocd-source-other"),
        ("images", Kustomize, "override images"),
        ("images", Plugin, "override images"),
        ("images", Helm, "config-invalid"),
        ("helm/web/values.yaml:image.tag", Helm, "config-invalid"),
        ("vendor/chart", Kustomize, "path-not-regular"),
        ("env", Kustomize, "path-not-regular"),
    ] {
        assert_eq!(shown(resolve(text, kind)), expected, "{text:?}");
    }
    let refusal = resolve("helm/web/values.yaml:image.tag", SourceType::Helm).unwrap_err();
    assert!(refusal.hint.contains("helmvalues:/helm/web/values.yaml;"), "{}", refusal.hint);
    let refusal = resolve("apps/web/kustomization.yml", SourceType::Kustomize).unwrap_err();
    assert!(refusal.hint.contains("kustomization:/apps/web"), "{}", refusal.hint);
}

#[test]
fn path_1_path_escape_corpus() {
    let tree = tree();
    for text in [
        "../x.yaml",
        "a/../../x.yaml",
        "..",
        "a/./../../x.yaml",
        "/../x.yaml",
        "helmvalues:/../x.yaml",
        "helmvalues:../../../x.yaml",
        ".git/config.yaml",
        "a/.git/x.yaml",
        ".GIT/x.yaml",
        ".gIt/hooks/x.yaml",
        ".git./x.yaml",
        ".git /x.yaml",
        ".git. ./x.yaml",
        ".git::$INDEX_ALLOCATION/x.yaml",
        "git~1/x.yaml",
        "GIT~1/x.yaml",
        ".g\u{200C}it/x.yaml",
        ".git\u{FEFF}/x.yaml",
        "\u{202E}.git/x.yaml",
        "a\u{0}b.yaml",
        "a\nb.yaml",
        "a\u{7F}.yaml",
        "a\\..\\..\\x.yaml",
        ".git\\x.yaml",
    ] {
        let refusal = write_back_target(text, &app(json!({})), &route(SourceType::Helm), "argocd", &tree).unwrap_err();
        assert_eq!(refusal.kind, "path-escape", "{text:?}: {refusal:?}");
    }
    for text in [".github/values.yaml", ".gitlab/values.yaml", "a/..b/x.yaml", "a/b.git/x.yaml", "git/x.yaml"] {
        assert!(
            write_back_target(text, &app(json!({})), &route(SourceType::Helm), "argocd", &tree).is_ok(),
            "{text:?}"
        );
    }
    assert_eq!(clean_path("a/b", "./../c//d/").unwrap(), "a/c/d");
    assert_eq!(clean_path("a/b", "/c").unwrap(), "c");
}

#[test]
fn path_1_symlink_submodule_lfs_refused_by_name() {
    for (path, component, what) in [
        ("links/dir/values.yaml", "links/dir", "symbolic link"),
        ("link.yaml", "link.yaml", "symbolic link"),
        ("vendor/chart/values.yaml", "vendor/chart", "submodule"),
        ("plain/x/values.yaml", "plain", "not a directory"),
    ] {
        let refusal = resolve(path, SourceType::Helm).unwrap_err();
        assert_eq!(refusal.kind, "path-not-regular");
        assert!(refusal.text.starts_with(component) && refusal.text.contains(what), "{refusal:?}");
    }
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12\n";
    let tree = MapTree::of([("v.yaml", pointer)]);
    let target = Target::HelmValues { path: "v.yaml".to_owned() };
    let refusal = edit(&tree, &target, &app(json!({})), &route(SourceType::Helm), &[image("nginx:1")]).unwrap_err();
    assert_eq!((refusal.kind, refusal.path.as_str()), ("lfs-pointer", "v.yaml"));
}

#[test]
fn path_1_the_mode_is_kept() {
    let mut tree = MapTree::default();
    tree.put("v.yaml", Entry::File { executable: true }, "image: {tag: '1'}\n");
    let target = Target::HelmValues { path: "v.yaml".to_owned() };
    let edited = edit(&tree, &target, &app(json!({})), &route(SourceType::Helm), &[image("nginx:2")]).unwrap();
    assert!(edited.changes[0].executable);
}

#[test]
fn override_file_name_by_namespace() {
    for (namespace, argocd, name) in [
        ("argocd", "argocd", ".argocd-source-web.yaml"),
        ("", "argocd", ".argocd-source-web.yaml"),
        ("team", "argocd", ".argocd-source-team_web.yaml"),
        ("team", "default", ".argocd-source-web.yaml"),
        ("argocd", "platform", ".argocd-source-argocd_web.yaml"),
    ] {
        let object = json!({"metadata": {"name": "web", "namespace": namespace}});
        let app = Application::decode(&object.to_string()).unwrap();
        let target = write_back_target("", &app, &route(SourceType::Helm), argocd, &MapTree::default()).unwrap();
        assert_eq!(target.path(), format!("apps/web/{name}"), "{namespace} {argocd}");
    }
}

#[test]
fn git_1_repository_urls() {
    for (spellings, same) in [
        (["https://github.com/Acme/Web.git", "https://github.com/acme/web"], true),
        (["git@github.com:acme/web.git", "ssh://git@github.com/acme/web"], true),
        (["git@github.com:acme/web.git", "git@github.com/acme/web"], true),
        ([" https://h/a.git ", "https://h/a"], true),
        (["ssh://git@h:22/a.git", "ssh://git@h/a.git"], false),
        (["https://user@h/a", "https://h/a"], false),
        (["https://h/a", "https://h/b"], false),
        (["org-1@h:p/a.git", "ssh://org-1@h/p/a"], true),
    ] {
        let [a, b] = spellings.map(normalise_repo_url);
        assert_eq!(a == b, same, "{a} {b}");
    }
}

#[test]
fn branch_base_forms() {
    let branch = |name: &str| Ok(Base::Branch(name.to_owned()));
    for (setting, revision, expected) in [
        (None, "", Ok(Base::Default)),
        (None, "HEAD", Ok(Base::Default)),
        (None, "main", branch("main")),
        (None, "refs/heads/main", branch("main")),
        (None, "release/1.2", branch("release/1.2")),
        (Some("dev"), "v1.0.*", branch("dev")),
        (Some(" "), "main", branch("main")),
        (None, "0123456789abcdef0123456789abcdef01234567", Err(())),
        (None, "1.*", Err(())),
        (None, ">=1.2", Err(())),
        (None, "^1.0.0", Err(())),
        (None, "refs/tags/v1", Err(())),
    ] {
        let found = branch_base(setting, revision).map_err(|p| assert_eq!(p.code, "revision-not-a-branch"));
        assert_eq!(found, expected, "{setting:?} {revision:?}");
    }
}

struct Wanted<'a> {
    explicit: Option<&'a str>,
    target: &'a str,
    repository: Option<&'a str>,
    git: bool,
}

const PLAIN: Wanted<'static> = Wanted { explicit: None, target: "", repository: None, git: true };

/// `index kind repository revision path [file]`, or the code of the problem.
fn routed(object: Json, wanted: &Wanted<'_>) -> String {
    let app = Application::decode(&object.to_string()).unwrap();
    let values = MapTree::of([
        ("web.yaml", "image: {tag: 1}\n"),
        ("prod/web.yaml", "image: {name: n}\n"),
        ("chart/Chart.yaml", ""),
        ("kust/kustomization.yaml", ""),
        ("chart/values.yaml", ""),
    ]);
    let trees = |url: &str, _: &str| (!url.contains("charts")).then_some(&values as &dyn Tree);
    let request = Request {
        app: &app,
        explicit: wanted.explicit,
        git: wanted.git,
        target: wanted.target,
        git_repository: wanted.repository,
        holds_image: &|bytes| has_path(bytes, "image.tag"),
    };
    match source::route(&request, &trees) {
        Ok(r) => {
            let file = r.values_file.map(|f| format!(" {f}")).unwrap_or_default();
            format!("{} {} {} {} {}{file}", r.source_index, r.kind.word(), r.repo_url, r.revision, r.path)
        }
        Err(problem) => problem.code.to_owned(),
    }
}

fn spec(spec: Json) -> Json {
    json!({"metadata": {"name": "web"}, "spec": spec})
}

fn git_source(path: &str) -> Json {
    json!({"repoURL": "https://git/a", "path": path, "targetRevision": "main"})
}

fn values_source() -> Json {
    json!({"repoURL": "https://git/values", "targetRevision": "live", "ref": "values"})
}

/// A chart whose values lie in another repository.
fn chart_and_values() -> Json {
    let chart = json!({"repoURL": "https://charts", "chart": "web", "targetRevision": "1.x",
        "helm": {"valueFiles": ["$values/web.yaml", "$values/prod/web.yaml"]}});
    spec(json!({"sources": [chart, values_source()]}))
}

fn targeted(target: &str) -> Wanted<'_> {
    Wanted { target, ..PLAIN }
}

#[test]
fn route_1_route_2_route_3_vectors_choice_of_source() {
    let two = || spec(json!({"sources": [git_source("kust"), git_source("chart")]}));
    let single = || spec(json!({"source": git_source("chart")}));
    let reported = |types: Json| {
        json!({"metadata": {"name": "web"}, "spec": {"sources": [git_source("x"), git_source("y")]},
        "status": {"sourceTypes": types}})
    };
    for (label, object, wanted, expected) in [
        ("route_3 single", single(), PLAIN, "0 Helm https://git/a main chart"),
        (
            "route_3 hydrator",
            spec(json!({"sourceHydrator": {"drySource": git_source("kust")}})),
            PLAIN,
            "0 Kustomize https://git/a main kust",
        ),
        ("route_3 kustomization target", single(), targeted("kustomization"), "0 Kustomize https://git/a main chart"),
        ("route_3 by detection", two(), PLAIN, "0 Kustomize https://git/a main kust"),
        ("route_3 values target goes to the chart", two(), targeted("helmvalues"), "1 Helm https://git/a main chart"),
        ("route_3 a yaml file makes it Helm", two(), targeted("envs/x.yaml"), "1 Helm https://git/a main chart"),
        (
            "route_3 reported types",
            reported(json!(["Directory", "Kustomize"])),
            PLAIN,
            "1 Kustomize https://git/a main y",
        ),
        (
            "route_3 reported types of another length",
            reported(json!(["Helm"])),
            PLAIN,
            "0 Directory https://git/a main x",
        ),
        ("route_1 by index", two(), Wanted { explicit: Some("1"), ..PLAIN }, "1 Helm https://git/a main chart"),
        (
            "route_1 by ref",
            chart_and_values(),
            Wanted { explicit: Some("values"), target: "helmvalues:web.yaml", ..PLAIN },
            "1 Helm https://git/values live  web.yaml",
        ),
        (
            "route_1 by $ref",
            chart_and_values(),
            Wanted { explicit: Some("$values"), target: "helmvalues:x.yaml", ..PLAIN },
            "1 Helm https://git/values live ",
        ),
        (
            "route_1 by name",
            spec(json!({"sources": [git_source("kust"), {"repoURL": "https://git/b", "path": "p", "name": "b"}]})),
            Wanted { explicit: Some("b"), ..PLAIN },
            "1 Directory https://git/b  p",
        ),
        ("route_1 out of range", two(), Wanted { explicit: Some("2"), ..PLAIN }, "config-invalid"),
        ("route_1 unknown name", two(), Wanted { explicit: Some("nope"), ..PLAIN }, "config-invalid"),
        (
            "route_2 by repository",
            chart_and_values(),
            Wanted { repository: Some("https://GIT/values.git"), target: "helmvalues:x.yaml", ..PLAIN },
            "1 Helm https://GIT/values.git live ",
        ),
    ] {
        assert_eq!(routed(object, &wanted), expected, "{label}");
    }
}

#[test]
fn route_4_route_5_route_6_vectors_repository_and_file() {
    let single = || spec(json!({"source": git_source("chart")}));
    for (label, object, wanted, expected) in [
        (
            "route_4 named file",
            chart_and_values(),
            targeted("helmvalues:prod/web.yaml"),
            "0 Helm https://git/values live  prod/web.yaml",
        ),
        (
            "route_4 named from the root",
            chart_and_values(),
            targeted("helmvalues:/web.yaml"),
            "0 Helm https://git/values live  web.yaml",
        ),
        (
            "route_4 named with the ref",
            chart_and_values(),
            targeted("helmvalues:$values/web.yaml"),
            "0 Helm https://git/values live  web.yaml",
        ),
        (
            "route_4 the last file that holds the tag",
            chart_and_values(),
            targeted("helmvalues"),
            "0 Helm https://git/values live  web.yaml",
        ),
        (
            "route_4 a Git source with its own values",
            spec(json!({"sources": [
            {"repoURL": "https://git/a", "path": "chart", "helm": {"valueFiles": ["$values/web.yaml"]}}, values_source()]})),
            targeted("helmvalues"),
            "0 Helm https://git/a  chart",
        ),
        (
            "route_4 a Git source without values",
            spec(json!({"sources": [
            {"repoURL": "https://git/a", "path": "other", "helm": {"valueFiles": ["$values/web.yaml"]}}, values_source()]})),
            targeted("helmvalues"),
            "0 Helm https://git/values live other web.yaml",
        ),
        ("route_5 chart without file", chart_and_values(), PLAIN, "target-not-writable"),
        (
            "route_5 chart and a file nobody reads",
            chart_and_values(),
            targeted("helmvalues:nope.yaml"),
            "target-not-writable",
        ),
        (
            "route_5 OCI",
            spec(json!({"source": {"repoURL": "oci://r/x", "path": "."}})),
            targeted("helmvalues"),
            "target-not-writable",
        ),
        (
            "route_5 not asked with method argocd",
            chart_and_values(),
            Wanted { git: false, ..PLAIN },
            "0 Helm https://charts 1.x ",
        ),
        (
            "route_6 another repository",
            single(),
            Wanted { repository: Some("https://git/z"), ..PLAIN },
            "0 Helm https://git/z main chart",
        ),
        (
            "route_6 a chart's version is no branch",
            spec(json!({"source": {"repoURL": "https://charts", "chart": "w",
            "targetRevision": "1.2.3"}})),
            Wanted { repository: Some("https://git/z"), target: "helmvalues:/x.yaml", ..PLAIN },
            "0 Helm https://git/z  ",
        ),
        ("path_1 source path above the root", spec(json!({"source": git_source("../x")})), PLAIN, "path-escape"),
        ("src_1 no source", spec(json!({})), PLAIN, "config-invalid"),
    ] {
        assert_eq!(routed(object, &wanted), expected, "{label}");
    }
}

#[test]
fn offline_source_type_detection() {
    let tree = tree_of_kinds();
    for (source, kind) in [
        (json!({"path": "chart"}), SourceType::Helm),
        (json!({"path": "./kust/"}), SourceType::Kustomize),
        (json!({"path": "both"}), SourceType::Helm),
        (json!({"path": "plain"}), SourceType::Directory),
        (json!({}), SourceType::Directory),
        (json!({"path": "plain", "helm": {}}), SourceType::Helm),
        (json!({"path": "chart", "kustomize": {}}), SourceType::Kustomize),
        (json!({"path": "chart", "directory": {}}), SourceType::Directory),
    ] {
        let app = app(json!({"source": source}));
        assert_eq!(source::detect_type(&tree, &app.sources[0]).unwrap(), kind, "{source}");
    }
}

fn tree_of_kinds() -> MapTree {
    MapTree::of([
        ("chart/Chart.yaml", ""),
        ("kust/Kustomization", ""),
        ("both/Chart.yaml", ""),
        ("both/kustomization.yaml", ""),
        ("plain/a.yaml", ""),
    ])
}

#[test]
fn a_tree_lists_and_overlays() {
    let base = MapTree::of([("a/b/x", "1"), ("a/y", "2"), ("ab", "3")]);
    let mut tree = Overlay::on(&base);
    tree.write("a/z", false, "4");
    tree.write("a/y", false, "5");
    let names: Vec<String> = tree.list("a").unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["b", "y", "z"]);
    assert_eq!(tree.list("").unwrap().len(), 2);
    assert_eq!(tree.read("a/y").unwrap(), b"5");
    assert_eq!(tree.read("a/b/x").unwrap(), b"1");
    assert_eq!(tree.entry("a/b").unwrap(), Some(Entry::Dir));
    assert_eq!(tree.entry("").unwrap(), Some(Entry::Dir));
    assert_eq!(tree.entry("a/q").unwrap(), None);
    assert!(tree.read("a").is_err());
}
