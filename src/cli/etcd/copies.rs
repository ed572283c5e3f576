//! `kubewright etcd copies`: the copies that there are.

use kubewright_core::etcd::address::StoreAddress;
use serde_json::json;

use super::snapshot::by_default;
use super::stores::Endpoint;
use crate::cli::options::OfSpec;
use crate::cli::world::World;
use crate::error::{Error, ExitCode};
use crate::report::{self, Paint, saving};
use crate::store::copies::Copies;

/// List the copies of a cluster's etcd
///
/// Only manifests are read. Proved are those whose contents a majority of the members held.
#[derive(Debug, clap::Args)]
pub struct List {
    /// The folder or bucket (s3://BUCKET/PREFIX); by default the spec's, else one in kubewright's state
    #[arg(value_name = "STORE")]
    store: Option<StoreAddress>,
    #[command(flatten)]
    of: OfSpec,
    #[command(flatten)]
    endpoint: Endpoint,
}

impl List {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        let spec = world.load(&self.of.file)?.spec;
        let store = by_default(self.store, &spec.backup, world);
        let access = self.endpoint.under(&spec.backup);
        let listed = Copies::look(&store, &spec.name, &access).await?;
        let place = store.below(&spec.name);
        if world.json {
            let copies = listed.manifests.iter().map(|(name, manifest)| {
                json!({
                    "copy": place.below(name).to_string(),
                    "verified": manifest.attestation.is_proved(),
                    "manifest": manifest,
                })
            });
            let strange = listed.unreadable.iter().map(|(name, why)| json!({ "name": name, "why": why }));
            report::print_json(&json!({
                "event": "copies",
                "store": place.to_string(),
                "copies": copies.collect::<Vec<_>>(),
                "unreadable": strange.collect::<Vec<_>>(),
            }))?;
        } else {
            report::print(&saving::listed(&place.to_string(), &listed, world.clock.now(), Paint::stdout()))?;
        }
        Ok(ExitCode::Done)
    }
}
