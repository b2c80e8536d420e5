//! Requests that their cluster turns away, whatever its endpoints are.
//!
//! Owns the choice of them: for maintenance, and for overload. Called by [`super::forward`], which counts
//! them. Does not own the replies ([`super::error`]).

use super::error::Kind;
use super::stream::Surroundings;
use crate::route::EnvoyHeaders;
use crate::upstream::Cluster;

/// Why the next request of the cluster at `index` is turned away, if it is.
pub(super) fn of_cluster(
    around: Surroundings<'_>,
    index: usize,
    cluster: &Cluster,
) -> Option<Kind> {
    let worker = around.worker;
    let maintenance = around.snapshot.maintenance(index);
    if maintenance > 0 && worker.random() % 100 < maintenance {
        let stats = cluster.stats(worker.index);
        stats.upstream_rq_maintenance_mode.inc();
        return Some(Kind::Maintenance);
    }
    let share = cluster.drop_overload()?;
    let all = share.is_all();
    (all || share.holds(worker.random())).then(|| Kind::Dropped {
        all,
        told: around.manager.envoy_headers == EnvoyHeaders::Add,
    })
}
