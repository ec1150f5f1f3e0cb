//! Which Applications the notification half evaluates (notifications.md CT-02).

use super::world::World;
use crate::core::application::AppKey;
use crate::core::problem::Problem;

/// Which Applications the notification half evaluates: the control plane's namespace and those that
/// `--application-namespaces` names (CT-02).
pub(super) fn admission(world: &World) -> impl Fn(&AppKey) -> bool + Send + Sync + 'static {
    let own = world.settings.argocd_namespace.clone();
    let (patterns, problems) = namespace_patterns(&world.settings.application_namespaces);
    world.board.problems("application namespaces", problems);
    let offline = world.offline();
    move |key| offline || key.namespace == own || patterns.iter().any(|pattern| pattern.matches(&key.namespace))
}

/// The patterns of `--application-namespaces`; a broken one matches nothing and is said.
fn namespace_patterns(texts: &[String]) -> (Vec<NamespacePattern>, Vec<Problem>) {
    let (mut patterns, mut problems) = (Vec::new(), Vec::new());
    for text in texts {
        match NamespacePattern::parse(text) {
            Ok(pattern) => patterns.push(pattern),
            Err(error) => problems.push(
                Problem::error("NamespacePatternInvalid", format!("`{text}`: {error}"))
                    .in_object("--application-namespaces")
                    .hint("write globs, or regular expressions inside /…/, separated by commas"),
            ),
        }
    }
    (patterns, problems)
}

/// A glob, or a regular expression inside `/…/`.
enum NamespacePattern {
    Glob(crate::core::image::Glob),
    Regex(regex::Regex),
}

impl NamespacePattern {
    fn parse(text: &str) -> Result<NamespacePattern, String> {
        match text.strip_prefix('/').and_then(|t| t.strip_suffix('/')) {
            Some(expression) => {
                let short = |e: regex::Error| e.to_string().lines().last().unwrap_or_default().to_owned();
                regex::Regex::new(expression).map(NamespacePattern::Regex).map_err(short)
            }
            None => {
                let glob = crate::core::image::Glob::parse(text).map(NamespacePattern::Glob);
                glob.ok_or_else(|| "no glob".to_owned())
            }
        }
    }

    fn matches(&self, namespace: &str) -> bool {
        match self {
            NamespacePattern::Glob(glob) => glob.matches(namespace),
            NamespacePattern::Regex(regex) => regex.is_match(namespace),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ct_02_which_namespaces_are_evaluated() {
        let texts = ["team-*", "/^(blue|green)-[0-9]+$/", "exact", "/(/"].map(str::to_owned);
        let (patterns, problems) = namespace_patterns(&texts);
        for (namespace, admitted) in [
            ("team-a", true),
            ("a-team-a", false),
            ("blue-1", true),
            ("blue-x", false),
            ("exact", true),
            ("exactly", false),
            ("", false),
        ] {
            assert_eq!(patterns.iter().any(|p| p.matches(namespace)), admitted, "{namespace}");
        }
        // A broken one is said and harms no other.
        assert_eq!((patterns.len(), problems.len()), (3, 1));
        assert!(problems[0].text.starts_with("`/(/`: "), "{}", problems[0]);
    }
}
