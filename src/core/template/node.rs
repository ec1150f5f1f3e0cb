//! A parsed template: lists of items, pipelines of commands, operands. Positions are byte offsets into the source.

use std::fmt;
use std::sync::Arc;

use super::functions::Function;
use super::literal::Number;

/// Items in the order in which they are carried out.
pub(super) type Items = Vec<Item>;

/// One piece of text or one action.
#[derive(Debug)]
pub(super) struct Item {
    pub at: usize,
    pub kind: ItemKind,
}

#[derive(Debug)]
pub(super) enum ItemKind {
    Text(Arc<str>),
    Action(Pipe),
    /// `if … else if … else`: the branches share one scope of variables.
    If(Branches),
    /// The same with dot set to the value.
    With(Branches),
    Range {
        pipe: Pipe,
        body: Items,
        otherwise: Option<Items>,
    },
    Template {
        /// Of the name.
        at: usize,
        name: Arc<str>,
        pipe: Option<Pipe>,
    },
    Break,
    Continue,
}

#[derive(Debug)]
pub(super) struct Branches {
    pub branches: Vec<(Pipe, Items)>,
    pub otherwise: Option<Items>,
}

/// `$a, $b := command | command`.
#[derive(Debug)]
pub(super) struct Pipe {
    pub at: usize,
    pub assigns: bool,
    pub declared: Vec<Arc<str>>,
    pub commands: Vec<Command>,
}

#[derive(Debug)]
pub(super) struct Command {
    /// The first is the function, method or value; never empty.
    pub operands: Vec<Operand>,
}

#[derive(Debug)]
pub(super) struct Operand {
    pub at: usize,
    pub kind: OperandKind,
}

#[derive(Debug)]
pub(super) enum OperandKind {
    Bool(bool),
    Dot,
    Nil,
    Number(Number),
    Text {
        quoted: Arc<str>,
        text: Arc<str>,
    },
    Field(Vec<Arc<str>>),
    /// The variable with its `$`, then fields.
    Variable(Vec<Arc<str>>),
    Chain(Box<Operand>, Vec<Arc<str>>),
    Function(&'static Function),
    Pipe(Box<Pipe>),
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.declared.is_empty() {
            write!(f, "{} {} ", self.declared.join(", "), if self.assigns { "=" } else { ":=" })?;
        }
        for (i, command) in self.commands.iter().enumerate() {
            if i > 0 {
                f.write_str(" | ")?;
            }
            for (j, operand) in command.operands.iter().enumerate() {
                if j > 0 {
                    f.write_str(" ")?;
                }
                write!(f, "{operand}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            OperandKind::Bool(b) => write!(f, "{b}"),
            OperandKind::Dot => f.write_str("."),
            OperandKind::Nil => f.write_str("nil"),
            OperandKind::Number(number) => f.write_str(&number.text),
            OperandKind::Text { quoted, .. } => f.write_str(quoted),
            OperandKind::Field(names) => names.iter().try_for_each(|name| write!(f, ".{name}")),
            OperandKind::Variable(names) => f.write_str(&names.join(".")),
            OperandKind::Chain(inner, names) => {
                write!(f, "{inner}")?;
                names.iter().try_for_each(|name| write!(f, ".{name}"))
            }
            OperandKind::Function(function) => f.write_str(function.name),
            OperandKind::Pipe(pipe) => write!(f, "({pipe})"),
        }
    }
}

/// Calls `visit` with every operand of the items, outer ones first, and with whether dot is there what the template was
/// given as a whole.
pub(super) fn visit_operands<'t>(items: &'t [Item], root: bool, visit: &mut dyn FnMut(&'t Operand, bool)) {
    for item in items {
        match &item.kind {
            ItemKind::Text(_) | ItemKind::Break | ItemKind::Continue => {}
            ItemKind::Action(pipe) => visit_pipe(pipe, root, visit),
            ItemKind::If(branches) | ItemKind::With(branches) => {
                let same_dot = root && matches!(item.kind, ItemKind::If(_));
                for (pipe, body) in &branches.branches {
                    visit_pipe(pipe, root, visit);
                    visit_operands(body, same_dot, visit);
                }
                visit_operands(branches.otherwise.as_deref().unwrap_or_default(), root, visit);
            }
            ItemKind::Range { pipe, body, otherwise } => {
                visit_pipe(pipe, root, visit);
                visit_operands(body, false, visit);
                visit_operands(otherwise.as_deref().unwrap_or_default(), root, visit);
            }
            ItemKind::Template { pipe, .. } => {
                let Some(pipe) = pipe else { continue };
                // Handing on everything reads nothing: what the other template reads is looked at there.
                let hands_on = matches!(pipe.commands.as_slice(), [only] if only.operands.len() == 1);
                visit_pipe(pipe, root && !hands_on, visit);
            }
        }
    }
}

fn visit_pipe<'t>(pipe: &'t Pipe, root: bool, visit: &mut dyn FnMut(&'t Operand, bool)) {
    pipe.commands.iter().flat_map(|command| &command.operands).for_each(|operand| visit_operand(operand, root, visit));
}

fn visit_operand<'t>(operand: &'t Operand, root: bool, visit: &mut dyn FnMut(&'t Operand, bool)) {
    visit(operand, root);
    match &operand.kind {
        OperandKind::Chain(inner, _) => visit_operand(inner, root, visit),
        OperandKind::Pipe(pipe) => visit_pipe(pipe, root, visit),
        _ => {}
    }
}
