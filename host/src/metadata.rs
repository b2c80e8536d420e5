//! Metadata of parts of the configuration: what a file says about a route, a virtual host, a cluster, an
//! endpoint, a listener or a filter chain for others to read.
//!
//! Owns [`StaticMetadata`], which `build` makes once and who needs it shares. Read by the formatter
//! (`observe::format`). Does not own: what filters leave while a request lasts (`exchange`), and what
//! load balancing reads (`upstream::metadata`).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

/// `envoy.config.core.v3.Metadata`, its `filter_metadata`: objects by the name of who they are for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StaticMetadata {
    spaces: Map<String, Value>,
}

impl StaticMetadata {
    /// Of these objects; nothing where there is none, so that who has no metadata carries none.
    #[must_use]
    pub fn new(spaces: impl IntoIterator<Item = (String, Value)>) -> Option<Arc<Self>> {
        // Sorted, as they are shown.
        let sorted: BTreeMap<String, Value> = spaces.into_iter().collect();
        let spaces: Map<String, Value> = sorted.into_iter().collect();
        (!spaces.is_empty()).then(|| Arc::new(Self { spaces }))
    }

    /// What a path of names leads to, the first that of an object of its own. Null is nothing.
    #[must_use]
    pub fn find(&self, path: &[Box<str>]) -> Option<&Value> {
        let (first, inner) = path.split_first()?;
        let mut value = self.spaces.get(&**first)?;
        for name in inner {
            value = value.as_object()?.get(&**name)?;
        }
        (!value.is_null()).then_some(value)
    }

    /// All of it.
    #[must_use]
    pub const fn spaces(&self) -> &Map<String, Value> {
        &self.spaces
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_leads_into_objects_alone() {
        let metadata = StaticMetadata::new([
            (
                "f".to_owned(),
                json!({"k": "v", "z": null, "l": [1], "o": {"x": 1}}),
            ),
            ("empty".to_owned(), json!({})),
        ]);
        let metadata = metadata.unwrap();
        for (path, found) in [
            (&["f", "k"][..], Some(json!("v"))),
            (&["f", "o", "x"], Some(json!(1))),
            (&["f", "o"], Some(json!({"x": 1}))),
            (&["f", "l"], Some(json!([1]))),
            (&["empty"], Some(json!({}))),
            (&["f", "z"], None),
            (&["f", "k", "x"], None),
            (&["f", "l", "0"], None),
            (&["f", "nothing"], None),
            (&["f", ""], None),
            (&["nobody"], None),
            (&[], None),
        ] {
            let names: Vec<Box<str>> = path.iter().map(|name| (*name).into()).collect();
            assert_eq!(metadata.find(&names), found.as_ref(), "{path:?}");
        }
    }

    #[test]
    fn nobody_carries_what_is_empty() {
        assert_eq!(StaticMetadata::new([]), None);
    }
}
