//! `kubewright etcd logs`: what a member says of itself, from its host's container runtime. Works without any API server, and with
//! an etcd that does not start.

use kubewright_core::ids::HostName;
use kubewright_core::spec::Role;

use crate::cli::options::OfSpec;
use crate::cli::world::World;
use crate::error::{Error, ErrorKind, ExitCode};
use crate::ports::Script;
use crate::report;
use crate::{playbooks, ports};

/// Show what a member of etcd logged, without an API server
///
/// It is read from the container runtime of the member's host, and of a container that has ended too. Nothing is changed.
#[derive(Debug, clap::Args)]
pub struct Logs {
    /// The host that the member lives on
    #[arg(value_name = "HOST")]
    host: String,
    #[command(flatten)]
    of: OfSpec,
    /// So many lines of its end
    #[arg(long, value_name = "LINES", default_value_t = 50)]
    tail: u32,
    /// Of the container before this one: why it ended
    #[arg(long)]
    previous: bool,
}

impl Logs {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        let spec = world.load(&self.of.file)?.spec;
        let members: Vec<&HostName> = spec.with_role(Role::Etcd).map(|host| &host.name).collect();
        let Some(name) = members.iter().find(|name| name.as_str() == self.host) else {
            let known: Vec<&str> = members.iter().map(|name| name.as_str()).collect();
            let text = format!("{} is no host with role etcd; these are: {}", self.host, known.join(", "));
            return Err(Error::usage(text));
        };
        let host = world.connect(&spec)?.host(name).await?;
        let script = Script::new("common/etcd-logs.sh", playbooks::ETCD_LOGS)
            .value("LINES", self.tail.to_string())
            .value("PREVIOUS", if self.previous { "1" } else { "" });
        let output = host.run(&script, &mut ports::quiet()).await?;
        if output.status == NO_CONTAINER {
            return Err(Error::new(
                ErrorKind::Blocked,
                "ETCD",
                format!("{name} has no container of etcd to read from"),
            )
            .on(name, None)
            .lines(output.stderr.lines())
            .safe("nothing was changed"));
        }
        let output = output.success(name, &script)?;
        if world.json {
            let lines: Vec<&str> = output.stdout.lines().collect();
            report::print_json(&serde_json::json!({ "event": "logs", "host": name, "lines": lines }))?;
        } else {
            report::print(&report::plain_lines(&output.stdout))?;
        }
        Ok(ExitCode::Done)
    }
}

/// How the script says that there is nothing to read.
const NO_CONTAINER: i32 = 3;
