//! What is said about statistics as a whole: `stats_config`.
//!
//! Owns its checks, and making [`Naming`] of it. Called when the bootstrap is built.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Workshop, matching};
use crate::config::Place;
use crate::config::bootstrap::{StatsConfig, StatsMatch, TagSpecifier, TagValue};
use crate::config::matcher::StringMatcher;
use crate::observe::naming::{Defaults, Naming, Tag, Test, label_of};
use crate::observe::stats::Bounds;
use crate::route::TextCondition;

/// Tags that Envoy knows an expression for.
const KNOWN: [&str; 41] = [
    "envoy.auth_digest_prefix",
    "envoy.clientssl_prefix",
    "envoy.cluster_name",
    "envoy.connection_limit_prefix",
    "envoy.dns_filter_prefix",
    "envoy.dynamo_operation",
    "envoy.dynamo_partition_id",
    "envoy.dynamo_table",
    "envoy.ext_authz_prefix",
    "envoy.fault_downstream_cluster",
    "envoy.google_grpc_client_prefix",
    "envoy.grpc_bridge_method",
    "envoy.grpc_bridge_service",
    "envoy.http_conn_manager_prefix",
    "envoy.http_user_agent",
    "envoy.listener_address",
    "envoy.local_http_ratelimit_prefix",
    "envoy.local_listener_ratelimit_prefix",
    "envoy.local_network_ratelimit_prefix",
    "envoy.mongo_callsite",
    "envoy.mongo_cmd",
    "envoy.mongo_collection",
    "envoy.mongo_prefix",
    "envoy.proxy_protocol_prefix",
    "envoy.proxy_protocol_version",
    "envoy.ratelimit_prefix",
    "envoy.rbac_http_prefix",
    "envoy.rbac_policy_name",
    "envoy.rbac_prefix",
    "envoy.rds_route_config",
    "envoy.redis_prefix",
    "envoy.response_code",
    "envoy.response_code_class",
    "envoy.route",
    "envoy.scoped_rds_config",
    "envoy.ssl_cipher",
    "envoy.tcp_prefix",
    "envoy.thrift_prefix",
    "envoy.tls_certificate",
    "envoy.virtual_cluster",
    "envoy.virtual_host",
];

impl Workshop<'_> {
    /// What the configuration says about statistics.
    pub(super) fn naming(&mut self, written: &StatsConfig, place: Place<'_>) -> Naming {
        let mut naming = Naming::default();
        if written.use_all_default_tags == Some(false) {
            naming.defaults = Defaults::Only(BTreeSet::new());
        }
        let tags = place.field("stats_tags");
        for (index, tag) in written.stats_tags.iter().enumerate() {
            self.tag(tag, &mut naming, tags.index(index));
        }
        if let Some(matcher) = &written.stats_matcher {
            let place = place.field("stats_matcher");
            naming.is_kept = match &matcher.stats_matcher {
                StatsMatch::RejectAll(true) => Some(Box::new(|_| false)),
                StatsMatch::RejectAll(false) => None,
                StatsMatch::ExclusionList(list) => {
                    let place = place.field("exclusion_list").field("patterns");
                    let is_in = self.one_of(&list.patterns, place);
                    Some(Box::new(move |name| !is_in(name)))
                }
                StatsMatch::InclusionList(list) => {
                    let place = place.field("inclusion_list").field("patterns");
                    Some(self.one_of(&list.patterns, place))
                }
            };
        }
        let settings = place.field("histogram_bucket_settings");
        for (index, setting) in written.histogram_bucket_settings.iter().enumerate() {
            let place = settings.index(index).field("match");
            let is_meant = self.one_of(std::slice::from_ref(&setting.r#match), place);
            if setting.buckets.is_empty() {
                continue;
            }
            let mut bounds = setting.buckets.clone();
            bounds.sort_by(f64::total_cmp);
            if bounds.windows(2).any(|pair| pair.first() == pair.last()) {
                let message = "a bound is there twice";
                let place = settings.index(index).field("buckets");
                self.diagnostics.error(place, message);
            }
            naming
                .buckets
                .push((is_meant, Arc::new(Bounds::new(bounds))));
        }
        naming
    }

    fn tag(&mut self, written: &TagSpecifier, naming: &mut Naming, place: Place<'_>) {
        let name = &written.tag_name;
        let label = label_of(name);
        if !label.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            let message = format!("'{name}' cannot be the name of a label");
            self.diagnostics.error(place.field("tag_name"), message);
            return;
        }
        match &written.value {
            Some(TagValue::FixedValue(value)) => {
                naming.fixed.push((label, value.clone()));
            }
            Some(TagValue::Regex(regex)) if !regex.is_empty() => match Tag::new(name, regex) {
                Ok(tag) => naming.tags.push(tag),
                Err(error) => {
                    let message = format!("compile the expression: {error}");
                    self.diagnostics.error(place.field("regex"), message);
                }
            },
            Some(TagValue::Regex(_)) | None => {
                if !KNOWN.contains(&name.as_str()) {
                    let message =
                        format!("'{name}' needs a 'regex': it is none of Envoy's own tags");
                    self.diagnostics.error(place.field("tag_name"), message);
                }
                if let Defaults::Only(labels) = &mut naming.defaults {
                    labels.insert(label);
                }
            }
        }
    }

    /// Whether a name is one that any of the patterns means.
    fn one_of(&mut self, written: &[StringMatcher], place: Place<'_>) -> Test {
        let patterns = written.iter().enumerate().filter_map(|(index, pattern)| {
            let built = TextCondition::new(&matching::string(pattern));
            self.of_routes(built, place.index(index))
        });
        let patterns: Vec<TextCondition> = patterns.collect();
        Box::new(move |name| {
            patterns
                .iter()
                .any(|pattern| pattern.matches(name.as_bytes()))
        })
    }
}
