//! What steps do to the modelled cluster, and what they cannot do to it.

use std::collections::BTreeSet;

use super::{Machine, World};
use crate::guard::{Guard, MemberChange};
use crate::ids::HostName;
use crate::plan::{EtcdStart, FileSet, KeySource, Step, StepKind, Target};
use crate::quorum;
use crate::spec::Role;
use crate::version::Version;

impl World {
    pub(super) fn effect(&mut self, step: &Step) -> Result<(), String> {
        match &step.kind {
            StepKind::MakeKeys { authorities, hosts, .. } => {
                if *authorities == KeySource::Cluster && !self.machines.values().any(|machine| machine.settled) {
                    return Err("no control plane has the authorities".into());
                }
                self.keys.extend(hosts.iter().cloned());
            }
            StepKind::PrepareHost(_) => {
                let version = self.spec.kubernetes.version.clone();
                let machine = self.machine(step)?;
                machine.prepared = true;
                machine.version.get_or_insert(version);
            }
            StepKind::Stage(preparation) => {
                // A plan says the version in its paths alone.
                let staged = preparation.artefacts.iter().filter_map(|one| one.destination.rsplit('/').nth(1));
                let staged: Vec<_> = staged.filter_map(|version| version.parse().ok()).collect();
                self.machine(step)?.staged.extend(staged);
            }
            StepKind::SwapVersion { version, renew_certificates, .. } => {
                if *renew_certificates && !self.keys.contains(&self.host(step)?) {
                    return Err("no certificates were made for it".into());
                }
                self.swap(step, version)?;
            }
            StepKind::PlaceFiles { files, etcd } => self.place(step, *files, etcd)?,
            StepKind::StartControlPlane => self.start_control_plane(step)?,
            StepKind::StartWorker => self.start_worker(step)?,
            StepKind::AddEtcdMember { .. } => self.add_member(step)?,
            StepKind::StartEtcdMember => self.start_member(step)?,
            StepKind::PromoteEtcdMember => self.promote(step)?,
            StepKind::RemoveEtcdMember | StepKind::ForgetEtcdMember { .. } => {
                self.need_api()?;
                if let Target::Host(name) = &step.target {
                    self.voters.remove(name);
                    self.learners.remove(name);
                }
            }
            StepKind::ProveEtcd { .. } => self.need_api()?,
            StepKind::SetEtcdAside { .. } => self.set_aside(step)?,
            StepKind::MoveEtcdLeader => {
                let name = self.host(step)?;
                self.lead(name)?;
            }
            StepKind::DefragmentEtcd => {
                let name = self.pause(step)?;
                self.defragmented.insert(name);
            }
            StepKind::RestartEtcdMember => {
                let name = self.pause(step)?;
                self.restarted.insert(name);
            }
            StepKind::CompactEtcd { .. } | StepKind::DisarmEtcd { .. } => self.need_api()?,
            StepKind::ScheduleCopies { .. } | StepKind::UnscheduleCopies => drop(self.host(step)?),
            StepKind::ResetHost { .. } => {
                let name = self.host(step)?;
                if self.is_member(&name) && !self.dissolving {
                    return Err("an etcd member would be wiped".into());
                }
                *self.machine(step)? = Machine::default();
                self.marked.remove(&name);
            }
            StepKind::ApplyObjects { group } => {
                self.need_api()?;
                self.objects.insert(*group);
            }
            StepKind::MarkNode => {
                let name = self.node(step)?;
                self.marked.insert(name);
            }
            StepKind::Cordon => {
                let name = self.node(step)?;
                self.cordoned.insert(name);
            }
            StepKind::Drain { .. } => {
                let name = self.node(step)?;
                self.cordoned.insert(name.clone());
                self.drained.insert(name);
            }
            StepKind::Uncordon { .. } => {
                let name = self.node(step)?;
                self.cordoned.remove(&name);
                self.drained.remove(&name);
            }
            StepKind::NoteWorkloads => {
                let name = self.node(step)?;
                self.noted.insert(name);
            }
            StepKind::HandOverEtcdLead => {
                self.need_api()?;
                let name = self.host(step)?;
                if self.leader.as_ref() == Some(&name) {
                    self.leader = self.voters.iter().find(|voter| **voter != name).cloned().or(Some(name));
                }
            }
            StepKind::AwaitDetached => {
                let name = self.node(step)?;
                self.need_empty(&name)?;
            }
            StepKind::UpdatePackages { .. } | StepKind::RunScript { .. } => {
                let name = self.host(step)?;
                self.need_empty(&name)?;
            }
            StepKind::Reboot => self.reboot(step)?,
            StepKind::ProveReturned => {
                let name = self.host(step)?;
                if !self.noted.contains(&name) {
                    return Err("nobody wrote down what was whole before".into());
                }
                self.machine(step)?.away = false;
                self.need_api()?;
            }
            StepKind::TakeBackCordon => {
                let name = self.node(step)?;
                if self.machines[&name].away {
                    return Err("pods would come to a node that is not proved back".into());
                }
                self.cordoned.remove(&name);
                self.drained.remove(&name);
            }
            StepKind::Restore(part) => {
                let of = self.restoring.clone().ok_or("no restore is under way")?;
                self.restore(step, part, &of)?;
            }
            StepKind::AwaitWorkloads => {
                let name = self.node(step)?;
                if self.cordoned.contains(&name) {
                    return Err("pods that only fit there would be waited for in vain".into());
                }
            }
            StepKind::DeleteNode => {
                self.need_api()?;
                let name = self.host(step)?;
                if self.machines[&name].kubelet {
                    return Err("a node that runs would be deleted".into());
                }
                self.nodes.remove(&name);
                self.marked.remove(&name);
                self.cordoned.remove(&name);
                self.drained.remove(&name);
            }
            StepKind::Prove { nodes, .. } => {
                self.need_api()?;
                if let Some(missing) = nodes.iter().find(|node| !self.nodes.contains(*node)) {
                    return Err(format!("{missing} is not there"));
                }
            }
            StepKind::Settle { hosts, .. } => {
                for host in hosts {
                    self.machines.get_mut(host).ok_or("no such host")?.settled = true;
                }
            }
        }
        Ok(())
    }

    /// The node that a step is about, through an API that answers.
    fn node(&self, step: &Step) -> Result<HostName, String> {
        self.need_api()?;
        let name = self.host(step)?;
        if self.nodes.contains(&name) { Ok(name) } else { Err("there is no such node".into()) }
    }

    fn place(&mut self, step: &Step, files: FileSet, etcd: &EtcdStart) -> Result<(), String> {
        let token = etcd.initial_cluster_token.as_str();
        let name = self.host(step)?;
        let has_keys = self.keys.contains(&name);
        let is_wiped_voter = self.voters.contains(&name) && self.machines[&name].etcd_data.is_none();
        let machine = self.machine(step)?;
        match files {
            FileSet::All | FileSet::Etcd => {
                if !has_keys {
                    return Err("files need keys that are not made yet".into());
                }
                if !machine.prepared {
                    return Err("its kubelet is not installed".into());
                }
                if machine.kubelet && machine.files.as_deref() != Some(token) {
                    return Err("files of another etcd would land under a running kubelet".into());
                }
                machine.files = Some(token.to_owned());
                machine.initial_cluster = etcd.members.keys().cloned().collect();
                machine.manifests |= files == FileSet::All;
            }
            FileSet::EtcdManifest => {
                // The kubelet runs, so the manifest is the start.
                if machine.files.as_deref().is_some_and(|other| other != token) {
                    return Err("the data of another etcd would be served".into());
                }
                machine.files = Some(token.to_owned());
                machine.initial_cluster = etcd.members.keys().cloned().collect();
                if is_wiped_voter {
                    return Err("a voter would start without its data and could vote twice".into());
                }
                self.start_member(step)?;
            }
            FileSet::StaticPods => {
                if self.learners.contains(&name) {
                    return Err("its API server would start beside a learner".into());
                }
                self.machine(step)?.manifests = true;
            }
            FileSet::Kubelet | FileSet::Proxy => {
                if machine.files.is_none() {
                    return Err("it is not a node yet".into());
                }
            }
        }
        Ok(())
    }

    fn start_control_plane(&mut self, step: &Step) -> Result<(), String> {
        let name = self.host(step)?;
        let is_member = self.spec.host(&name).is_some_and(|host| host.is(Role::Etcd));
        if !self.formed {
            self.first_members_agree()?;
        } else if is_member && !self.voters.contains(&name) {
            return Err("its etcd has no vote: its API server could not serve".into());
        }
        let machine = self.machine(step)?;
        if !machine.prepared || machine.files.is_none() || !machine.manifests {
            return Err("its kubelet would start without software or files".into());
        }
        machine.kubelet = true;
        if is_member {
            serve(machine)?;
        }
        self.nodes.insert(name);
        Ok(())
    }

    fn first_members_agree(&self) -> Result<(), String> {
        let members = self.spec.with_role(Role::Etcd).filter_map(|host| self.machines.get(&host.name));
        let tokens: BTreeSet<Option<&String>> = members.map(|machine| machine.files.as_ref()).collect();
        if tokens.len() != 1 || tokens.contains(&None) {
            return Err(
                "a first etcd member would start while others lack their files or carry another identity".into()
            );
        }
        Ok(())
    }

    fn start_worker(&mut self, step: &Step) -> Result<(), String> {
        self.need_api()?;
        let name = self.host(step)?;
        let machine = self.machine(step)?;
        if machine.files.is_none() {
            return Err("it has no files".into());
        }
        machine.kubelet = true;
        self.nodes.insert(name);
        Ok(())
    }

    fn add_member(&mut self, step: &Step) -> Result<(), String> {
        self.need_api()?;
        let name = self.host(step)?;
        if self.voters.contains(&name) {
            return Err("it is a member already".into());
        }
        // etcd's own limit, `--max-learners`.
        if self.learners.iter().any(|other| *other != name) {
            return Err("two learners at once".into());
        }
        self.learners.insert(name);
        Ok(())
    }

    fn lead(&mut self, name: HostName) -> Result<(), String> {
        self.need_api()?;
        if !self.voters.contains(&name) {
            return Err("it has no vote, so it cannot lead".into());
        }
        self.leader = Some(name);
        Ok(())
    }

    /// It answers nobody for a while: others must decide, unless it was agreed that nobody does, and another must lead.
    fn pause(&mut self, step: &Step) -> Result<HostName, String> {
        let agreed =
            |guard: &Guard| matches!(guard, Guard::EtcdBears { change: MemberChange::Pause { standstill: true, .. } });
        // One or two cannot spare any; more may, whatever was agreed to.
        self.stop(step, self.voters.len() <= 2 && step.guards.iter().any(agreed))
    }

    /// The etcd of a member stops: others must decide without it, and another must lead.
    fn stop(&mut self, step: &Step, is_agreed: bool) -> Result<HostName, String> {
        self.need_api()?;
        let name = self.host(step)?;
        if self.leader.as_ref() == Some(&name)
            && let Some(heir) = self.voters.iter().find(|other| **other != name && self.runs(other)).cloned()
        {
            self.lead(heir)?;
        }
        let others = self.voters.iter().filter(|other| **other != name && self.runs(other)).count();
        if !is_agreed && self.voters.contains(&name) && !quorum::has_quorum(self.voters.len(), others) {
            return Err("quorum would be lost while it answers nobody".into());
        }
        Ok(name)
    }

    fn start_member(&mut self, step: &Step) -> Result<(), String> {
        let name = self.host(step)?;
        if !self.is_member(&name) {
            return Err("its etcd would start before it was added".into());
        }
        let members: BTreeSet<HostName> = self.voters.union(&self.learners).cloned().collect();
        if self.machines[&name].initial_cluster != members {
            return Err("its etcd would be told other members than there are, and would refuse to start".into());
        }
        let machine = self.machine(step)?;
        if !machine.prepared || machine.files.is_none() {
            return Err("its kubelet would start without software or files".into());
        }
        machine.kubelet = true;
        serve(machine)
    }

    /// Its etcd ends, a member's only where the others decide on its leaving.
    fn set_aside(&mut self, step: &Step) -> Result<(), String> {
        let name = self.host(step)?;
        if self.is_member(&name) {
            self.stop(step, false)?;
        }
        let machine = self.machine(step)?;
        (machine.files, machine.etcd_data, machine.manifests) = (None, None, false);
        Ok(())
    }

    fn promote(&mut self, step: &Step) -> Result<(), String> {
        self.need_api()?;
        let name = self.host(step)?;
        let machine = &self.machines[&name];
        if !machine.kubelet || machine.etcd_data.is_none() {
            return Err("a learner that does not run would get a vote".into());
        }
        self.learners.remove(&name);
        self.voters.insert(name);
        Ok(())
    }

    fn reboot(&mut self, step: &Step) -> Result<(), String> {
        let name = self.host(step)?;
        self.need_empty(&name)?;
        if self.voters.len() > 1 && self.leader.as_ref() == Some(&name) {
            return Err("etcd's leader would be stopped though another could lead".into());
        }
        let machine = self.machine(step)?;
        machine.reboots += 1;
        machine.away = true;
        Ok(())
    }

    /// Everything on the host stops for a while and starts again with another version.
    fn swap(&mut self, step: &Step, version: &Version) -> Result<(), String> {
        let name = self.host(step)?;
        self.need_empty(&name)?;
        if !self.machines[&name].staged.contains(version) {
            return Err(format!("{version} is not there"));
        }
        if self.voters.contains(&name) {
            if self.voters.len() > 1 && self.leader.as_ref() == Some(&name) {
                return Err("etcd's leader would be stopped though another could lead".into());
            }
            self.stop(step, self.outage_agreed && self.voters.len() == 1)?;
        }
        self.machine(step)?.version = Some(version.clone());
        Ok(())
    }

    /// Nothing that must not be cut off runs there.
    fn need_empty(&self, name: &HostName) -> Result<(), String> {
        if self.drained.contains(name) { Ok(()) } else { Err("pods that run there would be cut off".into()) }
    }

    pub(super) fn need_api(&self) -> Result<(), String> {
        if self.api_answers() { Ok(()) } else { Err("no API answers".into()) }
    }

    pub(super) fn host(&self, step: &Step) -> Result<HostName, String> {
        match &step.target {
            Target::Host(host) if self.machines.contains_key(host) => Ok(host.clone()),
            other => Err(format!("{other} is no host of the spec")),
        }
    }

    pub(super) fn machine(&mut self, step: &Step) -> Result<&mut Machine, String> {
        let name = self.host(step)?;
        self.machines.get_mut(&name).ok_or_else(|| "no such host".to_owned())
    }
}

/// Its etcd serves the data that it has, or begins with none.
fn serve(machine: &mut Machine) -> Result<(), String> {
    match (&machine.etcd_data, &machine.files) {
        (Some(data), Some(files)) if data != files => Err("the data of another etcd would be served".into()),
        (None, files) => {
            machine.etcd_data = files.clone();
            Ok(())
        }
        _ => Ok(()),
    }
}
