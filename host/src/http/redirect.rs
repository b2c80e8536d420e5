//! Redirects of the upstream that are followed here (`internal_redirect_policy`).
//!
//! Owns what a request becomes when its response is followed, the end of the first request, and the
//! beginning of the next on the same stream: it goes through the chain and gets a log line like any
//! other. Does not own which responses are followed (`route::InternalRedirects`).

use std::mem;
use std::sync::Arc;

use super::choice::{duration, match_route};
use super::stream::Stream;
use super::tally::count_start;
use super::whole::Whole;
use crate::clock;
use crate::exchange::{Exchange, RouteKind, Timing};
use crate::headers::{Headers, Known};
use crate::metadata::StaticMetadata;
use crate::route::{InternalRedirects, Location, NotFollowed};

/// A response that is followed.
pub(super) struct Followed {
    /// Whether the next request has the body of the first.
    pub(super) with_body: bool,
    pub(super) next: Box<Next>,
}

/// The request to follow, and what is known of its route. It waits until the one under way is over: what is
/// logged and counted of that is its own.
pub(super) struct Next {
    request: Headers,
    cluster: Option<Arc<str>>,
    cluster_metadata: Option<Arc<StaticMetadata>>,
    cluster_alias: Option<Arc<str>>,
    route_kind: Option<RouteKind>,
    route_name: Option<Arc<str>>,
    route_metadata: Option<Arc<StaticMetadata>>,
    virtual_host: Option<Arc<str>>,
    virtual_host_metadata: Option<Arc<StaticMetadata>>,
}

impl Next {
    /// What there is of the one under way.
    fn of(exchange: &Exchange) -> Self {
        Self {
            request: exchange.request.clone(),
            cluster: exchange.upstream.cluster.clone(),
            cluster_metadata: exchange.upstream.cluster_metadata.clone(),
            cluster_alias: exchange.upstream.cluster_alias.clone(),
            route_kind: exchange.route_kind,
            route_name: exchange.route_name.clone(),
            route_metadata: exchange.route_metadata.clone(),
            virtual_host: exchange.virtual_host.clone(),
            virtual_host_metadata: exchange.virtual_host_metadata.clone(),
        }
    }

    /// Takes the place of what is in the exchange, which is kept here.
    fn swap(&mut self, exchange: &mut Exchange) {
        let upstream = &mut exchange.upstream;
        mem::swap(&mut self.request, &mut exchange.request);
        mem::swap(&mut self.cluster, &mut upstream.cluster);
        mem::swap(&mut self.cluster_metadata, &mut upstream.cluster_metadata);
        mem::swap(&mut self.cluster_alias, &mut upstream.cluster_alias);
        mem::swap(&mut self.route_kind, &mut exchange.route_kind);
        mem::swap(&mut self.route_name, &mut exchange.route_name);
        mem::swap(&mut self.route_metadata, &mut exchange.route_metadata);
        mem::swap(&mut self.virtual_host, &mut exchange.virtual_host);
        mem::swap(
            &mut self.virtual_host_metadata,
            &mut exchange.virtual_host_metadata,
        );
    }
}

impl Stream<'_, '_> {
    /// The request to follow, if the response in the exchange may be followed. What the exchange has of the one
    /// under way stays as it is.
    pub(super) fn redirect(&mut self, redirects: &InternalRedirects) -> Option<Followed> {
        let why = match self.try_redirect(redirects) {
            Ok(followed) => return Some(followed),
            Err(why) => why,
        };
        let stats = self.around.stats;
        let counter = match why {
            NotFollowed::BadLocation => &stats.passthrough_internal_redirect_bad_location,
            NotFollowed::UnsafeScheme => &stats.passthrough_internal_redirect_unsafe_scheme,
            NotFollowed::TooMany => &stats.passthrough_internal_redirect_too_many_redirects,
            NotFollowed::Predicate => &stats.passthrough_internal_redirect_predicate,
            NotFollowed::NoRoute => &stats.passthrough_internal_redirect_no_route,
        };
        counter.inc();
        None
    }

    fn try_redirect(&mut self, redirects: &InternalRedirects) -> Result<Followed, NotFollowed> {
        let exchange = &mut *self.chain.exchange;
        // As in Envoy what is said of the scheme does not count where it is not spoken here.
        let https = exchange.request.known(Known::Scheme) == Some(b"https")
            && exchange.connection.tls.is_some();
        let location = exchange.response.known(Known::Location).map(<[u8]>::to_vec);
        let location = redirects.may_leave(location.as_deref(), https, self.followed.len())?;
        let mut other = Box::new(Next::of(exchange));
        for name in &redirects.copied_headers {
            exchange.request.remove(name);
            for value in exchange.response.get_all(name) {
                exchange.request.append(name, value);
            }
        }
        let url = lead_to(&mut exchange.request, https, &location);
        let (found, _) = match_route(self.around, self.random, exchange);
        let target = exchange.route_name.clone();
        let verdict = if found.is_some() {
            let schemes = (https, location.https);
            let from = other.route_name.as_ref();
            redirects.may_arrive(from, target.as_ref(), schemes, &self.followed)
        } else {
            Err(NotFollowed::NoRoute)
        };
        if let Err(why) = verdict {
            other.swap(exchange);
            return Err(why);
        }
        self.followed.push((other.route_name.clone(), target));
        let method = exchange.request.known(Known::Method);
        let becomes_get = exchange.status == 303 && !matches!(method, Some(b"GET" | b"HEAD"));
        if becomes_get {
            exchange.request.set_known(Known::Method, b"GET");
            exchange.request.remove_known(Known::ContentLength);
        }
        exchange.request.set_known(Known::XEnvoyOriginalUrl, &url);
        other.swap(exchange);
        Ok(Followed {
            with_body: !becomes_get,
            next: other,
        })
    }

    /// Ends the request whose response was followed, and begins the next.
    pub(super) fn begin_again(&mut self, mut next: Box<Next>, body: Option<Whole>) {
        let exchange = &mut *self.chain.exchange;
        exchange.details = Some("internal_redirect".into());
        // Its log line has the head of the next, as Envoy's has.
        next.swap(exchange);
        self.end();
        self.begun = clock::now();
        let worker = self.around.worker;
        let exchange = &mut *self.chain.exchange;
        let request = mem::take(&mut exchange.request);
        let trailers = mem::take(&mut exchange.request_trailers);
        let (remote, is_grpc) = (exchange.remote.clone(), exchange.is_grpc);
        // Envoy counts a body for each request that it is of.
        let again = body.as_ref().map_or(0, |whole| whole.content.len() as u64);
        let received = exchange.bytes_received + again;
        // It is one stream: the log counts from its beginning, as Envoy's does.
        let timing = exchange.timing;
        let anew = Timing::starting(timing.started, timing.started_wall);
        exchange.reset(anew, worker.next_id());
        exchange.timing.request_received = timing.request_received;
        exchange.request = request;
        exchange.remote = remote;
        exchange.is_grpc = is_grpc;
        exchange.bytes_received = received;
        if body.is_some() {
            exchange.request_trailers = trailers;
        }
        count_start(self.around.stats, exchange.protocol);
        self.incoming.has_body = body.is_some();
        (self.route, self.pick) = match_route(self.around, self.random, exchange);
        self.duration = duration(self.around, self.route, exchange);
        self.tells_attempts = false;
        self.has_interim = false;
        self.group = None;
        self.cookies.clear();
        self.chain.restart(body);
    }
}

/// Lets a head ask for what `location` names, and answers the URL that it asked for before. `https` is
/// the scheme that it had.
fn lead_to(request: &mut Headers, https: bool, location: &Location<'_>) -> Vec<u8> {
    let scheme: &[u8] = if https { b"https" } else { b"http" };
    let host = request.known(Known::Authority).unwrap_or_default();
    let path = request.known(Known::Path).unwrap_or_default();
    let url = [scheme, b"://", host, path].concat();
    let scheme: &[u8] = if location.https { b"https" } else { b"http" };
    request.set_known(Known::Scheme, scheme);
    request.set_known(Known::Authority, location.host);
    request.set_known(Known::Path, &location.path());
    url
}
