//! Child processes that end with the test process, also when it is killed: `setpriv --pdeathsig` has the kernel
//! kill them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, mpsc};

/// A running program; killed when dropped.
pub struct Process {
    name: String,
    log: PathBuf,
    child: Mutex<Child>,
}

type Order = (Command, mpsc::Sender<std::io::Result<Child>>);

/// The kernel sends the death signal when the *thread* that started a child ends, and a test's thread ends with the
/// test. So one thread, which lives as long as the process, starts them all.
fn keeper() -> mpsc::Sender<Order> {
    static KEEPER: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    let keeper = KEEPER.get_or_init(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in inbox {
                answer.send(command.spawn()).ok();
            }
        });
        Mutex::new(orders)
    });
    keeper.lock().unwrap().clone()
}

impl Process {
    /// Starts `program` with `arguments`; its output goes to `<folder>/<name>.log`.
    pub fn start<S: AsRef<std::ffi::OsStr>>(name: &str, folder: &Path, program: &Path, arguments: &[S]) -> Process {
        Process::start_with(name, folder, program, arguments, &[])
    }

    /// The same, with more environment.
    pub fn start_with<S: AsRef<std::ffi::OsStr>>(
        name: &str,
        folder: &Path,
        program: &Path,
        arguments: &[S],
        environment: &[(&str, &str)],
    ) -> Process {
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log).expect("a log file");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(arguments).current_dir(folder);
        command.envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(output.try_clone().expect("a second handle")).stderr(output);
        let (answer, started) = mpsc::channel();
        keeper().send((command, answer)).expect("the keeper thread lives");
        let child = started
            .recv()
            .expect("the keeper answers")
            .unwrap_or_else(|e| panic!("{name}: {} does not start: {e}", program.display()));
        Process { name: name.to_owned(), log, child: Mutex::new(child) }
    }

    /// Panics with the end of the log if the program has ended.
    pub fn assert_running(&self) {
        let ended = self.child.lock().unwrap().try_wait().expect("the child can be asked");
        if let Some(status) = ended {
            panic!("{} ended with {status}:\n{}", self.name, self.log_end());
        }
    }

    /// Whether it has ended.
    pub fn ended(&self) -> bool {
        !matches!(self.child.lock().unwrap().try_wait(), Ok(None))
    }

    /// The exit status of a program that has ended by itself.
    pub fn exit_code(&self) -> Option<i32> {
        self.child.lock().unwrap().try_wait().ok().flatten()?.code()
    }

    /// The last lines it wrote.
    pub fn log_end(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    /// Kills it at once and waits for its end.
    pub fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        child.kill().ok();
        child.wait().ok();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A loopback port that was free a moment ago. Somebody else may take it before it is used: callers try again.
pub fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    socket.local_addr().expect("its address").port()
}

/// Whether something accepts connections on a loopback port.
pub fn answers(port: u16) -> bool {
    std::net::TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), std::time::Duration::from_millis(200)).is_ok()
}

/// Starts a server that listens on a port given to it, again on another port if it ends before it answers.
pub async fn listening(name: &str, start: impl Fn(u16) -> Process) -> (Process, u16) {
    for attempt in 1.. {
        let port = free_port();
        let process = start(port);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !answers(port) && !process.ended() {
            assert!(std::time::Instant::now() < deadline, "{name} does not listen:\n{}", process.log_end());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        if !process.ended() {
            return (process, port);
        }
        assert!(attempt < 3, "{name} ended at once:\n{}", process.log_end());
    }
    unreachable!("the loop above returns or panics")
}
