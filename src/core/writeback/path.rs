//! Paths into Helm values, `image.tag` and `images[0].tag`, and what they lead to (image-updates.md §15, path grammar).

use super::Refusal;
use super::document::{Kind, Node, Way};
use super::editor::{Editor, unexpected};
use super::fresh::Fresh;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Into a map.
    Key(String),
    /// Into a sequence.
    Item(usize),
}

/// Where a path ends in a document.
pub(super) enum Found {
    /// At this node, of whatever kind.
    At(Way),
    /// Below this node, which has no such key: the keys that are missing.
    Missing(Way, Vec<String>),
}

/// Reads a path. Segments are separated by `.`, each a key with any number of `[n]`; `["a.b"]`, `['a.b']`, a segment in
/// double quotes and `\.` name a key literally.
pub(super) fn parse(text: &str) -> Result<Vec<Step>, Refusal> {
    let wrong = |why: &str| {
        Refusal::new("config-invalid", format!("the path {text:?} {why}"))
            .hint("write keys separated by dots, items as [0], keys with dots as [\"a.b\"]")
    };
    let mut steps = Vec::new();
    let mut rest = text;
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (key, after) = quoted.split_once('"').ok_or_else(|| wrong("has an open quote"))?;
            steps.push(Step::Key(key.to_owned()));
            rest = after;
        } else {
            let (key, after) = bare(rest);
            if key.is_empty() {
                return Err(wrong("has an empty segment"));
            }
            steps.push(Step::Key(key));
            rest = after;
        }
        while let Some(inner) = rest.strip_prefix('[') {
            let (step, after) = bracket(inner).ok_or_else(|| wrong("has brackets that hold no number"))?;
            steps.push(step);
            rest = after;
        }
        match rest.strip_prefix('.') {
            Some(next) => rest = next,
            None if rest.is_empty() => return Ok(steps),
            None => return Err(wrong("goes on after a bracket or quote without a dot")),
        }
    }
}

fn bare(text: &str) -> (String, &str) {
    let mut key = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '.' | '[' => return (key, &text[at..]),
            '\\' if text[at + 1..].starts_with('.') => {
                chars.next();
                key.push('.');
            }
            c => key.push(c),
        }
    }
    (key, "")
}

fn bracket(inner: &str) -> Option<(Step, &str)> {
    for quote in ['"', '\''] {
        if let Some(quoted) = inner.strip_prefix(quote) {
            let (key, after) = quoted.split_once(quote)?;
            return Some((Step::Key(key.to_owned()), after.strip_prefix(']')?));
        }
    }
    let (number, after) = inner.split_once(']')?;
    let digits = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit());
    Some((Step::Item(digits.then(|| number.parse().ok())??), after))
}

/// Follows a path through the first document. `through_aliases` is for reading; an edit stops at an alias.
pub(super) fn follow(editor: &Editor, steps: &[Step], through_aliases: bool) -> Result<Found, Refusal> {
    let Some(root) = editor.root() else { return missing(Vec::new(), steps) };
    let mut way: Way = Vec::new();
    let mut node = root;
    let mut name = String::new();
    for (number, step) in steps.iter().enumerate() {
        if let Kind::Alias { anchor } = node.kind {
            let target = editor.anchored(anchor).filter(|_| through_aliases);
            let Some(target) = target.and_then(|w| root.at(&w).map(|n| (w, n))) else {
                let text = format!("{name:?} is an alias; a value inside what it names is not edited from here");
                return Err(Refusal::new("yaml-unsafe", text).at(node.line));
            };
            (way, node) = target;
        }
        let next = match step {
            Step::Key(key) => {
                if node.is_null() {
                    return missing(way, &steps[number..]);
                }
                match into_map(node, key, &name)? {
                    Some(next) => next,
                    None => return missing(way, &steps[number..]),
                }
            }
            Step::Item(index) => into_list(node, *index, &name)?,
        };
        if let Step::Key(key) = step {
            name.clone_from(key);
        }
        way.push(next);
        node = match &node.kind {
            Kind::Map { entries, .. } => &entries[next].1,
            Kind::Seq { items, .. } => &items[next],
            _ => node,
        };
    }
    Ok(Found::At(way))
}

fn into_map(node: &Node, key: &str, name: &str) -> Result<Option<usize>, Refusal> {
    match &node.kind {
        Kind::Map { .. } => node.entry(key),
        _ if name.is_empty() => Err(unexpected(node, String::new())),
        Kind::Seq { .. } => {
            Err(Refusal::new("yaml-ambiguous", format!("no id provided for yaml array {name:?}")).at(node.line))
        }
        _ => Err(Refusal::new("yaml-unsafe", format!("{name:?} is a value, not a map")).at(node.line)),
    }
}

fn into_list(node: &Node, index: usize, name: &str) -> Result<usize, Refusal> {
    let Kind::Seq { items, .. } = &node.kind else {
        let text = format!("id {index} provided when {name:?} is not an yaml array");
        return Err(Refusal::new("yaml-ambiguous", text).at(node.line));
    };
    if index < items.len() {
        return Ok(index);
    }
    let text = format!("id {index} is out of range [0, {})", items.len());
    Err(Refusal::new("target-missing", text).at(node.line))
}

fn missing(way: Way, rest: &[Step]) -> Result<Found, Refusal> {
    let mut keys: Vec<String> = Vec::new();
    for step in rest {
        match step {
            Step::Key(key) => keys.push(key.clone()),
            Step::Item(index) => {
                let name = keys.last().map_or("", String::as_str);
                let text = format!("id {index} provided but {name:?} does not exist");
                return Err(Refusal::new("target-missing", text));
            }
        }
    }
    Ok(Found::Missing(way, keys))
}

/// The way to the scalar (or null, or alias) that a path names: the nested one, else a top-level key that is literally
/// the whole path.
pub(super) fn locate(editor: &Editor, path: &str, through_aliases: bool) -> Result<Found, Refusal> {
    let nested = parse(path).and_then(|steps| follow(editor, &steps, through_aliases));
    if let Ok(Found::At(_)) = nested {
        return nested;
    }
    match editor.root().map(|root| root.entry(path)).transpose()?.flatten() {
        Some(literal) => Ok(Found::At(vec![literal])),
        None => nested,
    }
}

/// The text of the scalar a path names, read through aliases; `None` if the path does not exist, empty text for null.
pub(super) fn read(editor: &Editor, path: &str) -> Result<Option<(String, u32)>, Refusal> {
    let Found::At(way) = locate(editor, path, true)? else { return Ok(None) };
    let Some(node) = editor.resolved(&way) else { return Ok(None) };
    match node.text() {
        Some(_) if node.is_null() => Ok(Some((String::new(), node.line))),
        Some(text) => Ok(Some((text.to_owned(), node.line))),
        None => Err(unexpected(node, path.rsplit('.').next().unwrap_or(path).to_owned())),
    }
}

/// Makes the scalar a path names this string, inserting what is missing; `head` opens a blank file.
pub(super) fn write(editor: &mut Editor, path: &str, text: &str, head: &str) -> Result<bool, Refusal> {
    match locate(editor, path, false)? {
        Found::At(way) => editor.set(&way, text),
        Found::Missing(way, keys) => {
            let value = Fresh::Text(text.to_owned());
            let Some((key, rest)) = keys.split_first() else { return Ok(false) };
            let below = value.below(rest);
            let node = editor.root().and_then(|root| root.at(&way));
            match node {
                None => editor.begin(key, below, head)?,
                Some(node) if node.is_null() && way.is_empty() => editor.begin(key, below, head)?,
                Some(node) if node.is_null() => editor.fill(&way, below.below(std::slice::from_ref(key)))?,
                Some(_) => editor.add_entry(&way, usize::MAX, key, below)?,
            }
            Ok(true)
        }
    }
}
