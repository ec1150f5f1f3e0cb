//! sprig's regular expressions, in RE2's syntax (`core/value/pattern`).

use crate::core::value::{List, ListKind, Param, Value, pattern};

use super::{Ctx, Failure, Function, INT, Outcome, P, TEXT, check_length, function, int_of, text, text_of};

const PATTERN: P = P::Typed(Param::Text);

pub(super) static TABLE: &[Function] = &[
    function("regexMatch", &[PATTERN, TEXT], |ctx, v| {
        // sprig hides a bad pattern; a limit must still be seen.
        let found = is_match(ctx, v).unwrap_or(false);
        ctx.charge(0)?;
        Ok(Value::Bool(found))
    }),
    function("mustRegexMatch", &[PATTERN, TEXT], |ctx, v| is_match(ctx, v).map(Value::Bool)),
    function("regexFind", &[PATTERN, TEXT], find),
    function("mustRegexFind", &[PATTERN, TEXT], find),
    function("regexFindAll", &[PATTERN, TEXT, INT], find_all),
    function("mustRegexFindAll", &[PATTERN, TEXT, INT], find_all),
    function("regexReplaceAll", &[PATTERN, TEXT, TEXT], |ctx, v| replace(ctx, v, true)),
    function("mustRegexReplaceAll", &[PATTERN, TEXT, TEXT], |ctx, v| replace(ctx, v, true)),
    function("regexReplaceAllLiteral", &[PATTERN, TEXT, TEXT], |ctx, v| replace(ctx, v, false)),
    function("mustRegexReplaceAllLiteral", &[PATTERN, TEXT, TEXT], |ctx, v| replace(ctx, v, false)),
    function("regexSplit", &[PATTERN, TEXT, INT], split),
    function("mustRegexSplit", &[PATTERN, TEXT, INT], split),
    function("regexQuoteMeta", &[TEXT], |_, v| text(pattern::quote_meta(text_of(v, 0)))),
];

fn compiled(ctx: &Ctx<'_>, values: &[Value]) -> Result<::regex::Regex, Failure> {
    let source = text_of(values, 0);
    // Time grows with the text and with the pattern written out.
    let size = source.len() as u64 + repetitions(source);
    ctx.charge(text_of(values, 1).len() as u64 * size / 2048)?;
    if let Some(known) = ctx.patterns.borrow().get(source) {
        return Ok(known.clone());
    }
    // Compiling costs far more than most matching.
    ctx.charge(2_000)?;
    let regex = pattern::compile(source).map_err(Failure::from)?;
    ctx.patterns.borrow_mut().insert(source.to_owned(), regex.clone());
    Ok(regex)
}

/// The sum of the numbers in braces.
fn repetitions(source: &str) -> u64 {
    let parts = source.split('{').skip(1).filter_map(|part| part.split_once('}'));
    parts.flat_map(|(bounds, _)| bounds.split(',')).filter_map(|n| n.parse::<u64>().ok()).sum::<u64>().min(1 << 20)
}

fn is_match(ctx: &Ctx<'_>, values: &[Value]) -> Result<bool, Failure> {
    Ok(compiled(ctx, values)?.is_match(text_of(values, 1)))
}

fn find(ctx: &Ctx<'_>, values: &[Value]) -> Outcome {
    text(compiled(ctx, values)?.find(text_of(values, 1)).map_or("", |m| m.as_str()))
}

/// How many matches are wanted; negative means all.
fn limit(values: &[Value]) -> usize {
    usize::try_from(int_of(values, 2)).unwrap_or(usize::MAX)
}

fn find_all(ctx: &Ctx<'_>, values: &[Value]) -> Outcome {
    let regex = compiled(ctx, values)?;
    let found: Vec<&str> = regex.find_iter(text_of(values, 1)).take(limit(values)).map(|m| m.as_str()).collect();
    if found.is_empty() {
        return Ok(Value::List(List::nil(ListKind::Text)));
    }
    ctx.charge(found.len() as u64)?;
    Ok(Value::text_list(found))
}

fn replace(ctx: &Ctx<'_>, values: &[Value], expand: bool) -> Outcome {
    let regex = compiled(ctx, values)?;
    let (source, replacement) = (text_of(values, 1), text_of(values, 2));
    let mut out = String::with_capacity(source.len());
    let mut end = 0;
    for groups in regex.captures_iter(source) {
        let Some(whole) = groups.get(0) else { continue };
        ctx.charge(1)?;
        out.push_str(&source[end..whole.start()]);
        end = whole.end();
        if expand {
            pattern::expand(replacement, &groups, &mut out);
        } else {
            out.push_str(replacement);
        }
        check_length(out.len())?;
    }
    out.push_str(&source[end..]);
    text(out)
}

fn split(ctx: &Ctx<'_>, values: &[Value]) -> Outcome {
    let regex = compiled(ctx, values)?;
    let source = text_of(values, 1);
    let limit = limit(values);
    if limit == 0 {
        return Ok(Value::List(List::nil(ListKind::Text)));
    }
    if !text_of(values, 0).is_empty() && source.is_empty() {
        return Ok(Value::text_list([""]));
    }
    let mut parts: Vec<&str> = Vec::new();
    let (mut start, mut end) = (0, 0);
    for found in regex.find_iter(source).take(limit) {
        if limit != usize::MAX && parts.len() == limit - 1 {
            break;
        }
        end = found.start();
        if found.end() != 0 {
            parts.push(&source[start..end]);
        }
        start = found.end();
    }
    if end != source.len() {
        parts.push(&source[start..]);
    }
    ctx.charge(parts.len() as u64)?;
    Ok(Value::text_list(parts))
}
