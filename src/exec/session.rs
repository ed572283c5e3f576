//! One process's hold on an operation, from its lock to its last words: the lock on the control planes, the mirror of the journal there,
//! the hands for its steps.

use std::sync::{Arc, Mutex};

use kubewright_core::facts::lock::Holder;
use kubewright_core::ids::OperationId;
use kubewright_core::quorum::majority;
use tokio::sync::{OnceCell, mpsc};

use super::cancel::Cancel;
use super::hands::Hands;
use super::lock::{Lock, LockError};
use super::mirror::{Mirror, Origin};
use crate::ports::{Clock, Hosts};
use crate::store::{Hold, Journal, Operation};

/// The hold, for as long as it lives.
pub struct Session {
    /// For the steps.
    pub hands: Hands,
    /// On the control planes.
    pub lock: Lock,
    mirror: Mirror,
    // On this machine.
    _hold: Hold,
}

/// A session that has begun, with what its run takes.
pub struct Begun {
    /// The hold.
    pub session: Session,
    /// The journal as it stands.
    pub journal: Journal,
    /// What the mirror has to say, in sentences.
    pub notices: mpsc::UnboundedReceiver<String>,
}

/// Why a session cannot begin. Nothing was changed, and the lock is free again.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The lock cannot be had.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The control planes count from a number below the one that this operation had last.
    #[error(
        "the control planes have forgotten operation {operation}: their fence is {fence}, its last was {last}; they were reinstalled"
    )]
    Forgotten {
        /// Which operation.
        operation: OperationId,
        /// What they gave now.
        fence: u64,
        /// What they had given before.
        last: u64,
    },
    /// Another machine could not resume what this one would begin.
    #[error("the plan could not be kept on a majority of the control planes")]
    NoMirror,
}

impl Session {
    /// Takes the lock (over another's where `forced`) and keeps the plan on a majority of the control planes.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn begin(
        operation: Operation,
        hosts: Arc<dyn Hosts>,
        holder: Holder,
        forced: bool,
        clock: Arc<dyn Clock>,
    ) -> Result<Begun, SessionError> {
        let Operation { plan, facts, plan_bytes, facts_bytes, journal, secrets, lock: _hold, .. } = operation;
        let lock = Lock::take(hosts.as_ref(), &plan.keepers, &plan.spec, holder, forced).await?;
        let last = journal.status().fence;
        if lock.fence <= last {
            lock.release().await;
            let (operation, fence) = (plan.operation, lock.fence);
            return Err(SessionError::Forgotten { operation, fence, last });
        }
        let (notes, notices) = mpsc::unbounded_channel();
        let origin = Origin {
            operation: plan.operation.clone(),
            fence: lock.fence,
            plan: plan_bytes.into(),
            facts: facts_bytes.into(),
        };
        let mut mirror = Mirror::start(lock.hosts().to_vec(), &origin, &notes);
        if !mirror.rooted_on(majority(plan.keepers.len())).await {
            lock.release().await;
            return Err(SessionError::NoMirror);
        }
        let hands = Hands {
            cancel: Cancel::default(),
            plan,
            facts,
            hosts,
            fence: lock.fence,
            secrets,
            clock,
            mirror: mirror.sender(),
            keys: OnceCell::new(),
            api: OnceCell::new(),
            etcd: OnceCell::new(),
            whole: Mutex::default(),
        };
        Ok(Begun { session: Self { hands, lock, mirror, _hold }, journal, notices })
    }

    /// Waits until the mirror has written the last line. The lock stays as it is.
    pub async fn end(self) {
        let Self { hands, mirror, .. } = self;
        // It writes its last line once nobody can send another.
        drop(hands);
        mirror.finish().await;
    }
}
