//! The stage: stand-ins for the world around Lynceus, with scripted faults. Used by `cli/demo.rs` and by tests.
//! [`Stage::start`] puts them together to a small shop under Argo CD.

mod tree;

pub mod argocd;
pub mod cluster;
pub mod inbox;
pub mod registry;
pub mod remote;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use argocd::ArgoCd;
use cluster::ApiServer;
use inbox::{Inbox, Manners};
use registry::{Auth, Registry};
use remote::{GitHost, Repository};

pub use tree::{NAMESPACE, REGISTRY};

/// The branch Argo CD follows.
pub const BRANCH: &str = "main";

/// A whole world on loopback: registry, Git host, API server, Argo CD and an inbox. It holds an App of Apps `root` with
/// `web` (Helm values), `api` (kustomization) and `jobs` (override file), all in sync and healthy.
pub struct Stage {
    /// The registry of `registry.example.com`; it gives tokens for a login, and ETags.
    pub registry: Registry,
    /// The Git host.
    pub git: GitHost,
    /// `shop.git` on it.
    pub repository: Repository,
    /// The API server.
    pub cluster: ApiServer,
    /// Argo CD's sync.
    pub argocd: ArgoCd,
    /// Slack, mail and webhooks.
    pub inbox: Inbox,
    folder: PathBuf,
}

impl Stage {
    /// Starts everything; files go below `folder`. `pace` is the time between two states of a sync.
    ///
    /// # Errors
    /// Of the file system, or if no port can be had.
    pub async fn start(folder: &Path, pace: Duration) -> io::Result<Stage> {
        let account = (tree::USER.to_owned(), tree::PASSWORD.to_owned());
        let registry = Registry::start().await?;
        registry.behave(|habits| {
            habits.auth = Auth::Token(Some(account.clone()));
            habits.etags = true;
        });
        for (name, tag, created) in tree::IMAGES {
            registry.push(name, tag, created, &["linux/amd64", "linux/arm64"]);
        }
        let git = GitHost::start(&folder.join("git"), Some((&account.0, &account.1))).await?;
        let repository = git.repository("shop")?;
        let url = git.url("shop");
        let files = tree::files(&url);
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
        repository.commit(BRANCH, "The shop as it is", &files).map_err(io::Error::other)?;
        let inbox = Inbox::start(Manners::default()).await?;
        let cluster = ApiServer::start().await?;
        for object in tree::objects(&url, &inbox.url(), inbox.mail().port()) {
            cluster.apply(object).map_err(io::Error::other)?;
        }
        let argocd = ArgoCd::start(cluster.clone(), repository.clone(), &url, NAMESPACE, pace).await?;
        let stage = Stage { registry, git, repository, cluster, argocd, inbox, folder: folder.to_owned() };
        std::fs::write(stage.kubeconfig(), stage.cluster.kubeconfig(NAMESPACE))?;
        std::fs::write(stage.registries_conf(), tree::registries(&stage.registry.url()))?;
        Ok(stage)
    }

    /// The kubeconfig file of the API server.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// The registries.conf that leads `registry.example.com` to the stage's registry.
    pub fn registries_conf(&self) -> PathBuf {
        self.folder.join("registries.conf")
    }

    /// The repository's address.
    pub fn git_url(&self) -> String {
        self.git.url("shop")
    }

    /// The same with user and password, for `git clone`.
    pub fn clone_url(&self) -> String {
        let login = format!("http://{}:{}@", tree::USER, tree::PASSWORD);
        self.git_url().replacen("http://", &login, 1)
    }

    /// Pushes an image of `shop/<name>` for two platforms, created now.
    pub fn push_tag(&self, name: &str, tag: &str) -> String {
        let created = jiff::Timestamp::now().to_string();
        self.registry.push(&format!("shop/{name}"), tag, &created, &["linux/amd64", "linux/arm64"])
    }

    /// Lets the next sync of an Application fail with this message.
    pub fn fail_next_sync(&self, application: &str, message: &str) {
        self.argocd.fail_next_sync(application, message);
    }

    /// The Applications as they are now.
    pub fn applications(&self) -> Vec<Value> {
        self.cluster.objects("applications")
    }

    /// One Application as it is now.
    pub fn application(&self, name: &str) -> Option<Value> {
        self.cluster.object("applications", NAMESPACE, name)
    }

    /// The commit the branch is at.
    pub fn tip(&self) -> Option<String> {
        self.repository.tip(BRANCH)
    }
}
