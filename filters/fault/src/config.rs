//! `envoy.extensions.filters.http.fault.v3.HTTPFault`, but for `filter_metadata`.

use nuncio_filter_config::{Duration, Fraction, HeaderMatcher, UInt32, UInt64};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// `HTTPFault`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The type URL, if the proxy hands it over.
    #[serde(rename = "@type")]
    _type: Option<String>,
    /// Requests that are held up.
    pub delay: Option<Delay>,
    /// Requests that are answered with an error.
    pub abort: Option<Abort>,
    /// Responses that are slowed down.
    pub response_rate_limit: Option<RateLimit>,
    /// The cluster whose requests this is about; all where it is empty.
    pub upstream_cluster: String,
    /// What a request must have.
    pub headers: Vec<HeaderMatcher>,
    /// The nodes that it has to come from; any where there are none.
    pub downstream_nodes: Vec<String>,
    /// Whether nothing is counted by the service that a request comes from.
    pub disable_downstream_cluster_stats: bool,
    /// How many requests at most have a fault at one time.
    pub max_active_faults: Option<UInt32>,
    /// What the runtime values are called; Envoy's names where they are empty.
    pub delay_percent_runtime: String,
    /// In ms.
    pub delay_duration_runtime: String,
    /// Of `abort`.
    pub abort_percent_runtime: String,
    /// Of `abort`.
    pub abort_http_status_runtime: String,
    /// Of `abort`.
    pub abort_grpc_status_runtime: String,
    /// Of `max_active_faults`.
    pub max_active_faults_runtime: String,
    /// Of `response_rate_limit`.
    pub response_rate_limit_percent_runtime: String,
}

/// `FaultDelay`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delay {
    /// For so long.
    pub fixed_delay: Option<Duration>,
    /// The request says how long.
    pub header_delay: Option<IgnoredAny>,
    /// How many requests; none where it is absent.
    #[serde(default)]
    pub percentage: Fraction,
}

/// `FaultAbort`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Abort {
    /// The status.
    pub http_status: Option<UInt32>,
    /// The status of gRPC.
    pub grpc_status: Option<UInt32>,
    /// The request says which.
    pub header_abort: Option<IgnoredAny>,
    /// How many requests; none where it is absent.
    #[serde(default)]
    pub percentage: Fraction,
}

/// `FaultRateLimit`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// At that rate.
    pub fixed_limit: Option<FixedLimit>,
    /// The request says at which.
    pub header_limit: Option<IgnoredAny>,
    /// How many responses; none where it is absent.
    #[serde(default)]
    pub percentage: Fraction,
}

/// `FaultRateLimit.FixedLimit`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedLimit {
    /// KiB in a second; at least 1.
    pub limit_kbps: UInt64,
}
