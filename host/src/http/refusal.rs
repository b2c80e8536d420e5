//! Requests that are turned away before an upstream is asked: by their head, or by their cluster,
//! whatever its endpoints are.
//!
//! Owns the choice of the latter: for maintenance, and for overload. Called by [`super::stream`] and by
//! [`super::forward`], which counts. Does not own the replies ([`super::error`]).

use super::error::Kind;
use super::hygiene::Refusal;
use super::stream::{Incoming, Surroundings};
use crate::h1::MethodKind;
use crate::h1::head::Reject;
use crate::headers::{Headers, Known};
use crate::route::EnvoyHeaders;
use crate::upstream::Cluster;

/// What becomes of a request whose head is refused. Where its client may be sending something else
/// than HTTP behind it, the connection is not kept.
pub(super) fn of_head(refusal: Refusal, request: &mut Headers, incoming: &mut Incoming) -> Kind {
    match refusal {
        Refusal::ConnectionHeader => Kind::ConnectionHeader,
        Refusal::UdpPath { upgrades } => {
            let opens = upgrades || incoming.method == MethodKind::Connect;
            incoming.keep_alive &= !opens;
            Kind::UdpPath
        }
        Refusal::MissingHost => {
            request.remove_known(Known::Authority);
            Kind::Rejected(Reject::MissingHost)
        }
    }
}

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
