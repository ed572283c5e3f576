//! One machine in memory: what `playbooks/common/` would do to it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kubewright_core::facts::HostRecord;
use kubewright_core::facts::lock::Lock;
use kubewright_core::ids::HostName;
use kubewright_core::plan::hex;
use sha2::{Digest, Sha256};

use super::{Call, Reply};
use crate::host::fence::REFUSED;
use crate::host::unit::UnitName;
use crate::playbooks;
use crate::ports::Script;

/// Where the mirror keeps operations, on a machine in memory too.
const OPS: &str = "/var/lib/kubewright/ops";

/// What becomes of a script.
pub(super) enum Progress {
    /// The machine has answered.
    Answered(Reply),
    /// A closure has to.
    Asks(Call),
    /// A closure has to, for a unit.
    Unit {
        /// What it carries.
        call: Call,
        /// Which.
        name: UnitName,
    },
}

#[derive(Clone, Debug)]
enum Unit {
    Running(Box<Call>),
    Finished { status: i32, output: String },
    Vanished,
}

#[derive(Debug)]
pub(super) struct Machine {
    name: HostName,
    boots: u32,
    pub(super) files: BTreeMap<String, (u32, Vec<u8>)>,
    pub(super) lock: Lock,
    pub(super) lock_age: i64,
    /// Statements of its facts above those of the model.
    pub(super) states: String,
    /// So many connections are refused, for it is starting.
    pub(super) away: usize,
    /// It takes the order to restart and does not.
    pub(super) stubborn: bool,
    units: BTreeMap<UnitName, Unit>,
}

/// Connections that a machine refuses while it restarts.
const AWAY: usize = 3;

impl Machine {
    pub(super) fn new(name: &HostName) -> Self {
        Self {
            name: name.clone(),
            boots: 1,
            files: BTreeMap::new(),
            lock: Lock::default(),
            lock_age: 0,
            away: 0,
            stubborn: false,
            states: String::new(),
            units: BTreeMap::new(),
        }
    }

    pub(super) fn restart(&mut self) {
        self.boots += 1;
        for unit in self.units.values_mut() {
            if matches!(unit, Unit::Running(_)) {
                *unit = Unit::Vanished;
            }
        }
    }

    /// Lets a script happen as far as we know it.
    pub(super) fn take(&mut self, script: &Script, call: &Call) -> Progress {
        if script.before.contains(&playbooks::FENCE_CHECK) {
            let ours = script.values.get("FENCE").and_then(|text| text.parse().ok()).unwrap_or_default();
            if ours < self.lock.fence {
                return Progress::Answered(Reply::failed(REFUSED, format!("kubewright-fenced {}\n", self.lock.fence)));
            }
            if ours > self.lock.fence {
                self.lock = Lock { fence: ours, holder: None };
            }
        }
        Progress::Answered(match script.name {
            "common/unit.sh" => return self.unit(script, call),
            "common/unit-state.sh" => self.unit_state(call),
            "common/fence.sh" => self.fence(call),
            "common/files.sh" => self.change_files(call),
            "common/mirror.sh" => self.mirror(call),
            "common/facts.sh" => Reply::ok(self.facts()),
            "common/reboot.sh" => self.reboot(call),
            _ => return Progress::Asks(call.clone()),
        })
    }

    fn unit(&mut self, script: &Script, call: &Call) -> Progress {
        let Some(name) = call.unit.clone() else { return Progress::Answered(Reply::failed(98, "no name")) };
        let mark = script.values.get("MARK").map_or("", String::as_str);
        match self.units.get(&name) {
            None => Progress::Unit { call: call.clone(), name },
            // Whoever attaches sees it end as it began.
            Some(Unit::Running(begun)) => {
                let call = Call { inside: call.inside, ..(**begun).clone() };
                Progress::Unit { call, name }
            }
            Some(Unit::Finished { status, output }) => {
                Progress::Answered(Reply::ok(format!("{output}{mark} finished {status}\n")))
            }
            Some(Unit::Vanished) => Progress::Answered(Reply::ok(format!("{mark} vanished\n"))),
        }
    }

    /// A unit whose watcher is gone: it runs on, or vanishes with the machine's restart.
    pub(super) fn leave(&mut self, name: UnitName, call: Call, restarts: bool) -> Reply {
        let unit = if restarts { Unit::Vanished } else { Unit::Running(Box::new(Call { inside: false, ..call })) };
        self.units.insert(name, unit);
        Reply::ok("")
    }

    /// A unit that has ended, its two outputs in one.
    pub(super) fn finish(&mut self, name: UnitName, reply: Reply, mark: &str) -> Reply {
        let mut output = reply.stdout + &reply.stderr;
        if !output.is_empty() && !output.ends_with('\n') {
            output.push('\n');
        }
        let text = format!("{output}{mark} finished {}\n", reply.status);
        self.units.insert(name, Unit::Finished { status: reply.status, output });
        Reply::ok(text)
    }

    fn unit_state(&self, call: &Call) -> Reply {
        if call.value("OPERATION").is_empty() {
            let running = self.units.iter().filter(|(_, unit)| matches!(unit, Unit::Running(_)));
            return Reply::ok(running.map(|(name, _)| name.systemd() + "\n").collect::<String>());
        }
        let name = UnitName {
            operation: call.value("OPERATION").into(),
            step: call.value("STEP").into(),
            attempt: call.value("ATTEMPT").parse().unwrap_or_default(),
        };
        Reply::ok(match self.units.get(&name) {
            None => "absent\n".to_owned(),
            Some(Unit::Running(_)) => "running\n".to_owned(),
            Some(Unit::Vanished) => "vanished\n".to_owned(),
            Some(Unit::Finished { status, .. }) => format!("finished {status}\n"),
        })
    }

    /// The boot that it runs.
    pub(super) fn boot_id(&self) -> String {
        format!("{}-{}", self.name, self.boots)
    }

    fn reboot(&mut self, call: &Call) -> Reply {
        let path = format!("{OPS}/{}/{}.boot", call.value("OPERATION"), call.value("STEP"));
        let now = self.boot_id();
        let begins = call.value("ACTION") == "begin";
        if begins {
            self.files.entry(path.clone()).or_insert_with(|| (0o600, now.clone().into_bytes()));
        }
        let Some((_, bytes)) = self.files.get(&path) else { return Reply::ok("absent\n") };
        let before = String::from_utf8_lossy(bytes).into_owned();
        if before != now {
            return Reply::ok(format!("done {before} {now} 6.1.0 6.1.0\n"));
        }
        if begins && !self.stubborn {
            self.restart();
            self.away = AWAY;
        }
        Reply::ok(format!("pending {before}\n"))
    }

    fn lock_text(&self) -> String {
        let holder = self.lock.holder.as_ref().and_then(|holder| serde_json::to_string(holder).ok());
        format!("{}\n{}", self.lock.fence, holder.map(|text| text + "\n").unwrap_or_default())
    }

    fn fence(&mut self, call: &Call) -> Reply {
        let number = |name: &str| call.value(name).parse::<u64>().unwrap_or_default();
        let ours = number("FENCE");
        let holder = serde_json::from_str(call.value("HOLDER")).ok();
        let seen = self.lock.fence;
        let allowed = match call.value("ACTION") {
            "read" => true,
            "take" => (seen == ours && self.lock.holder == holder) || (seen < ours && seen <= number("HIGHEST")),
            _ => seen <= ours,
        };
        if !allowed {
            return Reply { status: REFUSED, stdout: self.lock_text(), stderr: String::new() };
        }
        match call.value("ACTION") {
            "read" => return Reply::ok(format!("{}age {}\n", self.lock_text(), self.lock_age)),
            "take" | "renew" => (self.lock, self.lock_age) = (Lock { fence: ours, holder }, 0),
            "release" if seen == ours => self.lock.holder = None,
            _ => {}
        }
        Reply::ok(self.lock_text())
    }

    fn change_files(&mut self, call: &Call) -> Reply {
        match call.value("ACTION") {
            "put" => self.put(call),
            "read" => {
                let line = |path: &str| {
                    let (mode, bytes) = self.files.get(path)?;
                    Some(format!("{mode:o} {path} {}\n", STANDARD.encode(bytes)))
                };
                Reply::ok(call.value("FILES").lines().filter_map(line).collect::<String>())
            }
            _ => {
                let removed = call.value("FILES").lines().filter(|path| self.files.remove(*path).is_some());
                Reply::ok(removed.map(|path| format!("removed {path}\n")).collect::<String>())
            }
        }
    }

    fn put(&mut self, call: &Call) -> Reply {
        let Ok(content) = STANDARD.decode(call.secret("CONTENT")) else { return Reply::failed(98, "no base64") };
        let lines: Vec<Vec<&str>> = call.value("FILES").lines().map(|line| line.split(' ').collect()).collect();
        // A connection lost in the middle leaves some of them replaced.
        let reached = if call.inside { lines.len() / 2 } else { lines.len() };
        let (mut changed, mut from) = (String::new(), 0);
        for words in &lines[..reached] {
            let [kind, mode, _, _, size, path, target] = words[..] else { return Reply::failed(98, "no such line") };
            let size: usize = size.parse().unwrap_or_default();
            let bytes = if kind == "link" { target.as_bytes().to_vec() } else { content[from..from + size].to_vec() };
            from += size;
            let file = (u32::from_str_radix(mode, 8).unwrap_or_default(), bytes);
            // Links and folders are kept as files of their target and of nothing.
            if self.files.get(path) != Some(&file) {
                self.files.insert(path.to_owned(), file);
                // Writing to a `String` cannot fail.
                let _ = writeln!(changed, "changed {path}");
            }
        }
        Reply::ok(changed)
    }

    fn mirror(&mut self, call: &Call) -> Reply {
        let folder = format!("{OPS}/{}", call.value("OPERATION"));
        match call.value("ACTION") {
            "append" => self.append(&format!("{folder}/{}", call.value("FILE")), call),
            "replace" => self.replace(&format!("{folder}/{}", call.value("FILE")), call),
            "fetch" => {
                let names = ["plan.json", "facts.json", "journal.jsonl"];
                let line = |name: &str| {
                    let (_, bytes) = self.files.get(&format!("{folder}/{name}"))?;
                    Some(format!("{name} {}\n", STANDARD.encode(bytes)))
                };
                Reply::ok(names.into_iter().filter_map(line).collect::<String>())
            }
            _ => {
                let line = |(path, (_, bytes)): (&String, &(u32, Vec<u8>))| {
                    let (operation, name) = path.strip_prefix(OPS)?.strip_prefix('/')?.split_once('/')?;
                    if name.contains(".fork-") {
                        return None;
                    }
                    Some(format!("{operation} {name} {} 0\n", bytes.len()))
                };
                Reply::ok(self.files.iter().filter_map(line).collect::<String>())
            }
        }
    }

    fn append(&mut self, path: &str, call: &Call) -> Reply {
        let offset: usize = call.value("OFFSET").parse().unwrap_or_default();
        let mut content = STANDARD.decode(call.value("CONTENT")).unwrap_or_default();
        if call.inside {
            content.truncate(content.len() / 2);
        }
        let (_, file) = self.files.entry(path.to_owned()).or_insert_with(|| (0o644, Vec::new()));
        if file.len() < offset {
            return Reply::ok(format!("gap {}\n", file.len()));
        }
        let overlap = (file.len() - offset).min(content.len());
        if file[offset..offset + overlap] != content[..overlap] {
            return Reply::ok(format!("conflict {}\n", file.len()));
        }
        file.extend_from_slice(&content[overlap..]);
        Reply::ok(format!("done {}\n", file.len()))
    }

    fn replace(&mut self, path: &str, call: &Call) -> Reply {
        let content = STANDARD.decode(call.value("CONTENT")).unwrap_or_default();
        if let Some((mode, old)) = self.files.get(path).filter(|(_, old)| !content.starts_with(old)).cloned() {
            let fork = (1..).map(|number| format!("{path}.fork-{number}")).find(|fork| !self.files.contains_key(fork));
            self.files.insert(fork.unwrap_or_default(), (mode, old));
        }
        // Renamed into place: a connection lost in the middle leaves the old file.
        if !call.inside {
            self.files.insert(path.to_owned(), (0o644, content.clone()));
        }
        Reply::ok(format!("done {}\n", content.len()))
    }

    /// A Debian machine with nothing on it but what was put there.
    fn facts(&self) -> String {
        let mut text = format!(
            "= hostname {name}\n= machine-id {name}\n= boot-id {boot}\n- sudo-user\n\
             = os debian|12||Debian GNU/Linux 12 (bookworm)\n= architecture x86_64\n= kernel 6.1.0\n= cpus 2\n\
             = memory-kib 4194304\n. swap\n= cgroup 2\n- vm\n- container\n- package-lock\n! address a machine in memory has none\n- fitness\n= default-interface eth0\n\
             . listening\n= systemd-resolved false\n. artefact\n. image\n- ca-fingerprint\n= etcd-data false\n",
            name = self.name,
            boot = self.boot_id()
        );
        let mut say = |line: String| {
            text.push_str(&line);
            text.push('\n');
        };
        for path in ["/etc", "/usr/local", "/var/lib"] {
            say(format!("+ space {path} 10000000 4096 1000000 2000000 20000000"));
        }
        say(". space".to_owned());
        for program in ["containerd", "crictl", "kubelet", "runc"] {
            say(format!("- version/{program}"));
        }
        for unit in ["containerd", "kubelet"] {
            say(format!("= unit/{unit} inactive dead "));
        }
        for (name, _) in self.units.iter().filter(|(_, unit)| matches!(unit, Unit::Running(_))) {
            say(format!("+ running-unit {}", name.systemd()));
        }
        say(". running-unit".to_owned());
        for (path, (_, bytes)) in
            self.files.iter().filter(|(path, _)| path.starts_with("/etc") || path.starts_with("/var/lib/kubelet"))
        {
            say(format!("+ file {} {path}", hex(&Sha256::digest(bytes))));
        }
        say(". file".to_owned());
        let manifest =
            self.files.get("/etc/kubernetes/manifests/etcd.yaml").map(|(_, bytes)| String::from_utf8_lossy(bytes));
        for (key, flag) in [("etcd-token", "--initial-cluster-token="), ("etcd-initial-cluster", "--initial-cluster=")]
        {
            let value = manifest.as_ref().and_then(|text| text.split_once(flag)?.1.split_whitespace().next());
            say(value.map_or(format!("- {key}"), |value| format!("= {key} {value}")));
        }
        let record =
            self.files.get(HostRecord::PATH).map(|(_, bytes)| String::from_utf8_lossy(bytes).trim().to_owned());
        say(record.map_or("- record".to_owned(), |record| format!("= record {record}")));
        if self.lock == Lock::default() {
            say("- lock".to_owned());
        } else {
            self.lock_text().lines().for_each(|line| say(format!("+ lock {line}")));
            say(". lock".to_owned());
        }
        text + &self.states + ". facts\n"
    }
}
