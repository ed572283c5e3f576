//! The wizard's questions but for those about findings: which version, run or save. What is known goes in, what was answered
//! comes out.

use std::path::PathBuf;

use kubewright_core::ids::HostName;
use kubewright_core::offer::{Available, Offer, Reason, Teller};
use kubewright_core::version::Version;
use kubewright_manifests::versions;

use crate::error::Error;
use crate::ports::{Answer, Confirm, Select, Typed, Ui};
use crate::report;

/// What the cluster runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Situation {
    /// Its name.
    pub cluster: String,
    /// What its oldest API server runs.
    pub from: Version,
    /// What the spec says.
    pub spec: Version,
    /// How many nodes it has.
    pub nodes: usize,
    /// Nodes whose kubelet is older than the oldest API server, and which they run.
    pub behind: Vec<(HostName, Version)>,
}

/// Which version, and by which way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The version.
    pub to: Version,
    /// Those on the way.
    pub via: Vec<Version>,
}

/// Which version to go to; `None` where there is none to choose from.
pub(super) fn version(
    ui: &dyn Ui,
    situation: &Situation,
    available: &Available,
) -> Result<Answer<Option<Wanted>>, Error> {
    let Situation { from, spec, behind, .. } = situation;
    ui.show(&introduction(situation, available))?;
    let offers = available.offers(from, spec, !behind.is_empty());
    if offers.is_empty() {
        return Ok(Answer::Given(None));
    }
    let mut options: Vec<String> = offers.iter().map(|offer| label(offer, situation, available.teller)).collect();
    options.push("another version".to_owned());
    let question = Select { question: "Upgrade to".to_owned(), options, default: 0 };
    let Answer::Given(chosen) = ui.select(&question)? else { return Ok(Answer::Cancelled) };
    match offers.into_iter().nth(chosen) {
        Some(Offer { version, via, .. }) => Ok(Answer::Given(Some(Wanted { to: version, via }))),
        None => Ok(another(ui, from, available)?.map(Some)),
    }
}

/// A version that is none of those offered.
fn another(ui: &dyn Ui, from: &Version, available: &Available) -> Result<Answer<Wanted>, Error> {
    loop {
        let question = Typed { question: "Which version".to_owned(), suggestion: None };
        let Answer::Given(word) = ui.typed(&question)? else { return Ok(Answer::Cancelled) };
        let to = match word.trim().parse::<Version>() {
            Ok(to) => to,
            Err(error) => {
                ui.show(&format!("  {error}"))?;
                continue;
            }
        };
        match available.between(from, &to, &[]) {
            Ok(via) => return Ok(Answer::Given(Wanted { to, via })),
            Err(unknown) => {
                let unknown: Vec<String> = unknown.iter().map(ToString::to_string).collect();
                let minors = unknown.join(", ");
                ui.show(&format!("  the way to {to} goes through {minors}, of which no version is known here: --via"))?;
            }
        }
    }
}

fn introduction(situation: &Situation, available: &Available) -> String {
    let Situation { cluster, from, nodes, behind, .. } = situation;
    let nodes = if *nodes == 1 { "1 node".to_owned() } else { format!("{nodes} nodes") };
    let mut text = format!("{cluster} runs {from} on {nodes}.\n");
    for (node, version) in behind {
        text.push_str(&format!("  {node} still runs {version}.\n"));
    }
    let program = env!("CARGO_PKG_VERSION");
    if available.teller == Teller::Tested {
        let why = available.silent.values().next().map(|why| format!(" ({why})")).unwrap_or_default();
        text.push_str(&format!(
            "  What is published cannot be seen{why}: these are the versions that kubewright {program} was tested with.\n"
        ));
    }
    if let Some(beyond) = &available.beyond {
        text.push_str(&format!("  {beyond} is published; kubewright {program} was not tested with it.\n"));
    }
    text
}

fn label(offer: &Offer, situation: &Situation, teller: Teller) -> String {
    let Situation { from, behind, .. } = situation;
    let minor = offer.version.minor();
    let newest = match teller {
        Teller::Published => "latest",
        Teller::Tested => "tested",
    };
    let what = match offer.reason {
        Reason::Unfinished => {
            behind.iter().map(|(node, _)| node.as_str()).collect::<Vec<_>>().join(", ") + " to follow"
        }
        Reason::Spec => "the spec says so".to_owned(),
        Reason::Newest if minor == from.minor() => format!("{newest} patch of {minor}"),
        Reason::Newest => format!("{newest} {minor}"),
    };
    let way = match offer.via.as_slice() {
        [] if minor == from.minor() => String::new(),
        [] => "; one hop".to_owned(),
        via => format!("; through {}", via.iter().map(Version::to_string).collect::<Vec<_>>().join(", ")),
    };
    format!("{:<8} ({what}{way})", offer.version.to_string())
}

/// What comes along with the version, in a line.
pub(super) fn brings(from: &Version, wanted: &Wanted) -> String {
    let changes = versions::changes(from.minor(), wanted.to.minor());
    let told: Vec<String> =
        changes.iter().map(|change| format!("{} {} → {}", change.what, change.from, change.to)).collect();
    match told.as_slice() {
        [] => format!("  {} brings  fixes alone: etcd, CoreDNS and pause stay as they are\n", wanted.to),
        told => format!("  {} brings  {}\n", wanted.to, told.join(", ")),
    }
}

/// What becomes of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It is run now.
    Run,
    /// It is saved here.
    Save(PathBuf),
    /// Neither.
    Stop,
}

/// Run it, or save it.
pub(super) fn ending(ui: &dyn Ui) -> Result<Answer<Ending>, Error> {
    let options = ["run it now", "save it, to run it later", "stop here"].map(str::to_owned).to_vec();
    let question = Select { question: "Run it now, or save the plan?".to_owned(), options, default: 0 };
    match ui.select(&question)? {
        Answer::Given(0) => Ok(Answer::Given(Ending::Run)),
        Answer::Given(1) => place(ui),
        Answer::Given(_) => Ok(Answer::Given(Ending::Stop)),
        Answer::Cancelled => Ok(Answer::Cancelled),
    }
}

/// Where the plan is saved; over another file only if that is meant.
fn place(ui: &dyn Ui) -> Result<Answer<Ending>, Error> {
    loop {
        let question = Typed { question: "File".to_owned(), suggestion: Some("upgrade.plan".to_owned()) };
        let Answer::Given(name) = ui.typed(&question)? else { return Ok(Answer::Cancelled) };
        let path = PathBuf::from(name.trim());
        if path.as_os_str().is_empty() {
            continue;
        }
        if path.exists() {
            let question =
                Confirm { question: format!("{} is there already. Replace it?", path.display()), default: false };
            match ui.confirm(&question)? {
                Answer::Given(true) => {}
                Answer::Given(false) => continue,
                Answer::Cancelled => return Ok(Answer::Cancelled),
            }
        }
        return Ok(Answer::Given(Ending::Save(path)));
    }
}

/// Whether to ask again before each node's turn.
pub(super) fn pauses(ui: &dyn Ui) -> Result<Answer<bool>, Error> {
    Ok(ui.confirm(&Confirm { question: "Pause after each node?".to_owned(), default: false })?)
}

/// The command that does the same without questions.
pub(super) fn same_as(ui: &dyn Ui, command: &str) -> Result<(), Error> {
    Ok(ui.show(&format!("  same as:  {}\n", report::plain_lines(command)))?)
}
