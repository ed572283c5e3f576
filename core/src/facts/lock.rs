//! The lock that each host keeps: the highest fence number it has seen, and who holds it.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::ids::OperationId;

/// A host's view of the lock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lock {
    /// The highest number seen; 0 where there was none yet. A host refuses every lower one.
    pub fence: u64,
    /// Who holds it, unless it was given back.
    pub holder: Option<Holder>,
}

/// Who holds the lock, for whoever finds it held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// The run.
    pub operation: OperationId,
    /// The cluster's name.
    pub cluster: String,
    /// `user@machine`.
    pub holder: String,
    /// Its process there.
    pub pid: u32,
    /// The machine's `/etc/machine-id`; absent where a machine has none, as the next three.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<String>,
    /// The machine's boot: a process does not outlive it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// Where the process's number means something: containers on one machine count for themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid_namespace: Option<String>,
    /// When the process was started, in the kernel's ticks since the boot: numbers of processes are given again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<u64>,
    /// When it took the lock.
    pub since: Timestamp,
    /// What it is at, such as a step's id.
    pub doing: String,
    /// Its last sign of life.
    pub seen: Timestamp,
}

impl Holder {
    /// Whether both are the same run's words, be it from different moments.
    pub fn is_same_run(&self, other: &Self) -> bool {
        let run = |holder: &Self| Self { doing: String::new(), seen: holder.since, ..holder.clone() };
        run(self) == run(other)
    }
}

/// A host's answer about the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The record.
    pub lock: Lock,
    /// How long ago it was written, by the host's own clock: no two clocks are compared.
    pub age: SignedDuration,
}

impl Seen {
    /// Reads the answer: the record, and on the last line `age` with seconds.
    ///
    /// # Errors
    /// [`BadLock`].
    pub fn parse(text: &str) -> Result<Self, BadLock> {
        let (record, last) = text.trim_end().rsplit_once('\n').unwrap_or_default();
        let age = last.strip_prefix("age ").and_then(|seconds| seconds.parse().ok());
        let age = age.ok_or_else(|| BadLock(format!("`{last}` is no age")))?;
        Ok(Self { lock: Lock::parse(record)?, age: SignedDuration::from_secs(age) })
    }
}

/// A lock record that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("this is no lock record: {0}")]
pub struct BadLock(String);

impl Lock {
    /// Reads the record as it stands on a host: the number, and on a second line the holder as JSON if there is one.
    ///
    /// # Errors
    /// [`BadLock`].
    pub fn parse(text: &str) -> Result<Self, BadLock> {
        let mut lines = text.lines();
        let number = lines.next().unwrap_or_default();
        let fence = number.trim().parse().map_err(|_| BadLock(format!("`{number}` is no number")))?;
        let holder = match lines.next().map(str::trim).filter(|line| !line.is_empty()) {
            Some(line) => Some(serde_json::from_str(line).map_err(|error| BadLock(error.to_string()))?),
            None => None,
        };
        Ok(Self { fence, holder })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_hosts_keep() {
        assert_eq!(Lock::parse("7\n\n").unwrap(), Lock { fence: 7, holder: None });
        let text = r#"8
{"operation":"7f3a","cluster":"lab","holder":"ada@desk","pid":7,"since":"2026-01-01T10:00:00Z","doing":"x","seen":"2026-01-01T10:00:00Z"}
"#;
        assert_eq!(Lock::parse(text).unwrap().holder.unwrap().cluster, "lab");
        assert!(Lock::parse("").is_err());
        assert!(Lock::parse("8\nnonsense").is_err());
    }

    #[test]
    fn reads_what_hosts_answer() {
        let seen = Seen::parse("7\nage 12\n").unwrap();
        assert_eq!(seen, Seen { lock: Lock { fence: 7, holder: None }, age: SignedDuration::from_secs(12) });
        let holder = r#"{"operation":"7f3a","cluster":"lab","holder":"ada@desk","pid":7,"machineId":"m","bootId":"b","pidNamespace":"pid:[1]","started":3,"since":"2026-01-01T10:00:00Z","doing":"x","seen":"2026-01-01T10:00:00Z"}"#;
        let seen = Seen::parse(&format!("8\n{holder}\nage -3\n")).unwrap();
        assert_eq!(seen.age, SignedDuration::from_secs(-3));
        let read = seen.lock.holder.unwrap();
        assert_eq!((read.machine_id.as_deref(), read.started), (Some("m"), Some(3)));
        assert_eq!(serde_json::to_string(&read).unwrap(), holder);
        for text in ["", "7\n", "age 3\n", "7\nage soon\n"] {
            assert!(Seen::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_renewal_is_the_same_run() {
        let text = r#"{"operation":"7f3a","cluster":"lab","holder":"ada@desk","pid":7,"since":"2026-01-01T10:00:00Z","doing":"x","seen":"2026-01-01T10:00:00Z"}"#;
        let first: Holder = serde_json::from_str(text).unwrap();
        assert_eq!((first.machine_id.as_ref(), first.started), (None, None), "a record of an older version");
        let renewed = Holder { doing: "y".into(), seen: Timestamp::UNIX_EPOCH, ..first.clone() };
        assert!(first.is_same_run(&renewed));
        assert!(!first.is_same_run(&Holder { since: Timestamp::UNIX_EPOCH, ..first.clone() }));
    }
}
