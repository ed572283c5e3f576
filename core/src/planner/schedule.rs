//! Hosts that take copies of etcd by themselves, or stop it. Neither needs an etcd that answers.

use super::steps::{SHORT_SECONDS, assumptions, same_machine};
use super::story::Story;
use super::{Input, Outcome};
use crate::etcd::address::StoreAddress;
use crate::etcd::schedule::Schedule;
use crate::finding::{Finding, Severity, Subject};
use crate::intent::Intent;
use crate::plan::StepKind;
use crate::spec::{Host, Role};

/// A program of 30 MB comes to each host; a line of 1 Mbit/s needs four minutes for it.
const PUT_SECONDS: u32 = 300;

/// Plans it; `spec` is the text of the spec's file.
pub fn schedule(input: Input<'_>, schedule: &Schedule, spec: &str) -> Outcome {
    let mut findings = input.findings.to_vec();
    findings.extend(store(&schedule.to));
    let hosts = members(input, &mut findings);
    let mut story = Story::default();
    for (position, host) in hosts.into_iter().enumerate() {
        let kind = StepKind::ScheduleCopies { schedule: schedule.clone(), position, spec: spec.to_owned() };
        same_machine(story.on(&host.name, kind), input, host)
            .within(PUT_SECONDS)
            .because("a host beside its member needs nobody else to take a copy and to prove it");
    }
    let intent = Intent::ScheduleCopies { schedule: Some(schedule.clone()) };
    Outcome::of(input, intent, assumptions(input), findings, story)
}

/// Plans the end of it.
pub fn unschedule(input: Input<'_>) -> Outcome {
    let mut findings = input.findings.to_vec();
    let hosts = members(input, &mut findings);
    let mut story = Story::default();
    for host in hosts {
        same_machine(story.on(&host.name, StepKind::UnscheduleCopies), input, host)
            .within(SHORT_SECONDS)
            .because("copies that were taken stay where they are");
    }
    Outcome::of(input, Intent::ScheduleCopies { schedule: None }, assumptions(input), findings, story)
}

/// Hosts with a member that are a part of the cluster. WORK007: whoever is not keeps what it has.
fn members<'a>(input: Input<'a>, findings: &mut Vec<Finding>) -> Vec<&'a Host> {
    let (part, others): (Vec<&Host>, Vec<&Host>) =
        input.spec.with_role(Role::Etcd).partition(|host| input.facts.is_part(&host.name, input.spec));
    findings.extend(others.into_iter().map(|host| {
        let text = "it does not answer, or is no part of the cluster: it is left as it is";
        Finding::new(Severity::Warns, "WORK007", Subject::Host(host.name.clone()), text)
            .hint("the same command again reaches it later")
    }));
    if part.is_empty() {
        let text = "no host with role etcd that answers is a part of the cluster";
        findings.push(Finding::new(Severity::Blocks, "WORK001", Subject::Cluster, text));
    }
    part
}

/// WORK008: a folder is one on the hosts, and stands in a unit of systemd.
fn store(to: &StoreAddress) -> Option<Finding> {
    let StoreAddress::Folder(path) = to else { return None };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._/".contains(c);
    if path.starts_with('/') && path.len() > 1 && path.chars().all(plain) {
        return None;
    }
    let text = format!("`{path}` is no absolute path of plain characters; it is a folder on each host");
    Some(Finding::new(Severity::Blocks, "WORK008", Subject::Cluster, text).hint("such as --to /var/backups/etcd"))
}
