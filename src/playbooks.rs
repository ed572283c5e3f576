//! The scripts that hosts run, embedded from `playbooks/`. Constants: values reach them as assignments.

/// Refuses to work for a run that another one has overtaken.
pub const FENCE_CHECK: &str = include_str!("../playbooks/common/fence-check.sh");

/// Reads and changes a host's lock.
pub const FENCE: &str = include_str!("../playbooks/common/fence.sh");

/// Puts, reads and removes files.
pub const FILES: &str = include_str!("../playbooks/common/files.sh");

/// Appends to, reads and lists the mirror of the journal.
pub const MIRROR: &str = include_str!("../playbooks/common/mirror.sh");

/// Takes away what runs kept on a host that was taken apart.
pub const FORGET: &str = include_str!("../playbooks/common/forget.sh");

/// Starts a unit or attaches to it, and follows it to its end.
pub const UNIT: &str = include_str!("../playbooks/common/unit.sh");

/// What a unit runs: its body, with output and result kept.
pub const UNIT_WRAPPER: &str = include_str!("../playbooks/common/unit-wrapper.sh");

/// Tells what is known of a unit.
pub const UNIT_STATE: &str = include_str!("../playbooks/common/unit-state.sh");

/// Restarts a machine, or tells whether it was restarted.
pub const REBOOT: &str = include_str!("../playbooks/common/reboot.sh");

/// Runs a script of the user's.
pub const RUN_SCRIPT: &str = include_str!("../playbooks/common/run-script.sh");

/// Tells which boot, kernel and containers run.
pub const RETURNED: &str = include_str!("../playbooks/common/returned.sh");
/// The end of what etcd's container logged.
pub const ETCD_LOGS: &str = include_str!("../playbooks/common/etcd-logs.sh");

/// Tells everything that [`kubewright_core::facts::HostFacts`] holds.
pub const FACTS: &str = concat!(
    include_str!("../playbooks/common/facts/say.sh"),
    include_str!("../playbooks/common/facts/questions.sh"),
    include_str!("../playbooks/common/facts/fitness.sh"),
    include_str!("../playbooks/common/facts/system.sh"),
    include_str!("../playbooks/common/facts/network.sh"),
    include_str!("../playbooks/common/facts/kubernetes.sh"),
    include_str!("../playbooks/common/facts/ours.sh"),
    include_str!("../playbooks/common/facts/all.sh"),
);

/// The parts of a Debian task, one after another; each part says at its head what it needs before it.
macro_rules! debian {
    ($($part:literal),+) => {
        concat!($(include_str!(concat!("../playbooks/debian/", $part))),+)
    };
}

/// Has a host take copies of etcd by itself, or stop it, or tells how that goes.
pub const SCHEDULE: &str = debian!("say.sh", "copies.sh", "schedule.sh");

/// Everything a host needs before the first Kubernetes process starts.
pub const PREPARE: &str =
    debian!("say.sh", "pool.sh", "kernel.sh", "packages.sh", "artefacts.sh", "service.sh", "runtime.sh", "prepare.sh");

/// Starts a control plane and waits until it serves.
pub const START_CONTROL_PLANE: &str =
    debian!("say.sh", "service.sh", "health.sh", "wait.sh", "serve.sh", "start-control-plane.sh");

/// Starts a host's etcd alone and waits until it runs.
pub const START_ETCD_MEMBER: &str = debian!("say.sh", "service.sh", "health.sh", "wait.sh", "start-etcd-member.sh");

/// Ends a host's etcd and waits until the next one serves.
pub const RESTART_ETCD: &str =
    debian!("say.sh", "service.sh", "health.sh", "wait.sh", "static-pods.sh", "etcd.sh", "restart-etcd.sh");

/// Ends a host's etcd, and what cannot serve without it; data and manifests are kept.
pub const SET_ETCD_ASIDE: &str =
    debian!("say.sh", "service.sh", "health.sh", "wait.sh", "static-pods.sh", "etcd.sh", "set-etcd-aside.sh");

/// A part of all of etcd going back to a snapshot, or of taking that back.
pub const RESTORE: &str =
    debian!("say.sh", "service.sh", "health.sh", "wait.sh", "static-pods.sh", "etcd.sh", "restore.sh");

/// Starts a worker and waits until it reaches the API.
pub const START_WORKER: &str = debian!("say.sh", "service.sh", "health.sh", "wait.sh", "serve.sh", "start-worker.sh");

/// Goes over to another version of Kubernetes, or back.
pub const SWAP: &str =
    debian!("say.sh", "artefacts.sh", "service.sh", "health.sh", "wait.sh", "serve.sh", "static-pods.sh", "swap.sh");

/// Takes off a host what kubewright put on it.
pub const RESET: &str =
    debian!("say.sh", "runtime.sh", "pods.sh", "static-pods.sh", "etcd.sh", "copies.sh", "reset.sh");

/// Brings the distribution's packages up to date.
pub const UPDATE_PACKAGES: &str = debian!("say.sh", "packages.sh", "update-packages.sh");

/// Answers whether a task was done.
pub const VERIFY: &str = debian!(
    "say.sh",
    "kernel.sh",
    "packages.sh",
    "artefacts.sh",
    "service.sh",
    "runtime.sh",
    "health.sh",
    "wait.sh",
    "verify.sh"
);
