//! The cluster of `examples/lab-ha.yaml` as tests plan for it and run on it, on hosts in memory.

use std::collections::BTreeSet;

use kubewright::facts::{Questions, gather};
use kubewright::host::fake::FakeHosts;
use kubewright::ports::EtcdApi;
use kubewright_core::facts::{Fact, Facts, HostRecord};
use kubewright_core::finding::Finding;
use kubewright_core::ids::HostName;
use kubewright_core::intent::{EtcdWork, MemberWork};
use kubewright_core::plan::Plan;
use kubewright_core::planner::etcd::{EtcdInput, maintain};
use kubewright_core::planner::members::change;
use kubewright_core::planner::{Desired, DesiredHost, Identity, Input, Outcome};
use kubewright_core::spec::{Spec, read};

/// Its hosts.
pub const NAMES: [&str; 5] = ["cp1", "cp2", "cp3", "w1", "w2"];

pub fn spec() -> Spec {
    read("lab-ha.yaml", include_str!("../../examples/lab-ha.yaml")).spec.unwrap()
}

/// What nobody draws at random here.
pub fn identity() -> Identity {
    Identity { operation: "7f3a9c".into(), initial_cluster_token: "lab-0123".into() }
}

/// What a planner looks at, where nothing was found beforehand.
pub fn input<'a>(spec: &'a Spec, facts: &'a Facts, desired: &'a Desired, identity: &'a Identity) -> Input<'a> {
    const NONE: &[Finding] = &[];
    Input { spec, facts, desired, findings: NONE, identity, tool_version: "0.0.0" }
}

/// Hosts that should have nothing in particular.
pub fn desired(spec: &Spec) -> Desired {
    Desired { hosts: spec.hosts.iter().map(|host| (host.name.clone(), DesiredHost::default())).collect() }
}

/// The plan; nothing else will do.
#[track_caller]
pub fn planned(outcome: Outcome) -> Plan {
    match outcome {
        Outcome::Plan(plan) => *plan,
        other => panic!("{other:#?}"),
    }
}

/// Makes these hosts finished parts of the spec's cluster.
pub fn are_part(hosts: &FakeHosts, spec: &Spec) {
    for host in &spec.hosts {
        let record = HostRecord {
            cluster: spec.name.clone(),
            operation: "0ld".into(),
            roles: host.roles.clone(),
            settled: true,
        };
        hosts.put_file(host.name.clone(), HostRecord::PATH, 0o644, serde_json::to_vec(&record).unwrap());
    }
}

/// What hosts and etcd tell now.
pub async fn facts(spec: &Spec, hosts: &FakeHosts, etcd: &dyn EtcdApi) -> Facts {
    let all: Vec<HostName> = spec.hosts.iter().map(|host| host.name.clone()).collect();
    let facts = gather(hosts, &all, &Questions::default()).await;
    Facts { etcd: Fact::Known { value: etcd.observe().await.unwrap(), at: jiff::Timestamp::UNIX_EPOCH }, ..facts }
}

/// The plan of a change of etcd's members, from what is seen now.
pub async fn changing(
    spec: &Spec,
    hosts: &FakeHosts,
    etcd: &dyn EtcdApi,
    work: &MemberWork,
    consents: &[&str],
) -> (Plan, Facts) {
    of_etcd(spec, hosts, etcd, consents, |asked| change(asked, work)).await
}

/// The plan of work on etcd, from what is seen now.
pub async fn working(
    spec: &Spec,
    hosts: &FakeHosts,
    etcd: &dyn EtcdApi,
    work: &EtcdWork,
    consents: &[&str],
) -> (Plan, Facts) {
    of_etcd(spec, hosts, etcd, consents, |asked| maintain(asked, work)).await
}

async fn of_etcd(
    spec: &Spec,
    hosts: &FakeHosts,
    etcd: &dyn EtcdApi,
    consents: &[&str],
    plan: impl FnOnce(EtcdInput<'_>) -> Outcome,
) -> (Plan, Facts) {
    let facts = facts(spec, hosts, etcd).await;
    let consents: BTreeSet<String> = consents.iter().map(|code| (*code).to_owned()).collect();
    let (desired, identity) = (Desired::default(), identity());
    let input = input(spec, &facts, &desired, &identity);
    (planned(plan(EtcdInput { input, consents: &consents })), facts)
}
