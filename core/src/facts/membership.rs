//! Whose a host is. Everybody who has to know reads it off here, so that what cannot be read is nowhere taken for absent.

use super::{Fact, Facts, HostFacts, HostRecord};
use crate::ids::HostName;
use crate::spec::{Host, Role, Spec};

/// How a host stands to a cluster of ours, by its own record and by what lies on its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership<'a> {
    /// Nobody could ask it; why.
    Silent(&'a str),
    /// Its record cannot be read; why.
    Unclear(&'a str),
    /// It is a finished part of the cluster.
    Part(&'a HostRecord),
    /// An operation claimed it for the cluster and has not finished.
    Claimed(&'a HostRecord),
    /// It belongs to another cluster of ours.
    OfAnother(&'a HostRecord),
    /// No record, but a Kubernetes or an etcd lies there, or may lie there: somebody else's.
    Foreign,
    /// Nothing of anybody's is there.
    Bare,
}

impl HostFacts {
    /// How the host stands to that cluster.
    pub fn membership(&self, cluster: &str) -> Membership<'_> {
        match &self.record {
            Fact::Unreadable { why, .. } => Membership::Unclear(why),
            Fact::Known { value, .. } if value.cluster != cluster => Membership::OfAnother(value),
            Fact::Known { value, .. } if value.settled => Membership::Part(value),
            Fact::Known { value, .. } => Membership::Claimed(value),
            Fact::Absent if !self.ca_fingerprint.is_absent() || self.may_hold_etcd_data() => Membership::Foreign,
            Fact::Absent => Membership::Bare,
        }
    }

    /// Whether it is a finished part of that cluster.
    pub fn is_part(&self, cluster: &str) -> bool {
        matches!(self.membership(cluster), Membership::Part(_))
    }

    /// Whether data of an etcd may lie there.
    pub fn may_hold_etcd_data(&self) -> bool {
        self.etcd_data.known() != Some(&false) && !self.etcd_data.is_absent()
    }
}

impl Facts {
    /// How a host stands to that cluster.
    pub fn membership(&self, host: &HostName, cluster: &str) -> Membership<'_> {
        match self.hosts.get(host) {
            Some(Fact::Known { value, .. }) => value.membership(cluster),
            Some(Fact::Unreadable { why, .. }) => Membership::Silent(why),
            Some(Fact::Absent) | None => Membership::Silent("nobody asked it"),
        }
    }

    /// Whether a host of the spec is a finished part of its cluster.
    pub fn is_part(&self, host: &HostName, spec: &Spec) -> bool {
        matches!(self.membership(host, &spec.name), Membership::Part(_))
    }

    /// The control planes that are a finished part of the spec's cluster: it stands where there is one.
    pub fn control_planes<'s>(&self, spec: &'s Spec) -> Vec<&'s Host> {
        spec.with_role(Role::ControlPlane).filter(|host| self.is_part(&host.name, spec)).collect()
    }

    /// The control planes whose word counts for the lock: those that are a part, and those of which nobody can tell.
    pub fn keepers<'s>(&self, spec: &'s Spec) -> Vec<&'s Host> {
        let may_be_part = |host: &&Host| {
            matches!(
                self.membership(&host.name, &spec.name),
                Membership::Part(_) | Membership::Silent(_) | Membership::Unclear(_)
            )
        };
        spec.with_role(Role::ControlPlane).filter(may_be_part).collect()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn known<T>(value: T) -> Fact<T> {
        Fact::Known { value, at: Timestamp::UNIX_EPOCH }
    }

    fn host(record: Fact<HostRecord>, data: Fact<bool>, authority: Fact<String>) -> HostFacts {
        HostFacts { record, etcd_data: data, ca_fingerprint: authority, ..HostFacts::default() }
    }

    fn of(cluster: &str, settled: bool) -> Fact<HostRecord> {
        known(HostRecord { cluster: cluster.into(), operation: "7f3a".into(), roles: Vec::new(), settled })
    }

    #[test]
    fn a_record_tells_whose_a_host_is() {
        let membership = |record| {
            let host = host(record, known(true), known("ab".to_owned()));
            format!("{:?}", host.membership("lab")).split('(').next().unwrap_or_default().to_owned()
        };
        assert_eq!(membership(of("lab", true)), "Part");
        assert_eq!(membership(of("lab", false)), "Claimed");
        assert_eq!(membership(of("other", true)), "OfAnother");
        assert_eq!(membership(Fact::unreadable("I/O error")), "Unclear");
        assert_eq!(membership(Fact::Absent), "Foreign");
    }

    #[test]
    fn without_a_record_only_what_is_certainly_empty_is_bare() {
        let foreign = |data, authority| host(Fact::Absent, data, authority).membership("lab") == Membership::Foreign;
        assert!(!foreign(known(false), Fact::Absent) && !foreign(Fact::Absent, Fact::Absent));
        assert!(foreign(known(true), Fact::Absent) && foreign(Fact::unreadable("I/O error"), Fact::Absent));
        assert!(foreign(Fact::Absent, known("ab".to_owned())) && foreign(Fact::Absent, Fact::unreadable("I/O error")));
    }

    #[test]
    fn who_cannot_be_asked_keeps_a_place_in_the_majority() {
        let text = "apiVersion: kubewright.dev/v1alpha1\nkind: Cluster\nmetadata: {name: lab}\nspec:\n  \
            kubernetes: {version: 1.35.4}\n  endpoint: {mode: nodeLocal}\n  hosts:\n  \
            - {name: cp1, address: 10.77.0.11, roles: [controlPlane, etcd]}\n  \
            - {name: cp2, address: 10.77.0.12, roles: [controlPlane, etcd]}\n  \
            - {name: cp3, address: 10.77.0.13, roles: [controlPlane, etcd]}\n";
        let spec = crate::spec::read("test.yaml", text).spec.unwrap();
        let names: Vec<HostName> = spec.with_role(Role::ControlPlane).map(|host| host.name.clone()).collect();
        let mut facts = Facts::default();
        facts.hosts.insert(names[0].clone(), known(host(of(&spec.name, true), known(true), Fact::Absent)));
        facts.hosts.insert(names[1].clone(), Fact::unreadable("no route to host"));
        facts.hosts.insert(names[2].clone(), known(host(Fact::Absent, Fact::Absent, Fact::Absent)));
        let named = |hosts: Vec<&Host>| hosts.into_iter().map(|host| host.name.clone()).collect::<Vec<_>>();
        assert_eq!(named(facts.control_planes(&spec)), names[..1]);
        assert_eq!(named(facts.keepers(&spec)), names[..2]);
    }
}
