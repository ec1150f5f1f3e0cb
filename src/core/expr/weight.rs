//! How much text a value would become: asked before it is written, because a small value can hold one large part many
//! times.

use super::keyed::Keyed;
use super::operators::Op;
use crate::core::value::Value;

/// Most bytes of text a value may become (EXP-05).
const MOST: usize = 1 << 20;

/// Refuses a value whose text would be too long, or that is nested too deeply to be walked.
pub(super) fn weigh(value: &Value) -> Op<()> {
    // Every part is counted with a separator, which the whole has not.
    let mut left = MOST + 1;
    walk(value, &mut left, 0)
}

fn walk(value: &Value, left: &mut usize, depth: usize) -> Op<()> {
    // Objects of the cluster may be nested deeper than what expressions build.
    if depth > 200 {
        return Err("the value is nested too deeply".to_owned());
    }
    let own = match value {
        Value::Str(text) => text.len() + 1,
        Value::Bytes(bytes) => bytes.len() * 4 + 1,
        Value::Int(..) | Value::Float(_) | Value::Duration(_) => 2,
        _ => 6,
    };
    take(left, own)?;
    match value {
        Value::List(list) => list.items.iter().try_for_each(|item| walk(item, left, depth + 1)),
        Value::Map(map) => map.entries().iter().try_for_each(|(key, item)| {
            take(left, key.len())?;
            walk(item, left, depth + 1)
        }),
        Value::Object(_) => match Keyed::of(value) {
            Some(keyed) => keyed.entries.values().try_for_each(|(key, item)| {
                walk(key, left, depth + 1)?;
                walk(item, left, depth + 1)
            }),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

fn take(left: &mut usize, size: usize) -> Op<()> {
    match left.checked_sub(size) {
        Some(rest) => *left = rest,
        None => return Err("the value is larger than 1 MiB".to_owned()),
    }
    Ok(())
}
