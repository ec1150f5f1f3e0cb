//! E-mail (notifications.md §13.4): the mail is written by lettre, the dialogue is `smtp.rs`.

use std::time::SystemTime;

use lettre::Address;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message as Mail};

use super::smtp::{self, Session};
use super::{Class, SendContext, SendError, Sent, Service};
use crate::config::services::{Email, MailTls};
use crate::core::notify::message::{Message, Part};

pub(super) fn endpoint(mail: &Email) -> (String, Vec<u8>) {
    let mut credential = mail.username.clone().into_bytes();
    credential.push(0);
    credential.extend_from_slice(mail.password.expose());
    (format!("smtp://{}:{}", mail.host, mail.port), credential)
}

pub(super) async fn send(
    service: &Service,
    mail: &Email,
    recipient: &str,
    message: &Message,
    context: &SendContext,
) -> Result<Sent, SendError> {
    let written = write(mail, recipient, message, context)?;
    let delivery = &service.config().delivery;
    let mut session = Session::open(&service.inner.http, mail, &service.trust(), delivery.connect_timeout).await?;
    authenticate(&mut session, mail).await?;
    session.deliver(&written.from, &written.to, &written.content).await?;
    session.quit().await;
    Ok(Sent::default())
}

/// Connects and logs in as for a mail, and sends none.
pub(super) async fn probe(service: &Service, mail: &Email) -> Result<String, SendError> {
    let connect = service.config().delivery.connect_timeout;
    let mut session = Session::open(&service.inner.http, mail, &service.trust(), connect).await?;
    authenticate(&mut session, mail).await?;
    let encrypted = if session.is_encrypted() { "encrypted" } else { "not encrypted" };
    session.quit().await;
    let login = if mail.username.is_empty() || mail.password.is_empty() { "no login" } else { "logged in" };
    Ok(format!("smtp://{}:{} answers, {encrypted}, {login}", mail.host, mail.port))
}

async fn authenticate(session: &mut Session, mail: &Email) -> Result<(), SendError> {
    if mail.username.is_empty() || mail.password.is_empty() {
        return Ok(());
    }
    if !session.is_private() && mail.tls != MailTls::None {
        let text = "the connection is not encrypted; user and password are not sent over it";
        return Err(smtp::healable(text));
    }
    session.authenticate(&mail.username, &mail.password).await
}

struct Written {
    from: Address,
    to: Vec<Address>,
    content: Vec<u8>,
}

/// The mail and its envelope. Text from outside reaches headers only through lettre's encoding, with line breaks gone
/// before (SEC-06).
fn write(mail: &Email, recipient: &str, message: &Message, context: &SendContext) -> Result<Written, SendError> {
    let from = mailbox(&mail.from).ok_or_else(|| smtp::healable("`from` is no mail address"))?;
    let mut recipients = Vec::new();
    for part in recipient.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let address = mailbox(part).ok_or_else(|| smtp::healable("the recipient is no mail address"))?;
        recipients.push(address);
    }
    if recipients.is_empty() {
        return Err(smtp::healable("the recipient is empty"));
    }
    let (subject, body) = match &message.part {
        Part::Email(part) => (part.subject.as_str(), if part.body.is_empty() { &message.text } else { &part.body }),
        _ => ("", &message.text),
    };
    let kind = if mail.html { ContentType::TEXT_HTML } else { ContentType::TEXT_PLAIN };
    let id = format!("<{}@{}>", context.event_id, from.email.domain());
    let mut builder = Mail::builder()
        .from(from.clone())
        .subject(one_line(subject))
        .message_id(Some(id))
        .date(SystemTime::from(context.now))
        .header(kind)
        .header(ContentTransferEncoding::QuotedPrintable)
        .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".into()));
    for address in &recipients {
        builder = builder.to(address.clone());
    }
    let unwritable = |error: lettre::error::Error| SendError {
        ill: false,
        ..SendError::new(Class::RejectedFinal, format!("the mail cannot be written: {error}"))
    };
    let content = builder.body(body.clone()).map_err(unwritable)?.formatted();
    Ok(Written { from: from.email, to: recipients.into_iter().map(|mailbox| mailbox.email).collect(), content })
}

/// EM-07: parsed before use; control characters are refused before any library sees them.
fn mailbox(text: &str) -> Option<Mailbox> {
    if text.chars().any(char::is_control) {
        return None;
    }
    text.parse().ok()
}

/// EM-05: line breaks inside become one space, those at the end vanish; other control characters vanish.
fn one_line(subject: &str) -> String {
    let mut line = String::with_capacity(subject.len());
    for part in subject.split(['\r', '\n']).filter(|part| !part.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(part.chars().filter(|c| !c.is_control() || *c == '\t'));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn em_05_subjects_are_one_line() {
        for (subject, line) in [
            ("plain", "plain"),
            ("a\r\nBcc: x@y", "a Bcc: x@y"),
            ("a\n\n\nb\n", "a b"),
            ("end\r\n", "end"),
            ("nul\0bell\u{7}", "nulbell"),
            ("", ""),
        ] {
            assert_eq!(one_line(subject), line, "{subject:?}");
        }
    }

    #[test]
    fn em_07_addresses_are_parsed_before_use() {
        for good in ["a@b.example", "Ops Team <ops@b.example>", "a+tag@b.example"] {
            assert!(mailbox(good).is_some(), "{good}");
        }
        for bad in ["", "a", "a@", "@b", "a@b\r\nRCPT TO:<x@y>", "a\0@b.example", "a b@c.example", "<>", "a@b>x"] {
            assert!(mailbox(bad).is_none(), "{bad:?}");
        }
    }
}
