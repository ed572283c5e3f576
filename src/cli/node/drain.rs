//! `kubewright node drain`: the pods of a node move away, budgets kept, and if they cannot it says why.

use kubewright_core::planner;

use super::Which;
use crate::cli::options::Patience;
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
    #[command(flatten)]
    patience: Patience,
}

impl Drain {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        self.which.carry_out(world, "drain", self.patience, planner::drain).await
    }
}
