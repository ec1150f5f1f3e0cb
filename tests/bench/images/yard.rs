//! Where the image sections are measured: Applications as clusters hold them, each with its own image, their values in
//! one repository, and the daemon beside. Every round is counted at the servers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::StreamExt;
use serde_json::{Value, json};

use crate::sample::{self, ARGO};
use crate::stage::{PREFIX, repository_secret};
use crate::support::api_front::ApiFront;
use crate::support::control_plane::{ControlPlane, Ns};
use crate::support::house::House;
use crate::support::real::{Access, Asked, GitHttp, Image, Registry, Repository, Served};

/// Longer than any round here takes.
const PATIENCE: Duration = Duration::from_secs(1200);

/// Applications in one folder (image-updates.md §25).
const IN_A_FOLDER: usize = 100;

/// Where the values of Applications lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `apps/<hundred>/<name>`.
    Folders,
    /// `apps/<name>`, however many there are.
    Flat,
}

impl Layout {
    /// The folder of an Application.
    pub fn path(self, n: usize) -> String {
        match self {
            Layout::Folders => format!("apps/{:03}/{}", n / IN_A_FOLDER, sample::name(n)),
            Layout::Flat => format!("apps/{}", sample::name(n)),
        }
    }
}

/// Servers, a namespace and a repository.
pub struct Yard {
    pub registry: Registry,
    pub git: GitHttp,
    pub repository: Repository,
    pub api: ApiFront,
    pub ns: Ns,
}

/// What one round asked and took.
pub struct Round {
    pub registry: Vec<Asked>,
    pub git: Vec<Served>,
    pub api: Vec<String>,
    /// From its first request to Git to its end.
    pub seconds: f64,
    /// From its first request to Git to the push's answer.
    pub pushed: Option<f64>,
    /// Processor seconds to its end.
    pub cpu: f64,
    /// To the push's answer.
    pub cpu_pushed: Option<f64>,
}

impl Yard {
    /// An empty one; its registry and repository hold nothing.
    pub async fn new(label: &str) -> Yard {
        let registry = Registry::start(Access::Open).await;
        let git = GitHttp::start("robot", "secret");
        let repository = git.repository("config.git");
        let plane = ControlPlane::get().await;
        let api = ApiFront::start(plane.port()).await;
        let ns = plane.namespace(label).await;
        let fields = [("username", "robot"), ("password", "secret")];
        ns.apply_json(repository_secret("repository", &git.url("config.git"), &fields)).await;
        Yard { registry, git, repository, api, ns }
    }

    /// The daemon as installed, with these arguments; `limit` as registries.conf writes it.
    pub async fn house(&self, limit: &str, arguments: &[&str]) -> House {
        let house = House::new().trusting(&self.git.ca()).variable("POD_NAMESPACE", &self.ns.name);
        let plane = ControlPlane::get().await;
        let direct = std::fs::read_to_string(self.ns.apply_deploy("base").await).expect("a kubeconfig");
        let port = |port: u16| format!("127.0.0.1:{port}");
        let kubeconfig = house.file("kubeconfig", &direct.replace(&port(plane.port()), &port(self.api.port())));
        let host = self.registry.host();
        let entry = format!("registries:\n- name: bench\n  prefix: {host}\n  api_url: http://{host}\n{limit}");
        let conf = house.file("registries.conf", &entry);
        let house = house.with([
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--registries-conf-path={}", conf.display()),
            "--notifications=off".to_owned(),
        ]);
        house.with(arguments.iter().copied())
    }

    /// The image of an Application.
    pub fn image(&self, name: &str) -> String {
        format!("{}/team/{name}", self.registry.host())
    }

    /// A repository per name, each with these tags.
    pub async fn images(&self, names: impl IntoIterator<Item = String>, tags: &[String]) {
        let (first, others) = tags.split_first().expect("a tag");
        self.registry.push("team/seed", first, &Image::new("seed", "2026-01-02T03:04:05Z")).await;
        self.registry.tag("team/seed", first, others.iter().cloned()).await;
        self.registry.alias("team/seed", names.into_iter().map(|name| format!("team/{name}")));
    }

    /// One more tag for all of them.
    pub async fn tag_all(&self, tag: &str) {
        self.registry.tag("team/seed", "1.0.0", [tag.to_owned()]).await;
    }

    /// So many Applications with one image each, live and desired at `1.0.0`, and their values, committed at once.
    pub async fn applications(&self, size: usize, layout: Layout) {
        self.images((0..size).map(sample::name), &["1.0.0".to_owned()]).await;
        let files: Vec<(String, String)> = (0..size)
            .map(|n| (format!("{}/values.yaml", layout.path(n)), self.values(&sample::name(n), "1.0.0")))
            .collect();
        self.commit(&files);
        let create = |n| self.ns.apply_json(self.application(n, layout));
        futures::stream::iter(0..size).for_each_concurrent(sample::AT_ONCE, create).await;
    }

    /// Commits files as somebody else.
    pub fn commit(&self, files: &[(String, String)]) {
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        self.repository.commit("main", "by hand", &files);
    }

    /// A values file with things an editor could spoil.
    pub fn values(&self, name: &str, tag: &str) -> String {
        format!(
            "# Values of {name}; kept by hand.\nimage:\n  name: '{}'  # what runs\n  tag: \"{tag}\" # quoted on purpose\n\n\
             replicas: 2\nresources:\n  limits: {{ cpu: 500m,  memory: 256Mi }}\n",
            self.image(name)
        )
    }

    /// An Application of the usual weight that follows its image.
    pub fn application(&self, n: usize, layout: Layout) -> Value {
        let image = self.image(&sample::name(n));
        let annotations = [
            ("image-list", format!("app={image}:~1.0")),
            ("app.helm.image-name", "image.name".to_owned()),
            ("app.helm.image-tag", "image.tag".to_owned()),
        ];
        self.weighty(n, &layout.path(n), &annotations, &[format!("{image}:1.0.0")])
    }

    /// An Application of the usual weight, written by Git to its values file.
    pub fn weighty(&self, n: usize, path: &str, annotations: &[(&str, String)], live: &[String]) -> Value {
        let mut app = sample::application(n, "r0", &[]);
        let method =
            [("write-back-method", "git".to_owned()), ("write-back-target", "helmvalues:values.yaml".to_owned())];
        let all = annotations.iter().chain(&method);
        let all: BTreeMap<String, &String> = all.map(|(key, value)| (format!("{PREFIX}{key}"), value)).collect();
        app["metadata"]["annotations"] = json!(all);
        app["spec"]["source"] =
            json!({ "repoURL": self.git.url("config.git"), "path": path, "targetRevision": "main" });
        app["status"]["sourceType"] = json!("Helm");
        app["status"]["summary"]["images"] = json!(live);
        app
    }

    /// What Argo CD reports once it has synced the branch: all run this tag.
    pub async fn synced(&self, size: usize, tag: &str) {
        let revision = &self.repository.tip("main").expect("a branch");
        let all = futures::stream::iter(0..size).for_each_concurrent(sample::AT_ONCE, |n| async move {
            let mut status = sample::synced(revision);
            status["summary"] = json!({ "images": [format!("{}:{tag}", self.image(&sample::name(n)))] });
            let patch = json!({ "status": status });
            self.ns.patch(ARGO, "Application", &sample::name(n), &patch).await;
        });
        all.await;
    }

    /// How many files of the branch hold this tag.
    pub fn written(&self, tag: &str) -> usize {
        let found = std::process::Command::new("git")
            .args(["grep", "-lF", &format!("tag: \"{tag}\""), "main"])
            .current_dir(self.repository.path())
            .output()
            .expect("git is installed");
        String::from_utf8_lossy(&found.stdout).lines().count()
    }

    /// Forgets what the servers counted so far.
    pub fn forget(&self) {
        self.registry.asked();
        self.git.served();
        self.api.calls();
    }

    /// Waits for the next round to end and says what it asked; nothing may run when this is called.
    pub async fn round(&self, house: &House) -> Round {
        let before = rounds(house).await;
        self.forget();
        let cpu = house.cpu_seconds();
        let pushed = self.await_round(house, before + 1).await;
        let end = Instant::now();
        self.counted(house, end, cpu, pushed)
    }

    /// The same for the first round after a start.
    pub async fn first_round(&self, house: &House) -> Round {
        self.forget();
        house.start().await;
        let pushed = self.await_round(house, 1).await;
        let end = Instant::now();
        self.counted(house, end, 0.0, pushed)
    }

    /// Gives the processor seconds at the moment of the last push.
    async fn await_round(&self, house: &House, count: u64) -> Option<f64> {
        let (mut pushes, mut cpu) = (0, None);
        let start = Instant::now();
        while rounds(house).await < count {
            assert!(start.elapsed() < PATIENCE && !house.ended(), "no round:\n{}", house.log());
            // Being asked costs the daemon something, too: it is asked often only while a round runs.
            let served = self.git.so_far(<[Served]>::len);
            tokio::time::sleep(Duration::from_millis(if served > 0 { 40 } else { 250 })).await;
            let seen = self.git.so_far(|served| served.iter().filter(|s| is_push(&s.request)).count());
            if seen > pushes {
                (pushes, cpu) = (seen, Some(house.cpu_seconds()));
            }
        }
        cpu
    }

    fn counted(&self, house: &House, end: Instant, cpu: f64, cpu_pushed: Option<f64>) -> Round {
        let (registry, git, api) = (self.registry.asked(), self.git.served(), self.api.calls());
        let start = git.iter().map(|served| served.from).min().unwrap_or(end);
        let pushed = git.iter().filter(|s| is_push(&s.request)).map(|s| s.to).max();
        Round {
            seconds: (end - start).as_secs_f64(),
            pushed: pushed.map(|at| (at - start).as_secs_f64()),
            cpu: house.cpu_seconds() - cpu,
            cpu_pushed: cpu_pushed.map(|pushed| pushed - cpu),
            registry,
            git,
            api,
        }
    }
}

fn is_push(request: &str) -> bool {
    request.starts_with("POST") && request.ends_with("/git-receive-pack")
}

/// Rounds that have ended.
pub async fn rounds(house: &House) -> u64 {
    house.status().await.map_or(0, |status| status["rounds"].as_u64().unwrap_or(0))
}

impl Round {
    /// Requests to the registry that are like this.
    pub fn asked(&self, wanted: impl Fn(&str) -> bool) -> usize {
        self.registry.iter().filter(|asked| wanted(&asked.request)).count()
    }

    /// Listings.
    pub fn listings(&self) -> usize {
        self.asked(|request| request.contains("/tags/list"))
    }

    /// Ref advertisements for reading.
    pub fn advertisements(&self) -> usize {
        self.git.iter().filter(|s| s.request.ends_with("service=git-upload-pack")).count()
    }

    /// Fetches.
    pub fn fetches(&self) -> usize {
        self.git.iter().filter(|s| s.request.starts_with("POST") && s.request.ends_with("/git-upload-pack")).count()
    }

    /// Pushes.
    pub fn pushes(&self) -> usize {
        self.git.iter().filter(|served| is_push(&served.request)).count()
    }

    /// Bytes that went between the daemon and Git.
    pub fn git_bytes(&self) -> u64 {
        self.git.iter().map(|served| served.bytes.0 + served.bytes.1).sum()
    }

    /// Calls that change something, without the lease.
    pub fn api_writes(&self) -> usize {
        self.api.iter().filter(|call| !call.starts_with("GET") && !call.contains("/leases")).count()
    }

    /// Calls that read, without watches.
    pub fn api_reads(&self) -> usize {
        self.api
            .iter()
            .filter(|call| call.starts_with("GET") && !call.contains("watch=") && !call.contains("/leases"))
            .count()
    }
}

/// The head of [`line`].
pub fn head() {
    println!(
        "{:>34} {:>9} {:>9} {:>7} {:>7} {:>6} {:>10} {:>9} {:>9} {:>9} {:>7} {:>9} {:>9}",
        "",
        "registry",
        "listings",
        "ref ad.",
        "fetches",
        "pushes",
        "API reads",
        "writes",
        "to push s",
        "seconds",
        "CPU s",
        "RSS MiB",
        "peak MiB"
    );
}

/// One round as a line. Memory is of this moment, and its peak since it was forgotten last.
pub fn line(what: &str, round: &Round, house: &House) {
    let mib = |field| house.memory_kib(field) as f64 / 1024.0;
    let pushed = round.pushed.map_or("-".to_owned(), |seconds| format!("{seconds:.2}"));
    println!(
        "{what:>34} {:>9} {:>9} {:>7} {:>7} {:>6} {:>10} {:>9} {pushed:>9} {:>9.2} {:>7.2} {:>9.1} {:>9.1}",
        round.registry.len(),
        round.listings(),
        round.advertisements(),
        round.fetches(),
        round.pushes(),
        round.api_reads(),
        round.api_writes(),
        round.seconds,
        round.cpu,
        mib("VmRSS:"),
        mib("VmHWM:"),
    );
}

/// `limit: -1`.
pub const UNLIMITED: &str = "  limit: -1\n";

/// What the machine was busy with beside, for whoever reads the times.
pub fn load() {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("(load of the machine: {})", load.split(' ').take(3).collect::<Vec<_>>().join(" "));
}
