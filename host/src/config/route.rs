//! Virtual hosts and routes: `envoy.config.route.v3`.

use serde::{Deserialize, Serialize};

use crate::config::access_log::SubstitutionFormatString;
use crate::config::filter::cors::OldCorsPolicy;
use crate::config::filter::per_route::PerFilterConfigs;
use crate::config::header::{HeaderMatcher, HeaderValueOption};
use crate::config::matcher::{RegexMatchAndSubstitute, RegexMatcher, StringMatcher};
use crate::config::retry::{
    HedgePolicy, InternalRedirectPolicy, MaxStreamDuration, RequestMirrorPolicy, RetryPolicy,
};
use crate::config::scalar::{
    DataSource, Duration, FractionalPercent, Metadata, RuntimeFractionalPercent,
};
use crate::config::upstream_tls::ProxyProtocolConfig;

mod hash_policy;
mod matching;
mod tree;

pub use hash_policy::{
    ConnectionProperties, Cookie, CookieAttribute, FilterStateHash, HashPolicy,
    HashPolicySpecifier, HeaderHash, QueryParameterHash,
};
pub use matching::{
    ConnectMatcher, CookieMatcher, FilterStateMatch, FilterStateMatcher, MetadataMatcher,
    MetadataPathSegment, MetadataSegment, PathMatchConfig, PathMatchPolicy, PathRewriteConfig,
    PathRewritePolicy, TlsContextMatchOptions, UriTemplateMatchConfig, UriTemplateRewriteConfig,
};
pub use tree::{
    ActionExtension, CustomMatch, CustomMatchConfig, FieldMatcher, HeaderMatchInput, IpMatcher,
    IpRangeMatcher, MatchInput, MatchInputConfig, MatchMap, MatchedRoutes, Matcher, MatcherList,
    MatcherTree, MatcherType, OnMatch, Predicate, PredicateList, PredicateType, RouteList,
    SinglePredicate, Then, TreeType, ValueMatch, XdsCidrRange, XdsGoogleRe2, XdsMatchPattern,
    XdsRegexMatcher, XdsStringMatcher,
};

/// `envoy.config.route.v3.RouteConfiguration`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.RouteConfiguration")]
pub struct RouteConfiguration {
    /// The name, for logs and the admin pages.
    #[serde(default)]
    pub name: String,
    /// The hosts, of which a request's `host` chooses one.
    #[serde(default)]
    pub virtual_hosts: Vec<VirtualHost>,
    /// Fields added to every request.
    #[serde(default)]
    pub request_headers_to_add: Vec<HeaderValueOption>,
    /// Fields removed from every request.
    #[serde(default)]
    pub request_headers_to_remove: Vec<String>,
    /// Fields added to every response.
    #[serde(default)]
    pub response_headers_to_add: Vec<HeaderValueOption>,
    /// Fields removed from every response.
    #[serde(default)]
    pub response_headers_to_remove: Vec<String>,
    /// Whether the changes of the route come last, and so win; those of the route configuration do
    /// by default.
    #[serde(default)]
    pub most_specific_header_mutations_wins: bool,
    /// Fields that only internal clients may send: removed from the requests of others.
    #[serde(default)]
    pub internal_only_headers: Vec<String>,
    /// Whether a cluster that is not there is an error; true by default.
    #[serde(default)]
    pub validate_clusters: Option<bool>,
    /// Largest body of a direct response; 4096 bytes by default.
    #[serde(default)]
    pub max_direct_response_body_size_bytes: Option<u32>,
    /// Whether hosts are compared without their port.
    #[serde(default)]
    pub ignore_port_in_host_matching: bool,
    /// The field that the virtual host is chosen by, in place of `host`.
    #[serde(default)]
    pub vhost_header: String,
    /// The configurations of filters for what is in here.
    #[serde(default, rename = "anys:typed_per_filter_config")]
    pub typed_per_filter_config: PerFilterConfigs,
    /// Whether each segment of a path is matched without what follows its first `;`.
    #[serde(default)]
    pub ignore_path_parameters_in_path_matching: bool,
    /// Which clusters get copies, of virtual hosts that do not say it themselves.
    #[serde(default)]
    pub request_mirror_policies: Vec<RequestMirrorPolicy>,
    /// For who reads the configuration.
    #[serde(default)]
    pub metadata: Option<Metadata>,
}

/// `envoy.config.route.v3.VirtualHost`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.VirtualHost")]
pub struct VirtualHost {
    /// The name, for logs.
    pub name: String,
    /// `www.example.com`, `*.example.com`, `www.*` or `*`.
    pub domains: Vec<String>,
    /// The routes; the first that matches is taken.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// What leads to routes, in place of a list of them.
    #[serde(default)]
    pub matcher: Option<Matcher>,
    /// Which requests that came in clear text are sent to `https`.
    #[serde(default)]
    pub require_tls: TlsRequirementType,
    /// Groups of requests that are counted apart.
    #[serde(default)]
    pub virtual_clusters: Vec<VirtualCluster>,
    /// Fields added to requests.
    #[serde(default)]
    pub request_headers_to_add: Vec<HeaderValueOption>,
    /// Fields removed from requests.
    #[serde(default)]
    pub request_headers_to_remove: Vec<String>,
    /// Fields added to responses.
    #[serde(default)]
    pub response_headers_to_add: Vec<HeaderValueOption>,
    /// Fields removed from responses.
    #[serde(default)]
    pub response_headers_to_remove: Vec<String>,
    /// The older form of a policy for the filter `cors`.
    #[serde(default)]
    pub cors: Option<OldCorsPolicy>,
    /// The configurations of filters for what is in here.
    #[serde(default, rename = "anys:typed_per_filter_config")]
    pub typed_per_filter_config: PerFilterConfigs,
    /// What is tried again, of routes that do not say it themselves.
    #[serde(default)]
    pub retry_policy: Option<RetryPolicy>,
    /// A policy in an extension's place. No effect but for a warning, as in Envoy.
    #[serde(default, rename = "any:retry_policy_typed_config")]
    pub retry_policy_typed_config: Option<TypedRetryPolicy>,
    /// What is tried beside what goes on, of routes that do not say it themselves.
    #[serde(default)]
    pub hedge_policy: Option<HedgePolicy>,
    /// Which clusters get copies, of routes that do not say it themselves.
    #[serde(default)]
    pub request_mirror_policies: Vec<RequestMirrorPolicy>,
    /// Whether requests say in `x-envoy-attempt-count` how often they were sent.
    #[serde(default)]
    pub include_request_attempt_count: bool,
    /// Whether responses do.
    #[serde(default)]
    pub include_attempt_count_in_response: bool,
    /// Whether requests say in `x-envoy-is-timeout-retry` if a timeout is why they are sent again.
    #[serde(default)]
    pub include_is_timeout_retry_header: bool,
    /// How much of a request's body is kept to be sent again, in bytes; as much as the listener's
    /// buffer limit by default.
    #[serde(default)]
    pub request_body_buffer_limit: Option<u64>,
    /// Older form of `request_body_buffer_limit`.
    #[serde(default)]
    pub per_request_buffer_limit_bytes: Option<u32>,
    /// What is known about it, for who reads it: logs, the changes of heads, filters.
    #[serde(default)]
    pub metadata: Option<Metadata>,
}

impl VirtualHost {
    /// All routes, also those that `matcher` leads to, in the order in which they are written.
    #[must_use]
    pub fn all_routes(&self) -> Vec<&Route> {
        let mut routes: Vec<&Route> = self.routes.iter().collect();
        if let Some(matcher) = &self.matcher {
            matcher.routes(&mut routes);
        }
        routes
    }
}

/// `envoy.config.route.v3.VirtualHost.TlsRequirementType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.config.route.v3.VirtualHost.TlsRequirementType",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum TlsRequirementType {
    /// None.
    #[default]
    None,
    /// Those of external clients.
    ExternalOnly,
    /// All.
    All,
}

/// `envoy.config.route.v3.VirtualCluster`: a group of requests with statistics of its own.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.VirtualCluster")]
pub struct VirtualCluster {
    /// Which requests: all of these match.
    #[serde(default)]
    pub headers: Vec<HeaderMatcher>,
    /// What the statistics are called after.
    pub name: String,
}

/// `envoy.config.route.v3.Route`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.Route")]
pub struct Route {
    /// The name, for logs.
    #[serde(default)]
    pub name: String,
    /// Which requests.
    pub r#match: RouteMatch,
    /// What happens with them.
    #[serde(rename = "oneof:action")]
    pub action: RouteActionKind,
    /// What statistics of its requests are called after; there are none by default.
    #[serde(default)]
    pub stat_prefix: String,
    /// How much of a request's body is kept to be sent again, in bytes; as much as the virtual host
    /// says by default.
    #[serde(default)]
    pub request_body_buffer_limit: Option<u64>,
    /// Older form of `request_body_buffer_limit`.
    #[serde(default)]
    pub per_request_buffer_limit_bytes: Option<u32>,
    /// What traces call the operation. Without tracing it has no effect.
    #[serde(default)]
    pub decorator: Option<Decorator>,
    /// Which requests are traced. Without tracing it has no effect.
    #[serde(default)]
    pub tracing: Option<RouteTracing>,
    /// What is known about it, for who reads it: logs, the changes of heads, filters.
    #[serde(default)]
    pub metadata: Option<Metadata>,
    /// Fields added to requests.
    #[serde(default)]
    pub request_headers_to_add: Vec<HeaderValueOption>,
    /// Fields removed from requests.
    #[serde(default)]
    pub request_headers_to_remove: Vec<String>,
    /// Fields added to responses.
    #[serde(default)]
    pub response_headers_to_add: Vec<HeaderValueOption>,
    /// Fields removed from responses.
    #[serde(default)]
    pub response_headers_to_remove: Vec<String>,
    /// The configurations of filters for what is in here.
    #[serde(default, rename = "anys:typed_per_filter_config")]
    pub typed_per_filter_config: PerFilterConfigs,
}

/// `envoy.config.route.v3.Decorator`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.Decorator")]
pub struct Decorator {
    /// The name.
    pub operation: String,
    /// Whether others are told; true by default.
    #[serde(default)]
    pub propagate: Option<bool>,
}

/// `Route.action`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteActionKind {
    /// To a cluster.
    Route(Box<RouteAction>),
    /// The client is sent elsewhere.
    Redirect(Box<RedirectAction>),
    /// The proxy itself answers.
    DirectResponse(DirectResponseAction),
    /// To no cluster: for filters that answer themselves.
    NonForwardingAction(NonForwardingAction),
    /// The same.
    FilterAction(FilterAction),
}

/// `envoy.config.route.v3.FilterAction`, without an `action`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.FilterAction")]
pub struct FilterAction {}

/// `envoy.config.route.v3.NonForwardingAction`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.NonForwardingAction")]
pub struct NonForwardingAction {}

/// `envoy.config.route.v3.Tracing`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.Tracing")]
pub struct RouteTracing {
    /// Of the requests whose client wants it; all by default.
    #[serde(default)]
    pub client_sampling: Option<FractionalPercent>,
    /// Of the others; all by default.
    #[serde(default)]
    pub random_sampling: Option<FractionalPercent>,
    /// Of all of these; all by default.
    #[serde(default)]
    pub overall_sampling: Option<FractionalPercent>,
    /// What traces call the operation.
    #[serde(default)]
    pub operation: String,
    /// What they call it for the upstream.
    #[serde(default)]
    pub upstream_operation: String,
}

/// `envoy.config.route.v3.RouteMatch`: all that is set must match.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.RouteMatch")]
pub struct RouteMatch {
    /// The path, without the query.
    #[serde(rename = "oneof:path_specifier")]
    pub path: PathSpecifier,
    /// Whether case counts in the path, other than in a regular expression; true by default.
    #[serde(default)]
    pub case_sensitive: Option<bool>,
    /// The header fields.
    #[serde(default)]
    pub headers: Vec<HeaderMatcher>,
    /// The parameters of the query.
    #[serde(default)]
    pub query_parameters: Vec<QueryParameterMatcher>,
    /// Whether only gRPC requests match.
    #[serde(default)]
    pub grpc: Option<GrpcRouteMatchOptions>,
    /// The share of requests that match.
    #[serde(default)]
    pub runtime_fraction: Option<RuntimeFractionalPercent>,
    /// The client's certificate.
    #[serde(default)]
    pub tls_context: Option<TlsContextMatchOptions>,
    /// What filters left.
    #[serde(default)]
    pub dynamic_metadata: Vec<MetadataMatcher>,
    /// The cookies.
    #[serde(default)]
    pub cookies: Vec<CookieMatcher>,
    /// What filters left as the filter state.
    #[serde(default)]
    pub filter_state: Vec<FilterStateMatcher>,
}

/// `RouteMatch.path_specifier`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PathSpecifier {
    /// How the path begins.
    Prefix(String),
    /// The whole path.
    Path(String),
    /// A regular expression for the whole path.
    SafeRegex(RegexMatcher),
    /// The path itself, or it and a `/` and anything.
    PathSeparatedPrefix(String),
    /// By an extension.
    PathMatchPolicy(PathMatchPolicy),
    /// CONNECT requests.
    ConnectMatcher(ConnectMatcher),
}

/// `envoy.config.route.v3.RouteMatch.GrpcRouteMatchOptions`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.RouteMatch.GrpcRouteMatchOptions")]
pub struct GrpcRouteMatchOptions {}

/// `envoy.config.route.v3.QueryParameterMatcher`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.QueryParameterMatcher")]
pub struct QueryParameterMatcher {
    /// The name of the parameter.
    pub name: String,
    /// What its value must be; without one the parameter must be there.
    #[serde(default, rename = "oneof:query_parameter_match_specifier")]
    pub specifier: Option<QueryParameterMatchSpecifier>,
}

/// `QueryParameterMatcher.query_parameter_match_specifier`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum QueryParameterMatchSpecifier {
    /// By its text.
    StringMatch(StringMatcher),
    /// Whether the parameter is there.
    PresentMatch(bool),
}

/// `envoy.config.route.v3.RouteAction`: to a cluster.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.RouteAction")]
pub struct RouteAction {
    /// Which cluster.
    #[serde(rename = "oneof:cluster_specifier")]
    pub cluster: ClusterSpecifier,
    /// The status where the cluster does not exist.
    #[serde(default)]
    pub cluster_not_found_response_code: ClusterNotFoundResponseCode,
    /// Which endpoints of the cluster, by their metadata.
    #[serde(default)]
    pub metadata_match: Option<Metadata>,
    /// What replaces the matched prefix or path.
    #[serde(default)]
    pub prefix_rewrite: String,
    /// What the path becomes, by an extension.
    #[serde(default)]
    pub path_rewrite_policy: Option<PathRewritePolicy>,
    /// What is replaced in the path.
    #[serde(default)]
    pub regex_rewrite: Option<RegexMatchAndSubstitute>,
    /// A format for the path.
    #[serde(default)]
    pub path_rewrite: String,
    /// What replaces `host`.
    #[serde(default, rename = "oneof:host_rewrite_specifier")]
    pub host_rewrite: Option<HostRewriteSpecifier>,
    /// Whether the host from before a rewrite goes to `x-forwarded-host`.
    #[serde(default)]
    pub append_x_forwarded_host: bool,
    /// From the end of the request to the end of the response, retries included; 15 s by default,
    /// 0 is without limit.
    #[serde(default)]
    pub timeout: Option<Duration>,
    /// Which limits of the cluster count.
    #[serde(default)]
    pub priority: RoutingPriority,
    /// What the choice among endpoints goes by, where the cluster's balancing hashes.
    #[serde(default)]
    pub hash_policy: Vec<HashPolicy>,
    /// The older form of a policy for the filter `cors`.
    #[serde(default)]
    pub cors: Option<OldCorsPolicy>,
    /// Time without a byte in either direction, in place of the connection manager's; 0 is without
    /// limit.
    #[serde(default)]
    pub idle_timeout: Option<Duration>,
    /// How long a client may take to receive the rest of a response once all of that has come, in place
    /// of the connection manager's; 0 is without limit.
    #[serde(default)]
    pub flush_timeout: Option<Duration>,
    /// How long a stream may last, in place of `timeout`.
    #[serde(default)]
    pub max_stream_duration: Option<MaxStreamDuration>,
    /// Older form of `max_stream_duration.grpc_timeout_header_max`.
    #[serde(default)]
    pub max_grpc_timeout: Option<Duration>,
    /// Older form of `max_stream_duration.grpc_timeout_header_offset`.
    #[serde(default)]
    pub grpc_timeout_offset: Option<Duration>,
    /// What is tried again.
    #[serde(default)]
    pub retry_policy: Option<RetryPolicy>,
    /// A policy in an extension's place. No effect but for a warning, as in Envoy.
    #[serde(default, rename = "any:retry_policy_typed_config")]
    pub retry_policy_typed_config: Option<TypedRetryPolicy>,
    /// What is tried beside what goes on.
    #[serde(default)]
    pub hedge_policy: Option<HedgePolicy>,
    /// The protocols that clients may or may not change to, whatever the connection manager says.
    #[serde(default)]
    pub upgrade_configs: Vec<RouteUpgradeConfig>,
    /// Which clusters get copies.
    #[serde(default)]
    pub request_mirror_policies: Vec<RequestMirrorPolicy>,
    /// Which redirects of the upstream are followed.
    #[serde(default)]
    pub internal_redirect_policy: Option<InternalRedirectPolicy>,
    /// Older form of `internal_redirect_policy`, which wins.
    #[serde(default)]
    pub internal_redirect_action: InternalRedirectAction,
    /// With it: how many redirects are followed; 1 by default.
    #[serde(default)]
    pub max_internal_redirects: Option<u32>,
    /// Which requests go upstream before the handshake is over. No effect: none does.
    #[serde(default)]
    pub early_data_policy: Option<EarlyDataPolicy>,
}

/// The types of a `retry_policy_typed_config`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "any:retry policy")]
pub enum TypedRetryPolicy {
    /// The one that there is.
    #[serde(rename = "envoy.config.route.v3.RetryPolicy")]
    Plain(Box<RetryPolicy>),
}

/// `RouteAction.InternalRedirectAction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.config.route.v3.RouteAction.InternalRedirectAction",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum InternalRedirectAction {
    /// Redirects go to the client.
    #[default]
    PassThroughInternalRedirect,
    /// They are followed.
    HandleInternalRedirect,
}

/// `envoy.config.core.v3.TypedExtensionConfig` of `early_data_policy`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.TypedExtensionConfig")]
pub struct EarlyDataPolicy {
    /// Any name.
    #[serde(default)]
    pub name: String,
    /// The policy.
    #[serde(rename = "any:typed_config")]
    pub typed_config: EarlyDataPolicyConfig,
}

/// The policies for early data.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "any:policy for early data")]
pub enum EarlyDataPolicyConfig {
    /// Safe requests.
    #[serde(rename = "envoy.extensions.early_data.v3.DefaultEarlyDataPolicy")]
    Default(DefaultEarlyDataPolicy),
}

/// `envoy.extensions.early_data.v3.DefaultEarlyDataPolicy`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.early_data.v3.DefaultEarlyDataPolicy")]
pub struct DefaultEarlyDataPolicy {}

/// `RouteAction.UpgradeConfig`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.RouteAction.UpgradeConfig")]
pub struct RouteUpgradeConfig {
    /// What `upgrade` says, such as `websocket`, or `CONNECT`; case does not count.
    pub upgrade_type: String,
    /// Whether it is allowed; true by default.
    #[serde(default)]
    pub enabled: Option<bool>,
    /// Only for `CONNECT`: the bytes behind the request go to the cluster, not the request.
    #[serde(default)]
    pub connect_config: Option<ConnectConfig>,
}

/// `RouteAction.UpgradeConfig.ConnectConfig`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.RouteAction.UpgradeConfig.ConnectConfig")]
pub struct ConnectConfig {
    /// Whether the body of a `POST` is such bytes too.
    #[serde(default)]
    pub allow_post: bool,
    /// The header that the bytes begin with; none by default.
    #[serde(default)]
    pub proxy_protocol_config: Option<ProxyProtocolConfig>,
}

/// `RouteAction.cluster_specifier`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClusterSpecifier {
    /// By its name.
    Cluster(String),
    /// By the name in that field of the request.
    ClusterHeader(String),
    /// One of several, by chance.
    WeightedClusters(WeightedCluster),
}

/// `RouteAction.host_rewrite_specifier`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HostRewriteSpecifier {
    /// By this.
    HostRewriteLiteral(String),
    /// By the name of the endpoint that was chosen.
    AutoHostRewrite(bool),
    /// By the value of that field of the request.
    HostRewriteHeader(String),
    /// By the path, changed.
    HostRewritePathRegex(RegexMatchAndSubstitute),
    /// By a format.
    HostRewrite(String),
}

/// `RouteAction.ClusterNotFoundResponseCode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.config.route.v3.RouteAction.ClusterNotFoundResponseCode",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum ClusterNotFoundResponseCode {
    /// 503.
    #[default]
    ServiceUnavailable,
    /// 404.
    NotFound,
    /// 500.
    InternalServerError,
}

/// `envoy.config.core.v3.RoutingPriority`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(
    rename = "envoy.config.core.v3.RoutingPriority",
    rename_all = "UPPERCASE"
)]
pub enum RoutingPriority {
    /// The usual one.
    #[default]
    Default,
    /// The other one.
    High,
}

/// `envoy.config.route.v3.WeightedCluster`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.WeightedCluster")]
pub struct WeightedCluster {
    /// The clusters.
    pub clusters: Vec<ClusterWeight>,
    /// What the weights should add up to: a warning where they do not; at least 1.
    #[serde(default)]
    pub total_weight: Option<u32>,
    /// Where runtime keys override the weights: this, a point, and the cluster's name.
    #[serde(default)]
    pub runtime_key_prefix: String,
    /// What the choice goes by, in place of chance.
    #[serde(default, rename = "oneof:random_value_specifier")]
    pub random_value: Option<RandomValueSpecifier>,
}

/// `WeightedCluster.random_value_specifier`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RandomValueSpecifier {
    /// The number in that field of the request.
    HeaderName(String),
    /// The hash of the route's `hash_policy`.
    UseHashPolicy(bool),
}

/// `envoy.config.route.v3.WeightedCluster.ClusterWeight`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.WeightedCluster.ClusterWeight")]
pub struct ClusterWeight {
    /// The cluster.
    #[serde(default)]
    pub name: String,
    /// The field of the request that names it, in place of `name`.
    #[serde(default)]
    pub cluster_header: String,
    /// How often it is taken, in proportion to the others; 0 by default, which is never.
    #[serde(default)]
    pub weight: Option<u32>,
    /// Which of its endpoints, by their metadata; added to the route's.
    #[serde(default)]
    pub metadata_match: Option<Metadata>,
    /// What replaces `host`.
    #[serde(default, rename = "oneof:host_rewrite_specifier")]
    pub host_rewrite: Option<WeightedHostRewriteSpecifier>,
    /// Fields added to requests.
    #[serde(default)]
    pub request_headers_to_add: Vec<HeaderValueOption>,
    /// Fields removed from requests.
    #[serde(default)]
    pub request_headers_to_remove: Vec<String>,
    /// Fields added to responses.
    #[serde(default)]
    pub response_headers_to_add: Vec<HeaderValueOption>,
    /// Fields removed from responses.
    #[serde(default)]
    pub response_headers_to_remove: Vec<String>,
    /// The configurations of filters for what is in here.
    #[serde(default, rename = "anys:typed_per_filter_config")]
    pub typed_per_filter_config: PerFilterConfigs,
}

/// `ClusterWeight.host_rewrite_specifier`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightedHostRewriteSpecifier {
    /// By this.
    HostRewriteLiteral(String),
}

/// `envoy.config.route.v3.RedirectAction`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.RedirectAction")]
pub struct RedirectAction {
    /// The scheme; the request's by default.
    #[serde(default, rename = "oneof:scheme_rewrite_specifier")]
    pub scheme: Option<SchemeRewriteSpecifier>,
    /// The host; the request's where it is empty.
    #[serde(default)]
    pub host_redirect: String,
    /// The port; the request's where it is 0.
    #[serde(default)]
    pub port_redirect: u32,
    /// The path; the request's by default.
    #[serde(default, rename = "oneof:path_rewrite_specifier")]
    pub path: Option<PathRewriteSpecifier>,
    /// The status; 301 by default.
    #[serde(default)]
    pub response_code: RedirectResponseCode,
    /// Whether the query is left out.
    #[serde(default)]
    pub strip_query: bool,
}

/// `RedirectAction.scheme_rewrite_specifier`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SchemeRewriteSpecifier {
    /// Whether it becomes `https`.
    HttpsRedirect(bool),
    /// What it becomes.
    SchemeRedirect(String),
}

/// `RedirectAction.path_rewrite_specifier`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PathRewriteSpecifier {
    /// What the path becomes; with a query, the query as well.
    PathRedirect(String),
    /// What the matched prefix becomes.
    PrefixRewrite(String),
    /// What is replaced in it.
    RegexRewrite(RegexMatchAndSubstitute),
    /// A format for it.
    PathRewrite(String),
}

/// `RedirectAction.RedirectResponseCode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.config.route.v3.RedirectAction.RedirectResponseCode",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum RedirectResponseCode {
    /// 301.
    #[default]
    MovedPermanently,
    /// 302.
    Found,
    /// 303.
    SeeOther,
    /// 307.
    TemporaryRedirect,
    /// 308.
    PermanentRedirect,
}

impl RedirectResponseCode {
    /// The status.
    #[must_use]
    pub const fn get(self) -> u16 {
        match self {
            Self::MovedPermanently => 301,
            Self::Found => 302,
            Self::SeeOther => 303,
            Self::TemporaryRedirect => 307,
            Self::PermanentRedirect => 308,
        }
    }
}

/// `envoy.config.route.v3.DirectResponseAction`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.DirectResponseAction")]
pub struct DirectResponseAction {
    /// From 200 to 599.
    pub status: u32,
    /// The body, at most 4096 bytes; none by default.
    #[serde(default)]
    pub body: Option<DataSource>,
    /// A format for the body, in which `%LOCAL_REPLY_BODY%` is `body`.
    #[serde(default)]
    pub body_format: Option<SubstitutionFormatString>,
}
