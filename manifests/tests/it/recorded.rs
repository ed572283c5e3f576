//! What the real kubeadm wrote (`tests/kubeadm/`, made by `record.sh`), and how ours differs from it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use kubewright_manifests::RenderedFile;
use serde_json::{Map, Value};

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

/// Differences of `ours` to `theirs`, one line each: `path: theirs → ours`; `-` stands for "absent".
///
/// Lists of named things are compared by name, lists of flags as sets of flags plus their order.
pub fn differences(theirs: Option<&Value>, ours: Option<&Value>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    compare("", theirs, ours, &mut found);
    found
}

fn compare(path: &str, theirs: Option<&Value>, ours: Option<&Value>, found: &mut BTreeSet<String>) {
    match (theirs, ours) {
        (Some(Value::Object(theirs)), Some(Value::Object(ours))) => {
            for key in theirs.keys().chain(ours.keys()) {
                compare(&join(path, key), theirs.get(key), ours.get(key), found);
            }
        }
        (Some(Value::Array(theirs)), Some(Value::Array(ours))) => compare_lists(path, theirs, ours, found),
        // Go's zero values, which kubeadm writes out: they mean what an absent field means.
        (Some(zero), None) if is_zero(zero) => {}
        (theirs, ours) if theirs == ours => {}
        (theirs, ours) => {
            let show = |value: Option<&Value>| value.map_or("-".to_owned(), Value::to_string);
            found.insert(format!("{path}: {} → {}", show(theirs), show(ours)));
        }
    }
}

fn compare_lists(path: &str, theirs: &[Value], ours: &[Value], found: &mut BTreeSet<String>) {
    if let (Some(theirs), Some(ours)) = (named(theirs), named(ours)) {
        let names = |map: &Map<String, Value>| map.keys().cloned().collect::<BTreeSet<_>>();
        for name in names(&theirs).union(&names(&ours)) {
            compare(&format!("{path}[{name}]"), theirs.get(name), ours.get(name), found);
        }
    } else if theirs.iter().chain(ours).all(Value::is_string) {
        for gone in theirs.iter().filter(|item| !ours.contains(item)) {
            found.insert(format!("{path}: {gone} → -"));
        }
        for new in ours.iter().filter(|item| !theirs.contains(item)) {
            found.insert(format!("{path}: - → {new}"));
        }
        let common = |list: &[Value], other: &[Value]| {
            list.iter().filter(|item| other.contains(item)).cloned().collect::<Vec<_>>()
        };
        assert_eq!(common(theirs, ours), common(ours, theirs), "order at {path}");
    } else {
        for index in 0..theirs.len().max(ours.len()) {
            compare(&format!("{path}[{index}]"), theirs.get(index), ours.get(index), found);
        }
    }
}

/// The list as a map, where every item has a name of its own.
fn named(items: &[Value]) -> Option<Map<String, Value>> {
    let mut map = Map::new();
    for item in items {
        let name = item.get("name").or(item.get("mountPath"))?.as_str()?;
        if map.insert(name.to_owned(), item.clone()).is_some() {
            return None;
        }
    }
    Some(map)
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => matches!(text.as_str(), "" | "0" | "0s"),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_zero),
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
