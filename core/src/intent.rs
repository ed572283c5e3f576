//! What the user asked for now, once arguments are understood.

use crate::ids::HostName;
use serde::{Deserialize, Serialize};

/// A request to the planner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Intent {
    /// Make reality what the spec says, starting from hosts without Kubernetes.
    Bootstrap,
    /// Make reality what the spec says, starting from a cluster that stands.
    Converge,
    /// Take hosts apart.
    Reset {
        /// Which; all of the spec's where the cluster goes as a whole.
        hosts: Vec<HostName>,
    },
}
