//! kubectl's connection flags, which the Deployments of Argo CD Notifications may carry (notifications.md §21).

use std::path::PathBuf;

use clap::Args;

use crate::config::secret::Secret;
use crate::config::settings::ClusterAccess;

/// How the API server is reached, where it is not the kubeconfig's or the pod's own way.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Kubernetes client, as kubectl")]
pub struct KubectlArgs {
    /// Context of the kubeconfig.
    #[arg(hide_short_help = true, long, value_name = "NAME")]
    context: Option<String>,
    /// Cluster of the kubeconfig.
    #[arg(hide_short_help = true, long, value_name = "NAME")]
    cluster: Option<String>,
    /// User of the kubeconfig.
    #[arg(hide_short_help = true, long, value_name = "NAME")]
    user: Option<String>,
    /// Address of the API server.
    #[arg(hide_short_help = true, long, value_name = "URL")]
    server: Option<String>,
    /// Bearer token.
    #[arg(hide_short_help = true, long, value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// File of the API server's authority (PEM).
    #[arg(hide_short_help = true, long, value_name = "FILE")]
    certificate_authority: Option<PathBuf>,
    /// File of the client certificate (PEM).
    #[arg(hide_short_help = true, long, value_name = "FILE")]
    client_certificate: Option<String>,
    /// File of the client certificate's key (PEM).
    #[arg(hide_short_help = true, long, value_name = "FILE")]
    client_key: Option<String>,
    /// Do not verify the API server's certificate.
    #[arg(hide_short_help = true, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    insecure_skip_tls_verify: Option<bool>,
    /// Name that the API server's certificate must carry.
    #[arg(hide_short_help = true, long, value_name = "NAME")]
    tls_server_name: Option<String>,
    /// Act as this user.
    #[arg(hide_short_help = true, long = "as", value_name = "USER")]
    impersonate: Option<String>,
    /// Act as a member of this group; repeatable.
    #[arg(hide_short_help = true, long = "as-group", value_name = "GROUP")]
    impersonate_groups: Vec<String>,
    /// Act as this UID.
    #[arg(hide_short_help = true, long = "as-uid", value_name = "UID")]
    impersonate_uid: Option<String>,
    /// User for basic authentication.
    #[arg(hide_short_help = true, long, value_name = "USER")]
    username: Option<String>,
    /// Password for basic authentication.
    #[arg(hide_short_help = true, long, value_name = "PASSWORD")]
    password: Option<String>,
    /// Proxy on the way to the API server.
    #[arg(hide_short_help = true, long, value_name = "URL")]
    proxy_url: Option<String>,
    /// Accepted: every request has a deadline of its own.
    #[arg(hide_short_help = true, long, value_name = "DURATION")]
    request_timeout: Option<String>,
    /// Do not ask for compressed answers.
    #[arg(hide_short_help = true, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    disable_compression: Option<bool>,
}

impl KubectlArgs {
    /// As settings.
    pub fn access(&self) -> ClusterAccess {
        let secret = |text: &Option<String>| text.as_ref().map(|text| Secret::new(text.as_bytes().to_vec()));
        ClusterAccess {
            context: self.context.clone(),
            cluster: self.cluster.clone(),
            user: self.user.clone(),
            server: self.server.clone(),
            token: secret(&self.token),
            certificate_authority: self.certificate_authority.clone(),
            client_certificate: self.client_certificate.clone(),
            client_key: self.client_key.clone(),
            insecure: self.insecure_skip_tls_verify.unwrap_or(false),
            tls_server_name: self.tls_server_name.clone(),
            impersonate: self.impersonate.clone(),
            impersonate_groups: self.impersonate_groups.clone(),
            impersonate_uid: self.impersonate_uid.clone(),
            username: self.username.clone(),
            password: secret(&self.password),
            proxy: self.proxy_url.clone(),
            disable_compression: self.disable_compression.unwrap_or(false),
        }
    }
}
