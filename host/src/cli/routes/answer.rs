//! What a table answers to a request.
//!
//! Owns running a request through a table, as the connection manager and the router would, without
//! filters. Does not own how the answer is shown.

use super::Routing;
use super::request::{Asked, lossy};
use crate::config::route::{ClusterSpecifier, Route as WrittenRoute, RouteActionKind, VirtualHost};
use crate::exchange::Exchange;
use crate::headers::{Headers, Known};
use crate::route::{
    Action, ClusterName, EnvoyHeaders, Facts, Mismatch, Route, Scratch, domain_for,
};

/// The answer.
pub(super) struct Answer<'r> {
    /// The virtual host, its position and the domain that it was chosen by.
    pub(super) host: Option<Host<'r>>,
    /// Whether the request is sent to `https` because of `require_tls`.
    pub(super) wants_tls: bool,
    /// The routes before the one that is taken, as they were written, and what the request does not
    /// meet.
    /// The position of the first route that was looked at.
    pub(super) first: usize,
    pub(super) passed: Vec<(Option<&'r WrittenRoute>, Mismatch)>,
    /// The route that is taken: its position and how it was written.
    pub(super) route: Option<(usize, Option<&'r WrittenRoute>)>,
    pub(super) outcome: Outcome,
    /// Changes of the request's and of the response's head.
    pub(super) changes: [Vec<Change>; 2],
    /// Both heads afterwards.
    pub(super) request: Headers,
    pub(super) response: Headers,
}

pub(super) struct Host<'r> {
    pub(super) index: usize,
    pub(super) written: &'r VirtualHost,
    pub(super) domain: Option<&'r str>,
}

/// What happens to the request.
pub(super) enum Outcome {
    /// 404.
    NoRoute,
    /// 404, because no cluster of the route has a weight.
    NoWeight,
    Forward {
        cluster: String,
        /// Whether there is one of that name.
        known: bool,
        /// Where one of several was drawn: each with its weight.
        weights: Vec<(String, u32)>,
        timeout: Option<std::time::Duration>,
    },
    Redirect {
        status: u16,
        location: String,
    },
    Direct {
        status: u16,
        body: usize,
    },
}

/// A change of a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Added(String),
    Removed(String),
}

impl Answer<'_> {
    pub(super) const fn has_route(&self) -> bool {
        !matches!(self.outcome, Outcome::NoRoute | Outcome::NoWeight)
    }
}

/// What `routing` answers.
pub(super) fn answer<'r>(asked: &Asked, routing: &'r Routing) -> Answer<'r> {
    let mut exchange = asked.exchange();
    let trace = routing.table.trace(&Facts::of(&exchange, asked.random));
    let route = trace.route.cloned();
    let host = trace.virtual_host.and_then(|index| {
        let written = routing.written.virtual_hosts.get(index)?;
        let name = asked.request.known(Known::Authority).unwrap_or_default();
        let domains = written.domains.iter().map(String::as_str);
        Some(Host {
            index,
            written,
            domain: domain_for(domains, name),
        })
    });
    let routes = host.as_ref().map(|host| host.written.all_routes());
    let written = |index: usize| {
        routes
            .as_ref()
            .and_then(|routes| routes.get(index).copied())
    };
    let (wants_tls, position) = (trace.wants_tls, trace.first + trace.passed.len());
    let passed = (trace.first..).zip(&trace.passed);
    let passed = passed.map(|(index, mismatch)| (written(index), *mismatch));
    let passed = passed.collect();
    let taken = (route.is_some() && !wants_tls).then(|| (position, written(position)));
    let outcome = match &route {
        Some(route) => {
            let written = taken.and_then(|(_, written)| written);
            act(route, written, (asked, routing), &mut exchange)
        }
        None => Outcome::NoRoute,
    };
    Answer {
        changes: [
            changes(&asked.request, &exchange.request),
            changes(&asked.response, &exchange.response),
        ],
        host,
        wants_tls,
        first: trace.first,
        passed,
        route: taken,
        outcome,
        request: exchange.request,
        response: exchange.response,
    }
}

/// Carries the route's action out on the exchange.
fn act(
    route: &Route,
    written: Option<&WrittenRoute>,
    (asked, routing): (&Asked, &Routing),
    exchange: &mut Exchange,
) -> Outcome {
    let mut scratch = Scratch::default();
    let envoy_headers = EnvoyHeaders::Suppress;
    let snapshot = &routing.snapshot;
    let by_name = |name: &[u8]| snapshot.cluster_index(str::from_utf8(name).ok()?);
    let Some(pick) = route.pick(exchange, asked.random, &by_name) else {
        return Outcome::NoWeight;
    };
    let outcome = match &route.action {
        Action::Forward(forward) => {
            let cluster = pick.cluster.and_then(|index| snapshot.clusters.get(index));
            let name = match (cluster, route.target(pick).map(|target| &target.cluster)) {
                (Some(cluster), _) => cluster.name.to_string(),
                (None, Some(ClusterName::Fixed(fixed))) => fixed.name.to_string(),
                (None, Some(ClusterName::Header(name))) => {
                    lossy(exchange.request.get(name).unwrap_or_default())
                }
                (None, None) => String::new(),
            };
            route.finalize_request(exchange, pick, envoy_headers, &mut scratch);
            Outcome::Forward {
                cluster: name,
                known: cluster.is_some(),
                weights: written.map(weights).unwrap_or_default(),
                timeout: forward.times.timeout,
            }
        }
        Action::Redirect(redirect) => {
            let mut location = Vec::new();
            redirect.apply(exchange, envoy_headers, &mut scratch, &mut location);
            Outcome::Redirect {
                status: redirect.status(),
                location: lossy(&location),
            }
        }
        Action::Direct(direct) => Outcome::Direct {
            status: direct.status,
            body: direct.body.len(),
        },
    };
    route.finalize_response(exchange, pick, &mut scratch);
    outcome
}

fn weights(written: &WrittenRoute) -> Vec<(String, u32)> {
    let RouteActionKind::Route(action) = &written.action else {
        return Vec::new();
    };
    let ClusterSpecifier::WeightedClusters(weighted) = &action.cluster else {
        return Vec::new();
    };
    let clusters = weighted.clusters.iter();
    clusters
        .map(|cluster| {
            let name = match &*cluster.cluster_header {
                "" => cluster.name.clone(),
                header => format!("what {header} says"),
            };
            (name, cluster.weight.unwrap_or(0))
        })
        .collect()
}

/// What has gone and what has come.
fn changes(before: &Headers, after: &Headers) -> Vec<Change> {
    let lines = |head: &Headers| -> Vec<String> {
        head.iter()
            .map(|field| format!("{}: {}", lossy(field.name), lossy(field.value)))
            .collect()
    };
    let (before, mut after) = (lines(before), lines(after));
    let mut changes = Vec::new();
    for line in before {
        match after.iter().position(|other| *other == line) {
            Some(at) => {
                after.remove(at);
            }
            None => changes.push(Change::Removed(line)),
        }
    }
    changes.extend(after.into_iter().map(Change::Added));
    changes
}
