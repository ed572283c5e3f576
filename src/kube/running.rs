//! Which versions a cluster runs, as its own pods tell.

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ObjectList;
use kubewright_core::facts::Running;
use kubewright_core::ids::HostName;
use kubewright_core::version::Version;

use super::ClusterApi;
use super::call::Call;
use crate::ports::{Fault, KubeError};

/// Static pods of the control planes by kubeadm's label, and kube-proxy; two round trips side by side.
pub(super) async fn running(api: &ClusterApi) -> Result<Running, KubeError> {
    let pods = Call::get(
        "list the control planes' pods",
        "/api/v1/namespaces/kube-system/pods?labelSelector=tier%3Dcontrol-plane",
    );
    let proxy = Call::get(
        "read DaemonSet kube-system/kube-proxy",
        "/apis/apps/v1/namespaces/kube-system/daemonsets/kube-proxy",
    );
    let (pods_answer, proxy_answer) = tokio::join!(api.call(&pods), api.call(&proxy));
    let listed: ObjectList<Pod> = pods_answer?.json(&pods.doing)?;
    let mut running = Running::default();
    for pod in &listed.items {
        if let Some((host, component, version)) = component(pod) {
            running.control_planes.entry(host).or_default().insert(component, version);
        }
    }
    running.kube_proxy = match proxy_answer {
        Ok(answer) => proxy_version(&answer.json(&proxy.doing)?),
        Err(error) if error.fault == Fault::NotFound => None,
        Err(error) => return Err(error),
    };
    Ok(running)
}

/// Where a static pod runs, which component it is, and in which version: what its container has, or is to have.
fn component(pod: &Pod) -> Option<(HostName, String, Version)> {
    let spec = pod.spec.as_ref()?;
    let component = pod.metadata.labels.as_ref()?.get("component")?.clone();
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
    let ran = statuses.first().and_then(|status| tag(&status.image));
    // A runtime may tell an image by its digest alone.
    let version = ran.or_else(|| tag(spec.containers.first()?.image.as_deref()?))?;
    Some((HostName::new(spec.node_name.clone()?), component, version))
}

fn proxy_version(proxy: &DaemonSet) -> Option<Version> {
    let containers = &proxy.spec.as_ref()?.template.spec.as_ref()?.containers;
    tag(containers.first()?.image.as_deref()?)
}

/// The version that an image's tag is.
fn tag(image: &str) -> Option<Version> {
    let name = image.split('@').next().unwrap_or(image);
    let (_, tag) = name.rsplit_once(':')?;
    tag.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(image: &str, ran: &str) -> Pod {
        let statuses: Vec<Value> = [ran]
            .into_iter()
            .filter(|ran| !ran.is_empty())
            .map(|ran| json!({ "name": "c", "image": ran, "imageID": "", "ready": true, "restartCount": 0 }))
            .collect();
        serde_json::from_value(json!({
            "metadata": { "name": "kube-apiserver-cp1", "labels": { "component": "kube-apiserver" } },
            "spec": { "nodeName": "cp1", "containers": [{ "name": "c", "image": image }] },
            "status": { "containerStatuses": statuses },
        }))
        .unwrap()
    }

    #[test]
    fn what_a_container_has_comes_before_what_it_is_to_have() {
        let version = |image: &str, ran: &str| component(&pod(image, ran)).map(|(_, _, version)| version.to_string());
        let new = "registry:5000/kube-apiserver:v1.36.3";
        assert_eq!(version(new, "registry:5000/kube-apiserver:v1.35.4").as_deref(), Some("1.35.4"));
        assert_eq!(version(new, "sha256:0123").as_deref(), Some("1.36.3"));
        assert_eq!(version(&format!("{new}@sha256:0123"), "").as_deref(), Some("1.36.3"));
        assert_eq!(version("registry:5000/kube-apiserver", ""), None, "a port is no version");
        assert_eq!(tag("registry.k8s.io/etcd:3.6.6-0").map(|tag| tag.to_string()).as_deref(), Some("3.6.6-0"));
    }
}
