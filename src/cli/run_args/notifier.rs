//! Flags of Argo CD Notifications that have no effect here; each is answered by a remark at start (notifications.md §21).

use clap::Args;

use crate::core::problem::Problem;

/// The flags.
#[derive(Debug, Args)]
#[command(next_help_heading = "Accepted from Argo CD Notifications")]
pub struct NotifierArgs {
    /// No effect: commits are read from Lynceus's own mirrors.
    #[arg(hide_short_help = true, long, value_name = "ADDRESS")]
    argocd_repo_server: Option<String>,
    /// No effect, as --argocd-repo-server.
    #[arg(hide_short_help = true, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    argocd_repo_server_plaintext: Option<bool>,
    /// No effect, as --argocd-repo-server.
    #[arg(hide_short_help = true, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    argocd_repo_server_strict_tls: Option<bool>,
    /// No effect, as --argocd-repo-server.
    #[arg(hide_short_help = true, long, value_name = "FILE")]
    repo_server_ca_cert_path: Option<String>,
    /// No effect, as --argocd-repo-server.
    #[arg(hide_short_help = true, long, value_name = "FILE")]
    repo_server_client_cert_path: Option<String>,
    /// No effect, as --argocd-repo-server.
    #[arg(hide_short_help = true, long, value_name = "FILE")]
    repo_server_client_cert_key_path: Option<String>,
    /// Not followed yet: configurations in other namespaces.
    #[arg(hide_short_help = true, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    self_service_notification_enabled: Option<bool>,
}

impl NotifierArgs {
    /// What is worth saying of them.
    pub fn remarks(&self, problems: &mut Vec<Problem>) {
        let texts = [
            &self.argocd_repo_server,
            &self.repo_server_ca_cert_path,
            &self.repo_server_client_cert_path,
            &self.repo_server_client_cert_key_path,
        ];
        let flags = [self.argocd_repo_server_plaintext, self.argocd_repo_server_strict_tls];
        if texts.iter().any(|text| text.is_some()) || flags.iter().any(Option::is_some) {
            let text = "the repository server is not asked; what is said about it has no effect";
            problems.push(Problem::info("FlagUnused", text).in_object("--argocd-repo-server"));
        }
        if self.self_service_notification_enabled == Some(true) {
            let text = "configurations in other namespaces are not followed yet";
            problems.push(
                Problem::warning("SelfServicePending", text)
                    .in_object("--self-service-notification-enabled")
                    .hint("subscriptions to the triggers of the control plane's ConfigMap work in every namespace"),
            );
        }
    }
}
