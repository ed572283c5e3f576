//! One conversation with one shell: becoming root, sending the script, reading its answer. Shared by every transport
//! that has three pipes; knows nothing of what carries them.

use std::time::Duration;

use kubewright_core::ids::HostName;
use rustls::crypto::aws_lc_rs;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::framing::{self, Decoder, FrameError, Keep, Nonce, STDERR_TAIL, STDOUT_LIMIT};
use crate::ports::{HostError, Lines, Output, Script};

/// Runs the script's shell as root. In single quotes without any inside, so that sh, bash, zsh, fish and csh as login
/// shells all read the same.
pub(super) const AS_ROOT: &str =
    r#"/bin/sh -c 'if test "$(id -u)" = 0; then exec /bin/sh -s; fi; exec sudo -n -- /bin/sh -s'"#;

/// The same where sudo may ask. sudo reads the password byte by byte from standard input; if it does not want one, the
/// inner loop drops the line unread. `-k` keeps a remembered password from deciding which of the two it is.
pub(super) const AS_ROOT_WITH_PASSWORD: &str = concat!(
    r#"/bin/sh -c 'LC_ALL=C; export LC_ALL; "#,
    r#"inner="echo kubewright-root; while IFS= read -r line; do test \"\$line\" = kubewright-script && break; done; exec /bin/sh -s"; "#,
    r#"if test "$(id -u)" = 0; then eval "$inner"; fi; "#,
    r#"exec sudo -k -S -p kubewright-password: -- /bin/sh -c "$inner"'"#
);

const ROOT: &[u8] = b"kubewright-root\n";
const PASSWORD_PROMPT: &[u8] = b"kubewright-password:";
const SCRIPT_FOLLOWS: &str = "kubewright-script\n";

/// How much of what came before the script is kept, to say why it never began.
const NOISE_TAIL: usize = 2 << 10;

/// How long standard error may outlive standard output: only a process left behind holds it open.
const STDERR_PATIENCE: Duration = Duration::from_secs(2);

/// The pipes of a shell.
pub(super) struct Pipes<I, O, E> {
    pub(super) stdin: I,
    pub(super) stdout: O,
    pub(super) stderr: E,
}

/// How this host lets us become root.
#[derive(Clone, Debug)]
pub(super) enum Login {
    /// root, or sudo without a password.
    Plain,
    /// A password is at hand; whether sudo asks for it is known after the first conversation.
    Password { password: SecretString, asks: Option<bool> },
    /// The password was wrong. It is not tried again: a few failures lock an account on many systems.
    Wrong,
}

impl Login {
    pub(super) fn new(password: Option<SecretString>) -> Self {
        password.map_or(Self::Plain, |password| Self::Password { password, asks: None })
    }

    /// Takes note of how a conversation ended; what is not known is found out again.
    pub(super) fn learn(&mut self, ending: &Ending) {
        match (&mut *self, ending) {
            (_, Ending::WrongPassword) => *self = Self::Wrong,
            (Self::Password { asks, .. }, Ending::Answered { asked, .. }) => *asks = *asked,
            (Self::Password { asks, .. }, Ending::Silent { .. }) => *asks = None,
            (Self::Plain | Self::Wrong, _) => {}
        }
    }

    /// The command that the transport has to run.
    pub(super) fn command(&self) -> &'static str {
        match self {
            Self::Plain | Self::Wrong => AS_ROOT,
            Self::Password { .. } => AS_ROOT_WITH_PASSWORD,
        }
    }
}

/// How a conversation ended.
pub(super) enum Ending {
    /// With an answer; and whether sudo asked for the password, where that was found out.
    Answered { output: Output, asked: Option<bool> },
    /// sudo asked again: the password is wrong.
    WrongPassword,
    /// Without the end mark. What the streams said last, and whether the script began.
    Silent { began: bool, said: String },
}

/// How a shell ended that gave no answer.
pub(super) enum Exit {
    /// By itself.
    Status(i32),
    /// By a signal, as far as one can tell.
    Killed,
    /// The link to it is gone.
    LinkDown(String),
}

/// A nonce that nobody can guess.
pub(super) fn nonce() -> Nonce {
    let mut bytes = [0; 16];
    // The provider fails only where the kernel has no random numbers; then any nonce still frames, though guessable.
    if aws_lc_rs::default_provider().secure_random.fill(&mut bytes).is_err() {
        tracing::warn!("the kernel gave no random numbers; marks can be guessed");
    }
    Nonce::new(bytes)
}

/// Sends the script and reads until it has answered or the streams have ended.
///
/// # Errors
/// [`FrameError`]: what comes is not an answer.
pub(super) async fn converse<I, O, E>(
    pipes: Pipes<I, O, E>,
    login: &Login,
    payload: &SecretString,
    nonce: &Nonce,
    lines: Lines<'_>,
) -> Result<Ending, FrameError>
where
    I: AsyncWrite + Unpin,
    O: AsyncRead + Unpin,
    E: AsyncRead + Unpin,
{
    let Pipes { stdin, mut stdout, mut stderr } = pipes;
    let mut talk = Talk::new(stdin, login, payload, nonce);
    let (mut from_stdout, mut from_stderr) = (vec![0; 64 << 10], vec![0; 16 << 10]);
    let (mut stdout_open, mut stderr_open) = (true, true);
    let mut patience_ends = None;
    loop {
        let out_done = !stdout_open || talk.out.status().is_some();
        let err_done = !stderr_open || talk.err.status().is_some();
        if out_done && err_done {
            break;
        }
        if out_done && patience_ends.is_none() {
            patience_ends = Some(Instant::now() + STDERR_PATIENCE);
        }
        tokio::select! {
            read = stdout.read(&mut from_stdout), if !out_done => match read {
                Ok(0) | Err(_) => stdout_open = false,
                Ok(length) => talk.heard_stdout(&from_stdout[..length], lines)?,
            },
            read = stderr.read(&mut from_stderr), if !err_done => match read {
                Ok(0) | Err(_) => stderr_open = false,
                Ok(length) => {
                    if talk.heard_stderr(&from_stderr[..length])?.is_break() {
                        return Ok(Ending::WrongPassword);
                    }
                }
            },
            () = talk.speak(), if talk.has_more_to_say() => {}
            () = tokio::time::sleep_until(patience_ends.unwrap_or_else(Instant::now)), if out_done => break,
        }
    }
    Ok(talk.ending())
}

/// The state of a conversation.
struct Talk<'a, I> {
    stdin: Option<I>,
    /// What to send next, and from where on in it.
    queue: std::collections::VecDeque<&'a [u8]>,
    sent: usize,
    login: &'a Login,
    payload: &'a SecretString,
    /// The script is on its way: standard input ends after the queue.
    complete: bool,
    prompts: usize,
    out: Decoder,
    err: Decoder,
    out_noise: Vec<u8>,
    err_noise: Vec<u8>,
}

impl<'a, I: AsyncWrite + Unpin> Talk<'a, I> {
    fn new(stdin: I, login: &'a Login, payload: &'a SecretString, nonce: &Nonce) -> Self {
        let mut talk = Self {
            stdin: Some(stdin),
            queue: std::collections::VecDeque::new(),
            sent: 0,
            login,
            payload,
            complete: false,
            prompts: 0,
            out: Decoder::new(nonce, Keep::All(STDOUT_LIMIT)),
            err: Decoder::new(nonce, Keep::Tail(STDERR_TAIL)),
            out_noise: Vec::new(),
            err_noise: Vec::new(),
        };
        match login {
            Login::Plain | Login::Wrong => talk.say_script(),
            Login::Password { password, asks: Some(asks) } => {
                if *asks {
                    talk.say_password(password);
                }
                talk.queue.push_back(SCRIPT_FOLLOWS.as_bytes());
                talk.say_script();
            }
            // The first time we wait to be asked: a wrong password then counts once, and the script is not tried as one.
            Login::Password { asks: None, .. } => {}
        }
        talk
    }

    fn say_password(&mut self, password: &'a SecretString) {
        self.queue.extend([password.expose_secret().as_bytes(), b"\n"]);
    }

    fn say_script(&mut self) {
        self.queue.push_back(self.payload.expose_secret().as_bytes());
        self.complete = true;
    }

    fn has_more_to_say(&self) -> bool {
        self.stdin.is_some() && (self.complete || !self.queue.is_empty())
    }

    /// Writes some of the queue; safe to be dropped in the middle.
    async fn speak(&mut self) {
        let Some(stdin) = &mut self.stdin else { return };
        let Some(piece) = self.queue.front() else {
            let _ = stdin.shutdown().await;
            self.stdin = None;
            return;
        };
        match stdin.write(&piece[self.sent..]).await {
            // Whoever closed the pipe says why on the other two.
            Ok(0) | Err(_) => self.stdin = None,
            Ok(length) => {
                self.sent += length;
                if self.sent == piece.len() {
                    self.queue.pop_front();
                    self.sent = 0;
                }
            }
        }
    }

    fn heard_stdout(&mut self, piece: &[u8], lines: Lines<'_>) -> Result<(), FrameError> {
        if !self.out.began() {
            remember(&mut self.out_noise, piece);
            if let (Login::Password { asks: None, .. }, false) = (self.login, self.complete)
                && contains(&self.out_noise, ROOT)
            {
                self.queue.push_back(SCRIPT_FOLLOWS.as_bytes());
                self.say_script();
            }
        }
        self.out.feed(piece, lines)
    }

    fn heard_stderr(&mut self, piece: &[u8]) -> Result<std::ops::ControlFlow<()>, FrameError> {
        if !self.err.began() {
            remember(&mut self.err_noise, piece);
            if let Login::Password { password, asks } = self.login
                && contains(&self.err_noise, PASSWORD_PROMPT)
            {
                self.err_noise.clear();
                self.prompts += 1;
                if self.prompts > 1 {
                    self.stdin = None;
                    return Ok(std::ops::ControlFlow::Break(()));
                }
                if asks.is_none() {
                    self.say_password(password);
                }
            }
        }
        self.err.feed(piece, &mut |_| {})?;
        Ok(std::ops::ControlFlow::Continue(()))
    }

    fn ending(self) -> Ending {
        let asked = matches!(self.login, Login::Password { .. }).then_some(self.prompts > 0);
        match self.out.status() {
            Some(status) => {
                let output = Output { status, stdout: self.out.text(), stderr: self.err.text() };
                Ending::Answered { output, asked }
            }
            None => {
                let mut said = if self.err.began() { self.err.text().into_bytes() } else { self.err_noise };
                if said.iter().all(u8::is_ascii_whitespace) {
                    said = self.out_noise;
                }
                let said = String::from_utf8_lossy(&said).lines().map(framing::clean).collect::<Vec<_>>().join("\n");
                Ending::Silent { began: self.out.began(), said: said.trim().to_owned() }
            }
        }
    }
}

fn remember(noise: &mut Vec<u8>, piece: &[u8]) {
    noise.extend_from_slice(&piece[piece.len().saturating_sub(NOISE_TAIL)..]);
    let surplus = noise.len().saturating_sub(NOISE_TAIL);
    noise.drain(..surplus);
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Makes the result of a conversation that gave no answer.
pub(super) fn unanswered(
    host: &HostName,
    script: &Script,
    login: &Login,
    began: bool,
    said: &str,
    exit: Exit,
) -> HostError {
    let (host, script) = (host.clone(), script.name.to_owned());
    let ended = "its shell was ended on the host".to_owned();
    let status = match exit {
        Exit::LinkDown(reason) => return HostError::Lost { host, script, reason },
        Exit::Killed => return HostError::Lost { host, script, reason: ended },
        // How a shell around ours tells a signal; ours ends with 0, or with 2 if it cannot read the script.
        Exit::Status(status) if began && status > 128 => return HostError::Lost { host, script, reason: ended },
        Exit::Status(status) => status,
    };
    if !began && said.contains("sudo") {
        let (reason, hint) = sudo_refusal(said, login);
        return HostError::Sudo { host, reason, hint };
    }
    let what = if began { "its shell ended in the middle" } else { "no root shell came up" };
    let reason =
        if said.is_empty() { format!("{what} (status {status})") } else { format!("{what} (status {status}): {said}") };
    HostError::Answer { host, script, reason }
}

/// The error for a password that sudo did not take.
pub(super) fn wrong_password(host: &HostName) -> HostError {
    HostError::Sudo {
        host: host.clone(),
        reason: "the password was not accepted".to_owned(),
        hint: Some("check KUBEWRIGHT_SUDO_PASSWORD, or answer the prompt again".to_owned()),
    }
}

fn sudo_refusal(said: &str, login: &Login) -> (String, Option<String>) {
    let words: Vec<&str> = said.lines().filter(|line| line.contains("sudo")).collect();
    let reason = words.join("; ");
    let hint = if said.contains("not found") {
        "install sudo on the host, or log in as root"
    } else if said.contains("a password is required") || said.contains("a terminal is required") {
        match login {
            Login::Plain | Login::Wrong => {
                "give the password in KUBEWRIGHT_SUDO_PASSWORD, or allow this user NOPASSWD in sudoers"
            }
            Login::Password { .. } => "check KUBEWRIGHT_SUDO_PASSWORD",
        }
    } else if said.contains("must have a tty") {
        "remove `requiretty` for this user in sudoers"
    } else if said.contains("not in the sudoers") || said.contains("not allowed to") || said.contains("may not run") {
        "allow this user to run /bin/sh as root in sudoers, or log in as root"
    } else {
        return (reason, None);
    };
    (reason, Some(hint.to_owned()))
}
