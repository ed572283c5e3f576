//! What `kubewright etcd verify` takes beside a plain SHA-256 of the same file, for a snapshot that a real etcd wrote.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use kubewright_snapshot::{Snapshot, SnapshotFile};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use xtask::bench::{Machine, Spread, rounded};
use xtask::command::Background;

use crate::memory;
use crate::server::{connect, fill, program};

/// What was found. The figures to quote stand first.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The time of a verification divided by that of a SHA-256, the median of the rounds.
    pub verify_over_sha256: f64,
    /// The most memory a verification held, over what the process held before.
    pub verify_rss_mb: f64,
    /// Digest, structure, contents and HashKV.
    pub verify_s: Spread,
    /// The same file read and hashed.
    pub sha256_s: Spread,
    /// The file.
    pub file_mb: f64,
    /// Its keys.
    pub keys: u64,
    /// Whether the compiler optimised: figures of a debug build are for tests alone.
    pub optimised: bool,
    /// Processors of the machine, and its load when this began.
    #[serde(flatten)]
    pub machine: Machine,
}

/// What one process of one round found.
#[derive(Debug, Serialize, Deserialize)]
pub struct Part {
    seconds: f64,
    rss_mb: f64,
    keys: u64,
}

/// Has etcd write a snapshot of so many megabytes, and measures. `part` begins a process that runs [`one`].
///
/// # Errors
/// There is no etcd, or a part fails.
pub fn measure(megabytes: u64, rounds: usize, part: impl Fn(&str, &Path) -> Result<Part>) -> Result<Report> {
    let machine = Machine::now()?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("bench.snap");
    write(&file, folder.path(), megabytes)?;
    let (mut sums, mut verified) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        sums.push(part("sha256", &file)?);
        verified.push(part("verify", &file)?);
    }
    let ratios = sums.iter().zip(&verified).map(|(sum, verified)| verified.seconds / sum.seconds);
    let seconds = |parts: &[Part]| Spread::of(parts.iter().map(|part| part.seconds));
    Ok(Report {
        verify_over_sha256: Spread::of(ratios)?.median,
        verify_rss_mb: rounded(verified.iter().map(|part| part.rss_mb).fold(0.0, f64::max)),
        verify_s: seconds(&verified)?,
        sha256_s: seconds(&sums)?,
        file_mb: rounded(fs::metadata(&file)?.len() as f64 / 1e6),
        keys: verified.first().map_or(0, |part| part.keys),
        optimised: !cfg!(debug_assertions),
        machine,
    })
}

/// One measurement of a file, `sha256` or `verify`.
///
/// # Errors
/// The file is not good, or cannot be read.
pub fn one(what: &str, file: &Path) -> Result<Part> {
    memory::forget_peak()?;
    let (before, began) = (memory::own()?, Instant::now());
    let keys = match what {
        "sha256" => {
            let (mut file, mut hash, mut piece) = (File::open(file)?, Sha256::new(), vec![0; 1 << 20]);
            loop {
                match file.read(&mut piece)? {
                    0 => break,
                    length => hash.update(piece.get(..length).unwrap_or_default()),
                }
            }
            std::hint::black_box(hash.finalize());
            0
        }
        "verify" => {
            let report = Snapshot::open(SnapshotFile::open(file)?)?.verify();
            ensure!(report.faults.is_empty(), "the snapshot is not good: {:?}", report.faults);
            report.survey.context("a good file was surveyed")?.keys
        }
        other => bail!("{other} is not measured here"),
    };
    let seconds = began.elapsed().as_secs_f64();
    Ok(Part { seconds, rss_mb: memory::own()?.peak - before.resident, keys })
}

/// A real etcd's snapshot.
fn write(file: &Path, folder: &Path, megabytes: u64) -> Result<()> {
    let (_server, url) = start(&folder.join("data"))?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let mut client = connect(&url, None).await?;
        fill(&mut client, megabytes).await?;
        let (mut stream, mut target) = (client.snapshot().await?, File::create(file)?);
        while let Some(piece) = stream.message().await? {
            target.write_all(piece.blob())?;
        }
        Ok(())
    })
}

fn start(data: &Path) -> Result<(Background, String)> {
    let address = || anyhow::Ok(format!("http://{}", TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?));
    let (client, peer) = (address()?, address()?);
    let arguments = [
        format!("--data-dir={}", data.display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        // Only what is written counts here, not that it survives.
        "--quota-backend-bytes=8000000000".to_owned(),
        "--unsafe-no-fsync".to_owned(),
        "--snapshot-count=1000".to_owned(),
    ];
    Ok((Background::start(&program("etcd")?, arguments, &data.with_extension("log"))?, client))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// On any snapshot; that etcd writes one is seen in the tests of the program.
    #[test]
    fn both_are_measured_and_a_bad_file_is_refused() {
        let golden = xtask::cache::repository().join("snapshot/tests/golden/etcd-3.6-history.db.gz");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("small.snap");
        let unpacked = Command::new("gzip").arg("-dc").arg(golden).output().unwrap().stdout;
        fs::write(&file, &unpacked).unwrap();
        assert!(one("sha256", &file).unwrap().seconds > 0.0);
        let part = one("verify", &file).unwrap();
        assert!(part.seconds > 0.0 && part.keys > 20 && part.rss_mb < 64.0, "{part:?}");
        fs::write(&file, &unpacked[..unpacked.len() - 1]).unwrap();
        assert!(one("verify", &file).is_err());
        assert!(one("nothing", &file).is_err());
    }
}
