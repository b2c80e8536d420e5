//! Names that are resolved: what is asked, of whom, and how often.
//!
//! See the parent's page.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Traits;

/// A name that stands for endpoints (`LbEndpoint` of a `STRICT_DNS` or `LOGICAL_DNS` cluster). A
/// literal address is allowed and resolves to itself.
#[derive(Clone, Debug, PartialEq)]
pub struct DnsTarget {
    /// `socket_address.address`.
    pub host: Arc<str>,
    /// `socket_address.port_value`.
    pub port: u16,
    /// What is known about each address.
    pub traits: Arc<Traits>,
}

impl DnsTarget {
    /// A target of weight 1, whose endpoints are called `host`.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Self {
        let traits = Traits {
            hostname: Some(host.into()),
            ..Traits::default()
        };
        Self {
            host: host.into(),
            port,
            traits: Arc::new(traits),
        }
    }

    /// Whether it is the name of SRV records (RFC 2782): `_http._tcp.example.com` with port 0.
    #[must_use]
    pub fn is_service(&self) -> bool {
        let mut labels = self.host.split('.');
        let is_marked = |label: Option<&str>| label.is_some_and(|label| label.starts_with('_'));
        self.port == 0 && is_marked(labels.next()) && is_marked(labels.next())
    }
}

/// How a cluster's names are resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsSpec {
    /// `dns_refresh_rate`: 5 s between an answer and the next question.
    pub refresh: Duration,
    /// `dns_failure_refresh_rate.base_interval`: the refresh rate where there is none.
    pub failure_base: Option<Duration>,
    /// `dns_failure_refresh_rate.max_interval`: ten times the base where there is none.
    pub failure_max: Option<Duration>,
    /// `dns_jitter`: up to this much is added to each interval; 0.
    pub jitter: Duration,
    /// `respect_dns_ttl`: the answer says when to ask again.
    pub respects_ttl: bool,
    /// `dns_min_refresh_rate`: what it says at least; 0.
    pub min_refresh: Duration,
    /// `dns_lookup_family`.
    pub family: Family,
    /// Who is asked.
    pub resolver: Arc<ResolverSpec>,
}

impl Default for DnsSpec {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(5),
            failure_base: None,
            failure_max: None,
            jitter: Duration::ZERO,
            respects_ttl: false,
            min_refresh: Duration::ZERO,
            family: Family::Auto,
            resolver: Arc::default(),
        }
    }
}

/// `dns_lookup_family`: which of a name's addresses are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// IPv6 addresses, or IPv4 ones where there are none.
    #[default]
    Auto,
    /// IPv4 alone.
    V4Only,
    /// IPv6 alone.
    V6Only,
    /// IPv4 addresses, or IPv6 ones where there are none.
    V4Preferred,
    /// All addresses.
    All,
}

/// Who resolves names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ResolverSpec {
    /// The system: `getaddrinfo`. It tells no times to live, and knows no SRV records.
    System,
    /// Name servers, asked by Nuncio itself.
    Stub(StubSpec),
}

impl Default for ResolverSpec {
    fn default() -> Self {
        Self::Stub(StubSpec::default())
    }
}

/// Which name servers are asked, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct StubSpec {
    /// `resolvers`; where there are none, those of `/etc/resolv.conf`.
    pub servers: Vec<SocketAddr>,
    /// `use_resolvers_as_fallback`: they are asked only where `/etc/resolv.conf` names none.
    pub is_fallback: bool,
    /// `use_tcp_for_dns_lookups`: over TCP alone.
    pub over_tcp: bool,
    /// `no_default_search_domain`: names stand for themselves alone.
    pub no_search: bool,
    /// `filter_unroutable_families`: addresses of a family that this machine has none of but
    /// loopback are left out.
    pub routable_only: bool,
    /// `query_timeout_seconds`: that of `/etc/resolv.conf`, or 5 s, where it is absent.
    pub timeout: Option<Duration>,
    /// `query_tries`: those of `/etc/resolv.conf`, or 2, where it is absent.
    pub tries: Option<u32>,
    /// `rotate_nameservers`.
    pub rotates: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_told_from_hosts() {
        for (host, port, is_service) in [
            ("_http._tcp.example.com", 0, true),
            ("_http._tcp.example.com", 80, false),
            ("_http._tcp", 0, true),
            ("_http.example.com", 0, false),
            ("_http", 0, false),
            ("example.com", 0, false),
            ("127.0.0.1", 0, false),
        ] {
            assert_eq!(
                DnsTarget::new(host, port).is_service(),
                is_service,
                "{host}"
            );
        }
    }
}
