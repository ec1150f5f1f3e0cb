//! A Git host: bare repositories served over http on loopback, enough of the smart protocol for our adapter and for
//! `git clone`. It can refuse, break off, or let somebody else be faster than a push.

mod smart;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use git2::build::TreeUpdateBuilder;
use git2::{DiffFormat, DiffOptions, FileMode, Signature, Sort};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, io};

/// More than any push of a demonstration.
const MOST_BODY_BYTES: usize = 256 << 20;

/// What happens to a request instead of simply being served. The next request that matches takes the first fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Somebody else changes a file on a branch after the push's refs were read and before it is carried out.
    Moved {
        /// Branch.
        branch: String,
        /// File.
        path: String,
        /// Its new content.
        content: String,
    },
    /// A push is refused with these words, as by a protected branch.
    Refuse(String),
    /// A push is not carried out, and its answer breaks off.
    CutBefore,
    /// A push is carried out, and its answer breaks off.
    CutAfter,
    /// Any request: this status.
    Status(u16),
    /// Any request: nothing happens for so long.
    Stall(Duration),
}

impl Fault {
    fn only_pushes(&self) -> bool {
        !matches!(self, Fault::Status(_) | Fault::Stall(_))
    }
}

/// A running host; stops when dropped. Its repositories stay on disk.
pub struct GitHost {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: tokio::task::JoinHandle<()>,
}

struct Shared {
    folder: PathBuf,
    account: Option<(String, String)>,
    faults: Mutex<VecDeque<Fault>>,
    requests: Mutex<Vec<String>>,
}

impl GitHost {
    /// Serves the repositories below `folder` to everybody, or only to a user with a password.
    ///
    /// # Errors
    /// If no loopback port can be had.
    pub async fn start(folder: &Path, account: Option<(&str, &str)>) -> io::Result<GitHost> {
        let shared = Arc::new(Shared {
            folder: folder.to_owned(),
            account: account.map(|(user, password)| (user.to_owned(), password.to_owned())),
            faults: Mutex::default(),
            requests: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let router = Router::new().fallback(serve).with_state(shared.clone());
        let serving = tokio::spawn(async move {
            // Ends only with the task.
            let _ = axum::serve(listener, router).await;
        });
        Ok(GitHost { address, shared, serving })
    }

    /// `http://127.0.0.1:port/<name>.git`.
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}.git", self.address)
    }

    /// Makes an empty repository with the head branch `main`, or opens the one that is there.
    ///
    /// # Errors
    /// Of the file system, or if the name is not plain.
    pub fn repository(&self, name: &str) -> io::Result<Repository> {
        let Some(path) = self.shared.path_of(&format!("{name}.git")) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain name"));
        };
        fs::create_dir_all(&path)?;
        let mut options = git2::RepositoryInitOptions::new();
        options.bare(true).external_template(false).initial_head("main");
        git2::Repository::init_opts(&path, &options).map_err(io::Error::other)?;
        Ok(Repository { path })
    }

    /// Puts a fault at the end of the queue.
    pub fn script(&self, fault: Fault) {
        lock(&self.shared.faults).push_back(fault);
    }

    /// Faults that no request has met yet.
    pub fn unmet(&self) -> usize {
        lock(&self.shared.faults).len()
    }

    /// Takes the requests seen since the last call: `POST /config.git/git-receive-pack`.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.shared.requests))
    }
}

impl Drop for GitHost {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Shared {
    /// The folder of `name.git`, which may lie in folders but nowhere else.
    fn path_of(&self, name: &str) -> Option<PathBuf> {
        let plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', '\0']);
        (name.ends_with(".git") && name.split('/').all(plain)).then(|| self.folder.join(name))
    }

    fn admits(&self, request: &Request) -> bool {
        let Some((user, password)) = &self.account else { return true };
        let wanted = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        request.headers().get(header::AUTHORIZATION).is_some_and(|given| given.as_bytes() == wanted.as_bytes())
    }

    fn fault(&self, push: bool) -> Option<Fault> {
        let mut faults = lock(&self.faults);
        match faults.front() {
            Some(first) if push || !first.only_pushes() => faults.pop_front(),
            _ => None,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

async fn serve(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let target = request.uri().path_and_query().map(|target| target.as_str().to_owned()).unwrap_or_default();
    lock(&shared.requests).push(format!("{} {target}", request.method()));
    if !shared.admits(&request) {
        let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"git\"")];
        return (StatusCode::UNAUTHORIZED, challenge, "who are you?").into_response();
    }
    let path = request.uri().path().trim_start_matches('/').to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let asked = [("/info/refs", None), ("/git-upload-pack", Some(false)), ("/git-receive-pack", Some(true))];
    let Some((name, push)) = asked.iter().find_map(|(end, push)| Some((path.strip_suffix(end)?, *push))) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let Some(folder) = shared.path_of(name).filter(|folder| folder.exists()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let fault = shared.fault(push == Some(true));
    match &fault {
        Some(Fault::Status(code)) => {
            return StatusCode::from_u16(*code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response();
        }
        Some(Fault::Stall(time)) => tokio::time::sleep(*time).await,
        _ => {}
    }
    let Ok(body) = axum::body::to_bytes(request.into_body(), MOST_BODY_BYTES).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let answer = tokio::task::spawn_blocking(move || answer(&folder, push, &query, &body, fault)).await;
    answer.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// Carries out one request on a thread where waiting is allowed.
fn answer(folder: &Path, push: Option<bool>, query: &str, body: &Bytes, fault: Option<Fault>) -> Response {
    let Ok(repository) = git2::Repository::open_bare(folder) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let (kind, done) = match push {
        None => {
            let Some(service) = query.strip_prefix("service=") else { return StatusCode::FORBIDDEN.into_response() };
            (format!("{service}-advertisement"), smart::advertise(&repository, service))
        }
        Some(false) => ("git-upload-pack-result".into(), smart::upload(&repository, body)),
        Some(true) => {
            let kind = "git-receive-pack-result".to_owned();
            match fault {
                Some(Fault::CutBefore) => return torn(&kind),
                Some(Fault::Refuse(words)) => (kind, smart::refuse(body, &words)),
                Some(Fault::Moved { branch, path, content }) => {
                    let somebody = Repository { path: folder.to_owned() };
                    if somebody.commit(&branch, "somebody else was faster", &[(&path, &content)]).is_err() {
                        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
                    }
                    (kind, smart::receive(&repository, body))
                }
                Some(Fault::CutAfter) => {
                    // What became of it nobody is told.
                    let _ = smart::receive(&repository, body);
                    return torn(&kind);
                }
                _ => (kind, smart::receive(&repository, body)),
            }
        }
    };
    match done {
        Ok(bytes) => {
            let headers = [(header::CONTENT_TYPE, format!("application/x-{kind}"))];
            (headers, [(header::CACHE_CONTROL, "no-cache")], bytes).into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

/// An answer that breaks off after its first bytes.
fn torn(kind: &str) -> Response {
    let pieces: [Result<&[u8], io::Error>; 2] = [Ok(b"00"), Err(io::Error::other("cut"))];
    let body = Body::from_stream(futures::stream::iter(pieces));
    ([(header::CONTENT_TYPE, format!("application/x-{kind}"))], body).into_response()
}

/// A repository of the host, as somebody else sees and changes it.
#[derive(Clone, Debug)]
pub struct Repository {
    path: PathBuf,
}

/// A commit, as shown to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// 40 hex digits.
    pub id: String,
    /// Author's name.
    pub author: String,
    /// Whole message.
    pub message: String,
}

impl Repository {
    /// Where it is on disk.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Commits files (path, new content) on a branch as somebody else; the branch is made if it does not exist. Gives
    /// the commit's id.
    ///
    /// # Errors
    /// Of Git.
    pub fn commit(&self, branch: &str, message: &str, files: &[(&str, &str)]) -> Result<String, git2::Error> {
        let repository = self.open()?;
        let name = format!("refs/heads/{branch}");
        let parent = repository.find_reference(&name).ok().and_then(|found| found.peel_to_commit().ok());
        let base = match &parent {
            Some(parent) => parent.tree()?,
            None => repository.find_tree(repository.treebuilder(None)?.write()?)?,
        };
        let mut updates = TreeUpdateBuilder::new();
        for (path, content) in files {
            updates.upsert(*path, repository.blob(content.as_bytes())?, FileMode::Blob);
        }
        let tree = repository.find_tree(updates.create_updated(&repository, &base)?)?;
        let author = Signature::now("Somebody Else", "somebody@example.com")?;
        let parents: Vec<&git2::Commit<'_>> = parent.iter().collect();
        repository.commit(Some(&name), &author, &author, message, &tree, &parents).map(|id| id.to_string())
    }

    /// The commit a branch is at.
    pub fn tip(&self, branch: &str) -> Option<String> {
        let found = self.open().ok()?.find_reference(&format!("refs/heads/{branch}")).ok()?.target();
        found.map(|id| id.to_string())
    }

    /// A file's content on a branch.
    pub fn read(&self, branch: &str, path: &str) -> Option<String> {
        let repository = self.open().ok()?;
        let tree = repository.find_reference(&format!("refs/heads/{branch}")).ok()?.peel_to_tree().ok()?;
        let object = tree.get_path(Path::new(path)).ok()?.to_object(&repository).ok()?;
        Some(String::from_utf8_lossy(object.as_blob()?.content()).into_owned())
    }

    /// The files right below a folder of a branch, as whole paths.
    pub fn files(&self, branch: &str, folder: &str) -> Vec<String> {
        let read = || -> Result<Vec<String>, git2::Error> {
            let repository = self.open()?;
            let tree = repository.find_reference(&format!("refs/heads/{branch}"))?.peel_to_tree()?;
            let below = tree.get_path(Path::new(folder))?.to_object(&repository)?.peel_to_tree()?;
            let files = below.iter().filter(|entry| entry.kind() == Some(git2::ObjectType::Blob));
            Ok(files.map(|entry| format!("{folder}/{}", String::from_utf8_lossy(entry.name_bytes()))).collect())
        };
        read().unwrap_or_default()
    }

    /// The commits of a branch, newest first.
    pub fn log(&self, branch: &str) -> Vec<Commit> {
        let read = || -> Result<Vec<Commit>, git2::Error> {
            let repository = self.open()?;
            let mut walk = repository.revwalk()?;
            walk.set_sorting(Sort::TOPOLOGICAL)?;
            walk.push_ref(&format!("refs/heads/{branch}"))?;
            walk.map(|id| {
                let commit = repository.find_commit(id?)?;
                let author = String::from_utf8_lossy(commit.author().name_bytes()).into_owned();
                let message = String::from_utf8_lossy(commit.message_bytes()).into_owned();
                Ok(Commit { id: commit.id().to_string(), author, message })
            })
            .collect()
        };
        read().unwrap_or_default()
    }

    /// What a commit changed, as a patch; empty if there is no such commit.
    pub fn diff(&self, id: &str) -> String {
        let read = || -> Result<String, git2::Error> {
            let repository = self.open()?;
            let commit = repository.revparse_single(id)?.peel_to_commit()?;
            let before = commit.parent(0).ok().and_then(|parent| parent.tree().ok());
            let mut options = DiffOptions::new();
            options.context_lines(1);
            let diff = repository.diff_tree_to_tree(before.as_ref(), Some(&commit.tree()?), Some(&mut options))?;
            let mut text = String::new();
            diff.print(DiffFormat::Patch, |_, _, line| {
                if matches!(line.origin(), '+' | '-' | ' ') {
                    text.push(line.origin());
                }
                text.push_str(&String::from_utf8_lossy(line.content()));
                true
            })?;
            Ok(text)
        };
        read().unwrap_or_default()
    }

    fn open(&self) -> Result<git2::Repository, git2::Error> {
        git2::Repository::open_bare(&self.path)
    }
}
