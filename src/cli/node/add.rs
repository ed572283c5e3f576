//! `kubewright node add`: hosts of the spec join the cluster, and nothing else is changed.

use kubewright_core::ids::HostName;

use crate::cli::apply::{Wish, carry_out};
use crate::cli::options::{Agreed, OfSpec};
use crate::cli::world::World;
use crate::error::{Error, ExitCode};

/// Let hosts of the spec join the cluster, and leave all others alone
///
/// The hosts that are named become what the spec says. The others are not touched, and may even be away.
#[derive(Debug, clap::Args)]
pub struct Add {
    /// The hosts, by their names in the spec
    #[arg(value_name = "HOST", required = true)]
    hosts: Vec<String>,
    #[command(flatten)]
    of: OfSpec,
    #[command(flatten)]
    agreed: Agreed,
}

impl Add {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        let spec = world.load(&self.of.file)?.spec;
        for name in &self.hosts {
            super::known(&spec, name, &self.of)?;
        }
        let only = self.hosts.iter().map(|name| HostName::from(name.as_str())).collect();
        let command = format!("kubewright node add {} -f {}", self.hosts.join(" "), self.of.file.display());
        let wish = Wish { file: &self.of.file, only: Some(only), command: &command, consent: &self.agreed.consent };
        carry_out(world, wish).await
    }
}
