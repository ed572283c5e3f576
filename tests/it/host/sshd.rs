//! A private sshd on a loopback port, with keys and configuration of its own, for as long as a test needs it.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kubewright::host::ssh::{SshHosts, SshTarget};
use kubewright_core::ids::HostName;
use kubewright_core::spec::{HostKeys, Ssh};
use secrecy::SecretString;
use tempfile::TempDir;

const SSHD: &str = "/usr/sbin/sshd";

/// A running sshd; ends when dropped.
pub struct Sshd {
    pub folder: TempDir,
    pub port: u16,
    server: Child,
}

/// Whether this machine can run these tests; says so if not.
pub fn possible() -> bool {
    let root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let possible = root && Path::new(SSHD).exists();
    if !possible {
        assert!(std::env::var_os("KUBEWRIGHT_REQUIRE_LAB").is_none(), "these tests need root and openssh-server");
        eprintln!("SKIPPED: these tests need root and openssh-server");
    }
    possible
}

impl Sshd {
    /// Starts one; `extra` is more of its configuration.
    pub fn start(extra: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("kw-sshd-").tempdir_in("/tmp").unwrap();
        for key in ["host", "client", "other"] {
            keygen(&folder.path().join(key));
        }
        fs::copy(folder.path().join("client.pub"), folder.path().join("authorized")).unwrap();
        fs::create_dir_all("/run/sshd").unwrap();
        // The port is free until somebody takes it in between; then the next one is tried.
        for _ in 0..20 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if let Some(server) = serve(folder.path(), port, extra) {
                let sshd = Self { folder, port, server };
                sshd.trust("host");
                return sshd;
            }
        }
        panic!("sshd does not start: {}", fs::read_to_string(folder.path().join("log")).unwrap_or_default());
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes `known` name one of our keys as the host's.
    pub fn trust(&self, key: &str) {
        let public = fs::read_to_string(self.path(&format!("{key}.pub"))).unwrap();
        fs::write(self.path("known"), format!("[127.0.0.1]:{} {public}", self.port)).unwrap();
    }

    /// How the spec would describe it.
    pub fn settings(&self) -> Ssh {
        let text = |path: PathBuf| Some(path.to_str().unwrap().to_owned());
        Ssh {
            user: Some("root".to_owned()),
            port: Some(self.port),
            identity_file: text(self.path("client")),
            config_file: Some("/dev/null".to_owned()),
            known_hosts_file: text(self.path("known")),
            bastion: None,
            host_keys: HostKeys::Strict,
        }
    }

    pub fn hosts(&self) -> SshHosts {
        hosts(self.settings(), None)
    }

    /// Processes of sshd that serve connections.
    pub fn sessions(&self) -> Vec<u32> {
        children(self.server.id())
    }

    /// Ends every connection as if a cable were cut at the far side.
    pub fn cut(&self) {
        for process in self.sessions() {
            let _ = Command::new("kill").args(["-9", &process.to_string()]).status();
        }
    }
}

impl Sshd {
    /// Nobody listens any more.
    pub fn stop(&mut self) {
        self.cut();
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One host by the name `cp1`.
pub fn hosts(ssh: Ssh, sudo_password: Option<SecretString>) -> SshHosts {
    SshHosts::new([SshTarget { name: name(), address: "127.0.0.1".to_owned(), ssh, sudo_password }]).unwrap()
}

pub fn name() -> HostName {
    "cp1".into()
}

/// Repeats a question until it is answered with yes; only for what gives no event, such as the end of a process that
/// is not ours.
pub fn eventually(what: &str, mut question: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !question() {
        assert!(begin.elapsed() < Duration::from_secs(10), "not within 10 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn children(parent: u32) -> Vec<u32> {
    let output = Command::new("ps").args(["-o", "pid=", "--ppid", &parent.to_string()]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

fn keygen(path: &Path) {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status().unwrap();
    assert!(made.success());
}

fn serve(folder: &Path, port: u16, extra: &str) -> Option<Child> {
    let config = folder.join("sshd_config");
    let at = folder.display();
    fs::write(
        &config,
        format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/host\nPidFile none\nAuthorizedKeysFile {at}/authorized\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nLogLevel VERBOSE\n\
             SetEnv HOME={at}\n{extra}\n"
        ),
    )
    .unwrap();
    let log = fs::File::create(folder.join("log")).unwrap();
    let mut server =
        Command::new(SSHD).arg("-D").arg("-e").arg("-f").arg(&config).stdin(Stdio::null()).stderr(log).spawn().unwrap();
    let begin = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if server.try_wait().unwrap().is_some() || begin.elapsed() > Duration::from_secs(10) {
            let _ = server.kill();
            let _ = server.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Some(server)
}

/// Writes a program into the sshd's folder.
pub fn program(sshd: &Sshd, name: &str, text: &str) {
    program_at(&sshd.path(name), text);
}

/// Writes a program.
pub fn program_at(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
