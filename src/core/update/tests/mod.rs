//! Tests of the decision (image-updates.md §8, §12); commits and branches in a file of their own.

use std::sync::Arc;

use super::*;
use crate::core::image::{Candidate, ImageRef, Selection, Strategy, TagFilter};
use crate::core::problem::Problem;
use crate::core::writeback::{Desired, Names};

mod commits;
mod decisions;
mod ownership;
mod surveys;

fn tracked(strategy: Strategy, item: &str) -> TrackedImage {
    let image = ImageRef::parse(item).unwrap_or_else(|p| panic!("{p}"));
    let (selection, _) = Selection::new(strategy, image.tag.as_deref(), item);
    TrackedImage {
        image,
        selection,
        force_update: false,
        pull_secret: None,
        names: Names {
            helm_name: "image.name".into(),
            helm_name_explicit: false,
            helm_tag: "image.tag".into(),
            helm_spec: None,
            kustomize_name: None,
        },
        discover: None,
        source: None,
        allow_downgrade: false,
        unusable: None,
    }
}

/// `tag`, `tag@digest`, `@digest`, `name:tag`, …; an empty text is a place that holds nothing comparable.
fn desired(text: &str) -> Desired {
    let (rest, digest) = text.split_once('@').map_or((text, None), |(r, d)| (r, Some(d.to_owned())));
    let (name, tag) = rest.rsplit_once(':').map_or((None, rest), |(n, t)| (Some(n.to_owned()), t));
    Desired { name, tag: Some(tag.to_owned()).filter(|t| !t.is_empty()), digest, place: "values.yaml image.tag".into() }
}

fn refs(live: &[&str]) -> Vec<ImageRef> {
    live.iter().filter_map(|l| ImageRef::parse_reference(l).ok()).collect()
}

/// `tag` or `tag=date` or `tag@digest`.
fn candidates(tags: &[&str]) -> Vec<Candidate> {
    tags.iter()
        .map(|text| {
            let (tag, created) = text.split_once('=').map_or((*text, None), |(t, c)| (t, c.parse().ok()));
            let (tag, digest) = tag.split_once('@').map_or((tag, None), |(t, d)| (t, Some(d.to_owned())));
            Candidate { digest, created, ..Candidate::named(tag) }
        })
        .collect()
}

fn shared(images: &[TrackedImage]) -> Vec<Arc<TrackedImage>> {
    images.iter().cloned().map(Arc::new).collect()
}

fn decided(image: &TrackedImage, live: &[&str], place: Option<&str>, tags: &[&str]) -> Decision {
    decided_among(image, std::slice::from_ref(image), live, place, tags)
}

fn decided_among(
    image: &TrackedImage,
    siblings: &[TrackedImage],
    live: &[&str],
    place: Option<&str>,
    tags: &[&str],
) -> Decision {
    let (live, tags, place) = (refs(live), candidates(tags), place.map(desired));
    let choice = image.selection.choose(&tags);
    decide(
        image,
        &Facts {
            siblings: &shared(siblings),
            live: &live,
            desired: place.as_ref(),
            choice: &choice,
            candidates: &tags,
            discover: Discover::Live,
            reverted: None,
        },
    )
}

/// The state, and the value to be written or held.
fn outcome(decision: &Decision) -> (&'static str, String) {
    let value = match (&decision.change, &decision.held) {
        (Some(change), _) => format!("{}>{}", change.old_text(), change.new_text()),
        (None, Some(held)) => format!("{} {}", held.reason.word(), held.candidate),
        (None, None) => String::new(),
    };
    assert!(!decision.reasons.is_empty(), "a state without a reason");
    (decision.state.word(), value)
}

#[test]
fn compat_q8_dec_4_downgrade_guard_matrix() {
    use Strategy::*;
    let semver = ["1.2.0"];
    let dated = ["a=2026-01-01T00:00:00Z"];
    let both = ["a=2026-01-01T00:00:00Z", "b=2026-02-01T00:00:00Z"];
    type Row<'a> = (&'a str, Strategy, &'a str, bool, Option<&'a str>, &'a [&'a str], &'a str);
    let rows: &[Row<'_>] = &[
        ("lower", SemVer, "nginx:1.x", false, Some("1.3.0"), &semver, "held"),
        ("lower, allowed", SemVer, "nginx:1.x", true, Some("1.3.0"), &semver, "update-due"),
        ("lower than live", SemVer, "nginx:1.x", false, None, &semver, "held"),
        ("pre-release of the same", SemVer, "nginx:1.x", false, Some("1.2.0-rc.1"), &semver, "update-due"),
        ("equal precedence", SemVer, "nginx:1.x", false, Some("v1.2"), &semver, "update-due"),
        ("not a version", SemVer, "nginx:1.x", false, Some("main"), &semver, "update-due"),
        ("another repository", SemVer, "acme/web:1.x", false, Some("old/web:9.0.0"), &semver, "update-due"),
        ("alphabetical is not guarded", Alphabetical, "nginx", false, Some("9"), &semver, "update-due"),
        ("date of the current one unknown", NewestBuild, "nginx", false, Some("b"), &dated, "update-due"),
    ];
    for (rule, strategy, item, allow, place, tags, state) in rows {
        let image = TrackedImage { allow_downgrade: *allow, ..tracked(*strategy, item) };
        let live = if place.is_none() { vec!["nginx:1.3.0"] } else { vec!["nginx:1", "acme/web:1"] };
        let decision = decided(&image, &live, *place, tags);
        assert_eq!(decision.state.word(), *state, "{rule}: {:?}", decision.reasons);
        assert_eq!(decision.held.map(|h| h.reason), (*state == "held").then_some(HeldReason::Downgrade), "{rule}");
    }
    // The newer build is ignored by its name, so the older one is chosen.
    let mut image = tracked(NewestBuild, "nginx");
    image.selection.allow = TagFilter::parse("regexp:a").0;
    let decision = decided(&image, &["nginx:b"], Some("b"), &both);
    assert_eq!(outcome(&decision), ("held", "downgrade a".to_owned()));
}

#[test]
fn dec_4_tag_deletion_does_not_downgrade() {
    let image = tracked(Strategy::SemVer, "nginx:1.x");
    assert_eq!(outcome(&decided(&image, &["nginx:1.3.0"], Some("1.3.0"), &["1.2.0", "1.3.0"])).0, "up-to-date");
    let after = decided(&image, &["nginx:1.3.0"], Some("1.3.0"), &["1.2.0"]);
    assert_eq!(outcome(&after), ("held", "downgrade 1.2.0".to_owned()));
    assert!(after.change.is_none() && after.old == "1.3.0");
}

#[test]
fn dec_5_a_pin_is_not_dropped_silently() {
    let decision = decided(&tracked(Strategy::SemVer, "nginx:1.x"), &["nginx:1"], Some("1.0.0@sha256:a"), &["1.1.0"]);
    assert!(decision.wants_digest);
    assert!(decision.reasons.iter().any(|r| r.contains("pinned")), "{:?}", decision.reasons);
    let plain = decided(&tracked(Strategy::SemVer, "nginx:1.x"), &["nginx:1"], Some("1.0.0"), &["1.1.0"]);
    assert!(!plain.wants_digest);
}

#[test]
fn dis_3_discover_modes_matrix() {
    use Discover::*;
    for (discover, force, live, place, passes) in [
        (None, false, "nginx:1", None, true),
        (None, false, "redis:1", Some("nginx:1.0.0"), false),
        (Some(Live), false, "redis:1", Some("1.0.0"), false),
        (Some(Desired), false, "redis:1", Some("1.0.0"), true),
        (Some(Desired), false, "redis:1", Some("docker.io/library/nginx:1.0.0"), true),
        (Some(Desired), false, "nginx:1", None, false),
        (Some(Desired), false, "nginx:1", Some("other:1.0.0"), false),
        (Some(Both), false, "nginx:1", None, true),
        (Some(Both), false, "redis:1", Some("1.0.0"), true),
        (Some(Both), false, "redis:1", None, false),
        (None, true, "redis:1", None, true),
    ] {
        let image = TrackedImage { discover, force_update: force, ..tracked(Strategy::SemVer, "nginx:1.x") };
        let decision = decided(&image, &[live], place, &["1.1.0"]);
        assert_eq!(decision.state != State::NotLive, passes, "{discover:?} {force} {live} {place:?}");
    }
    assert_eq!(Discover::default_for(true, false), Desired, "src_7");
    assert_eq!(Discover::default_for(true, true), Live);
    assert_eq!(Discover::default_for(false, false), Live);
}

#[test]
fn dis_4_not_live_is_explained() {
    let decision = decided(&tracked(Strategy::SemVer, "ghcr.io/a/b:1.x"), &["redis:1", "a/b:2"], None, &["1.1.0"]);
    assert_eq!(decision.reasons, ["ghcr.io/a/b is not among the live images: a/b:2, redis:1"]);
}

#[test]
fn dis_2_kustomize_name_first_then_the_image_itself() {
    let mut image = tracked(Strategy::SemVer, "ghcr.io/acme/web:1.x");
    image.names.kustomize_name = Some("web".into());
    let renamed = decided(&image, &["web:1.1.0"], None, &["1.1.0"]);
    assert_eq!(outcome(&renamed), ("update-due", "1.1.0>1.1.0".to_owned()), "dec_3: repository differs");
    let own = decided(&image, &["ghcr.io/acme/web:1.1.0"], None, &["1.1.0"]);
    assert_eq!(own.state, State::UpToDate);
    let element = decided(&image, &["web:1.1.0"], Some("web:1.1.0"), &["1.1.0"]);
    assert_eq!(element.state, State::UpdateDue, "an element without newName still names the old image");
}

#[test]
fn dis_6_sibling_aliases_by_tag_family() {
    let family = |alias: &str, tag: &str| {
        let mut image = tracked(Strategy::Alphabetical, &format!("{alias}=acme/app"));
        image.selection.allow = TagFilter::parse(&format!("regexp:^{tag}-")).0;
        image
    };
    let images = [family("be", "backend"), family("fe", "frontend")];
    let live = ["acme/app:backend-1", "acme/app:frontend-1"];
    let tags = ["backend-1", "backend-2", "frontend-1"];
    let be = decided_among(&images[0], &images, &live, None, &tags);
    assert_eq!(outcome(&be), ("update-due", "backend-1>backend-2".to_owned()), "dis_6");
    let fe = decided_among(&images[1], &images, &live, None, &tags);
    assert_eq!(outcome(&fe), ("up-to-date", String::new()), "dis_6");
    let own = |i: usize| live_set(&images[i], &shared(&images), &refs(&live)).own;
    assert_eq!((own(0), own(1)), (refs(&live[..1]), refs(&live[1..])));
    // What none accepts, or both, opens the gate for both and is compared with neither.
    let stray = live_set(&images[0], &shared(&images), &refs(&["acme/app:other"]));
    assert_eq!((stray.gate.len(), stray.own.len()), (1, 0));
    let twins = [tracked(Strategy::SemVer, "a=acme/app:1.x"), tracked(Strategy::SemVer, "b=acme/app:*")];
    let shared = live_set(&twins[1], &shared(&twins), &refs(&["acme/app:1.0.0", "acme/app:2.0.0"]));
    assert_eq!((shared.gate.len(), shared.own), (2, refs(&["acme/app:2.0.0"])));
}

#[test]
fn dis_5_several_live_tags_no_flap() {
    let image = tracked(Strategy::SemVer, "nginx:1.x");
    let tags = ["1.0.0", "1.1.0"];
    let one = decided(&image, &["nginx:1.0.0", "nginx:0.9.0", "nginx:1.1.0"], Some("1.1.0"), &tags);
    let two = decided(&image, &["nginx:1.1.0", "nginx:0.9.0", "nginx:1.0.0"], Some("1.1.0"), &tags);
    assert_eq!((one.state, &one), (State::UpToDate, &two));
}

#[test]
fn inv_4_unusable_settings_fail_with_their_reason() {
    let mut image = tracked(Strategy::SemVer, "nginx:1.x");
    image.unusable = Some(Problem::error("constraint-invalid", "no"));
    assert_eq!(decided(&image, &["nginx:1"], Some("1.0.0"), &["1.1.0"]).state, State::Failed);
}

#[test]
fn dis_1_live_images_are_all_that_can_be_read() {
    let object =
        serde_json::json!({"metadata": {"name": "a"}, "status": {"summary": {"images": ["nginx:1", "a b", ""]}}});
    let app = crate::core::application::Application::decode(&object.to_string()).unwrap_or_else(|p| panic!("{p}"));
    assert_eq!(live_images(&app), refs(&["nginx:1"]), "dis_1");
}

#[test]
fn own_6_target_collision_blocks_both() {
    let writes =
        [("a.yaml tag", "1"), ("b.yaml tag", "1"), ("a.yaml tag", "2"), ("b.yaml tag", "1"), ("a.yaml tag", "1")];
    assert_eq!(collisions(writes).into_iter().collect::<Vec<_>>(), [0, 2, 4]);
    assert!(collisions([("x", 1)]).is_empty());
}
