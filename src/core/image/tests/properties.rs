//! Laws that hold for any text.

use proptest::prelude::*;
use proptest::strategy::Strategy as Generator;

use crate::core::image::{Candidate, Constraint, Glob, ImageRef, Selection, TagFilter, Version};

fn written() -> impl Generator<Value = String> {
    let part = "[a-z0-9]{1,6}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}";
    let host = prop_oneof![
        Just(String::new()),
        Just("ghcr.io/".to_owned()),
        Just("docker.io/".to_owned()),
        Just("localhost:5000/".to_owned()),
        Just("Registry.Example.COM:443/".to_owned()),
    ];
    let tag = prop_oneof![
        Just(String::new()),
        "[A-Za-z0-9_][A-Za-z0-9._-]{0,20}".prop_map(|t| format!(":{t}")),
        "[~^]1\\.[0-9]".prop_map(|t| format!(":{t}")),
    ];
    let digest = prop_oneof![3 => Just(String::new()), 1 => "[0-9a-f]{64}".prop_map(|d| format!("@sha256:{d}"))];
    let alias = prop_oneof![Just(String::new()), "[A-Za-z0-9][A-Za-z0-9._/-]{0,8}=".prop_map(|a| a)];
    (alias, host, part, tag, digest).prop_map(|(a, h, p, t, d)| format!("{a}{h}{p}{t}{d}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn rendering_round_trip_property(text in written()) {
        let image = ImageRef::parse(&text).map_err(|p| TestCaseError::fail(p.to_string()))?;
        let again = ImageRef::parse(&image.to_string()).map_err(|p| TestCaseError::fail(p.to_string()))?;
        prop_assert_eq!(again.canonical(), image.canonical());
        prop_assert_eq!(again, image);
    }

    #[test]
    fn reference_and_constraint_parsers_never_panic(text in "\\PC{0,40}", odd in "[0-9xX*.|<>=~^, v+-]{0,30}") {
        for text in [&text, &odd] {
            let _ = ImageRef::parse(text);
            let _ = TagFilter::parse(&format!("regexp:{text}"));
            if let Some(glob) = Glob::parse(text) {
                glob.matches("1.2.3-rc1");
            }
            if let Ok(constraint) = Constraint::parse(text) {
                for version in ["0.0.0", "1.2.3", "1.2.3-rc.1"] {
                    if let Some(version) = Version::parse(version) {
                        constraint.matches(&version);
                    }
                }
            }
        }
    }

    #[test]
    fn version_order_is_total(a in "[0-2](\\.[0-2]){0,2}(-(a|b|1|2|0a)(\\.(a|1|9))?)?", b in "[0-2](\\.[0-2]){0,2}(-(a|1))?",
                              c in "[0-2](-(a|1|1\\.1))?") {
        let v = |t: &str| Version::parse(t).ok_or_else(|| TestCaseError::fail(t.to_owned()));
        let (a, b, c) = (v(&a)?, v(&b)?, v(&c)?);
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
        if a <= b && b <= c {
            prop_assert!(a <= c);
        }
    }

    #[test]
    fn what_is_essential_chooses_the_same(
        tags in proptest::collection::vec(
            ("[0-2]\\.[0-2](-rc1)?|latest", proptest::option::of(0i64..4), any::<bool>(), any::<bool>()), 0..12),
        strategy in 0usize..4,
    ) {
        use crate::core::image::Strategy::{Alphabetical, Digest, NewestBuild, SemVer};
        let strategy = [SemVer, NewestBuild, Alphabetical, Digest][strategy];
        let candidate = |(n, (tag, date, digest, other)): (usize, &(String, Option<i64>, bool, bool))| Candidate {
            created: date.and_then(|second| jiff::Timestamp::from_second(second).ok()),
            digest: digest.then(|| format!("sha256:{n}")),
            platform_ok: Some(!other),
            ..Candidate::named(tag.as_str())
        };
        let all: Vec<Candidate> = tags.iter().enumerate().map(candidate).collect();
        let constraint = if strategy == Digest { "latest" } else { ">=1.0" };
        let (selection, _) = Selection::new(strategy, Some(constraint), "app");
        let few = selection.essential(all.clone());
        let (before, after) = (selection.choose(&all), selection.choose(&few));
        prop_assert_eq!(&before.chosen, &after.chosen);
        match before.chosen {
            None => prop_assert_eq!(before.counts(), after.counts()),
            Some(_) if strategy == NewestBuild => {
                prop_assert_eq!(few.len(), all.iter().filter(|c| c.created.is_some()).count());
            }
            Some(_) => prop_assert_eq!(few.len(), 1),
        }
    }
}
