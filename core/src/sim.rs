//! A modelled cluster that steps can be applied to: the four invariants of DESIGN.md §3 are checked on it after every
//! effect, in any order a plan allows, with crashes anywhere.

mod effect;
mod restore;

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::Running;
use crate::guard::{Guard, MemberChange};
use crate::ids::{HostName, OperationId};
use crate::intent::Intent;
use crate::plan::{ObjectGroup, Plan, RestorePart, Step, StepKind, Target};
use crate::quorum;
use crate::skew;
use crate::spec::{Role, Spec};
use crate::version::Version;

pub use restore::Restore;

/// Something a plan must never make happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{step}: {what}")]
pub struct Violation {
    /// The step whose effect it was.
    pub step: String,
    /// What it did.
    pub what: String,
}

/// One modelled machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Software is there.
    pub prepared: bool,
    /// The etcd identity that its files carry, once files are there.
    pub files: Option<String>,
    /// The members that its etcd is told when it starts for the first time.
    pub initial_cluster: BTreeSet<HostName>,
    /// Manifests of the control plane are there, not only etcd's.
    pub manifests: bool,
    /// Its kubelet runs.
    pub kubelet: bool,
    /// What its kubelet and its control plane run, once software is there.
    pub version: Option<Version>,
    /// Versions whose programs and images are there.
    pub staged: BTreeSet<Version>,
    /// Identity of the data in its etcd directory.
    pub etcd_data: Option<String>,
    /// It carries the record of a finished operation.
    pub settled: bool,
    /// How often it was restarted.
    pub reboots: u32,
    /// It was restarted, and whether it is back was not proved yet.
    pub away: bool,
}

/// The modelled cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    spec: Spec,
    /// By host.
    pub machines: BTreeMap<HostName, Machine>,
    /// Hosts that have keys.
    pub keys: BTreeSet<HostName>,
    /// Object groups applied.
    pub objects: BTreeSet<ObjectGroup>,
    /// Nodes that the API shows.
    pub nodes: BTreeSet<HostName>,
    /// Nodes that carry their labels and taints.
    pub marked: BTreeSet<HostName>,
    /// Nodes that new pods are kept away from.
    pub cordoned: BTreeSet<HostName>,
    /// Nodes whose pods have moved away.
    pub drained: BTreeSet<HostName>,
    /// Nodes whose workloads were written down.
    pub noted: BTreeSet<HostName>,
    /// etcd's members with a vote.
    pub voters: BTreeSet<HostName>,
    /// etcd's members without.
    pub learners: BTreeSet<HostName>,
    /// Who leads etcd, where that was seen or done.
    pub leader: Option<HostName>,
    /// Members whose databases have given back what was free.
    pub defragmented: BTreeSet<HostName>,
    /// Members whose etcd was restarted.
    pub restarted: BTreeSet<HostName>,
    /// What a restore has brought, by machine.
    pub restores: BTreeMap<HostName, Restore>,
    /// All kubelets have spoken to the API servers that run.
    fresh: bool,
    /// The restore that is under way: nothing is decided meanwhile, and data is exchanged.
    restoring: Option<OperationId>,
    /// A majority of the members once ran: from here on losing it is a violation.
    formed: bool,
    /// The plan is to take the whole cluster apart, so that there is nothing to lose.
    dissolving: bool,
    /// The user agreed that nothing is decided while the only voter is away.
    outage_agreed: bool,
}

impl World {
    /// Bare machines for a spec.
    pub fn bare(spec: &Spec) -> Self {
        Self {
            spec: spec.clone(),
            machines: spec.hosts.iter().map(|host| (host.name.clone(), Machine::default())).collect(),
            keys: BTreeSet::new(),
            objects: BTreeSet::new(),
            nodes: BTreeSet::new(),
            marked: BTreeSet::new(),
            cordoned: BTreeSet::new(),
            drained: BTreeSet::new(),
            noted: BTreeSet::new(),
            // A static initial cluster: all of them have a vote before any of them runs.
            voters: spec.with_role(Role::Etcd).map(|host| host.name.clone()).collect(),
            learners: BTreeSet::new(),
            leader: None,
            defragmented: BTreeSet::new(),
            restarted: BTreeSet::new(),
            restores: BTreeMap::new(),
            fresh: true,
            restoring: None,
            formed: false,
            dissolving: false,
            outage_agreed: false,
        }
    }

    /// A cluster that stands on those hosts of a spec that `is_part` names, its etcd made with that token.
    pub fn standing(spec: &Spec, token: &str, is_part: impl Fn(&HostName) -> bool) -> Self {
        let mut world = Self::bare(spec);
        world.voters.retain(|host| is_part(host));
        for host in spec.hosts.iter().filter(|host| is_part(&host.name)) {
            let machine = Machine {
                prepared: true,
                files: Some(token.to_owned()),
                initial_cluster: world.voters.clone(),
                manifests: host.is(Role::ControlPlane),
                kubelet: true,
                version: Some(spec.kubernetes.version.clone()),
                etcd_data: host.is(Role::Etcd).then(|| token.to_owned()),
                settled: true,
                ..Machine::default()
            };
            world.machines.insert(host.name.clone(), machine);
            world.nodes.insert(host.name.clone());
            world.marked.insert(host.name.clone());
        }
        world.formed = true;
        world
    }

    /// The same world with every machine at this version.
    #[must_use]
    pub fn at(mut self, version: &Version) -> Self {
        self.machines.values_mut().for_each(|machine| machine.version = Some(version.clone()));
        self
    }

    /// The same world under a plan: one that takes every voter apart may lose the cluster.
    #[must_use]
    pub fn under(mut self, plan: &Plan) -> Self {
        let taken = |voter: &HostName| matches!(&plan.intent, Intent::Reset { hosts } if hosts.contains(voter));
        self.dissolving = matches!(plan.intent, Intent::Reset { .. }) && self.voters.iter().all(taken);
        self.restoring = matches!(plan.intent, Intent::RestoreEtcd { .. }).then(|| plan.operation.clone());
        let agreed =
            |guard: &Guard| matches!(guard, Guard::EtcdBears { change: MemberChange::Stop { outage: true, .. } });
        self.outage_agreed = plan.steps.iter().flat_map(|step| &step.guards).any(agreed);
        self
    }

    /// The effect of a step. Doing it again is allowed wherever the real one may be repeated.
    ///
    /// # Errors
    /// [`Violation`] where the step breaks an invariant or cannot work on this world.
    pub fn perform(&mut self, step: &Step) -> Result<(), Violation> {
        let before = self.clone();
        self.effect(step).map_err(|what| Violation { step: step.id.to_string(), what })?;
        self.invariants(&before, step).map_err(|what| Violation { step: step.id.to_string(), what })
    }

    /// Whether what the step waits for has come about.
    pub fn is_reached(&self, step: &Step) -> bool {
        match &step.kind {
            StepKind::StartControlPlane | StepKind::StartWorker => self.api_answers(),
            StepKind::Restore(RestorePart::StartEtcd) => self.api_answers(),
            _ => true,
        }
    }

    /// Whether everything the plan promises is there.
    pub fn is_complete(&self, plan: &Plan) -> bool {
        let groups = plan.steps.iter().filter_map(|step| match step.kind {
            StepKind::ApplyObjects { group } => Some(group),
            _ => None,
        });
        let whole = |machine: &Machine| machine.prepared && machine.kubelet && machine.settled;
        self.api_answers()
            && groups.into_iter().all(|group| self.objects.contains(&group))
            && self.marked.len() == self.machines.len()
            && self.machines.values().all(whole)
            && self.learners.is_empty()
    }

    /// Whether etcd has a majority, and with it the API an answer.
    pub fn api_answers(&self) -> bool {
        quorum::has_quorum(self.voters.len(), self.voters.iter().filter(|host| self.runs(host)).count())
    }

    /// Whether a host's etcd runs.
    fn runs(&self, host: &HostName) -> bool {
        let serves = |machine: &Machine| machine.kubelet && machine.etcd_data.is_some() && !machine.away;
        self.machines.get(host).is_some_and(serves)
    }

    /// What may not run beside each other, of what runs.
    fn skew(&self) -> Vec<String> {
        let mut running = Running::default();
        let mut kubelets = BTreeMap::new();
        for (name, machine) in self.machines.iter().filter(|(_, machine)| machine.kubelet) {
            let Some(version) = &machine.version else { continue };
            kubelets.insert(name.clone(), version.clone());
            if machine.manifests {
                let components = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"];
                let components = components.map(|component| (component.to_owned(), version.clone()));
                running.control_planes.insert(name.clone(), BTreeMap::from(components));
            }
        }
        skew::violations(&running, &kubelets)
    }

    /// Never lose quorum, never delete etcd data, never skip skew rules; budgets have nothing to break here.
    fn invariants(&mut self, before: &Self, step: &Step) -> Result<(), String> {
        for (name, machine) in &before.machines {
            // A reset moves data aside, and only where nobody counts on it.
            let moved_aside = match step.kind {
                StepKind::ResetHost { .. } => !self.is_member(name),
                // It does not start again before it has left the list: [`World::place`] sees to that.
                StepKind::SetEtcdAside { .. } => step.target == Target::Host(name.clone()),
                // It is renamed, and there is a way back.
                StepKind::Restore(RestorePart::Exchange { .. }) => step.target == Target::Host(name.clone()),
                _ => false,
            };
            if machine.etcd_data.is_some()
                && self.machines[name].etcd_data != machine.etcd_data
                && !moved_aside
                && !self.dissolving
            {
                return Err(format!("etcd data of {name} was deleted or replaced"));
            }
        }
        if let Some(why) = self.skew().into_iter().next() {
            return Err(why);
        }
        let agreed = self.dissolving || self.restoring.is_some() || (self.outage_agreed && self.voters.len() == 1);
        if self.formed && !self.api_answers() && !agreed {
            return Err("quorum was lost".into());
        }
        if self.drained.len() > before.drained.len() && !self.may_be_emptied_at_once() {
            return Err("a node is emptied before the one before it is back".into());
        }
        self.formed |= self.api_answers();
        Ok(())
    }

    /// Whether all that are emptied may be so at once: as many of one pool as the pool says. Elsewhere it is one; two at a time is more
    /// than was looked at.
    fn may_be_emptied_at_once(&self) -> bool {
        let pool = |name| self.spec.host(name).and_then(|host| host.pool.as_deref());
        let pools: BTreeSet<Option<&str>> = self.drained.iter().map(pool).collect();
        pools.len() <= 1 && pools.first().is_none_or(|pool| self.drained.len() <= self.spec.may_be_away(*pool))
    }

    fn is_member(&self, host: &HostName) -> bool {
        self.voters.contains(host) || self.learners.contains(host)
    }
}
