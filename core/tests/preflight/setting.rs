//! Two machines that are well, and what may be changed about them.

use kubewright_core::facts::sample::{bare, known};
use kubewright_core::facts::{ClusterFacts, Fact, Facts, Fitness, HostFacts, Route, Space, Sysctl, UnitFacts};
use kubewright_core::finding::{Finding, Subject};
use kubewright_core::planner::{self, Desired, DesiredHost, Identity, Input, Outcome, Request};
use kubewright_core::spec::{Cidr, Spec, read};

pub const GB: u64 = 1_000_000_000;

pub fn spec(more: &str) -> Spec {
    let text = format!(
        "apiVersion: kubewright.dev/v1alpha1\nkind: Cluster\nmetadata: {{name: lab}}\nspec:\n  kubernetes: {{version: 1.35.4}}\n  \
         hosts:\n  - {{name: cp1, address: 10.77.0.11, roles: [controlPlane, etcd]}}\n  - {{name: w1, address: 10.77.0.21, roles: [worker]}}\n{more}"
    );
    let reading = read("test.yaml", &text);
    reading.spec.unwrap_or_else(|| panic!("{:#?}", reading.findings))
}

pub fn facts(spec: &Spec, change: impl Fn(&str, &mut HostFacts)) -> Facts {
    let seen = |host: &kubewright_core::spec::Host| {
        let mut seen = bare(host);
        change(host.name.as_str(), &mut seen);
        (host.name.clone(), known(seen))
    };
    Facts { hosts: spec.hosts.iter().map(seen).collect(), cluster: known(ClusterFacts::default()), ..Facts::default() }
}

pub fn judged(spec: &Spec, facts: &Facts) -> Vec<Finding> {
    let mut host = DesiredHost::default();
    host.preparation.swap_off = true;
    let desired = Desired { hosts: spec.hosts.iter().map(|named| (named.name.clone(), host.clone())).collect() };
    let identity = Identity { operation: "7f3a9c".into(), initial_cluster_token: "lab-0123".into() };
    let input = Input { spec, facts, desired: &desired, findings: &[], identity: &identity, tool_version: "0.0.0" };
    match planner::plan(input, &Request::Apply { only: None }) {
        Outcome::Blocked { findings } | Outcome::Nothing { findings } => findings,
        Outcome::Plan(plan) => plan.findings,
    }
}

pub fn found(spec: &Spec, change: impl Fn(&str, &mut HostFacts)) -> Vec<Finding> {
    judged(spec, &facts(spec, change))
}

/// Findings on hosts as `CODE severity host`; what is about the cluster is left out.
pub fn codes(findings: &[Finding]) -> Vec<String> {
    let told = |finding: &Finding| match &finding.subject {
        Subject::Host(host) => Some(format!("{} {} {host}", finding.code, finding.severity)),
        _ => None,
    };
    findings.iter().filter_map(told).collect()
}

/// The same of what is about the cluster, `TIME002` left out.
pub fn of_cluster(findings: &[Finding]) -> Vec<String> {
    let all = findings.iter().filter(|finding| finding.subject == Subject::Cluster && finding.code != "TIME002");
    all.map(|finding| format!("{} {}", finding.code, finding.severity)).collect()
}

pub fn on(wanted: &'static str, change: impl Fn(&mut HostFacts)) -> impl Fn(&str, &mut HostFacts) {
    move |name, seen| {
        if name == wanted {
            change(seen);
        }
    }
}

pub fn fit(change: impl Fn(&mut Fitness)) -> impl Fn(&mut HostFacts) {
    move |seen| {
        let Fact::Known { value, .. } = &mut seen.fitness else { panic!("the sample is fit") };
        change(value);
    }
}

pub fn value<T>(fact: &mut Fact<T>) -> &mut T {
    match fact {
        Fact::Known { value, .. } => value,
        other => panic!("the sample knows it: {:?}", other.why()),
    }
}

pub fn route(destination: &str, interface: &str) -> Route {
    Route { destination: Cidr::try_from(destination.to_owned()).unwrap(), interface: interface.to_owned() }
}

pub fn unit(active: &str, enabled: &str) -> Fact<UnitFacts> {
    known(UnitFacts { active: active.into(), sub: "any".into(), enabled: enabled.into() })
}

pub fn words(words: &[&str]) -> Fact<Vec<String>> {
    known(words.iter().map(|word| (*word).to_owned()).collect())
}

pub fn sysctl(name: &'static str, value: &'static str, writable: bool) -> impl Fn(&mut HostFacts) {
    fit(move |fitness| {
        let sysctls = self::value(&mut fitness.sysctls);
        sysctls.insert(name.into(), Sysctl { value: value.into(), writable });
    })
}

pub fn disk(folder: &'static str, room: Space) -> impl Fn(&mut HostFacts) {
    move |seen| {
        value(&mut seen.space).insert(folder.into(), room);
    }
}
