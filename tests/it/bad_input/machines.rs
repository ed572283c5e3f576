//! Several machines out of this one: each an sshd whose logins see an `/etc`, a `/var/lib` and a `/run` of their own and
//! stand-ins for what would tell of this machine instead. The program asks them as it asks real ones; nothing can be
//! built on them, and whoever tries is noted.

use std::fs;
use std::path::PathBuf;

use kubewright_core::plan::hex;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::cli::bench::{Bench, Told};
use crate::host::sshd::{self, Sshd};
use crate::web::{Reply, Request, Web};

/// What a login runs: the folders are bound for this session alone, so that it leaves nothing.
const LOGIN: &str = r#"#!/bin/sh
here=${0%/login}
export here
[ ! -f "$here/noise" ] || . "$here/noise"
exec unshare --mount --uts sh -c '
	set -e
	mount -t tmpfs -o size=100g tmpfs /mnt
	mkdir /mnt/upper /mnt/work
	mount -t overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work overlay /etc
	cat "$here/machine-id" >/etc/machine-id
	rm -rf /etc/cni
	mount -t tmpfs -o size=100g tmpfs /var/lib
	mount -t tmpfs -o size=100g tmpfs /usr/local
	mount -t tmpfs tmpfs /run
	mkdir -p /run/systemd/system
	mkdir /var/lib/kubewright
	mount --bind "$here/state" /var/lib/kubewright
	hostname "$(cat "$here/name")"
	PATH="$here/bin:$PATH"
	export PATH
	exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"'
"#;

/// Stand-ins by name. What starts something is noted and refused.
const PROGRAMS: [(&str, &str); 7] = [
    ("ss", "cat \"$here/ss\""),
    ("ip", "cat \"$here/ip\""),
    (
        "date",
        "case $1 in +%s%N) echo $(($(/bin/date +%s%N) + $(cat \"$here/ahead\") * 1000000000)) ;; *) exec /bin/date \"$@\" ;; esac",
    ),
    ("systemctl", "exit 1"),
    ("systemd-run", "echo \"$*\" >>\"$here/ran\"; exit 1"),
    ("apt-get", "echo \"$*\" >>\"$here/ran\"; exit 1"),
    ("modprobe", "echo \"$*\" >>\"$here/ran\"; exit 1"),
];

/// One of them.
pub struct Machine {
    pub sshd: Sshd,
    folder: TempDir,
}

impl Machine {
    fn start(number: usize, name: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("kw-machine-").tempdir_in("/tmp").unwrap();
        let login = folder.path().join("login");
        let machine = Self { sshd: Sshd::start(&format!("ForceCommand {}", login.display())), folder };
        machine.program("login", LOGIN);
        for (name, text) in PROGRAMS {
            machine.program(&format!("bin/{name}"), &format!("#!/bin/sh\n{text}\n"));
        }
        fs::create_dir(machine.path("state")).unwrap();
        machine.write("machine-id", &format!("{number:032x}\n"));
        machine.write("name", name);
        machine.write("ss", "");
        machine.write("ip", &format!("2: eth0    inet 10.77.0.{}/24 brd 10.77.0.255 scope global eth0\n", 10 + number));
        machine.write("ahead", "0");
        machine
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub fn program(&self, name: &str, text: &str) {
        sshd::program_at(&self.path(name), text);
    }

    /// Makes its user one who needs sudo, with the password `sesame`.
    pub fn needs_sudo(&self) {
        self.program("bin/sudo", crate::host::login::SUDO);
        self.program("bin/id", "#!/bin/sh\necho 1000\n");
    }
}

/// Machines, a mirror that holds everything, and the program on its bench.
pub struct Site {
    pub bench: Bench,
    pub machines: Vec<Machine>,
    pub mirror: Web,
}

impl Site {
    /// So many control planes, and a spec for them.
    pub fn new(machines: usize) -> Self {
        Self::with_mirror(machines, published)
    }

    /// The same with another mirror.
    pub fn with_mirror(machines: usize, answer: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Self {
        let machines = (1..=machines).map(|number| Machine::start(number, &format!("cp{number}"))).collect();
        let site = Self { bench: Bench::new(), machines, mirror: Web::start(answer) };
        site.bench.write("cluster.yaml", site.spec("1.35.4").as_bytes());
        site
    }

    /// The spec of this site.
    pub fn spec(&self, version: &str) -> String {
        let mirror = self.mirror.url("");
        let mut spec = format!(
            "apiVersion: kubewright.dev/v1alpha1\nkind: Cluster\nmetadata: {{name: lab}}\nspec:\n  kubernetes: {{version: {version}}}\n  kubelet: {{config: {{failCgroupV1: false, failSwapOn: false}}}}\n  \
             ssh: {{user: root, configFile: /dev/null}}\n  artefacts:\n    mirror: {mirror}\n    registryMirrors:\n      \
             registry.k8s.io: {mirror}\n      ghcr.io: {mirror}\n      docker.io: {mirror}\n  hosts:\n"
        );
        for (number, machine) in (1..).zip(&self.machines) {
            let at = machine.sshd.path("");
            spec += &format!(
                "  - {{name: cp{number}, address: 127.0.0.1, privateAddress: 10.77.0.1{number}, roles: [controlPlane, etcd], \
                 ssh: {{port: {}, identityFile: {at}client, knownHostsFile: {at}known}}}}\n",
                machine.sshd.port,
                at = at.display()
            );
        }
        spec
    }

    pub fn run(&self, arguments: &[&str]) -> Told {
        self.bench.run(arguments)
    }

    /// That nothing was done: nothing started, no file of ours, no operation and no lock file.
    #[track_caller]
    pub fn is_untouched(&self) {
        for machine in &self.machines {
            assert!(!machine.path("ran").exists(), "{}", fs::read_to_string(machine.path("ran")).unwrap());
            let files: Vec<_> =
                machine.path("state").read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
            let known = |name: &std::ffi::OsString| name == "host" || name == "fence";
            assert!(files.iter().all(known), "{files:?}");
        }
        assert_eq!(self.bench.operations(), 0, "no operation is kept");
    }
}

/// A digest for anything, by its name.
pub fn digest(name: &str) -> String {
    hex(&Sha256::digest(name.as_bytes()))
}

/// A mirror and registry that hold everything there is; nothing of Kubernetes 1.35.99.
pub fn published(_: usize, request: &Request) -> Reply {
    let path = request.path.split('?').next().unwrap_or_default();
    if path.contains("1.35.99") {
        return Reply::status(404);
    }
    if path.starts_with("/v2/") {
        return Reply::status(200).with("Docker-Content-Digest", format!("sha256:{}", digest(path)));
    }
    let file = path.rsplit('/').next().unwrap_or_default();
    // As their makers write them: the digest alone, or a list with names.
    Reply::whole(match file.strip_suffix(".sha256sum") {
        Some("runc") => format!("{}  runc.amd64\n{}  runc.arm64\n", digest("runc.amd64"), digest("runc.arm64")),
        Some(name) => format!("{}  {name}\n", digest(name)),
        None => {
            let name = file.trim_end_matches(".sha256");
            format!("{}  {name}\n", digest(name))
        }
    })
}
