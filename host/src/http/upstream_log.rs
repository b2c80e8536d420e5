//! Entries of access logs for each attempt at an upstream (`Router.upstream_log`).
//!
//! Owns what such an entry is about: the attempt alone, with the head that went upstream, the head that came
//! back as it came, and the attempt's own times, bytes, status and flags. Called by [`super::forward`] for
//! connection managers that want such logs. Does not own how entries look (`observe`), nor those of the whole
//! request ([`super::phases`]).

use std::borrow::Cow;
use std::time::{Instant, SystemTime};

use super::attempts::Attempts;
use super::conversation::Ended;
use super::error::{Error, Kind, Side};
use super::side::status_of;
use super::stream::Stream;
use crate::clock;
use crate::exchange::{Flags, LogType, Protocol, Timing};

/// When an attempt began.
pub(super) type Beginning = (Instant, SystemTime);

/// The beginning of an attempt, where it is to have entries.
pub(super) fn beginning(stream: &Stream<'_, '_>) -> Option<Beginning> {
    let wanted = !stream.around.manager.upstream_logs.loggers.is_empty();
    wanted.then(|| (clock::now(), clock::wall()))
}

/// The entry of an attempt that is over. One that goes on beside the next has none yet, and one that nobody
/// was found for is none.
pub(super) fn end(
    stream: &Stream<'_, '_>,
    attempts: &Attempts,
    began: Option<Beginning>,
    result: &Result<Ended, Error>,
) {
    let flags = match result {
        Ok(Ended::Late | Ended::GivesWay)
        | Err(Error {
            kind: Kind::NoHealthyUpstream(_) | Kind::UncertifiableHost | Kind::Unencodable,
        }) => return,
        // That all of them together take too long is not said of the one.
        Err(Error {
            kind: Kind::RequestTimeout(_),
        })
        | Ok(_) => Flags::NONE,
        Err(error) if error.side() == Side::Upstream => error.flags(),
        Err(_) => Flags::NONE,
    };
    let failure = match result {
        Err(Error {
            kind: Kind::ConnectFailure(why),
        }) => Some(why.clone()),
        _ => None,
    };
    write(
        stream,
        attempts,
        began,
        (LogType::UpstreamEnd, flags),
        failure,
    );
}

/// The entry of an attempt that has its connection, where that is wanted.
pub(super) fn ready(stream: &Stream<'_, '_>, attempts: &Attempts, began: Option<Beginning>) {
    if stream.around.manager.upstream_logs.when_ready {
        let kind = (LogType::UpstreamPoolReady, Flags::NONE);
        write(stream, attempts, began, kind, None);
    }
}

fn write(
    stream: &Stream<'_, '_>,
    attempts: &Attempts,
    began: Option<Beginning>,
    (kind, flags): (LogType, Flags),
    failure: Option<Cow<'static, str>>,
) {
    let Some((started, wall)) = began else {
        return;
    };
    let (worker, manager) = (stream.around.worker, stream.around.manager);
    let of = &*stream.chain.exchange;
    let timing = Timing {
        upstream_sent_first: of.timing.upstream_sent_first,
        upstream_sent: of.timing.upstream_sent,
        upstream_received_first: of.timing.upstream_received_first,
        upstream_received: of.timing.upstream_received,
        ended: Some(clock::now()),
        ..Timing::starting(started, wall)
    };
    let spoken = of.upstream.protocol.unwrap_or(Protocol::Raw);
    let mut desk = worker.take_desk(&of.connection, spoken, timing);
    let entry = &mut *desk.exchange;
    entry.request.clone_from(&of.request);
    if let Some(head) = &attempts.answered {
        entry.response.clone_from(head);
        entry.status = status_of(head);
        entry.response_trailers.clone_from(&of.response_trailers);
    }
    entry.remote.clone_from(&of.remote);
    entry.is_grpc = of.is_grpc;
    entry.is_health_check = of.is_health_check;
    entry.upstream.clone_from(&of.upstream);
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
    entry.flags.insert(flags);
    entry.bytes_received = attempts.sizes.received;
    entry.bytes_sent = attempts.sizes.sent;
    entry.wire.add_upstream(of.wire.upstream);
    let logs = &manager.upstream_logs;
    worker.log(&logs.loggers, &logs.filters, &mut desk, kind);
    worker.put_desk(desk);
}
