//! A template's fields and blocks, each text compiled by itself: a broken one spoils only its own field
//! (notifications.md §8.1).

use std::sync::Arc;

use crate::config::yaml::Node;
use crate::core::notify::catalog::{EmailBlock, Field, MessageTemplate, SlackBlock, WebhookBlock};
use crate::core::notify::message::DeliveryPolicy;
use crate::core::problem::Problem;
use crate::core::template::{Functions, Template};

/// Blocks that templates may hold for services that are delivered later; known, so that they are no mistake.
const LATER_BLOCKS: &[&str] = &[
    "teams",
    "teams-workflows",
    "googlechat",
    "github",
    "opsgenie",
    "pagerduty",
    "pagerdutyv2",
    "mattermost",
    "rocketchat",
    "newrelic",
    "alertmanager",
    "awssqs",
    "gcppubsub",
    "lynceus",
];

pub(super) struct Blocks<'a> {
    pub(super) problems: &'a mut Vec<Problem>,
}

impl Blocks<'_> {
    pub(super) fn template(&mut self, node: &Node) -> MessageTemplate {
        let known: Vec<&str> = ["message", "slack", "email", "webhook"].iter().chain(LATER_BLOCKS).copied().collect();
        for problem in node.unknown_fields("a template", &known) {
            let webhook =
                ["discord", "telegram", "method", "body"].iter().any(|w| problem.text.contains(&format!("`{w}")));
            self.problems.push(if webhook { problem.hint("write it below webhook.<service>") } else { problem });
        }
        let mut template =
            MessageTemplate { message: self.field(node, "message", "message"), ..MessageTemplate::default() };
        if let Some(block) = node.field("slack") {
            template.slack = Some(self.slack(block));
        }
        if let Some(block) = node.field("email") {
            self.problems.extend(block.unknown_fields("an email block", &["subject", "body"]));
            template.email = Some(EmailBlock {
                subject: self.field(block, "subject", "email.subject"),
                body: self.field(block, "body", "email.body"),
            });
        }
        for entry in node.field("webhook").and_then(Node::entries).unwrap_or_default() {
            let block = &entry.value;
            if block.is_null() {
                continue;
            }
            self.problems.extend(block.unknown_fields("a webhook block", &["method", "path", "body"]));
            let method = block.field("method").and_then(|n| n.as_text()).map(|t| t.into_owned()).unwrap_or_default();
            let (path, body) = (format!("webhook.{}.path", entry.key), format!("webhook.{}.body", entry.key));
            let block =
                WebhookBlock { method, path: self.field(block, "path", &path), body: self.field(block, "body", &body) };
            template.webhook.insert(entry.key.clone(), block);
        }
        template
    }

    fn slack(&mut self, block: &Node) -> SlackBlock {
        const FIELDS: &[&str] =
            &["attachments", "blocks", "username", "icon", "groupingKey", "notifyBroadcast", "deliveryPolicy"];
        self.problems.extend(block.unknown_fields("a slack block", FIELDS));
        let word = block.field("deliveryPolicy").and_then(|n| n.as_text()).unwrap_or_default();
        let (delivery_policy, known) = DeliveryPolicy::from_word(&word);
        if !known {
            let problem =
                Problem::warning("DeliveryPolicyUnknown", format!("`{word}` is no delivery policy; Post is used"));
            self.problems.push(problem.at_key("slack.deliveryPolicy").hint("Post, PostAndUpdate or Update"));
        }
        SlackBlock {
            attachments: self.field(block, "attachments", "slack.attachments"),
            blocks: self.field(block, "blocks", "slack.blocks"),
            username: self.field(block, "username", "slack.username"),
            icon: self.field(block, "icon", "slack.icon"),
            grouping_key: self.field(block, "groupingKey", "slack.groupingKey"),
            notify_broadcast: block.field("notifyBroadcast").and_then(Node::as_bool).unwrap_or(false),
            delivery_policy,
        }
    }

    fn field(&mut self, node: &Node, name: &str, path: &str) -> Option<Field> {
        let value = node.field(name)?;
        let Some(text) = value.as_text() else {
            let text = format!("`{name}` is {}, not a text", value.kind());
            self.problems
                .push(value.at.mark(Problem::error("TemplateInvalid", text.clone())).at_key(path).upstream_rejects());
            return Some(Field::Broken { text, line: 0, column: 0 });
        };
        match Template::parse(&text, Functions::Full) {
            Ok(template) => Some(Field::Good(Arc::new(template))),
            Err(error) => {
                let problem = Problem::error("TemplateInvalid", error.text.clone())
                    .at_key(path)
                    .at(error.line, error.column)
                    .hint(error.hint)
                    .upstream_rejects();
                self.problems.push(problem);
                Some(Field::Broken { text: error.text, line: error.line, column: error.column })
            }
        }
    }
}
