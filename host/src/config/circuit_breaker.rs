//! Limits on what is under way in a cluster.

use serde::{Deserialize, Serialize};

use crate::config::route::RoutingPriority;

/// `envoy.config.cluster.v3.CircuitBreakers`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.cluster.v3.CircuitBreakers")]
pub struct CircuitBreakers {
    /// One for a priority.
    #[serde(default)]
    pub thresholds: Vec<Thresholds>,
}

/// `envoy.config.cluster.v3.CircuitBreakers.Thresholds`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.cluster.v3.CircuitBreakers.Thresholds")]
pub struct Thresholds {
    /// Which requests these limits are for.
    #[serde(default)]
    pub priority: RoutingPriority,
    /// Connections; 1024 by default.
    #[serde(default)]
    pub max_connections: Option<u32>,
    /// Requests that wait for a connection; 1024 by default.
    #[serde(default)]
    pub max_pending_requests: Option<u32>,
    /// Requests; 1024 by default.
    #[serde(default)]
    pub max_requests: Option<u32>,
    /// Retries at once; 3 by default.
    #[serde(default)]
    pub max_retries: Option<u32>,
    /// Whether statistics tell how much is left.
    #[serde(default)]
    pub track_remaining: bool,
}
