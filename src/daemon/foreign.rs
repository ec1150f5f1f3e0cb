//! Keys that appear in state annotations and were not written here: another controller tells as well (notifications.md
//! CUT-01).

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::status::Board;
use crate::core::application::{AppKey, Application};
use crate::core::notify::STATE_ANNOTATION;
use crate::core::notify::identity::is_state_key;
use crate::core::notify::ledger::{self, Ledger};
use crate::core::problem::Problem;

/// So long after the last such key the problem stays open.
const OPEN: Duration = Duration::from_secs(3600);

/// So many Applications are named.
const NAMED: usize = 10;

/// So many keys of one Application are familiar; beyond that what is there counts as seen for the first time.
const FAMILIAR: usize = 1000;

/// What is familiar of each Application, and where something was not.
#[derive(Default)]
pub struct Foreign {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Hashes of keys: those of the annotation as it was first seen, and all of the ledger since.
    familiar: BTreeMap<AppKey, HashSet<u64>>,
    found: BTreeMap<AppKey, Instant>,
}

fn hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

impl Foreign {
    /// Looks at one version; `before` and `now` are the ledger before and after its evaluation. Gives whether there is a
    /// key that is not familiar.
    pub fn look(&self, app: &Application, before: &Ledger, now: &Ledger) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let annotation = app.annotation(STATE_ANNOTATION).unwrap_or_default();
        let (written, _) = ledger::import(annotation);
        // A first sight is no news: of this process, or of a new object under an old name.
        let seen = state.familiar.get(&app.key).is_some_and(|familiar| familiar.len() < FAMILIAR);
        let known = seen && before.known;
        if !known {
            state.familiar.insert(app.key.clone(), HashSet::new());
        }
        let Some(familiar) = state.familiar.get_mut(&app.key) else { return false };
        familiar.extend(before.marks.keys().chain(now.marks.keys()).map(|key| hash(key)));
        let mut news = false;
        for key in written.keys() {
            news |= familiar.insert(hash(key)) && known && is_state_key(key);
        }
        if news {
            state.found.insert(app.key.clone(), Instant::now());
        }
        news
    }

    /// The Application is gone.
    pub fn gone(&self, app: &AppKey) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.familiar.remove(app);
        state.found.remove(app);
    }

    /// Says what was found lately.
    pub fn report(&self, board: &Board) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.found.retain(|_, at| at.elapsed() < OPEN);
        let apps: Vec<String> = state.found.keys().take(NAMED).map(AppKey::to_string).collect();
        let problem = (!apps.is_empty()).then(|| {
            let more = if state.found.len() > NAMED { ", …" } else { "" };
            let text = format!("somebody else writes {STATE_ANNOTATION}: {}{more}", apps.join(", "));
            Problem::error("SecondController", text)
                .hint("stop Argo CD Notifications, or this daemon: every message is sent twice meanwhile")
        });
        board.problems("second controller", problem.into_iter().collect());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::notify::identity::{condition_key, state_key};
    use crate::core::notify::ledger::{Mark, Origin};

    fn key(once: &str) -> String {
        state_key(once, "", "on-x", &condition_key(0, "true"), "slack", "a")
    }

    fn version(keys: &[String]) -> Application {
        let state: BTreeMap<&String, i64> = keys.iter().map(|key| (key, 1)).collect();
        let annotations = json!({ STATE_ANNOTATION: json!(state).to_string() });
        let object = json!({"metadata": {"name": "web", "namespace": "argocd", "annotations": annotations}});
        Application::decode(&object.to_string()).unwrap()
    }

    fn ledger(keys: &[String]) -> Ledger {
        let mark = Mark { origin: Origin::Planned, at: 1, told: true };
        Ledger { known: true, marks: keys.iter().map(|key| (key.clone(), mark.clone())).collect() }
    }

    #[test]
    fn cut_01_a_key_that_appears_and_is_not_ours_is_a_second_controller() {
        let (foreign, board) = (Foreign::default(), Board::default());
        let none = ledger(&[]);
        let said = |app: &Application, before: &Ledger, now: &Ledger| {
            foreign.look(app, before, now);
            foreign.report(&board);
            board.status().problems.contains_key("second controller")
        };
        // What is there at the first sight was written by whoever was here before.
        assert!(!said(&version(&[key("old")]), &none, &ledger(&[key("old")])));
        // Told here, and written; dropped again, while the annotation lags behind; nothing that is no state key.
        assert!(!said(&version(&[key("old")]), &none, &ledger(&[key("r1")])));
        assert!(!said(&version(&[key("old"), key("r1")]), &ledger(&[key("r1")]), &none));
        assert!(!said(&version(&[key("r1")]), &none, &none));
        assert!(!said(&version(&["note".to_owned()]), &none, &none));
        // Somebody else tells of r2.
        assert!(said(&version(&[key("r1"), key("r2")]), &none, &none));
        let problems = &board.status().problems["second controller"];
        assert_eq!(problems[0].code, "SecondController");
        assert!(problems[0].text.ends_with(": argocd/web"), "{}", problems[0]);
        foreign.gone(&version(&[]).key);
        foreign.report(&board);
        assert!(board.status().problems.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn cut_01_the_problem_closes_an_hour_after_the_last_foreign_key() {
        let (foreign, board) = (Foreign::default(), Board::default());
        for keys in [vec![], vec![key("r1")]] {
            foreign.look(&version(&keys), &ledger(&[]), &ledger(&[]));
        }
        for (after, open) in [(0, true), (3599, true), (1, false)] {
            tokio::time::advance(Duration::from_secs(after)).await;
            foreign.report(&board);
            assert_eq!(board.status().problems.contains_key("second controller"), open, "{after}");
        }
    }
}
