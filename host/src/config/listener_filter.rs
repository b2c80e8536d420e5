//! Listener filters: what looks at a connection before a filter chain is chosen.

use serde::{Deserialize, Serialize};

use crate::config::filter::TokenBucket;
use crate::config::scalar::RuntimeFeatureFlag;

/// `envoy.config.listener.v3.ListenerFilter`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.listener.v3.ListenerFilter")]
pub struct ListenerFilter {
    /// Any name.
    pub name: String,
    /// The filter.
    #[serde(rename = "any:typed_config")]
    pub typed_config: ListenerFilterConfig,
    /// For which connections it does nothing.
    #[serde(default)]
    pub filter_disabled: Option<PortPredicate>,
}

/// The listener filters that there are.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "any:listener filter")]
pub enum ListenerFilterConfig {
    /// What a TLS client asks for.
    #[serde(rename = "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector")]
    Tls(TlsInspector),
    /// Which HTTP a client speaks.
    #[serde(rename = "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector")]
    Http(HttpInspector),
    /// Whom the proxy before speaks for.
    #[serde(rename = "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol")]
    Proxy(ProxyProtocol),
    /// The address before the kernel redirected the connection.
    #[serde(rename = "envoy.extensions.filters.listener.original_dst.v3.OriginalDst")]
    OriginalDestination(OriginalDst),
    /// Not too many connections in a time.
    #[serde(rename = "envoy.extensions.filters.listener.local_ratelimit.v3.LocalRateLimit")]
    Rate(LocalRateLimit),
}

/// `envoy.config.listener.v3.ListenerFilterChainMatchPredicate`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.listener.v3.ListenerFilterChainMatchPredicate")]
pub struct PortPredicate {
    /// What has to hold.
    #[serde(rename = "oneof:rule")]
    pub rule: PortRule,
}

/// `ListenerFilterChainMatchPredicate.rule`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PortRule {
    /// One of these.
    OrMatch(PortPredicates),
    /// All of these.
    AndMatch(PortPredicates),
    /// Not this.
    NotMatch(Box<PortPredicate>),
    /// Anything.
    AnyMatch(bool),
    /// The port that the connection came to.
    DestinationPortRange(Int32Range),
}

/// `envoy.config.listener.v3.ListenerFilterChainMatchPredicate.MatchSet`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.listener.v3.ListenerFilterChainMatchPredicate.MatchSet")]
pub struct PortPredicates {
    /// At least two.
    pub rules: Vec<PortPredicate>,
}

/// `envoy.type.v3.Int32Range`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.type.v3.Int32Range")]
pub struct Int32Range {
    /// The first.
    #[serde(default)]
    pub start: i32,
    /// The first behind the last.
    #[serde(default)]
    pub end: i32,
}

/// `envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector")]
pub struct TlsInspector {
    /// No effect: what is there is looked at.
    #[serde(default)]
    pub initial_read_buffer_size: Option<u32>,
    /// Whether a connection that does not begin with a `ClientHello` is closed.
    #[serde(default)]
    pub close_connection_on_client_hello_parsing_errors: bool,
    /// The longest `ClientHello`; 16 KiB by default.
    #[serde(default)]
    pub max_client_hello_size: Option<u32>,
}

/// `envoy.extensions.filters.listener.http_inspector.v3.HttpInspector`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector")]
pub struct HttpInspector {}

/// `envoy.extensions.filters.listener.original_dst.v3.OriginalDst`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.listener.original_dst.v3.OriginalDst")]
pub struct OriginalDst {}

/// `envoy.extensions.filters.listener.local_ratelimit.v3.LocalRateLimit`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.listener.local_ratelimit.v3.LocalRateLimit")]
pub struct LocalRateLimit {
    /// What the statistics are called after.
    pub stat_prefix: String,
    /// How many connections may come in a time.
    pub token_bucket: TokenBucket,
    /// Whether it counts at all; it does by default.
    #[serde(default)]
    pub runtime_enabled: Option<RuntimeFeatureFlag>,
}

/// `envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol")]
pub struct ProxyProtocol {
    /// Which fields of a header are kept as metadata.
    #[serde(default)]
    pub rules: Vec<ProxyRule>,
    /// Whether a connection without a header is taken.
    #[serde(default)]
    pub allow_requests_without_proxy_protocol: bool,
    /// The versions that are not taken.
    #[serde(default)]
    pub disallowed_versions: Vec<ProxyProtocolVersion>,
    /// What the statistics are called after.
    #[serde(default)]
    pub stat_prefix: String,
    /// Where the fields are kept.
    #[serde(default)]
    pub tlv_location: TlvLocation,
}

/// `envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol.Rule`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol.Rule")]
pub struct ProxyRule {
    /// The field's type.
    #[serde(default)]
    pub tlv_type: u8,
    /// Where its value is kept; nowhere by default.
    #[serde(default)]
    pub on_tlv_present: Option<ProxyKeyValuePair>,
}

/// `envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol.KeyValuePair`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol.KeyValuePair")]
pub struct ProxyKeyValuePair {
    /// The namespace; the filter's name by default.
    #[serde(default)]
    pub metadata_namespace: String,
    /// The key.
    pub key: String,
}

/// `envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol.TlvLocation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol.TlvLocation",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum TlvLocation {
    /// The default.
    #[default]
    DynamicMetadata,
}

/// `envoy.config.core.v3.ProxyProtocolConfig.Version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.ProxyProtocolConfig.Version")]
pub enum ProxyProtocolVersion {
    /// A line of text.
    V1,
    /// Bytes.
    V2,
}
