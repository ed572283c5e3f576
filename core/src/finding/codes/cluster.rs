//! What stands in the way of taking apart, leaving, and of a plan.

use super::{Area, code};
use crate::finding::Severity::{Blocks, Info, NeedsConsent, Warns};

/// Found before hosts are taken apart.
pub const RESET: Area = Area {
    title: "Taking hosts apart",
    about: "Found before `kubewright reset` takes anything apart.",
    sources: &["core/src/planner/reset.rs"],
    codes: &[
        code("RESET001", NeedsConsent, "A host cannot be asked. It stays as it is while the others are taken apart."),
        code("RESET002", Blocks, "A host belongs to another cluster, or whose it is cannot be read."),
        code("RESET003", Blocks, "A host is part of a cluster that stands. It leaves by `kubewright node remove`."),
        code("RESET004", Blocks, "A host holds a Kubernetes or an etcd that no operation of ours made."),
    ],
};

/// Found before a node is taken out.
pub const LEAVE: Area = Area {
    title: "Leaving",
    about: "Found before `kubewright node remove` takes a node out of its cluster. Its pods are judged as by `node drain`.",
    sources: &["core/src/planner/remove.rs"],
    codes: &[
        code(
            "LEAVE001",
            Blocks,
            "It is the last control plane. The whole cluster is taken apart by `kubewright reset`.",
        ),
        code("LEAVE002", Blocks, "The cluster's API cannot be asked, so that nothing can be moved or taken out."),
        code(
            "LEAVE003",
            NeedsConsent,
            "The host cannot be asked: its pods are not moved and what it runs is not stopped. Agree only if it is off for good.",
        ),
        code("LEAVE004", Blocks, "etcd does not bear the loss of the member now, or cannot be asked."),
        code("LEAVE005", Blocks, "The host belongs to another cluster by now."),
    ],
};

/// Found before nodes are worked on.
pub const MAINT: Area = Area {
    title: "Maintenance",
    about: "Found before `kubewright node maintain`, `node reboot` or `upgrade` begins. The pods of each node are judged as by `node drain`.",
    sources: &["core/src/planner/maintain.rs", "core/src/planner/turn.rs"],
    codes: &[
        code(
            "MAINT001",
            NeedsConsent,
            "The host has the only etcd: while it restarts no API server answers. Pods that run go on.",
        ),
        code("MAINT002", Blocks, "etcd does not bear that the host's member stops for a while, or cannot be asked."),
        code(
            "MAINT003",
            Blocks,
            "The host cannot be asked, belongs to another cluster, or whose it is cannot be read.",
        ),
        code("MAINT004", Blocks, "The host's packages are not of Debian or Ubuntu, and kubewright updates no others."),
        code("MAINT005", Info, "Packages that the update leaves as they are."),
        code(
            "MAINT006",
            Info,
            "The script stands in the plan, which is kept on the control planes, and may run twice on a node after a crash.",
        ),
        code(
            "MAINT007",
            Warns,
            "All workers may be away at once by a pool's `maxUnavailable`. Load balancers leave control planes out, and find no node meanwhile.",
        ),
    ],
};

/// Found before another version comes.
pub const UPGRADE: Area = Area {
    title: "Upgrades",
    about: "Found before `kubewright upgrade` begins. Nodes are judged as by `node maintain`, their pods as by `node drain`.",
    sources: &["core/src/planner/upgrade.rs", "core/src/planner/upgrade"],
    codes: &[
        code("UPG001", Blocks, "The version is older than what an API server runs. Kubernetes does not go back."),
        code("UPG002", Blocks, "The way leaves a minor out. Name a version of each minor between: `--via`."),
        code(
            "UPG003",
            Blocks,
            "Versions that run now may not run beside each other by Kubernetes' version skew policy.",
        ),
        code(
            "UPG004",
            Blocks,
            "A node whose turn would come is not Ready. Mend it, or leave it with the version it has: `--leave`.",
        ),
        code("UPG005", Blocks, "What the cluster runs cannot be seen."),
        code(
            "UPG006",
            Blocks,
            "What keeps its version for a while, or with `--leave` to the end, would not fit the API servers. Upgrade it first, or do not leave it.",
        ),
        code(
            "UPG007",
            Blocks,
            "A node has no room for the programs and images of the new version. The finding says where, what is there and what is needed.",
        ),
        code(
            "UPG008",
            Blocks,
            "etcd would jump: back, over a minor, or from a 3.5 before 3.5.26 to 3.6, where members that left long ago come back.",
        ),
        code(
            "UPG009",
            Warns,
            "A node runs containerd 1.x, with which kubelets from 1.37 on do not start; from there on it blocks.",
        ),
        code("UPG010", Blocks, "A certificate has ended. The finding says how it is renewed."),
        code(
            "UPG011",
            Warns,
            "A certificate ends within 90 days, before the next upgrade is due. Information where it is renewed on the way, in its host's turn.",
        ),
        code("UPG012", Warns, "When a host's certificates end could not be read."),
        code(
            "UPG013",
            Warns,
            "All workers may be away at once by a pool's `maxUnavailable`. Load balancers leave control planes out, and find no node meanwhile.",
        ),
        code(
            "API004",
            Warns,
            "Somebody asks for a version of an API that a release on the way no longer serves. The finding says who wrote objects in it, and when last.",
        ),
        code("API005", Info, "Somebody asks for a version of an API that goes with a later release."),
        code("API006", Warns, "An API server does not tell which APIs that go are asked for."),
        code("ETCD011", Info, "A copy of etcd that was proved is younger than a day."),
        code("ETCD012", Warns, "There is no copy of etcd, none that is proved, or the newest is older than a day."),
        code("ETCD013", Warns, "Whether there is a copy of etcd in the spec's store cannot be seen."),
    ],
};

/// Found in a plan.
pub const PLAN: Area = Area {
    title: "The plan",
    about: "Found by checking a plan for contradictions before it is shown or run. In a plan that kubewright made each of them \
            is a defect: please report it. In a saved plan it may have been edited.",
    sources: &["core/src/plan"],
    codes: &[
        code("PLAN001", Blocks, "Steps wait for each other in a circle."),
        code("PLAN002", Blocks, "Two steps have one name."),
        code("PLAN003", Blocks, "A step is about a host that is not in the spec."),
        code("PLAN004", Blocks, "A step waits for one that does not stand before it."),
        code(
            "PLAN005",
            Blocks,
            "A control plane waits for another's start, though the first etcd needs a majority at once.",
        ),
        code("PLAN006", Blocks, "A control plane would start before every etcd member has its files."),
    ],
};
