//! How small the image half stays with nothing to do: Applications with four images each.

use futures::StreamExt;

use super::ratio;
use super::yard::{self, Layout, UNLIMITED, Yard};
use crate::sample;

/// Applications, unless sizes are given.
const SIZE: usize = 500;

/// Images of each.
const IMAGES: usize = 4;

/// Tags of each image.
const TAGS: usize = 20;

/// MiB of the incumbent with 500 Applications.
const INCUMBENT: f64 = 107.0;

pub async fn measure(sizes: &[usize]) {
    for size in if sizes.is_empty() { &[SIZE][..] } else { sizes } {
        let yard = Yard::new("idle").await;
        let tags: Vec<String> = (0..TAGS).map(|n| format!("1.0.{n}")).collect();
        yard.images((0..*size).flat_map(|n| (0..IMAGES).map(move |i| repository(n, i))), &tags).await;
        let newest = format!("1.0.{}", TAGS - 1);
        let values = |n: usize| {
            let each =
                (0..IMAGES).map(|i| format!("i{i}:\n  name: {}\n  tag: {newest}\n", yard.image(&repository(n, i))));
            (format!("{}/values.yaml", Layout::Folders.path(n)), each.collect::<String>())
        };
        yard.commit(&(0..*size).map(values).collect::<Vec<_>>());
        let create = |n: usize| {
            let list: Vec<String> =
                (0..IMAGES).map(|i| format!("i{i}={}:~1.0", yard.image(&repository(n, i)))).collect();
            let keys: Vec<(String, String)> = (0..IMAGES)
                .flat_map(|i| ["name", "tag"].map(|what| (format!("i{i}.helm.image-{what}"), format!("i{i}.{what}"))))
                .collect();
            let mut annotations = vec![("image-list", list.join(","))];
            annotations.extend(keys.iter().map(|(key, value)| (key.as_str(), value.clone())));
            let live: Vec<String> =
                (0..IMAGES).map(|i| format!("{}:{newest}", yard.image(&repository(n, i)))).collect();
            let app = yard.weighty(n, &Layout::Folders.path(n), &annotations, &live);
            let ns = &yard.ns;
            async move { ns.apply_json(app).await }
        };
        futures::stream::iter(0..*size).for_each_concurrent(sample::AT_ONCE, create).await;
        println!("{size} Applications, {} images of {TAGS} tags", size * IMAGES);
        yard::head();
        let house = yard.house(UNLIMITED, &["--interval=15s", "--loglevel=warn"]).await;
        let first = yard.first_round(&house).await;
        yard::line("start: clone, nothing to do", &first, &house);
        house.forget_peak();
        let quiet = yard.round(&house).await;
        yard::line("nothing new", &quiet, &house);
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        let idle = house.memory_kib("VmRSS:") as f64 / 1024.0;
        println!("idle: {idle:.1} MiB resident; incumbent at 500: {INCUMBENT} MiB, {}", ratio(idle, INCUMBENT));
        let status = house.status().await.expect("a status");
        println!("images by state: {}", status["images"]["byState"]);
        yard::load();
        house.stop().await;
    }
}

fn repository(n: usize, image: usize) -> String {
    format!("{}-{image}", sample::name(n))
}
