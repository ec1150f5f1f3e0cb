//! §13.4: the TLS matrix, credentials, the mail itself, and what each refusal means.

use lynceus::adapters::services::{Class, SendError, Service};
use lynceus::core::notify::message::{EmailPart, Message, Part};
use lynceus::demo::inbox::{Fault, Inbox, Item, Manners};

use crate::house::{certificate, configured, context, http, items, set_up, with_http};

fn mail(subject: &str, body: &str) -> Message {
    Message { text: "the text".into(), part: Part::Email(EmailPart { subject: subject.into(), body: body.into() }) }
}

fn service(inbox: &Inbox, more: &str) -> Service {
    let port = inbox.mail().port();
    configured("service.email", &format!("host: localhost\nport: {port}\nfrom: Ops <ops@example.com>\n{more}"))
}

async fn start(manners: Manners) -> Inbox {
    set_up();
    Inbox::start(manners).await.unwrap()
}

async fn send(service: &Service, to: &str) -> Result<(), SendError> {
    service.send(to, &mail("s", "b"), &context()).await.map(drop)
}

const CREDENTIALS: &str = "username: bob\npassword: $secret\n";

/// Everything on loopback, where encryption is not required; whether it is used where it is offered, and whether
/// credentials go over it, is seen all the same.
#[tokio::test]
async fn em_03_em_04_email_tls_matrix() {
    let (tls, pem) = certificate();
    for (offered, implicit, setting, trusted, outcome) in [
        // STARTTLS offered, TLS at once, setting, certificate trusted: encrypted, or the class of the failure
        (true, false, "", true, Ok(true)),
        (true, false, "", false, Err(Class::RejectedHealable)),
        (true, false, "insecure_skip_verify: true\n", false, Ok(true)),
        (true, false, "lynceus: {tls: none}\n", true, Ok(false)),
        (true, false, "lynceus: {tls: opportunistic}\n", true, Ok(true)),
        (false, false, "", true, Ok(false)),
        (false, false, "lynceus: {tls: opportunistic}\n", true, Ok(false)),
        (false, true, "lynceus: {tls: implicit}\n", true, Ok(true)),
        (false, true, "lynceus: {tls: implicit}\n", false, Err(Class::RejectedHealable)),
        (false, false, "lynceus: {tls: implicit}\n", true, Err(Class::NotSent)),
    ] {
        for credentials in ["", CREDENTIALS] {
            let manners = Manners {
                tls: Some(tls.clone()),
                implicit,
                starttls: offered,
                auth: "LOGIN PLAIN".into(),
                ..Manners::default()
            };
            let inbox = start(manners).await;
            let http = http();
            if trusted {
                http.set_host_roots([("localhost".to_owned(), vec![pem.as_str().into()])].into());
            }
            let port = inbox.mail().port();
            let body = format!("host: localhost\nport: {port}\nfrom: a@example.com\n{setting}{credentials}");
            let result = send(&with_http("service.email", &body, http), "b@example.com").await;
            let case = format!("{offered} {implicit} {setting:?} {trusted} {credentials:?}: {result:?}");
            assert_eq!(result.as_ref().err().map(|error| error.class), outcome.err(), "{case}");
            let seen = items(&inbox).pop().map(|item| match item {
                Item::Mail { encrypted, user, .. } => (encrypted, user),
                other => panic!("{other:?}"),
            });
            let user = if credentials.is_empty() { "" } else { "bob" };
            assert_eq!(seen, outcome.ok().map(|encrypted| (encrypted, user.to_owned())), "{case}");
        }
    }
}

/// A stripped STARTTLS, seen from a host that is not loopback as far as the client can tell, cannot be had on one
/// machine without its outward address.
#[tokio::test]
async fn em_02_no_encryption_beyond_loopback_is_refused_with_the_two_ways_out() {
    let Some(address) = outward() else { return };
    let listener = tokio::net::TcpListener::bind((address, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    set_up();
    let server = tokio::spawn(async move {
        use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
        let mut commands = Vec::new();
        for _ in 0..3 {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            stream.write_all(b"220 hi\r\n").await.unwrap();
            let mut line = String::new();
            while stream.read_line(&mut line).await.unwrap_or(0) > 0 {
                let word = line.split_whitespace().next().unwrap_or_default().to_owned();
                let reply = match word.as_str() {
                    "DATA" => "354 go",
                    "EHLO" => "250-me\r\n250 AUTH PLAIN",
                    "QUIT" => break,
                    _ => "250 ok",
                };
                commands.push(word);
                if stream.write_all(format!("{reply}\r\n").as_bytes()).await.is_err() {
                    break;
                }
                line.clear();
            }
        }
        commands
    });
    let with = |more: &str| {
        configured("service.email", &format!("host: {address}\nport: {port}\nfrom: a@example.com\n{CREDENTIALS}{more}"))
    };
    let error = send(&with(""), "b@example.com").await.unwrap_err();
    assert_eq!(error.class, Class::RejectedHealable);
    assert!(error.text.contains("`opportunistic`") && error.text.contains("`none`"), "{error}");
    let error = send(&with("lynceus: {tls: opportunistic}"), "b@example.com").await.unwrap_err();
    assert_eq!(error.class, Class::RejectedHealable, "EM-04: no password in clear: {error}");
    let plain = format!("host: {address}\nport: {port}\nfrom: a@example.com\nlynceus: {{tls: none}}");
    send(&configured("service.email", &plain), "b@example.com").await.unwrap();
    let commands = server.await.unwrap();
    assert_eq!(commands.iter().filter(|word| *word == "MAIL").count(), 1, "{commands:?}");
    assert!(!commands.contains(&"AUTH".to_owned()), "{commands:?}");
}

/// An address of this machine that is not loopback; none where there is no network at all.
fn outward() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    // Connecting a datagram socket sends nothing; it only chooses the address.
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[tokio::test]
async fn em_02_what_was_said_before_the_handshake_is_not_believed() {
    let (tls, _) = certificate();
    let inbox = start(Manners { tls: Some(tls), starttls: true, injects: true, ..Manners::default() }).await;
    let error = send(&service(&inbox, "insecure_skip_verify: true"), "b@example.com").await.unwrap_err();
    assert_eq!(error.class, Class::NotSent, "{error}");
    assert!(inbox.accepted().is_empty());
}

#[tokio::test]
async fn em_04_mechanisms() {
    for (offered, outcome) in [
        ("PLAIN", Ok("bob")),
        ("LOGIN", Ok("bob")),
        ("CRAM-MD5 LOGIN", Ok("bob")),
        ("XOAUTH2", Err("XOAUTH2")),
        ("", Err("nothing")),
    ] {
        let inbox = start(Manners { auth: offered.into(), ..Manners::default() }).await;
        let result = send(&service(&inbox, CREDENTIALS), "b@example.com").await;
        match (result, outcome) {
            (Ok(()), Ok(name)) => {
                assert!(matches!(items(&inbox).pop(), Some(Item::Mail { user, .. }) if user == name), "{offered}");
            }
            (Err(error), Err(word)) => {
                assert_eq!(error.class, Class::RejectedHealable);
                assert!(error.text.contains(word), "names what it offers: {error}");
            }
            (result, _) => panic!("{offered}: {result:?}"),
        }
        for half in ["username: bob\n", "password: $secret\n"] {
            send(&service(&inbox, half), "b@example.com").await.unwrap();
            assert!(matches!(items(&inbox).pop(), Some(Item::Mail { user, .. }) if user.is_empty()), "both or none");
        }
    }
}

#[tokio::test]
async fn em_05_em_06_the_mail() {
    let inbox = start(Manners::default()).await;
    let plain = service(&inbox, "");
    let message = mail("Grüße\r\nBcc: x@y\n", "Zeile 1\n.\n.Zeile ü\n");
    plain.send("a@example.com, Bee <b@example.com>", &message, &context()).await.unwrap();
    plain.send("a@example.com", &Message { text: "only text".into(), part: Part::None }, &context()).await.unwrap();
    service(&inbox, "html: true").send("a@example.com", &mail("s", ""), &context()).await.unwrap();
    let mut late = context();
    (late.attempt, late.possible_repeat) = (2, true);
    plain.send("a@example.com", &mail("s", "b"), &late).await.unwrap();
    let mails: Vec<(String, Vec<String>, String)> = items(&inbox)
        .into_iter()
        .map(|item| match item {
            Item::Mail { from, to, content, .. } => (from, to, content),
            other => panic!("{other:?}"),
        })
        .collect();
    let (from, to, content) = &mails[0];
    assert_eq!((from.as_str(), to.join(" ").as_str()), ("ops@example.com", "a@example.com b@example.com"));
    let (head, body) = content.split_once("\r\n\r\n").unwrap();
    for line in [
        "From: Ops <ops@example.com>",
        "To: a@example.com, Bee <b@example.com>",
        "Message-ID: <evt_f45be676a6850e29cb8a6631117a43ee@example.com>",
        "Auto-Submitted: auto-generated",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: quoted-printable",
        "Date: Thu, 01 Jan 2026 00:00:00 +0000",
    ] {
        assert!(head.lines().any(|found| found == line), "{line} in\n{head}");
    }
    assert!(!head.lines().any(|line| line.starts_with("Bcc")), "{head}");
    assert_eq!(head.lines().filter(|line| line.starts_with("Subject:")).count(), 1);
    assert!(body.starts_with("Zeile 1\r\n.\r\n.Zeile =C3=BC\r\n"), "dots survive: {body:?}");
    let (head, body) = mails[1].2.split_once("\r\n\r\n").unwrap();
    assert!(head.lines().any(|line| line.trim_end() == "Subject:"), "an empty subject without a block: {head}");
    assert!(body.starts_with("only text"));
    assert!(mails[2].2.contains("Content-Type: text/html; charset=utf-8") && mails[2].2.contains("the text"));
    assert!(mails[3].2.contains("Subject: s (possible repeat)"), "LAN-07");
    let id = |mail: &str| mail.lines().find(|line| line.starts_with("Message-ID")).unwrap().to_owned();
    assert_eq!(id(&mails[3].2), id(&mails[0].2), "email_message_id_stable");
}

#[tokio::test]
async fn em_07_sec_06_email_header_injection() {
    let inbox = start(Manners::default()).await;
    let plain = service(&inbox, "");
    for to in [
        "a@b.example\r\nRCPT TO:<evil@x>",
        "a@b.example\nBcc: c@d",
        "a\0@b.example",
        "",
        " , ",
        "nobody",
        "a@b.example,x",
    ] {
        let error = send(&plain, to).await.unwrap_err();
        assert_eq!(error.class, Class::RejectedHealable, "{to:?}");
    }
    assert_eq!(inbox.calls(), 0, "refused before anything is dialled");
}

#[tokio::test]
async fn dlv_05_class_table_mail() {
    use Class::{NotSent, RejectedFinal, RejectedHealable, Transient};
    for (stage, reply, class) in [
        ("greeting", "421 busy", Transient),
        ("greeting", "554 go away", Transient),
        ("EHLO", "421 busy", Transient),
        ("AUTH", "535 wrong", RejectedHealable),
        ("AUTH", "534 too weak", RejectedHealable),
        ("AUTH", "454 later", Transient),
        ("MAIL", "530 authenticate first", RejectedHealable),
        ("MAIL", "550 not you", RejectedFinal),
        ("MAIL", "451 later", Transient),
        ("RCPT", "550 nobody here", RejectedFinal),
        ("RCPT", "450 greylisted", Transient),
        ("DATA", "554 no", RejectedFinal),
        ("DATA", "451 later", Transient),
        ("message", "552 too large", RejectedFinal),
        ("message", "452 full", Transient),
    ] {
        let inbox = start(Manners { auth: "PLAIN".into(), ..Manners::default() }).await;
        inbox.script([Fault::Mail { stage: stage.into(), reply: reply.into() }]);
        let error = send(&service(&inbox, CREDENTIALS), "b@example.com").await.unwrap_err();
        assert_eq!(error.class, class, "{stage} {reply}: {error}");
        assert!(error.text.contains(reply), "{error}");
        assert!(inbox.accepted().is_empty());
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = configured("service.email", &format!("host: localhost\nport: {free}\nfrom: a@example.com"));
    assert_eq!(send(&nobody, "b@example.com").await.unwrap_err().class, NotSent);
}

#[tokio::test]
async fn em_08_email_cut_after_dot() {
    let inbox = start(Manners::default()).await;
    inbox.script([Fault::DieAfterAccepting, Fault::Cut]);
    for accepted in [1, 1] {
        let error = send(&service(&inbox, ""), "b@example.com").await.unwrap_err();
        assert_eq!(error.class, Class::Unknown, "nobody can know: {error}");
        assert_eq!(inbox.accepted().len(), accepted);
    }
}

#[tokio::test]
async fn em_08_an_old_server_that_knows_only_helo() {
    let inbox = start(Manners::default()).await;
    inbox.script([Fault::Mail { stage: "EHLO".into(), reply: "502 what".into() }]);
    send(&service(&inbox, ""), "b@example.com").await.unwrap();
    assert_eq!(inbox.accepted().len(), 1);
}
