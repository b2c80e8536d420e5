//! Metadata: `envoy.config.core.v3.Metadata` to what load balancing compares and others show.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Workshop;
use crate::config::scalar::{Metadata as Written, Struct};
use crate::metadata::StaticMetadata;
use crate::upstream::Criteria;
use crate::upstream::metadata::{FILTER, Value};

impl Workshop<'_> {
    /// What a `metadata_match` asks of endpoints, with that of a route under it: an index into the
    /// snapshot's list of criteria. `None` where it asks nothing.
    pub(super) fn criteria(
        &mut self,
        written: Option<&Written>,
        route: Option<usize>,
    ) -> Option<usize> {
        let part = written.and_then(|written| written.filter_metadata.get(FILTER));
        let Some(part) = part else {
            return route;
        };
        let fields = part.get().as_object().into_iter().flatten();
        let own = Criteria::new(fields.map(|(name, json)| (name.as_str().into(), value(json))));
        let under = route.and_then(|index| self.criteria.get(index));
        let criteria = under.map_or_else(|| own.clone(), |under| under.merged(&own));
        self.criteria.push(criteria);
        Some(self.criteria.len() - 1)
    }
}

/// The metadata of a part of the configuration, for who reads it.
pub(super) fn static_metadata(written: Option<&Written>) -> Option<Arc<StaticMetadata>> {
    shared(&written?.filter_metadata)
}

/// The same of its `filter_metadata`.
pub(super) fn shared(spaces: &BTreeMap<String, Struct>) -> Option<Arc<StaticMetadata>> {
    let spaces = spaces.iter();
    StaticMetadata::new(spaces.map(|(name, fields)| (name.clone(), fields.get().clone())))
}

/// A `google.protobuf.Value`.
pub(super) fn value(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::Number(number) => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::String(text) => Value::text(text),
        serde_json::Value::Array(values) => Value::List(values.iter().map(value).collect()),
        serde_json::Value::Object(fields) => {
            let fields = fields.iter();
            Value::Struct(
                fields
                    .map(|(name, json)| (name.as_str().into(), value(json)))
                    .collect(),
            )
        }
    }
}
