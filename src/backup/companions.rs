//! What is kept beside a snapshot so that it is of use: how the control planes were set up, and which keys its data needs. No secret
//! is among it but the snapshot itself: of keys there are hashes of their public halves.

use std::collections::BTreeMap;

use futures::future::join_all;
use kubewright_certs::inspect::CertificateFacts;
use kubewright_core::etcd::manifest::Fingerprints;
use kubewright_core::ids::HostName;
use kubewright_core::plan::hex;
use kubewright_manifests::layout::{manifest, pki};
use secrecy::ExposeSecret;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::host::authority::files_of;
use crate::host::files::ReadFile;
use crate::ports::{Hosts, KubeApi, ObjectRef};

const PODS: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];

/// The API server's option that names the file with the keys of encrypted objects.
const ENCRYPTION: &str = "--encryption-provider-config=";

/// What was found.
#[derive(Debug, Default)]
pub struct Companions {
    /// Files, by their path beside the snapshot.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Hashes of keys and settings.
    pub keys: Fingerprints,
    /// What could not be had, and why.
    pub missing: Vec<String>,
}

/// Reads them on all these hosts at once. What a host does not have is left out; a host that does not answer is among what is
/// missing.
pub async fn of_hosts(hosts: &dyn Hosts, cluster: &str, names: &[HostName]) -> Companions {
    let read = join_all(names.iter().map(|name| async move { (name, of_host(hosts, cluster, name).await) })).await;
    let mut all = Companions::default();
    for (name, read) in read {
        match read {
            Ok(one) => all.take(name, one),
            Err(why) => all.missing.push(format!("manifests of {name}: {why}")),
        }
    }
    all
}

/// kubeadm's own record of how the cluster was set up.
pub async fn kubeadm_config(api: &dyn KubeApi) -> Result<Vec<u8>, String> {
    let object = ObjectRef::namespaced("v1", "ConfigMap", "kube-system", "kubeadm-config");
    let found = api.get(&object).await.map_err(|error| error.to_string())?;
    let text = found.as_ref().and_then(|map| map.pointer("/data/ClusterConfiguration")).and_then(Value::as_str);
    text.map(|text| text.as_bytes().to_vec()).ok_or_else(|| "there is no such object".to_owned())
}

struct OfHost {
    manifests: BTreeMap<&'static str, Vec<u8>>,
    keys: Fingerprints,
}

async fn of_host(hosts: &dyn Hosts, cluster: &str, name: &HostName) -> Result<OfHost, String> {
    let manifests = PODS.map(manifest);
    let keys = ["ca.crt", "etcd/ca.crt", "sa.pub"].map(pki);
    let wanted: Vec<&str> = manifests.iter().chain(&keys).map(String::as_str).collect();
    let read = |paths: Vec<String>| async move {
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let files = files_of(hosts, cluster, name, &paths).await.map_err(|error| error.to_string())?;
        files.ok_or_else(|| format!("it does not say that it belongs to {cluster}"))
    };
    let files = read(wanted.into_iter().map(str::to_owned).collect()).await?;
    let bytes = |path: &String| files.get(path).map(|file| file.contents.expose_secret().to_vec());
    let manifests: BTreeMap<_, _> =
        PODS.into_iter().zip(&manifests).filter_map(|(pod, path)| Some((pod, bytes(path)?))).collect();
    let [authority, etcd_authority, service_account] = &keys;
    let mut keys = Fingerprints {
        authority: files.get(authority).and_then(public_key),
        etcd_authority: files.get(etcd_authority).and_then(public_key),
        service_account: bytes(service_account).map(|bytes| sha256(&bytes)),
        encryption_configuration: None,
    };
    if let Some(path) = manifests.get("kube-apiserver").and_then(|text| encryption_file(&String::from_utf8_lossy(text)))
    {
        let files = read(vec![path.clone()]).await?;
        keys.encryption_configuration = files.get(&path).map(|file| sha256(file.contents.expose_secret()));
    }
    Ok(OfHost { manifests, keys })
}

/// The path after the option in a static pod's manifest.
fn encryption_file(manifest: &str) -> Option<String> {
    let (_, rest) = manifest.split_once(ENCRYPTION)?;
    let path = rest.split(|letter: char| letter.is_whitespace() || "\"',".contains(letter)).next()?;
    (!path.is_empty()).then(|| path.to_owned())
}

fn public_key(file: &ReadFile) -> Option<String> {
    let text = String::from_utf8_lossy(file.contents.expose_secret());
    CertificateFacts::from_pem(&text).ok()?.into_iter().next().map(|facts| facts.public_key_hash)
}

/// SHA-256 of some bytes, as kubeadm writes that of a public key.
fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", digest(bytes))
}

/// SHA-256 in hex, as `sha256sum` prints it.
pub(super) fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

impl Companions {
    fn take(&mut self, host: &HostName, one: OfHost) {
        for (pod, text) in one.manifests {
            self.files.insert(format!("companions/{host}/{pod}.yaml"), text);
        }
        let pairs = [
            ("authority", &mut self.keys.authority, one.keys.authority),
            ("etcd's authority", &mut self.keys.etcd_authority, one.keys.etcd_authority),
            ("service account key", &mut self.keys.service_account, one.keys.service_account),
            ("encryption configuration", &mut self.keys.encryption_configuration, one.keys.encryption_configuration),
        ];
        for (what, known, found) in pairs {
            match (known.as_ref(), found) {
                (None, found) => *known = found,
                (Some(known), Some(found)) if *known != found => {
                    self.missing.push(format!("one {what} for all: that of {host} is another one"));
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encryption_configuration_is_found_however_it_is_quoted() {
        let text = "    - --etcd-servers=https://127.0.0.1:2379\n    - --encryption-provider-config=/etc/kubernetes/enc.yaml\n    - --x\n";
        assert_eq!(encryption_file(text).as_deref(), Some("/etc/kubernetes/enc.yaml"));
        let text = "[\"--encryption-provider-config=/etc/k/enc.yaml\", \"--x\"]";
        assert_eq!(encryption_file(text).as_deref(), Some("/etc/k/enc.yaml"));
        assert_eq!(encryption_file("--encryption-provider-config-automatic-reload=true"), None);
    }

    #[test]
    fn hosts_that_differ_are_told() {
        let with = |authority: &str| OfHost {
            manifests: BTreeMap::from([("etcd", b"pod".to_vec())]),
            keys: Fingerprints { authority: Some(authority.to_owned()), ..Fingerprints::default() },
        };
        let mut all = Companions::default();
        all.take(&"cp1".into(), with("a"));
        all.take(&"cp2".into(), with("a"));
        assert_eq!(all.missing, Vec::<String>::new());
        all.take(&"cp3".into(), with("b"));
        assert_eq!(all.missing, ["one authority for all: that of cp3 is another one"]);
        assert_eq!(all.files.keys().collect::<Vec<_>>().len(), 3);
    }
}
