//! Steps that more than one story has.

use super::Input;
use super::story::{Draft, Story};
use crate::facts::etcd::EtcdFacts;
use crate::guard::Guard;
use crate::ids::StepId;
use crate::plan::{Assumption, Probe, StepKind, Undo};
use crate::spec::{EncryptionAlgorithm, Host, Role, Spec};

/// Downloads of about 400 MB at no less than 0.3 MB/s, and a package manager that another process holds meanwhile.
pub(super) const PREPARE_SECONDS: u32 = 1800;
/// kubeadm gives a control plane four minutes (`controlPlaneComponentHealthCheck`); a minute more for etcd before it.
pub(super) const START_SECONDS: u32 = 300;
/// Finding keys that were made before, and one upload to each control plane.
const KEYS_SECONDS: u32 = 60;
/// One upload of a few dozen kilobytes, or one call of the API, on a bad line.
pub(super) const SHORT_SECONDS: u32 = 60;
/// Nodes turn Ready when the network add-on's image is there and running on them; kubeadm's own tests wait as long.
pub(super) const PROVE_SECONDS: u32 = 300;

/// Making a key is the slow part, and the number of keys grows with the hosts. Measured on two busy cores: 103 files of
/// RSA-2048 for 5 hosts in 8 to 16 s, so up to 3.2 s a host; 8 leave room for one core that is as busy. The time for an
/// RSA key grows with the fourth power of its length; a key on a curve takes less than a millisecond.
pub(super) fn keys_seconds(spec: &Spec, hosts: usize) -> u32 {
    let each = match spec.certificates.encryption_algorithm {
        EncryptionAlgorithm::Rsa2048 => 8,
        EncryptionAlgorithm::Rsa3072 => 41,
        EncryptionAlgorithm::Rsa4096 => 128,
        EncryptionAlgorithm::EcdsaP256 | EncryptionAlgorithm::EcdsaP384 => 1,
    };
    let hosts = u32::try_from(hosts).unwrap_or(u32::MAX);
    KEYS_SECONDS.saturating_add(hosts.saturating_mul(each))
}

/// Software on a host.
pub(super) fn prepare(story: &mut Story, input: Input<'_>, host: &Host, token: &str) -> StepId {
    let desired = input.desired.hosts.get(&host.name);
    let preparation = desired.map(|desired| desired.preparation.clone()).unwrap_or_default();
    guarded(story.on(&host.name, StepKind::PrepareHost(preparation)), input, host, token)
        .probe(Probe::HostPrepared)
        .undo(Undo::ResetHost)
        .within(PREPARE_SECONDS)
        .because("packages, kernel settings, containerd, binaries and images, before anything starts")
}

/// A worker that holds its identity already comes into a cluster that answers.
pub(super) fn join_worker<'i>(
    story: &mut Story,
    input: Input<'_>,
    host: &Host,
    token: &str,
    after: impl IntoIterator<Item = &'i StepId>,
) -> StepId {
    guarded(story.on(&host.name, StepKind::StartWorker), input, host, token)
        .after(after)
        .probe(Probe::WorkerUp)
        .undo(Undo::ResetHost)
        .within(START_SECONDS)
        .because("the API answers, so the worker can join with the identity it holds already")
}

/// A node gets its marks.
pub(super) fn mark<'i>(story: &mut Story, host: &Host, after: impl IntoIterator<Item = &'i StepId>) -> StepId {
    story
        .on(&host.name, StepKind::MarkNode)
        .after(after)
        .within(START_SECONDS)
        .because("roles, pool labels and taints that a kubelet may not give itself")
}

/// The guards of every step that changes a host which is only about to become part of the cluster.
pub(super) fn guarded<'a>(
    mut draft: Draft<'a>,
    input: Input<'_>,
    host: &Host,
    initial_cluster_token: &str,
) -> Draft<'a> {
    draft = same_machine(draft, input, host);
    draft = draft.guard(Guard::NoOtherCluster {
        host: host.name.clone(),
        cluster: input.spec.name.clone(),
        operation: input.identity.operation.clone(),
    });
    if host.is(Role::Etcd) {
        draft = draft.guard(Guard::NoForeignEtcdData {
            host: host.name.clone(),
            initial_cluster_token: initial_cluster_token.to_owned(),
        });
    }
    draft
}

/// The guard of every step that changes a host.
pub(super) fn same_machine<'a>(draft: Draft<'a>, input: Input<'_>, host: &Host) -> Draft<'a> {
    match input.facts.host(&host.name).and_then(|facts| facts.machine_id.known()) {
        Some(machine_id) => draft.guard(Guard::SameMachine { host: host.name.clone(), machine_id: machine_id.clone() }),
        None => draft,
    }
}

/// What the planner relied on: identity, system and emptiness of each host; who is in etcd, where it was asked.
pub(super) fn assumptions(input: Input<'_>) -> Vec<Assumption> {
    let mut assumptions: Vec<Assumption> = input
        .spec
        .hosts
        .iter()
        .flat_map(|host| crate::facts::assumed_of(&host.name, input.facts))
        .chain(input.facts.etcd.known().into_iter().flat_map(EtcdFacts::assumed))
        .map(|(path, value)| Assumption { path, value })
        .collect();
    assumptions.sort();
    assumptions
}
