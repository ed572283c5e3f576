//! Every call of podman that the lab makes, with arguments that were each found necessary.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{HostSpec, Lab};
use crate::cache::lab_data;
use crate::command::{output, output_within, succeeds};

/// Marks all that belongs to a lab, so that clearing finds it by label and nothing else is touched.
const LABEL: &str = "kubewright.lab";

/// Longest wait for one call: removing a host with many containers in it takes seconds, a hanging podman for ever.
const LIMIT: Duration = Duration::from_secs(60);

/// podman asks for more than a machine without CAP_SYS_RESOURCE may give, so that nothing would start.
const ULIMITS: [&str; 2] = ["--ulimit=nofile=20000:20000", "--ulimit=nproc=20000:20000"];

/// Grace for an ordered shutdown, as systemd's own default for a unit.
const STOP_SECONDS: &str = "90";

/// A podman that ignores the person's own configuration.
pub fn podman() -> Command {
    let mut command = Command::new("podman");
    command.env("CONTAINERS_CONF", lab_data("podman/containers.conf"));
    command
}

fn run(arguments: &[&str]) -> Result<String> {
    output_within(podman().args(arguments), LIMIT)
}

/// Container of a host.
pub fn container(lab: &str, host: &str) -> String {
    format!("kw-{lab}-{host}")
}

/// Volume of a host's /var.
pub fn volume(lab: &str, host: &str) -> String {
    format!("kw-{lab}-{host}-var")
}

/// Host part of the server's container.
pub const SERVER: &str = "server";

/// A network name that no earlier lab had: podman remembers addresses by network name, and those of containers that
/// were killed behind its back stay taken for ever.
pub fn new_network_name(lab: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("kw-{lab}-{:x}", now.as_millis())
}

/// Makes the lab's network: internal, so no route leads out of it, and without podman's own name server.
///
/// # Errors
/// podman refuses, for example because another network has the subnet.
pub fn network(lab: &Lab) -> Result<()> {
    let (subnet, label) = (lab.spec.subnet.to_string(), format!("{LABEL}={}", lab.spec.name));
    run(&["network", "create", "--internal", "--disable-dns", "--subnet", &subnet, "--label", &label, &lab.network])
        .map(drop)
}

/// Gives this machine the network's first address, so that it reaches the hosts: podman leaves an internal network's
/// bridge without one. The bridge is there once the first container is.
///
/// # Errors
/// The bridge cannot be found or changed.
pub fn join_network(lab: &Lab) -> Result<()> {
    let bridge = run(&["network", "inspect", "--format", "{{.NetworkInterface}}", &lab.network])?;
    let address = format!("{}/24", lab.spec.subnet.host(1)?);
    output(Command::new("ip").args(["address", "replace", &address, "dev", bridge.trim()])).map(drop)
}

/// What a host is started with besides its image.
pub struct HostStart<'a> {
    /// The lab.
    pub lab: &'a Lab,
    /// The host.
    pub host: &'a HostSpec,
    /// Public key for its users.
    pub authorized_key: &'a str,
    /// Where a question about a name goes, to be refused at once.
    pub nameserver: &'a str,
}

/// Arguments of `podman create` for a host.
pub fn create_arguments(start: &HostStart<'_>, image: &str) -> Vec<String> {
    let lab = &start.lab.spec.name;
    let hosts: Vec<String> =
        start.lab.spec.hosts.iter().map(|host| format!("{} {}", host.address, host.name)).collect();
    let fixed = [
        "create",
        "--privileged",
        // With podman's own systemd mode, runc inside the host fails with "error mounting cgroup to rootfs".
        "--cgroupns=private",
        "--systemd=false",
        "--tmpfs=/run",
        "--tmpfs=/tmp:exec",
        "--env=container=podman",
        // What systemd takes as "halt".
        "--stop-signal=SIGRTMIN+3",
        ULIMITS[0],
        ULIMITS[1],
        // `systemctl reboot` inside ends the container, and this brings it back.
        "--restart=always",
    ];
    let mut arguments: Vec<String> = fixed.map(str::to_string).to_vec();
    arguments.extend([
        format!("--name={}", container(lab, &start.host.name)),
        format!("--hostname={}", start.host.name),
        format!("--label={LABEL}={lab}"),
        format!("--network={}", start.lab.network),
        format!("--ip={}", start.host.address),
        format!("--mac-address={}", mac_address(start.host.address)),
        // containerd's overlay snapshots need a real filesystem below them.
        format!("--volume={}:/var", volume(lab, &start.host.name)),
        format!("--env=LAB_HOSTS={}", hosts.join(",")),
        format!("--env=LAB_NAMESERVER={}", start.nameserver),
        format!("--env=LAB_AUTHORIZED_KEY={}", start.authorized_key),
        image.to_string(),
        "/sbin/lab-init".to_string(),
    ]);
    arguments
}

/// A host keeps its hardware address over restarts, as a machine does. With a fresh one each time, its neighbours would
/// talk to the old one until their caches expire: up to 30 s of silence after each reboot.
fn mac_address(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    // 0a: locally administered, unicast.
    format!("0a:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// Creates a host without starting it.
///
/// # Errors
/// podman refuses.
pub fn create(start: &HostStart<'_>, image: &str) -> Result<()> {
    let volume = volume(&start.lab.spec.name, &start.host.name);
    run(&["volume", "create", "--label", &format!("{LABEL}={}", start.lab.spec.name), &volume])?;
    let arguments = create_arguments(start, image);
    run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).map(drop)
}

/// Starts the container that serves mirror and registry.
///
/// # Errors
/// podman refuses.
pub fn run_server(lab: &Lab, image: &str, mirror: &Path, registry: &Path) -> Result<()> {
    let (name, address) = (&lab.spec.name, lab.server);
    run(&[
        "run",
        "--detach",
        "--stop-signal=SIGKILL",
        "--restart=on-failure:3",
        ULIMITS[0],
        ULIMITS[1],
        &format!("--name={}", container(name, SERVER)),
        "--hostname=server",
        &format!("--label={LABEL}={name}"),
        &format!("--network={}", lab.network),
        &format!("--ip={address}"),
        &format!("--mac-address={}", mac_address(address)),
        &format!("--volume={}:/srv/mirror:ro", mirror.display()),
        &format!("--volume={}:/srv/registry:ro", registry.display()),
        image,
        "/sbin/serve",
    ])
    .map(drop)
}

/// Starts a container.
///
/// # Errors
/// podman refuses.
pub fn start(container: &str) -> Result<()> {
    run(&["start", container]).map(drop)
}

/// Stops a container in order. It is not restarted.
///
/// # Errors
/// podman could not stop it.
pub fn stop(container: &str) -> Result<()> {
    run(&["stop", "--time", STOP_SECONDS, container]).map(drop)
}

/// Ends a container at once. It is not restarted: stopping with no grace is a kill that podman takes as wanted.
///
/// # Errors
/// podman could not end it.
pub fn kill(container: &str) -> Result<()> {
    run(&["stop", "--time", "0", container]).map(drop)
}

/// What podman says of a container: `running`, `exited`, …
///
/// # Errors
/// podman does not know it.
pub fn status(container: &str) -> Result<String> {
    run(&["inspect", "--format", "{{.State.Status}}", container])
}

/// How often podman has restarted a container by itself.
///
/// # Errors
/// podman does not know it.
pub fn restarts(container: &str) -> Result<u32> {
    let count = run(&["inspect", "--format", "{{.RestartCount}}", container])?;
    count.trim().parse().with_context(|| format!("podman says {count:?} restarts"))
}

/// The last words of a container.
pub fn last_words(container: &str) -> String {
    run(&["logs", "--tail", "12", container]).unwrap_or_default()
}

/// Where a host's changes to its image are, and its /var.
///
/// # Errors
/// podman does not know the host, or stores it another way.
pub fn folders(lab: &str, host: &str) -> Result<[PathBuf; 2]> {
    let upper = run(&["inspect", "--format", "{{.GraphDriver.Data.UpperDir}}", &container(lab, host)])?;
    let var = run(&["volume", "inspect", "--format", "{{.Mountpoint}}", &volume(lab, host)])?;
    let folders = [upper, var].map(|folder| PathBuf::from(folder.trim()));
    for folder in &folders {
        if !folder.is_dir() {
            bail!("podman keeps {host} in {}, which is no folder", folder.display());
        }
    }
    Ok(folders)
}

/// Whether this image is in podman's store.
pub fn has_image(image: &str) -> bool {
    succeeds(podman().args(["image", "exists", image]))
}

/// Imports a root filesystem under this name, and drops what earlier versions left under the same repository.
///
/// # Errors
/// podman refuses.
pub fn import(tar: &Path, image: &str) -> Result<()> {
    let repository = image.rsplit_once(':').map_or(image, |(repository, _)| repository);
    let old = run(&["images", "--quiet", "--filter", &format!("reference={repository}")])?;
    output(podman().args(["import", "--quiet"]).arg(tar).arg(image))?;
    for id in old.lines() {
        // One that a standing lab uses stays.
        let _ = run(&["rmi", id]);
    }
    Ok(())
}

/// Removes containers, volumes and networks of a lab, also when podman's records are of processes long gone. These
/// hosts are removed besides those whose volumes are found.
///
/// # Errors
/// Something could not be removed.
pub fn clear(lab: &str, hosts: &[String]) -> Result<()> {
    let filter = format!("label={LABEL}={lab}");
    let volumes = run(&["volume", "ls", "--quiet", "--filter", &filter])?;
    // By name and not from a list of containers: `podman ps` fails altogether when one of them has lost its network
    // namespace, while removing that very container works.
    let mut names: Vec<String> = hosts.iter().map(|host| container(lab, host)).collect();
    names.extend(volumes.lines().filter_map(|name| name.strip_suffix("-var")).map(str::to_string));
    names.push(container(lab, SERVER));
    names.sort();
    names.dedup();
    remove_containers(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
    if !volumes.is_empty() {
        run(&[&["volume", "rm", "--force"], volumes.lines().collect::<Vec<_>>().as_slice()].concat())?;
    }
    for network in run(&["network", "ls", "--quiet", "--filter", &filter])?.lines() {
        run(&["network", "rm", "--force", network])?;
    }
    Ok(())
}

/// Removes one host with its volume.
///
/// # Errors
/// podman could not.
pub fn remove(lab: &str, host: &str) -> Result<()> {
    remove_containers(&[&container(lab, host)])?;
    run(&["volume", "rm", "--force", &volume(lab, host)]).map(drop)
}

fn remove_containers(names: &[&str]) -> Result<()> {
    let remove = [&["rm", "--force", "--time", "0", "--ignore"], names].concat();
    if run(&remove).is_ok() {
        return Ok(());
    }
    // After a run whose processes were all killed, podman's locks and records may not agree with what is there: number
    // the locks anew and try once more. The second failure is the one worth reading.
    let _ = run(&["system", "renumber"]);
    run(&remove).map(drop).context("podman could not remove the containers of an earlier lab")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Cache;
    use crate::lab::LabSpec;

    #[test]
    fn a_host_gets_name_address_volume_and_the_others_names() {
        let spec = LabSpec::new("t", "10.9.0.0/24").unwrap().with_hosts(["cp1", "w1"]).unwrap();
        let lab = Lab::planned(&Cache::at("/c"), &spec, "/k".into()).unwrap();
        let start = HostStart {
            lab: &lab,
            host: &lab.spec.hosts[1],
            authorized_key: "ssh-ed25519 AAAA x",
            nameserver: "10.9.0.2",
        };
        let arguments = create_arguments(&start, "image:tag");
        for expected in [
            "--name=kw-t-w1",
            "--ip=10.9.0.21",
            "--mac-address=0a:00:0a:09:00:15",
            "--volume=kw-t-w1-var:/var",
            "--env=LAB_HOSTS=10.9.0.11 cp1,10.9.0.21 w1",
            "--cgroupns=private",
            "--systemd=false",
        ] {
            assert!(arguments.iter().any(|argument| argument == expected), "{expected} is not in {arguments:?}");
        }
        assert_eq!(arguments[arguments.len() - 2..], ["image:tag", "/sbin/lab-init"]);
    }
}
