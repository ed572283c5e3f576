//! What speaks against work on etcd.

use super::{Area, code};
use crate::finding::Severity::{Blocks, Info, NeedsConsent, Warns};

/// Found by the commands that work on etcd.
pub const WORK: Area = Area {
    title: "Work on etcd",
    about: "Found by `kubewright etcd move-leader`, `defrag`, `restart`, `compact`, `alarm disarm` and `schedule` before anything is done. Guards ask again before each step. \
            [How to maintain etcd](../how-to/maintain-etcd.md).",
    sources: &["core/src/planner/etcd.rs", "core/src/planner/schedule.rs"],
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
            "With one or two members nothing can be written while one of them is defragmented or restarted.",
        ),
        code(
            "WORK005",
            Blocks,
            "A database is at its quota still, so that NOSPACE would be raised again at the next write.",
        ),
        code("WORK006", NeedsConsent, "An alarm that contents differ would be taken back."),
        code(
            "WORK007",
            Warns,
            "A host does not answer or is no part of the cluster; its timer, or that it has none, stays as it is.",
        ),
        code(
            "WORK008",
            Blocks,
            "The folder for copies that hosts take by themselves is no absolute path of plain characters.",
        ),
    ],
};

/// Found by the commands that change who is a member of etcd.
pub const CHANGE: Area = Area {
    title: "Changes of etcd's members",
    about: "Found by `kubewright etcd member replace`, `add` and `remove` before anything is done. Guards ask again before each step. \
            [How to replace a member of etcd](../how-to/replace-an-etcd-member.md).",
    sources: &["core/src/planner/members.rs"],
    codes: &[
        code("VOTER001", Blocks, "No member of etcd could be asked."),
        code(
            "VOTER002",
            Blocks,
            "etcd does not bear it now: no majority would be left, another member is not well, a learner is on its way, an alarm is raised. The \
             finding names what to mend first.",
        ),
        code("VOTER003", Blocks, "There is no such member, or the spec names no such host with role etcd."),
        code(
            "VOTER004",
            Blocks,
            "A member cannot be brought to this host: it gives no answer, or is no finished part of this cluster.",
        ),
        code(
            "VOTER005",
            NeedsConsent,
            "A member that gives no answer, or cannot be seen from here, would be taken out. It may be alive: slow is not dead. The finding says how \
             many members may be lost without it.",
        ),
        code(
            "VOTER006",
            NeedsConsent,
            "A member would be replaced that is well, as far as can be told. Right where its contents differ or its disk is to go.",
        ),
        code(
            "VOTER007",
            Blocks,
            "Manifests of the host's static pods differ from the spec, or cannot be read. They are written anew when its member is, which must change \
             nothing else.",
        ),
        code(
            "VOTER008",
            Blocks,
            "A member would be added to a host that has one. Where it is not well it is replaced.",
        ),
        code(
            "VOTER009",
            NeedsConsent,
            "The member of a living control plane would be taken out, so that its API server and its kubelet lose their etcd.",
        ),
        code(
            "VOTER010",
            Info,
            "The host stands in the spec and will have no member; `kubewright etcd member add` brings one back.",
        ),
        code(
            "VOTER011",
            Warns,
            "Another member than the one that is taken out is not well. It is left as it is, and in the end only the others are proved.",
        ),
        code(
            "VOTER012",
            Info,
            "The member of a host has left etcd already, as after a removal that was given up in between; what is there of its etcd, and of the \
             control plane beside it, ends and moves aside.",
        ),
    ],
};

/// Found by `kubewright etcd restore`.
pub const RESTORE: Area = Area {
    title: "Restoring etcd",
    about: "Found by `kubewright etcd restore`, `--undo` and `--finalize` before anything is stopped.",
    sources: &["core/src/planner/restore.rs"],
    codes: &[
        code(
            "REST001",
            Blocks,
            "A control plane does not answer or is no finished part of the cluster. Its old etcd could vote on.",
        ),
        code("REST002", Blocks, "The snapshot is damaged, or cannot be shown to be whole."),
        code("REST003", Blocks, "The snapshot was written by a newer etcd than the one that would serve it."),
        code(
            "REST004",
            Blocks,
            "The snapshot is of another cluster: its authorities or service-account keys are not those on the hosts.",
        ),
        code(
            "REST005",
            NeedsConsent,
            "What was written since is lost. The finding tells the age and, where etcd can be read, what by kind.",
        ),
        code("REST006", Blocks, "The image of the host's etcd has no etcdutl of 3.5.10 or newer."),
        code("REST007", Blocks, "The disk of etcd's data has too little room: 2.5 times the snapshot is wanted."),
        code(
            "REST008",
            Blocks,
            "/var/lib/etcd is a file system of its own, so its data cannot be exchanged by renaming.",
        ),
        code(
            "REST009",
            Blocks,
            "A restore from before is neither undone nor final, or there is none to undo or make final.",
        ),
        code(
            "REST010",
            Warns,
            "No manifest lies beside the snapshot: of which cluster it is, and when it was taken, nobody can tell.",
        ),
        code("REST011", Warns, "A worker does not answer: restart its kubelet and kube-proxy once it does."),
        code(
            "REST012",
            Blocks,
            "Undoing it would start a member without the data that it had voted with: there was none on its host before the restore.",
        ),
        code(
            "REST013",
            Blocks,
            "Members of etcd live on other hosts than control planes; such a cluster is not restored by kubewright yet.",
        ),
        code("REST014", Blocks, "The snapshot is larger than what is brought to hosts in one piece."),
        code("REST015", NeedsConsent, "What etcd held before the restore is deleted for good."),
    ],
};
