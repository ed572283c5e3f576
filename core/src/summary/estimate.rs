//! How long steps usually take. Good enough for "about 1 min 40 s"; nothing is decided on it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::StepId;
use crate::plan::{ObjectGroup, Plan, Preparation, Step, StepKind};

/// Packages, kernel settings and services of a host without any download: 6–9 s on the lab (containers on one machine
/// with two cores, Debian 12, packages already there).
const PREPARE_SECONDS: f64 = 8.0;
/// One artefact or image: about 25 MB on average (410 MB in 16 pieces for 1.35) at 15 MB/s, an ordinary line.
const DOWNLOAD_SECONDS: f64 = 1.6;
/// One package: fetched and unpacked by apt in about a second.
const PACKAGE_SECONDS: f64 = 1.0;
/// Authorities and all leaves of a three by two cluster with RSA-2048: 2–3 s on two cores.
const KEYS_SECONDS: f64 = 3.0;
/// A whole control-plane node stopped, changed and started again: 10–11 s on the lab (DESIGN.md §5); a worker needs less.
const SWAP_SECONDS: f64 = 11.0;
/// One upload of a few dozen kilobytes over an open connection, one atomic rename a file.
const FILES_SECONDS: f64 = 1.0;
/// Kubelet start to `/readyz` of three control planes started together: 14–18 s of the 26 s that the whole bootstrap
/// took in a shell prototype on the lab.
const START_CONTROL_PLANE_SECONDS: f64 = 16.0;
/// One request to etcd through SSH.
const MEMBER_SECONDS: f64 = 1.0;
/// A database of a small cluster; 1.3 GB take 9–11 s.
const DEFRAGMENT_SECONDS: f64 = 2.0;
/// etcd ends within a second; the kubelet notices within another and starts the next one, which needs a leader and its log.
const RESTART_ETCD_SECONDS: f64 = 5.0;
/// A kubelet that stops, four containers that end, a kubelet that starts.
const ASIDE_SECONDS: f64 = 8.0;
/// Kubelet start to an etcd that answers.
const START_ETCD_SECONDS: f64 = 6.0;
/// A learner of a small cluster has caught up within a second of its start; etcd asks for nine tenths.
const PROMOTE_SECONDS: f64 = 2.0;
/// Containers end within their grace of 5 s, then rules and files go.
const RESET_SECONDS: f64 = 10.0;
/// A worker's kubelet registers in 1.7 s on the lab (kubeadm's own join measured the same).
const START_WORKER_SECONDS: f64 = 3.0;
/// A dozen server-side applies, a few milliseconds each and a round trip through SSH.
const OBJECTS_SECONDS: f64 = 1.0;
/// The bindings come first and may meet an API server that still fills its own caches.
const RBAC_SECONDS: f64 = 2.0;
/// One patch, once the node has registered.
const MARK_SECONDS: f64 = 1.0;
/// Nodes turn Ready and CoreDNS available 8–12 s after the network add-on's pods were made, images being there.
const PROVE_SECONDS: f64 = 10.0;
/// One small file a host, all at once.
const SETTLE_SECONDS: f64 = 1.0;
/// A program of 30 MB over a good line, and a timer.
const SCHEDULE_SECONDS: f64 = 3.0;
/// Two calls of the API through SSH.
const CORDON_SECONDS: f64 = 1.0;
/// Two calls of the API and one small file, through SSH.
const NOTE_SECONDS: f64 = 1.0;
/// A node's volumes are detached within seconds of its last pod on most storage.
const DETACH_SECONDS: f64 = 5.0;
/// Package lists fetched and a few dozen packages put in place: one to three minutes on ordinary servers.
const UPDATE_SECONDS: f64 = 120.0;
/// A virtual machine is back after half a minute, a server with firmware tests after five; two are in between.
const REBOOT_SECONDS: f64 = 120.0;
/// A script may take anything; a minute is what people wait for without wondering.
const SCRIPT_SECONDS: f64 = 60.0;
/// A kubelet reports within seconds of its start; its lease is renewed every ten.
const RETURN_SECONDS: f64 = 15.0;
/// A step over its usual time is expected to need a tenth of what it has taken so far: downloads on a slow line miss
/// the estimate by a factor, not by a constant.
const OVERRUN: f64 = 0.1;

/// How long a step of this kind usually takes.
pub fn typical(kind: &StepKind) -> Duration {
    Duration::from_secs_f64(match kind {
        StepKind::MakeKeys { .. } => KEYS_SECONDS,
        StepKind::PrepareHost(preparation) => preparing(preparation),
        StepKind::Stage(preparation) => downloading(preparation),
        StepKind::SwapVersion { .. } => SWAP_SECONDS,
        StepKind::PlaceFiles { .. } => FILES_SECONDS,
        StepKind::AddEtcdMember { .. }
        | StepKind::RemoveEtcdMember
        | StepKind::ForgetEtcdMember { .. }
        | StepKind::ProveEtcd { .. }
        | StepKind::MoveEtcdLeader
        | StepKind::HandOverEtcdLead
        | StepKind::CompactEtcd { .. }
        | StepKind::DisarmEtcd { .. } => MEMBER_SECONDS,
        StepKind::DefragmentEtcd => DEFRAGMENT_SECONDS,
        StepKind::SetEtcdAside { .. } => ASIDE_SECONDS,
        StepKind::RestartEtcdMember => RESTART_ETCD_SECONDS,
        StepKind::StartEtcdMember => START_ETCD_SECONDS,
        StepKind::PromoteEtcdMember => PROMOTE_SECONDS,
        StepKind::ResetHost { .. } => RESET_SECONDS,
        StepKind::StartControlPlane => START_CONTROL_PLANE_SECONDS,
        StepKind::ApplyObjects { group: ObjectGroup::Rbac } => RBAC_SECONDS,
        StepKind::ApplyObjects { .. } => OBJECTS_SECONDS,
        StepKind::StartWorker => START_WORKER_SECONDS,
        StepKind::MarkNode | StepKind::DeleteNode => MARK_SECONDS,
        StepKind::Prove { .. } => PROVE_SECONDS,
        StepKind::Settle { .. } => SETTLE_SECONDS,
        StepKind::ScheduleCopies { .. } | StepKind::UnscheduleCopies => SCHEDULE_SECONDS,
        StepKind::Cordon | StepKind::Uncordon { .. } => CORDON_SECONDS,
        StepKind::TakeBackCordon => CORDON_SECONDS,
        StepKind::NoteWorkloads | StepKind::AwaitWorkloads => NOTE_SECONDS,
        StepKind::AwaitDetached => DETACH_SECONDS,
        StepKind::UpdatePackages { .. } => UPDATE_SECONDS,
        StepKind::RunScript { .. } => SCRIPT_SECONDS,
        StepKind::Reboot => REBOOT_SECONDS,
        StepKind::ProveReturned => RETURN_SECONDS,
        StepKind::Restore(part) => f64::from(part.about_seconds()),
        StepKind::Drain { about_seconds, .. } => f64::from(*about_seconds).max(CORDON_SECONDS),
    })
}

fn preparing(preparation: &Preparation) -> f64 {
    PREPARE_SECONDS + PACKAGE_SECONDS * preparation.packages.len() as f64 + downloading(preparation)
}

fn downloading(preparation: &Preparation) -> f64 {
    DOWNLOAD_SECONDS * (preparation.artefacts.len() + preparation.images.len()) as f64
}

/// The time until the last of the plan's steps ends, if each takes as long as `needs` says and begins as soon as
/// everything it waits for has ended.
pub(super) fn longest(plan: &Plan, needs: impl Fn(&Step) -> Duration) -> Duration {
    let mut ends: BTreeMap<&StepId, Duration> = BTreeMap::new();
    for step in &plan.steps {
        let begin = step.after.iter().filter_map(|id| ends.get(id)).max().copied().unwrap_or_default();
        ends.insert(&step.id, begin + needs(step));
    }
    ends.into_values().max().unwrap_or_default()
}

/// What a step still needs that has run for `elapsed`.
pub(super) fn remaining(kind: &StepKind, elapsed: Duration) -> Duration {
    typical(kind).saturating_sub(elapsed).max(elapsed.mul_f64(OVERRUN).min(typical(kind)))
}
