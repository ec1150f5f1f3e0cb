//! The static signatures of the built-ins that take no predicate.

use super::ast::Node;
use super::check::Checker;
use super::nature::{GoKind, Nature};
use super::reject::Reject;

type Checked<T = Nature> = Result<T, Reject>;

/// The alternative parameter lists of a built-in and what it gives; `None` for those with rules of their own.
fn overloads(name: &str) -> Option<(Vec<Vec<Nature>>, Nature)> {
    use Nature::{Any, Bool, Duration, List, Text, Texts, Zone};
    let (text, int, anys) = (|| Text, || Nature::INT, || List(None));
    Some(match name {
        "type" | "string" | "toJSON" => (vec![vec![Any]], Text),
        "trim" => (vec![vec![text()], vec![text(), text()]], Text),
        "trimPrefix" | "trimSuffix" => (vec![vec![text(), text()], vec![text()]], Text),
        "upper" | "lower" | "toBase64" | "fromBase64" => (vec![vec![text()]], Text),
        "fromJSON" => (vec![vec![text()]], Any),
        "duration" => (vec![vec![text()]], Duration),
        "timezone" => (vec![vec![text()]], Zone),
        "split" | "splitAfter" => (vec![vec![text(), text()], vec![text(), text(), int()]], Texts),
        "replace" => (vec![vec![text(), text(), text(), int()], vec![text(), text(), text()]], Text),
        "repeat" => (vec![vec![text(), int()]], Text),
        "join" => (vec![vec![Texts, text()], vec![anys(), text()], vec![anys()], vec![Texts]], Text),
        "indexOf" | "lastIndexOf" => (vec![vec![text(), text()]], Nature::INT),
        "hasPrefix" | "hasSuffix" => (vec![vec![text(), text()]], Bool),
        "sort" => (vec![vec![anys(), text()], vec![Texts, text()], vec![anys()], vec![Texts]], List(None)),
        "bitand" | "bitor" | "bitxor" | "bitnand" | "bitshl" | "bitshr" | "bitushr" => {
            (vec![vec![int(), int()]], Nature::INT)
        }
        "bitnot" => (vec![vec![int()]], Nature::INT),
        _ => return None,
    })
}

/// Checks a call of a built-in; gives the kind of its result.
pub(super) fn check_builtin(checker: &mut Checker, node: &Node, name: &str, arguments: &[Node]) -> Checked {
    if name == "get" {
        return get(checker, node, arguments);
    }
    if let Some((alternatives, out)) = overloads(name) {
        // The place is that of the last complaint, the words are those of one about the right number of arguments.
        let mut complaint: Option<Reject> = None;
        for params in &alternatives {
            match check_arguments(checker, node, name, params, arguments) {
                Ok(()) => return Ok(out),
                Err(reject) => match &mut complaint {
                    Some(before) if params.len() != arguments.len() => before.at = reject.at,
                    _ => complaint = Some(reject),
                },
            }
        }
        return complaint.map_or(Ok(out), Err);
    }
    let natures: Vec<Nature> =
        arguments.iter().map(|argument| checker.visit(argument).map(|n| n.erased())).collect::<Checked<_>>()?;
    let refuse = |i: usize, what: &str| {
        let word = natures.get(i).map_or("nothing", Nature::word);
        Err(Reject::new(node.at, format!("`{name}` takes {what}, not {word}"), ""))
    };
    let count = |least: usize, most: usize| {
        if natures.len() < least || natures.len() > most {
            let wanted = if least == most { format!("{least}") } else { format!("{least} to {most}") };
            return Err(Reject::new(node.at, format!("`{name}` takes {wanted} arguments, not {}", natures.len()), ""));
        }
        Ok(())
    };
    let number = |n: &Nature| matches!(n.kind(), GoKind::Int(_) | GoKind::Float);
    match name {
        "len" => {
            count(1, 1)?;
            match natures[0].kind() {
                GoKind::Map | GoKind::Slice | GoKind::Text | GoKind::Interface => Ok(Nature::INT),
                _ => refuse(0, "a text, list or map"),
            }
        }
        "abs" | "ceil" | "floor" | "round" | "int" | "float" => {
            count(1, 1)?;
            let nature = &natures[0];
            let text = *nature == Nature::Text && matches!(name, "int" | "float");
            if !number(nature) && *nature != Nature::Any && !text {
                return refuse(0, "a number");
            }
            Ok(match name {
                "abs" => nature.clone(),
                "int" => Nature::INT,
                _ => Nature::Float,
            })
        }
        "max" | "min" | "mean" | "median" => {
            count(1, usize::MAX)?;
            for (i, nature) in natures.iter().enumerate() {
                if nature.array() || *nature == Nature::Any {
                    return Ok(Nature::Any);
                }
                if !number(nature) {
                    return refuse(i, "numbers and lists of numbers");
                }
            }
            Ok(natures[0].clone())
        }
        "now" if natures.is_empty() || natures == [Nature::Zone] => Ok(Nature::Time),
        "now" => Err(Reject::new(node.at, "`now` takes no arguments", "")),
        "date" => {
            let zone = usize::from(natures.first() == Some(&Nature::Zone));
            count(1, 3 + zone)?;
            Ok(Nature::Time)
        }
        _ => lists(&natures, name, refuse, count),
    }
}

/// The rules of the built-ins for lists and maps.
fn lists(
    natures: &[Nature],
    name: &str,
    refuse: impl Fn(usize, &str) -> Checked,
    count: impl Fn(usize, usize) -> Checked<()>,
) -> Checked {
    let listlike = |n: &Nature| n.array() || *n == Nature::Any;
    let maplike = |n: &Nature| n.map() || *n == Nature::Any;
    match name {
        "take" => count(2, 2)?,
        "concat" => count(1, usize::MAX)?,
        _ => count(1, 1)?,
    }
    match name {
        "keys" | "values" | "toPairs" if maplike(&natures[0]) => Ok(Nature::List(None)),
        "keys" | "values" | "toPairs" => refuse(0, "a map"),
        _ if !listlike(&natures[0]) => refuse(0, "a list"),
        "first" | "last" if natures[0] == Nature::Any => Ok(Nature::Any),
        "first" | "last" => Ok(natures[0].element()),
        "take" => match natures[1].kind() {
            GoKind::Interface | GoKind::Int(_) => Ok(natures[0].clone()),
            _ => refuse(1, "a number of elements"),
        },
        "fromPairs" => Ok(Nature::Pairs),
        "concat" => match natures.iter().position(|n| !listlike(n)) {
            Some(i) => refuse(i, "lists"),
            None => Ok(Nature::List(None)),
        },
        // reverse, uniq, flatten
        _ => Ok(Nature::List(None)),
    }
}

fn get(checker: &mut Checker, node: &Node, arguments: &[Node]) -> Checked {
    let [base, key] = arguments else {
        return Err(Reject::new(node.at, format!("`get` takes 2 arguments, not {}", arguments.len()), ""));
    };
    let (of, by) = (checker.visit(base)?, checker.visit(key)?);
    if of.unknown() {
        return Ok(Nature::Unknown);
    }
    let fits = match &of {
        list if list.array() => by.integer() || by.unknown(),
        Nature::Map => by == Nature::Text || by.unknown(),
        Nature::Pairs | Nature::Groups => true,
        _ => return Err(Reject::new(base.at, format!("`get` takes a list or map, not {}", of.word()), "")),
    };
    if !fits {
        return Err(Reject::new(key.at, format!("{} is no key of {}", by.word(), of.word()), ""));
    }
    Ok(of.element())
}

/// Checks arguments against parameters.
pub(super) fn check_arguments(
    checker: &mut Checker,
    node: &Node,
    name: &str,
    params: &[Nature],
    arguments: &[Node],
) -> Checked<()> {
    if params.len() != arguments.len() {
        for argument in arguments {
            checker.visit(argument)?;
        }
        let text = format!("`{name}` takes {} arguments, not {}", params.len(), arguments.len());
        return Err(Reject::new(node.at, text, ""));
    }
    for (param, argument) in params.iter().zip(arguments) {
        let nature = checker.visit(argument)?;
        let fits = match &nature {
            n if n.unknown() => true,
            Nature::Nil => matches!(param, Nature::Any | Nature::Zone),
            n if param.integer() && n.integer() => true,
            n => n.assignable(param),
        };
        if !fits {
            let text = format!("`{name}` takes {}, not {}", param.word(), nature.word());
            return Err(Reject::new(argument.at, text, ""));
        }
    }
    Ok(())
}
