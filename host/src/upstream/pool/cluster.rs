//! One worker's pool of one cluster: its view of the endpoints, and a host for each.
//!
//! Owns the balancer and the hosts, and rebuilds them when the cluster has published. Called by
//! `Pools`. Does not own: connections, which are the hosts'.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::Shared;
use super::host::Host;
use crate::clock;
use crate::upstream::balance::layout::State;
use crate::upstream::balance::{Balancer, Busy, Hosts, Note, Random};
use crate::upstream::cluster::Cluster;
use crate::upstream::connect::Connect;
use crate::upstream::endpoint::{Endpoint, Health};
use crate::upstream::spec::{Priority, SlowStart};
use crate::upstream::stats::ClusterStats;
use crate::upstream::wish::{Avoid, Pinned, Wish};

/// What a cluster's hosts in one worker have in common.
pub(super) struct Common {
    pub(super) cluster: Arc<Cluster>,
    pub(super) worker: usize,
    pub(super) connector: Rc<dyn Connect>,
    pub(super) shared: Arc<Shared>,
    /// Whether connections are to be closed instead of kept.
    pub(super) closed: Cell<bool>,
}

impl Common {
    #[inline]
    pub(super) fn stats(&self) -> &ClusterStats {
        self.cluster.stats(self.worker)
    }
}

/// See the module's page.
pub(super) struct ClusterPool {
    common: Rc<Common>,
    view: RefCell<View>,
}

struct View {
    /// Of the endpoint set that the rest is made from; none at first.
    generation: Option<u64>,
    balancer: Balancer,
    random: Random,
    /// In the order of the set, so that a balancer's index is one here.
    hosts: Vec<Rc<Host>>,
}

/// What the balancer asks about the hosts for one request.
struct Asked<'a> {
    hosts: &'a [Rc<Host>],
    common: &'a Common,
    avoid: Option<Avoid<'a>>,
    /// The settings of slow start and the time, where there is one.
    slow_start: Option<(SlowStart, Instant)>,
}

impl Asked<'_> {
    fn endpoint(&self, index: u32) -> Option<&Arc<Endpoint>> {
        self.hosts.get(index as usize).map(|host| host.endpoint())
    }
}

impl Busy for Asked<'_> {
    fn active(&self, index: u32) -> u64 {
        self.endpoint(index)
            .map_or(0, |endpoint| endpoint.counters.rq_active.get())
    }

    fn total_active(&self) -> u64 {
        self.common.cluster.requests_active()
    }
}

impl Hosts for Asked<'_> {
    fn weight(&self, index: u32) -> f64 {
        let Some(endpoint) = self.endpoint(index) else {
            return 1.0;
        };
        let weight = f64::from(endpoint.weight());
        match self.slow_start {
            Some((slow_start, now)) if endpoint.state() == State::Healthy => {
                weight * slow_start.factor(endpoint.healthy_for(now))
            }
            _ => weight,
        }
    }

    fn is_unwanted(&self, index: u32) -> bool {
        let unwanted = |endpoint: &Arc<Endpoint>| {
            self.avoid
                .is_some_and(|avoid| (avoid.is_unwanted)(endpoint))
        };
        self.endpoint(index).is_some_and(unwanted)
    }

    fn note(&self, note: Note) {
        let stats = self.common.stats();
        match note {
            Note::Panic => stats.lb_healthy_panic.inc(),
            Note::Subset => stats.lb_subsets_selected.inc(),
            Note::Fallback => stats.lb_subsets_fallback.inc(),
            Note::FallbackPanic => stats.lb_subsets_fallback_panic.inc(),
            Note::HomePanics => stats.lb_local_cluster_not_ok.inc(),
            Note::ZoneDirect => stats.lb_zone_routing_all_directly.inc(),
            Note::ZoneSampled => stats.lb_zone_routing_sampled.inc(),
            Note::ZoneCrossed => stats.lb_zone_routing_cross_zone.inc(),
            Note::ZoneFull => stats.lb_zone_no_capacity_left.inc(),
        }
    }
}

impl ClusterPool {
    pub(super) fn new(common: Common, random: Random) -> Self {
        let plan = Arc::clone(&common.cluster.endpoints().plan);
        let balancer = Balancer::new(plan, common.worker as u64, false);
        let view = View {
            generation: None,
            balancer,
            random,
            hosts: Vec::new(),
        };
        Self {
            common: Rc::new(common),
            view: RefCell::new(view),
        }
    }

    pub(super) fn cluster(&self) -> &Arc<Cluster> {
        &self.common.cluster
    }

    /// The host that a request with this wish goes to.
    pub(super) fn pick(&self, wish: &Wish<'_>) -> Option<Rc<Host>> {
        self.refresh();
        let view = &mut *self.view.borrow_mut();
        let hosts = &view.hosts;
        if let Some(pinned) = wish.pinned {
            let host = self.pinned(hosts, pinned);
            if host.is_some() || pinned.is_strict {
                return host;
            }
        }
        let slow_start = self.common.cluster.spec().balancing.slow_start;
        let asked = Asked {
            hosts,
            common: &self.common,
            avoid: wish.avoid,
            slow_start: slow_start.map(|settings| (settings, clock::now())),
        };
        let index = view.balancer.pick(&mut view.random, wish, &asked)?;
        hosts.get(index as usize).map(Rc::clone)
    }

    /// The host that a request is pinned to, if its health allows that.
    fn pinned(&self, hosts: &[Rc<Host>], pinned: Pinned) -> Option<Rc<Host>> {
        let pinnable = self.common.cluster.spec().balancing.pinnable;
        let host = hosts
            .iter()
            .find(|host| host.endpoint().address == pinned.address)?;
        let endpoint = host.endpoint();
        let allowed = match endpoint.state() {
            State::Healthy => pinnable.healthy,
            State::Degraded => pinnable.degraded,
            State::Unhealthy if endpoint.health().has(Health::EDS_STATUS_DRAINING) => {
                pinnable.draining
            }
            State::Unhealthy => pinnable.unhealthy,
        };
        allowed.then(|| Rc::clone(host))
    }

    /// Follows the cluster's last publication.
    fn refresh(&self) {
        if self.view.borrow().generation != Some(self.common.cluster.generation()) {
            self.rebuild();
        }
    }

    #[cold]
    fn rebuild(&self) {
        let cluster = &self.common.cluster;
        let set = cluster.endpoints();
        let slow_start = cluster.spec().balancing.slow_start;
        let is_slow = slow_start.is_some_and(|slow_start| {
            let now = clock::now();
            let mut ages = set.endpoints.iter().map(|e| e.healthy_for(now));
            ages.any(|age| age < slow_start.window)
        });
        let mut view = self.view.borrow_mut();
        let picks = view.balancer.picks();
        view.balancer = Balancer::new(Arc::clone(&set.plan), picks, is_slow);
        view.generation = Some(set.generation);
        let mut known: HashMap<u64, Rc<Host>> = view
            .hosts
            .drain(..)
            .map(|host| (host.endpoint().id, host))
            .collect();
        view.hosts = set
            .endpoints
            .iter()
            .map(|endpoint| {
                known.remove(&endpoint.id).unwrap_or_else(|| {
                    Rc::new(Host::new(Rc::clone(&self.common), Arc::clone(endpoint)))
                })
            })
            .collect();
        drop(view);
        for host in known.into_values() {
            host.remove();
        }
    }

    pub(super) fn close(&self) {
        self.common.closed.set(true);
        for host in self.hosts() {
            host.close_idle();
        }
    }

    pub(super) fn sweep(&self, now: Instant) {
        self.refresh();
        for host in self.hosts() {
            host.sweep(now);
        }
    }

    /// Closes the connection of `priority` that has been idle longest, whichever host it leads to.
    pub(super) fn evict_idle(&self, priority: Priority) -> bool {
        let hosts = self.view.borrow();
        let longest = hosts
            .hosts
            .iter()
            .filter_map(|host| Some((host.idle_since(priority)?, host)))
            .min_by_key(|(since, _)| *since)
            .map(|(_, host)| Rc::clone(host));
        drop(hosts);
        longest.is_some_and(|host| host.evict_idle(priority))
    }

    /// Closes an idle connection for each host, in whichever worker, that waits for the limit.
    pub(super) fn evict_for_waiters(&self) {
        for priority in Priority::ALL {
            let waiting = self.common.cluster.breaker(priority).waiting();
            for _ in 0..waiting {
                if !self.evict_idle(priority) {
                    break;
                }
            }
        }
    }

    fn hosts(&self) -> Vec<Rc<Host>> {
        self.view.borrow().hosts.clone()
    }
}
