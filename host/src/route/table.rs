//! The routing table of one route configuration.
//!
//! Owns the lookup: a virtual host by the request's host, then the first of its routes that
//! matches. Called by `http` once a request's head is complete, and again when a filter asks for a
//! new choice. A lookup allocates nothing (but for a host name in upper case longer than any DNS
//! name). Does not own domains or matchers (`domains`, `matcher`).

use std::sync::Arc;

use super::action::{Action, Context, Route, route_levels};
use super::domains::{self, Domains};
use super::error::{Errors, Problem, Report};
use super::matcher::{RouteMatcher, Uri};
use super::mutation::{Level, Levels};
use super::redirect::Redirect;
use super::spec::{RequireTls, RouteSpec, TableSpec, VirtualHostSpec};
use crate::headers::{Headers, Known};

/// `RouteConfiguration`, compiled. Immutable.
#[derive(Debug)]
pub struct Table {
    name: Arc<str>,
    domains: Domains,
    virtual_hosts: Box<[VirtualHost]>,
}

#[derive(Debug)]
struct VirtualHost {
    routes: Routes,
    require_tls: RequireTls,
    to_https: Arc<Route>,
}

/// The routes of a virtual host in the order of the configuration.
#[derive(Debug)]
struct Routes(Box<[(RouteMatcher, Arc<Route>)]>);

impl Table {
    /// Checks and compiles `spec`. `clusters` gives the index of a cluster by its name.
    ///
    /// # Errors
    /// Everything that is wrong with `spec`, each with its place.
    pub fn new(spec: &TableSpec, clusters: &dyn Fn(&str) -> Option<usize>) -> Result<Self, Errors> {
        let mut report = Report::default();
        let shared = Shared {
            context: Context {
                clusters,
                validate_clusters: spec.validate_clusters,
                max_direct_response_body_size: spec.max_direct_response_body_size,
            },
            level: Level::build(&spec.request_headers, &spec.response_headers, &mut report),
            most_specific_wins: spec.most_specific_header_mutations_wins,
        };
        let mut domains = domains::Builder::default();
        let mut index = 0;
        let virtual_hosts = report.items("virtual_hosts", &spec.virtual_hosts, |report, spec| {
            if spec.domains.is_empty() {
                let _: Option<()> = report.field("domains", |r| r.error(Problem::NoItems));
            }
            let _: Vec<()> = report.items("domains", &spec.domains, |report, domain| {
                domains.add(domain, index, report);
                None
            });
            index += 1;
            Some(VirtualHost::build(spec, &shared, report))
        });
        report.finish(Self {
            name: (*spec.name).into(),
            domains: domains.finish(),
            virtual_hosts,
        })
    }

    /// `name`.
    #[must_use]
    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The route for a request, to be kept as long as that lasts; `None` is answered with 404.
    /// `random` is the stream's number, which decides where a route takes only a fraction of
    /// requests.
    #[must_use]
    pub fn find(&self, request: &Headers, random: u64) -> Option<&Arc<Route>> {
        let target = request.known(Known::Path)?;
        // Neither `OPTIONS *` nor CONNECT has a path that a matcher could be about.
        if !target.starts_with(b"/") {
            return None;
        }
        let host = request.known(Known::Authority).unwrap_or_default();
        let virtual_host = self.virtual_hosts.get(self.domains.find(host)?)?;
        if virtual_host.wants_tls(request) {
            return Some(&virtual_host.to_https);
        }
        virtual_host.routes.find(request, Uri::new(target), random)
    }
}

/// What the building of all virtual hosts of a table shares.
struct Shared<'a> {
    context: Context<'a>,
    level: Level,
    most_specific_wins: bool,
}

impl VirtualHost {
    fn build(spec: &VirtualHostSpec, shared: &Shared<'_>, report: &mut Report) -> Self {
        if spec.name.is_empty() {
            let _: Option<()> = report.field("name", |report| report.error(Problem::Empty));
        }
        let name: Arc<str> = (*spec.name).into();
        let level = Level::build(&spec.request_headers, &spec.response_headers, report);
        let routes = report.items("routes", &spec.routes, |report, spec| {
            build_route(spec, &name, &level, shared, report)
        });
        let to_https = Arc::new(Route {
            name: None,
            virtual_host: name,
            action: Action::Redirect(Redirect::to_https()),
            levels: Levels::default(),
        });
        Self {
            routes: Routes(routes),
            require_tls: spec.require_tls,
            to_https,
        }
    }

    fn wants_tls(&self, request: &Headers) -> bool {
        let applies = match self.require_tls {
            RequireTls::None => false,
            RequireTls::ExternalOnly => request.known(Known::XEnvoyInternal) != Some(b"true"),
            RequireTls::All => true,
        };
        applies && request.known(Known::XForwardedProto) != Some(b"https")
    }
}

fn build_route(
    spec: &RouteSpec,
    virtual_host: &Arc<str>,
    level: &Level,
    shared: &Shared<'_>,
    report: &mut Report,
) -> Option<(RouteMatcher, Arc<Route>)> {
    let matcher = report.field("match", |report| RouteMatcher::build(&spec.matches, report));
    let path = matcher.as_ref().map(RouteMatcher::path);
    let action = Action::build(&spec.action, path, &shared.context, report);
    let mutations = [&spec.request_headers, &spec.response_headers];
    let wins = shared.most_specific_wins;
    let levels = route_levels(mutations, level, &shared.level, wins, report);
    let route = Route {
        name: (!spec.name.is_empty()).then(|| (*spec.name).into()),
        virtual_host: Arc::clone(virtual_host),
        action: action?,
        levels,
    };
    Some((matcher?, Arc::new(route)))
}

impl Routes {
    fn find(&self, request: &Headers, uri: Uri<'_>, random: u64) -> Option<&Arc<Route>> {
        self.0
            .iter()
            .find(|(matcher, _)| matcher.matches(request, uri, random))
            .map(|(_, route)| route)
    }
}

#[cfg(test)]
mod tests;
