//! The HTTP connection manager.

use serde::{Deserialize, Serialize};

use crate::config::access_log::AccessLog;
use crate::config::address::CidrRange;
use crate::config::filter::HttpFilter;
use crate::config::protocol::{Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions};
use crate::config::route::RouteConfiguration;
use crate::config::scalar::Duration;

/// `envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)]
pub struct HttpConnectionManager {
    /// Which HTTP clients speak; told by their first bytes by default.
    #[serde(default)]
    pub codec_type: CodecType,
    /// What the statistics are called after.
    pub stat_prefix: String,
    /// Where the routes are.
    #[serde(rename = "oneof:route_specifier")]
    pub routes: RouteSpecifier,
    /// The HTTP filters, in their order.
    #[serde(default)]
    pub http_filters: Vec<HttpFilter>,
    /// Limits that all versions of HTTP have.
    #[serde(default)]
    pub common_http_protocol_options: Option<HttpProtocolOptions>,
    /// HTTP/1.
    #[serde(default)]
    pub http_protocol_options: Option<Http1ProtocolOptions>,
    /// HTTP/2.
    #[serde(default)]
    pub http2_protocol_options: Option<Http2ProtocolOptions>,
    /// The value of `server` in responses; `envoy` by default.
    #[serde(default)]
    pub server_name: String,
    /// What happens with `server` in responses.
    #[serde(default)]
    pub server_header_transformation: ServerHeaderTransformation,
    /// Largest head of a request in KiB; 60 by default.
    #[serde(default)]
    pub max_request_headers_kb: Option<u32>,
    /// Time without a byte in either direction of a stream; 5 min by default, 0 is without limit.
    #[serde(default)]
    pub stream_idle_timeout: Option<Duration>,
    /// Grace after the start of a drain; 5 s by default.
    #[serde(default)]
    pub drain_timeout: Option<Duration>,
    /// How long a client has to close after a response that closes; 1 s by default, 0 is not at
    /// all.
    #[serde(default)]
    pub delayed_close_timeout: Option<Duration>,
    /// The access logs.
    #[serde(default)]
    pub access_log: Vec<AccessLog>,
    /// Whether the address of the connection is the client's, and goes to `x-forwarded-for`; false
    /// by default.
    #[serde(default)]
    pub use_remote_address: Option<bool>,
    /// How many proxies in front of this one are trusted in `x-forwarded-for`.
    #[serde(default)]
    pub xff_num_trusted_hops: u32,
    /// Which addresses are internal, in place of the private ranges.
    #[serde(default)]
    pub internal_address_config: Option<InternalAddressConfig>,
    /// Whether `x-forwarded-for` stays as it is.
    #[serde(default)]
    pub skip_xff_append: bool,
    /// The value that is added to `via`; nothing by default.
    #[serde(default)]
    pub via: String,
    /// Whether a request without `x-request-id` gets one; true by default.
    #[serde(default)]
    pub generate_request_id: Option<bool>,
    /// Whether the `x-request-id` of an external client stays.
    #[serde(default)]
    pub preserve_external_request_id: bool,
    /// Whether responses have `x-request-id` as well.
    #[serde(default)]
    pub always_set_request_id_in_response: bool,
}

impl HttpConnectionManager {
    /// The one kind of `route_specifier` that there is.
    #[must_use]
    pub const fn route_config(&self) -> &RouteConfiguration {
        let RouteSpecifier::RouteConfig(routes) = &self.routes;
        routes
    }
}

/// `HttpConnectionManager.route_specifier`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteSpecifier {
    /// Here.
    RouteConfig(RouteConfiguration),
}

/// `HttpConnectionManager.CodecType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.CodecType",
    rename_all = "UPPERCASE"
)]
pub enum CodecType {
    /// HTTP/2 where the connection begins with its preface, else HTTP/1.
    #[default]
    Auto,
    /// HTTP/1 alone.
    Http1,
    /// HTTP/2 alone.
    Http2,
}

/// `HttpConnectionManager.ServerHeaderTransformation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.ServerHeaderTransformation",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum ServerHeaderTransformation {
    /// The upstream's is replaced.
    #[default]
    Overwrite,
    /// The upstream's stays.
    AppendIfAbsent,
    /// Nothing is added.
    PassThrough,
}

/// `HttpConnectionManager.InternalAddressConfig`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.InternalAddressConfig"
)]
pub struct InternalAddressConfig {
    /// The internal ranges.
    #[serde(default)]
    pub cidr_ranges: Vec<CidrRange>,
}
