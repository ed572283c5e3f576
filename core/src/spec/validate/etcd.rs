//! The etcd members that the roles add up to.

use super::host_path;
use crate::finding::{Finding, Severity, Subject};
use crate::spec::{Role, Spec};

/// etcd's own advice ("no more than seven nodes"): a write waits for a majority of them.
const MOST_MEMBERS: usize = 7;

/// ETCD001 to ETCD004.
pub fn members(spec: &Spec, findings: &mut Vec<Finding>) {
    let members: Vec<_> = spec.hosts.iter().enumerate().filter(|(_, host)| host.is(Role::Etcd)).collect();
    let count = members.len();
    let Some((last, _)) = members.last() else {
        // Without a control plane there is a finding about that, and mending it mends this.
        if spec.with_role(Role::ControlPlane).next().is_none() {
            return;
        }
        let finding = Finding::spec("ETCD003", "spec.hosts", "no host runs an etcd member");
        findings.push(finding.hint("add `etcd` to the roles of the control planes"));
        return;
    };
    if count > MOST_MEMBERS {
        let (eighth, _) = members[MOST_MEMBERS];
        let finding =
            Finding::spec("ETCD002", host_path(eighth, "roles"), format!("{count} etcd members are too many"));
        findings.push(
            finding
                .label("one too many")
                .hint("3 tolerate one failure, 5 two, 7 three; every write waits for a majority"),
        );
    } else if count.is_multiple_of(2) {
        let (fewer, more) = (count - 1, count + 1);
        let text = format!("{count} etcd members tolerate as little as {fewer}");
        let finding = Finding::new(Severity::NeedsConsent, "ETCD001", Subject::Spec(host_path(*last, "roles")), text);
        let tolerated = match (count - 1) / 2 {
            0 => "no failure".to_owned(),
            1 => "one failure".to_owned(),
            failures => format!("{failures} failures"),
        };
        findings.push(
            finding
                .label(format!("with {fewer} or {count} members etcd survives {tolerated}"))
                .hint(format!("take {fewer} or {more}; {count} only add a machine whose loss counts")),
        );
    }
    for (index, host) in members.iter().filter(|(_, host)| !host.is(Role::ControlPlane)) {
        let finding = Finding::spec(
            "ETCD004",
            host_path(*index, "roles"),
            format!("{} runs etcd but is no control plane", host.name),
        );
        findings.push(finding.label("separate etcd hosts are not built yet").hint("put `etcd` on the control planes"));
    }
}
