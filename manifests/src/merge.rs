//! What the user wrote, laid over ours.

use serde_json::{Map, Value};

/// `theirs` over `ours`: objects are merged key by key, anything else (lists too) is replaced, as kubectl's merge
/// patch does, except that `null` stays a value: these are configurations, not patches.
pub(crate) fn over(ours: Value, theirs: &Map<String, Value>) -> Value {
    let Value::Object(mut merged) = ours else {
        return Value::Object(theirs.clone());
    };
    for (key, value) in theirs {
        let value = match (merged.remove(key), value) {
            (Some(inner @ Value::Object(_)), Value::Object(map)) => over(inner, map),
            _ => value.clone(),
        };
        merged.insert(key.clone(), value);
    }
    Value::Object(merged)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_merge_and_lists_are_replaced() {
        let ours = json!({ "a": { "b": 1, "c": 2 }, "list": [1, 2], "kept": true });
        let theirs = json!({ "a": { "c": 3 }, "list": [9], "new": 0 });
        let merged = over(ours, theirs.as_object().unwrap());
        assert_eq!(merged, json!({ "a": { "b": 1, "c": 3 }, "list": [9], "kept": true, "new": 0 }));
    }
}
