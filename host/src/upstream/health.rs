//! Active health checks.
//!
//! Owns the checks of one endpoint, again and again, and what their results do to its flags, the
//! statistics and the event log. `control` runs them for each endpoint. The rules are a state machine
//! of their own (`state`); what is asked is in `http1`, `http2`, `grpc` and `tcp`, and when in `agenda`.

mod agenda;
mod event;
mod grpc;
mod http;
mod http1;
mod http2;
pub mod state;
mod tcp;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::time::Instant;

use self::agenda::{Agenda, Due};
use self::event::Event;
use self::grpc::GrpcProber;
use self::http1::{Desks, Http1Prober, Question};
use self::http2::Http2Prober;
use self::state::{Failure, Health as State, Transition, Verdict, on_beat, wait};
use self::tcp::TcpProber;
use super::balance::Random;
use super::cluster::Cluster;
use super::connect::Target;
use super::discovery::up_to;
use super::endpoint::{Endpoint, Health};
use super::spec::{GrpcProbe, HealthCheck, HttpProbe, Probe, TcpProbe};
use crate::address::Address;
use crate::clock;
use crate::socket::Socket;

/// What a check has led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// There is something to publish.
    Changed,
    /// The check passed.
    Passed,
}

/// What the checks of a cluster's endpoints share.
pub struct Ward {
    plans: Rc<[Plan]>,
    agenda: Agenda,
    desks: Rc<Desks>,
    /// Since when checks follow a beat.
    beats: Instant,
}

/// A check, made ready to be done.
struct Plan {
    check: HealthCheck,
    asking: Asking,
}

/// What is asked.
enum Asking {
    Http1(Rc<Question>),
    Http2(Rc<HttpProbe>),
    Tcp(Rc<TcpProbe>),
    Grpc(Rc<GrpcProbe>),
}

impl Plan {
    fn new(check: HealthCheck) -> Self {
        let asking = match &check.probe {
            Probe::Http(probe) if probe.http2 => Asking::Http2(Rc::new(*probe.clone())),
            Probe::Http(probe) => {
                let question = Question::new(*probe.clone(), check.reuse_connection);
                Asking::Http1(Rc::new(question))
            }
            Probe::Tcp(probe) => Asking::Tcp(Rc::new(probe.clone())),
            Probe::Grpc(probe) => Asking::Grpc(Rc::new(probe.clone())),
        };
        Self { check, asking }
    }
}

impl Ward {
    /// For these checks.
    #[must_use]
    pub fn new(checks: &[HealthCheck]) -> Rc<Self> {
        Rc::new(Self {
            plans: checks.iter().cloned().map(Plan::new).collect(),
            agenda: Agenda::default(),
            desks: Rc::default(),
            beats: Instant::now(),
        })
    }

    /// Keeps time for all checks, until it is dropped. Without it none comes.
    pub async fn keep_time(self: Rc<Self>) {
        self.agenda.run().await;
    }

    /// The moment that is `wait` away, or the beat that is next to it.
    fn after(&self, wait: Duration) -> Instant {
        let age = self.beats.elapsed();
        self.beats + age + on_beat(age, wait)
    }
}

/// An endpoint that is checked. It is healthy while it passes all checks.
pub struct Patient {
    cluster: Arc<Cluster>,
    endpoint: Arc<Endpoint>,
    ward: Rc<Ward>,
    /// The ward's, unless the endpoint has a name of its own for checks.
    plans: Rc<[Plan]>,
    found: RefCell<Vec<Found>>,
    told: Box<dyn Fn(Told)>,
}

/// What one of the checks has found so far.
#[derive(Clone, Copy)]
struct Found {
    state: State,
    is_degraded: bool,
    timed_out: bool,
}

/// What a verdict was and led to.
struct Outcome {
    verdict: Verdict,
    was_first: bool,
    transition: Transition,
    was_degraded: bool,
}

impl Patient {
    /// Where a check goes.
    fn target(&self, address: &Address, check: &HealthCheck) -> Target {
        Target::of(&self.cluster, &self.endpoint, address, check)
    }

    /// For the checks of `ward`, which is that of `cluster`; `told` is called with what they lead to.
    pub fn new(
        ward: &Rc<Ward>,
        cluster: &Arc<Cluster>,
        endpoint: &Arc<Endpoint>,
        told: impl Fn(Told) + 'static,
    ) -> Rc<Self> {
        let plans = match &endpoint.traits().health_check.hostname {
            None => Rc::clone(&ward.plans),
            Some(host) => {
                let plans = ward.plans.iter();
                plans
                    .map(|plan| Plan::new(plan.check.at_host(host)))
                    .collect()
            }
        };
        let unknown = Found {
            state: State::unknown(),
            is_degraded: false,
            timed_out: false,
        };
        Rc::new(Self {
            cluster: Arc::clone(cluster),
            endpoint: Arc::clone(endpoint),
            ward: Rc::clone(ward),
            found: RefCell::new(vec![unknown; plans.len()]),
            plans,
            told: Box::new(told),
        })
    }

    /// How many checks there are.
    pub fn checks(&self) -> usize {
        self.plans.len()
    }

    /// Does the check at `index` until the future is dropped, while the ward keeps time.
    pub async fn watch(self: Rc<Self>, index: usize, mut random: Random) {
        let (ward, Some(plan)) = (&*self.ward, self.plans.get(index)) else {
            return;
        };
        let check = &plan.check;
        let jitter = up_to(check.intervals.initial_jitter, &mut random);
        ward.agenda.until(Instant::now() + jitter).await;
        let mut address = self.endpoint.health_check_address(check.port);
        let mut prober = Prober::new(ward, plan, self.target(&address, check));
        loop {
            let now = self.endpoint.health_check_address(check.port);
            if address != now {
                address = now;
                prober = Prober::new(ward, plan, self.target(&address, check));
            }
            self.cluster.control_stats().health_check_attempt.inc();
            let deadline = Instant::now() + check.timeout;
            let verdict = match ward.agenda.limit(deadline, prober.probe()).await {
                Some(verdict) => verdict,
                None => {
                    prober.disconnect();
                    Verdict::Failed(Failure::Timeout)
                }
            };
            let transition = self.take(index, verdict);
            let had_traffic = self.cluster.had_traffic();
            let (intervals, random) = (&check.intervals, &mut random);
            let wait = wait(intervals, verdict, transition, had_traffic, random);
            let next = ward.after(wait.max(SHORTEST_WAIT));
            prober.rest(ward.agenda.until(next)).await;
        }
    }

    /// The endpoint asked in an answer to a request to be left out.
    pub fn ask_out(&self) {
        self.endpoint
            .health()
            .set(Health::EXCLUDED_VIA_IMMEDIATE_HC_FAIL);
        self.take(0, Verdict::Failed(Failure::AskedOut));
    }

    /// Takes the verdict of the check at `index`.
    pub(super) fn take(&self, index: usize, verdict: Verdict) -> Transition {
        let mut found = self.found.borrow_mut();
        let (Some(plan), Some(one)) = (self.plans.get(index), found.get_mut(index)) else {
            return Transition::Unchanged;
        };
        let check = &plan.check;
        let (was_first, was_degraded) = (one.state.is_unknown(), one.is_degraded);
        let transition = one.state.apply(check, verdict);
        match verdict {
            Verdict::Passed => one.is_degraded = false,
            Verdict::Degraded => one.is_degraded = true,
            // As in Envoy it stays said that it was late until it is healthy, or fails otherwise.
            Verdict::Failed(failure) => one.timed_out = failure == Failure::Timeout,
        }
        let outcome = Outcome {
            verdict,
            was_first,
            transition,
            was_degraded,
        };
        count(&self.cluster, check, verdict);
        let was_usable = self.endpoint.passes_checks();
        let is_changed = mark(&self.endpoint, &found, verdict.is_pass());
        drop(found);
        if !was_usable && self.endpoint.passes_checks() {
            self.endpoint.became_healthy(clock::now());
        }
        self.tell(check, &outcome);
        self.note(index, check, &outcome);
        if is_changed || transition == Transition::Changed {
            (self.told)(Told::Changed);
        }
        if verdict.is_pass() {
            (self.told)(Told::Passed);
        }
        transition
    }

    /// Says what is worth saying.
    fn tell(&self, check: &HealthCheck, outcome: &Outcome) {
        let (cluster, address) = (&*self.cluster.name, self.endpoint.now_at());
        match (outcome.transition, outcome.verdict) {
            (Transition::Changed, Verdict::Passed | Verdict::Degraded) => {
                tracing::info!(target: "hc", cluster, endpoint = %address, "endpoint is healthy");
            }
            (Transition::Changed, Verdict::Failed(failure)) => {
                let first = if outcome.was_first {
                    " from its first check on"
                } else {
                    ""
                };
                tracing::warn!(
                    target: "hc", cluster, endpoint = %address, %failure,
                    "endpoint is unhealthy{first}",
                );
            }
            (_, Verdict::Failed(failure)) if check.always_log_failures => {
                tracing::warn!(target: "hc", cluster, endpoint = %address, %failure, "check failed");
            }
            (_, Verdict::Failed(failure)) => {
                tracing::debug!(target: "hc", cluster, endpoint = %address, %failure, "check failed");
            }
            (_, Verdict::Passed | Verdict::Degraded) => {}
        }
    }

    /// Writes the event log, as Envoy does.
    fn note(&self, index: usize, check: &HealthCheck, outcome: &Outcome) {
        let sinks = self.cluster.check_logs(index);
        if sinks.is_empty() {
            return;
        }
        let is_changed = outcome.transition == Transition::Changed;
        let events = match outcome.verdict {
            Verdict::Passed | Verdict::Degraded => {
                let is_degraded = outcome.verdict == Verdict::Degraded;
                let became = match (outcome.was_degraded, is_degraded) {
                    (false, true) => Some(Event::Degraded),
                    (true, false) => Some(Event::NoLongerDegraded),
                    _ => None,
                };
                let passed = if is_changed {
                    Some(Event::Added(outcome.was_first))
                } else {
                    check.always_log_successes.then_some(Event::Passed)
                };
                [passed, became]
            }
            Verdict::Failed(failure) => {
                let is_news = is_changed && !outcome.was_first;
                let always = outcome.was_first || check.always_log_failures;
                [
                    is_news.then_some(Event::Ejected(failure)),
                    always.then_some(Event::Failed(failure, outcome.was_first)),
                ]
            }
        };
        let Ok(now) = jiff::Timestamp::try_from(clock::wall()) else {
            return;
        };
        let (cluster, timestamp) = (&*self.cluster.name, format!("{now:.3}"));
        for event in events.into_iter().flatten() {
            let line = event.line(cluster, &self.endpoint, &check.probe, &timestamp);
            for sink in sinks {
                sink.write(line.as_bytes());
            }
        }
    }
}

/// Asks one endpoint how it is.
enum Prober {
    Http1(Http1Prober),
    Http2(Http2Prober),
    Tcp(TcpProber),
    Grpc(GrpcProber),
}

impl Prober {
    /// Will do what `plan` says at `target`.
    fn new(ward: &Ward, plan: &Plan, target: impl Into<Target>) -> Self {
        let (target, reuse) = (target.into(), plan.check.reuse_connection);
        match &plan.asking {
            Asking::Http1(question) => {
                let (question, desks) = (Rc::clone(question), Rc::clone(&ward.desks));
                Self::Http1(Http1Prober::new(question, desks, target))
            }
            Asking::Http2(probe) => Self::Http2(Http2Prober::new(Rc::clone(probe), reuse, target)),
            Asking::Tcp(probe) => Self::Tcp(TcpProber::new(Rc::clone(probe), reuse, target)),
            Asking::Grpc(probe) => Self::Grpc(GrpcProber::new(Rc::clone(probe), reuse, target)),
        }
    }

    /// Asks once. Must run inside a `LocalSet` or a `LocalRuntime`.
    async fn probe(&mut self) -> Verdict {
        match self {
            Self::Http1(prober) => prober.probe().await,
            Self::Http2(prober) => prober.probe().await,
            Self::Tcp(prober) => prober.probe().await,
            Self::Grpc(prober) => prober.probe().await,
        }
    }

    /// Closes the connection.
    fn disconnect(&mut self) {
        match self {
            Self::Http1(prober) => prober.disconnect(),
            Self::Http2(prober) => prober.disconnect(),
            Self::Tcp(prober) => prober.disconnect(),
            Self::Grpc(prober) => prober.disconnect(),
        }
    }

    /// Waits for the next check, and lets go of the connection when its other side does.
    async fn rest(&mut self, due: Due<'_>) {
        let mut due = pin!(due);
        poll_fn(|cx| {
            let _gone = self.poll_ended(cx);
            due.as_mut().poll(cx)
        })
        .await;
    }

    /// Ready when a kept connection has ended, and was let go of. Those of HTTP/2 see to that themselves.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let kept = match self {
            Self::Http1(prober) => prober.kept(),
            Self::Tcp(prober) => prober.kept(),
            Self::Http2(_) | Self::Grpc(_) => None,
        };
        let Some(socket) = kept else {
            return Poll::Pending;
        };
        let mut nothing = [0];
        let read = Pin::new(socket).poll_read(cx, &mut ReadBuf::new(&mut nothing));
        read.map(|_| self.disconnect())
    }
}

/// Whether the peer has ended a connection, or said something that nobody asked for. No system call is
/// made unless the event loop knows of something.
fn has_ended(connection: &mut Socket) -> bool {
    !matches!(connection.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Even a check every 0 s lets others have the thread.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

fn count(cluster: &Cluster, check: &HealthCheck, verdict: Verdict) {
    let stats = cluster.control_stats();
    let is_answer =
        verdict.is_pass() || matches!(verdict, Verdict::Failed(Failure::WrongAnswer(_)));
    if is_answer && matches!(&check.probe, Probe::Http(probe) if probe.service.is_some()) {
        stats.health_check_verify_cluster.inc();
    }
    match verdict {
        Verdict::Passed | Verdict::Degraded => stats.health_check_success.inc(),
        Verdict::Failed(failure) => {
            stats.health_check_failure.inc();
            match failure {
                Failure::Network | Failure::Timeout => stats.health_check_network_failure.inc(),
                Failure::AskedOut => stats.health_check_passive_failure.inc(),
                Failure::Status(_)
                | Failure::RetriableStatus(_)
                | Failure::Mismatch
                | Failure::WrongAnswer(_)
                | Failure::NotServing => {}
            }
        }
    }
}

/// Sets the endpoint's flags; whether it has become degraded or ceased to be.
fn mark(endpoint: &Endpoint, found: &[Found], has_passed: bool) -> bool {
    let put = |flag: u16, is_set: bool| {
        if is_set {
            endpoint.health().set(flag)
        } else {
            endpoint.health().clear(flag)
        }
    };
    let is_failing = |found: &Found| !found.state.is_unknown() && !found.state.is_healthy();
    let (mut failing, mut unknown) = (
        found.iter().filter(|one| is_failing(one)),
        found.iter().filter(|one| one.state.is_unknown()),
    );
    let timed_out = failing.clone().any(|one| one.timed_out);
    let (is_failed, is_waiting) = (failing.next().is_some(), unknown.next().is_some());
    put(Health::FAILED_ACTIVE_HC, is_failed || is_waiting);
    put(Health::PENDING_ACTIVE_HC, is_waiting && !is_failed);
    put(Health::ACTIVE_HC_TIMEOUT, timed_out);
    if has_passed && !is_failed {
        endpoint
            .health()
            .clear(Health::EXCLUDED_VIA_IMMEDIATE_HC_FAIL);
    }
    let is_degraded = found.iter().any(|one| one.is_degraded);
    put(Health::DEGRADED_ACTIVE_HC, is_degraded)
}

/// Whether all `parts` are in `text`, one behind the other.
fn has_all(parts: &[Vec<u8>], text: &[u8]) -> bool {
    let mut rest = text;
    parts.iter().all(|part| {
        let found = memchr::memmem::find(rest, part);
        rest = found
            .and_then(|at| rest.get(at + part.len()..))
            .unwrap_or_default();
        found.is_some()
    })
}

#[cfg(test)]
mod tests;
