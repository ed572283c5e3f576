//! What keys and values mean to Kubernetes: keys are `/registry/[GROUP/]RESOURCE/[NAMESPACE/]NAME`, values say their kind.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use crate::wire::{Fields, Value};

/// Where API servers keep their objects: `--etcd-prefix` of Kubernetes, and the two of OpenShift.
const PREFIXES: [&str; 3] = ["/registry/", "/kubernetes.io/", "/openshift.io/"];
/// Resources that are stored under another name than the one they have in the API, in the API server's own sources.
const OTHER_NAMES: [(&str, &str); 5] = [
    ("minions", "nodes"),
    ("services/specs", "services"),
    ("services/endpoints", "endpoints"),
    ("controllers", "replicationcontrollers"),
    ("ingress", "ingresses"),
];
/// Before an object in protobuf.
const PROTOBUF: &[u8] = b"k8s\0";
/// Before one that the API server encrypted.
const ENCRYPTED: &[u8] = b"k8s:enc:";

/// A resource of the API, such as `pods` or `certificates.cert-manager.io`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// As in the API, with its group behind a dot where the key tells it.
    Api(String),
    /// What is not Kubernetes'.
    Elsewhere,
}

impl fmt::Display for Resource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Api(name) => name,
            Self::Elsewhere => "(other keys)",
        })
    }
}

impl Serialize for Resource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Api(name) => serializer.serialize_str(name),
            Self::Elsewhere => serializer.serialize_none(),
        }
    }
}

/// A key, taken apart. All parts are borrowed from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectKey<'a> {
    /// The API group, where the key has it: custom resources and the aggregation layer's own.
    pub group: Option<&'a str>,
    /// The resource, as the API calls it.
    pub resource: &'a str,
    /// The namespace of one that has one.
    pub namespace: Option<&'a str>,
    /// The name.
    pub name: &'a str,
}

impl<'a> ObjectKey<'a> {
    /// Takes a key apart; `None` where it is not Kubernetes'.
    pub fn parse(key: &'a [u8]) -> Option<Self> {
        let key = std::str::from_utf8(key).ok()?;
        let path = PREFIXES.iter().find_map(|prefix| key.strip_prefix(prefix))?;
        if let Some((stored, resource, rest)) = OTHER_NAMES.iter().find_map(|(stored, resource)| {
            let rest = path.strip_prefix(stored)?.strip_prefix('/')?;
            Some((stored, *resource, rest))
        }) && !stored.is_empty()
        {
            return Some(Self::named(None, resource, rest));
        }
        let (first, rest) = path.split_once('/')?;
        if first.is_empty() {
            return None;
        }
        match rest.split_once('/') {
            // Only groups have dots; the groups that are built in are not in the key.
            Some((resource, rest)) if first.contains('.') => Some(Self::named(Some(first), resource, rest)),
            _ => Some(Self::named(None, first, rest)),
        }
    }

    fn named(group: Option<&'a str>, resource: &'a str, rest: &'a str) -> Self {
        match rest.split_once('/') {
            Some((namespace, name)) => Self { group, resource, namespace: Some(namespace), name },
            None => Self { group, resource, namespace: None, name: rest },
        }
    }

    /// The resource with its group.
    pub fn full_resource(&self) -> Resource {
        Resource::Api(match self.group {
            Some(group) => format!("{}.{group}", self.resource),
            None => self.resource.to_owned(),
        })
    }

    /// Whether a person who says this means the resource: `pods`, `pod`, `Pod`, `certificates.cert-manager.io`.
    pub fn is_called(&self, said: &str) -> bool {
        let (name, group) = said.split_once('.').map_or((said, None), |(name, group)| (name, Some(group)));
        let ends = ["", "s", "es"];
        let singular = || name.strip_suffix(['y', 'Y']).map(|stem| format!("{stem}ies"));
        (group.is_none() || group == self.group)
            && (ends.iter().any(|end| self.resource.eq_ignore_ascii_case(&format!("{name}{end}")))
                || singular().is_some_and(|plural| self.resource.eq_ignore_ascii_case(&plural)))
    }
}

/// What a value says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// An object of this kind.
    Kind(String),
    /// Sealed by the API server; only it can tell more.
    Encrypted,
    /// Anything else.
    Unknown,
}

/// Reads no more of a value than its kind.
pub(crate) fn content(value: &[u8]) -> Content {
    #[derive(Deserialize)]
    struct Typed {
        kind: String,
    }
    if value.starts_with(ENCRYPTED) {
        return Content::Encrypted;
    }
    let kind = match value.strip_prefix(PROTOBUF) {
        Some(message) => protobuf_kind(message),
        None if value.first() == Some(&b'{') => serde_json::from_slice::<Typed>(value).ok().map(|typed| typed.kind),
        None => None,
    };
    kind.filter(|kind| !kind.is_empty()).map_or(Content::Unknown, Content::Kind)
}

/// Whether the API server sealed it.
pub(crate) fn is_encrypted(value: &[u8]) -> bool {
    value.starts_with(ENCRYPTED)
}

/// `runtime.Unknown` begins with its `TypeMeta`: 1 the version, 2 the kind.
fn protobuf_kind(message: &[u8]) -> Option<String> {
    let bytes_of = |message, wanted| {
        Fields::of(message).map_while(|field| field).find_map(|(number, value)| match value {
            Value::Bytes(bytes) if number == wanted => Some(bytes),
            _ => None,
        })
    };
    let kind = bytes_of(bytes_of(message, 1)?, 2)?;
    Some(String::from_utf8_lossy(kind).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(key: &str) -> Option<(String, Option<&str>, &str)> {
        let key = ObjectKey::parse(key.as_bytes())?;
        Some((key.full_resource().to_string(), key.namespace, key.name))
    }

    #[test]
    fn keys_are_taken_apart() {
        for (key, resource, namespace, name) in [
            ("/registry/pods/default/web-1", "pods", Some("default"), "web-1"),
            ("/registry/minions/cp1", "nodes", None, "cp1"),
            ("/registry/services/specs/default/kubernetes", "services", Some("default"), "kubernetes"),
            ("/registry/services/endpoints/default/kubernetes", "endpoints", Some("default"), "kubernetes"),
            ("/registry/ranges/serviceips", "ranges", None, "serviceips"),
            ("/registry/cert-manager.io/certificates/shop/web", "certificates.cert-manager.io", Some("shop"), "web"),
            (
                "/registry/apiregistration.k8s.io/apiservices/v1.apps",
                "apiservices.apiregistration.k8s.io",
                None,
                "v1.apps",
            ),
            ("/kubernetes.io/secrets/a/b", "secrets", Some("a"), "b"),
            ("/registry/leases/kube-node-lease/n1.example.org", "leases", Some("kube-node-lease"), "n1.example.org"),
            ("/registry/clusterroles/system:node", "clusterroles", None, "system:node"),
        ] {
            assert_eq!(parsed(key), Some((resource.to_owned(), namespace, name)), "{key}");
        }
        for key in ["compact_rev_key", "/registry", "/registry/", "/registry/health", "/registry//x", "/other/pods/a/b"]
        {
            assert_eq!(parsed(key), None, "{key}");
        }
        assert_eq!(ObjectKey::parse(b"/registry/pods/\xff/x"), None);
    }

    #[test]
    fn resources_are_meant_in_several_ways() {
        let pods = ObjectKey::parse(b"/registry/pods/a/b").unwrap();
        let policies = ObjectKey::parse(b"/registry/networkpolicies/a/b").unwrap();
        let custom = ObjectKey::parse(b"/registry/cert-manager.io/certificates/a/b").unwrap();
        assert!(["pods", "pod", "Pod", "PODS"].iter().all(|said| pods.is_called(said)));
        assert!(["NetworkPolicy", "networkpolicies"].iter().all(|said| policies.is_called(said)));
        assert!(["certificates", "certificate.cert-manager.io"].iter().all(|said| custom.is_called(said)));
        assert!(!pods.is_called("po") && !custom.is_called("certificates.other.io") && !pods.is_called(""));
    }

    #[test]
    fn values_tell_their_kind() {
        assert_eq!(content(b"k8s\0\x0a\x09\x0a\x02v1\x12\x03Pod"), Content::Kind("Pod".into()));
        assert_eq!(content(br#"{"kind":"Certificate","x":[1]}"#), Content::Kind("Certificate".into()));
        assert_eq!(content(b"k8s:enc:kms:v2:x:\x00"), Content::Encrypted);
        for value in [&b""[..], b"k8s\0", b"k8s\0\x0a\xff", b"{", b"{}", b"plain"] {
            assert_eq!(content(value), Content::Unknown, "{value:?}");
        }
    }
}
