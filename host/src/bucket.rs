//! A token bucket that any number of threads share, exact to the token.
//!
//! Owns the arithmetic: one atomic number holds the whole state, the moment at which the bucket
//! would have been empty if nothing had been taken since. Refills continuously and counts whole
//! tokens, as Envoy's does. `host::token_bucket` gives it to guests.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// No moment lies further away than this many ticks, so that sums cannot overflow.
const HORIZON: u128 = 1 << 62;

/// A bucket. It starts full.
#[derive(Debug)]
pub struct TokenBucket {
    max_tokens: u32,
    tokens_per_fill: u32,
    fill_interval: Duration,
    /// Nanoseconds of a tick: 1, unless the bucket takes more than a century to fill.
    tick: u128,
    /// Moment 0 is so long before this that the bucket has filled up since.
    origin: Instant,
    /// The moment at which there were no tokens, in ticks.
    empty_at: AtomicU64,
}

impl TokenBucket {
    /// A full bucket. All three numbers must be above 0.
    pub fn new(
        max_tokens: u32,
        tokens_per_fill: u32,
        fill_interval: Duration,
        now: Instant,
    ) -> Self {
        let whole = span(max_tokens, tokens_per_fill, fill_interval, 1);
        let mut tick = 1;
        while whole / tick > HORIZON {
            tick *= 2;
        }
        let empty_at = AtomicU64::new(0);
        Self {
            max_tokens,
            tokens_per_fill,
            fill_interval,
            tick,
            origin: now,
            empty_at,
        }
    }

    /// Whether the bucket was opened with these numbers.
    pub fn has(&self, max_tokens: u32, tokens_per_fill: u32, fill_interval: Duration) -> bool {
        (self.max_tokens, self.tokens_per_fill, self.fill_interval)
            == (max_tokens, tokens_per_fill, fill_interval)
    }

    /// Takes `tokens`, or takes none and answers false.
    pub fn take(&self, tokens: u32, now: Instant) -> bool {
        let filled = self.span(self.max_tokens);
        let elapsed = now.saturating_duration_since(self.origin).as_nanos() / self.tick;
        let moment = clamp(elapsed).saturating_add(filled);
        let price = self.span(tokens);
        let taken = self
            .empty_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |empty_at| {
                // What flowed over the rim is gone.
                let empty_at = empty_at.max(moment.saturating_sub(filled));
                let after = empty_at.saturating_add(price);
                (tokens <= self.max_tokens && after <= moment).then_some(after)
            });
        taken.is_ok()
    }

    /// Ticks in which `tokens` flow in, rounded up.
    fn span(&self, tokens: u32) -> u64 {
        clamp(span(
            tokens,
            self.tokens_per_fill,
            self.fill_interval,
            self.tick,
        ))
    }
}

fn span(tokens: u32, tokens_per_fill: u32, fill_interval: Duration, tick: u128) -> u128 {
    let nanos = u128::from(tokens).saturating_mul(fill_interval.as_nanos());
    nanos.div_ceil(u128::from(tokens_per_fill).saturating_mul(tick).max(1))
}

fn clamp(ticks: u128) -> u64 {
    u64::try_from(ticks.min(HORIZON)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;

    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn refills_continuously_in_whole_tokens() {
        let now = crate::clock::now();
        let bucket = TokenBucket::new(2, 1, 500 * MS, now);
        let at = |ms: u32| bucket.take(1, now + MS * ms);
        assert!(at(0) && at(0) && !at(0));
        assert!(!at(499));
        assert!(at(500) && !at(500));
        assert!(!at(750) && at(1000) && !at(1200) && at(1500));
        assert!(
            at(9000) && at(9000) && !at(9000),
            "never more than the maximum"
        );
    }

    #[test]
    fn takes_all_or_nothing() {
        let now = crate::clock::now();
        let bucket = TokenBucket::new(10, 10, 1000 * MS, now);
        assert!(!bucket.take(11, now));
        assert!(bucket.take(7, now));
        assert!(!bucket.take(4, now));
        assert!(bucket.take(3, now));
        assert!(bucket.take(0, now));
    }

    #[test]
    fn a_bucket_that_takes_ages_to_fill_still_gives_its_tokens() {
        let now = crate::clock::now();
        let bucket = TokenBucket::new(u32::MAX, 1, Duration::from_secs(86_400), now);
        assert!(bucket.take(u32::MAX - 1, now));
        assert!(bucket.take(1, now));
        assert!(!bucket.take(1, now));
        assert!(bucket.take(1, now + Duration::from_secs(86_401)));
    }

    #[test]
    fn threads_together_take_exactly_what_there_is() {
        let now = crate::clock::now();
        let bucket = Arc::new(TokenBucket::new(1000, 1, Duration::from_secs(3600), now));
        let taken = Arc::new(AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let (bucket, taken) = (Arc::clone(&bucket), Arc::clone(&taken));
                scope.spawn(move || {
                    for _ in 0..1000 {
                        if bucket.take(1, now) {
                            taken.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(taken.load(Ordering::Relaxed), 1000);
    }

    proptest! {
        #[test]
        fn never_gives_more_than_flowed_in(
            max in 1_u32..1000,
            per_fill in 1_u32..100,
            interval_ms in 50_u32..2000,
            steps in prop::collection::vec((0_u32..300, 0_u32..50), 1..100),
        ) {
            let start = crate::clock::now();
            let bucket = TokenBucket::new(max, per_fill, MS * interval_ms, start);
            let (mut elapsed, mut taken) = (0, 0_u64);
            for (wait, tokens) in steps {
                elapsed += wait;
                if bucket.take(tokens, start + MS * elapsed) {
                    taken += u64::from(tokens);
                }
                let flowed = u64::from(elapsed) * u64::from(per_fill) / u64::from(interval_ms);
                prop_assert!(taken <= u64::from(max) + flowed);
            }
        }

        #[test]
        fn an_eager_taker_gets_the_whole_rate(
            per_fill in 1_u32..100,
            interval_ms in 50_u32..500,
        ) {
            let start = crate::clock::now();
            let bucket = TokenBucket::new(per_fill, per_fill, MS * interval_ms, start);
            let taken = (0..10_000_u32).filter(|ms| bucket.take(1, start + MS * *ms)).count() as u64;
            let flowed = 10_000 * u64::from(per_fill) / u64::from(interval_ms);
            // One token a millisecond is the most that this taker asks for.
            prop_assert!(taken + 2 >= flowed.min(9_999), "{taken} of {flowed}");
        }
    }
}
