//! Catalog: templates by name; several of them merged into one message for one destination, and what happens when a
//! field fails (notifications.md §8).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::message::{DeliveryPolicy, EmailPart, Message, Part, SlackPart, WebhookPart};
use super::variables::Facts;
use crate::core::problem::Problem;
use crate::core::template::{self, JsonOutcome, JsonRendering, Template};
use crate::core::value::{Map, Value};

/// One templated text of a message template: compiled, or why not.
#[derive(Clone, Debug)]
pub enum Field {
    /// Ready to render.
    Good(Arc<Template>),
    /// Does not parse.
    Broken {
        /// Why.
        text: String,
        /// 1-based line inside the field; 0 if it is no text at all.
        line: u32,
        /// 1-based column.
        column: u32,
    },
}

/// A template of the ConfigMap: the common text and a block per kind of service.
#[derive(Clone, Debug, Default)]
pub struct MessageTemplate {
    /// `message`.
    pub message: Option<Field>,
    /// `slack`.
    pub slack: Option<SlackBlock>,
    /// `email`.
    pub email: Option<EmailBlock>,
    /// `webhook`, by service name.
    pub webhook: BTreeMap<String, WebhookBlock>,
}

/// The `slack` block.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct SlackBlock {
    pub attachments: Option<Field>,
    pub blocks: Option<Field>,
    pub username: Option<Field>,
    pub icon: Option<Field>,
    pub grouping_key: Option<Field>,
    pub notify_broadcast: bool,
    pub delivery_policy: DeliveryPolicy,
}

/// The `email` block.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct EmailBlock {
    pub subject: Option<Field>,
    pub body: Option<Field>,
}

/// A `webhook.<service>` block.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct WebhookBlock {
    pub method: String,
    pub path: Option<Field>,
    pub body: Option<Field>,
}

/// Which kind of service a destination is, as far as rendering cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceKind {
    /// `webhook`: a program reads it. `json`: it says so in its `Content-Type`.
    Webhook {
        /// A JSON content type is configured.
        json: bool,
    },
    /// `slack`.
    Slack,
    /// `email`.
    Email,
    /// A type that is known but not delivered yet, or unknown: rendered as `message` only.
    Other {
        /// Whether a person reads it.
        human: bool,
    },
}

impl ServiceKind {
    fn human(self) -> bool {
        match self {
            ServiceKind::Webhook { .. } => false,
            ServiceKind::Slack | ServiceKind::Email => true,
            ServiceKind::Other { human } => human,
        }
    }
}

/// A rendered message and how it came about.
#[derive(Clone, Debug, Default)]
pub struct Rendering {
    /// The message.
    pub message: Message,
    /// Failed fields, invalid JSON, repaired JSON.
    pub problems: Vec<Problem>,
    /// Errors by field, as `template render` shows them.
    pub errors: Vec<FieldError>,
    /// Every field's text, as `template render` shows it.
    pub fields: Vec<(String, String)>,
    /// A fall-back text stands in (TPL-07).
    pub fallback: bool,
    /// A program target's field failed: nothing to send until the configuration changes (TPL-08).
    pub failed: Option<String>,
    /// A rendered field reads `secrets`: the payload must not be stored (TPL-09).
    pub secret: bool,
    /// It waits for something slow ([`Facts::take_wanted`]).
    pub undetermined: bool,
}

/// A failed field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// `message`, `slack.attachments`, …
    pub field: String,
    /// `parse` or `run`.
    pub phase: &'static str,
    /// What happened.
    pub text: String,
    /// 1-based, where known.
    pub line: u32,
    /// 1-based, where known.
    pub column: u32,
}

/// What the message is about, for the default text.
#[derive(Clone, Copy, Debug)]
pub struct Topic<'a> {
    /// The trigger's name.
    pub trigger: &'a str,
    /// `namespace/name` of the Application.
    pub app: &'a str,
}

/// Renders the message of these templates, in order, for one destination. Only what the destination needs is rendered
/// (TPL-02); a template that is missing is left out and noted (TPL-01).
pub fn render(
    templates: &BTreeMap<String, MessageTemplate>,
    names: &[String],
    service: &str,
    kind: ServiceKind,
    recipient: &str,
    facts: &Facts,
    topic: Topic<'_>,
) -> Rendering {
    let variables = facts.for_templates(service, recipient);
    let mut renderer = Renderer { variables, facts, rendering: Rendering::default(), notes: Vec::new(), template: "" };
    let mut used = 0;
    let mut text = String::new();
    let mut part = Part::None;
    for name in names {
        let Some(template) = templates.get(name) else {
            let problem = Problem::error("TemplateUndefined", format!("there is no template `{name}`"))
                .at_key(format!("template.{name}"));
            renderer.rendering.problems.push(problem);
            continue;
        };
        used += 1;
        renderer.template = name;
        if let Some(field) = &template.message
            && let Some(rendered) = renderer.text("message", field)
            && !rendered.is_empty()
        {
            text = rendered;
        }
        renderer.block(template, service, kind, &mut part);
    }
    if used == 0 && !names.is_empty() {
        renderer.notes.push(("send".to_owned(), format!("none of the templates {} exists", names.join(", "))));
    } else if used == 0 && kind.human() {
        text = default_text(topic);
    }
    renderer.finish(kind, text, part, topic)
}

/// `Trigger <trigger> fired for <namespace>/<app>` (TPL-07).
fn default_text(topic: Topic<'_>) -> String {
    format!("Trigger {} fired for {}", topic.trigger, topic.app)
}

struct Renderer<'a> {
    variables: Map,
    facts: &'a Facts,
    rendering: Rendering,
    /// `(template problem: …)` lines of human targets.
    notes: Vec<(String, String)>,
    template: &'a str,
}

impl Renderer<'_> {
    /// One plain field; `None` if it failed (noted).
    fn text(&mut self, name: &str, field: &Field) -> Option<String> {
        let template = self.usable(name, field)?;
        match template.render(&Value::Map(self.variables.clone()), &self.facts.now) {
            Ok(text) => {
                self.rendering.fields.push((name.to_owned(), text.clone()));
                Some(text)
            }
            Err(error) => {
                self.rendering.undetermined |= error.undetermined;
                self.failed(name, "run", error.text, error.line, error.column);
                None
            }
        }
    }

    fn optional(&mut self, name: &str, field: &Option<Field>) -> Option<String> {
        match field {
            Some(field) => self.text(name, field),
            None => Some(String::new()),
        }
    }

    fn usable<'f>(&mut self, name: &str, field: &'f Field) -> Option<&'f Template> {
        match field {
            Field::Good(template) => {
                self.rendering.secret |= template.reads("secrets");
                Some(template)
            }
            Field::Broken { text, line, column } => {
                self.failed(name, "parse", text.clone(), *line, *column);
                None
            }
        }
    }

    /// A field that must be JSON (§8.3). `Err(plain)` if it is not, with the plain rendering.
    fn json(&mut self, name: &str, field: &Option<Field>) -> Result<String, Option<String>> {
        let Some(field) = field else { return Ok(String::new()) };
        let template = self.usable(name, field).ok_or(None)?;
        let data = Value::Map(self.variables.clone());
        match template::interpolate_json(template, &data, &self.facts.now) {
            Ok(JsonRendering { text, outcome }) => {
                let problem = match outcome {
                    JsonOutcome::Absent => return Ok(String::new()),
                    JsonOutcome::Invalid(fault) => {
                        self.note(Problem::error("JsonInvalid", fault.text).at(fault.line, fault.column), name);
                        return Err(Some(text));
                    }
                    JsonOutcome::Valid => None,
                    JsonOutcome::Escaped => {
                        Some(Problem::info("JsonEscaped", "text inside a JSON string was escaped").hint("use toJson"))
                    }
                    JsonOutcome::WithoutCommas { .. } => Some(
                        Problem::warning("JsonTrailingComma", "a comma before ] or } was left out")
                            .hint("remove it from the template: Argo CD Notifications sends or drops it broken"),
                    ),
                };
                if let Some(problem) = problem {
                    self.note(problem, name);
                }
                self.rendering.fields.push((name.to_owned(), text.clone()));
                Ok(text)
            }
            Err(error) => {
                self.rendering.undetermined |= error.undetermined;
                self.failed(name, "run", error.text, error.line, error.column);
                Err(None)
            }
        }
    }

    fn block(&mut self, template: &MessageTemplate, service: &str, kind: ServiceKind, part: &mut Part) {
        match kind {
            ServiceKind::Slack => {
                if let Some(block) = &template.slack {
                    *part = Part::Slack(self.slack(block));
                }
            }
            ServiceKind::Email => {
                if let Some(block) = &template.email {
                    let mut email = if let Part::Email(email) = part { email.clone() } else { EmailPart::default() };
                    for (name, field, into) in [
                        ("email.subject", &block.subject, &mut email.subject),
                        ("email.body", &block.body, &mut email.body),
                    ] {
                        if let Some(text) = self.optional(name, field).filter(|text| !text.is_empty()) {
                            *into = text;
                        }
                    }
                    *part = Part::Email(email);
                }
            }
            ServiceKind::Webhook { json } => {
                if let Some(block) = template.webhook.get(service) {
                    *part = Part::Webhook(self.webhook(block, service, json));
                }
            }
            ServiceKind::Other { .. } => {}
        }
    }

    fn slack(&mut self, block: &SlackBlock) -> SlackPart {
        let mut array = |name: &str, field: &Option<Field>| match self.json(name, field) {
            Ok(text) => Some(text),
            Err(Some(_)) => {
                self.notes.push((name.to_owned(), "invalid JSON".to_owned()));
                None
            }
            Err(None) => None,
        };
        let attachments = array("slack.attachments", &block.attachments);
        let blocks = array("slack.blocks", &block.blocks);
        let username = self.optional("slack.username", &block.username);
        let icon = self.optional("slack.icon", &block.icon);
        let grouping_key = self.optional("slack.groupingKey", &block.grouping_key);
        // The block falls back as a whole to `message`: Slack shows no text beside blocks. Its ornaments are kept.
        let (attachments, blocks) = attachments.zip(blocks).unwrap_or_default();
        SlackPart {
            attachments,
            blocks,
            username: username.unwrap_or_default(),
            icon: icon.unwrap_or_default(),
            grouping_key: grouping_key.unwrap_or_default(),
            notify_broadcast: block.notify_broadcast,
            delivery_policy: block.delivery_policy,
        }
    }

    fn webhook(&mut self, block: &WebhookBlock, service: &str, json: bool) -> WebhookPart {
        let path = self.optional(&format!("webhook.{service}.path"), &block.path).unwrap_or_default();
        let name = format!("webhook.{service}.body");
        let plain = match &block.body {
            Some(Field::Good(template)) if !json => {
                let rendered = template.render(&Value::Map(self.variables.clone()), &self.facts.now);
                rendered.ok().filter(|text| !text.trim_start().starts_with(['{', '[']))
            }
            _ => None,
        };
        let body = match plain {
            Some(text) => {
                self.optional(&name, &block.body);
                text
            }
            None => {
                let before = self.rendering.problems.len();
                match self.json(&name, &block.body) {
                    Ok(text) => text,
                    Err(Some(plain)) => {
                        // Sent unchanged, as upstream does; a fault only where JSON was promised.
                        if !json {
                            self.rendering.problems.truncate(before);
                        }
                        self.rendering.fields.push((name, plain.clone()));
                        plain
                    }
                    Err(None) => String::new(),
                }
            }
        };
        WebhookPart { method: block.method.clone(), path, body }
    }

    fn failed(&mut self, field: &str, phase: &'static str, text: String, line: u32, column: u32) {
        let mut problem = Problem::error("TemplateFailed", text.clone());
        if line > 0 {
            problem = problem.at(line, column);
        }
        self.note(problem, field);
        self.notes.push((field.to_owned(), text.clone()));
        self.rendering.errors.push(FieldError { field: field.to_owned(), phase, text, line, column });
    }

    fn note(&mut self, problem: Problem, field: &str) {
        self.rendering.problems.push(problem.at_key(format!("template.{}.{field}", self.template)));
    }

    fn finish(mut self, kind: ServiceKind, mut text: String, part: Part, topic: Topic<'_>) -> Rendering {
        self.rendering.message = Message { text: String::new(), part };
        if self.notes.is_empty() {
            self.rendering.message.text = text;
            return self.rendering;
        }
        if !kind.human() {
            let (field, reason) = &self.notes[0];
            self.rendering.failed = Some(format!("{field}: {reason}"));
            self.rendering.message.text = text;
            return self.rendering;
        }
        if text.is_empty() {
            text = default_text(topic);
        }
        for (field, reason) in &self.notes {
            let reason: String = reason.chars().take(200).collect();
            text.push_str(&format!("\n(template problem: {field}: {reason})"));
        }
        if let Part::Email(email) = &mut self.rendering.message.part {
            if email.subject.is_empty() {
                email.subject = default_text(topic);
            }
            if !email.body.is_empty() {
                let notes = text.split_once("\n(template problem:").map(|(_, n)| format!("\n(template problem:{n}"));
                email.body.push_str(&notes.unwrap_or_default());
            }
        }
        self.rendering.fallback = true;
        self.rendering.message.text = text;
        self.rendering
    }
}
