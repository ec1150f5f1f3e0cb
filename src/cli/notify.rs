//! `lynceus notify …`: triggers and templates, offline from files or against the cluster's configuration.

use std::collections::BTreeMap;

use clap::{Args, Subcommand, ValueEnum};

use super::files::{self, Unreadable};
use super::kubectl::KubectlArgs;
use super::{history, lint, template, trigger};
use crate::core::application::Application;
use crate::core::notify::variables::Facts;
use crate::core::problem::Problem;
use crate::core::value::{Map, MapKind, Value};
use crate::daemon::notifier;
use crate::daemon::rules::{self, Compiled, Documents};

/// Subcommands of `notify`.
#[derive(Debug, Subcommand)]
pub enum NotifyCommand {
    /// Triggers.
    #[command(subcommand)]
    Trigger(trigger::TriggerCommand),
    /// Templates.
    #[command(subcommand)]
    Template(template::TemplateCommand),
    /// The same as `lynceus lint`.
    Lint(lint::LintArgs),
    /// Deliveries that were given up, newest first, from the state directory.
    History(history::DeadArgs),
}

/// How `notify` commands print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A table with every column.
    #[default]
    Wide,
    /// Names only.
    Name,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// Where the configuration comes from.
#[derive(Debug, Args)]
pub struct Source {
    /// File that holds the ConfigMap, or - for standard input.
    #[arg(long, value_name = "FILE")]
    pub config_map: Option<String>,
    /// File that holds the Secret, or :empty.
    #[arg(long, value_name = "FILE", default_value = ":empty")]
    pub secret: String,
    /// Name of the ConfigMap.
    #[arg(long, default_value = "argocd-notifications-cm")]
    pub config_map_name: String,
    /// Name of the Secret.
    #[arg(long, default_value = "argocd-notifications-secret")]
    pub secret_name: String,
    /// The control plane's namespace.
    #[arg(long, short = 'n', default_value = "argocd")]
    pub namespace: String,
    /// Kubeconfig for what is not given as a file.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<std::path::PathBuf>,
    /// How results are printed.
    #[arg(long, short = 'o', value_enum, default_value_t)]
    pub output: Output,
    #[command(flatten)]
    kubectl: KubectlArgs,
}

impl Source {
    /// Compiles the configuration. Without `--config-map` it is read from the cluster.
    pub fn compiled(&self) -> Result<Compiled, Unreadable> {
        let documents = match &self.config_map {
            Some(path) => Documents {
                config: Some(files::config_map(path, &self.config_map_name)?),
                secret: Some(files::secret(&self.secret, &self.secret_name)?),
                problems: Vec::new(),
            },
            None => self.read_cluster()?,
        };
        Ok(rules::compile(&documents, &BTreeMap::new(), Default::default()))
    }

    fn read_cluster(&self) -> Result<Documents, Unreadable> {
        let unreadable = |text: String| Unreadable { status: 1, text };
        let runtime = super::runtime().map_err(|e| unreadable(e.to_string()))?;
        runtime.block_on(async {
            let cluster = self.cluster().await?;
            let config = cluster.config_map_now(&self.namespace, &self.config_map_name).await;
            let secret = cluster.secret(&self.namespace, &self.secret_name).await;
            Ok(Documents {
                config: config.map_err(|e| unreadable(e.to_string()))?.map(|found| found.data),
                secret: secret.map_err(|e| unreadable(e.to_string()))?.map(|found| found.data),
                problems: Vec::new(),
            })
        })
    }

    /// How the cluster is reached.
    pub fn access(&self) -> crate::config::settings::ClusterAccess {
        self.kubectl.access()
    }

    /// The cluster that is meant.
    pub async fn cluster(&self) -> Result<crate::adapters::cluster::Cluster, Unreadable> {
        let access = self.kubectl.access();
        let cluster = crate::adapters::cluster::Cluster::connect_with(self.kubeconfig.as_deref(), &access);
        cluster.await.map_err(|e| Unreadable {
            status: 1,
            text: format!("no --config-map was given and no cluster answers: {e}"),
        })
    }

    /// The Application an argument means: a file, else an object of the cluster (`name` or `namespace/name`).
    pub fn application(&self, argument: &str) -> Result<Application, Unreadable> {
        if files::is_file(argument) {
            return files::application(argument);
        }
        let looks_like_file = argument.ends_with(".yaml") || argument.ends_with(".yml") || argument.ends_with(".json");
        if looks_like_file {
            return Err(Unreadable { status: 2, text: format!("{argument}: no such file") });
        }
        let (namespace, name) = argument.split_once('/').unwrap_or((self.namespace.as_str(), argument));
        let key = crate::core::application::AppKey { namespace: namespace.to_owned(), name: name.to_owned() };
        let runtime = super::runtime().map_err(|e| Unreadable { status: 1, text: e.to_string() })?;
        runtime.block_on(async {
            let found = self.cluster().await?.application(&key).await;
            match found {
                Ok(Some(app)) => Ok(app),
                Ok(None) => Err(Unreadable { status: 4, text: format!("there is no Application {key}") }),
                Err(error) => Err(Unreadable { status: 1, text: error.to_string() }),
            }
        })
    }
}

/// What a condition or template sees of an Application outside the daemon: no project, no commit metadata (a
/// placeholder stands in).
pub fn facts(app: &Application, compiled: &Compiled) -> Facts {
    Facts {
        app: app.object(),
        project: Value::Map(Map::new(MapKind::Any)),
        context: compiled.notifications.rules.context.clone(),
        secrets: compiled.secrets.clone(),
        commits: Default::default(),
        wanted: Default::default(),
        placeholders: true,
        image: Value::Nil,
        now: notifier::now(),
    }
}

/// The image event of a file (`--image-event`): the fields of `image` as templates see them, JSON or YAML.
pub fn image_event(path: &Option<String>) -> Result<Value, Unreadable> {
    let Some(path) = path else { return Ok(Value::Nil) };
    let unreadable = |text: String| Unreadable { status: 2, text: format!("{path}: {text}") };
    let event: serde_json::Value = serde_saphyr::from_str(&files::text(path)?)
        .map_err(|e| unreadable(Problem::yaml("YamlInvalid", &e).to_string()))?;
    match event["event"].as_str() {
        Some(word) if crate::core::event::Kind::from_word(word).is_some() => Ok(Value::from_json(&event)),
        Some(word) => Err(unreadable(format!("there is no event `{word}`"))),
        None => Err(unreadable("the file holds no image event: `event` is missing".to_owned())),
    }
}

/// Runs a `notify` command.
pub fn run(command: NotifyCommand) -> u8 {
    match command {
        NotifyCommand::Trigger(command) => trigger::run(command),
        NotifyCommand::Template(command) => template::run(command),
        NotifyCommand::Lint(args) => lint::run(args),
        NotifyCommand::History(args) => history::dead(args),
    }
}
