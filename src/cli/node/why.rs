//! `kubewright node why`: what keeps pods on a node, whichever tool drains it. Reads only.

use kubewright_core::drain::{self, Consent, Ledger, Policy, World as Observed, decide};
use serde_json::json;

use super::{Which, known};
use crate::cli::kubeconfig::admin_api;
use crate::cli::world::World;
use crate::error::{Error, ExitCode};
use crate::facts::nodes::{LOOK, look};
use crate::report;

/// Say what keeps pods on a node, from budget to missing capacity; reads only
#[derive(Debug, clap::Args)]
pub struct WhyNot {
    #[command(flatten)]
    which: Which,
}

impl WhyNot {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        let (spec, hosts) = self.which.of.open(world)?;
        let node = known(&spec, &self.which.node, &self.which.of)?;
        let api = admin_api(&spec, &hosts).await?;
        let observed = look(&api, &node, world.clock.now(), LOOK).await?;
        let Some(target) = observed.target() else {
            return Err(Error::usage(format!("{node} is no node of the cluster")).next("kubewright status"));
        };
        let (decision, chains) = looked(&observed);
        if world.json {
            report::print_json(&json!({
                "event": "why",
                "node": node,
                "schedulable": target.schedulable,
                "cordonedBy": target.cordoned_by,
                "notReady": target.not_ready,
                "free": decision.actions.len(),
                "moving": decision.standing.moving - decision.actions.len(),
                "stays": decision.left.len(),
                "chains": chains,
            }))?;
        } else {
            report::print(&text(&observed, &decision, &chains))?;
        }
        Ok(ExitCode::Done)
    }
}

/// What could be done on it now, and what keeps each pod that is held up.
fn looked(observed: &Observed) -> (drain::Decision, Vec<drain::Why>) {
    // What other tools do without asking keeps no pod there.
    let policy = Policy { consents: [Consent::Bare, Consent::EmptyDir].into(), wait: true, ..Policy::default() };
    let decision = decide(observed, &policy, &Ledger::default());
    let chains = decision.blockers().into_iter().map(|(wait, more)| drain::why(observed, wait, more)).collect();
    (decision, chains)
}

/// What keeps pods on a node that was looked at.
pub(in crate::cli) fn told(observed: &Observed) -> String {
    let (decision, chains) = looked(observed);
    text(observed, &decision, &chains)
}

fn text(observed: &Observed, decision: &drain::Decision, chains: &[drain::Why]) -> String {
    let node = &observed.node;
    let mut text = format!("{node}   {}\n", state(observed));
    let free = decision.actions.len() + decision.waits.iter().filter(|wait| wait.reason.is_queueing()).count();
    let parts = [
        (decision.left.len(), "stay (DaemonSets, static, finished)"),
        (free, "can go"),
        (decision.standing.moving - decision.actions.len(), "going"),
        (chains.iter().map(|chain| 1 + chain.more).sum(), "held up"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(number, _)| *number > 0).map(|(number, word)| format!("{number} {word}")).collect();
    text.push_str(&format!("  pods: {}\n", if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }));
    for chain in chains {
        text.push_str(&format!("  {}\n", chain.pods()));
        for sentence in chain.sentences() {
            text.push_str(&format!("     {sentence}\n"));
        }
        if let Some(fix) = &chain.fix {
            text.push_str(&format!("     cheapest: {fix}\n"));
        }
    }
    if chains.is_empty() {
        text.push_str("  nothing on it is held up\n");
    }
    text
}

fn state(observed: &Observed) -> String {
    let Some(node) = observed.target() else { return "no node of the cluster".to_owned() };
    let cordon = match (&node.cordoned_by, node.schedulable) {
        (_, true) => "takes new pods".to_owned(),
        (Some(operation), false) => format!("cordoned by operation {operation}"),
        (None, false) => "cordoned, not by us".to_owned(),
    };
    match &node.not_ready {
        Some(why) => format!("{cordon}, not Ready: {why}"),
        None => cordon,
    }
}
