//! A worker: one thread's own world.
//!
//! Owns what the requests of one thread share without locks: upstream pools, filter instances, the
//! current snapshot, the formatted date, randomness, and the drain signal. Does not own the thread
//! or its sockets (`server`, `listener`).

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use tokio::sync::Notify;

use crate::clock;
use crate::exchange::{Connection, Exchange, LogType, Protocol, Timing};
use crate::limits;
use crate::log_filter::LogFilter;
use crate::route::Scratch;
use crate::runtime::Snapshot;
use crate::upstream::Pools;
use crate::variant::Variant;
use crate::wasm::{FilterSlot, Instances, Phases, SlotState};

/// Connection and stream numbers, unique in the process. Workers take them in blocks.
static NEXT_ID: AtomicU64 = AtomicU64::new(0);
const ID_BLOCK: u64 = 1024;
/// How long both clocks are taken to go alike.
const CLOCKS_APART: Duration = Duration::from_secs(1);
/// Spare read buffers of a worker: idle connections hold none.
const BUFFERS_KEPT: usize = 128;
/// A buffer that grew beyond this is given back to the allocator.
const BUFFER_KEPT_MAX: usize = 64 * 1024;
/// Spare desks of a worker.
const DESKS_KEPT: usize = 128;
/// Connections that keep what they serve requests with while they have none for a moment.
const STAYING: usize = 128;

/// One thread's own world. See the module's page.
pub(crate) struct Worker {
    /// 0 to the number of workers.
    pub(crate) index: usize,
    /// Connections to upstreams.
    pub(crate) pools: Rc<Pools>,
    /// Instances of filters.
    pub(crate) filters: Instances,
    /// One for the life of the worker. Routes hold indices of its clusters, and connections the listeners that it had when
    /// they came: one that could take another's place would have to go with these, or their indices to say which
    /// snapshot they are of.
    snapshot: Arc<Snapshot>,
    random: RefCell<fastrand::Rng>,
    date: RefCell<Date>,
    /// Both clocks, read together.
    clocks: Cell<(Instant, SystemTime)>,
    next_id: Cell<u64>,
    drain: Drain,
    connections: Cell<usize>,
    staying: Cell<usize>,
    idle: Notify,
    buffers: RefCell<Vec<BytesMut>>,
    desks: RefCell<Vec<Desk>>,
    scratch: RefCell<Scratch>,
}

/// What one stream works on, kept for the next one.
pub(crate) struct Desk {
    /// The stream's data.
    pub(crate) exchange: Box<Exchange>,
    /// What its filters keep.
    pub(crate) states: Vec<SlotState>,
}

/// The `date` field's value, made once a second.
struct Date {
    second: u64,
    text: String,
}

/// Whether, and since when, the worker is going away.
#[derive(Default)]
pub(crate) struct Drain {
    since: Cell<Option<Instant>>,
    started: Notify,
}

impl Drain {
    /// When draining began.
    pub(crate) const fn since(&self) -> Option<Instant> {
        self.since.get()
    }

    /// Begins to drain.
    pub(crate) fn start(&self, now: Instant) {
        self.since.set(Some(now));
        self.started.notify_waiters();
    }

    /// Waits until draining begins.
    pub(crate) async fn started(&self) {
        let started = self.started.notified();
        if self.since.get().is_none() {
            started.await;
        }
    }
}

impl Worker {
    /// A worker over `snapshot`. Must be called inside the worker's runtime.
    pub(crate) fn new(
        index: usize,
        pools: Rc<Pools>,
        filters: Instances,
        snapshot: Arc<Snapshot>,
    ) -> Rc<Self> {
        Rc::new(Self {
            index,
            pools,
            filters,
            snapshot,
            random: RefCell::new(fastrand::Rng::new()),
            date: RefCell::new(Date {
                second: u64::MAX,
                text: String::new(),
            }),
            clocks: Cell::new((clock::now(), clock::wall())),
            next_id: Cell::new(0),
            drain: Drain::default(),
            connections: Cell::new(0),
            staying: Cell::new(0),
            idle: Notify::new(),
            buffers: RefCell::default(),
            desks: RefCell::default(),
            scratch: RefCell::default(),
        })
    }

    /// The configuration that requests run under.
    pub(crate) const fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// 64 random bits. Not for secrets.
    pub(crate) fn random(&self) -> u64 {
        self.random.borrow_mut().u64(..)
    }

    /// 128 random bits. Not for secrets.
    pub(crate) fn random_wide(&self) -> u128 {
        self.random.borrow_mut().u128(..)
    }

    /// A random number from 0 up to 1.
    pub(crate) fn random_fraction(&self) -> f64 {
        self.random.borrow_mut().f64()
    }

    /// The wall clock's time at `now`, which is now. That clock is looked at once a second: in between both go alike.
    pub(crate) fn wall(&self, now: Instant) -> SystemTime {
        let (then, wall) = self.clocks.get();
        match now.checked_duration_since(then) {
            Some(since) if since < CLOCKS_APART => wall + since,
            _ => {
                let both = (clock::now(), clock::wall());
                self.clocks.set(both);
                both.1
            }
        }
    }

    /// A number that no other connection or stream of this process has.
    pub(crate) fn next_id(&self) -> u64 {
        let mut id = self.next_id.get();
        if id.is_multiple_of(ID_BLOCK) {
            id = NEXT_ID.fetch_add(ID_BLOCK, Ordering::Relaxed);
        }
        self.next_id.set(id + 1);
        id
    }

    /// Calls `with` with the current `date` value (IMF-fixdate, RFC 9110 §5.6.7).
    pub(crate) fn with_date<R>(&self, wall: SystemTime, with: impl FnOnce(&[u8]) -> R) -> R {
        let second = wall
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let mut date = self.date.borrow_mut();
        if date.second != second {
            date.second = second;
            date.text = httpdate::fmt_http_date(wall);
        }
        with(date.text.as_bytes())
    }

    /// Lends the buffers that routes render into.
    pub(crate) fn with_scratch<R>(&self, with: impl FnOnce(&mut Scratch) -> R) -> R {
        with(&mut self.scratch.borrow_mut())
    }

    /// An empty buffer.
    pub(crate) fn take_buffer(&self) -> BytesMut {
        self.buffers.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps a buffer for the next connection that has something to read.
    pub(crate) fn put_buffer(&self, mut buffer: BytesMut) {
        let mut buffers = self.buffers.borrow_mut();
        if buffers.len() < BUFFERS_KEPT && (1..=BUFFER_KEPT_MAX).contains(&buffer.capacity()) {
            buffer.clear();
            buffers.push(buffer);
        }
    }

    /// A desk for a stream that starts now.
    pub(crate) fn take_desk(
        &self,
        connection: &Arc<Connection>,
        protocol: Protocol,
        timing: Timing,
    ) -> Desk {
        let id = self.next_id();
        match self.desks.borrow_mut().pop() {
            Some(mut desk) => {
                if !Arc::ptr_eq(&desk.exchange.connection, connection) {
                    desk.exchange.connection = Arc::clone(connection);
                }
                desk.exchange.protocol = protocol;
                desk.exchange.reset(timing, id);
                desk
            }
            None => Desk {
                exchange: Box::new(Exchange::new(Arc::clone(connection), protocol, timing, id)),
                states: Vec::new(),
            },
        }
    }

    /// Keeps a desk for the next stream, but for one whose heads have grown large.
    pub(crate) fn put_desk(&self, desk: Desk) {
        let mut desks = self.desks.borrow_mut();
        let is_small = desk.exchange.heads_capacity() <= limits::DESK_KEPT_BYTES;
        if is_small && desks.len() < DESKS_KEPT {
            desks.push(desk);
        }
    }

    /// Shows a stream that is not HTTP's to its access logs.
    pub(crate) fn log(
        &self,
        loggers: &[FilterSlot],
        filters: &[Option<LogFilter>],
        desk: &mut Desk,
        kind: LogType,
    ) {
        desk.exchange.log_type = kind;
        desk.states.clear();
        desk.states.resize_with(loggers.len(), SlotState::default);
        for (index, (slot, state)) in loggers.iter().zip(&mut desk.states).enumerate() {
            let filter = filters.get(index).and_then(Option::as_ref);
            let random = &mut || self.random();
            let is_logged = filter.is_none_or(|filter| filter.matches(&desk.exchange, random));
            if is_logged && slot.interest(Variant::BASE).wants.contains(Phases::LOG) {
                self.filters.on_log(slot, state, &mut desk.exchange);
            }
            self.filters.on_done(slot, state);
        }
    }

    /// The drain signal.
    pub(crate) const fn drain(&self) -> &Drain {
        &self.drain
    }

    /// Begins to drain: connections finish what they have and close.
    pub(crate) fn start_drain(&self) {
        self.drain.start(clock::now());
        if self.connections.get() == 0 {
            self.idle.notify_one();
        }
    }

    /// Counts a connection for as long as the answer lives.
    pub(crate) fn track(self: &Rc<Self>) -> Tracked {
        self.connections.set(self.connections.get() + 1);
        Tracked(Rc::clone(self))
    }

    /// Lets a connection stay as it is between requests, for as long as the answer lives, where not too many do.
    pub(crate) fn stay(&self) -> Option<Staying<'_>> {
        let staying = self.staying.get();
        (staying < STAYING).then(|| {
            self.staying.set(staying + 1);
            Staying(&self.staying)
        })
    }

    /// Waits until no connection is left.
    pub(crate) async fn idle(&self) {
        while self.connections.get() > 0 {
            self.idle.notified().await;
        }
    }
}

/// A connection that counts. See [`Worker::track`].
pub(crate) struct Tracked(Rc<Worker>);

impl Drop for Tracked {
    fn drop(&mut self) {
        let left = self.0.connections.get().saturating_sub(1);
        self.0.connections.set(left);
        if left == 0 {
            self.0.idle.notify_one();
        }
    }
}

/// A connection that stays as it is. See [`Worker::stay`].
pub(crate) struct Staying<'a>(&'a Cell<usize>);

impl Drop for Staying<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_drain_is_seen_by_those_who_come_late() {
        let drain = Drain::default();
        drain.start(clock::now());
        drain.started().await;
        assert!(drain.since().is_some());
    }
}
