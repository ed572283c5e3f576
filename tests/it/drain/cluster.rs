//! A cluster in memory: an API server that evicts by Kubernetes' rules, a disruption controller, a scheduler with one other
//! node, kubelets that take their time. Time is tokio's, so a test with paused time passes hours at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use jiff::{SignedDuration, Timestamp};
use kubewright::ports::{
    Applied, Clock, ConnectionFault, Cordoned, Fault, KubeApi, KubeError, Lines, ObjectRef, Patched,
    Readiness as ApiReadiness, Uncordoned, Whose, Workloads,
};
use kubewright_core::drain::{
    Apart, Budget, Deletion, Name, News, Node, Object, Occupancy, Outcome, Permission, Phase, Pod, Readiness, View,
    Wanted,
};
use kubewright_core::facts::NodeFacts;
use kubewright_core::health::{
    AttachmentState, CONTROL_PLANE, Condition, KUBE_SYSTEM, NodeState, Observation, PodState, Verdict, WorkloadState,
};
use kubewright_core::ids::{HostName, OperationId};
use kubewright_core::maintenance::Controller;
use kubewright_core::marks::NodeMarks;
use kubewright_core::version::Version;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// tokio's time as a time of day.
#[derive(Clone, Copy, Debug)]
pub struct TestClock(Instant);

impl TestClock {
    pub fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let noon: Timestamp = "2026-11-26T11:00:00Z".parse().unwrap();
        noon + SignedDuration::try_from(self.0.elapsed()).unwrap()
    }
}

/// The whole cluster; clones are the same one.
#[derive(Clone)]
pub struct Cluster {
    state: Arc<Mutex<State>>,
    changes: watch::Sender<u64>,
    pub clock: TestClock,
}

/// What is in it.
#[derive(Default)]
pub struct State {
    pub pods: BTreeMap<Name, Pod>,
    pub budgets: BTreeMap<Name, Budget>,
    pub nodes: BTreeMap<String, Node>,
    /// Answers to the next evictions, whatever the rules would say.
    pub script: VecDeque<Outcome>,
    /// Evictions that reached the API server, and what became of them.
    pub evictions: Vec<(Name, Outcome)>,
    /// Pods that were deleted past their budgets.
    pub deleted: Vec<Name>,
    /// Events written.
    pub remarks: Vec<String>,
    /// Nobody answers.
    pub away: bool,
    /// Replacements never serve.
    pub sick: bool,
    /// The next so many replacements come to the drained node, cordon or not.
    pub returning: usize,
    /// Budgets that were ever broken, and how.
    pub broken: Vec<String>,
    /// What a pod takes of its grace.
    pub ends_after: Option<Duration>,
    /// The boot that the kubelet of each node reports.
    pub boots: BTreeMap<String, String>,
    /// Containers that run on each node in truth, whatever the API says.
    pub running: BTreeMap<String, Vec<String>>,
    /// Volumes that are attached, by the pod they are for.
    pub attachments: BTreeMap<String, AttachmentState>,
    /// When each node's lease was renewed last.
    pub leases: BTreeMap<String, u64>,
    /// Pods that each application wants.
    pub wanted: BTreeMap<String, u32>,
    /// Nodes that were taken out of load balancers, and by which operation.
    pub excluded: BTreeMap<String, String>,
    /// How often each node was restarted.
    pub restarts: BTreeMap<String, u32>,
    version: u64,
    serial: usize,
}

/// How long an unmounted volume takes until it is detached.
const DETACH: Duration = Duration::from_secs(3);

/// How often a kubelet renews its lease.
const RENEWAL: Duration = Duration::from_secs(10);

/// How long a replacement takes until it serves.
const READY: Duration = Duration::from_secs(5);

pub fn shop(name: &str) -> Name {
    Name::new("shop", name)
}

impl Cluster {
    /// Nodes w1, w2 and w3, nothing on them.
    pub fn new() -> Self {
        let mut state = State::default();
        for name in ["w1", "w2", "w3"] {
            let node = Node { uid: format!("uid-of-{name}"), schedulable: true, ..Node::default() };
            state.nodes.insert(name.to_owned(), node);
        }
        Self { state: Arc::new(Mutex::new(state)), changes: watch::Sender::new(0), clock: TestClock::new() }
    }

    /// An application with so many serving pods on each of these nodes.
    pub fn app(self, app: &str, on: &[&str]) -> Self {
        self.change(|state| {
            for node in on {
                state.start(app, node, true);
            }
            *state.wanted.entry(app.to_owned()).or_default() += u32::try_from(on.len()).unwrap();
        });
        self
    }

    /// A DaemonSet with a serving pod on each of these nodes.
    pub fn daemon_set(self, app: &str, on: &[&str]) -> Self {
        self.change(|state| {
            for node in on {
                let name = state.start(app, node, true);
                let container = format!("{}@first", name.name);
                let pod = state.pods.get_mut(&name).unwrap();
                if let Some(owner) = &mut pod.owner {
                    owner.kind = "DaemonSet".to_owned();
                }
                pod.containers = vec![container.clone()];
                state.running.entry((*node).to_owned()).or_default().push(container);
            }
        });
        self
    }

    /// A control plane, as kubeadm lays it out: a node on which nothing is scheduled, with four static pods.
    pub fn control_plane(self, node: &str) -> Self {
        self.change(|state| {
            let taint = ("node-role.kubernetes.io/control-plane".into(), String::new(), "NoSchedule".into());
            let made = Node { uid: node.to_owned(), schedulable: true, taints: vec![taint], ..Node::default() };
            state.nodes.insert(node.to_owned(), made);
            for component in CONTROL_PLANE {
                let name = Name::new(KUBE_SYSTEM, format!("{component}-{node}"));
                let container = format!("{}@first", name.name);
                state.running.entry(node.to_owned()).or_default().push(container.clone());
                let pod = Pod {
                    uid: name.name.clone(),
                    node: Some(node.to_owned()),
                    labels: BTreeMap::from([("app".to_owned(), component.to_owned())]),
                    phase: Phase::Running,
                    readiness: Readiness::Ready,
                    mirror: true,
                    containers: vec![container],
                    ..Pod::default()
                };
                state.pods.insert(name, pod);
            }
        });
        self
    }

    /// A volume for each pod of an application, attached where the pod is.
    pub fn volumes(self, app: &str) -> Self {
        self.change(|state| {
            let pods = state.pods.iter().filter(|(_, pod)| pod.labels["app"] == app);
            let attached: Vec<_> = pods.map(|(name, pod)| (name.name.clone(), pod.node.clone().unwrap())).collect();
            for (pod, node) in attached {
                let volume = Some(format!("pv-of-{pod}"));
                state.attachments.insert(pod, AttachmentState { node, volume });
            }
        });
        self
    }

    /// Kubelets that renew their leases, from now on.
    pub fn kubelets(self) -> Self {
        let cluster = self.clone();
        tokio::spawn(async move {
            loop {
                sleep(RENEWAL).await;
                cluster.change(|state| {
                    let nodes: Vec<String> = state.nodes.keys().cloned().collect();
                    // A kubelet that has not reported the boot that runs is not up.
                    let up = nodes.into_iter().filter(|node| state.nodes[node].not_ready.is_none());
                    for node in up.collect::<Vec<_>>() {
                        *state.leases.entry(node).or_default() += 1;
                    }
                });
            }
        });
        self
    }

    /// A machine restarts. For a while the API says of it what was true before; what should not have happened is kept.
    pub fn restart(&self, node: &str, boot: &str) {
        let node = node.to_owned();
        self.change(|state| {
            *state.restarts.entry(node.clone()).or_default() += 1;
            let here = |pod: &&Pod| pod.node.as_ref() == Some(&node);
            let moving = |pod: &&Pod| !pod.mirror && pod.owner.as_ref().is_none_or(|owner| owner.kind != "DaemonSet");
            let cut_off = state.pods.values().filter(here).filter(moving).count();
            let attached = state.attachments.values().filter(|attachment| attachment.node == node).count();
            if cut_off + attached > 0 || state.nodes[&node].schedulable {
                state.broken.push(format!("{node} restarted with {cut_off} pods and {attached} volumes on it"));
            }
            state.running.insert(node.clone(), Vec::new());
        });
        let (cluster, boot) = (self.clone(), boot.to_owned());
        tokio::spawn(async move {
            sleep(Duration::from_secs(4)).await;
            cluster.change(|state| {
                state.boots.insert(node.clone(), boot.clone());
                state.nodes.get_mut(&node).unwrap().not_ready = Some("starting".into());
            });
            sleep(Duration::from_secs(2)).await;
            // Ready, and its pods are still told as they were.
            cluster.change(|state| state.nodes.get_mut(&node).unwrap().not_ready = None);
            sleep(Duration::from_secs(3)).await;
            cluster.change(|state| {
                let State { pods, running, .. } = state;
                for (name, pod) in pods.iter_mut().filter(|(_, pod)| pod.node.as_ref() == Some(&node)) {
                    pod.containers = vec![format!("{}@{boot}", name.name)];
                    running.entry(node.clone()).or_default().extend(pod.containers.clone());
                }
            });
        });
    }

    fn observed(&self) -> Observation {
        self.seen(|state| Observation {
            nodes: state
                .nodes
                .iter()
                .map(|(name, node)| {
                    let boot_id = state.boots.get(name).cloned().unwrap_or_default();
                    (name.clone(), NodeState { not_ready: node.not_ready.clone(), boot_id })
                })
                .collect(),
            pods: state
                .pods
                .iter()
                .map(|(name, pod)| {
                    let owner = pod.owner.as_ref().map(|owner| (owner.kind.clone(), owner.name.clone()));
                    let not_ready = (!pod.is_ready()).then(|| "starting".to_owned());
                    let pod = PodState {
                        node: pod.node.clone(),
                        owner,
                        not_ready,
                        mirror: pod.mirror,
                        ..PodState::default()
                    };
                    ((name.namespace.clone(), name.name.clone()), pod)
                })
                .collect(),
            workloads: state
                .wanted
                .iter()
                .map(|(app, wanted)| {
                    let ready = state.serving(app);
                    let controller =
                        Controller { kind: "ReplicaSet".into(), namespace: "shop".into(), name: app.clone() };
                    (controller, WorkloadState { observed: true, wanted: *wanted, ready })
                })
                .collect(),
            attachments: state.attachments.clone(),
            leases: state.leases.iter().map(|(node, renewed)| (node.clone(), stamp(*renewed))).collect(),
            ..Observation::default()
        })
    }

    /// A budget over an application.
    pub fn budget(self, app: &str, min_available: i32) -> Self {
        self.change(|state| {
            let selector = kubewright_core::drain::Selector {
                labels: BTreeMap::from([("app".to_owned(), app.to_owned())]),
                requirements: Vec::new(),
            };
            let wanted = Wanted::MinAvailable(min_available.to_string());
            let budget = Budget { selector: Some(selector), wanted, desired: min_available, ..Budget::default() };
            state.budgets.insert(shop(app), budget);
        });
        self
    }

    /// Changes anything, then the controllers look.
    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap();
        let result = change(&mut state);
        state.control();
        state.version += 1;
        self.changes.send_replace(state.version);
        result
    }

    pub fn seen<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.lock().unwrap())
    }

    /// Names of pods on a node.
    pub fn on(&self, node: &str) -> Vec<String> {
        self.seen(|state| {
            let here = state.pods.iter().filter(|(_, pod)| pod.node.as_deref() == Some(node));
            here.map(|(name, _)| name.name.clone()).collect()
        })
    }

    fn end(&self, name: &Name, uid: &str) {
        let now = self.clock.now();
        let grace = self.change(|state| {
            let pod = state.pods.get_mut(name).unwrap();
            let grace = Duration::from_secs(pod.grace_seconds.into());
            pod.deletion = Some(Deletion { due: now + SignedDuration::try_from(grace).unwrap() });
            state.ends_after.unwrap_or(grace).min(grace)
        });
        let (cluster, name, uid) = (self.clone(), name.clone(), uid.to_owned());
        tokio::spawn(async move {
            cluster.replace(&name);
            sleep(grace).await;
            cluster.change(|state| {
                if state.pods.get(&name).is_some_and(|pod| pod.uid == uid && pod.finalizers.is_empty()) {
                    state.pods.remove(&name);
                }
            });
            sleep(DETACH).await;
            cluster.change(|state| state.attachments.remove(&name.name));
        });
    }

    /// The workload controller makes another one at once; it serves a little later.
    fn replace(&self, gone: &Name) {
        let started = self.change(|state| {
            let pod = &state.pods[gone];
            pod.owner.as_ref()?;
            let app = pod.labels["app"].clone();
            let tolerations = pod.tolerations.clone();
            let back = state.returning > 0;
            state.returning -= usize::from(back);
            let open = state.nodes.iter().find(|(_, node)| node.schedulable && node.taints.is_empty());
            let open = open.map(|(name, _)| name.clone());
            let node = if back { "w1".to_owned() } else { open.unwrap_or_else(|| "w2".to_owned()) };
            let name = state.start(&app, &node, false);
            state.pods.get_mut(&name).unwrap().tolerations = tolerations;
            (!state.sick).then_some(name)
        });
        let Some(name) = started else { return };
        let cluster = self.clone();
        tokio::spawn(async move {
            sleep(READY).await;
            cluster.change(|state| {
                if let Some(pod) = state.pods.get_mut(&name) {
                    pod.readiness = Readiness::Ready;
                }
            });
        });
    }

    fn silence(&self) -> Option<KubeError> {
        let away = self.seen(|state| state.away);
        away.then(|| KubeError::new(Fault::Connection(ConnectionFault::Refused), "ask", "cp1: connection refused"))
    }

    fn objects(&self, view: &View) -> Vec<Object> {
        self.seen(|state| {
            let pod = |(name, pod): (&Name, &Pod)| Object::Pod(name.clone(), Box::new(pod.clone()));
            match view {
                View::Nodes => {
                    state.nodes.iter().map(|(name, node)| Object::Node(name.clone(), node.clone())).collect()
                }
                View::Budgets => {
                    let budget = |(name, of): (&Name, &Budget)| Object::Budget(name.clone(), Box::new(of.clone()));
                    state.budgets.iter().map(budget).collect()
                }
                View::PodsOn { node } => {
                    state.pods.iter().filter(|(_, of)| of.node.as_ref() == Some(node)).map(pod).collect()
                }
                View::Peers { budget, selector } => {
                    let counted =
                        |(name, of): &(&Name, &Pod)| name.namespace == budget.namespace && selector.matches(&of.labels);
                    state.pods.iter().filter(counted).map(pod).collect()
                }
            }
        })
    }
}

/// A time as the API writes it.
fn stamp(renewed: u64) -> String {
    (Timestamp::UNIX_EPOCH + SignedDuration::from_secs(i64::try_from(renewed).unwrap())).to_string()
}

impl State {
    /// Pods of an application that serve and stay.
    fn serving(&self, app: &str) -> u32 {
        let of = self.pods.values().filter(|pod| pod.labels["app"] == app);
        u32::try_from(of.filter(|pod| pod.is_ready() && pod.deletion.is_none()).count()).unwrap()
    }

    fn start(&mut self, app: &str, node: &str, ready: bool) -> Name {
        self.serial += 1;
        let name = shop(&format!("{app}-{}", self.serial));
        let owner = kubewright_core::drain::Owner {
            kind: "ReplicaSet".to_owned(),
            name: app.to_owned(),
            uid: format!("uid-of-{app}"),
        };
        let pod = Pod {
            uid: format!("uid-{}", self.serial),
            node: Some(node.to_owned()),
            labels: BTreeMap::from([("app".to_owned(), app.to_owned())]),
            owner: Some(owner),
            phase: Phase::Running,
            readiness: if ready {
                Readiness::Ready
            } else {
                Readiness::NotReady { why: "starting".into(), since: None }
            },
            grace_seconds: 30,
            ..Pod::default()
        };
        self.pods.insert(name.clone(), pod);
        name
    }

    /// The disruption controller, and the watcher that nothing was broken.
    fn control(&mut self) {
        for (name, budget) in &mut self.budgets {
            let counted: Vec<&Pod> = self.pods.values().filter(|pod| budget.counts(pod)).collect();
            let healthy = counted.iter().filter(|pod| pod.is_ready() && pod.deletion.is_none()).count();
            let healthy = i32::try_from(healthy).unwrap();
            if healthy < budget.desired && healthy < budget.healthy {
                self.broken.push(format!("{name}: {healthy} serve, {} must", budget.desired));
            }
            budget.healthy = healthy;
            budget.expected = i32::try_from(counted.len()).unwrap();
            budget.allowed = (healthy - budget.desired).max(0);
            budget.version = format!("{} {healthy} {}", self.version, budget.expected);
        }
    }

    /// What the API server says to an eviction.
    fn judge(&self, name: &Name, uid: &str) -> Outcome {
        let Some(pod) = self.pods.get(name) else { return Outcome::Gone };
        if pod.uid != uid {
            return Outcome::Replaced;
        }
        let counting: Vec<&Budget> = self.budgets.values().filter(|budget| budget.counts(pod)).collect();
        match counting.as_slice() {
            [] => Outcome::Accepted,
            [budget] if budget.allowed > 0 || !pod.is_ready() && budget.healthy >= budget.desired => Outcome::Accepted,
            [budget] => Outcome::NoRoom { said: format!("needs {} and has {}", budget.desired, budget.healthy) },
            _ => Outcome::TwoBudgets { said: "more than one".into() },
        }
    }
}

#[async_trait]
impl Workloads for Cluster {
    fn follow(&self, view: &View) -> BoxStream<'static, Result<News, KubeError>> {
        let (cluster, view) = (self.clone(), view.clone());
        let mut changes = self.changes.subscribe();
        changes.mark_changed();
        stream::unfold((cluster, view, changes), |(cluster, view, mut changes)| async move {
            changes.changed().await.ok()?;
            let news = match cluster.silence() {
                None => Ok(News::All(cluster.objects(&view))),
                Some(error) => {
                    sleep(Duration::from_secs(3)).await;
                    changes.mark_changed();
                    Err(error)
                }
            };
            Some((news, (cluster, view, changes)))
        })
        .boxed()
    }

    async fn evict(&self, pod: &Name, uid: &str) -> Outcome {
        sleep(Duration::from_millis(5)).await;
        if self.silence().is_some() {
            return Outcome::Unknown { said: "connection refused".into() };
        }
        let outcome = self.change(|state| {
            let outcome = state.script.pop_front().unwrap_or_else(|| state.judge(pod, uid));
            state.evictions.push((pod.clone(), outcome.clone()));
            outcome
        });
        if outcome == Outcome::Accepted {
            self.end(pod, uid);
        }
        outcome
    }

    async fn delete_pod(&self, pod: &Name, uid: &str) -> Outcome {
        self.change(|state| state.deleted.push(pod.clone()));
        self.end(pod, uid);
        Outcome::Accepted
    }

    async fn cordon(&self, node: &HostName, operation: &OperationId) -> Result<Cordoned, KubeError> {
        self.change(|state| {
            let Some(seen) = state.nodes.get_mut(node.as_str()) else {
                return Err(KubeError::new(Fault::NotFound, "cordon", "not found"));
            };
            if seen.schedulable {
                seen.schedulable = false;
                seen.cordoned_by = Some(operation.to_string());
            }
            Ok(match &seen.cordoned_by {
                Some(by) if by == operation.as_str() => Cordoned::Ours,
                Some(by) => Cordoned::Of(by.as_str().into()),
                None => Cordoned::Foreign,
            })
        })
    }

    async fn served_alone(&self, _: &HostName) -> Result<BTreeSet<Name>, KubeError> {
        Ok(BTreeSet::new())
    }

    async fn occupancy(&self, _: &BTreeSet<Apart>) -> Result<Occupancy, KubeError> {
        Ok(Occupancy::default())
    }

    async fn exclude(&self, node: &HostName, operation: &OperationId) -> Result<(), KubeError> {
        self.change(|state| {
            state.excluded.entry(node.to_string()).or_insert_with(|| operation.to_string());
        });
        Ok(())
    }

    async fn uncordon(&self, node: &HostName, whose: &Whose) -> Result<Uncordoned, KubeError> {
        if let Some(error) = self.silence() {
            return Err(error);
        }
        self.change(|state| {
            let seen = state.nodes.get_mut(node.as_str()).unwrap();
            let is_meant = |by: Option<&str>| match whose {
                Whose::Of(operation) => by == Some(operation.as_str()),
                Whose::Kubewright => by.is_some(),
                Whose::Anybody => true,
            };
            if is_meant(state.excluded.get(node.as_str()).map(String::as_str)) {
                state.excluded.remove(node.as_str());
            }
            let meant = is_meant(seen.cordoned_by.as_deref());
            if seen.schedulable {
                return Ok(Uncordoned::NotCordoned);
            }
            if !meant {
                return Ok(Uncordoned::Kept);
            }
            (seen.schedulable, seen.cordoned_by) = (true, None);
            Ok(Uncordoned::Done)
        })
    }

    async fn may(&self, _: Permission) -> Result<bool, KubeError> {
        Ok(true)
    }

    async fn remark(&self, about: &ObjectRef, _: &str, text: &str) -> Result<(), KubeError> {
        self.change(|state| state.remarks.push(format!("{about}: {text}")));
        Ok(())
    }
}

/// Neither a drain nor maintenance asks anything else.
#[async_trait]
impl KubeApi for Cluster {
    async fn apply(&self, object: &Value) -> Result<Applied, KubeError> {
        panic!("nothing should be applied here, least of all {object}")
    }

    async fn get(&self, object: &ObjectRef) -> Result<Option<Value>, KubeError> {
        Ok(self.seen(|state| match object.kind.as_str() {
            "ReplicaSet" => state.wanted.get(&object.name).map(|wanted| {
                let ready = state.serving(&object.name);
                json!({ "spec": { "replicas": wanted }, "status": { "readyReplicas": ready } })
            }),
            "Lease" => {
                state.leases.get(&object.name).map(|renewed| json!({ "spec": { "renewTime": stamp(*renewed) } }))
            }
            _ => None,
        }))
    }

    async fn patch_node(&self, node: &HostName, _: &NodeMarks) -> Result<Patched, KubeError> {
        panic!("{node} should get no marks")
    }

    async fn ready(&self) -> Result<ApiReadiness, KubeError> {
        Ok(ApiReadiness { control_plane: "cp1".into(), failing: Vec::new() })
    }

    async fn version(&self) -> Result<Version, KubeError> {
        Ok(Version::new(1, 35, 4))
    }

    async fn nodes(&self) -> Result<BTreeMap<HostName, NodeFacts>, KubeError> {
        Ok(BTreeMap::new())
    }

    async fn delete(&self, object: &ObjectRef) -> Result<bool, KubeError> {
        panic!("{object} should not be deleted here")
    }

    async fn wait_until(&self, condition: &Condition, within: Duration, progress: Lines<'_>) -> Result<(), KubeError> {
        let mut changes = self.changes.subscribe();
        let waiting = async {
            while let Verdict::Waiting(why) = condition.judge(&self.observed()) {
                progress(&why);
                changes.changed().await.unwrap();
            }
        };
        let late = |_| KubeError::new(Fault::Deadline, format!("wait for {}", condition.wants()), "still missing");
        tokio::time::timeout(within, waiting).await.map_err(late)
    }
}
