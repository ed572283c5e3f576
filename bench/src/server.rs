//! Real servers to measure with: an etcd's programs, the way in, what it is filled with, and the files of a host.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use etcd_client::{Client, ConnectOptions, Txn, TxnOp};
use kubewright_certs::cluster::{Authorities, ClusterPki, Host, Roles};
use kubewright_certs::key::KeyAlgorithm;
use kubewright_certs::profile::{KubernetesVersion, Validity};
use xtask::cache::Cache;

/// Bytes of a value: the mean of Kubernetes objects is one to three kilobytes.
const VALUE: usize = 2_000;
/// etcd takes 128 operations in one transaction.
const AT_ONCE: u64 = 120;

/// The newest of a program of etcd that was built on this machine.
///
/// # Errors
/// There is none.
pub fn program(name: &str) -> Result<PathBuf> {
    let cache = Cache::open()?;
    let found = cache.newest_build("etcd-", name);
    found.with_context(|| format!("there is no {name} in {}; `make demo` builds it", cache.root().display()))
}

/// A client, once the server answers.
///
/// # Errors
/// It does not within half a minute.
pub async fn connect(url: &str, options: Option<ConnectOptions>) -> Result<Client> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        // It tells nobody that it is up.
        let answer = match Client::connect([url], options.clone()).await {
            Ok(mut client) => client.get("ready", None).await.map(|_| client),
            Err(error) => Err(error),
        };
        match answer {
            Ok(client) => return Ok(client),
            Err(error) if Instant::now() > deadline => return Err(error).context("etcd does not come up"),
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// So many megabytes of values that no compression shrinks.
///
/// # Errors
/// etcd does not take them.
pub async fn fill(client: &mut Client, megabytes: u64) -> Result<()> {
    let mut value = vec![0; VALUE];
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for first in (0..megabytes * 1_000_000 / (VALUE as u64 + 100)).step_by(AT_ONCE as usize) {
        let put = |number: u64| {
            for chunk in value.chunks_mut(8) {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                chunk.copy_from_slice(random.to_le_bytes().get(..chunk.len()).unwrap_or_default());
            }
            let key = format!("/registry/pods/namespace-{}/a-pod-of-a-usual-name-{number}", number % 50);
            TxnOp::put(key, [b"k8s\0", value.as_slice()].concat(), None)
        };
        client.txn(Txn::new().and_then((first..first + AT_ONCE).map(put).collect::<Vec<_>>())).await?;
    }
    Ok(())
}

/// What kubewright would put on a control plane of this name at 127.0.0.1, keys and certificates and kubeconfigs: path
/// and text.
///
/// # Errors
/// A key or a certificate cannot be made.
pub fn host_files(name: &str, api_port: u16) -> Result<Vec<(String, String)>> {
    let mut files = cluster_files(&[(name.to_owned(), Ipv4Addr::LOCALHOST)], api_port)?;
    files.pop().context("no files of the only host")
}

/// The same of several control planes of one cluster, in their order.
///
/// # Errors
/// As [`host_files`].
pub fn cluster_files(hosts: &[(String, Ipv4Addr)], api_port: u16) -> Result<Vec<Vec<(String, String)>>> {
    let now = jiff::Timestamp::now();
    let host = |(name, address): &(String, Ipv4Addr)| Host {
        name: name.clone(),
        addresses: vec![IpAddr::V4(*address)],
        dns_names: Vec::new(),
        roles: Roles::STACKED,
        kubelet_api_server: None,
    };
    let pki = ClusterPki {
        cluster_name: "bench".to_owned(),
        version: KubernetesVersion::new(35, 4),
        algorithm: KeyAlgorithm::EcdsaP256,
        validity: Validity::default(),
        now,
        service_domain: "cluster.local".to_owned(),
        service_addresses: vec!["10.96.0.1".parse()?],
        control_plane_endpoint: None,
        api_port,
        extra_api_server_names: Vec::new(),
        extra_etcd_server_names: Vec::new(),
        extra_etcd_peer_names: Vec::new(),
        hosts: hosts.iter().map(host).collect(),
    };
    let authorities = Authorities::create(pki.algorithm, pki.validity, now)?;
    let texts = |(name, _): &(String, Ipv4Addr)| {
        let files = pki.host_files(name, &authorities)?;
        Ok(files.iter().filter_map(|file| Some((file.path.clone(), file.expose_text()?.to_owned()))).collect())
    };
    hosts.iter().map(texts).collect()
}
