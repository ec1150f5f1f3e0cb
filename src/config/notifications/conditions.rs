//! The conditions of a trigger, each compiled by itself, and what is probably not meant as written (notifications.md §3).

use crate::config::yaml::Node;
use crate::core::notify::trigger::{Condition, Fault};
use crate::core::notify::variables::VOCABULARY;
use crate::core::problem::{Problem, Severity};

const CONDITION_FIELDS: &[&str] = &["when", "oncePer", "send", "description", "lynceus"];

pub(super) fn condition(index: usize, node: &Node, problems: &mut Vec<Problem>) -> Result<Condition, Vec<Fault>> {
    let unusable =
        |text: &str| vec![Fault { field: "when", text: text.to_owned(), hint: String::new(), line: 1, column: 1 }];
    if node.entries().is_none() {
        let text = format!("condition {index} is {}, not a mapping", node.kind());
        let faults = unusable(&text);
        problems.push(node.at.mark(Problem::error("TriggerInvalid", text)).upstream_rejects());
        return Err(faults);
    }
    problems.extend(node.unknown_fields("a condition", CONDITION_FIELDS));
    own_settings(node, problems);
    let text = |name: &str| node.field(name).and_then(|n| n.as_text()).map(|t| t.into_owned()).unwrap_or_default();
    let (when, once_per) = (text("when"), text("oncePer"));
    let mut send = Vec::new();
    if let Some(list) = node.field("send") {
        match list.items() {
            Some(items) => send.extend(items.iter().filter_map(|i| i.as_text()).map(|t| t.into_owned())),
            None => {
                let text = format!("`send` is a list of template names, not {}", list.kind());
                let faults = unusable(&text);
                problems.push(list.at.mark(Problem::error("TriggerInvalid", text)).upstream_rejects());
                return Err(faults);
            }
        }
    }
    if when.is_empty() {
        let text = format!("condition {index} has no `when` and never fires");
        problems.push(node.at.mark(Problem::warning("ConditionNeverFires", text)));
    }
    match Condition::compile(index, &when, &once_per, send, text("description")) {
        Ok(condition) => {
            for (field, program) in [("when", &condition.when), ("oncePer", &condition.once_per)] {
                let warnings = program.iter().flat_map(|p| p.warnings(&VOCABULARY));
                for warning in warnings.filter(|warning| field == "when" || !warning.as_condition) {
                    let problem = Problem::warning("ExpressionSuspicious", warning.text.clone())
                        .at_key(format!("[{index}].{field}"))
                        .at(warning.line, warning.column)
                        .hint(warning.hint.clone());
                    problems.push(problem);
                }
            }
            if condition.when.as_ref().is_some_and(|when| when.never_boolean()) {
                let text = format!("`when` of condition {index} yields no boolean, so it never fires");
                let at = node.field("when").map_or(node.at, |when| when.at);
                problems.push(at.mark(Problem::warning("ConditionNeverFires", text)).at_key(format!("[{index}].when")));
            }
            once_per_identity(index, &condition, problems);
            Ok(condition)
        }
        Err(faults) => {
            for fault in &faults {
                let problem = Problem::error("ExpressionInvalid", fault.text.clone())
                    .at_key(format!("[{index}].{}", fault.field))
                    .hint(fault.hint.clone())
                    .upstream_rejects();
                // Positions count within the expression; a one-line one is found by where it begins in the document.
                let at = node.field(fault.field).map(|n| n.at).filter(|_| fault.line == 1);
                problems.push(match at {
                    Some(at) => {
                        let text = format!("{} (character {} of the expression)", problem.text, fault.column);
                        Problem { text, ..problem }.at(at.line, at.column + fault.column - 1)
                    }
                    None => problem.at(fault.line, fault.column),
                });
            }
            Err(faults)
        }
    }
}

/// What may stand in a condition's `lynceus:` block; none of it is followed by this version (§15.1).
const LATER: &[&str] = &[
    "identity",
    "whenStale",
    "onFirstSight",
    "onConfigChange",
    "emptyOncePer",
    "for",
    "recovery",
    "repeat",
    "group",
    "severity",
    "story",
];

/// Settings that nothing follows are said: whoever wrote them counts on them.
fn own_settings(condition: &Node, problems: &mut Vec<Problem>) {
    let Some(block) = condition.field("lynceus") else { return };
    let unknown = block.unknown_fields("a condition's `lynceus` block", LATER);
    problems.extend(unknown.into_iter().map(|problem| Problem { severity: Severity::Warning, ..problem }));
    for entry in block.entries().unwrap_or_default() {
        if LATER.iter().any(|name| name.eq_ignore_ascii_case(&entry.key)) {
            let text = format!("`{}` is not followed by this version; the condition works as without it", entry.key);
            problems.push(entry.at.mark(Problem::warning("SettingPending", text)));
        }
    }
}

/// `oncePer` values that change by themselves cause repeats (TRG-04).
fn once_per_identity(index: usize, condition: &Condition, problems: &mut Vec<Problem>) {
    const RESTLESS: &[&[&str]] = &[
        &["app", "status", "reconciledAt"],
        &["app", "status", "observedAt"],
        &["app", "metadata", "resourceVersion"],
        &["app", "metadata", "generation"],
        &["app", "status", "summary", "images"],
        &["app", "status", "health"],
        &["app", "status", "sync", "status"],
    ];
    let Some(program) = &condition.once_per else { return };
    for path in program.read_paths() {
        if RESTLESS
            .iter()
            .any(|restless| path.len() >= restless.len() && path.iter().zip(*restless).all(|(a, b)| a == b))
        {
            problems.push(
                Problem::warning(
                    "OncePerIsNotAnIdentity",
                    format!("`oncePer` reads {}, which changes by itself and causes repeats", path.join(".")),
                )
                .at_key(format!("[{index}].oncePer"))
                .hint("use app.status.operationState?.syncResult?.revision"),
            );
        }
    }
}
