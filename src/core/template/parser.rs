//! Builds a template from its tokens by Go's text/template grammar. Every function name is checked here, so that a
//! misspelt one is found at load.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::core::problem::nearest;

use super::functions::{self, Function};
use super::lexer::{self, Kind, LexError, Token};
use super::literal::{Form, Number, unquote};
use super::node::{Branches, Command, Item, ItemKind, Items, Operand, OperandKind, Pipe};
use super::{Functions, MAX_DEPTH};

/// A parsed source: what it does itself and the templates it defines.
#[derive(Debug)]
pub(super) struct Parsed {
    pub root: Items,
    pub defined: BTreeMap<Arc<str>, Items>,
}

/// A fault and where it is.
#[derive(Debug)]
pub(super) struct Fault {
    pub at: usize,
    pub text: String,
    pub hint: String,
}

type Result<T> = std::result::Result<T, Fault>;

pub(super) fn parse(source: &str, functions: Functions) -> Result<Parsed> {
    let tokens = lexer::tokens(source);
    let mut parser = Parser {
        tokens: tokens.list,
        fault: tokens.fault,
        next: 0,
        variables: vec!["$".into()],
        range_depth: 0,
        depth: 0,
        functions,
        defined: BTreeMap::new(),
    };
    let root = parser.top()?;
    Ok(Parsed { root, defined: parser.defined })
}

/// What ended a list of items.
enum End {
    End,
    /// The position behind `else`; an `if` or `with` may follow.
    Else,
}

enum Step {
    Item(Item),
    End(End),
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    fault: Option<LexError>,
    next: usize,
    variables: Vec<Arc<str>>,
    range_depth: usize,
    depth: usize,
    functions: Functions,
    defined: BTreeMap<Arc<str>, Items>,
}

fn fault<T>(at: usize, text: impl Into<String>) -> Result<T> {
    Err(Fault { at, text: text.into(), hint: String::new() })
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Token<'a> {
        let last = self.tokens.len() - 1;
        self.tokens[self.next.min(last)]
    }

    fn advance(&mut self) -> Token<'a> {
        let token = self.peek();
        self.next = (self.next + 1).min(self.tokens.len());
        token
    }

    fn skip_space(&mut self) {
        while self.peek().kind == Kind::Space {
            self.next += 1;
        }
    }

    fn next_non_space(&mut self) -> Token<'a> {
        self.skip_space();
        self.advance()
    }

    fn peek_non_space(&mut self) -> Token<'a> {
        self.skip_space();
        self.peek()
    }

    fn unexpected<T>(&mut self, token: Token<'a>, context: &str) -> Result<T> {
        if token.kind == Kind::Eof {
            if let Some(error) = self.fault.take() {
                return fault(error.at, error.text);
            }
            return fault(token.at, format!("unexpected EOF in {context}"));
        }
        let shown = match token.kind {
            kind if is_keyword(kind) => format!("<{}>", token.text),
            _ if token.text.chars().count() > 10 => {
                format!("{:?}...", token.text.chars().take(10).collect::<String>())
            }
            _ => format!("{:?}", token.text),
        };
        fault(token.at, format!("unexpected {shown} in {context}"))
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Result<Token<'a>> {
        let token = self.next_non_space();
        if token.kind == kind { Ok(token) } else { self.unexpected(token, context) }
    }

    fn top(&mut self) -> Result<Items> {
        let mut items = Items::new();
        loop {
            let token = self.peek();
            if token.kind == Kind::Eof {
                return match self.fault.take() {
                    Some(error) => fault(error.at, error.text),
                    None => Ok(items),
                };
            }
            if token.kind == Kind::LeftDelim {
                let back = self.next;
                self.advance();
                if self.next_non_space().kind == Kind::Define {
                    self.definition()?;
                    continue;
                }
                self.next = back;
            }
            match self.text_or_action()? {
                Step::Item(item) => items.push(item),
                Step::End(End::End) => return fault(token.at, "unexpected {{end}}"),
                Step::End(End::Else) => return fault(token.at, "unexpected {{else}}"),
            }
        }
    }

    fn definition(&mut self) -> Result<()> {
        const CONTEXT: &str = "define clause";
        let token = self.next_non_space();
        let name = self.template_name(token, CONTEXT)?;
        self.expect(Kind::RightDelim, CONTEXT)?;
        let body = self.own_template(CONTEXT)?;
        self.add(token.at, name, body)
    }

    /// The body of a `define` or `block`, which sees no variables from outside.
    fn own_template(&mut self, context: &str) -> Result<Items> {
        let variables = std::mem::replace(&mut self.variables, vec!["$".into()]);
        let range_depth = std::mem::take(&mut self.range_depth);
        let at = self.peek().at;
        let (body, end) = self.item_list()?;
        self.variables = variables;
        self.range_depth = range_depth;
        match end {
            End::End => Ok(body),
            End::Else => fault(at, format!("unexpected {{{{else}}}} in {context}")),
        }
    }

    /// An empty definition never replaces another; two that are not empty clash.
    fn add(&mut self, at: usize, name: Arc<str>, body: Items) -> Result<()> {
        match self.defined.get(&name) {
            Some(known) if !is_empty(known) => {
                if !is_empty(&body) {
                    return fault(at, format!("template: multiple definition of template {name:?}"));
                }
            }
            _ => {
                self.defined.insert(name, body);
            }
        }
        Ok(())
    }

    fn item_list(&mut self) -> Result<(Items, End)> {
        self.deeper()?;
        let mut items = Items::new();
        loop {
            let token = self.peek_non_space();
            if token.kind == Kind::Eof {
                return match self.fault.take() {
                    Some(error) => fault(error.at, error.text),
                    None => fault(token.at, "unexpected EOF"),
                };
            }
            match self.text_or_action()? {
                Step::Item(item) => items.push(item),
                Step::End(end) => {
                    self.depth -= 1;
                    return Ok((items, end));
                }
            }
        }
    }

    fn deeper(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return fault(self.peek().at, format!("nested deeper than {MAX_DEPTH} levels"));
        }
        Ok(())
    }

    fn text_or_action(&mut self) -> Result<Step> {
        let token = self.next_non_space();
        match token.kind {
            Kind::Text => Ok(Step::Item(Item { at: token.at, kind: ItemKind::Text(token.text.into()) })),
            Kind::LeftDelim => self.action(token.at),
            _ => self.unexpected(token, "input"),
        }
    }

    fn action(&mut self, at: usize) -> Result<Step> {
        let back = self.next;
        let token = self.next_non_space();
        let kind = match token.kind {
            Kind::Block => self.block(token)?,
            Kind::Break | Kind::Continue => self.jump(token)?,
            Kind::Else => {
                let next = self.peek_non_space();
                if !matches!(next.kind, Kind::If | Kind::With) {
                    self.expect(Kind::RightDelim, "else")?;
                }
                return Ok(Step::End(End::Else));
            }
            Kind::End => {
                self.expect(Kind::RightDelim, "end")?;
                return Ok(Step::End(End::End));
            }
            Kind::If => ItemKind::If(self.branches(Kind::If)?),
            Kind::With => ItemKind::With(self.branches(Kind::With)?),
            Kind::Range => self.range()?,
            Kind::Template => self.call_template(token)?,
            _ => {
                self.next = back;
                // The variables of an action stay until the end of the list it stands in.
                ItemKind::Action(self.pipeline("command", Kind::RightDelim)?)
            }
        };
        Ok(Step::Item(Item { at, kind }))
    }

    fn jump(&mut self, token: Token<'a>) -> Result<ItemKind> {
        let context = format!("{{{{{}}}}}", token.text);
        let next = self.next_non_space();
        if next.kind != Kind::RightDelim {
            return self.unexpected(next, &context);
        }
        if self.range_depth == 0 {
            return fault(token.at, format!("{context} outside {{{{range}}}}"));
        }
        Ok(if token.kind == Kind::Break { ItemKind::Break } else { ItemKind::Continue })
    }

    /// `if` or `with`, with its chain of `else if` or `else with`.
    fn branches(&mut self, word: Kind) -> Result<Branches> {
        let context = if word == Kind::If { "if" } else { "with" };
        let known = self.variables.len();
        let mut branches = Vec::new();
        let mut otherwise = None;
        loop {
            let pipe = self.pipeline(context, Kind::RightDelim)?;
            let (body, end) = self.item_list()?;
            branches.push((pipe, body));
            match end {
                End::End => break,
                End::Else if self.peek_non_space().kind == word => {
                    self.advance();
                }
                End::Else => {
                    otherwise = Some(self.else_list()?);
                    break;
                }
            }
        }
        self.variables.truncate(known);
        Ok(Branches { branches, otherwise })
    }

    fn else_list(&mut self) -> Result<Items> {
        let at = self.peek().at;
        let (body, end) = self.item_list()?;
        match end {
            End::End => Ok(body),
            End::Else => fault(at, "expected end; found {{else}}"),
        }
    }

    fn range(&mut self) -> Result<ItemKind> {
        let known = self.variables.len();
        let pipe = self.pipeline("range", Kind::RightDelim)?;
        self.range_depth += 1;
        let (body, end) = self.item_list()?;
        self.range_depth -= 1;
        let otherwise = match end {
            End::End => None,
            End::Else => Some(self.else_list()?),
        };
        self.variables.truncate(known);
        Ok(ItemKind::Range { pipe, body, otherwise })
    }

    fn template_name(&mut self, token: Token<'a>, context: &str) -> Result<Arc<str>> {
        match token.kind {
            Kind::Str | Kind::RawStr => match unquote(token.text) {
                Some(name) => Ok(name.into()),
                None => fault(token.at, "invalid syntax"),
            },
            _ => self.unexpected(token, context),
        }
    }

    fn block(&mut self, _: Token<'a>) -> Result<ItemKind> {
        const CONTEXT: &str = "block clause";
        let token = self.next_non_space();
        let name = self.template_name(token, CONTEXT)?;
        let pipe = self.pipeline(CONTEXT, Kind::RightDelim)?;
        let body = self.own_template(CONTEXT)?;
        self.add(token.at, name.clone(), body)?;
        Ok(ItemKind::Template { name, pipe: Some(pipe) })
    }

    fn call_template(&mut self, _: Token<'a>) -> Result<ItemKind> {
        const CONTEXT: &str = "template clause";
        let token = self.next_non_space();
        let name = self.template_name(token, CONTEXT)?;
        let mut pipe = None;
        if self.peek_non_space().kind == Kind::RightDelim {
            self.advance();
        } else {
            pipe = Some(self.pipeline(CONTEXT, Kind::RightDelim)?);
        }
        Ok(ItemKind::Template { name, pipe })
    }

    fn pipeline(&mut self, context: &str, end: Kind) -> Result<Pipe> {
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
        Ok(Some(Operand { at: term.at, kind }))
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

fn is_keyword(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Dot
            | Kind::Nil
            | Kind::Block
            | Kind::Break
            | Kind::Continue
            | Kind::Define
            | Kind::Else
            | Kind::End
            | Kind::If
            | Kind::Range
            | Kind::Template
            | Kind::With
    )
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

/// Nothing but white space.
fn is_empty(items: &[Item]) -> bool {
    items.iter().all(|item| matches!(&item.kind, ItemKind::Text(text) if text.trim().is_empty()))
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
