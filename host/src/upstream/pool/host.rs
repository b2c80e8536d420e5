//! One worker's connections to one endpoint, and the requests that wait for them.
//!
//! Owns, for each priority, the idle connections, the first-come-first-served queue of pending
//! requests, and how connections are added. Whenever requests wait, either as many connections are
//! being opened as are needed, or a task stands in the breaker's queue for them, or the limit is 0.
//!
//! Does not own: the choice of the endpoint (`cluster`) and what a connection is (`http1`,
//! `http2`).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use tokio::sync::{Notify, oneshot};

use super::account::{Permit, PoolPermit};
use super::cluster::{ClusterPool, Common};
use super::grow::{OpenError, grow_in_turn, open};
use super::http1::{Http1Connection, Http1Lease};
use super::http2::{self, Http2Connection, Http2Lease, Reserved, Slot};
use super::lease::{Grant, Lease};
use super::load::{Load, PRECONNECTED_AT_ONCE};
use crate::limits;
use crate::tls::Inside;
use crate::upstream::balance::layout::State;
use crate::upstream::breaker::{HostPermit, Resource};
use crate::upstream::connect::Order;
use crate::upstream::demand::Demand;
use crate::upstream::endpoint::{Endpoint, Health};
use crate::upstream::error::{Error, ErrorKind, again, is_own_fault};
use crate::upstream::outlier::Report;
use crate::upstream::spec::{Priority, Protocol};

/// See the module's page.
pub(super) struct Host {
    common: Rc<Common>,
    endpoint: Arc<Endpoint>,
    /// What its requests ask for besides.
    demand: Demand,
    /// Whether discovery dropped the endpoint.
    removed: Cell<bool>,
    /// Whether the endpoint was failing when it was looked at last.
    failing: Cell<bool>,
    /// Goes up when connections that are open now are to get no more requests.
    epoch: Cell<u32>,
    /// Whether the endpoint has last chosen HTTP/2; none while it has not chosen.
    chosen_http2: Cell<Option<bool>>,
    /// Tells connections for bytes that the endpoint fails, where they are to end then.
    failed: Notify,
    pub(super) queues: [Queue; 2],
}

/// What a host has for one priority.
#[derive(Default)]
pub(super) struct Queue {
    /// HTTP/1 connections without a request, longest idle first.
    pub(super) idle: RefCell<VecDeque<Box<Http1Connection>>>,
    /// HTTP/2 connections that take new streams.
    pub(super) multiplexed: RefCell<Vec<Rc<Http2Connection>>>,
    /// Requests without a connection, first come first.
    waiters: RefCell<VecDeque<Waiter>>,
    next_ticket: Cell<u64>,
    /// Connections that are being opened.
    pub(super) connecting: Cell<u32>,
    /// Requests that have a connection.
    active: Cell<u32>,
    /// Whether a task stands in a queue for a connection, and in which.
    pub(super) growing: Cell<Growing>,
    /// The place among the pools, while there are connections or requests.
    place: RefCell<Weak<PoolPermit>>,
    /// Tells that task that fewer connections may be needed.
    pub(super) shrunk: Notify,
}

/// In which queue a host stands for a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Growing {
    /// In none.
    #[default]
    No,
    /// In that of the endpoint.
    AtHost,
    /// In that of the cluster.
    AtCluster,
}

struct Waiter {
    ticket: u64,
    to: oneshot::Sender<Result<Ready, Error>>,
}

/// A connection, or a place on one, that a request can have at once.
pub(super) enum Ready {
    Http1(Box<Http1Connection>),
    Http2(Slot),
}

/// What came of opening a connection.
pub(super) enum Opened {
    Http1(Box<Http1Connection>),
    Http2(Rc<Http2Connection>),
}

impl Host {
    pub(super) fn new(common: Rc<Common>, endpoint: Arc<Endpoint>, demand: Demand) -> Self {
        let failing = Cell::new(is_failing(&endpoint));
        Self {
            common,
            endpoint,
            demand,
            removed: Cell::new(false),
            failing,
            epoch: Cell::new(0),
            chosen_http2: Cell::new(None),
            failed: Notify::new(),
            queues: Default::default(),
        }
    }

    pub(super) const fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    #[inline]
    pub(super) fn common(&self) -> &Common {
        &self.common
    }

    pub(super) const fn queue(&self, priority: Priority) -> &Queue {
        priority.of(&self.queues)
    }

    /// Connections that are opened now belong to it; those of an earlier one get no more requests.
    pub(super) const fn epoch(&self) -> u32 {
        self.epoch.get()
    }

    /// Waits until the endpoint fails; for ever where connections go on then.
    pub(super) async fn failed(&self) {
        self.failed.notified().await;
    }

    /// Ends what is to end when an endpoint begins to fail.
    pub(super) fn follow_health(&self) {
        let failing = is_failing(&self.endpoint);
        if failing && !self.failing.replace(failing) {
            self.renew();
            if self.common.cluster.spec().closes_on_failure {
                self.failed.notify_waiters();
            }
        }
        self.failing.set(failing);
    }

    /// Has connections that are open now get no more requests.
    pub(super) fn renew(&self) {
        self.epoch.set(self.epoch.get().wrapping_add(1));
        self.close_idle();
    }

    /// Whether HTTP/2 is spoken; none where the endpoint chooses and has not chosen yet.
    pub(super) fn speaks_http2(&self) -> Option<bool> {
        match self.common.cluster.spec().protocol {
            Protocol::Http1 => Some(false),
            Protocol::Http2(_) => Some(true),
            Protocol::Negotiated(_) => self.chosen_http2.get(),
            Protocol::AsClient(_) => Some(self.demand.http2 == Some(true)),
        }
    }

    /// Notes what the endpoint has chosen.
    pub(super) fn has_chosen(&self, http2: bool) {
        self.chosen_http2.set(Some(http2));
    }

    /// What is wanted of a connection.
    pub(super) fn order(&self, inside: Inside) -> Order {
        Order {
            cluster: Arc::clone(&self.common.cluster),
            endpoint: Arc::clone(&self.endpoint),
            demand: self.demand.clone(),
            inside,
            alpn: None,
            worker: self.common.worker,
        }
    }

    /// Whether connections are closed rather than kept.
    pub(super) fn is_closing(&self) -> bool {
        self.removed.get() || self.common.closed.get()
    }

    /// A connection for one request: an idle one, or the first that comes free or up.
    pub(super) async fn acquire(
        self: Rc<Self>,
        pool: &ClusterPool,
        priority: Priority,
    ) -> Result<Lease, Error> {
        if let Some(ready) = self.take_ready(priority) {
            let lease = self.attach(priority, ready);
            self.preconnect(priority);
            return lease;
        }
        for resource in [Resource::Connections, Resource::ConnectionsOfHost] {
            if self.common.cluster.breaker(priority).limit(resource) == 0 {
                self.common.stats().upstream_cx_overflow.inc();
                return Err(self.error(ErrorKind::Overflow(resource)));
            }
        }
        let _place = self.place(priority)?;
        let wait = self.enqueue(priority)?;
        self.grow(pool, priority);
        let ready = wait.ready().await?;
        self.attach(priority, ready)
    }

    /// Makes a lease of a connection, if `max_requests` allows.
    fn attach(self: &Rc<Self>, priority: Priority, ready: Ready) -> Result<Lease, Error> {
        let Some(grant) = Grant::take(self, priority) else {
            self.put_back(priority, ready);
            self.endpoint.counters.rq_error.inc();
            return Err(self.error(ErrorKind::Overflow(Resource::Requests)));
        };
        self.common
            .cluster
            .report(&self.endpoint, Report::Connected);
        Ok(match ready {
            Ready::Http1(connection) => Lease::Http1(Http1Lease::new(connection, grant)),
            Ready::Http2(slot) => Lease::Http2(Http2Lease::new(slot, grant)),
        })
    }

    pub(super) fn error(&self, kind: ErrorKind) -> Error {
        let cluster = Arc::clone(&self.common.cluster.name);
        Error {
            kind,
            cluster,
            endpoint: Some(Arc::clone(&self.endpoint)),
        }
    }

    /// The pool's place among the pools of the cluster, where these are limited.
    pub(super) fn place(&self, priority: Priority) -> Result<Option<Rc<PoolPermit>>, Error> {
        let cluster = &self.common.cluster;
        if cluster.breaker(priority).limit(Resource::Pools) == u64::MAX {
            return Ok(None);
        }
        let mut place = self.queue(priority).place.borrow_mut();
        if let Some(held) = place.upgrade() {
            return Ok(Some(held));
        }
        let Some(taken) = PoolPermit::take(cluster, priority) else {
            self.common.stats().upstream_cx_pool_overflow.inc();
            return Err(self.error(ErrorKind::Overflow(Resource::Pools)));
        };
        *place = Rc::downgrade(&taken);
        Ok(Some(taken))
    }

    /// What is free now, unless somebody already waits for it.
    fn take_ready(self: &Rc<Self>, priority: Priority) -> Option<Ready> {
        if !self.queue(priority).waiters.borrow().is_empty() {
            return None;
        }
        match self.speaks_http2() {
            Some(false) => self.take_idle(priority).map(Ready::Http1),
            Some(true) => self.reserve(priority).map(Ready::Http2),
            None => None,
        }
    }

    fn take_idle(&self, priority: Priority) -> Option<Box<Http1Connection>> {
        loop {
            // Last in, first out: the others may reach their idle timeout.
            let mut connection = self.queue(priority).idle.borrow_mut().pop_back()?;
            if connection.account.is_old() {
                self.common.stats().upstream_cx_max_duration_reached.inc();
            } else if connection.is_quiet() {
                return Some(connection);
            }
        }
    }

    fn reserve(self: &Rc<Self>, priority: Priority) -> Option<Slot> {
        let mut at = 0;
        loop {
            // The list is not held on to: what a dead connection lets go of may come back here.
            let connection = self
                .queue(priority)
                .multiplexed
                .borrow()
                .get(at)
                .map(Rc::clone)?;
            match http2::reserve(self, priority, &connection) {
                Reserved::Slot(slot) => return Some(slot),
                Reserved::Busy => at += 1,
                // Another one takes its place in the list.
                Reserved::Dead => self.forget(priority, connection.id()),
            }
        }
    }

    /// Takes a place in the queue.
    fn enqueue<'a>(self: &'a Rc<Self>, priority: Priority) -> Result<Wait<'a>, Error> {
        let stats = self.common.stats();
        if !self.common.cluster.breaker(priority).try_pending() {
            stats.upstream_rq_pending_overflow.inc();
            return Err(self.error(ErrorKind::Overflow(Resource::Pending)));
        }
        stats.upstream_rq_pending_total.inc();
        stats.upstream_rq_pending_active.inc();
        self.endpoint.counters.rq_pending_active.inc();
        let queue = self.queue(priority);
        let ticket = queue.next_ticket.get();
        queue.next_ticket.set(ticket + 1);
        let (to, from) = oneshot::channel();
        queue.waiters.borrow_mut().push_back(Waiter { ticket, to });
        Ok(Wait {
            host: self,
            priority,
            ticket,
            from,
            is_over: false,
        })
    }

    /// Whether more requests wait than connections on their way can take.
    pub(super) fn wants_connection(&self, priority: Priority) -> bool {
        let queue = self.queue(priority);
        let each = self.requests_of_connection();
        queue.waiters.borrow().len() > (queue.connecting.get() as usize).saturating_mul(each)
    }

    /// How many requests a connection takes at once. As in Envoy, one that may turn out to speak either
    /// HTTP is taken for one of HTTP/1 at first.
    fn requests_of_connection(&self) -> usize {
        match (
            self.speaks_http2(),
            self.common.cluster.spec().http2_settings(),
        ) {
            (Some(true), Some(settings)) => settings.max_concurrent_streams.max(1) as usize,
            _ => 1,
        }
    }

    /// How busy it is.
    pub(super) fn load(&self, priority: Priority) -> Load {
        let queue = self.queue(priority);
        let each = self.requests_of_connection();
        let connections = queue.multiplexed.borrow();
        let free = connections.iter().map(|connection| connection.room());
        Load {
            pending: queue.waiters.borrow().len() as u64,
            active: queue.active.get().into(),
            free: queue.idle.borrow().len() as u64 + free.sum::<u64>(),
            coming: (queue.connecting.get() as usize).saturating_mul(each) as u64,
        }
    }

    /// Counts the requests that have a connection.
    pub(super) fn count_active(&self, priority: Priority, change: i32) {
        let active = &self.queue(priority).active;
        active.set(active.get().saturating_add_signed(change));
    }

    /// Opens connections ahead of need, where `per_upstream_preconnect_ratio` wants them.
    fn preconnect(self: &Rc<Self>, priority: Priority) {
        let ratio = self.common.cluster.spec().preconnect.per_upstream;
        if ratio <= 1.0 || self.endpoint.state() != State::Healthy {
            return;
        }
        for _ in 0..PRECONNECTED_AT_ONCE {
            if !self.load(priority).wants_more(ratio, 0) || !self.start_spare(priority) {
                return;
            }
        }
    }

    /// Opens a connection for a request to come, where `ratio` wants one; whether it does.
    pub(super) fn preconnect_for_next(self: &Rc<Self>, ratio: f64) -> bool {
        let priority = Priority::Default;
        let mut load = self.load(priority);
        load.free = 0;
        self.endpoint.state() == State::Healthy
            && load.wants_more(ratio, 1)
            && self.start_spare(priority)
    }

    /// Starts a connection that nobody waits for; false where a limit is in the way.
    fn start_spare(self: &Rc<Self>, priority: Priority) -> bool {
        let breaker = self.common.cluster.breaker(priority);
        let Ok(host) = self.host_permit(priority) else {
            return false;
        };
        let (Some(cluster), Ok(pool)) = (breaker.spare_connection(), self.place(priority)) else {
            return false;
        };
        self.start(
            priority,
            Permit {
                _cluster: cluster,
                _host: host,
                _pool: pool,
            },
        );
        true
    }

    /// One of the endpoint's connections, where these are limited; an error where there is none left.
    pub(super) fn host_permit(&self, priority: Priority) -> Result<Option<HostPermit>, Full> {
        let breaker = self.common.cluster.breaker(priority);
        let limit = breaker.thresholds().max_connections_of_host;
        let (Some(gates), Some(limit)) = (&self.endpoint.gates, limit) else {
            return Ok(None);
        };
        gates.try_enter(priority, limit).map(Some).ok_or(Full)
    }

    /// Opens what connections are needed, or queues for them.
    fn grow(self: &Rc<Self>, pool: &ClusterPool, priority: Priority) {
        let breaker = self.common.cluster.breaker(priority);
        while self.wants_connection(priority) {
            let Ok(host) = self.host_permit(priority) else {
                breaker.overflow(Resource::ConnectionsOfHost);
                self.common.stats().upstream_cx_overflow.inc();
                self.queue_for_connections(priority);
                return;
            };
            if let Some(cluster) = breaker.try_connection() {
                let permit = Permit {
                    _cluster: cluster,
                    _host: host,
                    // There is one: a request waits.
                    _pool: self.place(priority).ok().flatten(),
                };
                self.start(priority, permit);
                continue;
            }
            drop(host);
            // Our own idle connection to another endpoint makes room at once, but only where
            // nobody else would get the place.
            if breaker.waiting() > 0 || !pool.evict_idle(priority) {
                self.common.stats().upstream_cx_overflow.inc();
                self.queue_for_connections(priority);
                return;
            }
        }
        self.preconnect(priority);
    }

    fn queue_for_connections(self: &Rc<Self>, priority: Priority) {
        let growing = &self.queue(priority).growing;
        if growing.get() == Growing::No {
            growing.set(Growing::AtHost);
            tokio::task::spawn_local(grow_in_turn(Rc::clone(self), priority));
        }
    }

    pub(super) fn start(self: &Rc<Self>, priority: Priority, permit: Permit) {
        let connecting = &self.queue(priority).connecting;
        connecting.set(connecting.get() + 1);
        tokio::task::spawn_local(open(Rc::clone(self), priority, permit));
    }

    /// Gives requests that wait what the connections have, and sees to it that the others will
    /// have something.
    pub(super) fn serve_waiters(self: &Rc<Self>, priority: Priority) {
        while !self.queue(priority).waiters.borrow().is_empty() {
            let Some(slot) = self.reserve(priority) else {
                break;
            };
            if let Some(left) = self.deliver(priority, Ready::Http2(slot)) {
                drop(left);
            }
        }
        if self.wants_connection(priority) {
            self.queue_for_connections(priority);
        }
    }

    /// Gives a connection to the request that has waited longest; back comes what nobody wanted.
    fn deliver(&self, priority: Priority, mut ready: Ready) -> Option<Ready> {
        let queue = self.queue(priority);
        loop {
            let Some(waiter) = queue.waiters.borrow_mut().pop_front() else {
                return Some(ready);
            };
            queue.shrunk.notify_one();
            match waiter.to.send(Ok(ready)) {
                Ok(()) => return None,
                Err(Ok(back)) => ready = back,
                Err(Err(_)) => return None,
            }
        }
    }

    /// Takes a connection from a request that is over.
    pub(super) fn give_back(&self, priority: Priority, mut connection: Box<Http1Connection>) {
        if connection.account.is_old() {
            self.common.stats().upstream_cx_max_duration_reached.inc();
            return;
        }
        let max_requests = self.common.cluster.spec().max_requests_per_connection;
        if connection.epoch != self.epoch.get() {
            return;
        }
        if !connection.is_reusable(max_requests) {
            if max_requests.is_some_and(|most| connection.account.requests >= most.get()) {
                self.common.stats().upstream_cx_max_requests.inc();
            }
            return;
        }
        connection.handoffs = if self.is_awaited_elsewhere(priority) {
            connection.handoffs + 1
        } else {
            0
        };
        if connection.handoffs <= limits::HANDOFFS_WHILE_AWAITED {
            self.put_back(priority, Ready::Http1(connection));
        }
    }

    /// Passes a connection on to who waits here, or keeps it unless somebody waits elsewhere.
    fn put_back(&self, priority: Priority, ready: Ready) {
        // An HTTP/2 place that nobody wants goes back to its connection by being dropped.
        if let Some(Ready::Http1(mut connection)) = self.deliver(priority, ready)
            && !self.is_closing()
            && !self.is_awaited_elsewhere(priority)
        {
            connection.rest();
            self.queue(priority).idle.borrow_mut().push_back(connection);
            self.common.watch.came_to_rest();
        }
    }

    /// Whether other hosts, here or in other workers, wait for a connection to be closed.
    fn is_awaited_elsewhere(&self, priority: Priority) -> bool {
        let growing = self.queue(priority).growing.get();
        let own = |at| usize::from(growing == at);
        let gates = self.endpoint.gates.as_ref();
        self.common.cluster.breaker(priority).waiting() > own(Growing::AtCluster)
            || gates.is_some_and(|gates| gates.waiting(priority) > own(Growing::AtHost))
    }

    /// Closes an idle connection for each host, in whichever worker, that waits for one to the same
    /// endpoint.
    pub(super) fn evict_for_waiters(&self, priority: Priority) {
        let gates = self.endpoint.gates.as_ref();
        let waiting = gates.map_or(0, |gates| gates.waiting(priority));
        for _ in 0..waiting {
            if !self.evict_idle(priority) {
                break;
            }
        }
    }

    /// Whether it has neither connections nor requests, or its client has gone: then what is idle is
    /// closed.
    pub(super) fn is_unused(&self) -> bool {
        if self.demand.is_over() {
            self.close_idle();
        }
        self.queues.iter().all(|queue| {
            queue.idle.borrow().is_empty()
                && queue.multiplexed.borrow().is_empty()
                && queue.waiters.borrow().is_empty()
                && queue.connecting.get() == 0
        })
    }

    /// A connection has come up.
    pub(super) fn opened(self: &Rc<Self>, priority: Priority, opened: Opened) {
        match opened {
            Opened::Http1(connection) => self.put_back(priority, Ready::Http1(connection)),
            Opened::Http2(connection) => {
                let queue = self.queue(priority);
                queue.multiplexed.borrow_mut().push(Rc::clone(&connection));
                self.settle(priority, &connection);
            }
        }
        self.serve_waiters(priority);
    }

    /// A connection has not come up: as in Envoy nobody goes on waiting for this endpoint.
    pub(super) fn open_failed(&self, priority: Priority, failure: &OpenError) {
        let waiters = std::mem::take(&mut *self.queue(priority).waiters.borrow_mut());
        self.queue(priority).shrunk.notify_one();
        let tells_of_endpoint = match failure {
            OpenError::TimedOut => true,
            OpenError::Failed(cause) => !is_own_fault(cause),
        };
        for waiter in waiters {
            let kind = match failure {
                OpenError::TimedOut => ErrorKind::ConnectTimeout,
                OpenError::Failed(cause) => ErrorKind::ConnectFailure(again(cause)),
            };
            self.common.stats().upstream_rq_pending_failure_eject.inc();
            self.endpoint.counters.rq_error.inc();
            if tells_of_endpoint {
                self.common.cluster.report(&self.endpoint, Report::Failed);
            }
            // A request that is gone does not care.
            let _ = waiter.to.send(Err(self.error(kind)));
        }
    }

    /// Takes a connection out of those that get new streams.
    pub(super) fn forget(&self, priority: Priority, id: u64) {
        let mut connections = self.queue(priority).multiplexed.borrow_mut();
        let at = connections
            .iter()
            .position(|connection| connection.id() == id);
        let forgotten = at.map(|at| connections.swap_remove(at));
        drop(connections);
        if let Some(connection) = forgotten {
            connection.drain();
        }
    }

    /// Fills the free places of `connection`, or lets go of it if it should not stay idle.
    pub(super) fn settle(self: &Rc<Self>, priority: Priority, connection: &Http2Connection) {
        self.serve_waiters(priority);
        let must_go =
            self.is_closing() || connection.is_draining() || self.is_awaited_elsewhere(priority);
        if connection.is_idle() && must_go {
            self.forget(priority, connection.id());
        }
    }

    /// The endpoint is no longer one of the cluster's.
    pub(super) fn remove(&self) {
        self.removed.set(true);
        self.close_idle();
    }

    pub(super) fn close_idle(&self) {
        for queue in &self.queues {
            let idle = std::mem::take(&mut *queue.idle.borrow_mut());
            drop(idle);
            let multiplexed = std::mem::take(&mut *queue.multiplexed.borrow_mut());
            for connection in multiplexed {
                connection.drain();
            }
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("address", &self.endpoint.address)
            .finish_non_exhaustive()
    }
}

/// A request's place in the queue. Dropping it leaves the queue.
struct Wait<'a> {
    host: &'a Rc<Host>,
    priority: Priority,
    ticket: u64,
    from: oneshot::Receiver<Result<Ready, Error>>,
    is_over: bool,
}

impl Wait<'_> {
    async fn ready(mut self) -> Result<Ready, Error> {
        let ready = (&mut self.from).await;
        self.is_over = true;
        ready.unwrap_or_else(|_| {
            // The queue itself is gone, with the worker's runtime.
            let gone = io::ErrorKind::ConnectionAborted;
            Err(self.host.error(ErrorKind::ConnectFailure(gone.into())))
        })
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let Host {
            common, endpoint, ..
        } = &**self.host;
        common.cluster.breaker(self.priority).give_back_pending();
        common.stats().upstream_rq_pending_active.dec();
        endpoint.counters.rq_pending_active.dec();
        if self.is_over {
            return;
        }
        common.stats().upstream_rq_cancelled.inc();
        let queue = self.host.queue(self.priority);
        let mut waiters = queue.waiters.borrow_mut();
        if let Ok(at) = waiters.binary_search_by_key(&self.ticket, |waiter| waiter.ticket) {
            waiters.remove(at);
        }
        drop(waiters);
        queue.shrunk.notify_one();
        if let Ok(Ok(ready)) = self.from.try_recv() {
            self.host.put_back(self.priority, ready);
        }
    }
}

/// Whether an endpoint fails its checks, or what it answers has it left out.
fn is_failing(endpoint: &Endpoint) -> bool {
    let flags = Health::FAILED_ACTIVE_HC | Health::FAILED_OUTLIER_CHECK;
    endpoint.health().has(flags) && !endpoint.is_awaiting_check()
}

/// An endpoint has as many connections as it may have.
#[derive(Debug)]
pub(super) struct Full;
