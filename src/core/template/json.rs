//! JSON-aware interpolation (notifications.md §8.3): what an action prints inside a JSON string is escaped as string
//! content unless it is that already; commas before a closing bracket are left out.

use crate::core::value::Value;
use crate::core::value::time::Moment;

use super::{Piece, RenderError, Template};

/// Where a text stops being JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonFault {
    /// 1-based line of the rendered text.
    pub line: u32,
    /// 1-based column of the rendered text.
    pub column: u32,
    /// What is wrong there.
    pub text: String,
}

/// Which step of §8.3 gave the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonOutcome {
    /// Nothing but white space: the field counts as absent.
    Absent,
    /// The plain rendering is valid JSON.
    Valid,
    /// Valid after escaping what actions print inside strings (problem `JsonEscaped`).
    Escaped,
    /// Valid after leaving out commas before closing brackets as well (problem `JsonTrailingComma`).
    WithoutCommas {
        /// Whether escaping was needed, too.
        escaped: bool,
    },
    /// Not repairable (problem `JsonInvalid`).
    Invalid(JsonFault),
}

/// A rendered JSON text and how it came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonRendering {
    /// What to send. For `Invalid` it is the plain rendering.
    pub text: String,
    /// Which step applied.
    pub outcome: JsonOutcome,
}

/// Renders a template of JSON text by §8.3, steps 1 and 2.
pub fn interpolate_json(template: &Template, data: &Value, now: &Moment) -> Result<JsonRendering, RenderError> {
    let mut plain = String::new();
    let mut tracked = Tracked::default();
    template.render_pieces(data, now, |piece| {
        plain.push_str(piece.text());
        tracked.push(piece);
    })?;
    if plain.trim().is_empty() {
        return Ok(JsonRendering { text: plain, outcome: JsonOutcome::Absent });
    }
    let Some(fault) = fault_of(&plain) else {
        return Ok(JsonRendering { text: plain, outcome: JsonOutcome::Valid });
    };
    let escaped = tracked.out;
    if fault_of(&escaped).is_none() {
        return Ok(JsonRendering { text: escaped, outcome: JsonOutcome::Escaped });
    }
    let without = without_trailing_commas(&escaped);
    if fault_of(&without).is_none() {
        let outcome = JsonOutcome::WithoutCommas { escaped: escaped != plain };
        return Ok(JsonRendering { text: without, outcome });
    }
    Ok(JsonRendering { text: plain, outcome: JsonOutcome::Invalid(fault) })
}

fn fault_of(text: &str) -> Option<JsonFault> {
    let error = serde_json::from_str::<serde::de::IgnoredAny>(text).err()?;
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(head, _)| head).to_owned();
    // serde counts in bytes and names the last one it read.
    let line = error.line().max(1);
    let bytes = text.split('\n').nth(line - 1).unwrap_or_default().as_bytes();
    let before = &bytes[..(error.column() - usize::from(!error.is_eof() && error.column() > 0)).min(bytes.len())];
    let column = String::from_utf8_lossy(before).chars().count() + 1;
    Some(JsonFault { line: line as u32, column: column as u32, text: message })
}

/// Follows the emitted text and knows whether it is inside a JSON string.
#[derive(Default)]
struct Tracked {
    out: String,
    in_string: bool,
    after_backslash: bool,
}

impl Tracked {
    fn push(&mut self, piece: Piece<'_>) {
        match piece {
            Piece::Printed(text) if self.in_string && !self.after_backslash && !is_content(text) => {
                // Escaped content leaves the string open.
                self.out.push_str(&escaped(text));
            }
            piece => {
                self.follow(piece.text());
                self.out.push_str(piece.text());
            }
        }
    }

    fn follow(&mut self, text: &str) {
        for c in text.chars() {
            if self.after_backslash {
                self.after_backslash = false;
            } else if self.in_string && c == '\\' {
                self.after_backslash = true;
            } else if c == '"' {
                self.in_string = !self.in_string;
            }
        }
    }
}

/// Whether a text is valid content of a JSON string as it is: no bare quote, no control character, every backslash
/// begins a legal escape.
fn is_content(text: &str) -> bool {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return false,
            c if (c as u32) < 0x20 => return false,
            '\\' => match chars.next() {
                Some('"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't') => {}
                Some('u') => {
                    if !(0..4).all(|_| chars.next().is_some_and(|c| c.is_ascii_hexdigit())) {
                        return false;
                    }
                }
                _ => return false,
            },
            _ => {}
        }
    }
    true
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out
}

/// Leaves out commas that stand before a closing bracket, outside strings.
fn without_trailing_commas(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut tracker = Tracked::default();
    for (at, c) in text.char_indices() {
        if c == ',' && !tracker.in_string {
            let rest = text[at + 1..].trim_start_matches([' ', '\t', '\r', '\n', ',']);
            if rest.starts_with(['}', ']']) {
                continue;
            }
        }
        tracker.follow(c.encode_utf8(&mut [0; 4]));
        out.push(c);
    }
    out
}
