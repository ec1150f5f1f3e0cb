//! Go's fmt: `print`, `println` and `printf` with its verbs, flags, widths and complaints (`%!d(string=a)`).

mod numbers;

use crate::core::value::time::{Moment, month_name};
use crate::core::value::{IntKind, Value, display, type_name};

use super::text::{lossy, quote};

/// Largest width or precision, as in Go.
const MAX_NUMBER: usize = 1_000_000;
/// Deepest nesting that is printed.
const DEPTH: usize = 100;
/// Longest result, in bytes; what is longer would be refused anyway.
const LENGTH: usize = 4 << 20;

/// `fmt.Sprint`: a blank between two operands where neither is text.
pub(super) fn print(values: &[Value]) -> String {
    let mut out = String::new();
    let mut after_text = false;
    for (i, value) in values.iter().enumerate() {
        let is_text = matches!(value, Value::Str(_));
        if i > 0 && !is_text && !after_text {
            out.push(' ');
        }
        out.push_str(&display(value));
        after_text = is_text;
    }
    out
}

/// `fmt.Sprintln`.
pub(super) fn println(values: &[Value]) -> String {
    let words: Vec<String> = values.iter().map(display).collect();
    words.join(" ") + "\n"
}

/// `fmt.Sprintf`.
pub(super) fn printf(format: &str, arguments: &[Value]) -> String {
    let mut printer = Printer::default();
    printer.run(format, arguments);
    printer.out
}

#[derive(Clone, Copy, Default)]
struct Flags {
    width: Option<usize>,
    precision: Option<usize>,
    plus: bool,
    minus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    /// `%+v`
    plus_v: bool,
    /// `%#v`
    sharp_v: bool,
}

impl Flags {
    /// The flags at the start of the text, and the text after them.
    fn read(text: &str) -> (Flags, &str) {
        let mut flags = Flags::default();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            match c {
                '#' => flags.sharp = true,
                '0' => flags.zero = true,
                '+' => flags.plus = true,
                '-' => flags.minus = true,
                ' ' => flags.space = true,
                _ => break,
            }
            rest = &rest[1..];
        }
        (flags, rest)
    }
}

#[derive(Default)]
struct Printer {
    out: String,
    flags: Flags,
    /// Inside a complaint, where methods are not called.
    complaining: bool,
    reordered: bool,
    good_index: bool,
}

impl Printer {
    fn run(&mut self, format: &str, arguments: &[Value]) {
        let mut next = 0;
        let mut rest = format;
        while let Some(at) = rest.find('%') {
            self.out.push_str(&rest[..at]);
            rest = self.verb(&rest[at + 1..], arguments, &mut next);
        }
        self.out.push_str(rest);
        if !self.reordered && next < arguments.len() {
            self.flags = Flags::default();
            self.out.push_str("%!(EXTRA ");
            for (i, value) in arguments[next..].iter().enumerate() {
                if i > 0 {
                    self.out.push_str(", ");
                }
                if value.is_nil() {
                    self.out.push_str("<nil>");
                } else {
                    self.out.push_str(&format!("{}=", type_name(value)));
                    self.value(value, 'v', 0);
                }
            }
            self.out.push(')');
        }
    }

    /// One verb, `rest` standing behind its percent sign; returns what follows.
    fn verb<'a>(&mut self, rest: &'a str, arguments: &[Value], next: &mut usize) -> &'a str {
        self.good_index = true;
        let (flags, rest) = Flags::read(rest);
        self.flags = flags;
        let (mut rest, mut after_index) = self.index(rest, arguments.len(), next);
        if let Some(tail) = rest.strip_prefix('*') {
            rest = tail;
            match integer_argument(arguments, next) {
                Some(width) => {
                    self.flags.width = Some(width.unsigned_abs() as usize);
                    if width < 0 {
                        self.flags.minus = true;
                        self.flags.zero = false;
                    }
                }
                None => self.out.push_str("%!(BADWIDTH)"),
            }
            after_index = false;
        } else {
            let (width, tail) = number(rest);
            rest = tail;
            self.flags.width = width;
            if after_index && width.is_some() {
                self.good_index = false;
            }
        }
        if rest.len() > 1
            && let Some(tail) = rest.strip_prefix('.')
        {
            if after_index {
                self.good_index = false;
            }
            (rest, after_index) = self.index(tail, arguments.len(), next);
            if let Some(tail) = rest.strip_prefix('*') {
                rest = tail;
                match integer_argument(arguments, next) {
                    Some(precision) if precision >= 0 => self.flags.precision = Some(precision as usize),
                    Some(_) | None => self.out.push_str("%!(BADPREC)"),
                }
                after_index = false;
            } else {
                let (precision, tail) = number(rest);
                rest = tail;
                self.flags.precision = Some(precision.unwrap_or(0));
            }
        }
        if !after_index {
            (rest, _) = self.index(rest, arguments.len(), next);
        }
        let Some(verb) = rest.chars().next() else {
            self.out.push_str("%!(NOVERB)");
            return rest;
        };
        rest = &rest[verb.len_utf8()..];
        if verb == '%' {
            self.out.push('%');
        } else if !self.good_index {
            self.out.push_str(&format!("%!{verb}(BADINDEX)"));
        } else if let Some(value) = arguments.get(*next) {
            *next += 1;
            if matches!(verb, 'v' | 'w') {
                self.flags.sharp_v = std::mem::take(&mut self.flags.sharp);
                self.flags.plus_v = std::mem::take(&mut self.flags.plus);
            }
            self.argument(value, verb);
        } else {
            self.out.push_str(&format!("%!{verb}(MISSING)"));
        }
        rest
    }

    /// An explicit argument index `[n]`.
    fn index<'a>(&mut self, rest: &'a str, count: usize, next: &mut usize) -> (&'a str, bool) {
        let Some(inside) = rest.strip_prefix('[') else { return (rest, false) };
        self.reordered = true;
        let Some(close) = inside.find(']').filter(|_| rest.len() >= 3) else {
            self.good_index = false;
            return (inside, false);
        };
        let after = &inside[close + 1..];
        match number(&inside[..close]) {
            (Some(n), "") => {
                if n >= 1 && n <= count {
                    *next = n - 1;
                } else {
                    self.good_index = false;
                }
                (after, true)
            }
            _ => {
                self.good_index = false;
                (after, false)
            }
        }
    }

    fn argument(&mut self, value: &Value, verb: char) {
        if value.is_nil() {
            match verb {
                'T' | 'v' => self.pad("<nil>"),
                _ => self.out.push_str(&format!("%!{verb}(<nil>)")),
            }
            return;
        }
        if verb == 'T' {
            self.text(&type_name(value));
            return;
        }
        // `%w` wants an error and says so about the whole value; `%p` wants something with an address.
        let composite = matches!(value, Value::List(_) | Value::Map(_) | Value::Object(_));
        if (verb == 'w' && composite) || (matches!(verb, 'w' | 'p') && matches!(value, Value::Time(_))) {
            self.complain(value, verb);
            return;
        }
        self.value(value, verb, 0);
    }

    fn value(&mut self, value: &Value, verb: char, depth: usize) {
        if depth > DEPTH || self.out.len() > LENGTH {
            if !self.out.ends_with("...") {
                self.out.push_str("...");
            }
            return;
        }
        if let Some(text) = own_text(value)
            && !self.complaining
            && !self.flags.sharp_v
            && matches!(verb, 'v' | 's' | 'x' | 'X' | 'q')
        {
            self.string(value, &text, verb);
            return;
        }
        match value {
            Value::Nil if self.flags.sharp_v => self.out.push_str("interface {}(nil)"),
            Value::Nil => self.out.push_str("<nil>"),
            Value::Bool(b) => match verb {
                't' | 'v' => self.pad(if *b { "true" } else { "false" }),
                _ => self.complain(value, verb),
            },
            Value::Int(kind, n) => self.integer(value, *n, !kind.unsigned(), verb),
            Value::Duration(n) => self.integer(value, *n, true, verb),
            Value::Float(f) => self.float(value, *f, verb),
            Value::Complex(re, im) => self.complex(value, *re, *im, verb),
            Value::Str(text) => self.string(value, text, verb),
            Value::Bytes(bytes) => self.bytes(bytes, verb, depth),
            Value::List(list) if self.flags.sharp_v && list.is_nil() => {
                self.out.push_str(&(type_name(value) + "(nil)"));
            }
            Value::List(list) => {
                let (open, between, close) =
                    if self.flags.sharp_v { (type_name(value) + "{", ", ", '}') } else { ("[".into(), " ", ']') };
                self.out.push_str(&open);
                for (i, item) in list.items.iter().enumerate() {
                    if i > 0 {
                        self.out.push_str(between);
                    }
                    self.value(item, verb, depth + 1);
                }
                self.out.push(close);
            }
            Value::Map(map) => {
                let (open, between, close) =
                    if self.flags.sharp_v { (type_name(value) + "{", ", ", '}') } else { ("map[".into(), " ", ']') };
                self.out.push_str(&open);
                for (i, (key, item)) in map.entries().iter().enumerate() {
                    if i > 0 {
                        self.out.push_str(between);
                    }
                    self.value(&Value::Str(key.clone()), verb, depth + 1);
                    self.out.push(':');
                    self.value(item, verb, depth + 1);
                }
                self.out.push(close);
            }
            Value::Object(object) => {
                self.out.push_str(if depth == 0 { "&{" } else { "{" });
                for (i, name) in object.field_names().iter().enumerate() {
                    if i > 0 {
                        self.out.push(' ');
                    }
                    if self.flags.plus_v {
                        self.out.push_str(&format!("{name}:"));
                    }
                    self.value(&object.field(name).unwrap_or(Value::Nil), verb, depth + 1);
                }
                self.out.push('}');
            }
            Value::Time(moment) if self.flags.sharp_v => self.text(&go_syntax(moment)),
            Value::Time(moment) => self.time_fields(moment, verb, depth),
            Value::Func(_) => self.pad(&display(value)),
        }
    }

    /// Verbs that a time has no text for show what Go's struct holds: nanoseconds, seconds since year 1, the zone.
    fn time_fields(&mut self, moment: &Moment, verb: char, depth: usize) {
        let nanoseconds = moment.unix_nano().rem_euclid(1_000_000_000);
        let seconds = moment.unix() - Moment::zero().unix();
        let names = if self.flags.plus_v { ["wall:", "ext:", "loc:"] } else { [""; 3] };
        self.out.push('{');
        self.out.push_str(names[0]);
        self.value(&Value::Int(IntKind::Uint64, nanoseconds), verb, depth + 1);
        self.out.push(' ');
        self.out.push_str(names[1]);
        self.value(&Value::int64(seconds), verb, depth + 1);
        self.out.push(' ');
        self.out.push_str(names[2]);
        match verb {
            'v' => self.pad("<nil>"),
            'b' | 'o' | 'd' => self.value(&Value::Int(IntKind::Uint64, 0), verb, depth + 1),
            _ => {
                self.out.push_str(&format!("%!{verb}(*time.Location="));
                self.pad("<nil>");
                self.out.push(')');
            }
        }
        self.out.push('}');
    }

    /// A verb that does not fit the value.
    fn complain(&mut self, value: &Value, verb: char) {
        self.out.push_str(&format!("%!{verb}({}=", type_name(value)));
        let outer = std::mem::replace(&mut self.complaining, true);
        self.value(value, 'v', 0);
        self.complaining = outer;
        self.out.push(')');
    }

    fn pad(&mut self, text: &str) {
        let missing = self.flags.width.unwrap_or(0).saturating_sub(text.chars().count());
        if missing > 0 && !self.flags.minus {
            let filler = if self.flags.zero { "0" } else { " " };
            self.out.push_str(&filler.repeat(missing));
        }
        self.out.push_str(text);
        if missing > 0 && self.flags.minus {
            self.out.push_str(&" ".repeat(missing));
        }
    }

    fn pad_with_blanks(&mut self, text: &str) {
        let zero = std::mem::take(&mut self.flags.zero);
        self.pad(text);
        self.flags.zero = zero;
    }

    fn cut<'a>(&self, text: &'a str) -> &'a str {
        match self.flags.precision {
            Some(n) => text.char_indices().nth(n).map_or(text, |(end, _)| &text[..end]),
            None => text,
        }
    }

    fn text(&mut self, text: &str) {
        let text = self.cut(text);
        self.pad(text);
    }

    fn string(&mut self, value: &Value, text: &str, verb: char) {
        match verb {
            'v' if self.flags.sharp_v => self.quoted(text),
            'v' | 's' => self.text(text),
            'x' | 'X' => self.hex(text.as_bytes(), verb == 'X'),
            'q' => self.quoted(text),
            _ => self.complain(value, verb),
        }
    }

    fn quoted(&mut self, text: &str) {
        let text = self.cut(text);
        let backquotes = !text.chars().any(|c| (c.is_control() && c != '\t') || c == '`' || c == '\u{feff}');
        if self.flags.sharp && backquotes {
            let text = format!("`{text}`");
            self.pad(&text);
        } else {
            let text = quote(text, self.flags.plus);
            self.pad(&text);
        }
    }

    fn bytes(&mut self, bytes: &[u8], verb: char, depth: usize) {
        match verb {
            's' => self.text(&lossy(bytes)),
            'x' | 'X' => self.hex(bytes, verb == 'X'),
            'q' => self.quoted(&lossy(bytes)),
            'v' if self.flags.sharp_v && depth == 0 => {
                self.bytes_one_by_one(bytes, verb, depth, ("[]byte{", ", ", '}'));
            }
            _ if self.flags.sharp_v => self.bytes_one_by_one(bytes, verb, depth, ("[]uint8{", ", ", '}')),
            _ => self.bytes_one_by_one(bytes, verb, depth, ("[", " ", ']')),
        }
    }

    fn bytes_one_by_one(&mut self, bytes: &[u8], verb: char, depth: usize, marks: (&str, &str, char)) {
        self.out.push_str(marks.0);
        for (i, byte) in bytes.iter().enumerate() {
            if i > 0 {
                self.out.push_str(marks.1);
            }
            self.value(&Value::Int(IntKind::Uint8, i64::from(*byte)), verb, depth + 1);
        }
        self.out.push(marks.2);
    }

    fn hex(&mut self, bytes: &[u8], upper: bool) {
        let bytes = &bytes[..self.flags.precision.unwrap_or(bytes.len()).min(bytes.len())];
        if bytes.is_empty() {
            self.pad("");
            return;
        }
        let prefix = match (self.flags.sharp, upper) {
            (false, _) => "",
            (true, false) => "0x",
            (true, true) => "0X",
        };
        let one = |b: &u8| if upper { format!("{b:02X}") } else { format!("{b:02x}") };
        let text = if self.flags.space {
            bytes.iter().map(|b| format!("{prefix}{}", one(b))).collect::<Vec<_>>().join(" ")
        } else {
            format!("{prefix}{}", bytes.iter().map(one).collect::<String>())
        };
        self.pad(&text);
    }
}

/// What `%#v` makes of a time.
fn go_syntax(moment: &Moment) -> String {
    let f = moment.fields();
    let zone = if moment.zone == jiff::tz::TimeZone::UTC { "UTC" } else { "Local" };
    format!(
        "time.Date({}, time.{}, {}, {}, {}, {}, {}, time.{zone})",
        f.year,
        month_name(f.month),
        f.day,
        f.hour,
        f.minute,
        f.second,
        f.nanosecond
    )
}

/// The text of values that know how to print themselves.
fn own_text(value: &Value) -> Option<String> {
    match value {
        Value::Time(_) | Value::Duration(_) | Value::Int(IntKind::Month | IntKind::Weekday, _) => Some(display(value)),
        Value::Object(object) => object.text(),
        _ => None,
    }
}

/// Leading decimal digits; overlong numbers swallow the rest, as in Go.
fn number(text: &str) -> (Option<usize>, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    match text[..end].parse::<usize>() {
        Ok(n) if n <= MAX_NUMBER => (Some(n), &text[end..]),
        _ if end == 0 => (None, text),
        _ => (None, ""),
    }
}

fn integer_argument(arguments: &[Value], next: &mut usize) -> Option<i64> {
    let value = arguments.get(*next)?;
    *next += 1;
    match value {
        Value::Int(_, n) | Value::Duration(n) if n.unsigned_abs() as usize <= MAX_NUMBER => Some(*n),
        _ => None,
    }
}
