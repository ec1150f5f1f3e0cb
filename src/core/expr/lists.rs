//! The built-ins for lists and maps that run no predicate.

use std::sync::Arc;

use super::keyed::{Keyed, key};
use super::machine::{MAX_LEVELS, Machine};
use super::operators::{Op, described, element, equal, is_nil, nil_list};
use super::sorting;
use crate::core::value::{IntKind, List, ListKind, Value, method};

/// Length: characters of a text, elements of a list or map.
pub(super) fn len(value: &Value) -> Op {
    let length = match value {
        Value::Str(text) => text.chars().count(),
        Value::List(list) => list.items.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Map(map) => map.len(),
        other => match Keyed::of(other) {
            Some(keyed) => keyed.entries.len(),
            None => return Err(format!("{} has no length", described(other))),
        },
    };
    Ok(Value::int(length as i64))
}

/// The elements of a list.
fn items(machine: &mut Machine<'_>, name: &str, value: &Value) -> Op<Vec<Value>> {
    let items = match value {
        Value::List(list) => list.items.to_vec(),
        Value::Bytes(bytes) => bytes.iter().map(|byte| Value::Int(IntKind::Uint8, i64::from(*byte))).collect(),
        other => return Err(format!("{name} takes a list, not {}", described(other))),
    };
    machine.budget.spend(items.len())?;
    Ok(items)
}

/// The entries of a map, by key.
fn entries(machine: &mut Machine<'_>, name: &str, value: &Value) -> Op<Vec<(Value, Value)>> {
    let entries: Vec<(Value, Value)> = match value {
        Value::Map(map) => map.entries().into_iter().map(|(key, value)| (Value::Str(key), value)).collect(),
        other => match Keyed::of(other) {
            Some(keyed) => keyed.entries.values().cloned().collect(),
            None => return Err(format!("{name} takes a map, not {}", described(other))),
        },
    };
    machine.budget.spend(entries.len())?;
    Ok(entries)
}

/// `from[key]`, nil where that would be an error or nothing.
pub(super) fn get(machine: &mut Machine<'_>, arguments: &[Value]) -> Op {
    let (from, key) = (&arguments[0], &arguments[1]);
    if let Value::Str(name) = key
        && let Some(found) = method(from, name, &machine.now.zone)
    {
        return Ok(Value::Func(found));
    }
    if matches!(from, Value::Time(_)) && !matches!(key, Value::Str(_)) {
        return Err(format!("a time has no element of {}", described(key)));
    }
    Ok(element(from, key)?.unwrap_or(Value::Nil))
}

pub(super) fn take(machine: &mut Machine<'_>, arguments: &[Value]) -> Op {
    let count = match &arguments[1] {
        Value::Int(kind, n) if !kind.unsigned() => *n,
        Value::Duration(n) => *n,
        other => return Err(format!("take needs a number of elements, not {}", described(other))),
    };
    let count = usize::try_from(count).map_err(|_| format!("{count} elements cannot be taken"))?;
    let part = match &arguments[0] {
        value if is_nil(value) && !value.is_nil() => value.clone(),
        Value::List(list) if list.kind == ListKind::Pair => return Err("nothing can be taken from a pair".to_owned()),
        Value::List(list) => {
            let items = list.items[..count.min(list.items.len())].to_vec();
            Value::List(List { kind: list.kind, items: Arc::new(items) })
        }
        Value::Bytes(bytes) => Value::Bytes(Arc::from(&bytes[..count.min(bytes.len())])),
        other => return Err(format!("take takes a list, not {}", described(other))),
    };
    machine.tracked(part)
}

pub(super) fn keys(machine: &mut Machine<'_>, arguments: &[Value]) -> Op {
    let entries = entries(machine, "keys", &arguments[0])?;
    machine.list(entries.into_iter().map(|(key, _)| key).collect())
}

pub(super) fn values(machine: &mut Machine<'_>, arguments: &[Value]) -> Op {
    let entries = entries(machine, "values", &arguments[0])?;
    machine.list(entries.into_iter().map(|(_, value)| value).collect())
}

pub(super) fn to_pairs(machine: &mut Machine<'_>, arguments: &[Value]) -> Op {
    let entries = entries(machine, "toPairs", &arguments[0])?;
    let mut pairs = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let items = Arc::new(vec![key, value]);
        pairs.push(machine.tracked(Value::List(List { kind: ListKind::Pair, items }))?);
    }
    machine.tracked(Value::List(List { kind: ListKind::Pairs, items: Arc::new(pairs) }))
}

pub(super) fn from_pairs(machine: &mut Machine<'_>, arguments: &[Value]) -> Op {
    let mut keyed = Keyed::default();
    for pair in items(machine, "fromPairs", &arguments[0])? {
        let pair = items(machine, "fromPairs", &pair)?;
        let [name, value] = pair.as_slice() else {
            return Err(format!("a pair has 2 elements, not {}", pair.len()));
        };
        keyed.entries.insert(key(name)?, (name.clone(), value.clone()));
    }
    machine.tracked(keyed.value())
}

pub(super) fn reverse(machine: &mut Machine<'_>, arguments: &[Value]) -> Op {
    let mut items = items(machine, "reverse", &arguments[0])?;
    items.reverse();
    machine.grown_list(items)
}

pub(super) fn uniq(machine: &mut Machine<'_>, arguments: &[Value]) -> Op {
    let mut kept: Vec<Value> = Vec::new();
    for item in items(machine, "uniq", &arguments[0])? {
        let mut known = false;
        for other in &kept {
            if equal(&item, other, &mut machine.budget, 0)? {
                known = true;
                break;
            }
        }
        if !known {
            kept.push(item);
        }
    }
    machine.list(kept)
}

pub(super) fn concat(machine: &mut Machine<'_>, arguments: &[Value]) -> Op {
    let mut all = Vec::new();
    for argument in arguments {
        all.extend(items(machine, "concat", argument)?);
    }
    if all.is_empty() { Ok(nil_list(ListKind::Any)) } else { machine.grown_list(all) }
}

pub(super) fn flatten(machine: &mut Machine<'_>, arguments: &[Value]) -> Op {
    let mut flat = Vec::new();
    flatten_into(machine, &arguments[0], &mut flat, 0)?;
    machine.grown_list(flat)
}

fn flatten_into(machine: &mut Machine<'_>, value: &Value, flat: &mut Vec<Value>, depth: usize) -> Op<()> {
    if depth > MAX_LEVELS {
        return Err(format!("nested deeper than {MAX_LEVELS} levels"));
    }
    for item in items(machine, "flatten", value)? {
        match item {
            Value::List(_) | Value::Bytes(_) => flatten_into(machine, &item, flat, depth + 1)?,
            item => flat.push(item),
        }
    }
    Ok(())
}

pub(super) fn sort(machine: &mut Machine<'_>, arguments: &[Value]) -> Op {
    let descending = arguments.get(1).map_or(Ok(false), sorting::descending)?;
    // What is no such list sorts to nothing.
    let Value::List(List { kind: ListKind::Any | ListKind::Int | ListKind::Text, items }) = &arguments[0] else {
        return Ok(nil_list(ListKind::Any));
    };
    machine.budget.spend(items.len())?;
    let pairs = items.iter().map(|item| (item.clone(), item.clone())).collect();
    let sorted = sorting::sort(pairs, descending, &mut machine.budget)?;
    machine.grown_list(sorted)
}
