//! The vectors of tests/fixtures/writeback, the laws of the editor, and targets.

use super::*;

mod charts;
mod editing;
mod formats;
mod targets;

/// One case of a fixture file: its title, its `@` rules, and the text before and after.
struct Case {
    title: String,
    rules: Vec<String>,
    before: String,
    after: String,
}

impl Case {
    /// The values of all rules of a name.
    fn rules(&self, name: &str) -> Vec<&str> {
        self.rules.iter().filter_map(|r| r.strip_prefix(name)?.strip_prefix(' ')).collect()
    }
}

/// Reads a fixture file. See the head of yaml.txt for its signs.
fn cases(text: &str) -> Vec<Case> {
    let blocks = text.split("\n=== ").skip(1);
    blocks
        .map(|block| {
            let block = block.strip_suffix('\n').unwrap_or(block);
            let mut lines = block.split('\n');
            let title = lines.next().unwrap().to_owned();
            let mut rules = Vec::new();
            let mut body = Vec::new();
            for line in lines {
                match line.strip_prefix('@') {
                    Some(rule) if body.is_empty() => rules.push(rule.trim().to_owned()),
                    _ => body.push(line),
                }
            }
            let mut body = body.join("\n");
            if !body.is_empty() {
                body.push('\n');
            }
            let body = body
                .replace("∎\n", "")
                .replace('␍', "\r")
                .replace('␉', "\t")
                .replace('␣', " ")
                .replace("⟦BOM⟧", "\u{FEFF}");
            Case { before: pick(&body, 0), after: pick(&body, 1), title, rules }
        })
        .collect()
}

/// The old or new side of all marks `«old|new»`.
fn pick(body: &str, side: usize) -> String {
    let mut text = String::new();
    let mut rest = body;
    while let Some((head, tail)) = rest.split_once('«') {
        let (mark, after) = tail.split_once('»').expect("a closed mark");
        let (old, new) = mark.split_once('|').expect("a mark with two sides");
        text.push_str(head);
        text.push_str(if side == 0 { old } else { new });
        rest = after;
    }
    text + rest
}

/// Compares a refusal with `kind line text`; line 0 stands for none.
fn assert_refusal(refusal: &Refusal, rule: &str, title: &str) {
    let mut parts = rule.splitn(3, ' ');
    let (kind, line, text) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap_or(""));
    assert_eq!(refusal.kind, kind, "{title}: {refusal:?}");
    assert_eq!(refusal.line.unwrap_or(0).to_string(), line, "{title}: {refusal:?}");
    assert!(refusal.text.contains(text), "{title}: {refusal:?}");
}

/// An Application from JSON, named `web` in `argocd`, with this spec.
fn app(spec: serde_json::Value) -> Application {
    let object = serde_json::json!({
        "metadata": {"name": "web", "namespace": "argocd", "resourceVersion": "7"}, "spec": spec,
    });
    Application::decode(&object.to_string()).unwrap()
}

/// An image edit from words: `due`, `other`, `by-digest`, `kustomize=…`, `name=…`, `tag=…`, `spec=…`, the rest is the
/// reference to write.
fn image(rule: &str) -> ImageEdit {
    let mut names = Names {
        helm_name: "image.name".to_owned(),
        helm_name_explicit: false,
        helm_tag: "image.tag".to_owned(),
        helm_spec: None,
        kustomize_name: None,
    };
    let (mut due, mut by_digest, mut value) = (true, false, ImageRef::default());
    for word in rule.split_whitespace() {
        match word.split_once('=') {
            Some(("kustomize", name)) => names.kustomize_name = Some(name.to_owned()),
            Some(("name", path)) => (names.helm_name, names.helm_name_explicit) = (path.to_owned(), true),
            Some(("tag", path)) => names.helm_tag = path.to_owned(),
            Some(("spec", path)) => names.helm_spec = Some(path.to_owned()),
            _ if word == "other" => due = false,
            _ if word == "by-digest" => by_digest = true,
            _ => value = ImageRef::parse_reference(word).unwrap(),
        }
    }
    ImageEdit { slot: Slot { image: value.with_tag(None, None), names }, value, by_digest, due }
}

fn route(kind: SourceType) -> Route {
    Route {
        source_index: 0,
        kind,
        repo_url: "https://git/a.git".to_owned(),
        path: "apps/web".to_owned(),
        revision: "main".to_owned(),
        values_file: None,
    }
}
