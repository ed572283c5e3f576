//! Can this machine host the lab?

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::command::{is_installed, output, succeeds};

/// Programs without which nothing works; all come with `tests/lab/install-packages.sh`.
const PROGRAMS: [&str; 9] =
    ["podman", "runc", "netavark", "ip", "nft", "ssh", "ssh-keygen", "debootstrap", "docker-registry"];

/// Where Debian puts netavark, which is no command of its own.
const NETAVARK: &str = "/usr/lib/podman/netavark";

/// Kernel modules of a node. They are loaded here, on the machine, because a host of the lab loads nothing.
const MODULES: [&str; 6] = ["overlay", "br_netfilter", "vxlan", "nf_tables", "nf_conntrack", "veth"];

/// Succeeds if this machine can host the lab.
///
/// # Errors
/// The first reason why not, in a sentence that says what would help.
pub fn check() -> Result<()> {
    if output(Command::new("id").arg("-u"))? != "0" {
        bail!("the lab needs root: its hosts are privileged containers with a network of their own");
    }
    let missing: Vec<&str> = PROGRAMS.iter().filter(|program| !is_there(program)).copied().collect();
    if !missing.is_empty() {
        bail!("the lab needs {}: run tests/lab/install-packages.sh", missing.join(", "));
    }
    if !succeeds(Command::new("unshare").args(["--mount", "--net", "true"])) {
        bail!("the lab needs to make namespaces, which this machine forbids (a container without the privilege?)");
    }
    if is_installed("modprobe") {
        // What is built into the kernel or not available shows in the checks below.
        for module in MODULES {
            succeeds(Command::new("modprobe").args(["-q", module]));
        }
    }
    let filesystems = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !filesystems.lines().any(|line| line.trim_end().ends_with("overlay")) {
        bail!("the kernel has no overlay filesystem, which containerd in a host needs");
    }
    if !Path::new("/proc/sys/net/bridge").is_dir() {
        bail!("the kernel has no bridge filter (module br_netfilter), which Services in a cluster need");
    }
    Ok(())
}

fn is_there(program: &str) -> bool {
    is_installed(program) || (program == "netavark" && Path::new(NETAVARK).is_file())
}
