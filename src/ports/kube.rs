//! What the rest of the program asks of a cluster's API, in plain data: no type of the client crate shows here.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use kubewright_core::facts::{NodeFacts, Running};
use kubewright_core::health::Condition;
use kubewright_core::ids::HostName;
use kubewright_core::marks::NodeMarks;
use kubewright_core::version::Version;
use serde_json::Value;

use super::{Lines, Workloads};

/// A cluster through whichever of its API servers answers.
///
/// Everything here may be repeated without harm, and is: connection errors, throttling and overload are tried again
/// until the patience of one call is used up.
#[async_trait]
pub trait KubeApi: Workloads + Send + Sync {
    /// Makes one object as described, by server-side apply as field manager `kubewright`; fields that others own and
    /// the description does not mention stay. One round trip.
    ///
    /// # Errors
    /// [`KubeError`]; [`Fault::Invalid`] also for an object without `apiVersion`, `kind` or `metadata.name`,
    /// [`Fault::NotFound`] where its namespace or its kind does not exist.
    async fn apply(&self, object: &Value) -> Result<Applied, KubeError>;

    /// Reads one object; `None` where there is none.
    ///
    /// # Errors
    /// [`KubeError`].
    async fn get(&self, object: &ObjectRef) -> Result<Option<Value>, KubeError>;

    /// Gives a node our labels and taints, and takes away what we put there earlier and no longer want; those of others
    /// stay. Two round trips, one where nothing is to be done. A change that somebody else made in between is read and
    /// the patch made anew.
    ///
    /// # Errors
    /// [`KubeError`]; [`Fault::NotFound`] where there is no such node.
    async fn patch_node(&self, node: &HostName, marks: &NodeMarks) -> Result<Patched, KubeError>;

    /// Asks `/readyz?verbose`.
    ///
    /// # Errors
    /// [`KubeError`] where nothing answers; an API server that says it is not ready is an answer.
    async fn ready(&self) -> Result<Readiness, KubeError>;

    /// The version of the API server that answers.
    ///
    /// # Errors
    /// [`KubeError`].
    async fn version(&self) -> Result<Version, KubeError>;

    /// All nodes by name.
    ///
    /// # Errors
    /// [`KubeError`].
    async fn nodes(&self) -> Result<BTreeMap<HostName, NodeFacts>, KubeError>;

    /// Versions of what the control planes and kube-proxy run. Two round trips side by side.
    ///
    /// # Errors
    /// [`KubeError`].
    async fn running(&self) -> Result<Running, KubeError>;

    /// Deletes one object; false where there was none.
    ///
    /// # Errors
    /// [`KubeError`].
    async fn delete(&self, object: &ObjectRef) -> Result<bool, KubeError>;

    /// Waits on watches until the condition holds; `progress` gets a line whenever what is missing changes.
    ///
    /// # Errors
    /// [`Fault::Deadline`] with what is still missing; [`Fault::Unauthorized`] and a TLS fault at once, for waiting
    /// does not mend them. Everything else is waited out and named in `progress`.
    async fn wait_until(&self, condition: &Condition, within: Duration, progress: Lines<'_>) -> Result<(), KubeError>;
}

/// What became of an applied object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// It was not there before.
    pub created: bool,
    /// Its version now; the same as before where nothing had to change.
    pub resource_version: String,
    /// What the API server warned about, such as a deprecated `apiVersion` or an unknown field.
    pub warnings: Vec<String>,
}

/// What became of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patched {
    /// Something was missing and is there now.
    Changed,
    /// All of it was there.
    Unchanged,
}

/// The name of one object of any kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// Such as `apps/v1`.
    pub api_version: String,
    /// Such as `Deployment`.
    pub kind: String,
    /// Namespace; `None` for cluster-wide kinds.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}

impl ObjectRef {
    /// An object in a namespace.
    pub fn namespaced(api_version: &str, kind: &str, namespace: &str, name: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..Self::cluster_wide(api_version, kind, name) }
    }

    /// An object of a cluster-wide kind.
    pub fn cluster_wide(api_version: &str, kind: &str, name: &str) -> Self {
        Self { api_version: api_version.to_owned(), kind: kind.to_owned(), namespace: None, name: name.to_owned() }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(formatter, "{} {namespace}/{}", self.kind, self.name),
            None => write!(formatter, "{} {}", self.kind, self.name),
        }
    }
}

/// What an API server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Which one answered.
    pub control_plane: HostName,
    /// Checks that failed, such as `etcd-readiness: reason withheld`; none where it is ready.
    pub failing: Vec<String>,
}

impl Readiness {
    /// Whether every check passed.
    pub fn is_ready(&self) -> bool {
        self.failing.is_empty()
    }
}

/// Why a connection came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConnectionFault {
    /// The host itself is out of reach: no SSH, no route.
    Unreachable,
    /// Nothing listens, or what listens hangs up before it says who it is.
    Refused,
    /// No answer in time.
    Timeout,
    /// It was there and went away during the call.
    Lost,
    /// Its certificate is not what the cluster's authority signed, or has expired.
    Tls,
}

/// What kind of failure a call met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No API server could be spoken to.
    Connection(ConnectionFault),
    /// It does not know our client certificate.
    Unauthorized,
    /// It knows us and says no.
    Forbidden,
    /// No such object, namespace or kind.
    NotFound,
    /// Somebody else changed it, or made it, before us.
    Conflict,
    /// What it was to go on from is forgotten: the rest of a list, the past of a watch.
    Expired,
    /// It cannot be as we described it.
    Invalid,
    /// The API server is overloaded, starting or stopping, or has no etcd; tried again for as long as we had patience.
    Busy,
    /// It failed inside, or said something that is not an answer.
    Server,
    /// What was waited for did not come in time.
    Deadline,
}

/// Why the API did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{doing}: {said}")]
pub struct KubeError {
    /// What kind of failure.
    pub fault: Fault,
    /// What we were about to do, such as `apply Deployment kube-system/coredns`.
    pub doing: String,
    /// The API's own sentence, or what was seen of the connection.
    pub said: String,
    /// Which control plane said so, where one did.
    pub control_plane: Option<HostName>,
    /// How long the API asked us to stay away.
    pub retry_after: Option<Duration>,
}

impl KubeError {
    /// A failure of which nothing but this is known.
    pub fn new(fault: Fault, doing: impl Into<String>, said: impl Into<String>) -> Self {
        Self { fault, doing: doing.into(), said: said.into(), control_plane: None, retry_after: None }
    }

    /// What to do about it, where the fault tells.
    pub fn hint(&self) -> Option<&'static str> {
        match self.fault {
            Fault::Connection(ConnectionFault::Tls) => Some(
                "the API server's certificate and our copy of the cluster's ca.crt must belong together; compare the clocks too",
            ),
            Fault::Connection(ConnectionFault::Unreachable) => Some("check that the control planes answer to ssh"),
            Fault::Connection(ConnectionFault::Refused) => {
                Some("see `crictl ps -a` and `journalctl -u kubelet` on a control plane: is kube-apiserver running?")
            }
            Fault::Unauthorized => Some("the client certificate has expired or belongs to another cluster"),
            _ => None,
        }
    }
}
