//! Merging maps the way the Go library behind sprig's `merge` does: what is empty in the first is filled from the
//! others, maps inside are merged in place; overwriting takes everything but leaves.

use crate::core::value::{Map, MapKind, Value};

use super::super::cast::is_empty;
use super::{Ctx, Failure, Outcome};

/// Deepest level that is merged: a map can be made to hold itself.
const DEPTH: usize = 100;

/// Merges all maps into the first, which changes, and gives it back.
pub(super) fn merge(ctx: &Ctx<'_>, values: &[Value], overwrite: bool) -> Outcome {
    let target = match &values[0] {
        Value::Map(map) => map.clone(),
        _ => Map::new(MapKind::Any),
    };
    for source in &values[1..] {
        if let Value::Map(source) = source {
            merge_into(ctx, &target, source, overwrite, 0)?;
        }
    }
    Ok(Value::Map(target))
}

fn merge_into(ctx: &Ctx<'_>, target: &Map, source: &Map, overwrite: bool, depth: usize) -> Result<(), Failure> {
    if depth > DEPTH {
        return Err("maps are nested too deeply to be merged".into());
    }
    for (key, value) in source.entries() {
        ctx.charge(1)?;
        let known = target.get(&key);
        if value.is_nil() {
            if overwrite {
                target.insert(key, value);
            }
            continue;
        }
        let known_is_empty = known.as_ref().is_none_or(is_empty);
        match (&known, &value) {
            (Some(Value::Map(inner)), Value::Map(more)) => {
                if inner.kind == more.kind && !inner.same(more) {
                    merge_into(ctx, inner, more, overwrite, depth + 1)?;
                }
                if !inner.is_empty() {
                    continue;
                }
            }
            // Lists are taken whole.
            (Some(_), Value::List(_) | Value::Bytes(_)) if !known_is_empty => {
                if overwrite {
                    target.insert(key, value);
                }
                continue;
            }
            _ => {}
        }
        if overwrite || known_is_empty {
            target.insert(key, value);
        }
    }
    Ok(())
}
