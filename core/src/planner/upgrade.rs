//! Another version of Kubernetes, one node after another: control planes first, the one whose etcd leads last among them,
//! then what the cluster itself holds, and workers. Software is brought to the next nodes while one has its turn.

mod apis;
mod certificates;
mod copies;
mod jumps;
mod room;

use std::collections::BTreeMap;

use super::bootstrap::{groups, reason};
use super::preflight::cgroups;
use super::steps::{PREPARE_SECONDS, PROVE_SECONDS, SHORT_SECONDS, assumptions, keys_seconds};
use super::story::Story;
use super::turn::{Ahead, Nodes, RETURN_SECONDS, about, all_workers_away, pools, side_by_side};
use super::{Desired, DesiredHost, Input, Outcome};
use crate::facts::{ClusterFacts, HostFacts, Running};
use crate::finding::{Finding, Severity, Subject, worst};
use crate::ids::{HostName, StepId};
use crate::intent::Intent;
use crate::plan::{Assumption, ClusterState, EtcdStart, KeySource, ObjectGroup, Preparation, StepKind, Undo};
use crate::skew;
use crate::spec::{Host, Role, Spec};
use crate::version::Version;

/// What a node's programs may take until they serve: kubeadm gives a control plane four minutes
/// (`controlPlaneComponentHealthCheck`); a minute more for what has to end before.
const SERVE_SECONDS: u32 = 300;
/// A kubelet says Ready within ten seconds of its start where the network's pod runs on (2–8 s on the lab); one that has not
/// after two minutes has a reason that waiting does not mend.
const READY_SECONDS: u32 = 120;
/// Both ways, with a minute to upload files and to say what happened.
const SWAP_SECONDS: u32 = 2 * (SERVE_SECONDS + READY_SECONDS) + 60;

/// One stretch of the way: a version, and what every host should have there.
#[derive(Clone, Copy, Debug)]
pub struct Hop<'a> {
    /// Which version.
    pub version: &'a Version,
    /// What the spec comes to with it.
    pub desired: &'a Desired,
}

/// Plans the way through `hops`, the last of them the spec's own version; control planes take them all, workers the last
/// alone. Nodes that were not looked at keep their version.
pub fn upgrade(nodes: Nodes<'_>, hops: &[Hop<'_>]) -> Outcome {
    let input = nodes.input;
    let mut findings = input.findings.to_vec();
    // First: where one has ended, the API may not answer for that very reason.
    findings.extend(certificates::that_ended(&input.facts.certificates));
    let (Some(last), Some(cluster)) = (hops.last(), input.facts.cluster.known()) else {
        findings.push(cluster_blocks("UPG005", unseen(nodes)));
        return Outcome::Blocked { findings };
    };
    let Some(running) = cluster.running.known() else {
        findings.push(cluster_blocks("UPG005", unseen(nodes)));
        return Outcome::Blocked { findings };
    };
    let Some(from) = running.oldest_server().cloned() else {
        findings.push(cluster_blocks("UPG005", "no API server tells its version".to_owned()));
        return Outcome::Blocked { findings };
    };
    findings.extend(ahead_of_anything(nodes, hops, cluster, running, &from));
    if worst(&findings) == Some(Severity::Blocks) {
        return Outcome::Blocked { findings };
    }
    let turns = turns(nodes, last, cluster, running);
    let renewed = certificates::renewed(&input.facts.certificates, turns.iter().map(|host| &host.name));
    findings.extend(certificates::that_end_soon(&input.facts.certificates, &renewed));
    if turns.is_empty() && running.kube_proxy.as_ref().is_none_or(|version| version == last.version) {
        return Outcome::Nothing { findings };
    }
    findings.extend(on_the_way(nodes, hops, &turns, cluster, running));
    let (ahead, foreseen) = nodes.foresee(&turns, true);
    findings.extend(foreseen);
    let story = tell(nodes, hops, running, &renewed, ahead);
    let mut relied = assumptions(input);
    relied.extend(cluster.assumed().into_iter().map(|(path, value)| Assumption { path, value }));
    relied.sort();
    Outcome::of(input, Intent::Upgrade { from, to: last.version.clone() }, relied, findings, story)
}

fn cluster_blocks(code: &str, text: String) -> Finding {
    Finding::new(Severity::Blocks, code, Subject::Cluster, text)
}

fn unseen(nodes: Nodes<'_>) -> String {
    let facts = &nodes.input.facts.cluster;
    let why = facts.why().or_else(|| facts.known()?.running.why());
    format!("what the cluster runs cannot be seen: {}", why.unwrap_or("no control plane of the spec is a part of it"))
}

/// UPG001 to UPG004, UPG006: what is wrong with the way, or with where it begins.
fn ahead_of_anything(
    nodes: Nodes<'_>,
    hops: &[Hop<'_>],
    cluster: &ClusterFacts,
    running: &Running,
    from: &Version,
) -> Vec<Finding> {
    let stations: Vec<Version> = hops.iter().map(|hop| hop.version.clone()).collect();
    let mut findings = Vec::new();
    match skew::way(from, &stations) {
        Ok(()) => findings.extend(left_behind(nodes, hops, running, &cluster.kubelets())),
        Err(error @ skew::NoWay::Down { .. }) => findings.push(
            cluster_blocks("UPG001", error.to_string())
                .hint("what an older version held comes back from a snapshot:  kubewright etcd restore"),
        ),
        Err(skew::NoWay::Skips { through, from, to }) => {
            let via: Vec<String> = through.iter().map(|minor| format!("--via {minor}.x")).collect();
            let error = skew::NoWay::Skips { through, from, to };
            findings.push(
                cluster_blocks("UPG002", error.to_string())
                    .hint(format!("name a patch of each:  kubewright upgrade {}", via.join(" "))),
            );
        }
    }
    let violations = skew::violations(running, &cluster.kubelets());
    findings.extend(violations.into_iter().map(|why| cluster_blocks("UPG003", why)));
    findings.extend(nodes.input.spec.hosts.iter().filter_map(|host| not_ready(nodes, host, cluster)));
    findings
}

/// UPG006: nodes that keep their version, beside what the others have once the control planes are there and in the end.
fn left_behind(
    nodes: Nodes<'_>,
    hops: &[Hop<'_>],
    running: &Running,
    kubelets: &BTreeMap<HostName, Version>,
) -> Vec<Finding> {
    let Some(last) = hops.last() else { return Vec::new() };
    let goes = |node: &HostName| nodes.seen.contains_key(node);
    let mut after = running.clone();
    let servers = after.control_planes.iter_mut().filter(|(host, _)| goes(host));
    // etcd has versions of its own, which nothing here depends on.
    servers.flat_map(|(_, of)| of.values_mut()).for_each(|version| version.clone_from(last.version));
    let is_control_plane =
        |node: &HostName| nodes.input.spec.host(node).is_some_and(|host| host.is(Role::ControlPlane));
    let with = |moved: &dyn Fn(&HostName) -> bool| -> BTreeMap<HostName, Version> {
        let version = |node: &HostName, own: &Version| if moved(node) { last.version.clone() } else { own.clone() };
        kubelets.iter().map(|(node, own)| (node.clone(), version(node, own))).collect()
    };
    let then = skew::violations(&after, &with(&|node| goes(node) && is_control_plane(node)));
    after.kube_proxy = after.kube_proxy.map(|_| last.version.clone());
    let in_the_end = skew::violations(&after, &with(&goes));
    let told = |when: &str, why: &String| cluster_blocks("UPG006", format!("{when}, {why}"));
    let later = in_the_end.iter().filter(|why| !then.contains(why)).map(|why| told("in the end", why));
    then.iter().map(|why| told("once the control planes are there", why)).chain(later).collect()
}

/// UPG004: a turn would not end on a node that is not Ready before it.
fn not_ready(nodes: Nodes<'_>, host: &Host, cluster: &ClusterFacts) -> Option<Finding> {
    let node = cluster.nodes.get(&host.name).filter(|_| nodes.seen.contains_key(&host.name))?;
    let why = node.not_ready.as_ref()?;
    let finding = about(host, Severity::Blocks, "UPG004", format!("it is not Ready: {why}"));
    Some(if host.is(Role::ControlPlane) {
        finding.hint("mend it first: etcd could not spare another control plane meanwhile")
    } else {
        finding.hint(format!("mend it first, or leave it with the version it has:  --leave {}", host.name))
    })
}

/// What the new versions meet: who still asks for what goes, what they stand on, room for them, a way back.
fn on_the_way(
    nodes: Nodes<'_>,
    hops: &[Hop<'_>],
    turns: &[&Host],
    cluster: &ClusterFacts,
    running: &Running,
) -> Vec<Finding> {
    let (input, facts) = (nodes.input, nodes.input.facts);
    let mut findings = apis::that_go(&facts.apis, input.spec.kubernetes.version.minor());
    findings.extend(all_workers_away(input.spec, turns, "UPG013"));
    findings.extend(copies::of_etcd(&facts.copies));
    findings.extend(jumps::of_etcd(&facts.etcd, running, hops, nodes));
    for (host, seen) in turns.iter().filter_map(|host| Some((*host, facts.host(&host.name)?))) {
        findings.extend(room::for_software(host, seen, hops));
        findings.extend(jumps::of_containerd(host, cluster, hops));
        findings.extend(cgroups(input.spec, host, seen));
    }
    findings
}

/// Whose turn comes, in order: those that are not yet as the last hop has them.
fn turns<'a>(nodes: Nodes<'a>, last: &Hop<'_>, cluster: &ClusterFacts, running: &Running) -> Vec<&'a Host> {
    let due = |host: &&Host| !is_there(nodes, host, last, cluster, running);
    let (control_planes, workers): (Vec<&Host>, Vec<&Host>) =
        nodes.turns().into_iter().filter(due).partition(|host| host.is(Role::ControlPlane));
    control_planes.into_iter().chain(workers).collect()
}

/// Whether a host is as a hop has it: its files, its programs, and what runs.
fn is_there(nodes: Nodes<'_>, host: &Host, hop: &Hop<'_>, cluster: &ClusterFacts, running: &Running) -> bool {
    let (Some(seen), Some(desired)) = (nodes.input.facts.host(&host.name), hop.desired.hosts.get(&host.name)) else {
        return false;
    };
    let runs = |version: &Version| version == hop.version;
    let components = running.control_planes.get(&host.name);
    let kubernetes = |(name, version): (&String, &Version)| name == "etcd" || runs(version);
    desired.other_files(seen).next().is_none()
        && desired.other_artefacts(seen).next().is_none()
        && cluster.nodes.get(&host.name).is_some_and(|node| node.kubelet == hop.version.tag())
        && components.is_none_or(|components| components.iter().all(kubernetes))
}

/// The whole way; `renewed` are the hosts that get new certificates on it.
fn tell(nodes: Nodes<'_>, hops: &[Hop<'_>], running: &Running, renewed: &[HostName], ahead: Vec<Ahead<'_>>) -> Story {
    let mut story = Story::default();
    let (control_planes, workers): (Vec<Ahead<'_>>, Vec<Ahead<'_>>) =
        ahead.into_iter().partition(|one| one.host.is(Role::ControlPlane));
    let touched: Vec<HostName> = control_planes.iter().chain(&workers).map(|one| one.host.name.clone()).collect();
    let Some((last, before)) = hops.split_last() else { return story };
    let keys = renew_keys(&mut story, nodes.input, renewed);
    let mut done: Vec<StepId> = keys.iter().cloned().collect();
    // In its first turn, where a host has several.
    let mut due = renewed.to_vec();
    let pools = pools(nodes.input.spec, workers);
    let mut staging = Staging { staged: Vec::new(), at_once: pools.iter().map(|(lanes, _)| *lanes).max().unwrap_or(1) };
    for hop in before.iter().chain([last]) {
        for one in &control_planes {
            if hop.version != last.version && server(running, one.host) >= Some(hop.version) {
                continue;
            }
            let renew = due.extract_if(.., |host| *host == one.host.name).count() > 0;
            done = vec![turn(&mut story, nodes, hop, one.clone(), renew, &done, &mut staging)];
        }
    }
    let objects = renew_objects(&mut story, nodes.input.spec, &done);
    for (lanes, workers) in pools {
        done = side_by_side(lanes, workers, SWAP_SECONDS + RETURN_SECONDS, done, |one, before| {
            let renew = renewed.contains(&one.host.name);
            turn(&mut story, nodes, last, one, renew, before, &mut staging)
        });
    }
    // Elsewhere a node may be down for reasons of its own, and its DaemonSets' pods with it.
    let all_ready = |cluster: &ClusterFacts| {
        cluster.nodes.iter().all(|(name, node)| node.not_ready.is_none() && nodes.input.spec.host(name).is_some())
    };
    let add_ons = nodes.input.facts.cluster.known().is_some_and(all_ready);
    let proved = story
        .in_cluster(StepKind::Prove { nodes: touched, add_ons })
        .after(done.iter().chain(&objects))
        .within(PROVE_SECONDS)
        .because("nothing is promised that was not seen: nodes and control planes Ready, add-ons rolled out");
    if keys.is_some() {
        story
            .here(StepKind::Settle { hosts: Vec::new(), copies_on: nodes.input.keepers() })
            .after([&proved])
            .within(SHORT_SECONDS)
            .because("the control planes have their new certificates; our copies of them go");
    }
    story
}

/// New certificates for those that need them, before the first turn: a host in its turn is not kept waiting for them.
fn renew_keys(story: &mut Story, input: Input<'_>, renewed: &[HostName]) -> Option<StepId> {
    if renewed.is_empty() {
        return None;
    }
    let kind =
        StepKind::MakeKeys { authorities: KeySource::Cluster, hosts: renewed.to_vec(), keep_on: input.keepers() };
    Some(
        story.here(kind).within(keys_seconds(input.spec, renewed.len())).because(
            "certificates that end before the next upgrade is due, signed anew by the cluster's own authorities",
        ),
    )
}

/// What a host's API server runs.
fn server<'r>(running: &'r Running, host: &Host) -> Option<&'r Version> {
    running.control_planes.get(&host.name)?.get("kube-apiserver")
}

/// Software, then the node's turn with all that is done in it; its last step. `renew`: with new certificates.
fn turn(
    story: &mut Story,
    nodes: Nodes<'_>,
    hop: &Hop<'_>,
    ahead: Ahead<'_>,
    renew: bool,
    after: &[StepId],
    staging: &mut Staging,
) -> StepId {
    let host = ahead.host;
    let nothing = DesiredHost::default();
    let desired = hop.desired.hosts.get(&host.name).unwrap_or(&nothing);
    let staged = staging.stage(story, nodes, host, desired);
    let ready: Vec<StepId> = after.iter().cloned().chain([staged]).collect();
    nodes.tell(story, ahead, true, &ready, |story, moved| {
        // What it renders is the spec's own version: a stop on the way needs none of it.
        let prepared = match *hop.version == nodes.input.spec.kubernetes.version {
            true => prepare(story, nodes, host, desired, moved),
            false => moved,
        };
        let handed = nodes.hand_over(story, host, prepared);
        let kind = swap(nodes, host, hop, desired, renew);
        swapped(story, nodes, host, kind, handed)
    })
}

/// Software that comes to nodes ahead of their turns, in the order of the turns and on no more nodes at once than may have their turn at
/// once: who serves meanwhile unpacks images on the same processors, and a registry is asked by a few instead of by all.
struct Staging {
    staged: Vec<StepId>,
    at_once: usize,
}

impl Staging {
    fn stage(&mut self, story: &mut Story, nodes: Nodes<'_>, host: &Host, desired: &DesiredHost) -> StepId {
        let versioned = desired.preparation.artefacts.iter().filter(|artefact| artefact.link.is_some());
        let preparation = Preparation {
            artefacts: versioned.cloned().collect(),
            images: desired.preparation.images.clone(),
            ..Preparation::default()
        };
        let before = self.staged.len().checked_sub(self.at_once).map(|index| &self.staged[index]);
        let staged = nodes
            .guarded(story.on(&host.name, StepKind::Stage(preparation)), host, false)
            .after(before)
            .within(PREPARE_SECONDS)
            .because("what is there before its turn need not be waited for in it; what runs stays what it is");
        self.staged.push(staged.clone());
        staged
    }
}

/// The rest of the software, where it changes with the version: containerd and its settings, packages.
fn prepare(story: &mut Story, nodes: Nodes<'_>, host: &Host, desired: &DesiredHost, after: StepId) -> StepId {
    let is_as_wanted = |seen: &HostFacts| {
        desired.other_files(seen).all(|(_, file)| !file.preparation)
            && desired.other_artefacts(seen).all(|artefact| artefact.link.is_some())
    };
    if nodes.input.facts.host(&host.name).is_some_and(is_as_wanted) {
        return after;
    }
    let others = desired.preparation.artefacts.iter().filter(|artefact| artefact.link.is_none());
    let preparation =
        Preparation { artefacts: others.cloned().collect(), images: Vec::new(), ..desired.preparation.clone() };
    nodes
        .guarded(story.on(&host.name, StepKind::PrepareHost(preparation)), host, false)
        .after([&after])
        .within(PREPARE_SECONDS)
        .because("its settings of containerd follow the version; containers run on while it restarts")
}

fn swap(nodes: Nodes<'_>, host: &Host, hop: &Hop<'_>, desired: &DesiredHost, renew: bool) -> StepKind {
    let programs = desired.preparation.artefacts.iter().filter(|artefact| artefact.link.is_some()).cloned().collect();
    StepKind::SwapVersion {
        version: hop.version.clone(),
        programs,
        renew_certificates: renew,
        etcd: nodes.input.facts.host(&host.name).map(begun).unwrap_or_default(),
        serve_seconds: SERVE_SECONDS,
        ready_seconds: READY_SECONDS,
    }
}

fn swapped(story: &mut Story, nodes: Nodes<'_>, host: &Host, kind: StepKind, after: StepId) -> StepId {
    nodes
        .guarded(story.on(&host.name, kind), host, true)
        .after([&after])
        .undo(Undo::Impossible("Kubernetes does not go back; a swap that fails goes back by itself".to_owned()))
        .within(SWAP_SECONDS)
        .because(if host.is(Role::ControlPlane) {
            "everything at once while the others serve: a third of the time that one component after the other takes"
        } else {
            "its pods are elsewhere; the new kubelet finds a node to itself"
        })
}

/// How a member's etcd once began, in its own words: a manifest says nothing else later.
fn begun(seen: &HostFacts) -> EtcdStart {
    EtcdStart {
        initial_cluster_token: seen.etcd_token.known().cloned().unwrap_or_default(),
        members: seen.etcd_initial_cluster.known().map(|text| EtcdStart::members_of(text)).unwrap_or_default(),
        state: ClusterState::Existing,
    }
}

/// Cluster objects, once every API server has the version: kubeadm does them with the last control plane.
fn renew_objects(story: &mut Story, spec: &Spec, after: &[StepId]) -> Vec<StepId> {
    let all = [ObjectGroup::Rbac].into_iter().chain(groups(spec));
    all.map(|group| {
        story
            .in_cluster(StepKind::ApplyObjects { group })
            .after(after)
            .undo(Undo::Impossible("what an earlier version said comes back with a snapshot alone".to_owned()))
            .within(SHORT_SECONDS)
            .because(reason(group))
    })
    .collect()
}
