//! How small the daemon stays, with nothing to tell: time until all are evaluated, resident memory, annotation writes.

use std::time::{Duration, Instant};

use crate::sample;

pub async fn measure(sizes: &[usize]) {
    let binary = std::fs::metadata(env!("CARGO_BIN_EXE_lynceus")).map_or(0, |file| file.len());
    println!("binary {:.1} MB", binary as f64 / 1e6);
    println!("{:>12} {:>10} {:>13} {:>12} {:>9}", "applications", "ready s", "resident MiB", "peak MiB", "patches");
    for size in sizes {
        let (ns, house) = sample::installed("memory", &["--loglevel=warn"]).await;
        // Of what people subscribe to most, nothing has happened.
        let subscribed = || {
            ["on-sync-failed", "on-health-degraded", "on-sync-status-unknown"]
                .map(|trigger| (format!("{trigger}.slack"), "alerts"))
                .to_vec()
        };
        sample::create(&ns, *size, |_| subscribed()).await;
        let start = Instant::now();
        house.start().await;
        house.until("all are watched", |status| status["applications"]["watched"] == *size).await;
        let ready = start.elapsed();
        // Evaluation follows at once; a few seconds later nothing moves any more.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let (resident, peak) = (house.memory_kib("VmRSS:"), house.memory_kib("VmHWM:"));
        let patches = house.metric("lynceus_notifications_annotation_patches_total").await;
        println!(
            "{size:>12} {:>10.1} {:>13.1} {:>12.1} {patches:>9}",
            ready.as_secs_f64(),
            resident as f64 / 1024.0,
            peak as f64 / 1024.0
        );
        house.stop().await;
    }
}
