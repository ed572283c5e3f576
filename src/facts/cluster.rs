//! Asks a cluster that stands about its nodes and etcd's members, through SSH and whichever control plane answers.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kubewright_core::facts::etcd::EtcdFacts;
use kubewright_core::facts::{ClusterFacts, Fact, Facts};
use kubewright_core::ids::HostName;
use kubewright_core::spec::{Role, Spec};
use secrecy::ExposeSecret;

use crate::etcd::EtcdCluster;
use crate::host::authority;
use crate::kube::{ClusterApi, Credentials};
use crate::ports::{Clock, EtcdApi, Hosts, KubeApi};

/// Planning waits no longer than this for an API server: where none answers, that is a fact. Long enough for one
/// that changes its leader or sheds load for a moment.
const PATIENCE: Duration = Duration::from_secs(8);

/// The cluster's own word; absent where no control plane of the spec is a finished part of it.
pub async fn gather_cluster(spec: &Spec, hosts: Arc<dyn Hosts>, facts: &Facts) -> Fact<ClusterFacts> {
    let control_planes = standing(spec, facts);
    if control_planes.is_empty() {
        return Fact::Absent;
    }
    match ask(spec, hosts, &control_planes).await {
        Ok(value) => Fact::Known { value, at: Timestamp::now() },
        Err(why) => Fact::unreadable(why),
    }
}

/// What etcd's members say; absent as above.
pub async fn gather_etcd(spec: &Spec, hosts: Arc<dyn Hosts>, facts: &Facts, clock: Arc<dyn Clock>) -> Fact<EtcdFacts> {
    let control_planes = standing(spec, facts);
    if control_planes.is_empty() {
        return Fact::Absent;
    }
    let at = clock.now();
    let observed = match EtcdCluster::over_ssh(spec, hosts, &control_planes, clock).await {
        Ok(etcd) => etcd.observe().await,
        Err(error) => Err(error),
    };
    match observed {
        Ok(value) => Fact::Known { value, at },
        Err(error) => Fact::unreadable(error.to_string()),
    }
}

/// Whether a host of the spec with role etcd is no member yet.
pub fn awaits_member(spec: &Spec, facts: &Facts) -> bool {
    let control_planes = standing(spec, facts);
    spec.with_role(Role::Etcd).any(|host| !control_planes.contains(&host.name))
}

/// The control planes that are a finished part of the spec's cluster.
fn standing(spec: &Spec, facts: &Facts) -> Vec<HostName> {
    facts.control_planes(spec).into_iter().map(|host| host.name.clone()).collect()
}

async fn ask(spec: &Spec, hosts: Arc<dyn Hosts>, control_planes: &[HostName]) -> Result<ClusterFacts, String> {
    let found =
        authority::admin_conf(hosts.as_ref(), &spec.name, control_planes).await.map_err(|error| error.to_string())?;
    let admin = found.ok_or_else(|| format!("no control plane has {}", authority::ADMIN_CONF))?;
    let credentials = Credentials::from_kubeconfig(admin.expose_secret()).map_err(|error| error.to_string())?;
    let api = ClusterApi::over_ssh(spec, hosts, &credentials).map_err(|error| error.to_string())?;
    let api = api.patience(PATIENCE);
    let (nodes, running) = tokio::join!(api.nodes(), api.running());
    let running = match running {
        Ok(value) => Fact::Known { value, at: Timestamp::now() },
        Err(error) => Fact::unreadable(error.to_string()),
    };
    Ok(ClusterFacts { nodes: nodes.map_err(|error| error.to_string())?, running })
}
