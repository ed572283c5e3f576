//! Counts and sizes, of a file that real etcd wrote from a known story (`xtask/src/golden.rs`).

use kubewright_snapshot::{Filter, Listing, Snapshot};

use super::golden;

fn list(filter: &Filter, largest: usize) -> Listing {
    Snapshot::open(golden::bytes("etcd-3.6-history")).unwrap().list(filter, largest).unwrap()
}

fn objects(listing: &Listing) -> Vec<(String, Option<&str>, u64, u64)> {
    let one = |resource: &kubewright_snapshot::ResourceCounts| {
        (resource.resource.to_string(), resource.counts.objects, resource.counts.rows)
    };
    let mut all: Vec<_> = listing
        .resources
        .iter()
        .map(|resource| {
            let (name, objects, rows) = one(resource);
            (name, resource.kind.as_deref(), objects, rows)
        })
        .collect();
    all.sort();
    all
}

#[test]
fn objects_are_counted_by_resource_and_namespace() {
    let listing = list(&Filter::default(), 0);
    let owned = |name: &str, kind, objects, rows| (name.to_owned(), kind, objects, rows);
    assert_eq!(
        objects(&listing),
        [
            owned("(other keys)", None, 2, 4),
            owned("certificates.cert-manager.io", Some("Certificate"), 1, 1),
            // Twelve, of which config-1, -10 and -11 were deleted; and a large one.
            owned("configmaps", Some("ConfigMap"), 10, 16),
            owned("deployments", Some("Deployment"), 1, 1),
            owned("masterleases", Some("Endpoints"), 1, 1),
            owned("namespaces", Some("Namespace"), 1, 1),
            owned("nodes", Some("Node"), 1, 1),
            // Twelve, four changed, one deleted and come again.
            owned("pods", Some("Pod"), 12, 18),
            owned("secrets", None, 1, 1),
            owned("services", Some("Service"), 1, 1),
        ]
    );
    let named = |name: &str| listing.resources.iter().find(|found| found.resource.to_string() == name).unwrap();
    assert_eq!(named("secrets").encrypted, 1);
    let configs: Vec<_> =
        named("configmaps").namespaces.iter().map(|(name, counts)| (name.as_str(), counts.objects)).collect();
    assert_eq!(configs, [("default", 9), ("shop", 1)]);
    assert_eq!(named("nodes").namespaces.keys().collect::<Vec<_>>(), [""]);
    assert_eq!((listing.total.objects, listing.total.rows), (31, 45));
    assert_eq!(listing.resources[0].resource.to_string(), "configmaps", "the one that takes most comes first");
    let sizes = listing.total;
    assert!(sizes.bytes > 35_000 && sizes.row_bytes > sizes.bytes + 3_000, "{sizes:?}");
}

#[test]
fn the_largest_are_found() {
    let largest = list(&Filter::default(), 3).largest;
    assert_eq!(largest[0].key, "/registry/configmaps/shop/large");
    assert!(largest[0].bytes > 30_000 && largest.is_sorted_by(|one, next| one.bytes >= next.bytes));
    assert_eq!(largest.len(), 3);
    let alone = list(&Filter { resource: Some("node".into()), ..Filter::default() }, 50).largest;
    assert_eq!(alone.len(), 1);
}

#[test]
fn filters_leave_out_the_rest() {
    let of = |filter| list(&filter, 0).total.objects;
    assert_eq!(of(Filter { prefix: b"/registry/pods/".to_vec(), ..Filter::default() }), 12);
    assert_eq!(of(Filter { resource: Some("ConfigMap".into()), ..Filter::default() }), 10);
    assert_eq!(of(Filter { namespace: Some("shop".into()), ..Filter::default() }), 2);
    let both = Filter { resource: Some("certificates".into()), namespace: Some("shop".into()), ..Filter::default() };
    assert_eq!(of(both), 1);
    assert_eq!(of(Filter { resource: Some("nothing".into()), ..Filter::default() }), 0);
}
