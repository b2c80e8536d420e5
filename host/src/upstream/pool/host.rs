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
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Notify, oneshot};

use super::account::{Account, Carries};
use super::cluster::{ClusterPool, Common};
use super::http1::{Http1Connection, Http1Lease};
use super::http2::{self, Http2Connection, Http2Lease, Reserved, Slot};
use super::lease::{Grant, Lease};
use crate::limits;
use crate::socket::Socket;
use crate::upstream::breaker::{ConnectionPermit, Resource};
use crate::upstream::endpoint::Endpoint;
use crate::upstream::error::{Error, ErrorKind, again};
use crate::upstream::outlier::Report;
use crate::upstream::spec::{Priority, Protocol};

/// See the module's page.
pub(super) struct Host {
    common: Rc<Common>,
    endpoint: Arc<Endpoint>,
    /// Whether discovery dropped the endpoint.
    removed: Cell<bool>,
    queues: [Queue; 2],
}

/// What a host has for one priority.
#[derive(Default)]
struct Queue {
    /// HTTP/1 connections without a request, longest idle first.
    idle: RefCell<VecDeque<Box<Http1Connection>>>,
    /// HTTP/2 connections that take new streams.
    multiplexed: RefCell<Vec<Rc<Http2Connection>>>,
    /// Requests without a connection, first come first.
    waiters: RefCell<VecDeque<Waiter>>,
    next_ticket: Cell<u64>,
    /// Connections that are being opened.
    connecting: Cell<u32>,
    /// Whether a task stands in the breaker's queue for a connection.
    growing: Cell<bool>,
    /// Tells that task that fewer connections may be needed.
    shrunk: Notify,
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
enum Opened {
    Http1(Box<Http1Connection>),
    Http2(Rc<Http2Connection>),
}

impl Host {
    pub(super) fn new(common: Rc<Common>, endpoint: Arc<Endpoint>) -> Self {
        Self {
            common,
            endpoint,
            removed: Cell::new(false),
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

    const fn queue(&self, priority: Priority) -> &Queue {
        priority.of(&self.queues)
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
            return self.attach(priority, ready);
        }
        let breaker = self.common.cluster.breaker(priority);
        if breaker.limit(Resource::Connections) == 0 {
            self.common.stats().upstream_cx_overflow.inc();
            return Err(self.error(ErrorKind::Overflow(Resource::Connections)));
        }
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

    /// What is free now, unless somebody already waits for it.
    fn take_ready(self: &Rc<Self>, priority: Priority) -> Option<Ready> {
        if !self.queue(priority).waiters.borrow().is_empty() {
            return None;
        }
        match self.common.cluster.spec().protocol {
            Protocol::Http1 => self.take_idle(priority).map(Ready::Http1),
            Protocol::Http2(_) => self.reserve(priority).map(Ready::Http2),
        }
    }

    fn take_idle(&self, priority: Priority) -> Option<Box<Http1Connection>> {
        loop {
            // Last in, first out: the others may reach their idle timeout.
            let mut connection = self.queue(priority).idle.borrow_mut().pop_back()?;
            if connection.is_quiet() {
                return Some(connection);
            }
        }
    }

    fn reserve(self: &Rc<Self>, priority: Priority) -> Option<Slot> {
        let connections = self.queue(priority).multiplexed.borrow().clone();
        for connection in connections {
            match http2::reserve(self, priority, &connection) {
                Reserved::Slot(slot) => return Some(slot),
                Reserved::Busy => {}
                Reserved::Dead => self.forget(priority, connection.id()),
            }
        }
        None
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
    fn wants_connection(&self, priority: Priority) -> bool {
        let queue = self.queue(priority);
        let each = match self.common.cluster.spec().protocol {
            Protocol::Http1 => 1,
            Protocol::Http2(settings) => settings.max_concurrent_streams.max(1) as usize,
        };
        queue.waiters.borrow().len() > (queue.connecting.get() as usize).saturating_mul(each)
    }

    /// Opens what connections are needed, or queues for them.
    fn grow(self: &Rc<Self>, pool: &ClusterPool, priority: Priority) {
        let breaker = self.common.cluster.breaker(priority);
        while self.wants_connection(priority) {
            if let Some(permit) = breaker.try_connection() {
                self.start(priority, permit);
                continue;
            }
            // Our own idle connection to another endpoint makes room at once, but only where
            // nobody else would get the place.
            if breaker.waiting() > 0 || !pool.evict_idle(priority) {
                self.common.stats().upstream_cx_overflow.inc();
                self.queue_for_connections(priority);
                return;
            }
        }
    }

    fn queue_for_connections(self: &Rc<Self>, priority: Priority) {
        if !self.queue(priority).growing.replace(true) {
            tokio::task::spawn_local(grow_in_turn(Rc::clone(self), priority));
        }
    }

    fn start(self: &Rc<Self>, priority: Priority, permit: ConnectionPermit) {
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
        let max_requests = self.common.cluster.spec().max_requests_per_connection;
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
        }
    }

    /// Whether other hosts, here or in other workers, wait for a connection to be closed.
    fn is_awaited_elsewhere(&self, priority: Priority) -> bool {
        let own = usize::from(self.queue(priority).growing.get());
        self.common.cluster.breaker(priority).waiting() > own
    }

    /// A connection has come up.
    fn opened(self: &Rc<Self>, priority: Priority, opened: Opened) {
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
    fn failed(&self, priority: Priority, failure: &OpenError) {
        let waiters = std::mem::take(&mut *self.queue(priority).waiters.borrow_mut());
        self.queue(priority).shrunk.notify_one();
        for waiter in waiters {
            let kind = match failure {
                OpenError::TimedOut => ErrorKind::ConnectTimeout,
                OpenError::Failed(cause) => ErrorKind::ConnectFailure(again(cause)),
            };
            self.common.stats().upstream_rq_pending_failure_eject.inc();
            self.endpoint.counters.rq_error.inc();
            self.common.cluster.report(&self.endpoint, Report::Failed);
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

    /// Closes connections that are dead or were idle for too long.
    pub(super) fn sweep(self: &Rc<Self>, now: Instant) {
        let timeout = self.common.cluster.spec().idle_timeout;
        let expired = |since: Instant| {
            timeout.is_some_and(|timeout| now.saturating_duration_since(since) >= timeout)
        };
        for priority in Priority::ALL {
            let queue = self.queue(priority);
            let idle = std::mem::take(&mut *queue.idle.borrow_mut());
            let (mut kept, mut timed_out) = (VecDeque::with_capacity(idle.len()), 0);
            for mut connection in idle {
                if expired(connection.idle_since) {
                    timed_out += 1;
                } else if connection.is_quiet() {
                    kept.push_back(connection);
                }
            }
            *queue.idle.borrow_mut() = kept;
            let multiplexed = queue.multiplexed.borrow().clone();
            for connection in multiplexed {
                if connection.is_idle() && expired(connection.idle_since()) {
                    timed_out += 1;
                    self.forget(priority, connection.id());
                }
            }
            self.common.stats().upstream_cx_idle_timeout.add(timed_out);
            // A peer may have allowed more streams meanwhile.
            self.serve_waiters(priority);
        }
    }

    /// Since when the connection that has been idle longest is so.
    pub(super) fn idle_since(&self, priority: Priority) -> Option<Instant> {
        let queue = self.queue(priority);
        let http1 = queue
            .idle
            .borrow()
            .front()
            .map(|connection| connection.idle_since);
        let connections = queue.multiplexed.borrow();
        let idle = connections.iter().filter(|connection| connection.is_idle());
        http1.or_else(|| idle.map(|connection| connection.idle_since()).min())
    }

    /// Closes the connection that has been idle longest.
    pub(super) fn evict_idle(&self, priority: Priority) -> bool {
        let queue = self.queue(priority);
        if let Some(connection) = queue.idle.borrow_mut().pop_front() {
            drop(connection);
            return true;
        }
        let connections = queue.multiplexed.borrow();
        let idle = connections.iter().filter(|connection| connection.is_idle());
        let longest = idle
            .min_by_key(|connection| connection.idle_since())
            .map(|c| c.id());
        drop(connections);
        if let Some(id) = longest {
            self.forget(priority, id);
        }
        longest.is_some()
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

/// Stands in the breaker's queue for as long as `host` wants connections of `priority`.
async fn grow_in_turn(host: Rc<Host>, priority: Priority) {
    let queue = host.queue(priority);
    let waiting = host.common.cluster.breaker(priority).announce();
    while host.wants_connection(priority) {
        host.common.shared.nudge();
        let mut turn = pin!(waiting.connection());
        let permit = loop {
            tokio::select! {
                biased;
                permit = &mut turn => break permit,
                () = queue.shrunk.notified() => if !host.wants_connection(priority) { break None },
            }
        };
        if let Some(permit) = permit
            && host.wants_connection(priority)
        {
            host.start(priority, permit);
        }
    }
    queue.growing.set(false);
}

/// Why a connection did not come up.
enum OpenError {
    TimedOut,
    Failed(io::Error),
}

/// A socket that is ready for requests.
enum Transport {
    Http1(Socket),
    Http2(http2::Handshaken),
}

/// Opens a connection and gives it to the host.
async fn open(host: Rc<Host>, priority: Priority, permit: ConnectionPermit) {
    let mut account = Account::open(Rc::clone(&host), Carries::Requests, permit);
    let spec = host.common.cluster.spec();
    let connecting = host.common.connector.connect(&host.endpoint.now_at());
    let transport = async {
        let stream = connecting.await?;
        match &spec.protocol {
            Protocol::Http1 => Ok(Transport::Http1(stream)),
            Protocol::Http2(settings) => http2::handshake(stream, settings)
                .await
                .map(Transport::Http2),
        }
    };
    let result = match tokio::time::timeout(spec.connect_timeout, transport).await {
        Ok(result) => result.map_err(OpenError::Failed),
        Err(_) => Err(OpenError::TimedOut),
    };
    let connecting = &host.queue(priority).connecting;
    connecting.set(connecting.get() - 1);
    match result {
        Ok(Transport::Http1(stream)) => {
            account.connected();
            let connection = Box::new(Http1Connection::new(stream, account));
            host.opened(priority, Opened::Http1(connection));
        }
        Ok(Transport::Http2(handshaken)) => {
            account.connected();
            let connection = http2::start(priority, handshaken, account);
            host.opened(priority, Opened::Http2(connection));
        }
        Err(failure) => {
            account.failed(matches!(failure, OpenError::TimedOut));
            drop(account);
            host.failed(priority, &failure);
        }
    }
}
