//! What the image half needs, tried once: each registry that Applications or registries.conf name, with the credentials
//! used there, and each Git remote, read and knocked at as for a push. Nothing is pushed (image-updates.md §23).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures::{FutureExt, StreamExt};

use super::{Line, Source};
use crate::adapters::git::Remote;
use crate::adapters::registry::Endpoint;
use crate::cli::run;
use crate::cli::world::{self, WorldArgs};
use crate::config::annotations;
use crate::config::credential_form::CredentialForm;
use crate::config::settings::Settings;
use crate::core::application::Application;
use crate::core::application::source::normalise_repo_url;
use crate::core::image::ImageRef;
use crate::core::update::{AppSettings, Method};
use crate::daemon::credentials;
use crate::daemon::world::World;

/// One of them answers within this time or not at all.
const PATIENCE: Duration = Duration::from_secs(30);

/// So many are asked at the same time.
const AT_ONCE: usize = 8;

/// Where the image half's input is.
#[derive(Debug, Args)]
pub struct ImageArgs {
    /// Read Applications from this folder, or from git+<url>[?ref=<branch>][&path=<dir>], instead of a cluster.
    #[arg(long, value_name = "PLACE")]
    applications: Option<String>,
    /// Read Secrets from manifests below this folder.
    #[arg(long, value_name = "DIR")]
    secrets: Option<PathBuf>,
    /// registries.conf.
    #[arg(long, value_name = "FILE")]
    registries_conf_path: Option<PathBuf>,
    /// Namespaces whose Applications are looked at: empty for the own one, * for all, or a comma list.
    #[arg(long, value_name = "LIST", default_value = "")]
    watch_namespaces: String,
}

impl ImageArgs {
    /// Whether Applications come from files.
    pub(super) fn reads_files(&self) -> bool {
        self.applications.is_some()
    }
}

/// Everything that is to be tried, each once.
#[derive(Default)]
struct Wanted {
    registries: BTreeMap<String, Ping>,
    remotes: BTreeMap<String, Result<Remote, String>>,
}

/// A registry and the image on whose behalf it is asked.
struct Ping {
    endpoint: Arc<Endpoint>,
    credential: Result<Option<crate::adapters::registry::Credential>, String>,
}

/// Tries everything; `cluster` says whether one answers.
pub(super) async fn tried(args: &ImageArgs, source: &Source, cluster: bool) -> Vec<Line> {
    let shared = WorldArgs {
        applications: args.applications.clone(),
        secrets: args.secrets.clone(),
        kubeconfig: source.kubeconfig.clone().filter(|_| cluster),
        argocd_namespace: Some(source.namespace.clone()),
        registries_conf_path: args.registries_conf_path.clone(),
        ..WorldArgs::default()
    };
    let mut settings =
        Settings { dry_run: true, watch_namespaces: args.watch_namespaces.clone(), ..Settings::default() };
    if let Err(text) = shared.apply(&mut settings, &mut Vec::new()) {
        return vec![Line::of("images", Err(text))];
    }
    let without = args.applications.is_none() && !cluster;
    if without {
        // Only what registries.conf names is left to ask.
        settings.source = crate::config::settings::Source::Directory(PathBuf::from("."));
    } else if cluster {
        settings.access = source.access();
    }
    let named = settings.registries_conf_given || settings.registries_conf.exists();
    let world = match world::build(settings, None, &world::cache_home()).await {
        Ok(world) => world,
        Err(problem) => return vec![Line::of("images", Err(problem.to_string()))],
    };
    let mut lines = Vec::new();
    let mut wanted = Wanted::default();
    if named {
        wanted.of_file(&world).await;
    }
    if !without {
        match run::all_applications(&world).await {
            Ok((apps, left)) => {
                let count = wanted.of_applications(&world, &apps).await;
                lines.push(Line::of("Applications", Ok(format!("{count} of {} are managed", apps.len() + left.len()))));
            }
            Err(problem) => lines.push(Line::of("Applications", Err(problem.to_string()))),
        }
    }
    lines.extend(wanted.ask(&world).await);
    lines
}

impl Wanted {
    /// The entries of registries.conf, with the operator's credentials.
    async fn of_file(&mut self, world: &World) {
        for entry in world.registries.conf().entries().iter().filter(|entry| !entry.implied && entry.fault.is_none()) {
            let endpoint = world.registries.endpoint(entry.clone());
            let what = format!("registry {}", entry.prefix);
            // Some image of it: pull secrets are looked up by the registry's name.
            let image = ImageRef { registry: Some(entry.prefix.clone()), name: "check".into(), ..ImageRef::default() };
            let credential = match &entry.credentials {
                None => Ok(None),
                Some(text) => match CredentialForm::parse(text) {
                    Ok(form) => credentials::read(world, &form, &image, None).await.map(Some).map_err(|t| t.text),
                    Err(problem) => Err(problem.to_string()),
                },
            };
            self.registries.insert(what, Ping { endpoint, credential });
        }
    }

    /// What managed Applications name; gives their number.
    async fn of_applications(&mut self, world: &World, apps: &[Arc<Application>]) -> usize {
        let mut managed = 0;
        for app in apps {
            let (Some(settings), _) = annotations::settings_with(app, &world.settings.defaults) else { continue };
            managed += 1;
            for tracked in settings.images.iter().filter(|tracked| tracked.unusable.is_none()) {
                let endpoint = world.registries.endpoint_of(&tracked.image);
                let what = match &tracked.pull_secret {
                    Some(form) => format!("registry {} with {form}", endpoint.host()),
                    None => format!("registry {}", endpoint.entry.prefix),
                };
                if self.registries.contains_key(&what) {
                    continue;
                }
                let form = tracked.pull_secret.as_deref();
                let credential = credentials::for_registry(world, app, &tracked.image, form).await;
                self.registries.insert(what, Ping { endpoint, credential: credential.map_err(|t| t.text) });
            }
            self.of_git(world, app, &settings).await;
        }
        managed
    }

    async fn of_git(&mut self, world: &World, app: &Application, settings: &AppSettings) {
        if !matches!(settings.method, Method::Git(_)) {
            return;
        }
        let own = app.sources.iter().filter(|source| source.chart.is_none()).map(|source| source.repo_url.as_str());
        let urls: Vec<&str> = settings.git_repository.as_deref().map_or_else(|| own.collect(), |url| vec![url]);
        for url in urls {
            match credentials::for_git(world, app, settings, url).await {
                Ok(remote) => {
                    let name = &remote.credentials().name;
                    let by = if name.is_empty() { String::new() } else { format!(" with {name}") };
                    self.remotes.insert(format!("Git {}{by}", remote.shown()), Ok(remote));
                }
                Err(trouble) => {
                    let text = trouble.text;
                    self.remotes.entry(format!("Git {}", normalise_repo_url(url))).or_insert(Err(text));
                }
            }
        }
    }

    async fn ask(self, world: &World) -> Vec<Line> {
        let registries = self.registries.into_iter().map(|(what, ping)| {
            async move {
                let result = match ping.credential {
                    Err(text) => Err(text),
                    Ok(credential) => {
                        let asked = world.registries.ping(&ping.endpoint, credential.as_ref().into());
                        let how = if credential.is_some() { "logged in" } else { "anonymous" };
                        in_time(async { asked.await.map(|()| how.to_owned()).map_err(|e| e.to_string()) }).await
                    }
                };
                vec![Line::of(what, result)]
            }
            .boxed()
        });
        let remotes = self.remotes.into_iter().map(|(what, remote)| {
            async move {
                let remote = match remote {
                    Ok(remote) => remote,
                    Err(text) => return vec![Line::of(what, Err(text))],
                };
                let read = in_time(async {
                    let found = world.git.advertise(&remote).await.map_err(|e| e.to_string())?;
                    Ok(format!("{} branches", found.branches.len()))
                });
                let push = in_time(async {
                    world.git.knock(&remote).await.map_err(|e| e.to_string())?;
                    Ok("a push would be let in; nothing was pushed".to_owned())
                });
                let (read, push) = (read.await, push.await);
                vec![Line::of(format!("{what}: read"), read), Line::of(format!("{what}: push"), push)]
            }
            .boxed()
        });
        let all: Vec<_> = registries.chain(remotes).collect();
        futures::stream::iter(all).buffered(AT_ONCE).collect::<Vec<_>>().await.into_iter().flatten().collect()
    }
}

async fn in_time(work: impl Future<Output = Result<String, String>>) -> Result<String, String> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(result) => result,
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}
