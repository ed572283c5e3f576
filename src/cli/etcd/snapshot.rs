//! `kubewright etcd snapshot`: a copy of etcd that is proved to be good.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kubewright_core::facts::etcd::EtcdFacts;
use kubewright_core::ids::HostName;
use kubewright_core::quorum::View;
use kubewright_core::spec::{Role, Spec};
use secrecy::ExposeSecret;
use serde_json::json;

use super::{Cluster, no_member_answers};
use crate::backup::companions::{self, Companions};
use crate::backup::{self, Order};
use crate::cli::kubeconfig::admin_conf;
use crate::cli::world::World;
use crate::error::{Error, ErrorKind, ExitCode};
use crate::exec::cancel::Cancel;
use crate::kube::{ClusterApi, Credentials};
use crate::ports::{EtcdApi, Hosts};
use crate::report::{self, Paint, saving};
use crate::store::copies::Copies;

/// How long the API is asked for kubeadm's record: past one API server that stays silent or answers for a stopped etcd
/// (10 s), so that another is asked. It is worth no more: the data has it too.
const PATIENCE: Duration = Duration::from_secs(15);

/// Save etcd: a snapshot of the best member, proved to be what the cluster holds
///
/// It is hashed while it comes, every page of it is read, and its contents are compared with those of the other members at its
/// revision; only then it gets its name. Beside it are kept its manifest, the control planes' static pods and kubeadm's configuration. The
/// folder holds every secret of the cluster. Works without a majority: the best survivor's data is saved, and said to be unproved.
#[derive(Debug, clap::Args)]
pub struct Take {
    /// The spec
    #[arg(long, short, default_value = "cluster.yaml")]
    file: PathBuf,
    /// The folder for copies; by default one in kubewright's state
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
    /// Take it from the member on this host, and not from the best one
    #[arg(long, value_name = "HOST")]
    from: Option<HostName>,
    /// Then remove older copies but so many; the last ones that are proved always stay
    #[arg(long, value_name = "NUMBER")]
    keep: Option<NonZeroUsize>,
}

impl Take {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        let spec = world.load(&self.file)?.spec;
        if let Some(from) =
            self.from.as_ref().filter(|from| !spec.with_role(Role::Etcd).any(|host| host.name == **from))
        {
            return Err(Error::usage(format!("--from {from}: the spec has no host of that name with role etcd")));
        }
        // Before anybody is asked: a folder that cannot be written is known at once.
        let folder = self.to.as_ref().unwrap_or(&world.snapshots);
        let copies = Copies::open(folder, &spec.name).map_err(|error| Error::io(folder, error))?;
        let Cluster { spec, hosts, etcd } = Cluster::open(world, &self.file).await?;
        let facts = etcd.observe().await.map_err(|error| no_member_answers(error, &self.file))?;
        let progress = saving::Progress::new(world.json);
        let order = Order {
            cluster: &spec.name,
            etcd: &etcd,
            from: self.from.as_ref(),
            copies: &copies,
            clock: world.clock.as_ref(),
            progress: &|doing| progress.tell(doing),
        };
        let began = std::time::Instant::now();
        let cancel = Cancel::default();
        cancel.on_signals();
        let taken = tokio::select! {
            taken = backup::take(order, &facts, beside(&spec, &hosts, &facts)) => taken,
            () = cancel.stopping() => Err(stopped()),
        };
        progress.end();
        let mut taken = taken?;
        let removed = match self.keep {
            Some(keep) => {
                let (removed, findings) = backup::prune(&copies, keep)?;
                taken.findings.extend(findings);
                removed
            }
            None => Vec::new(),
        };
        if world.json {
            report::print_json(&json!({
                "event": "saved",
                "folder": taken.path.display().to_string(),
                "verified": taken.manifest.attestation.is_proved(),
                "manifest": taken.manifest,
                "findings": taken.findings,
                "removed": removed,
            }))?;
        } else {
            report::print(&saving::saved(&taken, &removed, began.elapsed(), Paint::stdout()))?;
        }
        Ok(ExitCode::Done)
    }
}

fn stopped() -> Error {
    Error::new(ErrorKind::Stopped, "STOPPED", "stopped before the copy was whole")
        .safe("no half copy is left; earlier copies are as they were")
}

/// What is kept beside the snapshot. The API is not waited for where etcd has no majority.
async fn beside(spec: &Spec, hosts: &Arc<dyn Hosts>, facts: &EtcdFacts) -> Companions {
    let names = spec.hosts.iter().filter(|host| host.is(Role::ControlPlane) || host.is(Role::Etcd));
    let names: Vec<HostName> = names.map(|host| host.name.clone()).collect();
    let config = async {
        if View::of(facts).has_quorum() {
            kubeadm_config(spec, hosts).await
        } else {
            Err("no API server answers without etcd's majority; the snapshot has it".to_owned())
        }
    };
    let (mut found, config) = tokio::join!(companions::of_hosts(hosts.as_ref(), &spec.name, &names), config);
    match config {
        Ok(config) => {
            found.files.insert("companions/kubeadm-config.yaml".to_owned(), config);
        }
        Err(why) => found.missing.push(format!("kubeadm-config: {why}")),
    }
    found
}

async fn kubeadm_config(spec: &Spec, hosts: &Arc<dyn Hosts>) -> Result<Vec<u8>, String> {
    let admin = admin_conf(spec, hosts.as_ref()).await.map_err(|error| error.to_string())?;
    let credentials = Credentials::from_kubeconfig(admin.expose_secret()).map_err(|error| error.to_string())?;
    let api = ClusterApi::over_ssh(spec, hosts.clone(), &credentials).map_err(|error| error.to_string())?;
    companions::kubeadm_config(&api.patience(PATIENCE)).await
}
