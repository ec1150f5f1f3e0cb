//! The built-ins for texts.

use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::machine::Machine;
use super::operators::{Op, described, nil_list, to_int};
use crate::core::value::{List, ListKind, Value};

/// Go's standard decoder: padding is needed, loose last bits are not minded.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// The text in an argument.
pub(super) fn text(value: &Value) -> Op<&str> {
    match value {
        Value::Str(text) => Ok(text),
        other => Err(format!("a text is needed, not {}", described(other))),
    }
}

pub(super) fn trim(machine: &mut Machine<'_>, arguments: &[Value]) -> Op {
    let source = text(&arguments[0])?;
    let trimmed = match arguments.get(1) {
        Some(set) => {
            let set = text(set)?;
            source.trim_matches(|c| set.contains(c))
        }
        None => source.trim(),
    };
    machine.text(trimmed.to_owned())
}

pub(super) fn trim_prefix(machine: &mut Machine<'_>, arguments: &[Value]) -> Op {
    let prefix = arguments.get(1).map_or(Ok(" "), text)?;
    let source = text(&arguments[0])?;
    machine.text(source.strip_prefix(prefix).unwrap_or(source).to_owned())
}

pub(super) fn trim_suffix(machine: &mut Machine<'_>, arguments: &[Value]) -> Op {
    let suffix = arguments.get(1).map_or(Ok(" "), text)?;
    let source = text(&arguments[0])?;
    machine.text(source.strip_suffix(suffix).unwrap_or(source).to_owned())
}

pub(super) fn mapped(machine: &mut Machine<'_>, arguments: &[Value], how: fn(char) -> char) -> Op {
    let source = text(&arguments[0])?;
    machine.budget.read(source)?;
    machine.text(source.chars().map(how).collect())
}

/// A letter in upper case where that is one letter: `ß` stays.
pub(super) fn upper(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next(), c as u32) {
        (Some(one), None, _) => one,
        // Greek letters with iota subscript have a capital of their own besides the two-letter form.
        (_, _, code @ (0x1f80..=0x1f87 | 0x1f90..=0x1f97 | 0x1fa0..=0x1fa7)) => char::from_u32(code + 8).unwrap_or(c),
        (_, _, code @ (0x1fb3 | 0x1fc3 | 0x1ff3)) => char::from_u32(code + 9).unwrap_or(c),
        _ => c,
    }
}

/// A letter in lower case: `İ` loses its dot.
pub(super) fn lower(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

/// `split(text, separator[, most])`, or the same keeping the separators.
pub(super) fn split(machine: &mut Machine<'_>, arguments: &[Value], after: bool) -> Op {
    let (source, separator) = (text(&arguments[0])?, text(&arguments[1])?);
    let most = arguments.get(2).map_or(Ok(-1), to_int)?;
    if most == 0 {
        return Ok(nil_list(ListKind::Text));
    }
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    machine.budget.read(source)?;
    let mut parts: Vec<Value> = Vec::new();
    let mut rest = source;
    while parts.len() + 1 < most {
        // An empty separator splits into characters.
        let (at, width) = match separator.is_empty() {
            true => match rest.chars().next().map(char::len_utf8) {
                Some(first) if first < rest.len() => (first, 0),
                _ => break,
            },
            false => match rest.find(separator) {
                Some(at) => (at, separator.len()),
                None => break,
            },
        };
        machine.budget.spend(1)?;
        parts.push(Value::text(&rest[..if after { at + width } else { at }]));
        rest = &rest[at + width..];
    }
    if !(separator.is_empty() && source.is_empty()) {
        parts.push(Value::text(rest));
    }
    Ok(Value::List(List { kind: ListKind::Text, items: Arc::new(parts) }))
}

pub(super) fn replace(machine: &mut Machine<'_>, arguments: &[Value]) -> Op {
    let (source, old, new) = (text(&arguments[0])?, text(&arguments[1])?, text(&arguments[2])?);
    let most = arguments.get(3).map_or(Ok(-1), to_int)?;
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    machine.budget.read(source)?;
    let count = if old.is_empty() { source.chars().count() + 1 } else { source.matches(old).count() }.min(most);
    machine.budget.spend(count)?;
    if source.len().saturating_add(count.saturating_mul(new.len())) > 2 << 20 {
        return Err("builds a text of more than 1 MiB".to_owned());
    }
    machine.text(source.replacen(old, new, count))
}

pub(super) fn repeat(machine: &mut Machine<'_>, arguments: &[Value]) -> Op {
    let (source, count) = (text(&arguments[0])?, to_int(&arguments[1])?);
    let count = usize::try_from(count).map_err(|_| format!("nothing can be repeated {count} times"))?;
    machine.budget.spend(count)?;
    machine.budget.grow(source.len().saturating_mul(count))?;
    machine.text(source.repeat(count))
}

pub(super) fn join(machine: &mut Machine<'_>, arguments: &[Value]) -> Op {
    let glue = arguments.get(1).map_or(Ok(""), text)?;
    let Value::List(list) = &arguments[0] else {
        return Err(format!("join takes a list of texts, not {}", described(&arguments[0])));
    };
    if !matches!(list.kind, ListKind::Any | ListKind::Text) {
        return Err("join takes a list of texts, not of integers".to_owned());
    }
    machine.budget.spend(list.items.len())?;
    let mut out = String::new();
    for (i, item) in list.items.iter().enumerate() {
        if i > 0 {
            out.push_str(glue);
        }
        out.push_str(text(item)?);
        if out.len() > 2 << 20 {
            break;
        }
    }
    machine.text(out)
}

pub(super) fn index(machine: &mut Machine<'_>, arguments: &[Value], last: bool) -> Op {
    let (source, part) = (text(&arguments[0])?, text(&arguments[1])?);
    machine.budget.read(source)?;
    let found = if last { source.rfind(part) } else { source.find(part) };
    Ok(Value::int(found.map_or(-1, |at| at as i64)))
}

pub(super) fn to_base64(machine: &mut Machine<'_>, arguments: &[Value]) -> Op {
    let source = text(&arguments[0])?;
    machine.text(BASE64.encode(source))
}

pub(super) fn from_base64(machine: &mut Machine<'_>, arguments: &[Value]) -> Op {
    let source = text(&arguments[0])?.replace(['\r', '\n'], "");
    match BASE64.decode(source) {
        Ok(bytes) => machine.text(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) => Err(format!("fromBase64: {error}")),
    }
}
