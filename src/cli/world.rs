//! What every command works with: the state folder, the clock, the terminal, the way to hosts.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kubewright_core::finding::{Severity, worst};
use kubewright_core::spec::{Reading, Source, Spec, read};
use kubewright_core::version::Version;
use secrecy::SecretString;

use super::Output;
use crate::error::Error;
use crate::host::ssh::SshHosts;
use crate::ports::{Clock, Hosts, SystemClock, Ui};
use crate::report::{Paint, Style, diagnostics};
use crate::store::Operations;
use crate::ui::Terminal;

/// Password for sudo on hosts whose user needs one.
const SUDO_PASSWORD: &str = "KUBEWRIGHT_SUDO_PASSWORD";

/// What every command works with that may contact hosts or keep something.
pub struct World {
    /// Whether machines read our output.
    pub json: bool,
    /// Whether the user said yes beforehand.
    pub yes: bool,
    /// Operations kept on this machine.
    pub operations: Operations,
    /// Where copies of etcd go by default.
    pub snapshots: PathBuf,
    /// Where copies of etcd are made that go elsewhere.
    pub scratch: PathBuf,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Whoever sits at the terminal.
    pub ui: Arc<dyn Ui>,
    sudo_password: Option<SecretString>,
}

/// A spec that validation lets pass, and where its values stand.
pub struct Loaded {
    /// What is wanted.
    pub spec: Spec,
    /// The text it came from.
    pub source: Source,
    /// What does not block.
    pub findings: Vec<kubewright_core::finding::Finding>,
}

impl Loaded {
    /// Reads and validates a spec file; nothing else of this machine is needed for it.
    ///
    /// # Errors
    /// With every finding drawn on its line, where one of them blocks.
    pub fn read(file: &Path) -> Result<Self, Error> {
        let text = text(file).map_err(|error| match file.exists() {
            true => error,
            false => error.next(format!("kubewright init -o {}", file.display())),
        })?;
        Self::of(read(&file.to_string_lossy(), &text))
    }

    /// The same file with another version of Kubernetes in it, validated like any other; nothing is written.
    ///
    /// # Errors
    /// As [`Loaded::read`], and where the file does not say its version in a place of its own.
    pub fn at(&self, version: &Version) -> Result<Self, Error> {
        const VERSION: &str = "spec.kubernetes.version";
        let (text, span) = (self.source.text(), self.source.span(VERSION));
        let said = text[span.clone()].trim_matches(['"', '\'']).parse::<Version>();
        if said.as_ref() != Ok(&self.spec.kubernetes.version) {
            let why = format!("{} does not say {VERSION} in one place that can be rewritten", self.source.file_name());
            return Err(Error::usage(why).next("write the version there yourself, then:  kubewright upgrade"));
        }
        let edited = format!("{}{version}{}", &text[..span.start], &text[span.end..]);
        Self::of(read(self.source.file_name(), &edited))
    }

    fn of(Reading { spec, source, findings }: Reading) -> Result<Self, Error> {
        match spec {
            Some(spec) if worst(&findings) != Some(Severity::Blocks) => Ok(Self { spec, source, findings }),
            _ => {
                let drawn = diagnostics::draw(&source, &findings, Paint::stderr());
                Err(Error::spec(findings, drawn))
            }
        }
    }
}

/// The text of a file that people wrote.
///
/// # Errors
/// Where it cannot be read, and where it is no text: with the place of the first byte that is none.
pub(in crate::cli) fn text(file: &Path) -> Result<String, Error> {
    let bytes = fs::read(file).map_err(|error| Error::io(file, error))?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        let before = String::from_utf8_lossy(&bytes[..valid]);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |begin| begin.chars().count()) + 1;
        let byte = bytes.get(valid).copied().unwrap_or_default();
        Error::usage(format!(
            "{}:{line}:{column}: this is not text in UTF-8: there is a byte 0x{byte:02x}",
            file.display()
        ))
        .code("FILE")
        .safe("nothing was contacted")
        .next("save the file as UTF-8; letters of another encoding show where it says")
    })
}

impl World {
    /// From environment and global options.
    ///
    /// # Errors
    /// Where there is no folder for state.
    pub(super) fn new(output: Output, yes: bool) -> Result<Self, Error> {
        let state = state_folder()?;
        Ok(Self {
            json: output == Output::Json,
            yes,
            snapshots: state.join("snapshots"),
            scratch: state.join("scratch"),
            operations: Operations::new(state),
            clock: Arc::new(SystemClock),
            ui: Arc::new(Terminal),
            sudo_password: env::var(SUDO_PASSWORD).ok().map(SecretString::from),
        })
    }

    /// How a run is shown.
    pub fn style(&self) -> Style {
        Style::detect(self.json)
    }

    /// Whether somebody can be asked.
    pub fn is_interactive(&self) -> bool {
        !self.json && self.ui.is_interactive()
    }

    /// As [`Loaded::read`].
    ///
    /// # Errors
    /// Those of [`Loaded::read`].
    pub fn load(&self, file: &Path) -> Result<Loaded, Error> {
        Loaded::read(file)
    }

    /// Connections to the hosts of a spec; made on first use.
    ///
    /// # Errors
    /// Where no folder for control sockets can be made.
    pub fn connect(&self, spec: &Spec) -> Result<Arc<dyn Hosts>, Error> {
        let hosts =
            SshHosts::of_spec(spec, self.sudo_password.as_ref()).map_err(|error| Error::io(env::temp_dir(), error))?;
        Ok(Arc::new(hosts))
    }

    /// `user@machine`, for locks and journals.
    pub fn operator(&self) -> String {
        let user = env::var("USER").or_else(|_| env::var("LOGNAME")).unwrap_or_else(|_| "root".into());
        let machine = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        format!("{user}@{}", machine.trim())
    }
}

/// `$XDG_STATE_HOME/kubewright`, by default `~/.local/state/kubewright`.
fn state_folder() -> Result<PathBuf, Error> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_STATE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".local/state")))
        .map(|state| state.join("kubewright"))
        .ok_or_else(|| Error::usage("neither XDG_STATE_HOME nor HOME is set: there is no place for state"))
}
