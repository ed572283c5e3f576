//! Who we are to etcd: a client certificate that its own authority signed, read from a host that has one.

use camino::Utf8Path;
use futures::stream::{FuturesUnordered, StreamExt};
use kubewright_core::ids::HostName;
use secrecy::{ExposeSecret, SecretString};

use crate::host::authority::files_of;
use crate::host::files::ReadFile;
use crate::kube::Credentials;
use crate::ports::{EtcdError, EtcdFault, Hosts};

/// kubeadm's folder of keys and certificates.
const PKI: &str = "/etc/kubernetes/pki";

/// The authority that signed everything of etcd's, from [`PKI`].
const AUTHORITY: &str = "etcd/ca.crt";

/// Client certificates that etcd accepts, from [`PKI`], without suffix. The first is on every member's host, the second on
/// every host with an API server, which is enough where etcd lives elsewhere.
const CLIENTS: [&str; 2] = ["etcd/healthcheck-client", "apiserver-etcd-client"];

/// Reads them from whichever of the cluster's hosts answers first and has them: all are asked at once, so that one that is gone
/// holds nobody up.
///
/// # Errors
/// [`EtcdFault::Invalid`] where none of them does, with what was seen of each.
pub async fn read(hosts: &dyn Hosts, cluster: &str, names: &[HostName]) -> Result<Credentials, EtcdError> {
    let mut asked: FuturesUnordered<_> =
        names.iter().map(|name| async move { (name, read_from(hosts, cluster, name).await) }).collect();
    let mut seen = Vec::new();
    while let Some((name, read)) = asked.next().await {
        match read {
            Ok(Some(credentials)) => return Ok(credentials),
            Ok(None) => seen.push(format!("{name} has none of {cluster} in {PKI}")),
            Err(why) => seen.push(format!("{name}: {why}")),
        }
    }
    seen.sort();
    let said = if seen.is_empty() { "there is no host to read it from".to_owned() } else { seen.join("; ") };
    Err(EtcdError::new(EtcdFault::Invalid, "read etcd's client certificate", said))
}

async fn read_from(hosts: &dyn Hosts, cluster: &str, name: &HostName) -> Result<Option<Credentials>, String> {
    let path = |file: &str, suffix: &str| Utf8Path::new(PKI).join(format!("{file}{suffix}")).into_string();
    let authority = path(AUTHORITY, "");
    let pairs = CLIENTS.map(|client| (path(client, ".crt"), path(client, ".key")));
    let mut wanted = vec![authority.as_str()];
    wanted.extend(pairs.iter().flat_map(|(certificate, key)| [certificate.as_str(), key.as_str()]));
    let files = files_of(hosts, cluster, name, &wanted).await.map_err(|error| error.to_string())?.unwrap_or_default();
    let Some(authority) = files.get(&authority) else { return Ok(None) };
    let pair = pairs.iter().find_map(|(certificate, key)| Some((files.get(certificate)?, files.get(key)?)));
    let Some((certificate, key)) = pair else { return Ok(None) };
    Ok(Some(Credentials {
        ca_pem: text(authority)?,
        client_cert_pem: text(certificate)?,
        client_key_pem: SecretString::from(text(key)?),
    }))
}

fn text(file: &ReadFile) -> Result<String, String> {
    std::str::from_utf8(file.contents.expose_secret())
        .map(str::to_owned)
        .map_err(|_| "its certificate files are no text".to_owned())
}
