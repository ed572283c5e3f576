//! The package manager and the programs that preparing a host calls.

use super::fitness::Bare;
use super::{blocks, warns};
use crate::finding::Finding;

/// How many names of packages a line takes.
const NAMED: usize = 5;

/// HOST027.
pub(super) fn lock(bare: &Bare<'_>) -> Option<Finding> {
    let holder = bare.seen.package_lock.known()?;
    let text = format!("the package manager is held by {holder}; preparing the host waits for it, but not for ever");
    Some(warns(bare.host, "HOST027", text).hint("let it end; `ps` on the host shows what it does"))
}

/// HOST039: apt tries to finish them whenever it installs anything, and installs nothing where it cannot.
pub(super) fn broken(bare: &Bare<'_>) -> Option<Finding> {
    let broken = bare.fitness.broken_packages.known().filter(|packages| !packages.is_empty())?;
    let mut names = broken.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    if broken.len() > NAMED {
        names.push_str(&format!(" and {} more", broken.len() - NAMED));
    }
    let text = format!("its package manager has not finished with {names}; packages can be installed only after that");
    Some(warns(bare.host, "HOST039", text).hint("run `dpkg --configure -a` and `apt-get --fix-broken install` on it"))
}

/// HOST037: what no package of ours brings. curl has its own finding, ART003.
pub(super) fn programs(bare: &Bare<'_>) -> Option<Finding> {
    let missing = bare.fitness.missing_programs.known().filter(|programs| !programs.is_empty())?;
    let text = format!("programs that preparing it needs are missing: {}", missing.join(", "));
    Some(
        blocks(bare.host, "HOST037", text).hint("install the packages that have them; a full Debian or Ubuntu has all"),
    )
}
