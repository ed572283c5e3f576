//! A file system of a few megabytes in memory, to be filled.

use std::path::Path;
use std::process::{Command, Stdio};

/// It goes when this is dropped.
pub struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    /// So large; says so where this machine lets nobody mount one, and fails where the lab, which needs the same, is required.
    pub fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size},mode=0700"), "kubewright-test"]).arg(folder.path());
        let mounted = mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        let required = std::env::var_os("KUBEWRIGHT_REQUIRE_LAB").is_some_and(|value| value == "1");
        assert!(mounted || !required, "a tmpfs cannot be mounted");
        if !mounted {
            eprintln!("SKIPPED: a tmpfs cannot be mounted here; run as root");
        }
        mounted.then(|| Self(folder))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} stays mounted", self.0.path().display());
        }
    }
}
