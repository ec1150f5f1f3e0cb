//! Commit messages and branches (image-updates.md §17).

use crate::core::application::AppKey;
use crate::core::image::ImageRef;
use crate::core::update::{BranchData, BranchSetting, Change, CommitMessage, Trailers};
use crate::core::value::Value;

fn key() -> AppKey {
    AppKey { namespace: "argocd".into(), name: "web".into() }
}

fn change(item: &str, old: &str, new: &str) -> Change {
    let part = |text: &str| {
        let (tag, digest) = text.split_once('@').map_or((text, None), |(t, d)| (t, Some(d.to_owned())));
        (Some(tag.to_owned()).filter(|t| !t.is_empty()), digest)
    };
    let image = ImageRef::parse(item).unwrap_or_else(|p| panic!("{p}"));
    let ((old_tag, old_digest), (tag, digest)) = (part(old), part(new));
    Change { new: image.with_tag(tag, digest), old_tag, old_digest, labels: Default::default() }
}

#[test]
fn commit_message_bytes() {
    let (app, changes) = (key(), [change("web=ghcr.io/acme/web", "1.2.3", "1.3.0")]);
    let message = CommitMessage { app: &app, changes: &changes };
    let text = Trailers::default().application(&app, &changes).after(&message.default_text());
    assert_eq!(
        text,
        "build: automatic update of web\n\nupdates image acme/web tag '1.2.3' to '1.3.0'\n\n\
         Lynceus-Application: argocd/web\nLynceus-Image: web ghcr.io/acme/web 1.2.3 -> 1.3.0\n"
    );
    let changes = [change("nginx", "", "1.1@sha256:b"), change("r=redis", "6@sha256:a", "7")];
    let message = CommitMessage { app: &app, changes: &changes };
    let text = Trailers::default().application(&app, &changes).sign_off("bot", "b@x").after(&message.default_text());
    assert_eq!(
        text,
        "build: automatic update of web\n\nupdates image nginx tag '' to 'sha256:b'\n\
         updates image redis tag 'sha256:a' to '7'\n\n\
         Lynceus-Application: argocd/web\nLynceus-Image: - nginx - -> 1.1@sha256:b\n\
         Lynceus-Image: r redis 6@sha256:a -> 7\nSigned-off-by: bot <b@x>\n",
        "cmt_1 cmt_2"
    );
}

#[test]
fn cmt_1_trailers_join_a_trailer_block_and_stay_one_line_each() {
    let (app, changes) = (key(), [change("nginx", "1.0\nSigned-off-by: x", "1.1")]);
    let trailers = Trailers::default().application(&app, &changes);
    let lines = "Lynceus-Application: argocd/web\nLynceus-Image: - nginx 1.0_Signed-off-by:_x -> 1.1\n";
    for (text, between) in [
        ("subject", "\n\n"),
        ("subject: x", "\n\n"),
        ("subject\n\nbody\n\n\n", "\n\n"),
        ("subject\n\nRefs: #1\nReviewed-by: a", "\n"),
        ("subject\n\nbody\nRefs: #1", "\n\n"),
    ] {
        assert_eq!(trailers.after(text), format!("{}{between}{lines}", text.trim_end()), "{text:?}");
    }
}

#[test]
fn commit_templates_fall_back() {
    let (app, changes) = (key(), [change("nginx", "1", "2")]);
    let message = CommitMessage { app: &app, changes: &changes };
    assert_eq!(message.text("", &|_, _| Ok(" \n".into())).0, "Update parameters\n");
    let (text, problem) = message.text("", &|_, _| Err("boom".into()));
    assert_eq!(
        (text.as_str(), problem.map(|p| p.code)),
        ("build: update of application web\n", Some("template-failed"))
    );
}

#[test]
fn commit_template_fields() {
    let (app, mut changes) = (key(), [change("web=ghcr.io/acme/web", "1", "2@sha256:b")]);
    changes[0].labels.insert("rev".into(), "abc".into());
    let value = CommitMessage { app: &app, changes: &changes }.value();
    let Value::Object(message) = &value else { panic!("a record") };
    assert!(message.field("Nope").is_none());
    assert_eq!(message.field("AppName").as_ref().and_then(Value::as_text), Some("web"));
    let Some(Value::List(list)) = message.field("AppChanges") else { panic!("a list") };
    let Value::Object(first) = &list.items[0] else { panic!("a record") };
    for (name, text) in [("Image", "acme/web"), ("OldTag", "1"), ("NewTag", "sha256:b")] {
        assert_eq!(first.field(name).as_ref().and_then(Value::as_text), Some(text), "{name}");
    }
    let Some(Value::Map(labels)) = first.field("Labels") else { panic!("a map") };
    assert_eq!(labels.get("rev").as_ref().and_then(Value::as_text), Some("abc"));
}

#[test]
fn branch_setting_vectors() {
    let setting = |base: Option<&str>, push: Option<&str>| {
        Some(BranchSetting { base: base.map(Into::into), push: push.map(Into::into) })
    };
    for (text, expected) in [
        ("main", setting(Some("main"), None)),
        ("  main ", setting(Some("main"), None)),
        (":x", setting(None, Some("x"))),
        ("main:{{.AppName}}", setting(Some("main"), Some("{{.AppName}}"))),
        ("main:a:b", None),
        ("main:", None),
        (":", None),
        ("", None),
        ("a..b", None),
        ("refs~1:x", None),
    ] {
        assert_eq!(BranchSetting::parse(text).ok(), expected, "{text:?}");
    }
}

#[test]
fn compat_q13_branch_names_and_fields() {
    let (app, changes) = (key(), [change("n=nginx", "1.0", "1.1")]);
    let data = BranchData { app: &app, changes: &changes, target_key: "0a1b2c3d" };
    let push = |text: &str, rendered: &str| {
        let setting = BranchSetting::parse(text).unwrap_or_else(|p| panic!("{p}"));
        setting.push_branch("main", &data, &|_, _| Ok(rendered.to_owned()))
    };
    assert_eq!(push("main", "unused").as_deref(), Ok("main"));
    for name in ["x", "argocd/web", "image-updater-nginx-1.1", "é"] {
        assert_eq!(push("main:t", name).as_deref(), Ok(name));
    }
    for name in [
        "", "a..b", "a b", "/a", "a/", "a//b", ".a", "a/.b", "a.lock", "a.lock/b", "-a", "a.", "@", "a@{b", "a\\b",
        "HEAD", "a\nb", "a^", "a[b",
    ] {
        assert_eq!(push("main:t", name).map_err(|p| p.code), Err("config-invalid"), "{name:?}");
    }
    let long = format!("{}é", "a".repeat(254));
    assert_eq!(push("main:t", &long).map(|n| n.len()), Ok(254), "cut at a character");
    let Ok(sum) = BranchSetting::parse("main:t").and_then(|s| {
        s.push_branch("main", &data, &|_, value| {
            let Value::Object(branch) = value else { return Err("no record".into()) };
            let text = |name: &str| branch.field(name).and_then(|v| v.as_text().map(str::to_owned)).unwrap_or_default();
            Ok(format!("{}-{}-{}-{}", text("SHA256"), text("AppName"), text("AppNamespace"), text("TargetKey")))
        })
    }) else {
        panic!("a branch")
    };
    // printf 'nginx-1.0-1.1,' | sha256sum
    assert_eq!(sum, format!("{NGINX_SUM}-web-argocd-0a1b2c3d"));
    let failed = BranchSetting::parse("main:t").map(|s| s.push_branch("main", &data, &|_, _| Err("no field".into())));
    assert_eq!(failed.map(|r| r.map_err(|p| p.code)), Ok(Err("template-failed")));
}

const NGINX_SUM: &str = "a150150ae01ca62eff6a2e8319db48be89978878178c47184eac413bd9283644";
