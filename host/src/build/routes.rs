//! Routes: `envoy.config.route.v3.RouteConfiguration` to [`Table`].

use std::fs;
use std::sync::Arc;

use bytes::Bytes;

use super::matching::matches;
use super::{Workshop, chain};
use crate::config::Place;
use crate::config::header::{HeaderAppendAction, HeaderValueOption};
use crate::config::matcher::RegexMatchAndSubstitute;
use crate::config::route::{
    ClusterNotFoundResponseCode, ClusterSpecifier, ClusterWeight, DirectResponseAction,
    HostRewriteSpecifier, PathRewriteConfig, PathRewriteSpecifier, RedirectAction, Route,
    RouteAction, RouteActionKind, RouteConfiguration, RoutingPriority, SchemeRewriteSpecifier,
    VirtualHost, WeightedCluster,
};
use crate::config::scalar::{DataSource, DataSpecifier, Duration};
use crate::nearest::nearest;
use crate::observe::format::Format;
use crate::route::spec::{
    ActionSpec, ClustersSpec, DirectSpec, ForwardSpec, HeaderAddSpec, MutationSpec,
    RedirectPathSpec, RedirectSpec, RegexRewriteSpec, RequireTls, RouteSpec, SchemeSpec, TableSpec,
    VirtualHostSpec, WeightedSpec,
};
use crate::route::{AppendAction, Priority, Problem, Step, Table};

/// The four lists of header changes that every level has.
struct Changes<'a> {
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

impl Workshop<'_> {
    /// Builds the table of a connection manager.
    pub(super) fn routes(
        &mut self,
        written: &RouteConfiguration,
        place: Place<'_>,
    ) -> Option<Arc<Table>> {
        let before = self.diagnostics.error_count();
        let [request_headers, response_headers] = self.mutations(&changes!(written), place);
        let hosts = written.virtual_hosts.iter().enumerate();
        let virtual_hosts = hosts
            .map(|(index, host)| self.virtual_host(host, place.field("virtual_hosts").index(index)))
            .collect();
        let spec = TableSpec {
            name: written.name.clone(),
            virtual_hosts,
            request_headers,
            response_headers,
            most_specific_header_mutations_wins: written.most_specific_header_mutations_wins,
            ..TableSpec::default()
        };
        let clusters = &self.clusters;
        match Table::new(&spec, &|name| clusters.get(name).copied()) {
            Ok(table) if self.diagnostics.error_count() == before => Some(Arc::new(table)),
            Ok(_) => None,
            Err(errors) => {
                for error in &errors {
                    let place = error
                        .path
                        .steps()
                        .iter()
                        .fold(place, |place, step| match step {
                            Step::Field(name) => place.field(name),
                            Step::Index(index) => place.index(*index),
                        });
                    let shown = self.diagnostics.error(place, chain(&error.problem));
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

    fn virtual_host(&mut self, written: &VirtualHost, place: Place<'_>) -> VirtualHostSpec {
        let [request_headers, response_headers] = self.mutations(&changes!(written), place);
        let routes = written.routes.iter().enumerate();
        VirtualHostSpec {
            name: written.name.clone(),
            domains: written.domains.clone(),
            routes: routes
                .map(|(index, route)| self.route(route, place.field("routes").index(index)))
                .collect(),
            request_headers,
            response_headers,
            require_tls: RequireTls::None,
        }
    }

    fn route(&mut self, written: &Route, place: Place<'_>) -> RouteSpec {
        let [request_headers, response_headers] = self.mutations(&changes!(written), place);
        let action = match &written.action {
            RouteActionKind::Route(action) => {
                ActionSpec::Forward(self.forward(action, place.field("route")))
            }
            RouteActionKind::Redirect(action) => ActionSpec::Redirect(redirect(action)),
            RouteActionKind::DirectResponse(action) => {
                ActionSpec::Direct(self.direct(action, place.field("direct_response")))
            }
        };
        RouteSpec {
            name: written.name.clone(),
            matches: matches(&written.r#match),
            action,
            request_headers,
            response_headers,
        }
    }

    fn forward(&mut self, written: &RouteAction, place: Place<'_>) -> ForwardSpec {
        let clusters = match &written.cluster {
            ClusterSpecifier::Cluster(name) => ClustersSpec::Cluster(name.clone()),
            ClusterSpecifier::WeightedClusters(weighted) => {
                let place = place.field("weighted_clusters");
                self.total_weight(weighted, place);
                let place = place.field("clusters");
                let entries = weighted.clusters.iter().enumerate();
                let entries =
                    entries.map(|(index, entry)| self.weighted(entry, place.index(index)));
                ClustersSpec::Weighted(entries.collect())
            }
        };
        let mut spec = ForwardSpec::to(clusters);
        spec.prefix_rewrite.clone_from(&written.prefix_rewrite);
        if let Some(policy) = &written.path_rewrite_policy {
            let PathRewriteConfig::UriTemplate(template) = &policy.typed_config;
            spec.path_template_rewrite
                .clone_from(&template.path_template_rewrite);
        }
        if let Some(HostRewriteSpecifier::HostRewriteLiteral(host)) = &written.host_rewrite {
            spec.host_rewrite_literal.clone_from(host);
        }
        spec.timeout = written.timeout.map(Duration::get);
        spec.priority = match written.priority {
            RoutingPriority::Default => Priority::Default,
            RoutingPriority::High => Priority::High,
        };
        spec.cluster_not_found_status = match written.cluster_not_found_response_code {
            ClusterNotFoundResponseCode::ServiceUnavailable => 503,
            ClusterNotFoundResponseCode::NotFound => 404,
            ClusterNotFoundResponseCode::InternalServerError => 500,
        };
        spec
    }

    /// The deprecated `total_weight` must say what the weights sum up to.
    fn total_weight(&mut self, written: &WeightedCluster, place: Place<'_>) {
        let weights = written
            .clusters
            .iter()
            .map(|entry| u64::from(entry.weight.unwrap_or(0)));
        let sum: u64 = weights.sum();
        if let Some(total) = written.total_weight
            && u64::from(total) != sum
        {
            let message = format!("the weights sum up to {sum}, not to {total}");
            self.diagnostics.error(place.field("total_weight"), message);
        }
    }

    fn weighted(&mut self, written: &ClusterWeight, place: Place<'_>) -> WeightedSpec {
        let [request_headers, response_headers] = self.mutations(&changes!(written), place);
        WeightedSpec {
            name: written.name.clone(),
            weight: written.weight.unwrap_or(0),
            host_rewrite_literal: String::new(),
            request_headers,
            response_headers,
        }
    }

    fn direct(&mut self, written: &DirectResponseAction, place: Place<'_>) -> DirectSpec {
        let body = written
            .body
            .as_ref()
            .map(|body| self.data(body, place.field("body")));
        DirectSpec {
            status: u16::try_from(written.status).unwrap_or(u16::MAX),
            body: body.flatten().unwrap_or_default(),
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
    fn mutations(&mut self, changes: &Changes<'_>, place: Place<'_>) -> [MutationSpec; 2] {
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
                let message = "not supported by nuncio: a header's 'raw_value'";
                self.diagnostics.error(header.field("raw_value"), message);
            }
            match Format::text(&option.header.value, false) {
                Ok(value) => built.push(HeaderAddSpec {
                    name: option.header.key.clone(),
                    value,
                    action: append_action(option.append_action),
                    keep_empty_value: option.keep_empty_value,
                }),
                Err(error) => {
                    self.diagnostics.error(here, chain(&error));
                }
            }
        }
        built
    }
}

const fn append_action(written: HeaderAppendAction) -> AppendAction {
    match written {
        HeaderAppendAction::AppendIfExistsOrAdd => AppendAction::AppendIfExistsOrAdd,
        HeaderAppendAction::AddIfAbsent => AppendAction::AddIfAbsent,
        HeaderAppendAction::OverwriteIfExistsOrAdd => AppendAction::OverwriteIfExistsOrAdd,
        HeaderAppendAction::OverwriteIfExists => AppendAction::OverwriteIfExists,
    }
}

fn redirect(written: &RedirectAction) -> RedirectSpec {
    RedirectSpec {
        scheme: match &written.scheme {
            None | Some(SchemeRewriteSpecifier::HttpsRedirect(false)) => SchemeSpec::Keep,
            Some(SchemeRewriteSpecifier::HttpsRedirect(true)) => SchemeSpec::Https,
            Some(SchemeRewriteSpecifier::SchemeRedirect(name)) => SchemeSpec::Named(name.clone()),
        },
        host: written.host_redirect.clone(),
        port: u16::try_from(written.port_redirect)
            .ok()
            .filter(|port| *port != 0),
        path: match &written.path {
            None => RedirectPathSpec::Keep,
            Some(PathRewriteSpecifier::PathRedirect(path)) => RedirectPathSpec::Path(path.clone()),
            Some(PathRewriteSpecifier::PrefixRewrite(prefix)) => {
                RedirectPathSpec::Prefix(prefix.clone())
            }
            Some(PathRewriteSpecifier::RegexRewrite(rewrite)) => {
                RedirectPathSpec::Regex(regex_rewrite(rewrite))
            }
        },
        status: written.response_code.get(),
        strip_query: written.strip_query,
    }
}

fn regex_rewrite(written: &RegexMatchAndSubstitute) -> RegexRewriteSpec {
    RegexRewriteSpec {
        pattern: written.pattern.regex.clone(),
        substitution: written.substitution.clone(),
    }
}
