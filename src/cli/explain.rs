//! `explain`: one Application: of each image, and of every tag, what was decided and why; nothing is written
//! (image-updates.md §23).

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Value as Json, json};

use super::world::WorldArgs;
use super::{Output, Paint, fail};
use super::{plan, status};
use crate::core::application::source::normalise_repo_url;
use crate::core::image::Verdict;
use crate::core::update::survey::ImageReport;
use crate::daemon::round::Looked;
use crate::daemon::status::problem_json;
use crate::daemon::updater;
use crate::daemon::world::World;

/// Tags that are listed one by one unless all are asked for.
const SHOWN: usize = 20;

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The Application: name, or namespace/name.
    pub app: String,
    /// Only the image of this alias.
    pub alias: Option<String>,
    /// Every tag, not only the first 20.
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    world: WorldArgs,
    /// Namespaces whose Applications are looked at: empty for the own one, * for all, or a comma list.
    #[arg(long, value_name = "LIST", default_value = "")]
    watch_namespaces: String,
    /// Also say when a running daemon looks next and what it wrote last: its probe address.
    #[arg(long, value_name = "URL")]
    daemon: Option<String>,
    /// How the explanation is printed.
    #[arg(long, short = 'o', value_enum, default_value_t)]
    output: Output,
}

/// Runs `explain`.
pub fn run(args: ExplainArgs) -> u8 {
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, error),
    };
    let apps = std::slice::from_ref(&args.app);
    let looked = runtime.block_on(plan::look(&args.world, &args.watch_namespaces, apps, true));
    let told = match &args.daemon {
        None => Ok(None),
        Some(daemon) => runtime.block_on(status::of(daemon)).map(Some),
    };
    runtime.shutdown_timeout(std::time::Duration::from_millis(100));
    // It only adds to what is explained.
    let told = told.unwrap_or_else(|error| {
        eprintln!("lynceus: {error}");
        None
    });
    let look = match looked {
        Ok(look) => look,
        Err((status, text)) => return fail(status, text),
    };
    if let Some(name) = look.unknown.first() {
        return fail(4, format!("there is no Application {name}"));
    }
    let Some(looked) = look.round.looked.first() else {
        for problem in &look.problems {
            eprintln!("lynceus: {problem}");
        }
        let why = look.left.values().next().map_or("it has no usable image-list annotation", String::as_str);
        return fail(1, format!("{} is not managed: {why}", args.app));
    };
    let wanted = |image: &&ImageReport| args.alias.as_ref().is_none_or(|alias| image.image.alias() == alias);
    let images: Vec<&ImageReport> = looked.survey.images.iter().filter(wanted).collect();
    if let Some(alias) = args.alias.as_ref().filter(|_| images.is_empty()) {
        return fail(4, format!("{} has no image with the alias {alias}", args.app));
    }
    let owner = look.world.owner_of(&looked.app);
    if args.output == Output::Json {
        let json = json!({
            "application": looked.app.key.to_string(),
            "images": images
                .iter()
                .map(|image| with_daemon(image_json(image, &look.world, looked, &owner), image, looked, told.as_ref()))
                .collect::<Vec<_>>(),
            "problems": look.problems.iter().map(problem_json).collect::<Vec<_>>(),
        });
        println!("{}", serde_json::to_string_pretty(&json).unwrap_or_default());
    } else {
        let paint = Paint::stdout();
        println!("{}", paint.bold(&looked.app.key.to_string()));
        println!("  owner      {owner}");
        for image in images {
            text(image, &look.world, args.all, paint);
            if let Some(status) = &told {
                daemon_text(image, looked, status, paint);
            }
        }
        for problem in &look.problems {
            println!("{} {problem}", paint.yellow(problem.severity.word()));
        }
    }
    0
}

/// What the daemon says of an image's remote: when it is looked at next, and the last push to its branch.
fn of_daemon(image: &ImageReport, looked: &Looked, status: &Json) -> (Json, Json) {
    let group = updater::group_of(&looked.app).map(|group| updater::without_user(&group));
    let mut rounds = status["nextRounds"].as_array().into_iter().flatten();
    let next = rounds.find(|next| next["remote"].as_str() == group.as_deref()).map(|next| next["at"].clone());
    let mut pushes = status["pushes"].as_array().into_iter().flatten();
    let last = image.destination.as_ref().and_then(|to| {
        pushes.find(|push| {
            let remote = push["remote"].as_str().unwrap_or_default();
            push["branch"] == to.branch.as_str() && normalise_repo_url(remote) == normalise_repo_url(&to.repo_url)
        })
    });
    (next.unwrap_or(Json::Null), last.cloned().unwrap_or(Json::Null))
}

fn with_daemon(mut json: Json, image: &ImageReport, looked: &Looked, status: Option<&Json>) -> Json {
    if let Some(status) = status {
        let (next, last) = of_daemon(image, looked, status);
        json["nextPoll"] = next;
        json["lastChange"] = last;
    }
    json
}

fn daemon_text(image: &ImageReport, looked: &Looked, status: &Json, paint: Paint) {
    let (next, last) = of_daemon(image, looked, status);
    println!("  next poll  {}", next.as_str().unwrap_or("not planned"));
    let commit: String = last["commit"].as_str().unwrap_or_default().chars().take(9).collect();
    if !commit.is_empty() {
        println!("  last push  {commit} {}", paint.dim(last["at"].as_str().unwrap_or_default()));
    }
}

fn verdicts(image: &ImageReport) -> &[Verdict] {
    image.choice.as_ref().map(|choice| choice.verdicts.as_slice()).unwrap_or_default()
}

/// The endpoint that is asked about an image.
fn endpoint(image: &ImageReport, world: &World) -> String {
    world.registries.endpoint_of(&image.image.image).entry.api_url.clone()
}

fn image_json(image: &ImageReport, world: &World, looked: &Looked, owner: &str) -> Json {
    let desired = image.desired.as_ref().map(|desired| {
        let value = match (&desired.tag, &desired.digest) {
            (Some(tag), Some(digest)) => format!("{tag}@{digest}"),
            (Some(tag), None) => tag.clone(),
            (None, Some(digest)) => digest.clone(),
            (None, None) => String::new(),
        };
        json!({"value": value, "name": desired.name, "from": desired.place})
    });
    let route = image.destination.as_ref().map(
        |to| json!({"remote": to.repo_url, "branch": to.branch, "base": to.base, "file": to.file, "path": to.path}),
    );
    let tags: Vec<Json> = verdicts(image)
        .iter()
        .map(|v| json!({"tag": v.tag, "verdict": v.standing.word(), "rule": v.rule, "reason": v.reason}))
        .collect();
    let counts = image.choice.as_ref().map(|choice| choice.counts()).unwrap_or_default();
    json!({
        "alias": image.image.alias(),
        "reference": image.image.image.full_reference(),
        "strategy": image.image.selection.strategy.word(),
        "state": image.state.word(),
        "ineffective": image.ineffective,
        "desired": desired,
        "live": image.live.iter().map(|live| live.full_reference()).collect::<Vec<_>>(),
        "route": route,
        "candidate": image.choice.as_ref().and_then(|c| c.chosen.as_ref()).map(|c| c.tag.clone()),
        "endpoint": endpoint(image, world),
        "credential": image.image.pull_secret,
        "reasons": image.decision.as_ref().map(|d| d.reasons.clone()).unwrap_or_default(),
        "trouble": image.trouble.as_ref().map(|t| json!({"kind": t.kind, "text": t.text})),
        "owner": owner,
        "refresh": looked.settings.refresh.word(),
        "tags": tags,
        "counts": counts,
    })
}

fn text(image: &ImageReport, world: &World, all: bool, paint: Paint) {
    let alias = image.image.alias();
    let label = if alias.is_empty() { String::new() } else { format!("{alias} = ") };
    println!("\n{}", paint.cyan(&format!("{label}{}", image.image.image.full_reference())));
    let effect = if image.ineffective.is_some() { ", not effective" } else { "" };
    println!("  state      {}", paint.bold(&format!("{}{effect}", image.state.word())));
    println!("  strategy   {}", image.image.selection.strategy.word());
    println!("  endpoint   {}", endpoint(image, world));
    if let Some(form) = &image.image.pull_secret {
        println!("  credential {form}");
    }
    let live: Vec<String> = image.live.iter().map(|live| live.full_reference()).collect();
    println!("  live       {}", if live.is_empty() { "nothing".to_owned() } else { live.join(", ") });
    match &image.desired {
        Some(desired) => {
            let tag = desired.tag.clone().unwrap_or_default();
            let digest = desired.digest.as_ref().map(|d| format!("@{d}")).unwrap_or_default();
            println!("  desired    {tag}{digest}, from {}", desired.place);
        }
        None => println!("  desired    unknown: its place holds no value yet"),
    }
    if let Some(to) = image.destination.as_ref().filter(|to| !to.repo_url.is_empty()) {
        println!("  written to {} · branch {} · {}", to.repo_url, to.branch, to.file);
    }
    if let Some(trouble) = &image.trouble {
        println!("  {} {}: {}", paint.red("problem"), trouble.kind, trouble.text);
    }
    for reason in image.decision.iter().flat_map(|d| &d.reasons) {
        println!("  because    {reason}");
    }
    tags(verdicts(image), all, paint);
}

fn tags(verdicts: &[Verdict], all: bool, paint: Paint) {
    if verdicts.is_empty() {
        return;
    }
    println!("  tags");
    let ranked = |word: &str| match word {
        "chosen" => 0,
        "accepted" => 1,
        _ => 2,
    };
    let mut sorted: Vec<&Verdict> = verdicts.iter().collect();
    // Verdicts come highest rank first; what could be taken stands before what is rejected.
    sorted.sort_by_key(|v| ranked(v.standing.word()));
    let shown = if all { sorted.len() } else { SHOWN };
    for verdict in sorted.iter().take(shown) {
        let word = verdict.standing.word();
        let padded = format!("{word:<9}");
        let word = if word == "chosen" {
            paint.green(&padded)
        } else if word == "accepted" {
            padded
        } else {
            paint.dim(&padded)
        };
        let rule = if verdict.rule.is_empty() { String::new() } else { format!("{}: ", verdict.rule) };
        println!("    {word} {:<28} {}", verdict.tag, paint.dim(&format!("{rule}{}", verdict.reason)));
    }
    if sorted.len() > shown {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for verdict in &sorted[shown..] {
            *counts.entry(if verdict.rule.is_empty() { verdict.standing.word() } else { verdict.rule }).or_default() +=
                1;
        }
        let rest: Vec<String> = counts.iter().map(|(rule, n)| format!("{n} by {rule}")).collect();
        println!(
            "    {}",
            paint.dim(&format!("{} more: {} (--all lists them)", sorted.len() - shown, rest.join(", ")))
        );
    }
}
