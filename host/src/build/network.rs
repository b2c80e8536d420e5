//! Network filters other than the HTTP connection manager.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Workshop;
use super::listeners::or_off;
use crate::bucket::TokenBucket;
use crate::clock;
use crate::config::Place;
use crate::config::filter::TokenBucket as WrittenBucket;
use crate::config::network::{
    ConnectionLimit, DirectResponse, NetworkRateLimit, TcpClusterSpecifier, TcpProxy as Written,
    TcpWeightedCluster,
};
use crate::config::scalar::Duration as WrittenDuration;
use crate::nearest::nearest;
use crate::observe::metrics::{ConnectionLimitStats, NetworkRateLimitStats};
use crate::observe::registry::Scope;
use crate::route::ClusterRef;
use crate::runtime::{TcpProxy, TcpTargets};
use crate::tcp::gate::{self, Gate};

/// The shortest interval at which Envoy fills a token bucket.
const FILL_INTERVAL_LEAST: Duration = Duration::from_millis(50);

impl Workshop<'_> {
    /// The TCP proxy, for a listener with that buffer limit.
    pub(super) fn tcp_proxy(
        &mut self,
        written: &Written,
        buffer_limit: usize,
        place: Place<'_>,
    ) -> Option<TcpProxy> {
        let targets = match &written.clusters {
            TcpClusterSpecifier::Cluster(name) => {
                let target = self.tcp_target(name, place.field("cluster"));
                TcpTargets::new(vec![(1, target)])?
            }
            TcpClusterSpecifier::WeightedClusters(weighted) => {
                self.tcp_targets(weighted, place.field("weighted_clusters"))?
            }
        };
        Some(TcpProxy {
            targets,
            idle_timeout: or_off(written.idle_timeout, Duration::from_hours(1)),
            max_connect_attempts: written.max_connect_attempts.unwrap_or(1),
            hashes_source: !written.hash_policy.is_empty(),
            max_duration: written
                .max_downstream_connection_duration
                .map(WrittenDuration::get),
            buffer_limit,
            loggers: self.access_logs(&written.access_log, place.field("access_log")),
            log_filters: self.log_filters(&written.access_log, place.field("access_log")),
            stats: self.registry.sharded(Scope::tcp(&written.stat_prefix)),
        })
    }

    fn tcp_targets(
        &mut self,
        written: &TcpWeightedCluster,
        place: Place<'_>,
    ) -> Option<TcpTargets> {
        let place = place.field("clusters");
        let weighted = written.clusters.iter().enumerate();
        let targets = weighted
            .map(|(index, cluster)| {
                let target = self.tcp_target(&cluster.name, place.index(index).field("name"));
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
        let limit = Arc::new(gate::ConnectionLimit::new(max, delay, Arc::clone(&stats)));
        Gate::Connections(limit)
    }

    /// A rate limit of connections.
    pub(super) fn network_rate_limit(
        &mut self,
        written: &NetworkRateLimit,
        place: Place<'_>,
    ) -> Option<Gate> {
        let scope = Scope::network_rate_limit(&written.stat_prefix);
        self.connection_rate(&written.token_bucket, scope, place)
            .map(Gate::Rate)
    }

    /// A limit on connections in a time, counted in that scope.
    pub(super) fn connection_rate(
        &mut self,
        bucket: &WrittenBucket,
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
        Some(gate::RateLimit::new(bucket, stats))
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
