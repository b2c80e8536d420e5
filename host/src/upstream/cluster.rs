//! A cluster and its endpoints, as all threads share them.
//!
//! Owns [`Cluster`] and the published [`EndpointSet`]. The control thread publishes; workers notice
//! a new generation with one load and rebuild what they derive from it.
//!
//! Does not own: one endpoint (`endpoint`), connections (per worker, `pool`), and how endpoints are
//! found (`discovery`) or checked (`health`).

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

use super::balance::Plan;
use super::balance::layout::{Member, State};
use super::balance::subset::Subsets;
use super::balance::table::Places;
use super::balance::zone::Home;
use super::breaker::{Breaker, Breakers, Resource};
use super::destination::Destinations;
use super::endpoint::{Checks, Endpoint};
use super::metadata::Criteria;
use super::outlier::event::Event;
use super::outlier::{Averages, Report};
use super::spec::{ClusterSpec, Discovery, OutlierSpec, Priority};
use super::stats::{
    BudgetStats, ClusterStats, Http2Stats, MaglevStats, OutlierStats, RingStats, SizeStats,
};
use super::tuning::{Tuned, Tuning};
use crate::clock;
use crate::observe::access_log::Sink;
use crate::observe::stats::Sharded;
use crate::values::{Integer, Share, Values};
use crate::vitals::Members;

/// Distinguishes clusters in the workers' tables, also those of one name from two snapshots.
static NEXT_CLUSTER: AtomicU64 = AtomicU64::new(0);

/// The runtime value that says how many percent of requests `drop_overloads` turns away at most.
const DROP_LIMIT: &str = "load_balancing_policy.drop_overload_limit";

/// One cluster. See the module's page.
pub struct Cluster {
    /// `Cluster.name`.
    pub name: Arc<str>,
    /// Unique in the life of the process.
    pub(super) id: u64,
    spec: ClusterSpec,
    /// What of the settings runtime values change, and how it is now.
    tuning: Tuning,
    tuned: ArcSwap<Tuned>,
    workers: usize,
    outlets: Outlets,
    /// Tells the control thread that an endpoint failed often enough in a row.
    outlier_wake: Notify,
    /// The same of one that asked to be left out.
    ask_out_wake: Notify,
    /// What `/clusters` shows of it.
    outlier_averages: Averages,
    breakers: Arc<Breakers>,
    /// Where requests name their endpoints.
    destinations: Option<Destinations>,
    /// Which part of the requests is turned away, and how many percent at most.
    drops: Option<(Share, Integer)>,
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
        let outlets = Outlets::new(&spec, workers);
        Self::with_outlets(spec, workers, outlets)
    }

    /// The same, counting on in the statistics of the cluster whose place it takes, and writing
    /// events down.
    #[must_use]
    pub fn with_outlets(spec: ClusterSpec, workers: usize, outlets: Outlets) -> Arc<Self> {
        let breakers = Breakers::new(&spec.name, &spec.breakers, &outlets.values);
        let breakers = Arc::new(breakers);
        let checks = Checks::of(&spec);
        let initial: Option<Vec<_>> = match &spec.discovery {
            Discovery::Static(given) => Some(
                given
                    .iter()
                    .map(|e| {
                        let endpoint =
                            Endpoint::new(e.address.clone(), Arc::clone(&e.traits), checks);
                        Arc::new(endpoint)
                    })
                    .collect(),
            ),
            Discovery::OriginalDestination(_) => Some(Vec::new()),
            Discovery::StrictDns { .. } | Discovery::LogicalDns { .. } => None,
        };
        let destinations = matches!(spec.discovery, Discovery::OriginalDestination(_))
            .then(|| Destinations::new(&spec.name, checks));
        let drops = spec.drop_overload.map(|share| {
            let limit = Integer::new(100, &outlets.values, DROP_LIMIT);
            (share, limit)
        });
        let warm = initial
            .as_ref()
            .is_some_and(|initial| initial.iter().all(|e| !e.is_awaiting_check()));
        let cluster = Self {
            name: Arc::clone(&spec.name),
            id: NEXT_CLUSTER.fetch_add(1, Ordering::Relaxed),
            breakers,
            destinations,
            drops,
            workers,
            outlier_wake: Notify::new(),
            ask_out_wake: Notify::new(),
            outlier_averages: Averages::default(),
            endpoints: ArcSwap::from_pointee(EndpointSet::empty(&spec)),
            generation: AtomicU64::new(0),
            warm: watch::Sender::new(warm),
            had_traffic: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            tuning: Tuning::new(&spec, &outlets.values),
            tuned: ArcSwap::from_pointee(Tuned::written(&spec)),
            outlets,
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

    /// Takes over what runtime values say now. Whether endpoints are to be published anew because of it,
    /// and when endpoints are ejected from now on, where that has changed. Control thread only.
    pub(super) fn retune(&self) -> (bool, Option<OutlierSpec>) {
        let tuned = self.tuning.tuned(&self.spec, &self.outlets.values);
        let before = self.tuned.load();
        let balances = tuned.balancing != before.balancing;
        let outliers = tuned
            .outliers
            .clone()
            .filter(|_| tuned.outliers != before.outliers);
        if balances || outliers.is_some() {
            self.tuned.store(Arc::new(tuned));
        }
        (balances, outliers)
    }

    /// The runtime values.
    pub(super) const fn values(&self) -> &Arc<Values> {
        &self.outlets.values
    }

    /// The name under which statistics and `/clusters` show it.
    #[must_use]
    pub fn observability_name(&self) -> &Arc<str> {
        self.spec.alt_stat_name.as_ref().unwrap_or(&self.name)
    }

    /// Whether [`super::Wish::hash`] is read.
    #[must_use]
    pub const fn wants_hash(&self) -> bool {
        self.spec.balancing.policy.wants_hash()
    }

    /// The statistics that worker `index` writes; the control thread's from the number of workers
    /// on.
    #[must_use]
    #[inline]
    pub fn stats(&self, index: usize) -> &ClusterStats {
        self.outlets.cluster.shard(index)
    }

    /// The same of HTTP/2, where the cluster may speak it.
    pub(super) fn http2_stats(&self, index: usize) -> Option<&Http2Stats> {
        Some(self.outlets.http2.as_ref()?.shard(index))
    }

    /// Where worker `index` counts how large messages are, where the cluster does.
    #[must_use]
    #[inline]
    pub fn sizes(&self, index: usize) -> Option<&SizeStats> {
        Some(self.outlets.sizes.as_ref()?.shard(index))
    }

    /// Where it counts which part of their time requests take, where the cluster does.
    #[must_use]
    #[inline]
    pub fn budgets(&self, index: usize) -> Option<&BudgetStats> {
        Some(self.outlets.budgets.as_ref()?.shard(index))
    }

    /// The statistics of all threads.
    #[must_use]
    pub const fn sharded_stats(&self) -> &Arc<Sharded<ClusterStats>> {
        &self.outlets.cluster
    }

    /// How many workers there are; also the index of the control thread's statistics.
    pub(super) const fn workers(&self) -> usize {
        self.workers
    }

    pub(super) fn control_stats(&self) -> &ClusterStats {
        self.outlets.cluster.shard(self.workers)
    }

    /// Which part of the requests is to be turned away now; none in most clusters.
    #[must_use]
    #[inline]
    pub fn drop_overload(&self) -> Option<Share> {
        let (share, limit) = self.drops.as_ref()?;
        Some(share.at_most(limit.get()))
    }

    /// The endpoints that requests have named, where they do.
    #[inline]
    pub(super) const fn destinations(&self) -> Option<&Destinations> {
        self.destinations.as_ref()
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

    /// Lets who waits for a connection look again: a runtime value may have raised the limit.
    pub(super) fn recall_waiters(&self) {
        for priority in Priority::ALL {
            self.breaker(priority).recall();
        }
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
        let tuned = self.tuned.load();
        let balancing = &tuned.balancing;
        let members: Vec<Member<'_>> = (0_u32..)
            .zip(&endpoints)
            .map(|(index, endpoint)| endpoint.member(index, balancing.ignores_unchecked))
            .collect();
        let plan = Arc::new(Plan::new(balancing, &members, self.outlets.home.as_deref()));
        if let Some(home) = &self.outlets.home
            && home.cluster == self.name
        {
            home.set(&members, plan.panics());
        }
        if self.home().is_some() {
            let stats = self.control_stats();
            stats.lb_recalculate_zone_structures.inc();
            if plan.is_too_small() {
                stats.lb_zone_cluster_too_small.inc();
            }
            if plan.is_homeless() {
                stats.lb_local_cluster_not_ok.inc();
            }
        }
        self.count_membership(&members);
        self.count_places(&plan);
        drop(members);
        let known = self.endpoints.load();
        let changes = changed_levels(&known.endpoints, &endpoints);
        self.control_stats().membership_change.add(changes);
        self.count_subsets(&known.plan, &plan);
        drop(known);
        self.endpoints.store(Arc::new(EndpointSet {
            endpoints,
            plan,
            generation,
        }));
        self.generation.store(generation, Ordering::Release);
    }

    /// How many endpoints there are, and how they are.
    #[must_use]
    pub fn members(&self) -> Members {
        let stats = self.control_stats();
        let count = |gauge: i64| u64::try_from(gauge).unwrap_or_default();
        Members {
            total: count(stats.membership_total.get()),
            healthy: count(stats.membership_healthy.get()),
            degraded: count(stats.membership_degraded.get()),
        }
    }

    fn count_membership(&self, members: &[Member<'_>]) {
        let stats = self.control_stats();
        let of = |state: State| count(members.iter().filter(|member| member.state == state));
        stats.membership_total.set(count(members));
        stats.membership_healthy.set(of(State::Healthy));
        stats.membership_degraded.set(of(State::Degraded));
        let excluded = members.iter().filter(|member| member.is_excluded);
        stats.membership_excluded.set(count(excluded));
        if !self.spec.health_checks.is_empty() {
            stats
                .health_check_healthy
                .set(of(State::Healthy) + of(State::Degraded));
            stats.health_check_degraded.set(of(State::Degraded));
        }
        let heaviest = members.iter().map(|member| member.weight).max();
        stats.max_host_weight.set(heaviest.unwrap_or(0).into());
    }

    /// As in Envoy, of several levels the last one is shown.
    fn count_places(&self, plan: &Plan) {
        for table in plan.tables() {
            match table.places() {
                Places::Ring(ring) => {
                    if let Some(stats) = &self.outlets.ring {
                        let (size, least, most) = ring.sizes();
                        let stats = stats.shard(self.workers);
                        stats.size.set(gauge(size as u64));
                        stats.min_hashes_per_host.set(gauge(least));
                        stats.max_hashes_per_host.set(gauge(most));
                    }
                }
                Places::Maglev(maglev) => {
                    if let Some(stats) = &self.outlets.maglev {
                        let (least, most) = maglev.sizes();
                        let stats = stats.shard(self.workers);
                        stats.min_entries_per_host.set(gauge(least));
                        stats.max_entries_per_host.set(gauge(most));
                    }
                }
            }
        }
    }

    fn count_subsets(&self, before: &Plan, now: &Plan) {
        let Some(now) = now.subsets() else { return };
        let has = |subsets: Option<&Subsets>, wanted: &Criteria| {
            subsets.is_some_and(|subsets| subsets.has(wanted))
        };
        let created = now.criteria().filter(|c| !has(before.subsets(), c)).count();
        let gone = before.subsets().map_or(0, |before| {
            before.criteria().filter(|c| !now.has(c)).count()
        });
        let stats = self.control_stats();
        stats.lb_subsets_created.add(created as u64);
        stats.lb_subsets_removed.add(gone as u64);
        stats.lb_subsets_active.set(count(now.criteria()));
    }

    /// Requests of both priorities that have a connection.
    pub(super) fn requests_active(&self) -> u64 {
        let used = |priority| self.breaker(priority).used(Resource::Requests);
        Priority::ALL.into_iter().map(used).sum()
    }

    /// The statistics of outlier detection, where it is on.
    pub(super) fn outlier_stats(&self) -> Option<&OutlierStats> {
        let stats = self.outlets.outlier.as_ref()?;
        Some(stats.shard(self.workers))
    }

    /// What outlier detection found last, where it is on.
    #[must_use]
    pub fn outlier_averages(&self) -> Option<&Averages> {
        self.spec.outlier_detection.as_ref()?;
        Some(&self.outlier_averages)
    }

    /// Tells outlier detection, where it is on, what became of a request to `endpoint`.
    #[inline]
    pub(super) fn report(&self, endpoint: &Endpoint, report: Report) {
        if let Some(monitor) = &endpoint.outlier
            && let Some(spec) = &self.tuned.load().outliers
            && monitor.put(spec, report)
        {
            self.outlier_wake.notify_one();
        }
    }

    /// Tells outlier detection that a request to `endpoint` takes too long, whatever becomes of it.
    pub fn note_late(&self, endpoint: &Endpoint) {
        self.report(endpoint, Report::TimedOut);
    }

    /// Lets who waits for [`Self::outlier_tripped`] look at once.
    pub(super) fn wake_outliers(&self) {
        self.outlier_wake.notify_one();
    }

    /// Waits until [`Self::report`] has found that somebody has to look.
    pub(super) async fn outlier_tripped(&self) {
        self.outlier_wake.notified().await;
    }

    /// Notes that `endpoint` asked in an answer to be left out, which counts where its health is
    /// checked.
    pub(super) fn ask_out(&self, endpoint: &Endpoint) {
        if !self.spec.health_checks.is_empty() && endpoint.ask_out() {
            self.ask_out_wake.notify_one();
        }
    }

    /// Whether answers say something about endpoints: these are checked, or looked at for outliers.
    #[must_use]
    #[inline]
    pub const fn judges_answers(&self) -> bool {
        !self.spec.health_checks.is_empty() || self.spec.outlier_detection.is_some()
    }

    /// Waits until an endpoint has asked to be left out.
    pub(super) async fn asked_out(&self) {
        self.ask_out_wake.notified().await;
    }

    /// Where the events of the health check at `index` are written.
    pub(super) fn check_logs(&self, index: usize) -> &[Arc<Sink>] {
        self.outlets
            .check_logs
            .get(index)
            .map_or(&[][..], Vec::as_slice)
    }

    /// The proxies' own cluster, where it matters for this one.
    pub(super) fn home(&self) -> Option<&Arc<Home>> {
        let home = self.outlets.home.as_ref()?;
        self.spec.balancing.zones.map(|_| home)
    }

    /// Writes down what outlier detection did.
    pub(super) fn log_outlier(&self, event: &Event) {
        let Some(log) = &self.outlets.outlier_log else {
            return;
        };
        if let Ok(now) = jiff::Timestamp::try_from(clock::wall()) {
            let mut line = event.line(&self.name, &format!("{now:.3}"));
            line.push('\n');
            log.write(line.as_bytes());
        }
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

/// Where one cluster counts and writes. Statistics that only some clusters have in Envoy are there
/// where the settings ask for them.
#[derive(Clone)]
pub struct Outlets {
    /// What every cluster has.
    pub cluster: Arc<Sharded<ClusterStats>>,
    /// Of a cluster that may speak HTTP/2.
    pub http2: Option<Arc<Sharded<Http2Stats>>>,
    /// Of a cluster that counts how large messages are.
    pub sizes: Option<Arc<Sharded<SizeStats>>>,
    /// Of a cluster that counts which part of their time requests take.
    pub budgets: Option<Arc<Sharded<BudgetStats>>>,
    /// Of a `RING_HASH` cluster.
    pub ring: Option<Arc<Sharded<RingStats>>>,
    /// Of a `MAGLEV` cluster.
    pub maglev: Option<Arc<Sharded<MaglevStats>>>,
    /// Of outlier detection.
    pub outlier: Option<Arc<Sharded<OutlierStats>>>,
    /// The event log of outlier detection.
    pub outlier_log: Option<Arc<Sink>>,
    /// The event logs of each health check.
    pub check_logs: Vec<Vec<Arc<Sink>>>,
    /// The proxies' own cluster, where there is one.
    pub home: Option<Arc<Home>>,
    /// Runtime values, which may override limits.
    pub values: Arc<Values>,
}

impl Outlets {
    /// New ones for a cluster with these settings.
    #[must_use]
    pub fn new(spec: &ClusterSpec, workers: usize) -> Self {
        let policy = spec.balancing.policy;
        Self {
            cluster: Arc::new(Sharded::new(workers)),
            http2: spec
                .http2_settings()
                .map(|_| Arc::new(Sharded::new(workers))),
            sizes: spec.counts_sizes.then(|| Arc::new(Sharded::new(workers))),
            budgets: spec.counts_budgets.then(|| Arc::new(Sharded::new(workers))),
            ring: policy.is_ring().then(|| Arc::new(Sharded::new(workers))),
            maglev: policy.is_maglev().then(|| Arc::new(Sharded::new(workers))),
            outlier: spec
                .outlier_detection
                .as_ref()
                .map(|_| Arc::new(Sharded::new(workers))),
            outlier_log: None,
            check_logs: Vec::new(),
            home: None,
            values: Arc::default(),
        }
    }
}

/// In how many levels the endpoints are others than before.
fn changed_levels(before: &[Arc<Endpoint>], now: &[Arc<Endpoint>]) -> u64 {
    let ids = |endpoints: &[Arc<Endpoint>]| {
        let ids = endpoints
            .iter()
            .map(|endpoint| (endpoint.level(), endpoint.id));
        ids.collect::<BTreeSet<_>>()
    };
    let (before, now) = (ids(before), ids(now));
    let levels = before.symmetric_difference(&now).map(|(level, _)| *level);
    levels.collect::<BTreeSet<_>>().len() as u64
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn count<T>(of: impl IntoIterator<Item = T>) -> i64 {
    gauge(of.into_iter().count() as u64)
}

/// The endpoints of a cluster at one moment.
#[derive(Debug)]
pub struct EndpointSet {
    /// All of them, in the order of the file and of the DNS answers.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// How they are balanced.
    pub plan: Arc<Plan>,
    /// Changes with every publication.
    pub generation: u64,
}

impl EndpointSet {
    /// Those of a cluster that has published none yet.
    fn empty(spec: &ClusterSpec) -> Self {
        Self {
            endpoints: Vec::new(),
            plan: Arc::new(Plan::new(&spec.balancing, &[], None)),
            generation: 0,
        }
    }
}
