//! The journal's mirror on the control planes, written behind the run so that another machine can resume.
//!
//! Each host has a task of its own, so a slow one holds nobody up. A mirror may lag one event behind a crash: the step
//! then looks never begun, and doing it again finds its unit or its files as they are.

use std::sync::Arc;
use std::time::Duration;

use kubewright_core::ids::OperationId;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::host::mirror::{Appended, MirrorFile, append, replace};
use crate::ports::{Host, HostError};

/// How long the end of a run waits for a mirror that does not answer; the local journal is complete without it.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Without a new record a mirror that fell behind is tried again this often: a line that comes back is no event here.
const AGAIN: Duration = Duration::from_secs(15);

/// Two uploads of some dozen kilobytes, over connections that have just answered.
const ROOTED: Duration = Duration::from_secs(30);

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
                follow(host.as_ref(), &origin, journal, root, &notes).await;
            });
        }
        Self { journal, tasks, rooted }
    }

    /// Waits until so many hosts hold plan and facts, so that from the first effect on another machine can resume.
    /// False where fewer do in good time.
    pub async fn rooted_on(&mut self, hosts: usize) -> bool {
        let rooted = async {
            for _ in 0..hosts {
                if self.rooted.recv().await.is_none() {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(ROOTED, rooted).await.unwrap_or(false)
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

/// Keeps one host's mirror up to date until nobody writes any more. A host that cannot be written is tried again at the
/// next record, and without one after [`AGAIN`]; only a takeover ends it.
async fn follow(
    host: &dyn Host,
    origin: &Origin,
    mut journal: watch::Receiver<Arc<[u8]>>,
    root: mpsc::UnboundedSender<()>,
    notes: &mpsc::UnboundedSender<String>,
) {
    // The run is over for its reader when nobody takes notes any more.
    let note = |text: String| drop(notes.send(text));
    let mut root = Some(root);
    let mut written = 0;
    let mut behind = false;
    loop {
        let bytes = journal.borrow_and_update().clone();
        match write(host, origin, root.is_some(), written, &bytes).await {
            Ok(()) => {
                written = bytes.len();
                if let Some(root) = root.take() {
                    // Nobody waits for it any more where the run has begun already.
                    let _ = root.send(());
                }
                if std::mem::take(&mut behind) {
                    note(format!("the mirror on {} is whole again", host.name()));
                }
                if journal.changed().await.is_err() {
                    return;
                }
            }
            Err(error @ HostError::Fenced { .. }) => {
                return note(format!("the mirror on {} stopped: {error}", host.name()));
            }
            Err(error) => {
                if !std::mem::replace(&mut behind, true) {
                    note(format!("the mirror on {} falls behind: {error}", host.name()));
                }
                if let Ok(Err(_)) = tokio::time::timeout(AGAIN, journal.changed()).await {
                    return;
                }
            }
        }
    }
}

async fn write(host: &dyn Host, origin: &Origin, first: bool, written: usize, journal: &[u8]) -> Result<(), HostError> {
    if first {
        send(host, origin, MirrorFile::Facts, 0, &origin.facts).await?;
        send(host, origin, MirrorFile::Plan, 0, &origin.plan).await?;
    }
    if journal.len() > written {
        send(host, origin, MirrorFile::Journal, written, journal).await?;
    }
    Ok(())
}

/// Sends what lies behind `offset`. A host that holds something else was written by a run that we have overtaken: we hold
/// the fence, so ours takes its place.
async fn send(
    host: &dyn Host,
    origin: &Origin,
    file: MirrorFile,
    offset: usize,
    bytes: &[u8],
) -> Result<(), HostError> {
    let mut offset = offset;
    loop {
        let rest = &bytes[offset.min(bytes.len())..];
        match append(host, origin.fence, &origin.operation, file, offset as u64, rest).await? {
            Appended::Done { .. } => return Ok(()),
            // The host has less than we thought: an earlier write did not reach it.
            Appended::Gap { size } if (size as usize) < offset => offset = size as usize,
            Appended::Gap { .. } | Appended::Conflict { .. } => {
                return replace(host, origin.fence, &origin.operation, file, bytes).await;
            }
        }
    }
}
