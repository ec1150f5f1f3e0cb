//! Bare repositories, filled and read with the `git` program, and served by `git http-backend` behind a small
//! authenticated front that can fail on command.

use std::collections::VecDeque;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::support::front::{self, Cut, Front, Request, Response};
use crate::support::tls::Authority;

/// The content type of the answer to a push.
const RESULT: &str = "application/x-git-receive-pack-result";

/// A bare repository on disk. Branch `main` is its head.
#[derive(Clone)]
pub struct Repository {
    path: PathBuf,
}

impl Repository {
    /// Makes `<folder>/<name>`; `name` may hold slashes and usually ends with `.git`.
    pub fn create(folder: &Path, name: &str) -> Repository {
        let path = folder.join(name);
        std::fs::create_dir_all(&path).expect("a folder");
        let repository = Repository { path };
        repository.git(&["init", "--quiet", "--bare", "--initial-branch=main", "."]);
        repository.git(&["config", "http.receivepack", "true"]);
        repository
    }

    /// Where it is on disk.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `git` in it and gives what it printed, without the last line end; panics if it fails.
    pub fn git(&self, arguments: &[&str]) -> String {
        self.git_with_input(arguments, b"")
    }

    fn git_with_input(&self, arguments: &[&str], input: &[u8]) -> String {
        let mut command = Command::new("git");
        command.args(arguments).current_dir(&self.path).stdin(Stdio::piped());
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("git is installed");
        child.stdin.take().expect("a pipe").write_all(input).expect("git reads");
        let output = child.wait_with_output().expect("git ends");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {}: {errors}", arguments.join(" "));
        String::from_utf8(output.stdout).expect("text").trim_end_matches('\n').to_owned()
    }

    /// Commits `files` (path, new content) on a branch, on top of what it holds, as somebody who is not us; gives
    /// the commit's id. The branch is made if it does not exist.
    pub fn commit(&self, branch: &str, message: &str, files: &[(&str, &str)]) -> String {
        let mut stream = Vec::new();
        write!(stream, "commit refs/heads/{branch}\ncommitter Test <test@example.com> 1767225600 +0000\n").unwrap();
        write!(stream, "data {}\n{message}\n", message.len()).unwrap();
        if let Some(tip) = self.tip(branch) {
            writeln!(stream, "from {tip}").unwrap();
        }
        for (path, content) in files {
            write!(stream, "M 100644 inline {path}\ndata {}\n{content}\n", content.len()).unwrap();
        }
        stream.extend_from_slice(b"done\n");
        self.git_with_input(&["fast-import", "--quiet", "--done"], &stream);
        self.tip(branch).expect("the branch now exists")
    }

    /// The commit a branch is at.
    pub fn tip(&self, branch: &str) -> Option<String> {
        let line = self.git(&["for-each-ref", "--format=%(objectname)", &format!("refs/heads/{branch}")]);
        (!line.is_empty()).then_some(line)
    }

    /// A file's content at a branch (or any revision).
    pub fn read(&self, revision: &str, path: &str) -> String {
        let mut command = Command::new("git");
        command.args(["cat-file", "blob", &format!("{revision}:{path}")]).current_dir(&self.path);
        let output = command.output().expect("git is installed");
        assert!(output.status.success(), "{revision}:{path}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// Commit ids of a branch, newest first.
    pub fn log(&self, branch: &str) -> Vec<String> {
        self.git(&["rev-list", "--topo-order", branch]).lines().map(str::to_owned).collect()
    }

    /// A commit's whole message.
    pub fn message(&self, revision: &str) -> String {
        self.git(&["log", "-1", "--format=%B", revision])
    }

    /// What a commit changed, as a diff without context.
    pub fn diff(&self, revision: &str) -> String {
        self.git(&["show", "--format=", "--unified=0", revision])
    }

    /// Checks every object and link.
    pub fn check(&self) {
        self.git(&["fsck", "--strict", "--no-dangling"]);
    }
}

/// What the front does to one request instead of simply serving it. The next request that matches takes the first
/// fault in the queue.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Waits, then serves.
    Delay(Duration),
    /// A push's pack is taken and the answer breaks off; the branch did not move.
    CutBeforePush,
    /// A push is carried out and the answer breaks off.
    CutAfterPush,
    /// Any request: the connection is cut without an answer.
    Cut,
    /// Any request: answered with this status and text.
    Refuse(u16, String),
    /// Any request: redirected to this prefix in place of the front's own.
    Redirect(String),
    /// Somebody else commits this (branch, path, content) after the advertisement and before the push is carried out.
    MoveBranch(String, String, String),
    /// A push's pack is taken, this happens, and the push is not carried out.
    InsteadOfPush(Hook),
    /// This happens, then after so long a push is carried out, whether or not its sender still lives.
    BeforePush(Hook, Duration),
    /// A push is carried out, then this happens, and the answer breaks off.
    AfterPush(Hook),
}

/// Something a test does at a step of a push.
#[derive(Clone)]
pub struct Hook(Arc<dyn Fn() + Send + Sync>);

impl Hook {
    /// Runs on the front's thread, which serves nobody meanwhile.
    pub fn new(action: impl Fn() + Send + Sync + 'static) -> Hook {
        Hook(Arc::new(action))
    }
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook")
    }
}

impl Fault {
    fn only_pushes(&self) -> bool {
        !matches!(self, Fault::Delay(_) | Fault::Cut | Fault::Refuse(..) | Fault::Redirect(_))
    }
}

struct Shared {
    folder: PathBuf,
    /// Accepted (user, password); `None`: everybody.
    account: Option<(String, String)>,
    faults: Mutex<VecDeque<Fault>>,
    requests: Mutex<Vec<String>>,
    served: Mutex<Vec<Served>>,
}

/// One request that was answered.
#[derive(Clone, Debug)]
pub struct Served {
    /// `POST /x.git/git-receive-pack`.
    pub request: String,
    /// When it came.
    pub from: Instant,
    /// When its answer was ready.
    pub to: Instant,
    /// Bytes of its body and of the answer's.
    pub bytes: (u64, u64),
}

/// Repositories below one folder, served over HTTPS (or plain HTTP).
pub struct GitHttp {
    front: Front,
    scheme: &'static str,
    shared: Arc<Shared>,
    // Last: the folder goes when nobody serves it any more.
    _folder: tempfile::TempDir,
}

impl GitHttp {
    /// HTTPS by the shared authority, only for this user and password.
    pub fn start(user: &str, password: &str) -> GitHttp {
        GitHttp::serve(Some(Authority::shared().server_config()), Some((user.to_owned(), password.to_owned())))
    }

    /// HTTPS with a certificate of another authority, open to everybody.
    pub fn start_signed_by(authority: &Authority) -> GitHttp {
        GitHttp::serve(Some(authority.server_config()), None)
    }

    /// Plain HTTP, open to everybody.
    pub fn start_plain() -> GitHttp {
        GitHttp::serve(None, None)
    }

    fn serve(tls: Option<Arc<rustls::ServerConfig>>, account: Option<(String, String)>) -> GitHttp {
        let folder = tempfile::tempdir().expect("a folder");
        let shared = Arc::new(Shared {
            folder: folder.path().to_owned(),
            account,
            faults: Mutex::default(),
            requests: Mutex::default(),
            served: Mutex::default(),
        });
        let scheme = if tls.is_some() { "https" } else { "http" };
        let serving = shared.clone();
        let front = Front::start(tls, move |request| answer(serving.clone(), request));
        GitHttp { front, scheme, shared, _folder: folder }
    }

    /// Makes a repository, served as [`GitHttp::url`] of the same name.
    pub fn repository(&self, name: &str) -> Repository {
        Repository::create(&self.shared.folder, name)
    }

    /// `https://127.0.0.1:port/<name>`, without credentials.
    pub fn url(&self, name: &str) -> String {
        format!("{}://{}/{name}", self.scheme, self.front.address())
    }

    /// The authority to trust, PEM.
    pub fn ca(&self) -> String {
        Authority::shared().pem()
    }

    /// Puts a fault at the end of the queue.
    pub fn fail_next(&self, fault: Fault) {
        self.shared.faults.lock().unwrap().push_back(fault);
    }

    /// Takes the requests seen since the last call: `GET /x.git/info/refs?service=git-upload-pack`.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.requests.lock().unwrap())
    }

    /// Something about the requests answered since [`GitHttp::served`] was called last.
    pub fn so_far<T>(&self, about: impl FnOnce(&[Served]) -> T) -> T {
        about(&self.shared.served.lock().unwrap())
    }

    /// Takes the requests answered since the last call, with their times.
    pub fn served(&self) -> Vec<Served> {
        std::mem::take(&mut self.shared.served.lock().unwrap())
    }
}

async fn answer(shared: Arc<Shared>, request: Request) -> Result<Response, Cut> {
    use hyper::body::Body;
    let (from, sent) = (Instant::now(), request.body().len() as u64);
    let target = request.uri().path_and_query().map(|p| p.as_str().to_owned()).unwrap_or_default();
    let line = format!("{} {target}", request.method());
    // Carried out to its end also when the client leaves, as servers do.
    let answer = tokio::spawn(carry_out(shared.clone(), request)).await.unwrap_or(Err(Cut));
    let got = answer.as_ref().ok().and_then(|answer| answer.body().size_hint().exact()).unwrap_or(0);
    let served = Served { request: line, from, to: Instant::now(), bytes: (sent, got) };
    shared.served.lock().unwrap().push(served);
    answer
}

async fn carry_out(shared: Arc<Shared>, request: Request) -> Result<Response, Cut> {
    let path = request.uri().path().to_owned();
    let target = request.uri().path_and_query().map(|p| p.as_str().to_owned()).unwrap_or_default();
    shared.requests.lock().unwrap().push(format!("{} {target}", request.method()));
    let user = match (&shared.account, front::basic(&request)) {
        (None, given) => given.map(|(user, _)| user),
        (Some(account), Some(given)) if *account == given => Some(given.0),
        _ => {
            let mut refused = front::text(401, "who are you?");
            refused.headers_mut().insert("www-authenticate", "Basic realm=\"git\"".parse().expect("a header"));
            return Ok(refused);
        }
    };
    let push = request.method() == hyper::Method::POST && path.ends_with("/git-receive-pack");
    let fault = {
        let mut faults = shared.faults.lock().unwrap();
        match faults.front() {
            Some(first) if push || !first.only_pushes() => faults.pop_front(),
            _ => None,
        }
    };
    let serve = || backend(&shared.folder, &request, user.clone());
    match fault {
        None => Ok(serve().await),
        Some(Fault::Delay(time)) => {
            tokio::time::sleep(time).await;
            Ok(serve().await)
        }
        Some(Fault::CutBeforePush) => Ok(front::torn(RESULT)),
        Some(Fault::CutAfterPush) => {
            serve().await;
            Ok(front::torn(RESULT))
        }
        Some(Fault::InsteadOfPush(hook)) => {
            (hook.0)();
            Ok(front::torn(RESULT))
        }
        Some(Fault::BeforePush(hook, time)) => {
            (hook.0)();
            tokio::time::sleep(time).await;
            Ok(serve().await)
        }
        Some(Fault::AfterPush(hook)) => {
            serve().await;
            (hook.0)();
            Ok(front::torn(RESULT))
        }
        Some(Fault::Cut) => Err(Cut),
        Some(Fault::Refuse(status, text)) => Ok(front::text(status, text)),
        Some(Fault::Redirect(prefix)) => {
            let mut moved = front::text(302, "");
            moved.headers_mut().insert("location", format!("{prefix}{target}").parse().expect("a header"));
            Ok(moved)
        }
        Some(Fault::MoveBranch(branch, file, content)) => {
            let name = path.trim_start_matches('/').trim_end_matches("/git-receive-pack");
            let repository = Repository { path: shared.folder.join(name) };
            let commit = move || repository.commit(&branch, "somebody else was faster", &[(&file, &content)]);
            tokio::task::spawn_blocking(commit).await.expect("the commit succeeds");
            Ok(serve().await)
        }
    }
}

/// Runs `git http-backend` as the CGI program it is.
async fn backend(folder: &Path, request: &Request, user: Option<String>) -> Response {
    let header = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let mut command = tokio::process::Command::new("git");
    command.arg("http-backend").current_dir(folder).kill_on_drop(true);
    command.env("GIT_PROJECT_ROOT", folder).env("GIT_HTTP_EXPORT_ALL", "1").env("GIT_CONFIG_NOSYSTEM", "1");
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("REMOTE_ADDR", "127.0.0.1");
    command.env("REQUEST_METHOD", request.method().as_str()).env("PATH_INFO", request.uri().path());
    command.env("QUERY_STRING", request.uri().query().unwrap_or_default()).env("CONTENT_TYPE", header("content-type"));
    command.env("CONTENT_LENGTH", request.body().len().to_string());
    command.env("HTTP_CONTENT_ENCODING", header("content-encoding")).env("GIT_PROTOCOL", header("git-protocol"));
    if let Some(user) = user {
        command.env("REMOTE_USER", user);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("git is installed");
    let mut input = child.stdin.take().expect("a pipe");
    let body = request.body().clone();
    let writer = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        input.write_all(&body).await.ok();
    });
    let output = child.wait_with_output().await.expect("the backend ends");
    writer.await.ok();
    cgi(&output.stdout)
}

fn cgi(output: &[u8]) -> Response {
    let Some(end) = output.windows(4).position(|w| w == b"\r\n\r\n") else {
        return front::text(500, "the backend said nothing");
    };
    let head = String::from_utf8_lossy(&output[..end]);
    let mut response = front::text(200, Bytes::copy_from_slice(&output[end + 4..]));
    for line in head.lines() {
        let Some((name, value)) = line.split_once(": ") else { continue };
        if name.eq_ignore_ascii_case("status") {
            let status = value.split(' ').next().and_then(|s| s.parse().ok()).unwrap_or(500);
            *response.status_mut() = hyper::StatusCode::from_u16(status).expect("a status");
        } else {
            let name: hyper::header::HeaderName = name.parse().expect("a header name");
            response.headers_mut().append(name, value.parse().expect("a header value"));
        }
    }
    response
}
