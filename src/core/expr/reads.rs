//! What an expression reads (EXP-04): so that it need not be evaluated again when nothing of that has changed.

use std::sync::Arc;

use super::ast::{Kind, Node};

/// The paths an expression reads, and whether it looks at the clock.
#[derive(Clone, Debug, Default)]
pub(super) struct Reads {
    pub paths: Vec<Vec<String>>,
    pub clock: bool,
}

/// Looks through the tree as written, so that nothing depends on what is rewritten later.
pub(super) fn reads(root: &Node) -> Reads {
    let mut reads = Reads::default();
    let mut open: Vec<&Node> = vec![root];
    let mut own: Vec<Arc<str>> = Vec::new();
    // Own names first: a `let` may shadow, but then its value is read where it is declared.
    let mut all = vec![root];
    while let Some(node) = all.pop() {
        if let Kind::Let { name, .. } = &node.kind {
            own.push(name.clone());
        }
        all.extend(node.children());
    }
    while let Some(node) = open.pop() {
        match &node.kind {
            Kind::Name(_) | Kind::Member { .. } | Kind::Chain(_) => {
                let mut path = Vec::new();
                open.extend(follow(node, &mut path));
                let declared = path.first().is_some_and(|first| own.iter().any(|name| **name == **first));
                match path.first().map(String::as_str) {
                    None => {}
                    Some(_) if declared => {}
                    Some("$env") => reads.paths.push(path[1..].to_vec()),
                    Some(_) => reads.paths.push(path.clone()),
                }
                // `time` handed around may have its Now called anywhere.
                reads.clock |= path.iter().any(|part| part == "Now") || path == ["time"] || path == ["$env"];
            }
            Kind::Builtin(call) => {
                reads.clock |= call.name == "now";
                open.extend(node.children());
            }
            Kind::Text(text) => reads.clock |= **text == *"Now",
            _ => open.extend(node.children()),
        }
    }
    reads.paths.sort();
    reads.paths.dedup();
    reads
}

/// The path of an access, outermost name first; gives what else must be looked at. The path is empty if it does not
/// start at a variable, and ends before the first key that is not written in the expression.
fn follow<'a>(node: &'a Node, path: &mut Vec<String>) -> Vec<&'a Node> {
    let mut steps = Vec::new();
    let mut rest = Vec::new();
    let mut node = node;
    loop {
        match &node.kind {
            Kind::Chain(inner) => node = inner,
            Kind::Member { base, property, .. } => {
                match property.as_text() {
                    Some(text) => steps.push(Some(text.to_string())),
                    None => {
                        steps.push(None);
                        rest.push(property.as_ref());
                    }
                }
                node = base;
            }
            Kind::Name(name) => {
                path.push(name.to_string());
                for step in steps.into_iter().rev() {
                    let Some(step) = step else { break };
                    path.push(step);
                }
                return rest;
            }
            _ => {
                rest.push(node);
                return rest;
            }
        }
    }
}
