//! JSON against the schemas of the repository.

use std::fs;
use std::path::Path;

use jsonschema::Validator;
use serde_json::Value;
use serde_json::json;

/// `NAME`, or `NAME#DEFINITION` for what is defined in it.
fn validator(name: &str) -> Validator {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas");
    let (file, definition) = name.split_once('#').unwrap_or((name, ""));
    let text = fs::read_to_string(folder.join(format!("{file}.schema.json"))).unwrap();
    let mut schema: Value = serde_json::from_str(&text).unwrap();
    if !definition.is_empty() {
        let (dialect, definitions) = (&schema["$schema"], &schema["$defs"]);
        schema = json!({
            "$schema": dialect,
            "$defs": definitions,
            "$ref": format!("#/$defs/{definition}"),
        });
    }
    jsonschema::validator_for(&schema).unwrap()
}

/// Checks a value against `schemas/NAME.schema.json`, or its `DEFINITION`.
#[track_caller]
pub(crate) fn check(name: &str, value: &Value) {
    let errors: Vec<String> = validator(name)
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}\n{value:#}");
}

/// Reads one document and checks it.
#[track_caller]
pub(crate) fn document(name: &str, text: &str) -> Value {
    let value = serde_json::from_str(text).unwrap();
    check(name, &value);
    value
}

/// Reads an array of flows and checks each.
#[track_caller]
pub(crate) fn flows(text: &str) -> Vec<Value> {
    let flows: Vec<Value> = serde_json::from_str(text).unwrap();
    flows.iter().for_each(|flow| check("flow", flow));
    flows
}

/// Reads a flow a line and checks each.
#[track_caller]
pub(crate) fn lines(text: &str) -> Vec<Value> {
    let flows: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    flows.iter().for_each(|flow| check("flow", flow));
    flows
}
