//! The rules of active health checking.
//!
//! Owns what a row of results makes of an endpoint, and how long to wait for the next check, as
//! state machines that know neither sockets nor clocks. Driven by `health::watch`.

use std::fmt;
use std::time::Duration;

use crate::upstream::balance::Random;
use crate::upstream::discovery::up_to;
use crate::upstream::spec::{HealthCheck, HttpProbe, Intervals};

/// The result of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The expected answer came.
    Passed,
    /// It came, and says that the endpoint would rather have less to do.
    Degraded,
    /// It did not.
    Failed(Failure),
}

impl Verdict {
    /// Whether the endpoint may be used.
    #[must_use]
    pub const fn is_pass(self) -> bool {
        matches!(self, Self::Passed | Self::Degraded)
    }
}

/// Why a check failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A status that is neither expected nor retriable: the endpoint itself says that it is not
    /// well.
    Status(u16),
    /// A status of `retriable_statuses`.
    RetriableStatus(u16),
    /// No connection, or it broke.
    Network,
    /// No answer within `timeout`.
    Timeout,
    /// Something else than what was expected came.
    Mismatch,
    /// The same, with a good status: that of an endpoint of another cluster, or with another body.
    WrongAnswer(u16),
    /// It asked in an answer to a request to be left out.
    AskedOut,
    /// The endpoint says by gRPC that it does not serve.
    NotServing,
}

impl Failure {
    /// Whether it takes as many as the threshold says.
    const fn counts_to_threshold(self) -> bool {
        match self {
            Self::RetriableStatus(_) | Self::Network | Self::Timeout | Self::Mismatch => true,
            Self::Status(_) | Self::WrongAnswer(_) | Self::AskedOut | Self::NotServing => false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) | Self::RetriableStatus(status) => write!(f, "status {status}"),
            Self::Network => f.write_str("connection failure"),
            Self::Timeout => f.write_str("timeout"),
            Self::Mismatch | Self::WrongAnswer(_) => f.write_str("unexpected answer"),
            Self::AskedOut => f.write_str("it asked to be left out"),
            Self::NotServing => f.write_str("not serving"),
        }
    }
}

/// What one result did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// Nothing.
    Unchanged,
    /// The endpoint will change if this goes on.
    Pending,
    /// The endpoint changed, or is known for the first time.
    Changed,
}

/// What is known about the health of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    is_healthy: bool,
    is_unknown: bool,
    /// Results in a row that speak against what it counts as.
    against: u32,
}

impl Health {
    /// An endpoint that was never checked; it counts as unhealthy.
    #[must_use]
    pub const fn unknown() -> Self {
        Self {
            is_healthy: false,
            is_unknown: true,
            against: 0,
        }
    }

    /// Whether it may be used.
    #[must_use]
    pub const fn is_healthy(&self) -> bool {
        self.is_healthy
    }

    /// Whether no result has come yet.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        self.is_unknown
    }

    /// Takes the result of a check. The first one decides at once, either way.
    pub fn apply(&mut self, check: &HealthCheck, verdict: Verdict) -> Transition {
        let speaks_for_health = verdict.is_pass();
        if std::mem::take(&mut self.is_unknown) {
            self.is_healthy = speaks_for_health;
            return Transition::Changed;
        }
        if speaks_for_health == self.is_healthy {
            self.against = 0;
            return Transition::Unchanged;
        }
        self.against += 1;
        let needed = match verdict {
            Verdict::Passed | Verdict::Degraded => check.healthy_threshold,
            Verdict::Failed(failure) if failure.counts_to_threshold() => check.unhealthy_threshold,
            Verdict::Failed(_) => 1,
        };
        if self.against < needed {
            return Transition::Pending;
        }
        self.is_healthy = speaks_for_health;
        self.against = 0;
        Transition::Changed
    }
}

/// What a response's status says.
#[must_use]
pub fn judge(check: &HttpProbe, status: u16) -> Verdict {
    if check.expected.iter().any(|range| range.contains(&status)) {
        Verdict::Passed
    } else if check.retriable.iter().any(|range| range.contains(&status)) {
        Verdict::Failed(Failure::RetriableStatus(status))
    } else {
        Verdict::Failed(Failure::Status(status))
    }
}

/// How long to wait after a result. Without any traffic in the cluster's life there is no hurry.
pub fn wait(
    intervals: &Intervals,
    verdict: Verdict,
    transition: Transition,
    had_traffic: bool,
    random: &mut Random,
) -> Duration {
    let passed = verdict.is_pass();
    let is_pending = transition == Transition::Pending;
    let unhealthy = intervals.unhealthy.unwrap_or(intervals.interval);
    let base = match (had_traffic, passed, is_pending) {
        (false, true, false) => intervals.no_traffic_healthy.unwrap_or(intervals.no_traffic),
        (false, _, _) => intervals.no_traffic,
        (true, true, false) => intervals.interval,
        (true, true, true) => intervals.healthy_edge.unwrap_or(intervals.interval),
        (true, false, false) => unhealthy,
        (true, false, true) => intervals.unhealthy_edge.unwrap_or(unhealthy),
    };
    let share = base.saturating_mul(intervals.jitter_percent) / 100;
    base + up_to(share, random) + up_to(intervals.jitter, random)
}

/// How many beats a wait has.
const BEATS: u32 = 100;
/// How far beats are apart at most.
const LONGEST_BEAT: Duration = Duration::from_millis(250);

/// `wait`, moved by at most half a percent so that it ends on a beat of a clock that all endpoints of a
/// cluster share, and that shows `age` now. Checks that are due about the same time then share a
/// wake-up, which costs as much as a check.
#[must_use]
pub fn on_beat(age: Duration, wait: Duration) -> Duration {
    let beat = (wait / BEATS).min(LONGEST_BEAT).as_nanos();
    if beat < Duration::from_millis(1).as_nanos() {
        return wait;
    }
    let due = (age + wait).as_nanos();
    let at = (due + beat / 2) / beat * beat;
    let nanos = u64::try_from(at.saturating_sub(age.as_nanos()));
    nanos.map_or(wait, Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::uri::PathAndQuery;
    use proptest::prelude::*;

    use super::*;

    const PASS: Verdict = Verdict::Passed;
    const NET: Verdict = Verdict::Failed(Failure::Network);
    const SLOW: Verdict = Verdict::Failed(Failure::Timeout);
    const BAD: Verdict = Verdict::Failed(Failure::Status(500));
    const RETRY: Verdict = Verdict::Failed(Failure::RetriableStatus(503));

    fn check(unhealthy: u32, healthy: u32) -> HealthCheck {
        let second = Duration::from_secs(1);
        HealthCheck {
            unhealthy_threshold: unhealthy,
            healthy_threshold: healthy,
            ..HealthCheck::new(
                HeaderValue::from_static("c"),
                PathAndQuery::from_static("/"),
                second,
                second,
            )
        }
    }

    #[test]
    fn rows_of_results_lead_where_envoy_goes() {
        use Transition::{Changed, Pending, Unchanged};
        let table: &[(&[Verdict], &[Transition], bool)] = &[
            (&[PASS], &[Changed], true),
            (&[NET], &[Changed], false),
            (&[PASS, NET], &[Changed, Pending], true),
            (&[PASS, NET, SLOW], &[Changed, Pending, Changed], false),
            (
                &[PASS, NET, PASS, NET],
                &[Changed, Pending, Unchanged, Pending],
                true,
            ),
            (&[PASS, BAD], &[Changed, Changed], false),
            (&[PASS, RETRY, RETRY], &[Changed, Pending, Changed], false),
            (&[PASS, NET, BAD], &[Changed, Pending, Changed], false),
            (&[NET, NET, BAD], &[Changed, Unchanged, Unchanged], false),
            (&[NET, PASS, PASS], &[Changed, Pending, Pending], false),
            (
                &[NET, PASS, PASS, PASS],
                &[Changed, Pending, Pending, Changed],
                true,
            ),
            (
                &[NET, PASS, PASS, NET, PASS],
                &[Changed, Pending, Pending, Unchanged, Pending],
                false,
            ),
        ];
        for (verdicts, transitions, healthy) in table {
            let mut state = Health::unknown();
            let seen: Vec<_> = verdicts
                .iter()
                .map(|v| state.apply(&check(2, 3), *v))
                .collect();
            assert_eq!(seen, *transitions, "{verdicts:?}");
            assert_eq!(state.is_healthy(), *healthy, "{verdicts:?}");
        }
    }

    #[test]
    fn statuses_are_judged_by_the_ranges() {
        let mut check = HttpProbe::new(
            HeaderValue::from_static("c"),
            PathAndQuery::from_static("/"),
        );
        check.expected = vec![200..201, 204..206];
        check.retriable = vec![500..504, 200..300];
        for (status, verdict) in [
            (200, PASS),
            (204, PASS),
            (205, PASS),
            (206, Verdict::Failed(Failure::RetriableStatus(206))),
            (503, RETRY),
            (504, Verdict::Failed(Failure::Status(504))),
            (404, Verdict::Failed(Failure::Status(404))),
        ] {
            assert_eq!(judge(&check, status), verdict, "{status}");
        }
    }

    #[test]
    fn the_next_check_waits_as_long_as_envoy_does() {
        use Transition::{Changed, Pending, Unchanged};
        let s = Duration::from_secs;
        let plain = Intervals::new(s(5));
        let full = Intervals {
            no_traffic: s(30),
            no_traffic_healthy: Some(s(40)),
            unhealthy: Some(s(7)),
            unhealthy_edge: Some(s(8)),
            healthy_edge: Some(s(9)),
            ..plain
        };
        for (verdict, transition, traffic, expected_plain, expected_full) in [
            (PASS, Unchanged, true, 5, 5),
            (PASS, Changed, true, 5, 5),
            (PASS, Pending, true, 5, 9),
            (NET, Unchanged, true, 5, 7),
            (NET, Changed, true, 5, 7),
            (NET, Pending, true, 5, 8),
            (PASS, Changed, false, 60, 40),
            (PASS, Pending, false, 60, 30),
            (NET, Changed, false, 60, 30),
        ] {
            let mut random = Random::new(0);
            let of = |intervals, random: &mut Random| {
                wait(intervals, verdict, transition, traffic, random)
            };
            assert_eq!(
                of(&plain, &mut random),
                s(expected_plain),
                "{verdict:?} {transition:?}"
            );
            assert_eq!(
                of(&full, &mut random),
                s(expected_full),
                "{verdict:?} {transition:?}"
            );
        }
    }

    #[test]
    fn checks_of_many_endpoints_share_beats() {
        let ms = Duration::from_millis;
        for (age, wait, ends) in [
            (0, 5000, 5000),
            (10, 5000, 5000),
            (24, 5000, 5000),
            (25, 5000, 5050),
            (90, 5000, 5100),
            // An answer that took its time does not make the interval longer.
            (5003, 5000, 10_000),
            (7, 99, 106),
            (7, 1000, 1010),
            (100, 60_000, 60_000),
            (130, 60_000, 60_250),
        ] {
            assert_eq!(on_beat(ms(age), ms(wait)), ms(ends - age), "{age} {wait}");
        }
    }

    proptest! {
        #[test]
        fn a_beat_is_never_far(age in 0_u64..1 << 50, wait in 0_u64..1 << 50) {
            let (age, wait) = (Duration::from_nanos(age), Duration::from_nanos(wait));
            let moved = on_beat(age, wait);
            let by = moved.abs_diff(wait);
            prop_assert!(by <= wait / 200 && by <= LONGEST_BEAT / 2);
        }

        #[test]
        fn jitter_only_adds_up_to_its_bounds(
            seed in any::<u64>(), percent in 0_u32..200, millis in 0_u64..5000
        ) {
            let mut intervals = Intervals::new(Duration::from_secs(2));
            intervals.jitter_percent = percent;
            intervals.jitter = Duration::from_millis(millis);
            let mut random = Random::new(seed);
            let waited = wait(&intervals, PASS, Transition::Unchanged, true, &mut random);
            let most = Duration::from_millis(2000 + u64::from(percent) * 20 + millis);
            prop_assert!(waited >= Duration::from_secs(2) && waited <= most);
        }

        #[test]
        fn health_only_turns_after_as_many_as_the_threshold(
            results in prop::collection::vec(any::<bool>(), 1..60),
            unhealthy in 1_u32..5,
            healthy in 1_u32..5,
        ) {
            let check = check(unhealthy, healthy);
            let mut state = Health::unknown();
            let (mut row, mut last) = (0, results[0]);
            for (index, passed) in results.into_iter().enumerate() {
                row = if passed == last { row + 1 } else { 1 };
                last = passed;
                let before = state.is_healthy();
                let transition = state.apply(&check, if passed { PASS } else { NET });
                let turned = state.is_healthy() != before;
                prop_assert_eq!(turned || index == 0, transition == Transition::Changed);
                if turned && index > 0 {
                    prop_assert_eq!(row, if passed { healthy } else { unhealthy });
                    prop_assert_eq!(state.is_healthy(), passed);
                }
            }
        }
    }
}
