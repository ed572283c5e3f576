//! When etcd's certificates on the hosts expire: read from their files, which etcd reads anew for each connection.

use std::collections::BTreeMap;

use futures::future::join_all;
use kubewright_certs::inspect::CertificateFacts;
use kubewright_core::etcd::status::{Certificate, Certificates};
use kubewright_core::ids::HostName;
use kubewright_manifests::layout::pki;
use secrecy::ExposeSecret;

use crate::host::authority::files_of;
use crate::host::files::ReadFile;
use crate::ports::Hosts;

/// What members and their clients use, from kubeadm's folder.
const FILES: [&str; 5] =
    ["etcd/ca.crt", "etcd/server.crt", "etcd/peer.crt", "etcd/healthcheck-client.crt", "apiserver-etcd-client.crt"];

/// Reads them on all these hosts at once. Those that a host does not have are left out: an etcd by itself has no API server.
pub async fn read(hosts: &dyn Hosts, cluster: &str, names: &[HostName]) -> Certificates {
    let asked = names.iter().map(|name| async { (name.clone(), of_host(hosts, cluster, name).await) });
    join_all(asked).await.into_iter().collect()
}

async fn of_host(hosts: &dyn Hosts, cluster: &str, name: &HostName) -> Result<Vec<Certificate>, String> {
    let paths = FILES.map(pki);
    let wanted = paths.each_ref().map(String::as_str);
    match files_of(hosts, cluster, name, &wanted).await {
        Ok(Some(files)) => certificates(&files),
        Ok(None) => Err(format!("it does not say that it belongs to {cluster}")),
        Err(error) => Err(error.to_string()),
    }
}

fn certificates(files: &BTreeMap<String, ReadFile>) -> Result<Vec<Certificate>, String> {
    let mut all = Vec::new();
    for (path, file) in files {
        let text = String::from_utf8_lossy(file.contents.expose_secret());
        let facts = CertificateFacts::from_pem(&text).map_err(|error| format!("{path}: {error}"))?;
        // The first is the host's own, what follows signed it.
        let first = facts.first().map(|facts| Certificate { path: path.clone(), expires: facts.not_after });
        all.extend(first);
    }
    Ok(all)
}
