//! What the user asked for now, once arguments are understood.

use serde::{Deserialize, Serialize};

/// A request to the planner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Intent {
    /// Make reality what the spec says, starting from hosts without Kubernetes.
    Bootstrap,
}
