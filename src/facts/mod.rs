//! Gathers facts: from hosts by one script in one round trip, all hosts at once; from the cluster through its API.

pub mod certificates;
mod cluster;
pub mod nodes;
pub mod upgrade;

use futures::future::join_all;
use jiff::Timestamp;
use kubewright_core::facts::{Exchange, Fact, Facts, HostFacts};
use kubewright_core::ids::HostName;

pub use self::cluster::{awaits_member, gather_cluster, gather_etcd};
use crate::playbooks;
use crate::ports::{HostError, Hosts, Script, quiet};

/// What hosts are to find out besides looking at themselves, so that planning needs no second trip.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Questions {
    /// Published checksums.
    pub checksums: Vec<ChecksumQuestion>,
    /// Images whose digests are wanted.
    pub images: Vec<ImageQuestion>,
    /// Further files whose digests are wanted.
    pub files: Vec<String>,
    /// No program is started to tell its version or its images. Guards need neither, and the Go programs among them take
    /// a fifth of a second of processor time each, before every step on every host.
    pub without_programs: bool,
    /// Whether each can become a node, where nothing was built on it.
    pub fitness: Option<FitnessQuestion>,
}

/// What to find out about machines that nothing was built on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FitnessQuestion {
    /// Hosts that are to run an etcd member: their disks are measured.
    pub etcd_members: Vec<HostName>,
    /// Names that each has to know.
    pub names: Vec<String>,
}

/// A published checksum.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChecksumQuestion {
    /// Where its text is.
    pub url: String,
    /// The program and its digest: a host that has installed just this need not ask.
    pub installed: Option<(String, String)>,
}

/// An image, and whom to ask for its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageQuestion {
    /// Such as `registry.k8s.io/pause:3.10.1`.
    pub reference: String,
    /// The digest that it is pinned to: a host that has just this need not ask.
    pub pinned: Option<String>,
    /// Where the registry API answers, such as `https://registry.k8s.io/v2`; asked in this order.
    pub registries: Vec<String>,
}

impl Questions {
    /// What decides whether a step may begin, and nothing that takes long to tell.
    pub fn of_guards() -> Self {
        Self { without_programs: true, ..Self::default() }
    }

    /// What all hosts are asked.
    fn script(&self) -> Script {
        let checksum = |question: &ChecksumQuestion| match &question.installed {
            Some((name, sha256)) => format!("{} {name} {sha256}", question.url),
            None => question.url.clone(),
        };
        let checksums: Vec<String> = self.checksums.iter().map(checksum).collect();
        let image = |image: &ImageQuestion| {
            format!("{} {} {}", image.reference, image.pinned.as_deref().unwrap_or("-"), image.registries.join(" "))
        };
        let images: Vec<String> = self.images.iter().map(image).collect();
        Script::new("common/facts.sh", playbooks::FACTS)
            .value("CHECKSUM_URLS", checksums.join("\n"))
            .value("IMAGE_REFS", images.join("\n"))
            .value("FILES", self.files.join("\n"))
            .value("PROGRAMS", if self.without_programs { "no" } else { "yes" })
    }

    /// The same with what only this host is asked.
    fn script_for(&self, host: &HostName, common: &Script) -> Script {
        let Some(question) = &self.fitness else { return common.clone() };
        let fsync = if question.etcd_members.contains(host) { "yes" } else { "no" };
        common.clone().value("FITNESS", "yes").value("FSYNC", fsync).value("NAMES", question.names.join(" "))
    }
}

/// Asks all hosts at once. A host that does not answer is unreadable, with the reason; the others are reported.
pub async fn gather(hosts: &dyn Hosts, names: &[HostName], questions: &Questions) -> Facts {
    let script = questions.script();
    let asked = names.iter().map(|name| async {
        let script = questions.script_for(name, &script);
        (name.clone(), ask(hosts, name, &script).await)
    });
    Facts { hosts: join_all(asked).await.into_iter().collect(), ..Facts::default() }
}

async fn ask(hosts: &dyn Hosts, name: &HostName, script: &Script) -> Fact<HostFacts> {
    let host = match hosts.host(name).await {
        Ok(host) => host,
        Err(error) => return unreadable(&error),
    };
    let sent = Timestamp::now();
    let output = host.run(script, &mut quiet()).await.and_then(|output| output.success(name, script));
    let received = Timestamp::now();
    match output {
        Ok(output) => match HostFacts::parse(&output.stdout, Exchange { sent, received }) {
            Ok(value) => Fact::Known { value, at: received },
            Err(error) => Fact::unreadable(format!("its facts cannot be read: {error}")),
        },
        Err(error) => unreadable(&error),
    }
}

/// The reason in words to which whoever shows it puts the host's name.
fn unreadable(error: &HostError) -> Fact<HostFacts> {
    let why = match error {
        // ssh's own words are often "connect to host ADDRESS port PORT: …".
        HostError::Connect { reason, .. } if reason.starts_with("connect to ") => format!("cannot {reason}"),
        HostError::Connect { address, reason, .. } => format!("cannot connect to {address}: {reason}"),
        HostError::Sudo { reason, .. } => format!("sudo refused: {reason}"),
        HostError::Lost { script, reason, .. } => format!("the connection was lost during {script}: {reason}"),
        HostError::Answer { script, reason, .. } => format!("{script} gave an answer that cannot be read: {reason}"),
        HostError::Failed { script, status, stderr, .. } => {
            let last = stderr.lines().rfind(|line| !line.trim().is_empty());
            let last = last.map(|line| format!(": {}", line.trim())).unwrap_or_default();
            format!("{script} ended with status {status}{last}")
        }
        HostError::Fenced { .. } | HostError::Value { .. } => error.to_string(),
    };
    Fact::Unreadable { why, hint: error.hint().map(str::to_owned) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_etcd_members_have_their_disks_measured_and_only_when_it_is_asked() {
        let mut questions = Questions::default();
        let asked = |questions: &Questions, host: &str| {
            let script = questions.script_for(&host.into(), &questions.script());
            ["FITNESS", "FSYNC", "NAMES"].map(|name| script.values.get(name).cloned().unwrap_or_default())
        };
        assert_eq!(asked(&questions, "cp1"), ["", "", ""]);
        questions.fitness =
            Some(FitnessQuestion { etcd_members: vec!["cp1".into()], names: vec!["api".into(), "b".into()] });
        assert_eq!(asked(&questions, "cp1"), ["yes", "yes", "api b"]);
        assert_eq!(asked(&questions, "w1"), ["yes", "no", "api b"]);
    }
}
