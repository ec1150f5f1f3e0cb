//! Slack (notifications.md §13.3): the form posts of Argo CD Notifications, threads, and what each error means.

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use url::form_urlencoded::Serializer;

use super::super::http::{Limits, Method, Url};
use super::{Class, SendContext, SendError, Sent, Service, ThreadNews, Throttle, http_error};
use crate::config::services::Slack;
use crate::core::notify::message::{DeliveryPolicy, Message, Part, SlackPart, Thread};
use crate::core::retry::retry_after;

/// Slack repeats the whole message in its answer, and the answer is needed: it names the thread. 64 KiB would cut it.
const LARGEST_ANSWER: usize = 1 << 20;

/// The wait after `ratelimited` without a `Retry-After`.
const UNNAMED_WAIT: Duration = Duration::from_secs(30);

/// The step after which a message of several calls goes on with the update of its thread's root.
const POSTED: &str = "post";

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    ok: bool,
    #[serde(default)]
    error: String,
    #[serde(default)]
    channel: String,
    #[serde(default)]
    ts: String,
}

pub(super) fn endpoint(slack: &Slack) -> (String, Vec<u8>) {
    let place = Url::parse(&slack.api_url).map_or_else(|_| "slack".into(), |url| url.origin().ascii_serialization());
    (place, slack.token.expose().to_vec())
}

/// One call to make.
enum Call<'a> {
    Post { thread: Option<&'a Thread> },
    Update { root: &'a Thread },
}

/// How much of the message is sent.
#[derive(Clone, Copy, PartialEq)]
enum Form<'a> {
    Whole,
    /// Text only, with the reason (SL-08).
    TextOnly(&'a str),
}

pub(super) async fn send(
    service: &Service,
    slack: &Slack,
    recipient: &str,
    message: &Message,
    context: &SendContext,
) -> Result<Sent, SendError> {
    let sender = Sender { service, slack, recipient, message, context };
    let none = SlackPart::default();
    let part = sender.part().unwrap_or(&none);
    let grouped = !part.grouping_key.is_empty();
    let known = context.thread.as_ref().filter(|_| grouped);
    let posted = context.steps.iter().any(|step| step == POSTED);
    let (call, more) = match (part.delivery_policy, known) {
        (DeliveryPolicy::Update, Some(root)) => (Call::Update { root }, false),
        (DeliveryPolicy::PostAndUpdate, Some(root)) if posted => (Call::Update { root }, false),
        (DeliveryPolicy::PostAndUpdate, Some(root)) => (Call::Post { thread: Some(root) }, true),
        (_, thread) => (Call::Post { thread }, false),
    };
    match sender.call(&call).await {
        Ok(answer) => {
            let thread = match (grouped, known) {
                (false, _) => None,
                (true, Some(root)) => Some(ThreadNews::Is(root.clone())),
                (true, None) => Some(ThreadNews::Is(Thread { channel: answer.channel, ts: answer.ts })),
            };
            Ok(Sent { more_after: more.then_some(POSTED), thread, note: sender.icon_note() })
        }
        // SL-07: the thread is gone; begin a new one.
        Err(Trouble::Thread(_)) if known.is_some() => match sender.call(&Call::Post { thread: None }).await {
            Ok(answer) => Ok(Sent {
                thread: Some(ThreadNews::Is(Thread { channel: answer.channel, ts: answer.ts })),
                note: sender.icon_note(),
                more_after: None,
            }),
            Err(trouble) => Err(SendError { thread: Some(ThreadNews::Gone), ..trouble.into() }),
        },
        Err(trouble) => Err(trouble.into()),
    }
}

/// Asks whose token it is.
pub(super) async fn probe(service: &Service, slack: &Slack) -> Result<String, SendError> {
    let healable = |text: &str| SendError::new(Class::RejectedHealable, text);
    let url = Url::parse(&slack.api_url).and_then(|base| base.join("auth.test"));
    let url = url.map_err(|_| healable("`apiURL` is no URL"))?;
    let request = service.inner.http.request(Method::POST, url).trust(&service.trust()).limits(service.limits());
    let reply = request.bearer(&slack.token).send().await.map_err(http_error)?.ok().map_err(http_error)?;
    let answer = reply.json::<Who>().map_err(http_error)?;
    match answer.ok {
        true => Ok(format!("the token is {}'s in {}", shown(&answer.user), shown(&answer.team))),
        false => Err(refused(&answer.error, None).into()),
    }
}

#[derive(Deserialize)]
struct Who {
    #[serde(default)]
    ok: bool,
    #[serde(default)]
    error: String,
    #[serde(default)]
    user: String,
    #[serde(default)]
    team: String,
}

/// A name from outside, for a terminal.
fn shown(name: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control()).take(80).collect();
    if name.is_empty() { "somebody".to_owned() } else { name }
}

/// A call that failed.
enum Trouble {
    /// The thread cannot be used any more.
    Thread(String),
    /// Anything else.
    Other(SendError),
}

impl From<Trouble> for SendError {
    fn from(trouble: Trouble) -> SendError {
        match trouble {
            Trouble::Other(error) => error,
            Trouble::Thread(word) => {
                SendError { ill: false, ..SendError::new(Class::RejectedFinal, format!("slack: {word}")) }
            }
        }
    }
}

struct Sender<'a> {
    service: &'a Service,
    slack: &'a Slack,
    recipient: &'a str,
    message: &'a Message,
    context: &'a SendContext,
}

impl Sender<'_> {
    fn part(&self) -> Option<&SlackPart> {
        match &self.message.part {
            Part::Slack(part) => Some(part),
            _ => None,
        }
    }

    /// Makes a call; where Slack cannot show the message's blocks or has no text, once more with text only (SL-08).
    async fn call(&self, call: &Call<'_>) -> Result<Answer, Trouble> {
        let (answer, asked) = self.exchange(call, Form::Whole).await?;
        if answer.ok {
            return Ok(answer);
        }
        if !unshowable(&answer.error) {
            return Err(refused(&answer.error, asked));
        }
        let (again, asked) = self.exchange(call, Form::TextOnly(&answer.error)).await?;
        if again.ok { Ok(again) } else { Err(refused(&again.error, asked)) }
    }

    /// One call: the answer, and the wait it asks for.
    async fn exchange(&self, call: &Call<'_>, form: Form<'_>) -> Result<(Answer, Option<Duration>), Trouble> {
        let method = match call {
            Call::Post { .. } => "chat.postMessage",
            Call::Update { .. } => "chat.update",
        };
        let healable = |text: &str| Trouble::Other(SendError::new(Class::RejectedHealable, text));
        let url = Url::parse(&self.slack.api_url).and_then(|base| base.join(method));
        let url = url.map_err(|_| healable("`apiURL` is no URL"))?;
        let limits = Limits { bytes: LARGEST_ANSWER, ..self.service.limits() };
        let request = self.service.inner.http.request(Method::POST, url).trust(&self.service.trust()).limits(limits);
        let request = request.bearer(&self.slack.token).header("Content-Type", "application/x-www-form-urlencoded");
        let failed = |error| {
            let error = http_error(error);
            // Slack limits each channel by itself (SL-06).
            let throttled = error.throttled.map(|_| Throttle::Lane);
            Trouble::Other(SendError { throttled, ..error })
        };
        let reply = request.body(self.fields(call, form)).send().await.map_err(failed)?.ok().map_err(failed)?;
        let asked = reply.retry_after(SystemTime::now());
        reply.json::<Answer>().map(|answer| (answer, asked)).map_err(failed)
    }

    /// The form, in a fixed order.
    fn fields(&self, call: &Call<'_>, form: Form<'_>) -> String {
        let mut fields = Serializer::new(String::new());
        let channel = match call {
            Call::Post { .. } => self.recipient,
            Call::Update { root } => &root.channel,
        };
        fields.append_pair("channel", channel);
        match form {
            Form::Whole => fields.append_pair("text", &self.message.text),
            Form::TextOnly(why) => {
                let text = &self.message.text;
                let text = if text.trim().is_empty() { &self.context.default_text } else { text };
                fields.append_pair("text", &format!("{text}\n(template problem: slack: {why})"))
            }
        };
        let (username, icon) = self.face();
        if !username.is_empty() {
            fields.append_pair("username", username);
        }
        match icon_kind(icon) {
            Icon::Emoji => drop(fields.append_pair("icon_emoji", icon)),
            Icon::Url => drop(fields.append_pair("icon_url", icon)),
            Icon::None | Icon::Neither => {}
        }
        if self.slack.disable_unfurl {
            fields.append_pair("unfurl_links", "false").append_pair("unfurl_media", "false");
        }
        if let (Some(part), Form::Whole) = (self.part(), form) {
            let attachments = if part.attachments.is_empty() { "[]" } else { &part.attachments };
            fields.append_pair("attachments", attachments);
            if !part.blocks.is_empty() {
                fields.append_pair("blocks", &part.blocks);
            }
        }
        match call {
            Call::Update { root } => drop(fields.append_pair("ts", &root.ts).append_pair("as_user", "true")),
            Call::Post { thread } => {
                if let Some(thread) = thread {
                    fields.append_pair("thread_ts", &thread.ts);
                }
                if self.part().is_some_and(|part| part.notify_broadcast) {
                    fields.append_pair("reply_broadcast", "true");
                }
            }
        }
        fields.finish()
    }

    /// Name and icon: the template's, else the service's.
    fn face(&self) -> (&str, &str) {
        let (username, icon) = self.part().map_or(("", ""), |part| (&part.username, &part.icon));
        (
            if username.is_empty() { &self.slack.username } else { username },
            if icon.is_empty() { &self.slack.icon } else { icon },
        )
    }

    fn icon_note(&self) -> String {
        match icon_kind(self.face().1) {
            Icon::Neither => "the icon is neither an :emoji: nor a URL; left out".into(),
            _ => String::new(),
        }
    }
}

enum Icon {
    None,
    Emoji,
    Url,
    Neither,
}

fn icon_kind(icon: &str) -> Icon {
    if icon.is_empty() {
        return Icon::None;
    }
    let inner = icon.strip_prefix(':').and_then(|rest| rest.strip_suffix(':'));
    if inner.is_some_and(|name| !name.is_empty() && !name.contains(char::is_whitespace)) {
        return Icon::Emoji;
    }
    match Url::parse(icon) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Icon::Url,
        _ => Icon::Neither,
    }
}

fn unshowable(error: &str) -> bool {
    matches!(
        error,
        "invalid_blocks" | "invalid_attachments" | "msg_blocks_too_long" | "too_many_attachments" | "no_text"
    )
}

/// The error table: SL-06 to SL-09 and §12.2.
fn refused(error: &str, asked: Option<Duration>) -> Trouble {
    let (class, advice) = match error {
        "message_not_found" | "thread_not_found" | "cant_update_message" | "edit_window_closed" => {
            return Trouble::Thread(error.to_owned());
        }
        "ratelimited" | "rate_limited" => {
            let throttle = SendError {
                throttled: Some(Throttle::Lane),
                ill: false,
                retry_after: Some(retry_after(asked.unwrap_or(UNNAMED_WAIT))),
                ..SendError::new(Class::NotSent, "slack: ratelimited")
            };
            return Trouble::Other(throttle);
        }
        "service_unavailable" => (Class::Transient, ""),
        "internal_error" | "fatal_error" | "request_timeout" => (Class::Unknown, ""),
        "not_in_channel" => (Class::RejectedHealable, "invite the app into the channel"),
        "channel_not_found" => (Class::RejectedHealable, "check the channel's name; invite the app if it is private"),
        "is_archived" => (Class::RejectedHealable, "the channel is archived; choose another one"),
        "invalid_auth" | "not_authed" | "token_revoked" | "token_expired" | "account_inactive" => {
            (Class::RejectedHealable, "put a valid bot token into the Secret")
        }
        "missing_scope" => (Class::RejectedHealable, "give the app the scopes chat:write and chat:write.public"),
        "restricted_action" | "no_permission" => {
            (Class::RejectedHealable, "an administrator must allow the app to post there")
        }
        _ => (Class::RejectedFinal, ""),
    };
    // The word comes from outside; only its letters are repeated.
    let word: String = error.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(64).collect();
    let text = if advice.is_empty() { format!("slack: {word}") } else { format!("slack: {word}: {advice}") };
    let ill = matches!(class, Class::Unknown | Class::Transient);
    Trouble::Other(SendError { ill, ..SendError::new(class, text) })
}
