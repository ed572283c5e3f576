//! What speaks against a snapshot of etcd.

use super::{Area, code};
use crate::finding::Severity::{Blocks, NeedsConsent};

/// Found in a snapshot of etcd.
pub const SNAPSHOT: Area = Area {
    title: "Snapshots of etcd",
    about: "Found by `kubewright etcd verify FILE`, which reads the file and touches nothing. \
            [How to look at a snapshot](../how-to/look-at-a-snapshot.md).",
    sources: &["src/cli/etcd.rs", "src/cli/etcd"],
    codes: &[
        code(
            "SNAP001",
            Blocks,
            "The file is no etcd snapshot, or cannot be read to its end: empty, packed, cut off, or with a damaged page or entry, which \
             is named with its place.",
        ),
        code(
            "SNAP002",
            Blocks,
            "The digest at the file's end is not that of its bytes: something changed after it was saved. `etcdutl hashkv` and other \
             tools that open the file for writing do that too.",
        ),
        code(
            "SNAP003",
            Blocks,
            "The file's end or one of its two meta pages is broken: a part of the digest is there, or something that is none.",
        ),
        code(
            "SNAP004",
            NeedsConsent,
            "There is no digest, as in a copy of `member/snap/db`. Pages are checked; that values are as they were saved is not proved.",
        ),
        code(
            "SNAP005",
            NeedsConsent,
            "Members that are none, such as etcd 3.4 leaves when it restores: a server from 3.6 on takes them for real and finds no majority.",
        ),
        code(
            "SNAP006",
            NeedsConsent,
            "An alarm is in the file and is raised again by a restore. NOSPACE makes the cluster read-only whatever its quota is then.",
        ),
        code(
            "SNAP007",
            Blocks,
            "The etcd that is to have it (`--server`) is older than the file's storage version and does not start on it.",
        ),
        code("SNAP008", Blocks, "The file is packed, and cannot be unpacked to its end: it is cut off or changed."),
        code(
            "SNAP009",
            Blocks,
            "The file is not the one that the manifest beside it tells of: its SHA-256 is another one. It was changed, or exchanged.",
        ),
    ],
};
