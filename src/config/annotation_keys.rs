//! The keys of annotations that exist, those that come in a later stage, and what people write instead
//! (image-updates.md §3, §4, ANN-6).

use crate::core::problem::{Problem, nearest};

/// Prefix of Argo CD Image Updater's keys.
pub(super) const UPSTREAM: &str = "argocd-image-updater.argoproj.io/";
/// Prefix of the extension keys.
pub(super) const OWN: &str = "lynceus.dev/";

/// Where a key may stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Application-wide only.
    App,
    /// For one alias only.
    Image,
    /// Both.
    Both,
}

const UPSTREAM_KEYS: [(&str, Scope); 16] = [
    ("image-list", Scope::App),
    ("update-strategy", Scope::Both),
    ("force-update", Scope::Both),
    ("allow-tags", Scope::Both),
    ("ignore-tags", Scope::Both),
    ("pull-secret", Scope::Both),
    ("platforms", Scope::Image),
    ("helm.image-name", Scope::Image),
    ("helm.image-tag", Scope::Image),
    ("helm.image-spec", Scope::Image),
    ("kustomize.image-name", Scope::Image),
    ("tag-match", Scope::Image),
    ("write-back-method", Scope::App),
    ("write-back-target", Scope::App),
    ("git-branch", Scope::App),
    ("git-repository", Scope::App),
];

const OWN_KEYS: [(&str, Scope); 5] = [
    ("discover", Scope::Both),
    ("source", Scope::Both),
    ("allow-downgrade", Scope::Both),
    ("refresh", Scope::App),
    ("platforms", Scope::App),
];

/// An extension key that this version knows but does not follow yet.
pub(super) struct Later {
    /// The key without prefix.
    pub(super) name: &'static str,
    /// Whether it may stand for one image.
    pub(super) image: bool,
    /// Whether passing it over could write what its user wants kept back.
    pub(super) blocks: bool,
    /// Values that ask for nothing.
    harmless: &'static [&'static str],
}

const FALSE: &[&str] = &["false", "0", "f", "F", "FALSE", "False"];

const fn image(name: &'static str, blocks: bool, harmless: &'static [&'static str]) -> Later {
    Later { name, image: true, blocks, harmless }
}

const fn app(name: &'static str, blocks: bool, harmless: &'static [&'static str]) -> Later {
    Later { name, image: false, blocks, harmless }
}

const LATER: [Later; 30] = [
    image("pin-digest", true, &["auto"]),
    app("override-parameters", true, &["managed"]),
    image("plugin.name", true, &[]),
    image("plugin.tag", true, &[]),
    image("plugin.spec", true, &[]),
    app("commit-message", false, &[]),
    app("pull-request", true, &["off"]),
    app("pull-request-labels", false, &[]),
    app("pull-request-reviewers", false, &[]),
    app("pull-request-assignees", false, &[]),
    app("pull-request-draft", false, FALSE),
    app("pull-request-title", false, &[]),
    app("pull-request-auto-merge", false, &["off"]),
    app("pull-request-secret", false, &[]),
    image("pause", true, FALSE),
    image("hold", true, &[]),
    image("minimum-age", true, &["0", "0s"]),
    image("window", true, &[]),
    image("promote-after", true, &["none"]),
    image("soak", true, &["0", "0s"]),
    image("rollback", true, &["off"]),
    image("rollback-window", false, &[]),
    image("approve", true, &["none"]),
    image("approved", false, &[]),
    image("release", false, &[]),
    image("respect-revert", true, FALSE),
    image("verify", true, &["none"]),
    image("order", true, &[]),
    image("extract", true, &[]),
    image("interval", false, &[]),
];

/// The extension keys of later stages.
pub(super) fn later() -> impl Iterator<Item = &'static Later> {
    LATER.iter()
}

impl Later {
    /// What is to be said of this value; nothing if it asks for nothing.
    pub(super) fn problem(&self, value: &str) -> Option<Problem> {
        if self.harmless.contains(&value) {
            return None;
        }
        let text = format!("{} is not followed by this version", self.name);
        Some(if self.blocks {
            Problem::error("config-invalid", format!("{text}; nothing is written while it is set"))
                .hint("remove it to go on without it")
        } else {
            Problem::warning("config-invalid", text)
        })
    }
}

const COMMIT_MESSAGE: &str = "lynceus.dev/commit-message (a later version follows it; git.commit-message-template in \
    argocd-image-updater-config is for all Applications)";

/// What people write, and what they mean (ANN-6).
const MEANT: [(&str, &str); 20] = [
    ("git-commit-message", COMMIT_MESSAGE),
    ("git-commit-template", COMMIT_MESSAGE),
    ("image-name", "<alias>.helm.image-name"),
    ("image-tag", "<alias>.helm.image-tag"),
    ("image-spec", "<alias>.helm.image-spec"),
    ("versionConstraint", "the tag part of image-list, as in image-list: web=nginx:1.x"),
    ("version-constraint", "the tag part of image-list, as in image-list: web=nginx:1.x"),
    ("semver-constraint", "the tag part of image-list, as in image-list: web=nginx:1.x"),
    ("update-interval", "lynceus.dev/interval (a later version follows it; --interval is for all Applications)"),
    ("image-pull-secret", "pull-secret"),
    ("enable", "image-list and write-back-method"),
    ("git-path", "write-back-target"),
    ("values-file", "write-back-target: helmvalues:<path>"),
    ("write-back-branch", "git-branch"),
    ("branch", "git-branch"),
    ("git-repo", "git-repository"),
    ("strategy", "update-strategy"),
    ("image-repository", "<alias>.helm.image-name"),
    ("helm.image-repository", "<alias>.helm.image-name"),
    ("tag", "the tag part of image-list, as in image-list: web=nginx:1.x"),
];

/// A warning for each key with a known prefix that nothing reads. `aliases` as they stand in keys.
pub(super) fn unknown<'a>(keys: impl Iterator<Item = &'a String>, aliases: &[String]) -> Vec<Problem> {
    keys.filter_map(|key| {
        let (text, hint) = if let Some(name) = key.strip_prefix(UPSTREAM) {
            judge(name, aliases, &scoped(false), false)?
        } else {
            let name = key.strip_prefix(OWN)?;
            if name.starts_with("notify-") {
                return None;
            }
            judge(name, aliases, &scoped(true), true)?
        };
        Some(Problem::warning("config-invalid", text).at_key(key).hint(hint))
    })
    .collect()
}

fn scoped(own: bool) -> Vec<(&'static str, Scope)> {
    if !own {
        return UPSTREAM_KEYS.to_vec();
    }
    let later = LATER.iter().map(|l| {
        let scope = match (l.image, l.name.starts_with("plugin.")) {
            (true, true) => Scope::Image,
            (true, false) => Scope::Both,
            (false, _) => Scope::App,
        };
        (l.name, scope)
    });
    OWN_KEYS.into_iter().chain(later).collect()
}

/// What is wrong with a key and what would be right; `None` if nothing is.
fn judge(name: &str, aliases: &[String], known: &[(&'static str, Scope)], own: bool) -> Option<(String, String)> {
    let prefix = if own { OWN } else { UPSTREAM };
    // The longest alias that fits: aliases may contain dots and so may keys.
    let alias = aliases
        .iter()
        .filter(|a| name.strip_prefix(a.as_str()).is_some_and(|rest| rest.starts_with('.')))
        .max_by_key(|a| a.len());
    let rest = alias.map_or(name, |a| &name[a.len() + 1..]);
    let scope = |name: &str| known.iter().find(|(k, _)| *k == name).map(|(_, scope)| *scope);
    match (alias, scope(rest)) {
        (Some(_), Some(Scope::Image | Scope::Both)) | (None, Some(Scope::App | Scope::Both)) => return None,
        (Some(_), Some(Scope::App)) => {
            return Some((format!("{rest} concerns the whole Application"), format!("write {prefix}{rest}")));
        }
        (None, Some(Scope::Image)) => {
            return Some((format!("{rest} belongs to one image"), format!("write {prefix}<alias>.{rest}")));
        }
        (_, None) => {}
    }
    // An alias-level key of an alias that is not listed.
    if alias.is_none()
        && let Some((key, _)) =
            known.iter().filter(|(k, s)| *s != Scope::App && is_last_part(name, k)).max_by_key(|(k, _)| k.len())
    {
        let wrong = &name[..name.len() - key.len() - 1];
        let hint = match nearest(wrong, aliases.iter().map(String::as_str)) {
            Some(right) => format!("did you mean {prefix}{right}.{key}?"),
            None if aliases.is_empty() => "no image of the list has an alias".to_owned(),
            None => format!("aliases of the list: {}", aliases.join(", ")),
        };
        return Some((format!("no image with alias {wrong:?} is listed"), hint));
    }
    let text = "no such setting; it is ignored".to_owned();
    let before = alias.map(|a| format!("{a}.")).unwrap_or_default();
    // An alias nobody listed may stand in front of a name nobody knows.
    let last = rest.rsplit('.').next().unwrap_or(rest);
    for word in [rest, last] {
        if let Some((_, right)) = MEANT.iter().find(|(wrong, _)| wrong.eq_ignore_ascii_case(word)) {
            let right = alias.map_or((*right).to_owned(), |a| right.replace("<alias>", a));
            return Some((text, format!("write {right}")));
        }
        if let Some(right) = nearest(word, known.iter().map(|(k, _)| *k)) {
            let before = if scope(right) == Some(Scope::App) { "" } else { before.as_str() };
            return Some((text, format!("did you mean {prefix}{before}{right}?")));
        }
    }
    // The right key under the other prefix.
    let other = scoped(!own);
    if let Some((key, _)) = other.iter().find(|(k, _)| *k == rest) {
        let prefix = if own { UPSTREAM } else { OWN };
        return Some((text, format!("write {prefix}{before}{key}")));
    }
    Some((text, "see the list of annotations".to_owned()))
}

fn is_last_part(name: &str, key: &str) -> bool {
    name.strip_suffix(key).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}
