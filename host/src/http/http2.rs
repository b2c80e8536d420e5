//! HTTP/2 downstream connections, on the `h2` crate.
//!
//! Owns accepting streams, the two-step GOAWAY of a drain, the idle timeout, keep-alive pings, and the
//! end of a client that resets more than it asks. Each stream is a task of its own that runs
//! [`Stream::handle`].

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use h2::server::{Connection as H2, SendResponse};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::Notify;

use super::connection::Over;
use super::downstream::Downstream;
use super::error::{Error, Kind, TOO_MANY_FIELDS, UNDERSCORE};
use super::h2 as h2_glue;
use super::heads::{Heads, OddTargets};
use super::io::Reader;
use super::phases::Chain;
use super::received::H2Reader;
use super::stream::{Ended, Incoming, Stream, Surroundings};
use super::tally::count_start;
use super::timer::{Timer, after};
use super::unseen::Unseen;
use crate::clock;
use crate::exchange::{Connection, Protocol, Timing};
use crate::frames::backlog::{Backlog, Part};
use crate::frames::tapped::{Tap, Tapped};
use crate::frames::watch::{Fault, FrameWatch, Peer};
use crate::frames::{FrameHead, Step, custom, hand_over};
use crate::h1::head::Reject;
use crate::h1::{MethodKind, Underscores};
use crate::headers::{Headers, Known};
use crate::keepalive::until_silent;
use crate::limits;
use crate::observe::metrics::{CodecStats, HttpStats};
use crate::observe::stats::Sharded;
use crate::route::Seen;
use crate::runtime::{ConnectionManager, HttpListener};
use crate::socket::Socket;
use crate::worker::Worker;

/// What a stream is reset with that breaks the rules (RFC 9113 §7).
const PROTOCOL_ERROR: &[u8] = &[0, 0, 0, 1];
/// The last stream of a GOAWAY that refuses none (RFC 9113 §6.8).
const ANY_STREAM: &[u8] = &[0x7f, 0xff, 0xff, 0xff];

/// An eye on the frames and heads of a client, with the bytes in front that were read to find out what it
/// speaks.
struct Eye {
    watch: FrameWatch,
    /// The newest stream: what comes for an older one are trailers.
    newest: u32,
    /// Since when the client is in the middle of a head; not looked at where that may last.
    head_since: Option<Rc<Cell<Option<Instant>>>>,
    heads: Heads,
    /// What has been looked at, and not taken.
    ready: BytesMut,
    prefix: BytesMut,
    streams: Rc<Streams>,
    /// This worker's part of what counts.
    stats: Arc<Sharded<HttpStats>>,
    codecs: Arc<Sharded<CodecStats>>,
    worker: usize,
}

impl Eye {
    /// Looks at what a client sent. Whether the codec gets it as it is.
    fn look(&mut self, read: &[u8]) -> io::Result<bool> {
        let codecs = self.codecs.shard(self.worker);
        let newest = &mut self.newest;
        let mut begun = None;
        let counted = self.watch.received(read, |step, _| {
            begun = begins(step, *newest).or(begun);
            count_received(step, newest, codecs);
            Ok(())
        });
        self.streams.unseen.note_newest(self.newest);
        if let Some(since) = &self.head_since {
            since.set(match begun {
                _ if !self.watch.is_in_head() => None,
                // What came before it has ended.
                Some(Block::Head) => Some(clock::now()),
                Some(Block::Trailers) => None,
                None => since.get(),
            });
        }
        // Not a failure of the transport, which the caller tells by this.
        let kind = io::ErrorKind::InvalidData;
        counted.map_err(|misread| {
            count_fault(misread.fault, codecs);
            io::Error::new(kind, misread)
        })?;
        let passed = self.heads.receive(read, &mut self.ready);
        passed.map_err(|unreadable| io::Error::new(kind, unreadable))
    }
}

/// What a block of fields is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    Head,
    Trailers,
}

/// The block that begins here, if one does. `newest` is the newest of the streams before.
const fn begins(step: Step<'_>, newest: u32) -> Option<Block> {
    match step {
        Step::Head(frame) if frame.kind == FrameHead::HEADERS && frame.stream > newest => {
            Some(Block::Head)
        }
        Step::Head(frame) if frame.kind == FrameHead::HEADERS => Some(Block::Trailers),
        _ => None,
    }
}

/// Counts what a client sends that no library tells of. `newest` is the newest of its streams.
fn count_received(step: Step<'_>, newest: &mut u32, codecs: &CodecStats) {
    let Step::Head(frame) = step else { return };
    match frame.kind {
        FrameHead::RST_STREAM => codecs.http2_rx_reset.inc(),
        FrameHead::HEADERS if frame.stream > *newest => *newest = frame.stream,
        FrameHead::HEADERS => codecs.http2_trailers.inc(),
        _ => {}
    }
}

/// Counts what the library sends by itself. The stream that it resets for what came on it.
fn count_sent(step: Step<'_>, codecs: &CodecStats) -> Option<u32> {
    match step {
        Step::Head(frame) if frame.kind == FrameHead::RST_STREAM => codecs.http2_tx_reset.inc(),
        Step::Payload(frame, PROTOCOL_ERROR, true) if frame.kind == FrameHead::RST_STREAM => {
            codecs.http2_rx_messaging_error.inc();
            return Some(frame.stream);
        }
        Step::Payload(frame, [last @ .., 0, 0, 0, 0], true)
            if frame.kind == FrameHead::GOAWAY && last != ANY_STREAM =>
        {
            codecs.http2_goaway_sent.inc();
        }
        _ => {}
    }
    None
}

/// Counts why nothing more is read.
fn count_fault(fault: Fault, codecs: &CodecStats) {
    match fault {
        Fault::Empty => codecs.http2_inbound_empty_frames_flood.inc(),
        Fault::Priority => codecs.http2_inbound_priority_frames_flood.inc(),
        Fault::WindowUpdate => codecs.http2_inbound_window_update_frames_flood.inc(),
        Fault::Preface | Fault::Settings | Fault::Table | Fault::Block => {}
    }
}

impl Tap for Eye {
    fn poll_read(
        &mut self,
        socket: &mut Socket,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if !self.ready.is_empty() {
                hand_over(&mut self.ready, into);
                return Poll::Ready(Ok(()));
            }
            let before = into.filled().len();
            if self.prefix.is_empty() {
                ready!(Pin::new(&mut *socket).poll_read(cx, into))?;
                let read = into.filled().len() - before;
                let stats = self.stats.shard(self.worker);
                stats.downstream_cx_rx_bytes_total.add(read as u64);
            } else {
                hand_over(&mut self.prefix, into);
            }
            let read = into.filled().get(before..).unwrap_or_default();
            if read.is_empty() || self.look(read)? {
                return Poll::Ready(Ok(()));
            }
            into.set_filled(before);
        }
    }

    fn sent(&mut self, bytes: &[u8]) {
        let codecs = self.codecs.shard(self.worker);
        let (heads, unseen) = (&mut self.heads, &self.streams.unseen);
        self.watch.sent(bytes, |step| {
            if let Step::Head(frame) = step
                && frame.kind == FrameHead::RST_STREAM
            {
                heads.ended(frame.stream);
            }
            if let Some(stream) = count_sent(step, codecs) {
                unseen.note_reset(stream);
            }
        });
        let stats = self.stats.shard(self.worker);
        stats.downstream_cx_tx_bytes_total.add(bytes.len() as u64);
    }

    fn leave(&mut self, socket: Socket) {
        self.streams.left.set(Some(socket));
    }
}

/// A client's connection, as the codec has it.
type Watched = Tapped<Eye>;

/// The streams of a connection that are under way.
struct Streams {
    active: Cell<usize>,
    ended: Notify,
    resets: Cell<Resets>,
    odd: Rc<OddTargets>,
    unseen: Unseen,
    backlog: Rc<Backlog>,
    /// The connection's socket, once its codec is gone.
    left: Cell<Option<Socket>>,
}

impl Streams {
    /// Of a connection on which so many frames of content may wait.
    fn new(waiting_frames: u32) -> Self {
        Self {
            active: Cell::default(),
            ended: Notify::new(),
            resets: Cell::default(),
            odd: Rc::default(),
            unseen: Unseen::default(),
            backlog: Backlog::new(waiting_frames),
            left: Cell::default(),
        }
    }

    /// Whether the next is the last of `most`, or one beyond them.
    fn is_last(&self, most: Option<u32>) -> bool {
        let number = self.resets.get().closed + self.active.get() as u64 + 1;
        most.is_some_and(|most| number >= most.into())
    }
}

/// How many streams have ended, and how many of those were reset early and without an answer: a
/// client that does little else costs more than it is worth.
#[derive(Clone, Copy, Default)]
struct Resets {
    closed: u64,
    premature: u64,
}

impl Resets {
    /// Whether at least half of the streams are of that kind, of a number that says something.
    const fn too_many(self) -> bool {
        let of = if self.closed < limits::PREMATURE_RESETS {
            limits::PREMATURE_RESETS
        } else {
            self.closed
        };
        self.premature * 2 >= of
    }
}

/// Reads the rest of the preface and sends our settings.
async fn handshake(
    (listener, worker): (&HttpListener, usize),
    socket: Socket,
    prefix: BytesMut,
    head_since: Option<Rc<Cell<Option<Instant>>>>,
    streams: &Rc<Streams>,
) -> Result<H2<Watched, Part>, h2::Error> {
    let manager = &listener.manager;
    let settings = &manager.http2;
    // The codec answers what is larger by itself, where no log sees it.
    let limit = manager.rules.limits.bytes;
    let most = limit.saturating_add(limits::HTTP2_TOLD_BYTES);
    let largest = settings.custom.get(custom::MAX_FRAME_SIZE);
    let eye = Eye {
        watch: FrameWatch::new(Peer::Client, settings.frames, settings.header_table),
        newest: 0,
        head_since,
        heads: Heads::new(limit as usize, largest, Rc::clone(&streams.odd)),
        ready: BytesMut::new(),
        prefix,
        stats: Arc::clone(&manager.stats),
        codecs: Arc::clone(&manager.codecs),
        worker,
        streams: Rc::clone(streams),
    };
    let mut codec = h2::server::Builder::new();
    codec
        .max_concurrent_streams(settings.max_concurrent_streams)
        .initial_window_size(settings.stream_window)
        .initial_connection_window_size(settings.connection_window)
        .data_frame_budget(limits::HTTP2_SMALL_FRAMES.max(settings.connection_window as usize / 2))
        .max_header_list_size(most)
        .max_send_buffer_size(listener.buffer_limit.min(limits::HTTP2_SEND_BUFFER_BYTES))
        .header_table_size(settings.header_table)
        .max_pending_accept_reset_streams(limits::UNSEEN_RESETS)
        .max_concurrent_reset_streams(limits::RESET_STREAMS);
    if settings.allow_connect {
        codec.enable_connect_protocol();
    }
    if let Some(bytes) = largest {
        codec.max_frame_size(bytes);
    }
    codec
        .handshake(Tapped::new(socket, eye, &settings.custom, 0))
        .await
}

/// Serves an HTTP/2 connection; `prefix` was read already. Where its client is to be left the time to read
/// what was said last, the socket is given back.
pub(super) async fn serve(
    worker: &Rc<Worker>,
    listener: &Arc<HttpListener>,
    (socket, prefix): (Socket, BytesMut),
    connection: &Arc<Connection>,
    old_at: Option<Instant>,
) -> (Over, Option<Socket>) {
    let streams = Rc::new(Streams::new(listener.manager.http2.waiting_frames));
    let read = (socket, prefix);
    let over = serve_streams(worker, listener, read, connection, (old_at, &streams)).await;
    let socket = streams.left.take();
    let may_read = matches!(
        over,
        Over::Ours {
            ended: Ended::CloseDelayed,
            ..
        }
    );
    (over, socket.filter(|_| may_read))
}

async fn serve_streams(
    worker: &Rc<Worker>,
    listener: &Arc<HttpListener>,
    (socket, prefix): (Socket, BytesMut),
    connection: &Arc<Connection>,
    (mut old_at, streams): (Option<Instant>, &Rc<Streams>),
) -> Over {
    let manager = &listener.manager;
    let settings = &manager.http2;
    let stats = manager.stats.shard(worker.index);
    let vitals = Arc::clone(&worker.snapshot().vitals);
    let mut timer = Timer::default();
    let idle = after(clock::now(), manager.idle_timeout);
    let mut head_time = HeadTime::new(manager.request_headers_timeout);
    let at = (&**listener, worker.index);
    let shaking = handshake(at, socket, prefix, head_time.since.clone(), streams);
    let shaken = timer.limit(idle, shaking).await;
    let mut http2 = match opened(shaken, stats, connection) {
        Ok(http2) => http2,
        Err(left) => return over(streams, left),
    };
    let mut seen = manager.routes.look();
    let mut old = std::pin::pin!(wait_until(old_at));
    let pings = settings.keepalive.and_then(|_| http2.ping_pong());
    let unasked = Notify::const_new();
    let mut silent = std::pin::pin!(until_silent(settings.keepalive, pings, &unasked, || worker
        .random_fraction()));
    let mut drained = std::pin::pin!(worker.drain().started());
    // When the first GOAWAY was sent. A client without streams may take a while to answer it.
    let mut closing: Option<Instant> = None;
    let left = loop {
        if head_time.is_over && streams.active.get() == 0 {
            http2.abrupt_shutdown(h2::Reason::NO_ERROR);
            break false;
        }
        let idle = match closing {
            _ if streams.active.get() > 0 => None,
            Some(since) => after(since, Some(manager.drain_timeout)),
            None => after(clock::now(), manager.idle_timeout),
        };
        tokio::select! {
            biased;
            () = &mut drained, if closing.is_none() => {
                drain(&mut http2, &mut closing, stats);
            }
            accepted = accept(&mut http2, streams, (worker, listener, connection)) => match accepted {
                Some(Ok((request, respond))) => {
                    if listener.is_failing(&vitals) || listener.draining.ends(worker.random()) { drain(&mut http2, &mut closing, stats); }
                    if streams.is_last(manager.max_requests_per_connection) { end_of_turn(&mut http2, &mut closing, stats); }
                    let routes = manager.routes.current(&mut seen);
                    let served = (Rc::clone(worker), Arc::clone(listener), Arc::clone(connection), routes);
                    start(served, streams, request, respond);
                }
                Some(Err(error)) => {
                    note_failure(&error, stats, connection);
                    break is_lost(&error);
                }
                None => break closing.is_none(),
            },
            // Behind what reads, which knows since when.
            () = poll_fn(|cx| head_time.poll(cx)), if head_time.since.is_some() => {
                stats.downstream_rq_header_timeout.inc();
                go_away(&mut http2, &mut closing);
            }
            () = streams.ended.notified(), if streams.active.get() > 0 => {
                if streams.resets.get().too_many() {
                    stats.downstream_rq_too_many_premature_resets.inc();
                    tracing::debug!(target: "http", connection = connection.id, "too many streams of {} were reset early", connection.direct_remote);
                    return over(streams, false);
                }
            }
            () = timer.wait(idle), if idle.is_some() => {
                if closing.is_some() {
                    break false;
                }
                stats.downstream_cx_idle_timeout.inc();
                go_away(&mut http2, &mut closing);
            }
            () = &mut old, if old_at.is_some() => {
                grow_old(&mut http2, &mut closing, (&mut old_at, stats));
            }
            () = &mut silent => return silenced(streams, manager.codecs.shard(worker.index)),
        }
    };
    let over = over(streams, left);
    flush_end(http2, &mut timer, (listener, stats), over).await
}

/// The next stream. Where there is none, those are told of that the codec does not show.
async fn accept(
    http2: &mut H2<Watched, Part>,
    streams: &Streams,
    (worker, listener, connection): (&Worker, &HttpListener, &Arc<Connection>),
) -> Option<Accepted> {
    poll_fn(|cx| {
        let accepted = http2.poll_accept(cx);
        match &accepted {
            Poll::Ready(Some(Ok(_))) => return accepted,
            Poll::Ready(Some(Err(error))) if !is_lost(error) => streams.unseen.note_broken(),
            _ => {}
        }
        streams.unseen.tell(worker, listener, connection);
        accepted
    })
    .await
}

/// What came of a handshake; where it is no connection, whether the client has left.
fn opened(
    shaken: Option<Result<H2<Watched, Part>, h2::Error>>,
    stats: &HttpStats,
    connection: &Connection,
) -> Result<H2<Watched, Part>, bool> {
    match shaken {
        Some(Ok(http2)) => Ok(http2),
        Some(Err(error)) => {
            note_failure(&error, stats, connection);
            Err(is_lost(&error))
        }
        None => {
            stats.downstream_cx_idle_timeout.inc();
            Err(false)
        }
    }
}

/// How the connection ended with the streams that are under way; `left` says that it was the client.
fn over(streams: &Streams, left: bool) -> Over {
    let with_requests = streams.active.get() > 0;
    if left {
        Over::Left { with_requests }
    } else {
        Over::Ours {
            ended: Ended::Cut,
            with_requests,
        }
    }
}

/// The same of a client that answers no ping.
fn silenced(streams: &Streams, codecs: &CodecStats) -> Over {
    codecs.http2_keepalive_timeout.inc();
    over(streams, false)
}

/// Whether the connection failed because the client has left, rather than for what it said.
fn is_lost(error: &h2::Error) -> bool {
    let is_flood = |error: &io::Error| error.kind() == io::ErrorKind::InvalidData;
    error.is_io() && !error.get_io().is_some_and(is_flood)
}

/// Counts the end of a connection that does not come from the network.
fn note_failure(error: &h2::Error, stats: &HttpStats, connection: &Connection) {
    if is_lost(error) {
        return;
    }
    stats.downstream_cx_protocol_error.inc();
    tracing::debug!(target: "http", connection = connection.id, "http/2 connection from {}: {error}", connection.direct_remote);
}

/// Says that no more streams are wanted, if that was not said, and notes when.
fn go_away(http2: &mut H2<Watched, Part>, closing: &mut Option<Instant>) {
    if closing.is_none() {
        http2.graceful_shutdown();
        *closing = Some(clock::now());
    }
}

/// Says so because the connection has had as many streams as it may. Envoy counts each that comes all
/// the same.
fn end_of_turn(http2: &mut H2<Watched, Part>, closing: &mut Option<Instant>, stats: &HttpStats) {
    stats.downstream_cx_max_requests_reached.inc();
    go_away(http2, closing);
}

/// Says so because the connection is old, which counts once, whatever was said before.
fn grow_old(
    http2: &mut H2<Watched, Part>,
    closing: &mut Option<Instant>,
    (old_at, stats): (&mut Option<Instant>, &HttpStats),
) {
    *old_at = None;
    stats.downstream_cx_max_duration_reached.inc();
    go_away(http2, closing);
}

/// Says so because the proxy is to have fewer clients.
fn drain(http2: &mut H2<Watched, Part>, closing: &mut Option<Instant>, stats: &HttpStats) {
    if closing.is_none() {
        stats.downstream_cx_drain_close.inc();
        go_away(http2, closing);
    }
}

/// The time that a client has for a head (`request_headers_timeout`).
struct HeadTime {
    timeout: Option<Duration>,
    /// Since when it is in the middle of one; not looked at where that may last.
    since: Option<Rc<Cell<Option<Instant>>>>,
    timer: Timer,
    /// Whether it was over once. Nothing else can come before the rest of that head, so that the connection
    /// ends with the streams that are under way.
    is_over: bool,
}

impl HeadTime {
    fn new(timeout: Option<Duration>) -> Self {
        Self {
            since: timeout.map(|_| Rc::default()),
            timeout,
            timer: Timer::default(),
            is_over: false,
        }
    }

    /// Ready when a head has taken too long, once for each.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let since = self.since.as_deref();
        let Some(begun) = since.and_then(Cell::get) else {
            return Poll::Pending;
        };
        ready!(self.timer.poll(cx, after(begun, self.timeout)));
        self.is_over = true;
        if let Some(since) = since {
            since.set(None);
        }
        Poll::Ready(())
    }
}

/// Waits until then; for ever without a time.
async fn wait_until(at: Option<Instant>) {
    Timer::default().wait(at).await;
}

/// Lets the last frames (a GOAWAY above all) out, for no longer than `delayed_close_timeout`. Once they have
/// gone, the client may have the time to read them.
async fn flush_end(
    mut http2: H2<Watched, Part>,
    timer: &mut Timer,
    (listener, stats): (&HttpListener, &HttpStats),
    over: Over,
) -> Over {
    let deadline = after(clock::now(), listener.manager.delayed_close_timeout);
    if deadline.is_none() {
        return over;
    }
    let closed = timer.limit(deadline, poll_fn(|cx| http2.poll_closed(cx)));
    match (closed.await, over) {
        (Some(_), Over::Ours { with_requests, .. }) => Over::Ours {
            ended: Ended::CloseDelayed,
            with_requests,
        },
        (Some(_), left) => left,
        (None, over) => {
            stats.downstream_cx_delayed_close_timeout.inc();
            over
        }
    }
}

type Accepted = Result<(http::Request<h2::RecvStream>, SendResponse<Part>), h2::Error>;
type Served = (Rc<Worker>, Arc<HttpListener>, Arc<Connection>, Seen);

/// Begins a stream in a task of its own.
fn start(
    served: Served,
    streams: &Rc<Streams>,
    request: http::Request<h2::RecvStream>,
    respond: SendResponse<Part>,
) {
    let streams = Rc::clone(streams);
    let number = respond.stream_id().as_u32();
    streams.unseen.note_served(number);
    let odd_target = streams.odd.take(number);
    let backlog = Rc::clone(&streams.backlog);
    streams.active.set(streams.active.get() + 1);
    // The runtime moves a task to its place and out of it again. What lies behind a pointer stays.
    let served = Box::pin(stream(served, request, odd_target, (respond, backlog)));
    tokio::task::spawn_local(async move {
        let premature = served.await;
        streams.active.set(streams.active.get().saturating_sub(1));
        let mut resets = streams.resets.get();
        resets.closed += 1;
        resets.premature += u64::from(premature);
        streams.resets.set(resets);
        if streams.active.get() == 0 || resets.too_many() {
            streams.ended.notify_one();
        }
    });
}

/// Serves a stream, whose target is another one than the codec's where it is odd. Whether it was reset
/// early and without an answer.
async fn stream(
    (worker, listener, connection, routes): Served,
    request: http::Request<h2::RecvStream>,
    odd_target: Option<Rc<[u8]>>,
    (respond, backlog): (SendResponse<Part>, Rc<Backlog>),
) -> bool {
    let (parts, body) = request.into_parts();
    let now = clock::now();
    let timing = Timing::starting(now, worker.wall(now));
    let mut desk = worker.take_desk(&connection, Protocol::Http2, timing);
    let read = h2_glue::request_from(&parts, &mut desk.exchange.request);
    let extended_connect = h2_glue::upgrade_from_connect(&mut desk.exchange.request);
    let manager = &*listener.manager;
    let headers = &mut desk.exchange.request;
    let has_fragment = odd_target
        .as_ref()
        .is_some_and(|target| target.contains(&b'#'));
    if let Some(target) = odd_target {
        headers.set_known(Known::Path, &target);
    }
    let expects = headers.sole(Known::Expect);
    let incoming = Incoming {
        method: MethodKind::of(headers.known(Known::Method).unwrap_or_default()),
        extended_connect,
        has_body: !body.is_end_stream(),
        keep_alive: true,
        expect_continue: expects.is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue")),
    };
    let codecs = manager.codecs.shard(worker.index);
    if let Err(malformed) = &read {
        tracing::debug!(target: "http", connection = connection.id, "malformed request on stream {} of {}: {malformed}", respond.stream_id().as_u32(), connection.direct_remote);
    }
    let verdict = verdict((&parts, read), headers, has_fragment, (manager, codecs));
    let snapshot = worker.snapshot();
    let stats = manager.stats.shard(worker.index);
    count_start(stats, Protocol::Http2);
    codecs.http2_streams_active.inc();
    let around = Surroundings {
        worker: &worker,
        snapshot,
        listener: &listener,
        manager,
        stats,
        routes: &routes,
        old_at: None,
    };
    let mut timer = Timer::default();
    let chain = Chain::new(&worker, manager, &mut desk.exchange, &mut desk.states);
    let rules = &manager.rules;
    let reader = Reader::H2(H2Reader::new(body, rules.limits, rules.underscores));
    let down = Downstream::http2(respond, backlog);
    let mut stream = Stream::new(around, chain, reader, down, &mut timer, incoming);
    stream.handle(verdict).await;
    drop(stream);
    codecs.http2_streams_active.dec();
    let exchange = &desk.exchange;
    let lifetime = exchange
        .timing
        .ended
        .map(|ended| ended.duration_since(exchange.timing.started));
    let premature = exchange.status == 0
        && lifetime.is_some_and(|lifetime| lifetime.as_secs() <= limits::PREMATURE_RESET_SECONDS);
    worker.put_desk(desk);
    premature
}

/// Whether a head can be served, without fields that are to be left out.
fn verdict(
    (parts, read): (&http::request::Parts, Result<(), h2_glue::Malformed>),
    headers: &mut Headers,
    has_fragment: bool,
    (manager, codecs): (&ConnectionManager, &CodecStats),
) -> Result<(), Error> {
    let rules = &manager.rules;
    let underscores = rules.underscores;
    let has_underscore =
        underscores != Underscores::Allow && headers.iter().any(|field| field.name.contains(&b'_'));
    let mut fields = count_fields(parts);
    if has_underscore && underscores == Underscores::Drop {
        let before = headers.len();
        headers.retain(|field| !field.name.contains(&b'_'));
        let dropped = before - headers.len();
        fields -= dropped;
        codecs
            .http2_dropped_headers_with_underscores
            .add(dropped as u64);
    }
    if head_size(parts, underscores) > rules.limits.bytes as usize {
        codecs.http2_header_list_size_too_large.inc();
        Err(Reject::FieldsTooLarge.into())
    } else if read.is_err() {
        Err(Kind::Malformed.into())
    } else if fields > rules.limits.fields as usize {
        Err(Kind::Reset(TOO_MANY_FIELDS).into())
    } else if has_underscore && underscores == Underscores::Reject {
        Err(Kind::Reset(UNDERSCORE).into())
    } else if !headers.has(Known::Authority) {
        Err(Reject::MissingHost.into())
    } else if has_fragment {
        Err(Reject::Fragment.into())
    } else {
        Ok(())
    }
}

/// How large a head is: its names and values, but for fields that are left out.
fn head_size(parts: &http::request::Parts, underscores: Underscores) -> usize {
    let uri = &parts.uri;
    let is_kept = |name: &str| underscores != Underscores::Drop || !name.contains('_');
    let fields = parts.headers.iter();
    let fields = fields.filter(|(name, _)| is_kept(name.as_str()));
    let fields = fields.map(|(name, value)| name.as_str().len() + value.len());
    let protocol = parts.extensions.get::<h2::ext::Protocol>();
    let pseudo = [
        (":method", Some(parts.method.as_str())),
        // The library forgets it where there is no authority.
        (":scheme", Some(uri.scheme_str().unwrap_or("https"))),
        (
            ":authority",
            uri.authority().map(|authority| authority.as_str()),
        ),
        (":path", uri.path_and_query().map(|target| target.as_str())),
        (":protocol", protocol.map(h2::ext::Protocol::as_str)),
    ];
    let pseudo = pseudo
        .into_iter()
        .filter_map(|(name, value)| Some(name.len() + value?.len()));
    fields.sum::<usize>() + pseudo.sum::<usize>()
}

/// How many fields a head has, those of the request among them: each cookie for itself, and a `host` too.
fn count_fields(parts: &http::request::Parts) -> usize {
    let has_protocol = parts.extensions.get::<h2::ext::Protocol>().is_some();
    // The library forgets a scheme where there is no authority.
    let of_request = if parts.method == http::Method::CONNECT && !has_protocol {
        1
    } else {
        3
    };
    let has_authority = parts.uri.authority().is_some();
    parts.headers.len() + of_request + usize::from(has_authority) + usize::from(has_protocol)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn early_resets_count_from_half_of_the_streams_on() {
        for (closed, premature, too_many) in [
            (0, 0, false),
            (249, 249, false),
            (250, 250, true),
            (499, 249, false),
            (500, 249, false),
            (500, 250, true),
            (10_000, 4_999, false),
            (10_000, 5_000, true),
        ] {
            let resets = Resets { closed, premature };
            assert_eq!(resets.too_many(), too_many, "{premature} of {closed}");
        }
    }
}
