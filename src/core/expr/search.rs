//! Patterns of `matches`: compiled once, and what running them costs.

use std::sync::Arc;

use regex::Regex;

use super::machine::Budget;
use super::operators::{Op, described};
use crate::core::value::{Value, pattern};

/// Bytes of text that cost one step for each [`PATTERN_PER_STEP`] of the pattern.
const TEXT_PER_STEP: usize = 16;
/// Places of a pattern: the engine may visit each of them at every byte.
const PATTERN_PER_STEP: usize = 64;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(super) struct Search {
    regex: Arc<Regex>,
    /// How many places it has once repetitions are written out.
    places: usize,
}

impl Search {
    /// Compiles a pattern of RE2's syntax.
    pub fn compile(source: &str) -> Op<Search> {
        Ok(Search { regex: Arc::new(pattern::compile(source)?), places: places(source) })
    }

    /// Compiles a pattern that was only known when running, and pays for it.
    pub fn compile_within(source: &str, budget: &mut Budget) -> Op<Search> {
        budget.spend(500 + places(source))?;
        Search::compile(source)
    }

    /// The pattern, as it reads to the engine.
    pub fn as_str(&self) -> &str {
        self.regex.as_str()
    }

    /// Whether it is found in a text or in bytes.
    pub fn found_in(&self, value: &Value, budget: &mut Budget) -> Op<bool> {
        let mut pay = |length: usize| budget.spend(length / TEXT_PER_STEP * (1 + self.places / PATTERN_PER_STEP));
        match value {
            Value::Str(text) => {
                pay(text.len())?;
                Ok(self.regex.is_match(text))
            }
            Value::Bytes(bytes) => {
                pay(bytes.len())?;
                Ok(self.regex.is_match(&String::from_utf8_lossy(bytes)))
            }
            other => Err(format!("`matches` needs a text, not {}", described(other))),
        }
    }
}

/// Counts the places of a pattern: one for each sign, as often as it is repeated. A rough reading is enough, since the
/// engine limits the size of its program too.
fn places(source: &str) -> usize {
    let mut outer: Vec<usize> = Vec::new();
    let (mut sum, mut last) = (0usize, 0usize);
    let mut rest = source.chars();
    while let Some(c) = rest.next() {
        match c {
            '(' => {
                outer.push(sum);
                (sum, last) = (0, 0);
            }
            ')' => {
                last = sum;
                sum = outer.pop().unwrap_or(0).saturating_add(sum);
            }
            '{' => {
                let body: String = rest.clone().take_while(|c| *c != '}').take(12).collect();
                let most = body.split(',').filter_map(|part| part.parse::<usize>().ok()).max().unwrap_or(1);
                sum = sum.saturating_add(last.saturating_mul(most.saturating_sub(1)));
            }
            '\\' => {
                rest.next();
                (sum, last) = (sum.saturating_add(1), 1);
            }
            _ => (sum, last) = (sum.saturating_add(1), 1),
        }
    }
    sum
}
