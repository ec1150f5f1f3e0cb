//! How the demo looks: scenes, steps with their time, diffs and messages in boxes. On a terminal with colours and
//! lines, otherwise as plain text.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cli::Paint;
use crate::demo::Stage;
use crate::demo::inbox::Item;

/// Columns of headers and boxes.
const WIDTH: usize = 90;

/// A pause before a scene, for people to read.
const BREATH: Duration = Duration::from_millis(900);

/// The page that the demo writes.
pub(super) struct Show {
    paint: Paint,
    terminal: bool,
    lines: Lines,
    began: Instant,
}

/// The signs that lines are drawn with.
struct Lines {
    across: &'static str,
    down: &'static str,
    corners: [&'static str; 4],
    done: &'static str,
    broke: &'static str,
}

const DRAWN: Lines =
    Lines { across: "─", down: "│", corners: ["╭", "╮", "╰", "╯"], done: "✓", broke: "✗" };
const PLAIN: Lines = Lines { across: "-", down: "|", corners: ["+", "+", "+", "+"], done: "-", broke: "!" };

impl Show {
    /// For standard output.
    pub(super) fn stdout() -> Show {
        let terminal = std::io::stdout().is_terminal();
        let language =
            ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|v| std::env::var(v).ok().filter(|t| !t.is_empty()));
        let letters = language.is_some_and(|l| l.to_ascii_lowercase().replace('-', "").contains("utf8"));
        let lines = if terminal && letters { DRAWN } else { PLAIN };
        Show { paint: Paint::stdout(), terminal, lines, began: Instant::now() }
    }

    /// For colours of what others print.
    pub(super) fn paint(&self) -> Paint {
        self.paint
    }

    /// What is here, and what of it is real.
    pub(super) fn stage(&self, stage: &Stage) {
        println!("{}", self.paint.bold("lynceus demo: a new tag becomes a commit, a sync becomes messages"));
        println!("Everything listens on 127.0.0.1 and is gone at the end; nothing else on this machine is touched.\n");
        self.list(
            "real",
            &[
                ("daemon", "the one of `lynceus run`: rounds, decisions, one-line edits, triggers, templates, outbox"),
                ("clients", "OCI registry, Git over http, Kubernetes API, Slack, SMTP and webhooks, on the wire"),
                ("storage", "SQLite for outbox and journal; Git objects in a bare mirror"),
            ],
        );
        let host = stage.registry.url();
        let mail = format!("smtp://{}", stage.inbox.mail());
        self.list(
            "stand-ins",
            &[
                ("registry", &format!("{host}  tokens, paging, ETags; images without layers")),
                ("Git host", &format!("{}  `git clone` works too", stage.git_url())),
                ("cluster", &format!("{}  list, watch, patch, Secrets, Events; no admission", stage.cluster.url())),
                ("Argo CD", "walks an Application through the states of a sync; runs no workloads"),
                ("inbox", &format!("{}  Slack's API and webhooks; {mail}", stage.inbox.url())),
            ],
        );
    }

    fn list(&self, title: &str, entries: &[(&str, &str)]) {
        for (n, (name, text)) in entries.iter().enumerate() {
            let title = if n == 0 { title } else { "" };
            println!("  {}{}{text}", self.paint.bold(&format!("{title:<11}")), self.paint.cyan(&format!("{name:<10}")));
        }
    }

    /// A new scene.
    pub(super) async fn scene(&self, number: usize, title: &str) {
        if self.terminal && number > 1 {
            tokio::time::sleep(BREATH).await;
        }
        let head = format!("{}{} {number}. {title} ", self.lines.across, self.lines.across);
        let rest = self.lines.across.repeat(WIDTH.saturating_sub(head.chars().count()));
        println!("\n{}\n", self.paint.bold(&format!("{head}{rest}")));
    }

    /// Something happened, now.
    pub(super) fn step(&self, text: &str) {
        self.step_at(Instant::now(), text);
    }

    /// Something happened, at this moment.
    pub(super) fn step_at(&self, at: Instant, text: &str) {
        let seconds = at.saturating_duration_since(self.began).as_secs_f64();
        let time = self.paint.dim(&format!("{seconds:5.1} s"));
        println!("  {time}  {} {text}", self.paint.green(self.lines.done));
    }

    /// Something bad happened that belongs to the story.
    pub(super) fn bad_step_at(&self, at: Instant, text: &str) {
        let seconds = at.saturating_duration_since(self.began).as_secs_f64();
        let time = self.paint.dim(&format!("{seconds:5.1} s"));
        println!("  {time}  {} {text}", self.paint.red(self.lines.broke));
    }

    /// What belongs to a step.
    pub(super) fn detail(&self, text: &str) {
        for line in wrapped(text, WIDTH - 13) {
            println!("             {}", self.paint.dim(&line));
        }
    }

    /// A line of its own.
    pub(super) fn line(&self, text: &str) {
        println!("  {text}");
    }

    /// A diff.
    pub(super) fn diff(&self, diff: &str) {
        println!();
        for line in self.paint.diff(&clean(diff)).lines() {
            println!("             {line}");
        }
        println!();
    }

    /// The story broke off.
    pub(super) fn broke(&self, text: &str) {
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        println!("\n  {} {}", self.paint.red(self.lines.broke), self.paint.bold(first));
        lines.for_each(|line| println!("    {line}"));
    }

    /// A message as it was received.
    pub(super) fn message(&self, item: &Item) {
        let (title, mut lines) = read(item);
        // A blank line at the end says nothing.
        while lines.last().is_some_and(|line| line.trim().is_empty()) {
            lines.pop();
        }
        let inner = WIDTH - 17;
        let [top_left, top_right, bottom_left, bottom_right] = self.lines.corners;
        let (across, down) = (self.lines.across, self.lines.down);
        let head = format!("{across} {title} ");
        let rest = across.repeat((inner + 2).saturating_sub(head.chars().count()));
        println!("             {}", self.paint.dim(&format!("{top_left}{head}{rest}{top_right}")));
        for line in lines.iter().flat_map(|line| wrapped(line, inner)) {
            let space = " ".repeat(inner.saturating_sub(line.chars().count()));
            let down = self.paint.dim(down);
            println!("             {down} {line}{space} {down}");
        }
        let bottom = format!("{bottom_left}{}{bottom_right}", across.repeat(inner + 2));
        println!("             {}", self.paint.dim(&bottom));
    }
}

/// Title and lines of a message.
fn read(item: &Item) -> (String, Vec<String>) {
    match item {
        Item::Slack { fields, .. } => {
            let field = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
            let mut lines: Vec<String> = clean(field("text")).lines().map(str::to_owned).collect();
            let attachments: Value = serde_json::from_str(field("attachments")).unwrap_or_default();
            for attachment in attachments.as_array().into_iter().flatten() {
                lines.push(String::new());
                let title = attachment["title"].as_str().unwrap_or_default();
                lines.push(format!("> {title}  {}", attachment["title_link"].as_str().unwrap_or_default()));
                for field in attachment["fields"].as_array().into_iter().flatten() {
                    let text = |name: &str| clean(field[name].as_str().unwrap_or_default());
                    lines.push(format!("> {:<13} {}", text("title"), text("value")));
                }
            }
            (format!("Slack #{}", field("channel")), lines)
        }
        Item::Mail { to, content, .. } => {
            let (head, body) = content.split_once("\r\n\r\n").unwrap_or((content, ""));
            let unfolded = head.replace("\r\n ", " ");
            let header = |name: &str| {
                let line = unfolded.lines().find(|line| line.to_ascii_lowercase().starts_with(name))?;
                line.split_once(": ").map(|(_, value)| value.to_owned())
            };
            let mut lines = vec![
                format!("From:    {}", header("from:").unwrap_or_default()),
                format!("Subject: {}", header("subject:").unwrap_or_default()),
                String::new(),
            ];
            let quoted = header("content-transfer-encoding:").is_some_and(|e| e.contains("quoted-printable"));
            let body = if quoted { unquoted(body) } else { body.to_owned() };
            lines.extend(clean(&body).lines().map(str::to_owned));
            (format!("E-mail to {}", to.join(", ")), lines)
        }
        Item::Webhook { method, target, body, .. } => {
            (format!("Webhook: {method} {target}"), clean(body).lines().map(str::to_owned).collect())
        }
    }
}

/// Undoes quoted-printable.
fn unquoted(text: &str) -> String {
    let joined = text.replace("=\r\n", "");
    let mut bytes = Vec::new();
    let mut rest = joined.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code =
            tail.get(..2).and_then(|two| std::str::from_utf8(two).ok()).and_then(|h| u8::from_str_radix(h, 16).ok());
        match (first, code) {
            (b'=', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Without anything that would move a terminal's cursor.
fn clean(text: &str) -> String {
    text.chars().filter(|c| *c == '\n' || !c.is_control()).collect()
}

/// A line in pieces of at most `width` letters, broken at blanks where there are any; later pieces are as deep as the
/// first.
fn wrapped(line: &str, width: usize) -> Vec<String> {
    let depth = line.chars().take_while(|c| *c == ' ' || *c == '>').count().min(width / 2);
    let margin: String = line.chars().take(depth).collect();
    let mut pieces = Vec::new();
    let mut rest: Vec<char> = line.chars().collect();
    while rest.len() > width {
        let cut = rest[..=width].iter().rposition(|c| *c == ' ').filter(|at| *at > depth).unwrap_or(width);
        let tail: Vec<char> = rest.split_off(cut);
        pieces.push(rest.iter().collect());
        rest = margin.chars().chain(tail.into_iter().skip_while(|c| *c == ' ')).collect();
    }
    pieces.push(rest.into_iter().collect());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_and_lose_nothing() {
        for (line, width, expected) in [
            ("", 5, vec![""]),
            ("short", 5, vec!["short"]),
            ("one two three", 8, vec!["one two", "three"]),
            ("  one two", 6, vec!["  one", "  two"]),
            ("> one two", 6, vec!["> one", "> two"]),
            ("abcdefghij", 4, vec!["abcd", "efgh", "ij"]),
        ] {
            assert_eq!(wrapped(line, width), expected, "{line:?} {width}");
        }
    }

    #[test]
    fn mails_are_read_as_a_mail_program_does() {
        let content = "From: a@example.com\r\nSubject: Sync of\r\n api failed\r\nContent-Transfer-Encoding: \
                       quoted-printable\r\n\r\nlong =\r\nline =3D fine\r\n\x1b[2J\r\n";
        let to = vec!["b@example.com".to_owned()];
        let mail =
            Item::Mail { from: String::new(), to, content: content.into(), encrypted: false, user: String::new() };
        let (title, lines) = read(&mail);
        assert_eq!(title, "E-mail to b@example.com");
        let expected = ["From:    a@example.com", "Subject: Sync of api failed", "", "long line = fine", "[2J"];
        assert_eq!(lines, expected);
    }
}
