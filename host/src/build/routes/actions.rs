//! What routes do: `RouteAction`, `RedirectAction` and `DirectResponseAction`.

use super::super::{Workshop, chain};
use super::{Changes, Filters, changes};
use crate::config::Place;
use crate::config::matcher::RegexMatchAndSubstitute;
use crate::config::route::{
    ClusterNotFoundResponseCode, ClusterSpecifier, ClusterWeight, DirectResponseAction, HashPolicy,
    HashPolicySpecifier, HostRewriteSpecifier, PathRewriteConfig, PathRewriteSpecifier,
    RandomValueSpecifier, RedirectAction, RouteAction, RouteUpgradeConfig, RoutingPriority,
    SchemeRewriteSpecifier, WeightedCluster, WeightedHostRewriteSpecifier,
};
use crate::config::scalar::Duration;
use crate::observe::format::Format;
use crate::route::Priority;
use crate::route::spec::{
    ClustersSpec, DirectSpec, ForwardSpec, HashPolicySpec, HashSourceSpec, HostRewriteSpec,
    RandomSpec, RedirectPathSpec, RedirectSpec, RegexRewriteSpec, SchemeSpec, UpgradeSpec,
    WeightedClustersSpec, WeightedSpec,
};
use crate::values::Weights;

impl Workshop<'_> {
    pub(super) fn forward(
        &mut self,
        written: &RouteAction,
        limits: (Option<u64>, Option<u32>),
        filters: Filters<'_>,
        place: Place<'_>,
    ) -> ForwardSpec {
        let criteria = self.criteria(written.metadata_match.as_ref(), None);
        let clusters = match &written.cluster {
            ClusterSpecifier::Cluster(name) => ClustersSpec::Cluster(name.clone()),
            ClusterSpecifier::ClusterHeader(name) => ClustersSpec::Header(name.clone()),
            ClusterSpecifier::WeightedClusters(weighted) => {
                let place = place.field("weighted_clusters");
                let weighted =
                    self.weighted_clusters(weighted, (written, criteria), filters, place);
                ClustersSpec::Weighted(Box::new(weighted))
            }
        };
        let mut spec = ForwardSpec::to(clusters);
        spec.criteria = criteria;
        spec.prefix_rewrite.clone_from(&written.prefix_rewrite);
        spec.regex_rewrite = written.regex_rewrite.as_ref().map(regex_rewrite);
        spec.path_rewrite = self.format(&written.path_rewrite, place.field("path_rewrite"));
        if let Some(policy) = &written.path_rewrite_policy {
            let PathRewriteConfig::UriTemplate(template) = &policy.typed_config;
            spec.path_template_rewrite
                .clone_from(&template.path_template_rewrite);
        }
        self.one_path_rewrite(written, place);
        spec.host_rewrite = self.host_rewrite(written, place);
        spec.append_x_forwarded_host = written.append_x_forwarded_host;
        spec.hash_policy = written.hash_policy.iter().filter_map(hash_policy).collect();
        spec.times = self.times(written, place);
        spec.tries = self.tries(written, limits, place).map(Box::new);
        spec.priority = match written.priority {
            RoutingPriority::Default => Priority::Default,
            RoutingPriority::High => Priority::High,
        };
        let upgrades = written.upgrade_configs.iter().enumerate();
        let here = place.field("upgrade_configs");
        let upgrades = upgrades.map(|(index, upgrade)| self.upgrade(upgrade, here.index(index)));
        spec.upgrades = upgrades.collect();
        spec.cluster_not_found_status = match written.cluster_not_found_response_code {
            ClusterNotFoundResponseCode::ServiceUnavailable => 503,
            ClusterNotFoundResponseCode::NotFound => 404,
            ClusterNotFoundResponseCode::InternalServerError => 500,
        };
        spec
    }

    /// `path_rewrite` excludes the other rewrites of the path.
    fn one_path_rewrite(&mut self, written: &RouteAction, place: Place<'_>) {
        let others = !written.prefix_rewrite.is_empty() || written.regex_rewrite.is_some();
        if !written.path_rewrite.is_empty() && others {
            let message = "only one of path_rewrite, prefix_rewrite and regex_rewrite may be set";
            self.diagnostics.error(place.field("path_rewrite"), message);
        }
    }

    fn host_rewrite(&mut self, written: &RouteAction, place: Place<'_>) -> Option<HostRewriteSpec> {
        Some(match written.host_rewrite.as_ref()? {
            HostRewriteSpecifier::HostRewriteLiteral(host) => {
                HostRewriteSpec::Literal(host.clone())
            }
            HostRewriteSpecifier::AutoHostRewrite(true) => HostRewriteSpec::Auto,
            HostRewriteSpecifier::AutoHostRewrite(false) => return None,
            HostRewriteSpecifier::HostRewriteHeader(name) if name.is_empty() => return None,
            HostRewriteSpecifier::HostRewriteHeader(name) => HostRewriteSpec::Header(name.clone()),
            HostRewriteSpecifier::HostRewritePathRegex(rewrite) => {
                HostRewriteSpec::PathRegex(regex_rewrite(rewrite))
            }
            HostRewriteSpecifier::HostRewrite(format) => {
                HostRewriteSpec::Format(self.format(format, place.field("host_rewrite"))?)
            }
        })
    }

    /// A format of a part of a head; `None` where it is empty, or wrong.
    fn format(&mut self, written: &str, place: Place<'_>) -> Option<Format> {
        if written.is_empty() {
            return None;
        }
        match Format::text(written, false) {
            Ok(format) => Some(format),
            Err(error) => {
                self.diagnostics.error(place, chain(&error));
                None
            }
        }
    }

    pub(super) fn redirect(&mut self, written: &RedirectAction, place: Place<'_>) -> RedirectSpec {
        RedirectSpec {
            scheme: match &written.scheme {
                None | Some(SchemeRewriteSpecifier::HttpsRedirect(false)) => SchemeSpec::Keep,
                Some(SchemeRewriteSpecifier::HttpsRedirect(true)) => SchemeSpec::Https,
                Some(SchemeRewriteSpecifier::SchemeRedirect(name)) => {
                    SchemeSpec::Named(name.clone())
                }
            },
            host: written.host_redirect.clone(),
            port: u16::try_from(written.port_redirect)
                .ok()
                .filter(|port| *port != 0),
            path: match &written.path {
                None => RedirectPathSpec::Keep,
                Some(PathRewriteSpecifier::PathRedirect(path)) => {
                    RedirectPathSpec::Path(path.clone())
                }
                Some(PathRewriteSpecifier::PrefixRewrite(prefix)) => {
                    RedirectPathSpec::Prefix(prefix.clone())
                }
                Some(PathRewriteSpecifier::RegexRewrite(rewrite)) => {
                    RedirectPathSpec::Regex(regex_rewrite(rewrite))
                }
                Some(PathRewriteSpecifier::PathRewrite(format)) => self
                    .format(format, place.field("path_rewrite"))
                    .map_or(RedirectPathSpec::Keep, RedirectPathSpec::Format),
            },
            status: written.response_code.get(),
            strip_query: written.strip_query,
        }
    }

    fn weighted_clusters(
        &mut self,
        written: &WeightedCluster,
        (action, criteria): (&RouteAction, Option<usize>),
        (chain, filters): Filters<'_>,
        place: Place<'_>,
    ) -> WeightedClustersSpec {
        self.total_weight(written, place);
        let random = match &written.random_value {
            None | Some(RandomValueSpecifier::UseHashPolicy(false)) => RandomSpec::Stream,
            Some(RandomValueSpecifier::UseHashPolicy(true)) => {
                if action.hash_policy.is_empty() {
                    let message =
                        "without a 'hash_policy' of the route the choice is left to chance";
                    self.diagnostics
                        .warning(place.field("use_hash_policy"), message);
                }
                RandomSpec::Hash
            }
            Some(RandomValueSpecifier::HeaderName(name)) if name.is_empty() => RandomSpec::Stream,
            Some(RandomValueSpecifier::HeaderName(name)) => RandomSpec::Header(name.clone()),
        };
        let clusters = place.field("clusters");
        let entries = written.clusters.iter().enumerate();
        WeightedClustersSpec {
            clusters: entries
                .map(|(index, entry)| {
                    self.weighted(entry, criteria, (chain, filters), clusters.index(index))
                })
                .collect(),
            weights: self.weights(written),
            random,
        }
    }

    /// The runtime values that override the weights.
    fn weights(&self, written: &WeightedCluster) -> Option<Weights> {
        let prefix = &written.runtime_key_prefix;
        let keys = written.clusters.iter();
        let keys = keys.map(|entry| format!("{prefix}.{}", entry.name));
        (!prefix.is_empty()).then(|| Weights::new(&self.values, keys))
    }

    /// The deprecated `total_weight` should say what the weights sum up to, which counts.
    fn total_weight(&mut self, written: &WeightedCluster, place: Place<'_>) {
        let weights = written
            .clusters
            .iter()
            .map(|entry| u64::from(entry.weight.unwrap_or(0)));
        let sum: u64 = weights.sum();
        if let Some(total) = written.total_weight
            && u64::from(total) != sum
        {
            let message = format!("no effect: the weights sum up to {sum}, not to {total}");
            self.diagnostics
                .warning(place.field("total_weight"), message);
        }
    }

    /// `criteria` are the route's.
    fn weighted(
        &mut self,
        written: &ClusterWeight,
        criteria: Option<usize>,
        (chain, outer): Filters<'_>,
        place: Place<'_>,
    ) -> WeightedSpec {
        let filters = self.level(chain, outer, &written.typed_per_filter_config, place);
        let [request_headers, response_headers] = self.mutations(&changes!(written), place);
        let host = match &written.host_rewrite {
            None => "",
            Some(WeightedHostRewriteSpecifier::HostRewriteLiteral(host)) => host,
        };
        WeightedSpec {
            name: written.name.clone(),
            cluster_header: written.cluster_header.clone(),
            criteria: self.criteria(written.metadata_match.as_ref(), criteria),
            weight: written.weight.unwrap_or(0),
            host_rewrite_literal: host.to_owned(),
            request_headers,
            response_headers,
            variants: filters.variants(),
        }
    }

    fn upgrade(&mut self, written: &RouteUpgradeConfig, place: Place<'_>) -> UpgradeSpec {
        let connect = written.connect_config.as_ref();
        let header = connect.and_then(|connect| connect.proxy_protocol_config.as_ref());
        let connect_place = place.field("connect_config");
        let place = connect_place.field("proxy_protocol_config");
        UpgradeSpec {
            kind: written.upgrade_type.clone(),
            enabled: written.enabled.unwrap_or(true),
            terminates: connect.is_some(),
            takes_posts: connect.is_some_and(|connect| connect.allow_post),
            proxy_header: header.and_then(|header| self.proxy_header(header, place)),
        }
    }

    pub(super) fn direct(
        &mut self,
        written: &DirectResponseAction,
        place: Place<'_>,
    ) -> DirectSpec {
        let body = written
            .body
            .as_ref()
            .map(|body| self.data(body, place.field("body")));
        let format = written
            .body_format
            .as_ref()
            .map(|format| self.body_format(format, place.field("body_format")));
        DirectSpec {
            status: u16::try_from(written.status).unwrap_or(u16::MAX),
            body: body.flatten().unwrap_or_default(),
            body_format: format.flatten(),
        }
    }
}

/// `None` for a policy that hashes nothing.
pub(in crate::build) fn hash_policy(written: &HashPolicy) -> Option<HashPolicySpec> {
    let source = match &written.specifier {
        HashPolicySpecifier::Header(header) => HashSourceSpec::Header {
            name: header.header_name.clone(),
            rewrite: header.regex_rewrite.as_ref().map(regex_rewrite),
        },
        HashPolicySpecifier::Cookie(cookie) => HashSourceSpec::Cookie {
            name: cookie.name.clone(),
            ttl: cookie.ttl.map(Duration::get),
            path: cookie.path.clone(),
            attributes: cookie
                .attributes
                .iter()
                .map(|attribute| (attribute.name.clone(), attribute.value.clone()))
                .collect(),
        },
        HashPolicySpecifier::ConnectionProperties(properties) => {
            if !properties.source_ip {
                return None;
            }
            HashSourceSpec::SourceIp
        }
        HashPolicySpecifier::FilterState(state) => HashSourceSpec::FilterState(state.key.clone()),
        HashPolicySpecifier::QueryParameter(parameter) => {
            HashSourceSpec::QueryParameter(parameter.name.clone())
        }
    };
    Some(HashPolicySpec {
        source,
        terminal: written.terminal,
    })
}

fn regex_rewrite(written: &RegexMatchAndSubstitute) -> RegexRewriteSpec {
    RegexRewriteSpec {
        pattern: written.pattern.regex.clone(),
        substitution: written.substitution.clone(),
    }
}
