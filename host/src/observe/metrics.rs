//! The names of the statistics that belong to no part of their own.
//!
//! Owns which statistics the connection managers, the listeners and the process itself have; names
//! are Envoy's. The connection manager and the
//! listeners count into a worker's shard, the control thread into the rest.
//!
//! Does not own: the statistics of clusters (`upstream`) and of filters (`wasm`).

use std::sync::Arc;
use std::time::Instant;

use super::registry::{Registry, Scope};
use super::stats::{Name, Reading, Sharded, SharedGauge, Stats, stats};
use crate::clock;

stats! {
    /// A connection manager (`http.<stat_prefix>.`).
    pub struct HttpStats {
        gauge downstream_cx_active,
        counter downstream_cx_delayed_close_timeout,
        counter downstream_cx_destroy,
        counter downstream_cx_destroy_active_rq,
        counter downstream_cx_destroy_local,
        counter downstream_cx_destroy_local_active_rq,
        counter downstream_cx_destroy_remote,
        counter downstream_cx_destroy_remote_active_rq,
        counter downstream_cx_drain_close,
        gauge downstream_cx_http1_active,
        counter downstream_cx_http1_total,
        gauge downstream_cx_http2_active,
        counter downstream_cx_http2_total,
        counter downstream_cx_idle_timeout,
        histogram downstream_cx_length_ms,
        counter downstream_cx_max_duration_reached,
        counter downstream_cx_max_requests_reached,
        counter downstream_cx_protocol_error,
        counter downstream_cx_rx_bytes_total,
        gauge downstream_cx_ssl_active,
        counter downstream_cx_ssl_total,
        counter downstream_cx_total,
        counter downstream_cx_tx_bytes_total,
        gauge downstream_cx_upgrades_active,
        counter downstream_cx_upgrades_total,
        counter downstream_flow_control_paused_reading_total,
        counter downstream_flow_control_resumed_reading_total,

        gauge downstream_rq_active,
        classes downstream_rq_by_class = "downstream_rq",
        counter downstream_rq_completed,
        counter downstream_rq_failed_path_normalization,
        counter downstream_rq_header_timeout,
        counter downstream_rq_http1_total,
        counter downstream_rq_http2_total,
        counter downstream_rq_idle_timeout,
        counter downstream_rq_max_duration_reached,
        counter passthrough_internal_redirect_bad_location,
        counter passthrough_internal_redirect_no_route,
        counter passthrough_internal_redirect_predicate,
        counter passthrough_internal_redirect_too_many_redirects,
        counter passthrough_internal_redirect_unsafe_scheme,
        counter downstream_rq_non_relative_path,
        counter downstream_rq_overload_close,
        counter downstream_rq_redirected_with_normalized_path,
        counter downstream_rq_response_before_rq_complete,
        counter downstream_rq_rx_reset,
        histogram downstream_rq_time,
        counter downstream_rq_timeout,
        counter downstream_rq_too_large,
        counter downstream_rq_too_many_premature_resets,
        counter downstream_rq_total,
        counter downstream_rq_tx_reset,
        counter downstream_rq_ws_on_non_ws_route,

        counter no_cluster,
        counter no_route,
        counter rq_direct_response,
        counter rq_redirect,
        counter rq_reset_after_downstream_response_started,
        counter rq_total,
        counter rs_too_large,

        counter tracing_health_check = "tracing.health_check",
    }
}

stats! {
    /// The codecs of the connections of all listeners, in no scope.
    pub struct CodecStats {
        counter http1_dropped_headers_with_underscores = "http1.dropped_headers_with_underscores",
        counter http1_requests_rejected_with_underscores_in_headers = "http1.requests_rejected_with_underscores_in_headers",

        counter http2_dropped_headers_with_underscores = "http2.dropped_headers_with_underscores",
        counter http2_goaway_sent = "http2.goaway_sent",
        counter http2_header_list_size_too_large = "http2.header_list_size_too_large",
        counter http2_header_overflow = "http2.header_overflow",
        counter http2_inbound_empty_frames_flood = "http2.inbound_empty_frames_flood",
        counter http2_inbound_priority_frames_flood = "http2.inbound_priority_frames_flood",
        counter http2_inbound_window_update_frames_flood = "http2.inbound_window_update_frames_flood",
        counter http2_keepalive_timeout = "http2.keepalive_timeout",
        counter http2_requests_rejected_with_underscores_in_headers = "http2.requests_rejected_with_underscores_in_headers",
        counter http2_rx_messaging_error = "http2.rx_messaging_error",
        counter http2_rx_reset = "http2.rx_reset",
        gauge http2_streams_active = "http2.streams_active",
        counter http2_trailers = "http2.trailers",
        counter http2_tx_flush_timeout = "http2.tx_flush_timeout",
        counter http2_tx_reset = "http2.tx_reset",
    }
}

stats! {
    /// A TCP proxy (`tcp.<stat_prefix>.`).
    pub struct TcpStats {
        counter downstream_cx_drain_close,
        counter downstream_cx_no_route,
        counter downstream_cx_overload_close,
        gauge downstream_cx_rx_bytes_buffered,
        counter downstream_cx_rx_bytes_total,
        counter downstream_cx_total,
        gauge downstream_cx_tx_bytes_buffered,
        counter downstream_cx_tx_bytes_total,
        counter downstream_flow_control_paused_reading_total,
        counter downstream_flow_control_resumed_reading_total,
        counter early_data_received_count_total,
        counter idle_timeout,
        counter max_downstream_connection_duration,
        counter route_delayed_total,
        gauge upstream_flush_active,
        counter upstream_flush_total,
    }
}

stats! {
    /// A limit on connections (`connection_limit.<stat_prefix>.`).
    pub struct ConnectionLimitStats {
        shared_gauge active_connections,
        shared_counter limited_connections,
    }
}

stats! {
    /// A rate limit of connections (`local_rate_limit.<stat_prefix>.`).
    pub struct NetworkRateLimitStats {
        shared_counter rate_limited,
    }
}

stats! {
    /// The TLS inspectors of all listeners (`tls_inspector.`).
    pub struct TlsInspectorStats {
        counter alpn_found,
        counter alpn_not_found,
        counter client_hello_too_large,
        counter sni_found,
        counter sni_not_found,
        counter tls_found,
        counter tls_not_found,
    }
}

stats! {
    /// The HTTP inspectors of all listeners (`http_inspector.`).
    pub struct HttpInspectorStats {
        counter http10_found,
        counter http11_found,
        counter http2_found,
        counter http_not_found,
        counter read_error,
    }
}

stats! {
    /// Connections without a PROXY header (`proxy_proto.[<stat_prefix>.]`).
    pub struct ProxyProtocolStats {
        counter not_found_allowed,
        counter not_found_disallowed,
    }
}

stats! {
    /// PROXY headers of one version (`proxy_proto.[<stat_prefix>.]versions.v<version>.`).
    pub struct ProxyVersionStats {
        counter disallowed,
        counter error,
        counter found,
    }
}

stats! {
    /// Connections that were closed for their PROXY header, in no scope.
    pub struct ProxyErrorStats {
        counter downstream_cx_proxy_proto_error,
    }
}

stats! {
    /// A listener (`listener.<address>.`).
    pub struct ListenerStats {
        gauge downstream_cx_active,
        counter downstream_cx_destroy,
        histogram downstream_cx_length_ms,
        counter downstream_cx_overflow,
        counter downstream_cx_overload_reject,
        counter downstream_cx_total,
        counter downstream_cx_transport_socket_connect_timeout,
        counter downstream_global_cx_overflow,
        counter downstream_listener_filter_error,
        counter downstream_listener_filter_remote_close,
        gauge downstream_pre_cx_active,
        counter downstream_pre_cx_timeout,
        counter network_extension_config_missing,
        counter no_filter_chain_match,
    }
}

stats! {
    /// TLS of a listener or a cluster (`listener.<address>.ssl.`, `cluster.<name>.ssl.`), beneath their
    /// own statistics.
    pub struct TlsStats {
        counter connection_error = "ssl.connection_error",
        counter fail_verify_cert_hash = "ssl.fail_verify_cert_hash",
        counter fail_verify_error = "ssl.fail_verify_error",
        counter fail_verify_no_cert = "ssl.fail_verify_no_cert",
        counter fail_verify_san = "ssl.fail_verify_san",
        counter handshake = "ssl.handshake",
        counter no_certificate = "ssl.no_certificate",
        counter ocsp_staple_failed = "ssl.ocsp_staple_failed",
        counter ocsp_staple_omitted = "ssl.ocsp_staple_omitted",
        counter ocsp_staple_requests = "ssl.ocsp_staple_requests",
        counter ocsp_staple_responses = "ssl.ocsp_staple_responses",
        counter session_reused = "ssl.session_reused",
    }
}

stats! {
    /// A connection manager's part in a listener (`listener.<address>.http.<stat_prefix>.`).
    pub struct ListenerHttpStats {
        classes downstream_rq_by_class = "downstream_rq",
        counter downstream_rq_completed,
    }
}

stats! {
    /// A group of requests of a virtual host (`vhost.<name>.vcluster.<name>.`).
    pub struct VirtualClusterStats {
        codes upstream_rq_by_code = "upstream_rq",
        counter upstream_rq_completed,
        counter upstream_rq_retry,
        counter upstream_rq_retry_limit_exceeded,
        counter upstream_rq_retry_overflow,
        counter upstream_rq_retry_success,
        histogram upstream_rq_time,
        counter upstream_rq_timeout,
        counter upstream_rq_total,
    }
}

/// What of a listener is also shown for each worker.
const OF_WORKERS: [&str; 2] = ["downstream_cx_active", "downstream_cx_total"];

/// The part of a listener's statistics that is shown for each worker, read from the worker's shard.
#[derive(Debug)]
pub struct ListenerOfWorker {
    stats: Arc<Sharded<ListenerStats>>,
    index: usize,
}

impl ListenerOfWorker {
    /// The part of worker `index`.
    #[must_use]
    pub const fn new(stats: Arc<Sharded<ListenerStats>>, index: usize) -> Self {
        Self { stats, index }
    }
}

impl Stats for ListenerOfWorker {
    fn visit(&self, visit: &mut dyn FnMut(Name, Reading)) {
        self.stats.shard(self.index).visit(&mut |name, reading| {
            let is_shown = matches!(&name, Name::Plain(name) if OF_WORKERS.contains(&&**name));
            if is_shown {
                visit(name, reading);
            }
        });
    }
}

/// What `server.state` stands at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// Serving.
    Live = 0,
    /// Finishing what is in flight.
    Draining = 1,
    /// The configuration is being loaded.
    PreInitializing = 2,
    /// Waiting for clusters and listeners to be ready.
    Initializing = 3,
}

/// The process (`server.`).
#[derive(Debug)]
pub struct ServerStats {
    started: Instant,
    concurrency: usize,
    state: SharedGauge,
}

impl ServerStats {
    /// Statistics of a process that starts now, registered.
    #[must_use]
    pub fn register(registry: &Registry, concurrency: usize) -> Arc<Self> {
        let stats = Arc::new(Self {
            started: clock::now(),
            concurrency,
            state: SharedGauge::default(),
        });
        stats.set_state(ServerState::PreInitializing);
        registry.register(Scope::new("server."), &stats);
        stats
    }

    /// Says what the process is doing.
    pub fn set_state(&self, state: ServerState) {
        self.state.set(state as i64);
    }
}

/// The connections that are open, over all listeners (`server.total_connections`).
#[derive(Debug)]
pub struct OpenConnections(pub Vec<Arc<Sharded<ListenerStats>>>);

impl Stats for OpenConnections {
    fn visit(&self, visit: &mut dyn FnMut(Name, Reading)) {
        let workers = self.0.iter().flat_map(|listener| listener.workers());
        let value = workers.map(|stats| stats.downstream_cx_active.get()).sum();
        let name = "total_connections".into();
        visit(name, Reading::Gauge { value, used: true });
    }
}

impl Stats for ServerStats {
    fn visit(&self, visit: &mut dyn FnMut(Name, Reading)) {
        let state = self.state.get();
        let uptime = clock::now()
            .saturating_duration_since(self.started)
            .as_secs();
        let memory = Memory::read();
        for (name, value) in [
            ("concurrency", signed(self.concurrency)),
            ("hot_restart_epoch", 0),
            ("live", i64::from(state == ServerState::Live as i64)),
            ("memory_allocated", memory.anonymous),
            ("memory_heap_size", memory.anonymous),
            ("memory_physical_size", memory.resident),
            ("parent_connections", 0),
            ("state", state),
            ("uptime", signed(uptime)),
        ] {
            visit(name.into(), Reading::Gauge { value, used: true });
        }
        // What is unknown is refused.
        for name in ["dynamic_unknown_fields", "static_unknown_fields"] {
            visit(name.into(), Reading::Counter(0));
        }
    }
}

/// Memory of the process as the kernel counts it, in bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// All of it that is in the machine's memory.
    pub resident: i64,
    /// The part of it that no file stands behind: heap, stacks and guests.
    pub anonymous: i64,
}

impl Memory {
    /// What it stands at now; 0 where the kernel does not say.
    #[must_use]
    pub fn read() -> Self {
        std::fs::read_to_string("/proc/self/status")
            .map_or_else(|_| Self::default(), |text| Self::parse(&text))
    }

    fn parse(status: &str) -> Self {
        let kilobytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_ascii_whitespace().next()?.parse::<i64>().ok()
        };
        let bytes = |name| kilobytes(name).unwrap_or(0).saturating_mul(1024);
        Self {
            resident: bytes("VmRSS:"),
            anonymous: bytes("RssAnon:"),
        }
    }
}

fn signed(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gauge(registry: &Registry, name: &str) -> i64 {
        match registry.read()[name].reading {
            Reading::Gauge { value, .. } => value,
            ref other => panic!("{name} is {other:?}"),
        }
    }

    #[test]
    fn the_server_shows_its_state_and_memory() {
        let registry = Registry::new(2);
        let stats = ServerStats::register(&registry, 2);
        assert_eq!(gauge(&registry, "server.state"), 2);
        assert_eq!(gauge(&registry, "server.live"), 0);
        stats.set_state(ServerState::Live);
        assert_eq!(gauge(&registry, "server.live"), 1);
        assert_eq!(gauge(&registry, "server.concurrency"), 2);
        assert!(gauge(&registry, "server.memory_physical_size") > 1 << 20);
    }

    #[test]
    fn open_connections_are_those_of_all_listeners_and_workers() {
        let registry = Registry::new(2);
        let listeners = [Arc::new(Sharded::new(2)), Arc::new(Sharded::new(2))];
        let stats = Arc::new(OpenConnections(listeners.to_vec()));
        registry.register(Scope::new("server."), &stats);
        for (listener, worker) in [(0, 0), (0, 1), (1, 1)] {
            let listener: &Arc<Sharded<ListenerStats>> = &listeners[listener];
            listener.shard(worker).downstream_cx_active.inc();
        }
        listeners[0].shard(0).downstream_cx_active.dec();
        assert_eq!(gauge(&registry, "server.total_connections"), 2);
    }

    #[test]
    fn memory_is_read_from_the_status() {
        let text = "Name:\tx\nVmRSS:\t    2048 kB\nRssAnon:\t    1024 kB\n";
        let memory = Memory {
            resident: 2 << 20,
            anonymous: 1 << 20,
        };
        assert_eq!(Memory::parse(text), memory);
        assert_eq!(Memory::parse(""), Memory::default());
    }

    #[test]
    fn a_worker_shows_its_own_connections() {
        let registry = Registry::new(2);
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 80));
        let address = &crate::address::Address::from(address);
        let stats = registry.sharded::<ListenerStats>(Scope::listener(address));
        let of_worker = Arc::new(ListenerOfWorker::new(Arc::clone(&stats), 1));
        registry.register(
            Scope::listener_worker(&Scope::listener(address), 1),
            &of_worker,
        );
        stats.shard(0).downstream_cx_total.add(2);
        stats.shard(1).downstream_cx_total.add(3);
        let samples = registry.read();
        let names: Vec<&String> = samples
            .keys()
            .filter(|name| name.contains(".worker_"))
            .collect();
        assert_eq!(
            names,
            [
                "listener.127.0.0.1_80.worker_1.downstream_cx_active",
                "listener.127.0.0.1_80.worker_1.downstream_cx_total"
            ]
        );
        assert_eq!(
            samples["listener.127.0.0.1_80.worker_1.downstream_cx_total"].reading,
            Reading::Counter(3)
        );
        assert_eq!(
            samples["listener.127.0.0.1_80.downstream_cx_total"].reading,
            Reading::Counter(5)
        );
    }
}
