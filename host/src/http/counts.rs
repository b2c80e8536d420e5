//! What is counted of a cluster's responses, and of those that are made in their place.
//!
//! Owns which statistics a response is in: by who asked, by whether the upstream says that it is a version
//! that is being tried, and in the group of the virtual host. Called where a response's head is there, or
//! will not come. Does not own the statistics (`observe::metrics`).

use crate::exchange::Exchange;
use crate::headers::Known;
use crate::observe::metrics::VirtualClusterStats;
use crate::upstream::ClusterStats;

/// Counts a response of the cluster, or one made in its place: `internal.` or `external.` by who
/// asked, `canary.` where the upstream says that it is one, and in the group of the virtual host.
pub(super) fn count_response(
    stats: &ClusterStats,
    group: Option<&VirtualClusterStats>,
    exchange: &Exchange,
    status: u16,
) {
    count_failure(stats, group, exchange, status);
    if exchange.is_health_check {
        return;
    }
    if is_canary(exchange) {
        stats.canary_upstream_rq_completed.inc();
        stats.canary_upstream_rq_by_code.record(status);
    }
}

/// Counts a response that was made in the place of one, whose head is not there.
pub(super) fn count_failure(
    stats: &ClusterStats,
    group: Option<&VirtualClusterStats>,
    exchange: &Exchange,
    status: u16,
) {
    if exchange.is_health_check {
        return;
    }
    stats.upstream_rq_completed.inc();
    stats.upstream_rq_by_code.record(status);
    if exchange.request.has(Known::XEnvoyInternal) {
        stats.internal_upstream_rq_completed.inc();
        stats.internal_upstream_rq_by_code.record(status);
    } else {
        stats.external_upstream_rq_completed.inc();
        stats.external_upstream_rq_by_code.record(status);
    }
    if let Some(group) = group {
        group.upstream_rq_completed.inc();
        group.upstream_rq_by_code.record(status);
    }
}

/// Counts how long the upstream took, in ms.
pub(super) fn count_time(
    stats: &ClusterStats,
    group: Option<&VirtualClusterStats>,
    exchange: &Exchange,
    took: u64,
) {
    if exchange.is_health_check {
        return;
    }
    stats.upstream_rq_time.record(took);
    if exchange.request.has(Known::XEnvoyInternal) {
        stats.internal_upstream_rq_time.record(took);
    } else {
        stats.external_upstream_rq_time.record(took);
    }
    if is_canary(exchange) {
        stats.canary_upstream_rq_time.record(took);
    }
    if let Some(group) = group {
        group.upstream_rq_time.record(took);
    }
}

/// Whether the response comes from a version that is being tried.
fn is_canary(exchange: &Exchange) -> bool {
    exchange.response.known(Known::XEnvoyUpstreamCanary) == Some(b"true")
}
