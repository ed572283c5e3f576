//! Starts hosts and waits for them, on their own answers.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::identity::Identity;
use super::images::Images;
use super::podman::{self, HostStart};
use super::{HostSpec, Lab, snapshot};
use crate::cache::Cache;
use crate::command::output_within;

/// Longest wait for a host: 2 s when idle; a restored control plane on a machine with every core busy took 20.
const UP_LIMIT: Duration = Duration::from_secs(90);

/// Between two tries where there is nothing to wait on: a port that is not open yet, a bus that is not there yet.
const RETRY: Duration = Duration::from_millis(25);

/// A host that restarted this often by itself while it should come up never will.
const HOPELESS_RESTARTS: u32 = 3;

/// Answers with systemd's state and the host key once the start is over. Asked again and again inside the host, as
/// `is-system-running --wait` misses the end of a start that it meets early (seen: it then hangs for 30 s).
const SYSTEMD_UP: &str = "
    for _ in $(seq 1800); do
        state=$(systemctl is-system-running 2>/dev/null)
        case $state in running | degraded) echo \"$state\"; exec cat /etc/ssh/ssh_host_ed25519_key.pub ;; esac
        sleep 0.05
    done";

/// Starts the server and waits until both its ports answer; then this machine joins the network.
///
/// # Errors
/// It did not come up.
pub fn start_server(cache: &Cache, lab: &Lab, images: &Images) -> Result<()> {
    let (mirror, registry) = (cache.mirror(), cache.registry());
    for folder in [&mirror, &registry] {
        std::fs::create_dir_all(folder)?;
    }
    podman::run_server(lab, &images.server, &mirror, &registry)?;
    podman::join_network(lab)?;
    let deadline = Instant::now() + UP_LIMIT;
    for port in [80, 5000] {
        while TcpStream::connect_timeout(&SocketAddr::from((lab.server, port)), RETRY).is_err() {
            if Instant::now() > deadline {
                let words = podman::last_words(&podman::container(&lab.spec.name, podman::SERVER));
                bail!("the lab's server does not answer on port {port}:\n{words}");
            }
            std::thread::sleep(RETRY);
        }
    }
    Ok(())
}

/// Creates a host, puts a snapshot into it if the lab starts from one, starts it and waits until it is up. Gives its
/// public host key.
///
/// # Errors
/// It did not come up; the error has its last words.
pub fn start(cache: &Cache, lab: &Lab, host: &HostSpec, images: &Images, identity: &Identity) -> Result<String> {
    let start = HostStart { lab, host, authorized_key: &identity.public_key, nameserver: &lab.server.to_string() };
    podman::create(&start, &images.host)?;
    if let Some(label) = &lab.spec.prepared {
        snapshot::fill(cache, &lab.spec.name, &host.name, label)?;
    }
    podman::start(&podman::container(&lab.spec.name, &host.name))?;
    wait_up(lab, host)
}

/// Waits until systemd has finished starting and sshd answers. Gives the public host key.
///
/// # Errors
/// It is not up in time, keeps restarting, or units of it failed.
pub fn wait_up(lab: &Lab, host: &HostSpec) -> Result<String> {
    let container = podman::container(&lab.spec.name, &host.name);
    let deadline = Instant::now() + UP_LIMIT;
    let state = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let answer = output_within(podman::podman().args(["exec", &container, "sh", "-c", SYSTEMD_UP]), left);
        match answer.as_deref().map(|text| text.split_once('\n')) {
            Ok(Some(("running" | "degraded", _))) => break answer?,
            _ if Instant::now() > deadline => {
                bail!("it is not up after {} s:\n{}", UP_LIMIT.as_secs(), podman::last_words(&container))
            }
            _ => {}
        }
        if podman::restarts(&container)? >= HOPELESS_RESTARTS && podman::status(&container)? != "running" {
            // Nothing would end its restarts, and they would keep the machine busy.
            podman::kill(&container)?;
            bail!("it ends again and again:\n{}", podman::last_words(&container));
        }
        std::thread::sleep(RETRY);
    };
    let (state, key) = state.split_once('\n').context("the host gave no key")?;
    if state == "degraded" {
        let failed = lab.exec(&host.name, "systemctl --failed --no-legend --plain")?;
        // A cluster's own units may fail in a restored host; whoever restored it must know, not be stopped.
        eprintln!("Host {}: units failed at its start: {failed}", host.name);
    }
    wait_ssh(host.address, deadline)?;
    Ok(key.trim().to_string())
}

/// Waits until the host has another boot id and is up.
///
/// # Errors
/// It did not come back.
pub fn wait_rebooted(lab: &Lab, host: &HostSpec, before: &str) -> Result<()> {
    let deadline = Instant::now() + UP_LIMIT;
    loop {
        match lab.exec(&host.name, "cat /proc/sys/kernel/random/boot_id") {
            Ok(now) if now != before => break,
            _ if Instant::now() > deadline => bail!("{} did not reboot within {} s", host.name, UP_LIMIT.as_secs()),
            _ => std::thread::sleep(RETRY),
        }
    }
    wait_up(lab, host).map(drop)
}

/// Whether sshd answers there now.
pub fn answers(address: Ipv4Addr) -> bool {
    greeting(address).is_ok_and(|line| line.starts_with("SSH-"))
}

/// Waits for sshd's greeting.
fn wait_ssh(address: Ipv4Addr, deadline: Instant) -> Result<()> {
    loop {
        if answers(address) {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("sshd at {address} does not answer");
        }
        std::thread::sleep(RETRY);
    }
}

fn greeting(address: Ipv4Addr) -> Result<String> {
    // Long enough for a busy machine, short enough to notice a dropped first packet.
    let patience = Duration::from_secs(2);
    let stream = TcpStream::connect_timeout(&SocketAddr::from((address, 22)), patience)?;
    stream.set_read_timeout(Some(patience))?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line)
}
