//! Targets (image-updates.md §14): from the text people write to one file of the repository, and whether that file may
//! be written at all (PATH-1).

use super::{Entry, Refusal, Target, Tree};
use crate::core::application::source::{Route, clean_path};
use crate::core::application::{Application, SourceType};

/// Names Kustomize looks for, in the order they are tried.
pub const KUSTOMIZATION_FILES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

const OVERRIDE_PREFIX: &str = ".argocd-source-";

pub(super) fn resolve(
    text: &str,
    app: &Application,
    route: &Route,
    argocd_namespace: &str,
    tree: &dyn Tree,
) -> Result<Target, Refusal> {
    let text = text.trim();
    if text.is_empty() {
        let path = clean(&route.path, &override_name(app, argocd_namespace))?;
        return allowed(tree, path).map(|path| Target::Override { path });
    }
    match split(text)? {
        Some(("kustomization", path)) => kustomization(tree, route, path),
        Some(("helmvalues", path)) => helm_values(tree, route, path),
        Some((word, _)) => {
            let text = format!("write-back-target {word:?} is not available in this version");
            Err(Refusal::new("config-invalid", text).hint("use helmvalues:<path> or kustomization:<path>"))
        }
        None => other(tree, route, text),
    }
}

/// A known word and what follows its colon (empty without one); `None` for other text.
fn split(text: &str) -> Result<Option<(&str, &str)>, Refusal> {
    for word in ["kustomization", "helmvalues", "application", "manifests"] {
        let Some(rest) = text.strip_prefix(word) else { continue };
        if let Some(path) = rest.strip_prefix(':') {
            return Ok(Some((word, path.trim())));
        }
        if rest.is_empty() {
            return Ok(Some((word, "")));
        }
        if !(text.contains('/') || is_yaml_name(text)) {
            let refusal = Refusal::new("config-invalid", format!("write-back-target {text:?} is unknown"));
            return Err(refusal.hint(format!("did you mean {word}:<path>?")));
        }
    }
    Ok(None)
}

fn override_name(app: &Application, argocd_namespace: &str) -> String {
    let (namespace, name) = (&app.key.namespace, &app.key.name);
    let elsewhere = !namespace.is_empty() && namespace != argocd_namespace && argocd_namespace != "default";
    if elsewhere {
        format!("{OVERRIDE_PREFIX}{namespace}_{name}.yaml")
    } else {
        format!("{OVERRIDE_PREFIX}{name}.yaml")
    }
}

fn kustomization(tree: &dyn Tree, route: &Route, path: &str) -> Result<Target, Refusal> {
    let dir = clean(&route.path, path)?;
    let base = dir.rsplit('/').next().unwrap_or_default();
    if KUSTOMIZATION_FILES.contains(&base) && matches!(tree.entry(&dir)?, Some(Entry::File { .. })) {
        return Err(names_kustomization(&dir));
    }
    if !dir.is_empty() {
        parents(tree, &format!("{dir}/{}", KUSTOMIZATION_FILES[0]))?;
    }
    for name in KUSTOMIZATION_FILES {
        let path = if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") };
        if tree.entry(&path)?.is_some() {
            return allowed(tree, path).map(|path| Target::Kustomization { path });
        }
    }
    let place = if dir.is_empty() { "the repository's root".to_owned() } else { format!("{dir}/") };
    let refusal = Refusal::new("target-missing", format!("there is no kustomization file in {place}")).in_file(dir);
    Err(refusal.hint("name its directory with kustomization:<path>; /<path> counts from the repository's root"))
}

fn names_kustomization(path: &str) -> Refusal {
    let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
    Refusal::new("config-invalid", format!("write-back-target names the kustomization file {path:?} itself"))
        .hint(format!("use kustomization:/{dir}"))
}

fn helm_values(tree: &dyn Tree, route: &Route, path: &str) -> Result<Target, Refusal> {
    let path = match &route.values_file {
        Some(file) => file.clone(),
        None if path.is_empty() => clean(&route.path, "values.yaml")?,
        None => clean(&route.path, path)?,
    };
    if KUSTOMIZATION_FILES.contains(&base_name(&path)) {
        return Err(names_kustomization(&path));
    }
    values_target(tree, path)
}

/// Text that is no known word: a path from the repository's root.
fn other(tree: &dyn Tree, route: &Route, text: &str) -> Result<Target, Refusal> {
    let path = clean("", text)?;
    let base = base_name(&path);
    if KUSTOMIZATION_FILES.contains(&base) {
        return Err(names_kustomization(&path));
    }
    let overrides = base.starts_with(OVERRIDE_PREFIX)
        || (matches!(route.kind, SourceType::Kustomize | SourceType::Plugin) && !is_yaml_name(base));
    if overrides {
        return allowed(tree, path).map(|path| Target::Override { path });
    }
    values_target(tree, path)
}

fn values_target(tree: &dyn Tree, path: String) -> Result<Target, Refusal> {
    if !is_yaml_name(base_name(&path)) && tree.entry(&path)?.is_none() {
        let file = path.split(':').next().filter(|p| is_yaml_name(p)).unwrap_or("<path>");
        let root = if file == "<path>" { "" } else { "/" };
        let text = format!("write-back-target names no .yaml or .yml file: {path:?}");
        let hint =
            format!("write helmvalues:{root}{file}; paths inside the file belong to helm.image-tag and the like");
        return Err(Refusal::new("config-invalid", text).hint(hint));
    }
    allowed(tree, path).map(|path| Target::HelmValues { path })
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn is_yaml_name(name: &str) -> bool {
    name.ends_with(".yaml") || name.ends_with(".yml")
}

fn clean(base: &str, path: &str) -> Result<String, Refusal> {
    clean_path(base, path).map_err(|text| Refusal::new("path-escape", text).in_file(path))
}

/// PATH-1: gives the path back if it may be written.
fn allowed(tree: &dyn Tree, path: String) -> Result<String, Refusal> {
    parents(tree, &path)?;
    match tree.entry(&path)? {
        None | Some(Entry::File { .. }) => Ok(path),
        Some(entry) => Err(not_regular(&path, &path, entry)),
    }
}

fn parents(tree: &dyn Tree, path: &str) -> Result<(), Refusal> {
    for (at, _) in path.match_indices('/') {
        match tree.entry(&path[..at])? {
            Some(Entry::Dir) => {}
            None => return Ok(()),
            Some(entry) => return Err(not_regular(path, &path[..at], entry)),
        }
    }
    Ok(())
}

fn not_regular(path: &str, component: &str, entry: Entry) -> Refusal {
    let what = match entry {
        Entry::File { .. } => "a file, not a directory",
        Entry::Dir => "a directory, not a file",
        Entry::Symlink => "a symbolic link",
        Entry::Submodule => "a submodule",
    };
    let hint = match entry {
        Entry::Symlink => "name the file it points to",
        _ => "",
    };
    Refusal::new("path-not-regular", format!("{component} is {what}")).in_file(path).hint(hint)
}
