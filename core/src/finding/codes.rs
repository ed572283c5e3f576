//! Every code that a finding can carry: what it means and how much it weighs. `docs/reference/findings.md` is written
//! from this table, and a test holds the sources of each area against it. `NODE` is a machine in the file, `HOST` a
//! machine that was looked at.

mod cluster;
mod drain;
mod etcd;
mod hosts;
mod save;
mod snapshot;
mod spec;
mod work;

use self::cluster::{LEAVE, MAINT, PLAN, RESET, UPGRADE};
use self::drain::DRAIN;
use self::etcd::ETCD;
use self::hosts::ARTEFACTS;
use self::save::SAVE;
use self::snapshot::SNAPSHOT;
use self::work::{CHANGE, RESTORE, WORK};

pub use self::hosts::PREFLIGHT;
pub use self::spec::{LOCK, SPEC};
use super::Severity;

/// One code. Codes are forever: a meaning that goes leaves its number unused.
#[derive(Clone, Copy, Debug)]
pub struct Code {
    /// Such as `NET003`.
    pub code: &'static str,
    /// What it usually weighs.
    pub severity: Severity,
    /// What it means and what to do, in a sentence or two.
    pub meaning: &'static str,
}

/// Codes that are found in the same way.
#[derive(Clone, Copy, Debug)]
pub struct Area {
    /// Heading in the reference.
    pub title: &'static str,
    /// What is found there and when, in a sentence or two.
    pub about: &'static str,
    /// Folders and files whose sources use these codes and no others, from the root of the repository.
    pub sources: &'static [&'static str],
    /// The codes.
    pub codes: &'static [Code],
}

/// All areas, in the order of the reference.
pub const AREAS: &[Area] = &[
    SPEC, LOCK, PREFLIGHT, ARTEFACTS, RESET, LEAVE, MAINT, UPGRADE, PLAN, DRAIN, ETCD, WORK, CHANGE, RESTORE, SAVE,
    SNAPSHOT,
];

const fn code(code: &'static str, severity: Severity, meaning: &'static str) -> Code {
    Code { code, severity, meaning }
}

/// The reference page.
pub fn page() -> String {
    let mut page = String::from(
        "# Findings\n\n\
         What kubewright says about a spec, a host or a plan. A code never changes its meaning.\n\n\
         | weight | what happens |\n\
         | --- | --- |\n\
         | blocks | Nothing is done until it is mended. |\n\
         | consent | Nothing is done until somebody agrees: `kubewright apply --consent CODE`. |\n\
         | warns | It is done all the same. |\n\
         | info | Worth a line. |\n",
    );
    for area in AREAS {
        page.push_str(&format!(
            "\n## {}\n\n{}\n\n| code | weight | meaning |\n| --- | --- | --- |\n",
            area.title, area.about
        ));
        for code in area.codes {
            page.push_str(&format!("| {} | {} | {} |\n", code.code, code.severity, code.meaning));
        }
    }
    page
}

/// What is known about a code.
pub fn lookup(code: &str) -> Option<&'static Code> {
    AREAS.iter().flat_map(|area| area.codes).find(|known| known.code == code)
}
