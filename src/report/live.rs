//! A run on a terminal: one line per host, redrawn in place. What the lines say is [`frame`]'s; this draws them, once a
//! second and soon after each event, and leaves the terminal as it was found: no raw mode, no hidden cursor, no second
//! screen, so that even a killed process leaves nothing to repair.

mod frame;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::{SignedDuration, Timestamp};
use kubewright_core::progress::{News, Progress};
use kubewright_core::summary::Run;

use super::text::clean;
use super::{Paint, Reporter};

/// Seconds are shown, so they must be right to the second.
const TICK: Duration = Duration::from_secs(1);
/// Events closer together than this are drawn together: ten pictures a second are more than an eye needs.
const GATHER: Duration = Duration::from_millis(100);

/// Reports to a terminal.
pub struct Live {
    shared: Arc<Shared>,
    painter: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    scene: Mutex<Scene>,
    changed: Condvar,
}

struct Scene {
    run: Run,
    /// Time of the last event, by its own clock and by ours: "now" is the one plus what passed on the other.
    last: Option<(Timestamp, Instant)>,
    term: Term,
    lines: MultiProgress,
    picture: ProgressBar,
    /// Lines of the picture on the screen, and the columns it was drawn for.
    drawn: (usize, usize),
    dirty: bool,
    closed: bool,
}

impl Live {
    /// A live view of a run on standard output.
    pub(super) fn stdout(run: Run) -> Self {
        Self::on(Term::stdout(), run)
    }

    fn on(term: Term, run: Run) -> Self {
        let lines = MultiProgress::with_draw_target(target(&term));
        // One bar whose message is the whole picture: hosts come and go from it without a trace on the screen.
        let picture = lines.add(ProgressBar::no_length());
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            picture.set_style(style);
        }
        let scene = Scene { run, last: None, term, lines, picture, drawn: (0, 0), dirty: true, closed: false };
        let shared = Arc::new(Shared { scene: Mutex::new(scene), changed: Condvar::new() });
        let painter = thread::Builder::new().name("live view".into()).spawn({
            let shared = shared.clone();
            move || shared.paint()
        });
        // Without a thread the view is drawn at events only.
        Self { shared, painter: Mutex::new(painter.ok()) }
    }
}

fn target(term: &Term) -> ProgressDrawTarget {
    ProgressDrawTarget::term(term.clone(), 20)
}

impl Shared {
    fn scene(&self) -> MutexGuard<'_, Scene> {
        self.scene.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Draws until the view is closed.
    fn paint(&self) {
        let mut scene = self.scene();
        while !scene.closed {
            scene.draw();
            let quiet = |scene: &mut Scene| !scene.dirty && !scene.closed;
            scene = self.changed.wait_timeout_while(scene, TICK, quiet).unwrap_or_else(PoisonError::into_inner).0;
            if !scene.closed {
                drop(scene);
                thread::sleep(GATHER);
                scene = self.scene();
            }
        }
    }
}

impl Scene {
    fn now(&self) -> Timestamp {
        match self.last {
            Some((at, when)) => at + SignedDuration::try_from(when.elapsed()).unwrap_or_default(),
            None => Timestamp::now(),
        }
    }

    fn draw(&mut self) {
        self.dirty = false;
        let (rows, columns) = self.term.size();
        let (rows, columns) = (usize::from(rows), usize::from(columns).max(1));
        if self.drawn.0 > 0 && self.drawn.1 != columns {
            self.erase(columns);
        }
        let picture = frame::frame(&self.run, self.now(), columns, rows, Paint::stdout());
        self.drawn = (picture.len(), columns);
        self.picture.set_message(picture.join("\n"));
    }

    /// Takes away a picture that the terminal has laid out anew for another width. indicatif fills its lines to the
    /// edge without a line break, so that terminals join them into one and break it at the new width.
    fn erase(&mut self, columns: usize) {
        let (lines, width) = self.drawn;
        let height = (lines * width).div_ceil(columns);
        // A terminal that went away shows nothing; the run goes on.
        let _ = self.term.move_cursor_up(height.saturating_sub(1));
        let _ = self.term.write_str("\r");
        let _ = self.term.clear_to_end_of_screen();
        // A new target has drawn nothing yet, and will not go up over lines that are no longer there.
        self.lines.set_draw_target(target(&self.term));
    }

    fn above(&self, text: &str) {
        // As in `erase`.
        let _ = self.lines.println(text);
    }
}

impl Reporter for Live {
    fn event(&self, progress: &Progress) {
        let mut scene = self.shared.scene();
        scene.last = Some((progress.at, Instant::now()));
        scene.run.observe(progress);
        scene.dirty = true;
        if let News::Note { text } = &progress.news {
            scene.above(&format!("  note: {}", clean(text)));
        }
        drop(scene);
        self.shared.changed.notify_all();
    }

    fn close(&self) {
        {
            let mut scene = self.shared.scene();
            if !scene.closed {
                scene.closed = true;
                scene.draw();
                // The last picture stays, with the cursor on the line below it.
                scene.picture.abandon();
                let _ = scene.term.write_line("");
            }
        }
        self.shared.changed.notify_all();
        if let Some(painter) = self.painter.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // A panic there was told already.
            let _ = painter.join();
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use kubewright_core::summary::sample;

    use super::*;

    #[test]
    #[ignore = "for eyes: cargo test -p kubewright --lib show_on_this_terminal -- --ignored --nocapture"]
    fn show_on_this_terminal() {
        /// So many seconds of the sample pass in one of ours.
        const SPEED: u32 = 4;
        let plan = sample::plan();
        let live = Live::stdout(Run::new(&plan));
        let story = sample::story(&plan);
        let mut last = story[0].at;
        for progress in story {
            thread::sleep(Duration::try_from(progress.at.duration_since(last)).unwrap() / SPEED);
            last = progress.at;
            live.event(&progress);
            if progress.seq == 60 {
                let text = "lost the connection to \x1b[2Jcp2, trying again".to_owned();
                live.event(&Progress { news: News::Note { text }, ..progress });
            }
        }
        live.close();
        super::super::print("what comes after\n").unwrap();
    }
}
