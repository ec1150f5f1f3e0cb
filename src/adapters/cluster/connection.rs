//! How the API server is reached: kubeconfig or the pod's own way, then kubectl's flags (notifications.md §21).

use std::path::Path;

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};

use super::Error;
use crate::config::settings::ClusterAccess;

/// The connection's settings.
///
/// # Errors
/// If there is no usable configuration; the text says which file or flag and why.
pub(super) async fn config(kubeconfig: Option<&Path>, access: &ClusterAccess) -> Result<Config, Error> {
    let options = KubeConfigOptions {
        context: access.context.clone(),
        cluster: access.cluster.clone(),
        user: access.user.clone(),
    };
    let chosen = options.context.is_some() || options.cluster.is_some() || options.user.is_some();
    let mut config = match kubeconfig {
        Some(path) => {
            let unusable = |e| Error::Config(format!("kubeconfig {}: {e}", path.display()));
            let file = Kubeconfig::read_from(path).map_err(unusable)?;
            Config::from_custom_kubeconfig(file, &options).await.map_err(unusable)?
        }
        None if chosen => {
            Config::from_kubeconfig(&options).await.map_err(|e| Error::Config(format!("no cluster: {e}")))?
        }
        None => match (Config::infer().await, &access.server) {
            (Ok(config), _) => config,
            (Err(_), Some(server)) => Config::new(address("--server", server)?),
            (Err(error), None) => return Err(Error::Config(format!("no cluster: {error}"))),
        },
    };
    overridden(&mut config, access)?;
    Ok(config)
}

fn overridden(config: &mut Config, access: &ClusterAccess) -> Result<(), Error> {
    if let Some(server) = &access.server {
        config.cluster_url = address("--server", server)?;
    }
    if let Some(proxy) = &access.proxy {
        config.proxy_url = Some(address("--proxy-url", proxy)?);
    }
    if let Some(file) = &access.certificate_authority {
        config.root_cert_file = Some(file.clone());
    }
    config.accept_invalid_certs |= access.insecure;
    config.disable_compression |= access.disable_compression;
    if access.tls_server_name.is_some() {
        config.tls_server_name.clone_from(&access.tls_server_name);
    }
    let who = &mut config.auth_info;
    let text = |flag: &str, secret: &crate::config::secret::Secret| {
        secret.expose_text().map(str::to_owned).map_err(|_| Error::Config(format!("{flag} is not text")))
    };
    if let Some(token) = &access.token {
        // It stands for whatever way the kubeconfig has.
        (who.token_file, who.exec, who.auth_provider) = (None, None, None);
        who.token = Some(text("--token", token)?.into());
    }
    if let Some(password) = &access.password {
        who.password = Some(text("--password", password)?.into());
    }
    let take = |flag: &Option<String>, place: &mut Option<String>| {
        if flag.is_some() {
            place.clone_from(flag);
        }
    };
    take(&access.username, &mut who.username);
    take(&access.impersonate, &mut who.impersonate);
    take(&access.impersonate_uid, &mut who.impersonate_uid);
    take(&access.client_certificate, &mut who.client_certificate);
    take(&access.client_key, &mut who.client_key);
    if !access.impersonate_groups.is_empty() {
        who.impersonate_groups = Some(access.impersonate_groups.clone());
    }
    Ok(())
}

fn address<T: std::str::FromStr>(flag: &str, text: &str) -> Result<T, Error> {
    text.parse().map_err(|_| Error::Config(format!("{flag}: `{text}` is no address")))
}
