//! A finished cluster of hosts in memory, and how long it takes to see that nothing is to be done.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kubewright::cli::planning::{plan_on, see};
use kubewright::cli::world::Loaded;
use kubewright::host::fake::FakeHosts;
use kubewright::ports::{Clock, Hosts, SystemClock};
use kubewright::render;
use kubewright_core::facts::HostRecord;
use kubewright_core::finding::{Severity, worst};
use kubewright_core::pins::{Pinned, Pins};
use kubewright_core::plan::{EtcdStart, hex};
use kubewright_core::planner::{Outcome, Request};
use kubewright_core::spec::Spec;
use kubewright_manifests::{Arch, artefacts};
use sha2::{Digest, Sha256};
use xtask::bench::{Spread, rounded};

use super::{Fakes, most_per_round};
use crate::memory;

/// Measures on so many hosts.
///
/// # Errors
/// The cluster does not count as finished: then something else would be measured.
pub async fn measure(hosts: usize, delay: Duration, rounds: usize) -> Result<Fakes> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("cluster.yaml");
    fs::write(&file, spec(hosts))?;
    let loaded = load(&file)?;
    let fakes = finished(&loaded.spec).await?.delay(delay);
    let (hosts_port, clock): (Arc<dyn Hosts>, Arc<dyn Clock>) = (Arc::new(fakes.clone()), Arc::new(SystemClock));

    let before = memory::own()?.resident;
    memory::forget_peak()?;
    let mut facts = Vec::new();
    for _ in 0..rounds {
        let began = Instant::now();
        let seen = see(&loaded.spec, &hosts_port, &clock, Some(&Pins::default())).await;
        facts.push(began.elapsed().as_secs_f64());
        let known = seen.hosts.values().filter(|fact| fact.known().is_some()).count();
        if known < hosts {
            bail!("only {known} of {hosts} hosts told their facts");
        }
    }
    let trips = |name| fakes.round_trips(name) as u64;
    let asked: Vec<u64> = loaded.spec.hosts.iter().map(|host| trips(host.name.clone())).collect();
    let mut nothing = Vec::new();
    for _ in 0..rounds {
        let began = Instant::now();
        let planned = plan_on(&file, load(&file)?, hosts_port.clone(), &clock, &Request::Apply { only: None }).await;
        let outcome = planned.map_err(|error| anyhow::anyhow!("{error}"))?.outcome;
        nothing.push(began.elapsed().as_secs_f64());
        if !matches!(outcome, Outcome::Nothing { .. }) {
            bail!("the cluster does not count as finished: {}", told(&outcome));
        }
    }
    let asked = loaded.spec.hosts.iter().zip(asked).map(|(host, before)| trips(host.name.clone()) - before);
    Ok(Fakes {
        hosts,
        delay_ms: delay.as_secs_f64() * 1000.0,
        facts_s: Spread::of(facts)?,
        noop_apply_s: Spread::of(nothing)?,
        round_trips_per_host: most_per_round(asked, rounds),
        rss_before_mb: rounded(before),
        peak_rss_mb: rounded(memory::own()?.peak),
    })
}

/// A spec file as the program reads it.
///
/// # Errors
/// It does not validate.
pub fn load(file: &Path) -> Result<Loaded> {
    Loaded::read(file).map_err(|error| anyhow::anyhow!("{error}"))
}

/// The text of a spec with three control planes and for the rest workers.
pub fn spec(hosts: usize) -> String {
    let mut text = String::from(
        "apiVersion: kubewright.dev/v1alpha1\nkind: Cluster\nmetadata: {name: wide}\nspec:\n  kubernetes: {version: 1.35.4}\n  \
         endpoint: {mode: nodeLocal}\n  ssh: {user: root}\n  hosts:\n",
    );
    for number in 0..hosts {
        let (high, low) = (number / 250, number % 250 + 1);
        let (name, roles) = if number < 3 { ("cp", "controlPlane, etcd") } else { ("w", "worker") };
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "  - {{name: {name}{}, address: 10.20.{high}.{low}, roles: [{roles}]}}", number + 1);
    }
    text
}

/// Hosts that carry what the spec comes to, as a finished bootstrap leaves them.
async fn finished(spec: &Spec) -> Result<FakeHosts> {
    let fakes = FakeHosts::new(spec.hosts.iter().map(|host| host.name.clone()));
    let published = published(spec);
    for host in &spec.hosts {
        fakes.state(host.name.clone(), &published);
    }
    let (hosts, clock): (Arc<dyn Hosts>, Arc<dyn Clock>) = (Arc::new(fakes.clone()), Arc::new(SystemClock));
    let facts = see(spec, &hosts, &clock, Some(&Pins::default())).await;
    let render::Rendered { desired, findings, .. } = render::desired(spec, &facts, &Pinned::default(), "cluster.yaml");
    if worst(&findings) == Some(Severity::Blocks) {
        bail!("the fakes lack something: {findings:?}");
    }
    let etcd = EtcdStart::first(spec, "wide-0123");
    for host in &spec.hosts {
        let name = &host.name;
        let (seen, desired) = facts.host(name).zip(desired.hosts.get(name)).context("a host without facts")?;
        for file in render::preparation_files(spec).into_iter().chain(render::node_files(spec, host, &etcd, seen)) {
            fakes.put_file(name.clone(), &file.path, file.mode, file.contents);
        }
        let operation = "7f3a9c".into();
        let record = HostRecord { cluster: spec.name.clone(), operation, roles: host.roles.clone(), settled: true };
        fakes.put_file(name.clone(), HostRecord::PATH, 0o644, serde_json::to_vec(&record)?);
        let mut runs =
            String::from("= unit/kubelet active running enabled\n= unit/containerd active running enabled\n");
        for artefact in &desired.preparation.artefacts {
            let _ = writeln!(runs, "+ artefact {} {}", artefact.sha256, artefact.name);
        }
        fakes.state(name.clone(), &runs);
    }
    Ok(fakes)
}

/// What mirrors and registries say, stated with each host's facts.
fn published(spec: &Spec) -> String {
    let questions = render::questions(spec, Arch::Amd64, Some(&Pins::default()));
    let mut text = String::new();
    for url in questions.checksums.iter().map(|question| &question.url) {
        let _ = writeln!(text, "+ checksum/{url} {}\n. checksum/{url}", checksum(spec, url));
    }
    for image in &questions.images {
        let digest = hex(&Sha256::digest(&image.reference));
        let _ = writeln!(text, "= image-digest/{0} sha256:{digest}\n+ image sha256:{digest} {0}", image.reference);
    }
    text
}

/// The text behind a checksum address, in the form that names the file: it is read wherever the digest alone is.
pub fn checksum(spec: &Spec, url: &str) -> String {
    let mut binaries = spec.hosts.iter().flat_map(|host| artefacts::binaries(spec, host, Arch::Amd64));
    let file = binaries.find(|artefact| artefact.checksum.url == url).map(|artefact| artefact.file_name().to_owned());
    format!("{}  {}", hex(&Sha256::digest(url)), file.unwrap_or_default())
}

/// Why something is to be done after all, in as few words as may be.
fn told(outcome: &Outcome) -> String {
    let mut text = match outcome {
        Outcome::Nothing { .. } => return String::new(),
        Outcome::Blocked { findings } => format!("{findings:?}"),
        Outcome::Plan(plan) => format!("a plan of {} steps; {:?}", plan.steps.len(), plan.findings),
    };
    let end = text.char_indices().nth(2000).map_or(text.len(), |(at, _)| at);
    text.truncate(end);
    text
}
