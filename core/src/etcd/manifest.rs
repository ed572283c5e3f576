//! What is kept beside a snapshot: what it is, where it comes from, and who stands behind it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::attest::Attestation;
use crate::facts::etcd::{ClusterId, Member, MemberId};
use crate::ids::HostName;
use crate::spec::Compression;

/// The version of the format that is written.
pub const FORMAT: u32 = 1;

/// One snapshot's papers. Readers pass over fields that they do not know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Version of this format.
    pub v: u32,
    /// The cluster's name.
    pub cluster: String,
    /// etcd's own number for it.
    pub cluster_id: ClusterId,
    /// When it was begun, by the operator's clock.
    pub taken: Timestamp,
    /// The version of kubewright that took it.
    pub kubewright: String,
    /// From which member.
    pub from: Source,
    /// Whether a majority of the members was well then; without one it is what the best survivor had.
    pub with_quorum: bool,
    /// The file.
    pub file: FileFacts,
    /// What the file holds.
    pub contents: Contents,
    /// Who holds the same.
    pub attestation: Attestation,
    /// The members as they were listed.
    pub members: Vec<Member>,
    /// Versions of etcd that run, by member.
    pub versions: BTreeMap<MemberId, String>,
    /// What has to be on the hosts for the data to be of use.
    pub keys: Fingerprints,
    /// How fast revisions grow, where an earlier observation is known: a restore must go beyond what clients have seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writes_per_second: Option<f64>,
    /// SHA-256 of each file beside the snapshot, by its path.
    pub companions: BTreeMap<String, String>,
    /// The keys beside it, where they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<Sealed>,
    /// What is missing beside it, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// Whom a snapshot is from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// The member.
    pub member: MemberId,
    /// Its name.
    pub name: String,
    /// The host that it lives on.
    pub host: HostName,
    /// Whether it led.
    pub led: bool,
    /// The election that it lived in.
    pub term: u64,
    /// The last entry that it had carried out when it was asked.
    pub applied_index: u64,
}

/// A file as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileFacts {
    /// Its name beside this.
    pub name: String,
    /// Bytes.
    pub bytes: u64,
    /// SHA-256 of all of them, in hex, as `sha256sum` prints it.
    pub sha256: String,
    /// What it was before it was packed, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpacked: Option<Unpacked>,
}

impl FileFacts {
    /// Bytes of the snapshot itself, packed or not.
    pub fn snapshot_bytes(&self) -> u64 {
        self.unpacked.as_ref().map_or(self.bytes, |unpacked| unpacked.bytes)
    }
}

/// A snapshot as etcd sent it, before it was packed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unpacked {
    /// How it was packed: `zstd`.
    pub packed_by: Compression,
    /// Bytes.
    pub bytes: u64,
    /// SHA-256 of all of them, in hex.
    pub sha256: String,
}

/// Keys that are kept beside a snapshot, encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sealed {
    /// The encrypted archive beside the snapshot.
    pub name: String,
    /// The public keys that it is encrypted for.
    pub recipients: Vec<String>,
    /// Paths of the files in it, as they are on a control plane.
    pub files: Vec<String>,
}

/// What a snapshot holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Contents {
    /// The newest revision.
    pub revision: i64,
    /// Where history begins; -1 where nothing was compacted.
    pub compact_revision: i64,
    /// HashKV at the newest revision.
    pub hash_kv: u32,
    /// CRC-32C over everything, as `etcdutl snapshot status` prints it.
    pub status_hash: u32,
    /// Keys that exist.
    pub keys: u64,
    /// The version of etcd that the file is written for, where it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_version: Option<String>,
    /// Raft's index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// Raft's term.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<u64>,
}

/// Public keys and settings of the cluster, by their hashes: a restore compares them with what the hosts have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Fingerprints {
    /// Of the cluster's authority, kubeadm's `sha256:…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// Of etcd's authority, the same way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etcd_authority: Option<String>,
    /// SHA-256 of the public key that service account tokens are checked with (`sa.pub`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// SHA-256 of the API server's encryption configuration: without its keys encrypted objects are lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption_configuration: Option<String>,
}

/// Revisions a second between two observations of one cluster; none where they say nothing: too close, or turned back.
pub fn writes_per_second(earlier: (Timestamp, i64), later: (Timestamp, i64)) -> Option<f64> {
    let seconds = later.0.duration_since(earlier.0).as_secs_f64();
    let revisions = later.1.checked_sub(earlier.1).filter(|revisions| *revisions >= 0)?;
    // Revisions of one second say more about that second than about the cluster.
    (seconds >= 1.0).then(|| revisions as f64 / seconds)
}
