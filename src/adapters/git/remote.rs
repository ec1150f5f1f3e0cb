//! A remote repository with everything needed to reach it.

use super::address::Address;
use super::credentials::{Credentials, Login};
use crate::adapters::redact;
use crate::config::secret::Secret;
use crate::core::application::source::normalise_repo_url;
use crate::core::problem::Problem;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// A remote and the credentials for it. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Remote(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    identity: String,
    shown: String,
    address: Address,
    credentials: Credentials,
}

/// Whether repositories on this machine may be used (GIT-3): offline, or with `--allow-local-git`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalGit {
    /// `file://` and plain paths are remotes.
    Allowed,
    /// They are mistakes.
    Refused,
}

impl Remote {
    /// A remote by URL.
    ///
    /// # Errors
    /// `config-invalid` for a URL that cannot be used (GIT-3), `credential-forbidden` if it lies outside the place the
    /// credentials were stored for (TEN-3).
    pub fn new(url: &str, credentials: Credentials, local: LocalGit) -> Result<Remote, Problem> {
        let address = Address::parse(url)
            .map_err(|why| Problem::error("config-invalid", format!("{}: {why}", without_user(url))))?;
        let shown = address.shown();
        let mistake = |text: &str| Problem::error("config-invalid", format!("{shown}: {text}"));
        match &address {
            Address::Http(url) if url.scheme() == "http" && !credentials.insecure => {
                let hint = "use https, or set insecure: \"true\" in the repository's Secret";
                return Err(mistake("http is not encrypted").hint(hint));
            }
            Address::Local(_) if local == LocalGit::Refused => {
                return Err(mistake("is a path on this machine").hint("allow it with --allow-local-git"));
            }
            Address::Ssh(_) if credentials.proxy.is_some() => {
                return Err(mistake("proxies are not supported for ssh").hint("use https"));
            }
            _ => {}
        }
        if let Some(place) = &credentials.place
            && !place.holds(url)
        {
            let text = format!("{shown}: {} was stored for another place", credentials.name);
            return Err(Problem::error("credential-forbidden", text));
        }
        let identity = match &address {
            Address::Http(_) => normalise_repo_url(&shown),
            _ => normalise_repo_url(url),
        };
        let credentials = with_user_of(url, credentials);
        credentials.secrets().for_each(redact::know);
        Ok(Remote(Arc::new(Inner { identity, shown, address, credentials })))
    }

    /// One name for all spellings of the URL (GIT-1).
    pub fn identity(&self) -> &str {
        &self.0.identity
    }

    /// The URL without user information.
    pub fn shown(&self) -> &str {
        &self.0.shown
    }

    /// The credentials used.
    pub fn credentials(&self) -> &Credentials {
        &self.0.credentials
    }

    /// A number that changes when the credentials do, and tells nothing of them (GIT-10).
    pub fn access(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        self.0.credentials.name.hash(&mut hasher);
        self.0.credentials.secrets().for_each(|secret| secret.expose().hash(&mut hasher));
        hasher.finish()
    }

    pub(super) fn address(&self) -> &Address {
        &self.0.address
    }

    /// Name of the mirror: one per remote and credential identity (GIT-5), so that nobody reads what only somebody
    /// else's credentials could fetch. The credentials' name counts, not their value: a new token keeps the mirror.
    pub(super) fn mirror_id(&self) -> String {
        let digest = Sha256::new()
            .chain_update(self.0.identity.as_bytes())
            .chain_update([0])
            .chain_update(self.0.credentials.name.as_bytes())
            .finalize();
        data_encoding::HEXLOWER.encode(&digest[..16])
    }

    /// Whether `url`, where this remote redirected to, may see the credentials.
    pub(super) fn may_show_credentials_to(&self, url: &str) -> bool {
        self.0.credentials.place.as_ref().is_none_or(|place| place.holds(url))
    }

    /// Whether a server repeats a secret in `text`.
    pub(super) fn leaks(&self, text: &str) -> bool {
        let secret = match &self.0.credentials.login {
            Login::Basic { password, .. } => password,
            Login::Bearer(token) => token,
            Login::Anonymous | Login::SshKey(_) => return false,
        };
        secret.expose_text().is_ok_and(|secret| !secret.is_empty() && text.contains(secret))
    }
}

/// A user and password inside an https URL, as Argo CD's sources may have them, if there is no other login.
fn with_user_of(url: &str, mut credentials: Credentials) -> Credentials {
    if credentials.login != Login::Anonymous {
        return credentials;
    }
    if let Ok(url) = url::Url::parse(url)
        && matches!(url.scheme(), "https" | "http")
        && let Some(password) = url.password()
    {
        let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        credentials.login = Login::Basic { user: decoded(url.username()), password: Secret::new(decoded(password)) };
        credentials.place = super::address::Place::of(url.as_str());
    }
    credentials
}

/// For texts about URLs that cannot be taken apart.
fn without_user(url: &str) -> String {
    let Some((before, rest)) = url.split_once("://") else { return url.to_owned() };
    let host = rest.split('/').next().unwrap_or_default();
    match host.rsplit_once('@') {
        Some((user, _)) => format!("{before}://{}", &rest[user.len() + 1..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_3_what_is_no_remote() {
        let insecure = || Credentials { insecure: true, ..Credentials::anonymous() };
        for (url, credentials, local, code) in [
            ("http://h/a", Credentials::anonymous(), LocalGit::Refused, Some("config-invalid")),
            ("http://h/a", insecure(), LocalGit::Refused, None),
            ("/srv/a.git", Credentials::anonymous(), LocalGit::Refused, Some("config-invalid")),
            ("file:///srv/a.git", Credentials::anonymous(), LocalGit::Refused, Some("config-invalid")),
            ("/srv/a.git", Credentials::anonymous(), LocalGit::Allowed, None),
            ("git://h/a", Credentials::anonymous(), LocalGit::Allowed, Some("config-invalid")),
        ] {
            let found = Remote::new(url, credentials, local).err().map(|problem| problem.code);
            assert_eq!(found, code, "{url} {local:?}");
        }
    }

    #[test]
    fn ten_3_credentials_stay_in_their_place() {
        let fields = [("url", "https://git.example/acme"), ("password", "hunter2")];
        let fields = fields.iter().map(|(k, v)| ((*k).to_owned(), v.as_bytes().to_vec())).collect();
        for (url, code) in [
            ("https://git.example/acme/web", None),
            ("https://git.example/other/web", Some("credential-forbidden")),
            ("https://evil.example/acme/web", Some("credential-forbidden")),
            ("https://git.example:444/acme/web", Some("credential-forbidden")),
        ] {
            let credentials = Credentials::from_secret("s", &fields, url).unwrap();
            let found = Remote::new(url, credentials, LocalGit::Refused).err().map(|problem| problem.code);
            assert_eq!(found, code, "{url}");
        }
    }

    #[test]
    fn inv_6_a_password_in_the_url_is_used_and_never_shown() {
        let remote = Remote::new("https://bot:hunter2@h/a", Credentials::anonymous(), LocalGit::Refused).unwrap();
        assert!(matches!(&remote.credentials().login, Login::Basic { user, .. } if user == "bot"));
        assert_eq!(remote.shown(), "https://h/a");
        assert!(!format!("{remote:?}").contains("hunter2"));
        let error = Remote::new("weird://bot:hunter2@h/a", Credentials::anonymous(), LocalGit::Refused).unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
    }

    #[test]
    fn git_5_one_mirror_per_remote_and_credential_identity() {
        let remote = |url: &str, name: &str| {
            let credentials = Credentials { name: name.into(), ..Credentials::anonymous() };
            Remote::new(url, credentials, LocalGit::Refused).unwrap().mirror_id()
        };
        assert_eq!(remote("https://h/a", "Secret x/y"), remote("https://h/a", "Secret x/y"));
        assert_ne!(remote("https://h/a", "Secret x/y"), remote("https://h/a", "Secret x/z"));
        assert_ne!(remote("https://h/a", ""), remote("https://h/b", ""));
    }
}
