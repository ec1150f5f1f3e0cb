//! The built-ins that run a predicate over a list.

use std::sync::Arc;

use super::ast::{Binary, Call, Node};
use super::keyed::{Keyed, key};
use super::machine::{Machine, Run, fail, place};
use super::operators::{Op, described};
use super::sorting;
use crate::core::value::{IntKind, List, Value};

/// What `#`, `#index` and `#acc` mean at the moment.
pub(super) struct Scope {
    items: Items,
    pub index: usize,
    pub accumulator: Value,
}

enum Items {
    List(List),
    Bytes(Arc<[u8]>),
    Text(Arc<str>),
    /// A map has a length, but no elements to look at.
    Counted(usize),
}

impl Scope {
    fn over(value: Value) -> Op<Scope> {
        let items = match value {
            Value::List(list) => Items::List(list),
            Value::Bytes(bytes) => Items::Bytes(bytes),
            Value::Str(text) => Items::Text(text),
            Value::Map(map) => Items::Counted(map.len()),
            other => match Keyed::of(&other) {
                Some(keyed) => Items::Counted(keyed.entries.len()),
                None => return Err(format!("a list is needed here, not {}", described(&other))),
            },
        };
        Ok(Scope { items, index: 0, accumulator: Value::Nil })
    }

    fn len(&self) -> usize {
        match &self.items {
            Items::List(list) => list.items.len(),
            Items::Bytes(bytes) => bytes.len(),
            Items::Text(text) => text.len(),
            Items::Counted(count) => *count,
        }
    }

    /// The current element.
    pub fn item(&self) -> Op {
        let byte = |byte: Option<&u8>| byte.map(|byte| Value::Int(IntKind::Uint8, i64::from(*byte)));
        let item = match &self.items {
            Items::List(list) => list.items.get(self.index).cloned(),
            Items::Bytes(bytes) => byte(bytes.get(self.index)),
            Items::Text(text) => byte(text.as_bytes().get(self.index)),
            Items::Counted(_) => return Err("the elements of a map are not numbered: use values(…) or keys(…)".into()),
        };
        item.ok_or_else(|| "there is no element of that number".to_owned())
    }
}

impl Machine<'_> {
    /// Runs a built-in.
    pub fn builtin(&mut self, node: &Node, call: &Call) -> Run {
        if let Some(run) = call.run {
            let values = call.arguments.iter().map(|argument| self.eval(argument)).collect::<Run<Vec<Value>>>()?;
            return place(node.at, run(self, &values));
        }
        let [list, rest @ ..] = call.arguments.as_slice() else { return fail(node.at, "a list is missing") };
        let list = self.eval(list)?;
        let scope = place(node.at, Scope::over(list))?;
        let length = scope.len();
        self.scopes.push(scope);
        let result = match call.name {
            "all" | "any" | "none" => self.quantified(node, call.name, rest, length)?,
            "one" => Value::Bool(self.count(node, rest, length, None)? == 1),
            "count" => Value::int(self.count(node, rest, length, call.threshold)?),
            "filter" => self.filter(node, call, rest, length)?,
            "map" => self.map_all(node, rest, length)?,
            "find" | "findIndex" | "findLast" | "findLastIndex" => self.find(node, call, rest, length)?,
            "sum" => self.sum(node, rest, length)?,
            "groupBy" => self.group(node, rest, length)?,
            "sortBy" => self.sort(node, rest, length)?,
            _ => self.reduce(node, rest, length)?,
        };
        self.scopes.pop();
        Ok(result)
    }

    fn at(&mut self, index: usize) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.index = index;
        }
    }

    fn item(&self, node: &Node) -> Run {
        match self.scopes.last() {
            Some(scope) => place(node.at, scope.item()),
            None => fail(node.at, "there is no list here"),
        }
    }

    fn accumulate(&mut self, value: Value) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.accumulator = value;
        }
    }

    /// The predicate's answer for the current element; without a predicate the element itself.
    fn holds(&mut self, node: &Node, predicate: &[Node]) -> Run<bool> {
        match predicate.first() {
            Some(predicate) => self.boolean(node, predicate),
            None => match self.item(node)? {
                Value::Bool(b) => Ok(b),
                other => fail(node.at, format!("booleans are counted, not {}", described(&other))),
            },
        }
    }

    fn quantified(&mut self, node: &Node, name: &str, predicate: &[Node], length: usize) -> Run {
        let Some(predicate) = predicate.first() else { return Ok(Value::Bool(name != "any")) };
        // The answer that decides, and what it decides.
        let (decisive, outcome) = match name {
            "all" => (false, false),
            "any" => (true, true),
            _ => (true, false),
        };
        for index in 0..length {
            self.at(index);
            if self.boolean(node, predicate)? == decisive {
                return Ok(Value::Bool(outcome));
            }
        }
        Ok(Value::Bool(!outcome))
    }

    fn count(&mut self, node: &Node, predicate: &[Node], length: usize, threshold: Option<i64>) -> Run<i64> {
        let mut count = 0;
        for index in 0..length {
            self.at(index);
            place(node.at, self.budget.spend(1))?;
            if self.holds(node, predicate)? {
                count += 1;
                if threshold.is_some_and(|threshold| count >= threshold) {
                    break;
                }
            }
        }
        Ok(count)
    }

    fn filter(&mut self, node: &Node, call: &Call, predicate: &[Node], length: usize) -> Run {
        let mut items = Vec::new();
        for index in 0..length {
            self.at(index);
            if self.holds(node, predicate)? {
                items.push(match &call.map {
                    Some(map) => self.eval(map)?,
                    None => self.item(node)?,
                });
            }
        }
        place(node.at, self.grown_list(items))
    }

    fn map_all(&mut self, node: &Node, body: &[Node], length: usize) -> Run {
        let mut items = Vec::with_capacity(length);
        for index in 0..length {
            self.at(index);
            if let Some(body) = body.first() {
                items.push(self.eval(body)?);
            }
        }
        place(node.at, self.grown_list(items))
    }

    fn find(&mut self, node: &Node, call: &Call, predicate: &[Node], length: usize) -> Run {
        let backwards = call.name.starts_with("findLast");
        for step in 0..length {
            self.at(if backwards { length - 1 - step } else { step });
            if self.holds(node, predicate)? {
                return match (&call.map, call.name) {
                    (_, "findIndex" | "findLastIndex") => {
                        Ok(Value::int(if backwards { length - 1 - step } else { step } as i64))
                    }
                    (Some(map), _) => self.eval(map),
                    (None, _) => self.item(node),
                };
            }
        }
        if call.throws { fail(node.at, "there is no such element") } else { Ok(Value::Nil) }
    }

    fn sum(&mut self, node: &Node, body: &[Node], length: usize) -> Run {
        self.accumulate(Value::int(0));
        let mut sum = Value::int(0);
        for index in 0..length {
            self.at(index);
            place(node.at, self.budget.spend(1))?;
            let value = match body.first() {
                Some(body) => self.eval(body)?,
                None => self.item(node)?,
            };
            sum = place(node.at, self.arithmetic(Binary::Add, &value, &sum))?;
            self.accumulate(sum.clone());
        }
        Ok(sum)
    }

    fn group(&mut self, node: &Node, body: &[Node], length: usize) -> Run {
        let mut groups: std::collections::BTreeMap<_, (Value, Vec<Value>)> = Default::default();
        for index in 0..length {
            self.at(index);
            let Some(body) = body.first() else { break };
            let value = self.eval(body)?;
            let item = self.item(node)?;
            groups.entry(place(node.at, key(&value))?).or_insert_with(|| (value, Vec::new())).1.push(item);
        }
        let mut keyed = Keyed { grouped: true, ..Keyed::default() };
        for (key, (value, items)) in groups {
            let list = place(node.at, self.list(items))?;
            keyed.entries.insert(key, (value, list));
        }
        place(node.at, self.tracked(keyed.value()))
    }

    fn sort(&mut self, node: &Node, rest: &[Node], length: usize) -> Run {
        let descending = match rest.get(1) {
            Some(order) => {
                let order = self.eval(order)?;
                place(node.at, sorting::descending(&order))?
            }
            None => false,
        };
        let mut items = Vec::with_capacity(length);
        for index in 0..length {
            self.at(index);
            let Some(body) = rest.first() else { break };
            let value = self.eval(body)?;
            items.push((value, self.item(node)?));
        }
        let sorted = place(node.at, sorting::sort(items, descending, &mut self.budget))?;
        place(node.at, self.grown_list(sorted))
    }

    fn reduce(&mut self, node: &Node, rest: &[Node], length: usize) -> Run {
        let mut first = 0;
        match rest.get(1) {
            Some(start) => {
                let start = self.eval(start)?;
                self.accumulate(start);
            }
            None if length == 0 => return fail(node.at, "`reduce` of an empty list needs a third argument"),
            None => {
                let item = self.item(node)?;
                self.accumulate(item);
                first = 1;
            }
        }
        for index in first..length {
            self.at(index);
            place(node.at, self.budget.spend(1))?;
            let Some(body) = rest.first() else { break };
            let value = self.eval(body)?;
            self.accumulate(value);
        }
        Ok(self.scopes.last().map_or(Value::Nil, |scope| scope.accumulator.clone()))
    }
}
