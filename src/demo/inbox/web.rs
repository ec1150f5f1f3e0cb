//! HTTP by hand, because it must be possible to break it at any byte.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use super::{Fault, Item, Shared};

const LARGEST_HEAD: u64 = 64 << 10;
const LARGEST_BODY: u64 = 4 << 20;

struct Call {
    method: String,
    target: String,
    headers: BTreeMap<String, String>,
    body: String,
}

pub(super) async fn talk<S: AsyncRead + AsyncWrite + Unpin>(stream: S, shared: &Shared) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(call) = read(&mut stream).await? {
        let (mut status, mut headers, mut body) = (200, Vec::new(), "ok".to_owned());
        match shared.next_fault() {
            Fault::Stall => pending().await,
            Fault::Cut => return Ok(()),
            Fault::DieAfterAccepting => {
                accept(shared, call);
                return Ok(());
            }
            Fault::StallAfterAccepting => {
                accept(shared, call);
                pending().await
            }
            Fault::Status { code, headers: lines, body: text } => (status, headers, body) = (code, lines, text),
            Fault::Slack(error) => body = serde_json::json!({"ok": false, "error": error}).to_string(),
            Fault::None | Fault::Mail { .. } => body = accept(shared, call),
        }
        let mut head = format!("HTTP/1.1 {status} Answer\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).await?;
        stream.flush().await?;
    }
    Ok(())
}

async fn read<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> io::Result<Option<Call>> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let mut limited = stream.take(LARGEST_HEAD);
    let mut first = String::new();
    if limited.read_line(&mut first).await? == 0 {
        return Ok(None);
    }
    let mut words = first.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Err(invalid()) };
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        limited.read_line(&mut line).await?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(invalid)?;
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length: u64 = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length.min(LARGEST_BODY) as usize];
    stream.read_exact(&mut body).await?;
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Some(Call { method: method.to_owned(), target: target.to_owned(), headers, body }))
}

/// Enters a call into the ledger; gives the answer's body.
fn accept(shared: &Shared, call: Call) -> String {
    if call.target.ends_with("/auth.test") {
        // A question, no message.
        return serde_json::json!({"ok": true, "user": "lynceus", "team": "Acme"}).to_string();
    }
    let slack =
        ["chat.postMessage", "chat.update"].into_iter().find(|method| call.target.ends_with(&format!("/{method}")));
    let Some(method) = slack else {
        let Call { method, target, headers, body } = call;
        shared.accept(Item::Webhook { method, target, headers, body });
        return "ok".into();
    };
    let fields: BTreeMap<String, String> = url::form_urlencoded::parse(call.body.as_bytes()).into_owned().collect();
    let text = |name: &str| fields.get(name).cloned().unwrap_or_default();
    let mut ledger = shared.ledger();
    let (channel, ts) = if method == "chat.update" {
        let known = (text("ts"), text("channel"));
        if !ledger.posted.contains(&known) {
            return serde_json::json!({"ok": false, "error": "message_not_found"}).to_string();
        }
        (known.1, known.0)
    } else {
        // Slack takes a channel's name and answers with its id.
        let channel = format!("C-{}", text("channel"));
        let ts = format!("1700000000.{:06}", ledger.posted.len() + 1);
        ledger.posted.push((ts.clone(), channel.clone()));
        (channel, ts)
    };
    drop(ledger);
    let authorization = call.headers.get("authorization").map(String::as_str).unwrap_or_default();
    let token = authorization.strip_prefix("Bearer ").unwrap_or_default().to_owned();
    shared.accept(Item::Slack { method: method.to_owned(), fields, ts: ts.clone(), token });
    serde_json::json!({"ok": true, "channel": channel, "ts": ts, "message": {"type": "message"}}).to_string()
}
