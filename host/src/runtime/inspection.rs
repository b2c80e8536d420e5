//! Listener filters: what is found out about a connection before it gets a filter chain.
//!
//! Owns the data of the filters in their order. `build` makes it, `listener::filters` goes through it.

use std::sync::Arc;
use std::time::Duration;

use crate::observe::metrics::{
    HttpInspectorStats, ProxyErrorStats, ProxyProtocolStats, ProxyVersionStats, TlsInspectorStats,
};
use crate::observe::stats::Sharded;
use crate::tcp::gate::RateLimit;

/// `listener_filters` and their timeout.
#[derive(Default)]
pub struct Inspection {
    /// In the order of the file.
    pub steps: Box<[Step]>,
    /// `listener_filters_timeout`; none where it is 0.
    pub timeout: Option<Duration>,
    /// `continue_on_listener_filters_timeout`: the connection goes on with what is known.
    pub continue_on_timeout: bool,
    /// `use_original_dst`: a connection to the address of another listener is that one's.
    pub hands_over: bool,
}

/// One listener filter.
pub struct Step {
    /// What it does.
    pub filter: ListenerFilter,
    /// `filter_disabled`: for which connections it does nothing.
    pub disabled: Option<Ports>,
}

/// The listener filters that there are.
pub enum ListenerFilter {
    /// Finds the server name and the protocols that a TLS client asks for.
    Tls(TlsInspector),
    /// Finds out which HTTP a client speaks in clear text.
    Http(Arc<Sharded<HttpInspectorStats>>),
    /// Takes the client's address from the proxy before.
    Proxy(Box<ProxyProtocol>),
    /// Restores the address that the client meant before the kernel redirected it.
    OriginalDestination,
    /// Not too many connections in a time.
    Rate(RateLimit),
}

/// `TlsInspector`.
pub struct TlsInspector {
    /// `max_client_hello_size`.
    pub hello_max: usize,
    /// `close_connection_on_client_hello_parsing_errors`.
    pub closes_others: bool,
    /// Statistics under `tls_inspector.`.
    pub stats: Arc<Sharded<TlsInspectorStats>>,
}

/// `ProxyProtocol`.
pub struct ProxyProtocol {
    /// `rules`: fields of the header that are kept as metadata.
    pub rules: Box<[ProxyRule]>,
    /// `allow_requests_without_proxy_protocol`.
    pub is_optional: bool,
    /// Version 1 is not among `disallowed_versions`.
    pub takes_v1: bool,
    /// Version 2 is not.
    pub takes_v2: bool,
    /// Statistics under `proxy_proto.`.
    pub stats: ProxyStats,
}

/// `ProxyProtocol.Rule`.
pub struct ProxyRule {
    /// `tlv_type`.
    pub kind: u8,
    /// `on_tlv_present.metadata_namespace`.
    pub namespace: Box<str>,
    /// `on_tlv_present.key`.
    pub key: Box<str>,
}

/// What is counted of the PROXY protocol.
pub struct ProxyStats {
    /// Headers that are missing.
    pub missing: Arc<Sharded<ProxyProtocolStats>>,
    /// Of version 1.
    pub v1: Arc<Sharded<ProxyVersionStats>>,
    /// Of version 2.
    pub v2: Arc<Sharded<ProxyVersionStats>>,
    /// Connections that were closed, over all listeners.
    pub errors: Arc<Sharded<ProxyErrorStats>>,
}

/// `ListenerFilterChainMatchPredicate`: by the port that a connection came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    /// `any_match`.
    Every,
    /// `destination_port_range`: from the first to below the second.
    Range(i64, i64),
    /// `not_match`.
    Not(Box<Self>),
    /// `and_match`.
    All(Box<[Self]>),
    /// `or_match`.
    Any(Box<[Self]>),
}

impl Ports {
    /// Whether `port` is one of them.
    #[must_use]
    pub fn contain(&self, port: u16) -> bool {
        match self {
            Self::Every => true,
            Self::Range(start, end) => (*start..*end).contains(&i64::from(port)),
            Self::Not(ports) => !ports.contain(port),
            Self::All(all) => all.iter().all(|ports| ports.contain(port)),
            Self::Any(any) => any.iter().any(|ports| ports.contain(port)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_said_in_many_ways() {
        let low = Ports::Range(1, 1024);
        let https = Ports::Range(443, 444);
        let other = Ports::All([low.clone(), Ports::Not(https.clone().into())].into());
        let either = Ports::Any([https.clone(), Ports::Range(8443, 8444)].into());
        for (ports, wanted) in [
            (&Ports::Every, [true, true, true]),
            (&low, [true, true, false]),
            (&https, [false, true, false]),
            (&other, [true, false, false]),
            (&either, [false, true, true]),
        ] {
            let found = [80, 443, 8443].map(|port| ports.contain(port));
            assert_eq!(found, wanted, "{ports:?}");
        }
    }
}
