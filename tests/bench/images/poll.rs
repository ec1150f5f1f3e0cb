//! Many repositories of many tags on one registry, at the pace it is asked by default: how long one round of listings
//! takes, how many requests go out in any second, and how much memory the names take.

use std::collections::BTreeMap;

use futures::StreamExt;

use super::yard::{self, Layout, Yard};
use crate::sample;

/// Repositories, unless sizes are given; the target is 2,000 within five minutes.
const SIZE: usize = 500;

/// Tags of each.
const TAGS: usize = 1_000;

pub async fn measure(sizes: &[usize]) {
    for size in if sizes.is_empty() { &[SIZE][..] } else { sizes } {
        let yard = Yard::new("poll").await;
        let tags: Vec<String> = (0..TAGS).map(|n| format!("1.0.{n}")).collect();
        yard.images((0..*size).map(sample::name), &tags).await;
        let newest = format!("1.0.{}", TAGS - 1);
        let layout = Layout::Folders;
        let values = |n: usize| (format!("{}/values.yaml", layout.path(n)), yard.values(&sample::name(n), &newest));
        yard.commit(&(0..*size).map(values).collect::<Vec<_>>());
        let create = |n| yard.ns.apply_json(yard.application(n, layout));
        futures::stream::iter(0..*size).for_each_concurrent(sample::AT_ONCE, create).await;
        println!("{size} repositories of {TAGS} tags, registries.conf without a limit");
        yard::head();
        let interval = format!("--interval={}s", 20 + size / 25);
        let house = yard.house("", &[&interval, "--loglevel=warn"]).await;
        let first = yard.first_round(&house).await;
        yard::line("first round", &first, &house);
        house.forget_peak();
        let round = yard.round(&house).await;
        yard::line("next round", &round, &house);
        let mut seconds: BTreeMap<&str, usize> = BTreeMap::new();
        for asked in &round.registry {
            *seconds.entry(asked.second.as_str()).or_default() += 1;
        }
        println!("at most {} requests in one second", seconds.values().max().copied().unwrap_or(0));
        yard::load();
        house.stop().await;
    }
}
