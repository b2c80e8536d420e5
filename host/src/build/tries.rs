//! Attempts: times, retries, mirrors and internal redirects to what a route is built from.

use std::time::Duration;

use super::Workshop;
use super::matching::{fraction, header};
use crate::config::Place;
use crate::config::retry::{
    HedgePolicy, InternalRedirectPolicy, MaxStreamDuration, RedirectPredicate,
    RedirectPredicateConfig, RequestMirrorPolicy, ResetHeaderFormat, RetryHostPredicateConfig,
    RetryPolicy, RetryPriorityConfig,
};
use crate::config::route::{InternalRedirectAction, RouteAction, TypedRetryPolicy, VirtualHost};
use crate::config::scalar::Duration as WrittenDuration;
use crate::route::spec::{
    AvoidSpec, HostTriesSpec, InternalRedirectSpec, MirrorClusterSpec, MirrorSpec, RateLimitedSpec,
    RedirectPredicateSpec, ResetHeaderSpec, RetrySpec, StreamDurationSpec, TimesSpec, TriesSpec,
};
use crate::route::{RequestChanges, RetryOn};

impl Workshop<'_> {
    /// The times of a route.
    pub(super) fn times(&mut self, written: &RouteAction, place: Place<'_>) -> TimesSpec {
        let times = TimesSpec {
            timeout: get(written.timeout),
            idle_timeout: get(written.idle_timeout),
            flush_timeout: get(written.flush_timeout),
            max_grpc_timeout: get(written.max_grpc_timeout),
            grpc_timeout_offset: get(written.grpc_timeout_offset),
            max_stream_duration: written.max_stream_duration.map(stream_duration),
        };
        if written.max_stream_duration.is_some() {
            for (field, is_set) in [
                ("timeout", times.timeout.is_some_and(|time| !time.is_zero())),
                ("max_grpc_timeout", times.max_grpc_timeout.is_some()),
            ] {
                if is_set {
                    let message = format!("'{field}' has no effect beside 'max_stream_duration'");
                    self.diagnostics.warning(place.field(field), message);
                }
            }
        }
        if times.grpc_timeout_offset.is_some() && times.max_grpc_timeout.is_none() {
            let message = "'grpc_timeout_offset' has no effect without 'max_grpc_timeout'";
            self.diagnostics
                .warning(place.field("grpc_timeout_offset"), message);
        }
        if let Some(duration) = &times.max_stream_duration
            && duration.grpc_timeout_header_offset.is_some()
            && duration.grpc_timeout_header_max.is_none()
        {
            let message =
                "'grpc_timeout_header_offset' has no effect without 'grpc_timeout_header_max'";
            let place = place.field("max_stream_duration");
            self.diagnostics
                .warning(place.field("grpc_timeout_header_offset"), message);
        }
        times
    }

    /// What a route itself says about attempts; `None` where that is nothing.
    pub(super) fn tries(
        &mut self,
        written: &RouteAction,
        limits: (Option<u64>, Option<u32>),
        place: Place<'_>,
    ) -> Option<TriesSpec> {
        self.warn_of_typed_retries(written.retry_policy_typed_config.as_ref(), place);
        let says_something = written.retry_policy.is_some()
            || written.hedge_policy.is_some()
            || !written.request_mirror_policies.is_empty()
            || written.internal_redirect_policy.is_some()
            || follows_redirects(written)
            || buffer_limit(limits).is_some();
        says_something.then(|| TriesSpec {
            retry: self.retries(written.retry_policy.as_ref(), place),
            hedges: self.hedges(written.hedge_policy, place),
            mirrors: self.mirrors(&written.request_mirror_policies, place),
            internal_redirects: match &written.internal_redirect_policy {
                Some(policy) => Some(self.internal_redirects(policy, place)),
                None => follows_redirects(written).then(|| InternalRedirectSpec {
                    max_redirects: written.max_internal_redirects,
                    ..internal_redirects(&InternalRedirectPolicy::default())
                }),
            },
            buffer_limit: buffer_limit(limits),
        })
    }

    /// What a virtual host says about attempts, for its routes.
    pub(super) fn host_tries(&mut self, written: &VirtualHost, place: Place<'_>) -> HostTriesSpec {
        let limits = (
            written.request_body_buffer_limit,
            written.per_request_buffer_limit_bytes,
        );
        if limits.0.is_some() && limits.1.is_some() {
            let message = "'request_body_buffer_limit' and 'per_request_buffer_limit_bytes' exclude each other";
            self.diagnostics
                .error(place.field("request_body_buffer_limit"), message);
        }
        self.warn_of_typed_retries(written.retry_policy_typed_config.as_ref(), place);
        let hedges = self.hedges(written.hedge_policy, place);
        HostTriesSpec {
            retry: self.retries(written.retry_policy.as_ref(), place),
            hedges: hedges.unwrap_or(false),
            mirrors: self.mirrors(&written.request_mirror_policies, place),
            count_in_request: written.include_request_attempt_count,
            count_in_response: written.include_attempt_count_in_response,
            timeout_retry_header: written.include_is_timeout_retry_header,
            buffer_limit: buffer_limit(limits),
        }
    }

    /// Whether a try that takes too long goes on beside the next, where that is said.
    fn hedges(&mut self, written: Option<HedgePolicy>, place: Place<'_>) -> Option<bool> {
        let written = written?;
        let place = place.field("hedge_policy");
        let chance = written.additional_request_chance.unwrap_or_default();
        for (field, asks) in [
            (
                "initial_requests",
                written.initial_requests.is_some_and(|number| number > 1),
            ),
            ("additional_request_chance", chance.numerator > 0),
        ] {
            if asks {
                let message = "no effect: Envoy takes it and sends one request, and so does nuncio";
                self.diagnostics.warning(place.field(field), message);
            }
        }
        Some(written.hedge_on_per_try_timeout)
    }

    /// Says that a policy counts for nothing where it stands.
    fn warn_of_typed_retries(&mut self, written: Option<&TypedRetryPolicy>, place: Place<'_>) {
        if written.is_some() {
            let message = "no effect: Envoy takes it and tries nothing again, and so does nuncio";
            self.diagnostics
                .warning(place.field("retry_policy_typed_config"), message)
                .hint("write 'retry_policy'");
        }
    }

    pub(super) fn retries(
        &mut self,
        written: Option<&RetryPolicy>,
        place: Place<'_>,
    ) -> Option<RetrySpec> {
        let written = written?;
        let place = place.field("retry_policy");
        self.check_retry(written, place);
        Some(self.retry(written, place))
    }

    fn check_retry(&mut self, written: &RetryPolicy, place: Place<'_>) {
        let (on, unknown) = RetryOn::parse(&written.retry_on);
        let here = place.field("retry_on");
        for word in unknown {
            let message = format!("unknown condition \"{word}\" is ignored");
            self.diagnostics.warning(here, message);
        }
        let codes = place.field("retriable_status_codes");
        for (index, code) in written.retriable_status_codes.iter().enumerate() {
            if !(100..600).contains(code) {
                let message = format!("no response has the status {code}");
                self.diagnostics.warning(codes.index(index), message);
            }
        }
        for (field, is_used, word) in [
            (
                "retriable_status_codes",
                written.retriable_status_codes.is_empty()
                    || on.has(RetryOn::RETRIABLE_STATUS_CODES),
                "retriable-status-codes",
            ),
            (
                "retriable_headers",
                written.retriable_headers.is_empty() || on.has(RetryOn::RETRIABLE_HEADERS),
                "retriable-headers",
            ),
        ] {
            if !is_used {
                let message = format!("'{field}' has no effect: 'retry_on' has no \"{word}\"");
                self.diagnostics.warning(place.field(field), message);
            }
        }
    }

    /// The mirrors of one level.
    pub(super) fn mirrors(
        &mut self,
        written: &[RequestMirrorPolicy],
        place: Place<'_>,
    ) -> Vec<MirrorSpec> {
        let place = place.field("request_mirror_policies");
        let mut mirrors = Vec::new();
        for (index, policy) in written.iter().enumerate() {
            let cluster = match (policy.cluster.as_str(), policy.cluster_header.as_str()) {
                ("", "") => None,
                (name, "") => Some(MirrorClusterSpec::Named(name.to_owned())),
                ("", name) => Some(MirrorClusterSpec::Header(name.to_owned())),
                _ => None,
            };
            let Some(cluster) = cluster else {
                let message = "a mirror needs either 'cluster' or 'cluster_header'";
                self.diagnostics.error(place.index(index), message);
                continue;
            };
            let mut changes = RequestChanges::default();
            let here = place.index(index).field("request_headers_mutations");
            self.head_changes(&policy.request_headers_mutations, here, &mut changes);
            let share = policy.runtime_fraction.as_ref();
            let values = &self.values;
            mirrors.push(MirrorSpec {
                cluster,
                fraction: share.map(|share| fraction(share, values)),
                host_rewrite_literal: policy.host_rewrite_literal.clone(),
                shadow_suffix: !policy.disable_shadow_host_suffix_append,
                changes,
            });
        }
        mirrors
    }

    fn retry(&mut self, written: &RetryPolicy, place: Place<'_>) -> RetrySpec {
        let attempts = written.host_selection_retry_max_attempts;
        let Ok(host_selection_attempts) = u32::try_from(attempts) else {
            let here = place.field("host_selection_retry_max_attempts");
            self.diagnostics
                .error(here, format!("must be from 0 to {}", u32::MAX));
            return RetrySpec::default();
        };
        let avoids = self.avoids(written, place);
        let update_frequency = written.retry_priority.as_ref().and_then(|priority| {
            let RetryPriorityConfig::PreviousPriorities(config) = &priority.typed_config;
            u32::try_from(config.update_frequency).ok()
        });
        RetrySpec {
            retry_on: written.retry_on.clone(),
            num_retries: written.num_retries,
            per_try_timeout: get(written.per_try_timeout),
            per_try_idle_timeout: get(written.per_try_idle_timeout),
            back_off: written
                .retry_back_off
                .as_ref()
                .map(|back_off| (back_off.base_interval.get(), get(back_off.max_interval))),
            rate_limited: written.rate_limited_retry_back_off.as_ref().map(|limited| {
                RateLimitedSpec {
                    headers: limited
                        .reset_headers
                        .iter()
                        .map(|header| ResetHeaderSpec {
                            name: header.name.clone(),
                            is_timestamp: header.format == ResetHeaderFormat::UnixTimestamp,
                        })
                        .collect(),
                    max_interval: get(limited.max_interval),
                }
            }),
            retriable_status_codes: written.retriable_status_codes.clone(),
            retriable_headers: written.retriable_headers.iter().map(header).collect(),
            retriable_request_headers: written
                .retriable_request_headers
                .iter()
                .map(header)
                .collect(),
            avoids,
            host_selection_attempts,
            update_frequency,
        }
    }

    /// Endpoints that a retry does not go to.
    fn avoids(&mut self, written: &RetryPolicy, place: Place<'_>) -> Vec<AvoidSpec> {
        let place = place.field("retry_host_predicate");
        let mut avoids = Vec::new();
        for (index, predicate) in written.retry_host_predicate.iter().enumerate() {
            avoids.push(match &predicate.typed_config {
                RetryHostPredicateConfig::PreviousHosts(_) => AvoidSpec::Tried,
                RetryHostPredicateConfig::OmitCanaryHosts(_) => AvoidSpec::Canary,
                RetryHostPredicateConfig::OmitHostMetadata(config) => {
                    let Some(criteria) = self.criteria(config.metadata_match.as_ref(), None)
                    else {
                        let message = "without metadata in 'envoy.lb' this leaves out every endpoint, which is no choice";
                        let here = place.index(index).field("typed_config");
                        self.diagnostics
                            .warning(here.field("metadata_match"), message);
                        continue;
                    };
                    AvoidSpec::Metadata(criteria)
                }
            });
        }
        avoids
    }

    fn internal_redirects(
        &mut self,
        written: &InternalRedirectPolicy,
        place: Place<'_>,
    ) -> InternalRedirectSpec {
        let place = place.field("internal_redirect_policy");
        let codes = place.field("redirect_response_codes");
        for (index, code) in written.redirect_response_codes.iter().enumerate() {
            if !matches!(code, 301 | 302 | 303 | 307 | 308) {
                let message = format!("{code} is no redirect and has no effect");
                self.diagnostics.warning(codes.index(index), message);
            }
        }
        internal_redirects(written)
    }
}

/// Whether the older form says so.
fn follows_redirects(written: &RouteAction) -> bool {
    written.internal_redirect_action == InternalRedirectAction::HandleInternalRedirect
}

fn internal_redirects(written: &InternalRedirectPolicy) -> InternalRedirectSpec {
    let predicate = |predicate: &RedirectPredicate| match &predicate.typed_config {
        RedirectPredicateConfig::AllowListedRoutes(config) => {
            RedirectPredicateSpec::AllowListedRoutes(config.allowed_route_names.clone())
        }
        RedirectPredicateConfig::PreviousRoutes(_) => RedirectPredicateSpec::PreviousRoutes,
        RedirectPredicateConfig::SafeCrossScheme(_) => RedirectPredicateSpec::SafeCrossScheme,
    };
    InternalRedirectSpec {
        max_redirects: written.max_internal_redirects,
        statuses: written.redirect_response_codes.clone(),
        predicates: written.predicates.iter().map(predicate).collect(),
        allow_cross_scheme: written.allow_cross_scheme_redirect,
        copied_headers: written.response_headers_to_copy.clone(),
    }
}

/// Of two forms the newer counts.
fn buffer_limit((newer, older): (Option<u64>, Option<u32>)) -> Option<u64> {
    newer.or_else(|| older.map(u64::from))
}

fn stream_duration(written: MaxStreamDuration) -> StreamDurationSpec {
    StreamDurationSpec {
        max_stream_duration: get(written.max_stream_duration),
        grpc_timeout_header_max: get(written.grpc_timeout_header_max),
        grpc_timeout_header_offset: get(written.grpc_timeout_header_offset),
    }
}

fn get(written: Option<WrittenDuration>) -> Option<Duration> {
    written.map(WrittenDuration::get)
}
