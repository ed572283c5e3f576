//! The proxy's configuration before the real HAProxy.

use std::fs;
use std::process::Command;

use kubewright_core::spec::Spec;
use kubewright_core::version::Version;
use kubewright_manifests::node_local;

use crate::recorded::file;
use crate::specs;

const CONFIG: &str = "/etc/kubernetes/kube-apiserver-proxy/haproxy.cfg";

#[test]
fn haproxy_accepts_the_configuration() {
    let spec = specs::ha();
    let files = node_local::files(&spec, &spec.hosts[3]);
    let path = std::env::temp_dir().join(format!("kubewright-haproxy-{}.cfg", std::process::id()));
    fs::write(&path, file(&files, CONFIG)).unwrap();
    let checked = Command::new("haproxy").arg("-c").arg("-f").arg(&path).output();
    fs::remove_file(&path).unwrap();
    match checked {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{said}");
            assert!(!said.contains("WARNING"), "{said}");
        }
        Err(error) => {
            assert!(std::env::var_os("KUBEWRIGHT_REQUIRE_LAB").is_none(), "haproxy: {error}");
            eprintln!("SKIPPED: haproxy cannot be run here: {error}");
        }
    }
}

#[test]
fn every_control_plane_is_a_server() {
    let spec = specs::ha();
    let files = node_local::files(&spec, &spec.hosts[3]);
    let config = file(&files, CONFIG);
    let servers: Vec<&str> = config.lines().filter(|line| line.starts_with("    server ")).collect();
    let wanted = ["    server cp1 10.77.0.11:6443", "    server cp2 10.77.0.12:6443", "    server cp3 10.77.0.13:6443"];
    assert_eq!(servers, wanted);
    assert!(!config.contains('{'), "a placeholder is left:\n{config}");
}

#[test]
fn a_changed_configuration_changes_the_pod() {
    let mut spec = specs::ha();
    let before = node_local::files(&spec, &spec.hosts[3]).pop().unwrap();
    spec.hosts.remove(2);
    let after = node_local::files(&spec, &spec.hosts[2]).pop().unwrap();
    assert_ne!(before.contents, after.contents);
}

#[test]
fn a_pod_is_the_same_for_as_long_as_its_manifest_is() {
    let identity = |spec: &Spec, host: usize| {
        let manifest = node_local::files(spec, &spec.hosts[host]).pop().unwrap().contents;
        manifest.lines().find_map(|line| line.trim().strip_prefix("uid: ").map(str::to_owned)).unwrap()
    };
    let mut spec = specs::ha();
    let before = identity(&spec, 3);
    assert_ne!(before, identity(&spec, 4), "of another node");
    spec.kubernetes.version = Version::new(1, 36, 3);
    assert_eq!(before, identity(&spec, 3), "with another kubelet");
    spec.hosts.remove(2);
    assert_ne!(before, identity(&spec, 2), "with another way to go");
}
