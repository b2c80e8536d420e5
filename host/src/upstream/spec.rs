//! What a cluster is to do: its settings, checked, without a file format.
//!
//! Owns plain types with Envoy's defaults. `build` fills them in, everything else in `upstream`
//! reads them. Does not own: anything that changes while the proxy runs.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::connect::Tlv;
use super::metadata::Metadata;
use crate::address::Address;
use crate::frames::custom::CustomSettings;
use crate::frames::watch::FrameLimits;
use crate::headers::NameFormat;
use crate::keepalive::Keepalive;
use crate::limits;
use crate::metadata::StaticMetadata;
use crate::values::Share;

mod balancing;
mod destination;
mod dial;
mod dns;
mod health;
mod outlier;

pub use balancing::{
    Balancing, Fallback, Hashing, OverrideSource, Pinnable, Policy, SelectorFallback, SlowStart,
    SubsetSelector, SubsetSpec, ZoneSpec,
};
pub use destination::{DestinationSpec, MetadataKey};
pub use dial::{
    AutoNames, BindSpec, Dial, Eyeballs, Preconnect, Source, TlsDial, Transport, TransportMatch,
};
pub use dns::{DnsSpec, DnsTarget, Family, ResolverSpec, StubSpec};
pub use health::{GrpcProbe, HealthCheck, HttpProbe, Intervals, Probe, ServiceCheck, TcpProbe};
pub use outlier::{Enforcing, MostEjected, OutlierSpec, RateSpec};

/// The settings of one cluster (`envoy.config.cluster.v3.Cluster`).
#[derive(Clone, Debug)]
pub struct ClusterSpec {
    /// `name`.
    pub name: Arc<str>,
    /// `alt_stat_name`: the name that statistics and `/clusters` show instead.
    pub alt_stat_name: Option<Arc<str>>,
    /// `type` and `load_assignment`.
    pub discovery: Discovery,
    /// `connect_timeout`: 5 s.
    pub connect_timeout: Duration,
    /// How an endpoint is chosen.
    pub balancing: Balancing,
    /// Which HTTP the endpoints speak.
    pub protocol: Protocol,
    /// `circuit_breakers.thresholds`, indexed by [`Priority`].
    pub breakers: [Thresholds; Priority::ALL.len()],
    /// `health_checks`: an endpoint has to pass all of them.
    pub health_checks: Vec<HealthCheck>,
    /// `outlier_detection`.
    pub outlier_detection: Option<OutlierSpec>,
    /// `wait_for_warm_on_init`: the start waits for the cluster; true.
    pub holds_up_start: bool,
    /// `ignore_health_on_host_removal`: an endpoint that discovery dropped goes at once, although
    /// its health checks still pass.
    pub ignore_health_on_host_removal: bool,
    /// `http_protocol_options.enable_trailers` of an HTTP/1 upstream: false.
    pub http1_trailers: bool,
    /// `http_protocol_options.allow_chunked_length` of an HTTP/1 upstream: false.
    pub http1_chunked_length: bool,
    /// `common_http_protocol_options.max_headers_count` of responses: 100.
    pub response_fields: u32,
    /// `common_http_protocol_options.max_response_headers_kb` in bytes, for HTTP/1: 80 KiB.
    pub response_head_bytes: u32,
    /// `http_protocol_options.header_key_format` of an HTTP/1 upstream.
    pub http1_names: NameFormat,
    /// `upstream_http_protocol_options`: which names requests ask for.
    pub auto_names: AutoNames,
    /// `http_protocol_options.send_fully_qualified_url`: the upstream is a proxy.
    pub http1_absolute_target: bool,
    /// `common_http_protocol_options.idle_timeout`: 1 h; `None` where the file says `0s`.
    pub idle_timeout: Option<Duration>,
    /// `common_http_protocol_options.max_requests_per_connection`.
    pub max_requests_per_connection: Option<NonZeroU32>,
    /// `common_http_protocol_options.max_connection_duration`: for how long a connection gets new
    /// requests.
    pub max_connection_duration: Option<Duration>,
    /// `common_http_protocol_options.max_stream_duration`: how long a request may be with an endpoint.
    pub max_stream_duration: Option<Duration>,
    /// `drop_overloads`: which part of the requests is turned away.
    pub drop_overload: Option<Share>,
    /// `preconnect_policy`.
    pub preconnect: Preconnect,
    /// `close_connections_on_host_health_failure`: connections for bytes end when their endpoint
    /// fails. Those for requests get no new ones in any case.
    pub closes_on_failure: bool,
    /// `common_lb_config.close_connections_on_host_set_change`: requests use new connections once
    /// anything about the endpoints has changed.
    pub renews_on_change: bool,
    /// `connection_pool_per_downstream_connection`: clients share no connections.
    pub pool_per_client: bool,
    /// `track_cluster_stats.per_endpoint_stats`: endpoints have statistics of their own.
    pub counts_endpoints: bool,
    /// `track_cluster_stats.request_response_sizes`.
    pub counts_sizes: bool,
    /// `track_cluster_stats.timeout_budgets`.
    pub counts_budgets: bool,
    /// `per_connection_buffer_limit_bytes`: 1 MiB.
    pub buffer_limit: u32,
    /// How connections are made.
    pub dial: Dial,
    /// `metadata`.
    pub metadata: Option<Arc<StaticMetadata>>,
}

impl ClusterSpec {
    /// A cluster of that name with Envoy's defaults for everything but its endpoints.
    #[must_use]
    pub fn new(name: &str, discovery: Discovery) -> Self {
        Self {
            name: name.into(),
            alt_stat_name: None,
            discovery,
            connect_timeout: Duration::from_secs(5),
            balancing: Balancing::default(),
            protocol: Protocol::Http1,
            breakers: [Thresholds::default(); Priority::ALL.len()],
            health_checks: Vec::new(),
            outlier_detection: None,
            holds_up_start: true,
            ignore_health_on_host_removal: false,
            http1_trailers: false,
            http1_chunked_length: false,
            response_fields: limits::HEADERS_COUNT,
            response_head_bytes: limits::RESPONSE_HEADERS_BYTES as u32,
            http1_names: NameFormat::default(),
            auto_names: AutoNames::default(),
            http1_absolute_target: false,
            idle_timeout: Some(Duration::from_hours(1)),
            max_requests_per_connection: None,
            max_connection_duration: None,
            max_stream_duration: None,
            drop_overload: None,
            preconnect: Preconnect::default(),
            closes_on_failure: false,
            renews_on_change: false,
            pool_per_client: false,
            counts_endpoints: false,
            counts_sizes: false,
            counts_budgets: false,
            buffer_limit: limits::CONNECTION_BUFFER_BYTES,
            dial: Dial::default(),
            metadata: None,
        }
    }
}

impl ClusterSpec {
    /// How HTTP/2 is spoken, where it may be.
    #[must_use]
    pub const fn http2_settings(&self) -> Option<&Http2Settings> {
        match &self.protocol {
            Protocol::Http1 => None,
            Protocol::Http2(settings)
            | Protocol::Negotiated(settings)
            | Protocol::AsClient(settings) => Some(settings),
        }
    }

    /// Limits buffers to `per_connection_buffer_limit_bytes`, and windows of streams that nobody has written with
    /// them.
    pub const fn limit_buffers(&mut self, limit: u32) {
        self.buffer_limit = limit;
        if let Protocol::Http2(settings)
        | Protocol::Negotiated(settings)
        | Protocol::AsClient(settings) = &mut self.protocol
            && let StreamWindow::Grows(_) = settings.stream_window
        {
            settings.stream_window = StreamWindow::by_limit(limit);
        }
    }

    /// Whether the connections of one endpoint are limited.
    #[must_use]
    pub fn limits_hosts(&self) -> bool {
        let mut all = self.breakers.iter();
        all.any(|limits| limits.max_connections_of_host.is_some())
    }

    /// Whether requests ask for more of their connections than the endpoint: what
    /// [`super::Demand`] has is read only then.
    #[must_use]
    pub fn wants_demands(&self) -> bool {
        self.pool_per_client
            || self.auto_names.asks
            || self.auto_names.verifies
            || matches!(self.protocol, Protocol::AsClient(_))
            || self.dial.tells_client()
    }
}

/// How a cluster comes by its endpoints.
#[derive(Clone, Debug, PartialEq)]
pub enum Discovery {
    /// `STATIC`: the addresses are given.
    Static(Vec<StaticEndpoint>),
    /// `STRICT_DNS`: every address that a name resolves to is an endpoint.
    StrictDns {
        /// The names, in the order of the file.
        targets: Vec<DnsTarget>,
        /// How they are resolved.
        dns: DnsSpec,
    },
    /// `LOGICAL_DNS`: a name is one endpoint, and new connections go to the first address that it
    /// resolves to. Connections to where it was before stay.
    LogicalDns {
        /// The name.
        target: DnsTarget,
        /// How it is resolved.
        dns: DnsSpec,
    },
    /// `ORIGINAL_DST`: every address that a request or its connection names is an endpoint.
    OriginalDestination(DestinationSpec),
}

impl Discovery {
    /// The names that are resolved, and how.
    #[must_use]
    pub fn names(&self) -> Option<(&[DnsTarget], &DnsSpec)> {
        match self {
            Self::Static(_) | Self::OriginalDestination(_) => None,
            Self::StrictDns { targets, dns } => Some((targets, dns)),
            Self::LogicalDns { target, dns } => Some((std::slice::from_ref(target), dns)),
        }
    }
}

/// An endpoint whose address is known (`LbEndpoint`).
#[derive(Clone, Debug, PartialEq)]
pub struct StaticEndpoint {
    /// `endpoint.address`.
    pub address: Address,
    /// What is known about it.
    pub traits: Arc<Traits>,
}

impl StaticEndpoint {
    /// An endpoint of weight 1 at `address`.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address: address.into(),
            traits: Arc::default(),
        }
    }
}

/// What a configuration says of an endpoint besides its address (`LbEndpoint`, and the
/// `LocalityLbEndpoints` that it is in).
#[derive(Clone, Debug, PartialEq)]
pub struct Traits {
    /// `endpoint.hostname`, or the DNS name that it was found by.
    pub hostname: Option<Arc<str>>,
    /// `load_balancing_weight`: 1, at least 1.
    pub weight: u32,
    /// `priority`: 0; used before those of higher numbers.
    pub level: u32,
    /// `locality`.
    pub locality: Arc<Locality>,
    /// `load_balancing_weight` of the locality: 0.
    pub locality_weight: u32,
    /// `metadata`, its `envoy.lb` part.
    pub metadata: Metadata,
    /// `metadata`, its `envoy.transport_socket_match` part.
    pub transport_match: Metadata,
    /// `metadata`, all of it.
    pub described: Option<Arc<StaticMetadata>>,
    /// `metadata`, what it adds to a header of the PROXY protocol.
    pub proxy_tlvs: Vec<Tlv>,
    /// `endpoint.additional_addresses`.
    pub other_addresses: Vec<Address>,
    /// `health_status`.
    pub stated: StatedHealth,
    /// Where its health is checked.
    pub health_check: HealthCheckTarget,
}

impl Traits {
    /// Whether they differ in nothing but the weight and the stated health.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let Self {
            hostname,
            weight: _,
            level,
            locality,
            locality_weight,
            metadata,
            transport_match,
            described,
            proxy_tlvs,
            other_addresses,
            stated: _,
            health_check,
        } = self;
        *hostname == other.hostname
            && *level == other.level
            && *locality == other.locality
            && *locality_weight == other.locality_weight
            && *metadata == other.metadata
            && *transport_match == other.transport_match
            && *described == other.described
            && *proxy_tlvs == other.proxy_tlvs
            && *other_addresses == other.other_addresses
            && *health_check == other.health_check
    }
}

impl Default for Traits {
    fn default() -> Self {
        Self {
            hostname: None,
            weight: 1,
            level: 0,
            locality: Arc::default(),
            locality_weight: 0,
            metadata: Metadata::new(),
            transport_match: Metadata::new(),
            described: None,
            proxy_tlvs: Vec::new(),
            other_addresses: Vec::new(),
            stated: StatedHealth::Healthy,
            health_check: HealthCheckTarget::default(),
        }
    }
}

/// `envoy.config.core.v3.Locality`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locality {
    /// `region`.
    pub region: String,
    /// `zone`.
    pub zone: String,
    /// `sub_zone`.
    pub sub_zone: String,
}

/// `health_status`: what the configuration says of an endpoint's health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StatedHealth {
    /// `HEALTHY` or `UNKNOWN`.
    #[default]
    Healthy,
    /// `DEGRADED`: used where healthy ones do not suffice.
    Degraded,
    /// `UNHEALTHY` or `TIMEOUT`.
    Unhealthy,
    /// `DRAINING`.
    Draining,
}

/// `endpoint.health_check_config`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthCheckTarget {
    /// `port_value`: a port other than the endpoint's.
    pub port: Option<u16>,
    /// `hostname`: the host that a check asks for.
    pub hostname: Option<HeaderValue>,
    /// `address`: another address.
    pub address: Option<Address>,
    /// `disable_active_health_check`: it is not checked, and counts as healthy.
    pub is_disabled: bool,
}

/// The HTTP version that a cluster's endpoints speak.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2(Http2Settings),
    /// What the endpoint chooses in the TLS handshake: `auto_config`.
    Negotiated(Http2Settings),
    /// What the client speaks: `use_downstream_protocol_config`.
    AsClient(Http2Settings),
}

impl Protocol {
    /// What is set of HTTP/2, where that may be spoken.
    #[must_use]
    pub const fn http2(&self) -> Option<&Http2Settings> {
        match self {
            Self::Http1 => None,
            Self::Http2(settings) | Self::Negotiated(settings) | Self::AsClient(settings) => {
                Some(settings)
            }
        }
    }
}

/// `http2_protocol_options` of the upstream side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http2Settings {
    /// `max_concurrent_streams`: 1024 on one connection; the peer may allow fewer.
    pub max_concurrent_streams: u32,
    /// How much of a stream may come that nobody takes.
    pub stream_window: StreamWindow,
    /// `initial_connection_window_size` in bytes: 24 MiB.
    pub initial_connection_window: u32,
    /// `max_response_headers_kb` in bytes: 60 KiB.
    pub max_header_list: u32,
    /// `hpack_table_size` in bytes: 4096.
    pub header_table: u32,
    /// `connection_keepalive`: none.
    pub keepalive: Option<Keepalive>,
    /// `max_consecutive_inbound_frames_with_empty_payload` and its kin.
    pub frames: FrameLimits,
    /// `max_outbound_frames`: 10 000 frames of content.
    pub waiting_frames: u32,
    /// `custom_settings_parameters`: none.
    pub custom: CustomSettings,
}

impl Default for Http2Settings {
    fn default() -> Self {
        Self {
            max_concurrent_streams: 1024,
            stream_window: StreamWindow::by_limit(limits::CONNECTION_BUFFER_BYTES),
            initial_connection_window: limits::HTTP2_CONNECTION_WINDOW,
            max_header_list: 60 * 1024,
            header_table: limits::HTTP2_HEADER_TABLE_BYTES,
            keepalive: None,
            frames: FrameLimits::default(),
            waiting_frames: limits::HTTP2_WAITING_FRAMES,
            custom: CustomSettings::default(),
        }
    }
}

/// The window of a stream (RFC 9113 §5.2) in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamWindow {
    /// `initial_stream_window_size`.
    Fixed(u32),
    /// It is not written: this much at first, and more where a connection's round trip asks for it, up to
    /// [`limits::HTTP2_STREAM_WINDOW`].
    Grows(u32),
}

impl StreamWindow {
    /// One that is not written, of a cluster with that `per_connection_buffer_limit_bytes`, of which 0 is no
    /// limit.
    #[must_use]
    pub const fn by_limit(limit: u32) -> Self {
        match limit {
            0 | limits::HTTP2_STREAM_WINDOW.. => Self::Fixed(limits::HTTP2_STREAM_WINDOW),
            ..limits::HTTP2_STREAM_WINDOW_MIN => Self::Grows(limits::HTTP2_STREAM_WINDOW_MIN),
            limit => Self::Grows(limit),
        }
    }

    /// What a connection begins with.
    pub(super) const fn first(self) -> u32 {
        match self {
            Self::Fixed(size) | Self::Grows(size) => size,
        }
    }
}

/// `RoutingPriority`: which of a cluster's two sets of limits a request counts against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Priority {
    /// `DEFAULT`.
    #[default]
    Default = 0,
    /// `HIGH`.
    High = 1,
}

impl Priority {
    /// Both, in the order of their values.
    pub const ALL: [Self; 2] = [Self::Default, Self::High];

    /// As statistics name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::High => "high",
        }
    }

    /// The one of `pair` that belongs to this priority.
    pub(super) const fn of<T>(self, pair: &[T; 2]) -> &T {
        let [default, high] = pair;
        match self {
            Self::Default => default,
            Self::High => high,
        }
    }
}

/// `circuit_breakers.thresholds` of one priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// `max_connections`: 1024.
    pub max_connections: u32,
    /// `max_pending_requests`: 1024.
    pub max_pending_requests: u32,
    /// `max_requests`: 1024.
    pub max_requests: u32,
    /// `max_retries`: 3. Does not count where there is a budget.
    pub max_retries: u32,
    /// `retry_budget`.
    pub retry_budget: Option<RetryBudget>,
    /// `max_connection_pools`: without limit. An endpoint has one in each worker while it has
    /// connections, and one more for each kind of connection that requests ask for.
    pub max_connection_pools: Option<u32>,
    /// `max_connections` of `per_host_thresholds`: without limit.
    pub max_connections_of_host: Option<u32>,
    /// `track_remaining`: whether statistics tell how much is left.
    pub track_remaining: bool,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_pending_requests: 1024,
            max_requests: 1024,
            max_retries: 3,
            retry_budget: None,
            max_connection_pools: None,
            max_connections_of_host: None,
            track_remaining: false,
        }
    }
}

/// `circuit_breakers.thresholds[].retry_budget`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBudget {
    /// `budget_percent` in millionths: 200 000.
    pub share: u32,
    /// `min_retry_concurrency`: 3.
    pub min: u32,
}

impl RetryBudget {
    /// How many retries there may be while so many requests are under way or wait.
    #[must_use]
    pub const fn limit(self, requests: u64) -> u64 {
        let share = requests.saturating_mul(self.share as u64) / 1_000_000;
        if share > self.min as u64 {
            share
        } else {
            self.min as u64
        }
    }
}
