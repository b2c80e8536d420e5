//! Options of the versions of HTTP, on either side: `envoy.config.core.v3`.

use serde::{Deserialize, Serialize};

use crate::config::scalar::Duration;

/// `envoy.config.core.v3.HttpProtocolOptions`, for clients.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.HttpProtocolOptions")]
pub struct HttpProtocolOptions {
    /// How long a connection stays without a stream; 1 h by default, 0 is without limit.
    #[serde(default)]
    pub idle_timeout: Option<Duration>,
    /// Fields of a request's head, `host` included; 100 by default.
    #[serde(default)]
    pub max_headers_count: Option<u32>,
    /// Requests of a connection, after which it is closed; 0, the default, is without limit.
    #[serde(default)]
    pub max_requests_per_connection: Option<u32>,
}

/// `envoy.config.core.v3.HttpProtocolOptions`, for upstreams.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.HttpProtocolOptions")]
pub struct UpstreamHttpProtocolOptions {
    /// How long a connection stays without a request; 1 h by default, 0 is without limit.
    #[serde(default)]
    pub idle_timeout: Option<Duration>,
    /// Requests of a connection, after which it is closed; 0, the default, is without limit.
    #[serde(default)]
    pub max_requests_per_connection: Option<u32>,
}

/// `envoy.config.core.v3.Http1ProtocolOptions`, for clients.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.Http1ProtocolOptions")]
pub struct Http1ProtocolOptions {
    /// Whether trailers are passed on; dropped by default.
    #[serde(default)]
    pub enable_trailers: bool,
}

/// `envoy.config.core.v3.Http1ProtocolOptions`, for upstreams.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.Http1ProtocolOptions")]
pub struct UpstreamHttp1ProtocolOptions {
    /// Whether trailers are sent to the upstream, and passed on from it. Default: false.
    #[serde(default)]
    pub enable_trailers: bool,
}

/// `envoy.config.core.v3.Http2ProtocolOptions`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.Http2ProtocolOptions")]
pub struct Http2ProtocolOptions {
    /// Streams of a connection at once; 1024 by default.
    #[serde(default)]
    pub max_concurrent_streams: Option<u32>,
    /// Flow-control window of a stream in bytes; 16 MiB by default.
    #[serde(default)]
    pub initial_stream_window_size: Option<u32>,
    /// Flow-control window of a connection in bytes; 24 MiB by default.
    #[serde(default)]
    pub initial_connection_window_size: Option<u32>,
}
