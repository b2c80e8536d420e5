//! Active health checks: their settings (`envoy.config.core.v3.HealthCheck`).
//!
//! See the parent's page.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method};

use crate::limits;
use crate::upstream::metadata::Metadata;

/// `health_checks[]`.
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
    /// `always_log_health_check_success`: false.
    pub always_log_successes: bool,
    /// `alt_port`: a port other than the endpoints'.
    pub port: Option<u16>,
    /// `transport_socket_match_criteria`: which of the cluster's transports checks go over, in place of
    /// what an endpoint's metadata says.
    pub transport_match: Option<Metadata>,
    /// `tls_options.alpn_protocols`: what is offered in place of what the context does.
    pub alpn: Option<Arc<[Vec<u8>]>>,
    /// What is asked.
    pub probe: Probe,
}

/// `health_checker`.
#[derive(Clone, Debug, PartialEq)]
pub enum Probe {
    /// `http_health_check`.
    Http(Box<HttpProbe>),
    /// `tcp_health_check`.
    Tcp(TcpProbe),
    /// `grpc_health_check`.
    Grpc(GrpcProbe),
}

/// `http_health_check`.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpProbe {
    /// `host`; the cluster's name where the file has none.
    pub host: HeaderValue,
    /// `path`.
    pub path: PathAndQuery,
    /// `method`: `GET`.
    pub method: Method,
    /// `expected_statuses`: 200 alone.
    pub expected: Vec<Range<u16>>,
    /// `retriable_statuses`: these count towards the threshold, other unexpected ones fail the
    /// endpoint at once.
    pub retriable: Vec<Range<u16>>,
    /// `codec_client_type: HTTP2`.
    pub http2: bool,
    /// `request_headers_to_add`, with whether they take the place of one that is there.
    pub add: Vec<(HeaderName, HeaderValue, bool)>,
    /// `request_headers_to_remove`.
    pub remove: Vec<HeaderName>,
    /// `send`: the request's body.
    pub send: Bytes,
    /// `receive`: all of these have to come in the body, in this order, with anything between them.
    pub receive: Vec<Vec<u8>>,
    /// `response_buffer_size`: how much of the body is looked at for that; 1024 bytes, all where it
    /// is 0.
    pub response_buffer: usize,
    /// `service_name_matcher`: whether the endpoint's cluster, as it calls it, is the one that is
    /// meant.
    pub service: Option<ServiceCheck>,
}

/// What an endpoint's own word for its cluster has to be.
#[derive(Clone)]
pub struct ServiceCheck(Arc<IsRight>);

type IsRight = dyn Fn(&[u8]) -> bool + Send + Sync;

impl ServiceCheck {
    /// One that passes where `is_right` says so.
    #[must_use]
    pub fn new(is_right: impl Fn(&[u8]) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_right))
    }

    /// Whether that is the name; empty where the endpoint said none.
    #[must_use]
    pub fn is_right(&self, name: &[u8]) -> bool {
        (self.0)(name)
    }
}

impl fmt::Debug for ServiceCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceCheck")
    }
}

impl PartialEq for ServiceCheck {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// `tcp_health_check`. Without anything to send or receive, connecting is the check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TcpProbe {
    /// `send`.
    pub send: Vec<u8>,
    /// `receive`: all of these have to come, in this order, with anything between them.
    pub receive: Vec<Vec<u8>>,
}

/// `grpc_health_check`: `grpc.health.v1.Health/Check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcProbe {
    /// `service_name`.
    pub service: String,
    /// `authority`; the cluster's name where the file has none.
    pub authority: HeaderValue,
}

impl HealthCheck {
    /// A check by HTTP of `path` at `host` with defaults for everything that Envoy has one for, and
    /// 2 for both thresholds.
    #[must_use]
    pub fn new(
        host: HeaderValue,
        path: PathAndQuery,
        timeout: Duration,
        interval: Duration,
    ) -> Self {
        let probe = Box::new(HttpProbe::new(host, path));
        Self::with(Probe::Http(probe), timeout, interval)
    }

    /// A check by `probe`.
    #[must_use]
    pub const fn with(probe: Probe, timeout: Duration, interval: Duration) -> Self {
        Self {
            timeout,
            intervals: Intervals::new(interval),
            unhealthy_threshold: 2,
            healthy_threshold: 2,
            reuse_connection: true,
            always_log_failures: false,
            always_log_successes: false,
            port: None,
            transport_match: None,
            alpn: None,
            probe,
        }
    }

    /// The same for an endpoint that is to be asked as `host`.
    #[must_use]
    pub fn at_host(&self, host: &HeaderValue) -> Self {
        let mut check = self.clone();
        match &mut check.probe {
            Probe::Http(probe) => probe.host = host.clone(),
            Probe::Grpc(probe) => probe.authority = host.clone(),
            Probe::Tcp(_) => {}
        }
        check
    }
}

impl HttpProbe {
    /// A `GET` of `path` at `host` that is to be answered with 200.
    #[must_use]
    pub fn new(host: HeaderValue, path: PathAndQuery) -> Self {
        Self {
            host,
            path,
            method: Method::GET,
            expected: std::iter::once(200..201).collect(),
            retriable: Vec::new(),
            http2: false,
            add: Vec::new(),
            remove: Vec::new(),
            send: Bytes::new(),
            receive: Vec::new(),
            response_buffer: limits::HEALTH_CHECK_MATCHED_BYTES,
            service: None,
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
