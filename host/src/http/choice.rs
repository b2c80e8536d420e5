//! The choice of a stream's route, and what hangs on it.
//!
//! Owns matching the route, choosing on it, and noting what filters and logs may know about both;
//! how long the stream may last then; and which configurations its filters have. Called when a head
//! is admitted, when a filter has changed what a route is matched on, and for a redirect that is
//! followed. Does not own how a route is found (`route`).

use std::sync::Arc;
use std::time::Duration;

use super::stream::Surroundings;
use crate::exchange::{Exchange, RouteKind};
use crate::headers::Known;
use crate::route::{Action, Facts, Pick, Route};
use crate::variant::Variants;

/// How long a stream on that route may last, from its first byte on.
pub(super) fn duration(
    around: Surroundings<'_>,
    route: Option<&Route>,
    exchange: &mut Exchange,
) -> Option<Duration> {
    let most = around.manager.max_stream_duration;
    match route.map(|route| &route.action) {
        Some(Action::Forward(forward)) => {
            forward.times.stream_duration(&mut exchange.request, most)
        }
        Some(Action::Redirect(_) | Action::Direct(_)) | None => most,
    }
}

/// Which configuration each filter of the chain has for that route.
pub(super) fn variants<'a>(
    around: Surroundings<'a>,
    route: Option<&'a Route>,
    pick: Pick,
) -> &'a Variants {
    match route {
        Some(route) => route.variants(pick),
        None => &around.manager.variants,
    }
}

/// Matches the route, chooses on it, and notes what filters and logs may know about it.
pub(super) fn match_route<'a>(
    around: Surroundings<'a>,
    random: u64,
    exchange: &mut Exchange,
) -> (Option<&'a Route>, Pick) {
    let snapshot = around.snapshot;
    // As in Envoy there is no route for who does not say what the client speaks.
    let spoken = exchange.request.known(Known::XForwardedProto);
    let found = match spoken {
        Some([_, ..]) => around.routes.find(&Facts::of(exchange, random)),
        Some([]) | None => None,
    };
    let picked = found.and_then(|route| {
        let by_name = |name: &[u8]| snapshot.cluster_index(str::from_utf8(name).ok()?);
        Some((route, route.pick(exchange, random, &by_name)?))
    });
    let route = picked.map(|(route, _)| &**route);
    let pick = picked.map(|(_, pick)| pick).unwrap_or_default();
    exchange.route_kind = route.map(|route| match route.action {
        Action::Forward(_) => RouteKind::Forward,
        Action::Redirect(_) => RouteKind::Redirect,
        Action::Direct(_) => RouteKind::DirectResponse,
    });
    exchange.route_name = route.and_then(|route| route.name.clone());
    let cluster = pick.cluster.and_then(|index| snapshot.clusters.get(index));
    exchange.upstream.cluster = cluster.map(|cluster| Arc::clone(&cluster.name));
    exchange.upstream.cluster_metadata =
        cluster.and_then(|cluster| cluster.spec().metadata.clone());
    exchange.upstream.cluster_alias = cluster.and_then(|c| c.spec().alt_stat_name.clone());
    exchange.virtual_host = route.map(|route| Arc::clone(&route.virtual_host));
    exchange.route_metadata = route.and_then(|route| route.metadata.clone());
    exchange.virtual_host_metadata = match route {
        Some(route) => route.virtual_host_metadata.clone(),
        None => around.routes.host_metadata(&exchange.request).cloned(),
    };
    (route, pick)
}
