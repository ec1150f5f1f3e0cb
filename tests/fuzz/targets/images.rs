//! What people write for image updates.

use lynceus::config::annotations::settings;
use lynceus::config::registries::Registries;
use lynceus::core::application::Application;
use lynceus::core::image::{
    Candidate, Constraint, Glob, ImageRef, Selection, Strategy, TagFilter, Version, is_tag, parse_list,
};

use super::Parts;

/// What a reference prints is the same reference; a bad item costs its neighbours nothing.
pub fn image_reference(input: &[u8]) {
    let text = String::from_utf8_lossy(input).into_owned();
    if let Ok(image) = ImageRef::parse_reference(&text) {
        let printed = image.full_reference();
        let again = ImageRef::parse_reference(&printed).unwrap_or_else(|e| panic!("{text:?} prints {printed:?}: {e}"));
        // Three texts mean something else once printed, each by the spec. REF-7: a registry with which the path begins
        // already is not repeated. REF-4: what ends in a colon holds an empty constraint, so stage 1 never sees it, which
        // then reads what is printed (REF-7 leaves the empty tag out) and takes an upper-case host. REF-3: the domain
        // goes from `index.docker.io/a.b/c`, and `a.b` is a host then; no namespace of the Hub holds a dot.
        let doubled = image.registry.as_ref().is_some_and(|registry| image.name.starts_with(&format!("{registry}/")));
        let host = image.registry.is_none() && image.name.split_once('/').is_some_and(|(first, _)| first.contains('.'));
        let open = image.tag.as_deref() == Some("") || host;
        assert!(doubled || open || again.canonical() == image.canonical(), "{text:?}");
        // The empty constraint of REF-4 is as good as none: REF-7 does not print it.
        let tag = |image: &ImageRef| image.tag.clone().filter(|tag| !tag.is_empty());
        assert_eq!((tag(&again), &again.digest), (tag(&image), &image.digest), "{text:?}");
    }
    let (images, problems) = parse_list(&format!("{text},n=registry.example/neighbour:1"));
    assert_eq!(images.last().map(|image| image.alias_text().to_owned()).as_deref(), Some("n"));
    let items = text.split(',').filter(|item| !item.trim().is_empty()).count();
    assert_eq!(images.len() + problems.len(), items + 1, "{text:?}");
}

/// The chosen tag is one of those seen, is accepted, and nothing accepted ranks higher.
pub fn tag_selection(input: &[u8]) {
    let mut parts = Parts::of(input);
    let (word, constraint, allow, ignore) = (parts.text(), parts.text(), parts.text(), parts.text());
    let rest = parts.text();
    let tags: Vec<&str> = rest.split_whitespace().take(40).collect();
    let strategies = [Strategy::SemVer, Strategy::Alphabetical, Strategy::NewestBuild, Strategy::Digest];
    let strategy = Strategy::parse(&word).map_or(strategies[word.len() % 4], |(strategy, _)| strategy);
    let (mut selection, problem) = Selection::new(strategy, Some(&constraint), "web");
    selection.allow = TagFilter::parse(&allow).0;
    selection.ignore = ignore.split(',').filter_map(Glob::parse).collect();
    let mut candidates: Vec<Candidate> = tags.iter().map(|tag| Candidate::named(*tag)).collect();
    for (i, candidate) in candidates.iter_mut().enumerate() {
        candidate.created = jiff::Timestamp::from_second(1_700_000_000 + (i as i64 * 7919) % 1000).ok();
        candidate.platform_ok = Some(true);
        candidate.digest = Some(format!("sha256:{i:064x}"));
    }
    let choice = selection.choose(&candidates);
    assert_eq!(choice.verdicts.len(), candidates.len());
    if let Some(chosen) = &choice.chosen {
        assert!(problem.is_none() && is_tag(&chosen.tag) && selection.accepts(&chosen.tag), "{chosen:?}");
        assert!(candidates.contains(chosen));
        if matches!(strategy, Strategy::SemVer | Strategy::Alphabetical) {
            for other in tags.iter().filter(|tag| selection.accepts(tag)) {
                assert!(selection.compare_names(&chosen.tag, other).is_ge(), "{other} ranks above {}", chosen.tag);
            }
        }
    }
    let versions: Vec<Version> = tags.iter().filter_map(|tag| Version::parse(tag)).collect();
    for a in &versions {
        for b in &versions {
            assert_eq!(a.cmp(b), b.cmp(a).reverse());
        }
    }
}

/// Any annotations: the neighbour in the list stays as it was asked for, unless the whole Application is stopped.
pub fn image_annotations(input: &[u8]) {
    const PREFIX: &str = "argocd-image-updater.argoproj.io/";
    let mut parts = Parts::of(input);
    let mut annotations = serde_json::Map::new();
    let list = parts.text();
    while parts.more() && annotations.len() < 12 {
        let (key, value) = (parts.text(), parts.text());
        annotations.insert(format!("{PREFIX}{key}"), value.into());
    }
    for field in ["update-strategy", "allow-tags", "ignore-tags", "platforms", "force-update", "pull-secret"] {
        annotations.remove(&format!("{PREFIX}n.{field}"));
    }
    annotations.insert(format!("{PREFIX}image-list"), format!("n=registry.example/neighbour:^1.2,{list}").into());
    annotations.insert(format!("{PREFIX}n.update-strategy"), "semver".into());
    let object = serde_json::json!({
        "metadata": {"name": "web", "namespace": "argocd", "annotations": annotations},
        "spec": {"source": {"repoURL": "https://git.example/a.git", "path": "x"}},
    });
    let app = Application::decode(&object.to_string()).expect("an Application");
    match settings(&app) {
        (Some(settings), _) => {
            let first = &settings.images[0];
            assert_eq!(first.image.full_name(), "registry.example/neighbour");
        }
        (None, problems) => assert!(!problems.is_empty(), "{list:?}"),
    }
}

/// Read or told why, and the same twice.
pub fn registries(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    match Registries::parse(&text) {
        Ok(registries) => {
            let entry = registries.endpoint(Some("registry.example"), "a/b");
            assert_eq!(registries.endpoint(Some("registry.example"), "a/b"), entry);
        }
        Err(problems) => assert!(!problems.is_empty()),
    }
}

/// Reads as it was written; alternatives are alternatives; without a pre-release in it, none satisfies it (§11).
pub fn constraint(input: &[u8]) {
    let mut parts = Parts::of(input);
    let (one, other) = (parts.text(), parts.text());
    let versions: Vec<Version> = parts.text().split_whitespace().take(40).filter_map(Version::parse).collect();
    let Ok(first) = Constraint::parse(&one) else { return };
    assert_eq!(first.text(), one);
    for version in &versions {
        assert!(!version.is_prerelease() || first.considers_prereleases() || !first.matches(version), "{one:?}");
    }
    let Ok(second) = Constraint::parse(&other) else { return };
    // A hyphen range is replaced where its text occurs first, as in the library; and empty text is a constraint, but no
    // alternative.
    if one.is_empty() || other.is_empty() || one.contains(" -") || other.contains(" -") {
        return;
    }
    let both = Constraint::parse(&format!("{one}||{other}")).unwrap_or_else(|e| panic!("{one:?} || {other:?}: {e}"));
    for version in &versions {
        assert_eq!(both.matches(version), first.matches(version) || second.matches(version), "{one:?} || {other:?}");
    }
}
