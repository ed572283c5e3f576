//! `kubewright etcd ls`: what is in a snapshot, and what fills it.

use kubewright_core::etcd::address::StoreAddress;
use serde_json::json;

use super::stores::Endpoint;
use super::{Which, open, unreadable};
use crate::error::{Error, ExitCode};
use crate::report::{self, Paint, snapshot as drawn};

/// Count and size what is in a snapshot
///
/// The file is only read. Objects are those that exist at its newest revision. Changes are all that is kept, with what was overwritten and deleted
/// since the last compaction: what fills a database is there.
#[derive(Debug, clap::Args)]
pub struct Ls {
    /// The snapshot, packed or not; a copy's folder; a copy in a bucket (s3://BUCKET/…); or a copy of a member's member/snap/db
    #[arg(value_name = "FILE")]
    file: StoreAddress,
    #[command(flatten)]
    which: Which,
    /// A line for each namespace of a resource
    #[arg(long)]
    namespaces: bool,
    /// Show so many of the largest objects
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    largest: usize,
    #[command(flatten)]
    endpoint: Endpoint,
}

impl Ls {
    pub(super) fn run(self, json: bool) -> Result<ExitCode, Error> {
        let snapshot = open(&self.file, &self.endpoint.access())?;
        let filter = self.which.filter();
        let listing = snapshot.list(&filter, self.largest).map_err(|error| unreadable(&self.file, &error))?;
        let name = self.file.to_string();
        if json {
            report::print_json(&json!({
                "event": "listed",
                "file": name,
                "revision": listing.revision,
                "total": listing.total,
                "resources": listing.resources,
                "largest": listing.largest,
            }))?;
        } else {
            report::print(&drawn::listed(&name, &listing, self.namespaces, Paint::stdout()))?;
        }
        Ok(ExitCode::Done)
    }
}
