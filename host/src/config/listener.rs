//! What is listened on.

use serde::{Deserialize, Serialize};

use crate::config::access_log::AccessLog;
use crate::config::address::{Address, CidrRange};
use crate::config::chain_matcher::ChainMatcher;
use crate::config::http_connection_manager::HttpConnectionManager;
use crate::config::listener_filter::ListenerFilter;
use crate::config::network::{ConnectionLimit, DirectResponse, Echo, NetworkRateLimit, TcpProxy};
use crate::config::scalar::{Duration, Metadata};
use crate::config::socket_option::{SocketOption, SocketOptionsOverride, TcpKeepalive};
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
    /// What leads connections to them, in place of their own matches.
    #[serde(default)]
    pub filter_chain_matcher: Option<ChainMatcher>,
    /// What happens with one that none of them matches, which is closed without it.
    #[serde(default)]
    pub default_filter_chain: Option<FilterChain>,
    /// What looks at a connection before a filter chain is chosen.
    #[serde(default)]
    pub listener_filters: Vec<ListenerFilter>,
    /// How long that may take; 15 s by default, 0 is without limit.
    #[serde(default)]
    pub listener_filters_timeout: Option<Duration>,
    /// Whether a connection goes on then, with what is known of it; it is closed by default.
    #[serde(default)]
    pub continue_on_listener_filters_timeout: bool,
    /// Whether a connection that was redirected belongs to the listener of the address that it was
    /// meant for, where there is one.
    #[serde(default)]
    pub use_original_dst: Option<bool>,
    /// Soft limit in bytes on what is buffered for a connection; 1 MiB by default.
    #[serde(default)]
    pub per_connection_buffer_limit_bytes: Option<u32>,
    /// Whether each worker has a socket of its own for the port; true by default.
    #[serde(default)]
    pub enable_reuse_port: Option<bool>,
    /// Connections that the operating system keeps until they are accepted.
    #[serde(default)]
    pub tcp_backlog_size: Option<u32>,
    /// Where it listens besides.
    #[serde(default)]
    pub additional_addresses: Vec<AdditionalAddress>,
    /// Whether it listens at all; true by default. One that does not has the connections of others that
    /// were meant for its address.
    #[serde(default)]
    pub bind_to_port: Option<bool>,
    /// Whether its address need not be one of this machine.
    #[serde(default)]
    pub freebind: Option<bool>,
    /// Whether connections to any address come that the kernel redirects.
    #[serde(default)]
    pub transparent: Option<bool>,
    /// Options of its sockets.
    #[serde(default)]
    pub socket_options: Vec<SocketOption>,
    /// How many connections may wait whose first bytes came with the first packet; none by default.
    #[serde(default)]
    pub tcp_fast_open_queue_length: Option<u32>,
    /// How connections are shared among workers.
    #[serde(default)]
    pub connection_balance_config: Option<ConnectionBalanceConfig>,
    /// Whether it speaks MPTCP, which falls back to TCP.
    #[serde(default)]
    pub enable_mptcp: bool,
    /// The access logs, with an entry for each connection.
    #[serde(default)]
    pub access_log: Vec<AccessLog>,
    /// Whether its clients are sent away while the proxy is told to fail.
    #[serde(default)]
    pub drain_type: DrainType,
    /// When silent connections are asked whether their client is there; never by default.
    #[serde(default)]
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// No effect: connections are accepted one by one.
    #[serde(default)]
    pub max_connections_to_accept_per_socket_event: Option<u32>,
    /// Whether its connections come in although those of all listeners are too many.
    #[serde(default)]
    pub ignore_global_conn_limit: bool,
    /// No effect: there is no overload manager.
    #[serde(default)]
    pub bypass_overload_manager: bool,
    /// Older form of `enable_reuse_port`. No effect: each worker has a socket.
    #[serde(default)]
    pub reuse_port: bool,
    /// Older form of `bind_to_port`.
    #[serde(default)]
    pub deprecated_v1: Option<DeprecatedV1>,
    /// For who reads the configuration.
    #[serde(default)]
    pub traffic_direction: TrafficDirection,
    /// What the statistics are called after, in place of the address.
    #[serde(default)]
    pub stat_prefix: String,
    /// What is known about it, for who reads it: logs, the changes of heads, filters.
    #[serde(default)]
    pub metadata: Option<Metadata>,
}

impl Listener {
    /// Whether it listens at all, by either form.
    #[must_use]
    pub fn binds(&self) -> bool {
        let older = self.deprecated_v1.and_then(|older| older.bind_to_port);
        self.bind_to_port != Some(false) && older != Some(false)
    }

    /// All filter chains, the default one last.
    pub fn chains(&self) -> impl Iterator<Item = &FilterChain> {
        self.filter_chains.iter().chain(&self.default_filter_chain)
    }
}

/// `envoy.config.listener.v3.Listener.DeprecatedV1`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.listener.v3.Listener.DeprecatedV1")]
pub struct DeprecatedV1 {
    /// Whether it listens at all; true by default.
    #[serde(default)]
    pub bind_to_port: Option<bool>,
}

/// `envoy.config.listener.v3.Listener.ConnectionBalanceConfig`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.listener.v3.Listener.ConnectionBalanceConfig")]
pub struct ConnectionBalanceConfig {
    /// How.
    #[serde(rename = "oneof:balance_type")]
    pub balance: ConnectionBalance,
}

/// `ConnectionBalanceConfig.balance_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionBalance {
    /// Each goes to the worker that has the fewest.
    ExactBalance(ExactBalance),
}

/// `envoy.config.listener.v3.Listener.ConnectionBalanceConfig.ExactBalance`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.listener.v3.Listener.ConnectionBalanceConfig.ExactBalance")]
pub struct ExactBalance {}

/// `envoy.config.listener.v3.Listener.DrainType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.config.listener.v3.Listener.DrainType",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum DrainType {
    /// They are.
    #[default]
    Default,
    /// They stay.
    ModifyOnly,
}

/// `envoy.config.listener.v3.AdditionalAddress`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.listener.v3.AdditionalAddress")]
pub struct AdditionalAddress {
    /// The address.
    pub address: Address,
    /// Options of its sockets, in place of those of the listener.
    #[serde(default)]
    pub socket_options: Option<SocketOptionsOverride>,
}

/// `envoy.config.core.v3.TrafficDirection`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.config.core.v3.TrafficDirection",
    rename_all = "UPPERCASE"
)]
pub enum TrafficDirection {
    /// The default.
    #[default]
    Unspecified,
    /// To a service.
    Inbound,
    /// From one.
    Outbound,
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
    /// Older form of the listener filter `proxy_protocol`, in front of all others.
    #[serde(default)]
    pub use_proxy_proto: Option<bool>,
    /// Envoy's v2 form of `transport_socket`, which examples still have.
    #[serde(default)]
    pub tls_context: Option<Box<DownstreamTlsContext>>,
    /// What is known about it, for who reads it: logs, the changes of heads, filters.
    #[serde(default)]
    pub metadata: Option<Metadata>,
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
