//! What counts for a request of all that is said about trying again, copies and hashes.
//!
//! Owns which of several says it: the cluster before the route, and the request's own word where it may
//! have one. Called by [`super::forward`] when a request has its cluster. Does not own the policies
//! (`route`).

use std::sync::Arc;

use super::stream::Surroundings;
use crate::exchange::Exchange;
use crate::headers::{Headers, Known};
use crate::route::{
    Action, ClusterPolicies, Forward, Mirror, NewCookies, Retries, RetryPolicy, Route,
};
use crate::upstream::Cluster;

/// What a route and a cluster say about a request.
pub(super) struct Policies<'a> {
    route: Option<&'a Route>,
    own: Option<&'a ClusterPolicies>,
}

impl<'a> Policies<'a> {
    /// `own` are those of the cluster.
    pub(super) const fn new(route: Option<&'a Route>, own: Option<&'a ClusterPolicies>) -> Self {
        Self { route, own }
    }

    /// What consistent balancing places the request by, where its cluster wants to know. A cookie that is
    /// made is put into `cookies`.
    pub(super) fn hash(
        &self,
        cluster: &Cluster,
        exchange: &Exchange,
        cookies: &mut NewCookies,
    ) -> Option<u64> {
        if !cluster.wants_hash() {
            return None;
        }
        match self.own.and_then(|own| own.hash(exchange, cookies)) {
            Some(hash) => hash,
            None => self.route?.hash(exchange, cookies),
        }
    }

    /// When it is sent again.
    pub(super) fn retry(&self) -> Option<&'a Arc<RetryPolicy>> {
        let own = self.own.and_then(|own| own.retry.as_ref());
        own.or_else(|| self.forward()?.tries.retry.as_ref())
    }

    /// Who gets copies of it.
    pub(super) fn mirrors(&self) -> &'a [Mirror] {
        let own = self.own.and_then(|own| own.mirrors.as_deref());
        let of_route = || self.forward().map(|forward| &*forward.tries.mirrors);
        own.or_else(of_route).unwrap_or_default()
    }

    fn forward(&self) -> Option<&'a Forward> {
        match &self.route?.action {
            Action::Forward(forward) => Some(forward),
            Action::Redirect(_) | Action::Direct(_) => None,
        }
    }
}

/// The retries that `policy` and the head of a request ask for, as far as runtime values let them.
pub(super) fn retries(
    around: Surroundings<'_>,
    policy: Option<&Arc<RetryPolicy>>,
    request: &Headers,
) -> Option<Retries> {
    let mut retries = Retries::of(policy, request)?;
    let random = around.worker.random();
    around.snapshot.retries.steer(&mut retries, random);
    Some(retries)
}

/// Whether a try that takes too long goes on beside the next: the request's own word counts.
pub(super) fn hedges(request: &Headers, forward: Option<&Forward>) -> bool {
    match request.known(Known::XEnvoyHedgeOnPerTryTimeout) {
        Some(b"true") => true,
        Some(b"false") => false,
        _ => forward.is_some_and(|forward| forward.tries.hedges),
    }
}
