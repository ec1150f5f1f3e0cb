//! The scenes. Every step waits for what really happened, with a deadline: in the journal, at the API server, in the
//! inbox.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::show::Show;
use crate::adapters::store::Store;
use crate::cli::history::event_line;
use crate::core::event::{Event, Kind};
use crate::daemon::Handle;
use crate::demo::inbox::Item;
use crate::demo::{REGISTRY, Stage};

/// Words of the sync that fails.
const REFUSAL: &str = "one or more objects failed to apply, reason: admission webhook \"policy.example.com\" denied \
                       the request: container \"api\" must set a memory limit";

/// Events looked through.
const PLENTY: usize = 500;

/// The story, and what it is told from.
pub(super) struct Story<'a> {
    stage: &'a Stage,
    handle: &'a Handle,
    store: &'a Store,
    show: &'a Show,
    deadline: Duration,
    states: States,
}

impl<'a> Story<'a> {
    /// A story that has not begun; what Applications do is written down from now on.
    pub(super) fn new(
        stage: &'a Stage,
        handle: &'a Handle,
        store: &'a Store,
        show: &'a Show,
        deadline: Duration,
    ) -> Story<'a> {
        let states = States::watch(stage);
        Story { stage, handle, store, show, deadline, states }
    }

    /// Tells it; what went wrong otherwise.
    pub(super) async fn tell(&self, began: Instant) -> Result<(), String> {
        self.daemon_starts().await?;
        self.new_tag().await?;
        self.sync_fails().await?;
        self.quiet().await?;
        self.summary(began).await
    }

    async fn daemon_starts(&self) -> Result<(), String> {
        self.show.scene(1, "The daemon starts").await;
        self.until("the daemon's first round", || {
            let status = self.handle.status();
            status.not_ready().is_empty() && status.rounds > 0 && status.images == 3 && status.watched == 4
        })
        .await?;
        let status = self.handle.status();
        let text = format!("{} Applications watched, {} images governed", status.watched, status.images);
        self.show.step(&format!("{text}: `root` is an App of Apps"));
        let paint = self.show.paint();
        for (name, rule, place) in [
            ("web", "semver, 1.x", "web/values-prod.yaml (Helm values)"),
            ("api", "newest build of main-*", "api/kustomization.yaml"),
            ("jobs", "alphabetical, yyyy.mm", "jobs/.argocd-source-jobs.yaml (override file)"),
        ] {
            let image = self.image_of(name);
            let tag = image.rsplit_once(':').map_or("", |(_, tag)| tag);
            self.show.line(&format!(
                "           {} {tag:<13} {rule:<24} {}",
                paint.cyan(&format!("{name:<5}")),
                paint.dim(place)
            ));
        }
        if let Some(event) = self.history().await?.first() {
            return Err(format!("the first round should have found nothing, but {}", event_line(event, paint)));
        }
        self.show.step("first round: everything is up to date, nothing to do");
        Ok(())
    }

    async fn new_tag(&self) -> Result<(), String> {
        self.show.scene(2, "A new tag becomes a commit, the commit a sync, and people are told").await;
        self.push("web", "1.5.0");
        self.show.detail("2.0.0 and latest are there as well, but this Application asks for 1.x");
        self.found("web", "1.5.0").await?;
        self.committed("web", "1.5.0").await?;
        let told = "shop/web of application web was updated from 1.4.2 to 1.5.0";
        let is_it = |item: &Item| matches!(item, Item::Slack { fields, .. } if fields["text"].contains(told));
        self.message("the Slack message about the commit", is_it).await?;
        self.syncs("web", &["Syncing", "Synced, Progressing", "Synced, Healthy"]).await?;
        self.event(Kind::Healthy, "web", "1.5.0").await?;
        self.show.step("journal: the change is synced and healthy");
        self.messages("Application web now runs a new version", "web", "Succeeded").await
    }

    async fn sync_fails(&self) -> Result<(), String> {
        self.show.scene(3, "Two tags at once, and a sync that fails").await;
        self.stage.fail_next_sync("api", REFUSAL);
        // Both before the next round can begin.
        self.stage.git.requests();
        let tags = [("api", "main-9c03f7d"), ("jobs", "2026.05")];
        for (name, tag) in tags {
            self.push(name, tag);
        }
        for (name, tag) in tags {
            self.found(name, tag).await?;
        }
        for (name, tag) in tags {
            self.committed(name, tag).await?;
        }
        let pushes = self
            .stage
            .git
            .requests()
            .iter()
            .filter(|r| r.starts_with("POST") && r.ends_with("/git-receive-pack"))
            .count();
        self.show.step(&format!("2 commits in {pushes} push{}", if pushes == 1 { "" } else { "es" }));
        let at = self.states.wait("api", "Sync failed", self.deadline).await?;
        self.show.bad_step_at(at, &format!("api  {}", self.show.paint().red("Sync failed")));
        self.syncs("jobs", &["Synced, Healthy"]).await?;
        self.event(Kind::Degraded, "api", "main-9c03f7d").await?;
        self.show.step("journal: the change of api did not go live");
        self.messages("The sync of application api failed", "api", "Failed").await
    }

    /// One round of which nothing comes: what does it cost the registry and the Git host?
    async fn quiet(&self) -> Result<(), String> {
        self.show.scene(4, "Then it is quiet").await;
        let end = Instant::now() + self.deadline;
        loop {
            let before = self.handle.status().rounds;
            self.until("the end of a round", || self.handle.status().rounds > before).await?;
            self.stage.registry.clear_log();
            self.stage.git.requests();
            let before = self.handle.status().rounds;
            self.until("the end of the next round", || self.handle.status().rounds > before).await?;
            let (registry, git) = (self.stage.registry.log(), self.stage.git.requests());
            let listings = registry.iter().filter(|seen| seen.status == 304).count();
            // The age of a build decides for api, and a tag may have been moved to another build.
            let builds = registry.iter().filter(|s| s.method == "HEAD" && s.path.starts_with("/v2/shop/api/")).count();
            let written = git.iter().any(|request| request.contains("receive-pack"));
            if listings == 3 && registry.len() == listings + builds && !written {
                self.show.step("a round in which nothing is new asks");
                self.show.detail("registry  3 conditional listings, one per repository, each 304 Not Modified");
                self.show.detail(&format!(
                    "          {builds} HEADs, one per build of api, since a tag may have been moved"
                ));
                self.show.detail(&format!("Git       {}", requests(&git)));
                self.show.detail("inbox     nothing: what was told is told once");
                return Ok(());
            }
            if Instant::now() > end {
                let mut text = "a round in which nothing changed still asked more than it had to".to_owned();
                registry
                    .iter()
                    .for_each(|seen| text.push_str(&format!("\n{} {} {}", seen.method, seen.path, seen.status)));
                git.iter().for_each(|request| text.push_str(&format!("\n{request}")));
                return Err(text);
            }
        }
    }

    async fn summary(&self, began: Instant) -> Result<(), String> {
        self.show.scene(5, "What `lynceus history` shows of it").await;
        let events = self.history().await?;
        for event in &events {
            self.show.line(&event_line(event, self.show.paint()));
        }
        let messages = self.stage.inbox.accepted().len();
        let commits = self.stage.repository.log(crate::demo::BRANCH).len() - 1;
        if (commits, messages) != (3, 7) {
            return Err(format!("3 commits and 7 messages were due, {commits} and {messages} were made"));
        }
        let seconds = began.elapsed().as_secs_f64();
        let paint = self.show.paint();
        println!();
        let text = format!(
            "3 new tags, 3 one-line commits, 3 syncs of which 1 failed, 7 messages, each once, in {seconds:.0} s."
        );
        self.show.line(&paint.bold(&text));
        self.show.line("Next: lynceus plan --applications <folder>, lynceus lint, lynceus run --help");
        Ok(())
    }

    fn push(&self, name: &str, tag: &str) {
        self.states.forget();
        self.stage.push_tag(name, tag);
        let image = self.show.paint().cyan(&format!("{REGISTRY}/shop/{name}:{tag}"));
        self.show.step(&format!("pushed {image} for linux/amd64 and linux/arm64"));
    }

    async fn found(&self, app: &str, tag: &str) -> Result<(), String> {
        let event = self.event(Kind::Found, app, tag).await?;
        let paint = self.show.paint();
        self.show.step(&format!("{app}  {} {} -> {}", paint.yellow("found"), event.old, paint.bold(&event.new)));
        Ok(())
    }

    /// The commit, shown; its diff must be one line.
    async fn committed(&self, app: &str, tag: &str) -> Result<(), String> {
        let event = self.event(Kind::Committed, app, tag).await?;
        let place = event.place.unwrap_or_default();
        let commits = self.stage.repository.log(crate::demo::BRANCH);
        let Some(commit) = commits.iter().find(|commit| commit.id == place.commit) else {
            return Err(format!("the journal speaks of commit {}, which is not on the branch", place.commit));
        };
        let paint = self.show.paint();
        let short = &place.commit[..place.commit.len().min(9)];
        let subject = commit.message.lines().next().unwrap_or_default();
        self.show.step(&format!("{app}  {} {} \"{subject}\"", paint.green("committed"), paint.bold(short)));
        let diff = self.stage.repository.diff(&place.commit);
        let changed = |sign: char| {
            let header = [sign; 3].iter().collect::<String>();
            diff.lines().filter(|line| line.starts_with(sign) && !line.starts_with(&header)).count()
        };
        if (changed('-'), changed('+')) != (1, 1) {
            return Err(format!("the commit should change one line\n{diff}"));
        }
        let shown: Vec<&str> =
            diff.lines().filter(|line| !line.starts_with("diff ") && !line.starts_with("index ")).collect();
        self.show.diff(&shown.join("\n"));
        Ok(())
    }

    async fn syncs(&self, app: &str, words: &[&str]) -> Result<(), String> {
        for word in words {
            let at = self.states.wait(app, word, self.deadline).await?;
            let painted = if word.ends_with("Healthy") { self.show.paint().green(word) } else { (*word).to_owned() };
            self.show.step_at(at, &format!("{app}  {painted}"));
        }
        Ok(())
    }

    /// The three messages about an Application, as they were received.
    async fn messages(&self, text: &str, app: &str, phase: &str) -> Result<(), String> {
        let phase = format!("\"phase\": \"{phase}\"");
        let name = format!("\"application\": \"{app}\"");
        let is_slack = |item: &Item| matches!(item, Item::Slack { fields, .. } if fields.get("text").is_some_and(|t| t.contains(text)));
        let is_mail = |item: &Item| matches!(item, Item::Mail { content, .. } if content.contains(text));
        let is_hook =
            |item: &Item| matches!(item, Item::Webhook { body, .. } if body.contains(&name) && body.contains(&phase));
        self.message("the Slack message", is_slack).await?;
        self.message("the e-mail", is_mail).await?;
        self.message("the webhook", is_hook).await
    }

    async fn message(&self, what: &str, is_it: impl Fn(&Item) -> bool) -> Result<(), String> {
        let inbox = &self.stage.inbox;
        if !inbox.wait(self.deadline, |accepted, _| accepted.iter().any(|a| is_it(&a.what))).await {
            return Err(self.late(what));
        }
        self.show.step(&format!("{what} has arrived"));
        match inbox.accepted().iter().find(|accepted| is_it(&accepted.what)) {
            Some(accepted) => self.show.message(&accepted.what),
            None => return Err(self.late(what)),
        }
        Ok(())
    }

    fn image_of(&self, name: &str) -> String {
        let app = self.stage.application(name).unwrap_or_default();
        app["status"]["summary"]["images"][0].as_str().unwrap_or_default().to_owned()
    }

    async fn history(&self) -> Result<Vec<Event>, String> {
        self.store.history(None, PLENTY).await.map_err(|e| format!("the journal cannot be read: {e}"))
    }

    /// Waits for an entry of the journal.
    async fn event(&self, kind: Kind, app: &str, new: &str) -> Result<Event, String> {
        let mut changes = self.store.journal_changes();
        let end = tokio::time::Instant::now() + self.deadline;
        loop {
            changes.borrow_and_update();
            let found = self.history().await?.into_iter().find(|e| e.kind == kind && e.app.name == app && e.new == new);
            if let Some(event) = found {
                return Ok(event);
            }
            if !matches!(tokio::time::timeout_at(end, changes.changed()).await, Ok(Ok(()))) {
                return Err(self.late(&format!("`{}` of {app} {new} in the journal", kind.word())));
            }
        }
    }

    /// Waits for something that nobody tells of.
    async fn until(&self, what: &str, holds: impl Fn() -> bool) -> Result<(), String> {
        let end = Instant::now() + self.deadline;
        while !holds() {
            if Instant::now() > end {
                return Err(self.late(what));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// What to say when something does not happen: that, and what the daemon complains about.
    fn late(&self, what: &str) -> String {
        let mut text = format!("{what}: nothing within {:.1} s", self.deadline.as_secs_f64());
        for problem in self.handle.status().problems.values().flatten() {
            text.push_str(&format!("\n{problem}"));
        }
        text
    }
}

/// Requests to the Git host in words.
fn requests(git: &[String]) -> String {
    let refs = git.iter().filter(|r| r.contains("/info/refs")).count();
    let rest = git.len() - refs;
    let more = if rest == 0 { "nothing else".to_owned() } else { format!("{rest} further requests") };
    format!("{refs} advertisement{} of refs, {more}", if refs == 1 { "" } else { "s" })
}

/// What Applications went through, written down as it happens.
struct States {
    seen: Arc<Mutex<Vec<State>>>,
    /// States before this one belong to an earlier scene.
    from: AtomicUsize,
    news: watch::Receiver<usize>,
    task: AbortHandle,
}

/// Since when an Application is in a state.
struct State {
    at: Instant,
    app: String,
    word: String,
}

impl States {
    fn watch(stage: &Stage) -> States {
        let cluster = stage.cluster.clone();
        let mut versions = cluster.versions();
        let seen: Arc<Mutex<Vec<State>>> = Arc::default();
        note(&seen, &cluster.objects("applications"));
        let (sender, news) = watch::channel(0);
        let list = seen.clone();
        let task = tokio::spawn(async move {
            while versions.changed().await.is_ok() {
                sender.send_replace(note(&list, &cluster.objects("applications")));
            }
        });
        let states = States { seen, from: AtomicUsize::new(0), news, task: task.abort_handle() };
        states.forget();
        states
    }

    /// Only what comes from now on counts.
    fn forget(&self) {
        self.from.store(self.list().len(), Ordering::Relaxed);
    }

    fn list(&self) -> MutexGuard<'_, Vec<State>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When an Application came into this state; waits for it.
    async fn wait(&self, app: &str, word: &str, deadline: Duration) -> Result<Instant, String> {
        let mut news = self.news.clone();
        let from = self.from.load(Ordering::Relaxed);
        let waiting = async {
            loop {
                news.borrow_and_update();
                let found = self.list().iter().skip(from).find(|s| s.app == app && s.word == word).map(|s| s.at);
                if let Some(at) = found {
                    return at;
                }
                if news.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let late = format!("{app} did not become \"{word}\" within {:.1} s", deadline.as_secs_f64());
        tokio::time::timeout(deadline, waiting).await.map_err(|_| late)
    }
}

/// Writes down what is new; how much there is now.
fn note(seen: &Mutex<Vec<State>>, applications: &[Value]) -> usize {
    let mut list = seen.lock().unwrap_or_else(PoisonError::into_inner);
    for app in applications {
        let name = app["metadata"]["name"].as_str().unwrap_or_default();
        let word = word(app);
        let last = list.iter().rev().find(|state| state.app == name);
        if last.is_none_or(|state| state.word != word) {
            list.push(State { at: Instant::now(), app: name.to_owned(), word });
        }
    }
    list.len()
}

impl Drop for States {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The state of an Application in a few words.
fn word(app: &Value) -> String {
    let status = &app["status"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match (text(&status["sync"]["status"]).as_str(), text(&status["operationState"]["phase"]).as_str()) {
        (_, "Running") => "Syncing".to_owned(),
        ("OutOfSync", "Failed" | "Error") => "Sync failed".to_owned(),
        ("OutOfSync", _) => "OutOfSync".to_owned(),
        (sync, _) => format!("{sync}, {}", text(&status["health"]["status"])),
    }
}
