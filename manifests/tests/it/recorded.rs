//! What the real kubeadm wrote (`tests/kubeadm/`, made by `record.sh`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use kubewright_manifests::RenderedFile;
use serde_json::Value;

/// A recorded case: one folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Case {
    pub version: &'static str,
    pub name: &'static str,
}

impl Case {
    pub fn path(&self, file: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/kubeadm").join(self.version).join(self.name).join(file)
    }

    pub fn text(&self, file: &str) -> String {
        let path = self.path(file);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub fn yaml(&self, file: &str) -> Value {
        parse(&self.text(file))
    }

    /// Objects that kubeadm would create, by `kind namespace/name`.
    pub fn objects(&self) -> BTreeMap<String, Value> {
        by_identity(serde_saphyr::from_multiple(&self.text("objects.yaml")).unwrap())
    }
}

pub fn parse(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

/// The file with that path.
pub fn file<'a>(files: &'a [RenderedFile], path: &str) -> &'a str {
    let found = files.iter().find(|file| file.path == path);
    &found.unwrap_or_else(|| panic!("nothing rendered at {path}")).contents
}

pub fn by_identity(objects: Vec<Value>) -> BTreeMap<String, Value> {
    let named = |object: Value| {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (kind, namespace, name) = (text("/kind"), text("/metadata/namespace"), text("/metadata/name"));
        (format!("{kind} {namespace}/{name}"), unfold(object))
    };
    objects.into_iter().map(named).collect()
}

/// YAML inside a ConfigMap, as structure.
fn unfold(mut object: Value) -> Value {
    if object["kind"] == "ConfigMap"
        && let Some(data) = object["data"].as_object_mut()
    {
        for (key, value) in data {
            // JSON is YAML too.
            if key != "Corefile" {
                *value = parse(value.as_str().unwrap());
            }
        }
    }
    object
}
