//! A small language for tests of the whole: the built program as a child process, with a state folder of its own. It is
//! started, killed, told to stop and started again in place; its `/status`, `/metrics` and `history` say what it did.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::process::{Process, free_port};
use super::{tls_provider, wait_for};

/// libfaketime leaves the monotonic clock alone: intervals and timeouts pass as ever.
pub const WALL_ONLY: [(&str, &str); 2] = [("FAKETIME_DONT_FAKE_MONOTONIC", "1"), ("DONT_FAKE_MONOTONIC", "1")];

/// How long anything may take before a test gives up.
const LIMIT: Duration = Duration::from_secs(60);

/// One installation of the daemon: arguments, environment, files. Dropping it kills the process.
pub struct House {
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    /// The program's path where it is started under another name; then `run` is left out.
    called: Option<PathBuf>,
    running: Mutex<Running>,
    client: reqwest::Client,
    // Last: the folder goes after the process.
    folder: tempfile::TempDir,
}

#[derive(Default)]
struct Running {
    process: Option<Process>,
    starts: u32,
    probes: u16,
    metrics: u16,
}

/// What one command printed and how it ended.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Exit status.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ran {
    /// Standard output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("no JSON ({e}): {}\n{}", self.out, self.err))
    }
}

impl House {
    /// An installation with an empty state folder, which trusts nobody and knows no host.
    pub fn new() -> House {
        tls_provider();
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["state", "tls", "ssh", "home"] {
            std::fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        let at = |name: &str| folder.path().join(name).display().to_string();
        let environment = [
            ("HOME", at("home")),
            ("XDG_CACHE_HOME", at("home")),
            ("XDG_STATE_HOME", at("home")),
            ("ARGOCD_TLS_DATA_PATH", at("tls")),
            ("ARGOCD_SSH_DATA_PATH", at("ssh")),
            ("NO_PROXY", "127.0.0.1,localhost".to_owned()),
            ("NO_COLOR", "1".to_owned()),
        ];
        let environment = environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().expect("a client");
        House { arguments: Vec::new(), environment, called: None, running: Mutex::default(), client, folder }
    }

    /// More arguments of `run`.
    pub fn with<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> House {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// One more variable of the environment.
    pub fn variable(mut self, name: &str, value: &str) -> House {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The program's clocks are libfaketime's from now on, which reads these variables.
    pub fn with_fake_clock(self, variables: &[(&str, &str)]) -> House {
        let library = std::fs::read_dir("/usr/lib").expect("a folder").flatten();
        let mut library =
            library.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1")).filter(|path| path.exists());
        let library = library.next().expect("libfaketime is installed by tests/setup").display().to_string();
        let house = self.variable("LD_PRELOAD", &library).variable("FAKETIME_NO_CACHE", "1");
        variables.iter().fold(house, |house, (name, value)| house.variable(name, value))
    }

    /// Starts the program under this name, as an old Deployment does.
    pub fn called(mut self, name: &str) -> House {
        let path = self.folder.path().join(name);
        std::os::unix::fs::symlink(PROGRAM, &path).expect("a link");
        self.called = Some(path);
        self
    }

    /// Trusts an authority (PEM) for servers on 127.0.0.1, by Argo CD's folder of certificates.
    pub fn trusting(self, pem: &str) -> House {
        self.file("tls/127.0.0.1", pem);
        self
    }

    /// Knows these SSH hosts, by Argo CD's folder.
    pub fn knowing(self, lines: &str) -> House {
        self.file("ssh/ssh_known_hosts", &format!("{lines}\n"));
        self
    }

    /// Writes a file below the installation's folder (also while it runs) and gives its path.
    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder above")).expect("a folder");
        std::fs::write(&path, content).expect("a file");
        path
    }

    /// The folder of all its files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The state folder.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Starts the daemon and waits until it is ready.
    pub async fn start(&self) {
        for attempt in 1.. {
            self.launch();
            let start = Instant::now();
            while !self.ended() {
                if self.answer("readyz").await.is_some() {
                    return;
                }
                assert!(start.elapsed() < LIMIT, "not ready within {LIMIT:?}:\n{}", self.log());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            // Its port may have been taken meanwhile; anything else stays broken.
            assert!(attempt < 4, "the daemon ended:\n{}", self.log());
        }
    }

    /// Starts the daemon and waits for nothing.
    pub fn launch(&self) {
        self.launch_under(&[]);
    }

    /// Starts the daemon; the kernel kills it where a thread of it makes the `count`th of these calls
    /// (`fdatasync,fsync`), before the call is carried out.
    pub fn launch_to_die_at(&self, calls: &str, count: u32) {
        let inject = format!("inject={calls}:signal=KILL:when={count}");
        // -D: the daemon stays this process's child, the tracer is what stands aside.
        let tracer = ["strace", "-D", "-f", "--seccomp-bpf", "-qqq", "-o", "/dev/null", "-e", &inject];
        self.launch_under(&tracer.map(str::to_owned));
    }

    /// Starts the daemon; these calls of its threads (`execve,fork`) are listed in a file, one a line.
    pub fn launch_listing(&self, calls: &str, file: &Path) {
        let (file, traced) = (file.display().to_string(), format!("trace={calls}"));
        let tracer = ["strace", "-D", "-f", "--seccomp-bpf", "-qqq", "-o", &file, "-e", &traced];
        self.launch_under(&tracer.map(str::to_owned));
    }

    /// Starts the daemon; from the `count`th time on that one thread of it writes to a file, the disk is full. Ends with
    /// [`House::free_the_disk`].
    pub fn launch_with_a_disk_of(&self, count: u32) {
        let inject = format!("inject=pwrite64:error=ENOSPC:when={count}+");
        // -I2: the tracer hears when it is told to let go.
        let tracer = ["strace", "-D", "-I2", "-f", "-qqq", "-o", "/dev/null", "-e", &inject];
        self.launch_under(&tracer.map(str::to_owned));
    }

    /// The disk has room again.
    pub fn free_the_disk(&self) {
        let id = self.running.lock().unwrap().process.as_ref().expect("it runs").id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("its status");
        let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:")).expect("a line").trim();
        assert_ne!(tracer, "0", "nobody traces it");
        let told = std::process::Command::new("kill").args(["-TERM", tracer]).status();
        assert!(told.expect("kill is installed").success());
    }

    fn launch_under(&self, wrapper: &[String]) {
        let mut running = self.running.lock().unwrap();
        assert!(running.process.as_ref().is_none_or(Process::ended), "it runs already");
        running.starts += 1;
        (running.probes, running.metrics) = (free_port(), free_port());
        let run = self.called.is_none().then(|| "run".to_owned());
        let mut arguments: Vec<String> = run.into_iter().collect();
        arguments.extend([
            format!("--state-dir={}", self.state().display()),
            format!("--health-probe-bind-address=127.0.0.1:{}", running.probes),
            format!("--metrics-bind-address=127.0.0.1:{}", running.metrics),
        ]);
        arguments.extend(self.arguments.iter().cloned());
        let environment: Vec<(&str, &str)> =
            self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let program = self.called.as_deref().unwrap_or(Path::new(PROGRAM));
        let name = format!("lynceus-{}", running.starts);
        let program = program.display().to_string();
        let mut words: Vec<String> = wrapper.iter().cloned().chain([program]).chain(arguments).collect();
        let program = words.remove(0);
        running.process =
            Some(Process::start_with(&name, self.folder.path(), Path::new(&program), &words, &environment));
    }

    /// Memory of the running daemon in KiB, as the kernel counts it: `VmRSS:` resident now, `VmHWM:` at most.
    pub fn memory_kib(&self, field: &str) -> u64 {
        let running = self.running.lock().unwrap();
        let id = running.process.as_ref().expect("it runs").id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("its status");
        let line = status.lines().find(|line| line.starts_with(field)).expect("its size");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
    }

    /// Forgets the running daemon's peak of memory: `VmHWM:` counts from now on.
    pub fn forget_peak(&self) {
        let running = self.running.lock().unwrap();
        let id = running.process.as_ref().expect("it runs").id();
        std::fs::write(format!("/proc/{id}/clear_refs"), "5").expect("the kernel forgets it");
    }

    /// Processor time the running daemon has used, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        let running = self.running.lock().unwrap();
        let Some(process) = running.process.as_ref() else { return 0.0 };
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{}/stat", process.id())) else { return 0.0 };
        // Behind the name, which may hold anything: field 3 is the first; user and system time are fields 14 and 15, in
        // hundredths of a second.
        let fields: Vec<&str> = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect()).unwrap_or_default();
        let ticks = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
        (ticks(14) + ticks(15)) / 100.0
    }

    /// Bytes the running daemon has written to disk.
    pub fn disk_writes(&self) -> u64 {
        let running = self.running.lock().unwrap();
        let id = running.process.as_ref().expect("it runs").id();
        let counts = std::fs::read_to_string(format!("/proc/{id}/io")).expect("its counters");
        let line = counts.lines().find_map(|line| line.strip_prefix("write_bytes: ")).expect("written bytes");
        line.parse().expect("a number")
    }

    /// Kills it at once (SIGKILL), if it runs.
    pub fn kill(&self) {
        if let Some(process) = self.running.lock().unwrap().process.take() {
            process.kill();
        }
    }

    /// Tells it to stop (SIGTERM), waits for its end and gives the exit status.
    pub async fn stop(&self) -> i32 {
        let id = self.running.lock().unwrap().process.as_ref().expect("it was started").id();
        let told = std::process::Command::new("kill").args(["-TERM", &id.to_string()]).status();
        assert!(told.expect("kill is installed").success(), "it has ended already:\n{}", self.log());
        self.end().await
    }

    /// Waits for its end and gives the exit status.
    pub async fn end(&self) -> i32 {
        wait_for("the daemon ends", LIMIT, || async { self.ended().then_some(()) }).await;
        let process = self.running.lock().unwrap().process.take().expect("it was started");
        process.exit_code().unwrap_or(-1)
    }

    /// Whether it does not run.
    pub fn ended(&self) -> bool {
        self.running.lock().unwrap().process.as_ref().is_none_or(Process::ended)
    }

    /// Everything it wrote since its last start.
    pub fn log(&self) -> String {
        let starts = self.running.lock().unwrap().starts;
        std::fs::read_to_string(self.folder.path().join(format!("lynceus-{starts}.log"))).unwrap_or_default()
    }

    /// Everything it wrote since its first start.
    pub fn whole_log(&self) -> String {
        let starts = self.running.lock().unwrap().starts;
        let read = |n| std::fs::read_to_string(self.folder.path().join(format!("lynceus-{n}.log"))).unwrap_or_default();
        (1..=starts).map(read).collect()
    }

    /// Those of its arguments that name what it works with, for commands that look at the same.
    pub fn arguments(&self) -> Vec<String> {
        let shared = ["--kubeconfig=", "--registries-conf-path=", "--argocd-namespace="];
        let own = self.arguments.iter().filter(|argument| shared.iter().any(|flag| argument.starts_with(flag)));
        own.cloned().collect()
    }

    /// The probes' address, for commands that ask a daemon.
    pub fn daemon(&self) -> String {
        format!("http://127.0.0.1:{}", self.running.lock().unwrap().probes)
    }

    /// A page of the probes' address, if it is answered with 200.
    pub async fn answer(&self, page: &str) -> Option<String> {
        let port = self.running.lock().unwrap().probes;
        self.page(format!("http://127.0.0.1:{port}/{page}")).await
    }

    async fn page(&self, url: String) -> Option<String> {
        let answer = self.client.get(url).send().await.ok()?;
        if answer.status() == 200 { answer.text().await.ok() } else { None }
    }

    /// `/status`; `None` while it is not served.
    pub async fn status(&self) -> Option<Value> {
        serde_json::from_str(&self.answer("status").await?).ok()
    }

    /// Waits until `/status` is as wanted, and gives it.
    pub async fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let status = self.status().await;
            match status {
                Some(status) if wanted(&status) => return status,
                status => {
                    let late = start.elapsed() > LIMIT;
                    assert!(!late && !self.ended(), "{what}: never; {status:?}\n{}", self.log());
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for `count` more rounds to end.
    pub async fn rounds(&self, count: u64) -> Value {
        let before = self.status().await.map_or(0, |status| status["rounds"].as_u64().unwrap_or(0));
        self.until("more rounds", |status| status["rounds"].as_u64().unwrap_or(0) >= before + count).await
    }

    /// `/metrics`.
    pub async fn metrics(&self) -> String {
        let port = self.running.lock().unwrap().metrics;
        self.page(format!("http://127.0.0.1:{port}/metrics")).await.expect("/metrics is served")
    }

    /// The sum of all series of a metric whose line begins with `name` (labels may be part of it).
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.metrics().await;
        let own = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        text.lines().filter(own).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Runs another command of the program in the same environment, to its end.
    pub async fn command<S: AsRef<str>>(&self, arguments: &[S]) -> Ran {
        let mut command = tokio::process::Command::new(PROGRAM);
        command.args(arguments.iter().map(AsRef::as_ref)).current_dir(self.folder.path()).kill_on_drop(true);
        command.envs(self.environment.iter().cloned()).stdin(std::process::Stdio::null());
        let output = tokio::time::timeout(LIMIT, command.output()).await;
        let output = output.expect("the command ends in time").expect("the program starts");
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// `history -o json`, oldest first; it may run beside the daemon.
    pub async fn history(&self) -> Vec<Value> {
        let state = self.state().display().to_string();
        let ran = self.command(&["history", "-o", "json", "--limit", "100000", "--state-dir", &state]).await;
        assert_eq!(ran.code, 0, "{}", ran.err);
        let mut events = ran.json().as_array().expect("a list").clone();
        events.reverse();
        events
    }

    /// Events of one kind: `committed`.
    pub async fn events(&self, kind: &str) -> Vec<Value> {
        let mut events = self.history().await;
        events.retain(|event| event["event"] == kind);
        events
    }

    /// Problems of the status with a code, as `object: text` lines.
    pub fn problems(status: &Value, code: &str) -> Vec<String> {
        let all = status["problems"].as_array().into_iter().flatten();
        let own = all.filter(|problem| problem["code"] == code);
        let word = |problem: &Value, key: &str| problem[key].as_str().unwrap_or_default().to_owned();
        own.map(|p| format!("{}: {} ({})", word(p, "object"), word(p, "text"), word(p, "hint"))).collect()
    }
}

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_lynceus");
