//! Names that are resolved: `STRICT_DNS`, `LOGICAL_DNS` and `DnsCluster` to [`Discovery`], and who
//! resolves them.
//!
//! Owns what is checked of them. Called by `clusters`, and once by `build` for the resolver of
//! clusters that do not name one.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::Workshop;
use crate::config::Place;
use crate::config::address::{Address, NameServerProtocol};
use crate::config::bootstrap::Bootstrap;
use crate::config::cluster::{Cluster as Written, DnsLookupFamily};
use crate::config::dns::{
    CaresDnsResolverConfig, CommonLookupFamily, DnsCluster, DnsResolutionConfig,
    DnsResolverOptions, ResolverExtension, TypedResolver,
};
use crate::config::endpoint::LbEndpoint;
use crate::config::scalar::Duration as WrittenDuration;
use crate::upstream::spec::{
    Discovery, DnsSpec, DnsTarget, Family, ResolverSpec, StubSpec, Traits,
};

/// An endpoint as it is written, what is known about it, and where that is written.
pub(super) type Placed<'w, 'p> = (&'w LbEndpoint, Arc<Traits>, Place<'p>);

/// The ways in which a message can say who resolves names, the newest first.
struct Forms<'w> {
    typed: Option<&'w ResolverExtension>,
    resolution: Option<&'w DnsResolutionConfig>,
    servers: &'w [Address<NameServerProtocol>],
    over_tcp: bool,
}

impl Workshop<'_> {
    /// The resolver of clusters that do not name one.
    pub(super) fn default_resolver(
        &mut self,
        bootstrap: &Bootstrap,
        place: Place<'_>,
    ) -> Arc<ResolverSpec> {
        let forms = Forms {
            typed: bootstrap.typed_dns_resolver_config.as_ref(),
            resolution: bootstrap.dns_resolution_config.as_ref(),
            servers: &[],
            over_tcp: bootstrap.use_tcp_for_dns_lookups,
        };
        self.resolver(&forms, place).unwrap_or_default()
    }

    /// A `STRICT_DNS` cluster, or a `LOGICAL_DNS` one.
    pub(super) fn by_name(
        &mut self,
        written: &Written,
        endpoints: Vec<Placed<'_, '_>>,
        is_logical: bool,
        place: Place<'_>,
    ) -> Option<Discovery> {
        let failure = written.dns_failure_refresh_rate.as_ref();
        let forms = Forms {
            typed: written.typed_dns_resolver_config.as_ref(),
            resolution: written.dns_resolution_config.as_ref(),
            servers: &written.dns_resolvers,
            over_tcp: written.use_tcp_for_dns_lookups,
        };
        let default = DnsSpec::default();
        let dns = DnsSpec {
            refresh: or(written.dns_refresh_rate, default.refresh),
            failure_base: failure.map(|rate| rate.base_interval.get()),
            failure_max: failure
                .and_then(|rate| rate.max_interval)
                .map(WrittenDuration::get),
            jitter: or(written.dns_jitter, default.jitter),
            respects_ttl: written.respect_dns_ttl,
            family: match written.dns_lookup_family {
                DnsLookupFamily::Auto => Family::Auto,
                DnsLookupFamily::V4Only => Family::V4Only,
                DnsLookupFamily::V6Only => Family::V6Only,
                DnsLookupFamily::V4Preferred => Family::V4Preferred,
                DnsLookupFamily::All => Family::All,
            },
            resolver: self.resolver_or_default(&forms, place),
            ..default
        };
        self.named(dns, endpoints, is_logical, place)
    }

    /// A cluster of the extension for names.
    pub(super) fn dns_cluster(
        &mut self,
        cluster: &Written,
        written: &DnsCluster,
        endpoints: Vec<Placed<'_, '_>>,
        place: Place<'_>,
    ) -> Option<Discovery> {
        let here = place.field("cluster_type").field("typed_config");
        let failure = written.dns_failure_refresh_rate.as_ref();
        let forms = Forms {
            typed: written.typed_dns_resolver_config.as_ref(),
            resolution: None,
            servers: &[],
            over_tcp: false,
        };
        let default = DnsSpec::default();
        let dns = DnsSpec {
            refresh: or(written.dns_refresh_rate, default.refresh),
            failure_base: failure.map(|rate| rate.base_interval.get()),
            failure_max: failure
                .and_then(|rate| rate.max_interval)
                .map(WrittenDuration::get),
            jitter: or(written.dns_jitter, default.jitter),
            respects_ttl: written.respect_dns_ttl,
            min_refresh: or(written.dns_min_refresh_rate, default.min_refresh),
            family: match written.dns_lookup_family {
                CommonLookupFamily::Unspecified | CommonLookupFamily::Auto => Family::Auto,
                CommonLookupFamily::V4Only => Family::V4Only,
                CommonLookupFamily::V6Only => Family::V6Only,
                CommonLookupFamily::V4Preferred => Family::V4Preferred,
                CommonLookupFamily::All => Family::All,
            },
            resolver: self.resolver_or_default(&forms, here),
        };
        for (field, is_written) in [
            ("dns_refresh_rate", cluster.dns_refresh_rate.is_some()),
            (
                "dns_failure_refresh_rate",
                cluster.dns_failure_refresh_rate.is_some(),
            ),
            ("dns_jitter", cluster.dns_jitter.is_some()),
            ("respect_dns_ttl", cluster.respect_dns_ttl),
            (
                "dns_lookup_family",
                cluster.dns_lookup_family != DnsLookupFamily::Auto,
            ),
            (
                "typed_dns_resolver_config",
                cluster.typed_dns_resolver_config.is_some(),
            ),
            (
                "dns_resolution_config",
                cluster.dns_resolution_config.is_some(),
            ),
            ("dns_resolvers", !cluster.dns_resolvers.is_empty()),
            ("use_tcp_for_dns_lookups", cluster.use_tcp_for_dns_lookups),
        ] {
            if is_written {
                let message = "no effect: what 'cluster_type' says counts";
                self.diagnostics.warning(place.field(field), message);
            }
        }
        let is_logical = written.all_addresses_in_single_endpoint;
        self.named(dns, endpoints, is_logical, place)
    }

    fn named(
        &mut self,
        dns: DnsSpec,
        endpoints: Vec<Placed<'_, '_>>,
        is_logical: bool,
        place: Place<'_>,
    ) -> Option<Discovery> {
        let mut targets = Vec::with_capacity(endpoints.len());
        for (endpoint, traits, at) in endpoints {
            let at = at.field("endpoint").field("address");
            targets.extend(self.target(endpoint, traits, is_logical, &dns, at));
        }
        if !is_logical {
            return Some(Discovery::StrictDns { targets, dns });
        }
        if let (Some(target), 1) = (targets.pop(), targets.len() + 1) {
            return Some(Discovery::LogicalDns { target, dns });
        }
        let message = "a cluster whose name is one endpoint must have a single endpoint";
        self.diagnostics
            .error(place.field("load_assignment"), message);
        None
    }

    fn target(
        &mut self,
        written: &LbEndpoint,
        mut traits: Arc<Traits>,
        is_logical: bool,
        dns: &DnsSpec,
        place: Place<'_>,
    ) -> Option<DnsTarget> {
        let Some(socket) = written.endpoint().address.socket() else {
            let message = "a Unix socket has no name to resolve";
            self.diagnostics
                .error(place.field("pipe"), message)
                .hint("set the cluster's type to STATIC");
            return None;
        };
        let place = place.field("socket_address");
        let host: Arc<str> = socket.address.as_str().into();
        if traits.hostname.is_none() {
            Arc::make_mut(&mut traits).hostname = Some(Arc::clone(&host));
        }
        let port = socket.port();
        let target = DnsTarget { host, port, traits };
        let here = place.field("address");
        if target.host.contains([':', '/']) && target.host.parse::<IpAddr>().is_err() {
            let message = format!("\"{}\" is no name that can be resolved", target.host);
            self.diagnostics
                .warning(here, message)
                .hint("an address is a name or an IP address, without a scheme, a port or a path");
        }
        if target.is_service() && is_logical {
            let message = "SRV records name several endpoints, and this cluster has one";
            self.diagnostics.error(here, message);
        } else if target.is_service() && *dns.resolver == ResolverSpec::System {
            let message = "the system's resolver does not know SRV records";
            self.diagnostics
                .error(here, message)
                .hint("take the resolver 'cares', which is the default");
        } else if port == 0 && !target.is_service() {
            self.diagnostics
                .warning(place, "nothing can be connected to at port 0")
                .hint("port 0 is for names of SRV records, such as '_http._tcp.example.com'");
        }
        Some(target)
    }

    fn resolver_or_default(&mut self, forms: &Forms<'_>, place: Place<'_>) -> Arc<ResolverSpec> {
        self.resolver(forms, place)
            .unwrap_or_else(|| Arc::clone(&self.default_resolver))
    }

    fn resolver(&mut self, forms: &Forms<'_>, place: Place<'_>) -> Option<Arc<ResolverSpec>> {
        let spec = if let Some(typed) = forms.typed {
            let here = place
                .field("typed_dns_resolver_config")
                .field("typed_config");
            match &typed.resolver {
                TypedResolver::GetAddrInfo(_) => ResolverSpec::System,
                TypedResolver::Cares(cares) => ResolverSpec::Stub(self.cares(cares, here)),
            }
        } else if let Some(resolution) = forms.resolution {
            let here = place.field("dns_resolution_config");
            let options = resolution.dns_resolver_options.as_ref();
            ResolverSpec::Stub(StubSpec {
                servers: self.servers(&resolution.resolvers, here.field("resolvers")),
                ..options.map(asked).unwrap_or_default()
            })
        } else if !forms.servers.is_empty() || forms.over_tcp {
            ResolverSpec::Stub(StubSpec {
                servers: self.servers(forms.servers, place.field("dns_resolvers")),
                over_tcp: forms.over_tcp,
                ..StubSpec::default()
            })
        } else {
            return None;
        };
        Some(Arc::new(spec))
    }

    fn cares(&mut self, written: &CaresDnsResolverConfig, place: Place<'_>) -> StubSpec {
        let options = written.dns_resolver_options.as_ref();
        StubSpec {
            servers: self.servers(&written.resolvers, place.field("resolvers")),
            is_fallback: written.use_resolvers_as_fallback,
            routable_only: written.filter_unroutable_families,
            timeout: written.query_timeout_seconds.map(Duration::from_secs),
            tries: written.query_tries,
            rotates: written.rotate_nameservers,
            ..options.map(asked).unwrap_or_default()
        }
    }

    fn servers(
        &mut self,
        written: &[Address<NameServerProtocol>],
        place: Place<'_>,
    ) -> Vec<SocketAddr> {
        let mut servers = Vec::new();
        for (index, address) in written.iter().enumerate() {
            let at = place.index(index);
            match address.socket() {
                Some(socket) => servers.extend(self.literal(socket, at.field("socket_address"))),
                None => {
                    let message = "a name server is asked at an address of IP";
                    self.diagnostics.error(at.field("pipe"), message);
                }
            }
        }
        servers
    }
}

/// How name servers are asked.
fn asked(options: &DnsResolverOptions) -> StubSpec {
    StubSpec {
        over_tcp: options.use_tcp_for_dns_lookups,
        no_search: options.no_default_search_domain,
        ..StubSpec::default()
    }
}

fn or(written: Option<WrittenDuration>, default: Duration) -> Duration {
    written.map_or(default, WrittenDuration::get)
}
