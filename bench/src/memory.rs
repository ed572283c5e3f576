//! What processes hold in memory, from the kernel's own accounts.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// What a process holds, in MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Memory {
    /// Its pages that are in memory.
    pub resident: f64,
    /// The most that were so at once.
    pub peak: f64,
    /// Its pages, those shared with other processes divided among them.
    pub proportional: f64,
}

/// What this process holds.
///
/// # Errors
/// The kernel does not tell.
pub fn own() -> Result<Memory> {
    of(Path::new("/proc/self"))
}

/// Lets the peak begin again at what is held now.
///
/// # Errors
/// The kernel does not allow it.
pub fn forget_peak() -> Result<()> {
    fs::write("/proc/self/clear_refs", "5").context("cannot reset the peak of this process' memory")
}

/// Processes whose command line names this text, such as the folder of our control sockets.
///
/// # Errors
/// The kernel does not list processes.
pub fn processes_about(text: &str) -> Result<Vec<Memory>> {
    let own = std::process::id().to_string();
    let folders = fs::read_dir("/proc").context("cannot read /proc")?.flatten();
    let is_meant = |folder: &PathBuf| {
        // One that has ended meanwhile names nothing.
        let line = fs::read(folder.join("cmdline")).unwrap_or_default();
        folder.file_name().is_some_and(|name| *name != *own) && String::from_utf8_lossy(&line).contains(text)
    };
    folders.map(|entry| entry.path()).filter(is_meant).map(|folder| of(&folder)).collect()
}

fn of(process: &Path) -> Result<Memory> {
    let read = |name: &str| {
        let path = process.join(name);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let (status, sums) = (read("status")?, read("smaps_rollup").unwrap_or_default());
    Ok(Memory {
        resident: mebibytes(&status, "VmRSS:"),
        peak: mebibytes(&status, "VmHWM:"),
        proportional: mebibytes(&sums, "Pss:"),
    })
}

/// A line `Name:  1234 kB`; 0 where there is none, as for a process without memory of its own.
fn mebibytes(text: &str, name: &str) -> f64 {
    let kib = text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel_are_read() {
        let text = "VmPeak:\t  9999 kB\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!((mebibytes(text, "VmHWM:"), mebibytes(text, "VmRSS:"), mebibytes(text, "Pss:")), (2.0, 1.0, 0.0));
    }

    #[test]
    fn a_peak_is_seen_and_forgotten() {
        let before = own().unwrap();
        let ballast = vec![1_u8; 64 << 20];
        let with = own().unwrap();
        assert!(with.resident > before.resident + 48.0, "{before:?} {with:?}");
        drop(ballast);
        forget_peak().unwrap();
        assert!(own().unwrap().peak < with.peak - 48.0);
    }

    #[test]
    fn other_processes_are_found_by_what_they_are_about() {
        let mut child = std::process::Command::new("sleep").args(["61.25"]).spawn().unwrap();
        // A program that was just started may not have its arguments yet.
        let found = (0..100).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            Some(processes_about("61.25").unwrap()).filter(|found| !found.is_empty())
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.is_some());
    }
}
