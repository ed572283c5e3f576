//! The last words of a run: what was built, where the time went, what to try next; or where it stopped and how to go
//! on.

use std::time::Duration;

use jiff::Timestamp;
use kubewright_core::intent::{Intent, MemberWork, RestoreWork};
use kubewright_core::summary::{PhaseTime, Run, count, outcome};

use super::quantity::{took, whole};
use super::text::pad;
use super::{Paint, failure};
use crate::error::Error;

/// What the run itself does not know.
#[derive(Clone, Copy, Debug, Default)]
pub struct Around<'a> {
    /// The kubeconfig that was written for the operator.
    pub kubeconfig: Option<&'a str>,
}

/// Width of the bars that show when each part ran.
const BAR: usize = 32;
/// Links of the longest chain that are worth a line: shorter ones would not be missed.
const WORTH_TELLING: Duration = Duration::from_secs(1);

/// After a run that reached its end.
pub fn done(run: &Run, around: &Around<'_>, paint: Paint) -> String {
    let plan = run.plan();
    let now = run.last().unwrap_or(Timestamp::UNIX_EPOCH);
    let mut text =
        format!("{}: {}, in {}\n\n", paint.strong(&plan.spec.name), outcome(plan), paint.good(&took(run.elapsed(now))));
    text.push_str(&phases(run, now, paint));
    text.push_str(&chain(run));
    text.push('\n');
    for sentence in run.safe_now().sentences() {
        text.push_str(&format!("  {sentence}\n"));
    }
    text.push('\n');
    let kubectl = match around.kubeconfig {
        Some(path) => format!("kubectl --kubeconfig {path} get nodes"),
        None => "kubewright kubeconfig".to_owned(),
    };
    let show = format!("kubewright ops show {}", plan.operation);
    let (drain, uncordon) = match plan.intent.node() {
        Some(node) => (format!("kubewright node drain {node}"), format!("kubewright node uncordon {node}")),
        None => Default::default(),
    };
    // One that left a host of the spec may come back.
    let member_back = match &plan.intent {
        Intent::ChangeEtcd { change: MemberWork::Remove { member } } => {
            let host = plan.spec.hosts.iter().find(|host| host.name.as_str() == member);
            host.map(|host| format!("kubewright etcd member add {}  brings one back", host.name))
        }
        _ => None,
    };
    let next: &[&str] = match plan.intent {
        Intent::Reset { .. } => &[&show],
        Intent::Cordon { .. } => &[&drain, &uncordon],
        Intent::Drain { .. } => &[&uncordon, &show],
        Intent::Maintain { .. } | Intent::Upgrade { .. } => &["kubewright status", &show],
        Intent::Uncordon { .. } => &["kubewright status"],
        Intent::RemoveNode { .. } => {
            &["take it out of the spec, or the next apply brings it back", "kubewright status"]
        }
        Intent::MaintainEtcd { .. } => &["kubewright etcd status"],
        Intent::RestoreEtcd { work: RestoreWork::Make { .. } } => &[
            "kubewright etcd restore --undo      brings back what etcd held before",
            "kubewright etcd restore --finalize  deletes it for good",
        ],
        Intent::RestoreEtcd { .. } => &["kubewright etcd status"],
        Intent::ScheduleCopies { .. } => &["kubewright etcd schedule", "kubewright etcd copies"],
        Intent::ChangeEtcd { .. } => match &member_back {
            Some(add) => &["kubewright etcd status", add],
            None => &["kubewright etcd status", &show],
        },
        Intent::Bootstrap | Intent::Converge => &[&kubectl, "kubewright status", &show],
    };
    for (index, command) in next.iter().enumerate() {
        let label = if index == 0 { "try next" } else { "" };
        text.push_str(&format!("  {}{command}\n", paint.strong(&pad(label, 11))));
    }
    text
}

/// After a run that the user stopped.
pub fn stopped(run: &Run, paint: Paint) -> String {
    failure::text(&Error::stopped(run), paint)
}

/// A line per part: its time, its steps, and when within the run it ran.
fn phases(run: &Run, now: Timestamp, paint: Paint) -> String {
    let whole_run =
        run.started().map_or(Duration::ZERO, |start| Duration::try_from(now.duration_since(start)).unwrap_or_default());
    let mut text = String::new();
    for phase in run.phases(now) {
        let steps = count(phase.steps, "step");
        text.push_str(&format!(
            "  {}{:>12}  {:<9} {}\n",
            pad(&phase.phase.to_string(), 9),
            took(phase.took),
            steps,
            paint.busy(bar(&phase, whole_run).trim_end())
        ));
    }
    text
}

/// Where in the run the part lay. A part that was resumed reaches over the pause, so the bar is cut at its end.
fn bar(phase: &PhaseTime, whole_run: Duration) -> String {
    let Some(began) = phase.began.filter(|_| !whole_run.is_zero()) else { return String::new() };
    let column = |time: Duration| (time.as_secs_f64() / whole_run.as_secs_f64() * BAR as f64).round() as usize;
    let from = column(began).min(BAR - 1);
    let to = column(began + phase.took).clamp(from + 1, BAR.max(from + 1));
    format!("{}{}{}", " ".repeat(from), "━".repeat(to - from), " ".repeat(BAR - to))
}

/// The steps that decided how long it took.
fn chain(run: &Run) -> String {
    let path = run.critical_path();
    let links: Vec<String> = path
        .iter()
        .filter(|link| link.took > WORTH_TELLING)
        .map(|link| format!("{} {}", link.step, whole(link.took)))
        .collect();
    if links.len() < 2 { String::new() } else { format!("  longest chain: {}\n", links.join(" → ")) }
}

#[cfg(test)]
mod tests {
    use kubewright_core::summary::sample;

    use super::*;

    fn run_until(second: i64) -> Run {
        let plan = sample::plan();
        let story = sample::story(&plan);
        let end = story[0].at + jiff::SignedDuration::from_secs(second);
        let mut run = Run::new(&plan);
        for progress in story.iter().filter(|progress| progress.at <= end) {
            run.observe(progress);
        }
        run
    }

    #[test]
    fn a_run_that_reached_its_end() {
        insta::assert_snapshot!(done(&run_until(1000), &Around { kubeconfig: Some("lab.conf") }, Paint::none()));
    }

    #[test]
    fn a_run_that_was_stopped_in_the_middle_of_steps() {
        insta::assert_snapshot!(stopped(&run_until(30).interrupted(), Paint::none()));
    }

    #[test]
    fn a_run_that_was_stopped_between_steps() {
        let plan = sample::plan();
        let mut run = Run::new(&plan);
        let story = sample::story(&plan);
        let end = story.iter().rposition(|progress| {
            matches!(&progress.news, kubewright_core::progress::News::Recorded { record:
                kubewright_core::journal::Event::StepStarted { step, .. } } if step.as_str().ends_with("prove"))
        });
        for progress in &story[..end.unwrap()] {
            run.observe(progress);
        }
        insta::assert_snapshot!(stopped(&run.interrupted(), Paint::none()));
    }
}
