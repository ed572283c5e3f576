//! Snapshots of etcd: the verdict on one, what is in it, what differs between two.

use std::time::Duration;

use kubewright_core::finding::Finding;
use kubewright_snapshot::{Change, Counts, Diff, HashKv, Listing, Report, ResourceCounts, Survey};
use serde::Serialize;

use super::quantity::{bytes, grouped, took as said};
use super::table::Table;
use super::text::{clean, pad, wrap};
use super::{Paint, plan};
use crate::error::ExitCode;

/// Width of the labels on the left.
const LABEL: usize = 12;

/// What is said of a file in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Whole, and as it was saved; nothing is in it that needs a thought, or somebody has given it one.
    Good,
    /// Whole, and somebody has to know of something first.
    Consent,
    /// Not to be relied on, or not fit for the server it is meant for.
    Unfit,
}

impl Verdict {
    /// The one that goes with an exit code.
    pub fn of(code: ExitCode) -> Self {
        match code {
            ExitCode::Done => Self::Good,
            ExitCode::ConsentNeeded => Self::Consent,
            _ => Self::Unfit,
        }
    }
}

/// The verdict first, then what speaks against the file, then what is in it.
pub fn verified(
    file: &str,
    verdict: Verdict,
    findings: &[Finding],
    report: Option<&Report>,
    asked: Option<HashKv>,
    took: Duration,
    paint: Paint,
) -> String {
    let file = clean(file);
    let mut text = match verdict {
        Verdict::Good => format!("{file} {}", paint.good("is good")),
        Verdict::Consent => format!("{file} {}", paint.warn("is whole, but read this before it is restored")),
        Verdict::Unfit => format!("{file} {}", paint.bad("must not be restored")),
    };
    if let (Verdict::Good, Some(Report { digest: Some(digest), survey: Some(survey), .. })) = (verdict, report) {
        let digest = if digest.is_right() == Some(true) { "its digest is right and " } else { "" };
        text.push_str(&format!(": {digest}all {} pages in use are whole", grouped(survey.pages_in_use)));
    }
    text.push_str(&format!("  {}\n", paint.faint(&format!("({})", said(took)))));
    text.push_str(&plan::findings(findings, paint));
    let Some(report) = report else { return text };
    let mut fact = |label: &str, value: String| {
        let room = paint.columns().saturating_sub(LABEL + 2).max(40);
        for (index, line) in wrap(&clean(&value), room).into_iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            text.push_str(&format!("  {}{line}\n", paint.faint(&pad(label, LABEL))));
        }
    };
    match &report.survey {
        Some(survey) => facts(report, survey, asked, &mut fact),
        None => fact("size", bytes(report.size)),
    }
    if let Some(digest) = &report.digest {
        fact("SHA-256", digest.computed.iter().map(|byte| format!("{byte:02x}")).collect());
    }
    text
}

fn facts(report: &Report, survey: &Survey, asked: Option<HashKv>, fact: &mut impl FnMut(&str, String)) {
    let state = &survey.state;
    let in_use = survey.pages_in_use * report.meta_page.page_size;
    fact("size", format!("{}, {} of it in use", bytes(report.size), bytes(in_use)));
    let storage =
        state.storage_version().map_or("older than 3.5, or not written yet".to_owned(), |version| version.to_string());
    let agreed =
        state.cluster_version.map(|version| format!(", its cluster had agreed on {version}")).unwrap_or_default();
    fact("etcd", format!("storage version {storage}{agreed}"));
    let compacted = match survey.compact_revision {
        Some(compacted) => format!("compacted at {}", grouped(compacted.unsigned_abs())),
        None => "never compacted".to_owned(),
    };
    fact("revision", format!("{}, {compacted}", grouped(survey.revision.unsigned_abs())));
    let rows = format!("{} changes kept, {} of them deletions", grouped(survey.rows), grouped(survey.tombstones));
    fact("keys", format!("{}; {rows}", grouped(survey.keys)));
    let hash = |hash: &HashKv| {
        format!("{0} ({0:08x}) at revision {1}, compacted at {2}", hash.hash, hash.revision, hash.compact_revision)
    };
    fact("HashKV", hash(&survey.hash_kv));
    if let Some(asked) = &asked {
        fact("", hash(asked));
    }
    fact("status hash", format!("{:x}, as etcdutl snapshot status prints it", survey.status_hash));
    if let Some(index) = state.consistent_index {
        let term = state.term.map(|term| format!(", term {}", grouped(term))).unwrap_or_default();
        fact("raft", format!("index {}{term}", grouped(index)));
    }
    let members = state.members.iter().map(|member| {
        let name = if member.name.is_empty() { "(not started)" } else { &member.name };
        let learner = if member.learner { ", learner" } else { "" };
        format!("{name} ({}{learner})", member.id)
    });
    fact("members", or_none(members.collect::<Vec<_>>().join(", ")));
    if !state.removed_members.is_empty() {
        let removed: Vec<String> = state.removed_members.iter().map(ToString::to_string).collect();
        fact("removed", removed.join(", "));
    }
    fact("alarms", or_none(state.alarms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")));
    fact("leases", grouped(state.leases));
    if state.auth.enabled || state.auth.users > 0 {
        let enabled = if state.auth.enabled { "clients must log in" } else { "login is off" };
        fact("users", format!("{}, {} roles; {enabled}", grouped(state.auth.users), grouped(state.auth.roles)));
    }
}

fn or_none(text: String) -> String {
    if text.is_empty() { "none".to_owned() } else { text }
}

/// What is in a file.
pub fn listed(file: &str, listing: &Listing, namespaces: bool, paint: Paint) -> String {
    let total = &listing.total;
    let mut text = format!(
        "{}: revision {}, {} objects of {}; {} changes kept take {}\n",
        clean(file),
        grouped(listing.revision.unsigned_abs()),
        grouped(total.objects),
        bytes(total.bytes),
        grouped(total.rows),
        bytes(total.row_bytes),
    );
    if listing.resources.is_empty() {
        return text;
    }
    let mut table = Table::new(["RESOURCE", "KIND", "NAMESPACE", "OBJECTS", "SIZE", "CHANGES", "TAKE", ""]);
    for resource in &listing.resources {
        let encrypted = match resource.encrypted {
            0 => String::new(),
            all if all == resource.counts.objects => "encrypted".to_owned(),
            some => format!("{} encrypted", grouped(some)),
        };
        let spread = resource.namespaces.keys().filter(|namespace| !namespace.is_empty()).count();
        let among = match spread {
            0 => String::new(),
            1 => resource.namespaces.keys().map(|namespace| clean(namespace)).collect(),
            several => format!("{} namespaces", grouped(several as u64)),
        };
        table.row(line(resource, among, &resource.counts, encrypted));
        if namespaces && spread > 1 {
            for (namespace, counts) in &resource.namespaces {
                let [_, _, name, rest @ ..] = line(resource, clean(namespace), counts, String::new());
                let [objects, size, changes, take, note] = rest;
                table.row([String::new(), String::new(), name, objects, size, changes, take, note]);
            }
        }
    }
    text.push_str(&table.render(paint.columns()));
    if !listing.largest.is_empty() {
        text.push_str("\n  largest\n");
        for object in &listing.largest {
            text.push_str(&format!("  {}{}\n", pad(&bytes(object.bytes), LABEL), clean(&object.key)));
        }
    }
    text
}

fn line(resource: &ResourceCounts, among: String, counts: &Counts, note: String) -> [String; 8] {
    [
        clean(&resource.resource.to_string()),
        clean(resource.kind.as_deref().unwrap_or_default()),
        among,
        grouped(counts.objects),
        bytes(counts.bytes),
        grouped(counts.rows),
        bytes(counts.row_bytes),
        note,
    ]
}

/// What differs between two files.
pub fn compared(files: &[String; 2], diff: &Diff, namespaces: bool, paint: Paint) -> String {
    let number = |change| grouped(diff.count(change));
    let mut text = format!(
        "{} (revision {}) → {} (revision {}): {} added, {} changed, {} removed, {} the same\n",
        clean(&files[0]),
        grouped(diff.revisions.0.unsigned_abs()),
        clean(&files[1]),
        grouped(diff.revisions.1.unsigned_abs()),
        number(Change::Added),
        number(Change::Changed),
        number(Change::Removed),
        grouped(diff.unchanged),
    );
    for difference in &diff.differences {
        let kind = difference.kind.as_deref().map(|kind| format!(" ({kind})")).unwrap_or_default();
        text.push_str(&format!("  {}\n", paint.strong(&clean(&format!("{}{kind}", difference.resource)))));
        let spread = difference.namespaces.iter().filter(|(namespace, _)| namespaces && !namespace.is_empty());
        for (namespace, counts) in spread {
            let counts = counts.iter().map(|(change, count)| format!("{} {}", grouped(*count), word(*change)));
            text.push_str(&format!("    {}: {}\n", clean(namespace), counts.collect::<Vec<_>>().join(", ")));
        }
        for (change, names) in &difference.names {
            for name in names {
                let sign = match change {
                    Change::Added => paint.good("+"),
                    Change::Changed => paint.warn("~"),
                    Change::Removed => paint.bad("-"),
                };
                text.push_str(&format!("    {sign} {}\n", clean(name)));
            }
            let count = difference.counts.get(change).copied().unwrap_or_default();
            let more = count - names.len() as u64;
            if more > 0 {
                text.push_str(&format!("      … and {} more {}\n", grouped(more), word(*change)));
            }
        }
    }
    if diff.unlisted() > 0 {
        text.push_str("  every name: --all\n");
    }
    text
}

fn word(change: Change) -> &'static str {
    match change {
        Change::Added => "added",
        Change::Changed => "changed",
        Change::Removed => "removed",
    }
}
