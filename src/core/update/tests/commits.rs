//! Commit messages and branches (image-updates.md §17).

use crate::core::application::AppKey;
use crate::core::image::ImageRef;
use crate::core::template::{Functions, Template};
use crate::core::update::{BranchData, BranchSetting, Change, CommitMessage, DEFAULT_TEMPLATE, Trailers};

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
    Change::of(image.with_tag(tag, digest), old_tag, old_digest, "semver")
}

#[test]
fn cmt_1_cmt_2_commit_message_bytes_with_trailers_and_sign_off() {
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

fn template(source: &str) -> Template {
    Template::parse(source, Functions::Plain).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn the_default_template_gives_the_default_text() {
    let app = key();
    for changes in [
        vec![],
        vec![change("web=ghcr.io/acme/web", "1.2.3", "1.3.0")],
        vec![change("nginx", "", "1.1@sha256:b"), change("r=redis", "6@sha256:a", "7")],
    ] {
        let message = CommitMessage { app: &app, changes: &changes };
        assert_eq!(message.text(&template(DEFAULT_TEMPLATE)), (message.default_text(), None));
    }
}

#[test]
fn commit_templates_fall_back() {
    let (app, changes) = (key(), [change("nginx", "1", "2")]);
    let message = CommitMessage { app: &app, changes: &changes };
    assert_eq!(message.text(&template("{{/* */}} \n")), ("Update parameters\n".to_owned(), None));
    let (text, problem) = message.text(&template("{{ .Nope }}"));
    assert_eq!(
        (text.as_str(), problem.map(|p| p.code)),
        ("build: update of application web\n", Some("template-failed"))
    );
    let own = template("{{ range .AppChanges }}{{ .Image }} {{ .OldTag }}-{{ .NewTag }} {{ .Labels.rev }}{{ end }}");
    let mut changes = [change("r=ghcr.io/a/b", "1", "2")];
    changes[0].labels.insert("rev".into(), "abc".into());
    assert_eq!(CommitMessage { app: &app, changes: &changes }.text(&own), ("a/b 1-2 abc".to_owned(), None), "tag_7");
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
        ("main:{{.Nope}}", None),
        ("main:{{range .Images}}{{.Nope}}{{end}}", None),
        ("main:{{upper .AppName}}", None),
        ("main:{{.AppName", None),
        ("main:a..b", None),
    ] {
        assert_eq!(BranchSetting::parse(text).ok(), expected, "{text:?}");
    }
}

/// Of `nginx-1.0-1.1,`, by another program.
const NGINX_SUM: &str = "a150150ae01ca62eff6a2e8319db48be89978878178c47184eac413bd9283644";

#[test]
fn compat_q13_branch_template_vectors() {
    let (app, changes) = (key(), [change("n=nginx", "1.0", "1.1")]);
    let data = BranchData { app: &app, changes: &changes, target_key: "0a1b2c3d" };
    let push = |text: &str| BranchSetting::parse(text).and_then(|setting| setting.push_branch("main", &data));
    for (text, branch) in [
        ("main", "main".to_owned()),
        (":x", "x".to_owned()),
        ("main:é", "é".to_owned()),
        ("main:image-updater{{range .Images}}-{{.Name}}-{{.NewTag}}{{end}}", "image-updater-nginx-1.1".to_owned()),
        ("main:{{range .Images}}{{.Alias}}-{{.OldTag}}{{end}}", "n-1.0".to_owned()),
        ("main:{{.AppNamespace}}/{{.AppName}}", "argocd/web".to_owned()),
        ("main:up-{{.SHA256}}", format!("up-{NGINX_SUM}")),
        ("main:{{.TargetKey}}", "0a1b2c3d".to_owned()),
    ] {
        assert_eq!(push(text), Ok(branch), "{text}");
    }
    for text in ["main:a:b", "main:{{.Nope}}", "main:{{if false}}x{{end}}", "main:a..b", "main:{{printf \"a b\"}}"] {
        assert_eq!(push(text).map_err(|p| p.code), Err("config-invalid"), "{text}");
    }
    assert_eq!(push("main:{{index .Images 3}}").map_err(|p| p.code), Err("template-failed"));
    let long = format!("main:{}é", "a".repeat(254));
    assert_eq!(push(&long).map(|n| n.len()), Ok(254), "cut at a character");
}

#[test]
fn branch_names_are_those_git_accepts() {
    for name in [
        "", "a..b", "a b", "/a", "a/", "a//b", ".a", "a/.b", "a.lock", "a.lock/b", "-a", "a.", "@", "a@{b", "a\\b",
        "HEAD", "a\nb", "a^", "a[b", "a~", "a?", "a*",
    ] {
        let parsed = BranchSetting::parse(&format!("main:{name}"));
        assert_eq!(parsed.map_err(|p| p.code), Err("config-invalid"), "{name:?}");
    }
}
