//! `kubewright completions`: for bash, zsh, fish and others.

use clap::CommandFactory;
use clap_complete::Shell;

use super::Cli;
use crate::error::{Error, ExitCode};
use crate::report;

/// Print completions for a shell
#[derive(Debug, clap::Args)]
pub struct Completions {
    /// Which shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "kubewright", &mut text);
        report::print(&String::from_utf8_lossy(&text))?;
        Ok(ExitCode::Done)
    }
}
