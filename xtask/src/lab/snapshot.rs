//! States of hosts kept in the cache, so that a scenario starts in seconds from a prepared host or a whole cluster.
//!
//! A host is its changes to the image (the upper folder of its overlay) and its /var. Both are copied with all
//! attributes while the host is down; its identity (SSH host key, machine id) is among them, and `lab-init` makes a new
//! one when the copy starts under another name, address or key.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{Lab, host, podman};
use crate::cache::Cache;
use crate::command::output;
use crate::progress::Task;

/// The two parts of a host, in the order of [`podman::folders`].
const PARTS: [&str; 2] = ["root", "var"];

/// Its presence says that a snapshot is whole.
const COMPLETE: &str = "complete";

fn folder(cache: &Cache, label: &str) -> PathBuf {
    cache.root().join("snapshots").join(label)
}

/// Whether a snapshot of this label is complete.
pub fn exists(cache: &Cache, label: &str) -> bool {
    folder(cache, label).join(COMPLETE).is_file()
}

/// Saves all hosts of a lab.
///
/// # Errors
/// A host does not stop or come back, or the copy fails.
pub fn save(cache: &Cache, lab: &Lab, label: &str) -> Result<()> {
    if label.is_empty() || label.contains(['/', '.']) {
        bail!("{label:?} cannot name a snapshot");
    }
    let task = Task::begin(format!("saving {} as {label}", lab.spec.name));
    let target = folder(cache, label);
    if target.exists() {
        fs::remove_dir_all(&target).context("cannot remove the earlier snapshot")?;
    }
    for_all(lab, |name| lab.stop(name))?;
    let copied = for_all(lab, |name| {
        for (source, part) in podman::folders(&lab.spec.name, name)?.iter().zip(PARTS) {
            copy(source, &target.join(name).join(part))?;
        }
        Ok(())
    });
    // The hosts come back also if the copy failed.
    let started = for_all(lab, |name| lab.start(name));
    copied.and(started)?;
    fs::write(target.join(COMPLETE), "")?;
    task.done("saved");
    Ok(())
}

/// Puts all hosts of a lab back.
///
/// # Errors
/// There is no such snapshot, or a host does not come back.
pub fn restore(cache: &Cache, lab: &Lab, label: &str) -> Result<()> {
    let task = Task::begin(format!("restoring {} to {label}", lab.spec.name));
    // What the hosts hold is thrown away, so there is nothing to end in order.
    for_all(lab, |name| lab.kill(name))?;
    for_all(lab, |name| {
        fill(cache, &lab.spec.name, name, label)?;
        podman::start(&podman::container(&lab.spec.name, name))?;
        host::wait_up(lab, lab.host(name)?).map(drop)
    })?;
    task.done("restored");
    Ok(())
}

/// Puts the saved state of the host of the same name into a host that is down.
///
/// # Errors
/// There is no such snapshot, it has no such host, or the copy fails.
pub fn fill(cache: &Cache, lab: &str, host: &str, label: &str) -> Result<()> {
    let source = folder(cache, label).join(host);
    if !exists(cache, label) || !source.is_dir() {
        bail!("there is no complete snapshot {label} of {host}");
    }
    for (target, part) in podman::folders(lab, host)?.iter().zip(PARTS) {
        // Only the content goes: the folder itself is podman's.
        let mut command = Command::new("find");
        output(command.arg(target).args(["-mindepth", "1", "-delete"]))?;
        copy(&source.join(part), target)?;
    }
    Ok(())
}

/// Removes a snapshot, if there is one.
///
/// # Errors
/// Its files cannot be removed.
pub fn forget(cache: &Cache, label: &str) -> Result<()> {
    let folder = folder(cache, label);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}

/// Copies the content of a folder with everything an overlay needs: devices (its whiteouts), extended attributes, hard
/// links; where the filesystem can share blocks, nothing is written.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    let mut command = Command::new("cp");
    command.args(["--archive", "--reflink=auto", "--sparse=auto", "--no-target-directory"]);
    output(command.arg(from).arg(to)).map(drop)
}

/// Does the same to all hosts at once.
fn for_all(lab: &Lab, act: impl Fn(&str) -> Result<()> + Sync) -> Result<()> {
    std::thread::scope(|scope| {
        let act = &act;
        let threads: Vec<_> =
            lab.spec.hosts.iter().map(|host| (&host.name, scope.spawn(move || act(&host.name)))).collect();
        for (name, thread) in threads {
            thread.join().unwrap_or_else(|_| bail!("it panicked")).with_context(|| format!("host {name}"))?;
        }
        Ok(())
    })
}
