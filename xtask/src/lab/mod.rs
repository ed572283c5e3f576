//! Raises a lab: hosts with systemd and sshd as podman containers on a network of their own that leads nowhere, and
//! beside them one container that serves the mirror and the registry. `tests/lab/README.md` tells what such a host is
//! and what it lacks.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use xtask::cache::Cache;
//! use xtask::lab::{Lab, LabSpec};
//! let lab = Lab::raise(&Cache::open()?, &LabSpec::new("demo", "10.77.0.0/24")?.with_hosts(["cp1", "w1"])?)?;
//! lab.exec("cp1", "systemctl is-system-running")?;
//! lab.down()?;
//! # Ok(()) }
//! ```

mod address;
mod host;
mod identity;
mod images;
mod kernel;
mod podman;
pub mod preflight;
mod snapshot;
mod state;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

pub use self::address::Subnet;
use self::identity::Identity;
use crate::artefact;
use crate::cache::Cache;
use crate::command::output_within;
use crate::progress::{Task, seconds};

/// The lab that is meant when none is named.
pub const DEFAULT_NAME: &str = "lab";

/// Its subnet.
pub const DEFAULT_SUBNET: &str = "10.77.0.0/24";

/// The hosts of the demo: three control planes and two workers.
pub const DEFAULT_HOSTS: [&str; 5] = ["cp1", "cp2", "cp3", "w1", "w2"];

/// Longest wait for a command in a host that should answer at once: a machine with every core busy building still
/// answers in a few seconds.
const EXEC_LIMIT: Duration = Duration::from_secs(120);

/// What to raise.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct LabSpec {
    /// Names network, containers and volumes; two labs with different names and subnets can stand at once.
    pub name: String,
    /// Where its hosts live.
    pub subnet: Subnet,
    /// The hosts.
    pub hosts: Vec<HostSpec>,
    /// Start from this snapshot instead of from plain hosts, see [`Lab::snapshot`].
    pub prepared: Option<String>,
}

/// One host to raise.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct HostSpec {
    /// Host name.
    pub name: String,
    /// Address in the lab's subnet.
    pub address: Ipv4Addr,
}

/// A raised lab.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Lab {
    /// What it was raised from.
    pub spec: LabSpec,
    /// Address of the container that serves the mirror (port 80) and the registry (port 5000).
    pub server: Ipv4Addr,
    /// podman's name of its network.
    pub network: String,
    /// Private key of the users `root`, `ops` (sudo without password) and `opspw` (sudo with the password "lab").
    pub key: PathBuf,
    /// The hosts' real keys.
    pub known_hosts: PathBuf,
    /// Configuration with which `ssh -F <this> cp1` works.
    pub ssh_config: PathBuf,
}

impl LabSpec {
    /// A lab without hosts.
    ///
    /// # Errors
    /// The name could not name a container, or the subnet is none.
    pub fn new(name: &str, subnet: &str) -> Result<Self> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        // The network's bridge carries the name, and an interface name has at most 15 characters.
        if name.is_empty() || name.len() > 10 || !name.chars().all(fits) {
            bail!("{name:?} cannot name a lab: one to ten lower-case letters and digits");
        }
        Ok(Self { name: name.into(), subnet: subnet.parse()?, hosts: Vec::new(), prepared: None })
    }

    /// The lab of the demo.
    ///
    /// # Errors
    /// None, as its constants fit.
    pub fn five_hosts() -> Result<Self> {
        Self::new(DEFAULT_NAME, DEFAULT_SUBNET)?.with_hosts(DEFAULT_HOSTS)
    }

    /// Adds hosts at the addresses that go with their names: `cp1` is .11, `w1` is .21, others follow from .31 on.
    ///
    /// # Errors
    /// The subnet has no room.
    pub fn with_hosts<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        for name in names {
            let address = self.subnet.address_of(name, self.hosts.len())?;
            self.hosts.push(HostSpec { name: name.into(), address });
        }
        Ok(self)
    }

    /// Starts from a snapshot.
    #[must_use]
    pub fn prepared(mut self, label: &str) -> Self {
        self.prepared = Some(label.into());
        self
    }
}

impl Lab {
    /// Raises the lab; one of the same name that stands, or what is left of it, is cleared first. Artefacts must be
    /// there (see [`artefact::ensure`]); images of hosts are made when they are missing.
    ///
    /// # Errors
    /// This machine cannot host a lab, or something did not come up; what came up is left to be looked at.
    pub fn raise(cache: &Cache, spec: &LabSpec) -> Result<Self> {
        preflight::check()?;
        let _lock = cache.lock("lab")?;
        let started = Instant::now();
        let images = images::ensure(cache)?;
        clear(cache, &spec.name)?;
        kernel::raise(cache)?;

        let identity = Identity::ensure(cache)?;
        let lab = Self::planned(cache, spec, identity.private_key.clone())?;
        // Before anything stands, so that whatever comes of it can be cleared by its names.
        state::write(cache, &lab)?;
        let task = Task::begin(format!("raising {} with {} hosts", spec.name, spec.hosts.len()));
        podman::network(&lab)?;
        host::start_server(cache, &lab, &images)?;
        let keys = std::thread::scope(|scope| {
            let starts: Vec<_> = spec
                .hosts
                .iter()
                .map(|host| {
                    let (lab, images, identity) = (&lab, &images, &identity);
                    scope.spawn(move || {
                        host::start(cache, lab, host, images, identity)
                            .with_context(|| format!("host {} did not come up", host.name))
                    })
                })
                .collect();
            starts
                .into_iter()
                .map(|start| start.join().unwrap_or_else(|_| bail!("a start panicked")))
                .collect::<Result<Vec<_>>>()
        })?;
        identity::write_files(&lab, &keys)?;
        task.done("up");
        eprintln!("Lab {}: raised after {}.", spec.name, seconds(started.elapsed()));
        Ok(lab)
    }

    /// What a lab of this specification consists of, before anything of it stands.
    fn planned(cache: &Cache, spec: &LabSpec, key: PathBuf) -> Result<Self> {
        let folder = state::folder(cache, &spec.name);
        Ok(Self {
            spec: spec.clone(),
            server: spec.subnet.host(2)?,
            network: podman::new_network_name(&spec.name),
            key,
            known_hosts: folder.join("known_hosts"),
            ssh_config: folder.join("ssh_config"),
        })
    }

    /// The lab of this name, if it was raised and not taken down. Whether its hosts still answer is another question:
    /// [`Lab::is_up`].
    ///
    /// # Errors
    /// Its state cannot be read.
    pub fn open(cache: &Cache, name: &str) -> Result<Option<Self>> {
        state::read(cache, name)
    }

    /// Takes it down and leaves nothing: containers, volumes, network, state.
    ///
    /// # Errors
    /// podman could not remove something, which the error names.
    pub fn down(self) -> Result<()> {
        clear(&Cache::open()?, &self.spec.name)
    }

    /// Whether sshd of every host answers now, whatever podman believes.
    pub fn is_up(&self) -> bool {
        self.spec.hosts.iter().all(|host| host::answers(host.address))
    }

    /// The host of this name.
    ///
    /// # Errors
    /// There is none.
    pub fn host(&self, name: &str) -> Result<&HostSpec> {
        self.spec.hosts.iter().find(|host| host.name == name).with_context(|| format!("the lab has no host {name}"))
    }

    /// Runs a shell command as root in a host, not through SSH, and gives its output.
    ///
    /// # Errors
    /// There is no such host, or the command fails or does not end within two minutes.
    pub fn exec(&self, host: &str, command: &str) -> Result<String> {
        let container = self.container(host)?;
        // podman gives a new process the container's full privileges; what runs in a host has fewer, see `lab-init`.
        let inside = ["exec", &container, "setpriv", "--bounding-set=-sys_module,-sys_time", "sh", "-c", command];
        output_within(podman::podman().args(inside), EXEC_LIMIT)
    }

    /// An ssh command to a host, with the lab's key, host keys and user.
    pub fn ssh(&self, user: &str, host: &str) -> Command {
        let mut command = Command::new("ssh");
        command.arg("-F").arg(&self.ssh_config).args(["-l", user, host]);
        command
    }

    /// Reboots a host as its user would, and waits until it is up again with another boot id.
    ///
    /// # Errors
    /// It did not come back.
    pub fn reboot(&self, host: &str) -> Result<()> {
        let before = self.exec(host, "cat /proc/sys/kernel/random/boot_id")?;
        // The session ends with the host.
        let _ = self.exec(host, "systemctl reboot");
        host::wait_rebooted(self, self.host(host)?, &before)
    }

    /// Shuts a host down in order; it stays down until [`Lab::start`].
    ///
    /// # Errors
    /// podman could not stop it.
    pub fn stop(&self, host: &str) -> Result<()> {
        podman::stop(&self.container(host)?)
    }

    /// Cuts a host's power: every process ends at once. It stays down until [`Lab::start`].
    ///
    /// # Errors
    /// podman could not end it.
    pub fn kill(&self, host: &str) -> Result<()> {
        podman::kill(&self.container(host)?)
    }

    /// Starts a host that is down and waits until it is up.
    ///
    /// # Errors
    /// It did not come up.
    pub fn start(&self, host: &str) -> Result<()> {
        podman::start(&self.container(host)?)?;
        host::wait_up(self, self.host(host)?).map(drop)
    }

    /// Installs a host anew, as its owner would after a dead disk: the same name and address on a bare system with another
    /// machine id and another host key, which `known_hosts` then has.
    ///
    /// # Errors
    /// There is no such host, or it did not come up.
    pub fn reinstall(&self, cache: &Cache, host: &str) -> Result<()> {
        let images = images::ensure(cache)?;
        let identity = Identity::ensure(cache)?;
        let bare = Self { spec: LabSpec { prepared: None, ..self.spec.clone() }, ..self.clone() };
        podman::remove(&self.spec.name, host)?;
        let key = host::start(cache, &bare, self.host(host)?, &images, &identity)
            .with_context(|| format!("host {host} did not come up"))?;
        identity::replace_key(self, self.host(host)?, &key)
    }

    /// Saves the state of all hosts (root filesystem and /var) in the cache, so that [`LabSpec::prepared`] starts from
    /// it. The hosts are shut down for it, all at once, and started again.
    ///
    /// # Errors
    /// A host does not stop or come back, or there is no room.
    pub fn snapshot(&self, cache: &Cache, label: &str) -> Result<()> {
        snapshot::save(cache, self, label)
    }

    /// Puts all hosts back to a snapshot of theirs, identities included.
    ///
    /// # Errors
    /// There is no such snapshot, or a host does not come back.
    pub fn restore(&self, cache: &Cache, label: &str) -> Result<()> {
        snapshot::restore(cache, self, label)
    }

    /// Where this machine sees the changes that a host made to its image: `etc/…`, not `/var`. To be read only.
    ///
    /// # Errors
    /// There is no such host, or podman does not tell.
    pub fn folder(&self, host: &str) -> Result<PathBuf> {
        let [root, _] = podman::folders(&self.spec.name, &self.host(host)?.name)?;
        Ok(root)
    }

    /// Address of the mirror, as a cluster file names it.
    pub fn mirror(&self) -> String {
        format!("http://{}", self.server)
    }

    /// Address of the registry, as a cluster file names it.
    pub fn registry(&self) -> String {
        format!("http://{}:5000", self.server)
    }

    /// Each host with what podman says of it, for people.
    ///
    /// # Errors
    /// podman does not answer.
    pub fn status(&self) -> Result<Vec<(HostSpec, String)>> {
        self.spec
            .hosts
            .iter()
            .map(|host| Ok((host.clone(), podman::status(&podman::container(&self.spec.name, &host.name))?)))
            .collect()
    }

    fn container(&self, host: &str) -> Result<String> {
        Ok(podman::container(&self.spec.name, &self.host(host)?.name))
    }
}

/// Removes all that a lab of this name left, whatever state podman believes it in.
///
/// # Errors
/// podman could not remove something.
pub fn clear(cache: &Cache, name: &str) -> Result<()> {
    let hosts = state::read(cache, name).ok().flatten().map(|lab| lab.spec.hosts).unwrap_or_default();
    podman::clear(name, &hosts.into_iter().map(|host| host.name).collect::<Vec<_>>())?;
    state::remove(cache, name)?;
    if state::names(cache)?.is_empty() { kernel::put_back(cache) } else { Ok(()) }
}

/// Names of the labs that stand.
///
/// # Errors
/// The cache cannot be read.
pub fn names(cache: &Cache) -> Result<Vec<String>> {
    state::names(cache)
}

/// Whether a snapshot of this label is complete.
pub fn has_snapshot(cache: &Cache, label: &str) -> bool {
    snapshot::exists(cache, label)
}

/// Removes a snapshot, if there is one.
///
/// # Errors
/// Its files cannot be removed.
pub fn forget_snapshot(cache: &Cache, label: &str) -> Result<()> {
    snapshot::forget(cache, label)
}

/// Makes what a lab needs besides hosts: artefacts, images of hosts and server.
///
/// # Errors
/// As [`artefact::ensure`], or debootstrap failed.
pub fn prepare(cache: &Cache, versions: &[String]) -> Result<()> {
    artefact::ensure(cache, &versions.into())?;
    images::ensure(cache).map(drop)
}

/// The folder of a lab's SSH files.
fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_has_its_addresses() {
        let spec = LabSpec::five_hosts().unwrap();
        let addresses: Vec<String> = spec.hosts.iter().map(|host| host.address.to_string()).collect();
        assert_eq!(addresses, ["10.77.0.11", "10.77.0.12", "10.77.0.13", "10.77.0.21", "10.77.0.22"]);
    }

    #[test]
    fn names_that_do_not_fit_are_refused() {
        for name in ["", "Lab", "a b", "elevenchars"] {
            assert!(LabSpec::new(name, DEFAULT_SUBNET).is_err(), "{name}");
        }
    }
}
