//! From bare hosts to a cluster, told in the order it happens.

use std::collections::BTreeMap;

use super::Input;
use super::steps::{
    PROVE_SECONDS, SHORT_SECONDS, START_SECONDS, assumptions, guarded, join_worker, keys_seconds, mark, prepare,
};
use super::story::Story;
use crate::finding::Finding;
use crate::ids::{HostName, StepId};
use crate::intent::Intent;
use crate::plan::{EtcdStart, FileSet, KeySource, ObjectGroup, Plan, Probe, StepKind, Undo};
use crate::spec::{CniName, Host, Role, Spec};

/// The first cluster on these hosts.
pub(super) fn tell(input: Input<'_>, findings: Vec<Finding>) -> Plan {
    let spec = input.spec;
    let token = &input.identity.initial_cluster_token;
    let etcd = EtcdStart::first(spec, token);
    let names: Vec<HostName> = spec.hosts.iter().map(|host| host.name.clone()).collect();
    let control_planes: Vec<&Host> = spec.with_role(Role::ControlPlane).collect();
    let keepers: Vec<HostName> = control_planes.iter().map(|host| host.name.clone()).collect();
    let mut story = Story::default();

    // Everything slow and harmless at once: hosts load software while keys are made here.
    let prepared: BTreeMap<&HostName, StepId> =
        spec.hosts.iter().map(|host| (&host.name, prepare(&mut story, input, host, token))).collect();
    let keys = story
        .here(StepKind::MakeKeys {
            authorities: KeySource::New,
            hosts: names.clone(),
            keep_on: keepers.clone(),
        })
        .within(keys_seconds(spec, names.len()))
        .because("one set of authorities, made once; a copy stays on the control planes until their own files are the authority");

    let placed: BTreeMap<&HostName, StepId> = spec
        .hosts
        .iter()
        .map(|host| {
            let id = guarded(
                story.on(&host.name, StepKind::PlaceFiles { files: FileSet::All, etcd: etcd.clone() }),
                input,
                host,
                token,
            )
            .after([&keys, &prepared[&host.name]])
            .undo(Undo::ResetHost)
            .within(SHORT_SECONDS)
            .because("keys, kubeconfigs, manifests and kubelet configuration, all before the kubelet starts");
            (&host.name, id)
        })
        .collect();

    // The first etcd: all members known from the start, all started together, none before every member has its files.
    let members: Vec<&StepId> = spec.with_role(Role::Etcd).map(|host| &placed[&host.name]).collect();
    let started: Vec<StepId> = control_planes
        .iter()
        .map(|host| {
            guarded(story.on(&host.name, StepKind::StartControlPlane), input, host, token)
                .after(members.iter().copied().chain([&placed[&host.name]]))
                .probe(Probe::ControlPlaneUp)
                .undo(Undo::ResetHost)
                .within(START_SECONDS)
                .because("etcd needs a majority at once, so the control planes start together")
        })
        .collect();

    let rbac = story
        .in_cluster(StepKind::ApplyObjects { group: ObjectGroup::Rbac })
        .after(&started)
        .within(SHORT_SECONDS)
        .because("kubeadm's bindings, so that the administrator and the nodes may do their work");
    let mut objects: Vec<StepId> = vec![rbac.clone()];
    for group in groups(spec) {
        objects.push(
            story
                .in_cluster(StepKind::ApplyObjects { group })
                .after([&rbac])
                .within(SHORT_SECONDS)
                .because(reason(group)),
        );
    }

    let mut present: BTreeMap<&HostName, &[StepId]> =
        control_planes.iter().map(|host| (&host.name, started.as_slice())).collect();
    let joined: BTreeMap<&HostName, StepId> = spec
        .hosts
        .iter()
        .filter(|host| !host.is(Role::ControlPlane))
        .map(|host| {
            let id = join_worker(&mut story, input, host, token, started.iter().chain([&placed[&host.name]]));
            (&host.name, id)
        })
        .collect();
    present.extend(joined.iter().map(|(host, id)| (*host, std::slice::from_ref(id))));

    let marked: Vec<StepId> =
        spec.hosts.iter().map(|host| mark(&mut story, host, present[&host.name].iter().chain([&rbac]))).collect();

    let proved = story
        .in_cluster(StepKind::Prove { nodes: names.clone(), add_ons: true })
        .after(objects.iter().chain(&marked))
        .within(PROVE_SECONDS)
        .because("nothing is promised that was not seen: nodes Ready, control planes Ready, add-ons available");
    story
        .here(StepKind::Settle { hosts: names, copies_on: keepers.clone() })
        .after([&proved])
        .within(SHORT_SECONDS)
        .because("from here on the control planes' own files are the authority");

    input.plan(Intent::Bootstrap, keepers, assumptions(input), findings, story)
}

pub(super) fn groups(spec: &Spec) -> Vec<ObjectGroup> {
    let mut groups = vec![ObjectGroup::Configuration, ObjectGroup::KubeProxy, ObjectGroup::CoreDns];
    if spec.network.cni.name != CniName::None {
        groups.push(ObjectGroup::Network);
    }
    groups
}

pub(super) fn reason(group: ObjectGroup) -> &'static str {
    match group {
        ObjectGroup::Rbac => "kubeadm's bindings",
        ObjectGroup::Configuration => {
            "kubeadm-config, kubelet-config and cluster-info, so that kubeadm and its users feel at home"
        }
        ObjectGroup::KubeProxy => "Services reach their pods on every node",
        ObjectGroup::CoreDns => "Services have names",
        ObjectGroup::Network => "pods reach each other across nodes",
    }
}
