//! Who manages which Application: ImageUpdater objects as they come and go, and what is said of those they keep from
//! being managed (image-updates.md §6).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::world::World;
use crate::adapters::cluster::{DocumentEvent, Namespaces, UpdaterEvent};
use crate::config::image_updaters;
use crate::config::settings::NativeAnnotations;
use crate::core::application::{AppKey, Application};
use crate::core::problem::Problem;
use crate::core::update::ownership::{Native, Owner, OwnerKey, Ownership, Standing};

/// Applications that a problem of an object names; the others are counted.
const NAMED: usize = 20;

impl World {
    /// Whether it is known which ImageUpdater objects there are.
    pub fn knows_owners(&self) -> bool {
        self.offline() || self.cluster.is_none() || self.owners.borrow().is_some()
    }

    fn ownership(&self) -> Arc<Ownership> {
        self.owners.borrow().clone().unwrap_or_default()
    }

    fn native(&self) -> Native {
        match self.settings.native_annotations {
            NativeAnnotations::Auto => Native::Auto,
            NativeAnnotations::True => Native::Always,
            NativeAnnotations::False => Native::Never,
        }
    }

    /// Whether the Applications of a namespace are watched (SRC-2).
    pub fn watches(&self, namespace: &str) -> bool {
        match Namespaces::parse(&self.settings.watch_namespaces, &self.settings.argocd_namespace) {
            Ok(Namespaces::All) => true,
            Ok(Namespaces::Own(own)) => namespace == own,
            Ok(Namespaces::List(names)) => names.iter().any(|name| name == namespace),
            Err(_) => false,
        }
    }

    /// Who manages an Application by its annotations; `None` if the image half does not look at it: outside the watched
    /// namespaces, or not among the names that are matched (SRC-2, SRC-3, TEN-1).
    pub fn standing(&self, app: &Application) -> Option<Standing> {
        let names = &self.settings.match_names;
        let named = names.is_empty() || names.iter().any(|glob| glob.matches(&app.key.name));
        let admitted = named && (self.offline() || self.watches(&app.key.namespace));
        admitted.then(|| self.ownership().standing(app, self.native()))
    }

    /// Who says that an Application's annotations count: the objects that select it, else they themselves (OWN-3).
    pub fn owner_of(&self, app: &Application) -> String {
        match self.standing(app) {
            Some(Standing::Selected(owners)) => owners.iter().map(OwnerKey::to_string).collect::<Vec<_>>().join(", "),
            _ => "annotations".to_owned(),
        }
    }

    /// Whether the image half may manage an Application by its annotations (TEN-1, OWN-1 to OWN-3).
    pub fn governs(&self, app: &Application) -> bool {
        self.standing(app).is_some_and(|standing| standing.governed())
    }

    /// Follows ImageUpdater objects until the token is cancelled; with `once` only until all are known.
    pub async fn follow_owners(&self, once: bool, stop: CancellationToken) {
        let Some(cluster) = self.cluster.as_ref().filter(|_| !self.offline()) else { return };
        let settings = &self.settings;
        let Ok(watched) = Namespaces::parse(&settings.watch_namespaces, &settings.argocd_namespace) else { return };
        let mut events = std::pin::pin!(cluster.image_updaters(&watched));
        let mut owners: BTreeMap<OwnerKey, Owner> = BTreeMap::new();
        loop {
            let event = tokio::select! {
                _ = stop.cancelled() => return,
                event = events.next() => event,
            };
            let Some(event) = event else { return };
            if self.take(&mut owners, event) {
                let targets = &settings.updater_target_namespaces;
                self.tell_owners(Ownership::new(owners.values().cloned(), targets));
            }
            if once && (self.owners.borrow().is_some() || self.board.status().problems.contains_key(OBJECTS)) {
                return;
            }
        }
    }

    /// Takes what the watch tells; whether all objects are known now.
    fn take(&self, owners: &mut BTreeMap<OwnerKey, Owner>, event: UpdaterEvent) -> bool {
        let about = |key: &OwnerKey| key.to_string();
        match event {
            UpdaterEvent::Document(DocumentEvent::Applied(object)) => {
                let (owner, problems) = image_updaters::owner(&object.namespace, &object.name, &object.object);
                self.board.problems(&about(&owner.key), problems);
                owners.insert(owner.key.clone(), owner);
            }
            UpdaterEvent::Document(DocumentEvent::Deleted(namespace, name)) => {
                let key = OwnerKey { namespace, name };
                self.board.problems(&about(&key), Vec::new());
                owners.remove(&key);
            }
            UpdaterEvent::Document(DocumentEvent::Ready | DocumentEvent::Up) => {
                self.board.problems(OBJECTS, Vec::new());
                return true;
            }
            UpdaterEvent::NoKind => {
                std::mem::take(owners).keys().for_each(|key| self.board.problems(&about(key), Vec::new()));
                self.board.problems(OBJECTS, Vec::new());
                return true;
            }
            UpdaterEvent::Document(DocumentEvent::Undecodable(problem)) => {
                self.board.problems(OBJECTS, vec![problem]);
            }
            UpdaterEvent::Forbidden(call) => {
                // Only Roles of the line without these objects do not grant this: there is nobody else to ask.
                let text = format!("{call}: not permitted; Applications are managed by their annotations");
                let problem = Problem::warning("kubernetes-forbidden", text);
                let hint = "if there are ImageUpdater objects, grant get, list, watch on imageupdaters";
                self.board.problems(OBJECTS, vec![problem.hint(hint)]);
                return true;
            }
            UpdaterEvent::Document(DocumentEvent::Down(text)) => {
                // Whether somebody else governs an Application must be known before it is written.
                let hint = "nothing is written before that is known; --native-annotations=true does not wait for it";
                self.board.problems(OBJECTS, vec![Problem::error("kubernetes-unavailable", text).hint(hint)]);
                return self.native() == Native::Always && self.owners.borrow().is_none();
            }
        }
        self.owners.borrow().is_some()
    }

    /// Whoever waits for the owners is woken if they changed.
    pub fn tell_owners(&self, ownership: Ownership) {
        self.owners.send_if_modified(|known| {
            let news = known.as_deref() != Some(&ownership);
            *known = Some(Arc::new(ownership));
            news
        });
    }
}

/// What the watch of the objects is reported under.
const OBJECTS: &str = "image updaters";

/// How every known Application stands, and what is reported of it.
#[derive(Default)]
pub struct Standings {
    known: BTreeMap<AppKey, Known>,
    /// What problems are reported under at present.
    shown: BTreeSet<String>,
}

struct Known {
    standing: Standing,
    /// It has an image list.
    annotated: bool,
    /// Objects that would select it, were its namespace followed (CR-7).
    astray: BTreeSet<OwnerKey>,
}

/// How many Applications are managed in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// By their annotations alone.
    pub native: usize,
    /// By their annotations, because an object says so.
    pub selected: usize,
    /// Not yet: an object that is not followed selects them.
    pub waiting: usize,
    /// Not: annotations do not count without an object where they are.
    pub unselected: usize,
}

impl Standings {
    /// Takes an Application as it is now; whether it stands otherwise than before. What is reported changes with
    /// [`Standings::show`].
    pub fn note(&mut self, world: &World, app: &Application) -> bool {
        let Some(standing) = world.standing(app) else { return self.forget(&app.key) };
        let astray = world.ownership().would_select(app).cloned().collect();
        let annotated = app.annotation("argocd-image-updater.argoproj.io/image-list").is_some();
        let now = Known { standing, annotated, astray };
        let same = self.known.get(&app.key).is_some_and(|before| {
            before.standing == now.standing && before.annotated == annotated && before.astray == now.astray
        });
        self.known.insert(app.key.clone(), now);
        !same
    }

    /// An Application is gone; whether something was reported of it.
    pub fn forget(&mut self, key: &AppKey) -> bool {
        self.known.remove(key).is_some_and(|known| !known.standing.governed() || !known.astray.is_empty())
    }

    /// Applications whose annotations are not followed.
    pub fn taken(&self) -> impl Iterator<Item = &AppKey> {
        self.known.iter().filter(|(_, known)| !known.standing.governed()).map(|(key, _)| key)
    }

    /// How many are managed in which way. Without an image list only objects make an Application count.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for known in self.known.values() {
            match known.standing {
                Standing::Native => counts.native += usize::from(known.annotated),
                Standing::Selected(_) => counts.selected += usize::from(known.annotated),
                Standing::Waiting(_) => counts.waiting += 1,
                Standing::Unselected => counts.unselected += usize::from(known.annotated),
            }
        }
        counts
    }

    /// Reports what is left alone, at the object and at the Application, and the mode of each namespace (OWN-2).
    pub fn show(&mut self, world: &World) {
        let mut problems: BTreeMap<String, Vec<Problem>> = BTreeMap::new();
        let mut by_owner: BTreeMap<(&OwnerKey, &str), Vec<&AppKey>> = BTreeMap::new();
        let ownership = world.ownership();
        for (key, known) in &self.known {
            if let Standing::Waiting(owners) = &known.standing {
                for (owner, why) in owners {
                    by_owner.entry((owner, why.text())).or_default().push(key);
                    let problem =
                        Problem::warning("image-updater-pending", format!("left alone: {owner} {}", why.text()));
                    let problem = problem.in_object(format!("Application {key}")).hint(HINT);
                    problems.entry(format!("owner of {key}")).or_default().push(problem);
                }
            }
        }
        for ((owner, why), apps) in by_owner {
            let text = format!("{why}; left alone: {}", named(&apps));
            let problem = Problem::warning("image-updater-pending", text).in_object(owner.to_string()).hint(HINT);
            problems.entry(format!("{owner} pending")).or_default().push(problem);
        }
        for (owner, target) in ownership.astray() {
            let unmanaged = self.known.iter().filter(|(_, k)| k.astray.contains(owner) && !k.standing.governed());
            let unmanaged: Vec<&AppKey> = unmanaged.map(|(key, _)| key).collect();
            let rest = if unmanaged.is_empty() { String::new() } else { format!("; unmanaged: {}", named(&unmanaged)) };
            let text = format!("Applications of namespace {target} are not taken from an object of another one{rest}");
            let hint = format!("move the object to {target}, or start with --updater-target-namespaces={target}");
            let problem = Problem::warning("namespace-not-followed", text).in_object(owner.to_string());
            let problem = problem.at_key("spec.namespace").hint(hint);
            problems.entry(format!("{owner} namespace")).or_default().push(problem);
        }
        for gone in self.shown.iter().filter(|about| !problems.contains_key(*about)) {
            world.board.problems(gone, Vec::new());
        }
        self.shown = problems.keys().cloned().collect();
        problems.into_iter().for_each(|(about, problems)| world.board.problems(&about, problems));
        let namespaces = self.known.keys().map(|key| key.namespace.as_str()).chain(ownership.held());
        let modes: BTreeMap<String, bool> =
            namespaces.map(|name| (name.to_owned(), ownership.native(name, world.native()))).collect();
        if world.board.subscribe().borrow().native != modes {
            world.board.update(|status| status.native = modes);
        }
    }
}

const HINT: &str = "use useAnnotations: true in every ref, or keep Argo CD Image Updater for this object";

fn named(apps: &[&AppKey]) -> String {
    let shown: Vec<String> = apps.iter().take(NAMED).map(|key| key.to_string()).collect();
    match apps.len().checked_sub(NAMED) {
        Some(more) if more > 0 => format!("{} and {more} more", shown.join(", ")),
        _ => shown.join(", "),
    }
}

/// One look's Applications: those that are managed, and why each other one is not.
pub fn sort_out(world: &World, apps: Vec<Arc<Application>>) -> (Vec<Arc<Application>>, BTreeMap<AppKey, String>) {
    let mut standings = Standings::default();
    for app in &apps {
        standings.note(world, app);
    }
    standings.show(world);
    let mut left = BTreeMap::new();
    let mut governed = Vec::new();
    for app in apps {
        match standings.known.get(&app.key).map(|known| &known.standing) {
            Some(Standing::Native | Standing::Selected(_)) => governed.push(app),
            Some(Standing::Waiting(owners)) => {
                let owners: Vec<String> = owners.keys().map(ToString::to_string).collect();
                left.insert(app.key.clone(), format!("it is left to {}", owners.join(", ")));
            }
            Some(Standing::Unselected) => {
                let why = "no ImageUpdater object selects it, and annotations alone do not count in its namespace \
                           (--native-annotations)";
                left.insert(app.key.clone(), why.to_owned());
            }
            None => {
                left.insert(app.key.clone(), "its namespace is not watched, or its name is not matched".to_owned());
            }
        }
    }
    (governed, left)
}
