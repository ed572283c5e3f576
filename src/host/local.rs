//! The operator's own machine as a host: no connection, the same conversation.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use kubewright_core::ids::HostName;
use secrecy::SecretString;
use tokio::process::Command;

use super::framing;
use super::here::Direct;
use super::shell::{self, Ending, Exit, Login, Pipes};
use crate::ports::{Host, HostError, Lines, Output, Script, Tunnel};

/// This machine.
#[derive(Debug)]
pub struct LocalHost {
    name: HostName,
    login: Mutex<Login>,
}

impl LocalHost {
    /// This machine under a name; the password is for sudo where we are not root.
    pub fn new(name: HostName, sudo_password: Option<SecretString>) -> Self {
        Self { name, login: Mutex::new(Login::new(sudo_password)) }
    }
}

#[async_trait]
impl Host for LocalHost {
    fn name(&self) -> &HostName {
        &self.name
    }

    async fn run(&self, script: &Script, lines: Lines<'_>) -> Result<Output, HostError> {
        let nonce = shell::nonce();
        let payload = framing::encode(script, &nonce).map_err(|nul| nul.in_script(script))?;
        let login = self.login.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if matches!(login, Login::Wrong) {
            return Err(shell::wrong_password(&self.name));
        }
        let failed = |reason: String| HostError::Connect {
            host: self.name.clone(),
            address: "this machine".to_owned(),
            reason,
            hint: None,
        };

        // An own process group: Ctrl-C at the terminal is for us, not for the script.
        let mut child = Command::new("/bin/sh")
            .args(["-c", login.command()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| failed(format!("cannot start /bin/sh: {error}")))?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(failed("a shell without pipes".to_owned()));
        };

        let pipes = Pipes { stdin, stdout, stderr };
        let ending = shell::converse(pipes, &login, &payload, &nonce, lines).await;
        let ending = ending.map_err(|error| error.in_answer(&self.name, script))?;
        self.login.lock().unwrap_or_else(PoisonError::into_inner).learn(&ending);
        match ending {
            Ending::Answered { output, .. } => Ok(output),
            Ending::WrongPassword => Err(shell::wrong_password(&self.name)),
            Ending::Silent { began, said } => {
                let exit = match child.wait().await {
                    Ok(status) => status.code().map_or(Exit::Killed, Exit::Status),
                    Err(error) => Exit::LinkDown(error.to_string()),
                };
                Err(shell::unanswered(&self.name, script, &login, began, &said, exit))
            }
        }
    }

    async fn forward(&self, target: SocketAddr) -> Result<Box<dyn Tunnel>, HostError> {
        Ok(Box::new(Direct(target)))
    }
}
