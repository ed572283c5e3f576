//! What is published about the plan's format is what planners write: every plan of these tests is held against it.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use jsonschema::Validator;
use kubewright_core::plan::Plan;
use schemars::{Schema, schema_for};

use crate::setting::plan;

static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| jsonschema::validator_for(schema().as_value()).unwrap());

fn schema() -> Schema {
    let mut schema = schema_for!(Plan);
    schema.insert("$id".to_owned(), "https://kubewright.dev/schema/v1/plan.json".into());
    schema.insert("title".to_owned(), "A plan of kubewright, as plan --out saves it".into());
    schema
}

/// The plan, which is as its schema says.
pub fn as_published(plan: Plan) -> Plan {
    let json = serde_json::to_value(&plan).unwrap();
    if let Err(error) = VALIDATOR.validate(&json) {
        panic!("{} at {}", error, error.instance_path());
    }
    plan
}

#[test]
fn the_published_schema_is_that_of_the_code() {
    let page = format!("{:#}\n", schema().as_value());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/plan.schema.json");
    if std::env::var_os("KUBEWRIGHT_UPDATE_DOCS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let published = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(published, page, "KUBEWRIGHT_UPDATE_DOCS=1 cargo test writes it anew");
}

#[test]
fn what_the_format_does_not_have_is_seen() {
    let right = serde_json::to_value(plan(1, 1)).unwrap();
    let spoiled = |change: fn(&mut serde_json::Value)| {
        let mut json = right.clone();
        change(&mut json);
        VALIDATOR.is_valid(&json)
    };
    assert!(spoiled(|_| ()));
    assert!(!spoiled(|plan| plan["format"] = 2.into()));
    assert!(!spoiled(|plan| plan["steps"][0]["kind"]["type"] = "undoEverything".into()));
    assert!(!spoiled(|plan| plan["steps"][0]["deadlineSeconds"] = "soon".into()));
    assert!(!spoiled(|plan| drop(plan.as_object_mut().unwrap().remove("steps"))));
}
