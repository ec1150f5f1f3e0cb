//! What people write for commits and branches.

use std::collections::BTreeMap;

use lynceus::core::application::AppKey;
use lynceus::core::image::ImageRef;
use lynceus::core::template::{Functions, Template};
use lynceus::core::update::decision::Change;
use lynceus::core::update::{BranchData, BranchSetting, CommitMessage, Trailers};

use super::Parts;

fn app() -> AppKey {
    AppKey { namespace: "argocd".to_owned(), name: "web".to_owned() }
}

/// One image going from one tag to another, with a label of the new one.
fn change(old: &str, new: &str, label: &str) -> Change {
    let named =
        ImageRef { name: "acme/web".to_owned(), registry: Some("registry.example".to_owned()), ..ImageRef::default() };
    let labels = BTreeMap::from([("org.opencontainers.image.title".to_owned(), label.to_owned())]);
    Change { labels, ..Change::of(named.with_tag(Some(new.to_owned()), None), Some(old.to_owned()), None, "semver") }
}

/// Any commit template with any values: there is a text, and it ends in the lines by which our commits are known, one
/// for the Application and one for each image (CMT-1), whatever the template or a label prints.
pub fn commit_template(input: &[u8]) {
    let mut parts = Parts::of(input);
    let (source, old, new, label) = (parts.text(), parts.text(), parts.text(), parts.text());
    let (app, changes) = (app(), [change(&old, &new, &label)]);
    let message = CommitMessage { app: &app, changes: &changes };
    let text = match Template::parse(&source, Functions::Plain) {
        Ok(template) => message.text(&template).0,
        Err(_) => message.default_text(),
    };
    assert!(!text.trim().is_empty(), "{source:?}");
    let whole = Trailers::default().application(&app, &changes).sign_off("Robot\nX", "r@b.example").after(&text);
    let last: Vec<&str> = whole.lines().rev().take(3).collect();
    assert!(whole.ends_with('\n') && whole.starts_with(text.trim_end()), "{whole:?}");
    assert_eq!(last[0], "Signed-off-by: RobotX <r@b.example>");
    let image = last[1].strip_prefix("Lynceus-Image: ").unwrap_or_else(|| panic!("{whole:?}"));
    assert_eq!(image.split(' ').count(), 5, "{image:?}");
    assert_eq!(last[2], "Lynceus-Application: argocd/web");
}

/// Any branch setting: what it gives is a name that Git takes, by Git's own rules (`git check-ref-format`).
pub fn branch_template(input: &[u8]) {
    let mut parts = Parts::of(input);
    let (text, old, new) = (parts.text(), parts.text(), parts.text());
    let Ok(setting) = BranchSetting::parse(&text) else { return };
    let (app, changes) = (app(), [change(&old, &new, "")]);
    let data = BranchData { app: &app, changes: &changes, target_key: "00000000" };
    if let Some(base) = &setting.base {
        assert!(is_branch(base), "{base:?} of {text:?}");
    }
    if let Ok(name) = setting.push_branch("main", &data) {
        assert!(is_branch(&name) && name.len() <= 255, "{name:?} of {text:?}");
        assert_eq!(setting.push_branch("main", &data).as_deref(), Ok(name.as_str()));
    }
}

/// The rules of `git check-ref-format --branch`, in its order.
fn is_branch(name: &str) -> bool {
    let component = |part: &str| !part.starts_with('.') && !part.ends_with(".lock") && !part.is_empty();
    name.split('/').all(component)
        && !name.contains("..")
        && !name.bytes().any(|b| b < 0x20 || b == 0x7f || b" ~^:?*[\\".contains(&b))
        && !name.ends_with('.')
        && !name.contains("@{")
        && name != "@"
        && !name.starts_with('-')
}
