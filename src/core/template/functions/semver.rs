//! sprig's `semver` and `semverCompare`, by the rules of the Go library behind them. (Image tags have an engine of
//! their own with other rules.)

use std::any::Any;
use std::cmp::Ordering;
use std::sync::{Arc, LazyLock};

use regex::Regex;

use crate::core::value::{CallError, Func, IntKind, Object, Param, Value, pattern};

use super::{Failure, Function, TEXT, function, text_of};

const TYPE: &str = "*semver.Version";

pub(super) static TABLE: &[Function] = &[
    function("semver", &[TEXT], |_, v| Ok(value(Version::parse(text_of(v, 0))?))),
    function("semverCompare", &[TEXT, TEXT], |_, v| {
        let alternatives = constraints(text_of(v, 0))?;
        let version = Version::parse(text_of(v, 1))?;
        Ok(Value::Bool(alternatives.iter().any(|all| all.iter().all(|c| c.accepts(&version)))))
    }),
];

const VERSION: &str =
    r"v?([0-9]+)(\.[0-9]+)?(\.[0-9]+)?(-([0-9A-Za-z\-]+(\.[0-9A-Za-z\-]+)*))?(\+([0-9A-Za-z\-]+(\.[0-9A-Za-z\-]+)*))?";
const LOOSE: &str = r"v?([0-9|x|X|\*]+)(\.[0-9|x|X|\*]+)?(\.[0-9|x|X|\*]+)?(-([0-9A-Za-z\-]+(\.[0-9A-Za-z\-]+)*))?(\+([0-9A-Za-z\-]+(\.[0-9A-Za-z\-]+)*))?";
const OPERATORS: &str = r"=||!=|>|<|>=|=>|<=|=<|~|~>|\^";

static VERSION_PATTERN: LazyLock<Option<Regex>> = LazyLock::new(|| pattern::compile(&format!("^{VERSION}$")).ok());
static CONSTRAINT_PATTERN: LazyLock<Option<Regex>> =
    LazyLock::new(|| pattern::compile(&format!(r"^\s*({OPERATORS})\s*({LOOSE})\s*$")).ok());
static RANGE_PATTERN: LazyLock<Option<Regex>> =
    LazyLock::new(|| pattern::compile(&format!(r"\s*({LOOSE})\s+-\s+({LOOSE})\s*")).ok());
static FIND_PATTERN: LazyLock<Option<Regex>> =
    LazyLock::new(|| pattern::compile(&format!(r"({OPERATORS})\s*({LOOSE})")).ok());
static VALID_PATTERN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern::compile(&format!(r"^(\s*({OPERATORS})\s*({LOOSE})\s*)((?:\s+|,\s*)({OPERATORS})\s*({LOOSE})\s*)*$")).ok()
});

#[derive(Clone, Debug)]
struct Version {
    major: u64,
    minor: u64,
    patch: u64,
    pre: String,
    metadata: String,
    original: String,
}

impl Version {
    fn parse(source: &str) -> Result<Version, Failure> {
        let groups = VERSION_PATTERN.as_ref().and_then(|p| p.captures(source));
        let groups = groups.ok_or_else(|| Failure::from("Invalid Semantic Version"))?;
        let group = |i: usize| groups.get(i).map_or("", |g| g.as_str());
        let number = |i: usize| -> Result<u64, Failure> {
            let digits = group(i).trim_start_matches('.');
            if digits.is_empty() {
                return Ok(0);
            }
            digits.parse().map_err(|_| Failure::from(format!("Error parsing version segment: {digits}")))
        };
        if group(5).split('.').any(|p| p.len() > 1 && p.starts_with('0') && p.bytes().all(|b| b.is_ascii_digit())) {
            return Err("Version segment starts with 0".into());
        }
        Ok(Version {
            major: number(1)?,
            minor: number(2)?,
            patch: number(3)?,
            pre: group(5).to_owned(),
            metadata: group(8).to_owned(),
            original: source.to_owned(),
        })
    }

    fn text(&self) -> String {
        let pre = if self.pre.is_empty() { String::new() } else { format!("-{}", self.pre) };
        let metadata = if self.metadata.is_empty() { String::new() } else { format!("+{}", self.metadata) };
        format!("{}.{}.{}{pre}{metadata}", self.major, self.minor, self.patch)
    }

    fn compare(&self, other: &Version) -> Ordering {
        let numbers = |v: &Version| (v.major, v.minor, v.patch);
        numbers(self).cmp(&numbers(other)).then_with(|| match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => compare_pre(&self.pre, &other.pre),
        })
    }

    /// The next version, other numbers and suffixes reset.
    fn next(&self, part: &str) -> Version {
        let (major, minor, patch) = match part {
            "IncMajor" => (self.major.wrapping_add(1), 0, 0),
            "IncMinor" => (self.major, self.minor.wrapping_add(1), 0),
            _ if !self.pre.is_empty() => (self.major, self.minor, self.patch),
            _ => (self.major, self.minor, self.patch.wrapping_add(1)),
        };
        let mut next =
            Version { major, minor, patch, pre: String::new(), metadata: String::new(), original: String::new() };
        next.original = format!("{}{}", if self.original.starts_with('v') { "v" } else { "" }, next.text());
        next
    }
}

fn compare_pre(a: &str, b: &str) -> Ordering {
    let (a, b): (Vec<&str>, Vec<&str>) = (a.split('.').collect(), b.split('.').collect());
    for i in 0..a.len().max(b.len()) {
        let (x, y) = (a.get(i).copied().unwrap_or(""), b.get(i).copied().unwrap_or(""));
        let order = match (x.parse::<u64>(), y.parse::<u64>()) {
            _ if x == y => Ordering::Equal,
            _ if x.is_empty() => Ordering::Less,
            _ if y.is_empty() => Ordering::Greater,
            (Ok(x), Ok(y)) => x.cmp(&y),
            (Ok(_), Err(_)) => Ordering::Less,
            (Err(_), Ok(_)) => Ordering::Greater,
            (Err(_), Err(_)) => x.cmp(y),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

struct Constraint {
    operator: String,
    version: Version,
    /// Some part is missing or a wildcard.
    open: bool,
    open_minor: bool,
    open_patch: bool,
}

/// Alternatives of conditions that must all hold.
fn constraints(source: &str) -> Result<Vec<Vec<Constraint>>, Failure> {
    let rewritten = without_ranges(source);
    rewritten
        .split("||")
        .map(|part| {
            let improper = || Failure::from(format!("improper constraint: {part}"));
            if !VALID_PATTERN.as_ref().is_some_and(|p| p.is_match(part)) {
                return Err(improper());
            }
            let find = FIND_PATTERN.as_ref().ok_or_else(improper)?;
            find.find_iter(part).map(|m| Constraint::parse(m.as_str())).collect()
        })
        .collect()
}

/// `1 - 2` becomes `>= 1, <= 2`.
fn without_ranges(source: &str) -> String {
    let mut out = source.to_owned();
    let Some(pattern) = RANGE_PATTERN.as_ref() else { return out };
    for groups in pattern.captures_iter(source) {
        let group = |i: usize| groups.get(i).map_or("", |g| g.as_str());
        out = out.replacen(group(0), &format!(">= {}, <= {} ", group(1), group(11)), 1);
    }
    out
}

impl Constraint {
    fn parse(source: &str) -> Result<Constraint, Failure> {
        let improper = || Failure::from(format!("improper constraint: {source}"));
        let groups = CONSTRAINT_PATTERN.as_ref().and_then(|p| p.captures(source)).ok_or_else(improper)?;
        let group = |i: usize| groups.get(i).map_or("", |g| g.as_str());
        let wild = |part: &str| matches!(part.trim_start_matches('.'), "" | "x" | "X" | "*");
        let (mut open, mut open_minor, mut open_patch) = (true, false, false);
        let version = if wild(group(3)) {
            format!("0.0.0{}", group(6))
        } else if wild(group(4)) {
            open_minor = true;
            format!("{}.0.0{}", group(3), group(6))
        } else if wild(group(5)) {
            open_patch = true;
            format!("{}{}.0{}", group(3), group(4), group(6))
        } else {
            open = false;
            group(2).to_owned()
        };
        let version = Version::parse(&version).map_err(|_| Failure::from("constraint Parser Error"))?;
        Ok(Constraint { operator: group(1).to_owned(), version, open, open_minor, open_patch })
    }

    fn accepts(&self, v: &Version) -> bool {
        let c = &self.version;
        // A prerelease is only wanted where one is named.
        let only_releases = !v.pre.is_empty() && c.pre.is_empty();
        match self.operator.as_str() {
            "!=" => self.differs(v, only_releases),
            _ if only_releases => false,
            ">" if !self.open => v.compare(c).is_gt(),
            ">" if v.major != c.major => v.major > c.major,
            ">" if self.open_minor => false,
            ">" if self.open_patch => v.minor > c.minor,
            ">" => v.compare(c).is_gt(),
            "<" => v.compare(c).is_lt(),
            ">=" | "=>" => v.compare(c).is_ge(),
            "<=" | "=<" if !self.open => v.compare(c).is_le(),
            "<=" | "=<" => v.major <= c.major && !(v.major == c.major && v.minor > c.minor && !self.open_minor),
            "^" => self.caret(v),
            "~" | "~>" => self.tilde(v),
            _ if self.open => self.tilde(v),
            _ => v.compare(c).is_eq(),
        }
    }

    fn differs(&self, v: &Version, only_releases: bool) -> bool {
        let c = &self.version;
        if self.open {
            if only_releases {
                return false;
            }
            if c.major != v.major || (c.minor != v.minor && !self.open_minor) {
                return true;
            }
            if self.open_minor {
                return false;
            }
            if c.patch != v.patch && !self.open_patch {
                return true;
            }
            if self.open_patch {
                return (!v.pre.is_empty() || !c.pre.is_empty()) && compare_pre(&v.pre, &c.pre).is_ne();
            }
        }
        v.compare(c).is_ne()
    }

    fn tilde(&self, v: &Version) -> bool {
        let c = &self.version;
        if v.compare(c).is_lt() {
            return false;
        }
        if c.major == 0 && c.minor == 0 && c.patch == 0 && !self.open_minor && !self.open_patch {
            return true;
        }
        v.major == c.major && (v.minor == c.minor || self.open_minor)
    }

    fn caret(&self, v: &Version) -> bool {
        let c = &self.version;
        if v.compare(c).is_lt() {
            return false;
        }
        if c.major > 0 || self.open_minor {
            return v.major == c.major;
        }
        if v.major > 0 {
            return false;
        }
        if c.minor > 0 || self.open_patch {
            return v.minor == c.minor;
        }
        v.minor == 0 && c.patch == v.patch
    }
}

fn value(version: Version) -> Value {
    Value::Object(Arc::new(version))
}

impl Object for Version {
    fn type_name(&self) -> &str {
        TYPE
    }

    fn field(&self, _: &str) -> Option<Value> {
        None
    }

    fn method(&self, name: &str) -> Option<Func> {
        let number = |n: u64| Value::Int(IntKind::Uint64, n as i64);
        let result = match name {
            "Major" => number(self.major),
            "Minor" => number(self.minor),
            "Patch" => number(self.patch),
            "Prerelease" => Value::text(&self.pre),
            "Metadata" => Value::text(&self.metadata),
            "Original" => Value::text(&self.original),
            "String" => Value::text(self.text()),
            "IncMajor" | "IncMinor" | "IncPatch" => value(self.next(name)),
            "Compare" | "Equal" | "LessThan" | "LessThanEqual" | "GreaterThan" | "GreaterThanEqual" => {
                return Some(self.comparison(name));
            }
            _ => return None,
        };
        Some(Func::new(name, &[], move |_| Ok(result.clone())))
    }

    fn text(&self) -> Option<String> {
        Some(Version::text(self))
    }
}

impl Version {
    fn comparison(&self, name: &str) -> Func {
        let (this, wanted) = (self.clone(), name.to_owned());
        Func::new(name, &[Param::Object(TYPE)], move |arguments| {
            let Some(Value::Object(object)) = arguments.first() else {
                return Err(CallError::Failed("nil pointer dereference".to_owned()));
            };
            let any: &dyn Any = object.as_ref();
            let Some(other) = any.downcast_ref::<Version>() else {
                return Err(CallError::Failed("expected a version".to_owned()));
            };
            let order = this.compare(other);
            Ok(match wanted.as_str() {
                "Compare" => Value::int(order as i64),
                "Equal" => Value::Bool(order.is_eq()),
                "LessThan" => Value::Bool(order.is_lt()),
                "LessThanEqual" => Value::Bool(order.is_le()),
                "GreaterThan" => Value::Bool(order.is_gt()),
                _ => Value::Bool(order.is_ge()),
            })
        })
    }
}
