//! Go's regular expressions over tags. Tags are ASCII, so classes mean what they mean in Go; what the two dialects
//! read differently is rewritten or refused before compiling.

use regex::bytes::{Regex, RegexBuilder};

/// Longest source read, in bytes (image-updates.md §25).
const LONGEST: usize = 10 * 1024;
/// Largest repetition count Go accepts.
const MOST_REPEATS: u32 = 1000;

/// Compiles an expression written for Go's `regexp`; the error text is for the person who wrote it.
pub(super) fn compile(source: &str) -> Result<Regex, String> {
    if source.len() > LONGEST {
        return Err(format!("it is longer than {LONGEST} bytes"));
    }
    let pattern = translate(source)?;
    let build = |unicode| RegexBuilder::new(&pattern).unicode(unicode).size_limit(1 << 20).build();
    // Without Unicode, \d, \w, \s and \b are ASCII as in Go; \p{…} and classes of other letters need it.
    build(false).or_else(|_| build(true)).map_err(|e| match e {
        regex::Error::CompiledTooBig(_) => "it is too large when compiled".to_owned(),
        // The crate's message draws the expression over several lines; its last line says what is wrong.
        other => other.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    })
}

struct Source<'a> {
    left: &'a str,
    out: String,
}

fn translate(source: &str) -> Result<String, String> {
    let mut s = Source { left: source, out: String::with_capacity(source.len() + 8) };
    let mut after_repeat = false;
    while let Some(c) = s.left.chars().next() {
        let mut repeat = false;
        match c {
            '\\' => s.escape()?,
            '[' => s.class()?,
            '{' => repeat = s.brace()?,
            '(' => s.group()?,
            '*' | '+' | '?' => {
                s.take(1);
                repeat = true;
            }
            _ => s.take(c.len_utf8()),
        }
        if repeat {
            if after_repeat {
                return Err("a repetition is repeated".to_owned());
            }
            // The lazy mark belongs to the repetition before it.
            if s.left.starts_with('?') {
                s.take(1);
            }
        }
        after_repeat = repeat;
    }
    Ok(s.out)
}

impl Source<'_> {
    fn take(&mut self, bytes: usize) {
        let (taken, left) = self.left.split_at(bytes);
        self.out.push_str(taken);
        self.left = left;
    }

    /// `\Q…\E` is literal text; `\<`, `\>` and `\b{` are anchors only in the crate.
    fn escape(&mut self) -> Result<(), String> {
        if let Some(quoted) = self.left.strip_prefix(r"\Q") {
            let (text, left) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
            self.out.push_str(&regex::escape(text));
            self.left = left;
            return Ok(());
        }
        let mut chars = self.left.chars();
        chars.next();
        let Some(c) = chars.next() else { return Err("it ends in a backslash".to_owned()) };
        match c {
            '<' | '>' => {
                self.out.push(c);
                self.left = &self.left[2..];
            }
            'x' | 'p' | 'P' if self.left[2..].starts_with('{') => {
                let end = self.left.find('}').ok_or("a `{` is not closed")?;
                self.take(end + 1);
            }
            _ => self.take(1 + c.len_utf8()),
        }
        Ok(())
    }

    /// A class: Go knows no nested classes and no set operators, so their signs are plain members.
    fn class(&mut self) -> Result<(), String> {
        self.take(1);
        if self.left.starts_with('^') {
            self.take(1);
        }
        let mut first = true;
        loop {
            let Some(c) = self.left.chars().next() else { return Err("a `[` is not closed".to_owned()) };
            match c {
                ']' if first => {
                    self.out.push_str(r"\]");
                    self.left = &self.left[1..];
                }
                ']' => {
                    self.take(1);
                    return Ok(());
                }
                '[' if self.left.starts_with("[:") && self.left.contains(":]") => {
                    let end = self.left.find(":]").unwrap_or_default();
                    self.take(end + 2);
                }
                '[' | '&' | '~' => {
                    self.out.push('\\');
                    self.take(1);
                }
                '\\' => self.escape()?,
                _ => self.take(c.len_utf8()),
            }
            first = false;
        }
    }

    /// A count if it is shaped like one, else a literal brace. Says whether it was a count.
    fn brace(&mut self) -> Result<bool, String> {
        let count = self.left[1..].split_once('}').map(|(count, _)| count).filter(|count| is_count(count));
        let Some(count) = count else {
            self.out.push_str(r"\{");
            self.left = &self.left[1..];
            return Ok(false);
        };
        let large = |n: &str| !n.is_empty() && n.parse::<u32>().map_or(true, |n| n > MOST_REPEATS);
        if count.split(',').any(large) {
            return Err(format!("a repetition count is above {MOST_REPEATS}"));
        }
        self.take(count.len() + 2);
        Ok(true)
    }

    /// The flags `x`, `u` and `R` exist only in the crate.
    fn group(&mut self) -> Result<(), String> {
        if let Some(flags) = self.left.strip_prefix("(?") {
            let flags: String = flags.chars().take_while(|c| c.is_ascii_alphabetic() || *c == '-').collect();
            if flags.contains(['x', 'u', 'R']) && !flags.starts_with('P') {
                return Err(format!("unknown flags {flags:?}"));
            }
            let named = self.left.find(['>', ')', ':']).filter(|_| self.left[2..].starts_with(['P', '<']));
            self.take(named.map_or(2, |end| end + 1));
            if named.is_none() {
                self.take(flags.len());
            }
            return Ok(());
        }
        self.take(1);
        Ok(())
    }
}

/// `n`, `n,` or `n,m`.
fn is_count(text: &str) -> bool {
    let (least, most) = text.split_once(',').unwrap_or((text, ""));
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    !least.is_empty() && digits(least) && digits(most)
}
