//! The deliveries' counters under their names in `/metrics` (notifications.md §22.1).

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::tally::{BUCKETS, Figures, Tally};

/// Reads the tally whenever `/metrics` is asked.
pub struct Exposition(pub Arc<Tally>);

impl fmt::Debug for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exposition")
    }
}

type Service<'a> = [(&'static str, &'a str); 1];

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Figures { deliveries, attempts, dead, seconds, last_success, running: _, open_breakers } = self.0.figures();
        let rows = deliveries.iter().map(|((trigger, service, succeeded), n)| {
            let succeeded = if *succeeded { "true" } else { "false" };
            ([("trigger", trigger.as_str()), ("service", service.as_str()), ("succeeded", succeeded)], *n)
        });
        counters(&mut encoder, "argocd_notifications_deliveries", "Deliveries", rows)?;
        let rows =
            attempts.iter().map(|((service, class), n)| ([("service", service.as_str()), ("class", *class)], *n));
        counters(&mut encoder, "lynceus_notifications_attempts", "Attempts by outcome", rows)?;
        let rows =
            dead.iter().map(|((service, why), n)| ([("service", service.as_str()), ("reason", why.as_str())], *n));
        counters(&mut encoder, "lynceus_notifications_dead", "Events given up", rows)?;
        let name = "lynceus_notifications_delivery_seconds";
        let mut metric = encoder.encode_descriptor(name, "From seen to delivered", None, MetricType::Histogram)?;
        for (service, histogram) in &seconds {
            let labels: Service = [("service", service)];
            let bounds = BUCKETS.into_iter().chain([f64::MAX]);
            let buckets: Vec<(f64, u64)> = bounds.zip(histogram.counts).collect();
            let count = histogram.counts.iter().sum();
            metric.encode_family(&labels)?.encode_histogram::<NoLabelSet>(histogram.sum, count, &buckets, None)?;
        }
        let name = "lynceus_notifications_last_success_timestamp_seconds";
        let mut metric = encoder.encode_descriptor(name, "The last accepted event", None, MetricType::Gauge)?;
        for (service, at) in &last_success {
            let labels: Service = [("service", service)];
            metric.encode_family(&labels)?.encode_gauge(at)?;
        }
        let name = "lynceus_notifications_breaker_open";
        let mut metric =
            encoder.encode_descriptor(name, "Places nothing is sent to for now", None, MetricType::Gauge)?;
        for place in &open_breakers {
            metric.encode_family(&[("endpoint", place.as_str())])?.encode_gauge(&1i64)?;
        }
        Ok(())
    }
}

fn counters<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: impl Iterator<Item = (L, u64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in rows {
        metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
    }
    Ok(())
}
