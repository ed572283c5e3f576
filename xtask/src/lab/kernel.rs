//! The one setting of the machine itself that a lab needs: all hosts share its kernel and, as root, one user's share of
//! inotify instances. It is put back when the last lab goes.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::cache::Cache;

const SETTING: &str = "/proc/sys/fs/inotify/max_user_instances";

/// systemd, containerd, kubelet and every pod of ours take about forty on a host; the usual 128 run out at the fourth
/// host ("too many open files"). Enough for twenty hosts.
const NEEDED: u64 = 1024;

/// Raises the setting where it is too low, and remembers what it was.
///
/// # Errors
/// It cannot be read or written.
pub fn raise(cache: &Cache) -> Result<()> {
    let now = fs::read_to_string(SETTING).with_context(|| format!("{SETTING} cannot be read"))?;
    if now.trim().parse().unwrap_or(0) >= NEEDED {
        return Ok(());
    }
    let kept = kept(cache);
    if !kept.exists() {
        fs::create_dir_all(cache.lab())?;
        fs::write(&kept, &now)?;
    }
    fs::write(SETTING, NEEDED.to_string()).with_context(|| format!("{SETTING} cannot be raised to {NEEDED}"))?;
    eprintln!("{SETTING} was {}, is {NEEDED} while a lab stands", now.trim());
    Ok(())
}

/// Puts it back to what it was.
///
/// # Errors
/// It cannot be written.
pub fn put_back(cache: &Cache) -> Result<()> {
    let kept = kept(cache);
    if let Ok(before) = fs::read_to_string(&kept) {
        fs::write(SETTING, before.trim()).with_context(|| format!("{SETTING} cannot be put back"))?;
        fs::remove_file(kept)?;
    }
    Ok(())
}

fn kept(cache: &Cache) -> PathBuf {
    cache.lab().join("inotify-before")
}
