//! A plan for whoever has to say yes to it: what, where, with which findings, how long. The steps one by one on
//! request; all of it as JSON for machines.

use std::collections::BTreeSet;
use std::time::Duration;

use kubewright_core::finding::{Finding, Severity, Subject};
use kubewright_core::ids::HostName;
use kubewright_core::plan::{self, Plan, StepKind, Target, Turn};
use kubewright_core::summary::{Outline, count};

use super::Paint;
use super::quantity::{about, took};
use super::text::{clean, pad, width, wrap};

/// What the plan itself does not know.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    /// How long gathering facts took.
    pub facts: Option<Duration>,
    /// The command that runs it.
    pub run: &'a str,
    /// Whether every step is shown with its reason.
    pub steps: bool,
}

/// Width of the labels `facts` and `findings`.
const LABEL: usize = 11;
/// Places that are listed by name; more are counted.
const NAMED: usize = 6;

/// The plan in a few lines; ends with a line break.
pub fn text(plan: &Plan, around: &Around<'_>, paint: Paint) -> String {
    let outline = Outline::of(plan);
    let mut text = format!("{}: {}\n\n", paint.strong(&outline.cluster), outline.headline);
    if let Some(facts) = around.facts {
        text.push_str(&labelled("facts", &format!("{} in {}", count(outline.hosts, "host"), took(facts)), paint));
    }
    for (index, line) in finding_lines(&plan.findings, paint, LABEL + 2).iter().enumerate() {
        text.push_str(&labelled(if index == 0 { "findings" } else { "" }, line, paint));
    }
    if !text.ends_with("\n\n") {
        text.push('\n');
    }
    text.push_str(&phases(&outline, paint));
    if around.steps {
        text.push('\n');
        text.push_str(&steps(plan, paint));
        text.push_str(&digests(plan, paint));
    }
    text.push_str(&format!(
        "\n  {}, {}.  Nothing was changed.  Run it:  {}\n",
        count(outline.steps, "step"),
        about(outline.estimate),
        paint.strong(around.run)
    ));
    text
}

fn labelled(label: &str, line: &str, paint: Paint) -> String {
    format!("  {}{line}\n", paint.faint(&pad(label, LABEL)))
}

fn phases(outline: &Outline, paint: Paint) -> String {
    let places: Vec<String> = outline.phases.iter().map(|line| places(&line.targets)).collect();
    let widest = places.iter().map(|place| width(place)).max().unwrap_or_default();
    let left = 2 + 3 + 10 + widest + 3;
    let mut text = String::new();
    for (number, (line, places)) in (1..).zip(outline.phases.iter().zip(&places)) {
        let description = wrap(&line.description, paint.columns().saturating_sub(left).max(30));
        for (index, piece) in description.iter().enumerate() {
            if index == 0 {
                let phase = pad(&line.phase.to_string(), 10);
                text.push_str(&format!("  {number:<3}{}{}   {piece}\n", paint.strong(&phase), pad(places, widest)));
            } else {
                text.push_str(&format!("{}{piece}\n", " ".repeat(left)));
            }
        }
    }
    text
}

/// Whose turn comes when, and how long all of it usually takes; empty where a plan takes no turns. An arrow leads to a turn that
/// begins once the one before it is over, a comma to one that does not wait for it.
pub fn order(plan: &Plan, paint: Paint) -> String {
    let turns = plan::turns(plan);
    if turns.is_empty() {
        return String::new();
    }
    let with_pods = |turn: &Turn| match turn.pods {
        0 => turn.node.to_string(),
        pods => format!("{} ({})", turn.node, count(usize::try_from(pods).unwrap_or(usize::MAX), "pod")),
    };
    let way_to = |turn: &Turn, before: Option<&Turn>| match before {
        None => "",
        Some(one) if plan.step(&turn.begins).is_some_and(|begins| plan::beside(plan, begins).contains(&one.node)) => {
            ", "
        }
        Some(_) => " → ",
    };
    let before = std::iter::once(None).chain(turns.iter().map(Some));
    let names: String =
        turns.iter().zip(before).map(|(turn, one)| way_to(turn, one).to_owned() + &with_pods(turn)).collect();
    let said = format!("{names}, {}", about(Outline::of(plan).estimate));
    let room = paint.columns().saturating_sub(LABEL + 2).max(30);
    let lines = wrap(&said, room).into_iter().enumerate();
    lines.map(|(index, line)| labelled(if index == 0 { "order" } else { "" }, &line, paint)).collect()
}

fn places(targets: &[Target]) -> String {
    if targets.len() > NAMED {
        return count(targets.len(), "place");
    }
    targets.iter().map(Target::to_string).collect::<Vec<_>>().join(" ")
}

/// Findings as a table, for commands that have no plan to show them with; empty without findings.
pub fn findings(findings: &[Finding], paint: Paint) -> String {
    finding_lines(findings, paint, 2).into_iter().map(|line| format!("  {line}\n")).collect()
}

/// Findings that say the same of several hosts are one, with all names; worst first.
fn merged(findings: &[Finding]) -> Vec<(&Finding, Vec<&HostName>)> {
    let mut merged: Vec<(&Finding, Vec<&HostName>)> = Vec::new();
    for finding in findings {
        let Subject::Host(host) = &finding.subject else {
            merged.push((finding, Vec::new()));
            continue;
        };
        let same = |(first, hosts): &&mut (&Finding, Vec<&HostName>)| {
            let alike = (first.severity, &first.code, &first.text, &first.hint);
            !hosts.is_empty() && alike == (finding.severity, &finding.code, &finding.text, &finding.hint)
        };
        match merged.iter_mut().find(same) {
            Some((_, hosts)) => hosts.push(host),
            None => merged.push((finding, vec![host])),
        }
    }
    merged.sort_by_key(|(finding, _)| finding.severity);
    merged
}

/// One line per finding, worst first, each followed by its hint; `left` columns are taken already.
fn finding_lines(findings: &[Finding], paint: Paint, left: usize) -> Vec<String> {
    let merged = merged(findings);
    let widest = findings.iter().map(|finding| finding.code.len()).max().unwrap_or_default();
    let indent = widest + 1 + 9;
    let room = paint.columns().saturating_sub(left + indent).max(40);
    let mut lines = Vec::new();
    for (finding, hosts) in merged {
        let word = pad(&finding.severity.to_string(), 9);
        let head = format!("{} {}", pad(&finding.code, widest), severity(finding.severity, &word, paint));
        let about = match &finding.subject {
            Subject::Host(_) if hosts.len() > NAMED => format!("{}: ", count(hosts.len(), "host")),
            Subject::Host(_) => format!("{}: ", hosts.iter().map(|host| host.as_str()).collect::<Vec<_>>().join(" ")),
            Subject::Step(step) => format!("{step}: "),
            Subject::Spec(path) => format!("{path}: "),
            // The file is named above.
            Subject::Cluster | Subject::File(_) => String::new(),
        };
        let said = clean(&format!("{about}{}", finding.text));
        let text = match &finding.hint {
            Some(hint) => format!("{said}; {}", clean(hint)),
            None => said,
        };
        for (index, piece) in wrap(&text, room).into_iter().enumerate() {
            lines.push(if index == 0 { format!("{head}{piece}") } else { format!("{}{piece}", " ".repeat(indent)) });
        }
    }
    lines
}

fn severity(severity: Severity, word: &str, paint: Paint) -> String {
    match severity {
        Severity::Blocks => paint.bad(word),
        Severity::NeedsConsent | Severity::Warns => paint.warn(word),
        Severity::Info => word.to_owned(),
    }
}

/// Every step with its reason, in the order of the plan.
fn steps(plan: &Plan, paint: Paint) -> String {
    let widest = plan.steps.iter().map(|step| step.id.as_str().len()).max().unwrap_or_default();
    let room = paint.columns().saturating_sub(widest + 4).max(30);
    let mut text = String::new();
    for step in &plan.steps {
        let mut label = paint.strong(&pad(step.id.as_str(), widest));
        for piece in wrap(&clean(&step.why), room) {
            text.push_str(&format!("  {label}  {piece}\n"));
            label = " ".repeat(widest);
        }
    }
    text
}

/// What each program and image that the plan brings must add up to; empty where it brings none.
fn digests(plan: &Plan, paint: Paint) -> String {
    let mut lines = BTreeSet::new();
    for step in &plan.steps {
        let StepKind::PrepareHost(preparation) = &step.kind else { continue };
        let programs =
            preparation.artefacts.iter().map(|artefact| (&artefact.name, format!("sha256:{}", artefact.sha256)));
        let images =
            preparation.images.iter().map(|image| (&image.reference, image.digest.clone().unwrap_or_default()));
        lines.extend(programs.chain(images).map(|(name, digest)| (clean(name), clean(&digest))));
    }
    let widest = lines.iter().map(|(name, _)| width(name)).max().unwrap_or_default();
    let mut text = String::new();
    for (name, digest) in lines {
        let head = if text.is_empty() { "\n" } else { "" };
        text.push_str(&format!("{head}  {}  {}\n", pad(&name, widest), paint.faint(&digest)));
    }
    text
}

#[cfg(test)]
mod tests {
    use kubewright_core::summary::sample;

    use super::*;

    #[test]
    fn a_plan_in_a_few_lines() {
        let around =
            Around { facts: Some(Duration::from_millis(912)), run: "kubewright apply -f cluster.yaml", steps: false };
        insta::assert_snapshot!(text(&sample::plan(), &around, Paint::none()));
    }

    #[test]
    fn without_findings_there_is_no_gap() {
        let mut plan = sample::plan();
        plan.findings.clear();
        let around = Around { facts: None, run: "kubewright apply -f cluster.yaml", steps: false };
        insta::assert_snapshot!(text(&plan, &around, Paint::none()));
    }

    #[test]
    fn findings_come_worst_first() {
        let mut plan = sample::plan();
        plan.findings.push(
            Finding::new(Severity::Blocks, "NET003", Subject::Cluster, "pod and service networks overlap")
                .hint("10.244.0.0/16 is free on all hosts"),
        );
        insta::assert_snapshot!(findings(&plan.findings, Paint::none()));
    }

    #[test]
    fn what_holds_for_several_hosts_is_said_once() {
        let on = |host: &str, text: &str| {
            Finding::new(Severity::Warns, "HOST024", Subject::Host(host.into()), text).hint("boot it")
        };
        let told = findings(&[on("cp1", "cgroup v1"), on("w1", "other"), on("w2", "cgroup v1")], Paint::none());
        assert_eq!(told, "  HOST024 warns    cp1 w2: cgroup v1; boot it\n  HOST024 warns    w1: other; boot it\n");
        let many: Vec<Finding> = (0..9).map(|number| on(&format!("w{number}"), "cgroup v1")).collect();
        assert_eq!(findings(&many, Paint::none()), "  HOST024 warns    9 hosts: cgroup v1; boot it\n");
    }

    #[test]
    fn a_saved_plan_with_every_step() {
        let around = Around { facts: None, run: "kubewright apply lab.plan", steps: true };
        insta::assert_snapshot!(text(&sample::plan(), &around, Paint::none()));
    }
}
