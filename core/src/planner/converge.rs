//! From a cluster that stands to what its spec has become, told in the order it happens: first what runs is made right,
//! then hosts join, then nodes get their marks.

use super::Input;
use super::difference::Differences;
use super::join;
use super::steps::{PROVE_SECONDS, SHORT_SECONDS, START_SECONDS, assumptions, mark, same_machine};
use super::story::Story;
use crate::finding::Finding;
use crate::ids::{HostName, StepId};
use crate::intent::Intent;
use crate::plan::{EtcdStart, FileSet, ObjectGroup, Plan, Probe, StepKind, Undo};
use crate::spec::{Host, Role};

/// The steps that take the differences away.
pub(super) fn tell(input: Input<'_>, differences: &Differences<'_>, findings: Vec<Finding>) -> Plan {
    let keepers: Vec<HostName> = names(&differences.keepers);
    let mut story = Story::default();
    let right = make_right(&mut story, input, differences);
    // Copies of keys go where they can be taken away again.
    let copies_on = names(&differences.control_planes);
    let joined = join::tell(&mut story, input, differences, &copies_on, &right);
    let proxies =
        renew_proxies(&mut story, input, differences, &[right.clone(), joined.control_planes.clone()].concat());
    let told: Vec<StepId> =
        renew_configuration(&mut story, differences, &[right.clone(), joined.control_planes].concat())
            .into_iter()
            .collect();
    let changed = differences.marks.iter().map(|(host, _)| mark(&mut story, host, &right)).collect::<Vec<_>>();
    end(&mut story, differences, &copies_on, &[right, joined.marked, proxies, told, changed].concat());
    input.plan(Intent::Converge, keepers, assumptions(input), findings, story)
}

fn names(hosts: &[&Host]) -> Vec<HostName> {
    hosts.iter().map(|host| host.name.clone()).collect()
}

/// What stopped is started, kubelets get their configuration.
fn make_right(story: &mut Story, input: Input<'_>, differences: &Differences<'_>) -> Vec<StepId> {
    // At once: after a power cut etcd needs a majority of them.
    let mut done: Vec<StepId> = differences
        .stopped
        .iter()
        .map(|host| start(story, input, host, &[], "it is part of the cluster and does not run"))
        .collect();
    done.extend(new_kubelets(story, input, differences, &done.clone()));
    done
}

/// Proxies learn of control planes once these serve.
fn renew_proxies(story: &mut Story, input: Input<'_>, differences: &Differences<'_>, after: &[StepId]) -> Vec<StepId> {
    let proxies = differences.proxies.iter().map(|host| {
        let files = StepKind::PlaceFiles { files: FileSet::Proxy, etcd: EtcdStart::default() };
        same_machine(story.on(&host.name, files), input, host)
            .after(after)
            .undo(again())
            .within(SHORT_SECONDS)
            .because("its way to the API names every control plane; its kubelet restarts the proxy by itself")
    });
    proxies.collect()
}

/// What the cluster itself holds of its configuration follows kubelets and control planes.
fn renew_configuration(story: &mut Story, differences: &Differences<'_>, after: &[StepId]) -> Option<StepId> {
    let control_planes = differences.joining.iter().any(|host| host.is(Role::ControlPlane));
    (control_planes || !differences.kubelets.is_empty()).then(|| {
        story
            .in_cluster(StepKind::ApplyObjects { group: ObjectGroup::Configuration })
            .after(after)
            .undo(again())
            .within(SHORT_SECONDS)
            .because("for whoever joins with kubeadm: what kubelets have, and where the API is")
    })
}

/// One control plane after the other, then one worker, then the others: a configuration that no kubelet starts with
/// stops at the first.
fn new_kubelets(story: &mut Story, input: Input<'_>, differences: &Differences<'_>, after: &[StepId]) -> Vec<StepId> {
    if differences.kubelets.is_empty() {
        return Vec::new();
    }
    let (control_planes, workers): (Vec<&Host>, Vec<&Host>) =
        differences.kubelets.iter().partition(|host| host.is(Role::ControlPlane));
    let mut before: Vec<StepId> = after.to_vec();
    let mut done = Vec::new();
    let mut restart = |story: &mut Story, host: &Host, before: &[StepId]| {
        let files = StepKind::PlaceFiles { files: FileSet::Kubelet, etcd: EtcdStart::default() };
        let placed = same_machine(story.on(&host.name, files), input, host)
            .after(before)
            .undo(again())
            .within(SHORT_SECONDS)
            .because("its kubelet is to have another configuration");
        let restarted = start(story, input, host, &[placed], "a kubelet reads its configuration when it starts");
        done.push(restarted.clone());
        restarted
    };
    for host in control_planes.into_iter().chain(workers.iter().take(1).copied()) {
        before = vec![restart(story, host, &before)];
    }
    for host in workers.iter().skip(1) {
        restart(story, host, &before);
    }
    done
}

/// What an earlier spec said is known to whoever has that spec.
fn again() -> Undo {
    Undo::Impossible("apply the earlier spec again".to_owned())
}

fn start(story: &mut Story, input: Input<'_>, host: &Host, after: &[StepId], why: &str) -> StepId {
    let (kind, probe) = if host.is(Role::ControlPlane) {
        (StepKind::StartControlPlane, Probe::ControlPlaneUp)
    } else {
        (StepKind::StartWorker, Probe::WorkerUp)
    };
    same_machine(story.on(&host.name, kind), input, host).after(after).probe(probe).within(START_SECONDS).because(why)
}

/// What was touched is proved, and who joined becomes a part.
fn end(story: &mut Story, differences: &Differences<'_>, copies_on: &[HostName], after: &[StepId]) {
    let touched = [&differences.joining, &differences.kubelets, &differences.proxies, &differences.stopped];
    let mut nodes: Vec<HostName> = touched.into_iter().flat_map(|hosts| names(hosts)).collect();
    nodes.sort();
    nodes.dedup();
    let proved = story
        .in_cluster(StepKind::Prove { nodes, add_ons: false })
        .after(after)
        .within(PROVE_SECONDS)
        .because("nothing is promised that was not seen: every host that was touched is a Ready node");
    if !differences.joining.is_empty() {
        story
            .here(StepKind::Settle { hosts: names(&differences.joining), copies_on: copies_on.to_vec() })
            .after([&proved])
            .within(SHORT_SECONDS)
            .because("from here on the hosts' own files are the authority");
    }
}
