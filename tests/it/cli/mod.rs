//! The program as its users run it: the real binary, alone in an empty folder, nothing around it but ports of this
//! machine that are closed.

pub mod bench;
mod etcd;
mod reference;
mod upgrade;

use std::fs;

use bench::{Bench, json_lines};

/// A spec that reads without findings.
const GOOD: &str = "\
apiVersion: kubewright.dev/v1alpha1
kind: Cluster
metadata: {name: lab}
spec:
  kubernetes: {version: 1.35.4}
  hosts:
  - {name: cp1, address: 10.77.0.11, roles: [controlPlane, etcd, worker]}
";

#[test]
fn init_prints_a_spec_that_validates() {
    let bench = Bench::new();
    let told =
        bench.run(&["init", "--name", "mine", "--control-plane", "10.77.0.11", "--worker", "10.77.0.21"]).ends(0);
    assert!(told.stdout.contains("name: mine"), "{}", told.stdout);
    bench.write("printed.yaml", told.stdout.as_bytes());
    let told = bench.run(&["validate", "-f", "printed.yaml"]).ends(0);
    assert!(told.stdout.contains("printed.yaml is valid: 2 hosts"), "{}", told.stdout);
}

#[test]
fn init_writes_a_bare_name_and_never_over_a_file() {
    let bench = Bench::new();
    let told = bench.run(&["init", "-o", "mine.yaml"]).ends(0);
    assert_eq!(told.stdout, "");
    assert!(told.stderr.contains("kubewright validate -f mine.yaml"), "{}", told.stderr);
    let written = bench.read("mine.yaml");
    let told = bench.run(&["init", "--name", "other", "-o", "mine.yaml"]).ends(2);
    assert!(told.stderr.contains("mine.yaml exists already"), "{}", told.stderr);
    assert_eq!(bench.read("mine.yaml"), written);
    assert_eq!(bench.files(), ["mine.yaml"], "no temporary file stays behind");
    bench.run(&["init", "-o", "no/such/folder.yaml"]).ends(2);
}

#[test]
fn validate_draws_mistakes_on_their_lines() {
    let bench = Bench::new();
    bench.write("cluster.yaml", GOOD.replace("hosts:", "host:").as_bytes());
    let told = bench.run(&["validate"]).ends(2);
    assert_eq!(told.stdout, "");
    insta::assert_snapshot!(told.stderr);

    let told = bench.run(&["validate", "--output", "json"]).ends(2);
    let lines = json_lines(&told.stdout);
    assert_eq!(lines.len(), 1);
    assert_eq!((&lines[0]["event"], &lines[0]["exit"]), (&"error".into(), &2.into()));
    assert!(lines[0]["findings"].as_array().unwrap().iter().any(|finding| finding["code"] == "SPEC002"));
}

#[test]
fn validate_prints_what_it_read_for_machines() {
    let bench = Bench::new();
    bench.write("cluster.yaml", GOOD.as_bytes());
    let told = bench.run(&["validate", "--output", "json"]).ends(0);
    let lines = json_lines(&told.stdout);
    assert_eq!(lines[0]["spec"]["network"]["podCIDR"], "10.244.0.0/16", "with its defaults");
    assert_eq!(lines[0]["findings"], serde_json::json!([]));
}

#[test]
fn a_spec_that_is_no_text_is_the_users_mistake() {
    let bench = Bench::new();
    let told = bench.run(&["validate"]).ends(2);
    assert!(told.stderr.contains("cluster.yaml: No such file"), "{}", told.stderr);
    assert!(told.stderr.contains("kubewright init -o cluster.yaml"), "{}", told.stderr);

    bench.write("cluster.yaml", b"metadata: {name: caf\xe9}\n");
    let told = bench.run(&["validate"]).ends(2);
    assert!(told.stderr.contains("cluster.yaml:1:21: this is not text in UTF-8"), "{}", told.stderr);

    bench.run(&["validate", "-f", "."]).ends(2);
    bench.write("cluster.yaml", b"");
    bench.run(&["validate"]).ends(2);
}

#[test]
fn what_contacts_nobody_needs_no_home() {
    let bench = Bench::new();
    bench.write("cluster.yaml", GOOD.as_bytes());
    for arguments in [&["version"][..], &["validate"], &["init"], &["completions", "bash"], &["--help"]] {
        bench.homeless(arguments).ends(0);
    }
    let told = bench.homeless(&["ops", "list"]).ends(2);
    assert!(told.stderr.contains("neither XDG_STATE_HOME nor HOME is set"), "{}", told.stderr);
}

#[test]
fn a_plan_names_every_host_that_is_out_of_reach() {
    let bench = Bench::new();
    bench.write("cluster.yaml", bench.out_of_reach(3).as_bytes());
    let told = bench.run(&["plan"]).ends(5);
    assert_eq!(told.stdout, "");
    for host in ["cp1", "cp2", "cp3"] {
        let line = told.stderr.lines().find(|line| line.contains(&format!("{host}:")));
        let line = line.unwrap_or_else(|| panic!("{host} is not named in\n{}", told.stderr));
        assert!(line.contains("HOST001 blocks"), "{line}");
        assert!(line.contains("cannot connect to host 127.0.0.1 port"), "{line}");
        assert_eq!(told.stderr.matches(host).count(), 1, "a name is said once:\n{}", told.stderr);
    }
    let said = told.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.stderr.contains("3 findings block; nothing was changed"), "{}", told.stderr);
    assert_eq!(said.matches("check `ssh.port` and that sshd runs").count(), 3, "{}", told.stderr);

    let told = bench.run(&["plan", "--output", "json"]).ends(5);
    let error = json_lines(&told.stdout).pop().unwrap();
    assert_eq!(error["exit"], 5);
    let findings = error["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 3);
    assert!(findings.iter().all(|finding| finding["hint"].as_str().unwrap().contains("ssh.port")), "{findings:?}");
    assert!(findings.iter().all(|finding| !finding["text"].as_str().unwrap().contains("; ")), "{findings:?}");
}

#[test]
fn apply_asks_before_it_acts() {
    let bench = Bench::new();
    bench.write("cluster.yaml", bench.out_of_reach(1).as_bytes());
    let told = bench.run(&["apply"]).ends(2);
    assert!(told.stderr.contains("--yes"), "{}", told.stderr);
    assert!(!told.stderr.contains("HOST001"), "nothing is contacted: {}", told.stderr);
    let told = bench.run(&["apply", "--yes"]).ends(5);
    assert!(told.stderr.contains("HOST001"), "{}", told.stderr);
    let told = bench.run(&["apply", "--yes", "--output", "json"]).ends(5);
    assert_eq!(json_lines(&told.stdout).len(), 1);

    bench.write("lab.plan", b"{}");
    let told = bench.run(&["apply", "lab.plan", "--yes"]).ends(2);
    assert!(told.stderr.contains("lab.plan is no plan of kubewright"), "{}", told.stderr);
    // Its format is looked at before what this version may not know in it.
    bench.write("newer.plan", br#"{"format": 99, "steps": [{"kind": {"type": "unheardOf"}}]}"#);
    let told = bench.run(&["apply", "newer.plan", "--yes"]).ends(2);
    assert!(told.stderr.contains("newer.plan has format 99; this kubewright knows 1"), "{}", told.stderr);
    let mut other = serde_json::to_value(kubewright_core::summary::sample::plan()).unwrap();
    other["toolVersion"] = "0.0.1".into();
    bench.write("other.plan", other.to_string().as_bytes());
    let told = bench.run(&["apply", "other.plan", "--yes"]).ends(2);
    assert!(told.stderr.contains("was planned by kubewright 0.0.1"), "{}", told.stderr);
    assert!(told.stderr.contains("or plan anew; nothing was contacted"), "{}", told.stderr);
    bench.run(&["apply", "missing.plan", "--yes"]).ends(2);
    bench.run(&["apply", "lab.plan", "-f", "cluster.yaml"]).ends(2);
    assert_eq!(bench.operations(), 0, "nothing that could not begin is kept");
}

#[test]
fn a_machine_without_operations_has_nothing_to_list() {
    let bench = Bench::new();
    let told = bench.run(&["ops", "list"]).ends(0);
    assert!(told.stdout.contains("no operations"), "{}", told.stdout);
    assert_eq!(json_lines(&bench.run(&["ops", "list", "--output", "json"]).ends(0).stdout), [serde_json::json!([])]);
    let told = bench.run(&["ops", "show", "7f3a"]).ends(2);
    assert!(told.stderr.contains("there is no operation 7f3a"), "{}", told.stderr);
    assert!(told.stderr.contains("kubewright ops list"), "{}", told.stderr);
    bench.run(&["ops", "resume", "7f3a"]).ends(2);
    bench.run(&["ops", "resume"]).ends(2);
}

#[test]
fn versions_are_told_to_people_and_machines() {
    let bench = Bench::new();
    let version = env!("CARGO_PKG_VERSION");
    let told = bench.run(&["version"]).ends(0);
    assert!(told.stdout.starts_with(&format!("kubewright {version}\nKubernetes 1.")), "{}", told.stdout);
    let told = bench.run(&["version", "--output", "json"]).ends(0);
    assert_eq!(json_lines(&told.stdout)[0]["version"], version);
    assert_eq!(bench.run(&["--version"]).ends(0).stdout, format!("kubewright {version}\n"));
}

#[test]
fn completions_are_a_script_that_bash_takes() {
    let bench = Bench::new();
    let told = bench.run(&["completions", "bash"]).ends(0);
    assert!(told.stdout.contains("complete -F _kubewright"), "no completion is registered");
    fs::write(bench.path("completions.bash"), told.stdout).unwrap();
    let bash = std::process::Command::new("bash").arg("-n").arg(bench.path("completions.bash")).status();
    assert!(bash.is_ok_and(|status| status.success()));
}

#[test]
fn a_command_line_that_cannot_be_ends_with_2() {
    let bench = Bench::new();
    for arguments in
        [&["aply"][..], &["plan", "--fil", "x"], &["version", "--output", "xml"], &["kubeconfig", "--merge"], &[]]
    {
        let told = bench.run(arguments).ends(2);
        assert_eq!(told.stdout, "", "{arguments:?}");
    }
}
