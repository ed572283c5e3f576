//! `kubewright node add`: hosts of the spec join the cluster, and nothing else is changed.

use std::path::PathBuf;

use kubewright_core::ids::HostName;

use crate::cli::apply::{Wish, carry_out};
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
    /// The spec
    #[arg(long, short, default_value = "cluster.yaml")]
    file: PathBuf,
    /// Agree to a finding that needs consent, by its code; may be repeated
    #[arg(long, value_name = "CODE")]
    consent: Vec<String>,
}

impl Add {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        let spec = world.load(&self.file)?.spec;
        for name in &self.hosts {
            super::known(&spec, name, &self.file)?;
        }
        let only = self.hosts.iter().map(|name| HostName::from(name.as_str())).collect();
        let command = format!("kubewright node add {} -f {}", self.hosts.join(" "), self.file.display());
        let wish = Wish { file: &self.file, only: Some(only), command: &command, consent: &self.consent };
        carry_out(world, wish).await
    }
}
