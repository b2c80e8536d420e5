//! Clusters: `envoy.config.cluster.v3.Cluster` to [`Cluster`].

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderValue, Method};

use super::Workshop;
use super::manager::{keepalive, name_format};
use crate::config::Place;
use crate::config::circuit_breaker::CircuitBreakers;
use crate::config::cluster::{
    Cluster as Written, DiscoveryType, DnsLookupFamily, LbPolicy, ProtocolConfig,
    UpstreamProtocolOptions,
};
use crate::config::endpoint::LbEndpoint;
use crate::config::health_check::{CodecClientType, HealthCheck as WrittenCheck};
use crate::config::matcher::Int64Range;
use crate::config::protocol::UpstreamHttp2ProtocolOptions;
use crate::config::route::RoutingPriority;
use crate::config::scalar::Duration as WrittenDuration;
use crate::observe::registry::Scope;
use crate::upstream::Cluster;
use crate::upstream::spec::{
    ClusterSpec, Discovery, DnsSpec, DnsTarget, Family, HealthCheck, Http2Settings, Intervals,
    Policy, Protocol, StaticEndpoint, Thresholds,
};

impl Workshop<'_> {
    /// Builds all clusters. One with errors is left out, but its name is known, so that routes to it
    /// are not errors as well.
    pub(super) fn clusters(&mut self, written: &[Written], place: Place<'_>) -> Vec<Arc<Cluster>> {
        let mut seen: HashMap<&str, usize> = HashMap::new();
        let mut built = Vec::new();
        for (index, cluster) in written.iter().enumerate() {
            let here = place.index(index);
            if let Some(first) = seen.insert(&cluster.name, index) {
                let message = format!("duplicate cluster \"{}\"", cluster.name);
                let other = place.index(first).field("name");
                self.diagnostics
                    .error(here.field("name"), message)
                    .related_place(other, "the first one");
                continue;
            }
            self.clusters.insert(cluster.name.clone(), built.len());
            if let Some(spec) = self.cluster(cluster, here) {
                let name = spec.alt_stat_name.as_ref().unwrap_or(&spec.name);
                let stats = self.registry.sharded(Scope::cluster(name));
                let scope = Scope::cluster(name);
                let cluster = Cluster::with_stats(spec, self.settings.workers, stats);
                self.registry.register(scope, cluster.breakers());
                built.push(cluster);
            }
        }
        built
    }

    fn cluster(&mut self, written: &Written, place: Place<'_>) -> Option<ClusterSpec> {
        let discovery = self.discovery(written, place)?;
        let mut spec = ClusterSpec::new(&written.name, discovery);
        if !written.alt_stat_name.is_empty() {
            spec.alt_stat_name = Some(written.alt_stat_name.as_str().into());
        }
        if let Some(timeout) = written.connect_timeout {
            spec.connect_timeout = timeout.get();
        }
        spec.policy = policy(written);
        if let Some(common) = &written.common_lb_config
            && let Some(threshold) = common.healthy_panic_threshold
        {
            spec.panic_threshold = threshold.value;
        }
        if written.http_options().is_some() && written.http2_protocol_options.is_some() {
            let message = "'http2_protocol_options' and 'typed_extension_protocol_options' exclude each other";
            self.diagnostics
                .error(place.field("http2_protocol_options"), message);
        }
        spec.protocol = protocol(written);
        if let Some(options) = written.http_options() {
            let UpstreamProtocolOptions::ExplicitHttpConfig(explicit) = &options.protocol;
            if let ProtocolConfig::HttpProtocolOptions(http1) = &explicit.protocol {
                spec.http1_trailers = http1.enable_trailers;
                spec.http1_names = name_format(http1.header_key_format.as_ref());
                spec.http1_absolute_target = http1.send_fully_qualified_url;
            }
        }
        if let Some(breakers) = &written.circuit_breakers {
            spec.breakers = self.breakers(breakers, place.field("circuit_breakers"));
        }
        if let Some(check) = written.health_checks.first() {
            let here = place.field("health_checks");
            if written.health_checks.len() > 1 {
                self.diagnostics
                    .error(here.index(1), "multiple health checks not supported");
            }
            spec.health_check = Some(self.health_check(written, check, here.index(0))?);
        }
        spec.ignore_health_on_host_removal = written.ignore_health_on_host_removal;
        if let Some(options) = written.http_options()
            && let Some(common) = &options.common_http_protocol_options
        {
            if let Some(idle) = common.idle_timeout {
                spec.idle_timeout = idle.non_zero();
            }
            let max = common.max_requests_per_connection.and_then(NonZeroU32::new);
            spec.max_requests_per_connection = max;
            if let Some(count) = common.max_headers_count {
                spec.response_fields = count;
            }
            if let Some(kib) = common.max_response_headers_kb {
                spec.response_head_bytes = kib.saturating_mul(1024);
                if let Protocol::Http2(settings) = &mut spec.protocol {
                    settings.max_header_list = spec.response_head_bytes;
                }
            }
        }
        if let Some(limit) = written.per_connection_buffer_limit_bytes {
            spec.buffer_limit = limit;
        }
        Some(spec)
    }

    fn discovery(&mut self, written: &Written, place: Place<'_>) -> Option<Discovery> {
        let assignment = written.load_assignment.as_ref();
        let here = place.field("load_assignment").field("endpoints");
        let groups = assignment.map(|assignment| assignment.endpoints.iter().enumerate());
        let mut endpoints = Vec::new();
        for (group_index, group) in groups.into_iter().flatten() {
            let here = here.index(group_index).field("lb_endpoints");
            let members = group.lb_endpoints.iter().enumerate();
            endpoints.extend(members.map(|(index, endpoint)| (endpoint, here.index(index))));
        }
        match written.r#type {
            DiscoveryType::Static => self.static_endpoints(&endpoints).map(Discovery::Static),
            DiscoveryType::StrictDns => Some(Discovery::StrictDns {
                targets: endpoints
                    .iter()
                    .map(|(endpoint, _)| dns_target(endpoint))
                    .collect(),
                dns: dns(written),
            }),
        }
    }

    fn static_endpoints(
        &mut self,
        endpoints: &[(&LbEndpoint, Place<'_>)],
    ) -> Option<Vec<StaticEndpoint>> {
        let mut built = Vec::new();
        let mut whole = true;
        for (written, place) in endpoints {
            let endpoint = written.endpoint();
            let socket = endpoint.address.socket();
            let Ok(ip) = socket.address.parse::<IpAddr>() else {
                let at = ["endpoint", "address", "socket_address", "address"];
                let at = at.iter().fold(*place, |place, name| place.field(name));
                let message = format!("malformed IP address \"{}\"", socket.address);
                self.diagnostics
                    .error(at, message)
                    .hint("a STATIC cluster has literal addresses; for names set the cluster's type to STRICT_DNS");
                whole = false;
                continue;
            };
            let mut made = StaticEndpoint::new(SocketAddr::new(ip, socket.port()));
            made.hostname = named(&endpoint.hostname);
            made.weight = written.load_balancing_weight.unwrap_or(1);
            made.health_check_port = check_port(written);
            built.push(made);
        }
        whole.then_some(built)
    }

    fn breakers(&mut self, written: &CircuitBreakers, place: Place<'_>) -> [Thresholds; 2] {
        let mut built = [Thresholds::default(); 2];
        let [normal, high] = &mut built;
        for thresholds in &written.thresholds {
            let set = match thresholds.priority {
                RoutingPriority::Default => &mut *normal,
                RoutingPriority::High => &mut *high,
            };
            let or = |limit: Option<u32>, default: u32| limit.unwrap_or(default);
            *set = Thresholds {
                max_connections: or(thresholds.max_connections, set.max_connections),
                max_pending_requests: or(thresholds.max_pending_requests, set.max_pending_requests),
                max_requests: or(thresholds.max_requests, set.max_requests),
                max_retries: or(thresholds.max_retries, set.max_retries),
                track_remaining: thresholds.track_remaining,
            };
        }
        let priorities = || written.thresholds.iter().map(|set| set.priority);
        if priorities().any(|priority| priority == RoutingPriority::High)
            && !priorities().any(|priority| priority == RoutingPriority::Default)
        {
            self.diagnostics
                .warning(
                    place.field("thresholds"),
                    "these limits are for requests of HIGH priority only, which a route has to ask for",
                )
                .hint("leave 'priority' out, or add thresholds of DEFAULT priority, to limit ordinary requests");
        }
        built
    }

    fn health_check(
        &mut self,
        cluster: &Written,
        written: &WrittenCheck,
        place: Place<'_>,
    ) -> Option<HealthCheck> {
        let http = written.http();
        let here = place.field("http_health_check");
        let host = if http.host.is_empty() {
            &cluster.name
        } else {
            &http.host
        };
        let Ok(host) = HeaderValue::from_str(host) else {
            let message = format!("\"{host}\" cannot be sent as a host header");
            self.diagnostics.error(here.field("host"), message);
            return None;
        };
        let Ok(path) = PathAndQuery::try_from(http.path.as_str()) else {
            let message = format!("\"{}\" is not a path", http.path);
            self.diagnostics.error(here.field("path"), message);
            return None;
        };
        let mut check = HealthCheck::new(host, path, written.timeout.get(), written.interval.get());
        check.unhealthy_threshold = written
            .unhealthy_threshold
            .unwrap_or(check.unhealthy_threshold);
        check.healthy_threshold = written.healthy_threshold.unwrap_or(check.healthy_threshold);
        check.reuse_connection = written.reuse_connection.unwrap_or(true);
        check.always_log_failures = written.always_log_health_check_failures;
        if let Ok(method) = Method::from_bytes(http.method.as_str().as_bytes()) {
            check.method = method;
        }
        if !http.expected_statuses.is_empty() {
            check.expected =
                self.statuses(&http.expected_statuses, here.field("expected_statuses"));
        }
        check.retriable = self.statuses(&http.retriable_statuses, here.field("retriable_statuses"));
        check.http2 = http.codec_client_type == CodecClientType::Http2;
        check.intervals = intervals(written);
        Some(check)
    }

    /// Ranges of statuses, `end` excluded, within 100 to 600 as Envoy wants them.
    fn statuses(&mut self, written: &[Int64Range], place: Place<'_>) -> Vec<Range<u16>> {
        let mut built = Vec::new();
        for (index, range) in written.iter().enumerate() {
            let bounds = (u16::try_from(range.start), u16::try_from(range.end));
            match bounds {
                (Ok(start), Ok(end)) if start >= 100 && end <= 600 && start < end => {
                    built.push(start..end);
                }
                _ => {
                    self.diagnostics.error(
                        place.index(index),
                        "a range of statuses has 100 <= start < end <= 600",
                    );
                }
            }
        }
        built
    }
}

fn intervals(written: &WrittenCheck) -> Intervals {
    let mut built = Intervals::new(written.interval.get());
    let or_zero =
        |duration: Option<WrittenDuration>| duration.map_or(Duration::ZERO, WrittenDuration::get);
    let set = |duration: Option<WrittenDuration>| duration.map(WrittenDuration::get);
    built.initial_jitter = or_zero(written.initial_jitter);
    built.jitter = or_zero(written.interval_jitter);
    built.jitter_percent = written.interval_jitter_percent;
    if let Some(interval) = written.no_traffic_interval {
        built.no_traffic = interval.get();
    }
    built.no_traffic_healthy = set(written.no_traffic_healthy_interval);
    built.unhealthy = set(written.unhealthy_interval);
    built.unhealthy_edge = set(written.unhealthy_edge_interval);
    built.healthy_edge = set(written.healthy_edge_interval);
    built
}

fn policy(written: &Written) -> Policy {
    match written.lb_policy {
        LbPolicy::RoundRobin => Policy::RoundRobin,
        LbPolicy::Random => Policy::Random,
        LbPolicy::LeastRequest => {
            let Policy::LeastRequest {
                mut choice_count,
                mut active_request_bias,
            } = Policy::LEAST_REQUEST
            else {
                return Policy::LEAST_REQUEST;
            };
            if let Some(config) = &written.least_request_lb_config {
                choice_count = config.choice_count.unwrap_or(choice_count);
                if let Some(bias) = &config.active_request_bias {
                    active_request_bias = bias.default_value;
                }
            }
            Policy::LeastRequest {
                choice_count,
                active_request_bias,
            }
        }
    }
}

fn protocol(written: &Written) -> Protocol {
    if let Some(options) = written.http_options() {
        let UpstreamProtocolOptions::ExplicitHttpConfig(explicit) = &options.protocol;
        return match &explicit.protocol {
            ProtocolConfig::HttpProtocolOptions(_) => Protocol::Http1,
            ProtocolConfig::Http2ProtocolOptions(http2) => Protocol::Http2(http2_settings(http2)),
        };
    }
    match &written.http2_protocol_options {
        Some(http2) => Protocol::Http2(http2_settings(http2)),
        None => Protocol::Http1,
    }
}

fn http2_settings(written: &UpstreamHttp2ProtocolOptions) -> Http2Settings {
    let default = Http2Settings::default();
    let stream = written.initial_stream_window_size;
    let connection = written.initial_connection_window_size;
    Http2Settings {
        max_concurrent_streams: written
            .max_concurrent_streams
            .unwrap_or(default.max_concurrent_streams),
        initial_stream_window: stream.unwrap_or(default.initial_stream_window),
        initial_connection_window: connection.unwrap_or(default.initial_connection_window),
        header_table: written.hpack_table_size.unwrap_or(default.header_table),
        keepalive: written.connection_keepalive.as_ref().and_then(keepalive),
        ..default
    }
}

fn dns_target(written: &LbEndpoint) -> DnsTarget {
    let endpoint = written.endpoint();
    let socket = endpoint.address.socket();
    let mut target = DnsTarget::new(&socket.address, socket.port());
    target.hostname = named(&endpoint.hostname);
    target.weight = written.load_balancing_weight.unwrap_or(1);
    target.health_check_port = check_port(written);
    target
}

fn dns(written: &Written) -> DnsSpec {
    let default = DnsSpec::default();
    let failure = written.dns_failure_refresh_rate.as_ref();
    DnsSpec {
        refresh: written
            .dns_refresh_rate
            .map_or(default.refresh, WrittenDuration::get),
        failure_base: failure.map(|rate| rate.base_interval.get()),
        failure_max: failure
            .and_then(|rate| rate.max_interval)
            .map(WrittenDuration::get),
        jitter: written
            .dns_jitter
            .map_or(default.jitter, WrittenDuration::get),
        family: match written.dns_lookup_family {
            DnsLookupFamily::Auto => Family::Auto,
            DnsLookupFamily::V4Only => Family::V4Only,
            DnsLookupFamily::V6Only => Family::V6Only,
            DnsLookupFamily::V4Preferred => Family::V4Preferred,
            DnsLookupFamily::All => Family::All,
        },
    }
}

fn named(hostname: &str) -> Option<Arc<str>> {
    (!hostname.is_empty()).then(|| hostname.into())
}

fn check_port(written: &LbEndpoint) -> Option<u16> {
    let config = written.endpoint().health_check_config.as_ref()?;
    (config.port_value != 0).then_some(config.port_value)
}
