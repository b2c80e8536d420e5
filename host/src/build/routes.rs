//! Routes: `envoy.config.route.v3.RouteConfiguration` to [`Table`].

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;

use bytes::Bytes;

use super::filters::EMPTY;
use super::matching::{header, matches};
use super::metadata::static_metadata;
use super::per_filter::{Chain, Level};
use super::{Workshop, chain as error_chain};
use crate::config::Place;
use crate::config::header::{HeaderAppendAction, HeaderValueOption};
use crate::config::route::{
    Route, RouteActionKind, RouteConfiguration, TlsRequirementType, VirtualHost,
};
use crate::config::scalar::{DataSource, DataSpecifier};
use crate::limits;
use crate::nearest::nearest;
use crate::observe::format::Format;
use crate::observe::metrics::VirtualClusterStats;
use crate::observe::registry::Scope;
use crate::observe::stats::Sharded;
use crate::route::spec::{
    ActionSpec, ClustersSpec, ForwardSpec, HeaderAddSpec, MutationSpec, RequireTls, RouteSpec,
    RouteStatsSpec, TableSpec, VirtualClusterSpec, VirtualHostSpec,
};
use crate::route::{AppendAction, Problem, Step, Table};

mod actions;
mod tree;

pub(super) use actions::hash_policy;
pub(super) use tree::{TreeInput, string as text_of_xds};

/// What Envoy calls the requests of a virtual host that are in none of its `virtual_clusters`.
const OTHER_REQUESTS: &str = "other";

/// The chain that routes are built for, and what counts around them.
type Filters<'a> = (&'a mut Chain, &'a Level);

/// The four lists of header changes that every level has.
pub(super) struct Changes<'a> {
    request_add: &'a [HeaderValueOption],
    request_remove: &'a [String],
    response_add: &'a [HeaderValueOption],
    response_remove: &'a [String],
}

macro_rules! changes {
    ($of:expr) => {
        Changes {
            request_add: &$of.request_headers_to_add,
            request_remove: &$of.request_headers_to_remove,
            response_add: &$of.response_headers_to_add,
            response_remove: &$of.response_headers_to_remove,
        }
    };
}
use changes;

impl Workshop<'_> {
    /// Builds the table of a connection manager.
    pub(super) fn routes(
        &mut self,
        written: &RouteConfiguration,
        chain: &mut Chain,
        place: Place<'_>,
    ) -> Option<Arc<Table>> {
        let filters = self.level(
            chain,
            &chain.outermost(),
            &written.typed_per_filter_config,
            place,
        );
        let before = self.diagnostics.error_count();
        let [request_headers, response_headers] = self.mutations(&changes!(written), place);
        let hosts = written.virtual_hosts.iter().enumerate();
        let mut led_to: HashMap<usize, Vec<Place<'_>>> = HashMap::new();
        let virtual_hosts = hosts
            .map(|(index, host)| {
                let place = place.field("virtual_hosts").index(index);
                let (spec, places) = self.virtual_host(host, (&mut *chain, &filters), place);
                if host.matcher.is_some() {
                    led_to.insert(index, places);
                }
                spec
            })
            .collect();
        let spec = TableSpec {
            name: written.name.clone(),
            virtual_hosts,
            request_headers,
            response_headers,
            most_specific_header_mutations_wins: written.most_specific_header_mutations_wins,
            ignore_path_parameters: written.ignore_path_parameters_in_path_matching,
            validate_clusters: written.validate_clusters.unwrap_or(true),
            max_direct_response_body_size: written
                .max_direct_response_body_size_bytes
                .map_or(limits::DIRECT_RESPONSE_BYTES, |bytes| bytes as usize),
            internal_only_headers: written.internal_only_headers.clone(),
            ignore_port_in_host_matching: written.ignore_port_in_host_matching,
            vhost_header: written.vhost_header.clone(),
            mirrors: self.mirrors(&written.request_mirror_policies, place),
        };
        let clusters = &self.clusters;
        match Table::new(&spec, &|name| clusters.get(name).copied()) {
            Ok(table) if self.diagnostics.error_count() == before => Some(Arc::new(table)),
            Ok(_) => None,
            Err(errors) => {
                for error in &errors {
                    let place = place_of(error.path.steps(), place, &led_to);
                    let shown = self.diagnostics.error(place, error_chain(&error.problem));
                    if let Problem::UnknownCluster(name) = &error.problem
                        && let Some(near) = nearest(name, clusters.keys().map(String::as_str))
                    {
                        shown.hint(format!("did you mean \"{near}\"?"));
                    }
                }
                None
            }
        }
    }

    /// With it come the places of the routes that its `matcher` leads to.
    fn virtual_host<'p>(
        &mut self,
        written: &VirtualHost,
        (chain, outer): Filters<'_>,
        place: Place<'p>,
    ) -> (VirtualHostSpec, Vec<Place<'p>>) {
        let filters = self.cors_level(chain, outer, written.cors.as_ref(), place);
        let filters = self.level(chain, &filters, &written.typed_per_filter_config, place);
        let [request_headers, response_headers] = self.mutations(&changes!(written), place);
        for (index, group) in written.virtual_clusters.iter().enumerate() {
            if group.headers.is_empty() {
                let here = place.field("virtual_clusters").index(index);
                self.diagnostics
                    .error(here, "which requests are in it is missing: 'headers'");
            }
        }
        let mut led_to = tree::Routes::default();
        let matcher = written.matcher.as_ref().map(|matcher| {
            let place = place.field("matcher");
            if !written.routes.is_empty() {
                let message = "'matcher' and 'routes' exclude each other";
                self.diagnostics.error(place, message);
            }
            self.tree_of_routes(matcher, (&mut *chain, &filters), place, &mut led_to)
        });
        let routes = written.routes.iter().enumerate();
        let routes = routes.map(|(index, route)| {
            let place = place.field("routes").index(index);
            self.route(route, (&mut *chain, &filters), place)
        });
        let routes: Vec<RouteSpec> = routes.collect();
        let mut routes = if matcher.is_some() {
            led_to.specs
        } else {
            routes
        };
        self.count_routes(written, &mut routes);
        let spec = VirtualHostSpec {
            name: written.name.clone(),
            domains: written.domains.clone(),
            routes,
            matcher,
            request_headers,
            response_headers,
            require_tls: match written.require_tls {
                TlsRequirementType::None => RequireTls::None,
                TlsRequirementType::ExternalOnly => RequireTls::ExternalOnly,
                TlsRequirementType::All => RequireTls::All,
            },
            virtual_clusters: written
                .virtual_clusters
                .iter()
                .map(|group| VirtualClusterSpec {
                    name: group.name.clone(),
                    headers: group.headers.iter().map(header).collect(),
                    stats: self.group_stats(written, &group.name),
                })
                .collect(),
            other_requests: (!written.virtual_clusters.is_empty())
                .then(|| self.group_stats(written, OTHER_REQUESTS)),
            variants: filters.variants(),
            metadata: static_metadata(written.metadata.as_ref()),
            tries: self.host_tries(written, place),
        };
        (spec, led_to.places)
    }

    fn group_stats(&self, host: &VirtualHost, name: &str) -> Arc<Sharded<VirtualClusterStats>> {
        self.registry
            .sharded(Scope::virtual_cluster(&host.name, name))
    }

    fn route(
        &mut self,
        written: &Route,
        (chain, outer): Filters<'_>,
        place: Place<'_>,
    ) -> RouteSpec {
        let cors = match &written.action {
            RouteActionKind::Route(action) => action.cors.as_ref(),
            RouteActionKind::Redirect(_)
            | RouteActionKind::DirectResponse(_)
            | RouteActionKind::NonForwardingAction(_)
            | RouteActionKind::FilterAction(_) => None,
        };
        let filters = self.cors_level(chain, outer, cors, place.field("route"));
        let filters = self.level(chain, &filters, &written.typed_per_filter_config, place);
        let [request_headers, response_headers] = self.mutations(&changes!(written), place);
        self.check_match(&written.r#match, place.field("match"));
        let action = match &written.action {
            RouteActionKind::Route(action) => {
                let limits = (
                    written.request_body_buffer_limit,
                    written.per_request_buffer_limit_bytes,
                );
                let here = place.field("route");
                ActionSpec::Forward(self.forward(action, limits, (chain, &filters), here))
            }
            RouteActionKind::Redirect(action) => {
                ActionSpec::Redirect(self.redirect(action, place.field("redirect")))
            }
            RouteActionKind::DirectResponse(action) => {
                ActionSpec::Direct(self.direct(action, place.field("direct_response")))
            }
            RouteActionKind::NonForwardingAction(_) | RouteActionKind::FilterAction(_) => {
                ActionSpec::Forward(ForwardSpec::to(ClustersSpec::Nowhere))
            }
        };
        RouteSpec {
            name: written.name.clone(),
            matches: matches(&written.r#match, &self.values),
            action,
            request_headers,
            response_headers,
            variants: filters.variants(),
            metadata: static_metadata(written.metadata.as_ref()),
            stats: None,
        }
    }

    /// Counts the requests of routes that want it.
    fn count_routes(&self, host: &VirtualHost, routes: &mut [RouteSpec]) {
        for (written, built) in host.all_routes().into_iter().zip(routes) {
            if written.stat_prefix.is_empty() {
                continue;
            }
            built.stats = Some(self.route_stats(host, &written.stat_prefix));
        }
    }

    /// A request that is in a group of the virtual host as well counts in one block, which both show.
    fn route_stats(&self, host: &VirtualHost, stat_prefix: &str) -> RouteStatsSpec {
        let of_route = || Scope::route(&host.name, stat_prefix);
        if host.virtual_clusters.is_empty() {
            return RouteStatsSpec {
                requests: self.registry.sharded(of_route()),
                groups: Vec::new(),
            };
        }
        let in_both = |group: &str| {
            let of_group = Scope::virtual_cluster(&host.name, group);
            self.registry.sharded_in_all([of_route(), of_group])
        };
        let groups = host.virtual_clusters.iter();
        RouteStatsSpec {
            requests: in_both(OTHER_REQUESTS),
            groups: groups.map(|group| in_both(&group.name)).collect(),
        }
    }

    /// The bytes of a data source, read now.
    pub(super) fn data(&mut self, written: &DataSource, place: Place<'_>) -> Option<Bytes> {
        match &written.specifier {
            DataSpecifier::InlineString(text) => Some(Bytes::from(text.clone())),
            DataSpecifier::InlineBytes(bytes) => Some(Bytes::copy_from_slice(bytes.get())),
            DataSpecifier::Filename(path) => match fs::read(path) {
                Ok(bytes) => Some(bytes.into()),
                Err(error) => {
                    let message = format!("read the file \"{path}\": {error}");
                    self.diagnostics.error(place.field("filename"), message);
                    None
                }
            },
            DataSpecifier::EnvironmentVariable(name) => match std::env::var(name) {
                Ok(value) => Some(Bytes::from(value)),
                Err(error) => {
                    let message = format!("read the environment variable \"{name}\": {error}");
                    self.diagnostics
                        .error(place.field("environment_variable"), message);
                    None
                }
            },
        }
    }

    /// The changes of one level: those of requests and those of responses.
    pub(super) fn mutations(
        &mut self,
        changes: &Changes<'_>,
        place: Place<'_>,
    ) -> [MutationSpec; 2] {
        let request = place.field("request_headers_to_add");
        let response = place.field("response_headers_to_add");
        [
            MutationSpec {
                add: self.adds(changes.request_add, request),
                remove: changes.request_remove.to_vec(),
            },
            MutationSpec {
                add: self.adds(changes.response_add, response),
                remove: changes.response_remove.to_vec(),
            },
        ]
    }

    pub(super) fn adds(
        &mut self,
        written: &[HeaderValueOption],
        place: Place<'_>,
    ) -> Vec<HeaderAddSpec> {
        let mut built = Vec::new();
        for (index, option) in written.iter().enumerate() {
            let header = place.index(index).field("header");
            let here = header.field("value");
            if !option.header.raw_value.is_empty() {
                let message = "no effect: Envoy takes it and adds nothing, and so does nuncio";
                self.diagnostics.warning(header.field("raw_value"), message);
            }
            self.warn_without_value(&option.header.value, EMPTY, here);
            match Format::header(&option.header.value) {
                Ok(value) => built.push(HeaderAddSpec {
                    name: option.header.key.clone(),
                    value,
                    action: append_action(option.append_action),
                    keep_empty_value: option.keep_empty_value,
                }),
                Err(error) => {
                    self.diagnostics.error(here, error_chain(&error));
                }
            }
        }
        built
    }
}

/// Where the text of a data source stands.
pub(super) fn text_of<'p>(written: &DataSource, place: Place<'p>) -> Place<'p> {
    place.field(match written.specifier {
        DataSpecifier::InlineString(_) => "inline_string",
        DataSpecifier::InlineBytes(_) => "inline_bytes",
        DataSpecifier::Filename(_) => "filename",
        DataSpecifier::EnvironmentVariable(_) => "environment_variable",
    })
}

/// Where the steps of an error in a table lead. Routes that a `matcher` leads to are somewhere in it.
fn place_of<'p>(
    steps: &[Step],
    outermost: Place<'p>,
    led_to: &HashMap<usize, Vec<Place<'p>>>,
) -> Place<'p> {
    let (mut place, mut steps) = (outermost, steps);
    if let [
        Step::Field("virtual_hosts"),
        Step::Index(host),
        Step::Field("routes"),
        Step::Index(route),
        rest @ ..,
    ] = steps
        && let Some(of_route) = led_to.get(host).and_then(|places| places.get(*route))
    {
        (place, steps) = (*of_route, rest);
    }
    steps.iter().fold(place, |place, step| match step {
        Step::Field(name) => place.field(name),
        Step::Index(index) => place.index(*index),
    })
}

const fn append_action(written: HeaderAppendAction) -> AppendAction {
    match written {
        HeaderAppendAction::AppendIfExistsOrAdd => AppendAction::AppendIfExistsOrAdd,
        HeaderAppendAction::AddIfAbsent => AppendAction::AddIfAbsent,
        HeaderAppendAction::OverwriteIfExistsOrAdd => AppendAction::OverwriteIfExistsOrAdd,
        HeaderAppendAction::OverwriteIfExists => AppendAction::OverwriteIfExists,
    }
}
