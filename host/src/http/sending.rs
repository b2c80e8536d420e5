//! The sending half of an HTTP/2 stream.
//!
//! Owns what was not handed to the codec yet, for want of room in its queue, in the peer's windows, or among the
//! frames of the connection that wait. Called through [`super::io::Writer`].

use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::h2 as h2_glue;
use super::io::{Promised, WriteError};
use crate::frames::backlog::{Backlog, Part, Seat};
use crate::h1::BodyLength;

/// An HTTP/2 stream's sending half.
pub(crate) struct H2Writer {
    promised: Promised,
    stream: h2::SendStream<Part>,
    /// What waits on the connection, of this stream and of others.
    backlog: Rc<Backlog>,
    seat: Seat,
    /// What goes next; empty where nothing waits.
    front: Bytes,
    behind: VecDeque<Bytes>,
    end: Option<h2_glue::End>,
    opening: Opening,
}

/// How far the codec is with a stream that is opened here: it assigns room only once the head has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opening {
    /// No room was asked for.
    Begun,
    /// It was, and the codec has not had its turn since: that there is none says nothing of the peer.
    Asked,
    /// What room there is is the peer's.
    Over,
}

impl H2Writer {
    /// Begins a body, behind a head that was sent to who has opened the stream.
    pub(crate) const fn new(
        stream: h2::SendStream<Part>,
        backlog: Rc<Backlog>,
        length: BodyLength,
    ) -> Self {
        Self {
            promised: Promised::by(length),
            stream,
            backlog,
            seat: Seat::none(),
            front: Bytes::new(),
            behind: VecDeque::new(),
            end: None,
            opening: Opening::Over,
        }
    }

    /// Begins a body, behind the head that opens the stream.
    pub(crate) const fn opening(
        stream: h2::SendStream<Part>,
        backlog: Rc<Backlog>,
        length: BodyLength,
    ) -> Self {
        let mut begun = Self::new(stream, backlog, length);
        begun.opening = Opening::Begun;
        begun
    }

    /// Takes some content. It is not empty: nothing in front says that nothing waits.
    pub(super) fn push(&mut self, data: Bytes) {
        if !self.promised.allows(&data) {
            return;
        }
        if self.front.is_empty() {
            self.front = data;
        } else {
            self.behind.push_back(data);
        }
    }

    /// Takes the end.
    pub(super) fn push_end(&mut self, end: h2_glue::End) {
        self.promised.end();
        self.end = self.promised.check().is_ok().then_some(end);
    }

    /// Whether it may be given more before it is flushed.
    pub(super) const fn has_room(&self) -> bool {
        self.front.is_empty()
    }

    /// Whether the peer, or what waits for it on the connection, takes no more.
    pub(super) fn is_backed_up(&self) -> bool {
        !self.has_room() && self.opening != Opening::Asked
    }

    /// Resets the stream, where it is still open.
    pub(crate) fn reset(&mut self, reason: h2::Reason) {
        self.stream.send_reset(reason);
    }

    /// Ready when the peer has reset the stream, or the connection is lost.
    pub(crate) fn poll_reset(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<h2::Reason, h2::Error>> {
        self.stream.poll_reset(cx)
    }

    /// Hands over what the peer has room for. Ready once that has left the codec, out of whose queue a reset takes what
    /// it finds there, or once the stream is over.
    pub(super) fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.poll_reset(cx).is_ready() {
            return Poll::Ready(());
        }
        // Where that takes more room, there is some once a frame has left, or the peer has none.
        let _handed_over = self.poll_flush(cx);
        self.seat.poll_empty(cx)
    }

    /// Hands everything to the codec.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        while !self.front.is_empty() {
            // What the codec says has come may have been used up since.
            while self.stream.capacity() == 0 {
                self.stream.reserve_capacity(self.front.len());
                let polled = self.stream.poll_capacity(cx);
                self.note_asked(cx, polled.is_pending());
                match ready!(polled) {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Poll::Ready(Err(error.into())),
                    None => return Poll::Ready(Err(h2::Error::from(h2::Reason::CANCEL).into())),
                }
            }
            if self.backlog.poll_room(&mut self.seat, cx).is_pending() {
                // Nothing else tells that the stream is over.
                let over = ready!(self.stream.poll_reset(cx));
                return Poll::Ready(Err(over.map_or_else(Into::into, h2::Error::from).into()));
            }
            let part = self.front.len().min(self.stream.capacity());
            let part = self.front.split_to(part);
            if self.front.is_empty() {
                self.front = self.behind.pop_front().unwrap_or_default();
            }
            let last = self.front.is_empty() && matches!(self.end, Some(h2_glue::End::Plain));
            if last {
                self.end = None;
            }
            let part = if last {
                self.backlog.last_part(part)
            } else {
                self.backlog.part(&mut self.seat, part)
            };
            self.stream.send_data(part, last)?;
        }
        self.promised.check()?;
        match self.end.take() {
            Some(h2_glue::End::Plain) => {
                let empty = self.backlog.last_part(Bytes::new());
                self.stream.send_data(empty, true)?;
            }
            Some(h2_glue::End::Trailers(map)) => self.stream.send_trailers(map)?,
            None => {}
        }
        Poll::Ready(Ok(()))
    }

    /// Notes that room was asked for. Who is kept waiting by the codec looks again behind it: nothing else tells
    /// of a stream that was opened without any.
    fn note_asked(&mut self, cx: &Context<'_>, waits: bool) {
        self.opening = match self.opening {
            Opening::Begun if waits => {
                cx.waker().wake_by_ref();
                Opening::Asked
            }
            _ => Opening::Over,
        };
    }
}
