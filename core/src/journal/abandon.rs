//! What a run that is given up leaves on hosts.

use std::collections::BTreeSet;

use super::{Status, StepState};
use crate::ids::HostName;
use crate::intent::{Intent, MemberWork};
use crate::plan::{Plan, Step, StepKind, Target};

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
    /// What is left of a member that may be half out of etcd.
    pub half_out: Option<HalfOut>,
    /// Hosts that may be between two versions, with a kubelet that is stopped.
    pub between: BTreeSet<HostName>,
    /// Nodes that may still be cordoned by it.
    pub cordoned: BTreeSet<HostName>,
}

/// A member whose removal was begun and not ended: what it lacks first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HalfOut {
    /// Its etcd, which is no member any more, and the control plane beside it have not ended on this host.
    StillThere(HostName),
    /// The alarm about it is raised still; it is named as the user named it.
    AlarmRaised(String),
    /// Whether it left, and whether the others hold the same, was not seen; it is named as the user named it.
    Unproved(String),
}

/// What a run leaves.
pub fn remains(plan: &Plan, status: &Status) -> Remains {
    let begun =
        plan.steps.iter().filter(|step| status.steps.get(&step.id).is_some_and(|state| *state != StepState::Waiting));
    let mut remains = Remains::default();
    if let Intent::ChangeEtcd { change } = &plan.intent {
        // Its host stays a part of the cluster: nothing of it was claimed.
        changed(plan, status, change, &mut remains);
        return remains;
    }
    for step in begun {
        let Target::Host(host) = &step.target else { continue };
        match step.kind {
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
            StepKind::SwapVersion { .. } if status.steps.get(&step.id) != Some(&StepState::Succeeded) => {
                remains.between.insert(host.clone());
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

/// What a change of etcd's members leaves.
fn changed(plan: &Plan, status: &Status, change: &MemberWork, remains: &mut Remains) {
    let waits = |step: &&Step| status.steps.get(&step.id).is_none_or(|state| *state == StepState::Waiting);
    let lacks = |step: &&Step| status.steps.get(&step.id) != Some(&StepState::Succeeded);
    let steps = |wanted: fn(&StepKind) -> bool| plan.steps.iter().filter(move |step| wanted(&step.kind));
    let aside = |kind: &StepKind| matches!(kind, StepKind::SetEtcdAside { .. });
    match change {
        MemberWork::Replace { host } | MemberWork::Add { host } => {
            let stops =
                |kind: &StepKind| matches!(kind, StepKind::SetEtcdAside { .. } | StepKind::AddEtcdMember { .. });
            remains.renewing.extend(steps(stops).any(|step| !waits(&step)).then(|| host.clone()));
        }
        MemberWork::Remove { member } if plan.steps.iter().any(|step| !waits(&step)) => {
            let still_there = steps(aside).find(lacks).and_then(|step| match &step.target {
                Target::Host(host) => Some(host.clone()),
                _ => None,
            });
            let raised = steps(|kind| matches!(kind, StepKind::DisarmEtcd { .. })).any(|step| lacks(&step));
            remains.half_out = Some(match still_there {
                Some(host) => HalfOut::StillThere(host),
                None if raised => HalfOut::AlarmRaised(member.clone()),
                None => HalfOut::Unproved(member.clone()),
            });
        }
        MemberWork::Remove { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::etcd::MemberId;
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
    fn a_swap_that_was_begun_leaves_a_host_between_two_versions() {
        let mut plan = sample::plan();
        plan.steps.truncate(1);
        plan.steps[0].kind = StepKind::SwapVersion {
            renew_certificates: false,
            version: crate::version::Version::new(1, 36, 3),
            programs: Vec::new(),
            etcd: Default::default(),
            serve_seconds: 1,
            ready_seconds: 1,
        };
        plan.steps[0].target = Target::Host("cp2".into());
        let mut status = Status::new(&plan);
        assert!(remains(&plan, &status).between.is_empty());
        let failed = StepState::Failed { attempt: 1, error: "it does not serve".into() };
        for state in [StepState::Started { attempt: 1 }, failed] {
            status.steps.insert(plan.steps[0].id.clone(), state);
            assert_eq!(remains(&plan, &status).between, BTreeSet::from(["cp2".into()]));
        }
        status.steps.insert(plan.steps[0].id.clone(), StepState::Succeeded);
        assert!(remains(&plan, &status).between.is_empty());
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
    fn a_member_that_was_being_taken_out_is_told_by_what_it_lacks_first() {
        let mut plan = sample::plan();
        plan.steps.truncate(4);
        plan.intent = Intent::ChangeEtcd { change: MemberWork::Remove { member: "cp2".into() } };
        plan.steps[0].kind = StepKind::ForgetEtcdMember { member: MemberId(2) };
        plan.steps[1].kind = StepKind::SetEtcdAside { member: None };
        plan.steps[2].kind = StepKind::ProveEtcd { not_waited_for: Vec::new() };
        plan.steps[3].kind = StepKind::DisarmEtcd { of: Some(MemberId(2)) };
        plan.steps[..2].iter_mut().for_each(|step| step.target = Target::Host("cp2".into()));
        plan.steps[2..].iter_mut().for_each(|step| step.target = Target::Cluster);
        let half_out = |plan: &Plan, done: usize, begun: bool| {
            let mut status = Status::new(plan);
            for (number, step) in plan.steps.iter().enumerate() {
                let state = match number {
                    number if number < done => StepState::Succeeded,
                    number if number == done && begun => StepState::Started { attempt: 1 },
                    _ => StepState::Waiting,
                };
                status.steps.insert(step.id.clone(), state);
            }
            let remains = remains(plan, &status);
            assert_eq!(remains, Remains { half_out: remains.half_out.clone(), ..Remains::default() });
            remains.half_out
        };
        assert_eq!(half_out(&plan, 0, false), None, "nothing was begun");
        let still_there = Some(HalfOut::StillThere("cp2".into()));
        assert_eq!(half_out(&plan, 0, true), still_there);
        assert_eq!(half_out(&plan, 1, false), still_there);
        assert_eq!(half_out(&plan, 1, true), still_there);
        assert_eq!(half_out(&plan, 2, false), Some(HalfOut::AlarmRaised("cp2".into())));
        assert_eq!(half_out(&plan, 3, true), Some(HalfOut::AlarmRaised("cp2".into())));
        plan.steps.truncate(3);
        assert_eq!(half_out(&plan, 2, true), Some(HalfOut::Unproved("cp2".into())));
        // Of one without a host in the spec.
        plan.steps.remove(1);
        plan.steps[0].target = Target::Cluster;
        assert_eq!(half_out(&plan, 0, true), Some(HalfOut::Unproved("cp2".into())));
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
