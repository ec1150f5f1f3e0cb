//! `plan`: what the next round would write, as a diff; exit codes for CI (image-updates.md §23).

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde_json::{Value as Json, json};

use super::world::{self, WorldArgs};
use super::{Paint, USAGE, fail, run as runner};
use crate::adapters::store::Store;
use crate::config::settings::{CommitPer, Settings};
use crate::core::application::{AppKey, Application};
use crate::core::problem::{Problem, Severity};
use crate::core::update::decision::State;
use crate::core::update::plan::{Applied, Plan, Unit, apply};
use crate::daemon::committer;
use crate::daemon::poller::memory::remember;
use crate::daemon::round::{self, Looked, Round};
use crate::daemon::status::problem_json;
use crate::daemon::world::World;

/// How a plan is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
    /// Only the unified diff.
    Diff,
}

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Only these Applications: name, or namespace/name.
    pub apps: Vec<String>,
    #[command(flatten)]
    world: WorldArgs,
    /// Namespaces whose Applications are looked at: empty for the own one, * for all, or a comma list.
    #[arg(long, value_name = "LIST", default_value = "")]
    watch_namespaces: String,
    /// How the plan is printed.
    #[arg(long, short = 'o', value_enum, default_value_t)]
    output: Output,
}

/// What a command looked at.
pub struct Look {
    /// The adapters.
    pub world: World,
    /// The round.
    pub round: Round,
    /// Problems of what was read.
    pub problems: Vec<Problem>,
    /// Names that are no Application.
    pub unknown: Vec<String>,
    /// Why each other Application that was asked for is not managed.
    pub left: BTreeMap<AppKey, String>,
}

/// Looks at Applications once, writing nothing but the cache of mirrors. What a daemon with the same state directory
/// knows of images is not asked again; with `explain`, its last lists of tags stand in for a registry that does not
/// answer (REG-10, REG-12).
pub async fn look(args: &WorldArgs, namespaces: &str, apps: &[String], explain: bool) -> Result<Look, (u8, String)> {
    let mut remarks = Vec::new();
    let mut settings = Settings { dry_run: true, watch_namespaces: namespaces.to_owned(), ..Settings::default() };
    args.apply(&mut settings, &mut remarks).map_err(|e| (USAGE, e))?;
    // What stands on this machine is only read here.
    settings.git.allow_local |= args.applications.is_some();
    let mirrors = args.state_dir.clone().filter(|d| d.as_os_str() != ":memory:").unwrap_or_else(world::cache_home);
    let failed = |problem: Problem| (1, problem.to_string());
    let mut world = world::build(settings, None, &mirrors).await.map_err(failed)?;
    if let Ok(past) = Store::open_read_only(&mirrors) {
        remember(&past, world.registries.metadata()).await;
        world.past = Some(past).filter(|_| explain);
    }
    let (all, mut left) = runner::all_applications(&world).await.map_err(failed)?;
    let named = |key: &AppKey, name: &String| key.name == *name || key.to_string() == *name;
    let known = |name: &&String| all.iter().map(|app| &app.key).chain(left.keys()).any(|key| named(key, name));
    let unknown = apps.iter().filter(|name| !known(name)).cloned().collect();
    let asked = |key: &AppKey| apps.is_empty() || apps.iter().any(|name| named(key, name));
    left.retain(|key, _| asked(key));
    let wanted: Vec<Arc<Application>> = all.into_iter().filter(|app| asked(&app.key)).collect();
    let round = round::explain(&world, &wanted).await;
    let mut problems: Vec<Problem> = world.board.status().problems.into_values().flatten().collect();
    problems.extend(round.problems.values().flatten().cloned());
    Ok(Look { world, round, problems, unknown, left })
}

/// Runs `plan`.
pub fn run(args: PlanArgs) -> u8 {
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, error),
    };
    let status = runtime.block_on(async {
        match look(&args.world, &args.watch_namespaces, &args.apps, false).await {
            Ok(look) => print(&args, look).await,
            Err((status, text)) => fail(status, text),
        }
    });
    runtime.shutdown_timeout(std::time::Duration::from_millis(100));
    status
}

/// One change as it is shown.
struct Shown {
    application: String,
    remote: String,
    branch: String,
    file: String,
    images: Vec<Json>,
    diff: String,
    message: String,
}

async fn print(args: &PlanArgs, look: Look) -> u8 {
    let mut changes = Vec::new();
    let mut refused = Vec::new();
    for planned in &look.round.plans {
        match preview(&look.world, &planned.remote, &planned.plan).await {
            Ok((shown, no)) => {
                changes.extend(shown);
                refused.extend(no);
            }
            Err(text) => {
                let names: Vec<String> = planned.plan.units.iter().map(|u| u.app.key.to_string()).collect();
                refused.push(json!({"application": names.join(", "), "alias": "", "candidate": "", "reason": text, "kind": "git-unreachable"}));
            }
        }
    }
    let held: Vec<Json> = look.round.looked.iter().flat_map(held).collect();
    refused.extend(look.round.looked.iter().flat_map(troubles));
    let parameters: Vec<Json> = look.round.looked.iter().flat_map(parameters).collect();
    let mut problems = look.problems.clone();
    problems.extend(
        look.unknown.iter().map(|name| Problem::error("config-invalid", format!("there is no Application {name}"))),
    );
    match args.output {
        Output::Json => {
            let list: Vec<Json> = changes.iter().map(shown_json).collect();
            let all = json!({
                "changes": list, "parameters": parameters, "held": held, "refused": refused,
                "problems": problems.iter().map(problem_json).collect::<Vec<_>>(),
            });
            println!("{}", serde_json::to_string_pretty(&all).unwrap_or_default());
        }
        Output::Diff => changes.iter().for_each(|change| print!("{}", change.diff)),
        Output::Text => text(&look, &changes, &parameters, &held, &refused, &problems),
    }
    let errors = !refused.is_empty() || problems.iter().any(|p| p.severity == Severity::Error);
    match (errors, changes.is_empty() && parameters.is_empty()) {
        (true, _) => 1,
        (false, false) => 2,
        (false, true) => 0,
    }
}

/// What applying a plan to the newest tip would give.
async fn preview(
    world: &World,
    remote: &crate::adapters::git::Remote,
    plan: &Plan,
) -> Result<(Vec<Shown>, Vec<Json>), String> {
    let advertised = world.git.advertise(remote).await.map_err(|e| e.to_string())?;
    let branch = if advertised.branches.contains_key(&plan.branch) { &plan.branch } else { &plan.base };
    let id = advertised.branches.get(branch).ok_or_else(|| format!("there is no branch {branch}"))?;
    let tip = world.git.tip(remote, branch, *id).await.map_err(|e| e.to_string())?;
    let units = plan.units.clone();
    let applied = tokio::task::spawn_blocking(move || apply(&units, &tip)).await.map_err(|e| e.to_string())?;
    let (mut shown, mut refused) = (Vec::new(), Vec::new());
    let git = &world.settings.git;
    let sign_off = git.sign_off.then_some((git.user.as_str(), git.email.as_str()));
    let template = world.commit_template();
    let changed: Vec<&Unit> = plan
        .units
        .iter()
        .zip(&applied)
        .filter(|(_, applied)| matches!(applied, Applied::Changed { .. }))
        .map(|(unit, _)| unit.as_ref())
        .collect();
    for (index, (unit, outcome)) in plan.units.iter().zip(&applied).enumerate() {
        match outcome {
            Applied::AlreadySo | Applied::Shared(_) => {}
            Applied::Refused(refusal) => refused.extend(unit.changes.iter().map(|change| {
                json!({
                    "application": unit.app.key.to_string(), "alias": change.new.alias_text(),
                    "candidate": change.new_text(), "reason": refusal.text, "kind": refusal.kind, "file": refusal.path,
                    "line": refusal.line, "hint": refusal.hint,
                })
            })),
            Applied::Changed { files, diff, .. } => {
                let own = [unit.as_ref()];
                let units: &[&Unit] = if git.commit_per == CommitPer::Push { &changed } else { &own };
                let whole = git.commit_per == CommitPer::Push;
                let both = plan.units.iter().zip(&applied);
                let credited = both.filter(|(_, applied)| match applied {
                    Applied::Shared(earlier) => whole || *earlier == index,
                    _ => false,
                });
                let credited: Vec<&Unit> = credited.map(|(unit, _)| unit.as_ref()).collect();
                shown.push(Shown {
                    application: unit.app.key.to_string(),
                    remote: remote.shown().to_owned(),
                    branch: plan.branch.clone(),
                    file: files.iter().map(|f| f.path.clone()).collect::<Vec<_>>().join(", "),
                    images: unit.changes.iter().map(change_json).collect(),
                    diff: diff.clone(),
                    message: committer::message(template.as_deref(), units, &credited, sign_off),
                });
            }
        }
    }
    Ok((shown, refused))
}

fn change_json(change: &crate::core::update::decision::Change) -> Json {
    json!({
        "alias": change.new.alias_text(), "name": change.new.full_name(), "old": change.old_text(),
        "new": change.new_text(),
    })
}

fn shown_json(change: &Shown) -> Json {
    json!({
        "application": change.application, "remote": change.remote, "branch": change.branch, "file": change.file,
        "images": change.images, "diff": change.diff, "message": change.message,
    })
}

fn held(looked: &Looked) -> Vec<Json> {
    let images = looked.survey.images.iter();
    images
        .filter_map(|image| {
            let held = image.decision.as_ref()?.held.as_ref()?;
            Some(json!({
                "application": looked.app.key.to_string(), "alias": image.image.alias(), "candidate": held.candidate,
                "reason": format!("{}: {}", held.reason.word(), held.text),
            }))
        })
        .collect()
}

/// Images that could not be decided or must not be written.
fn troubles(looked: &Looked) -> Vec<Json> {
    let bad = |state| matches!(state, State::Refused | State::Failed);
    let images = looked.survey.images.iter().filter(|image| bad(image.state));
    images
        .filter_map(|image| {
            let trouble = image.trouble.as_ref()?;
            let candidate = image.choice.as_ref().and_then(|c| c.chosen.as_ref()).map(|c| c.tag.clone());
            Some(json!({
                "application": looked.app.key.to_string(), "alias": image.image.alias(),
                "image": image.image.image.full_name(), "candidate": candidate.unwrap_or_default(),
                "reason": trouble.text, "kind": trouble.kind,
            }))
        })
        .collect()
}

fn parameters(looked: &Looked) -> Vec<Json> {
    let each = looked.survey.parameters.iter();
    each.map(|parameters| {
        let text = |entries: &[String]| entries.iter().map(|e| format!("{e}\n")).collect::<String>();
        let name = looked.app.key.to_string();
        let diff = similar::TextDiff::from_lines(&text(&parameters.patch.before), &text(&parameters.patch.after))
            .unified_diff()
            .header(&format!("a/{name}"), &format!("b/{name}"))
            .to_string();
        json!({
            "application": name, "images": parameters.changes.iter().map(change_json).collect::<Vec<_>>(),
            "before": parameters.patch.before, "after": parameters.patch.after, "diff": diff,
        })
    })
    .collect()
}

fn text(look: &Look, changes: &[Shown], parameters: &[Json], held: &[Json], refused: &[Json], problems: &[Problem]) {
    let paint = Paint::stdout();
    let mut place = String::new();
    for change in changes {
        let here = format!("{} {}", change.remote, change.branch);
        if here != place {
            println!("{}", paint.bold(&format!("== {} · branch {}", change.remote, change.branch)));
            place = here;
        }
        println!("\n{}", paint.cyan(change.message.trim_end()));
        print!("{}", paint.diff(&change.diff));
    }
    let word = |value: &Json, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    for parameter in parameters {
        println!("{}", paint.bold(&format!("== Application {} (method argocd)", word(parameter, "application"))));
        print!("{}", paint.diff(&word(parameter, "diff")));
    }
    for (label, list) in [(paint.yellow("held"), held), (paint.red("refused"), refused)] {
        for item in list {
            let kind = item["kind"].as_str().map(|k| format!("{k}: ")).unwrap_or_default();
            let alias =
                [word(item, "alias"), word(item, "image")].into_iter().find(|t| !t.is_empty()).unwrap_or_default();
            println!(
                "{label} {} {alias} {}: {kind}{}",
                word(item, "application"),
                word(item, "candidate"),
                word(item, "reason")
            );
        }
    }
    for problem in problems {
        println!("{} {problem}", paint.yellow(problem.severity.word()));
    }
    let images: usize = look.round.looked.iter().map(|looked| looked.survey.images.len()).sum();
    println!(
        "{}",
        paint.dim(&format!(
            "{} applications, {images} images: {} changes, {} held, {} refused",
            look.round.looked.len(),
            changes.len() + parameters.len(),
            held.len(),
            refused.len()
        ))
    );
}
