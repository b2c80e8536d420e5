//! A cluster and its endpoints, as all threads share them.
//!
//! Owns [`Cluster`], the published [`EndpointSet`] and the counters of an [`Endpoint`]. The control
//! thread publishes; workers notice a new generation with one load and rebuild what they derive
//! from it.
//!
//! Does not own: connections (per worker, `pool`), and how endpoints are found (`discovery`) or
//! checked (`health`).

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::breaker::{Breaker, Breakers};
use super::spec::{ClusterSpec, Discovery, Priority, Protocol};
use super::stats::ClusterStats;
use crate::observe::stats::Sharded;

/// Distinguishes clusters in the workers' tables, also those of one name from two snapshots.
static NEXT_CLUSTER: AtomicU64 = AtomicU64::new(0);
/// Distinguishes endpoints in the workers' tables.
static NEXT_ENDPOINT: AtomicU64 = AtomicU64::new(0);

/// One cluster. See the module's page.
pub struct Cluster {
    /// `Cluster.name`.
    pub name: Arc<str>,
    /// Unique in the life of the process.
    pub(super) id: u64,
    spec: ClusterSpec,
    workers: usize,
    stats: Arc<Sharded<ClusterStats>>,
    breakers: Arc<Breakers>,
    endpoints: ArcSwap<EndpointSet>,
    /// That of `endpoints`, to be compared without touching them.
    generation: AtomicU64,
    warm: watch::Sender<bool>,
    had_traffic: AtomicBool,
    retired: AtomicBool,
}

impl Cluster {
    /// A cluster for `workers` workers. The endpoints of a static one are published at once.
    #[must_use]
    pub fn new(spec: ClusterSpec, workers: usize) -> Arc<Self> {
        Self::with_stats(spec, workers, Arc::new(Sharded::new(workers)))
    }

    /// The same, counting on in the statistics of the cluster whose place it takes.
    #[must_use]
    pub fn with_stats(
        spec: ClusterSpec,
        workers: usize,
        stats: Arc<Sharded<ClusterStats>>,
    ) -> Arc<Self> {
        let breakers = Arc::new(Breakers::new(&spec.name, &spec.breakers));
        let unchecked = spec.health_check.is_none();
        let initial: Option<Vec<_>> = match &spec.discovery {
            Discovery::Static(given) => Some(
                given
                    .iter()
                    .map(|e| {
                        let mut endpoint = Endpoint::new(e.address, e.hostname.clone(), e.weight);
                        endpoint.health_check_port = e.health_check_port;
                        endpoint.health.0 = AtomicU8::new(Health::initial(unchecked));
                        Arc::new(endpoint)
                    })
                    .collect(),
            ),
            Discovery::StrictDns { .. } => None,
        };
        let warm = initial
            .as_ref()
            .is_some_and(|initial| unchecked || initial.is_empty());
        let cluster = Self {
            name: Arc::clone(&spec.name),
            id: NEXT_CLUSTER.fetch_add(1, Ordering::Relaxed),
            breakers,
            workers,
            stats,
            endpoints: ArcSwap::from_pointee(EndpointSet::default()),
            generation: AtomicU64::new(0),
            warm: watch::Sender::new(warm),
            had_traffic: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            spec,
        };
        cluster.control_stats().warming_state.set(i64::from(!warm));
        if let Some(initial) = initial {
            cluster.publish(initial);
        }
        Arc::new(cluster)
    }

    /// The settings.
    #[must_use]
    pub const fn spec(&self) -> &ClusterSpec {
        &self.spec
    }

    /// The name under which statistics and `/clusters` show it.
    #[must_use]
    pub fn observability_name(&self) -> &Arc<str> {
        self.spec.alt_stat_name.as_ref().unwrap_or(&self.name)
    }

    /// Whether requests go out over HTTP/2.
    #[must_use]
    pub const fn is_http2(&self) -> bool {
        matches!(self.spec.protocol, Protocol::Http2(_))
    }

    /// Whether [`super::Wish::hash`] is read.
    #[must_use]
    pub const fn wants_hash(&self) -> bool {
        self.spec.policy.wants_hash()
    }

    /// The statistics that worker `index` writes; the control thread's from the number of workers
    /// on.
    #[must_use]
    #[inline]
    pub fn stats(&self, index: usize) -> &ClusterStats {
        self.stats.shard(index)
    }

    /// The statistics of all threads.
    #[must_use]
    pub const fn sharded_stats(&self) -> &Arc<Sharded<ClusterStats>> {
        &self.stats
    }

    pub(super) fn control_stats(&self) -> &ClusterStats {
        self.stats.shard(self.workers)
    }

    /// The endpoints as published last.
    #[must_use]
    pub fn endpoints(&self) -> Arc<EndpointSet> {
        self.endpoints.load_full()
    }

    /// Changes with every [`Self::publish`].
    #[inline]
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The circuit breaker of `priority`.
    #[must_use]
    #[inline]
    pub fn breaker(&self, priority: Priority) -> &Breaker {
        self.breakers.of(priority)
    }

    /// The circuit breakers of both priorities, for their statistics.
    #[must_use]
    pub const fn breakers(&self) -> &Arc<Breakers> {
        &self.breakers
    }

    /// Takes one of `max_retries`, counted in worker `worker`'s statistics where there is none
    /// left.
    #[must_use]
    pub fn try_retry(self: &Arc<Self>, priority: Priority, worker: usize) -> Option<RetryPermit> {
        if self.breaker(priority).try_retry() {
            return Some(RetryPermit {
                cluster: Arc::clone(self),
                priority,
            });
        }
        self.stats(worker).upstream_rq_retry_overflow.inc();
        None
    }

    /// Publishes endpoints, or the same ones after their health changed. Control thread only.
    pub(super) fn publish(&self, endpoints: Vec<Arc<Endpoint>>) {
        let generation = self.generation.load(Ordering::Relaxed) + 1;
        let healthy: Vec<u32> = (0_u32..)
            .zip(&endpoints)
            .filter(|(_, endpoint)| endpoint.is_healthy())
            .map(|(index, _)| index)
            .collect();
        let stats = self.control_stats();
        let gauge = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        stats.membership_total.set(gauge(endpoints.len()));
        stats.membership_healthy.set(gauge(healthy.len()));
        stats.membership_degraded.set(0);
        stats.membership_excluded.set(0);
        if self.spec.health_check.is_some() {
            stats.health_check_healthy.set(gauge(healthy.len()));
        }
        let heaviest = endpoints.iter().map(|endpoint| endpoint.weight()).max();
        stats.max_host_weight.set(heaviest.unwrap_or(0).into());
        let known = self.endpoints.load();
        let ids = |endpoints: &[Arc<Endpoint>]| {
            let mut ids: Vec<u64> = endpoints.iter().map(|endpoint| endpoint.id).collect();
            ids.sort_unstable();
            ids
        };
        if ids(&known.endpoints) != ids(&endpoints) {
            stats.membership_change.inc();
        }
        drop(known);
        self.endpoints.store(Arc::new(EndpointSet {
            endpoints,
            healthy,
            generation,
        }));
        self.generation.store(generation, Ordering::Release);
    }

    /// Whether the cluster may take traffic: DNS answered once, and the first round of health
    /// checks is over.
    #[must_use]
    pub fn is_warm(&self) -> bool {
        *self.warm.borrow()
    }

    /// Waits until [`Self::is_warm`].
    pub async fn warm(&self) {
        let mut warm = self.warm.subscribe();
        // The sender lives in `self`, so the only error, that it is gone, does not happen.
        let _ = warm.wait_for(|warm| *warm).await;
    }

    pub(super) fn set_warm(&self) {
        self.control_stats().warming_state.set(0);
        self.warm
            .send_if_modified(|warm| !std::mem::replace(warm, true));
    }

    /// Whether any request ever asked for a connection.
    pub(super) fn had_traffic(&self) -> bool {
        self.had_traffic.load(Ordering::Relaxed)
    }

    pub(super) fn note_traffic(&self) {
        if !self.had_traffic.load(Ordering::Relaxed) {
            self.had_traffic.store(true, Ordering::Relaxed);
        }
    }

    /// Tells the workers to let go of its connections: no new snapshot has it.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// One of `max_retries`, given back on drop.
#[derive(Debug)]
pub struct RetryPermit {
    cluster: Arc<Cluster>,
    priority: Priority,
}

impl Drop for RetryPermit {
    fn drop(&mut self) {
        self.cluster.breaker(self.priority).give_back_retry();
    }
}

/// The endpoints of a cluster at one moment.
#[derive(Debug, Default)]
pub struct EndpointSet {
    /// All of them, in the order of the file and of the DNS answers.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// Indices of those that health checks let through.
    pub healthy: Vec<u32>,
    /// Changes with every publication.
    pub generation: u64,
}

/// An address of a cluster. It stays the same object for as long as discovery keeps finding it.
#[derive(Debug)]
pub struct Endpoint {
    /// Where it is.
    pub address: SocketAddr,
    /// `endpoint.hostname`, or the DNS name that it was found by.
    pub hostname: Option<Arc<str>>,
    /// What it has done.
    pub counters: EndpointCounters,
    /// Port for health checks where it is another one.
    pub(super) health_check_port: Option<u16>,
    /// Unique in the life of the process.
    pub(super) id: u64,
    weight: AtomicU32,
    health: Health,
}

impl Endpoint {
    /// An endpoint that counts as healthy.
    pub(super) fn new(address: SocketAddr, hostname: Option<Arc<str>>, weight: u32) -> Self {
        Self {
            address,
            hostname,
            counters: EndpointCounters::default(),
            health_check_port: None,
            id: NEXT_ENDPOINT.fetch_add(1, Ordering::Relaxed),
            weight: AtomicU32::new(weight.max(1)),
            health: Health::default(),
        }
    }

    /// `load_balancing_weight`, at least 1.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed)
    }

    pub(super) fn set_weight(&self, weight: u32) {
        self.weight.store(weight.max(1), Ordering::Relaxed);
    }

    /// Why it may not be used; empty where it may.
    #[must_use]
    pub const fn health(&self) -> &Health {
        &self.health
    }

    /// Whether it may be used.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        !self.health.has(Health::FAILED_ACTIVE_HC)
    }

    /// Where health checks go.
    #[must_use]
    pub fn health_check_address(&self) -> SocketAddr {
        let mut address = self.address;
        if let Some(port) = self.health_check_port {
            address.set_port(port);
        }
        address
    }
}

/// The health flags of an endpoint. The control thread writes them.
#[derive(Debug, Default)]
pub struct Health(AtomicU8);

impl Health {
    /// `/failed_active_hc`.
    pub const FAILED_ACTIVE_HC: u8 = 1;
    /// `/pending_dynamic_removal`: discovery dropped it, but its health checks still pass.
    pub const PENDING_DYNAMIC_REMOVAL: u8 = 1 << 1;
    /// `/pending_active_hc`: no health check has ended yet.
    pub const PENDING_ACTIVE_HC: u8 = 1 << 2;
    /// `/active_hc_timeout`: the last health check timed out.
    pub const ACTIVE_HC_TIMEOUT: u8 = 1 << 3;

    /// All flags with the names that `/clusters` shows, in Envoy's order.
    pub const NAMES: [(u8, &'static str); 4] = [
        (Self::FAILED_ACTIVE_HC, "/failed_active_hc"),
        (Self::PENDING_DYNAMIC_REMOVAL, "/pending_dynamic_removal"),
        (Self::PENDING_ACTIVE_HC, "/pending_active_hc"),
        (Self::ACTIVE_HC_TIMEOUT, "/active_hc_timeout"),
    ];

    /// Flags of an endpoint that nobody has looked at yet.
    const fn initial(unchecked: bool) -> u8 {
        if unchecked {
            0
        } else {
            Self::FAILED_ACTIVE_HC | Self::PENDING_ACTIVE_HC
        }
    }

    /// Whether any of `flags` is set.
    #[must_use]
    pub fn has(&self, flags: u8) -> bool {
        self.0.load(Ordering::Relaxed) & flags != 0
    }

    pub(super) fn set(&self, flags: u8) {
        self.0.fetch_or(flags, Ordering::Relaxed);
    }

    pub(super) fn clear(&self, flags: u8) {
        self.0.fetch_and(!flags, Ordering::Relaxed);
    }
}

/// Counts up and down, written by several threads.
#[derive(Debug, Default)]
pub struct SharedCount(AtomicU64);

impl SharedCount {
    /// Adds one.
    #[inline]
    pub(super) fn inc(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes one off.
    #[inline]
    pub(super) fn dec(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// The count.
    #[must_use]
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What an endpoint has done, over all workers. They lie together because a request that touches
/// one has the line of all of them.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct EndpointCounters {
    /// Requests that have a connection now; least-request balancing goes by it.
    pub rq_active: SharedCount,
    /// Requests that were given a connection.
    pub rq_total: SharedCount,
    /// Answers below 500.
    pub rq_success: SharedCount,
    /// Answers from 500 on, and resets.
    pub rq_error: SharedCount,
    /// Requests that timed out.
    pub rq_timeout: SharedCount,
    /// Requests that wait for a connection now.
    pub rq_pending_active: SharedCount,
    /// Connections that are open or being opened.
    pub cx_active: SharedCount,
    /// Connections that were ever started.
    pub cx_total: SharedCount,
    /// Connections that failed to open.
    pub cx_connect_fail: SharedCount,
}
