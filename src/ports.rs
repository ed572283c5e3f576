//! Traits at the edge: what the rest of the program asks of hosts, in plain data.
//!
//! The executor knows hosts only through these, so that a fake can stand in for speed and for faults.

mod etcd;
mod kube;
mod ui;
mod workloads;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use kubewright_core::ids::HostName;
use secrecy::SecretString;

pub use self::etcd::{Added, ETCD_AGAIN, EtcdApi, EtcdChange, EtcdError, EtcdFault, MemberList, SnapshotStream};
pub use self::kube::{Applied, ConnectionFault, Fault, KubeApi, KubeError, ObjectRef, Patched, Readiness};
pub use self::ui::{Answer, Confirm, Select, Typed, Ui, UiError};
pub use self::workloads::{Cordoned, Uncordoned, Whose, Workloads};

/// A constant script and the values it gets. Values never enter the text: they arrive as shell-quoted assignments
/// before it (DESIGN.md §3, "scripts are constants").
#[derive(Clone, Debug)]
pub struct Script {
    /// Such as `debian/prepare.sh`, for messages.
    pub name: &'static str,
    /// The script, as embedded from `playbooks/`.
    pub text: &'static str,
    /// Constant texts that run before it in the same shell: functions it uses, the fence check.
    pub before: Vec<&'static str>,
    /// Shell variables by name (`[A-Z][A-Z0-9_]*`).
    pub values: BTreeMap<&'static str, String>,
    /// Further variables that no log or error may show.
    pub secrets: BTreeMap<&'static str, SecretString>,
    /// A whole script that this one receives in `$CARRIED`, to run it later (the body of a unit).
    pub carries: Option<Arc<Script>>,
}

impl Script {
    /// A script without values yet.
    pub fn new(name: &'static str, text: &'static str) -> Self {
        Self { name, text, before: Vec::new(), values: BTreeMap::new(), secrets: BTreeMap::new(), carries: None }
    }

    /// The same, running after one more constant text.
    #[must_use]
    pub fn after(mut self, prelude: &'static str) -> Self {
        self.before.push(prelude);
        self
    }

    /// The same, receiving another script in `$CARRIED`.
    #[must_use]
    pub fn carrying(mut self, script: Self) -> Self {
        self.carries = Some(Arc::new(script));
        self
    }

    /// The same with one more value.
    #[must_use]
    pub fn value(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.values.insert(name, value.into());
        self
    }

    /// The same with one more value that nothing may show.
    #[must_use]
    pub fn secret(mut self, name: &'static str, value: SecretString) -> Self {
        self.secrets.insert(name, value);
        self
    }
}

/// Takes the lines of a script whose lines nobody looks at.
pub fn quiet() -> impl FnMut(&str) + Send {
    |_: &str| {}
}

/// What a script left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Exit status of the script.
    pub status: i32,
    /// Its standard output between our markers, noise of a login shell left out.
    pub stdout: String,
    /// The end of its standard error (64 KiB at most).
    pub stderr: String,
}

impl Output {
    /// The output of a script that has to succeed.
    ///
    /// # Errors
    /// [`HostError::Failed`] where it ended with another status than 0.
    pub fn success(self, host: &HostName, script: &Script) -> Result<Self, HostError> {
        if self.status == 0 {
            return Ok(self);
        }
        Err(HostError::Failed {
            host: host.clone(),
            script: script.name.to_owned(),
            status: self.status,
            stderr: self.stderr,
        })
    }
}

/// Why a host did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// No connection: unreachable, refused, unknown or changed host key, login failed.
    #[error("cannot connect to {host} ({address}): {reason}")]
    Connect {
        /// Whom.
        host: HostName,
        /// Where.
        address: String,
        /// ssh's own words.
        reason: String,
        /// What to do about it, where the reason tells.
        hint: Option<String>,
    },
    /// The connection ended before the script did; what the script did is unknown.
    #[error("lost the connection to {host} during {script}: {reason}")]
    Lost {
        /// Which host.
        host: HostName,
        /// Which script.
        script: String,
        /// What was seen.
        reason: String,
    },
    /// sudo refused.
    #[error("{host}: sudo refused: {reason}")]
    Sudo {
        /// Which host.
        host: HostName,
        /// sudo's own words.
        reason: String,
        /// What to do about it, where the reason tells.
        hint: Option<String>,
    },
    /// A script answered something that is not an answer.
    #[error("{host}: {script} gave an answer that cannot be read: {reason}")]
    Answer {
        /// Which host.
        host: HostName,
        /// Which script.
        script: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The host has seen a higher fence number: another run has taken over.
    #[error("{host} serves another run now: fence {seen} is higher than ours, {ours}")]
    Fenced {
        /// Which host.
        host: HostName,
        /// Our number.
        ours: u64,
        /// The number the host has seen.
        seen: u64,
    },
    /// A script that had to succeed did not.
    #[error("{host}: {script} ended with status {status}")]
    Failed {
        /// Which host.
        host: HostName,
        /// Which script.
        script: String,
        /// Its exit status.
        status: i32,
        /// The end of what it said on its standard error.
        stderr: String,
    },
    /// A value cannot be given to a script; nothing was sent.
    #[error("{script}: {name} {why}")]
    Value {
        /// Which script.
        script: String,
        /// Which value.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl HostError {
    /// What to do about it, where we know.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Connect { hint, .. } | Self::Sudo { hint, .. } => hint.as_deref(),
            Self::Lost { .. }
            | Self::Answer { .. }
            | Self::Fenced { .. }
            | Self::Failed { .. }
            | Self::Value { .. } => None,
        }
    }

    /// Whether the script certainly had no effect, so that it may be tried again without a probe.
    pub fn nothing_ran(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Sudo { .. } | Self::Fenced { .. } | Self::Value { .. } => true,
            Self::Lost { .. } | Self::Answer { .. } | Self::Failed { .. } => false,
        }
    }
}

/// Receives each line of a running script as it is printed.
pub type Lines<'a> = &'a mut (dyn FnMut(&str) + Send);

/// A way into a port of the host; ends when dropped.
#[async_trait]
pub trait Tunnel: Send + Sync {
    /// Where to connect on this machine (127.0.0.1).
    fn local(&self) -> SocketAddr;
}

/// One machine we can run things on, as root.
#[async_trait]
pub trait Host: Send + Sync {
    /// Its name in the spec.
    fn name(&self) -> &HostName;

    /// Runs a script as root in one round trip; each line of its standard output also goes to `lines` as it comes.
    ///
    /// # Errors
    /// [`HostError`]; a script that ends with another status than 0 is no error here.
    async fn run(&self, script: &Script, lines: Lines<'_>) -> Result<Output, HostError>;

    /// Opens a way to a TCP address as seen from the host, such as its own 127.0.0.1:6443.
    ///
    /// # Errors
    /// [`HostError::Connect`] or [`HostError::Lost`].
    async fn forward(&self, target: SocketAddr) -> Result<Box<dyn Tunnel>, HostError>;
}

/// All hosts of the spec; connections are made on first use and kept, one a host. A host that lost its connection
/// makes a new one by itself at its next use.
#[async_trait]
pub trait Hosts: Send + Sync {
    /// The connected host of that name.
    ///
    /// # Errors
    /// [`HostError::Connect`].
    async fn host(&self, name: &HostName) -> Result<Arc<dyn Host>, HostError>;
}

/// The time of day; a port because plans, journals and certificates must be reproducible in tests.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> jiff::Timestamp;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }
}
