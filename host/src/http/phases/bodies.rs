//! Bodies and trailers on their way through the chain.
//!
//! Owns which slots see what of them, in which order and in which pieces, and what a head says of a length that
//! they change. Does not own when a body is read whole, nor the walk of the heads ([`super`]). Called by that walk,
//! and by [`crate::http::pump`] for what is passed on as it comes.

use std::ops::Range;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};

use super::{Chain, Settled};
use crate::exchange::Exchange;
use crate::headers::Headers;
use crate::http::error::Error;
use crate::http::pump::Direction;
use crate::http::reply::Reply;
use crate::http::whole::{Whole, joined, set_length};
use crate::limits;
use crate::variant::Variants;
use crate::wasm::{BodyMode, Outcome, Phases};

/// Whether any slot wants the chunks of a direction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Streams {
    pub(super) request: bool,
    pub(super) response: bool,
}

impl Streams {
    const fn of(&mut self, direction: Direction) -> &mut bool {
        match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        }
    }
}

impl Chain<'_> {
    /// Shows the body that was read whole to a slot, and its trailers.
    pub(super) fn whole_request_body(
        &mut self,
        index: usize,
        rematch: &mut impl FnMut(&mut Exchange) -> Variants,
    ) -> Result<Option<Box<Reply>>, Error> {
        let Some(mut whole) = self.request_body.take() else {
            return Ok(None);
        };
        let mut answer = None;
        for hook in [Self::whole_body, Self::whole_trailers] {
            let outcome = hook(self, Direction::Request, index, &mut whole);
            self.rematch(rematch);
            if let Settled::Reply(reply) = Self::settle(outcome)? {
                answer = Some(reply);
                break;
            }
        }
        self.request_body = Some(whole);
        Ok(answer)
    }

    /// Shows a body that was read whole to a slot, where it wants one.
    pub(super) fn whole_body(
        &mut self,
        direction: Direction,
        index: usize,
        whole: &mut Whole,
    ) -> Outcome {
        let before = whole.content.len();
        let interest = self.interest(index);
        let (wants, mode) = match direction {
            Direction::Request => (Phases::REQUEST_BODY, interest.request_body),
            Direction::Response => (Phases::RESPONSE_BODY, interest.response_body),
        };
        if !interest.wants.contains(wants) {
            return Outcome::Next;
        }
        let content = std::mem::take(&mut whole.content);
        let end = !whole.has_trailers;
        let (content, outcome) = match mode {
            BodyMode::Buffered => self.show(direction, index, content, end),
            BodyMode::Streamed => self.show_pieces(direction, index, content, end),
        };
        whole.content = content;
        if whole.content.len() != before {
            set_length(self.head_mut(direction), whole);
        }
        outcome
    }

    /// Shows the trailers of a body that was read whole to a slot, where it wants them.
    pub(super) fn whole_trailers(
        &mut self,
        direction: Direction,
        index: usize,
        whole: &mut Whole,
    ) -> Outcome {
        if !whole.has_trailers {
            return Outcome::Next;
        }
        let (added, outcome) = self.trailers_hook(direction, index);
        whole.content = joined(std::mem::take(&mut whole.content), added.clone());
        whole.has_trailers = !self.trailers_mut(direction).is_empty();
        if !added.is_empty() || !whole.has_trailers {
            set_length(self.head_mut(direction), whole);
        }
        outcome
    }

    /// Calls a slot's hook for trailers, where it wants them. Answers what goes in front of them.
    fn trailers_hook(&mut self, direction: Direction, index: usize) -> (Bytes, Outcome) {
        let (Some(slot), Some(state)) = (self.filters.get(index), self.states.get_mut(index))
        else {
            return (Bytes::new(), Outcome::Next);
        };
        let wants = state.interest(slot).wants;
        let filters = &self.worker.filters;
        match direction {
            Direction::Request if wants.contains(Phases::REQUEST_TRAILERS) => {
                filters.on_request_trailers(slot, state, self.exchange)
            }
            Direction::Response if wants.contains(Phases::RESPONSE_TRAILERS) => {
                filters.on_response_trailers(slot, state, self.exchange)
            }
            Direction::Request | Direction::Response => (Bytes::new(), Outcome::Next),
        }
    }

    /// The request's body, where it was read whole.
    pub(crate) const fn take_request_body(&mut self) -> Option<Whole> {
        self.request_body.take()
    }

    pub(super) fn whole_response_body(
        &mut self,
        index: usize,
        whole: &mut Whole,
    ) -> Result<Option<Box<Reply>>, Error> {
        for hook in [Self::whole_body, Self::whole_trailers] {
            let outcome = hook(self, Direction::Response, index, whole);
            if let Settled::Reply(reply) = Self::settle(outcome)? {
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }

    /// Shows a body that was read whole for one slot to the slots that came before it and want
    /// chunks.
    pub(super) fn catch_up(
        &mut self,
        direction: Direction,
        slots: Range<usize>,
        whole: &mut Whole,
    ) -> Result<(), Error> {
        let before = whole.content.len();
        if std::mem::take(self.streams.of(direction)) {
            let content = std::mem::take(&mut whole.content);
            whole.content = self.chunk(direction, slots.clone(), content, !whole.has_trailers)?;
        }
        if whole.has_trailers {
            let added = self.trailers_of(direction, slots)?;
            whole.content = joined(std::mem::take(&mut whole.content), added);
            whole.has_trailers = !self.trailers_mut(direction).is_empty();
        }
        if whole.content.len() != before {
            set_length(self.head_mut(direction), whole);
        }
        Ok(())
    }

    fn head_mut(&mut self, direction: Direction) -> &mut Headers {
        match direction {
            Direction::Request => &mut self.exchange.request,
            Direction::Response => &mut self.exchange.response,
        }
    }

    /// Counts content that came, where it came from the client.
    pub(crate) fn count_received(&mut self, direction: Direction, bytes: usize) {
        if direction == Direction::Request {
            self.exchange.bytes_received += bytes as u64;
        }
    }

    /// Counts content that goes on, where it goes to the client.
    pub(crate) fn count_sent(&mut self, direction: Direction, bytes: usize) {
        if direction == Direction::Response {
            self.exchange.bytes_sent += bytes as u64;
        }
    }

    /// Says in the log, once, that a body is not as long as its head says, and which filters have had
    /// it in their hands.
    pub(crate) fn tell_changed_length(&self, direction: Direction) {
        if self
            .manager
            .told_changed_length
            .swap(true, Ordering::Relaxed)
        {
            return;
        }
        let (message, wanted) = match direction {
            Direction::Request => ("request", [Phases::REQUEST_BODY, Phases::REQUEST_TRAILERS]),
            Direction::Response => (
                "response",
                [Phases::RESPONSE_BODY, Phases::RESPONSE_TRAILERS],
            ),
        };
        let has_it = |index: &usize| {
            let wants = self.interest(*index).wants;
            wanted.into_iter().any(|phase| wants.contains(phase))
        };
        let filters: Vec<&str> = (0..self.len())
            .filter(has_it)
            .filter_map(|index| Some(self.filters.get(index)?.name()))
            .collect();
        tracing::warn!(
            target: "http",
            stat_prefix = self.manager.stat_prefix,
            "the body of a {message} is not as long as its content-length says, behind {filters:?}: \
             a filter that changes the length of a streamed body removes the field (told once)",
        );
    }

    /// The block that trailers of that direction are read into.
    pub(crate) fn trailers_mut(&mut self, direction: Direction) -> &mut Headers {
        match direction {
            Direction::Request => &mut self.exchange.request_trailers,
            Direction::Response => &mut self.exchange.response_trailers,
        }
    }

    /// Whether slots are shown the chunks of that direction, and may change them.
    pub(crate) const fn shows_chunks(&self, direction: Direction) -> bool {
        match direction {
            Direction::Request => self.streams.request,
            Direction::Response => self.streams.response,
        }
    }

    /// Passes a chunk through the slots that want chunks, in the direction's order.
    ///
    /// # Errors
    /// When a filter fails, or answers when it is too late to.
    pub(crate) fn body(&mut self, direction: Direction, data: Bytes) -> Result<Bytes, Error> {
        if !*self.streams.of(direction) {
            return Ok(data);
        }
        self.chunk(direction, self.seen(direction), data, false)
    }

    /// Tells the slots that want chunks that no more will come. They may add a last one.
    ///
    /// # Errors
    /// As [`Chain::body`].
    pub(crate) fn end_of_body(&mut self, direction: Direction) -> Result<Bytes, Error> {
        if !*self.streams.of(direction) {
            return Ok(Bytes::new());
        }
        self.chunk(direction, self.seen(direction), Bytes::new(), true)
    }

    /// Shows the trailers of a streamed body to the slots that want them. Answers what they add to the
    /// body in front of the trailers.
    ///
    /// # Errors
    /// As [`Chain::body`].
    pub(crate) fn trailers(&mut self, direction: Direction) -> Result<Bytes, Error> {
        self.trailers_of(direction, self.seen(direction))
    }

    /// The slots that see a body: of a request those up to the terminal one, of a response all.
    fn seen(&self, direction: Direction) -> Range<usize> {
        match direction {
            Direction::Request => 0..self.reached,
            Direction::Response => 0..self.len(),
        }
    }

    fn chunk(
        &mut self,
        direction: Direction,
        slots: Range<usize>,
        mut data: Bytes,
        end: bool,
    ) -> Result<Bytes, Error> {
        for index in ordered(direction, slots) {
            data = self.chunk_hook(direction, index, data, end)?;
        }
        Ok(data)
    }

    /// Shows a chunk to a slot, where it wants chunks.
    fn chunk_hook(
        &mut self,
        direction: Direction,
        index: usize,
        data: Bytes,
        end: bool,
    ) -> Result<Bytes, Error> {
        let interest = self.interest(index);
        let (wants, mode) = match direction {
            Direction::Request => (Phases::REQUEST_BODY, interest.request_body),
            Direction::Response => (Phases::RESPONSE_BODY, interest.response_body),
        };
        if !interest.wants.contains(wants) || mode != BodyMode::Streamed {
            return Ok(data);
        }
        let (data, outcome) = self.show_pieces(direction, index, data, end);
        Self::settle_late(outcome)?;
        Ok(data)
    }

    /// Shows content to a slot that wants chunks, in pieces that any guest has room for: what was read
    /// whole for another slot may be large.
    fn show_pieces(
        &mut self,
        direction: Direction,
        index: usize,
        mut content: Bytes,
        end: bool,
    ) -> (Bytes, Outcome) {
        if content.len() <= limits::WASM_CHUNK_BYTES {
            return self.show(direction, index, content, end);
        }
        let mut shown = BytesMut::with_capacity(content.len());
        loop {
            let piece = content.split_to(content.len().min(limits::WASM_CHUNK_BYTES));
            let is_last = content.is_empty();
            let (piece, outcome) = self.show(direction, index, piece, end && is_last);
            shown.extend_from_slice(&piece);
            if is_last || !matches!(outcome, Outcome::Next) {
                return (shown.freeze(), outcome);
            }
        }
    }

    /// Calls a slot's hook for content.
    fn show(
        &mut self,
        direction: Direction,
        index: usize,
        content: Bytes,
        end: bool,
    ) -> (Bytes, Outcome) {
        let (Some(slot), Some(state)) = (self.filters.get(index), self.states.get_mut(index))
        else {
            return (content, Outcome::Next);
        };
        let filters = &self.worker.filters;
        match direction {
            Direction::Request => filters.on_request_body(slot, state, self.exchange, content, end),
            Direction::Response => {
                filters.on_response_body(slot, state, self.exchange, content, end)
            }
        }
    }

    fn trailers_of(&mut self, direction: Direction, slots: Range<usize>) -> Result<Bytes, Error> {
        let mut added = Bytes::new();
        for index in ordered(direction, slots) {
            if !added.is_empty() {
                added = self.chunk_hook(direction, index, added, false)?;
            }
            let (more, outcome) = self.trailers_hook(direction, index);
            added = joined(added, more);
            Self::settle_late(outcome)?;
        }
        Ok(added)
    }

    /// The trailers that are to be sent on.
    pub(crate) fn forwarded_trailers(&self, direction: Direction) -> Option<&Headers> {
        let block = match direction {
            Direction::Request => &self.exchange.request_trailers,
            Direction::Response => &self.exchange.response_trailers,
        };
        (!block.is_empty()).then_some(block)
    }
}

/// The slots of `range` in the order in which that direction passes them.
fn ordered(direction: Direction, range: Range<usize>) -> impl Iterator<Item = usize> {
    let (start, end) = (range.start, range.end);
    range.map(move |index| match direction {
        Direction::Request => index,
        Direction::Response => end - 1 - (index - start),
    })
}
