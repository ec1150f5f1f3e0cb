//! The rewritings between checking and running. They are not for speed alone: what they leave out is not evaluated, so
//! that an error there does not happen (`broken and false` is false). Each is done in the dialect's order.

use std::sync::Arc;

use super::ast::{Binary, Call, Kind, Node, print};
use super::fold::{constant_binary, constant_list, constant_unary};
use super::nature::Nature;
use super::reject::Reject;
use super::search::Search;
use crate::core::value::IntKind;

type Rewritten = Result<Node, Reject>;

/// Rewrites a checked tree into the one that runs.
pub(super) fn optimize(root: Node, natures: Vec<Nature>) -> Rewritten {
    let mut optimizer = Optimizer { natures };
    let mut root = rewrite(root, &mut |node| Ok(optimizer.in_list(node)))?;
    loop {
        let mut changed = false;
        root = rewrite(root, &mut |node| optimizer.fold(node, &mut changed))?;
        if !changed {
            break;
        }
    }
    root = rewrite(root, &mut |node| Ok(optimizer.in_range(node)))?;
    for step in [filter_map, filter_len, filter_last, filter_first] {
        root = rewrite(root, &mut |node| Ok(step(node)))?;
    }
    root = rewrite(root, &mut |node| Ok(optimizer.combine(node)))?;
    for step in [sum_range, sum_list, count_any, count_threshold] {
        root = rewrite(root, &mut |node| Ok(step(node)))?;
    }
    optimizer.lower(root)
}

struct Optimizer {
    natures: Vec<Nature>,
}

/// Applies a change to every node, children first. What `filter` maps its elements to is left alone, as upstream does.
fn rewrite(mut node: Node, change: &mut dyn FnMut(Node) -> Rewritten) -> Rewritten {
    // Left chains go in a loop: they may be long.
    let mut spine = Vec::new();
    while let Kind::Binary(op, left, right) = node.kind {
        spine.push((node.id, node.at, node.depth, op, right));
        node = *left;
    }
    node = children(node, change)?;
    node = change(node)?;
    while let Some((id, at, depth, op, right)) = spine.pop() {
        let right = rewrite(*right, change)?;
        node = change(Node { id, at, depth, kind: Kind::Binary(op, Box::new(node), Box::new(right)) })?;
    }
    Ok(node)
}

fn children(node: Node, change: &mut dyn FnMut(Node) -> Rewritten) -> Rewritten {
    let Node { id, at, depth, kind } = node;
    let mut one = |node: Box<Node>| rewrite(*node, change).map(Box::new);
    let kind = match kind {
        Kind::Unary(op, operand) => Kind::Unary(op, one(operand)?),
        Kind::Chain(inner) => Kind::Chain(one(inner)?),
        Kind::Predicate(inner) => Kind::Predicate(one(inner)?),
        Kind::Member { base, property, optional, method } => {
            Kind::Member { base: one(base)?, property: one(property)?, optional, method }
        }
        Kind::Slice { base, from, to } => {
            Kind::Slice { base: one(base)?, from: from.map(&mut one).transpose()?, to: to.map(&mut one).transpose()? }
        }
        Kind::Call { callee, arguments, typed } => {
            let callee = one(callee)?;
            Kind::Call { callee, arguments: all(arguments, change)?, typed }
        }
        Kind::Builtin(mut call) => {
            call.arguments = all(call.arguments, change)?;
            Kind::Builtin(call)
        }
        Kind::Let { name, value, body } => Kind::Let { name, value: one(value)?, body: one(body)? },
        Kind::Sequence(nodes) => Kind::Sequence(all(nodes, change)?),
        Kind::If { ternary, condition, then, otherwise } => {
            Kind::If { ternary, condition: one(condition)?, then: one(then)?, otherwise: one(otherwise)? }
        }
        Kind::List(nodes) => Kind::List(all(nodes, change)?),
        Kind::Sum(nodes) => Kind::Sum(all(nodes, change)?),
        Kind::Map(pairs) => {
            let mut out = Vec::with_capacity(pairs.len());
            for (key, value) in pairs {
                out.push((rewrite(key, change)?, rewrite(value, change)?));
            }
            Kind::Map(out)
        }
        leaf => leaf,
    };
    Ok(Node { id, at, depth, kind })
}

fn all(nodes: Vec<Node>, change: &mut dyn FnMut(Node) -> Rewritten) -> Result<Vec<Node>, Reject> {
    nodes.into_iter().map(|node| rewrite(node, change)).collect()
}

/// The call of a built-in of this name with so many arguments.
fn call<'a>(node: &'a Node, name: &str, arguments: usize) -> Option<&'a Call> {
    match &node.kind {
        Kind::Builtin(call) if call.name == name && call.arguments.len() == arguments => Some(call),
        _ => None,
    }
}

impl Optimizer {
    fn nature(&self, node: &Node) -> Nature {
        match &node.kind {
            Kind::Int(_) => Nature::INT,
            Kind::Float(_) => Nature::Float,
            Kind::Bool(_) => Nature::Bool,
            Kind::Text(_) => Nature::Text,
            Kind::Constant(_) => Nature::List(None),
            _ => self.natures.get(node.id as usize).cloned().unwrap_or(Nature::Unknown),
        }
    }

    /// A node of which nothing is known; like those the original puts in, it has no place.
    fn unknown(&mut self, kind: Kind) -> Node {
        self.natures.push(Nature::Unknown);
        let mut node = Node { id: self.natures.len() as u32 - 1, at: 0, depth: 0, kind };
        node.depth = node.measure();
        node
    }

    /// `x in ['a', 'b']` looks up a key, which a value of another type cannot be.
    fn in_list(&self, mut node: Node) -> Node {
        let Kind::Binary(Binary::In, left, right) = &mut node.kind else { return node };
        let Kind::List(items) = &right.kind else { return node };
        if items.is_empty() {
            return node;
        }
        let integers: Option<_> =
            items.iter().map(|n| if let Kind::Int(n) = n.kind { Some(n) } else { None }).collect();
        if let Some(set) = integers
            && self.nature(left) == Nature::INT
        {
            right.kind = Kind::IntSet(Arc::new(set));
            return node;
        }
        let texts: Option<_> = items.iter().map(|n| n.as_text().cloned()).collect();
        if let Some(set) = texts {
            right.kind = Kind::TextSet(Arc::new(set));
        }
        node
    }

    fn fold(&mut self, node: Node, changed: &mut bool) -> Rewritten {
        let Node { id, at, depth, kind } = node;
        let keep = |kind| Ok(Node { id, at, depth, kind });
        match kind {
            Kind::Unary(op, operand) => match constant_unary(op, &operand.kind) {
                Some(kind) => {
                    *changed = true;
                    keep(kind)
                }
                None => keep(Kind::Unary(op, operand)),
            },
            Kind::Binary(op @ (Binary::And | Binary::Or), left, right) => {
                // The value that decides nothing: the other side is the result, unchecked.
                let neutral = op == Binary::And;
                let constant = |node: &Node| if let Kind::Bool(b) = node.kind { Some(b) } else { None };
                let (a, b) = (constant(&left), constant(&right));
                if a.is_none() && b.is_none() {
                    return keep(Kind::Binary(op, left, right));
                }
                *changed = true;
                let whole = if a == Some(neutral) {
                    right
                } else if b == Some(neutral) {
                    left
                } else {
                    return keep(Kind::Bool(!neutral));
                };
                // It takes over the static kind of what it replaces.
                Ok(Node { id, at, depth: whole.depth, kind: whole.kind })
            }
            Kind::Binary(op, left, right) => match constant_binary(op, &left.kind, &right.kind) {
                Some(Ok(kind)) => {
                    *changed = true;
                    keep(kind)
                }
                Some(Err(text)) => Err(Reject::new(at, text, "")),
                None => keep(Kind::Binary(op, left, right)),
            },
            Kind::List(items) => match constant_list(&items) {
                Some(value) => {
                    *changed = true;
                    keep(Kind::Constant(value))
                }
                None => keep(Kind::List(items)),
            },
            Kind::Builtin(call) => {
                let (call, merged) = self.filter_filter(call);
                *changed |= merged;
                keep(Kind::Builtin(call))
            }
            kind => keep(kind),
        }
    }

    /// `filter(filter(list, a), b)` is `filter(list, a && b)`.
    fn filter_filter(&mut self, mut outer: Box<Call>) -> (Box<Call>, bool) {
        let nested = outer.name == "filter"
            && outer.arguments.first().is_some_and(|first| super::optimize::call(first, "filter", 2).is_some());
        if !nested {
            return (outer, false);
        }
        let predicate = outer.arguments.pop().map(|node| node.kind);
        let inner = outer.arguments.pop().map(|node| node.kind);
        let (Some(Kind::Predicate(second)), Some(Kind::Builtin(mut inner))) = (predicate, inner) else {
            return (outer, false);
        };
        if let Some(Node { kind: Kind::Predicate(first), .. }) = inner.arguments.pop() {
            let both = self.unknown(Kind::Binary(Binary::And, first, second));
            let predicate = self.unknown(Kind::Predicate(Box::new(both)));
            inner.arguments.push(predicate);
        }
        (inner, true)
    }

    /// `n in 1..3` compares, if n is an `int`.
    fn in_range(&mut self, node: Node) -> Node {
        let Kind::Binary(Binary::In, left, right) = &node.kind else { return node };
        let Kind::Binary(Binary::Range, from, to) = &right.kind else { return node };
        if self.nature(left) != Nature::INT || !matches!((&from.kind, &to.kind), (Kind::Int(_), Kind::Int(_))) {
            return node;
        }
        let (left, from, to) = (left.clone(), from.clone(), to.clone());
        let least = self.unknown(Kind::Binary(Binary::MoreOrEqual, left.clone(), from));
        let most = self.unknown(Kind::Binary(Binary::LessOrEqual, left, to));
        Node { kind: Kind::Binary(Binary::And, Box::new(least), Box::new(most)), ..node }
    }

    /// `any(x, a) || any(x, b)` is `any(x, a || b)`; likewise `all` with `&&`, and `none`.
    fn combine(&mut self, node: Node) -> Node {
        let Node { id, at, depth, kind: Kind::Binary(op @ (Binary::And | Binary::Or), left, right) } = node else {
            return node;
        };
        let joined = match (&left.kind, &right.kind) {
            (Kind::Builtin(a), Kind::Builtin(b)) if a.name == b.name => match (a.name, op) {
                ("all", Binary::And) => Some(Binary::And),
                ("any", Binary::Or) | ("none", Binary::And) => Some(Binary::Or),
                _ => None,
            }
            .filter(|_| a.arguments.len() == 2 && print(&a.arguments[0]) == print(&b.arguments[0])),
            _ => None,
        };
        let (Some(joined), Kind::Builtin(a), Kind::Builtin(b)) = (joined, &left.kind, &right.kind) else {
            return Node { id, at, depth, kind: Kind::Binary(op, left, right) };
        };
        let (Kind::Predicate(p), Kind::Predicate(q)) = (&a.arguments[1].kind, &b.arguments[1].kind) else {
            return Node { id, at, depth, kind: Kind::Binary(op, left, right) };
        };
        let both = self.unknown(Kind::Binary(joined, p.clone(), q.clone()));
        let both = self.combine(both);
        let predicate = self.unknown(Kind::Predicate(Box::new(both)));
        let call = Call { arguments: vec![a.arguments[0].clone(), predicate], ..(**a).clone() };
        Node { id, at, depth, kind: Kind::Builtin(Box::new(call)) }
    }

    /// The last step: what the static kinds decide about running.
    fn lower(&self, root: Node) -> Rewritten {
        rewrite(root, &mut |mut node| {
            match node.kind {
                Kind::Binary(op @ (Binary::Equal | Binary::Unequal), left, right) => {
                    let op = match (self.nature(&left), self.nature(&right), op) {
                        (Nature::Int(IntKind::Int), Nature::Int(IntKind::Int), Binary::Equal) => Binary::EqualInt,
                        (Nature::Int(IntKind::Int), Nature::Int(IntKind::Int), _) => Binary::UnequalInt,
                        (Nature::Text, Nature::Text, Binary::Equal) => Binary::EqualText,
                        (Nature::Text, Nature::Text, _) => Binary::UnequalText,
                        _ => op,
                    };
                    node.kind = Kind::Binary(op, left, right);
                }
                Kind::Binary(Binary::Matches, left, right) => {
                    node.kind = match right.as_text() {
                        Some(text) => match Search::compile(text) {
                            Ok(search) => Kind::Matches(left, search),
                            Err(text) => return Err(Reject::new(node.at, text, "patterns follow RE2")),
                        },
                        None => Kind::Binary(Binary::Matches, left, right),
                    };
                }
                Kind::Call { callee, arguments, .. } => {
                    let typed = matches!(self.nature(&callee), Nature::Func(f) if !f.builtin && f.typed());
                    node.kind = Kind::Call { callee, arguments, typed };
                }
                Kind::Pointer(ref name) if !matches!(&**name, "" | "index" | "acc") => {
                    return Err(Reject::new(
                        node.at,
                        format!("there is no `#{name}`"),
                        "write `#`, `#index` or `#acc`",
                    ));
                }
                Kind::Builtin(ref mut call) => {
                    if let Some(map) = call.map.take() {
                        call.map = Some(self.lower(map)?);
                    }
                }
                _ => {}
            }
            Ok(node)
        })
    }
}

/// `map(filter(list, p), f)` does both in one pass.
fn filter_map(node: Node) -> Node {
    let Some(outer) = call(&node, "map", 2) else { return node };
    let Some(inner) = call(&outer.arguments[0], "filter", 2) else { return node };
    let Kind::Predicate(body) = &outer.arguments[1].kind else { return node };
    if inner.map.is_some() || uses_index(body) {
        return node;
    }
    let call = Call { map: Some((**body).clone()), ..inner.clone() };
    Node { kind: Kind::Builtin(Box::new(call)), ..node }
}

fn uses_index(node: &Node) -> bool {
    let mut open = vec![node];
    while let Some(node) = open.pop() {
        if matches!(&node.kind, Kind::Pointer(name) if **name == *"index") {
            return true;
        }
        open.extend(node.children());
    }
    false
}

/// `len(filter(…))` counts.
fn filter_len(node: Node) -> Node {
    let Some(inner) = call(&node, "len", 1).and_then(|outer| call(&outer.arguments[0], "filter", 2)) else {
        return node;
    };
    let call = Call { name: "count", map: None, ..inner.clone() };
    Node { kind: Kind::Builtin(Box::new(call)), ..node }
}

/// `filter(…)[-1]` and `last(filter(…))` search from the end.
fn filter_last(node: Node) -> Node {
    first_or_last(node, "last", "findLast", -1)
}

/// `filter(…)[0]` and `first(filter(…))` stop at the first.
fn filter_first(node: Node) -> Node {
    first_or_last(node, "first", "find", 0)
}

fn first_or_last(node: Node, function: &str, name: &'static str, index: i64) -> Node {
    let (filter, throws) = match &node.kind {
        Kind::Member { base, property, optional: false, .. } if matches!(property.kind, Kind::Int(n) if n == index) => {
            (call(base, "filter", 2), true)
        }
        Kind::Builtin(outer) if outer.name == function && outer.arguments.len() == 1 => {
            (call(&outer.arguments[0], "filter", 2), false)
        }
        _ => (None, false),
    };
    let Some(filter) = filter else { return node };
    let call = Call { name, throws, ..filter.clone() };
    Node { kind: Kind::Builtin(Box::new(call)), ..node }
}

fn bounds(node: &Node) -> Option<(i64, i64)> {
    match &node.kind {
        Kind::Binary(Binary::Range, from, to) => match (&from.kind, &to.kind) {
            (Kind::Int(from), Kind::Int(to)) if to >= from => Some((*from, *to)),
            _ => None,
        },
        _ => None,
    }
}

/// `sum(1..n)` and `reduce(1..n, # + #acc)` are known.
fn sum_range(node: Node) -> Node {
    let Kind::Builtin(call) = &node.kind else { return node };
    let Some((from, to)) = call.arguments.first().and_then(bounds) else { return node };
    let count = to.wrapping_sub(from).wrapping_add(1);
    let sum = count.wrapping_mul(from.wrapping_add(to)) / 2;
    let pointer = |node: &Node, wanted: &str| matches!(&node.kind, Kind::Pointer(name) if **name == *wanted);
    let body = call.arguments.get(1).and_then(|n| if let Kind::Predicate(body) = &n.kind { Some(body) } else { None });
    let known = match (call.name, body.map(|body| (&body.kind, body))) {
        ("sum", None) => Some(sum),
        ("sum", Some((_, body))) if pointer(body, "") => Some(sum),
        ("sum", Some((Kind::Binary(op, left, right), _))) => match (*op, &left.kind, &right.kind) {
            (Binary::Multiply, _, Kind::Int(k)) if pointer(left, "") => Some(k.wrapping_mul(sum)),
            (Binary::Multiply, Kind::Int(k), _) if pointer(right, "") => Some(k.wrapping_mul(sum)),
            (Binary::Add, _, Kind::Int(k)) if pointer(left, "") => Some(sum.wrapping_add(count.wrapping_mul(*k))),
            (Binary::Add, Kind::Int(k), _) if pointer(right, "") => Some(sum.wrapping_add(count.wrapping_mul(*k))),
            (Binary::Subtract, _, Kind::Int(k)) if pointer(left, "") => Some(sum.wrapping_sub(count.wrapping_mul(*k))),
            (Binary::Subtract, Kind::Int(k), _) if pointer(right, "") => Some(count.wrapping_mul(*k).wrapping_sub(sum)),
            _ => None,
        },
        ("reduce", Some((Kind::Binary(Binary::Add, left, right), _)))
            if pointer(left, "") && pointer(right, "acc") || pointer(left, "acc") && pointer(right, "") =>
        {
            match call.arguments.get(2).map(|start| &start.kind) {
                None => Some(sum),
                Some(Kind::Int(start)) => Some(start.wrapping_add(sum)),
                Some(_) => None,
            }
        }
        _ => None,
    };
    match known {
        Some(n) => Node { kind: Kind::Int(n), ..node },
        None => node,
    }
}

/// `sum([a, b, c])` adds from the right, without a zero: texts are joined.
fn sum_list(node: Node) -> Node {
    let Some(outer) = call(&node, "sum", 1) else { return node };
    match &outer.arguments[0].kind {
        Kind::List(items) if items.len() >= 2 => Node { kind: Kind::Sum(items.clone()), ..node },
        _ => node,
    }
}

fn counted(node: &Node) -> Option<(Binary, &Call, i64)> {
    match &node.kind {
        Kind::Binary(op, left, right) => match (call(left, "count", 2), &right.kind) {
            (Some(call), Kind::Int(n)) => Some((*op, call, *n)),
            _ => None,
        },
        _ => None,
    }
}

/// `count(…) > 0` is `any(…)`.
fn count_any(node: Node) -> Node {
    match counted(&node) {
        Some((Binary::More, call, 0) | (Binary::MoreOrEqual, call, 1)) => {
            let call = Call { name: "any", ..call.clone() };
            Node { kind: Kind::Builtin(Box::new(call)), ..node }
        }
        _ => node,
    }
}

/// `count(…) > n` needs to count no further than decides it.
fn count_threshold(mut node: Node) -> Node {
    let threshold = match counted(&node) {
        Some((Binary::More | Binary::LessOrEqual, _, n)) if n >= 0 => n.wrapping_add(1),
        Some((Binary::MoreOrEqual | Binary::Less, _, n)) if n >= 0 => n,
        _ => return node,
    };
    if threshold > 1
        && let Kind::Binary(_, left, _) = &mut node.kind
        && let Kind::Builtin(call) = &mut left.kind
    {
        call.threshold = Some(threshold);
    }
    node
}
