//! A host's own view of its cluster: it is the machine that we run on, and the others are reached through the network that they share,
//! without SSH.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use kubewright_core::ids::HostName;
use kubewright_core::spec::Spec;

use super::local::LocalHost;
use crate::ports::{Host, HostError, Hosts, Lines, Output, Script, Tunnel};

/// The hosts of a spec as one of them sees them.
pub struct Here {
    here: Arc<LocalHost>,
    others: BTreeMap<HostName, Arc<Neighbour>>,
}

impl Here {
    /// The hosts of a spec, where we run on one of them; None where it has none of that name.
    pub fn of(spec: &Spec, here: &HostName) -> Option<Self> {
        spec.host(here)?;
        let neighbour = |name: &HostName, address: IpAddr| {
            (name.clone(), Arc::new(Neighbour { name: name.clone(), address, here: here.clone() }))
        };
        let others = spec.hosts.iter().filter(|host| host.name != *here);
        Some(Self {
            here: Arc::new(LocalHost::new(here.clone(), None)),
            others: others.map(|host| neighbour(&host.name, host.private_address)).collect(),
        })
    }
}

#[async_trait]
impl Hosts for Here {
    async fn host(&self, name: &HostName) -> Result<Arc<dyn Host>, HostError> {
        Ok(match self.others.get(name) {
            Some(neighbour) => neighbour.clone(),
            None => self.here.clone(),
        })
    }
}

/// Another host, whose ports are open to us and whose shell is not.
struct Neighbour {
    name: HostName,
    address: IpAddr,
    here: HostName,
}

#[async_trait]
impl Host for Neighbour {
    fn name(&self) -> &HostName {
        &self.name
    }

    async fn run(&self, _: &Script, _: Lines<'_>) -> Result<Output, HostError> {
        Err(HostError::Connect {
            host: self.name.clone(),
            address: self.address.to_string(),
            reason: format!("{} does not log in to other hosts", self.here),
            hint: None,
        })
    }

    /// What it serves on its own loopback address it serves here on the one that its neighbours know.
    async fn forward(&self, target: SocketAddr) -> Result<Box<dyn Tunnel>, HostError> {
        let address = if target.ip().is_loopback() { self.address } else { target.ip() };
        Ok(Box::new(Direct(SocketAddr::new(address, target.port()))))
    }
}

/// No tunnel is needed.
pub(super) struct Direct(pub SocketAddr);

impl Tunnel for Direct {
    fn local(&self) -> SocketAddr {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use kubewright_core::spec::read;

    use super::*;
    use crate::ports::quiet;

    const SPEC: &str = "apiVersion: kubewright.dev/v1alpha1
kind: Cluster
metadata: {name: lab}
spec:
  kubernetes: {version: 1.35.4}
  hosts:
  - {name: cp1, address: 203.0.113.1, privateAddress: 10.0.0.1, roles: [controlPlane, etcd]}
  - {name: cp2, address: 203.0.113.2, privateAddress: 10.0.0.2, roles: [controlPlane, etcd]}
  - {name: cp3, address: 203.0.113.3, privateAddress: 10.0.0.3, roles: [controlPlane, etcd]}
";

    #[tokio::test]
    async fn neighbours_are_reached_where_they_serve_and_nobody_is_logged_in_to() {
        let spec = read("cluster.yaml", SPEC).spec.unwrap();
        let etcd: SocketAddr = "127.0.0.1:2379".parse().unwrap();
        let hosts = Here::of(&spec, &"cp1".into()).unwrap();
        let way = |name: &'static str| {
            let hosts = &hosts;
            async move { hosts.host(&name.into()).await.unwrap().forward(etcd).await.unwrap().local().to_string() }
        };
        assert_eq!(way("cp1").await, "127.0.0.1:2379");
        assert_eq!(way("cp2").await, "10.0.0.2:2379");
        let script = Script::new("a.sh", "true");
        let refused = hosts.host(&"cp3".into()).await.unwrap().run(&script, &mut quiet()).await.unwrap_err();
        assert!(refused.to_string().contains("cp1 does not log in to other hosts"), "{refused}");
        assert!(Here::of(&spec, &"cp4".into()).is_none());
    }
}
