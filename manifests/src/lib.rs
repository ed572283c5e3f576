//! Renders what kubeadm would write, from the spec alone: static pods, kubelet and containerd configuration, the
//! objects of a fresh cluster, and the lists of binaries and images a host needs.
//!
//! Everything here is a pure function. File layout, object names and flags are kubeadm's, so that kubeadm and every
//! tool that knows its layout keep working; the tests compare with output recorded from the real kubeadm, and
//! `tests/kubeadm/ACCEPTED.md` lists each difference with its reason.
//!
//! Structures are [`serde_json::Value`]s built with `json!`, which reads like the manifest it becomes; [`yaml`]
//! turns them into text.

#![cfg_attr(test, allow(clippy::unwrap_used))]

use std::str::FromStr;

use serde::{Deserialize, Serialize};

mod arguments;
pub mod artefacts;
pub mod backup;
pub mod cluster_objects;
pub mod containerd;
pub mod endpoint;
pub mod images;
pub mod kubelet;
pub mod layout;
mod merge;
pub mod network;
pub mod node_local;
pub mod static_pods;
pub mod versions;
pub mod yaml;

/// A file to put on a host, owned by root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenderedFile {
    /// Absolute path.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// The whole text.
    pub contents: String,
}

impl RenderedFile {
    fn new(path: impl Into<String>, mode: u32, contents: impl Into<String>) -> Self {
        Self { path: path.into(), mode, contents: contents.into() }
    }
}

/// Processor architecture of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// x86_64.
    Amd64,
    /// aarch64.
    Arm64,
}

impl Arch {
    /// Go's name, which all download paths carry.
    pub fn go(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }
}

impl FromStr for Arch {
    type Err = UnknownArch;

    /// Takes Go's names and those of `uname -m`.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "amd64" | "x86_64" => Ok(Self::Amd64),
            "arm64" | "aarch64" => Ok(Self::Arm64),
            other => Err(UnknownArch(other.to_owned())),
        }
    }
}

/// No binaries are published for this architecture, or we do not know it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither amd64 (x86_64) nor arm64 (aarch64)")]
pub struct UnknownArch(pub String);
