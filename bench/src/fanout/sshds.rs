//! Hosts that are private sshds of this machine: what one of them costs, counted on both sides.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use kubewright::cli::planning::plan_on;
use kubewright::host::ssh::{SshHosts, Traffic};
use kubewright::ports::{Clock, Hosts, SystemClock};
use kubewright_core::ids::HostName;
use kubewright_core::plan::hex;
use kubewright_core::planner::Request;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use xtask::bench::{Spread, rounded};

use self::sshd::Sshd;
pub use self::sshd::possible;
use super::fakes::{checksum, load};
use super::{Sshds, most_per_round};
use crate::memory;

/// The sshds of the tests.
#[path = "../../../tests/it/host/sshd.rs"]
#[allow(
    dead_code,
    missing_docs,
    clippy::unwrap_used,
    reason = "tests use more of it, and panic where they cannot go on"
)]
mod sshd;

/// Running sshds, a mirror that knows every checksum and digest, and the spec that names them.
pub struct Field {
    sshds: Vec<Sshd>,
    folder: TempDir,
}

impl Field {
    /// Raises them.
    ///
    /// # Errors
    /// Not root, or no sshd on this machine.
    pub fn raise(hosts: usize) -> Result<Self> {
        if !possible() {
            bail!("real hosts need root and openssh-server");
        }
        let folder = tempfile::tempdir()?;
        let sshds: Vec<Sshd> = (0..hosts).map(|_| Sshd::start("")).collect();
        let mirror = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let text = spec(&sshds, mirror.local_addr()?);
        let field = Self { sshds, folder };
        fs::write(field.spec(), text)?;
        let spec = load(&field.spec())?.spec;
        // Ends with the process; it holds nothing that would have to be put away.
        std::thread::spawn(move || {
            for conversation in mirror.incoming().flatten() {
                // A reader that goes away asks again.
                let _ = answer(conversation, |url| checksum(&spec, url));
            }
        });
        Ok(field)
    }

    /// The spec of all of them.
    pub fn spec(&self) -> PathBuf {
        self.folder.path().join("cluster.yaml")
    }

    /// Holds our count against what the sshds wrote down.
    ///
    /// # Errors
    /// They differ.
    pub fn agrees(&self, round_trips: u64) -> Result<()> {
        let mut seen = 0;
        for sshd in &self.sshds {
            let log = fs::read_to_string(sshd.path("log")).context("an sshd without a log")?;
            seen += log.lines().filter(|line| line.contains("Starting session: ")).count() as u64;
        }
        if seen != round_trips {
            bail!("we counted {round_trips} round trips, but the sshds started {seen} sessions");
        }
        Ok(())
    }
}

/// One control plane, for the rest workers, all at 127.0.0.1.
fn spec(sshds: &[Sshd], mirror: SocketAddr) -> String {
    let mut text = format!(
        "apiVersion: kubewright.dev/v1alpha1\nkind: Cluster\nmetadata: {{name: near}}\nspec:\n  kubernetes: {{version: 1.35.4}}\n  \
         artefacts:\n    mirror: http://{mirror}\n    registryMirrors:\n"
    );
    for registry in ["registry.k8s.io", "ghcr.io", "docker.io"] {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "      {registry}: http://{mirror}");
    }
    text.push_str("  hosts:\n");
    for (number, sshd) in (1..).zip(sshds) {
        let (name, roles) = if number == 1 { ("cp", "controlPlane, etcd") } else { ("w", "worker") };
        let path = |name: &str| sshd.path(name).display().to_string();
        let _ = writeln!(
            text,
            "  - {{name: {name}{number}, address: 127.0.0.1, privateAddress: 10.20.0.{number}, roles: [{roles}], \
             ssh: {{user: root, port: {}, identityFile: {}, knownHostsFile: {}, configFile: /dev/null}}}}",
            sshd.port,
            path("client"),
            path("known"),
        );
    }
    text
}

/// Answers one question to the mirror: the checksum behind an address, and a digest for every image.
fn answer(conversation: TcpStream, checksum: impl Fn(&str) -> String) -> Result<()> {
    let mut reader = BufReader::new(conversation);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let mut words = first.split_whitespace();
    let (method, path) = words.next().zip(words.next()).context("no request")?;
    let mut conversation = reader.into_inner();
    let url = format!("http://{}{path}", conversation.local_addr()?);
    let body = checksum(&url);
    write!(
        conversation,
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nDocker-Content-Digest: sha256:{}\r\nConnection: close\r\n\r\n",
        body.len(),
        hex(&Sha256::digest(path))
    )?;
    if method != "HEAD" {
        conversation.write_all(body.as_bytes())?;
    }
    Ok(())
}

/// Plans for the hosts of a spec, first with every login, then with connections that stand.
///
/// # Errors
/// A host does not tell its facts.
pub async fn measure(file: &Path, rounds: usize) -> Result<Sshds> {
    let loaded = load(file)?;
    let count = loaded.spec.hosts.len();
    let hosts = Arc::new(SshHosts::of_spec(&loaded.spec, None)?);
    memory::forget_peak()?;
    let cold_s = plan_once(file, &hosts).await?;
    let before = hosts.traffic();
    let mut warm = Vec::new();
    for _ in 0..rounds {
        warm.push(plan_once(file, &hosts).await?);
    }
    let after = hosts.traffic();
    // ssh puts its control socket's path into its own command line.
    let children = memory::processes_about(&format!("kw-{}-", std::process::id()))?;
    let trips = |name: &HostName, traffic: &Traffic| {
        traffic.round_trips - before.get(name).copied().unwrap_or_default().round_trips
    };
    Ok(Sshds {
        hosts: count,
        cold_s: rounded(cold_s),
        warm_s: Spread::of(warm)?,
        connections_per_host: most_per_round(after.values().map(|traffic| traffic.connections), 1),
        round_trips_per_host: most_per_round(after.iter().map(|(name, traffic)| trips(name, traffic)), rounds),
        round_trips: after.values().map(|traffic| traffic.round_trips).sum(),
        processes: children.len(),
        children_rss_mb: rounded(children.iter().map(|one| one.resident).sum()),
        children_pss_mb: rounded(children.iter().map(|one| one.proportional).sum()),
        peak_rss_mb: rounded(memory::own()?.peak),
    })
}

async fn plan_once(file: &Path, hosts: &Arc<SshHosts>) -> Result<f64> {
    let began = Instant::now();
    let (port, clock): (Arc<dyn Hosts>, Arc<dyn Clock>) = (Arc::<SshHosts>::clone(hosts), Arc::new(SystemClock));
    let planned = plan_on(file, load(file)?, port, &clock, &Request::Apply { only: None }).await;
    let planned = planned.map_err(|error| anyhow::anyhow!("{error}"))?;
    let took = began.elapsed().as_secs_f64();
    // All are one machine, which the plan finds fault with; that each of them answered is what counts here.
    for (name, fact) in &planned.facts.hosts {
        if let Some(why) = fact.why() {
            bail!("{name} did not tell its facts: {why}");
        }
    }
    Ok(took)
}
