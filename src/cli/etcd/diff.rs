//! `kubewright etcd diff`: what became of objects between two snapshots.

use std::path::PathBuf;

use kubewright_snapshot::{Change, diff};
use serde_json::json;

use super::{Which, open, unreadable};
use crate::error::{Error, ExitCode};
use crate::report::{self, Paint, snapshot as drawn};

/// So many names of each resource and change fit a screen with several of both.
const NAMES: usize = 10;

/// Show what two snapshots do not have in common
///
/// The files are only read. Compared is what exists at the newest revision of each. Ends with 3 where they do not differ.
#[derive(Debug, clap::Args)]
pub struct Diff {
    /// The earlier snapshot
    #[arg(value_name = "BEFORE")]
    before: PathBuf,
    /// The later one
    #[arg(value_name = "AFTER")]
    after: PathBuf,
    #[command(flatten)]
    which: Which,
    /// Show every name, and not the first ten of each resource and change
    #[arg(long)]
    all: bool,
}

impl Diff {
    pub(super) fn run(self, json: bool) -> Result<ExitCode, Error> {
        let (before, after) = (open(&self.before)?, open(&self.after)?);
        let names = if self.all { usize::MAX } else { NAMES };
        let found = diff(&before, &after, &self.which.filter(), names)
            .map_err(|(which, error)| unreadable(if which == 0 { &self.before } else { &self.after }, &error))?;
        let files = [&self.before, &self.after].map(|path| path.display().to_string());
        if json {
            report::print_json(&json!({
                "event": "compared",
                "before": { "file": files[0], "revision": found.revisions.0 },
                "after": { "file": files[1], "revision": found.revisions.1 },
                "added": found.count(Change::Added),
                "changed": found.count(Change::Changed),
                "removed": found.count(Change::Removed),
                "unchanged": found.unchanged,
                "unlisted": found.unlisted(),
                "resources": found.differences,
            }))?;
        } else {
            report::print(&drawn::compared(&files, &found, Paint::stdout()))?;
        }
        Ok(if found.differences.is_empty() { ExitCode::NothingToDo } else { ExitCode::Done })
    }
}
