//! `kubewright init`: a commented spec to begin with.

use std::path::PathBuf;

use kubewright_core::spec::template::{Template, TemplateHost};

use crate::error::{Error, ExitCode};
use crate::{report, store};

/// Write a commented spec to begin with
#[derive(Debug, clap::Args)]
pub struct Init {
    /// Name of the cluster
    #[arg(long, default_value = "my-cluster")]
    name: String,
    /// Kubernetes version
    #[arg(long, default_value = "1.35.4")]
    kubernetes: String,
    /// Address of a control plane, as ssh reaches it; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    control_plane: Vec<String>,
    /// Address of a worker; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    worker: Vec<String>,
    /// Login name for ssh
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Write here instead of to standard output; an existing file is never overwritten
    #[arg(long, short = 'o', value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Init {
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        let text = Template {
            name: self.name,
            version: self.kubernetes,
            user: self.user,
            hosts: TemplateHost::named(&self.control_plane, &self.worker),
        }
        .render();
        let Some(path) = self.out else {
            report::print(&text)?;
            return Ok(ExitCode::Done);
        };
        if path.exists() {
            return Err(Error::usage(format!("{} exists already; nothing was written", path.display())));
        }
        // A spec may be shared: it holds no secrets.
        store::write_atomically(&path, text.as_bytes(), 0o644).map_err(|error| Error::io(&path, error))?;
        report::note(&format!(
            "wrote {0}\nnext: fill in your hosts, then  kubewright validate -f {0}  and  kubewright plan -f {0}",
            path.display()
        ));
        Ok(ExitCode::Done)
    }
}
