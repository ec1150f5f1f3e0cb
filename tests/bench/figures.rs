//! The figures: how fast, how small, on real parts (kube-apiserver, registry, Git, HTTP receivers). Prints counts and
//! ratios, judges nothing: machines differ. `make bench` runs every section, `make bench ONLY="wave memory"` some,
//! `make bench ONLY=images` those of the image half, `make bench SIZES=10000` other sizes.

#[path = "../it/update/stage.rs"]
#[allow(dead_code)] // the tests use all of it
mod stage;
#[path = "../it/support/mod.rs"]
mod support;

mod images;
mod language;
mod latency;
mod memory;
mod outbox;
mod sample;
mod steady;
mod wave;

/// Applications of the notification half, unless sizes are given.
const SIZE: usize = 2_000;

const SECTIONS: [&str; 6] = ["language", "outbox", "memory", "wave", "latency", "steady"];

/// Stands for the sections of the image half.
const IMAGES: &str = "images";

fn main() {
    // Cargo adds `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let (sizes, mut sections): (Vec<String>, Vec<String>) =
        words.into_iter().partition(|word| word.parse::<usize>().is_ok());
    let sizes: Vec<usize> = sizes.iter().filter_map(|word| word.parse().ok()).collect();
    if sections.is_empty() {
        sections = SECTIONS.into_iter().chain([IMAGES]).map(str::to_owned).collect();
    }
    if let Some(at) = sections.iter().position(|name| name == IMAGES) {
        sections.splice(at..=at, images::SECTIONS.map(str::to_owned));
    }
    let known: Vec<&str> = SECTIONS.into_iter().chain(images::SECTIONS).collect();
    if let Some(unknown) = sections.iter().find(|name| !known.contains(&name.as_str())) {
        eprintln!(
            "no section `{unknown}`; there are: {}, and {IMAGES} for the last {}",
            known.join(", "),
            images::SECTIONS.len()
        );
        std::process::exit(64);
    }
    println!("{} KB each Application, {} cores", sample::kilobytes(), cores());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    for section in sections {
        println!("\n== {section}");
        runtime.block_on(run(&section, &sizes));
    }
}

async fn run(section: &str, sizes: &[usize]) {
    let size = sizes.first().copied().unwrap_or(SIZE);
    match section {
        "language" => language::measure(size),
        "outbox" => outbox::measure().await,
        "memory" => memory::measure(if sizes.is_empty() { &[SIZE] } else { sizes }).await,
        "wave" => wave::measure(size).await,
        "latency" => latency::measure().await,
        "steady" => steady::measure(size).await,
        "round" => images::round::measure(sizes).await,
        "newest-build" => images::newest::measure(sizes).await,
        "trees" => images::trees::measure().await,
        "growth" => images::growth::measure(sizes).await,
        "writers" => images::writers::measure(sizes).await,
        "idle" => images::idle::measure(sizes).await,
        _ => images::poll::measure(sizes).await,
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The value at this share of the sorted list.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
}
