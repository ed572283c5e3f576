//! Files as they will lie on a host, and the operator's way in.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};

use crate::kubeconfig::{ClientCertificate, ClusterEntry, Kubeconfig};

/// Mode of keys, kubeconfigs and, as in kubeadm, `sa.pub`. Source: client-go `keyutil.WriteKey`.
pub const PRIVATE_MODE: u32 = 0o600;
/// Mode of certificates. Source: client-go `cert.WriteCert`.
pub const PUBLIC_MODE: u32 = 0o644;
/// Mode that Linux reports for every symbolic link.
const LINK_MODE: u32 = 0o777;

/// One file of a host, at its final place. It belongs to root.
#[derive(Debug, Clone)]
pub struct PkiFile {
    /// Absolute path on the host.
    pub path: String,
    /// Permissions.
    pub mode: u32,
    /// What stands in it.
    pub contents: Contents,
}

/// What stands in a file.
#[derive(Debug, Clone)]
pub enum Contents {
    /// Text that everybody may read.
    Public(String),
    /// Text with a private key in it; `Debug` hides it.
    Secret(SecretString),
    /// A symbolic link to that absolute path.
    Link(String),
}

impl PkiFile {
    pub(super) fn public(path: &str, mode: u32, text: impl Into<String>) -> Self {
        Self { path: path.to_owned(), mode, contents: Contents::Public(text.into()) }
    }

    pub(super) fn secret(path: &str, text: SecretString) -> Self {
        Self { path: path.to_owned(), mode: PRIVATE_MODE, contents: Contents::Secret(text) }
    }

    pub(super) fn link(path: &str, target: &str) -> Self {
        Self { path: path.to_owned(), mode: LINK_MODE, contents: Contents::Link(target.to_owned()) }
    }

    /// Whether the file must never be shown or logged.
    pub fn is_secret(&self) -> bool {
        matches!(self.contents, Contents::Secret(_))
    }

    /// The text, secret or not; `None` for a link. For writing it to the host, and nothing else.
    pub fn expose_text(&self) -> Option<&str> {
        match &self.contents {
            Contents::Public(text) => Some(text),
            Contents::Secret(text) => Some(text.expose_secret()),
            Contents::Link(_) => None,
        }
    }

    /// Where the link points to; `None` for a file.
    pub fn link_target(&self) -> Option<&str> {
        match &self.contents {
            Contents::Link(target) => Some(target),
            Contents::Public(_) | Contents::Secret(_) => None,
        }
    }
}

/// All files of a cluster.
#[derive(Debug, Clone)]
pub struct ClusterFiles {
    /// Per host by name, in the order they should be written.
    pub hosts: BTreeMap<String, Vec<PkiFile>>,
    /// The operator's way in.
    pub operator: OperatorAccess,
}

/// What the operator's kubeconfig is made of: an administrator's certificate of its own, and the places to
/// reach the API.
#[derive(Debug, Clone)]
pub struct OperatorAccess {
    /// Name of the user in the kubeconfig.
    pub user: String,
    /// Certificate of the cluster authority.
    pub authority_pem: String,
    /// The administrator's certificate.
    pub certificate_pem: String,
    /// Its key.
    pub key_pem: SecretString,
    /// The cluster's name with the control plane endpoint, where there is one; otherwise every control plane as
    /// `<cluster>` (the first) and `<cluster>-<host>` (the others).
    pub clusters: Vec<ClusterEntry>,
}

impl OperatorAccess {
    /// The kubeconfig with these ways to the cluster, the first being the current one.
    pub fn kubeconfig(&self, clusters: Vec<ClusterEntry>) -> Kubeconfig {
        Kubeconfig {
            clusters,
            authority_pem: self.authority_pem.clone(),
            user: self.user.clone(),
            client: ClientCertificate::Embedded {
                certificate_pem: self.certificate_pem.clone(),
                key_pem: self.key_pem.clone(),
            },
        }
    }
}
