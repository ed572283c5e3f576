//! `kubewright etcd schedule`: hosts that take copies of etcd by themselves.

use kubewright_core::etcd::address::StoreAddress;
use kubewright_core::etcd::schedule::{Every, Schedule};
use kubewright_core::planner;
use kubewright_core::spec::Backup;
use kubewright_manifests::backup::{BACKUP_DIR, ENVIRONMENT};
use serde_json::json;

use super::change::{Wanted, Words};
use crate::cli::options::OfSpec;
use crate::cli::world::World;
use crate::error::{Error, ExitCode};
use crate::exec::schedule::look;
use crate::report::{self, Paint, saving};

/// How many copies are kept unless it is said: a week of one every six hours.
const KEEP: u32 = 28;

/// Have the hosts take copies of etcd by themselves
///
/// Each host with a member gets kubewright, the spec and a timer of systemd. It takes copies as `etcd snapshot` does, from the best member, proved
/// by a majority of them, reaching them by the cluster's own network: no host logs in to another. Into a bucket one host copies, and the next one only
/// where that did not come about; with a folder each host keeps copies of its own.
///
/// Without --every and --remove it tells how it goes.
#[derive(Debug, clap::Args)]
pub struct ScheduleCopies {
    #[command(flatten)]
    wanted: Wanted,
    /// How often: 6h, 90m, 1d
    #[arg(long, value_name = "PERIOD", conflicts_with = "remove")]
    every: Option<Every>,
    /// The folder on each host, or the bucket (s3://BUCKET/PREFIX); by default the spec's, else a folder in kubewright's state there
    #[arg(long, value_name = "STORE", requires = "every")]
    to: Option<StoreAddress>,
    /// How many copies are kept, and as many proved ones; by default the spec's number, else 28
    #[arg(long, value_name = "NUMBER", requires = "every", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
    /// Stop it; copies stay
    #[arg(long)]
    remove: bool,
}

impl ScheduleCopies {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        let question = "whether to do this";
        if self.remove {
            let words = Words { command: "schedule --remove".to_owned(), question, already: "no host takes copies" };
            return self.wanted.carry_out_without_etcd(world, words, |asked| planner::unschedule(asked.input)).await;
        }
        let Some(every) = self.every else { return tell(world, self.wanted.of()).await };
        let loaded = world.load(&self.wanted.of().file)?;
        let schedule = schedule(every, self.to, self.keep, &loaded.spec.backup);
        if schedule.to.is_bucket() {
            report::note(&format!(
                "the hosts need credentials for {}: in {ENVIRONMENT} on each (AWS_ACCESS_KEY_ID=…), unless their machines have a role",
                schedule.to
            ));
        }
        let Schedule { to, keep, .. } = &schedule;
        let command = format!("schedule --every '{every}' --to {to} --keep {keep}");
        let words = Words { command, question, already: "every host does it already" };
        let text = loaded.source.text().to_owned();
        self.wanted.carry_out_without_etcd(world, words, |asked| planner::schedule(asked.input, &schedule, &text)).await
    }
}

/// What is meant: the command line's, else the spec's.
fn schedule(every: Every, to: Option<StoreAddress>, keep: Option<u32>, backup: &Backup) -> Schedule {
    let folder = || StoreAddress::Folder(format!("{BACKUP_DIR}/copies"));
    Schedule {
        every,
        to: to.or_else(|| backup.to.clone()).unwrap_or_else(folder),
        keep: keep.or(backup.keep.map(u32::from)).unwrap_or(KEEP),
    }
}

/// Tells of each host with a member.
async fn tell(world: &World, of: &OfSpec) -> Result<ExitCode, Error> {
    let (spec, hosts) = of.open(world)?;
    let told = look(&spec, hosts.as_ref()).await;
    if world.json {
        let hosts = told.iter().map(|(host, goes)| match goes {
            Ok(goes) => json!({ "host": host, "goes": goes }),
            Err(error) => json!({ "host": host, "silent": error.to_string() }),
        });
        report::print_json(&json!({ "event": "schedule", "hosts": hosts.collect::<Vec<_>>() }))?;
    } else {
        report::print(&saving::scheduled(&told, Paint::stdout()))?;
    }
    Ok(ExitCode::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_wins_over_the_spec_and_the_spec_over_what_we_would_do() {
        let every: Every = "6h".parse().unwrap();
        let ours = schedule(every, None, None, &Backup::default());
        assert_eq!((ours.to.to_string().as_str(), ours.keep), ("/var/lib/kubewright/backup/copies", 28));
        let backup = Backup { to: "s3://a-bucket".parse().ok(), keep: 7.try_into().ok(), ..Backup::default() };
        let theirs = schedule(every, None, None, &backup);
        assert_eq!((theirs.to.to_string().as_str(), theirs.keep), ("s3://a-bucket", 7));
        let said = schedule(every, Some("/copies".parse().unwrap()), Some(2), &backup);
        assert_eq!((said.to.to_string().as_str(), said.keep), ("/copies", 2));
    }
}
