//! What a run that is given up leaves on hosts.

use std::collections::BTreeSet;

use super::{Status, StepState};
use crate::ids::HostName;
use crate::intent::Intent;
use crate::plan::{Plan, StepKind, Target};

/// What a run that is given up leaves on hosts, as far as its journal tells. A step that was begun may have been done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remains {
    /// Hosts that may carry our record and files.
    pub claimed: BTreeSet<HostName>,
    /// Hosts on which etcd may have been started: their data is never touched.
    pub etcd: BTreeSet<HostName>,
    /// Hosts whose member may have been added to the etcd of a cluster that stands.
    pub members: BTreeSet<HostName>,
    /// Hosts of the cluster whose etcd may have stopped, to come back as a new member.
    pub renewing: BTreeSet<HostName>,
    /// Nodes that may still be cordoned by it.
    pub cordoned: BTreeSet<HostName>,
}

/// What a run leaves.
pub fn remains(plan: &Plan, status: &Status) -> Remains {
    let begun =
        plan.steps.iter().filter(|step| status.steps.get(&step.id).is_some_and(|state| *state != StepState::Waiting));
    let mut remains = Remains::default();
    for step in begun {
        let Target::Host(host) = &step.target else { continue };
        match step.kind {
            // The host stays a part of its cluster: nothing of it was claimed.
            _ if matches!(plan.intent, Intent::ChangeEtcd { .. }) => {
                if matches!(step.kind, StepKind::SetEtcdAside { .. } | StepKind::AddEtcdMember { .. }) {
                    remains.renewing.insert(host.clone());
                }
            }
            StepKind::PlaceFiles { .. } | StepKind::StartWorker => {
                remains.claimed.insert(host.clone());
            }
            StepKind::AddEtcdMember { .. } => {
                remains.members.insert(host.clone());
            }
            StepKind::StartControlPlane | StepKind::StartEtcdMember => {
                remains.claimed.insert(host.clone());
                remains.etcd.insert(host.clone());
            }
            StepKind::Cordon | StepKind::Drain { .. } => {
                remains.cordoned.insert(host.clone());
            }
            // The cordon goes with its node.
            StepKind::Uncordon { .. } | StepKind::DeleteNode => {
                remains.cordoned.remove(host);
            }
            StepKind::TakeBackCordon if status.steps.get(&step.id) == Some(&StepState::Succeeded) => {
                remains.cordoned.remove(host);
            }
            _ => {}
        }
    }
    remains
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intent::MemberWork;
    use crate::journal::Event;
    use crate::summary::sample;

    fn begun(verbs: &[&str]) -> Remains {
        let plan = sample::plan();
        let mut status = Status::new(&plan);
        let accepted =
            Event::Accepted { operation: plan.operation.clone(), plan_digest: String::new(), by: "a".into() };
        status.apply(&accepted).unwrap();
        for step in plan.steps.iter().filter(|step| verbs.iter().any(|verb| step.id.as_str().ends_with(verb))) {
            status.apply(&Event::StepStarted { step: step.id.clone(), attempt: 1 }).unwrap();
        }
        remains(&plan, &status)
    }

    #[test]
    fn software_and_keys_leave_nothing_that_matters() {
        assert_eq!(begun(&["-prepare", "-keys"]), Remains::default());
    }

    #[test]
    fn files_claim_and_starts_hold_data() {
        let placed = begun(&["cp1-files", "w1-files"]);
        assert_eq!(placed.claimed, BTreeSet::from(["cp1".into(), "w1".into()]));
        assert!(placed.etcd.is_empty());
        assert_eq!(begun(&["cp2-start"]).etcd, BTreeSet::from(["cp2".into()]));
        assert!(begun(&["w1-start"]).etcd.is_empty());
    }

    #[test]
    fn a_drain_leaves_a_cordon() {
        let mut plan = sample::plan();
        plan.steps.truncate(1);
        plan.steps[0].kind = StepKind::Cordon;
        let mut status = Status::new(&plan);
        assert!(remains(&plan, &status).cordoned.is_empty());
        status.steps.insert(plan.steps[0].id.clone(), StepState::Started { attempt: 1 });
        assert_eq!(remains(&plan, &status).cordoned.len(), 1);
    }

    #[test]
    fn a_member_that_was_added_stays_on_the_list_of_etcd() {
        let mut plan = sample::plan();
        plan.steps.truncate(2);
        plan.steps[0].kind = StepKind::AddEtcdMember { peer_url: "https://10.77.0.12:2380".into() };
        plan.steps[1].kind = StepKind::StartEtcdMember;
        plan.steps.iter_mut().for_each(|step| step.target = Target::Host("cp2".into()));
        let mut status = Status::new(&plan);
        status.steps.insert(plan.steps[0].id.clone(), StepState::Started { attempt: 1 });
        let added = remains(&plan, &status);
        assert_eq!((added.members.len(), added.etcd.len()), (1, 0));
        status.steps.insert(plan.steps[1].id.clone(), StepState::Started { attempt: 1 });
        assert_eq!(remains(&plan, &status).etcd, BTreeSet::from(["cp2".into()]));
    }

    #[test]
    fn a_member_that_was_being_replaced_leaves_its_host_a_part() {
        let mut plan = sample::plan();
        plan.steps.truncate(2);
        plan.intent = Intent::ChangeEtcd { change: MemberWork::Replace { host: "cp2".into() } };
        plan.steps[0].kind = StepKind::SetEtcdAside { member: None };
        plan.steps[1].kind = StepKind::StartEtcdMember;
        plan.steps.iter_mut().for_each(|step| step.target = Target::Host("cp2".into()));
        let mut status = Status::new(&plan);
        assert_eq!(remains(&plan, &status), Remains::default());
        for step in &plan.steps {
            status.steps.insert(step.id.clone(), StepState::Started { attempt: 1 });
        }
        let renewing = BTreeSet::from(["cp2".into()]);
        assert_eq!(remains(&plan, &status), Remains { renewing, ..Remains::default() }, "nothing was claimed");
    }

    #[test]
    fn nothing_follows_an_abandoned_run() {
        let plan = sample::plan();
        let mut status = Status::new(&plan);
        let gone = Event::Abandoned { by: "ada@desk".into() };
        assert!(status.clone().apply(&gone).is_err(), "before the plan was accepted there is no run");
        let accepted =
            Event::Accepted { operation: plan.operation.clone(), plan_digest: String::new(), by: "a".into() };
        status.apply(&accepted).unwrap();
        status.apply(&gone).unwrap();
        assert_eq!(status.abandoned.as_deref(), Some("ada@desk"));
        for event in
            [gone, Event::Finished, Event::TakenUp { by: "a".into(), fence: 9 }, Event::Paused { why: "x".into() }]
        {
            assert!(status.apply(&event).is_err(), "{event:?}");
        }
        assert!(crate::journal::ready(&plan, &status, &BTreeSet::new()).is_empty());
    }
}
