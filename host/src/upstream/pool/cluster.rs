//! One worker's pool of one cluster: its view of the endpoints, and a host for each.
//!
//! Owns the balancer and the hosts, and rebuilds them when the cluster has published. Called by
//! `Pools`. Does not own: connections, which are the hosts'.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::time::Instant;

use super::Shared;
use super::host::Host;
use super::load::{Load, PRECONNECTED_AT_ONCE};
use super::watch::Watch;
use crate::address::Address;
use crate::clock;
use crate::upstream::balance::layout::State;
use crate::upstream::balance::{Balancer, Busy, Hosts, Note, Random};
use crate::upstream::cluster::Cluster;
use crate::upstream::connect::Connect;
use crate::upstream::demand::Demand;
use crate::upstream::destination::Destinations;
use crate::upstream::endpoint::{Endpoint, Health};
use crate::upstream::spec::{Priority, SlowStart};
use crate::upstream::stats::{ClusterStats, Http2Stats};
use crate::upstream::wish::{Avoid, Named, Pinned, Wish};

/// What a cluster's hosts in one worker have in common.
pub(super) struct Common {
    pub(super) cluster: Arc<Cluster>,
    pub(super) worker: usize,
    pub(super) connector: Rc<dyn Connect>,
    pub(super) shared: Arc<Shared>,
    pub(super) watch: Rc<Watch>,
    /// Whether connections are to be closed instead of kept.
    pub(super) closed: Cell<bool>,
}

impl Common {
    #[inline]
    pub(super) fn stats(&self) -> &ClusterStats {
        self.cluster.stats(self.worker)
    }

    pub(super) fn http2_stats(&self) -> Option<&Http2Stats> {
        self.cluster.http2_stats(self.worker)
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
    /// Indices of `hosts` by address, for requests that name one.
    places: HashMap<Address, usize>,
    /// Those of requests that ask for more than an endpoint, by its identity.
    demanded: HashMap<(u64, Demand), Rc<Host>>,
    /// Endpoints that were chosen for requests to come, in order.
    ahead: VecDeque<u32>,
}

impl View {
    /// All hosts.
    fn all(&self) -> impl Iterator<Item = &Rc<Host>> {
        self.hosts.iter().chain(self.demanded.values())
    }
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
            places: HashMap::new(),
            demanded: HashMap::new(),
            ahead: VecDeque::new(),
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
        if let Some(pinned) = wish.pinned {
            let host = self.pinned(view, pinned);
            if host.is_some() || pinned.is_strict {
                return host.map(|host| self.for_demand(view, host, wish.demand));
            }
        }
        if let Some(named) = wish.named
            && let Some(host) = named_host(view, named)
        {
            return Some(self.for_demand(view, host, wish.demand));
        }
        if let Some(destinations) = self.common.cluster.destinations() {
            let host = self.destined(view, destinations, wish.destination?)?;
            return Some(self.for_demand(view, host, wish.demand));
        }
        let index = match view.ahead.pop_front() {
            Some(index) if wish.takes_any() => index,
            _ => self.choose(view, wish)?,
        };
        let host = Rc::clone(view.hosts.get(index as usize)?);
        Some(self.for_demand(view, host, wish.demand))
    }

    /// The host at the address that the request names, whatever its health, as in Envoy.
    fn destined(
        &self,
        view: &mut View,
        destinations: &Destinations,
        to: SocketAddr,
    ) -> Option<Rc<Host>> {
        let address = Address::Ip(to);
        let known = view.places.get(&address);
        if let Some(host) = known.and_then(|place| view.hosts.get(*place)) {
            host.endpoint().note_chosen();
            return Some(Rc::clone(host));
        }
        let endpoint = destinations.endpoint(to)?;
        endpoint.note_chosen();
        let common = Rc::clone(&self.common);
        let host = Rc::new(Host::new(common, endpoint, Demand::default()));
        view.places.insert(address, view.hosts.len());
        view.hosts.push(Rc::clone(&host));
        Some(host)
    }

    /// The index of the host that the balancer chooses.
    fn choose(&self, view: &mut View, wish: &Wish<'_>) -> Option<u32> {
        let hosts = &view.hosts;
        let slow_start = view.balancer.slow_start();
        let asked = Asked {
            hosts,
            common: &self.common,
            avoid: wish.avoid,
            slow_start: slow_start.map(|settings| (settings, clock::now())),
        };
        view.balancer.pick(&mut view.random, wish, &asked)
    }

    /// The host, or the one beside it whose connections are such as the request asks for.
    fn for_demand(&self, view: &mut View, host: Rc<Host>, demand: Option<&Demand>) -> Rc<Host> {
        let Some(demand) = demand else { return host };
        let endpoint = host.endpoint();
        let key = (endpoint.id, demand.clone());
        let host = view.demanded.entry(key).or_insert_with(|| {
            let (common, endpoint) = (Rc::clone(&self.common), Arc::clone(endpoint));
            Rc::new(Host::new(common, endpoint, demand.clone()))
        });
        Rc::clone(host)
    }

    /// Opens connections to the endpoints that come next, where `predictive_preconnect_ratio` wants
    /// them: before a request comes.
    pub(super) fn preconnect(&self) {
        let ratio = self.cluster().spec().preconnect.predictive;
        // Nobody knows which endpoint the next request will name.
        if ratio <= 1.0 || self.cluster().destinations().is_some() {
            return;
        }
        for _ in 0..PRECONNECTED_AT_ONCE {
            let view = &mut *self.view.borrow_mut();
            let mut load = Load::default();
            for host in view.all() {
                load.add(&host.load(Priority::Default));
            }
            if !load.wants_more(ratio, 1) {
                return;
            }
            let Some(index) = self.choose(view, &Wish::default()) else {
                return;
            };
            view.ahead.push_back(index);
            let Some(host) = view.hosts.get(index as usize).map(Rc::clone) else {
                return;
            };
            if !host.preconnect_for_next(ratio) {
                return;
            }
        }
    }

    /// The host that a request is pinned to, if its health allows that.
    fn pinned(&self, view: &View, pinned: Pinned<'_>) -> Option<Rc<Host>> {
        let pinnable = self.common.cluster.spec().balancing.pinnable;
        let place = view.places.get(pinned.address)?;
        let host = view.hosts.get(*place)?;
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
        // Where requests name endpoints, a worker has those that its own have named.
        let named = cluster.destinations().map(|destinations| {
            let view = self.view.borrow();
            let own = view.hosts.iter().map(|host| Arc::clone(host.endpoint()));
            let mut own = own.collect();
            destinations.keep_known(&mut own);
            own
        });
        let endpoints = named.as_ref().unwrap_or(&set.endpoints);
        let slow_start = set.plan.slow_start();
        let is_slow = slow_start.is_some_and(|slow_start| {
            let now = clock::now();
            let mut ages = endpoints.iter().map(|e| e.healthy_for(now));
            ages.any(|age| age < slow_start.window)
        });
        let renews = cluster.spec().renews_on_change;
        let mut view = self.view.borrow_mut();
        let picks = view.balancer.picks();
        view.balancer = Balancer::new(Arc::clone(&set.plan), picks, is_slow);
        view.generation = Some(set.generation);
        let mut known: HashMap<u64, Rc<Host>> = view
            .hosts
            .drain(..)
            .map(|host| (host.endpoint().id, host))
            .collect();
        view.hosts = endpoints
            .iter()
            .map(|endpoint| {
                known.remove(&endpoint.id).unwrap_or_else(|| {
                    let (common, endpoint) = (Rc::clone(&self.common), Arc::clone(endpoint));
                    Rc::new(Host::new(common, endpoint, Demand::default()))
                })
            })
            .collect();
        view.ahead.clear();
        view.places.clear();
        for (place, endpoint) in endpoints.iter().enumerate() {
            view.places.entry(endpoint.address.clone()).or_insert(place);
        }
        let demanded = std::mem::take(&mut view.demanded);
        let (kept, gone) = demanded
            .into_iter()
            .partition(|((id, _), _)| !known.contains_key(id));
        view.demanded = kept;
        let gone: HashMap<(u64, Demand), Rc<Host>> = gone;
        let here: Vec<Rc<Host>> = view.all().map(Rc::clone).collect();
        drop(view);
        for host in known.into_values().chain(gone.into_values()) {
            host.remove();
        }
        for host in here {
            host.follow_health();
            if renews {
                host.renew();
            }
        }
    }

    pub(super) fn close(&self) {
        self.common.closed.set(true);
        for host in self.hosts() {
            host.close_idle();
        }
    }

    /// Closes idle connections that their peers have ended, and has the others tell. How many connections and
    /// hosts were looked at.
    pub(super) fn watch_idle(&self, cx: &mut Context<'_>) -> u32 {
        let looked = self.hosts().into_iter().map(|host| host.watch_idle(cx));
        looked.fold(0, u32::saturating_add)
    }

    /// When the first connection is to be closed for its age, or because it is idle.
    pub(super) fn due(&self) -> Option<Instant> {
        let view = self.view.borrow();
        view.all().filter_map(|host| host.due()).min()
    }

    pub(super) fn sweep(&self, now: Instant) {
        self.refresh();
        self.cluster().recall_waiters();
        for host in self.hosts() {
            host.sweep(now);
        }
        let mut view = self.view.borrow_mut();
        // Nobody holds on to one but requests, which keep it.
        view.demanded
            .retain(|_, host| !host.is_unused() || Rc::strong_count(host) > 1);
    }

    /// Closes the connection of `priority` that has been idle longest, whichever host it leads to.
    pub(super) fn evict_idle(&self, priority: Priority) -> bool {
        let hosts = self.view.borrow();
        let longest = hosts
            .all()
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
            if self.cluster().spec().limits_hosts() {
                for host in self.hosts() {
                    host.evict_for_waiters(priority);
                }
            }
        }
    }

    fn hosts(&self) -> Vec<Rc<Host>> {
        self.view.borrow().all().map(Rc::clone).collect()
    }
}

/// The host that comes next of those that a request names. As in Envoy its health does not matter.
fn named_host(view: &View, named: Named<'_>) -> Option<Rc<Host>> {
    let places = named.addresses.iter();
    let mut there = places.filter_map(|address| view.hosts.get(*view.places.get(address)?));
    there.nth(named.skip).map(Rc::clone)
}
