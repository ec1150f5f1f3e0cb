//! Cuts a template into tokens by Go's text/template rules: delimiters, trim markers, comments, literals.

/// What kind of token it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    LeftDelim,
    RightDelim,
    LeftParen,
    RightParen,
    Space,
    Pipe,
    Assign,
    Declare,
    /// Any other printable ASCII character.
    Char,
    CharConstant,
    Complex,
    Number,
    Str,
    RawStr,
    Bool,
    Field,
    Variable,
    Identifier,
    Dot,
    Nil,
    Block,
    Break,
    Continue,
    Define,
    Else,
    End,
    If,
    Range,
    Template,
    With,
    Eof,
}

/// One token and where it starts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'a> {
    pub kind: Kind,
    pub at: usize,
    pub text: &'a str,
}

/// Where and why the text is no sequence of tokens.
#[derive(Clone, Debug)]
pub(super) struct LexError {
    pub at: usize,
    pub text: String,
}

/// Tokens up to the end or to the first fault, which the parser reports when it gets there.
pub(super) struct Tokens<'a> {
    pub list: Vec<Token<'a>>,
    pub fault: Option<LexError>,
}

const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

pub(super) fn tokens(source: &str) -> Tokens<'_> {
    let mut lexer = Lexer { source, at: 0, list: Vec::new() };
    let fault = lexer.run().err();
    let end = lexer.source.len();
    lexer.list.push(Token { kind: Kind::Eof, at: end, text: "" });
    Tokens { list: lexer.list, fault }
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    list: Vec<Token<'a>>,
}

fn error<T>(at: usize, text: impl Into<String>) -> Result<T, LexError> {
    Err(LexError { at, text: text.into() })
}

fn is_space(c: char) -> bool {
    SPACES.contains(&c)
}

fn is_alphanumeric(c: char) -> bool {
    // Go's IsDigit knows decimal digits only; other numbers (Ⅷ, ²) end an identifier.
    c == '_' || c.is_alphabetic() || c.is_ascii_digit() || (!c.is_ascii() && c.is_numeric() && c.to_digit(36).is_none())
}

/// `- ` behind an opening delimiter.
fn left_trim(rest: &str) -> bool {
    let mut chars = rest.chars();
    chars.next() == Some('-') && chars.next().is_some_and(is_space)
}

/// ` -` before a closing delimiter.
fn right_trim(rest: &str) -> bool {
    let mut chars = rest.chars();
    chars.next().is_some_and(is_space) && chars.next() == Some('-')
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn emit(&mut self, kind: Kind, start: usize) {
        self.list.push(Token { kind, at: start, text: &self.source[start..self.at] });
    }

    fn run(&mut self) -> Result<(), LexError> {
        loop {
            let start = self.at;
            let Some(open) = self.rest().find("{{") else {
                self.at = self.source.len();
                if self.at > start {
                    self.emit(Kind::Text, start);
                }
                return Ok(());
            };
            let delimiter = start + open;
            let mut text = &self.source[start..delimiter];
            let trim = left_trim(&self.source[delimiter + 2..]);
            if trim {
                text = text.trim_end_matches(SPACES);
            }
            if !text.is_empty() {
                self.list.push(Token { kind: Kind::Text, at: start, text });
            }
            self.at = delimiter + 2;
            let after = self.at + if trim { 2 } else { 0 };
            if self.source[after..].starts_with("/*") {
                self.at = after;
                self.comment()?;
                continue;
            }
            self.emit(Kind::LeftDelim, delimiter);
            self.at = after;
            self.action()?;
        }
    }

    fn comment(&mut self) -> Result<(), LexError> {
        let start = self.at;
        let Some(end) = self.rest()[2..].find("*/") else { return error(start, "unclosed comment") };
        self.at += 2 + end + 2;
        match self.right_delimiter() {
            Some(trim) => {
                self.leave_action(trim);
                Ok(())
            }
            None => error(start, "comment ends before closing delimiter"),
        }
    }

    /// Whether a closing delimiter stands here, and whether with a trim marker.
    fn right_delimiter(&self) -> Option<bool> {
        let rest = self.rest();
        if right_trim(rest) && rest[2..].starts_with("}}") {
            return Some(true);
        }
        rest.starts_with("}}").then_some(false)
    }

    fn leave_action(&mut self, trim: bool) {
        self.at += if trim { 4 } else { 2 };
        if trim {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start_matches(SPACES).len();
        }
    }

    /// The tokens of one action, up to and with its closing delimiter.
    fn action(&mut self) -> Result<(), LexError> {
        let mut depth = 0usize;
        loop {
            if let Some(trim) = self.right_delimiter() {
                if depth > 0 {
                    return error(self.at, "unclosed left paren");
                }
                let at = self.at + if trim { 2 } else { 0 };
                self.list.push(Token { kind: Kind::RightDelim, at, text: "}}" });
                self.leave_action(trim);
                return Ok(());
            }
            let start = self.at;
            let Some(c) = self.rest().chars().next() else { return error(start, "unclosed action") };
            if is_space(c) {
                self.space();
                continue;
            }
            self.at += c.len_utf8();
            match c {
                '=' => self.emit(Kind::Assign, start),
                ':' => {
                    if !self.rest().starts_with('=') {
                        return error(start, "expected :=");
                    }
                    self.at += 1;
                    self.emit(Kind::Declare, start);
                }
                '|' => self.emit(Kind::Pipe, start),
                '"' => self.quoted(start, '"', Kind::Str, "unterminated quoted string")?,
                '\'' => self.quoted(start, '\'', Kind::CharConstant, "unterminated character constant")?,
                '`' => {
                    let Some(end) = self.rest().find('`') else {
                        return error(start, "unterminated raw quoted string");
                    };
                    self.at += end + 1;
                    self.emit(Kind::RawStr, start);
                }
                '$' => self.word(start, Kind::Variable)?,
                '.' if !self.rest().starts_with(|d: char| d.is_ascii_digit()) && !self.rest().is_empty() => {
                    self.word(start, Kind::Field)?;
                }
                '.' | '+' | '-' | '0'..='9' => self.number(start)?,
                '(' => {
                    depth += 1;
                    self.emit(Kind::LeftParen, start);
                }
                ')' => {
                    if depth == 0 {
                        return error(start, "unexpected right paren");
                    }
                    depth -= 1;
                    self.emit(Kind::RightParen, start);
                }
                c if is_alphanumeric(c) => self.word(start, Kind::Identifier)?,
                '!'..='~' => self.emit(Kind::Char, start),
                c => return error(start, format!("unrecognized character in action: {}", code_point(c))),
            }
        }
    }

    /// A run of blanks; the last may belong to a closing trim marker.
    fn space(&mut self) {
        let start = self.at;
        let rest = self.rest();
        let run = rest.len() - rest.trim_start_matches(SPACES).len();
        let last = &rest[run - 1..];
        let keep = if right_trim(last) && last[2..].starts_with("}}") { run - 1 } else { run };
        self.at += keep;
        if keep > 0 {
            self.emit(Kind::Space, start);
        }
    }

    fn quoted(&mut self, start: usize, quote: char, kind: Kind, unterminated: &str) -> Result<(), LexError> {
        let mut escaped = false;
        for (offset, c) in self.rest().char_indices() {
            match c {
                '\n' => return error(start, unterminated),
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                c if c == quote => {
                    self.at += offset + 1;
                    self.emit(kind, start);
                    return Ok(());
                }
                _ => {}
            }
        }
        error(start, unterminated)
    }

    /// The rest of a field, variable, keyword or function name.
    fn word(&mut self, start: usize, kind: Kind) -> Result<(), LexError> {
        let rest = self.rest();
        self.at += rest.find(|c| !is_alphanumeric(c)).unwrap_or(rest.len());
        let next = self.rest().chars().next();
        let ends = match next {
            None | Some('.' | ',' | '|' | ':' | ')' | '(') => true,
            Some(c) => is_space(c) || self.rest().starts_with("}}"),
        };
        if !ends {
            let shown = next.map(code_point).unwrap_or_default();
            return error(start, format!("bad character {shown}"));
        }
        let kind = match (kind, &self.source[start..self.at]) {
            (Kind::Field, ".") => Kind::Dot,
            (Kind::Identifier, word) => keyword(word),
            (kind, _) => kind,
        };
        self.emit(kind, start);
        Ok(())
    }

    fn number(&mut self, start: usize) -> Result<(), LexError> {
        self.at = start;
        let bad = |end: usize| error(start, format!("bad number syntax: {:?}", &self.source[start..end]));
        let (end, ok) = scan_number(self.source, start);
        if !ok {
            return bad(end);
        }
        if self.source[end..].starts_with(['+', '-']) {
            let (end, ok) = scan_number(self.source, end);
            if !ok || !self.source[..end].ends_with('i') {
                return bad(end);
            }
            self.at = end;
            self.emit(Kind::Complex, start);
            return Ok(());
        }
        self.at = end;
        self.emit(Kind::Number, start);
        Ok(())
    }
}

/// Where what looks like a number ends, and whether it ends where a number may.
fn scan_number(source: &str, start: usize) -> (usize, bool) {
    let bytes = source.as_bytes();
    let mut at = start;
    let accept = |at: &mut usize, valid: &[u8]| {
        let found = bytes.get(*at).is_some_and(|b| valid.contains(b));
        *at += usize::from(found);
        found
    };
    accept(&mut at, b"+-");
    let mut digits: &[u8] = b"0123456789_";
    if accept(&mut at, b"0") {
        if accept(&mut at, b"xX") {
            digits = b"0123456789abcdefABCDEF_";
        } else if accept(&mut at, b"oO") {
            digits = b"01234567_";
        } else if accept(&mut at, b"bB") {
            digits = b"01_";
        }
    }
    while accept(&mut at, digits) {}
    if accept(&mut at, b".") {
        while accept(&mut at, digits) {}
    }
    let exponent: &[u8] = match digits.len() {
        11 => b"eE",
        23 => b"pP",
        _ => b"",
    };
    if accept(&mut at, exponent) {
        accept(&mut at, b"+-");
        while accept(&mut at, b"0123456789_") {}
    }
    accept(&mut at, b"i");
    match source[at..].chars().next() {
        Some(c) if is_alphanumeric(c) => (at + c.len_utf8(), false),
        _ => (at, true),
    }
}

fn keyword(word: &str) -> Kind {
    match word {
        "block" => Kind::Block,
        "break" => Kind::Break,
        "continue" => Kind::Continue,
        "define" => Kind::Define,
        "else" => Kind::Else,
        "end" => Kind::End,
        "if" => Kind::If,
        "range" => Kind::Range,
        "nil" => Kind::Nil,
        "template" => Kind::Template,
        "with" => Kind::With,
        "true" | "false" => Kind::Bool,
        _ => Kind::Identifier,
    }
}

/// `U+002D '-'`, as Go's `%#U`.
fn code_point(c: char) -> String {
    format!("U+{:04X} {c:?}", c as u32)
}
