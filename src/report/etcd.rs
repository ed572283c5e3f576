//! etcd at a glance: what may be lost, the members, what is wrong, what to do.

use std::time::Duration;

use jiff::Timestamp;
use kubewright_core::etcd::agreement::Contents;
use kubewright_core::etcd::status::{CopiesSeen, EtcdStatus, MemberStatus};
use kubewright_core::facts::etcd::Listing;

use super::quantity::{bytes, grouped, took};
use super::table::Table;
use super::text::{clean, pad, wrap};
use super::{Paint, plan};

/// Width of the labels on the left.
const LABEL: usize = 12;

/// A cluster's etcd.
pub fn status(status: &EtcdStatus, now: Timestamp, paint: Paint) -> String {
    let mut text = format!("{}: {}\n", paint.strong(&clean(&status.cluster)), headline(status, paint));
    if let Listing::Remembered { by } = &status.listing {
        text.push_str(&format!("  the list of members is what the one on {by} remembers\n"));
    }
    let mut table =
        Table::new(["MEMBER", "STATE", "TERM", "LAG", "SIZE", "IN USE", "VERSION", "CONTENTS", "CERTIFICATES", "ON"]);
    for member in &status.members {
        table.row(row(member, now, paint));
    }
    text.push_str(&format!("\n{}", table.render(paint.columns())));
    if !status.findings.is_empty() {
        text.push_str(&format!("\n{}", plan::findings(&status.findings, paint)));
    }
    text.push('\n');
    let mut fact = |label: &str, value: &str| {
        let room = paint.columns().saturating_sub(LABEL + 2).max(40);
        for (index, line) in wrap(&clean(value), room).into_iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            text.push_str(&format!("  {}{line}\n", paint.faint(&pad(label, LABEL))));
        }
    };
    fact("may stop", &may_stop(status));
    if let Some(revision) = status.compared_at {
        let proved =
            if status.contents_proved { "a majority holds the same" } else { "no majority is known to hold the same" };
        fact("contents", &format!("compared at revision {}: {proved}", grouped(revision.unsigned_abs())));
    }
    if let Some(copies) = &status.copies {
        fact("copies", &kept(copies, now));
    }
    if let Some(command) = &status.next.command {
        fact("next", command);
        fact("", &status.next.why);
    } else {
        fact("next", &status.next.why);
    }
    text
}

/// When the last copy was taken that can be relied on.
fn kept(copies: &CopiesSeen, now: Timestamp) -> String {
    let ago = |taken: Timestamp| took(Duration::try_from(now.duration_since(taken)).unwrap_or_default());
    let store = &copies.store;
    match (&copies.unreadable, copies.last_verified, copies.last) {
        (Some(why), ..) => format!("unknown: {store}: {why}"),
        (None, Some(verified), Some(last)) if last > verified => format!(
            "the last proved one was taken {} ago; the last of all {} ago, and nobody could attest it ({store})",
            ago(verified),
            ago(last)
        ),
        (None, Some(verified), _) => format!("the last was taken {} ago and is proved ({store})", ago(verified)),
        (None, None, Some(last)) => format!("none is proved; the last was taken {} ago ({store})", ago(last)),
        (None, None, None) => format!("none in {store}: kubewright etcd snapshot"),
    }
}

/// What may be lost, in one sentence.
fn headline(status: &EtcdStatus, paint: Paint) -> String {
    let EtcdStatus { voters, well, .. } = status;
    let word = if *voters == 1 { "voter" } else { "voters" };
    if !status.decides {
        return paint.bad(&format!("etcd has no majority, {well} of {voters} {word} well: nothing can be written"));
    }
    let count = format!("etcd works, {well} of {voters} {word} well");
    let count = if well == voters && !status.is_broken() { paint.good(&count) } else { paint.warn(&count) };
    match status.may_lose {
        0 => format!("{count}; {}", paint.warn("none may be lost")),
        1 => format!("{count}; any 1 may be lost"),
        several => format!("{count}; any {several} may be lost"),
    }
}

fn row(member: &MemberStatus, now: Timestamp, paint: Paint) -> [String; 10] {
    let answer = member.answer.as_ref();
    let said = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let state = match (member.well, member.learner, member.leads) {
        (true, true, _) => "learner".to_owned(),
        (true, _, true) => paint.good("leads"),
        (true, _, false) => paint.good("well"),
        (false, true, _) => paint.warn("learner, not well"),
        (false, ..) => paint.bad(if answer.is_some() { "not well" } else { "no answer" }),
    };
    let contents = match &member.contents {
        Contents::Agree => "agree".to_owned(),
        Contents::Differ => paint.bad("DAMAGED"),
        Contents::Disputed => paint.bad("disputed"),
        Contents::Unknown { .. } => "-".to_owned(),
    };
    let certificate = member.certificate.as_ref().map(|certificate| {
        let left = certificate.expires.duration_since(now).as_hours() / 24;
        if certificate.expires <= now { paint.bad("expired") } else { format!("{left} d left") }
    });
    [
        clean(&member.name),
        state,
        said(answer.map(|answer| grouped(answer.term))),
        said(member.lag.map(grouped)),
        said(answer.map(|answer| bytes(answer.db_bytes))),
        said(answer.map(|answer| bytes(answer.db_used_bytes))),
        said(answer.map(|answer| clean(&answer.version))),
        contents,
        said(certificate),
        match &member.host {
            Some(host) if host.as_str() == member.name => String::new(),
            Some(host) => host.to_string(),
            None => "no host of ours".to_owned(),
        },
    ]
}

/// Whom a restart would not hurt, or why nobody.
fn may_stop(status: &EtcdStatus) -> String {
    let (able, not): (Vec<&MemberStatus>, Vec<&MemberStatus>) =
        status.members.iter().filter(|member| !member.learner).partition(|member| member.not_to_be_stopped.is_empty());
    let names = able.iter().map(|member| member.name.as_str()).collect::<Vec<_>>().join(", ");
    let because = not.iter().find_map(|member| Some((&member.name, member.not_to_be_stopped.first()?)));
    match (able.is_empty(), because) {
        (true, Some((name, why))) => format!("none; {name} not, because {why}"),
        (true, None) => "none".to_owned(),
        (false, Some((name, why))) => format!("{names}, one at a time; {name} not, because {why}"),
        (false, None) => format!("{names}, one at a time"),
    }
}
