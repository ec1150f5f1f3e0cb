//! Versions of Applications that wait for their evaluation: in order for each Application, within bounds for all
//! (notifications.md CT-01, CT-11).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::STATE_ANNOTATION;
use crate::core::application::{AppKey, Application};

/// What may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Compressed bytes of all versions together.
    pub bytes: usize,
    /// Versions of one Application.
    pub versions: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { bytes: 64 * 1024 * 1024, versions: 64 }
    }
}

/// The queue. Each Application's versions are given out one after the other: the next one only after
/// [`Versions::done`].
#[derive(Debug, Default)]
pub struct Versions {
    limits: Limits,
    waiting: BTreeMap<AppKey, Waiting>,
    ready: VecDeque<AppKey>,
    pushed: u64,
    bytes: usize,
    /// Versions with a later one behind them, by their place in the order of arrival.
    superseded: BTreeMap<u64, AppKey>,
    /// Those of them whose next one is equal in what matters.
    redundant: BTreeMap<u64, AppKey>,
}

#[derive(Debug, Default)]
struct Waiting {
    versions: VecDeque<(u64, Arc<Application>)>,
    busy: bool,
}

impl Versions {
    /// A queue with other bounds.
    pub fn within(limits: Limits) -> Versions {
        Versions { limits, ..Versions::default() }
    }

    /// Adds a version behind the earlier ones of its Application; gives how many different ones had to be merged with
    /// their next one to stay within the bounds. The latest version of an Application always stays.
    pub fn push(&mut self, app: Arc<Application>) -> u64 {
        let key = app.key.clone();
        let waiting = self.waiting.entry(key.clone()).or_default();
        if let Some((place, last)) = waiting.versions.back() {
            let same = |a: &str, b: &str| !a.is_empty() && a == b;
            if Arc::ptr_eq(last, &app) || (last.uid == app.uid && same(&last.resource_version, &app.resource_version)) {
                return 0;
            }
            self.superseded.insert(*place, key.clone());
            if essentially_equal(last, &app) {
                self.redundant.insert(*place, key.clone());
            }
        }
        self.pushed += 1;
        self.bytes += app.packed().len();
        waiting.versions.push_back((self.pushed, app));
        if !waiting.busy && waiting.versions.len() == 1 {
            self.ready.push_back(key.clone());
        }
        let mut merged = 0;
        while let Some(place) = self.beyond(&key) {
            merged += self.leave_out(place);
        }
        merged
    }

    /// Which version has to go, if one has to.
    fn beyond(&self, key: &AppKey) -> Option<u64> {
        let own = &self.waiting.get(key)?.versions;
        if own.len() > self.limits.versions {
            let redundant = own.iter().map(|(place, _)| *place).find(|place| self.redundant.contains_key(place));
            return redundant.or_else(|| own.front().map(|(place, _)| *place));
        }
        if self.bytes <= self.limits.bytes {
            return None;
        }
        self.redundant.keys().chain(self.superseded.keys()).next().copied()
    }

    fn leave_out(&mut self, place: u64) -> u64 {
        let Some(key) = self.superseded.get(&place).cloned() else { return 0 };
        let different = !self.redundant.contains_key(&place);
        if let Some(waiting) = self.waiting.get_mut(&key)
            && let Some(at) = waiting.versions.iter().position(|(other, _)| *other == place)
            && let Some((_, app)) = waiting.versions.remove(at)
        {
            self.forget(place, &app);
        }
        u64::from(different)
    }

    fn forget(&mut self, place: u64, app: &Application) {
        self.bytes = self.bytes.saturating_sub(app.packed().len());
        self.superseded.remove(&place);
        self.redundant.remove(&place);
    }

    /// The oldest version of the Application that has waited longest.
    pub fn take(&mut self) -> Option<Arc<Application>> {
        while let Some(key) = self.ready.pop_front() {
            let Some(waiting) = self.waiting.get_mut(&key) else { continue };
            if let Some((place, app)) = waiting.versions.pop_front() {
                waiting.busy = true;
                self.forget(place, &app);
                return Some(app);
            }
        }
        None
    }

    /// The version of this Application that was taken is evaluated.
    pub fn done(&mut self, key: &AppKey) {
        let Some(waiting) = self.waiting.get_mut(key) else { return };
        waiting.busy = false;
        if waiting.versions.is_empty() {
            self.waiting.remove(key);
        } else {
            self.ready.push_back(key.clone());
        }
    }

    /// Whether a later version of this Application waits.
    pub fn waits(&self, key: &AppKey) -> bool {
        self.waiting.get(key).is_some_and(|waiting| !waiting.versions.is_empty())
    }

    /// Whether nothing can be taken.
    pub fn is_idle(&self) -> bool {
        self.ready.is_empty()
    }

    /// Versions that were taken and are not done.
    pub fn busy(&self) -> usize {
        self.waiting.values().filter(|waiting| waiting.busy).count()
    }
}

/// Whether two versions are equal in what conditions are mostly about (CT-11).
fn essentially_equal(a: &Application, b: &Application) -> bool {
    let operation = |app: &Application| {
        let operation = app.status.operation.as_ref()?;
        let (phase, started, finished) = (&operation.phase, &operation.started_at, &operation.finished_at);
        Some((phase.clone(), started.clone(), finished.clone(), operation.synced_revisions.clone()))
    };
    let annotations = |app: &Application| {
        let mut annotations = app.annotations.clone();
        annotations.remove(STATE_ANNOTATION);
        annotations
    };
    a.uid == b.uid
        && a.status.health == b.status.health
        && a.status.sync == b.status.sync
        && a.status.revisions == b.status.revisions
        && a.deletion == b.deletion
        && a.labels == b.labels
        && operation(a) == operation(b)
        && annotations(a) == annotations(b)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn version(name: &str, number: u32, health: &str) -> Arc<Application> {
        let object = json!({
            "metadata": {"name": name, "namespace": "argocd", "uid": name, "resourceVersion": number.to_string()},
            "status": {"health": {"status": health}, "summary": {"images": [number.to_string()]}},
        });
        Arc::new(Application::decode(&object.to_string()).unwrap())
    }

    /// Everything that waits, in the order in which it is given out.
    fn drained(versions: &mut Versions) -> Vec<String> {
        let mut given = Vec::new();
        while let Some(app) = versions.take() {
            given.push(format!("{}{}", app.key.name, app.resource_version));
            versions.done(&app.key);
        }
        given
    }

    #[test]
    fn ct_01_versions_of_one_application_keep_their_order_and_are_given_out_one_by_one() {
        let mut versions = Versions::default();
        for (name, number) in [("a", 1), ("a", 2), ("b", 1), ("a", 3), ("b", 2)] {
            assert_eq!(versions.push(version(name, number, "Healthy")), 0);
        }
        let first = versions.take().unwrap();
        assert!(versions.waits(&first.key));
        let second = versions.take().unwrap();
        assert_eq!((first.key.name.as_str(), second.key.name.as_str()), ("a", "b"));
        assert!(versions.take().is_none(), "both are busy");
        versions.done(&second.key);
        versions.done(&first.key);
        assert_eq!(drained(&mut versions), ["b2", "a2", "a3"]);
        assert!(versions.is_idle() && versions.waiting.is_empty() && versions.bytes == 0);
        assert!(versions.superseded.is_empty() && versions.redundant.is_empty());
    }

    #[test]
    fn ct_11_equal_ones_go_first_then_the_oldest_and_only_those_are_counted() {
        let mut versions = Versions::within(Limits { versions: 3, ..Limits::default() });
        // (health, merged by it, what waits then)
        for (number, health, merged, waiting) in [
            (1, "Healthy", 0, vec!["a1"]),
            (2, "Degraded", 0, vec!["a1", "a2"]),
            (3, "Degraded", 0, vec!["a1", "a2", "a3"]),
            // 2 and 3 are equal: 2 goes and nothing is lost.
            (4, "Healthy", 0, vec!["a1", "a3", "a4"]),
            // All differ: the oldest is merged.
            (5, "Degraded", 1, vec!["a3", "a4", "a5"]),
            (6, "Degraded", 0, vec!["a3", "a4", "a6"]),
        ] {
            assert_eq!(versions.push(version("a", number, health)), merged, "{number}");
            let queue = &versions.waiting.values().next().unwrap().versions;
            let names: Vec<String> = queue.iter().map(|(_, app)| format!("a{}", app.resource_version)).collect();
            assert_eq!(names, waiting, "{number}");
        }
        // The same version again is no other one.
        assert_eq!(versions.push(version("a", 6, "Degraded")), 0);
        assert_eq!(drained(&mut versions), ["a3", "a4", "a6"]);
    }

    #[test]
    fn ct_11_all_share_their_bytes_and_the_latest_of_each_stays() {
        let size = version("a", 1, "Healthy").packed().len();
        let mut versions = Versions::within(Limits { bytes: size * 3 + size / 2, ..Limits::default() });
        assert_eq!(versions.push(version("a", 1, "Healthy")), 0);
        assert_eq!(versions.push(version("b", 1, "Healthy")), 0);
        assert_eq!(versions.push(version("b", 2, "Healthy")), 0);
        assert_eq!(versions.push(version("a", 2, "Missing")), 0, "b1 equals b2");
        assert_eq!(versions.push(version("c", 1, "Healthy")), 1, "a1 is the oldest with a later one");
        for (merged, name) in [(0, "d"), (0, "e")] {
            assert_eq!(versions.push(version(name, 1, "Healthy")), merged, "{name}");
        }
        assert_eq!(drained(&mut versions), ["a2", "b2", "c1", "d1", "e1"]);
        assert_eq!(versions.bytes, 0);
    }
}
