//! What emptying a node asks of a cluster's API, in the plain data of [`kubewright_core::drain`].

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use futures::stream::BoxStream;
use kubewright_core::drain::{Apart, Name, News, Occupancy, Outcome, Permission, View};
use kubewright_core::ids::{HostName, OperationId};

use super::{KubeError, ObjectRef};

/// The workloads of a cluster: watched, moved, kept away.
#[async_trait]
pub trait Workloads: Send + Sync {
    /// Lists and watches a view; opened anew by itself after every failure, which it tells. It has no end.
    ///
    /// A watch that dies without a word is the caller's to open anew now and then: each begins with a whole list.
    fn follow(&self, view: &View) -> BoxStream<'static, Result<News, KubeError>>;

    /// Asks once for the eviction of this very pod, with its whole grace. Never repeated beneath: every answer is the
    /// caller's to judge.
    async fn evict(&self, pod: &Name, uid: &str) -> Outcome;

    /// Asks once for the deletion of this very pod, with its whole grace, past every budget.
    async fn delete_pod(&self, pod: &Name, uid: &str) -> Outcome;

    /// Keeps new pods away from a node and writes down for which operation; a cordon that is there already stays whose
    /// it is.
    ///
    /// # Errors
    /// [`KubeError`]; [`super::Fault::NotFound`] where there is no such node.
    async fn cordon(&self, node: &HostName, operation: &OperationId) -> Result<Cordoned, KubeError>;

    /// Services with `externalTrafficPolicy: Local` whose serving endpoints are all on one of these nodes, by node.
    ///
    /// # Errors
    /// [`KubeError`].
    async fn served_alone(&self, nodes: &BTreeSet<HostName>) -> Result<BTreeMap<HostName, BTreeSet<Name>>, KubeError>;

    /// What the pods of all nodes ask for; those that others must keep apart from, or that keep apart themselves, one by
    /// one.
    ///
    /// # Errors
    /// [`KubeError`].
    async fn occupancy(&self, kept_apart: &BTreeSet<Apart>) -> Result<Occupancy, KubeError>;

    /// Takes a node out of external load balancers, and writes down for which operation; [`Workloads::uncordon`] gives it
    /// back with that operation's cordon.
    ///
    /// # Errors
    /// [`KubeError`]; [`super::Fault::NotFound`] where there is no such node.
    async fn exclude(&self, node: &HostName, operation: &OperationId) -> Result<(), KubeError>;

    /// Lets pods come again, where the cordon is one of those meant.
    ///
    /// # Errors
    /// [`KubeError`]; [`super::Fault::NotFound`] where there is no such node.
    async fn uncordon(&self, node: &HostName, whose: &Whose) -> Result<Uncordoned, KubeError>;

    /// Whether the API would let us, asked of the API itself.
    ///
    /// # Errors
    /// [`KubeError`].
    async fn may(&self, permission: Permission) -> Result<bool, KubeError>;

    /// Writes a Kubernetes Event about an object: the receipt of something that was agreed to.
    ///
    /// # Errors
    /// [`KubeError`].
    async fn remark(&self, about: &ObjectRef, reason: &str, text: &str) -> Result<(), KubeError>;
}

/// Whose a cordon is after [`Workloads::cordon`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cordoned {
    /// This operation's: now, or from before.
    Ours,
    /// Another operation's of kubewright.
    Of(OperationId),
    /// Somebody else's.
    Foreign,
}

/// Which cordons are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// This operation's.
    Of(OperationId),
    /// Any that kubewright made.
    Kubewright,
    /// Any at all.
    Anybody,
}

impl Whose {
    /// Whether a cordon of this operation is meant; `None` is one that is not ours.
    pub fn includes(&self, by: Option<&str>) -> bool {
        match self {
            Self::Of(operation) => by == Some(operation.as_str()),
            Self::Kubewright => by.is_some(),
            Self::Anybody => true,
        }
    }
}

/// What [`Workloads::uncordon`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Uncordoned {
    /// Pods may come again.
    Done,
    /// They could all along.
    NotCordoned,
    /// The cordon is none of those meant, and stays.
    Kept,
}
