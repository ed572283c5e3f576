//! `kubewright etcd member replace | add | remove`: who is a member of etcd, changed by a plan that is shown, asked about, and run by
//! the one executor.

use clap::Subcommand;
use kubewright_core::ids::HostName;
use kubewright_core::intent::MemberWork;
use kubewright_core::planner::members::change;

use super::change::{Wanted, Words};
use crate::cli::world::World;
use crate::error::{Error, ExitCode};

/// Change who is a member of etcd
///
/// Nothing is done that the others do not bear. A member that gives no answer is never taken for dead: to take it out needs a
/// consent, which says what may be lost.
#[derive(Debug, Subcommand)]
pub enum MemberCommand {
    Replace(Replace),
    Add(Add),
    Remove(Remove),
}

/// Replace a member whose data is lost or damaged
///
/// Its etcd ends, its data moves aside, it leaves the list and comes back as a learner that gets its data from the others; it has its vote
/// once it has caught up. In the end all members must be well and hold the same. The host's other pods go on; its own API server is away
/// meanwhile.
#[derive(Debug, clap::Args)]
pub struct Replace {
    /// The host whose member is meant
    #[arg(value_name = "HOST")]
    host: HostName,
    #[command(flatten)]
    wanted: Wanted,
}

/// Bring a member to a host of the cluster that has none
///
/// As after `member remove`, or after a replacement that was given up. A host that is no part of the cluster yet joins by `node add`,
/// with its member.
#[derive(Debug, clap::Args)]
pub struct Add {
    /// The host
    #[arg(value_name = "HOST")]
    host: HostName,
    #[command(flatten)]
    wanted: Wanted,
}

/// Take a member out of etcd
///
/// Such as one whose machine is gone for good, by its identity where no host of the spec has it. The control plane of a living host loses
/// its etcd with it and ends; its data is kept.
#[derive(Debug, clap::Args)]
pub struct Remove {
    /// The host whose member is meant, or the member's identity as `etcd status` shows it
    #[arg(value_name = "HOST|MEMBER")]
    member: String,
    #[command(flatten)]
    wanted: Wanted,
}

impl MemberCommand {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        let (wanted, work) = match self {
            Self::Replace(Replace { host, wanted }) => (wanted, MemberWork::Replace { host }),
            Self::Add(Add { host, wanted }) => (wanted, MemberWork::Add { host }),
            Self::Remove(Remove { member, wanted }) => (wanted, MemberWork::Remove { member }),
        };
        let already = match &work {
            MemberWork::Remove { .. } => "etcd has no such member, and nothing of one is left",
            MemberWork::Replace { .. } | MemberWork::Add { .. } => "it has a member that is well",
        };
        let command = format!("member {}", work.words());
        let words = Words { command, question: "whether to change etcd's members", already };
        wanted.carry_out(world, words, |asked| change(asked, &work)).await
    }
}
