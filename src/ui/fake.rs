//! Somebody who answers as a test says, and keeps what was shown and asked.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ports::{Answer, Confirm, Select, Typed, Ui, UiError};

/// What is answered to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The option that begins so.
    Option(&'static str),
    /// What Enter takes.
    Enter,
    /// Yes or no.
    Say(bool),
    /// This word.
    Type(String),
    /// None.
    Cancel,
}

/// Replies in the order of the questions.
#[derive(Debug, Default)]
pub struct Scripted {
    replies: Mutex<VecDeque<Reply>>,
    told: Mutex<String>,
}

impl Scripted {
    /// Somebody who answers so, and then no more.
    pub fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self { replies: Mutex::new(replies.into_iter().collect()), told: Mutex::default() }
    }

    /// Everything that was shown, asked and answered.
    pub fn told(&self) -> String {
        self.log().clone()
    }

    /// How many replies nobody asked for.
    pub fn left(&self) -> usize {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn log(&self) -> MutexGuard<'_, String> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to a question of which `read` says what a reply means.
    fn answer<T>(
        &self,
        question: &str,
        read: impl FnOnce(&Reply) -> Option<(T, String)>,
    ) -> Result<Answer<T>, UiError> {
        self.log().push_str(&format!("? {question}\n"));
        let reply = self.replies.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let reply = reply.ok_or_else(|| UiError(format!("nobody answers: {question}")))?;
        if reply == Reply::Cancel {
            self.log().push_str("  ^C\n");
            return Ok(Answer::Cancelled);
        }
        let (answer, said) = read(&reply).ok_or_else(|| UiError(format!("{reply:?} is no answer to: {question}")))?;
        self.log().push_str(&format!("  > {said}\n"));
        Ok(Answer::Given(answer))
    }
}

impl Ui for Scripted {
    fn is_interactive(&self) -> bool {
        true
    }

    fn show(&self, text: &str) -> Result<(), UiError> {
        let mut told = self.log();
        told.push_str(text);
        if !text.ends_with('\n') {
            told.push('\n');
        }
        Ok(())
    }

    fn select(&self, question: &Select) -> Result<Answer<usize>, UiError> {
        let mut asked = question.question.clone();
        for (index, option) in question.options.iter().enumerate() {
            asked.push_str(&format!("\n  {} {option}", if index == question.default { '*' } else { '-' }));
        }
        self.answer(&asked, |reply| {
            let index = match reply {
                Reply::Option(begin) => question.options.iter().position(|option| option.starts_with(begin))?,
                Reply::Enter => question.default,
                _ => return None,
            };
            Some((index, question.options.get(index)?.clone()))
        })
    }

    fn confirm(&self, question: &Confirm) -> Result<Answer<bool>, UiError> {
        let choice = if question.default { "[Y/n]" } else { "[y/N]" };
        self.answer(&format!("{} {choice}", question.question), |reply| {
            let said = match reply {
                Reply::Say(said) => *said,
                Reply::Enter => question.default,
                _ => return None,
            };
            Some((said, if said { "yes" } else { "no" }.to_owned()))
        })
    }

    fn typed(&self, question: &Typed) -> Result<Answer<String>, UiError> {
        let suggestion = question.suggestion.iter().map(|text| format!(" [{text}]")).collect::<String>();
        self.answer(&format!("{}{suggestion}", question.question), |reply| {
            let word = match reply {
                Reply::Type(word) => word.clone(),
                Reply::Enter => question.suggestion.clone().unwrap_or_default(),
                _ => return None,
            };
            Some((word.clone(), word))
        })
    }
}
