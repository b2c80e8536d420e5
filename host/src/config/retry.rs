//! What a route says about sending a request again, or elsewhere as well.

use serde::{Deserialize, Serialize};

use crate::config::header::{HeadMutation, HeaderMatcher};
use crate::config::scalar::{Duration, FractionalPercent, Metadata, RuntimeFractionalPercent};

/// `envoy.config.route.v3.RetryPolicy`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.RetryPolicy")]
pub struct RetryPolicy {
    /// What is tried again, as words with commas between them.
    #[serde(default)]
    pub retry_on: String,
    /// How often; once by default.
    #[serde(default)]
    pub num_retries: Option<u32>,
    /// How long one try may take from the end of the request on; as long as all by default.
    #[serde(default)]
    pub per_try_timeout: Option<Duration>,
    /// How long a try may go without a byte, from the end of the request on; no limit by default.
    #[serde(default)]
    pub per_try_idle_timeout: Option<Duration>,
    /// Levels of endpoints that a retry does not go to.
    #[serde(default)]
    pub retry_priority: Option<RetryPriority>,
    /// Endpoints that a retry does not go to.
    #[serde(default)]
    pub retry_host_predicate: Vec<RetryHostPredicate>,
    /// How often another endpoint is chosen where the first may not be used; once by default.
    #[serde(default)]
    pub host_selection_retry_max_attempts: i64,
    /// The statuses of `retriable-status-codes`.
    #[serde(default)]
    pub retriable_status_codes: Vec<u32>,
    /// How long is waited before a retry.
    #[serde(default)]
    pub retry_back_off: Option<RetryBackOff>,
    /// The same where the upstream says how long.
    #[serde(default)]
    pub rate_limited_retry_back_off: Option<RateLimitedRetryBackOff>,
    /// The fields of `retriable-headers`.
    #[serde(default)]
    pub retriable_headers: Vec<HeaderMatcher>,
    /// Only requests that match one of these are tried again; all where there is none.
    #[serde(default)]
    pub retriable_request_headers: Vec<HeaderMatcher>,
}

/// `envoy.config.route.v3.RetryPolicy.RetryHostPredicate`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.RetryPolicy.RetryHostPredicate")]
pub struct RetryHostPredicate {
    /// Any name.
    pub name: String,
    /// Which endpoints are left out.
    #[serde(rename = "any:typed_config")]
    pub typed_config: RetryHostPredicateConfig,
}

/// The types of a `retry_host_predicate`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "any:retry host predicate")]
pub enum RetryHostPredicateConfig {
    /// Those that were tried.
    #[serde(rename = "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate")]
    PreviousHosts(PreviousHostsPredicate),
    /// Those that run a version which is being tried.
    #[serde(rename = "envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate")]
    OmitCanaryHosts(OmitCanaryHostsPredicate),
    /// Those with certain metadata.
    #[serde(rename = "envoy.extensions.retry.host.omit_host_metadata.v3.OmitHostMetadataConfig")]
    OmitHostMetadata(OmitHostMetadataConfig),
}

/// `envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate")]
pub struct PreviousHostsPredicate {}

/// `envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate")]
pub struct OmitCanaryHostsPredicate {}

/// `envoy.extensions.retry.host.omit_host_metadata.v3.OmitHostMetadataConfig`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.retry.host.omit_host_metadata.v3.OmitHostMetadataConfig")]
pub struct OmitHostMetadataConfig {
    /// The metadata; all of it has to be there.
    #[serde(default)]
    pub metadata_match: Option<Metadata>,
}

/// `envoy.config.route.v3.RetryPolicy.RetryPriority`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.RetryPolicy.RetryPriority")]
pub struct RetryPriority {
    /// Any name.
    pub name: String,
    /// Which levels are left out.
    #[serde(rename = "any:typed_config")]
    pub typed_config: RetryPriorityConfig,
}

/// The types of a `retry_priority`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "any:retry priority")]
pub enum RetryPriorityConfig {
    /// Those that were tried.
    #[serde(
        rename = "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig"
    )]
    PreviousPriorities(PreviousPrioritiesConfig),
}

/// `envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig")]
pub struct PreviousPrioritiesConfig {
    /// After how many tries their levels are left out; at least 1.
    pub update_frequency: i32,
}

/// `envoy.config.route.v3.HedgePolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.HedgePolicy")]
pub struct HedgePolicy {
    /// How many tries begin at once. No effect but for a warning, as in Envoy.
    #[serde(default)]
    pub initial_requests: Option<u32>,
    /// How often one more does. No effect but for a warning, as in Envoy.
    #[serde(default)]
    pub additional_request_chance: Option<FractionalPercent>,
    /// Whether a try that takes too long goes on beside the next.
    #[serde(default)]
    pub hedge_on_per_try_timeout: bool,
}

/// `envoy.config.route.v3.RetryPolicy.RetryBackOff`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.RetryPolicy.RetryBackOff")]
pub struct RetryBackOff {
    /// The first retry waits for less than this; each further one for less than twice as long.
    pub base_interval: Duration,
    /// The longest wait; ten times the base by default.
    #[serde(default)]
    pub max_interval: Option<Duration>,
}

/// `envoy.config.route.v3.RetryPolicy.RateLimitedRetryBackOff`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.RetryPolicy.RateLimitedRetryBackOff")]
pub struct RateLimitedRetryBackOff {
    /// The fields of a response that say when to come back; the first that does counts.
    pub reset_headers: Vec<ResetHeader>,
    /// The longest time that is believed; 300 s by default.
    #[serde(default)]
    pub max_interval: Option<Duration>,
}

/// `envoy.config.route.v3.RetryPolicy.ResetHeader`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.RetryPolicy.ResetHeader")]
pub struct ResetHeader {
    /// The name of the field.
    pub name: String,
    /// What its number means.
    #[serde(default)]
    pub format: ResetHeaderFormat,
}

/// `envoy.config.route.v3.RetryPolicy.ResetHeaderFormat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.config.route.v3.RetryPolicy.ResetHeaderFormat",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum ResetHeaderFormat {
    /// Seconds from now.
    #[default]
    Seconds,
    /// Seconds since 1970.
    UnixTimestamp,
}

/// `envoy.config.route.v3.RouteAction.RequestMirrorPolicy`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.RouteAction.RequestMirrorPolicy")]
pub struct RequestMirrorPolicy {
    /// The cluster that gets a copy.
    #[serde(default)]
    pub cluster: String,
    /// The field of the request that names the cluster.
    #[serde(default)]
    pub cluster_header: String,
    /// How many requests are copied; all by default.
    #[serde(default)]
    pub runtime_fraction: Option<RuntimeFractionalPercent>,
    /// What the host of copies is.
    #[serde(default)]
    pub host_rewrite_literal: String,
    /// Changes to the heads of copies, in their order.
    #[serde(default)]
    pub request_headers_mutations: Vec<HeadMutation>,
    /// Whether copies are traced. There is no tracing, so it does not matter.
    #[serde(default)]
    pub trace_sampled: Option<bool>,
    /// Whether `-shadow` is not added to the host.
    #[serde(default)]
    pub disable_shadow_host_suffix_append: bool,
}

/// `envoy.config.route.v3.InternalRedirectPolicy`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.InternalRedirectPolicy")]
pub struct InternalRedirectPolicy {
    /// How many redirects of one request are followed; 1 by default.
    #[serde(default)]
    pub max_internal_redirects: Option<u32>,
    /// The statuses that are followed; 302 by default.
    #[serde(default)]
    pub redirect_response_codes: Vec<u32>,
    /// What a target has to be.
    #[serde(default)]
    pub predicates: Vec<RedirectPredicate>,
    /// Whether `http` may lead to `https` and back.
    #[serde(default)]
    pub allow_cross_scheme_redirect: bool,
    /// Fields of the response that the next request gets.
    #[serde(default)]
    pub response_headers_to_copy: Vec<String>,
}

/// `envoy.config.core.v3.TypedExtensionConfig` of a redirect's predicate.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.TypedExtensionConfig")]
pub struct RedirectPredicate {
    /// Any name.
    pub name: String,
    /// What it asks for.
    #[serde(rename = "any:typed_config")]
    pub typed_config: RedirectPredicateConfig,
}

/// The types of a predicate.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "any:internal redirect predicate")]
pub enum RedirectPredicateConfig {
    /// The target's route is one of a list.
    #[serde(
        rename = "envoy.extensions.internal_redirect.allow_listed_routes.v3.AllowListedRoutesConfig"
    )]
    AllowListedRoutes(AllowListedRoutesConfig),
    /// The target's route was not the target of an earlier redirect from this route.
    #[serde(rename = "envoy.extensions.internal_redirect.previous_routes.v3.PreviousRoutesConfig")]
    PreviousRoutes(PreviousRoutesConfig),
    /// Not from `http` to `https`.
    #[serde(
        rename = "envoy.extensions.internal_redirect.safe_cross_scheme.v3.SafeCrossSchemeConfig"
    )]
    SafeCrossScheme(SafeCrossSchemeConfig),
}

/// `envoy.extensions.internal_redirect.allow_listed_routes.v3.AllowListedRoutesConfig`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.internal_redirect.allow_listed_routes.v3.AllowListedRoutesConfig"
)]
pub struct AllowListedRoutesConfig {
    /// Names of routes.
    #[serde(default)]
    pub allowed_route_names: Vec<String>,
}

/// `envoy.extensions.internal_redirect.previous_routes.v3.PreviousRoutesConfig`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.internal_redirect.previous_routes.v3.PreviousRoutesConfig")]
pub struct PreviousRoutesConfig {}

/// `envoy.extensions.internal_redirect.safe_cross_scheme.v3.SafeCrossSchemeConfig`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.internal_redirect.safe_cross_scheme.v3.SafeCrossSchemeConfig")]
pub struct SafeCrossSchemeConfig {}

/// `envoy.config.route.v3.RouteAction.MaxStreamDuration`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.RouteAction.MaxStreamDuration")]
pub struct MaxStreamDuration {
    /// How long a stream may last; 0 is without limit, in place of the connection manager's.
    #[serde(default)]
    pub max_stream_duration: Option<Duration>,
    /// The most that `grpc-timeout` may ask for, 0 for whatever it does; it is not looked at by
    /// default.
    #[serde(default)]
    pub grpc_timeout_header_max: Option<Duration>,
    /// What is taken off what `grpc-timeout` asks for.
    #[serde(default)]
    pub grpc_timeout_header_offset: Option<Duration>,
}
