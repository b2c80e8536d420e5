//! The receiving half of an HTTP/2 stream.
//!
//! Owns what was taken out of the codec before anybody asked for it, the windows of its sender, and what may not
//! stand in trailers, how many there may be, and how large. Called through [`super::io::Reader`].

use std::collections::VecDeque;
use std::mem;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HOST, HeaderMap};

use super::h2 as h2_glue;
use super::io::{Frame, ReadError};
use crate::frames::{BARE_END, WHOLE};
use crate::h1::{HeadLimits, Underscores};
use crate::headers::Headers;

/// The first piece of what is held, in bytes.
const PIECE_MIN: usize = 4 * 1024;
/// The largest one: as much as a writer takes at once.
const PIECE_MAX: usize = 64 * 1024;

/// An HTTP/2 stream's receiving half.
pub(crate) struct H2Reader {
    stream: h2::RecvStream,
    held: Held,
    /// For how much of what is held the sender's windows are still closed.
    owed: usize,
    /// Of trailers too.
    limits: HeadLimits,
    /// What to do with trailers that have them in their names.
    underscores: Underscores,
    /// How many were left out for that.
    dropped: u64,
    of: Message,
    /// Whether there is none, only its end.
    is_bare: bool,
    data_ended: bool,
    /// Whether no trailers can come behind it.
    has_ended: bool,
}

/// Whose body it is.
#[derive(Clone, Copy)]
enum Message {
    Request,
    Response,
}

/// Content that waits, in memory of its size. The codec's frames keep the buffers alive that they were read into,
/// which are up to twice as large.
#[derive(Debug, Default)]
struct Held {
    pieces: VecDeque<Bytes>,
    /// Behind those.
    last: BytesMut,
    /// Bytes in all.
    len: usize,
}

impl Held {
    fn push(&mut self, data: &[u8]) {
        let room = self.last.capacity() - self.last.len();
        let (now, behind) = data.split_at(room.min(data.len()));
        self.last.extend_from_slice(now);
        if !behind.is_empty() {
            if !self.last.is_empty() {
                self.pieces.push_back(mem::take(&mut self.last).freeze());
            }
            let size = (self.len + data.len()).clamp(PIECE_MIN, PIECE_MAX);
            self.last = BytesMut::with_capacity(size.max(behind.len()));
            self.last.extend_from_slice(behind);
        }
        self.len += data.len();
    }

    fn pop(&mut self) -> Option<Bytes> {
        let piece = match self.pieces.pop_front() {
            Some(piece) => piece,
            None if self.last.is_empty() => return None,
            None => mem::take(&mut self.last).freeze(),
        };
        self.len -= piece.len();
        Some(piece)
    }
}

impl H2Reader {
    /// Of a request.
    pub(crate) fn new(
        stream: h2::RecvStream,
        limits: HeadLimits,
        underscores: Underscores,
    ) -> Self {
        Self {
            stream,
            held: Held::default(),
            owed: 0,
            limits,
            underscores,
            dropped: 0,
            of: Message::Request,
            is_bare: false,
            data_ended: false,
            has_ended: false,
        }
    }

    /// Of a response, to which content is not to follow where it `is_bare`.
    pub(crate) fn of_response(stream: h2::RecvStream, limits: HeadLimits, is_bare: bool) -> Self {
        Self {
            of: Message::Response,
            is_bare,
            ..Self::new(stream, limits, Underscores::Allow)
        }
    }

    /// How many trailers were left out for the underscores in their names.
    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// What comes next of the content; none behind it.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> {
        let data = ready!(self.stream.poll_data(cx));
        let ends = |error: &h2::Error| {
            error.is_remote()
                && error
                    .reason()
                    .is_some_and(|reason| reason == BARE_END.into())
        };
        self.has_ended = self.is_bare && matches!(&data, Some(Err(error)) if ends(error));
        let data = data.filter(|_| !self.has_ended);
        self.data_ended |= data.is_none();
        Poll::Ready(data)
    }

    /// Takes what has come out of the codec, for which the sender's windows stay closed. What ends the
    /// stream stays to be read.
    pub(super) fn hold(&mut self, cx: &mut Context<'_>) {
        while !self.data_ended {
            match self.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) => {
                    self.owed += data.len();
                    self.held.push(&data);
                }
                Poll::Ready(None) => {}
                // The codec says it again.
                Poll::Ready(Some(Err(_))) | Poll::Pending => return,
            }
        }
    }

    /// Whether all of the content is here; see [`super::io::Reader::has_rest`].
    pub(super) fn has_rest(&mut self, cx: &mut Context<'_>) -> bool {
        self.hold(cx);
        self.data_ended
    }

    /// Takes in all that has come, of which the codec holds no more than its windows: whether that is
    /// the whole of the content. For a stream whose peer is known to be done with it, one way or the other.
    pub(super) fn take_in(&mut self, cx: &mut Context<'_>) -> Result<bool, ReadError> {
        while !self.data_ended {
            match self.poll_data(cx) {
                Poll::Ready(Some(data)) => {
                    let data = data?;
                    self.stream.flow_control().release_capacity(data.len())?;
                    self.held.push(&data);
                }
                Poll::Ready(None) => {}
                Poll::Pending => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Whether nothing more will come.
    pub(super) fn is_at_end(&self) -> bool {
        self.held.len == 0 && (self.has_ended || self.stream.is_end_stream())
    }

    /// Some content, if there may be any.
    fn content(&self, data: Bytes) -> Result<Frame, ReadError> {
        if self.is_bare {
            return Err(ReadError::Content);
        }
        Ok(Frame::Data(data))
    }

    /// Whether trailers have a field that frames the message, or says for whom it is: parties that count
    /// it and parties that do not would differ on what the message is (RFC 9110 §6.5.1).
    fn is_of_a_head(&self, trailers: &HeaderMap) -> bool {
        let names_host = matches!(self.of, Message::Request) && trailers.contains_key(HOST);
        names_host || trailers.contains_key(CONTENT_LENGTH)
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        trailers: &mut Headers,
    ) -> Poll<Result<Frame, ReadError>> {
        if let Some(data) = self.held.pop() {
            let owed = data.len().min(self.owed);
            if owed > 0 {
                self.owed -= owed;
                self.stream.flow_control().release_capacity(owed)?;
            }
            return Poll::Ready(self.content(data));
        }
        while !self.data_ended {
            match ready!(self.poll_data(cx)) {
                Some(Ok(data)) => {
                    // The window opens again as soon as the data is ours: what we hold is bounded
                    // by the writer's backlog and one window.
                    self.stream.flow_control().release_capacity(data.len())?;
                    if !data.is_empty() {
                        return Poll::Ready(self.content(data));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Err(error.into())),
                None => {}
            }
        }
        if self.has_ended {
            return Poll::Ready(Ok(Frame::End));
        }
        match ready!(self.stream.poll_trailers(cx))? {
            Some(map) => {
                self.read_trailers(&map, trailers)?;
                Poll::Ready(Ok(Frame::Trailers))
            }
            None => Poll::Ready(Ok(Frame::End)),
        }
    }

    /// Reads trailers as they came of the codec.
    fn read_trailers(&mut self, map: &HeaderMap, trailers: &mut Headers) -> Result<(), ReadError> {
        trailers.clear();
        let (mut bytes, mut ends) = (0, 0);
        for (name, value) in map {
            let text = name.as_str();
            if text == WHOLE {
                ends += 1;
                continue;
            }
            match self.underscores.on(text.as_bytes()) {
                Underscores::Reject => return Err(ReadError::Underscore),
                Underscores::Drop => {
                    self.dropped += 1;
                    continue;
                }
                Underscores::Allow => {}
            }
            h2_glue::append(name, value, trailers).map_err(|_malformed| ReadError::Trailers)?;
            bytes += text.len() + value.len();
            if bytes > self.limits.bytes as usize {
                return Err(ReadError::TrailersTooLarge);
            }
            if trailers.len() > self.limits.fields as usize {
                return Err(ReadError::TooManyTrailers);
            }
        }
        match ends {
            // The codec has left out some.
            0 => Err(ReadError::TrailersTooLarge),
            1 if !self.is_of_a_head(map) => Ok(()),
            _ => Err(ReadError::Trailers),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_held_has_memory_of_its_size() {
        for length in [1, 100, 8192, 16_384, 70_000] {
            let mut held = Held::default();
            for _ in 0..500_000 / length {
                held.push(&vec![0; length]);
                let spare = held.last.capacity() - held.last.len();
                assert!(spare <= held.len.clamp(PIECE_MIN, PIECE_MAX), "{length}");
            }
            let mut full = held.pieces.iter();
            assert!(full.all(|piece| piece.len() >= PIECE_MIN), "{length}");
        }
    }

    proptest! {
        #[test]
        fn what_is_held_comes_back(
            steps in prop::collection::vec(prop::option::weighted(0.8, 1usize..20_000), 0..60),
        ) {
            let mut held = Held::default();
            let (mut into, mut out) = (Vec::new(), Vec::new());
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Some(length) => {
                        let data = vec![number as u8; length];
                        held.push(&data);
                        into.extend(data);
                    }
                    None => out.extend(held.pop().unwrap_or_default()),
                }
                prop_assert_eq!(held.len, into.len() - out.len());
                let whole: usize = held.pieces.iter().map(Bytes::len).sum();
                prop_assert_eq!(held.len, whole + held.last.len());
            }
            while let Some(piece) = held.pop() {
                out.extend(piece);
            }
            prop_assert_eq!(out, into);
            prop_assert_eq!(held.len, 0);
        }
    }
}
