//! Calls of functions that variables hold, and of methods: what Go's reflection would check.

use super::ast::{Kind, Node};
use super::builtins;
use super::machine::{Failure, Machine, Run, Stop, fail, place};
use super::operators::{Op, described, nil_list};
use crate::core::problem::nearest;
use crate::core::value::time::Moment;
use crate::core::value::{CallError, Func, ListKind, Map, MapKind, Param, Value};

impl Machine<'_> {
    /// Calls what `callee` gives.
    pub fn call(&mut self, node: &Node, callee: &Node, arguments: &[Node], typed: bool) -> Run {
        // Arguments come first: an error in them is one even where the callee turns out to be nil.
        let mut values = arguments.iter().map(|argument| self.eval(argument)).collect::<Run<Vec<Value>>>()?;
        let func = match self.eval(callee)? {
            Value::Func(func) => func,
            Value::Nil => return fail(node.at, unknown_function(callee)),
            other => return fail(node.at, format!("{} cannot be called", described(&other))),
        };
        place(node.at, prepare(&func, &mut values, typed))?;
        match func.call(&values) {
            Ok(value) => Ok(value),
            Err(error) => Err(Stop::Fail(Box::new(Failure {
                undetermined: matches!(error, CallError::Undetermined(_)),
                text: format!("{}: {error}", func.name),
                at: node.at,
            }))),
        }
    }
}

fn unknown_function(callee: &Node) -> String {
    match &callee.kind {
        Kind::Name(name) => match nearest(name, builtins::names()) {
            Some(near) => format!("there is no function `{name}`; did you mean `{near}`?"),
            None => format!("there is no function `{name}`"),
        },
        Kind::Member { property, .. } => match property.as_text() {
            Some(name) => format!("there is no function `{name}` here"),
            None => "nil cannot be called".to_owned(),
        },
        _ => "nil cannot be called".to_owned(),
    }
}

/// Checks arguments against a function's parameters; nil becomes the zero value of its parameter.
fn prepare(func: &Func, values: &mut [Value], typed: bool) -> Op<()> {
    let (given, known) = (values.len(), func.params.len());
    let fits = if func.variadic { given + 1 >= known } else { given == known };
    if !fits {
        return Err(format!("`{}` takes {known} arguments, not {given}", func.name));
    }
    for (i, value) in values.iter_mut().enumerate() {
        let Some(param) = func.params.get(i).or(func.params.last()) else { break };
        if value.is_nil() && !typed {
            *value = zero(*param);
            continue;
        }
        if !param.accepts(value) {
            return Err(format!("argument {} of `{}` cannot be {}", i + 1, func.name, described(value)));
        }
    }
    Ok(())
}

fn zero(param: Param) -> Value {
    match param {
        Param::Text => Value::text(""),
        Param::Int => Value::int(0),
        Param::Int64 => Value::int64(0),
        Param::Float => Value::Float(0.0),
        Param::Bool => Value::Bool(false),
        Param::Time => Value::Time(Moment::zero()),
        Param::Duration => Value::Duration(0),
        Param::Map => Value::Map(Map::new(MapKind::Any)),
        Param::List => nil_list(ListKind::Any),
        Param::TextList => nil_list(ListKind::Text),
        Param::Any | Param::Object(_) => Value::Nil,
    }
}
