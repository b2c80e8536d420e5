//! Downstream connections: the codec edge.
//!
//! Owns a connection from its first byte to its last: which codec it speaks, keep-alive, idle
//! timeouts, the drain, delayed close. Each request goes to [`Stream::handle`]. Does not own
//! accepting (`listener`).

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::downstream::Downstream;
use super::error::{Error, Kind};
use super::http2;
use super::io::{H1Reader, H1Writer, Reader};
use super::phases::Chain;
use super::stream::{Ended, Incoming, Stream, Surroundings};
use super::tally::{count_start, is_read_whole};
use super::timer::{Timer, after};
use crate::clock;
use crate::exchange::{Connection, Protocol, Timing};
use crate::frames::PREFACE;
use crate::h1::head::{HeadParser, Reject, RequestHead};
use crate::headers::Known;
use crate::observe::metrics::HttpStats;
use crate::route::Seen;
use crate::runtime::{Codec, ConnectionManager, HttpListener};
use crate::socket::Socket;
use crate::worker::{Desk, Worker};

/// What a client that we are done with may still send before it is cut off.
const LINGER_BYTES: usize = 1024 * 1024;
/// How long a connection without a request is taken for one that has the next soon.
const REST: Duration = Duration::from_millis(500);

/// A connection in the books of its manager, as soon as it has come in: a TLS handshake is still before it then.
/// Dropping it takes it from those that are open.
pub(crate) struct Booked {
    listener: Arc<HttpListener>,
    worker: usize,
    started: Instant,
    is_tls: bool,
}

impl Booked {
    pub(crate) fn new(
        listener: Arc<HttpListener>,
        worker: usize,
        started: Instant,
        is_tls: bool,
    ) -> Self {
        let stats = listener.manager.stats.shard(worker);
        stats.downstream_cx_total.inc();
        stats.downstream_cx_active.inc();
        if is_tls {
            stats.downstream_cx_ssl_total.inc();
            stats.downstream_cx_ssl_active.inc();
        }
        Self {
            listener,
            worker,
            started,
            is_tls,
        }
    }

    /// Counts the end of one whose TLS handshake has come to nothing, for the client's part or, if it `is_late`, for
    /// the time that it took.
    pub(crate) fn unshaken(self, is_late: bool) {
        let over = match is_late {
            true => Over::EXPIRED,
            false => Over::Left {
                with_requests: false,
            },
        };
        count_end(self.stats(), over, self.started);
    }

    fn stats(&self) -> &HttpStats {
        self.listener.manager.stats.shard(self.worker)
    }
}

impl Drop for Booked {
    fn drop(&mut self) {
        let stats = self.stats();
        stats.downstream_cx_active.dec();
        if self.is_tls {
            stats.downstream_cx_ssl_active.dec();
        }
    }
}

/// Serves a connection that has come in, to its end. `_open` is let go of then.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    booked: Booked,
    socket: Socket,
    connection: Arc<Connection>,
    _open: impl Sized,
) {
    let listener = &booked.listener;
    let http = booked.stats();
    let started = booked.started;
    let old_at = after(started, listener.manager.max_connection_duration);
    let mut socket = socket;
    let mut buf = BytesMut::new();
    let mut begun = None;
    let from = (&mut socket, &mut buf);
    let over = match sniff(&worker, listener, from, old_at, &mut begun).await {
        Ok(Codec::Http2) => {
            http.downstream_cx_http2_total.inc();
            http.downstream_cx_http2_active.inc();
            let served = http2::serve(&worker, listener, (socket, buf), &connection, old_at);
            // Apart, so that the task of an HTTP/1 connection is not as large.
            let (over, socket) = Box::pin(served).await;
            let over = match socket {
                Some(mut socket) => farewell(&mut socket, over, listener, http).await,
                None => over,
            };
            http.downstream_cx_http2_active.dec();
            over
        }
        Ok(Codec::Http1 | Codec::Auto) => {
            http.downstream_cx_http1_total.inc();
            http.downstream_cx_http1_active.inc();
            let http1 = Http1 {
                worker: &worker,
                listener,
                connection: &connection,
                parser: HeadParser::new(),
                timer: Timer::default(),
                begun,
                idle_since: clock::now(),
                told: None,
                served: 0,
                old_at,
                buf,
                desk: None,
                seen: listener.manager.routes.look(),
            };
            let over = http1.serve(&mut socket).await;
            let over = farewell(&mut socket, over, listener, http).await;
            http.downstream_cx_http1_active.dec();
            over
        }
        Err(over) => over,
    };
    count_end(http, over, started);
    drop(booked);
}

/// Counts a connection that becomes older than it may be, whatever goes on then.
struct Aging<'a> {
    /// When it does; none where that was counted.
    old_at: Option<Instant>,
    timer: Timer,
    stats: &'a HttpStats,
}

impl<'a> Aging<'a> {
    fn new(old_at: Option<Instant>, stats: &'a HttpStats) -> Self {
        Self {
            old_at,
            timer: Timer::default(),
            stats,
        }
    }

    /// Counts it if the time has come, and has the task woken otherwise.
    fn poll(&mut self, cx: &mut Context<'_>) {
        if self.old_at.is_some() && self.timer.poll(cx, self.old_at).is_ready() {
            self.old_at = None;
            self.stats.downstream_cx_max_duration_reached.inc();
        }
    }

    /// The same for the last time.
    fn end(self) {
        if self.old_at.is_some_and(|at| clock::now() >= at) {
            self.stats.downstream_cx_max_duration_reached.inc();
        }
    }
}

/// How a connection came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// The client has closed it.
    Left {
        /// Whether there were requests that had no whole response.
        with_requests: bool,
    },
    /// It is to be closed.
    Ours {
        /// In which way, over HTTP/1.
        ended: Ended,
        /// Whether there were requests that had no whole response.
        with_requests: bool,
    },
}

impl Over {
    /// It is closed at once, and nothing is under way.
    const EXPIRED: Self = Self::Ours {
        ended: Ended::Cut,
        with_requests: false,
    };
}

/// Counts the end of a connection that began then, and who has ended it.
fn count_end(stats: &HttpStats, over: Over, started: Instant) {
    let (plain, active, with_requests) = match over {
        Over::Left { with_requests } => (
            &stats.downstream_cx_destroy_remote,
            &stats.downstream_cx_destroy_remote_active_rq,
            with_requests,
        ),
        Over::Ours { with_requests, .. } => (
            &stats.downstream_cx_destroy_local,
            &stats.downstream_cx_destroy_local_active_rq,
            with_requests,
        ),
    };
    plain.inc();
    if with_requests {
        stats.downstream_cx_destroy_active_rq.inc();
        active.inc();
    }
    let lasted = clock::now().duration_since(started).as_millis();
    stats.downstream_cx_destroy.inc();
    stats
        .downstream_cx_length_ms
        .record(u64::try_from(lasted).unwrap_or(u64::MAX));
}

/// Finds out what the connection speaks; where it ended before that was clear, how. What may become
/// HTTP/2 and may as well be the beginning of a head is waited for as long as a head: `begun` is then
/// the time of its first byte.
async fn sniff(
    worker: &Worker,
    listener: &HttpListener,
    (socket, buf): (&mut Socket, &mut BytesMut),
    old_at: Option<Instant>,
    begun: &mut Option<Instant>,
) -> Result<Codec, Over> {
    let manager = &listener.manager;
    match manager.codec {
        Codec::Auto => {}
        fixed => return Ok(fixed),
    }
    let mut timer = Timer::default();
    let idle = after(clock::now(), manager.idle_timeout);
    let stats = manager.stats.shard(worker.index);
    loop {
        let seen = buf.len().min(PREFACE.len());
        if PREFACE.get(..seen) != buf.get(..seen) {
            return Ok(Codec::Http1);
        }
        if seen == PREFACE.len() {
            return Ok(Codec::Http2);
        }
        let deadline = if seen == 0 {
            [idle, old_at].into_iter().flatten().min()
        } else {
            let begun = *begun.get_or_insert_with(clock::now);
            earliest(head_times(manager, begun)).map(|(at, _)| at)
        };
        let fill = poll_fn(|cx| poll_fill(worker, stats, cx, socket, buf));
        let drained = async {
            worker.drain().started().await;
            // The runtime has to look once before it knows what came with a connection that was just
            // accepted, which a drain must not lose.
            tokio::task::yield_now().await;
        };
        let read = tokio::select! {
            biased;
            read = timer.limit(deadline, fill) => read,
            () = drained, if seen == 0 => return Err(Over::EXPIRED),
        };
        match read {
            Some(Ok(1..)) => {}
            Some(Ok(0) | Err(_)) => {
                return Err(Over::Left {
                    with_requests: false,
                });
            }
            // A head that is overdue: who reads HTTP/1 finds it so, and says it.
            None if seen > 0 => return Ok(Codec::Http1),
            None => {
                if deadline == idle {
                    stats.downstream_cx_idle_timeout.inc();
                } else {
                    stats.downstream_cx_max_duration_reached.inc();
                }
                return Err(Over::EXPIRED);
            }
        }
    }
}

/// Reads what came. A buffer is taken of the worker once there is something to read, and given back
/// where that was nothing.
fn poll_fill(
    worker: &Worker,
    stats: &HttpStats,
    cx: &mut Context<'_>,
    socket: &mut Socket,
    buf: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    if buf.capacity() == 0 {
        ready!(socket.poll_read_ready(cx))?;
        *buf = worker.take_buffer();
    }
    let (read_half, _) = socket.split();
    let polled = H1Reader::new(read_half, buf, false)
        .counted_by(&stats.downstream_cx_rx_bytes_total)
        .poll_fill(cx);
    if polled.is_pending() && buf.is_empty() {
        worker.put_buffer(std::mem::take(buf));
    }
    polled
}

/// An HTTP/1 connection. While it is idle it holds neither buffers nor a desk, nor, once it rests ([`REST`]), what a
/// request is served with.
struct Http1<'a> {
    worker: &'a Rc<Worker>,
    listener: &'a HttpListener,
    connection: &'a Arc<Connection>,
    parser: HeadParser,
    timer: Timer,
    /// Since when there is something of the first head, where that was not clear to be one.
    begun: Option<Instant>,
    /// When the last request ended.
    idle_since: Instant,
    /// Who is woken by a drain.
    told: Option<Waker>,
    served: u32,
    /// When `max_connection_duration` is over.
    old_at: Option<Instant>,
    buf: BytesMut,
    desk: Option<Desk>,
    /// The routing table that was seen last.
    seen: Seen,
}

/// What a connection has waited too long for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Late {
    /// The rest of a head: `request_headers_timeout`.
    Headers,
    /// The rest of a request: `request_timeout`.
    Request,
    /// A byte of the request: `stream_idle_timeout`.
    Stream,
    /// Another request: `idle_timeout`.
    Idle,
    /// Another request, in a drain.
    Drained,
    /// Another request, after `max_connection_duration`.
    Old,
    /// Another request soon.
    Rested,
}

/// The first of some times; of equal ones the one that stands first.
fn earliest<const N: usize>(times: [(Option<Instant>, Late); N]) -> Option<(Instant, Late)> {
    times
        .into_iter()
        .filter_map(|(at, late)| Some((at?, late)))
        .min_by_key(|(at, _)| *at)
}

/// How long the rest of a head is waited for that has begun then.
fn head_times(manager: &ConnectionManager, begun: Instant) -> [(Option<Instant>, Late); 3] {
    [
        (after(begun, manager.request_headers_timeout), Late::Headers),
        (after(begun, manager.request_timeout), Late::Request),
        (after(begun, manager.stream_idle_timeout), Late::Stream),
    ]
}

/// What came next on the connection.
enum Next {
    /// A head, or what was wrong with it.
    Head(Result<RequestHead, Error>),
    /// None: this is the end of the connection.
    Over(Over),
    /// None for a while.
    Rested,
}

impl Next {
    /// The client has closed the connection.
    const LEFT: Self = Self::Over(Over::Left {
        with_requests: false,
    });

    const fn refused(error: Error) -> Self {
        Self::Head(Err(error))
    }
}

impl Http1<'_> {
    async fn serve(mut self, socket: &mut Socket) -> Over {
        let stats = self.listener.manager.stats.shard(self.worker.index);
        let mut aging = Aging::new(self.old_at, stats);
        let mut served = pin!(self.serve_requests(socket));
        let over = poll_fn(|cx| {
            aging.poll(cx);
            served.as_mut().poll(cx)
        });
        let over = over.await;
        aging.end();
        over
    }

    async fn serve_requests(&mut self, socket: &mut Socket) -> Over {
        let mut drained = std::pin::pin!(self.worker.drain().started());
        loop {
            let head = match self.next(socket, drained.as_mut(), None).await {
                Next::Head(head) => head,
                Next::Over(over) => return over,
                Next::Rested => continue,
            };
            // What a request needs while it is served is much, and an idle connection does not keep it.
            let busy = Box::pin(self.serve_busy(socket, head, drained.as_mut()));
            if let Some(over) = busy.await {
                return over;
            }
        }
    }

    /// Serves a request, and those that follow it soon. None once the connection is idle.
    async fn serve_busy(
        &mut self,
        socket: &mut Socket,
        mut head: Result<RequestHead, Error>,
        mut drained: Pin<&mut impl Future<Output = ()>>,
    ) -> Option<Over> {
        loop {
            match self.request(socket, head).await {
                Ended::Reusable => {}
                Ended::Gone => {
                    return Some(Over::Left {
                        with_requests: true,
                    });
                }
                ended => {
                    return Some(Over::Ours {
                        ended,
                        with_requests: false,
                    });
                }
            }
            let _stays = self.worker.stay()?;
            let rests_at = after(self.idle_since, Some(REST));
            head = match self.next(socket, drained.as_mut(), rests_at).await {
                Next::Head(head) => head,
                Next::Over(over) => return Some(over),
                Next::Rested => return None,
            };
        }
    }

    /// Waits for the head of the next request, until `rests_at` if that is said.
    async fn next(
        &mut self,
        socket: &mut Socket,
        mut drained: Pin<&mut impl Future<Output = ()>>,
        rests_at: Option<Instant>,
    ) -> Next {
        poll_fn(|cx| {
            loop {
                if !self.buf.is_empty()
                    && let Some(next) = self.parse()
                {
                    return Poll::Ready(next);
                }
                match self.poll_fill(cx, socket) {
                    Poll::Ready(Ok(0) | Err(_)) if self.parser.has_started() => {
                        if let Some(desk) = &mut self.desk {
                            desk.exchange.request.clear();
                        }
                        return Poll::Ready(Next::refused(Kind::DownstreamClosed.into()));
                    }
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Next::LEFT),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Pending => break,
                }
            }
            let drain = self.worker.drain();
            let is_told = self
                .told
                .as_ref()
                .is_some_and(|told| told.will_wake(cx.waker()));
            if drain.since().is_none() && !is_told {
                // Only to be woken: the answer is in `since`.
                let _started = drained.as_mut().poll(cx);
                self.told = Some(cx.waker().clone());
            }
            let Some((at, late)) = self.deadline(drain.since(), rests_at) else {
                return Poll::Pending;
            };
            self.timer.poll(cx, Some(at)).map(|()| self.late(late))
        })
        .await
    }

    /// When waiting ends, and what comes then. A head that has begun has the timeouts of a request,
    /// an idle connection its own; a drain or old age leave it `drain_timeout` to send another
    /// request. `rests_at` ends no connection.
    fn deadline(
        &self,
        draining: Option<Instant>,
        rests_at: Option<Instant>,
    ) -> Option<(Instant, Late)> {
        let manager = &self.listener.manager;
        if self.parser.has_started() {
            let begun = self.desk.as_ref().map(|desk| desk.exchange.timing.started);
            let begun = begun.unwrap_or(self.idle_since);
            return earliest(head_times(manager, begun));
        }
        let grace = |since: Instant| since.checked_add(manager.drain_timeout);
        let old_at = match self.old_at {
            // A client that has never said anything is not waited for.
            at if self.served == 0 => at,
            _ if manager.http1_safe_max_connection_duration => None,
            at => at.and_then(grace),
        };
        earliest([
            (after(self.idle_since, manager.idle_timeout), Late::Idle),
            (draining.and_then(grace), Late::Drained),
            (old_at, Late::Old),
            (rests_at, Late::Rested),
        ])
    }

    /// What becomes of a connection that has waited too long.
    fn late(&mut self, late: Late) -> Next {
        let stats = self.listener.manager.stats.shard(self.worker.index);
        if let Some(desk) = &mut self.desk {
            // What there is of a head is none.
            desk.exchange.request.clear();
        }
        match late {
            Late::Headers => Next::refused(Kind::HeadersTimeout.into()),
            Late::Request => Next::refused(Kind::RequestOverdue.into()),
            Late::Stream => Next::refused(Kind::StreamIdle.into()),
            Late::Idle => {
                stats.downstream_cx_idle_timeout.inc();
                Next::Over(Over::EXPIRED)
            }
            Late::Old | Late::Drained => Next::Over(Over::EXPIRED),
            Late::Rested => Next::Rested,
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, socket: &mut Socket) -> Poll<io::Result<usize>> {
        let stats = self.listener.manager.stats.shard(self.worker.index);
        poll_fill(self.worker, stats, cx, socket, &mut self.buf)
    }

    /// Parses what was read. None while the head is incomplete.
    fn parse(&mut self) -> Option<Next> {
        let (worker, connection) = (self.worker, self.connection);
        let waited = self.desk.is_some() && !self.parser.has_started();
        let begun = self.begun.take();
        let desk = self.desk.get_or_insert_with(|| {
            let now = clock::now();
            let wall = worker.wall(now);
            let before = begun.map_or(Duration::ZERO, |begun| now.saturating_duration_since(begun));
            let timing = Timing::starting(
                begun.unwrap_or(now),
                wall.checked_sub(before).unwrap_or(wall),
            );
            worker.take_desk(connection, Protocol::Http11, timing)
        });
        if waited {
            // Empty lines came before: they are no part of the request.
            let now = clock::now();
            desk.exchange.timing = Timing::starting(now, worker.wall(now));
        }
        let manager = &self.listener.manager;
        let parsed = self
            .parser
            .request(&self.buf, &manager.rules, &mut desk.exchange.request);
        let parsed = match parsed {
            Ok(Some(_))
                if connection.tls.is_none()
                    && manager.hygiene.client.trusts_nobody()
                    && desk.exchange.request.known(Known::Scheme) == Some(b"https") =>
            {
                Err(Reject::HttpsInClear)
            }
            parsed => parsed,
        };
        match parsed {
            Ok(Some(head)) => {
                self.buf.advance(head.consumed);
                desk.exchange.protocol = head.version;
                Some(Next::Head(Ok(head)))
            }
            Ok(None) => None,
            Err(reject) => {
                if !reject.head_is_known() {
                    desk.exchange.request.clear();
                } else if self.parser.has_refused_http_10() {
                    desk.exchange.protocol = Protocol::Http10;
                }
                Some(Next::refused(reject.into()))
            }
        }
    }

    async fn request(&mut self, socket: &mut Socket, head: Result<RequestHead, Error>) -> Ended {
        let Some(mut desk) = self.desk.take() else {
            return Ended::Cut;
        };
        let snapshot = self.worker.snapshot();
        let manager = &*self.listener.manager;
        let stats = manager.stats.shard(self.worker.index);
        count_start(stats, desk.exchange.protocol);
        self.served = self.served.saturating_add(1);
        let last = manager
            .max_requests_per_connection
            .is_some_and(|max| self.served >= max);
        let incoming = match &head {
            Ok(head) => Incoming {
                method: head.method,
                extended_connect: false,
                has_body: !head.body.is_empty(),
                keep_alive: head.keep_alive && !last,
                expect_continue: head.expect_continue,
            },
            Err(_) => Incoming::REFUSED,
        };
        let (read_half, write_half) = socket.split();
        let mut out = self.worker.take_buffer();
        let mut reader = H1Reader::new(read_half, &mut self.buf, manager.http1_trailers)
            .counted_by(&stats.downstream_cx_rx_bytes_total);
        // Of what is no request all that came is counted.
        let came = reader.buf.len();
        reader.note_taken(head.as_ref().map_or(came, |head| head.consumed));
        reader.note_fields(match &head {
            Ok(head) => head.field_bytes,
            Err(error) if is_read_whole(error) => self.parser.refused_bytes(),
            Err(_) => 0,
        });
        if let Ok(head) = &head {
            if head.dropped > 0 {
                let codecs = manager.codecs.shard(self.worker.index);
                codecs
                    .http1_dropped_headers_with_underscores
                    .add(head.dropped.into());
            }
            reader.expect(head.body, manager.rules.limits);
            reader.mind_underscores(manager.rules.underscores);
        }
        let writer = H1Writer::new(write_half, &mut out, manager.http1_trailers)
            .counted_by(&stats.downstream_cx_tx_bytes_total);
        let routes = manager.routes.current(&mut self.seen);
        let around = Surroundings {
            worker: self.worker,
            snapshot,
            listener: self.listener,
            manager,
            stats,
            routes: &routes,
            old_at: self.old_at,
        };
        let chain = Chain::new(self.worker, manager, &mut desk.exchange, &mut desk.states);
        let reader = Reader::H1(reader);
        let down = Downstream::http1(writer);
        let mut stream = Stream::new(around, chain, reader, down, &mut self.timer, incoming);
        let ended = stream.handle(head.map(|_head| ())).await;
        drop(stream);
        self.idle_since = desk.exchange.timing.ended.unwrap_or_else(clock::now);
        self.worker.put_buffer(out);
        self.worker.put_desk(desk);
        if last {
            stats.downstream_cx_max_requests_reached.inc();
        }
        let is_told =
            self.worker.drain().since().is_some() || self.listener.is_failing(&snapshot.vitals);
        if is_told && ended != Ended::Reusable {
            stats.downstream_cx_drain_close.inc();
        }
        ended
    }
}

/// Ends a connection that has come to that, and answers who has ended it.
async fn farewell(
    socket: &mut Socket,
    over: Over,
    listener: &HttpListener,
    stats: &HttpStats,
) -> Over {
    let Over::Ours {
        ended,
        with_requests,
    } = over
    else {
        return over;
    };
    let delayed = listener.manager.delayed_close_timeout;
    match close(socket, ended, delayed, &mut Timer::default()).await {
        Closed::AtOnce => over,
        Closed::ByClient => Over::Left { with_requests },
        Closed::Late => {
            stats.downstream_cx_delayed_close_timeout.inc();
            over
        }
    }
}

/// Ends a connection so that the client gets all that was sent: first our end (FIN, over TLS behind
/// its own word for it), then what it still sends is read and dropped until it ends its own or
/// `delayed_close_timeout` is over. A socket closed with unread data would be reset, and the response
/// lost.
async fn close(
    socket: &mut Socket,
    ended: Ended,
    delayed: Option<Duration>,
    timer: &mut Timer,
) -> Closed {
    if matches!(ended, Ended::Gone | Ended::Cut) {
        return Closed::AtOnce;
    }
    let now = clock::now();
    let deadline = after(now, delayed);
    let told = timer.limit(deadline.or(Some(now)), socket.shutdown());
    let deadline = match (told.await, deadline) {
        (Some(Ok(())), Some(deadline)) => deadline,
        (None, Some(_)) => return Closed::Late,
        _ => return Closed::AtOnce,
    };
    let mut dropped = 0;
    // Not in the connection's task, which would be larger for it all of its life.
    let mut room = vec![0; 4096];
    while dropped < LINGER_BYTES {
        match timer.limit(Some(deadline), socket.read(&mut room)).await {
            Some(Ok(read @ 1..)) => dropped += read,
            Some(Ok(0) | Err(_)) => return Closed::ByClient,
            None => return Closed::Late,
        }
    }
    Closed::AtOnce
}

/// How a connection was closed behind its last response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closed {
    /// Without waiting for the client.
    AtOnce,
    /// The client has ended it as well.
    ByClient,
    /// The client was waited for in vain.
    Late,
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use rustls::crypto::aws_lc_rs::default_provider;
    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, RootCertStore, ServerConfig};
    use tokio::io::AsyncWrite as _;
    use tokio::net::UnixStream;
    use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

    use super::*;

    /// Both ends of a TLS session.
    async fn session() -> (Socket, impl Sized) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(default_provider());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (near, far) = UnixStream::pair().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(server));
        let connector = TlsConnector::from(Arc::new(client));
        let name = ServerName::try_from("a.test").unwrap();
        let (near, far) = tokio::join!(
            acceptor.accept(Socket::from(near)),
            connector.connect(name, far)
        );
        (Socket::from(TlsStream::Server(near.unwrap())), far.unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_not_waited_for_at_the_end_of_a_session() {
        for delayed in [Some(Duration::from_secs(1)), None] {
            let (mut near, far) = session().await;
            // Until not even the word that ends a session can be said.
            poll_fn(|cx| {
                while let Poll::Ready(wrote) = Pin::new(&mut near).poll_write(cx, &[0; 4096]) {
                    wrote.unwrap();
                }
                Poll::Ready(())
            })
            .await;
            let began = tokio::time::Instant::now();
            let mut timer = Timer::default();
            let closing = close(&mut near, Ended::Close, delayed, &mut timer);
            let closed = tokio::time::timeout(Duration::from_mins(1), closing).await;
            assert!(closed.is_ok(), "{delayed:?}");
            assert!(began.elapsed() <= Duration::from_secs(2), "{delayed:?}");
            drop(far);
        }
    }
}
