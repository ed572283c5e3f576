//! Options that several commands have.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use kubewright_core::drain::Policy;
use kubewright_core::finding::codes;
use kubewright_core::planner::Choices;
use kubewright_core::spec::Spec;

use super::world::World;
use crate::error::Error;
use crate::ports::Hosts;

/// Of which cluster.
#[derive(Debug, clap::Args)]
pub(super) struct OfSpec {
    /// The spec
    #[arg(long, short, default_value = "cluster.yaml")]
    pub file: PathBuf,
}

impl OfSpec {
    /// The spec and the way to its hosts; nobody is contacted yet.
    pub fn open(&self, world: &World) -> Result<(Spec, Arc<dyn Hosts>), Error> {
        let spec = world.load(&self.file)?.spec;
        let hosts = world.connect(&spec)?;
        Ok((spec, hosts))
    }
}

/// What was agreed to beforehand.
#[derive(Debug, clap::Args)]
pub(super) struct Agreed {
    /// Agree to a finding that needs consent, by its code; may be repeated
    #[arg(long, value_name = "CODE", value_parser = code)]
    pub consent: Vec<String>,
}

/// A code that a finding can carry: one that is misspelt would agree to nothing and be noticed by nobody.
pub(super) fn code(text: &str) -> Result<String, String> {
    let code = text.to_ascii_uppercase();
    match codes::lookup(&code) {
        Some(_) => Ok(code),
        None => Err("no finding has that code; a plan shows each one's before its text".to_owned()),
    }
}

impl Agreed {
    /// Each once.
    pub fn codes(&self) -> BTreeSet<String> {
        self.consent.iter().cloned().collect()
    }
}

/// What was agreed to beforehand, and how long pods are waited for.
#[derive(Debug, clap::Args)]
pub(super) struct Patience {
    #[command(flatten)]
    pub agreed: Agreed,
    /// Wait as long as it takes where a budget has no room, and where a workload lacks pods after maintenance
    #[arg(long)]
    wait: bool,
    /// Without --wait: end, and undo our cordon, when nothing at all has moved for so long
    #[arg(long, value_name = "SECONDS", default_value_t = Policy::PATIENCE_SECONDS, conflicts_with = "wait")]
    patience: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self::with(Agreed { consent: Vec::new() })
    }
}

impl Patience {
    /// Of somebody who only agrees to findings.
    pub fn with(agreed: Agreed) -> Self {
        Self { agreed, wait: false, patience: Policy::PATIENCE_SECONDS }
    }

    /// As planners want it.
    pub fn choices(&self) -> Choices {
        Choices { consents: self.agreed.codes(), wait: self.wait, patience_seconds: self.patience }
    }
}
