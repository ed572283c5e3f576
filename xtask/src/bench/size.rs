//! How large the released program is, and how fast it starts.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::{Machine, Spread, rounded};

/// So many starts that a busy neighbour's turn on the processor does not reach the median.
const STARTS: usize = 101;

/// What was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Size of the stripped program, in millions of bytes.
    pub binary_mb: f64,
    /// From starting `--help` until its end, the median of many starts, in milliseconds.
    pub help_ms: f64,
    /// The same with the extremes.
    pub help_ms_spread: Spread,
    /// The machine.
    #[serde(flatten)]
    pub machine: Machine,
}

/// Measures a program.
///
/// # Errors
/// There is no such program, or its help fails.
pub fn measure(program: &Path) -> Result<Report> {
    measured(program, STARTS)
}

fn measured(program: &Path, starts: usize) -> Result<Report> {
    let machine = Machine::now()?;
    let bytes = std::fs::metadata(program).with_context(|| format!("cannot look at {}", program.display()))?.len();
    // The first start reads the file from the disk; users start it again and again.
    help(program)?;
    let spread = Spread::of((0..starts).map(|_| help(program)).collect::<Result<Vec<_>>>()?)?;
    Ok(Report { binary_mb: rounded(bytes as f64 / 1e6), help_ms: spread.median, help_ms_spread: spread, machine })
}

/// One start, in milliseconds.
fn help(program: &Path) -> Result<f64> {
    let began = Instant::now();
    let status = Command::new(program)
        .arg("--help")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let took = began.elapsed();
    if !status.success() {
        bail!("{} --help ended with {status}", program.display());
    }
    Ok(took.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_measured_and_a_broken_one_refused() {
        let report = measured(Path::new("/bin/true"), 3).unwrap();
        assert!(report.binary_mb > 0.0 && report.help_ms > 0.0);
        assert_eq!(report.help_ms_spread.runs, 3);
        assert!(measured(Path::new("/bin/false"), 3).is_err());
        assert!(measured(Path::new("/nowhere"), 3).is_err());
    }
}
