//! `envoy.extensions.filters.http.fault.v3.HTTPFault`, of which aborts are there.

use nuncio_filter_config::{Fraction, HeaderMatcher, UInt32};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// `HTTPFault`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The type URL, if the proxy hands it over.
    #[serde(rename = "@type")]
    _type: Option<String>,
    /// Requests that are answered with an error.
    pub abort: Option<Abort>,
    /// The cluster whose requests this is about; all where it is empty.
    pub upstream_cluster: String,
    /// What a request must have.
    pub headers: Vec<HeaderMatcher>,
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
