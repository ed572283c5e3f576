//! A control plane's programs on this machine's loopback, as tests and measurements run them, from a folder that is laid
//! out as `/etc/kubernetes` of a host. Each ends when it is dropped.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cache::Cache;
use crate::command::{Background, last_lines};

/// How much of a log [`tail`] tells: a cause and what led to it.
const TAIL: usize = 15;

/// The programs that the lab builds.
#[derive(Clone, Debug)]
pub struct Programs {
    servers: PathBuf,
    etcd: PathBuf,
    /// The real kubectl.
    pub kubectl: PathBuf,
}

impl Programs {
    /// Those of the newest builds; `None` where one was never built.
    pub fn find(cache: &Cache) -> Option<Self> {
        let (servers, etcd) = cache.newest_build("kubernetes-", "servers").zip(cache.newest_build("etcd-", "etcd"))?;
        Some(Self { kubectl: servers.with_file_name("kubectl"), servers, etcd })
    }

    /// Starts an etcd without TLS below the folder; returned with its address for clients.
    ///
    /// # Errors
    /// No port is free, or it cannot be started.
    pub fn etcd(&self, folder: &Path) -> Result<(Background, String)> {
        let url = || anyhow::Ok(format!("http://{}:{}", Ipv4Addr::LOCALHOST, free_port(Ipv4Addr::LOCALHOST)?));
        let (client, peer) = (url()?, url()?);
        let data = folder.join("etcd");
        let arguments = flags(&[
            ("data-dir", &data.to_string_lossy()),
            ("listen-client-urls", &client),
            ("advertise-client-urls", &client),
            ("listen-peer-urls", &peer),
            // Nothing here has to survive the machine.
            ("unsafe-no-fsync", "true"),
        ]);
        Ok((Background::start(&self.etcd, arguments, &folder.join("etcd.log"))?, client))
    }

    /// Starts an API server with the certificates below `kubernetes/pki` and these flags besides.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn api_server(
        &self,
        kubernetes: &Path,
        address: SocketAddr,
        etcd: &str,
        more: &[(&str, &str)],
        log: &Path,
    ) -> Result<Background> {
        let file = |name: &str| kubernetes.join("pki").join(name).to_string_lossy().into_owned();
        let mut arguments = flags(&[
            ("etcd-servers", etcd),
            ("bind-address", &address.ip().to_string()),
            ("secure-port", &address.port().to_string()),
            // Loopback addresses may not stand in Endpoints; nobody here uses the Service `kubernetes`.
            ("endpoint-reconciler-type", "none"),
            ("tls-cert-file", &file("apiserver.crt")),
            ("tls-private-key-file", &file("apiserver.key")),
            ("client-ca-file", &file("ca.crt")),
            ("service-account-key-file", &file("sa.pub")),
            ("service-account-signing-key-file", &file("sa.key")),
            ("service-account-issuer", "https://kubernetes.default.svc.cluster.local"),
            ("service-cluster-ip-range", "10.96.0.0/12"),
            ("authorization-mode", "Node,RBAC"),
            ("allow-privileged", "true"),
        ]);
        arguments.extend(flags(more));
        Background::start(&self.named("kube-apiserver", kubernetes)?, arguments, log)
    }

    /// Starts a controller manager and a scheduler with the kubeconfigs of that folder and these flags besides; their
    /// logs stand in `logs` under their names.
    ///
    /// # Errors
    /// No port is free, or one cannot be started.
    pub fn controllers(&self, kubernetes: &Path, more: &[(&str, &str)], logs: &Path) -> Result<[Background; 2]> {
        let key = kubernetes.join("pki/sa.key");
        let key = key.to_string_lossy();
        let start = |name: &str, own: &[(&str, &str)]| {
            let program = format!("kube-{name}");
            let kubeconfig = kubernetes.join(format!("{name}.conf"));
            let port = free_port(Ipv4Addr::LOCALHOST)?.to_string();
            let mut arguments = flags(&[
                ("kubeconfig", &kubeconfig.to_string_lossy()),
                ("secure-port", &port),
                ("bind-address", "127.0.0.1"),
                ("leader-elect", "false"),
            ]);
            arguments.extend(flags(own));
            arguments.extend(flags(more));
            Background::start(&self.named(&program, kubernetes)?, arguments, &logs.join(format!("{program}.log")))
        };
        let manager = [
            // Each controller acts with the rights of its own service account, as in kubeadm's clusters.
            ("use-service-account-credentials", "true"),
            ("service-account-private-key-file", key.as_ref()),
            // Nobody renews our nodes' leases.
            ("node-monitor-grace-period", "1h"),
        ];
        Ok([start("controller-manager", &manager)?, start("scheduler", &[])?])
    }

    /// One program does the work of all servers, by the name that it is called by.
    fn named(&self, name: &str, folder: &Path) -> Result<PathBuf> {
        let link = folder.join(name);
        if !link.exists() {
            symlink(&self.servers, &link).with_context(|| format!("cannot make {}", link.display()))?;
        }
        Ok(link)
    }
}

/// A port that nobody listens on.
///
/// # Errors
/// The kernel has none.
pub fn free_port(address: Ipv4Addr) -> Result<u16> {
    Ok(TcpListener::bind((address, 0)).context("no port is free")?.local_addr()?.port())
}

/// The end of what a program wrote.
pub fn tail(log: &Path) -> String {
    last_lines(&fs::read_to_string(log).unwrap_or_default(), TAIL)
}

fn flags(flags: &[(&str, &str)]) -> Vec<String> {
    flags.iter().map(|(name, value)| format!("--{name}={value}")).collect()
}
