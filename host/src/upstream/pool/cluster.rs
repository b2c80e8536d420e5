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
use crate::upstream::balance::{Balancer, Random};
use crate::upstream::cluster::Cluster;
use crate::upstream::connect::Connect;
use crate::upstream::spec::Priority;
use crate::upstream::stats::ClusterStats;
use crate::upstream::wish::Wish;

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
    hosts: Vec<Rc<Host>>,
}

impl ClusterPool {
    pub(super) fn new(common: Common, random: Random) -> Self {
        let policy = common.cluster.spec().policy;
        let balancer = Balancer::new(policy, 0.0, &[], &[], common.worker as u64);
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
            let host = hosts.iter().find(|host| {
                host.endpoint().address == pinned.address && host.endpoint().is_healthy()
            });
            if host.is_some() || pinned.is_strict {
                return host.map(Rc::clone);
            }
        }
        let active = |index: usize| {
            hosts
                .get(index)
                .map_or(0, |host| host.endpoint().counters.rq_active.get())
        };
        let mut attempts = wish.avoid.map_or(0, |avoid| avoid.attempts);
        loop {
            let index = view.balancer.pick(&mut view.random, active)?;
            if view.balancer.in_panic() {
                self.common.stats().lb_healthy_panic.inc();
            }
            let host = hosts.get(index)?;
            let is_unwanted = wish
                .avoid
                .is_some_and(|avoid| (avoid.is_unwanted)(host.endpoint()));
            if attempts == 0 || !is_unwanted {
                return Some(Rc::clone(host));
            }
            attempts -= 1;
        }
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
        let spec = cluster.spec();
        let weights: Vec<u32> = set
            .endpoints
            .iter()
            .map(|endpoint| endpoint.weight())
            .collect();
        let mut view = self.view.borrow_mut();
        let picks = view.balancer.picks();
        view.balancer = Balancer::new(
            spec.policy,
            spec.panic_threshold,
            &weights,
            &set.healthy,
            picks,
        );
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
