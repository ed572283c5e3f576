//! Finding by finding: what needs consent is agreed to, or its node left with the version it has; what blocks for one node leaves
//! that node. Each answer makes another plan from the same facts.

use std::collections::{BTreeMap, BTreeSet};

use kubewright_core::finding::{Finding, Severity, Subject};
use kubewright_core::ids::HostName;
use kubewright_core::plan::Plan;
use kubewright_core::planner::{Choices, Outcome};
use kubewright_core::version::Version;

use crate::error::Error;
use crate::ports::{Answer, Select, Ui};
use crate::report::{self, Paint};

/// What was chosen so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wishes {
    /// What may be done, codes that were agreed to among it.
    pub choices: Choices,
    /// Nodes that keep their version.
    pub left: BTreeSet<HostName>,
    /// Findings that were agreed to here, each by itself: a code may be told of several nodes.
    agreed: BTreeSet<(String, Subject)>,
    /// Codes that were agreed to beforehand, whatever they are told of.
    given: BTreeSet<String>,
}

impl Wishes {
    /// What the command line says.
    pub fn new(choices: Choices, left: BTreeSet<HostName>) -> Self {
        let given = choices.consents.clone();
        Self { choices, left, agreed: BTreeSet::new(), given }
    }

    fn has_agreed(&self, finding: &Finding) -> bool {
        self.given.contains(&finding.code) || self.agreed.contains(&(finding.code.clone(), finding.subject.clone()))
    }

    fn agree(&mut self, finding: &Finding) {
        self.choices.consents.insert(finding.code.clone());
        self.agreed.insert((finding.code.clone(), finding.subject.clone()));
    }

    fn without(&self, node: &HostName) -> Self {
        let mut wishes = self.clone();
        wishes.left.insert(node.clone());
        wishes
    }
}

/// Where the questions led.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Settled {
    /// To a plan that lacks no consent.
    Plan(Box<Plan>),
    /// There is nothing to do.
    Nothing(Vec<Finding>),
    /// Something is in the way that no answer takes out of it.
    Blocked(Vec<Finding>),
    /// The user stopped.
    Stopped,
}

/// Who asks about findings.
pub(super) struct Items<'a> {
    /// The user.
    pub ui: &'a dyn Ui,
    /// The plan for these wishes, from facts that are there.
    pub plan: &'a dyn Fn(&Wishes) -> Result<Outcome, Error>,
    /// What there is to show about a finding.
    pub details: &'a dyn Fn(&Finding) -> String,
    /// What the nodes run that may keep their versions: workers. A control plane that stays behind would hold everybody back.
    pub workers: &'a BTreeMap<HostName, Version>,
    /// For what is shown.
    pub paint: Paint,
}

/// What may be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reply {
    Agree,
    Leave(HostName),
    Details,
    Stop,
}

impl Items<'_> {
    /// Asks until nothing is open; `wishes` are what was chosen on the way.
    pub fn settle(&self, wishes: &mut Wishes) -> Result<Settled, Error> {
        let mut noted: BTreeSet<Finding> = BTreeSet::new();
        loop {
            let outcome = (self.plan)(wishes)?;
            self.note(&outcome, &mut noted)?;
            let Some((finding, replies)) = self.open(&outcome, wishes)? else {
                return Ok(match outcome {
                    Outcome::Plan(plan) => Settled::Plan(plan),
                    Outcome::Nothing { findings } => Settled::Nothing(findings),
                    Outcome::Blocked { findings } => Settled::Blocked(findings),
                });
            };
            self.ui.show(&report::plan::findings(std::slice::from_ref(&finding), self.paint))?;
            match self.ask(&finding, &replies)? {
                Reply::Agree => wishes.agree(&finding),
                Reply::Leave(node) => *wishes = wishes.without(&node),
                Reply::Details | Reply::Stop => return Ok(Settled::Stopped),
            }
        }
    }

    /// Shows what nobody has to say anything to, once.
    fn note(&self, outcome: &Outcome, noted: &mut BTreeSet<Finding>) -> Result<(), Error> {
        let remark = |finding: &&Finding| matches!(finding.severity, Severity::Warns | Severity::Info);
        let new: Vec<Finding> = findings(outcome)
            .iter()
            .filter(remark)
            .filter(|finding| noted.insert((*finding).clone()))
            .cloned()
            .collect();
        if new.is_empty() { Ok(()) } else { Ok(self.ui.show(&report::plan::findings(&new, self.paint))?) }
    }

    /// The first finding that an answer can do something about, and the answers; none where nothing is open, or where something
    /// else blocks all the same.
    fn open(&self, outcome: &Outcome, wishes: &Wishes) -> Result<Option<(Finding, Vec<Reply>)>, Error> {
        match outcome {
            Outcome::Nothing { .. } => Ok(None),
            Outcome::Blocked { findings } => {
                let mut first = None;
                for finding in findings.iter().filter(|finding| finding.severity == Severity::Blocks) {
                    let Some(leave) = self.leave(finding, outcome, wishes)? else { return Ok(None) };
                    first.get_or_insert((finding.clone(), vec![leave, Reply::Details, Reply::Stop]));
                }
                Ok(first)
            }
            Outcome::Plan(plan) => {
                let lacks =
                    |finding: &&Finding| finding.severity == Severity::NeedsConsent && !wishes.has_agreed(finding);
                let Some(finding) = plan.findings.iter().find(lacks) else { return Ok(None) };
                let leave = self.leave(finding, outcome, wishes)?;
                let replies = [Reply::Agree].into_iter().chain(leave).chain([Reply::Details, Reply::Stop]);
                Ok(Some((finding.clone(), replies.collect())))
            }
        }
    }

    /// Leaving the finding's node, where that takes it out of the way, versions may differ so far, and there is still something
    /// to do.
    fn leave(&self, finding: &Finding, outcome: &Outcome, wishes: &Wishes) -> Result<Option<Reply>, Error> {
        let Subject::Host(node) = &finding.subject else { return Ok(None) };
        if wishes.left.contains(node) || !self.workers.contains_key(node) {
            return Ok(None);
        }
        let without = (self.plan)(&wishes.without(node))?;
        // What comes up about other nodes then is asked about in its turn; what is about the whole, such as versions too far
        // apart, comes from leaving this one.
        let before = blocks(outcome);
        let about_all = |found: &&Finding| !matches!(found.subject, Subject::Host(_)) && !before.contains(found);
        let helps = !blocks(&without).iter().any(about_all) && !findings(&without).contains(finding);
        let useful = !matches!(without, Outcome::Nothing { .. });
        Ok((helps && useful).then(|| Reply::Leave(node.clone())))
    }

    /// Asks until it is answered: details are shown as often as they are asked for.
    fn ask(&self, finding: &Finding, replies: &[Reply]) -> Result<Reply, Error> {
        let subject = match &finding.subject {
            Subject::Host(host) => format!(" ({host})"),
            _ => String::new(),
        };
        let question = Select {
            question: format!("{}{subject}", finding.code),
            options: replies.iter().map(|reply| self.label(reply)).collect(),
            // What blocks is out of the way by leaving a node, which harms nobody; consent is never given by Enter alone.
            default: replies
                .iter()
                .position(|reply| *reply == Reply::Details)
                .filter(|_| replies[0] == Reply::Agree)
                .unwrap_or(0),
        };
        loop {
            let Answer::Given(chosen) = self.ui.select(&question)? else { return Ok(Reply::Stop) };
            match replies.get(chosen) {
                Some(Reply::Details) => self.ui.show(&(self.details)(finding))?,
                Some(reply) => return Ok(reply.clone()),
                None => return Ok(Reply::Stop),
            }
        }
    }

    fn label(&self, reply: &Reply) -> String {
        match reply {
            Reply::Agree => "agree to it".to_owned(),
            Reply::Leave(node) => {
                let version = self.workers.get(node).map(|version| format!(" on {version}")).unwrap_or_default();
                format!("leave {node}{version} for now (allowed skew)")
            }
            Reply::Details => "show details".to_owned(),
            Reply::Stop => "stop here".to_owned(),
        }
    }
}

fn findings(outcome: &Outcome) -> &[Finding] {
    match outcome {
        Outcome::Plan(plan) => &plan.findings,
        Outcome::Nothing { findings } | Outcome::Blocked { findings } => findings,
    }
}

fn blocks(outcome: &Outcome) -> BTreeSet<&Finding> {
    findings(outcome).iter().filter(|finding| finding.severity == Severity::Blocks).collect()
}
