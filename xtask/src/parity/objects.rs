//! A cluster's objects without what is another in every cluster: keys, dates, counters.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

/// Kinds that `kubeadm init` makes objects of, as kubectl takes them. Pods, leases and endpoints come of themselves.
pub const KINDS: &str = "namespaces,nodes,serviceaccounts,clusterroles,clusterrolebindings,roles,rolebindings,configmaps,\
                         secrets,services,daemonsets,deployments";

/// What stands in place of something that is made anew each time.
pub const MADE_ANEW: &str = "MADE ANEW";

/// Keys of ConfigMaps that hold YAML, which is compared as structure.
const YAML: [&str; 5] = ["ClusterConfiguration", "kubelet", "config.conf", "kubeconfig.conf", "kubeconfig"];

/// Fields that the API server keeps about an object.
const BOOKKEEPING: [&str; 5] = ["uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"];

/// The objects of a list, as `kubectl get … -o json` writes it, by `Kind namespace/name`.
///
/// # Errors
/// It is no list of objects, or a ConfigMap does not hold the YAML that it should.
pub fn by_identity(list: &Value) -> Result<BTreeMap<String, Value>> {
    let items = list["items"].as_array().context("a list of objects was expected")?;
    items
        .iter()
        .map(|object| {
            let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
            let identity = format!("{} {}/{}", text("/kind"), text("/metadata/namespace"), text("/metadata/name"));
            let bare = bare(object).with_context(|| identity.clone())?;
            Ok((identity, bare))
        })
        .collect()
}

fn bare(object: &Value) -> Result<Value> {
    let mut bare = object.clone();
    let fields = bare.as_object_mut().context("an object was expected")?;
    fields.remove("status");
    if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in BOOKKEEPING {
            metadata.remove(field);
        }
    }
    match object["kind"].as_str() {
        Some("Node") => mark(fields),
        Some("Secret") => hide(fields),
        Some("ConfigMap") => {
            for (key, value) in fields.get_mut("data").and_then(Value::as_object_mut).into_iter().flatten() {
                *value = data(key, value.as_str().unwrap_or_default())?;
            }
        }
        _ => {}
    }
    Ok(bare)
}

/// What a node is marked with; what else its kubelet and the controllers write differs with the moment.
fn mark(fields: &mut Map<String, Value>) {
    let mut taints = fields.get("spec").map(|spec| spec["taints"].clone()).unwrap_or_default();
    // Not ready, unreachable and the like come and go with the kubelet's word.
    let moment = |taint: &Value| taint["key"].as_str().is_some_and(|key| key.starts_with("node.kubernetes.io/"));
    if let Some(list) = taints.as_array_mut() {
        list.retain(|taint| !moment(taint));
    }
    fields.insert("spec".into(), json!({ "taints": taints }));
    for value in fields["metadata"]["annotations"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        // The address that flannel draws for its interface.
        if value.as_str().is_some_and(|text| text.contains("VtepMAC")) {
            *value = json!(MADE_ANEW);
        }
    }
}

/// The keys of a Secret, and nothing of their values.
fn hide(fields: &mut Map<String, Value>) {
    for value in fields.get_mut("data").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
        *value = json!(MADE_ANEW);
    }
}

fn data(key: &str, text: &str) -> Result<Value> {
    let changes = text.contains("BEGIN CERTIFICATE") || key.starts_with("jws-") || key == "since";
    if changes {
        return Ok(json!(MADE_ANEW));
    }
    if !YAML.contains(&key) {
        return Ok(json!(text));
    }
    let mut value: Value = serde_saphyr::from_str(text).with_context(|| format!("{key} is not YAML"))?;
    for cluster in value["clusters"].as_array_mut().into_iter().flatten() {
        if let Some(authority) = cluster["cluster"].get_mut("certificate-authority-data") {
            *authority = json!(MADE_ANEW);
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_anew_is_hidden_and_the_rest_kept() {
        let list = json!({ "items": [
            { "kind": "ConfigMap", "metadata": { "namespace": "kube-public", "name": "cluster-info", "uid": "1" },
              "data": { "jws-kubeconfig-abcdef": "x",
                        "kubeconfig": "clusters: [{cluster: {certificate-authority-data: QQ==, server: s}}]" } },
            { "kind": "Node", "metadata": { "name": "cp1", "labels": { "a": "b" } },
              "spec": { "podCIDR": "10.0.0.0/24", "taints": [
                  { "key": "node.kubernetes.io/not-ready", "effect": "NoSchedule" },
                  { "key": "dedicated", "effect": "NoSchedule" } ] }, "status": {} },
            { "kind": "Secret", "metadata": { "name": "t" }, "type": "x", "data": { "token": "c2VjcmV0" } },
        ] });
        let objects = by_identity(&list).unwrap();
        let info = &objects["ConfigMap kube-public/cluster-info"];
        assert_eq!(info["metadata"].get("uid"), None);
        assert_eq!(
            info["data"],
            json!({
                "jws-kubeconfig-abcdef": MADE_ANEW,
                "kubeconfig": { "clusters": [{ "cluster": { "certificate-authority-data": MADE_ANEW, "server": "s" } }] },
            })
        );
        assert_eq!(objects["Node /cp1"]["metadata"]["labels"], json!({ "a": "b" }));
        assert_eq!(objects["Node /cp1"]["spec"], json!({ "taints": [{ "key": "dedicated", "effect": "NoSchedule" }] }));
        assert_eq!(objects["Secret /t"]["data"]["token"], MADE_ANEW);
    }
}
