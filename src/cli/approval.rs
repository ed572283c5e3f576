//! The user's yes: to single findings by their codes, to the whole by a word or by the cluster's name.

use kubewright_core::finding::{Finding, Severity};
use kubewright_core::plan::Plan;

use super::world::World;
use crate::error::Error;

/// The answer to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approval {
    /// Yes.
    Given,
    /// No.
    Refused,
}

/// Checks that every finding that needs consent has it.
///
/// # Errors
/// Those that do not.
pub fn consented(plan: &Plan, consent: &[String]) -> Result<(), Error> {
    let missing: Vec<Finding> = plan
        .findings
        .iter()
        .filter(|finding| finding.severity == Severity::NeedsConsent && !consent.contains(&finding.code))
        .cloned()
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(Error::consent(missing)) }
}

/// That somebody can be asked, or has said yes beforehand: told before anything is contacted, and whatever there is to
/// do, so that a script that lacks the option fails the first time.
///
/// # Errors
/// Where neither is so.
pub fn possible(world: &World, said: bool, question: &str, option: &str, look: &str) -> Result<(), Error> {
    if said || world.is_interactive() {
        return Ok(());
    }
    Err(Error::usage(format!("nobody can be asked here {question}; nothing was contacted"))
        .next(format!("add {option}, or look first: {look}")))
}

/// "Run it now?"
///
/// # Errors
/// Where the question cannot be put.
pub fn asked(world: &World) -> Result<Approval, Error> {
    if world.yes {
        return Ok(Approval::Given);
    }
    let answer = dialoguer::Confirm::new()
        .with_prompt("Run it now?")
        .default(false)
        .interact()
        .map_err(|error| Error::internal(format!("the question could not be put: {error}")))?;
    Ok(if answer { Approval::Given } else { Approval::Refused })
}

/// A yes that takes a moment's thought: a name, typed now or given as an option.
///
/// # Errors
/// Another name given as the option, or a question that cannot be put.
pub fn typed(question: &str, name: &str, given: Option<&str>) -> Result<Approval, Error> {
    if let Some(given) = given {
        return if given == name {
            Ok(Approval::Given)
        } else {
            Err(Error::usage(format!("`{given}` is not `{name}`; nothing was changed")))
        };
    }
    let typed: String = dialoguer::Input::new()
        .with_prompt(question)
        .allow_empty(true)
        .interact_text()
        .map_err(|error| Error::internal(format!("the question could not be put: {error}")))?;
    Ok(if typed.trim() == name { Approval::Given } else { Approval::Refused })
}
