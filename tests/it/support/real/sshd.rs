//! A private `sshd` that lets one key in, as the user who runs the tests, to the repositories of one folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Repository;
use crate::support::process::{Process, listening};

/// A running `sshd`.
pub struct Sshd {
    _server: Process,
    port: u16,
    folder: tempfile::TempDir,
}

impl Sshd {
    /// Starts it with fresh host and client keys (both ed25519).
    pub async fn start() -> Sshd {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        keygen(&at("host"), "");
        keygen(&at("client"), "");
        std::fs::copy(at("client.pub"), at("authorized")).expect("the client's key");
        std::fs::create_dir(at("repositories")).expect("a folder");
        // OpenSSH insists on this folder when it runs as root.
        std::fs::create_dir_all("/run/sshd").ok();
        let (server, port) = listening("sshd", |port| {
            let config = format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {host}\nAuthorizedKeysFile {authorized}\n\
                 PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\n\
                 KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nLogLevel VERBOSE\n",
                host = at("host").display(),
                authorized = at("authorized").display(),
            );
            std::fs::write(at("config"), config).expect("the configuration");
            let program = Path::new("/usr/sbin/sshd");
            Process::start("sshd", folder.path(), program, &["-D", "-e", "-f", &at("config").display().to_string()])
        })
        .await;
        Sshd { _server: server, port, folder }
    }

    /// Makes a repository, reached by [`Sshd::url`] of the same name.
    pub fn repository(&self, name: &str) -> Repository {
        Repository::create(&self.folder.path().join("repositories"), name)
    }

    /// `ssh://user@127.0.0.1:port/…/<name>`.
    pub fn url(&self, name: &str) -> String {
        let path = self.folder.path().join("repositories").join(name);
        format!("ssh://{}@127.0.0.1:{}{}", user(), self.port, path.display())
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The private key that may log in, OpenSSH PEM.
    pub fn private_key(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("client")).expect("the key")
    }

    /// Where that key lies.
    pub fn private_key_file(&self) -> PathBuf {
        self.folder.path().join("client")
    }

    /// A `known_hosts` line for it.
    pub fn known_host(&self) -> String {
        let public = std::fs::read_to_string(self.folder.path().join("host.pub")).expect("the host key");
        let mut words = public.split(' ');
        let (kind, key) = (words.next().expect("a kind"), words.next().expect("a key"));
        format!("[127.0.0.1]:{} {kind} {key}", self.port)
    }

    /// A `known_hosts` line with another key of the same kind.
    pub fn known_host_with_other_key(&self) -> String {
        let public = std::fs::read_to_string(self.folder.path().join("client.pub")).expect("a key");
        let mut words = public.split(' ');
        let (kind, key) = (words.next().expect("a kind"), words.next().expect("a key"));
        format!("[127.0.0.1]:{} {kind} {key}", self.port)
    }
}

fn keygen(file: &Path, passphrase: &str) {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", passphrase, "-C", "test", "-f"]).arg(file);
    assert!(command.status().expect("ssh-keygen is installed").success(), "ssh-keygen fails");
}

fn user() -> String {
    let output = Command::new("id").arg("-un").output().expect("id is installed");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}
