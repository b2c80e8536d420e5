//! `envoy.filters.http.buffer`.

use serde::{Deserialize, Serialize};

/// `envoy.extensions.filters.http.buffer.v3.Buffer`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.http.buffer.v3.Buffer")]
pub struct Buffer {
    /// How many bytes the body of a request may have; more are answered with 413.
    pub max_request_bytes: u32,
}

/// `envoy.extensions.filters.http.buffer.v3.BufferPerRoute`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.http.buffer.v3.BufferPerRoute")]
pub struct BufferPerRoute {
    /// What differs.
    #[serde(rename = "oneof:override")]
    pub r#override: BufferOverride,
}

/// `BufferPerRoute.override`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BufferOverride {
    /// Nothing is held back.
    Disabled(bool),
    /// Another size.
    Buffer(Buffer),
}
