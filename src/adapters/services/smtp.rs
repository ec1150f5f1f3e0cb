//! A dialogue with a mail server, as a client that sends one mail: greeting, EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA.
//! Every failure says whether the mail may have been accepted (notifications.md §12.2, §13.4).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lettre::Address;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::super::http::{Http, Trust};
use super::{Class, SendError, http_error};
use crate::config::secret::Secret;
use crate::config::services::{Email, MailTls};

/// EM-08.
const COMMAND: Duration = Duration::from_secs(30);
const FINAL_REPLY: Duration = Duration::from_secs(600);
/// A reply is at most so many bytes; RFC 5321 allows 512 per line.
const LARGEST_REPLY: u64 = 16 << 10;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection that has been greeted.
pub(super) struct Session {
    stream: BufReader<Box<dyn Stream>>,
    place: String,
    encrypted: bool,
    loopback: bool,
    extensions: Vec<String>,
}

struct Reply {
    code: u16,
    text: String,
}

/// A rejection that somebody can heal, saying nothing about the server's health.
pub(super) fn healable(text: &str) -> SendError {
    SendError { ill: false, ..SendError::new(Class::RejectedHealable, text) }
}

impl Session {
    /// Connects, encrypts as configured and introduces itself.
    pub(super) async fn open(
        http: &Http,
        mail: &Email,
        trust: &Trust,
        connect: Duration,
    ) -> Result<Session, SendError> {
        let place = format!("smtp://{}:{}", mail.host, mail.port);
        let not_sent = |why: &str| SendError::new(Class::NotSent, format!("{place}: {why}"));
        let opening = async {
            let addresses = http.resolve(&mail.host, mail.port).await.map_err(http_error)?;
            dial(&addresses).await.map_err(|error| not_sent(&error.to_string()))
        };
        let (tcp, peer) = timeout(connect, opening).await.map_err(|_| not_sent("no connection in time"))??;
        let implicit = encrypted_at_once(mail);
        let encryption = Encryption { http, host: &mail.host, trust, place: &place };
        let stream: Box<dyn Stream> = if implicit { encryption.begin(tcp).await? } else { Box::new(tcp) };
        let mut session = Session {
            stream: BufReader::new(stream),
            place: place.clone(),
            encrypted: implicit,
            loopback: peer.ip().is_loopback(),
            extensions: Vec::new(),
        };
        let greeting = session.reply(COMMAND).await?;
        session.expect(&greeting, 220, "greeting")?;
        session.introduce(&mail.helo_name).await?;
        if session.encrypted || mail.tls == MailTls::None {
            return Ok(session);
        }
        if session.offers("STARTTLS").is_some() {
            return session.encrypt(&encryption, &mail.helo_name).await;
        }
        if mail.tls == MailTls::Opportunistic || session.loopback {
            return Ok(session);
        }
        Err(healable(&format!(
            "{place}: the server offers no encryption, which is required; to send all the same, set `lynceus.tls` to \
             `opportunistic` (use it where offered) or `none`"
        )))
    }

    /// Whether nobody in between can read along.
    pub(super) fn is_private(&self) -> bool {
        self.encrypted || self.loopback
    }

    /// Whether the connection is encrypted.
    pub(super) fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    async fn encrypt(mut self, encryption: &Encryption<'_>, name: &str) -> Result<Session, SendError> {
        let reply = self.command("STARTTLS").await?;
        self.expect(&reply, 220, "STARTTLS")?;
        // What came before the handshake was not said by who holds the certificate.
        if !self.stream.buffer().is_empty() {
            return Err(SendError::new(Class::NotSent, format!("{}: data before the TLS handshake", self.place)));
        }
        let stream = encryption.begin(self.stream.into_inner()).await?;
        let mut session = Session { stream: BufReader::new(stream), encrypted: true, extensions: Vec::new(), ..self };
        session.introduce(name).await?;
        Ok(session)
    }

    /// EHLO; servers that do not know it get HELO.
    async fn introduce(&mut self, name: &str) -> Result<(), SendError> {
        let reply = self.command(&format!("EHLO {name}")).await?;
        if matches!(reply.code, 500 | 502 | 504 | 550) {
            let reply = self.command(&format!("HELO {name}")).await?;
            return self.expect(&reply, 250, "HELO");
        }
        self.expect(&reply, 250, "EHLO")?;
        self.extensions = reply.text.lines().skip(1).map(|line| line.trim().to_ascii_uppercase()).collect();
        Ok(())
    }

    /// The parameters of an extension, if it is offered.
    fn offers(&self, name: &str) -> Option<&str> {
        self.extensions.iter().find_map(|line| {
            let (word, rest) = line.split_once([' ', '=']).unwrap_or((line, ""));
            (word == name).then_some(rest)
        })
    }

    /// PLAIN, else LOGIN (EM-04).
    pub(super) async fn authenticate(&mut self, user: &str, password: &Secret) -> Result<(), SendError> {
        let offered = self.offers("AUTH").unwrap_or_default().to_owned();
        let mechanisms: Vec<&str> = offered.split([' ', '=']).collect();
        let password = password.expose_text().map_err(|_| healable("the password is not text"))?;
        let reply = if mechanisms.contains(&"PLAIN") {
            let token = STANDARD.encode(format!("\0{user}\0{password}"));
            self.command(&format!("AUTH PLAIN {token}")).await?
        } else if mechanisms.contains(&"LOGIN") {
            let mut reply = self.command("AUTH LOGIN").await?;
            for answer in [user, password] {
                if reply.code != 334 {
                    break;
                }
                reply = self.command(&STANDARD.encode(answer)).await?;
            }
            reply
        } else {
            let offered = if offered.is_empty() { "nothing".into() } else { printable(&offered) };
            let text = format!("{}: the server takes no password by PLAIN or LOGIN; it offers {offered}", self.place);
            return Err(healable(&text));
        };
        match reply.code {
            235 => Ok(()),
            500..=599 => Err(healable(&format!("{}: AUTH: {} {}", self.place, reply.code, printable(&reply.text)))),
            _ => self.expect(&reply, 235, "AUTH"),
        }
    }

    /// Sends the mail. Any refusal before the content fails the attempt with nothing sent (EM-07).
    pub(super) async fn deliver(&mut self, from: &Address, to: &[Address], content: &[u8]) -> Result<(), SendError> {
        let wide = std::iter::once(from).chain(to).any(|address| !address.to_string().is_ascii());
        if wide && self.offers("SMTPUTF8").is_none() {
            let text = format!("{}: an address is not ASCII and the server does not take such addresses", self.place);
            return Err(SendError { ill: false, ..SendError::new(Class::RejectedFinal, text) });
        }
        let suffix = if wide { " SMTPUTF8" } else { "" };
        let reply = self.command(&format!("MAIL FROM:<{from}>{suffix}")).await?;
        self.expect(&reply, 250, "MAIL")?;
        for address in to {
            let reply = self.command(&format!("RCPT TO:<{address}>")).await?;
            if reply.code != 251 {
                self.expect(&reply, 250, "RCPT")?;
            }
        }
        let reply = self.command("DATA").await?;
        self.expect(&reply, 354, "DATA")?;
        let unknown = |error: SendError| SendError { class: Class::Unknown, ..error };
        self.write(&stuffed(content)).await.map_err(unknown)?;
        let reply = self.reply(FINAL_REPLY).await.map_err(unknown)?;
        self.expect(&reply, 250, "message")
    }

    /// Says goodbye; the mail is accepted already, so nothing that happens here matters.
    pub(super) async fn quit(&mut self) {
        let _ = timeout(Duration::from_secs(1), self.command("QUIT")).await;
    }

    async fn command(&mut self, line: &str) -> Result<Reply, SendError> {
        self.write(format!("{line}\r\n").as_bytes()).await?;
        self.reply(COMMAND).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        let writing = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        let result = timeout(COMMAND, writing).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        result.map_err(|error| self.cut(&error.to_string()))
    }

    async fn reply(&mut self, patience: Duration) -> Result<Reply, SendError> {
        match timeout(patience, self.read_reply()).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => Err(self.cut(&error.to_string())),
            Err(_) => Err(self.cut("no reply in time")),
        }
    }

    /// Lines `250-text` up to `250 text`.
    async fn read_reply(&mut self) -> std::io::Result<Reply> {
        let invalid = |text: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, text.to_owned());
        let mut all = String::new();
        let mut left = LARGEST_REPLY;
        loop {
            let mut line = Vec::new();
            let read = (&mut self.stream).take(left).read_until(b'\n', &mut line).await?;
            left = left.saturating_sub(read as u64);
            if read == 0 {
                let text = if left == 0 { "the reply is too long" } else { "the server closed the connection" };
                return Err(invalid(text));
            }
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\r', '\n']);
            let code: u16 = line.get(..3).and_then(|code| code.parse().ok()).ok_or_else(|| invalid("no SMTP reply"))?;
            all.push_str(line.get(4..).unwrap_or_default());
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(Reply { code, text: all });
            }
            all.push('\n');
        }
    }

    fn cut(&self, why: &str) -> SendError {
        SendError::new(Class::NotSent, format!("{}: {}", self.place, printable(why)))
    }

    fn expect(&self, reply: &Reply, wanted: u16, stage: &str) -> Result<(), SendError> {
        if reply.code == wanted {
            return Ok(());
        }
        let class = match reply.code {
            530 | 534 | 535 => Class::RejectedHealable,
            500..=599 if matches!(stage, "MAIL" | "RCPT" | "DATA" | "message") => Class::RejectedFinal,
            // Before a mail was offered a refusal is about the server, not about the mail.
            500..=599 => Class::Transient,
            400..=499 => Class::Transient,
            _ => Class::Unknown,
        };
        let text = format!("{}: {stage}: {} {}", self.place, reply.code, printable(&reply.text));
        Err(SendError { ill: class == Class::Transient && stage != "RCPT", ..SendError::new(class, text) })
    }
}

/// EM-01: port 465 speaks TLS from the first byte, with or without credentials; others are asked for STARTTLS.
pub(super) fn encrypted_at_once(mail: &Email) -> bool {
    mail.tls == MailTls::Implicit || (mail.port == 465 && mail.tls != MailTls::None)
}

/// The first address that answers.
async fn dial(addresses: &[SocketAddr]) -> std::io::Result<(TcpStream, SocketAddr)> {
    let mut last = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok((stream, *address)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Opens a connection, encrypted if so wanted, and closes it again.
pub(super) async fn reach(
    http: &Http,
    host: &str,
    port: u16,
    tls: bool,
    trust: &Trust,
    place: &str,
    connect: Duration,
) -> Result<(), SendError> {
    let not_sent = |why: &str| SendError::new(Class::NotSent, format!("{place}: {why}"));
    let opening = async {
        let addresses = http.resolve(host, port).await.map_err(http_error)?;
        dial(&addresses).await.map_err(|error| not_sent(&error.to_string()))
    };
    let (tcp, _) = timeout(connect, opening).await.map_err(|_| not_sent("no connection in time"))??;
    if tls {
        Encryption { http, host: host.trim_matches(['[', ']']), trust, place }.begin(tcp).await?;
    }
    Ok(())
}

struct Encryption<'a> {
    http: &'a Http,
    host: &'a str,
    trust: &'a Trust,
    place: &'a str,
}

impl Encryption<'_> {
    async fn begin<S: Stream + 'static>(&self, stream: S) -> Result<Box<dyn Stream>, SendError> {
        let mut config = self.http.tls(self.host, self.trust).map_err(http_error)?;
        config.alpn_protocols.clear();
        let name = ServerName::try_from(self.host.to_owned()).map_err(|_| healable("`host` is no host name"))?;
        match timeout(COMMAND, TlsConnector::from(Arc::new(config)).connect(name, stream)).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(error)) => {
                let text = format!("{}: TLS: {}", self.place, printable(&error.to_string()));
                let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
                Err(match inner {
                    Some(rustls::Error::InvalidCertificate(_)) => healable(&text),
                    _ => SendError::new(Class::NotSent, text),
                })
            }
            Err(_) => Err(SendError::new(Class::NotSent, format!("{}: TLS: no answer in time", self.place))),
        }
    }
}

/// Lines that begin with a dot get a second one; the end is a dot alone.
fn stuffed(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 64);
    let mut line_start = true;
    for byte in content {
        if line_start && *byte == b'.' {
            out.push(b'.');
        }
        out.push(*byte);
        line_start = *byte == b'\n';
    }
    if !line_start {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

/// One line of at most 512 characters.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(512).collect::<String>().trim().to_owned()
}
