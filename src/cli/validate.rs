//! `kubewright validate`: the spec and its lock file alone, nothing is contacted.

use kubewright_core::summary::count;

use super::options::OfSpec;
use super::pin::LockFile;
use super::world::Loaded;
use crate::error::{Error, ExitCode};
use crate::report::{self, Paint, diagnostics};

/// Check a spec; nothing is contacted
#[derive(Debug, clap::Args)]
pub struct Validate {
    #[command(flatten)]
    of: OfSpec,
}

impl Validate {
    pub(super) fn run(self, json: bool) -> Result<ExitCode, Error> {
        let loaded = Loaded::read(&self.of.file)?;
        LockFile::beside(&self.of.file).read()?;
        if json {
            report::print_json(&serde_json::json!({ "findings": loaded.findings, "spec": loaded.spec }))?;
            return Ok(ExitCode::Done);
        }
        if !loaded.findings.is_empty() {
            report::print(&diagnostics::draw(&loaded.source, &loaded.findings, Paint::stdout()))?;
        }
        report::print(&format!(
            "{} is valid: {}, Kubernetes {}\n",
            self.of.file.display(),
            count(loaded.spec.hosts.len(), "host"),
            loaded.spec.kubernetes.version
        ))?;
        Ok(ExitCode::Done)
    }
}
