//! What a run tells while it runs. Displays are made from these events alone.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::finding::Finding;
use crate::ids::{OperationId, StepId};
use crate::journal::Event;

/// Format of the event stream (`--output json`), field `v`.
pub const FORMAT: u32 = 1;

/// One event, in the order it happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Format of what is written for machines.
    #[schemars(extend("const" = FORMAT))]
    pub v: u32,
    /// 0, 1, 2, … within this process.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Of which run.
    pub op: OperationId,
    /// What.
    #[serde(flatten)]
    pub news: News,
}

/// What there is to tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "camelCase")]
pub enum News {
    /// Recorded in the journal.
    Recorded {
        /// The journal's event.
        record: Event,
    },
    /// A step says what it does or waits for right now.
    Doing {
        /// Which.
        step: StepId,
        /// Such as `kube-apiserver: waiting for /readyz`.
        text: String,
    },
    /// What the plan's reader is to know, where events are read in its place: told before the first step.
    Found {
        /// Of the plan; nothing in it blocks.
        finding: Finding,
    },
    /// Something beside the steps: a lost connection tried again, a mirror not written.
    Note {
        /// For people.
        text: String,
    },
    /// The user asked to stop; running steps are ended first.
    Stopping {
        /// Steps still running.
        steps: Vec<StepId>,
    },
}
