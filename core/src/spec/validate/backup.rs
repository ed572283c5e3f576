//! Where copies of etcd go.

use crate::etcd::address::StoreAddress;
use crate::finding::Finding;
use crate::spec::Spec;

/// BACK005.
pub fn bucket(spec: &Spec, findings: &mut Vec<Finding>) {
    let backup = &spec.backup;
    if backup.to.as_ref().is_some_and(StoreAddress::is_bucket) {
        return;
    }
    for (key, said) in [("endpoint", &backup.endpoint), ("region", &backup.region)] {
        if said.is_some() {
            let finding = Finding::spec(
                "BACK005",
                format!("spec.backup.{key}"),
                format!("copies go to no bucket, so `{key}` means nothing"),
            );
            findings.push(finding.hint("name the bucket: `to: s3://BUCKET/PREFIX`"));
        }
    }
}
