//! A mail server that takes everything it is not told to refuse.

use std::future::pending;
use std::io;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::{Fault, Item, Shared};

const LARGEST_LINE: u64 = 64 << 10;

/// What the mail server offers.
#[derive(Clone, Default)]
pub struct Manners {
    /// Certificate and key.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// TLS from the first byte.
    pub implicit: bool,
    /// STARTTLS is offered.
    pub starttls: bool,
    /// Mechanisms offered, `PLAIN LOGIN`; empty for none.
    pub auth: String,
    /// Says something in clear behind the answer to STARTTLS, as somebody in between would.
    pub injects: bool,
    /// The web part speaks TLS as well.
    pub encrypted_web: bool,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

type Wire = BufReader<Box<dyn Stream>>;

#[derive(Default)]
struct Letter {
    from: String,
    to: Vec<String>,
    user: String,
}

pub(super) async fn talk(tcp: TcpStream, shared: &Shared, manners: &Manners) -> io::Result<()> {
    let fault = shared.next_fault();
    let acceptor = manners.tls.clone().map(TlsAcceptor::from);
    let mut encrypted = manners.implicit;
    let stream: Box<dyn Stream> = match &acceptor {
        Some(acceptor) if manners.implicit => Box::new(acceptor.accept(tcp).await?),
        _ => Box::new(tcp),
    };
    let mut wire = BufReader::new(stream);
    let mut letter = Letter::default();
    say(&mut wire, &refusal(&fault, "greeting").unwrap_or_else(|| "220 inbox ready".into())).await?;
    while let Some(line) = hear(&mut wire).await? {
        let (word, rest) = line.split_once(' ').unwrap_or((line.as_str(), ""));
        let word = word.to_ascii_uppercase();
        if let Some(reply) = refusal(&fault, &word) {
            say(&mut wire, &reply).await?;
            continue;
        }
        match word.as_str() {
            "EHLO" => say(&mut wire, &offers(manners, encrypted)).await?,
            "STARTTLS" => {
                let Some(acceptor) = &acceptor else { return say(&mut wire, "454 no certificate").await };
                let more = if manners.injects { "\r\n250 come closer" } else { "" };
                say(&mut wire, &format!("220 go ahead{more}")).await?;
                wire = BufReader::new(Box::new(acceptor.accept(wire.into_inner()).await?) as Box<dyn Stream>);
                encrypted = true;
            }
            "AUTH" => letter.user = authenticate(&mut wire, rest).await?,
            "MAIL" => {
                letter.from = address(rest);
                say(&mut wire, "250 sender taken").await?;
            }
            "RCPT" => {
                letter.to.push(address(rest));
                say(&mut wire, "250 recipient taken").await?;
            }
            "DATA" => {
                say(&mut wire, "354 go on").await?;
                if !take(&mut wire, shared, &fault, std::mem::take(&mut letter), encrypted).await? {
                    return Ok(());
                }
            }
            "QUIT" => return say(&mut wire, "221 bye").await,
            _ => say(&mut wire, "250 well").await?,
        }
    }
    Ok(())
}

fn refusal(fault: &Fault, now: &str) -> Option<String> {
    match fault {
        Fault::Mail { stage, reply } if stage == now => Some(reply.clone()),
        _ => None,
    }
}

fn offers(manners: &Manners, encrypted: bool) -> String {
    let mut lines = vec!["inbox".to_owned(), "8BITMIME".to_owned()];
    if manners.starttls && !encrypted {
        lines.push("STARTTLS".into());
    }
    if !manners.auth.is_empty() {
        lines.push(format!("AUTH {}", manners.auth));
    }
    let last = lines.len() - 1;
    let marked = lines.iter().enumerate().map(|(n, line)| format!("250{}{line}", if n == last { ' ' } else { '-' }));
    marked.collect::<Vec<_>>().join("\r\n")
}

async fn authenticate(wire: &mut Wire, rest: &str) -> io::Result<String> {
    let decoded = |text: &str| STANDARD.decode(text).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let user = match rest.split_once(' ') {
        Some(("PLAIN", token)) => decoded(token).ok().and_then(|all| all.split('\0').nth(1).map(str::to_owned)),
        _ if rest == "LOGIN" => {
            say(wire, "334 VXNlcm5hbWU6").await?;
            let user = hear(wire).await?.unwrap_or_default();
            say(wire, "334 UGFzc3dvcmQ6").await?;
            hear(wire).await?;
            decoded(&user).ok()
        }
        _ => None,
    };
    say(wire, if user.is_some() { "235 welcome" } else { "535 no" }).await?;
    Ok(user.unwrap_or_default())
}

/// Reads the content and accepts it, or what the fault says; `false` ends the connection.
async fn take(wire: &mut Wire, shared: &Shared, fault: &Fault, letter: Letter, encrypted: bool) -> io::Result<bool> {
    let mut content = String::new();
    loop {
        let Some(line) = hear(wire).await? else { return Ok(false) };
        if line == "." {
            break;
        }
        content.push_str(line.strip_prefix('.').unwrap_or(&line));
        content.push_str("\r\n");
    }
    match fault {
        Fault::Stall => pending().await,
        Fault::Cut => return Ok(false),
        _ => {}
    }
    if let Some(reply) = refusal(fault, "message") {
        say(wire, &reply).await?;
        return Ok(true);
    }
    let Letter { from, to, user } = letter;
    shared.accept(Item::Mail { from, to, content, encrypted, user });
    if *fault == Fault::StallAfterAccepting {
        pending().await
    }
    if *fault == Fault::DieAfterAccepting {
        return Ok(false);
    }
    say(wire, "250 taken").await?;
    Ok(true)
}

/// `FROM:<a@b>` and what follows.
fn address(rest: &str) -> String {
    rest.split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'))
        .map(|(address, _)| address.to_owned())
        .unwrap_or_default()
}

async fn say(wire: &mut Wire, text: &str) -> io::Result<()> {
    wire.write_all(format!("{text}\r\n").as_bytes()).await?;
    wire.flush().await
}

async fn hear(wire: &mut Wire) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if wire.take(LARGEST_LINE).read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()))
}
