//! All of etcd goes back to a snapshot, or from it to what it held before. Order and reasons: every control plane stops before
//! any data is exchanged, all data is exchanged before any etcd starts, so that no member can ever meet one of the other time.

use std::collections::{BTreeMap, BTreeSet};

use super::steps::{SHORT_SECONDS, START_SECONDS, assumptions, same_machine};
use super::story::Story;
use super::{Input, Outcome};
use crate::facts::Membership;
use crate::finding::{Finding, Severity, Subject};
use crate::guard::Guard;
use crate::ids::{HostName, OperationId, StepId};
use crate::intent::{Intent, RestoreWork};
use crate::plan::{EtcdStart, Exchange, RestorePart, Restored, StepKind, Undo};
use crate::spec::{Host, Role};

/// A snapshot of a gigabyte on a bad line and a slow disk.
const RESTORE_SECONDS: u32 = 900;
/// Watchers may have seen revisions that the snapshot does not know. So many writes in the time since are more than etcd can make.
const LEAST_BUMP: u64 = 1_000_000_000;
/// What is sent to a host in one piece is held in memory meanwhile.
const LARGEST_SNAPSHOT: u64 = 1 << 30;
/// The first `etcdutl` that can raise the revision and mark what was before as compacted.
const OLDEST_ETCDUTL: (u64, u64, u64) = (3, 5, 10);

/// What was read of the snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// As it was named.
    pub snapshot: String,
    /// SHA-256 of it, unpacked.
    pub sha256: String,
    /// Its bytes, unpacked.
    pub bytes: u64,
    /// The newest revision in it.
    pub revision: i64,
    /// What is wrong with it; empty where it is whole.
    pub damage: Vec<String>,
    /// Version of etcd that its storage needs, where it tells.
    pub storage: Option<(u64, u64)>,
    /// Whether papers lie beside it.
    pub has_manifest: bool,
    /// How it differs from the cluster, by its papers.
    pub other_cluster: Vec<String>,
    /// Seconds since it was taken.
    pub age_seconds: Option<u64>,
    /// How fast revisions grew.
    pub writes_per_second: Option<f64>,
    /// What the cluster has and the snapshot has not, in lines; why nobody can tell otherwise.
    pub lost: Result<Vec<String>, String>,
}

/// What a control plane says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// Version of the `etcdutl` in the image of its etcd.
    pub etcdutl: Option<(u64, u64, u64)>,
    /// Bytes free where etcd's data is.
    pub free_bytes: u64,
    /// Whether etcd's data is a file system of its own.
    pub is_mount: bool,
    /// The restore that was neither taken back nor made final.
    pub restore: Option<Kept>,
}

/// What a restore has kept on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The operation that made it.
    pub of: OperationId,
    /// Whether there was data before it, so that it can come back.
    pub has_data: bool,
}

/// Everything that is looked at.
#[derive(Clone, Copy, Debug)]
pub struct RestoreInput<'a> {
    /// The spec and facts of its hosts.
    pub input: Input<'a>,
    /// What control planes say; why not otherwise.
    pub sights: &'a BTreeMap<HostName, Result<Sight, String>>,
}

/// Plans the restore of a snapshot.
pub fn restore(asked: RestoreInput<'_>, seen: &Seen) -> Outcome {
    let mut findings = asked.findings();
    findings.extend(about_snapshot(seen));
    for (host, sight) in asked.sights() {
        findings.extend(about_sight(host, sight, seen));
    }
    let restored = Restored {
        snapshot: seen.snapshot.clone(),
        sha256: seen.sha256.clone(),
        initial_cluster_token: asked.input.identity.initial_cluster_token.clone(),
        members: EtcdStart::first(asked.input.spec, "").members,
        bump: bump(seen),
    };
    let mut story = Story::default();
    let prepared: Vec<StepId> = asked
        .control_planes()
        .map(|host| {
            asked
                .on(&mut story, host, RestorePart::Prepare(restored.clone()))
                .within(RESTORE_SECONDS)
                .because("while everything runs: what cannot be restored here is known before anything stops")
        })
        .collect();
    let of = asked.input.identity.operation.clone();
    let least = i64::try_from(restored.bump).ok().and_then(|bump| seen.revision.checked_add(bump));
    asked.exchange(&mut story, &prepared, &of, Exchange::Forward, least.unwrap_or(seen.revision));
    let work = RestoreWork::Make { snapshot: seen.snapshot.clone() };
    asked.outcome(work, findings, story)
}

/// Plans to take the last restore back.
pub fn undo(asked: RestoreInput<'_>) -> Outcome {
    let mut findings = asked.findings();
    let Some(of) = asked.kept(&mut findings) else { return Outcome::Blocked { findings } };
    let text = format!("what was written since the restore {of} is lost; it stays in /var/lib/etcd.undone-{of}");
    findings.push(Finding::new(Severity::NeedsConsent, "REST005", Subject::Cluster, text));
    let lacks_data = |sight: &Sight| sight.restore.as_ref().is_some_and(|kept| !kept.has_data);
    for (host, _) in asked.sights().filter(|(_, sight)| lacks_data(sight)) {
        let text = "it had no data of etcd before the restore: with none it could vote a second time";
        findings.push(Finding::new(Severity::Blocks, "REST012", Subject::Host(host.clone()), text));
    }
    let mut story = Story::default();
    asked.exchange(&mut story, &[], &of, Exchange::Back, 0);
    asked.outcome(RestoreWork::Undo { of }, findings, story)
}

/// Plans to delete what the last restore has kept.
pub fn finalize(asked: RestoreInput<'_>) -> Outcome {
    let mut findings = asked.findings();
    let Some(of) = asked.kept(&mut findings) else { return Outcome::Blocked { findings } };
    let text = format!("what etcd held before the restore {of} is deleted for good");
    findings.push(Finding::new(Severity::NeedsConsent, "REST015", Subject::Cluster, text));
    let mut story = Story::default();
    for host in asked.control_planes() {
        asked
            .on(&mut story, host, RestorePart::Finalize { of: of.clone() })
            .undo(Undo::Impossible("what etcd held before is gone".to_owned()))
            .within(RESTORE_SECONDS)
            .because("the restored cluster is what is wanted");
    }
    asked.outcome(RestoreWork::Finalize { of }, findings, story)
}

/// By how much the revision grows: ten times what was written since, for the rate is a mean, and never less than etcd could write.
fn bump(seen: &Seen) -> u64 {
    let written = seen.writes_per_second.unwrap_or(0.0).max(0.0) * seen.age_seconds.unwrap_or(0) as f64;
    // Saturates, and is far below i64::MAX for any age and rate that exist.
    LEAST_BUMP.max((written * 10.0).min(1e17) as u64)
}

fn about_snapshot(seen: &Seen) -> Vec<Finding> {
    let tell = |severity, code: &str, text: String| Finding::new(severity, code, Subject::Cluster, text);
    let mut findings: Vec<Finding> =
        seen.damage.iter().map(|damage| tell(Severity::Blocks, "REST002", damage.clone())).collect();
    findings.extend(seen.other_cluster.iter().map(|why| tell(Severity::Blocks, "REST004", why.clone())));
    if !seen.has_manifest {
        let text = "no manifest lies beside it: of which cluster it is, and when it was taken, nobody can tell";
        findings.push(tell(Severity::Warns, "REST010", text.to_owned()));
    }
    if seen.bytes > LARGEST_SNAPSHOT {
        let text = format!("it has {} bytes, and {LARGEST_SNAPSHOT} are brought to hosts in one piece", seen.bytes);
        findings.push(tell(Severity::Blocks, "REST014", text));
    }
    let age = match seen.age_seconds {
        Some(seconds) if seconds < 3600 => format!("{} min ago", seconds / 60),
        Some(seconds) => format!("{} h {:02} min ago", seconds / 3600, seconds / 60 % 60),
        None => "nobody knows when".to_owned(),
    };
    let lost = match &seen.lost {
        Ok(lines) if lines.is_empty() => "etcd holds nothing else now".to_owned(),
        Ok(lines) => lines.join("; "),
        Err(why) => format!("what that is cannot be told: {why}"),
    };
    let text = format!("it was taken {age}, at revision {}; what was written since is lost: {lost}", seen.revision);
    findings.push(tell(Severity::NeedsConsent, "REST005", text));
    findings
}

fn about_sight(host: &HostName, sight: &Sight, seen: &Seen) -> Vec<Finding> {
    let blocks = |code: &str, text: String| Finding::new(Severity::Blocks, code, Subject::Host(host.clone()), text);
    let mut findings = Vec::new();
    match sight.etcdutl {
        Some(version) if version >= OLDEST_ETCDUTL => {
            if let Some((major, minor)) = seen.storage.filter(|storage| *storage > (version.0, version.1)) {
                let text = format!("its etcd is {}.{}, and the snapshot is of {major}.{minor}", version.0, version.1);
                findings.push(blocks("REST003", text));
            }
        }
        Some((major, minor, patch)) => {
            findings.push(blocks(
                "REST006",
                format!("its etcdutl is {major}.{minor}.{patch}; 3.5.10 is the oldest that will do"),
            ));
        }
        None => findings.push(blocks("REST006", "the image of its etcd cannot be read, or has no etcdutl".to_owned())),
    }
    let wanted = seen.bytes.saturating_mul(5) / 2;
    if sight.free_bytes < wanted {
        let text = format!("{} bytes are free for etcd's data, {wanted} are wanted", sight.free_bytes);
        findings.push(blocks("REST007", text));
    }
    if sight.is_mount {
        findings.push(blocks("REST008", "/var/lib/etcd is a file system of its own".to_owned()));
    }
    if let Some(kept) = &sight.restore {
        findings.push(
            blocks("REST009", format!("the restore {} is neither undone nor final", kept.of))
                .hint("kubewright etcd restore --undo, or --finalize"),
        );
    }
    findings
}

impl<'a> RestoreInput<'a> {
    fn control_planes(self) -> impl Iterator<Item = &'a Host> {
        self.input.spec.with_role(Role::ControlPlane)
    }

    /// What control planes say that answer.
    fn sights(self) -> impl Iterator<Item = (&'a HostName, &'a Sight)> {
        self.sights.iter().filter_map(|(host, sight)| Some((host, sight.as_ref().ok()?)))
    }

    /// What stands in the way of each of the three.
    fn findings(self) -> Vec<Finding> {
        let mut findings = self.input.findings.to_vec();
        for host in self.input.spec.hosts.iter().filter(|host| host.is(Role::ControlPlane) != host.is(Role::Etcd)) {
            let text = "members of etcd live on other hosts than control planes".to_owned();
            findings.push(Finding::new(Severity::Blocks, "REST013", Subject::Host(host.name.clone()), text));
        }
        for host in &self.input.spec.hosts {
            let Err(why) = self.is_part(host) else { continue };
            let (severity, code) =
                if host.is(Role::ControlPlane) { (Severity::Blocks, "REST001") } else { (Severity::Warns, "REST011") };
            findings.push(Finding::new(severity, code, Subject::Host(host.name.clone()), why));
        }
        findings
    }

    /// Whether a host answers and is a finished part of the cluster.
    fn is_part(self, host: &Host) -> Result<(), String> {
        if host.is(Role::ControlPlane) {
            match self.sights.get(&host.name) {
                Some(Ok(_)) => {}
                Some(Err(why)) => return Err(why.clone()),
                None => return Err("nobody asked it".to_owned()),
            }
        }
        let seen = self.input.facts.host(&host.name).ok_or_else(|| "it does not answer".to_owned())?;
        match seen.membership(&self.input.spec.name) {
            Membership::Part(_) => Ok(()),
            _ => Err(format!("it is no finished part of {}", self.input.spec.name)),
        }
    }

    /// The restore that hosts keep; a finding where they keep none, or several.
    fn kept(self, findings: &mut Vec<Finding>) -> Option<OperationId> {
        let kept: BTreeSet<&OperationId> =
            self.sights().filter_map(|(_, sight)| Some(&sight.restore.as_ref()?.of)).collect();
        if let [of] = kept.iter().collect::<Vec<_>>().as_slice() {
            return Some((**of).clone());
        }
        let text = match kept.len() {
            0 => "no host has kept anything of a restore".to_owned(),
            _ => "hosts have kept data of several restores".to_owned(),
        };
        findings.push(Finding::new(Severity::Blocks, "REST009", Subject::Cluster, text));
        None
    }

    fn on<'s>(self, story: &'s mut Story, host: &Host, part: RestorePart) -> super::story::Draft<'s> {
        let guard = Guard::OfCluster { host: host.name.clone(), cluster: self.input.spec.name.clone() };
        same_machine(story.on(&host.name, StepKind::Restore(part)), self.input, host).guard(guard).within(START_SECONDS)
    }

    /// The same part on each control plane, after all of these.
    fn on_all(self, story: &mut Story, after: &[StepId], part: &RestorePart, why: &str) -> Vec<StepId> {
        self.control_planes().map(|host| self.on(story, host, part.clone()).after(after).because(why)).collect()
    }

    /// Everything stops, data is exchanged, everything starts in order.
    fn exchange(self, story: &mut Story, after: &[StepId], of: &OperationId, way: Exchange, least_revision: i64) {
        let back = || Undo::Impossible("kubewright etcd restore --undo brings back what etcd held before".to_owned());
        let stopped: Vec<StepId> = self
            .control_planes()
            .map(|host| {
                self.on(story, host, RestorePart::Stop)
                    .after(after)
                    .undo(back())
                    .because("no member of the one time may ever meet one of the other")
            })
            .collect();
        let exchanged: Vec<StepId> = self
            .control_planes()
            .map(|host| {
                self.on(story, host, RestorePart::Exchange { of: of.clone(), way })
                    .after(&stopped)
                    .undo(back())
                    .within(SHORT_SECONDS)
                    .because("by renaming alone: nothing is deleted")
            })
            .collect();
        let etcd =
            self.on_all(story, &exchanged, &RestorePart::StartEtcd, "all have their data, so all start together");
        let members: Vec<HostName> = self.control_planes().map(|host| host.name.clone()).collect();
        let proved = story
            .in_cluster(StepKind::Restore(RestorePart::Prove { members, least_revision }))
            .after(&etcd)
            .within(START_SECONDS)
            .because("before any API server writes: members as planned, well, with the same contents");
        let servers = self.on_all(story, &[proved], &RestorePart::StartServer, "etcd is proved");
        self.nodes_follow(story, &servers);
    }

    /// Kubelets first, controllers last: they act on what kubelets have said.
    fn nodes_follow(self, story: &mut Story, servers: &[StepId]) {
        let nodes: Vec<&Host> = self
            .input
            .spec
            .hosts
            .iter()
            .filter(|host| (host.is(Role::ControlPlane) || host.is(Role::Worker)) && self.is_part(host).is_ok())
            .collect();
        let refreshed: Vec<StepId> = nodes
            .iter()
            .map(|host| {
                self.on(story, host, RestorePart::Refresh)
                    .after(servers)
                    .because("a kubelet registers only when it starts; what kube-proxy and the network have seen is of another time")
            })
            .collect();
        let leases = story
            .in_cluster(StepKind::Restore(RestorePart::Leases {
                nodes: nodes.iter().map(|host| host.name.clone()).collect(),
            }))
            .after(&refreshed)
            .within(START_SECONDS)
            .because("controllers would act on heartbeats as old as the snapshot");
        self.on_all(story, &[leases], &RestorePart::StartControllers, "all nodes have spoken");
    }

    fn outcome(self, work: RestoreWork, findings: Vec<Finding>, story: Story) -> Outcome {
        Outcome::of(self.input, Intent::RestoreEtcd { work }, assumptions(self.input), findings, story)
    }
}
