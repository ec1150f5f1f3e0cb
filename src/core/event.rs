//! Event: the closed list of what the image half did; the only word both halves share (image-updates.md §22). The
//! journal keeps events, `history` and `demo` show them, the notification half turns them into messages.

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::application::AppKey;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A candidate that differs from the desired value was seen for the first time.
    Found,
    /// A found candidate is kept back; `reason` says why.
    Held,
    /// Lynceus or the Git host will not make this write as things are; `reason` is the kind.
    Refused,
    /// The value is durable in the desired state: push accepted, or Application patched.
    Committed,
    /// Argo CD's synced revision contains the commit, or the patched spec was synced.
    Synced,
    /// After `synced`: healthy, and the new image is live where images are reported.
    Healthy,
    /// After `synced`: degraded, or the sync failed.
    Degraded,
    /// Something needed does not work; `reason` is the kind.
    Failed,
    /// A failed or refused cause is gone.
    Recovered,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 9] = [
        Kind::Found,
        Kind::Held,
        Kind::Refused,
        Kind::Committed,
        Kind::Synced,
        Kind::Healthy,
        Kind::Degraded,
        Kind::Failed,
        Kind::Recovered,
    ];

    /// The word of §22.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Found => "found",
            Kind::Held => "held",
            Kind::Refused => "refused",
            Kind::Committed => "committed",
            Kind::Synced => "synced",
            Kind::Healthy => "healthy",
            Kind::Degraded => "degraded",
            Kind::Failed => "failed",
            Kind::Recovered => "recovered",
        }
    }

    /// How bad it is: `info`, `warning` or `error`.
    pub fn severity(self) -> &'static str {
        match self {
            Kind::Found | Kind::Committed | Kind::Synced | Kind::Healthy | Kind::Recovered => "info",
            Kind::Held => "warning",
            Kind::Refused | Kind::Failed | Kind::Degraded => "error",
        }
    }

    /// The kind of a word.
    pub fn from_word(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// One thing the image half did, as it goes into the journal. Texts that do not apply are empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Hash of what makes it unique: [`Event::id_of`].
    pub id: String,
    /// What happened.
    pub kind: Kind,
    /// When.
    pub at: Timestamp,
    /// The Application; for causes shared by many, the first one by name.
    pub app: AppKey,
    /// Its UID, or its key where there is none.
    pub app_uid: String,
    /// Its project.
    pub project: String,
    /// Joins found, committed, synced and healthy of one change.
    pub change: String,
    /// The image's alias.
    pub alias: String,
    /// The image's full name, without tag.
    pub image: String,
    /// The value before.
    pub old: String,
    /// The value after, or the candidate.
    pub new: String,
    /// Kind of a hold, refusal or failure.
    pub reason: String,
    /// For a person.
    pub message: String,
    /// Where it was written; only on `committed` and what follows.
    pub place: Option<Place>,
    /// How many objects a shared cause concerns (EVT-2); 1 otherwise.
    pub count: u32,
    /// The first of these objects by name, at most [`MOST_NAMED`]; empty otherwise.
    pub apps: Vec<String>,
    /// What it follows: the commit of `synced`, `healthy` and `degraded`, the trouble of `recovered`.
    pub earlier: Option<Earlier>,
    /// The update strategy that chose the candidate.
    pub strategy: String,
    /// When the candidate was first found; `None` where there is none.
    pub first_seen: Option<Timestamp>,
    /// The revision that Argo CD synced, on `synced` and what follows.
    pub revision: String,
    /// What governs the Application (EVT-1): `ImageUpdater namespace/name`, or `annotations` alone.
    pub owner: String,
    /// All changes of the Application's commit, this one among them; empty where there is no commit.
    pub beside: Vec<Moved>,
}

/// One image of a commit, from which value to which.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// The image's alias.
    pub alias: String,
    /// The image's full name, without tag.
    pub image: String,
    /// The value before.
    pub old: String,
    /// The value after.
    pub new: String,
    /// The strategy that chose it.
    pub strategy: String,
}

/// So many Applications of a shared cause are named.
pub const MOST_NAMED: usize = 20;

/// An earlier event that a later one answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// Its id.
    pub id: String,
    /// When it was.
    pub at: Timestamp,
}

/// Where a value became durable.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Place {
    /// `git` or `argocd`.
    pub method: String,
    /// The repository, without credentials.
    pub repository: String,
    /// The branch.
    pub branch: String,
    /// The commit.
    pub commit: String,
    /// The file.
    pub file: String,
    /// What the commit says of this Application.
    pub message: String,
    /// The change as a unified diff.
    pub diff: String,
}

impl Event {
    /// The stable id: hash of Application, image, kind, old, new and whatever else makes it that one event
    /// (commit, reason).
    pub fn id_of(app_uid: &str, image: &str, kind: Kind, old: &str, new: &str, last: &str) -> String {
        format!("img_{}", short_hash(&[app_uid, image, kind.word(), old, new, last]))
    }

    /// The change id that joins the events of one change.
    pub fn change_of(app_uid: &str, alias: &str, image: &str, old: &str, new: &str) -> String {
        format!("chg_{}", short_hash(&[app_uid, alias, image, old, new]))
    }
}

fn short_hash(fields: &[&str]) -> String {
    let mut sum = Sha256::new();
    for field in fields {
        sum.update(format!("{}:", field.len()));
        sum.update(field.as_bytes());
    }
    sum.finalize()[..12].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evt_1_ids_are_stable_and_differ_by_every_field() {
        let base = ["u", "nginx", "1", "2", "c"];
        let id = |f: &[&str]| Event::id_of(f[0], f[1], Kind::Committed, f[2], f[3], f[4]);
        assert_eq!(id(&base), id(&base));
        for at in 0..base.len() {
            let mut other = base;
            other[at] = "x";
            assert_ne!(id(&base), id(&other), "field {at}");
        }
        assert_ne!(Event::id_of("ab", "c", Kind::Found, "", "", ""), Event::id_of("a", "bc", Kind::Found, "", "", ""));
    }

    #[test]
    fn every_kind_reads_back() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_word(kind.word()), Some(kind));
        }
    }
}
