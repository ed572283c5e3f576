//! Nodes whose turns come one after another, as a plan tells them.

use super::{Plan, Step, StepKind, Target};
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
