//! How values that are more than one column look in the store: JSON of these shapes. A field that is new gets a
//! default, so that older rows stay readable.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Error;
use crate::adapters::redact;
use crate::core::application::AppKey;
use crate::core::event::{Earlier, Event, Kind, Moved, Place};
use crate::core::notify::message::{DeliveryPolicy, EmailPart, Message, Part, SlackPart, WebhookPart};
use crate::core::notify::row::Payload;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PayloadWire {
    Rendered(MessageWire),
    Deferred,
    Failed(String),
}

#[derive(Serialize, Deserialize)]
struct MessageWire {
    text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    part: Option<PartWire>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PartWire {
    Webhook { method: String, path: String, body: String },
    Slack(SlackWire),
    Email { subject: String, body: String },
}

#[derive(Serialize, Deserialize)]
struct SlackWire {
    attachments: String,
    blocks: String,
    username: String,
    icon: String,
    grouping_key: String,
    notify_broadcast: bool,
    policy: String,
}

impl From<&Message> for MessageWire {
    fn from(message: &Message) -> Self {
        let part = match message.part.clone() {
            Part::None => None,
            Part::Webhook(WebhookPart { method, path, body }) => Some(PartWire::Webhook { method, path, body }),
            Part::Email(EmailPart { subject, body }) => Some(PartWire::Email { subject, body }),
            Part::Slack(slack) => Some(PartWire::Slack(SlackWire {
                attachments: slack.attachments,
                blocks: slack.blocks,
                username: slack.username,
                icon: slack.icon,
                grouping_key: slack.grouping_key,
                notify_broadcast: slack.notify_broadcast,
                policy: slack.delivery_policy.word().to_owned(),
            })),
        };
        MessageWire { text: message.text.clone(), part }
    }
}

impl From<MessageWire> for Message {
    fn from(wire: MessageWire) -> Self {
        let part = match wire.part {
            None => Part::None,
            Some(PartWire::Webhook { method, path, body }) => Part::Webhook(WebhookPart { method, path, body }),
            Some(PartWire::Email { subject, body }) => Part::Email(EmailPart { subject, body }),
            Some(PartWire::Slack(slack)) => Part::Slack(SlackPart {
                attachments: slack.attachments,
                blocks: slack.blocks,
                username: slack.username,
                icon: slack.icon,
                grouping_key: slack.grouping_key,
                notify_broadcast: slack.notify_broadcast,
                delivery_policy: DeliveryPolicy::from_word(&slack.policy).0,
            }),
        };
        Message { text: wire.text, part }
    }
}

pub(super) fn payload_text(payload: &Payload) -> Result<String, Error> {
    encode(&match payload {
        Payload::Rendered(message) => PayloadWire::Rendered(message.into()),
        Payload::Deferred => PayloadWire::Deferred,
        Payload::Failed(reason) => PayloadWire::Failed(reason.clone()),
    })
}

pub(super) fn rendered_text(message: &Message) -> Result<String, Error> {
    encode(&PayloadWire::Rendered(message.into()))
}

pub(super) fn payload(text: &str) -> Result<Payload, Error> {
    Ok(match decode("payload", text)? {
        PayloadWire::Rendered(message) => Payload::Rendered(message.into()),
        PayloadWire::Deferred => Payload::Deferred,
        PayloadWire::Failed(reason) => Payload::Failed(reason),
    })
}

#[derive(Serialize, Deserialize)]
struct EventWire {
    id: String,
    kind: String,
    at: String,
    namespace: String,
    name: String,
    uid: String,
    project: String,
    change: String,
    alias: String,
    image: String,
    old: String,
    new: String,
    reason: String,
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<PlaceWire>,
    count: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    earlier: Option<EarlierWire>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    apps: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    strategy: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_seen: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    revision: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    owner: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    beside: Vec<MovedWire>,
}

#[derive(Serialize, Deserialize)]
struct MovedWire {
    alias: String,
    image: String,
    old: String,
    new: String,
    strategy: String,
}

#[derive(Serialize, Deserialize)]
struct EarlierWire {
    id: String,
    at: String,
}

#[derive(Serialize, Deserialize)]
struct PlaceWire {
    method: String,
    repository: String,
    branch: String,
    commit: String,
    file: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    message: String,
    diff: String,
}

impl From<&Event> for EventWire {
    fn from(event: &Event) -> Self {
        let event = event.clone();
        EventWire {
            id: event.id,
            kind: event.kind.word().to_owned(),
            at: event.at.to_string(),
            namespace: event.app.namespace,
            name: event.app.name,
            uid: event.app_uid,
            project: event.project,
            change: event.change,
            alias: event.alias,
            image: event.image,
            old: event.old,
            new: event.new,
            reason: redact::clean(&event.reason).into_owned(),
            message: redact::clean(&event.message).into_owned(),
            place: event.place.map(|place| PlaceWire {
                method: place.method,
                repository: place.repository,
                branch: place.branch,
                commit: place.commit,
                file: place.file,
                message: place.message,
                diff: place.diff,
            }),
            count: event.count,
            earlier: event.earlier.map(|earlier| EarlierWire { id: earlier.id, at: earlier.at.to_string() }),
            apps: event.apps,
            strategy: event.strategy,
            first_seen: event.first_seen.map(|at| at.to_string()),
            revision: event.revision,
            owner: event.owner,
            beside: event.beside.into_iter().map(MovedWire::from).collect(),
        }
    }
}

impl From<Moved> for MovedWire {
    fn from(Moved { alias, image, old, new, strategy }: Moved) -> Self {
        MovedWire { alias, image, old, new, strategy }
    }
}

impl From<MovedWire> for Moved {
    fn from(MovedWire { alias, image, old, new, strategy }: MovedWire) -> Self {
        Moved { alias, image, old, new, strategy }
    }
}

impl TryFrom<EventWire> for Event {
    type Error = Error;

    fn try_from(wire: EventWire) -> Result<Self, Error> {
        Ok(Event {
            kind: Kind::from_word(&wire.kind).ok_or_else(|| Error::Unreadable(format!("kind {}", wire.kind)))?,
            at: wire.at.parse::<Timestamp>().map_err(|error| Error::Unreadable(error.to_string()))?,
            id: wire.id,
            app: AppKey { namespace: wire.namespace, name: wire.name },
            app_uid: wire.uid,
            project: wire.project,
            change: wire.change,
            alias: wire.alias,
            image: wire.image,
            old: wire.old,
            new: wire.new,
            reason: wire.reason,
            message: wire.message,
            place: wire.place.map(|place| Place {
                method: place.method,
                repository: place.repository,
                branch: place.branch,
                commit: place.commit,
                file: place.file,
                message: place.message,
                diff: place.diff,
            }),
            count: wire.count,
            earlier: match wire.earlier {
                None => None,
                Some(EarlierWire { id, at }) => {
                    let at = at.parse().map_err(|error: jiff::Error| Error::Unreadable(error.to_string()))?;
                    Some(Earlier { id, at })
                }
            },
            apps: wire.apps,
            strategy: wire.strategy,
            first_seen: wire.first_seen.and_then(|at| at.parse().ok()),
            revision: wire.revision,
            owner: wire.owner,
            beside: wire.beside.into_iter().map(Moved::from).collect(),
        })
    }
}

pub(super) fn event_text(event: &Event) -> Result<String, Error> {
    encode(&EventWire::from(event))
}

pub(super) fn event(text: &str) -> Result<Event, Error> {
    decode::<EventWire>("event", text)?.try_into()
}

pub(super) fn events_text(events: &[Event]) -> Result<String, Error> {
    encode(&events.iter().map(EventWire::from).collect::<Vec<_>>())
}

pub(super) fn events(text: &str) -> Result<Vec<Event>, Error> {
    decode::<Vec<EventWire>>("events", text)?.into_iter().map(TryInto::try_into).collect()
}

pub(super) fn encode<T: Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Unreadable(error.to_string()))
}

pub(super) fn decode<'a, T: Deserialize<'a>>(what: &str, text: &'a str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| Error::Unreadable(format!("{what}: {error}")))
}

pub(super) fn moment(micros: i64) -> Result<Timestamp, Error> {
    Timestamp::from_microsecond(micros).map_err(|error| Error::Unreadable(error.to_string()))
}
