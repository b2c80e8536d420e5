//! Bytes in both directions between two sockets.
//!
//! Owns the loop: what was read is written before more is read, so a slow peer stops the other
//! through TCP's window and no direction ever holds more than one buffer. An end is passed on as an
//! end, in each direction by itself. A direction without bytes in flight holds no buffer, and none is
//! allocated for a chunk. Does not own time: whoever polls says when it is over.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::AsyncWrite;

use crate::socket::{ReadHalf, Socket, WriteHalf};
use crate::worker::Worker;

/// The room of a first read.
const READ_FIRST: usize = 8 * 1024;
/// A peer that fills its reads gets more room, up to this much.
const READ_MAX: usize = 64 * 1024;

/// Which socket failed: it was reset, or is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// The client's.
    Downstream,
    /// The endpoint's.
    Upstream,
}

/// How a relay ended where nothing failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    /// The client was the last to end its direction.
    Downstream,
    /// The endpoint was.
    Upstream,
}

/// Bytes of both directions, as they were read and written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tally {
    pub(super) came_up: u64,
    pub(super) went_up: u64,
    pub(super) came_down: u64,
    pub(super) went_down: u64,
}

/// Both directions.
pub(super) struct Relay {
    /// From the client to the endpoint.
    pub(super) up: Flow,
    /// From the endpoint to the client.
    pub(super) down: Flow,
    last: Last,
}

/// One direction.
pub(super) struct Flow {
    /// What was read and not written yet.
    buf: Option<BytesMut>,
    /// How much room the next read gets.
    room: usize,
    room_max: usize,
    /// Whether the source has ended.
    ended: bool,
    /// Whether that was passed on.
    closed: bool,
    /// Bytes read from the source.
    pub(super) read: u64,
    /// Bytes written to the sink.
    pub(super) written: u64,
}

/// Which end of a direction failed.
enum End {
    Source,
    Sink,
}

impl Relay {
    /// A relay that holds at most `limit` bytes in each direction.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            up: Flow::new(limit),
            down: Flow::new(limit),
            last: Last::Upstream,
        }
    }

    /// Moves what can be moved. Ready when both directions have ended, or a socket failed.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
        downstream: &mut Socket,
        upstream: &mut Socket,
    ) -> Poll<Result<Last, Failed>> {
        let (from_client, to_client) = &mut downstream.split();
        let (from_endpoint, to_endpoint) = &mut upstream.split();
        let was_open = !self.up.closed;
        let up = self.up.poll(cx, worker, from_client, to_endpoint);
        if was_open && self.up.closed {
            self.last = Last::Downstream;
        }
        let was_open = !self.down.closed;
        let down = self.down.poll(cx, worker, from_endpoint, to_client);
        if was_open && self.down.closed {
            self.last = Last::Upstream;
        }
        match (up, down) {
            (Poll::Ready(Err(End::Source)), _) | (_, Poll::Ready(Err(End::Sink))) => {
                Poll::Ready(Err(Failed::Downstream))
            }
            (Poll::Ready(Err(End::Sink)), _) | (_, Poll::Ready(Err(End::Source))) => {
                Poll::Ready(Err(Failed::Upstream))
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ok(self.last)),
            (Poll::Pending, _) | (_, Poll::Pending) => Poll::Pending,
        }
    }

    /// Bytes so far, by where they came from and went to.
    pub(super) const fn tally(&self) -> Tally {
        Tally {
            came_up: self.up.read,
            went_up: self.up.written,
            came_down: self.down.read,
            went_down: self.down.written,
        }
    }

    /// Whether what the client sent waits for the upstream to take it, and the other way round.
    pub(super) fn waits(&self) -> (bool, bool) {
        (self.up.waits(), self.down.waits())
    }

    /// Bytes that were read and written so far: tells a watcher whether something happened.
    pub(super) const fn moved(&self) -> u64 {
        self.up.read + self.up.written + self.down.read + self.down.written
    }

    /// Whether all that is left is to write what the client sent before it ended.
    pub(super) const fn is_flushing_up(&self) -> bool {
        self.up.ended && !self.up.closed && self.down.closed
    }
}

impl Flow {
    fn new(limit: usize) -> Self {
        let room_max = READ_MAX.min(limit.max(1));
        Self {
            buf: None,
            room: READ_FIRST.min(room_max),
            room_max,
            ended: false,
            closed: false,
            read: 0,
            written: 0,
        }
    }

    /// Whether there is what the sink has not taken.
    fn waits(&self) -> bool {
        self.buf.as_ref().is_some_and(|buf| !buf.is_empty())
    }

    /// Begins with bytes that were read before.
    pub(super) fn begin_with(&mut self, bytes: Option<BytesMut>) {
        self.read = bytes.as_ref().map_or(0, BytesMut::len) as u64;
        self.buf = bytes;
    }

    /// Ready once the source's end was passed on.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
        from: &mut ReadHalf<'_>,
        to: &mut WriteHalf<'_>,
    ) -> Poll<Result<(), End>> {
        while !self.closed {
            if let Some(buf) = &mut self.buf {
                while !buf.is_empty() {
                    match ready!(Pin::new(&mut *to).poll_write(cx, buf)) {
                        Ok(wrote @ 1..) => {
                            buf.advance(wrote);
                            self.written += wrote as u64;
                        }
                        Ok(0) | Err(_) => return Poll::Ready(Err(End::Sink)),
                    }
                }
                // A socket may hold what it took: a TLS session does.
                ready!(Pin::new(&mut *to).poll_flush(cx)).map_err(|_gone| End::Sink)?;
            }
            if self.ended {
                let shut = ready!(Pin::new(&mut *to).poll_shutdown(cx));
                self.closed = true;
                self.rest(worker);
                // A peer that is gone already needs no end.
                return match shut {
                    Err(error) if error.kind() != io::ErrorKind::NotConnected => {
                        Poll::Ready(Err(End::Sink))
                    }
                    _ => Poll::Ready(Ok(())),
                };
            }
            ready!(self.poll_fill(cx, worker, from)).map_err(|_gone| End::Source)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads into the empty buffer, which is had from the worker only when there is something.
    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
        from: &mut ReadHalf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.buf.is_none() {
            ready!(from.poll_read_ready(cx))?;
            self.buf = Some(worker.take_buffer());
        }
        let Some(buf) = &mut self.buf else {
            return Poll::Pending;
        };
        // What was written is room again: this allocates only where the room grows.
        buf.reserve(self.room);
        let mut limited = buf.limit(self.room);
        let polled = tokio_util::io::poll_read_buf(Pin::new(from), cx, &mut limited);
        match polled {
            Poll::Ready(Ok(0)) => self.ended = true,
            Poll::Ready(Ok(read)) => {
                self.read += read as u64;
                if read == self.room {
                    // The peer had at least that much: the next read may take more at once.
                    self.room = (self.room * 2).min(self.room_max);
                }
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => {
                self.rest(worker);
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn rest(&mut self, worker: &Worker) {
        if let Some(buf) = self.buf.take() {
            worker.put_buffer(buf);
        }
    }
}
