//! Message: what one destination is sent, already rendered: the common text plus the part that its service
//! understands (notifications.md §8.1).

/// A rendered message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The template's `message`.
    pub text: String,
    /// What only this kind of service understands.
    pub part: Part,
}

/// The part of a message for one kind of service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// The template has no block for this service.
    #[default]
    None,
    /// A `webhook.<service>` block.
    Webhook(WebhookPart),
    /// A `slack` block.
    Slack(SlackPart),
    /// An `email` block.
    Email(EmailPart),
}

/// A `webhook.<service>` block; its presence alone changes the request (WH-01, WH-02).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhookPart {
    /// HTTP method; empty means GET.
    pub method: String,
    /// Path joined to the service's URL; empty means none.
    pub path: String,
    /// Body, sent even if empty.
    pub body: String,
}

/// A `slack` block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlackPart {
    /// JSON array text; empty means none.
    pub attachments: String,
    /// JSON array text; empty means none.
    pub blocks: String,
    /// Overrides the service's.
    pub username: String,
    /// `:emoji:` or URL; overrides the service's.
    pub icon: String,
    /// Messages of one key share a thread; empty means none.
    pub grouping_key: String,
    /// Replies are shown in the channel as well.
    pub notify_broadcast: bool,
    /// What happens when the thread is known.
    pub delivery_policy: DeliveryPolicy,
}

/// A thread at the receiver: the first message of a group, by which later ones join it (SL-02).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Channel id, as the receiver's answer to the first message named it.
    pub channel: String,
    /// The first message.
    pub ts: String,
}

/// `deliveryPolicy` (SL-03).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeliveryPolicy {
    /// Always post; in the thread when known.
    #[default]
    Post,
    /// Post in the thread and update its root.
    PostAndUpdate,
    /// Only update the root.
    Update,
}

impl DeliveryPolicy {
    /// As written in a template.
    pub fn word(self) -> &'static str {
        match self {
            DeliveryPolicy::Post => "Post",
            DeliveryPolicy::PostAndUpdate => "PostAndUpdate",
            DeliveryPolicy::Update => "Update",
        }
    }

    /// From a template's text; anything unknown is `Post` (CFG-12).
    pub fn from_word(word: &str) -> (DeliveryPolicy, bool) {
        match word {
            "" | "Post" => (DeliveryPolicy::Post, true),
            "PostAndUpdate" => (DeliveryPolicy::PostAndUpdate, true),
            "Update" => (DeliveryPolicy::Update, true),
            _ => (DeliveryPolicy::Post, false),
        }
    }
}

/// An `email` block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EmailPart {
    /// Subject.
    pub subject: String,
    /// Body; empty means the common text.
    pub body: String,
}
