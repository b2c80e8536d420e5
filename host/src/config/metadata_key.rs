//! Places in the dynamic metadata: `envoy.type.metadata.v3`.

use serde::{Deserialize, Serialize};

/// `envoy.type.metadata.v3.MetadataKey`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.type.metadata.v3.MetadataKey")]
pub struct MetadataKey {
    /// The namespace.
    pub key: String,
    /// The way to the value: one key, as filters leave text.
    pub path: Vec<PathSegment>,
}

/// `envoy.type.metadata.v3.MetadataKey.PathSegment`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.type.metadata.v3.MetadataKey.PathSegment")]
pub struct PathSegment {
    /// The step.
    #[serde(rename = "oneof:segment")]
    pub segment: Segment,
}

/// `MetadataKey.PathSegment.segment`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Segment {
    /// By its key.
    Key(String),
}
