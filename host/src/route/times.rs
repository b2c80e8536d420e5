//! The time that a request has: what its route and its own headers say.
//!
//! Owns the limits of a route, what `grpc-timeout` and the `x-envoy-` control headers make of them,
//! and what the upstream is told. Called by `http` once for each request, and for each attempt. Does
//! not own the clocks.

use std::time::Duration;

use super::retry::{RetryPolicy, number};
use super::spec::TimesSpec;
use crate::headers::{Headers, Known};

/// `RouteAction.timeout` where it is not set.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);
/// The most digits that `grpc-timeout` may have (gRPC over HTTP/2, "Requests").
const GRPC_DIGITS_MAX: u128 = 99_999_999;

/// The times of a route. Immutable.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// From the end of the request to the end of the response, retries included; no limit where it
    /// is `None`.
    pub timeout: Option<Duration>,
    /// Without a byte in either direction, in place of the connection manager's; inside, no limit
    /// where it is `None`.
    pub idle: Option<Option<Duration>>,
    /// For the client to receive the rest of a response, in place of the connection manager's; inside,
    /// no limit where it is `None`.
    pub flush: Option<Option<Duration>>,
    max_grpc: Option<Duration>,
    grpc_offset: Option<Duration>,
    stream: Option<StreamDuration>,
}

/// `MaxStreamDuration`.
#[derive(Clone, Copy, Debug)]
struct StreamDuration {
    max: Option<Duration>,
    grpc_max: Option<Duration>,
    grpc_offset: Option<Duration>,
}

/// The times of one request. No limit where one is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestTimes {
    /// From the end of the request to the end of the response.
    pub total: Option<Duration>,
    /// The same for one try.
    pub per_try: Option<Duration>,
    /// Without a byte, for one try.
    pub per_try_idle: Option<Duration>,
    /// Whether `grpc-timeout` has to say what the upstream is told.
    tells_grpc: bool,
}

impl Times {
    pub(super) fn build(spec: &TimesSpec) -> Self {
        Self {
            timeout: non_zero(spec.timeout.unwrap_or(DEFAULT_TIMEOUT)),
            idle: spec.idle_timeout.map(non_zero),
            flush: spec.flush_timeout.map(non_zero),
            max_grpc: spec.max_grpc_timeout,
            grpc_offset: spec.grpc_timeout_offset,
            stream: spec.max_stream_duration.map(|spec| StreamDuration {
                max: spec.max_stream_duration,
                grpc_max: spec.grpc_timeout_header_max,
                grpc_offset: spec.grpc_timeout_header_offset,
            }),
        }
    }

    /// The times of a request without a route.
    #[must_use]
    pub fn of_no_route() -> Self {
        Self::build(&TimesSpec::UNSET)
    }

    /// The times of a request; takes the headers out that say them. `chosen` is a filter's in place
    /// of the route's, and where it is so told `x-envoy-expected-rq-timeout-ms` counts before what the
    /// client asks for, both of which stay then.
    pub fn of_request(
        &self,
        request: &mut Headers,
        (chosen, heeds_expected): (Option<Duration>, bool),
        retry: Option<&RetryPolicy>,
    ) -> RequestTimes {
        let grpc = self.max_grpc.filter(|_| request.is_grpc());
        let total = match (chosen, self.stream, grpc) {
            (Some(chosen), _, _) => non_zero(chosen),
            // The newer limit takes the place of the older ones.
            (None, Some(_), _) => None,
            (None, None, Some(most)) => self.grpc_total(request, most),
            (None, None, None) => self.timeout,
        };
        let mut times = RequestTimes {
            total,
            per_try: retry.and_then(|policy| policy.per_try_timeout),
            per_try_idle: retry.and_then(|policy| policy.per_try_idle_timeout),
            tells_grpc: grpc.is_some() && self.stream.is_none(),
        };
        let expected = Known::XEnvoyExpectedRqTimeoutMs;
        let is_told = heeds_expected && request.has(expected);
        let said = if is_told {
            expected
        } else {
            Known::XEnvoyUpstreamRqTimeoutMs
        };
        if let Some(ms) = number(request.known(said)) {
            times.total = non_zero(Duration::from_millis(ms));
        }
        if !is_told {
            request.remove_known(Known::XEnvoyUpstreamRqTimeoutMs);
        }
        if let Some(ms) = number(request.known(Known::XEnvoyUpstreamRqPerTryTimeoutMs)) {
            times.per_try = non_zero(Duration::from_millis(ms));
        }
        request.remove_known(Known::XEnvoyUpstreamRqPerTryTimeoutMs);
        // A try that may take as long as all of them needs no limit of its own.
        times.per_try = times
            .per_try
            .filter(|one| times.total.is_none_or(|total| *one < total));
        times
    }

    fn grpc_total(&self, request: &Headers, most: Duration) -> Option<Duration> {
        let mut asked = grpc_timeout(request).unwrap_or_default();
        if let Some(offset) = self.grpc_offset
            && offset < asked
        {
            asked -= offset;
        }
        if !most.is_zero() && (asked.is_zero() || asked > most) {
            asked = most;
        }
        non_zero(asked)
    }

    /// How long the stream may last from its first byte on; `manager` is the limit of the connection
    /// manager. What `grpc-timeout` asks for counts where the route says so; where the route limits
    /// streams, upstreams of gRPC are told.
    pub fn stream_duration(
        &self,
        request: &mut Headers,
        manager: Option<Duration>,
    ) -> Option<Duration> {
        let asked = grpc_timeout(request);
        let grpc = self
            .stream
            .and_then(|stream| Some((asked?, stream.grpc_max?, stream.grpc_offset)));
        let limit = match (grpc, self.stream.and_then(|stream| stream.max)) {
            (Some((asked, most, offset)), _) => {
                let capped = if most.is_zero() {
                    asked
                } else {
                    asked.min(most)
                };
                Some(capped.saturating_sub(offset.unwrap_or_default()))
            }
            (None, Some(most)) => non_zero(most),
            (None, None) => manager,
        };
        if self.stream.is_some()
            && request.is_grpc()
            && let Some(limit) = limit
        {
            set_grpc_timeout(request, limit);
        }
        limit
    }
}

impl RequestTimes {
    /// How long the upstream's answer is waited for, `elapsed` after the end of the request, as
    /// `x-envoy-expected-rq-timeout-ms` says it.
    #[must_use]
    pub fn expected(&self, elapsed: Duration) -> Option<Duration> {
        match (self.per_try, self.total) {
            (Some(one), Some(total)) => Some(one.min(left(total, elapsed))),
            (Some(one), None) => Some(one),
            (None, total) => total.map(|total| left(total, elapsed)),
        }
    }

    /// Brings `grpc-timeout` up to date, where the route limits it.
    pub fn tell_grpc(&self, request: &mut Headers, expected: Duration) {
        if self.tells_grpc {
            set_grpc_timeout(request, expected);
        }
    }
}

/// What is left of `total`, by whole milliseconds: never nothing, because that would mean no limit.
fn left(total: Duration, elapsed: Duration) -> Duration {
    let elapsed = Duration::from_millis(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
    total
        .checked_sub(elapsed)
        .filter(|left| left.as_millis() > 0)
        .unwrap_or(Duration::from_millis(1))
}

const fn non_zero(duration: Duration) -> Option<Duration> {
    if duration.is_zero() {
        None
    } else {
        Some(duration)
    }
}

/// `grpc-timeout` in whole milliseconds; smaller units are rounded up. None where it is too large a number.
fn grpc_timeout(request: &Headers) -> Option<Duration> {
    let (unit, digits) = request.known(Known::GrpcTimeout)?.split_last()?;
    let amount: u64 = number(Some(digits))?;
    if u128::from(amount) > GRPC_DIGITS_MAX {
        return None;
    }
    let ms = match unit {
        b'H' => amount.checked_mul(3_600_000)?,
        b'M' => amount.checked_mul(60_000)?,
        b'S' => amount.checked_mul(1000)?,
        b'm' => amount,
        b'u' => amount.div_ceil(1000),
        b'n' => amount.div_ceil(1_000_000),
        _ => return None,
    };
    Some(Duration::from_millis(ms))
}

/// Says `timeout` in the finest unit, from milliseconds up, in which it has few enough digits.
fn set_grpc_timeout(request: &mut Headers, timeout: Duration) {
    let ms = timeout.as_millis();
    let units = [('m', 1), ('S', 1000), ('M', 60_000), ('H', 3_600_000)];
    let fitting = units.iter().find(|(_, unit)| ms / unit <= GRPC_DIGITS_MAX);
    let text = match fitting {
        Some((letter, unit)) => format!("{}{letter}", ms / unit),
        None => format!("{GRPC_DIGITS_MAX}H"),
    };
    request.set_known(Known::GrpcTimeout, text.as_bytes());
}

#[cfg(test)]
mod tests;
