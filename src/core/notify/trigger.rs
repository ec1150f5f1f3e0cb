//! Trigger: a list of conditions, each evaluated on every pass, independently (notifications.md §3).

use super::identity;
use crate::core::expr::Program;
use crate::core::value::time::Moment;
use crate::core::value::{Map, Value, display};

/// A trigger as compiled from the ConfigMap.
#[derive(Clone, Debug, Default)]
pub struct Trigger {
    /// Its conditions. One that does not compile is absent; the others keep their own indexes (TRG-03).
    pub conditions: Vec<Condition>,
    /// Those that do not compile: index and why, the position inside the expression.
    pub broken: Vec<(usize, Fault)>,
}

/// One item of a trigger's list.
#[derive(Clone, Debug)]
pub struct Condition {
    /// Position in the list, as written.
    pub index: usize,
    /// `[<index>].<hash of when>`: how the state annotation names it.
    pub key: String,
    /// `when`; `None` if empty: then it never fires.
    pub when: Option<Program>,
    /// `oncePer`, if given.
    pub once_per: Option<Program>,
    /// What `oncePer` was before an edit; `None` where there was none (ST-13).
    pub former_once_per: Vec<Option<Program>>,
    /// Template names.
    pub send: Vec<String>,
    /// For people.
    pub description: String,
}

/// What one condition evaluated to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// `Some(true)` fires; `None` means an error or an undetermined evaluation.
    pub result: Option<bool>,
    /// The `oncePer` text when it fires; empty if none (ST-08) or if it failed (ST-09).
    pub once_per: String,
    /// What went wrong.
    pub error: Option<Fault>,
    /// The evaluation waits for something slow; state stays untouched (HLP-06).
    pub undetermined: bool,
    /// `when` yielded something that is no boolean: as false.
    pub note: Option<String>,
}

/// An error of an expression with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// `when` or `oncePer`.
    pub field: &'static str,
    /// What happened.
    pub text: String,
    /// What to write instead; empty if nothing useful can be said.
    pub hint: String,
    /// 1-based line.
    pub line: u32,
    /// 1-based column.
    pub column: u32,
}

impl Trigger {
    /// How many conditions its list holds, broken ones included.
    pub fn length(&self) -> usize {
        let good = self.conditions.iter().map(|condition| condition.index);
        good.chain(self.broken.iter().map(|(index, _)| *index)).max().map_or(0, |last| last + 1)
    }
}

impl Condition {
    /// Compiles one condition. A failing `oncePer` fails the condition as well: without it the identity would be
    /// another one and old messages would be sent again.
    pub fn compile(
        index: usize,
        when: &str,
        once_per: &str,
        send: Vec<String>,
        description: String,
    ) -> Result<Condition, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut program = |field: &'static str, source: &str| {
            if source.is_empty() {
                return None;
            }
            Program::compile(source)
                .map_err(|e| {
                    faults.push(Fault { field, text: e.text, hint: e.hint, line: e.line, column: e.column });
                })
                .ok()
        };
        let compiled_when = program("when", when);
        let compiled_once = program("oncePer", once_per);
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Condition {
            index,
            key: identity::condition_key(index, when),
            when: compiled_when,
            once_per: compiled_once,
            former_once_per: Vec::new(),
            send,
            description,
        })
    }

    /// Whether it reads the image event: such conditions are evaluated on image events only (IMG-01).
    pub fn reads_image(&self) -> bool {
        // Whoever takes all variables by `$env` reads every name, also one that there is not, and means no image.
        self.when.as_ref().is_some_and(|when| when.reads("image") && !when.reads(""))
    }

    /// Whether its outcome may change with time alone (EXP-04).
    pub fn reads_clock(&self) -> bool {
        self.when.iter().chain(&self.once_per).any(Program::reads_clock)
    }

    /// The `oncePer` texts of its former forms, for the version that fires now; what cannot be evaluated says nothing.
    pub fn former_texts(&self, variables: &Map, now: &Moment) -> Vec<String> {
        let text = |program: &Option<Program>| match program {
            None => Some(String::new()),
            Some(program) => program.eval(variables, now).ok().map(|value| display(&value)),
        };
        self.former_once_per.iter().filter_map(text).collect()
    }

    /// Evaluates `when` once, and `oncePer` if it fires.
    pub fn evaluate(&self, variables: &Map, now: &Moment) -> Outcome {
        let mut outcome =
            Outcome { result: Some(false), once_per: String::new(), error: None, undetermined: false, note: None };
        let Some(when) = &self.when else { return outcome };
        match when.eval(variables, now) {
            Ok(Value::Bool(true)) => outcome.result = Some(true),
            Ok(Value::Bool(false)) => {}
            Ok(other) => outcome.note = Some(format!("`when` is no boolean but {}", display(&other))),
            Err(error) => {
                outcome.result = None;
                outcome.undetermined = error.undetermined;
                let (text, line, column) = (error.text, error.line, error.column);
                outcome.error = Some(Fault { field: "when", text, hint: String::new(), line, column });
            }
        }
        if outcome.result != Some(true) {
            return outcome;
        }
        if let Some(once_per) = &self.once_per {
            match once_per.eval(variables, now) {
                Ok(value) => outcome.once_per = display(&value),
                Err(error) if error.undetermined => {
                    outcome.result = None;
                    outcome.undetermined = true;
                }
                Err(error) => {
                    let (text, line, column) = (error.text, error.line, error.column);
                    outcome.error = Some(Fault { field: "oncePer", text, hint: String::new(), line, column });
                }
            }
        }
        outcome
    }
}
