//! A route and its action.
//!
//! Owns what a matched route says about a request: where it goes and how long that may take, or
//! what is answered instead, and in which order headers, host and path are changed. Called by
//! `http` with the route that `table` found. Does not own carrying any of it out.

use std::sync::Arc;

use bytes::Bytes;

use super::error::{Problem, Report};
use super::hash::{HashPolicies, NewCookies};
use super::matcher::PathMatcher;
use super::mutation::{Level, Levels, Scratch};
use super::redirect::{self, Redirect};
use super::rewrite::{EnvoyHeaders, HostRewrite, HostWays, PathRewrite};
use super::spec::{ActionSpec, ClustersSpec, DirectSpec, ForwardSpec, MutationSpec};
use super::times::Times;
use super::tries::Tries;
use super::upgrade::{CONNECT, Upgrade, Upgrades};
use super::virtual_cluster::{Group, VirtualClusters};
use super::weighted::Weighted;
use crate::exchange::Exchange;
use crate::headers::{Headers, Known, Name};
use crate::metadata::StaticMetadata;
use crate::observe::format::BodyFormat;
use crate::proxy_header::ProxyHeader;
use crate::variant::Variants;

/// One route. Immutable; a request keeps it for as long as it lasts.
#[derive(Clone, Debug)]
pub struct Route {
    /// `name`.
    pub name: Option<Arc<str>>,
    /// `VirtualHost.name`.
    pub virtual_host: Arc<str>,
    /// `metadata`.
    pub metadata: Option<Arc<StaticMetadata>>,
    /// `VirtualHost.metadata`.
    pub virtual_host_metadata: Option<Arc<StaticMetadata>>,
    /// What happens to a request.
    pub action: Action,
    /// Which configuration each filter of the chain has; a weighted cluster may have others.
    pub(super) variants: Variants,
    pub(super) levels: Levels,
    pub(super) virtual_clusters: Arc<VirtualClusters>,
}

/// `Route.action`.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "most routes forward, and each lies in an `Arc` of its own"
)]
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
    /// How long a request may take.
    pub times: Times,
    /// How often it may be sent: the virtual host's, where the route has nothing to add.
    pub tries: Arc<Tries>,
    /// Which of the cluster's two sets of limits a request counts against.
    pub priority: Priority,
    /// Status of the response when there is no such cluster: 503, 404 or 500.
    pub cluster_not_found_status: u16,
    /// `metadata_match`: an index into the snapshot's list of criteria.
    criteria: Option<usize>,
    /// What it says about other protocols.
    pub upgrades: Upgrades,
    path_rewrite: Option<PathRewrite>,
    host_rewrite: Option<HostRewrite>,
    append_forwarded_host: bool,
    pub(super) hash: HashPolicies,
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
    /// `cluster` or `cluster_header`.
    Single(Target),
    /// `weighted_clusters`.
    Weighted(Weighted),
}

/// A cluster that requests may go to, and what that changes.
#[derive(Clone, Debug)]
pub struct Target {
    /// The cluster.
    pub cluster: ClusterName,
    /// `ClusterWeight.metadata_match` with that of the route.
    pub(super) criteria: Option<usize>,
    pub(super) host_rewrite: Option<Box<[u8]>>,
    pub(super) level: Level,
    /// Which configuration each filter of the chain has, where this is one of several clusters.
    pub(super) variants: Variants,
}

/// How a cluster is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterName {
    /// By the configuration.
    Fixed(ClusterRef),
    /// `cluster_header`: by a field of the request.
    Header(Name),
}

/// What was decided about a request on its route, once: the same cluster counts for its whole life,
/// whatever runtime values and headers become meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pick {
    /// Which entry of `weighted_clusters`.
    entry: usize,
    /// Index of the cluster in the snapshot's list; `None` where there is no such cluster.
    pub cluster: Option<usize>,
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
    /// `body_format`, whose `%LOCAL_REPLY_BODY%` is `body`.
    pub format: Option<BodyFormat>,
}

impl Route {
    /// What the bytes of a tunnel by `CONNECT` begin with that ends here.
    #[must_use]
    pub fn proxy_header(&self) -> Option<&ProxyHeader> {
        self.connect()?.proxy_header.as_ref()
    }

    /// Whether the body of a `POST` goes to the cluster as the bytes of such a tunnel do.
    #[must_use]
    pub fn takes_posts(&self) -> bool {
        self.connect().is_some_and(|connect| connect.takes_posts)
    }

    fn connect(&self) -> Option<&Upgrade> {
        match &self.action {
            Action::Forward(forward) => forward.upgrades.find(CONNECT),
            Action::Redirect(_) | Action::Direct(_) => None,
        }
    }

    /// Chooses a cluster. `random` is the stream's number, `cluster` gives the index of a cluster by
    /// its name. `None` where all weights are 0 now: then the request has no route.
    #[must_use]
    pub fn pick(
        &self,
        exchange: &Exchange,
        random: u64,
        cluster: &dyn Fn(&[u8]) -> Option<usize>,
    ) -> Option<Pick> {
        let Action::Forward(forward) = &self.action else {
            return Some(Pick::default());
        };
        let (entry, target) = match &forward.clusters {
            ClusterChoice::Single(target) => (0, target),
            ClusterChoice::Weighted(weighted) => {
                weighted.choose(exchange, random, &forward.hash)?
            }
        };
        let cluster = match &target.cluster {
            ClusterName::Fixed(fixed) => fixed.index,
            ClusterName::Header(name) => exchange.request.get(name).and_then(cluster),
        };
        Some(Pick { entry, cluster })
    }

    /// What was picked; `None` where the route does not forward.
    #[must_use]
    pub fn target(&self, pick: Pick) -> Option<&Target> {
        match &self.action {
            Action::Forward(forward) => forward.clusters.get(pick.entry),
            Action::Redirect(_) | Action::Direct(_) => None,
        }
    }

    /// `metadata_match`: an index into the snapshot's list of criteria.
    #[must_use]
    pub fn criteria(&self, pick: Pick) -> Option<usize> {
        let Action::Forward(forward) = &self.action else {
            return None;
        };
        let target = forward.clusters.get(pick.entry)?;
        target.criteria.or(forward.criteria)
    }

    /// Which configuration each filter of the chain has for a request with that choice.
    #[must_use]
    pub fn variants(&self, pick: Pick) -> &Variants {
        match &self.action {
            Action::Forward(Forward {
                clusters: ClusterChoice::Weighted(weighted),
                ..
            }) => weighted
                .get(pick.entry)
                .map_or(&self.variants, |target| &target.variants),
            Action::Forward(_) | Action::Redirect(_) | Action::Direct(_) => &self.variants,
        }
    }

    /// What counts the request beside its cluster (`virtual_clusters`), and the name of that, which
    /// the group of all that are in no other does not have.
    #[must_use]
    pub fn virtual_cluster(&self, request: &Headers) -> Option<Group<'_>> {
        self.virtual_clusters.find(request)
    }

    /// Makes the request's head what goes upstream: header mutations first, which so see the host
    /// and path of the client, then the host, then the path. For routes that forward; others do
    /// not change the request here.
    pub fn finalize_request(
        &self,
        exchange: &mut Exchange,
        pick: Pick,
        envoy_headers: EnvoyHeaders,
        scratch: &mut Scratch,
    ) {
        let Action::Forward(forward) = &self.action else {
            return;
        };
        let target = forward.clusters.get(pick.entry);
        let ways = HostWays {
            envoy_headers,
            append_forwarded: forward.append_forwarded_host,
        };
        if let Some(target) = target {
            target.level.apply_request(exchange, scratch);
            // As Envoy does it: without a trace, and the route's own rewrite follows.
            if let Some(host) = &target.host_rewrite {
                exchange.request.set_known(Known::Authority, host);
            }
        }
        self.levels.apply_request(exchange, scratch);
        if let Some(host) = &forward.host_rewrite {
            host.apply(exchange, ways, scratch);
        }
        if let Some(path) = &forward.path_rewrite {
            path.apply(exchange, envoy_headers, scratch);
        }
    }

    /// Changes the request's head once its endpoint is known, whose name is `hostname`
    /// (`auto_host_rewrite`).
    pub fn finalize_for_endpoint(
        &self,
        exchange: &mut Exchange,
        hostname: Option<&str>,
        envoy_headers: EnvoyHeaders,
        scratch: &mut Scratch,
    ) {
        if let Action::Forward(forward) = &self.action
            && let Some(HostRewrite::Auto) = &forward.host_rewrite
            && let Some(hostname) = hostname
        {
            let ways = HostWays {
                envoy_headers,
                append_forwarded: forward.append_forwarded_host,
            };
            scratch.fill(hostname.as_bytes());
            ways.rewrite(&mut scratch.bytes, &mut exchange.request);
        }
    }

    /// The hash of `hash_policy`, which balancing that hashes goes by. A cookie that is made is put
    /// into `cookies`. Before the head is changed for the upstream.
    pub fn hash(&self, exchange: &Exchange, cookies: &mut NewCookies) -> Option<u64> {
        match &self.action {
            Action::Forward(forward) => forward.hash.hash(exchange, Some(cookies)),
            Action::Redirect(_) | Action::Direct(_) => None,
        }
    }

    /// Changes the response's head on the way back, whichever action made it. Before the headers
    /// that the connection manager sets itself (`server`, `date`).
    pub fn finalize_response(&self, exchange: &mut Exchange, pick: Pick, scratch: &mut Scratch) {
        if let Some(target) = self.target(pick) {
            target.level.apply_response(exchange, scratch);
        }
        self.levels.apply_response(exchange, scratch);
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
#[derive(Clone)]
pub(super) struct Context<'a> {
    /// The index of a cluster by its name.
    pub(super) clusters: &'a dyn Fn(&str) -> Option<usize>,
    pub(super) validate_clusters: bool,
    pub(super) max_direct_response_body_size: usize,
    /// What the virtual host says about attempts; the table, for that.
    pub(super) tries: Arc<Tries>,
}

impl Context<'_> {
    pub(super) fn cluster(&self, name: &str, report: &mut Report) -> Option<ClusterRef> {
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
        let hash = HashPolicies::build(&spec.hash_policy, report);
        let path_rewrite = spec.path_rewrite.as_ref().map(PathRewrite::format);
        let rewrite = spec.regex_rewrite.as_ref();
        let mut path_rewrite = path_rewrite
            .or_else(|| PathRewrite::build(&spec.prefix_rewrite, rewrite, path, report));
        if !spec.path_template_rewrite.is_empty() {
            if path_rewrite.is_some() {
                return report.error(Problem::TwoRewrites);
            }
            path_rewrite = PathRewrite::template(&spec.path_template_rewrite, path, report);
        }
        let host_rewrite = spec.host_rewrite.as_ref();
        let host_rewrite = host_rewrite.and_then(|spec| HostRewrite::build(spec, report));
        let status = spec.cluster_not_found_status;
        if !matches!(status, 404 | 500 | 503) {
            let problem = Problem::ClusterNotFoundStatus(status);
            return report.field("cluster_not_found_response_code", |report| {
                report.error(problem)
            });
        }
        let tries = Tries::of_route(spec.tries.as_deref(), context, report);
        Some(Self {
            clusters: clusters?,
            times: Times::build(&spec.times),
            tries: tries?,
            priority: spec.priority,
            cluster_not_found_status: status,
            criteria: spec.criteria,
            upgrades: Upgrades::build(&spec.upgrades, report),
            path_rewrite,
            host_rewrite,
            append_forwarded_host: spec.append_x_forwarded_host,
            hash,
        })
    }
}

impl Target {
    const fn to(cluster: ClusterName) -> Self {
        Self {
            cluster,
            criteria: None,
            host_rewrite: None,
            level: Level::NONE,
            variants: None,
        }
    }
}

/// A field that names a cluster.
pub(super) fn cluster_header(name: &str, report: &mut Report) -> Option<ClusterName> {
    report
        .field("cluster_header", |report| {
            report.take(Name::parse(name.as_bytes()).map_err(Problem::HeaderName))
        })
        .map(ClusterName::Header)
}

impl ClusterChoice {
    fn build(spec: &ClustersSpec, context: &Context<'_>, report: &mut Report) -> Option<Self> {
        match spec {
            ClustersSpec::Cluster(name) => report
                .field("cluster", |report| context.cluster(name, report))
                .map(|cluster| Self::Single(Target::to(ClusterName::Fixed(cluster)))),
            ClustersSpec::Header(name) => {
                cluster_header(name, report).map(|name| Self::Single(Target::to(name)))
            }
            ClustersSpec::Nowhere => {
                let nowhere = ClusterRef {
                    name: "".into(),
                    index: None,
                };
                Some(Self::Single(Target::to(ClusterName::Fixed(nowhere))))
            }
            ClustersSpec::Weighted(spec) => report
                .field("weighted_clusters", |report| {
                    Weighted::build(spec, context, report)
                })
                .map(Self::Weighted),
        }
    }

    fn get(&self, entry: usize) -> Option<&Target> {
        match self {
            Self::Single(target) => Some(target),
            Self::Weighted(weighted) => weighted.get(entry),
        }
    }
}

impl DirectResponse {
    fn build(spec: &DirectSpec, context: &Context<'_>, report: &mut Report) -> Option<Self> {
        let DirectSpec {
            status,
            body,
            body_format,
        } = spec.clone();
        if !(200..600).contains(&status) {
            let _: Option<()> = report.field("status", |r| r.error(Problem::Status(status)));
        }
        let (length, limit) = (body.len(), context.max_direct_response_body_size);
        if length > limit {
            return report.field("body", |r| r.error(Problem::BodyTooLong { length, limit }));
        }
        Some(Self {
            status,
            body,
            format: body_format,
        })
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
