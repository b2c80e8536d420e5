//! A route and its action.
//!
//! Owns what a matched route says about a request: where it goes and how long that may take, or
//! what is answered instead, and in which order headers, host and path are changed. Called by
//! `http` with the route that `table` found. Does not own carrying any of it out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::error::{Problem, Report, value_bytes};
use super::matcher::PathMatcher;
use super::mutation::{Level, Levels, Scratch};
use super::redirect::{self, Redirect};
use super::rewrite::{self, EnvoyHeaders, PathRewrite};
use super::spec::{ActionSpec, ClustersSpec, DirectSpec, ForwardSpec, MutationSpec, WeightedSpec};
use crate::exchange::Exchange;
use crate::headers::Headers;

/// `RouteAction.timeout` where it is not set.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);

/// One route. Immutable; a request keeps it for as long as it lasts.
#[derive(Clone, Debug)]
pub struct Route {
    /// `name`.
    pub name: Option<Arc<str>>,
    /// `VirtualHost.name`.
    pub virtual_host: Arc<str>,
    /// What happens to a request.
    pub action: Action,
    pub(super) levels: Levels,
}

/// `Route.action`.
#[derive(Clone, Debug)]
pub enum Action {
    /// `route`: it is sent to a cluster.
    Forward(Forward),
    /// `redirect`: the client is sent elsewhere.
    Redirect(Redirect),
    /// `direct_response`: it is answered here.
    Direct(DirectResponse),
}

/// `RouteAction`.
#[derive(Clone, Debug)]
pub struct Forward {
    /// Where requests go.
    pub clusters: ClusterChoice,
    /// From the end of the request to the end of the response, retries included; no limit where it
    /// is `None`. 15 s where the configuration does not say.
    pub timeout: Option<Duration>,
    /// Which of the cluster's two sets of limits a request counts against.
    pub priority: Priority,
    /// Status of the response when there is no such cluster: 503, 404 or 500.
    pub cluster_not_found_status: u16,
    path_rewrite: Option<PathRewrite>,
    host_rewrite: Option<Box<[u8]>>,
}

/// `RoutingPriority`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Priority {
    /// `DEFAULT`.
    #[default]
    Default,
    /// `HIGH`.
    High,
}

/// `RouteAction.cluster_specifier`.
#[derive(Clone, Debug)]
pub enum ClusterChoice {
    /// `cluster`.
    Single(Target),
    /// `weighted_clusters`.
    Weighted(Weighted),
}

/// `WeightedCluster`.
#[derive(Clone, Debug)]
pub struct Weighted {
    /// Sum of the weights; not zero.
    total: u64,
    /// All but the last, each with the sum of the weights up to and including its own.
    entries: Box<[(u64, Target)]>,
    last: Target,
}

/// A cluster that requests may go to, and what that changes.
#[derive(Clone, Debug)]
pub struct Target {
    /// The cluster.
    pub cluster: ClusterRef,
    host_rewrite: Option<Box<[u8]>>,
    level: Level,
}

/// A cluster by name, looked up when the table was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterRef {
    /// `Cluster.name`.
    pub name: Arc<str>,
    /// Its index in the snapshot's list of clusters; `None` where there is no such cluster.
    pub index: Option<usize>,
}

/// `DirectResponseAction`.
#[derive(Clone, Debug)]
pub struct DirectResponse {
    /// Status of the response, 200 to 599.
    pub status: u16,
    /// Body of the response.
    pub body: Bytes,
}

impl Route {
    /// The cluster for a request whose stream has the number `random`; `None` where the route does
    /// not forward. The same number gets the same cluster.
    #[must_use]
    pub fn target(&self, random: u64) -> Option<&Target> {
        match &self.action {
            Action::Forward(forward) => Some(forward.clusters.choose(random)),
            Action::Redirect(_) | Action::Direct(_) => None,
        }
    }

    /// Makes the request's head what goes upstream: header mutations first, which so see the host
    /// and path of the client, then the host, then the path. For routes that forward; others do
    /// not change the request here.
    pub fn finalize_request(
        &self,
        exchange: &mut Exchange,
        random: u64,
        envoy_headers: EnvoyHeaders,
        scratch: &mut Scratch,
    ) {
        let Action::Forward(forward) = &self.action else {
            return;
        };
        let target = forward.clusters.choose(random);
        self.levels
            .apply_request(Some(&target.level), exchange, scratch);
        if let Some(host) = target
            .host_rewrite
            .as_ref()
            .or(forward.host_rewrite.as_ref())
        {
            rewrite::rewrite_host(host, &mut exchange.request, envoy_headers, scratch);
        }
        if let Some(path) = &forward.path_rewrite {
            path.apply(&mut exchange.request, envoy_headers, scratch);
        }
    }

    /// Changes the response's head on the way back, whichever action made it. Before the headers
    /// that the connection manager sets itself (`server`, `date`).
    pub fn finalize_response(&self, exchange: &mut Exchange, random: u64, scratch: &mut Scratch) {
        let target = self.target(random);
        self.levels
            .apply_response(target.map(|target| &target.level), exchange, scratch);
    }
}

impl Action {
    /// `path` is what the route matches, where that could be built.
    pub(super) fn build(
        spec: &ActionSpec,
        path: Option<&PathMatcher>,
        context: &Context<'_>,
        report: &mut Report,
    ) -> Option<Self> {
        match spec {
            ActionSpec::Forward(spec) => report
                .field("route", |report| {
                    Forward::build(spec, path, context, report)
                })
                .map(Self::Forward),
            ActionSpec::Redirect(spec) => report
                .field("redirect", |report| Redirect::build(spec, path, report))
                .map(Self::Redirect),
            ActionSpec::Direct(spec) => report
                .field("direct_response", |report| {
                    DirectResponse::build(spec, context, report)
                })
                .map(Self::Direct),
        }
    }
}

/// What the building of all routes of a table shares.
pub(super) struct Context<'a> {
    /// The index of a cluster by its name.
    pub(super) clusters: &'a dyn Fn(&str) -> Option<usize>,
    pub(super) validate_clusters: bool,
    pub(super) max_direct_response_body_size: usize,
}

impl Context<'_> {
    fn cluster(&self, name: &str, report: &mut Report) -> Option<ClusterRef> {
        if name.is_empty() {
            return report.error(Problem::Empty);
        }
        let index = (self.clusters)(name);
        if index.is_none() && self.validate_clusters {
            return report.error(Problem::UnknownCluster(name.to_owned()));
        }
        Some(ClusterRef {
            name: name.into(),
            index,
        })
    }
}

impl Forward {
    fn build(
        spec: &ForwardSpec,
        path: Option<&PathMatcher>,
        context: &Context<'_>,
        report: &mut Report,
    ) -> Option<Self> {
        let clusters = ClusterChoice::build(&spec.clusters, context, report);
        let rewrite = spec.regex_rewrite.as_ref();
        let mut path_rewrite = PathRewrite::build(&spec.prefix_rewrite, rewrite, path, report);
        if !spec.path_template_rewrite.is_empty() {
            if path_rewrite.is_some() {
                return report.error(Problem::TwoRewrites);
            }
            path_rewrite = PathRewrite::template(&spec.path_template_rewrite, path, report);
        }
        let host_rewrite = host_rewrite(&spec.host_rewrite_literal, report);
        let status = spec.cluster_not_found_status;
        if !matches!(status, 404 | 500 | 503) {
            let problem = Problem::ClusterNotFoundStatus(status);
            return report.field("cluster_not_found_response_code", |report| {
                report.error(problem)
            });
        }
        Some(Self {
            clusters: clusters?,
            timeout: Some(spec.timeout.unwrap_or(DEFAULT_TIMEOUT)).filter(|t| !t.is_zero()),
            priority: spec.priority,
            cluster_not_found_status: status,
            path_rewrite,
            host_rewrite,
        })
    }
}

fn host_rewrite(host: &str, report: &mut Report) -> Option<Box<[u8]>> {
    let host = report.field("host_rewrite_literal", |report| {
        report.take(value_bytes(host))
    })?;
    (!host.is_empty()).then_some(host)
}

impl ClusterChoice {
    fn build(spec: &ClustersSpec, context: &Context<'_>, report: &mut Report) -> Option<Self> {
        match spec {
            ClustersSpec::Cluster(name) => {
                let cluster = report.field("cluster", |report| context.cluster(name, report))?;
                Some(Self::Single(Target {
                    cluster,
                    host_rewrite: None,
                    level: Level::default(),
                }))
            }
            ClustersSpec::Weighted(specs) => report
                .field("weighted_clusters", |report| {
                    Weighted::build(specs, context, report)
                })
                .map(Self::Weighted),
        }
    }

    /// The cluster for the number `random`, which may be any.
    #[must_use]
    pub fn choose(&self, random: u64) -> &Target {
        match self {
            Self::Single(target) => target,
            Self::Weighted(weighted) => weighted.choose(random),
        }
    }
}

impl Weighted {
    fn build(specs: &[WeightedSpec], context: &Context<'_>, report: &mut Report) -> Option<Self> {
        let mut total = 0;
        let mut entries: Vec<_> = report.items("clusters", specs, |report, spec| {
            total += u64::from(spec.weight);
            let cluster = report.field("name", |report| context.cluster(&spec.name, report));
            let host_rewrite = host_rewrite(&spec.host_rewrite_literal, report);
            let level = Level::build(&spec.request_headers, &spec.response_headers, report);
            Some((
                total,
                Target {
                    cluster: cluster?,
                    host_rewrite,
                    level,
                },
            ))
        });
        if specs.is_empty() {
            return report.field("clusters", |report| report.error(Problem::NoItems));
        }
        match total {
            0 => report.error(Problem::NoWeight),
            total if total > u64::from(u32::MAX) => report.error(Problem::WeightSum(total)),
            total => {
                let (_, last) = entries.pop()?;
                Some(Self {
                    total,
                    entries: entries.into(),
                    last,
                })
            }
        }
    }

    fn choose(&self, random: u64) -> &Target {
        let chosen = random.checked_rem(self.total).unwrap_or(0);
        let found = self.entries.iter().find(|(end, _)| chosen < *end);
        found.map_or(&self.last, |(_, target)| target)
    }
}

impl DirectResponse {
    fn build(spec: &DirectSpec, context: &Context<'_>, report: &mut Report) -> Option<Self> {
        let DirectSpec { status, body } = spec.clone();
        if !(200..600).contains(&status) {
            let _: Option<()> = report.field("status", |r| r.error(Problem::Status(status)));
        }
        let (length, limit) = (body.len(), context.max_direct_response_body_size);
        if length > limit {
            return report.field("body", |r| r.error(Problem::BodyTooLong { length, limit }));
        }
        Some(Self { status, body })
    }

    /// Appends the value of the response's `location` where its status wants one: 201 and 3xx
    /// name the URL of the request, as in Envoy.
    pub fn write_location(&self, request: &Headers, location: &mut Vec<u8>) {
        if matches!(self.status, 201 | 300..=399) {
            redirect::write_url(request, location);
        }
    }
}

/// The levels of a route's own mutations, its virtual host's and its table's, in the order in which
/// they apply. Those of a weighted cluster come before all of these either way.
pub(super) fn route_levels(
    [request, response]: [&MutationSpec; 2],
    virtual_host: &Level,
    table: &Level,
    most_specific_wins: bool,
    report: &mut Report,
) -> Levels {
    let route = Level::build(request, response, report);
    if most_specific_wins {
        Levels::new([table, virtual_host, &route])
    } else {
        Levels::new([&route, virtual_host, table])
    }
}

#[cfg(test)]
mod tests;
