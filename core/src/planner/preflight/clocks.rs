//! Whether clocks agree: with each other, since tokens, leases and etcd's elections compare times of several machines; and with
//! this machine's, since certificates made here have to be valid there at once. An error that all hosts share is this
//! machine's own.

use jiff::SignedDuration;

use super::{Input, about, is_bare, warns};
use crate::facts::{Clock, HostFacts};
use crate::finding::{Finding, Severity, Subject};
use crate::ids::HostName;
use crate::spec::Host;

/// etcd itself warns from one second on; ssh on a bad line alone makes that much. A clock that is served by NTP is never
/// as far off as this.
const WARNS: SignedDuration = SignedDuration::from_secs(5);
/// An API server refuses a service account's token that another one signed more than a minute in its future.
const BLOCKS: SignedDuration = SignedDuration::from_secs(60);
/// Certificates are valid from five minutes before they are made, as kubeadm's are; one of them is for the run itself.
const CERTIFICATES: SignedDuration = SignedDuration::from_mins(4);

/// A host's clock, against ours: how far ahead it is at least and at most.
#[derive(Clone, Copy)]
struct Reading<'a> {
    host: &'a Host,
    bare: bool,
    least: SignedDuration,
    most: SignedDuration,
}

impl<'a> Reading<'a> {
    fn of(host: &'a Host, seen: &HostFacts, clock: &Clock) -> Self {
        // It said its last time before we had the answer, and its first after we had asked.
        let one = clock.ended.duration_since(clock.received);
        let other = clock.began.duration_since(clock.sent);
        Self { host, bare: is_bare(seen), least: one.min(other), most: one.max(other) }
    }

    fn middle(&self) -> SignedDuration {
        self.least.saturating_add(self.most) / 2
    }

    /// How far it certainly is ahead of another (behind, if negative).
    fn ahead_of(&self, least: SignedDuration, most: SignedDuration) -> SignedDuration {
        if self.least > most {
            self.least.saturating_sub(most)
        } else if self.most < least {
            self.most.saturating_sub(least)
        } else {
            SignedDuration::ZERO
        }
    }
}

/// TIME004, TIME005, TIME006 for single hosts; TIME001, TIME003 for this machine; TIME002 where all agree.
pub(super) fn agree(input: Input<'_>, findings: &mut Vec<Finding>) {
    let seen: Vec<(&Host, &HostFacts)> =
        input.spec.hosts.iter().filter_map(|host| Some((host, input.facts.host(&host.name)?))).collect();
    if !seen.iter().any(|(_, seen)| is_bare(seen)) {
        return;
    }
    let mut readings = Vec::new();
    for (host, seen) in &seen {
        match seen.clock.known() {
            Some(clock) => readings.push(Reading::of(host, seen, clock)),
            None if is_bare(seen) => {
                let why = seen.clock.why().unwrap_or("it has none");
                findings.push(
                    warns(host, "TIME006", format!("its clock could not be read: {why}"))
                        .hint("`date` on it tells whether it is right"),
                );
            }
            None => {}
        }
    }
    let Some(reference) = reference(&readings) else { return };
    let apart = apart(&readings, reference);
    let from_here = from_here(input, reference, &readings);
    if apart.is_empty() && from_here.is_none() && readings.len() == input.spec.hosts.len() {
        let worst = readings.iter().map(|reading| reading.least.abs().max(reading.most.abs())).max();
        let text = format!("clocks agree within {} ms", worst.unwrap_or_default().as_millis().saturating_add(1));
        findings.push(Finding::new(Severity::Info, "TIME002", Subject::Cluster, text));
    }
    findings.extend(apart);
    findings.extend(from_here);
}

/// The clock that others are compared with: the middle one. Of two in the middle, the one that is closer to ours.
fn reference<'a>(readings: &[Reading<'a>]) -> Option<Reading<'a>> {
    let mut sorted = readings.to_vec();
    sorted.sort_by_key(Reading::middle);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some(if lower.middle().abs() < upper.middle().abs() { lower } else { upper })
}

/// TIME004, TIME005: hosts whose clocks are not as the others'.
fn apart(readings: &[Reading<'_>], reference: Reading<'_>) -> Vec<Finding> {
    let others = if readings.len() > 2 { "most hosts'".to_owned() } else { possessive(&reference.host.name) };
    readings
        .iter()
        .filter(|reading| reading.bare)
        .filter_map(|reading| {
            let skew = reading.ahead_of(reference.least, reference.most);
            let (code, severity) = weight(skew, BLOCKS, "TIME004", "TIME005")?;
            let why =
                if severity == Severity::Blocks { ": tokens signed on one are not valid on the other" } else { "" };
            let text = format!("its clock is {} {} {others}{why}", told(skew.abs()), direction(skew));
            Some(
                about(reading.host, severity, code, text)
                    .hint("let it follow a time server (`timedatectl set-ntp true`)"),
            )
        })
        .collect()
}

fn possessive(name: &HostName) -> String {
    format!("{name}'s")
}

/// TIME001, TIME003: this machine's clock against the hosts'.
fn from_here(input: Input<'_>, reference: Reading<'_>, readings: &[Reading<'_>]) -> Option<Finding> {
    let skew = reference.ahead_of(SignedDuration::ZERO, SignedDuration::ZERO);
    let life = SignedDuration::from_hours(input.spec.certificates.certificate_validity_hours.into());
    let (severity, code, why) = if skew < -CERTIFICATES {
        (Severity::Blocks, "TIME001", ": certificates made here would not be valid there yet")
    } else if skew > life {
        (Severity::Blocks, "TIME001", ": certificates made here would have expired there")
    } else if skew.abs() > WARNS {
        (Severity::Warns, "TIME003", "")
    } else {
        return None;
    };
    let whose = if readings.len() > 1 { "the hosts' clocks are" } else { "its clock is" };
    let subject = if readings.len() > 1 { Subject::Cluster } else { Subject::Host(reference.host.name.clone()) };
    let text = format!("{whose} {} {} this machine's{why}", told(skew.abs()), direction(skew));
    let hint = if readings.len() > 1 {
        "they agree with each other: set this machine's clock (`timedatectl set-ntp true`)"
    } else {
        "let both follow a time server (`timedatectl set-ntp true`)"
    };
    Some(Finding::new(severity, code, subject, text).hint(hint))
}

fn weight(
    skew: SignedDuration,
    blocks: SignedDuration,
    worse: &'static str,
    bad: &'static str,
) -> Option<(&'static str, Severity)> {
    match skew.abs() {
        skew if skew > blocks => Some((worse, Severity::Blocks)),
        skew if skew > WARNS => Some((bad, Severity::Warns)),
        _ => None,
    }
}

fn direction(skew: SignedDuration) -> &'static str {
    if skew > SignedDuration::ZERO { "ahead of" } else { "behind" }
}

fn told(time: SignedDuration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}
