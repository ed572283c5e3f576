//! The official downloads, tried first: what a machine can fetch it need not build.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::catalogue::{DigestForm, Image, MirrorFile};
use super::mirror::digest_in;
use super::oci::{Registry, file_digest};
use crate::command::output;

/// How long a host may take to accept a connection: a reachable one answers in a fraction of it, and an unreachable
/// one must not hold the build up.
const CONNECT_SECONDS: &str = "4";

/// Which hosts answer. Each is asked once.
pub struct Official {
    reachable: BTreeMap<String, bool>,
}

/// What decides between official downloads and building: `KUBEWRIGHT_ARTEFACTS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preference {
    /// Official where reachable, else built.
    Auto,
    /// Only official; what cannot be fetched is an error.
    Official,
    /// Built, without asking anybody.
    Modules,
}

impl Preference {
    /// Reads `KUBEWRIGHT_ARTEFACTS`: `auto` (the default), `official` or `modules`.
    ///
    /// # Errors
    /// It has another value.
    pub fn from_environment() -> Result<Self> {
        match std::env::var("KUBEWRIGHT_ARTEFACTS").unwrap_or_default().as_str() {
            "" | "auto" => Ok(Self::Auto),
            "official" => Ok(Self::Official),
            "modules" => Ok(Self::Modules),
            other => bail!("KUBEWRIGHT_ARTEFACTS is {other:?}; it may be auto, official or modules"),
        }
    }
}

impl Official {
    /// Asks these hosts, all at once.
    pub fn probe(hosts: &BTreeSet<String>, preference: Preference) -> Self {
        if preference != Preference::Auto {
            let all = preference == Preference::Official;
            return Self { reachable: hosts.iter().map(|host| (host.clone(), all)).collect() };
        }
        let reachable = std::thread::scope(|scope| {
            let probes: Vec<_> = hosts.iter().map(|host| (host.clone(), scope.spawn(move || answers(host)))).collect();
            probes.into_iter().map(|(host, probe)| (host, probe.join().unwrap_or(false))).collect()
        });
        Self { reachable }
    }

    /// Whether this host answered and nothing failed there since.
    pub fn reaches(&self, host: &str) -> bool {
        self.reachable.get(host).copied().unwrap_or(false)
    }

    /// Leaves a host that failed alone from now on.
    pub fn give_up(&mut self, host: &str) {
        self.reachable.insert(host.to_string(), false);
    }

    /// Hosts in two lists, for people: those that answer, those that do not.
    pub fn describe(&self) -> (Vec<&str>, Vec<&str>) {
        let names = |answered: bool| {
            let chosen = self.reachable.iter().filter(move |(_, reachable)| **reachable == answered);
            chosen.map(|(host, _)| host.as_str()).collect()
        };
        (names(true), names(false))
    }
}

/// The host of an address without scheme.
pub fn host_of(address: &str) -> &str {
    address.split('/').next().unwrap_or_default()
}

/// Any answer counts, also "not found" for the bare address.
fn answers(host: &str) -> bool {
    let mut command = Command::new("curl");
    command.args(["-sS", "-o", "/dev/null", "--connect-timeout", CONNECT_SECONDS, "--max-time", "10"]);
    output(command.arg(format!("https://{host}/"))).is_ok()
}

/// Fetches a file and its digest into the mirror and compares the two.
///
/// # Errors
/// It cannot be fetched or does not match its digest; nothing is left in the mirror then.
pub fn fetch_file(file: &MirrorFile, mirror: &Path) -> Result<()> {
    let target = mirror.join(&file.path);
    let digest_path = target.with_file_name(&file.digest.file);
    let digest_address = sibling(&file.path, &file.digest.file);
    let partial = target.with_extension("partial");
    fs::create_dir_all(target.parent().context("a file is in a folder")?)?;
    let fetch = |address: &str, to: &Path| {
        let mut command = Command::new("curl");
        command.args(["-fsSL", "--retry", "2", "--connect-timeout", CONNECT_SECONDS, "-o"]);
        output(command.arg(to).arg(format!("https://{address}")))
    };
    fetch(&digest_address, &digest_path)?;
    fetch(&file.path, &partial)?;
    let name = file.path.rsplit('/').next().unwrap_or_default();
    let expected = digest_in(&fs::read_to_string(&digest_path)?, file.digest.form, name)
        .with_context(|| format!("{digest_address} has no digest of {name}"))?;
    let found = file_digest(&partial)?;
    if found != expected {
        fs::remove_file(&partial)?;
        fs::remove_file(&digest_path)?;
        bail!("https://{} has the digest {found}, but {expected} is published", file.path);
    }
    fs::rename(&partial, &target)?;
    Ok(())
}

/// Copies an image into the registry's storage.
///
/// # Errors
/// skopeo is missing or cannot fetch it.
pub fn fetch_image(image: &Image, registry: &mut Registry) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut command = Command::new("skopeo");
    command.args(["copy", "--quiet", "--override-os", "linux", "--override-arch", "amd64"]);
    output(command.arg(format!("docker://{}", image.name)).arg(format!("dir:{}", folder.path().display())))?;
    registry.import(&image.name, folder.path())
}

fn sibling(path: &str, file: &str) -> String {
    path.rsplit_once('/').map_or_else(|| file.to_string(), |(folder, _)| format!("{folder}/{file}"))
}

/// How many lines and which form a digest file has when we write it.
pub fn digest_text(form: DigestForm, digest: &str, name: &str) -> String {
    match form {
        DigestForm::Bare => digest.to_string(),
        DigestForm::Named => format!("{digest}  {name}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_stands_beside_its_file() {
        assert_eq!(sibling("dl.k8s.io/a/kubelet", "kubelet.sha256"), "dl.k8s.io/a/kubelet.sha256");
    }

    #[test]
    fn a_host_that_failed_is_left_alone() {
        let hosts = BTreeSet::from(["dl.k8s.io".to_string()]);
        let mut official = Official::probe(&hosts, Preference::Official);
        assert!(official.reaches("dl.k8s.io"));
        official.give_up("dl.k8s.io");
        assert!(!official.reaches("dl.k8s.io"));
        assert_eq!(official.describe(), (vec![], vec!["dl.k8s.io"]));
    }
}
