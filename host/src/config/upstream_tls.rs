//! TLS and other transports to upstreams.

use serde::{Deserialize, Serialize};

use crate::config::scalar::{Bytes, Struct};
use crate::config::tls::{CommonTlsContext, RawBuffer};

/// `envoy.config.core.v3.TransportSocket` of a cluster.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.TransportSocket")]
pub struct UpstreamTransportSocket {
    /// Any name.
    pub name: String,
    /// The transport.
    #[serde(rename = "any:typed_config")]
    pub typed_config: UpstreamTransport,
}

/// The transports that upstreams may be reached by.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "any:transport socket")]
pub enum UpstreamTransport {
    /// TLS.
    #[serde(rename = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext")]
    Tls(Box<UpstreamTlsContext>),
    /// Clear text, the default.
    #[serde(rename = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer")]
    RawBuffer(RawBuffer),
    /// Either of these behind a header of the PROXY protocol.
    #[serde(
        rename = "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport"
    )]
    ProxyProtocol(Box<ProxyProtocolUpstreamTransport>),
}

/// `envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext")]
pub struct UpstreamTlsContext {
    /// What both sides have in common.
    #[serde(default)]
    pub common_tls_context: CommonTlsContext,
    /// The name that servers are asked for; none by default.
    #[serde(default)]
    pub sni: String,
    /// Whether they are asked for the endpoint's name, where it has one.
    #[serde(default)]
    pub auto_host_sni: bool,
    /// Whether the name that they are asked for has to be in their certificate; it has in any case.
    #[serde(default)]
    pub auto_sni_san_validation: bool,
    /// Whether a server may begin anew; not supported.
    #[serde(default)]
    pub allow_renegotiation: bool,
    /// Servers whose sessions are kept to be resumed; 0 is none.
    #[serde(default)]
    pub max_session_keys: Option<u32>,
}

/// `envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport"
)]
pub struct ProxyProtocolUpstreamTransport {
    /// What the header is like.
    #[serde(default)]
    pub config: ProxyProtocolConfig,
    /// What comes behind it.
    pub transport_socket: Box<UpstreamTransportSocket>,
}

/// `envoy.config.core.v3.ProxyProtocolConfig`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.ProxyProtocolConfig")]
pub struct ProxyProtocolConfig {
    /// The version; 1 by default.
    #[serde(default)]
    pub version: ProxyProtocolVersion,
    /// What is added to the header, in version 2.
    #[serde(default)]
    pub added_tlvs: Vec<TlvEntry>,
}

/// `envoy.config.core.v3.ProxyProtocolConfig.Version`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.ProxyProtocolConfig.Version")]
pub enum ProxyProtocolVersion {
    /// Text.
    #[default]
    V1,
    /// Binary.
    V2,
}

/// `envoy.config.core.v3.TlvEntry`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.TlvEntry")]
pub struct TlvEntry {
    /// Its type; less than 256.
    #[serde(default)]
    pub r#type: u32,
    /// Its value.
    #[serde(default)]
    pub value: Bytes,
}

/// `envoy.config.cluster.v3.Cluster.TransportSocketMatch`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.cluster.v3.Cluster.TransportSocketMatch")]
pub struct TransportSocketMatch {
    /// Its name, for statistics.
    pub name: String,
    /// What an endpoint's metadata under `envoy.transport_socket_match` has to say; nothing by default.
    #[serde(default)]
    pub r#match: Option<Struct>,
    /// The transport of these endpoints.
    pub transport_socket: UpstreamTransportSocket,
}

/// `envoy.config.core.v3.UpstreamHttpProtocolOptions`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.UpstreamHttpProtocolOptions")]
pub struct UpstreamNames {
    /// Whether servers are asked for the host that the request names.
    #[serde(default)]
    pub auto_sni: bool,
    /// Whether that host has to be in their certificate.
    #[serde(default)]
    pub auto_san_validation: bool,
    /// The field that says the host in place of `host`.
    #[serde(default)]
    pub override_auto_sni_header: String,
}
