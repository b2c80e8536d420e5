//! `envoy.filters.http.fault`: delays and aborts.

use serde::{Deserialize, Serialize};

use crate::config::header::HeaderMatcher;
use crate::config::scalar::{Duration, FractionalPercent};

/// `envoy.extensions.filters.http.fault.v3.HTTPFault`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.http.fault.v3.HTTPFault")]
pub struct HttpFault {
    /// Requests that are held up.
    #[serde(default)]
    pub delay: Option<FaultDelay>,
    /// Requests that are answered with an error.
    #[serde(default)]
    pub abort: Option<FaultAbort>,
    /// The cluster whose requests this is about; all by default.
    #[serde(default)]
    pub upstream_cluster: String,
    /// What a request must have besides.
    #[serde(default)]
    pub headers: Vec<HeaderMatcher>,
    /// The nodes that it has to come from (`x-envoy-downstream-service-node`); any by default.
    #[serde(default)]
    pub downstream_nodes: Vec<String>,
    /// Whether nothing is counted by `x-envoy-downstream-service-cluster`.
    #[serde(default)]
    pub disable_downstream_cluster_stats: bool,
}

/// `envoy.extensions.filters.common.fault.v3.FaultDelay`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.common.fault.v3.FaultDelay")]
pub struct FaultDelay {
    /// For how long.
    #[serde(rename = "oneof:fault_delay_secifier")]
    pub time: FaultDelayTime,
    /// How many requests; none by default.
    #[serde(default)]
    pub percentage: Option<FractionalPercent>,
}

/// `FaultDelay.fault_delay_secifier`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultDelayTime {
    /// So long; more than 0.
    FixedDelay(Duration),
    /// As many milliseconds as `x-envoy-fault-delay-request` says.
    HeaderDelay(HeaderDelay),
}

/// `FaultDelay.HeaderDelay`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.common.fault.v3.FaultDelay.HeaderDelay")]
pub struct HeaderDelay {}

/// `envoy.extensions.filters.http.fault.v3.FaultAbort`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.http.fault.v3.FaultAbort")]
pub struct FaultAbort {
    /// With what.
    #[serde(rename = "oneof:error_type")]
    pub error: FaultError,
    /// How many requests; none by default.
    #[serde(default)]
    pub percentage: Option<FractionalPercent>,
}

/// `FaultAbort.error_type`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultError {
    /// This status.
    HttpStatus(u32),
    /// This status of gRPC.
    GrpcStatus(u32),
    /// What `x-envoy-fault-abort-request` says.
    HeaderAbort(HeaderAbort),
}

/// `FaultAbort.HeaderAbort`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.http.fault.v3.FaultAbort.HeaderAbort")]
pub struct HeaderAbort {}
