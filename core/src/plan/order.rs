//! Order of steps: which may run together, and whether any order exists at all.

use std::collections::BTreeSet;

use super::Step;
use crate::ids::StepId;

/// Steps that wait for each other in a circle, or for steps that do not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these steps can never start: {}", .0.iter().map(StepId::as_str).collect::<Vec<_>>().join(", "))]
pub struct Cycle(pub Vec<StepId>);

/// Groups of steps, each group startable once all before it have succeeded.
///
/// # Errors
/// [`Cycle`] with the steps that can never start.
pub fn waves(steps: &[Step]) -> Result<Vec<Vec<&Step>>, Cycle> {
    let mut done: BTreeSet<&StepId> = BTreeSet::new();
    let mut rest: Vec<&Step> = steps.iter().collect();
    let mut waves = Vec::new();
    while !rest.is_empty() {
        let (ready, waiting): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|step| step.after.iter().all(|id| done.contains(id)));
        if ready.is_empty() {
            return Err(Cycle(waiting.into_iter().map(|step| step.id.clone()).collect()));
        }
        done.extend(ready.iter().map(|step| &step.id));
        waves.push(ready);
        rest = waiting;
    }
    Ok(waves)
}
