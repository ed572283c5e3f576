//! What whoever drains has asked of the API server, by the API server's own audit log.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kubewright_core::drain::Name;
use serde::Deserialize;

/// What the API server is to write down: who asked for an eviction or a deletion of a pod, and what was answered. It
/// writes before it answers (`--audit-log-mode=blocking`, the default).
pub const POLICY: &str = r#"apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  verbs: [create]
  resources: [{ group: "", resources: [pods/eviction] }]
- level: Metadata
  verbs: [delete, deletecollection]
  resources: [{ group: "", resources: [pods] }]
- level: None
"#;

/// The user in `admin.conf` of kubeadm's layout: it drains, and nobody else here is called so.
const DRAINER: &str = "kubernetes-admin";

/// What was asked and answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Evictions that were granted, in their order.
    pub evicted: Vec<Name>,
    /// Evictions that were refused as too many (429).
    pub refused: usize,
    /// Evictions that ended otherwise.
    pub others: usize,
    /// Deletions of pods that asked no budget.
    pub bypassed: usize,
}

/// The log from some moment on.
pub struct Audit {
    path: PathBuf,
    from: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    verb: String,
    user: User,
    object_ref: Option<Object>,
    response_status: Option<Status>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct Status {
    code: u16,
}

impl Audit {
    /// What is written from now on.
    ///
    /// # Errors
    /// There is no log.
    pub fn begin(path: &Path) -> Result<Self> {
        let from = path.metadata().with_context(|| format!("no audit log {}", path.display()))?.len();
        Ok(Self { path: path.to_owned(), from })
    }

    /// What was asked since.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn tally(&self) -> Result<Tally> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.from))?;
        let mut tally = Tally::default();
        for line in BufReader::new(file).lines() {
            tally.enter(&line?)?;
        }
        Ok(tally)
    }
}

impl Tally {
    fn enter(&mut self, line: &str) -> Result<()> {
        let entry: Entry = serde_json::from_str(line).context("a line of the audit log cannot be read")?;
        if entry.user.username != DRAINER {
            return Ok(());
        }
        if entry.verb != "create" {
            self.bypassed += 1;
            return Ok(());
        }
        match (entry.response_status.map(|status| status.code), entry.object_ref) {
            (Some(200..300), Some(pod)) => self.evicted.push(Name::new(pod.namespace, pod.name)),
            (Some(429), _) => self.refused += 1,
            _ => self.others += 1,
        }
        Ok(())
    }

    /// The share of evictions that were refused.
    pub fn refused_ratio(&self) -> f64 {
        let all = self.evicted.len() + self.refused + self.others;
        if all == 0 { 0.0 } else { self.refused as f64 / all as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evictions_are_told_from_refusals_deletions_and_what_others_do() {
        let line = |user: &str, verb: &str, sub: &str, code: u16| {
            format!(
                r#"{{"kind":"Event","stage":"ResponseComplete","verb":"{verb}","user":{{"username":"{user}"}},"objectRef":{{"resource":"pods","namespace":"shop","name":"cart-1"{sub}}},"responseStatus":{{"metadata":{{}},"code":{code}}}}}"#
            )
        };
        let eviction = r#","subresource":"eviction""#;
        let mut tally = Tally::default();
        for line in [
            line(DRAINER, "create", eviction, 201),
            line(DRAINER, "create", eviction, 429),
            line(DRAINER, "create", eviction, 404),
            line(DRAINER, "create", eviction, 201),
            line(DRAINER, "delete", "", 200),
            line("kubernetes-super-admin", "delete", "", 200),
        ] {
            tally.enter(&line).unwrap();
        }
        let cart = Name::new("shop", "cart-1");
        assert_eq!(tally, Tally { evicted: vec![cart.clone(), cart], refused: 1, others: 1, bypassed: 1 });
        assert_eq!(tally.refused_ratio(), 0.25);
        assert!(tally.enter("{").is_err());
    }
}
