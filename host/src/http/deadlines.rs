//! When a stream has to end.
//!
//! Owns the deadlines of a request that is with an upstream, and which of them comes first: those of
//! the whole request, and those of the try that is under way. Does not own the timer
//! ([`super::timer`]) nor what the limits are (`route`).

use std::time::{Duration, Instant};

use super::error::{Error, Kind};
use super::stream::Stream;
use super::timer::after;
use crate::clock;
use crate::route::RequestTimes;

/// When the stream has to end.
pub(super) struct Deadlines {
    times: RequestTimes,
    /// Of the whole request; from its end on.
    route: Option<Instant>,
    /// Of the request itself (`request_timeout`), until it has ended.
    request: Option<Instant>,
    /// Of the stream; from its beginning on.
    duration: Option<Instant>,
    idle_after: Option<Duration>,
    /// What takes the place of that once all of the response has come.
    flush_after: Option<Option<Duration>>,
    idle: Option<Instant>,
    attempt: Attempt,
    /// When the request's last byte was there; of a tunnel, when what opens it was.
    received: Option<Instant>,
    is_tunnel: bool,
    /// Status of the reply to a request that took too long.
    late_status: u16,
}

/// The deadlines of a try.
#[derive(Default)]
struct Attempt {
    connected: bool,
    /// Gone once there is a response: the rest is up to the other deadlines.
    limit: Option<Instant>,
    idle: Option<Instant>,
    /// The cluster's `max_stream_duration`.
    duration: Option<Instant>,
}

/// Which of the deadlines it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    Route,
    Request,
    Idle,
    Duration,
    Try,
    TryIdle,
    TryDuration,
}

impl Deadlines {
    /// `late_status` is that of the reply to a request that took too long.
    pub(super) fn new(stream: &Stream<'_, '_>, times: RequestTimes, late_status: u16) -> Self {
        let timing = &stream.chain.exchange.timing;
        let (started, begun) = (timing.started, stream.begun);
        // Later than that where the body was held back until it was there.
        let received = timing.request_received.map(|at| at.max(begun));
        let idle_after = stream.idle_timeout();
        let mut limits = Self {
            times,
            route: None,
            request: stream.overdue_at(),
            duration: after(started, stream.duration),
            idle_after,
            flush_after: stream.flush_timeout(),
            idle: after(received.unwrap_or(begun), idle_after),
            attempt: Attempt::default(),
            received: None,
            is_tunnel: stream.tunnel.is_some(),
            late_status,
        };
        if let Some(at) = received.or_else(|| stream.tunnel.map(|_| begun)) {
            limits.request_ended(at);
        }
        limits
    }

    /// The route's timeout runs from the end of the request, and so do those of a try.
    pub(super) fn request_ended(&mut self, now: Instant) {
        self.received = Some(now);
        self.request = None;
        self.route = after(now, self.times.total);
        if self.attempt.connected {
            self.start_try(now);
        }
    }

    /// All of the request has come, and what runs from its end does so: since when.
    pub(super) fn request_came(&mut self, now: Instant) -> Instant {
        match self.received {
            Some(at) if !self.is_tunnel => at,
            _ => {
                self.request_ended(now);
                now
            }
        }
    }

    /// A tunnel is open: what limits requests was for its opening.
    pub(super) fn tunnel_opened(&mut self) {
        self.end_total();
    }

    fn end_total(&mut self) {
        self.times.total = None;
        self.route = None;
        self.attempt = Attempt {
            duration: self.attempt.duration,
            ..Attempt::default()
        };
    }

    /// A connection is there: those of a try run from here, where the request has ended, and how long
    /// it may take at most in any case.
    pub(super) fn connected(&mut self, most: Option<Duration>) {
        self.attempt.connected = true;
        if most.is_some() {
            self.attempt.duration = after(clock::now(), most);
        }
        let has_limit = self.times.per_try.is_some() || self.times.per_try_idle.is_some();
        if has_limit && self.received.is_some() {
            self.start_try(clock::now());
        }
    }

    fn start_try(&mut self, now: Instant) {
        self.attempt.limit = after(now, self.times.per_try);
        self.attempt.idle = after(now, self.times.per_try_idle);
    }

    /// The try is over.
    pub(super) fn end_try(&mut self) {
        self.attempt = Attempt::default();
    }

    /// The response has begun.
    pub(super) const fn answered(&mut self) {
        self.attempt.limit = None;
    }

    /// All of the response has come; its client may have more to receive, and takes the time that it
    /// takes.
    pub(super) fn response_ended(&mut self, now: Instant) {
        self.end_total();
        self.idle_after = self.flush_after.unwrap_or(self.idle_after);
        self.active(now);
    }

    /// Something was read or written.
    pub(super) fn active(&mut self, now: Instant) {
        self.idle = after(now, self.idle_after);
        if self.attempt.idle.is_some() {
            self.attempt.idle = after(now, self.times.per_try_idle);
        }
    }

    /// How long the request, and one try of it, may take; none without limit.
    pub(super) const fn budgets(&self) -> (Option<Duration>, Option<Duration>) {
        (self.times.total, self.times.per_try)
    }

    /// How long ago the request's end was; nothing before it.
    pub(super) fn since_received(&self, now: Instant) -> Duration {
        self.received
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at))
    }

    /// The first deadline. Of those that fall together the whole request's is the one.
    pub(super) fn next(&self) -> (Option<Instant>, Late) {
        let mut first = (self.route, Late::Route);
        for (deadline, late) in [
            (self.request, Late::Request),
            (self.idle, Late::Idle),
            (self.duration, Late::Duration),
            (self.attempt.limit, Late::Try),
            (self.attempt.idle, Late::TryIdle),
            (self.attempt.duration, Late::TryDuration),
        ] {
            if let Some(at) = deadline
                && first.0.is_none_or(|first| at < first)
            {
                first = (deadline, late);
            }
        }
        first
    }

    /// Whether the client has nothing more to say.
    const fn has_whole_request(&self) -> bool {
        self.received.is_some() && !self.is_tunnel
    }

    /// The error of a deadline that has come.
    pub(super) fn error(&self, late: Late) -> Error {
        match late {
            Late::Route => Kind::RequestTimeout(self.late_status),
            Late::Request => Kind::RequestOverdue,
            Late::Idle => Kind::StreamIdle,
            Late::Duration => Kind::MaxDuration {
                received: self.has_whole_request(),
            },
            Late::Try => Kind::PerTryTimeout(self.late_status),
            Late::TryIdle => Kind::PerTryIdle(self.late_status),
            Late::TryDuration => Kind::UpstreamDuration {
                received: self.has_whole_request(),
            },
        }
        .into()
    }
}
