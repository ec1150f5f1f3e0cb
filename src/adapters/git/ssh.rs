//! The ssh transport over libssh2: keys from memory, host keys checked against a file of ours and nothing else
//! (GIT-2), every step bounded in time. No agent, no password, no shell.

use super::Context;
use super::address::{Address, SshAddress};
use super::credentials::Login;
use super::error::{Error, clean};
use super::known_hosts::{KnownHosts, Verdict, fingerprint, key_type, line_for};
use super::remote::Remote;
use super::settings::Deadline;
use super::ssh_config::{HostSettings, SshConfig};
use super::wire::Service;
use crate::adapters::http;
use crate::config::secret::Secret;
use ssh2::{Channel, ErrorCode, MethodType, Session};
use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// libssh2's codes for "these credentials will not do".
const AUTHENTICATION_FAILED: i32 = -18;
const PUBLIC_KEY_UNVERIFIED: i32 = -19;
const KEY_FILE_UNREADABLE: i32 = -16;
const TIMEOUT: i32 = -9;

pub(super) struct SshWire {
    remote: String,
    session: Session,
    channel: Channel,
    service: Service,
    deadline: Deadline,
}

impl SshWire {
    /// Connects, checks the host, logs in and starts the service; the wire then gives the advertisement.
    pub(super) fn open(remote: &Remote, service: Service, context: &Context) -> Result<SshWire, Error> {
        let Address::Ssh(address) = remote.address() else {
            return Err(Error::nonsense(remote.shown(), "not an ssh remote"));
        };
        let login = Attempt { remote, address, context, host: host_settings(address, context) };
        let mut session = login.connect()?;
        login.shake_hands(&mut session)?;
        login.authenticate(&session)?;
        login.step(&session)?;
        let mut channel = session.channel_session().map_err(|e| login.broken("opening a channel", &e))?;
        let command = format!("{} {}", service.name(), quoted(&address.path));
        channel.exec(&command).map_err(|e| login.broken("starting the service", &e))?;
        Ok(SshWire { remote: remote.shown().to_owned(), session, channel, service, deadline: context.deadline })
    }

    /// Writes a request.
    pub(super) fn send(&mut self, parts: &[&[u8]]) -> Result<(), Error> {
        for part in parts {
            let mut rest = *part;
            while !rest.is_empty() {
                self.patience().map_err(|e| super::error::from_io(&self.remote, e))?;
                let written = self.channel.write(rest).map_err(|e| self.told(e))?;
                rest = &rest[written..];
            }
        }
        self.channel.flush().map_err(|e| self.told(e))
    }

    /// Says goodbye where nothing more is wanted, so that the service on the other side ends well.
    pub(super) fn farewell(mut self) {
        // It may be gone already, and then it does not matter.
        let _ =
            self.send(&[super::packet::FLUSH]).and_then(|()| self.channel.send_eof().map_err(|e| self.told(e.into())));
    }

    fn patience(&self) -> io::Result<()> {
        // A push may wait long for the remote's hooks.
        let step = match self.service {
            Service::Upload => self.deadline.step(),
            Service::Receive => self.deadline.left(),
        };
        let Some(step) = step else {
            return Err(Error::unreachable(&self.remote, "not done in time").into());
        };
        self.session.set_timeout(milliseconds(step));
        Ok(())
    }

    /// What the remote said on its error channel explains more than the broken connection.
    fn told(&mut self, error: io::Error) -> Error {
        let words = self.words();
        match (words.is_empty(), error.kind()) {
            (false, _) => denied_or_broken(&self.remote, &words),
            (true, io::ErrorKind::TimedOut) => Error::unreachable(&self.remote, "the connection fell silent"),
            (true, _) => Error::unreachable(&self.remote, "the connection broke"),
        }
    }

    fn words(&mut self) -> String {
        self.session.set_timeout(1_000);
        let mut words = [0u8; 1024];
        let got = self.channel.stderr().read(&mut words).unwrap_or(0);
        clean(&words[..got], 300)
    }
}

impl Read for SshWire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.patience()?;
        match self.channel.read(buffer) {
            Ok(0) if !buffer.is_empty() => {
                let words = self.words();
                if words.is_empty() { Ok(0) } else { Err(denied_or_broken(&self.remote, &words).into()) }
            }
            Ok(got) => Ok(got),
            Err(error) => Err(self.told(error).into()),
        }
    }
}

/// Words on the error channel come from the host's gate ("repository not found", "permission denied") or from Git
/// ("does not appear to be a git repository"); both mean that these credentials do not open this repository.
fn denied_or_broken(remote: &str, words: &str) -> Error {
    super::packet::denied(remote, words.as_bytes())
}

fn host_settings(address: &SshAddress, context: &Context) -> HostSettings {
    match fs::read_to_string(&context.settings.ssh_config) {
        Ok(text) => SshConfig::parse(&text).0.host(&address.host),
        Err(_) => HostSettings::default(),
    }
}

/// The steps up to a logged-in session.
struct Attempt<'a> {
    remote: &'a Remote,
    address: &'a SshAddress,
    context: &'a Context,
    host: HostSettings,
}

impl Attempt<'_> {
    fn host_name(&self) -> &str {
        self.host.host_name.as_deref().unwrap_or(&self.address.host)
    }

    fn port(&self) -> u16 {
        self.address.port.or(self.host.port).unwrap_or(22)
    }

    fn user(&self) -> &str {
        self.address.user.as_deref().or(self.host.user.as_deref()).unwrap_or("git")
    }

    fn connect(&self) -> Result<Session, Error> {
        let shown = self.remote.shown();
        let step = self.left()?;
        let resolving = self.context.http.resolve(self.host_name(), self.port());
        let addresses = self
            .context
            .runtime
            .block_on(async { tokio::time::timeout(step, resolving).await })
            .map_err(|_| Error::unreachable(shown, "the name was not resolved in time"))?
            .map_err(|error| match error {
                http::Error::Forbidden { address, .. } => {
                    Error::Config { remote: shown.to_owned(), text: format!("{address} is never contacted") }
                }
                error => Error::unreachable(shown, error.to_string()),
            })?;
        let mut last = None;
        for address in addresses {
            match TcpStream::connect_timeout(&address, self.left()?) {
                Ok(stream) => {
                    // Without it, small packets wait for each other.
                    let _ = stream.set_nodelay(true);
                    let mut session = Session::new().map_err(|e| self.broken("starting", &e))?;
                    session.set_tcp_stream(stream);
                    return Ok(session);
                }
                Err(error) => last = Some(error),
            }
        }
        let why = last.map_or("the name has no address".to_owned(), |e| e.to_string());
        Err(Error::unreachable(shown, format!("no connection: {why}")))
    }

    fn shake_hands(&self, session: &mut Session) -> Result<(), Error> {
        let known = match self.remote.credentials().insecure {
            true => None,
            false => Some(self.known_hosts()?),
        };
        if let Some(known) = &known {
            let wanted: Vec<&str> = known
                .types(self.host_name(), self.port())
                .into_iter()
                .map(|kind| if kind == "ssh-rsa" { "rsa-sha2-512,rsa-sha2-256" } else { kind })
                .collect();
            if !wanted.is_empty() {
                // A type this build of libssh2 does not know leaves its own order, and then the check below speaks.
                let _ = session.method_pref(MethodType::HostKey, &wanted.join(","));
            }
        }
        self.step(session)?;
        session.handshake().map_err(|e| self.broken("handshake", &e))?;
        let Some(known) = known else { return Ok(()) };
        let Some((key, _)) = session.host_key() else {
            return Err(self.host_key("the host shows no key"));
        };
        self.judge(&known, key)
    }

    fn known_hosts(&self) -> Result<KnownHosts, Error> {
        let path = &self.context.settings.known_hosts;
        match fs::read_to_string(path) {
            Ok(text) => Ok(KnownHosts::parse(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(KnownHosts::default()),
            Err(error) => Err(self.host_key(&format!("{} cannot be read: {error}", path.display()))),
        }
    }

    fn judge(&self, known: &KnownHosts, key: &[u8]) -> Result<(), Error> {
        let (host, port) = (self.host_name(), self.port());
        let shown = format!("{} {}", clean(key_type(key).as_bytes(), 60), fingerprint(key));
        let line = line_for(host, port, key);
        let place = format!("ssh_known_hosts (ConfigMap argocd-ssh-known-hosts-cm) the line `{line}`");
        match known.check(host, port, key) {
            Verdict::Known => Ok(()),
            Verdict::Unknown => Err(self
                .host_key(&format!("the host key is not known: {shown}; if that is the host's key, add to {place}"))),
            Verdict::Other(types) => Err(self.host_key(&format!(
                "the host shows {shown}, but other keys are known for it ({}); somebody may be in between. If the \
                 host's key was changed, put into {place}",
                types.join(", ")
            ))),
            Verdict::Revoked => Err(self.host_key(&format!("the host shows a revoked key: {shown}"))),
        }
    }

    /// One try per key: a host that is asked again and again locks the account.
    fn authenticate(&self, session: &Session) -> Result<(), Error> {
        let keys = self.keys()?;
        if keys.is_empty() {
            let text = "needs an ssh key and has none".to_owned();
            return Err(Error::Auth { remote: self.remote.shown().to_owned(), text });
        }
        let mut refused = None;
        for key in keys.iter().take(2) {
            self.step(session)?;
            let Ok(text) = key.expose_text() else { continue };
            match session.userauth_pubkey_memory(self.user(), None, text, None) {
                Ok(()) if session.authenticated() => return Ok(()),
                Ok(()) => refused = Some("does not accept the key".to_owned()),
                Err(error) => match error.code() {
                    ErrorCode::Session(AUTHENTICATION_FAILED | PUBLIC_KEY_UNVERIFIED) => {
                        refused = Some(format!("does not accept the key for user {}", self.user()));
                    }
                    ErrorCode::Session(KEY_FILE_UNREADABLE) => {
                        refused = Some("the ssh key cannot be used: is it whole, and without a passphrase?".to_owned());
                    }
                    _ => return Err(self.broken("logging in", &error)),
                },
            }
        }
        let text = refused.unwrap_or_else(|| "the ssh key is no text".to_owned());
        Err(Error::Auth { remote: self.remote.shown().to_owned(), text })
    }

    fn keys(&self) -> Result<Vec<Secret>, Error> {
        match &self.remote.credentials().login {
            Login::SshKey(key) => Ok(vec![key.clone()]),
            Login::Anonymous => self.host.identity_files.iter().map(|path| self.identity_file(path)).collect(),
            Login::Basic { .. } | Login::Bearer(_) => Err(Error::Config {
                remote: self.remote.shown().to_owned(),
                text: "the credentials are a password or token, but the URL is ssh".to_owned(),
            }),
        }
    }

    fn identity_file(&self, path: &str) -> Result<Secret, Error> {
        let full = match path.strip_prefix("~/") {
            // `~` is the home the configuration file itself lies in.
            Some(rest) => match self.context.settings.ssh_config.parent().and_then(|dir| dir.parent()) {
                Some(home) => home.join(rest),
                None => path.into(),
            },
            None => path.into(),
        };
        fs::read(&full).map(Secret::from).map_err(|error| Error::Config {
            remote: self.remote.shown().to_owned(),
            text: format!("IdentityFile {} cannot be read: {error}", full.display()),
        })
    }

    fn left(&self) -> Result<Duration, Error> {
        self.context.deadline.step().ok_or_else(|| Error::unreachable(self.remote.shown(), "not done in time"))
    }

    fn step(&self, session: &Session) -> Result<(), Error> {
        session.set_timeout(milliseconds(self.left()?));
        Ok(())
    }

    fn host_key(&self, text: &str) -> Error {
        Error::HostKey { remote: self.remote.shown().to_owned(), text: text.to_owned() }
    }

    fn broken(&self, doing: &str, error: &ssh2::Error) -> Error {
        let text = match error.code() {
            ErrorCode::Session(TIMEOUT) => format!("{doing}: the host fell silent"),
            _ => format!("{doing}: {}", clean(error.message().as_bytes(), 200)),
        };
        Error::unreachable(self.remote.shown(), text)
    }
}

fn milliseconds(step: Duration) -> u32 {
    u32::try_from(step.as_millis()).unwrap_or(u32::MAX).max(1)
}

/// The path as one word for the remote's shell, as Git itself writes it; `/~user` becomes `~user`.
fn quoted(path: &str) -> String {
    let path = if path.starts_with("/~") { &path[1..] } else { path };
    let mut word = String::from("'");
    for c in path.chars() {
        match c {
            '\'' | '!' => {
                word.push_str("'\\");
                word.push(c);
                word.push('\'');
            }
            c => word.push(c),
        }
    }
    word.push('\'');
    word
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_path_is_one_word_for_the_remotes_shell() {
        for (path, word) in [
            ("/srv/a.git", "'/srv/a.git'"),
            ("acme/web", "'acme/web'"),
            ("/~bot/a b", "'~bot/a b'"),
            ("/a'; touch x; '!", "'/a'\\''; touch x; '\\'''\\!''"),
        ] {
            assert_eq!(quoted(path), word);
        }
    }
}
