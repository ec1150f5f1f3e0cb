//! Text to tokens. The language knows words where others know signs (`in`, `not`, `matches`), so most tokens are
//! operators.

use std::sync::OnceLock;

use regex::Regex;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    Identifier,
    Number,
    Text,
    Bytes,
    Operator,
    Bracket,
    End,
}

/// One token; `from` and `to` count characters from the start.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub kind: TokenKind,
    /// The word, sign or number as written; for texts what they mean. Empty for bytes.
    pub text: String,
    /// What a bytes literal means.
    pub bytes: Vec<u8>,
    pub from: u32,
    pub to: u32,
}

impl Token {
    pub fn is(&self, kind: TokenKind, text: &str) -> bool {
        self.kind == kind && self.text == text
    }

    pub fn operator(&self, text: &str) -> bool {
        self.is(TokenKind::Operator, text)
    }

    pub fn bracket(&self, text: &str) -> bool {
        self.is(TokenKind::Bracket, text)
    }
}

/// A rejection by the lexer: what and at which character.
#[derive(Debug)]
pub(super) struct LexError {
    pub text: String,
    pub at: u32,
}

const BAD_ESCAPE: &str = "there is no such escape";

/// All tokens of a source, the last being [`TokenKind::End`]: it stands at the end, or where the lexer cannot go on.
pub(super) fn lex(source: &str) -> (Vec<Token>, Option<LexError>) {
    let chars = source.chars().collect();
    let mut lexer = Lexer { chars, start: 0, end: 0, past: false, void: false, tokens: Vec::new() };
    loop {
        match lexer.token() {
            Ok(true) => {}
            Ok(false) => return (lexer.tokens, None),
            Err(error) => {
                lexer.emit_value(TokenKind::End, String::new(), Vec::new());
                return (lexer.tokens, Some(error));
            }
        }
    }
}

struct Lexer {
    chars: Vec<char>,
    start: usize,
    end: usize,
    /// The end was read past.
    past: bool,
    /// A literal is well-formed but stands for nothing, which shows at its end.
    void: bool,
    tokens: Vec<Token>,
}

/// Whether a character can begin a word.
pub(super) fn alphabetic(c: char) -> bool {
    if c.is_ascii() {
        return c == '_' || c == '$' || c.is_ascii_alphabetic();
    }
    class(c, 0)
}

/// Whether a character can continue a word.
pub(super) fn alphanumeric(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_digit() || alphabetic(c);
    }
    class(c, 0) || class(c, 1)
}

/// Unicode categories L (0) and Nd (1), which the standard library does not tell apart from others.
fn class(c: char, which: usize) -> bool {
    static CLASSES: OnceLock<[Option<Regex>; 2]> = OnceLock::new();
    let classes = CLASSES.get_or_init(|| [Regex::new(r"^\p{L}$").ok(), Regex::new(r"^\p{Nd}$").ok()]);
    classes[which].as_ref().is_some_and(|class| class.is_match(c.encode_utf8(&mut [0; 4])))
}

/// Whether a text is a word: usable behind a dot.
pub(super) fn identifier(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(alphabetic) && chars.all(alphanumeric)
}

impl Lexer {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.end).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek();
        self.end += usize::from(c.is_some());
        self.past |= c.is_none();
        c
    }

    fn accept(&mut self, set: &str) -> bool {
        match self.peek() {
            Some(c) if set.contains(c) => {
                self.end += 1;
                true
            }
            _ => false,
        }
    }

    fn accept_run(&mut self, set: &str) {
        while self.accept(set) {}
    }

    fn emit(&mut self, kind: TokenKind) {
        let text = self.chars[self.start..self.end].iter().collect();
        self.emit_value(kind, text, Vec::new());
    }

    fn emit_value(&mut self, kind: TokenKind, text: String, bytes: Vec<u8>) {
        self.tokens.push(Token { kind, text, bytes, from: self.start as u32, to: self.end as u32 });
        self.start = self.end;
    }

    fn error<T>(&self, text: impl Into<String>) -> Result<T, LexError> {
        let at = if self.past { self.end } else { self.end.saturating_sub(1) };
        Err(LexError { text: text.into(), at: at as u32 })
    }

    /// Reads one token; false at the end.
    fn token(&mut self) -> Result<bool, LexError> {
        let Some(c) = self.next() else {
            // The end has the place of the last character.
            self.start = self.end.saturating_sub(1);
            self.emit(TokenKind::End);
            return Ok(false);
        };
        match c {
            _ if c.is_whitespace() => self.start = self.end,
            '\'' | '"' => {
                let text = self.quoted(c, false)?;
                self.emit_value(TokenKind::Text, String::from_utf8_lossy(&text).into_owned(), Vec::new());
            }
            'b' | 'B' if matches!(self.peek(), Some('\'' | '"')) => {
                let quote = self.next().unwrap_or('"');
                let bytes = self.quoted(quote, true)?;
                self.emit_value(TokenKind::Bytes, String::new(), bytes);
            }
            '`' => self.raw()?,
            '0'..='9' => self.number(c)?,
            '.' => match self.peek() {
                Some('0'..='9') => self.number(c)?,
                _ => {
                    self.accept(".");
                    self.emit(TokenKind::Operator);
                }
            },
            '?' => {
                self.accept(".?");
                self.emit(TokenKind::Operator);
            }
            '/' if self.accept("/") => {
                while !matches!(self.next(), None | Some('\n')) {}
                self.start = self.end;
            }
            '/' if self.accept("*") => self.block_comment()?,
            '#' => {
                self.accept("#");
                self.emit(TokenKind::Operator);
                self.word();
                if self.end > self.start {
                    self.emit(TokenKind::Identifier);
                }
            }
            '|' => self.sign("|"),
            ':' => self.sign(":"),
            '(' | '[' | '{' | ')' | ']' | '}' => self.emit(TokenKind::Bracket),
            ',' | ';' | '%' | '+' | '-' | '^' | '/' => self.emit(TokenKind::Operator),
            '&' | '!' | '=' | '*' | '<' | '>' => self.sign("&=*"),
            _ if alphanumeric(c) => {
                self.word();
                let word: String = self.chars[self.start..self.end].iter().collect();
                self.emit(match word.as_str() {
                    "not" | "in" | "or" | "and" | "matches" | "contains" | "startsWith" | "endsWith" | "let" | "if"
                    | "else" => TokenKind::Operator,
                    _ => TokenKind::Identifier,
                });
            }
            _ => return self.error(format!("the character {c:?} has no meaning here")),
        }
        Ok(true)
    }

    fn sign(&mut self, second: &str) {
        self.accept(second);
        self.emit(TokenKind::Operator);
    }

    fn word(&mut self) {
        while self.peek().is_some_and(alphanumeric) {
            self.end += 1;
        }
    }

    fn block_comment(&mut self) -> Result<(), LexError> {
        loop {
            match self.next() {
                None => return self.error("this comment is not closed"),
                Some('*') if self.accept("/") => break,
                Some(_) => {}
            }
        }
        self.start = self.end;
        Ok(())
    }

    fn number(&mut self, first: char) -> Result<(), LexError> {
        // Behind a leading dot, everything that can be a number is read again: `.1.5` is one, and none.
        self.end -= usize::from(first != '.');
        let mut digits = "0123456789_";
        if self.accept("0") {
            if self.accept("xX") {
                digits = "0123456789abcdefABCDEF_";
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        self.accept_run(digits);
        let whole = self.end;
        if self.accept(".") {
            // `1..2` is a range.
            if self.peek() == Some('.') {
                self.end = whole;
                self.emit(TokenKind::Number);
                return Ok(());
            }
            self.accept_run(digits);
        }
        if self.accept("eE") {
            self.accept("+-");
            self.accept_run(digits);
        }
        if self.peek().is_some_and(alphanumeric) {
            self.end += 1;
            return self.error("a number cannot go on like this");
        }
        self.emit(TokenKind::Number);
        Ok(())
    }

    fn raw(&mut self) -> Result<(), LexError> {
        let mut text = String::new();
        loop {
            match self.next() {
                None => return self.error("this text is not closed"),
                // A doubled backtick stands for one.
                Some('`') if self.accept("`") => text.push('`'),
                Some('`') => break,
                Some(c) => text.push(c),
            }
        }
        self.emit_value(TokenKind::Text, text, Vec::new());
        Ok(())
    }

    fn quoted(&mut self, quote: char, bytes: bool) -> Result<Vec<u8>, LexError> {
        let mut out = Vec::new();
        loop {
            match self.next() {
                None | Some('\n') => return self.error("this text is not closed"),
                Some(c) if c == quote && std::mem::take(&mut self.void) => return self.error(BAD_ESCAPE),
                Some(c) if c == quote => return Ok(out),
                Some('\\') => self.escape(quote, bytes, &mut out)?,
                Some('\r') => out.push(b'\n'),
                Some(c) => push(c, &mut out),
            }
        }
    }

    fn escape(&mut self, quote: char, bytes: bool, out: &mut Vec<u8>) -> Result<(), LexError> {
        let c = match self.next() {
            Some('a') => '\x07',
            Some('b') => '\x08',
            Some('f') => '\x0c',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('v') => '\x0b',
            Some('\\') => '\\',
            Some(c) if c == quote => c,
            Some('4'..='7') => {
                self.void = true;
                return self.digits(8, 2).map(|_| ());
            }
            Some(c @ '0'..='3') => {
                let (first, rest) = (c as u32 - '0' as u32, self.digits(8, 2)?);
                return self.code(first * 64 + rest, bytes, out);
            }
            Some('x') => {
                let code = self.digits(16, 2)?;
                return self.code(code, bytes, out);
            }
            Some('u') if self.peek() == Some('{') => {
                self.end += 1;
                let (mut code, mut count) = (0, 0);
                while let Some(digit) = self.peek().and_then(|c| c.to_digit(16)) {
                    if count == 6 {
                        return self.error(BAD_ESCAPE);
                    }
                    code = code * 16 + digit;
                    count += 1;
                    self.end += 1;
                }
                if count == 0 || !self.accept("}") {
                    return self.error(BAD_ESCAPE);
                }
                self.void |= bytes;
                return self.code(code, bytes, out);
            }
            Some('u') => {
                let code = self.digits(16, 4)?;
                self.void |= bytes;
                return self.code(code, bytes, out);
            }
            Some('U') => {
                let code = self.digits(16, 8)?;
                self.void |= bytes;
                return self.code(code, bytes, out);
            }
            _ => return self.error(BAD_ESCAPE),
        };
        push(c, out);
        Ok(())
    }

    fn digits(&mut self, base: u32, count: usize) -> Result<u32, LexError> {
        let mut code = 0u32;
        for _ in 0..count {
            match self.next().and_then(|c| c.to_digit(base)) {
                Some(digit) => code = code.wrapping_mul(base).wrapping_add(digit),
                None => return self.error(BAD_ESCAPE),
            }
        }
        Ok(code)
    }

    fn code(&mut self, code: u32, bytes: bool, out: &mut Vec<u8>) -> Result<(), LexError> {
        if bytes {
            out.push(code as u8);
            return Ok(());
        }
        self.void |= code > char::MAX as u32;
        // Halves of surrogate pairs become the replacement character, as in Go.
        push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), out);
        Ok(())
    }
}

fn push(c: char, out: &mut Vec<u8>) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}
