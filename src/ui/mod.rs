//! Questions on the terminal, with dialoguer: on standard error, so that standard output stays what was asked for.

pub mod fake;

use std::io::{self, IsTerminal};

use console::Term;
use dialoguer::theme::ColorfulTheme;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};

use crate::ports::{Answer, Confirm, Select, Typed, Ui, UiError};
use crate::report;

/// The user's terminal. Esc cancels but where a word is typed. Once a question was put, Ctrl-C no longer ends the process by itself: whoever asks has to listen for it
/// between questions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminal;

/// What a theme puts around a question and its options: signs, spaces and the suggested answer.
const AROUND: usize = 12;

impl Ui for Terminal {
    fn is_interactive(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    fn show(&self, text: &str) -> Result<(), UiError> {
        report::print(text).map_err(|error| UiError(error.to_string()))
    }

    fn select(&self, question: &Select) -> Result<Answer<usize>, UiError> {
        put(|term, theme| {
            let options = question.options.iter().map(|option| fitted(term, option));
            dialoguer::Select::with_theme(theme)
                .with_prompt(fitted(term, &question.question))
                .items(options)
                .default(question.default)
                .interact_on_opt(term)
        })
    }

    fn confirm(&self, question: &Confirm) -> Result<Answer<bool>, UiError> {
        put(|term, theme| {
            dialoguer::Confirm::with_theme(theme)
                .with_prompt(fitted(term, &question.question))
                .default(question.default)
                .interact_on_opt(term)
        })
    }

    fn typed(&self, question: &Typed) -> Result<Answer<String>, UiError> {
        put(|term, theme| {
            let input = dialoguer::Input::<String>::with_theme(theme)
                .with_prompt(fitted(term, &question.question))
                .allow_empty(true);
            let input = match &question.suggestion {
                Some(suggestion) => input.default(suggestion.clone()),
                None => input,
            };
            input.interact_text_on(term).map(Some)
        })
    }
}

/// dialoguer draws anew by going up as many lines as it wrote: a line that the terminal broke in two would stay.
fn fitted(term: &Term, text: &str) -> String {
    report::fitted(text, usize::from(term.size().1).saturating_sub(AROUND))
}

/// Puts a question; the terminal is as before, whatever becomes of it.
fn put<T>(ask: impl FnOnce(&Term, &ColorfulTheme) -> dialoguer::Result<Option<T>>) -> Result<Answer<T>, UiError> {
    // console raises SIGINT for each Ctrl-C that it reads: without a handler that would end the process here and now, with a
    // cursor that nobody sees.
    let _handled = signal(SignalKind::interrupt()).map_err(|error| UiError(error.to_string()))?;
    let _keys = Keys::own().map_err(|error| UiError(error.to_string()))?;
    let term = Term::stderr();
    match ask(&term, &ColorfulTheme::default()) {
        Ok(Some(answer)) => Ok(Answer::Given(answer)),
        Ok(None) => Ok(Answer::Cancelled),
        Err(dialoguer::Error::IO(error)) if is_cancelled(&error) => {
            // A terminal that went away needs neither.
            let _ = term.show_cursor();
            let _ = term.write_line("");
            Ok(Answer::Cancelled)
        }
        Err(error) => Err(UiError(error.to_string())),
    }
}

/// Ctrl-C, the end of input, a terminal that hung up.
fn is_cancelled(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::UnexpectedEof)
        || error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

/// The terminal's keys come to us as they are pressed, Ctrl-C among them, until this is dropped. dialoguer does the same, but only
/// while it reads: a key between its question and that would be a signal or a line.
struct Keys(Termios);

impl Keys {
    fn own() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut ours = before.clone();
        ours.local_modes.remove(LocalModes::ISIG | LocalModes::ICANON | LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Now, &ours)?;
        Ok(Self(before))
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        // A terminal that went away has nothing to be put back.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
