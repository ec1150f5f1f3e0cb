//! Servers that lie, stall and flood; and what must never happen beside the wire.

use super::*;
use crate::support::front::{self, Front};
use lynceus::adapters::git::{Error, PushError};
use std::time::{Duration, Instant};

const A: &str = "1111111111111111111111111111111111111111";

fn line(payload: &str) -> String {
    format!("{:04x}{payload}", payload.len() + 4)
}

fn refs(service: &str, lines: &[String]) -> Vec<u8> {
    let mut body = line(&format!("# service={service}\n")) + "0000";
    lines.iter().for_each(|l| body.push_str(&line(l)));
    (body + "0000").into_bytes()
}

fn typed(kind: &str, body: Vec<u8>) -> front::Response {
    let mut response = front::text(200, body);
    response.headers_mut().insert("content-type", kind.parse().unwrap());
    response
}

/// Answers every GET with one body and every POST with another.
fn liar(get: front_answer::Get, post: front_answer::Post) -> Front {
    Front::start(None, move |request| {
        let (get, post) = (get.clone(), post.clone());
        async move {
            let service =
                request.uri().query().unwrap_or_default().strip_prefix("service=").unwrap_or_default().to_owned();
            match request.method() == hyper::Method::GET {
                true => Ok((get)(&service)),
                false => Ok((post)(request.uri().path())),
            }
        }
    })
}

mod front_answer {
    use super::front::Response;
    use std::sync::Arc;
    pub type Get = Arc<dyn Fn(&str) -> Response + Send + Sync>;
    pub type Post = Arc<dyn Fn(&str) -> Response + Send + Sync>;
}

fn plain(front: &Front) -> Remote {
    remote(&format!("http://{}/x.git", front.address()), &[("insecure", "true")])
}

fn honest_refs(service: &str) -> front::Response {
    let caps = "side-band-64k report-status multi_ack_detailed ofs-delta";
    typed(&format!("application/x-{service}-advertisement"), refs(service, &[format!("{A} refs/heads/main\0{caps}\n")]))
}

#[tokio::test]
async fn hostile_git_servers_are_clean_errors() {
    let nothing: front_answer::Post = Arc::new(|_| front::text(404, ""));
    type Answer = fn(&str) -> front::Response;
    let answers: [(&str, Answer); 6] = [
        ("html", |_| typed("text/html", b"<html>please log in</html>".to_vec())),
        ("empty", |s| typed(&format!("application/x-{s}-advertisement"), Vec::new())),
        ("no service line", |s| typed(&format!("application/x-{s}-advertisement"), b"0000".to_vec())),
        ("cut", |s| typed(&format!("application/x-{s}-advertisement"), b"001e# service=git-upl".to_vec())),
        ("garbage", |s| typed(&format!("application/x-{s}-advertisement"), vec![0xff; 100_000])),
        ("wrong service", |s| {
            typed(&format!("application/x-{s}-advertisement"), refs("git-something", &[format!("{A} HEAD\0\n")]))
        }),
    ];
    for (label, answer) in answers {
        let server = liar(Arc::new(answer), nothing.clone());
        let bench = Bench::new();
        let error = bench.git.advertise(&plain(&server)).await.unwrap_err();
        assert_eq!(error.kind(), "git-unreachable", "{label}: {error}");
    }
}

#[tokio::test]
async fn hostile_packs_leave_the_mirror_alone() {
    let result = "application/x-git-upload-pack-result";
    type Answer = fn() -> Vec<u8>;
    let bodies: [(&str, Answer); 7] = [
        ("nothing", Vec::new),
        ("no acknowledgement", || b"0000".to_vec()),
        ("a pack of noise", || {
            let mut body = line("NAK\n").into_bytes();
            body.extend_from_slice(format!("{:04x}\x01", 5 + 1000).as_bytes());
            body.extend_from_slice(&[0xa5; 1000]);
            body.extend_from_slice(b"0000");
            body
        }),
        ("a pack that promises four billion objects", || {
            let mut body = line("NAK\n").into_bytes();
            body.extend_from_slice(format!("{:04x}\x01PACK", 5 + 12).as_bytes());
            body.extend_from_slice(&[0, 0, 0, 2, 0xff, 0xff, 0xff, 0xff]);
            body.extend_from_slice(b"0000");
            body
        }),
        ("an error on the side", || (line("NAK\n") + &line("\x03out of \x1b[31mmemory\n")).into_bytes()),
        ("an error line", || line("ERR upload-pack: not our ref\n").into_bytes()),
        ("acknowledgements without end", || line(&format!("ACK {A} common\n")).repeat(20_000).into_bytes()),
    ];
    for (label, body) in bodies {
        let post: front_answer::Post = Arc::new(move |_| typed(result, body()));
        let server = liar(Arc::new(honest_refs), post);
        let bench = Bench::new();
        let error = bench.git.tip(&plain(&server), "main", id(A)).await.unwrap_err();
        assert!(matches!(error.kind(), "git-unreachable"), "{label}: {error:?}");
        assert!(!error.to_string().contains('\x1b'), "{label}");
    }
}

#[tokio::test]
async fn git_13_a_dripping_server_meets_the_deadline() {
    let drip: front_answer::Get = Arc::new(|service| {
        use http_body_util::BodyExt;
        let kind = format!("application/x-{service}-advertisement");
        let body = futures::stream::unfold(0u32, |n| async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Some((Ok(hyper::body::Frame::data(bytes::Bytes::from_static(b"0"))), n + 1))
        });
        let body = BodyExt::boxed(http_body_util::StreamBody::new(Box::pin(body)));
        hyper::Response::builder().header("content-type", kind).body(body).unwrap()
    });
    let server = liar(drip, Arc::new(|_| front::text(404, "")));
    let bench = Bench::with(|settings| settings.operation_timeout = Duration::from_secs(1));
    let started = Instant::now();
    let error = bench.git.advertise(&plain(&server)).await.unwrap_err();
    assert_eq!(error.kind(), "git-unreachable", "{error}");
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

#[tokio::test]
async fn git_11_answers_to_a_push_that_say_nothing_are_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(folder.path(), &[("a", "1")]);
    let bench = Bench::new();
    let tip = bench.tip(&local(repository.path()), "main").await;
    let chain = chain(&bench.git, &tip, &[("a", "2")]).await;
    let base = tip.id();
    let get: front_answer::Get = Arc::new(move |service| {
        let caps = "side-band-64k report-status";
        let lines = [format!("{base} refs/heads/main\0{caps}\n")];
        typed(&format!("application/x-{service}-advertisement"), refs(service, &lines))
    });
    type Answer = fn() -> front::Response;
    type Right = fn(&PushError) -> bool;
    let answers: [(&str, Answer, Right); 7] = [
        ("502", || front::text(502, "gateway"), |e| matches!(e, PushError::Unknown(_))),
        ("504", || front::text(504, "gateway"), |e| matches!(e, PushError::Unknown(_))),
        ("html", || typed("text/html", b"<html>".to_vec()), |e| matches!(e, PushError::Unknown(_))),
        (
            "empty",
            || typed("application/x-git-receive-pack-result", Vec::new()),
            |e| matches!(e, PushError::Unknown(_)),
        ),
        ("403", || front::text(403, "protected"), |e| matches!(e, PushError::Refused(_))),
        ("413", || front::text(413, "too large"), |e| matches!(e, PushError::Refused(_))),
        ("401", || front::text(401, "who"), |e| matches!(e, PushError::Failed(Error::Auth { .. }))),
    ];
    for (label, answer, right) in answers {
        let server = liar(get.clone(), Arc::new(move |_| answer()));
        let error = bench.git.push(&plain(&server), "main", Some(base), &chain).await.unwrap_err();
        assert!(right(&error), "{label}: {error:?}");
    }
    let gone = {
        let server = liar(get, Arc::new(|_| front::text(404, "")));
        plain(&server)
    };
    let error = bench.git.push(&gone, "main", Some(base), &chain).await.unwrap_err();
    assert!(matches!(error, PushError::Failed(Error::Unreachable { .. })), "{error:?}");
}

#[tokio::test]
async fn git_6_no_worktree_no_hooks_no_secret_in_a_mirror() {
    let server = GitHttp::start("robot", "secret");
    let repository = server.repository("config.git");
    repository.commit("main", "first", &[("a", "1")]);
    let bench = Bench::trusting(&server);
    let remote = remote(&server.url("config.git"), &[("username", "robot"), ("password", "secret")]);
    let tip = bench.tip(&remote, "main").await;
    let chain = chain(&bench.git, &tip, &[("a", "2")]).await;
    bench.git.push(&remote, "main", Some(tip.id()), &chain).await.unwrap();
    let mirror = bench.mirror();
    assert!(!mirror.join("index").exists() && !mirror.join("a").exists());
    assert!(!mirror.join("hooks").exists());
    let config = std::fs::read_to_string(mirror.join("config")).unwrap();
    assert!(!config.contains("url") && !config.contains("secret"), "{config}");
    for file in walk(bench.state.path()) {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!bytes.windows(6).any(|w| w == b"secret"), "{}", file.display());
    }
}

fn walk(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().filter_map(|e| e.ok()) {
        let path = entry.path();
        if path.is_dir() { found.extend(walk(&path)) } else { found.push(path) }
    }
    found
}
