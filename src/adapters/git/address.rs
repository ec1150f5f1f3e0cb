//! Where a remote is: the URL forms Git knows, which of them are allowed (GIT-3), and whether one lies inside the
//! place credentials were stored for (TEN-3).

use std::path::PathBuf;
use url::Url;

/// A Git URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// `https://` or `http://`, without user information.
    Http(Url),
    /// `ssh://` or `user@host:path`.
    Ssh(SshAddress),
    /// `file://` or a path.
    Local(PathBuf),
}

/// The parts of an ssh URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SshAddress {
    pub(super) user: Option<String>,
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// As the remote's shell gets it: absolute for `ssh://`, relative to the home for the short form.
    pub(super) path: String,
}

impl Address {
    /// Takes a URL apart; the text says why it cannot be used.
    pub(super) fn parse(url: &str) -> Result<Address, String> {
        let url = url.trim();
        if url.is_empty() || url.chars().any(char::is_control) {
            return Err("is empty or holds control characters".into());
        }
        let Some((scheme, rest)) = url.split_once("://") else {
            return Ok(scp(url).map_or_else(|| Address::Local(PathBuf::from(url)), Address::Ssh));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "https" | "http" => {
                let mut url = Url::parse(url).map_err(|e| e.to_string())?;
                // Neither can fail for http: it has a host.
                let _ = (url.set_username(""), url.set_password(None));
                url.set_query(None);
                url.set_fragment(None);
                Ok(Address::Http(url))
            }
            "ssh" | "git+ssh" | "ssh+git" => {
                let url = Url::parse(&format!("ssh://{rest}")).map_err(|e| e.to_string())?;
                let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
                let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
                let user = Some(decoded(url.username())).filter(|user| !user.is_empty());
                ssh(user, host, url.port(), decoded(url.path()))
            }
            "file" => {
                let url = Url::parse(url).map_err(|e| e.to_string())?;
                url.to_file_path().map(Address::Local).map_err(|()| "is no path on this machine".into())
            }
            other => Err(format!("the scheme {other:?} is not supported; use https or ssh")),
        }
    }

    /// For people: no user information.
    pub(super) fn shown(&self) -> String {
        match self {
            Address::Http(url) => url.to_string(),
            Address::Ssh(ssh) => {
                let port = ssh.port.map(|port| format!(":{port}")).unwrap_or_default();
                let slash = if ssh.path.starts_with('/') { "" } else { "/" };
                format!("ssh://{}{port}{slash}{}", ssh.host, ssh.path)
            }
            Address::Local(path) => path.display().to_string(),
        }
    }
}

/// `[user@]host:path`, unless a slash comes before the colon.
fn scp(url: &str) -> Option<SshAddress> {
    let start = if url.contains('[') { url.find(']')? } else { 0 };
    let colon = start + url[start..].find(':')?;
    let (who, path) = (&url[..colon], &url[colon + 1..]);
    if who.contains('/') || who.is_empty() {
        return None;
    }
    let (user, host) = match who.rsplit_once('@') {
        Some((user, host)) => (Some(user.to_owned()), host),
        None => (None, who),
    };
    match ssh(user, host.trim_matches(['[', ']']).to_owned(), None, path.to_owned()) {
        Ok(Address::Ssh(ssh)) => Some(ssh),
        _ => None,
    }
}

/// A leading dash is refused although nothing here builds a command line of it: other programs read the same URL.
fn ssh(user: Option<String>, host: String, port: Option<u16>, path: String) -> Result<Address, String> {
    let odd = |text: &str| text.starts_with('-') || text.chars().any(char::is_control);
    if host.is_empty() || odd(&host) || user.as_deref().is_some_and(odd) || odd(&path) || path.starts_with(':') {
        return Err("host, user or path is empty or begins with a dash or colon".into());
    }
    if path.trim_matches('/').is_empty() {
        return Err("names no repository on the host".into());
    }
    Ok(Address::Ssh(SshAddress { user, host, port, path }))
}

/// Scheme, host, port and path prefix credentials are bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    scheme: &'static str,
    host: String,
    port: u16,
    path: Vec<String>,
}

impl Place {
    /// The place a URL names; `None` if it is no Git URL, or a path on this machine.
    pub(super) fn of(url: &str) -> Option<Place> {
        let whole =
            Address::parse(url).ok().filter(|address| !matches!(address, Address::Local(path) if path.is_relative()));
        match whole.or_else(|| host_only(url))? {
            Address::Http(url) => {
                let scheme = if url.scheme() == "https" { "https" } else { "http" };
                let host = url.host_str()?.to_ascii_lowercase();
                Some(Place { scheme, host, port: url.port_or_known_default()?, path: segments(url.path()) })
            }
            Address::Ssh(ssh) => Some(Place {
                scheme: "ssh",
                host: ssh.host.to_ascii_lowercase(),
                port: ssh.port.unwrap_or(22),
                path: segments(&ssh.path),
            }),
            Address::Local(path) => Some(Place {
                scheme: "file",
                host: String::new(),
                port: 0,
                path: segments(&path.display().to_string()),
            }),
        }
    }

    /// Whether `url` lies inside. Path parts are compared whole: what was stored for `/acme` is not for `/acme-evil`.
    pub(super) fn holds(&self, url: &str) -> bool {
        Place::of(url).is_some_and(|other| {
            (self.scheme, &self.host, self.port) == (other.scheme, &other.host, other.port)
                && other.path.starts_with(&self.path)
        })
    }
}

/// `ssh://git@host` and `git@host:` name no repository but are good prefixes.
fn host_only(url: &str) -> Option<Address> {
    let url = url.trim();
    match url.strip_suffix(':') {
        Some(short) if !short.contains(['/', ':']) => Address::parse(&format!("ssh://{short}/-")).ok(),
        _ if url.starts_with("ssh://") => Address::parse(&format!("{}/-", url.trim_end_matches('/'))).ok(),
        _ => None,
    }
    .map(|address| match address {
        Address::Ssh(ssh) => Address::Ssh(SshAddress { path: String::new(), ..ssh }),
        other => other,
    })
}

/// Path parts as Argo CD compares them: lower case, without the last one's `.git`.
fn segments(path: &str) -> Vec<String> {
    let mut parts: Vec<String> =
        path.split('/').filter(|part| !part.is_empty()).map(|part| part.to_ascii_lowercase()).collect();
    if let Some(last) = parts.last_mut()
        && let Some(bare) = last.strip_suffix(".git")
    {
        *last = bare.to_owned();
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(url: &str) -> String {
        match Address::parse(url) {
            Ok(Address::Http(url)) => format!("http {url}"),
            Ok(Address::Ssh(s)) => {
                format!("ssh {} {} {} {}", s.user.unwrap_or("-".into()), s.host, s.port.unwrap_or(22), s.path)
            }
            Ok(Address::Local(path)) => format!("local {}", path.display()),
            Err(_) => "error".into(),
        }
    }

    #[test]
    fn git_3_url_forms() {
        for (url, parsed) in [
            ("https://git.example/a/b.git", "http https://git.example/a/b.git"),
            ("https://user:pw@git.example:8443/a/b?x#y", "http https://git.example:8443/a/b"),
            ("HTTPS://Git.Example/a", "http https://git.example/a"),
            ("http://git.example/a", "http http://git.example/a"),
            ("git@github.com:acme/web.git", "ssh git github.com 22 acme/web.git"),
            ("github.com:acme/web", "ssh - github.com 22 acme/web"),
            ("git@[::1]:a/b", "ssh git ::1 22 a/b"),
            ("ssh://git@host.example:2222/a/b", "ssh git host.example 2222 /a/b"),
            ("ssh://host.example/~bot/b", "ssh - host.example 22 /~bot/b"),
            ("ssh://git@[::1]:22/a", "ssh git ::1 22 /a"),
            ("git+ssh://git@h/a", "ssh git h 22 /a"),
            ("file:///srv/git/a.git", "local /srv/git/a.git"),
            ("/srv/git/a:b.git", "local /srv/git/a:b.git"),
            ("./a.git", "local ./a.git"),
            ("git://git.example/a", "error"),
            ("ext::sh -c touch% /tmp/x", "local ext::sh -c touch% /tmp/x"),
            ("ftp://x/y", "error"),
            ("ssh://-oProxyCommand=x/a", "error"),
            ("ssh://git@host/", "error"),
            ("https://", "error"),
            ("a\nb", "error"),
            ("", "error"),
        ] {
            assert_eq!(short(url), parsed, "{url}");
        }
    }

    #[test]
    fn ten_3_places() {
        for (place, url, held) in [
            ("https://git.example", "https://git.example/a/b", true),
            ("https://git.example/a", "https://git.example/a/b.git", true),
            ("https://git.example/a/", "https://git.example/A/b", true),
            ("https://git.example/a/b.git", "https://git.example/a/b", true),
            ("https://git.example/a", "https://git.example/ab/c", false),
            ("https://git.example/a", "http://git.example/a/b", false),
            ("https://git.example/a", "https://git.example:8443/a/b", false),
            ("https://git.example:443/a", "https://git.example/a/b", true),
            ("https://git.example/a", "https://git.example.evil/a/b", false),
            ("https://git.example/a", "https://git.example@evil.example/a/b", false),
            ("https://git.example/a", "https://evil.example/https://git.example/a/b", false),
            ("https://git.example/a", "ssh://git.example/a/b", false),
            ("https://git.example/a", "https://git.example/a/../b/c", false),
            ("git@git.example:a", "ssh://git@git.example/a/b", true),
            ("git@git.example:", "git@git.example:a/b", true),
            ("ssh://git@git.example", "git@git.example:a/b", true),
            ("ssh://git@git.example:2222/a", "git@git.example:a/b", false),
        ] {
            assert_eq!(Place::of(place).unwrap().holds(url), held, "{place} {url}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_an_address_or_none_and_holds_itself(text in "[a-z:/@.\\[\\]#?~%-]{0,30}|\\PC{0,20}") {
            let _ = Address::parse(&text).map(|address| address.shown());
            if let Some(place) = Place::of(&text) {
                proptest::prop_assert!(place.holds(&text), "{text}");
            }
        }
    }
}
