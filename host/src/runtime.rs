//! What runs: everything that a request needs to know, checked and immutable.
//!
//! Owns [`Snapshot`] and the parts that are only data. `build` makes one from a configuration,
//! `server` hands it to the workers, the data path reads it. Nothing here can fail, names a
//! configuration type, or has a lock.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;

use crate::address::Address;
use crate::frames::custom::CustomSettings;
use crate::frames::watch::FrameLimits;
use crate::h1::RequestRules;
use crate::headers::Known;
use crate::http::hygiene::HygieneRules;
use crate::http::proxy_status::ProxyStatus;
use crate::http::reply::LocalReplies;
use crate::keepalive::Keepalive;
use crate::log_filter::LogFilter;
use crate::observe::format::Format;
use crate::observe::metrics::{CodecStats, HttpStats, ListenerHttpStats, TcpStats};
use crate::observe::stats::Sharded;
use crate::route::{
    ClusterPolicies, ClusterRef, EnvoyHeaders, RequestChanges, Retries, RetryPolicy, Seat,
};
use crate::upstream::{Cluster, Criteria};
use crate::values::{Integer, Values};
use crate::variant::Variants;
use crate::vitals::Vitals;
use crate::wasm::FilterSlot;

pub mod chain_tree;
pub mod chains;
mod draining;
pub mod inspection;
mod listener;
mod room;

pub use draining::Draining;
pub use listener::{
    Choice, FilterChain, FilterChains, Handshake, ListenAddress, Listener, SocketSettings,
};
pub(crate) use room::Admitted;
pub use room::Room;

/// Runtime values about the retries of all routes.
#[derive(Debug)]
pub struct RetryValues {
    /// `upstream.use_retry`: how many percent of them are made.
    share: Integer,
    /// `upstream.base_retry_backoff_ms`, where a policy does not say how long to wait.
    base: Integer,
}

impl RetryValues {
    fn new(values: &Arc<Values>) -> Self {
        Self {
            share: Integer::new(100, values, "upstream.use_retry"),
            base: Integer::new(25, values, "upstream.base_retry_backoff_ms"),
        }
    }

    /// Applies them to a request's retries; `random` is any number.
    pub fn steer(&self, retries: &mut Retries, random: u64) {
        if random % 100 >= self.share.get() {
            retries.switch_off();
        }
        retries.begin_with(Duration::from_millis(self.base.get()));
    }
}

/// One whole configuration, running.
pub struct Snapshot {
    /// In the order of the file.
    pub listeners: Vec<Arc<Listener>>,
    /// In the order of the file: a route's `ClusterRef` is an index into this.
    pub clusters: Vec<Arc<Cluster>>,
    cluster_names: HashMap<Arc<str>, usize>,
    /// What routes ask of endpoints: a route's `metadata_match` is an index into this.
    pub criteria: Vec<Criteria>,
    /// What clusters say about their requests in place of routes, in the order of `clusters`; empty where
    /// none does.
    policies: Box<[Option<ClusterPolicies>]>,
    /// `upstream.maintenance_mode.<cluster>` in percent, in the order of `clusters`.
    maintenance: Box<[Integer]>,
    /// What is said about the retries of all routes.
    pub retries: RetryValues,
    /// How the proxy says that it is.
    pub vitals: Arc<Vitals>,
}

impl Snapshot {
    /// A configuration of these listeners and clusters, whose routes ask for `criteria`; `vitals` are
    /// those of the process.
    #[must_use]
    pub fn new(
        listeners: Vec<Arc<Listener>>,
        clusters: Vec<Arc<Cluster>>,
        criteria: Vec<Criteria>,
        values: &Arc<Values>,
        vitals: Arc<Vitals>,
    ) -> Self {
        let maintenance = clusters.iter().map(|cluster| {
            let key = format!("upstream.maintenance_mode.{}", cluster.name);
            Integer::new(0, values, &key)
        });
        let maintenance = maintenance.collect();
        let names = clusters.iter().enumerate();
        let cluster_names = names.map(|(index, cluster)| (Arc::clone(&cluster.name), index));
        Self {
            cluster_names: cluster_names.collect(),
            policies: Box::default(),
            maintenance,
            retries: RetryValues::new(values),
            criteria,
            vitals,
            listeners,
            clusters,
        }
    }

    /// The same, with what its clusters say about their requests in place of routes.
    #[must_use]
    pub fn with_policies(mut self, policies: Box<[Option<ClusterPolicies>]>) -> Self {
        self.policies = policies;
        self
    }

    /// The index of the cluster of that name: for names that requests and filters choose.
    #[must_use]
    pub fn cluster_index(&self, name: &str) -> Option<usize> {
        self.cluster_names.get(name).copied()
    }

    /// What the cluster of that index says about its requests.
    #[must_use]
    #[inline]
    pub fn policies(&self, index: usize) -> Option<&ClusterPolicies> {
        self.policies.get(index)?.as_ref()
    }

    /// Whether the cluster of that index says itself that nothing is sent to it a second time.
    #[must_use]
    pub fn wants_no_retries(&self, index: usize) -> bool {
        let retry = self.policies(index).and_then(|own| own.retry.as_deref());
        retry.is_some_and(RetryPolicy::wants_none)
    }

    /// How many percent of the requests to the cluster of that index are turned away.
    #[must_use]
    #[inline]
    pub fn maintenance(&self, index: usize) -> u64 {
        self.maintenance.get(index).map_or(0, Integer::get)
    }

    /// Where the tables of that name are in use: each connection manager has one of its own, which
    /// knows the filters of its chain.
    pub fn tables_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Seat> {
        let chains = self
            .listeners
            .iter()
            .flat_map(|listener| listener.chains.iter());
        let managers = chains.filter_map(FilterChain::manager);
        managers
            .map(|manager| &manager.routes)
            .filter(move |seat| **seat.load().name() == *name)
    }

    /// The listener at that address, or else one at its port on all addresses.
    #[must_use]
    pub fn listener_at(&self, address: &Address) -> Option<&Arc<Listener>> {
        let address = address.ip()?;
        let listeners = self.listeners.iter().rev();
        listeners
            .max_by_key(|listener| listener.is_for(address))
            .filter(|listener| listener.is_for(address) > 0)
    }

    /// The cluster of that name.
    #[must_use]
    pub fn cluster_named(&self, name: &str) -> Option<&Arc<Cluster>> {
        self.clusters.get(self.cluster_index(name)?)
    }
}

/// A terminal network filter: who has the connection to its end.
#[derive(Clone)]
pub enum Service {
    /// The HTTP connection manager.
    Http(Arc<HttpListener>),
    /// The TCP proxy.
    Tcp(Arc<TcpProxy>),
    /// A fixed answer.
    Answer(Bytes),
    /// Back what comes.
    Echo,
    /// There is no network filter: the connection is closed.
    Nothing,
}

/// The TCP proxy (`TcpProxy`).
pub struct TcpProxy {
    /// `cluster` or `weighted_clusters`.
    pub targets: TcpTargets,
    /// `idle_timeout`; none where it is 0.
    pub idle_timeout: Option<Duration>,
    /// `max_connect_attempts`, at least 1.
    pub max_connect_attempts: u32,
    /// `backoff_options`: what is waited at most before the second attempt, and before any.
    pub backoff: Option<(Duration, Duration)>,
    /// `max_downstream_connection_duration`.
    pub max_duration: Option<Duration>,
    /// How much of that is added to it at most, from 0 to 1.
    pub duration_jitter: f64,
    /// `hash_policy.source_ip`: whether the choice of an endpoint goes by the client's address.
    pub hashes_source: bool,
    /// `per_connection_buffer_limit_bytes` of the listener.
    pub buffer_limit: usize,
    /// `access_log`, each entry a filter that wants only the log phase.
    pub loggers: Arc<[FilterSlot]>,
    /// `access_log[].filter` by the index of the entry; empty where none has one.
    pub log_filters: Box<[Option<LogFilter>]>,
    /// `flush_access_log_on_connected`.
    pub logs_connected: bool,
    /// `access_log_flush_interval`.
    pub log_every: Option<Duration>,
    /// `upstream_connect_mode`: where nobody connects before the client has sent something, how much of that is
    /// read at most (`max_early_data_bytes`), in bytes and at least 1.
    pub early_bytes: Option<usize>,
    /// `tunneling_config`: the bytes travel in an HTTP stream.
    pub tunnel: Option<Box<Tunneling>>,
    /// Statistics under `tcp.<stat_prefix>.`.
    pub stats: Arc<Sharded<TcpStats>>,
}

/// How the bytes of a TCP proxy travel in an HTTP stream (`TunnelingConfig`).
pub struct Tunneling {
    /// `hostname`: for whom the request is.
    pub host: Format,
    /// `post_path` with `use_post`: the request is a `POST` to that path. It is a `CONNECT` otherwise.
    pub post_path: Option<Box<[u8]>>,
    /// `headers_to_add`.
    pub changes: RequestChanges,
    /// `propagate_response_headers`: whether logs may show the response's head.
    pub keeps_head: bool,
    /// `propagate_response_trailers`: the same of its trailers.
    pub keeps_trailers: bool,
}

/// The clusters of a TCP proxy with their weights: never empty.
pub struct TcpTargets {
    /// Sum of the weights; at least 1.
    total: u64,
    /// All but the last, each with its own weight.
    entries: Box<[(u32, TcpTarget)]>,
    last: TcpTarget,
}

/// Where a TCP proxy leads.
pub struct TcpTarget {
    /// The cluster.
    pub cluster: ClusterRef,
    /// `metadata_match`: an index into the snapshot's list of criteria.
    pub criteria: Option<usize>,
}

impl ConnectionManager {
    /// What is said about `kind`, whose case does not count.
    #[must_use]
    pub fn upgrade(&self, kind: &[u8]) -> Option<&Upgrade> {
        let mut upgrades = self.upgrades.iter();
        upgrades.find(|upgrade| upgrade.kind.eq_ignore_ascii_case(kind))
    }
}

impl TcpTargets {
    /// The clusters with their weights; none where there is not one.
    #[must_use]
    pub fn new(mut weighted: Vec<(u32, TcpTarget)>) -> Option<Self> {
        let total = weighted.iter().map(|(weight, _)| u64::from(*weight)).sum();
        let (_, last) = weighted.pop()?;
        Some(Self {
            total: u64::max(total, 1),
            entries: weighted.into(),
            last,
        })
    }

    /// The one that `random` falls on.
    #[must_use]
    pub fn choose(&self, random: u64) -> &TcpTarget {
        let mut left = random % self.total;
        for (weight, target) in &self.entries {
            let weight = u64::from(*weight);
            if left < weight {
                return target;
            }
            left -= weight;
        }
        &self.last
    }
}

/// Access logs with an entry for each attempt at an upstream; none by default.
#[derive(Default)]
pub struct UpstreamLogs {
    /// Each a filter that wants only the log phase.
    pub loggers: Arc<[FilterSlot]>,
    /// The filter of each; empty where none has one.
    pub filters: Box<[Option<LogFilter>]>,
    /// `flush_upstream_log_on_upstream_stream`: whether there is one as soon as there is a connection, too.
    pub when_ready: bool,
}

/// A listener as HTTP sees it.
pub struct HttpListener {
    /// `per_connection_buffer_limit_bytes`.
    pub buffer_limit: usize,
    /// Statistics under `listener.<address>.http.<stat_prefix>.`.
    pub http_stats: Arc<Sharded<ListenerHttpStats>>,
    /// How its requests are served.
    pub manager: Arc<ConnectionManager>,
    /// Whether its clients are sent away.
    pub draining: Draining,
    /// `drain_type: MODIFY_ONLY`: whether they stay while the proxy is told to fail.
    pub stays_when_failing: bool,
}

impl HttpListener {
    /// Whether its clients are sent away because the proxy is told to fail.
    pub(crate) fn is_failing(&self, vitals: &Vitals) -> bool {
        vitals.is_told_to_fail() && !self.stays_when_failing
    }

    /// How many bytes of a request's body are kept to be sent again where its route does not say that.
    pub(crate) fn kept_limit(&self, is_http2: bool) -> usize {
        let window = self.manager.http2.kept.filter(|_| is_http2);
        window.map_or(self.buffer_limit, |window| window as usize)
    }
}

/// `codec_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// HTTP/2 when the connection begins with its preface, else HTTP/1.
    Auto,
    /// HTTP/1 alone.
    Http1,
    /// HTTP/2 alone, prior knowledge.
    Http2,
}

/// `server_header_transformation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerHeader {
    /// The upstream's is replaced.
    Overwrite,
    /// The upstream's stays.
    AppendIfAbsent,
    /// Nothing is added.
    PassThrough,
}

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// Any address in the range.
    pub address: IpAddr,
    /// How many leading bits count.
    pub prefix: u8,
}

impl Cidr {
    /// Whether `ip` lies in the range. An IPv4-mapped IPv6 address counts as IPv4.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let differing = match (self.address.to_canonical(), ip.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            _ => return false,
        };
        differing >= u32::from(self.prefix)
    }
}

/// `http2_protocol_options` of the downstream side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http2Settings {
    /// `max_concurrent_streams`: 1024.
    pub max_concurrent_streams: u32,
    /// `initial_stream_window_size`: 16 MiB.
    pub stream_window: u32,
    /// How much of a request's body is kept to be sent again in place of the listener's buffer limit, where the
    /// route says nothing: `initial_stream_window_size` where it is written.
    pub kept: Option<u32>,
    /// `initial_connection_window_size`: 24 MiB.
    pub connection_window: u32,
    /// `hpack_table_size`: 4096.
    pub header_table: u32,
    /// `max_consecutive_inbound_frames_with_empty_payload` and its kin.
    pub frames: FrameLimits,
    /// `max_outbound_frames`: 10 000 frames of content.
    pub waiting_frames: u32,
    /// `connection_keepalive`.
    pub keepalive: Option<Keepalive>,
    /// `custom_settings_parameters`.
    pub custom: CustomSettings,
    /// `allow_connect`: whether extended CONNECT is offered.
    pub allow_connect: bool,
}

/// A protocol that clients may change to (`UpgradeConfig`).
pub struct Upgrade {
    /// `upgrade_type`: what `upgrade` says, or `CONNECT`.
    pub kind: Box<[u8]>,
    /// `enabled`: whether it is allowed where the route does not say.
    pub enabled: bool,
    /// `filters`, in place of those of the connection manager, and where their configurations for a
    /// route begin; none where they stay.
    pub filters: Option<(usize, Arc<[FilterSlot]>)>,
}

/// When access logs have entries before the end of a stream (`HcmAccessLogOptions`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EarlyLogs {
    /// `flush_access_log_on_new_request`.
    pub at_start: bool,
    /// `flush_log_on_tunnel_successfully_established`.
    pub at_tunnel: bool,
    /// `access_log_flush_interval`.
    pub interval: Option<Duration>,
}

/// The HTTP connection manager (`HttpConnectionManager`).
pub struct ConnectionManager {
    /// `codec_type`.
    pub codec: Codec,
    /// `server_name`.
    pub server_name: Vec<u8>,
    /// `server_header_transformation`.
    pub server_header: ServerHeader,
    /// `via`.
    pub via: Option<Vec<u8>>,
    /// What is done to the heads of requests.
    pub hygiene: HygieneRules,
    /// `stream_flush_timeout`: none where `stream_idle_timeout` goes on; inside, no limit where it is
    /// `None`.
    pub stream_flush_timeout: Option<Option<Duration>>,
    /// `add_proxy_protocol_connection_state`: whether endpoints may be told where clients are.
    pub shows_client: bool,
    /// `proxy_100_continue`: whether interim responses are passed on, and `expect` with them.
    pub passes_interim: bool,
    /// `always_set_request_id_in_response`.
    pub always_set_request_id_in_response: bool,
    /// `common_http_protocol_options.idle_timeout`; none where it is 0.
    pub idle_timeout: Option<Duration>,
    /// `common_http_protocol_options.max_requests_per_connection`.
    pub max_requests_per_connection: Option<u32>,
    /// `common_http_protocol_options.max_connection_duration`; none where it is 0.
    pub max_connection_duration: Option<Duration>,
    /// `http1_safe_max_connection_duration`: an idle HTTP/1 connection outlives it, until a response
    /// can say that it ends.
    pub http1_safe_max_connection_duration: bool,
    /// `stream_idle_timeout`; none where it is 0.
    pub stream_idle_timeout: Option<Duration>,
    /// `request_timeout`; none where it is 0.
    pub request_timeout: Option<Duration>,
    /// `request_headers_timeout`; none where it is 0.
    pub request_headers_timeout: Option<Duration>,
    /// `common_http_protocol_options.max_stream_duration`; none where it is 0.
    pub max_stream_duration: Option<Duration>,
    /// `drain_timeout`.
    pub drain_timeout: Duration,
    /// `delayed_close_timeout`; none where it is 0.
    pub delayed_close_timeout: Option<Duration>,
    /// `max_request_headers_kb` and `max_headers_count`.
    pub rules: RequestRules,
    /// `suppress_envoy_headers` of the router.
    pub envoy_headers: EnvoyHeaders,
    /// `respect_expected_rq_timeout` of the router: what a proxy before this one says about the time counts.
    pub respects_expected_timeout: bool,
    /// `strict_check_headers` of the router: requests whose fields say nonsense are refused.
    pub strict_headers: Box<[Known]>,
    /// `scheme_header_transformation.match_upstream`: requests go with the scheme of their connection.
    pub scheme_of_upstream: bool,
    /// `http_protocol_options.enable_trailers`.
    pub http1_trailers: bool,
    /// `stream_error_on_invalid_http_message`: a 400 does not end an HTTP/1 connection.
    pub http1_stream_errors: bool,
    /// `http2_protocol_options`.
    pub http2: Http2Settings,
    /// `route_config`.
    pub routes: Seat,
    /// `http_filters`, in the order of the file.
    pub filters: Arc<[FilterSlot]>,
    /// Which configuration each filter has for a request without a route.
    pub variants: Variants,
    /// `access_log`, each entry a filter that wants only the log phase.
    pub loggers: Arc<[FilterSlot]>,
    /// `access_log[].filter` by the index of the entry; empty where none has one.
    pub log_filters: Box<[Option<LogFilter>]>,
    /// `Router.upstream_log`.
    pub upstream_logs: UpstreamLogs,
    /// `access_log_options`: entries before the end of a stream.
    pub early_logs: EarlyLogs,
    /// `proxy_status_config`.
    pub proxy_status: Option<ProxyStatus>,
    /// `local_reply_config`.
    pub local_replies: Option<LocalReplies>,
    /// `upgrade_configs`.
    pub upgrades: Box<[Upgrade]>,
    /// Whether the log has said that a filter changes how long bodies are.
    pub told_changed_length: AtomicBool,
    /// `stat_prefix`.
    pub stat_prefix: String,
    /// Statistics under `http.<stat_prefix>.`.
    pub stats: Arc<Sharded<HttpStats>>,
    /// What all connection managers count together.
    pub codecs: Arc<Sharded<CodecStats>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_chosen_in_proportion() {
        let target = |name: &str| TcpTarget {
            cluster: ClusterRef {
                name: name.into(),
                index: None,
            },
            criteria: None,
        };
        let targets = TcpTargets::new(vec![(1, target("a")), (3, target("b")), (2, target("c"))]);
        let targets = targets.unwrap();
        let chosen: String = (0..6).map(|n| &*targets.choose(n).cluster.name).collect();
        assert_eq!(chosen, "abbbcc");
        assert!(TcpTargets::new(Vec::new()).is_none());
    }

    #[test]
    fn ranges_compare_leading_bits() {
        let ten = Cidr {
            address: "10.0.0.0".parse().unwrap(),
            prefix: 8,
        };
        assert!(ten.contains("10.255.0.1".parse().unwrap()));
        assert!(ten.contains("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!ten.contains("11.0.0.1".parse().unwrap()));
        let all = Cidr {
            address: "0.0.0.0".parse().unwrap(),
            prefix: 0,
        };
        assert!(all.contains("203.0.113.9".parse().unwrap()));
        assert!(!all.contains("2001:db8::1".parse().unwrap()));
    }
}
