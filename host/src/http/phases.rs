//! The filter chain: the walk through the slots, phase by phase.
//!
//! Owns the order (requests from the first slot to the terminal one, responses from the last to the
//! first, as in Envoy), what is held back while a filter wants a whole body, and what becomes of a
//! hook's answer. No filter is named here: a chain is data. Does not own the calls themselves
//! (`wasm`) nor what the terminal filter's answer leads to ([`super::stream`]).

use std::cell::Cell;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::downstream::Downstream;
use super::error::{Error, Kind};
use super::io::Reader;
use super::pump::Direction;
use super::reply::{ChangedBy, Reply};
use super::timer::{Timer, after};
use super::whole::{Whole, joined, set_length, tell_length};
use crate::clock;
use crate::exchange::{Exchange, LogType};
use crate::headers::Headers;
use crate::limits;
use crate::runtime::ConnectionManager;
use crate::variant::{Variant, Variants};
use crate::wasm::{
    BodyMode, FilterSlot, Interest, LocalReply, Outcome, Phases, SlotState, Upstream,
};
use crate::worker::Worker;

/// One stream's walk through its chain.
pub(crate) struct Chain<'a> {
    worker: &'a Worker,
    manager: &'a ConnectionManager,
    /// Those of the connection manager, or of the protocol that the stream changes to.
    filters: &'a [FilterSlot],
    /// Where the configurations of a route for these begin in its list.
    first: usize,
    /// The stream's data.
    pub(crate) exchange: &'a mut Box<Exchange>,
    states: &'a mut Vec<SlotState>,
    /// Slots before this index have seen the request; the terminal one included.
    reached: usize,
    /// A whole request body that was read for a filter, until it is sent.
    request_body: Option<Whole>,
    /// Whether any slot wants chunks of that direction.
    streams: Streams,
    /// When access logs have their next entry meanwhile (`access_log_flush_interval`).
    next_log: Option<Instant>,
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
            filters: &manager.filters,
            first: 0,
            next_log: after(exchange.timing.started, manager.early_logs.interval),
            exchange,
            states,
            reached: 0,
            request_body: None,
            streams: Streams::default(),
        }
    }

    /// Changes to other filters, before any has seen the stream. What routes configure of them begins
    /// at `first` of their lists.
    pub(crate) fn change(&mut self, first: usize, filters: &'a [FilterSlot]) {
        self.filters = filters;
        self.first = first;
        self.states.clear();
        self.states.resize_with(
            filters.len() + self.manager.loggers.len(),
            SlotState::default,
        );
    }

    /// Begins the walk anew, for another request of the same stream whose body is `body`.
    pub(crate) fn restart(&mut self, body: Option<Whole>) {
        let slots = self.states.len();
        self.states.clear();
        self.states.resize_with(slots, SlotState::default);
        self.reached = 0;
        self.request_body = body;
        self.streams = Streams::default();
        self.next_log = after(clock::now(), self.manager.early_logs.interval);
    }

    /// What a route configures of these filters.
    fn own<'v>(&self, variants: Option<&'v [Variant]>) -> &'v [Variant] {
        let end = self.first + self.filters.len();
        let own = variants.and_then(|variants| variants.get(self.first..end));
        own.unwrap_or_default()
    }

    fn slot(&mut self, index: usize) -> Option<(&'a FilterSlot, &mut SlotState)> {
        let slot = match self.filters.get(index) {
            Some(slot) => slot,
            None => self.manager.loggers.get(index - self.filters.len())?,
        };
        Some((slot, self.states.get_mut(index)?))
    }

    /// Gives each filter the configuration of the route that was matched first, and leaves out those
    /// that it does not want.
    pub(crate) fn begin(&mut self, variants: Option<&[Variant]>) {
        let variants = self.own(variants);
        for (state, variant) in self.states.iter_mut().zip(variants) {
            state.set_variant(*variant);
        }
    }

    /// Gives each filter the configuration of another route.
    fn change_route(&mut self, variants: Option<&[Variant]>) {
        let variants = self.own(variants).iter().copied();
        let variants = variants.chain(std::iter::repeat(Variant::BASE));
        for (state, variant) in self.states.iter_mut().zip(variants) {
            state.set_variant(state.variant().followed_by(variant));
        }
    }

    /// Walks the request's head (and, where a filter wants it whole, the body) to the terminal
    /// filter. `client` is where the body comes from and the response goes to. A body is bounded by
    /// `buffer_limit`, and notes in `active` when something of it came.
    /// `rematch` is called whenever a filter has changed what the route depends on, and
    /// answers which configurations the new route has.
    ///
    /// # Errors
    /// When the chain fails, the body cannot be read, or no filter is terminal.
    pub(crate) async fn request(
        &mut self,
        client: (&mut Reader<'_>, &mut Downstream<'_>),
        end_of_stream: bool,
        (buffer_limit, active): (usize, &Cell<Instant>),
        mut rematch: impl FnMut(&mut Exchange) -> Variants,
    ) -> Result<Result<Upstream, Box<Reply>>, Error> {
        let mut end = end_of_stream;
        let (reader, down) = client;
        for index in 0..self.filters.len() {
            self.reached = index + 1;
            let worker = self.worker;
            let exchange = &mut *self.exchange;
            let Some(slot) = self.filters.get(index) else {
                break;
            };
            let Some(state) = self.states.get_mut(index) else {
                break;
            };
            if state.interest(slot).wants.contains(Phases::REQUEST_HEADERS) {
                let mut outcome = worker
                    .filters
                    .on_request_headers(slot, state, exchange, end);
                loop {
                    self.rematch(&mut rematch);
                    match Self::settle(outcome)? {
                        Settled::Next => break,
                        Settled::Reply(reply) => return Ok(Err(reply)),
                        Settled::Forward(upstream) => return Ok(Ok(upstream)),
                        Settled::Wait(time) => {
                            self.pause(time, reader, down).await?;
                            outcome = self.resume(index, end);
                        }
                    }
                }
            }
            if end {
                continue;
            }
            let interest = self.interest(index);
            let limit = interest.request_body_limit;
            let limit = limit.map_or(buffer_limit, |limit| limit as usize);
            let held = self.request_body.as_ref();
            if interest.request_body == BodyMode::Buffered
                && held.is_some_and(|whole| whole.content.len() > limit)
            {
                return Err(Kind::RequestTooLarge.into());
            }
            if held.is_none() {
                if interest.request_body == BodyMode::Streamed {
                    self.streams.request |= interest.wants.contains(Phases::REQUEST_BODY);
                    continue;
                }
                let mut whole = self.collect(reader, limit, active).await?;
                // Who does nothing but hold a body back does it for its length to be known.
                if !whole.has_trailers || !interest.wants.contains(Phases::REQUEST_BODY) {
                    tell_length(&mut self.exchange.request, &whole);
                }
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

    /// Goes on with a slot that has waited.
    fn resume(&mut self, index: usize, end: bool) -> Outcome {
        let filters = &self.worker.filters;
        match (self.filters.get(index), self.states.get_mut(index)) {
            (Some(slot), Some(state)) => filters.on_resume(slot, state, self.exchange, end),
            _ => Outcome::Next,
        }
    }

    /// Shows the body that was read whole to a slot, and its trailers.
    fn whole_request_body(
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
    fn whole_body(&mut self, direction: Direction, index: usize, whole: &mut Whole) -> Outcome {
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
    fn whole_trailers(&mut self, direction: Direction, index: usize, whole: &mut Whole) -> Outcome {
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
            let Some(slot) = self.filters.get(index) else {
                continue;
            };
            let Some(state) = self.states.get_mut(index) else {
                continue;
            };
            // A reply in the place of a response has a head of its own.
            state.settle_response(false);
            if state
                .interest(slot)
                .wants
                .contains(Phases::RESPONSE_HEADERS)
            {
                let outcome =
                    worker
                        .filters
                        .on_response_headers(slot, state, self.exchange, end_of_stream);
                if let Settled::Reply(reply) = Self::settle(outcome)? {
                    return Ok(Walk::Reply(reply));
                }
            }
            if let Some(state) = self.states.get_mut(index) {
                state.settle_response(true);
            }
            if end_of_stream {
                continue;
            }
            let interest = self.interest(index);
            let wants_body = interest.wants.contains(Phases::RESPONSE_BODY);
            match (&mut whole, interest.response_body) {
                (Some(whole), _) => {
                    if let Some(reply) = self.whole_response_body(index, whole)? {
                        return Ok(Walk::Reply(reply));
                    }
                }
                (None, BodyMode::Buffered) if wants_body => {
                    return Ok(Walk::NeedBody { slot: index });
                }
                (None, BodyMode::Buffered | BodyMode::Streamed) => {
                    self.streams.response |= wants_body;
                }
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
    fn catch_up(
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

    /// How many slots the chain has: where the response's walk begins.
    pub(crate) fn len(&self) -> usize {
        self.filters.len()
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

    /// The last phases: the log hooks of filters and access logs, then the end of their states.
    pub(crate) fn finish(&mut self) {
        let worker = self.worker;
        self.exchange.log_type = LogType::DownstreamEnd;
        self.log_to(0..self.states.len());
        for index in 0..self.states.len() {
            let Some((slot, _)) = self.slot(index) else {
                continue;
            };
            if let Some(state) = self.states.get_mut(index) {
                worker.filters.on_done(slot, state);
            }
        }
    }

    /// An entry of the access logs before the end. Filters with a log phase see the end alone.
    pub(crate) fn log(&mut self, kind: LogType) {
        self.exchange.log_type = kind;
        self.log_to(self.filters.len()..self.states.len());
        self.exchange.log_type = LogType::NotSet;
    }

    /// Ready once `deadline` has come. Until then access logs have the entries that are due.
    pub(super) fn poll_deadline(
        &mut self,
        cx: &mut Context<'_>,
        timer: &mut Timer,
        deadline: Option<Instant>,
    ) -> Poll<()> {
        let is_first = |at: &Instant| deadline.is_none_or(|deadline| *at < deadline);
        while let Some(at) = self.next_log.filter(is_first) {
            ready!(timer.poll(cx, Some(at)));
            self.next_log = after(clock::now(), self.manager.early_logs.interval);
            self.log(LogType::DownstreamPeriodic);
        }
        timer.poll(cx, deadline)
    }

    fn log_to(&mut self, slots: Range<usize>) {
        let worker = self.worker;
        for index in slots {
            let Some((slot, state)) = self.slot(index) else {
                continue;
            };
            if !state.interest(slot).wants.contains(Phases::LOG) || !self.is_logged(index) {
                continue;
            }
            if let Some(state) = self.states.get_mut(index) {
                worker.filters.on_log(slot, state, self.exchange);
            }
        }
    }

    /// Whether the slot, where it is an access log's, has an entry for this stream.
    fn is_logged(&self, index: usize) -> bool {
        let logger = index.checked_sub(self.filters.len());
        let filter = logger
            .and_then(|logger| self.manager.log_filters.get(logger))
            .and_then(Option::as_ref);
        filter.is_none_or(|filter| filter.matches(self.exchange, &mut || self.worker.random()))
    }

    /// What a slot wants of this stream.
    fn interest(&self, index: usize) -> Interest {
        match (self.filters.get(index), self.states.get(index)) {
            (Some(slot), Some(state)) => state.interest(slot),
            _ => Interest::default(),
        }
    }

    /// Has the route matched again where a hook of the request asked for it.
    fn rematch(&mut self, rematch: &mut impl FnMut(&mut Exchange) -> Variants) {
        if std::mem::take(&mut self.exchange.route_cache_cleared) {
            let variants = rematch(self.exchange);
            self.change_route(variants.as_deref());
        }
    }

    fn settle(outcome: Outcome) -> Result<Settled, Error> {
        match outcome {
            Outcome::Next => Ok(Settled::Next),
            Outcome::Reply(reply) => Ok(Settled::Reply(Box::new(from_filter(reply)))),
            Outcome::Forward(upstream) => Ok(Settled::Forward(upstream)),
            Outcome::Wait(time) => Ok(Settled::Wait(time)),
            Outcome::Failed(_) => Err(Kind::FilterFailed.into()),
        }
    }

    /// The answer of a hook for a body or trailers that are on their way: a reply ends the exchange
    /// with the upstream, and is sent where the response has not begun.
    fn settle_late(outcome: Outcome) -> Result<(), Error> {
        match Self::settle(outcome)? {
            Settled::Next => Ok(()),
            Settled::Reply(reply) => Err(Kind::Answered(reply).into()),
            Settled::Forward(_) | Settled::Wait(_) => Err(Kind::FilterFailed.into()),
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
    Wait(Duration),
}

fn from_filter(reply: LocalReply) -> Reply {
    let mut made = Reply::new(reply.status, reply.details);
    made.headers = reply.headers;
    made.body = reply.body.into();
    made.grpc_status = reply.grpc_status;
    if !reply.of_route {
        made.changed_by = ChangedBy::None;
    }
    made.flag(reply.flags)
}
