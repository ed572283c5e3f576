//! Where lines go. A reader that went away (`| head`) is no failure: what would follow is dropped, and the work that
//! is reported goes on, because nobody wants half a cluster for having closed a pager.

use std::io::{self, Write};

/// Takes whole lines.
pub(super) struct Sink {
    out: Box<dyn Write + Send>,
    /// Nobody reads any more.
    closed: bool,
}

impl Sink {
    /// Standard output.
    pub fn stdout() -> Self {
        Self::new(Box::new(io::stdout()))
    }

    /// Anything else.
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out, closed: false }
    }

    /// One line more, at once: whoever follows a run wants to see it now.
    pub fn line(&mut self, line: &str) {
        self.attempt(|out| {
            out.write_all(format!("{line}\n").as_bytes())?;
            out.flush()
        });
    }

    /// Whatever is left.
    pub fn flush(&mut self) {
        self.attempt(|out| out.flush());
    }

    fn attempt(&mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
        if self.closed {
            return;
        }
        if let Err(error) = write(&mut self.out) {
            self.closed = true;
            if error.kind() != io::ErrorKind::BrokenPipe {
                super::note(&format!("the report cannot be written any more: {error}; the work goes on"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Gone(Arc<AtomicUsize>);

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_went_away_is_left_alone() {
        let tried = Arc::new(AtomicUsize::new(0));
        let mut sink = Sink::new(Box::new(Gone(tried.clone())));
        sink.line("one");
        sink.line("two");
        sink.flush();
        assert_eq!(tried.load(Ordering::Relaxed), 1);
    }
}
