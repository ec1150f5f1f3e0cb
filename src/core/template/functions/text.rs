//! sprig's text functions.

use std::sync::Arc;

use crate::core::value::{List, Map, MapKind, Value, display};

use super::super::cast::to_text;
use super::super::text::{byte_slice, quote};
use super::words;
use super::{
    ANY, BOOL, Ctx, Failure, Function, INT, Outcome, TEXT, check_length, function, int_of, text, text_of, variadic,
};

pub(super) static TABLE: &[Function] = &[
    function("hello", &[], |_, _| text("Hello!")),
    function("trim", &[TEXT], |_, v| text(text_of(v, 0).trim_matches(is_space))),
    function("upper", &[TEXT], |_, v| text(map_chars(text_of(v, 0), upper))),
    function("lower", &[TEXT], |_, v| text(map_chars(text_of(v, 0), lower))),
    function("title", &[TEXT], |_, v| text(title(text_of(v, 0)))),
    function("untitle", &[TEXT], |_, v| text(untitle(text_of(v, 0)))),
    function("swapcase", &[TEXT], |_, v| text(words::swap_case(text_of(v, 0)))),
    function("snakecase", &[TEXT], |_, v| text(words::connected(text_of(v, 0), '_'))),
    function("kebabcase", &[TEXT], |_, v| text(words::connected(text_of(v, 0), '-'))),
    function("camelcase", &[TEXT], |_, v| text(words::pascal(text_of(v, 0)))),
    function("shuffle", &[TEXT], |_, v| text(words::shuffle(text_of(v, 0)))),
    function("initials", &[TEXT], |_, v| text(initials(text_of(v, 0)))),
    function("nospace", &[TEXT], |_, v| text(no_space(text_of(v, 0)))),
    function("trunc", &[INT, TEXT], |_, v| text(trunc(int_of(v, 0), text_of(v, 1)))),
    function("substr", &[INT, INT, TEXT], |_, v| substr(int_of(v, 0), int_of(v, 1), text_of(v, 2))),
    function("abbrev", &[INT, TEXT], |_, v| abbrev(int_of(v, 0), text_of(v, 1))),
    function("abbrevboth", &[INT, INT, TEXT], |_, v| abbrev_both(int_of(v, 0), int_of(v, 1), text_of(v, 2))),
    function("repeat", &[INT, TEXT], |_, v| repeat(int_of(v, 0), text_of(v, 1))),
    function("trimAll", &[TEXT, TEXT], |_, v| text(trim_all(v))),
    function("trimall", &[TEXT, TEXT], |_, v| text(trim_all(v))),
    function("trimSuffix", &[TEXT, TEXT], |_, v| {
        text(text_of(v, 1).strip_suffix(text_of(v, 0)).unwrap_or(text_of(v, 1)))
    }),
    function("trimPrefix", &[TEXT, TEXT], |_, v| {
        text(text_of(v, 1).strip_prefix(text_of(v, 0)).unwrap_or(text_of(v, 1)))
    }),
    function("contains", &[TEXT, TEXT], |_, v| Ok(Value::Bool(text_of(v, 1).contains(text_of(v, 0))))),
    function("hasPrefix", &[TEXT, TEXT], |_, v| Ok(Value::Bool(text_of(v, 1).starts_with(text_of(v, 0))))),
    function("hasSuffix", &[TEXT, TEXT], |_, v| Ok(Value::Bool(text_of(v, 1).ends_with(text_of(v, 0))))),
    variadic("quote", &[ANY], |_, v| text(joined(v, |x| quote(&to_text(x), false)))),
    variadic("squote", &[ANY], |_, v| text(joined(v, |x| format!("'{}'", display(x))))),
    variadic("cat", &[ANY], |_, v| text(cat(v))),
    function("indent", &[INT, TEXT], |_, v| indent("", int_of(v, 0), text_of(v, 1))),
    function("nindent", &[INT, TEXT], |_, v| indent("\n", int_of(v, 0), text_of(v, 1))),
    function("replace", &[TEXT, TEXT, TEXT], |_, v| replace(text_of(v, 0), text_of(v, 1), text_of(v, 2))),
    function("plural", &[TEXT, TEXT, INT], |_, v| text(text_of(v, usize::from(int_of(v, 2) != 1)))),
    function("wrap", &[INT, TEXT], |_, v| wrap(int_of(v, 0), "", text_of(v, 1), false)),
    function("wrapWith", &[INT, TEXT, TEXT], |_, v| wrap(int_of(v, 0), text_of(v, 1), text_of(v, 2), true)),
    function("toString", &[ANY], |_, v| text(to_text(&v[0]))),
    function("toStrings", &[ANY], |_, v| Ok(Value::text_list(texts(&v[0])))),
    function("join", &[TEXT, ANY], |_, v| join(text_of(v, 0), &v[1])),
    function("split", &[TEXT, TEXT], |ctx, v| Ok(numbered(split(ctx, text_of(v, 1), text_of(v, 0), -1)?))),
    function("splitn", &[TEXT, INT, TEXT], |ctx, v| {
        Ok(numbered(split(ctx, text_of(v, 2), text_of(v, 0), int_of(v, 1))?))
    }),
    function("splitList", &[TEXT, TEXT], |ctx, v| Ok(Value::text_list(split(ctx, text_of(v, 1), text_of(v, 0), -1)?))),
    function("ternary", &[ANY, ANY, BOOL], |_, v| Ok(v[usize::from(!matches!(v[2], Value::Bool(true)))].clone())),
];

/// Go's `unicode.IsSpace`.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace()
}

/// Go maps character by character: no ß to SS.
pub(super) fn upper(c: char) -> char {
    let mut mapped = c.to_uppercase();
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

/// The same for lower case; İ becomes i.
pub(super) fn lower(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

fn map_chars(source: &str, map: fn(char) -> char) -> String {
    source.chars().map(map).collect()
}

/// Title case of the few letters that have one of their own.
pub(super) fn title_char(c: char) -> char {
    match c {
        'Ǆ' | 'ǅ' | 'ǆ' => 'ǅ',
        'Ǉ' | 'ǈ' | 'ǉ' => 'ǈ',
        'Ǌ' | 'ǋ' | 'ǌ' => 'ǋ',
        'Ǳ' | 'ǲ' | 'ǳ' => 'ǲ',
        c => upper(c),
    }
}

/// `strings.Title`: a letter begins a word unless a letter, digit, underscore or other non-ASCII, non-space character
/// stands before it.
fn title(source: &str) -> String {
    let separator = |c: char| {
        if c.is_ascii() {
            return !(c.is_ascii_alphanumeric() || c == '_');
        }
        !c.is_alphabetic() && !c.is_numeric() && is_space(c)
    };
    let mut before = ' ';
    source
        .chars()
        .map(|c| {
            let mapped = if separator(before) { title_char(c) } else { c };
            before = c;
            mapped
        })
        .collect()
}

fn untitle(source: &str) -> String {
    let mut first = true;
    source
        .chars()
        .map(|c| {
            if is_space(c) {
                first = true;
                c
            } else if std::mem::take(&mut first) {
                lower(c)
            } else {
                c
            }
        })
        .collect()
}

/// The first byte of every word, read as a Latin-1 character as the Go library does.
fn initials(source: &str) -> String {
    let mut gap = true;
    let mut out = String::new();
    for byte in source.bytes() {
        let c = char::from(byte);
        if is_space(c) {
            gap = true;
        } else if std::mem::take(&mut gap) {
            out.push(c);
        }
    }
    out
}

/// Bytes, too, are taken for Latin-1 characters here, but only if there was anything to remove.
fn no_space(source: &str) -> String {
    let kept: String = source.bytes().map(char::from).filter(|c| !is_space(*c)).collect();
    if kept.chars().count() == source.len() { source.to_owned() } else { kept }
}

/// Counts bytes, as sprig does. A cut inside a character leaves bytes that are no text: each becomes one U+FFFD, where Go
/// keeps the byte. The difference shows only where Go puts the text on the wire as it is: in a mail, in the raw body of a
/// webhook, in Slack's form field. Go's `encoding/json` writes the same U+FFFD for each such byte ("replacing invalid bytes
/// with the Unicode replacement rune"), and so does whoever reads the raw ones as UTF-8. To carry the bytes, every value,
/// message and stored row would have to hold bytes instead of text.
fn trunc(length: i64, source: &str) -> String {
    let size = source.len() as i64;
    if length < 0 && size + length > 0 {
        return byte_slice(source, (size + length) as usize, source.len());
    }
    if length >= 0 && size > length {
        return byte_slice(source, 0, length as usize);
    }
    source.to_owned()
}

/// By bytes, see [`trunc`].
fn substr(start: i64, end: i64, source: &str) -> Outcome {
    let size = source.len() as i64;
    let (start, end) = match (start, end) {
        (..0, end) => (0, end),
        (start, end) if end < 0 || end > size => (start, size),
        bounds => bounds,
    };
    if end < 0 || end > size {
        return Err(format!("runtime error: slice bounds out of range [:{end}] with length {size}").into());
    }
    if start > end {
        return Err(format!("runtime error: slice bounds out of range [{start}:{end}]").into());
    }
    text(byte_slice(source, start as usize, end as usize))
}

fn abbrev(width: i64, source: &str) -> Outcome {
    if width < 4 { text(source) } else { text(abbreviate(source, 0, width)) }
}

fn abbrev_both(left: i64, right: i64, source: &str) -> Outcome {
    if right < 4 || (left > 0 && right < 7) {
        return text(source);
    }
    text(abbreviate(source, left, right))
}

fn abbreviate(source: &str, offset: i64, width: i64) -> String {
    let size = source.len() as i64;
    if source.is_empty() || width < 4 || size <= width {
        return if width < 4 { String::new() } else { source.to_owned() };
    }
    let mut offset = offset.min(size);
    if size - offset < width - 3 {
        offset = size - (width - 3);
    }
    if offset <= 4 {
        return byte_slice(source, 0, (width - 3) as usize) + "...";
    }
    if width < 7 {
        return String::new();
    }
    if offset + width - 3 < size {
        let tail = &source.as_bytes()[offset as usize..];
        let kept = if tail.len() as i64 <= width - 3 || width - 3 < 4 {
            String::new()
        } else {
            byte_slice(source, offset as usize, (offset + width - 6) as usize) + "..."
        };
        return format!("...{kept}");
    }
    "...".to_owned() + &byte_slice(source, (size - (width - 3)) as usize, source.len())
}

fn repeat(count: i64, source: &str) -> Outcome {
    let Ok(count) = usize::try_from(count) else { return Err("strings: negative Repeat count".into()) };
    check_length(source.len().saturating_mul(count))?;
    text(source.repeat(if source.is_empty() { 0 } else { count }))
}

fn trim_all(values: &[Value]) -> String {
    let unwanted: Vec<char> = text_of(values, 0).chars().collect();
    text_of(values, 1).trim_matches(|c| unwanted.contains(&c)).to_owned()
}

fn joined(values: &[Value], shown: impl Fn(&Value) -> String) -> String {
    values.iter().filter(|v| !v.is_nil()).map(shown).collect::<Vec<_>>().join(" ")
}

/// sprig builds one format of `%v`s and trims it, not the result.
fn cat(values: &[Value]) -> String {
    joined(values, display)
}

fn indent(before: &str, spaces: i64, source: &str) -> Outcome {
    let Ok(spaces) = usize::try_from(spaces) else { return Err("strings: negative Repeat count".into()) };
    let lines = source.matches('\n').count() + 1;
    check_length(spaces.saturating_mul(lines).saturating_add(source.len()))?;
    let pad = " ".repeat(spaces);
    text(format!("{before}{pad}{}", source.replace('\n', &format!("\n{pad}"))))
}

fn replace(old: &str, new: &str, source: &str) -> Outcome {
    let count = source.matches(old).count();
    check_length(source.len().saturating_add(count.saturating_mul(new.len())))?;
    text(source.replace(old, new))
}

/// goutils' `WrapCustom`: at blanks, by bytes; long words are cut only if asked for.
fn wrap(width: i64, newline: &str, source: &str, cut_long_words: bool) -> Outcome {
    let newline = if newline.is_empty() { "\n" } else { newline };
    let width = usize::try_from(width).unwrap_or(0).max(1);
    check_length(source.len().saturating_add((source.len() / width).saturating_mul(newline.len())))?;
    let bytes = source.as_bytes();
    let mut out: Vec<u8> = Vec::with_capacity(bytes.len() + 16);
    let mut at = 0;
    let line = |out: &mut Vec<u8>, from: usize, to: usize| {
        out.extend_from_slice(&bytes[from..to]);
        out.extend_from_slice(newline.as_bytes());
    };
    while bytes.len() - at > width {
        if bytes[at] == b' ' {
            at += 1;
            continue;
        }
        let window = &bytes[at..at + width + 1];
        if let Some(blank) = window.iter().rposition(|b| *b == b' ') {
            line(&mut out, at, at + blank);
            at += blank + 1;
        } else if cut_long_words {
            line(&mut out, at, at + width);
            at += width;
        } else if let Some(blank) = bytes[at + width..].iter().position(|b| *b == b' ') {
            line(&mut out, at, at + width + blank);
            at += width + blank + 1;
        } else {
            out.extend_from_slice(&bytes[at..]);
            at = bytes.len();
        }
    }
    out.extend_from_slice(&bytes[at..]);
    text(super::super::text::lossy(&out))
}

/// sprig's `strslice`: the texts of a list without its nils; anything else is a list of one.
pub(super) fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Nil => Vec::new(),
        Value::List(List { items, .. }) => items.iter().filter(|v| !v.is_nil()).map(to_text).collect(),
        Value::Bytes(bytes) => bytes.iter().map(u8::to_string).collect(),
        other => vec![to_text(other)],
    }
}

fn join(separator: &str, value: &Value) -> Outcome {
    let parts = texts(value);
    let size: usize = parts.iter().map(|p| p.len() + separator.len()).sum();
    check_length(size)?;
    text(parts.join(separator))
}

/// Go's `strings.SplitN`: an empty separator cuts between characters, 0 gives nothing, a negative limit everything.
/// The parts are paid for before they are made.
fn split(ctx: &Ctx<'_>, source: &str, separator: &str, limit: i64) -> Result<Vec<String>, Failure> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let parts = if separator.is_empty() { source.chars().count() } else { source.matches(separator).count() + 1 };
    ctx.charge(parts.min(limit) as u64)?;
    if separator.is_empty() {
        let mut parts: Vec<String> = Vec::new();
        let mut rest = source;
        while let Some(c) = rest.chars().next() {
            if parts.len() + 1 == limit {
                parts.push(rest.to_owned());
                return Ok(parts);
            }
            parts.push(c.to_string());
            rest = &rest[c.len_utf8()..];
        }
        return Ok(parts);
    }
    Ok(source.splitn(limit, separator).map(str::to_owned).collect())
}

/// `{_0: …, _1: …}`
fn numbered(parts: Vec<String>) -> Value {
    let map = Map::new(MapKind::Text);
    for (i, part) in parts.into_iter().enumerate() {
        map.insert(format!("_{i}"), Value::text(part));
    }
    Value::Map(map)
}

/// The items of any slice, each as the value an `interface {}` would hold.
pub(super) fn items(value: &Value, doing: &str) -> Result<Arc<Vec<Value>>, Failure> {
    use crate::core::value::IntKind;
    match value {
        Value::List(list) => Ok(list.items.clone()),
        Value::Bytes(bytes) => Ok(Arc::new(bytes.iter().map(|b| Value::Int(IntKind::Uint8, i64::from(*b))).collect())),
        // reflect.TypeOf(nil) is a nil type, asking its kind panics.
        Value::Nil => Err("runtime error: invalid memory address or nil pointer dereference".into()),
        other => Err(format!("{doing} {}", super::super::cast::kind_name(other)).into()),
    }
}
