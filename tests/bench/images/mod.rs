//! The image half, on a real registry, real Git over https and a real API server: counts first, then times. The figures
//! of the program that Lynceus replaces were measured on the same parts and two cores, and stand beside.

pub mod growth;
pub mod idle;
pub mod newest;
pub mod poll;
pub mod round;
pub mod trees;
pub mod writers;
pub mod yard;

/// What `make bench ONLY=images` stands for.
pub const SECTIONS: [&str; 7] = ["round", "newest-build", "trees", "growth", "writers", "idle", "poll"];

/// Argo CD Image Updater on the same parts: Applications, seconds of its cycle.
const INCUMBENT_SECONDS: [(usize, f64); 3] = [(50, 22.0), (200, 124.0), (500, 395.0)];

/// Seconds that the incumbent's cycle takes for so many Applications, where that was measured.
fn incumbent(size: usize) -> Option<f64> {
    INCUMBENT_SECONDS.iter().find(|(known, _)| *known == size).map(|(_, seconds)| *seconds)
}

/// `1 : 12.3`, how many times more the incumbent takes.
fn ratio(own: f64, other: f64) -> String {
    if own > 0.0 { format!("1 : {:.1}", other / own) } else { "-".to_owned() }
}
