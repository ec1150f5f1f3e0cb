//! `template`: a commit template with Argo CD Image Updater's two sample changes, or with changes of one's own
//! (image-updates.md §23, §17).

use std::path::PathBuf;

use clap::Args;

use super::{USAGE, fail};
use crate::core::application::AppKey;
use crate::core::image::ImageRef;
use crate::core::problem::Problem;
use crate::core::template::{Functions, Template};
use crate::core::update::CommitMessage;
use crate::core::update::decision::Change;

/// The samples of Argo CD Image Updater.
const SAMPLES: [&str; 2] = [
    "gcr.io/example/example=1.0.0:1.0.1",
    "gcr.io/example/updater=\
     sha256:01d09d19c2139a46aebfb577780d123d7396e97201bc7ead210a2ebff8239dee:\
     sha256:7aa7a5359173d05b63cfd682e3c38487f3cb4f7f1d60659fe59fab1505977d4c",
];

/// Arguments of `template`.
#[derive(Debug, Args)]
pub struct TemplateArgs {
    /// File of the template; without one the built-in text is shown.
    pub path: Option<PathBuf>,
    /// The Application's name, or namespace/name.
    #[arg(long, default_value = "example-app", value_name = "NAME")]
    pub app: String,
    /// A change, as ghcr.io/acme/web=1.2.3:1.3.0; repeatable, instead of the two samples.
    #[arg(long, value_name = "NAME=OLD:NEW")]
    pub change: Vec<String>,
}

/// Runs `template`.
pub fn run(args: &TemplateArgs) -> u8 {
    let samples = SAMPLES.map(str::to_owned);
    let wanted = if args.change.is_empty() { &samples[..] } else { &args.change[..] };
    let changes: Result<Vec<Change>, String> = wanted.iter().map(|text| change(text)).collect();
    let changes = match changes {
        Ok(changes) => changes,
        Err(error) => return fail(USAGE, error),
    };
    let (namespace, name) = args.app.split_once('/').unwrap_or(("argocd", &args.app));
    let app = AppKey { namespace: namespace.to_owned(), name: name.to_owned() };
    let message = CommitMessage { app: &app, changes: &changes };
    let Some(path) = &args.path else {
        print!("{}", message.default_text());
        return 0;
    };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => return fail(1, format!("{}: {error}", path.display())),
    };
    let template = match parse(&text) {
        Ok(template) => template,
        Err(problem) => return fail(1, problem.in_object(path.display().to_string())),
    };
    let (rendered, problem) = message.text(&template);
    print!("{}", rendered.trim_end_matches('\n'));
    println!();
    match problem {
        Some(problem) => fail(1, problem.in_object(path.display().to_string())),
        None => 0,
    }
}

/// A commit template.
///
/// # Errors
/// Where it cannot be read, and why.
pub fn parse(text: &str) -> Result<Template, Problem> {
    Template::parse(text, Functions::Plain)
        .map_err(|e| Problem::error("config-invalid", e.text).at(e.line, e.column).hint(e.hint))
}

/// What is wrong with a commit template, found with the sample changes.
pub fn problems(text: &str) -> Vec<Problem> {
    let template = match parse(text) {
        Ok(template) => template,
        Err(problem) => return vec![problem],
    };
    let app = AppKey { namespace: "argocd".to_owned(), name: "example-app".to_owned() };
    let changes: Vec<Change> = SAMPLES.iter().filter_map(|text| change(text).ok()).collect();
    CommitMessage { app: &app, changes: &changes }.text(&template).1.into_iter().collect()
}

fn change(text: &str) -> Result<Change, String> {
    let wrong = || format!("--change {text}: write <image>=<old>:<new>");
    let (name, values) = text.split_once('=').ok_or_else(wrong)?;
    let image = ImageRef::parse_reference(name).map_err(|problem| format!("--change {text}: {problem}"))?;
    let (old, new) = first_value(values).ok_or_else(wrong)?;
    let split = |value: &str| match value.starts_with("sha256:") {
        true => (None, Some(value.to_owned())),
        false => (Some(value.to_owned()), None),
    };
    let ((old_tag, old_digest), (tag, digest)) = (split(old), split(new));
    Ok(Change::of(image.with_tag(tag, digest), old_tag, old_digest, ""))
}

/// The values before and after; a digest has a colon of its own.
fn first_value(values: &str) -> Option<(&str, &str)> {
    let from = if values.starts_with("sha256:") { "sha256:".len() } else { 0 };
    let at = from + values[from..].find(':')?;
    let (old, new) = (&values[..at], &values[at + 1..]);
    (!old.is_empty() && !new.is_empty()).then_some((old, new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_23_changes_of_the_command_line() {
        let digest = |letter: &str| format!("sha256:{}", letter.repeat(64));
        for (text, old, new) in [
            ("ghcr.io/acme/web=1.2.3:1.3.0".to_owned(), "1.2.3".to_owned(), "1.3.0".to_owned()),
            ("h:5000/web=1:2".to_owned(), "1".to_owned(), "2".to_owned()),
            (format!("web={}:{}", digest("a"), digest("b")), digest("a"), format!("latest@{}", digest("b"))),
            (format!("web=1.0:{}", digest("b")), "1.0".to_owned(), format!("latest@{}", digest("b"))),
        ] {
            let found = change(&text).expect(&text);
            assert_eq!((found.old_text(), found.new_text()), (old, new), "{text}");
        }
        for text in ["web", "web=1.0", "web=:1", "web=1:", "=1:2", "web=sha256:aa"] {
            assert!(change(text).is_err(), "{text}");
        }
    }

    #[test]
    fn section_17_the_samples_are_upstreams() {
        let changes: Vec<Change> = SAMPLES.iter().map(|text| change(text).expect("a sample")).collect();
        let app = AppKey { namespace: "argocd".into(), name: "example-app".into() };
        let text = CommitMessage { app: &app, changes: &changes }.default_text();
        assert!(text.starts_with(
            "build: automatic update of example-app\n\nupdates image example/example tag '1.0.0' to '1.0.1'\n"
        ));
        assert!(problems("{{ .Nope }}").len() == 1 && problems("{{").len() == 1 && problems("{{.AppName}}").is_empty());
    }
}
