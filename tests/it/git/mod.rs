//! The Git adapter against real parts: repositories on disk, `git http-backend` over TLS, sshd; and against servers
//! that lie.

mod hosts;
mod mirror;
mod push;
mod stage;
mod wire;

use crate::support::real::{GitHttp, Repository};
use crate::support::tls_provider;
use lynceus::adapters::git::{
    Author, Chain, CommitId, Counts, Credentials, Fields, Git, LocalGit, NewCommit, Remote, Settings, Tip,
};
use lynceus::adapters::http::{Gate, Http};
use lynceus::core::writeback::{Entry, FileChange, Tree};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// A Git of one's own: mirrors in a folder that goes with it.
pub struct Bench {
    pub git: Git,
    pub state: TempDir,
}

impl Bench {
    pub fn new() -> Bench {
        Bench::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Settings)) -> Bench {
        tls_provider();
        let state = tempfile::tempdir().expect("a folder");
        let mut settings = Settings::new(state.path());
        settings.known_hosts = state.path().join("known_hosts");
        settings.ssh_config = state.path().join("ssh_config");
        change(&mut settings);
        Bench { git: Git::new(settings, Http::new(Gate::Central)), state }
    }

    /// Trusting the tests' authority for loopback.
    pub fn trusting(server: &GitHttp) -> Bench {
        Bench::trusting_with(server, |_| {})
    }

    pub fn trusting_with(server: &GitHttp, change: impl FnOnce(&mut Settings)) -> Bench {
        let plain = Bench::with(change);
        let http = Http::new(Gate::Central);
        http.set_host_roots(BTreeMap::from([("127.0.0.1".to_owned(), vec![Arc::from(server.ca())])]));
        Bench { git: Git::new(plain.git.settings().clone(), http), state: plain.state }
    }

    pub fn counts(&self) -> Counts {
        self.git.counts()
    }

    /// The branch's tip, as a round sees it.
    pub async fn tip(&self, remote: &Remote, branch: &str) -> Tip {
        let found = self.git.advertise(remote).await.expect("an advertisement");
        self.git.tip(remote, branch, found.branches[branch]).await.expect("a tip")
    }

    /// The only mirror's folder.
    pub fn mirror(&self) -> std::path::PathBuf {
        let found = std::fs::read_dir(self.state.path().join("git")).expect("mirrors");
        let mut dirs = found.filter_map(|e| e.ok().map(|e| e.path())).filter(|path| path.is_dir());
        let dir = dirs.next().expect("a mirror");
        assert!(dirs.next().is_none(), "one mirror");
        dir
    }

    pub fn packs(&self) -> Vec<std::path::PathBuf> {
        let found = std::fs::read_dir(self.mirror().join("objects/pack")).expect("packs");
        found.filter_map(|e| e.ok().map(|e| e.path())).filter(|p| p.extension().is_some_and(|e| e == "pack")).collect()
    }
}

pub fn local(path: &Path) -> Remote {
    Remote::new(path.to_str().expect("text"), Credentials::anonymous(), LocalGit::Allowed).expect("a remote")
}

pub fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), v.as_bytes().to_vec())).collect()
}

pub fn remote(url: &str, pairs: &[(&str, &str)]) -> Remote {
    let credentials = Credentials::from_secret("Secret argocd/repo", &fields(pairs), url).expect("credentials");
    Remote::new(url, credentials, LocalGit::Refused).expect("a remote")
}

/// A commit that sets files to new content on top of `tree`.
pub fn commit(tree: &dyn Tree, message: &str, files: &[(&str, &str)]) -> NewCommit {
    let change = |(path, after): &(&str, &str)| {
        let executable = matches!(tree.entry(path), Ok(Some(Entry::File { executable: true })));
        FileChange {
            path: (*path).to_owned(),
            before: tree.read(path).ok(),
            after: after.as_bytes().to_vec(),
            executable,
        }
    };
    new_commit(message, files.iter().map(change).collect())
}

pub fn new_commit(message: &str, changes: Vec<FileChange>) -> NewCommit {
    let author = Author { name: "Lynceus".into(), email: "noreply@lynceus.example".into() };
    let at = jiff::Timestamp::from_second(1_767_225_600).expect("a time");
    NewCommit { changes, message: message.to_owned(), author, at }
}

/// Chain of one commit per (path, content), each on the one before; the files must not repeat.
pub async fn chain(git: &Git, tip: &Tip, commits: &[(&str, &str)]) -> Chain {
    let commits =
        commits.iter().map(|(path, after)| commit(tip, &format!("change {path}"), &[(path, after)])).collect();
    git.build(tip, commits).await.expect("a chain")
}

pub fn id(text: &str) -> CommitId {
    text.parse().expect("a commit id")
}

/// A bare repository on disk with one commit.
pub fn repository(folder: &Path, files: &[(&str, &str)]) -> Repository {
    let repository = Repository::create(folder, "config.git");
    repository.commit("main", "first", files);
    repository
}
