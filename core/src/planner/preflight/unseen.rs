//! What could not be seen is not taken to be fine: it is told.

use super::fitness::Bare;
use super::warns;
use crate::facts::Fact;
use crate::finding::Finding;
use crate::spec::Role;

/// How many reasons are told in words; the rest is counted.
const TOLD: usize = 4;

/// HOST035: one finding for all, since one cause (a missing program, a lost right) usually hides several.
pub(super) fn facts(bare: &Bare<'_>) -> Option<Finding> {
    let seen = bare.seen;
    let mut gaps: Vec<String> = [
        gap("its processors", &seen.cpus),
        gap("its memory", &seen.memory_bytes),
        gap("its kernel", &seen.kernel),
        gap("its cgroup version", &seen.cgroup_version),
        gap("its swap", &seen.swap),
        gap("its free space", &seen.space),
        gap("its addresses", &seen.addresses),
        gap("its open ports", &seen.listening),
        gap("the package manager's lock", &seen.package_lock),
    ]
    .into_iter()
    .flatten()
    .collect();
    match &seen.fitness {
        Fact::Known { value: fitness, .. } => {
            let etcd = bare.host.is(Role::Etcd).then(|| gap("how fast its disk is", &fitness.fsync)).flatten();
            gaps.extend(etcd);
            gaps.extend(
                [
                    gap("whether systemd runs it", &fitness.systemd),
                    gap("its programs", &fitness.missing_programs),
                    gap("unfinished packages", &fitness.broken_packages),
                    gap("its cgroup controllers", &fitness.cgroup_controllers),
                    gap("its kernel settings", &fitness.sysctls),
                    gap("its file systems", &fitness.mounts),
                    gap("its routes", &fitness.routes),
                    gap("its open UDP ports", &fitness.listening_udp),
                    gap("its name servers", &fitness.name_servers),
                    gap("its firewall", &fitness.firewalls),
                    gap("its CNI configurations", &fitness.cni_configurations),
                    gap("traces of Kubernetes", &fitness.traces),
                    gap("other container runtimes", &fitness.runtime_sockets),
                ]
                .into_iter()
                .flatten(),
            );
            gaps.extend(
                fitness.modules.iter().filter_map(|(name, module)| gap(&format!("the kernel module {name}"), module)),
            );
        }
        Fact::Absent => gaps.push("whether it is fit for a node (it was not asked)".to_owned()),
        Fact::Unreadable { why, .. } => gaps.push(format!("whether it is fit for a node ({why})")),
    }
    if gaps.is_empty() {
        return None;
    }
    let more = gaps.len().saturating_sub(TOLD);
    let mut text = format!("not everything could be checked: {}", gaps[..gaps.len().min(TOLD)].join(", "));
    if more > 0 {
        text.push_str(&format!(", and {more} more"));
    }
    Some(warns(bare.host, "HOST035", text).hint("what could not be seen may still stand in the way"))
}

fn gap<T>(what: &str, fact: &Fact<T>) -> Option<String> {
    Some(format!("{what} ({})", fact.why()?))
}
