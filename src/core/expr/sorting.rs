//! Sorting by a comparison that can fail.

use super::ast::Binary;
use super::machine::Budget;
use super::operators::{Op, compare, described};
use crate::core::value::Value;

/// The order a text names.
pub(super) fn descending(order: &Value) -> Op<bool> {
    match order {
        Value::Str(text) if **text == *"asc" => Ok(false),
        Value::Str(text) if **text == *"desc" => Ok(true),
        Value::Str(text) => Err(format!("the order is 'asc' or 'desc', not {text:?}")),
        other => Err(format!("the order is a text, not {}", described(other))),
    }
}

/// Sorts by the first of each pair and gives the second ones. Equal ones keep their order.
pub(super) fn sort(mut items: Vec<(Value, Value)>, descending: bool, budget: &mut Budget) -> Op<Vec<Value>> {
    let before = |a: &Value, b: &Value, budget: &mut Budget| {
        budget.spend(1)?;
        if descending { compare(Binary::Less, b, a) } else { compare(Binary::Less, a, b) }
    };
    // Merging runs of doubling length.
    let mut width = 1;
    while width < items.len() {
        let mut merged = Vec::with_capacity(items.len());
        let mut rest = items.into_iter().peekable();
        while rest.peek().is_some() {
            let mut left = rest.by_ref().take(width).collect::<Vec<_>>().into_iter().peekable();
            let mut right = rest.by_ref().take(width).collect::<Vec<_>>().into_iter().peekable();
            while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
                let right_first = before(&b.0, &a.0, budget)?;
                merged.extend(if right_first { right.next() } else { left.next() });
            }
            merged.extend(left);
            merged.extend(right);
        }
        items = merged;
        width *= 2;
    }
    Ok(items.into_iter().map(|(_, item)| item).collect())
}
