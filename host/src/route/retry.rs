//! Retries: what a route says about them, and whether an outcome is one to try again after.
//!
//! Owns [`RetryPolicy`], the words of `retry_on`, what the control headers of a request add, and the
//! decisions; all of it pure. Called by `http` for each head and each failure of a request whose
//! route or head asks for retries. Does not own the budgets of a cluster, the waiting and the
//! sending.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::error::{Problem, Report};
use super::matcher::HeaderMatcher;
use super::spec::{AvoidSpec, RateLimitedSpec, ResetHeaderSpec, RetrySpec};
use crate::headers::{Headers, Known, KnownSet, Name};

/// `num_retries` where it is not set.
const NUM_RETRIES: u32 = 1;
/// `retry_back_off.base_interval` where it is not set.
const BASE_INTERVAL: Duration = Duration::from_millis(25);
/// `retry_back_off.max_interval` where it is not set, in base intervals.
const MAX_INTERVALS: u32 = 10;
/// `rate_limited_retry_back_off.max_interval` where it is not set.
const RESET_MAX: Duration = Duration::from_mins(5);
/// `host_selection_retry_max_attempts` where it is not set.
const HOST_ATTEMPTS: u32 = 1;

/// A set of the words of `retry_on`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryOn(u32);

macro_rules! words {
    ($($name:ident = $bit:literal, $word:literal, $grpc:literal;)+) => {
        impl RetryOn {
            $(#[doc = concat!("`", $word, "`.")]
            pub const $name: Self = Self(1 << $bit);)+

            const WORDS: &'static [(Self, &'static str, bool)] = &[$((Self::$name, $word, $grpc)),+];
        }
    };
}

words! {
    FIVE_XX = 0, "5xx", false;
    GATEWAY_ERROR = 1, "gateway-error", false;
    CONNECT_FAILURE = 2, "connect-failure", false;
    RETRIABLE_4XX = 3, "retriable-4xx", false;
    REFUSED_STREAM = 4, "refused-stream", false;
    RETRIABLE_STATUS_CODES = 5, "retriable-status-codes", false;
    RETRIABLE_HEADERS = 6, "retriable-headers", false;
    ENVOY_RATELIMITED = 7, "envoy-ratelimited", false;
    RESET = 8, "reset", false;
    RESET_BEFORE_REQUEST = 9, "reset-before-request", false;
    HTTP3_POST_CONNECT_FAILURE = 10, "http3-post-connect-failure", false;
    CANCELLED = 16, "cancelled", true;
    DEADLINE_EXCEEDED = 17, "deadline-exceeded", true;
    RESOURCE_EXHAUSTED = 18, "resource-exhausted", true;
    UNAVAILABLE = 19, "unavailable", true;
    INTERNAL = 20, "internal", true;
}

/// Which words count in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vocabulary {
    Both,
    Http,
    Grpc,
}

impl RetryOn {
    /// Nothing.
    pub const NONE: Self = Self(0);

    /// The words of a `retry_on`, and those that mean nothing.
    #[must_use]
    pub fn parse(text: &str) -> (Self, Vec<&str>) {
        let mut unknown = Vec::new();
        let found = Self::read(text, Vocabulary::Both, |word| unknown.push(word));
        (found, unknown)
    }

    /// Whether a field has words of its own kind alone: those of gRPC, or the others.
    #[must_use]
    pub fn has_only_words(text: &str, grpc: bool) -> bool {
        let vocabulary = if grpc {
            Vocabulary::Grpc
        } else {
            Vocabulary::Http
        };
        let mut unknown = false;
        Self::read(text, vocabulary, |_| unknown = true);
        !unknown
    }

    fn read<'a>(text: &'a str, vocabulary: Vocabulary, mut unknown: impl FnMut(&'a str)) -> Self {
        let mut all = Self::NONE;
        let words = text.split(',').map(str::trim);
        for word in words.filter(|word| !word.is_empty()) {
            let found = Self::WORDS.iter().find(|(_, known, grpc)| {
                *known == word
                    && match vocabulary {
                        Vocabulary::Both => true,
                        Vocabulary::Http => !grpc,
                        Vocabulary::Grpc => *grpc,
                    }
            });
            match found {
                Some((one, _, _)) => all = all.with(*one),
                None => unknown(word),
            }
        }
        all
    }

    const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are there.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    const fn any(self, of: Self) -> bool {
        self.0 & of.0 != 0
    }

    const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// `RetryPolicy`. Immutable.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    on: RetryOn,
    num_retries: u32,
    /// `per_try_timeout`.
    pub per_try_timeout: Option<Duration>,
    /// `per_try_idle_timeout`.
    pub per_try_idle_timeout: Option<Duration>,
    /// `retry_back_off`, where it is set.
    back_off: Option<BackOff>,
    rate_limited: Option<RateLimited>,
    status_codes: Box<[u16]>,
    headers: Box<[HeaderMatcher]>,
    request_headers: Box<[HeaderMatcher]>,
    /// Endpoints that a retry does not go to; `None` where it may go to any.
    pub avoids: Option<Avoids>,
    /// After how many tries those of their levels are left out (`retry_priority`).
    pub update_frequency: Option<NonZeroU32>,
}

/// `retry_host_predicate`.
#[derive(Clone, Debug)]
pub struct Avoids {
    /// Those that were tried.
    pub tried: bool,
    /// Those that run a version which is being tried.
    pub canaries: bool,
    /// Those that have such metadata: indices into the snapshot's list of criteria.
    pub criteria: Box<[usize]>,
    /// How often another endpoint is chosen in place of one of these.
    pub attempts: u32,
}

impl Avoids {
    fn build(spec: &RetrySpec) -> Option<Self> {
        let has = |wanted| spec.avoids.contains(&wanted);
        let criteria = spec.avoids.iter().filter_map(|avoid| match avoid {
            AvoidSpec::Metadata(index) => Some(*index),
            AvoidSpec::Tried | AvoidSpec::Canary => None,
        });
        (!spec.avoids.is_empty()).then(|| Self {
            tried: has(AvoidSpec::Tried),
            canaries: has(AvoidSpec::Canary),
            criteria: criteria.collect(),
            attempts: match spec.host_selection_attempts {
                0 => HOST_ATTEMPTS,
                attempts => attempts,
            },
        })
    }
}

/// `RetryBackOff`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BackOff {
    base: Duration,
    max: Duration,
}

impl BackOff {
    const DEFAULT: Self = Self {
        base: BASE_INTERVAL,
        max: Duration::from_millis(25 * MAX_INTERVALS as u64),
    };
}

/// `RateLimitedRetryBackOff`.
#[derive(Clone, Debug)]
struct RateLimited {
    headers: Box<[(Name, bool)]>,
    max: Duration,
}

impl RetryPolicy {
    /// Whether it says that nothing is sent again.
    #[must_use]
    pub const fn wants_none(&self) -> bool {
        self.num_retries == 0
    }

    pub(super) fn build(spec: &RetrySpec, report: &mut Report) -> Option<Self> {
        let (on, _) = RetryOn::parse(&spec.retry_on);
        let back_off = match spec.back_off {
            None => None,
            Some((base, max)) => {
                let max = max.unwrap_or_else(|| base.saturating_mul(MAX_INTERVALS));
                if max < base {
                    return report.field("retry_back_off", |report| {
                        report.field("max_interval", |r| r.error(Problem::BackOffMax))
                    });
                }
                Some(BackOff { base, max })
            }
        };
        let rate_limited = match &spec.rate_limited {
            Some(spec) => Some(report.field("rate_limited_retry_back_off", |report| {
                RateLimited::build(spec, report)
            })?),
            None => None,
        };
        let matchers =
            |report: &mut Report, field, specs| report.items(field, specs, HeaderMatcher::build_in);
        let codes = spec.retriable_status_codes.iter();
        Some(Self {
            on,
            num_retries: spec.num_retries.unwrap_or(NUM_RETRIES),
            per_try_timeout: spec.per_try_timeout.filter(|timeout| !timeout.is_zero()),
            per_try_idle_timeout: spec
                .per_try_idle_timeout
                .filter(|timeout| !timeout.is_zero()),
            back_off,
            rate_limited,
            status_codes: codes.filter_map(|code| u16::try_from(*code).ok()).collect(),
            headers: matchers(report, "retriable_headers", &spec.retriable_headers),
            request_headers: matchers(
                report,
                "retriable_request_headers",
                &spec.retriable_request_headers,
            ),
            avoids: Avoids::build(spec),
            update_frequency: spec.update_frequency.and_then(NonZeroU32::new),
        })
    }
}

impl RateLimited {
    fn build(spec: &RateLimitedSpec, report: &mut Report) -> Option<Self> {
        let headers = |report: &mut Report, spec: &ResetHeaderSpec| {
            let name = Name::parse(spec.name.as_bytes()).map_err(Problem::HeaderName);
            let name = report.field("name", |report| report.take(name))?;
            Some((name, spec.is_timestamp))
        };
        if spec.headers.is_empty() {
            return report.field("reset_headers", |report| report.error(Problem::NoItems));
        }
        Some(Self {
            headers: report.items("reset_headers", &spec.headers, headers),
            max: spec.max_interval.unwrap_or(RESET_MAX),
        })
    }

    /// How long the upstream asks to be left alone: what the first header says that can be believed.
    fn wait(&self, head: &Headers, wall: SystemTime) -> Option<Duration> {
        let now = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.headers.iter().find_map(|(name, is_timestamp)| {
            let value = head.get(name)?;
            let seconds: u64 = std::str::from_utf8(value).ok()?.trim().parse().ok()?;
            let wait = if *is_timestamp {
                Duration::from_secs(seconds.checked_sub(now.as_secs())?)
            } else {
                Duration::from_secs(seconds)
            };
            (wait <= self.max).then_some(wait)
        })
    }
}

/// How an attempt failed before a response's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A limit of the cluster: another attempt would run into it as well.
    Overflow,
    /// There was no connection.
    Connect,
    /// The upstream refused the stream without looking at it.
    Refused,
    /// The connection or the stream ended. Whether any of the request was sent.
    Reset {
        /// Whether the upstream can know of the request.
        sent: bool,
    },
    /// The try took too long.
    PerTryTimeout,
}

/// What to do after an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the client's.
    Pass,
    /// It would be tried again, but there are no retries left.
    Exhausted,
    /// It is tried again.
    Retry,
}

/// The retries of one request.
#[derive(Clone, Debug)]
pub struct Retries {
    policy: Option<Arc<RetryPolicy>>,
    on: RetryOn,
    left: u32,
    /// Of `x-envoy-retriable-status-codes`.
    status_codes: Vec<u16>,
    /// Of `x-envoy-retriable-header-names`.
    header_names: Vec<Name>,
    /// The bound of the next wait.
    interval: Duration,
    max: Duration,
}

/// A wait, and why it is that long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// By chance.
    Exponential(Duration),
    /// Because the upstream said so.
    RateLimited(Duration),
}

impl Wait {
    /// How long.
    #[must_use]
    pub const fn get(self) -> Duration {
        match self {
            Self::Exponential(wait) | Self::RateLimited(wait) => wait,
        }
    }
}

impl Retries {
    /// The retries that `policy` and the head of a request ask for; none in the usual case.
    #[must_use]
    pub fn of(policy: Option<&Arc<RetryPolicy>>, request: &Headers) -> Option<Self> {
        const ASKING: KnownSet = KnownSet::of(&[Known::XEnvoyRetryOn, Known::XEnvoyRetryGrpcOn]);
        if policy.is_none() && !request.has_any(ASKING) {
            return None;
        }
        let words = |name, vocabulary| {
            let text = request.known(name);
            let text = text.and_then(|text| std::str::from_utf8(text).ok());
            RetryOn::read(text.unwrap_or_default(), vocabulary, |_| {})
        };
        let on = policy
            .map_or(RetryOn::NONE, |policy| policy.on)
            .with(words(Known::XEnvoyRetryOn, Vocabulary::Http))
            .with(words(Known::XEnvoyRetryGrpcOn, Vocabulary::Grpc));
        if on.is_empty() {
            return None;
        }
        let wanted = policy.map(|policy| &policy.request_headers);
        if let Some(wanted) = wanted
            && !wanted.is_empty()
            && !wanted.iter().any(|matcher| matcher.matches(request))
        {
            return None;
        }
        let back_off = policy.and_then(|policy| policy.back_off);
        let back_off = back_off.unwrap_or(BackOff::DEFAULT);
        Some(Self {
            on,
            // Of a larger number Envoy keeps the lower half.
            left: number(request.known(Known::XEnvoyMaxRetries))
                .map(|left: u64| left as u32)
                .unwrap_or_else(|| policy.map_or(NUM_RETRIES, |policy| policy.num_retries)),
            status_codes: list(request, Known::XEnvoyRetriableStatusCodes)
                .filter_map(|code| number(Some(code)))
                .collect(),
            header_names: list(request, Known::XEnvoyRetriableHeaderNames)
                .filter_map(|name| Name::parse(name).ok())
                .collect(),
            interval: back_off.base,
            max: back_off.max,
            policy: policy.map(Arc::clone),
        })
    }

    /// Has no retries made: what runtime values say goes before every policy.
    pub const fn switch_off(&mut self) {
        self.on = RetryOn::NONE;
    }

    /// Lets the first wait be below `base` where the policy does not say how long it is.
    pub fn begin_with(&mut self, base: Duration) {
        if self
            .policy
            .as_ref()
            .is_none_or(|policy| policy.back_off.is_none())
        {
            self.interval = base;
            self.max = base.saturating_mul(MAX_INTERVALS);
        }
    }

    /// The policy behind them, where it is not the request alone that asks.
    #[must_use]
    pub const fn policy(&self) -> Option<&Arc<RetryPolicy>> {
        self.policy.as_ref()
    }

    /// Whether to try again rather than to pass a response on. Each [`Verdict::Retry`] uses one up.
    pub fn after_head(&mut self, status: u16, head: &Headers) -> Verdict {
        let wants = self.wants_head(status, head);
        self.settle(wants)
    }

    /// Whether a response is one to try again after.
    #[must_use]
    pub fn wants_head(&self, status: u16, head: &Headers) -> bool {
        let on = self.on;
        if head.has(Known::XEnvoyRatelimited) {
            return on.any(RetryOn::ENVOY_RATELIMITED);
        }
        let policy = self.policy.as_deref();
        let codes = policy.map_or(&[][..], |policy| &policy.status_codes);
        let matchers = policy.map_or(&[][..], |policy| &policy.headers);
        (on.any(RetryOn::FIVE_XX) && (500..600).contains(&status))
            || (on.any(RetryOn::GATEWAY_ERROR) && matches!(status, 502..=504))
            || (on.any(RetryOn::RETRIABLE_4XX) && status == 409)
            || (on.any(RetryOn::RETRIABLE_STATUS_CODES)
                && (codes.contains(&status) || self.status_codes.contains(&status)))
            || (on.any(RetryOn::RETRIABLE_HEADERS)
                && (matchers.iter().any(|matcher| matcher.matches(head))
                    || self.header_names.iter().any(|name| head.contains(name))))
            || on.any(grpc_word(head))
    }

    /// Whether to try again after a failure. Each [`Verdict::Retry`] uses one up.
    pub fn after_failure(&mut self, failure: Failure) -> Verdict {
        let on = self.on;
        let any = RetryOn::FIVE_XX
            .with(RetryOn::GATEWAY_ERROR)
            .with(RetryOn::RESET);
        let wants = match failure {
            Failure::Overflow => false,
            Failure::Connect => on.any(
                any.with(RetryOn::CONNECT_FAILURE)
                    .with(RetryOn::RESET_BEFORE_REQUEST),
            ),
            Failure::Refused => on.any(any.with(RetryOn::REFUSED_STREAM)),
            Failure::Reset { sent: false } => on.any(any.with(RetryOn::RESET_BEFORE_REQUEST)),
            Failure::Reset { sent: true } | Failure::PerTryTimeout => on.any(any),
        };
        self.settle(wants)
    }

    /// Whether to try again beside a try that takes too long and goes on: whatever `retry_on` says, as
    /// nothing has failed.
    pub const fn after_late(&mut self) -> Verdict {
        self.settle(true)
    }

    const fn settle(&mut self, wants: bool) -> Verdict {
        if !wants {
            return Verdict::Pass;
        }
        if self.left == 0 {
            return Verdict::Exhausted;
        }
        self.left -= 1;
        Verdict::Retry
    }

    /// How long to wait before the next try: what the response asks for, with up to half of it on
    /// top, or else by chance below a bound that doubles each time. `random` is any number.
    pub fn wait(&mut self, head: Option<&Headers>, wall: SystemTime, random: u64) -> Wait {
        let limited = self.policy.as_ref().and_then(|p| p.rate_limited.as_ref());
        if let Some(asked) = limited.zip(head).and_then(|(l, head)| l.wait(head, wall))
            && asked > Duration::from_millis(1)
        {
            return Wait::RateLimited(asked + below(asked / 2, random));
        }
        let bound = self.interval;
        self.interval = self.interval.saturating_mul(2).min(self.max);
        Wait::Exponential(below(bound, random))
    }
}

/// A whole number of milliseconds below `bound`.
fn below(bound: Duration, random: u64) -> Duration {
    let bound = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(random.checked_rem(bound).unwrap_or(0))
}

/// The word of `retry_on` for the gRPC status in a head.
fn grpc_word(head: &Headers) -> RetryOn {
    match number::<u32>(head.known(Known::GrpcStatus)) {
        Some(1) => RetryOn::CANCELLED,
        Some(4) => RetryOn::DEADLINE_EXCEEDED,
        Some(8) => RetryOn::RESOURCE_EXHAUSTED,
        Some(13) => RetryOn::INTERNAL,
        Some(14) => RetryOn::UNAVAILABLE,
        _ => RetryOn::NONE,
    }
}

/// The decimal number in a header's value.
pub(super) fn number<T: std::str::FromStr>(value: Option<&[u8]>) -> Option<T> {
    std::str::from_utf8(value?).ok()?.trim().parse().ok()
}

/// The members of a comma-separated list in a header.
fn list(request: &Headers, name: Known) -> impl Iterator<Item = &[u8]> {
    let value = request.known(name).unwrap_or_default();
    let members = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    members.filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests;
