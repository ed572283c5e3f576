//! Golden snapshots: small files of real etcd, with what etcd's own tools say of them, for the tests of `snapshot/`.
//!
//! For each minor a server is built from Go modules, filled by one fixed story, and saved three times: with its whole
//! history, after a compaction, and after a restore that bumped the revision. Beside each file stands what the server's
//! HashKV and `etcdutl snapshot status` answered.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::artefact;
use crate::artefact::catalogue::{Build, Module};
use crate::cache::{Cache, repository};
use crate::command::{Background, output};

/// The newest patch of each minor that can be had as Go modules. Another one makes other files: change both together.
const RELEASES: [&str; 3] = ["3.5.35", "3.6.16", "3.7.3"];
/// A quota that a few values of some kilobytes fill.
const QUOTA: u64 = 96 * 1024;
/// A member that has not come up by then will not.
const START: Duration = Duration::from_secs(30);

/// Makes all files anew, in `snapshot/tests/golden`.
///
/// # Errors
/// An etcd cannot be built or started, or refuses a step of the story.
pub fn refresh(cache: &Cache) -> Result<()> {
    let folder = repository().join("snapshot/tests/golden");
    fs::create_dir_all(&folder)?;
    for release in RELEASES {
        let programs = artefact::programs(cache, &build(release))?;
        let minor = release.rsplit_once('.').map_or(release, |(minor, _)| minor);
        eprintln!("etcd {release}: telling the story");
        Story { release, minor, programs: &programs, folder: &folder }.tell()?;
    }
    Ok(())
}

fn build(release: &str) -> Build {
    let module = |name: &str| (format!("go.etcd.io/etcd/{name}/v3"), format!("v{release}"));
    let program = |name: &str, package: &str| (name.to_owned(), format!("go.etcd.io/etcd/{package}/v3"));
    Build {
        // Not `etcd-…`: the tests that want the lab's etcd look for that.
        name: format!("golden-etcd-{release}"),
        install: None,
        module: Some(Module {
            source: None,
            require: ["server", "etcdctl", "etcdutl"].map(module).into(),
            replace: BTreeMap::new(),
            staging: None,
        }),
        cgo: false,
        tags: Vec::new(),
        ldflags: Vec::new(),
        programs: [program("etcd", "server"), program("etcdctl", "etcdctl"), program("etcdutl", "etcdutl")].into(),
        tests: BTreeMap::new(),
        copies: BTreeMap::new(),
    }
}

/// One release's files.
struct Story<'a> {
    release: &'a str,
    minor: &'a str,
    programs: &'a Path,
    folder: &'a Path,
}

impl Story<'_> {
    fn tell(&self) -> Result<()> {
        let home = tempfile::tempdir()?;
        let member = Member::start(self.programs, &home.path().join("first"), &[])?;
        fill(&member)?;
        self.save(&member, home.path(), "history", &[1, 2, 10, 30, 0])?;
        let deleted = member.delete("/registry/configmaps/default/config-3")?;
        member.put("/registry/pods/default/pod-1", &kubernetes("v1", "Pod", "pod-1", 400))?;
        member.put("/registry/configmaps/default/config-3", &kubernetes("v1", "ConfigMap", "again", 90))?;
        // Exactly at a deletion: the tombstone stays, and is not hashed.
        member.ctl(&["compact", &deleted.to_string(), "--physical"])?;
        member.delete("/registry/pods/default/pod-2")?;
        member.put("/registry/events/default/last", &kubernetes("v1", "Event", "last", 120))?;
        self.save(&member, home.path(), "compacted", &[deleted + 1, deleted + 2, 0])?;
        drop(member);
        self.restored(home.path())?;
        self.full(home.path())
    }

    /// As `kubewright etcd restore` does it: bumped and marked as compacted.
    fn restored(&self, home: &Path) -> Result<()> {
        let data = home.join("second");
        output(
            Command::new(self.programs.join("etcdutl")).args(["snapshot", "restore", "--bump-revision=1000000"]).args(
                [
                    "--mark-compacted",
                    "--name=default",
                    "--initial-cluster=default=http://127.0.0.1:1",
                    "--initial-advertise-peer-urls=http://127.0.0.1:1",
                    "--initial-cluster-token=second",
                    &format!("--data-dir={}", data.display()),
                    &home.join("compacted.db").to_string_lossy(),
                ],
            ),
        )?;
        let member = Member::start(self.programs, &data, &[])?;
        member.put("/registry/pods/default/pod-9", &kubernetes("v1", "Pod", "pod-9", 300))?;
        member.delete("/registry/pods/default/pod-4")?;
        self.save(&member, home, "restored", &[0])
    }

    /// With an alarm inside.
    fn full(&self, home: &Path) -> Result<()> {
        let member = Member::start(self.programs, &home.join("third"), &[&format!("--quota-backend-bytes={QUOTA}")])?;
        let value = kubernetes("v1", "Secret", "large", 9_000);
        let mut number = 0;
        while member.put(&format!("/registry/secrets/default/large-{number}"), &value).is_ok() {
            number += 1;
            if number > QUOTA / 9_000 + 10 {
                bail!("etcd {} took {number} values and did not mind its quota", self.release);
            }
        }
        self.save(&member, home, "nospace", &[0])
    }

    /// The snapshot, packed, and what etcd says of it.
    fn save(&self, member: &Member, home: &Path, what: &str, revisions: &[i64]) -> Result<()> {
        let path = home.join(format!("{what}.db"));
        let said = hashes(member, revisions)?;
        member.ctl(&["snapshot", "save", &path.to_string_lossy()])?;
        if hashes(member, revisions)? != said {
            bail!("something was written while {what} was saved");
        }
        let status =
            output(Command::new(self.programs.join("etcdutl")).args(["snapshot", "status", "-w", "json"]).arg(&path))?;
        let facts = json!({
            "etcd": self.release,
            "status": serde_json::from_str::<Value>(&status)?,
            "hashKv": said,
            "members": member.json(&["member", "list"])?["members"],
            "alarms": member.json(&["alarm", "list"])?["alarms"],
            "leases": member.json(&["lease", "list"])?["leases"].as_array().map_or(0, Vec::len),
            "keys": member.json(&["get", "", "--prefix", "--keys-only"])?["count"],
        });
        let name = format!("etcd-{}-{what}", self.minor);
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(&fs::read(&path)?)?;
        fs::write(self.folder.join(format!("{name}.db.gz")), packed.finish()?)?;
        fs::write(self.folder.join(format!("{name}.json")), serde_json::to_string_pretty(&facts)? + "\n")?;
        Ok(())
    }
}

/// HashKV at these revisions, of which 0 is the newest.
fn hashes(member: &Member, revisions: &[i64]) -> Result<Vec<Value>> {
    let ask = |revision: &i64| {
        let said = member.json(&["endpoint", "hashkv", "--rev", &revision.to_string()])?;
        let (header, hash) = (&said[0]["HashKV"]["header"], &said[0]["HashKV"]);
        Ok(json!({
            "asked": revision,
            "current": header["revision"],
            "hash": hash["hash"],
            "compactRevision": hash["compact_revision"],
        }))
    };
    revisions.iter().map(ask).collect()
}

/// What a small cluster holds: several kinds and namespaces, changed, deleted and come again; one value over several
/// pages; transactions; a lease; a member that was removed; a user.
fn fill(member: &Member) -> Result<()> {
    for number in 0..12 {
        let (pod, config) = (format!("pod-{number}"), format!("config-{number}"));
        member.put(&format!("/registry/pods/default/{pod}"), &kubernetes("v1", "Pod", &pod, 350 + number))?;
        member.put(&format!("/registry/configmaps/default/{config}"), &kubernetes("v1", "ConfigMap", &config, 60))?;
    }
    member.put("/registry/namespaces/kube-system", &kubernetes("v1", "Namespace", "kube-system", 80))?;
    member.put("/registry/deployments/kube-system/coredns", &kubernetes("apps/v1", "Deployment", "coredns", 700))?;
    member.put("/registry/services/specs/default/kubernetes", &kubernetes("v1", "Service", "kubernetes", 200))?;
    member.put("/registry/minions/cp1", &kubernetes("v1", "Node", "cp1", 900))?;
    member.put("/registry/secrets/kube-system/sealed", b"k8s:enc:aescbc:v1:key1:\x01\x02\x03\xff\xfe")?;
    let custom = br#"{"apiVersion":"cert-manager.io/v1","kind":"Certificate","metadata":{"name":"web"}}"#;
    member.put("/registry/cert-manager.io/certificates/shop/web", custom)?;
    member.put("/registry/configmaps/shop/large", &kubernetes("v1", "ConfigMap", "large", 30_000))?;
    member.put("elsewhere", b"not of Kubernetes")?;
    for number in 0..4 {
        let pod = format!("pod-{number}");
        member.put(&format!("/registry/pods/default/{pod}"), &kubernetes("v1", "Pod", &pod, 380 + number))?;
    }
    member.delete("/registry/pods/default/pod-11")?;
    member.ctl(&["del", "--prefix", "/registry/configmaps/default/config-1"])?;
    member.put("/registry/pods/default/pod-11", &kubernetes("v1", "Pod", "again", 333))?;
    member.feed(&["txn"], b"\nput one 1\nput two 2\ndel elsewhere\n\n\n")?;
    let lease = member.json(&["lease", "grant", "86400"])?["ID"].as_i64().context("no lease was granted")?;
    let lease = format!("--lease={lease:x}");
    member.feed(&["put", "/registry/masterleases/10.0.0.1", &lease], &kubernetes("v1", "Endpoints", "", 40))?;
    let added = member.json(&["member", "add", "gone", "--learner", "--peer-urls=http://127.0.0.1:9"])?;
    let id = added["member"]["ID"].as_u64().context("no member was added")?;
    member.ctl(&["member", "remove", &format!("{id:x}")])?;
    member.ctl(&["user", "add", "ada", "--no-password"])?;
    Ok(())
}

/// A value as the API server writes it: a magic, then `runtime.Unknown` with type and raw bytes.
fn kubernetes(version: &str, kind: &str, name: &str, size: usize) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| {
        let mut encoded = vec![number << 3 | 2];
        let mut length = bytes.len();
        while length > 0x7f {
            encoded.push(length as u8 | 0x80);
            length >>= 7;
        }
        encoded.push(length as u8);
        encoded.extend_from_slice(bytes);
        encoded
    };
    let raw: Vec<u8> = name.bytes().chain([b' ']).cycle().take(size).collect();
    let types = [field(1, version.as_bytes()), field(2, kind.as_bytes())].concat();
    [b"k8s\0".to_vec(), field(1, &types), field(2, &raw)].concat()
}

/// A running etcd of one member. It ends when this is dropped.
struct Member {
    _server: Background,
    etcdctl: PathBuf,
    endpoint: String,
}

impl Member {
    fn start(programs: &Path, data: &Path, flags: &[&str]) -> Result<Self> {
        let (client, peer) = (free_address()?, free_address()?);
        let log = data.with_extension("log");
        let mut arguments = vec![
            format!("--data-dir={}", data.display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
        ];
        arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let server = Background::start(&programs.join("etcd"), arguments, &log)?;
        let member = Self { _server: server, etcdctl: programs.join("etcdctl"), endpoint: client };
        let deadline = Instant::now() + START;
        // etcd tells nobody that it is up.
        while let Err(error) = member.ctl(&["endpoint", "health"]) {
            if Instant::now() > deadline {
                return Err(error.context(fs::read_to_string(log).unwrap_or_default()));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(member)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.etcdctl);
        command.args(["--endpoints", &self.endpoint]).args(arguments);
        command
    }

    fn ctl(&self, arguments: &[&str]) -> Result<String> {
        output(&mut self.command(arguments))
    }

    fn json(&self, arguments: &[&str]) -> Result<Value> {
        Ok(serde_json::from_str(&output(self.command(arguments).args(["-w", "json"]))?)?)
    }

    /// With this on its standard input.
    fn feed(&self, arguments: &[&str], input: &[u8]) -> Result<()> {
        let mut child =
            self.command(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        child.stdin.take().context("a pipe was asked for")?.write_all(input)?;
        let status = child.wait()?;
        if !status.success() {
            bail!("etcdctl {arguments:?} ended with {status}");
        }
        Ok(())
    }

    fn put(&self, key: &str, value: &[u8]) -> Result<()> {
        self.feed(&["put", key], value)
    }

    /// Deletes a key and tells the revision of that.
    fn delete(&self, key: &str) -> Result<i64> {
        self.json(&["del", key])?["header"]["revision"].as_i64().context("a deletion has a revision")
    }
}

fn free_address() -> Result<String> {
    Ok(format!("http://{}", TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?))
}
