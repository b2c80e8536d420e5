//! The last phases: entries of access logs, and the end of what filters keep of a stream.
//!
//! Owns which slots have an entry, and when one is due meanwhile. Does not own what an entry says (`observe`). Called
//! by [`crate::http::stream`], and by whoever waits with a stream.

use std::ops::Range;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use super::Chain;
use crate::clock;
use crate::exchange::LogType;
use crate::http::timer::{Timer, after};
use crate::wasm::Phases;

impl Chain<'_> {
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
    pub(in crate::http) fn poll_deadline(
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
}
