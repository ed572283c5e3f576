//! How the hosts of a cluster differ from what the spec comes to.

use std::collections::BTreeSet;

use super::{DesiredHost, Input};
use crate::facts::{Fact, HostFacts};
use crate::ids::HostName;
use crate::marks::{self, Change};
use crate::plan::FileSet;
use crate::spec::Host;

/// Everything that is not as it should be, by what can be done about it. Hosts stand in the order of the spec.
#[derive(Debug, Default)]
pub(super) struct Differences<'a> {
    /// Control planes that are a finished part of the cluster: it stands where there is one.
    pub control_planes: Vec<&'a Host>,
    /// These, and those that cannot be asked: they may be part of it, and the lock is theirs, too.
    pub keepers: Vec<&'a Host>,
    /// Hosts that are not part of it yet.
    pub joining: Vec<&'a Host>,
    /// Of these, the ones whose name a node of the cluster has already: they were installed anew.
    pub reinstalled: BTreeSet<&'a HostName>,
    /// Parts whose kubelet has another configuration.
    pub kubelets: Vec<&'a Host>,
    /// Workers whose proxy knows other control planes.
    pub proxies: Vec<&'a Host>,
    /// Parts whose kubelet or containerd does not run.
    pub stopped: Vec<&'a Host>,
    /// Nodes with other labels or taints, and what has to change.
    pub marks: Vec<(&'a Host, Change)>,
    /// Parts that differ in what a running cluster is not changed in, with what that is.
    pub unable: Vec<(&'a Host, Vec<String>)>,
    /// Nodes of the cluster that the spec does not name.
    pub strangers: Vec<HostName>,
}

impl<'a> Differences<'a> {
    /// Compares what was seen with what should be, on all hosts or on `only` these.
    pub fn of(input: Input<'a>, only: Option<&[HostName]>) -> Self {
        let mut differences = Self::default();
        let in_scope = |host: &Host| only.is_none_or(|only| only.contains(&host.name));
        differences.control_planes = input.facts.control_planes(input.spec);
        differences.keepers = input.facts.keepers(input.spec);
        for host in &input.spec.hosts {
            let Some(seen) = input.facts.host(&host.name) else { continue };
            if !seen.is_part(&input.spec.name) {
                if in_scope(host) {
                    differences.joining.push(host);
                }
                continue;
            }
            if let Some(desired) = input.desired.hosts.get(&host.name).filter(|_| in_scope(host)) {
                differences.compare(host, seen, desired);
            }
        }
        if let Some(cluster) = input.facts.cluster.known() {
            let is_node = |host: &&&Host| cluster.nodes.contains_key(&host.name);
            differences.reinstalled = differences.joining.iter().filter(is_node).map(|host| &host.name).collect();
            let strangers = cluster.nodes.keys().filter(|name| input.spec.host(name).is_none());
            differences.strangers = strangers.cloned().collect();
            for host in input.spec.hosts.iter().filter(|host| in_scope(host)) {
                let (Some(node), Some(desired)) = (cluster.nodes.get(&host.name), input.desired.hosts.get(&host.name))
                else {
                    continue;
                };
                // A node that joins is marked in any case.
                if differences.joining.iter().any(|joining| joining.name == host.name) {
                    continue;
                }
                if let Some(change) = marks::change(&desired.marks, &node.marks) {
                    differences.marks.push((host, change));
                }
            }
        }
        differences
    }

    /// Whether there is a cluster.
    pub fn stands(&self) -> bool {
        !self.control_planes.is_empty()
    }

    /// Whether there is nothing to do in a cluster that stands.
    pub fn is_empty(&self) -> bool {
        let hosts = [&self.joining, &self.kubelets, &self.proxies, &self.stopped];
        hosts.iter().all(|hosts| hosts.is_empty()) && self.marks.is_empty() && self.unable.is_empty()
    }

    fn compare(&mut self, host: &'a Host, seen: &HostFacts, desired: &DesiredHost) {
        let mut unable = Vec::new();
        let (mut kubelet, mut proxy) = (false, false);
        for (path, file) in desired.other_files(seen) {
            match file.refreshed_with {
                Some(FileSet::Kubelet) => kubelet = true,
                Some(FileSet::Proxy) => proxy = true,
                _ => unable.push(path.clone()),
            }
        }
        let artefacts = desired.other_artefacts(seen);
        unable.extend(artefacts.map(|artefact| format!("{} (another version or none)", artefact.name)));
        if kubelet {
            self.kubelets.push(host);
        }
        if proxy {
            self.proxies.push(host);
        }
        // Starting it again is part of giving it another configuration.
        if !kubelet && seen.units.values().filter_map(Fact::known).any(|unit| unit.active != "active") {
            self.stopped.push(host);
        }
        if !unable.is_empty() {
            self.unable.push((host, unable));
        }
    }
}
