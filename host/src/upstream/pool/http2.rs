//! HTTP/2 connections: many requests at a time.
//!
//! Owns the connection's place in the pool, the task that drives it, the places for streams on it
//! and [`Http2Lease`]. The codec is the `h2` crate's. The host keeps the connections that take new
//! streams; the data path opens the streams.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use h2::client::{Builder, Connection, SendRequest};
use tokio::sync::Notify;

use super::account::Account;
use super::host::Host;
use super::lease::{Facts, Grant, Outcome};
use super::watched::{Heard, Signs, Watched, Wider};
use crate::clock;
use crate::exchange::Tls;
use crate::frames::backlog::{Backlog, Part};
use crate::frames::tapped::Tapped;
use crate::frames::targets::LongTargets;
use crate::frames::{PREFACE, breaks_rules, custom};
use crate::keepalive::{Keepalive, until_silent};
use crate::limits;
use crate::upstream::cluster::Cluster;
use crate::upstream::connect::Link;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::spec::{ClusterSpec, Http2Settings, Priority};

/// A connection whose preface was sent.
pub(super) struct Handshaken {
    sender: SendRequest<Part>,
    connection: Box<Connection<Tapped<Watched>, Part>>,
    local: Option<SocketAddr>,
    tls: Option<Arc<Tls>>,
    max_concurrent_streams: u32,
    keepalive: Option<Keepalive>,
    heard: Option<Heard>,
    backlog: Rc<Backlog>,
    wider: Wider,
    signs: Rc<Signs>,
    targets: Rc<LongTargets>,
}

/// Makes an HTTP/2 connection of a socket. The peer's settings come later.
pub(super) async fn handshake(
    host: &Rc<Host>,
    link: Link,
    settings: &Http2Settings,
) -> io::Result<Handshaken> {
    let Link {
        socket: stream,
        tls,
    } = link;
    let local = stream.local_addr().ok();
    let asks = settings.keepalive.and_then(|pings| pings.idle);
    let heard = asks.map(|_| Rc::new(Cell::new(clock::now())));
    let mut codec = Builder::new();
    if let Some(bytes) = settings.custom.get(custom::MAX_FRAME_SIZE) {
        codec.max_frame_size(bytes);
    }
    let (wider, signs) = (Wider::default(), Rc::<Signs>::default());
    let targets = Rc::<LongTargets>::default();
    let (sender, connection) = codec
        .enable_push(false)
        .initial_window_size(settings.stream_window.first())
        .initial_connection_window_size(settings.initial_connection_window)
        .data_frame_budget(
            limits::HTTP2_SMALL_FRAMES.max(settings.initial_connection_window as usize / 2),
        )
        // The codec resets a stream with more by itself, as for what is malformed.
        .max_header_list_size(settings.max_header_list.saturating_add(limits::HTTP2_TOLD_BYTES))
        .max_send_buffer_size(limits::HTTP2_SEND_BUFFER_BYTES)
        .header_table_size(settings.header_table)
        .max_concurrent_reset_streams(limits::RESET_STREAMS)
        .handshake(Tapped::new(
            stream,
            Watched::new(settings, host, heard.clone(), &wider, &signs, &targets),
            &settings.custom,
            PREFACE.len(),
        ))
        .await
        .map_err(into_io)?;
    let max_concurrent_streams = settings.max_concurrent_streams;
    let connection = Box::new(connection);
    Ok(Handshaken {
        sender,
        connection,
        local,
        tls,
        max_concurrent_streams,
        keepalive: settings.keepalive,
        heard,
        backlog: Backlog::new(settings.waiting_frames),
        wider,
        signs,
        targets,
    })
}

fn into_io(error: h2::Error) -> io::Error {
    if error.is_io() {
        error
            .into_io()
            .unwrap_or_else(|| io::ErrorKind::ConnectionAborted.into())
    } else {
        io::Error::other(error)
    }
}

/// An open HTTP/2 connection that may take new streams. The last holder's drop closes it, once its
/// streams have ended.
pub(super) struct Http2Connection {
    id: u64,
    opened: Instant,
    local: Option<SocketAddr>,
    tls: Option<Arc<Tls>>,
    sender: SendRequest<Part>,
    max_concurrent_streams: u32,
    /// After how long a silence a new stream has a ping sent ahead, and when that began.
    silence: Option<(Duration, Heard)>,
    backlog: Rc<Backlog>,
    targets: Rc<LongTargets>,
    state: Rc<State>,
}

/// What the connection's task needs of it. That task must not hold a sender, or the connection
/// would never end.
struct State {
    signs: Rc<Signs>,
    /// Streams that there ever were.
    total: Cell<u32>,
    is_draining: Cell<bool>,
    idle_since: Cell<Instant>,
    /// Asks for a ping.
    asks: Notify,
}

impl Http2Connection {
    pub(super) const fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn is_idle(&self) -> bool {
        self.state.signs.active.get() == 0
    }

    /// Whether it takes no more streams.
    pub(super) fn is_draining(&self) -> bool {
        self.state.is_draining.get()
    }

    /// Lets it take no more streams.
    pub(super) fn drain(&self) {
        self.state.is_draining.set(true);
    }

    /// How many streams more it takes, as far as this side allows.
    pub(super) fn room(&self) -> u64 {
        if self.is_draining() {
            return 0;
        }
        u64::from(
            self.max_concurrent_streams
                .saturating_sub(self.state.signs.active.get()),
        )
    }

    /// Whether it is older than `max_connection_duration`.
    pub(super) fn is_old(&self, spec: &ClusterSpec) -> bool {
        let age = |most| clock::now().saturating_duration_since(self.opened) >= most;
        spec.max_connection_duration.is_some_and(age)
    }

    pub(super) const fn opened(&self) -> Instant {
        self.opened
    }

    pub(super) fn idle_since(&self) -> Instant {
        self.state.idle_since.get()
    }
}

/// Drives a new connection.
pub(super) fn start(
    priority: Priority,
    handshaken: Handshaken,
    account: Account,
) -> Rc<Http2Connection> {
    let Handshaken {
        sender,
        connection,
        local,
        tls,
        max_concurrent_streams,
        keepalive,
        heard,
        backlog,
        wider,
        signs,
        targets,
    } = handshaken;
    let state = Rc::new(State {
        signs,
        total: Cell::new(0),
        is_draining: Cell::new(false),
        idle_since: Cell::new(clock::now()),
        asks: Notify::new(),
    });
    let id = account.id;
    let connection = Driven {
        connection,
        wider,
        state: Rc::clone(&state),
        host: Rc::clone(&account.host),
        priority,
    };
    let driven = drive(connection, keepalive, account);
    tokio::task::spawn_local(driven);
    Rc::new(Http2Connection {
        id,
        opened: clock::now(),
        local,
        tls,
        sender,
        max_concurrent_streams,
        silence: keepalive.and_then(|pings| pings.idle).zip(heard),
        backlog,
        targets,
        state,
    })
}

/// A connection, the window that its streams are to have, and whom it tells when it takes more of them.
struct Driven {
    connection: Box<Connection<Tapped<Watched>, Part>>,
    wider: Wider,
    state: Rc<State>,
    host: Rc<Host>,
    priority: Priority,
}

impl Future for Driven {
    type Output = Result<(), h2::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let polled = Pin::new(&mut self.connection).poll(cx);
            if polled.is_ready() {
                return polled;
            }
            if self.state.signs.take_change() {
                self.host.serve_waiters(self.priority);
            }
            let wider = self.wider.take();
            // None of two settings at once is taken: there is another occasion.
            let is_said =
                wider.is_some_and(|size| self.connection.set_initial_window_size(size).is_ok());
            if !is_said {
                return Poll::Pending;
            }
        }
    }
}

async fn drive(mut connection: Driven, keepalive: Option<Keepalive>, mut account: Account) {
    let (state, priority) = (Rc::clone(&connection.state), connection.priority);
    let signs = &*state.signs;
    let pings = keepalive.and_then(|_| connection.connection.ping_pong());
    let silent = until_silent(keepalive, pings, &state.asks, fastrand::f64);
    let (result, by_peer) = tokio::select! {
        result = connection => {
            // One that takes no more streams is let go of here with its last one.
            let is_let_go = state.is_draining.get() && state.signs.active.get() == 0;
            (result, !is_let_go && !signs.is_over())
        }
        () = silent => {
            if let Some(stats) = account.host.common().http2_stats() {
                stats.keepalive_timeout.inc();
            }
            (Ok(()), false)
        }
    };
    account.by_peer = by_peer && !result.as_ref().is_err_and(breaks_rules);
    state.is_draining.set(true);
    if let Err(error) = result {
        if breaks_rules(&error) {
            account
                .host
                .common()
                .stats()
                .upstream_cx_protocol_error
                .inc();
        }
        tracing::debug!(
            target: "http2",
            cluster = &*account.host.common().cluster.name,
            endpoint = %account.host.endpoint().now_at(),
            connection_id = account.id,
            %error,
            "upstream connection ended",
        );
    }
    account.requests = state.total.get();
    account.with_request = signs.has_open();
    let (host, id) = (Rc::clone(&account.host), account.id);
    drop(account);
    host.forget(priority, id);
    host.serve_waiters(priority);
}

/// What came of asking a connection for a stream.
pub(super) enum Reserved {
    /// A place for one.
    Slot(Slot),
    /// As many streams are open as may be.
    Busy,
    /// It takes no streams any more.
    Dead,
}

/// Asks `connection` for a place for one stream.
pub(super) fn reserve(
    host: &Rc<Host>,
    priority: Priority,
    connection: &Rc<Http2Connection>,
) -> Reserved {
    let state = &connection.state;
    if state.is_draining.get() {
        return Reserved::Dead;
    }
    if connection.is_old(host.common().cluster.spec()) {
        host.common().stats().upstream_cx_max_duration_reached.inc();
        return Reserved::Dead;
    }
    let peer_allows = u32::try_from(connection.sender.current_max_send_streams());
    let most = connection
        .max_concurrent_streams
        .min(peer_allows.unwrap_or(u32::MAX));
    if state.signs.is_shut() || state.signs.active.get() >= most {
        return Reserved::Busy;
    }
    let mut sender = connection.sender.clone();
    // An error also tells that the peer sent GOAWAY.
    if let Poll::Ready(Err(_)) = sender.poll_ready(&mut Context::from_waker(Waker::noop())) {
        return Reserved::Dead;
    }
    if let Some((most, heard)) = &connection.silence
        && clock::now().saturating_duration_since(heard.get()) > *most
    {
        state.asks.notify_one();
    }
    let reused = state.total.get() > 0;
    state.signs.active.set(state.signs.active.get() + 1);
    state.total.set(state.total.get().saturating_add(1));
    let max_requests = host.common().cluster.spec().max_requests_per_connection;
    if max_requests.is_some_and(|most| state.total.get() >= most.get()) {
        state.is_draining.set(true);
        host.common().stats().upstream_cx_max_requests.inc();
    }
    let facts = Facts {
        connection_id: connection.id,
        local: connection.local,
        reused,
        tls: connection.tls.clone(),
    };
    Reserved::Slot(Slot {
        sender,
        facts,
        connection: Rc::clone(connection),
        host: Rc::clone(host),
        priority,
    })
}

/// A place for one stream on a connection. Dropping it gives the place back.
pub(super) struct Slot {
    sender: SendRequest<Part>,
    facts: Facts,
    connection: Rc<Http2Connection>,
    host: Rc<Host>,
    priority: Priority,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let state = &self.connection.state;
        let active = state.signs.active.get() - 1;
        state.signs.active.set(active);
        if active == 0 {
            state.idle_since.set(clock::now());
        }
        self.host.settle(self.priority, &self.connection);
    }
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// In both directions, in order.
    Whole,
    /// The peer has reset it.
    ResetByPeer,
    /// The peer has refused it, or could not make the connection that it asked for.
    Refused,
    /// Its connection was lost.
    Lost,
    /// The peer has sent what is no response.
    Misspoken,
    /// It is reset here, for a head or trailers that are too large.
    Excessive(Excess),
    /// It is left here, before its end.
    Left,
}

/// What an answer has more of than it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// Fields.
    Fields,
    /// Bytes of them.
    Bytes,
}

/// A place for one stream. Keep it until the stream has ended both ways: the drop lets another
/// request have it, and counts how the stream ended.
pub struct Http2Lease {
    slot: Slot,
    grant: Grant,
    /// None until a stream is opened.
    end: Option<StreamEnd>,
}

impl Http2Lease {
    pub(super) const fn new(slot: Slot, grant: Grant) -> Self {
        Self {
            slot,
            grant,
            end: None,
        }
    }

    /// Opens the stream: `send_request` may be called once, at once.
    pub(crate) const fn sender(&mut self) -> &mut SendRequest<Part> {
        &mut self.slot.sender
    }

    /// What waits on the connection to be written.
    pub(crate) fn backlog(&self) -> &Rc<Backlog> {
        &self.slot.connection.backlog
    }

    /// The targets that wait on the connection for the heads of their streams.
    pub(crate) fn long_targets(&self) -> &LongTargets {
        &self.slot.connection.targets
    }

    /// Notes how the stream has ended, or would have if the lease were dropped now.
    pub fn note_end(&mut self, end: StreamEnd) {
        if self.end.replace(end).is_none()
            && let Some(stats) = self.grant.host().common().http2_stats()
        {
            stats.streams_active.inc();
        }
    }

    /// Where the connection leads.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        self.grant.host().endpoint()
    }

    /// The cluster of the endpoint.
    #[must_use]
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.grant.host().common().cluster
    }

    /// What is known about the connection.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.slot.facts
    }

    /// Counts how the request ended; see [`super::Lease::record`].
    pub fn record(&self, outcome: Outcome) {
        self.grant.record(outcome);
    }
}

impl Drop for Http2Lease {
    fn drop(&mut self) {
        let common = self.grant.host().common();
        let stats = common.stats();
        match self.end {
            Some(StreamEnd::Left | StreamEnd::Misspoken) => stats.upstream_rq_tx_reset.inc(),
            Some(StreamEnd::ResetByPeer | StreamEnd::Excessive(_)) => {
                stats.upstream_rq_rx_reset.inc();
            }
            Some(StreamEnd::Lost) => stats.upstream_rq_pending_failure_eject.inc(),
            Some(StreamEnd::Whole | StreamEnd::Refused) | None => {}
        }
        let (Some(end), Some(http2)) = (self.end, common.http2_stats()) else {
            return;
        };
        http2.streams_active.dec();
        match end {
            StreamEnd::Left => http2.tx_reset.inc(),
            StreamEnd::ResetByPeer | StreamEnd::Refused => http2.rx_reset.inc(),
            StreamEnd::Misspoken => http2.rx_messaging_error.inc(),
            StreamEnd::Excessive(excess) => {
                http2.tx_reset.inc();
                match excess {
                    Excess::Fields => http2.header_overflow.inc(),
                    Excess::Bytes => http2.header_list_size_too_large.inc(),
                }
            }
            StreamEnd::Whole | StreamEnd::Lost => {}
        }
    }
}

impl fmt::Debug for Http2Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http2Lease")
            .field("facts", self.facts())
            .finish_non_exhaustive()
    }
}
