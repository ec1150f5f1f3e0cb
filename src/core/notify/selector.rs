//! Kubernetes label-selector text: `a=b,c!=d,e in (x,y),f notin (z),g,!h` (notifications.md §4.2).

use std::collections::BTreeMap;

/// A parsed selector; all requirements must hold. An empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    /// Also true where the label is absent, as in Kubernetes.
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

impl Selector {
    /// Parses selector text; the error says what was expected where (1-based column).
    pub fn parse(text: &str) -> Result<Selector, (u32, String)> {
        let mut reader = Reader { text, at: 0 };
        let mut requirements = Vec::new();
        reader.blanks();
        if reader.rest().is_empty() {
            return Ok(Selector::default());
        }
        loop {
            requirements.push(reader.requirement()?);
            reader.blanks();
            if reader.rest().is_empty() {
                return Ok(Selector(requirements));
            }
            reader.expect(",")?;
        }
    }

    /// Whether these labels satisfy every requirement.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => labels.get(key).is_some_and(|v| values.contains(v)),
            Requirement::NotIn(key, values) => labels.get(key).is_none_or(|v| !values.contains(v)),
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::Absent(key) => !labels.contains_key(key),
        })
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn column(&self) -> u32 {
        self.text[..self.at].chars().count() as u32 + 1
    }

    fn accept(&mut self, token: &str) -> bool {
        self.blanks();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn expect(&mut self, token: &str) -> Result<(), (u32, String)> {
        if self.accept(token) { Ok(()) } else { Err((self.column(), format!("expected `{token}`"))) }
    }

    /// A label name or value: letters, digits, `-`, `_`, `.`, `/`.
    fn word(&mut self) -> &'a str {
        self.blanks();
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-_./".contains(c))).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn requirement(&mut self) -> Result<Requirement, (u32, String)> {
        let absent = self.accept("!");
        let key = self.word().to_owned();
        if key.is_empty() {
            return Err((self.column(), "expected a label name".to_owned()));
        }
        if absent {
            return Ok(Requirement::Absent(key));
        }
        if self.accept("!=") {
            return Ok(Requirement::NotIn(key, vec![self.word().to_owned()]));
        }
        if self.accept("==") || self.accept("=") {
            return Ok(Requirement::In(key, vec![self.word().to_owned()]));
        }
        let before = self.at;
        match self.word() {
            "in" => Ok(Requirement::In(key, self.values()?)),
            "notin" => Ok(Requirement::NotIn(key, self.values()?)),
            "" => Ok(Requirement::Exists(key)),
            other => {
                self.at = before;
                Err((self.column(), format!("expected =, ==, !=, in or notin, not `{other}`")))
            }
        }
    }

    fn values(&mut self) -> Result<Vec<String>, (u32, String)> {
        self.expect("(")?;
        let mut values = Vec::new();
        loop {
            values.push(self.word().to_owned());
            if self.accept(")") {
                return Ok(values);
            }
            self.expect(",")?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_4_2_selector_grammar() {
        let labels: BTreeMap<String, String> =
            [("a", "b"), ("e", "x"), ("team/x", "")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        for (text, selected) in [
            ("", Some(true)),
            ("  ", Some(true)),
            ("a=b", Some(true)),
            ("a==b", Some(true)),
            ("a = b , e = x", Some(true)),
            ("a=c", Some(false)),
            ("c!=d", Some(true)),
            ("a!=b", Some(false)),
            ("e in (x,y)", Some(true)),
            ("e in (y)", Some(false)),
            ("e notin (y, z)", Some(true)),
            ("zz notin (y)", Some(true)),
            ("e", Some(true)),
            ("!f", Some(true)),
            ("!e", Some(false)),
            ("team/x=", Some(true)),
            ("a=b,c!=d,e in (x,y),!f", Some(true)),
            ("a=b,", None),
            ("=b", None),
            ("a in x", None),
            ("a in (x", None),
            ("a ~ b", None),
            ("a b", None),
        ] {
            assert_eq!(Selector::parse(text).ok().map(|s| s.selects(&labels)), selected, "{text:?}");
        }
        assert_eq!(Selector::parse("a in x").unwrap_err().0, 6);
    }
}
