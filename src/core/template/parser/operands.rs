//! Pipelines, commands and operands: what stands between the delimiters of an action.

use std::sync::Arc;

use crate::core::problem::nearest;

use super::super::Functions;
use super::super::functions::{self, Function};
use super::super::lexer::{Kind, Token};
use super::super::literal::{Form, Number, unquote};
use super::super::node::{Command, Operand, OperandKind, Pipe};
use super::{Fault, Parser, Result, fault};

impl<'a> Parser<'a> {
    pub(super) fn pipeline(&mut self, context: &str, end: Kind) -> Result<Pipe> {
        let at = self.peek_non_space().at;
        let mut pipe = Pipe { at, assigns: false, declared: Vec::new(), commands: Vec::new() };
        self.declarations(&mut pipe, context)?;
        loop {
            let token = self.next_non_space();
            if token.kind == end {
                break;
            }
            match token.kind {
                Kind::Bool
                | Kind::CharConstant
                | Kind::Complex
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::Nil
                | Kind::RawStr
                | Kind::Str
                | Kind::Variable
                | Kind::LeftParen => {
                    self.next -= 1;
                    let command = self.command()?;
                    pipe.commands.push(command);
                }
                _ => return self.unexpected(token, context),
            }
        }
        check_pipeline(&pipe, context)?;
        Ok(pipe)
    }

    fn declarations(&mut self, pipe: &mut Pipe, context: &str) -> Result<()> {
        loop {
            let variable = self.peek_non_space();
            if variable.kind != Kind::Variable {
                return Ok(());
            }
            let back = self.next;
            self.advance();
            let next = self.peek_non_space();
            let list = next.kind == Kind::Char && next.text == ",";
            if !list && !matches!(next.kind, Kind::Assign | Kind::Declare) {
                self.next = back;
                return Ok(());
            }
            self.advance();
            pipe.declared.push(variable.text.into());
            self.variables.push(variable.text.into());
            if !list {
                pipe.assigns = next.kind == Kind::Assign;
                return Ok(());
            }
            if context != "range" || pipe.declared.len() > 1 {
                return fault(next.at, format!("too many declarations in {context}"));
            }
            let following = self.peek_non_space();
            if !matches!(following.kind, Kind::Variable | Kind::RightDelim | Kind::RightParen) {
                return fault(following.at, "range can only initialize variables");
            }
        }
    }

    fn command(&mut self) -> Result<Command> {
        let at = self.peek_non_space().at;
        let mut operands = Vec::new();
        loop {
            self.skip_space();
            if let Some(operand) = self.operand()? {
                operands.push(operand);
            }
            let token = self.advance();
            match token.kind {
                Kind::Space => continue,
                Kind::RightDelim | Kind::RightParen => self.next -= 1,
                Kind::Pipe => {}
                _ => return self.unexpected(token, "operand"),
            }
            break;
        }
        if operands.is_empty() {
            return fault(at, "empty command");
        }
        Ok(Command { operands })
    }

    fn operand(&mut self) -> Result<Option<Operand>> {
        let Some(term) = self.term()? else { return Ok(None) };
        if self.peek().kind != Kind::Field {
            return Ok(Some(term));
        }
        let at = self.peek().at;
        let mut names: Vec<Arc<str>> = Vec::new();
        while self.peek().kind == Kind::Field {
            names.push(self.advance().text[1..].into());
        }
        // A chain has the place of its second link, as in the original.
        let kind = match term.kind {
            OperandKind::Field(mut all) => {
                all.append(&mut names);
                OperandKind::Field(all)
            }
            OperandKind::Variable(mut all) => {
                all.append(&mut names);
                OperandKind::Variable(all)
            }
            OperandKind::Bool(_)
            | OperandKind::Text { .. }
            | OperandKind::Number(_)
            | OperandKind::Nil
            | OperandKind::Dot => {
                return fault(at, format!("unexpected . after term {:?}", term.to_string()));
            }
            kind => OperandKind::Chain(Box::new(Operand { at: term.at, kind }), names),
        };
        Ok(Some(Operand { at, kind }))
    }

    fn term(&mut self) -> Result<Option<Operand>> {
        let token = self.next_non_space();
        let kind = match token.kind {
            Kind::Identifier => OperandKind::Function(self.function(token)?),
            Kind::Dot => OperandKind::Dot,
            Kind::Nil => OperandKind::Nil,
            Kind::Variable => {
                if !self.variables.iter().any(|v| **v == *token.text) {
                    return fault(token.at, format!("undefined variable {:?}", token.text));
                }
                OperandKind::Variable(vec![token.text.into()])
            }
            Kind::Field => OperandKind::Field(vec![token.text[1..].into()]),
            Kind::Bool => OperandKind::Bool(token.text == "true"),
            Kind::CharConstant | Kind::Complex | Kind::Number => {
                let form = match token.kind {
                    Kind::CharConstant => Form::Char,
                    Kind::Complex => Form::Complex,
                    _ => Form::Number,
                };
                match Number::read(token.text, form) {
                    Ok(number) => OperandKind::Number(number),
                    Err(text) => return fault(token.at, text),
                }
            }
            Kind::LeftParen => {
                self.deeper()?;
                let pipe = self.pipeline("parenthesized pipeline", Kind::RightParen)?;
                self.depth -= 1;
                OperandKind::Pipe(Box::new(pipe))
            }
            Kind::Str | Kind::RawStr => match unquote(token.text) {
                Some(text) => OperandKind::Text { quoted: token.text.into(), text: text.into() },
                None => return fault(token.at, "invalid syntax"),
            },
            _ => {
                self.next -= 1;
                return Ok(None);
            }
        };
        Ok(Some(Operand { at: token.at, kind }))
    }

    fn function(&self, token: Token<'a>) -> Result<&'static Function> {
        if let Some(function) = functions::find(token.text, self.functions) {
            return Ok(function);
        }
        let hint = match suggestion(token.text, self.functions) {
            Some(word) => format!("did you mean {word}?"),
            None => String::new(),
        };
        Err(Fault { at: token.at, text: format!("function {:?} not defined", token.text), hint })
    }
}

fn check_pipeline(pipe: &Pipe, context: &str) -> Result<()> {
    if pipe.commands.is_empty() {
        return fault(pipe.at, format!("missing value for {context}"));
    }
    for (i, command) in pipe.commands.iter().enumerate().skip(1) {
        let Some(first) = command.operands.first() else { continue };
        if matches!(
            first.kind,
            OperandKind::Bool(_)
                | OperandKind::Dot
                | OperandKind::Nil
                | OperandKind::Number(_)
                | OperandKind::Text { .. }
        ) {
            return fault(first.at, format!("non executable command in pipeline stage {}", i + 1));
        }
    }
    Ok(())
}

/// What people write for a function that is called otherwise here (TLP-01).
const USUAL_MISTAKES: [(&str, &str); 17] = [
    ("truncate", "trunc"),
    ("toJSON", "toJson"),
    ("tojson", "toJson"),
    ("json", "toJson"),
    ("toYaml", "toPrettyJson"),
    ("uppercase", "upper"),
    ("toUpper", "upper"),
    ("lowercase", "lower"),
    ("toLower", "lower"),
    ("capitalize", "title"),
    ("replaceAll", "replace"),
    ("substring", "substr"),
    ("length", "len"),
    ("format", "printf"),
    ("sprintf", "printf"),
    ("base64", "b64enc"),
    ("startsWith", "hasPrefix"),
];

fn suggestion(wrong: &str, functions: Functions) -> Option<&'static str> {
    let listed = USUAL_MISTAKES.iter().find(|(mistake, _)| *mistake == wrong).map(|(_, right)| *right);
    listed
        .filter(|right| functions::find(right, functions).is_some())
        .or_else(|| nearest(wrong, functions::names(functions)))
}
