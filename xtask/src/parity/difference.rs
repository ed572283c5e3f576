//! How one document differs from another.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// Differences, one line each: `document path: theirs → ours`; `-` stands for "absent".
pub type Differences = BTreeSet<String>;

/// Differences of `ours` to `theirs`, one line each: `path: theirs → ours`; `-` stands for "absent".
///
/// Lists of named things are compared by name, lists of texts as sets plus the order of what both have.
pub fn differences(theirs: Option<&Value>, ours: Option<&Value>) -> Differences {
    let mut found = Differences::new();
    compare("", theirs, ours, &mut found);
    found
}

/// Differences of texts by name, such as files by path, told line by line: `name : theirs → ours`.
pub fn text_differences(theirs: &BTreeMap<String, String>, ours: &BTreeMap<String, String>) -> Differences {
    let lines = |text: &String| text.lines().map(Value::from).collect::<Value>();
    let values =
        |texts: &BTreeMap<String, String>| texts.iter().map(|(name, text)| (name.clone(), lines(text))).collect();
    document_differences(&values(theirs), &values(ours))
}

/// Differences of documents by name: `name path: theirs → ours`. A document that only one of them has is not told in full.
pub fn document_differences(theirs: &BTreeMap<String, Value>, ours: &BTreeMap<String, Value>) -> Differences {
    let names: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    let mut found = Differences::new();
    for name in names {
        match (theirs.get(name), ours.get(name)) {
            (Some(_), None) => drop(found.insert(format!("{name} : present → -"))),
            (None, Some(_)) => drop(found.insert(format!("{name} : - → present"))),
            (theirs, ours) => found.extend(differences(theirs, ours).into_iter().map(|line| format!("{name} {line}"))),
        }
    }
    found
}

fn compare(path: &str, theirs: Option<&Value>, ours: Option<&Value>, found: &mut Differences) {
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

fn compare_lists(path: &str, theirs: &[Value], ours: &[Value], found: &mut Differences) {
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
        let (before, after) = (common(theirs, ours), common(ours, theirs));
        if before != after {
            found.insert(format!("{path}: in this order {} → {}", Value::Array(before), Value::Array(after)));
        }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(theirs: &Value, ours: &Value) -> Vec<String> {
        differences(Some(theirs), Some(ours)).into_iter().collect()
    }

    #[test]
    fn a_difference_names_its_place() {
        let theirs = json!({ "a": { "b": 1 }, "pods": [{ "name": "x", "image": "1" }] });
        let ours = json!({ "a": { "b": 2 }, "pods": [{ "name": "x", "image": "2" }] });
        assert_eq!(found(&theirs, &ours), ["a.b: 1 → 2", "pods[x].image: \"1\" → \"2\""]);
    }

    #[test]
    fn flags_are_a_set_whose_order_counts() {
        assert_eq!(found(&json!(["a", "b"]), &json!(["a", "c"])), [": \"b\" → -", ": - → \"c\""]);
        assert_eq!(found(&json!(["a", "b"]), &json!(["b", "a"])), [r#": in this order ["a","b"] → ["b","a"]"#]);
    }

    #[test]
    fn files_differ_line_by_line() {
        let texts =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect();
        let found = text_differences(&texts(&[("a", "1\n2\n"), ("b", "")]), &texts(&[("a", "1\n3\n"), ("c", "")]));
        let wanted = ["a : \"2\" → -", "a : - → \"3\"", "b : present → -", "c : - → present"];
        assert_eq!(found, wanted.map(str::to_owned).into());
    }

    #[test]
    fn what_means_the_default_is_no_difference() {
        let zeros = json!({ "a": "0s", "b": {}, "c": [], "d": null, "e": false, "f": 0 });
        assert!(found(&zeros, &json!({})).is_empty());
        assert_eq!(found(&json!({}), &json!({ "a": "0s" })), ["a: - → \"0s\""]);
    }
}
