//! The routing table of one route configuration.
//!
//! Owns the lookup: a virtual host by the request's host, then the first of its routes that
//! matches; and [`Trace`], which says how that came about. Called by `http` once a request's head
//! is complete, and again when a filter asks for a new choice. A lookup allocates nothing (but for
//! a host name in upper case longer than any DNS name, and a path whose parameters are ignored), and
//! takes no longer in a large table than in a small one. Does not own domains, matchers or the index
//! over many routes (`domains`, `matcher`, `index`).

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::action::{Action, Context, Route, route_levels};
use super::domains::{self, Domains};
use super::error::{Errors, Problem, Report};
use super::facts::Facts;
use super::index::{Entry, Index};
use super::matcher::{Mismatch, RouteMatcher, Uri};
use super::mutation::{Level, Levels};
use super::redirect::Redirect;
use super::spec::{RequireTls, RouteSpec, TableSpec, VirtualHostSpec};
use super::tree::Tree;
use super::tries::Tries;
use super::virtual_cluster::VirtualClusters;
use crate::headers::{Headers, Known, Name};
use crate::metadata::StaticMetadata;
use crate::uri::split_port;

/// `RouteConfiguration`, compiled. Immutable.
#[derive(Debug)]
pub struct Table {
    name: Arc<str>,
    domains: Domains,
    virtual_hosts: Box<[VirtualHost]>,
    /// `internal_only_headers`.
    internal_only: Box<[Name]>,
    /// `ignore_port_in_host_matching`.
    ignores_port: bool,
    /// `vhost_header`, or `host`.
    host: Name,
    /// `ignore_path_parameters_in_path_matching`.
    ignore_path_parameters: bool,
}

#[derive(Debug)]
struct VirtualHost {
    routes: Routes,
    require_tls: RequireTls,
    to_https: Arc<Route>,
}

/// Up to so many routes are looked at one after another, which is quicker than an index.
const WALKED_ROUTES: usize = 8;

/// The routes of a virtual host in the order of the configuration.
#[derive(Debug)]
struct Routes {
    list: Box<[Entry]>,
    lookup: Lookup,
}

/// How the first route that matches is found.
#[derive(Debug)]
enum Lookup {
    /// One after another.
    Walk,
    Index(Box<Index>),
    /// `matcher` leads to some of them.
    Tree(Box<Tree>),
}

/// How a route was chosen. Positions are those of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Trace<'t> {
    /// The virtual host, where one has a domain for the request's host.
    pub virtual_host: Option<usize>,
    /// Whether the request is sent to `https` because of `require_tls`; no route is looked at then.
    pub wants_tls: bool,
    /// Where the looking began: the first route, or the first that the host's `matcher` led to.
    pub first: usize,
    /// The routes before the one that was chosen, each with what the request does not meet.
    pub passed: Vec<Mismatch>,
    /// The route that was chosen; it stands behind those in `passed`.
    pub route: Option<&'t Arc<Route>>,
}

impl Table {
    /// Checks and compiles `spec`. `clusters` gives the index of a cluster by its name.
    ///
    /// # Errors
    /// Everything that is wrong with `spec`, each with its place.
    pub fn new(spec: &TableSpec, clusters: &dyn Fn(&str) -> Option<usize>) -> Result<Self, Errors> {
        let mut report = Report::default();
        let mut context = Context {
            clusters,
            validate_clusters: spec.validate_clusters,
            max_direct_response_body_size: spec.max_direct_response_body_size,
            tries: Arc::default(),
        };
        context.tries = Tries::of_table(&spec.mirrors, &context, &mut report);
        let shared = Shared {
            context,
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
            index = index.saturating_add(1);
            Some(VirtualHost::build(spec, &shared, report))
        });
        let internal_only = report.items(
            "internal_only_headers",
            &spec.internal_only_headers,
            |report, name: &String| name_of(name, report),
        );
        let host = match spec.vhost_header.as_str() {
            "" => None,
            name => report.field("vhost_header", |report| name_of(name, report)),
        };
        report.finish(Self {
            name: (*spec.name).into(),
            domains: domains.finish(),
            virtual_hosts,
            internal_only,
            ignores_port: spec.ignore_port_in_host_matching,
            host: host.unwrap_or(Name::Known(Known::Authority)),
            ignore_path_parameters: spec.ignore_path_parameters,
        })
    }

    /// `name`.
    #[must_use]
    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Fields that only internal clients may send.
    #[must_use]
    pub const fn internal_only_headers(&self) -> &[Name] {
        &self.internal_only
    }

    /// The route for a request, to be kept as long as that lasts; `None` is answered with 404.
    #[must_use]
    pub fn find(&self, facts: &Facts<'_>) -> Option<&Arc<Route>> {
        let request = facts.request;
        let path = self.path(request).ok()?;
        let virtual_host = self.virtual_hosts.get(self.host(request)?)?;
        if virtual_host.wants_tls(request) {
            return Some(&virtual_host.to_https);
        }
        virtual_host.routes.find(facts, path.as_deref())
    }

    /// The metadata of the virtual host that a request is for, whether or not it has a route for it.
    pub(crate) fn host_metadata(&self, request: &Headers) -> Option<&Arc<StaticMetadata>> {
        let host = self.virtual_hosts.get(self.host(request)?)?;
        host.to_https.virtual_host_metadata.as_ref()
    }

    /// How [`Table::find`] comes to its choice. Looks at one route after another.
    #[must_use]
    pub fn trace(&self, facts: &Facts<'_>) -> Trace<'_> {
        let request = facts.request;
        let mut trace = Trace::default();
        let Ok(path) = self.path(request) else {
            return trace;
        };
        trace.virtual_host = self.host(request);
        let host = trace
            .virtual_host
            .and_then(|index| self.virtual_hosts.get(index));
        let Some(host) = host else {
            return trace;
        };
        if host.wants_tls(request) {
            trace.wants_tls = true;
            trace.route = Some(&host.to_https);
            return trace;
        }
        let routes = host.routes.looked_at(facts);
        trace.first = routes.start;
        for (matcher, route) in host.routes.list.get(routes).unwrap_or_default() {
            match matcher.mismatch(facts, path.as_deref()) {
                Some(mismatch) => trace.passed.push(mismatch),
                None => {
                    trace.route = Some(route);
                    break;
                }
            }
        }
        trace
    }

    /// The path that routes are matched on; `None` for CONNECT, which has none.
    fn path<'r>(&self, request: &'r Headers) -> Result<Option<Cow<'r, [u8]>>, NoRoute> {
        match request.known(Known::Path) {
            Some(target) if target.starts_with(b"/") => {
                let path = Uri::new(target).path;
                if self.ignore_path_parameters && path.contains(&b';') {
                    return Ok(Some(Cow::Owned(without_parameters(path))));
                }
                Ok(Some(Cow::Borrowed(path)))
            }
            Some(_) => Err(NoRoute),
            None => Ok(None),
        }
    }

    fn host(&self, request: &Headers) -> Option<usize> {
        let host = match request.get(&self.host) {
            Some(host) => host,
            None if self.host == Name::Known(Known::Authority) => b"",
            // No virtual host, not even that of `*`, takes a request without its field.
            None => return None,
        };
        self.domains.find(if self.ignores_port {
            split_port(host).0
        } else {
            host
        })
    }
}

/// There is a path, and no route can be about it, as in `OPTIONS *`.
struct NoRoute;

/// Each segment without what follows its first `;`.
fn without_parameters(path: &[u8]) -> Vec<u8> {
    let segments = path.split(|byte| *byte == b'/');
    let segments = segments.map(|segment| {
        let end = memchr::memchr(b';', segment);
        end.and_then(|end| segment.get(..end)).unwrap_or(segment)
    });
    segments.collect::<Vec<_>>().join(&b'/')
}

fn name_of(name: &str, report: &mut Report) -> Option<Name> {
    report.take(Name::parse(name.as_bytes()).map_err(Problem::HeaderName))
}

/// What the building of all virtual hosts of a table shares.
struct Shared<'a> {
    context: Context<'a>,
    level: Level,
    most_specific_wins: bool,
}

/// What the building of all routes of a virtual host shares.
struct Host<'a> {
    name: &'a Arc<str>,
    metadata: Option<&'a Arc<StaticMetadata>>,
    groups: &'a Arc<VirtualClusters>,
    level: &'a Level,
    context: &'a Context<'a>,
}

impl VirtualHost {
    fn build(spec: &VirtualHostSpec, shared: &Shared<'_>, report: &mut Report) -> Self {
        if spec.name.is_empty() {
            let _: Option<()> = report.field("name", |report| report.error(Problem::Empty));
        }
        let name: Arc<str> = (*spec.name).into();
        let level = Level::build(&spec.request_headers, &spec.response_headers, report);
        let groups = Arc::new(VirtualClusters::build(spec, report));
        let context = Context {
            tries: Tries::of_host(&spec.tries, &shared.context, report),
            ..shared.context.clone()
        };
        let host_metadata = spec.metadata.as_ref();
        let routes = report.items("routes", &spec.routes, |report, spec| {
            let host = Host {
                name: &name,
                metadata: host_metadata,
                groups: &groups,
                level: &level,
                context: &context,
            };
            build_route(spec, &host, shared, report)
        });
        let to_https = Arc::new(Route {
            name: None,
            virtual_host: name,
            metadata: None,
            virtual_host_metadata: spec.metadata.clone(),
            action: Action::Redirect(Redirect::to_https()),
            variants: spec.variants.clone(),
            levels: Levels::default(),
            virtual_clusters: Arc::default(),
        });
        let tree = spec
            .matcher
            .as_ref()
            .and_then(|spec| report.field("matcher", |report| Tree::build(spec, report)));
        Self {
            routes: Routes::new(routes, tree),
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
    host: &Host<'_>,
    shared: &Shared<'_>,
    report: &mut Report,
) -> Option<Entry> {
    let matcher = report.field("match", |report| RouteMatcher::build(&spec.matches, report));
    let path = matcher.as_ref().map(RouteMatcher::path);
    let action = Action::build(&spec.action, path, host.context, report);
    let mutations = [&spec.request_headers, &spec.response_headers];
    let wins = shared.most_specific_wins;
    let levels = route_levels(mutations, host.level, &shared.level, wins, report);
    let route = Route {
        name: (!spec.name.is_empty()).then(|| (*spec.name).into()),
        virtual_host: Arc::clone(host.name),
        metadata: spec.metadata.clone(),
        virtual_host_metadata: host.metadata.cloned(),
        action: action?,
        variants: spec.variants.clone(),
        levels,
        virtual_clusters: match &spec.stats {
            Some(stats) => Arc::new(host.groups.of_route(stats)),
            None => Arc::clone(host.groups),
        },
    };
    Some((matcher?, Arc::new(route)))
}

impl Routes {
    fn new(list: Box<[Entry]>, tree: Option<Tree>) -> Self {
        let lookup = match tree {
            Some(tree) => Lookup::Tree(Box::new(tree)),
            None if list.len() > WALKED_ROUTES => Lookup::Index(Box::new(Index::new(&list))),
            None => Lookup::Walk,
        };
        Self { list, lookup }
    }

    fn find(&self, facts: &Facts<'_>, path: Option<&[u8]>) -> Option<&Arc<Route>> {
        let found = match &self.lookup {
            Lookup::Index(index) => self.list.get(index.find(&self.list, facts, path)?),
            Lookup::Walk => first_match(&self.list, facts, path),
            Lookup::Tree(tree) => first_match(self.list.get(tree.find(facts)?)?, facts, path),
        };
        found.map(|(_, route)| route)
    }

    /// The routes of which the first that matches is taken.
    fn looked_at(&self, facts: &Facts<'_>) -> Range<usize> {
        match &self.lookup {
            Lookup::Walk | Lookup::Index(_) => 0..self.list.len(),
            Lookup::Tree(tree) => tree.find(facts).unwrap_or_default(),
        }
    }
}

fn first_match<'r>(
    routes: &'r [Entry],
    facts: &Facts<'_>,
    path: Option<&[u8]>,
) -> Option<&'r Entry> {
    routes
        .iter()
        .find(|(matcher, _)| matcher.matches(facts, path))
}

#[cfg(test)]
mod tests;
