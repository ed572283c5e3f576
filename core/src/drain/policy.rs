//! What a drain may do, decided before it begins and written into its step.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::consent::Consent;
use super::world::Name;

/// What a drain may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// What the user agreed to lose.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub consents: BTreeSet<Consent>,
    /// Budgets that can never have room, and that the user agreed to go past: their pods are deleted, with their whole grace, one at a time,
    /// each once as many serve as must. A budget that finds room after all is asked as any other.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub past_budgets: BTreeSet<Name>,
    /// Whether pods that several budgets count are deleted in the same way, for the API server evicts no such pod; each of their budgets
    /// has to have room, or to be one to go past.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub past_several: bool,
    /// Whether blocked budgets are waited for as long as it takes.
    #[serde(default)]
    pub wait: bool,
    /// How long nothing at all may move before a drain that does not wait gives up.
    pub patience_seconds: u32,
}

impl Policy {
    /// How long nothing may move. A replacement is scheduled, pulled and Ready within this on an ordinary line; a grace
    /// period does not count, for a pod that uses its grace moves.
    pub const PATIENCE_SECONDS: u32 = 180;

    /// Whether the user agreed to that loss.
    pub fn agrees(&self, consent: Consent) -> bool {
        self.consents.contains(&consent)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            consents: BTreeSet::new(),
            past_budgets: BTreeSet::new(),
            past_several: false,
            wait: false,
            patience_seconds: Self::PATIENCE_SECONDS,
        }
    }
}
