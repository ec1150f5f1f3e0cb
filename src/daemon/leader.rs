//! Who of several replicas writes images: the holder of a Lease, the same one that Argo CD Image Updater 1.x takes, with
//! the same times, so that the two never work side by side (image-updates.md CYC-2, §23). The [`Gate`] is asked before
//! every write. It closes by the clock, without anybody's help, before somebody else may take the Lease. The Lease says
//! who should write; that nothing is written twice or over others does not rest on it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::status::{Board, Leadership};
use crate::adapters::cluster::{Claim, Cluster, Error, Lease};
use crate::adapters::store::{self, Store};
use crate::core::problem::Problem;

/// The Lease of Argo CD Image Updater.
pub const LEASE: &str = "c21b75f2.argoproj.io";

/// The times of controller-runtime: a Lease that was not renewed for so long may be taken,
const LASTS: Duration = Duration::from_secs(15);
/// a holder that could not renew it for so long gives up,
const RENEW_WITHIN: Duration = Duration::from_secs(10);
/// and this is the time between two tries.
const RETRY: Duration = Duration::from_secs(2);

/// One request takes at most so long.
const PATIENCE: Duration = Duration::from_secs(5);

/// Without permission it is asked again this often, in case it is granted.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// An API server that has just started may deny what it is about to grant: so many denials count.
const DENIALS: u32 = 3;

/// The kind of trouble of what the gate held back. It is nobody's fault and is not announced.
pub const CLOSED: &str = "not-leading";

/// Where the identity of this installation's state is kept.
const HOME: &str = "images/home";

/// The part this process has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// There is no election: it writes.
    #[default]
    Alone,
    /// Somebody else writes, or nobody does yet.
    Standby,
    /// It writes.
    Leader,
}

impl Role {
    /// The word of the status.
    pub fn word(self) -> &'static str {
        match self {
            Role::Alone => "alone",
            Role::Standby => "standby",
            Role::Leader => "leader",
        }
    }
}

/// Whether images may be written at this moment. Cloning is cheap; clones share everything.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    role: watch::Sender<Role>,
    /// Until when a leader may write without a further renewal.
    until: Mutex<Instant>,
    ending: AtomicBool,
    lost: AtomicBool,
}

impl Default for Gate {
    fn default() -> Self {
        let (role, until) = (watch::channel(Role::default()).0, Mutex::new(Instant::now()));
        Gate(Arc::new(Inner { role, until, ending: AtomicBool::new(false), lost: AtomicBool::new(false) }))
    }
}

impl Gate {
    /// Asked before every write.
    ///
    /// # Errors
    /// Why nothing may be written now.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.0.ending.load(Ordering::SeqCst) {
            return Err("the daemon is ending");
        }
        match *self.0.role.borrow() {
            Role::Alone => Ok(()),
            Role::Standby => Err("another replica writes images"),
            Role::Leader if Instant::now() < self.until() => Ok(()),
            Role::Leader => Err("the Lease could not be renewed in time"),
        }
    }

    /// From now on nothing is written (CYC-3).
    pub fn close(&self) {
        self.0.ending.store(true, Ordering::SeqCst);
    }

    /// Whether this process led and could not go on.
    pub fn lost(&self) -> bool {
        self.0.lost.load(Ordering::SeqCst)
    }

    /// The part this process has, as it changes.
    pub fn role(&self) -> watch::Receiver<Role> {
        self.0.role.subscribe()
    }

    fn until(&self) -> Instant {
        *self.0.until.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Leads until so long after `renewed`, the moment before the request that renewed the Lease left.
    fn lead(&self, renewed: Instant) {
        *self.0.until.lock().unwrap_or_else(|e| e.into_inner()) = renewed + RENEW_WITHIN;
        self.become_(Role::Leader);
    }

    fn become_(&self, role: Role) {
        self.0.role.send_if_modified(|known| std::mem::replace(known, role) != role);
    }

    fn lose(&self) {
        self.close();
        self.0.lost.store(true, Ordering::SeqCst);
    }
}

/// The election.
pub struct Election {
    cluster: Cluster,
    gate: Gate,
    board: Board,
    namespace: String,
    me: Identity,
    /// The Lease while it is held.
    held: tokio::sync::Mutex<Option<Lease>>,
}

/// Name of a holder: `<host>_<state>_<process>`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    full: String,
    /// Which state directory it works on.
    state: String,
}

impl Identity {
    fn new(state: &str) -> Identity {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = if host.trim().is_empty() { "lynceus" } else { host.trim() };
        Identity { full: format!("{host}_{state}_{:016x}", fastrand::u64(..)), state: state.to_owned() }
    }

    /// A state directory has one owner at a time, by its lock: whoever held the Lease with ours is gone.
    fn is_predecessor(&self, holder: &str) -> bool {
        holder.rsplit('_').nth(1) == Some(self.state.as_str())
    }
}

/// What a candidate saw last, and since when by its own clock. Clocks of different machines are not compared.
struct Seen {
    version: String,
    since: Instant,
}

/// What comes next.
enum Next {
    Wait(Duration),
    Lost(String),
}

impl Election {
    /// An election for the Lease in `namespace`. Until it is won nothing is written.
    ///
    /// # Errors
    /// If the store cannot say, or keep, whose state this is.
    pub async fn new(
        cluster: Cluster,
        store: &Store,
        gate: Gate,
        board: Board,
        namespace: String,
    ) -> Result<Arc<Election>, store::Error> {
        let state = match store.text(HOME).await? {
            Some(state) => state,
            None => {
                let state = format!("{:016x}", fastrand::u64(..));
                store.set_text(HOME, &state).await?;
                state
            }
        };
        gate.become_(Role::Standby);
        let me = Identity::new(&state);
        Ok(Arc::new(Election { cluster, gate, board, namespace, me, held: tokio::sync::Mutex::default() }))
    }

    /// Runs until the token is cancelled, or until the Lease is lost: then the process must end.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut candidate = Candidate { seen: None, worked: false, denials: 0 };
        loop {
            let next = tokio::select! {
                _ = stop.cancelled() => return,
                next = self.step(&mut candidate) => next,
            };
            match next {
                Next::Wait(time) => tokio::select! {
                    _ = stop.cancelled() => return,
                    _ = tokio::time::sleep(time) => {}
                },
                Next::Lost(why) => {
                    self.gate.lose();
                    tracing::error!("the Lease {LEASE} is lost, nothing more is written: {why}");
                    return;
                }
            }
        }
    }

    async fn step(&self, candidate: &mut Candidate) -> Next {
        let held = self.held.lock().await.clone();
        match held {
            Some(lease) => self.renew(&lease).await,
            None => self.try_to_take(candidate).await,
        }
    }

    async fn renew(&self, lease: &Lease) -> Next {
        let started = Instant::now();
        let Some(left) = self.gate.until().checked_duration_since(started).filter(|left| !left.is_zero()) else {
            return Next::Lost(format!("it was not renewed for {} s", RENEW_WITHIN.as_secs()));
        };
        let claim = Claim { renewed: Some(Timestamp::now()), ..lease.claim() };
        let asked = tokio::time::timeout(left.min(PATIENCE), self.cluster.replace_lease(lease, &claim)).await;
        match asked {
            Ok(Ok(lease)) => {
                self.lead(lease, started).await;
                Next::Wait(RETRY)
            }
            Ok(Err(Error::Conflict { .. } | Error::Missing { .. })) => self.again(left).await,
            Ok(Err(error)) => {
                self.say(error.problem().hint("nothing is written if the Lease cannot be renewed in time"));
                Next::Wait(RETRY.min(left))
            }
            Err(_) => {
                self.say(Problem::error("kubernetes-unavailable", "the Lease is not renewed: no answer"));
                Next::Wait(Duration::ZERO)
            }
        }
    }

    /// Somebody wrote the Lease: an editor of its labels, or whoever leads now.
    async fn again(&self, left: Duration) -> Next {
        match tokio::time::timeout(left.min(PATIENCE), self.cluster.lease(&self.namespace, LEASE)).await {
            Ok(Ok(Some(lease))) if lease.claim().holder == self.me.full => {
                *self.held.lock().await = Some(lease);
                Next::Wait(Duration::ZERO)
            }
            Ok(Ok(Some(lease))) => Next::Lost(format!("{} holds it", lease.claim().holder)),
            Ok(Ok(None)) => Next::Lost("it was deleted".to_owned()),
            Ok(Err(_)) | Err(_) => Next::Wait(RETRY.min(left)),
        }
    }

    async fn try_to_take(&self, candidate: &mut Candidate) -> Next {
        let read = tokio::time::timeout(PATIENCE, self.cluster.lease(&self.namespace, LEASE)).await;
        let found = match read {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return self.hindered(candidate, &error),
            Err(_) => {
                self.say(Problem::warning("kubernetes-unavailable", "the Lease is not read: no answer"));
                return Next::Wait(RETRY);
            }
        };
        if let Some(lease) = &found
            && !candidate.may_take(lease, &self.me)
        {
            candidate.worked = true;
            self.stand_by(lease);
            return Next::Wait(RETRY);
        }
        let (started, now) = (Instant::now(), Timestamp::now());
        let before = found.as_ref().map(Lease::claim).unwrap_or_default();
        let claim = Claim {
            holder: self.me.full.clone(),
            lasts: LASTS,
            acquired: Some(now),
            renewed: Some(now),
            transitions: if found.is_some() { before.transitions.saturating_add(1) } else { 0 },
        };
        let taking = async {
            match &found {
                Some(lease) => self.cluster.replace_lease(lease, &claim).await,
                None => self.cluster.make_lease(&self.namespace, LEASE, &claim).await,
            }
        };
        match tokio::time::timeout(PATIENCE, taking).await {
            Ok(Ok(lease)) => {
                candidate.worked = true;
                tracing::info!(holder = self.me.full, namespace = self.namespace, "images are written here");
                self.lead(lease, started).await;
                Next::Wait(RETRY)
            }
            // Somebody was faster.
            Ok(Err(Error::Conflict { .. })) => Next::Wait(RETRY),
            Ok(Err(error)) => self.hindered(candidate, &error),
            Err(_) => Next::Wait(RETRY),
        }
    }

    /// The election does not work. A Role that never granted it is that of Image Updater 0.x, of which one replica ran:
    /// so does this one.
    fn hindered(&self, candidate: &mut Candidate, error: &Error) -> Next {
        let denied = matches!(error, Error::Forbidden { .. }) && !candidate.worked;
        candidate.denials = if denied { candidate.denials.saturating_add(1) } else { 0 };
        if candidate.denials < DENIALS {
            self.say(error.problem());
            return Next::Wait(RETRY);
        }
        let text = format!("{error}: this replica writes images without a Lease, as if it were the only one");
        let hint = "grant get, create, update on leases.coordination.k8s.io by a Role, or start with \
                    --leader-election=false";
        self.say(Problem::warning("kubernetes-forbidden", text).hint(hint));
        self.show(Role::Alone, "");
        self.gate.become_(Role::Alone);
        Next::Wait(ASK_AGAIN)
    }

    fn stand_by(&self, lease: &Lease) {
        let holder = lease.claim().holder;
        if self.show(Role::Standby, &holder) {
            tracing::info!(holder, namespace = self.namespace, "another replica writes images");
        }
        self.board.problems("leader election", Vec::new());
        self.gate.become_(Role::Standby);
    }

    async fn lead(&self, lease: Lease, renewed: Instant) {
        *self.held.lock().await = Some(lease);
        self.gate.lead(renewed);
        self.show(Role::Leader, &self.me.full);
        self.board.problems("leader election", Vec::new());
    }

    /// True if this is news.
    fn show(&self, role: Role, holder: &str) -> bool {
        let leadership = Leadership { role: role.word(), holder: holder.to_owned(), lease: self.place() };
        let news = self.board.status().leadership.as_ref() != Some(&leadership);
        if news {
            self.board.update(|status| status.leadership = Some(leadership));
        }
        news
    }

    fn say(&self, problem: Problem) {
        self.board.problems("leader election", vec![problem.in_object(format!("Lease {}", self.place()))]);
    }

    fn place(&self) -> String {
        format!("{}/{LEASE}", self.namespace)
    }

    /// Gives the Lease back, so that the next one need not wait. Only for a process that writes no more.
    pub async fn release(&self) {
        let Some(lease) = self.held.lock().await.take() else { return };
        let claim = Claim {
            holder: String::new(),
            lasts: Duration::from_secs(1),
            renewed: Some(Timestamp::now()),
            ..lease.claim()
        };
        // Whoever else wrote it has it; without an answer it ends by itself.
        match tokio::time::timeout(RETRY / 2, self.cluster.replace_lease(&lease, &claim)).await {
            Ok(Ok(_)) => tracing::info!("the Lease {LEASE} is given back"),
            Ok(Err(error)) => tracing::debug!("the Lease {LEASE} is not given back: {error}"),
            Err(_) => tracing::debug!("the Lease {LEASE} is not given back: no answer"),
        }
    }
}

struct Candidate {
    seen: Option<Seen>,
    /// The API has served Leases since the start.
    worked: bool,
    denials: u32,
}

impl Candidate {
    fn may_take(&mut self, lease: &Lease, me: &Identity) -> bool {
        let claim = lease.claim();
        let now = Instant::now();
        if self.seen.as_ref().is_none_or(|seen| seen.version != lease.version()) {
            self.seen = Some(Seen { version: lease.version().to_owned(), since: now });
        }
        let since = self.seen.as_ref().map_or(now, |seen| seen.since);
        let lasts = if claim.lasts.is_zero() { LASTS } else { claim.lasts };
        claim.holder.is_empty() || me.is_predecessor(&claim.holder) || now.duration_since(since) >= lasts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cyc_2_the_gate_closes_by_the_clock() {
        let gate = Gate::default();
        assert_eq!(gate.check(), Ok(()), "without an election");
        gate.become_(Role::Standby);
        assert!(gate.check().is_err());
        gate.lead(Instant::now());
        assert_eq!(gate.check(), Ok(()));
        gate.lead(Instant::now() - RENEW_WITHIN);
        assert!(gate.check().is_err(), "nobody renewed it, and nobody had to say so");
        gate.lead(Instant::now());
        assert_eq!(gate.check(), Ok(()));
        gate.close();
        assert_eq!(gate.check(), Err("the daemon is ending"));
        // Nothing may be written in the time that others wait before they take it, with room for what is on its way.
        assert!(RENEW_WITHIN + Duration::from_secs(4) < LASTS);
    }

    #[test]
    fn cyc_2_a_holder_of_the_same_state_is_gone() {
        let (first, again, other) = (Identity::new("aa"), Identity::new("aa"), Identity::new("bb"));
        assert_ne!(first.full, again.full);
        assert!(again.is_predecessor(&first.full) && !other.is_predecessor(&first.full));
        // controller-runtime's: <host>_<uuid>.
        assert!(!first.is_predecessor("argocd-image-updater-5_4fd6b52e-6f1c-4d3c-9ad5-5b4c3f4d1c11"));
        assert!(!first.is_predecessor(""));
    }
}
