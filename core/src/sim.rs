//! A modelled cluster that steps can be applied to: the four invariants of DESIGN.md §3 are checked on it after every
//! effect, in any order a plan allows, with crashes anywhere.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::HostName;
use crate::plan::{ObjectGroup, Plan, Step, StepKind, Target};
use crate::quorum;
use crate::spec::{Role, Spec};

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
    /// Its kubelet runs.
    pub kubelet: bool,
    /// Identity of the data in its etcd directory.
    pub etcd_data: Option<String>,
    /// It carries the record of a finished operation.
    pub settled: bool,
}

/// The modelled cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    spec: Spec,
    /// By host.
    pub machines: BTreeMap<HostName, Machine>,
    /// Keys were made.
    pub keys: bool,
    /// Object groups applied.
    pub objects: BTreeSet<ObjectGroup>,
    /// Nodes that carry their labels and taints.
    pub marked: BTreeSet<HostName>,
    /// A majority of the members once ran: from here on losing it is a violation.
    formed: bool,
}

impl World {
    /// Bare machines for a spec.
    pub fn bare(spec: &Spec) -> Self {
        Self {
            spec: spec.clone(),
            machines: spec.hosts.iter().map(|host| (host.name.clone(), Machine::default())).collect(),
            keys: false,
            objects: BTreeSet::new(),
            marked: BTreeSet::new(),
            formed: false,
        }
    }

    /// The effect of a step. Doing it again is allowed wherever the real one may be repeated.
    ///
    /// # Errors
    /// [`Violation`] where the step breaks an invariant or cannot work on this world.
    pub fn perform(&mut self, step: &Step) -> Result<(), Violation> {
        let before = self.clone();
        self.effect(step).map_err(|what| Violation { step: step.id.to_string(), what })?;
        self.invariants(&before).map_err(|what| Violation { step: step.id.to_string(), what })
    }

    /// Whether what the step waits for has come about.
    pub fn is_reached(&self, step: &Step) -> bool {
        match &step.kind {
            StepKind::StartControlPlane | StepKind::StartWorker => self.api_answers(),
            _ => true,
        }
    }

    /// Whether everything the plan promises is there.
    pub fn is_complete(&self, plan: &Plan) -> bool {
        let groups: BTreeSet<ObjectGroup> = plan
            .steps
            .iter()
            .filter_map(|step| match step.kind {
                StepKind::ApplyObjects { group } => Some(group),
                _ => None,
            })
            .collect();
        self.api_answers()
            && self.objects == groups
            && self.marked.len() == self.machines.len()
            && self.machines.values().all(|machine| machine.prepared && machine.kubelet && machine.settled)
    }

    /// Whether etcd has a majority, and with it the API an answer.
    pub fn api_answers(&self) -> bool {
        let members: Vec<&Machine> =
            self.spec.with_role(Role::Etcd).filter_map(|host| self.machines.get(&host.name)).collect();
        let running = members.iter().filter(|member| member.kubelet && member.etcd_data.is_some()).count();
        quorum::has_quorum(members.len(), running)
    }

    fn effect(&mut self, step: &Step) -> Result<(), String> {
        match &step.kind {
            StepKind::MakeKeys { .. } => self.keys = true,
            StepKind::PrepareHost(_) => self.machine(step)?.prepared = true,
            StepKind::PlaceFiles { initial_cluster_token } => {
                if !self.keys {
                    return Err("files need keys that are not made yet".into());
                }
                let machine = self.machine(step)?;
                if !machine.prepared {
                    return Err("its kubelet is not installed".into());
                }
                if machine.kubelet && machine.files.as_ref() != Some(initial_cluster_token) {
                    return Err("files of another etcd would land under a running kubelet".into());
                }
                machine.files = Some(initial_cluster_token.clone());
            }
            StepKind::StartControlPlane => self.start_control_plane(step)?,
            StepKind::StartWorker => {
                if !self.api_answers() {
                    return Err("no API to join".into());
                }
                let machine = self.machine(step)?;
                if machine.files.is_none() {
                    return Err("it has no files".into());
                }
                machine.kubelet = true;
            }
            StepKind::ApplyObjects { group } => {
                self.need_api()?;
                self.objects.insert(*group);
            }
            StepKind::MarkNode => {
                self.need_api()?;
                let name = self.host(step)?;
                if !self.machines[&name].kubelet {
                    return Err("there is no such node".into());
                }
                self.marked.insert(name);
            }
            StepKind::Prove { nodes } => {
                self.need_api()?;
                if let Some(missing) =
                    nodes.iter().find(|node| !self.machines.get(*node).is_some_and(|machine| machine.kubelet))
                {
                    return Err(format!("{missing} is not there"));
                }
            }
            StepKind::Settle { hosts } => {
                for host in hosts {
                    self.machines.get_mut(host).ok_or("no such host")?.settled = true;
                }
            }
        }
        Ok(())
    }

    fn start_control_plane(&mut self, step: &Step) -> Result<(), String> {
        let name = self.host(step)?;
        let tokens: BTreeSet<Option<&String>> = self
            .spec
            .with_role(Role::Etcd)
            .filter_map(|host| self.machines.get(&host.name))
            .map(|machine| machine.files.as_ref())
            .collect();
        if tokens.len() != 1 || tokens.contains(&None) {
            return Err(
                "a first etcd member would start while others lack their files or carry another identity".into()
            );
        }
        let is_member = self.spec.host(&name).is_some_and(|host| host.is(Role::Etcd));
        let machine = self.machine(step)?;
        if !machine.prepared || machine.files.is_none() {
            return Err("its kubelet would start without software or files".into());
        }
        machine.kubelet = true;
        if is_member {
            match (&machine.etcd_data, &machine.files) {
                (Some(data), Some(files)) if data != files => {
                    return Err("the data of another etcd would be served".into());
                }
                (None, files) => machine.etcd_data = files.clone(),
                _ => {}
            }
        }
        Ok(())
    }

    fn need_api(&self) -> Result<(), String> {
        if self.api_answers() { Ok(()) } else { Err("no API answers".into()) }
    }

    fn host(&self, step: &Step) -> Result<HostName, String> {
        match &step.target {
            Target::Host(host) if self.machines.contains_key(host) => Ok(host.clone()),
            other => Err(format!("{other} is no host of the spec")),
        }
    }

    fn machine(&mut self, step: &Step) -> Result<&mut Machine, String> {
        let name = self.host(step)?;
        self.machines.get_mut(&name).ok_or_else(|| "no such host".to_owned())
    }

    /// Never lose quorum, never delete etcd data; budgets and skew have nothing to break in a bootstrap.
    fn invariants(&mut self, before: &Self) -> Result<(), String> {
        for (name, machine) in &before.machines {
            if machine.etcd_data.is_some() && self.machines[name].etcd_data != machine.etcd_data {
                return Err(format!("etcd data of {name} was deleted or replaced"));
            }
        }
        if self.formed && !self.api_answers() {
            return Err("quorum was lost".into());
        }
        self.formed |= self.api_answers();
        Ok(())
    }
}
