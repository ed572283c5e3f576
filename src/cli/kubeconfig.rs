//! `kubewright kubeconfig`: the administrator's way into the cluster.

use std::sync::Arc;

use camino::Utf8PathBuf;
use kubewright_core::ids::HostName;
use kubewright_core::spec::{EndpointMode, Role, Spec};
use kubewright_manifests::endpoint;
use secrecy::{ExposeSecret, SecretString};

use super::options::OfSpec;
use super::world::World;
use crate::error::{Error, ExitCode};
use crate::host::authority;
use crate::kube::kubeconfig::{Existing, KubeconfigError, Operator};
use crate::kube::{ClusterApi, Credentials};
use crate::ports::Hosts;
use crate::report;

/// Write the administrator's kubeconfig, fetched from a control plane
#[derive(Debug, clap::Args)]
pub struct Kubeconfig {
    #[command(flatten)]
    of: OfSpec,
    /// Write here (mode 0600) instead of to standard output
    #[arg(long, short = 'o', value_name = "FILE")]
    out: Option<Utf8PathBuf>,
    /// Keep what other clusters have in the file
    #[arg(long, requires = "out")]
    merge: bool,
}

impl Kubeconfig {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        let (spec, hosts) = self.of.open(world)?;
        let admin = admin_conf(&spec, hosts.as_ref()).await?;
        let ways = ways(&spec);
        let operator = Operator {
            cluster: &spec.name,
            control_planes: &ways,
            endpoint: (spec.endpoint.mode != EndpointMode::NodeLocal).then(|| endpoint::outside(&spec)),
        };
        match self.out {
            None => report::print(operator.render(admin.expose_secret())?.expose_secret())?,
            Some(path) => {
                let existing = if self.merge { Existing::Merge } else { Existing::Replace };
                operator.write(admin.expose_secret(), &path, existing)?;
                report::note(&format!("wrote {path}\ntry:  kubectl --kubeconfig {path} get nodes"));
            }
        }
        Ok(ExitCode::Done)
    }
}

impl From<KubeconfigError> for Error {
    fn from(error: KubeconfigError) -> Self {
        Self::failed(error.to_string())
    }
}

/// `host:port` of every API server as seen from the operator: where ssh goes, the API is taken to be as well.
fn ways(spec: &Spec) -> Vec<(HostName, String)> {
    let port = spec.api_port();
    spec.with_role(Role::ControlPlane)
        .map(|host| {
            let address = match host.address.parse::<std::net::Ipv6Addr>() {
                Ok(address) => format!("[{address}]:{port}"),
                Err(_) => format!("{}:{port}", host.address),
            };
            (host.name.clone(), address)
        })
        .collect()
}

/// The cluster's API, with the administrator's credentials.
pub(super) async fn admin_api(spec: &Spec, hosts: &Arc<dyn Hosts>) -> Result<ClusterApi, Error> {
    let admin = admin_conf(spec, hosts.as_ref()).await?;
    let credentials = Credentials::from_kubeconfig(admin.expose_secret())?;
    Ok(ClusterApi::over_ssh(spec, hosts.clone(), &credentials)?)
}

/// admin.conf from the first control plane that has it.
async fn admin_conf(spec: &Spec, hosts: &dyn Hosts) -> Result<SecretString, Error> {
    let control_planes: Vec<HostName> = spec.with_role(Role::ControlPlane).map(|host| host.name.clone()).collect();
    authority::admin_conf(hosts, &spec.name, &control_planes).await?.ok_or_else(|| {
        let text =
            format!("no control plane of {} has {}: the cluster is not built yet", spec.name, authority::ADMIN_CONF);
        Error::failed(text).next("kubewright apply -f cluster.yaml")
    })
}
