//! What happens through the API: objects applied, nodes marked, promises proved.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use kubewright_core::health::Condition;
use kubewright_core::ids::HostName;
use kubewright_core::plan::{ObjectGroup, Step, Target};
use kubewright_core::spec::{CniName, Role, Spec};
use kubewright_manifests::{cluster_objects, endpoint};

use super::hands::Hands;
use super::{Failure, Telling};
use crate::kube::{ClusterApi, Credentials, Way, apply_all};
use crate::ports::{Hosts, KubeApi, KubeError, NodeMarks};

impl From<KubeError> for Failure {
    fn from(error: KubeError) -> Self {
        Self { text: error.to_string(), hint: error.hint().map(str::to_owned), fenced: false }
    }
}

/// The API of a cluster, through SSH and any of its control planes.
///
/// # Errors
/// [`KubeError`] for credentials that are none; nothing is contacted yet.
pub fn api(spec: &Spec, hosts: Arc<dyn Hosts>, credentials: &Credentials) -> Result<ClusterApi, KubeError> {
    let port = endpoint::api_port(spec);
    let local = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let control_planes: Vec<(HostName, SocketAddr)> =
        spec.with_role(Role::ControlPlane).map(|host| (host.name.clone(), local)).collect();
    ClusterApi::connect(Way::Ssh(hosts), &control_planes, credentials)
}

async fn connected(hands: &Hands) -> Result<&dyn KubeApi, Failure> {
    let api = hands
        .api
        .get_or_try_init(|| async {
            let credentials = Credentials::from_kubeconfig(hands.keys().await?.super_admin()?)
                .map_err(|error| Failure::new(error.to_string()))?;
            let api: Arc<dyn KubeApi> = Arc::new(api(&hands.plan.spec, hands.hosts.clone(), &credentials)?);
            Ok::<_, Failure>(api)
        })
        .await?;
    Ok(api.as_ref())
}

/// Applies one group of objects.
///
/// # Errors
/// [`Failure`]; what was applied stays and is found so by the next try.
pub async fn apply(hands: &Hands, group: ObjectGroup, telling: Telling<'_>) -> Result<(), Failure> {
    let spec = &hands.plan.spec;
    let api = connected(hands).await?;
    let objects = match group {
        ObjectGroup::Rbac => cluster_objects::rbac(),
        ObjectGroup::Configuration => cluster_objects::configuration(spec, hands.keys().await?.authority()?),
        ObjectGroup::KubeProxy => cluster_objects::kube_proxy(spec),
        ObjectGroup::CoreDns => cluster_objects::core_dns(spec),
        ObjectGroup::Network => match spec.network.cni.name {
            CniName::Flannel => cluster_objects::flannel(spec),
            CniName::None => Vec::new(),
        },
    };
    let applied = apply_all(api, &objects).await?;
    telling(&format!(
        "{} objects applied, {} of them new",
        applied.len(),
        applied.iter().filter(|one| one.created).count()
    ));
    Ok(())
}

/// Gives a node its labels, taints and annotations, once it is there.
///
/// # Errors
/// [`Failure`].
pub async fn mark(hands: &Hands, step: &Step, telling: Telling<'_>) -> Result<(), Failure> {
    let Target::Host(node) = &step.target else { return Err(Failure::new(format!("{} names no node", step.id))) };
    let spec = &hands.plan.spec;
    let host = spec.host(node).ok_or_else(|| Failure::new(format!("{node} is not in the spec")))?;
    let api = connected(hands).await?;
    let exists = Condition::NodeExists { node: node.clone() };
    api.wait_until(&exists, within(step), telling).await?;
    let marks = cluster_objects::node_marks(spec, host);
    let marks = NodeMarks { labels: marks.labels, annotations: BTreeMap::new(), taints: marks.taints };
    api.patch_node(node, &marks).await?;
    Ok(())
}

/// Waits until everything that was promised can be seen.
///
/// # Errors
/// [`Failure`] that says what is missing.
pub async fn prove(hands: &Hands, step: &Step, nodes: &[HostName], telling: Telling<'_>) -> Result<(), Failure> {
    let spec = &hands.plan.spec;
    let api = connected(hands).await?;
    api.wait_until(&promised(spec, nodes), within(step), telling).await?;
    Ok(())
}

/// What a finished cluster shows: control planes Ready, and with a network add-on of ours also nodes and add-ons.
pub fn promised(spec: &Spec, nodes: &[HostName]) -> Condition {
    let control_planes: Vec<HostName> = spec.with_role(Role::ControlPlane).map(|host| host.name.clone()).collect();
    let everywhere = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
    let system = "kube-system".to_owned();
    let mut conditions = vec![
        Condition::control_planes_ready(&control_planes),
        Condition::DaemonSetRolledOut { namespace: system.clone(), name: "kube-proxy".into(), nodes: everywhere },
    ];
    if spec.network.cni.name == CniName::Flannel {
        conditions.push(Condition::DaemonSetRolledOut {
            namespace: "kube-flannel".into(),
            name: "kube-flannel-ds".into(),
            nodes: everywhere,
        });
        conditions.push(Condition::NodesReady { nodes: nodes.to_vec() });
        conditions.push(Condition::DeploymentAvailable { namespace: system, name: "coredns".into() });
    }
    Condition::All { conditions }
}

/// Time for a wait inside a step, a little less than the step's own, so that the wait can say what is missing.
pub fn within(step: &Step) -> Duration {
    const TO_EXPLAIN: u64 = 5;
    Duration::from_secs(u64::from(step.deadline_seconds).saturating_sub(TO_EXPLAIN))
}
