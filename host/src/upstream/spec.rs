//! What a cluster is to do: its settings, checked, without a file format.
//!
//! Owns plain types with Envoy's defaults. `build` fills them in, everything else in `upstream`
//! reads them. Does not own: anything that changes while the proxy runs.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderValue, Method};

use crate::headers::NameFormat;
use crate::keepalive::Keepalive;
use crate::limits;

/// The settings of one cluster (`envoy.config.cluster.v3.Cluster`).
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterSpec {
    /// `name`.
    pub name: Arc<str>,
    /// `alt_stat_name`: the name that statistics and `/clusters` show instead.
    pub alt_stat_name: Option<Arc<str>>,
    /// `type` and `load_assignment`.
    pub discovery: Discovery,
    /// `connect_timeout`: 5 s.
    pub connect_timeout: Duration,
    /// `lb_policy` and its options.
    pub policy: Policy,
    /// `common_lb_config.healthy_panic_threshold` in percent: 50.
    pub panic_threshold: f64,
    /// Which HTTP the endpoints speak.
    pub protocol: Protocol,
    /// `circuit_breakers.thresholds`, indexed by [`Priority`].
    pub breakers: [Thresholds; Priority::ALL.len()],
    /// `health_checks`.
    pub health_check: Option<HealthCheck>,
    /// `ignore_health_on_host_removal`: an endpoint that discovery dropped goes at once, although
    /// its health checks still pass.
    pub ignore_health_on_host_removal: bool,
    /// `http_protocol_options.enable_trailers` of an HTTP/1 upstream: false.
    pub http1_trailers: bool,
    /// `common_http_protocol_options.max_headers_count` of responses: 100.
    pub response_fields: u32,
    /// `common_http_protocol_options.max_response_headers_kb` in bytes, for HTTP/1: 80 KiB.
    pub response_head_bytes: u32,
    /// `http_protocol_options.header_key_format` of an HTTP/1 upstream.
    pub http1_names: NameFormat,
    /// `http_protocol_options.send_fully_qualified_url`: the upstream is a proxy.
    pub http1_absolute_target: bool,
    /// `common_http_protocol_options.idle_timeout`: 1 h; `None` where the file says `0s`.
    pub idle_timeout: Option<Duration>,
    /// `common_http_protocol_options.max_requests_per_connection`.
    pub max_requests_per_connection: Option<NonZeroU32>,
    /// `per_connection_buffer_limit_bytes`: 1 MiB.
    pub buffer_limit: u32,
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
            policy: Policy::RoundRobin,
            panic_threshold: 50.0,
            protocol: Protocol::Http1,
            breakers: [Thresholds::default(); Priority::ALL.len()],
            health_check: None,
            ignore_health_on_host_removal: false,
            http1_trailers: false,
            response_fields: limits::HEADERS_COUNT,
            response_head_bytes: limits::RESPONSE_HEADERS_BYTES as u32,
            http1_names: NameFormat::default(),
            http1_absolute_target: false,
            idle_timeout: Some(Duration::from_hours(1)),
            max_requests_per_connection: None,
            buffer_limit: limits::CONNECTION_BUFFER_BYTES,
        }
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
}

/// An endpoint whose address is known (`LbEndpoint`).
#[derive(Clone, Debug, PartialEq)]
pub struct StaticEndpoint {
    /// `endpoint.address.socket_address`.
    pub address: SocketAddr,
    /// `endpoint.hostname`.
    pub hostname: Option<Arc<str>>,
    /// `load_balancing_weight`: 1; 0 counts as 1.
    pub weight: u32,
    /// `endpoint.health_check_config.port_value`.
    pub health_check_port: Option<u16>,
}

impl StaticEndpoint {
    /// An endpoint of weight 1 at `address`.
    #[must_use]
    pub const fn new(address: SocketAddr) -> Self {
        Self {
            address,
            hostname: None,
            weight: 1,
            health_check_port: None,
        }
    }
}

/// A name that stands for endpoints (`LbEndpoint` of a `STRICT_DNS` cluster). A literal address is
/// allowed and resolves to itself.
#[derive(Clone, Debug, PartialEq)]
pub struct DnsTarget {
    /// `socket_address.address`.
    pub host: Arc<str>,
    /// `socket_address.port_value`.
    pub port: u16,
    /// `endpoint.hostname`; the endpoints are called `host` where there is none.
    pub hostname: Option<Arc<str>>,
    /// `load_balancing_weight` of each address: 1; 0 counts as 1.
    pub weight: u32,
    /// `endpoint.health_check_config.port_value`.
    pub health_check_port: Option<u16>,
}

impl DnsTarget {
    /// A target of weight 1.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            hostname: None,
            weight: 1,
            health_check_port: None,
        }
    }
}

/// How a `STRICT_DNS` cluster resolves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsSpec {
    /// `dns_refresh_rate`: 5 s between an answer and the next question.
    pub refresh: Duration,
    /// `dns_failure_refresh_rate.base_interval`: the refresh rate where there is none.
    pub failure_base: Option<Duration>,
    /// `dns_failure_refresh_rate.max_interval`: ten times the base where there is none.
    pub failure_max: Option<Duration>,
    /// `dns_jitter`: up to this much is added to each interval; 0.
    pub jitter: Duration,
    /// `dns_lookup_family`.
    pub family: Family,
}

impl Default for DnsSpec {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(5),
            failure_base: None,
            failure_max: None,
            jitter: Duration::ZERO,
            family: Family::Auto,
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

/// `lb_policy`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Policy {
    /// `ROUND_ROBIN`, weighted where weights differ.
    #[default]
    RoundRobin,
    /// `LEAST_REQUEST`.
    LeastRequest {
        /// `choice_count`: 2; at least 1 endpoint is looked at.
        choice_count: u32,
        /// `active_request_bias`: 1.0; used where weights differ.
        active_request_bias: f64,
    },
    /// `RANDOM`: evenly, whatever the weights, as in Envoy.
    Random,
}

impl Policy {
    /// `LEAST_REQUEST` with Envoy's defaults.
    pub const LEAST_REQUEST: Self = Self::LeastRequest {
        choice_count: 2,
        active_request_bias: 1.0,
    };

    /// Whether it goes by a hash of the request.
    #[must_use]
    pub const fn wants_hash(&self) -> bool {
        match self {
            Self::RoundRobin | Self::LeastRequest { .. } | Self::Random => false,
        }
    }
}

/// The HTTP version that a cluster's endpoints speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2(Http2Settings),
}

/// `http2_protocol_options` of the upstream side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2Settings {
    /// `max_concurrent_streams`: 1024 on one connection; the peer may allow fewer.
    pub max_concurrent_streams: u32,
    /// `initial_stream_window_size` in bytes: 16 MiB.
    pub initial_stream_window: u32,
    /// `initial_connection_window_size` in bytes: 24 MiB.
    pub initial_connection_window: u32,
    /// `max_response_headers_kb` in bytes: 60 KiB.
    pub max_header_list: u32,
    /// `hpack_table_size` in bytes: 4096.
    pub header_table: u32,
    /// `connection_keepalive`: none.
    pub keepalive: Option<Keepalive>,
}

impl Default for Http2Settings {
    fn default() -> Self {
        Self {
            max_concurrent_streams: 1024,
            initial_stream_window: 16 * 1024 * 1024,
            initial_connection_window: 24 * 1024 * 1024,
            max_header_list: 60 * 1024,
            header_table: limits::HTTP2_HEADER_TABLE_BYTES,
            keepalive: None,
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
    /// `max_retries`: 3.
    pub max_retries: u32,
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
            track_remaining: false,
        }
    }
}

/// `health_checks[]` with an `http_health_check`.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthCheck {
    /// `timeout` of one check.
    pub timeout: Duration,
    /// When checks happen.
    pub intervals: Intervals,
    /// `unhealthy_threshold`: 2 where the file has none.
    pub unhealthy_threshold: u32,
    /// `healthy_threshold`: 2 where the file has none.
    pub healthy_threshold: u32,
    /// `reuse_connection`: true.
    pub reuse_connection: bool,
    /// `always_log_health_check_failures`: false.
    pub always_log_failures: bool,
    /// `http_health_check.host`; the cluster's name where the file has none.
    pub host: HeaderValue,
    /// `http_health_check.path`.
    pub path: PathAndQuery,
    /// `http_health_check.method`: `GET`.
    pub method: Method,
    /// `http_health_check.expected_statuses`: 200 alone.
    pub expected: Vec<Range<u16>>,
    /// `http_health_check.retriable_statuses`: these count towards the threshold, other unexpected
    /// ones fail the endpoint at once.
    pub retriable: Vec<Range<u16>>,
    /// `http_health_check.codec_client_type: HTTP2`.
    pub http2: bool,
}

impl HealthCheck {
    /// A check of `path` at `host` with defaults for everything that Envoy has one for, and 2 for both
    /// thresholds.
    #[must_use]
    pub fn new(
        host: HeaderValue,
        path: PathAndQuery,
        timeout: Duration,
        interval: Duration,
    ) -> Self {
        Self {
            timeout,
            intervals: Intervals::new(interval),
            unhealthy_threshold: 2,
            healthy_threshold: 2,
            reuse_connection: true,
            always_log_failures: false,
            host,
            path,
            method: Method::GET,
            expected: std::iter::once(200..201).collect(),
            retriable: Vec::new(),
            http2: false,
        }
    }
}

/// How long a health checker waits between two checks of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intervals {
    /// `interval`.
    pub interval: Duration,
    /// `initial_jitter`: up to this much before the first check.
    pub initial_jitter: Duration,
    /// `interval_jitter`: up to this much is added to each interval.
    pub jitter: Duration,
    /// `interval_jitter_percent`: up to this much of the interval is added to it.
    pub jitter_percent: u32,
    /// `no_traffic_interval`: 60 s; used until the cluster had a connection for a request.
    pub no_traffic: Duration,
    /// `no_traffic_healthy_interval`: the same for healthy endpoints.
    pub no_traffic_healthy: Option<Duration>,
    /// `unhealthy_interval`: between checks of an unhealthy endpoint.
    pub unhealthy: Option<Duration>,
    /// `unhealthy_edge_interval`: while a healthy endpoint fails, but not often enough yet.
    pub unhealthy_edge: Option<Duration>,
    /// `healthy_edge_interval`: while an unhealthy endpoint passes, but not often enough yet.
    pub healthy_edge: Option<Duration>,
}

impl Intervals {
    /// Every `interval`, with Envoy's defaults for the rest.
    #[must_use]
    pub const fn new(interval: Duration) -> Self {
        Self {
            interval,
            initial_jitter: Duration::ZERO,
            jitter: Duration::ZERO,
            jitter_percent: 0,
            no_traffic: Duration::from_mins(1),
            no_traffic_healthy: None,
            unhealthy: None,
            unhealthy_edge: None,
            healthy_edge: None,
        }
    }
}
