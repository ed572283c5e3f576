//! What stands in the way of changing a cluster that runs. What a running cluster is not changed in is told, not guessed.

use super::{about, blocks};
use crate::facts::{Fact, Membership};
use crate::finding::{Finding, Severity, Subject};
use crate::guard::MemberChange;
use crate::ids::HostName;
use crate::planner::Input;
use crate::planner::difference::Differences;
use crate::spec::{Host, Role};
use crate::version::Version;

/// All of it.
pub(super) fn stands_in_the_way(
    input: Input<'_>,
    only: Option<&[HostName]>,
    differences: &Differences<'_>,
    findings: &mut Vec<Finding>,
) {
    if !differences.stands() {
        findings.extend(only.map(|_| nothing_to_join()));
        findings.extend(orphans(input));
        return;
    }
    findings.extend(differences.unable.iter().map(|(host, what)| unable(input, host, what)));
    findings.extend(input.spec.hosts.iter().filter_map(|host| other_roles(input, host)));
    findings.extend(silence(input, differences));
    findings.extend(members(input, differences));
    findings.extend(differences.strangers.iter().map(stranger));
    findings.extend(differences.joining.iter().filter_map(|host| reinstalled(input, host)));
}

/// CONV009: a first cluster is built from all hosts of the spec.
fn nothing_to_join() -> Finding {
    let text = "no control plane of the spec is a finished part of the cluster, so there is none to join";
    Finding::new(Severity::Blocks, "CONV009", Subject::Cluster, text).hint("build it first:  kubewright apply")
}

/// CONV001: parts of a cluster without any control plane that could be asked about it.
fn orphans(input: Input<'_>) -> Vec<Finding> {
    let parts = input.spec.hosts.iter().filter(|host| input.facts.is_part(&host.name, input.spec));
    parts
        .map(|host| {
            let text = format!("it is part of {} already, but no control plane of the spec is", input.spec.name);
            blocks(host, "CONV001", text).hint(
                "put the cluster's control planes into the spec; where they are no more, free the host:  kubewright reset",
            )
        })
        .collect()
}

/// CONV002.
fn unable(input: Input<'_>, host: &Host, what: &[String]) -> Finding {
    let finding = blocks(host, "CONV002", format!("it differs from the spec: {}", what.join(", ")));
    let is_etcd = |path: &String| path == "/etc/kubernetes/manifests/etcd.yaml";
    let has = |path: &String| {
        let files = input.facts.host(&host.name).and_then(|seen| seen.files.known());
        files.is_some_and(|files| files.contains_key(path))
    };
    if what.iter().any(|path| is_etcd(path) && !has(path)) {
        // As `etcd member remove` leaves it, or a replacement that was given up.
        return finding
            .hint(format!("it runs no etcd; this brings it back:  kubewright etcd member add {}", host.name));
    }
    if let Some(runs) = other_version(input, host) {
        let wants = &input.spec.kubernetes.version;
        return finding.hint(format!("it runs Kubernetes {runs}, and the spec says {wants}:  kubewright upgrade"));
    }
    finding.hint("this version does not change that on a host that runs; undo the change in the spec or on the host")
}

/// The version that a host's kubelet runs, where the spec has another.
fn other_version(input: Input<'_>, host: &Host) -> Option<Version> {
    let node = input.facts.cluster.known()?.nodes.get(&host.name)?;
    let runs: Version = node.kubelet.parse().ok()?;
    (runs != input.spec.kubernetes.version).then_some(runs)
}

/// CONV006: what a host does is decided when it joins.
fn other_roles(input: Input<'_>, host: &Host) -> Option<Finding> {
    let Membership::Part(record) = input.facts.membership(&host.name, &input.spec.name) else { return None };
    let sorted = |roles: &[Role]| {
        let mut roles = roles.to_vec();
        roles.sort();
        roles
    };
    (sorted(&record.roles) != sorted(&host.roles)).then(|| {
        let list = |roles: &[Role]| roles.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let text = format!("it joined as {} and the spec wants {}", list(&record.roles), list(&host.roles));
        blocks(host, "CONV006", text).hint(format!(
            "take it out and add it again:  kubewright node remove {0}   then   kubewright node add {0}",
            host.name
        ))
    })
}

/// CONV003: nodes cannot be compared, and nobody joins a cluster that does not answer.
fn silence(input: Input<'_>, differences: &Differences<'_>) -> Option<Finding> {
    let why = match &input.facts.cluster {
        Fact::Known { .. } => return None,
        Fact::Absent => "nobody asked it",
        Fact::Unreadable { why, .. } => why.as_str(),
    };
    let (severity, text) = if differences.joining.is_empty() {
        (Severity::Warns, format!("the cluster cannot be asked, so labels and taints were not compared: {why}"))
    } else {
        (Severity::Blocks, format!("the cluster cannot be asked, so no host can join it: {why}"))
    };
    Some(
        Finding::new(severity, "CONV003", Subject::Cluster, text)
            .hint("`kubewright status` shows what answers and what does not"),
    )
}

/// CONV007, CONV008: whether etcd can take a new member now, and whether somebody else's is in the way.
fn members(input: Input<'_>, differences: &Differences<'_>) -> Vec<Finding> {
    let Some(first) = differences.joining.iter().find(|host| host.is(Role::Etcd)) else { return Vec::new() };
    let block = |code, text: String| Finding::new(Severity::Blocks, code, Subject::Cluster, text);
    let etcd = match &input.facts.etcd {
        Fact::Known { value, .. } => value,
        Fact::Absent => return vec![block("CONV007", "nobody asked etcd for its members".to_owned())],
        Fact::Unreadable { why, .. } => {
            return vec![block("CONV007", format!("etcd cannot be asked for its members: {why}"))];
        }
    };
    let mut findings = Vec::new();
    // Names that come again free their places before anybody joins.
    let mut rest = etcd.clone();
    for host in differences.joining.iter().filter(|host| etcd.started_on(host).is_some()) {
        let change = MemberChange::Remove { host: host.name.clone(), gone: true };
        if let Err(why) = change.is_borne(&rest) {
            findings.push(block("CONV007", format!("the dead member of {} cannot be taken out: {why}", host.name)));
        }
        rest.members.retain(|member| Some(member.id) != etcd.started_on(host).map(|dead| dead.id));
    }
    if let Err(why) = (MemberChange::AddLearner { peer_url: first.etcd_peer_url() }).is_borne(&rest) {
        findings.push(block("CONV007", format!("no etcd member can be added: {why}")));
    }
    let is_ours = |url: &String| differences.joining.iter().any(|host| host.etcd_peer_url() == *url);
    for member in etcd.members.iter().filter(|member| !member.has_started() && !member.peer_urls.iter().any(is_ours)) {
        let text = format!("etcd's list holds {member}, which no host of the spec is");
        findings.push(block("CONV008", text).hint("remove it first: it takes the only place for a learner, or a vote"));
    }
    findings
}

/// CONV004.
fn stranger(node: &HostName) -> Finding {
    let text = format!("the cluster has a node {node} that the spec does not name; it is left alone");
    Finding::new(Severity::Warns, "CONV004", Subject::Cluster, text)
        .hint(format!("take it out of the cluster:  kubewright node remove {node}   or put it into the spec"))
}

/// CONV005: the name of a machine that was installed anew, or of two machines.
fn reinstalled(input: Input<'_>, host: &Host) -> Option<Finding> {
    let node = input.facts.cluster.known()?.nodes.get(&host.name)?;
    Some(match &node.not_ready {
        None => blocks(host, "CONV005", "the cluster has a Ready node of this name, and this host is not it")
            .hint("two machines have one name: give this one another, or stop the other one first"),
        Some(why) => about(
            host,
            Severity::Warns,
            "CONV005",
            format!("the cluster has a node of this name ({why}); it is replaced by this host"),
        ),
    })
}
