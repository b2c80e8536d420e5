//! Names that are resolved: resolvers, and clusters of the extension
//! `envoy.extensions.clusters.dns.v3.DnsCluster`.

use serde::{Deserialize, Serialize};

use crate::config::address::{Address, NameServerProtocol};
use crate::config::cluster::OriginalDstCluster;
use crate::config::scalar::Duration;

/// `envoy.config.core.v3.TypedExtensionConfig` of a resolver.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.TypedExtensionConfig")]
pub struct ResolverExtension {
    /// A name for people.
    #[serde(default)]
    pub name: String,
    /// The resolver.
    #[serde(rename = "any:typed_config")]
    pub resolver: TypedResolver,
}

/// The resolvers.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "any:DNS resolver")]
pub enum TypedResolver {
    /// Asks name servers itself.
    #[serde(rename = "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig")]
    Cares(CaresDnsResolverConfig),
    /// Asks the system.
    #[serde(
        rename = "envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig"
    )]
    GetAddrInfo(GetAddrInfoDnsResolverConfig),
}

/// `envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig")]
pub struct CaresDnsResolverConfig {
    /// The name servers; the system's where there are none.
    #[serde(default)]
    pub resolvers: Vec<Address<NameServerProtocol>>,
    /// Whether they are asked only where the system names none.
    #[serde(default)]
    pub use_resolvers_as_fallback: bool,
    /// Whether addresses of a family are left out that this machine has no address of.
    #[serde(default)]
    pub filter_unroutable_families: bool,
    /// How they are asked.
    #[serde(default)]
    pub dns_resolver_options: Option<DnsResolverOptions>,
    /// How long one name server has; the system's setting, or 5 s, by default.
    #[serde(default)]
    pub query_timeout_seconds: Option<u64>,
    /// How often each is asked; the system's setting, or 2, by default.
    #[serde(default)]
    pub query_tries: Option<u32>,
    /// Whether they are asked in turn.
    #[serde(default)]
    pub rotate_nameservers: bool,
    /// How many questions a socket is for. No effect: each has one of its own.
    #[serde(default)]
    pub udp_max_queries: Option<u32>,
    /// How long a socket is used. No effect: the same.
    #[serde(default)]
    pub max_udp_channel_duration: Option<Duration>,
    /// Whether a question that took too long makes new ones. No effect: the same.
    #[serde(default)]
    pub reinit_channel_on_timeout: bool,
}

/// `envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig"
)]
pub struct GetAddrInfoDnsResolverConfig {
    /// How many threads ask. No effect: asking holds none.
    #[serde(default)]
    pub num_resolver_threads: Option<u32>,
}

/// `envoy.config.core.v3.DnsResolutionConfig`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.DnsResolutionConfig")]
pub struct DnsResolutionConfig {
    /// The name servers.
    pub resolvers: Vec<Address<NameServerProtocol>>,
    /// How they are asked.
    #[serde(default)]
    pub dns_resolver_options: Option<DnsResolverOptions>,
}

/// `envoy.config.core.v3.DnsResolverOptions`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.DnsResolverOptions")]
pub struct DnsResolverOptions {
    /// Whether questions go over TCP.
    #[serde(default)]
    pub use_tcp_for_dns_lookups: bool,
    /// Whether names stand for themselves alone, without the system's search domains.
    #[serde(default)]
    pub no_default_search_domain: bool,
}

/// `envoy.config.cluster.v3.Cluster.CustomClusterType`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.cluster.v3.Cluster.CustomClusterType")]
pub struct CustomClusterType {
    /// A name for people.
    pub name: String,
    /// The kind of cluster.
    #[serde(rename = "any:typed_config")]
    pub config: ClusterExtension,
}

/// The kinds of clusters that are extensions.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "any:cluster type")]
pub enum ClusterExtension {
    /// Names that are resolved.
    #[serde(rename = "envoy.extensions.clusters.dns.v3.DnsCluster")]
    Dns(DnsCluster),
    /// What requests and their connections name.
    #[serde(rename = "envoy.extensions.clusters.original_dst.v3.OriginalDstCluster")]
    OriginalDst(OriginalDstCluster),
}

/// `envoy.extensions.clusters.dns.v3.DnsCluster`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.clusters.dns.v3.DnsCluster")]
pub struct DnsCluster {
    /// Time between an answer and the next question; 5 s by default.
    #[serde(default)]
    pub dns_refresh_rate: Option<Duration>,
    /// The same time after a failure.
    #[serde(default)]
    pub dns_failure_refresh_rate: Option<DnsRefreshRate>,
    /// Whether the answer says when to ask again.
    #[serde(default)]
    pub respect_dns_ttl: bool,
    /// Up to this much is added to each such time; 0 by default.
    #[serde(default)]
    pub dns_jitter: Option<Duration>,
    /// Who is asked.
    #[serde(default)]
    pub typed_dns_resolver_config: Option<ResolverExtension>,
    /// Which addresses of a name are used.
    #[serde(default)]
    pub dns_lookup_family: CommonLookupFamily,
    /// Whether a name's addresses are one endpoint, of which new connections take the first.
    #[serde(default)]
    pub all_addresses_in_single_endpoint: bool,
    /// The least that `respect_dns_ttl` waits; at least 1 s.
    #[serde(default)]
    pub dns_min_refresh_rate: Option<Duration>,
}

/// `envoy.extensions.clusters.dns.v3.DnsCluster.RefreshRate`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.clusters.dns.v3.DnsCluster.RefreshRate")]
pub struct DnsRefreshRate {
    /// The first time.
    pub base_interval: Duration,
    /// The longest; ten times the first by default.
    #[serde(default)]
    pub max_interval: Option<Duration>,
}

/// `envoy.extensions.clusters.common.dns.v3.DnsLookupFamily`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.clusters.common.dns.v3.DnsLookupFamily",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum CommonLookupFamily {
    /// Not given: as `AUTO`.
    #[default]
    Unspecified,
    /// IPv6, or IPv4 where there is none.
    Auto,
    /// IPv4 alone.
    V4Only,
    /// IPv6 alone.
    V6Only,
    /// IPv4, or IPv6 where there is none.
    V4Preferred,
    /// All.
    All,
}
