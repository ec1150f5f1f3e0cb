//! The outbound client against peers on loopback, good and bad.

mod certificates;

use super::*;
use crate::config::secret::Secret;
use crate::core::retry::Retry;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Instant, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Answers each connection's requests with what `answer` makes of them; keeps what came.
struct Peer {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

type Answer = Arc<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

impl Peer {
    async fn start(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Peer {
        Peer::over(None, answer).await
    }

    async fn over(tls: Option<TlsAcceptor>, answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let peer = Peer { port, seen: Arc::default(), connections: Arc::default() };
        let (seen, connections, answer): (_, _, Answer) =
            (peer.seen.clone(), peer.connections.clone(), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (seen, answer, tls) = (seen.clone(), answer.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => talk(stream, &seen, &answer).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                talk(stream, &seen, &answer).await;
                            }
                        }
                    }
                });
            }
        });
        peer
    }

    fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://127.0.0.1:{}{path}", self.port)).expect("a URL")
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("the log").clone()
    }
}

/// Reads requests (head and Content-Length body) and writes answers; an empty answer closes the connection.
async fn talk(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, seen: &Mutex<Vec<String>>, answer: &Answer) {
    let mut buffer = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&buffer).into_owned();
        if let Some(head) = text.find("\r\n\r\n") {
            let lower = text[..head].to_ascii_lowercase();
            let length =
                lower.lines().find_map(|line| line.strip_prefix("content-length: ")).and_then(|n| n.parse().ok());
            let end = head + 4 + length.unwrap_or(0usize);
            if buffer.len() >= end {
                let request = text[..end].to_owned();
                buffer.drain(..end);
                let reply = answer(&request);
                seen.lock().expect("the log").push(request);
                if reply.is_empty() || stream.write_all(&reply).await.is_err() {
                    return;
                }
                let _ = stream.flush().await;
                continue;
            }
        }
        let mut chunk = [0; 16 << 10];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(n) => buffer.extend_from_slice(&chunk[..n]),
        }
    }
}

fn reply(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut all = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n", body.len()).into_bytes();
    all.extend_from_slice(body);
    all
}

fn http() -> Http {
    Http::new(Gate::Central)
}

fn quick(limits: Limits) -> Limits {
    Limits { total: Duration::from_secs(3), connect: Duration::from_secs(1), grace: Duration::from_secs(1), ..limits }
}

#[tokio::test]
async fn http_05_user_agent_headers_and_body_arrive() {
    let peer = Peer::start(|_| reply("201 Created", "x-more: yes\r\n", b"thanks")).await;
    let got = http()
        .request(Method::POST, peer.url("/hook?token=abc#part"))
        .header("X-One", "1")
        .header("x-one", "2")
        .basic_auth("bot", &Secret::new("pa:ss"))
        .body("{\"a\":1}")
        .send()
        .await
        .expect("an answer");
    assert_eq!(
        (got.status, &got.body[..], got.header("X-More"), got.complete),
        (201, &b"thanks"[..], Some("yes"), true)
    );
    let request = peer.seen()[0].to_lowercase();
    assert!(request.starts_with("post /hook?token=abc http/1.1\r\n"), "{request}");
    assert!(request.contains(concat!("user-agent: lynceus/", env!("CARGO_PKG_VERSION"), "\r\n")), "{request}");
    assert!(request.contains("x-one: 2\r\n") && !request.contains("x-one: 1"), "{request}");
    assert!(request.contains("authorization: basic ym90onbhonnz\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\n{\"a\":1}") && !request.contains("content-type"), "{request}");
    let own = http().request(Method::GET, peer.url("/")).header("User-Agent", "mine").send().await;
    assert!(own.is_ok() && peer.seen()[1].contains("user-agent: mine\r\n"), "{:?}", peer.seen());
}

#[tokio::test]
async fn http_01_connections_and_clients_stay_flat() {
    let peer = Peer::start(|_| reply("200 OK", "", b"ok")).await;
    let http = http();
    for _ in 0..50 {
        http.request(Method::GET, peer.url("/")).send().await.expect("an answer");
    }
    assert_eq!((peer.connections.load(Ordering::SeqCst), http.clients()), (1, 1));
    // Equal settings share, others do not.
    let direct = Trust { proxy: Proxy::Direct, ..Trust::default() };
    for _ in 0..3 {
        http.request(Method::GET, peer.url("/")).trust(&direct.clone()).send().await.expect("an answer");
    }
    assert_eq!((peer.connections.load(Ordering::SeqCst), http.clients()), (2, 2));
}

#[tokio::test]
async fn http_04_replies_are_cut_at_64_kib_and_errors_hold_512_characters() {
    let peer = Peer::start(|request| match request.starts_with("GET /big") {
        true => reply("200 OK", "", &vec![b'x'; 1 << 20]),
        false => reply("500 Oh", "", format!("hunter22 said\nno {}", "y".repeat(5_000)).as_bytes()),
    })
    .await;
    let got = http().request(Method::GET, peer.url("/big")).send().await.expect("an answer");
    assert_eq!((got.body.len(), got.complete), (64 << 10, false));
    let secret = Secret::new("hunter22");
    let request =
        http().request(Method::POST, peer.url("/path-token?query=secret")).bearer(&secret).body("body-secret");
    let error = request.send().await.expect("an answer").ok().expect_err("status 500");
    let text = error.to_string();
    assert!(text.contains("status 500: *** said no yyy"), "{text}");
    assert!(text.len() < 600, "{}", text.len());
    for hidden in ["hunter22", "path-token", "query", "body-secret"] {
        assert!(!text.contains(hidden) && !format!("{error:?}").contains(hidden), "{text}");
    }
    assert_eq!(error.retry(), Retry::Backoff);
}

#[tokio::test]
async fn limits_size_ratio_and_pace_are_kept() {
    let bomb = {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&vec![0; 1 << 20]).expect("memory");
        encoder.finish().expect("memory")
    };
    let small = {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(b"plain words").expect("memory");
        encoder.finish().expect("memory")
    };
    let peer = Peer::start(move |request| match request.split(' ').nth(1).unwrap_or_default() {
        "/large" => reply("200 OK", "", &vec![b'x'; 1001]),
        "/fits" => reply("200 OK", "", &vec![b'x'; 1000]),
        "/bomb" => reply("200 OK", "content-encoding: gzip\r\n", &bomb),
        "/gzip" => reply("200 OK", "content-encoding: GZIP\r\n", &small),
        "/torn" => reply("200 OK", "content-encoding: gzip\r\n", &small[..small.len() - 6]),
        "/stall" => b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc".to_vec(),
        "/short" => b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 100\r\n\r\nabc".to_vec(),
        _ => b"HTTP/1.1 200 OK\r\n".to_vec(),
    })
    .await;
    let ask = async |path: &str, limits: Limits| {
        let begun = Instant::now();
        let got = http().request(Method::GET, peer.url(path)).limits(limits).send().await;
        assert!(begun.elapsed() < Duration::from_secs(5), "{path}: {:?}", begun.elapsed());
        got
    };
    let refuse = quick(Limits::answer(1000));
    let roomy = quick(Limits::answer(8 << 20));
    let cut = quick(Limits { bytes: 1000, ..Limits::MESSAGE });
    assert_eq!(ask("/fits", refuse).await.expect("an answer").body.len(), 1000);
    assert!(matches!(ask("/large", refuse).await, Err(Error::TooLarge { limit: 1000, .. })));
    assert_eq!(ask("/large", cut).await.map(|r| (r.body.len(), r.complete)), Ok((1000, false)));
    assert_eq!(&ask("/gzip", refuse).await.expect("an answer").body[..], b"plain words");
    assert!(matches!(ask("/bomb", roomy).await, Err(Error::TooLarge { .. })));
    assert!(matches!(ask("/torn", roomy).await, Err(Error::BadReply { .. })), "a torn stream is no answer");
    assert!(matches!(ask("/stall", roomy).await, Err(Error::TooSlow { .. })));
    let stalled = ask("/stall", cut).await.expect("the status counts");
    assert_eq!((&stalled.body[..], stalled.complete), (&b"abc"[..], false));
    // Headers that never end: the request may have been carried out.
    let silent = ask("/never", roomy).await.expect_err("no answer");
    assert!(matches!(silent, Error::Unknown { .. }) && silent.outcome_unknown(), "{silent:?}");
}

#[tokio::test]
async fn errors_tell_what_happened_to_the_request() {
    let closing = Peer::start(|_| Vec::new()).await;
    let url = closing.url("/secret?x=1");
    let unknown = http().request(Method::POST, url).body("x").limits(quick(Limits::MESSAGE)).send().await;
    assert!(matches!(unknown, Err(Error::Unknown { .. })), "{unknown:?}");

    // Speaks something else than TLS.
    let plain = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let plain_port = plain.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = plain.accept().await {
            let _ = stream.write_all(b"220 mail.example.com ESMTP\r\n").await;
        }
    });
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address").port();
    for (url, cause) in [
        (format!("http://127.0.0.1:{free}/secret"), Cause::Refused),
        ("http://no-such-host.invalid/secret".to_owned(), Cause::Name),
        (format!("https://127.0.0.1:{plain_port}/secret"), Cause::Tls),
    ] {
        let request = http().request(Method::POST, Url::parse(&url).expect("a URL")).body("x");
        let error = request.limits(quick(Limits::MESSAGE)).send().await.expect_err(&url);
        assert!(matches!(&error, Error::NotSent { cause: found, .. } if *found == cause), "{url}: {error:?}");
        assert!(!error.to_string().contains("secret") && !error.outcome_unknown(), "{error}");
        assert_eq!(error.retry(), Retry::Backoff);
    }
    for (url, label) in [("ftp://h/x", "scheme"), ("data:,x", "no host"), ("file:///etc/passwd", "file")] {
        let error = http().request(Method::GET, Url::parse(url).expect("a URL")).send().await.expect_err(label);
        assert!(matches!(error, Error::BadUrl { .. }) && error.retry() == Retry::Never, "{error:?}");
    }
}

#[tokio::test]
async fn sec_06_headers_with_control_characters_are_never_sent() {
    let peer = Peer::start(|_| reply("200 OK", "", b"")).await;
    for (name, value) in [("x", "a\r\nb: c"), ("x\r\ny", "a"), ("x", "a\0"), ("x y", "a"), ("", "a")] {
        let error = http().request(Method::GET, peer.url("/")).header(name, value).send().await.expect_err(name);
        assert!(matches!(error, Error::BadRequest { .. }), "{error:?}");
    }
    let error = http().request(Method::GET, peer.url("/")).bearer(&Secret::new("tok\nen")).send().await;
    let error = error.expect_err("a line break");
    assert!(matches!(error, Error::BadRequest { .. }) && !error.to_string().contains("tok\n"), "{error}");
    assert!(peer.seen().is_empty());
}

#[tokio::test]
async fn wh_07_redirects_keep_or_lose_headers_method_and_body() {
    let other = Peer::start(|_| reply("200 OK", "", b"other")).await;
    let away = other.url("/there");
    let peer = Peer::start(move |request| {
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        match path.split_once('-') {
            Some(("/same", status)) => reply(status, "location: /end?q=1\r\n", b""),
            Some(("/away", status)) => reply(status, &format!("location: {away}\r\n"), b""),
            Some(("/user", status)) => {
                reply(status, &format!("location: {}\r\n", away.as_str().replace("://", "://evil:pw@")), b"")
            }
            Some(("/loop", n)) => {
                let n: u32 = n.parse().unwrap_or_default();
                reply("302", &format!("location: /loop-{}\r\n", n + 1), b"")
            }
            _ => reply("200 OK", "", b"end"),
        }
    })
    .await;
    let secret = Secret::new("hunter22");
    for (path, method, arrives, body, credentials) in [
        ("/same-301", "POST", "GET /end?q=1", false, true),
        ("/same-302", "POST", "GET /end?q=1", false, true),
        ("/same-303", "PUT", "GET /end?q=1", false, true),
        ("/same-307", "POST", "POST /end?q=1", true, true),
        ("/same-308", "POST", "POST /end?q=1", true, true),
        ("/same-302", "HEAD", "HEAD /end?q=1", false, true),
        ("/away-302", "POST", "GET /there", false, false),
        ("/away-307", "POST", "POST /there", true, false),
        ("/user-307", "POST", "POST /there", true, false),
    ] {
        let mut request =
            http().request(method.parse().expect("a method"), peer.url(path)).redirects(Redirects::Anywhere(10));
        request = request.bearer(&secret).header("x-api-key", "k").limits(quick(Limits::MESSAGE));
        if method != "HEAD" {
            request = request.body("payload");
        }
        let got = request.send().await.unwrap_or_else(|e| panic!("{path}: {e}"));
        assert_eq!(got.status, 200, "{path}");
        let last = if credentials { peer.seen() } else { other.seen() }.pop().expect("a request");
        assert!(last.starts_with(&format!("{arrives} ")), "{path}: {last}");
        assert_eq!(last.ends_with("payload"), body, "{path}: {last}");
        assert_eq!(last.contains("hunter22") && last.contains("x-api-key"), credentials, "{path}: {last}");
        assert!(!last.to_lowercase().contains("authorization: basic"), "{path}: {last}");
    }
    let ask =
        async |path: &str, redirects| http().request(Method::GET, peer.url(path)).redirects(redirects).send().await;
    assert_eq!(ask("/same-302", Redirects::Refuse).await.map(|r| r.status), Ok(302));
    assert_eq!(ask("/same-302", Redirects::SameHost(3)).await.map(|r| r.status), Ok(200));
    assert!(matches!(ask("/away-302", Redirects::SameHost(3)).await, Err(Error::Redirect { .. })));
    let before = peer.seen().len();
    assert!(matches!(ask("/loop-0", Redirects::Anywhere(10)).await, Err(Error::Redirect { .. })));
    assert_eq!(peer.seen().len() - before, 11);
}

#[tokio::test]
async fn sec_05_every_hop_passes_the_gate() {
    for target in [
        "http://169.254.169.254/",
        "http://0xa9fea9fe/",
        "http://[::ffff:169.254.169.254]/",
        "https://metadata.google.internal/",
    ] {
        let location = format!("location: {target}\r\n");
        let peer = Peer::start(move |_| reply("302 Found", &location, b"")).await;
        let got = http().request(Method::GET, peer.url("/")).redirects(Redirects::Anywhere(10)).send().await;
        assert!(matches!(got, Err(Error::Forbidden { .. })), "{target}: {got:?}");
    }
}

/// The refused forms of the table.
fn refused_forms() -> Vec<&'static str> {
    let text = include_str!("../../../tests/fixtures/registry/address_forms.txt");
    text.lines().filter_map(|line| line.strip_prefix("deny ")).collect()
}

/// Each form again as the target of a redirect, and as a name for clients that connect by themselves.
#[tokio::test]
async fn address_guard_forms_sec_05_by_redirect_and_by_name() {
    let forms = refused_forms();
    let peer = Peer::start(move |request| {
        let wanted = request.split(' ').nth(1).and_then(|path| path.strip_prefix("/to-")?.parse::<usize>().ok());
        reply(
            "307 Moved",
            &format!("location: http://{}/latest/meta-data/\r\n", refused_forms()[wanted.unwrap_or(0)]),
            b"",
        )
    })
    .await;
    for (n, form) in forms.iter().enumerate() {
        let url = peer.url(&format!("/to-{n}"));
        let got = http().request(Method::POST, url).body("b").redirects(Redirects::Anywhere(10)).send().await;
        assert!(matches!(got, Err(Error::Forbidden { .. } | Error::Redirect { .. })), "{form}: {got:?}");
        let bare = form.trim_start_matches('[').split(']').next().unwrap_or_default();
        let got = tokio::time::timeout(Duration::from_secs(20), http().resolve(bare, 25)).await.expect("an answer");
        assert!(matches!(got, Err(Error::Forbidden { .. } | Error::NotSent { .. })), "{form}: {got:?}");
    }
    assert!(forms.len() >= 50, "{}", forms.len());
}

#[test]
fn address_guard_forms_sec_05() {
    let text = include_str!("../../../tests/fixtures/registry/address_forms.txt");
    let mut rows = 0;
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (verdict, form) = line.split_once(' ').expect("a verdict and a form");
        let url = Url::parse(&format!("http://{form}/latest/meta-data/"));
        let refused = match &url {
            Ok(url) => address::check_url(&Gate::Central, url).is_err(),
            // What is no URL is asked nowhere.
            Err(_) => true,
        };
        assert_eq!(refused, verdict == "deny", "{line}: {url:?}");
        rows += 1;
    }
    assert!(rows >= 80, "{rows}");
}

#[tokio::test]
async fn sec_05_names_are_checked_by_what_they_resolve_to() {
    let addresses = http().resolve("localhost", 25).await.expect("addresses");
    assert!(addresses.iter().all(|a| a.ip().is_loopback() && a.port() == 25), "{addresses:?}");
    for literal in ["169.254.169.254", "fd00:ec2::254", "::ffff:169.254.169.254"] {
        let got = http().resolve(literal, 80).await;
        assert!(matches!(got, Err(Error::Forbidden { .. })), "{literal}: {got:?}");
        assert!(denied(Gate::Central, literal.parse::<IpAddr>().expect("an address")));
    }
}

#[test]
fn retry_after_forms() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_445_412_480);
    for (value, seconds) in [
        ("0", Some(0)),
        (" 120 ", Some(120)),
        ("Wed, 21 Oct 2015 07:28:30 GMT", Some(30)),
        ("Wed, 21 Oct 2015 07:00:00 GMT", Some(0)),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
    ] {
        assert_eq!(retry_after(value, now), seconds.map(Duration::from_secs), "{value:?}");
    }
    assert!(retry_after("99999999999999999999999", now).is_some_and(|wait| wait > Duration::from_secs(1 << 40)));
}

#[tokio::test]
async fn http_03_a_named_proxy_is_used_except_where_excluded() {
    let proxy = Peer::start(|_| reply("200 OK", "", b"by proxy")).await;
    let peer = Peer::start(|_| reply("200 OK", "", b"direct")).await;
    let url = Secret::new(format!("http://user:hunter22@127.0.0.1:{}", proxy.port));
    for (no_proxy, body) in [("", "by proxy"), ("127.0.0.1", "direct"), ("other.example", "by proxy")] {
        let through = Proxy::Through { url: url.clone(), no_proxy: no_proxy.to_owned() };
        let trust = Trust { proxy: through, ..Trust::default() };
        let got = http().request(Method::GET, peer.url("/x")).trust(&trust).send().await.expect("an answer");
        assert_eq!(&got.body[..], body.as_bytes(), "{no_proxy:?}");
        assert!(!format!("{trust:?}").contains("hunter22"));
    }
    assert!(proxy.seen()[0].starts_with("GET http://127.0.0.1:"), "{:?}", proxy.seen());
    let bad =
        Trust { proxy: Proxy::Through { url: Secret::new("::hunter22"), no_proxy: String::new() }, ..Trust::default() };
    let error = http().request(Method::GET, peer.url("/")).trust(&bad).send().await.expect_err("no proxy URL");
    assert!(matches!(error, Error::BadTrust { .. }) && !error.to_string().contains("hunter22"), "{error}");
}

#[tokio::test]
async fn the_blocking_door_has_the_same_rules() {
    let peer = Peer::start(|request| match request.starts_with("GET /away") {
        true => reply("302 Found", "location: http://169.254.169.254/\r\n", b""),
        false => reply("200 OK", "", b"hello"),
    })
    .await;
    let (url, away) = (peer.url("/"), peer.url("/away"));
    let outcome = tokio::task::spawn_blocking(move || {
        let http = http();
        let idle = Duration::from_secs(2);
        let client = http.blocking(&url, &Trust::default(), idle).expect("a client");
        let text = client.get(url.clone()).send().and_then(|reply| reply.text()).expect("an answer");
        let status = client.get(away).send().expect("an answer").status().as_u16();
        let again = http.blocking(&url, &Trust::default(), idle);
        let metadata = Url::parse("http://169.254.169.254/").expect("a URL");
        let refused = http.blocking(&metadata, &Trust::default(), idle).map(|_| ());
        let nowhere = Url::parse("http://no-such-host.invalid/").expect("a URL");
        let unknown = client.get(nowhere.clone()).send().map(|_| ()).map_err(|e| Error::from_reqwest(&nowhere, &e));
        (text, status, again.is_ok(), http.clients(), refused, unknown)
    })
    .await
    .expect("the thread");
    let (text, status, again, clients, refused, unknown) = outcome;
    assert_eq!((text.as_str(), status, again, clients), ("hello", 302, true, 1));
    assert!(matches!(refused, Err(Error::Forbidden { .. })), "{refused:?}");
    assert!(matches!(unknown, Err(Error::NotSent { cause: Cause::Name, .. })), "{unknown:?}");
    assert!(peer.seen()[0].to_lowercase().contains("user-agent: lynceus/"), "{:?}", peer.seen());
}

#[tokio::test]
async fn a_peer_that_never_accepts_is_not_sent() {
    // The listener's queue is filled, so that no handshake completes.
    let listener = tokio::net::TcpSocket::new_v4().expect("a socket");
    listener.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let listener = listener.listen(1).expect("a queue");
    let address = listener.local_addr().expect("an address");
    let mut fillers = Vec::new();
    for _ in 0..4 {
        fillers.push(tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await);
    }
    let url = Url::parse(&format!("http://{address}/")).expect("a URL");
    let limits = Limits { connect: Duration::from_millis(500), total: Duration::from_secs(5), ..Limits::MESSAGE };
    let error = http().request(Method::GET, url).limits(limits).send().await.expect_err("no connection");
    assert!(matches!(error, Error::NotSent { cause: Cause::Timeout, .. }), "{error:?}");
}
