//! What `kubewright etcd snapshot` takes beside `etcdctl snapshot save`, of the same etcd, both over TLS and without SSH. Ours recomputes the
//! digest, reads every page and asks the members whether they hold the same; etcdctl writes what comes.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use kubewright::backup::companions::Companions;
use kubewright::backup::{Order, take};
use kubewright::etcd::{EtcdCluster, Place};
use kubewright::kube::{Credentials, Way};
use kubewright::ports::{EtcdApi, SystemClock};
use kubewright::store::copies::Copies;
use kubewright_core::spec::Compression;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use xtask::bench::{Machine, Spread, rounded};
use xtask::command::Background;

use crate::memory;
use crate::server::{connect, fill, host_files, program};

const HOST: &str = "cp1";

/// What was found. The figures to quote stand first.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The time of our snapshot divided by that of etcdctl's, the median of the rounds.
    pub snapshot_ratio: f64,
    /// The most memory of our process at once, all of it.
    pub client_rss_mb: f64,
    /// Received, hashed, every page read, attested, kept.
    pub snapshot_s: Spread,
    /// Received and kept.
    pub etcdctl_s: Spread,
    /// The file.
    pub file_mb: f64,
    /// Whether the compiler optimised: figures of a debug build are for tests alone.
    pub optimised: bool,
    /// Processors of the machine, and its load when this began.
    #[serde(flatten)]
    pub machine: Machine,
}

/// What one process of one round found.
#[derive(Debug, Serialize, Deserialize)]
pub struct Part {
    seconds: f64,
    rss_mb: f64,
    bytes: u64,
}

/// Fills an etcd and saves it in turn. `part` begins a process that runs [`one`].
///
/// # Errors
/// There is no etcd, or a part fails.
pub fn measure(megabytes: u64, rounds: usize, part: impl Fn(&Path) -> Result<Part>) -> Result<Report> {
    let machine = Machine::now()?;
    let home = tempfile::tempdir()?;
    let server = Server::start(home.path())?;
    tokio::runtime::Runtime::new()?.block_on(async { fill(&mut server.client().await?, megabytes).await })?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        // Whoever is second finds the server warm: the order changes from round to round.
        if round % 2 == 0 {
            theirs.push(server.etcdctl()?);
        }
        ours.push(part(home.path())?);
        if round % 2 == 1 {
            theirs.push(server.etcdctl()?);
        }
    }
    let ratios = ours.iter().zip(&theirs).map(|(ours, theirs)| ours.seconds / theirs);
    Ok(Report {
        snapshot_ratio: Spread::of(ratios)?.median,
        client_rss_mb: rounded(ours.iter().map(|part| part.rss_mb).fold(0.0, f64::max)),
        snapshot_s: Spread::of(ours.iter().map(|part| part.seconds))?,
        etcdctl_s: Spread::of(theirs.iter().copied())?,
        file_mb: rounded(ours.first().map_or(0, |part| part.bytes) as f64 / 1e6),
        optimised: !cfg!(debug_assertions),
        machine,
    })
}

/// One snapshot by us, of the server whose files are in this folder.
///
/// # Errors
/// It is not taken, or not proved.
pub fn one(home: &Path) -> Result<Part> {
    memory::forget_peak()?;
    let server = Server::open(home)?;
    let began = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let folder = home.join("ours");
    let bytes = runtime.block_on(async {
        let place = Place { host: HOST.into(), client: server.client, peer: server.client.ip() };
        let etcd = EtcdCluster::connect(&Way::Direct, &[place], &server.credentials()?, Arc::new(SystemClock))?;
        let facts = etcd.observe().await?;
        let copies = Copies::in_folder(&folder, "bench")?;
        let order = Order {
            cluster: "bench",
            etcd: &etcd,
            from: None,
            copies: &copies,
            compress: Compression::None,
            clock: &SystemClock,
            progress: &|_| {},
        };
        let taken = take(order, &facts, async { Companions::default() }).await?;
        ensure!(taken.manifest.attestation.is_proved(), "it is not proved: {:?}", taken.manifest.attestation);
        Ok(taken.manifest.file.bytes)
    })?;
    let seconds = began.elapsed().as_secs_f64();
    let rss_mb = memory::own()?.peak;
    fs::remove_dir_all(folder)?;
    Ok(Part { seconds, rss_mb, bytes })
}

/// A real etcd of one member with kubeadm's certificates.
struct Server {
    home: PathBuf,
    client: SocketAddr,
    _running: Option<Background>,
}

impl Server {
    fn start(home: &Path) -> Result<Self> {
        write_pki(home)?;
        let free = || anyhow::Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?);
        let (client, peer) = (free()?, free()?);
        fs::write(home.join("client"), client.to_string())?;
        let file = |name: &str| home.join(name).to_string_lossy().into_owned();
        let flags = [
            ("name", HOST.to_owned()),
            ("data-dir", file("data")),
            ("listen-client-urls", format!("https://{client}")),
            ("advertise-client-urls", format!("https://{client}")),
            ("listen-peer-urls", format!("http://{peer}")),
            ("initial-advertise-peer-urls", format!("http://{peer}")),
            ("initial-cluster", format!("{HOST}=http://{peer}")),
            ("cert-file", file("server.crt")),
            ("key-file", file("server.key")),
            ("trusted-ca-file", file("ca.crt")),
            ("client-cert-auth", "true".to_owned()),
            ("quota-backend-bytes", "8000000000".to_owned()),
            // Only what is read counts here, not that what was written survives.
            ("unsafe-no-fsync", "true".to_owned()),
        ];
        let flags = flags.map(|(name, value)| format!("--{name}={value}"));
        let running = Background::start(&program("etcd")?, flags, &home.join("log"))?;
        Ok(Self { home: home.to_owned(), client, _running: Some(running) })
    }

    fn open(home: &Path) -> Result<Self> {
        let client = fs::read_to_string(home.join("client"))?.parse()?;
        Ok(Self { home: home.to_owned(), client, _running: None })
    }

    fn credentials(&self) -> Result<Credentials> {
        let read = |name: &str| fs::read_to_string(self.home.join(name)).with_context(|| format!("no {name}"));
        Ok(Credentials {
            ca_pem: read("ca.crt")?,
            client_cert_pem: read("healthcheck-client.crt")?,
            client_key_pem: SecretString::from(read("healthcheck-client.key")?),
        })
    }

    async fn client(&self) -> Result<Client> {
        let credentials = self.credentials()?;
        let tls = TlsOptions::new()
            .ca_certificate(Certificate::from_pem(credentials.ca_pem))
            .identity(Identity::from_pem(credentials.client_cert_pem, credentials.client_key_pem.expose_secret()));
        connect(&format!("https://{}", self.client), Some(ConnectOptions::new().with_tls(tls))).await
    }

    /// Seconds of a save by etcd's own client.
    fn etcdctl(&self) -> Result<f64> {
        let target = self.home.join("theirs.snap");
        let file = |name: &str| self.home.join(name);
        let mut save = Command::new(program("etcdctl")?);
        save.arg(format!("--endpoints=https://{}", self.client));
        save.arg("--cacert").arg(file("ca.crt"));
        save.arg("--cert").arg(file("healthcheck-client.crt")).arg("--key").arg(file("healthcheck-client.key"));
        save.args(["snapshot", "save"]).arg(&target).stdout(Stdio::null()).stderr(Stdio::null());
        let began = Instant::now();
        ensure!(save.status()?.success(), "etcdctl does not save");
        let seconds = began.elapsed().as_secs_f64();
        fs::remove_file(target)?;
        Ok(seconds)
    }
}

/// What kubewright would put on the host, its etcd's part, in one folder.
fn write_pki(home: &Path) -> Result<()> {
    for (path, text) in host_files(HOST, 6443)? {
        if let Some(name) = path.strip_prefix("/etc/kubernetes/pki/etcd/") {
            fs::write(home.join(name), text)?;
        }
    }
    Ok(())
}
