//! Operators between constants, done when compiling.

use std::sync::Arc;

use super::ast::{Binary, Kind, Node, Unary};
use super::operators::power;
use crate::core::value::Value;

fn number(kind: &Kind) -> Option<f64> {
    match kind {
        Kind::Int(n) => Some(*n as f64),
        Kind::Float(f) => Some(*f),
        _ => None,
    }
}

pub(super) fn constant_unary(op: Unary, operand: &Kind) -> Option<Kind> {
    match (op, operand) {
        (Unary::Minus, Kind::Int(n)) => Some(Kind::Int(n.wrapping_neg())),
        (Unary::Minus, Kind::Float(f)) => Some(Kind::Float(-f)),
        (Unary::Plus, Kind::Int(n)) => Some(Kind::Int(*n)),
        (Unary::Plus, Kind::Float(f)) => Some(Kind::Float(*f)),
        (Unary::Not, Kind::Bool(b)) => Some(Kind::Bool(!b)),
        _ => None,
    }
}

pub(super) fn constant_binary(op: Binary, left: &Kind, right: &Kind) -> Option<Result<Kind, &'static str>> {
    let kind = match (op, left, right) {
        (Binary::Add, Kind::Int(a), Kind::Int(b)) => Kind::Int(a.wrapping_add(*b)),
        (Binary::Subtract, Kind::Int(a), Kind::Int(b)) => Kind::Int(a.wrapping_sub(*b)),
        (Binary::Multiply, Kind::Int(a), Kind::Int(b)) => Kind::Int(a.wrapping_mul(*b)),
        (Binary::Modulo, Kind::Int(_), Kind::Int(0)) => return Some(Err("an integer is divided by zero")),
        (Binary::Modulo, Kind::Int(a), Kind::Int(b)) => Kind::Int(a.wrapping_rem(*b)),
        (Binary::Equal, Kind::Int(a), Kind::Int(b)) => Kind::Bool(a == b),
        (Binary::Equal, Kind::Text(a), Kind::Text(b)) => Kind::Bool(a == b),
        (Binary::Equal, Kind::Bool(a), Kind::Bool(b)) => Kind::Bool(a == b),
        (Binary::Add, Kind::Text(a), Kind::Text(b)) => Kind::Text(Arc::from(format!("{a}{b}"))),
        _ => {
            let (a, b) = (number(left)?, number(right)?);
            match op {
                Binary::Add => Kind::Float(a + b),
                Binary::Subtract => Kind::Float(a - b),
                Binary::Multiply => Kind::Float(a * b),
                Binary::Divide => Kind::Float(a / b),
                Binary::Power => Kind::Float(power(a, b)),
                _ => return None,
            }
        }
    };
    Some(Ok(kind))
}

pub(super) fn constant_list(items: &[Node]) -> Option<Value> {
    if items.is_empty() {
        return None;
    }
    let values: Option<Vec<Value>> = items
        .iter()
        .map(|item| match &item.kind {
            Kind::Int(n) => Some(Value::int(*n)),
            Kind::Float(f) => Some(Value::Float(*f)),
            Kind::Text(text) => Some(Value::Str(text.clone())),
            Kind::Bool(b) => Some(Value::Bool(*b)),
            _ => None,
        })
        .collect();
    values.map(Value::list)
}
