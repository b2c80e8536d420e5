//! The request's walk through its filters, for as long as that may take.
//!
//! Owns the deadlines of it: a filter that wants the whole body waits for the client, and one may wait
//! for time to pass. Called by [`super::stream`]. Does not own the walk itself ([`super::phases`]).

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Instant;

use super::choice::{duration, match_route, variants};
use super::error::{Error, Kind};
use super::reply::Reply;
use super::stream::Stream;
use super::timer::after;
use crate::clock;
use crate::wasm::Upstream;

/// What a deadline says, by whether all of the request is there.
type Late = fn(bool) -> Kind;

impl Stream<'_, '_> {
    /// Shows the request to its filters, up to the one that says where it goes or answers itself.
    pub(super) async fn filter_request(&mut self) -> Result<Result<Upstream, Box<Reply>>, Error> {
        let around = self.around;
        let random = self.random;
        let end = !self.incoming.has_body;
        let idle = self.idle_timeout();
        let started = self.chain.exchange.timing.started;
        let fixed: [(Option<Instant>, Late); 2] = [
            (self.overdue_at(), |_| Kind::RequestOverdue),
            (after(started, self.duration), |received| {
                Kind::MaxDuration { received }
            }),
        ];
        let (route, pick) = (&mut self.route, &mut self.pick);
        let duration_now = &mut self.duration;
        let active = Cell::new(None);
        let limit = (around.listener.buffer_limit, &active);
        self.chain.begin(variants(around, *route, *pick).as_deref());
        let walk = self
            .chain
            .request((&mut self.reader, &mut self.down), end, limit, |exchange| {
                (*route, *pick) = match_route(around, random, exchange);
                *duration_now = duration(around, *route, exchange);
                variants(around, *route, *pick).clone()
            });
        let timer = &mut *self.timer;
        let walked = {
            let mut walk = pin!(walk);
            poll_fn(|cx| {
                if let Poll::Ready(walked) = walk.as_mut().poll(cx) {
                    return Poll::Ready(Ok(walked));
                }
                // The clock is only looked at by those that have to wait.
                let since = active.get().unwrap_or_else(clock::now);
                active.set(Some(since));
                let mut first: (_, Late) = (after(since, idle), |_| Kind::StreamIdle);
                for (at, late) in fixed {
                    if at.is_some_and(|at| first.0.is_none_or(|first| at < first)) {
                        first = (at, late);
                    }
                }
                let (deadline, late) = first;
                timer.poll(cx, deadline).map(|()| Err(late))
            })
            .await
        };
        walked.unwrap_or_else(|late| Err(late(self.has_whole_request()).into()))
    }
}
