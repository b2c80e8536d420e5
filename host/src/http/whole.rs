//! Bodies that are there as a whole, and waiting for them and for time.
//!
//! Owns reading the whole body of a request, sending the whole of a response, or what has come of one that is cut, the
//! length that a head says of one, and how a request waits while its client is there. Called by the walk through the
//! filters ([`super::phases`]) and by [`super::stream`].

use std::cell::Cell;
use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::downstream::Downstream;
use super::error::{Error, Kind, Side};
use super::io::{Frame, Reader};
use super::phases::Chain;
use super::pump::{Direction, Pump};
use super::stream::Stream;
use super::timer::{Timer, after};
use crate::clock;
use crate::headers::{Headers, Known};

/// A body that was read whole.
#[derive(Debug, Default)]
pub(crate) struct Whole {
    /// The content.
    pub(crate) content: Bytes,
    /// Whether trailers ended it.
    pub(crate) has_trailers: bool,
}

/// Makes the head say how long a body is that is there as a whole; one with trailers has no length.
pub(super) fn set_length(headers: &mut Headers, whole: &Whole) {
    if whole.has_trailers {
        headers.remove_known(Known::ContentLength);
    } else {
        tell_length(headers, whole);
    }
}

/// The same of one that may have trailers.
pub(super) fn tell_length(headers: &mut Headers, whole: &Whole) {
    let mut room = [0; 20];
    headers.set_known(
        Known::ContentLength,
        super::reply::decimal(whole.content.len() as u64, &mut room),
    );
}

/// One behind the other.
pub(super) fn joined(first: Bytes, second: Bytes) -> Bytes {
    if first.is_empty() {
        return second;
    }
    if second.is_empty() {
        return first;
    }
    let mut both = BytesMut::with_capacity(first.len() + second.len());
    both.extend_from_slice(&first);
    both.extend_from_slice(&second);
    both.freeze()
}

impl Chain<'_> {
    /// Makes one of the lines of a response's trailers that are one for Envoy too.
    pub(super) fn join_trailers(&mut self, direction: Direction) {
        if direction == Direction::Response {
            let trailers = self.trailers_mut(direction);
            trailers.join_repeated(Known::joins_in_trailers);
        }
    }

    /// Reads the whole body of a request. `active` is when something of it came last.
    ///
    /// # Errors
    /// When it cannot be read, or is longer than `limit` bytes.
    pub(super) async fn collect(
        &mut self,
        reader: &mut Reader<'_>,
        limit: usize,
        active: &Cell<Option<Instant>>,
    ) -> Result<Whole, Error> {
        let mut content = BytesMut::new();
        let mut timer = Timer::default();
        loop {
            let frame = poll_fn(|cx| {
                let trailers = &mut self.exchange.request_trailers;
                if let Poll::Ready(frame) = reader.poll_frame(cx, trailers) {
                    return Poll::Ready(frame);
                }
                // Only for the access logs: who waits for the walk has the deadlines.
                let _no_deadline = self.poll_deadline(cx, &mut timer, None);
                Poll::Pending
            })
            .await;
            active.set(Some(clock::now()));
            let has_trailers = match frame.map_err(|error| Error::of_request_body(&error))? {
                Frame::Data(data) => {
                    self.exchange.bytes_received += data.len() as u64;
                    if content.len() + data.len() > limit {
                        return Err(Kind::RequestTooLarge.into());
                    }
                    content.extend_from_slice(&data);
                    continue;
                }
                Frame::End => false,
                Frame::Trailers => true,
            };
            return Ok(Whole {
                content: content.freeze(),
                has_trailers,
            });
        }
    }

    /// Lets time pass, for as long as the client is there.
    ///
    /// # Errors
    /// When the client goes.
    pub(super) async fn pause(
        &mut self,
        time: Duration,
        reader: &mut Reader<'_>,
        down: &mut Downstream<'_>,
    ) -> Result<(), Error> {
        let until = after(clock::now(), Some(time));
        let mut timer = Timer::default();
        poll_fn(|cx| {
            if let Poll::Ready(kind) = down.poll_closed(cx, reader) {
                return Poll::Ready(Err(kind.into()));
            }
            self.poll_deadline(cx, &mut timer, until).map(Ok)
        })
        .await
    }
}

impl Stream<'_, '_> {
    /// Sends a body that is there as a whole, behind its head.
    pub(crate) async fn send_whole(&mut self, whole: Whole) -> Result<(), Error> {
        let bodiless = self.is_bodiless();
        let is_http2 = self.down.is_http2();
        let patience = self.flush_timeout().unwrap_or_else(|| self.idle_timeout());
        let Some(writer) = self.down.writer() else {
            return Ok(());
        };
        let mut pump = if !bodiless && (!whole.content.is_empty() || whole.has_trailers) {
            Pump::whole(whole, writer, &mut self.chain)
        } else if is_http2 {
            return Ok(());
        } else {
            Pump::flushing(Direction::Response)
        };
        let mut idle = after(clock::now(), patience);
        let (chain, timer) = (&mut self.chain, &mut *self.timer);
        let sent: Result<(), Error> = poll_fn(|cx| {
            let before = pump.moved();
            if let Poll::Ready(sent) = pump.poll_send(cx, writer, chain) {
                let sent = sent.map_err(|error| Error::of_response_write(&error));
                return Poll::Ready(sent);
            }
            if pump.moved() != before {
                idle = after(clock::now(), patience);
            }
            let over = chain.poll_deadline(cx, timer, idle);
            over.map(|()| Err(Kind::StreamIdle.into()))
        })
        .await;
        match sent {
            Err(error) if is_http2 && matches!(error.kind, Kind::StreamIdle) => {
                self.drop_rest();
                Ok(())
            }
            sent => sent,
        }
    }

    /// Whether all of a response over HTTP/2 is there, whether its client has taken it or not.
    pub(super) fn has_whole_response(&self) -> bool {
        let has_come = self.chain.exchange.timing.upstream_received.is_some();
        self.responding && has_come && self.down.is_http2()
    }

    /// Resets the stream of a client that does not take the rest of a response that is there as a whole. Such a stream
    /// was over before, for all but the codec.
    pub(super) fn drop_rest(&mut self) {
        self.count_unflushed();
        self.down.abort(h2::Reason::INTERNAL_ERROR);
    }

    /// Lets what has come of a response go before its stream over HTTP/2 is reset, as far as the client has room for it:
    /// as much Envoy has written by then. Who has waited for the client before does not wait for long.
    pub(super) async fn let_go(&mut self, failed: Side) {
        // The connection's task has its turn in any case.
        tokio::task::yield_now().await;
        let patience = match failed {
            Side::Upstream => self.flush_timeout().unwrap_or_else(|| self.idle_timeout()),
            Side::Downstream | Side::Filter | Side::Proxy => None,
        };
        let patience = patience.or(self.around.manager.delayed_close_timeout);
        let until = after(clock::now(), Some(patience.unwrap_or_default()));
        let (chain, down, timer) = (&mut self.chain, &mut self.down, &mut *self.timer);
        poll_fn(|cx| match down.poll_sent(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => chain.poll_deadline(cx, timer, until),
        })
        .await;
    }
}
