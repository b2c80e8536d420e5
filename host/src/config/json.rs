//! The model as JSON: canonical names, forms and order, whatever the spelling of the file.
//!
//! Owns turning the markers of the model (see `config::de`) back into Envoy's shape. Called by
//! `build` for what a Wasm filter gets as its configuration, and by the admin pages.

use serde::Serialize;
use serde_json::{Map, Value};

/// The key that marks a value which is not a part of the model.
pub(super) const RAW: &str = "raw:";

/// A part of the model as JSON in Envoy's shape: snake_case names, durations as `"0.25s"`, enums by
/// name, `Any` with its `@type`; fields that are not set or empty are left out.
#[must_use]
pub fn to_value<T: Serialize>(message: &T) -> Value {
    serde_json::to_value(message).map(shape).unwrap_or_default()
}

/// As [`to_value`], as text.
#[must_use]
pub fn to_string<T: Serialize>(message: &T) -> String {
    to_value(message).to_string()
}

fn shape(value: Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(shape).collect()),
        Value::Object(mut fields) => match fields.remove(RAW) {
            Some(raw) => raw,
            None => Value::Object(shape_fields(fields)),
        },
        scalar => scalar,
    }
}

fn shape_fields(fields: Map<String, Value>) -> Map<String, Value> {
    let mut shaped = Map::new();
    for (name, value) in fields {
        match (name.split_once(':'), value) {
            (_, Value::Null) => {}
            (_, Value::Array(items)) if items.is_empty() => {}
            (_, Value::String(text)) if text.is_empty() => {}
            (Some(("oneof", _)), Value::Object(member)) => {
                // A member of a oneof says something even where it is empty.
                shaped.extend(member.into_iter().map(|(name, value)| (name, shape(value))));
            }
            (Some(("any", name)), Value::Object(variant)) => {
                shaped.insert(name.to_owned(), any(variant));
            }
            (Some(("anys", _)), Value::Object(entries)) if entries.is_empty() => {}
            (Some(("anys", name)), Value::Object(entries)) => {
                let entries = entries.into_iter().filter_map(|(key, value)| match value {
                    Value::Object(variant) => Some((key, any(variant))),
                    _ => None,
                });
                shaped.insert(name.to_owned(), entries.collect());
            }
            (_, value) => {
                shaped.insert(name, shape(value));
            }
        }
    }
    shaped
}

/// An enum with one variant a type, as the fields of the type with its URL.
fn any(variant: Map<String, Value>) -> Value {
    let mut content = Map::new();
    for (name, value) in variant {
        if !name.is_empty() {
            content.insert(
                "@type".to_owned(),
                format!("type.googleapis.com/{name}").into(),
            );
        }
        if let Value::Object(fields) = value {
            content.extend(shape_fields(fields));
        }
    }
    Value::Object(content)
}
