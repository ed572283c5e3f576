//! Checks a plan for contradictions within itself. A finding here is our own mistake, so all of them block.

use std::collections::BTreeSet;

use super::{Plan, Step, StepKind, Target, waves};
use crate::finding::{Finding, Severity, Subject};
use crate::ids::{HostName, StepId};
use crate::intent::Intent;
use crate::spec::Role;

/// What is wrong with the plan; empty for every plan that a planner of ours should make.
pub fn lint(plan: &Plan) -> Vec<Finding> {
    let mut findings = Vec::new();
    unique_ids(plan, &mut findings);
    known_hosts(plan, &mut findings);
    listed_in_order(plan, &mut findings);
    control_planes_start_together(plan, &mut findings);
    if let Err(cycle) = waves(&plan.steps) {
        findings.push(Finding::new(Severity::Blocks, "PLAN001", Subject::Cluster, cycle.to_string()));
    }
    findings
}

fn about(step: &Step, code: &str, text: String) -> Finding {
    Finding::new(Severity::Blocks, code, Subject::Step(step.id.clone()), text)
}

fn unique_ids(plan: &Plan, findings: &mut Vec<Finding>) {
    let mut seen = BTreeSet::new();
    for step in &plan.steps {
        if !seen.insert(&step.id) {
            findings.push(about(step, "PLAN002", format!("two steps are called {}", step.id)));
        }
    }
}

fn known_hosts(plan: &Plan, findings: &mut Vec<Finding>) {
    for step in &plan.steps {
        if let Target::Host(host) = &step.target
            && plan.spec.host(host).is_none()
        {
            findings.push(about(step, "PLAN003", format!("{host} is not in the spec")));
        }
    }
}

fn listed_in_order(plan: &Plan, findings: &mut Vec<Finding>) {
    let mut before: BTreeSet<&StepId> = BTreeSet::new();
    for step in &plan.steps {
        for wanted in &step.after {
            if !before.contains(wanted) {
                findings.push(about(step, "PLAN004", format!("it waits for {wanted}, which does not stand before it")));
            }
        }
        before.insert(&step.id);
    }
}

/// A first etcd answers only with a majority of its members: a control plane that waited for another's start would
/// wait for ever. And every start waits for all members' files, so that the static initial cluster is complete.
fn control_planes_start_together(plan: &Plan, findings: &mut Vec<Finding>) {
    // Later, a control plane that starts finds a majority.
    if plan.intent != Intent::Bootstrap {
        return;
    }
    let starts: Vec<&Step> = plan.steps.iter().filter(|step| step.kind == StepKind::StartControlPlane).collect();
    if starts.is_empty() {
        return;
    }
    let start_ids: BTreeSet<&StepId> = starts.iter().map(|step| &step.id).collect();
    let members: BTreeSet<&HostName> = plan.spec.with_role(Role::Etcd).map(|host| &host.name).collect();
    for step in starts {
        if let Some(other) = step.after.iter().find(|id| start_ids.contains(id)) {
            findings.push(about(
                step,
                "PLAN005",
                format!("it waits for {other}, but the first etcd needs both at once"),
            ));
        }
        let placed: BTreeSet<&HostName> = step
            .after
            .iter()
            .filter_map(|id| plan.step(id))
            .filter(|before| matches!(before.kind, StepKind::PlaceFiles { .. }))
            .filter_map(|before| match &before.target {
                Target::Host(host) => Some(host),
                _ => None,
            })
            .collect();
        for member in members.difference(&placed) {
            findings.push(about(step, "PLAN006", format!("it would start before {member} has its etcd files")));
        }
    }
}
