//! List, then watch, for ever: one kind in one place as a stream of changes. kube's own watcher tells neither when
//! the watch is back after a failure nor what vanished during a list, so this is the same protocol with both. Its
//! reader of watch events needs `type` before `object`, which JSON does not promise; ours does not.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use kube::api::{ListParams, WatchParams};
use kube::core::{ApiResource, Request, Status};
use kube::{Api, Client};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tokio_util::codec::{FramedRead, LinesCodec};
use tokio_util::compat::FuturesAsyncReadCompatExt;

use super::object::Object;
use super::{Call, Cluster, Error, within};
use crate::core::retry::{Backoff, Retry};

/// Objects of a list page: enough for few requests, few enough that a page of large objects is a few megabytes.
const PAGE: u32 = 100;

/// The server ends a watch after this time; silence for longer means that the connection is dead.
const WATCH_SECONDS: u32 = 290;

/// A server that sends bookmarks sends one about every minute; silence for two of them means the same, sooner.
const TWO_BOOKMARKS: Duration = Duration::from_secs(150);

/// Waits between attempts to list or watch.
const PAUSE: Backoff =
    Backoff { first: Duration::from_secs(1), cap: Duration::from_secs(30), least: Duration::from_millis(100) };

/// How often is listed what the Role lets be listed but not watched, as Argo CD Image Updater's of the 0.x line.
const POLL: Duration = Duration::from_secs(15);

/// Longest line of a watch: etcd stores at most 1.5 MiB of an object.
const LINE: usize = 16 * 1024 * 1024;

/// A watch that held this long was a success, whatever ended it.
const HELD: Duration = Duration::from_secs(5);

/// One change. Between [`Change::Restarted`] and [`Change::Ready`] what has vanished is not known yet; it is told
/// before `Ready`, as deletions. An object whose version did not change is not repeated by a list.
#[derive(Debug)]
pub(super) enum Change {
    Restarted,
    Applied(Object),
    Deleted {
        namespace: String,
        name: String,
        uid: String,
    },
    Ready,
    /// It does not work at present; it is tried again for as long as the stream is polled.
    Down(Error),
    /// It may be listed but not watched: changes come with a list every [`POLL`].
    Polled(Error),
    /// It works again.
    Up,
}

/// Which objects of the kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Which {
    pub(super) labels: Option<String>,
    pub(super) fields: Option<String>,
}

type Key = (String, String);

struct Known {
    uid: String,
    version: String,
    list: u64,
}

type Lines = BoxStream<'static, Option<String>>;

enum Phase {
    List { page: Option<String> },
    Start { version: String },
    Watch { version: String, open: Open },
}

/// An open watch.
struct Open {
    lines: Lines,
    since: Instant,
    /// The longest silence of a connection that lives.
    silence: Duration,
}

struct Follow {
    client: Client,
    api: Api<Object>,
    resource: ApiResource,
    place: Option<String>,
    which: Which,
    phase: Phase,
    known: BTreeMap<Key, Known>,
    list: u64,
    out: VecDeque<Change>,
    down: bool,
    /// The watch is not permitted.
    polled: bool,
    failures: u32,
    pause: Option<Duration>,
}

/// Follows a kind in a namespace, or everywhere. The stream never ends.
pub(super) fn follow(
    cluster: &Cluster,
    resource: ApiResource,
    place: Option<String>,
    which: Which,
) -> impl Stream<Item = Change> + Send + use<> {
    let follow = Follow {
        client: cluster.client.clone(),
        api: cluster.api(&resource, place.as_deref()),
        resource,
        place,
        which,
        phase: Phase::List { page: None },
        known: BTreeMap::new(),
        list: 0,
        out: VecDeque::new(),
        down: false,
        polled: false,
        failures: 0,
        pause: None,
    };
    stream::unfold(follow, |mut follow| async {
        loop {
            if let Some(change) = follow.out.pop_front() {
                return Some((change, follow));
            }
            if let Some(pause) = follow.pause.take() {
                tokio::time::sleep(pause).await;
            }
            follow = follow.step().await;
        }
    })
}

/// The changes of several places as one: `Ready` once all of them are.
pub(super) fn merged(
    cluster: &Cluster,
    resource: &ApiResource,
    places: Vec<Option<String>>,
    which: &Which,
) -> impl Stream<Item = Change> + Send + use<> {
    let mut waiting = vec![true; places.len()];
    let streams: Vec<BoxStream<'static, (usize, Change)>> = places
        .into_iter()
        .enumerate()
        .map(|(n, place)| {
            follow(cluster, resource.clone(), place, which.clone()).map(move |change| (n, change)).boxed()
        })
        .collect();
    stream::select_all(streams).filter_map(move |(n, change)| {
        let pass = match change {
            Change::Restarted => {
                waiting[n] = true;
                Some(change)
            }
            Change::Ready => {
                waiting[n] = false;
                (!waiting.contains(&true)).then_some(change)
            }
            _ => Some(change),
        };
        std::future::ready(pass)
    })
}

impl Follow {
    async fn step(mut self) -> Follow {
        self.phase = match std::mem::replace(&mut self.phase, Phase::List { page: None }) {
            Phase::List { page } => self.list(page).await,
            Phase::Start { version } => self.start(version).await,
            Phase::Watch { version, open } => self.watch(version, open).await,
        };
        self
    }

    fn call(&self, verb: &'static str) -> Call {
        let fields = self.which.fields.as_deref().unwrap_or_default();
        let name = fields.strip_prefix("metadata.name=").unwrap_or_default();
        Call::one(verb, &self.resource, self.place.as_deref(), name)
    }

    async fn list(&mut self, page: Option<String>) -> Phase {
        if page.is_none() {
            self.list += 1;
            self.out.push_back(Change::Restarted);
        }
        let parameters = ListParams {
            label_selector: self.which.labels.clone(),
            field_selector: self.which.fields.clone(),
            limit: Some(PAGE),
            continue_token: page,
            ..ListParams::default()
        };
        let list = match within(self.call("list"), self.api.list(&parameters)).await {
            Ok(list) => list,
            Err(error) => {
                // The continuation of a list is refused once it is too old: from the start then.
                self.failed(error);
                return Phase::List { page: None };
            }
        };
        for object in list.items {
            self.applied(object);
        }
        if let Some(page) = list.metadata.continue_.filter(|p| !p.is_empty()) {
            return Phase::List { page: Some(page) };
        }
        let current = self.list;
        let vanished: Vec<Key> =
            self.known.iter().filter(|(_, known)| known.list != current).map(|(key, _)| key.clone()).collect();
        for key in vanished {
            self.deleted(key);
        }
        self.succeeded();
        self.out.push_back(Change::Ready);
        Phase::Start { version: list.metadata.resource_version.unwrap_or_default() }
    }

    async fn start(&mut self, version: String) -> Phase {
        let parameters = WatchParams {
            label_selector: self.which.labels.clone(),
            field_selector: self.which.fields.clone(),
            timeout: Some(WATCH_SECONDS),
            bookmarks: true,
            send_initial_events: false,
        };
        let begun = async {
            let request = Request::new(self.api.resource_url()).watch(&parameters, &version);
            let request = request.map_err(kube::Error::BuildRequest)?;
            self.client.request_stream(request).await
        };
        match within(self.call("watch"), begun).await {
            Ok(reader) => {
                self.down |= std::mem::take(&mut self.polled);
                self.up();
                // Whatever breaks the connection, the next watch goes on from the last version.
                let lines = FramedRead::new(reader.compat(), LinesCodec::new_with_max_length(LINE));
                let silence = Duration::from_secs(u64::from(WATCH_SECONDS) + 10);
                let open = Open { lines: lines.map(Result::ok).boxed(), since: Instant::now(), silence };
                Phase::Watch { version, open }
            }
            Err(Error::Expired { .. }) => Phase::List { page: None },
            Err(error @ Error::Forbidden { .. }) => {
                if !std::mem::replace(&mut self.polled, true) {
                    self.out.push_back(Change::Polled(error));
                }
                self.pause = Some(POLL);
                Phase::List { page: None }
            }
            Err(error) => {
                self.failed(error);
                Phase::Start { version }
            }
        }
    }

    async fn watch(&mut self, version: String, mut open: Open) -> Phase {
        let line = tokio::time::timeout(open.silence, open.lines.next()).await.ok().flatten().flatten();
        let version = match line.as_deref().map(Event::read) {
            Some(Event::Applied(object)) => {
                let version = object.version().to_owned();
                self.applied(object);
                version
            }
            Some(Event::Deleted(object)) => {
                self.deleted(object.key());
                object.version().to_owned()
            }
            Some(Event::Bookmark(version)) => {
                open.silence = TWO_BOOKMARKS;
                version
            }
            Some(Event::Failed(status)) => {
                return match Error::status(self.call("watch"), &status) {
                    Error::Expired { .. } => Phase::List { page: None },
                    error => {
                        self.failed(error);
                        Phase::Start { version }
                    }
                };
            }
            // Going on from the same version would bring the same line: a list shows what it was about.
            Some(Event::Unreadable) => {
                let text = "an event that cannot be read".to_owned();
                self.failed(Error::unavailable(self.call("watch"), text));
                return Phase::List { page: None };
            }
            // The server ends every watch sooner or later, and the network some: going on from the last version
            // loses nothing. Only one that broke at once waits before the next.
            None => {
                if open.since.elapsed() < HELD {
                    self.wait(Retry::Backoff);
                } else {
                    self.failures = 0;
                }
                return Phase::Start { version };
            }
        };
        self.failures = 0;
        Phase::Watch { version, open }
    }

    fn applied(&mut self, object: Object) {
        let (key, list) = (object.key(), self.list);
        let (uid, version) = (object.uid().to_owned(), object.version().to_owned());
        match self.known.get_mut(&key) {
            Some(known) if known.uid == uid && known.version == version => {
                known.list = list;
                return;
            }
            // Deleted and made again while nobody looked.
            Some(known) if known.uid != uid => self.deleted(key.clone()),
            _ => {}
        }
        self.known.insert(key, Known { uid, version, list });
        self.out.push_back(Change::Applied(object));
    }

    fn deleted(&mut self, key: Key) {
        if let Some(known) = self.known.remove(&key) {
            let (namespace, name) = key;
            self.out.push_back(Change::Deleted { namespace, name, uid: known.uid });
        }
    }

    fn failed(&mut self, error: Error) {
        let retry = error.retry();
        if let Error::Expired { .. } = error {
            return;
        }
        self.down = true;
        self.out.push_back(Change::Down(error));
        self.wait(retry);
    }

    fn wait(&mut self, retry: Retry) {
        self.failures = self.failures.saturating_add(1);
        let pause = PAUSE.wait(self.failures, fastrand::f64());
        self.pause = Some(match retry {
            Retry::After(asked) => asked.max(pause),
            // Nothing here is hopeless: a Role or a custom resource may be installed at any time.
            Retry::Never | Retry::Backoff => pause,
        });
    }

    fn succeeded(&mut self) {
        self.failures = 0;
        self.up();
    }

    fn up(&mut self) {
        if std::mem::take(&mut self.down) {
            self.out.push_back(Change::Up);
        }
    }
}

/// One line of a watch.
enum Event {
    Applied(Object),
    Deleted(Object),
    Bookmark(String),
    Failed(Box<Status>),
    Unreadable,
}

impl Event {
    fn read(line: &str) -> Event {
        #[derive(Deserialize)]
        struct Line<'a> {
            #[serde(rename = "type")]
            kind: &'a str,
            #[serde(borrow)]
            object: &'a RawValue,
        }
        let Ok(Line { kind, object }) = serde_json::from_str(line) else {
            // Some failures come as a bare status.
            return serde_json::from_str(line).map_or(Event::Unreadable, Event::Failed);
        };
        if kind == "ERROR" {
            return serde_json::from_str(object.get()).map_or(Event::Unreadable, Event::Failed);
        }
        match (kind, serde_json::from_str::<Object>(object.get())) {
            ("ADDED" | "MODIFIED", Ok(object)) => Event::Applied(object),
            ("DELETED", Ok(object)) => Event::Deleted(object),
            ("BOOKMARK", Ok(object)) => Event::Bookmark(object.version().to_owned()),
            _ => Event::Unreadable,
        }
    }
}
