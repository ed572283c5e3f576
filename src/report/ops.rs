//! Tables: operations, the steps of one, a cluster at a glance.

use jiff::Timestamp;
use kubewright_core::ids::OperationId;
use kubewright_core::journal::{Event, Record, StepState};
use kubewright_core::summary::{CellState, ClusterStatus, MemberLine, NodeLine, Run, Standing, headline, short};
use serde_json::{Value, json};

use super::quantity::{ago, took};
use super::table::Table;
use super::text::{clean, pad};
use super::{Paint, failure};
use crate::error::Error;

/// One operation for the list.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub operation: OperationId,
    /// What is known of it, or why its files cannot be read.
    pub story: Result<Run, String>,
}

impl Entry {
    /// The entry for machines.
    pub fn json(&self) -> Value {
        let run = match &self.story {
            Ok(run) => run,
            Err(why) => return json!({ "operation": self.operation, "state": "unreadable", "why": why }),
        };
        json!({
            "operation": self.operation,
            "cluster": run.plan().spec.name,
            "what": headline(run.plan()),
            "state": state(&run.standing()),
            "done": run.status().done(),
            "steps": run.plan().steps.len(),
            "by": run.by(),
            "started": run.started(),
            "lastSeen": run.last(),
            "next": run.next_command(),
        })
    }
}

/// A standing in one word.
fn state(standing: &Standing) -> &'static str {
    match standing {
        Standing::Planned => "planned",
        Standing::Running => "running",
        Standing::Paused { .. } => "stopped",
        Standing::Moved { .. } => "moved",
        Standing::Failed { .. } => "failed",
        Standing::InDoubt { .. } => "cut off",
        Standing::Finished => "finished",
        Standing::Abandoned { .. } => "abandoned",
    }
}

fn painted(standing: &Standing, paint: Paint) -> String {
    let word = state(standing);
    match standing {
        Standing::Finished => paint.good(word),
        Standing::Running => paint.busy(word),
        Standing::Failed { .. } | Standing::InDoubt { .. } => paint.bad(word),
        Standing::Paused { .. } | Standing::Moved { .. } => paint.warn(word),
        Standing::Planned | Standing::Abandoned { .. } => word.to_owned(),
    }
}

/// Operations, the newest first.
pub fn list(entries: &[Entry], now: Timestamp, width: usize, paint: Paint) -> String {
    if entries.is_empty() {
        return "no operations are kept on this machine\n".to_owned();
    }
    let mut sorted: Vec<&Entry> = entries.iter().collect();
    sorted.sort_by_key(|entry| std::cmp::Reverse(entry.story.as_ref().ok().and_then(Run::last)));
    let mut table = Table::new(["OPERATION", "CLUSTER", "WHAT", "STATE", "STEPS", "LAST SEEN", "BY"]);
    for Entry { operation, story } in sorted {
        let story = match story {
            Ok(story) => story,
            Err(why) => {
                let (none, state) = (|| "-".to_owned(), paint.bad("unreadable"));
                table.row([operation.to_string(), none(), none(), state, none(), none(), first_line(why)]);
                continue;
            }
        };
        table.row([
            operation.to_string(),
            story.plan().spec.name.clone(),
            short(story.plan()),
            painted(&story.standing(), paint),
            format!("{} of {}", story.status().done(), story.plan().steps.len()),
            story.last().map_or_else(|| "-".to_owned(), |last| ago(last, now)),
            clean(story.by().unwrap_or("-")),
        ]);
    }
    table.render(width)
}

/// One operation, step by step.
pub fn show(run: &Run, now: Timestamp, width: usize, paint: Paint) -> String {
    let plan = run.plan();
    let standing = run.standing();
    let mut text = format!(
        "{}: {}, operation {}\n  {}, {} of {} steps in {}",
        paint.strong(&plan.spec.name),
        headline(plan),
        plan.operation,
        painted(&standing, paint),
        run.status().done(),
        plan.steps.len(),
        took(run.elapsed(now)),
    );
    if let Some(last) = run.last() {
        text.push_str(&format!(", last seen {}", ago(last, now)));
    }
    if let Some(by) = run.by() {
        text.push_str(&format!(", by {}", clean(by)));
    }
    text.push_str("\n\n");
    let mut table = Table::new(["", "STEP", "TOOK", "TRY", ""]);
    for step in &plan.steps {
        let state = run.step_state(&step.id);
        let (attempt, remark) = match run.status().steps.get(&step.id) {
            Some(StepState::Failed { attempt, error }) => (attempt.to_string(), first_line(error)),
            Some(StepState::Started { attempt }) if state == CellState::InDoubt => {
                (attempt.to_string(), "cut off; a resume asks whether it was done".to_owned())
            }
            Some(StepState::Started { attempt }) => (attempt.to_string(), "running".to_owned()),
            _ => (String::new(), String::new()),
        };
        table.row([
            mark(state, paint),
            step.id.to_string(),
            run.took(&step.id, now).map(took).unwrap_or_default(),
            attempt,
            remark,
        ]);
    }
    text.push_str(&table.render(width));
    text.push_str(&rest(run, &standing, paint));
    text
}

/// Why it stands where it stands, what is safe, how to go on.
fn rest(run: &Run, standing: &Standing, paint: Paint) -> String {
    if let Standing::Failed { step, error } = standing {
        return format!("\n{}", failure::text(&Error::step_failed(run, step, error), paint));
    }
    let mut text = String::new();
    let mut section = |label: &str, sentence: &str| {
        text.push_str(&format!("  {}{}\n", paint.strong(&pad(label, 11)), clean(sentence)));
    };
    match standing {
        Standing::Paused { why } | Standing::Moved { why, .. } => section("why", why),
        Standing::Planned
        | Standing::Running
        | Standing::Failed { .. }
        | Standing::InDoubt { .. }
        | Standing::Finished => {}
        Standing::Abandoned { by } => section("given up", &format!("by {by}; it cannot be resumed")),
    }
    if !run.status().is_over() {
        for (index, sentence) in run.safe_now().sentences().iter().enumerate() {
            section(if index == 0 { "safe now" } else { "" }, sentence);
        }
    }
    if let Some(command) = run.next_command() {
        section("next", &command);
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}

/// Lines of a journal, with the times of their events.
pub fn records(records: &[Record]) -> String {
    records.iter().map(|record| format!("  {}  {}\n", record.at.strftime("%H:%M:%S"), event(&record.event))).collect()
}

fn event(event: &Event) -> String {
    match event {
        Event::Accepted { by, .. } => format!("accepted by {}", clean(by)),
        Event::TakenUp { by, .. } => format!("taken up by {}", clean(by)),
        Event::StepStarted { step, attempt: 1 } => format!("{step} begins"),
        Event::StepStarted { step, attempt } => format!("{step} begins, try {attempt}"),
        Event::StepSucceeded { step, .. } => format!("{step} is done"),
        Event::StepFoundDone { step } => format!("{step} was done already"),
        Event::StepFailed { step, error, .. } => format!("{step} failed: {}", first_line(error)),
        Event::GuardFailed { step, why } => format!("{step} was not begun: {}", first_line(why)),
        Event::Paused { why } => format!("paused: {}", clean(why)),
        Event::Finished => "finished".to_owned(),
        Event::Abandoned { by } => format!("given up by {}", clean(by)),
    }
}

fn first_line(text: &str) -> String {
    clean(text.lines().next().unwrap_or_default())
}

/// The sign of a step or part of the story.
pub(super) fn mark(state: CellState, paint: Paint) -> String {
    match state {
        CellState::Done => paint.good("●"),
        CellState::Running => paint.busy("◐"),
        CellState::Begun => "◔".to_owned(),
        CellState::Waiting => paint.faint("○"),
        CellState::Failed => paint.bad("✗"),
        CellState::InDoubt => paint.warn("?"),
    }
}

/// A cluster at a glance.
pub fn status(status: &ClusterStatus, now: Timestamp, width: usize, paint: Paint) -> String {
    let mut text = match &status.version {
        Some(version) => format!("{} runs Kubernetes {version}", paint.strong(&status.cluster)),
        None => format!("{}: {}", paint.strong(&status.cluster), paint.bad("no API server answers")),
    };
    let runs_another = |wanted: &&String| status.version.as_ref().is_some_and(|version| version != *wanted);
    if let Some(wanted) = status.wanted.as_ref().filter(runs_another) {
        text.push_str(&format!("; the spec wants {wanted}"));
    }
    text.push('\n');
    if !status.members.is_empty() {
        text.push_str(&format!("  {}\n", members(&status.members, paint)));
    }
    if let Some(operation) = &status.operation {
        let seen = status.operation_seen.map(|seen| format!(", {}", ago(seen, now))).unwrap_or_default();
        text.push_str(&format!("  last operation {operation}{seen}\n"));
    }
    if !status.nodes.is_empty() {
        let mut table = Table::new(["NODE", "STATE", "ROLES", "KUBELET", "ADDRESS", "RUNTIME", ""]);
        for node in &status.nodes {
            table.row([
                node.name.to_string(),
                node_state(node, paint),
                if node.roles.is_empty() { "-".to_owned() } else { node.roles.join(", ") },
                clean(node.kubelet.trim_start_matches('v')),
                clean(&node.address),
                clean(&node.runtime),
                clean(node.not_ready.as_deref().unwrap_or_default()),
            ]);
        }
        text.push_str(&format!("\n{}", table.render(width)));
    }
    if !status.remarks.is_empty() {
        text.push('\n');
        for remark in &status.remarks {
            text.push_str(&format!("  {} {}\n", paint.warn("!"), clean(remark)));
        }
    }
    text
}

/// `etcd 3 of 3 · may lose 1 · API on cp1, cp2, cp3`, and whatever is wrong with any of them.
fn members(members: &[MemberLine], paint: Paint) -> String {
    let voters = members.iter().filter(|member| member.has_member).count();
    let healthy = members.iter().filter(|member| member.has_member && member.etcd.is_none()).count();
    let majority = kubewright_core::quorum::majority(voters);
    let api: Vec<&str> =
        members.iter().filter(|member| member.api.is_none()).map(|member| member.host.as_str()).collect();
    let mut parts = Vec::new();
    if voters > 0 {
        let count = format!("etcd {healthy} of {voters}");
        parts.push(if healthy == voters { paint.good(&count) } else { paint.bad(&count) });
        parts.push(match healthy.checked_sub(majority) {
            Some(spare) => format!("may lose {spare}"),
            None => paint.bad("no quorum"),
        });
    }
    parts.push(if api.is_empty() { paint.bad("API nowhere") } else { format!("API on {}", api.join(", ")) });
    let mut text = parts.join(" · ");
    for member in members {
        for (what, why) in [("etcd", &member.etcd), ("kube-apiserver", &member.api)] {
            if let Some(why) = why.as_ref().filter(|_| what != "etcd" || member.has_member) {
                text.push_str(&format!("\n    {} {what}: {}", member.host, clean(why)));
            }
        }
    }
    text
}

fn node_state(node: &NodeLine, paint: Paint) -> String {
    let ready = match &node.not_ready {
        None => paint.good("Ready"),
        Some(_) => paint.bad("not Ready"),
    };
    if node.schedulable { ready } else { format!("{ready}, {}", paint.warn("cordoned")) }
}

#[cfg(test)]
mod tests {
    use kubewright_core::progress::{News, Progress};
    use kubewright_core::summary::sample::run_until;

    use super::*;

    fn entry(second: i64, name: &str) -> Entry {
        Entry { operation: name.into(), story: Ok(run_until(second).0.interrupted()) }
    }

    #[test]
    fn operations_newest_first() {
        let (_, now) = run_until(3600);
        let entries = [entry(30, "7f3a"), entry(3600, "81bc")];
        insta::assert_snapshot!(list(&entries, now, 100, Paint::none()));
        assert_eq!(list(&[], now, 100, Paint::none()), "no operations are kept on this machine\n");
    }

    #[test]
    fn one_that_cannot_be_read_hides_no_other() {
        let (_, now) = run_until(3600);
        let broken =
            Entry { operation: "dead".into(), story: Err("plan.json has format 9; this kubewright knows 1".into()) };
        assert_eq!(broken.json()["state"], "unreadable");
        insta::assert_snapshot!(list(&[broken, entry(3600, "81bc")], now, 140, Paint::none()));
    }

    #[test]
    fn one_that_was_given_up() {
        let (mut run, now) = run_until(30);
        let record = Event::Abandoned { by: "ada@desk".into() };
        run.observe(&Progress { v: 1, seq: 0, at: now, op: "7f3a".into(), news: News::Recorded { record } });
        let text = show(&run.interrupted(), now, 100, Paint::none());
        assert!(text.contains("abandoned, ") && text.contains("by ada@desk; it cannot be resumed"), "{text}");
        assert!(!text.contains("ops resume"), "{text}");
    }

    #[test]
    fn one_operation_step_by_step() {
        let (mut run, now) = run_until(36);
        let step = run.running().next().unwrap().id.clone();
        let record = Event::StepFailed {
            step,
            attempt: 1,
            error: "kubelet did not start\nwrite: no space left on device".into(),
        };
        run.observe(&Progress { v: 1, seq: 0, at: now, op: "7f3a".into(), news: News::Recorded { record } });
        insta::assert_snapshot!(show(&run.interrupted(), now, 100, Paint::none()));
    }

    #[test]
    fn an_operation_for_machines() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&entry(30, "7f3a").json()).unwrap());
    }

    fn node(name: &str, role: &str) -> NodeLine {
        NodeLine {
            name: name.into(),
            roles: vec![role.into()],
            not_ready: None,
            schedulable: true,
            kubelet: "v1.35.4".into(),
            address: "10.77.0.11".into(),
            runtime: "containerd://2.4.2".into(),
        }
    }

    #[test]
    fn a_cluster_with_one_member_down() {
        let member = |host: &str, etcd: Option<&str>, api: Option<&str>| MemberLine {
            host: host.into(),
            etcd: etcd.map(str::to_owned),
            has_member: true,
            api: api.map(str::to_owned),
        };
        let mut worker = node("w1", "worker");
        worker.not_ready = Some("network plugin not ready: cni plugin not initialized".into());
        worker.schedulable = false;
        let seen = ClusterStatus {
            cluster: "lab".into(),
            version: Some("1.35.4".into()),
            wanted: Some("1.36.3".into()),
            nodes: vec![node("cp1", "control-plane"), worker],
            members: vec![
                member("cp1", None, None),
                member("cp2", None, None),
                member("cp3", Some("connection refused"), Some("connection refused")),
            ],
            operation: Some("7f3a".into()),
            operation_seen: None,
            remarks: vec!["w2 cannot be reached: no route to host".into()],
        };
        insta::assert_snapshot!(status(&seen, Timestamp::UNIX_EPOCH, 100, Paint::none()));
    }

    #[test]
    fn nothing_answers() {
        let seen = ClusterStatus { cluster: "lab".into(), ..ClusterStatus::default() };
        insta::assert_snapshot!(status(&seen, Timestamp::UNIX_EPOCH, 40, Paint::none()));
    }
}
