//! Several replicas: one writes images, by a real Lease at a real API server; and where both write all the same, nothing
//! is written twice (image-updates.md CYC-2, OBS-2).

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::stage::{ARGO, PREFIX, Stage};
use crate::support::control_plane::{ControlPlane, Ns};
use crate::support::house::House;
use crate::support::wait_for;

const LEASE: &str = "c21b75f2.argoproj.io";
const LEASES: &str = "coordination.k8s.io/v1";

/// A Lease ends 15 s after its last renewal; the machine may be slow.
const TAKEOVER: Duration = Duration::from_secs(40);

/// `web` in Git, and two installations that work for the same namespace.
async fn two(stage: &Stage, label: &str, more: &[&str]) -> (Ns, House, House) {
    stage.push("web", &["1.0.0"]).await;
    stage.repository.commit("main", "first", &[("apps/web/values.yaml", &stage.values("web", "1.0.0"))]);
    let (ns, first) = stage.installed(label, "1s").await;
    ns.apply_json(stage.helm_app("web", "~1.0")).await;
    let kubeconfig = ns.kubeconfig_for("lynceus").await;
    let second = stage.house().variable("POD_NAMESPACE", &ns.name);
    let second = second.with([format!("--kubeconfig={}", kubeconfig.display()), "--interval=1s".to_owned()]);
    let more = || more.iter().map(|flag| (*flag).to_owned());
    (ns, first.with(more()), second.with(more()))
}

fn role(status: &Value) -> &str {
    status["leader"]["role"].as_str().unwrap_or_default()
}

/// The commits that brought `web` a tag.
fn commits(stage: &Stage, tag: &str) -> usize {
    let line = format!("-> {tag}");
    let repository = &stage.repository;
    let log = repository.log("main");
    log.iter()
        .filter(|id| repository.message(id).lines().any(|l| l.starts_with("Lynceus-Image:") && l.ends_with(&line)))
        .count()
}

async fn arrives(stage: &Stage, tag: &str, limit: Duration) {
    wait_for(&format!("{tag} arrives"), limit, || async { (commits(stage, tag) > 0).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cyc_2_obs_2_one_of_two_writes_and_the_other_takes_over() {
    let stage = Stage::new().await;
    let (ns, first, second) = two(&stage, "leader", &[]).await;
    first.start().await;
    first.until("it leads", |status| role(status) == "leader").await;
    // Ready though it may not write: `start` waits for /readyz.
    second.start().await;
    second.until("it stands by", |status| role(status) == "standby").await;
    let lease = ns.object(LEASES, "Lease", LEASE).await.expect("a Lease");
    let status = first.status().await.expect("a status");
    assert_eq!(lease["spec"]["holderIdentity"], status["leader"]["holder"]);
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 15);

    stage.tag("web", "1.0.1").await;
    arrives(&stage, "1.0.1", TAKEOVER).await;
    let seen = second.until("it evaluates", |status| status["images"]["byState"]["up-to-date"] == 1).await;
    assert_eq!(role(&seen), "standby");
    assert_eq!((first.events("committed").await.len(), second.history().await.len()), (1, 0), "{}", second.log());

    // Killed, it gives nothing back.
    first.kill();
    stage.tag("web", "1.0.2").await;
    second.until("it takes over", |status| role(status) == "leader").await;
    arrives(&stage, "1.0.2", TAKEOVER).await;
    // Started again it is one of the others now, until they go.
    first.start().await;
    first.until("it stands by", |status| role(status) == "standby").await;
    second.rounds(2).await;
    assert_eq!(second.stop().await, 0);
    let told = Instant::now();
    first.until("it leads again", |status| role(status) == "leader").await;
    assert!(told.elapsed() < Duration::from_secs(9), "the Lease was given back: {:?}", told.elapsed());
    stage.tag("web", "1.0.3").await;
    arrives(&stage, "1.0.3", TAKEOVER).await;
    // A process on the state directory of a killed one knows that it is alone with it.
    first.kill();
    first.start().await;
    let again = Instant::now();
    first.until("it leads at once", |status| role(status) == "leader").await;
    assert!(again.elapsed() < Duration::from_secs(9), "{:?}", again.elapsed());
    first.rounds(2).await;
    for tag in ["1.0.1", "1.0.2", "1.0.3"] {
        assert_eq!(commits(&stage, tag), 1, "{tag}");
    }
    assert_eq!(stage.repository.log("main").len(), 4);
    assert_eq!((first.events("committed").await.len(), second.events("committed").await.len()), (2, 1));
    assert_eq!(first.stop().await, 0);
    let lease = ns.object(LEASES, "Lease", LEASE).await.expect("a Lease");
    assert_eq!(lease["spec"]["holderIdentity"].as_str().unwrap_or_default(), "", "given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn cyc_2_the_lease_of_another_program_keeps_it_quiet_while_it_is_renewed() {
    let stage = Stage::new().await;
    let (ns, house, _) = two(&stage, "foreign-leader", &[]).await;
    let hold = async |n: u32| {
        // As controller-runtime names its holders; a short time, for the test's sake.
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
        let spec = json!({
            "holderIdentity": "argocd-image-updater-controller-7f_4fd6b52e-6f1c-4d3c-9ad5-5b4c3f4d1c11",
            "leaseDurationSeconds": 6, "acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": now,
            "leaseTransitions": 3,
        });
        let metadata = json!({ "name": LEASE, "labels": { "n": n.to_string() } });
        ns.apply_json(json!({ "apiVersion": LEASES, "kind": "Lease", "metadata": metadata, "spec": spec })).await;
    };
    hold(0).await;
    stage.tag("web", "1.0.1").await;
    house.start().await;
    for n in 1..=9 {
        hold(n).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let status = house.until("it found the tag", |status| status["images"]["byState"]["update-due"] == 1).await;
    assert_eq!(role(&status), "standby");
    let holder = status["leader"]["holder"].as_str().unwrap_or_default();
    assert!(holder.starts_with("argocd-image-updater-controller"), "{status}");
    assert_eq!(stage.repository.log("main").len(), 1, "nothing is written");
    assert!(house.history().await.is_empty(), "and nothing is told");
    // It ends without a word.
    arrives(&stage, "1.0.1", TAKEOVER).await;
    let lease = ns.object(LEASES, "Lease", LEASE).await.expect("a Lease");
    assert_eq!(lease["spec"]["leaseTransitions"], 4);
    assert_eq!(lease["metadata"]["labels"]["n"], "9", "what others wrote on it stays");
    // Somebody takes it from under the leader: it ends, and not well.
    hold(10).await;
    assert_eq!(house.end().await, 1, "{}", house.log());
    assert!(house.log().contains("is lost, nothing more is written"), "{}", house.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn cyc_2_a_leader_that_cannot_renew_ends_before_the_lease_does() {
    let plane = ControlPlane::own().await;
    let stage = Stage::new().await;
    stage.push("web", &["1.0.0"]).await;
    stage.repository.commit("main", "first", &[("apps/web/values.yaml", &stage.values("web", "1.0.0"))]);
    let ns = plane.namespace("cut").await;
    let kubeconfig = ns.apply_deploy("base").await;
    ns.apply_json(super::stage::repository_secret("r", &stage.url(), &[("username", "robot"), ("password", "secret")]))
        .await;
    ns.apply_json(stage.helm_app("web", "~1.0")).await;
    let house = stage.house().variable("POD_NAMESPACE", &ns.name);
    let house = house.with([format!("--kubeconfig={}", kubeconfig.display()), "--interval=1s".to_owned()]);
    house.start().await;
    house.until("it leads", |status| role(status) == "leader").await;
    plane
        .restart(async {
            let cut = Instant::now();
            assert_eq!(house.end().await, 1, "{}", house.log());
            let took = cut.elapsed();
            // The last renewal was up to two seconds before; others may take it 15 s after that.
            assert!(took > Duration::from_secs(5) && took < Duration::from_secs(13), "{took:?}\n{}", house.log());
            stage.tag("web", "1.0.1").await;
        })
        .await;
    assert_eq!(stage.repository.log("main").len(), 1);
    assert!(house.log().contains("was not renewed"), "{}", house.log());
    house.start().await;
    arrives(&stage, "1.0.1", TAKEOVER).await;
    assert_eq!(house.stop().await, 0);
}

/// The Role of Image Updater 0.x grants no Leases.
#[tokio::test(flavor = "multi_thread")]
async fn cyc_2_rbac_1_without_permission_it_writes_and_says_what_to_grant() {
    let stage = Stage::new().await;
    let (ns, house, _) = two(&stage, "no-lease", &[]).await;
    let group = "rbac.authorization.k8s.io/v1";
    let mut role_object = ns.object(group, "Role", "lynceus").await.expect("the Role");
    let rules = role_object["rules"].as_array_mut().expect("rules");
    rules.retain(|rule| rule["resources"] != json!(["leases"]));
    ns.patch(group, "Role", "lynceus", &json!({ "rules": rules })).await;
    stage.tag("web", "1.0.1").await;
    house.start().await;
    arrives(&stage, "1.0.1", TAKEOVER).await;
    let status = house.status().await.expect("a status");
    assert_eq!(role(&status), "alone");
    let problems = House::problems(&status, "kubernetes-forbidden");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("grant get, create, update on leases.coordination.k8s.io"), "{problems:?}");
    assert_eq!(house.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn cyc_2_two_leaders_no_double_effect() {
    let stage = Stage::new().await;
    let (ns, first, second) = two(&stage, "both", &["--leader-election=false"]).await;
    stage.push("patched", &["1.0.0"]).await;
    let mut patched = stage.helm_app("patched", "~1.0");
    let annotations = patched["metadata"]["annotations"].as_object_mut().expect("annotations");
    annotations.remove(&format!("{PREFIX}write-back-target"));
    annotations.insert(format!("{PREFIX}write-back-method"), json!("argocd"));
    ns.apply_json(patched).await;
    first.start().await;
    second.start().await;
    assert_eq!(first.status().await.expect("a status")["leader"], Value::Null);
    let value = async || {
        let app = ns.object(ARGO, "Application", "patched").await.expect("it is there");
        app["spec"]["source"]["helm"].to_string()
    };
    for n in 1..=5 {
        let tag = format!("1.0.{n}");
        stage.tag("web", &tag).await;
        stage.tag("patched", &tag).await;
        arrives(&stage, &tag, TAKEOVER).await;
        wait_for(&format!("{tag} is patched"), TAKEOVER, || async { value().await.contains(&tag).then_some(()) }).await;
    }
    for house in [&first, &second] {
        house.rounds(3).await;
    }
    let generation =
        async || ns.object(ARGO, "Application", "patched").await.expect("it")["metadata"]["generation"].clone();
    let before = generation().await;
    for house in [&first, &second] {
        house.rounds(3).await;
    }
    assert_eq!(generation().await, before, "nobody writes what stands");
    for n in 1..=5 {
        assert_eq!(commits(&stage, &format!("1.0.{n}")), 1);
    }
    assert_eq!(stage.repository.log("main").len(), 6, "nothing else");
    stage.repository.check();
    let parameters = value().await;
    assert_eq!(parameters.matches("image.tag").count(), 1, "{parameters}");
    for house in [&first, &second] {
        assert_eq!(house.stop().await, 0);
    }
}
