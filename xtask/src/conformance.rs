//! Kubernetes' own conformance tests on a cluster that kubewright built. They are built from the same modules as the
//! cluster, and so are the images that they use; what cannot run here is in a list that says why.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::artefact;
use crate::artefact::catalogue::Wanted;
use crate::cache::{Cache, lab_data};
use crate::cluster::{self, Operator, VERSION, forget_pins};
use crate::lab::{self, Lab, LabSpec};

/// The tests want two nodes that pods may go to.
const HOSTS: [&str; 3] = ["cp1", "w1", "w2"];

/// A lab of its own beside the demo's: the tests take an hour and more.
const LAB: &str = "conform";
const SUBNET: &str = "10.79.0.0/24";

/// Tests at once: most of their time is waiting, and more of them starve one another on two cores.
pub const PROCESSES: usize = 4;

/// What ends a run that hangs: upstream allows 24 hours for all suites, of which this is one.
const LIMIT: &str = "4h";

/// Which tests, and how.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Parts of their names; all of them without any.
    pub focus: Vec<String>,
    /// How many at once.
    pub processes: usize,
    /// Whether the lab stays, to look at it.
    pub keep: bool,
}

/// Tests that are left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LeftOut {
    /// A part of their names.
    tests: String,
    /// Why.
    why: String,
}

/// What the tests came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Names of those that passed.
    pub passed: Vec<String>,
    /// Of those that failed.
    pub failed: Vec<String>,
    /// Of those that did not run.
    pub skipped: Vec<String>,
}

/// Builds a cluster on a lab, runs the tests on it, tells what they came to.
///
/// # Errors
/// A test failed; a line of the list fits no test; the cluster or the tests could not be built.
pub fn run(cache: &Cache, setting: &Setting) -> Result<()> {
    lab::preflight::check()?;
    cluster::build()?;
    lab::prepare(cache, &[])?;
    artefact::ensure(cache, &Wanted { versions: vec![VERSION.to_owned()], conformance: true })?;
    let left_out = left_out()?;
    let lab = Lab::raise(cache, &LabSpec::new(LAB, SUBNET)?.with_hosts(HOSTS)?)?;
    let tested = on(cache, &lab, setting, &left_out);
    if !setting.keep {
        lab::clear(cache, LAB)?;
    }
    let outcome = tested?;
    print(&outcome, &left_out);
    let stale = stale(&outcome, &left_out);
    if setting.focus.is_empty() && !stale.is_empty() {
        bail!("no test fits these lines of {}: {}", list().display(), stale.join(", "));
    }
    if !outcome.failed.is_empty() {
        bail!("{} of {} tests failed", outcome.failed.len(), outcome.failed.len() + outcome.passed.len());
    }
    if outcome.passed.is_empty() {
        bail!("no test ran");
    }
    Ok(())
}

fn list() -> PathBuf {
    lab_data("conformance/left-out.yaml")
}

fn left_out() -> Result<Vec<LeftOut>> {
    let path = list();
    serde_saphyr::from_str(&fs::read_to_string(&path)?).with_context(|| path.display().to_string())
}

fn on(cache: &Cache, lab: &Lab, setting: &Setting, left_out: &[LeftOut]) -> Result<Outcome> {
    let folder = cache.root().join("conformance");
    fs::create_dir_all(&folder)?;
    let operator = Operator { spec: folder.join("cluster.yaml"), folder: folder.clone() };
    fs::write(&operator.spec, cluster::spec(lab)?)?;
    forget_pins(&operator.spec)?;
    operator.run(&["apply", "--yes"])?;
    let kubectl = operator.kubectl(cache)?;
    let report = folder.join("report.json");
    let bin = cache.build(&format!("conformance-{VERSION}")).join("bin");
    let mut command = ginkgo(&bin, setting, left_out, &report);
    command.args(["--", "--provider=skeleton", "--disable-log-dump"]);
    command.arg(format!("--kubeconfig={}", kubectl.kubeconfig.display()));
    command.arg("--non-blocking-taints=node-role.kubernetes.io/control-plane");
    // A failed test makes it end with 1; the report tells which.
    let status = command.current_dir(&folder).status().context("ginkgo cannot be started")?;
    let text = fs::read(&report).with_context(|| format!("ginkgo ended with {status} and without a report"))?;
    read(&text)
}

/// The runner, without what goes to the tests themselves.
fn ginkgo(bin: &Path, setting: &Setting, left_out: &[LeftOut], report: &Path) -> Command {
    let mut command = Command::new(bin.join("ginkgo"));
    let folder = report.parent().unwrap_or(Path::new("."));
    command.arg(format!("--procs={}", setting.processes)).arg(format!("--timeout={LIMIT}"));
    command.args(["--no-color", "--succinct", "--label-filter=Conformance"]);
    command.arg(format!("--output-dir={}", folder.display()));
    command.arg(format!("--json-report={}", report.file_name().unwrap_or_default().display()));
    command.args(setting.focus.iter().map(|focus| format!("--focus={}", quoted(focus))));
    command.args(left_out.iter().map(|one| format!("--skip={}", quoted(&one.tests))));
    command.arg(bin.join("e2e.test"));
    command
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Suite {
    spec_reports: Option<Vec<Spec>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    container_hierarchy_texts: Option<Vec<String>>,
    leaf_node_type: String,
    leaf_node_text: String,
    leaf_node_labels: Option<Vec<String>>,
    container_hierarchy_labels: Option<Vec<Option<Vec<String>>>>,
    state: String,
}

/// Ginkgo's report: conformance tests by what they came to.
fn read(text: &[u8]) -> Result<Outcome> {
    let suites: Vec<Suite> = serde_json::from_slice(text).context("ginkgo's report is not as expected")?;
    let mut outcome = Outcome::default();
    for spec in suites.into_iter().flat_map(|suite| suite.spec_reports.unwrap_or_default()) {
        let labels = spec.container_hierarchy_labels.into_iter().flatten().chain([spec.leaf_node_labels]).flatten();
        let is_conformance = labels.flatten().any(|label| label == "Conformance");
        let mut words = spec.container_hierarchy_texts.unwrap_or_default();
        words.push(spec.leaf_node_text);
        let name = words.join(" ").trim().to_owned();
        match (spec.leaf_node_type.as_str(), spec.state.as_str()) {
            ("It", "passed") if is_conformance => outcome.passed.push(name),
            ("It", "skipped" | "pending") => outcome.skipped.extend(is_conformance.then_some(name)),
            (_, "passed" | "skipped" | "pending") => {}
            // What goes before and after all tests fails them all.
            (kind, _) => outcome.failed.push(if name.is_empty() { kind.to_owned() } else { name }),
        }
    }
    Ok(outcome)
}

/// Lines of the list that fit no test.
fn stale(outcome: &Outcome, left_out: &[LeftOut]) -> Vec<String> {
    let fits = |one: &&LeftOut| outcome.skipped.iter().any(|name| name.contains(&one.tests));
    left_out.iter().filter(|one| !fits(one)).map(|one| one.tests.clone()).collect()
}

/// A text as an expression of Go's that fits just it.
fn quoted(text: &str) -> String {
    text.chars().flat_map(|c| (c.is_ascii_punctuation()).then_some('\\').into_iter().chain([c])).collect()
}

fn print(outcome: &Outcome, left_out: &[LeftOut]) {
    println!("\nleft out");
    for one in left_out {
        println!("  {}\n      {}", one.tests, one.why);
    }
    if !outcome.failed.is_empty() {
        println!("\nfailed\n  {}", outcome.failed.join("\n  "));
    }
    let (passed, failed, skipped) = (outcome.passed.len(), outcome.failed.len(), outcome.skipped.len());
    println!("\n{passed} passed, {failed} failed, {skipped} skipped");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_lab_can_be_raised() {
        let lab = LabSpec::new(LAB, SUBNET).and_then(|lab| lab.with_hosts(HOSTS));
        lab.unwrap();
    }

    const REPORT: &str = r#"[{"SpecReports": [
        {"ContainerHierarchyTexts": null, "LeafNodeType": "SynchronizedBeforeSuite", "LeafNodeText": "",
         "LeafNodeLabels": null, "ContainerHierarchyLabels": null, "State": "passed"},
        {"ContainerHierarchyTexts": ["[sig-node] Pods"], "LeafNodeType": "It", "LeafNodeText": "run [Conformance]",
         "LeafNodeLabels": ["Conformance"], "ContainerHierarchyLabels": [["sig-node"], null], "State": "passed"},
        {"ContainerHierarchyTexts": ["[sig-node] Pods"], "LeafNodeType": "It", "LeafNodeText": "stop [Conformance]",
         "LeafNodeLabels": ["Conformance"], "ContainerHierarchyLabels": [[]], "State": "timedout"},
        {"ContainerHierarchyTexts": ["[sig-apps] Job"], "LeafNodeType": "It", "LeafNodeText": "x [Conformance]",
         "LeafNodeLabels": ["Conformance"], "ContainerHierarchyLabels": [[]], "State": "skipped"},
        {"ContainerHierarchyTexts": ["[sig-apps] Job"], "LeafNodeType": "It", "LeafNodeText": "other",
         "LeafNodeLabels": [], "ContainerHierarchyLabels": [[]], "State": "skipped"}]}]"#;

    #[test]
    fn tests_are_told_by_what_they_came_to() {
        let outcome = read(REPORT.as_bytes()).unwrap();
        assert_eq!(outcome.passed, ["[sig-node] Pods run [Conformance]"]);
        assert_eq!(outcome.failed, ["[sig-node] Pods stop [Conformance]"]);
        assert_eq!(outcome.skipped, ["[sig-apps] Job x [Conformance]"]);
    }

    #[test]
    fn a_line_that_fits_nothing_is_stale() {
        let outcome = read(REPORT.as_bytes()).unwrap();
        let line = |tests: &str| LeftOut { tests: tests.into(), why: String::new() };
        assert_eq!(stale(&outcome, &[line("Job x"), line("no such"), line("Pods run")]), ["no such", "Pods run"]);
        assert_eq!(quoted("[a] b.c"), r"\[a\] b\.c");
    }

    #[test]
    fn the_list_is_read() {
        assert!(left_out().unwrap().iter().all(|one| !one.tests.is_empty() && !one.why.is_empty()));
    }
}
