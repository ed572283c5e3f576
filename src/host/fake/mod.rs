//! Hosts in memory, for tests and for runs on the simulator: scripts are answered by closures, connections are lost
//! on request, every call is kept.
//!
//! What this crate builds from scripts of its own (lock and fence, units, files, mirror) is modelled here with the
//! same rules, so that only a cluster's own scripts need closures.

mod machine;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use kubewright_core::facts::lock::Lock;
use kubewright_core::ids::HostName;
use secrecy::{ExposeSecret, SecretString};

use self::machine::{Machine, Progress};
use super::unit::UnitName;
use crate::ports::{Host, HostError, Hosts, Lines, Output, Script, Tunnel};

/// One script as it reached a host.
#[derive(Clone, Debug)]
pub struct Call {
    /// Where.
    pub host: HostName,
    /// Which script; for a unit the one it carries.
    pub script: String,
    /// Its values.
    pub values: BTreeMap<String, String>,
    /// The unit that it runs in.
    pub unit: Option<UnitName>,
    /// The connection is lost, or the host restarts, while it runs: only a part of it is to happen.
    pub inside: bool,
    secrets: BTreeMap<String, SecretString>,
}

impl Call {
    fn new(host: &HostName, script: &Script) -> Self {
        let outer = script;
        let script = script.carries.as_deref().unwrap_or(script);
        let text = |name: &str| outer.values.get(name).map(String::as_str);
        let unit = outer.carries.is_some().then(|| UnitName {
            operation: text("OPERATION").unwrap_or_default().into(),
            step: text("STEP").unwrap_or_default().into(),
            attempt: text("ATTEMPT").and_then(|text| text.parse().ok()).unwrap_or_default(),
        });
        Self {
            host: host.clone(),
            script: script.name.to_owned(),
            values: script.values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            unit,
            inside: false,
            secrets: script.secrets.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        }
    }

    /// A value; empty if it was not given.
    pub fn value(&self, name: &str) -> &str {
        self.values.get(name).map_or("", String::as_str)
    }

    /// A secret; empty if it was not given.
    pub fn secret(&self, name: &str) -> &str {
        self.secrets.get(name).map_or("", |secret| secret.expose_secret())
    }
}

/// What a script answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Exit status.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Reply {
    /// It succeeded and printed this.
    pub fn ok(stdout: impl Into<String>) -> Self {
        Self { status: 0, stdout: stdout.into(), stderr: String::new() }
    }

    /// It failed and complained.
    pub fn failed(status: i32, stderr: impl Into<String>) -> Self {
        Self { status, stdout: String::new(), stderr: stderr.into() }
    }
}

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No connection.
    Refused,
    /// The connection is lost before the script begins.
    LostBefore,
    /// It is lost while the script runs. A unit goes on and ends once somebody attaches to it.
    LostInside,
    /// It is lost after the script has ended and before its answer arrives.
    LostAfter,
    /// The host restarts while the script runs; a unit vanishes.
    Restart,
}

type Handler = Arc<dyn Fn(&Call) -> Reply + Send + Sync>;
type Hook = Arc<dyn Fn(&HostName, &str) + Send + Sync>;
type Way = Arc<dyn Fn(&HostName, SocketAddr) -> Option<SocketAddr> + Send + Sync>;

struct World {
    machines: BTreeMap<HostName, Machine>,
    handlers: BTreeMap<String, Handler>,
    otherwise: Handler,
    way: Option<Way>,
    restarted: Option<Hook>,
    faults: BTreeMap<(HostName, String), VecDeque<Fault>>,
    delay: Duration,
    calls: Vec<Call>,
    round_trips: BTreeMap<HostName, usize>,
}

/// Hosts in memory. Clones are the same hosts.
#[derive(Clone)]
pub struct FakeHosts(Arc<Mutex<World>>);

impl FakeHosts {
    /// Empty machines of these names.
    pub fn new<N: Into<HostName>>(names: impl IntoIterator<Item = N>) -> Self {
        let machines = names.into_iter().map(|name| {
            let name = name.into();
            (name.clone(), Machine::new(&name))
        });
        Self(Arc::new(Mutex::new(World {
            machines: machines.collect(),
            handlers: BTreeMap::new(),
            otherwise: Arc::new(|_| Reply::ok("")),
            way: None,
            restarted: None,
            faults: BTreeMap::new(),
            delay: Duration::ZERO,
            calls: Vec::new(),
            round_trips: BTreeMap::new(),
        })))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a script, by its name, on every host.
    #[must_use]
    pub fn on(self, script: &str, answer: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        self.world().handlers.insert(script.to_owned(), Arc::new(answer));
        self
    }

    /// Answers every script that has no answer of its own; without this they succeed and print nothing.
    #[must_use]
    pub fn otherwise(self, answer: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        self.world().otherwise = Arc::new(answer);
        self
    }

    /// Where tunnels lead: the local address for a host and a target, if there is a way.
    #[must_use]
    pub fn tunnels(self, way: impl Fn(&HostName, SocketAddr) -> Option<SocketAddr> + Send + Sync + 'static) -> Self {
        self.world().way = Some(Arc::new(way));
        self
    }

    /// Is told of every restart, with the boot that begins; the machine answers a little later.
    #[must_use]
    pub fn restarted(self, hook: impl Fn(&HostName, &str) + Send + Sync + 'static) -> Self {
        self.world().restarted = Some(Arc::new(hook));
        self
    }

    /// Lets a host take the order to restart and go on as before, or obey again.
    pub fn stubborn(&self, host: impl Into<HostName>, stubborn: bool) {
        if let Some(machine) = self.world().machines.get_mut(&host.into()) {
            machine.stubborn = stubborn;
        }
    }

    /// The boot that a host runs.
    pub fn boot_id(&self, host: impl Into<HostName>) -> String {
        self.world().machines.get(&host.into()).map(Machine::boot_id).unwrap_or_default()
    }

    /// The time that every round trip takes.
    #[must_use]
    pub fn delay(self, delay: Duration) -> Self {
        self.world().delay = delay;
        self
    }

    /// Lets the next call of a script on a host go wrong; several are used up one after the other. [`Fault::Refused`]
    /// with the script `connect` refuses the connection.
    pub fn fault(&self, host: impl Into<HostName>, script: &str, fault: Fault) {
        self.world().faults.entry((host.into(), script.to_owned())).or_default().push_back(fault);
    }

    /// Restarts a host: units that run vanish, files stay.
    pub fn restart(&self, host: impl Into<HostName>) {
        if let Some(machine) = self.world().machines.get_mut(&host.into()) {
            machine.restart();
        }
    }

    /// Every call so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.world().calls.clone()
    }

    /// Round trips to a host so far.
    pub fn round_trips(&self, host: impl Into<HostName>) -> usize {
        self.world().round_trips.get(&host.into()).copied().unwrap_or_default()
    }

    /// Files on a host, with their modes.
    pub fn files(&self, host: impl Into<HostName>) -> BTreeMap<String, (u32, Vec<u8>)> {
        self.world().machines.get(&host.into()).map(|machine| machine.files.clone()).unwrap_or_default()
    }

    /// Puts a file on a host, past everything else.
    pub fn put_file(&self, host: impl Into<HostName>, path: &str, mode: u32, bytes: impl Into<Vec<u8>>) {
        if let Some(machine) = self.world().machines.get_mut(&host.into()) {
            machine.files.insert(path.to_owned(), (mode, bytes.into()));
        }
    }

    /// Lets a host state more of itself with its facts, above what the model knows: one statement a line, as
    /// `playbooks/common/facts/say.sh` prints them. A list that the model tells goes on.
    pub fn state(&self, host: impl Into<HostName>, statements: &str) {
        if let Some(machine) = self.world().machines.get_mut(&host.into()) {
            machine.states.push_str(statements);
        }
    }

    /// A host's lock.
    pub fn lock(&self, host: impl Into<HostName>) -> Lock {
        self.world().machines.get(&host.into()).map(|machine| machine.lock.clone()).unwrap_or_default()
    }

    /// Sets a host's lock, written so many seconds ago.
    pub fn put_lock(&self, host: impl Into<HostName>, lock: Lock, age_seconds: i64) {
        if let Some(machine) = self.world().machines.get_mut(&host.into()) {
            (machine.lock, machine.lock_age) = (lock, age_seconds);
        }
    }

    fn next_fault(&self, host: &HostName, script: &str) -> Option<Fault> {
        self.world().faults.get_mut(&(host.clone(), script.to_owned())).and_then(VecDeque::pop_front)
    }

    fn handler(&self, script: &str) -> Option<Handler> {
        self.world().handlers.get(script).cloned()
    }

    /// Answers a call, the closure outside of our own lock so that it may look at the hosts.
    fn reply(&self, call: &Call) -> Reply {
        let handler = self.handler(&call.script).unwrap_or_else(|| Arc::clone(&self.world().otherwise));
        handler(call)
    }

    /// Lets the script happen on the machine.
    fn happen(&self, script: &Script, call: &Call, restarts: bool) -> Reply {
        // A closure of the test's own stands above our model.
        if script.carries.is_none() && self.handler(script.name).is_some() {
            return self.reply(call);
        }
        let before = self.boot_id(call.host.clone());
        let progress = match self.world().machines.get_mut(&call.host) {
            Some(machine) => machine.take(script, call),
            None => return Reply::failed(1, "no such host"),
        };
        let now = self.boot_id(call.host.clone());
        let hook = self.world().restarted.clone();
        if let Some(hook) = hook.filter(|_| before != now) {
            hook(&call.host, &now);
        }
        let (call, run) = match progress {
            Progress::Answered(reply) => return reply,
            Progress::Asks(call) => (call, None),
            Progress::Unit { call, name } => (call, Some(name)),
        };
        let leaves_unit_running = run.is_some() && call.inside;
        let reply = if leaves_unit_running && !restarts { Reply::ok("") } else { self.reply(&call) };
        match run {
            None => reply,
            Some(name) => {
                let mark = script.values.get("MARK").map_or("", String::as_str);
                let mut world = self.world();
                match world.machines.get_mut(&call.host) {
                    Some(machine) if call.inside => machine.leave(name, call, restarts),
                    Some(machine) => machine.finish(name, reply, mark),
                    None => reply,
                }
            }
        }
    }
}

#[async_trait]
impl Hosts for FakeHosts {
    async fn host(&self, name: &HostName) -> Result<Arc<dyn Host>, HostError> {
        let known = match self.world().machines.get_mut(name) {
            Some(machine) if machine.away > 0 => {
                machine.away -= 1;
                false
            }
            Some(_) => true,
            None => false,
        };
        if !known || self.next_fault(name, "connect").is_some() {
            return Err(refused(name));
        }
        Ok(Arc::new(FakeHost { name: name.clone(), hosts: self.clone() }))
    }
}

/// One host of [`FakeHosts`].
struct FakeHost {
    name: HostName,
    hosts: FakeHosts,
}

#[async_trait]
impl Host for FakeHost {
    fn name(&self) -> &HostName {
        &self.name
    }

    async fn run(&self, script: &Script, lines: Lines<'_>) -> Result<Output, HostError> {
        // What a real host would refuse is refused here too.
        super::framing::body(script).map_err(|nul| nul.in_script(script))?;
        let mut call = Call::new(&self.name, script);
        let delay = {
            let mut world = self.hosts.world();
            *world.round_trips.entry(self.name.clone()).or_default() += 1;
            world.delay
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let fault = self.hosts.next_fault(&self.name, &call.script);
        call.inside = matches!(fault, Some(Fault::LostInside | Fault::Restart));
        self.hosts.world().calls.push(call.clone());
        match fault {
            Some(Fault::Refused) => return Err(refused(&self.name)),
            Some(Fault::LostBefore) => return Err(lost(&self.name, script, "before it began")),
            _ => {}
        }
        let reply = self.hosts.happen(script, &call, fault == Some(Fault::Restart));
        match fault {
            Some(Fault::LostInside) => return Err(lost(&self.name, script, "while it ran")),
            Some(Fault::LostAfter) => return Err(lost(&self.name, script, "before its answer arrived")),
            Some(Fault::Restart) => {
                self.hosts.restart(self.name.clone());
                return Err(lost(&self.name, script, "the host restarted"));
            }
            _ => {}
        }
        reply.stdout.lines().filter(|line| !line.is_empty()).for_each(lines);
        Ok(Output { status: reply.status, stdout: reply.stdout, stderr: reply.stderr })
    }

    async fn forward(&self, target: SocketAddr) -> Result<Box<dyn Tunnel>, HostError> {
        let way = self.hosts.world().way.clone();
        match way.and_then(|way| way(&self.name, target)) {
            Some(local) => Ok(Box::new(FakeTunnel(local))),
            None => Err(refused(&self.name)),
        }
    }
}

struct FakeTunnel(SocketAddr);

impl Tunnel for FakeTunnel {
    fn local(&self) -> SocketAddr {
        self.0
    }
}

fn refused(host: &HostName) -> HostError {
    HostError::Connect {
        host: host.clone(),
        address: "fake".to_owned(),
        reason: "Connection refused".to_owned(),
        hint: None,
    }
}

fn lost(host: &HostName, script: &Script, when: &str) -> HostError {
    HostError::Lost { host: host.clone(), script: script.name.to_owned(), reason: when.to_owned() }
}

#[cfg(test)]
mod tests;
