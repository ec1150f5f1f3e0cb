//! The two languages and the pass over an Application, in this process and on one thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lynceus::config::notifications::{CatalogMode, Notifications, compile};
use lynceus::core::application::Application;
use lynceus::core::notify::catalog::{Topic, render};
use lynceus::core::notify::ledger::Ledger;
use lynceus::core::notify::variables::Facts;
use lynceus::core::notify::{Inherited, Rules, evaluate};
use lynceus::core::value::time::Moment;
use lynceus::core::value::{Map, MapKind, Value};

use crate::sample;

/// Each figure is measured for so long.
const TIME: Duration = Duration::from_secs(2);

/// A message as large installations write them: a Slack card with a field for everything.
const LARGE: &str = include_str!("large-template.yaml");

pub fn measure(size: usize) {
    println!("{:>44} {:>12}", "on one core", "per second");
    let triggers = ["on-sync-failed", "on-health-degraded", "on-sync-status-unknown"];
    let subscribed = triggers.map(|trigger| (format!("{trigger}.slack"), "alerts")).to_vec();
    let apps: Vec<String> = (0..size.min(200)).map(|n| sample::application(n, "r0", &subscribed).to_string()).collect();
    let parsed: Vec<Application> = apps.iter().map(|text| Application::decode(text).expect("an object")).collect();
    let compiled = compiled();
    let mut evaluated = 0;
    rate("Applications parsed", |n| drop(Application::decode(&apps[n % apps.len()])));
    rate("Applications evaluated, three triggers each", |n| {
        let app = &parsed[n % parsed.len()];
        let ledger = Ledger { known: true, ..Ledger::default() };
        let found = evaluate(
            app,
            Inherited::default(),
            &compiled.rules,
            &ledger,
            || facts(app, &compiled.rules),
            Timestamp::UNIX_EPOCH,
        );
        evaluated += found.evaluated.len();
    });
    assert!(evaluated > 0, "nothing was evaluated");
    let shown = facts(&parsed[0], &compiled.rules);
    let variables = shown.for_conditions();
    let conditions: Vec<_> = compiled.rules.triggers.values().flat_map(|trigger| &trigger.conditions).collect();
    rate("conditions of the catalog", |n| {
        let outcome = conditions[n % conditions.len()].evaluate(&variables, &shown.now);
        assert!(outcome.result.is_some() || outcome.error.is_some());
    });
    let names: Vec<&String> = compiled.rules.templates.keys().filter(|name| name.starts_with("app-")).collect();
    let message = |name: &str| {
        let topic = Topic { trigger: "on-x", app: "argocd/app" };
        let kind = compiled.rules.services["slack"];
        render(&compiled.rules.templates, &[name.to_owned()], "slack", kind, "alerts", &shown, topic)
    };
    rate("Slack messages of the catalog", |n| assert!(message(names[n % names.len()]).failed.is_none()));
    let large = message("large");
    assert!(large.problems.is_empty(), "{:?}", large.problems);
    rate("Slack messages of a large template", |_| assert!(message("large").failed.is_none()));
}

/// The catalog, a Slack service and the large template.
fn compiled() -> Notifications {
    let config = BTreeMap::from([
        ("service.slack".to_owned(), "token: xoxb".to_owned()),
        ("template.large".to_owned(), LARGE.to_owned()),
        ("context".to_owned(), "argocdUrl: https://argocd.example.com".to_owned()),
    ]);
    let compiled = compile(&config, &BTreeMap::new(), &BTreeMap::new(), CatalogMode::All);
    assert!(compiled.problems.is_empty(), "{:?}", compiled.problems);
    compiled
}

fn facts(app: &Application, rules: &Rules) -> Facts {
    Facts {
        app: app.object(),
        project: Value::Map(Map::new(MapKind::Any)),
        context: rules.context.clone(),
        secrets: Map::new(MapKind::Bytes),
        commits: Arc::default(),
        wanted: Arc::default(),
        placeholders: true,
        image: Value::Nil,
        now: Moment { at: Timestamp::UNIX_EPOCH, zone: jiff::tz::TimeZone::UTC },
    }
}

fn rate(what: &str, mut work: impl FnMut(usize)) {
    let start = Instant::now();
    let mut count = 0usize;
    while start.elapsed() < TIME {
        for _ in 0..16 {
            work(count);
            count += 1;
        }
    }
    println!("{what:>44} {:>12.0}", count as f64 / start.elapsed().as_secs_f64());
}
