//! The example's cluster on a lab: its file, the program that builds it, and the kubectl to look at it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cache::{Cache, repository};
use crate::command;
use crate::lab::{DEFAULT_SUBNET, Lab};

/// Kubernetes of the example.
pub const VERSION: &str = "1.35.4";

/// Where the example is.
pub fn example() -> PathBuf {
    repository().join("examples/lab-ha.yaml")
}

/// The example for this lab: its hosts alone, its network, its ssh configuration.
///
/// # Errors
/// The example lacks a host of the lab, or cannot be read.
pub fn spec(lab: &Lab) -> Result<String> {
    of_its_hosts(&reached(lab)?, lab)
}

/// The example with all its hosts, on this lab's network and with its ssh configuration.
///
/// # Errors
/// The example cannot be read.
pub fn reached(lab: &Lab) -> Result<String> {
    let prefix = |subnet: &str| subnet.rsplit_once('.').map(|(prefix, _)| format!("{prefix}.")).unwrap_or_default();
    let ours = format!("{}.", lab.server.octets()[..3].iter().map(u8::to_string).collect::<Vec<_>>().join("."));
    let mut text = String::new();
    for line in fs::read_to_string(example())?.lines() {
        match line.split_once("configFile: ") {
            Some((before, rest)) => {
                let after = rest.find(char::is_whitespace).map_or("", |end| &rest[end..]);
                text += &format!("{before}configFile: {}{after}\n", lab.ssh_config.display());
            }
            None => text += &format!("{}\n", line.replace(&prefix(DEFAULT_SUBNET), &ours)),
        }
    }
    Ok(text)
}

fn of_its_hosts(example: &str, lab: &Lab) -> Result<String> {
    let mut text = String::new();
    let mut found = 0;
    for line in example.lines() {
        if let Some(name) = line.trim().strip_prefix("- {name: ").and_then(|rest| rest.split(',').next()) {
            if lab.spec.hosts.iter().all(|host| host.name != name) {
                continue;
            }
            found += 1;
        }
        text += &format!("{line}\n");
    }
    if found != lab.spec.hosts.len() {
        bail!("the example has {found} of the lab's {} hosts", lab.spec.hosts.len());
    }
    Ok(text)
}

/// Builds kubewright beside this program.
///
/// # Errors
/// It does not build.
pub fn build() -> Result<()> {
    shown(Command::new("cargo").args(["build", "--locked", "--package", "kubewright"]).current_dir(repository()))
}

/// The kubewright that [`build`] makes: cargo builds both into one folder.
pub fn program() -> PathBuf {
    std::env::current_exe().unwrap_or_default().with_file_name("kubewright")
}

/// Removes a spec's lock file: what the lab installs may have been built anew on this machine since.
///
/// # Errors
/// There is one and it cannot be removed.
pub fn forget_pins(spec: &Path) -> Result<()> {
    match fs::remove_file(spec.with_extension("lock.yaml")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// A spec with the folder that its operations are kept in.
pub struct Operator {
    /// The spec.
    pub spec: PathBuf,
    /// For its state.
    pub folder: PathBuf,
}

impl Operator {
    /// Runs kubewright in front of the user.
    ///
    /// # Errors
    /// It ends with another status than 0.
    pub fn run(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(program());
        shown(command.args(arguments).arg("-f").arg(&self.spec).env("XDG_STATE_HOME", self.folder.join("state")))
    }

    /// Has the kubeconfig written, and gives a kubectl with it.
    ///
    /// # Errors
    /// There is no cluster yet.
    pub fn kubectl(&self, cache: &Cache) -> Result<Kubectl> {
        let kubeconfig = self.folder.join("lab.kubeconfig");
        self.run(&["kubeconfig", "-o", &kubeconfig.to_string_lossy()])?;
        Ok(Kubectl::new(cache, VERSION, kubeconfig))
    }
}

/// kubectl with a kubeconfig.
pub struct Kubectl {
    program: PathBuf,
    /// What it is called with.
    pub kubeconfig: PathBuf,
}

impl Kubectl {
    /// The one of that version which the lab serves.
    pub fn new(cache: &Cache, version: &str, kubeconfig: PathBuf) -> Self {
        let program = cache.mirror().join(format!("dl.k8s.io/release/v{version}/bin/linux/amd64/kubectl"));
        Self { program, kubeconfig }
    }

    /// Runs it; its standard output.
    ///
    /// # Errors
    /// It fails, with its last words.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        command::output(Command::new(&self.program).arg("--kubeconfig").arg(&self.kubeconfig).args(arguments))
    }
}

/// Runs a program in front of the user, with the terminal as its own.
///
/// # Errors
/// It cannot be started, or ends with another status than 0.
pub fn shown(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{} cannot be started", command.get_program().display()))?;
    if !status.success() {
        bail!("{} ended with {status}", command.get_program().display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::LabSpec;

    fn lab(subnet: &str, hosts: &[&str]) -> Lab {
        let spec = LabSpec::new("other", subnet).unwrap().with_hosts(hosts.iter().copied()).unwrap();
        Lab {
            server: spec.subnet.host(2).unwrap(),
            spec,
            network: "n".into(),
            key: "k".into(),
            known_hosts: "h".into(),
            ssh_config: "/lab/ssh_config".into(),
        }
    }

    #[test]
    fn the_example_becomes_the_spec_of_this_lab() {
        let lab = lab("10.82.0.0/24", &["cp1", "cp2", "cp3", "w1"]);
        let text = spec(&lab).unwrap();
        for host in &lab.spec.hosts {
            assert!(text.contains(&format!("- {{name: {}, address: {},", host.name, host.address)), "{text}");
        }
        assert!(text.contains("configFile: /lab/ssh_config ") && text.contains("mirror: http://10.82.0.2 "), "{text}");
        assert!(!text.contains("10.77.0.") && !text.contains("name: w2"), "{text}");
        assert!(of_its_hosts("hosts:\n- {name: cp1, address: 10.77.0.11}\n", &lab).is_err());
    }

    #[test]
    fn the_default_lab_needs_nothing_but_its_ssh_configuration() {
        let example = fs::read_to_string(example()).unwrap();
        let text = spec(&lab(DEFAULT_SUBNET, &crate::lab::DEFAULT_HOSTS)).unwrap();
        let others = text.lines().zip(example.lines()).filter(|(ours, example)| ours != example).count();
        assert_eq!((text.lines().count(), others), (example.lines().count(), 1));
    }
}
