//! Runs a compiled expression: a walk over the tree with a budget.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::ast::{Binary, Kind, Node, Unary};
use super::builtins;
use super::keyed::Keyed;
use super::operators::{self, Op, described, is_nil, to_int};
use super::predicates::Scope;
use super::search::Search;
use crate::core::value::time::Moment;
use crate::core::value::{IntKind, List, ListKind, Map, MapKind, Value, method};

/// Most steps of one evaluation: nodes visited and elements touched (EXP-05).
const MAX_STEPS: usize = 100_000;
/// Elements and bytes built during one evaluation: the dialect's own limit.
const MAX_MEMORY: usize = 1_000_000;
/// Longest text (EXP-05).
const MAX_TEXT: usize = 1 << 20;
/// Deepest nesting of values that are built or walked (EXP-05).
pub(super) const MAX_LEVELS: usize = 64;
/// Bytes of text that count as one step.
const BYTES_PER_STEP: usize = 256;

/// What is left of an evaluation's allowance.
pub(super) struct Budget {
    steps: usize,
    memory: usize,
}

impl Budget {
    /// Takes steps.
    pub fn spend(&mut self, steps: usize) -> Op<()> {
        match self.steps.checked_sub(steps) {
            Some(left) => self.steps = left,
            None => return Err(format!("needs more than {MAX_STEPS} steps")),
        }
        Ok(())
    }

    /// Takes steps for looking at a text.
    pub fn read(&mut self, text: &str) -> Op<()> {
        self.spend(text.len() / BYTES_PER_STEP)
    }

    /// Takes memory: elements or bytes.
    pub fn grow(&mut self, size: usize) -> Op<()> {
        self.memory = self.memory.saturating_add(size);
        if self.memory >= MAX_MEMORY { Err("builds too large a value".to_owned()) } else { Ok(()) }
    }
}

/// Why an evaluation stops.
pub(super) enum Stop {
    Fail(Box<Failure>),
    /// A `?.` met nil: the chain around it is nil.
    Chain,
}

/// What went wrong and where.
pub(super) struct Failure {
    pub text: String,
    pub at: u32,
    pub undetermined: bool,
}

pub(super) type Run<T = Value> = Result<T, Stop>;

pub(super) fn fail<T>(at: u32, text: impl Into<String>) -> Run<T> {
    Err(Stop::Fail(Box::new(Failure { text: text.into(), at, undetermined: false })))
}

/// Gives an operator's complaint its place.
pub(super) fn place<T>(at: u32, result: Op<T>) -> Run<T> {
    result.or_else(|text| fail(at, text))
}

pub(super) struct Machine<'a> {
    env: &'a Map,
    pub now: &'a Moment,
    pub budget: Budget,
    variables: Vec<(Arc<str>, Value)>,
    pub scopes: Vec<Scope>,
    /// Levels of the nested lists and maps made here, by address; they are kept so that no address is used twice.
    levels: HashMap<usize, (usize, Value)>,
    patterns: HashMap<Arc<str>, Search>,
}

impl<'a> Machine<'a> {
    pub fn new(env: &'a Map, now: &'a Moment) -> Self {
        Machine {
            env,
            now,
            budget: Budget { steps: MAX_STEPS, memory: 0 },
            variables: Vec::new(),
            scopes: Vec::new(),
            levels: HashMap::new(),
            patterns: HashMap::new(),
        }
    }

    /// The value of a node.
    pub fn eval(&mut self, node: &Node) -> Run {
        place(node.at, self.budget.spend(1))?;
        match &node.kind {
            Kind::Binary(..) => self.operators(node),
            Kind::Member { base, property, optional, .. } => self.member(node, base, property, *optional),
            Kind::Name(name) => Ok(self.name(name)),
            Kind::Text(text) => Ok(Value::Str(text.clone())),
            Kind::Int(n) => Ok(Value::int(*n)),
            Kind::Nil => Ok(Value::Nil),
            Kind::Bool(b) => Ok(Value::Bool(*b)),
            Kind::Float(f) => Ok(Value::Float(*f)),
            Kind::Bytes(bytes) => Ok(Value::Bytes(bytes.clone())),
            Kind::Constant(value) => Ok(value.clone()),
            Kind::Chain(inner) => self.chain(inner),
            Kind::Builtin(call) => self.builtin(node, call),
            Kind::Call { callee, arguments, typed } => self.call(node, callee, arguments, *typed),
            Kind::Predicate(body) => self.eval(body),
            Kind::Pointer(name) => self.pointer(node, name),
            Kind::Unary(op, operand) => self.unary(node, *op, operand),
            Kind::Matches(left, search) => self.matches_constant(node, left, search),
            Kind::Slice { base, from, to } => self.slice(node, base, from.as_deref(), to.as_deref()),
            Kind::Let { name, value, body } => {
                let value = self.eval(value)?;
                self.variables.push((name.clone(), value));
                let result = self.eval(body)?;
                self.variables.pop();
                Ok(result)
            }
            Kind::Sequence(nodes) => {
                let mut last = Value::Nil;
                for node in nodes {
                    last = self.eval(node)?;
                }
                Ok(last)
            }
            Kind::If { condition, then, otherwise, .. } => {
                if self.boolean(node, condition)? {
                    self.eval(then)
                } else {
                    self.eval(otherwise)
                }
            }
            Kind::List(nodes) => {
                let items = nodes.iter().map(|node| self.eval(node)).collect::<Run<Vec<Value>>>()?;
                place(node.at, self.grown_list(items))
            }
            Kind::Map(pairs) => self.map(node, pairs),
            Kind::Sum(nodes) => {
                let mut items = nodes.iter().map(|node| self.eval(node)).collect::<Run<Vec<Value>>>()?;
                let mut sum = items.pop().unwrap_or(Value::int(0));
                while let Some(item) = items.pop() {
                    // Only the last addition stands where the call stood.
                    let at = if items.is_empty() { node.at } else { 0 };
                    sum = place(at, self.arithmetic(Binary::Add, &item, &sum))?;
                }
                Ok(sum)
            }
            // The right side of `in`, which looks into it itself.
            Kind::TextSet(_) | Kind::IntSet(_) => Ok(Value::Nil),
        }
    }

    fn name(&self, name: &Arc<str>) -> Value {
        if let Some((_, value)) = self.variables.iter().rev().find(|(known, _)| known == name) {
            return value.clone();
        }
        if **name == *"$env" {
            return Value::Map(self.env.clone());
        }
        self.env.get(name).unwrap_or(Value::Nil)
    }

    /// Whether a value is true; anything but a boolean is an error.
    /// The complaint has the place of the node that asks.
    pub fn boolean(&mut self, asking: &Node, node: &Node) -> Run<bool> {
        match self.eval(node)? {
            Value::Bool(b) => Ok(b),
            other => fail(asking.at, format!("a boolean is needed here, not {}", described(&other))),
        }
    }

    fn chain(&mut self, inner: &Node) -> Run {
        let (variables, scopes) = (self.variables.len(), self.scopes.len());
        match self.eval(inner) {
            Ok(value) if is_nil(&value) => Ok(Value::Nil),
            Err(Stop::Chain) => {
                self.variables.truncate(variables);
                self.scopes.truncate(scopes);
                Ok(Value::Nil)
            }
            other => other,
        }
    }

    /// A chain of binary operators, from the innermost left outwards.
    fn operators(&mut self, node: &Node) -> Run {
        let mut spine: Vec<(&Node, Binary, &Node)> = Vec::new();
        let mut first = node;
        while let Kind::Binary(op, left, right) = &first.kind {
            spine.push((first, *op, right));
            first = left;
        }
        let mut value = self.eval(first)?;
        while let Some((node, op, right)) = spine.pop() {
            place(node.at, self.budget.spend(1))?;
            value = match (op, value) {
                (Binary::Or, Value::Bool(true)) => Value::Bool(true),
                (Binary::And, Value::Bool(false)) => Value::Bool(false),
                // What stands on the right is the result, whatever it is.
                (Binary::Or | Binary::And, Value::Bool(_)) => self.eval(right)?,
                (Binary::Or | Binary::And, other) => {
                    return fail(node.at, format!("`{}` needs booleans, not {}", op.word(), described(&other)));
                }
                (Binary::Otherwise, value) if is_nil(&value) => self.eval(right)?,
                (Binary::Otherwise, value) => value,
                (Binary::In, value) => Value::Bool(self.contained(node, &value, right)?),
                (op, left) => {
                    let right = self.eval(right)?;
                    place(node.at, self.binary(op, &left, &right))?
                }
            };
        }
        Ok(value)
    }

    fn contained(&mut self, node: &Node, needle: &Value, haystack: &Node) -> Run<bool> {
        match (&haystack.kind, needle) {
            (Kind::TextSet(set), Value::Str(text)) => Ok(set.contains(text)),
            (Kind::TextSet(set), Value::Nil) => Ok(set.contains("")),
            (Kind::IntSet(set), Value::Int(IntKind::Int, n)) => Ok(set.contains(n)),
            (Kind::IntSet(set), Value::Nil) => Ok(set.contains(&0)),
            (Kind::TextSet(_), other) => fail(node.at, format!("{} cannot be one of these texts", described(other))),
            (Kind::IntSet(_), other) => fail(node.at, format!("{} cannot be one of these integers", described(other))),
            _ => {
                let haystack = self.eval(haystack)?;
                place(node.at, operators::contained(needle, &haystack, &mut self.budget))
            }
        }
    }

    fn binary(&mut self, op: Binary, a: &Value, b: &Value) -> Op {
        Ok(match op {
            Binary::Equal => Value::Bool(operators::equal(a, b, &mut self.budget, 0)?),
            Binary::Unequal => Value::Bool(!operators::equal(a, b, &mut self.budget, 0)?),
            Binary::EqualInt | Binary::UnequalInt => match (a, b) {
                (Value::Int(IntKind::Int, x), Value::Int(IntKind::Int, y)) => {
                    Value::Bool((x == y) == (op == Binary::EqualInt))
                }
                _ => return Err("not the integers that they seemed to be".to_owned()),
            },
            Binary::EqualText | Binary::UnequalText => match (a, b) {
                (Value::Str(x), Value::Str(y)) => Value::Bool((x == y) == (op == Binary::EqualText)),
                _ => return Err("not the texts that they seemed to be".to_owned()),
            },
            Binary::Less | Binary::More | Binary::LessOrEqual | Binary::MoreOrEqual => {
                Value::Bool(operators::compare(op, a, b)?)
            }
            Binary::Contains | Binary::StartsWith | Binary::EndsWith => Value::Bool(self.text_operator(op, a, b)?),
            Binary::Matches => Value::Bool(self.matches(a, b)?),
            Binary::Range => self.range(to_int(a)?, to_int(b)?)?,
            _ => self.arithmetic(op, a, b)?,
        })
    }

    pub fn arithmetic(&mut self, op: Binary, a: &Value, b: &Value) -> Op {
        if let (Value::Str(x), Value::Str(y)) = (a, b) {
            self.budget.read(x)?;
            self.budget.read(y)?;
            if x.len() + y.len() > MAX_TEXT {
                return Err("builds a text of more than 1 MiB".to_owned());
            }
        }
        operators::arithmetic(op, a, b)
    }

    fn text_operator(&mut self, op: Binary, a: &Value, b: &Value) -> Op<bool> {
        if is_nil(a) || is_nil(b) {
            return Ok(false);
        }
        let (Value::Str(x), Value::Str(y)) = (a, b) else {
            let list = matches!(a, Value::List(_)) && op == Binary::Contains;
            let hint = if list { "; for lists write `x in list`" } else { "" };
            return Err(format!("`{}` needs texts, not {} and {}{hint}", op.word(), described(a), described(b)));
        };
        self.budget.read(x)?;
        Ok(match op {
            Binary::Contains => x.contains(&**y),
            Binary::StartsWith => x.starts_with(&**y),
            _ => x.ends_with(&**y),
        })
    }

    fn matches(&mut self, a: &Value, b: &Value) -> Op<bool> {
        if is_nil(a) || is_nil(b) {
            return Ok(false);
        }
        let Value::Str(source) = b else { return Err(format!("a pattern is a text, not {}", described(b))) };
        let search = match self.patterns.get(source) {
            Some(search) => search.clone(),
            None => {
                let search = Search::compile_within(source, &mut self.budget)?;
                self.patterns.insert(source.clone(), search.clone());
                search
            }
        };
        search.found_in(a, &mut self.budget)
    }

    fn matches_constant(&mut self, node: &Node, left: &Node, search: &Search) -> Run {
        let value = self.eval(left)?;
        if is_nil(&value) {
            return Ok(Value::Bool(false));
        }
        place(node.at, search.found_in(&value, &mut self.budget)).map(Value::Bool)
    }

    fn range(&mut self, from: i64, to: i64) -> Op {
        let size = to.wrapping_sub(from).wrapping_add(1).max(0) as usize;
        self.budget.grow(size)?;
        self.budget.spend(size)?;
        let items = if size == 0 { Vec::new() } else { (from..=to).map(Value::int).collect() };
        Ok(Value::List(List { kind: ListKind::Int, items: Arc::new(items) }))
    }

    fn unary(&mut self, node: &Node, op: Unary, operand: &Node) -> Run {
        match op {
            Unary::Not => self.boolean(node, operand).map(|b| Value::Bool(!b)),
            Unary::Plus => self.eval(operand),
            Unary::Minus => {
                let value = self.eval(operand)?;
                place(node.at, operators::negate(&value))
            }
        }
    }

    fn member(&mut self, node: &Node, base: &Node, property: &Node, optional: bool) -> Run {
        let from = self.eval(base)?;
        if optional && is_nil(&from) {
            return Err(Stop::Chain);
        }
        if let Some(name) = property.as_text() {
            place(node.at, self.budget.spend(1))?;
            return match self.named(&from, name) {
                Ok(value) => Ok(value),
                Err(text) => fail(node.at, text),
            };
        }
        let key = self.eval(property)?;
        place(node.at, self.fetch(&from, &key))
    }

    fn named(&self, from: &Value, name: &Arc<str>) -> Op {
        match from {
            // The commonest case by far.
            Value::Map(map) if map.kind == MapKind::Any => Ok(map.get(name).unwrap_or(Value::Nil)),
            _ => self.fetch(from, &Value::Str(name.clone())).map_err(|text| match builtins::find(name) {
                Some(builtin) if !is_nil(from) => format!("{text}; write `{}(…)`", builtin.name),
                _ => text,
            }),
        }
    }

    /// `from[key]`, or the method of that name.
    pub fn fetch(&self, from: &Value, key: &Value) -> Op {
        if let Value::Str(name) = key
            && let Some(found) = method(from, name, &self.now.zone)
        {
            return Ok(Value::Func(found));
        }
        match (operators::element(from, key)?, operators::missing(from)) {
            (Some(value), _) | (None, Some(value)) => Ok(value),
            (None, None) => Err(match (from, key) {
                (Value::Nil, Value::Str(name)) => format!("nil has no `{name}`: what stands before the dot is missing"),
                (Value::Nil, _) => "nil has no elements".to_owned(),
                (Value::List(_) | Value::Str(_) | Value::Bytes(_), _) => {
                    "there is no element of that number".to_owned()
                }
                (other, Value::Str(name)) => format!("{} has no `{name}`", described(other)),
                (other, _) => format!("{} has no elements", described(other)),
            }),
        }
    }

    fn slice(&mut self, node: &Node, base: &Node, from: Option<&Node>, to: Option<&Node>) -> Run {
        let value = self.eval(base)?;
        let to = match to {
            Some(to) => Some(self.eval(to)?),
            // The length is asked for first.
            None => {
                if !matches!(value, Value::Map(_) | Value::Object(_)) {
                    place(node.at, operators::slice(&value, 0, 0))?;
                }
                None
            }
        };
        let from = match from {
            Some(from) => Some(self.eval(from)?),
            None => None,
        };
        let bound = |bound: Option<Value>, default| bound.map_or(Ok(default), |value| to_int(&value));
        let part = bound(from, 0).and_then(|from| operators::slice(&value, from, bound(to, i64::MAX)?));
        place(node.at, part.and_then(|part| self.tracked(part)))
    }

    fn map(&mut self, node: &Node, pairs: &[(Node, Node)]) -> Run {
        let mut entries = BTreeMap::new();
        for (key, value) in pairs {
            let (name, value) = (self.eval(key)?, self.eval(value)?);
            match name {
                // Of two equal keys the first counts.
                Value::Str(name) => entries.entry(name).or_insert(value),
                other => return fail(node.at, format!("a key is a text, not {}", described(&other))),
            };
        }
        place(node.at, self.budget.grow(pairs.len()))?;
        place(node.at, self.tracked(Value::Map(Map::from_entries(MapKind::Any, entries))))
    }

    fn pointer(&mut self, node: &Node, name: &str) -> Run {
        let Some(scope) = self.scopes.last() else {
            return fail(node.at, "`#` means something only inside a predicate");
        };
        match name {
            "index" => Ok(Value::int(scope.index as i64)),
            "acc" => Ok(scope.accumulator.clone()),
            _ => place(node.at, scope.item()),
        }
    }

    /// A text that was built: within the limit, and paid for.
    pub fn text(&mut self, text: String) -> Op {
        if text.len() > MAX_TEXT {
            return Err("builds a text of more than 1 MiB".to_owned());
        }
        self.budget.read(&text)?;
        Ok(Value::Str(Arc::from(text)))
    }

    /// A list that was built, and pays for its elements.
    pub fn grown_list(&mut self, items: Vec<Value>) -> Op {
        self.budget.grow(items.len())?;
        self.list(items)
    }

    /// A list that was built.
    pub fn list(&mut self, items: Vec<Value>) -> Op {
        self.tracked(Value::list(items))
    }

    /// Notes how deeply a list or map that was built is nested, and refuses what is too deep: values nested without
    /// bound could not be walked, nor dropped.
    pub fn tracked(&mut self, value: Value) -> Op {
        let below = match &value {
            Value::List(list) if !matches!(list.kind, ListKind::Text | ListKind::Int) => {
                list.items.iter().map(|item| self.level(item)).max().unwrap_or(0)
            }
            Value::Map(map) => map.entries().iter().map(|(_, item)| self.level(item)).max().unwrap_or(0),
            Value::Object(_) => Keyed::of(&value)
                .and_then(|keyed| keyed.entries.values().map(|(_, item)| self.level(item)).max())
                .unwrap_or(0),
            _ => 0,
        };
        if below > MAX_LEVELS {
            return Err(format!("builds a value nested deeper than {MAX_LEVELS} levels"));
        }
        if below > 0
            && let Some(address) = address(&value)
        {
            self.levels.insert(address, (below + 1, value.clone()));
        }
        Ok(value)
    }

    fn level(&self, value: &Value) -> usize {
        match address(value) {
            Some(address) => self.levels.get(&address).map_or(1, |(level, _)| *level),
            None => 0,
        }
    }
}

/// Identifies a list or map.
fn address(value: &Value) -> Option<usize> {
    match value {
        Value::List(list) => Some(Arc::as_ptr(&list.items).cast::<()>() as usize),
        Value::Map(map) => Some(map.address()),
        Value::Object(object) => Some(Arc::as_ptr(object).cast::<()>() as usize),
        _ => None,
    }
}
