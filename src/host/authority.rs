//! Once a cluster runs, its control planes' own files are the authority (DESIGN.md §3): here they are read, of hosts that say
//! themselves that they are part of it. What lies on a host of another cluster signs nothing for this one.

use std::collections::BTreeMap;

use kubewright_certs::cluster::{ExistingAuthorities, ExistingAuthority};
use kubewright_core::facts::HostRecord;
use kubewright_core::ids::HostName;
use kubewright_manifests::layout::pki;
use secrecy::{ExposeSecret, SecretString};

use crate::host::files::{ReadFile, read_files};
use crate::ports::{HostError, Hosts};

/// The administrator's kubeconfig on every control plane (kubeadm's name).
pub const ADMIN_CONF: &str = "/etc/kubernetes/admin.conf";

/// The administrator's kubeconfig, from the first of these control planes of the cluster that has it; `None` where none of
/// them does.
///
/// # Errors
/// Why the last of them that is silent could not be asked, where none has it.
pub async fn admin_conf(
    hosts: &dyn Hosts,
    cluster: &str,
    control_planes: &[HostName],
) -> Result<Option<SecretString>, HostError> {
    Ok(first(hosts, cluster, control_planes, &[ADMIN_CONF]).await?.and_then(|mut files| files.pop()))
}

/// The certificate of the cluster's authority, as [`admin_conf`].
///
/// # Errors
/// As [`admin_conf`].
pub async fn certificate(
    hosts: &dyn Hosts,
    cluster: &str,
    control_planes: &[HostName],
) -> Result<Option<SecretString>, HostError> {
    Ok(first(hosts, cluster, control_planes, &[&pki("ca.crt")]).await?.and_then(|mut files| files.pop()))
}

/// Everything that signs in the cluster, from the first of these control planes that has all of it.
///
/// # Errors
/// As [`admin_conf`].
pub async fn authorities(
    hosts: &dyn Hosts,
    cluster: &str,
    control_planes: &[HostName],
) -> Result<Option<ExistingAuthorities>, HostError> {
    let paths =
        ["ca", "front-proxy-ca", "etcd/ca"].map(|name| [pki(&format!("{name}.crt")), pki(&format!("{name}.key"))]);
    let service_account = pki("sa.key");
    let wanted: Vec<&str> = paths.iter().flatten().chain([&service_account]).map(String::as_str).collect();
    let Some(texts) = first(hosts, cluster, control_planes, &wanted).await? else { return Ok(None) };
    let Ok([ca, ca_key, proxy, proxy_key, etcd, etcd_key, account]) = <[SecretString; 7]>::try_from(texts) else {
        return Ok(None);
    };
    let pair = |certificate: SecretString, key_pem| {
        Some(ExistingAuthority { certificate_pem: certificate.expose_secret().to_owned(), key_pem })
    };
    Ok(Some(ExistingAuthorities {
        cluster: pair(ca, ca_key),
        front_proxy: pair(proxy, proxy_key),
        etcd: pair(etcd, etcd_key),
        service_account: Some(account),
    }))
}

/// The texts at these paths, in their order, from the first host that has all of them.
async fn first(
    hosts: &dyn Hosts,
    cluster: &str,
    control_planes: &[HostName],
    paths: &[&str],
) -> Result<Option<Vec<SecretString>>, HostError> {
    let mut silence = None;
    for name in control_planes {
        match files_of(hosts, cluster, name, paths).await {
            Ok(None) => {}
            Ok(Some(mut files)) => {
                let texts: Option<Vec<_>> = paths.iter().map(|path| files.remove(*path).map(text)).collect();
                if texts.is_some() {
                    return Ok(texts);
                }
            }
            Err(error) => silence = Some(error),
        }
    }
    silence.map_or(Ok(None), Err)
}

/// Those of the files that a host has; `None` where its own record does not say that it belongs to the cluster.
///
/// # Errors
/// [`HostError`].
pub async fn files_of(
    hosts: &dyn Hosts,
    cluster: &str,
    name: &HostName,
    paths: &[&str],
) -> Result<Option<BTreeMap<String, ReadFile>>, HostError> {
    let host = hosts.host(name).await?;
    let mut files = read_files(host.as_ref(), &[paths, &[HostRecord::PATH]].concat()).await?;
    let record = files.remove(HostRecord::PATH).and_then(|file| {
        // The host's word about itself is data: what is no record names no cluster.
        serde_json::from_slice::<HostRecord>(file.contents.expose_secret()).ok()
    });
    Ok(record.is_some_and(|record| record.cluster == cluster).then_some(files))
}

fn text(file: ReadFile) -> SecretString {
    SecretString::from(String::from_utf8_lossy(file.contents.expose_secret()).into_owned())
}
