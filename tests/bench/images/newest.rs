//! `newest-build` over many tags: what the first look asks, the second, and the one after a restart.

use futures::StreamExt;

use super::ratio;
use super::yard::{self, Layout, Round, UNLIMITED, Yard};
use crate::sample;
use crate::support::house::House;
use crate::support::real::Image;

/// Tags, unless a size is given.
const TAGS: usize = 2_000;

/// What the incumbent takes for 2,000 tags, in every cycle after a restart: seconds, requests.
const INCUMBENT: (f64, f64) = (4.7, 4_000.0);

pub async fn measure(sizes: &[usize]) {
    let tags = sizes.first().copied().unwrap_or(TAGS);
    let yard = Yard::new("newest").await;
    let repository = format!("team/{}", sample::name(0));
    futures::stream::iter(0..tags)
        .for_each_concurrent(8, |n| {
            let (registry, repository) = (&yard.registry, &repository);
            async move {
                let (day, second) = (n / 86_400, n % 86_400);
                let time = format!("{:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60);
                let image = Image::new(&format!("layer {n}"), &format!("2026-01-{:02}T{time}Z", 1 + day));
                registry.push(repository, &tag(n), &image).await;
            }
        })
        .await;
    let name = sample::name(0);
    yard.commit(&[(format!("{}/values.yaml", Layout::Flat.path(0)), yard.values(&name, &tag(0)))]);
    let annotations = [
        ("image-list", format!("app={}", yard.image(&name))),
        ("app.update-strategy", "newest-build".to_owned()),
        ("app.helm.image-name", "image.name".to_owned()),
        ("app.helm.image-tag", "image.tag".to_owned()),
    ];
    let live = [format!("{}:{}", yard.image(&name), tag(0))];
    yard.ns.apply_json(yard.weighty(0, &Layout::Flat.path(0), &annotations, &live)).await;
    println!("one image with {tags} tags");
    println!(
        "{:>34} {:>9} {:>9} {:>10} {:>9} {:>6} {:>9} {:>7} {:>9}",
        "", "requests", "listings", "manifests", "configs", "HEADs", "seconds", "CPU s", "peak MiB"
    );
    let house = yard.house(UNLIMITED, &["--interval=40s", "--loglevel=warn"]).await;
    let first = yard.first_round(&house).await;
    line("first look", &first, &house);
    assert_eq!(yard.written(&tag(tags - 1)), 1, "the newest is written\n{}", house.log());
    let second = yard.round(&house).await;
    line("second look", &second, &house);
    assert_eq!(house.stop().await, 0);
    let third = yard.first_round(&house).await;
    line("first look after a restart", &third, &house);
    let (seconds, requests) = INCUMBENT;
    if tags == TAGS {
        println!(
            "incumbent: {requests} requests and {seconds} s after every restart; requests {}, seconds {}",
            ratio(third.registry.len() as f64, requests),
            ratio(third.seconds, seconds)
        );
    }
    yard::load();
    house.stop().await;
}

fn tag(n: usize) -> String {
    format!("build-{n:05}")
}

fn line(what: &str, round: &Round, house: &House) {
    println!(
        "{what:>34} {:>9} {:>9} {:>10} {:>9} {:>6} {:>9.2} {:>7.2} {:>9.1}",
        round.registry.len(),
        round.listings(),
        round.asked(|request| request.starts_with("GET") && request.contains("/manifests/")),
        round.asked(|request| request.contains("/blobs/")),
        round.asked(|request| request.starts_with("HEAD")),
        round.seconds,
        round.cpu,
        house.memory_kib("VmHWM:") as f64 / 1024.0,
    );
}
