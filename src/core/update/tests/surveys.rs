//! Surveys: one Application as a whole, from its places to the units of change (image-updates.md §8, §12, §14).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::{candidates, tracked};
use crate::core::application::Application;
use crate::core::image::{Strategy, TagFilter};
use crate::core::update::parent::Parent;
use crate::core::update::plan::{self, Applied};
use crate::core::update::survey::{Inputs, RemoteView, Remotes, SharedTree, Survey, Trouble, Want, survey};
use crate::core::update::{
    AppSettings, BranchSetting, GitCredentials, Method, Refresh, Reverted, State, TrackedImage, claims,
};
use crate::core::writeback::MapTree;

const URL: &str = "https://git/a";

fn app(name: &str, spec: Json, live: &[&str], sync: &str) -> Arc<Application> {
    let object = json!({
        "metadata": {"name": name, "namespace": "argocd", "uid": name, "resourceVersion": "7"},
        "spec": spec,
        "status": {"sourceType": "Helm", "summary": {"images": live}, "sync": {"status": sync}},
    });
    Arc::new(Application::decode(&object.to_string()).unwrap())
}

fn git_source() -> Json {
    json!({"source": {"repoURL": URL, "path": "apps/web", "targetRevision": "main"}})
}

fn settings(method: Method, target: &str, images: Vec<TrackedImage>) -> AppSettings {
    AppSettings {
        images: images.into_iter().map(Arc::new).collect(),
        unreadable: Vec::new(),
        method,
        write_back_target: target.to_owned(),
        git_branch: None,
        git_repository: None,
        refresh: Refresh::Normal,
    }
}

fn git() -> Method {
    Method::Git(GitCredentials::Repocreds)
}

fn placed(item: &str, name: &str, tag: &str) -> TrackedImage {
    let mut image = tracked(Strategy::SemVer, item);
    (image.names.helm_name, image.names.helm_tag) = (name.to_owned(), tag.to_owned());
    image
}

fn tree(files: &[(&str, &str)]) -> SharedTree {
    Arc::new(MapTree::of(files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))))
}

/// One remote whose branches hold these files.
fn remotes(url: &str, branches: &[(&str, &[(&str, &str)])]) -> Remotes {
    let view = RemoteView {
        default: Some("main".to_owned()),
        branches: branches.iter().map(|(name, _)| (*name).to_owned()).collect::<BTreeSet<_>>(),
        trees: branches.iter().map(|(name, files)| ((*name).to_owned(), tree(files))).collect(),
    };
    BTreeMap::from([(crate::core::application::source::normalise_repo_url(url), Ok(Arc::new(view)))])
}

/// What surveys are asked with beside Application and settings.
#[derive(Default)]
struct Beside {
    remotes: Remotes,
    parent: Option<Parent>,
    reverted: BTreeMap<usize, Reverted>,
}

fn surveyed(app: &Arc<Application>, settings: &AppSettings, tags: &[&[&str]], beside: &Beside) -> Survey {
    let candidates: Vec<Result<_, Trouble>> = tags.iter().map(|tags| Ok(candidates(tags))).collect();
    survey(&Inputs {
        app,
        settings,
        remotes: &beside.remotes,
        candidates: &candidates,
        argocd_namespace: "argocd",
        offline: false,
        allow_downgrade: false,
        parent: beside.parent.as_ref(),
        reverted: &beside.reverted,
    })
}

fn states(survey: &Survey) -> Vec<&'static str> {
    survey.images.iter().map(|image| image.state.word()).collect()
}

fn codes(survey: &Survey) -> Vec<&'static str> {
    survey.problems.iter().map(|problem| problem.code).collect()
}

/// The one file that the survey's units change.
fn written(survey: &Survey, files: &[(&str, &str)]) -> String {
    let units: Vec<_> = survey.units.iter().map(|routed| routed.unit.clone()).collect();
    let mut applied = plan::apply(&units, tree(files).as_ref());
    assert_eq!(applied.len(), 1, "{applied:?}");
    match applied.remove(0) {
        Applied::Changed { files, .. } => String::from_utf8(files[0].after.clone()).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn dis_6_fmt_o1_sibling_aliases_in_one_override_file() {
    let family = |alias: &str, tag: &str| {
        let mut image = tracked(Strategy::Alphabetical, &format!("{alias}=acme/app"));
        image.selection.allow = TagFilter::parse(&format!("regexp:^{tag}-")).0;
        (image.names.helm_name, image.names.helm_tag) = (format!("{alias}.name"), format!("{alias}.tag"));
        image
    };
    let settings = settings(git(), "", vec![family("be", "backend"), family("fe", "frontend")]);
    let app = app("web", git_source(), &["acme/app:backend-1", "acme/app:frontend-1"], "Synced");
    let tags: &[&str] = &["backend-1", "backend-2", "frontend-1"];
    let beside = Beside { remotes: remotes(URL, &[("main", &[])]), ..Beside::default() };
    let survey = surveyed(&app, &settings, &[tags, tags], &beside);
    assert_eq!(states(&survey), ["update-due", "up-to-date"]);
    let changes: Vec<String> = survey.units[0].unit.changes.iter().map(|c| c.new.to_string()).collect();
    assert_eq!(changes, ["be=acme/app:backend-2"], "one change");
    let text = written(&survey, &[]);
    for line in ["name: be.tag\n    value: backend-2\n", "name: fe.tag\n    value: frontend-1\n"] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn des_2_the_push_branch_is_read_where_it_exists() {
    let mut settings = settings(git(), "helmvalues:values.yaml", vec![tracked(Strategy::SemVer, "nginx:1.x")]);
    settings.git_branch = Some(BranchSetting::parse("main:update-{{.AppName}}").unwrap());
    let app = app("web", git_source(), &["nginx:1.0.0"], "Synced");
    let file = "apps/web/values.yaml";
    let main: &[(&str, &str)] = &[(file, "image:\n  tag: 1.0.0\n")];
    let pushed: &[(&str, &str)] = &[(file, "image:\n  tag: 1.1.0\n")];
    // Not pushed yet: due, from main. Pushed: the branch holds it. Newer: due again, on the branch.
    let absent = Beside { remotes: remotes(URL, &[("main", main)]), ..Beside::default() };
    let first = surveyed(&app, &settings, &[&["1.1.0"]], &absent);
    assert_eq!((states(&first), first.units[0].branch.as_str()), (vec!["update-due"], "update-web"));
    let present = Beside { remotes: remotes(URL, &[("main", main), ("update-web", pushed)]), ..Beside::default() };
    assert_eq!(states(&surveyed(&app, &settings, &[&["1.1.0"]], &present)), ["up-to-date"]);
    let newer = surveyed(&app, &settings, &[&["1.2.0"]], &present);
    assert_eq!(states(&newer), ["update-due"]);
    assert_eq!(newer.units[0].unit.changes[0].old_text(), "1.1.0", "what the branch holds");
    // Its files are asked for where only its name is known.
    let mut unread = remotes(URL, &[("main", main), ("update-web", pushed)]);
    unread.values_mut().flatten().for_each(|view| drop(Arc::make_mut(view).trees.remove("update-web")));
    let wants = surveyed(&app, &settings, &[&["1.1.0"]], &Beside { remotes: unread, ..Beside::default() }).wants;
    assert_eq!(wants, BTreeSet::from([Want::Branch(URL.to_owned(), "update-web".to_owned())]));
}

#[test]
fn git_12_what_others_spoiled_on_a_push_branch_is_theirs() {
    let mut settings = settings(git(), "helmvalues:values.yaml", vec![tracked(Strategy::SemVer, "nginx:1.x")]);
    settings.git_branch = Some(BranchSetting::parse("main:update").unwrap());
    let app = app("web", git_source(), &["nginx:1.0.0"], "Synced");
    let file = "apps/web/values.yaml";
    let main: &[(&str, &str)] = &[(file, "image:\n  tag: 1.0.0\n")];
    let branches: &[(&str, &[(&str, &str)])] = &[("main", main), ("update", &[(file, "image: [\n")])];
    let survey =
        surveyed(&app, &settings, &[&["1.1.0"]], &Beside { remotes: remotes(URL, branches), ..Beside::default() });
    assert_eq!(states(&survey), ["refused"]);
    assert_eq!(survey.images[0].trouble.as_ref().map(|t| t.kind), Some("foreign-commits"));
    // The same on the base branch is the file's own trouble.
    let broken: &[(&str, &[(&str, &str)])] = &[("main", &[(file, "image: [\n")])];
    let survey =
        surveyed(&app, &settings, &[&["1.1.0"]], &Beside { remotes: remotes(URL, broken), ..Beside::default() });
    assert_eq!(survey.images[0].trouble.as_ref().map(|t| t.kind), Some("yaml-invalid"));
}

#[test]
fn dec_8_unit_is_atomic() {
    let images = vec![placed("a=nginx:1.x", "a.name", "a.tag"), placed("b=redis:7.x", "b.name", "b.list")];
    let settings = settings(git(), "helmvalues:values.yaml", images);
    let app = app("web", git_source(), &["nginx:1.0.0", "redis:7.0.0"], "Synced");
    let files: &[(&str, &str)] = &[("apps/web/values.yaml", "a:\n  tag: 1.0.0\nb: &b\n  x: 1\nc: *b\nb.list: {}\n")];
    let beside = Beside { remotes: remotes(URL, &[("main", files)]), ..Beside::default() };
    let survey = surveyed(&app, &settings, &[&["1.1.0"], &["7.1.0"]], &beside);
    // The second cannot even be read; alone, the first goes on as a unit of its own.
    assert_eq!(states(&survey), ["update-due", "refused"]);
    // Both can be read and one cannot be written: neither is.
    let files: &[(&str, &str)] = &[("apps/web/values.yaml", "a:\n  tag: 1.0.0\nb:\n  list: |\n    7.0.0\n")];
    let beside = Beside { remotes: remotes(URL, &[("main", files)]), ..Beside::default() };
    let survey = surveyed(&app, &settings, &[&["1.1.0"], &["7.1.0"]], &beside);
    assert_eq!((states(&survey), survey.units.len()), (vec!["update-due", "update-due"], 1));
    let units = [survey.units[0].unit.clone()];
    let applied = plan::apply(&units, tree(files).as_ref());
    assert!(matches!(&applied[..], [Applied::Refused(refusal)] if refusal.kind == "yaml-unsafe"), "{applied:?}");
}

#[test]
fn dec_9_argocd_rollback_is_not_fought() {
    let values: &[(&str, &str)] = &[("apps/web/values.yaml", "image:\n  tag: 1.1.0\n")];
    let beside = Beside { remotes: remotes(URL, &[("main", values)]), ..Beside::default() };
    let parameters = json!({"parameters": [{"name": "image.tag", "value": "1.1.0"}]});
    let patched = json!({"source": {"repoURL": URL, "path": "p", "helm": parameters}});
    for (method, target, spec) in [(git(), "helmvalues:values.yaml", git_source()), (Method::Argocd, "", patched)] {
        for sync in ["Synced", "OutOfSync", "Unknown", ""] {
            let settings = settings(method.clone(), target, vec![tracked(Strategy::SemVer, "nginx:1.x")]);
            // Rolled back: 1.0.0 runs again.
            let app = app("web", spec.clone(), &["nginx:1.0.0"], sync);
            let survey = surveyed(&app, &settings, &[&["1.0.0", "1.1.0"]], &beside);
            assert_eq!(states(&survey), ["up-to-date"], "{method:?} {sync}");
            assert!(survey.units.is_empty() && survey.parameters.is_empty());
        }
    }
}

#[test]
fn dec_7_a_hold_is_looked_at_again_with_the_same_answer_of_the_registry() {
    let values: &[(&str, &str)] = &[("apps/web/values.yaml", "image:\n  tag: 1.3.0\n")];
    let beside = Beside { remotes: remotes(URL, &[("main", values)]), ..Beside::default() };
    let app = app("web", git_source(), &["nginx:1.3.0"], "Synced");
    let mut settings = settings(git(), "helmvalues:values.yaml", vec![tracked(Strategy::SemVer, "nginx:1.x")]);
    // One answer, and each setting gives its own state from it.
    let state = |settings: &AppSettings| states(&surveyed(&app, settings, &[&["1.2.0"]], &beside));
    assert_eq!(state(&settings), ["held"]);
    Arc::make_mut(&mut settings.images[0]).allow_downgrade = true;
    assert_eq!(state(&settings), ["update-due"]);
    Arc::make_mut(&mut settings.images[0]).allow_downgrade = false;
    assert_eq!(state(&settings), ["held"]);
}

/// A chart, whose values file lies where `git-repository` says.
fn unread_override() -> (Json, AppSettings) {
    let spec = json!({"source": {"repoURL": "https://charts", "chart": "web", "targetRevision": "1.2.3"}});
    let mut settings = settings(git(), "", vec![tracked(Strategy::SemVer, "nginx:1.x")]);
    settings.git_repository = Some(URL.to_owned());
    (spec, settings)
}

const OVERRIDE: &str = "helm:\n  parameters:\n  - name: image.tag\n    value: 1.1.0\n    forcestring: true\n";

#[test]
fn route_7_route_8_an_override_file_that_nobody_reads_is_shown_and_not_written_again() {
    let (spec, settings) = unread_override();
    let files: &[(&str, &str)] = &[(".argocd-source-web.yaml", OVERRIDE)];
    for (sync, live, tags, state, effective) in [
        // Still to be written; written and not synced since; synced, and the old one runs; the new one runs all the same.
        ("Synced", "nginx:1.0.0", "1.2.0", "update-due", true),
        ("OutOfSync", "nginx:1.0.0", "1.1.0", "up-to-date", true),
        ("Synced", "nginx:1.0.0", "1.1.0", "up-to-date", false),
        ("Synced", "nginx:1.1.0", "1.1.0", "up-to-date", true),
    ] {
        let app = app("web", spec.clone(), &[live], sync);
        let beside = Beside { remotes: remotes(URL, &[("main", files)]), ..Beside::default() };
        let survey = surveyed(&app, &settings, &[&[tags]], &beside);
        assert_eq!(states(&survey), [state], "{sync} {live} {tags}");
        assert_eq!(codes(&survey), ["override-has-no-effect"], "{sync} {live} {tags}");
        assert_eq!(survey.units.is_empty(), state == "up-to-date");
        assert_eq!(survey.images[0].ineffective.is_none(), effective, "{sync} {live} {tags}");
        let reasons = survey.images[0].decision.as_ref().unwrap().reasons.join("; ");
        assert_eq!(reasons.contains("not effective: "), !effective, "{reasons}");
    }
    // A file that is still to be made is warned of too.
    let app = app("web", spec, &["nginx:1.0.0"], "Synced");
    let beside = Beside { remotes: remotes(URL, &[("main", &[])]), ..Beside::default() };
    assert_eq!(codes(&surveyed(&app, &settings, &[&["1.1.0"]], &beside)), ["override-has-no-effect"]);
}

#[test]
fn evt_4_fmt_o2_yml_4_warnings_stand_as_long_as_their_cause() {
    let own = json!({"parameters": [{"name": "replicas", "value": "3"}]});
    let spec = json!({"source": {"repoURL": URL, "path": "apps/web", "targetRevision": "main", "helm": own}});
    let shadowing: &[(&str, &str)] = &[("apps/web/.argocd-source-web.yaml", OVERRIDE)];
    let anchored: &[(&str, &str)] = &[("apps/web/values.yaml", "v: &v 1.1.0\nimage:\n  tag: *v\nside: *v\n")];
    for (target, files, code) in
        [("", shadowing, "parameters-shadowed"), ("helmvalues:values.yaml", anchored, "anchor-shared")]
    {
        let settings = settings(git(), target, vec![tracked(Strategy::SemVer, "nginx:1.x")]);
        let app = app("web", spec.clone(), &["nginx:1.1.0"], "Synced");
        for (tag, state) in [("1.1.0", "up-to-date"), ("1.2.0", "update-due")] {
            let beside = Beside { remotes: remotes(URL, &[("main", files)]), ..Beside::default() };
            let survey = surveyed(&app, &settings, &[&[tag]], &beside);
            assert_eq!((states(&survey), codes(&survey)), (vec![state], vec![code]), "{target}");
            assert!(survey.images[0].trouble.is_none(), "a warning is no refusal");
        }
    }
}

#[test]
fn own_6_what_stands_claims_its_place_too() {
    // Both read one place: it holds what the first wants, and the second would write over it, for ever.
    let files: &[(&str, &str)] = &[("apps/web/values.yaml", "image:\n  tag: 1.1.0\n")];
    let beside = || Beside { remotes: remotes(URL, &[("main", files)]), ..Beside::default() };
    let of = |name: &str, item: &str, tags: &[&str]| {
        let settings = settings(git(), "helmvalues:/apps/web/values.yaml", vec![tracked(Strategy::SemVer, item)]);
        surveyed(&app(name, git_source(), &["nginx:1.1.0"], "Synced"), &settings, &[tags], &beside())
    };
    let (mut one, mut two) = (of("one", "a=nginx:1.x", &["1.1.0"]), of("two", "b=nginx", &["2.0.0"]));
    assert_eq!((states(&one), states(&two)), (vec!["up-to-date"], vec!["update-due"]));
    let all: Vec<_> = one.claims.iter().chain(&two.claims).cloned().collect();
    let met = claims::meet(&all);
    assert_eq!(met.len(), 2, "{met:?}");
    assert!(met[&0].contains("1.1.0 of argocd/one, 2.0.0 of argocd/two"), "{met:?}");
    for (survey, text) in [(&mut one, &met[&0]), (&mut two, &met[&1])] {
        claims::refuse(survey, &BTreeMap::from([(0, text.clone())]));
        assert_eq!((states(survey), survey.units.len()), (vec!["refused"], 0));
        assert_eq!(survey.images[0].trouble.as_ref().map(|t| t.kind), Some("target-collision"));
    }
    // Equal values are no collision.
    let all: Vec<_> =
        ["one", "two"].iter().flat_map(|name| of(name, "a=docker.io/nginx:1.x", &["1.2.0"]).claims).collect();
    assert_eq!((all.len(), claims::meet(&all).len()), (2, 0));
}

#[test]
fn own_6_dec_8_whoever_shares_the_unit_waits_too() {
    let images = vec![
        placed("a=nginx:1.x", "a.name", "x.tag"),
        placed("b=redis:7.x", "b.name", "x.tag"),
        placed("c=mongo:5.x", "c.name", "c.tag"),
    ];
    for (method, target, spec) in [
        (git(), "helmvalues:values.yaml", git_source()),
        (Method::Argocd, "", json!({"source": {"repoURL": URL, "path": "p", "helm": {}}})),
    ] {
        let settings = settings(method, target, images.clone());
        let app = app("web", spec, &["nginx:1.0.0", "redis:7.0.0", "mongo:5.0.0"], "Synced");
        let beside = Beside { remotes: remotes(URL, &[("main", &[])]), ..Beside::default() };
        let mut survey = surveyed(&app, &settings, &[&["1.1.0"], &["7.1.0"], &["5.1.0"]], &beside);
        let met = claims::meet(&survey.claims);
        assert_eq!(met.keys().copied().collect::<Vec<_>>(), [0, 1]);
        claims::refuse(&mut survey, &met);
        assert!(survey.units.is_empty() && survey.parameters.is_empty());
        assert!(matches!(survey.images[0].state, State::Refused), "{:?}", states(&survey));
    }
}

fn parent() -> Parent {
    let object = json!({"metadata": {"name": "apps", "namespace": "argocd"},
        "spec": {"syncPolicy": {"automated": {"selfHeal": true}}}});
    let app = Application::decode(&object.to_string()).unwrap();
    Parent { name: app.label(), app: Some(Arc::new(app)), unread: false }
}

#[test]
fn arg_8_src_10_a_managed_application_is_warned_of_and_what_was_put_back_is_held() {
    let spec = json!({"source": {"repoURL": URL, "path": "p",
        "helm": {"parameters": [{"name": "image.tag", "value": "1.0.0"}]}}});
    let app = app("web", spec, &["nginx:1.0.0"], "Synced");
    let settings = |method| settings(method, "", vec![tracked(Strategy::SemVer, "nginx:1.x")]);
    let held = Reverted { value: "1.1.0".to_owned(), parent: "Application argocd/apps".to_owned() };
    let free = Beside { parent: Some(parent()), ..Beside::default() };
    let holding = Beside { reverted: BTreeMap::from([(0, held)]), parent: Some(parent()), ..Beside::default() };
    let survey = surveyed(&app, &settings(Method::Argocd), &[&["1.1.0"]], &free);
    assert_eq!((states(&survey), codes(&survey)), (vec!["update-due"], vec!["parent-reverts"]));
    assert!(survey.problems[0].text.contains("/spec/source/helm/parameters"), "{}", survey.problems[0]);
    let survey = surveyed(&app, &settings(Method::Argocd), &[&["1.1.0"]], &holding);
    assert_eq!((states(&survey), survey.parameters.len()), (vec!["held"], 0));
    let reason = survey.images[0].decision.as_ref().and_then(|d| d.held.as_ref()).map(|held| held.reason.word());
    assert_eq!(reason, Some("reverted-by-parent"));
    // A newer candidate ends it.
    let survey = surveyed(&app, &settings(Method::Argocd), &[&["1.1.0", "1.2.0"]], &holding);
    assert_eq!((states(&survey), survey.parameters.len()), (vec!["update-due"], 1));
    // Whoever writes to Git has nobody who puts it back.
    let files = Beside { remotes: remotes(URL, &[("main", &[])]), parent: Some(parent()), ..Beside::default() };
    assert_eq!(codes(&surveyed(&app, &settings(git()), &[&["1.1.0"]], &files)), [] as [&str; 0]);
}

#[test]
fn section_14_settings_of_git_are_ignored_with_a_notice_where_the_application_is_patched() {
    let mut settings = settings(Method::Argocd, "helmvalues:values.yaml", vec![tracked(Strategy::SemVer, "nginx:1.x")]);
    settings.git_branch = Some(BranchSetting::parse("main").unwrap());
    let app = app("web", json!({"source": {"repoURL": URL, "path": "p"}}), &["nginx:1.0.0"], "Synced");
    let survey = surveyed(&app, &settings, &[&["1.1.0"]], &Beside::default());
    let notices: Vec<_> = survey.problems.iter().map(|p| (p.severity.word(), p.key.as_str())).collect();
    assert_eq!(notices, [("info", "write-back-target"), ("info", "git-branch")]);
    assert_eq!(states(&survey), ["update-due"]);
}

#[test]
fn inv_8_every_image_has_state() {
    let mut unusable = tracked(Strategy::SemVer, "a=nginx:1.x");
    unusable.unusable = Some(crate::core::problem::Problem::error("config-invalid", "no"));
    let images = vec![
        unusable,
        tracked(Strategy::SemVer, "b=redis:1.x"),
        tracked(Strategy::SemVer, "c=nginx:9.x"),
        tracked(Strategy::SemVer, "d=nginx:1.x"),
    ];
    let settings = settings(git(), "helmvalues:values.yaml", images);
    let app = app("web", git_source(), &["nginx:1.0.0"], "Synced");
    let values: &[(&str, &str)] = &[("apps/web/values.yaml", "image:\n  tag: 1.0.0\n")];
    let beside = Beside { remotes: remotes(URL, &[("main", values)]), ..Beside::default() };
    let tags: &[&str] = &["1.0.0", "1.1.0"];
    let survey = surveyed(&app, &settings, &[tags; 4], &beside);
    assert_eq!(states(&survey), ["failed", "not-live", "no-candidate", "update-due"]);
    for image in &survey.images {
        let reasons = image.decision.as_ref().map(|d| d.reasons.len()).unwrap_or_default();
        assert!(reasons > 0 || image.trouble.is_some(), "{:?}", image.image.image);
    }
    // No remote at hand: each still has one, and says why.
    let survey = surveyed(&app, &settings, &[tags; 4], &Beside::default());
    assert!(survey.images.iter().all(|image| image.state == State::Failed && image.trouble.is_some()));
}

#[test]
fn versions_behind_are_the_tags_above_the_one_in_use() {
    let settings = settings(git(), "helmvalues:values.yaml", vec![tracked(Strategy::SemVer, "nginx:1.x")]);
    let app = app("web", git_source(), &["nginx:1.0.0"], "Synced");
    for (held, behind) in [("1.0.0", 3), ("1.3.0", 0), ("1.1.5", 2), ("main", 4)] {
        let text = format!("image:\n  tag: {held}\n");
        let values: &[(&str, &str)] = &[("apps/web/values.yaml", &text)];
        let beside = Beside { remotes: remotes(URL, &[("main", values)]), ..Beside::default() };
        let survey = surveyed(&app, &settings, &[&["1.0.0", "1.1.0", "1.2.0", "1.3.0", "2.0.0"]], &beside);
        assert_eq!(survey.images[0].behind(), behind, "{held}");
    }
}
