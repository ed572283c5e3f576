use std::path::Path;

use kubewright_core::spec::read;

use super::*;

const STORYBOARD: &str = "\
apiVersion: kubewright.dev/v1alpha1
kind: Cluster
metadata:
  name: lab
spec:
  kubernetes:
    version: 1.35.4
  network:
    podCidr: 10.96.0.0/16
    serviceCIDR: 10.96.0.0/12
  hosts:
  - {name: cp1, address: 10.77.0.11, roles: [controlPlane, etcd]}
";

fn shown(file_name: &str, text: &str) -> String {
    let reading = read(file_name, text);
    draw(&reading.source, &reading.findings, Paint::none())
}

/// Each `tests/fixtures/specs/<mistake>.yaml` is drawn as its `.snap` beside it says.
#[test]
fn every_mistake_is_drawn_where_it_is() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/specs");
    let mut files: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(files.len() >= 50, "only {} files in {}", files.len(), folder.display());
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(&folder);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for path in files {
        let name = path.file_stem().unwrap().to_string_lossy();
        let text = std::fs::read_to_string(&path).unwrap();
        settings.bind(|| insta::assert_snapshot!(&*name, shown(&format!("{name}.yaml"), &text)));
    }
}

#[test]
fn colour_comes_only_when_asked_for() {
    let reading = read("cluster.yaml", STORYBOARD);
    assert!(!draw(&reading.source, &reading.findings, Paint::none()).contains('\x1b'));
    assert!(draw(&reading.source, &reading.findings, Paint::always()).contains('\x1b'));
}

#[test]
fn what_is_not_about_the_file_takes_one_line() {
    let source = read("cluster.yaml", STORYBOARD).source;
    let host = Finding::new(Severity::Warns, "HOST017", Subject::Host("w2".into()), "swap is on (/dev/sdb2)");
    let clocks = Finding::new(Severity::Info, "TIME002", Subject::Cluster, "clocks agree within 12 ms");
    let findings = [host.hint("it will be turned off"), clocks];
    let expected = "\
warning[HOST017]: w2: swap is on (/dev/sdb2); it will be turned off
note[TIME002]: clocks agree within 12 ms

1 warning and 1 note in cluster.yaml.
";
    assert_eq!(draw(&source, &findings, Paint::none()), expected);
}

#[test]
fn a_file_cannot_reach_the_terminal() {
    let text = "kind: \"\\e[31mCluster\"\n\"x\\e[2J\": 1\nspec: \u{9b}31m\n";
    assert!(!shown("cluster.yaml", text).contains(['\x1b', '\u{9b}']));
}

#[test]
fn an_empty_file_and_an_absence_of_findings() {
    let expected =
        "error[SPEC001]: the file holds no YAML document; `kubewright init` writes a commented one to start from

1 error in cluster.yaml; nothing was contacted.
";
    assert_eq!(shown("cluster.yaml", ""), expected);
    let source = read("cluster.yaml", STORYBOARD).source;
    assert_eq!(draw(&source, &[], Paint::always()), "");
}

#[test]
fn of_thousands_of_mistakes_the_first_are_drawn() {
    let text = format!("{STORYBOARD}{}", "  - {name: x}\n".repeat(3_000));
    let drawn = shown("cluster.yaml", &text);
    assert_eq!(drawn.matches("--> cluster.yaml:").count(), MOST);
    assert!(drawn.contains(" more, shown once these are mended\n\n"), "{}", &drawn[drawn.len() - 200..]);
    assert!(drawn.ends_with(" errors in cluster.yaml; nothing was contacted.\n"));
}
