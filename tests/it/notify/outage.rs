//! Half of the receivers are dead for an hour of the daemon's clock: the others do not notice, and afterwards each gets
//! everything, once.

use std::collections::BTreeSet;
use std::path::PathBuf;

use lynceus::demo::inbox::{Fault, Inbox, Manners};
use serde_json::{Value, json};

use super::stage::*;

/// The clock moves by so much at once: less than any call may take, so that none is cut off by it.
const STEP: u64 = 5;

/// A version of the Application every so many seconds.
const NEWS_EVERY: u64 = 300;

/// The outage, in seconds.
const HOUR: u64 = 3600;

/// The daemon's clock, which the test moves on.
struct Hands {
    file: PathBuf,
    at: u64,
}

impl Hands {
    /// One step on; gives the status after it. Waits until the daemon has dealt with what became due, so nothing is in
    /// flight when the clock moves again.
    async fn step(&mut self, stage: &Stage) -> Value {
        self.at += STEP;
        // Whole or not at all: it is read while it is written.
        let next = self.file.with_extension("next");
        std::fs::write(&next, format!("+{}s\n", self.at)).expect("the clock");
        std::fs::rename(&next, &self.file).expect("the clock");
        // An answer wakes the daemon, which then finds that its timers are due.
        stage.house.until("it answers", |_| true).await;
        stage.house.until("nothing is in flight", |status| status["outbox"]["sending"].is_null()).await
    }
}

/// Both services that are down are shown, and no other.
fn broken(status: &Value) -> BTreeSet<&str> {
    let all = status["breakers"].as_array().into_iter().flatten();
    all.filter_map(|breaker| breaker["service"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn lan_05_out_06_half_of_the_receivers_dead_for_an_hour_delay_nobody_and_lose_nothing() {
    let (stage, file) = Stage::new("dead-hour").await.with_a_clock(Clock::All);
    let mut hands = Hands { file, at: 0 };
    // A port that is taken and where nobody listens refuses connections; later a relay to `refusing` listens there.
    let (ill, refusing) =
        (Inbox::start(Manners::default()).await.unwrap(), Inbox::start(Manners::default()).await.unwrap());
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a loopback port");
    let port = socket.local_addr().expect("its address").port();
    let mut config = stage.services();
    config.insert("service.webhook.ill".into(), format!("url: {}/ill", ill.url()));
    config.insert("service.webhook.refusing".into(), format!("url: http://127.0.0.1:{port}/refusing"));
    let trigger = "- when: app.status.operationState.phase == 'Failed'\n  \
                   oncePer: app.status.operationState.syncResult.revision\n  send: [told]";
    config.insert("trigger.on-bad".into(), trigger.into());
    let line = "web failed at {{.app.status.operationState.syncResult.revision}}";
    let hooks: String =
        ["hook", "ill", "refusing"].map(|name| format!("  {name}: {{method: POST, body: '{line}'}}\n")).concat();
    config.insert("template.told".into(), format!("message: '{line}'\nwebhook:\n{hooks}"));
    stage.configure(&config).await;
    stage.secret(&[("slack-token", "xoxb-1")]).await;
    let subscribed = [("on-bad.hook", ""), ("on-bad.slack", "alerts"), ("on-bad.ill", ""), ("on-bad.refusing", "")];
    stage.ns.apply_json(application("web", &subscribed)).await;
    ill.always(Some(Fault::status(503)));
    stage.house.start().await;

    let mut seen = BTreeSet::new();
    let mut news = 0;
    while hands.at < HOUR {
        if hands.at.is_multiple_of(NEWS_EVERY) {
            stage.status("web", synced("Failed", &format!("r{news}"))).await;
            news += 1;
            // Soon: the clock stands until they have it.
            accepted(&stage, &stage.hook, news).await;
            accepted(&stage, &stage.slack, news).await;
            stage.house.until("it is recorded", |s| s["outbox"]["done"] == json!(news * 2)).await;
        }
        let status = hands.step(&stage).await;
        seen.extend(broken(&status).into_iter().map(str::to_owned));
        assert_eq!(status["outbox"]["dead"], json!(null), "after {} s: {}", hands.at, status["outbox"]);
    }
    assert_eq!(seen, BTreeSet::from(["ill".to_owned(), "refusing".to_owned()]), "their breakers opened, and no other");
    let tried = ill.calls();
    // Without breaker and back-off each of the rows would be tried every few seconds.
    assert!((10..200).contains(&tried), "{tried} calls in an hour");
    assert!(ill.accepted().is_empty() && refusing.accepted().is_empty());

    ill.always(None);
    let relay = relay(socket.listen(64).expect("the port"), refusing.web().port());
    let back = hands.at;
    while ill.accepted().len() < news || refusing.accepted().len() < news {
        // The breaker lets one try through every five minutes at least; the longest wait of a row is an hour.
        assert!(hands.at - back < HOUR + 600, "{:?} {:?}\n{}", texts(&ill), texts(&refusing), stage.house.log());
        hands.step(&stage).await;
    }
    println!("{tried} calls of one dead receiver; all was delivered {} s after the revival", hands.at - back);
    stage.house.until("nothing is open", |s| s["outbox"] == json!({ "done": news * 4 })).await;
    stage.house.until("the breakers are closed", |s| s["breakers"] == json!([])).await;
    let wanted: Vec<String> = (0..news).map(|n| format!("web failed at r{n}")).collect();
    for (name, inbox) in [("hook", &stage.hook), ("slack", &stage.slack)] {
        assert_eq!(texts(inbox), wanted, "{name}: each once and in order");
    }
    for (name, inbox) in [("ill", &ill), ("refusing", &refusing)] {
        // In any order: a row that waits holds back later ones for a minute only (LAN-02).
        let (mut told, mut wanted) = (texts(inbox), wanted.clone());
        told.sort();
        wanted.sort();
        assert_eq!(told, wanted, "{name}: each once");
    }
    assert_eq!(stage.house.stop().await, 0);
    drop(relay);
}

/// Passes every connection on to another port.
fn relay(listener: tokio::net::TcpListener, to: u16) -> tokio::task::JoinSet<()> {
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        loop {
            let Ok((mut client, _)) = listener.accept().await else { continue };
            tokio::spawn(async move {
                let Ok(mut server) = tokio::net::TcpStream::connect(("127.0.0.1", to)).await else { return };
                tokio::io::copy_bidirectional(&mut client, &mut server).await.ok();
            });
        }
    });
    tasks
}
