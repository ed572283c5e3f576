//! What two clusters built from one spec must have in common: files and objects without what is made anew each time
//! (keys, serial numbers, dates, tokens, uids).

use std::collections::BTreeMap;

use kubewright_certs::inspect::CertificateFacts;
use serde_json::Value;
use xtask::lab::Lab;

use super::cluster::Kubectl;

/// Folders and files whose names, modes and contents count.
const PLACES: &str = "/etc/kubernetes /var/lib/kubelet/config.yaml /var/lib/kubelet/kubeadm-flags.env \
                      /var/lib/kubelet/instance-config.yaml /etc/containerd /etc/crictl.yaml \
                      /etc/systemd/system/kubelet.service /etc/systemd/system/kubelet.service.d \
                      /etc/systemd/system/containerd.service /etc/sysctl.d/99-kubernetes.conf /etc/modules-load.d \
                      /opt/cni/bin /usr/local/bin /usr/local/lib/kubewright /var/lib/kubewright/artefacts /var/lib/kubewright/host";

/// Kinds whose objects count. Pods and leases come and go by themselves.
const KINDS: &str = "configmaps,clusterroles,clusterrolebindings,roles,rolebindings,serviceaccounts,daemonsets,deployments,\
                     services,namespaces";

/// Every file of a host by path: mode and a digest of what must be the same.
pub fn files(lab: &Lab, host: &str) -> BTreeMap<String, String> {
    let script = format!(
        "find {PLACES} -type f -o -type l 2>/dev/null | sort | while read -r path; do \
           printf '%s\\t%s\\t%s\\t' \"$path\" \"$(stat -c %a \"$path\")\" \"$(sha256sum < \"$path\" | cut -c1-64)\"; \
           case $path in *.crt) base64 -w0 < \"$path\" ;; */etcd.yaml|*/kubewright/host) base64 -w0 < \"$path\" ;; esac; echo; \
         done"
    );
    let listing = lab.exec(host, &script).expect("the host answers");
    listing
        .lines()
        .filter_map(|line| {
            let mut fields = line.split('\t');
            let (path, mode, digest) = (fields.next()?, fields.next()?, fields.next()?);
            let text = fields.next().unwrap_or_default();
            Some((path.to_owned(), format!("{mode} {}", contents(path, digest, text))))
        })
        .collect()
}

fn contents(path: &str, digest: &str, encoded: &str) -> String {
    let decoded = || {
        use base64::Engine;
        let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).expect("base64");
        String::from_utf8(bytes).expect("text")
    };
    let made_anew = path.ends_with(".key")
        || path.ends_with(".pub")
        || path.ends_with(".conf") && path.starts_with("/etc/kubernetes");
    if path.ends_with(".crt") {
        let all = CertificateFacts::from_pem(&decoded()).expect("a certificate");
        let facts = all.first().expect("one certificate");
        return format!(
            "{} signed by {} names {:?} {:?} for {:?} {:?}",
            facts.subject.text, facts.issuer.text, facts.dns_names, facts.addresses, facts.key_usages, facts.tls_usages
        );
    }
    if path.ends_with("/etcd.yaml") {
        let text = decoded();
        return text.lines().filter(|line| !line.contains("--initial-cluster-token")).collect::<Vec<_>>().join("\n");
    }
    if path.ends_with("/kubewright/host") {
        let mut record: Value = serde_json::from_str(&decoded()).expect("a record");
        record["operation"] = Value::Null;
        return record.to_string();
    }
    if made_anew { "made anew".to_owned() } else { digest.to_owned() }
}

/// Every object of the cluster by kind, namespace and name, without what the API server adds.
pub fn objects(kubectl: &Kubectl) -> BTreeMap<String, Value> {
    let list = kubectl.json(&["get", KINDS, "-A"]);
    list["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|object| {
            let name = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
            let kind = object["kind"].as_str().unwrap_or_default();
            let key = format!("{kind} {}/{}", name("namespace"), name("name"));
            let mut bare = object.clone();
            for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"] {
                bare["metadata"].as_object_mut().expect("an object").remove(field);
            }
            bare.as_object_mut().expect("an object").remove("status");
            // Authorities and their keys are new in every cluster; so are the addresses that Services draw.
            if let Some(data) = bare["data"].as_object_mut() {
                for value in data.values_mut() {
                    if value
                        .as_str()
                        .is_some_and(|text| text.contains("CERTIFICATE") || text.contains("certificate-authority-data"))
                    {
                        *value = Value::from("made anew");
                    }
                }
            }
            (key, bare)
        })
        // The demo's own, which only one of the runs may have.
        .filter(|(key, _)| !key.ends_with("default/hello"))
        .collect()
}

/// Labels and taints of every node.
pub fn nodes(kubectl: &Kubectl) -> BTreeMap<String, Value> {
    let list = kubectl.json(&["get", "nodes"]);
    let nodes = list["items"].as_array().expect("a list");
    let marks =
        |node: &Value| serde_json::json!({ "labels": node["metadata"]["labels"], "taints": node["spec"]["taints"] });
    nodes.iter().map(|node| (node["metadata"]["name"].as_str().unwrap_or_default().to_owned(), marks(node))).collect()
}
