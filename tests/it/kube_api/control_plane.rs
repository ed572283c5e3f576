//! A real etcd and real API servers on this machine's loopback, one address per control plane, with certificates of
//! our own making; controller manager and scheduler on request. Everything ends when it is dropped.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use kubewright::kube::{ClusterApi, Credentials, Way};
use kubewright::ports::KubeApi;
use kubewright_certs::cluster::{Authorities, ClusterPki, Host, Roles};
use kubewright_certs::key::KeyAlgorithm;
use kubewright_certs::profile::{KubernetesVersion, Validity};
use kubewright_core::ids::HostName;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use xtask::cache::Cache;
use xtask::command::Background;
use xtask::loopback::{Programs, free_port, tail};

/// The programs that the lab builds. Says so where they are not there, and fails where the lab is required.
pub fn programs() -> Option<Programs> {
    let cache = Cache::open().unwrap();
    let found = Programs::find(&cache);
    if found.is_none() {
        let required = std::env::var_os("KUBEWRIGHT_REQUIRE_LAB").is_some_and(|value| value == "1");
        assert!(!required, "no kube-apiserver and etcd in {}; `make demo` builds them", cache.root().display());
        eprintln!("SKIPPED: no kube-apiserver and etcd in {}; `make demo` builds them", cache.root().display());
    }
    found
}

/// One control plane: its API server, running or not.
struct Member {
    host: HostName,
    address: SocketAddr,
    process: Option<Background>,
    /// Its own way to etcd, as if it had a member of its own.
    etcd: Wire,
}

/// Carries connections from one address to another until it is cut.
struct Wire {
    near: SocketAddr,
    carrier: JoinHandle<()>,
}

impl Wire {
    async fn to(far: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let near = listener.local_addr().unwrap();
        let carrier = tokio::spawn(async move {
            // Ends with the task, and every connection with it.
            let mut connections = JoinSet::new();
            while let Ok((mut from, _)) = listener.accept().await {
                connections.spawn(async move {
                    let mut to = TcpStream::connect(far).await?;
                    copy_bidirectional(&mut from, &mut to).await
                });
            }
        });
        Self { near, carrier }
    }
}

/// The whole of it.
pub struct ControlPlane {
    // Before the folder: processes end before their files go.
    members: Vec<Member>,
    others: Vec<Background>,
    programs: Programs,
    pub authority: String,
    folder: tempfile::TempDir,
}

/// An API that goes and that nobody serves unasked, so that there is one to find in use.
const SERVES: [(&str, &str); 1] = [("runtime-config", "resource.k8s.io/v1beta1=true")];

/// Addresses of the control planes: all of 127/8 is loopback.
const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)];

impl ControlPlane {
    /// Starts etcd and the API servers of cp1 and cp2, and waits until both are ready.
    pub async fn start(programs: &Programs) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port(ADDRESSES[0]).unwrap();
        let authority = write_pki(folder.path(), port);
        let (etcd, etcd_url) = programs.etcd(folder.path()).unwrap();
        let etcd_address: SocketAddr = etcd_url.trim_start_matches("http://").parse().unwrap();
        let mut members = Vec::new();
        for (index, address) in ADDRESSES.iter().enumerate() {
            members.push(Member {
                host: HostName::new(format!("cp{}", index + 1)),
                address: SocketAddr::new((*address).into(), port),
                process: None,
                etcd: Wire::to(etcd_address).await,
            });
        }
        let mut this = Self { members, others: vec![etcd], programs: programs.clone(), authority, folder };
        this.start_member("cp1").await;
        this.start_member("cp2").await;
        this
    }

    /// Starts a control plane's API server and waits until it is ready.
    pub async fn start_member(&mut self, host: &str) {
        let kubernetes = self.folder.path().join(host).join("etc/kubernetes");
        let log = self.folder.path().join(format!("{host}.log"));
        let programs = self.programs.clone();
        let member = self.member(host);
        let etcd_url = format!("http://{}", member.etcd.near);
        member.process = Some(programs.api_server(&kubernetes, member.address, &etcd_url, &SERVES, &log).unwrap());
        let name = HostName::new(host);
        let api = self.api(Way::Direct, "super-admin.conf").only(&name).unwrap().patience(Duration::from_secs(60));
        // A refused connection is tried again by `version`; whether it is *ready* only asking again tells.
        api.version().await.unwrap_or_else(|error| panic!("{error}\n{}", tail(&log)));
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        while !api.ready().await.is_ok_and(|readiness| readiness.is_ready()) {
            assert!(tokio::time::Instant::now() < deadline, "{host} is not ready\n{}", tail(&log));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Ends a control plane's API server at once, as a lost machine would.
    pub fn kill(&mut self, host: &str) {
        self.member(host).process = None;
    }

    /// Stops a control plane's API server in its tracks: connections stay open and nothing answers.
    pub fn freeze(&mut self, host: &str) {
        self.member(host).process.as_ref().unwrap().freeze().unwrap();
    }

    /// Lets it go on.
    pub fn thaw(&mut self, host: &str) {
        self.member(host).process.as_ref().unwrap().signal("-CONT").unwrap();
    }

    /// Cuts a control plane's API server off from etcd: it runs on and has nothing to answer from.
    pub fn cut_from_etcd(&mut self, host: &str) {
        self.member(host).etcd.carrier.abort();
    }

    /// Stops controller manager and scheduler in their tracks.
    pub fn freeze_controllers(&self) {
        self.controllers().for_each(|process| process.freeze().unwrap());
    }

    /// Lets them go on.
    pub fn thaw_controllers(&self) {
        self.controllers().for_each(|process| process.signal("-CONT").unwrap());
    }

    /// All but etcd, which is the first of them.
    fn controllers(&self) -> impl Iterator<Item = &Background> {
        self.others.iter().skip(1)
    }

    /// Starts controller manager and scheduler against cp2.
    pub fn start_controllers(&mut self) {
        self.start_controllers_with(&[]);
    }

    /// The same with further flags for both.
    pub fn start_controllers_with(&mut self, more: &[(&str, &str)]) {
        let kubernetes = self.folder.path().join("cp2/etc/kubernetes");
        self.others.extend(self.programs.controllers(&kubernetes, more, self.folder.path()).unwrap());
    }

    /// The end of what a process wrote: `cp1`, `etcd`, `kube-scheduler`.
    pub fn log(&self, of: &str) -> String {
        tail(&self.folder.path().join(format!("{of}.log")))
    }

    /// The API with the identity in a kubeconfig of cp1.
    pub fn api(&self, way: Way, kubeconfig: &str) -> ClusterApi {
        ClusterApi::connect(way, &self.addresses(), &self.credentials(kubeconfig)).unwrap()
    }

    /// Each control plane with its address.
    pub fn addresses(&self) -> Vec<(HostName, SocketAddr)> {
        self.members.iter().map(|member| (member.host.clone(), member.address)).collect()
    }

    /// The identity in a kubeconfig of cp1.
    pub fn credentials(&self, kubeconfig: &str) -> Credentials {
        Credentials::from_kubeconfig(&self.kubeconfig(kubeconfig)).unwrap()
    }

    /// The text of a kubeconfig of cp1.
    pub fn kubeconfig(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join("cp1/etc/kubernetes").join(name)).unwrap()
    }

    fn member(&mut self, host: &str) -> &mut Member {
        self.members.iter_mut().find(|member| member.host.as_str() == host).unwrap()
    }
}

/// Writes what `kubewright` would put on cp1 and cp2 below the folder; returns the cluster's authority.
fn write_pki(folder: &Path, api_port: u16) -> String {
    let now = Timestamp::now();
    let host = |index: usize| Host {
        name: format!("cp{}", index + 1),
        addresses: vec![ADDRESSES[index].into()],
        dns_names: Vec::new(),
        roles: Roles::STACKED,
        kubelet_api_server: None,
    };
    let pki = ClusterPki {
        cluster_name: "lab".to_owned(),
        version: KubernetesVersion::new(35, 4),
        algorithm: KeyAlgorithm::EcdsaP256,
        validity: Validity::default(),
        now,
        service_domain: "cluster.local".to_owned(),
        service_addresses: vec!["10.96.0.1".parse().unwrap()],
        control_plane_endpoint: None,
        api_port,
        extra_api_server_names: Vec::new(),
        extra_etcd_server_names: Vec::new(),
        extra_etcd_peer_names: Vec::new(),
        hosts: vec![host(0), host(1)],
    };
    let authorities = Authorities::create(pki.algorithm, pki.validity, now).unwrap();
    let mut authority = String::new();
    for host in &pki.hosts {
        for file in pki.host_files(&host.name, &authorities).unwrap() {
            let Some(text) = file.expose_text() else { continue };
            let path = folder.join(&host.name).join(file.path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            if file.path.ends_with("/pki/ca.crt") {
                text.clone_into(&mut authority);
            }
        }
    }
    authority
}
