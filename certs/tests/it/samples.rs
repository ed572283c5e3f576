//! Clusters and folders that several tests use.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use kubewright_certs::cluster::{ClusterPki, Host, PkiFile, Roles};
use kubewright_certs::key::KeyAlgorithm;
use kubewright_certs::profile::{KubernetesVersion, Validity};

/// 2026-11-21T01:55:00Z and a bit, so that seconds have to be rounded.
pub const NOW: &str = "2026-11-21T01:55:00.75Z";

pub fn host(name: &str, address: &str, roles: Roles) -> Host {
    Host {
        name: name.to_owned(),
        addresses: vec![address.parse().unwrap()],
        dns_names: Vec::new(),
        roles,
        kubelet_api_server: None,
    }
}

/// One stacked control plane; with ECDSA, because tests need many keys.
pub fn single() -> ClusterPki {
    ClusterPki {
        cluster_name: "kubernetes".to_owned(),
        version: KubernetesVersion::new(35, 4),
        algorithm: KeyAlgorithm::EcdsaP256,
        validity: Validity::default(),
        now: NOW.parse().unwrap(),
        service_domain: "cluster.local".to_owned(),
        service_addresses: vec!["10.96.0.1".parse().unwrap()],
        control_plane_endpoint: None,
        api_port: 6443,
        extra_api_server_names: Vec::new(),
        extra_etcd_server_names: Vec::new(),
        extra_etcd_peer_names: Vec::new(),
        hosts: vec![host("cp1", "10.90.0.11", Roles::STACKED)],
    }
}

/// Three stacked control planes and two workers.
pub fn ha() -> ClusterPki {
    let mut pki = single();
    pki.cluster_name = "lab".to_owned();
    pki.hosts = vec![
        host("cp1", "10.90.0.11", Roles::STACKED),
        host("cp2", "10.90.0.12", Roles::STACKED),
        host("cp3", "10.90.0.13", Roles::STACKED),
        host("w1", "10.90.0.21", Roles::WORKER),
        host("w2", "10.90.0.22", Roles::WORKER),
    ];
    pki
}

/// Writes a host's files below `root`, links included, with their modes.
pub fn write(root: &Path, files: &[PkiFile]) {
    for file in files {
        let path = root.join(file.path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match file.link_target() {
            Some(target) => symlink(root.join(target.trim_start_matches('/')), &path).unwrap(),
            None => {
                fs::write(&path, file.expose_text().unwrap()).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(file.mode)).unwrap();
            }
        }
    }
}
