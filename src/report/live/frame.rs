//! One picture of a run, as lines that fit the terminal whatever its size: first seconds go, then words, then hosts
//! that have nothing to tell.

use jiff::Timestamp;
use kubewright_core::summary::{Cell, CellState, Now, Outline, Row, Run};

use super::super::Paint;
use super::super::ops::mark;
use super::super::quantity::{about, clock, whole};
use super::super::text::{clean, fit, pad, spread, width};

/// What is said about the present gets at least so many columns before anything else is shortened.
const SAYING: usize = 28;
/// Lines that are not hosts: header and the line below, where the cursor stands.
const AROUND: usize = 2;

/// How much the parts of the story say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    /// `● prepare 14 s`.
    Times,
    /// `● prepare`.
    Words,
    /// `●`.
    Marks,
}

/// The picture at a moment, no line wider than `columns`, at most `height` lines less one for the cursor.
pub(super) fn frame(run: &Run, now: Timestamp, columns: usize, height: usize, paint: Paint) -> Vec<String> {
    let outline = Outline::of(run.plan());
    let mut lines = vec![header(run, &outline, now, columns, paint)];
    if run.is_stopping() {
        lines.push(stopping(run, columns, paint));
    }
    let rows = run.rows(now);
    let room = height.saturating_sub(AROUND + lines.len() - 1).max(1);
    let (shown, hidden) = choose(&rows, room);
    lines.extend(body(&shown, columns, paint));
    if !hidden.is_empty() {
        lines.push(fit(&paint.faint(&format!("  … {}", counted(&hidden))), columns));
    }
    lines
}

fn header(run: &Run, outline: &Outline, now: Timestamp, columns: usize, paint: Paint) -> String {
    let left = format!("{}  {}", paint.strong(&outline.cluster), outline.short);
    let done = run.status().done();
    let rest = match run.left(now) {
        Some(left) => format!("{} left", about(left)),
        None => format!("{done} of {} steps", outline.steps),
    };
    let elapsed = clock(run.elapsed(now));
    let right = format!("{elapsed}  {rest}");
    // On a narrow screen the clock outlives the estimate.
    let right = if width(&left) + 2 + width(&right) <= columns { right } else { elapsed };
    // The storyboard's header is no wider than its hosts usually are.
    spread(&left, &right, columns.min(100))
}

fn stopping(run: &Run, columns: usize, paint: Paint) -> String {
    let names: Vec<&str> = run.running().map(|step| step.id.as_str()).collect();
    let text = match names.as_slice() {
        [] => "  Stopping.".to_owned(),
        [one] => format!("  Finishing step {one}, then stopping. Press Ctrl-C again to stop waiting for it."),
        several => {
            let count = several.len();
            format!("  Finishing {count} steps, then stopping. Press Ctrl-C again to stop waiting for them.")
        }
    };
    fit(&paint.warn(&text), columns)
}

/// The rows that fit, in their order: those with the most to tell.
fn choose(rows: &[Row], room: usize) -> (Vec<&Row>, Vec<&Row>) {
    if rows.len() <= room {
        return (rows.iter().collect(), Vec::new());
    }
    let weight = |row: &Row| match row.now {
        Now::Failed { .. } => 0,
        Now::InDoubt { .. } => 1,
        Now::Doing { .. } => 2,
        Now::Next { .. } => 3,
        Now::WaitsFor { .. } => 4,
        Now::Done => 5,
    };
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|index| rows.get(*index).map(weight));
    // One line goes to the sum of the others.
    let kept: Vec<usize> = order.into_iter().take(room.saturating_sub(1)).collect();
    let (shown, hidden): (Vec<_>, Vec<_>) = rows.iter().enumerate().partition(|(index, _)| kept.contains(index));
    (shown.into_iter().map(|(_, row)| row).collect(), hidden.into_iter().map(|(_, row)| row).collect())
}

fn counted(rows: &[&Row]) -> String {
    let number = |wanted: fn(&Now) -> bool| rows.iter().filter(|row| wanted(&row.now)).count();
    let mut parts = Vec::new();
    for (count, word) in [
        (number(|now| matches!(now, Now::Failed { .. } | Now::InDoubt { .. })), "in trouble"),
        (number(|now| matches!(now, Now::Doing { .. })), "at work"),
        (number(|now| matches!(now, Now::WaitsFor { .. } | Now::Next { .. })), "waiting"),
        (number(|now| *now == Now::Done), "done"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {word}"));
        }
    }
    format!("{} more: {}", rows.len(), parts.join(", "))
}

fn body(rows: &[&Row], columns: usize, paint: Paint) -> Vec<String> {
    let name = rows.iter().map(|row| width(&row.target.to_string())).max().unwrap_or_default();
    // As much as leaves room to say what happens now.
    let story = [Detail::Times, Detail::Words]
        .into_iter()
        .map(|detail| cells(rows, detail, paint))
        .find(|cells| cells.first().map_or(0, |cells| width(cells)) + name + 6 + SAYING <= columns)
        .unwrap_or_else(|| cells(rows, Detail::Marks, paint));
    rows.iter()
        .zip(story)
        .map(|(row, story)| {
            let left = format!("  {}  {story}", pad(&row.target.to_string(), name));
            let free = columns.saturating_sub(width(&left) + 2);
            let line = format!("{left}  {}", saying(&row.now, free, paint));
            fit(line.trim_end(), columns)
        })
        .collect()
}

/// The parts of the story of each row, one under the other where rows tell the same part.
fn cells(rows: &[&Row], detail: Detail, paint: Paint) -> Vec<String> {
    // Parts that hosts tell get a column each; the cluster and this machine, which tell others, use the same columns.
    let hosts = rows.iter().filter(|row| matches!(row.target, kubewright_core::plan::Target::Host(_)));
    let mut phases: Vec<_> = hosts.flat_map(|row| row.cells.iter().map(|cell| cell.phase)).collect();
    phases.sort();
    phases.dedup();
    let places: Vec<Vec<usize>> = rows
        .iter()
        .map(|row| {
            let own = |cell: &Cell| phases.iter().position(|phase| *phase == cell.phase);
            let all: Option<Vec<usize>> = row.cells.iter().map(own).collect();
            all.unwrap_or_else(|| (0..row.cells.len()).collect())
        })
        .collect();
    let number = places.iter().flatten().max().map_or(0, |last| last + 1);
    let mut widths = vec![0; number];
    for (row, places) in rows.iter().zip(&places) {
        for (cell, place) in row.cells.iter().zip(places) {
            if let Some(width_so_far) = widths.get_mut(*place) {
                *width_so_far = (*width_so_far).max(width(&said(cell, detail, paint)));
            }
        }
    }
    let gap = if detail == Detail::Marks { 0 } else { 3 };
    rows.iter()
        .zip(&places)
        .map(|(row, places)| {
            let column = |(index, columns): (usize, &usize)| {
                let cell = places.iter().position(|place| *place == index).and_then(|at| row.cells.get(at));
                let gap = if index + 1 == number { 0 } else { gap };
                pad(&cell.map(|cell| said(cell, detail, paint)).unwrap_or_default(), columns + gap)
            };
            widths.iter().enumerate().map(column).collect()
        })
        .collect()
}

fn said(cell: &Cell, detail: Detail, paint: Paint) -> String {
    let mark = mark(cell.state, paint);
    match (detail, cell.took) {
        (Detail::Marks, _) => mark,
        (Detail::Times, Some(took)) if cell.state == CellState::Done => {
            format!("{mark} {} {}", cell.phase, whole(took))
        }
        (Detail::Times | Detail::Words, _) => format!("{mark} {}", cell.phase),
    }
}

/// What happens now, in so many columns; the seconds stay when the words are cut.
fn saying(now: &Now, columns: usize, paint: Paint) -> String {
    match now {
        Now::Failed { error, .. } => paint.bad(&fit(&format!("failed: {}", clean(error)), columns)),
        Now::InDoubt { .. } => paint.warn(&fit("cut off; a resume asks whether it was done", columns)),
        Now::Doing { text, since, .. } => {
            let seconds = format!(" {}", whole(*since));
            format!("{}{seconds}", fit(&clean(text), columns.saturating_sub(width(&seconds))))
        }
        Now::WaitsFor { what } => paint.faint(&fit(&format!("waits for: {what}"), columns)),
        Now::Next { .. } => paint.faint(&fit("next", columns)),
        Now::Done => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use kubewright_core::journal::Event;
    use kubewright_core::progress::{News, Progress};
    use kubewright_core::summary::sample::run_until;

    use super::*;

    fn picture(second: i64, columns: usize, height: usize) -> String {
        let (run, now) = run_until(second);
        frame(&run, now, columns, height, Paint::none()).join("\n")
    }

    #[test]
    fn control_planes_start() {
        insta::assert_snapshot!(picture(31, 100, 24));
    }

    #[test]
    fn on_eighty_columns() {
        insta::assert_snapshot!(picture(16, 80, 24));
    }

    #[test]
    fn on_a_narrow_screen() {
        insta::assert_snapshot!(picture(31, 40, 24));
    }

    #[test]
    fn on_a_low_screen() {
        insta::assert_snapshot!(picture(16, 100, 6));
    }

    #[test]
    fn the_end() {
        insta::assert_snapshot!(picture(1000, 100, 24));
    }

    #[test]
    fn stopping_after_a_failure() {
        let (mut run, now) = run_until(31);
        let steps: Vec<_> = run.running().map(|step| step.id.clone()).collect();
        let error = "etcd did not become healthy within 60 s\npanic".to_owned();
        let news = [
            News::Recorded { record: Event::StepFailed { step: steps[1].clone(), attempt: 1, error } },
            News::Stopping { steps },
        ];
        for news in news {
            run.observe(&Progress { v: 1, seq: 0, at: now, op: "7f3a".into(), news });
        }
        insta::assert_snapshot!(frame(&run, now, 100, 24, Paint::none()).join("\n"));
    }

    #[test]
    fn no_size_of_screen_is_overrun() {
        for second in [0, 5, 16, 31, 50, 1000] {
            let (run, now) = run_until(second);
            for columns in 1..130 {
                for height in [1, 2, 3, 5, 8, 24] {
                    let lines = frame(&run, now, columns, height, Paint::always());
                    for line in &lines {
                        assert!(width(line) <= columns, "{columns} columns: {line:?}");
                    }
                    assert!(lines.len() <= height.max(AROUND + 1), "{height} lines: {lines:?}");
                }
            }
        }
    }
}
