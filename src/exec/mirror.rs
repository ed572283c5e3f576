//! The journal's mirror on the control planes, written behind the run so that another machine can resume.
//!
//! Each host has a task of its own, so a slow one holds nobody up. A mirror may lag one event behind a crash: the step
//! then looks never begun, and doing it again finds its unit or its files as they are.

use std::sync::Arc;
use std::time::Duration;

use kubewright_core::ids::OperationId;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::host::mirror::{Appended, MirrorFile, append};
use crate::ports::{Host, HostError};

/// How long the end of a run waits for a mirror that does not answer; the local journal is complete without it.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// The running mirror.
pub struct Mirror {
    journal: watch::Sender<Arc<[u8]>>,
    tasks: JoinSet<()>,
    rooted: mpsc::UnboundedReceiver<()>,
}

/// Hands journal bytes to the mirror without waiting.
#[derive(Clone)]
pub struct MirrorSender(watch::Sender<Arc<[u8]>>);

impl MirrorSender {
    /// The whole journal as it is now.
    pub fn send(&self, journal: &[u8]) {
        self.0.send_replace(Arc::from(journal));
    }
}

/// What every mirror begins with.
#[derive(Clone)]
pub struct Origin {
    /// Of which run.
    pub operation: OperationId,
    /// Our fence.
    pub fence: u64,
    /// `plan.json`.
    pub plan: Arc<[u8]>,
    /// `facts.json`.
    pub facts: Arc<[u8]>,
}

impl Mirror {
    /// Begins mirroring to these hosts; problems come as sentences through `notes`.
    pub fn start(hosts: Vec<Arc<dyn Host>>, origin: &Origin, notes: &mpsc::UnboundedSender<String>) -> Self {
        let (journal, _) = watch::channel(Arc::from(Vec::new()));
        let (root, rooted) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        for host in hosts {
            let (origin, journal, notes, root) = (origin.clone(), journal.subscribe(), notes.clone(), root.clone());
            tasks.spawn(async move {
                if let Err(error) = follow(host.as_ref(), &origin, journal, root).await {
                    // The run is over for its reader when nobody takes notes any more.
                    let _ = notes.send(format!("the mirror on {} stopped: {error}", host.name()));
                }
            });
        }
        Self { journal, tasks, rooted }
    }

    /// Waits until so many hosts hold plan and facts, so that from the first effect on another machine can resume.
    /// False where fewer ever will.
    pub async fn rooted_on(&mut self, hosts: usize) -> bool {
        for _ in 0..hosts {
            if self.rooted.recv().await.is_none() {
                return false;
            }
        }
        true
    }

    /// For whoever writes the journal.
    pub fn sender(&self) -> MirrorSender {
        MirrorSender(self.journal.clone())
    }

    /// Waits until every host has everything, or does not answer.
    pub async fn finish(mut self) {
        drop(self.journal);
        // Tasks end once no sender is left and the last value is written.
        let _ = tokio::time::timeout(LAST_WORDS, async { while self.tasks.join_next().await.is_some() {} }).await;
    }
}

async fn follow(
    host: &dyn Host,
    origin: &Origin,
    mut journal: watch::Receiver<Arc<[u8]>>,
    root: mpsc::UnboundedSender<()>,
) -> Result<(), HostError> {
    send(host, origin, MirrorFile::Facts, 0, &origin.facts).await?;
    send(host, origin, MirrorFile::Plan, 0, &origin.plan).await?;
    // Nobody waits for it any more where the run has begun already.
    let _ = root.send(());
    drop(root);
    let mut written = 0;
    loop {
        let bytes = journal.borrow_and_update().clone();
        if bytes.len() > written {
            written = send(host, origin, MirrorFile::Journal, written, &bytes).await?;
        }
        if journal.changed().await.is_err() {
            return Ok(());
        }
    }
}

/// Sends what lies behind `offset`; returns the length the host has then.
async fn send(host: &dyn Host, origin: &Origin, file: MirrorFile, offset: usize, bytes: &[u8]) -> Result<usize, HostError> {
    let mut offset = offset;
    loop {
        let rest = &bytes[offset.min(bytes.len())..];
        match append(host, origin.fence, &origin.operation, file, offset as u64, rest).await? {
            Appended::Done { .. } => return Ok(bytes.len()),
            // The host has less than we thought: an earlier write did not reach it.
            Appended::Gap { size } if (size as usize) < offset => offset = size as usize,
            Appended::Gap { size } | Appended::Conflict { size } => {
                return Err(HostError::Answer {
                    host: host.name().clone(),
                    script: "mirror".into(),
                    reason: format!("it holds {size} other bytes of {file:?}"),
                });
            }
        }
    }
}
