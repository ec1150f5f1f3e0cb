//! Applications from a directory or a Git tree instead of a cluster (image-updates.md SRC-4 to SRC-6). Nothing is
//! rendered: plain manifests and the local files that a kustomization names are read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use crate::config::{annotations, documents as yaml};
use crate::core::application::tree::{Entry, Tree};
use crate::core::application::{Application, Directory};
use crate::core::problem::Problem;

/// Larger manifests are not read.
const LARGEST: u64 = 2 * 1024 * 1024;

/// Folders deeper than this are not entered.
const DEEPEST: usize = 64;

const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// Applications with the file each stands in.
    pub applications: Vec<(String, Application)>,
    /// AppProjects, likewise, as whole objects.
    pub projects: Vec<(String, Json)>,
    /// ImageUpdaters, likewise.
    pub updaters: Vec<(String, Json)>,
    /// Files that are not readable, Applications that cannot be decoded.
    pub problems: Vec<Problem>,
    /// Files that were looked at.
    pub files: usize,
}

impl Read {
    fn document(&mut self, file: &str, document: Json) {
        match document["kind"].as_str() {
            Some("Application") if argo(&document) => match Application::decode(&document.to_string()) {
                Ok(app) => self.applications.push((file.to_owned(), app)),
                Err(problem) => self.problems.push(problem.in_object(file)),
            },
            Some("AppProject") if argo(&document) => self.projects.push((file.to_owned(), document)),
            Some("ImageUpdater") if updater(&document) => self.updaters.push((file.to_owned(), document)),
            Some("ApplicationSet") if argo(&document) => {
                let name = document["metadata"]["name"].as_str().unwrap_or_default();
                let text = format!("ApplicationSet {name} is not rendered; its Applications are not seen");
                self.problems.push(Problem::warning("not-expanded", text).in_object(file));
                self.problems.extend(annotations::misplaced(&document).map(|problem| problem.in_object(file)));
            }
            _ => self.problems.extend(annotations::misplaced(&document).map(|problem| problem.in_object(file))),
        }
    }

    fn text(&mut self, file: &str, text: &str) {
        self.files += 1;
        // Templates of charts lie beside manifests; only what names an Argo CD kind must be readable.
        if !text.contains("argoproj.io") {
            return;
        }
        let (documents, problems) = yaml::each(text);
        documents.into_iter().for_each(|document| self.document(file, document));
        self.problems.extend(problems.into_iter().map(|problem| problem.in_object(file)));
    }
}

fn argo(document: &Json) -> bool {
    document["apiVersion"].as_str().is_some_and(|version| version.starts_with("argoproj.io/"))
}

fn updater(document: &Json) -> bool {
    document["apiVersion"].as_str().is_some_and(|version| version.starts_with("argocd-image-updater.argoproj.io/"))
}

fn is_manifest(name: &str) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end))
}

/// Everything below a directory (SRC-4). Hidden folders are left out.
pub fn from_directory(folder: &Path) -> Result<Read, Problem> {
    let mut read = Read::default();
    for file in files(folder)? {
        match std::fs::read_to_string(&file) {
            Ok(text) => read.text(&file.display().to_string(), &text),
            Err(error) => {
                let problem = Problem::error("YamlInvalid", error.to_string()).in_object(file.display().to_string());
                read.problems.push(problem);
            }
        }
    }
    Ok(read)
}

/// Every document of every manifest below a directory, with its file; unreadable ones are left out.
pub fn documents(folder: &Path) -> Result<Vec<(String, Json)>, Problem> {
    let mut found = Vec::new();
    for file in files(folder)? {
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        let name = file.display().to_string();
        found.extend(yaml::each(&text).0.into_iter().map(|document| (name.clone(), document)));
    }
    Ok(found)
}

/// When the manifests below a directory last changed, and how many there are: equal stamps mean that nothing changed.
pub fn stamp(folder: &Path) -> Option<(std::time::SystemTime, usize, u64)> {
    let files = files(folder).ok()?;
    let mut newest = std::time::SystemTime::UNIX_EPOCH;
    let mut bytes = 0;
    for file in &files {
        let metadata = std::fs::metadata(file).ok()?;
        newest = newest.max(metadata.modified().ok()?);
        bytes += metadata.len();
    }
    Some((newest, files.len(), bytes))
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, Problem> {
    fn walk(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
        let mut entries: Vec<PathBuf> =
            std::fs::read_dir(folder)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
        entries.sort();
        for path in entries {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let kind = std::fs::symlink_metadata(&path)?;
            if kind.is_dir() && !name.starts_with('.') && depth < DEEPEST {
                walk(&path, depth + 1, found)?;
            } else if kind.is_file() && is_manifest(&name) && kind.len() <= LARGEST {
                found.push(path);
            }
        }
        Ok(())
    }
    if folder.is_file() {
        return Ok(vec![folder.to_path_buf()]);
    }
    let mut found = Vec::new();
    walk(folder, 0, &mut found)
        .map_err(|error| Problem::error("config-invalid", error.to_string()).in_object(folder.display().to_string()))?;
    Ok(found)
}

/// Everything below a folder of a tree (SRC-5).
pub fn from_tree(tree: &dyn Tree, folder: &str) -> Result<Read, Problem> {
    let everything = Directory { recurse: true, ..Directory::default() };
    let mut read = Read::default();
    plain(tree, folder, &everything, 0, &mut read)?;
    Ok(read)
}

/// The manifests that an Application's source path holds (SRC-6): plain files by its `directory` block, or what a
/// kustomization names locally. A Helm chart is not rendered: problem `not-expanded` if it makes Applications.
pub fn children(tree: &dyn Tree, folder: &str, directory: &Directory) -> Result<Read, Problem> {
    let mut read = Read::default();
    if let Some(file) = kustomization(tree, folder)? {
        let mut seen = BTreeSet::new();
        kustomized(tree, folder, &file, &mut seen, &mut read)?;
        return Ok(read);
    }
    if matches!(entry(tree, &join(folder, "Chart.yaml"))?, Some(Entry::File { .. })) {
        if templates_applications(tree, &join(folder, "templates"), 0)? {
            let text = "a Helm chart that makes Applications is not rendered; its children are not seen";
            read.problems.push(Problem::warning("not-expanded", text).in_object(folder));
        }
        return Ok(read);
    }
    plain(tree, folder, directory, 0, &mut read)?;
    Ok(read)
}

/// Whether templates of a chart, which only Helm can read, name Applications.
fn templates_applications(tree: &dyn Tree, folder: &str, depth: usize) -> Result<bool, Problem> {
    for (name, kind) in list(tree, folder)? {
        let path = join(folder, &name);
        let found = match kind {
            Entry::Dir if depth < DEEPEST => templates_applications(tree, &path, depth + 1)?,
            Entry::File { .. } => tree.read(&path).is_ok_and(|bytes| {
                let text = String::from_utf8_lossy(&bytes);
                let kind = |line: &str| {
                    line.trim().strip_prefix("kind:").map(|kind| kind.trim_matches([' ', '"', '\'']).to_owned())
                };
                text.contains("argoproj.io/")
                    && text
                        .lines()
                        .filter_map(kind)
                        .any(|kind| matches!(kind.as_str(), "Application" | "ApplicationSet"))
            }),
            _ => false,
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

fn plain(tree: &dyn Tree, folder: &str, by: &Directory, depth: usize, read: &mut Read) -> Result<(), Problem> {
    for (name, kind) in list(tree, folder)? {
        let path = join(folder, &name);
        match kind {
            Entry::Dir if by.recurse && depth < DEEPEST && !name.starts_with('.') => {
                plain(tree, &path, by, depth + 1, read)?;
            }
            Entry::File { .. } if is_manifest(&name) && chosen(&name, by) => file(tree, &path, read),
            _ => {}
        }
    }
    Ok(())
}

/// `include` and `exclude` are globs, or lists of them in braces.
fn chosen(name: &str, by: &Directory) -> bool {
    let matches = |pattern: &str| {
        let pattern = pattern.strip_prefix('{').and_then(|p| p.strip_suffix('}')).unwrap_or(pattern);
        pattern.split(',').any(|one| crate::core::image::Glob::parse(one.trim()).is_some_and(|glob| glob.matches(name)))
    };
    (by.include.is_empty() || matches(&by.include)) && (by.exclude.is_empty() || !matches(&by.exclude))
}

fn file(tree: &dyn Tree, path: &str, read: &mut Read) {
    match tree.read(path) {
        Ok(bytes) if bytes.len() as u64 <= LARGEST => match std::str::from_utf8(&bytes) {
            Ok(text) => read.text(path, text),
            Err(_) => read.problems.push(Problem::error("YamlInvalid", "not UTF-8").in_object(path)),
        },
        Ok(_) => read.problems.push(Problem::error("YamlInvalid", "larger than 2 MiB").in_object(path)),
        Err(error) => read.problems.push(Problem::error("internal", error.to_string()).in_object(path)),
    }
}

fn kustomized(
    tree: &dyn Tree,
    folder: &str,
    kustomization: &str,
    seen: &mut BTreeSet<String>,
    read: &mut Read,
) -> Result<(), Problem> {
    if !seen.insert(folder.to_owned()) || seen.len() > 1_000 {
        return Ok(());
    }
    let unreadable = |text: String| Problem::error("YamlInvalid", text).in_object(kustomization);
    let bytes = tree.read(kustomization).map_err(|e| unreadable(e.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| unreadable("not UTF-8".to_owned()))?;
    let documents = yaml::all(&text).map_err(|p| p.in_object(kustomization))?;
    read.files += 1;
    for document in documents {
        for key in ["resources", "components", "bases"] {
            for entry in document[key].as_array().into_iter().flatten().filter_map(Json::as_str) {
                resource(tree, folder, entry, seen, read)?;
            }
        }
    }
    Ok(())
}

fn resource(
    tree: &dyn Tree,
    folder: &str,
    named: &str,
    seen: &mut BTreeSet<String>,
    read: &mut Read,
) -> Result<(), Problem> {
    let remote = named.contains("://") || named.contains("?ref=") || named.starts_with("git@");
    let Some(path) = local(folder, named).filter(|_| !remote) else {
        let text = format!("`{named}` is not local and is not read");
        read.problems.push(Problem::info("not-expanded", text).in_object(folder));
        return Ok(());
    };
    match entry(tree, &path)? {
        Some(Entry::File { .. }) => file(tree, &path, read),
        Some(Entry::Dir) => {
            if let Some(inner) = kustomization(tree, &path)? {
                kustomized(tree, &path, &inner, seen, read)?;
            }
        }
        Some(Entry::Symlink | Entry::Submodule) => {
            let text = format!("`{named}` is a link and is not read");
            read.problems.push(Problem::warning("not-expanded", text).in_object(folder));
        }
        // Argo CD says so when it renders; no Application is lost by it here.
        None => {}
    }
    Ok(())
}

fn kustomization(tree: &dyn Tree, folder: &str) -> Result<Option<String>, Problem> {
    for name in KUSTOMIZATIONS {
        let path = join(folder, name);
        if matches!(entry(tree, &path)?, Some(Entry::File { .. })) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// A path below the root, `..` resolved; `None` if it leaves the repository.
fn local(folder: &str, named: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|p| !p.is_empty()).collect();
    for part in named.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            other => parts.push(other),
        }
    }
    Some(parts.join("/"))
}

fn join(folder: &str, name: &str) -> String {
    let folder = folder.trim_matches('/');
    if folder.is_empty() || folder == "." { name.to_owned() } else { format!("{folder}/{name}") }
}

fn entry(tree: &dyn Tree, path: &str) -> Result<Option<Entry>, Problem> {
    tree.entry(path).map_err(|e| Problem::error("internal", e.to_string()).in_object(path))
}

fn list(tree: &dyn Tree, folder: &str) -> Result<Vec<(String, Entry)>, Problem> {
    let folder = if folder == "." { "" } else { folder.trim_matches('/') };
    tree.list(folder).map_err(|e| Problem::error("internal", e.to_string()).in_object(folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::application::tree::MapTree;

    fn app(name: &str) -> String {
        format!("apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata:\n  name: {name}\nspec: {{}}\n")
    }

    fn names(read: &Read) -> Vec<&str> {
        read.applications.iter().map(|(_, app)| app.key.name.as_str()).collect()
    }

    #[test]
    fn src_4_directory_multi_document_list_and_neighbours() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("a.yaml", &format!("{}---\nkind: ConfigMap\n---\n{}", app("one"), app("two")));
        write("deep/er/b.yml", &format!("kind: List\nitems:\n- {}", app("three").replace('\n', "\n  ")));
        write("c.json", r#"{"apiVersion":"argoproj.io/v1alpha1","kind":"Application","metadata":{"name":"four"}}"#);
        write("broken.yaml", "argoproj.io: [");
        write("chart/templates/x.yaml", "{{ if }}\nno kind of ours\n");
        write("other.txt", &app("never"));
        let updater = app("notes").replace("argoproj.io/", "argocd-image-updater.argoproj.io/");
        write("updater.yaml", &updater.replace("kind: Application", "kind: ImageUpdater"));
        write(".git/x.yaml", &app("never"));
        let read = from_directory(folder.path()).unwrap();
        assert_eq!(names(&read), ["one", "two", "four", "three"]);
        assert_eq!(read.problems.len(), 1, "{:?}", read.problems);
        assert_eq!(read.updaters.len(), 1);
        assert!(read.problems[0].object.ends_with("broken.yaml") && read.problems[0].line.is_some());
        assert!(stamp(folder.path()).is_some());
    }

    #[test]
    fn src_5_src_6_trees_directories_and_kustomizations() {
        let key = "argocd-image-updater.argoproj.io/image-list";
        let misplaced = format!("kind: KIND\nspec: {{template: {{metadata: {{annotations: {{{key}: x}}}}}}}}\n");
        let tree = MapTree::of([
            ("apps/a.yaml", app("a")),
            ("apps/sub/b.yaml", app("b")),
            ("apps/skip.yaml", app("skip")),
            ("kust/kustomization.yaml", "resources: [x.yaml, ../other, https://h/r, ../../../up]\n".to_owned()),
            ("kust/x.yaml", app("x")),
            ("kust/unlisted.yaml", app("unlisted")),
            ("other/kustomization.yml", "resources: [yy.yaml]\ncomponents: [../kust]\n".to_owned()),
            ("other/yy.yaml", app("yy")),
            ("chart/Chart.yaml", "name: c\n".to_owned()),
            ("chart/templates/t.yaml", format!("{{{{ range .Values.apps }}}}\n{}{{{{ end }}}}\n", app("templated"))),
            ("rollouts/Chart.yaml", "name: r\n".to_owned()),
            (
                "rollouts/templates/r.yaml",
                "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nname: {{ .x }}\n".to_owned(),
            ),
            ("sets/set.yaml", app("many").replace("kind: Application", "kind: ApplicationSet")),
            ("sets/pods.yaml", misplaced.replace("KIND", "Deployment")),
        ]);
        assert_eq!(names(&from_tree(&tree, "apps").unwrap()), ["a", "skip", "b"]);
        let flat = Directory { exclude: "{skip*,zzz}".into(), ..Directory::default() };
        assert_eq!(names(&children(&tree, "apps", &flat).unwrap()), ["a"]);
        let only = Directory { include: "b.yaml".into(), recurse: true, ..Directory::default() };
        assert_eq!(names(&children(&tree, "apps", &only).unwrap()), ["b"]);
        let kust = children(&tree, "kust", &Directory::default()).unwrap();
        assert_eq!(names(&kust), ["x", "yy"]);
        assert_eq!(kust.problems.len(), 2, "{:?}", kust.problems);
        let chart = children(&tree, "chart", &Directory::default()).unwrap();
        assert!(chart.applications.is_empty());
        assert_eq!(chart.problems[0].code, "not-expanded");
        assert_eq!(children(&tree, "rollouts", &Directory::default()).unwrap().problems, []);
        // What is not rendered is said, and so is what nobody reads (SRC-11).
        let sets = children(&tree, "sets", &Directory::default()).unwrap();
        let told: Vec<_> = sets.problems.iter().map(|p| (p.object.as_str(), p.code, p.key.as_str())).collect();
        assert_eq!(sets.applications.len(), 0);
        assert_eq!(
            told,
            [("sets/pods.yaml", "annotation-on-wrong-object", key), ("sets/set.yaml", "not-expanded", "")]
        );
    }
}
