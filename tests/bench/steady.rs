//! Nothing happens: what the daemon does to the API server, its disk and its log while all Applications stay as they
//! are. `STEADY_SECONDS` says how long (600).

use std::time::Duration;

use lynceus::demo::inbox::{Inbox, Manners};

use crate::sample;
use crate::support::api_front::ApiFront;
use crate::support::control_plane::ControlPlane;

pub async fn measure(size: usize) {
    let seconds = std::env::var("STEADY_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(600);
    let inbox = Inbox::start(Manners::default()).await.expect("a receiver");
    let front = ApiFront::start(ControlPlane::get().await.port()).await;
    let (ns, house) = sample::installed_through("steady", front.port(), &["--images=off"]).await;
    sample::configure(&ns, &sample::configuration(&[("hook", &inbox)])).await;
    // Nobody is told anything, all is evaluated.
    sample::create(&ns, size, |_| vec![("on-failed.hook".to_owned(), "")]).await;
    house.start().await;
    house.until("all are watched", |status| status["applications"]["watched"] == size).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let counted = || (house.log().lines().count(), house.disk_writes(), house.cpu_seconds());
    front.calls();
    let before = counted();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let after = counted();
    let calls = front.calls();
    let watches = calls.iter().filter(|call| call.contains("watch=")).count();
    println!(
        "{size} Applications for {seconds} s: {} API requests beside {watches} renewed watches, {} log lines, {} bytes \
         written to disk, {:.2} CPU s, {} messages",
        calls.len() - watches,
        after.0 - before.0,
        after.1 - before.1,
        after.2 - before.2,
        inbox.accepted().len()
    );
    house.stop().await;
}
