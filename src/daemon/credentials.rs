//! Which credential a registry or a Git remote gets: parsed once into a typed value, then authorised on that value
//! (image-updates.md CRED-3, TEN-2).

use crate::adapters::cluster::SecretObject;
use crate::adapters::git::{Credentials, LocalGit, Remote, RepositorySecret, SecretKind};
use crate::adapters::registry::Credential;
use crate::config::credential_form::CredentialForm;
use crate::config::secret::Secret;
use crate::core::application::Application;
use crate::core::application::source::normalise_repo_url;
use crate::core::image::ImageRef;
use crate::core::problem::Problem;
use crate::core::update::survey::Trouble;
use crate::core::update::{AppSettings, GitCredentials, Method};

use super::world::World;

const SHARE: &str = "lynceus.dev/share-with";

fn trouble(problem: Problem) -> Trouble {
    let hint = if problem.hint.is_empty() { String::new() } else { format!(" ({})", problem.hint) };
    Trouble { kind: problem.code, text: format!("{}{hint}", problem.text) }
}

/// The credential for an image: its `pull-secret`, else the endpoint's own, else none. There is no silent fall-back to
/// anonymous access (CRED-6). A round reads a Secret once and the next round again: what it uses is at most one interval
/// old, whatever `credsexpire` says (CRED-5).
pub async fn for_registry(
    world: &World,
    app: &Application,
    image: &ImageRef,
    pull_secret: Option<&str>,
) -> Result<Option<Credential>, Trouble> {
    let endpoint = world.registries.endpoint_of(image);
    let (text, tenant) = match (pull_secret, &endpoint.entry.credentials) {
        (Some(text), _) => (text, true),
        (None, Some(text)) => (text.as_str(), false),
        (None, None) => return Ok(None),
    };
    let form = CredentialForm::parse(text).map_err(trouble)?;
    let namespace = tenant.then_some(app.key.namespace.as_str());
    read(world, &form, image, namespace).await.map(Some)
}

/// Reads a credential; `tenant` is the namespace of whoever wrote the form, `None` for the operator.
pub async fn read(
    world: &World,
    form: &CredentialForm,
    image: &ImageRef,
    tenant: Option<&str>,
) -> Result<Credential, Trouble> {
    let canonical = image.canonical();
    match form {
        CredentialForm::PullSecret { namespace, name } => {
            let secret = named(world, namespace, name, tenant).await?;
            let Some(config) = secret.data.get(".dockerconfigjson") else {
                let text = format!("Secret {namespace}/{name} has no .dockerconfigjson");
                let hint = "pullsecret: names Secrets of type kubernetes.io/dockerconfigjson; for others use secret:";
                return Err(trouble(Problem::error("credentials-invalid", text).hint(hint)));
            };
            let found = Credential::from_docker_config(config, &canonical.registry, &canonical.path);
            found.map_err(|p| trouble(named_in(p, namespace, name)))
        }
        CredentialForm::Secret { namespace, name, field } => {
            let secret = named(world, namespace, name, tenant).await?;
            let Some(value) = secret.data.get(field) else {
                let text = format!("Secret {namespace}/{name} has no field {field}");
                let keys: Vec<&str> = secret.data.keys().map(String::as_str).collect();
                let problem = Problem::error("credentials-invalid", text).hint(format!("it has {}", keys.join(", ")));
                return Err(trouble(problem));
            };
            Credential::split(value, false).map_err(|p| trouble(named_in(p, namespace, name)))
        }
        CredentialForm::Env(variable) => {
            if tenant.is_some() && !world.settings.tenant_credential_env.contains(variable) {
                let text = format!("env:{variable} is not open to Applications");
                let hint = format!("the operator may open it with --tenant-credential-env {variable}");
                return Err(trouble(Problem::error("credential-forbidden", text).hint(hint)));
            }
            match std::env::var(variable) {
                Ok(value) => Credential::split(&Secret::new(value), true).map_err(trouble),
                Err(_) => {
                    let text = format!("the environment variable {variable} is not set");
                    Err(trouble(Problem::error("credentials-invalid", text)))
                }
            }
        }
        CredentialForm::Ext(_) => {
            let text = "ext: credentials are not supported yet";
            Err(trouble(Problem::error("credentials-invalid", text).hint("use pullsecret:, secret: or env:")))
        }
    }
}

fn named_in(problem: Problem, namespace: &str, name: &str) -> Problem {
    Problem { text: format!("Secret {namespace}/{name}: {}", problem.text), ..problem }
}

/// A Secret that whoever named it may use: of his own namespace, or one that is shared with it (CRED-3).
async fn named(world: &World, namespace: &str, name: &str, tenant: Option<&str>) -> Result<SecretObject, Trouble> {
    let found = world.secrets.one(namespace, name).await;
    let foreign = tenant.filter(|own| *own != namespace && !world.settings.cross_namespace_secrets);
    let shared = |secret: &SecretObject, own: &str| {
        let list = secret.annotations.get(SHARE).map(String::as_str).unwrap_or_default();
        list.split(',').map(str::trim).any(|ns| ns == "*" || ns == own)
    };
    // A Secret that may not be read cannot say that it is shared.
    let denied = found.as_ref().is_err_and(|problem| problem.code == "kubernetes-forbidden");
    let found = if denied && foreign.is_some() { None } else { found.map_err(trouble)? };
    if let Some(own) = foreign
        && !found.as_ref().is_some_and(|secret| shared(secret, own))
    {
        let text = format!("Secret {namespace}/{name} is in another namespace than the Application");
        let grant =
            if denied { format!(" and grant the daemon `get` on Secrets of {namespace}") } else { String::new() };
        let hint = format!("annotate the Secret with {SHARE}: {own}{grant}");
        return Err(trouble(Problem::error("credential-forbidden", text).hint(hint)));
    }
    found.ok_or_else(|| {
        let text = format!("there is no Secret {namespace}/{name}");
        trouble(Problem::error("credentials-invalid", text))
    })
}

/// The remote of a repository, with the credentials that an Application's settings name.
pub async fn for_git(
    world: &World,
    app: &Application,
    settings: &AppSettings,
    repo_url: &str,
) -> Result<Remote, Trouble> {
    let local = if world.settings.git.allow_local || world.offline() { LocalGit::Allowed } else { LocalGit::Refused };
    let credentials = match &settings.method {
        Method::Git(GitCredentials::Secret { namespace, name }) => {
            let namespace = namespace.as_deref().unwrap_or(&app.key.namespace);
            let secret = named(world, namespace, name, Some(&app.key.namespace)).await?;
            let fields = crate::adapters::git::fields(&secret.data);
            let label = format!("Secret {namespace}/{name}");
            Credentials::from_secret(&label, &fields, repo_url).map_err(trouble)?
        }
        _ => {
            allowed_by_project(world, app, repo_url).await?;
            argocd_credentials(world, &app.project, repo_url)?
        }
    };
    Remote::new(repo_url, credentials, local).map_err(trouble)
}

/// Argo CD's own credentials for a repository; a repository it knows nothing of is an error unless nothing could know
/// it (no cluster, no Secrets) or it lies on this machine (GIT-3).
pub fn argocd_credentials(world: &World, project: &str, repo_url: &str) -> Result<Credentials, Trouble> {
    let secrets: Vec<RepositorySecret> = world.secrets.repositories().iter().filter_map(repository).collect();
    if let Some(found) = Credentials::of_argocd(repo_url, project, &secrets).map_err(trouble)? {
        return Ok(found);
    }
    let on_this_machine = repo_url.starts_with("file://") || repo_url.starts_with('/');
    if on_this_machine || world.secrets.is_none() {
        return Ok(Credentials::anonymous());
    }
    let text = format!("Argo CD has no credentials for {repo_url}");
    let hint = "add the repository to Argo CD, or name a Secret: write-back-method: git:secret:<namespace>/<name>";
    Err(trouble(Problem::error("git-auth", text).hint(hint)))
}

fn repository(secret: &SecretObject) -> Option<RepositorySecret> {
    let kind = match secret.labels.get("argocd.argoproj.io/secret-type").map(String::as_str) {
        Some("repository") => SecretKind::Repository,
        Some("repo-creds") => SecretKind::RepoCreds,
        _ => return None,
    };
    let name = format!("Secret {}/{}", secret.namespace, secret.name);
    Some(RepositorySecret { name, kind, fields: crate::adapters::git::fields(&secret.data) })
}

/// With Argo CD's credentials a tenant reaches the repositories of his own sources and those his project allows
/// (TEN-2). A project that cannot be read allows, with a notice.
async fn allowed_by_project(world: &World, app: &Application, repo_url: &str) -> Result<(), Trouble> {
    let wanted = normalise_repo_url(repo_url);
    let own = app.sources.iter().any(|source| normalise_repo_url(&source.repo_url) == wanted);
    if own || world.settings.git.allow_any_repository {
        return Ok(());
    }
    let Some(patterns) = source_repos(world, &app.project).await else { return Ok(()) };
    let allows = |pattern: &str| {
        let pattern = normalise_repo_url(pattern);
        pattern == "*" || wildcard(&pattern, &wanted)
    };
    let texts = || patterns.iter().filter_map(|p| p.as_str());
    let denied = texts().filter_map(|p| p.strip_prefix('!')).any(allows);
    if !denied && texts().filter(|p| !p.starts_with('!')).any(allows) {
        return Ok(());
    }
    let text = format!("project {} does not allow the repository {repo_url}", app.project);
    let hint = "add it to the project's sourceRepos, or use a Secret of the Application's own: git:secret:<name>";
    Err(trouble(Problem::error("credential-forbidden", text).hint(hint)))
}

/// The `sourceRepos` of a project; `None` if it cannot be read. One that does not exist allows nothing, but `default`,
/// which Argo CD makes itself and which allows all.
async fn source_repos(world: &World, name: &str) -> Option<Vec<serde_json::Value>> {
    let namespace = &world.settings.argocd_namespace;
    let of = |object: &serde_json::Value| object["spec"]["sourceRepos"].as_array().cloned().unwrap_or_default();
    let known =
        world.projects.read().unwrap_or_else(|e| e.into_inner()).get(&(namespace.clone(), name.to_owned())).cloned();
    if let Some(project) = known {
        return Some(of(&project.object));
    }
    // Commands follow no projects, and a round may come before their first list.
    let cluster = world.cluster.as_ref()?;
    match cluster.one_project(namespace, name).await {
        Ok(Some(project)) => Some(of(&project.object)),
        Ok(None) if matches!(name, "" | "default") => None,
        Ok(None) => Some(Vec::new()),
        Err(error) => {
            let problem = Problem::warning("kubernetes-forbidden", format!("AppProject {namespace}/{name}: {error}"))
                .hint("until it can be read, its sourceRepos restrict no git-repository");
            world.board.problems("project rules", vec![problem]);
            None
        }
    }
}

/// `*` stands for any text.
fn wildcard(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len()).filter(|at| rest.is_char_boundary(*at)).any(|at| wildcard(after, &rest[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::wildcard;

    #[test]
    fn ten_2_patterns_of_source_repos() {
        for (pattern, text, matches) in [
            ("https://h/a", "https://h/a", true),
            ("https://h/*", "https://h/a/b", true),
            ("*", "x", true),
            ("https://h/*/b", "https://h/a/b", true),
            ("https://h/*/b", "https://h/a/c", false),
            ("https://h/a", "https://h/ab", false),
        ] {
            assert_eq!(wildcard(pattern, text), matches, "{pattern} {text}");
        }
    }
}
