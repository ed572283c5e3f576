//! What our work on etcd takes: a snapshot beside etcd's own client, and how long writes wait while databases are defragmented.

pub mod defrag;
pub mod members;
pub mod snapshot;

use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use xtask::bench::{Machine, Spread, rounded};

use self::snapshot::Part;

/// What was found. The figures to quote stand first.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The time of our snapshot divided by that of etcdctl's, the median of the rounds.
    pub snapshot_ratio: f64,
    /// The most memory of our process at once, all of it.
    pub client_rss_mb: f64,
    /// The longest time in which no write was confirmed while three members were defragmented.
    pub defrag_write_gap_s: f64,
    /// Received, hashed, every page read, attested, kept.
    pub snapshot_s: Spread,
    /// Received and kept.
    pub etcdctl_s: Spread,
    /// The file.
    pub file_mb: f64,
    /// All three members.
    pub defrag_s: f64,
    /// Whether the compiler optimised: figures of a debug build are for tests alone.
    pub optimised: bool,
    /// Processors of the machine, and its load when this began.
    #[serde(flatten)]
    pub machine: Machine,
}

/// Measures all of it. `part` begins a process that runs [`snapshot::one`].
///
/// # Errors
/// There is no etcd, or a part fails.
pub fn measure(megabytes: u64, rounds: usize, part: impl Fn(&Path) -> Result<Part>) -> Result<Report> {
    let machine = Machine::now()?;
    let rounds = snapshot::rounds(megabytes, rounds, part)?;
    let defrag = tokio::runtime::Runtime::new()?.block_on(defrag::gap(megabytes))?;
    Ok(Report {
        snapshot_ratio: Spread::of(rounds.iter().map(|(ours, theirs)| ours.seconds / theirs))?.median,
        client_rss_mb: rounded(rounds.iter().map(|(ours, _)| ours.rss_mb).fold(0.0, f64::max)),
        defrag_write_gap_s: rounded(defrag.gap.as_secs_f64()),
        snapshot_s: Spread::of(rounds.iter().map(|(ours, _)| ours.seconds))?,
        etcdctl_s: Spread::of(rounds.iter().map(|(_, theirs)| *theirs))?,
        file_mb: rounded(rounds.first().map_or(0, |(ours, _)| ours.bytes) as f64 / 1e6),
        defrag_s: rounded(defrag.took.as_secs_f64()),
        optimised: !cfg!(debug_assertions),
        machine,
    })
}
