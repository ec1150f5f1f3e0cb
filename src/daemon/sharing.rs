//! Which repositories several remotes' rounds ask: what one of them learns of those serves the others too
//! (image-updates.md CYC-5). Of all others nothing is kept.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::config::annotations;
use crate::core::application::{AppKey, Application};
use crate::core::image::Repository;

/// The repositories of every governed Application, by the group whose rounds look at it. As a rule each Application has
/// one repository and each repository one group, so they stand in lists: a map's smallest node has room for eleven.
#[derive(Default)]
pub struct Sharing {
    apps: HashMap<AppKey, (Arc<str>, Box<[Repository]>)>,
    /// How many Applications of each group use a repository.
    users: HashMap<Repository, Vec<(Arc<str>, usize)>>,
}

impl Sharing {
    /// An Application as it is now; without group it is not looked at.
    pub fn set(&mut self, app: &Application, group: Option<&str>) {
        self.forget(&app.key);
        let Some(group) = group.map(Arc::<str>::from) else { return };
        let images = annotations::settings(app).0.map(|settings| settings.images).unwrap_or_default();
        let repositories: BTreeSet<Repository> = images.iter().map(|image| image.repository()).collect();
        for repository in &repositories {
            let groups = self.users.entry(repository.clone()).or_default();
            match groups.iter_mut().find(|(known, _)| *known == group) {
                Some((_, count)) => *count += 1,
                None => groups.push((group.clone(), 1)),
            }
        }
        self.apps.insert(app.key.clone(), (group, repositories.into_iter().collect()));
    }

    /// An Application is gone.
    pub fn forget(&mut self, key: &AppKey) {
        let Some((group, repositories)) = self.apps.remove(key) else { return };
        for repository in repositories {
            let Some(groups) = self.users.get_mut(&repository) else { continue };
            groups.iter_mut().filter(|(known, _)| *known == group).for_each(|(_, count)| *count -= 1);
            groups.retain(|(_, count)| *count > 0);
            if groups.is_empty() {
                self.users.remove(&repository);
            }
        }
    }

    /// The repositories of a group that others ask too.
    pub fn shared(&self, group: &str) -> BTreeSet<Repository> {
        let several = self
            .users
            .iter()
            .filter(|(_, groups)| groups.len() > 1 && groups.iter().any(|(known, _)| **known == *group));
        several.map(|(repository, _)| repository.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cyc_5_only_what_several_groups_use_is_shared() {
        let app = |name: &str, list: &str| {
            let annotations = serde_json::json!({"argocd-image-updater.argoproj.io/image-list": list});
            let object =
                serde_json::json!({"metadata": {"namespace": "argocd", "name": name, "annotations": annotations}});
            Application::decode(&object.to_string()).expect("an Application")
        };
        let mut sharing = Sharing::default();
        sharing.set(&app("a", "ghcr.io/x/one, ghcr.io/x/two"), Some("git-1"));
        sharing.set(&app("b", "ghcr.io/x/two"), Some("git-1"));
        assert!(sharing.shared("git-1").is_empty());
        sharing.set(&app("c", "ghcr.io/x/two, ghcr.io/x/three"), Some("git-2"));
        for group in ["git-1", "git-2"] {
            let paths: Vec<String> = sharing.shared(group).into_iter().map(|r| r.path).collect();
            assert_eq!(paths, ["x/two"], "{group}");
        }
        assert!(sharing.shared("git-3").is_empty());
        sharing.set(&app("c", "ghcr.io/x/three"), Some("git-2"));
        assert!(sharing.shared("git-1").is_empty());
        sharing.set(&app("c", "ghcr.io/x/two"), Some("git-2"));
        sharing.forget(&app("a", "x").key);
        assert_eq!(sharing.shared("git-2").len(), 1);
        sharing.set(&app("b", "ghcr.io/x/two"), None);
        assert!(sharing.shared("git-2").is_empty());
    }
}
