//! Circuit breakers: how much of a cluster may be in use at once, exact across workers.
//!
//! Owns the four budgets of one cluster and priority, and who waits for a connection. The pools
//! take from them and give back; `Cluster::try_retry` does for retries. A budget is never
//! overshot, not even for a moment: it is taken with a compare-and-swap.
//!
//! Does not own: what happens to a request that finds a budget used up.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::spec::{Priority, Thresholds};
use crate::observe::stats::{Name, Reading, Stats};

/// What a circuit breaker limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// `max_connections`.
    Connections,
    /// `max_pending_requests`.
    Pending,
    /// `max_requests`.
    Requests,
    /// `max_retries`.
    Retries,
}

impl Resource {
    /// The limit's name in the configuration.
    #[must_use]
    pub const fn limit_name(self) -> &'static str {
        match self {
            Self::Connections => "max_connections",
            Self::Pending => "max_pending_requests",
            Self::Requests => "max_requests",
            Self::Retries => "max_retries",
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.limit_name())
    }
}

/// The circuit breakers of a cluster, one for each priority.
#[derive(Debug)]
pub struct Breakers([Breaker; Priority::ALL.len()]);

impl Breakers {
    /// Breakers of which nothing is in use, with the limits of each priority.
    #[must_use]
    pub fn new(cluster: &Arc<str>, thresholds: &[Thresholds; Priority::ALL.len()]) -> Self {
        Self(
            Priority::ALL.map(|priority| Breaker::new(cluster, priority, *priority.of(thresholds))),
        )
    }

    /// That of `priority`.
    #[must_use]
    #[inline]
    pub const fn of(&self, priority: Priority) -> &Breaker {
        priority.of(&self.0)
    }
}

impl Stats for Breakers {
    fn visit(&self, visit: &mut dyn FnMut(Name, Reading)) {
        for breaker in &self.0 {
            breaker.visit(visit);
        }
    }
}

/// The budgets of one cluster and priority. Shared by all workers.
#[derive(Debug)]
pub struct Breaker {
    cluster: Arc<str>,
    priority: Priority,
    thresholds: Thresholds,
    /// The only one that every request takes from, so it has its cache lines to itself.
    requests: Apart<Budget>,
    pending: Budget,
    retries: Budget,
    connections: Arc<Semaphore>,
    waiting: AtomicUsize,
    overflowed: [AtomicBool; 4],
}

/// Two cache lines, because x86 fetches lines in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Apart<T>(T);

#[derive(Debug)]
struct Budget {
    used: AtomicU64,
    limit: u64,
}

impl Budget {
    const fn new(limit: u32) -> Self {
        Self {
            used: AtomicU64::new(0),
            limit: limit as u64,
        }
    }

    fn try_take(&self) -> bool {
        self.try_take_below(self.limit)
    }

    fn try_take_below(&self, limit: u64) -> bool {
        // An add that is taken back where it went too far would refuse others meanwhile.
        self.used
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                (used < limit).then_some(used + 1)
            })
            .is_ok()
    }

    fn take(&self) {
        self.used.fetch_add(1, Ordering::Relaxed);
    }

    fn give_back(&self) {
        let before = self.used.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "more was given back than was taken");
    }

    fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

impl Breaker {
    /// A breaker of which nothing is in use.
    #[must_use]
    pub fn new(cluster: &Arc<str>, priority: Priority, thresholds: Thresholds) -> Self {
        let connections = usize::try_from(thresholds.max_connections)
            .map_or(Semaphore::MAX_PERMITS, |limit| {
                limit.min(Semaphore::MAX_PERMITS)
            });
        Self {
            cluster: Arc::clone(cluster),
            priority,
            thresholds,
            requests: Apart(Budget::new(thresholds.max_requests)),
            pending: Budget::new(thresholds.max_pending_requests),
            retries: Budget::new(thresholds.max_retries),
            connections: Arc::new(Semaphore::new(connections)),
            waiting: AtomicUsize::new(0),
            overflowed: [const { AtomicBool::new(false) }; 4],
        }
    }

    /// The limits.
    #[must_use]
    pub const fn thresholds(&self) -> &Thresholds {
        &self.thresholds
    }

    /// How much of `resource` is in use.
    #[must_use]
    pub fn used(&self, resource: Resource) -> u64 {
        match resource {
            Resource::Connections => u64::from(self.thresholds.max_connections)
                .saturating_sub(self.connections.available_permits() as u64),
            Resource::Pending => self.pending.used(),
            Resource::Requests => self.requests.0.used(),
            Resource::Retries => self.retries.used(),
        }
    }

    /// The limit of `resource`.
    #[must_use]
    pub const fn limit(&self, resource: Resource) -> u32 {
        match resource {
            Resource::Connections => self.thresholds.max_connections,
            Resource::Pending => self.thresholds.max_pending_requests,
            Resource::Requests => self.thresholds.max_requests,
            Resource::Retries => self.thresholds.max_retries,
        }
    }

    /// Whether no more of `resource` is to be had.
    #[must_use]
    pub fn is_open(&self, resource: Resource) -> bool {
        let limit = match resource {
            Resource::Retries => self.retry_limit(),
            Resource::Connections | Resource::Pending | Resource::Requests => {
                u64::from(self.limit(resource))
            }
        };
        self.used(resource) >= limit
    }

    /// Takes one of `max_requests`; true is a debt to [`Self::give_back_request`].
    pub(super) fn try_request(&self) -> bool {
        self.requests.0.try_take() || self.overflow(Resource::Requests)
    }

    /// Takes one of `max_requests`, also beyond the limit.
    pub(super) fn take_request(&self) {
        self.requests.0.take();
    }

    pub(super) fn give_back_request(&self) {
        self.requests.0.give_back();
    }

    /// Takes one of `max_pending_requests`; true is a debt to [`Self::give_back_pending`].
    pub(super) fn try_pending(&self) -> bool {
        self.pending.try_take() || self.overflow(Resource::Pending)
    }

    pub(super) fn give_back_pending(&self) {
        self.pending.give_back();
    }

    /// Takes one of `max_retries`; true is a debt to [`Self::give_back_retry`].
    pub(super) fn try_retry(&self) -> bool {
        self.retries.try_take_below(self.retry_limit()) || self.overflow(Resource::Retries)
    }

    /// How many retries there may be now: `retry_budget` goes by the requests that there are.
    fn retry_limit(&self) -> u64 {
        match self.thresholds.retry_budget {
            Some(budget) => budget.limit(self.requests.0.used() + self.pending.used()),
            None => self.retries.limit,
        }
    }

    pub(super) fn give_back_retry(&self) {
        self.retries.give_back();
    }

    /// Takes one of `max_connections`, unless somebody already waits for one.
    pub(super) fn try_connection(&self) -> Option<ConnectionPermit> {
        match Arc::clone(&self.connections).try_acquire_owned() {
            Ok(permit) => Some(ConnectionPermit { _held: permit }),
            Err(_) => {
                self.overflow(Resource::Connections);
                None
            }
        }
    }

    /// Announces that a pool wants a connection; [`Self::is_awaited`] holds until the guard goes.
    pub(super) fn announce(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Waiting(self)
    }

    /// How many hosts of pools wait for a connection to be closed.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Says no; the first time also in the log, because a limit that is on by default surprises.
    fn overflow(&self, resource: Resource) -> bool {
        let first = |flag: &AtomicBool| {
            !flag.load(Ordering::Relaxed) && !flag.swap(true, Ordering::Relaxed)
        };
        if self.overflowed.get(resource as usize).is_some_and(first) {
            tracing::warn!(
                target: "upstream",
                cluster = &*self.cluster,
                priority = self.priority.as_str(),
                limit = self.limit(resource),
                "circuit breaker: {resource} reached (told once)",
            );
        }
        false
    }
}

impl Stats for Breaker {
    fn visit(&self, visit: &mut dyn FnMut(Name, Reading)) {
        let priority = self.priority.as_str();
        let mut gauge = |name: &str, value: u64, used: bool| {
            let name = format!("circuit_breakers.{priority}.{name}");
            visit(
                Name::Plain(name.into()),
                Reading::Gauge {
                    value: value.cast_signed(),
                    used,
                },
            );
        };
        // No limit on pools exists, so it is never reached.
        gauge("cx_pool_open", 0, true);
        for (resource, open, remaining) in [
            (Resource::Connections, "cx_open", "remaining_cx"),
            (Resource::Requests, "rq_open", "remaining_rq"),
            (Resource::Pending, "rq_pending_open", "remaining_pending"),
            (Resource::Retries, "rq_retry_open", "remaining_retries"),
        ] {
            gauge(open, u64::from(self.is_open(resource)), true);
            if self.thresholds.track_remaining {
                let left = u64::from(self.limit(resource)).saturating_sub(self.used(resource));
                gauge(remaining, left, true);
            }
        }
    }
}

/// One of `max_connections`, given back on drop, then to whoever waits longest.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    _held: OwnedSemaphorePermit,
}

/// Counts in [`Breaker::waiting`].
#[derive(Debug)]
pub(super) struct Waiting<'a>(&'a Breaker);

impl Waiting<'_> {
    /// Waits for its turn among all workers; `None` would mean that the breaker is gone.
    pub(super) async fn connection(&self) -> Option<ConnectionPermit> {
        let held = Arc::clone(&self.0.connections).acquire_owned().await.ok()?;
        Some(ConnectionPermit { _held: held })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::upstream::spec::RetryBudget;

    fn breaker(limit: u32) -> Breaker {
        let thresholds = Thresholds {
            max_connections: limit,
            max_pending_requests: limit,
            max_requests: limit,
            max_retries: limit,
            retry_budget: None,
            track_remaining: true,
        };
        Breaker::new(&"c".into(), Priority::High, thresholds)
    }

    #[test]
    fn each_budget_ends_at_its_limit_and_comes_back() {
        for limit in [0, 1, 3] {
            let breaker = breaker(limit);
            type Kind = (Resource, fn(&Breaker) -> bool, fn(&Breaker));
            let kinds: [Kind; 3] = [
                (
                    Resource::Requests,
                    Breaker::try_request,
                    Breaker::give_back_request,
                ),
                (
                    Resource::Pending,
                    Breaker::try_pending,
                    Breaker::give_back_pending,
                ),
                (
                    Resource::Retries,
                    Breaker::try_retry,
                    Breaker::give_back_retry,
                ),
            ];
            for (resource, take, give_back) in kinds {
                for taken in 0..limit {
                    assert!(
                        !breaker.is_open(resource),
                        "{resource} after {taken} of {limit}"
                    );
                    assert!(take(&breaker));
                }
                assert!(breaker.is_open(resource));
                assert!(!take(&breaker));
                assert_eq!(breaker.used(resource), u64::from(limit));
                (0..limit).for_each(|_| give_back(&breaker));
                assert_eq!(breaker.used(resource), 0);
            }
            let held: Vec<_> = (0..limit)
                .map(|_| breaker.try_connection().unwrap())
                .collect();
            assert!(breaker.try_connection().is_none());
            assert_eq!(breaker.used(Resource::Connections), u64::from(limit));
            drop(held);
            assert_eq!(breaker.try_connection().is_some(), limit > 0);
        }
    }

    #[test]
    fn a_budget_goes_by_the_requests_there_are() {
        let thresholds = Thresholds {
            max_retries: 0,
            retry_budget: Some(RetryBudget {
                share: 500_000,
                min: 1,
            }),
            ..Thresholds::default()
        };
        let breaker = Breaker::new(&"c".into(), Priority::Default, thresholds);
        assert!(breaker.try_retry(), "the least");
        assert!(breaker.is_open(Resource::Retries) && !breaker.try_retry());
        assert!((0..3).all(|_| breaker.try_request()) && breaker.try_pending());
        assert!(breaker.try_retry(), "half of four");
        assert!(!breaker.try_retry());
        breaker.give_back_retry();
        assert!(breaker.try_retry());
    }

    #[test]
    fn threads_never_hold_more_than_the_limit_and_lose_nothing() {
        let breaker = breaker(5);
        let (inside, granted) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        let taken: Vec<_> = (0..3).filter(|_| breaker.try_request()).collect();
                        let n = taken.len() as u64;
                        let now = inside.fetch_add(n, Ordering::SeqCst) + n;
                        assert!(now <= 5, "{now} at once");
                        granted.fetch_add(n, Ordering::SeqCst);
                        inside.fetch_sub(n, Ordering::SeqCst);
                        taken.iter().for_each(|_| breaker.give_back_request());
                    }
                });
            }
        });
        assert_eq!(breaker.used(Resource::Requests), 0);
        assert!(granted.into_inner() >= 20_000, "somebody always gets one");
    }

    #[test]
    fn gauges_show_what_is_open_and_what_remains() {
        let breaker = breaker(2);
        assert!(breaker.try_request() && breaker.try_request() && breaker.try_pending());
        let mut all = BTreeMap::new();
        breaker.visit(&mut |name, reading| {
            let Reading::Gauge { value, .. } = reading else {
                panic!("{name} is no gauge")
            };
            all.insert(name.to_string(), value);
        });
        let expected = [
            ("cx_open", 0),
            ("cx_pool_open", 0),
            ("remaining_cx", 2),
            ("remaining_pending", 1),
            ("remaining_retries", 2),
            ("remaining_rq", 0),
            ("rq_open", 1),
            ("rq_pending_open", 0),
            ("rq_retry_open", 0),
        ];
        let expected =
            expected.map(|(name, value)| (format!("circuit_breakers.high.{name}"), value));
        assert_eq!(all.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn who_waits_is_seen_by_others() {
        let breaker = breaker(1);
        assert_eq!(breaker.waiting(), 0);
        let waiting = breaker.announce();
        assert_eq!(breaker.waiting(), 1);
        drop(waiting);
        assert_eq!(breaker.waiting(), 0);
    }
}
