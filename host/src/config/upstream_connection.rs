//! How connections to upstreams are made and kept.

use serde::{Deserialize, Serialize};

use crate::config::address::SocketAddress;
use crate::config::socket_option::{SocketOption, SocketOptionsOverride, TcpKeepalive};

/// `envoy.config.core.v3.BindConfig`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.BindConfig")]
pub struct BindConfig {
    /// Where connections come from; the system chooses by default.
    #[serde(default)]
    pub source_address: Option<SocketAddress>,
    /// Whether the address need not be this machine's yet; false by default.
    #[serde(default)]
    pub freebind: Option<bool>,
    /// Options of the sockets.
    #[serde(default)]
    pub socket_options: Vec<SocketOption>,
    /// The address of the other family.
    #[serde(default)]
    pub extra_source_addresses: Vec<ExtraSourceAddress>,
    /// Older form of `extra_source_addresses`.
    #[serde(default)]
    pub additional_source_addresses: Vec<SocketAddress>,
}

/// `envoy.config.core.v3.ExtraSourceAddress`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.ExtraSourceAddress")]
pub struct ExtraSourceAddress {
    /// Where connections come from.
    pub address: SocketAddress,
    /// Options of the sockets in place of the common ones.
    #[serde(default)]
    pub socket_options: Option<SocketOptionsOverride>,
}

/// `envoy.config.cluster.v3.UpstreamConnectionOptions`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.cluster.v3.UpstreamConnectionOptions")]
pub struct UpstreamConnectionOptions {
    /// Probes of connections that carry nothing; none by default.
    #[serde(default)]
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// In which order the addresses of an endpoint are tried.
    #[serde(default)]
    pub happy_eyeballs_config: Option<HappyEyeballsConfig>,
    /// Whether the interface is looked up that a connection goes over. No effect: nobody asks for it.
    #[serde(default)]
    pub set_local_interface_name_on_upstream_connections: bool,
}

/// `envoy.config.cluster.v3.UpstreamConnectionOptions.HappyEyeballsConfig`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.cluster.v3.UpstreamConnectionOptions.HappyEyeballsConfig")]
pub struct HappyEyeballsConfig {
    /// Which family is first; that of the first address by default.
    #[serde(default)]
    pub first_address_family_version: FirstFamily,
    /// How many of that family come before the first of the other; 1 by default.
    #[serde(default)]
    pub first_address_family_count: Option<u32>,
}

/// `UpstreamConnectionOptions.FirstAddressFamilyVersion`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.config.cluster.v3.UpstreamConnectionOptions.FirstAddressFamilyVersion",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum FirstFamily {
    /// That of the first address.
    #[default]
    Default,
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// `envoy.config.cluster.v3.Cluster.PreconnectPolicy`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.cluster.v3.Cluster.PreconnectPolicy")]
pub struct PreconnectPolicy {
    /// Connections to an endpoint for each of its requests; 1, the default, is none ahead of need.
    #[serde(default)]
    pub per_upstream_preconnect_ratio: Option<f64>,
    /// Connections of the cluster for each of its requests, to the endpoints that come next; 1, the
    /// default, is none ahead of need.
    #[serde(default)]
    pub predictive_preconnect_ratio: Option<f64>,
}
