//! Connection pools: a request asks for a connection and gives it back.
//!
//! Owns the connections of one worker to all endpoints, the choice of an endpoint for a request,
//! and the requests that wait for a connection. The data path calls [`Pools::acquire`]; nothing
//! here is shared between workers except the circuit breakers, whose limits are exact: a worker
//! that must wait for a connection makes the others close idle ones.
//!
//! Does not own: what is sent over a connection, retries, and how the limits are counted
//! (`breaker`).
//!
//! The order of an acquisition: [`Pools::acquire`] → `cluster::ClusterPool::pick` →
//! `host::Host::acquire` → an idle connection, or a place in the host's queue.

mod account;
mod answers;
mod cluster;
mod grow;
mod host;
mod http1;
mod http2;
mod idle;
mod lease;
mod load;
mod raw;
mod veil;
mod watch;
mod watched;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch::{Receiver, Sender};

use self::cluster::{ClusterPool, Common};
use self::host::Host;
use self::watch::Watch;
use super::balance::Random;
use super::cluster::Cluster;
use super::connect::Connect;
use super::error::{Error, ErrorKind};
use super::spec::Priority;
use super::wish::Wish;
use crate::clock;

pub use http1::Http1Lease;
pub use http2::{Excess, Http2Lease, StreamEnd};
pub use lease::{Facts, Lease, Outcome, Release};
pub use raw::RawLease;

/// How often pools are looked after, at most and at least: else when the next idle connection is due.
const SWEEP: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// How long after a connection came to rest, or was ended by its peer, idle ones are looked at: many at once.
const SETTLE: Duration = Duration::from_millis(50);
/// For each that was looked at last time, at least this: looking takes no more than a hundredth of the worker.
const LOOK_EACH: Duration = Duration::from_micros(10);

/// What the pools of all workers have in common.
#[derive(Debug)]
pub struct Shared {
    /// Changes when a pool has to wait for a connection that another one may hold idle.
    nudge: Sender<()>,
}

impl Shared {
    /// One for the process.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            nudge: Sender::new(()),
        })
    }

    /// Makes the pools of all workers close idle connections of clusters that somebody waits for.
    fn nudge(&self) {
        self.nudge.send_replace(());
    }
}

/// The connection pools of one worker. See the module's page.
pub struct Pools {
    worker: usize,
    shared: Arc<Shared>,
    connector: Rc<dyn Connect>,
    seeds: RefCell<Random>,
    clusters: RefCell<HashMap<u64, Rc<ClusterPool>, BuildHasherDefault<IdHasher>>>,
    watch: Rc<Watch>,
    closed: Cell<bool>,
}

impl Pools {
    /// Empty pools for worker `worker`, whose choices follow from `seed`.
    ///
    /// Starts a task that looks after idle connections; it ends with the pools.
    ///
    /// # Panics
    ///
    /// Outside of a `LocalSet` or a `LocalRuntime`.
    #[must_use]
    pub fn new(
        worker: usize,
        seed: u64,
        shared: Arc<Shared>,
        connector: Rc<dyn Connect>,
    ) -> Rc<Self> {
        let nudged = shared.nudge.subscribe();
        let pools = Rc::new(Self {
            worker,
            shared,
            connector,
            seeds: RefCell::new(Random::new(seed)),
            clusters: RefCell::default(),
            watch: Rc::new(Watch::new()),
            closed: Cell::new(false),
        });
        let watch = Rc::clone(&pools.watch);
        tokio::task::spawn_local(look_after(Rc::downgrade(&pools), watch, nudged));
        pools
    }

    /// Picks an endpoint of `cluster` as `wish` wants it, and hands out a connection to it, waiting
    /// for one where the limits say so. The wait has no limit of its own but `connect_timeout`: the
    /// caller has the request's. Dropping the future gives everything back.
    ///
    /// # Errors
    ///
    /// When no endpoint may be used, a circuit breaker is open, or connecting fails. No byte of
    /// the request was sent then.
    pub async fn acquire(
        &self,
        cluster: &Arc<Cluster>,
        priority: Priority,
        wish: &Wish<'_>,
    ) -> Result<Lease, Error> {
        let pool = self.cluster(cluster);
        let host = self.pick(&pool, wish)?;
        pool.preconnect();
        host.acquire(&pool, priority).await
    }

    /// Picks an endpoint of `cluster` as `wish` wants it and opens a connection to it for bytes that
    /// are not requests: never a used one. There is no waiting for a place under `max_connections`.
    /// Dropping the future gives up.
    ///
    /// # Errors
    ///
    /// When no endpoint may be used, a circuit breaker is open, or connecting fails.
    pub async fn connect(
        &self,
        cluster: &Arc<Cluster>,
        priority: Priority,
        wish: &Wish<'_>,
    ) -> Result<RawLease, Error> {
        let host = self.pick(&self.cluster(cluster), wish)?;
        raw::open(host, priority).await
    }

    fn pick(&self, pool: &ClusterPool, wish: &Wish<'_>) -> Result<Rc<Host>, Error> {
        pool.pick(wish).ok_or_else(|| {
            let cluster = pool.cluster();
            cluster.stats(self.worker).upstream_cx_none_healthy.inc();
            Error {
                kind: ErrorKind::NoHealthyUpstream,
                cluster: Arc::clone(&cluster.name),
                endpoint: None,
            }
        })
    }

    /// Closes idle connections now, and all others when they are released.
    pub fn close(&self) {
        self.closed.set(true);
        for pool in self.all() {
            pool.close();
        }
    }

    fn cluster(&self, cluster: &Arc<Cluster>) -> Rc<ClusterPool> {
        if let Some(pool) = self.clusters.borrow().get(&cluster.id) {
            return Rc::clone(pool);
        }
        cluster.note_traffic();
        let common = Common {
            cluster: Arc::clone(cluster),
            worker: self.worker,
            connector: Rc::clone(&self.connector),
            shared: Arc::clone(&self.shared),
            watch: Rc::clone(&self.watch),
            closed: Cell::new(self.closed.get()),
        };
        let seed = self.seeds.borrow_mut().next_u64();
        let pool = Rc::new(ClusterPool::new(common, Random::new(seed)));
        self.clusters
            .borrow_mut()
            .insert(cluster.id, Rc::clone(&pool));
        pool
    }

    fn all(&self) -> Vec<Rc<ClusterPool>> {
        self.clusters.borrow().values().map(Rc::clone).collect()
    }

    /// Closes what is dead, expired or of a removed endpoint, and forgets retired clusters.
    fn sweep(&self, now: Instant) {
        for pool in self.all() {
            pool.sweep(now);
            if pool.cluster().is_retired() {
                pool.close();
                self.clusters.borrow_mut().remove(&pool.cluster().id);
            }
        }
    }

    fn evict_for_waiters(&self) {
        for pool in self.all() {
            pool.evict_for_waiters();
        }
    }

    /// Closes idle connections that their peers have ended. How much was looked at.
    fn watch_idle(&self) -> u32 {
        let mut cx = self.watch.look();
        let looked = self.all().into_iter().map(|pool| pool.watch_idle(&mut cx));
        looked.fold(0, u32::saturating_add)
    }

    /// When pools are to be looked after again: no connection that comes to rest before is due earlier.
    fn next_sweep(&self, now: Instant) -> Instant {
        let (least, most) = SWEEP;
        let clusters = self.clusters.borrow();
        let shortest = clusters.values().flat_map(|pool| {
            let spec = pool.cluster().spec();
            [spec.idle_timeout, spec.max_connection_duration]
        });
        let first = clusters.values().filter_map(|pool| pool.due()).min();
        let first = first.map(|due| due.saturating_duration_since(now));
        let wait = shortest.flatten().chain(first).min();
        now + wait.unwrap_or(most).clamp(least, most)
    }
}

impl Drop for Pools {
    fn drop(&mut self) {
        self.close();
    }
}

async fn look_after(pools: Weak<Pools>, watch: Rc<Watch>, mut nudged: Receiver<()>) {
    let mut sweep_at = clock::now() + SWEEP.1;
    let mut look_at: Option<Instant> = None;
    let mut pace = SETTLE;
    loop {
        let wake_at = look_at.map_or(sweep_at, |at| at.min(sweep_at));
        tokio::select! {
            () = tokio::time::sleep_until(wake_at.into()) => {
                let Some(pools) = pools.upgrade() else { return };
                let now = clock::now();
                if look_at.take_if(|at| *at <= now).is_some() {
                    pace = SETTLE.max(LOOK_EACH.saturating_mul(pools.watch_idle()));
                    sweep_at = sweep_at.min(pools.next_sweep(now));
                }
                if sweep_at <= now {
                    pools.sweep(now);
                    sweep_at = pools.next_sweep(now);
                }
            }
            () = watch.rung(), if look_at.is_none() => {
                look_at = Some(clock::now() + pace);
            }
            changed = nudged.changed() => {
                let Some(pools) = pools.upgrade().filter(|_| changed.is_ok()) else { return };
                pools.evict_for_waiters();
            }
        }
    }
}

/// Identities are counted up, so they are spread well enough by one multiplication.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = (self.0 ^ id).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

#[cfg(test)]
mod tests;
