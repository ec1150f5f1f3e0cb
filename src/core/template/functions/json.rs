//! JSON as Go's encoding/json writes and reads it: sorted keys, HTML characters escaped unless told otherwise, bytes as
//! base64, times as RFC 3339; every number read is a `float64`.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::core::value::number::json_float;
use crate::core::value::{IntKind, Value};

const DEPTH: usize = 200;

/// The JSON text of a value. An error for what JSON cannot say: functions, infinities.
pub(super) fn encode(value: &Value, escape_html: bool, pretty: bool) -> Result<String, String> {
    let mut writer = Writer { out: String::new(), escape_html, pretty };
    writer.value(value, 0)?;
    Ok(writer.out)
}

struct Writer {
    out: String,
    escape_html: bool,
    pretty: bool,
}

impl Writer {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), String> {
        if depth > DEPTH || self.out.len() > super::MAX_TEXT {
            return Err("value is too large or holds itself".to_owned());
        }
        match value {
            Value::Nil => self.out.push_str("null"),
            Value::Bool(b) => self.out.push_str(if *b { "true" } else { "false" }),
            Value::Int(IntKind::Month | IntKind::Weekday, n) | Value::Duration(n) => self.out.push_str(&n.to_string()),
            Value::Int(kind, n) if kind.unsigned() => self.out.push_str(&(*n as u64).to_string()),
            Value::Int(_, n) => self.out.push_str(&n.to_string()),
            Value::Float(f) => self.out.push_str(&json_float(*f).ok_or("unsupported value")?),
            Value::Complex(..) | Value::Func(_) => return Err("unsupported type".to_owned()),
            Value::Str(text) => self.text(text),
            Value::Bytes(bytes) => self.text(&BASE64_STANDARD.encode(bytes)),
            Value::List(list) if list.is_nil() => self.out.push_str("null"),
            Value::List(list) => {
                let items: Vec<(Option<&str>, &Value)> = list.items.iter().map(|item| (None, item)).collect();
                self.group('[', ']', &items, depth)?;
            }
            Value::Map(map) => {
                let entries = map.entries();
                let items: Vec<(Option<&str>, &Value)> = entries.iter().map(|(k, v)| (Some(&**k), v)).collect();
                self.group('{', '}', &items, depth)?;
            }
            Value::Time(moment) => {
                let text = moment.format("2006-01-02T15:04:05.999999999Z07:00");
                self.text(&text);
            }
            Value::Object(object) => {
                let fields: Vec<(&str, Value)> =
                    object.field_names().iter().map(|n| (*n, object.field(n).unwrap_or(Value::Nil))).collect();
                let items: Vec<(Option<&str>, &Value)> = fields.iter().map(|(n, v)| (Some(*n), v)).collect();
                self.group('{', '}', &items, depth)?;
            }
        }
        Ok(())
    }

    fn group(&mut self, open: char, close: char, items: &[(Option<&str>, &Value)], depth: usize) -> Result<(), String> {
        self.out.push(open);
        for (i, (key, item)) in items.iter().enumerate() {
            if i > 0 {
                self.out.push(',');
            }
            self.new_line(depth + 1);
            if let Some(key) = key {
                self.text(key);
                self.out.push_str(if self.pretty { ": " } else { ":" });
            }
            self.value(item, depth + 1)?;
        }
        if !items.is_empty() {
            self.new_line(depth);
        }
        self.out.push(close);
        Ok(())
    }

    fn new_line(&mut self, depth: usize) {
        if self.pretty {
            self.out.push('\n');
            self.out.push_str(&"  ".repeat(depth));
        }
    }

    fn text(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\x08' => self.out.push_str("\\b"),
                '\x0c' => self.out.push_str("\\f"),
                '<' | '>' | '&' if self.escape_html => self.out.push_str(&format!("\\u{:04x}", c as u32)),
                '\u{2028}' | '\u{2029}' => self.out.push_str(&format!("\\u{:04x}", c as u32)),
                c if (c as u32) < 0x20 => self.out.push_str(&format!("\\u{:04x}", c as u32)),
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}

/// The value of a JSON text.
pub(super) fn decode(text: &str) -> Result<Value, String> {
    let json: serde_json::Value = serde_json::from_str(&without_lone_surrogates(text)).map_err(|e| e.to_string())?;
    Ok(value_of(&json))
}

fn value_of(json: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Number(n) => Value::Float(n.as_f64().unwrap_or(f64::NAN)),
        Json::Array(items) => Value::list(items.iter().map(value_of).collect()),
        Json::Object(fields) => Value::map(fields.iter().map(|(k, v)| (k.as_str(), value_of(v)))),
        other => Value::from_json(other),
    }
}

/// Go reads half of a surrogate pair as U+FFFD, serde refuses it.
fn without_lone_surrogates(text: &str) -> Cow<'_, str> {
    if !text.contains("\\ud") && !text.contains("\\uD") {
        return Cow::Borrowed(text);
    }
    let half = |text: &str| -> Option<u32> {
        let digits = text.strip_prefix("\\u")?.get(..4)?;
        u32::from_str_radix(digits, 16).ok().filter(|code| (0xd800..0xe000).contains(code))
    };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let mut length = 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
        match half(rest) {
            Some(..0xdc00) if half(&rest[6..]).is_some_and(|low| low >= 0xdc00) => length = 12,
            Some(_) => {
                out.push_str("\\ufffd");
                rest = &rest[6..];
                continue;
            }
            None => {}
        }
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}
