//! `kubewright version`.

use crate::error::{Error, ExitCode};
use crate::report;

/// Print the version and the Kubernetes minors that are proved
#[derive(Debug, clap::Args)]
pub struct Version {}

impl Version {
    pub(super) fn run(self, json: bool) -> Result<ExitCode, Error> {
        let minors: Vec<String> = kubewright_core::version::PROVEN.iter().map(ToString::to_string).collect();
        if json {
            report::print_json(&serde_json::json!({ "version": env!("CARGO_PKG_VERSION"), "provenMinors": minors }))?;
        } else {
            report::print(&format!(
                "kubewright {}\nKubernetes {} proved\n",
                env!("CARGO_PKG_VERSION"),
                minors.join(", ")
            ))?;
        }
        Ok(ExitCode::Done)
    }
}
