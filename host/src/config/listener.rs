//! What is listened on.

use serde::{Deserialize, Serialize};

use crate::config::address::{Address, CidrRange};
use crate::config::http_connection_manager::HttpConnectionManager;
use crate::config::network::{ConnectionLimit, DirectResponse, Echo, NetworkRateLimit, TcpProxy};
use crate::config::scalar::Duration;
use crate::config::tls::{DownstreamTlsContext, DownstreamTransportSocket};

/// `envoy.config.listener.v3.Listener`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.listener.v3.Listener")]
pub struct Listener {
    /// The name; generated where it is empty.
    #[serde(default)]
    pub name: String,
    /// Where it listens: a literal address.
    pub address: Address,
    /// What happens with a connection: the most specific that matches it.
    #[serde(default)]
    pub filter_chains: Vec<FilterChain>,
    /// What happens with one that none of them matches, which is closed without it.
    #[serde(default)]
    pub default_filter_chain: Option<FilterChain>,
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

impl Listener {
    /// All filter chains, the default one last.
    pub fn chains(&self) -> impl Iterator<Item = &FilterChain> {
        self.filter_chains.iter().chain(&self.default_filter_chain)
    }
}

/// `envoy.config.listener.v3.FilterChain`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.listener.v3.FilterChain")]
pub struct FilterChain {
    /// The name, for logs.
    #[serde(default)]
    pub name: String,
    /// Which connections it is for; all by default.
    #[serde(default)]
    pub filter_chain_match: Option<FilterChainMatch>,
    /// The network filters, in their order; the last one is terminal.
    #[serde(default)]
    pub filters: Vec<NetworkFilter>,
    /// What carries the bytes; clear text by default.
    #[serde(default)]
    pub transport_socket: Option<DownstreamTransportSocket>,
    /// How long a handshake may take.
    #[serde(default)]
    pub transport_socket_connect_timeout: Option<Duration>,
    /// Envoy's v2 form of `transport_socket`, which examples still have.
    #[serde(default)]
    pub tls_context: Option<Box<DownstreamTlsContext>>,
}

/// `envoy.config.listener.v3.FilterChainMatch`: all of it has to hold, one entry of each list. An empty
/// list asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.listener.v3.FilterChainMatch")]
pub struct FilterChainMatch {
    /// The port that the client meant, where it was restored by `original_dst` or the PROXY protocol.
    #[serde(default)]
    pub destination_port: Option<u16>,
    /// The address that it meant.
    #[serde(default)]
    pub prefix_ranges: Vec<CidrRange>,
    /// The peer of the socket.
    #[serde(default)]
    pub direct_source_prefix_ranges: Vec<CidrRange>,
    /// Whether the client is on this machine.
    #[serde(default)]
    pub source_type: ConnectionSourceType,
    /// The client's address.
    #[serde(default)]
    pub source_prefix_ranges: Vec<CidrRange>,
    /// The client's port.
    #[serde(default)]
    pub source_ports: Vec<u16>,
    /// The name that the client asks for over TLS: a whole one, or `*.` and its end.
    #[serde(default)]
    pub server_names: Vec<String>,
    /// `tls` or `raw_buffer`.
    #[serde(default)]
    pub transport_protocol: String,
    /// What the client offers to speak, such as `h2`.
    #[serde(default)]
    pub application_protocols: Vec<String>,
}

/// `envoy.config.listener.v3.FilterChainMatch.ConnectionSourceType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.config.listener.v3.FilterChainMatch.ConnectionSourceType",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum ConnectionSourceType {
    /// The default.
    #[default]
    Any,
    /// From this machine.
    SameIpOrLoopback,
    /// From another one.
    External,
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
