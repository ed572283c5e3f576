//! The real steps on fake hosts: a whole bootstrap through playbooks, files, units, keys and objects, with connections
//! lost before, inside and after each kind of script, then resumed from nothing but the control planes' mirror.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use kubewright::exec::driver::{End, Run};
use kubewright::exec::hands::Hands;
use kubewright::exec::session::{Begun, Session};
use kubewright::exec::{Effects, Failure, Telling, Verdict, lock, recover};
use kubewright::facts::{Questions, gather};
use kubewright::host::fake::{FakeHosts, Fault, Reply};
use kubewright::ports::{
    Applied, Clock, Cordoned, EtcdApi, KubeApi, KubeError, Lines, ObjectRef, Patched, Readiness, SystemClock,
    Uncordoned, Whose, Workloads,
};
use kubewright::store::Operations;
use kubewright_core::drain::{self, Apart, Name, News, Occupancy, Permission, View};
use kubewright_core::facts::{Facts, NodeFacts, Running};
use kubewright_core::guard::Guard;
use kubewright_core::health::Condition;
use kubewright_core::ids::{HostName, OperationId};
use kubewright_core::marks::NodeMarks;
use kubewright_core::plan::{Plan, Step};
use kubewright_core::planner::{self, Request};
use kubewright_core::spec::EncryptionAlgorithm;
use kubewright_core::version::Version;
use serde_json::Value;
use tokio::sync::{Notify, OnceCell};

use super::driver::Silence;
use super::setting::{self, NAMES};

/// An API server that takes everything.
#[derive(Default)]
pub struct Agreeable {
    objects: Mutex<BTreeSet<String>>,
    marked: Mutex<BTreeMap<HostName, NodeMarks>>,
}

#[async_trait]
impl KubeApi for Agreeable {
    async fn apply(&self, object: &Value) -> Result<Applied, KubeError> {
        let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
        let created = self.objects.lock().unwrap().insert(name);
        Ok(Applied { created, resource_version: "1".into(), warnings: Vec::new() })
    }

    async fn get(&self, _object: &ObjectRef) -> Result<Option<Value>, KubeError> {
        Ok(None)
    }

    async fn patch_node(&self, node: &HostName, marks: &NodeMarks) -> Result<Patched, KubeError> {
        self.marked.lock().unwrap().insert(node.clone(), marks.clone());
        Ok(Patched::Changed)
    }

    async fn ready(&self) -> Result<Readiness, KubeError> {
        Ok(Readiness { control_plane: "cp1".into(), failing: Vec::new() })
    }

    async fn version(&self) -> Result<Version, KubeError> {
        Ok(Version::new(1, 35, 4))
    }

    async fn running(&self) -> Result<Running, KubeError> {
        Ok(Running::default())
    }

    async fn nodes(&self) -> Result<BTreeMap<HostName, NodeFacts>, KubeError> {
        Ok(BTreeMap::new())
    }

    async fn delete(&self, object: &ObjectRef) -> Result<bool, KubeError> {
        Ok(self.objects.lock().unwrap().remove(&object.to_string()))
    }

    async fn wait_until(&self, _: &Condition, _: Duration, _: Lines<'_>) -> Result<(), KubeError> {
        Ok(())
    }
}

/// Nothing runs on its nodes.
#[async_trait]
impl Workloads for Agreeable {
    fn follow(&self, _: &View) -> BoxStream<'static, Result<News, KubeError>> {
        stream::once(async { Ok(News::All(Vec::new())) }).chain(stream::pending()).boxed()
    }

    async fn evict(&self, _: &Name, _: &str) -> drain::Outcome {
        drain::Outcome::Gone
    }

    async fn delete_pod(&self, _: &Name, _: &str) -> drain::Outcome {
        drain::Outcome::Gone
    }

    async fn cordon(&self, _: &HostName, _: &OperationId) -> Result<Cordoned, KubeError> {
        Ok(Cordoned::Ours)
    }

    async fn served_alone(&self, _: &BTreeSet<HostName>) -> Result<BTreeMap<HostName, BTreeSet<Name>>, KubeError> {
        Ok(BTreeMap::new())
    }

    async fn occupancy(&self, _: &BTreeSet<Apart>) -> Result<Occupancy, KubeError> {
        Ok(Occupancy::default())
    }

    async fn exclude(&self, _: &HostName, _: &OperationId) -> Result<(), KubeError> {
        Ok(())
    }

    async fn uncordon(&self, _: &HostName, _: &Whose) -> Result<Uncordoned, KubeError> {
        Ok(Uncordoned::Done)
    }

    async fn may(&self, _: Permission) -> Result<bool, KubeError> {
        Ok(true)
    }

    async fn remark(&self, _: &ObjectRef, _: &str, _: &str) -> Result<(), KubeError> {
        Ok(())
    }
}

fn hosts() -> FakeHosts {
    FakeHosts::new(NAMES)
        .on("debian/prepare.sh", |_| Reply::ok(":: prepared\n"))
        .on("debian/start-control-plane.sh", |_| Reply::ok(":: control plane healthy\n"))
        .on("debian/start-worker.sh", |_| Reply::ok(":: worker healthy\n"))
        // In doubt means again: these fakes keep no state of their own that could say more.
        .on("debian/verify.sh", |_| Reply::ok("not-done: nobody knows\n"))
}

async fn planned(hosts: &FakeHosts) -> (Plan, Facts) {
    let mut spec = setting::spec();
    // Seconds of RSA in every run would test patience.
    spec.certificates.encryption_algorithm = EncryptionAlgorithm::EcdsaP256;
    let names = NAMES.map(HostName::from);
    let facts = gather(hosts, &names, &Questions::default()).await;
    let (desired, identity) = (setting::desired(&spec), setting::identity());
    let input = setting::input(&spec, &facts, &desired, &identity);
    (setting::planned(planner::plan(input, &Request::Apply { only: None })), facts)
}

/// One process on a machine of its own: from nothing but the control planes' mirror where there is one, else from the
/// plan; it takes the lock, mirrors, drives, and ends as it ends.
async fn process(hosts: &FakeHosts, api: &Arc<Agreeable>, planned: &(Plan, Facts)) -> Result<End, String> {
    let state = tempfile::tempdir().unwrap();
    let reached = Reached { api: api.clone(), etcd: None, clock: Arc::new(SystemClock), death: None };
    run(hosts, &reached, planned, state.path()).await
}

/// What a process reaches beside the hosts, and where it is killed.
#[derive(Clone)]
pub struct Reached {
    pub api: Arc<dyn KubeApi>,
    pub etcd: Option<Arc<dyn EtcdApi>>,
    pub clock: Arc<dyn Clock>,
    pub death: Option<Death>,
}

/// When a process is killed: at the effect of this number, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    Before(usize),
    After(usize),
}

/// The hands of a process that may be killed.
struct Mortal<'a> {
    hands: &'a Hands,
    death: Option<Death>,
    effects: AtomicUsize,
    died: Notify,
}

impl Mortal<'_> {
    async fn die(&self) {
        self.died.notify_one();
        std::future::pending::<()>().await;
    }
}

#[async_trait]
impl Effects for Mortal<'_> {
    async fn guards(&self, guards: &[Guard], begun: bool) -> Result<Result<(), String>, Failure> {
        self.hands.guards(guards, begun).await
    }

    async fn probe(&self, step: &Step, attempt: u32, telling: Telling<'_>) -> Result<Verdict, Failure> {
        self.hands.probe(step, attempt, telling).await
    }

    async fn perform(&self, step: &Step, attempt: u32, telling: Telling<'_>) -> Result<(), Failure> {
        let number = self.effects.fetch_add(1, Ordering::SeqCst) + 1;
        if self.death == Some(Death::Before(number)) {
            self.die().await;
        }
        let outcome = self.hands.perform(step, attempt, telling).await;
        if self.death == Some(Death::After(number)) {
            self.die().await;
        }
        outcome
    }

    fn recorded(&self, journal: &[u8]) {
        self.hands.recorded(journal);
    }
}

/// One process on the machine whose state folder this is.
pub async fn run(hosts: &FakeHosts, reached: &Reached, planned: &(Plan, Facts), state: &Path) -> Result<End, String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let (plan, facts) = planned;
    let operations = Operations::new(state);
    let mut notes = Vec::new();
    let known = match operations.read(&plan.operation) {
        Ok(_) => Ok(plan.operation.clone()),
        Err(_) => recover::unfinished(&plan.spec, hosts, None, &mut notes).await,
    };
    let operation = match known {
        Ok(id) => {
            let hold = operations.hold(&id).map_err(|error| told(&error))?;
            recover::up_to_date(&operations, hold, &plan.spec, hosts, &mut notes).await.map_err(|error| told(&error))?
        }
        Err(_) => operations.create(plan, facts).map_err(|error| told(&error))?,
    };
    let clock = reached.clock.clone();
    let mut holder = lock::holder(&operation.plan, "ada@desk".into(), clock.now());
    // Every process of this test would else be this one, which lives.
    holder.started = None;
    let begun = Session::begin(operation, Arc::new(hosts.clone()), holder, true, clock.clone()).await;
    let Begun { mut session, journal, .. } = begun.map_err(|error| told(&error))?;
    session.hands.api = OnceCell::new_with(Some(reached.api.clone()));
    session.hands.etcd = OnceCell::new_with(reached.etcd.clone());
    let end = {
        let (effects, died) = (AtomicUsize::new(0), Notify::new());
        let mortal = Mortal { hands: &session.hands, death: reached.death, effects, died };
        let run = Run::new(&session.hands.plan, journal, &mortal, &Silence, clock.as_ref());
        run.take_up("ada@desk", session.lock.fence).unwrap();
        tokio::select! {
            end = run.drive(&session.hands.cancel) => end.unwrap(),
            () = mortal.died.notified() => return Err("killed".into()),
        }
    };
    if end == End::Finished {
        session.lock.release().await;
    }
    session.end().await;
    Ok(end)
}

/// What the hosts hold in the end, without what every run makes anew. A mirror stands on a majority of the control
/// planes, whichever they are.
fn outcome(hosts: &FakeHosts) -> BTreeSet<String> {
    let counts = |path: &String| !path.starts_with("/var/lib/kubewright/ops/");
    let of = |name: &'static str| {
        hosts.files(name).into_keys().filter(counts).map(move |path| format!("{name} {}", undated(path)))
    };
    NAMES.into_iter().flat_map(of).collect()
}

/// A kubelet's certificate carries its date in its name.
fn undated(path: String) -> String {
    match path.strip_prefix("/var/lib/kubelet/pki/kubelet-client-") {
        Some(rest) if rest != "current.pem" => "/var/lib/kubelet/pki/kubelet-client-<date>.pem".to_owned(),
        _ => path,
    }
}

fn one_authority(hosts: &FakeHosts) -> bool {
    let authority = |name: &str| hosts.files(name).get("/etc/kubernetes/pki/ca.crt").map(|(_, bytes)| bytes.clone());
    let all: BTreeSet<_> = NAMES.into_iter().map(authority).collect();
    all.len() == 1 && !all.contains(&None)
}

#[tokio::test]
async fn a_whole_bootstrap_in_one_go() {
    let (hosts, api) = (hosts(), Arc::new(Agreeable::default()));
    let planned = planned(&hosts).await;
    assert_eq!(process(&hosts, &api, &planned).await, Ok(End::Finished));
    assert!(one_authority(&hosts));
    assert_eq!(api.marked.lock().unwrap().len(), 5);
    for name in NAMES {
        let files = hosts.files(name);
        assert!(
            !files.keys().any(|path| path.starts_with("/var/lib/kubewright/secrets")),
            "{name} keeps a copy of keys"
        );
        let (_, record) = &files["/var/lib/kubewright/host"];
        assert!(String::from_utf8_lossy(record).contains("\"settled\":true"), "{name}");
        let (mode, _) = files["/etc/kubernetes/pki/ca.crt"];
        assert_eq!(mode, 0o644);
    }
    let (mode, _) = hosts.files("cp1")["/etc/kubernetes/pki/ca.key"];
    assert_eq!(mode, 0o600);
    assert!(!hosts.files("w1").contains_key("/etc/kubernetes/pki/ca.key"), "a worker has no authority's key");
}

#[tokio::test]
async fn a_connection_lost_anywhere_ends_in_the_same_cluster() {
    let undisturbed = {
        let (hosts, api) = (hosts(), Arc::new(Agreeable::default()));
        let planned = planned(&hosts).await;
        assert_eq!(process(&hosts, &api, &planned).await, Ok(End::Finished));
        outcome(&hosts)
    };
    let scripts = [
        ("cp1", "common/fence.sh"),
        ("cp2", "common/mirror.sh"),
        ("cp3", "common/files.sh"),
        ("w1", "common/files.sh"),
        ("cp1", "debian/prepare.sh"),
        ("cp2", "debian/start-control-plane.sh"),
        ("w2", "debian/start-worker.sh"),
        ("cp1", "common/facts.sh"),
    ];
    for (host, script) in scripts {
        for fault in [Fault::Refused, Fault::LostBefore, Fault::LostInside, Fault::LostAfter] {
            let (hosts, api) = (hosts(), Arc::new(Agreeable::default()));
            let planned = planned(&hosts).await;
            hosts.fault(host, script, fault);
            let mut ends = Vec::new();
            while ends.last() != Some(&Ok(End::Finished)) {
                assert!(ends.len() < 4, "{host} {script} {fault:?}: {ends:#?}");
                ends.push(process(&hosts, &api, &planned).await);
            }
            let different: Vec<_> = outcome(&hosts).symmetric_difference(&undisturbed).cloned().collect();
            assert!(different.is_empty(), "{host} {script} {fault:?}: {different:#?}");
            assert!(one_authority(&hosts), "{host} {script} {fault:?}");
        }
    }
}
