//! What is worth knowing of a running etcd.

use super::{Area, code};
use crate::finding::Severity::{Blocks, Info, Warns};

/// Found by `kubewright etcd status`.
pub const ETCD: Area = Area {
    title: "A running etcd",
    about: "Found by `kubewright etcd status`, which asks every member at its own endpoint and changes nothing. It ends with 5 where one \
            of them blocks. [How to see how etcd is](../how-to/see-how-etcd-is.md).",
    sources: &["core/src/etcd"],
    codes: &[
        code(
            "MEMB001",
            Blocks,
            "Fewer voters than a majority are known to be well: nothing can be written, and most reads wait. What was confirmed is on the \
             members' disks; save a snapshot of the best survivor, then bring members back.",
        ),
        code(
            "MEMB002",
            Blocks,
            "A member's HashKV differs from that of a majority at the same revision and compaction: its data is damaged, whatever its alarms \
             say. Replace it; never take it for the source of a restore.",
        ),
        code(
            "MEMB003",
            Blocks,
            "Members' contents differ, and no majority tells which of them is right. Save a snapshot of each before anything is stopped.",
        ),
        code(
            "MEMB004",
            Warns,
            "A member is not well: it does not run, gives no answer, cannot be seen from here, is behind, follows no leader, or cannot read \
             through a majority. One that gives no answer may be alive. Once it may run again, 'kubewright etcd restart HOST' starts it \
             in seconds; by itself its kubelet may take minutes, for it waits for an API server that waits for this etcd.",
        ),
        code(
            "MEMB005",
            Blocks,
            "An alarm is raised. NOSPACE: the quota is used up, the cluster only reads and deletes. CORRUPT: contents differ.",
        ),
        code("MEMB006", Warns, "A database has 80 % of its quota or more. At the quota nothing can be written."),
        code(
            "MEMB007",
            Info,
            "More than half of a database's file is free; a defragmentation gives it back to the disk.",
        ),
        code(
            "MEMB008",
            Warns,
            "A certificate of etcd's expires within 30 days; one that has expired blocks, for nobody can connect with it.",
        ),
        code("MEMB009", Info, "A host's certificates could not be read, so that nothing is known of when they expire."),
        code(
            "MEMB010",
            Warns,
            "Members run minor versions of etcd that are more than one apart, which etcd does not support.",
        ),
        code(
            "MEMB011",
            Warns,
            "A host with the role etcd has no member of the cluster: nothing was built there yet, it was removed, or it serves another one.",
        ),
        code(
            "MEMB012",
            Info,
            "Contents could not be compared among a majority of the voters, such as right after a compaction.",
        ),
    ],
};
