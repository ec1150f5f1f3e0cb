//! Regular expressions with Go's (RE2's) syntax, run by a linear-time engine. Both languages use it. The two syntaxes
//! differ in details that would change meaning silently (crates.md §3.8), so a pattern is read by Go's rules here and
//! written anew for the engine.

use regex::{Regex, RegexBuilder};

/// Longest pattern accepted, in bytes.
pub const MAX_PATTERN: usize = 10 * 1024;
/// Largest compiled program, in bytes.
const MAX_PROGRAM: usize = 1 << 20;
/// Largest repetition count RE2 accepts.
const MAX_REPEAT: u32 = 1000;

/// Compiles a pattern of Go's syntax. The error reads like Go's.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > MAX_PATTERN {
        return Err(format!("error parsing regexp: expression too large: {} bytes", pattern.len()));
    }
    let translated = translate(pattern).map_err(|what| format!("error parsing regexp: {what}"))?;
    RegexBuilder::new(&translated).size_limit(MAX_PROGRAM).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "error parsing regexp: expression too large".to_owned(),
        _ => format!("error parsing regexp: invalid syntax: `{pattern}`"),
    })
}

/// Escapes what is special in a pattern, as Go's `regexp.QuoteMeta` does.
pub fn quote_meta(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Puts the groups of a match into a replacement text: `$1`, `$name`, `${name}`, `$$` (Go's `Regexp.Expand`).
pub fn expand(template: &str, groups: &regex::Captures<'_>, out: &mut String) {
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
            continue;
        }
        let (name, tail) = match group_name(after) {
            Some(found) => found,
            None => {
                out.push('$');
                rest = after;
                continue;
            }
        };
        let group = match name.parse::<usize>() {
            Ok(number) if name.bytes().all(|b| b.is_ascii_digit()) => groups.get(number),
            _ => groups.name(name),
        };
        out.push_str(group.map_or("", |g| g.as_str()));
        rest = tail;
    }
    out.push_str(rest);
}

fn group_name(after: &str) -> Option<(&str, &str)> {
    let braced = after.strip_prefix('{');
    let text = braced.unwrap_or(after);
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, tail) = text.split_at(end);
    let tail = if braced.is_some() { tail.strip_prefix('}')? } else { tail };
    if name.is_empty() { None } else { Some((name, tail)) }
}

/// Writes a pattern of Go's syntax in the syntax of the regex crate.
fn translate(pattern: &str) -> Result<String, String> {
    let mut reader =
        Reader { rest: pattern, out: String::with_capacity(pattern.len() + 16), after: After::Nothing, flags: None };
    while !reader.rest.is_empty() {
        reader.step()?;
    }
    Ok(reader.out)
}

/// What a repetition operator at this point would apply to.
#[derive(Clone, Copy, PartialEq)]
enum After {
    Nothing,
    Atom,
    Repetition,
}

struct Reader<'a> {
    rest: &'a str,
    out: String,
    after: After,
    /// Where in `out` the flags begin that were written last, and whether they turn greediness around: a repetition
    /// behind them applies to what stands before them.
    flags: Option<(usize, bool)>,
}

impl Reader<'_> {
    fn step(&mut self) -> Result<(), String> {
        let Some(c) = self.rest.chars().next() else { return Ok(()) };
        let whole = self.rest;
        self.rest = &whole[c.len_utf8()..];
        if !matches!(c, '*' | '+' | '?' | '{' | '(') {
            self.flags = None;
        }
        match c {
            '\\' => return self.escape(),
            '[' => return self.class(whole),
            '(' => return self.group(),
            '|' => {
                self.out.push('|');
                self.after = After::Nothing;
                return Ok(());
            }
            '*' | '+' | '?' => return self.repetition(&whole[..1]),
            '{' => {
                if let Some((bounds, length)) = repeat_bounds(whole) {
                    let written = &whole[..length];
                    if bounds.0 > MAX_REPEAT || bounds.1.is_some_and(|max| max > MAX_REPEAT || max < bounds.0) {
                        return Err(format!("invalid repeat count: `{written}`"));
                    }
                    self.rest = &whole[length..];
                    return self.repetition(written);
                }
                self.out.push_str(r"\{");
                self.flags = None;
            }
            ')' | '.' | '^' | '$' => self.out.push(c),
            _ => literal(&mut self.out, c),
        }
        self.after = After::Atom;
        Ok(())
    }

    fn repetition(&mut self, operator: &str) -> Result<(), String> {
        match self.after {
            After::Nothing => return Err(format!("missing argument to repetition operator: `{operator}`")),
            After::Repetition => return Err(format!("invalid nested repetition operator: `{operator}`")),
            After::Atom => {}
        }
        let mut operator = String::from(operator);
        if let Some(rest) = self.rest.strip_prefix('?') {
            operator.push('?');
            self.rest = rest;
        }
        match self.flags.take() {
            Some((at, turned)) => {
                if turned {
                    match operator.strip_suffix('?').filter(|greedy| !greedy.is_empty()) {
                        Some(greedy) => operator.truncate(greedy.len()),
                        None => operator.push('?'),
                    }
                }
                self.out.insert_str(at, &operator);
            }
            None => self.out.push_str(&operator),
        }
        self.after = After::Repetition;
        Ok(())
    }

    fn group(&mut self) -> Result<(), String> {
        let before = std::mem::replace(&mut self.after, After::Nothing);
        let flags_before = self.flags.take();
        let Some(inside) = self.rest.strip_prefix('?') else {
            self.out.push('(');
            return Ok(());
        };
        if let Some(named) = inside.strip_prefix("P<").or_else(|| inside.strip_prefix('<')) {
            let invalid = || format!("invalid named capture: `(?{inside}`");
            let (name, rest) = named.split_once('>').ok_or_else(invalid)?;
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return Err(invalid());
            }
            self.out.push_str(&format!("(?P<{name}>"));
            self.rest = rest;
            return Ok(());
        }
        let end = inside.find([':', ')']).ok_or_else(|| format!("missing closing ): `(?{inside}`"))?;
        let flags = &inside[..end];
        let known = flags.chars().all(|c| "imsU-".contains(c));
        if !known || flags.matches('-').count() > 1 || flags.ends_with('-') {
            return Err(format!("invalid or unsupported Perl syntax: `(?{inside}`"));
        }
        if inside[end..].starts_with(')') {
            // Flags alone are no atom: what follows continues what went before.
            let (at, turned) = flags_before.unwrap_or((self.out.len(), false));
            let turns = flags.split('-').next().is_some_and(|set| set.contains('U'));
            self.flags = Some((at, turned || turns));
            self.after = if before == After::Nothing { After::Nothing } else { After::Atom };
        }
        self.out.push_str("(?");
        self.out.push_str(&inside[..=end]);
        self.rest = &inside[end + 1..];
        Ok(())
    }

    /// What follows a backslash outside a class.
    fn escape(&mut self) -> Result<(), String> {
        if let Some(quoted) = self.rest.strip_prefix('Q') {
            let (text, rest) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
            text.chars().for_each(|c| literal(&mut self.out, c));
            self.rest = rest;
            if !text.is_empty() {
                self.after = After::Atom;
            }
            return Ok(());
        }
        let Some(c) = self.rest.chars().next() else {
            return Err("trailing backslash at end of expression: ``".to_owned());
        };
        let tail = &self.rest[c.len_utf8()..];
        match c {
            // RE2 takes an end of quotation without a beginning for a bad escape.
            'A' | 'z' => self.out.push_str(if c == 'A' { r"\A" } else { r"\z" }),
            'b' => self.out.push_str(r"(?-u:\b)"),
            'B' => self.out.push_str(r"(?-u:\B)"),
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => self.out.push_str(perl_class(c)),
            'p' | 'P' => {
                let (class, rest) = unicode_class(self.rest)?;
                self.out.push_str(&class);
                self.rest = rest;
                self.after = After::Atom;
                return Ok(());
            }
            _ => {
                let (c, rest) = escaped_char(self.rest)?;
                literal(&mut self.out, c);
                self.rest = rest;
                self.after = After::Atom;
                return Ok(());
            }
        }
        self.rest = tail;
        self.after = After::Atom;
        Ok(())
    }

    /// A class, `self.rest` standing behind its opening bracket.
    fn class(&mut self, whole: &str) -> Result<(), String> {
        let missing = || format!("missing closing ]: `{whole}`");
        self.out.push('[');
        if let Some(rest) = self.rest.strip_prefix('^') {
            self.out.push('^');
            self.rest = rest;
        }
        let mut first = true;
        loop {
            if self.rest.is_empty() {
                return Err(missing());
            }
            if !first && let Some(rest) = self.rest.strip_prefix(']') {
                self.rest = rest;
                break;
            }
            first = false;
            if self.named_class()? {
                continue;
            }
            let low = self.class_char().map_err(|e| e.unwrap_or_else(missing))?;
            let mut high = low;
            if let Some(rest) = self.rest.strip_prefix('-')
                && !rest.is_empty()
                && !rest.starts_with(']')
            {
                self.rest = rest;
                high = self.class_char().map_err(|e| e.unwrap_or_else(missing))?;
                if high < low {
                    return Err(format!("invalid character class range: `{low}-{high}`"));
                }
            }
            self.out.push_str(&format!("\\x{{{:x}}}", low as u32));
            if high != low {
                self.out.push_str(&format!("-\\x{{{:x}}}", high as u32));
            }
        }
        self.out.push(']');
        self.after = After::Atom;
        Ok(())
    }

    /// `[:alpha:]`, `\d`, `\pL` inside a class; false if there is none here.
    fn named_class(&mut self) -> Result<bool, String> {
        if let Some(inside) = self.rest.strip_prefix("[:")
            && let Some((name, rest)) = inside.split_once(":]")
        {
            const NAMES: [&str; 14] = [
                "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
                "upper", "word", "xdigit",
            ];
            if !NAMES.contains(&name.strip_prefix('^').unwrap_or(name)) {
                return Err(format!("invalid character class range: `[:{name}:]`"));
            }
            self.out.push_str(&format!("[:{name}:]"));
            self.rest = rest;
            return Ok(true);
        }
        let Some(after) = self.rest.strip_prefix('\\') else { return Ok(false) };
        match after.chars().next() {
            Some(c @ ('d' | 'D' | 's' | 'S' | 'w' | 'W')) => {
                self.out.push_str(perl_class(c));
                self.rest = &after[1..];
                Ok(true)
            }
            Some('p' | 'P') => {
                let (class, rest) = unicode_class(after)?;
                self.out.push_str(&class);
                self.rest = rest;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// One character of a class. The error is `None` at the end of the pattern.
    fn class_char(&mut self) -> Result<char, Option<String>> {
        let c = self.rest.chars().next().ok_or(None)?;
        let tail = &self.rest[c.len_utf8()..];
        if c != '\\' {
            self.rest = tail;
            return Ok(c);
        }
        let (c, rest) = escaped_char(tail).map_err(Some)?;
        self.rest = rest;
        Ok(c)
    }
}

/// One character that stands for itself.
fn literal(out: &mut String, c: char) {
    if c.is_ascii() && !c.is_ascii_alphanumeric() {
        out.push_str(&format!("\\x{{{:x}}}", c as u32));
    } else {
        out.push(c);
    }
}

/// Go's Perl classes are ASCII, and `\s` has no vertical tab.
fn perl_class(letter: char) -> &'static str {
    match letter {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        's' => r"[\t\n\x0C\r\x20]",
        'S' => r"[^\t\n\x0C\r\x20]",
        'w' => "[0-9A-Za-z_]",
        _ => "[^0-9A-Za-z_]",
    }
}

/// `pL`, `p{Greek}`, `P{^Greek}`: the class for the engine and the text after it.
fn unicode_class(text: &str) -> Result<(String, &str), String> {
    let invalid = || format!("invalid character class range: `\\{text}`");
    let mut negated = text.starts_with('P');
    let after = &text[1..];
    let (name, rest) = match after.strip_prefix('{') {
        Some(inside) => inside.split_once('}').ok_or_else(invalid)?,
        None => after.split_at(after.chars().next().ok_or_else(invalid)?.len_utf8()),
    };
    let plain = match name.strip_prefix('^') {
        Some(plain) => {
            negated = !negated;
            plain
        }
        None => name,
    };
    if plain.is_empty() || !plain.chars().all(|c| c.is_ascii_alphanumeric() || "_- ".contains(c)) {
        return Err(invalid());
    }
    Ok((format!("\\{}{{{plain}}}", if negated { 'P' } else { 'p' }), rest))
}

/// The character behind a backslash and the text after it.
fn escaped_char(text: &str) -> Result<(char, &str), String> {
    let Some(c) = text.chars().next() else { return Err("trailing backslash at end of expression: ``".to_owned()) };
    let invalid = || format!("invalid escape sequence: `\\{c}`");
    let rest = &text[c.len_utf8()..];
    let simple = match c {
        'a' => '\x07',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        '0'..='7' => {
            // A single digit other than zero would be a back reference, which RE2 has not.
            let more = rest.bytes().take(2).take_while(|b| (b'0'..=b'7').contains(b)).count();
            if c != '0' && more == 0 {
                return Err(invalid());
            }
            let code = u32::from_str_radix(&text[..1 + more], 8).map_err(|_| invalid())?;
            return Ok((char::from_u32(code).ok_or_else(invalid)?, &text[1 + more..]));
        }
        'x' => {
            let (digits, after) = match rest.strip_prefix('{') {
                Some(inside) => inside.split_once('}').ok_or_else(invalid)?,
                None => rest.split_at_checked(2).ok_or_else(invalid)?,
            };
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(invalid());
            }
            let code = u32::from_str_radix(digits, 16).map_err(|_| invalid())?;
            return Ok((char::from_u32(code).ok_or_else(invalid)?, after));
        }
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => c,
        _ => return Err(invalid()),
    };
    Ok((simple, rest))
}

/// `{2}`, `{2,}`, `{2,5}` at the start of the text: the bounds and the length; anything else is literal text.
fn repeat_bounds(text: &str) -> Option<((u32, Option<u32>), usize)> {
    let end = text.find('}')?;
    let inside = &text[1..end];
    let number = |digits: &str| -> Option<u32> {
        if digits.is_empty()
            || !digits.bytes().all(|b| b.is_ascii_digit())
            || (digits.len() > 1 && digits.starts_with('0'))
        {
            return None;
        }
        Some(digits.parse().unwrap_or(u32::MAX))
    };
    let bounds = match inside.split_once(',') {
        None => {
            let n = number(inside)?;
            (n, Some(n))
        }
        Some((low, "")) => (number(low)?, None),
        Some((low, high)) => (number(low)?, Some(number(high)?)),
    };
    Some((bounds, end + 1))
}
