//! `envoy.filters.http.fault`: delays, aborts and slow responses.

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
    /// Responses that are slowed down.
    #[serde(default)]
    pub response_rate_limit: Option<FaultRateLimit>,
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
    /// How many requests at most have a fault at one time.
    #[serde(default)]
    pub max_active_faults: Option<u32>,
    /// The runtime value of `delay.percentage`; `fault.http.delay.fixed_delay_percent` by default.
    #[serde(default)]
    pub delay_percent_runtime: String,
    /// That of the delay in ms; `fault.http.delay.fixed_duration_ms` by default.
    #[serde(default)]
    pub delay_duration_runtime: String,
    /// That of `abort.percentage`; `fault.http.abort.abort_percent` by default.
    #[serde(default)]
    pub abort_percent_runtime: String,
    /// That of the status; `fault.http.abort.http_status` by default.
    #[serde(default)]
    pub abort_http_status_runtime: String,
    /// That of the status of gRPC; `fault.http.abort.grpc_status` by default.
    #[serde(default)]
    pub abort_grpc_status_runtime: String,
    /// That of `max_active_faults`; `fault.http.max_active_faults` by default.
    #[serde(default)]
    pub max_active_faults_runtime: String,
    /// That of `response_rate_limit.percentage`; `fault.http.rate_limit.response_percent` by default.
    #[serde(default)]
    pub response_rate_limit_percent_runtime: String,
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

/// `envoy.extensions.filters.common.fault.v3.FaultRateLimit`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.common.fault.v3.FaultRateLimit")]
pub struct FaultRateLimit {
    /// To what.
    #[serde(rename = "oneof:limit_type")]
    pub limit: FaultLimit,
    /// How many responses; none by default.
    #[serde(default)]
    pub percentage: Option<FractionalPercent>,
}

/// `FaultRateLimit.limit_type`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultLimit {
    /// This rate.
    FixedLimit(FixedLimit),
    /// As many KiB in a second as `x-envoy-fault-throughput-response` says.
    HeaderLimit(HeaderLimit),
}

/// `FaultRateLimit.FixedLimit`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.common.fault.v3.FaultRateLimit.FixedLimit")]
pub struct FixedLimit {
    /// KiB in a second; at least 1.
    pub limit_kbps: u64,
}

/// `FaultRateLimit.HeaderLimit`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.common.fault.v3.FaultRateLimit.HeaderLimit")]
pub struct HeaderLimit {}
