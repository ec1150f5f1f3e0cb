//! Commit metadata for templates and conditions, from our own mirrors (notifications.md §5.3).

use super::credentials;
use super::world::World;
use crate::adapters::git::{Error, LocalGit, Remote};
use crate::core::application::source::is_git;
use crate::core::application::{Application, Source};
use crate::core::notify::variables::Commit;
use crate::core::retry::Retry;
use crate::core::value::time::Moment;

/// Looks commits up; without a world (no Git) nothing is known.
#[derive(Clone, Default)]
pub struct CommitSource(Option<World>);

/// Why there is no commit to tell of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoCommit {
    /// No repository of the Application has it, or none may be asked: asking again will not help by itself.
    Unknown(String),
    /// A repository could not be asked now (HLP-06).
    Unreachable(String),
}

impl NoCommit {
    /// For people.
    pub fn text(&self) -> &str {
        let (NoCommit::Unknown(text) | NoCommit::Unreachable(text)) = self;
        text
    }
}

impl CommitSource {
    /// Commits of the remotes that this world reaches.
    pub fn of(world: World) -> CommitSource {
        CommitSource(Some(world))
    }

    /// What a commit of an Application says.
    ///
    /// # Errors
    /// [`NoCommit`]; a single repository that cannot be reached leaves it open whether it has the commit.
    pub async fn look_up(&self, app: &Application, id: &str) -> Result<Commit, NoCommit> {
        let Some(world) = &self.0 else { return Err(NoCommit::Unknown("there is no Git here".to_owned())) };
        let wait = world.settings.git.commit_wait;
        if tokio::time::timeout(wait, world.secrets.known(&world.board)).await.is_err() {
            return Err(NoCommit::Unreachable("Argo CD's repositories are not known yet".to_owned()));
        }
        let mut failure = NoCommit::Unknown(format!("no Git repository of the Application is known to have {id}"));
        for source in sources(app, id) {
            match self.one(world, app, source, id).await {
                Ok(commit) => return Ok(commit),
                Err(other @ NoCommit::Unreachable(_)) => failure = other,
                Err(other) if matches!(failure, NoCommit::Unknown(_)) => failure = other,
                Err(_) => {}
            }
        }
        tracing::debug!(app = %app.key, commit = id, "not found: {}", failure.text());
        Err(failure)
    }

    async fn one(&self, world: &World, app: &Application, source: &Source, id: &str) -> Result<Commit, NoCommit> {
        let credentials = credentials::argocd_credentials(world, &app.project, &source.repo_url)
            .map_err(|trouble| NoCommit::Unknown(trouble.text))?;
        let local = if world.settings.git.allow_local { LocalGit::Allowed } else { LocalGit::Refused };
        let remote = Remote::new(&source.repo_url, credentials, local).map_err(|e| NoCommit::Unknown(e.to_string()))?;
        let branch = Some(source.target_revision.as_str()).filter(|r| !r.is_empty() && *r != "HEAD");
        let wait = world.settings.git.commit_wait;
        match tokio::time::timeout(wait, world.git.metadata(&remote, branch, id)).await {
            Ok(Ok(found)) => Ok(Commit {
                message: found.message,
                author: found.author,
                date: Moment { at: found.date, zone: super::notifier::process_zone() },
                tags: found.tags,
            }),
            Ok(Err(error @ (Error::Unreachable { .. } | Error::Mirror { .. }))) if error.retry() != Retry::Never => {
                Err(NoCommit::Unreachable(error.to_string()))
            }
            Ok(Err(error)) => Err(NoCommit::Unknown(error.to_string())),
            Err(_) => {
                let text = format!("{}: no answer within {} s", remote.shown(), wait.as_secs_f64());
                Err(NoCommit::Unreachable(text))
            }
        }
    }
}

/// Where a commit is looked for: the source whose revision it is, else every Git source in order (HLP-03). Revisions of
/// charts and images are no commits.
fn sources<'a>(app: &'a Application, id: &str) -> Vec<&'a Source> {
    let synced = app.status.operation.as_ref().map(|o| o.synced_revisions.as_slice()).unwrap_or_default();
    // An id may be abbreviated.
    let is_it = |revision: &String| !id.is_empty() && revision.starts_with(id);
    let at = [synced, app.status.revisions.as_slice()].into_iter().find_map(|list| list.iter().position(is_it));
    let named = at.and_then(|index| app.sources.get(index)).filter(|_| app.sources.len() > 1);
    match named {
        Some(source) => vec![source],
        None => app.sources.iter().collect(),
    }
    .into_iter()
    .filter(|source| is_git(source))
    .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hlp_03_a_commit_is_looked_for_where_its_revision_stands_else_everywhere() {
        let (a, b, c) = ("a".repeat(40), "b".repeat(40), "c".repeat(40));
        let several = json!([{"repoURL": "https://h/one"}, {"repoURL": "https://charts/x", "chart": "x"},
            {"repoURL": "oci://r/y"}, {"repoURL": "https://h/two"}]);
        let one = json!([{"repoURL": "https://h/one"}]);
        for (sources_of, synced, compared, id, wanted) in [
            (&several, json!([a, "1.0", "sha256:x", b]), json!([]), a.as_str(), vec!["https://h/one"]),
            (&several, json!([a, "1.0", "sha256:x", b]), json!([]), b.as_str(), vec!["https://h/two"]),
            // Abbreviated; only compared so far; nowhere.
            (&several, json!([a, "1.0", "sha256:x", b]), json!([]), &b[..7], vec!["https://h/two"]),
            (&several, json!([]), json!([a, "1.0", "sha256:x", b]), b.as_str(), vec!["https://h/two"]),
            (&several, json!([a, "1.0", "sha256:x", b]), json!([]), c.as_str(), vec!["https://h/one", "https://h/two"]),
            (&several, json!([a, "1.0", "sha256:x", b]), json!([]), "1.0", vec![]),
            (&one, json!([c]), json!([]), a.as_str(), vec!["https://h/one"]),
        ] {
            let object = json!({
                "metadata": {"name": "web"}, "spec": {"sources": sources_of},
                "status": {"operationState": {"syncResult": {"revisions": synced}}, "sync": {"revisions": compared}},
            });
            let app = Application::decode(&object.to_string()).unwrap();
            let found: Vec<&str> = sources(&app, id).into_iter().map(|source| source.repo_url.as_str()).collect();
            assert_eq!(found, wanted, "{id} in {synced} and {compared}");
        }
    }
}
