//! sprig's functions for maps. Where Go's order is random, ours is that of the keys (notifications.md P-7).

use std::sync::Arc;

use crate::core::value::{List, Map, MapKind, Param, Value, type_name};

use super::super::cast::to_text;
use super::merge::merge;
use super::{ANY, COPY_DEPTH, Ctx, Function, MAP, Outcome, P, TEXT, function, text_of, variadic};

const DICTS: P = P::Typed(Param::Map);

pub(super) static TABLE: &[Function] = &[
    variadic("dict", &[ANY], |_, v| Ok(dict(v))),
    function("get", &[MAP, TEXT], |_, v| Ok(map_of(&v[0]).get(text_of(v, 1)).unwrap_or_else(|| Value::text("")))),
    function("set", &[MAP, TEXT, ANY], |_, v| set(v)),
    function("unset", &[MAP, TEXT], |_, v| {
        let map = map_of(&v[0]);
        map.remove(text_of(v, 1));
        Ok(Value::Map(map))
    }),
    function("hasKey", &[MAP, TEXT], |_, v| Ok(Value::Bool(map_of(&v[0]).contains_key(text_of(v, 1))))),
    variadic("pluck", &[TEXT, DICTS], |_, v| {
        Ok(Value::list(v[1..].iter().filter_map(|map| map_of(map).get(text_of(v, 0))).collect()))
    }),
    variadic("keys", &[DICTS], |_, v| Ok(Value::text_list(v.iter().flat_map(|map| map_of(map).keys())))),
    function("values", &[MAP], |_, v| {
        Ok(Value::list(map_of(&v[0]).entries().into_iter().map(|(_, value)| value).collect()))
    }),
    variadic("pick", &[MAP, TEXT], |_, v| Ok(chosen(v, true))),
    variadic("omit", &[MAP, TEXT], |_, v| Ok(chosen(v, false))),
    variadic("merge", &[MAP, DICTS], |ctx, v| merge(ctx, v, false)),
    variadic("mustMerge", &[MAP, DICTS], |ctx, v| merge(ctx, v, false)),
    variadic("mergeOverwrite", &[MAP, DICTS], |ctx, v| merge(ctx, v, true)),
    variadic("mustMergeOverwrite", &[MAP, DICTS], |ctx, v| merge(ctx, v, true)),
    function("deepCopy", &[ANY], deep_copy),
    function("mustDeepCopy", &[ANY], deep_copy),
    variadic("dig", &[ANY], |_, v| dig(v)),
];

/// The map given for a map parameter; nil is an empty one.
pub(super) fn map_of(value: &Value) -> Map {
    match value {
        Value::Map(map) => map.clone(),
        _ => Map::new(MapKind::Any),
    }
}

fn dict(values: &[Value]) -> Value {
    let map = Map::new(MapKind::Any);
    for pair in values.chunks(2) {
        map.insert(to_text(&pair[0]), pair.get(1).cloned().unwrap_or_else(|| Value::text("")));
    }
    Value::Map(map)
}

fn deep_copy(ctx: &Ctx<'_>, values: &[Value]) -> Outcome {
    if values[0].is_nil() {
        return Err("reflect: call of reflect.Value.Type on zero Value".into());
    }
    let most = ENTRIES.min(u32::try_from(ctx.left() / STEPS_PER_ENTRY).unwrap_or(ENTRIES));
    let mut left = most;
    let copied = copy(&values[0], &mut left, 0)?;
    ctx.charge(u64::from(most - left) * STEPS_PER_ENTRY)?;
    Ok(copied)
}

/// An entry of a copy is a key, a value and their place in a map.
const STEPS_PER_ENTRY: u64 = 8;

/// Entries that one copy may hold, and how deep it may go: maps can be made to hold themselves.
const ENTRIES: u32 = 100_000;

fn copy(value: &Value, left: &mut u32, depth: usize) -> Outcome {
    if *left == 0 || depth > COPY_DEPTH {
        return Err("value is too large to be copied, or holds itself".into());
    }
    *left -= 1;
    Ok(match value {
        Value::Map(map) => {
            let copied = Map::new(map.kind);
            for (key, item) in map.entries() {
                copied.insert(key, copy(&item, left, depth + 1)?);
            }
            Value::Map(copied)
        }
        Value::List(list) if !list.is_nil() => {
            let items: Result<Vec<Value>, _> = list.items.iter().map(|item| copy(item, left, depth + 1)).collect();
            Value::List(List { kind: list.kind, items: Arc::new(items?) })
        }
        other => other.clone(),
    })
}

fn set(values: &[Value]) -> Outcome {
    if values[0].is_nil() {
        return Err("assignment to entry in nil map".into());
    }
    let map = map_of(&values[0]);
    map.insert(text_of(values, 1), values[2].clone());
    Ok(Value::Map(map))
}

fn chosen(values: &[Value], wanted: bool) -> Value {
    let named = |key: &str| values[1..].iter().any(|name| name.as_text() == Some(key));
    let map = Map::new(MapKind::Any);
    for (key, value) in map_of(&values[0]).entries() {
        if named(&key) == wanted {
            map.insert(key, value);
        }
    }
    Value::Map(map)
}

/// `dig "a" "b" default map`
fn dig(values: &[Value]) -> Outcome {
    let [keys @ .., default, map] = values else { return Err("dig needs at least three arguments".into()) };
    if keys.is_empty() {
        return Err("dig needs at least three arguments".into());
    }
    let unexpected = |value: &Value, wanted: &str| {
        let got = if value.is_nil() { "nil".to_owned() } else { type_name(value) };
        format!("interface conversion: interface {{}} is {got}, not {wanted}")
    };
    let mut found = map.clone();
    if !matches!(&found, Value::Map(map) if map.kind == MapKind::Any) {
        return Err(unexpected(&found, "map[string]interface {}").into());
    }
    if let Some(key) = keys.iter().find(|key| key.as_text().is_none()) {
        return Err(unexpected(key, "string").into());
    }
    for key in keys {
        let Value::Map(map) = &found else { return Err(unexpected(&found, "map[string]interface {}").into()) };
        if map.kind != MapKind::Any {
            return Err(unexpected(&found, "map[string]interface {}").into());
        }
        match map.get(key.as_text().unwrap_or_default()) {
            Some(next) => found = next,
            None => return Ok(default.clone()),
        }
    }
    Ok(found)
}
