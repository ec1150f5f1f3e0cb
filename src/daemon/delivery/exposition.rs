//! The deliveries' counters under their names in `/metrics` (notifications.md §22.1). What is configured has its series
//! from the start, with 0.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::tally::{BUCKETS, Figures, Histogram, Tally};
use crate::adapters::services::Class;

/// Outcomes of an attempt.
const CLASSES: [&str; 6] = [
    "accepted",
    Class::NotSent.word(),
    Class::RejectedFinal.word(),
    Class::RejectedHealable.word(),
    Class::Transient.word(),
    Class::Unknown.word(),
];

/// Why events are given up.
const REASONS: [&str; 3] = ["expired", "rejected", "unknown"];

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
        let figures = self.0.figures();
        let seen = figures.attempts.keys().map(|(service, _)| service).chain(figures.last_success.keys());
        let names: BTreeSet<&String> = figures.services.keys().chain(seen).collect();
        deliveries(&mut encoder, &figures)?;
        let attempts = figures.attempts.iter().map(|((service, class), n)| ((service.as_str(), *class), *n));
        let rows = filled(&names, &CLASSES, attempts);
        let rows = rows.into_iter().map(|((service, class), n)| ([("service", service), ("class", class)], n));
        counters(&mut encoder, "lynceus_notifications_attempts", "Attempts by outcome", rows)?;
        let dead = figures.dead.iter().map(|((service, why), n)| ((service.as_str(), why.as_str()), *n));
        let rows = filled(&names, &REASONS, dead);
        let rows = rows.into_iter().map(|((service, why), n)| ([("service", service), ("reason", why)], n));
        counters(&mut encoder, "lynceus_notifications_dead", "Events given up", rows)?;
        let rows = fallbacks(&figures);
        let rows = rows.into_iter().map(|((service, kind), n)| ([("service", service), ("kind", kind)], n));
        counters(&mut encoder, "lynceus_notifications_render_fallback", "Messages with a simpler text", rows)?;
        seconds(&mut encoder, &figures, &names)?;
        let name = "lynceus_notifications_last_success_timestamp_seconds";
        let mut metric = encoder.encode_descriptor(name, "The last accepted event", None, MetricType::Gauge)?;
        for service in &names {
            let labels: Service = [("service", service)];
            metric.encode_family(&labels)?.encode_gauge(figures.last_success.get(*service).unwrap_or(&0))?;
        }
        let name = "lynceus_notifications_breaker_open";
        let help = "Whether nothing is sent to a place for now";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (service, (_, place)) in &figures.services {
            let open = figures.open_breakers.iter().any(|(name, _)| name == service);
            let labels = [("service", service.as_str()), ("endpoint", place.as_str())];
            metric.encode_family(&labels)?.encode_gauge(&i64::from(open))?;
        }
        Ok(())
    }
}

fn deliveries(encoder: &mut DescriptorEncoder<'_>, figures: &Figures) -> fmt::Result {
    let mut all: BTreeMap<(&str, &str, bool), u64> = BTreeMap::new();
    for trigger in &figures.triggers {
        for service in figures.services.keys() {
            all.extend([true, false].map(|ok| ((trigger.as_str(), service.as_str(), ok), 0)));
        }
    }
    let seen = figures.deliveries.iter();
    all.extend(seen.map(|((trigger, service, ok), n)| ((trigger.as_str(), service.as_str(), *ok), *n)));
    let rows = all.into_iter().map(|((trigger, service, ok), n)| {
        ([("trigger", trigger), ("service", service), ("succeeded", if ok { "true" } else { "false" })], n)
    });
    counters(encoder, "argocd_notifications_deliveries", "Deliveries", rows)
}

fn fallbacks(figures: &Figures) -> BTreeMap<(&str, &str), u64> {
    let people = figures.services.iter().filter(|(_, (kind, _))| kind == "slack" || kind == "email");
    let mut rows: BTreeMap<(&str, &str), u64> =
        people.map(|(service, (kind, _))| ((service.as_str(), kind.as_str()), 0)).collect();
    rows.extend(figures.fallbacks.iter().map(|((service, kind), n)| ((service.as_str(), kind.as_str()), *n)));
    rows
}

fn seconds(encoder: &mut DescriptorEncoder<'_>, figures: &Figures, names: &BTreeSet<&String>) -> fmt::Result {
    let name = "lynceus_notifications_delivery_seconds";
    let mut metric = encoder.encode_descriptor(name, "From seen to delivered", None, MetricType::Histogram)?;
    let none = Histogram::default();
    for service in names {
        let histogram = figures.seconds.get(*service).unwrap_or(&none);
        let labels: Service = [("service", service)];
        let bounds = BUCKETS.into_iter().chain([f64::MAX]);
        let buckets: Vec<(f64, u64)> = bounds.zip(histogram.counts).collect();
        let count = histogram.counts.iter().sum();
        metric.encode_family(&labels)?.encode_histogram::<NoLabelSet>(histogram.sum, count, &buckets, None)?;
    }
    Ok(())
}

/// The counters, with 0 for every pair that may come.
fn filled<'a>(
    names: &BTreeSet<&'a String>,
    words: &[&'static str],
    seen: impl Iterator<Item = ((&'a str, &'a str), u64)>,
) -> BTreeMap<(&'a str, &'a str), u64> {
    let pairs = names.iter().flat_map(|name| words.iter().map(|word| ((name.as_str(), *word), 0)));
    let mut all: BTreeMap<(&str, &str), u64> = pairs.collect();
    all.extend(seen);
    all
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
