//! Real etcd members on this machine's loopback, one address each, with kubeadm's certificates of our own making. They end
//! when this is dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use jiff::Timestamp;
use kubewright::etcd::{EtcdCluster, Place};
use kubewright::kube::{Credentials, Way};
use kubewright::ports::SystemClock;
use kubewright_certs::cluster::{Authorities, ClusterPki, Host, Roles};
use kubewright_certs::key::KeyAlgorithm;
use kubewright_certs::profile::{KubernetesVersion, Validity};
use secrecy::{ExposeSecret, SecretString};
use xtask::cache::Cache;
use xtask::command::Background;

/// The etcd that the lab builds, from `${KUBEWRIGHT_CACHE:-~/.cache/kubewright}`; says so where it is not there, and fails
/// where the lab is required.
pub fn program() -> Option<PathBuf> {
    let cache = Cache::open().unwrap();
    let found = cache.newest_build("etcd-", "etcd");
    if found.is_none() {
        let required = std::env::var_os("KUBEWRIGHT_REQUIRE_LAB").is_some_and(|value| value == "1");
        assert!(!required, "no etcd in {}; `make demo` builds it", cache.root().display());
        eprintln!("SKIPPED: no etcd in {}; `make demo` builds it", cache.root().display());
    }
    found
}

/// Hosts that may have a member: `cp1` at 127.0.0.2 and so on, for all of 127/8 is loopback.
const HOSTS: u8 = 4;

/// The members, running or not.
pub struct Members {
    // Before the folder: processes end before their files go.
    running: BTreeMap<u8, Background>,
    program: PathBuf,
    client_port: u16,
    peer_port: u16,
    folder: tempfile::TempDir,
}

impl Members {
    /// Starts `cp1`, `cp2` and `cp3` as a new cluster.
    pub fn start(program: PathBuf) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_pki(folder.path());
        let mut this =
            Self { running: BTreeMap::new(), program, client_port: free_port(), peer_port: free_port(), folder };
        for number in 1..=3 {
            this.launch(number, "new", &[1, 2, 3]);
        }
        this
    }

    /// Starts a member; `initial` are those that it is to find.
    pub fn launch(&mut self, number: u8, state: &str, initial: &[u8]) {
        let home = self.folder.path().join(format!("cp{number}"));
        let pki = home.join("etc/kubernetes/pki/etcd");
        let file = |name: &str| pki.join(name).to_str().unwrap().to_owned();
        let client = format!("https://{}", self.client(number));
        let cluster: Vec<String> = initial.iter().map(|other| format!("cp{other}={}", self.peer_url(*other))).collect();
        let flags = [
            ("name", format!("cp{number}")),
            ("data-dir", home.join("data").to_str().unwrap().to_owned()),
            ("listen-client-urls", client.clone()),
            ("advertise-client-urls", client),
            ("listen-peer-urls", self.peer_url(number)),
            ("initial-advertise-peer-urls", self.peer_url(number)),
            ("initial-cluster", cluster.join(",")),
            ("initial-cluster-state", state.to_owned()),
            ("cert-file", file("server.crt")),
            ("key-file", file("server.key")),
            ("trusted-ca-file", file("ca.crt")),
            ("client-cert-auth", "true".to_owned()),
            ("peer-cert-file", file("peer.crt")),
            ("peer-key-file", file("peer.key")),
            ("peer-trusted-ca-file", file("ca.crt")),
            ("peer-client-cert-auth", "true".to_owned()),
        ];
        let flags = flags.map(|(name, value)| format!("--{name}={value}"));
        let child = Background::start(&self.program, flags, &home.join("log")).unwrap();
        self.running.insert(number, child);
    }

    /// Ends a member at once.
    pub fn kill(&mut self, number: u8) {
        self.running.remove(&number);
    }

    /// Ends a member and loses its disk.
    pub fn lose(&mut self, number: u8) {
        self.kill(number);
        let data = self.folder.path().join(format!("cp{number}/data"));
        if data.exists() {
            fs::remove_dir_all(data).unwrap();
        }
    }

    /// Changes every place on a member's disk that has these bytes, behind its back: it must have ended. Tells how many there were.
    pub fn damage(&mut self, number: u8, from: &[u8], to: &[u8]) -> usize {
        assert!(!self.running.contains_key(&number) && from.len() == to.len());
        let path = self.folder.path().join(format!("cp{number}/data/member/snap/db"));
        let mut bytes = fs::read(&path).unwrap();
        let places: Vec<usize> =
            bytes.windows(from.len()).enumerate().filter(|(_, window)| *window == from).map(|(at, _)| at).collect();
        for at in &places {
            bytes[*at..at + to.len()].copy_from_slice(to);
        }
        fs::write(path, bytes).unwrap();
        places.len()
    }

    /// Where another program of the same etcd is, such as `etcdutl`.
    pub fn beside(&self, program: &str) -> PathBuf {
        self.program.with_file_name(program)
    }

    /// Stops a member in its tracks (`-STOP`), or lets it go on (`-CONT`).
    pub fn signal(&self, number: u8, signal: &str) {
        self.running[&number].signal(signal).unwrap();
    }

    /// Where the others reach a member.
    pub fn peer_url(&self, number: u8) -> String {
        format!("https://{}", SocketAddr::new(address(number).into(), self.peer_port))
    }

    /// The port's implementation, to these hosts, with the client certificate of cp1.
    pub fn cluster(&self, way: &Way, hosts: &[u8]) -> EtcdCluster {
        self.cluster_as(way, hosts, &credentials(self.folder.path()))
    }

    /// The same with other credentials.
    pub fn cluster_as(&self, way: &Way, hosts: &[u8], credentials: &Credentials) -> EtcdCluster {
        let places: Vec<Place> = hosts
            .iter()
            .map(|number| Place {
                host: format!("cp{number}").as_str().into(),
                client: self.client(*number),
                peer: address(*number).into(),
            })
            .collect();
        EtcdCluster::connect(way, &places, credentials, Arc::new(SystemClock)).unwrap()
    }

    /// A client of this member alone, once it answers.
    pub async fn client_of(&self, number: u8) -> Client {
        match connected(self.client_options(number)).await {
            Ok(client) => client,
            Err(error) => panic!("{error}\n{}", self.log(number)),
        }
    }

    /// How a client reaches this member alone.
    pub fn client_options(&self, number: u8) -> (String, ConnectOptions) {
        let Credentials { ca_pem, client_cert_pem, client_key_pem } = credentials(self.folder.path());
        let tls = TlsOptions::new()
            .ca_certificate(Certificate::from_pem(ca_pem))
            .identity(Identity::from_pem(client_cert_pem, client_key_pem.expose_secret()));
        (format!("https://{}", self.client(number)), ConnectOptions::new().with_tls(tls))
    }

    /// The port by which members reach each other.
    pub fn peer_port(&self) -> u16 {
        self.peer_port
    }

    /// The end of what a member wrote.
    pub fn log(&self, number: u8) -> String {
        let text = fs::read_to_string(self.folder.path().join(format!("cp{number}/log"))).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    fn client(&self, number: u8) -> SocketAddr {
        SocketAddr::new(address(number).into(), self.client_port)
    }
}

/// A client, once its member answers; what is in the way after half a minute.
pub async fn connected((url, options): (String, ConnectOptions)) -> Result<Client, etcd_client::Error> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        // Only a read through a majority says that it is ready.
        let error = match Client::connect([&url], Some(options.clone())).await {
            Ok(mut client) => match client.get("ready", None).await {
                Ok(_) => return Ok(client),
                Err(error) => error,
            },
            Err(error) => error,
        };
        if tokio::time::Instant::now() >= deadline {
            return Err(error);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Where a member is.
pub fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, number + 1)
}

/// A port that nobody uses, and that no other test of this process was given: the system may name one twice while nobody listens yet.
fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let port = TcpListener::bind((address(1), 0)).unwrap().local_addr().unwrap().port();
        if GIVEN.lock().unwrap().insert(port) {
            return port;
        }
    }
}

fn credentials(folder: &Path) -> Credentials {
    let read = |file: &str| fs::read_to_string(folder.join("cp1/etc/kubernetes/pki/etcd").join(file)).unwrap();
    Credentials {
        ca_pem: read("ca.crt"),
        client_cert_pem: read("healthcheck-client.crt"),
        client_key_pem: SecretString::from(read("healthcheck-client.key")),
    }
}

/// Another cluster's credentials: same names, other keys.
pub fn foreign_credentials() -> Credentials {
    let folder = tempfile::tempdir().unwrap();
    write_pki(folder.path());
    credentials(folder.path())
}

/// Writes what `kubewright` would put on each host below the folder.
fn write_pki(folder: &Path) {
    let now = Timestamp::now();
    let host = |number: u8| Host {
        name: format!("cp{number}"),
        addresses: vec![address(number).into()],
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
        api_port: 6443,
        extra_api_server_names: Vec::new(),
        extra_etcd_server_names: Vec::new(),
        extra_etcd_peer_names: Vec::new(),
        hosts: (1..=HOSTS).map(host).collect(),
    };
    let authorities = Authorities::create(pki.algorithm, pki.validity, now).unwrap();
    for host in &pki.hosts {
        for file in pki.host_files(&host.name, &authorities).unwrap() {
            let Some(text) = file.expose_text() else { continue };
            let path = folder.join(&host.name).join(file.path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
        }
    }
}
