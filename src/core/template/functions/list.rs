//! sprig's list functions. Most take any slice and give an `[]interface {}`.

use std::sync::Arc;

use crate::core::value::{List, ListKind, Value};

use super::super::cast::{COMPARISONS, deep_equal, is_empty, kind_name, to_int, to_text};
use super::text::{items, texts};
use super::{ANY, Ctx, Failure, Function, INT, Outcome, function, int_of, text, variadic};

pub(super) static TABLE: &[Function] = &[
    variadic("list", &[ANY], |_, v| Ok(Value::list(v.to_vec()))),
    variadic("tuple", &[ANY], |_, v| Ok(Value::list(v.to_vec()))),
    function("append", &[ANY, ANY], |_, v| push(v)),
    function("push", &[ANY, ANY], |_, v| push(v)),
    function("mustAppend", &[ANY, ANY], |_, v| push(v)),
    function("mustPush", &[ANY, ANY], |_, v| push(v)),
    function("prepend", &[ANY, ANY], |_, v| prepend(v)),
    function("mustPrepend", &[ANY, ANY], |_, v| prepend(v)),
    variadic("concat", &[ANY], concat),
    function("chunk", &[INT, ANY], |_, v| chunk(int_of(v, 0), &v[1])),
    function("mustChunk", &[INT, ANY], |_, v| chunk(int_of(v, 0), &v[1])),
    function("first", &[ANY], |_, v| first(v)),
    function("mustFirst", &[ANY], |_, v| first(v)),
    function("last", &[ANY], |_, v| last(v)),
    function("mustLast", &[ANY], |_, v| last(v)),
    function("rest", &[ANY], |_, v| rest(v)),
    function("mustRest", &[ANY], |_, v| rest(v)),
    function("initial", &[ANY], |_, v| initial(v)),
    function("mustInitial", &[ANY], |_, v| initial(v)),
    function("reverse", &[ANY], |_, v| reverse(v)),
    function("mustReverse", &[ANY], |_, v| reverse(v)),
    function("compact", &[ANY], |_, v| compact(v)),
    function("mustCompact", &[ANY], |_, v| compact(v)),
    function("uniq", &[ANY], uniq),
    function("mustUniq", &[ANY], uniq),
    variadic("without", &[ANY, ANY], without),
    variadic("mustWithout", &[ANY, ANY], without),
    function("has", &[ANY, ANY], has),
    function("mustHas", &[ANY, ANY], has),
    variadic("slice", &[ANY, ANY], |_, v| slice(v)),
    variadic("mustSlice", &[ANY, ANY], |_, v| slice(v)),
    function("sortAlpha", &[ANY], sort_alpha),
    function("until", &[INT], |ctx, v| until(ctx, int_of(v, 0))),
    function("untilStep", &[INT, INT, INT], |ctx, v| {
        Ok(ints(until_step(ctx, int_of(v, 0), int_of(v, 1), int_of(v, 2))?))
    }),
    variadic("seq", &[INT], seq),
];

fn nil_list() -> Value {
    Value::List(List::nil(ListKind::Any))
}

fn push(values: &[Value]) -> Outcome {
    let mut all = items(&values[0], "Cannot push on type")?.to_vec();
    all.push(values[1].clone());
    Ok(Value::list(all))
}

fn prepend(values: &[Value]) -> Outcome {
    let mut all = vec![values[1].clone()];
    all.extend(items(&values[0], "Cannot prepend on type")?.iter().cloned());
    Ok(Value::list(all))
}

fn concat(ctx: &Ctx<'_>, values: &[Value]) -> Outcome {
    let mut all = Vec::new();
    for value in values {
        let part = match value {
            Value::List(_) | Value::Bytes(_) | Value::Nil => items(value, "")?,
            other => return Err(format!("Cannot concat type {} as list", kind_name(other)).into()),
        };
        // Before it is made, see `charge_result`.
        ctx.charge(part.len() as u64)?;
        all.extend(part.iter().cloned());
    }
    Ok(if all.is_empty() { nil_list() } else { Value::list(all) })
}

/// The number of parts and the length of the last are computed in floats, as in Go.
fn chunk(size: i64, value: &Value) -> Outcome {
    let all = items(value, "Cannot chunk type")?;
    let length = all.len() as f64;
    let count = ((length - 1.0) / size as f64).floor() + 1.0;
    let impossible = || Failure::from("runtime error: makeslice: len out of range");
    if size == 0 || !(0.0..=all.len() as f64).contains(&count) {
        return Err(impossible());
    }
    let mut parts = Vec::new();
    for i in 0..count as usize {
        let mut length_of_part = size;
        if i as f64 == count - 1.0 {
            length_of_part = (length % size as f64).floor() as i64;
            if length_of_part == 0 {
                length_of_part = size;
            }
        }
        let start = usize::try_from(i as i64 * size).map_err(|_| impossible())?;
        let end = start.checked_add_signed(length_of_part as isize).ok_or_else(impossible)?;
        parts.push(Value::list(all.get(start..end).ok_or_else(impossible)?.to_vec()));
    }
    Ok(Value::List(List { kind: ListKind::Lists, items: Arc::new(parts) }))
}

fn first(values: &[Value]) -> Outcome {
    Ok(items(&values[0], "Cannot find first on type")?.first().cloned().unwrap_or(Value::Nil))
}

fn last(values: &[Value]) -> Outcome {
    Ok(items(&values[0], "Cannot find last on type")?.last().cloned().unwrap_or(Value::Nil))
}

fn rest(values: &[Value]) -> Outcome {
    let all = items(&values[0], "Cannot find rest on type")?;
    Ok(all.split_first().map_or_else(nil_list, |(_, rest)| Value::list(rest.to_vec())))
}

fn initial(values: &[Value]) -> Outcome {
    let all = items(&values[0], "Cannot find initial on type")?;
    Ok(all.split_last().map_or_else(nil_list, |(_, initial)| Value::list(initial.to_vec())))
}

fn reverse(values: &[Value]) -> Outcome {
    Ok(Value::list(items(&values[0], "Cannot find reverse on type")?.iter().rev().cloned().collect()))
}

fn compact(values: &[Value]) -> Outcome {
    let all = items(&values[0], "Cannot compact on type")?;
    Ok(Value::list(all.iter().filter(|v| !is_empty(v)).cloned().collect()))
}

fn contains(ctx: &Ctx<'_>, haystack: &[Value], needle: &Value) -> Result<bool, Failure> {
    let mut left = COMPARISONS;
    let found = haystack.iter().any(|item| deep_equal(needle, item, &mut left));
    ctx.charge(u64::from(COMPARISONS - left) / 8)?;
    Ok(found)
}

fn uniq(ctx: &Ctx<'_>, values: &[Value]) -> Outcome {
    let mut kept: Vec<Value> = Vec::new();
    for item in items(&values[0], "Cannot find uniq on type")?.iter() {
        if !contains(ctx, &kept, item)? {
            kept.push(item.clone());
        }
    }
    Ok(Value::list(kept))
}

fn without(ctx: &Ctx<'_>, values: &[Value]) -> Outcome {
    let mut kept: Vec<Value> = Vec::new();
    for item in items(&values[0], "Cannot find without on type")?.iter() {
        if !contains(ctx, &values[1..], item)? {
            kept.push(item.clone());
        }
    }
    Ok(Value::list(kept))
}

fn has(ctx: &Ctx<'_>, values: &[Value]) -> Outcome {
    if values[1].is_nil() {
        return Ok(Value::Bool(false));
    }
    let haystack = items(&values[1], "Cannot find has on type")?;
    contains(ctx, &haystack, &values[0]).map(Value::Bool)
}

fn slice(values: &[Value]) -> Outcome {
    let all = items(&values[0], "list should be type of slice or array but")?;
    if all.is_empty() {
        return Ok(Value::Nil);
    }
    let start = values.get(1).map_or(0, to_int);
    let end = values.get(2).map_or(all.len() as i64, to_int);
    let bounds = usize::try_from(start).ok().zip(usize::try_from(end).ok()).filter(|(s, e)| s <= e);
    let Some(part) = bounds.and_then(|(s, e)| all.get(s..e)) else {
        return Err("reflect.Value.Slice: slice index out of bounds".into());
    };
    Ok(match &values[0] {
        Value::List(list) => Value::List(List { kind: list.kind, items: Arc::new(part.to_vec()) }),
        Value::Bytes(bytes) => Value::Bytes(bytes[start as usize..end as usize].into()),
        other => other.clone(),
    })
}

fn sort_alpha(ctx: &Ctx<'_>, values: &[Value]) -> Outcome {
    match &values[0] {
        Value::List(_) | Value::Bytes(_) => {
            let mut all = texts(&values[0]);
            ctx.charge(all.len() as u64)?;
            all.sort();
            Ok(Value::text_list(all))
        }
        other => Ok(Value::text_list([to_text(other)])),
    }
}

fn ints(numbers: Vec<i64>) -> Value {
    Value::List(List { kind: ListKind::Int, items: Arc::new(numbers.into_iter().map(Value::int).collect()) })
}

fn until(ctx: &Ctx<'_>, count: i64) -> Outcome {
    Ok(ints(until_step(ctx, 0, count, if count < 0 { -1 } else { 1 })?))
}

fn until_step(ctx: &Ctx<'_>, start: i64, stop: i64, step: i64) -> Result<Vec<i64>, Failure> {
    let mut numbers = Vec::new();
    if (stop < start && step >= 0) || (stop >= start && step <= 0) {
        return Ok(numbers);
    }
    let mut next = start;
    while if step < 0 { next > stop } else { next < stop } {
        ctx.charge(1)?;
        numbers.push(next);
        // Go would wrap and go on for ever.
        next = next.checked_add(step).ok_or("integer overflow")?;
    }
    Ok(numbers)
}

fn seq(ctx: &Ctx<'_>, values: &[Value]) -> Outcome {
    let n = |i: usize| int_of(values, i);
    let (start, end, step) = match values.len() {
        1 => (1, n(0), if n(0) < 1 { -1 } else { 1 }),
        2 => (n(0), n(1), if n(1) < n(0) { -1 } else { 1 }),
        3 if n(2) < n(0) && n(1) > 0 => return text(""),
        3 => (n(0), n(2), n(1)),
        _ => return text(""),
    };
    let beyond = end.wrapping_add(if end < start { -1 } else { 1 });
    let numbers = until_step(ctx, start, beyond, step)?;
    text(numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(" "))
}
