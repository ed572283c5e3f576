//! What speaks against work on etcd.

use super::{Area, code};
use crate::finding::Severity::{Blocks, NeedsConsent};

/// Found by the commands that work on etcd.
pub const WORK: Area = Area {
    title: "Work on etcd",
    about: "Found by `kubewright etcd move-leader`, `defrag`, `compact` and `alarm disarm` before anything is done. Guards ask again before each step. \
            [How to maintain etcd](../how-to/maintain-etcd.md).",
    sources: &["core/src/planner/etcd.rs"],
    codes: &[
        code("WORK001", Blocks, "No member of etcd could be asked."),
        code(
            "WORK002",
            Blocks,
            "etcd does not bear it now: a member is not well, another would be needed for a majority, a learner is on its way, an alarm says that \
             contents differ. The finding names what to mend first.",
        ),
        code("WORK003", Blocks, "A host that was named has no member of etcd."),
        code(
            "WORK004",
            NeedsConsent,
            "With one or two members nothing can be written while one of them is defragmented.",
        ),
        code(
            "WORK005",
            Blocks,
            "A database is at its quota still, so that NOSPACE would be raised again at the next write.",
        ),
        code("WORK006", NeedsConsent, "An alarm that contents differ would be taken back."),
    ],
};
