//! Limits on what is under way in a cluster.

use serde::{Deserialize, Serialize};

use crate::config::route::RoutingPriority;
use crate::config::scalar::Percent;

/// `envoy.config.cluster.v3.CircuitBreakers`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.cluster.v3.CircuitBreakers")]
pub struct CircuitBreakers {
    /// One for a priority.
    #[serde(default)]
    pub thresholds: Vec<Thresholds>,
    /// The same for each endpoint.
    #[serde(default)]
    pub per_host_thresholds: Vec<HostThresholds>,
}

/// `envoy.config.cluster.v3.CircuitBreakers.Thresholds` of an endpoint, of which one counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.cluster.v3.CircuitBreakers.Thresholds")]
pub struct HostThresholds {
    /// Which requests the limit is for.
    #[serde(default)]
    pub priority: RoutingPriority,
    /// Connections; without limit by default.
    #[serde(default)]
    pub max_connections: Option<u32>,
}

/// `envoy.config.cluster.v3.CircuitBreakers.Thresholds`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
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
    /// Pools of connections; without limit by default.
    #[serde(default)]
    pub max_connection_pools: Option<u32>,
    /// How many retries there may be for the requests under way, in place of `max_retries`.
    #[serde(default)]
    pub retry_budget: Option<RetryBudget>,
    /// Whether statistics tell how much is left.
    #[serde(default)]
    pub track_remaining: bool,
}

/// `envoy.config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget")]
pub struct RetryBudget {
    /// Share of the requests under way and waiting; 20 % by default.
    #[serde(default)]
    pub budget_percent: Option<Percent>,
    /// Retries that there may always be; 3 by default.
    #[serde(default)]
    pub min_retry_concurrency: Option<u32>,
}
