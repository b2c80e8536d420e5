//! HTTP/2 downstream connections, on the `h2` crate.
//!
//! Owns accepting streams, the two-step GOAWAY of a drain and the idle timeout. Each stream is a
//! task of its own that runs [`Stream::handle`].

use std::cell::Cell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use h2::server::{Connection as H2, SendResponse};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use super::downstream::Downstream;
use super::error::Kind;
use super::h1::MethodKind;
use super::h1::head::Reject;
use super::h2 as h2_glue;
use super::io::{H2Reader, Reader};
use super::phases::Chain;
use super::stream::{Incoming, Stream, Surroundings, count_start};
use super::timer::{Timer, after};
use crate::clock;
use crate::exchange::{Connection, Protocol, Timing};
use crate::headers::Known;
use crate::runtime::HttpListener;
use crate::socket::Socket;
use crate::worker::Worker;

/// A connection with the bytes in front that were read to find out what it speaks.
struct Prefixed {
    prefix: BytesMut,
    socket: Socket,
}

impl AsyncRead for Prefixed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.socket).poll_read(cx, into);
        }
        let part = self.prefix.len().min(into.remaining());
        into.put_slice(&self.prefix.split_to(part));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, from)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, from)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// The streams of a connection that are under way.
#[derive(Default)]
struct Streams {
    active: Cell<usize>,
    ended: Notify,
}

/// Serves an HTTP/2 connection; `prefix` was read already.
pub(super) async fn serve(
    worker: &Rc<Worker>,
    listener: &Arc<HttpListener>,
    socket: Socket,
    prefix: BytesMut,
    connection: &Arc<Connection>,
) {
    let manager = &listener.manager;
    let settings = manager.http2;
    let handshake = h2::server::Builder::new()
        .max_concurrent_streams(settings.max_concurrent_streams)
        .initial_window_size(settings.stream_window)
        .initial_connection_window_size(settings.connection_window)
        .max_header_list_size(manager.rules.limits.bytes)
        .max_send_buffer_size(listener.buffer_limit)
        .handshake::<_, Bytes>(Prefixed { prefix, socket });
    let mut timer = Timer::default();
    let idle = after(clock::now(), manager.idle_timeout);
    let Some(Ok(mut http2)) = timer.limit(idle, handshake).await else {
        manager
            .stats
            .shard(worker.index)
            .downstream_cx_protocol_error
            .inc();
        return;
    };
    let streams = Rc::new(Streams::default());
    let mut drained = std::pin::pin!(worker.drain().started());
    let mut closing = false;
    loop {
        let idle = (streams.active.get() == 0 && !closing)
            .then(|| after(clock::now(), manager.idle_timeout))
            .flatten();
        tokio::select! {
            biased;
            () = &mut drained, if !closing => {
                http2.graceful_shutdown();
                closing = true;
            }
            accepted = http2.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    let served = (Rc::clone(worker), Arc::clone(listener), Arc::clone(connection));
                    start(served, &streams, request, respond);
                }
                Some(Err(error)) => {
                    if !error.is_io() {
                        manager.stats.shard(worker.index).downstream_cx_protocol_error.inc();
                        tracing::debug!(target: "http", connection = connection.id, "http/2 connection from {}: {error}", connection.direct_remote);
                    }
                    break;
                }
                None => break,
            },
            () = streams.ended.notified(), if streams.active.get() > 0 => {}
            () = timer.wait(idle), if idle.is_some() => {
                manager.stats.shard(worker.index).downstream_cx_idle_timeout.inc();
                http2.graceful_shutdown();
                closing = true;
            }
        }
    }
    flush_end(http2, &mut timer, listener).await;
}

/// Lets the last frames (a GOAWAY above all) out, for no longer than `delayed_close_timeout`.
async fn flush_end(mut http2: H2<Prefixed, Bytes>, timer: &mut Timer, listener: &HttpListener) {
    let deadline = after(clock::now(), listener.manager.delayed_close_timeout);
    if deadline.is_some() {
        let _closed = timer
            .limit(deadline, poll_fn(|cx| http2.poll_closed(cx)))
            .await;
    }
}

type Served = (Rc<Worker>, Arc<HttpListener>, Arc<Connection>);

/// Begins a stream in a task of its own.
fn start(
    served: Served,
    streams: &Rc<Streams>,
    request: http::Request<h2::RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let streams = Rc::clone(streams);
    streams.active.set(streams.active.get() + 1);
    tokio::task::spawn_local(async move {
        stream(served, request, respond).await;
        streams.active.set(streams.active.get().saturating_sub(1));
        if streams.active.get() == 0 {
            streams.ended.notify_one();
        }
    });
}

async fn stream(
    (worker, listener, connection): Served,
    request: http::Request<h2::RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let (parts, body) = request.into_parts();
    let timing = Timing::starting(clock::now(), clock::wall());
    let mut desk = worker.take_desk(&connection, Protocol::Http2, timing);
    h2_glue::request_from(&parts, &mut desk.exchange.request);
    let manager = &*listener.manager;
    let headers = &mut desk.exchange.request;
    let expects = headers.known(Known::Expect);
    let incoming = Incoming {
        method: MethodKind::of(parts.method.as_str().as_bytes()),
        has_body: !body.is_end_stream(),
        keep_alive: true,
        expect_continue: expects.is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue")),
    };
    // `:method`, `:path` and `:scheme` do not count against the limit, as in HTTP/1.
    let verdict = if headers.len() > manager.rules.limits.fields as usize + 3 {
        Err(Kind::Reset("http2.too_many_headers").into())
    } else if !headers.has(Known::Authority) {
        Err(Reject::MissingHost.into())
    } else {
        Ok(())
    };
    let snapshot = worker.snapshot();
    let stats = manager.stats.shard(worker.index);
    count_start(stats, Protocol::Http2);
    let around = Surroundings {
        worker: &worker,
        snapshot: &snapshot,
        listener: &listener,
        manager,
        stats,
    };
    let mut timer = Timer::default();
    let chain = Chain::new(&worker, manager, &mut desk.exchange, &mut desk.states);
    let reader = Reader::H2(H2Reader::new(body));
    let down = Downstream::http2(respond);
    Stream::new(around, chain, reader, down, &mut timer, incoming)
        .handle(verdict)
        .await;
    worker.put_desk(desk);
}
