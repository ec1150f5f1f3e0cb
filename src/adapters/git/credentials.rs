//! Who we are to a remote: Argo CD's repository Secrets and Secrets of one's own, read into a typed value that is
//! bound to the place it was stored for (image-updates.md §17 table, TEN-3).

use crate::adapters::http::{ClientIdentity, Proxy, Trust};
use crate::config::secret::Secret;
use crate::core::application::source::normalise_repo_url;
use crate::core::problem::Problem;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::address::Place;

/// Fields of a Kubernetes Secret.
pub type Fields = BTreeMap<String, Vec<u8>>;

/// The fields of a Secret as it was read.
pub fn fields(entries: &BTreeMap<String, Secret>) -> Fields {
    entries.iter().map(|(key, value)| (key.clone(), value.expose().to_vec())).collect()
}

/// Credentials and what goes with them on the way to one remote.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// Where they come from, for people and for the mirror's identity: `Secret argocd/repo-web`. Empty for none.
    pub name: String,
    /// How to log in.
    pub login: Login,
    /// TLS client certificate.
    pub identity: Option<ClientIdentity>,
    /// Proxy instead of the environment's.
    pub proxy: Option<Proxy>,
    /// `insecure` or `insecureIgnoreHostKey`: neither certificates nor host keys are verified; http is allowed.
    pub insecure: bool,
    /// Where they may be shown; `None` anywhere, which is right only for [`Credentials::anonymous`].
    pub(super) place: Option<Place>,
}

/// How to log in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Login {
    /// Not at all.
    #[default]
    Anonymous,
    /// User and password or token. The user may be empty.
    Basic {
        /// User.
        user: String,
        /// Password or token.
        password: Secret,
    },
    /// `Authorization: Bearer`.
    Bearer(Secret),
    /// A private key in PEM or OpenSSH form, without passphrase.
    SshKey(Secret),
}

/// One Secret with the label `argocd.argoproj.io/secret-type`.
#[derive(Clone, Debug)]
pub struct RepositorySecret {
    /// `Secret argocd/repo-web`.
    pub name: String,
    /// The label's value.
    pub kind: SecretKind,
    /// The Secret's fields.
    pub fields: Fields,
}

/// The label's values that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretKind {
    /// `repository`
    Repository,
    /// `repo-creds`
    RepoCreds,
}

/// Fields that are credentials, so that a repository that has one inherits none.
const CREDENTIAL_FIELDS: [&str; 9] = [
    "username",
    "password",
    "bearerToken",
    "sshPrivateKey",
    "tlsClientCertData",
    "tlsClientCertKey",
    "githubAppPrivateKey",
    "gcpServiceAccountKey",
    "useAzureWorkloadIdentity",
];

/// Ways to log in that are known but not done yet.
const LATER: [(&str, &str); 3] = [
    ("githubAppPrivateKey", "GitHub App credentials"),
    ("gcpServiceAccountKey", "Google service accounts"),
    ("useAzureWorkloadIdentity", "Azure workload identity"),
];

impl Credentials {
    /// Every value that must not be seen.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let login = match &self.login {
            Login::Basic { password: secret, .. } | Login::Bearer(secret) | Login::SshKey(secret) => Some(secret),
            Login::Anonymous => None,
        };
        let proxy = match &self.proxy {
            Some(Proxy::Through { url, .. }) => Some(url),
            _ => None,
        };
        login.into_iter().chain(self.identity.as_ref().map(|identity| &identity.key)).chain(proxy)
    }

    /// None: for local repositories and explicitly anonymous ones.
    pub fn anonymous() -> Credentials {
        Credentials::default()
    }

    /// Reads the fields of one Secret. They are bound to the Secret's own `url`, or to `url` if it has none
    /// (`git:secret:` Secrets).
    ///
    /// # Errors
    /// `credentials-invalid`, naming the field.
    pub fn from_secret(name: &str, fields: &Fields, url: &str) -> Result<Credentials, Problem> {
        let read = Reader { name, fields };
        let bound = read.text("url")?.filter(|own| !own.is_empty()).unwrap_or(url);
        let Some(place) = Place::of(bound) else {
            return Err(read.problem("url", "is no Git URL"));
        };
        if let Some((field, what)) = LATER.iter().find(|(field, _)| read.present(field)) {
            return Err(read.problem(field, format!("{what} are not supported yet")));
        }
        Ok(Credentials {
            name: name.to_owned(),
            login: read.login()?,
            identity: read.identity()?,
            proxy: read.proxy()?,
            insecure: read.flag("insecure")? || read.flag("insecureIgnoreHostKey")?,
            place: Some(place),
        })
    }

    /// Argo CD's own credentials for `url`: the `repository` Secret of the project, else one of no project; what it
    /// lacks comes from the `repo-creds` Secret with the longest matching URL. `None` if no Secret speaks of it.
    ///
    /// # Errors
    /// `credentials-invalid`.
    pub fn of_argocd(url: &str, project: &str, secrets: &[RepositorySecret]) -> Result<Option<Credentials>, Problem> {
        let wanted = normalise_repo_url(url);
        let own = |scope: &str| {
            secrets.iter().find(|secret| {
                secret.kind == SecretKind::Repository
                    && field(&secret.fields, "project") == scope
                    && !matches!(field(&secret.fields, "type"), "helm" | "oci")
                    && normalise_repo_url(field(&secret.fields, "url")) == wanted
            })
        };
        let scoped = if project.is_empty() { None } else { own(project) };
        let repository = scoped.or_else(|| own(""));
        let template = secrets
            .iter()
            .filter(|secret| secret.kind == SecretKind::RepoCreds)
            .filter(|secret| !matches!(field(&secret.fields, "type"), "helm" | "oci"))
            .filter(|secret| Place::of(field(&secret.fields, "url")).is_some_and(|place| place.holds(url)))
            .max_by_key(|secret| normalise_repo_url(field(&secret.fields, "url")).len());
        match (repository, template) {
            (None, None) => Ok(None),
            (None, Some(template)) => Credentials::from_secret(&template.name, &template.fields, url).map(Some),
            (Some(repository), Some(template)) if !has_credentials(&repository.fields) => {
                let mut fields = template.fields.clone();
                fields.extend(
                    repository.fields.iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| (k.clone(), v.clone())),
                );
                let name = format!("{} with {}", repository.name, template.name);
                Credentials::from_secret(&name, &fields, url).map(Some)
            }
            (Some(repository), _) => Credentials::from_secret(&repository.name, &repository.fields, url).map(Some),
        }
    }

    /// What must stay visible as long as these credentials are used (GIT-2).
    pub fn notices(&self) -> Vec<Problem> {
        let text = "certificates and host keys of this repository are not verified";
        match self.insecure {
            true => vec![Problem::warning("config-invalid", text).in_object(&self.name).at_key("insecure")],
            false => Vec::new(),
        }
    }

    pub(super) fn trust(&self) -> Trust {
        Trust {
            insecure: self.insecure,
            identity: self.identity.clone(),
            proxy: self.proxy.clone().unwrap_or_default(),
            ..Trust::default()
        }
    }
}

fn field<'f>(fields: &'f Fields, name: &str) -> &'f str {
    fields.get(name).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or("").trim()
}

fn has_credentials(fields: &Fields) -> bool {
    CREDENTIAL_FIELDS.iter().any(|name| fields.get(*name).is_some_and(|value| !value.is_empty()))
}

struct Reader<'s> {
    name: &'s str,
    fields: &'s Fields,
}

impl Reader<'_> {
    fn problem(&self, field: &str, text: impl Into<String>) -> Problem {
        Problem::error("credentials-invalid", text).in_object(self.name).at_key(field)
    }

    fn present(&self, name: &str) -> bool {
        self.fields.get(name).is_some_and(|value| !value.is_empty())
    }

    fn text(&self, name: &str) -> Result<Option<&str>, Problem> {
        match self.fields.get(name).map(|bytes| std::str::from_utf8(bytes)) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text.trim())),
            Some(Err(_)) => Err(self.problem(name, "is no UTF-8 text")),
        }
    }

    fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.text(name)?.unwrap_or("") {
            "" | "false" => Ok(false),
            "true" => Ok(true),
            _ => Err(self.problem(name, "is neither true nor false")),
        }
    }

    fn login(&self) -> Result<Login, Problem> {
        if self.present("sshPrivateKey") {
            let key = self.text("sshPrivateKey")?.unwrap_or_default();
            if !key.starts_with("-----BEGIN ") {
                return Err(self.problem("sshPrivateKey", "is no private key in PEM or OpenSSH form"));
            }
            // OpenSSH keys end with a line feed; Secrets made by hand often lack it, and libssh2 minds.
            return Ok(Login::SshKey(Secret::new(format!("{key}\n"))));
        }
        if self.present("bearerToken") {
            let token = self.text("bearerToken")?.unwrap_or_default();
            return Ok(Login::Bearer(Secret::new(token.to_owned())));
        }
        let (user, password) = (self.text("username")?.unwrap_or_default(), self.text("password")?.unwrap_or_default());
        if user.is_empty() && password.is_empty() {
            return Ok(Login::Anonymous);
        }
        Ok(Login::Basic { user: user.to_owned(), password: Secret::new(password.to_owned()) })
    }

    fn identity(&self) -> Result<Option<ClientIdentity>, Problem> {
        match (self.present("tlsClientCertData"), self.present("tlsClientCertKey")) {
            (false, false) => Ok(None),
            (true, true) => Ok(Some(ClientIdentity {
                certificate: Arc::from(self.text("tlsClientCertData")?.unwrap_or_default()),
                key: Secret::new(self.text("tlsClientCertKey")?.unwrap_or_default().to_owned()),
            })),
            (true, false) => Err(self.problem("tlsClientCertKey", "is missing beside tlsClientCertData")),
            (false, true) => Err(self.problem("tlsClientCertData", "is missing beside tlsClientCertKey")),
        }
    }

    fn proxy(&self) -> Result<Option<Proxy>, Problem> {
        let Some(url) = self.text("proxy")?.filter(|url| !url.is_empty()) else { return Ok(None) };
        let no_proxy = self.text("noProxy")?.unwrap_or_default().to_owned();
        Ok(Some(Proxy::Through { url: Secret::new(url.to_owned()), no_proxy }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), v.as_bytes().to_vec())).collect()
    }

    fn secret(name: &str, kind: SecretKind, pairs: &[(&str, &str)]) -> RepositorySecret {
        RepositorySecret { name: name.to_owned(), kind, fields: fields(pairs) }
    }

    fn user(credentials: &Credentials) -> &str {
        match &credentials.login {
            Login::Basic { user, .. } => user,
            _ => "",
        }
    }

    const URL: &str = "https://git.example/acme/web.git";

    #[test]
    fn git_credentials_every_field_is_read() {
        let basic = Credentials::from_secret("s", &fields(&[("username", "bot"), ("password", "p")]), URL).unwrap();
        assert_eq!(basic.login, Login::Basic { user: "bot".into(), password: Secret::new("p") });
        let token = Credentials::from_secret("s", &fields(&[("bearerToken", "t\n")]), URL).unwrap();
        assert_eq!(token.login, Login::Bearer(Secret::new("t")));
        let key =
            fields(&[("sshPrivateKey", "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n-----END OPENSSH PRIVATE KEY-----")]);
        let key = Credentials::from_secret("s", &key, "git@git.example:acme/web").unwrap();
        assert!(matches!(key.login, Login::SshKey(_)));
        let all = fields(&[("insecure", "true"), ("proxy", "http://u:p@proxy:1"), ("noProxy", "a,b")]);
        let all = Credentials::from_secret("s", &all, URL).unwrap();
        assert!(all.insecure && all.notices().len() == 1 && matches!(all.proxy, Some(Proxy::Through { .. })));
        assert!(!format!("{all:?}").contains("u:p"));
        assert!(basic.notices().is_empty());
    }

    #[test]
    fn git_credentials_mistakes_name_the_field() {
        for (pairs, key) in [
            (&[("insecure", "yes")][..], "insecure"),
            (&[("sshPrivateKey", "ssh-ed25519 AAAA")], "sshPrivateKey"),
            (&[("tlsClientCertData", "x")], "tlsClientCertKey"),
            (&[("tlsClientCertKey", "x")], "tlsClientCertData"),
            (&[("githubAppPrivateKey", "x")], "githubAppPrivateKey"),
            (&[("url", "not a url")], "url"),
        ] {
            let problem = Credentials::from_secret("Secret a/b", &fields(pairs), URL).unwrap_err();
            assert_eq!((problem.code, problem.key.as_str()), ("credentials-invalid", key));
        }
    }

    #[test]
    fn hlp_01_git_credentials_argocd_project_first_then_unscoped_then_longest_prefix() {
        use SecretKind::{RepoCreds, Repository};
        let secrets = [
            secret("short", RepoCreds, &[("url", "https://git.example"), ("username", "short"), ("password", "x")]),
            secret("long", RepoCreds, &[("url", "https://git.example/acme/"), ("username", "long"), ("password", "x")]),
            secret("evil", RepoCreds, &[("url", "https://git.example/ac"), ("username", "evil"), ("password", "x")]),
            secret("helm", Repository, &[("url", URL), ("type", "helm"), ("username", "helm")]),
            secret(
                "any",
                Repository,
                &[("url", "https://git.example/acme/WEB"), ("username", "any"), ("password", "x")],
            ),
            secret("red", Repository, &[("url", URL), ("project", "red"), ("username", "red"), ("password", "x")]),
            secret("bare", Repository, &[("url", "https://git.example/acme/bare"), ("insecure", "true")]),
        ];
        for (url, project, name, expected) in [
            (URL, "red", "red", "red"),
            (URL, "blue", "any", "any"),
            (URL, "", "any", "any"),
            ("https://git.example/acme/other", "red", "long", "long"),
            ("https://git.example/acmetoo/x", "red", "short", "short"),
            ("https://git.example/acme/bare", "red", "bare with long", "long"),
        ] {
            let found = Credentials::of_argocd(url, project, &secrets).unwrap().unwrap();
            assert_eq!((found.name.as_str(), user(&found)), (name, expected), "{url} {project}");
        }
        assert!(Credentials::of_argocd("https://else.example/acme/web", "red", &secrets).unwrap().is_none());
        assert!(Credentials::of_argocd("http://git.example/acme/other", "red", &secrets).unwrap().is_none());
        let bare = Credentials::of_argocd("https://git.example/acme/bare", "", &secrets).unwrap().unwrap();
        assert!(bare.insecure);
    }
}
