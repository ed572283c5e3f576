//! `kubewright etcd snapshot`: a copy of etcd that is proved to be good.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kubewright_core::etcd::address::StoreAddress;
use kubewright_core::etcd::retention::young;
use kubewright_core::etcd::schedule::Every;
use kubewright_core::facts::etcd::EtcdFacts;
use kubewright_core::ids::HostName;
use kubewright_core::quorum::View;
use kubewright_core::spec::{Backup, Compression, Role, Spec};
use serde_json::json;

use super::stores::Endpoint;
use super::{Cluster, holders, no_member_answers};
use crate::backup::companions::{self, Companions};
use crate::backup::sealing::Recipients;
use crate::backup::{self, Order};
use crate::cli::kubeconfig::admin_api;
use crate::cli::options::OfSpec;
use crate::cli::world::{World, text};
use crate::error::{Error, ErrorKind, ExitCode};
use crate::exec::cancel::Cancel;
use crate::host::here::Here;
use crate::ports::{EtcdApi, Hosts};
use crate::report::{self, Paint, saving};
use crate::store::copies::{Copies, CopiesError};

/// How long the API is asked for kubeadm's record: past one API server that stays silent or answers for a stopped etcd
/// (10 s), so that another is asked. It is worth no more: the data has it too.
const PATIENCE: Duration = Duration::from_secs(15);

/// Save etcd: a snapshot of the best member, proved to be what the cluster holds
///
/// It is hashed while it comes, every page of it is read, and its contents are compared with those of the other members at its
/// revision; only then it gets its name. Beside it are kept its manifest, the control planes' static pods and kubeadm's configuration. The
/// store holds every secret of the cluster. Works without a majority: the best survivor's data is saved, and said to be unproved.
///
/// What is left out here, the spec's `backup` says. Credentials for a bucket are those of the AWS environment or profile (AWS_PROFILE,
/// AWS_ACCESS_KEY_ID, …).
#[derive(Debug, clap::Args)]
pub struct Take {
    #[command(flatten)]
    of: OfSpec,
    /// The folder for copies, or the bucket (s3://BUCKET/PREFIX); by default the spec's, else a folder in kubewright's state
    #[arg(long, value_name = "STORE")]
    to: Option<StoreAddress>,
    #[command(flatten)]
    endpoint: Endpoint,
    /// We run on this host of the cluster: the others are reached by its network, and nobody is logged in to
    #[arg(long, value_name = "HOST")]
    here: Option<HostName>,
    /// Take none where the store has a proved one that is younger
    #[arg(long, value_name = "PERIOD")]
    unless_younger: Option<Every>,
    /// Take it from the member on this host, and not from the best one
    #[arg(long, value_name = "HOST")]
    from: Option<HostName>,
    /// How the snapshot is packed; by default not in a folder, where etcdutl then takes it as it is, and with zstd in a bucket
    #[arg(long, value_name = "HOW", value_enum)]
    compress: Option<Packing>,
    /// Then remove older copies but so many; the last ones that are proved always stay
    #[arg(long, value_name = "NUMBER")]
    keep: Option<NonZeroUsize>,
    /// Keep the cluster's authorities and keys beside it, encrypted with age for the recipients
    #[arg(long)]
    with_pki: bool,
    /// A public key of age that keys are encrypted for (age1…); may be repeated
    #[arg(long, value_name = "KEY", requires = "with_pki")]
    recipient: Vec<String>,
    /// A file with such keys, one on a line
    #[arg(long, value_name = "FILE", requires = "with_pki")]
    recipients_file: Option<PathBuf>,
}

/// How a snapshot is packed.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Packing {
    None,
    Zstd,
}

impl Take {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        let spec = world.load(&self.of.file)?.spec;
        if let Some(from) =
            self.from.as_ref().filter(|from| !spec.with_role(Role::Etcd).any(|host| host.name == **from))
        {
            return Err(Error::usage(format!("--from {from}: the spec has no host of that name with role etcd")));
        }
        let recipients = self.recipients(&spec.backup)?;
        let store = by_default(self.to, &spec.backup, world);
        let compress = match (self.compress, spec.backup.compress) {
            (Some(Packing::None), _) => Compression::None,
            (Some(Packing::Zstd), _) => Compression::Zstd,
            (None, Some(compress)) => compress,
            // What has to be fetched before it is of use is better small; what lies here is better as etcd's own tools take it.
            (None, None) if store.is_bucket() => Compression::Zstd,
            (None, None) => Compression::None,
        };
        let keep = self.keep.or_else(|| spec.backup.keep.and_then(|keep| NonZeroUsize::try_from(keep).ok()));
        // Before anybody is asked: a store that does not take copies is known at once.
        let copies = Copies::open(&store, &spec.name, &world.scratch, &self.endpoint.under(&spec.backup)).await?;
        if let Some(within) = self.unless_younger
            && let Some(copy) = young(&copies.list().await?.copies(), within.whole(), world.clock.now())
        {
            return needless(world, &store.below(&spec.name).below(&copy.name), copy.taken);
        }
        let hosts = way(world, &spec, self.here.as_ref())?;
        let Cluster { spec, hosts, etcd } = Cluster::over(world, spec, hosts).await?;
        let facts = etcd.observe().await.map_err(|error| no_member_answers(error, &self.of))?;
        let progress = saving::Progress::new(world.json);
        let order = Order {
            cluster: &spec.name,
            etcd: &etcd,
            from: self.from.as_ref(),
            copies: &copies,
            compress,
            clock: world.clock.as_ref(),
            progress: &|doing| progress.tell(doing),
        };
        let began = std::time::Instant::now();
        let cancel = Cancel::default();
        cancel.on_signals();
        let taken = tokio::select! {
            taken = backup::take(order, &facts, beside(&spec, &hosts, &facts, recipients.as_ref())) => taken,
            () = cancel.stopping() => Err(stopped(copies.give_up().await)),
        };
        progress.end();
        let mut taken = taken?;
        let removed = match keep {
            Some(keep) => {
                let (removed, findings) = backup::prune(&copies, keep).await?;
                taken.findings.extend(findings);
                removed
            }
            None => Vec::new(),
        };
        if world.json {
            report::print_json(&json!({
                "event": "saved",
                "copy": taken.place.to_string(),
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

impl Take {
    /// Whom keys are to be encrypted for, where they are wanted: the command line's, else the spec's.
    fn recipients(&self, backup: &Backup) -> Result<Option<Recipients>, Error> {
        let listed = self.recipients_file.as_ref().map(|path| text(path)).transpose()?;
        let listed = listed.as_deref().map(Recipients::lines).into_iter().flatten();
        let mut all: Vec<&str> = self.recipient.iter().map(String::as_str).chain(listed).collect();
        if all.is_empty() {
            all = backup.recipients.iter().map(String::as_str).collect();
        }
        if all.is_empty() && !self.with_pki {
            return Ok(None);
        }
        Recipients::parse(all).map(Some).map_err(|why| {
            Error::usage(why).safe("nothing was contacted").next(
                "name whom keys are encrypted for: --recipient age1…; age-keygen -o identity.txt makes such a key",
            )
        })
    }
}

/// The store that is meant: the command line's, the spec's, or the folder in our state.
pub(super) fn by_default(said: Option<StoreAddress>, backup: &Backup, world: &World) -> StoreAddress {
    said.or_else(|| backup.to.clone()).unwrap_or_else(|| StoreAddress::Folder(world.snapshots.display().to_string()))
}

/// The way to the hosts: over SSH, or, where we are one of them, as that one sees the others.
fn way(world: &World, spec: &Spec, here: Option<&HostName>) -> Result<Arc<dyn Hosts>, Error> {
    let Some(here) = here else { return world.connect(spec) };
    let none = || Error::usage(format!("--here {here}: the spec has no host of that name"));
    Ok(Arc::new(Here::of(spec, here).ok_or_else(none)?))
}

/// What is told where the store has a copy that is young enough.
fn needless(world: &World, copy: &StoreAddress, taken: Timestamp) -> Result<ExitCode, Error> {
    if world.json {
        let said = json!({ "event": "nothingToDo", "copy": copy.to_string(), "taken": taken });
        report::print_json(&said)?;
    } else {
        report::print(&format!("{copy} is proved, and was taken at {taken}; nothing to do.\n"))?;
    }
    Ok(ExitCode::NothingToDo)
}

fn stopped(left: Option<CopiesError>) -> Error {
    let error = Error::new(ErrorKind::Stopped, "STOPPED", "stopped before the copy was whole")
        .safe("no half copy is left; earlier copies are as they were");
    match left {
        None => error,
        Some(left) => {
            error.safe(format!("what was sent of it could not all be taken back ({left}); it counts as no copy"))
        }
    }
}

/// What is kept beside the snapshot. The API is not waited for where etcd has no majority.
async fn beside(spec: &Spec, hosts: &Arc<dyn Hosts>, facts: &EtcdFacts, recipients: Option<&Recipients>) -> Companions {
    let names = holders(spec);
    let config = async {
        if View::of(facts).has_quorum() {
            kubeadm_config(spec, hosts).await
        } else {
            Err("no API server answers without etcd's majority; the snapshot has it".to_owned())
        }
    };
    let (mut found, config) =
        tokio::join!(companions::of_hosts(hosts.as_ref(), &spec.name, &names, recipients), config);
    match config {
        Ok(config) => {
            found.files.insert("companions/kubeadm-config.yaml".to_owned(), config);
        }
        Err(why) => found.missing.push(format!("kubeadm-config: {why}")),
    }
    found
}

async fn kubeadm_config(spec: &Spec, hosts: &Arc<dyn Hosts>) -> Result<Vec<u8>, String> {
    let api = admin_api(spec, hosts).await.map_err(|error| error.to_string())?;
    companions::kubeadm_config(&api.patience(PATIENCE)).await
}
