//! Network filters in front of the terminal one: each lets a connection in, or has it closed.
//!
//! Owns `envoy.filters.network.connection_limit` and `envoy.filters.network.local_ratelimit`. Both
//! count over all workers, to the connection. Does not own closing (`listener`, which asks).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::bucket::TokenBucket;
use crate::observe::metrics::{ConnectionLimitStats, NetworkRateLimitStats};
use crate::values::Flag;

/// A filter that a connection has to pass.
#[derive(Debug)]
pub enum Gate {
    /// `ConnectionLimit`.
    Connections(Arc<ConnectionLimit>),
    /// `LocalRateLimit`.
    Rate(RateLimit),
}

/// What a gate says.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Come in; to be kept for as long as the connection lasts.
    In(Option<Pass>),
    /// To be closed, after this long.
    Out(Option<Duration>),
}

/// At most so many connections at once.
#[derive(Debug)]
pub struct ConnectionLimit {
    /// `max_connections`, at least 1.
    max: u64,
    /// `delay`: how long a connection beyond the limit is left open.
    delay: Option<Duration>,
    /// `runtime_enabled`.
    enabled: Flag,
    active: AtomicU64,
    stats: Arc<ConnectionLimitStats>,
}

/// A place under a [`ConnectionLimit`], given back on drop.
#[derive(Debug)]
pub(crate) struct Pass(Arc<ConnectionLimit>);

/// At most so many connections in a time.
#[derive(Debug)]
pub struct RateLimit {
    /// `token_bucket`.
    bucket: TokenBucket,
    /// `runtime_enabled`.
    enabled: Flag,
    stats: Arc<NetworkRateLimitStats>,
}

impl Gate {
    pub(crate) fn admit(&self, now: Instant) -> Verdict {
        match self {
            Self::Connections(limit) => limit.admit(),
            Self::Rate(limit) if limit.admit(now) => Verdict::In(None),
            Self::Rate(_) => Verdict::Out(None),
        }
    }
}

impl ConnectionLimit {
    /// A limit that nobody has used yet.
    #[must_use]
    pub const fn new(
        (max, delay): (u64, Option<Duration>),
        enabled: Flag,
        stats: Arc<ConnectionLimitStats>,
    ) -> Self {
        Self {
            max,
            delay,
            enabled,
            active: AtomicU64::new(0),
            stats,
        }
    }

    fn admit(self: &Arc<Self>) -> Verdict {
        if !self.enabled.get() {
            return Verdict::In(None);
        }
        let within = |active| (active < self.max).then_some(active + 1);
        let taken = self
            .active
            .try_update(Ordering::Relaxed, Ordering::Relaxed, within);
        if taken.is_err() {
            self.stats.limited_connections.inc();
            return Verdict::Out(self.delay);
        }
        self.stats.active_connections.inc();
        Verdict::In(Some(Pass(Arc::clone(self))))
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
        self.0.stats.active_connections.dec();
    }
}

impl RateLimit {
    /// A limit whose bucket is full.
    #[must_use]
    pub const fn new(
        bucket: TokenBucket,
        enabled: Flag,
        stats: Arc<NetworkRateLimitStats>,
    ) -> Self {
        Self {
            bucket,
            enabled,
            stats,
        }
    }

    /// Whether there is room for one more connection.
    pub(crate) fn admit(&self, now: Instant) -> bool {
        let is_within = !self.enabled.get() || self.bucket.take(1, now);
        if !is_within {
            self.stats.rate_limited.inc();
        }
        is_within
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn places_are_given_back() {
        let delay = Some(Duration::from_secs(1));
        let stats = Arc::new(ConnectionLimitStats::default());
        let limit = ConnectionLimit::new((2, delay), Flag::fixed(true), Arc::clone(&stats));
        let gate = Gate::Connections(Arc::new(limit));
        let admit = || match gate.admit(clock::now()) {
            Verdict::In(pass) => pass,
            Verdict::Out(after) => {
                assert_eq!(after, delay);
                None
            }
        };
        let (first, second) = (admit(), admit());
        assert!(first.is_some() && second.is_some() && admit().is_none());
        assert_eq!(stats.active_connections.get(), 2);
        drop(first);
        let third = admit();
        assert!(third.is_some());
        drop((second, third));
        assert_eq!(stats.active_connections.get(), 0);
        assert_eq!(stats.limited_connections.get(), 1);
    }

    #[test]
    fn tokens_run_out_and_come_back() {
        let now = clock::now();
        let stats = Arc::new(NetworkRateLimitStats::default());
        let bucket = TokenBucket::new(1, 1, Duration::from_secs(1), now);
        let gate = Gate::Rate(RateLimit::new(
            bucket,
            Flag::fixed(true),
            Arc::clone(&stats),
        ));
        let is_in = |at| matches!(gate.admit(at), Verdict::In(None));
        assert!(is_in(now) && !is_in(now));
        assert!(is_in(now + Duration::from_secs(1)));
        assert_eq!(stats.rate_limited.get(), 1);
    }

    #[test]
    fn what_is_switched_off_lets_everybody_in_and_counts_nobody() {
        let now = clock::now();
        let off = || Flag::fixed(false);
        let (rates, places) = (Arc::default(), Arc::<ConnectionLimitStats>::default());
        let bucket = TokenBucket::new(1, 1, Duration::from_secs(1), now);
        let limit = ConnectionLimit::new((1, None), off(), Arc::clone(&places));
        for gate in [
            Gate::Rate(RateLimit::new(bucket, off(), rates)),
            Gate::Connections(Arc::new(limit)),
        ] {
            let verdicts = [gate.admit(now), gate.admit(now)];
            assert!(
                verdicts
                    .iter()
                    .all(|verdict| matches!(verdict, Verdict::In(None)))
            );
        }
        assert_eq!(places.active_connections.get(), 0);
    }
}
