//! Credential forms: where a registry password comes from, as people write it (image-updates.md §10, CRED-1).
//! Text in, typed value or problem out; who may use which form is decided on the typed value (CRED-3).

use std::fmt;

use crate::core::problem::{Problem, nearest};

/// Where a credential is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CredentialForm {
    /// `pullsecret:<namespace>/<name>`: a Secret of type `kubernetes.io/dockerconfigjson`.
    PullSecret {
        /// Namespace of the Secret.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// `secret:<namespace>/<name>#<field>`: a field that holds `user:password`.
    Secret {
        /// Namespace of the Secret.
        namespace: String,
        /// Its name.
        name: String,
        /// Key in its data.
        field: String,
    },
    /// `env:<VAR>`: a variable of the process that holds `user:password`.
    Env(String),
    /// `ext:/abs/path`: a program that prints `user:password`.
    Ext(String),
}

const SCHEMES: [&str; 4] = ["pullsecret", "secret", "env", "ext"];

impl CredentialForm {
    /// Reads one form. A leading `<registry>=` of old installations is accepted and ignored. The problem
    /// (`credentials-invalid`) says what is missing; it repeats the form, which names places and holds no secret.
    pub fn parse(text: &str) -> Result<CredentialForm, Problem> {
        let text = text.trim();
        let form = match text.split_once('=') {
            Some((registry, form)) if !registry.is_empty() && !form.is_empty() => form,
            Some(_) => return Err(invalid(text, "one side of the `=` is empty").hint(FORMS)),
            None => text,
        };
        let Some((scheme, place)) = form.split_once(':') else {
            return Err(invalid(text, "there is no `<kind>:` in front").hint(FORMS));
        };
        if scheme.is_empty() || place.is_empty() {
            return Err(invalid(text, "one side of the `:` is empty").hint(FORMS));
        }
        if place.contains(':') {
            return Err(invalid(text, "there is more than one `:`").hint(FORMS));
        }
        match scheme.to_ascii_lowercase().as_str() {
            "pullsecret" => {
                let (namespace, name) = secret_name(text, place, "pullsecret:<namespace>/<name>")?;
                Ok(CredentialForm::PullSecret { namespace, name })
            }
            "secret" => field_of_secret(text, place),
            "env" if place.contains(['\0', '=']) || place.contains(char::is_whitespace) => {
                Err(invalid(text, "that is no name of a variable").hint("env:<VARIABLE>"))
            }
            "env" => Ok(CredentialForm::Env(place.to_owned())),
            "ext" if !place.starts_with('/') || place.contains('\0') => {
                Err(invalid(text, "the path is not absolute").hint("ext:/path/of/the/program"))
            }
            "ext" => Ok(CredentialForm::Ext(place.to_owned())),
            other => Err(match nearest(other, SCHEMES) {
                Some(word) => invalid(text, &format!("unknown kind {other:?}")).hint(format!("did you mean {word:?}?")),
                None => invalid(text, &format!("unknown kind {other:?}")).hint(FORMS),
            }),
        }
    }

    /// The namespace of the Secret, for the forms that name one.
    pub fn namespace(&self) -> Option<&str> {
        match self {
            CredentialForm::PullSecret { namespace, .. } | CredentialForm::Secret { namespace, .. } => Some(namespace),
            CredentialForm::Env(_) | CredentialForm::Ext(_) => None,
        }
    }
}

impl fmt::Display for CredentialForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CredentialForm::PullSecret { namespace, name } => write!(f, "pullsecret:{namespace}/{name}"),
            CredentialForm::Secret { namespace, name, field } => write!(f, "secret:{namespace}/{name}#{field}"),
            CredentialForm::Env(variable) => write!(f, "env:{variable}"),
            CredentialForm::Ext(path) => write!(f, "ext:{path}"),
        }
    }
}

const FORMS: &str =
    "forms are pullsecret:<namespace>/<name>, secret:<namespace>/<name>#<field>, env:<VARIABLE>, ext:/path";

fn invalid(form: &str, why: &str) -> Problem {
    // Somebody may paste the password itself: only what begins as a form is repeated.
    let place = form.split_once('=').map_or(form, |(_, rest)| rest);
    let known = place.split_once(':').is_some_and(|(kind, _)| SCHEMES.contains(&kind.to_ascii_lowercase().as_str()));
    let shown: String = if known { form.chars().take(80).collect() } else { String::new() };
    let named = if known { format!("credential form {shown:?}") } else { "the credential form".to_owned() };
    Problem::error("credentials-invalid", format!("{named}: {why}"))
}

fn field_of_secret(text: &str, place: &str) -> Result<CredentialForm, Problem> {
    const SHAPE: &str = "secret:<namespace>/<name>#<field>";
    let Some((secret, field)) = place.split_once('#') else {
        return Err(invalid(text, "the `#<field>` is missing").hint(SHAPE));
    };
    if field.is_empty() || field.contains('#') {
        return Err(invalid(text, "exactly one `#` with a field after it is needed").hint(SHAPE));
    }
    if !field.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) {
        return Err(invalid(text, "the field is no key of a Secret").hint(SHAPE));
    }
    let (namespace, name) = secret_name(text, secret, SHAPE)?;
    Ok(CredentialForm::Secret { namespace, name, field: field.to_owned() })
}

fn secret_name(text: &str, place: &str, shape: &str) -> Result<(String, String), Problem> {
    let Some((namespace, name)) = place.split_once('/') else {
        return Err(invalid(text, "the `<namespace>/` is missing").hint(shape));
    };
    if name.contains('/') {
        return Err(invalid(text, "there is more than one `/`").hint(shape));
    }
    // The names become parts of a request path to the API server: nothing but a name may pass.
    if !is_object_name(namespace) || !is_object_name(name) {
        return Err(invalid(text, "namespace or name is no name of a Kubernetes object").hint(shape));
    }
    Ok((namespace.to_owned(), name.to_owned()))
}

/// Whether the text can be the name of a Kubernetes object (an RFC 1123 subdomain).
pub(super) fn is_object_name(text: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = text.as_bytes();
    bytes.len() <= 253
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-' || *b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cred_1_credential_grammar_vectors() {
        let accepted = [
            ("pullsecret:argocd/regcred", "pullsecret:argocd/regcred"),
            ("PullSecret:argocd/regcred", "pullsecret:argocd/regcred"),
            ("ghcr.io=pullsecret:argocd/regcred", "pullsecret:argocd/regcred"),
            ("  secret:ns/s#f ", "secret:ns/s#f"),
            ("SECRET:ns/my.secret#.dockerconfigjson", "secret:ns/my.secret#.dockerconfigjson"),
            ("env:HUB", "env:HUB"),
            ("registry:5000=env:HUB", "env:HUB"),
            ("ext:/scripts/ecr.sh", "ext:/scripts/ecr.sh"),
        ];
        for (text, form) in accepted {
            assert_eq!(CredentialForm::parse(text).map(|f| f.to_string()), Ok(form.to_owned()), "{text}");
        }
        let refused = [
            ("secret:ns/s", "#<field>"),
            ("secret:s#f", "<namespace>/"),
            ("pullsecret:s", "<namespace>/"),
            ("pullsecret:", "empty"),
            ("env:", "empty"),
            ("vault:x", "unknown kind"),
            ("secret:a:b/c#d", "more than one `:`"),
            ("secret:a/b/c#d", "more than one `/`"),
            ("secret:a/b#c#d", "exactly one `#`"),
            ("secret:a/b#", "exactly one `#`"),
            ("ext:rel/path", "not absolute"),
            ("=env:HUB", "empty"),
            ("ghcr.io=", "empty"),
            ("", "in front"),
            ("pullsecret:../x", "no name"),
            ("pullsecret:ns/a?x", "no name"),
            ("secret:Ns/a#f", "no name"),
        ];
        for (text, why) in refused {
            let problem = CredentialForm::parse(text).expect_err(text);
            assert_eq!(problem.code, "credentials-invalid", "{text}");
            assert!(problem.text.contains(why), "{text}: {}", problem.text);
        }
    }

    #[test]
    fn cred_1_the_nearest_kind_is_proposed() {
        let problem = CredentialForm::parse("pull-secret:a/b").expect_err("unknown");
        assert!(problem.hint.contains("pullsecret"), "{problem}");
    }
}
