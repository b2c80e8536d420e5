//! What each attempt at an upstream leaves for logs and statistics.
//!
//! Owns what is noted of an attempt while it runs, who has one that counts, and its end: the entry in
//! `upstream_log`, the sizes of `track_cluster_stats`, and its bytes in those of the whole request. One that is
//! overtaken by another (`hedge_policy`) takes what was noted of it along. Called by [`super::forward`], noted in
//! by [`super::conversation`] and [`super::hedge`]. Does not own how entries are made ([`super::upstream_log`])
//! nor what is counted ([`super::tracked`]).

use std::time::{Instant, SystemTime};

use super::attempts::Attempts;
use super::conversation::Ended;
use super::deadlines::Deadlines;
use super::error::{Error, Kind, Side};
use super::stream::{Stream, Surroundings};
use super::tracked::{self, Sizes};
use super::upstream_log::{self, Seen};
use crate::clock;
use crate::exchange::{Carried, Exchange, Flags, LogType, Timing, Upstream};
use crate::headers::Headers;
use crate::upstream::Cluster;

/// See the module's page.
pub(super) struct Record {
    /// When it began, where somebody wants to know.
    pub(super) began: Option<(Instant, SystemTime)>,
    /// The head of the answer as it came, where logs want it.
    pub(super) answered: Option<Box<Headers>>,
    /// What it has carried.
    pub(super) sizes: Sizes,
    /// The same with all that frames it; none over HTTP/2.
    pub(super) carried: Option<Carried>,
    /// What became of it before its end.
    pub(super) flags: Flags,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            began: None,
            answered: None,
            sizes: Sizes::default(),
            carried: Some(Carried::default()),
            flags: Flags::NONE,
        }
    }
}

impl Record {
    /// Of an attempt that begins.
    pub(super) fn beginning(around: Surroundings<'_>, cluster: &Cluster) -> Self {
        let is_wanted =
            upstream_log::are_wanted(around) || cluster.budgets(around.worker.index).is_some();
        Self {
            began: is_wanted.then(|| (clock::now(), clock::wall())),
            ..Self::default()
        }
    }
}

/// An attempt that is not the one of the exchange any more.
pub(super) struct Apart {
    pub(super) upstream: Upstream,
    pub(super) timing: Timing,
    pub(super) record: Record,
}

impl Apart {
    /// The one of the exchange.
    pub(super) fn of(exchange: &Exchange, record: &mut Record) -> Self {
        Self {
            upstream: exchange.upstream.clone(),
            timing: exchange.timing,
            record: std::mem::take(record),
        }
    }
}

/// Notes the end of the attempt under way, behind that of those that it has overtaken. One that goes on beside
/// the next has none yet.
pub(super) fn end(
    stream: &mut Stream<'_, '_>,
    attempts: &mut Attempts<'_>,
    limits: &Deadlines,
    result: &Result<Ended, Error>,
) {
    end_overtaken(stream, attempts, limits, false);
    let (flags, failure) = match result {
        Ok(Ended::Late | Ended::Overtaken) => return,
        Err(error) if error.finds_nobody() => return,
        // That all of them together take too long is not said of the one.
        Err(Error {
            kind: Kind::RequestTimeout(_),
        })
        | Ok(_) => (Flags::NONE, None),
        Err(Error {
            kind: Kind::ConnectFailure(why),
        }) => (Flags::UPSTREAM_CONNECTION_FAILURE, Some(why.clone())),
        Err(error) if error.side() == Side::Upstream => (error.flags(), None),
        Err(_) => (Flags::NONE, None),
    };
    let exchange = &mut *stream.chain.exchange;
    let record = &mut attempts.record;
    record.flags.insert(flags);
    exchange.wire.add_upstream(record.carried);
    let seen = Seen {
        upstream: &exchange.upstream,
        timing: &exchange.timing,
        record,
        trailers: record
            .answered
            .as_ref()
            .map(|_| &exchange.response_trailers),
    };
    let kind = LogType::UpstreamEnd;
    upstream_log::write(stream.around, exchange, seen, (kind, failure));
    let is_out_of_time = result.as_ref().is_err_and(tracked::is_late);
    count(stream, attempts, limits, (&attempts.record, is_out_of_time));
}

/// Notes the end of attempts that others have overtaken, or that have ended while one was under way.
pub(super) fn end_overtaken(
    stream: &mut Stream<'_, '_>,
    attempts: &mut Attempts<'_>,
    limits: &Deadlines,
    is_out_of_time: bool,
) {
    let Some(beside) = &mut attempts.beside else {
        return;
    };
    for apart in beside.take_over() {
        let exchange = &mut *stream.chain.exchange;
        exchange.wire.add_upstream(apart.record.carried);
        let seen = Seen {
            upstream: &apart.upstream,
            timing: &apart.timing,
            record: &apart.record,
            trailers: None,
        };
        let kind = LogType::UpstreamEnd;
        upstream_log::write(stream.around, exchange, seen, (kind, None));
        count(stream, attempts, limits, (&apart.record, is_out_of_time));
    }
}

/// As in Envoy nothing is said of the time of one that the end of all has ended.
fn count(
    stream: &Stream<'_, '_>,
    attempts: &Attempts<'_>,
    limits: &Deadlines,
    (record, is_out_of_time): (&Record, bool),
) {
    let at = (&**attempts.cluster, stream.around.worker.index);
    let began = record.began.filter(|_| !is_out_of_time);
    let (_, limit) = limits.budgets();
    let request = &stream.chain.exchange.request;
    let time = (began.map(|(began, _)| began), limit);
    tracked::count_attempt(at, request, record.sizes, time);
}
