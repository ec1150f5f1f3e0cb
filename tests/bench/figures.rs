//! The figures: how fast, how small, on real parts (kube-apiserver, HTTP receivers). Prints counts and ratios, judges
//! nothing: machines differ. `make bench` runs every section, `make bench ONLY="wave memory"` some,
//! `make bench SIZES=10000` other sizes.

#[path = "../it/support/mod.rs"]
mod support;

mod language;
mod latency;
mod memory;
mod outbox;
mod sample;
mod steady;
mod wave;

/// Applications, unless sizes are given.
const SIZE: usize = 2_000;

const SECTIONS: [&str; 6] = ["language", "outbox", "memory", "wave", "latency", "steady"];

fn main() {
    // Cargo adds `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let (sizes, mut sections): (Vec<String>, Vec<String>) =
        words.into_iter().partition(|word| word.parse::<usize>().is_ok());
    let mut sizes: Vec<usize> = sizes.iter().filter_map(|word| word.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![SIZE];
    }
    if sections.is_empty() {
        sections = SECTIONS.map(str::to_owned).to_vec();
    }
    if let Some(unknown) = sections.iter().find(|name| !SECTIONS.contains(&name.as_str())) {
        eprintln!("no section `{unknown}`; there are: {}", SECTIONS.join(", "));
        std::process::exit(64);
    }
    println!("{} KB each Application, {} cores", sample::kilobytes(), cores());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    for section in sections {
        println!("\n== {section}");
        runtime.block_on(async {
            match section.as_str() {
                "language" => language::measure(sizes[0]),
                "outbox" => outbox::measure().await,
                "memory" => memory::measure(&sizes).await,
                "wave" => wave::measure(sizes[0]).await,
                "latency" => latency::measure().await,
                _ => steady::measure(sizes[0]).await,
            }
        });
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
