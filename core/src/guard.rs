//! Conditions that travel with a step and are checked again on fresh facts just before it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::facts::etcd::{AlarmKind, EtcdFacts, MemberId};
use crate::facts::{Fact, Facts, HostFacts, HostRecord, Membership};
use crate::ids::{HostName, OperationId};
use crate::quorum::{Change, Machine, Obstacle, Reason, View, decide};

/// A condition as data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Guard {
    /// The machine behind the name is the one the plan was made for.
    #[serde(rename_all = "camelCase")]
    SameMachine {
        /// Which host.
        host: HostName,
        /// Its `/etc/machine-id` at planning time.
        machine_id: String,
    },
    /// The host has no etcd data but what this operation's own etcd made: a foreign member's data is never touched.
    #[serde(rename_all = "camelCase")]
    NoForeignEtcdData {
        /// Which host.
        host: HostName,
        /// Identity that this operation gives its etcd.
        initial_cluster_token: String,
    },
    /// The host belongs to no other cluster of ours.
    #[serde(rename_all = "camelCase")]
    NoOtherCluster {
        /// Which host.
        host: HostName,
        /// Our cluster.
        cluster: String,
        /// Our operation.
        operation: OperationId,
    },
    /// etcd bears a change of its members, by the one procedure that decides on that (`quorum::decide`).
    EtcdBears {
        /// Which change.
        change: MemberChange,
    },
    /// The host belongs to our cluster, or to none.
    #[serde(rename_all = "camelCase")]
    OfCluster {
        /// Which host.
        host: HostName,
        /// Our cluster.
        cluster: String,
    },
}

/// A change of etcd's members, in words that hold before a member has an identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum MemberChange {
    /// Add a learner.
    #[serde(rename_all = "camelCase")]
    AddLearner {
        /// Where the others will reach it.
        peer_url: String,
    },
    /// Take the member of a host out.
    Remove {
        /// Which host.
        host: HostName,
        /// Whether its machine is known to be gone, or to run another system by now.
        gone: bool,
    },
    /// Take the member of this identity out.
    Forget {
        /// Whom.
        member: MemberId,
        /// Whether its machine is known to be gone.
        gone: bool,
    },
    /// Take the member of a host out, where there is one, and add a learner in its stead.
    #[serde(rename_all = "camelCase")]
    Replace {
        /// Which host.
        host: HostName,
        /// Where the others will reach the new one.
        peer_url: String,
        /// Whether one that gives no answer may be taken out: it is stopped on its host before.
        gone: bool,
    },
    /// Stop the member of a host for a while: it is restarted.
    Stop {
        /// Which host.
        host: HostName,
        /// Whether the user agreed that nothing is decided meanwhile, because it is the only voter.
        outage: bool,
    },
    /// The member of a host answers nobody for a while, as during a defragmentation or a restart of its process alone.
    Pause {
        /// Which host.
        host: HostName,
        /// Whether somebody agreed that nothing is written meanwhile: one or two members cannot spare any.
        standstill: bool,
    },
    /// Let the member of a host lead.
    Lead {
        /// Which host.
        host: HostName,
    },
}

impl MemberChange {
    /// As the decision procedure wants it; `None` where it is made already.
    pub fn in_terms_of(&self, facts: &EtcdFacts) -> Option<Change> {
        match self {
            // It has been added, and may even have started since: there is nothing left to decide.
            Self::AddLearner { peer_url } if facts.member_at(peer_url).is_some() => None,
            Self::AddLearner { peer_url } => Some(Change::AddLearner { peer_urls: vec![peer_url.clone()] }),
            Self::Remove { host, gone } => {
                facts.member_on(host).map(|member| Change::Remove { member: member.id, machine: machine(*gone) })
            }
            Self::Forget { member, gone } => {
                facts.member(*member).map(|member| Change::Remove { member: member.id, machine: machine(*gone) })
            }
            Self::Replace { host, peer_url, gone } => {
                let peer_urls = vec![peer_url.clone()];
                let old = facts.member_on(host).or_else(|| facts.member_at(peer_url));
                Some(match old {
                    Some(old) => Change::Replace { member: old.id, machine: machine(*gone), peer_urls },
                    None => Change::AddLearner { peer_urls },
                })
            }
            Self::Stop { host, .. } | Self::Pause { host, .. } => {
                facts.member_on(host).map(|member| Change::Stop { member: member.id })
            }
            Self::Lead { host } => facts.member_on(host).map(|member| Change::MoveLeader { to: member.id }),
        }
    }

    /// Whether an obstacle is none to this change.
    fn passes(&self, obstacle: &Obstacle, facts: &EtcdFacts) -> bool {
        match (self, obstacle.reason) {
            // Leadership is moved away as part of it, or by a step before.
            (Self::Remove { .. } | Self::Pause { .. } | Self::Stop { .. }, Reason::Leads) => true,
            (Self::Forget { .. } | Self::Replace { .. }, Reason::Leads) => {
                // One that leads and gives no answer can hand nothing over, and is alive.
                obstacle.member.is_some_and(|leader| {
                    View::of(facts).standing(leader).is_some_and(|standing| !standing.is_unknown())
                })
            }
            (Self::Stop { outage, .. }, Reason::LastVoter) => *outage,
            (Self::Pause { standstill, .. }, Reason::LastVoter | Reason::LosesQuorum) => {
                *standstill && facts.voters().count() <= 2
            }
            // A full database is what a pause is good against, and a restart makes it no fuller.
            (Self::Pause { .. } | Self::Lead { .. }, Reason::Alarm) => {
                facts.alarms.iter().all(|alarm| alarm.kind == AlarmKind::NoSpace)
            }
            _ => false,
        }
    }

    /// Whether that nobody decides now is what this change does, once it was begun. One of so few members pauses or stops, which was
    /// agreed to: the only one then answers nobody, and of two the other one follows no leader.
    fn may_have_caused(&self, etcd: &Fact<EtcdFacts>) -> bool {
        let (Self::Pause { host, standstill: true } | Self::Stop { host, outage: true }) = self else { return false };
        match etcd {
            Fact::Known { value, .. } => {
                let view = View::of(value);
                let standing = value.member_on(host).and_then(|member| view.standing(member.id));
                value.voters().count() <= 2
                    && !view.has_quorum()
                    && standing.is_some_and(|standing| !standing.is_well())
            }
            Fact::Unreadable { .. } => true,
            Fact::Absent => false,
        }
    }

    /// Whether etcd bears it.
    ///
    /// # Errors
    /// Everything that is in the way, in one sentence.
    pub fn is_borne(&self, facts: &EtcdFacts) -> Result<(), String> {
        let Some(change) = self.in_terms_of(facts) else { return Ok(()) };
        let verdict = decide(facts, &change);
        let obstacles: Vec<String> = verdict
            .obstacles()
            .iter()
            .filter(|obstacle| !self.passes(obstacle, facts))
            .map(ToString::to_string)
            .collect();
        if obstacles.is_empty() { Ok(()) } else { Err(format!("etcd does not bear it now: {}", obstacles.join("; "))) }
    }
}

fn machine(gone: bool) -> Machine {
    if gone { Machine::DeclaredGone } else { Machine::AsSeen }
}

impl Guard {
    /// The host whose facts decide; `None` where etcd's do.
    pub fn host(&self) -> Option<&HostName> {
        match self {
            Self::SameMachine { host, .. }
            | Self::NoForeignEtcdData { host, .. }
            | Self::NoOtherCluster { host, .. }
            | Self::OfCluster { host, .. } => Some(host),
            Self::EtcdBears { .. } => None,
        }
    }

    /// Whether it holds on these facts before a step that was begun already: what the step itself may have caused is no reason
    /// against doing it to its end.
    ///
    /// # Errors
    /// A sentence that says why not.
    pub fn check_again(&self, facts: &Facts) -> Result<(), String> {
        match self {
            Self::EtcdBears { change } if change.may_have_caused(&facts.etcd) => Ok(()),
            _ => self.check(facts),
        }
    }

    /// Whether it holds on these facts.
    ///
    /// # Errors
    /// A sentence that says why not.
    pub fn check(&self, facts: &Facts) -> Result<(), String> {
        if let Self::EtcdBears { change } = self {
            return match &facts.etcd {
                Fact::Known { value, .. } => change.is_borne(value),
                Fact::Absent => Err("nobody asked etcd".to_owned()),
                Fact::Unreadable { why, .. } => Err(format!("etcd cannot be asked: {why}")),
            };
        }
        let nobody = HostFacts::default();
        self.check_host(self.host().and_then(|host| facts.host(host)).unwrap_or(&nobody))
    }

    fn check_host(&self, facts: &HostFacts) -> Result<(), String> {
        match self {
            Self::EtcdBears { .. } => Ok(()),
            Self::SameMachine { host, machine_id } => match facts.machine_id.known() {
                Some(now) if now == machine_id => Ok(()),
                Some(now) => Err(format!("{host} is another machine now: machine-id {now}, planned for {machine_id}")),
                None => Err(format!("the machine-id of {host} cannot be read")),
            },
            Self::NoForeignEtcdData { host, initial_cluster_token } => match &facts.etcd_data {
                Fact::Known { value: false, .. } | Fact::Absent => Ok(()),
                Fact::Known { value: true, .. } => match &facts.etcd_token {
                    Fact::Known { value, .. } if value == initial_cluster_token => Ok(()),
                    Fact::Known { .. } => Err(format!("{host} holds the data of another etcd in /var/lib/etcd")),
                    Fact::Absent => {
                        Err(format!("{host} holds etcd data in /var/lib/etcd and no manifest says whose it is"))
                    }
                    Fact::Unreadable { why, .. } => {
                        Err(format!("{host} holds etcd data in /var/lib/etcd and whose it is cannot be read: {why}"))
                    }
                },
                Fact::Unreadable { why, .. } => Err(format!("whether {host} holds etcd data cannot be read: {why}")),
            },
            Self::NoOtherCluster { host, cluster, operation } => match ours(host, facts, cluster)? {
                Some(record) if &record.operation != operation => {
                    Err(format!("{host} was claimed by operation {}", record.operation))
                }
                _ => Ok(()),
            },
            Self::OfCluster { host, cluster } => ours(host, facts, cluster).map(drop),
        }
    }
}

/// The record of that cluster, where the host has one; why not, where it is another's or nobody can tell.
fn ours<'f>(host: &HostName, facts: &'f HostFacts, cluster: &str) -> Result<Option<&'f HostRecord>, String> {
    match facts.membership(cluster) {
        Membership::Part(record) | Membership::Claimed(record) => Ok(Some(record)),
        Membership::OfAnother(record) => Err(format!("{host} belongs to cluster {}", record.cluster)),
        Membership::Unclear(why) => Err(format!("whose {host} is cannot be read from {}: {why}", HostRecord::PATH)),
        Membership::Silent(_) | Membership::Foreign | Membership::Bare => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn known<T>(value: T) -> Fact<T> {
        Fact::Known { value, at: Timestamp::UNIX_EPOCH }
    }

    fn etcd(data: Fact<bool>, token: Fact<String>) -> Result<(), String> {
        let guard = Guard::NoForeignEtcdData { host: "cp1".into(), initial_cluster_token: "ours".into() };
        guard.check_host(&HostFacts { etcd_data: data, etcd_token: token, ..HostFacts::default() })
    }

    fn record(record: Fact<HostRecord>) -> Result<(), String> {
        let guard = Guard::NoOtherCluster { host: "cp1".into(), cluster: "lab".into(), operation: "7f3a".into() };
        guard.check_host(&HostFacts { record, ..HostFacts::default() })
    }

    fn of(cluster: &str, operation: &str) -> Fact<HostRecord> {
        let (cluster, operation) = (cluster.into(), operation.into());
        known(HostRecord { cluster, operation, roles: Vec::new(), settled: false })
    }

    #[test]
    fn etcd_data_is_ours_or_certainly_not_there() {
        assert_eq!(etcd(known(false), Fact::Absent), Ok(()));
        assert_eq!(etcd(Fact::Absent, Fact::Absent), Ok(()));
        assert_eq!(etcd(known(true), known("ours".to_owned())), Ok(()));
        assert!(etcd(known(true), known("theirs".to_owned())).is_err());
        assert!(etcd(known(true), Fact::Absent).is_err());
        assert!(etcd(known(true), Fact::unreadable("no permission")).unwrap_err().contains("no permission"));
        assert!(etcd(Fact::unreadable("I/O error"), Fact::Absent).unwrap_err().contains("I/O error"));
    }

    #[test]
    fn a_record_is_ours_or_certainly_not_there() {
        assert_eq!(record(Fact::Absent), Ok(()));
        assert_eq!(record(of("lab", "7f3a")), Ok(()));
        assert!(record(of("other", "7f3a")).is_err());
        assert!(record(of("lab", "beef")).is_err());
        assert!(record(Fact::unreadable("`{` is not a value of its kind")).is_err());
        assert!(record(Fact::default()).is_err(), "nobody looked");
    }
}
