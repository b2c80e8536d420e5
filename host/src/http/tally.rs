//! What is counted of a client's request.
//!
//! Owns when its response counts, which is when the head goes, what a request that falls short counts as,
//! and how all of it ends. Does not own the statistics (`observe::metrics`), nor what is counted of clusters
//! ([`super::counts`]). Called by [`super::stream`].

use std::time::Instant;

use super::error::{Error, FIELDS_TOO_LARGE, Kind, TOO_MANY_FIELDS, UNDERSCORE};
use super::stream::{Ended, Stream};
use crate::clock;
use crate::exchange::{Carried, Counted, Flags, Protocol};
use crate::h1::head::Reject;
use crate::observe::metrics::{CodecStats, HttpStats};

/// What a request is short of at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Short {
    /// Of nothing that would be known.
    Nothing,
    /// Of its own end: the codec has stopped reading.
    Request,
    /// Of the end of its response, or of all of it.
    Response,
}

/// Up to this many bytes of a response are sent in a turn that is one moment.
const QUICK_BYTES: u64 = 64 * 1024;

impl Stream<'_, '_> {
    /// Counts a response to the client, interim ones too: when its head goes.
    pub(super) fn count_response(&self, status: u16) {
        if self.chain.exchange.is_health_check {
            return;
        }
        let stats = self.around.stats;
        stats.downstream_rq_completed.inc();
        stats.downstream_rq_by_class.record(status);
        let twin = self
            .around
            .listener
            .http_stats
            .shard(self.around.worker.index);
        twin.downstream_rq_completed.inc();
        twin.downstream_rq_by_class.record(status);
    }

    /// Counts the head of the response that goes.
    pub(super) fn count_head(&self) {
        self.count_response(self.chain.exchange.status);
        if self.is_request_short() {
            let stats = self.around.stats;
            stats.downstream_rq_response_before_rq_complete.inc();
        }
    }

    /// Whether the end of the request is not known to have come.
    fn is_request_short(&self) -> bool {
        let has_come = || self.chain.exchange.timing.request_received.is_some();
        self.short != Short::Nothing || !(self.has_whole_request() || has_come())
    }

    /// Counts that a client does not take the rest of a response.
    pub(super) fn count_unflushed(&self) {
        self.codecs().http2_tx_flush_timeout.inc();
    }

    /// Counts a request whose body is larger than it may be: nobody waits for its end.
    pub(super) fn count_too_large(&mut self) {
        self.short = Short::Request;
        self.around.stats.downstream_rq_too_large.inc();
    }

    /// Counts a request of HTTP/1 that is refused for an underscore, where it is.
    pub(super) fn count_underscore(&self, error: &Error) {
        if matches!(
            error.kind,
            Kind::Rejected(Reject::Underscore) | Kind::DownstreamFraming(Reject::Underscore)
        ) {
            self.codecs()
                .http1_requests_rejected_with_underscores_in_headers
                .inc();
        }
    }

    /// Counts why a request of HTTP/2 is answered by a reset.
    pub(super) fn count_reset(&self, details: &str) {
        let codecs = self.codecs();
        match details {
            TOO_MANY_FIELDS => codecs.http2_header_overflow.inc(),
            FIELDS_TOO_LARGE => codecs.http2_header_list_size_too_large.inc(),
            UNDERSCORE => codecs
                .http2_requests_rejected_with_underscores_in_headers
                .inc(),
            _ => {}
        }
    }

    fn codecs(&self) -> &CodecStats {
        self.around.manager.codecs.shard(self.around.worker.index)
    }

    /// Counts, logs, and ends the filters' states.
    pub(super) fn finish(&mut self) -> Ended {
        self.is_over = true;
        if self.is_request_short() {
            self.around.stats.downstream_rq_rx_reset.inc();
        }
        let dropped = self.reader.dropped();
        self.codecs()
            .http2_dropped_headers_with_underscores
            .add(dropped);
        if self.tunnel.is_some() && !self.opens_tunnel() {
            // What its client has sent ahead.
            self.chain.exchange.bytes_received += self.reader.waiting();
        }
        // What has come of a request that is not read on is its own.
        let left = if self.has_whole_request() {
            0
        } else {
            self.reader.waiting()
        };
        let received = self.reader.taken().map(|taken| Counted {
            all: taken.all + left,
            ..taken
        });
        let both = received.zip(self.down.written());
        self.chain.exchange.wire.downstream =
            both.map(|(received, sent)| Carried { received, sent });
        self.end();
        self.ended
    }

    /// Notes the time of the turn that has brought the end of a response. One that moved much has lasted.
    pub(super) fn note_ended(&mut self, turn: Option<Instant>) {
        let exchange = &mut *self.chain.exchange;
        exchange.timing.ended = turn.filter(|_| exchange.bytes_sent <= QUICK_BYTES);
    }

    /// The end of a request, or of one that is followed by another.
    pub(super) fn end(&mut self) {
        let stats = self.around.stats;
        let has_filters = self.chain.len() > 1;
        let exchange = &mut *self.chain.exchange;
        // The turn that has brought the end of a response is this one; filters behind it may have taken
        // time.
        let turn = exchange.timing.ended.filter(|_| !has_filters);
        let now = turn.unwrap_or_else(clock::now);
        exchange.timing.ended = Some(now);
        if self.responding && self.short != Short::Response {
            exchange.timing.response_sent = Some(now);
        }
        if self.tunnel.is_some() {
            stats.downstream_cx_upgrades_active.dec();
        }
        stats.downstream_rq_active.dec();
        let lasted = now.duration_since(self.begun);
        stats
            .downstream_rq_time
            .record(u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX));
        if exchange.flags.contains(Flags::NO_ROUTE_FOUND) {
            stats.no_route.inc();
        }
        if exchange.flags.contains(Flags::NO_CLUSTER_FOUND) {
            stats.no_cluster.inc();
        }
        if exchange.is_health_check {
            // Of what Envoy counts of traces this alone does without them.
            stats.tracing_health_check.inc();
        }
        // Only the reply itself may speak of its body, as in Envoy.
        self.chain.exchange.local_reply_body = None;
        self.chain.finish();
    }
}

impl Drop for Stream<'_, '_> {
    /// A stream that the end of the process cuts, with its drain, has its log entry too.
    fn drop(&mut self) {
        if self.is_over || std::thread::panicking() {
            return;
        }
        self.short = Short::Response;
        let exchange = &mut *self.chain.exchange;
        exchange
            .flags
            .insert(Flags::DOWNSTREAM_CONNECTION_TERMINATION);
        exchange.details = Some("downstream_local_disconnect".into());
        if !self.responding {
            exchange.status = 0;
        }
        self.end();
    }
}

/// Whether the codec has read all of a request that it is told of this way: what it lacks or has too
/// much of is nothing that HTTP/1 itself forbids.
pub(super) const fn is_read_whole(error: &Error) -> bool {
    matches!(
        error.kind,
        Kind::Rejected(Reject::MissingHost | Reject::Fragment)
    )
}

/// What is counted when a request's head is there.
pub(crate) fn count_start(stats: &HttpStats, protocol: Protocol) {
    stats.downstream_rq_total.inc();
    stats.downstream_rq_active.inc();
    match protocol {
        Protocol::Http10 | Protocol::Http11 => stats.downstream_rq_http1_total.inc(),
        Protocol::Http2 => stats.downstream_rq_http2_total.inc(),
        Protocol::Raw => {}
    }
}
