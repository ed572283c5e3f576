//! The journal as text: JSON lines, each bound to the one before by a digest.

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::{Event, Record};
use crate::plan::hex;

/// Hex digits of the digest that binds a line to the one before: 64 bits, enough to notice an accident or an edit;
/// this is no seal against somebody who rewrites the whole file.
const LINK: usize = 16;

/// A journal as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The whole lines.
    pub records: Vec<Record>,
    /// Length in bytes of the whole lines; what follows is a torn last line and is to be cut off before appending.
    pub whole: usize,
    /// The digest that the next line carries.
    pub link: String,
}

/// A journal that was damaged by something else than a crash while writing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// A whole line that is no record.
    #[error("line {line} is not a journal record: {reason}")]
    Record {
        /// Counted from 1.
        line: usize,
        /// Why.
        reason: String,
    },
    /// A line that does not follow from the one before.
    #[error("line {line} does not follow from the line before it: the journal was edited or lost lines")]
    Broken {
        /// Counted from 1.
        line: usize,
    },
}

fn link_of(line: &str) -> String {
    let mut digest = hex(&Sha256::digest(line.as_bytes()));
    digest.truncate(LINK);
    digest
}

/// One line (with its line feed) for an event after `count` records, of which the last leads to `link`; also the
/// link for the line after it.
///
/// # Errors
/// Only if the event cannot be written as JSON, which no event of ours can cause.
pub fn write(count: u64, at: Timestamp, link: &str, event: &Event) -> Result<(String, String), serde_json::Error> {
    let record = Record { seq: count, at, previous: link.to_owned(), event: event.clone() };
    let line = serde_json::to_string(&record)?;
    let next = link_of(&line);
    Ok((line + "\n", next))
}

/// Reads a journal. A last line without a line feed is torn by a crash and dropped.
///
/// # Errors
/// [`ReadError`] for any other damage.
pub fn read(text: &[u8]) -> Result<Reading, ReadError> {
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let mut records = Vec::new();
    let mut link = String::new();
    // Without its last line feed, so that every piece is a line; an empty one is no record.
    let lines = whole.checked_sub(1).map(|end| text[..end].split(|byte| *byte == b'\n'));
    for (index, line) in lines.into_iter().flatten().enumerate() {
        let number = index + 1;
        let line =
            std::str::from_utf8(line).map_err(|error| ReadError::Record { line: number, reason: error.to_string() })?;
        let record: Record = serde_json::from_str(line)
            .map_err(|error| ReadError::Record { line: number, reason: error.to_string() })?;
        if record.seq != index as u64 || record.previous != link {
            return Err(ReadError::Broken { line: number });
        }
        link = link_of(line);
        records.push(record);
    }
    Ok(Reading { records, whole, link })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(events: usize) -> String {
        let (mut text, mut link) = (String::new(), String::new());
        for count in 0..events {
            let event = Event::StepStarted { step: format!("step-{count}").as_str().into(), attempt: 1 };
            let (line, next) = write(count as u64, Timestamp::UNIX_EPOCH, &link, &event).unwrap();
            text += &line;
            link = next;
        }
        text
    }

    #[test]
    fn nothing_and_a_torn_first_line_are_an_empty_journal() {
        for text in ["", "{\"seq\":0"] {
            let reading = read(text.as_bytes()).unwrap();
            assert_eq!((reading.records.len(), reading.whole), (0, 0));
        }
    }

    #[test]
    fn a_torn_last_line_is_dropped() {
        let text = journal(2);
        let reading = read(format!("{text}{{\"seq\":2").as_bytes()).unwrap();
        assert_eq!((reading.records.len(), reading.whole), (2, text.len()));
    }

    #[test]
    fn an_empty_line_hides_nothing() {
        let text = journal(3);
        let lines: Vec<&str> = text.lines().collect();
        for at in 0..=lines.len() {
            let mut lines = lines.clone();
            lines.insert(at, "");
            let damaged = lines.join("\n") + "\n";
            assert!(matches!(read(damaged.as_bytes()), Err(ReadError::Record { line, .. }) if line == at + 1), "{at}");
        }
        assert!(matches!(read(b"\n"), Err(ReadError::Record { line: 1, .. })));
    }
}
