//! An inbox for everything that notifications are sent to: any webhook, Slack's API, mail. It keeps a ledger of what it
//! accepted, so that "sent", "lost" and "sent twice" can be told apart, and misbehaves on request.

mod mail;
mod web;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

pub use mail::Manners;

/// How the next call goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: for a script whose second call fails.
    None,
    /// An answer over HTTP, not accepted.
    Status {
        /// Status code.
        code: u16,
        /// Header lines.
        headers: Vec<(String, String)>,
        /// Body.
        body: String,
    },
    /// Slack's `{"ok": false, "error": …}`, not accepted.
    Slack(String),
    /// A reply of the mail server at a stage (`greeting`, `EHLO`, `AUTH`, `MAIL`, `RCPT`, `DATA`, `message`): code and
    /// text.
    Mail {
        /// The stage.
        stage: String,
        /// The reply.
        reply: String,
    },
    /// Reads the request and says nothing for as long as the connection stands; not accepted.
    Stall,
    /// Reads the request and closes the connection; not accepted.
    Cut,
    /// Accepts, enters it in the ledger, and says nothing for as long as the connection stands.
    StallAfterAccepting,
    /// Accepts, enters it in the ledger, and closes the connection without a word.
    DieAfterAccepting,
}

impl Fault {
    /// An answer over HTTP without headers.
    pub fn status(code: u16) -> Fault {
        Fault::Status { code, headers: Vec::new(), body: format!("status {code} on request") }
    }

    /// An answer with `Retry-After`.
    pub fn retry_after(code: u16, value: &str) -> Fault {
        Fault::Status { code, headers: vec![("Retry-After".into(), value.into())], body: String::new() }
    }
}

/// Something the inbox accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// When.
    pub at: SystemTime,
    /// What.
    pub what: Item,
}

/// What was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A request that is not Slack's.
    Webhook {
        /// HTTP method.
        method: String,
        /// Path and query.
        target: String,
        /// Header fields, names in lower case.
        headers: BTreeMap<String, String>,
        /// The body.
        body: String,
    },
    /// A call of Slack's API.
    Slack {
        /// `chat.postMessage` or `chat.update`.
        method: String,
        /// The form.
        fields: BTreeMap<String, String>,
        /// The message's id, as given or as asked for.
        ts: String,
        /// The token.
        token: String,
    },
    /// A mail.
    Mail {
        /// Envelope sender.
        from: String,
        /// Envelope recipients.
        to: Vec<String>,
        /// Header and body, dots undone.
        content: String,
        /// Whether it came over TLS.
        encrypted: bool,
        /// Who authenticated; empty if nobody did.
        user: String,
    },
}

#[derive(Default)]
struct Ledger {
    accepted: Vec<Accepted>,
    calls: usize,
    script: VecDeque<Fault>,
    always: Option<Fault>,
    /// Slack's messages: ts and channel id.
    posted: Vec<(String, String)>,
}

struct Shared {
    ledger: Mutex<Ledger>,
    changed: watch::Sender<u64>,
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(&self, what: Item) {
        self.ledger().accepted.push(Accepted { at: SystemTime::now(), what });
        self.woke();
    }

    fn woke(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// Counts a call and says how it goes wrong.
    fn next_fault(&self) -> Fault {
        let mut ledger = self.ledger();
        ledger.calls += 1;
        let fault = ledger.script.pop_front().or_else(|| ledger.always.clone()).unwrap_or(Fault::None);
        drop(ledger);
        self.woke();
        fault
    }
}

/// The running inbox; it ends when dropped.
pub struct Inbox {
    shared: Arc<Shared>,
    web: SocketAddr,
    mail: SocketAddr,
    tasks: Vec<AbortHandle>,
}

impl Inbox {
    /// Starts on two free loopback ports: HTTP, and mail with these manners.
    ///
    /// # Errors
    /// If no port can be had.
    pub async fn start(manners: Manners) -> io::Result<Inbox> {
        let (changed, _) = watch::channel(0);
        let shared = Arc::new(Shared { ledger: Mutex::default(), changed });
        let web = TcpListener::bind("127.0.0.1:0").await?;
        let mail = TcpListener::bind("127.0.0.1:0").await?;
        let (web_address, mail_address) = (web.local_addr()?, mail.local_addr()?);
        let web_shared = shared.clone();
        let tls = manners.tls.clone().map(TlsAcceptor::from);
        let encrypted_web = manners.encrypted_web;
        let web = serve(web, move |stream| {
            let (shared, tls) = (web_shared.clone(), tls.clone().filter(|_| encrypted_web));
            async move {
                match tls {
                    Some(tls) => web::talk(tls.accept(stream).await?, &shared).await,
                    None => web::talk(stream, &shared).await,
                }
            }
        });
        let (mail_shared, manners) = (shared.clone(), Arc::new(manners));
        let mail = serve(mail, move |stream| {
            let (shared, manners) = (mail_shared.clone(), manners.clone());
            async move { mail::talk(stream, &shared, &manners).await }
        });
        Ok(Inbox { shared, web: web_address, mail: mail_address, tasks: vec![web, mail] })
    }

    /// `http://127.0.0.1:<port>`; Slack's API is below `/api/`.
    pub fn url(&self) -> String {
        format!("http://{}", self.web)
    }

    /// The address of the web part.
    pub fn web(&self) -> SocketAddr {
        self.web
    }

    /// The address of the mail part.
    pub fn mail(&self) -> SocketAddr {
        self.mail
    }

    /// How the next calls go wrong, one each.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.shared.ledger().script.extend(faults);
    }

    /// How every call goes wrong for which no script is left.
    pub fn always(&self, fault: Option<Fault>) {
        self.shared.ledger().always = fault;
    }

    /// Everything accepted so far, in order.
    pub fn accepted(&self) -> Vec<Accepted> {
        self.shared.ledger().accepted.clone()
    }

    /// How many messages were accepted so far.
    pub fn count(&self) -> usize {
        self.shared.ledger().accepted.len()
    }

    /// Calls so far, accepted or not.
    pub fn calls(&self) -> usize {
        self.shared.ledger().calls
    }

    /// Waits until the condition holds for what was accepted and the number of calls; `false` at the deadline.
    pub async fn wait(&self, deadline: Duration, condition: impl Fn(&[Accepted], usize) -> bool) -> bool {
        let mut changed = self.shared.changed.subscribe();
        let waiting = async {
            loop {
                {
                    let ledger = self.shared.ledger();
                    if condition(&ledger.accepted, ledger.calls) {
                        return;
                    }
                }
                if changed.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(deadline, waiting).await.is_ok()
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Answers connections until aborted; their tasks end with it.
fn serve<F>(listener: TcpListener, talk: impl Fn(TcpStream) -> F + Send + 'static) -> AbortHandle
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let task = tokio::spawn(async move {
        let mut open = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.spawn(talk(stream));
            while open.try_join_next().is_some() {}
        }
    });
    task.abort_handle()
}
