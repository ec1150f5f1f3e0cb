//! Git as objects, never files: one bare mirror per remote (image-updates.md §17). A round asks a remote once for its
//! refs, reads [`Tip`]s from the mirror, and pushes a [`Chain`] of commits built in memory.
//!
//! libgit2 reads and writes objects; the wire (protocol version 0) is spoken here, over the daemon's one HTTP client
//! or over libssh2, because what became of a push must be known exactly. Nothing forks, nothing is checked out, no
//! hook or filter runs. Deliberately not here: when to push and what to do when the branch moved.

mod address;
mod bomb;
mod commit_id;
mod credentials;
mod error;
mod fetch;
mod https;
mod known_hosts;
mod local;
mod metadata;
mod mirror;
mod objects;
mod pack;
mod packet;
mod remote;
mod settings;
mod ssh;
mod ssh_config;
mod talk;
mod tip;
mod trees;
mod wire;

pub use commit_id::{CommitId, NoCommitId};
pub use credentials::{Credentials, Fields, Login, RepositorySecret, SecretKind, fields};
pub use error::{Error, PushError};
pub use known_hosts::{KnownHosts, Verdict};
pub use metadata::CommitMetadata;
pub use objects::{Author, Chain, MOST_COMMITS, NewCommit};
pub use packet::{Advertised, advertisement};
pub use remote::{LocalGit, Remote};
pub use settings::Settings;
pub use ssh_config::{HostSettings, SshConfig};
pub use tip::Tip;

use crate::adapters::http::Http;
use crate::core::problem::Problem;
use address::Address;
use mirror::{Mirrors, Turn};
use settings::Deadline;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use talk::Update;
use tokio::runtime::Handle;
use url::Url;

/// Everything Git. Cloning is cheap; clones share mirrors and counts.
#[derive(Clone)]
pub struct Git(Arc<Inner>);

struct Inner {
    settings: Arc<Settings>,
    http: Http,
    mirrors: Mirrors,
    counts: Counters,
    told: metadata::Told,
    contested: Mutex<Contested>,
}

/// Branches that moved while they were to be pushed, by access and name, and what their remote said of itself then. The
/// next push to one does not ask again before it sends: others write faster than that, and the remote compares the old
/// id anyhow (GIT-9).
type Contested = HashMap<(u64, String), (Url, packet::Capabilities)>;

/// How often what was done, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Ref advertisements asked for by themselves.
    pub advertisements: u64,
    /// Fetches.
    pub fetches: u64,
    /// Pushes that left, whatever became of them.
    pub pushes: u64,
    /// Mirrors rebuilt because they were damaged.
    pub rebuilt: u64,
    /// Mirrors whose packs were put together.
    pub consolidated: u64,
}

#[derive(Default)]
struct Counters {
    advertisements: AtomicU64,
    fetches: AtomicU64,
    pushes: AtomicU64,
    rebuilt: AtomicU64,
    consolidated: AtomicU64,
}

/// What a blocking operation works with.
#[derive(Clone)]
pub(super) struct Context {
    git: Git,
    http: Http,
    settings: Arc<Settings>,
    runtime: Handle,
    deadline: Deadline,
}

impl Git {
    /// Everything Git, with mirrors below the settings' state directory.
    pub fn new(settings: Settings, http: Http) -> Git {
        let mirrors = Mirrors::below(&settings.state_dir);
        // What is read of a tip is kept parsed by us; libgit2 would keep every small object of a push once more.
        git2::opts::enable_caching(false);
        let settings = Arc::new(settings);
        Git(Arc::new(Inner {
            settings,
            http,
            mirrors,
            counts: Counters::default(),
            told: metadata::Told::default(),
            contested: Mutex::default(),
        }))
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// How often what was done.
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = &self.0.counts;
        Counts {
            advertisements: read(&counts.advertisements),
            fetches: read(&counts.fetches),
            pushes: read(&counts.pushes),
            rebuilt: read(&counts.rebuilt),
            consolidated: read(&counts.consolidated),
        }
    }

    /// What is wrong with the files of [`Settings`], and what in them has no effect (GIT-4). Reads them.
    pub fn notices(&self) -> Vec<Problem> {
        let settings = &self.0.settings;
        let mut problems = match std::fs::read_to_string(&settings.ssh_config) {
            Ok(text) => SshConfig::parse(&text).1,
            Err(_) => Vec::new(),
        };
        if let Ok(text) = std::fs::read_to_string(&settings.known_hosts) {
            problems.extend(KnownHosts::parse(&text).unreadable.into_iter().map(|line| {
                Problem::warning("config-invalid", "is no line of a known_hosts file; it has no effect")
                    .in_object(settings.known_hosts.display().to_string())
                    .at(u32::try_from(line).unwrap_or(u32::MAX), 1)
            }));
        }
        problems
    }

    /// What the remote has right now: one ref advertisement, no fetch, no mirror.
    ///
    /// # Errors
    /// Everything but [`Error::Mirror`] and [`Error::Refused`].
    pub async fn advertise(&self, remote: &Remote) -> Result<Advertised, Error> {
        self.patiently(|| async {
            let remote = remote.clone();
            self.apart(remote.clone(), move |context| context.advertise(&remote)).await
        })
        .await
    }

    /// Whether a push would be let in: its first step, and nothing is sent. What the remote says of a branch's own rules
    /// it says to a push only (`check --connect`).
    ///
    /// # Errors
    /// As [`Git::advertise`].
    pub async fn knock(&self, remote: &Remote) -> Result<(), Error> {
        self.patiently(|| async {
            let remote = remote.clone();
            self.apart(remote.clone(), move |context| context.knock(&remote)).await
        })
        .await
    }

    /// The commit `id` at which `branch` was advertised, readable locally. Fetches only if the mirror lacks it.
    ///
    /// # Errors
    /// [`Error::Missing`] if the branch is gone, or has moved so that `id` cannot be had any more: ask again where it
    /// is.
    pub async fn tip(&self, remote: &Remote, branch: &str, id: CommitId) -> Result<Tip, Error> {
        self.patiently(|| async {
            let (remote, branch) = (remote.clone(), branch.to_owned());
            self.in_turn(remote.clone(), move |turn, context| {
                context.ensure(turn, &remote, &branch, id)?;
                Tip::read(turn, turn.repository()?, &remote, id)
            })
            .await
        })
        .await
    }

    /// What the remote has right now, and the first of these branches that it has, readable locally: one conversation,
    /// in which what the mirror lacks is fetched. Whoever writes reads so: between what he builds on and his push lies as
    /// little as can be (GIT-9).
    ///
    /// # Errors
    /// As [`Git::tip`], without [`Error::Missing`].
    pub async fn newest(&self, remote: &Remote, branches: &[&str]) -> Result<(Advertised, Option<Tip>), Error> {
        self.patiently(|| async {
            let remote = remote.clone();
            let branches: Vec<String> = branches.iter().map(|branch| (*branch).to_owned()).collect();
            self.in_turn(remote.clone(), move |turn, context| {
                let (found, id) = context.newest(turn, &remote, &branches)?;
                let tip = id.map(|id| Tip::read(turn, turn.repository()?, &remote, id)).transpose()?;
                Ok((found, tip))
            })
            .await
        })
        .await
    }

    /// Builds commits on `base`, each the parent of the next, stored as one synced pack in the mirror.
    ///
    /// # Errors
    /// [`Error::Refused`] for a change that must not be written (nothing is built then), [`Error::Mirror`].
    pub async fn build(&self, base: &Tip, commits: Vec<NewCommit>) -> Result<Chain, Error> {
        let base = base.clone();
        self.in_turn(base.remote().clone(), move |turn, _| {
            let repository = turn.repository()?;
            objects::build(turn, &repository, base.id(), &commits)
        })
        .await
    }

    /// Moves `branch` to the chain's tip if it is at `expected` (`None`: if it does not exist), and never otherwise
    /// (GIT-9). An existing branch must be at the chain's base. A chain without commits is pushed already, unless the
    /// branch is to be made.
    ///
    /// # Errors
    /// See [`PushError`]. After [`PushError::Unknown`] ask where the branch is and use [`Git::descends`] (GIT-15).
    pub async fn push(
        &self,
        remote: &Remote,
        branch: &str,
        expected: Option<CommitId>,
        chain: &Chain,
    ) -> Result<(), PushError> {
        if expected.is_some_and(|expected| expected != chain.base) {
            let text = "the commits were not built on what the branch is expected to be".to_owned();
            return Err(PushError::Failed(Error::Config { remote: remote.shown().to_owned(), text }));
        }
        if !git2::Reference::is_valid_name(&format!("refs/heads/{branch}")) {
            let text = format!("{branch:?} is no valid branch name");
            return Err(PushError::Failed(Error::Config { remote: remote.shown().to_owned(), text }));
        }
        if chain.is_empty() && expected.is_some() {
            return Ok(());
        }
        let outcome = self.send(remote, branch, expected, chain).await;
        self.remember(remote, branch, chain, &outcome).await;
        outcome
    }

    async fn send(
        &self,
        remote: &Remote,
        branch: &str,
        expected: Option<CommitId>,
        chain: &Chain,
    ) -> Result<(), PushError> {
        self.0.counts.pushes.fetch_add(1, Ordering::Relaxed);
        let context = self.context();
        let (remote, branch, chain) = (remote.clone(), branch.to_owned(), chain.clone());
        let work = tokio::task::spawn_blocking(move || {
            let pack = if chain.is_empty() { EMPTY_PACK } else { &chain.pack[..] };
            let update = Update { branch: &branch, expected, new: chain.tip, pack };
            match remote.address() {
                Address::Local(path) => local::push(remote.shown(), path, &update),
                _ => talk::push(&remote, &context, &update),
            }
        });
        match tokio::time::timeout(self.patience(), work).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(PushError::Unknown("the push stopped in the middle".into())),
            Err(_) => Err(PushError::Unknown("the push did not end in time".into())),
        }
    }

    /// Bookkeeping in the mirror; what the remote said stands whatever happens here.
    async fn remember(&self, remote: &Remote, branch: &str, chain: &Chain, outcome: &Result<(), PushError>) {
        let (branch, chain) = (branch.to_owned(), chain.clone());
        let landed = match outcome {
            Ok(()) => true,
            Err(PushError::Moved | PushError::Refused(_)) => false,
            Err(PushError::Unknown(_) | PushError::Failed(_)) => return,
        };
        let noted = self.in_turn(remote.clone(), move |turn, context| {
            if !landed {
                turn.drop_pack(&chain.pack_name);
                return Ok(());
            }
            let repository = turn.repository()?;
            if turn.has(&repository, chain.tip)? {
                turn.set_tip(&repository, &branch, chain.tip)?;
            }
            context.consolidate(turn, &repository)
        });
        // A mirror that could not be written is found out, and rebuilt, by the next look.
        let _ = noted.await;
    }

    /// Whether a fetched branch is at `id` or has it behind it: then a push of `id` has landed (GIT-15).
    ///
    /// # Errors
    /// [`Error::Mirror`].
    pub async fn descends(&self, tip: &Tip, id: CommitId) -> Result<bool, Error> {
        Ok(!self.behind(tip, [id].into()).await?.is_empty())
    }

    /// Which of these commits a fetched branch is at or has behind it.
    ///
    /// # Errors
    /// [`Error::Mirror`].
    pub async fn behind(&self, tip: &Tip, mut ids: BTreeSet<CommitId>) -> Result<BTreeSet<CommitId>, Error> {
        let tip = tip.clone();
        self.in_turn(tip.remote().clone(), move |turn, _| {
            let repository = turn.repository()?;
            let damaged = |e: git2::Error| turn.damaged(&e);
            let mut behind = BTreeSet::new();
            // What was written a while ago lies near the tip: one walk finds it all.
            let mut walk = repository.revwalk().map_err(damaged)?;
            walk.push(tip.id().into()).map_err(damaged)?;
            for met in walk.take(ids.len() + NEAR) {
                let met = CommitId::from(met.map_err(damaged)?);
                if ids.remove(&met) {
                    behind.insert(met);
                }
                if ids.is_empty() {
                    break;
                }
            }
            for id in ids {
                if turn.has(&repository, id)?
                    && repository.graph_descendant_of(tip.id().into(), id.into()).map_err(damaged)?
                {
                    behind.insert(id);
                }
            }
            Ok(behind)
        })
        .await
    }

    /// What a commit says (notifications.md HLP-02); `id` has 7 to 40 hex digits. `branch` is where it is looked for
    /// first, `None` the default branch. Remembered by (repository, id), tags for ten minutes (HLP-04).
    ///
    /// # Errors
    /// [`Error::Missing`] if no such commit can be had.
    pub async fn metadata(&self, remote: &Remote, branch: Option<&str>, id: &str) -> Result<CommitMetadata, Error> {
        metadata::of(self, remote, branch, id).await
    }

    fn context(&self) -> Context {
        Context {
            git: self.clone(),
            http: self.0.http.clone(),
            settings: self.0.settings.clone(),
            runtime: Handle::current(),
            deadline: Deadline::new(&self.0.settings),
        }
    }

    fn patience(&self) -> std::time::Duration {
        self.0.settings.operation_timeout + self.0.settings.grace
    }

    /// Runs blocking work that needs no mirror.
    async fn apart<T: Send + 'static>(
        &self,
        remote: Remote,
        work: impl FnOnce(&Context) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let context = self.context();
        let work = tokio::task::spawn_blocking(move || work(&context));
        match tokio::time::timeout(self.patience(), work).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => Err(Error::unreachable(remote.shown(), "the operation stopped in the middle")),
            Err(_) => Err(Error::unreachable(remote.shown(), "not done in time")),
        }
    }

    /// Runs blocking work on the remote's mirror, alone.
    async fn in_turn<T: Send + 'static>(
        &self,
        remote: Remote,
        work: impl FnOnce(&Turn, &Context) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let mirror = self.0.mirrors.of(remote.mirror_id());
        let waiting = tokio::time::timeout(self.patience(), mirror.turn.clone().lock_owned());
        let Ok(guard) = waiting.await else {
            return Err(Error::mirror(remote.shown(), "another operation holds it for too long"));
        };
        let shown = remote.shown().to_owned();
        self.apart(remote, move |context| {
            let turn = Turn::begin(mirror, guard, &shown, context.deadline)?;
            work(&turn, context)
        })
        .await
    }

    /// Repeats what only reads and fails for passing reasons (GIT-13).
    async fn patiently<T, F: Future<Output = Result<T, Error>>>(&self, work: impl Fn() -> F) -> Result<T, Error> {
        let mut failures = 0;
        loop {
            let error = match work().await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            failures += 1;
            let passing = matches!(&error, Error::Unreachable { retry: crate::core::retry::Retry::Backoff, .. });
            if !passing || failures >= self.0.settings.attempts {
                return Err(error);
            }
            tokio::time::sleep(self.0.settings.retry_wait(failures)).await;
        }
    }
}

/// So many commits behind a tip are looked through for those asked for, beside as many as are asked for.
const NEAR: usize = 1_000;

/// A pack of no objects: making a branch at a commit the remote has.
const EMPTY_PACK: &[u8] = &[
    b'P', b'A', b'C', b'K', 0, 0, 0, 2, 0, 0, 0, 0, 0x02, 0x9d, 0x08, 0x82, 0x3b, 0xd8, 0xa8, 0xea, 0xb5, 0x10, 0xad,
    0x6a, 0xc7, 0x5c, 0x82, 0x3c, 0xfd, 0x3e, 0xd3, 0x1e,
];

impl Context {
    /// The same with a little time of its own: for one look after an operation that used up all of its time.
    pub(super) fn afterwards(&self) -> Context {
        Context { deadline: Deadline::after(&self.settings), ..self.clone() }
    }

    /// What is known of a contested branch, once.
    fn contested(&self, remote: &Remote, branch: &str) -> Option<(Url, packet::Capabilities)> {
        let mut contested = self.git.0.contested.lock().unwrap_or_else(|e| e.into_inner());
        contested.remove(&(remote.access(), branch.to_owned()))
    }

    fn contest(&self, remote: &Remote, branch: &str, known: (Url, packet::Capabilities)) {
        let mut contested = self.git.0.contested.lock().unwrap_or_else(|e| e.into_inner());
        contested.insert((remote.access(), branch.to_owned()), known);
    }

    fn advertise(&self, remote: &Remote) -> Result<Advertised, Error> {
        self.git.0.counts.advertisements.fetch_add(1, Ordering::Relaxed);
        match remote.address() {
            Address::Local(path) => local::advertise(remote.shown(), path),
            _ => talk::advertise(remote, self),
        }
    }

    fn knock(&self, remote: &Remote) -> Result<(), Error> {
        match remote.address() {
            Address::Local(path) => local::advertise(remote.shown(), path),
            _ => talk::knock(remote, self),
        }
        .map(drop)
    }
}
