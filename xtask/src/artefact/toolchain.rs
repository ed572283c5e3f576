//! How Go arrives: whatever is there is used if it can build what is asked, directly or by fetching its successor.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::command::{output, succeeds};

/// The newest Go that anything in the catalogue asks for (Kubernetes 1.36).
const NEEDED: (u32, u32) = (1, 26);

/// The first Go that fetches a newer toolchain as a module when `go.mod` asks for one.
const CAN_FETCH: (u32, u32) = (1, 21);

/// A usable Go.
#[derive(Debug, Clone)]
pub struct Toolchain {
    program: PathBuf,
    /// Whether it is too old itself and fetches what a module asks for.
    fetches: bool,
}

impl Toolchain {
    /// Finds Go on the PATH or where it is usually put, or installs Debian's newest, and says which way it took.
    ///
    /// # Errors
    /// There is no Go from 1.21 on and none can be installed.
    pub fn find() -> Result<Self> {
        if let Some(found) = Self::present() {
            return Ok(found);
        }
        let suite = output(Command::new("sh").args(["-c", ". /etc/os-release && echo \"$VERSION_CODENAME\""]))?;
        let backports = format!("{suite}-backports");
        eprintln!("There is no Go from 1.21 on: installing golang-go from {backports} with apt.");
        let installed = succeeds(Command::new("apt-get").args(["install", "-y", "-q", "-t", &backports, "golang-go"]));
        match Self::present() {
            Some(found) => Ok(found),
            None => bail!(
                "Go is needed to build the artefacts here, because the official downloads are not reachable{}. Install \
                 Go 1.21 or newer (apt-get install -t {backports} golang-go, or from go.dev) and run again.",
                if installed { "" } else { ", and apt could not install it" }
            ),
        }
    }

    fn present() -> Option<Self> {
        let mut folders: Vec<PathBuf> =
            std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
        folders.push("/usr/local/go/bin".into());
        folders.push("/usr/lib/go/bin".into());
        let candidates = folders.iter().map(|folder| folder.join("go")).filter(|program| program.is_file());
        let mut second_best = None;
        for program in candidates {
            match output(Command::new(&program).arg("version").env("GOTOOLCHAIN", "local"))
                .ok()
                .as_deref()
                .and_then(version)
            {
                Some(version) if version >= NEEDED => return Some(Self { program, fetches: false }),
                Some(version) if version >= CAN_FETCH && second_best.is_none() => {
                    second_best = Some(Self { program, fetches: true });
                }
                _ => {}
            }
        }
        second_best
    }

    /// Says how Go arrives.
    pub fn describe(&self) -> String {
        let program = self.program.display();
        if self.fetches {
            format!("Go: {program}, which fetches the newer toolchain that a module asks for (GOTOOLCHAIN=auto)")
        } else {
            format!("Go: {program}")
        }
    }

    /// A go command in this folder, at low priority: a build must not starve what else runs on the machine.
    pub fn command(&self, folder: &Path, cgo: bool) -> Command {
        let mut command = Command::new("nice");
        command.arg(&self.program).current_dir(folder).env("CGO_ENABLED", if cgo { "1" } else { "0" });
        // Settings of a person's other projects have no place here; GOPROXY and GOFLAGS stay, since a machine may
        // reach modules only through them.
        for name in ["GOOS", "GOARCH", "GOWORK", "GO111MODULE", "GOBIN"] {
            command.env_remove(name);
        }
        if self.fetches {
            command.env("GOTOOLCHAIN", OsString::from("auto"));
        }
        command
    }
}

/// `go version go1.26.8 linux/amd64` → (1, 26).
fn version(answer: &str) -> Option<(u32, u32)> {
    let mut numbers = answer.split_whitespace().nth(2)?.strip_prefix("go")?.split('.');
    let major = numbers.next()?.parse().ok()?;
    // A pre-release looks like 1.27rc1.
    let minor: String = numbers.next()?.chars().take_while(char::is_ascii_digit).collect();
    Some((major, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(version("go version go1.26.8 linux/amd64"), Some((1, 26)));
        assert_eq!(version("go version go1.27rc1 linux/amd64"), Some((1, 27)));
        assert_eq!(version("something else"), None);
    }
}
