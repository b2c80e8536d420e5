//! Circuit breakers: how much of a cluster may be in use at once, exact across workers.
//!
//! Owns the budgets of one cluster and priority, who waits for a connection, and the same for one
//! endpoint. The pools take from them and give back; `Cluster::try_retry` does for retries. A budget
//! is never overshot, not even for a moment: it is taken with a compare-and-swap. Runtime values
//! (`circuit_breakers.<cluster>.<priority>.<limit>`) change a limit while the proxy runs.
//!
//! Does not own: what happens to a request that finds a budget used up.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::spec::{Priority, Thresholds};
use crate::observe::stats::{Name, Reading, Stats};
use crate::values::{Integer, Values};

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
    /// `max_connection_pools`.
    Pools,
    /// `max_connections` of `per_host_thresholds`.
    ConnectionsOfHost,
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
            Self::Pools => "max_connection_pools",
            Self::ConnectionsOfHost => "max_connections of per_host_thresholds",
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
    /// Breakers of which nothing is in use, with the limits of each priority, which `values` may
    /// override.
    #[must_use]
    pub fn new(
        cluster: &Arc<str>,
        thresholds: &[Thresholds; Priority::ALL.len()],
        values: &Arc<Values>,
    ) -> Self {
        Self(
            Priority::ALL
                .map(|priority| Breaker::new(cluster, priority, *priority.of(thresholds), values)),
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
    limits: Limits,
    /// The only one that every request takes from, so it has its cache lines to itself.
    requests: Apart<Budget>,
    pending: Budget,
    retries: Budget,
    pools: Budget,
    connections: Arc<Gate>,
    overflowed: [AtomicBool; 6],
}

/// The limits as they are now.
#[derive(Debug)]
struct Limits {
    connections: Integer,
    pending: Integer,
    requests: Integer,
    retries: Integer,
    pools: Integer,
    /// In percent; [`UNSET`] where the configuration's counts.
    budget_percent: Integer,
    budget_min: Integer,
}

/// Stands for a value that nobody has set.
const UNSET: u64 = u64::MAX;

impl Limits {
    fn new(
        cluster: &str,
        priority: Priority,
        thresholds: &Thresholds,
        values: &Arc<Values>,
    ) -> Self {
        let of = |default: u64, name: &str| {
            let key = format!("circuit_breakers.{cluster}.{}.{name}", priority.as_str());
            Integer::new(default, values, &key)
        };
        let min = thresholds.retry_budget.map_or(0, |budget| budget.min);
        Self {
            connections: of(thresholds.max_connections.into(), "max_connections"),
            pending: of(
                thresholds.max_pending_requests.into(),
                "max_pending_requests",
            ),
            requests: of(thresholds.max_requests.into(), "max_requests"),
            retries: of(thresholds.max_retries.into(), "max_retries"),
            pools: of(
                thresholds.max_connection_pools.map_or(UNSET, u64::from),
                "max_connection_pools",
            ),
            budget_percent: of(UNSET, "retry_budget.budget_percent"),
            budget_min: of(min.into(), "retry_budget.min_retry_concurrency"),
        }
    }
}

/// Two cache lines, because x86 fetches lines in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Apart<T>(T);

#[derive(Debug, Default)]
struct Budget(AtomicU64);

impl Budget {
    fn try_take(&self, limit: u64) -> bool {
        // An add that is taken back where it went too far would refuse others meanwhile.
        self.0
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                (used < limit).then_some(used + 1)
            })
            .is_ok()
    }

    fn take(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn give_back(&self) {
        let before = self.0.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "more was given back than was taken");
    }

    fn used(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Places for connections, and a queue of those who wait for one.
#[derive(Debug, Default)]
pub(super) struct Gate {
    used: Budget,
    waiting: AtomicUsize,
    /// Wakes who waits longest.
    freed: Notify,
}

impl Gate {
    /// Takes a place, unless somebody already waits for one.
    fn try_enter(self: &Arc<Self>, limit: u64) -> Option<Place> {
        if self.waiting() > 0 {
            return None;
        }
        self.enter(limit)
    }

    fn enter(self: &Arc<Self>, limit: u64) -> Option<Place> {
        self.used.try_take(limit).then(|| Place(Arc::clone(self)))
    }

    /// Waits for a place.
    async fn wait(self: &Arc<Self>, limit: impl Fn() -> u64) -> Place {
        let mut is_next = false;
        loop {
            let mut freed = pin!(self.freed.notified());
            // From here on nothing that is given back is missed.
            freed.as_mut().enable();
            // Who comes first waits until it is called, so that none is overtaken.
            if (is_next || self.waiting() <= 1)
                && let Some(place) = self.enter(limit())
            {
                // One call may stand for several places that were given back.
                if self.waiting() > 1 && self.used.used() < limit() {
                    self.freed.notify_one();
                }
                return place;
            }
            freed.await;
            is_next = true;
        }
    }

    /// How many have announced that they wait.
    fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    fn announce(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Waiting(self)
    }

    /// Calls who waits longest where there is a place: the limit may have grown.
    fn recall(&self, limit: u64) {
        if self.waiting() > 0 && self.used.used() < limit {
            self.freed.notify_one();
        }
    }
}

/// A place for a connection, given back on drop, then to whoever waits longest.
#[derive(Debug)]
struct Place(Arc<Gate>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.used.give_back();
        self.0.freed.notify_one();
    }
}

/// The connections of one endpoint, by priority.
#[derive(Debug, Default)]
pub(super) struct HostGates([Arc<Gate>; Priority::ALL.len()]);

impl HostGates {
    /// How many hosts of pools wait for a connection to this endpoint to be closed.
    pub(super) fn waiting(&self, priority: Priority) -> usize {
        priority.of(&self.0).waiting()
    }

    /// Announces that a pool wants a connection.
    pub(super) fn announce(&self, priority: Priority) -> Waiting<'_> {
        priority.of(&self.0).announce()
    }

    /// Waits for a place, of which there are `limit`.
    pub(super) async fn wait(&self, priority: Priority, limit: u32) -> HostPermit {
        let gate = priority.of(&self.0);
        HostPermit {
            _held: gate.wait(|| limit.into()).await,
        }
    }

    /// Takes a place, of which there are `limit`, unless somebody already waits for one.
    pub(super) fn try_enter(&self, priority: Priority, limit: u32) -> Option<HostPermit> {
        let held = priority.of(&self.0).try_enter(limit.into())?;
        Some(HostPermit { _held: held })
    }
}

/// One of an endpoint's connections, given back on drop.
#[derive(Debug)]
pub(super) struct HostPermit {
    _held: Place,
}

impl Breaker {
    /// A breaker of which nothing is in use.
    #[must_use]
    pub fn new(
        cluster: &Arc<str>,
        priority: Priority,
        thresholds: Thresholds,
        values: &Arc<Values>,
    ) -> Self {
        Self {
            cluster: Arc::clone(cluster),
            priority,
            limits: Limits::new(cluster, priority, &thresholds, values),
            thresholds,
            requests: Apart(Budget::default()),
            pending: Budget::default(),
            retries: Budget::default(),
            pools: Budget::default(),
            connections: Arc::default(),
            overflowed: [const { AtomicBool::new(false) }; 6],
        }
    }

    /// The limits as configured.
    #[must_use]
    pub const fn thresholds(&self) -> &Thresholds {
        &self.thresholds
    }

    /// How much of `resource` is in use; nothing of those that are counted elsewhere.
    #[must_use]
    pub fn used(&self, resource: Resource) -> u64 {
        match resource {
            Resource::Connections => self.connections.used.used(),
            Resource::Pending => self.pending.used(),
            Resource::Requests => self.requests.0.used(),
            Resource::Retries => self.retries.used(),
            Resource::Pools => self.pools.used(),
            Resource::ConnectionsOfHost => 0,
        }
    }

    /// The limit of `resource` as it is now, without `retry_budget`.
    #[must_use]
    pub fn limit(&self, resource: Resource) -> u64 {
        match resource {
            Resource::Connections => self.limits.connections.get(),
            Resource::Pending => self.limits.pending.get(),
            Resource::Requests => self.limits.requests.get(),
            Resource::Retries => self.limits.retries.get(),
            Resource::Pools => self.limits.pools.get(),
            Resource::ConnectionsOfHost => self
                .thresholds
                .max_connections_of_host
                .map_or(UNSET, u64::from),
        }
    }

    /// Whether no more of `resource` is to be had.
    #[must_use]
    pub fn is_open(&self, resource: Resource) -> bool {
        self.used(resource) >= self.limit_now(resource)
    }

    /// The limit of `resource` as it is now, with `retry_budget`.
    #[must_use]
    pub fn limit_now(&self, resource: Resource) -> u64 {
        match resource {
            Resource::Retries => self.retry_limit(),
            _ => self.limit(resource),
        }
    }

    /// Takes one of `max_requests`; true is a debt to [`Self::give_back_request`].
    pub(super) fn try_request(&self) -> bool {
        self.requests.0.try_take(self.limits.requests.get()) || self.overflow(Resource::Requests)
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
        self.pending.try_take(self.limits.pending.get()) || self.overflow(Resource::Pending)
    }

    pub(super) fn give_back_pending(&self) {
        self.pending.give_back();
    }

    /// Takes one of `max_retries`; true is a debt to [`Self::give_back_retry`].
    pub(super) fn try_retry(&self) -> bool {
        self.retries.try_take(self.retry_limit()) || self.overflow(Resource::Retries)
    }

    /// How many retries there may be now: `retry_budget` goes by the requests that there are.
    fn retry_limit(&self) -> u64 {
        let Some(mut budget) = self.thresholds.retry_budget else {
            return self.limits.retries.get();
        };
        let (percent, min) = (
            self.limits.budget_percent.get(),
            self.limits.budget_min.get(),
        );
        if percent != UNSET {
            budget.share = u32::try_from(percent.min(100)).unwrap_or(100) * 10_000;
        }
        budget.min = u32::try_from(min).unwrap_or(u32::MAX);
        budget.limit(self.requests.0.used() + self.pending.used())
    }

    pub(super) fn give_back_retry(&self) {
        self.retries.give_back();
    }

    /// Takes one of `max_connection_pools`; true is a debt to [`Self::give_back_pool`].
    pub(super) fn try_pool(&self) -> bool {
        self.pools.try_take(self.limits.pools.get()) || self.overflow(Resource::Pools)
    }

    pub(super) fn give_back_pool(&self) {
        self.pools.give_back();
    }

    /// Takes one of `max_connections`, unless somebody already waits for one.
    pub(super) fn try_connection(&self) -> Option<ConnectionPermit> {
        match self.connections.try_enter(self.limits.connections.get()) {
            Some(place) => Some(ConnectionPermit { _held: place }),
            None => {
                self.overflow(Resource::Connections);
                None
            }
        }
    }

    /// The same for a connection that nobody waits for: finding none is no overflow.
    pub(super) fn spare_connection(&self) -> Option<ConnectionPermit> {
        let place = self.connections.try_enter(self.limits.connections.get())?;
        Some(ConnectionPermit { _held: place })
    }

    /// Announces that a pool wants a connection; [`Self::waiting`] counts it until the guard goes.
    pub(super) fn announce(&self) -> Waiting<'_> {
        self.connections.announce()
    }

    /// Waits for its turn among all workers.
    pub(super) async fn connection(&self) -> ConnectionPermit {
        let held = self
            .connections
            .wait(|| self.limits.connections.get())
            .await;
        ConnectionPermit { _held: held }
    }

    /// How many hosts of pools wait for a connection to be closed.
    pub(super) fn waiting(&self) -> usize {
        self.connections.waiting()
    }

    /// Lets who waits look again, in case that a runtime value has raised the limit.
    pub(super) fn recall(&self) {
        self.connections.recall(self.limits.connections.get());
    }

    /// Says no; the first time also in the log, because a limit that is on by default surprises.
    pub(super) fn overflow(&self, resource: Resource) -> bool {
        let first = |flag: &AtomicBool| {
            !flag.load(Ordering::Relaxed) && !flag.swap(true, Ordering::Relaxed)
        };
        if self.overflowed.get(resource as usize).is_some_and(first) {
            tracing::warn!(
                target: "upstream",
                cluster = &*self.cluster,
                priority = self.priority.as_str(),
                limit = self.limit_now(resource),
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
        for (resource, open, remaining) in [
            (Resource::Pools, "cx_pool_open", "remaining_cx_pools"),
            (Resource::Connections, "cx_open", "remaining_cx"),
            (Resource::Requests, "rq_open", "remaining_rq"),
            (Resource::Pending, "rq_pending_open", "remaining_pending"),
            (Resource::Retries, "rq_retry_open", "remaining_retries"),
        ] {
            gauge(open, u64::from(self.is_open(resource)), true);
            if self.thresholds.track_remaining {
                let left = self.limit_now(resource).saturating_sub(self.used(resource));
                // What has no limit shows the largest number of a gauge.
                gauge(remaining, left.min(i64::MAX.cast_unsigned()), true);
            }
        }
    }
}

/// One of `max_connections`, given back on drop, then to whoever waits longest.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    _held: Place,
}

/// Counts among those who wait.
#[derive(Debug)]
pub(super) struct Waiting<'a>(&'a Gate);

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
            ..Thresholds::default()
        };
        Breaker::new(&"c".into(), Priority::High, thresholds, &Arc::default())
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
        let breaker = Breaker::new(&"c".into(), Priority::Default, thresholds, &Arc::default());
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
            ("remaining_cx_pools", i64::MAX),
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
