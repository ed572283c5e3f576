//! Hosts over the operator's own `ssh`: one connection a host, made on first use, shared by all its runs.
//!
//! The `openssh` crate speaks to the control socket of that connection: real exit statuses, no process per run.
//! What a failed connection means is in [`diagnose`], how it is made in [`connect`].

mod connect;
mod diagnose;
mod tunnel;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use kubewright_core::ids::HostName;
use kubewright_core::spec::{Spec, Ssh};
use openssh::{Child, Session, Stdio};
use secrecy::SecretString;
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};
use tokio::time::{sleep, timeout};

use self::connect::Connector;
use super::framing;
use super::shell::{self, Ending, Exit, Login, Pipes};
use crate::ports::{Host, HostError, Hosts, Lines, Output, Script, Tunnel};

/// Runs at once over one connection. sshd's default `MaxSessions` is 10 and it refuses the eleventh (measured); two
/// are left for sessions that it has not yet seen end.
const RUNS_AT_ONCE: usize = 8;

/// How long a shell that has answered may take to end. Only a process left behind holds it up.
const GOODBYE: Duration = Duration::from_secs(1);

/// How long the only session is asked for again that sshd refuses. It frees those that ended once it has collected their
/// processes, which a busy machine does late; one with `MaxSessions 0` refuses for ever.
const FREED_WITHIN: Duration = Duration::from_secs(3);

/// Between two requests for it.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// How long a shell may live on that has closed its output without an answer.
const LAST_WORD: Duration = Duration::from_secs(10);

/// Whom to reach, and how.
#[derive(Clone, Debug)]
pub struct SshTarget {
    /// Its name in the spec.
    pub name: HostName,
    /// What ssh connects to: an address, a name, or an alias in the ssh configuration.
    pub address: String,
    /// The spec's settings for this host, merged.
    pub ssh: Ssh,
    /// For sudo, where the login user is not root and sudo asks.
    pub sudo_password: Option<SecretString>,
}

/// What was asked of one host so far. Counted where it is asked, so that a bench need not guess.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Logins, those that failed among them.
    pub connections: u64,
    /// Scripts sent, each with its answer awaited; those that sshd refused among them.
    pub round_trips: u64,
}

/// All hosts of a spec over ssh. Connections end when this and every host taken from it are dropped.
pub struct SshHosts {
    hosts: BTreeMap<HostName, Arc<SshHost>>,
}

impl SshHosts {
    /// Hosts that are connected to when first asked for.
    ///
    /// # Errors
    /// No private folder for control sockets can be made.
    pub fn new(targets: impl IntoIterator<Item = SshTarget>) -> io::Result<Self> {
        let connector = Arc::new(Connector::new()?);
        let host = |target: SshTarget| (target.name.clone(), Arc::new(SshHost::new(target, Arc::clone(&connector))));
        Ok(Self { hosts: targets.into_iter().map(host).collect() })
    }

    /// What was asked of each host so far.
    pub fn traffic(&self) -> BTreeMap<HostName, Traffic> {
        self.hosts.iter().map(|(name, host)| (name.clone(), host.asked.so_far())).collect()
    }

    /// The hosts of a spec; one password for all of them.
    ///
    /// # Errors
    /// As [`SshHosts::new`].
    pub fn of_spec(spec: &Spec, sudo_password: Option<&SecretString>) -> io::Result<Self> {
        Self::new(spec.hosts.iter().map(|host| SshTarget {
            name: host.name.clone(),
            address: host.address.clone(),
            ssh: host.ssh.clone(),
            sudo_password: sudo_password.cloned(),
        }))
    }
}

#[async_trait]
impl Hosts for SshHosts {
    async fn host(&self, name: &HostName) -> Result<Arc<dyn Host>, HostError> {
        let host = self.hosts.get(name).ok_or_else(|| HostError::Connect {
            host: name.clone(),
            address: name.to_string(),
            reason: "no such host in the spec".to_owned(),
            hint: None,
        })?;
        host.session().await?;
        let host: Arc<dyn Host> = Arc::<SshHost>::clone(host);
        Ok(host)
    }
}

/// One host over ssh.
struct SshHost {
    target: SshTarget,
    /// The connection, while we believe that it lives. Dropped before the connector, in whose folder its socket is.
    session: Mutex<Option<Arc<Session>>>,
    /// Shrinks where sshd allows fewer sessions.
    runs: Semaphore,
    /// How many permits `runs` has in all.
    allowed: AtomicUsize,
    login: StdMutex<Login>,
    asked: Asked,
    connector: Arc<Connector>,
}

/// The counters behind [`Traffic`].
#[derive(Default)]
struct Asked {
    connections: AtomicU64,
    round_trips: AtomicU64,
}

impl Asked {
    fn so_far(&self) -> Traffic {
        Traffic {
            connections: self.connections.load(Ordering::Relaxed),
            round_trips: self.round_trips.load(Ordering::Relaxed),
        }
    }
}

impl SshHost {
    fn new(target: SshTarget, connector: Arc<Connector>) -> Self {
        let login = StdMutex::new(Login::new(target.sudo_password.clone()));
        let (runs, allowed) = (Semaphore::new(RUNS_AT_ONCE), AtomicUsize::new(RUNS_AT_ONCE));
        Self { target, connector, session: Mutex::new(None), runs, allowed, asked: Asked::default(), login }
    }

    /// The connection; made if there is none. Whoever comes meanwhile waits for the same one.
    async fn session(&self) -> Result<Arc<Session>, HostError> {
        let mut session = self.session.lock().await;
        if let Some(session) = &*session {
            return Ok(Arc::clone(session));
        }
        self.asked.connections.fetch_add(1, Ordering::Relaxed);
        let made = Arc::new(self.connector.connect(&self.target).await?);
        *session = Some(Arc::clone(&made));
        Ok(made)
    }

    /// Gives up a connection found dead, unless someone has replaced it already.
    async fn forget(&self, dead: &Arc<Session>) {
        let mut session = self.session.lock().await;
        if session.as_ref().is_some_and(|current| Arc::ptr_eq(current, dead)) {
            tracing::debug!(host = %self.target.name, "connection lost");
            *session = None;
        }
    }

    /// Starts the root shell. Nothing has run yet when this fails, so a dead connection is replaced here, once.
    async fn start(&self, command: &'static str) -> Result<(Started<'_>, Arc<Session>), HostError> {
        let mut reconnected = false;
        let mut refused: Option<Instant> = None;
        loop {
            let permit =
                self.runs.acquire().await.map_err(|_| self.connect_error("the host is being closed".to_owned()))?;
            let session = self.session().await?;
            self.asked.round_trips.fetch_add(1, Ordering::Relaxed);
            let spawned = Arc::clone(&session)
                .arc_raw_command(command)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .await;
            let error = match spawned {
                Ok(child) => return Ok((Started { child, _permit: permit }, session)),
                Err(error) => error,
            };
            if matches!(error, openssh::Error::SshMux(_)) && session.check().await.is_ok() {
                if !self.fewer_runs(permit) {
                    if refused.get_or_insert_with(Instant::now).elapsed() > FREED_WITHIN {
                        return Err(self.connect_error(format!("sshd opens no session: {}", words(&error))));
                    }
                    sleep(ASK_AGAIN).await;
                }
            } else if reconnected {
                return Err(self.connect_error(words(&error)));
            } else {
                reconnected = true;
                self.forget(&session).await;
            }
        }
    }

    /// The server opens no further session: its `MaxSessions` is lower than we thought. From now on one run less at
    /// once, and whoever was refused waits its turn. False for the only one that runs, which has no turn to wait for.
    fn fewer_runs(&self, permit: SemaphorePermit<'_>) -> bool {
        let allowed = self.allowed.load(Ordering::SeqCst);
        if allowed.saturating_sub(self.runs.available_permits()) <= 1 {
            return false;
        }
        tracing::debug!(host = %self.target.name, allowed = allowed - 1, "sshd allows fewer sessions");
        self.allowed.fetch_sub(1, Ordering::SeqCst);
        permit.forget();
        true
    }

    fn connect_error(&self, reason: String) -> HostError {
        HostError::Connect { host: self.target.name.clone(), address: self.target.address.clone(), reason, hint: None }
    }

    /// Finds out how the shell ended that gave no answer: by itself, or with the connection.
    async fn exit(&self, child: Child<Arc<Session>>, session: &Arc<Session>) -> Exit {
        match timeout(LAST_WORD, child.wait()).await.unwrap_or(Err(openssh::Error::RemoteProcessTerminated)) {
            Ok(status) => return status.code().map_or(Exit::Killed, Exit::Status),
            // How the crate says 127.
            Err(openssh::Error::Remote(_)) => return Exit::Status(127),
            Err(_) => {}
        }
        // The protocol has one word for a killed process and a dead connection, so the connection is asked.
        match session.check().await {
            Ok(()) => Exit::Killed,
            Err(_) => {
                self.forget(session).await;
                Exit::LinkDown("the ssh connection ended".to_owned())
            }
        }
    }
}

struct Started<'a> {
    child: Child<Arc<Session>>,
    _permit: SemaphorePermit<'a>,
}

#[async_trait]
impl Host for SshHost {
    fn name(&self) -> &HostName {
        &self.target.name
    }

    async fn run(&self, script: &Script, lines: Lines<'_>) -> Result<Output, HostError> {
        let nonce = shell::nonce();
        let payload = framing::encode(script, &nonce).map_err(|nul| nul.in_script(script))?;
        let login = self.login.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if matches!(login, Login::Wrong) {
            return Err(shell::wrong_password(&self.target.name));
        }
        tracing::debug!(host = %self.target.name, script = script.name, "run");

        let (mut started, session) = self.start(login.command()).await?;
        let pipes = (started.child.stdin().take(), started.child.stdout().take(), started.child.stderr().take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(self.connect_error("a shell without pipes".to_owned()));
        };
        let ending = shell::converse(Pipes { stdin, stdout, stderr }, &login, &payload, &nonce, lines).await;
        let ending = ending.map_err(|error| error.in_answer(&self.target.name, script))?;
        self.login.lock().unwrap_or_else(PoisonError::into_inner).learn(&ending);
        match ending {
            Ending::Answered { output, .. } => {
                // The answer is whole; what may still fail here is the farewell.
                let _ = timeout(GOODBYE, started.child.wait()).await;
                tracing::debug!(host = %self.target.name, script = script.name, status = output.status, "answered");
                Ok(output)
            }
            Ending::WrongPassword => Err(shell::wrong_password(&self.target.name)),
            Ending::Silent { began, said } => {
                let exit = self.exit(started.child, &session).await;
                Err(shell::unanswered(&self.target.name, script, &login, began, &said, exit))
            }
        }
    }

    async fn forward(&self, target: SocketAddr) -> Result<Box<dyn Tunnel>, HostError> {
        let session = self.session().await?;
        match tunnel::open(&session, target).await {
            Ok(tunnel) => Ok(Box::new(tunnel)),
            Err(_) if session.check().await.is_err() => {
                self.forget(&session).await;
                let session = self.session().await?;
                let tunnel = tunnel::open(&session, target).await;
                tunnel
                    .map(|tunnel| Box::new(tunnel) as Box<dyn Tunnel>)
                    .map_err(|error| self.connect_error(words(&error)))
            }
            Err(error) => Err(self.connect_error(format!("no way to {target}: {}", words(&error)))),
        }
    }
}

/// An error with its causes, in one line.
fn words(error: &openssh::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
