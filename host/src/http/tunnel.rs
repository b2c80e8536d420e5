//! A TCP connection whose bytes travel in an HTTP stream (`tunneling_config` of a TCP proxy).
//!
//! Owns the request that opens the stream, which answer opens it, and moving the bytes. An end of either
//! side ends a tunnel over HTTP/1 once the bytes before it have arrived (RFC 9110 §9.3.6); streams of
//! HTTP/2 end each direction by itself. Does not own the order of the session with its attempts, times and
//! logs, which is that of any TCP proxy (`tcp::proxy`). Called by `listener`.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde_json::{Value, json};
use tokio::io::AsyncWrite;

use super::error::Kind;
use super::forward::{open_http1, open_http2};
use super::io::{Frame, ReadError, WriteError};
use super::side::{UpstreamSide, cut, status_of, stream_end};
use super::stream::Tunnel;
use crate::clock;
use crate::exchange::{Carried, Connection, Counted, Flags, LogType, Metadata, WireBytes};
use crate::headers::{Headers, Known};
use crate::runtime::{TcpProxy, Tunneling};
use crate::socket::{ReadHalf, Socket, WriteHalf};
use crate::tcp::proxy::{Ending, Missed, Session, serve_by};
use crate::timer::{Timer, after};
use crate::upstream::{
    Cluster, Endpoint, Facts, FlowControl, Lease, Priority, Release, StreamEnd, Wish,
};
use crate::worker::Worker;

/// How much is read from the client at once.
const READ: usize = 16 * 1024;
/// Where logs find the head of the response, and its trailers.
const KEPT_HEAD: &str = "envoy.tcp_proxy.propagate_response_headers";
const KEPT_TRAILERS: &str = "envoy.tcp_proxy.propagate_response_trailers";

/// Serves a connection to its end. `open` is let go of then.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    proxy: Arc<TcpProxy>,
    socket: Socket,
    connection: Arc<Connection>,
    open: impl Sized,
) {
    serve_by(worker, proxy, (socket, connection), open, run).await;
}

async fn run(mut session: Session<'_>, socket: &mut Socket) -> Ending {
    let Some(tunnel) = session.proxy.tunnel.as_deref() else {
        return Ending::Closed;
    };
    if !session.wait_for_client(socket).await {
        return Ending::Closed;
    }
    let snapshot = session.worker.snapshot();
    let Some((cluster, criteria)) = session.choose(snapshot) else {
        return Ending::Closed;
    };
    let ended = session
        .attempts(cluster, criteria, async |session, wish| {
            attempt(session, (cluster, tunnel), wish, socket).await
        })
        .await;
    ended.unwrap_or(Ending::Closed)
}

/// Opens a stream and moves the bytes to their end.
async fn attempt(
    session: &mut Session<'_>,
    (cluster, tunnel): (&Arc<Cluster>, &Tunneling),
    wish: &Wish<'_>,
    socket: &mut Socket,
) -> Result<Ending, Missed> {
    let worker = session.worker;
    let acquire = worker.pools.acquire(cluster, Priority::Default, wish);
    let lease = session.in_time(while_there(socket, acquire)).await;
    let lease = lease.ok_or(Missed::Idle(None))???;
    let endpoint = Arc::clone(lease.endpoint());
    let facts = lease.facts().clone();
    let mut head = head_of(session, tunnel, facts.tls.is_some());
    let kind = tunnel.post_path.is_none().then_some(Tunnel::Connect);
    let mut way = Way {
        session,
        cluster,
        tunnel,
        end: StreamEnd::Left,
        is_http1: matches!(lease, Lease::Http1(_)),
        // What a POST asks for may have been done.
        repeats: kind.is_some() && facts.reused,
    };
    let useless = Missed::Useless(Arc::clone(&endpoint), None);
    match lease {
        Lease::Http1(mut lease) => {
            let opened = open_http1(lease.parts(), &mut head, (true, kind), cluster.spec());
            let Some(mut upstream) = opened else {
                lease.release(Release::Reuse);
                return Err(useless);
            };
            let result = way.go(&mut upstream, (&endpoint, &facts), socket).await;
            drop(upstream);
            lease.release(cut(way.end));
            result
        }
        Lease::Http2(mut lease) => {
            let opened = open_http2(&mut lease, &head, (true, kind), cluster.spec());
            let mut upstream = match opened {
                Ok(upstream) => upstream,
                Err(error) => return Err(way.missed(&error.kind, false, &endpoint)),
            };
            let result = way.go(&mut upstream, (&endpoint, &facts), socket).await;
            drop(upstream);
            lease.note_end(way.end);
            result
        }
        // Only for bytes that are in no stream.
        Lease::Raw(_) => Err(useless),
    }
}

/// What comes of `future` while the client has not reset its connection.
async fn while_there<T>(socket: &mut Socket, future: impl Future<Output = T>) -> Result<T, Missed> {
    let mut broken = pin!(socket.broken());
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Pending => broken.as_mut().poll(cx).map(|()| Err(Missed::Client)),
        Poll::Ready(output) => Poll::Ready(Ok(output)),
    })
    .await
}

/// The head of the request that opens a stream.
fn head_of(session: &mut Session<'_>, tunnel: &Tunneling, is_tls: bool) -> Headers {
    let exchange = &mut *session.desk.exchange;
    let mut host = Vec::new();
    tunnel.host.render(exchange, &mut host);
    let mut head = Headers::new();
    match &tunnel.post_path {
        Some(path) => {
            head.append_known(Known::Method, b"POST");
            head.append_known(Known::Path, path);
            head.append_known(Known::Authority, &host);
            let scheme: &[u8] = if is_tls { b"https" } else { b"http" };
            head.append_known(Known::Scheme, scheme);
        }
        None => {
            head.append_known(Known::Method, b"CONNECT");
            head.append_known(Known::Authority, &host);
        }
    }
    // What is changed is the request of an exchange, whose facts formats may show. Logs show none.
    exchange.request = head;
    session
        .worker
        .with_scratch(|scratch| tunnel.changes.apply(exchange, scratch));
    std::mem::take(&mut exchange.request)
}

/// A block of fields, as logs show it.
fn shown(block: &Headers) -> Vec<u8> {
    let fields = block.iter().map(|field| {
        let [name, value] = [field.name, field.value].map(String::from_utf8_lossy);
        json!({ "key": name, "value": value })
    });
    json!({ "headers": fields.collect::<Vec<Value>>() })
        .to_string()
        .into_bytes()
}

/// One attempt, with what it is about.
struct Way<'a, 's> {
    session: &'a mut Session<'s>,
    cluster: &'a Cluster,
    tunnel: &'a Tunneling,
    is_http1: bool,
    /// Whether it may be made again where the connection ends before anything was answered.
    repeats: bool,
    /// How the stream ended.
    end: StreamEnd,
}

impl Way<'_, '_> {
    async fn go(
        &mut self,
        upstream: &mut UpstreamSide<'_>,
        (endpoint, facts): (&Arc<Endpoint>, &Facts),
        socket: &mut Socket,
    ) -> Result<Ending, Missed> {
        if let Err(missed) = self.open(upstream, endpoint, socket).await {
            let carried = upstream.carried();
            self.session.desk.exchange.wire.add_upstream(carried);
            return Err(missed);
        }
        let session = &mut *self.session;
        session.note_reached(self.cluster);
        session.note_connection(self.cluster, endpoint, facts);
        if session.proxy.logs_connected {
            session.log(LogType::TcpUpstreamConnected);
        }
        Ok(self.relay(upstream, socket).await)
    }

    /// Waits for the answer that opens the stream.
    async fn open(
        &mut self,
        upstream: &mut UpstreamSide<'_>,
        endpoint: &Arc<Endpoint>,
        socket: &mut Socket,
    ) -> Result<(), Missed> {
        let useless =
            |why: Option<String>| Missed::Useless(Arc::clone(endpoint), why.map(Into::into));
        let mut response = Headers::new();
        let answer = poll_fn(|cx| {
            // Where it fails the answer says why.
            let _flushed = upstream.writer.poll_flush(cx);
            upstream.poll_final_head(cx, &mut response)
        });
        let answer = self.session.in_time(while_there(socket, answer)).await;
        let answer = answer.ok_or_else(|| Missed::Idle(Some(Arc::clone(endpoint))))??;
        let status = status_of(&response);
        if let Err(kind) = &answer {
            self.end = stream_end(kind);
            // It is an answer too, to something that was not asked.
            if status != 101 {
                let is_sent = upstream.writer.has_written();
                self.repeats &= !upstream.interim;
                return Err(self.missed(kind, is_sent, endpoint));
            }
        }
        if self.tunnel.keeps_head {
            let metadata = &mut self.session.desk.exchange.metadata;
            let shown = shown(&response);
            metadata.set(Metadata::FILTER_STATE, KEPT_HEAD, &shown);
        }
        let opens = match self.is_http1 {
            true => matches!(status, 200..=299),
            false => status == 200,
        };
        if opens && answer.is_ok_and(|answer| !answer.is_empty) {
            return Ok(());
        }
        Err(useless(Some(format!("tunnel_response:{status}"))))
    }

    /// What it means that there is no answer for that reason, to what went out if it `is_sent`.
    fn missed(&self, kind: &Kind, is_sent: bool, endpoint: &Arc<Endpoint>) -> Missed {
        let is_refused = matches!(kind, Kind::UpstreamRefused);
        let endpoint = Arc::clone(endpoint);
        if is_refused || (self.repeats && matches!(kind, Kind::UpstreamClosed)) {
            let is_unseen = is_refused || !is_sent;
            Missed::Stale {
                endpoint,
                is_unseen,
            }
        } else {
            Missed::Useless(endpoint, None)
        }
    }

    /// Moves the bytes until either side has ended, or time is over.
    async fn relay(&mut self, upstream: &mut UpstreamSide<'_>, socket: &mut Socket) -> Ending {
        let session = &mut *self.session;
        let proxy = session.proxy;
        let (from_client, to_client) = &mut socket.split();
        let mut up = Up {
            buf: session.take_early(),
            ..Up::default()
        };
        // It is counted.
        session.desk.exchange.bytes_received = up.buf.as_ref().map_or(0, |buf| buf.len() as u64);
        let mut down = Down::default();
        let earlier = session.desk.exchange.wire.upstream;
        let mut flow = FlowControl::new(
            (
                &session.stats.downstream_flow_control_paused_reading_total,
                &session.stats.downstream_flow_control_resumed_reading_total,
            ),
            self.cluster.stats(session.worker.index),
        );
        let (mut idle_timer, mut moved) = (Timer::default(), 0);
        let mut idle = after(clock::now(), proxy.idle_timeout);
        let (mut ticks, mut tick) = (Timer::default(), after(clock::now(), proxy.log_every));
        let is_http1 = self.is_http1;
        let ended = poll_fn(|cx| {
            let rose = up.poll(cx, session.worker, from_client, upstream);
            let fell = down.poll(cx, upstream, to_client);
            let exchange = &mut *session.desk.exchange;
            let stats = session.stats;
            stats
                .downstream_cx_rx_bytes_total
                .add(up.read - exchange.bytes_received);
            stats
                .downstream_cx_tx_bytes_total
                .add(down.written - exchange.bytes_sent);
            (exchange.bytes_received, exchange.bytes_sent) = (up.read, down.written);
            exchange.wire = WireBytes {
                downstream: Some(Carried {
                    received: Counted::raw(up.read),
                    sent: Counted::raw(down.written),
                }),
                upstream: earlier,
            };
            exchange.wire.add_upstream(upstream.carried());
            flow.note_up(rose.is_pending() && upstream.writer.is_backed_up());
            flow.note_down(fell.is_pending() && !down.data.is_empty());
            match (rose, fell) {
                (_, Poll::Ready(Err(end))) | (Poll::Ready(Err(end)), _) => {
                    return Poll::Ready(Some(end));
                }
                (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(Some(End::Whole)),
                (Poll::Ready(Ok(())), _) if is_http1 => return Poll::Ready(Some(End::Client)),
                (_, Poll::Ready(Ok(()))) if is_http1 => return Poll::Ready(Some(End::Upstream)),
                _ => {}
            }
            while ticks.poll(cx, tick).is_ready() {
                tick = after(clock::now(), proxy.log_every);
                session.log(LogType::TcpPeriodic);
            }
            if moved != up.read + down.written {
                moved = up.read + down.written;
                idle = after(clock::now(), proxy.idle_timeout);
            }
            idle_timer.poll(cx, idle).map(|()| None)
        })
        .await;
        down.keep(self.tunnel, &mut self.session.desk.exchange.metadata);
        self.note_end(ended, down.closed)
    }

    /// Notes how the stream has ended, none for its time, and answers how the client's connection does; a
    /// client that `has_all` need not know of a reset.
    fn note_end(&mut self, ended: Option<End>, has_all: bool) -> Ending {
        self.end = match ended {
            Some(End::Whole) => StreamEnd::Whole,
            Some(End::Upstream) => StreamEnd::Lost,
            Some(End::Reset) => StreamEnd::ResetByPeer,
            Some(End::Broken) if self.is_http1 => StreamEnd::ResetByPeer,
            Some(End::Broken) => StreamEnd::Lost,
            Some(End::Client | End::Gone) => StreamEnd::Left,
            None => {
                self.session.stats.idle_timeout.inc();
                StreamEnd::Left
            }
        };
        if ended == Some(End::Reset) && !has_all {
            let flags = &mut self.session.desk.exchange.flags;
            flags.insert(Flags::UPSTREAM_REMOTE_RESET);
            return Ending::Reset;
        }
        Ending::Closed
    }
}

/// How the bytes ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Both sides have ended.
    Whole,
    /// The client has ended its side.
    Client,
    /// The upstream has.
    Upstream,
    /// The client's connection is broken.
    Gone,
    /// The upstream's connection is.
    Broken,
    /// The upstream has reset the stream.
    Reset,
}

impl End {
    /// That of a stream which the codec gives up for that reason.
    fn of_stream(error: &h2::Error) -> Self {
        if error.is_reset() && error.is_remote() {
            Self::Reset
        } else {
            Self::Broken
        }
    }
}

/// From the client.
#[derive(Default)]
struct Up {
    buf: Option<BytesMut>,
    ended: bool,
    closed: bool,
    read: u64,
}

impl Up {
    /// Ready once the client's end was passed on.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
        from: &mut ReadHalf<'_>,
        upstream: &mut UpstreamSide<'_>,
    ) -> Poll<Result<(), End>> {
        let writer = &mut upstream.writer;
        while !self.closed {
            let mut starved = false;
            while !self.ended && !starved && writer.has_room() {
                match self.poll_read(cx, worker, from) {
                    Poll::Ready(Ok(data)) if data.is_empty() => {
                        self.ended = true;
                        writer.push_end(None);
                    }
                    Poll::Ready(Ok(data)) => {
                        self.read += data.len() as u64;
                        writer.push(data);
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(End::Gone)),
                    Poll::Pending => starved = true,
                }
            }
            match writer.poll_flush(cx) {
                Poll::Ready(Ok(())) if self.ended => self.closed = true,
                Poll::Ready(Ok(())) if !starved => {}
                Poll::Ready(Ok(())) | Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(WriteError::Stream(error))) => {
                    return Poll::Ready(Err(End::of_stream(&error)));
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Err(End::Broken)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Some bytes, none at the end. There is a buffer only while there is something to read.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
        from: &mut ReadHalf<'_>,
    ) -> Poll<io::Result<Bytes>> {
        // What was read before.
        if let Some(buf) = self.buf.as_mut().filter(|buf| !buf.is_empty()) {
            return Poll::Ready(Ok(buf.split().freeze()));
        }
        if self.buf.is_none() {
            ready!(from.poll_read_ready(cx))?;
            self.buf = Some(worker.take_buffer());
        }
        let Some(buf) = &mut self.buf else {
            return Poll::Pending;
        };
        buf.reserve(READ);
        let mut limited = buf.limit(READ);
        let polled = tokio_util::io::poll_read_buf(Pin::new(from), cx, &mut limited);
        if polled.is_pending()
            && let Some(buf) = self.buf.take()
        {
            worker.put_buffer(buf);
            return Poll::Pending;
        }
        polled.map_ok(|_read| {
            self.buf
                .as_mut()
                .map(BytesMut::split)
                .unwrap_or_default()
                .freeze()
        })
    }
}

/// To the client.
#[derive(Default)]
struct Down {
    data: Bytes,
    trailers: Headers,
    ended: bool,
    closed: bool,
    written: u64,
}

impl Down {
    /// Ready once the upstream's end was passed on.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        upstream: &mut UpstreamSide<'_>,
        to: &mut WriteHalf<'_>,
    ) -> Poll<Result<(), End>> {
        while !self.closed {
            while !self.data.is_empty() {
                match ready!(Pin::new(&mut *to).poll_write(cx, &self.data)) {
                    Ok(wrote @ 1..) => {
                        self.data.advance(wrote);
                        self.written += wrote as u64;
                    }
                    Ok(0) | Err(_) => return Poll::Ready(Err(End::Gone)),
                }
            }
            // A socket may hold what it took: a TLS session does.
            ready!(Pin::new(&mut *to).poll_flush(cx)).map_err(|_gone| End::Gone)?;
            if self.ended {
                // A client that is gone already needs no end.
                let _gone = ready!(Pin::new(&mut *to).poll_shutdown(cx));
                self.closed = true;
                break;
            }
            let Some(reader) = &mut upstream.reader else {
                return Poll::Ready(Err(End::Broken));
            };
            match ready!(reader.poll_frame(cx, &mut self.trailers)) {
                Ok(Frame::Data(data)) => self.data = data,
                Ok(Frame::End | Frame::Trailers) => self.ended = true,
                Err(ReadError::Stream(error)) => {
                    return Poll::Ready(Err(End::of_stream(&error)));
                }
                Err(_) => return Poll::Ready(Err(End::Broken)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Keeps trailers for logs.
    fn keep(&self, tunnel: &Tunneling, metadata: &mut Metadata) {
        if tunnel.keeps_trailers && !self.trailers.is_empty() {
            let shown = shown(&self.trailers);
            metadata.set(Metadata::FILTER_STATE, KEPT_TRAILERS, &shown);
        }
    }
}
