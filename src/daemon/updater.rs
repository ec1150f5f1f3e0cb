//! The image half's dispatcher: which Applications are looked at when, one round per remote at a time, and what a round
//! leaves behind: pushes, patches, journal entries, the Board (image-updates.md CYC-1, CYC-5, §22).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::aftermath::{self, Books};
use super::command::Command;
use super::follower::Follower;
use super::leader::Role;
use super::ownership::Standings;
use super::poller::{Extent, Turn};
use super::round::Looking;
use super::sharing::Sharing;
use super::status::NextRound;
use super::watcher::{Applications, Seen};
use super::world::World;
use crate::adapters::heap;
use crate::config::annotations;
use crate::core::application::source::normalise_repo_url;
use crate::core::application::{AppKey, Application};
use crate::core::update::decision;

/// Changes of Applications are collected this long before their partial round (CYC-5).
const SETTLE: Duration = Duration::from_millis(500);

/// At the start the Lease is waited for as long as this: a round before it could write nothing and be repeated.
const LEAD: Duration = Duration::from_secs(2);

/// Rounds of different remotes that run at the same time.
const AT_ONCE: usize = 8;

/// When a group is due that is looked at once per change of configuration.
const NEVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// What a remote's next round is about.
#[derive(Clone, Debug)]
enum Scope {
    All,
    Some(BTreeSet<AppKey>),
}

/// Everything that can wake the dispatcher.
enum Event {
    Seen(Seen),
    Command(Command),
    Ended(String),
    /// ImageUpdater objects came, changed or went.
    Owners,
    /// Whether images may be written here.
    Role(Role),
    Due,
}

/// What is remembered of an Application.
struct Known {
    /// What of it decides about its images: a version that leaves it alone causes no look.
    print: u64,
    /// The version that `group` was read from. Annotations are read once a version, not once for every remote.
    version: String,
    group: Option<String>,
}

/// The dispatcher.
pub struct Updater {
    world: World,
    applications: Applications,
    /// When each group's whole round is due.
    next: HashMap<String, Instant>,
    /// Partial rounds that wait: the group, which Applications, from when on.
    partial: HashMap<String, (BTreeSet<AppKey>, Instant)>,
    /// Groups whose next round somebody asked for: no earlier answer of a registry serves it.
    fresh: BTreeSet<String>,
    sharing: Sharing,
    running: BTreeSet<String>,
    rounds: JoinSet<String>,
    books: Arc<Books>,
    follower: Follower,
    known: HashMap<AppKey, Known>,
    standings: Standings,
    complete: bool,
    /// It was logged how many Applications are governed.
    announced: bool,
    /// A round ended since memory was given back.
    used: bool,
}

impl Updater {
    /// A dispatcher over these Applications.
    pub fn new(world: World, applications: Applications) -> Updater {
        let books = Arc::new(Books::new(world.clone()));
        Updater {
            follower: Follower::new(world.clone()),
            world,
            applications,
            next: HashMap::new(),
            partial: HashMap::new(),
            fresh: BTreeSet::new(),
            sharing: Sharing::default(),
            running: BTreeSet::new(),
            rounds: JoinSet::new(),
            books,
            known: HashMap::new(),
            standings: Standings::default(),
            complete: false,
            announced: false,
            used: false,
        }
    }

    /// Runs until the token is cancelled; then running rounds are waited for, within the drain's limit.
    pub async fn run(
        mut self,
        mut seen: mpsc::UnboundedReceiver<Seen>,
        mut commands: mpsc::UnboundedReceiver<Command>,
        stop: CancellationToken,
    ) {
        let progress = self.world.board.stage("update");
        self.follower.load().await;
        tokio::select! {
            _ = stop.cancelled() => return,
            () = self.world.secrets.known(&self.world.board) => {}
        }
        let mut owners = self.world.owners.subscribe();
        let mut role = self.world.gate.role();
        tokio::select! {
            _ = stop.cancelled() => return,
            _ = tokio::time::timeout(LEAD, role.wait_for(|role| *role != Role::Standby)) => {}
        }
        role.borrow_and_update();
        loop {
            if self.running.is_empty() {
                if std::mem::take(&mut self.used) {
                    tokio::task::spawn_blocking(heap::give_back);
                }
                progress.idle();
            }
            let due = self.next_due();
            let event = tokio::select! {
                _ = stop.cancelled() => break,
                changed = owners.changed() => match changed { Ok(()) => Event::Owners, Err(_) => break },
                changed = role.changed() => match changed {
                    Ok(()) => Event::Role(*role.borrow_and_update()),
                    Err(_) => break,
                },
                seen = seen.recv() => match seen { Some(seen) => Event::Seen(seen), None => break },
                command = commands.recv() => match command { Some(command) => Event::Command(command), None => break },
                Some(ended) = self.rounds.join_next(), if !self.rounds.is_empty() => match ended {
                    Ok(group) => Event::Ended(group),
                    Err(error) => {
                        tracing::error!("a round ended in a defect: {error}");
                        break;
                    }
                },
                _ = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => Event::Due,
            };
            progress.working();
            match event {
                Event::Seen(Seen::Version(app)) => self.version(app).await,
                Event::Seen(Seen::Gone(key)) => self.gone(&key),
                Event::Seen(Seen::Complete) => self.completed(),
                Event::Command(Command::Refresh(key)) => self.asked_for(key),
                Event::Command(Command::RefreshAll) => self.all_due(),
                Event::Ended(group) => self.ended(&group),
                Event::Owners => self.owners_changed(),
                Event::Role(Role::Standby) => {}
                // What was found meanwhile is written now.
                Event::Role(Role::Leader | Role::Alone) => self.all_due(),
                Event::Due => {}
            }
            self.start_due();
        }
        while self.rounds.join_next().await.is_some() {}
    }

    /// The earliest moment at which something may start.
    fn next_due(&self) -> Option<Instant> {
        if !self.complete || !self.world.knows_owners() || self.running.len() >= AT_ONCE {
            return None;
        }
        let whole = self.next.iter().filter(|(group, _)| !self.running.contains(*group)).map(|(_, at)| *at);
        let partial = self.partial.iter().filter(|(group, _)| !self.running.contains(*group)).map(|(_, (_, at))| *at);
        whole.chain(partial).min()
    }

    async fn version(&mut self, app: Arc<Application>) {
        self.follower.version(&app).await;
        // A label may give it to another object, or take it from one.
        let moved = self.standings.note(&self.world, &app);
        if moved && self.complete {
            self.standings.show(&self.world);
        }
        let (print, version) = (fingerprint(&app), app.resource_version.clone());
        if let Some(known) = self.known.get_mut(&app.key).filter(|known| known.print == print && !moved) {
            known.version = version;
            return;
        }
        self.known.insert(app.key.clone(), Known { print, version, group: group_of(&app) });
        let group = self.group(&app);
        self.sharing.set(&app, group.as_deref());
        let Some(group) = group else { return self.leave(&app) };
        self.next.entry(group).or_insert_with(Instant::now);
        if self.complete {
            self.look_at(app.key.clone(), SETTLE);
        }
    }

    /// Nothing is looked at, but settings that cannot be used are shown (ANN-5).
    fn leave(&self, app: &Application) {
        let own = self.world.governs(app);
        let problems = own.then(|| annotations::settings_with(app, &self.world.settings.defaults).1);
        self.books.forget(&app.key, problems.unwrap_or_default());
    }

    /// Which rounds an Application belongs to, if this half governs it at all (TEN-1).
    fn group(&self, app: &Application) -> Option<String> {
        if !self.world.governs(app) {
            return None;
        }
        match self.known.get(&app.key) {
            // Manifests have no versions.
            Some(known) if known.version == app.resource_version && !known.version.is_empty() => known.group.clone(),
            _ => group_of(app),
        }
    }

    fn gone(&mut self, key: &AppKey) {
        self.known.remove(key);
        if self.standings.forget(key) {
            self.standings.show(&self.world);
        }
        self.sharing.forget(key);
        self.books.forget(key, Vec::new());
        let alive: BTreeSet<String> = self.applications.all().iter().filter_map(|app| self.group(app)).collect();
        self.next.retain(|group, _| alive.contains(group));
    }

    fn completed(&mut self) {
        if !self.complete {
            self.complete = true;
            self.announce();
        }
    }

    /// Says once how many Applications are governed in which way, when that is known (OWN-2).
    fn announce(&mut self) {
        if !self.complete || !self.world.knows_owners() {
            return;
        }
        self.standings.show(&self.world);
        let governed = self.applications.all().iter().filter(|app| self.group(app).is_some()).count();
        self.world.board.update(|status| status.applications = governed);
        if !std::mem::replace(&mut self.announced, true) {
            let counts = self.standings.counts();
            tracing::info!(
                native = counts.native,
                through_image_updaters = counts.selected,
                left_to_image_updaters = counts.waiting,
                without_image_updater = counts.unselected,
                "{} applications are managed natively, by their annotations",
                counts.native
            );
        }
    }

    /// Objects came, changed or went: Applications that stand otherwise now are looked at, or forgotten if they are left to
    /// others.
    fn owners_changed(&mut self) {
        let mut alive = BTreeSet::new();
        for app in self.applications.all() {
            let moved = self.standings.note(&self.world, &app);
            let group = self.group(&app);
            self.sharing.set(&app, group.as_deref());
            let Some(group) = group else {
                self.leave(&app);
                continue;
            };
            alive.insert(group.clone());
            self.next.entry(group).or_insert_with(Instant::now);
            if moved && self.complete {
                self.look_at(app.key.clone(), Duration::ZERO);
            }
        }
        self.next.retain(|group, _| alive.contains(group));
        self.announce();
    }

    fn all_due(&mut self) {
        self.fresh.extend(self.next.keys().cloned());
        self.next.values_mut().for_each(|at| *at = Instant::now());
    }

    fn asked_for(&mut self, key: AppKey) {
        self.fresh.extend(self.applications.by_key(&key).and_then(|app| self.group(&app)));
        self.look_at(key, Duration::ZERO);
    }

    fn look_at(&mut self, key: AppKey, after: Duration) {
        let Some(group) = self.applications.by_key(&key).and_then(|app| self.group(&app)) else { return };
        let entry = self.partial.entry(group).or_insert_with(|| (BTreeSet::new(), Instant::now() + after));
        entry.0.insert(key);
    }

    fn ended(&mut self, group: &str) {
        self.running.remove(group);
        self.used = true;
        // Whoever was taken away during the round is in the books again.
        for key in self.standings.taken() {
            self.books.forget(key, Vec::new());
        }
        self.world.metrics.round();
        self.world.board.update(|status| status.rounds += 1);
        self.follower.refill(&self.books);
    }

    /// Starts every round that is due and whose remote is free.
    fn start_due(&mut self) {
        if !self.complete || !self.world.knows_owners() {
            return;
        }
        let now = Instant::now();
        let mut due: BTreeMap<String, Scope> = BTreeMap::new();
        for (group, (keys, at)) in &self.partial {
            if *at <= now {
                due.insert(group.clone(), Scope::Some(keys.clone()));
            }
        }
        for (group, at) in &self.next {
            if *at <= now {
                due.insert(group.clone(), Scope::All);
            }
        }
        for (group, scope) in due {
            if self.running.len() >= AT_ONCE || self.running.contains(&group) {
                continue;
            }
            self.partial.remove(&group);
            if matches!(scope, Scope::All) {
                self.reschedule(&group, now);
            }
            self.start(group, &scope);
        }
    }

    /// The jitter is per remote, so that many remotes do not ask at one moment.
    fn reschedule(&mut self, group: &str, now: Instant) {
        match self.world.settings.interval {
            Some(interval) if !interval.is_zero() => {
                let jittered = interval.mul_f64(0.9 + 0.2 * fastrand::f64());
                self.next.insert(group.to_owned(), now + jittered);
            }
            // Looked at once per change of configuration.
            _ => {
                self.next.insert(group.to_owned(), now + NEVER);
            }
        }
    }

    /// The status tells moments of the wall clock; what is due is decided by the monotonic one (CYC-4).
    fn show_next(&self) {
        let (now, clock) = (Instant::now(), Timestamp::now());
        let at = |at: &Instant| clock.saturating_add(at.saturating_duration_since(now)).unwrap_or(Timestamp::MAX);
        let soon = self.next.iter().filter(|(_, at)| **at < now + NEVER / 2);
        let mut next: Vec<NextRound> =
            soon.map(|(group, due)| NextRound { remote: without_user(group), at: at(due) }).collect();
        next.sort_by(|a, b| (a.at, &a.remote).cmp(&(b.at, &b.remote)));
        self.world.board.update(|status| status.next_rounds = next);
    }

    fn start(&mut self, group: String, scope: &Scope) {
        let apps: Vec<Arc<Application>> = match scope {
            Scope::All => {
                let all = self.applications.all().into_iter();
                all.filter(|app| self.group(app).as_ref() == Some(&group)).collect()
            }
            Scope::Some(keys) => {
                let some = keys.iter().filter_map(|key| self.applications.by_key(key));
                some.filter(|app| self.world.governs(app)).collect()
            }
        };
        if apps.is_empty() {
            return;
        }
        self.show_next();
        self.running.insert(group.clone());
        let fresh = self.fresh.remove(&group);
        let turn = Turn {
            group: group.clone(),
            shared: Arc::new(self.sharing.shared(&group)),
            fresh,
            extent: Extent::Essential,
        };
        let (world, books) = (self.world.clone(), self.books.clone());
        self.rounds.spawn(async move {
            let mut looking = Looking::begin(&world, &apps, &turn);
            while let Some(mut round) = looking.part(Some(world.settings.git.batch_window)).await {
                // Looking takes time: what was given to somebody else meanwhile is not written (TEN-1).
                round.keep(|app| world.governs(app));
                aftermath::settle(&world, &books, round).await;
            }
            group
        });
    }
}

/// A remote as it is shown.
pub fn without_user(remote: &str) -> String {
    let Some((scheme, rest)) = remote.split_once("://") else { return remote.to_owned() };
    let host = rest.split('/').next().unwrap_or_default();
    let path = &rest[host.len()..];
    format!("{scheme}://{}{path}", host.rsplit_once('@').map_or(host, |(_, host)| host))
}

/// Which rounds an Application belongs to: the remote it writes to; all that are patched share one. `None` if its
/// images are not governed.
pub fn group_of(app: &Application) -> Option<String> {
    let (settings, _) = annotations::settings(app);
    let settings = settings?;
    if settings.method == crate::core::update::Method::Argocd {
        return Some("cluster".to_owned());
    }
    let own = app.sources.iter().find(|source| source.chart.is_none()).map(|source| source.repo_url.as_str());
    let url = settings.git_repository.as_deref().or(own).unwrap_or_default();
    Some(normalise_repo_url(url))
}

/// What of an Application decides about its images: annotations, sources, live images. Not its sync state (DEC-9).
fn fingerprint(app: &Application) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    app.uid.hash(&mut hasher);
    for (key, value) in &app.annotations {
        if key.starts_with("argocd-image-updater.argoproj.io/") || key.starts_with("lynceus.dev/") {
            (key, value).hash(&mut hasher);
        }
    }
    format!("{:?}", app.sources).hash(&mut hasher);
    // Which images are live opens the gate; with which tags they run is read when a round looks.
    let live: BTreeSet<_> = decision::live_images(app).iter().map(|image| image.canonical()).collect();
    live.hash(&mut hasher);
    hasher.finish()
}
