//! The keys of a new cluster, or of hosts that join one: made once, kept in the secret store and on the control planes, found again by whoever
//! resumes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::Duration;

use futures::future::join_all;
use kubewright_certs::cluster::{Authorities, ClusterPki, ExistingAuthorities, Host as PkiHost, PkiFile, Roles};
use kubewright_certs::key::KeyAlgorithm;
use kubewright_certs::names::Endpoint;
use kubewright_certs::profile::{KubernetesVersion, Validity};
use kubewright_core::ids::{HostName, OperationId};
use kubewright_core::plan::{KeySource, hex};
use kubewright_core::quorum::has_quorum;
use kubewright_core::spec::{EncryptionAlgorithm, EndpointMode, Host, Role, Spec};
use kubewright_manifests::layout::{KUBELET_SERVING_CERT, KUBELET_SERVING_KEY, KUBERNETES_DIR};
use kubewright_manifests::{endpoint, network};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::hands::Hands;
use super::{Failure, Telling};
use crate::host::authority;
use crate::host::files::{RemoteFile, put_files, read_files};
use crate::ports::{HostError, Hosts};
use crate::store::Secrets;

/// Name of the bundle in the secret store.
const BUNDLE: &str = "keys.json";
/// Path of the kubeconfig that every control-plane step of a bootstrap acts with: RBAC cannot lock it out
/// (kubeadm's `super-admin.conf`, since 1.29).
const SUPER_ADMIN: &str = "/etc/kubernetes/super-admin.conf";
/// The cluster authority's certificate, on every host.
const AUTHORITY: &str = "/etc/kubernetes/pki/ca.crt";

/// Every key and certificate, by host and final path.
#[derive(Clone, Serialize, Deserialize)]
pub struct Keys {
    hosts: BTreeMap<HostName, Vec<KeptFile>>,
}

/// One file with a key in it, or beside one.
#[derive(Clone, Serialize, Deserialize)]
struct KeptFile {
    path: String,
    mode: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<Zeroizing<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    link: Option<String>,
}

impl Keys {
    /// The files of one host, ready to be put.
    ///
    /// # Errors
    /// [`Failure`] for a host that had no keys made.
    pub fn of(&self, host: &HostName) -> Result<Vec<RemoteFile>, Failure> {
        let files = self.hosts.get(host).ok_or_else(|| Failure::new(format!("no keys were made for {host}")))?;
        Ok(files
            .iter()
            .map(|file| match (&file.link, &file.text) {
                (Some(target), _) => RemoteFile::link(&file.path, target),
                (None, text) => {
                    let text = text.as_ref().map(|text| text.as_str()).unwrap_or_default();
                    RemoteFile::secret(&file.path, file.mode, SecretString::from(text))
                }
            })
            .collect())
    }

    /// What of them takes the place of a host's own that end: certificates with their keys, kubeconfigs of programs and people.
    /// Authorities stay, and what kubelets show to API servers they renew themselves.
    ///
    /// # Errors
    /// [`Failure`] for a host that had no keys made.
    pub fn renewed_of(&self, host: &HostName) -> Result<Vec<RemoteFile>, Failure> {
        let mut files = self.of(host)?;
        files.retain(|file| is_renewed(&file.path));
        Ok(files)
    }

    /// The kubeconfig that acts before there is any RBAC.
    ///
    /// # Errors
    /// [`Failure`] where no host has it.
    pub fn super_admin(&self) -> Result<&str, Failure> {
        self.text(SUPER_ADMIN)
    }

    /// The cluster authority's certificate.
    ///
    /// # Errors
    /// [`Failure`] where no host has it.
    pub fn authority(&self) -> Result<&str, Failure> {
        self.text(AUTHORITY)
    }

    /// The text at a path that is the same on every host that has it.
    fn text(&self, path: &str) -> Result<&str, Failure> {
        let mut texts =
            self.hosts.values().flatten().filter(|file| file.path == path).filter_map(|file| file.text.as_ref());
        texts.next().map(|text| text.as_str()).ok_or_else(|| Failure::new(format!("the keys hold no {path}")))
    }

    fn count(&self) -> usize {
        self.hosts.values().map(Vec::len).sum()
    }

    fn parse(bytes: &[u8]) -> Result<Self, Failure> {
        serde_json::from_slice(bytes).map_err(|error| Failure::new(format!("the kept keys cannot be read: {error}")))
    }
}

/// Whether a file of a host is renewed with its certificates.
fn is_renewed(path: &str) -> bool {
    if [KUBELET_SERVING_CERT, KUBELET_SERVING_KEY].contains(&path) {
        return true;
    }
    let Some(name) = path.strip_prefix(KUBERNETES_DIR) else { return false };
    let stays = ["ca.crt", "ca.key", "sa.key", "sa.pub", "kubelet.conf"];
    !stays.iter().any(|end| name.ends_with(end))
}

/// Where a control plane keeps its copy.
pub fn remote_path(operation: &OperationId) -> String {
    format!("/var/lib/kubewright/secrets/{operation}/{BUNDLE}")
}

/// Keys as they were found, and the bytes that all copies are to have.
struct Found {
    keys: Keys,
    bytes: Zeroizing<Vec<u8>>,
}

impl Found {
    fn new(bytes: Zeroizing<Vec<u8>>) -> Result<Self, Failure> {
        Ok(Self { keys: Keys::parse(&bytes)?, bytes })
    }
}

/// The keys of this operation, if they were made. A copy on a control plane stands above the one on this machine.
///
/// # Errors
/// [`Failure`] where they exist and cannot be read, or where nobody can tell whether they exist.
pub async fn find(hands: &Hands) -> Result<Option<Keys>, Failure> {
    Ok(look_up(hands).await?.map(|found| found.keys))
}

async fn look_up(hands: &Hands) -> Result<Option<Found>, Failure> {
    let path = remote_path(&hands.plan.operation);
    let there = ask(hands.hosts.as_ref(), &hands.plan.keepers, &path).await?;
    let here = load(&hands.secrets)?;
    match (there, here) {
        (Copies::Found(bytes), here) => {
            // Ours may be from a try that came to nothing; theirs are what the cluster is made with.
            if here.is_none_or(|here| *here != *bytes) {
                keep(&hands.secrets, &bytes)?;
            }
            Found::new(bytes).map(Some)
        }
        (Copies::None | Copies::Unknown(_), Some(here)) => Found::new(here).map(Some),
        (Copies::None, None) => Ok(None),
        (Copies::Unknown(silent), None) => Err(Failure::new(format!(
            "whether keys were made for this operation cannot be told: too few control planes answered\n{}",
            silent.join("\n")
        ))),
    }
}

/// What the control planes say about the bundle.
enum Copies {
    /// It is there, the same wherever it is.
    Found(Zeroizing<Vec<u8>>),
    /// A majority answered and none has it. Keys that were ever used are on a majority.
    None,
    /// Too few answered; why the others did not.
    Unknown(Vec<String>),
}

/// Asks all control planes at once.
async fn ask(hosts: &dyn Hosts, control_planes: &[HostName], path: &str) -> Result<Copies, Failure> {
    let looks = join_all(control_planes.iter().map(|name| async move {
        let host = hosts.host(name).await?;
        let found = read_files(host.as_ref(), &[path]).await?.remove(path);
        Ok::<_, HostError>((name, found.map(|file| Zeroizing::new(file.contents.expose_secret().to_vec()))))
    }))
    .await;
    let (mut answered, mut silent, mut copies) = (0, Vec::new(), Vec::new());
    for look in looks {
        match look {
            Ok((name, copy)) => {
                answered += 1;
                copies.extend(copy.map(|bytes| (name, bytes)));
            }
            Err(error) => silent.push(error.to_string()),
        }
    }
    let mut holders: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, bytes) in &copies {
        holders.entry(hex(&Sha256::digest(bytes))).or_default().push(name.as_str());
    }
    if holders.len() > 1 {
        let told: Vec<String> =
            holders.iter().map(|(digest, names)| format!("{} with SHA-256 {digest}", names.join(", "))).collect();
        return Err(Failure {
            hint: Some(format!(
                "keys are used only once a majority of the control planes has them: look which those are, and remove {path} from the others"
            )),
            ..Failure::new(format!(
                "the control planes hold different keys of this operation, and nobody can tell which are in use:\n{}",
                told.join("\n")
            ))
        });
    }
    Ok(match copies.into_iter().next() {
        Some((_, bytes)) => Copies::Found(bytes),
        None if has_quorum(control_planes.len(), answered) => Copies::None,
        None => Copies::Unknown(silent),
    })
}

/// Makes the keys, unless they were made before, and puts a copy on the control planes.
///
/// # Errors
/// [`Failure`]; nothing uses them before this has succeeded.
pub async fn make(
    hands: &Hands,
    source: KeySource,
    hosts: &[HostName],
    keep_on: &[HostName],
    telling: Telling<'_>,
) -> Result<(), Failure> {
    let Found { keys, bytes } = match look_up(hands).await? {
        Some(found) => found,
        None => {
            let existing = existing(hands, source).await?;
            telling("making certificates and kubeconfigs");
            let pki = pki(&hands.plan.spec, hands.clock.now())?;
            let names = hosts.to_vec();
            // Minutes of processor time for RSA: not on the threads that serve connections.
            let files = tokio::task::spawn_blocking(move || issue(&pki, &existing, &names))
                .await
                .map_err(|error| Failure::new(format!("making keys was cut short: {error}")))??;
            let keys = Keys { hosts: files };
            let bytes = serde_json::to_vec(&keys)
                .map_err(|error| Failure::new(format!("the keys cannot be written: {error}")))?;
            let bytes = Zeroizing::new(bytes);
            keep(&hands.secrets, &bytes)?;
            Found { keys, bytes }
        }
    };
    // As they are, not written anew: copies are compared byte by byte.
    let text =
        std::str::from_utf8(&bytes).map_err(|error| Failure::new(format!("the kept keys are no text: {error}")))?;
    let text = SecretString::from(text);
    let path = remote_path(&hands.plan.operation);
    let keepers = keep_on.iter().map(HostName::as_str).collect::<Vec<_>>().join(", ");
    telling(&format!("{} files made; copies go to {keepers}", keys.count()));
    let kept = join_all(keep_on.iter().map(|name| {
        let file = RemoteFile::secret(&path, 0o600, text.clone());
        async move {
            let host = hands.hosts.host(name).await?;
            put_files(host.as_ref(), hands.fence, &[file]).await
        }
    }))
    .await;
    let copies = kept.iter().filter(|outcome| outcome.is_ok()).count();
    // Whoever looks for them asks the keepers, and believes a majority that has none.
    if !has_quorum(hands.plan.keepers.len(), copies) {
        return Err(kept
            .into_iter()
            .find_map(Result::err)
            .map_or_else(|| Failure::new("no control plane keeps the keys"), Failure::from));
    }
    // Somebody else may have asked meanwhile and found the same keys.
    let _ = hands.keys.set(keys);
    Ok(())
}

fn load(secrets: &Secrets) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
    secrets.load(BUNDLE).map_err(|error| Failure::new(error.to_string()))
}

fn keep(secrets: &Secrets, bytes: &[u8]) -> Result<(), Failure> {
    secrets.keep(BUNDLE, bytes).map_err(|error| Failure::new(error.to_string()))
}

/// The authorities that there are; a new cluster has none.
async fn existing(hands: &Hands, source: KeySource) -> Result<ExistingAuthorities, Failure> {
    match source {
        KeySource::New => Ok(ExistingAuthorities::default()),
        KeySource::Cluster => {
            authority::authorities(hands.hosts.as_ref(), &hands.plan.spec.name, &hands.plan.keepers).await?.ok_or_else(|| Failure {
                hint: Some("put ca.key, front-proxy-ca.key, etcd/ca.key and sa.key back into /etc/kubernetes/pki of a control plane".into()),
                ..Failure::new("no control plane has the keys of all of the cluster's authorities")
            })
        }
    }
}

fn issue(
    pki: &ClusterPki,
    existing: &ExistingAuthorities,
    hosts: &[HostName],
) -> Result<BTreeMap<HostName, Vec<KeptFile>>, Failure> {
    let refused = |error: kubewright_certs::Error| Failure::new(format!("the certificates cannot be made: {error}"));
    let threads = available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let authorities = Authorities::complete(existing, pki.algorithm, pki.validity, pki.now).map_err(refused)?;
    let names: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
    let files = pki.issue(&authorities, &names, threads).map_err(refused)?;
    let kept = |file: PkiFile| KeptFile {
        text: file.expose_text().map(|text| Zeroizing::new(text.to_owned())),
        link: file.link_target().map(str::to_owned),
        path: file.path,
        mode: file.mode,
    };
    Ok(files
        .hosts
        .into_iter()
        .map(|(host, files)| (HostName::new(host), files.into_iter().map(kept).collect()))
        .collect())
}

/// What the certificates have to say, from the spec.
fn pki(spec: &Spec, now: jiff::Timestamp) -> Result<ClusterPki, Failure> {
    let hours = |hours: u32| Duration::from_secs(u64::from(hours) * 3600);
    let control_plane_endpoint = match spec.endpoint.mode {
        EndpointMode::NodeLocal => None,
        EndpointMode::External | EndpointMode::KubeVip => Some(split(&endpoint::outside(spec))?),
    };
    let version = &spec.kubernetes.version;
    Ok(ClusterPki {
        cluster_name: spec.name.clone(),
        version: KubernetesVersion::new(small(version.minor().minor), small(version.patch())),
        algorithm: match spec.certificates.encryption_algorithm {
            EncryptionAlgorithm::Rsa2048 => KeyAlgorithm::Rsa2048,
            EncryptionAlgorithm::Rsa3072 => KeyAlgorithm::Rsa3072,
            EncryptionAlgorithm::Rsa4096 => KeyAlgorithm::Rsa4096,
            EncryptionAlgorithm::EcdsaP256 => KeyAlgorithm::EcdsaP256,
            EncryptionAlgorithm::EcdsaP384 => KeyAlgorithm::EcdsaP384,
        },
        validity: Validity {
            authority: hours(spec.certificates.ca_certificate_validity_hours),
            leaf: hours(spec.certificates.certificate_validity_hours),
        },
        now,
        service_domain: spec.network.dns_domain.clone(),
        service_addresses: vec![network::nth(spec.network.service_cidr, 1)],
        control_plane_endpoint,
        api_port: spec.api_port(),
        extra_api_server_names: spec.api_server.cert_sans.clone(),
        extra_etcd_server_names: spec.etcd.cert_sans.clone(),
        extra_etcd_peer_names: spec.etcd.cert_sans.clone(),
        hosts: spec.hosts.iter().map(|host| pki_host(spec, host)).collect::<Result<_, _>>()?,
    })
}

fn pki_host(spec: &Spec, host: &Host) -> Result<PkiHost, Failure> {
    let mut addresses = vec![host.private_address];
    let mut dns_names = Vec::new();
    match host.address.parse::<IpAddr>() {
        Ok(address) if address != host.private_address => addresses.push(address),
        Ok(_) => {}
        Err(_) => dns_names.push(host.address.clone()),
    }
    Ok(PkiHost {
        name: host.name.to_string(),
        addresses,
        dns_names,
        roles: Roles {
            control_plane: host.is(Role::ControlPlane),
            etcd: host.is(Role::Etcd),
            worker: host.is(Role::Worker),
        },
        kubelet_api_server: Some(split(&endpoint::for_kubelet(spec, host))?),
    })
}

/// `https://host:port` or `host:port` in its parts.
fn split(url: &str) -> Result<Endpoint, Failure> {
    let bad = || Failure::new(format!("`{url}` is not an address of an API server"));
    let (host, port) = url.trim_start_matches("https://").rsplit_once(':').ok_or_else(bad)?;
    Endpoint::new(host.trim_matches(['[', ']']), port.parse().map_err(|_| bad())?)
        .map_err(|error| Failure::new(error.to_string()))
}

/// Minors and patches are small numbers; one that is not is no version we know anything about.
fn small(number: u64) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests;
