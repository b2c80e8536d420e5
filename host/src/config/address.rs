//! Addresses and ranges of them.

use serde::{Deserialize, Serialize};

/// `envoy.config.core.v3.Address`, of which `P` is the protocols that there are at its place.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.Address")]
pub struct Address<P = Protocol> {
    /// The kind of address.
    #[serde(
        rename = "oneof:address",
        bound(deserialize = "P: Default + Deserialize<'de>")
    )]
    pub address: AddressKind<P>,
}

impl<P> Address<P> {
    /// The host and port, where it is not a Unix socket.
    #[must_use]
    pub const fn socket(&self) -> Option<&SocketAddress<P>> {
        match &self.address {
            AddressKind::SocketAddress(socket) => Some(socket),
            AddressKind::Pipe(_) => None,
        }
    }
}

/// `envoy.config.core.v3.Address.address`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AddressKind<P = Protocol> {
    /// A host and a port.
    #[serde(bound(deserialize = "P: Default + Deserialize<'de>"))]
    SocketAddress(SocketAddress<P>),
    /// A Unix socket.
    Pipe(Pipe),
}

/// `envoy.config.core.v3.Pipe`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.Pipe")]
pub struct Pipe {
    /// The path, or behind `@` a name in the abstract namespace.
    pub path: String,
    /// Who may connect to that of a listener, as of a file; without effect for an endpoint.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub mode: u32,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde asks for"
)]
const fn is_zero(mode: &u32) -> bool {
    *mode == 0
}

/// `envoy.config.core.v3.SocketAddress`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.SocketAddress")]
pub struct SocketAddress<P = Protocol> {
    /// The transport.
    #[serde(default)]
    pub protocol: P,
    /// A literal IPv4 or IPv6 address, or a name where names are resolved (`STRICT_DNS`).
    pub address: String,
    /// The port.
    #[serde(rename = "oneof:port_specifier")]
    pub port: PortSpecifier,
    /// Whether clients of IPv4 may come to a listener's address of IPv6.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ipv4_compat: bool,
}

impl<P> SocketAddress<P> {
    /// The port number; 0 for a listener takes a free one.
    #[must_use]
    pub const fn port(&self) -> u16 {
        let PortSpecifier::PortValue(port) = self.port;
        port
    }
}

/// `envoy.config.core.v3.SocketAddress.Protocol`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.config.core.v3.SocketAddress.Protocol",
    rename_all = "UPPERCASE"
)]
pub enum Protocol {
    /// The default.
    #[default]
    Tcp,
}

/// The same for a name server. No effect: `use_tcp_for_dns_lookups` says how it is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.config.core.v3.SocketAddress.Protocol",
    rename_all = "UPPERCASE"
)]
pub enum NameServerProtocol {
    /// The default.
    #[default]
    Tcp,
    /// What Envoy's examples have.
    Udp,
}

/// `envoy.config.core.v3.SocketAddress.port_specifier`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PortSpecifier {
    /// The number.
    PortValue(u16),
}

/// `envoy.config.core.v3.CidrRange`: a range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.CidrRange")]
pub struct CidrRange {
    /// An address in the range.
    pub address_prefix: String,
    /// How many leading bits of it count; 0 by default, at most 128.
    #[serde(default)]
    pub prefix_len: Option<u32>,
}
