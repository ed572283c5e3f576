//! The lock that each host keeps: the highest fence number it has seen, and who holds it.

use jiff::Timestamp;
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
    /// When it took the lock.
    pub since: Timestamp,
    /// What it is at, such as a step's id.
    pub doing: String,
    /// Its last sign of life.
    pub seen: Timestamp,
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
}
