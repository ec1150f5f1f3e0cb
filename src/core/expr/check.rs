//! What must already fail when compiling (EXP-01): constants of kinds that do not go together. Parts whose kinds depend
//! on variables are let through, as is everything given to a function that is only known when running.

use std::sync::Arc;

use super::ast::{Binary, Call, Kind, Node, Unary, print};
use super::builtins;
use super::nature::{Nature, Signature, method};
use super::reject::Reject;
use super::signature;
use crate::core::problem::nearest;

type Checked<T = Nature> = Result<T, Reject>;

/// Checks a tree; gives the static kinds of its nodes by id.
pub(super) fn check(root: &Node, ids: u32) -> Checked<Vec<Nature>> {
    let natures = vec![Nature::Unknown; ids as usize];
    let mut checker = Checker { natures, variables: Vec::new(), scopes: Vec::new() };
    checker.visit(root)?;
    Ok(checker.natures)
}

pub(super) struct Checker {
    natures: Vec<Nature>,
    variables: Vec<(Arc<str>, Nature)>,
    scopes: Vec<Scope>,
}

/// What `#` means inside a predicate.
struct Scope {
    collection: Nature,
    index: bool,
    accumulator: bool,
}

impl Checker {
    pub(super) fn visit(&mut self, node: &Node) -> Checked {
        // Left chains of operators go in a loop: they may be long.
        let mut spine = Vec::new();
        let mut first = node;
        while let Kind::Binary(op, left, right) = &first.kind {
            spine.push((first, *op, left.as_ref(), right.as_ref()));
            first = left;
        }
        let mut nature = self.single(first)?;
        self.natures[first.id as usize] = nature.clone();
        for (node, op, left, right) in spine.into_iter().rev() {
            let right_nature = self.visit(right)?;
            nature = binary(node, op, (left, &nature), (right, &right_nature))?;
            self.natures[node.id as usize] = nature.clone();
        }
        Ok(nature)
    }

    fn single(&mut self, node: &Node) -> Checked {
        Ok(match &node.kind {
            Kind::Nil => Nature::Nil,
            Kind::Bool(_) => Nature::Bool,
            Kind::Int(_) => Nature::INT,
            Kind::Float(_) => Nature::Float,
            Kind::Text(_) => Nature::Text,
            Kind::Bytes(_) => Nature::Bytes,
            Kind::Name(name) => self.name(name),
            Kind::Unary(op, operand) => return self.unary(node, *op, operand),
            Kind::Chain(inner) => self.visit(inner)?,
            Kind::Member { base, property, method, .. } => return self.member(node, base, property, *method),
            Kind::Slice { base, from, to } => return self.slice(node, base, [from, to]),
            Kind::Call { callee, arguments, .. } => return self.call(node, callee, arguments),
            Kind::Builtin(call) => return self.builtin(node, call),
            Kind::Predicate(body) => self.visit(body)?,
            Kind::Pointer(name) => return self.pointer(node, name),
            Kind::Let { name, value, body } => return self.declaration(node, name, value, body),
            Kind::Sequence(nodes) | Kind::Sum(nodes) => {
                let mut last = Nature::Unknown;
                for node in nodes {
                    last = self.visit(node)?;
                }
                last
            }
            Kind::If { condition, then, otherwise, .. } => return self.branch(condition, then, otherwise),
            Kind::List(nodes) => return self.list(nodes),
            Kind::Map(pairs) => {
                for (key, value) in pairs {
                    self.visit(key)?;
                    self.visit(value)?;
                }
                Nature::Map
            }
            // Made after checking only, or seen by `visit`.
            Kind::Constant(_) | Kind::TextSet(_) | Kind::IntSet(_) | Kind::Matches(..) | Kind::Binary(..) => {
                Nature::Unknown
            }
        })
    }

    fn name(&self, name: &Arc<str>) -> Nature {
        if let Some((_, nature)) = self.variables.iter().rev().find(|(known, _)| known == name) {
            return nature.clone();
        }
        match builtins::find(name) {
            // The name of a built-in without a call has the kind of a function, although it is nil when run.
            Some(builtin) => Nature::Func(Arc::new(Signature {
                name: builtin.name.to_owned(),
                params: Vec::new(),
                out: Nature::Any,
                results: 1,
                builtin: true,
            })),
            None => Nature::Unknown,
        }
    }

    fn unary(&mut self, node: &Node, op: Unary, operand: &Node) -> Checked {
        let nature = self.visit(operand)?;
        match op {
            Unary::Not if nature == Nature::Bool || nature.unknown() => Ok(Nature::Bool),
            Unary::Minus | Unary::Plus if nature.number() => Ok(nature),
            Unary::Minus | Unary::Plus if nature.unknown() => Ok(Nature::Unknown),
            Unary::Not => {
                Err(Reject::new(node.at, format!("`not` needs a boolean, not {}", nature.word()), "compare it first"))
            }
            _ => Err(Reject::new(node.at, format!("a sign needs a number, not {}", nature.word()), "")),
        }
    }

    fn member(&mut self, node: &Node, base: &Node, property: &Node, called: bool) -> Checked {
        if matches!(&base.kind, Kind::Name(name) if **name == *"$env") {
            return Ok(Nature::Unknown);
        }
        let nature = self.visit(base)?;
        let key = self.visit(property)?;
        if nature.unknown() {
            return Ok(Nature::Unknown);
        }
        if let Some(name) = property.as_text() {
            if nature == Nature::Nil {
                return Err(Reject::new(node.at, format!("nil has no field `{name}`"), ""));
            }
            if let Some(signature) = method(&nature, name) {
                return Ok(Nature::Func(Arc::new(signature)));
            }
        }
        match &nature {
            Nature::Map if !key.unknown() && key != Nature::Text => Err(Reject::new(
                property.at,
                format!("the keys of this map are texts, not {}", key.word()),
                "write the key in quotes",
            )),
            Nature::Map | Nature::Pairs | Nature::Groups => Ok(nature.element()),
            list if list.array() => {
                if key.integer() || key.unknown() {
                    return Ok(list.element());
                }
                Err(Reject::new(
                    property.at,
                    format!("elements of a list are numbered, not named by {}", key.word()),
                    property.as_text().map_or(String::new(), |name| call_instead(base, name, called)),
                ))
            }
            _ => {
                let what = match property.as_text() {
                    Some(name) if called => format!("{} has no method `{name}`", nature.word()),
                    Some(name) => format!("{} has no field `{name}`", nature.word()),
                    None => format!("{} has no elements", nature.word()),
                };
                let hint = property.as_text().map_or(String::new(), |name| call_instead(base, name, called));
                Err(Reject::new(node.at, what, hint))
            }
        }
    }

    fn slice(&mut self, node: &Node, base: &Node, bounds: [&Option<Box<Node>>; 2]) -> Checked {
        let nature = self.visit(base)?;
        if nature.unknown() {
            return Ok(Nature::Unknown);
        }
        if nature != Nature::Text && !nature.array() {
            return Err(Reject::new(node.at, format!("only texts and lists have parts, not {}", nature.word()), ""));
        }
        for bound in bounds.into_iter().flatten() {
            let nature = self.visit(bound)?;
            if !nature.integer() && !nature.unknown() {
                return Err(Reject::new(bound.at, format!("a bound is an integer, not {}", nature.word()), ""));
            }
        }
        Ok(nature)
    }

    fn call(&mut self, node: &Node, callee: &Node, arguments: &[Node]) -> Checked {
        if matches!(&callee.kind, Kind::Name(name) if **name == *"$env") {
            return Err(Reject::new(node.at, "`$env` cannot be called", ""));
        }
        let nature = self.visit(callee)?;
        match &nature {
            // Arguments of a function that is only known when running are not looked at.
            nature if nature.unknown() => Ok(Nature::Unknown),
            Nature::Func(signature) if signature.builtin => match builtins::find(&signature.name) {
                Some(builtin) if builtin.shape == builtins::Shape::Plain => {
                    signature::check_builtin(self, node, builtin.name, arguments)
                }
                _ => Ok(Nature::Unknown),
            },
            Nature::Func(signature) if signature.results > 2 => {
                Err(Reject::new(node.at, format!("`{}` gives more than one value", signature.name), ""))
            }
            Nature::Func(signature) => {
                signature::check_arguments(self, node, &signature.name, &signature.params, arguments)?;
                Ok(signature.out.clone())
            }
            other => Err(Reject::new(node.at, format!("{} cannot be called", other.word()), "")),
        }
    }

    fn builtin(&mut self, node: &Node, call: &Call) -> Checked {
        let Some(builtin) = builtins::find(call.name) else { return Ok(Nature::Unknown) };
        match builtin.shape {
            builtins::Shape::Plain => signature::check_builtin(self, node, call.name, &call.arguments),
            _ => self.with_predicate(call),
        }
    }

    fn with_predicate(&mut self, call: &Call) -> Checked {
        let [list, rest @ ..] = call.arguments.as_slice() else { return Ok(Nature::Unknown) };
        let collection = self.visit(list)?;
        if !collection.array() && !collection.unknown() {
            let text = format!("`{}` takes a list, not {}", call.name, collection.word());
            return Err(Reject::new(list.at, text, ""));
        }
        let known = !collection.unknown();
        let element = if known { collection.element() } else { Nature::Unknown };
        let Some(predicate) = rest.first() else {
            return Ok(if call.name == "count" { Nature::INT } else { element });
        };
        self.scopes.push(Scope {
            collection: collection.clone(),
            index: matches!(call.name, "map" | "reduce"),
            accumulator: call.name == "reduce",
        });
        let body = self.visit(predicate);
        self.scopes.pop();
        let body = body?;
        if let Some(more) = rest.get(1) {
            let order = self.visit(more)?;
            if call.name == "sortBy" && order != Nature::Text && !order.unknown() {
                return Err(Reject::new(
                    more.at,
                    format!("the order is a text, not {}", order.word()),
                    "'asc' or 'desc'",
                ));
            }
        }
        if body == Nature::Nil {
            return Err(Reject::new(predicate.at, "the predicate gives nothing", ""));
        }
        let boolean = !matches!(call.name, "map" | "sum" | "groupBy" | "sortBy" | "reduce");
        if boolean && body != Nature::Bool && !body.unknown() {
            let text = format!("the predicate of `{}` gives {} instead of a boolean", call.name, body.word());
            return Err(Reject::new(predicate.at, text, "compare it with something"));
        }
        Ok(match call.name {
            "all" | "none" | "any" | "one" => Nature::Bool,
            "filter" if known => Nature::list_of(element),
            "filter" => Nature::List(None),
            "map" => Nature::list_of(body),
            "count" | "findIndex" | "findLastIndex" => Nature::INT,
            "sum" => body.erased(),
            "groupBy" => Nature::Groups,
            "sortBy" => collection,
            "reduce" => body,
            // find, findLast
            _ => element,
        })
    }

    fn pointer(&mut self, node: &Node, name: &str) -> Checked {
        let Some(scope) = self.scopes.last() else {
            return Err(Reject::new(node.at, "`#` means something only inside a predicate", ""));
        };
        match name {
            "" if scope.collection.unknown() => Ok(Nature::Unknown),
            "" => Ok(scope.collection.element()),
            "index" if scope.index => Ok(Nature::INT),
            "acc" if scope.accumulator => Ok(Nature::Unknown),
            "index" => Err(Reject::new(node.at, "`#index` exists only inside `map` and `reduce`", "")),
            "acc" => Err(Reject::new(node.at, "`#acc` exists only inside `reduce`", "")),
            _ => Err(Reject::new(node.at, format!("there is no `#{name}`"), "write `#`, `#index` or `#acc`")),
        }
    }

    fn declaration(&mut self, node: &Node, name: &Arc<str>, value: &Node, body: &Node) -> Checked {
        if builtins::find(name).is_some() || self.variables.iter().any(|(known, _)| known == name) {
            return Err(Reject::new(node.at, format!("`{name}` exists already"), "choose another name"));
        }
        let nature = self.visit(value)?;
        self.variables.push((name.clone(), nature));
        let nature = self.visit(body);
        self.variables.pop();
        nature
    }

    fn branch(&mut self, condition: &Node, then: &Node, otherwise: &Node) -> Checked {
        let nature = self.visit(condition)?;
        if nature != Nature::Bool && !nature.unknown() {
            let text = format!("a condition is a boolean, not {}", nature.word());
            return Err(Reject::new(condition.at, text, "compare it first"));
        }
        let (a, b) = (self.visit(then)?, self.visit(otherwise)?);
        Ok(match (&a, &b) {
            (Nature::Nil, _) => b,
            (_, Nature::Nil) => a,
            (Nature::List(_), Nature::List(_)) => {
                let (x, y) = (a.element(), b.element());
                if x.assignable(&y) && y.assignable(&x) { a } else { Nature::List(None) }
            }
            _ if a.assignable(&b) => a,
            _ => Nature::Unknown,
        })
    }

    fn list(&mut self, nodes: &[Node]) -> Checked {
        let mut last: Option<Nature> = None;
        let mut same = true;
        for node in nodes {
            let nature = self.visit(node)?;
            same &= last.as_ref().is_none_or(|last| last.kind() == nature.kind());
            last = Some(nature);
        }
        Ok(if same { Nature::list_of(last.unwrap_or(Nature::Unknown)) } else { Nature::List(None) })
    }
}

/// `images.join(',')`: what looks like a method of a list or text is a function here.
fn call_instead(base: &Node, name: &str, called: bool) -> String {
    match builtins::find(name) {
        Some(builtin) if called => format!("write `{}({}, …)`", builtin.name, print(base)),
        Some(builtin) => format!("write `{}({})`", builtin.name, print(base)),
        None => nearest(name, builtins::names()).map_or(String::new(), |near| format!("did you mean `{near}(…)`?")),
    }
}

fn binary(node: &Node, op: Binary, left: (&Node, &Nature), right: (&Node, &Nature)) -> Checked {
    use Nature as N;
    let (l, r) = (left.1, right.1);
    let both = |nature: &Nature| l == nature && r == nature;
    let numbers = l.number() && r.number();
    let ordered = |n: &Nature| n.number() || matches!(n, N::Text | N::Time | N::Duration);
    let found = match op {
        Binary::Equal | Binary::Unequal => l.comparable(r).then_some(N::Bool),
        Binary::Or | Binary::And => (both(&N::Bool) || l.fits(r, |n| *n == N::Bool)).then_some(N::Bool),
        Binary::Less | Binary::More | Binary::LessOrEqual | Binary::MoreOrEqual => {
            (numbers || both(&N::Text) || both(&N::Time) || both(&N::Duration) || l.fits(r, ordered)).then_some(N::Bool)
        }
        Binary::Subtract => match (l, r) {
            _ if numbers => Some(l.promote(r)),
            (N::Time, N::Time) | (N::Duration, N::Duration) => Some(N::Duration),
            (N::Time, N::Duration) => Some(N::Time),
            _ => l.fits(r, |n| n.number() || matches!(n, N::Time | N::Duration)).then_some(N::Unknown),
        },
        Binary::Multiply => match (l, r) {
            _ if numbers => Some(l.promote(r)),
            (N::Duration, N::Duration) => Some(N::Duration),
            (N::Duration, n) | (n, N::Duration) if n.number() => Some(N::Duration),
            _ => l.fits(r, |n| n.number() || *n == N::Duration).then_some(N::Unknown),
        },
        Binary::Add => match (l, r) {
            _ if numbers => Some(l.promote(r)),
            (N::Text, N::Text) => Some(N::Text),
            (N::Time, N::Duration) | (N::Duration, N::Time) => Some(N::Time),
            (N::Duration, N::Duration) => Some(N::Duration),
            _ => l.fits(r, ordered).then_some(N::Unknown),
        },
        Binary::Divide | Binary::Power => (numbers || l.fits(r, N::number)).then_some(N::Float),
        Binary::Modulo => (l.integer() && r.integer() || l.fits(r, N::integer)).then_some(N::INT),
        Binary::Range => (l.integer() && r.integer() || l.fits(r, N::integer)).then(|| N::list_of(N::INT)),
        Binary::In => membership(l, r).then_some(N::Bool),
        Binary::Matches if *l == N::Bytes && *r == N::Text => Some(N::Bool),
        Binary::Matches | Binary::Contains | Binary::StartsWith | Binary::EndsWith => {
            (both(&N::Text) || l.fits(r, |n| *n == N::Text)).then_some(N::Bool)
        }
        Binary::Otherwise => Some(match (l, r) {
            (N::Nil, _) => r.clone(),
            (_, N::Nil) => l.clone(),
            _ if r.assignable(l) => l.clone(),
            _ => N::Unknown,
        }),
        Binary::EqualInt | Binary::EqualText | Binary::UnequalInt | Binary::UnequalText => Some(N::Bool),
    };
    found.ok_or_else(|| {
        let text = format!("`{}` does not go between {} and {}", op.word(), l.word(), r.word());
        Reject::new(node.at, text, advice(op, left, right))
    })
}

fn membership(l: &Nature, r: &Nature) -> bool {
    match r {
        Nature::Time | Nature::Zone => *l == Nature::Text || l.unknown(),
        Nature::Map => l.unknown() || *l == Nature::Text,
        Nature::Pairs | Nature::Groups => true,
        r if r.array() => l.comparable(&r.element()),
        Nature::Text => l.unknown(),
        r => r.unknown(),
    }
}

/// What was probably meant by two kinds that do not go together.
fn advice(op: Binary, left: (&Node, &Nature), right: (&Node, &Nature)) -> String {
    if let Kind::Unary(Unary::Not, operand) = &left.0.kind {
        let (operand, right) = (print(operand), print(right.0));
        return match op {
            Binary::Equal => format!("write `{operand} != {right}`"),
            Binary::Unequal => format!("write `{operand} == {right}`"),
            Binary::In | Binary::Contains | Binary::Matches | Binary::StartsWith | Binary::EndsWith => {
                format!("write `{operand} not {} {right}`", op.word())
            }
            _ => format!("write `not ({operand} {} {right})`", op.word()),
        };
    }
    match (op, left.1, right.1) {
        (Binary::And | Binary::Or, ..) => "both sides must be boolean: compare them with something".to_owned(),
        (Binary::In, Nature::Text, Nature::Text) => {
            format!("write `{} contains {}`", print(right.0), print(left.0))
        }
        (Binary::Contains, l, _) if l.array() => format!("write `{} in {}`", print(right.0), print(left.0)),
        (_, Nature::Text, n) if n.number() => "write the number without quotes, or convert with int(…)".to_owned(),
        (_, n, Nature::Text) if n.number() => "write the number without quotes, or convert with string(…)".to_owned(),
        _ => String::new(),
    }
}
