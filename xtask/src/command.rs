//! Runs other programs and turns their failure into a sentence with their own last words.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How many of a failed program's last lines an error repeats: enough for a cause and its context, not a screenful.
const LAST_LINES: usize = 20;

/// How often a program with a deadline is asked whether it has ended. std has no wait with a deadline; 5 ms is below
/// what a process takes to start.
const TICK: Duration = Duration::from_millis(5);

/// A program in the background. It ends when this is dropped, and also when we are killed.
#[derive(Debug)]
pub struct Background(Child);

impl Background {
    /// Starts it; what it writes goes to the log.
    ///
    /// # Errors
    /// The log cannot be made, or `setpriv` cannot be started.
    pub fn start<A: AsRef<OsStr>>(program: &Path, arguments: impl IntoIterator<Item = A>, log: &Path) -> Result<Self> {
        let log = File::create(log).with_context(|| format!("cannot make {}", log.display()))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program).args(arguments);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(Self(command.spawn().with_context(|| format!("cannot start {}", program.display()))?))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Sends it a signal, such as `-STOP`.
    ///
    /// # Errors
    /// It is gone.
    pub fn signal(&self, signal: &str) -> Result<()> {
        output(Command::new("kill").args([signal, &self.id().to_string()])).map(drop)
    }

    /// Stops it where it is (`-CONT` lets it go on). Its threads stop one by one, and until the last one has it may still answer: that
    /// one is waited for.
    ///
    /// # Errors
    /// It is gone, or does not stop.
    pub fn freeze(&self) -> Result<()> {
        /// A thread in the middle of a write to a slow disk stops after it.
        const PATIENCE: Duration = Duration::from_secs(10);
        self.signal("-STOP")?;
        let until = Instant::now() + PATIENCE;
        while !self.is_frozen()? {
            if Instant::now() > until {
                bail!("process {} does not stop", self.id());
            }
            std::thread::sleep(TICK);
        }
        Ok(())
    }

    fn is_frozen(&self) -> Result<bool> {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.id()))?;
        let states = threads.map(|thread| std::fs::read_to_string(thread?.path().join("stat")));
        for state in states {
            // A thread may end between the two looks.
            let Ok(state) = state else { return Ok(false) };
            if !state.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Gone already, or goes with us.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs it and gives its standard output without the last line feed.
///
/// # Errors
/// It cannot be started, or ends with another status than 0.
pub fn output(command: &mut Command) -> Result<String> {
    let name = describe(command);
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{name}`: is it installed?"))?;
    into_text(&name, &output)
}

/// Like [`output`], but ends the program when the time is over: podman and ssh can wait for ever.
///
/// # Errors
/// As [`output`], and when the time is over.
pub fn output_within(command: &mut Command, limit: Duration) -> Result<String> {
    let name = describe(command);
    let deadline = Instant::now() + limit;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{name}`: is it installed?"))?;
    let readers = (reader(child.stdout.take()), reader(child.stderr.take()));
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            bail!("`{name}` had not ended after {} s", limit.as_secs());
        }
        std::thread::sleep(TICK);
    };
    let stdout = readers.0.join().unwrap_or_default();
    let stderr = readers.1.join().unwrap_or_default();
    into_text(&name, &Output { status, stdout, stderr })
}

/// Runs it and hands over each line that it writes, to either stream, as it appears.
///
/// # Errors
/// As [`output`].
pub fn follow(command: &mut Command, mut on_line: impl FnMut(&str)) -> Result<()> {
    let name = describe(command);
    let (reader, writer) = std::io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn().with_context(|| format!("cannot start `{name}`: is it installed?"))?;
    // The command holds its ends of the pipe until it gets others, and the reader would never see the end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut last = VecDeque::new();
    for line in BufReader::new(reader).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        on_line(&line);
        last.push_back(line);
        if last.len() > LAST_LINES {
            last.pop_front();
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("`{name}` failed ({status}):\n{}", last_lines(&Vec::from(last).join("\n"), LAST_LINES));
    }
    Ok(())
}

/// Runs it and gives whether it ended with status 0.
pub fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).output().is_ok_and(|output| output.status.success())
}

/// Whether a program of this name is on the PATH.
pub fn is_installed(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

fn reader(stream: Option<impl std::io::Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // What was read until an error is still worth showing.
            let _ = stream.read_to_end(&mut bytes);
        }
        bytes
    })
}

fn into_text(name: &str, output: &Output) -> Result<String> {
    if !output.status.success() {
        let words = String::from_utf8_lossy(if output.stderr.is_empty() { &output.stdout } else { &output.stderr });
        bail!("`{name}` failed ({}):\n{}", output.status, last_lines(&words, LAST_LINES));
    }
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}

/// The last lines of a text, indented.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].iter().map(|line| format!("    {line}\n")).collect()
}

/// The program and its first arguments, for messages; an environment never appears.
pub fn describe(command: &Command) -> String {
    /// More than this tells nothing about which call it was.
    const ARGUMENTS: usize = 4;
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().take(ARGUMENTS).map(|argument| argument.to_string_lossy().into_owned()));
    if command.get_args().len() > ARGUMENTS {
        words.push("…".into());
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_repeats_the_programs_last_words() {
        let error =
            output(Command::new("sh").args(["-c", "echo early; echo why >&2; exit 3"])).unwrap_err().to_string();
        assert!(error.contains("why") && error.contains("3"), "{error}");
    }

    #[test]
    fn lines_of_both_streams_are_followed() {
        let mut lines: Vec<String> = Vec::new();
        let error =
            follow(Command::new("sh").args(["-c", "echo a; echo b >&2; exit 1"]), |line| lines.push(line.into()));
        assert_eq!(lines, ["a", "b"]);
        assert!(error.unwrap_err().to_string().contains("    b"));
    }

    #[test]
    fn a_program_that_hangs_is_ended() {
        let error = output_within(Command::new("sleep").arg("60"), Duration::from_millis(30)).unwrap_err().to_string();
        assert!(error.starts_with("`sleep 60` had not ended"), "{error}");
    }

    #[test]
    fn a_frozen_program_stands_still_with_all_its_threads() {
        let folder = tempfile::tempdir().unwrap();
        let sleeps = Background::start(Path::new("sleep"), ["60"], &folder.path().join("log")).unwrap();
        assert!(!sleeps.is_frozen().unwrap());
        sleeps.freeze().unwrap();
        assert!(sleeps.is_frozen().unwrap());
    }

    #[test]
    fn a_description_is_short() {
        assert_eq!(describe(Command::new("a").args(["1", "2", "3", "4", "5"])), "a 1 2 3 4 …");
    }
}
