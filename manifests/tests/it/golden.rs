//! The rendered tree of a whole cluster, file by file, under `tests/golden/ha`. `UPDATE_GOLDEN=1` rewrites it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use kubewright_manifests::static_pods::static_pods;
use kubewright_manifests::{Arch, artefacts, cluster_objects, containerd, kubelet, node_local, yaml};
use serde_json::json;

use crate::specs;

#[test]
fn the_rendered_tree_is_as_agreed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/ha");
    let rendered = rendered();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let _ = fs::remove_dir_all(&root);
        for (path, contents) in &rendered {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, contents).unwrap();
        }
    }
    let agreed: BTreeSet<String> = files_below(&root, &root);
    let names: BTreeSet<String> = rendered.keys().cloned().collect();
    assert_eq!(agreed, names, "files; UPDATE_GOLDEN=1 rewrites them");
    for (path, contents) in &rendered {
        assert_eq!(&fs::read_to_string(root.join(path)).unwrap(), contents, "{path}; UPDATE_GOLDEN=1 rewrites it");
    }
}

fn rendered() -> BTreeMap<String, String> {
    let spec = specs::ha();
    let mut tree = BTreeMap::new();
    // One of each kind: the other control planes differ in addresses only, which the etcd manifest of cp2 shows.
    for (name, etcd_only) in [("cp1", false), ("cp2", true), ("w1", false), ("w2", false)] {
        let host = spec.host(&name.into()).unwrap();
        let mut files = static_pods(&spec, host, &specs::first_start(&spec));
        files.extend(node_local::files(&spec, host));
        files.extend(kubelet::files(&spec, host, None));
        if name == "cp1" {
            files.extend(containerd::files(&spec));
        }
        files.retain(|file| !etcd_only || file.path.ends_with("/etcd.yaml"));
        tree.extend(files.into_iter().map(|file| (format!("{name}{}", file.path), file.contents)));
        if !etcd_only {
            let wanted = json!({
                "binaries": artefacts::binaries(&spec, host, Arch::Amd64),
                "images": artefacts::images(&spec, host),
                "node": cluster_objects::node_marks(&spec, host),
            });
            tree.insert(format!("{name}/wanted.yaml"), yaml::document(&wanted));
        }
    }
    for (number, object) in cluster_objects::all(&spec, "a PEM file\n").iter().enumerate() {
        let kind = object["kind"].as_str().unwrap().to_lowercase();
        let name = object["metadata"]["name"].as_str().unwrap().replace(':', "-");
        tree.insert(format!("objects/{number:02}-{kind}-{name}.yaml"), yaml::document(object));
    }
    tree
}

fn files_below(root: &Path, dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path());
    let names = entries.map(|path| {
        if path.is_dir() {
            files_below(root, &path)
        } else {
            [path.strip_prefix(root).unwrap().display().to_string()].into()
        }
    });
    names.flatten().collect()
}
