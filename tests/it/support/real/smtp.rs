//! A receiving mail server (Debian's aiosmtpd) that keeps every accepted message as a file.

use std::path::Path;
use std::time::Duration;

use crate::support::process::{Process, listening};
use crate::support::tls::Authority;
use crate::support::{root, wait_for};

/// How it lets clients in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpMode {
    /// No TLS, no login.
    Plain,
    /// STARTTLS and then a login are required.
    StartTls,
    /// TLS from the first byte, login required.
    ImplicitTls,
}

/// A running mail server, in Debian's own Python. Recipients named `refused@…` get 550, `later@…` 451, `stalled@…` no answer; for
/// `swallowed@…` the message is kept and the connection cut without an answer.
pub struct Smtp {
    _server: Process,
    port: u16,
    folder: tempfile::TempDir,
}

/// One accepted message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// `MAIL FROM`.
    pub from: String,
    /// `RCPT TO`, in order.
    pub to: Vec<String>,
    /// Who logged in; empty if nobody.
    pub login: String,
    /// Whether it came over TLS.
    pub tls: bool,
    /// The message as sent, with CRLF line ends.
    pub content: String,
}

impl Smtp {
    /// Starts it; with a login, only `user` with `password` may send.
    pub async fn start(mode: SmtpMode, user: &str, password: &str) -> Smtp {
        let folder = tempfile::tempdir().expect("a folder");
        let identity = Authority::shared().loopback();
        std::fs::write(folder.path().join("certificate.pem"), identity.certificate).expect("a file");
        std::fs::write(folder.path().join("key.pem"), identity.key).expect("a file");
        std::fs::create_dir(folder.path().join("mail")).expect("a folder");
        let program = root().join("tests/it/support/real/smtp.py").display().to_string();
        let (server, port) = listening("smtp", |port| {
            let mode = match mode {
                SmtpMode::Plain => "plain",
                SmtpMode::StartTls => "starttls",
                SmtpMode::ImplicitTls => "tls",
            };
            let arguments = [&program, mode, &port.to_string(), user, password];
            Process::start("smtp", folder.path(), Path::new("/usr/bin/python3"), &arguments)
        })
        .await;
        Smtp { _server: server, port, folder }
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The authority to trust, PEM.
    pub fn ca(&self) -> String {
        Authority::shared().pem()
    }

    /// Every message accepted so far, in order.
    pub fn mails(&self) -> Vec<Mail> {
        let folder = std::fs::read_dir(self.folder.path().join("mail")).expect("the folder");
        let mut files: Vec<_> = folder.map(|f| f.expect("a file").path()).collect();
        files.retain(|f| f.extension().is_some_and(|e| e == "json"));
        files.sort();
        files.iter().map(|file| mail(file)).collect()
    }

    /// Waits for at least `count` messages.
    pub async fn wait_for_mails(&self, count: usize) -> Vec<Mail> {
        wait_for(&format!("{count} mails"), Duration::from_secs(20), || async {
            let mails = self.mails();
            (mails.len() >= count).then_some(mails)
        })
        .await
    }
}

fn mail(file: &Path) -> Mail {
    let text = std::fs::read_to_string(file).expect("the message");
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let word = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
    let to = json["to"].as_array().expect("recipients").iter().map(|r| r.as_str().expect("text").to_owned());
    Mail {
        from: word("from"),
        to: to.collect(),
        login: word("login"),
        tls: json["tls"] == true,
        content: word("content"),
    }
}
