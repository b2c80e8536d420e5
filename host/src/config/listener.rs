//! What is listened on.

use serde::{Deserialize, Serialize};

use crate::config::address::Address;
use crate::config::http_connection_manager::HttpConnectionManager;
use crate::config::network::{ConnectionLimit, DirectResponse, Echo, NetworkRateLimit, TcpProxy};

/// `envoy.config.listener.v3.Listener`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.listener.v3.Listener")]
pub struct Listener {
    /// The name; generated where it is empty.
    #[serde(default)]
    pub name: String,
    /// Where it listens: a literal address.
    pub address: Address,
    /// What happens with a connection; exactly one is supported.
    #[serde(default)]
    pub filter_chains: Vec<FilterChain>,
    /// What looks at a connection before a filter chain is chosen.
    #[serde(default)]
    pub listener_filters: Vec<ListenerFilter>,
    /// Soft limit in bytes on what is buffered for a connection; 1 MiB by default.
    #[serde(default)]
    pub per_connection_buffer_limit_bytes: Option<u32>,
    /// Whether each worker has a socket of its own for the port; true by default.
    #[serde(default)]
    pub enable_reuse_port: Option<bool>,
    /// Connections that the operating system keeps until they are accepted.
    #[serde(default)]
    pub tcp_backlog_size: Option<u32>,
    /// What the statistics are called after, in place of the address.
    #[serde(default)]
    pub stat_prefix: String,
}

/// `envoy.config.listener.v3.FilterChain`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.listener.v3.FilterChain")]
pub struct FilterChain {
    /// The name, for logs.
    #[serde(default)]
    pub name: String,
    /// The network filters, in their order; the last one is terminal.
    #[serde(default)]
    pub filters: Vec<NetworkFilter>,
}

/// `envoy.config.listener.v3.Filter`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.listener.v3.Filter")]
pub struct NetworkFilter {
    /// Any name.
    pub name: String,
    /// The filter.
    #[serde(rename = "any:typed_config")]
    pub typed_config: NetworkFilterConfig,
}

/// The network filters that there are.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "any:network filter")]
pub enum NetworkFilterConfig {
    /// HTTP.
    #[serde(
        rename = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    )]
    HttpConnectionManager(Box<HttpConnectionManager>),
    /// Bytes, to a cluster.
    #[serde(rename = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy")]
    TcpProxy(Box<TcpProxy>),
    /// A fixed answer.
    #[serde(rename = "envoy.extensions.filters.network.direct_response.v3.Config")]
    DirectResponse(DirectResponse),
    /// Back what comes.
    #[serde(rename = "envoy.extensions.filters.network.echo.v3.Echo")]
    Echo(Echo),
    /// Not too many connections at once. Not terminal, like the next one.
    #[serde(rename = "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit")]
    ConnectionLimit(ConnectionLimit),
    /// Not too many connections in a time.
    #[serde(rename = "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit")]
    LocalRateLimit(NetworkRateLimit),
}

/// `envoy.config.listener.v3.ListenerFilter`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.listener.v3.ListenerFilter")]
pub struct ListenerFilter {
    /// Any name.
    pub name: String,
    /// The filter.
    #[serde(rename = "any:typed_config")]
    pub typed_config: ListenerFilterConfig,
}

/// The listener filters that there are.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "any:listener filter")]
pub enum ListenerFilterConfig {}
