//! Where a run may pause: between one node's turn and the next, and nowhere else.

use std::collections::BTreeSet;

use kubewright_core::ids::StepId;
use kubewright_core::plan::{Target, beside, turns};
use proptest::prelude::*;

use crate::maintain::{plan_for, reboot};
use crate::setting::{plan, spec};
use crate::upgrade::pooled;

#[test]
fn turns_are_told_with_their_first_step_and_their_pods() {
    let told: Vec<(String, String, u32)> = turns(&plan_for(&spec(1, 2), &["w1", "w2"], &reboot()))
        .into_iter()
        .map(|turn| (turn.node.to_string(), turn.begins.to_string(), turn.pods))
        .collect();
    let of = |node: &str, step: &str| (node.to_owned(), step.to_owned(), 1);
    assert_eq!(told, [of("w1", "01-w1-note"), of("w2", "09-w2-note")]);
    assert_eq!(turns(&plan(3, 2)), [], "a first cluster has none");
}

#[test]
fn beside_a_turn_are_those_that_neither_end_before_it_nor_begin_after_it() {
    // Two of w1, w4, w5, w8 may be away at once; then w2 and w6 of a pool that lets one.
    let plan = plan_for(&pooled(6, "2"), &["w1", "w2", "w4", "w5", "cp1"], &reboot());
    let beside = |node: &str| {
        let turns = turns(&plan);
        let turn = turns.iter().find(|turn| turn.node.as_str() == node).unwrap();
        let begins = plan.step(&turn.begins).unwrap();
        beside(&plan, begins).into_iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(["w1", "w4", "w5", "w2", "cp1"].map(beside), ["w4", "w1 w5", "w4", "", ""]);
}

proptest! {
    /// Whatever the order of the spec: before a turn begins, everything of the turn before it is done.
    #[test]
    fn a_turn_begins_when_the_one_before_it_is_over(control_planes in prop_oneof![Just(1_usize), Just(3), Just(5)], workers in 0_usize..4) {
        let spec = spec(control_planes, workers);
        let names: Vec<&str> = spec.hosts.iter().map(|host| host.name.as_str()).collect();
        let plan = plan_for(&spec, &names, &reboot());
        let turns = turns(&plan);
        prop_assert_eq!(turns.len(), names.len());
        for pair in turns.windows(2) {
            // Everything that the later turn's first step waits for, near and far.
            let mut before: BTreeSet<&StepId> = BTreeSet::new();
            let mut open = vec![&pair[1].begins];
            while let Some(id) = open.pop() {
                let after = &plan.step(id).unwrap().after;
                open.extend(after.iter().filter(|id| before.insert(id)));
            }
            let of_earlier = plan.steps.iter().filter(|step| step.target == Target::Host(pair[0].node.clone()));
            prop_assert!(of_earlier.clone().count() > 3);
            for step in of_earlier {
                prop_assert!(before.contains(&step.id), "{} is not over when {} begins", step.id, pair[1].begins);
            }
        }
    }
}
