//! `kubewright etcd status`: how each member is, what may be lost now, what to do next.

use kubewright_core::etcd::status::{Seen, assess};

use super::{Cluster, holders, no_member_answers, stores};
use crate::cli::options::OfSpec;
use crate::cli::world::World;
use crate::error::{Error, ExitCode};
use crate::etcd::contents;
use crate::facts::certificates;
use crate::ports::EtcdApi;
use crate::report::{self, Paint, etcd as drawn};

/// Show how etcd is: every member, what may be lost now, what to do next
///
/// Every member is asked at its own endpoint, all at once, so that it works without a majority and with members that are down, slow or out of
/// reach. Their contents are compared at one revision, and the store of copies is asked when the last proved one was taken. Nothing is changed. Ends with 5 where something has to be mended before etcd can be
/// relied on.
#[derive(Debug, clap::Args)]
pub struct Status {
    #[command(flatten)]
    of: OfSpec,
}

impl Status {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        let Cluster { spec, hosts, etcd } = Cluster::open(world, &self.of).await?;
        let names = holders(&spec);
        let certificates = certificates::read(hosts.as_ref(), &spec.name, &names, &certificates::OF_ETCD);
        let (facts, certificates, copies) = tokio::join!(etcd.observe(), certificates, stores::copies(world, &spec));
        let facts = facts.map_err(|error| no_member_answers(error, &self.of))?;
        let agreement = contents::compare(&etcd, &facts).await;
        let status = assess(&Seen {
            cluster: &spec.name,
            file: &self.of.file.to_string_lossy(),
            facts: &facts,
            agreement: agreement.as_ref(),
            certificates: &certificates,
            copies: Some(&copies),
            now: world.clock.now(),
        });
        if world.json {
            report::print_json(&status)?;
        } else {
            report::print(&drawn::status(&status, world.clock.now(), Paint::stdout()))?;
        }
        Ok(if status.is_broken() { ExitCode::Blocked } else { ExitCode::Done })
    }
}
