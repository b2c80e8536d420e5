//! Sending the clients of a listener away while it still accepts (`/drain_listeners?graceful`).
//!
//! Owns since when, and the chance that a connection is ended after a response: it grows evenly over
//! the drain time, as in Envoy, so that not all clients come back at once. Asked by `http` for each
//! response, set by `admin`. Does not own the drain of the whole process (`worker`).

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::clock;

/// Whether clients are sent away. Begins once, and has no end.
#[derive(Debug, Default)]
pub struct Draining(OnceLock<Period>);

#[derive(Clone, Copy, Debug)]
struct Period {
    since: Instant,
    time: Duration,
}

impl Draining {
    /// Begins at `since`, and sends everybody away `time` later. The first call counts.
    pub fn start(&self, since: Instant, time: Duration) {
        let _first = self.0.set(Period { since, time });
    }

    /// Whether it has begun.
    #[must_use]
    pub fn has_started(&self) -> bool {
        self.0.get().is_some()
    }

    /// Whether a connection is ended now, by a number that is left to chance.
    #[must_use]
    #[inline]
    pub fn ends(&self, random: u64) -> bool {
        match self.0.get() {
            None => false,
            Some(period) => period.ends(clock::now(), random),
        }
    }
}

impl Period {
    fn ends(self, now: Instant, random: u64) -> bool {
        let gone = now.saturating_duration_since(self.since);
        let all = self.time.as_nanos().max(1);
        gone >= self.time || gone.as_nanos() > u128::from(random) % all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chance_grows_over_the_drain_time() {
        let since = clock::now();
        let period = Period {
            since,
            time: Duration::from_secs(10),
        };
        let mut random = fastrand::Rng::with_seed(7);
        let mut share = |second: u64| {
            let at = since + Duration::from_secs(second);
            (0..1000)
                .filter(|_| period.ends(at, random.u64(..)))
                .count()
        };
        assert_eq!(share(0), 0);
        let half = share(5);
        assert!((400..600).contains(&half), "{half}");
        assert_eq!([share(10), share(20)], [1000, 1000]);
        let none = Period {
            time: Duration::ZERO,
            ..period
        };
        assert!(none.ends(since, 0), "no drain time is over at once");
    }

    #[test]
    fn it_begins_once() {
        let draining = Draining::default();
        assert!(!draining.has_started() && !draining.ends(0));
        draining.start(clock::now(), Duration::ZERO);
        draining.start(clock::now(), Duration::MAX);
        assert!(draining.has_started() && draining.ends(u64::MAX));
    }
}
