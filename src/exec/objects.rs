//! What happens through the API: objects applied, nodes marked, promises proved.

use std::sync::Arc;
use std::time::Duration;

use kubewright_core::health::Condition;
use kubewright_core::ids::HostName;
use kubewright_core::intent::Intent;
use kubewright_core::plan::{ObjectGroup, Step};
use kubewright_core::spec::{CniName, Role, Spec};
use kubewright_manifests::cluster_objects;
use secrecy::{ExposeSecret, SecretString};

use super::hands::Hands;
use super::{Failure, Telling};
use crate::host::authority;
use crate::kube::{ClusterApi, Credentials, apply_all};
use crate::ports::{KubeApi, KubeError, ObjectRef};

impl From<KubeError> for Failure {
    fn from(error: KubeError) -> Self {
        Self { hint: error.hint().map(str::to_owned), ..Self::new(error.to_string()) }
    }
}

/// The API, as the administrator.
///
/// # Errors
/// [`Failure`] where no credentials can be had.
pub async fn connected(hands: &Hands) -> Result<&dyn KubeApi, Failure> {
    let api = hands
        .api
        .get_or_try_init(|| async {
            let credentials = match hands.plan.intent {
                Intent::Bootstrap => Credentials::from_kubeconfig(hands.keys().await?.super_admin()?),
                _ => Credentials::from_kubeconfig(admin(hands).await?.expose_secret()),
            };
            let credentials = credentials.map_err(|error| Failure::new(error.to_string()))?;
            let api: Arc<dyn KubeApi> =
                Arc::new(ClusterApi::over_ssh(&hands.plan.spec, hands.hosts.clone(), &credentials)?);
            Ok::<_, Failure>(api)
        })
        .await?;
    Ok(api.as_ref())
}

/// The administrator's kubeconfig of a cluster that stands.
async fn admin(hands: &Hands) -> Result<SecretString, Failure> {
    let found = authority::admin_conf(hands.hosts.as_ref(), &hands.plan.spec.name, &hands.plan.keepers).await?;
    found.ok_or_else(|| Failure::new(format!("no control plane has {}", authority::ADMIN_CONF)))
}

/// The certificate of the cluster's authority.
async fn authority_certificate(hands: &Hands) -> Result<String, Failure> {
    if hands.plan.intent == Intent::Bootstrap {
        return Ok(hands.keys().await?.authority()?.to_owned());
    }
    let found = authority::certificate(hands.hosts.as_ref(), &hands.plan.spec.name, &hands.plan.keepers).await?;
    let found = found.ok_or_else(|| Failure::new("no control plane has the certificate of the cluster's authority"))?;
    Ok(found.expose_secret().to_owned())
}

/// Applies one group of objects.
///
/// # Errors
/// [`Failure`]; what was applied stays and is found so by the next try.
pub async fn apply(hands: &Hands, group: ObjectGroup, telling: Telling<'_>) -> Result<(), Failure> {
    let spec = &hands.plan.remaining();
    let api = connected(hands).await?;
    let objects = match group {
        ObjectGroup::Rbac => cluster_objects::rbac(),
        // All that whoever joins with kubeadm needs.
        ObjectGroup::Configuration => {
            let configuration = cluster_objects::configuration(spec, &authority_certificate(hands).await?);
            [configuration, cluster_objects::api_proxy(spec)].concat()
        }
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
    let node = hands.target(step)?;
    let spec = &hands.plan.spec;
    let host = spec.host(node).ok_or_else(|| Failure::new(format!("{node} is not in the spec")))?;
    let api = connected(hands).await?;
    let exists = Condition::NodeExists { node: node.clone() };
    api.wait_until(&exists, within(step), telling).await?;
    api.patch_node(node, &cluster_objects::node_marks(spec, host)).await?;
    Ok(())
}

/// Waits until everything that was promised can be seen.
///
/// # Errors
/// [`Failure`] that says what is missing.
pub async fn prove(
    hands: &Hands,
    step: &Step,
    nodes: &[HostName],
    add_ons: bool,
    telling: Telling<'_>,
) -> Result<(), Failure> {
    let spec = &hands.plan.spec;
    let api = connected(hands).await?;
    let condition = if add_ons { promised(spec, nodes) } else { ready(spec, nodes) };
    api.wait_until(&condition, within(step), telling).await?;
    Ok(())
}

/// Deletes the object of a node that is no more.
///
/// # Errors
/// [`Failure`].
pub async fn delete_node(hands: &Hands, step: &Step, telling: Telling<'_>) -> Result<(), Failure> {
    let node = hands.target(step)?;
    let there = connected(hands).await?.delete(&ObjectRef::cluster_wide("v1", "Node", node.as_str())).await?;
    telling(if there { "deleted" } else { "was gone already" });
    Ok(())
}

/// What these nodes of a cluster that stands show: control planes Ready, and with a network add-on of ours the nodes.
fn ready(spec: &Spec, nodes: &[HostName]) -> Condition {
    let is_control_plane = |node: &&HostName| spec.host(node).is_some_and(|host| host.is(Role::ControlPlane));
    let control_planes: Vec<HostName> = nodes.iter().filter(is_control_plane).cloned().collect();
    let mut conditions = vec![Condition::control_planes_ready(&control_planes)];
    if spec.network.cni.name == CniName::Flannel {
        conditions.push(Condition::NodesReady { nodes: nodes.to_vec() });
    }
    Condition::All { conditions }
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
