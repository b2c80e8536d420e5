//! Network filters other than the HTTP connection manager.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::listeners::or_off;
use super::{Workshop, chain};
use crate::bucket::TokenBucket;
use crate::clock;
use crate::config::Place;
use crate::config::filter::TokenBucket as WrittenBucket;
use crate::config::network::{
    ConnectionLimit, DirectResponse, NetworkRateLimit, TcpClusterSpecifier, TcpProxy as Written,
    TcpWeightedCluster, TunnelingConfig, UpstreamConnectMode,
};
use crate::config::scalar::{Duration as WrittenDuration, RuntimeFeatureFlag};
use crate::limits;
use crate::nearest::nearest;
use crate::observe::format::Format;
use crate::observe::metrics::{ConnectionLimitStats, NetworkRateLimitStats};
use crate::observe::registry::Scope;
use crate::route::spec::MutationSpec;
use crate::route::{ClusterRef, RequestChanges};
use crate::runtime::{TcpProxy, TcpTarget, TcpTargets, Tunneling};
use crate::tcp::gate::{self, Gate};
use crate::values::Flag;

/// The longest wait between attempts to connect, in first ones, as in Envoy.
const BACKOFF_MAX: u32 = 10;
/// The shortest interval at which Envoy fills a token bucket.
const FILL_INTERVAL_LEAST: Duration = Duration::from_millis(50);

/// How much is read of what a client sends before there is an endpoint, where that is waited for.
fn early_bytes(written: &Written, buffer_limit: usize) -> Option<usize> {
    let waits = written.upstream_connect_mode == UpstreamConnectMode::OnDownstreamData;
    let most = bounded(written.max_early_data_bytes?, buffer_limit);
    waits.then_some(most)
}

/// As much as is read in fact. One byte at least: there is no other way to know that there is something.
fn bounded(early_bytes: u32, buffer_limit: usize) -> usize {
    let most = (early_bytes as usize).min(buffer_limit);
    most.clamp(1, limits::TCP_EARLY_BYTES)
}

impl Workshop<'_> {
    /// The TCP proxy, for a listener with that buffer limit.
    pub(super) fn tcp_proxy(
        &mut self,
        written: &Written,
        buffer_limit: usize,
        place: Place<'_>,
    ) -> Option<TcpProxy> {
        let criteria = self.criteria(written.metadata_match.as_ref(), None);
        let targets = match &written.clusters {
            TcpClusterSpecifier::Cluster(name) => {
                let cluster = self.tcp_target(name, place.field("cluster"));
                TcpTargets::new(vec![(1, TcpTarget { cluster, criteria })])?
            }
            TcpClusterSpecifier::WeightedClusters(weighted) => {
                self.tcp_targets(weighted, criteria, place.field("weighted_clusters"))?
            }
        };
        self.check_tcp(written, place);
        let jitter = written.max_downstream_connection_duration_jitter_percentage;
        let logs = written.access_log_options.unwrap_or_default();
        let log_every = logs.access_log_flush_interval;
        let log_every = log_every.or(written.access_log_flush_interval);
        Some(TcpProxy {
            targets,
            idle_timeout: or_off(written.idle_timeout, Duration::from_hours(1)),
            max_connect_attempts: written.max_connect_attempts.unwrap_or(1),
            backoff: self.tcp_backoff(written, place.field("backoff_options"))?,
            hashes_source: !written.hash_policy.is_empty(),
            max_duration: written
                .max_downstream_connection_duration
                .map(WrittenDuration::get),
            duration_jitter: jitter.map_or(0.0, |percent| percent.value / 100.0),
            buffer_limit,
            loggers: self.access_logs(&written.access_log, place.field("access_log")),
            log_filters: self.log_filters(&written.access_log, place.field("access_log")),
            logs_connected: logs.flush_access_log_on_connected
                || written.flush_access_log_on_connected,
            log_every: log_every.and_then(WrittenDuration::non_zero),
            early_bytes: early_bytes(written, buffer_limit),
            tunnel: match &written.tunneling_config {
                Some(tunnel) => Some(Box::new(
                    self.tunneling(tunnel, place.field("tunneling_config"))?,
                )),
                None => None,
            },
            stats: self.registry.sharded(Scope::tcp(&written.stat_prefix)),
        })
    }

    /// What Envoy takes and does nothing about, and what it does not take.
    fn check_tcp(&mut self, written: &Written, place: Place<'_>) {
        for (field, is_set) in [
            (
                "downstream_idle_timeout",
                written.downstream_idle_timeout.is_some(),
            ),
            (
                "upstream_idle_timeout",
                written.upstream_idle_timeout.is_some(),
            ),
        ] {
            if is_set {
                let message = "no effect: Envoy takes it and ends nothing, and so does nuncio";
                self.diagnostics
                    .warning(place.field(field), message)
                    .hint("write 'idle_timeout'");
            }
        }
        if written.upstream_connect_mode == UpstreamConnectMode::OnDownstreamData
            && written.max_early_data_bytes.is_none()
        {
            let message = "'ON_DOWNSTREAM_DATA' needs 'max_early_data_bytes'";
            self.diagnostics
                .error(place.field("upstream_connect_mode"), message);
        }
        if written.upstream_connect_mode != UpstreamConnectMode::OnDownstreamData
            && written.max_early_data_bytes.is_some()
        {
            let message = "no effect without 'ON_DOWNSTREAM_DATA': before there is an endpoint, nuncio \
                           leaves what the client sends where it is";
            self.diagnostics
                .warning(place.field("max_early_data_bytes"), message);
        }
    }

    /// How bytes travel in an HTTP stream.
    fn tunneling(&mut self, written: &TunnelingConfig, place: Place<'_>) -> Option<Tunneling> {
        self.warn_without_value(
            &written.hostname,
            "'-' is in its place",
            place.field("hostname"),
        );
        let host = match Format::text(&written.hostname, false) {
            Ok(host) => Some(host),
            Err(error) => {
                self.diagnostics
                    .error(place.field("hostname"), chain(&error));
                None
            }
        };
        if !written.use_post && !written.post_path.is_empty() {
            let message = "'post_path' needs 'use_post'";
            self.diagnostics.error(place.field("post_path"), message);
        }
        let mut changes = RequestChanges::default();
        let here = place.field("headers_to_add");
        let spec = MutationSpec {
            add: self.adds(&written.headers_to_add, here),
            remove: Vec::new(),
        };
        let built = changes.push(&spec);
        self.of_routes(built, here)?;
        let path = match written.post_path.as_str() {
            "" => "/",
            path => path,
        };
        Some(Tunneling {
            host: host?,
            post_path: written.use_post.then(|| path.as_bytes().into()),
            changes,
            keeps_head: written.propagate_response_headers,
            keeps_trailers: written.propagate_response_trailers,
        })
    }

    /// The first and the longest wait between attempts to connect; `None` where they are wrong.
    #[expect(
        clippy::option_option,
        reason = "no waits are fine, wrong ones are not"
    )]
    fn tcp_backoff(
        &mut self,
        written: &Written,
        place: Place<'_>,
    ) -> Option<Option<(Duration, Duration)>> {
        let Some(options) = &written.backoff_options else {
            return Some(None);
        };
        let base = options.base_interval.get();
        let longest = options.max_interval.map(WrittenDuration::get);
        let longest = longest.unwrap_or_else(|| base.saturating_mul(BACKOFF_MAX));
        if longest < base {
            let message = "shorter than 'base_interval'";
            self.diagnostics.error(place.field("max_interval"), message);
            return None;
        }
        Some(Some((base, longest)))
    }

    fn tcp_targets(
        &mut self,
        written: &TcpWeightedCluster,
        criteria: Option<usize>,
        place: Place<'_>,
    ) -> Option<TcpTargets> {
        let place = place.field("clusters");
        let weighted = written.clusters.iter().enumerate();
        let targets = weighted
            .map(|(index, cluster)| {
                let target = TcpTarget {
                    cluster: self.tcp_target(&cluster.name, place.index(index).field("name")),
                    criteria: self.criteria(cluster.metadata_match.as_ref(), criteria),
                };
                (cluster.weight, target)
            })
            .collect();
        TcpTargets::new(targets)
    }

    /// A cluster by name. As in Envoy one that does not exist is no error here: the connection is
    /// closed when it comes.
    fn tcp_target(&mut self, name: &str, place: Place<'_>) -> ClusterRef {
        let index = self.clusters.get(name).copied();
        if index.is_none() {
            let message = format!("unknown cluster \"{name}\": connections are closed at once");
            let near = nearest(name, self.clusters.keys().map(String::as_str));
            let shown = self.diagnostics.warning(place, message);
            if let Some(near) = near {
                shown.hint(format!("did you mean \"{near}\"?"));
            }
        }
        ClusterRef {
            name: Arc::from(name),
            index,
        }
    }

    /// A limit on connections.
    pub(super) fn connection_limit(&self, written: &ConnectionLimit) -> Gate {
        let stats = Arc::new(ConnectionLimitStats::default());
        let scope = Scope::connection_limit(&written.stat_prefix);
        self.registry.register(scope, &stats);
        let max = written.max_connections.unwrap_or(u64::MAX);
        let delay = written.delay.and_then(WrittenDuration::non_zero);
        let enabled = self.flag(written.runtime_enabled.as_ref());
        let limit = gate::ConnectionLimit::new((max, delay), enabled, Arc::clone(&stats));
        Gate::Connections(Arc::new(limit))
    }

    /// A switch that is on where nothing is written.
    fn flag(&self, written: Option<&RuntimeFeatureFlag>) -> Flag {
        written.map_or_else(
            || Flag::fixed(true),
            |flag| Flag::new(flag.default_value, &self.values, &flag.runtime_key),
        )
    }

    /// A rate limit of connections.
    pub(super) fn network_rate_limit(
        &mut self,
        written: &NetworkRateLimit,
        place: Place<'_>,
    ) -> Option<Gate> {
        let scope = Scope::network_rate_limit(&written.stat_prefix);
        let enabled = written.runtime_enabled.as_ref();
        self.connection_rate((&written.token_bucket, enabled), scope, place)
            .map(Gate::Rate)
    }

    /// A limit on connections in a time, counted in that scope.
    pub(super) fn connection_rate(
        &mut self,
        (bucket, enabled): (&WrittenBucket, Option<&RuntimeFeatureFlag>),
        scope: Scope,
        place: Place<'_>,
    ) -> Option<gate::RateLimit> {
        let interval = bucket.fill_interval.get();
        // Envoy's least interval, so that the same files are refused.
        if interval < FILL_INTERVAL_LEAST {
            let here = place.field("token_bucket").field("fill_interval");
            let message = "a token bucket is filled every 50 ms at most";
            self.diagnostics.error(here, message);
            return None;
        }
        let stats = Arc::new(NetworkRateLimitStats::default());
        self.registry.register(scope, &stats);
        let tokens = bucket.tokens_per_fill.unwrap_or(1);
        let bucket = TokenBucket::new(bucket.max_tokens, tokens, interval, clock::now());
        Some(gate::RateLimit::new(bucket, self.flag(enabled), stats))
    }

    /// The bytes of a fixed answer.
    pub(super) fn tcp_response(
        &mut self,
        written: &DirectResponse,
        place: Place<'_>,
    ) -> Option<Bytes> {
        match &written.response {
            Some(source) => self.data(source, place.field("response")),
            None => Some(Bytes::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_may_send_early_has_a_bound_whatever_is_written() {
        const MIB: usize = 1024 * 1024;
        for (written, buffer_limit, expected) in [
            (0, MIB, 1),
            (100, MIB, 100),
            (16 * 1024, MIB, 16 * 1024),
            (u32::MAX, MIB, 16 * 1024),
            (100, 10, 10),
            (100, 0, 1),
        ] {
            assert_eq!(
                bounded(written, buffer_limit),
                expected,
                "{written} of {buffer_limit}"
            );
        }
    }
}
