//! Commit metadata for templates and conditions, from our own mirrors (notifications.md §5.3).

use super::credentials;
use super::world::World;
use crate::adapters::git::{LocalGit, Remote};
use crate::core::application::Application;
use crate::core::notify::variables::Commit;
use crate::core::value::time::Moment;

/// A look-up of one commit may take this long (HLP-04).
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// Looks commits up; without a world (no Git) nothing is known.
#[derive(Clone, Default)]
pub struct CommitSource(Option<World>);

impl CommitSource {
    /// Commits of the remotes that this world reaches.
    pub fn of(world: World) -> CommitSource {
        CommitSource(Some(world))
    }

    /// What a commit of an Application says; `None` if that cannot be found out now. A multi-source Application's
    /// commit is looked for at the source whose synced revision it is, else at every Git source in order (HLP-03).
    pub async fn look_up(&self, app: &Application, id: &str) -> Option<Commit> {
        let world = self.0.as_ref()?;
        let synced = app.status.operation.as_ref().map(|o| o.synced_revisions.as_slice()).unwrap_or_default();
        let at = [synced, app.status.revisions.as_slice()]
            .into_iter()
            .find_map(|revisions| revisions.iter().position(|revision| revision == id));
        let sources: Vec<_> = match at.and_then(|index| app.sources.get(index)) {
            Some(source) => vec![source],
            None => app.sources.iter().collect(),
        };
        for source in sources.into_iter().filter(|source| source.chart.is_none()) {
            let Ok(credentials) = credentials::argocd_credentials(world, &app.project, &source.repo_url) else {
                continue;
            };
            let local = if world.settings.git.allow_local { LocalGit::Allowed } else { LocalGit::Refused };
            let Ok(remote) = Remote::new(&source.repo_url, credentials, local) else { continue };
            let branch = Some(source.target_revision.as_str()).filter(|r| !r.is_empty() && *r != "HEAD");
            let asked = tokio::time::timeout(PATIENCE, world.git.metadata(&remote, branch, id)).await;
            match asked {
                Ok(Ok(found)) => {
                    return Some(Commit {
                        message: found.message,
                        author: found.author,
                        date: Moment { at: found.date, zone: super::notifier::process_zone() },
                        tags: found.tags,
                    });
                }
                Ok(Err(error)) => tracing::debug!(app = %app.key, commit = id, "not found: {error}"),
                Err(_) => tracing::debug!(app = %app.key, commit = id, "not found in time"),
            }
        }
        None
    }
}
