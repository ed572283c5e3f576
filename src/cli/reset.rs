//! `kubewright reset`: takes the cluster, or hosts that are no part of one any more, apart.

use kubewright_core::ids::HostName;
use kubewright_core::planner::{Outcome, Request, Reset as Wanted};

use super::approval::{Approval, consented, possible, typed};
use super::options::{Agreed, OfSpec};
use super::world::World;
use super::{planning, run};
use crate::error::{Error, ExitCode};
use crate::report::{self, Paint};

/// Take the cluster apart: remove from its hosts what kubewright put there
///
/// Packages of the distribution stay. etcd's data stays beside its place under a dated name, unless told otherwise.
/// Works with half a cluster and without an API.
#[derive(Debug, clap::Args)]
pub struct Reset {
    /// Only these hosts, which are no part of a cluster that stands; without any, the whole cluster
    hosts: Vec<String>,
    #[command(flatten)]
    of: OfSpec,
    /// The cluster's name, instead of typing it: this is not undone
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
    /// Keep containerd, binaries and images for the next cluster
    #[arg(long)]
    keep_prepared: bool,
    /// Delete etcd's data instead of keeping it beside its place
    #[arg(long)]
    delete_etcd_data: bool,
    #[command(flatten)]
    agreed: Agreed,
}

impl Reset {
    /// The same command once more: of one host it is another one than of all.
    fn command(&self) -> String {
        let flags = [("--keep-prepared", self.keep_prepared), ("--delete-etcd-data", self.delete_etcd_data)];
        let given = flags.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag.to_owned());
        let words: Vec<String> =
            ["kubewright reset".to_owned()].into_iter().chain(self.hosts.iter().cloned()).chain(given).collect();
        format!("{} -f {}", words.join(" "), self.of.file.display())
    }

    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        let said = self.confirm.is_some();
        possible(world, said, "for the cluster's name", "--confirm NAME", "kubewright status")?;
        let spec = world.load(&self.of.file)?.spec;
        let hosts: Vec<HostName> = self.hosts.iter().map(|name| HostName::from(name.as_str())).collect();
        if let Some(unknown) = hosts.iter().find(|name| spec.host(name).is_none()) {
            return Err(Error::usage(format!(
                "{unknown} is no host of {}; nothing was contacted",
                self.of.file.display()
            )));
        }
        if let Some(given) = self.confirm.as_deref() {
            typed(world.ui.as_ref(), "", &spec.name, Some(given))?;
        }
        let wanted = Wanted {
            hosts: (!hosts.is_empty()).then_some(hosts),
            keep_prepared: self.keep_prepared,
            delete_etcd_data: self.delete_etcd_data,
        };
        let planned = planning::plan(world, &self.of.file, &Request::Reset(wanted)).await?;
        let plan = match planned.outcome {
            Outcome::Blocked { findings } => return Err(Error::blocked(findings)),
            Outcome::Nothing { findings } => {
                super::plan::nothing(world, &format!("nothing of {} is left on its hosts", spec.name), &findings)?;
                return Ok(ExitCode::NothingToDo);
            }
            Outcome::Plan(plan) => *plan,
        };
        if !world.json {
            let command = self.command();
            let around = report::plan::Around { facts: Some(planned.seeing), run: &command, steps: false };
            report::print(&report::plan::text(&plan, &around, Paint::stdout()))?;
        }
        consented(&plan, &self.agreed.consent)?;
        let question = format!("This is not undone. Type the cluster's name ({}) to take it apart", spec.name);
        match typed(world.ui.as_ref(), &question, &spec.name, self.confirm.as_deref())? {
            Approval::Given => {}
            Approval::Refused => {
                report::note("nothing was changed");
                return Ok(ExitCode::ChangesPending);
            }
        }
        let operation = world.operations.create(&plan, &planned.facts)?;
        run::run(world, operation, planned.hosts, false).await
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        reset: Reset,
    }

    #[test]
    fn the_command_that_is_told_takes_no_more_apart_than_the_one_that_was_given() {
        let told = |words: &[&str]| Line::parse_from(["reset"].iter().chain(words)).reset.command();
        assert_eq!(told(&[]), "kubewright reset -f cluster.yaml");
        let words = ["w3", "w4", "--keep-prepared", "--delete-etcd-data", "--file", "lab.yaml"];
        assert_eq!(told(&words), "kubewright reset w3 w4 --keep-prepared --delete-etcd-data -f lab.yaml");
    }
}
