//! `envoy.filters.http.fault`: aborts. Delays need timers, which filters do not have.

use serde::{Deserialize, Serialize};

use crate::config::header::HeaderMatcher;
use crate::config::scalar::FractionalPercent;

/// `envoy.extensions.filters.http.fault.v3.HTTPFault`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.http.fault.v3.HTTPFault")]
pub struct HttpFault {
    /// Requests that are answered with an error.
    #[serde(default)]
    pub abort: Option<FaultAbort>,
    /// The cluster whose requests this is about; all by default.
    #[serde(default)]
    pub upstream_cluster: String,
    /// What a request must have besides.
    #[serde(default)]
    pub headers: Vec<HeaderMatcher>,
}

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
