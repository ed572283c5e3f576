//! What is known of a raised lab, kept in the cache so that another command finds it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::Lab;
use crate::artefact::stamp::{sorted_entries, write_whole};
use crate::cache::Cache;

/// The folder of a lab's state and SSH files.
pub fn folder(cache: &Cache, name: &str) -> PathBuf {
    cache.lab().join("raised").join(name)
}

/// Remembers a lab.
///
/// # Errors
/// The state cannot be written.
pub fn write(cache: &Cache, lab: &Lab) -> Result<()> {
    write_whole(&folder(cache, &lab.spec.name).join("lab.json"), &serde_json::to_vec_pretty(lab)?)
}

/// The lab of this name, if it stands.
///
/// # Errors
/// Its state cannot be read.
pub fn read(cache: &Cache, name: &str) -> Result<Option<Lab>> {
    let path = folder(cache, name).join("lab.json");
    match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).with_context(|| format!("{} is not a lab", path.display())).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Forgets a lab.
///
/// # Errors
/// Its folder cannot be removed.
pub fn remove(cache: &Cache, name: &str) -> Result<()> {
    match fs::remove_dir_all(folder(cache, name)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context("cannot remove a lab's state"),
        _ => Ok(()),
    }
}

/// Names of the labs that stand.
///
/// # Errors
/// The folder cannot be read.
pub fn names(cache: &Cache) -> Result<Vec<String>> {
    let folder = cache.lab().join("raised");
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = sorted_entries(&folder)?.into_iter().filter(|entry| entry.join("lab.json").is_file());
    Ok(entries.filter_map(|entry| entry.file_name().map(|name| name.to_string_lossy().into_owned())).collect())
}
