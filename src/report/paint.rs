//! How a text for people is put on its page: colour, used sparingly, and width.

use std::env;
use std::ffi::OsString;
use std::io::{self, IsTerminal};

use console::Term;

/// Columns where there is no terminal to ask.
const COLUMNS: usize = 100;

/// Colours and columns of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint {
    on: bool,
    columns: usize,
}

impl Paint {
    /// For what is written to standard output.
    pub fn stdout() -> Self {
        Self { on: wanted(io::stdout().is_terminal(), variable), columns: columns(&Term::stdout()) }
    }

    /// For what is written to standard error.
    pub fn stderr() -> Self {
        Self { on: wanted(io::stderr().is_terminal(), variable), columns: columns(&Term::stderr()) }
    }

    /// No colour.
    pub const fn none() -> Self {
        Self { on: false, columns: COLUMNS }
    }

    /// Colour whatever the terminal.
    pub const fn always() -> Self {
        Self { on: true, columns: COLUMNS }
    }

    /// The same on a page of another width.
    #[must_use]
    pub const fn on_columns(self, columns: usize) -> Self {
        Self { columns, ..self }
    }

    /// How many columns there are.
    pub const fn columns(self) -> usize {
        self.columns
    }

    /// Done, healthy.
    pub fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    /// Under way.
    pub fn busy(self, text: &str) -> String {
        self.with("36", text)
    }

    /// Worth a look.
    pub fn warn(self, text: &str) -> String {
        self.with("33", text)
    }

    /// Failed, blocking.
    pub fn bad(self, text: &str) -> String {
        self.with("1;31", text)
    }

    /// Names of things, headings.
    pub fn strong(self, text: &str) -> String {
        self.with("1", text)
    }

    /// Labels, what has not begun.
    pub fn faint(self, text: &str) -> String {
        self.with("2", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.on && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn variable(name: &str) -> Option<Vec<u8>> {
    env::var_os(name).map(OsString::into_encoded_bytes)
}

fn columns(term: &Term) -> usize {
    term.size_checked().map_or(COLUMNS, |(_, columns)| usize::from(columns))
}

/// A terminal that understands colour and a user who wants it (<https://no-color.org>).
fn wanted(terminal: bool, variable: impl Fn(&str) -> Option<Vec<u8>>) -> bool {
    let no_color = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = variable("TERM").is_none_or(|value| value == b"dumb");
    terminal && !no_color && !dumb
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted_with(terminal: bool, variables: &[(&str, &str)]) -> bool {
        wanted(terminal, |name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_bytes().to_vec())
        })
    }

    #[test]
    fn colour_needs_a_terminal_that_can_and_a_user_who_wants() {
        assert!(wanted_with(true, &[("TERM", "xterm")]));
        assert!(wanted_with(true, &[("TERM", "xterm"), ("NO_COLOR", "")]));
        assert!(!wanted_with(true, &[("TERM", "xterm"), ("NO_COLOR", "1")]));
        assert!(!wanted_with(true, &[("TERM", "dumb")]));
        assert!(!wanted_with(false, &[("TERM", "xterm")]));
    }

    #[test]
    fn without_colour_a_text_is_itself() {
        assert_eq!(Paint::none().bad("x"), "x");
        assert_eq!(Paint::always().good("x"), "\u{1b}[32mx\u{1b}[0m");
    }
}
