//! A node leaves the cluster: its pods first, then its etcd member where the others bear it, then what it ran.

use super::drain::{Choices, foresee, tell_drain};
use super::steps::{PROVE_SECONDS, SHORT_SECONDS, assumptions, same_machine};
use super::story::Story;
use super::{Input, Outcome};
use crate::drain::{Permission, World};
use crate::facts::{Fact, HostFacts, Membership};
use crate::finding::{Finding, Severity, Subject};
use crate::guard::{Guard, MemberChange};
use crate::ids::StepId;
use crate::intent::Intent;
use crate::plan::{EtcdStart, FileSet, ObjectGroup, StepKind, Undo};
use crate::spec::{EndpointMode, Host, Role};

/// Everything that planning a removal may look at.
#[derive(Clone, Copy, Debug)]
pub struct Removal<'a> {
    /// The spec with the host that leaves in it; facts of hosts, cluster and etcd. What hosts should have does not matter.
    pub input: Input<'a>,
    /// Who leaves.
    pub host: &'a Host,
    /// What was seen of its node, whole; `None` where the cluster has no such node.
    pub world: Option<&'a World>,
    /// What the API does not let us do.
    pub denied: &'a [Permission],
    /// What the user chose about its pods.
    pub choices: &'a Choices,
}

/// Plans it.
pub fn remove(removal: Removal<'_>) -> Outcome {
    let Removal { input, host, .. } = removal;
    let mut findings = input.findings.to_vec();
    findings.extend(not_now(removal));
    let gone = match input.facts.hosts.get(&host.name) {
        Some(Fact::Known { value, .. }) => {
            findings.extend(foreign(input, host, value));
            // Bare: it was installed anew, and what it ran is gone with its disk.
            value.record.is_absent()
        }
        other => {
            findings.push(silent(host, other.and_then(Fact::why).unwrap_or("nobody asked it")));
            true
        }
    };
    findings.extend(etcd(input, host, gone));
    let drained = removal.world.filter(|world| !gone && world.target().is_some());
    let ahead = drained.map(|world| foresee(world, removal.choices, removal.denied));
    findings.extend(ahead.iter().flat_map(|(_, ahead)| ahead.findings.clone()));
    let mut story = Story::default();
    let moved: Vec<StepId> =
        ahead.into_iter().map(|(policy, ahead)| tell_drain(&mut story, &host.name, policy, &ahead, &[])).collect();
    tell(&mut story, removal, gone, moved);
    let intent = Intent::RemoveNode { node: host.name.clone() };
    Outcome::of(input, intent, assumptions(input), findings, story)
}

fn about(host: &Host, severity: Severity, code: &str, text: impl Into<String>) -> Finding {
    Finding::new(severity, code, Subject::Host(host.name.clone()), text)
}

/// LEAVE001, LEAVE002: nobody could be asked, or nobody would be left.
fn not_now(removal: Removal<'_>) -> Option<Finding> {
    let Removal { input, host, .. } = removal;
    let others = input.spec.with_role(Role::ControlPlane).any(|other| other.name != host.name);
    if host.is(Role::ControlPlane) && !others {
        return Some(
            about(host, Severity::Blocks, "LEAVE001", "it is the last control plane: without it there is no cluster")
                .hint("take the whole cluster apart:  kubewright reset"),
        );
    }
    let why = match &input.facts.cluster {
        Fact::Known { .. } => return None,
        Fact::Absent => "no control plane of the spec is a finished part of it",
        Fact::Unreadable { why, .. } => why,
    };
    let text = format!("the cluster cannot be asked: {why}");
    Some(
        Finding::new(Severity::Blocks, "LEAVE002", Subject::Cluster, text)
            .hint("`kubewright status` shows what answers and what does not"),
    )
}

/// LEAVE005: it is somebody else's by now, or nobody can tell.
fn foreign(input: Input<'_>, host: &Host, seen: &HostFacts) -> Option<Finding> {
    let why = match seen.membership(&input.spec.name) {
        Membership::Part(_) | Membership::Claimed(_) | Membership::Silent(_) | Membership::Bare => return None,
        Membership::OfAnother(record) => format!("it belongs to the cluster {}", record.cluster),
        Membership::Unclear(why) => format!("whose it is cannot be read: {why}"),
        Membership::Foreign => {
            "it holds a Kubernetes or an etcd that no operation of ours made: another machine answers at its address"
                .to_owned()
        }
    };
    Some(
        about(host, Severity::Blocks, "LEAVE005", why).hint(
            "look which machine it is; if the node's own machine is off for good, take the address out of its way",
        ),
    )
}

/// LEAVE003.
fn silent(host: &Host, why: &str) -> Finding {
    let text = format!("it cannot be asked, so its pods are not moved and what it runs is not stopped: {why}");
    about(host, Severity::NeedsConsent, "LEAVE003", text).hint(
        "agree only if the machine is off for good: pods of StatefulSets would else run twice. Should it come back, the same command again takes it apart",
    )
}

/// LEAVE004: whether etcd bears it now. Its guard asks again.
fn etcd(input: Input<'_>, host: &Host, gone: bool) -> Option<Finding> {
    if !host.is(Role::Etcd) {
        return None;
    }
    let why = match &input.facts.etcd {
        Fact::Known { value, .. } => MemberChange::Remove { host: host.name.clone(), gone }.is_borne(value).err()?,
        Fact::Absent => "nobody asked etcd for its members".to_owned(),
        Fact::Unreadable { why, .. } => format!("etcd cannot be asked for its members: {why}"),
    };
    Some(about(host, Severity::Blocks, "LEAVE004", why))
}

fn tell(story: &mut Story, removal: Removal<'_>, gone: bool, moved: Vec<StepId>) {
    let Removal { input, host, .. } = removal;
    let mut before = moved;
    if host.is(Role::ControlPlane) {
        before.extend(forget_api_server(story, input, host, &before.clone()));
    }
    if host.is(Role::Etcd) {
        let change = MemberChange::Remove { host: host.name.clone(), gone };
        before = vec![
            story
                .on(&host.name, StepKind::RemoveEtcdMember)
                .after(&before)
                .guard(Guard::EtcdBears { change })
                .undo(Undo::Impossible("a member that left comes back as a new one".to_owned()))
                .within(SHORT_SECONDS)
                .because("a member that is off the list holds no place in any majority; leadership moves away before"),
        ];
    }
    if !gone {
        let guard = Guard::OfCluster { host: host.name.clone(), cluster: input.spec.name.clone() };
        let kind = StepKind::ResetHost { keep_prepared: false, delete_etcd_data: false };
        before = vec![
            same_machine(story.on(&host.name, kind), input, host)
                .guard(guard)
                .after(&before)
                .undo(Undo::Impossible("what it ran is gone".to_owned()))
                .within(super::reset::RESET_SECONDS)
                .because("what runs there stops before the cluster forgets it"),
        ];
    }
    if removal.world.is_some_and(|world| world.target().is_some()) {
        before = vec![
            story
                .on(&host.name, StepKind::DeleteNode)
                .after(&before)
                .undo(Undo::Impossible("a node that comes back registers anew".to_owned()))
                .within(SHORT_SECONDS)
                .because("nothing is scheduled there again, and its pods are given up"),
        ];
    }
    // The spec may name others that left before, or that never came.
    let others = input.facts.control_planes(input.spec).into_iter().filter(|other| other.name != host.name);
    let nodes = others.map(|other| other.name.clone()).collect();
    story
        .in_cluster(StepKind::Prove { nodes, add_ons: false })
        .after(&before)
        .within(PROVE_SECONDS)
        .because("nothing is promised that was not seen: the control planes that stay serve");
}

/// Nobody is sent to its API server any more, before it stops.
fn forget_api_server(story: &mut Story, input: Input<'_>, host: &Host, after: &[StepId]) -> Vec<StepId> {
    let mut steps = Vec::new();
    if input.spec.endpoint.mode == EndpointMode::NodeLocal {
        let is_part = |other: &&Host| !other.is(Role::ControlPlane) && input.facts.is_part(&other.name, input.spec);
        for worker in input.spec.hosts.iter().filter(|other| other.name != host.name).filter(is_part) {
            let files = StepKind::PlaceFiles { files: FileSet::Proxy, etcd: EtcdStart::default() };
            steps.push(
                same_machine(story.on(&worker.name, files), input, worker)
                    .after(after)
                    .undo(Undo::Impossible("apply the earlier spec again".to_owned()))
                    .within(SHORT_SECONDS)
                    .because("its way to the API no longer names who leaves"),
            );
        }
    }
    steps.push(
        story
            .in_cluster(StepKind::ApplyObjects { group: ObjectGroup::Configuration })
            .after(after)
            .within(SHORT_SECONDS)
            .because("cluster-info and kubeadm-config name a control plane that stays"),
    );
    steps
}
