//! From one version to another, a node at a time: nobody is newer than whom it asks, nothing is cut off or out-voted.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use kubewright_core::drain::World as Observed;
use kubewright_core::etcd::status::Certificate;
use kubewright_core::facts::etcd::{MemberId, Sight};
use kubewright_core::facts::{Fact, Facts, Running};
use kubewright_core::finding::{Finding, Severity};
use kubewright_core::guard::{Guard, MemberChange};
use kubewright_core::ids::HostName;
use kubewright_core::intent::Intent;
use kubewright_core::plan::{Artefact, ArtefactKind, Image, KeySource, Plan, Preparation, StepKind};
use kubewright_core::planner::{
    Choices, Desired, DesiredFile, DesiredHost, Hop, Identity, Input, Nodes, Outcome, upgrade,
};
use kubewright_core::sim::World;
use kubewright_core::spec::{Host, Pool, Role, Spec};
use kubewright_core::version::Version;
use proptest::prelude::*;

use crate::converge::standing;
use crate::maintain::seen;
use crate::setting::{Rehearsal, TOKEN, codes, known, moves, planned, spec, told};

pub const OLD: Version = Version::new(1, 35, 4);
pub const NEW: Version = Version::new(1, 36, 3);

/// A cluster that runs one version.
pub fn running(spec: &Spec, version: &Version) -> Facts {
    let mut facts = standing(spec, |_| true);
    facts.cluster = facts.cluster.map(|mut cluster| {
        cluster.nodes.values_mut().for_each(|node| node.kubelet = version.tag());
        let components = |of: &Version| {
            let names = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"];
            BTreeMap::from(names.map(|name| (name.to_owned(), of.clone())))
        };
        let control_planes =
            spec.with_role(Role::ControlPlane).map(|host| (host.name.clone(), components(version))).collect();
        cluster.running = known(Running { control_planes, kube_proxy: Some(version.clone()) });
        cluster
    });
    facts
}

fn program(name: &str, version: &Version) -> Artefact {
    Artefact {
        name: name.to_owned(),
        url: format!("https://dl.k8s.io/release/{}/bin/linux/amd64/{name}", version.tag()),
        sha256: format!("{name}-{version}"),
        kind: ArtefactKind::File,
        destination: format!("/usr/local/lib/kubewright/{}/{name}", version.tag()),
        mode: "0755".into(),
        link: Some(format!("/usr/local/bin/{name}")),
        members: Vec::new(),
    }
}

fn image(name: String) -> Image {
    Image { reference: format!("registry.k8s.io/{name}"), digest: None }
}

/// What all hosts should have at a version.
fn desired(spec: &Spec, version: &Version) -> Desired {
    let host = DesiredHost {
        preparation: Preparation {
            artefacts: vec![program("kubelet", version)],
            images: vec![image(format!("kube-proxy:{}", version.tag()))],
            ..Preparation::default()
        },
        ..DesiredHost::default()
    };
    let of = |each: &Host| {
        let mut desired = host.clone();
        if each.is(Role::Etcd) {
            desired.preparation.images.push(image("etcd:3.6.8-0".to_owned()));
        }
        desired
    };
    Desired { hosts: spec.hosts.iter().map(|each| (each.name.clone(), of(each))).collect() }
}

/// An upgrade that somebody asks for.
pub struct Wanted<'a> {
    pub spec: &'a Spec,
    pub facts: &'a Facts,
    pub nodes: &'a BTreeMap<HostName, Observed>,
    pub way: &'a [Version],
}

pub fn asked(wanted: &Wanted<'_>) -> Outcome {
    let mut spec = wanted.spec.clone();
    spec.kubernetes.version = wanted.way.last().unwrap().clone();
    let identity = Identity { operation: "7f3a9c".into(), initial_cluster_token: String::new() };
    let stations: Vec<Desired> = wanted.way.iter().map(|version| desired(&spec, version)).collect();
    let input = Input {
        spec: &spec,
        facts: wanted.facts,
        desired: stations.last().unwrap(),
        findings: &[],
        identity: &identity,
        tool_version: "0.0.0",
    };
    let hops: Vec<Hop<'_>> =
        wanted.way.iter().zip(&stations).map(|(version, desired)| Hop { version, desired }).collect();
    let choices = Choices { consents: BTreeSet::new(), wait: false, patience_seconds: 60 };
    upgrade(Nodes { input, seen: wanted.nodes, denied: &[], choices: &choices }, &hops)
}

/// All nodes of a spec, from one version through these.
fn outcome(spec: &Spec, from: &Version, way: &[Version]) -> Outcome {
    let names: Vec<&str> = spec.hosts.iter().map(|host| host.name.as_str()).collect();
    asked(&Wanted { spec, facts: &running(spec, from), nodes: &seen(&names), way })
}

/// Hosts with the versions that they go over to, in the order of the plan.
fn swaps(plan: &Plan) -> Vec<String> {
    let swap = |step: &kubewright_core::plan::Step| match &step.kind {
        StepKind::SwapVersion { version, .. } => Some(format!("{} {version}", step.target)),
        _ => None,
    };
    plan.steps.iter().filter_map(swap).collect()
}

#[test]
fn control_planes_come_first_the_leader_last_and_software_before_its_turn() {
    let plan = planned(outcome(&spec(3, 2), &OLD, &[NEW]));
    insta::assert_snapshot!(told(&plan));
    assert_eq!(plan.intent, Intent::Upgrade { from: OLD, to: NEW });
    assert_eq!(swaps(&plan), ["cp2 1.36.3", "cp3 1.36.3", "cp1 1.36.3", "w1 1.36.3", "w2 1.36.3"]);
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    let stop = Guard::EtcdBears { change: MemberChange::Stop { host: "cp2".into(), outage: false } };
    let guarded: Vec<&str> =
        plan.steps.iter().filter(|step| step.guards.contains(&stop)).map(|step| step.id.as_str()).collect();
    assert!(guarded.iter().any(|id| id.ends_with("cp2-swap")), "{guarded:?}");
    assert!(plan.assumptions.iter().any(|one| one.path == "cluster.w1.kubelet" && one.value == "v1.35.4"));
    assert!(plan.assumptions.iter().any(|one| one.path == "cluster.cp1.kube-apiserver" && one.value == "1.35.4"));
}

#[test]
fn a_way_of_several_minors_takes_workers_along_once() {
    let way = [OLD, NEW];
    let plan = planned(outcome(&spec(3, 1), &Version::new(1, 34, 4), &way));
    let all = ["cp2 1.35.4", "cp3 1.35.4", "cp1 1.35.4", "cp2 1.36.3", "cp3 1.36.3", "cp1 1.36.3", "w1 1.36.3"];
    assert_eq!(swaps(&plan), all);
}

/// A certificate of a host that still holds for so many days.
fn ends(days: i64) -> Fact<Vec<Certificate>> {
    let at = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 400);
    let path = "/etc/kubernetes/pki/apiserver.crt".to_owned();
    Fact::Known { value: vec![Certificate { path, expires: at + SignedDuration::from_hours(24 * days) }], at }
}

#[test]
fn certificates_that_end_soon_are_renewed_in_the_first_turn_of_their_host() {
    let spec = spec(3, 1);
    let mut facts = running(&spec, &Version::new(1, 34, 4));
    let days = [("cp1", 20), ("cp2", 20), ("cp3", 200), ("w1", 20)];
    facts.certificates = days.map(|(host, days)| (host.into(), ends(days))).into();
    let names = seen(&["cp1", "cp2", "cp3", "w1"]);
    let way = [Version::new(1, 35, 4), NEW];
    let plan = planned(asked(&Wanted { spec: &spec, facts: &facts, nodes: &names, way: &way }));
    let StepKind::MakeKeys { authorities, hosts, keep_on } = &plan.steps[0].kind else { panic!("{:?}", plan.steps[0]) };
    assert_eq!(*authorities, KeySource::Cluster);
    let in_turn = ["cp2".into(), "cp1".into(), "w1".into()];
    assert_eq!(*hosts, in_turn, "in the order of their turns: cp1 has etcd's leader");
    assert_eq!(*keep_on, plan.keepers);
    let renewing =
        plan.steps.iter().filter(|step| matches!(&step.kind, StepKind::SwapVersion { renew_certificates: true, .. }));
    let renewing: Vec<(String, String)> = renewing
        .map(|step| match &step.kind {
            StepKind::SwapVersion { version, .. } => (step.target.to_string(), version.to_string()),
            other => panic!("{other:?}"),
        })
        .collect();
    let first = |host: &str| (host.to_owned(), "1.35.4".to_owned());
    assert_eq!(renewing.len(), 3);
    assert!(renewing.contains(&first("cp1")) && renewing.contains(&first("cp2")), "{renewing:?}");
    assert!(renewing.contains(&("w1".to_owned(), NEW.to_string())), "a worker has one turn: {renewing:?}");
    let last = plan.steps.last().unwrap();
    assert!(
        matches!(&last.kind, StepKind::Settle { hosts, copies_on } if hosts.is_empty() && *copies_on == plan.keepers)
    );
    let told: Vec<_> = plan.findings.iter().filter(|one| one.code == "UPG011").map(|one| one.severity).collect();
    assert_eq!(told, [Severity::Info; 3]);
}

#[test]
fn what_is_there_already_is_not_done_again() {
    let (spec, mut facts) = (spec(3, 1), running(&spec(3, 1), &OLD));
    let there = |facts: &mut Facts, name: &str| {
        facts.cluster = facts.cluster.clone().map(|mut cluster| {
            cluster.nodes.get_mut(&HostName::new(name)).unwrap().kubelet = NEW.tag();
            cluster.running = cluster.running.map(|mut running| {
                if let Some(components) = running.control_planes.get_mut(&HostName::new(name)) {
                    components.values_mut().for_each(|version| *version = NEW);
                }
                if name == "w1" {
                    running.kube_proxy = Some(NEW);
                }
                running
            });
            cluster
        });
        let host = facts.hosts.get_mut(&HostName::new(name)).unwrap();
        *host = host.clone().map(|mut seen| {
            seen.artefacts = known(BTreeMap::from([("kubelet".to_owned(), "kubelet-1.36.3".to_owned())]));
            seen.files = known(BTreeMap::new());
            seen
        });
    };
    let names = seen(&["cp1", "cp2", "cp3", "w1"]);
    let ask = |facts: &Facts| asked(&Wanted { spec: &spec, facts, nodes: &names, way: &[NEW] });
    there(&mut facts, "cp2");
    assert_eq!(swaps(&planned(ask(&facts))), ["cp3 1.36.3", "cp1 1.36.3", "w1 1.36.3"]);
    for name in ["cp1", "cp3", "w1"] {
        there(&mut facts, name);
    }
    assert!(matches!(ask(&facts), Outcome::Nothing { .. }));
}

#[test]
fn a_way_back_or_past_a_minor_is_refused() {
    let spec = spec(1, 1);
    assert_eq!(codes(&outcome(&spec, &NEW, &[OLD])), ["UPG001"]);
    let Outcome::Blocked { findings } = outcome(&spec, &Version::new(1, 34, 4), &[NEW]) else { panic!("skips 1.35") };
    let skips: Vec<&Finding> = findings.iter().filter(|one| one.severity == Severity::Blocks).collect();
    assert_eq!(skips[0].code, "UPG002");
    assert!(skips[0].hint.as_ref().unwrap().contains("--via 1.35.x"), "{skips:?}");
}

#[test]
fn kubelets_that_would_be_too_old_or_are_too_new_are_named() {
    let spec = spec(3, 1);
    let mut facts = running(&spec, &OLD);
    let kubelet = |facts: &mut Facts, version: &str| {
        facts.cluster = facts.cluster.clone().map(|mut cluster| {
            cluster.nodes.get_mut(&HostName::new("w1")).unwrap().kubelet = version.to_owned();
            cluster
        });
    };
    let names = seen(&["cp1", "cp2", "cp3", "w1"]);
    kubelet(&mut facts, "v1.36.0");
    let ask = |facts: &Facts| asked(&Wanted { spec: &spec, facts, nodes: &names, way: &[NEW] });
    assert_eq!(codes(&ask(&facts)), ["UPG003"]);
    kubelet(&mut facts, "v1.32.9");
    assert_eq!(codes(&ask(&facts)), ["UPG006"], "it would be four minors older for a while");
}

#[test]
fn a_control_plane_that_is_left_holds_the_workers_back() {
    let spec = spec(3, 1);
    let facts = running(&spec, &OLD);
    let ask = |names: &[&str]| asked(&Wanted { spec: &spec, facts: &facts, nodes: &seen(names), way: &[NEW] });
    let Outcome::Blocked { findings } = ask(&["cp2", "cp3", "w1"]) else { panic!("w1 would be ahead of cp1") };
    let told: Vec<&str> = findings.iter().map(|one| one.text.as_str()).collect();
    assert_eq!(codes(&ask(&["cp2", "cp3", "w1"])), ["UPG006"; 2], "{told:?}");
    assert!(told[0].contains("kube-proxy") || told[1].contains("kube-proxy"), "{told:?}");
    assert_eq!(codes(&ask(&["cp2", "cp3"])), ["UPG006"], "kube-proxy goes along with the others");
}

#[test]
fn a_node_that_is_not_ready_blocks_unless_it_is_left() {
    let spec = spec(3, 1);
    let mut facts = running(&spec, &OLD);
    facts.cluster = facts.cluster.map(|mut cluster| {
        cluster.nodes.get_mut(&HostName::new("w1")).unwrap().not_ready = Some("no network".into());
        cluster
    });
    let all = seen(&["cp1", "cp2", "cp3", "w1"]);
    let ask = |nodes| asked(&Wanted { spec: &spec, facts: &facts, nodes, way: &[NEW] });
    let Outcome::Blocked { findings } = ask(&all) else { panic!("w1 is not Ready") };
    assert!(findings.iter().any(|one| one.code == "UPG004" && one.hint.as_ref().unwrap().contains("--leave w1")));
    let plan = planned(ask(&seen(&["cp1", "cp2", "cp3"])));
    assert_eq!(swaps(&plan).len(), 3);
    let proof = plan.steps.iter().find_map(|step| match &step.kind {
        StepKind::Prove { nodes, add_ons } => Some((nodes.len(), *add_ons)),
        _ => None,
    });
    assert_eq!(proof, Some((3, false)), "a DaemonSet is not whole where a node is down");
}

#[test]
fn etcd_that_cannot_spare_a_member_and_a_cluster_that_is_silent_block() {
    let spec = spec(3, 0);
    let names = seen(&["cp1", "cp2", "cp3"]);
    let mut facts = running(&spec, &OLD);
    facts.etcd = facts.etcd.map(|mut etcd| {
        etcd.sights.insert(MemberId(2), Sight::Down { why: "connection refused".into() });
        etcd
    });
    let ask = |facts: &Facts| asked(&Wanted { spec: &spec, facts, nodes: &names, way: &[NEW] });
    assert_eq!(codes(&ask(&facts)), ["MAINT002", "MAINT002"]);
    facts.cluster = kubewright_core::facts::Fact::unreadable("no API server answers");
    assert_eq!(codes(&ask(&facts)), ["UPG005"]);
}

#[test]
fn settings_of_containerd_that_follow_the_version_come_in_the_turn() {
    let spec = spec(1, 1);
    let facts = running(&spec, &OLD);
    let names = seen(&["cp1", "w1"]);
    let mut target = spec.clone();
    target.kubernetes.version = NEW;
    let mut station = desired(&target, &NEW);
    let file = DesiredFile { digests: vec!["new".into()], preparation: true, refreshed_with: None };
    station.hosts.get_mut(&HostName::new("w1")).unwrap().files.insert("/etc/containerd/config.toml".into(), file);
    let identity = Identity { operation: "7f3a9c".into(), initial_cluster_token: String::new() };
    let input = Input {
        spec: &target,
        facts: &facts,
        desired: &station,
        findings: &[],
        identity: &identity,
        tool_version: "0.0.0",
    };
    let choices = Choices { consents: BTreeSet::new(), wait: false, patience_seconds: 60 };
    let hops = [Hop { version: &NEW, desired: &station }];
    let plan = planned(upgrade(Nodes { input, seen: &names, denied: &[], choices: &choices }, &hops));
    let prepared: Vec<&str> = plan
        .steps
        .iter()
        .filter(|step| matches!(step.kind, StepKind::PrepareHost(_)))
        .map(|step| step.id.as_str().split_once('-').unwrap().1)
        .collect();
    assert_eq!(prepared, ["w1-prepare"]);
    let at = |verb: &str| plan.steps.iter().position(|step| step.id.as_str().ends_with(verb)).unwrap();
    assert!(at("w1-drain") < at("w1-prepare") && at("w1-prepare") < at("w1-swap"));
}

#[test]
fn a_stop_on_the_way_leaves_containerd_as_it_is() {
    let spec = spec(1, 0);
    let facts = running(&spec, &Version::new(1, 34, 4));
    let names = seen(&["cp1"]);
    let mut target = spec.clone();
    target.kubernetes.version = NEW;
    let file = DesiredFile { digests: vec!["new".into()], preparation: true, refreshed_with: None };
    let stations = [OLD, NEW].map(|version| {
        let mut station = desired(&target, &version);
        let files = &mut station.hosts.get_mut(&HostName::new("cp1")).unwrap().files;
        files.insert("/etc/containerd/config.toml".into(), file.clone());
        station
    });
    let identity = Identity { operation: "7f3a9c".into(), initial_cluster_token: String::new() };
    let input = Input {
        spec: &target,
        facts: &facts,
        desired: &stations[1],
        findings: &[],
        identity: &identity,
        tool_version: "0.0.0",
    };
    let choices = Choices { consents: BTreeSet::from(["MAINT001".to_owned()]), wait: false, patience_seconds: 60 };
    let hops = [Hop { version: &OLD, desired: &stations[0] }, Hop { version: &NEW, desired: &stations[1] }];
    let plan = planned(upgrade(Nodes { input, seen: &names, denied: &[], choices: &choices }, &hops));
    let at = |verb: &str| {
        let all = plan.steps.iter().enumerate().filter(|(_, step)| step.id.as_str().ends_with(verb));
        all.map(|(index, _)| index).collect::<Vec<_>>()
    };
    let (swaps, prepared) = (at("cp1-swap"), at("cp1-prepare"));
    assert_eq!((swaps.len(), prepared.len()), (2, 1), "{}", told(&plan));
    assert!(swaps[0] < prepared[0] && prepared[0] < swaps[1]);
}

#[test]
fn as_many_of_a_pool_are_away_as_may_be() {
    let pool = |wanted: &str| Pool { max_unavailable: Some(wanted.to_owned()), ..Pool::default() };
    for (wanted, nodes, away) in [("1", 9, 1), ("3", 9, 3), ("25%", 9, 2), ("1%", 9, 1), ("100%", 3, 3)] {
        assert_eq!(pool(wanted).may_be_away(nodes), away, "{wanted} of {nodes}");
    }
    assert_eq!(Pool::default().may_be_away(9), 1);
}

#[test]
fn a_pool_that_lets_all_workers_be_away_is_told() {
    let warned = |workers: usize, wanted: &str, others: usize| {
        let mut spec = spec(1, workers + others);
        spec.pools.insert("all".into(), Pool { max_unavailable: Some(wanted.into()), ..Pool::default() });
        let hosts = spec.hosts.iter_mut().filter(|host| !host.is(Role::ControlPlane));
        hosts.take(workers).for_each(|host| host.pool = Some("all".into()));
        let plan = planned(outcome(&spec, &OLD, &[NEW]));
        plan.findings.iter().any(|one| one.code == "UPG013")
    };
    assert!(warned(2, "2", 0) && warned(4, "100%", 0) && warned(3, "9", 0));
    assert!(!warned(2, "1", 0) && !warned(4, "75%", 0), "one is left");
    assert!(!warned(3, "100%", 1), "another pool is left");
    assert!(!warned(1, "1", 0), "one worker is away whatever is said");
}

/// Workers of the spec's pools `general` and `large`, and of none, by turns.
pub fn pooled(workers: usize, general: &str) -> Spec {
    let mut spec = spec(1, workers);
    spec.pools.insert("general".into(), Pool { max_unavailable: Some(general.into()), ..Pool::default() });
    spec.pools.insert("large".into(), Pool::default());
    let pools = [Some("general"), Some("large"), None, Some("general")];
    let workers = spec.hosts.iter_mut().filter(|host| !host.is(Role::ControlPlane));
    workers.zip(pools.iter().cycle()).for_each(|(host, pool)| host.pool = pool.map(str::to_owned));
    spec
}

#[test]
fn software_comes_to_as_many_nodes_at_once_as_may_have_their_turn() {
    for (general, at_once) in [("1", 1), ("3", 3)] {
        let plan = planned(outcome(&pooled(8, general), &OLD, &[NEW]));
        let staged: Vec<_> = plan.steps.iter().filter(|step| matches!(step.kind, StepKind::Stage(_))).collect();
        assert_eq!(staged.len(), 9);
        for (index, step) in staged.iter().enumerate() {
            let before = index.checked_sub(at_once).map(|before| staged[before].id.clone());
            assert_eq!(step.after, Vec::from_iter(before), "{}", told(&plan));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever begins and ends first: no more of a pool are away at once than may be, and they are in fact away at once.
    #[test]
    fn no_more_of_a_pool_are_away_than_may_be(
        workers in 1_usize..12,
        general in prop_oneof![Just("1"), Just("2"), Just("3"), Just("50%")],
        moves in moves(),
    ) {
        let spec = pooled(workers, general);
        let plan = planned(outcome(&spec, &OLD, &[NEW]));
        let mut run = Rehearsal::new(&plan, World::standing(&spec, TOKEN, |_| true).at(&OLD));
        let pool_of = |host: &HostName| spec.host(host).and_then(|host| host.pool.clone());
        let may = |pool: &Option<String>| {
            let all = spec.hosts.iter().filter(|host| host.pool == *pool).count();
            pool.as_ref().map_or(1, |pool| spec.pools[pool].may_be_away(all))
        };
        let mut most: BTreeMap<Option<String>, usize> = BTreeMap::new();
        for one in moves.into_iter().map(Some).chain(std::iter::repeat(None)) {
            let on = match one {
                Some(one) => { run.play_one(one); true }
                None => run.begin(0) || run.end(0),
            };
            let mut away: BTreeMap<Option<String>, usize> = BTreeMap::new();
            run.world.cordoned.iter().for_each(|host| *away.entry(pool_of(host)).or_default() += 1);
            for (pool, away) in away {
                prop_assert!(away <= may(&pool), "{away} of {pool:?}");
                let most = most.entry(pool).or_default();
                *most = away.max(*most);
            }
            if !on {
                break;
            }
        }
        prop_assert_eq!(run.status.done(), plan.steps.len());
        let general = Some("general".to_owned());
        let turns = spec.hosts.iter().filter(|host| host.pool == general).count();
        prop_assert!(turns == 0 || most[&general] >= 1);
    }
}

#[test]
fn nodes_of_a_pool_have_their_turns_side_by_side() {
    let plan = planned(outcome(&pooled(8, "2"), &OLD, &[NEW]));
    let first_of =
        |host: &str| plan.steps.iter().find(|step| step.id.as_str().ends_with(&format!("{host}-note"))).unwrap();
    let end_of = |host: &str| {
        let mut steps = plan.steps.iter().map(|step| &step.id);
        steps.rfind(|id| id.as_str().ends_with(&format!("{host}-workloads"))).unwrap().clone()
    };
    // The pool: w1, w4, w5, w8.
    assert!(!first_of("w4").after.contains(&end_of("w1")));
    assert!(first_of("w5").after.contains(&end_of("w1")) && first_of("w8").after.contains(&end_of("w4")));
    // The next one begins when both lanes are done.
    for end in [end_of("w5"), end_of("w8")] {
        assert!(first_of("w2").after.contains(&end), "{}", told(&plan));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn every_prefix_of_an_upgrade_keeps_skew_quorum_and_pods(
        control_planes in prop_oneof![Just(1usize), Just(3), Just(5)],
        workers in 0usize..3,
        from in 34_u64..36,
        soon in 0..3_usize,
        moves in moves(),
    ) {
        let spec = spec(control_planes, workers);
        let old = Version::new(1, from, 4);
        let way: Vec<Version> = if from == 34 { vec![OLD, NEW] } else { vec![NEW] };
        let mut facts = running(&spec, &old);
        let names: Vec<&str> = spec.hosts.iter().map(|host| host.name.as_str()).collect();
        facts.certificates = names[..soon.min(control_planes)].iter().map(|host| ((*host).into(), ends(20))).collect();
        let plan = planned(asked(&Wanted { spec: &spec, facts: &facts, nodes: &seen(&names), way: &way }));
        let mut world = World::standing(&spec, TOKEN, |_| true).at(&old);
        world.leader = Some("cp1".into());
        let mut run = Rehearsal::new(&plan, world);
        run.play(moves);
        prop_assert_eq!(run.status.done(), plan.steps.len());
        prop_assert!(run.world.cordoned.is_empty() && run.world.drained.is_empty());
        for machine in run.world.machines.values() {
            prop_assert_eq!(machine.version.as_ref(), Some(&NEW));
        }
        prop_assert!(run.world.api_answers());
    }
}
