//! Everything people and machines are shown. The only module that writes to the terminal,
//! but for questions ([`crate::ui`]); it decides nothing but how
//! things look, and all that it shows is made from [`kubewright_core::summary`], events and errors.

pub mod diagnostics;
pub mod etcd;
pub mod failure;
pub mod finish;
mod json;
mod likely;
mod live;
pub mod ops;
mod paint;
mod plain;
pub mod plan;
mod quantity;
pub mod redact;
pub mod saving;
mod sink;
pub mod snapshot;
mod table;
mod text;

use std::io::{self, IsTerminal, Write};

use kubewright_core::plan::Plan;
use kubewright_core::progress::Progress;
use kubewright_core::summary::Run;
use serde::Serialize;

use crate::error::Error;

pub use paint::Paint;

/// Shows a run while it happens.
pub trait Reporter: Send + Sync {
    /// One event more. Never fails and never waits for a reader: a run does not depend on who looks at it.
    fn event(&self, progress: &Progress);

    /// The run is over, whichever way; the terminal is left as it was found. Events after it are ignored or shown
    /// as plain text.
    fn close(&self);
}

/// How a run is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Redrawn in place on a terminal.
    Live,
    /// Lines of text.
    Plain,
    /// Lines of JSON.
    Json,
}

impl Style {
    /// JSON where asked; else live on a terminal that can move its cursor, lines anywhere else.
    pub fn detect(json: bool) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if json {
            Self::Json
        } else if io::stdout().is_terminal() && !dumb {
            Self::Live
        } else {
            Self::Plain
        }
    }
}

/// A reporter for a run that begins.
pub fn reporter(style: Style, plan: &Plan) -> Box<dyn Reporter> {
    reporter_for(style, Run::new(plan))
}

/// A reporter for a run that goes on, with what its journal tells ([`Run::replay`]).
pub fn reporter_for(style: Style, run: Run) -> Box<dyn Reporter> {
    match style {
        Style::Live => Box::new(live::Live::stdout(run)),
        Style::Plain => Box::new(plain::Plain::new(run, sink::Sink::stdout())),
        Style::Json => Box::new(json::Json::new(sink::Sink::stdout())),
    }
}

/// Columns of the terminal; 100 where there is none.
pub fn width() -> usize {
    Paint::stdout().columns()
}

/// A result, on standard output. A reader that went away wants no more of it, which is no error.
///
/// # Errors
/// Whatever else keeps it from being written, such as a full disk.
pub fn print(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let written =
        out.write_all(text.as_bytes()).and_then(|()| out.write_all(end.as_bytes())).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::internal(format!("standard output cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// A line, cut to so many columns.
pub fn fitted(text: &str, columns: usize) -> String {
    text::fit(text, columns)
}

/// Lines of a host, made safe to be shown.
pub fn plain_lines(text: &str) -> String {
    text::clean_lines(text).join("\n")
}

/// A result as one line of JSON, on standard output.
///
/// # Errors
/// As [`print()`].
pub fn print_json<T: Serialize + ?Sized>(value: &T) -> Result<(), Error> {
    print(&serde_json::to_string(value)?)
}

/// A remark beside the result, on standard error; lost where nobody can read it.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// The end of a command that did not do what was asked: on standard error for people, the last line on standard output
/// for machines.
pub fn print_error(error: &Error, json: bool) {
    if json {
        // Where even this cannot be written the exit code still tells.
        let _ = print_json(&failure::json(error));
    } else {
        note(failure::text(error, Paint::stderr()).trim_end());
    }
}

#[cfg(test)]
mod tests;
