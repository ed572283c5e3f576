//! The two images of a lab: the host, made with debootstrap, and the server, made of programs of this machine. Both are
//! kept as tar files in the cache, so that a fresh podman store costs seconds.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::podman;
use crate::artefact;
use crate::artefact::stamp::{Fingerprint, Stamps};
use crate::cache::{Cache, lab_data};
use crate::command::follow;
use crate::progress::Task;

/// Names of the images in podman's store.
pub struct Images {
    /// A plain Debian host.
    pub host: String,
    /// Mirror and registry.
    pub server: String,
}

/// Makes and imports what is missing.
///
/// # Errors
/// debootstrap or podman fails, or a program for the server is not installed.
pub fn ensure(cache: &Cache) -> Result<Images> {
    fs::create_dir_all(cache.lab())?;
    let files = lab_data("host");
    let debian = cache.lab().join("debian.tar");
    let packages = files.join("packages.txt");
    let script = files.join("debian.sh");
    // By far the slowest part, so it does not depend on anything else of a host.
    made_of(cache, &debian, &[&script, &packages], Command::new("sh").arg(&script).arg(&packages).arg(&debian))?;

    let host_tar = cache.lab().join("host.tar");
    let mut customise = Command::new("sh");
    customise.arg(files.join("customise.sh")).arg(&files).arg(&debian).arg(&host_tar);
    let print = made_of(cache, &host_tar, &[&files], &mut customise)?;
    let host = format!("localhost/kubewright-lab/host:{}", &print[..12]);
    if !podman::has_image(&host) {
        podman::import(&host_tar, &host)?;
    }

    let tar = artefact::server_rootfs(cache)?;
    let mut print = Fingerprint::of(&"server")?;
    // Its content is small and comes from this machine's packages, which may have been upgraded.
    print.path(&tar)?;
    let server = format!("localhost/kubewright-lab/server:{}", &print.hex()[..12]);
    if !podman::has_image(&server) {
        podman::import(&tar, &server)?;
    }
    Ok(Images { host, server })
}

/// Runs the command that makes this file, unless it was made of the same sources; gives their fingerprint.
fn made_of(cache: &Cache, target: &Path, sources: &[&Path], make: &mut Command) -> Result<String> {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let mut print = Fingerprint::of(&name)?;
    for source in sources {
        print.path(source)?;
    }
    let print = print.hex();
    let stamps = Stamps::in_folder(cache.stamps());
    if !(target.is_file() && stamps.is_fresh(&name, &print)) {
        let mut task = Task::begin(format!("making {name}"));
        follow(make, |line| task.note(line))?;
        stamps.write(&name, &print)?;
        task.done("made");
    }
    Ok(print)
}
