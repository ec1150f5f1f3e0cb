//! What a commit says and which branch it goes to (image-updates.md §17).

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::decision::Change;
use crate::core::application::AppKey;
use crate::core::image::ImageRef;
use crate::core::problem::Problem;
use crate::core::template::{Functions, Template};
use crate::core::value::time::Moment;
use crate::core::value::{Func, Object, Value};

/// Longest name of a push branch, in bytes.
const LONGEST_BRANCH: usize = 255;

/// The template that gives [`CommitMessage::default_text`]: what `lynceus template` shows, and a start for one's own.
pub const DEFAULT_TEMPLATE: &str = include_str!("../../../templates/commit/message.template");

/// `git-branch`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BranchSetting {
    /// The branch that is read; `None` if the source's `targetRevision` says it.
    pub base: Option<String>,
    /// Template of the branch that is pushed; `None` if it is the base.
    pub push: Option<String>,
}

/// What a branch template can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BranchData<'a> {
    /// The Application.
    pub app: &'a AppKey,
    /// What is pushed, in commit order.
    pub changes: &'a [Change],
    /// The key of the target (PR-1).
    pub target_key: &'a str,
}

impl BranchSetting {
    /// Takes the text of the annotation apart. What is wrong with the template whatever is pushed is found here; the
    /// rest (an empty result, a name Git refuses) when it is rendered.
    pub fn parse(text: &str) -> Result<BranchSetting, Problem> {
        let parts: Vec<&str> = text.trim().split(':').collect();
        let (base, push) = match parts[..] {
            [base] => (base, None),
            [base, push] => (base, Some(push)),
            _ => {
                return Err(Problem::error("config-invalid", format!("{text:?} has more than two parts"))
                    .hint("write base, base:template or :template"));
            }
        };
        if base.is_empty() && push.is_none() {
            return Err(Problem::error("config-invalid", "the branch is empty"));
        }
        if push == Some("") {
            return Err(Problem::error("config-invalid", format!("{text:?} has no branch after the `:`"))
                .hint("leave the `:` out to push to the base branch"));
        }
        if !base.is_empty() {
            check_branch(base)?;
        }
        if let Some(push) = push {
            check_template(push)?;
        }
        Ok(BranchSetting {
            base: Some(base).filter(|b| !b.is_empty()).map(str::to_owned),
            push: push.map(str::to_owned),
        })
    }

    /// The branch to push to, when `base` is the one that is read.
    pub fn push_branch(&self, base: &str, data: &BranchData<'_>) -> Result<String, Problem> {
        let Some(source) = &self.push else { return Ok(base.to_owned()) };
        let template = parse_template(source)?;
        let mut name = template
            .render(&data.value(), &no_clock())
            .map_err(|e| Problem::error("template-failed", format!("the branch template failed: {e}")))?;
        let mut end = name.len().min(LONGEST_BRANCH);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
        check_branch(&name)?;
        Ok(name)
    }
}

impl BranchData<'_> {
    fn value(&self) -> Value {
        let images = self.changes.iter().map(|change| {
            record(
                "Image",
                [
                    ("Name", Value::text(&change.new.name)),
                    ("Alias", Value::text(change.new.alias_text())),
                    ("OldTag", Value::text(old_shown(change))),
                    ("NewTag", Value::text(new_shown(change))),
                ],
            )
        });
        record(
            "Branch",
            [
                ("Images", Value::list(images.collect())),
                ("SHA256", Value::text(self.sha256())),
                ("AppName", Value::text(&self.app.name)),
                ("AppNamespace", Value::text(&self.app.namespace)),
                ("TargetKey", Value::text(self.target_key)),
            ],
        )
    }

    /// Hex over `name-old-new,` of each image.
    fn sha256(&self) -> String {
        let mut sum = Sha256::new();
        for change in self.changes {
            sum.update(format!("{}-{}-{},", change.new.name, old_shown(change), new_shown(change)));
        }
        sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn parse_template(source: &str) -> Result<Template, Problem> {
    Template::parse(source, Functions::Plain)
        .map_err(|e| Problem::error("config-invalid", format!("the branch template is none: {e}")))
}

/// The plain functions ask for no time.
fn no_clock() -> Moment {
    Moment::utc(Timestamp::UNIX_EPOCH)
}

fn check_template(source: &str) -> Result<(), Problem> {
    if !source.contains("{{") {
        return check_branch(source);
    }
    let template = parse_template(source)?;
    let app = AppKey { namespace: "argocd".to_owned(), name: "web".to_owned() };
    let new = ImageRef { name: "nginx".to_owned(), tag: Some("1.1".to_owned()), ..ImageRef::default() };
    let change = Change::of(new, Some("1.0".to_owned()), None, "semver");
    let sample = BranchData { app: &app, changes: &[change], target_key: "00000000" };
    match template.render(&sample.value(), &no_clock()) {
        // Other failures may come from the sample.
        Err(e) if e.text.contains("can't evaluate field") => {
            Err(Problem::error("config-invalid", format!("the branch template cannot work: {e}")).hint(
                "fields are .Images (.Name, .Alias, .OldTag, .NewTag), .SHA256, .AppName, .AppNamespace, .TargetKey",
            ))
        }
        _ => Ok(()),
    }
}

/// What Git accepts as the name of a branch.
fn check_branch(name: &str) -> Result<(), Problem> {
    let bad = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    let parts_fit = name.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock"));
    let fits = parts_fit
        && !name.contains(bad)
        && !name.contains("..")
        && !name.contains("@{")
        && !name.starts_with('-')
        && !name.ends_with('.')
        && !matches!(name, "@" | "HEAD");
    if fits {
        return Ok(());
    }
    Err(Problem::error("config-invalid", format!("{name:?} cannot be the name of a branch")))
}

/// The text of a commit of one Application's changes.
pub struct CommitMessage<'a> {
    /// The Application.
    pub app: &'a AppKey,
    /// Its changes, in order.
    pub changes: &'a [Change],
}

impl CommitMessage<'_> {
    /// The text before the trailers when no template is configured.
    pub fn default_text(&self) -> String {
        let mut text = format!("build: automatic update of {}\n\n", self.app.name);
        for change in self.changes {
            let (old, new) = (old_shown(change), new_shown(change));
            text.push_str(&format!("updates image {} tag '{old}' to '{new}'\n", change.new.name));
        }
        text
    }

    /// The text before the trailers by a template, never empty; the problem if it failed.
    pub fn text(&self, template: &Template) -> (String, Option<Problem>) {
        match template.render(&self.value(), &no_clock()) {
            Ok(text) if text.trim().is_empty() => ("Update parameters\n".to_owned(), None),
            Ok(text) => (text, None),
            Err(e) => (
                format!("build: update of application {}\n", self.app.name),
                Some(Problem::error("template-failed", format!("the commit template failed: {e}"))),
            ),
        }
    }

    /// What a commit template can name.
    pub fn value(&self) -> Value {
        let changes = self.changes.iter().map(|change| {
            record(
                "AppChange",
                [
                    ("Image", Value::text(&change.new.name)),
                    ("OldTag", Value::text(old_shown(change))),
                    ("NewTag", Value::text(new_shown(change))),
                    ("Labels", Value::text_map(change.labels.iter().map(|(k, v)| (k.as_str(), v)))),
                ],
            )
        });
        record(
            "CommitMessage",
            [("AppName", Value::text(&self.app.name)), ("AppChanges", Value::list(changes.collect()))],
        )
    }
}

/// The lines that identify our commits (CMT-1), and the sign-off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trailers {
    lines: Vec<String>,
}

impl Trailers {
    /// Adds an Application with its changes; more than one where a push is one commit (GIT-8).
    pub fn application(mut self, app: &AppKey, changes: &[Change]) -> Trailers {
        self.lines.push(format!("Lynceus-Application: {}", one_word(&app.to_string())));
        for change in changes {
            self.lines.push(format!(
                "Lynceus-Image: {} {} {} -> {}",
                one_word(change.new.alias_text()),
                one_word(&change.new.full_name()),
                one_word(&change.old_text()),
                one_word(&change.new_text()),
            ));
        }
        self
    }

    /// Adds `Signed-off-by` (CMT-2).
    pub fn sign_off(mut self, user: &str, email: &str) -> Trailers {
        let line = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
        self.lines.push(format!("Signed-off-by: {} <{}>", line(user), line(email)));
        self
    }

    /// The text with the trailers: after one blank line, or joined to the trailers it ends in already.
    pub fn after(&self, text: &str) -> String {
        let text = text.trim_end();
        let block = text.rsplit_once("\n\n").map(|(_, last)| last.trim_start_matches('\n'));
        let joined = block.is_some_and(|block| !block.is_empty() && block.lines().all(is_trailer));
        format!("{text}{}{}\n", if joined { "\n" } else { "\n\n" }, self.lines.join("\n"))
    }
}

/// `Token: value`, where the token is a word with dashes.
fn is_trailer(line: &str) -> bool {
    line.split_once(": ").is_some_and(|(token, value)| {
        !token.is_empty() && !value.trim().is_empty() && token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    })
}

/// A value as one word of a trailer: what stood in a file may hold anything, a line break included.
fn one_word(text: &str) -> String {
    if text.is_empty() {
        return "-".to_owned();
    }
    text.chars().map(|c| if c.is_control() || c.is_whitespace() { '_' } else { c }).collect()
}

/// In messages and branch names a value is its digest where it has one (§17).
fn old_shown(change: &Change) -> &str {
    change.old_digest.as_deref().or(change.old_tag.as_deref()).unwrap_or_default()
}

fn new_shown(change: &Change) -> &str {
    change.new.digest.as_deref().or(change.new.tag.as_deref()).unwrap_or_default()
}

/// A Go struct: a field it does not have is an error, not an empty value.
#[derive(Debug)]
struct Record {
    type_name: &'static str,
    fields: BTreeMap<&'static str, Value>,
}

fn record<const N: usize>(type_name: &'static str, fields: [(&'static str, Value); N]) -> Value {
    Value::Object(Arc::new(Record { type_name, fields: BTreeMap::from(fields) }))
}

impl Object for Record {
    fn type_name(&self) -> &str {
        self.type_name
    }

    fn field(&self, name: &str) -> Option<Value> {
        self.fields.get(name).cloned()
    }

    fn method(&self, _name: &str) -> Option<Func> {
        None
    }
}
