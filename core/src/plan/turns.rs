//! Nodes whose turns come, one after another or some of a pool side by side, as a plan tells them.

use std::collections::BTreeSet;

use super::{Plan, Step, StepKind, Target};
use crate::drain::Policy;
use crate::ids::{HostName, StepId};

/// A node's turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Whose.
    pub node: HostName,
    /// Its first step: until that begins nothing was done to the node's pods.
    pub begins: StepId,
    /// How many pods move.
    pub pods: u32,
}

/// The turns of a plan, in their order; none where it takes none. A way of several versions takes some nodes more than once.
pub fn turns(plan: &Plan) -> Vec<Turn> {
    let turn = |(index, step): (usize, &Step)| match (&step.kind, &step.target) {
        (StepKind::NoteWorkloads, Target::Host(node)) => {
            let pods = plan.steps[index..].iter().find_map(|later| match later.kind {
                StepKind::Drain { pods, .. } if later.target == step.target => Some(pods),
                _ => None,
            });
            Some(Turn { node: node.clone(), begins: step.id.clone(), pods: pods.unwrap_or_default() })
        }
        _ => None,
    };
    plan.steps.iter().enumerate().filter_map(turn).collect()
}

/// Nodes whose turns may be under way while this step runs: those in no order to it.
pub fn beside<'a>(plan: &'a Plan, step: &Step) -> BTreeSet<&'a HostName> {
    let (before, after) = (ancestors(plan, step), descendants(plan, step));
    let turns = plan.steps.iter().enumerate().filter(|(_, one)| one.kind == StepKind::NoteWorkloads);
    turns
        .filter(|(_, begins)| begins.target != step.target && !after.contains(&begins.id))
        .filter_map(|(index, begins)| {
            let Target::Host(node) = &begins.target else { return None };
            let is_its_end = |one: &&Step| one.target == begins.target && one.kind == StepKind::AwaitWorkloads;
            let ends = plan.steps[index..].iter().find(is_its_end)?;
            (!before.contains(&ends.id)).then_some(node)
        })
        .collect()
}

/// By what rules a node was emptied for this step; `None` where the step bears pods on its node, or none were moved for it.
pub fn emptied_for<'a>(plan: &'a Plan, step: &Step) -> Option<&'a Policy> {
    let wants_it_empty = matches!(
        step.kind,
        StepKind::UpdatePackages { .. } | StepKind::RunScript { .. } | StepKind::Reboot | StepKind::SwapVersion { .. }
    );
    let index = plan.steps.iter().position(|one| one.id == step.id)?;
    let mut before = plan.steps[..index].iter().rev().filter(|one| one.target == step.target);
    // A turn ends with its cordon taken back: an earlier turn's drain is none for this step.
    match &before.find(|one| matches!(one.kind, StepKind::Drain { .. } | StepKind::TakeBackCordon))?.kind {
        StepKind::Drain { policy, .. } if wants_it_empty => Some(policy),
        _ => None,
    }
}

/// All that a step waits for, and all that those wait for; a plan's steps stand after what they wait for.
fn ancestors<'a>(plan: &'a Plan, step: &'a Step) -> BTreeSet<&'a StepId> {
    let mut found: BTreeSet<&StepId> = step.after.iter().collect();
    for one in plan.steps.iter().rev() {
        if found.contains(&one.id) {
            found.extend(&one.after);
        }
    }
    found
}

/// All that waits for a step, and all that waits for those.
fn descendants<'a>(plan: &'a Plan, step: &'a Step) -> BTreeSet<&'a StepId> {
    let mut found = BTreeSet::from([&step.id]);
    for one in &plan.steps {
        if one.after.iter().any(|id| found.contains(id)) {
            found.insert(&one.id);
        }
    }
    found
}
