//! Host paths that the control plane's containers see (kubeadm's `phases/controlplane/volumes.go`).

use std::collections::BTreeMap;

use kubewright_core::spec::HostPathMount;
use serde_json::{Value, json};

use crate::layout::PKI_DIR;

/// Where the host keeps authorities it trusts, besides /etc/ssl/certs, whose links may point here.
///
/// kubeadm mounts those that exist on the host at that moment. We always mount Debian's (and Ubuntu's) three: a
/// manifest then depends on the spec alone, so it is the same when planned, when written and on every control plane,
/// and a directory that is missing is created empty. RHEL's /etc/pki comes with its playbooks.
const TRUST_DIRS: [&str; 3] =
    ["/etc/ca-certificates", "/usr/local/share/ca-certificates", "/usr/share/ca-certificates"];

/// A path of the host in a container.
#[derive(Clone, Debug)]
pub(crate) struct HostMount {
    pub name: String,
    pub host_path: String,
    pub mount_path: String,
    pub read_only: bool,
    pub path_type: Option<String>,
}

impl HostMount {
    /// The same path inside and out, made if missing.
    fn same(name: &str, path: &str, read_only: bool, path_type: &str) -> Self {
        Self {
            name: name.to_owned(),
            host_path: path.to_owned(),
            mount_path: path.to_owned(),
            read_only,
            path_type: Some(path_type.to_owned()),
        }
    }

    /// A directory that the container may write.
    pub(crate) fn writable(name: &str, path: &str) -> Self {
        Self::same(name, path, false, "DirectoryOrCreate")
    }

    /// A directory that the container may read.
    pub(crate) fn directory(name: &str, path: &str) -> Self {
        Self::same(name, path, true, "DirectoryOrCreate")
    }

    /// A file that the container may read.
    pub(crate) fn file(name: &str, path: &str) -> Self {
        Self::same(name, path, true, "FileOrCreate")
    }

    /// Entry of the pod's `volumes`.
    pub(crate) fn volume(&self) -> Value {
        let mut host_path = json!({ "path": self.host_path });
        if let Some(path_type) = &self.path_type {
            host_path["type"] = json!(path_type);
        }
        json!({ "name": self.name, "hostPath": host_path })
    }

    /// Entry of the container's `volumeMounts`.
    pub(crate) fn mount(&self) -> Value {
        let mut mount = json!({ "name": self.name, "mountPath": self.mount_path });
        if self.read_only {
            mount["readOnly"] = json!(true);
        }
        mount
    }
}

impl From<&HostPathMount> for HostMount {
    fn from(mount: &HostPathMount) -> Self {
        Self {
            name: mount.name.clone(),
            host_path: mount.host_path.clone(),
            mount_path: mount.mount_path.clone(),
            read_only: mount.read_only,
            path_type: mount.path_type.clone(),
        }
    }
}

/// Certificates of the cluster and authorities of the host: what kube-apiserver and kube-controller-manager read.
pub(crate) fn certificates() -> Vec<HostMount> {
    let mut mounts =
        vec![HostMount::directory("k8s-certs", PKI_DIR), HostMount::directory("ca-certs", "/etc/ssl/certs")];
    mounts.extend(TRUST_DIRS.iter().map(|path| HostMount::directory(&path[1..].replace('/', "-"), path)));
    mounts
}

/// Ours with the user's: a name of the user's replaces ours, and the result is sorted by name, as kubeadm does.
pub(crate) fn with_extra(ours: Vec<HostMount>, extra: &[HostPathMount]) -> Vec<HostMount> {
    let all = ours.into_iter().chain(extra.iter().map(HostMount::from));
    all.map(|mount| (mount.name.clone(), mount)).collect::<BTreeMap<_, _>>().into_values().collect()
}
