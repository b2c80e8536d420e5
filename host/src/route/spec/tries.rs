//! What a route says about the time that a request has and about sending it more than once.

use std::time::Duration;

use super::HeaderMatchSpec;
use crate::route::RequestChanges;
use crate::values::Fraction;

/// The times of a `RouteAction`. What is not set is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimesSpec {
    /// `timeout`; zero for no limit.
    pub timeout: Option<Duration>,
    /// `idle_timeout`; zero for no limit.
    pub idle_timeout: Option<Duration>,
    /// `flush_timeout`; zero for no limit.
    pub flush_timeout: Option<Duration>,
    /// `max_grpc_timeout`; zero for whatever the request says.
    pub max_grpc_timeout: Option<Duration>,
    /// `grpc_timeout_offset`.
    pub grpc_timeout_offset: Option<Duration>,
    /// `max_stream_duration`.
    pub max_stream_duration: Option<StreamDurationSpec>,
}

impl TimesSpec {
    /// Nothing is set.
    pub const UNSET: Self = Self {
        timeout: None,
        idle_timeout: None,
        flush_timeout: None,
        max_grpc_timeout: None,
        grpc_timeout_offset: None,
        max_stream_duration: None,
    };
}

/// `RouteAction.MaxStreamDuration`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamDurationSpec {
    /// `max_stream_duration`; zero for no limit.
    pub max_stream_duration: Option<Duration>,
    /// `grpc_timeout_header_max`; zero for whatever the request says.
    pub grpc_timeout_header_max: Option<Duration>,
    /// `grpc_timeout_header_offset`.
    pub grpc_timeout_header_offset: Option<Duration>,
}

/// What a route itself says about attempts.
#[derive(Clone, Debug, Default)]
pub struct TriesSpec {
    /// `retry_policy`.
    pub retry: Option<RetrySpec>,
    /// `hedge_policy.hedge_on_per_try_timeout`.
    pub hedges: Option<bool>,
    /// `request_mirror_policies`.
    pub mirrors: Vec<MirrorSpec>,
    /// `internal_redirect_policy`.
    pub internal_redirects: Option<InternalRedirectSpec>,
    /// `request_body_buffer_limit` in bytes, in place of the virtual host's.
    pub buffer_limit: Option<u64>,
}

/// What a virtual host says about attempts, for those of its routes that say nothing themselves.
#[derive(Clone, Debug, Default)]
pub struct HostTriesSpec {
    /// `retry_policy`.
    pub retry: Option<RetrySpec>,
    /// `hedge_policy.hedge_on_per_try_timeout`.
    pub hedges: bool,
    /// `request_mirror_policies`.
    pub mirrors: Vec<MirrorSpec>,
    /// `include_request_attempt_count`.
    pub count_in_request: bool,
    /// `include_attempt_count_in_response`.
    pub count_in_response: bool,
    /// `include_is_timeout_retry_header`.
    pub timeout_retry_header: bool,
    /// `request_body_buffer_limit` or `per_request_buffer_limit_bytes` in bytes; the listener's
    /// where neither is set.
    pub buffer_limit: Option<u64>,
}

/// `RetryPolicy`.
#[derive(Clone, Debug, Default)]
pub struct RetrySpec {
    /// `retry_on`.
    pub retry_on: String,
    /// `num_retries`.
    pub num_retries: Option<u32>,
    /// `per_try_timeout`; zero for none.
    pub per_try_timeout: Option<Duration>,
    /// `per_try_idle_timeout`; zero for none.
    pub per_try_idle_timeout: Option<Duration>,
    /// `retry_back_off`: base and maximum.
    pub back_off: Option<(Duration, Option<Duration>)>,
    /// `rate_limited_retry_back_off`.
    pub rate_limited: Option<RateLimitedSpec>,
    /// `retriable_status_codes`.
    pub retriable_status_codes: Vec<u32>,
    /// `retriable_headers`.
    pub retriable_headers: Vec<HeaderMatchSpec>,
    /// `retriable_request_headers`.
    pub retriable_request_headers: Vec<HeaderMatchSpec>,
    /// `retry_host_predicate`.
    pub avoids: Vec<AvoidSpec>,
    /// `host_selection_retry_max_attempts`; 0 where it is not set.
    pub host_selection_attempts: u32,
    /// `retry_priority`: after how many tries those of their levels are left out.
    pub update_frequency: Option<u32>,
}

/// Endpoints that a retry does not go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AvoidSpec {
    /// `previous_hosts`.
    Tried,
    /// `omit_canary_hosts`.
    Canary,
    /// `omit_host_metadata`: an index into the snapshot's list of criteria.
    Metadata(usize),
}

/// `RetryPolicy.RateLimitedRetryBackOff`.
#[derive(Clone, Debug, Default)]
pub struct RateLimitedSpec {
    /// `reset_headers`.
    pub headers: Vec<ResetHeaderSpec>,
    /// `max_interval`.
    pub max_interval: Option<Duration>,
}

/// `RetryPolicy.ResetHeader`.
#[derive(Clone, Debug)]
pub struct ResetHeaderSpec {
    /// `name`, in any case.
    pub name: String,
    /// Whether the number is seconds since 1970 rather than from now.
    pub is_timestamp: bool,
}

/// `RouteAction.RequestMirrorPolicy`.
#[derive(Clone, Debug)]
pub struct MirrorSpec {
    /// Where copies go.
    pub cluster: MirrorClusterSpec,
    /// `runtime_fraction.default_value`; all where it is not set.
    pub fraction: Option<Fraction>,
    /// `host_rewrite_literal`, empty for none.
    pub host_rewrite_literal: String,
    /// Whether `-shadow` is added to the host.
    pub shadow_suffix: bool,
    /// `request_headers_mutations`.
    pub changes: RequestChanges,
}

/// Where the copies of a mirror go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MirrorClusterSpec {
    /// `cluster`.
    Named(String),
    /// `cluster_header`.
    Header(String),
}

/// `InternalRedirectPolicy`.
#[derive(Clone, Debug, Default)]
pub struct InternalRedirectSpec {
    /// `max_internal_redirects`.
    pub max_redirects: Option<u32>,
    /// `redirect_response_codes`.
    pub statuses: Vec<u32>,
    /// `predicates`.
    pub predicates: Vec<RedirectPredicateSpec>,
    /// `allow_cross_scheme_redirect`.
    pub allow_cross_scheme: bool,
    /// `response_headers_to_copy`.
    pub copied_headers: Vec<String>,
}

/// One of `InternalRedirectPolicy.predicates`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedirectPredicateSpec {
    /// `allow_listed_routes`.
    AllowListedRoutes(Vec<String>),
    /// `previous_routes`.
    PreviousRoutes,
    /// `safe_cross_scheme`.
    SafeCrossScheme,
}
