//! The lock's mirror: Lease `kube-system/kubewright` shows in the cluster who works on it.
//!
//! Never authoritative: the lock is the fence number on the hosts. The Lease is absent while a cluster is built and an
//! etcd restore turns it back, so no caller may refuse or begin work because of it.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::ports::{Fault, KubeApi, KubeError, ObjectRef};

const NAMESPACE: &str = "kube-system";
const NAME: &str = "kubewright";

/// The fence number of the lock that the Lease mirrors.
const FENCE: &str = "kubewright.dev/fence";

/// How long the Lease counts as fresh for those who look at it; holders renew it with each step, and the longest step
/// that says nothing in between is a minute.
const DURATION_SECONDS: u32 = 120;

/// Who works on the cluster, as the Lease tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirrored {
    /// User, machine and operation; `None` after release.
    pub holder: Option<String>,
    /// The lock's fence number.
    pub fence: u64,
    /// Since when.
    pub since: Option<Timestamp>,
    /// When it was last renewed.
    pub renewed: Option<Timestamp>,
}

/// What the cluster says; `None` where there is no Lease.
///
/// # Errors
/// [`KubeError`].
pub async fn show(api: &dyn KubeApi) -> Result<Option<Mirrored>, KubeError> {
    Ok(api.get(&object()).await?.as_ref().map(read))
}

/// Writes or renews the mirror. Two round trips.
///
/// # Errors
/// [`Fault::Conflict`] where the Lease carries a higher fence, naming who holds it, or changed under us.
pub async fn hold(api: &dyn KubeApi, holder: &str, fence: u64, now: Timestamp) -> Result<(), KubeError> {
    let present = api.get(&object()).await?;
    let mirrored = present.as_ref().map(read);
    refuse_higher(mirrored.as_ref(), fence)?;
    let ours = mirrored.filter(|mirrored| mirrored.fence == fence && mirrored.holder.as_deref() == Some(holder));
    let since = ours.and_then(|mirrored| mirrored.since).unwrap_or(now);
    let spec = json!({
        "holderIdentity": holder,
        "leaseDurationSeconds": DURATION_SECONDS,
        "acquireTime": micro(since),
        "renewTime": micro(now),
    });
    api.apply(&lease(present.as_ref(), fence, &spec)).await.map(drop)
}

/// Shows that nobody works on the cluster any more; the fence number stays. Two round trips.
///
/// # Errors
/// [`Fault::Conflict`] where somebody with a higher fence has taken over.
pub async fn release(api: &dyn KubeApi, fence: u64, now: Timestamp) -> Result<(), KubeError> {
    let Some(present) = api.get(&object()).await? else {
        return Ok(());
    };
    refuse_higher(Some(&read(&present)), fence)?;
    let spec = json!({ "leaseDurationSeconds": DURATION_SECONDS, "renewTime": micro(now) });
    api.apply(&lease(Some(&present), fence, &spec)).await.map(drop)
}

fn refuse_higher(mirrored: Option<&Mirrored>, fence: u64) -> Result<(), KubeError> {
    match mirrored {
        Some(other) if other.fence > fence => {
            let holder = other.holder.as_deref().unwrap_or("nobody");
            let said = format!("it mirrors fence {}, held by {holder}; ours is {fence}", other.fence);
            Err(KubeError::new(Fault::Conflict, format!("write {}", object()), said))
        }
        _ => Ok(()),
    }
}

/// With the version that was read, so that a change in between is a conflict and not overwritten.
fn lease(present: Option<&Value>, fence: u64, spec: &Value) -> Value {
    let mut lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": { "namespace": NAMESPACE, "name": NAME, "annotations": { FENCE: fence.to_string() } },
        "spec": spec,
    });
    if let Some(version) = present.and_then(|present| present.pointer("/metadata/resourceVersion")) {
        lease["metadata"]["resourceVersion"] = version.clone();
    }
    lease
}

fn read(lease: &Value) -> Mirrored {
    let text = |field: &str| lease["spec"][field].as_str().filter(|text| !text.is_empty());
    let time = |field: &str| text(field).and_then(|text| text.parse().ok());
    Mirrored {
        holder: text("holderIdentity").map(str::to_owned),
        fence: lease["metadata"]["annotations"][FENCE].as_str().and_then(|text| text.parse().ok()).unwrap_or(0),
        since: time("acquireTime"),
        renewed: time("renewTime"),
    }
}

fn object() -> ObjectRef {
    ObjectRef::namespaced("coordination.k8s.io/v1", "Lease", NAMESPACE, NAME)
}

/// Kubernetes' MicroTime: always six digits.
fn micro(time: Timestamp) -> String {
    format!("{time:.6}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let spec =
            json!({ "holderIdentity": "ann@desk 7f3a9c", "acquireTime": micro(at(5)), "renewTime": micro(at(9)) });
        let mirrored = read(&lease(None, 7, &spec));
        assert_eq!(
            mirrored,
            Mirrored { holder: Some("ann@desk 7f3a9c".to_owned()), fence: 7, since: Some(at(5)), renewed: Some(at(9)) }
        );
    }

    #[test]
    fn times_have_six_digits() {
        assert_eq!(micro(at(0)), "1970-01-01T00:00:00.000000Z");
    }

    #[test]
    fn a_higher_fence_is_never_overwritten() {
        let other = Mirrored { holder: Some("bob".to_owned()), fence: 8, since: None, renewed: None };
        let error = refuse_higher(Some(&other), 7).unwrap_err();
        assert_eq!(error.fault, Fault::Conflict);
        assert_eq!(error.to_string(), "write Lease kube-system/kubewright: it mirrors fence 8, held by bob; ours is 7");
        assert!(refuse_higher(Some(&other), 8).is_ok());
        assert!(refuse_higher(None, 1).is_ok());
    }
}
