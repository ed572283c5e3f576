//! What is worth knowing of an etcd cluster, and the one thing to do next that is safe.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::agreement::Contents;
use super::status::{Certificate, EtcdStatus, MemberStatus, Seen};
use crate::facts::etcd::{AlarmKind, Sight};
use crate::finding::{Finding, Severity, Subject};
use crate::ids::HostName;
use crate::quorum::{Standing, View, majority};

/// A certificate that ends sooner is worth a word: renewing takes a day to plan, and kubeadm renews a year's certificates long
/// before.
const SOON: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Hundredths of its quota that a database may take before it is worth a word: at the quota everything stops.
const NEARLY_FULL: u64 = 80;

/// A file with less in it than half, and larger than this, is worth a defragmentation.
const WORTH_DEFRAGMENTING: u64 = 256 << 20;

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Advice {
    /// A command that does no harm now; none where nothing has to be done, or not by a command of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// What for, a sentence without a full stop.
    pub why: String,
}

impl Advice {
    /// Nothing has to be done.
    pub(super) fn nothing() -> Self {
        Self { command: None, why: "nothing has to be done".to_owned() }
    }

    fn run(command: String, why: impl Into<String>) -> Self {
        Self { command: Some(command), why: why.into() }
    }
}

/// What is worth knowing, the worst first.
pub(super) fn findings(seen: &Seen<'_>, view: &View<'_>, status: &EtcdStatus) -> Vec<Finding> {
    let mut found = Vec::new();
    quorum(status, &mut found);
    for member in &status.members {
        contents(member, &mut found);
        if !member.well {
            let text = match &member.host {
                Some(_) => format!("its member of etcd {}", member.standing),
                None => format!("{} {}", member.name, member.standing),
            };
            let severity = if member.learner { Severity::Info } else { Severity::Warns };
            found.push(Finding::new(severity, "MEMB004", subject(member.host.as_ref()), text));
        }
        space(member, &mut found);
    }
    alarms(seen, status, &mut found);
    for (host, read) in seen.certificates {
        match read {
            Ok(all) => found.extend(all.iter().filter_map(|certificate| expiry(host, certificate, seen.now))),
            Err(why) => {
                let text = format!("its certificates could not be read: {why}");
                found.push(Finding::new(Severity::Info, "MEMB009", Subject::Host(host.clone()), text));
            }
        }
    }
    if let Some((oldest, newest)) = view.too_far_apart() {
        let text = format!("members run etcd {}.{} and {}.{}", oldest.0, oldest.1, newest.0, newest.1);
        let hint = "upgrade one minor at a time, all members each time";
        found.push(Finding::new(Severity::Warns, "MEMB010", Subject::Cluster, text).hint(hint));
    }
    for (host, sight) in &seen.facts.elsewhere {
        found.push(Finding::new(Severity::Warns, "MEMB011", Subject::Host(host.clone()), no_member(sight)));
    }
    if !status.contents_proved && status.decides {
        let text = "contents could not be compared among a majority of the voters";
        found.push(Finding::new(Severity::Info, "MEMB012", Subject::Cluster, text).hint("ask again in a minute"));
    }
    found.sort_by_key(|finding| finding.severity);
    found
}

fn subject(host: Option<&HostName>) -> Subject {
    host.map_or(Subject::Cluster, |host| Subject::Host(host.clone()))
}

fn quorum(status: &EtcdStatus, found: &mut Vec<Finding>) {
    let (well, voters, needed) = (status.well, status.voters, majority(status.voters));
    if !status.decides {
        let text =
            format!("{well} of {voters} voters are known to be well, {needed} are needed: nothing can be written");
        let hint = "what was confirmed is kept on the disks of the members: bring them back before anything else";
        found.push(Finding::new(Severity::Blocks, "MEMB001", Subject::Cluster, text).hint(hint));
    }
}

fn contents(member: &MemberStatus, found: &mut Vec<Finding>) {
    let (code, text, hint) = match member.contents {
        Contents::Differ => (
            "MEMB002",
            "holds other content than a majority of the members: it is damaged, and tells its clients things that are not so",
            "save a snapshot (it is taken from the others), then: kubewright etcd member replace",
        ),
        Contents::Disputed => (
            "MEMB003",
            "holds other content than another member, and no majority tells which of them is right",
            "stop nothing and remove nothing; save a snapshot of each: kubewright etcd snapshot --from",
        ),
        Contents::Agree | Contents::Unknown { .. } => return,
    };
    let whose = if member.host.is_some() { "its member of etcd" } else { &member.name };
    let text = format!("{whose} {text}");
    found.push(Finding::new(Severity::Blocks, code, subject(member.host.as_ref()), text).hint(hint));
}

fn space(member: &MemberStatus, found: &mut Vec<Finding>) {
    let Some(answer) = &member.answer else { return };
    let subject = || subject(member.host.as_ref());
    if let Some(quota) = answer.quota_bytes.filter(|quota| *quota > 0)
        && answer.db_bytes.saturating_mul(100) / quota >= NEARLY_FULL
    {
        let text = format!(
            "the database of {} has {} % of its quota; at 100 % nothing can be written",
            member.name,
            answer.db_bytes.saturating_mul(100) / quota
        );
        let hint = "see what fills it: kubewright etcd snapshot, then kubewright etcd ls --largest 20";
        found.push(Finding::new(Severity::Warns, "MEMB006", subject(), text).hint(hint));
    }
    if answer.db_bytes > WORTH_DEFRAGMENTING && answer.db_used_bytes < answer.db_bytes / 2 {
        let text = format!("more than half of the database of {} is free", member.name);
        let hint = "kubewright etcd defrag gives it back to the disk";
        found.push(Finding::new(Severity::Info, "MEMB007", subject(), text).hint(hint));
    }
}

fn alarms(seen: &Seen<'_>, status: &EtcdStatus, found: &mut Vec<Finding>) {
    for alarm in &seen.facts.alarms {
        let member = alarm.member.and_then(|id| status.members.iter().find(|member| member.id == id));
        let whose = match (alarm.member, member) {
            (_, Some(member)) => member.name.clone(),
            (Some(id), None) => format!("{id}, which is no member"),
            (None, None) => "an unknown member".to_owned(),
        };
        let (text, hint) = match alarm.kind {
            AlarmKind::NoSpace => (
                "its database has reached its quota, and the whole cluster only reads and deletes",
                "kubewright etcd compact, then kubewright etcd defrag, then kubewright etcd alarm disarm",
            ),
            AlarmKind::Corrupt => (
                "contents differ, and the whole cluster only reads",
                "replace the member that differs from the majority, then disarm the alarm",
            ),
            AlarmKind::Other(_) => {
                ("kubewright knows nothing of it", "find out what it means before anything is changed")
            }
        };
        let text = format!("alarm {} is raised for {whose}: {text}", alarm.kind);
        let subject = subject(member.and_then(|member| member.host.as_ref()));
        found.push(Finding::new(Severity::Blocks, "MEMB005", subject, text).hint(hint));
    }
}

fn expiry(host: &HostName, certificate: &Certificate, now: Timestamp) -> Option<Finding> {
    let Certificate { path, expires } = certificate;
    let left = expires.duration_since(now);
    let (severity, text) = if left <= SignedDuration::ZERO {
        (Severity::Blocks, format!("{path} has expired ({expires})"))
    } else if left < SOON {
        (Severity::Warns, format!("{path} expires in {} days ({expires})", left.as_hours() / 24))
    } else {
        return None;
    };
    let hint = "renew it; etcd takes the new file for its next connection without a restart";
    Some(Finding::new(severity, "MEMB008", Subject::Host(host.clone()), text).hint(hint))
}

fn no_member(sight: &Sight) -> String {
    match sight {
        Sight::Answers(answer) => {
            format!("an etcd runs here that is no member of this cluster (it says cluster {})", answer.cluster)
        }
        Sight::Down { .. } => "no member of etcd lives here, and nothing listens".to_owned(),
        Sight::Silent { why } | Sight::Unseen { why } => {
            format!("no member of the list is known to live here, and nobody can tell what does ({why})")
        }
    }
}

/// The one thing to do. Saving comes before mending wherever something may be lost by mending.
pub(super) fn next(seen: &Seen<'_>, view: &View<'_>, status: &EtcdStatus) -> Advice {
    let command = |words: &str| format!("kubewright etcd {words} -f {}", seen.file);
    let with = |contents: Contents| status.members.iter().find(|member| member.contents == contents);
    if let Some(member) = with(Contents::Differ) {
        let why = match &member.host {
            Some(host) => {
                format!("saves what the majority holds; then: {}", command(&format!("member replace {host}")))
            }
            None => format!("saves what the majority holds; then {} has to be replaced", member.name),
        };
        return Advice::run(command("snapshot"), why);
    }
    if with(Contents::Disputed).is_some() {
        return Advice::run(
            command("snapshot"),
            "saves one of the two; the other with --from; nothing else is safe now",
        );
    }
    if !status.decides {
        let away: Vec<&str> = status
            .members
            .iter()
            .filter(|member| !member.well && !member.learner)
            .map(|member| member.name.as_str())
            .collect();
        let why =
            format!("saves what the best survivor has, before anything is mended; then bring back {}", away.join(", "));
        return Advice::run(command("snapshot"), why);
    }
    let ill = |member: &&MemberStatus| !member.well && !member.learner;
    if let Some(member) = status.members.iter().find(ill) {
        return mend(seen, view, member, &command);
    }
    if let Some(alarm) = status.alarms.first() {
        let why = format!("saves everything before alarm {} is seen to", alarm.kind);
        return Advice::run(command("snapshot"), why);
    }
    if let Some(finding) = status.findings.iter().find(|finding| finding.severity <= Severity::Warns) {
        let why = finding.hint.clone().unwrap_or_else(|| finding.text.clone());
        return Advice { command: None, why };
    }
    Advice::nothing()
}

fn mend(seen: &Seen<'_>, view: &View<'_>, member: &MemberStatus, command: &dyn Fn(&str) -> String) -> Advice {
    let name = &member.name;
    match (view.standing(member.id), &member.host) {
        (Some(Standing::Unseen(_)), _) | (_, None) => Advice {
            command: Some(format!("kubewright status -f {}", seen.file)),
            why: format!("tells which hosts can be reached: {name} may be alive, so nothing is done to it"),
        },
        (_, Some(host)) => Advice::run(
            command(&format!("logs {host}")),
            format!("tells why {name} is not well; the others go on without it"),
        ),
    }
}
