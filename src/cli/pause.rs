//! Pauses between two nodes' turns: what is asked there, while nothing runs.

use kubewright_core::ids::HostName;
use kubewright_core::journal::Record;
use kubewright_core::plan::Turn;
use kubewright_core::spec::Role;
use kubewright_core::summary;

use crate::error::Error;
use crate::ports::{Answer, Select, Ui};
use crate::report::{self, Paint};

/// How a run goes from one node's turn to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// At once.
    Through,
    /// It asks first.
    Asking,
}

/// What is done at a pause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The next turn begins.
    Continue,
    /// The run is given up here, to plan anew without this node.
    Skip(HostName),
    /// The run stops here; it can be resumed.
    Stop,
}

/// A run that pauses.
pub(super) struct Paused {
    /// What has happened so far.
    pub story: summary::Run,
    /// Its journal.
    pub records: Vec<Record>,
    /// Whose turn comes next.
    pub next: Turn,
    /// Where this machine keeps the operation.
    pub folder: String,
    /// For what is shown.
    pub paint: Paint,
}

/// Lines of the journal that fit on a screen together with the question.
const LINES: usize = 12;

impl Paused {
    /// Asks how to go on; a question that is cancelled stops the run.
    pub fn ask(&self, ui: &dyn Ui) -> Result<Next, Error> {
        let Turn { node, pods, .. } = &self.next;
        let pods = match pods {
            0 => "no pod moves".to_owned(),
            1 => "1 pod moves".to_owned(),
            pods => format!("{pods} pods move"),
        };
        let mut answers = vec![(format!("continue with {node} ({pods})"), Some(Next::Continue))];
        // Workers may stay behind for a while; a control plane would hold everybody back.
        if self.story.plan().spec.host(node).is_some_and(|host| !host.is(Role::ControlPlane)) {
            answers.push((format!("skip {node}: it keeps its version"), Some(Next::Skip(node.clone()))));
        }
        answers.push(("look at logs".to_owned(), None));
        answers.push(("stop here".to_owned(), Some(Next::Stop)));
        let (done, steps) = (self.story.status().done(), self.story.plan().steps.len());
        let question = Select {
            question: format!("{done} of {steps} steps are done"),
            options: answers.iter().map(|(label, _)| label.clone()).collect(),
            default: 0,
        };
        loop {
            let Answer::Given(chosen) = ui.select(&question)? else { return Ok(Next::Stop) };
            match answers.get(chosen) {
                Some((_, None)) => ui.show(&self.logs())?,
                Some((_, Some(next))) => return Ok(next.clone()),
                None => return Ok(Next::Stop),
            }
        }
    }

    /// Everything of the operation that this machine has: its steps, the end of its journal, where the rest is.
    fn logs(&self) -> String {
        let now = self.records.last().map(|record| record.at).unwrap_or_default();
        let steps = report::ops::show(&self.story, now, self.paint.columns(), self.paint);
        let end = report::ops::records(&self.records[self.records.len().saturating_sub(LINES)..]);
        format!("{steps}\n{end}  more in {}\n", self.folder)
    }
}

#[cfg(test)]
mod tests {
    use kubewright_core::summary::sample;

    use super::*;
    use crate::ui::fake::{Reply, Scripted};

    fn asked(node: &str, replies: impl IntoIterator<Item = Reply>) -> (Result<Next, Error>, String) {
        let plan = sample::plan();
        let (story, records) = (sample::run_until(40).0, sample::records(&sample::story(&plan)[..30]));
        let next = Turn { node: node.into(), begins: "09-w1-note".into(), pods: 3 };
        let ui = Scripted::new(replies);
        let folder = "/state/ops/7f3a".into();
        let answer = Paused { story, records, next, folder, paint: Paint::none() }.ask(&ui);
        assert_eq!(ui.left(), 0);
        (answer, ui.told())
    }

    #[test]
    fn a_pause_goes_on_skips_or_stops() {
        for (reply, next) in [
            (Reply::Enter, Next::Continue),
            (Reply::Option("skip"), Next::Skip("w1".into())),
            (Reply::Option("stop"), Next::Stop),
            (Reply::Cancel, Next::Stop),
        ] {
            assert_eq!(asked("w1", [reply]).0.unwrap(), next);
        }
    }

    #[test]
    fn logs_are_shown_and_the_question_comes_again() {
        let (next, told) = asked("w1", [Reply::Option("look"), Reply::Enter]);
        assert_eq!(next.unwrap(), Next::Continue);
        insta::assert_snapshot!(told);
    }

    #[test]
    fn a_control_plane_cannot_be_skipped() {
        let (_, told) = asked("cp2", [Reply::Enter]);
        assert!(!told.contains("skip"), "{told}");
    }
}
