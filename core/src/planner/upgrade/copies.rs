//! How old the newest copy of etcd is that was proved: whatever goes wrong, it is what the cluster comes back from.

use jiff::SignedDuration;

use crate::etcd::status::CopiesSeen;
use crate::facts::Fact;
use crate::finding::{Finding, Severity, Subject};
use crate::summary::ago;

/// A copy is taken every night where copies are taken at all.
const FRESH: SignedDuration = SignedDuration::from_hours(24);

/// ETCD011 to ETCD013. Nothing where nobody looked.
pub(super) fn of_etcd(copies: &Fact<CopiesSeen>) -> Option<Finding> {
    let Fact::Known { value: seen, at } = copies else { return None };
    let warns = |code: &str, text: String| {
        Finding::new(Severity::Warns, code, Subject::Cluster, text).hint("take one first:  kubewright etcd snapshot")
    };
    let store = &seen.store;
    Some(match (&seen.unreadable, seen.last_verified, seen.last) {
        (Some(why), ..) => {
            warns("ETCD013", format!("whether there is a copy of etcd in {store} cannot be seen: {why}"))
        }
        (None, Some(proved), _) if at.duration_since(proved) < FRESH => Finding::new(
            Severity::Info,
            "ETCD011",
            Subject::Cluster,
            format!("the last proved copy of etcd was taken {} ({store})", ago(proved, *at)),
        ),
        (None, Some(proved), _) => {
            warns("ETCD012", format!("the last proved copy of etcd was taken {} ({store})", ago(proved, *at)))
        }
        (None, None, Some(last)) => {
            warns("ETCD012", format!("no copy of etcd is proved; the last was taken {} ({store})", ago(last, *at)))
        }
        (None, None, None) => warns("ETCD012", format!("there is no copy of etcd in {store}")),
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::etcd::retention::Copy;

    fn told(copies: Result<&[Copy], String>) -> String {
        let at = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1000);
        let value = CopiesSeen::of("s3://b/lab".to_owned(), copies);
        let finding = of_etcd(&Fact::Known { value, at }).unwrap();
        format!("{} {} {}", finding.code, finding.severity, finding.text)
    }

    fn copy(hour: i64, verified: bool) -> Copy {
        let taken = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hour);
        Copy { name: hour.to_string(), taken, verified }
    }

    #[test]
    fn only_a_proved_copy_of_today_is_good_enough() {
        assert_eq!(
            told(Ok(&[copy(990, true), copy(999, false)])),
            "ETCD011 info the last proved copy of etcd was taken 10 h ago (s3://b/lab)"
        );
        assert_eq!(
            told(Ok(&[copy(976, true)])),
            "ETCD012 warns the last proved copy of etcd was taken 1 d ago (s3://b/lab)"
        );
        assert_eq!(
            told(Ok(&[copy(999, false)])),
            "ETCD012 warns no copy of etcd is proved; the last was taken 1 h ago (s3://b/lab)"
        );
        assert_eq!(told(Ok(&[])), "ETCD012 warns there is no copy of etcd in s3://b/lab");
        let silent = "ETCD013 warns whether there is a copy of etcd in s3://b/lab cannot be seen: no answer";
        assert_eq!(told(Err("no answer".to_owned())), silent);
        assert_eq!(of_etcd(&Fact::Absent), None);
    }
}
