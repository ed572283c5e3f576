//! `kubewright etcd status`: how each member is, what may be lost now, what to do next.

use std::path::PathBuf;

use kubewright_core::etcd::status::{Seen, assess};
use kubewright_core::spec::Role;

use super::{Cluster, no_member_answers};
use crate::cli::world::World;
use crate::error::{Error, ExitCode};
use crate::etcd::{certificates, contents};
use crate::ports::EtcdApi;
use crate::report::{self, Paint, etcd as drawn};

/// Show how etcd is: every member, what may be lost now, what to do next
///
/// Every member is asked at its own endpoint, all at once, so that it works without a majority and with members that are down, slow or out of
/// reach. Their contents are compared at one revision. Nothing is changed. Ends with 5 where something has to be mended before etcd can be
/// relied on.
#[derive(Debug, clap::Args)]
pub struct Status {
    /// The spec
    #[arg(long, short, default_value = "cluster.yaml")]
    file: PathBuf,
}

impl Status {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        let Cluster { spec, hosts, etcd } = Cluster::open(world, &self.file).await?;
        let names = spec.hosts.iter().filter(|host| host.is(Role::Etcd) || host.is(Role::ControlPlane));
        let names: Vec<_> = names.map(|host| host.name.clone()).collect();
        let (facts, certificates) =
            tokio::join!(etcd.observe(), certificates::read(hosts.as_ref(), &spec.name, &names));
        let facts = facts.map_err(|error| no_member_answers(error, &self.file))?;
        let agreement = contents::compare(&etcd, &facts).await;
        let status = assess(&Seen {
            cluster: &spec.name,
            file: &self.file.to_string_lossy(),
            facts: &facts,
            agreement: agreement.as_ref(),
            certificates: &certificates,
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
