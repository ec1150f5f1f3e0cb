//! Flags of Argo CD Image Updater, of its 0.x and 1.x lines, that have no effect here, or none yet, or another name. A
//! Deployment that was written for it starts; what it asks for in vain is said once. What must not be passed over in
//! silence ends the start: commits that were to be signed, an API that is not spoken (image-updates.md §23).

use clap::Args;

use super::{glob, go_bool};
use crate::core::image::Glob;
use crate::core::problem::Problem;

/// The flags.
#[derive(Debug, Args)]
#[command(next_help_heading = "Accepted from Argo CD Image Updater")]
pub struct UpdaterArgs {
    /// No effect: there is no warm-up, the first look decides.
    #[arg(hide_short_help = true, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, value_name = "BOOL")]
    warmup_cache: Option<bool>,
    /// No effect: ImageUpdaters are not processed one by one. 1 to 10.
    #[arg(hide_short_help = true, long, value_parser = clap::value_parser!(u8).range(1..=10), value_name = "N")]
    max_concurrent_reconciles: Option<u8>,
    /// Not supported yet: with a key the start ends, so that nothing is committed unsigned.
    #[arg(hide_short_help = true, long, value_name = "KEY")]
    git_commit_signing_key: Option<String>,
    /// openpgp or ssh; no effect without a key.
    #[arg(hide_short_help = true, long, value_name = "METHOD")]
    git_commit_signing_method: Option<String>,
    /// git or api; api is not supported yet, commits then go by git.
    #[arg(hide_short_help = true, long, value_name = "METHOD")]
    git_commit_method: Option<String>,
    /// Metrics over HTTPS for callers that may have them: not served yet. false serves plain HTTP.
    #[arg(hide_short_help = true, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, value_name = "BOOL")]
    pub metrics_secure: Option<bool>,
    /// No effect yet.
    #[arg(hide_short_help = true, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, value_name = "BOOL")]
    enable_http2: Option<bool>,
    /// Registry webhooks: not served yet.
    #[arg(hide_short_help = true, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, value_name = "BOOL")]
    enable_webhook: Option<bool>,
    /// As --enable-webhook.
    #[arg(hide_short_help = true, long, value_name = "PORT")]
    webhook_port: Option<u16>,
    /// As --enable-webhook.
    #[arg(hide_short_help = true, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, value_name = "BOOL")]
    webhook_require_secret: Option<bool>,
    /// As --enable-webhook.
    #[arg(hide_short_help = true, long, value_name = "SECRET")]
    docker_webhook_secret: Option<String>,
    /// As --enable-webhook.
    #[arg(hide_short_help = true, long, value_name = "SECRET")]
    ghcr_webhook_secret: Option<String>,
    /// As --enable-webhook.
    #[arg(hide_short_help = true, long, value_name = "SECRET")]
    quay_webhook_secret: Option<String>,
    /// As --enable-webhook.
    #[arg(hide_short_help = true, long, value_name = "SECRET")]
    harbor_webhook_secret: Option<String>,
    /// As --enable-webhook.
    #[arg(hide_short_help = true, long, value_name = "SECRET")]
    aliyun_acr_webhook_secret: Option<String>,
    /// As --enable-webhook.
    #[arg(hide_short_help = true, long, value_name = "SECRET")]
    acr_webhook_secret: Option<String>,
    /// As --enable-webhook.
    #[arg(hide_short_help = true, long, value_name = "SECRET")]
    cloudevents_webhook_secret: Option<String>,
    /// As --enable-webhook.
    #[arg(hide_short_help = true, long, value_name = "N")]
    webhook_ratelimit_allowed: Option<u32>,
    /// As --enable-webhook.
    #[arg(hide_short_help = true, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, value_name = "BOOL")]
    disable_tls: Option<bool>,
    /// As --enable-webhook.
    #[arg(hide_short_help = true, long, value_name = "VERSION")]
    tlsminversion: Option<String>,
    /// As --enable-webhook.
    #[arg(hide_short_help = true, long, value_name = "VERSION")]
    tlsmaxversion: Option<String>,
    /// As --enable-webhook.
    #[arg(hide_short_help = true, long, value_name = "LIST")]
    tlsciphers: Option<String>,
    /// 0.x: port of /healthz; 0 is off.
    #[arg(hide_short_help = true, long, value_name = "PORT")]
    pub health_port: Option<u16>,
    /// 0.x: the same as --max-concurrent-apps.
    #[arg(hide_short_help = true, long, value_parser = clap::value_parser!(u16).range(1..=100), value_name = "N")]
    pub max_concurrency: Option<u16>,
    /// 0.x: the one namespace whose Applications are watched; empty for all.
    #[arg(hide_short_help = true, long, value_name = "NS")]
    pub application_namespace: Option<String>,
    /// 0.x: only Applications whose name matches one of these globs.
    #[arg(hide_short_help = true, long, value_delimiter = ',', value_parser = glob, value_name = "GLOB")]
    pub match_application_name: Vec<Glob>,
    /// 0.x: only Applications that this label selector takes.
    #[arg(hide_short_help = true, long, value_name = "SELECTOR")]
    pub match_application_label: Option<String>,
    /// 0.x: no effect, Argo CD's API is not used.
    #[arg(hide_short_help = true, long, value_name = "ADDRESS")]
    argocd_server_addr: Option<String>,
    /// 0.x: as --argocd-server-addr.
    #[arg(hide_short_help = true, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, value_name = "BOOL")]
    argocd_grpc_web: Option<bool>,
    /// 0.x: as --argocd-server-addr.
    #[arg(hide_short_help = true, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, value_name = "BOOL")]
    argocd_insecure: Option<bool>,
    /// 0.x: as --argocd-server-addr.
    #[arg(hide_short_help = true, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, value_name = "BOOL")]
    argocd_plaintext: Option<bool>,
    /// 0.x: as --argocd-server-addr.
    #[arg(hide_short_help = true, long, value_name = "TOKEN")]
    argocd_auth_token: Option<String>,
    /// 0.x: no effect, see --applications for work without a cluster.
    #[arg(hide_short_help = true, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, value_name = "BOOL")]
    disable_kubernetes: Option<bool>,
    /// 0.x: kubernetes; argocd ends the start.
    #[arg(hide_short_help = true, long, value_name = "API")]
    applications_api: Option<String>,
}

impl UpdaterArgs {
    /// What is worth saying of them.
    ///
    /// # Errors
    /// For what must not be passed over in silence.
    pub fn remarks(&self, problems: &mut Vec<Problem>) -> Result<(), String> {
        self.refusals()?;
        let mut info = |flag: &str, text: &str| {
            problems.push(Problem::info("FlagUnused", text).in_object(format!("--{flag}")));
        };
        if self.warmup_cache.is_some() {
            info("warmup-cache", "no effect: there is no warm-up, the first look at the registries decides");
        }
        if self.max_concurrent_reconciles.is_some() {
            info("max-concurrent-reconciles", "no effect: ImageUpdaters are not processed one by one");
        }
        if self.enable_http2 == Some(true) {
            info("enable-http2", "no effect yet: metrics are served over HTTP/1.1");
        }
        if self.git_commit_signing_method.is_some() {
            info("git-commit-signing-method", "no effect without --git-commit-signing-key");
        }
        if self.names_argocd() {
            info("argocd-server-addr", "Argo CD's API is not used; what is said about it has no effect");
        }
        if self.disable_kubernetes == Some(true) {
            let text = "no effect: Applications come from the cluster";
            let problem = Problem::warning("FlagUnused", text).in_object("--disable-kubernetes");
            problems.push(problem.hint("--applications <folder> works without one"));
        }
        if self.git_commit_method.as_deref() == Some("api") {
            let text = "commits through GitHub's API are not made yet; they go by git, unsigned";
            problems.push(Problem::warning("FlagPending", text).in_object("--git-commit-method"));
        }
        if self.enable_webhook == Some(true) {
            let text = "registry webhooks are not served yet; registries are asked every --interval";
            problems.push(Problem::warning("FlagPending", text).in_object("--enable-webhook"));
        } else if self.names_webhooks() {
            let text = "no effect without --enable-webhook";
            problems.push(Problem::info("FlagUnused", text).in_object("--webhook-port"));
        }
        Ok(())
    }

    fn refusals(&self) -> Result<(), String> {
        if self.git_commit_signing_key.as_ref().is_some_and(|key| !key.is_empty()) {
            return Err(
                "--git-commit-signing-key (GIT_COMMIT_SIGNING_KEY): commits cannot be signed yet, and none is \
                        made unsigned where signed ones are asked for; remove it to commit unsigned"
                    .to_owned(),
            );
        }
        match self.git_commit_method.as_deref() {
            None | Some("git" | "api") => {}
            Some(other) => return Err(format!("--git-commit-method {other}: write git or api")),
        }
        match self.applications_api.as_deref() {
            None | Some("kubernetes") => Ok(()),
            Some("argocd") => Err("--applications-api argocd (APPLICATIONS_API): Argo CD's API is not used; use \
                                   kubernetes, and grant get, list, watch, patch on applications.argoproj.io by a Role \
                                   (deploy/kubernetes/base/role.yaml)"
                .to_owned()),
            Some(other) => Err(format!("--applications-api {other}: write kubernetes")),
        }
    }

    fn names_argocd(&self) -> bool {
        let flags = [self.argocd_grpc_web, self.argocd_insecure, self.argocd_plaintext];
        self.argocd_server_addr.is_some() || self.argocd_auth_token.is_some() || flags.contains(&Some(true))
    }

    fn names_webhooks(&self) -> bool {
        let texts = [
            &self.docker_webhook_secret,
            &self.ghcr_webhook_secret,
            &self.quay_webhook_secret,
            &self.harbor_webhook_secret,
            &self.aliyun_acr_webhook_secret,
            &self.acr_webhook_secret,
            &self.cloudevents_webhook_secret,
            &self.tlsminversion,
            &self.tlsmaxversion,
            &self.tlsciphers,
        ];
        texts.iter().any(|text| text.is_some())
            || self.webhook_port.is_some()
            || self.webhook_ratelimit_allowed.is_some()
            || self.webhook_require_secret.is_some()
            || self.disable_tls == Some(true)
    }
}
