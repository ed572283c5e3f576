//! From bare hosts to a cluster, told in the order it happens.

use std::collections::BTreeMap;

use super::story::Story;
use super::{Input, Outcome, preflight};
use crate::facts::HostFacts;
use crate::finding::{Finding, Severity, worst};
use crate::guard::Guard;
use crate::ids::{HostName, StepId};
use crate::intent::Intent;
use crate::plan::{Assumption, FORMAT, ObjectGroup, Plan, Probe, StepKind, Undo, lint};
use crate::spec::{CniName, EncryptionAlgorithm, Host, Role, Spec};

/// Downloads of about 400 MB at no less than 0.3 MB/s, and a package manager that another process holds meanwhile.
const PREPARE_SECONDS: u32 = 1800;
/// kubeadm gives a control plane four minutes (`controlPlaneComponentHealthCheck`); a minute more for etcd before it.
const START_SECONDS: u32 = 300;
/// Finding keys that were made before, and one upload to each control plane.
const KEYS_SECONDS: u32 = 60;
/// One upload of a few dozen kilobytes, or one call of the API, on a bad line.
const SHORT_SECONDS: u32 = 60;
/// Nodes turn Ready when the network add-on's image is there and running on them; kubeadm's own tests wait as long.
const PROVE_SECONDS: u32 = 300;

/// Plans what turns the facts into the spec's cluster.
///
/// A host that nobody could render for has a blocking finding in the input, so that none is planned to get nothing.
pub fn bootstrap(input: Input<'_>) -> Outcome {
    let findings = preflight::findings(input);
    if worst(&findings) == Some(Severity::Blocks) {
        return Outcome::Blocked { findings };
    }
    if preflight::is_built(input) {
        return Outcome::Nothing { findings };
    }
    let plan = tell(input, findings);
    let contradictions = lint(&plan);
    if contradictions.is_empty() {
        Outcome::Plan(Box::new(plan))
    } else {
        Outcome::Blocked { findings: contradictions }
    }
}

fn tell(input: Input<'_>, findings: Vec<Finding>) -> Plan {
    let spec = input.spec;
    let token = &input.identity.initial_cluster_token;
    let control_planes: Vec<&Host> = spec.with_role(Role::ControlPlane).collect();
    let mut story = Story::default();

    // Everything slow and harmless at once: hosts load software while keys are made here.
    let prepared: BTreeMap<&HostName, StepId> = spec
        .hosts
        .iter()
        .map(|host| {
            let desired = input.desired.hosts.get(&host.name);
            let preparation = desired.map(|desired| desired.preparation.clone()).unwrap_or_default();
            let id = guarded(story.on(&host.name, StepKind::PrepareHost(preparation)), input, host)
                .probe(Probe::HostPrepared)
                .undo(Undo::ResetHost)
                .within(PREPARE_SECONDS)
                .because("packages, kernel settings, containerd, binaries and images, before anything starts");
            (&host.name, id)
        })
        .collect();
    let keys = story
        .here(StepKind::MakeKeys { keep_on: control_planes.iter().map(|host| host.name.clone()).collect() })
        .within(keys_seconds(spec))
        .because("one set of authorities, made once; a copy stays on the control planes until their own files are the authority");

    let placed: BTreeMap<&HostName, StepId> = spec
        .hosts
        .iter()
        .map(|host| {
            let id = guarded(
                story.on(&host.name, StepKind::PlaceFiles { initial_cluster_token: token.clone() }),
                input,
                host,
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
            guarded(story.on(&host.name, StepKind::StartControlPlane), input, host)
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
            let id = guarded(story.on(&host.name, StepKind::StartWorker), input, host)
                .after(started.iter().chain([&placed[&host.name]]))
                .probe(Probe::WorkerUp)
                .undo(Undo::ResetHost)
                .within(START_SECONDS)
                .because("the API answers, so the worker can join with the identity it holds already");
            (&host.name, id)
        })
        .collect();
    present.extend(joined.iter().map(|(host, id)| (*host, std::slice::from_ref(id))));

    let marked: Vec<StepId> = spec
        .hosts
        .iter()
        .map(|host| {
            story
                .on(&host.name, StepKind::MarkNode)
                .after(present[&host.name].iter().chain([&rbac]))
                .within(START_SECONDS)
                .because("roles, pool labels and taints that a kubelet may not give itself")
        })
        .collect();

    let proved = story
        .in_cluster(StepKind::Prove { nodes: spec.hosts.iter().map(|host| host.name.clone()).collect() })
        .after(objects.iter().chain(&marked))
        .within(PROVE_SECONDS)
        .because("nothing is promised that was not seen: nodes Ready, control planes Ready, add-ons available");
    story
        .here(StepKind::Settle { hosts: spec.hosts.iter().map(|host| host.name.clone()).collect() })
        .after([&proved])
        .within(SHORT_SECONDS)
        .because("from here on the control planes' own files are the authority");

    Plan {
        format: FORMAT,
        operation: input.identity.operation.clone(),
        tool_version: input.tool_version.to_owned(),
        intent: Intent::Bootstrap,
        spec: spec.clone(),
        assumptions: assumptions(input),
        findings,
        steps: story.steps(),
    }
}

/// Making a key is the slow part, and the number of keys grows with the hosts. Measured on two busy cores: 103 files of
/// RSA-2048 for 5 hosts in 8 to 16 s, so up to 3.2 s a host; 8 leave room for one core that is as busy. The time for an
/// RSA key grows with the fourth power of its length; a key on a curve takes less than a millisecond.
fn keys_seconds(spec: &Spec) -> u32 {
    let each = match spec.certificates.encryption_algorithm {
        EncryptionAlgorithm::Rsa2048 => 8,
        EncryptionAlgorithm::Rsa3072 => 41,
        EncryptionAlgorithm::Rsa4096 => 128,
        EncryptionAlgorithm::EcdsaP256 | EncryptionAlgorithm::EcdsaP384 => 1,
    };
    let hosts = u32::try_from(spec.hosts.len()).unwrap_or(u32::MAX);
    KEYS_SECONDS.saturating_add(hosts.saturating_mul(each))
}

/// The guards of every step that changes a host.
fn guarded<'a>(mut draft: super::story::Draft<'a>, input: Input<'_>, host: &Host) -> super::story::Draft<'a> {
    if let Some(machine_id) = host_facts(input, &host.name).and_then(|facts| facts.machine_id.known()) {
        draft = draft.guard(Guard::SameMachine { host: host.name.clone(), machine_id: machine_id.clone() });
    }
    draft = draft.guard(Guard::NoOtherCluster {
        host: host.name.clone(),
        cluster: input.spec.name.clone(),
        operation: input.identity.operation.clone(),
    });
    if host.is(Role::Etcd) {
        draft = draft.guard(Guard::NoForeignEtcdData {
            host: host.name.clone(),
            initial_cluster_token: input.identity.initial_cluster_token.clone(),
        });
    }
    draft
}

fn host_facts<'a>(input: Input<'a>, host: &HostName) -> Option<&'a HostFacts> {
    input.facts.host(host)
}

fn groups(spec: &Spec) -> Vec<ObjectGroup> {
    let mut groups = vec![ObjectGroup::Configuration, ObjectGroup::KubeProxy, ObjectGroup::CoreDns];
    if spec.network.cni.name != CniName::None {
        groups.push(ObjectGroup::Network);
    }
    groups
}

fn reason(group: ObjectGroup) -> &'static str {
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

/// What the planner relied on: identity, system and emptiness of each host.
fn assumptions(input: Input<'_>) -> Vec<Assumption> {
    let mut assumptions: Vec<Assumption> = input
        .spec
        .hosts
        .iter()
        .flat_map(|host| crate::facts::assumed_of(&host.name, input.facts))
        .map(|(path, value)| Assumption { path, value })
        .collect();
    assumptions.sort();
    assumptions
}
