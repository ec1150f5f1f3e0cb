//! Kills of the notification half: Applications flip without a pause, the daemon dies at random moments, inside of
//! sends, around the patch of an annotation and at the kernel's door, and is started again in place. At the end what had
//! to be sent is compared with what arrived: nothing lost, nothing invented, a second copy only where a kill landed
//! inside a send, and then it says so. `LYNCEUS_KILLS` sets how many (20), `LYNCEUS_SEED` replays a run.
//! One event's way is also cut at each of its syncs of the disk in turn. That these tests would see the defects they are
//! there for is shown by `make planted`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use lynceus::demo::inbox::{Accepted, Fault, Inbox, Item};
use serde_json::json;

use super::stage::*;
use crate::support::api_front::{ApiFront, Moment};
use crate::support::control_plane::ControlPlane;
use crate::support::wait_for;

const APPLICATIONS: usize = 8;

/// What tells two events apart: Application, revision, destination.
type Event = (String, String, String);

/// Words of all messages: `app|revision`, once in each.
const TEMPLATE: &str = "message: 'about {{.app.metadata.name}}|{{.app.status.operationState.syncResult.revision}}.'\n\
     email:\n  subject: news\n\
     webhook:\n  hook:\n    method: POST\n    body: 'about {{.app.metadata.name}}|{{.app.status.operationState.syncResult.revision}}.'";

/// The event a message is about, and whether it says that it may be a repeat.
fn read(what: &Item) -> (Event, bool) {
    let (to, text, marked) = match what {
        Item::Webhook { body, headers, .. } => {
            ("hook:".to_owned(), body, headers.contains_key("lynceus-possible-repeat"))
        }
        Item::Slack { fields, .. } => {
            (format!("slack:{}", fields["channel"]), &fields["text"], fields["text"].contains("(possible repeat)"))
        }
        Item::Mail { to, content, .. } => {
            (format!("email:{}", to.join(",")), content, content.contains("(possible repeat)"))
        }
    };
    let about = text.split_once("about ").and_then(|(_, rest)| rest.split_once('.')).map(|(about, _)| about);
    let (app, revision) = about.and_then(|about| about.split_once('|')).unwrap_or(("unreadable", text));
    ((app.to_owned(), revision.to_owned(), to), marked)
}

fn about(app: &str, revision: &str, succeeded: bool) -> Vec<Event> {
    let event = |to: String| (app.to_owned(), revision.to_owned(), to);
    let mut events = vec![event("hook:".to_owned())];
    if !succeeded {
        events.extend([event(format!("slack:{app}")), event(format!("email:{app}@example.com"))]);
    }
    events
}

/// What all receivers together have accepted.
fn ledger(receivers: &[&Inbox]) -> Vec<Accepted> {
    let mut all: Vec<Accepted> = receivers.iter().flat_map(|inbox| inbox.accepted()).collect();
    all.sort_by_key(|accepted| accepted.at);
    all
}

/// One Application's life: a sync ends, all that it gives arrives, the next sync ends. So no version is gone before it
/// was seen, and what has to be sent is known. Ends with the last version after `stop`.
async fn flip(stage: &Stage, app: String, seed: u64, stop: &AtomicBool) -> Vec<Event> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut wanted = Vec::new();
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let (revision, succeeded) = (format!("r{n}"), random.f64() < 0.4);
        // What is told of a version comes after it.
        let (hooked, slacked) = (stage.hook.count(), stage.slack.count());
        stage.status(&app, synced(if succeeded { "Succeeded" } else { "Failed" }, &revision)).await;
        let due = about(&app, &revision, succeeded);
        wanted.extend(due.iter().cloned());
        let arrived = |accepted: &[Accepted], to: &str| {
            let here: BTreeSet<Event> =
                accepted.iter().map(|a| read(&a.what).0).filter(|event| event.0 == app).collect();
            due.iter().filter(|(_, _, destination)| destination.starts_with(to)).all(|event| here.contains(event))
        };
        // The mail and the webhook share a receiver; Slack has its own.
        let limit = PATIENCE;
        let hook = |a: &[Accepted], _| arrived(&a[hooked..], "hook") && arrived(&a[hooked..], "email");
        let hook = stage.hook.wait(limit, hook).await;
        let slack = stage.slack.wait(limit, |a, _| arrived(&a[slacked..], "slack")).await;
        assert!(hook && slack, "lost: {app} {revision}, succeeded {succeeded}");
    }
    wanted
}

/// Where the daemon dies. All but the first are moments that a peer or the kernel sees.
#[derive(Clone, Copy, Debug)]
enum Blow {
    AtAnyTime,
    /// Right behind a receiver's answer: it has arrived, and may not be recorded.
    AfterAnAnswer,
    /// A receiver has read the message and does not accept it.
    BeforeItIsAccepted,
    /// A receiver has accepted and does not answer.
    BeforeItIsAnswered,
    /// The state annotation is to be patched.
    Annotation(Moment),
    /// A life that ends at one of the daemon's calls of the kernel: made durable, sent.
    AtCall(&'static str, u32),
}

/// What makes a commit durable.
const SYNCS: &str = "fdatasync,fsync";

/// What brings bytes to a peer.
const SENDS: &str = "sendto,sendmsg,writev";

/// How long a life may take to come to its end; then it is ended as it is.
const LIFE: Duration = Duration::from_secs(10);

impl Blow {
    fn draw(random: &mut fastrand::Rng) -> Blow {
        match random.u8(0..10) {
            0 => Blow::AtAnyTime,
            1 => Blow::AfterAnAnswer,
            2 | 3 => Blow::BeforeItIsAccepted,
            4 | 5 => Blow::BeforeItIsAnswered,
            6 => Blow::Annotation(Moment::Before),
            7 => Blow::Annotation(Moment::After),
            8 => Blow::AtCall(SYNCS, random.u32(1..60)),
            _ => Blow::AtCall(SENDS, random.u32(1..60)),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Blow::AtAnyTime => "at any time",
            Blow::AfterAnAnswer => "after an answer",
            Blow::BeforeItIsAccepted => "before it is accepted",
            Blow::BeforeItIsAnswered => "accepted, not answered",
            Blow::Annotation(Moment::Before) => "before an annotation",
            Blow::Annotation(Moment::After) => "after an annotation",
            Blow::AtCall(SYNCS, _) => "before a sync of the disk",
            Blow::AtCall(..) => "before a send",
        }
    }

    /// Kills and starts again; gives the moments of death, and whether the moment asked for came.
    async fn strike(self, stage: &Arc<Stage>, front: &ApiFront, random: &mut fastrand::Rng) -> (Vec<SystemTime>, bool) {
        let mut came = true;
        let receiver = if random.bool() { &stage.slack } else { &stage.hook };
        match self {
            Blow::AtAnyTime => tokio::time::sleep(Duration::from_millis(random.u64(0..400))).await,
            Blow::AfterAnAnswer => {
                let before = receiver.count();
                came = receiver.wait(Duration::from_secs(3), |accepted, _| accepted.len() > before).await;
                tokio::time::sleep(Duration::from_micros(random.u64(0..3000))).await;
            }
            Blow::BeforeItIsAccepted | Blow::BeforeItIsAnswered => {
                let before = receiver.calls();
                let accepts = matches!(self, Blow::BeforeItIsAnswered);
                receiver.script([if accepts { Fault::StallAfterAccepting } else { Fault::Stall }]);
                came = receiver.wait(LIFE, |_, calls| calls > before).await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Blow::Annotation(moment) => {
                let victim = stage.clone();
                front.trap(|call| call.starts_with("PATCH"), moment, move || victim.house.kill());
                came = ended(stage).await;
            }
            Blow::AtCall(calls, count) => {
                stage.house.kill();
                let first = SystemTime::now();
                stage.house.launch_to_die_at(calls, count);
                came = ended(stage).await;
                return (vec![first, dead(stage).await], came);
            }
        }
        (vec![dead(stage).await], came)
    }
}

/// Waits for the end of this life, not for ever; whether it came.
async fn ended(stage: &Stage) -> bool {
    let start = std::time::Instant::now();
    while !stage.house.ended() && start.elapsed() < LIFE {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stage.house.ended()
}

/// It is dead now, and lives again.
async fn dead(stage: &Stage) -> SystemTime {
    stage.house.kill();
    let at = SystemTime::now();
    stage.house.start().await;
    at
}

/// One template for three services, told of by two triggers.
async fn configure(stage: &Stage) {
    let mut config = stage.services();
    config.insert("template.x".into(), TEMPLATE.into());
    for (name, phase) in [("on-bad", "Failed"), ("on-good", "Succeeded")] {
        let when = format!("app.status?.operationState?.phase == '{phase}'");
        let trigger = format!("- when: {when}\n  oncePer: app.status.operationState.syncResult.revision\n  send: [x]");
        config.insert(format!("trigger.{name}"), trigger);
    }
    let hook = format!("url: {}/hook\nlynceus: {{headers: true}}", stage.hook.url());
    config.insert("service.webhook.hook".into(), hook);
    let port = stage.hook.mail().port();
    config.insert("service.email".into(), format!("host: 127.0.0.1\nport: {port}\nfrom: a@example.com"));
    stage.configure(&config).await;
    stage.secret(&[("slack-token", "xoxb-1")]).await;
}

/// One Application that tells of failures by webhook, Slack and mail, and of successes by webhook.
async fn subscribed(stage: &Stage, n: usize) -> String {
    let (name, mail) = (format!("app-{n}"), format!("app-{n}@example.com"));
    let subscribed =
        [("on-bad.hook", ""), ("on-bad.slack", name.as_str()), ("on-bad.email", mail.as_str()), ("on-good.hook", "")];
    stage.ns.apply_json(application(&name, &subscribed)).await;
    name
}

#[tokio::test(flavor = "multi_thread")]
async fn p_3_out_01_out_03_lan_07_dlv_12_kills_lose_nothing_and_repeats_say_so() {
    let variable = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let kills = variable("LYNCEUS_KILLS").unwrap_or(20);
    let seed = variable("LYNCEUS_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("LYNCEUS_KILLS={kills} LYNCEUS_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let front = ApiFront::start(ControlPlane::get().await.port()).await;
    let stage = Arc::new(Stage::through("kills", front.port()).await);
    configure(&stage).await;
    stage.house.start().await;

    let stop = Arc::new(AtomicBool::new(false));
    let mut lives = Vec::new();
    for n in 0..APPLICATIONS {
        let name = subscribed(&stage, n).await;
        let (stage, stop, seed) = (stage.clone(), stop.clone(), random.u64(..));
        lives.push(tokio::spawn(async move { flip(&stage, name, seed, &stop).await }));
    }
    let (mut killed, mut kinds) = (Vec::new(), BTreeMap::<&str, u32>::new());
    while killed.len() < kills as usize {
        let blow = Blow::draw(&mut random);
        let (deaths, came) = blow.strike(&stage, &front, &mut random).await;
        *kinds.entry(if came { blow.name() } else { "somewhere else" }).or_default() += 1;
        if (killed.len() + deaths.len()) / 100 > killed.len() / 100 {
            println!("{} kills", killed.len() + deaths.len());
        }
        killed.extend(deaths);
    }
    stop.store(true, Ordering::Relaxed);
    let mut wanted = BTreeSet::new();
    for life in lives {
        wanted.extend(life.await.unwrap_or_else(|e| panic!("{e}; LYNCEUS_SEED={seed}\n{}", tail(&stage))));
    }
    stage.house.until("nothing is open", nothing_open).await;
    let repeats = compare(&wanted, &ledger(&[&stage.slack, &stage.hook]), &killed, seed);
    println!("{} events, {repeats} second copies, kills {kinds:?}", wanted.len());
    assert_eq!(stage.house.stop().await, 0);
    // What was told stands in the annotations, as far as they reach.
    for n in 0..APPLICATIONS {
        let state = stage.state(&format!("app-{n}")).await.unwrap_or_default();
        assert!(!state.is_empty() && state.len() <= 100, "app-{n}: {}", json!(state));
    }
}

fn nothing_open(status: &serde_json::Value) -> bool {
    status["outbox"].as_object().is_some_and(|outbox| outbox.keys().all(|state| state == "done"))
}

/// More syncs than one thread makes from a start to the record of three deliveries.
const MOST_SYNCS: u32 = 80;

#[tokio::test(flavor = "multi_thread")]
async fn out_01_out_02_out_03_a_life_that_ends_at_any_of_its_syncs_loses_nothing() {
    let stage = Stage::new("syncs").await;
    configure(&stage).await;
    let app = subscribed(&stage, 0).await;
    // What is true at the very first start is no news.
    stage.house.start().await;
    stage.house.kill();
    let (mut wanted, mut killed, mut whole) = (BTreeSet::new(), Vec::new(), false);
    for count in 1..MOST_SYNCS {
        let revision = format!("r{count}");
        stage.status(&app, synced("Failed", &revision)).await;
        let due = about(&app, &revision, false);
        wanted.extend(due.iter().cloned());
        let all_done = json!({ "done": wanted.len() });
        let all_arrived = || {
            let here: BTreeSet<Event> =
                ledger(&[&stage.slack, &stage.hook]).iter().map(|accepted| read(&accepted.what).0).collect();
            due.iter().all(|event| here.contains(event))
        };
        stage.house.launch_to_die_at(SYNCS, count);
        let start = std::time::Instant::now();
        while !stage.house.ended() && start.elapsed() < PATIENCE {
            // Recorded as well: nothing is left to be made durable.
            if all_arrived() && stage.house.status().await.is_some_and(|status| status["outbox"] == all_done) {
                whole = true;
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        killed.push(dead(&stage).await);
        wait_for(&format!("{due:?}"), PATIENCE, || async { all_arrived().then_some(()) }).await;
        stage.house.until("all is recorded", |status| status["outbox"] == all_done).await;
        stage.house.kill();
        if whole {
            break;
        }
    }
    assert!(whole, "no life came to its end");
    let repeats = compare(&wanted, &ledger(&[&stage.slack, &stage.hook]), &killed, 0);
    println!("{} lives, {repeats} second copies", killed.len());
}

fn tail(stage: &Stage) -> String {
    let log = stage.house.whole_log();
    log.lines().rev().take(60).collect::<Vec<_>>().join("\n")
}

/// Compares what had to be sent with what arrived; gives the number of second copies.
fn compare(wanted: &BTreeSet<Event>, arrived: &[Accepted], killed: &[SystemTime], seed: u64) -> usize {
    let mut copies: BTreeMap<Event, Vec<(SystemTime, bool)>> = BTreeMap::new();
    for accepted in arrived {
        let (event, marked) = read(&accepted.what);
        copies.entry(event).or_default().push((accepted.at, marked));
    }
    let lost: Vec<&Event> = wanted.iter().filter(|event| !copies.contains_key(event)).collect();
    let invented: Vec<&Event> = copies.keys().filter(|event| !wanted.contains(event)).collect();
    assert!(lost.is_empty() && invented.is_empty(), "lost {lost:?}, invented {invented:?}; LYNCEUS_SEED={seed}");
    let mut repeats = 0;
    for (event, copies) in &copies {
        for pair in copies.windows(2) {
            let ((first, _), (_, marked)) = (pair[0], pair[1]);
            repeats += 1;
            // The call that brought the first copy was open when the process died; on a busy machine the receiver may
            // note it a moment after the death of its sender.
            let near = |at: &SystemTime| match at.duration_since(first) {
                Ok(after) => after < INSIDE,
                Err(before) => before.duration() < INSIDE,
            };
            let inside = killed.iter().any(near);
            assert!(marked && inside, "{event:?} came again, marked {marked}: {copies:?}; LYNCEUS_SEED={seed}");
        }
    }
    // Each kill can cut off what was being sent, no more.
    assert!(repeats <= killed.len() * APPLICATIONS, "{repeats} repeats by {} kills", killed.len());
    repeats
}

/// From an acceptance to its record on disk, on a busy machine.
const INSIDE: Duration = Duration::from_millis(1500);
