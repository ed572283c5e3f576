//! Says what is being done and for how long, on a terminal in one changing line, elsewhere in lines now and then.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often a long task is mentioned again where lines stay (a CI log): often enough to see that it lives.
const REMINDER: Duration = Duration::from_secs(15);

/// How often the line on a terminal changes.
const REFRESH: Duration = Duration::from_millis(200);

/// One task that takes a while.
pub struct Task {
    title: String,
    started: Instant,
    shown: Instant,
    terminal: bool,
}

impl Task {
    /// Begins a task and says so.
    pub fn begin(title: impl Into<String>) -> Self {
        let task = Self {
            title: title.into(),
            started: Instant::now(),
            shown: Instant::now(),
            terminal: std::io::stderr().is_terminal(),
        };
        task.show("");
        task
    }

    /// Tells how far it is; may be called as often as one likes.
    pub fn note(&mut self, detail: &str) {
        let every = if self.terminal { REFRESH } else { REMINDER };
        if self.shown.elapsed() >= every {
            self.shown = Instant::now();
            self.show(detail);
        }
    }

    /// Ends it with what came of it.
    pub fn done(self, result: &str) {
        let start = if self.terminal { "\r\x1b[2K" } else { "" };
        eprintln!("{start}  {} {:>7}  {result}", padded(&self.title), seconds(self.started.elapsed()));
    }

    fn show(&self, detail: &str) {
        let line = format!("  {} {:>7}  {detail}", padded(&self.title), seconds(self.started.elapsed()));
        if self.terminal {
            // One line must stay one line, or the next refresh would not cover it.
            let short: String = line.chars().take(110).collect();
            eprint!("\r\x1b[2K{short}");
            // Progress that cannot be shown is no reason to stop.
            let _ = std::io::stderr().flush();
        } else if !detail.is_empty() {
            eprintln!("{line} …");
        }
    }
}

/// A duration for people: `0.3 s`, `12 s`, `6 m 05 s`.
pub fn seconds(duration: Duration) -> String {
    let whole = duration.as_secs();
    match whole {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        10..60 => format!("{whole} s"),
        _ => format!("{} m {:02} s", whole / 60, whole % 60),
    }
}

/// Titles in one column; the longest image name fits.
fn padded(title: &str) -> String {
    format!("{title:<52}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        assert_eq!(seconds(Duration::from_millis(340)), "0.3 s");
        assert_eq!(seconds(Duration::from_secs(12)), "12 s");
        assert_eq!(seconds(Duration::from_secs(365)), "6 m 05 s");
    }
}
