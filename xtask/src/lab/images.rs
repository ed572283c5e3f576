//! The two images of a lab: the host, made with debootstrap, and the server, made of programs of this machine. Both are
//! kept as tar files in the cache, so that a fresh podman store costs seconds.

use std::fs;
use std::process::Command;

use anyhow::Result;

use super::podman;
use crate::artefact::stamp::{Fingerprint, Stamps};
use crate::artefact::{self};
use crate::cache::{Cache, lab_data};
use crate::command::output;
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
    let mut print = Fingerprint::of(&"host")?;
    print.path(&lab_data("host"))?;
    let print = print.hex();
    let tar = cache.lab().join("host.tar");
    let stamps = Stamps::in_folder(cache.stamps());
    if !(tar.is_file() && stamps.is_fresh("host.tar", &print)) {
        let task = Task::begin("making the image of a host with debootstrap");
        output(Command::new("sh").arg(lab_data("host/build.sh")).arg(lab_data("host")).arg(&tar))?;
        stamps.write("host.tar", &print)?;
        task.done("made");
    }
    let host = format!("localhost/kubewright-lab/host:{}", &print[..12]);
    if !podman::has_image(&host) {
        podman::import(&tar, &host)?;
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
