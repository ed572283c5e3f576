//! What is in the cluster, and the rules by which its API server and its controllers go.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use kubewright_core::drain::{Budget, Name, Node, Outcome, Phase, Pod, Readiness};
use kubewright_core::health::AttachmentState;

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
    pub(super) version: u64,
    serial: usize,
}

pub fn shop(name: &str) -> Name {
    Name::new("shop", name)
}

impl State {
    /// Pods of an application that serve and stay.
    pub fn serving(&self, app: &str) -> u32 {
        let of = self.pods.values().filter(|pod| pod.labels["app"] == app);
        u32::try_from(of.filter(|pod| pod.is_ready() && pod.deletion.is_none()).count()).unwrap()
    }

    pub(super) fn start(&mut self, app: &str, node: &str, ready: bool) -> Name {
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
    pub(super) fn control(&mut self) {
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
    pub(super) fn judge(&self, name: &Name, uid: &str) -> Outcome {
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
