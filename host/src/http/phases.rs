//! The filter chain: the walk through the slots, phase by phase.
//!
//! Owns the order (requests from the first slot to the terminal one, responses from the last to the
//! first, as in Envoy), what is held back while a filter wants a whole body, and what becomes of a
//! hook's answer. No filter is named here: a chain is data. Does not own the calls themselves
//! (`wasm`) nor what the terminal filter's answer leads to ([`super::stream`]).

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::error::{Error, Kind};
use super::io::{Frame, Reader};
use super::pump::Direction;
use super::reply::Reply;
use crate::exchange::Exchange;
use crate::headers::{Headers, Known};
use crate::log_filter::Occasion;
use crate::runtime::ConnectionManager;
use crate::wasm::{BodyMode, FilterSlot, LocalReply, Outcome, Phases, SlotState, Upstream};
use crate::worker::Worker;

/// One stream's walk through its chain.
pub(crate) struct Chain<'a> {
    worker: &'a Worker,
    manager: &'a ConnectionManager,
    /// The stream's data.
    pub(crate) exchange: &'a mut Box<Exchange>,
    states: &'a mut Vec<SlotState>,
    /// Slots before this index have seen the request; the terminal one included.
    reached: usize,
    /// A whole request body that was read for a filter, until it is sent.
    request_body: Option<Whole>,
    /// Whether any slot wants chunks of that direction.
    streams: Streams,
}

/// Whether any slot wants the chunks of a direction.
#[derive(Clone, Copy, Debug, Default)]
struct Streams {
    request: bool,
    response: bool,
}

impl Streams {
    const fn of(&mut self, direction: Direction) -> &mut bool {
        match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        }
    }
}

/// A body that was read whole.
#[derive(Debug, Default)]
pub(crate) struct Whole {
    /// The content.
    pub(crate) content: Bytes,
    /// Whether trailers ended it.
    pub(crate) has_trailers: bool,
}

/// Where the walk through the response's head stopped.
#[derive(Debug)]
pub(crate) enum Walk {
    /// At the end.
    Done,
    /// A filter wants the whole body first: read it, then go on.
    NeedBody {
        /// The slot that asked.
        slot: usize,
    },
    /// A filter answers in the upstream's place.
    Reply(Box<Reply>),
}

impl<'a> Chain<'a> {
    pub(crate) fn new(
        worker: &'a Worker,
        manager: &'a ConnectionManager,
        exchange: &'a mut Box<Exchange>,
        states: &'a mut Vec<SlotState>,
    ) -> Self {
        let slots = manager.filters.len() + manager.loggers.len();
        states.clear();
        states.resize_with(slots, SlotState::default);
        Self {
            worker,
            manager,
            exchange,
            states,
            reached: 0,
            request_body: None,
            streams: Streams::default(),
        }
    }

    fn slot(&mut self, index: usize) -> Option<(&'a FilterSlot, &mut SlotState)> {
        let manager = self.manager;
        let filters = manager.filters.len();
        let slot = match manager.filters.get(index) {
            Some(slot) => slot,
            None => manager.loggers.get(index - filters)?,
        };
        Some((slot, self.states.get_mut(index)?))
    }

    /// Walks the request's head (and, where a filter wants it whole, the body) to the terminal
    /// filter. `rematch` is called whenever a filter has changed what the route depends on.
    ///
    /// # Errors
    /// When the chain fails, the body cannot be read, or no filter is terminal.
    pub(crate) async fn request(
        &mut self,
        reader: &mut Reader<'_>,
        end_of_stream: bool,
        buffer_limit: usize,
        mut rematch: impl FnMut(&mut Exchange),
    ) -> Result<Result<Upstream, Box<Reply>>, Error> {
        let mut end = end_of_stream;
        for index in 0..self.manager.filters.len() {
            self.reached = index + 1;
            let worker = self.worker;
            let exchange = &mut *self.exchange;
            let Some(slot) = self.manager.filters.get(index) else {
                break;
            };
            let Some(state) = self.states.get_mut(index) else {
                break;
            };
            let interest = slot.interest();
            if interest.wants.contains(Phases::REQUEST_HEADERS) {
                let outcome = worker
                    .filters
                    .on_request_headers(slot, state, exchange, end);
                match self.settle(outcome, &mut rematch)? {
                    Settled::Next => {}
                    Settled::Reply(reply) => return Ok(Err(reply)),
                    Settled::Forward(upstream) => return Ok(Ok(upstream)),
                }
            }
            if end || !interest.wants.contains(Phases::REQUEST_BODY) {
                continue;
            }
            if interest.request_body == BodyMode::Streamed && self.request_body.is_none() {
                self.streams.request = true;
                continue;
            }
            if self.request_body.is_none() {
                let mut whole =
                    collect(reader, &mut self.exchange.request_trailers, buffer_limit).await?;
                self.exchange.bytes_received += whole.content.len() as u64;
                self.catch_up(Direction::Request, 0..index, &mut whole)?;
                self.request_body = Some(whole);
            }
            if let Some(reply) = self.whole_request_body(index, &mut rematch)? {
                return Ok(Err(reply));
            }
            end = self
                .request_body
                .as_ref()
                .is_some_and(|whole| whole.content.is_empty() && !whole.has_trailers);
        }
        Err(Kind::NoTerminalFilter.into())
    }

    /// Shows the body that was read whole to a slot.
    fn whole_request_body(
        &mut self,
        index: usize,
        rematch: &mut impl FnMut(&mut Exchange),
    ) -> Result<Option<Box<Reply>>, Error> {
        let Some(mut whole) = self.request_body.take() else {
            return Ok(None);
        };
        let before = whole.content.len();
        let worker = self.worker;
        let (Some(slot), Some(state)) =
            (self.manager.filters.get(index), self.states.get_mut(index))
        else {
            return Ok(None);
        };
        let (content, outcome) = worker.filters.on_request_body(
            slot,
            state,
            self.exchange,
            whole.content,
            !whole.has_trailers,
        );
        whole.content = content;
        if whole.content.len() != before {
            set_length(&mut self.exchange.request, whole.content.len());
        }
        let has_trailers = whole.has_trailers;
        self.request_body = Some(whole);
        if let Settled::Reply(reply) = self.settle(outcome, rematch)? {
            return Ok(Some(reply));
        }
        if has_trailers && slot.interest().wants.contains(Phases::REQUEST_TRAILERS) {
            let Some(state) = self.states.get_mut(index) else {
                return Ok(None);
            };
            let outcome = worker
                .filters
                .on_request_trailers(slot, state, self.exchange);
            if let Settled::Reply(reply) = self.settle(outcome, rematch)? {
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }

    /// The request's body, where it was read whole.
    pub(crate) const fn take_request_body(&mut self) -> Option<Whole> {
        self.request_body.take()
    }

    /// Walks the response's head from the slot before `from` to the first. `whole` is the body,
    /// where it was read for a slot behind `from`.
    ///
    /// # Errors
    /// When a filter fails.
    pub(crate) fn response(
        &mut self,
        from: usize,
        end_of_stream: bool,
        mut whole: Option<&mut Whole>,
    ) -> Result<Walk, Error> {
        for index in (0..from).rev() {
            let worker = self.worker;
            let Some(slot) = self.manager.filters.get(index) else {
                continue;
            };
            let Some(state) = self.states.get_mut(index) else {
                continue;
            };
            let interest = slot.interest();
            if interest.wants.contains(Phases::RESPONSE_HEADERS) {
                let outcome =
                    worker
                        .filters
                        .on_response_headers(slot, state, self.exchange, end_of_stream);
                if let Settled::Reply(reply) = self.settle(outcome, &mut |_| {})? {
                    return Ok(Walk::Reply(reply));
                }
            }
            if end_of_stream || !interest.wants.contains(Phases::RESPONSE_BODY) {
                continue;
            }
            match (&mut whole, interest.response_body) {
                (Some(whole), _) => {
                    if let Some(reply) = self.whole_response_body(index, whole)? {
                        return Ok(Walk::Reply(reply));
                    }
                }
                (None, BodyMode::Streamed) => self.streams.response = true,
                (None, BodyMode::Buffered) => return Ok(Walk::NeedBody { slot: index }),
            }
        }
        Ok(Walk::Done)
    }

    /// Goes on with the walk once the body that `slot` asked for is there.
    ///
    /// # Errors
    /// When a filter fails.
    pub(crate) fn response_with_body(
        &mut self,
        slot: usize,
        whole: &mut Whole,
    ) -> Result<Walk, Error> {
        self.catch_up(Direction::Response, slot + 1..self.len(), whole)?;
        if let Some(reply) = self.whole_response_body(slot, whole)? {
            return Ok(Walk::Reply(reply));
        }
        self.response(slot, false, Some(whole))
    }

    fn whole_response_body(
        &mut self,
        index: usize,
        whole: &mut Whole,
    ) -> Result<Option<Box<Reply>>, Error> {
        let before = whole.content.len();
        let worker = self.worker;
        let (Some(slot), Some(state)) =
            (self.manager.filters.get(index), self.states.get_mut(index))
        else {
            return Ok(None);
        };
        let content = std::mem::take(&mut whole.content);
        let (content, outcome) = worker.filters.on_response_body(
            slot,
            state,
            self.exchange,
            content,
            !whole.has_trailers,
        );
        whole.content = content;
        if whole.content.len() != before {
            set_length(&mut self.exchange.response, whole.content.len());
        }
        match self.settle(outcome, &mut |_| {})? {
            Settled::Reply(reply) => Ok(Some(reply)),
            Settled::Next | Settled::Forward(_) => Ok(None),
        }
    }

    /// Shows a body that was read whole for one slot to the slots that came before it and want
    /// chunks.
    fn catch_up(
        &mut self,
        direction: Direction,
        slots: Range<usize>,
        whole: &mut Whole,
    ) -> Result<(), Error> {
        if !std::mem::take(self.streams.of(direction)) {
            return Ok(());
        }
        let content = std::mem::take(&mut whole.content);
        let before = content.len();
        whole.content = self.chunk(direction, slots.clone(), content, !whole.has_trailers)?;
        if whole.content.len() != before {
            set_length(self.head_mut(direction), whole.content.len());
        }
        if whole.has_trailers {
            self.trailers_of(direction, slots)?;
        }
        Ok(())
    }

    fn head_mut(&mut self, direction: Direction) -> &mut Headers {
        match direction {
            Direction::Request => &mut self.exchange.request,
            Direction::Response => &mut self.exchange.response,
        }
    }

    /// How many slots the chain has: where the response's walk begins.
    pub(crate) fn len(&self) -> usize {
        self.manager.filters.len()
    }

    /// Counts content on the wire.
    pub(crate) fn count(&mut self, direction: Direction, bytes: usize) {
        match direction {
            Direction::Request => self.exchange.bytes_received += bytes as u64,
            Direction::Response => self.exchange.bytes_sent += bytes as u64,
        }
    }

    /// The block that trailers of that direction are read into.
    pub(crate) fn trailers_mut(&mut self, direction: Direction) -> &mut Headers {
        match direction {
            Direction::Request => &mut self.exchange.request_trailers,
            Direction::Response => &mut self.exchange.response_trailers,
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

    /// Shows the trailers of a streamed body to the slots that want them.
    ///
    /// # Errors
    /// As [`Chain::body`].
    pub(crate) fn trailers(&mut self, direction: Direction) -> Result<(), Error> {
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
            let Some(slot) = self.manager.filters.get(index) else {
                continue;
            };
            let Some(state) = self.states.get_mut(index) else {
                continue;
            };
            let interest = slot.interest();
            let filters = &self.worker.filters;
            let (content, outcome) = match direction {
                Direction::Request
                    if interest.wants.contains(Phases::REQUEST_BODY)
                        && interest.request_body == BodyMode::Streamed =>
                {
                    filters.on_request_body(slot, state, self.exchange, data, end)
                }
                Direction::Response
                    if interest.wants.contains(Phases::RESPONSE_BODY)
                        && interest.response_body == BodyMode::Streamed =>
                {
                    filters.on_response_body(slot, state, self.exchange, data, end)
                }
                Direction::Request | Direction::Response => continue,
            };
            data = content;
            self.too_late_to_answer(outcome)?;
        }
        Ok(data)
    }

    fn trailers_of(&mut self, direction: Direction, slots: Range<usize>) -> Result<(), Error> {
        for index in ordered(direction, slots) {
            let Some(slot) = self.manager.filters.get(index) else {
                continue;
            };
            let Some(state) = self.states.get_mut(index) else {
                continue;
            };
            let wants = slot.interest().wants;
            let filters = &self.worker.filters;
            let outcome = match direction {
                Direction::Request if wants.contains(Phases::REQUEST_TRAILERS) => {
                    filters.on_request_trailers(slot, state, self.exchange)
                }
                Direction::Response if wants.contains(Phases::RESPONSE_TRAILERS) => {
                    filters.on_response_trailers(slot, state, self.exchange)
                }
                Direction::Request | Direction::Response => continue,
            };
            self.too_late_to_answer(outcome)?;
        }
        Ok(())
    }

    /// The trailers that are to be sent on.
    pub(crate) fn forwarded_trailers(&self, direction: Direction) -> Option<&Headers> {
        let block = match direction {
            Direction::Request => &self.exchange.request_trailers,
            Direction::Response => &self.exchange.response_trailers,
        };
        (!block.is_empty()).then_some(block)
    }

    /// The last phases: the log hooks of filters and access logs, then the end of their states.
    pub(crate) fn finish(&mut self) {
        let worker = self.worker;
        for index in 0..self.states.len() {
            let Some((slot, _)) = self.slot(index) else {
                continue;
            };
            if !slot.interest().wants.contains(Phases::LOG) || !self.is_logged(index) {
                continue;
            }
            if let Some(state) = self.states.get_mut(index) {
                worker.filters.on_log(slot, state, self.exchange);
            }
        }
        for index in 0..self.states.len() {
            let Some((slot, _)) = self.slot(index) else {
                continue;
            };
            if let Some(state) = self.states.get_mut(index) {
                worker.filters.on_done(slot, state);
            }
        }
    }

    /// Whether the slot, where it is an access log's, has an entry for this stream.
    fn is_logged(&self, index: usize) -> bool {
        let logger = index.checked_sub(self.manager.filters.len());
        let filter = logger
            .and_then(|logger| self.manager.log_filters.get(logger))
            .and_then(Option::as_ref);
        filter.is_none_or(|filter| {
            filter.matches(self.exchange, Occasion::StreamEnd, &mut || {
                self.worker.random()
            })
        })
    }

    fn settle(
        &mut self,
        outcome: Outcome,
        rematch: &mut impl FnMut(&mut Exchange),
    ) -> Result<Settled, Error> {
        if self.exchange.route_cache_cleared {
            self.exchange.route_cache_cleared = false;
            rematch(self.exchange);
        }
        match outcome {
            Outcome::Next => Ok(Settled::Next),
            Outcome::Reply(reply) => Ok(Settled::Reply(Box::new(from_filter(reply)))),
            Outcome::Forward(upstream) => Ok(Settled::Forward(upstream)),
            Outcome::Failed(_) => Err(Kind::FilterFailed.into()),
        }
    }

    /// A streamed body's hook cannot answer any more: the head is gone.
    fn too_late_to_answer(&mut self, outcome: Outcome) -> Result<(), Error> {
        match self.settle(outcome, &mut |_| {})? {
            Settled::Next => Ok(()),
            Settled::Reply(_) | Settled::Forward(_) => Err(Kind::FilterFailed.into()),
        }
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

enum Settled {
    Next,
    Reply(Box<Reply>),
    Forward(Upstream),
}

fn from_filter(reply: LocalReply) -> Reply {
    let mut made = Reply::new(reply.status, reply.details);
    made.headers = reply.headers;
    made.body = reply.body.into();
    made.grpc_status = reply.grpc_status;
    made.flag(reply.flags)
}

fn set_length(headers: &mut Headers, length: usize) {
    let mut room = [0; 20];
    headers.set_known(
        Known::ContentLength,
        super::reply::decimal(length as u64, &mut room),
    );
}

/// Reads a whole body.
///
/// # Errors
/// When it cannot be read, or is longer than `limit` bytes.
pub(crate) async fn collect(
    reader: &mut Reader<'_>,
    trailers: &mut Headers,
    limit: usize,
) -> Result<Whole, Error> {
    let mut content = BytesMut::new();
    loop {
        match reader
            .frame(trailers)
            .await
            .map_err(|error| Error::of_request_body(&error))?
        {
            Frame::Data(data) => {
                if content.len() + data.len() > limit {
                    return Err(Kind::RequestTooLarge.into());
                }
                content.extend_from_slice(&data);
            }
            Frame::End => {
                return Ok(Whole {
                    content: content.freeze(),
                    has_trailers: false,
                });
            }
            Frame::Trailers => {
                return Ok(Whole {
                    content: content.freeze(),
                    has_trailers: true,
                });
            }
        }
    }
}
