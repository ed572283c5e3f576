//! The user's yes: to single findings by their codes, to the whole by a word or by the cluster's name.

use kubewright_core::finding::{Finding, Severity};
use kubewright_core::plan::Plan;

use super::world::World;
use crate::error::Error;
use crate::ports::{Answer, Confirm, Typed, Ui, UiError};

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

/// "Run it now?" A question that is cancelled is refused.
///
/// # Errors
/// Where the question cannot be put.
pub fn asked(world: &World) -> Result<Approval, Error> {
    if world.yes {
        return Ok(Approval::Given);
    }
    let question = Confirm { question: "Run it now?".to_owned(), default: false };
    Ok(match world.ui.confirm(&question)? {
        Answer::Given(true) => Approval::Given,
        Answer::Given(false) | Answer::Cancelled => Approval::Refused,
    })
}

/// A yes that takes a moment's thought: a name, typed now or given as an option. A question that is cancelled is refused.
///
/// # Errors
/// Another name given as the option, or a question that cannot be put.
pub fn typed(ui: &dyn Ui, question: &str, name: &str, given: Option<&str>) -> Result<Approval, Error> {
    if let Some(given) = given {
        return if given == name {
            Ok(Approval::Given)
        } else {
            Err(Error::usage(format!("`{given}` is not `{name}`; nothing was changed")))
        };
    }
    let question = Typed { question: question.to_owned(), suggestion: None };
    Ok(match ui.typed(&question)? {
        Answer::Given(word) if word.trim() == name => Approval::Given,
        Answer::Given(_) | Answer::Cancelled => Approval::Refused,
    })
}

impl From<UiError> for Error {
    fn from(error: UiError) -> Self {
        Self::internal(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::fake::{Reply, Scripted};

    #[test]
    fn only_the_name_itself_is_a_yes() {
        let word = |text: &str| Reply::Type(text.to_owned());
        for (reply, approval) in [
            (word(" lab "), Approval::Given),
            (word("lap"), Approval::Refused),
            (Reply::Enter, Approval::Refused),
            (Reply::Cancel, Approval::Refused),
        ] {
            let ui = Scripted::new([reply]);
            assert_eq!(typed(&ui, "Type the cluster's name", "lab", None).unwrap(), approval);
        }
    }

    #[test]
    fn a_name_that_was_given_is_not_asked_for() {
        let nobody = Scripted::default();
        assert_eq!(typed(&nobody, "", "lab", Some("lab")).unwrap(), Approval::Given);
        assert!(typed(&nobody, "", "lab", Some("prod")).is_err());
        assert_eq!(nobody.told(), "");
    }
}
