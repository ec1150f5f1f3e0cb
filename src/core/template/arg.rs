//! Arguments of functions and methods: what Go checks and converts before a call.

use crate::core::value::{Param, Value, type_name};

use super::exec::{Result, Run};
use super::functions::P;
use super::node::{Operand, OperandKind};
use super::val::Val;

impl<'t> Run<'t> {
    /// The checked arguments of a call: first those written behind it, last the one that came through the pipe.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn arguments(
        &mut self,
        dot: &Val,
        node: &'t Operand,
        name: &str,
        params: &[P],
        variadic: bool,
        operands: &'t [Operand],
        piped: Option<Val>,
    ) -> Result<Vec<Value>> {
        let given = operands.len() + usize::from(piped.is_some());
        let wanted = params.len();
        if variadic && given + 1 < wanted {
            let text = format!("wrong number of args for {name}: want at least {} got {}", wanted - 1, operands.len());
            return self.stop(node, text);
        }
        if !variadic && given != wanted {
            return self.stop(node, format!("wrong number of args for {name}: want {wanted} got {given}"));
        }
        let param = |i: usize| params.get(i).or(params.last()).copied().unwrap_or(P::Typed(Param::Any));
        let mut values = Vec::with_capacity(given);
        for (i, operand) in operands.iter().enumerate() {
            values.push(self.argument(dot, operand, param(i))?);
        }
        if let Some(piped) = piped {
            values.push(self.validate(node, piped, param(operands.len()))?);
        }
        Ok(values)
    }

    /// An argument of no particular type, for `and` and `or`.
    pub(super) fn argument_val(&mut self, dot: &Val, operand: &'t Operand) -> Result<Val> {
        if matches!(operand.kind, OperandKind::Nil) {
            return Ok(Val::Missing);
        }
        self.simple(dot, operand)
    }

    fn argument(&mut self, dot: &Val, operand: &'t Operand, param: P) -> Result<Value> {
        self.at = operand.at;
        match &operand.kind {
            OperandKind::Nil => {
                if can_be_nil(param) {
                    return Ok(Value::Nil);
                }
                self.stop(operand, format!("cannot assign nil to {}", param.type_name()))
            }
            OperandKind::Bool(_) | OperandKind::Number(_) | OperandKind::Text { .. } => {
                self.constant(dot, operand, param)
            }
            _ => {
                let value = self.simple(dot, operand)?;
                self.validate(operand, value, param)
            }
        }
    }

    /// A constant takes the type that the parameter asks for.
    fn constant(&mut self, dot: &Val, operand: &'t Operand, param: P) -> Result<Value> {
        let P::Typed(typed) = param else { return Ok(self.simple(dot, operand)?.value()) };
        let expected = |what: &str| format!("expected {what}; found {operand}");
        match (typed, &operand.kind) {
            (Param::Any, _) => Ok(self.simple(dot, operand)?.value()),
            (Param::Bool, OperandKind::Bool(b)) => Ok(Value::Bool(*b)),
            (Param::Bool, _) => self.stop(operand, expected("bool")),
            (Param::Text, OperandKind::Text { text, .. }) => Ok(Value::Str(text.clone())),
            (Param::Text, _) => self.stop(operand, expected("string")),
            (Param::Float, OperandKind::Number(number)) if number.float.is_some() => {
                Ok(Value::Float(number.float.unwrap_or_default()))
            }
            (Param::Float, _) => self.stop(operand, expected("float")),
            (Param::Int | Param::Int64 | Param::Duration, OperandKind::Number(number)) if number.int.is_some() => {
                let n = number.int.unwrap_or_default();
                Ok(match typed {
                    Param::Int => Value::int(n),
                    Param::Int64 => Value::int64(n),
                    _ => Value::Duration(n),
                })
            }
            (Param::Int | Param::Int64 | Param::Duration, _) => self.stop(operand, expected("integer")),
            (Param::Time | Param::Map | Param::List | Param::TextList | Param::Object(_), _) => {
                self.stop(operand, format!("can't handle {operand} for arg of type {}", typed.type_name()))
            }
        }
    }

    /// A value must be assignable to the parameter's type.
    fn validate(&mut self, node: &Operand, value: Val, param: P) -> Result<Value> {
        let P::Typed(typed) = param else { return Ok(value.value()) };
        match value {
            Val::Missing if can_be_nil(param) => Ok(Value::Nil),
            Val::Missing => self.stop(node, format!("invalid value; expected {}", typed.type_name())),
            Val::Boxed(value) | Val::Plain(value) => {
                if typed.accepts(&value) {
                    return Ok(value);
                }
                let got = if value.is_nil() { "interface {}".to_owned() } else { type_name(&value) };
                self.stop(node, format!("wrong type for value; expected {}; got {got}", typed.type_name()))
            }
        }
    }
}

/// Whether nil is a value of the parameter's type.
fn can_be_nil(param: P) -> bool {
    match param {
        P::Raw => true,
        P::Typed(typed) => {
            matches!(typed, Param::Any | Param::Map | Param::List | Param::TextList | Param::Object(_))
        }
    }
}

/// What `call` does to an argument: nil becomes the nil of its type, integers take any integer type.
pub(super) fn prepare(value: &Value, param: Param) -> std::result::Result<Value, String> {
    if value.is_nil() {
        if can_be_nil(P::Typed(param)) {
            return Ok(Value::Nil);
        }
        return Err(format!("value is nil; should be of type {}", param.type_name()));
    }
    if param.accepts(value) {
        return Ok(value.clone());
    }
    match (param, value) {
        (Param::Int, Value::Int(_, n) | Value::Duration(n)) => Ok(Value::int(*n)),
        (Param::Int64, Value::Int(_, n) | Value::Duration(n)) => Ok(Value::int64(*n)),
        (Param::Duration, Value::Int(_, n)) => Ok(Value::Duration(*n)),
        _ => Err(format!("value has type {}; should be {}", type_name(value), param.type_name())),
    }
}
