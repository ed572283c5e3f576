//! How the API servers are reached.

use super::host_path;
use crate::finding::{Finding, Severity, Subject};
use crate::spec::{EndpointMode, Role, Spec};

const MODE: &str = "spec.endpoint.mode";
const ADDRESS: &str = "spec.endpoint.address";

/// END001, END002, END003, END005.
pub fn mode_and_address(spec: &Spec, findings: &mut Vec<Finding>) {
    let endpoint = &spec.endpoint;
    match (endpoint.mode, &endpoint.address) {
        (EndpointMode::KubeVip, _) => {
            let finding = Finding::spec("END003", MODE, "`kubeVip` is not built yet");
            let hint = "use `nodeLocal` (a proxy on every worker), or `external` with a load balancer or virtual address of your own";
            findings.push(finding.hint(hint));
        }
        (EndpointMode::External, None) => {
            let finding = Finding::spec("END001", MODE, "the endpoint has no address");
            let finding = finding.label("this mode needs `address`, the name or address that you own");
            findings.push(finding.hint("with `mode: nodeLocal` none is needed"));
        }
        (EndpointMode::NodeLocal, Some(address)) => {
            let finding = Finding::spec("END002", ADDRESS, "a `nodeLocal` endpoint takes no address");
            let finding = finding.label("nobody would use this").related(MODE, "a proxy on 127.0.0.1 of every worker");
            findings.push(
                finding.hint(format!("use `mode: external` if {address} is yours and leads to the control planes")),
            );
        }
        _ => {}
    }
    if endpoint.mode == EndpointMode::External && spec.with_role(Role::ControlPlane).count() > 1 {
        single_point(spec, findings);
    }
}

fn single_point(spec: &Spec, findings: &mut Vec<Finding>) {
    let Some(address) = &spec.endpoint.address else { return };
    let owner = spec
        .hosts
        .iter()
        .enumerate()
        .find(|(_, host)| host.address == *address || host.private_address.to_string() == *address);
    if let Some((index, host)) = owner {
        let text = format!("the endpoint is {}'s own address", host.name);
        let finding = Finding::new(Severity::Warns, "END005", Subject::Spec(ADDRESS.to_owned()), text);
        let finding = finding.label(format!("without {} nobody reaches the API", host.name));
        findings.push(
            finding
                .related(host_path(index, "name"), "this one")
                .hint("use an address that moves, or `mode: nodeLocal`"),
        );
    }
}
