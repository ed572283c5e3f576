//! From `apiVersion` and `kind` to a path, without asking the API server what it has.
//!
//! Plurals follow kube's rule, which holds for every built-in kind. Whether a kind is namespaced is a small table; a
//! kind outside Kubernetes' own groups counts as namespaced exactly when the object names a namespace.

use kube::api::DynamicObject;
use kube::core::{ApiResource, GroupVersionKind, Resource, TypeMeta};
use serde_json::Value;

use crate::ports::{Fault, KubeError, ObjectRef};

/// Cluster-wide kinds of Kubernetes' own groups, 1.36 (`kubectl api-resources --namespaced=false`), without those that
/// nobody writes, such as SubjectAccessReview.
const CLUSTER_WIDE: &[&str] = &[
    "APIService",
    "CSIDriver",
    "CSINode",
    "CertificateSigningRequest",
    "ClusterRole",
    "ClusterRoleBinding",
    "ClusterTrustBundle",
    "CustomResourceDefinition",
    "DeviceClass",
    "FlowSchema",
    "IPAddress",
    "IngressClass",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "MutatingWebhookConfiguration",
    "Namespace",
    "Node",
    "PersistentVolume",
    "PriorityClass",
    "PriorityLevelConfiguration",
    "ResourceSlice",
    "RuntimeClass",
    "ServiceCIDR",
    "StorageClass",
    "StorageVersionMigration",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
    "VolumeAttachment",
    "VolumeAttributesClass",
];

/// The name in an object's own words. A namespaced object without a namespace means `default`, as for kubectl; a
/// namespace on a cluster-wide kind means nothing.
///
/// # Errors
/// [`Fault::Invalid`] for an object without `apiVersion`, `kind` or `metadata.name`.
pub(super) fn name_of(object: &Value) -> Result<ObjectRef, KubeError> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    let required = |pointer: &str, field: &str| {
        text(pointer).ok_or_else(|| KubeError::new(Fault::Invalid, "apply an object", format!("it has no {field}")))
    };
    let (api_version, kind) = (required("/apiVersion", "apiVersion")?, required("/kind", "kind")?);
    let name = required("/metadata/name", "metadata.name")?;
    let namespace = text("/metadata/namespace");
    let builtin = is_builtin(api_version);
    Ok(if builtin && CLUSTER_WIDE.contains(&kind) {
        ObjectRef::cluster_wide(api_version, kind, name)
    } else if let Some(namespace) = namespace.or(builtin.then_some("default")) {
        ObjectRef::namespaced(api_version, kind, namespace, name)
    } else {
        ObjectRef::cluster_wide(api_version, kind, name)
    })
}

/// The path of one object.
///
/// # Errors
/// [`Fault::Invalid`] for an `apiVersion` or names that no path can carry.
pub(super) fn path_of(object: &ObjectRef) -> Result<String, KubeError> {
    let invalid = |said: &str| KubeError::new(Fault::Invalid, format!("find {object}"), said);
    let meta = TypeMeta { api_version: object.api_version.clone(), kind: object.kind.clone() };
    let gvk = GroupVersionKind::try_from(meta).map_err(|error| invalid(&error.to_string()))?;
    let segments = [&object.api_version, &object.kind, &object.name].into_iter().chain(object.namespace.as_ref());
    for segment in segments {
        if !segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:/".contains(&byte)) {
            return Err(invalid(&format!("`{segment}` cannot stand in a path")));
        }
    }
    if object.name.contains('/') {
        return Err(invalid("a name has no slash"));
    }
    let collection = DynamicObject::url_path(&ApiResource::from_gvk(&gvk), object.namespace.as_deref());
    Ok(format!("{collection}/{}", object.name))
}

/// Whether the group is one of Kubernetes' own: core, one without a dot (`apps`), or `*.k8s.io` that is served by the
/// API server itself. Kinds of other `*.k8s.io` groups (Gateway API, snapshots) are CustomResourceDefinitions.
fn is_builtin(api_version: &str) -> bool {
    const SERVED: &[&str] = &[
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "certificates.k8s.io",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "events.k8s.io",
        "flowcontrol.apiserver.k8s.io",
        "networking.k8s.io",
        "node.k8s.io",
        "rbac.authorization.k8s.io",
        "resource.k8s.io",
        "scheduling.k8s.io",
        "storage.k8s.io",
        "storagemigration.k8s.io",
    ];
    match api_version.split_once('/') {
        None => true,
        Some((group, _)) => !group.contains('.') || SERVED.contains(&group),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn path(object: &Value) -> String {
        path_of(&name_of(object).unwrap()).unwrap()
    }

    fn object(api_version: &str, kind: &str, namespace: Option<&str>, name: &str) -> Value {
        let mut object = json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": name } });
        if let Some(namespace) = namespace {
            object["metadata"]["namespace"] = namespace.into();
        }
        object
    }

    #[test]
    fn paths_of_what_a_cluster_is_made_of() {
        let cases = [
            ("v1", "Namespace", None, "kube-flannel", "/api/v1/namespaces/kube-flannel"),
            ("v1", "ConfigMap", Some("kube-system"), "coredns", "/api/v1/namespaces/kube-system/configmaps/coredns"),
            ("v1", "Service", Some("kube-system"), "kube-dns", "/api/v1/namespaces/kube-system/services/kube-dns"),
            (
                "apps/v1",
                "DaemonSet",
                Some("kube-system"),
                "kube-proxy",
                "/apis/apps/v1/namespaces/kube-system/daemonsets/kube-proxy",
            ),
            (
                "rbac.authorization.k8s.io/v1",
                "ClusterRoleBinding",
                None,
                "kubeadm:get-nodes",
                "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/kubeadm:get-nodes",
            ),
            (
                "networking.k8s.io/v1",
                "NetworkPolicy",
                Some("a"),
                "deny",
                "/apis/networking.k8s.io/v1/namespaces/a/networkpolicies/deny",
            ),
            (
                "policy/v1",
                "PodDisruptionBudget",
                Some("kube-system"),
                "coredns",
                "/apis/policy/v1/namespaces/kube-system/poddisruptionbudgets/coredns",
            ),
        ];
        for (api_version, kind, namespace, name, expected) in cases {
            assert_eq!(path(&object(api_version, kind, namespace, name)), expected);
        }
    }

    #[test]
    fn a_namespace_that_is_missing_or_too_much_is_read_as_kubectl_reads_it() {
        assert_eq!(path(&object("v1", "ConfigMap", None, "a")), "/api/v1/namespaces/default/configmaps/a");
        assert_eq!(
            path(&object("rbac.authorization.k8s.io/v1", "ClusterRole", Some("kube-system"), "a")),
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/a"
        );
    }

    #[test]
    fn kinds_of_others_are_namespaced_when_they_say_so() {
        assert_eq!(
            path(&object("crd.projectcalico.org/v1", "FelixConfiguration", None, "default")),
            "/apis/crd.projectcalico.org/v1/felixconfigurations/default"
        );
        assert_eq!(
            path(&object("gateway.networking.k8s.io/v1", "Gateway", Some("a"), "b")),
            "/apis/gateway.networking.k8s.io/v1/namespaces/a/gateways/b"
        );
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let error = name_of(&json!({ "kind": "ConfigMap", "metadata": { "name": "a" } })).unwrap_err();
        assert_eq!((error.fault, error.said.as_str()), (Fault::Invalid, "it has no apiVersion"));
        let error = path_of(&ObjectRef::namespaced("v1", "ConfigMap", "a", "b/../../secrets")).unwrap_err();
        assert_eq!(error.fault, Fault::Invalid);
        assert!(path_of(&ObjectRef::namespaced("v1", "ConfigMap", "a", "b?x=y")).is_err());
    }
}
