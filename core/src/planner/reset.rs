//! Takes hosts apart: what kubewright put on them goes, what others put there stays.

use super::steps::{assumptions, same_machine};
use super::story::Story;
use super::{Input, Outcome};
use crate::facts::{Fact, HostFacts, Membership};
use crate::finding::{Finding, Severity, Subject, worst};
use crate::guard::Guard;
use crate::ids::{HostName, StepId};
use crate::intent::Intent;
use crate::plan::{Plan, StepKind, Undo};
use crate::spec::{Host, Role};

/// Containers get their grace, file systems are unmounted, images are deleted: seconds on an idle machine, minutes where
/// its disk is slow.
pub(super) const RESET_SECONDS: u32 = 600;

/// What is to go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reset {
    /// These hosts alone; without them the whole cluster.
    pub hosts: Option<Vec<HostName>>,
    /// Whether containerd, binaries and images stay for the next cluster.
    pub keep_prepared: bool,
    /// Whether etcd's data is deleted; else it is kept beside its place.
    pub delete_etcd_data: bool,
}

/// Plans it. Works with half a cluster, and without any API.
pub(super) fn reset(input: Input<'_>, wanted: &Reset) -> Outcome {
    let is_wanted = |host: &&Host| wanted.hosts.as_ref().is_none_or(|names| names.contains(&host.name));
    let mut findings = input.findings.to_vec();
    let mut hosts = Vec::new();
    for host in input.spec.hosts.iter().filter(is_wanted) {
        match input.facts.hosts.get(&host.name) {
            Some(Fact::Known { value: seen, .. }) => match obstacle(input, wanted, host, seen) {
                Some(finding) => findings.push(finding),
                None if is_ours(seen) => hosts.push(host),
                None => {}
            },
            other => findings.push(silent(host, other.and_then(Fact::why).unwrap_or("nobody asked it"))),
        }
    }
    findings.sort();
    if worst(&findings) == Some(Severity::Blocks) {
        return Outcome::Blocked { findings };
    }
    if hosts.is_empty() {
        return Outcome::Nothing { findings };
    }
    Outcome::checked(tell(input, wanted, &hosts, findings))
}

/// Whether there is anything of ours on it.
fn is_ours(seen: &HostFacts) -> bool {
    seen.record.known().is_some() || seen.artefacts.known().is_some_and(|artefacts| !artefacts.is_empty())
}

fn about(host: &Host, severity: Severity, code: &str, text: impl Into<String>) -> Finding {
    Finding::new(severity, code, Subject::Host(host.name.clone()), text)
}

/// RESET001.
fn silent(host: &Host, why: &str) -> Finding {
    about(host, Severity::NeedsConsent, "RESET001", format!("it cannot be asked and stays as it is: {why}"))
        .hint("the same command again takes it apart once it answers")
}

/// Why a host is not taken apart.
fn obstacle(input: Input<'_>, wanted: &Reset, host: &Host, seen: &HostFacts) -> Option<Finding> {
    let blocks = |code: &str, text: String| about(host, Severity::Blocks, code, text);
    let counted_on = match seen.membership(&input.spec.name) {
        Membership::Unclear(why) => {
            return Some(
                blocks("RESET002", format!("whose it is cannot be read: {why}"))
                    .hint("look at /var/lib/kubewright/host on it: it names the cluster that the host belongs to"),
            );
        }
        Membership::OfAnother(record) => {
            return Some(
                blocks("RESET002", format!("it belongs to the cluster {}", record.cluster))
                    .hint("use the file of that cluster"),
            );
        }
        Membership::Foreign => {
            return Some(
                blocks("RESET004", "it holds a Kubernetes or an etcd that no operation of ours made".to_owned())
                    .hint("reset it with the tool that made it"),
            );
        }
        Membership::Part(_) => true,
        // One that an abandoned run left behind may have got its vote: then etcd counts on it.
        Membership::Claimed(_) => host.is(Role::Etcd) && seen.may_hold_etcd_data(),
        Membership::Silent(_) | Membership::Bare => false,
    };
    (counted_on && wanted.hosts.is_some() && others_stand(input, wanted)).then(|| {
        blocks("RESET003", format!("it is part of {}, which stands or may stand", input.spec.name))
            .hint(format!("take it out of the cluster:  kubewright node remove {}", host.name))
    })
}

/// Whether control planes stay behind that are not to be taken apart; one that is silent may stand.
fn others_stand(input: Input<'_>, wanted: &Reset) -> bool {
    let stays = |host: &&Host| wanted.hosts.as_ref().is_some_and(|names| !names.contains(&host.name));
    input.facts.keepers(input.spec).iter().any(stays)
}

fn tell(input: Input<'_>, wanted: &Reset, hosts: &[&Host], findings: Vec<Finding>) -> Plan {
    let (control_planes, workers): (Vec<&Host>, Vec<&Host>) =
        hosts.iter().partition(|host| host.is(Role::ControlPlane));
    let mut story = Story::default();
    let kind = StepKind::ResetHost { keep_prepared: wanted.keep_prepared, delete_etcd_data: wanted.delete_etcd_data };
    let mut take_apart = |host: &Host, after: &[StepId], why: &str| {
        let guard = Guard::OfCluster { host: host.name.clone(), cluster: input.spec.name.clone() };
        same_machine(story.on(&host.name, kind.clone()), input, host)
            .guard(guard)
            .after(after)
            .undo(Undo::Impossible("what it ran is gone".to_owned()))
            .within(RESET_SECONDS)
            .because(why)
    };
    let first: Vec<StepId> =
        workers.iter().map(|host| take_apart(host, &[], "workers first: their kubelets then miss nobody")).collect();
    for host in &control_planes {
        take_apart(host, &first, "control planes last: until then everything can be looked at");
    }
    input.plan(
        Intent::Reset { hosts: hosts.iter().map(|host| host.name.clone()).collect() },
        keepers(input, hosts),
        assumptions(input),
        findings,
        story,
    )
}

/// The control planes that answer and have something of the cluster, for what a run keeps on them goes only from hosts that it takes apart;
/// where none does, the hosts themselves.
fn keepers(input: Input<'_>, hosts: &[&Host]) -> Vec<HostName> {
    let goes = |host: &Host| hosts.iter().any(|one| one.name == host.name);
    let keeps =
        |host: &&Host| input.facts.host(&host.name).is_some_and(|seen| goes(host) || seen.record.known().is_some());
    let keepers: Vec<HostName> =
        input.spec.with_role(Role::ControlPlane).filter(keeps).map(|host| host.name.clone()).collect();
    if keepers.is_empty() { hosts.iter().map(|host| host.name.clone()).collect() } else { keepers }
}
