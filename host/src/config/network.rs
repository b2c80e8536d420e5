//! Network filters other than the HTTP connection manager.

use serde::{Deserialize, Serialize};

use crate::config::access_log::AccessLog;
use crate::config::filter::TokenBucket;
use crate::config::header::HeaderValueOption;
use crate::config::scalar::{DataSource, Duration, Metadata, Percent, RuntimeFeatureFlag};

/// `envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy")]
pub struct TcpProxy {
    /// What the statistics are called after.
    pub stat_prefix: String,
    /// Where connections go.
    #[serde(rename = "oneof:cluster_specifier")]
    pub clusters: TcpClusterSpecifier,
    /// Time without a byte in either direction; 1 h by default, 0 is without limit.
    #[serde(default)]
    pub idle_timeout: Option<Duration>,
    /// The access logs.
    #[serde(default)]
    pub access_log: Vec<AccessLog>,
    /// How often a connection to an endpoint is tried; 1 by default.
    #[serde(default)]
    pub max_connect_attempts: Option<u32>,
    /// How long it is waited between these; not at all by default.
    #[serde(default)]
    pub backoff_options: Option<BackoffStrategy>,
    /// How long a connection may last; without limit by default.
    #[serde(default)]
    pub max_downstream_connection_duration: Option<Duration>,
    /// Up to how much of that is added to it, by chance.
    #[serde(default)]
    pub max_downstream_connection_duration_jitter_percentage: Option<Percent>,
    /// What is asked of endpoints, where the cluster has subsets.
    #[serde(default)]
    pub metadata_match: Option<Metadata>,
    /// Entries of the access logs before the end.
    #[serde(default)]
    pub access_log_options: Option<TcpAccessLogOptions>,
    /// Older form of `access_log_options.access_log_flush_interval`.
    #[serde(default)]
    pub access_log_flush_interval: Option<Duration>,
    /// Older form of `access_log_options.flush_access_log_on_connected`.
    #[serde(default)]
    pub flush_access_log_on_connected: bool,
    /// What the choice among endpoints goes by, where the cluster's balancing hashes; one at most.
    #[serde(default)]
    pub hash_policy: Vec<TcpHashPolicy>,
    /// The bytes travel in an HTTP stream.
    #[serde(default)]
    pub tunneling_config: Option<TunnelingConfig>,
    /// When an endpoint is connected to.
    #[serde(default)]
    pub upstream_connect_mode: UpstreamConnectMode,
    /// How much of what the client sends before that is taken in.
    #[serde(default)]
    pub max_early_data_bytes: Option<u32>,
    /// No effect but for a warning, as in Envoy.
    #[serde(default)]
    pub downstream_idle_timeout: Option<Duration>,
    /// No effect but for a warning, as in Envoy.
    #[serde(default)]
    pub upstream_idle_timeout: Option<Duration>,
}

/// `envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.TunnelingConfig`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.TunnelingConfig")]
pub struct TunnelingConfig {
    /// For whom the request is: a format.
    pub hostname: String,
    /// Whether it is a `POST`, not a `CONNECT`.
    #[serde(default)]
    pub use_post: bool,
    /// Fields added to it.
    #[serde(default)]
    pub headers_to_add: Vec<HeaderValueOption>,
    /// Whether logs may show the response's head.
    #[serde(default)]
    pub propagate_response_headers: bool,
    /// The path of a `POST`; `/` by default.
    #[serde(default)]
    pub post_path: String,
    /// Whether logs may show the response's trailers.
    #[serde(default)]
    pub propagate_response_trailers: bool,
}

/// `envoy.extensions.filters.network.tcp_proxy.v3.UpstreamConnectMode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.filters.network.tcp_proxy.v3.UpstreamConnectMode",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum UpstreamConnectMode {
    /// At once.
    #[default]
    Immediate,
    /// Once the client has sent something.
    OnDownstreamData,
    /// Once its TLS handshake is over, before which there is no TCP proxy here.
    OnDownstreamTlsHandshake,
}

/// `envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.TcpAccessLogOptions`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.TcpAccessLogOptions")]
pub struct TcpAccessLogOptions {
    /// How often there is an entry while the connection lasts; never by default.
    #[serde(default)]
    pub access_log_flush_interval: Option<Duration>,
    /// Whether there is one once there is a connection to an endpoint.
    #[serde(default)]
    pub flush_access_log_on_connected: bool,
}

/// `envoy.config.core.v3.BackoffStrategy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.BackoffStrategy")]
pub struct BackoffStrategy {
    /// The first wait is shorter than this; each further one than twice as much.
    pub base_interval: Duration,
    /// The longest wait; ten times the base by default.
    #[serde(default)]
    pub max_interval: Option<Duration>,
}

/// `envoy.type.v3.HashPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.type.v3.HashPolicy")]
pub struct TcpHashPolicy {
    /// What is hashed.
    #[serde(rename = "oneof:policy_specifier")]
    pub specifier: TcpHashSource,
}

/// `HashPolicy.policy_specifier`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TcpHashSource {
    /// The client's address.
    SourceIp(SourceIp),
}

/// `envoy.type.v3.HashPolicy.SourceIp`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.type.v3.HashPolicy.SourceIp")]
pub struct SourceIp {}

/// `TcpProxy.cluster_specifier`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TcpClusterSpecifier {
    /// By its name.
    Cluster(String),
    /// One of several, by chance.
    WeightedClusters(TcpWeightedCluster),
}

/// `envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster")]
pub struct TcpWeightedCluster {
    /// The clusters.
    pub clusters: Vec<TcpClusterWeight>,
}

/// `envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight"
)]
pub struct TcpClusterWeight {
    /// The cluster.
    pub name: String,
    /// How often it is taken, in proportion to the others.
    pub weight: u32,
    /// What is asked of its endpoints beside `metadata_match` of the proxy.
    #[serde(default)]
    pub metadata_match: Option<Metadata>,
}

/// `envoy.extensions.filters.network.direct_response.v3.Config`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.network.direct_response.v3.Config")]
pub struct DirectResponse {
    /// What is sent; nothing by default.
    #[serde(default)]
    pub response: Option<DataSource>,
}

/// `envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit")]
pub struct ConnectionLimit {
    /// What the statistics are called after.
    pub stat_prefix: String,
    /// How many connections the filter chain may have at once; without limit by default.
    #[serde(default)]
    pub max_connections: Option<u64>,
    /// How long a connection beyond that is left open; not at all by default.
    #[serde(default)]
    pub delay: Option<Duration>,
    /// Whether it counts at all; it does by default.
    #[serde(default)]
    pub runtime_enabled: Option<RuntimeFeatureFlag>,
}

/// `envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit")]
pub struct NetworkRateLimit {
    /// What the statistics are called after.
    pub stat_prefix: String,
    /// How many connections may come in a time.
    pub token_bucket: TokenBucket,
    /// Whether it counts at all; it does by default.
    #[serde(default)]
    pub runtime_enabled: Option<RuntimeFeatureFlag>,
}

/// `envoy.extensions.filters.network.echo.v3.Echo`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.network.echo.v3.Echo")]
pub struct Echo {}
