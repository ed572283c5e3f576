//! Makes connections: an `ssh` in the background for each host, told what the spec says, its control socket in a
//! private folder.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kubewright_core::spec::{HostKeys, Ssh};
use openssh::Session;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::SshTarget;
use super::diagnose;
use crate::ports::HostError;

/// ssh's own limit for the TCP connection and the key exchange.
const CONNECT_TIMEOUT_SECONDS: u32 = 10;

/// Our limit for everything up to a working connection: a host with several addresses, a slow login, a bastion first.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(45);

/// A silent link counts as lost after three unanswered questions, so after half a minute.
const ALIVE_INTERVAL_SECONDS: u32 = 10;

/// How long a connection outlives its last use: short enough that nothing stays for long if we are killed, long enough
/// for a tunnel whose user thinks for a while. A run after that connects again.
const PERSIST_SECONDS: u32 = 180;

/// Key exchanges at once: they cost processor time here, and an agent answers one after the other.
const CONNECTS_AT_ONCE: usize = 32;

/// sshd's default `MaxStartups` begins to drop at the eleventh login in progress.
const CONNECTS_THROUGH_A_BASTION: usize = 8;

/// A Unix socket's path has 107 bytes; `/.ssh-XXXXXX/master.` and the 16 random letters that ssh adds while it makes
/// the socket take 40 of them.
const LONGEST_FOLDER: usize = 60;

/// How our folders begin; the process follows.
const FOLDER: &str = "kw-";

/// Says in each of them that it is ours.
const CLAIM: &str = "kubewright";

/// Where and how connections are made.
pub(super) struct Connector {
    folder: TempDir,
    gate: Semaphore,
    bastions: Mutex<BTreeMap<String, Arc<Semaphore>>>,
}

impl Connector {
    pub(super) fn new() -> io::Result<Self> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let fits = |folder: &PathBuf| {
            folder.is_dir() && folder.as_os_str().len() + "/kw-4194304-XXXXXX".len() <= LONGEST_FOLDER
        };
        let parent = runtime.filter(fits).unwrap_or_else(|| PathBuf::from("/tmp"));
        remove_leftovers(&parent);
        let folder = private_folder(&format!("{FOLDER}{}-", std::process::id()), &parent)?;
        write_private(&folder.path().join(CLAIM), "")?;
        Ok(Self { folder, gate: Semaphore::new(CONNECTS_AT_ONCE), bastions: Mutex::default() })
    }

    /// Connects and logs in.
    ///
    /// # Errors
    /// [`HostError::Connect`], with what to do about it.
    pub(super) async fn connect(&self, target: &SshTarget) -> Result<Session, HostError> {
        let failed = |reason: String, hint: Option<String>| HostError::Connect {
            host: target.name.clone(),
            address: target.address.clone(),
            reason,
            hint,
        };
        if target.address.is_empty() || target.address.starts_with('-') {
            return Err(failed("this is no address".to_owned(), None));
        }
        let closing = || failed("connections are being closed".to_owned(), None);
        let bastion = target.ssh.bastion.as_ref().map(|bastion| self.bastion(bastion));
        let _through = match &bastion {
            Some(bastion) => Some(bastion.acquire().await.map_err(|_| closing())?),
            None => None,
        };
        let _gate = self.gate.acquire().await.map_err(|_| closing())?;

        let local = |what: &str, error: io::Error| failed(format!("{what}: {error}"), None);
        let folder = private_folder(".ssh-", self.folder.path());
        let folder = folder.map_err(|error| local("cannot make a folder for the control socket", error))?;
        let config = folder.path().join("config");
        let users = match &target.ssh.config_file {
            Some(path) => read_configuration(path)
                .map_err(|error| local(&format!("cannot read `ssh.configFile` {path}"), error))?,
            None => USERS_CONFIGURATION.to_owned(),
        };
        write_private(&config, &configuration(&target.ssh, &users))
            .map_err(|error| local("cannot write ssh's configuration", error))?;

        let log = folder.path().join("log");
        let mut ssh = Command::new("ssh");
        ssh.arg("-F").arg(&config).arg("-E").arg(&log);
        ssh.arg("-S")
            .arg(folder.path().join("master"))
            .args(["-M", "-N", "-f", "-o"])
            .arg(format!("ControlPersist={PERSIST_SECONDS}"));
        ssh.args(destination_arguments(&target.ssh)).arg("--").arg(&target.address);
        // An own process group: Ctrl-C at the terminal is for us, and a login that it cut off would look like a host out of reach.
        ssh.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).kill_on_drop(true);
        tracing::debug!(host = %target.name, address = %target.address, "connect");

        match timeout(LOGIN_TIMEOUT, ssh.status()).await {
            Ok(Ok(status)) if status.success() => {
                tracing::debug!(host = %target.name, "connected");
                Ok(Session::new_native_mux(folder))
            }
            Ok(Ok(_)) => {
                let mut said = fs::read_to_string(&log).unwrap_or_default();
                if let (Some(bastion), true) = (&target.ssh.bastion, diagnose::is_silent_about_the_way(&said)) {
                    let more = ask_bastion(&config, bastion, target).await;
                    said = format!("{said}\n{more}");
                }
                let diagnosis = diagnose::diagnose(&said, target);
                Err(failed(diagnosis.reason, diagnosis.hint))
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Err(failed(
                "there is no `ssh` on this machine".to_owned(),
                Some("install the OpenSSH client".to_owned()),
            )),
            Ok(Err(error)) => Err(local("cannot start ssh", error)),
            Err(_) => {
                let seconds = LOGIN_TIMEOUT.as_secs();
                let hint =
                    "the host accepts connections but does not finish the login: look at its load and at sshd's log";
                Err(failed(format!("no login within {seconds} s"), Some(hint.to_owned())))
            }
        }
    }

    fn bastion(&self, name: &str) -> Arc<Semaphore> {
        let mut bastions = self.bastions.lock().unwrap_or_else(PoisonError::into_inner);
        let gate =
            bastions.entry(name.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(CONNECTS_THROUGH_A_BASTION)));
        Arc::clone(gate)
    }
}

/// What is meant for the host alone and not for its bastion.
fn destination_arguments(ssh: &Ssh) -> Vec<String> {
    let mut arguments = Vec::new();
    if let Some(port) = ssh.port {
        arguments.extend(["-p".to_owned(), port.to_string()]);
    }
    if let Some(user) = &ssh.user {
        arguments.extend(["-l".to_owned(), user.clone()]);
    }
    if ssh.identity_file.is_some() {
        // The user named the key: an agent full of others would use up the server's patience first.
        arguments.extend(["-o".to_owned(), "IdentitiesOnly=yes".to_owned()]);
    }
    if let Some(bastion) = &ssh.bastion {
        arguments.extend(["-J".to_owned(), bastion.clone()]);
    }
    arguments
}

/// What ssh itself would read.
const USERS_CONFIGURATION: &str = "Include ~/.ssh/config\nInclude /etc/ssh/ssh_config\n";

/// The text of the user's configuration file. It is copied, as ssh is stricter with an included file than with one
/// that it is given.
fn read_configuration(path: &str) -> io::Result<String> {
    let home = std::env::home_dir().filter(|_| path.starts_with("~/"));
    fs::read_to_string(home.map_or_else(|| PathBuf::from(path), |home| home.join(&path[2..])))
}

/// An ssh configuration that says what the spec says and leaves the rest to the user's own. As a file, because ssh
/// hands a file on to the ssh that it starts for the bastion, but not its arguments.
fn configuration(ssh: &Ssh, users: &str) -> String {
    let checking = match ssh.host_keys {
        HostKeys::Strict => "yes",
        HostKeys::AcceptNew => "accept-new",
    };
    let mut text = format!(
        "BatchMode yes\n\
         StrictHostKeyChecking {checking}\n\
         ConnectTimeout {CONNECT_TIMEOUT_SECONDS}\n\
         ServerAliveInterval {ALIVE_INTERVAL_SECONDS}\n\
         ServerAliveCountMax 3\n\
         ClearAllForwardings yes\n\
         ForwardAgent no\n\
         ForwardX11 no\n\
         PermitLocalCommand no\n\
         RequestTTY no\n\
         RemoteCommand none\n"
    );
    let mut file = |option: &str, path: &String| {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{option} {}", quoted(path));
    };
    if let Some(path) = &ssh.known_hosts_file {
        file("UserKnownHostsFile", path);
    }
    if let Some(path) = &ssh.identity_file {
        file("IdentityFile", path);
    }
    text.push_str(users);
    text
}

/// A path for ssh's configuration: absolute, because ssh reads a relative one from elsewhere, and in quotes.
fn quoted(path: &str) -> String {
    let path = if path.starts_with('~') || path.starts_with('%') {
        path.to_owned()
    } else {
        std::path::absolute(path).map_or_else(|_| path.to_owned(), |path| path.to_string_lossy().into_owned())
    };
    format!("\"{}\"", path.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', ""))
}

/// A new folder for us alone, whatever the umask: whoever reaches a control socket reaches the host.
fn private_folder(prefix: &str, parent: &Path) -> io::Result<TempDir> {
    tempfile::Builder::new().prefix(prefix).permissions(fs::Permissions::from_mode(0o700)).tempdir_in(parent)
}

/// Removes the folders of processes that were killed. Their connections end by themselves.
fn remove_leftovers(parent: &Path) {
    let process = |name: &str| name.strip_prefix(FOLDER)?.split_once('-')?.0.parse::<u32>().ok();
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let dead = entry
            .file_name()
            .to_str()
            .and_then(process)
            .is_some_and(|id| !Path::new("/proc").join(id.to_string()).exists());
        if dead && entry.path().join(CLAIM).exists() {
            // Somebody else's cannot be removed, and need not be.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())
}

/// ssh keeps quiet about why a bastion did not let it through, so the bastion is asked again, on its own.
async fn ask_bastion(config: &Path, bastion: &str, target: &SshTarget) -> String {
    let mut ssh = Command::new("ssh");
    ssh.arg("-F").arg(config).args(["-o", "ControlPath=none", "-W"]);
    ssh.arg(format!("[{}]:{}", target.address, target.ssh.port.unwrap_or(22)));
    let (jumps, last) = bastion.rsplit_once(',').map_or((None, bastion), |(jumps, last)| (Some(jumps), last));
    if let Some(jumps) = jumps {
        ssh.arg("-J").arg(jumps);
    }
    let address = match last.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()) {
        Some((address, port)) => {
            ssh.args(["-p", port]);
            address
        }
        None => last,
    };
    ssh.arg("--").arg(address).stdin(Stdio::null()).process_group(0).kill_on_drop(true);
    match timeout(LOGIN_TIMEOUT, ssh.output()).await {
        Ok(Ok(output)) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Ok(Err(_)) | Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_says_what_the_spec_says() {
        let ssh = Ssh {
            identity_file: Some("/keys/with space".to_owned()),
            known_hosts_file: Some("~/known".to_owned()),
            host_keys: HostKeys::AcceptNew,
            ..Ssh::default()
        };
        let text = configuration(&ssh, USERS_CONFIGURATION);
        assert!(text.contains("StrictHostKeyChecking accept-new\n"));
        assert!(text.contains("IdentityFile \"/keys/with space\"\nInclude ~/.ssh/config\n"));
        assert!(text.contains("UserKnownHostsFile \"~/known\"\n"));
        assert!(configuration(&Ssh::default(), "").contains("StrictHostKeyChecking yes\n"));
    }

    #[test]
    fn paths_are_quoted_and_absolute() {
        assert_eq!(quoted("/etc/x\"y"), "\"/etc/x\\\"y\"");
        assert!(quoted("keys/id").starts_with("\"/"));
        assert_eq!(quoted("~/.ssh/id"), "\"~/.ssh/id\"");
    }

    #[test]
    fn folders_of_the_dead_are_removed() {
        let parent = tempfile::tempdir().unwrap();
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        let [dead, living, foreign] =
            [format!("kw-{}-a", ended.id()), format!("kw-{}-a", std::process::id()), format!("kw-{}-b", ended.id())]
                .map(|name| parent.path().join(name));
        for folder in [&dead, &living, &foreign] {
            fs::create_dir(folder).unwrap();
        }
        for folder in [&dead, &living] {
            write_private(&folder.join(CLAIM), "").unwrap();
        }
        remove_leftovers(parent.path());
        assert_eq!((dead.exists(), living.exists(), foreign.exists()), (false, true, true));
    }

    #[test]
    fn the_folder_leaves_room_for_the_socket() {
        let connector = Connector::new().unwrap();
        assert!(connector.folder.path().as_os_str().len() <= LONGEST_FOLDER);
        let mode = fs::metadata(connector.folder.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
