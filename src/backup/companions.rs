//! What is kept beside a snapshot so that it is of use: how the control planes were set up, and which keys its data needs. No secret
//! is among it but the snapshot itself: of keys there are hashes of their public halves, and the keys themselves only where they were
//! asked for, encrypted ([`super::sealing`]) before any of it leaves memory.

use std::collections::BTreeMap;

use futures::future::join_all;
use kubewright_certs::inspect::CertificateFacts;
use kubewright_core::etcd::manifest::{Fingerprints, Sealed};
use kubewright_core::ids::HostName;
use kubewright_core::plan::hex;
use kubewright_manifests::layout::{manifest, pki};
use secrecy::ExposeSecret;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::sealing::{KEYS, Recipients, seal};
use crate::host::authority::files_of;
use crate::host::files::ReadFile;
use crate::ports::{Hosts, KubeApi, ObjectRef};

const PODS: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];

/// What a control plane on a new machine cannot be without, for nobody can make it anew: the authorities, and the keys that service
/// account tokens are signed and checked with. All other certificates are made of these (kubeadm's "certificates" phase).
const AUTHORITIES: [&str; 8] =
    ["ca.crt", "ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "etcd/ca.crt", "etcd/ca.key", "sa.key", "sa.pub"];

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
    /// The keys among the files, where they were asked for.
    pub sealed: Option<Sealed>,
    /// Why the keys that were asked for are not all there.
    pub keys_missing: Vec<String>,
    secrets: BTreeMap<String, ReadFile>,
}

/// Reads them on all these hosts at once; keys too where there is somebody to encrypt them for. What a host does not have is left
/// out; a host that does not answer is among what is missing.
pub async fn of_hosts(
    hosts: &dyn Hosts,
    cluster: &str,
    names: &[HostName],
    recipients: Option<&Recipients>,
) -> Companions {
    let with_keys = recipients.is_some();
    let read = names.iter().map(|name| async move { (name, of_host(hosts, cluster, name, with_keys).await) });
    let read = join_all(read).await;
    let mut all = Companions::default();
    for (name, read) in read {
        match read {
            Ok(one) => all.take(name, one),
            Err(why) => all.missing.push(format!("manifests of {name}: {why}")),
        }
    }
    if let Some(recipients) = recipients {
        all.seal(recipients);
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
    secrets: BTreeMap<String, ReadFile>,
}

async fn of_host(hosts: &dyn Hosts, cluster: &str, name: &HostName, with_keys: bool) -> Result<OfHost, String> {
    let manifests = PODS.map(manifest);
    let keys = ["ca.crt", "etcd/ca.crt", "sa.pub"].map(pki);
    let authorities = AUTHORITIES.map(pki);
    let mut wanted: Vec<&str> = manifests.iter().chain(&keys).map(String::as_str).collect();
    if with_keys {
        wanted.extend(authorities.iter().map(String::as_str).filter(|path| !keys.iter().any(|key| key == path)));
    }
    let read = |paths: Vec<String>| async move {
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let files = files_of(hosts, cluster, name, &paths).await.map_err(|error| error.to_string())?;
        files.ok_or_else(|| format!("it does not say that it belongs to {cluster}"))
    };
    let mut files = read(wanted.into_iter().map(str::to_owned).collect()).await?;
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
        let mut configuration = read(vec![path.clone()]).await?;
        keys.encryption_configuration = configuration.get(&path).map(|file| sha256(file.contents.expose_secret()));
        files.extend(configuration.remove(&path).map(|file| (path, file)));
    }
    let is_secret = |path: &String, _: &mut ReadFile| !PODS.map(manifest).contains(path);
    let secrets = if with_keys { files.extract_if(.., is_secret).collect() } else { BTreeMap::new() };
    Ok(OfHost { manifests, keys, secrets })
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
        for (path, file) in one.secrets {
            match self.secrets.get(&path) {
                Some(known) if known.contents.expose_secret() != file.contents.expose_secret() => {
                    self.keys_missing.push(format!("one {path} for all: that of {host} is another one, and not in it"));
                }
                Some(_) => {}
                None => drop(self.secrets.insert(path, file)),
            }
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

    /// Encrypts what was read of keys; what is not encrypted goes nowhere.
    fn seal(&mut self, recipients: &Recipients) {
        let secrets = std::mem::take(&mut self.secrets);
        for path in AUTHORITIES.map(pki) {
            if !secrets.contains_key(&path) {
                self.keys_missing.push(format!("{path}: no host has it"));
            }
        }
        if secrets.is_empty() {
            return;
        }
        match seal(&secrets, recipients) {
            Ok((bytes, sealed)) => {
                self.files.insert(KEYS.to_owned(), bytes);
                self.sealed = Some(sealed);
            }
            Err(error) => self.keys_missing.push(format!("{KEYS}: {error}")),
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
            secrets: BTreeMap::new(),
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
