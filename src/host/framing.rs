//! How a script travels through a shell: the text that goes in, and what of the text that comes out is its answer.
//!
//! Pure: knows nothing of connections. Everything outside the marks (greetings, noise of a login shell, warnings of
//! sudo) is dropped, and nobody who does not know the nonce can forge a mark.

use std::fmt;
use std::fmt::Write as _;

use kubewright_core::ids::HostName;
use secrecy::{ExposeSecret, SecretString};

use crate::ports::{HostError, Script};

/// What a script may print before we stop believing that it is an answer.
pub const STDOUT_LIMIT: usize = 16 << 20;

/// How much of the end of standard error is kept: enough for any tool's last words, little enough for a report.
pub const STDERR_TAIL: usize = 64 << 10;

/// What a login may print before its script starts. A host that never stops greeting must not keep us for ever.
const NOISE_LIMIT: usize = 16 << 20;

/// Runs before every script. A non-login shell of a minimal system lacks `sbin`, and messages are to be in English.
const PRELUDE: &str = "\
PATH=\"${PATH:+$PATH:}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"; export PATH
LC_ALL=C; export LC_ALL
unset ENV BASH_ENV CDPATH
umask 022
";

/// Tells the marks of one run from everything else a host may print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nonce(String);

impl Nonce {
    /// A nonce of the given random bytes.
    pub fn new(random: [u8; 16]) -> Self {
        Self(format!("{:032x}", u128::from_be_bytes(random)))
    }

    /// The nonce as text, for marks inside of scripts.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn begin(&self) -> String {
        format!("kubewright-begin-{}", self.0)
    }

    fn end(&self) -> String {
        format!("kubewright-end-{}", self.0)
    }
}

/// A value that a shell cannot hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NulInValue {
    /// The variable.
    pub name: String,
}

impl NulInValue {
    /// The same as an error of a host.
    pub fn in_script(self, script: &Script) -> HostError {
        HostError::Value { script: script.name.to_owned(), name: self.name, why: "contains a NUL byte" }
    }
}

/// The text for the standard input of a shell that runs the script between marks on both outputs.
///
/// The script is one compound command: a shell that receives only a part of it runs none of it.
///
/// # Errors
/// [`NulInValue`].
pub fn encode(script: &Script, nonce: &Nonce) -> Result<SecretString, NulInValue> {
    let (begin, end) = (nonce.begin(), nonce.end());
    let body = body(script)?;
    let body = body.expose_secret();
    let mut text = String::with_capacity(body.len() + PRELUDE.len() + 512);
    text.push_str(PRELUDE);
    // The leading line feed: noise may end in the middle of a line.
    infallible(writeln!(text, "printf '\\n%s\\n' {begin} >&2; printf '\\n%s\\n' {begin}\n("));
    text.push_str(body);
    infallible(writeln!(text, ") </dev/null\nkubewright_status=$?"));
    infallible(writeln!(text, "printf '\\n%s %s\\n' {end} \"$kubewright_status\" >&2"));
    infallible(writeln!(text, "printf '\\n%s %s\\n' {end} \"$kubewright_status\"\nexit 0"));
    Ok(text.into())
}

/// The script itself: assignments, constant texts before it, its own text.
///
/// # Errors
/// [`NulInValue`].
pub fn body(script: &Script) -> Result<SecretString, NulInValue> {
    let carried = script.carries.as_deref().map(body).transpose()?;
    let carried = carried.as_ref().map(|text| ("CARRIED", text.expose_secret()));
    let plain = script.values.iter().map(|(name, value)| (*name, value.as_str()));
    let secret = script.secrets.iter().map(|(name, value)| (*name, value.expose_secret()));
    let values: Vec<(&str, &str)> = plain.chain(secret).chain(carried).collect();

    // Twice the length: a value full of quotes grows, and a secret is not to be copied by a growing buffer.
    let length: usize = values.iter().map(|(name, value)| name.len() + 2 * value.len() + 8).sum();
    let constant = script.before.iter().map(|text| text.len() + 1).sum::<usize>() + script.text.len() + 1;
    let mut text = String::with_capacity(length + constant);
    for (name, value) in values {
        let value = shlex::try_quote(value).map_err(|_| NulInValue { name: name.to_owned() })?;
        infallible(writeln!(text, "{name}={value}"));
    }
    for part in script.before.iter().chain([&script.text]) {
        text.push_str(part);
        text.push('\n');
    }
    Ok(text.into())
}

/// Writing to a `String` cannot fail.
fn infallible(result: fmt::Result) {
    debug_assert!(result.is_ok());
}

/// What to do with more than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The answer is wanted whole; more than this many bytes is a fault.
    All(usize),
    /// Only the last so many bytes matter.
    Tail(usize),
}

/// Why a stream is not an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// More than [`STDOUT_LIMIT`].
    #[error("it printed more than {} MiB", STDOUT_LIMIT >> 20)]
    TooLong,
    /// The login never ended to talk.
    #[error("the login printed more than {} MiB before the script began", NOISE_LIMIT >> 20)]
    EndlessNoise,
    /// The end mark carries no number.
    #[error("its end mark carries no exit status")]
    NoStatus,
}

impl FrameError {
    /// The same as an error of a host.
    pub fn in_answer(self, host: &HostName, script: &Script) -> HostError {
        HostError::Answer { host: host.clone(), script: script.name.to_owned(), reason: self.to_string() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Before,
    Inside,
    After,
}

/// Finds the script's own output in one of the two streams, piece by piece as it arrives.
#[derive(Debug)]
pub struct Decoder {
    begin: Vec<u8>,
    end: Vec<u8>,
    keep: Keep,
    place: Place,
    noise: usize,
    /// The line that is not complete yet; outside the marks only as much of it as a mark is long.
    line: Vec<u8>,
    kept: Vec<u8>,
    /// A line end that belongs to the output if more output follows, and to the mark if the mark does.
    pending_newline: bool,
    status: Option<i32>,
}

impl Decoder {
    /// A decoder for one stream of the run with that nonce.
    pub fn new(nonce: &Nonce, keep: Keep) -> Self {
        let end = format!("{} ", nonce.end()).into_bytes();
        Self {
            begin: nonce.begin().into_bytes(),
            end,
            keep,
            place: Place::Before,
            noise: 0,
            line: Vec::new(),
            kept: Vec::new(),
            pending_newline: false,
            status: None,
        }
    }

    /// Takes the next piece; complete lines of the script go to `lines`, cleaned of control codes.
    ///
    /// # Errors
    /// [`FrameError`].
    pub fn feed(&mut self, mut piece: &[u8], lines: &mut dyn FnMut(&str)) -> Result<(), FrameError> {
        while !piece.is_empty() && self.place != Place::After {
            let (line, complete, rest) = match piece.iter().position(|byte| *byte == b'\n') {
                Some(at) => (&piece[..at], true, &piece[at + 1..]),
                None => (piece, false, &piece[piece.len()..]),
            };
            piece = rest;
            match self.place {
                Place::Before => self.noise(line, complete)?,
                Place::Inside | Place::After => self.inside(line, complete, lines)?,
            }
        }
        Ok(())
    }

    /// Whether the begin mark was seen.
    pub fn began(&self) -> bool {
        self.place != Place::Before
    }

    /// The script's exit status, once the end mark was seen.
    pub fn status(&self) -> Option<i32> {
        self.status
    }

    /// What the script printed; bytes that are no UTF-8 are replaced.
    pub fn text(&self) -> String {
        let from = match self.keep {
            Keep::All(_) => 0,
            Keep::Tail(limit) => self.kept.len().saturating_sub(limit),
        };
        let text = String::from_utf8_lossy(&self.kept[from..]);
        // A cut in the middle of a character leaves its remains in front.
        if from > 0 { text.trim_start_matches('\u{fffd}').to_owned() } else { text.into_owned() }
    }

    fn noise(&mut self, line: &[u8], complete: bool) -> Result<(), FrameError> {
        self.noise += line.len() + usize::from(complete);
        if self.noise > NOISE_LIMIT {
            return Err(FrameError::EndlessNoise);
        }
        let room = (self.begin.len() + 1).saturating_sub(self.line.len());
        self.line.extend_from_slice(&line[..line.len().min(room)]);
        if complete {
            if without_carriage_return(&self.line) == self.begin {
                self.place = Place::Inside;
            }
            self.line.clear();
        }
        Ok(())
    }

    fn inside(&mut self, line: &[u8], complete: bool, lines: &mut dyn FnMut(&str)) -> Result<(), FrameError> {
        self.line.extend_from_slice(line);
        if !complete {
            return self.check_length(self.line.len());
        }
        if let Some(status) = self.line.strip_prefix(self.end.as_slice()) {
            let status = std::str::from_utf8(without_carriage_return(status)).ok().and_then(|text| text.parse().ok());
            self.status = Some(status.ok_or(FrameError::NoStatus)?);
            self.place = Place::After;
            self.line = Vec::new();
            return Ok(());
        }
        if self.pending_newline {
            self.kept.push(b'\n');
        }
        // The end mark begins with a line feed of its own, so the newest line end is not the script's for sure.
        self.pending_newline = true;
        self.kept.append(&mut self.line);
        self.check_length(0)?;
        let start = self.kept.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let line = &self.kept[start..];
        if !line.is_empty() {
            lines(&clean(&String::from_utf8_lossy(line)));
        }
        self.trim();
        Ok(())
    }

    fn check_length(&mut self, unfinished: usize) -> Result<(), FrameError> {
        match self.keep {
            Keep::All(limit) if self.kept.len() + unfinished > limit => Err(FrameError::TooLong),
            Keep::All(_) => Ok(()),
            Keep::Tail(limit) => {
                // One endless line: its beginning is of no use, and it cannot be the end mark any more.
                if unfinished > 2 * limit {
                    self.kept = self.line.split_off(unfinished - limit);
                    self.line.clear();
                    self.pending_newline = false;
                }
                Ok(())
            }
        }
    }

    /// Cuts a tail down now and then, not with every line.
    fn trim(&mut self) {
        if let Keep::Tail(limit) = self.keep
            && self.kept.len() > 2 * limit
        {
            self.kept.drain(..self.kept.len() - limit);
        }
    }
}

fn without_carriage_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// A line as it may be shown on a terminal: escape sequences and control characters left out, tabs as spaces.
pub fn clean(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => skip_escape(&mut characters),
            '\u{9b}' => skip_control_sequence(&mut characters),
            '\t' => shown.push(' '),
            _ if character.is_control() || is_direction_override(character) => {}
            _ => shown.push(character),
        }
    }
    shown
}

/// Leaves out what follows an escape character: a control sequence, a string (titles, links), or one character.
fn skip_escape(characters: &mut std::str::Chars<'_>) {
    match characters.next() {
        Some('[') => skip_control_sequence(characters),
        Some(']' | 'P' | 'X' | '^' | '_') => {
            let mut before = ' ';
            for character in characters.by_ref() {
                if character == '\u{7}' || character == '\u{9c}' || (before == '\u{1b}' && character == '\\') {
                    break;
                }
                before = character;
            }
        }
        Some('(' | ')' | '#' | '%' | ' ') => {
            characters.next();
        }
        _ => {}
    }
}

fn skip_control_sequence(characters: &mut std::str::Chars<'_>) {
    for character in characters.by_ref() {
        if ('\u{40}'..='\u{7e}').contains(&character) {
            break;
        }
    }
}

/// Characters that make text read in another order than it is written.
fn is_direction_override(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests;
