//! SSH: the key of whoever raises a lab, the hosts' real keys, and a configuration that uses both.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::{HostSpec, Lab, folder_of};
use crate::artefact::stamp::write_whole;
use crate::cache::Cache;
use crate::command::output;

/// The key pair of all labs of this cache.
pub struct Identity {
    /// Path of the private key.
    pub private_key: PathBuf,
    /// The public key, one line.
    pub public_key: String,
}

impl Identity {
    /// The key pair, made at the first call.
    ///
    /// # Errors
    /// ssh-keygen fails.
    pub fn ensure(cache: &Cache) -> Result<Self> {
        let private_key = cache.lab().join("ssh/id_ed25519");
        let public = private_key.with_extension("pub");
        if !public.is_file() {
            fs::create_dir_all(folder_of(&private_key))?;
            let mut command = Command::new("ssh-keygen");
            command.args(["-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f"]).arg(&private_key);
            output(&mut command)?;
        }
        let public_key = fs::read_to_string(&public).with_context(|| format!("cannot read {}", public.display()))?;
        Ok(Self { private_key, public_key: public_key.trim().to_string() })
    }
}

/// Writes `known_hosts` and `ssh_config` of a lab; the keys are in the order of its hosts.
///
/// # Errors
/// They cannot be written.
pub fn write_files(lab: &Lab, keys: &[String]) -> Result<()> {
    write_whole(&lab.known_hosts, known_hosts(&lab.spec.hosts, keys).as_bytes())?;
    write_whole(&lab.ssh_config, ssh_config(lab).as_bytes())
}

/// Gives one host another key in `known_hosts`.
///
/// # Errors
/// The file cannot be read or written.
pub fn replace_key(lab: &Lab, host: &HostSpec, key: &str) -> Result<()> {
    let text = std::fs::read_to_string(&lab.known_hosts)?;
    let own = format!("{},{} ", host.name, host.address);
    let others: String = text.lines().filter(|line| !line.starts_with(&own)).map(|line| format!("{line}\n")).collect();
    let line = known_hosts(std::slice::from_ref(host), &[key.to_owned()]);
    write_whole(&lab.known_hosts, format!("{others}{line}").as_bytes())
}

fn known_hosts(hosts: &[HostSpec], keys: &[String]) -> String {
    let mut text = String::new();
    for (host, key) in hosts.iter().zip(keys) {
        // Type and key, without the comment. Writing to a String cannot fail.
        let key: Vec<&str> = key.split_whitespace().take(2).collect();
        let _ = writeln!(text, "{},{} {}", host.name, host.address, key.join(" "));
    }
    text
}

fn ssh_config(lab: &Lab) -> String {
    let mut text = String::new();
    for host in &lab.spec.hosts {
        let _ = writeln!(text, "Host {}\n  HostName {}", host.name, host.address);
    }
    let names: Vec<String> = lab.spec.hosts.iter().map(|host| format!("{} {}", host.name, host.address)).collect();
    let _ = write!(
        text,
        "Host {}\n  User ops\n  IdentityFile {}\n  IdentitiesOnly yes\n  UserKnownHostsFile {}\n  StrictHostKeyChecking yes\n",
        names.join(" "),
        lab.key.display(),
        lab.known_hosts.display(),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::LabSpec;

    fn lab() -> Lab {
        let spec = LabSpec::new("t", "10.9.0.0/24").unwrap().with_hosts(["cp1"]).unwrap();
        let mut lab = Lab::planned(&crate::cache::Cache::at("/c"), &spec, "/k".into()).unwrap();
        lab.known_hosts = "/h".into();
        lab
    }

    #[test]
    fn known_hosts_has_name_and_address_without_comment() {
        let text = known_hosts(&lab().spec.hosts, &["ssh-ed25519 AAAA root@cp1".into()]);
        assert_eq!(text, "cp1,10.9.0.11 ssh-ed25519 AAAA\n");
    }

    #[test]
    fn ssh_config_checks_host_keys() {
        assert_eq!(
            ssh_config(&lab()),
            "Host cp1\n  HostName 10.9.0.11\nHost cp1 10.9.0.11\n  User ops\n  IdentityFile /k\n  IdentitiesOnly yes\n  \
             UserKnownHostsFile /h\n  StrictHostKeyChecking yes\n"
        );
    }
}
