//! Attempts that have taken too long and go on all the same, beside a later one (`hedge_policy`).
//!
//! Owns them, and which of them wins: the first that brings an answer that is not one to try again
//! after. Letting go of an attempt resets it. Polled wherever a request waits for something: for a
//! connection, for the time of its next attempt, for that one's answer. Does not own how an attempt
//! runs by itself ([`super::relay`]).

use std::sync::Arc;
use std::task::{Context, Poll};

use super::attempts::Attempts;
use super::conversation::{Ended, converse};
use super::counts::count_failure;
use super::deadlines::Deadlines;
use super::error::{Error, Kind, Side};
use super::record::{Apart, Record};
use super::relay::{self, Errand};
use super::side::{Answer, Came, UpstreamSide, status_of};
use super::stream::Stream;
use crate::exchange::{Exchange, Flags, Protocol};
use crate::headers::Headers;
use crate::observe::metrics::VirtualClusterStats;
use crate::route::Retries;
use crate::upstream::{ClusterStats, Lease};

/// An attempt that has taken too long.
pub(super) struct Late {
    side: UpstreamSide<'static>,
    /// The response's head, once it is there.
    response: Headers,
    apart: Apart,
    /// Whether another was made because of it.
    is_retried: bool,
}

/// An attempt that wins, and which head of it has come.
pub(super) struct Winner {
    late: Late,
    came: Came,
    /// Whether its answer is one to try again after.
    is_bad: bool,
}

/// What attempts are judged by.
pub(super) struct Jury<'a> {
    pub(super) retries: Option<&'a Retries>,
    pub(super) stats: &'a ClusterStats,
    pub(super) group: Option<&'a VirtualClusterStats>,
    pub(super) exchange: &'a Exchange,
}

impl Jury<'_> {
    /// Whether that is a response to try again after, if that were possible.
    fn is_bad(&self, status: u16, head: &Headers) -> bool {
        self.retries
            .is_some_and(|retries| retries.wants_head(status, head))
    }

    /// Counts an attempt that has failed.
    pub(super) fn failed(&self, error: &Error) {
        count_failure(self.stats, self.group, self.exchange, error.reply().status);
    }
}

/// See the module's page.
#[derive(Default)]
pub(super) struct Beside {
    running: Vec<Late>,
    winner: Option<Box<Winner>>,
    /// Those that are over, until that is noted.
    over: Vec<Apart>,
}

impl Late {
    /// Puts the attempt of the exchange aside.
    pub(super) fn of(
        side: UpstreamSide<'static>,
        exchange: &Exchange,
        record: &mut Record,
    ) -> Self {
        record.flags.insert(Flags::UPSTREAM_REQUEST_TIMEOUT);
        Self {
            side,
            response: Headers::new(),
            apart: Apart::of(exchange, record),
            is_retried: true,
        }
    }

    /// Lets go of it.
    fn end(mut self) -> Apart {
        self.apart.record.carried = self.side.carried();
        self.apart
    }

    /// The same where its answer is not the one that counts.
    fn end_with(mut self, answer: Answer) -> Apart {
        let record = &mut self.apart.record;
        let is_http1 = self.apart.upstream.protocol == Some(Protocol::Http11);
        record
            .sizes
            .note_head(&self.response, answer.body, is_http1);
        record.answered = Some(Box::new(std::mem::take(&mut self.response)));
        self.end()
    }
}

impl Winner {
    /// Whether its answer ends the retries, rather than what came of an attempt that was given up.
    pub(super) const fn ends_retries(&self) -> bool {
        !self.late.is_retried && !self.is_bad
    }

    /// Makes it the attempt of the exchange again.
    pub(super) fn into_exchange(
        self,
        exchange: &mut Exchange,
        record: &mut Record,
    ) -> (UpstreamSide<'static>, Came) {
        let Self { late, came, .. } = self;
        let Apart {
            upstream, timing, ..
        } = late.apart;
        let attempts = exchange.upstream.attempts;
        *record = late.apart.record;
        exchange.upstream = upstream;
        exchange.upstream.attempts = attempts;
        exchange.timing.upstream_sent_first = timing.upstream_sent_first;
        exchange.timing.upstream_sent = timing.upstream_sent;
        exchange.response = late.response;
        (late.side, came)
    }
}

impl Beside {
    /// Adds an attempt.
    pub(super) fn add(&mut self, late: Late) {
        self.running.push(late);
    }

    /// Notes that none was made because of the last one.
    pub(super) fn leave_last(&mut self) {
        if let Some(late) = self.running.last_mut() {
            late.is_retried = false;
        }
    }

    /// How many are running.
    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    /// Resets them all.
    pub(super) fn clear(&mut self) {
        self.over.extend(self.running.drain(..).map(Late::end));
    }

    /// Takes one that was under way when another has won.
    pub(super) fn overtake(&mut self, attempt: Apart) {
        self.over.push(attempt);
    }

    /// Those that are over since the last time.
    pub(super) fn take_over(&mut self) -> Vec<Apart> {
        std::mem::take(&mut self.over)
    }

    /// The time of the whole request is over.
    pub(super) fn time_out(&self) {
        for late in &self.running {
            late.side.note_timeout();
        }
    }

    /// Whether one has won.
    pub(super) const fn has_winner(&self) -> bool {
        self.winner.is_some()
    }

    /// The one that has won.
    pub(super) const fn take_winner(&mut self) -> Option<Box<Winner>> {
        self.winner.take()
    }

    /// Ready when one has won and the others were reset, or with the error of the last where none is
    /// left and nothing else is to come either: `is_last`.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        is_last: bool,
        jury: &Jury<'_>,
    ) -> Poll<Result<(), Error>> {
        let mut at = 0;
        while let Some(late) = self.running.get_mut(at) {
            let Poll::Ready(came) = late.side.poll_head(cx, &mut late.response) else {
                at += 1;
                continue;
            };
            let late = self.running.swap_remove(at);
            let is_last = is_last && self.running.is_empty();
            match came {
                Ok(came) => {
                    let status = status_of(&late.response);
                    let is_bad =
                        matches!(came, Came::Final(_)) && jury.is_bad(status, &late.response);
                    if is_last || !is_bad {
                        self.clear();
                        self.winner = Some(Box::new(Winner { late, came, is_bad }));
                        return Poll::Ready(Ok(()));
                    }
                    if let Came::Final(answer) = came {
                        self.over.push(late.end_with(answer));
                    }
                }
                Err(kind) => {
                    let error = Error::from(kind);
                    jury.failed(&error);
                    let mut ended = late.end();
                    ended.record.flags.insert(error.flags());
                    self.over.push(ended);
                    if is_last {
                        return Poll::Ready(Err(error));
                    }
                }
            }
        }
        if is_last && self.running.is_empty() {
            // Nobody is left to answer.
            return Poll::Ready(Err(Kind::UpstreamReset.into()));
        }
        Poll::Pending
    }
}

/// Sends the request in a task of its own, so that it can go on when it takes too long.
pub(super) async fn over_relay(
    stream: &mut Stream<'_, '_>,
    attempts: &mut Attempts<'_>,
    limits: &mut Deadlines,
    lease: Lease,
) -> Result<Ended, Error> {
    let cluster = attempts.cluster;
    let endpoint = Arc::clone(lease.endpoint());
    let mut response = Headers::new();
    let kept = cluster.spec().http1_names;
    if kept.is_kept() {
        response.spell(kept);
    }
    let errand = Errand {
        cluster: Arc::clone(cluster),
        head: stream.chain.exchange.request.clone(),
        response,
        has_body: stream.incoming.has_body,
    };
    let mut upstream = relay::start(lease, errand);
    let stats = cluster.stats(stream.around.worker.index);
    let talk = converse(stream, stats, limits, attempts, (&mut upstream, None));
    let (result, _) = talk.await;
    if let Err(Error {
        kind: Kind::PerTryTimeout(_) | Kind::PerTryIdle(_),
    }) = &result
        && upstream.goes_on_late()
    {
        let record = &mut attempts.record;
        let late = Late::of(upstream, stream.chain.exchange, record);
        attempts.set_aside(late, &endpoint);
        return Ok(Ended::Late);
    }
    if let Err(Error {
        kind: Kind::RequestTimeout(_) | Kind::PerTryTimeout(_) | Kind::PerTryIdle(_),
    }) = &result
    {
        upstream.note_timeout();
    }
    result
}

/// Goes on with an attempt that had been put aside and has won.
pub(super) async fn go_on(
    stream: &mut Stream<'_, '_>,
    attempts: &mut Attempts<'_>,
    limits: &mut Deadlines,
    winner: Box<Winner>,
) -> Result<Ended, Error> {
    attempts.end_retries(&winner, stream.chain.exchange, stream.around.worker);
    let record = &mut attempts.record;
    let (mut upstream, came) = winner.into_exchange(stream.chain.exchange, record);
    let cluster = attempts.cluster;
    let stats = cluster.stats(stream.around.worker.index);
    let talk = converse(stream, stats, limits, attempts, (&mut upstream, Some(came)));
    talk.await.0
}

/// Whether an attempt that failed leaves it to others to bring an answer. It is counted then.
pub(super) fn gives_way(stream: &Stream<'_, '_>, attempts: &Attempts<'_>, error: &Error) -> bool {
    let gives_way = attempts.others() > 0
        && !stream.responding
        && error.side() == Side::Upstream
        && !matches!(error.kind, Kind::RequestTimeout(_));
    if gives_way {
        let stats = attempts.cluster.stats(stream.around.worker.index);
        let jury = attempts.jury(stats, stream.group(), stream.chain.exchange);
        jury.failed(error);
    }
    gives_way
}
