//! The table as JSON Schema (2020-12), for editors: completion, documentation on hover, red lines under unknown keys.
//!
//! It says less than [`super::read`]: formats of text are left to us, whose findings explain them.

use serde_json::{Map, Value, json};

use super::shape::{Field, Least, Object, Presence, Shape};
use super::table;

/// Where the schema is published; the first line of each example names it.
pub const SCHEMA_URL: &str = "https://kubewright.dev/schema/v1alpha1/cluster.json";

/// The schema of the file.
pub fn schema() -> Value {
    let mut schema = object(&table::FILE);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["$id"] = json!(SCHEMA_URL);
    schema["title"] = json!("kubewright Cluster");
    schema
}

fn object(object: &Object) -> Value {
    let properties: Map<String, Value> =
        object.fields.iter().map(|known| (known.key.to_owned(), field(known))).collect();
    let required: Vec<&str> =
        object.fields.iter().filter(|field| field.presence == Presence::Required).map(|field| field.key).collect();
    let mut schema = json!({
        "description": object.doc,
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn field(field: &Field) -> Value {
    let mut schema = shape(&field.shape);
    schema["description"] = json!(field.doc);
    if let Presence::Default(_) = field.presence {
        schema["default"] = field.when_left_out().unwrap_or_default();
    }
    schema
}

fn shape(shape: &Shape) -> Value {
    match shape {
        Shape::Text(format) if format.loose => {
            json!({"type": ["string", "number", "boolean"], "examples": [format.example]})
        }
        Shape::Text(format) => json!({"type": "string", "examples": [format.example]}),
        Shape::Whole(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
        Shape::Flag => json!({"type": "boolean"}),
        Shape::OneOf(words) => json!({"enum": words}),
        Shape::Several(element) => {
            let one = self::shape(element);
            json!({"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]})
        }
        Shape::List(element, least) => {
            let least = if *least == Least::One { 1 } else { 0 };
            json!({"type": "array", "items": self::shape(element), "minItems": least})
        }
        Shape::Map(_, value) => json!({"type": "object", "additionalProperties": self::shape(value)}),
        Shape::Object(known) => object(known),
        Shape::Free => json!({"type": "object"}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Enough of JSON Schema for what [`schema`] writes.
    fn complaints(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
        if let Some(choices) = schema["anyOf"].as_array() {
            let fits = |choice: &Value| {
                let mut found = Vec::new();
                complaints(choice, value, path, &mut found);
                found.is_empty()
            };
            if !choices.iter().any(fits) {
                found.push(format!("{path} is none of {choices:?}"));
            }
        }
        let types: Vec<&str> = match &schema["type"] {
            Value::String(one) => vec![one],
            Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let is = |kind: &str| match kind {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "integer" => value.is_u64(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            kind => panic!("the schema has type {kind}"),
        };
        if !types.is_empty() && !types.iter().any(|kind| is(kind)) {
            found.push(format!("{path} is none of {types:?}"));
        }
        if let Some(words) = schema["enum"].as_array()
            && !words.contains(value)
        {
            found.push(format!("{path} is none of {words:?}"));
        }
        for key in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if value.get(key).is_none() {
                found.push(format!("{path}.{key} is missing"));
            }
        }
        for (key, value) in value.as_object().into_iter().flatten() {
            match (schema["properties"].get(key), &schema["additionalProperties"]) {
                (Some(known), _) => complaints(known, value, &format!("{path}.{key}"), found),
                (None, Value::Bool(false)) => found.push(format!("{path}.{key} is unknown")),
                (None, more) => complaints(more, value, &format!("{path}.{key}"), found),
            }
        }
        for (index, value) in value.as_array().into_iter().flatten().enumerate() {
            complaints(&schema["items"], value, &format!("{path}[{index}]"), found);
        }
    }

    #[test]
    fn examples_fit_the_schema() {
        for name in ["lab-ha", "single", "ha-external-endpoint"] {
            let path = format!("{}/../examples/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains(SCHEMA_URL), "{name} names the schema");
            let value: Value = serde_saphyr::from_str(&text).unwrap();
            let mut found = Vec::new();
            complaints(&schema(), &value, "", &mut found);
            assert_eq!(found, Vec::<String>::new(), "{name}");
        }
    }

    #[test]
    fn the_schema_refuses_what_the_reader_refuses() {
        let value = json!({"apiVersion": "v1", "kind": "Cluster", "metadata": {}, "spec": {"hosts": [{"nam": 1}], "pools": {"a": {"labels": []}}}});
        let mut found = Vec::new();
        complaints(&schema(), &value, "", &mut found);
        for part in [
            ".apiVersion is none of",
            ".metadata.name is missing",
            ".spec.kubernetes is missing",
            ".nam is unknown",
            ".labels is none of",
        ] {
            assert!(found.iter().any(|complaint| complaint.contains(part)), "{part} in {found:?}");
        }
    }

    #[test]
    fn every_default_passes_its_own_check() {
        fn check(object: &Object, path: &str) {
            for field in object.fields {
                let path = format!("{path}.{}", field.key);
                assert!(field.doc.ends_with('.'), "{path}: a doc is a sentence");
                match (&field.shape, field.presence) {
                    (Shape::Text(format), Presence::Default(text)) => {
                        assert_eq!((format.check)(text), Ok(()), "{path}")
                    }
                    (Shape::OneOf(words), Presence::Default(text)) => assert!(words.contains(&text), "{path}"),
                    (Shape::Whole(..), Presence::Default(_)) => {
                        assert!(field.when_left_out().unwrap().is_u64(), "{path}")
                    }
                    (Shape::Flag, Presence::Default(_)) => {
                        assert!(field.when_left_out().unwrap().is_boolean(), "{path}")
                    }
                    (Shape::Object(object), Presence::Empty) => {
                        assert!(
                            object.fields.iter().all(|field| field.presence != Presence::Required),
                            "{path} cannot be left out"
                        );
                    }
                    _ => {}
                }
                match &field.shape {
                    Shape::Text(format) => assert_eq!((format.check)(format.example), Ok(()), "{path}"),
                    Shape::Object(object)
                    | Shape::List(Shape::Object(object), _)
                    | Shape::Map(_, Shape::Object(object)) => check(object, &path),
                    _ => {}
                }
            }
        }
        check(&table::FILE, "");
    }
}
