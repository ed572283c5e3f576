//! A plan in a few lines: its phases, where each happens and what it comes to.

use std::collections::BTreeSet;
use std::time::Duration;

use super::estimate::{longest, typical};
use crate::ids::{HostName, OperationId};
use crate::intent::{EtcdWork, Intent, MemberWork, RestoreWork};
use crate::plan::{
    FileSet, KeySource, ObjectGroup, Phase, Plan, Preparation, RestorePart, Step, StepKind, Target, waves,
};
use crate::spec::{CniName, Role, Spec};

/// A plan, condensed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// Name of the cluster.
    pub cluster: String,
    /// Name of the run.
    pub operation: OperationId,
    /// Such as `bootstrap Kubernetes 1.35.4 on 5 hosts (3 control planes with etcd, 2 workers)`.
    pub headline: String,
    /// Such as `bootstrap 1.35.4`, for narrow places.
    pub short: String,
    /// The parts of the story, in order.
    pub phases: Vec<PhaseLine>,
    /// How many steps.
    pub steps: usize,
    /// How many hosts.
    pub hosts: usize,
    /// How long the whole usually takes.
    pub estimate: Duration,
}

/// One part of the story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhaseLine {
    /// Which.
    pub phase: Phase,
    /// Where, in the order of the plan.
    pub targets: Vec<Target>,
    /// What it comes to, with numbers.
    pub description: String,
    /// How many steps.
    pub steps: usize,
}

impl Outline {
    /// Condenses a plan.
    pub fn of(plan: &Plan) -> Self {
        let phases: BTreeSet<Phase> = plan.steps.iter().map(|step| phase_of(plan, step)).collect();
        Self {
            cluster: plan.spec.name.clone(),
            operation: plan.operation.clone(),
            headline: headline(plan),
            short: short(plan),
            phases: phases.into_iter().map(|phase| line(plan, phase)).collect(),
            steps: plan.steps.len(),
            hosts: plan.spec.hosts.len(),
            estimate: longest(plan, |step| typical(&step.kind)),
        }
    }
}

/// The cluster in one phrase: `Kubernetes 1.35.4 on 5 hosts (3 control planes with etcd, 2 workers)`.
pub fn subject(plan: &Plan) -> String {
    let spec = &plan.spec;
    format!("Kubernetes {} on {} ({})", spec.kubernetes.version, count(spec.hosts.len(), "host"), crew(spec))
}

/// What there is once the plan is done, in one phrase.
pub fn outcome(plan: &Plan) -> String {
    match &plan.intent {
        Intent::Bootstrap | Intent::Converge => subject(plan),
        Intent::Reset { hosts } => format!("{} taken apart", count(hosts.len(), "host")),
        Intent::RemoveNode { node } => format!("{node} is out of the cluster"),
        Intent::Cordon { node } => format!("{node} takes no new pods"),
        Intent::Uncordon { node } => format!("{node} takes new pods"),
        Intent::Drain { node } => format!("the pods of {node} have moved away"),
        Intent::Maintain { nodes, work } => format!("{} back after {work}", some_of(nodes)),
        Intent::Upgrade { to, .. } => format!("every node runs Kubernetes {to}"),
        Intent::MaintainEtcd { work } => match work {
            EtcdWork::MoveLeader { .. } => "etcd has another leader".to_owned(),
            EtcdWork::Defragment { .. } => "etcd's databases have given back what was free".to_owned(),
            EtcdWork::Restart { .. } => "etcd's members were restarted".to_owned(),
            EtcdWork::Compact => "etcd has forgotten its history".to_owned(),
            EtcdWork::Disarm => "etcd's alarms are taken back".to_owned(),
        },
        Intent::ChangeEtcd { change } => match change {
            MemberWork::Replace { host } => format!("{host} has a new member of etcd, and all members agree"),
            MemberWork::Add { host } => format!("{host} has a member of etcd, and all members agree"),
            MemberWork::Remove { member } => format!("{member} is out of etcd"),
        },
        Intent::ScheduleCopies { schedule: Some(schedule) } => {
            format!("a copy of etcd is taken every {}", schedule.every)
        }
        Intent::ScheduleCopies { schedule: None } => "no host takes copies of etcd by itself".to_owned(),
        Intent::RestoreEtcd { work } => match work {
            RestoreWork::Make { snapshot } => format!("etcd holds what {snapshot} holds, and all nodes follow it"),
            RestoreWork::Undo { of } => format!("etcd holds what it held before the restore {of}"),
            RestoreWork::Finalize { of } => format!("what was kept of the time before the restore {of} is gone"),
        },
    }
}

/// What the plan is about, in one sentence.
pub fn headline(plan: &Plan) -> String {
    match plan.intent {
        Intent::Bootstrap => format!("bootstrap {}", subject(plan)),
        Intent::Reset { ref hosts } => format!("take apart {}", count(hosts.len(), "host")),
        Intent::Converge => format!("bring {} to its spec", subject(plan)),
        Intent::RemoveNode { ref node } => format!("take {node} out of the cluster"),
        Intent::Cordon { ref node } => format!("keep new pods away from {node}"),
        Intent::Uncordon { ref node } => format!("let pods come to {node} again"),
        Intent::Drain { ref node } => format!("move the pods of {node} away"),
        Intent::Maintain { ref nodes, ref work } => {
            format!("maintain {} {}: {work}", some_of(nodes), abreast(plan))
        }
        Intent::Upgrade { ref from, ref to } => {
            let crew = crew(&plan.spec);
            format!("upgrade Kubernetes {from} to {to} on {} ({crew})", count(plan.spec.hosts.len(), "host"))
        }
        Intent::MaintainEtcd { ref work } => match work {
            EtcdWork::MoveLeader { .. } => "let another member of etcd lead".to_owned(),
            EtcdWork::Defragment { .. } => "defragment etcd's databases, one after the other".to_owned(),
            EtcdWork::Restart { .. } => "restart etcd's members, one after the other".to_owned(),
            EtcdWork::Compact => "have etcd forget its history".to_owned(),
            EtcdWork::Disarm => "take etcd's alarms back".to_owned(),
        },
        Intent::ChangeEtcd { ref change } => match change {
            MemberWork::Replace { host } => format!("replace the etcd member of {host} by a new one"),
            MemberWork::Add { host } => format!("bring a member of etcd to {host}"),
            MemberWork::Remove { member } => format!("take {member} out of etcd"),
        },
        Intent::ScheduleCopies { schedule: Some(ref schedule) } => {
            format!("have hosts take a copy of etcd every {}, to {}", schedule.every, schedule.to)
        }
        Intent::ScheduleCopies { schedule: None } => "have hosts take no more copies of etcd".to_owned(),
        Intent::RestoreEtcd { ref work } => match work {
            RestoreWork::Make { snapshot } => format!("restore etcd from {snapshot}"),
            RestoreWork::Undo { of } => format!("undo the restore {of}"),
            RestoreWork::Finalize { of } => format!("delete what was kept of the time before the restore {of}"),
        },
    }
}

/// The same in two words.
pub fn short(plan: &Plan) -> String {
    match plan.intent {
        Intent::Bootstrap => format!("bootstrap {}", plan.spec.kubernetes.version),
        Intent::Converge => "converge".to_owned(),
        Intent::Reset { .. } => "reset".to_owned(),
        Intent::RemoveNode { ref node } => format!("remove {node}"),
        Intent::Cordon { ref node } => format!("cordon {node}"),
        Intent::Uncordon { ref node } => format!("uncordon {node}"),
        Intent::Drain { ref node } => format!("drain {node}"),
        Intent::Maintain { ref nodes, .. } => format!("maintain {}", some_of(nodes)),
        Intent::Upgrade { ref to, .. } => format!("upgrade to {to}"),
        Intent::MaintainEtcd { ref work } => match work {
            EtcdWork::MoveLeader { .. } => "move leader".to_owned(),
            EtcdWork::Defragment { .. } => "defragment".to_owned(),
            EtcdWork::Restart { .. } => "restart etcd".to_owned(),
            EtcdWork::Compact => "compact".to_owned(),
            EtcdWork::Disarm => "disarm".to_owned(),
        },
        Intent::ChangeEtcd { ref change } => format!("member {}", change.words()),
        Intent::ScheduleCopies { schedule: Some(_) } => "schedule copies".to_owned(),
        Intent::ScheduleCopies { schedule: None } => "end the schedule of copies".to_owned(),
        Intent::RestoreEtcd { work: RestoreWork::Make { .. } } => "restore etcd".to_owned(),
        Intent::RestoreEtcd { work: RestoreWork::Undo { .. } } => "undo a restore".to_owned(),
        Intent::RestoreEtcd { work: RestoreWork::Finalize { .. } } => "finalize a restore".to_owned(),
    }
}

/// A few nodes by name, many by their number.
fn some_of(nodes: &[HostName]) -> String {
    const NAMED: usize = 3;
    if nodes.len() > NAMED {
        return count(nodes.len(), "node");
    }
    nodes.iter().map(HostName::as_str).collect::<Vec<_>>().join(", ")
}

/// The part of the story a step belongs to. As [`StepKind::phase`], but the files of a host that starts no control
/// plane are told with its joining: there is no start it could be part of.
pub fn phase_of(plan: &Plan, step: &Step) -> Phase {
    let starts = |other: &Step| other.target == step.target && other.kind == StepKind::StartControlPlane;
    match step.kind {
        StepKind::PlaceFiles { .. } if !plan.steps.iter().any(starts) => Phase::Join,
        _ => step.kind.phase(),
    }
}

fn crew(spec: &Spec) -> String {
    let both = spec.with_role(Role::ControlPlane).filter(|host| host.is(Role::Etcd)).count();
    let control_planes = spec.with_role(Role::ControlPlane).count();
    let members = spec.with_role(Role::Etcd).count();
    let workers = spec.with_role(Role::Worker).count();
    let mut crew = Vec::new();
    if both == control_planes && both == members {
        crew.push(format!("{} with etcd", count(control_planes, "control plane")));
    } else {
        crew.push(count(control_planes, "control plane"));
        crew.push(count(members, "etcd member"));
    }
    if workers > 0 {
        crew.push(count(workers, "worker"));
    }
    crew.join(", ")
}

fn line(plan: &Plan, phase: Phase) -> PhaseLine {
    let steps: Vec<&Step> = plan.steps.iter().filter(|step| phase_of(plan, step) == phase).collect();
    let mut targets: Vec<Target> = Vec::new();
    for step in &steps {
        if !targets.contains(&step.target) {
            targets.push(step.target.clone());
        }
    }
    let description = match phase {
        Phase::Stage => staged(&steps),
        Phase::Drain => drain(&steps),
        Phase::Upgrade => upgrade(plan, &steps),
        Phase::Prepare => preparation(plan, &steps),
        Phase::Keys => keys(&steps),
        Phase::Start => start(plan, &steps),
        Phase::Objects => objects(plan, &steps),
        Phase::Join => join(&steps),
        Phase::Leave => leave(&steps),
        Phase::Maintain => maintain(&steps),
        Phase::Prove => prove(&steps),
    };
    PhaseLine { phase, targets, description, steps: steps.len() }
}

/// What is brought to the hosts before their turns; where they differ, the most that any of them gets.
fn staged(steps: &[&Step]) -> String {
    if steps.iter().any(|step| matches!(step.kind, StepKind::Restore(_))) {
        return "the snapshot restored beside the data in use; nothing stops yet".to_owned();
    }
    let all = steps.iter().filter_map(|step| match &step.kind {
        StepKind::Stage(preparation) => Some((preparation.artefacts.len(), preparation.images.len())),
        _ => None,
    });
    let (programs, images) = all.reduce(|one, two| (one.0.max(two.0), one.1.max(two.1))).unwrap_or_default();
    let mut parts = Vec::new();
    some(&mut parts, programs, "program");
    some(&mut parts, images, "image");
    format!("{}, while others still have their turns", parts.join(", "))
}

/// Which hosts go over to which version.
fn upgrade(plan: &Plan, steps: &[&Step]) -> String {
    let versions: BTreeSet<String> = steps
        .iter()
        .filter_map(|step| match &step.kind {
            StepKind::SwapVersion { version, .. } => Some(version.to_string()),
            _ => None,
        })
        .collect();
    let versions = Vec::from_iter(versions).join(", then ");
    format!("to {versions}, {}; back by itself where it fails", abreast(plan))
}

/// How many nodes have their turns at once at most: `one after another`, `up to 3 at a time`.
fn abreast(plan: &Plan) -> String {
    let drains = |wave: &Vec<&Step>| wave.iter().filter(|step| matches!(step.kind, StepKind::Drain { .. })).count();
    match waves(&plan.steps).unwrap_or_default().iter().map(drains).max().unwrap_or_default() {
        0 | 1 => "one after another".to_owned(),
        nodes => format!("up to {nodes} at a time"),
    }
}

/// What the preparation of the hosts comes to; where hosts differ, the most that any of them gets.
fn preparation(plan: &Plan, steps: &[&Step]) -> String {
    let all: Vec<&Preparation> = steps
        .iter()
        .filter_map(|step| match &step.kind {
            StepKind::PrepareHost(preparation) => Some(preparation),
            _ => None,
        })
        .collect();
    let most = |of: fn(&Preparation) -> usize| all.iter().map(|preparation| of(preparation)).max().unwrap_or_default();
    let mut parts = Vec::new();
    some(&mut parts, most(|preparation| preparation.packages.len()), "package");
    parts.push(format!("containerd {}", plan.spec.containerd.version));
    some(&mut parts, most(|preparation| preparation.modules.len()), "kernel module");
    parts.push("sysctls".to_owned());
    some(&mut parts, most(|preparation| preparation.artefacts.len()), "download");
    some(&mut parts, most(|preparation| preparation.images.len()), "image");
    let swapping = all.iter().filter(|preparation| preparation.swap_off).count();
    if swapping > 0 {
        parts.push(format!("swap off on {}", count(swapping, "host")));
    }
    parts.join(", ")
}

fn keys(steps: &[&Step]) -> String {
    let parts = steps.iter().filter_map(|step| match &step.kind {
        StepKind::MakeKeys { authorities, hosts, .. } => {
            let issued = format!("certificates and kubeconfigs of {}", count(hosts.len(), "host"));
            Some(match authorities {
                KeySource::New => format!("authorities for the cluster, its front proxy and etcd; {issued}"),
                KeySource::Cluster => format!("{issued}, by the cluster's authorities"),
            })
        }
        _ => None,
    });
    parts.collect::<Vec<_>>().join(", ")
}

fn start(plan: &Plan, steps: &[&Step]) -> String {
    if matches!(plan.intent, Intent::ChangeEtcd { .. }) {
        return "etcd as a learner, its vote once it has caught up, then the rest of the control plane".to_owned();
    }
    if matches!(plan.intent, Intent::RestoreEtcd { .. }) {
        return "etcd everywhere, proved to be one, then API servers".to_owned();
    }
    if plan.intent != Intent::Bootstrap {
        let hosts: BTreeSet<&Target> = steps.iter().map(|step| &step.target).collect();
        return format!("kubelets of {}", count(hosts.len(), "control plane"));
    }
    let together = match plan.spec.with_role(Role::Etcd).count() {
        1 => "1 member".to_owned(),
        members => format!("{members} members at once"),
    };
    format!("etcd ({together}), kube-apiserver, controller-manager, scheduler")
}

fn objects(plan: &Plan, steps: &[&Step]) -> String {
    let parts: Vec<&str> = steps
        .iter()
        .filter_map(|step| match step.kind {
            StepKind::ApplyObjects { group } => Some(match group {
                ObjectGroup::Rbac => "RBAC",
                ObjectGroup::Configuration => "kubeadm-config, cluster-info",
                ObjectGroup::KubeProxy => "kube-proxy",
                ObjectGroup::CoreDns => "CoreDNS",
                ObjectGroup::Network => match plan.spec.network.cni.name {
                    CniName::Flannel => "flannel",
                    CniName::None => "network add-on",
                },
            }),
            _ => None,
        })
        .collect();
    parts.join(", ")
}

fn join(steps: &[&Step]) -> String {
    let number = |wanted: fn(&StepKind) -> bool| steps.iter().filter(|step| wanted(&step.kind)).count();
    let mut parts = Vec::new();
    some(&mut parts, number(|kind| *kind == StepKind::StartWorker), "worker");
    some(
        &mut parts,
        number(|kind| matches!(kind, StepKind::PlaceFiles { files: FileSet::Proxy, .. })),
        "proxy configuration",
    );
    some(&mut parts, number(|kind| *kind == StepKind::DeleteNode), "old node");
    let marked = number(|kind| matches!(kind, StepKind::MarkNode));
    if marked > 0 {
        parts.push(format!("labels and taints of {}", count(marked, "node")));
    }
    parts.join(", ")
}

fn leave(steps: &[&Step]) -> String {
    let number = |wanted: fn(&StepKind) -> bool| steps.iter().filter(|step| wanted(&step.kind)).count();
    let mut parts = Vec::new();
    some(&mut parts, number(|kind| *kind == StepKind::RemoveEtcdMember), "etcd member");
    some(&mut parts, number(|kind| matches!(kind, StepKind::ResetHost { .. })), "host");
    some(&mut parts, number(|kind| *kind == StepKind::DeleteNode), "node");
    parts.join(", ")
}

fn prove(steps: &[&Step]) -> String {
    let mut parts: Vec<String> = steps
        .iter()
        .filter_map(|step| match &step.kind {
            StepKind::Prove { nodes, .. } if !nodes.is_empty() => Some(format!("{} Ready", count(nodes.len(), "node"))),
            _ => None,
        })
        .collect();
    if steps.iter().any(|step| matches!(step.kind, StepKind::Prove { add_ons: true, .. })) {
        parts.push("control planes and add-ons available".to_owned());
    }
    if steps.iter().any(|step| matches!(step.kind, StepKind::Settle { .. })) {
        parts.push("records written".to_owned());
    }
    parts.extend(steps.iter().find_map(|step| match &step.kind {
        StepKind::ProveEtcd { not_waited_for } if not_waited_for.is_empty() => {
            Some("etcd's members well and of one content".to_owned())
        }
        StepKind::ProveEtcd { not_waited_for } => {
            let others = count(not_waited_for.len(), "other");
            Some(format!("etcd's members that are well, and of one content; {others} not waited for"))
        }
        _ => None,
    }));
    let returned = steps.iter().filter(|step| step.kind == StepKind::ProveReturned).count();
    if returned > 0 {
        parts.push(format!("{} proved back and uncordoned, workloads whole before the next", count(returned, "node")));
    }
    parts.join(", ")
}

fn drain(steps: &[&Step]) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut once = |part: &str| {
        if !parts.iter().any(|known| known == part) {
            parts.push(part.to_owned());
        }
    };
    let (mut pods, mut drains) = (0, 0);
    for step in steps {
        match &step.kind {
            StepKind::Cordon => once("new pods kept away"),
            StepKind::Uncordon { .. } => once("new pods may come"),
            StepKind::Drain { pods: of, .. } => {
                pods += *of as usize;
                drains += 1;
            }
            _ => {}
        }
    }
    if drains > 0 {
        parts.push(format!("{} evicted", count(pods, "pod")));
    }
    if steps.iter().any(|step| step.kind == StepKind::AwaitDetached) {
        parts.push("volumes detached".to_owned());
    }
    parts.join(", ")
}

fn maintain(steps: &[&Step]) -> String {
    let number = |wanted: fn(&StepKind) -> bool| steps.iter().filter(|step| wanted(&step.kind)).count();
    let on = |hosts: usize, what: &str| (hosts > 0).then(|| format!("{what} on {}", count(hosts, "host")));
    let mut parts = Vec::new();
    if number(|kind| matches!(kind, StepKind::ForgetEtcdMember { .. })) > 0 {
        parts.push("1 member out of etcd".to_owned());
    }
    if number(|kind| matches!(kind, StepKind::SetEtcdAside { .. })) > 0 {
        parts.push("what it held moved aside".to_owned());
    }
    some(&mut parts, number(|kind| *kind == StepKind::DefragmentEtcd), "database");
    some(&mut parts, number(|kind| *kind == StepKind::RestartEtcdMember), "etcd restart");
    some(&mut parts, number(|kind| *kind == StepKind::MoveEtcdLeader), "hand-over of leadership");
    some(&mut parts, number(|kind| matches!(kind, StepKind::CompactEtcd { .. })), "compaction");
    some(&mut parts, number(|kind| matches!(kind, StepKind::DisarmEtcd { .. })), "taking back of alarms");
    some(&mut parts, number(|kind| matches!(kind, StepKind::ScheduleCopies { .. })), "timer for copies");
    some(&mut parts, number(|kind| *kind == StepKind::UnscheduleCopies), "timer that goes");
    let on_hosts = [
        on(number(|kind| matches!(kind, StepKind::Restore(RestorePart::Stop))), "control plane stopped"),
        on(number(|kind| matches!(kind, StepKind::Restore(RestorePart::Exchange { .. }))), "etcd's data exchanged"),
        on(number(|kind| matches!(kind, StepKind::Restore(RestorePart::Finalize { .. }))), "what was kept deleted"),
        on(number(|kind| matches!(kind, StepKind::UpdatePackages { .. })), "OS packages"),
        on(number(|kind| matches!(kind, StepKind::RunScript { .. })), "your script"),
        match number(|kind| *kind == StepKind::Reboot) {
            0 => None,
            reboots => Some(count(reboots, "reboot")),
        },
    ];
    parts.extend(on_hosts.into_iter().flatten());
    if parts.is_empty() {
        let hosts = number(|kind| *kind == StepKind::HandOverEtcdLead);
        parts.push(format!("etcd's leadership handed over before it stops on {}", count(hosts, "host")));
    }
    parts.join(", ")
}

fn some(parts: &mut Vec<String>, number: usize, noun: &str) {
    if number > 0 {
        parts.push(count(number, noun));
    }
}

/// `1 host`, `2 hosts`.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}
