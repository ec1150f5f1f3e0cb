//! Parsing what follows an operand: fields, calls of methods, elements, parts.

use std::sync::Arc;

use super::ast::{Kind, Node};
use super::lexer::{TokenKind, identifier};
use super::parser::{Parsed, Parser};

impl Parser {
    /// What follows an operand: `.name`, `?.name`, `.name(…)`, `[…]`, `?.[…]`, `[from:to]`.
    pub fn postfix(&mut self, mut node: Node) -> Parsed {
        loop {
            let token = self.current().clone();
            let optional = token.operator("?.");
            let bracket = token.bracket("[")
                || (optional && self.tokens.get(self.position + 1).is_some_and(|next| next.bracket("[")));
            if bracket {
                if optional {
                    self.advance();
                }
                node = self.index(node, optional)?;
            } else if optional || token.operator(".") {
                self.advance();
                node = self.field(node, optional)?;
            } else {
                return Ok(node);
            }
        }
    }

    fn field(&mut self, node: Node, optional: bool) -> Parsed {
        let name = self.current().clone();
        if name.kind != TokenKind::Identifier && !(name.kind == TokenKind::Operator && identifier(&name.text)) {
            let mut reject = self.unexpected();
            self.advance();
            reject.at = self.current().from;
            reject.hint = "a dot is followed by a name; write [\"…\"] for other keys".to_owned();
            return Err(reject);
        }
        self.advance();
        let property = Box::new(self.node(name.from, Kind::Text(Arc::from(name.text)))?);
        // What follows a `?.` belongs to its reach.
        let (base, chained) = match node.kind {
            Kind::Chain(inner) => (inner, true),
            _ => (Box::new(node), false),
        };
        let method = self.current().bracket("(");
        let mut node = self.node(name.from, Kind::Member { base, property, optional, method })?;
        if method {
            let arguments = self.arguments(Vec::new())?;
            node = self.node(name.from, Kind::Call { callee: Box::new(node), arguments, typed: false })?;
        }
        if chained || optional {
            node = self.node(name.from, Kind::Chain(Box::new(node)))?;
        }
        Ok(node)
    }

    fn index(&mut self, node: Node, optional: bool) -> Parsed {
        let at = self.advance().from;
        let base = Box::new(node);
        let from = if self.current().operator(":") { None } else { Some(Box::new(self.expression(0)?)) };
        if self.current().operator(":") {
            self.advance();
            let to = if self.current().bracket("]") { None } else { Some(Box::new(self.expression(0)?)) };
            self.expect(TokenKind::Bracket, "]")?;
            return self.node(at, Kind::Slice { base, from, to });
        }
        self.expect(TokenKind::Bracket, "]")?;
        let Some(property) = from else { return Err(self.unexpected()) };
        let node = self.node(at, Kind::Member { base, property, optional, method: false })?;
        if optional { self.node(at, Kind::Chain(Box::new(node))) } else { Ok(node) }
    }
}
