//! What went wrong, sorted: from the client's, TLS's and etcd's errors to one [`EtcdError`].

use std::error::Error;

use crate::kube::classify;
use crate::ports::{EtcdError, EtcdFault};

/// etcd's sentences (`api/v3/v3rpc/rpctypes/error.go`) and what they mean. Their gRPC codes say less: a learner that has not
/// caught up and a member that is no learner are both a failed precondition. The first that is found counts.
const SENTENCES: [(&str, EtcdFault); 20] = [
    ("can only promote a learner member which is in sync", EtcdFault::LearnerNotReady),
    ("can only promote a learner member", EtcdFault::NotLearner),
    ("too many learner members", EtcdFault::TooManyLearners),
    ("Peer URLs already exists", EtcdFault::PeerUrlTaken),
    ("member ID already exist", EtcdFault::PeerUrlTaken),
    ("member not found", EtcdFault::NoSuchMember),
    ("not enough started members", EtcdFault::NotEnoughStarted),
    ("unhealthy cluster", EtcdFault::Unhealthy),
    ("bad leader transferee", EtcdFault::BadLeader),
    ("no leader", EtcdFault::NoLeader),
    ("not leader", EtcdFault::NoLeader),
    ("leader changed", EtcdFault::NoLeader),
    ("request timed out", EtcdFault::Timeout),
    ("too many requests", EtcdFault::Timeout),
    ("database space exceeded", EtcdFault::NoSpace),
    ("corrupt cluster", EtcdFault::Corrupt),
    ("permission denied", EtcdFault::Denied),
    ("invalid auth token", EtcdFault::Denied),
    ("user name is empty", EtcdFault::Denied),
    ("authentication failed", EtcdFault::Denied),
];

/// gRPC's number for an answer that did not come in time.
const DEADLINE_EXCEEDED: i32 = 4;

/// From the client's error to ours.
pub(super) fn from_client(doing: &str, error: etcd_client::Error) -> EtcdError {
    match error {
        etcd_client::Error::GRpcStatus(status) => {
            if let Some(fault) = by_sentence(status.message()) {
                return EtcdError::new(fault, doing, status.message());
            }
            match status.source() {
                Some(cause) => connection(doing, cause),
                None if i32::from(status.code()) == DEADLINE_EXCEEDED => {
                    EtcdError::new(EtcdFault::Timeout, doing, status.message())
                }
                None => EtcdError::new(EtcdFault::Server, doing, status.message()),
            }
        }
        etcd_client::Error::TransportError(error) => connection(doing, &error),
        etcd_client::Error::IoError(error) => connection(doing, &error),
        other => EtcdError::new(EtcdFault::Server, doing, other.to_string()),
    }
}

fn connection(doing: &str, cause: &(dyn Error + 'static)) -> EtcdError {
    let (fault, said) = classify(cause);
    EtcdError::new(EtcdFault::Connection(fault), doing, said)
}

pub(super) fn by_sentence(said: &str) -> Option<EtcdFault> {
    SENTENCES.iter().find(|(part, _)| said.contains(part)).map(|(_, fault)| *fault)
}

/// Whether the same change may succeed a little later with nobody doing anything about it.
pub(super) fn passes(fault: EtcdFault) -> bool {
    matches!(fault, EtcdFault::NoLeader | EtcdFault::Timeout | EtcdFault::Unhealthy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_learner_that_is_behind_is_told_from_one_that_is_none() {
        let said = "etcdserver: can only promote a learner member which is in sync with leader";
        assert_eq!(by_sentence(said), Some(EtcdFault::LearnerNotReady));
        assert_eq!(by_sentence("etcdserver: can only promote a learner member"), Some(EtcdFault::NotLearner));
        assert_eq!(
            by_sentence("etcdserver: request timed out, possibly due to previous leader failure"),
            Some(EtcdFault::Timeout)
        );
        assert_eq!(by_sentence("boom"), None);
    }

    #[test]
    fn what_cannot_pass_by_itself_is_not_waited_for() {
        assert!(passes(EtcdFault::Unhealthy) && passes(EtcdFault::NoLeader));
        assert!(
            !passes(EtcdFault::TooManyLearners) && !passes(EtcdFault::LearnerNotReady) && !passes(EtcdFault::Server)
        );
    }
}
