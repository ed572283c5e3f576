//! `kubewright upgrade` where nobody can be asked, and in a terminal.

use std::net::{Ipv4Addr, TcpListener};

use super::bench::Bench;
use crate::ui::{ended, in_terminal};

#[test]
fn without_a_terminal_it_names_its_options_before_anything_is_contacted() {
    let bench = Bench::new();
    let spec = bench.out_of_reach(1);
    bench.write("cluster.yaml", spec.as_bytes());
    for arguments in
        [&["upgrade"][..], &["upgrade", "--to", "1.36.3"], &["upgrade", "--to", "1.36.3", "--output", "json"]]
    {
        let told = bench.run(arguments).ends(2);
        let said = format!("{}{}", told.stdout, told.stderr);
        assert!(said.contains("--yes") && said.contains("--to VERSION") && said.contains("upgrade -o"), "{said}");
        assert!(said.contains("nothing was contacted"), "{said}");
    }
    for arguments in [&["upgrade", "--pause"][..], &["upgrade", "--yes", "--to", "1.36.3", "--pause"]] {
        let told = bench.run(arguments).ends(2);
        assert!(told.stderr.contains("nothing was contacted"), "{}", told.stderr);
        assert!(told.stderr.contains("leave out --pause"), "{}", told.stderr);
    }
    bench.run(&["upgrade", "--pause", "-o", "x.plan"]).ends(2);
    assert_eq!((bench.read("cluster.yaml"), bench.operations()), (spec, 0));
}

#[test]
fn in_a_terminal_it_looks_before_it_asks_and_says_what_cannot_be_seen() {
    let bench = Bench::new();
    let spec = bench.out_of_reach(1);
    bench.write("cluster.yaml", spec.as_bytes());
    let session = in_terminal(bench.in_terminal(&["upgrade"]), 60);
    let (code, said) = ended(session);
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("what the cluster runs cannot be seen"), "{said}");
    assert_eq!((bench.read("cluster.yaml"), bench.operations()), (spec, 0));
}

#[test]
fn ctrl_c_while_it_looks_changes_nothing() {
    let bench = Bench::new();
    // Somebody who takes the connection and says nothing.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = silent.local_addr().unwrap().port();
    let spec = format!(
        "apiVersion: kubewright.dev/v1alpha1\nkind: Cluster\nmetadata: {{name: lab}}\nspec:\n  kubernetes: {{version: 1.35.4}}\n  \
         ssh: {{configFile: /dev/null, knownHostsFile: /dev/null}}\n  hosts:\n  \
         - {{name: cp1, address: 127.0.0.1, privateAddress: 10.77.0.11, ssh: {{port: {port}}}, roles: [controlPlane, etcd]}}\n"
    );
    bench.write("cluster.yaml", spec.as_bytes());
    for arguments in [&["upgrade"][..], &["upgrade", "--to", "1.36.3"]] {
        let mut session = in_terminal(bench.in_terminal(arguments), 60);
        let _taken = silent.accept().unwrap();
        session.send_control('c').unwrap();
        let (code, said) = ended(session);
        assert_eq!(code, Some(4), "{said}");
        assert!(said.contains("nothing was changed"), "{said}");
    }
    assert_eq!((bench.read("cluster.yaml"), bench.operations()), (spec, 0));
}
