//! Real etcds with kubeadm's certificates, each at a loopback address of its own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use kubewright::etcd::{EtcdCluster, Place};
use kubewright::kube::{Credentials, Way};
use kubewright::ports::SystemClock;
use kubewright_core::ids::HostName;
use secrecy::{ExposeSecret, SecretString};
use xtask::command::Background;
use xtask::loopback::free_port;

use crate::server::{cluster_files, connect, program};

/// Room for what is measured, and for what a defragmentation writes beside it.
const QUOTA: u64 = 8_000_000_000;

/// One member: what is in its folder, and its process where this one has started it.
pub struct Member {
    folder: PathBuf,
    client: SocketAddr,
    _running: Option<Background>,
}

/// Starts a new cluster of so many members, in folders below this one, with these flags beside the usual ones.
///
/// # Errors
/// There is no etcd, or it cannot be started.
pub fn start(home: &Path, count: u8, more: &[&str]) -> Result<Vec<Member>> {
    let hosts: Vec<(String, Ipv4Addr)> =
        (1..=count).map(|number| (format!("cp{number}"), Ipv4Addr::new(127, 0, 0, number))).collect();
    let ports = |(_, address): &(String, Ipv4Addr)| Ok([free_port(*address)?, free_port(*address)?]);
    let ports: Vec<[u16; 2]> = hosts.iter().map(ports).collect::<Result<_>>()?;
    let peer = |((_, address), [_, port]): (&(String, Ipv4Addr), &[u16; 2])| format!("http://{address}:{port}");
    let peers: Vec<String> = hosts.iter().zip(&ports).map(peer).collect();
    let cluster: Vec<String> = hosts.iter().zip(&peers).map(|((name, _), peer)| format!("{name}={peer}")).collect();
    let cluster = cluster.join(",");
    let files = cluster_files(&hosts, 6443)?;
    let members = hosts.iter().zip(files).zip(ports.iter().zip(&peers));
    let start = |(((name, address), files), ([port, _], peer)): ((&(String, Ipv4Addr), _), (&[u16; 2], &String))| {
        let folder = home.join(name);
        write_pki(&folder, files)?;
        let client = SocketAddr::from((*address, *port));
        fs::write(folder.join("client"), client.to_string())?;
        let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
        let flags = [
            ("name", name.clone()),
            ("data-dir", file("data")),
            ("listen-client-urls", format!("https://{client}")),
            ("advertise-client-urls", format!("https://{client}")),
            ("listen-peer-urls", peer.clone()),
            ("initial-advertise-peer-urls", peer.clone()),
            ("initial-cluster", cluster.clone()),
            ("cert-file", file("server.crt")),
            ("key-file", file("server.key")),
            ("trusted-ca-file", file("ca.crt")),
            ("client-cert-auth", "true".to_owned()),
            ("quota-backend-bytes", QUOTA.to_string()),
        ];
        let flags = flags.map(|(name, value)| format!("--{name}={value}"));
        let flags = flags.into_iter().chain(more.iter().map(|flag| (*flag).to_owned()));
        let running = Background::start(&program("etcd")?, flags, &folder.join("log"))?;
        Ok(Member { folder, client, _running: Some(running) })
    };
    members.map(start).collect()
}

/// The port's implementation over members, as kubewright uses it, without SSH.
///
/// # Errors
/// There are no credentials.
pub fn cluster(members: &[Member]) -> Result<EtcdCluster> {
    let first = members.first().context("no member")?;
    let places: Vec<Place> = members
        .iter()
        .map(|member| Place { host: member.host(), client: member.client, peer: member.client.ip() })
        .collect();
    Ok(EtcdCluster::connect(&Way::Direct, &places, &first.credentials()?, Arc::new(SystemClock))?)
}

impl Member {
    /// The member of that folder, which another process has started.
    ///
    /// # Errors
    /// There is none.
    pub fn open(folder: &Path) -> Result<Self> {
        let client = fs::read_to_string(folder.join("client"))?.parse()?;
        Ok(Self { folder: folder.to_owned(), client, _running: None })
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its host.
    pub fn host(&self) -> HostName {
        HostName::new(self.folder.file_name().unwrap_or_default().to_string_lossy())
    }

    /// `https://127.0.0.1:2379`.
    pub fn url(&self) -> String {
        format!("https://{}", self.client)
    }

    /// A client of it alone, once it answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn client(&self) -> Result<Client> {
        let credentials = self.credentials()?;
        let tls = TlsOptions::new()
            .ca_certificate(Certificate::from_pem(credentials.ca_pem))
            .identity(Identity::from_pem(credentials.client_cert_pem, credentials.client_key_pem.expose_secret()));
        connect(&self.url(), Some(ConnectOptions::new().with_tls(tls))).await
    }

    fn credentials(&self) -> Result<Credentials> {
        let read = |name: &str| fs::read_to_string(self.folder.join(name)).with_context(|| format!("no {name}"));
        Ok(Credentials {
            ca_pem: read("ca.crt")?,
            client_cert_pem: read("healthcheck-client.crt")?,
            client_key_pem: SecretString::from(read("healthcheck-client.key")?),
        })
    }
}

/// What kubewright would put on the host, its etcd's part, in one folder.
fn write_pki(folder: &Path, files: Vec<(String, String)>) -> Result<()> {
    fs::create_dir_all(folder)?;
    for (path, text) in files {
        if let Some(name) = path.strip_prefix("/etc/kubernetes/pki/etcd/") {
            fs::write(folder.join(name), text)?;
        }
    }
    Ok(())
}
