//! Variables: each becomes the flag it stands for where the command line does not give that flag. So a flag wins over
//! its variable, the variable over the default, and one parser reads both. A variable that cannot be used gives a warning
//! and the default, where a flag would end the program (image-updates.md §23, notifications.md §21).

use std::any::TypeId;
use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::core::problem::Problem;

/// Flag and variable. Where a flag has two, the first that is set counts.
const TABLE: &[(&str, &str)] = &[
    // Argo CD Image Updater's; its Deployments fill them from the ConfigMap argocd-image-updater-config.
    ("interval", "IMAGE_UPDATER_INTERVAL"),
    ("loglevel", "IMAGE_UPDATER_LOGLEVEL"),
    ("logformat", "IMAGE_UPDATER_LOGFORMAT"),
    ("argocd-namespace", "ARGOCD_NAMESPACE"),
    ("watch-namespaces", "IMAGE_UPDATER_WATCH_NAMESPACES"),
    ("max-concurrent-apps", "MAX_CONCURRENT_APPS"),
    ("max-concurrent-reconciles", "MAX_CONCURRENT_RECONCILES"),
    ("disable-kube-events", "IMAGE_UPDATER_KUBE_EVENTS"),
    ("git-commit-user", "GIT_COMMIT_USER"),
    ("git-commit-email", "GIT_COMMIT_EMAIL"),
    ("git-commit-signing-key", "GIT_COMMIT_SIGNING_KEY"),
    ("git-commit-signing-method", "GIT_COMMIT_SIGNING_METHOD"),
    ("git-commit-sign-off", "GIT_COMMIT_SIGN_OFF"),
    ("git-commit-method", "GIT_COMMIT_METHOD"),
    ("enable-webhook", "ENABLE_WEBHOOK"),
    ("webhook-port", "WEBHOOK_PORT"),
    ("webhook-require-secret", "WEBHOOK_REQUIRE_SECRET"),
    ("webhook-ratelimit-allowed", "WEBHOOK_RATELIMIT_ALLOWED"),
    ("disable-tls", "DISABLE_TLS"),
    ("tlsminversion", "TLS_MIN_VERSION"),
    ("tlsmaxversion", "TLS_MAX_VERSION"),
    ("tlsciphers", "TLS_CIPHERS"),
    ("argocd-server-addr", "ARGOCD_SERVER"),
    ("argocd-grpc-web", "ARGOCD_GRPC_WEB"),
    ("argocd-insecure", "ARGOCD_INSECURE"),
    ("argocd-plaintext", "ARGOCD_PLAINTEXT"),
    ("argocd-auth-token", "ARGOCD_TOKEN"),
    ("applications-api", "APPLICATIONS_API"),
    // Argo CD Notifications'.
    ("loglevel", "ARGOCD_NOTIFICATIONS_CONTROLLER_LOGLEVEL"),
    ("logformat", "ARGOCD_NOTIFICATIONS_CONTROLLER_LOGFORMAT"),
    ("application-namespaces", "ARGOCD_APPLICATION_NAMESPACES"),
    ("processors-count", "ARGOCD_NOTIFICATION_CONTROLLER_PROCESSORS_COUNT"),
    ("argocd-repo-server", "ARGOCD_NOTIFICATION_CONTROLLER_REPO_SERVER"),
    ("argocd-repo-server-plaintext", "ARGOCD_NOTIFICATION_CONTROLLER_REPO_SERVER_PLAINTEXT"),
    ("argocd-repo-server-strict-tls", "ARGOCD_NOTIFICATION_CONTROLLER_REPO_SERVER_STRICT_TLS"),
    ("repo-server-ca-cert-path", "ARGOCD_NOTIFICATION_CONTROLLER_REPO_SERVER_CA_CERT_PATH"),
    ("repo-server-client-cert-path", "ARGOCD_NOTIFICATION_CONTROLLER_REPO_SERVER_CLIENT_CERT_PATH"),
    ("repo-server-client-cert-key-path", "ARGOCD_NOTIFICATION_CONTROLLER_REPO_SERVER_CLIENT_CERT_KEY_PATH"),
    ("self-service-notification-enabled", "ARGOCD_NOTIFICATION_CONTROLLER_SELF_SERVICE_NOTIFICATION_ENABLED"),
    // Own ones.
    ("images", "LYNCEUS_IMAGES"),
    ("notifications", "LYNCEUS_NOTIFICATIONS"),
    ("state-dir", "LYNCEUS_STATE_DIR"),
    ("applications", "LYNCEUS_APPLICATIONS"),
    ("root", "LYNCEUS_ROOT"),
    ("secrets", "LYNCEUS_SECRETS"),
    ("registries-conf-path", "LYNCEUS_REGISTRIES_CONF_PATH"),
    ("native-annotations", "LYNCEUS_NATIVE_ANNOTATIONS"),
    ("updater-target-namespaces", "LYNCEUS_UPDATER_TARGET_NAMESPACES"),
    ("kube-events", "LYNCEUS_KUBE_EVENTS"),
    ("allow-downgrade", "LYNCEUS_ALLOW_DOWNGRADE"),
    ("default", "LYNCEUS_DEFAULT"),
    ("git-commit-per", "LYNCEUS_GIT_COMMIT_PER"),
    ("git-batch-window", "LYNCEUS_GIT_BATCH_WINDOW"),
    ("git-cache-size", "LYNCEUS_GIT_CACHE_SIZE"),
    ("allow-local-git", "LYNCEUS_ALLOW_LOCAL_GIT"),
    ("compat-digest-only-tag", "LYNCEUS_COMPAT_DIGEST_ONLY_TAG"),
    ("registry-realm", "LYNCEUS_REGISTRY_REALM"),
    ("cross-namespace-secrets", "LYNCEUS_CROSS_NAMESPACE_SECRETS"),
    ("tenant-credential-env", "LYNCEUS_TENANT_CREDENTIAL_ENV"),
    ("tenant-credential-ext", "LYNCEUS_TENANT_CREDENTIAL_EXT"),
    ("allow-any-git-repository", "LYNCEUS_ALLOW_ANY_GIT_REPOSITORY"),
    ("commit-wait", "LYNCEUS_COMMIT_WAIT"),
    ("max-calls", "LYNCEUS_MAX_CALLS"),
    ("config-map", "LYNCEUS_CONFIG_MAP"),
    ("secret", "LYNCEUS_SECRET"),
    ("builtin-catalog", "LYNCEUS_BUILTIN_CATALOG"),
    ("standalone", "LYNCEUS_STANDALONE"),
    ("store", "LYNCEUS_STORE"),
    ("write-state-annotation", "LYNCEUS_WRITE_STATE_ANNOTATION"),
    ("daemon", "LYNCEUS_DAEMON"),
];

/// Two flags for one setting: where the command line gives one of them, the other's variable has no say.
const RIVALS: &[(&str, &str)] = &[
    ("disable-kube-events", "kube-events"),
    ("max-concurrent-apps", "max-concurrency"),
    ("watch-namespaces", "application-namespace"),
];

/// Commands whose flags these variables set; `run`'s stand before any.
const COMMANDS: &[&str] = &["plan", "explain", "check", "history", "status"];

/// The text of a variable; an empty one counts as absent.
pub fn text(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A command line with the flags that the environment adds to it, and what of the environment cannot be used. A command
/// line that is wrong by itself stays as it is.
pub fn applied(command: &mut Command, line: Vec<OsString>) -> (Vec<OsString>, Vec<Problem>) {
    let mut problems = Vec::new();
    let Ok(matches) = command.try_get_matches_from_mut(line.iter()) else { return (line, problems) };
    let Some((place, wanted)) = place(&line, &matches) else { return (line, problems) };
    let given = match matches.subcommand() {
        Some((_, own)) => own.clone(),
        None => matches,
    };
    let mut added: Vec<OsString> = Vec::new();
    for (flag, variable) in TABLE {
        let leaf = wanted.as_deref().map_or(Some(&*command), |name| command.find_subcommand(name));
        let Some(argument) = leaf.and_then(|leaf| leaf.get_arguments().find(|a| a.get_long() == Some(flag))) else {
            continue;
        };
        let prefix = format!("--{flag}=");
        let is_added = added.iter().any(|word| word.to_string_lossy().starts_with(&prefix));
        if is_added || is_given(&given, argument) || rivals(flag).any(|rival| named(&line, rival)) {
            continue;
        }
        let Some(text) = text(variable) else { continue };
        let words = match words(argument, flag, &text) {
            Ok(words) => words,
            Err(why) => {
                problems.push(unusable(variable, why));
                continue;
            }
        };
        let mut trial = line.clone();
        trial.splice(place..place, added.iter().chain(&words).cloned());
        match command.try_get_matches_from_mut(trial) {
            Ok(_) => added.extend(words),
            Err(error) => problems.push(unusable(variable, why(&error))),
        }
    }
    let mut line = line;
    line.splice(place..place, added);
    (line, problems)
}

/// Where flags of a command line go, and whose they are: the root's, or those of a command that takes variables.
fn place(line: &[OsString], matches: &ArgMatches) -> Option<(usize, Option<String>)> {
    let Some(name) = matches.subcommand_name() else { return Some((1, None)) };
    let at = line.iter().position(|word| word == name)?;
    COMMANDS.contains(&name).then(|| (at + 1, Some(name.to_owned())))
}

/// Whether the command line itself gives an argument.
pub fn is_given(matches: &ArgMatches, argument: &Arg) -> bool {
    matches.value_source(argument.get_id().as_str()) == Some(ValueSource::CommandLine)
}

fn rivals(flag: &str) -> impl Iterator<Item = &'static str> {
    let pairs = RIVALS.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]);
    pairs.filter(move |(own, _)| *own == flag).map(|(_, rival)| rival)
}

fn named(line: &[OsString], flag: &str) -> bool {
    let long = format!("--{flag}");
    line.iter().map(|word| word.to_string_lossy()).any(|word| word == long || word.starts_with(&format!("{long}=")))
}

/// The words a variable's text comes to: one flag, or one for each entry of a list.
fn words(argument: &Arg, flag: &str, text: &str) -> Result<Vec<OsString>, String> {
    if argument.get_value_parser().type_id() == TypeId::of::<bool>() {
        let lower = text.trim().to_ascii_lowercase();
        return match lower.as_str() {
            "true" | "false" => Ok(vec![format!("--{flag}={lower}").into()]),
            _ => Err(format!("`{text}` is neither true nor false")),
        };
    }
    if matches!(argument.get_action(), ArgAction::Append) {
        let entries = text.split([',', '\n']).map(str::trim).filter(|entry| !entry.is_empty());
        return Ok(entries.map(|entry| format!("--{flag}={entry}").into()).collect());
    }
    Ok(vec![format!("--{flag}={text}").into()])
}

fn unusable(variable: &str, why: String) -> Problem {
    Problem::warning("config-invalid", why).in_object(variable).hint("the default is used")
}

/// The first sentence of a parser's error.
fn why(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    first.strip_prefix("error: ").unwrap_or(first).to_owned()
}

/// The command as help shows it: with the names of variables.
pub fn shown(command: Command) -> Command {
    let with = |argument: Arg| {
        let variable = argument.get_long().and_then(|long| TABLE.iter().find(|(flag, _)| *flag == long));
        match variable {
            Some((_, variable)) => argument.env(variable).hide_env_values(true),
            None => argument,
        }
    };
    let names = COMMANDS.iter().copied().chain(["run"]);
    let command = command.mut_args(with);
    names.fold(command, |command, name| command.mut_subcommand(name, |sub| sub.mut_args(with)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_23_every_variable_names_a_flag_that_exists() {
        use clap::CommandFactory;
        let command = super::super::Cli::command();
        let own = |flag: &str| command.get_arguments().any(|a| a.get_long() == Some(flag));
        let of = |name: &str, flag: &str| {
            let sub = command.find_subcommand(name).expect("a command");
            sub.get_arguments().any(|a| a.get_long() == Some(flag))
        };
        for (flag, variable) in TABLE {
            assert!(own(flag) || COMMANDS.iter().any(|name| of(name, flag)), "{variable} names --{flag}");
        }
    }
}
