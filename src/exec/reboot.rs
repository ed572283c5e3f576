//! A machine restarts. Which boot it ran is written down on it before; it is done once it answers with another one. So
//! whoever asks afterwards, from wherever, after whatever was cut off, gets the same answer.

use std::time::Duration;

use kubewright_core::ids::HostName;
use kubewright_core::plan::Step;
use tokio::time::{Instant, sleep, timeout};

use super::hands::Hands;
use super::objects::within;
use super::{Failure, Telling, Verdict};
use crate::host::fence::run_fenced;
use crate::playbooks;
use crate::ports::{HostError, Script, quiet};

/// A machine that starts sends no word: it is asked again. A question that nobody answers costs one connection attempt.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How long one question may take. A connection to a machine that lost its network mid-word would else hang for as long as
/// TCP has patience.
const ONE_QUESTION: Duration = Duration::from_secs(20);

/// How long a machine that was told to restart may go on as if nothing had been said. Services that are to end first
/// (kubelets with a graceful shutdown hold the restart up by some 30 s) still show as pending.
const RELUCTANCE: Duration = Duration::from_secs(300);

/// What a machine says of its restart.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Boot {
    /// Nobody wrote down which boot it ran.
    Absent,
    /// It runs the boot that was written down.
    Pending,
    /// The same, on its way down.
    Stopping,
    /// It runs another one.
    Done { before: String, now: String, kernel_before: String, kernel: String },
}

impl Boot {
    fn parse(said: &str) -> Option<Self> {
        let words: Vec<&str> = said.split_whitespace().collect();
        Some(match words.as_slice() {
            ["absent"] => Self::Absent,
            ["pending", _] => Self::Pending,
            ["stopping", _] => Self::Stopping,
            ["done", before, now, kernel_before, kernel] => Self::Done {
                before: (*before).to_owned(),
                now: (*now).to_owned(),
                kernel_before: (*kernel_before).to_owned(),
                kernel: (*kernel).to_owned(),
            },
            _ => return None,
        })
    }

    /// The proof, in one line.
    fn words(&self) -> String {
        let short = |id: &str| id.chars().take(8).collect::<String>();
        match self {
            Self::Done { before, now, kernel_before, kernel } if kernel_before == kernel => {
                format!("restarted: boot {} → {}, kernel {kernel} as before", short(before), short(now))
            }
            Self::Done { before, now, kernel_before, kernel } => {
                format!("restarted: boot {} → {}, kernel {kernel_before} → {kernel}", short(before), short(now))
            }
            Self::Absent | Self::Pending | Self::Stopping => "not restarted".to_owned(),
        }
    }
}

/// Restarts it, and returns when it answers in another boot.
///
/// # Errors
/// [`Failure`] where it does not restart, or does not come back in time.
pub async fn perform(hands: &Hands, step: &Step, telling: Telling<'_>) -> Result<(), Failure> {
    let name = hands.target(step)?;
    begin(hands, name, step).await?;
    telling("restarting");
    let since = Instant::now();
    loop {
        match wait_for_answer(hands, step, since, telling).await? {
            done @ Boot::Done { .. } => {
                telling(&done.words());
                return Ok(());
            }
            // The connection was lost before the host had heard of it.
            Boot::Absent => begin(hands, name, step).await?,
            Boot::Pending if since.elapsed() > RELUCTANCE => {
                let text = format!("{name} was told to restart {} s ago and goes on as before", RELUCTANCE.as_secs());
                let hint = format!("on {name}: systemctl list-jobs; systemd-inhibit --list");
                return Err(Failure { hint: Some(hint), ..Failure::new(text) });
            }
            Boot::Pending | Boot::Stopping => sleep(ASK_AGAIN).await,
        }
    }
}

/// Whether it was restarted. A machine that does not answer, or is on its way down, is waited for.
///
/// # Errors
/// [`Failure`] where it never answers.
pub async fn probe(hands: &Hands, step: &Step, telling: Telling<'_>) -> Result<Verdict, Failure> {
    let since = Instant::now();
    loop {
        match wait_for_answer(hands, step, since, telling).await? {
            done @ Boot::Done { .. } => {
                telling(&done.words());
                return Ok(Verdict::Done);
            }
            Boot::Absent | Boot::Pending => return Ok(Verdict::NotDone),
            Boot::Stopping => sleep(ASK_AGAIN).await,
        }
    }
}

/// Writes down the boot and has the machine restart. That its answer gets lost is to be expected.
async fn begin(hands: &Hands, name: &HostName, step: &Step) -> Result<(), Failure> {
    let script = script(hands, step, "begin");
    let told = async {
        let host = hands.hosts.host(name).await?;
        run_fenced(host.as_ref(), hands.fence, &script, &mut quiet()).await?.success(name, &script)
    };
    match timeout(ONE_QUESTION, told).await {
        Ok(Err(error)) if !matches!(error, HostError::Lost { .. }) => Err(error.into()),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The next answer of the machine, however long it is away within the step's time.
async fn wait_for_answer(hands: &Hands, step: &Step, since: Instant, telling: Telling<'_>) -> Result<Boot, Failure> {
    let name = hands.target(step)?;
    let limit = within(step);
    let mut said = String::new();
    loop {
        let why = match timeout(ONE_QUESTION, ask(hands, name, step)).await {
            Ok(Ok(boot)) => return Ok(boot),
            Ok(Err(HostError::Connect { reason, .. } | HostError::Lost { reason, .. })) => reason,
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => format!("no answer within {} s", ONE_QUESTION.as_secs()),
        };
        if since.elapsed() >= limit {
            return Err(gone(name, limit, &why));
        }
        if why != said {
            telling(&format!("away: {why}"));
            said = why;
        }
        sleep(ASK_AGAIN).await;
    }
}

async fn ask(hands: &Hands, name: &HostName, step: &Step) -> Result<Boot, HostError> {
    let script = script(hands, step, "state");
    let host = hands.hosts.host(name).await?;
    let output = host.run(&script, &mut quiet()).await?.success(name, &script)?;
    Boot::parse(&output.stdout).ok_or_else(|| HostError::Answer {
        host: name.clone(),
        script: script.name.to_owned(),
        reason: output.stdout.trim().chars().take(100).collect(),
    })
}

fn script(hands: &Hands, step: &Step, action: &str) -> Script {
    Script::new("common/reboot.sh", playbooks::REBOOT)
        .value("ACTION", action)
        .value("OPERATION", hands.plan.operation.as_str())
        .value("STEP", step.id.as_str())
}

fn gone(name: &HostName, limit: Duration, why: &str) -> Failure {
    let text = format!(
        "{name} was told to restart and has not answered for {} s: {why}\nits pods moved away before; it stays cordoned",
        limit.as_secs()
    );
    let hint = format!("look at the console of {name}; once it answers to ssh, resume");
    Failure { hint: Some(hint), ..Failure::new(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_machine_says_is_read_and_nothing_else() {
        assert_eq!(Boot::parse("absent\n"), Some(Boot::Absent));
        assert_eq!(Boot::parse("pending b1\n"), Some(Boot::Pending));
        assert_eq!(Boot::parse("stopping b1\n"), Some(Boot::Stopping));
        let done = Boot::parse("done 1234567890 abcdefghij 6.1.0-40 6.1.0-41\n").unwrap();
        assert_eq!(done.words(), "restarted: boot 12345678 → abcdefgh, kernel 6.1.0-40 → 6.1.0-41");
        for odd in ["", "done b1", "pending", "rebooted b1 b2"] {
            assert_eq!(Boot::parse(odd), None, "{odd}");
        }
    }
}
