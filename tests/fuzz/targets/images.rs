//! What people write for image updates, and edits of their files.

use lynceus::config::annotations::settings;
use lynceus::config::registries::Registries;
use lynceus::core::application::source::Route;
use lynceus::core::application::{Application, SourceType};
use lynceus::core::image::{Candidate, Glob, ImageRef, Selection, Strategy, TagFilter, Version, is_tag, parse_list};
use lynceus::core::writeback::{self, ImageEdit, MapTree, Names, Slot, Target};

use super::Parts;

/// What a reference prints is the same reference; a bad item costs its neighbours nothing.
pub fn image_reference(input: &[u8]) {
    let text = String::from_utf8_lossy(input).into_owned();
    if let Ok(image) = ImageRef::parse_reference(&text) {
        let printed = image.full_reference();
        let again = ImageRef::parse_reference(&printed).unwrap_or_else(|e| panic!("{text:?} prints {printed:?}: {e}"));
        // REF-7: a registry with which the path begins already is not repeated, so such a name is another one again. A
        // reference that ends in a colon is read by other rules than one that does not (REF-3); so is a path on the Hub
        // whose first part looks like a host.
        let doubled = image.registry.as_ref().is_some_and(|registry| image.name.starts_with(&format!("{registry}/")));
        let host = image.registry.is_none() && image.name.split_once('/').is_some_and(|(first, _)| first.contains('.'));
        let open = image.tag.as_deref() == Some("") || host;
        assert!(doubled || open || again.canonical() == image.canonical(), "{text:?}");
        // A lenient reading may leave an empty tag, which is as good as none.
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

/// An edit of any file: it holds the new value, a second edit changes nothing, and the lines that do not hold it stay.
pub fn writeback(input: &[u8]) {
    let mut parts = Parts::of(input);
    let (kind, tag) = (parts.text(), parts.text());
    let before = parts.text();
    let reference = format!("registry.example/web:{tag}");
    let Ok(value) = ImageRef::parse_reference(&reference) else { return };
    if !is_tag(&tag) || value.tag.as_deref() != Some(&*tag) {
        return;
    }
    let (path, target, source) = match kind.len() % 3 {
        0 => ("values.yaml", Target::HelmValues { path: "values.yaml".into() }, SourceType::Helm),
        1 => ("kustomization.yaml", Target::Kustomization { path: "kustomization.yaml".into() }, SourceType::Kustomize),
        _ => (".argocd-source-web.yaml", Target::Override { path: ".argocd-source-web.yaml".into() }, SourceType::Helm),
    };
    let route = Route {
        source_index: 0,
        kind: source,
        repo_url: "https://git.example/a.git".to_owned(),
        path: String::new(),
        revision: "main".to_owned(),
        values_file: None,
    };
    let object = r#"{"metadata": {"name": "web", "namespace": "argocd"}, "spec": {"source": {"repoURL": "https://git.example/a.git", "path": "."}}}"#;
    let app = Application::decode(object).expect("an Application");
    let names = Names {
        helm_name: "image.name".to_owned(),
        helm_name_explicit: true,
        helm_tag: "image.tag".to_owned(),
        helm_spec: None,
        kustomize_name: None,
    };
    let slot = Slot { image: value.with_tag(None, None), names };
    let edit = ImageEdit { slot: slot.clone(), value: value.clone(), by_digest: false, due: true };
    let tree = MapTree::of([(path, before.as_bytes())]);
    let Ok(edited) = writeback::edit(&tree, &target, &app, &route, std::slice::from_ref(&edit)) else { return };
    let [change] = edited.changes.as_slice() else { return };
    let after = String::from_utf8(change.after.clone()).expect("text stays text");
    let tree = MapTree::of([(path, after.as_bytes())]);
    let held = writeback::desired(&tree, &target, &app, &route, &slot).unwrap_or_else(|e| panic!("{e:?}: {after}"));
    let held = held.unwrap_or_else(|| panic!("nothing is held:\n{before}\n--\n{after}"));
    assert_eq!(held.tag, value.tag, "\n{before}\n--\n{after}");
    let again = writeback::edit(&tree, &target, &app, &route, &[edit]).unwrap_or_else(|e| panic!("{e:?}: {after}"));
    assert!(again.changes.is_empty(), "edited twice:\n{after}");
    // Comments and lines of others stand in the same order: each line taken away is one of the place itself.
    let gone = lines_gone(&before, &after);
    assert!(gone <= 4, "{gone} lines are gone:\n{before}\n--\n{after}");
}

/// How many lines of the first text are not, in order, in the second; a blank file may be begun anew.
fn lines_gone(before: &str, after: &str) -> usize {
    similar::TextDiff::from_lines(before, after)
        .iter_all_changes()
        .filter(|change| change.tag() == similar::ChangeTag::Delete && !change.value().trim().is_empty())
        .count()
}
