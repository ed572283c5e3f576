//! What `kubewright etcd snapshot` takes beside `etcdctl snapshot save`, of the same etcd, both over TLS and without SSH. Ours recomputes the
//! digest, reads every page and asks the members whether they hold the same; etcdctl writes what comes.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use kubewright::backup::companions::Companions;
use kubewright::backup::{Order, take};
use kubewright::ports::{EtcdApi, SystemClock};
use kubewright::store::copies::Copies;
use kubewright_core::spec::Compression;
use serde::{Deserialize, Serialize};

use super::members::{self, Member};
use crate::memory;
use crate::server::{fill, program};

/// What one process of one round found.
#[derive(Debug, Serialize, Deserialize)]
pub struct Part {
    /// Its time.
    pub seconds: f64,
    /// The most memory of it, all of it.
    pub rss_mb: f64,
    /// The file.
    pub bytes: u64,
}

/// Fills an etcd and saves it in turn: ours and the seconds of etcdctl's, round by round. `part` begins a process that
/// runs [`one`].
///
/// # Errors
/// There is no etcd, or a part fails.
pub fn rounds(megabytes: u64, rounds: usize, part: impl Fn(&Path) -> Result<Part>) -> Result<Vec<(Part, f64)>> {
    let home = tempfile::tempdir()?;
    // Only what is read counts here, not that what was written survives.
    let members = members::start(home.path(), 1, &["--unsafe-no-fsync=true"])?;
    let member = members.first().context("no member")?;
    tokio::runtime::Runtime::new()?.block_on(async { fill(&mut member.client().await?, megabytes).await })?;
    let ours = || part(member.folder());
    let theirs = || etcdctl(member);
    let round = |number: usize| {
        // Whoever is second finds the server warm: the order changes from round to round.
        if number.is_multiple_of(2) {
            let theirs = theirs()?;
            Ok((ours()?, theirs))
        } else {
            Ok((ours()?, theirs()?))
        }
    };
    (0..rounds).map(round).collect()
}

/// One snapshot by us, of the member whose files are in this folder.
///
/// # Errors
/// It is not taken, or not proved.
pub fn one(folder: &Path) -> Result<Part> {
    memory::forget_peak()?;
    let member = Member::open(folder)?;
    let began = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let target = folder.join("ours");
    let bytes = runtime.block_on(async {
        let etcd = members::cluster(&[member])?;
        let facts = etcd.observe().await?;
        let copies = Copies::in_folder(&target, "bench")?;
        let order = Order {
            cluster: "bench",
            etcd: &etcd,
            from: None,
            copies: &copies,
            compress: Compression::None,
            clock: &SystemClock,
            progress: &|_| {},
        };
        let taken = take(order, &facts, async { Companions::default() }).await?;
        ensure!(taken.manifest.attestation.is_proved(), "it is not proved: {:?}", taken.manifest.attestation);
        Ok(taken.manifest.file.bytes)
    })?;
    let seconds = began.elapsed().as_secs_f64();
    let rss_mb = memory::own()?.peak;
    fs::remove_dir_all(target)?;
    Ok(Part { seconds, rss_mb, bytes })
}

/// Seconds of a save by etcd's own client.
fn etcdctl(member: &Member) -> Result<f64> {
    let file = |name: &str| member.folder().join(name);
    let target = file("theirs.snap");
    let mut save = Command::new(program("etcdctl")?);
    save.arg(format!("--endpoints={}", member.url()));
    save.arg("--cacert").arg(file("ca.crt"));
    save.arg("--cert").arg(file("healthcheck-client.crt")).arg("--key").arg(file("healthcheck-client.key"));
    save.args(["snapshot", "save"]).arg(&target).stdout(Stdio::null()).stderr(Stdio::null());
    let began = Instant::now();
    ensure!(save.status()?.success(), "etcdctl does not save");
    let seconds = began.elapsed().as_secs_f64();
    fs::remove_file(target)?;
    Ok(seconds)
}
