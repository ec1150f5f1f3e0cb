//! The decision table: strategy × desired × live (image-updates.md §8, §12).

use super::{decided, outcome, tracked};
use crate::core::image::Strategy::{self, *};
use crate::core::update::State;

type Row<'a> = (&'a str, Strategy, &'a str, &'a [&'a str], Option<&'a str>, &'a [&'a str], &'a str, &'a str);

/// (rule, strategy, image, live, desired, tags, state, value)
const ROWS: &[Row<'static>] = &[
    (
        "dec_2 desired differs",
        SemVer,
        "nginx:1.x",
        &["nginx:1.0.0"],
        Some("1.0.0"),
        &["1.0.0", "1.1.0"],
        "update-due",
        "1.0.0>1.1.0",
    ),
    (
        "des_4 desired equal, live old",
        SemVer,
        "nginx:1.x",
        &["nginx:1.0.0"],
        Some("1.1.0"),
        &["1.1.0"],
        "up-to-date",
        "",
    ),
    (
        "dec_9 desired old, live new",
        SemVer,
        "nginx:1.x",
        &["nginx:1.1.0"],
        Some("1.0.0"),
        &["1.1.0"],
        "update-due",
        "1.0.0>1.1.0",
    ),
    (
        "des_3 long form is no difference",
        SemVer,
        "nginx:1.x",
        &["nginx:1"],
        Some("docker.io/library/nginx:1.1.0"),
        &["1.1.0"],
        "up-to-date",
        "",
    ),
    (
        "des_3 another repository",
        SemVer,
        "acme/web:1.x",
        &["acme/web:1"],
        Some("old/web:1.1.0"),
        &["1.1.0"],
        "update-due",
        "1.1.0>1.1.0",
    ),
    (
        "des_3 tag text, not precedence",
        SemVer,
        "nginx",
        &["nginx:1"],
        Some("1.0"),
        &["1.0.0"],
        "update-due",
        "1.0>1.0.0",
    ),
    (
        "des_5 unknown, live differs",
        SemVer,
        "nginx:1.x",
        &["nginx:1.0.0"],
        None,
        &["1.1.0"],
        "update-due",
        "1.0.0>1.1.0",
    ),
    ("des_5 unknown, live equal", SemVer, "nginx:1.x", &["nginx:1.1.0"], None, &["1.1.0"], "up-to-date", ""),
    (
        "des_5 several live, one old",
        SemVer,
        "nginx:1.x",
        &["nginx:1.1.0", "nginx:1.0.0"],
        None,
        &["1.1.0"],
        "update-due",
        "1.1.0>1.1.0",
    ),
    (
        "dis_5 order of live entries",
        SemVer,
        "nginx:1.x",
        &["nginx:1.0.0", "nginx:1.1.0"],
        None,
        &["1.1.0"],
        "update-due",
        "1.1.0>1.1.0",
    ),
    (
        "des_6 highest live is the old value",
        SemVer,
        "nginx:1.x",
        &["nginx:1.9.0", "nginx:1.10.0"],
        None,
        &["1.11.0"],
        "update-due",
        "1.10.0>1.11.0",
    ),
    (
        "des_6 unranked: byte order",
        SemVer,
        "nginx:1.x",
        &["nginx:b", "nginx:a"],
        None,
        &["1.11.0"],
        "update-due",
        "b>1.11.0",
    ),
    (
        "dec_3 a live pin is no difference",
        SemVer,
        "nginx:1.x",
        &["nginx:1.1.0@sha256:abc"],
        None,
        &["1.1.0"],
        "up-to-date",
        "",
    ),
    (
        "dec_5 a desired pin is no difference",
        SemVer,
        "nginx:1.x",
        &["nginx:1"],
        Some("1.1.0@sha256:abc"),
        &["1.1.0@sha256:def"],
        "up-to-date",
        "",
    ),
    (
        "dec_5 stays pinned",
        SemVer,
        "nginx:1.x",
        &["nginx:1"],
        Some("1.0.0@sha256:abc"),
        &["1.1.0@sha256:def"],
        "update-due",
        "1.0.0@sha256:abc>1.1.0@sha256:def",
    ),
    (
        "dec_5 never pinned by chance",
        SemVer,
        "nginx:1.x",
        &["nginx:1"],
        Some("1.0.0"),
        &["1.1.0@sha256:def"],
        "update-due",
        "1.0.0>1.1.0",
    ),
    (
        "k7 digest without tag, new digest",
        Digest,
        "nginx:stable",
        &["nginx:1"],
        Some("@sha256:a"),
        &["stable@sha256:b"],
        "update-due",
        "sha256:a>stable@sha256:b",
    ),
    (
        "k7 digest without tag, same digest",
        Digest,
        "nginx:stable",
        &["nginx:1"],
        Some("@sha256:b"),
        &["stable@sha256:b"],
        "up-to-date",
        "",
    ),
    (
        "dec_2 digest moved",
        Digest,
        "app:stable",
        &["app:stable"],
        Some("stable@sha256:a"),
        &["stable@sha256:b"],
        "update-due",
        "stable@sha256:a>stable@sha256:b",
    ),
    (
        "dec_2 digest same",
        Digest,
        "app:stable",
        &["app:stable"],
        Some("stable@sha256:b"),
        &["stable@sha256:b"],
        "up-to-date",
        "",
    ),
    (
        "dec_2 digest of another tag",
        Digest,
        "app:stable",
        &["app:stable"],
        Some("edge@sha256:b"),
        &["stable@sha256:b"],
        "update-due",
        "edge@sha256:b>stable@sha256:b",
    ),
    (
        "dec_2 digest: place holds the tag only",
        Digest,
        "app:stable",
        &["app:stable"],
        Some("stable"),
        &["stable@sha256:b"],
        "update-due",
        "stable>stable@sha256:b",
    ),
    (
        "dec_3 digest, live without tag, equal",
        Digest,
        "app:stable",
        &["app@sha256:b"],
        None,
        &["stable@sha256:b"],
        "up-to-date",
        "",
    ),
    (
        "dec_3 digest, live bare",
        Digest,
        "app:stable",
        &["app"],
        None,
        &["stable@sha256:b"],
        "update-due",
        ">stable@sha256:b",
    ),
    (
        "dec_3 digest, live other",
        Digest,
        "app:stable",
        &["app:stable@sha256:a"],
        None,
        &["stable@sha256:b"],
        "update-due",
        "stable@sha256:a>stable@sha256:b",
    ),
    (
        "dec_3 digest, live tag only",
        Digest,
        "app:stable",
        &["app:stable"],
        None,
        &["stable@sha256:b"],
        "update-due",
        "stable>stable@sha256:b",
    ),
    ("dec_10 no candidate", SemVer, "nginx:5.x", &["nginx:1"], Some("1.0.0"), &["1.1.0"], "no-candidate", ""),
    ("dec_10 no tags", SemVer, "nginx:5.x", &["nginx:1"], Some("1.0.0"), &[], "no-candidate", ""),
    ("dis_4 not live", SemVer, "nginx:1.x", &["redis:1"], Some("1.0.0"), &["1.1.0"], "not-live", ""),
    ("dis_4 nothing live", SemVer, "nginx:1.x", &[], None, &["1.1.0"], "not-live", ""),
    (
        "compat_q1 docker.io prefix matches live",
        SemVer,
        "docker.io/nginx:1.x",
        &["nginx:1.0.0"],
        None,
        &["1.1.0"],
        "update-due",
        "1.0.0>1.1.0",
    ),
    (
        "dec_2 newest-build",
        NewestBuild,
        "nginx",
        &["nginx:a"],
        Some("a"),
        &["a=2026-01-01T00:00:00Z", "b=2026-02-01T00:00:00Z"],
        "update-due",
        "a>b",
    ),
    ("dec_4 alphabetical goes anywhere", Alphabetical, "nginx", &["nginx:z"], Some("z"), &["a"], "update-due", "z>a"),
    (
        "dec_4 current need not parse",
        SemVer,
        "nginx:1.x",
        &["nginx:1"],
        Some("main-abc"),
        &["1.1.0"],
        "update-due",
        "main-abc>1.1.0",
    ),
];

/// Decides every row whose label begins with the rule.
fn rows(rule: &str, at_least: usize) {
    let chosen = ROWS.iter().filter(|row| row.0.split(' ').next() == Some(rule));
    let mut seen = 0;
    for (label, strategy, item, live, place, tags, state, value) in chosen {
        seen += 1;
        let decision = decided(&tracked(*strategy, item), live, *place, tags);
        assert_eq!(outcome(&decision), (*state, (*value).to_owned()), "{label}: {:?}", decision.reasons);
    }
    assert!(seen >= at_least, "{seen} rows of {rule}");
}

#[test]
fn every_row_is_run_by_the_rule_it_names() {
    let known = [
        "dec_2",
        "dec_3",
        "dec_4",
        "dec_5",
        "dec_9",
        "dec_10",
        "des_3",
        "des_4",
        "des_5",
        "des_6",
        "dis_4",
        "dis_5",
        "compat_q1",
        "k7",
    ];
    for row in ROWS {
        assert!(known.contains(&row.0.split(' ').next().unwrap()), "{}", row.0);
    }
}

#[test]
fn dec_2_a_known_desired_value_is_due_iff_it_differs() {
    rows("dec_2", 6);
    rows("k7", 2);
}

#[test]
fn dec_3_an_unknown_desired_value_is_compared_with_what_is_live() {
    rows("dec_3", 5);
}

#[test]
fn dec_4_what_cannot_be_ranked_is_no_downgrade() {
    rows("dec_4", 2);
}

#[test]
fn dec_5_compat_q29_pinned_stays_pinned() {
    rows("dec_5", 3);
}

#[test]
fn dec_9_live_images_do_not_stand_for_the_desired_value() {
    rows("dec_9", 1);
}

#[test]
fn dec_10_the_states_are_a_closed_list() {
    rows("dec_10", 2);
    let all = [
        State::Unmanaged,
        State::NotLive,
        State::NoCandidate,
        State::UpToDate,
        State::Held,
        State::UpdateDue,
        State::PullRequestOpen,
        State::Refused,
        State::Failed,
    ];
    let words = "unmanaged not-live no-candidate up-to-date held update-due pull-request-open refused failed";
    assert_eq!(all.map(State::word).join(" "), words);
    assert!(ROWS.iter().all(|row| words.split(' ').any(|word| word == row.6)));
}

#[test]
fn des_3_values_are_compared_by_meaning() {
    rows("des_3", 3);
}

#[test]
fn des_4_compat_q14_what_is_committed_is_quiet_whatever_runs() {
    rows("des_4", 1);
}

#[test]
fn des_5_unknown_is_due_if_any_live_entry_differs() {
    rows("des_5", 3);
}

#[test]
fn des_6_the_old_value_ranks_highest_among_the_live_ones() {
    rows("des_6", 2);
}

#[test]
fn dis_4_what_is_not_live_is_no_error() {
    rows("dis_4", 2);
}

#[test]
fn dis_5_the_order_of_live_entries_says_nothing() {
    rows("dis_5", 1);
}

#[test]
fn compat_q1_the_hubs_name_may_be_written_or_not() {
    rows("compat_q1", 1);
}
