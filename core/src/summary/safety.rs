//! What is safe now, as far as finished steps prove it. For the person who reads it after a failure: nothing here is
//! guessed, and what is not known is said.

use std::collections::BTreeSet;

use super::outline::count;
use super::run::Run;
use crate::ids::{HostName, StepId};
use crate::intent::Intent;
use crate::journal::remains;
use crate::plan::{Step, StepKind};
use crate::quorum::majority;
use crate::spec::Role;

/// What finished steps have proved. Later changes from outside are not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SafeNow {
    /// Voters that etcd will have in the end.
    pub members: usize,
    /// Members whose own step proved them running.
    pub members_up: Vec<HostName>,
    /// Control planes whose API server answered.
    pub api: Vec<HostName>,
    /// Workers that have joined.
    pub joined: Vec<HostName>,
    /// Hosts that got software and nothing else yet.
    pub prepared: Vec<HostName>,
    /// Hosts in all.
    pub hosts: usize,
    /// Hosts that were taken apart.
    pub reset: Vec<HostName>,
    /// Whether the cluster stood before the run began, so that what the run did not touch still stands.
    pub stood: bool,
    /// Nodes that this run cordoned and has not let go.
    pub cordoned: Vec<HostName>,
    /// Steps of which nobody knows whether they were done.
    pub in_doubt: Vec<StepId>,
    /// Steps that still ran when last heard of.
    pub running: Vec<StepId>,
}

impl Run {
    /// What is safe now.
    pub fn safe_now(&self) -> SafeNow {
        let spec = &self.plan().spec;
        let api = self.hosts_with(|kind| *kind == StepKind::StartControlPlane);
        let joined = self.hosts_with(|kind| *kind == StepKind::StartWorker);
        let prepared = self.hosts_with(|kind| matches!(kind, StepKind::PrepareHost(_)));
        // A start that began may have left a kubelet running, whatever became of it.
        let starting = |step: &&Step| matches!(step.kind, StepKind::StartControlPlane | StepKind::StartWorker);
        let begun: BTreeSet<String> = self
            .plan()
            .steps
            .iter()
            .filter(starting)
            .filter(|step| !self.tries(&step.id).is_empty())
            .map(|step| step.target.to_string())
            .collect();
        let idle = |host: &&HostName| !begun.contains(host.as_str()) && !api.contains(*host) && !joined.contains(*host);
        SafeNow {
            members: spec.with_role(Role::Etcd).count(),
            members_up: spec
                .with_role(Role::Etcd)
                .map(|host| host.name.clone())
                .filter(|host| api.contains(host))
                .collect(),
            prepared: prepared.iter().filter(idle).cloned().collect(),
            api: spec
                .with_role(Role::ControlPlane)
                .map(|host| host.name.clone())
                .filter(|host| api.contains(host))
                .collect(),
            joined: joined.into_iter().collect(),
            hosts: spec.hosts.len(),
            reset: self.hosts_with(|kind| matches!(kind, StepKind::ResetHost { .. })).into_iter().collect(),
            stood: self.plan().intent != Intent::Bootstrap,
            cordoned: match self.status().finished {
                // Then it was the purpose.
                true => Vec::new(),
                false => remains(self.plan(), self.status()).cordoned.into_iter().collect(),
            },
            in_doubt: self.in_doubt(),
            running: self.running().map(|step| step.id.clone()).collect(),
        }
    }
}

impl SafeNow {
    /// The same in sentences, most important first; each a fragment without a full stop.
    pub fn sentences(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        if self.stood {
            if !self.api.is_empty() {
                sentences.push(format!("control planes serve on {}", names(&self.api)));
            }
            if !self.reset.is_empty() {
                sentences.push(format!("taken apart: {}", names(&self.reset)));
            }
            if !self.cordoned.is_empty() {
                sentences.push(format!(
                    "may still be cordoned by this run: {}; pods that moved away serve elsewhere",
                    names(&self.cordoned)
                ));
            }
            sentences.push("what no finished step names is as it was before".to_owned());
        } else if self.api.is_empty() {
            sentences.push(
                "no control plane of this cluster was proved to run yet; there is nothing in it to lose".to_owned(),
            );
        } else {
            sentences.push(format!("{}; the API answers on {}", self.etcd(), names(&self.api)));
        }
        if !self.joined.is_empty() {
            sentences.push(format!("joined: {}", names(&self.joined)));
        }
        if !self.prepared.is_empty() {
            let all = self.prepared.len() == self.hosts;
            let hosts = if all { format!("all {}", count(self.hosts, "host")) } else { names(&self.prepared) };
            sentences.push(format!("{hosts}: software installed, no Kubernetes running"));
        }
        if !self.running.is_empty() {
            sentences.push(format!("may still run on its host: {}", ids(&self.running)));
        }
        if !self.in_doubt.is_empty() {
            sentences.push(format!("not known whether done: {}; a resume asks the host first", ids(&self.in_doubt)));
        }
        sentences
    }

    /// A first etcd answers only with a majority: one member that serves an API server proves the others of it.
    fn etcd(&self) -> String {
        let up = self.members_up.len();
        if up == 0 {
            "etcd has a majority".to_owned()
        } else if up < majority(self.members) {
            format!("etcd has at least {} of {} members", majority(self.members), self.members)
        } else {
            format!("etcd has {up} of {} members", self.members)
        }
    }
}

fn names(hosts: &[HostName]) -> String {
    hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(", ")
}

fn ids(steps: &[StepId]) -> String {
    steps.iter().map(StepId::as_str).collect::<Vec<_>>().join(", ")
}
