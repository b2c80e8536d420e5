//! The attempts of one request: whether it is sent again, and with what.
//!
//! Owns what is carried from one attempt to the next: the retries that are left, their place in the
//! cluster's budget, the body as it went out, the endpoints that were tried, and what the head says
//! of all that. A request whose route has no policy and that asks for none has none of it but the
//! body's first pieces. Called by [`super::forward`], which is the loop, by
//! [`super::conversation`] and [`super::hedge`], which have the response's head, and by [`super::record`]. Does not own which outcome is one to try
//! again after (`route::Retries`).

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use super::conversation::Ended;
use super::copies::Copy;
use super::deadlines::Deadlines;
use super::error::{Error, Kind};
use super::hedge::{Beside, Jury, Late, Winner};
use super::kept::Kept;
use super::record::Record;
use super::reply::decimal;
use crate::address::Address;
use crate::clock;
use crate::exchange::{Exchange, Flags, http_status_of};
use crate::headers::{Headers, Known};
use crate::limits;
use crate::observe::metrics::VirtualClusterStats;
use crate::observe::stats::Sharded;
use crate::route::{
    Avoids, EnvoyHeaders, Failure, Forward, InternalRedirects, RequestTimes, Retries, RetryPolicy,
    Verdict, Wait,
};
use crate::upstream::{
    Cluster, ClusterStats, Endpoint, Lease, Levels, Outcome, Priority, RetryPermit,
};
use crate::worker::Worker;

/// What counts a group of a virtual host's requests.
type Group = Sharded<VirtualClusterStats>;

/// See the module's page.
pub(super) struct Attempts<'a> {
    pub(super) cluster: &'a Arc<Cluster>,
    pub(super) priority: Priority,
    pub(super) times: RequestTimes,
    /// What consistent balancing places the request by.
    pub(super) hash: Option<u64>,
    /// Which subset it asks for: an index into the snapshot's list.
    pub(super) criteria: Option<usize>,
    /// What counts the request beside its cluster.
    pub(super) group: Option<&'a Group>,
    /// The request's body, as far as it went upstream.
    pub(super) kept: Kept,
    /// Attempts that have taken too long and go on; only where the request may be hedged.
    pub(super) beside: Option<Box<Beside>>,
    retries: Option<Box<Retries>>,
    /// The place in the cluster's budget of the retry under way.
    permit: Option<RetryPermit>,
    tried: Tried,
    says: Says,
    /// Which responses lead to another request.
    redirects: Option<&'a InternalRedirects>,
    /// How much of the body is kept, in bytes.
    buffer_limit: usize,
    last: Last,
    /// Whether the one attempt that needs no policy was made, or is not to be: a policy that applies
    /// decides alone.
    raced: bool,
    /// Whether an attempt has begun.
    begun: bool,
    /// What is noted of the attempt under way.
    pub(super) record: Record,
    /// What the answer's head says about the endpoint; that it was left, where there is none yet.
    pub(super) judged: Outcome,
}

/// Where attempts went, as far as the policy goes by it.
#[derive(Debug, Default)]
struct Tried {
    endpoints: Vec<Address>,
    /// How many attempts the levels are of.
    count: u32,
    levels: Levels,
    /// Levels that are left out; the balancer empties it where there are no others.
    left_out: Cell<Levels>,
}

impl Tried {
    fn note(&mut self, policy: &RetryPolicy, endpoint: &Endpoint) {
        if policy.avoids.as_ref().is_some_and(|avoids| avoids.tried) {
            self.endpoints.push(endpoint.address.clone());
        }
        if let Some(frequency) = policy.update_frequency {
            if self.left_out.get().is_empty() && self.count >= frequency.get() {
                // The balancer ran out of levels.
                (self.count, self.levels) = (0, Levels::default());
            }
            self.count += 1;
            self.levels = self.levels.with(endpoint.level());
            if self.count % frequency == 0 {
                self.left_out.set(self.levels);
            }
        }
    }
}

/// What heads say of attempts.
#[derive(Clone, Copy, Default)]
struct Says {
    count_in_request: bool,
    count_in_response: bool,
    timeout_retry: bool,
    expected: bool,
}

/// What is known of the last attempt.
#[derive(Clone, Copy, Default)]
struct Last {
    /// Whether its connection had carried a request before, or carries others.
    reused: bool,
    /// Whether the upstream may have seen any of the request.
    sent: bool,
    /// Whether the upstream has begun to answer.
    answered: bool,
    /// Whether it took too long.
    timed_out: bool,
}

impl<'a> Attempts<'a> {
    /// Before the first attempt.
    pub(super) fn new(
        cluster: &'a Arc<Cluster>,
        priority: Priority,
        times: RequestTimes,
        retries: Option<Retries>,
    ) -> Self {
        Self {
            cluster,
            priority,
            times,
            hash: None,
            criteria: None,
            group: None,
            kept: Kept::default(),
            beside: None,
            raced: retries.is_some(),
            begun: false,
            retries: retries.map(Box::new),
            permit: None,
            tried: Tried::default(),
            says: Says::default(),
            redirects: None,
            buffer_limit: 0,
            last: Last::default(),
            record: Record::default(),
            judged: Outcome::Abandoned,
        }
    }

    /// What the head of an answer says about the endpoint: by its status, or for gRPC by that of the
    /// call, where the head has it; and by whether it asks to be left out.
    pub(super) fn judge(&mut self, exchange: &Exchange) {
        let heads = (&exchange.request, &exchange.response);
        self.judged = judged(self.cluster, heads, exchange.status);
    }

    /// Takes over what the route says, and the policy that counts. `listener_limit` is how much of a body
    /// is kept where the route does not say that.
    pub(super) fn follow(
        &mut self,
        forward: Option<&'a Forward>,
        policy: Option<&RetryPolicy>,
        envoy_headers: EnvoyHeaders,
        listener_limit: usize,
    ) {
        self.raced |= policy.is_some_and(RetryPolicy::wants_none);
        self.says.expected = envoy_headers == EnvoyHeaders::Add;
        let tries = forward.map(|forward| &forward.tries);
        if let Some(tries) = tries {
            self.says.count_in_request = tries.count_in_request;
            self.says.count_in_response = tries.count_in_response;
            self.says.timeout_retry = tries.timeout_retry_header;
        }
        let limit = tries.and_then(|tries| tries.buffer_limit);
        self.buffer_limit = limit.unwrap_or(listener_limit);
        self.redirects = tries.and_then(|tries| tries.redirects.as_deref());
        if self.retries.is_some() || self.redirects.is_some() {
            self.kept.keep(self.buffer_limit);
        }
    }

    /// Whether it is retried at all, as far as is known before the first attempt.
    pub(super) const fn has_retries(&self) -> bool {
        self.retries.is_some()
    }

    /// Lets attempts that take too long go on beside the next.
    pub(super) fn hedge(&mut self) {
        self.beside = Some(Box::default());
    }

    /// How many attempts go on that have taken too long.
    pub(super) fn others(&self) -> usize {
        self.beside.as_ref().map_or(0, |beside| beside.len())
    }

    /// Resets all attempts but the one under way.
    pub(super) fn let_others_go(&mut self) {
        if let Some(beside) = &mut self.beside {
            beside.clear();
        }
    }

    /// Puts the attempt under way aside. It goes on.
    pub(super) fn set_aside(&mut self, late: Late, endpoint: &Endpoint) {
        self.cluster.note_late(endpoint);
        if let Some(beside) = &mut self.beside {
            beside.add(late);
        }
    }

    /// What those that go on are judged by.
    pub(super) fn jury<'j>(
        &'j self,
        stats: &'j ClusterStats,
        group: Option<&'j VirtualClusterStats>,
        exchange: &'j Exchange,
    ) -> Jury<'j> {
        Jury {
            retries: self.retries.as_deref(),
            stats,
            group,
            exchange,
        }
    }

    /// The one attempt that counts is found.
    pub(super) fn end_retries(&mut self, winner: &Winner, exchange: &Exchange, worker: &Worker) {
        if winner.ends_retries() && exchange.upstream.attempts > 1 {
            let stats = self.cluster.stats(worker.index);
            stats.upstream_rq_retry_success.inc();
            if let Some(group) = self.group {
                group.shard(worker.index).upstream_rq_retry_success.inc();
            }
        }
        self.retries = None;
        self.permit = None;
    }

    /// Lets copies have the body as it goes upstream.
    pub(super) fn copy_to(&mut self, copies: Vec<Copy>) {
        self.kept.copy_to(copies, self.buffer_limit);
    }

    /// Begins an attempt. The first was counted, and its head announced, before the route's changes.
    pub(super) fn begin(&mut self, exchange: &mut Exchange, limits: &Deadlines) {
        let upstream = &mut exchange.upstream;
        upstream.attempts += u32::from(std::mem::replace(&mut self.begun, true));
        let attempts = upstream.attempts;
        if attempts > 1 {
            upstream.host = None;
            upstream.hostname = None;
            upstream.host_metadata = None;
            upstream.local = None;
            upstream.protocol = None;
            upstream.connection_id = None;
            upstream.waited = None;
            upstream.failure = None;
            // What the last one said is nothing that the next can be counted by.
            exchange.response.clear();
            let timing = &mut exchange.timing;
            timing.upstream_sent_first = None;
            timing.upstream_sent = None;
            timing.upstream_received_first = None;
            timing.upstream_received = None;
            let elapsed = limits.since_received(clock::now());
            self.announce(&mut exchange.request, attempts, elapsed);
        }
        self.last = Last::default();
    }

    /// Lets the head say which attempt it is, and how long the answer is waited for.
    pub(super) fn announce(&self, request: &mut Headers, attempt: u32, elapsed: Duration) {
        let mut room = [0; 20];
        if let Some(expected) = self.times.expected(elapsed) {
            if self.says.expected {
                let ms = u64::try_from(expected.as_millis()).unwrap_or(u64::MAX);
                let text = decimal(ms, &mut room);
                request.set_known(Known::XEnvoyExpectedRqTimeoutMs, text);
            }
            self.times.tell_grpc(request, expected);
        }
        if self.says.count_in_request {
            let text = decimal(attempt.into(), &mut room);
            request.set_known(Known::XEnvoyAttemptCount, text);
        }
        if self.says.timeout_retry && attempt > 1 {
            let text: &[u8] = if self.last.timed_out {
                b"true"
            } else {
                b"false"
            };
            request.set_known(Known::XEnvoyIsTimeoutRetry, text);
        }
    }

    /// Which endpoints are left out where others can be had: of a retry alone.
    pub(super) fn avoids(&self, exchange: &Exchange) -> Option<&Avoids> {
        self.policy_of_retry(exchange)?.avoids.as_ref()
    }

    /// Levels of endpoints that are left out where others can be had: of a retry alone.
    pub(super) fn left_out(&self, exchange: &Exchange) -> Option<&Cell<Levels>> {
        self.policy_of_retry(exchange)?.update_frequency?;
        Some(&self.tried.left_out)
    }

    fn policy_of_retry(&self, exchange: &Exchange) -> Option<&RetryPolicy> {
        let policy = self.retries.as_ref()?.policy()?;
        (exchange.upstream.attempts > 1).then_some(policy)
    }

    /// Whether an attempt went to that endpoint.
    pub(super) fn was_tried(&self, endpoint: &Endpoint) -> bool {
        self.tried.endpoints.contains(&endpoint.address)
    }

    /// Notes where the attempt goes, or would have gone.
    pub(super) fn note_endpoint(&mut self, endpoint: &Endpoint) {
        let policy = self.retries.as_ref().and_then(|retries| retries.policy());
        if let Some(policy) = policy {
            self.tried.note(policy, endpoint);
        }
    }

    /// Notes the connection that the attempt got, and begins to keep the body where the request may
    /// have to go again because that connection is about to be closed.
    pub(super) fn connected(&mut self, exchange: &Exchange, lease: &Lease) {
        self.last.reused = lease.facts().reused;
        self.judged = Outcome::Abandoned;
        self.note_endpoint(lease.endpoint());
        let kept_anyway = self.retries.is_some() || self.redirects.is_some();
        if !kept_anyway && !self.raced && self.last.reused && is_idempotent(exchange) {
            self.kept.keep(limits::RACE_BODY_BYTES);
        }
    }

    /// Notes whether the upstream may have seen any of the request.
    pub(super) const fn note_sent(&mut self, sent: bool) {
        self.last.sent = sent;
    }

    /// Notes whether the upstream has begun to answer, before the response's head.
    pub(super) const fn note_interim(&mut self, answered: bool) {
        self.last.answered = answered;
    }

    /// Says in a response, or in a reply in its place, how often the request was sent.
    pub(super) fn tell_client(&self, exchange: &mut Exchange) {
        if self.says.count_in_response {
            let attempts = exchange.upstream.attempts.into();
            let mut room = [0; 20];
            let text = decimal(attempts, &mut room);
            exchange.response.set_known(Known::XEnvoyAttemptCount, text);
        }
    }

    /// Whether replies say how often the request was sent.
    pub(super) const fn tells_client(&self) -> bool {
        self.says.count_in_response
    }

    /// Counts what was given up of the body on its way: to send it again, or copies of it.
    pub(super) fn note_given_up(&mut self, stats: &ClusterStats) {
        if self.kept.take_too_long() {
            self.abandon(stats);
        }
        let given_up = self.kept.take_given_up();
        if given_up > 0 {
            stats.retry_or_shadow_abandoned.add(given_up.into());
        }
    }

    /// The body has become too long to be sent again.
    fn abandon(&mut self, stats: &ClusterStats) {
        let had_retries = self.retries.take().is_some();
        if had_retries {
            self.permit = None;
        }
        if had_retries || self.redirects.is_some() {
            stats.retry_or_shadow_abandoned.inc();
        }
    }

    /// What happens in place of passing this response on: the request is sent again, or another
    /// attempt is waited for.
    pub(super) fn after_head(&mut self, exchange: &mut Exchange, worker: &Worker) -> Option<Ended> {
        let has_others = self.others() > 0;
        let Some(retries) = self.retries.as_mut() else {
            if self.permit.is_some() {
                let at = (self.cluster, self.priority, self.group);
                settle(&mut self.permit, Verdict::Pass, at, exchange, worker);
            }
            return None;
        };
        if self.last.answered {
            // What came before the response's head was an answer already, as in Envoy.
            self.retries = None;
            return None;
        }
        let verdict = retries.after_head(exchange.status, &exchange.response);
        let stats = self.cluster.stats(worker.index);
        if !settle(
            &mut self.permit,
            verdict,
            (self.cluster, self.priority, self.group),
            exchange,
            worker,
        ) {
            if has_others && verdict != Verdict::Pass {
                return Some(Ended::GivesWay);
            }
            self.retries = None;
            return None;
        }
        stats.retry_upstream_rq_completed.inc();
        stats.retry_upstream_rq_by_code.record(exchange.status);
        let wait = retries.wait(Some(&exchange.response), clock::wall(), worker.random());
        Some(Ended::Again(counted(wait, stats)))
    }

    /// Whether the request is sent again beside an attempt that takes too long, and after which wait.
    pub(super) fn after_late(
        &mut self,
        exchange: &mut Exchange,
        worker: &Worker,
    ) -> Option<Duration> {
        self.last.timed_out = true;
        let wait = self.retry_beside(exchange, worker);
        if wait.is_none()
            && let Some(beside) = &mut self.beside
        {
            beside.leave_last();
        }
        wait
    }

    fn retry_beside(&mut self, exchange: &mut Exchange, worker: &Worker) -> Option<Duration> {
        let retries = self.retries.as_mut()?;
        let verdict = retries.after_late();
        let again = settle(
            &mut self.permit,
            verdict,
            (self.cluster, self.priority, self.group),
            exchange,
            worker,
        );
        again.then(|| {
            let wait = retries.wait(None, clock::wall(), worker.random());
            counted(wait, self.cluster.stats(worker.index))
        })
    }

    /// The policy by which a response of that status is followed, where it is one to follow.
    pub(super) fn redirects(&self, status: u16) -> Option<&'a InternalRedirects> {
        self.redirects.filter(|redirects| redirects.follows(status))
    }

    /// Whether the request is sent again after a failure, and after which wait.
    pub(super) fn after_failure(
        &mut self,
        error: &Error,
        exchange: &mut Exchange,
        worker: &Worker,
    ) -> Option<Duration> {
        if !self.kept.is_replayable() || self.last.answered {
            return None;
        }
        let failure = self.failure(&error.kind)?;
        self.last.timed_out = failure == Failure::PerTryTimeout;
        if let Some(retries) = &mut self.retries {
            let verdict = retries.after_failure(failure);
            let stats = self.cluster.stats(worker.index);
            if settle(
                &mut self.permit,
                verdict,
                (self.cluster, self.priority, self.group),
                exchange,
                worker,
            ) {
                let wait = retries.wait(None, clock::wall(), worker.random());
                return Some(counted(wait, stats));
            }
            if verdict != Verdict::Pass {
                return None;
            }
        }
        self.race(&error.kind, exchange, worker)
    }

    /// The one attempt that needs no policy: the upstream has not seen the request, or may see it
    /// twice, and it is a connection's end that came between. Where it may have seen it, the breaker of
    /// retries has its say: an upstream that dies under load must not double the load of the others.
    fn race(&mut self, kind: &Kind, exchange: &mut Exchange, worker: &Worker) -> Option<Duration> {
        let last = self.last;
        let safe = match kind {
            Kind::UpstreamRefused => true,
            Kind::UpstreamClosed => last.reused && (!last.sent || is_idempotent(exchange)),
            _ => false,
        };
        let first = !std::mem::replace(&mut self.raced, true);
        if !safe || !first {
            return None;
        }
        let is_unseen = !last.sent || matches!(kind, Kind::UpstreamRefused);
        let at = (self.cluster, self.priority, self.group);
        let may = is_unseen || settle(&mut self.permit, Verdict::Retry, at, exchange, worker);
        may.then_some(Duration::ZERO)
    }

    fn failure(&self, kind: &Kind) -> Option<Failure> {
        Some(match kind {
            Kind::Overflow => Failure::Overflow,
            Kind::ConnectFailure(_) | Kind::ConnectTimeout => Failure::Connect,
            Kind::UpstreamRefused => Failure::Refused,
            Kind::UpstreamClosed
            | Kind::UpstreamReset
            | Kind::Excess(_)
            | Kind::UpstreamConnectError
            | Kind::UpstreamProtocol => Failure::Reset {
                sent: self.last.sent,
            },
            Kind::PerTryTimeout(_) | Kind::PerTryIdle(_) => Failure::PerTryTimeout,
            Kind::UpstreamDuration { .. } => Failure::Reset { sent: true },
            _ => return None,
        })
    }
}

/// What a response of that status says about its endpoint. `heads` are those of both.
pub(super) fn judged(
    cluster: &Cluster,
    (request, response): (&Headers, &Headers),
    mut status: u16,
) -> Outcome {
    if !cluster.judges_answers() {
        return Outcome::Answered(status);
    }
    if let Some(call) = response.known(Known::GrpcStatus)
        && request.is_grpc()
    {
        let call = std::str::from_utf8(call).ok();
        let call = call.and_then(|text| text.parse().ok());
        status = call.map_or(500, http_status_of);
    }
    match response.has(Known::XEnvoyImmediateHealthCheckFail) {
        true => Outcome::AskedOut(status),
        false => Outcome::Answered(status),
    }
}

/// Acts on a verdict: whether there is another try, once the cluster's budget allows it.
fn settle(
    permit: &mut Option<RetryPermit>,
    verdict: Verdict,
    (cluster, priority, group): (&Arc<Cluster>, Priority, Option<&Group>),
    exchange: &mut Exchange,
    worker: &Worker,
) -> bool {
    let stats = cluster.stats(worker.index);
    let group = group.map(|group| group.shard(worker.index));
    let was_retry = permit.take().is_some();
    match verdict {
        Verdict::Pass => {
            if was_retry {
                stats.upstream_rq_retry_success.inc();
                if let Some(group) = group {
                    group.upstream_rq_retry_success.inc();
                }
            }
        }
        Verdict::Exhausted => {
            stats.upstream_rq_retry_limit_exceeded.inc();
            if let Some(group) = group {
                group.upstream_rq_retry_limit_exceeded.inc();
            }
            exchange
                .flags
                .insert_early(Flags::UPSTREAM_RETRY_LIMIT_EXCEEDED);
        }
        Verdict::Retry => {
            *permit = cluster.try_retry(priority, worker.index);
            let counted = group.map(|group| match permit {
                Some(_) => &group.upstream_rq_retry,
                None => &group.upstream_rq_retry_overflow,
            });
            if let Some(counter) = counted {
                counter.inc();
            }
            if permit.is_some() {
                stats.upstream_rq_retry.inc();
            } else {
                exchange.flags.insert_early(Flags::UPSTREAM_OVERFLOW);
            }
        }
    }
    permit.is_some()
}

fn counted(wait: Wait, stats: &ClusterStats) -> Duration {
    match wait {
        Wait::Exponential(_) => stats.upstream_rq_retry_backoff_exponential.inc(),
        Wait::RateLimited(_) => stats.upstream_rq_retry_backoff_ratelimited.inc(),
    }
    wait.get()
}

/// Whether the request may be acted on twice (RFC 9110 §9.2.2). A tunnel that was not opened has carried nothing.
fn is_idempotent(exchange: &Exchange) -> bool {
    let method = exchange.request.known(Known::Method);
    matches!(
        method,
        Some(b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE" | b"QUERY" | b"CONNECT")
    )
}
