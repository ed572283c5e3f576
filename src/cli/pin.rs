//! `kubewright pin`: digests of programs and images into the lock file beside the spec. Nothing is changed on hosts; they
//! are asked because they, and perhaps not this machine, reach the mirrors.

use std::fmt;
use std::path::{Path, PathBuf};

use kubewright_core::facts::Facts;
use kubewright_core::finding::{Finding, Severity, Subject, worst};
use kubewright_core::pins::{self, Pinned, Pins};

use super::options::OfSpec;
use super::planning::see;
use super::world::{Loaded, World};
use crate::error::{Error, ExitCode};
use crate::report::{self, Paint, diagnostics};
use crate::{render, store};

/// Pin what is published in the lock file beside the spec; hosts are asked, not changed
///
/// Without --update only what is not pinned yet is added, and what is pinned is compared with what is published.
#[derive(Debug, clap::Args)]
pub struct Pin {
    #[command(flatten)]
    of: OfSpec,
    /// Accept what is published now in place of what is pinned, and drop what is needed no longer
    #[arg(long)]
    update: bool,
}

impl Pin {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        let loaded = world.load(&self.of.file)?;
        // What cannot be read is replaced whole by an update, and in the way of anything else.
        let before = match (LockFile::beside(&self.of.file).read(), self.update) {
            (Ok(pinned), _) => pinned,
            (Err(_), true) => LockFile::beside(&self.of.file).empty(),
            (Err(error), false) => return Err(error),
        };
        let pinned = if self.update { LockFile::beside(&self.of.file).empty() } else { before.clone() };
        let hosts = world.connect(&loaded.spec)?;
        // Asked as if nothing were pinned: this is the command that compares.
        let facts = see(&loaded.spec, &hosts, &world.clock, Some(&Pins::default())).await;
        let mut rendered = render::desired(&loaded.spec, &facts, &pinned, &self.of.file.to_string_lossy());
        rendered.findings.extend(unseen(&loaded, &facts));
        if worst(&rendered.findings) == Some(Severity::Blocks) {
            return Err(Error::blocked(rendered.findings));
        }
        let after = pinned.pins.clone().with(&rendered.new_pins);
        LockFile::beside(&self.of.file).write(&after)?;
        told(world, &before, &after)?;
        Ok(if after == before.pins { ExitCode::NothingToDo } else { ExitCode::Done })
    }
}

/// A host that does not answer leaves its programs unpinned.
fn unseen(loaded: &Loaded, facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for host in &loaded.spec.hosts {
        let fact = facts.hosts.get(&host.name);
        if fact.and_then(|fact| fact.known()).is_some() {
            continue;
        }
        let why = fact.and_then(|fact| fact.why()).unwrap_or("no answer");
        let mut finding = Finding::new(Severity::Blocks, "HOST001", Subject::Host(host.name.clone()), why);
        finding.hint = fact.and_then(|fact| fact.hint()).map(str::to_owned);
        findings.push(finding);
    }
    findings
}

fn told(world: &World, before: &Pinned, after: &Pins) -> Result<(), Error> {
    let (added, changed, removed) = (after.beyond(&before.pins), after.unlike(&before.pins), before.pins.beyond(after));
    if world.json {
        let listed = |pins: &Pins| -> serde_json::Value {
            pins.iter().map(|(item, digest)| (item.key(), serde_json::Value::from(digest))).collect()
        };
        return report::print_json(&serde_json::json!({
            "event": if *after == before.pins { "nothingToDo" } else { "pinned" },
            "file": before.file(),
            "added": listed(&added),
            "changed": listed(&changed),
            "removed": listed(&removed),
        }));
    }
    if *after == before.pins {
        return report::print(&format!("{} holds all {} digests, as they are published\n", before.file(), after.len()));
    }
    let mut text = String::new();
    for (sign, pins) in [('+', &added), ('~', &changed), ('-', &removed)] {
        for (item, digest) in pins.iter() {
            text.push_str(&format!("{sign} {} {digest}\n", item.key()));
        }
    }
    text.push_str(&format!("{} pins {} digests\n", before.file(), after.len()));
    report::print(&text)
}

/// The lock file of a spec, whether it is there or not.
#[derive(Debug)]
pub struct LockFile {
    path: PathBuf,
    spec: PathBuf,
}

impl LockFile {
    /// Of this spec.
    pub(super) fn beside(spec: &Path) -> Self {
        let name = spec.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        Self { path: spec.with_file_name(pins::file_name(&name)), spec: spec.to_owned() }
    }

    /// As if it were not there.
    pub(super) fn empty(&self) -> Pinned {
        Pinned::nothing(self.path.to_string_lossy())
    }

    /// What it pins; nothing where it is not there.
    ///
    /// # Errors
    /// One that is not whole, with everything that is wrong drawn on its line.
    pub(super) fn read(&self) -> Result<Pinned, Error> {
        if !self.path.try_exists().map_err(|error| Error::io(&self.path, error))? {
            return Ok(self.empty());
        }
        let text = super::world::text(&self.path)?;
        pins::read(&self.path.to_string_lossy(), &self.spec.to_string_lossy(), &text).map_err(|damaged| {
            let drawn = diagnostics::draw(&damaged.source, &damaged.findings, Paint::stderr());
            Error::spec(damaged.findings, drawn).code("LOCK")
        })
    }

    /// Writes it, where it would be another one than it is.
    ///
    /// # Errors
    /// Where this machine does not let us; the old one is untouched then.
    pub(super) fn write(&self, pins: &Pins) -> Result<(), Error> {
        let name = self.spec.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let text = pins.text(&name);
        if std::fs::read_to_string(&self.path).is_ok_and(|there| there == text) {
            return Ok(());
        }
        // As public as the spec: digests are no secrets.
        store::write_atomically(&self.path, text.as_bytes(), 0o644).map_err(|error| {
            Error::io(&self.path, error)
                .safe("nothing was changed; no host was touched")
                .next(format!(
                    "make its folder writable, or pin elsewhere (kubewright pin -f {name}) and bring the file here"
                ))
                .next("or save a plan, which holds the digests itself, and apply that: kubewright plan -o lab.plan")
        })
    }
}

impl fmt::Display for LockFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(formatter)
    }
}
