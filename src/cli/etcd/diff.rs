//! `kubewright etcd diff`: what became of objects between two snapshots, or between one and now.

use kubewright_core::etcd::address::StoreAddress;
use kubewright_snapshot::{Change, Snapshot, SnapshotFile, diff};
use serde_json::{Value, json};

use super::stores::Endpoint;
use super::{Cluster, Which, no_member_answers, open, opened, unreadable};
use crate::backup::Doing;
use crate::backup::live::live;
use crate::cli::options::OfSpec;
use crate::cli::world::World;
use crate::error::{Error, ErrorKind, ExitCode};
use crate::exec::cancel::Cancel;
use crate::ports::EtcdApi;
use crate::report::{self, Paint, saving, snapshot as drawn};

/// So many names of each resource and change fit a screen with several of both.
const NAMES: usize = 10;

/// Show what two snapshots do not have in common, or a snapshot and the cluster
///
/// The files are only read. Compared is what exists at the newest revision of each. With --live the later one is what the cluster holds now: the
/// best member sends it into a file without a name below /var/tmp (TMPDIR), which is gone at the end. Ends with 3 where they do not differ.
#[derive(Debug, clap::Args)]
pub struct Diff {
    /// The earlier snapshot
    #[arg(value_name = "BEFORE")]
    before: StoreAddress,
    /// The later one
    #[arg(value_name = "AFTER", required_unless_present = "live", conflicts_with = "live")]
    after: Option<StoreAddress>,
    /// Compare with what the cluster holds now: what a restore would take back
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    of: OfSpec,
    #[command(flatten)]
    which: Which,
    /// Count each namespace of a resource
    #[arg(long)]
    namespaces: bool,
    /// Show every name, and not the first ten of each resource and change
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    endpoint: Endpoint,
}

/// The later side.
struct After {
    snapshot: Snapshot<SnapshotFile>,
    /// How people call it, and machines.
    name: (String, Value),
    unreadable: Box<dyn Fn(&kubewright_snapshot::Error) -> Error>,
}

impl Diff {
    /// Whether hosts are contacted for it.
    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    pub(super) fn run(self, json: bool) -> Result<ExitCode, Error> {
        let access = self.endpoint.access();
        let Some(after) = &self.after else { return Err(Error::usage("the later snapshot is missing, or --live")) };
        let (before, snapshot) = (open(&self.before, &access)?, open(after, &access)?);
        let place = after.clone();
        let after = After {
            snapshot,
            name: (place.to_string(), json!({ "file": place.to_string() })),
            unreadable: Box::new(move |error| unreadable(&place, error)),
        };
        self.compare(&before, &after, json)
    }

    pub(super) async fn run_live(self, world: &World) -> Result<ExitCode, Error> {
        let access = self.endpoint.access();
        // A file that cannot be read is known before anybody is asked.
        let before = opened(crate::backup::reading::open(&self.before, &access).await, &self.before)?;
        let Cluster { etcd, .. } = Cluster::open(world, &self.of).await?;
        let facts = etcd.observe().await.map_err(|error| no_member_answers(error, &self.of))?;
        let progress = saving::Progress::new(world.json);
        let cancel = Cancel::default();
        cancel.on_signals();
        let told = |doing: &Doing| progress.tell(doing);
        let received = tokio::select! {
            received = live(&etcd, &facts, &told) => received,
            () = cancel.stopping() => Err(Error::new(ErrorKind::Stopped, "STOPPED", "stopped before all had come").safe("nothing was changed")),
        };
        progress.end();
        let (file, host) = received?;
        let told = host.clone();
        let unreadable = move |error: &kubewright_snapshot::Error| {
            Error::new(ErrorKind::Failed, "LIVE", format!("what {told} sent cannot be read: {error}"))
                .safe("nothing was changed")
                .next("see how the members are: kubewright etcd status")
        };
        let snapshot = Snapshot::open(file).map_err(|error| unreadable(&error))?;
        let name = (format!("now, from {host}"), json!({ "live": host }));
        let after = After { snapshot, name, unreadable: Box::new(unreadable) };
        self.compare(&before, &after, world.json)
    }

    fn compare(self, before: &Snapshot<SnapshotFile>, after: &After, json: bool) -> Result<ExitCode, Error> {
        let names = if self.all { usize::MAX } else { NAMES };
        let found =
            diff(before, &after.snapshot, &self.which.filter(), names).map_err(|(which, error)| match which {
                0 => unreadable(&self.before, &error),
                _ => (after.unreadable)(&error),
            })?;
        if json {
            let mut later = after.name.1.clone();
            later["revision"] = json!(found.revisions.1);
            report::print_json(&json!({
                "event": "compared",
                "before": { "file": self.before.to_string(), "revision": found.revisions.0 },
                "after": later,
                "added": found.count(Change::Added),
                "changed": found.count(Change::Changed),
                "removed": found.count(Change::Removed),
                "unchanged": found.unchanged,
                "unlisted": found.unlisted(),
                "resources": found.differences,
            }))?;
        } else {
            let files = [self.before.to_string(), after.name.0.clone()];
            report::print(&drawn::compared(&files, &found, self.namespaces, Paint::stdout()))?;
        }
        Ok(if found.differences.is_empty() { ExitCode::NothingToDo } else { ExitCode::Done })
    }
}
