//! Five control planes that take workloads, behind an address that the user owns: a virtual IP that moves when its holder
//! goes.

use std::path::Path;
use std::time::{Duration, Instant};

use xtask::cache::Cache;
use xtask::cluster::forget_pins;
use xtask::lab::Lab;

use super::cluster::Kubectl;
use super::operator::Operator;

/// The hosts.
pub const HOSTS: [&str; 5] = ["cp1", "cp2", "cp3", "cp4", "cp5"];

/// An address of the lab's network that no host has.
const VIRTUAL: &str = "10.77.0.100";

/// How long the cluster may be away when the address moves. Whoever did not hear of it keeps the old holder's hardware
/// address for up to 45 s; as long again for a busy machine.
const MOVED: Duration = Duration::from_secs(90);

/// The example with these hosts and this endpoint.
fn spec(example: &str) -> String {
    let mut text = String::new();
    let mut in_pools = false;
    for line in example.lines() {
        in_pools = if in_pools { line.starts_with("    ") } else { line.starts_with("  pools:") };
        if in_pools || line.trim_start().starts_with("- {name:") {
            continue;
        }
        if line.contains("mode: nodeLocal") {
            text += &format!("    mode: external\n    address: {VIRTUAL}\n");
            continue;
        }
        text += &format!("{line}\n");
        if line.starts_with("  hosts:") {
            for (index, host) in HOSTS.iter().enumerate() {
                let address = format!("10.77.0.{}", 11 + index);
                text += &format!("  - {{name: {host}, address: {address}, roles: [controlPlane, etcd, worker]}}\n");
            }
        }
    }
    text
}

/// The scenario, on five bare hosts.
pub fn five_behind_an_address(
    cache: &Cache,
    lab: &Lab,
    example: &str,
    file: &Path,
    manifest: &Path,
    told: &dyn Fn(&str),
) {
    std::fs::write(file, spec(example)).expect("a spec");
    forget_pins(file).expect("no lock file");
    hold(lab, "cp1");
    let operator = Operator::new(file);
    operator.expect(&["apply", "--yes"], 0);
    told("five control planes behind an external endpoint");

    let path = operator.folder().join("lab.kubeconfig");
    operator.expect(&["kubeconfig", "-o", &path.to_string_lossy()], 0);
    let kubectl = Kubectl::new(cache, super::scenarios::VERSION, &path);
    let server = kubectl.expect(&["config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"]);
    assert_eq!(server, format!("https://{VIRTUAL}:6443"));
    let taints = kubectl.expect(&["get", "nodes", "-o", "jsonpath={.items[*].spec.taints[*].key}"]);
    assert_eq!(taints, "", "who is a worker too has no taint");
    let answers = kubectl.hello(manifest);
    assert_eq!(answers.len(), 2, "{answers:?}");
    assert!(answers.iter().all(|(_, answer)| answer.starts_with("hello from cp")), "{answers:?}");
    told("a workload runs on them, and its Service is reached by its DNS name");

    lab.kill("cp1").expect("its power is cut");
    hold(lab, "cp2");
    let began = Instant::now();
    while let Err(error) = kubectl.run(&["get", "--raw", "/readyz", "--request-timeout=5s"]) {
        assert!(began.elapsed() < MOVED, "{error}");
    }
    told(&format!(
        "cp1 is off, the address moved: the API answered again after {:.1} s",
        began.elapsed().as_secs_f64()
    ));
    operator.expect(&["status"], 0);
}

/// A host takes the address, and tells the others as keepalived would.
fn hold(lab: &Lab, host: &str) {
    // Asking for the operator's hardware address in the new holder's name tells it.
    let script = format!(
        "ip address replace {VIRTUAL}/24 dev eth0 && ip neigh flush dev eth0
         curl -s -m 1 --interface {VIRTUAL} http://10.77.0.1:9/ || :"
    );
    lab.exec(host, &script).expect("it takes the address");
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_example_has_what_is_replaced() {
        let example = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/lab-ha.yaml")).unwrap();
        let text = super::spec(&example);
        assert_eq!(text.matches("roles: [controlPlane, etcd, worker]").count(), 5);
        assert!(text.contains("mode: external") && !text.contains("pools:") && text.contains("kubelet:"), "{text}");
    }
}
