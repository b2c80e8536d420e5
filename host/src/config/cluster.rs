//! Upstreams: `envoy.config.cluster.v3`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::config::address::{Address, NameServerProtocol};
use crate::config::circuit_breaker::CircuitBreakers;
use crate::config::dns::{
    ClusterExtension, CustomClusterType, DnsResolutionConfig, ResolverExtension,
};
use crate::config::endpoint::ClusterLoadAssignment;
use crate::config::health_check::HealthCheck;
use crate::config::load_balancing::{
    CommonLbConfig, LbSubsetConfig, LeastRequestLbConfig, MaglevLbConfig, RingHashLbConfig,
    RoundRobinLbConfig,
};
use crate::config::load_balancing_policy::LoadBalancingPolicy;
use crate::config::metadata_key::MetadataKey;
use crate::config::outlier_detection::OutlierDetection;
use crate::config::protocol::{
    Http1ProtocolOptions, Http2ProtocolOptions, UpstreamHttpProtocolOptions,
};
use crate::config::retry::{RequestMirrorPolicy, RetryPolicy};
use crate::config::route::HashPolicy;
use crate::config::scalar::{Duration, Metadata};
use crate::config::upstream_connection::{BindConfig, PreconnectPolicy, UpstreamConnectionOptions};
use crate::config::upstream_tls::{
    TransportSocketMatch, UpstreamNames, UpstreamTlsContext, UpstreamTransportSocket,
};

/// `envoy.config.cluster.v3.Cluster`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.cluster.v3.Cluster")]
pub struct Cluster {
    /// The name that routes give.
    pub name: String,
    /// What the statistics are called after, in place of the name.
    #[serde(default)]
    pub alt_stat_name: String,
    /// How the endpoints are found; `STATIC` by default.
    #[serde(default, rename = "oneof:cluster_discovery_type")]
    pub discovery: Option<ClusterDiscovery>,
    /// How long a connection may take to be there; 5 s by default, more than 0.
    #[serde(default)]
    pub connect_timeout: Option<Duration>,
    /// Soft limit in bytes on what is buffered for a connection; 1 MiB by default.
    #[serde(default)]
    pub per_connection_buffer_limit_bytes: Option<u32>,
    /// How often endpoints that nobody uses are let go of, in an `ORIGINAL_DST` cluster; 5 s by default.
    #[serde(default)]
    pub cleanup_interval: Option<Duration>,
    /// How an endpoint is chosen.
    #[serde(default)]
    pub lb_policy: LbPolicy,
    /// The endpoints, or the names that resolve to them.
    #[serde(default)]
    pub load_assignment: Option<ClusterLoadAssignment>,
    /// Active health checks.
    #[serde(default)]
    pub health_checks: Vec<HealthCheck>,
    /// Limits on what is under way.
    #[serde(default)]
    pub circuit_breakers: Option<CircuitBreakers>,
    /// Older way to say that the upstream speaks HTTP/2.
    #[serde(default)]
    pub http2_protocol_options: Option<Http2ProtocolOptions>,
    /// Older form of the same in `typed_extension_protocol_options`, as those that follow.
    #[serde(default)]
    pub http_protocol_options: Option<Http1ProtocolOptions>,
    /// Limits that all versions of HTTP have.
    #[serde(default)]
    pub common_http_protocol_options: Option<UpstreamHttpProtocolOptions>,
    /// Which names servers are asked for over TLS.
    #[serde(default)]
    pub upstream_http_protocol_options: Option<UpstreamNames>,
    /// Older form of `common_http_protocol_options.max_requests_per_connection`.
    #[serde(default)]
    pub max_requests_per_connection: Option<u32>,
    /// Whether the version is the client's.
    #[serde(default)]
    pub protocol_selection: ClusterProtocolSelection,
    /// Which HTTP the upstream speaks, and how.
    #[serde(default)]
    pub typed_extension_protocol_options: TypedExtensionProtocolOptions,
    /// Time between an answer of the DNS and the next question; 5 s by default.
    #[serde(default)]
    pub dns_refresh_rate: Option<Duration>,
    /// Up to this much is added to each such time; 0 by default.
    #[serde(default)]
    pub dns_jitter: Option<Duration>,
    /// The same time after a failure.
    #[serde(default)]
    pub dns_failure_refresh_rate: Option<RefreshRate>,
    /// Which addresses of a name are used.
    #[serde(default)]
    pub dns_lookup_family: DnsLookupFamily,
    /// Whether the answer says when to ask again.
    #[serde(default)]
    pub respect_dns_ttl: bool,
    /// Older form of `dns_resolution_config.resolvers`.
    #[serde(default)]
    pub dns_resolvers: Vec<Address<NameServerProtocol>>,
    /// Older form of `dns_resolver_options.use_tcp_for_dns_lookups`.
    #[serde(default)]
    pub use_tcp_for_dns_lookups: bool,
    /// Older form of `typed_dns_resolver_config`.
    #[serde(default)]
    pub dns_resolution_config: Option<DnsResolutionConfig>,
    /// Who resolves names.
    #[serde(default)]
    pub typed_dns_resolver_config: Option<ResolverExtension>,
    /// Whether the start waits for the cluster; true by default.
    #[serde(default)]
    pub wait_for_warm_on_init: Option<bool>,
    /// Whether an endpoint that is not listed any more goes at once, although its health checks
    /// still pass.
    #[serde(default)]
    pub ignore_health_on_host_removal: bool,
    /// Options of the policy.
    #[serde(default, rename = "oneof:lb_config")]
    pub lb_config: Option<LbConfig>,
    /// Options of every policy.
    #[serde(default)]
    pub common_lb_config: Option<CommonLbConfig>,
    /// Which endpoints a request can ask for by their metadata.
    #[serde(default)]
    pub lb_subset_config: Option<LbSubsetConfig>,
    /// The policy, in place of `lb_policy`.
    #[serde(default)]
    pub load_balancing_policy: Option<LoadBalancingPolicy>,
    /// Leaves endpoints out for what they answer.
    #[serde(default)]
    pub outlier_detection: Option<OutlierDetection>,
    /// Where connections come from, in place of what the cluster manager says.
    #[serde(default)]
    pub upstream_bind_config: Option<BindConfig>,
    /// How connections are made.
    #[serde(default)]
    pub upstream_connection_options: Option<UpstreamConnectionOptions>,
    /// Connections ahead of need; none by default.
    #[serde(default)]
    pub preconnect_policy: Option<PreconnectPolicy>,
    /// What is known about it, for who reads it: logs, the changes of heads, filters.
    #[serde(default)]
    pub metadata: Option<Metadata>,
    /// Whether connections for bytes end when their endpoint fails.
    #[serde(default)]
    pub close_connections_on_host_health_failure: bool,
    /// What is spoken under the protocol; nothing by default.
    #[serde(default)]
    pub transport_socket: Option<UpstreamTransportSocket>,
    /// The same in the form of Envoy's v2 API.
    #[serde(default)]
    pub tls_context: Option<Box<UpstreamTlsContext>>,
    /// The same for endpoints of some metadata, the first that an endpoint meets.
    #[serde(default)]
    pub transport_socket_matches: Vec<TransportSocketMatch>,
    /// Whether every client has connections of its own.
    #[serde(default)]
    pub connection_pool_per_downstream_connection: bool,
    /// What is counted besides.
    #[serde(default)]
    pub track_cluster_stats: Option<TrackClusterStats>,
    /// Older form of `track_cluster_stats.timeout_budgets`.
    #[serde(default)]
    pub track_timeout_budgets: bool,
    /// What of endpoints' reports goes to a load reporting service. No effect: there is none.
    #[serde(default)]
    pub lrs_report_endpoint_metrics: Vec<String>,
}

/// `envoy.config.cluster.v3.TrackClusterStats`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.cluster.v3.TrackClusterStats")]
pub struct TrackClusterStats {
    /// Whether each endpoint has statistics of its own.
    #[serde(default)]
    pub per_endpoint_stats: bool,
    /// Whether it is counted which part of their time requests take.
    #[serde(default)]
    pub timeout_budgets: bool,
    /// Whether it is counted how large messages are.
    #[serde(default)]
    pub request_response_sizes: bool,
}

/// `envoy.config.cluster.v3.Cluster.ClusterProtocolSelection`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.config.cluster.v3.Cluster.ClusterProtocolSelection",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum ClusterProtocolSelection {
    /// What the options are of.
    #[default]
    UseConfiguredProtocol,
    /// The client's.
    UseDownstreamProtocol,
}

impl Cluster {
    /// The same with what older fields say in `typed_extension_protocol_options`, where it counts: as in
    /// Envoy, what stands there already counts alone, but for `max_requests_per_connection`.
    #[must_use]
    pub fn modern(&self) -> Cow<'_, Self> {
        let has_older = self.http_protocol_options.is_some()
            || self.http2_protocol_options.is_some()
            || self.common_http_protocol_options.is_some()
            || self.upstream_http_protocol_options.is_some()
            || self.protocol_selection == ClusterProtocolSelection::UseDownstreamProtocol;
        let options = match self.http_options() {
            Some(options) => options.clone(),
            None if !has_older && self.max_requests_per_connection.is_none() => {
                return Cow::Borrowed(self);
            }
            None => HttpProtocolOptions {
                common_http_protocol_options: self.common_http_protocol_options.clone(),
                upstream_http_protocol_options: self.upstream_http_protocol_options.clone(),
                protocol: self.older_protocol(),
                retry_policy: None,
                request_mirror_policies: Vec::new(),
                hash_policy: Vec::new(),
            },
        };
        let mut modern = self.clone();
        let mut options = options;
        if let Some(most) = self.max_requests_per_connection {
            let common = options.common_http_protocol_options.get_or_insert_default();
            common.max_requests_per_connection.get_or_insert(most);
        }
        modern.typed_extension_protocol_options.http = Some(UpstreamOptions::Http(options));
        Cow::Owned(modern)
    }

    /// What older fields say about the version.
    fn older_protocol(&self) -> UpstreamProtocolOptions {
        let (http1, http2) = (
            self.http_protocol_options.clone(),
            self.http2_protocol_options.clone(),
        );
        if self.protocol_selection == ClusterProtocolSelection::UseDownstreamProtocol {
            return UpstreamProtocolOptions::UseDownstreamProtocolConfig(UseDownstreamHttpConfig {
                http_protocol_options: http1,
                // As in Envoy HTTP/2 is spoken here whether anything is said about it or not.
                http2_protocol_options: Some(http2.unwrap_or_default()),
            });
        }
        let protocol = match http2 {
            Some(http2) => ProtocolConfig::Http2ProtocolOptions(http2),
            None => ProtocolConfig::HttpProtocolOptions(http1.unwrap_or_default()),
        };
        UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig { protocol })
    }

    /// Whether the endpoints may speak HTTP/2.
    #[must_use]
    pub fn may_speak_http2(&self) -> bool {
        match self.http_options().map(|options| &options.protocol) {
            Some(UpstreamProtocolOptions::ExplicitHttpConfig(explicit)) => {
                matches!(explicit.protocol, ProtocolConfig::Http2ProtocolOptions(_))
            }
            Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(options)) => {
                options.http2_protocol_options.is_some()
            }
            Some(UpstreamProtocolOptions::AutoConfig(_)) => true,
            None => self.http2_protocol_options.is_some(),
        }
    }

    /// The entry of `typed_extension_protocol_options` for HTTP, where there is one.
    #[must_use]
    pub const fn http_options(&self) -> Option<&HttpProtocolOptions> {
        match &self.typed_extension_protocol_options.http {
            Some(UpstreamOptions::Http(options)) => Some(options),
            None => None,
        }
    }

    /// Whether the endpoints are what requests name.
    #[must_use]
    pub const fn names_destinations(&self) -> bool {
        self.destinations().is_some()
            || matches!(
                self.discovery,
                Some(ClusterDiscovery::Type(DiscoveryType::OriginalDst))
            )
    }

    /// How they do, where the type of the cluster says that.
    #[must_use]
    pub const fn destinations(&self) -> Option<&OriginalDstCluster> {
        match &self.discovery {
            Some(ClusterDiscovery::ClusterType(custom)) => match &custom.config {
                ClusterExtension::OriginalDst(written) => Some(written),
                ClusterExtension::Dns(_) => None,
            },
            _ => None,
        }
    }

    /// Whether the endpoints' addresses are given.
    #[must_use]
    pub const fn is_static(&self) -> bool {
        matches!(
            self.discovery,
            None | Some(ClusterDiscovery::Type(DiscoveryType::Static))
        )
    }
}

/// `Cluster.cluster_discovery_type`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClusterDiscovery {
    /// One of those that are built in.
    Type(DiscoveryType),
    /// An extension.
    ClusterType(Box<CustomClusterType>),
}

/// `envoy.config.cluster.v3.Cluster.DiscoveryType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.config.cluster.v3.Cluster.DiscoveryType",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum DiscoveryType {
    /// The addresses are given.
    #[default]
    Static,
    /// Every address that the names resolve to is an endpoint.
    StrictDns,
    /// The first address that the name resolves to is where new connections go.
    LogicalDns,
    /// Requests say where they go.
    OriginalDst,
}

/// `envoy.config.cluster.v3.Cluster.LbPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.config.cluster.v3.Cluster.LbPolicy",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum LbPolicy {
    /// In turn.
    #[default]
    RoundRobin,
    /// The one with fewer requests under way, of a few.
    LeastRequest,
    /// By chance.
    Random,
    /// By a hash of the request, on a ring.
    RingHash,
    /// By a hash of the request, in a table.
    Maglev,
    /// As the type of the cluster says.
    ClusterProvided,
    /// By `load_balancing_policy`.
    LoadBalancingPolicyConfig,
}

/// `Cluster.lb_config`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LbConfig {
    /// Of `ROUND_ROBIN`.
    RoundRobinLbConfig(RoundRobinLbConfig),
    /// Of `LEAST_REQUEST`.
    LeastRequestLbConfig(LeastRequestLbConfig),
    /// Of `RING_HASH`.
    RingHashLbConfig(RingHashLbConfig),
    /// Of `MAGLEV`.
    MaglevLbConfig(MaglevLbConfig),
    /// Of `ORIGINAL_DST` clusters.
    OriginalDstLbConfig(OriginalDstLbConfig),
}

/// `envoy.config.cluster.v3.Cluster.OriginalDstLbConfig`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.cluster.v3.Cluster.OriginalDstLbConfig")]
pub struct OriginalDstLbConfig {
    /// Whether a field of the request can say where it goes.
    #[serde(default)]
    pub use_http_header: bool,
    /// Which field; `x-envoy-original-dst-host` by default.
    #[serde(default)]
    pub http_header_name: String,
    /// The port in place of that of the address.
    #[serde(default)]
    pub upstream_port_override: Option<u32>,
    /// Where filters can say where the request goes.
    #[serde(default)]
    pub metadata_key: Option<MetadataKey>,
}

/// `envoy.extensions.clusters.original_dst.v3.OriginalDstCluster`, which has the same fields.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.clusters.original_dst.v3.OriginalDstCluster")]
pub struct OriginalDstCluster {
    /// Whether a field of the request can say where it goes.
    #[serde(default)]
    pub use_http_header: bool,
    /// Which field; `x-envoy-original-dst-host` by default.
    #[serde(default)]
    pub http_header_name: String,
    /// The port in place of that of the address.
    #[serde(default)]
    pub upstream_port_override: Option<u32>,
    /// Where filters can say where the request goes.
    #[serde(default)]
    pub metadata_key: Option<MetadataKey>,
}

impl From<&OriginalDstCluster> for OriginalDstLbConfig {
    fn from(written: &OriginalDstCluster) -> Self {
        Self {
            use_http_header: written.use_http_header,
            http_header_name: written.http_header_name.clone(),
            upstream_port_override: written.upstream_port_override,
            metadata_key: written.metadata_key.clone(),
        }
    }
}

/// `envoy.config.cluster.v3.Cluster.DnsLookupFamily`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.config.cluster.v3.Cluster.DnsLookupFamily",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum DnsLookupFamily {
    /// IPv6, or IPv4 where there is none.
    #[default]
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

/// `envoy.config.cluster.v3.Cluster.RefreshRate`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.cluster.v3.Cluster.RefreshRate")]
pub struct RefreshRate {
    /// The first time.
    pub base_interval: Duration,
    /// The longest; ten times the first by default.
    #[serde(default)]
    pub max_interval: Option<Duration>,
}

/// `Cluster.typed_extension_protocol_options`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct TypedExtensionProtocolOptions {
    /// The entry for HTTP.
    #[serde(
        default,
        rename = "any:envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    )]
    pub http: Option<UpstreamOptions>,
}

/// The types of an entry of `typed_extension_protocol_options`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "any:upstream protocol options")]
pub enum UpstreamOptions {
    /// HTTP.
    #[serde(rename = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions")]
    Http(HttpProtocolOptions),
}

/// `envoy.extensions.upstreams.http.v3.HttpProtocolOptions`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions")]
pub struct HttpProtocolOptions {
    /// Limits that all versions of HTTP have.
    #[serde(default)]
    pub common_http_protocol_options: Option<UpstreamHttpProtocolOptions>,
    /// Which names servers are asked for over TLS.
    #[serde(default)]
    pub upstream_http_protocol_options: Option<UpstreamNames>,
    /// How the version is chosen.
    #[serde(rename = "oneof:upstream_protocol_options")]
    pub protocol: UpstreamProtocolOptions,
    /// What is tried again, whatever routes say.
    #[serde(default)]
    pub retry_policy: Option<RetryPolicy>,
    /// Which clusters get copies, whatever routes say.
    #[serde(default)]
    pub request_mirror_policies: Vec<RequestMirrorPolicy>,
    /// What the choice among endpoints goes by, whatever routes say.
    #[serde(default)]
    pub hash_policy: Vec<HashPolicy>,
}

/// `HttpProtocolOptions.upstream_protocol_options`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamProtocolOptions {
    /// It is given.
    ExplicitHttpConfig(ExplicitHttpConfig),
    /// It is the client's.
    UseDownstreamProtocolConfig(UseDownstreamHttpConfig),
    /// The endpoint chooses; over TLS alone.
    AutoConfig(AutoHttpConfig),
}

impl UpstreamProtocolOptions {
    /// How HTTP/2 is spoken, where it may be and that is said.
    #[must_use]
    pub const fn http2(&self) -> Option<&Http2ProtocolOptions> {
        match self {
            Self::ExplicitHttpConfig(explicit) => match &explicit.protocol {
                ProtocolConfig::HttpProtocolOptions(_) => None,
                ProtocolConfig::Http2ProtocolOptions(options) => Some(options),
            },
            Self::UseDownstreamProtocolConfig(options) => options.http2_protocol_options.as_ref(),
            Self::AutoConfig(options) => options.http2_protocol_options.as_ref(),
        }
    }

    /// How HTTP/1.1 is spoken, where it may be and that is said.
    #[must_use]
    pub const fn http1(&self) -> Option<&Http1ProtocolOptions> {
        match self {
            Self::ExplicitHttpConfig(explicit) => match &explicit.protocol {
                ProtocolConfig::HttpProtocolOptions(options) => Some(options),
                ProtocolConfig::Http2ProtocolOptions(_) => None,
            },
            Self::UseDownstreamProtocolConfig(options) => options.http_protocol_options.as_ref(),
            Self::AutoConfig(options) => options.http_protocol_options.as_ref(),
        }
    }
}

/// `envoy.extensions.upstreams.http.v3.HttpProtocolOptions.UseDownstreamHttpConfig`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.UseDownstreamHttpConfig")]
pub struct UseDownstreamHttpConfig {
    /// How HTTP/1.1 is spoken.
    #[serde(default)]
    pub http_protocol_options: Option<Http1ProtocolOptions>,
    /// How HTTP/2 is spoken. Where it is absent, HTTP/1.1 is spoken in its place, as in Envoy.
    #[serde(default)]
    pub http2_protocol_options: Option<Http2ProtocolOptions>,
}

/// `envoy.extensions.upstreams.http.v3.HttpProtocolOptions.AutoHttpConfig`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.AutoHttpConfig")]
pub struct AutoHttpConfig {
    /// How HTTP/1.1 is spoken.
    #[serde(default)]
    pub http_protocol_options: Option<Http1ProtocolOptions>,
    /// How HTTP/2 is spoken.
    #[serde(default)]
    pub http2_protocol_options: Option<Http2ProtocolOptions>,
}

/// `HttpProtocolOptions.ExplicitHttpConfig`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig")]
pub struct ExplicitHttpConfig {
    /// The version.
    #[serde(rename = "oneof:protocol_config")]
    pub protocol: ProtocolConfig,
}

/// `ExplicitHttpConfig.protocol_config`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProtocolConfig {
    /// HTTP/1.1.
    HttpProtocolOptions(Http1ProtocolOptions),
    /// HTTP/2 with prior knowledge.
    Http2ProtocolOptions(Http2ProtocolOptions),
}
