//! A copy of etcd while it is taken, and once it is there.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kubewright_core::etcd::attest::Attestation;
use kubewright_core::etcd::manifest::Manifest;
use kubewright_core::facts::etcd::MemberId;
use serde_json::json;

use super::quantity::{bytes, count, grouped, took};
use super::text::{clean, pad, wrap};
use super::{Paint, note, plan, print_json};
use crate::backup::{Doing, Taken};

/// Machines are told so often.
const TICK: Duration = Duration::from_secs(1);

/// Width of the labels on the left.
const LABEL: usize = 12;

/// Shows how far a copy is: a bar on a terminal's standard error, a line for each part elsewhere, JSON for machines.
pub struct Progress {
    json: bool,
    bar: ProgressBar,
    told: Mutex<Option<Instant>>,
}

impl Progress {
    /// Nothing is shown yet.
    pub fn new(json: bool) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) =
            ProgressStyle::with_template("{msg}  {bytes} of {total_bytes}, {binary_bytes_per_sec}, {eta} left")
        {
            bar.set_style(style);
        }
        Self { json, bar, told: Mutex::new(None) }
    }

    /// Shows what is being done.
    pub fn tell(&self, doing: &Doing) {
        if self.json {
            self.tell_machines(doing);
            return;
        }
        let hidden = self.bar.is_hidden();
        match doing {
            Doing::Receiving { from, done, all } => {
                if self.is_first() {
                    let text = format!("receiving from {from}");
                    self.bar.set_message(text.clone());
                    if hidden {
                        note(&format!("{text}: {}", bytes(*all)));
                    }
                }
                self.bar.set_length(*all);
                self.bar.set_position(*done);
            }
            Doing::Checking => self.part("reading every page of it", hidden),
            Doing::Attesting => self.part("comparing it with the members", hidden),
            Doing::Remark(text) => {
                let text = clean(text);
                self.bar.suspend(|| note(&text));
                *self.told.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
        }
    }

    fn part(&self, text: &str, hidden: bool) {
        self.bar.set_message(text.to_owned());
        if hidden {
            note(text);
        }
    }

    fn is_first(&self) -> bool {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).replace(Instant::now()).is_none()
    }

    fn tell_machines(&self, doing: &Doing) {
        let line = match doing {
            Doing::Receiving { from, done, all } => {
                let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
                if told.is_some_and(|told| told.elapsed() < TICK) {
                    return;
                }
                *told = Some(Instant::now());
                json!({ "event": "saving", "doing": "receiving", "from": from, "done": done, "of": all })
            }
            Doing::Checking => json!({ "event": "saving", "doing": "checking" }),
            Doing::Attesting => json!({ "event": "saving", "doing": "attesting" }),
            Doing::Remark(text) => json!({ "event": "saving", "doing": "remark", "text": text }),
        };
        // Whoever reads no more is told at the end that nothing can be written.
        let _ = print_json(&line);
    }

    /// The bar goes.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// A copy that is there.
pub fn saved(taken: &Taken, removed: &[String], took_in_all: Duration, paint: Paint) -> String {
    let Manifest { from, file, contents, attestation, .. } = &taken.manifest;
    let path = taken.path.display().to_string();
    let head = if attestation.is_proved() { paint.good("saved and proved") } else { paint.warn("saved, not proved") };
    let mut text = format!("{head}: {}  {}\n", clean(&path), paint.faint(&format!("({})", took(took_in_all))));
    text.push_str(&plan::findings(&taken.findings, paint));
    let mut fact = |label: &str, value: String| {
        let room = paint.columns().saturating_sub(LABEL + 2).max(40);
        for (index, line) in wrap(&clean(&value), room).into_iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            text.push_str(&format!("  {}{line}\n", paint.faint(&pad(label, LABEL))));
        }
    };
    let role = if from.led { "the leader" } else { "a follower" };
    let role = if taken.manifest.with_quorum { role } else { "the best survivor" };
    fact("from", format!("{} on {}, {role}, in term {}", from.name, from.host, grouped(from.term)));
    fact("size", format!("{}, {} keys", bytes(file.bytes), grouped(contents.keys)));
    let compacted = match contents.compact_revision {
        -1 => "never compacted".to_owned(),
        revision => format!("compacted at {}", grouped(revision.unsigned_abs())),
    };
    fact("revision", format!("{}, {compacted}", grouped(contents.revision.unsigned_abs())));
    fact("attested", attested(&taken.manifest, attestation));
    fact("SHA-256", file.sha256.clone());
    fact("beside it", count(taken.manifest.companions.len(), "file"));
    if !removed.is_empty() {
        fact(
            "removed",
            format!("{}: {}", count(removed.len(), "older copy").replace("copys", "copies"), removed.join(", ")),
        );
    }
    fact("next", format!("look at it at any time: kubewright etcd verify {}/{}", path, file.name));
    text
}

fn attested(manifest: &Manifest, attestation: &Attestation) -> String {
    let name = |id: &MemberId| {
        let member = manifest.members.iter().find(|member| member.id == *id);
        member.map_or_else(|| id.to_string(), ToString::to_string)
    };
    let names = |ids: &[MemberId]| ids.iter().map(name).collect::<Vec<_>>().join(", ");
    let mut text = match attestation.agree.as_slice() {
        [] => format!("by none of {} voters", attestation.voters),
        agree => format!("by {} (of {} voters)", names(agree), attestation.voters),
    };
    if !attestation.differ.is_empty() {
        text.push_str(&format!("; not by {}", names(&attestation.differ)));
    }
    for (id, why) in &attestation.unknown {
        text.push_str(&format!("; {}: {why}", name(id)));
    }
    text
}
