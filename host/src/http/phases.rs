//! The filter chain: the walk through the slots, phase by phase.
//!
//! Owns the order (requests from the first slot to the terminal one, responses from the last to the
//! first, as in Envoy), what is held back while a filter wants a whole body, and what becomes of a
//! hook's answer. No filter is named here: a chain is data. Does not own the calls themselves
//! (`wasm`) nor what the terminal filter's answer leads to ([`super::stream`]), nor how content and trailers pass the
//! slots ([`bodies`]) and what is logged of them ([`entries`]).

mod bodies;
mod entries;

use std::cell::Cell;
use std::time::{Duration, Instant};

use self::bodies::Streams;
use super::downstream::Downstream;
use super::error::{Error, Kind};
use super::io::Reader;
use super::pump::Direction;
use super::reply::{ChangedBy, Reply};
use super::timer::after;
use super::whole::{Whole, tell_length};
use crate::clock;
use crate::exchange::Exchange;
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
        (buffer_limit, active): (usize, &Cell<Option<Instant>>),
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

    /// How many slots the chain has: where the response's walk begins.
    pub(crate) fn len(&self) -> usize {
        self.filters.len()
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
