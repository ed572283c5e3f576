//! `kubewright node drain`: the pods of a node move away, budgets kept, and if they cannot it says why.

use kubewright_core::drain::Policy;
use kubewright_core::planner::{self, Choices};

use super::{Asked, Which};
use crate::cli::world::World;
use crate::error::{Error, ExitCode};

/// Move the pods of a node away, keeping every budget; says what it waits for
///
/// Pods of DaemonSets and static pods stay. Every pod has its whole grace. A drain that cannot be done to its end takes its
/// own cordon back and leaves those of others.
#[derive(Debug, clap::Args)]
pub struct Drain {
    #[command(flatten)]
    which: Which,
    /// Agree to a finding that needs consent, by its code; may be repeated
    #[arg(long, value_name = "CODE")]
    consent: Vec<String>,
    /// Wait for budgets without room as long as it takes
    #[arg(long)]
    wait: bool,
    /// Without --wait: end, and undo our cordon, when nothing at all has moved for so long
    #[arg(long, value_name = "SECONDS", default_value_t = Policy::PATIENCE_SECONDS, conflicts_with = "wait")]
    patience: u32,
}

impl Drain {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        let consents = self.consent.into_iter().collect();
        let choices = Choices { consents, wait: self.wait, patience_seconds: self.patience };
        self.which.carry_out(world, Asked { verb: "drain", choices, plan: planner::drain }).await
    }
}
