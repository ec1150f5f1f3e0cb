//! JSON as Go's encoding/json writes it: sorted keys, HTML characters escaped unless told otherwise, bytes as base64,
//! times as RFC 3339.

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
            Value::Object(object) if object.field_names().is_empty() && object.text().is_some() => {
                self.text(&object.text().unwrap_or_default());
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
