//! Conversations with the wizard, over the real planner and a cluster of one control plane and two workers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use kubewright_core::drain::{Name, Node, Owner, Phase, Pod, Readiness, World as Observed};
use kubewright_core::facts::sample::{bare, known};
use kubewright_core::facts::{ClusterFacts, Fact, Facts, HostRecord, NodeFacts, Running};
use kubewright_core::finding::Finding;
use kubewright_core::ids::HostName;
use kubewright_core::offer::Available;
use kubewright_core::plan::Plan;
use kubewright_core::planner::{
    self, Choices, Desired, DesiredFile, DesiredHost, Hop, Identity, Input, Nodes, Outcome,
};
use kubewright_core::spec::{Role, Spec, read};
use kubewright_core::version::{Minor, Version};

use super::items::{Items, Settled, Wishes};
use super::questions::{self, Ending, Situation, Wanted};
use crate::error::Error;
use crate::etcd::fake::FakeEtcd;
use crate::ports::{Answer, EtcdApi};
use crate::report::Paint;
use crate::ui::fake::{Reply, Scripted};

const OLD: Version = Version::new(1, 35, 4);
const NEW: Version = Version::new(1, 36, 3);

fn spec(version: &Version) -> Spec {
    let text = format!(
        "apiVersion: kubewright.dev/v1alpha1\nkind: Cluster\nmetadata: {{name: lab}}\nspec:\n  kubernetes: {{version: {version}}}\n  hosts:\n  \
         - {{name: cp1, address: 10.77.0.11, roles: [controlPlane, etcd]}}\n  \
         - {{name: w1, address: 10.77.0.21, roles: [worker]}}\n  - {{name: w2, address: 10.77.0.22, roles: [worker]}}\n"
    );
    read("lab.yaml", &text).spec.unwrap()
}

/// The cluster, all of it at the old version; one worker may be not Ready, with this reason.
async fn facts(ill: Option<(&str, &str)>) -> Facts {
    let spec = spec(&OLD);
    let mut facts = Facts::default();
    for host in &spec.hosts {
        let record =
            HostRecord { cluster: "lab".into(), operation: "0ld".into(), roles: host.roles.clone(), settled: true };
        let mut seen = bare(host);
        seen.record = known(record);
        facts.hosts.insert(host.name.clone(), known(seen));
    }
    let node = |name: &HostName| NodeFacts {
        kubelet: OLD.tag(),
        schedulable: true,
        not_ready: ill.filter(|(node, _)| *node == name.as_str()).map(|(_, why)| why.to_owned()),
        ..NodeFacts::default()
    };
    let components = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"];
    let components: BTreeMap<String, Version> = components.map(|name| (name.to_owned(), OLD)).into();
    let control_planes =
        spec.with_role(Role::ControlPlane).map(|host| (host.name.clone(), components.clone())).collect();
    facts.cluster = known(ClusterFacts {
        nodes: spec.hosts.iter().map(|host| (host.name.clone(), node(&host.name))).collect(),
        running: known(Running { control_planes, kube_proxy: Some(OLD) }),
    });
    let etcd = FakeEtcd::new(["cp1"]).observe().await.unwrap();
    facts.etcd = Fact::Known { value: etcd, at: Timestamp::UNIX_EPOCH };
    facts
}

/// A node with one pod of a Deployment, and one without a controller where `bare` says so.
fn observed(name: &str, bare: bool) -> Observed {
    let mut world = Observed::new(name, Timestamp::UNIX_EPOCH);
    let node = Node { schedulable: true, ..Node::default() };
    world.nodes = Arc::new(BTreeMap::from([(name.to_owned(), node.clone()), ("elsewhere".to_owned(), node)]));
    let owner = Owner { kind: "ReplicaSet".into(), name: "cart".into(), uid: "o".into() };
    let pod = |owner| Pod {
        uid: "u".into(),
        node: Some(name.to_owned()),
        owner,
        phase: Phase::Running,
        readiness: Readiness::Ready,
        grace_seconds: 30,
        ..Pod::default()
    };
    world.pods.insert(Name::new("shop", format!("cart-{name}")), pod(Some(owner)));
    if bare {
        world.pods.insert(Name::new("shop", format!("alone-{name}")), pod(None));
    }
    world
}

/// A conversation about findings, and what it came to.
fn settle(
    facts: &Facts,
    with_bare_pods: &[&str],
    given: &[&str],
    replies: impl IntoIterator<Item = Reply>,
) -> (Settled, Wishes, String) {
    let spec = spec(&NEW);
    let file = DesiredFile { digests: vec!["new".into()], preparation: false, refreshed_with: None };
    let host = DesiredHost { files: BTreeMap::from([("/etc/x".to_owned(), file)]), ..DesiredHost::default() };
    let desired = Desired { hosts: spec.hosts.iter().map(|each| (each.name.clone(), host.clone())).collect() };
    let seen = |left: &BTreeSet<HostName>| -> BTreeMap<HostName, Observed> {
        let names = spec.hosts.iter().map(|host| host.name.clone()).filter(|name| !left.contains(name));
        names.map(|name| (name.clone(), observed(name.as_str(), with_bare_pods.contains(&name.as_str())))).collect()
    };
    let plan = |wishes: &Wishes| -> Result<Outcome, Error> {
        let identity = Identity { operation: "7f3a9c".into(), initial_cluster_token: String::new() };
        let input =
            Input { spec: &spec, facts, desired: &desired, findings: &[], identity: &identity, tool_version: "0.0.0" };
        let seen = seen(&wishes.left);
        let nodes = Nodes { input, seen: &seen, denied: &[], choices: &wishes.choices };
        Ok(planner::upgrade(nodes, &[Hop { version: &NEW, desired: &desired }]))
    };
    let consents = given.iter().map(|code| (*code).to_owned()).collect();
    let mut wishes = Wishes::new(Choices { consents, wait: false, patience_seconds: 60 }, BTreeSet::new());
    let ui = Scripted::new(replies);
    let workers = BTreeMap::from([("w1".into(), OLD), ("w2".into(), OLD)]);
    let details = |finding: &Finding| format!("  what there is to know of {}\n", finding.code);
    let settled = Items { ui: &ui, plan: &plan, details: &details, workers: &workers, paint: Paint::none() }
        .settle(&mut wishes)
        .unwrap();
    assert_eq!(ui.left(), 0, "{}", ui.told());
    (settled, wishes, ui.told())
}

#[track_caller]
fn planned(settled: Settled) -> Plan {
    match settled {
        Settled::Plan(plan) => *plan,
        other => panic!("{other:#?}"),
    }
}

fn turns(plan: &Plan) -> Vec<String> {
    kubewright_core::plan::turns(plan).into_iter().map(|turn| turn.node.to_string()).collect()
}

#[tokio::test]
async fn consent_is_asked_for_item_by_item() {
    let facts = facts(None).await;
    // Of the bare pod on w1, of the one on w2, of the only etcd.
    let replies = [Reply::Option("agree"), Reply::Enter, Reply::Option("leave w2 on 1.35.4"), Reply::Option("agree")];
    let (settled, wishes, told) = settle(&facts, &["w1", "w2"], &[], replies);
    let parts = [
        "? DRAIN001 (w1)\n  - agree to it\n  - leave w1 on 1.35.4 for now (allowed skew)\n  * show details\n  - stop here",
        "  > agree to it",
        "? DRAIN001 (w2)",
        "  what there is to know of DRAIN001",
        "? DRAIN001 (w2)",
        "  > leave w2 on 1.35.4 for now (allowed skew)",
        "? MAINT001 (cp1)\n  - agree to it\n  * show details\n  - stop here",
    ];
    let mut rest = told.as_str();
    for part in parts {
        rest = rest.split_once(part).unwrap_or_else(|| panic!("{part}\n in\n{told}")).1;
    }
    assert_eq!(turns(&planned(settled)), ["cp1", "w1"]);
    assert_eq!(wishes.left, BTreeSet::from(["w2".into()]));
    assert_eq!(wishes.choices.consents, BTreeSet::from(["DRAIN001".to_owned(), "MAINT001".to_owned()]));
}

#[tokio::test]
async fn what_was_agreed_to_beforehand_is_not_asked_for() {
    let facts = facts(None).await;
    let (settled, _, told) = settle(&facts, &["w1", "w2"], &["MAINT001", "DRAIN001"], []);
    assert!(!told.contains('?'), "{told}");
    assert_eq!(turns(&planned(settled)), ["cp1", "w1", "w2"]);
}

#[tokio::test]
async fn a_node_that_blocks_is_left_or_the_wizard_stops() {
    let facts = facts(Some(("w2", "kubelet stopped posting node status"))).await;
    let (settled, wishes, told) = settle(&facts, &[], &["MAINT001"], [Reply::Enter]);
    insta::assert_snapshot!(told);
    assert_eq!(turns(&planned(settled)), ["cp1", "w1"]);
    assert_eq!(wishes.left, BTreeSet::from(["w2".into()]));
    for reply in [Reply::Option("stop here"), Reply::Cancel] {
        assert_eq!(settle(&facts, &[], &["MAINT001"], [reply]).0, Settled::Stopped);
    }
}

#[tokio::test]
async fn a_control_plane_that_blocks_cannot_be_left() {
    let facts = facts(Some(("cp1", "kubelet stopped posting node status"))).await;
    let (settled, _, told) = settle(&facts, &[], &[], []);
    let Settled::Blocked(findings) = settled else { panic!("{settled:#?}") };
    assert!(findings.iter().any(|finding| finding.code == "UPG004"), "{findings:#?}");
    assert!(!told.contains('?'), "{told}");
}

#[tokio::test]
async fn ctrl_c_at_each_item_stops() {
    let facts = facts(None).await;
    let agreed = || Reply::Option("agree");
    for before in 0..3 {
        let replies = std::iter::repeat_with(agreed).take(before).chain([Reply::Cancel]);
        assert_eq!(settle(&facts, &["w1", "w2"], &[], replies).0, Settled::Stopped, "after {before}");
    }
}

fn situation() -> Situation {
    Situation { cluster: "lab".into(), from: OLD, spec: OLD, nodes: 5, behind: Vec::new() }
}

fn published(versions: &[Version]) -> Available {
    Available::of(
        versions.iter().map(|version| (version.minor(), Ok(version.clone()))),
        Some(Version::new(1, 37, 1)),
        &[],
    )
}

#[test]
fn versions_are_offered_with_what_they_are() {
    let ui = Scripted::new([Reply::Enter]);
    let available = published(&[Version::new(1, 35, 9), NEW]);
    let answer = questions::version(&ui, &situation(), &available).unwrap();
    let wanted = Wanted { to: NEW, via: Vec::new() };
    assert_eq!(answer, Answer::Given(Some(wanted.clone())));
    insta::assert_snapshot!(format!("{}{}", ui.told(), questions::brings(&OLD, &wanted)));
}

#[test]
fn where_nobody_tells_the_tested_versions_are_offered_and_said_to_be() {
    let old = Version::new(1, 34, 4);
    let ui = Scripted::new([Reply::Option("1.36.3")]);
    let silent = [34, 35, 36].map(|minor| (Minor::new(1, minor), Err("curl: (28) timed out".to_owned())));
    let available = Available::of(silent, None, &[old.clone(), OLD, NEW]);
    let behind = vec![("w2".into(), Version::new(1, 33, 1))];
    let situation = Situation { from: old, spec: Version::new(1, 35, 2), behind, ..situation() };
    let answer = questions::version(&ui, &situation, &available).unwrap();
    assert_eq!(answer, Answer::Given(Some(Wanted { to: NEW, via: vec![OLD] })));
    insta::assert_snapshot!(ui.told());
}

#[test]
fn another_version_is_typed_until_it_is_one() {
    let word = |text: &str| Reply::Type(text.to_owned());
    let ui = Scripted::new([Reply::Option("another"), word("1.36"), word("1.38.0"), word("v1.36.1")]);
    let answer = questions::version(&ui, &situation(), &published(&[NEW])).unwrap();
    assert_eq!(answer, Answer::Given(Some(Wanted { to: Version::new(1, 36, 1), via: Vec::new() })));
    assert!(ui.told().contains("`1.36` is not a Kubernetes version"), "{}", ui.told());
    assert!(ui.told().contains("goes through 1.37, of which no version is known"), "{}", ui.told());
}

#[test]
fn nothing_newer_and_cancelled_are_told_apart() {
    let nobody = Scripted::new([]);
    assert_eq!(questions::version(&nobody, &situation(), &published(&[OLD])).unwrap(), Answer::Given(None));
    for replies in [vec![Reply::Cancel], vec![Reply::Option("another"), Reply::Cancel]] {
        let ui = Scripted::new(replies);
        assert_eq!(questions::version(&ui, &situation(), &published(&[NEW])).unwrap(), Answer::Cancelled);
    }
}

#[test]
fn a_plan_is_run_saved_or_neither() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("upgrade.plan");
    let word = || Reply::Type(path.display().to_string());
    let asked = |replies: Vec<Reply>| {
        let ui = Scripted::new(replies);
        let answer = questions::ending(&ui).unwrap();
        assert_eq!(ui.left(), 0);
        answer
    };
    let saved = || Answer::Given(Ending::Save(path.clone()));
    assert_eq!(asked(vec![Reply::Enter]), Answer::Given(Ending::Run));
    assert_eq!(asked(vec![Reply::Option("stop")]), Answer::Given(Ending::Stop));
    assert_eq!(asked(vec![Reply::Cancel]), Answer::Cancelled);
    assert_eq!(asked(vec![Reply::Option("save"), word()]), saved());
    assert_eq!(asked(vec![Reply::Option("save"), Reply::Cancel]), Answer::Cancelled);
    std::fs::write(&path, "somebody's").unwrap();
    let replies = |sure| vec![Reply::Option("save"), word(), sure];
    assert_eq!(asked(replies(Reply::Say(true))), saved());
    assert_eq!(asked([replies(Reply::Enter), vec![Reply::Cancel]].concat()), Answer::Cancelled);
    assert_eq!(asked(replies(Reply::Cancel)), Answer::Cancelled);
}

#[tokio::test]
async fn the_order_is_told_with_pods_and_time() {
    let facts = facts(None).await;
    let mut plan = planned(settle(&facts, &["w1"], &["MAINT001", "DRAIN001"], []).0);
    let told = crate::report::plan::order(&plan, Paint::none());
    insta::assert_snapshot!(told);
    // Where the last one does not wait for the one before it, no arrow says so.
    let note = |node: &str| format!("{node}-note");
    let index = |plan: &Plan, node: &str| plan.steps.iter().position(|step| step.id.as_str().ends_with(&note(node)));
    let [first, second] = ["w1", "w2"].map(|node| index(&plan, node).unwrap());
    plan.steps[second].after = plan.steps[first].after.clone();
    let told = crate::report::plan::order(&plan, Paint::none());
    assert!(told.contains("w1 (2 pods), w2 (1 pod), about"), "{told}");
}
