//! One observation of what is there. Nothing is assumed: each fact is known with the time it was seen, absent, or
//! unreadable for a reason. Gathering is the binary's; here are the types, and the parser for what hosts answer.

mod cluster;
mod deprecated;
pub mod etcd;
mod fitness;
mod host;
pub mod lock;
mod membership;
mod parse;
pub mod sample;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use self::etcd::EtcdFacts;
use crate::etcd::status::{Certificate, CopiesSeen};
use crate::ids::HostName;

pub use cluster::{ClusterFacts, NodeFacts, Running};
pub use deprecated::{ApisInUse, DeprecatedApi, METRIC as DEPRECATED_APIS_METRIC, Use};
pub use fitness::{Fitness, FsyncLatency, Module, Mount, Proxy, Route, Sysctl, Trace};
pub use host::{Address, Clock, HostFacts, HostRecord, Os, OsFamily, Space, UnitFacts};
pub use membership::Membership;
pub use parse::{BadAnswer, Exchange};

/// Version of the facts on disk; a newer one is not read.
pub const FORMAT: u32 = 1;

/// One thing we looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fact<T> {
    /// It is there.
    Known {
        /// What it is.
        value: T,
        /// When it was seen, by our clock.
        at: Timestamp,
    },
    /// It is certainly not there.
    Absent,
    /// It could not be seen.
    Unreadable {
        /// Why not.
        why: String,
        /// What to do about it, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
}

impl<T> Fact<T> {
    /// Something that could not be seen.
    pub fn unreadable(why: impl Into<String>) -> Self {
        Self::Unreadable { why: why.into(), hint: None }
    }

    /// The value, where it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known { value, .. } => Some(value),
            Self::Absent | Self::Unreadable { .. } => None,
        }
    }

    /// Why it could not be seen, where that is so.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Unreadable { why, .. } => Some(why),
            Self::Known { .. } | Self::Absent => None,
        }
    }

    /// What to do so that it can be seen, where that is known.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Unreadable { hint, .. } => hint.as_deref(),
            Self::Known { .. } | Self::Absent => None,
        }
    }

    /// Whether it is certainly not there; what is unreadable is not absent.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// The same fact about a part of the value.
    pub fn map<U>(self, part: impl FnOnce(T) -> U) -> Fact<U> {
        match self {
            Self::Known { value, at } => Fact::Known { value: part(value), at },
            Self::Absent => Fact::Absent,
            Self::Unreadable { why, hint } => Fact::Unreadable { why, hint },
        }
    }

    /// The same fact by reference.
    pub fn as_ref(&self) -> Fact<&T> {
        match self {
            Self::Known { value, at } => Fact::Known { value, at: *at },
            Self::Absent => Fact::Absent,
            Self::Unreadable { why, hint } => Fact::Unreadable { why: why.clone(), hint: hint.clone() },
        }
    }
}

/// Nobody has looked yet.
impl<T> Default for Fact<T> {
    fn default() -> Self {
        Self::unreadable("nobody looked")
    }
}

/// Everything that was seen at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// [`FORMAT`].
    pub format: u32,
    /// By host; a host that could not be reached is unreadable as a whole.
    pub hosts: BTreeMap<HostName, Fact<HostFacts>>,
    /// The cluster through its API; absent where no host is a finished part of one.
    #[serde(default)]
    pub cluster: Fact<ClusterFacts>,
    /// Its etcd, asked where members come or go.
    #[serde(default)]
    pub etcd: Fact<EtcdFacts>,
    /// APIs in use that go; asked where another version is to come, else absent.
    #[serde(default = "absent")]
    pub apis: Fact<ApisInUse>,
    /// When certificates end, of the hosts that were asked for it where another version is to come.
    #[serde(default)]
    pub certificates: BTreeMap<HostName, Fact<Vec<Certificate>>>,
    /// Copies of its etcd in the spec's store, looked for at the same time.
    #[serde(default = "absent")]
    pub copies: Fact<CopiesSeen>,
}

fn absent<T>() -> Fact<T> {
    Fact::Absent
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            format: FORMAT,
            hosts: BTreeMap::new(),
            cluster: Fact::Absent,
            etcd: Fact::Absent,
            apis: Fact::Absent,
            certificates: BTreeMap::new(),
            copies: Fact::Absent,
        }
    }
}

impl Facts {
    /// What is known of a host.
    pub fn host(&self, name: &HostName) -> Option<&HostFacts> {
        self.hosts.get(name).and_then(Fact::known)
    }
}

/// What makes a plan about a host legal, by path: which machine it is, what system it runs, whose it is. Times,
/// counters and free space never are.
pub fn assumed_of(host: &HostName, facts: &Facts) -> Vec<(String, String)> {
    let assumed = |name: &str, value: String| (format!("hosts.{host}.{name}"), value);
    let Some(seen) = facts.hosts.get(host) else {
        return vec![assumed("reachable", "nobody looked".to_owned())];
    };
    let Some(seen) = seen.known() else {
        return vec![assumed("reachable", "no".to_owned())];
    };
    vec![
        assumed("machineId", told(&seen.machine_id)),
        assumed("os", told(&seen.os.as_ref().map(|os| format!("{} {}", os.id, os.version)))),
        assumed("architecture", told(&seen.architecture)),
        assumed("etcdData", told(&seen.etcd_data)),
        assumed("certificateAuthority", told(&seen.ca_fingerprint)),
        assumed("cluster", told(&seen.record.as_ref().map(|record| record.cluster.clone()))),
    ]
}

/// A fact in one word or a few.
fn told<T: ToString>(fact: &Fact<T>) -> String {
    match fact {
        Fact::Known { value, .. } => value.to_string(),
        Fact::Absent => "absent".to_owned(),
        Fact::Unreadable { .. } => "unreadable".to_owned(),
    }
}
