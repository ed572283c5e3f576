//! A copy of etcd while it is taken, once it is there, and among others.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use kubewright_core::etcd::attest::Attestation;
use kubewright_core::etcd::manifest::Manifest;
use kubewright_core::facts::etcd::MemberId;
use kubewright_core::ids::HostName;
use kubewright_core::summary::count;
use serde_json::json;

use super::quantity::{bytes, grouped, took};
use super::table::Table;
use super::text::{clean, pad, wrap};
use super::{Paint, note, plan, print_json};
use crate::backup::{Doing, Taken};
use crate::exec::schedule::Goes;
use crate::ports::HostError;
use crate::store::copies::Listed;

/// Machines are told so often.
const TICK: Duration = Duration::from_secs(1);

/// Width of the labels on the left.
const LABEL: usize = 12;

/// Shows how far a copy is: a bar on a terminal's standard error, a line for each part elsewhere, JSON for machines.
pub struct Progress {
    json: bool,
    bar: ProgressBar,
    told: Mutex<Option<Instant>>,
    part: Mutex<&'static str>,
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
        Self { json, bar, told: Mutex::new(None), part: Mutex::new("") }
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
            Doing::Packing { done, all } => self.moves("packing it", *done, *all, hidden),
            Doing::Sending { done, all } => self.moves("sending it to the bucket", *done, *all, hidden),
            Doing::Checking => self.part("reading every page of it", hidden),
            Doing::Attesting => self.part("comparing it with the members", hidden),
            Doing::Remark(text) => {
                let text = clean(text);
                self.bar.suspend(|| note(&text));
                *self.told.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
        }
    }

    /// A part that tells how far it is.
    fn moves(&self, text: &'static str, done: u64, all: u64, hidden: bool) {
        let before = std::mem::replace(&mut *self.part.lock().unwrap_or_else(PoisonError::into_inner), text);
        if before != text {
            self.bar.reset_eta();
            self.part(text, hidden);
        }
        self.bar.set_length(all);
        self.bar.set_position(done);
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
        if matches!(doing, Doing::Receiving { .. } | Doing::Packing { .. } | Doing::Sending { .. }) {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.is_some_and(|told| told.elapsed() < TICK) {
                return;
            }
            *told = Some(Instant::now());
        }
        let line = match doing {
            Doing::Receiving { from, done, all } => {
                json!({ "event": "saving", "doing": "receiving", "from": from, "done": done, "of": all })
            }
            Doing::Packing { done, all } => json!({ "event": "saving", "doing": "packing", "done": done, "of": all }),
            Doing::Sending { done, all } => json!({ "event": "saving", "doing": "sending", "done": done, "of": all }),
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
    let path = taken.place.to_string();
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
    let packed = match &file.unpacked {
        Some(unpacked) => format!(" as zstd, {} unpacked", bytes(unpacked.bytes)),
        None => String::new(),
    };
    fact("size", format!("{}{packed}, {} keys", bytes(file.bytes), grouped(contents.keys)));
    let compacted = match contents.compact_revision {
        -1 => "never compacted".to_owned(),
        revision => format!("compacted at {}", grouped(revision.unsigned_abs())),
    };
    fact("revision", format!("{}, {compacted}", grouped(contents.revision.unsigned_abs())));
    fact("attested", attested(&taken.manifest, attestation));
    fact("SHA-256", file.sha256.clone());
    fact("beside it", count(taken.manifest.companions.len(), "file"));
    if let Some(sealed) = &taken.manifest.sealed {
        fact(
            "keys",
            format!("{} in {}, for {}", count(sealed.files.len(), "file"), sealed.name, sealed.recipients.join(", ")),
        );
    }
    if !removed.is_empty() {
        fact("removed", format!("{}: {}", copies(removed.len(), "older "), removed.join(", ")));
    }
    fact("next", format!("look at it at any time: kubewright etcd verify {path}"));
    text
}

fn copies(number: usize, which: &str) -> String {
    count(number, &format!("{which}copy")).replace("copys", "copies")
}

/// The copies of a store, the newest first.
pub fn listed(store: &str, listed: &Listed, now: Timestamp, paint: Paint) -> String {
    let mut text = format!("{}: {}\n", clean(store), copies(listed.manifests.len(), ""));
    if !listed.manifests.is_empty() {
        let mut table = Table::new(["COPY", "AGE", "PROVED", "REVISION", "SIZE", "FROM", "KEYS"]);
        for (name, manifest) in listed.manifests.iter().rev() {
            let age = Duration::try_from(now.duration_since(manifest.taken)).unwrap_or_default();
            table.row([
                clean(name),
                took(age),
                if manifest.attestation.is_proved() { paint.good("yes") } else { paint.warn("no") },
                grouped(manifest.contents.revision.unsigned_abs()),
                bytes(manifest.file.bytes),
                clean(manifest.from.host.as_str()),
                if manifest.sealed.is_some() { "yes".to_owned() } else { "-".to_owned() },
            ]);
        }
        text.push_str(&table.render(paint.columns()));
    }
    for (name, why) in &listed.unreadable {
        text.push_str(&format!("  {}: {} is no copy: {}\n", paint.warn("SAVE008"), clean(name), clean(why)));
    }
    text
}

/// How hosts go about copies that they take by themselves.
pub fn scheduled(told: &[(HostName, Result<Goes, HostError>)], paint: Paint) -> String {
    let mut table = Table::new(["HOST", "TIMER", "LAST ENDED", "RESULT", "NEXT", ""]);
    let some = |text: &Option<String>| text.as_deref().map(clean).unwrap_or_default();
    for (host, goes) in told {
        let none = String::new;
        match goes {
            Ok(goes) => {
                let result = match goes.result.as_deref() {
                    Some("success") => paint.good("success"),
                    Some(other) => paint.warn(&clean(other)),
                    None => none(),
                };
                let timer = if goes.timer == "active" { paint.good("active") } else { paint.warn(&clean(&goes.timer)) };
                table.row([host.to_string(), timer, some(&goes.ended), result, some(&goes.next), none()]);
            }
            Err(error) => {
                table.row([host.to_string(), paint.warn("?"), none(), none(), none(), clean(&error.to_string())]);
            }
        }
    }
    table.render(paint.columns())
}

/// What is kept beside a copy, and what of it was written.
pub fn companions(copy: &str, manifest: &Manifest, written: &[String], paint: Paint) -> String {
    let mut text = format!("{}: {} beside it\n", clean(copy), count(manifest.companions.len(), "file"));
    for name in manifest.companions.keys() {
        text.push_str(&format!("  {}\n", clean(name)));
    }
    if let Some(sealed) = &manifest.sealed {
        text.push_str(&format!("in {}, encrypted for {}\n", clean(&sealed.name), clean(&sealed.recipients.join(", "))));
        for path in &sealed.files {
            text.push_str(&format!("  {}\n", clean(path)));
        }
    }
    for missing in &manifest.missing {
        text.push_str(&format!("{} {}\n", paint.warn("not there:"), clean(missing)));
    }
    if !written.is_empty() {
        text.push_str(&format!("{}: {}\n", paint.good("written"), count(written.len(), "file")));
    }
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
