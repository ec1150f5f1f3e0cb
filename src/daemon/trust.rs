//! Private roots per host, by the ConfigMap `argocd-tls-certs-cm` and by the folder it is mounted at; both are followed
//! while the daemon runs (notifications.md HTTP-02, image-updates.md GIT-2).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::delivery::Clock;
use super::status::Board;
use crate::adapters::cluster::{Cluster, ConfigMap, DocumentEvent};
use crate::adapters::http::{Http, check_roots};
use crate::adapters::store::Store;
use crate::core::problem::Problem;

/// The ConfigMap.
const NAME: &str = "argocd-tls-certs-cm";

/// How often the folder is read; the kubelet takes a minute to renew a mount.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// PEM texts by host.
pub type HostRoots = BTreeMap<String, Vec<Arc<str>>>;

/// Where private roots come from and who must know them.
pub struct Follower {
    /// The cluster to ask, and Argo CD's namespace; `None` where only the folder counts.
    pub api: Option<(Cluster, String)>,
    /// The mounted folder.
    pub folder: PathBuf,
    /// Told every change.
    pub http: Http,
    /// What waited for a certificate to be trusted is tried again (§12.2).
    pub store: Store,
    /// For faces.
    pub board: Board,
    /// The outbox's time.
    pub clock: Clock,
}

impl Follower {
    /// Runs until the token is cancelled. An entry of the ConfigMap wins over a file of the same name: the file is a
    /// copy of it, and older.
    pub async fn run(self, stop: CancellationToken) {
        let mut documents = match &self.api {
            Some((cluster, namespace)) => cluster.config_map(namespace, NAME).boxed(),
            None => futures::stream::pending().boxed(),
        };
        let mut told: BTreeMap<String, String> = BTreeMap::new();
        let mut in_force = usable(&mounted(&self.folder)).0;
        loop {
            tokio::select! {
                _ = stop.cancelled() => return,
                event = documents.next() => match event {
                    Some(event) => self.hear(event, &mut told),
                    None => return,
                },
                _ = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let mut entries = mounted(&self.folder);
            entries.extend(told.clone());
            let (roots, problems) = usable(&entries);
            self.board.problems("private roots", problems);
            if roots == in_force {
                continue;
            }
            tracing::info!(hosts = roots.len(), "private roots applied");
            self.http.set_host_roots(roots.clone());
            in_force = roots;
            if let Err(error) = self.store.heal(None, false, self.clock.now()).await {
                tracing::warn!("parked deliveries stay parked: {error}");
            }
        }
    }

    fn hear(&self, event: DocumentEvent<ConfigMap>, told: &mut BTreeMap<String, String>) {
        let mut trouble = None;
        match event {
            DocumentEvent::Applied(found) => *told = found.data,
            DocumentEvent::Deleted(..) => told.clear(),
            DocumentEvent::Undecodable(problem) => trouble = Some(problem),
            DocumentEvent::Down(text) => {
                let problem = Problem::warning("kubernetes-unavailable", text);
                trouble = Some(problem.hint("private roots are read from the mounted folder only"));
            }
            DocumentEvent::Ready | DocumentEvent::Up => {}
        }
        self.board.problems("private roots ConfigMap", trouble.into_iter().collect());
    }
}

/// The files of the folder, by name. A mount's own files begin with a dot; `tls.crt` and `tls.key` are Argo CD's server
/// certificate, where one folder holds both.
pub fn mounted(folder: &Path) -> BTreeMap<String, String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return BTreeMap::new() };
    let read = |entry: std::fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let other = name.starts_with('.') || name == "tls.crt" || name == "tls.key";
        if other { None } else { Some((name, std::fs::read_to_string(entry.path()).ok()?)) }
    };
    entries.flatten().filter_map(read).collect()
}

/// The entries that hold certificates, by host; every other one is a problem.
pub fn usable(entries: &BTreeMap<String, String>) -> (HostRoots, Vec<Problem>) {
    let (mut roots, mut problems) = (BTreeMap::new(), Vec::new());
    for (host, pem) in entries {
        match check_roots(pem) {
            Ok(()) => drop(roots.insert(host.clone(), vec![Arc::from(pem.as_str())])),
            Err(error) => problems.push(
                Problem::error("PrivateRootInvalid", error.to_string())
                    .in_object(format!("ConfigMap {NAME}"))
                    .at_key(host)
                    .hint("a key is a host name, its value PEM certificates; the system's roots count for this host"),
            ),
        }
    }
    (roots, problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_02_only_certificates_become_roots_and_the_rest_is_said() {
        let pem = rcgen::generate_simple_self_signed(vec!["a.test".into()]).unwrap().cert.pem();
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("a.test", pem.as_str()), ("b.test", "nonsense"), (".hidden", &pem), ("tls.key", "x")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let (roots, problems) = usable(&mounted(folder.path()));
        assert_eq!(roots, BTreeMap::from([("a.test".to_owned(), vec![Arc::from(pem.as_str())])]));
        assert_eq!(
            problems.iter().map(|p| (p.code, p.key.as_str())).collect::<Vec<_>>(),
            [("PrivateRootInvalid", "b.test")]
        );
        assert!(usable(&mounted(&folder.path().join("none"))).0.is_empty());
    }
}
