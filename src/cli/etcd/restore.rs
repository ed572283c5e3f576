//! `kubewright etcd restore`: all of etcd back to a snapshot; `--undo` and `--finalize`. Needs neither an API nor a majority.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use futures::future::join_all;
use kubewright_core::etcd::address::StoreAddress;
use kubewright_core::etcd::manifest::{Fingerprints, Manifest};
use kubewright_core::ids::HostName;
use kubewright_core::plan::hex;
use kubewright_core::planner::restore::{Kept, RestoreInput, Seen, Sight, finalize, restore, undo};
use kubewright_core::planner::{Desired, Identity, Input, Outcome};
use kubewright_core::spec::{Role, Spec};
use kubewright_manifests::layout::CRI_SOCKET;
use kubewright_snapshot::{Change, Diff, Snapshot, SnapshotFile, diff};

use super::{Cluster, Which, unreadable};
use crate::backup::reading::{self, Opened, Unopened};
use crate::backup::{Doing, companions, live};
use crate::cli::approval::possible;
use crate::cli::options::{Agreed, OfSpec};
use crate::cli::planning::{new_operation, new_token};
use crate::cli::run;
use crate::cli::world::World;
use crate::error::{Error, ExitCode};
use crate::facts::{Questions, gather};
use crate::playbooks;
use crate::ports::{EtcdApi, Host, Hosts, Script, quiet};
use crate::store::objects::Access;

/// Have all of etcd go back to a snapshot, when it is lost or beyond mending
///
/// The plan tells first how old the snapshot is and what will be lost. The snapshot is restored on every control plane beside the data in use, with the
/// etcdutl of its own etcd's image, before anything stops; then all control planes stop, data is exchanged by renaming, etcd starts and is
/// proved, and API servers, kubelets and controllers follow in this order. What was there before is kept until --finalize.
#[derive(Debug, clap::Args)]
pub struct Restore {
    /// The snapshot, packed or not; a copy's folder; a copy in a bucket (s3://BUCKET/…)
    #[arg(value_name = "SNAPSHOT", required_unless_present_any = ["undo", "finalize"], conflicts_with_all = ["undo", "finalize"])]
    snapshot: Option<StoreAddress>,
    /// Bring back what etcd held before the last restore
    #[arg(long, conflicts_with = "finalize")]
    undo: bool,
    /// Delete what etcd held before the last restore
    #[arg(long)]
    finalize: bool,
    #[command(flatten)]
    of: OfSpec,
    #[command(flatten)]
    agreed: Agreed,
}

impl Restore {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        possible(world, world.yes, "whether to do this", "--yes", "kubewright etcd status")?;
        let began = Instant::now();
        let (spec, hosts) = self.of.open(world)?;
        let names: Vec<HostName> = spec.hosts.iter().map(|host| host.name.clone()).collect();
        let (questions, control_planes) = (Questions::default(), control_planes(&spec));
        let looked =
            async { tokio::join!(gather(hosts.as_ref(), &names, &questions), sights(hosts.as_ref(), &control_planes)) };
        let (seen, (facts, sights)) = match &self.snapshot {
            Some(address) => {
                // A resumed run may begin in another folder.
                let address = &absolute(address)?;
                let opened = reading::open(address, &Access::of(&spec.backup, None)).await;
                let (seen, looked) = tokio::join!(seen(world, &spec, &hosts, address, opened), looked);
                (Some(seen?), looked)
            }
            None => (None, looked.await),
        };
        let identity = Identity { operation: new_operation()?, initial_cluster_token: new_token(&spec)? };
        let desired = Desired::default();
        let input = Input {
            spec: &spec,
            facts: &facts,
            desired: &desired,
            findings: &[],
            identity: &identity,
            tool_version: env!("CARGO_PKG_VERSION"),
        };
        let asked = RestoreInput { input, sights: &sights };
        let (outcome, said) = match seen {
            Some(seen) => (restore(asked, &seen), seen.snapshot),
            None if self.undo => (undo(asked), "--undo".to_owned()),
            None => (finalize(asked), "--finalize".to_owned()),
        };
        let plan = match outcome {
            Outcome::Blocked { findings } | Outcome::Nothing { findings } => return Err(Error::blocked(findings)),
            Outcome::Plan(plan) => *plan,
        };
        let command = format!("kubewright etcd restore {said} -f {}", self.of.file.display());
        run::carry_out(world, plan, &facts, hosts, began.elapsed(), &command, &self.agreed.consent).await
    }
}

fn absolute(address: &StoreAddress) -> Result<StoreAddress, Error> {
    match address {
        StoreAddress::Folder(path) => match std::path::absolute(path) {
            Ok(path) => Ok(StoreAddress::Folder(path.display().to_string())),
            Err(error) => Err(Error::usage(format!("{address}: {error}"))),
        },
        other => Ok(other.clone()),
    }
}

fn control_planes(spec: &Spec) -> Vec<HostName> {
    spec.with_role(Role::ControlPlane).map(|host| host.name.clone()).collect()
}

/// What the control planes say, all at once.
async fn sights(hosts: &dyn Hosts, names: &[HostName]) -> BTreeMap<HostName, Result<Sight, String>> {
    let each = names.iter().map(|name| async move { (name.clone(), sight(hosts, name).await) });
    join_all(each).await.into_iter().collect()
}

async fn sight(hosts: &dyn Hosts, name: &HostName) -> Result<Sight, String> {
    let host: Arc<dyn Host> = hosts.host(name).await.map_err(|error| error.to_string())?;
    let script =
        Script::new("debian/restore.sh", playbooks::RESTORE).value("PART", "sight").value("CRI_SOCKET", CRI_SOCKET);
    let output = host.run(&script, &mut quiet()).await.and_then(|output| output.success(name, &script));
    Ok(read(&output.map_err(|error| error.to_string())?.stdout))
}

/// What `restore.sh` tells; lines that it does not tell are passed over.
fn read(said: &str) -> Sight {
    let mut sight = Sight::default();
    for line in said.lines() {
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["etcdutl", version] => sight.etcdutl = three(version),
            ["free", bytes] => sight.free_bytes = bytes.parse().unwrap_or(0),
            ["mount"] => sight.is_mount = true,
            ["kept", of, data] => sight.restore = Some(Kept { of: (*of).into(), has_data: *data == "data" }),
            _ => {}
        }
    }
    sight
}

fn three(version: &str) -> Option<(u64, u64, u64)> {
    let mut parts = version.split(['.', '-', '+']).map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?))
}

/// Reads the snapshot, and compares it with the hosts and with what etcd holds now.
async fn seen(
    world: &World,
    spec: &Spec,
    hosts: &Arc<dyn Hosts>,
    address: &StoreAddress,
    opened: Result<Opened, Unopened>,
) -> Result<Seen, Error> {
    let Opened { file, manifest } = match opened {
        Ok(opened) => opened,
        Err(Unopened::Error(error)) => return Err(error),
        Err(Unopened::Damaged(why)) => {
            return Ok(blank(address, String::new(), 0, vec![super::packed(&why)]));
        }
    };
    let snapshot = Snapshot::open(file).map_err(|error| unreadable(address, &error))?;
    let report = snapshot.verify();
    let mut damage: Vec<String> =
        report.faults.iter().filter(|fault| fault.is_damage()).map(ToString::to_string).collect();
    let found = report.digest.as_ref().map(|digest| hex(&digest.file)).unwrap_or_default();
    if report.digest.as_ref().and_then(kubewright_snapshot::Digest::is_right) != Some(true) && damage.is_empty() {
        damage.push("it carries no digest, so nobody can tell whether it is whole".to_owned());
    }
    if let Some(wanted) = manifest.as_ref().map(wanted_of).filter(|wanted| *wanted != found) {
        damage.push(format!("its SHA-256 is {found}, and its manifest says {wanted}"));
    }
    let (Some(survey), true) = (&report.survey, damage.is_empty()) else {
        if damage.is_empty() {
            damage.push("its pages are damaged".to_owned());
        }
        return Ok(blank(address, found, report.size, damage));
    };
    let (other_cluster, lost) =
        tokio::join!(strangers(hosts.as_ref(), spec, manifest.as_ref()), lost(world, spec, hosts, &snapshot));
    let age = manifest.as_ref().map(|papers| world.clock.now().duration_since(papers.taken).as_secs());
    Ok(Seen {
        revision: survey.revision,
        storage: survey.state.storage_version().map(|version| (version.major, version.minor)),
        has_manifest: manifest.is_some(),
        other_cluster,
        age_seconds: age.and_then(|seconds| u64::try_from(seconds).ok()),
        writes_per_second: manifest.as_ref().and_then(|papers| papers.writes_per_second),
        lost,
        ..blank(address, found, report.size, damage)
    })
}

fn wanted_of(papers: &Manifest) -> &str {
    papers.file.unpacked.as_ref().map_or(&papers.file.sha256, |unpacked| &unpacked.sha256)
}

fn blank(address: &StoreAddress, sha256: String, bytes: u64, damage: Vec<String>) -> Seen {
    Seen {
        snapshot: address.to_string(),
        sha256,
        bytes,
        revision: 0,
        damage,
        storage: None,
        has_manifest: true,
        other_cluster: Vec::new(),
        age_seconds: None,
        writes_per_second: None,
        lost: Err("it is damaged".to_owned()),
    }
}

/// How the cluster on the hosts is another than that of the papers.
async fn strangers(hosts: &dyn Hosts, spec: &Spec, papers: Option<&Manifest>) -> Vec<String> {
    let Some(papers) = papers else { return Vec::new() };
    let found = companions::of_hosts(hosts, &spec.name, &control_planes(spec), None).await.keys;
    differing(&papers.keys, &found)
}

fn differing(papers: &Fingerprints, found: &Fingerprints) -> Vec<String> {
    let pairs = [
        ("the cluster's authority (ca.crt)", &papers.authority, &found.authority),
        ("the key of service account tokens (sa.pub)", &papers.service_account, &found.service_account),
        (
            "the API server's encryption configuration",
            &papers.encryption_configuration,
            &found.encryption_configuration,
        ),
    ];
    let differs = pairs.into_iter().filter(|(_, then, now)| then.is_some() && now.is_some() && then != now);
    differs.map(|(what, ..)| format!("{what} on the hosts is not what it was when the snapshot was taken")).collect()
}

/// What etcd holds now and the snapshot does not, by resource.
async fn lost(
    world: &World,
    spec: &Spec,
    hosts: &Arc<dyn Hosts>,
    snapshot: &Snapshot<SnapshotFile>,
) -> Result<Vec<String>, String> {
    let nobody = |error: &dyn std::fmt::Display| format!("no member of etcd can be read ({error})");
    let cluster = Cluster::over(world, spec.clone(), hosts.clone()).await.map_err(|error| nobody(&error))?;
    let facts = cluster.etcd.observe().await.map_err(|error| nobody(&error.said))?;
    let quietly = |_: &Doing| {};
    let (file, _) = live::live(&cluster.etcd, &facts, &quietly).await.map_err(|error| nobody(&error))?;
    let now = Snapshot::open(file).map_err(|error| nobody(&error))?;
    let nothing_left_out = Which { prefix: None, resource: None, namespace: None }.filter();
    let found = diff(snapshot, &now, &nothing_left_out, 3).map_err(|(_, error)| nobody(&error))?;
    Ok(in_lines(&found))
}

fn in_lines(found: &Diff) -> Vec<String> {
    let word = |change: &Change| match change {
        Change::Added => "made",
        Change::Changed => "changed",
        Change::Removed => "deleted",
    };
    let line = |difference: &kubewright_snapshot::Difference| {
        let changes = difference.counts.iter().map(|(change, count)| {
            let names = difference.names.get(change).into_iter().flatten().cloned().collect::<Vec<_>>().join(", ");
            let more = if *count > 3 { ", …" } else { "" };
            format!("{count} {} ({names}{more})", word(change))
        });
        format!("{}: {}", difference.resource, changes.collect::<Vec<_>>().join(", "))
    };
    found.differences.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_says_is_read() {
        let sight = read("etcdutl 3.6.14\nfree 4096\nkept 7f3a9c data\nsomething else\n");
        assert_eq!((sight.etcdutl, sight.free_bytes, sight.is_mount), (Some((3, 6, 14)), 4096, false));
        assert_eq!(sight.restore, Some(Kept { of: "7f3a9c".into(), has_data: true }));
        assert_eq!(
            read("mount\nkept a none"),
            Sight { is_mount: true, restore: Some(Kept { of: "a".into(), has_data: false }), ..Sight::default() }
        );
    }

    #[test]
    fn keys_that_nobody_knows_are_no_difference() {
        let papers =
            Fingerprints { authority: Some("a".into()), service_account: Some("s".into()), ..Fingerprints::default() };
        assert!(differing(&papers, &Fingerprints::default()).is_empty());
        let other = Fingerprints { authority: Some("b".into()), ..papers.clone() };
        assert_eq!(differing(&papers, &other).len(), 1);
    }
}
