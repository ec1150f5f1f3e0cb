//! `test IMAGE`: its tags, and which one would be taken (image-updates.md §23).

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::world::{self, WorldArgs};
use super::{Output, Paint, USAGE, fail};
use crate::config::credential_form::CredentialForm;
use crate::config::settings::Settings;
use crate::core::image::{Glob, ImageRef, Platform, Selection, Strategy, TagFilter};
use crate::core::problem::{Problem, Severity};
use crate::daemon::credentials;
use crate::daemon::poller::{self, Ask, Extent, Turn};

/// Arguments of `test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// The image, as in image-list: ghcr.io/acme/web, nginx:^1.4.
    pub image: String,
    /// Only tags that satisfy this.
    #[arg(long, value_name = "CONSTRAINT")]
    pub semver_constraint: Option<String>,
    /// Only tags that match: regexp:<expression>, or any.
    #[arg(long, value_name = "FILTER")]
    pub allow_tags: Option<String>,
    /// Not tags that match this glob; repeatable.
    #[arg(long, value_name = "GLOB")]
    pub ignore_tags: Vec<String>,
    /// semver, newest-build, alphabetical or digest.
    #[arg(long, default_value = "semver", value_name = "STRATEGY")]
    pub update_strategy: String,
    /// registries.conf.
    #[arg(long, value_name = "FILE")]
    pub registries_conf_path: Option<PathBuf>,
    /// Credential of the registry: env:NAME, secret:<ns>/<name>#<field>, pullsecret:<ns>/<name>.
    #[arg(long, value_name = "FORM")]
    pub credentials: Option<String>,
    /// Platforms, as linux/amd64,linux/arm64.
    #[arg(long, value_delimiter = ',', value_name = "PLATFORM")]
    pub platforms: Vec<String>,
    /// Requests a second; accepted as upstream's, the registry's own pace counts.
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub rate_limit: u32,
    /// Kubeconfig, for credentials in Secrets.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Log level.
    #[arg(long, default_value = "warn", value_name = "LEVEL")]
    pub loglevel: String,
    /// Accepted for compatibility.
    #[arg(long, hide = true, help = "Accepted for compatibility")]
    pub disable_kubernetes: bool,
    /// Accepted for compatibility.
    #[arg(long, hide = true, help = "Accepted for compatibility")]
    pub disable_kubernetes_events: bool,
    /// How the result is printed.
    #[arg(long, short = 'o', value_enum, default_value_t)]
    pub output: Output,
}

/// Runs `test`.
pub fn run(args: TestArgs) -> u8 {
    if let Err(error) = super::logging::start(&args.loglevel, None) {
        return fail(USAGE, error);
    }
    let image = match ImageRef::parse(&args.image) {
        Ok(image) => image,
        Err(problem) => return fail(1, problem),
    };
    let selection = match selection(&args, &image) {
        Ok(selection) => selection,
        Err(problem) => return fail(1, problem),
    };
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, error),
    };
    let status = runtime.block_on(test(&args, image, selection));
    runtime.shutdown_timeout(std::time::Duration::from_millis(100));
    status
}

fn selection(args: &TestArgs, image: &ImageRef) -> Result<Selection, Problem> {
    let Some((strategy, _)) = Strategy::parse(&args.update_strategy) else {
        let text = format!("`{}` is no update strategy", args.update_strategy);
        return Err(Problem::error("config-invalid", text).hint("semver, newest-build, alphabetical or digest"));
    };
    let constraint = args.semver_constraint.as_deref().or(image.tag.as_deref());
    let (mut selection, problem) = Selection::new(strategy, constraint, &args.image);
    if let Some(problem) = problem.filter(|p| p.severity == Severity::Error) {
        return Err(problem);
    }
    if let Some(text) = &args.allow_tags {
        let (filter, problem) = TagFilter::parse(text);
        if let Some(problem) = problem.filter(|p| p.severity == Severity::Error) {
            return Err(problem);
        }
        selection.allow = filter;
    }
    for pattern in args.ignore_tags.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|p| !p.is_empty()) {
        let glob = Glob::parse(pattern);
        let problem = || Problem::error("ignore-tags-invalid", format!("`{pattern}` is no glob"));
        selection.ignore.push(glob.ok_or_else(problem)?);
    }
    if !args.platforms.is_empty() {
        selection.platforms = args
            .platforms
            .iter()
            .map(|text| {
                Platform::parse(text).ok_or_else(|| {
                    Problem::error("config-invalid", format!("`{text}` is no platform"))
                        .hint("os/arch or os/arch/variant")
                })
            })
            .collect::<Result<_, _>>()?;
    }
    Ok(selection)
}

async fn test(args: &TestArgs, image: ImageRef, selection: Selection) -> u8 {
    let form = match args.credentials.as_deref().map(CredentialForm::parse).transpose() {
        Ok(form) => form,
        Err(problem) => return fail(1, problem),
    };
    let needs_cluster = matches!(form, Some(CredentialForm::PullSecret { .. } | CredentialForm::Secret { .. }));
    let shared = WorldArgs { registries_conf_path: args.registries_conf_path.clone(), ..WorldArgs::default() };
    let mut settings = Settings::default();
    if let Err(error) = shared.apply(&mut settings, &mut Vec::new()) {
        return fail(USAGE, error);
    }
    settings.kubeconfig.clone_from(&args.kubeconfig);
    if !needs_cluster {
        settings.kubeconfig = None;
        settings.source = crate::config::settings::Source::Directory(PathBuf::from("."));
    }
    let world = match world::build(settings, None, &world::cache_home()).await {
        Ok(world) => world,
        Err(problem) => return fail(1, problem),
    };
    let endpoint = world.registries.endpoint_of(&image);
    let operator = endpoint.entry.credentials.as_deref().map(CredentialForm::parse);
    let form = match (form, operator) {
        (Some(form), _) => Some(form),
        (None, Some(Ok(form))) => Some(form),
        (None, Some(Err(problem))) => return fail(1, problem),
        (None, None) => None,
    };
    let credential = match &form {
        Some(form) => match credentials::read(&world, form, &image, None).await {
            Ok(credential) => Some(credential),
            Err(trouble) => return fail(1, format!("{}: {}", trouble.kind, trouble.text)),
        },
        None => None,
    };
    let ask = Ask { image: image.clone(), selection: selection.clone(), credential, in_use: None };
    let turn = Turn { extent: Extent::Everything, ..Turn::default() };
    let answer = poller::ask(&world, &turn, std::slice::from_ref(&ask)).await.into_iter().next();
    match answer {
        Some(Ok(candidates)) => {
            print(args, &image, &selection.choose(&candidates));
            0
        }
        Some(Err(trouble)) => fail(1, format!("{}: {}", trouble.kind, trouble.text)),
        None => fail(1, "no answer"),
    }
}

fn print(args: &TestArgs, image: &ImageRef, choice: &crate::core::image::Choice) {
    let chosen = choice.chosen.as_ref().map(|c| image.with_tag(Some(c.tag.clone()), c.digest.clone()));
    if args.output == Output::Json {
        let tags: Vec<_> = choice
            .verdicts
            .iter()
            .map(|v| json!({"tag": v.tag, "verdict": v.standing.word(), "rule": v.rule, "reason": v.reason}))
            .collect();
        let json = json!({
            "image": image.full_name(),
            "latest": chosen.as_ref().map(ImageRef::full_reference),
            "tag": choice.chosen.as_ref().map(|c| c.tag.clone()),
            "digest": choice.chosen.as_ref().and_then(|c| c.digest.clone()),
            "tags": tags,
            "counts": choice.counts(),
        });
        println!("{}", serde_json::to_string_pretty(&json).unwrap_or_default());
        return;
    }
    let paint = Paint::stdout();
    println!("{} tags", choice.verdicts.len());
    for (rule, count) in choice.counts() {
        println!("  {count:>6} {rule}");
    }
    match chosen {
        Some(chosen) => {
            println!("latest image according to constraint is {}", paint.green(&chosen.full_reference()));
        }
        None => println!("no newer version of image found"),
    }
}
