//! A real etcd, API server, controller manager and scheduler on loopback, with an audit log of who evicts what.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kubewright::kube::{ClusterApi, Credentials, Way, apply_all};
use kubewright::ports::KubeApi;
use kubewright_core::ids::HostName;
use serde_json::json;
use xtask::command::Background;
use xtask::loopback::{Programs, free_port, tail};

use super::audit::POLICY;
use crate::server::host_files;

const HOST: &str = "cp1";
/// An API server on two busy cores was seen to take 10 s.
const STARTS: Duration = Duration::from_secs(60);

/// Requests per second of each controller and of the scheduler: with the defaults of 20 and 50 the rate at which
/// replacements are made would be measured, not who drains.
const CONTROLLERS: [(&str, &str); 2] = [("kube-api-qps", "1000"), ("kube-api-burst", "2000")];

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub enum Identity {
    /// Whoever drains, as kubewright and kubectl do it: `admin.conf`.
    Drainer,
    /// Everybody else here, above every limit: `super-admin.conf`.
    Others,
}

impl Identity {
    fn kubeconfig(self) -> &'static str {
        match self {
            Self::Drainer => "admin.conf",
            Self::Others => "super-admin.conf",
        }
    }
}

/// The servers. They end when it is dropped.
pub struct Cluster {
    // Before the folder: processes end before their files go.
    _processes: Vec<Background>,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Cluster {
    /// Starts them and waits until the API server is ready.
    ///
    /// # Errors
    /// One does not start, or not in time.
    pub async fn start(programs: &Programs) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), free_port(Ipv4Addr::LOCALHOST)?);
        for (path, text) in host_files(HOST, address.port())? {
            let path = folder.path().join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().context("a file without a folder")?)?;
            fs::write(path, text)?;
        }
        let kubernetes = folder.path().join("etc/kubernetes");
        let (audit, policy) = (audit_log(folder.path()), folder.path().join("audit.yaml"));
        fs::write(&policy, POLICY)?;
        fs::write(&audit, "")?;
        let (etcd, etcd_url) = programs.etcd(folder.path())?;
        let (audit, policy) = (audit.to_string_lossy(), policy.to_string_lossy());
        let auditing = [("audit-log-path", audit.as_ref()), ("audit-policy-file", policy.as_ref())];
        let log = folder.path().join("kube-apiserver.log");
        let server = programs.api_server(&kubernetes, address, &etcd_url, &auditing, &log)?;
        let mut this = Self { _processes: vec![etcd, server], address, folder };
        this.wait_ready(&log).await?;
        this._processes.extend(programs.controllers(&kubernetes, &CONTROLLERS, this.folder.path())?);
        let admins = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": { "name": "kubeadm:cluster-admins" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "kubeadm:cluster-admins" }],
        });
        apply_all(&this.api(Identity::Others)?, &[admins]).await?;
        Ok(this)
    }

    async fn wait_ready(&self, log: &Path) -> Result<()> {
        let api = self.api(Identity::Others)?.patience(STARTS);
        api.version().await.with_context(|| format!("the API server does not answer:\n{}", tail(log)))?;
        let deadline = Instant::now() + STARTS;
        while !api.ready().await.is_ok_and(|readiness| readiness.is_ready()) {
            ensure!(Instant::now() < deadline, "the API server is not ready:\n{}", tail(log));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Its API.
    ///
    /// # Errors
    /// The kubeconfig cannot be read.
    pub fn api(&self, identity: Identity) -> Result<ClusterApi> {
        connect(self.address, &self.kubeconfig(identity))
    }

    /// Where the API server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A kubeconfig.
    pub fn kubeconfig(&self, identity: Identity) -> PathBuf {
        self.folder.path().join("etc/kubernetes").join(identity.kubeconfig())
    }

    /// What the API server writes down.
    pub fn audit(&self) -> PathBuf {
        audit_log(self.folder.path())
    }

    /// A folder that goes with it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

fn audit_log(folder: &Path) -> PathBuf {
    folder.join("audit.log")
}

/// The API there, with a kubeconfig's identity.
///
/// # Errors
/// The kubeconfig cannot be read.
pub fn connect(address: SocketAddr, kubeconfig: &Path) -> Result<ClusterApi> {
    let text = fs::read_to_string(kubeconfig).with_context(|| format!("no {}", kubeconfig.display()))?;
    let credentials = Credentials::from_kubeconfig(&text)?;
    Ok(ClusterApi::connect(Way::Direct, &[(HostName::new(HOST), address)], &credentials)?)
}
