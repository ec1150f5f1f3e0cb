//! Tokens to tree: precedence climbing with the dialect's special cases. Where one cannot go on, the message says
//! what to write instead if the mistake is a known one (EXP-02).

use std::sync::Arc;

use super::ast::{Binary, Call, Kind, MAX_DEPTH, Node, Unary};
use super::builtins::{self, Shape};
use super::lexer::{self, Token, TokenKind};
use super::reject::{MAX_LEVELS, Reject, mixed, suggestion, too_deep};

/// Most nodes of one expression (EXP-05).
const MAX_NODES: usize = 2_000;

pub(super) type Parsed<T = Node> = Result<T, Reject>;

/// The tree of a source and how many node names were given out.
pub(super) fn parse(source: &str) -> Parsed<(Node, u32)> {
    let (tokens, error) = lexer::lex(source);
    let unreadable = error.map(|error| {
        let hint = match error.text.as_str() {
            text if text.contains("not closed") => "close it with the sign that opened it",
            text if text.contains("escape") => r"write \\ for a backslash, or put the text between backticks",
            _ => "",
        };
        Reject::new(error.at, error.text, hint)
    });
    let mut parser = Parser { tokens, position: 0, predicates: 0, nodes: 0, ids: 0, level: 0 };
    let parsed = parser.sequence().and_then(|node| match parser.current().kind {
        TokenKind::End => Ok((node, parser.ids)),
        _ => Err(parser.unexpected()),
    });
    // What cannot be read matters once one comes to it: a mistake before it is told first.
    match unreadable {
        Some(reject) if parser.current().kind == TokenKind::End => Err(reject),
        _ => parsed,
    }
}

pub(super) struct Parser {
    pub tokens: Vec<Token>,
    pub position: usize,
    /// How many predicates surround the current token: only inside one do `#` and `.field` mean something.
    predicates: usize,
    nodes: usize,
    ids: u32,
    level: usize,
}

impl Parser {
    pub fn current(&self) -> &Token {
        // The last token is the end, and nothing moves beyond it.
        &self.tokens[self.position.min(self.tokens.len() - 1)]
    }

    pub fn advance(&mut self) -> Token {
        let token = self.current().clone();
        if self.position + 1 < self.tokens.len() {
            self.position += 1;
        }
        token
    }

    pub fn expect(&mut self, kind: TokenKind, text: &str) -> Parsed<()> {
        if self.current().is(kind, text) {
            self.advance();
            return Ok(());
        }
        let mut reject = self.unexpected();
        if reject.hint.is_empty() {
            reject.hint = format!("expected {text:?}");
        }
        Err(reject)
    }

    fn expect_identifier(&mut self) -> Parsed<Token> {
        if self.current().kind == TokenKind::Identifier { Ok(self.advance()) } else { Err(self.unexpected()) }
    }

    pub fn unexpected(&self) -> Reject {
        let before = self.position.checked_sub(1).and_then(|i| self.tokens.get(i));
        let token = self.current();
        let text = match token.kind {
            TokenKind::End => "the expression ends too early".to_owned(),
            TokenKind::Text => format!("a text {:?} is not expected here", token.text),
            TokenKind::Bytes => "a bytes literal is not expected here".to_owned(),
            _ => format!("{:?} is not expected here", token.text),
        };
        Reject::new(token.from, text, suggestion(before, token))
    }

    pub fn node(&mut self, at: u32, kind: Kind) -> Parsed {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(Reject::new(at, format!("more than {MAX_NODES} parts"), "split the condition in several"));
        }
        self.ids += 1;
        let mut node = Node { id: self.ids - 1, at, depth: 0, kind };
        node.depth = node.measure();
        if node.depth > MAX_DEPTH {
            return Err(too_deep(at));
        }
        Ok(node)
    }

    /// A copy of a part that stands for two; counts towards the limit.
    fn copy(&mut self, node: &Node) -> Parsed {
        self.nodes += node.size();
        if self.nodes > MAX_NODES {
            return Err(Reject::new(node.at, format!("more than {MAX_NODES} parts"), "split the condition in several"));
        }
        Ok(node.clone())
    }

    fn sequence(&mut self) -> Parsed {
        let mut nodes = vec![self.expression(0)?];
        while self.current().operator(";") {
            self.advance();
            if self.current().kind == TokenKind::End {
                break;
            }
            nodes.push(self.expression(0)?);
        }
        match nodes.len() {
            1 => Ok(nodes.remove(0)),
            _ => self.node(nodes[0].at, Kind::Sequence(nodes)),
        }
    }

    pub fn expression(&mut self, precedence: u16) -> Parsed {
        // Right operands of left-associative operators nest only as deep as there are precedences.
        let counts = matches!(precedence, 0 | 50 | 90 | 100);
        self.level += usize::from(counts);
        if self.level > MAX_LEVELS {
            return Err(too_deep(self.current().from));
        }
        let node = self.operators(precedence)?;
        self.level -= usize::from(counts);
        Ok(node)
    }

    fn operators(&mut self, precedence: u16) -> Parsed {
        if precedence == 0 && self.current().operator("let") {
            return self.declaration();
        }
        if precedence == 0 && self.current().operator("if") {
            return self.branch();
        }
        let mut left = self.primary()?;
        let mut previous = String::new();
        while self.current().kind == TokenKind::Operator {
            let mut token = self.current().clone();
            let negated = token.text == "not";
            if negated {
                let Some(next) = self.tokens.get(self.position + 1) else { break };
                if !matches!(next.text.as_str(), "in" | "matches" | "contains" | "startsWith" | "endsWith") {
                    self.advance();
                    return Err(self.unexpected());
                }
                if precedence > 20 {
                    break;
                }
                self.advance();
                token = self.current().clone();
            }
            let Some((op, own)) = operator(&token.text) else { break };
            if own < precedence {
                break;
            }
            self.advance();
            match op {
                None => left = self.pipe(left)?,
                Some(op) => {
                    if previous == "??" && op != Binary::Otherwise {
                        return Err(mixed(&token));
                    }
                    if matches!(op, Binary::Less | Binary::More | Binary::LessOrEqual | Binary::MoreOrEqual) {
                        left = self.comparison(left, op, token.from)?;
                    } else {
                        let right = self.expression(if op == Binary::Power { own } else { own + 1 })?;
                        left = self.node(token.from, Kind::Binary(op, Box::new(left), Box::new(right)))?;
                        if negated {
                            left = self.node(token.from, Kind::Unary(Unary::Not, Box::new(left)))?;
                        }
                    }
                }
            }
            previous = token.text;
        }
        if precedence == 0 { self.conditional(left) } else { Ok(left) }
    }

    fn pipe(&mut self, left: Node) -> Parsed {
        let name = self.expect_identifier()?;
        self.call(&name, vec![left])
    }

    /// `a < b < c` means `a < b && b < c`.
    fn comparison(&mut self, left: Node, op: Binary, at: u32) -> Parsed {
        let (mut left, mut op, mut at) = (left, op, at);
        let mut whole: Option<Node> = None;
        loop {
            let right = self.expression(21)?;
            let next = match operator(&self.current().text) {
                Some((Some(next @ (Binary::Less | Binary::More | Binary::LessOrEqual | Binary::MoreOrEqual)), _))
                    if self.current().kind == TokenKind::Operator =>
                {
                    Some(next)
                }
                _ => None,
            };
            let again = if next.is_some() { Some(self.copy(&right)?) } else { None };
            let part = self.node(at, Kind::Binary(op, Box::new(left), Box::new(right)))?;
            let joined = match whole {
                None => part,
                Some(before) => self.node(at, Kind::Binary(Binary::And, Box::new(before), Box::new(part)))?,
            };
            let (Some(next), Some(again)) = (next, again) else { return Ok(joined) };
            whole = Some(joined);
            (left, op, at) = (again, next, self.advance().from);
        }
    }

    fn declaration(&mut self) -> Parsed {
        self.advance();
        let name = self.expect_identifier()?;
        self.expect(TokenKind::Operator, "=")?;
        let value = Box::new(self.expression(0)?);
        self.expect(TokenKind::Operator, ";")?;
        let body = Box::new(self.sequence()?);
        self.node(name.from, Kind::Let { name: Arc::from(name.text), value, body })
    }

    fn branch(&mut self) -> Parsed {
        self.advance();
        let condition = Box::new(self.expression(0)?);
        let then = Box::new(self.block()?);
        if !self.current().operator("else") {
            let mut reject = self.unexpected();
            reject.hint = "every `if` needs an `else`".to_owned();
            return Err(reject);
        }
        self.advance();
        let otherwise = if self.current().operator("if") { self.expression(0)? } else { self.block()? };
        // It has no place of its own, as in the original.
        self.node(0, Kind::If { ternary: false, condition, then, otherwise: Box::new(otherwise) })
    }

    fn block(&mut self) -> Parsed {
        self.expect(TokenKind::Bracket, "{")?;
        let node = self.sequence()?;
        self.expect(TokenKind::Bracket, "}")?;
        Ok(node)
    }

    fn conditional(&mut self, mut condition: Node) -> Parsed {
        while self.current().operator("?") {
            self.advance();
            let (then, otherwise);
            if self.current().operator(":") {
                self.advance();
                then = self.copy(&condition)?;
                otherwise = self.expression(0)?;
            } else {
                then = self.expression(0)?;
                self.expect(TokenKind::Operator, ":")?;
                otherwise = self.expression(0)?;
            }
            let (then, otherwise) = (Box::new(then), Box::new(otherwise));
            // Its place is the token behind it, as in the original.
            let at = self.current().from;
            condition = self.node(at, Kind::If { ternary: true, condition: Box::new(condition), then, otherwise })?;
        }
        Ok(condition)
    }

    fn primary(&mut self) -> Parsed {
        let token = self.current().clone();
        if token.kind == TokenKind::Operator {
            let unary = match token.text.as_str() {
                "not" | "!" => Some((Unary::Not, 50)),
                "-" => Some((Unary::Minus, 90)),
                "+" => Some((Unary::Plus, 90)),
                _ => None,
            };
            if let Some((op, precedence)) = unary {
                self.advance();
                let operand = Box::new(self.expression(precedence)?);
                let node = self.node(token.from, Kind::Unary(op, operand))?;
                return self.postfix(node);
            }
            if self.predicates > 0 && matches!(token.text.as_str(), "#" | ".") {
                let mut name = String::new();
                if token.text == "#" {
                    self.advance();
                    if self.current().kind == TokenKind::Identifier {
                        name = self.advance().text;
                    }
                }
                let node = self.node(token.from, Kind::Pointer(Arc::from(name)))?;
                return self.postfix(node);
            }
            if token.text == "::" {
                self.advance();
                let name = self.expect_identifier()?;
                let node = self.call(&name, Vec::new())?;
                return self.postfix(node);
            }
        }
        if token.bracket("(") {
            self.advance();
            let node = self.sequence()?;
            self.expect(TokenKind::Bracket, ")")?;
            return self.postfix(node);
        }
        self.secondary(token)
    }

    fn secondary(&mut self, token: Token) -> Parsed {
        let node = match token.kind {
            TokenKind::Identifier => {
                self.advance();
                match token.text.as_str() {
                    // Nothing can follow these with a dot or bracket.
                    "true" => return self.node(token.from, Kind::Bool(true)),
                    "false" => return self.node(token.from, Kind::Bool(false)),
                    "nil" => return self.node(token.from, Kind::Nil),
                    _ if self.current().bracket("(") => self.call(&token, Vec::new())?,
                    _ => self.node(token.from, Kind::Name(Arc::from(token.text)))?,
                }
            }
            TokenKind::Number => {
                self.advance();
                let at = self.current().from;
                let kind = number(&token).map_err(|reject| Reject { at, ..reject })?;
                return self.node(token.from, kind);
            }
            TokenKind::Text => {
                self.advance();
                self.node(token.from, Kind::Text(Arc::from(token.text)))?
            }
            TokenKind::Bytes => {
                self.advance();
                self.node(token.from, Kind::Bytes(Arc::from(token.bytes)))?
            }
            TokenKind::Bracket if token.text == "[" => self.list(token.from)?,
            TokenKind::Bracket if token.text == "{" => self.map(token.from)?,
            _ => return Err(self.unexpected()),
        };
        self.postfix(node)
    }

    fn call(&mut self, name: &Token, first: Vec<Node>) -> Parsed {
        let Some(builtin) = builtins::find(&name.text) else {
            let callee = Box::new(self.node(name.from, Kind::Name(Arc::from(name.text.as_str())))?);
            let arguments = self.arguments(first)?;
            return self.node(name.from, Kind::Call { callee, arguments, typed: false });
        };
        let arguments = match builtin.shape {
            Shape::Plain => self.arguments(first)?,
            shape => self.predicate_arguments(shape, first)?,
        };
        let call = Call { name: builtin.name, run: builtin.run, arguments, map: None, throws: false, threshold: None };
        self.node(name.from, Kind::Builtin(Box::new(call)))
    }

    pub fn arguments(&mut self, mut arguments: Vec<Node>) -> Parsed<Vec<Node>> {
        let given = arguments.len();
        self.expect(TokenKind::Bracket, "(")?;
        while !self.current().bracket(")") {
            if arguments.len() > given {
                self.expect(TokenKind::Operator, ",")?;
                if self.current().bracket(")") {
                    break;
                }
            }
            arguments.push(self.expression(0)?);
        }
        self.advance();
        Ok(arguments)
    }

    /// The arguments of a built-in that takes a predicate: a list, the predicate, perhaps one more.
    fn predicate_arguments(&mut self, shape: Shape, mut arguments: Vec<Node>) -> Parsed<Vec<Node>> {
        let piped = arguments.len();
        self.expect(TokenKind::Bracket, "(")?;
        let (required, most) = match shape {
            Shape::OptionalPredicate => (1, 2),
            Shape::PredicateAndMore => (2, 3),
            _ => (2, 2),
        };
        for i in piped..most {
            if self.current().bracket(")") {
                if i < required {
                    let text = if required == 1 { "a list is missing" } else { "a list and a predicate are needed" };
                    return Err(Reject::new(self.current().from, text, "write for example `any(list, .name == 'x')`"));
                }
                break;
            }
            if i > piped {
                self.expect(TokenKind::Operator, ",")?;
            }
            arguments.push(if i == 1 { self.predicate()? } else { self.expression(0)? });
        }
        if self.current().operator(",") {
            self.advance();
        }
        self.expect(TokenKind::Bracket, ")")?;
        Ok(arguments)
    }

    fn predicate(&mut self) -> Parsed {
        let at = self.current().from;
        let braces = self.current().bracket("{");
        self.predicates += 1;
        let body = if braces {
            self.block()?
        } else {
            let body = self.expression(0)?;
            if self.current().operator(";") {
                let at = self.current().from;
                return Err(Reject::new(at, "`;` is not expected here", "put the predicate between { and }"));
            }
            body
        };
        self.predicates -= 1;
        self.node(at, Kind::Predicate(Box::new(body)))
    }

    fn list(&mut self, at: u32) -> Parsed {
        self.advance();
        let mut nodes = Vec::new();
        while !self.current().bracket("]") {
            if !nodes.is_empty() {
                self.expect(TokenKind::Operator, ",")?;
                if self.current().bracket("]") {
                    break;
                }
            }
            nodes.push(self.expression(0)?);
        }
        self.advance();
        self.node(at, Kind::List(nodes))
    }

    fn map(&mut self, at: u32) -> Parsed {
        self.advance();
        let mut pairs = Vec::new();
        while !self.current().bracket("}") {
            if !pairs.is_empty() {
                self.expect(TokenKind::Operator, ",")?;
                if self.current().bracket("}") {
                    break;
                }
            }
            let token = self.current().clone();
            let key = match token.kind {
                TokenKind::Number | TokenKind::Text | TokenKind::Identifier => {
                    self.advance();
                    self.node(token.from, Kind::Text(Arc::from(token.text)))?
                }
                TokenKind::Bracket if token.text == "(" => self.expression(0)?,
                _ => {
                    let mut reject = self.unexpected();
                    reject.hint = "a key is a word, a text, a number, or an expression in parentheses".to_owned();
                    return Err(reject);
                }
            };
            self.expect(TokenKind::Operator, ":")?;
            let value = self.expression(0)?;
            pairs.push((key, value));
            self.nodes += 1;
        }
        self.advance();
        self.node(at, Kind::Map(pairs))
    }
}

/// The operator of a token, `None` inside for the pipe; with its precedence.
fn operator(word: &str) -> Option<(Option<Binary>, u16)> {
    match word {
        "|" => Some((None, 0)),
        _ => Binary::of(word).map(|(op, precedence)| (Some(op), precedence)),
    }
}

fn number(token: &Token) -> Parsed<Kind> {
    let text = token.text.replace('_', "").to_lowercase();
    let radix = [("0x", 16), ("0b", 2), ("0o", 8)].into_iter().find(|(prefix, _)| text.starts_with(prefix));
    let parsed = match radix {
        Some((_, 16)) => i64::from_str_radix(&text[2..], 16).ok().map(Kind::Int),
        _ if text.contains(['.', 'e']) => text.parse::<f64>().ok().filter(|float| float.is_finite()).map(Kind::Float),
        Some((_, radix)) => i64::from_str_radix(&text[2..], radix).ok().map(Kind::Int),
        None => text.parse().ok().map(Kind::Int),
    };
    parsed.ok_or_else(|| Reject::new(token.from, format!("{} is no number, or too large for 64 bits", token.text), ""))
}
