//! What is worth knowing of a copy of etcd that was taken.

use super::{Area, code};
use crate::finding::Severity::{Info, Warns};

/// Found by `kubewright etcd snapshot`.
pub const SAVE: Area = Area {
    title: "Copies of etcd that are taken",
    about: "Found by `kubewright etcd snapshot` while it takes a copy and proves it. \
            [How to save etcd](../how-to/save-etcd.md).",
    sources: &["src/backup"],
    codes: &[
        code(
            "SAVE001",
            Warns,
            "A member's contents differ from those of a majority at the copy's revision: the member is damaged. A copy of it is thrown away, and \
             one of another member taken.",
        ),
        code(
            "SAVE002",
            Warns,
            "No majority of the voters could be compared with the copy: members are away, or etcd has no majority. The copy is whole, and counts \
             as unverified.",
        ),
        code(
            "SAVE003",
            Warns,
            "Another member's contents differ from the copy, and no majority tells which is right. Take one of the other too.",
        ),
        code("SAVE004", Warns, "A member gave no copy that is whole; the next best one was asked."),
        code("SAVE005", Info, "Something that is kept beside a copy could not be had; the copy itself is as good."),
        code(
            "SAVE006",
            Warns,
            "Something in the copy matters when it is restored: an alarm that is raised again, or members that are none.",
        ),
        code("SAVE007", Warns, "An old copy that was to go could not be removed."),
        code(
            "SAVE008",
            Info,
            "Something among the copies is none: it has no manifest that can be read, or its snapshot is not there as the manifest tells. It is never \
             removed.",
        ),
        code(
            "SAVE009",
            Warns,
            "Not all keys could be kept that were asked for: an authority's key is on no host, or hosts have different ones.",
        ),
    ],
};
