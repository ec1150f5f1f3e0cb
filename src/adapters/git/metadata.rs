//! What a commit says, for messages (notifications.md HLP-01, HLP-02, HLP-04): from the mirror, fetched if it is not
//! there yet.

use super::error::Error;
use super::fetch::Want;
use super::mirror::Turn;
use super::{CommitId, Context, Git, Remote};
use git2::{ErrorCode, Oid, Repository};
use jiff::Timestamp;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long tags are believed; the rest of a commit cannot change (HLP-04).
const TAGS_KEPT: Duration = Duration::from_secs(600);

/// Commits that are remembered.
const MOST_KEPT: usize = 1_000;

/// What a commit says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitMetadata {
    /// The whole message, white space around it removed.
    pub message: String,
    /// `Name <mail>`.
    pub author: String,
    /// Author time.
    pub date: Timestamp,
    /// Names of the tags that point at it, in order.
    pub tags: Vec<String>,
}

/// What was told before.
#[derive(Default)]
pub(super) struct Told(Mutex<HashMap<(String, String), (CommitMetadata, Instant)>>);

impl Told {
    fn fresh(&self, key: &(String, String)) -> Option<CommitMetadata> {
        let kept = self.0.lock().unwrap_or_else(|e| e.into_inner());
        kept.get(key).filter(|(_, at)| at.elapsed() < TAGS_KEPT).map(|(metadata, _)| metadata.clone())
    }

    fn keep(&self, key: (String, String), metadata: &CommitMetadata) {
        let mut kept = self.0.lock().unwrap_or_else(|e| e.into_inner());
        if kept.len() >= MOST_KEPT {
            kept.retain(|_, (_, at)| at.elapsed() < TAGS_KEPT);
        }
        if kept.len() >= MOST_KEPT {
            kept.clear();
        }
        kept.insert(key, (metadata.clone(), Instant::now()));
    }
}

pub(super) async fn of(git: &Git, remote: &Remote, branch: Option<&str>, id: &str) -> Result<CommitMetadata, Error> {
    let id = id.to_ascii_lowercase();
    if !(7..=40).contains(&id.len()) || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        let text = format!("{id:?} is no commit id of 7 to 40 hex digits");
        return Err(Error::Config { remote: remote.shown().to_owned(), text });
    }
    let key = (remote.mirror_id(), id.clone());
    if let Some(known) = git.0.told.fresh(&key) {
        return Ok(known);
    }
    let (remote, branch) = (remote.clone(), branch.map(str::to_owned));
    let metadata = git
        .in_turn(remote.clone(), move |turn, context| {
            let found = context.advertise(&remote)?;
            let branch = branch.or(found.default.clone());
            let look = Look { turn, context, remote: &remote, id: &id };
            context.on_repository(turn, &remote, |repository| {
                let commit = match look.here(repository)? {
                    Some(commit) => commit,
                    None => look.fetched(repository, branch.as_deref())?,
                };
                let tags = found.tags.iter().filter(|(_, at)| **at == commit).map(|(name, _)| name.clone()).collect();
                read(turn, repository, commit, tags)
            })
        })
        .await?;
    git.0.told.keep(key, &metadata);
    Ok(metadata)
}

struct Look<'a> {
    turn: &'a Turn,
    context: &'a Context,
    remote: &'a Remote,
    id: &'a str,
}

impl Look<'_> {
    fn here(&self, repository: &Repository) -> Result<Option<CommitId>, Error> {
        let prefix = Oid::from_str(self.id).map_err(|e| self.turn.damaged(&e))?;
        let odb = repository.odb().map_err(|e| self.turn.damaged(&e))?;
        match odb.exists_prefix(prefix, self.id.len()) {
            Ok(id) if repository.find_commit(id).is_ok() => Ok(Some(id.into())),
            Ok(_) => Ok(None),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) if error.code() == ErrorCode::Ambiguous => {
                let text = format!("{} is the beginning of several ids", self.id);
                Err(Error::Missing { remote: self.remote.shown().to_owned(), text })
            }
            Err(error) => Err(self.turn.damaged(&error)),
        }
    }

    /// First the branch, then the commit by itself: hosts give any commit that some ref reaches.
    fn fetched(&self, repository: &Repository, branch: Option<&str>) -> Result<CommitId, Error> {
        if let Some(branch) = branch {
            self.context.fetch(self.turn, repository, self.remote, Want::Branch(branch))?;
            if let Some(found) = self.here(repository)? {
                return Ok(found);
            }
        }
        if let Ok(whole) = self.id.parse::<CommitId>() {
            let asked = self.context.fetch(self.turn, repository, self.remote, Want::Commit(whole));
            if let (Ok(()), Some(found)) = (asked, self.here(repository)?) {
                return Ok(found);
            }
        }
        Err(Error::Missing { remote: self.remote.shown().to_owned(), text: format!("no commit {}", self.id) })
    }
}

fn read(turn: &Turn, repository: &Repository, id: CommitId, tags: Vec<String>) -> Result<CommitMetadata, Error> {
    let commit = repository.find_commit(id.into()).map_err(|e| turn.damaged(&e))?;
    let author = commit.author();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(CommitMetadata {
        message: text(commit.message_raw_bytes()).trim().to_owned(),
        author: format!("{} <{}>", text(author.name_bytes()), text(author.email_bytes())),
        date: Timestamp::from_second(author.when().seconds()).unwrap_or(Timestamp::UNIX_EPOCH),
        tags,
    })
}
