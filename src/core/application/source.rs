//! Sources: what renders each, and which one an image's file belongs to (image-updates.md §14 ROUTE, SRC-7, GIT-1).

use super::tree::{Tree, TreeError, is_file};
use super::{Application, Source, SourceType};
use crate::core::problem::Problem;

/// Where the target of one image lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Index in [`Application::sources`] of the source the image is routed to: its parameters, its `helm` block.
    pub source_index: usize,
    /// What renders that source, as far as write-back is concerned (a values target makes it Helm, …).
    pub kind: SourceType,
    /// The repository to write to, as written (of a source, of a `ref` source by ROUTE-4, or `git-repository`).
    pub repo_url: String,
    /// `P` of §14: the path relative targets join, cleaned; empty for the root.
    pub path: String,
    /// `targetRevision` of the source that gives the branch (ROUTE-6), as written; `git-branch` goes before it.
    pub revision: String,
    /// ROUTE-4: the values file inside `repo_url`, from the root, that the target means.
    pub values_file: Option<String>,
}

/// What route decisions are made from.
pub struct Request<'a> {
    /// The Application.
    pub app: &'a Application,
    /// `lynceus.dev/<alias>.source`, else `lynceus.dev/source` (ROUTE-1).
    pub explicit: Option<&'a str>,
    /// Whether a Git method writes. If not, target and `git-repository` say nothing and every repository will do.
    pub git: bool,
    /// `write-back-target`, trimmed; empty if absent.
    pub target: &'a str,
    /// `git-repository`.
    pub git_repository: Option<&'a str>,
    /// Whether a file holds the image's tag (or spec) path; decides among several values files (ROUTE-4).
    pub holds_image: &'a dyn Fn(&[u8]) -> bool,
}

/// A tree of a repository at a revision (`repoURL`, `targetRevision` as written), if it can be had; without it what is
/// usual is assumed.
pub type Trees<'a> = &'a dyn Fn(&str, &str) -> Option<&'a dyn Tree>;

/// The branch that changes are based on (§14, "Branch base").
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Base {
    /// The remote's default branch.
    Default,
    /// This one; whether it exists, and is no tag, only the remote can tell.
    Branch(String),
}

/// The source an image is routed to, and what follows from it (ROUTE-1 to ROUTE-6).
pub fn route(request: &Request<'_>, trees: Trees<'_>) -> Result<Route, Problem> {
    let app = request.app;
    if app.sources.is_empty() {
        return Err(Problem::error("config-invalid", "the Application has no source").in_object(app.label()));
    }
    let types = types(app, trees);
    let index = chosen(request, &types)?;
    let source = &app.sources[index];
    let kind = wanted(request).unwrap_or(types[index]);
    let path = clean_path("", source.path.as_deref().unwrap_or_default())
        .map_err(|text| Problem::error("path-escape", text).in_object(app.label()))?;
    let (repo_url, revision) = (source.repo_url.clone(), source.target_revision.clone());
    let mut route = Route { source_index: index, kind, repo_url, path, revision, values_file: None };
    if !request.git {
        return Ok(route);
    }
    if let Some((values, file)) = values_file(request, &route, trees) {
        route.repo_url.clone_from(&app.sources[values].repo_url);
        route.revision.clone_from(&app.sources[values].target_revision);
        route.values_file = Some(file);
    } else if request.git_repository.is_none() && !is_git(source) {
        return Err(not_writable(app, index));
    }
    if let Some(url) = request.git_repository {
        let same = |s: &&Source| is_git(s) && normalise_repo_url(&s.repo_url) == normalise_repo_url(url);
        match app.sources.iter().find(same) {
            Some(source) => route.revision.clone_from(&source.target_revision),
            // A chart's revision is a version, no branch of another repository.
            None if route.values_file.is_none() && !is_git(source) => route.revision.clear(),
            None => {}
        }
        route.repo_url = url.to_owned();
    }
    Ok(route)
}

/// The type a target asks for, whatever Argo CD reports.
fn wanted(request: &Request<'_>) -> Option<SourceType> {
    if !request.git {
        return None;
    }
    let target = request.target;
    let is = |word: &str| target == word || target.strip_prefix(word).is_some_and(|rest| rest.starts_with(':'));
    let base = target.rsplit('/').next().unwrap_or_default();
    let yaml = base.ends_with(".yaml") || base.ends_with(".yml");
    if is("kustomization") {
        Some(SourceType::Kustomize)
    } else if is("helmvalues") || (yaml && !base.starts_with(".argocd-source-")) {
        Some(SourceType::Helm)
    } else {
        None
    }
}

/// The type of each source: its block, else `status`, else what stands at its path (SRC-7).
fn types(app: &Application, trees: Trees<'_>) -> Vec<SourceType> {
    let reported = &app.status.source_types;
    let one = |(index, source): (usize, &Source)| {
        if let Some(kind) = source.explicit_type() {
            return kind;
        }
        if source.ref_name.is_some() && source.path.is_none() {
            // Only files of it are used; Argo CD renders nothing there.
            return SourceType::Directory;
        }
        if reported.len() == app.sources.len() {
            return reported[index];
        }
        let tree = trees(&source.repo_url, &source.target_revision);
        tree.and_then(|tree| detect_type(tree, source).ok()).unwrap_or(SourceType::Directory)
    };
    app.sources.iter().enumerate().map(one).collect()
}

/// ROUTE-1 to ROUTE-3.
fn chosen(request: &Request<'_>, types: &[SourceType]) -> Result<usize, Problem> {
    let app = request.app;
    if let Some(text) = request.explicit {
        return explicit(app, text);
    }
    let usual = by_type(request, types);
    if let Some(url) = request.git_repository.filter(|_| request.git) {
        let url = normalise_repo_url(url);
        let same = |s: &Source| normalise_repo_url(&s.repo_url) == url;
        if let Some(first) = app.sources.iter().position(same) {
            return Ok(if same(&app.sources[usual]) { usual } else { first });
        }
    }
    Ok(usual)
}

/// ROUTE-3.
fn by_type(request: &Request<'_>, types: &[SourceType]) -> usize {
    let app = request.app;
    if let [_] = app.sources.as_slice() {
        return 0;
    }
    let writable = |kind: &&SourceType| matches!(kind, SourceType::Helm | SourceType::Kustomize | SourceType::Plugin);
    let reported = &app.status.source_types;
    let kind = wanted(request).or_else(|| {
        let list = if reported.is_empty() { types } else { reported.as_slice() };
        list.iter().find(writable).copied()
    });
    let block = |kind: SourceType| app.sources.iter().position(|s| s.explicit_type() == Some(kind));
    let first = kind.and_then(|kind| block(kind).or_else(|| types.iter().position(|t| *t == kind)));
    let any = || app.sources.iter().position(|s| s.explicit_type().is_some());
    first.or_else(any).unwrap_or(0)
}

fn explicit(app: &Application, text: &str) -> Result<usize, Problem> {
    let sources = &app.sources;
    let found = if !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()) {
        text.parse().ok().filter(|index| *index < sources.len())
    } else {
        let reference = text.strip_prefix('$').unwrap_or(text);
        let named = sources.iter().position(|s| s.name.as_deref() == Some(text));
        named.or_else(|| sources.iter().position(|s| s.ref_name.as_deref() == Some(reference)))
    };
    found.ok_or_else(|| {
        let names: Vec<&str> =
            sources.iter().flat_map(|s| [s.name.as_deref(), s.ref_name.as_deref()]).flatten().collect();
        let count = sources.len();
        let text = format!("source {text:?} is none of the Application's {count} sources");
        let known = if names.is_empty() { String::new() } else { format!(", or {}", names.join(", ")) };
        Problem::error("config-invalid", text)
            .in_object(app.label())
            .at_key("lynceus.dev/source")
            .hint(format!("write 0 to {}{known}", count - 1))
    })
}

/// ROUTE-4: the `ref` source and the file in it that a values target means.
fn values_file(request: &Request<'_>, route: &Route, trees: Trees<'_>) -> Option<(usize, String)> {
    let app = request.app;
    let path = match request.target {
        "helmvalues" => "",
        other => other.strip_prefix("helmvalues:")?.trim(),
    };
    let source = &app.sources[route.source_index];
    let through = source.ref_name.as_deref().filter(|_| source.helm.is_none() && source.chart.is_none());
    let files = referenced(app, route.source_index, through);
    if !path.is_empty() {
        let plain = path.strip_prefix('$').map(|rest| rest.split_once('/').map_or(rest, |(_, file)| file));
        let wanted = clean_path("", plain.unwrap_or(path)).ok()?;
        return files.into_iter().rev().find(|(_, file)| *file == wanted);
    }
    let beside = if route.path.is_empty() { "values.yaml".to_owned() } else { format!("{}/values.yaml", route.path) };
    let stands = match trees(&source.repo_url, &source.target_revision) {
        _ if !is_git(source) => false,
        Some(tree) => is_file(tree, &beside).unwrap_or(true),
        None => true,
    };
    if stands {
        return None;
    }
    let holds = |(index, file): &&(usize, String)| {
        let values = &app.sources[*index];
        let tree = trees(&values.repo_url, &values.target_revision);
        tree.and_then(|tree| tree.read(file).ok()).is_some_and(|bytes| (request.holds_image)(&bytes))
    };
    files.iter().rev().find(holds).or(files.last()).cloned()
}

/// The `$ref/path` values files of a Helm source, or of all of them that go `through` one `ref`, in order.
fn referenced(app: &Application, index: usize, through: Option<&str>) -> Vec<(usize, String)> {
    let helm = app.sources.iter().enumerate().filter(|(i, _)| *i == index || through.is_some());
    let entries = helm.filter_map(|(_, s)| s.helm.as_ref()).flat_map(|h| &h.value_files);
    let resolve = |entry: &String| {
        let (reference, file) = entry.strip_prefix('$')?.split_once('/')?;
        if through.is_some_and(|t| t != reference) {
            return None;
        }
        let values = app.sources.iter().position(|s| s.ref_name.as_deref() == Some(reference))?;
        Some((values, clean_path("", file).ok()?))
    };
    entries.filter_map(resolve).collect()
}

/// ROUTE-5.
fn not_writable(app: &Application, index: usize) -> Problem {
    let source = &app.sources[index];
    let what = if source.chart.is_some() { "a chart repository" } else { "an OCI repository" };
    let text = format!("source {index} ({}) is {what}, no Git repository", source.repo_url);
    let references: Vec<String> = app
        .sources
        .iter()
        .filter(|s| is_git(s))
        .filter_map(|s| s.ref_name.as_ref().map(|name| format!("lynceus.dev/source: {name}")))
        .collect();
    let hint = if references.is_empty() {
        "set git-repository to the repository that holds the values, and write-back-target to the file".to_owned()
    } else {
        format!("set write-back-target to helmvalues:<file of valueFiles>, or {}", references.join(", "))
    };
    Problem::error("target-not-writable", text).in_object(app.label()).hint(hint)
}

/// Whether a source's URL is a Git repository.
pub fn is_git(source: &Source) -> bool {
    source.chart.is_none() && !source.repo_url.trim().to_ascii_lowercase().starts_with("oci://")
}

/// The base branch from `git-branch` (its first part) or the routed revision; a SHA, tag reference or version range is
/// no branch.
pub fn branch_base(git_branch: Option<&str>, revision: &str) -> Result<Base, Problem> {
    if let Some(branch) = git_branch.map(str::trim).filter(|b| !b.is_empty()) {
        return Ok(Base::Branch(branch.to_owned()));
    }
    let revision = revision.trim();
    let branch = revision.strip_prefix("refs/heads/").unwrap_or(revision);
    let is_sha = branch.len() == 40 && branch.chars().all(|c| c.is_ascii_hexdigit());
    let is_range = branch.contains(['*', '<', '>', '=', '^', '~', '|', ',', ' ']);
    if branch.is_empty() || branch == "HEAD" {
        Ok(Base::Default)
    } else if is_sha || is_range || branch.starts_with("refs/") {
        let text = format!("targetRevision {revision:?} is no branch");
        Err(Problem::error("revision-not-a-branch", text).hint("set git-branch to the branch to commit to"))
    } else {
        Ok(Base::Branch(branch.to_owned()))
    }
}

/// One identity for all spellings of a repository's URL, as Argo CD makes it (GIT-1): lower case, `git@host:path` as
/// `git@host/path`, without `.git` and `ssh://`.
pub fn normalise_repo_url(url: &str) -> String {
    let url = url.trim().to_lowercase();
    let (scheme, rest) = match url.strip_prefix("ssh://") {
        Some(rest) => (true, rest),
        None => (false, url.as_str()),
    };
    let scp = rest.split_once('@').is_some_and(|(user, host)| !user.contains(['/', ':']) && !host.contains('@'));
    let path = if scp && !scheme { rest.replacen(':', "/", 1) } else { rest.to_owned() };
    path.strip_suffix(".git").unwrap_or(&path).to_owned()
}

/// What renders a source when `status` does not say (SRC-7): its explicit block, else what stands at its path.
pub fn detect_type(tree: &dyn Tree, source: &Source) -> Result<SourceType, TreeError> {
    if let Some(kind) = source.explicit_type() {
        return Ok(kind);
    }
    let dir = clean_path("", source.path.as_deref().unwrap_or_default()).unwrap_or_default();
    let has = |name: &str| is_file(tree, &if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") });
    if has("Chart.yaml")? {
        return Ok(SourceType::Helm);
    }
    for name in ["kustomization.yaml", "kustomization.yml", "Kustomization"] {
        if has(name)? {
            return Ok(SourceType::Kustomize);
        }
    }
    Ok(SourceType::Directory)
}

/// Joins a path to a directory of the repository and cleans it lexically; a leading `/` counts from the root. The text
/// of an error names the part that leads out of the repository or into Git's own files (PATH-1).
pub fn clean_path(base: &str, path: &str) -> Result<String, String> {
    let mut parts: Vec<&str> = Vec::new();
    let from_base = if path.starts_with('/') { "" } else { base };
    for part in from_base.split('/').chain(path.split('/')) {
        if part.chars().any(char::is_control) {
            return Err(format!("the path {path:?} holds a control character"));
        }
        match part {
            "" | "." => {}
            ".." => {
                if parts.pop().is_none() {
                    return Err(format!("the path {path:?} leads above the repository's root"));
                }
            }
            part if part.contains('\\') => return Err(format!("the path {path:?} holds a backslash")),
            part if is_git_dir(part) => return Err(format!("the path {path:?} enters Git's own files at {part:?}")),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// `.git` in any case, and what some file systems take for it: trailing dots and blanks, streams (`.git::$DATA`), short
/// names (`git~1`), characters that HFS+ ignores.
fn is_git_dir(part: &str) -> bool {
    let ignored = |c: &char| matches!(*c, '\u{200C}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{206A}'..='\u{206F}' | '\u{FEFF}' | '\u{AD}');
    let plain: String = part.chars().filter(|c| !ignored(c)).collect::<String>().to_lowercase();
    let name = plain.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']);
    name == ".git" || name == "git~1"
}
