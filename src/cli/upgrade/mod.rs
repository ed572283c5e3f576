//! `kubewright upgrade`: to another version of Kubernetes, one node after another.

mod items;
mod published;
mod questions;
mod sight;
#[cfg(test)]
mod tests;
mod wizard;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use kubewright_core::drain::Permission;
use kubewright_core::finding::Finding;
use kubewright_core::ids::HostName;
use kubewright_core::planner::Outcome;
use kubewright_core::skew;
use kubewright_core::spec::Spec;
use kubewright_core::version::{Minor, Version};

use self::sight::{Sight, Way, running, see};
use self::wizard::Wizard;
use super::approval::{consented, possible};
use super::options::{OfSpec, Patience};
use super::plan;
use super::world::{Loaded, World};
use crate::error::{Error, ExitCode};
use crate::ports::Hosts;
use crate::report::plan::Around;
use crate::report::{self, Paint};

/// Go over to another version of Kubernetes, one node after another
///
/// Control planes first, the one whose etcd leads last among them, then what the cluster itself holds, then workers. Each
/// node is emptied as by `node drain`, changed in one go, proved by what runs on it, and uncordoned; the workloads that had
/// pods there are whole again before the next begins in its place. A node that does not come up goes back to what it ran before, and
/// nothing else is begun. Programs and images come to the next nodes while one has its turn.
///
/// On a terminal, without --yes and --out, it asks what it cannot see: the version, consent to each finding that needs it, whether
/// to run the plan or to save it. Every answer is an option, and the command that does the same is printed. Until the last answer
/// nothing is changed.
#[derive(Debug, clap::Args)]
pub struct Upgrade {
    #[command(flatten)]
    of: OfSpec,
    /// The version to go to; it is written into the spec when the upgrade begins. Without it, the one that the spec says
    #[arg(long, value_name = "VERSION")]
    to: Option<Version>,
    /// A version on the way there, one of each minor between; may be repeated. Workers do not stop there. Where none is named, the
    /// newest that is published
    #[arg(long, value_name = "VERSION")]
    via: Vec<Version>,
    /// Leave a node with the version it has, as far as versions may differ; may be repeated
    #[arg(long, value_name = "NODE")]
    leave: Vec<String>,
    /// Save the plan for `kubewright apply PLAN` instead of running it
    #[arg(long, short = 'o', value_name = "FILE")]
    out: Option<PathBuf>,
    /// Ask before each node's turn but the first: continue, skip the node, look at logs, or stop
    #[arg(long, conflicts_with = "out")]
    pause: bool,
    #[command(flatten)]
    patience: Patience,
}

impl Upgrade {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        self.possible(world)?;
        let loaded = world.load(&self.of.file)?;
        // A name that is none is told before anything is contacted.
        self.left(&loaded.spec)?;
        let hosts = world.connect(&loaded.spec)?;
        if self.out.is_none() && !world.yes {
            return Wizard::new(world, self, loaded, hosts)?.run().await;
        }
        self.unasked(world, loaded, hosts).await
    }

    /// That whoever has to be asked is there.
    fn possible(&self, world: &World) -> Result<(), Error> {
        if self.pause && !world.is_interactive() {
            return Err(
                Error::usage("nobody can be asked here at a pause; nothing was contacted").next("leave out --pause")
            );
        }
        if self.out.is_some() {
            return Ok(());
        }
        let options = "--yes, and --to VERSION unless the spec says it";
        possible(
            world,
            world.yes,
            "which version to go to and whether to begin",
            options,
            "kubewright upgrade -o plan.json",
        )
    }

    /// Without questions: the plan is saved, or run by whoever said yes beforehand.
    async fn unasked(mut self, world: &World, loaded: Loaded, hosts: Arc<dyn Hosts>) -> Result<ExitCode, Error> {
        let began = Instant::now();
        let choices = self.patience.choices();
        let sight = self.look(world, &loaded, &hosts, choices.permissions()).await?;
        let plan = match sight.planned(&choices, &self.left(&loaded.spec)?)? {
            Outcome::Blocked { findings } => return Err(Error::blocked(findings)),
            Outcome::Nothing { findings } => {
                self.nothing(world, &loaded.spec, &findings)?;
                return Ok(ExitCode::NothingToDo);
            }
            Outcome::Plan(plan) => *plan,
        };
        let shown = |command: &str| {
            let around = Around { facts: Some(began.elapsed()), run: command, steps: false };
            report::print(&report::plan::text(&plan, &around, Paint::stdout()))
        };
        if let Some(path) = &self.out {
            let command = plan::save(&plan, path)?;
            if world.json {
                report::print_json(&plan)?
            } else {
                shown(&command)?
            }
            return Ok(ExitCode::ChangesPending);
        }
        if !world.json {
            shown(&self.command())?;
        }
        consented(&plan, &self.patience.agreed.consent)?;
        Wizard::go(world, self, loaded, sight, plan).await
    }

    /// Nodes that keep their version.
    fn left(&self, spec: &Spec) -> Result<BTreeSet<HostName>, Error> {
        self.leave.iter().map(|name| super::node::known(spec, name, &self.of)).collect()
    }

    /// Looks at what there is and at the way; finds the newest version of each minor between of which none was named.
    async fn look(
        &mut self,
        world: &World,
        loaded: &Loaded,
        hosts: &Arc<dyn Hosts>,
        permissions: Vec<Permission>,
    ) -> Result<Sight, Error> {
        let to = self.to.clone().unwrap_or_else(|| loaded.spec.kubernetes.version.clone());
        let left = self.left(&loaded.spec)?;
        let file = &self.of.file;
        let way = |via| Way { file, via, to: &to, left: &left, permissions: permissions.clone() };
        let sight = see(world, loaded, hosts, way(&self.via)).await?;
        let Some(from) = running(&sight.facts) else { return Ok(sight) };
        let named = |minor: &Minor| self.via.iter().any(|version| version.minor() == *minor);
        let missing: Vec<Minor> = skew::between(from, &to).filter(|minor| !named(minor)).collect();
        if missing.is_empty() {
            return Ok(sight);
        }
        let available = published::available(&loaded.spec, hosts, &missing).await;
        // Where nobody knows one, planning says that it is missing.
        let Ok(via) = available.between(from, &to, &self.via) else { return Ok(sight) };
        report::note(&format!("from {from} to {to} {}", published::taken(&available, &missing)));
        let sight = see(world, loaded, hosts, way(&via)).await?;
        self.via = via;
        Ok(sight)
    }

    fn nothing(&self, world: &World, spec: &Spec, findings: &[Finding]) -> Result<(), Error> {
        let version = self.to.as_ref().unwrap_or(&spec.kubernetes.version);
        let but = match self.leave.as_slice() {
            [] => String::new(),
            left => format!(" but {}", left.join(", ")),
        };
        plan::nothing(world, &format!("every node of {}{but} runs Kubernetes {version}", spec.name), findings)?;
        if self.to.is_none() && !world.json {
            report::note("name another version with --to, or in the spec");
        }
        Ok(())
    }

    /// As it would be typed again.
    fn command(&self) -> String {
        let mut command = format!("kubewright upgrade -f {}", self.of.file.display());
        let versions = self.to.iter().map(|to| ("--to", to)).chain(self.via.iter().map(|via| ("--via", via)));
        versions.for_each(|(flag, version)| command.push_str(&format!(" {flag} {version}")));
        let words = self
            .leave
            .iter()
            .map(|node| ("--leave", node))
            .chain(self.patience.agreed.consent.iter().map(|code| ("--consent", code)));
        words.for_each(|(flag, word)| command.push_str(&format!(" {flag} {word}")));
        let flags = [(self.patience.choices().wait, " --wait"), (self.pause, " --pause")];
        flags.iter().filter(|(said, _)| *said).for_each(|(_, flag)| command.push_str(flag));
        command
    }
}
