//! How connections of a cluster are made, and when ahead of need.
//!
//! Owns plain types with Envoy's defaults.

use std::net::IpAddr;
use std::sync::Arc;

use crate::headers::Name;
use crate::socket_option::{KeepAlive, SocketOption};
use crate::tls;
use crate::upstream::connect::ProxyHeader;
use crate::upstream::metadata::Metadata;

/// How connections are made (`Cluster`).
#[derive(Clone, Debug, Default)]
pub struct Dial {
    /// `transport_socket`.
    pub transport: Transport,
    /// `transport_socket_matches`, the first of which that an endpoint meets counts instead.
    pub matches: Vec<TransportMatch>,
    /// `upstream_bind_config`, or that of the cluster manager.
    pub bind: BindSpec,
    /// `upstream_connection_options.tcp_keepalive`.
    pub keepalive: Option<KeepAlive>,
    /// `upstream_connection_options.happy_eyeballs_config`.
    pub eyeballs: Eyeballs,
}

impl Dial {
    /// What is spoken under the protocol with an endpoint of that metadata.
    #[must_use]
    pub fn transport_of(&self, metadata: &Metadata) -> &Transport {
        let mut matches = self.matches.iter();
        let found = matches.find(|entry| {
            let mut wanted = entry.wanted.iter();
            wanted.all(|(key, value)| metadata.get(key) == Some(value))
        });
        found.map_or(&self.transport, |entry| &entry.transport)
    }

    /// Whether some endpoints are reached over TLS.
    #[must_use]
    pub fn may_be_tls(&self) -> bool {
        self.transports().any(|transport| transport.tls.is_some())
    }

    /// Whether all endpoints are reached over TLS, whatever their metadata.
    #[must_use]
    pub fn is_always_tls(&self) -> bool {
        self.transports().all(|transport| transport.tls.is_some())
    }

    fn transports(&self) -> impl Iterator<Item = &Transport> {
        let matches = self.matches.iter().map(|entry| &entry.transport);
        std::iter::once(&self.transport).chain(matches)
    }

    /// The TLS contexts of all of them.
    pub fn contexts(&self) -> impl Iterator<Item = &Arc<tls::Client>> {
        let dials = self.transports().filter_map(|one| one.tls.as_ref());
        dials.map(|dial| &dial.client)
    }

    /// Whether endpoints are told where the client is.
    #[must_use]
    pub fn tells_client(&self) -> bool {
        self.transports()
            .any(|transport| transport.proxy_header.is_some())
    }
}

/// An entry of `transport_socket_matches`.
#[derive(Clone, Debug)]
pub struct TransportMatch {
    /// `name`.
    pub name: Arc<str>,
    /// `match`: what an endpoint's metadata has to say.
    pub wanted: Metadata,
    /// `transport_socket`.
    pub transport: Transport,
}

/// What is spoken under the protocol (`TransportSocket`); by default nothing.
#[derive(Clone, Debug, Default)]
pub struct Transport {
    /// `envoy.transport_sockets.upstream_proxy_protocol`.
    pub proxy_header: Option<ProxyHeader>,
    /// `envoy.transport_sockets.tls`.
    pub tls: Option<TlsDial>,
}

/// `UpstreamTlsContext`.
#[derive(Clone, Debug)]
pub struct TlsDial {
    /// The context.
    pub client: Arc<tls::Client>,
    /// `sni`: the name that servers are asked for.
    pub server_name: Option<Arc<str>>,
    /// `auto_host_sni`: the endpoint's name goes before that.
    pub asks_for_host: bool,
}

/// Which names a request asks for (`upstream_http_protocol_options`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AutoNames {
    /// `auto_sni`: it asks for the host that it names.
    pub asks: bool,
    /// `auto_san_validation`: that host has to be in the certificate.
    pub verifies: bool,
    /// `override_auto_sni_header`: the field that says the host in place of `host`.
    pub field: Option<Name>,
}

/// Where connections come from (`BindConfig`).
#[derive(Clone, Debug, Default)]
pub struct BindSpec {
    /// `source_address` and `extra_source_addresses`: at most one of each family; port 0 is any.
    pub sources: Vec<Source>,
    /// `freebind`: an address of this machine that is not there yet will do.
    pub is_free: bool,
    /// `socket_options`, where the source has none of its own.
    pub options: Box<[SocketOption]>,
}

impl BindSpec {
    /// Whether the system chooses everything.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.sources.is_empty() && self.options.is_empty()
    }
}

/// One address that connections come from.
#[derive(Clone, Debug)]
pub struct Source {
    /// The address.
    pub ip: IpAddr,
    /// The port, 0 for any.
    pub port: u16,
    /// `socket_options` in place of the common ones.
    pub options: Option<Box<[SocketOption]>>,
}

/// In which order the addresses of an endpoint are tried (`HappyEyeballsConfig`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eyeballs {
    /// `first_address_family_version`: whether IPv6 comes first; none where the first address says.
    pub v6_first: Option<bool>,
    /// `first_address_family_count`: how many of that family come before the first of the other; 1,
    /// at least 1.
    pub first: u32,
}

impl Default for Eyeballs {
    fn default() -> Self {
        Self {
            v6_first: None,
            first: 1,
        }
    }
}

/// `preconnect_policy`: how many connections there are for each request; 1 is none ahead of need.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preconnect {
    /// `per_upstream_preconnect_ratio`: of one endpoint.
    pub per_upstream: f64,
    /// `predictive_preconnect_ratio`: of the cluster, to the endpoints that come next.
    pub predictive: f64,
}

impl Default for Preconnect {
    fn default() -> Self {
        Self {
            per_upstream: 1.0,
            predictive: 1.0,
        }
    }
}
