//! Sources: what renders each, and which one an image's file belongs to (image-updates.md §14 ROUTE, SRC-7, GIT-1).

use super::tree::{Tree, TreeError};
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
    /// `write-back-target`, trimmed; empty if absent.
    pub target: &'a str,
    /// `git-repository`.
    pub git_repository: Option<&'a str>,
    /// Path in the values (tag, or spec) that decides among several values files of ROUTE-4.
    pub value_path: &'a str,
}

/// A tree of a repository at a revision (`repoURL`, `targetRevision` as written), if it can be had; route decisions
/// without it assume what is usual.
pub type Trees<'a> = &'a dyn Fn(&str, &str) -> Option<&'a dyn Tree>;

/// The source an image is routed to, and what follows from it (ROUTE-1 to ROUTE-6).
pub fn route(request: &Request<'_>, trees: Trees<'_>) -> Result<Route, Problem> {
    let _ = trees;
    Err(Problem::error("config-invalid", "the Application has no source").in_object(request.app.label()))
}

/// One identity for all spellings of a repository's URL, as Argo CD makes it (GIT-1).
pub fn normalise_repo_url(url: &str) -> String {
    url.to_owned()
}

/// What renders a source when `status` does not say (SRC-7): its explicit block, else what stands at its path.
pub fn detect_type(tree: &dyn Tree, source: &Source) -> Result<SourceType, TreeError> {
    let _ = tree;
    Ok(source.explicit_type().unwrap_or(SourceType::Directory))
}
