//! What commands have in common that read or write a store of copies.

use std::time::Duration;

use kubewright_core::etcd::status::CopiesSeen;
use kubewright_core::spec::{Backup, Spec};

use super::snapshot::by_default;
use crate::cli::world::World;
use crate::error::Error;
use crate::store::copies::Copies;
use crate::store::objects::Access;

/// How long a store is asked for its copies. A command that only looks must not wait for a bucket that is out of reach.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a bucket is. Who we are to it, the AWS environment or profile says.
#[derive(Debug, clap::Args)]
pub(super) struct Endpoint {
    /// The bucket's server, where it is not AWS: MinIO, Ceph, Garage, …
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    endpoint: Option<String>,
}

impl Endpoint {
    /// Without a spec.
    pub(super) fn access(&self) -> Access {
        self.under(&Backup::default())
    }

    /// With a spec, which holds where the command line says nothing.
    pub(super) fn under(&self, backup: &Backup) -> Access {
        Access::of(backup, self.endpoint.clone())
    }
}

fn endpoint(text: &str) -> Result<String, String> {
    match text.starts_with("http://") || text.starts_with("https://") {
        true if text.contains('@') => Err("a user and password do not belong on the command line".to_owned()),
        true => Ok(text.to_owned()),
        false => Err("it begins with http:// or https://".to_owned()),
    }
}

/// Waits for it, in a command that has nothing else to do and works without a home.
pub(super) fn at_once<T>(work: impl Future<Output = T>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::internal(format!("no threads to work with: {error}")))?;
    Ok(runtime.block_on(work))
}

/// What the spec's store holds, or the folder in our state.
pub(in crate::cli) async fn copies(world: &World, spec: &Spec) -> CopiesSeen {
    let store = by_default(None, &spec.backup, world);
    let access = Access::of(&spec.backup, None);
    let listed = tokio::time::timeout(PATIENCE, Copies::look(&store, &spec.name, &access)).await;
    let listed = match listed {
        Ok(listed) => listed.map(|listed| listed.copies()).map_err(|error| error.said),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    };
    CopiesSeen::of(store.below(&spec.name).to_string(), listed.as_deref().map_err(Clone::clone))
}
