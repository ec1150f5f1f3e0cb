//! What an installation of Argo CD Notifications will see behave differently here, as remarks that name their rule
//! (notifications.md CUT-03). Only what this configuration really holds is spoken of.

use std::collections::{BTreeMap, BTreeSet};

use super::Notifications;
use crate::config::services::{Body, Email, MailTls};
use crate::core::application::{AppKey, Application};
use crate::core::notify::catalog::{Field, MessageTemplate};
use crate::core::notify::subscription::PREFIX;
use crate::core::problem::Problem;

/// The code of every remark.
pub const CODE: &str = "DiffersFromUpstream";

/// A template's text that calls this fails: it needs the repository server (§5.4).
const DETAILS: &str = "GetAppDetails";

/// A project: the namespace it lies in, its annotations.
pub type Project = (String, BTreeMap<String, String>);

fn remark(rule: &str, text: impl std::fmt::Display) -> Problem {
    Problem::info(CODE, format!("{rule}: {text}"))
}

/// The remarks about the ConfigMap alone.
pub fn of_configuration(compiled: &Notifications) -> Vec<Problem> {
    let mut remarks = Vec::new();
    let rejected: BTreeSet<&str> = compiled.problems.iter().filter(|p| p.upstream_rejects).map(key).collect();
    if !rejected.is_empty() {
        let text = format!(
            "Argo CD Notifications rejects {}, and with it the whole configuration: it sends nothing; here the rest works",
            list(&rejected)
        );
        remarks.push(remark("CFG-01", text));
    }
    let mut redirected = BTreeSet::new();
    for (name, service) in &compiled.services {
        match &service.body {
            Body::Email(mail) => {
                remarks.extend(email(mail).map(|found| found.at_key(compiled.service_keys[name].as_str())));
            }
            Body::Webhook(hook) if hook.basic_auth.is_some() || !hook.headers.is_empty() => {
                redirected.insert(name.as_str());
            }
            _ => {}
        }
    }
    if !redirected.is_empty() {
        let text = "on a redirect to another host or scheme no header and no credential of the service is sent along";
        remarks.push(remark("WH-07", format!("{}: {text}", list(&redirected))));
    }
    triggers(compiled, &mut remarks);
    for (name, template) in compiled.rules.templates.iter().filter(|(name, _)| own(compiled, "template", name)) {
        remarks.extend(of_template(template).into_iter().map(|r| r.at_key(format!("template.{name}"))));
    }
    remarks
}

/// The key of the ConfigMap that a problem is about.
fn key(problem: &Problem) -> &str {
    problem.key.split(": ").next().unwrap_or_default()
}

/// Whether a trigger or template stands in the ConfigMap itself: the built-in ones are nobody's old ones.
fn own(compiled: &Notifications, kind: &str, name: &str) -> bool {
    compiled.good.contains_key(&format!("{kind}.{name}"))
}

fn email(mail: &Email) -> Option<Problem> {
    let loopback = mail.host == "localhost" || mail.host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match (mail.port, mail.tls) {
        (465, MailTls::Required) if mail.username.is_empty() || mail.password.is_empty() => {
            Some(remark("EM-01", "port 465 is encrypted from the first byte, also without a login"))
        }
        (465, _) | (_, MailTls::Implicit | MailTls::Opportunistic | MailTls::None) => None,
        _ if loopback => None,
        (port, MailTls::Required) => {
            let text = format!("on port {port} the server must offer STARTTLS, otherwise mails wait");
            let hint =
                "if it does not, set `lynceus: {tls: opportunistic}` or `none`; `lynceus check --connect` tries it";
            Some(remark("EM-02", text).hint(hint))
        }
    }
}

fn triggers(compiled: &Notifications, remarks: &mut Vec<Problem>) {
    let (mut once, mut edges) = (BTreeSet::new(), BTreeSet::new());
    for (name, trigger) in compiled.rules.triggers.iter().filter(|(name, _)| own(compiled, "trigger", name)) {
        for condition in &trigger.conditions {
            let set = if condition.once_per.is_some() { &mut once } else { &mut edges };
            set.insert(name.as_str());
        }
    }
    if !once.is_empty() {
        let text = format!("a message of {} that fails is tried again for a day; there it is lost", list(&once));
        remarks.push(remark("DLV-03", text));
    }
    if !edges.is_empty() {
        let text = format!("{} tells every time its condition becomes true, also between two looks", list(&edges));
        remarks.push(remark("ST-17", text));
    }
}

fn of_template(template: &MessageTemplate) -> Vec<Problem> {
    let mut remarks = Vec::new();
    let mut fields: Vec<(&str, &Option<Field>, bool)> = vec![("message", &template.message, false)];
    if let Some(slack) = &template.slack {
        fields.extend([("slack.attachments", &slack.attachments, true), ("slack.blocks", &slack.blocks, true)]);
        if slack.grouping_key.is_some() {
            remarks.push(remark("SL-05", "threads are remembered over restarts; there a new one begins after each"));
        }
    }
    if let Some(email) = &template.email {
        fields.extend([("email.subject", &email.subject, false), ("email.body", &email.body, false)]);
    }
    fields.extend(template.webhook.values().map(|block| ("webhook", &block.body, false)));
    for (name, field, json) in fields {
        let Some(Field::Good(field)) = field else { continue };
        let source = field.source();
        if json && source.contains("{{") && !source.contains("toJson") {
            let text = format!("text put into the JSON of `{name}` is escaped; there a quote in it loses the block");
            remarks.push(remark("TPL-05", text));
        }
        if source.contains(DETAILS) {
            let problem =
                Problem::warning(CODE, format!("§5.4: `{name}` calls repo.{DETAILS}, which is not there yet"));
            remarks.push(problem.hint("the message falls back to its other parts, with a line that says so"));
        }
    }
    remarks
}

/// The remarks about Applications and projects.
pub fn of_applications(
    compiled: &Notifications,
    apps: &[&Application],
    projects: &BTreeMap<String, Project>,
) -> Vec<Problem> {
    let mut remarks = Vec::new();
    let mut many = BTreeSet::new();
    let mut inherits: BTreeMap<&str, BTreeSet<&AppKey>> = BTreeMap::new();
    for app in apps {
        let (wanted, _) = crate::core::notify::subscriptions(app, None, &compiled.rules);
        let once = |name: &String| {
            let trigger = compiled.rules.triggers.get(name);
            trigger.is_some_and(|trigger| trigger.conditions.iter().any(|condition| condition.once_per.is_some()))
        };
        if app.multi_source && wanted.by_trigger.keys().any(once) {
            many.insert(app.key.to_string());
        }
        if let Some((namespace, annotations)) = projects.get(&app.project)
            && *namespace != app.key.namespace
            && annotations.keys().any(|key| key.starts_with(PREFIX))
        {
            inherits.entry(app.project.as_str()).or_default().insert(&app.key);
        }
    }
    if !many.is_empty() {
        let names: BTreeSet<&str> = many.iter().map(String::as_str).collect();
        let text = format!(
            "{} has several sources: each set of revisions is told once; there only the first is",
            list(&names)
        );
        remarks.push(remark("ST-08", text));
    }
    for (project, apps) in inherits {
        let names: Vec<String> = apps.iter().map(|key| key.to_string()).collect();
        let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let text = format!("{} inherits the subscriptions of its project `{project}`; there it does not", list(&names));
        remarks.push(remark("SUB-10", text));
    }
    remarks
}

/// The first few names.
fn list(names: &BTreeSet<&str>) -> String {
    let shown: Vec<&str> = names.iter().take(3).copied().collect();
    let more = names.len().saturating_sub(shown.len());
    match more {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
