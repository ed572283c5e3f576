//! What a restore does to the modelled cluster.

use std::collections::BTreeSet;

use super::World;
use crate::ids::{HostName, OperationId};
use crate::plan::{Exchange, RestorePart, Step};
use crate::spec::Role;

/// What a restore has brought to a machine, and what it runs meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restore {
    /// Data that was restored and is not in use.
    pub restored: Option<String>,
    /// Data from before, with the operation that put it aside.
    pub before: Option<(OperationId, Option<String>)>,
    /// Its controller-manager and scheduler were stopped.
    pub no_controllers: bool,
    /// Its kubelet has registered with what is served now.
    pub refreshed: bool,
}

impl World {
    pub(super) fn restore(&mut self, step: &Step, part: &RestorePart, of: &OperationId) -> Result<(), String> {
        match part {
            RestorePart::Prepare(restored) => {
                let name = self.host(step)?;
                let aside = self.restores.entry(name).or_default();
                // Done again after the exchange it finds its work done.
                if aside.before.is_none() {
                    aside.restored = Some(restored.initial_cluster_token.clone());
                }
            }
            RestorePart::Stop => {
                let name = self.host(step)?;
                let machine = self.machine(step)?;
                (machine.kubelet, machine.manifests) = (false, false);
                let aside = self.restores.entry(name).or_default();
                (aside.no_controllers, aside.refreshed) = (true, false);
                self.fresh = false;
            }
            RestorePart::Exchange { way, .. } => self.exchange(step, *way, of)?,
            RestorePart::StartEtcd => {
                let machine = self.machine(step)?;
                if machine.manifests {
                    return Err("its API server would start before etcd is proved".into());
                }
                machine.kubelet = true;
            }
            RestorePart::Prove { .. } => self.need_api()?,
            RestorePart::StartServer => {
                self.need_api()?;
                self.machine(step)?.manifests = true;
            }
            RestorePart::Refresh => {
                self.need_server()?;
                let name = self.host(step)?;
                self.restores.entry(name).or_default().refreshed = true;
            }
            RestorePart::Leases { nodes } => {
                self.need_server()?;
                let refreshed = |node: &&HostName| self.restores.get(*node).is_some_and(|one| one.refreshed);
                if let Some(node) = nodes.iter().find(|node| !refreshed(node)) {
                    return Err(format!("the kubelet of {node} may never register again"));
                }
                self.fresh = true;
            }
            RestorePart::StartControllers => {
                if !self.fresh {
                    return Err("controllers would act on heartbeats of another time".into());
                }
                let name = self.host(step)?;
                self.restores.entry(name).or_default().no_controllers = false;
            }
            RestorePart::Finalize { .. } => {
                let name = self.host(step)?;
                self.restores.entry(name).or_default().before = None;
            }
        }
        self.one_time()
    }

    fn exchange(&mut self, step: &Step, way: Exchange, of: &OperationId) -> Result<(), String> {
        if let Some(name) = self.voters.iter().find(|name| self.machines[*name].kubelet) {
            return Err(format!("etcd of {name} could still vote with what it had"));
        }
        let name = self.host(step)?;
        let aside = self.restores.entry(name.clone()).or_default();
        let machine = self.machines.get_mut(&name).ok_or("no such host")?;
        match way {
            Exchange::Forward => {
                let Some(restored) = aside.restored.take() else {
                    return if aside.before.is_some() { Ok(()) } else { Err("nothing was restored for it".into()) };
                };
                aside.before = Some((of.clone(), machine.etcd_data.replace(restored)));
            }
            Exchange::Back => {
                if let Some((_, data)) = aside.before.take() {
                    machine.etcd_data = data;
                }
            }
        }
        Ok(())
    }

    fn need_server(&self) -> Result<(), String> {
        self.need_api()?;
        let serves = |host: &crate::spec::Host| self.machines[&host.name].manifests;
        let serves = self.spec.with_role(Role::ControlPlane).any(serves);
        if serves { Ok(()) } else { Err("no API server runs".into()) }
    }

    /// No two members ever run with data of two times: that would be one cluster with two histories (etcd.md §4).
    fn one_time(&self) -> Result<(), String> {
        let running = self.voters.iter().filter(|name| self.runs(name));
        let times: BTreeSet<Option<&String>> = running.map(|name| self.machines[name].etcd_data.as_ref()).collect();
        if times.len() > 1 { Err("members of two times run beside each other".into()) } else { Ok(()) }
    }
}
