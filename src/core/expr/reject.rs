//! Rejections, and what was probably meant instead (EXP-02).

use super::lexer::{Token, TokenKind};

/// Deepest nesting of brackets, calls and branches (EXP-05).
pub(super) const MAX_LEVELS: usize = 64;

/// A rejection: at which character, what, and what would help.
#[derive(Debug)]
pub(super) struct Reject {
    pub at: u32,
    pub text: String,
    pub hint: String,
}

impl Reject {
    pub fn new(at: u32, text: impl Into<String>, hint: impl Into<String>) -> Self {
        Reject { at, text: text.into(), hint: hint.into() }
    }
}

/// Nested too deeply.
pub(super) fn too_deep(at: u32) -> Reject {
    Reject::new(at, format!("nested deeper than {MAX_LEVELS} levels"), "split the condition in several")
}

/// An operator beside `??`.
pub(super) fn mixed(token: &Token) -> Reject {
    let text = format!("`{}` cannot follow a `??` on the same level", token.text);
    Reject::new(token.from, text, format!("put the `??` in parentheses: `(a ?? b) {} c`", token.text))
}

/// What was probably meant, where something cannot stand.
pub(super) fn suggestion(before: Option<&Token>, token: &Token) -> String {
    let word = |token: &Token| match token.text.to_lowercase().as_str() {
        lower @ ("and" | "or" | "not" | "in" | "contains" | "matches" | "startswith" | "endswith" | "let" | "if"
        | "else")
            if token.kind == TokenKind::Identifier && token.text != lower =>
        {
            let right = match lower {
                "startswith" => "startsWith",
                "endswith" => "endsWith",
                lower => lower,
            };
            Some(format!("write `{right}`"))
        }
        _ => None,
    };
    if let Some(hint) = word(token).or_else(|| before.and_then(word)) {
        return hint;
    }
    match token.text.as_str() {
        "=" if token.kind == TokenKind::Operator => "compare with `==`".to_owned(),
        "&" if token.kind == TokenKind::Operator => "write `&&` or `and`".to_owned(),
        "#" | "##" if token.kind == TokenKind::Operator => "a comment begins with `//`".to_owned(),
        "." if token.kind == TokenKind::Operator => "`.field` means something only inside a predicate".to_owned(),
        text if token.kind == TokenKind::Text => match before {
            Some(first) if first.kind == TokenKind::Text && first.to == token.from => {
                format!(r"write '{}\'{text}': a quote inside a text needs a backslash", first.text)
            }
            _ => String::new(),
        },
        _ => String::new(),
    }
}
