//! What a table is built from: the routing part of Envoy's v3 model as plain values.
//!
//! Owns the types that `build` fills in from a written configuration, wherever that came from. They
//! say what is wanted and may hold nonsense; [`super::Table::new`] is what checks them. Field names
//! are Envoy's, so that the path of an error leads to the place in the file.

mod tree;
mod tries;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::action::Priority;
use super::mutation::AppendAction;
use crate::limits;
use crate::metadata::StaticMetadata;
use crate::observe::format::{BodyFormat, Format};
use crate::observe::metrics::VirtualClusterStats;
use crate::observe::stats::Sharded;
use crate::proxy_header::ProxyHeader;
use crate::values::{Fraction, Weights};
use crate::variant::Variants;

pub use tree::{InputSpec, PredicateSpec, ThenSpec, TreeKindSpec, TreeSpec};
pub use tries::{
    AvoidSpec, HostTriesSpec, InternalRedirectSpec, MirrorClusterSpec, MirrorSpec, RateLimitedSpec,
    RedirectPredicateSpec, ResetHeaderSpec, RetrySpec, StreamDurationSpec, TimesSpec, TriesSpec,
};

/// `RouteConfiguration`.
#[derive(Clone, Debug)]
pub struct TableSpec {
    /// `name`.
    pub name: String,
    /// `virtual_hosts`.
    pub virtual_hosts: Vec<VirtualHostSpec>,
    /// `request_headers_to_add` and `request_headers_to_remove`.
    pub request_headers: MutationSpec,
    /// `response_headers_to_add` and `response_headers_to_remove`.
    pub response_headers: MutationSpec,
    /// `most_specific_header_mutations_wins`.
    pub most_specific_header_mutations_wins: bool,
    /// `ignore_path_parameters_in_path_matching`.
    pub ignore_path_parameters: bool,
    /// `validate_clusters`: whether a cluster that is not there is an error. Envoy's default is
    /// true for a static route configuration and false for one that came by RDS.
    pub validate_clusters: bool,
    /// `max_direct_response_body_size_bytes`, in bytes.
    pub max_direct_response_body_size: usize,
    /// `internal_only_headers`: names in any case.
    pub internal_only_headers: Vec<String>,
    /// `ignore_port_in_host_matching`.
    pub ignore_port_in_host_matching: bool,
    /// `vhost_header`: a name in any case, empty for none.
    pub vhost_header: String,
    /// `request_mirror_policies`.
    pub mirrors: Vec<MirrorSpec>,
}

impl Default for TableSpec {
    fn default() -> Self {
        Self {
            name: String::new(),
            virtual_hosts: Vec::new(),
            request_headers: MutationSpec::default(),
            response_headers: MutationSpec::default(),
            most_specific_header_mutations_wins: false,
            ignore_path_parameters: false,
            validate_clusters: true,
            max_direct_response_body_size: limits::DIRECT_RESPONSE_BYTES,
            internal_only_headers: Vec::new(),
            ignore_port_in_host_matching: false,
            vhost_header: String::new(),
            mirrors: Vec::new(),
        }
    }
}

/// `VirtualHost`.
#[derive(Clone, Debug, Default)]
pub struct VirtualHostSpec {
    /// `name`.
    pub name: String,
    /// `domains`.
    pub domains: Vec<String>,
    /// `routes`, or those that `matcher` leads to.
    pub routes: Vec<RouteSpec>,
    /// `matcher`.
    pub matcher: Option<TreeSpec>,
    /// `request_headers_to_add` and `request_headers_to_remove`.
    pub request_headers: MutationSpec,
    /// `response_headers_to_add` and `response_headers_to_remove`.
    pub response_headers: MutationSpec,
    /// `require_tls`.
    pub require_tls: RequireTls,
    /// `virtual_clusters`.
    pub virtual_clusters: Vec<VirtualClusterSpec>,
    /// Counts requests that none of them takes, where there are any.
    pub other_requests: Option<Arc<Sharded<VirtualClusterStats>>>,
    /// What came of `typed_per_filter_config`, here and further out, for what the host itself answers.
    pub variants: Variants,
    /// What it says about attempts.
    pub tries: HostTriesSpec,
    /// `metadata`.
    pub metadata: Option<Arc<StaticMetadata>>,
}

/// `VirtualCluster`.
#[derive(Clone, Debug)]
pub struct VirtualClusterSpec {
    /// `name`.
    pub name: String,
    /// `headers`: all of them match.
    pub headers: Vec<HeaderMatchSpec>,
    /// What counts its requests.
    pub stats: Arc<Sharded<VirtualClusterStats>>,
}

/// `VirtualHost.TlsRequirementType`: which requests that came in clear text are sent to `https`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequireTls {
    /// `NONE`.
    #[default]
    None,
    /// `EXTERNAL_ONLY`: those that do not have `x-envoy-internal: true`.
    ExternalOnly,
    /// `ALL`.
    All,
}

/// `Route`.
#[derive(Clone, Debug)]
pub struct RouteSpec {
    /// `name`, empty where it has none.
    pub name: String,
    /// `match`.
    pub matches: MatchSpec,
    /// `route`, `redirect`, `direct_response` or `non_forwarding_action`.
    pub action: ActionSpec,
    /// What came of `typed_per_filter_config`, here and further out.
    pub variants: Variants,
    /// `request_headers_to_add` and `request_headers_to_remove`.
    pub request_headers: MutationSpec,
    /// `response_headers_to_add` and `response_headers_to_remove`.
    pub response_headers: MutationSpec,
    /// `metadata`.
    pub metadata: Option<Arc<StaticMetadata>>,
    /// What counts its requests, where it has a `stat_prefix`; in place of the virtual host's groups.
    pub stats: Option<RouteStatsSpec>,
}

/// What counts the requests of a route with a `stat_prefix`.
#[derive(Clone, Debug)]
pub struct RouteStatsSpec {
    /// All of them, but for those of `groups`.
    pub requests: Arc<Sharded<VirtualClusterStats>>,
    /// Those in each of the virtual host's `virtual_clusters`, which count there as well; empty where it
    /// has none.
    pub groups: Vec<Arc<Sharded<VirtualClusterStats>>>,
}

/// What `HttpProtocolOptions` of a cluster says about requests.
#[derive(Clone, Debug, Default)]
pub struct ClusterPoliciesSpec {
    /// `retry_policy`.
    pub retry: Option<RetrySpec>,
    /// `request_mirror_policies`.
    pub mirrors: Vec<MirrorSpec>,
    /// `hash_policy`.
    pub hash: Vec<HashPolicySpec>,
}

/// `RouteMatch`.
#[derive(Clone, Debug)]
pub struct MatchSpec {
    /// `path_specifier`.
    pub path: PathSpec,
    /// `case_sensitive`, true unless said otherwise; does not apply to `safe_regex`.
    pub case_sensitive: bool,
    /// `headers`.
    pub headers: Vec<HeaderMatchSpec>,
    /// `query_parameters`.
    pub query_parameters: Vec<QueryMatchSpec>,
    /// Whether `grpc` is set.
    pub grpc: bool,
    /// `runtime_fraction`.
    pub runtime_fraction: Option<Fraction>,
    /// `cookies`.
    pub cookies: Vec<CookieMatchSpec>,
    /// `tls_context`.
    pub tls_context: Option<TlsMatchSpec>,
    /// `dynamic_metadata`.
    pub dynamic_metadata: Vec<MetadataMatchSpec>,
    /// `filter_state`.
    pub filter_state: Vec<FilterStateSpec>,
}

impl MatchSpec {
    /// Only a path, every other criterion at its default.
    #[must_use]
    pub const fn path(path: PathSpec) -> Self {
        Self {
            path,
            case_sensitive: true,
            headers: Vec::new(),
            query_parameters: Vec::new(),
            grpc: false,
            runtime_fraction: None,
            cookies: Vec::new(),
            tls_context: None,
            dynamic_metadata: Vec::new(),
            filter_state: Vec::new(),
        }
    }
}

/// `RouteMatch.path_specifier`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathSpec {
    /// `prefix`: may be empty.
    Prefix(String),
    /// `path`: the whole path without the query.
    Path(String),
    /// `safe_regex`: matches the whole path without the query.
    SafeRegex(String),
    /// `path_separated_prefix`: the prefix alone or followed by `/`.
    PathSeparatedPrefix(String),
    /// `path_match_policy` with a `UriTemplateMatchConfig`: its `path_template`.
    Template(String),
    /// `connect_matcher`: CONNECT requests.
    Connect,
}

/// `RouteMatch.TlsContextMatchOptions`: what is wanted of the client's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsMatchSpec {
    /// `presented`: whether there is one.
    pub presented: Option<bool>,
    /// `validated`: whether it was checked and found good.
    pub validated: Option<bool>,
}

/// `CookieMatcher`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieMatchSpec {
    /// `name`.
    pub name: String,
    /// `string_match`.
    pub string: StringMatchSpec,
    /// `invert_match`.
    pub invert_match: bool,
}

/// `MetadataMatcher`.
#[derive(Clone, Debug, PartialEq)]
pub struct MetadataMatchSpec {
    /// `filter`: the namespace.
    pub filter: String,
    /// `path`: the keys; one, as values are not nested.
    pub path: Vec<String>,
    /// `value`.
    pub value: ValueMatchSpec,
    /// `invert`.
    pub invert: bool,
}

/// `FilterStateMatcher`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterStateSpec {
    /// `key`.
    pub key: String,
    /// `string_match`.
    pub string: StringMatchSpec,
}

/// `ValueMatcher.match_pattern`.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueMatchSpec {
    /// `present_match`: false never matches.
    Present(bool),
    /// `string_match`.
    String(StringMatchSpec),
    /// `bool_match`.
    Bool(bool),
    /// `double_match.range`: `start` ≤ value < `end`.
    Range {
        /// `start`.
        start: f64,
        /// `end`.
        end: f64,
    },
    /// `double_match.exact`.
    Number(f64),
    /// `or_match`.
    Any(Vec<Self>),
}

/// `HeaderMatcher`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderMatchSpec {
    /// `name`, in any case; `host` is `:authority`.
    pub name: String,
    /// `header_match_specifier`; where none is set, `Present(true)`.
    pub test: HeaderTestSpec,
    /// `invert_match`.
    pub invert_match: bool,
    /// `treat_missing_header_as_empty`.
    pub treat_missing_header_as_empty: bool,
}

/// `HeaderMatcher.header_match_specifier`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderTestSpec {
    /// `present_match`.
    Present(bool),
    /// `string_match`.
    String(StringMatchSpec),
    /// `exact_match`, `prefix_match`, `suffix_match`, `contains_match` or `safe_regex_match`: the
    /// older spelling of a string match, always case-sensitive.
    Legacy(StringPatternSpec),
    /// `range_match`: `start` ≤ value < `end`.
    Range {
        /// `start`.
        start: i64,
        /// `end`.
        end: i64,
    },
}

/// `StringMatcher`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StringMatchSpec {
    /// `match_pattern`.
    pub pattern: StringPatternSpec,
    /// `ignore_case`: ASCII letters; not allowed with `safe_regex`, which has `(?i)`.
    pub ignore_case: bool,
}

/// `StringMatcher.match_pattern`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StringPatternSpec {
    /// `exact`: may be empty.
    Exact(String),
    /// `prefix`.
    Prefix(String),
    /// `suffix`.
    Suffix(String),
    /// `contains`.
    Contains(String),
    /// `safe_regex`: matches the whole value.
    SafeRegex(String),
}

/// `QueryParameterMatcher`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryMatchSpec {
    /// `name`, compared as it stands in the URL, without percent-decoding.
    pub name: String,
    /// `query_parameter_match_specifier`; where none is set, `Present(true)`.
    pub test: QueryTestSpec,
}

/// `QueryParameterMatcher.query_parameter_match_specifier`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryTestSpec {
    /// `present_match`.
    Present(bool),
    /// `string_match`.
    String(StringMatchSpec),
}

/// `Route.action`.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one of a route while a table is built, and most routes forward"
)]
pub enum ActionSpec {
    /// `route`.
    Forward(ForwardSpec),
    /// `redirect`.
    Redirect(RedirectSpec),
    /// `direct_response`.
    Direct(DirectSpec),
}

/// `RouteAction`.
#[derive(Clone, Debug)]
pub struct ForwardSpec {
    /// `cluster_specifier`.
    pub clusters: ClustersSpec,
    /// `metadata_match`: an index into the snapshot's list of criteria.
    pub criteria: Option<usize>,
    /// `prefix_rewrite`, empty for none.
    pub prefix_rewrite: String,
    /// `regex_rewrite`.
    pub regex_rewrite: Option<RegexRewriteSpec>,
    /// `path_rewrite_policy` with a `UriTemplateRewriteConfig`: its `path_template_rewrite`; empty
    /// for none.
    pub path_template_rewrite: String,
    /// `path_rewrite`.
    pub path_rewrite: Option<Format>,
    /// `host_rewrite_specifier`.
    pub host_rewrite: Option<HostRewriteSpec>,
    /// `append_x_forwarded_host`.
    pub append_x_forwarded_host: bool,
    /// `hash_policy`.
    pub hash_policy: Vec<HashPolicySpec>,
    /// How long a request may take.
    pub times: TimesSpec,
    /// How often it may be sent, where the virtual host does not say it for all of its routes.
    pub tries: Option<Box<TriesSpec>>,
    /// `priority`.
    pub priority: Priority,
    /// `cluster_not_found_response_code` as a status.
    pub cluster_not_found_status: u16,
    /// `upgrade_configs`.
    pub upgrades: Vec<UpgradeSpec>,
}

impl ForwardSpec {
    /// To `clusters`, every other field at its default.
    #[must_use]
    pub const fn to(clusters: ClustersSpec) -> Self {
        Self {
            clusters,
            criteria: None,
            prefix_rewrite: String::new(),
            regex_rewrite: None,
            path_template_rewrite: String::new(),
            path_rewrite: None,
            host_rewrite: None,
            append_x_forwarded_host: false,
            hash_policy: Vec::new(),
            times: TimesSpec::UNSET,
            tries: None,
            priority: Priority::Default,
            cluster_not_found_status: 503,
            upgrades: Vec::new(),
        }
    }
}

/// `RouteAction.UpgradeConfig`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpgradeSpec {
    /// `upgrade_type`.
    pub kind: String,
    /// `enabled`.
    pub enabled: bool,
    /// Whether there is a `connect_config`.
    pub terminates: bool,
    /// `connect_config.allow_post`.
    pub takes_posts: bool,
    /// `connect_config.proxy_protocol_config`.
    pub proxy_header: Option<ProxyHeader>,
}

/// `RouteAction.cluster_specifier`.
#[derive(Clone, Debug)]
pub enum ClustersSpec {
    /// `cluster`.
    Cluster(String),
    /// `cluster_header`: the name of a field, in any case.
    Header(String),
    /// `weighted_clusters`.
    Weighted(Box<WeightedClustersSpec>),
    /// None (`non_forwarding_action`): a request that no filter answers finds no cluster.
    Nowhere,
}

/// `WeightedCluster`.
#[derive(Clone, Debug, Default)]
pub struct WeightedClustersSpec {
    /// `clusters`.
    pub clusters: Vec<WeightedSpec>,
    /// The runtime values that override their weights, in the same order.
    pub weights: Option<Weights>,
    /// `random_value_specifier`.
    pub random: RandomSpec,
}

/// `WeightedCluster.random_value_specifier`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RandomSpec {
    /// The stream's number.
    #[default]
    Stream,
    /// `header_name`, in any case.
    Header(String),
    /// `use_hash_policy`.
    Hash,
}

/// `RouteAction.host_rewrite_specifier`.
#[derive(Clone, Debug)]
pub enum HostRewriteSpec {
    /// `host_rewrite_literal`.
    Literal(String),
    /// `auto_host_rewrite`.
    Auto,
    /// `host_rewrite_header`: a name in any case.
    Header(String),
    /// `host_rewrite_path_regex`.
    PathRegex(RegexRewriteSpec),
    /// `host_rewrite`.
    Format(Format),
}

/// `HashPolicy`.
#[derive(Clone, Debug)]
pub struct HashPolicySpec {
    /// `policy_specifier`.
    pub source: HashSourceSpec,
    /// `terminal`.
    pub terminal: bool,
}

/// `HashPolicy.policy_specifier`.
#[derive(Clone, Debug)]
pub enum HashSourceSpec {
    /// `header`.
    Header {
        /// `header_name`, in any case.
        name: String,
        /// `regex_rewrite`.
        rewrite: Option<RegexRewriteSpec>,
    },
    /// `cookie`.
    Cookie {
        /// `name`.
        name: String,
        /// `ttl`: where it is set, a missing cookie is made.
        ttl: Option<Duration>,
        /// `path`, empty for none.
        path: String,
        /// `attributes`: names and values, which may be empty.
        attributes: Vec<(String, String)>,
    },
    /// `connection_properties.source_ip`.
    SourceIp,
    /// `query_parameter.name`.
    QueryParameter(String),
    /// `filter_state.key`.
    FilterState(String),
}

/// `WeightedCluster.ClusterWeight`.
#[derive(Clone, Debug, Default)]
pub struct WeightedSpec {
    /// `name`, empty where `cluster_header` stands in its place.
    pub name: String,
    /// `cluster_header`: the name of a field, in any case.
    pub cluster_header: String,
    /// `metadata_match` with the route's: an index into the snapshot's list of criteria.
    pub criteria: Option<usize>,
    /// `weight`.
    pub weight: u32,
    /// `host_rewrite_literal`, empty for none.
    pub host_rewrite_literal: String,
    /// `request_headers_to_add` and `request_headers_to_remove`.
    pub request_headers: MutationSpec,
    /// `response_headers_to_add` and `response_headers_to_remove`.
    pub response_headers: MutationSpec,
    /// What came of `typed_per_filter_config`, here and further out.
    pub variants: Variants,
}

/// `RegexMatchAndSubstitute`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegexRewriteSpec {
    /// `pattern.regex`.
    pub pattern: String,
    /// `substitution`: `\0` is the match, `\1` to `\9` are its groups, `\\` is a backslash.
    pub substitution: String,
}

/// `RedirectAction`.
#[derive(Clone, Debug)]
pub struct RedirectSpec {
    /// `scheme_rewrite_specifier`.
    pub scheme: SchemeSpec,
    /// `host_redirect`, empty for none.
    pub host: String,
    /// `port_redirect`.
    pub port: Option<u16>,
    /// `path_rewrite_specifier`.
    pub path: RedirectPathSpec,
    /// `response_code` as a status.
    pub status: u16,
    /// `strip_query`.
    pub strip_query: bool,
}

impl Default for RedirectSpec {
    fn default() -> Self {
        Self {
            scheme: SchemeSpec::Keep,
            host: String::new(),
            port: None,
            path: RedirectPathSpec::Keep,
            status: 301,
            strip_query: false,
        }
    }
}

/// `RedirectAction.scheme_rewrite_specifier`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemeSpec {
    /// None is set, or `https_redirect: false`.
    Keep,
    /// `https_redirect: true`.
    Https,
    /// `scheme_redirect`.
    Named(String),
}

/// `RedirectAction.path_rewrite_specifier`.
#[derive(Clone, Debug)]
pub enum RedirectPathSpec {
    /// None is set.
    Keep,
    /// `path_redirect`.
    Path(String),
    /// `prefix_rewrite`.
    Prefix(String),
    /// `regex_rewrite`.
    Regex(RegexRewriteSpec),
    /// `path_rewrite`.
    Format(Format),
}

/// `DirectResponseAction`.
#[derive(Clone, Debug)]
pub struct DirectSpec {
    /// `status`: 200 to 599.
    pub status: u16,
    /// `body`, read from wherever it was.
    pub body: Bytes,
    /// `body_format`.
    pub body_format: Option<BodyFormat>,
}

/// What one level does to the headers of a request or of a response.
#[derive(Clone, Debug, Default)]
pub struct MutationSpec {
    /// `…_headers_to_add`.
    pub add: Vec<HeaderAddSpec>,
    /// `…_headers_to_remove`: names in any case.
    pub remove: Vec<String>,
}

/// `HeaderValueOption`.
#[derive(Clone, Debug)]
pub struct HeaderAddSpec {
    /// `header.key`, in any case.
    pub name: String,
    /// `header.value`, compiled.
    pub value: Format,
    /// `append_action`.
    pub action: AppendAction,
    /// `keep_empty_value`.
    pub keep_empty_value: bool,
}
