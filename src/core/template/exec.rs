//! Carries out a parsed template by the rules of Go's text/template: what dot is, which variables there are, what a
//! missing value does, what is printed.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::sync::Arc;

use crate::core::value::time::Moment;
use crate::core::value::{CallError, IntKind, Value, display, method, type_name};

use super::functions::{Ctx, Failure};
use super::node::{Branches, Command, Item, ItemKind, Operand, OperandKind, Pipe};
use super::parser::Parsed;
use super::val::{Val, list_element, map_element, truth};
use super::{MAX_DEPTH, MAX_OUTPUT};

/// A piece of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Text that stands in the template.
    Static(&'a str),
    /// What an action printed.
    Printed(&'a str),
}

impl<'a> Piece<'a> {
    /// The text, whichever it is.
    pub fn text(self) -> &'a str {
        match self {
            Piece::Static(text) | Piece::Printed(text) => text,
        }
    }
}

/// The error that ended a rendering, and where.
pub(super) struct Stop {
    pub at: usize,
    pub text: String,
    pub undetermined: bool,
}

pub(super) type Result<T> = std::result::Result<T, Box<Stop>>;

/// How a list of items ended.
#[derive(PartialEq)]
enum Flow {
    Next,
    Break,
    Continue,
}

pub(super) struct Run<'t> {
    parsed: &'t Parsed,
    pub(super) ctx: Ctx<'t>,
    emit: &'t mut dyn FnMut(Piece<'_>),
    written: usize,
    variables: Vec<(Arc<str>, Val)>,
    depth: usize,
    /// Where it is, for errors.
    pub(super) at: usize,
}

/// Renders. Everything mutable in `data` belongs to this rendering.
pub(super) fn run(parsed: &Parsed, data: Value, now: &Moment, emit: &mut dyn FnMut(Piece<'_>)) -> Result<()> {
    let dot = Val::of(data).unboxed();
    let mut run = Run {
        parsed,
        ctx: Ctx { now, steps: Cell::new(0), patterns: RefCell::default() },
        emit,
        written: 0,
        variables: vec![("$".into(), dot.clone())],
        depth: 0,
        at: 0,
    };
    run.items(&dot, &parsed.root)?;
    Ok(())
}

impl<'t> Run<'t> {
    /// An error at a node, worded as Go words it.
    pub(super) fn stop<T>(&self, node: &dyn Display, text: impl Into<String>) -> Result<T> {
        Err(Box::new(Stop { at: self.at, text: at_node(node, &text.into()), undetermined: false }))
    }

    pub(super) fn failed<T>(&self, node: &dyn Display, failure: Failure, name: Option<&str>) -> Result<T> {
        let text = match name {
            Some(name) => format!("error calling {name}: {}", failure.text),
            None => failure.text,
        };
        Err(Box::new(Stop { at: self.at, text: at_node(node, &text), undetermined: failure.undetermined }))
    }

    fn step(&self, node: &dyn Display) -> Result<()> {
        self.ctx.charge(1).or_else(|failure| self.failed(node, failure, None))
    }

    fn write(&mut self, piece: Piece<'_>, node: &dyn Display) -> Result<()> {
        self.written += piece.text().len();
        if self.written > MAX_OUTPUT {
            return self.stop(node, format!("output is longer than {MAX_OUTPUT} bytes"));
        }
        if !piece.text().is_empty() {
            (self.emit)(piece);
        }
        Ok(())
    }

    fn items(&mut self, dot: &Val, items: &'t [Item]) -> Result<Flow> {
        for item in items {
            let flow = self.item(dot, item)?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn item(&mut self, dot: &Val, item: &'t Item) -> Result<Flow> {
        self.at = item.at;
        self.step(&"text")?;
        match &item.kind {
            ItemKind::Text(text) => self.write(Piece::Static(text), &"text")?,
            ItemKind::Action(pipe) => {
                let value = self.pipe(dot, pipe)?;
                if pipe.declared.is_empty() {
                    self.print(pipe, value)?;
                }
            }
            ItemKind::If(branches) => return self.branches(dot, branches, false),
            ItemKind::With(branches) => return self.branches(dot, branches, true),
            ItemKind::Range { pipe, body, otherwise } => {
                return self.range(dot, pipe, body, otherwise.as_deref().unwrap_or_default());
            }
            ItemKind::Template { at, name, pipe } => {
                self.at = *at;
                self.template(dot, name, pipe.as_ref())?;
            }
            ItemKind::Break => return Ok(Flow::Break),
            ItemKind::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn print(&mut self, pipe: &'t Pipe, value: Val) -> Result<()> {
        match value {
            Val::Missing => self.write(Piece::Printed("<no value>"), pipe),
            Val::Boxed(Value::Func(func)) | Val::Plain(Value::Func(func)) => {
                self.at = pipe.at;
                self.stop(pipe, format!("can't print {pipe} of type {}", type_name(&Value::Func(func))))
            }
            Val::Boxed(value) | Val::Plain(value) => {
                let text = display(&value);
                // An action follows a pointer to a struct before it prints.
                let text = match value {
                    Value::Object(_) => text.strip_prefix('&').unwrap_or(&text),
                    _ => &text,
                };
                self.write(Piece::Printed(text), pipe)
            }
        }
    }

    fn branches(&mut self, dot: &Val, branches: &'t Branches, sets_dot: bool) -> Result<Flow> {
        let mark = self.variables.len();
        let mut chosen = None;
        for (pipe, body) in &branches.branches {
            let value = self.pipe(dot, pipe)?;
            if truth(&value) {
                chosen = Some((value, body));
                break;
            }
        }
        let flow = match (&chosen, &branches.otherwise) {
            (Some((value, body)), _) => self.items(if sets_dot { value } else { dot }, body)?,
            (None, Some(otherwise)) => self.items(dot, otherwise)?,
            (None, None) => Flow::Next,
        };
        self.variables.truncate(mark);
        Ok(flow)
    }

    fn range(&mut self, dot: &Val, pipe: &'t Pipe, body: &'t [Item], otherwise: &'t [Item]) -> Result<Flow> {
        let mark = self.variables.len();
        let value = self.pipe(dot, pipe)?.unboxed();
        let ran = self.iterate(pipe, body, value)?;
        let mut flow = Flow::Next;
        if !ran {
            flow = self.items(dot, otherwise)?;
        }
        self.variables.truncate(mark);
        Ok(flow)
    }

    /// Runs the body for every element; false if there was none.
    fn iterate(&mut self, pipe: &'t Pipe, body: &'t [Item], value: Val) -> Result<bool> {
        let value = match value {
            Val::Missing => return Ok(false),
            Val::Boxed(value) | Val::Plain(value) => value,
        };
        match &value {
            Value::Int(..) | Value::Duration(_) => {
                if pipe.declared.len() > 1 {
                    let text = display(&value);
                    return self.stop(pipe, format!("can't use {text} to iterate over more than one variable"));
                }
                let (count, element): (u64, Box<dyn Fn(i64) -> Value>) = match value {
                    Value::Int(kind, n) if kind.unsigned() => (n as u64, Box::new(move |i| Value::Int(kind, i))),
                    Value::Int(kind, n) => (n.max(0) as u64, Box::new(move |i| Value::Int(kind, i))),
                    Value::Duration(n) => (n.max(0) as u64, Box::new(Value::Duration)),
                    _ => (0, Box::new(Value::int)),
                };
                for i in 0..count {
                    if self.iteration(pipe, body, Val::Missing, Val::Plain(element(i as i64)))? == Flow::Break {
                        break;
                    }
                }
                Ok(count > 0)
            }
            Value::List(list) => {
                for (i, item) in list.items.iter().enumerate() {
                    let element = list_element(list.kind, item.clone());
                    if self.iteration(pipe, body, Val::Plain(Value::int(i as i64)), element)? == Flow::Break {
                        break;
                    }
                }
                Ok(!list.items.is_empty())
            }
            Value::Bytes(bytes) => {
                for (i, byte) in bytes.iter().enumerate() {
                    let element = Val::Plain(Value::Int(IntKind::Uint8, i64::from(*byte)));
                    if self.iteration(pipe, body, Val::Plain(Value::int(i as i64)), element)? == Flow::Break {
                        break;
                    }
                }
                Ok(!bytes.is_empty())
            }
            Value::Map(map) => {
                // Go sorts the keys before the first iteration; changes made meanwhile are not seen.
                self.ctx.charge(map.len() as u64 / 4).or_else(|failure| self.failed(pipe, failure, None))?;
                let entries = map.entries();
                let any = !entries.is_empty();
                for (key, item) in entries {
                    let element = map_element(map, item);
                    if self.iteration(pipe, body, Val::Plain(Value::Str(key)), element)? == Flow::Break {
                        break;
                    }
                }
                Ok(any)
            }
            other => {
                let text = display(other);
                self.stop(pipe, format!("range can't iterate over {text}"))
            }
        }
    }

    fn iteration(&mut self, pipe: &'t Pipe, body: &'t [Item], index: Val, element: Val) -> Result<Flow> {
        self.step(pipe)?;
        let (names, mark) = (&pipe.declared, self.variables.len());
        if pipe.assigns {
            match names.as_slice() {
                [only] => self.set_variable(pipe, only, element.clone())?,
                [first, second, ..] => {
                    self.set_variable(pipe, first, index)?;
                    self.set_variable(pipe, second, element.clone())?;
                }
                [] => {}
            }
        } else {
            // The pipeline has pushed its variables already; the last is the element.
            if let Some(top) = mark.checked_sub(1)
                && !names.is_empty()
            {
                self.variables[top].1 = element.clone();
            }
            if let Some(top) = mark.checked_sub(2)
                && names.len() > 1
            {
                self.variables[top].1 = index;
            }
        }
        let flow = self.items(&element, body)?;
        self.variables.truncate(mark);
        Ok(flow)
    }

    fn template(&mut self, dot: &Val, name: &str, pipe: Option<&'t Pipe>) -> Result<()> {
        let at = self.at;
        let shown = format!("template {name:?}");
        let Some(body) = self.parsed.defined.get(name) else {
            return self.stop(&shown, format!("template {name:?} not defined"));
        };
        if self.depth == MAX_DEPTH {
            return self.stop(&shown, format!("exceeded maximum template depth ({MAX_DEPTH})"));
        }
        let argument = match pipe {
            Some(pipe) => self.pipe(dot, pipe)?,
            None => Val::Missing,
        };
        self.at = at;
        let outer = std::mem::replace(&mut self.variables, vec![("$".into(), argument.clone())]);
        self.depth += 1;
        self.items(&argument, body)?;
        self.depth -= 1;
        self.variables = outer;
        Ok(())
    }

    fn set_variable(&mut self, node: &dyn Display, name: &str, value: Val) -> Result<()> {
        match self.variables.iter_mut().rev().find(|(known, _)| **known == *name) {
            Some(slot) => {
                slot.1 = value;
                Ok(())
            }
            None => self.stop(node, format!("undefined variable: {name}")),
        }
    }

    /// The value of a pipeline; the variables it declares stay on the stack.
    pub(super) fn pipe(&mut self, dot: &Val, pipe: &'t Pipe) -> Result<Val> {
        self.at = pipe.at;
        let mut last = None;
        for command in &pipe.commands {
            self.step(pipe)?;
            last = Some(self.command(dot, command, last)?.unboxed());
        }
        let value = last.unwrap_or(Val::Missing);
        for name in &pipe.declared {
            if pipe.assigns {
                self.set_variable(pipe, name, value.clone())?;
            } else {
                self.variables.push((name.clone(), value.clone()));
            }
        }
        Ok(value)
    }

    /// A command; `piped` is the value of the command before it in the pipeline.
    fn command(&mut self, dot: &Val, command: &'t Command, piped: Option<Val>) -> Result<Val> {
        let Some((first, arguments)) = command.operands.split_first() else { return Ok(Val::Missing) };
        if !matches!(first.kind, OperandKind::Pipe(_)) {
            self.at = first.at;
        }
        match &first.kind {
            OperandKind::Field(names) => self.chain(dot, dot.clone(), first, names, arguments, piped),
            OperandKind::Chain(inner, names) => {
                let receiver = self.chain_receiver(dot, inner)?;
                self.chain(dot, receiver, first, names, arguments, piped)
            }
            OperandKind::Variable(names) => self.variable(dot, first, names, arguments, piped),
            OperandKind::Function(function) => self.function(dot, first, function, arguments, piped),
            _ => {
                if !arguments.is_empty() || piped.is_some() {
                    return self.stop(first, format!("can't give argument to non-function {first}"));
                }
                if matches!(first.kind, OperandKind::Nil) {
                    return self.stop(first, "nil is not a command");
                }
                self.simple(dot, first)
            }
        }
    }

    /// An operand that takes no arguments, of no particular type.
    pub(super) fn simple(&mut self, dot: &Val, operand: &'t Operand) -> Result<Val> {
        self.at = operand.at;
        Ok(match &operand.kind {
            OperandKind::Bool(b) => Val::Plain(Value::Bool(*b)),
            OperandKind::Dot => dot.clone(),
            OperandKind::Nil => return self.stop(operand, "nil is not a command"),
            OperandKind::Text { text, .. } => Val::Plain(Value::Str(text.clone())),
            OperandKind::Number(number) => {
                if let Some((re, im)) = number.complex {
                    Val::Plain(Value::Complex(re, im))
                } else if let (true, Some(float)) = (number.looks_float(), number.float) {
                    Val::Plain(Value::Float(float))
                } else if let Some(int) = number.int {
                    Val::Plain(Value::int(int))
                } else {
                    return self.stop(operand, format!("{} overflows int", number.text));
                }
            }
            OperandKind::Field(names) => self.chain(dot, dot.clone(), operand, names, &[], None)?,
            OperandKind::Variable(names) => self.variable(dot, operand, names, &[], None)?,
            OperandKind::Chain(inner, names) => {
                let receiver = self.chain_receiver(dot, inner)?;
                self.chain(dot, receiver, operand, names, &[], None)?
            }
            OperandKind::Function(function) => self.function(dot, operand, function, &[], None)?,
            OperandKind::Pipe(pipe) => self.pipe(dot, pipe)?,
        })
    }

    /// The value in front of a chain like `(…).Field`.
    fn chain_receiver(&mut self, dot: &Val, inner: &'t Operand) -> Result<Val> {
        if matches!(inner.kind, OperandKind::Nil) {
            return self.stop(inner, format!("indirection through explicit nil in {inner}"));
        }
        self.simple(dot, inner)
    }

    fn variable(
        &mut self,
        dot: &Val,
        node: &'t Operand,
        names: &'t [Arc<str>],
        arguments: &'t [Operand],
        piped: Option<Val>,
    ) -> Result<Val> {
        let Some((name, fields)) = names.split_first() else { return Ok(Val::Missing) };
        let Some((_, value)) = self.variables.iter().rev().find(|(known, _)| known == name) else {
            return self.stop(node, format!("undefined variable: {name}"));
        };
        let value = value.clone();
        if fields.is_empty() {
            if !arguments.is_empty() || piped.is_some() {
                return self.stop(node, format!("can't give argument to non-function {node}"));
            }
            return Ok(value);
        }
        self.chain(dot, value, node, fields, arguments, piped)
    }

    /// `.X.Y.Z`, the last possibly a method with arguments.
    fn chain(
        &mut self,
        dot: &Val,
        receiver: Val,
        node: &'t Operand,
        names: &'t [Arc<str>],
        arguments: &'t [Operand],
        piped: Option<Val>,
    ) -> Result<Val> {
        let Some((last, before)) = names.split_last() else { return Ok(receiver) };
        let mut receiver = receiver;
        for name in before {
            receiver = self.field(dot, receiver, node, name, &[], None)?;
        }
        self.field(dot, receiver, node, last, arguments, piped)
    }

    fn field(
        &mut self,
        dot: &Val,
        receiver: Val,
        node: &'t Operand,
        name: &str,
        arguments: &'t [Operand],
        piped: Option<Val>,
    ) -> Result<Val> {
        self.step(node)?;
        let (value, boxed) = match &receiver {
            Val::Missing => return Ok(Val::Missing),
            Val::Boxed(Value::Nil) => {
                return self.stop(node, format!("nil pointer evaluating interface {{}}.{name}"));
            }
            Val::Boxed(value) => (value, true),
            Val::Plain(value) => (value, false),
        };
        if let Some(func) = method(value, name, &self.ctx.now.zone) {
            return self.call_method(dot, node, &func, arguments, piped);
        }
        let has_arguments = !arguments.is_empty() || piped.is_some();
        match value {
            Value::Map(map) => {
                if has_arguments {
                    return self.stop(node, format!("{name} is not a method but has arguments"));
                }
                return Ok(map.get(name).map_or(Val::Missing, |item| map_element(map, item)));
            }
            Value::Object(object) => {
                if let Some(item) = object.field(name) {
                    if has_arguments {
                        let text = format!("{name} has arguments but cannot be invoked as function");
                        return self.stop(node, text);
                    }
                    return Ok(Val::of(item));
                }
            }
            _ => {}
        }
        let shown = if boxed { "interface {}".to_owned() } else { type_name(value) };
        self.stop(node, format!("can't evaluate field {name} in type {shown}"))
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let undetermined = matches!(error, CallError::Undetermined(_));
        Failure { text: error.to_string(), undetermined }
    }
}

/// Go shows the first 20 characters of the part of the template it is about.
fn at_node(node: &dyn Display, text: &str) -> String {
    let shown = node.to_string();
    let short =
        if shown.chars().count() > 20 { format!("{}...", shown.chars().take(20).collect::<String>()) } else { shown };
    format!("at <{short}>: {text}")
}
