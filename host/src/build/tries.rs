//! Attempts: times, retries, mirrors and internal redirects to what a route is built from.

use std::time::Duration;

use super::Workshop;
use super::matching::{fraction, header};
use crate::config::Place;
use crate::config::retry::{
    InternalRedirectPolicy, MaxStreamDuration, RedirectPredicate, RedirectPredicateConfig,
    RequestMirrorPolicy, ResetHeaderFormat, RetryHostPredicateConfig, RetryPolicy,
};
use crate::config::route::{RouteAction, VirtualHost};
use crate::config::scalar::Duration as WrittenDuration;
use crate::route::RetryOn;
use crate::route::spec::{
    InternalRedirectSpec, MirrorClusterSpec, MirrorSpec, RateLimitedSpec, RedirectPredicateSpec,
    ResetHeaderSpec, RetrySpec, StreamDurationSpec, TimesSpec, TriesSpec,
};

/// A virtual host, and where it is: what its routes do not say, it says for them.
#[derive(Clone, Copy)]
pub(super) struct Host<'a> {
    pub(super) written: &'a VirtualHost,
    pub(super) place: Place<'a>,
    /// `request_mirror_policies` of the route configuration.
    pub(super) mirrors: &'a [RequestMirrorPolicy],
}

impl Workshop<'_> {
    /// The times of a route.
    pub(super) fn times(&mut self, written: &RouteAction, place: Place<'_>) -> TimesSpec {
        let times = TimesSpec {
            timeout: get(written.timeout),
            idle_timeout: get(written.idle_timeout),
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
        times
    }

    /// What a route and its virtual host say about attempts: the more specific wins, as a whole.
    pub(super) fn tries(
        &mut self,
        written: &RouteAction,
        place: Place<'_>,
        host: Host<'_>,
    ) -> TriesSpec {
        let (retry, retry_place) = match &written.retry_policy {
            Some(policy) => (Some(policy), place),
            None => (host.written.retry_policy.as_ref(), host.place),
        };
        TriesSpec {
            retry: retry.map(|policy| self.retry(policy, retry_place.field("retry_policy"))),
            mirrors: self.mirrors(written, place, host),
            internal_redirects: written
                .internal_redirect_policy
                .as_ref()
                .map(internal_redirects),
            count_in_request: host.written.include_request_attempt_count,
            count_in_response: host.written.include_attempt_count_in_response,
            timeout_retry_header: host.written.include_is_timeout_retry_header,
            buffer_limit: buffer_limit(host.written),
        }
    }

    /// Warnings about the policies of a virtual host, once and not for each route.
    pub(super) fn check_virtual_host(&mut self, written: &VirtualHost, place: Place<'_>) {
        if let Some(policy) = &written.retry_policy {
            self.check_retry(policy, place.field("retry_policy"));
        }
        if written.per_request_buffer_limit_bytes.is_some()
            && written.request_body_buffer_limit.is_some()
        {
            let message = "'request_body_buffer_limit' and 'per_request_buffer_limit_bytes' exclude each other";
            self.diagnostics
                .error(place.field("request_body_buffer_limit"), message);
        }
    }

    /// Warnings about the policies of a route.
    pub(super) fn check_route(&mut self, written: &RouteAction, place: Place<'_>) {
        if let Some(policy) = &written.retry_policy {
            self.check_retry(policy, place.field("retry_policy"));
        }
    }

    fn check_retry(&mut self, written: &RetryPolicy, place: Place<'_>) {
        let (on, unknown) = RetryOn::parse(&written.retry_on);
        let here = place.field("retry_on");
        for word in unknown {
            let message = format!("unknown condition \"{word}\" is ignored");
            self.diagnostics.warning(here, message);
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

    /// The mirrors of the most specific level that has any.
    fn mirrors(
        &mut self,
        written: &RouteAction,
        place: Place<'_>,
        host: Host<'_>,
    ) -> Vec<MirrorSpec> {
        let levels = [
            &written.request_mirror_policies[..],
            &host.written.request_mirror_policies,
            host.mirrors,
        ];
        let level = levels.into_iter().find(|level| !level.is_empty());
        let mut mirrors = Vec::new();
        for policy in level.into_iter().flatten() {
            let cluster = match (policy.cluster.as_str(), policy.cluster_header.as_str()) {
                ("", "") => None,
                (name, "") => Some(MirrorClusterSpec::Named(name.to_owned())),
                ("", name) => Some(MirrorClusterSpec::Header(name.to_owned())),
                _ => None,
            };
            let Some(cluster) = cluster else {
                let message = "a mirror needs either 'cluster' or 'cluster_header'";
                self.diagnostics
                    .error(place.field("request_mirror_policies"), message);
                continue;
            };
            let share = policy.runtime_fraction.as_ref();
            let values = &self.values;
            mirrors.push(MirrorSpec {
                cluster,
                fraction: share.map(|share| fraction(share, values)),
                shadow_suffix: !policy.disable_shadow_host_suffix_append,
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
        let hosts = written.retry_host_predicate.iter();
        let mut kinds = hosts.map(|predicate| &predicate.typed_config);
        let other_hosts =
            kinds.any(|kind| matches!(kind, RetryHostPredicateConfig::PreviousHosts(_)));
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
            other_hosts,
            host_selection_attempts,
        }
    }
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

fn buffer_limit(written: &VirtualHost) -> Option<u64> {
    let older = written.per_request_buffer_limit_bytes.map(u64::from);
    written.request_body_buffer_limit.or(older)
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
