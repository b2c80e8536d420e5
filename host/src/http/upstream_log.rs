//! Entries of access logs for each attempt at an upstream (`Router.upstream_log`).
//!
//! Owns what such an entry is about: the attempt alone, with the head that went upstream, the head that came
//! back as it came, and the attempt's own times, bytes, status and flags. Called by [`super::record`] at the end of
//! attempts and by [`super::forward`] once one has its connection, for connection managers that want such logs. Does
//! not own how entries look (`observe`), nor those of the whole request ([`super::phases`]).

use std::borrow::Cow;

use super::record::Record;
use super::side::status_of;
use super::stream::Surroundings;
use crate::clock;
use crate::exchange::{Exchange, LogType, Protocol, Timing, Upstream};
use crate::headers::Headers;

/// What is known of an attempt.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) upstream: &'a Upstream,
    pub(super) timing: &'a Timing,
    pub(super) record: &'a Record,
    /// The trailers of its answer.
    pub(super) trailers: Option<&'a Headers>,
}

/// Whether attempts have entries.
pub(super) fn are_wanted(around: Surroundings<'_>) -> bool {
    !around.manager.upstream_logs.loggers.is_empty()
}

/// The entry of an attempt of the request `of` that has its connection, where that is wanted.
pub(super) fn ready(around: Surroundings<'_>, of: &Exchange, record: &Record) {
    if around.manager.upstream_logs.when_ready {
        let seen = Seen {
            upstream: &of.upstream,
            timing: &of.timing,
            record,
            trailers: None,
        };
        write(around, of, seen, (LogType::UpstreamPoolReady, None));
    }
}

/// An entry of an attempt of the request `of`, where there are any, and why its transport failed.
pub(super) fn write(
    around: Surroundings<'_>,
    of: &Exchange,
    seen: Seen<'_>,
    (kind, failure): (LogType, Option<Cow<'static, str>>),
) {
    let logs = &around.manager.upstream_logs;
    let Seen {
        upstream,
        timing,
        record,
        trailers,
    } = seen;
    let Some((started, wall)) = record.began.filter(|_| are_wanted(around)) else {
        return;
    };
    let timing = Timing {
        upstream_sent_first: timing.upstream_sent_first,
        upstream_sent: timing.upstream_sent,
        upstream_received_first: timing.upstream_received_first,
        upstream_received: timing.upstream_received,
        ended: Some(clock::now()),
        ..Timing::starting(started, wall)
    };
    let spoken = upstream.protocol.unwrap_or(Protocol::Raw);
    let mut desk = around.worker.take_desk(&of.connection, spoken, timing);
    let entry = &mut *desk.exchange;
    entry.request.clone_from(&of.request);
    if let Some(head) = &record.answered {
        entry.response.clone_from(head);
        entry.status = status_of(head);
    }
    if let Some(trailers) = trailers {
        entry.response_trailers.clone_from(trailers);
    }
    entry.remote.clone_from(&of.remote);
    entry.is_grpc = of.is_grpc;
    entry.is_health_check = of.is_health_check;
    entry.upstream.clone_from(upstream);
    entry.upstream.attempts = 0;
    if failure.is_some() {
        entry.upstream.failure = failure;
    }
    entry.route_name.clone_from(&of.route_name);
    entry.route_kind = of.route_kind;
    entry.virtual_host.clone_from(&of.virtual_host);
    entry.route_metadata.clone_from(&of.route_metadata);
    entry
        .virtual_host_metadata
        .clone_from(&of.virtual_host_metadata);
    entry.metadata.clone_from(&of.metadata);
    entry.flags.insert(record.flags);
    entry.bytes_received = record.sizes.received;
    entry.bytes_sent = record.sizes.sent;
    entry.wire.add_upstream(record.carried);
    around
        .worker
        .log(&logs.loggers, &logs.filters, &mut desk, kind);
    around.worker.put_desk(desk);
}
