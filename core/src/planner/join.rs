//! Hosts come into a cluster that stands: workers together, control planes' etcd members one after the other.

use std::collections::BTreeMap;

use super::Input;
use super::difference::Differences;
use super::steps::{SHORT_SECONDS, START_SECONDS, guarded, join_worker, keys_seconds, mark, prepare};
use super::story::{Draft, Story};
use crate::facts::etcd::{EtcdFacts, Member};
use crate::guard::{Guard, MemberChange};
use crate::ids::{HostName, StepId};
use crate::plan::{ClusterState, EtcdStart, FileSet, KeySource, Probe, StepKind, Undo};
use crate::spec::{Host, Role};

/// A learner of a database of 2 GB (etcd's default quota) at 10 MB/s, and as long again for a busy disk.
const CATCH_UP_SECONDS: u32 = 400;

/// What joining came to.
#[derive(Debug, Default)]
pub(super) struct Joined {
    /// Control planes that serve.
    pub control_planes: Vec<StepId>,
    /// Everybody, marks and all.
    pub marked: Vec<StepId>,
}

/// Hosts join; `right` is over before any of them starts. Copies of their keys are kept on `copies_on` meanwhile.
pub(super) fn tell(
    story: &mut Story,
    input: Input<'_>,
    differences: &Differences<'_>,
    copies_on: &[HostName],
    right: &[StepId],
) -> Joined {
    let mut joined = Joined::default();
    let hosts = &differences.joining;
    if hosts.is_empty() {
        return joined;
    }
    let token = token(input, differences);
    let prepared: Vec<StepId> = hosts.iter().map(|host| prepare(story, input, host, &token)).collect();
    let names: Vec<HostName> = hosts.iter().map(|host| host.name.clone()).collect();
    let keys = story
        .here(StepKind::MakeKeys { authorities: KeySource::Cluster, hosts: names, keep_on: copies_on.to_vec() })
        .within(keys_seconds(input.spec, hosts.len()))
        .because("certificates and kubeconfigs of the hosts that join, signed by the cluster's own authorities");

    let mut members = Members::of(input, differences);
    // Dead members first: they weigh in every majority, and the list that a new one is told must be the list there is.
    let before = right.iter().chain(&prepared).chain([&keys]).cloned().collect();
    // Then a learner at a time, and the next is told of the one before.
    let mut turn = free_members(story, input, differences, before);
    for (host, prepared) in hosts.iter().zip(&prepared) {
        let freed = free_name(story, differences, host, &[prepared.clone(), keys.clone()]);
        let ready: Vec<StepId> = freed.iter().cloned().chain([keys.clone(), prepared.clone()]).collect();
        let started = if host.is(Role::Etcd) {
            let (promoted, started) = join_member(story, input, host, &mut members, &token, &ready, &turn);
            turn = vec![promoted];
            started
        } else {
            let files = place(story, input, host, FileSet::All, members.start(&token), &ready);
            if host.is(Role::ControlPlane) {
                start_control_plane(story, input, host, &token, right.iter().chain([&files]))
            } else {
                join_worker(story, input, host, &token, right.iter().chain([&files]))
            }
        };
        if host.is(Role::ControlPlane) {
            joined.control_planes.push(started.clone());
        }
        joined.marked.push(mark(story, host, [&started]));
    }
    joined
}

/// The token that the cluster's etcd was made with, as its members' manifests say.
fn token(input: Input<'_>, differences: &Differences<'_>) -> String {
    let mut tokens =
        differences.control_planes.iter().filter_map(|host| input.facts.host(&host.name)?.etcd_token.known());
    tokens.next().cloned().unwrap_or_default()
}

/// etcd's members as they will be when the next one starts.
pub(super) struct Members(BTreeMap<HostName, String>);

impl Members {
    /// Those that stay: whoever is about to join left its place before.
    fn of(input: Input<'_>, differences: &Differences<'_>) -> Self {
        let known = input.facts.etcd.known();
        let leaves = |member: &&Member| {
            let dead = differences.joining.iter().filter_map(|host| known?.started_on(host));
            dead.into_iter().any(|dead| dead.id == member.id)
        };
        Self::staying(known.into_iter().flat_map(EtcdFacts::voters).filter(|member| !leaves(member)))
    }

    /// These, as far as they have ever started.
    pub(super) fn staying<'m>(members: impl IntoIterator<Item = &'m Member>) -> Self {
        let started = members.into_iter().filter(|member| member.has_started());
        let named =
            started.filter_map(|member| Some((HostName::new(member.name.clone()), member.peer_urls.first()?.clone())));
        Self(named.collect())
    }

    /// One more is told of from here on.
    pub(super) fn take_in(&mut self, host: &Host) {
        self.0.insert(host.name.clone(), host.etcd_peer_url());
    }

    pub(super) fn start(&self, token: &str) -> EtcdStart {
        EtcdStart { initial_cluster_token: token.to_owned(), members: self.0.clone(), state: ClusterState::Existing }
    }
}

/// Members of machines that were installed anew are taken out, one after the other; the steps that the first learner waits
/// for.
fn free_members(
    story: &mut Story,
    input: Input<'_>,
    differences: &Differences<'_>,
    before: Vec<StepId>,
) -> Vec<StepId> {
    let known = input.facts.etcd.known();
    let mut turn = before;
    for host in differences.joining.iter().filter(|host| known.is_some_and(|etcd| etcd.started_on(host).is_some())) {
        turn = vec![
            story
                .on(&host.name, StepKind::RemoveEtcdMember)
                .after(&turn)
                .guard(Guard::EtcdBears { change: MemberChange::Remove { host: host.name.clone(), gone: true } })
                .undo(Undo::Nothing)
                .within(SHORT_SECONDS)
                .because("the member of this name lost its data with its machine: it comes back as a new one"),
        ];
    }
    turn
}

/// The node of a host that was installed anew goes before the host comes: its pods are not there any more.
fn free_name(story: &mut Story, differences: &Differences<'_>, host: &Host, after: &[StepId]) -> Vec<StepId> {
    let reinstalled = differences.reinstalled.contains(&host.name);
    let freed = reinstalled.then(|| {
        story
            .on(&host.name, StepKind::DeleteNode)
            .after(after)
            .within(SHORT_SECONDS)
            .because("the node of this name was another installation; its pods are not here any more")
    });
    freed.into_iter().collect()
}

fn place(
    story: &mut Story,
    input: Input<'_>,
    host: &Host,
    files: FileSet,
    etcd: EtcdStart,
    after: &[StepId],
) -> StepId {
    let token = etcd.initial_cluster_token.clone();
    guarded(story.on(&host.name, StepKind::PlaceFiles { files, etcd }), input, host, &token)
        .after(after)
        .undo(Undo::ResetHost)
        .within(SHORT_SECONDS)
        .because("keys, kubeconfigs, manifests and kubelet configuration, all before the kubelet starts")
}

/// A control plane with its own etcd; the step that gave it its vote, and the one after which it serves.
fn join_member(
    story: &mut Story,
    input: Input<'_>,
    host: &Host,
    members: &mut Members,
    token: &str,
    ready: &[StepId],
    turn: &[StepId],
) -> (StepId, StepId) {
    members.take_in(host);
    let files = place(story, input, host, FileSet::Etcd, members.start(token), ready);
    let added = add_learner(story, host, turn.iter().chain([&files]));
    let up = guarded(story.on(&host.name, StepKind::StartEtcdMember), input, host, token);
    let up = start_member(up.undo(Undo::ResetHost), [&added]);
    let promoted = promote(story, host, [&up]);
    let manifests =
        place(story, input, host, FileSet::StaticPods, members.start(token), std::slice::from_ref(&promoted));
    let started = start_control_plane(story, input, host, token, [&manifests]);
    (promoted, started)
}

fn start_control_plane<'i>(
    story: &mut Story,
    input: Input<'_>,
    host: &Host,
    token: &str,
    after: impl IntoIterator<Item = &'i StepId>,
) -> StepId {
    let start = guarded(story.on(&host.name, StepKind::StartControlPlane), input, host, token);
    start_serving(start.undo(Undo::ResetHost), after)
}

/// A host's member is added without a vote.
pub(super) fn add_learner<'i>(story: &mut Story, host: &Host, after: impl IntoIterator<Item = &'i StepId>) -> StepId {
    let peer_url = host.etcd_peer_url();
    story
        .on(&host.name, StepKind::AddEtcdMember { peer_url: peer_url.clone() })
        .after(after)
        .guard(Guard::EtcdBears { change: MemberChange::AddLearner { peer_url } })
        .undo(Undo::Nothing)
        .within(SHORT_SECONDS)
        .because("as a learner first: it has no vote, so nothing depends on it yet")
}

/// Its etcd starts.
pub(super) fn start_member<'i>(draft: Draft<'_>, after: impl IntoIterator<Item = &'i StepId>) -> StepId {
    draft
        .after(after)
        .probe(Probe::EtcdMemberUp)
        .within(START_SECONDS)
        .because("its etcd alone: an API server beside a learner could not serve")
}

/// It gets its vote.
pub(super) fn promote<'i>(story: &mut Story, host: &Host, after: impl IntoIterator<Item = &'i StepId>) -> StepId {
    story
        .on(&host.name, StepKind::PromoteEtcdMember)
        .after(after)
        .undo(Undo::Nothing)
        .within(CATCH_UP_SECONDS)
        .because("once it holds what the others hold, it gets its vote")
}

/// The control plane beside a member that has its vote starts.
pub(super) fn start_serving<'i>(draft: Draft<'_>, after: impl IntoIterator<Item = &'i StepId>) -> StepId {
    draft
        .after(after)
        .probe(Probe::ControlPlaneUp)
        .within(START_SECONDS)
        .because("etcd has its data and its vote, so the API server can serve from the first moment")
}
