//! Defaults that depend on other values, and the few places where the file's form is not the form of [`super::Spec`].
//! Constant defaults are in the table.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::path;
use super::syntax;
use crate::finding::Finding;

/// Turns a draft in the file's form into one in the form of [`super::Spec`].
///
/// A finding is a value that is neither in the file nor to be had from it; its path joins the unreadable ones.
pub fn resolve(draft: &Value, unreadable: &mut Vec<String>) -> (Value, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut spec = object(&draft["spec"]);
    spec.insert("name".to_owned(), draft["metadata"]["name"].clone());
    spec.insert("endpoint".to_owned(), endpoint(&draft["spec"]["endpoint"]));
    spec.insert("certificates".to_owned(), certificates(&draft["spec"]["certificates"]));

    let pools = object(&draft["spec"]["pools"]);
    let pools: Map<_, _> = pools.iter().map(|(name, pool)| (name.clone(), flattened_pool(pool))).collect();
    spec.insert("pools".to_owned(), Value::Object(pools));

    let shared = ssh(&draft["spec"]["ssh"], &Value::Null);
    let hosts = draft["spec"]["hosts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let hosts = hosts.iter().enumerate().map(|(index, host)| {
        let mut resolved = object(host);
        resolved.insert("ssh".to_owned(), ssh(&host["ssh"], &shared));
        if host["privateAddress"].is_null() {
            let private = private_address(&host["address"], index, unreadable, &mut findings);
            resolved.insert("privateAddress".to_owned(), Value::from(private.to_string()));
        }
        Value::Object(resolved)
    });
    let hosts: Vec<Value> = hosts.collect();
    spec.insert("hosts".to_owned(), Value::Array(hosts));
    spec.insert("ssh".to_owned(), shared);
    (Value::Object(spec), findings)
}

/// The mode follows from whether there is an address. `nodeLocal` holds for a single control plane too: a second one
/// can then be added without touching the workers.
fn endpoint(endpoint: &Value) -> Value {
    let mut resolved = object(endpoint);
    if endpoint["mode"].is_null() {
        let mode = if endpoint["address"].is_null() { "nodeLocal" } else { "external" };
        resolved.insert("mode".to_owned(), Value::from(mode));
    }
    Value::Object(resolved)
}

/// Periods become hours.
fn certificates(certificates: &Value) -> Value {
    let mut resolved = Map::new();
    resolved.insert("encryptionAlgorithm".to_owned(), certificates["encryptionAlgorithm"].clone());
    for (period, hours) in [
        ("certificateValidityPeriod", "certificateValidityHours"),
        ("caCertificateValidityPeriod", "caCertificateValidityHours"),
    ] {
        let text = certificates[period].as_str().unwrap_or_default();
        resolved.insert(hours.to_owned(), syntax::hours(text).map_or(Value::Null, Value::from));
    }
    Value::Object(resolved)
}

/// `upgrade.maxUnavailable` is the pool's own in [`super::Pool`].
fn flattened_pool(pool: &Value) -> Value {
    let mut flat = object(pool);
    if let Some(upgrade) = flat.remove("upgrade") {
        flat.insert("maxUnavailable".to_owned(), upgrade["maxUnavailable"].clone());
    }
    Value::Object(flat)
}

/// A host's ssh settings over those of the spec, key by key; strict host keys in the end.
fn ssh(own: &Value, shared: &Value) -> Value {
    let mut merged = object(own);
    for (key, value) in &mut merged {
        if value.is_null() {
            *value = shared[key.as_str()].clone();
        }
        if value.is_null() && key == "hostKeys" {
            *value = Value::from("strict");
        }
    }
    Value::Object(merged)
}

/// Where ssh connects is the address inside the cluster too, if it is an address.
fn private_address(address: &Value, index: usize, unreadable: &mut Vec<String>, findings: &mut Vec<Finding>) -> IpAddr {
    let address = address.as_str().unwrap_or_default();
    address.parse().unwrap_or_else(|_| {
        let host = path::element("spec.hosts", index);
        unreadable.push(path::key(&host, "privateAddress"));
        findings.push(
            Finding::spec(
                "NODE008",
                path::key(&host, "address"),
                format!("`{address}` is a name, and `privateAddress` is missing"),
            )
            .label("this does not tell the address inside the cluster")
            .hint("add `privateAddress`, the host's IP address in the cluster's network"),
        );
        // Nobody's address (RFC 5737); as an unreadable one it is not reported on.
        IpAddr::from([192, 0, 2, 1])
    })
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}
