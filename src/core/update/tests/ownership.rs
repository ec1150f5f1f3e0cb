//! Which object selects which Application (image-updates.md CR-1, CR-3, CR-7, OWN-1 to OWN-3).

use std::collections::BTreeMap;

use crate::core::application::Application;
use crate::core::image::Glob;
use crate::core::update::ownership::*;

fn labels(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// `a=b`, and of expressions `a in x|y`, `a notin x`, `a`, `!a`, separated by `;`.
fn selector(text: &str) -> LabelSelector {
    let mut selector = LabelSelector::default();
    for part in text.split(';').filter(|part| !part.is_empty()) {
        let values = |text: &str| text.split('|').map(str::to_owned).collect();
        let (key, operator) = if let Some((key, value)) = part.split_once('=') {
            selector.labels.insert(key.to_owned(), value.to_owned());
            continue;
        } else if let Some((key, list)) = part.split_once(" in ") {
            (key, Operator::In(values(list)))
        } else if let Some((key, list)) = part.split_once(" notin ") {
            (key, Operator::NotIn(values(list)))
        } else if let Some(key) = part.strip_prefix('!') {
            (key, Operator::DoesNotExist)
        } else {
            (part, Operator::Exists)
        };
        selector.expressions.push(Expression { key: key.to_owned(), operator });
    }
    selector
}

fn own(pattern: &str, select: Option<&str>) -> OwnerRef {
    let pattern = Glob::parse(pattern).unwrap_or_else(|| panic!("{pattern}"));
    OwnerRef { pattern, selector: select.map(selector), images: Images::Annotations }
}

fn owner(place: &str, refs: Vec<OwnerRef>) -> Owner {
    let (namespace, name) = place.split_once('/').unwrap_or(("argocd", place));
    let key = OwnerKey { namespace: namespace.to_owned(), name: name.to_owned() };
    Owner { key, target: None, refs, verifies: false }
}

fn app(place: &str, labelled: &str) -> Application {
    let (namespace, name) = place.split_once('/').unwrap_or(("argocd", place));
    let object = serde_json::json!({
        "metadata": { "namespace": namespace, "name": name, "labels": labels(labelled) }
    });
    Application::decode(&object.to_string()).unwrap_or_else(|p| panic!("{p}"))
}

/// The vectors of the rule, and of upstream's own table.
#[test]
fn cr_3_ref_score_table() {
    for (pattern, selector, score) in [
        ("app-one", None, 1_000_007),
        ("", None, 1_000_000),
        ("app-*", None, 4),
        ("app-?", None, 4),
        ("*", None, 0),
        ("app-prod-*", None, 9),
        ("app-[a-z]*", None, 4),
        ("app-[a-z][0-9]-x", None, 6),
        ("*-*-end", None, 5),
        ("app-*", Some(""), 10_004),
        ("app-*", Some("env=prod"), 10_104),
        ("app-*", Some("env in prod"), 10_104),
        ("app-*", Some("env=prod;tier=backend;region"), 10_304),
        ("app-one", Some("env=prod"), 1_010_107),
        ("größe", None, 1_000_007),
    ] {
        assert_eq!(own(pattern, selector).score(), score, "{pattern} {selector:?}");
    }
}

#[test]
fn cr_3_labels_and_globs_select() {
    for (pattern, select, name, labelled, selects) in [
        ("web", None, "web", "", true),
        ("web", None, "web2", "", false),
        ("web-*", None, "web-1", "", true),
        ("web-?", None, "web-12", "", false),
        ("web-[0-9]", None, "web-7", "", true),
        ("web-[^0-9]", None, "web-7", "", false),
        ("*", Some(""), "any", "", true),
        ("*", Some("env=prod"), "a", "env=prod,x=y", true),
        ("*", Some("env=prod"), "a", "env=test", false),
        ("*", Some("env=prod;tier=web"), "a", "env=prod", false),
        ("*", Some("env in prod|test"), "a", "env=test", true),
        ("*", Some("env in prod|test"), "a", "", false),
        ("*", Some("env notin prod"), "a", "", true),
        ("*", Some("env notin prod"), "a", "env=prod", false),
        ("*", Some("env"), "a", "env=x", true),
        ("*", Some("!env"), "a", "env=x", false),
        ("*", Some("!env"), "a", "", true),
        ("web", Some("env=prod"), "web", "env=test", false),
    ] {
        let ownership = Ownership::new([owner("o", vec![own(pattern, select)])], &[]);
        let standing = ownership.standing(&app(name, labelled), Native::Never);
        assert_eq!(standing.governed(), selects, "{pattern} {select:?} {name} {labelled}");
    }
}

/// One ref speaks for an Application. Which one did is seen by what it does with it.
#[test]
fn cr_3_the_highest_score_is_used_alone_and_ties_keep_list_order() {
    let marked = |mut own: OwnerRef| {
        own.images = Images::Unreadable;
        own
    };
    for (refs, taken) in [
        (vec![own("*", None), marked(own("web", None))], true),
        (vec![marked(own("*", None)), own("web", None)], false),
        (vec![own("web", None), marked(own("web", Some("env=prod")))], true),
        (vec![marked(own("web", None)), own("web", Some("env=test"))], true),
        (vec![own("we*", None), marked(own("w*b", None))], false),
        (vec![marked(own("we*", None)), own("w*b", None)], true),
        // Never the next one because the best could not be read.
        (vec![marked(own("web", None)), own("w*", None), own("*", None)], true),
    ] {
        let ownership = Ownership::new([owner("o", refs.clone())], &[]);
        let standing = ownership.standing(&app("web", "env=prod"), Native::Always);
        let unreadable =
            matches!(&standing, Standing::Waiting(owners) if owners.values().all(|w| *w == Why::Unreadable));
        assert_eq!(unreadable, taken, "{refs:?} {standing:?}");
    }
}

#[test]
fn cr_1_own_1_own_2_own_3_who_manages() {
    let object = |mut own: OwnerRef| {
        own.images = Images::Object;
        own
    };
    let annotations = || owner("notes", vec![own("n-*", None)]);
    let images = || owner("images", vec![object(own("i-*", None))]);
    let mixed = || owner("mixed", vec![own("m-*", None), object(own("x-*", None))]);
    let verified = || Owner { verifies: true, ..owner("verified", vec![own("v-*", None)]) };
    let other = || owner("team/else", vec![own("*", None)]);
    let all = Ownership::new([annotations(), images(), mixed(), verified(), other()], &[]);
    let waits = |name: &str, why| {
        let key = OwnerKey { namespace: "argocd".into(), name: name.into() };
        Standing::Waiting(BTreeMap::from([(key, why)]))
    };
    let selected = |place: &str| {
        let (namespace, name) = place.split_once('/').unwrap_or_else(|| panic!("{place}"));
        Standing::Selected([OwnerKey { namespace: namespace.into(), name: name.into() }].into())
    };
    for mode in [Native::Auto, Native::Always, Native::Never] {
        for (name, standing) in [
            ("n-1", selected("argocd/notes")),
            ("i-1", waits("images", Why::Images)),
            ("m-1", waits("mixed", Why::Mixed)),
            ("x-1", waits("mixed", Why::Mixed)),
            ("v-1", waits("verified", Why::Verification)),
            ("team/n-1", selected("team/else")),
        ] {
            assert_eq!(all.standing(&app(name, ""), mode), standing, "{name} {mode:?}");
        }
    }
    for (name, auto, always, never) in [
        ("z-1", Standing::Unselected, Standing::Native, Standing::Unselected),
        ("free/z-1", Standing::Native, Standing::Native, Standing::Unselected),
    ] {
        assert_eq!(all.standing(&app(name, ""), Native::Auto), auto, "{name}");
        assert_eq!(all.standing(&app(name, ""), Native::Always), always, "{name}");
        assert_eq!(all.standing(&app(name, ""), Native::Never), never, "{name}");
    }
    // An object that is not followed keeps an Application from one that would only read its annotations.
    let both = Ownership::new([owner("a", vec![own("*", None)]), images()], &[]);
    assert_eq!(both.standing(&app("i-1", ""), Native::Auto), waits("images", Why::Images));
    assert_eq!(Ownership::default().standing(&app("any", ""), Native::Auto), Standing::Native);
}

#[test]
fn cr_7_another_namespace_is_selected_only_where_it_is_listed() {
    let astray = || Owner { target: Some("team".into()), ..owner("o", vec![own("web*", None)]) };
    let closed = Ownership::new([astray()], &[]);
    let (own_app, far) = (app("web", ""), app("team/web", ""));
    assert_eq!(closed.standing(&own_app, Native::Auto), Standing::Unselected, "its own namespace holds an object");
    assert_eq!(closed.standing(&far, Native::Auto), Standing::Native, "nobody else's namespace is closed by it");
    assert_eq!(
        closed.astray().map(|(key, target)| (key.to_string(), target)).collect::<Vec<_>>(),
        [("ImageUpdater argocd/o".to_owned(), "team")]
    );
    assert_eq!(closed.would_select(&far).count(), 1);
    assert_eq!(closed.would_select(&own_app).count() + closed.would_select(&app("team/api", "")).count(), 0);
    let open = Ownership::new([astray()], &["team".to_owned()]);
    assert!(matches!(open.standing(&far, Native::Auto), Standing::Selected(_)));
    assert_eq!(open.standing(&app("team/api", ""), Native::Auto), Standing::Unselected);
    assert_eq!((open.astray().count(), open.would_select(&far).count()), (0, 0));
}
